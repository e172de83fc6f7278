"""What the user sees: progress during the run, then a table of the designs."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from invdesign_core.cli.tables import Column, printer, say, show_rows
from invdesign_core.designs.verdict import (
    as_written,
    confidence_lines,
    measured_text,
    miss_of,
    number_text,
    output_text,
    percent,
    r2_text,
    size_of_tolerance,
    tolerance_text,
)
from invdesign_core.errors import plural
from invdesign_core.errors.visible import visible
from invdesign_core.space.digits import near, typed
from invdesign_core.space.units import behind, with_unit
from invdesign_core.targets import Target

if TYPE_CHECKING:
    from invdesign_core.context import Event
    from invdesign_core.designs.report import DesignReport, RaceReport, Report, StartsReport, TableReport, TargetReport

OUTPUTS_SHOWN = 3
"""Outputs up to which the race's table has a column for each; the report has all."""
ROWS_SHOWN = 3
"""Measured rows on the screen at most; the report has more."""
WORDS = {
    "load": "loading",
    "race": "comparing surrogates",
    "tune": "tuning",
    "train": "training",
    "solve": "solving",
    "simulate": "simulating",
    "refine": "refining",
}
"""What a stage is called."""


OUTER = ("race", "refine")
"""Stages in which others are: they keep a bar of their own meanwhile."""
AT_MOST = ("race", "tune", "train")
"""Stages that usually end before their last epoch."""


class TimeLeft(ProgressColumn):
    """How long a stage will still take at the pace so far; nothing before there is one."""

    def render(self, task: Task) -> Text:
        """Return it in minutes and seconds, or hours and minutes."""
        pace = task.speed or task.completed / (task.elapsed or math.inf)  # rich knows none before the second step
        if task.finished or not pace or task.remaining is None:
            return Text("")
        minutes, seconds = divmod(math.ceil(task.remaining / pace), 60)
        hours, rest = divmod(minutes, 60)
        clock = f"{minutes}:{seconds:02}" if not hours else f"{hours} h {rest:02}" if hours < 24 else f"{hours} h"
        return Text(f"{task.fields['at_most']}{clock} left", style="dim", no_wrap=True)


class Watcher:
    """Shows events on stderr: bars with the time left on a terminal, plain lines elsewhere, nothing when quiet.

    `console` and `clock` are where it shows them, and the seconds that it goes by.
    """

    def __init__(
        self, quiet: bool = False, console: Console | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        self.quiet = quiet
        self.run: str | None = None
        self._console = console or Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[counted]}"),
            TextColumn("{task.fields[rest]}", markup=False),
            TimeLeft(),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
            speed_estimate_period=600,
            get_time=clock,
        )
        self._outer: _Stage | None = None
        self._inner: _Stage | None = None
        self._words = dict(WORDS)

    def __enter__(self) -> Watcher:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        data = {key: visible(item) if isinstance(item, str) else item for key, item in event.data.items()}
        if event.kind == "run":
            self.run = str(event.data["path"])
        if self.quiet:
            return
        if event.kind == "stage":
            self._stage(data)
        elif event.kind == "candidate":
            self._candidate(data)
        elif event.kind in ("note", "warning"):
            style = "yellow" if event.kind == "warning" else "dim"
            line = f"[{style}]{escape(event.kind)}:[/] {escape(str(data['text']))}"
            self._console.print(line, soft_wrap=True)  # a command in it can be copied whole
        elif event.kind == "progress":
            self._progress(data)

    def _stage(self, data: Any) -> None:
        """Begin a stage; a bar of the stages before is taken away, unless the new one is inside it."""
        stage = data["stage"]
        if "solver" in data:
            self._words["solve"] = f"solving by {data['solver']}"
        if self._outer is not None and self._outer.name == "race":
            self._end_outer()
        self._end_inner()
        if not self._console.is_terminal:
            self._console.print(self._words.get(stage, stage), "…")

    def _candidate(self, data: Any) -> None:
        """Begin with a candidate of a race."""
        self._end_inner()
        self._outer_to("race", data["number"] - 1, data["total"], f"{data['number']} of {data['total']}", data["name"])
        if not self._console.is_terminal:
            said = f"{self._words['race']}: {data['name']} ({data['number']} of {data['total']})"
            self._console.print(said, "…", markup=False)

    def _progress(self, data: Any) -> None:
        stage, done, total = data["stage"], data["done"], data["total"]
        if stage == "refine":
            self._end_inner()
            self._outer_to(stage, done, total, f"{done} of {total}", "rounds at most")
            return
        words = self._words.get(stage, stage)
        if self._outer is not None and self._outer.name == stage:
            words = "cross-validating"
        if self._inner is None or self._inner.name != stage:
            self._end_inner()
            self._inner = _Stage(stage, self._add(words, total, stage in AT_MOST))
        rest = f"{data['live']} live, best {data['best']:.4g}" if data.get("best") is not None else ""
        counted = f"{done} of {total}"
        self._bar.update(self._inner.task, completed=done, total=total, rest=rest, counted=counted)

    def _outer_to(self, stage: str, done: int, total: int, counted: str, rest: str) -> None:
        """Move the bar of a stage in which others are."""
        if self._outer is None or self._outer.name != stage:
            self._end_outer()
            self._outer = _Stage(stage, self._add(self._words[stage], total, stage == "refine"))
        self._bar.update(self._outer.task, completed=done, total=total, counted=counted, rest=rest)

    def _add(self, words: str, total: int, at_most: bool) -> TaskID:
        return self._bar.add_task(words, total=total, rest="", counted="", at_most="≤ " if at_most else "")

    def _end_inner(self) -> None:
        if self._inner is not None:
            self._bar.remove_task(self._inner.task)
            self._inner = None

    def _end_outer(self) -> None:
        if self._outer is not None:
            self._bar.remove_task(self._outer.task)
            self._outer = None


