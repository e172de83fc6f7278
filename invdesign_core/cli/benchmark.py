"""`invdesign benchmark`: how near designs come to their targets by the true model."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from invdesign_core.cli.option_values import arranged, experiment_of
from invdesign_core.cli.session import discover, session
from invdesign_core.cli.tables import Column, printer, say, show_rows
from invdesign_core.data.files.atomic import write_text
from invdesign_core.errors import ConfigError, RunStoreError, near_or_all, plural
from invdesign_core.registry import Registry
from invdesign_core.workflow.benchmark import DESIGNS, BenchmarkReport, TaskReport, run_benchmark
from invdesign_core.workflow.coverage import EXTREME, CoverageReport, CoverageTask, run_coverage
from invdesign_core.workflow.experiment import Experiment

PUBLISHED = ("sine-wave", "robotic-arm")
"""The tasks where none is named."""
MADE_UP = (*PUBLISHED, "test-function")
"""The datasets that hold out as many rows as are wanted."""
SURROGATE = "mlp"
"""The surrogate where none is named, and no experiment file says it."""
WHOLE_SPACE: dict[str, Any] = {
    **dict.fromkeys(("bounds", "fixed", "levels", "step", "log", "constraints", "near"), ()),
    **dict.fromkeys(("margin", "fewest_changes", "stay_near_data")),
}
"""The options of the design space, none of which this command has."""


def benchmark(
    tasks: tuple[str, ...],
    rows: int | None,
    seeds: int,
    targets: int,
    out: Path | None,
    as_json: bool,
    coverage: bool = False,
    noise: float | None = None,
    **given: Any,
) -> None:
    """Measure designs by the true model, after they were ranked; or the intervals at them."""
    if noise is not None and not coverage:
        raise ConfigError("--noise is for --coverage", "a dataset may have an option of its own: --set dataset.noise=…")
    if out is not None and out.exists():
        raise RunStoreError(f"{out}: the file already exists", "choose another --out, or delete it")
    registry = arranged(discover(), given)
    if rows is not None:
        given["overrides"] = (*given["overrides"], f"dataset.rows={rows}")
    experiments = [_experiment(task, given, registry) for task in tasks or PUBLISHED]
    registry = experiments[0].plugins.arrange(registry, experiments[0].folder)
    for experiment in experiments:
        experiment.stages(registry)
    with session(experiments[0].backend, given["quiet"], trains=True) as (stdout, _, ctx):
        shared: dict[str, Any] = {"seeds": seeds, "targets": targets, "registry": registry, "ctx": ctx}
        report: BenchmarkReport | CoverageReport
        if coverage:
            report = run_coverage([_many_held_out(each, targets) for each in experiments], noise=noise or 0.0, **shared)
        else:
            report = run_benchmark(experiments, **shared)
        text = report.model_dump_json(indent=1) + "\n"
        if as_json:
            stdout.write(text)
        elif isinstance(report, CoverageReport):
            show_coverage(report, stdout)
        else:
            show(report, stdout)
        if out is not None:
            write_text(out, text)


def _experiment(task: str, given: Mapping[str, Any], registry: Registry) -> Experiment:
    """Return the experiment of a file, or of a dataset by its name."""
    path = Path(task)
    if path.suffix == ".toml" or path.is_file():
        return experiment_of(path, {**WHOLE_SPACE, **given, "dataset": None})[0]
    if task.rpartition(":")[2] not in {entry.name for entry in registry.entries if entry.kind == "dataset"}:
        known = registry.labels("dataset")
        raise ConfigError(f"there is no dataset and no experiment file {task!r}", near_or_all(task, known))
    named = {**given, "dataset": task, "surrogate": given["surrogate"] or registry.label("surrogate", SURROGATE)}
    return experiment_of(None, {**WHOLE_SPACE, **named})[0]


def _many_held_out(experiment: Experiment, targets: int) -> Experiment:
    """Hold out so many rows of a dataset that makes them up that a hundredth of them is enough for extreme targets."""
    use, options = experiment.dataset.use, experiment.dataset.options
    if use.rpartition(":")[2] not in MADE_UP or "held_out" in options:
        return experiment
    dataset = type(experiment.dataset)(**{"use": use, **options, "held_out": round(targets / EXTREME)})
    return experiment.model_copy(update={"dataset": dataset})


def show(report: BenchmarkReport, stream: TextIO) -> None:
    """Print a report for people."""
    console = printer(stream)
    for task in report.tasks:
        _task(task, console)
    say(console, f"{report.backend} on {report.machine}; {report.seconds:.0f} s")
    stream.flush()


def _task(task: TaskReport, console: Console) -> None:
    """Print what was measured for one dataset."""
    first, count = task.seeds[0], len(task.seeds)
    network, chosen = task.plugins["surrogate"], sorted({seed.surrogate for seed in task.seeds})
    network += "" if chosen == [network] else f" ({', '.join(chosen)})"  # of a race who won
    network += f", {task.members} members" if task.members > 1 else ""
    title = f"{task.dataset}: {task.rows} rows, {plural(first.targets, 'target')}; {network}; {task.plugins['solver']}"
    say(console, f"{title} from {plural(task.starts, 'start')}", "italic")
    columns: list[Column | str] = [
        Column("mean squared error of the best of", "left", words=True),
        *(plural(t, "design") for t in DESIGNS),
    ]
    measured = (
        {"this run": task.median} if count == 1 else {f"median of {count} seeds": task.median, "worst": task.worst}
    )
    rows = [[name, *(_number(errors[str(t)]) for t in DESIGNS)] for name, errors in measured.items()]
    for name, figures in task.published.items():
        rows.append([f"published: {name}", *(_number(figures.get(str(t))) for t in DESIGNS)])
    show_rows(console, columns, rows, "result")
    for line in _shortfalls(task):
        say(console, line, indent="  ")
    took = [[getattr(getattr(s, clock), part) for s in task.seeds] for clock in ("cpu", "wall") for part in PARTS]
    cpu_train, cpu_solve, train, solve = (statistics.median(seconds) for seconds in took)
    of = "" if count == 1 else "; medians of the seeds"
    say(
        console,
        f"processor: {cpu_train:.1f} s to train, {cpu_solve:.1f} s to solve; "
        f"clock: {train:.1f} s and {solve:.1f} s{of}",
        indent="  ",
    )


def show_coverage(report: CoverageReport, stream: TextIO) -> None:
    """Print how often intervals held for people."""
    console = printer(stream)
    for task in report.tasks:
        rows = f"{task.rows} rows, noise {task.noise:.0%}, {plural(task.targets, 'target')} of each kind"
        models = f"{plural(task.seeds, 'seed')}; {task.surrogate} beside {task.second}"
        say(console, f"{task.name}: {rows}, {models}", "italic")
        _coverage(task, report.level, console)
    say(console, f"{report.backend} on {report.machine}; {report.seconds:.0f} s")
    stream.flush()


def _coverage(task: CoverageTask, level: float, console: Console) -> None:
    columns: list[Column | str] = [
        Column(f"of the {level:.0%} intervals", "left", words=True),
        "ordinary targets",
        "extreme targets",
    ]
    places = (task.ordinary, task.extreme)
    rows = {
        "true value inside": [_share(place.true) for place in places],
        "measurement inside": [_share(place.new) for place in places],
        "all true values inside, jointly": [_share(place.joint) for place in places],
        "median width / plain interval": [_share(place.width) for place in places],
        "measurement inside the plain interval": [_share(place.plain) for place in places],
        "without guarantee": [_share(place.without_guarantee) for place in places],
    }
    show_rows(console, columns, [[name, *cells] for name, cells in rows.items()], "share")
    gap = "too few designs to tell" if task.gap is None else f"at most {task.gap:.2f} off"
    say(console, f"probability of meeting the target, in ten bins: {gap}", indent="  ")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


PARTS = ("train", "solve")


def _shortfalls(task: TaskReport) -> list[str]:
    """Say where fewer designs were compared than asked for."""
    lines = []
    total = sum(s.targets for s in task.seeds)
    for t in map(str, DESIGNS):
        fewer, without = (sum(getattr(s, name)[t] for s in task.seeds) for name in ("fewer", "unanswered"))
        if fewer:
            lines.append(f"{fewer} of {plural(total, 'target')} had fewer than {plural(int(t), 'distinct design')}")
        if without:
            lines.append(f"{without} of {plural(total, 'target')} count in no r_{t}: the true model failed")
    failed = sum(s.failed for s in task.seeds)
    return [*lines, f"the true model failed for {plural(failed, 'design')}"] if failed else lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}"
