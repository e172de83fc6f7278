"""`invdesign benchmark`: how near designs come to their targets by the true model."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from invdesign_core.cli.console import width_of
from invdesign_core.cli.option_values import arranged, experiment_of
from invdesign_core.cli.session import discover, session
from invdesign_core.data.files.atomic import write_text
from invdesign_core.errors import ConfigError, RunStoreError, near_or_all, plural
from invdesign_core.registry import Registry
from invdesign_core.workflow.benchmark import DESIGNS, BenchmarkReport, TaskReport, run_benchmark
from invdesign_core.workflow.experiment import Experiment

PUBLISHED = ("sine-wave", "robotic-arm")
"""The tasks where none is named."""
SURROGATE = "mlp"
"""The surrogate where none is named, and no experiment file says it."""
WHOLE_SPACE: dict[str, Any] = {
    **dict.fromkeys(("bounds", "fixed", "levels", "step", "log", "constraints", "near"), ()),
    **dict.fromkeys(("margin", "fewest_changes", "stay_near_data")),
}
"""The options of the design space, none of which this command has."""


def benchmark(
    tasks: tuple[str, ...], rows: int | None, seeds: int, targets: int, out: Path | None, as_json: bool, **given: Any
) -> None:
    """Measure designs by the true model, after they were ranked."""
    if out is not None and out.exists():
        raise RunStoreError(f"{out}: the file already exists", "choose another --out, or delete it")
    registry = arranged(discover(), given)
    if rows is not None:
        given["overrides"] = (*given["overrides"], f"dataset.rows={rows}")
    experiments = [_experiment(task, given, registry) for task in tasks or PUBLISHED]
    registry = experiments[0].plugins.arrange(registry, experiments[0].folder)
    for experiment in experiments:
        experiment.stages(registry)
    with session(experiments[0].backend, given["quiet"]) as (stdout, _, ctx):
        report = run_benchmark(experiments, seeds=seeds, targets=targets, registry=registry, ctx=ctx)
        text = report.model_dump_json(indent=1) + "\n"
        if as_json:
            stdout.write(text)
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


def show(report: BenchmarkReport, stream: TextIO) -> None:
    """Print a report for people."""
    console = Console(file=stream, highlight=False, width=width_of(stream))
    for task in report.tasks:
        _task(task, console)
    console.print(f"{report.backend} on {report.machine}; {report.seconds:.0f} s")
    stream.flush()


def _task(task: TaskReport, console: Console) -> None:
    """Print what was measured for one dataset."""
    first, count = task.seeds[0], len(task.seeds)
    network, chosen = task.plugins["surrogate"], sorted({seed.surrogate for seed in task.seeds})
    network += "" if chosen == [network] else f" ({', '.join(chosen)})"  # of a race who won
    network += f", {task.members} members" if task.members > 1 else ""
    title = f"{task.dataset}: {task.rows} rows, {plural(first.targets, 'target')}; {network}; {task.plugins['solver']}"
    console.print(escape(f"{title} from {plural(task.starts, 'start')}"), style="italic")
    table = Table()
    table.add_column("mean squared error of the best of")
    for t in DESIGNS:
        table.add_column(plural(t, "design"), justify="right")
    measured = (
        {"this run": task.median} if count == 1 else {f"median of {count} seeds": task.median, "worst": task.worst}
    )
    for name, errors in measured.items():
        table.add_row(name, *(_number(errors[str(t)]) for t in DESIGNS))
    for name, figures in task.published.items():
        table.add_row(escape(f"published: {name}"), *(_number(figures.get(str(t))) for t in DESIGNS))
    console.print(table)
    for line in _shortfalls(task):
        console.print(f"  {line}")
    took = [[getattr(getattr(s, clock), part) for s in task.seeds] for clock in ("cpu", "wall") for part in PARTS]
    cpu_train, cpu_solve, train, solve = (statistics.median(seconds) for seconds in took)
    of = "" if count == 1 else "; medians of the seeds"
    console.print(
        f"  processor: {cpu_train:.1f} s to train, {cpu_solve:.1f} s to solve; "
        f"clock: {train:.1f} s and {solve:.1f} s{of}"
    )


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