@dataclass(frozen=True)
class _Stage:
    """A stage that has a bar."""

    name: str
    task: TaskID


def show(report: Report, stream: TextIO, quiet: bool = False) -> None:
    """Print a report for people, except what depends on the clock and the folder, which goes to stderr."""
    console = printer(stream)
    _surrogate(report, console)
    if report.measured:
        _measured(report, console)
    if report.designs:
        _designs(report, console)
        _around(report.designs[0], report, console)
    if report.starts is not None:
        goal = any(target.goal for target in report.target.values())
        say(console, _counts(report.starts, "hold all limits" if goal else "hit the target"))
    say(console, report.verdict)
    stream.flush()
    if quiet:
        return
    end = f"{report.seconds['total']:.1f} s"
    print(visible(f"saved in {report.run} ({end})" if report.run else end), file=sys.stderr)


def show_table(report: TableReport, stream: TextIO) -> None:
    """Print the report of a table of targets for people."""
    console = printer(stream)
    if report.starts.total:
        say(console, _counts(report.starts, "hit their target"))
    say(console, f"{report.verdict}; the designs are in {report.out}")
    stream.flush()
    print(f"{report.seconds['total']:.1f} s", file=sys.stderr)


def _counts(starts: StartsReport, what: str) -> str:
    """Say what became of the starts; nothing of hits where nothing can be hit."""
    hit = [] if starts.hit is None else [f"{starts.hit} {what}"]
    lost = [f"{starts.not_finite} not finite"] if starts.not_finite else []
    parts = [*hit, f"{starts.converged} converged", f"{starts.unmoved} did not move", *lost]
    return f"{plural(starts.total, 'start')}: {', '.join(parts)}"


def _surrogate(report: Report, console: Console) -> None:
    s = report.surrogate
    if s.race is not None:
        _race(s.race, console)
    if s.test:
        title = f"surrogate on {plural(s.rows.get('test', 0), 'test row')}"
        if s.rows.get("left out"):
            rows = plural(s.rows["left out"], "row")
            title = f"{s.plugin} on {rows}, each left out in turn; trained on all of them"
        if "table" in s.rows:
            title = f"the model on {plural(s.rows['table'], 'row')} of the table"
        say(console, title, "italic")
        columns: list[Column | str] = [Column("output", "left", words=True), "R²", "mean abs. error", "RMS error"]
        rows_shown = [
            [_heading(name, report), r2_text(m), _number(m.mae), _number(m.rmse)] for name, m in s.test.items()
        ]
        show_rows(console, columns, rows_shown, "output")
    if s.race is None and s.trials:
        best = ", ".join(f"{k} {_number(v)}" for k, v in s.best.items()) or "nothing to tune"
        failed = f", {s.failed} failed" if s.failed else ""
        say(console, f"{plural(s.trials, 'trial')}{failed}; best: {best} ({s.objective} {_number(s.score)})")


def _race(race: RaceReport, console: Console) -> None:
    """Print the candidates, the best first, and what came of it in words."""
    times = f", drawn {race.repeats} times" if race.repeats > 1 else ""
    say(console, f"surrogates compared by {race.folds}-fold cross-validation{times}", "italic")
    running = [one for one in race.candidates if one.role != "out"]
    shown = race.outputs if len(race.outputs) <= OUTPUTS_SHOWN else []
    tuned = any(one.best for one in running)
    columns: list[Column | str] = [
        Column("surrogate", "left"),
        "error / std. dev.",
        *(f"RMS error {name}" for name in shown),
    ]
    columns += [Column("", "left"), Column("best", "left", words=True)] if tuned else [Column("", "left")]
    rows = []
    for one in running:
        errors = (one.outputs[name] for name in shown)
        cells = [f"{_to(m.rmse, m.spread)} ± {_to(m.spread, m.spread)}" for m in errors]
        best = [", ".join(f"{k} {_number(v)}" for k, v in one.best.items())] if tuned else []
        role = one.role if one.role in ("chosen", "yardstick") else ""
        rows.append([one.name, f"{one.error:.3f}", *cells, role, *best])
    show_rows(console, columns, rows, "candidate", ["bold" if one.role == "chosen" else "" for one in running])
    for text in race.text:
        say(console, text, indent="  ")


def _to(value: float | None, spread: float | None) -> str:
    """Write an error to a tenth of its spread."""
    return "–" if value is None else _number(value) if not spread else near(value, spread / 10)


def _measured(report: Report, console: Console) -> None:
    """Print the measured rows that are answers themselves, the best few."""
    count, shown = report.measured_count, report.measured[:ROWS_SHOWN]
    goal = any(target.goal for target in report.target.values())
    s = "s" if count == 1 else ""
    what = f"beat{s} the best design" if goal else f"already meet{s} the target"
    title = f"{plural(count, 'measured row')} {what}" + (f"; the best {len(shown)}" if count > len(shown) else "")
    rows = []
    for row in shown:
        cells = [] if row.row is None else [("row", str(row.row))]
        cells += [(_heading(name, report), as_written(value)) for name, value in row.inputs.items()]
        for name, target in report.target.items():
            if name in row.outputs:
                cells.append((f"measured {_heading(name, report)}", measured_text(row.outputs[name], target)))
            elif name in row.derived:
                cells.append((_heading(name, report), output_text(row.derived[name], target)))
        rows.append(cells)
    _cells_as_table(rows, title, console, bold=len(shown[0].inputs) + (shown[0].row is not None), what="measured")


def _designs(report: Report, console: Console) -> None:
    """Print each design."""
    wanted = ", ".join(_target(name, t, report) for name, t in report.target.items())
    rows = [_cells(design, report) for design in report.designs]
    title = f"designs for {wanted} ({report.distinct} distinct)"
    _cells_as_table(rows, title, console, bold=len(report.designs[0].inputs), what="design")


def _cells_as_table(rows: list[list[tuple[str, str]]], title: str, console: Console, bold: int, what: str) -> None:
    """Print rows of cells with their headings, the first few in bold."""
    say(console, title, "italic")
    columns = [
        Column(name, "left" if name == "met" else "right", "bold" if at < bold else "")
        for at, (name, _) in enumerate(rows[0])
    ]
    show_rows(console, columns, [[value for _, value in row] for row in rows], what)


def _cells(design: DesignReport, report: Report) -> list[tuple[str, str]]:
    """Return what is shown of a design, each with its heading."""
    cells = [(_heading(name, report), typed(value)) for name, value in design.inputs.items()]
    for name, value in (design.derived or {}).items():
        own = report.target.get(name)
        cells.append((_heading(name, report), _number(value) if own is None else output_text(value, own)))
    for name, target in report.target.items():
        if name not in design.prediction:  # an input, or derived from some
            continue
        error = design.error[name] if design.error and name in design.error else None
        heading = f"predicted {_heading(name, report)}" + ("" if error is None else f" ± {_number(error)}")
        cells.append((heading, output_text(design.prediction[name], target)))
        if design.spread:
            cells.append((f"spread {name}", _number(design.spread[name])))
        if design.over_conditions:
            cells.append((f"{name} over conditions", f"± {_number(design.over_conditions[name])}"))
        if design.truth:
            cells.append((f"true {name}", output_text(design.truth[name], target)))
        if design.difference:
            cells.append((f"error {name}", _signed(design.difference[name])))
        if design.nearest is not None and design.nearest.measured:
            cells.append((f"nearest row's {name}", measured_text(design.nearest.measured[name], target)))
    if any(other.probability is not None for other in report.designs):
        unsure = " ?" if design.no_guarantee else ""
        cells.append(("probability", f"{percent(design.probability)}{unsure}"))
    cells += [("met", _met(design, report)), ("loss", _number(design.loss)), ("starts", str(design.starts))]
    if design.nearest is not None:
        cells.append(("data", "inside" if design.nearest.inside else "outside"))
    return cells


def _heading(name: str, report: Report) -> str:
    """Return the name of a column with its unit."""
    return with_unit(name, report.units)


def _around(best: DesignReport, report: Report, console: Console) -> None:
    """Say how sure the best design is, and what is known of its surroundings."""
    lines = confidence_lines(best, report)
    if best.nearest is not None:
        n = best.nearest
        which = "nearest row" if n.row is None else f"nearest row: {n.row},"
        lines.append(f"{which} {n.distance:.2g} away, {'inside' if n.inside else 'outside'} the data")
    if best.tolerance_range:
        ranges = ", ".join(f"{name} {_range(ends)}" for name, ends in best.tolerance_range.items())
        lines.append(f"tolerance of each input (others fixed): {ranges}")
    if best.free_directions:
        lines.append(
            _free(best.free_directions, [name for name in best.inputs if name in (best.tolerance_range or ())])
        )
    if lines:
        say(console, "the best design")
        for line in lines:
            say(console, line, indent="  ")


def _range(ends: list[Any]) -> str:
    if len(ends) == 2 and all(isinstance(end, float | int) for end in ends):
        return f"{typed(ends[0])} only" if ends[0] == ends[1] else f"{typed(ends[0])}..{typed(ends[1])}"
    return " or ".join(map(typed, ends))


def _free(directions: list[dict[str, float]], names: list[str]) -> str:
    """Name the free directions: each where they are few, else which inputs compensate for the others."""
    if len(directions) <= 3:
        steps = [" ".join(f"{name} {step:+.4g}" for name, step in d.items()) for d in directions]
        return "free direction" + ("s: " if len(steps) > 1 else ": ") + "; ".join(steps)
    own = [next(iter(d)) for d in directions]
    tied = [name for name in names if name not in own and any(name in d for d in directions)]
    alone = [name for name, d in zip(own, directions, strict=True) if len(d) == 1]
    text = f"{len(directions)} of {len(names)} directions are free"
    text += f": {', '.join(tied)} can compensate for the others" if tied else ""
    return text + (f"; without effect here: {', '.join(alone)}" if alone else "")


def _met(design: DesignReport, report: Report) -> str:
    """Say whether a design meets the target; nothing of a maximum or minimum, which can only be missed by limits."""
    if not design.met:
        return "–"
    missed = [name for name, met in design.met.items() if not met]
    if not missed:
        return "yes"
    texts = [miss_of(name, design, report.target[name]) for name in missed]
    if len(design.met) == 1:
        return texts[0].removeprefix(f"{missed[0]} ")
    return "; ".join(texts)


def _target(name: str, target: TargetReport, report: Report) -> str:
    """Return what was asked of an output as it was typed, with the tolerance in force."""
    low = -math.inf if target.lower is None else target.lower
    high = math.inf if target.upper is None else target.upper
    unit = behind(name, report.units) if target.lower is not None or target.upper is not None else ""
    text = f"{name} {Target(low, high, goal=target.goal)}{unit}"
    if target.goal is None and low == high:
        return text + (f" ± {size_of_tolerance(target)}" if target.tolerance else "")
    return text + tolerance_text(target)


def _signed(value: float | None) -> str:
    """Write a difference with its sign."""
    return ("+" if value is not None and value > 0 else "") + _number(value)


def _number(value: Any) -> str:
    return number_text(value)
