"""What a person sees: progress while it runs, then a table of the designs."""

from __future__ import annotations

import math
import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from invdesign_core.digits import SHARE, given, near, telling, typed
from invdesign_core.targets import ROUNDOFF

if TYPE_CHECKING:
    from invdesign_core.context import Event
    from invdesign_core.results import DesignReport, Report, TableReport, TargetReport

WORDS = {"load": "loading", "tune": "tuning", "train": "training", "solve": "solving"}


class Watcher:
    """Shows events on stderr: a bar on a terminal, plain lines elsewhere, nothing when quiet.

    Parameters
    ----------
    quiet : bool
        Whether to say nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.run: str | None = None
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f}"),
            TextColumn("{task.fields[rest]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task: Any = None
        self._stage = ""
        self._words = dict(WORDS)

    def __enter__(self) -> Watcher:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        data = event.data
        if event.kind == "run":
            self.run = str(data["path"])
        if self.quiet:
            return
        if event.kind == "stage":
            if "solver" in data:
                self._words["solve"] = f"solving by {data['solver']}"
            if not self._console.is_terminal:
                self._console.print(self._words.get(data["stage"], data["stage"]), "…")
        elif event.kind in ("note", "warning"):
            style = "yellow" if event.kind == "warning" else "dim"
            line = f"[{style}]{escape(event.kind)}:[/] {escape(str(data['text']))}"
            self._console.print(line, soft_wrap=True)  # a command in it can be copied whole
        elif event.kind == "progress":
            self._progress(data)

    def _progress(self, data: Any) -> None:
        if data["stage"] != self._stage or self._task is None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._stage = data["stage"]
            self._task = self._bar.add_task(self._words.get(self._stage, self._stage), total=data["total"], rest="")
        rest = f"{data['live']} live, best {data['best']:.4g}" if data.get("best") is not None else ""
        self._bar.update(self._task, completed=data["done"], total=data["total"], rest=rest)


def show(report: Report, stream: TextIO, quiet: bool = False) -> None:
    """Print a report for people.

    What depends on the clock or on where the run is kept goes to stderr, so that two runs with one
    seed print the same.

    Parameters
    ----------
    report : Report
        The result.
    stream : TextIO
        Where to.
    quiet : bool
        Whether to say nothing but the result.
    """
    console = Console(file=stream, highlight=False, width=_width(stream))
    _surrogate(report, console)
    if report.designs:
        _designs(report, console)
        _around(report.designs[0], console)
    if report.starts is not None:
        s = report.starts
        text = f"{s.total} starts: {s.hit} hit the target, {s.converged} converged, {s.unmoved} never moved"
        console.print(text + (f", {s.not_finite} not finite" if s.not_finite else ""))
    console.print(_verdict(report))
    stream.flush()
    if quiet:
        return
    end = f"{report.seconds['total']:.1f} s"
    print(f"saved in {report.run} ({end})" if report.run else end, file=sys.stderr)


def show_table(report: TableReport, stream: TextIO) -> None:
    """Print the report of a table of targets for people."""
    s = report.starts
    stream.write(f"{report.met} of {report.targets} targets are met; the designs are in {report.out}\n")
    if s.total:
        stream.write(f"{s.total} starts: {s.hit} hit their target, {s.converged} converged, {s.unmoved} never moved\n")
    stream.flush()
    print(f"{report.seconds['total']:.1f} s", file=sys.stderr)


def _surrogate(report: Report, console: Console) -> None:
    s = report.surrogate
    if s.test:
        table = Table(title=f"surrogate on {s.rows.get('test', 0)} test rows", title_justify="left")
        table.add_column("output", overflow="fold")
        for name in ("R²", "mean abs. error", "RMS error"):
            table.add_column(name, justify="right", no_wrap=True)
        for name, m in s.test.items():
            table.add_row(escape(name), _number(m.r2), _number(m.mae), _number(m.rmse))
        console.print(table)
    if s.trials:
        best = ", ".join(f"{k} {_number(v)}" for k, v in s.best.items()) or "nothing to tune"
        failed = f", {s.failed} failed" if s.failed else ""
        console.print(
            f"{s.trials} trials{failed}; best: {escape(best)} ({escape(str(s.objective))} {_number(s.score)})"
        )


def _width(stream: TextIO) -> int | None:
    """Return the columns to write for: those of a terminal, or what $COLUMNS says, else 120."""
    return None if stream.isatty() or os.environ.get("COLUMNS", "").isdigit() else 120


def _designs(report: Report, console: Console) -> None:
    """Print a row for each design, or a column for each where rows would not fit: no digit is cut."""
    first = report.designs[0]
    wanted = ", ".join(_target(name, t) for name, t in report.target.items())
    title = f"designs for {escape(wanted)} ({report.distinct} distinct)"
    rows = [_cells(design, report) for design in report.designs]
    table = Table(title=title, title_justify="left")
    for at, (name, _) in enumerate(rows[0]):
        bold = "bold" if at < len(first.inputs) else ""
        table.add_column(name, justify="left" if name == "met" else "right", style=bold)
    for row in rows:
        table.add_row(*(value for _, value in row))
    if _fits(table, console):
        console.print(table)
        return
    console.print(title, style="italic")
    for beside in range(len(rows), 0, -1):
        upright = [_upright(rows[at : at + beside], at + 1) for at in range(0, len(rows), beside)]
        if beside == 1 or all(_fits(table, console) for table in upright):
            console.print(*upright, sep="\n")
            return


def _upright(rows: list[list[tuple[str, str]]], first: int) -> Table:
    """Return a table with a column for each of some designs, of which the first has the number `first`."""
    table = Table()
    table.add_column("design", overflow="fold")
    for number in range(first, first + len(rows)):
        table.add_column(str(number), justify="right", overflow="fold")
    for cells in zip(*rows, strict=True):
        table.add_row(cells[0][0], *(value for _, value in cells))
    return table


def _fits(table: Table, console: Console) -> bool:
    """Say whether a table has room, measured on a wide page: rich never asks for more than there is."""
    return console.measure(table, options=console.options.update(width=10_000)).maximum <= console.width


def _cells(design: DesignReport, report: Report) -> list[tuple[str, str]]:
    """Return what is shown of a design, each with its heading."""
    cells = [(escape(name), escape(typed(value))) for name, value in design.inputs.items()]
    for name in report.target:
        target = report.target[name]
        cells.append((f"predicted {escape(name)}", _output(design.prediction[name], target)))
        if design.truth:
            cells.append((f"true {escape(name)}", _output(design.truth[name], target)))
    cells += [("met", _met(design, report)), ("loss", _number(design.loss)), ("starts", str(design.starts))]
    if design.nearest is not None:
        cells.append(("data", "inside" if design.nearest.inside else "outside"))
    return cells


def _around(best: DesignReport, console: Console) -> None:
    """Say what is known of the best design's surroundings."""
    lines = []
    if best.nearest is not None:
        n = best.nearest
        which = "nearest row" if n.row is None else f"nearest row: {n.row},"
        lines.append(f"{which} {n.distance:.2g} away, {'inside' if n.inside else 'outside'} the data")
    if best.room:
        lines.append("each input alone: " + ", ".join(f"{name} {_room(ends)}" for name, ends in best.room.items()))
    if best.free:
        lines.append(_free(best.free, [name for name in best.inputs if name in (best.room or {})]))
    if lines:
        console.print("the best design", *(f"  {escape(line)}" for line in lines), sep="\n")


def _room(ends: list[Any]) -> str:
    if len(ends) == 2 and all(isinstance(end, float | int) for end in ends):
        return f"{typed(ends[0])}..{typed(ends[1])}"
    return " or ".join(map(typed, ends))


def _free(directions: list[dict[str, float]], names: list[str]) -> str:
    """Name the free directions: each where they are few, else which inputs make up for the others."""
    if len(directions) <= 3:
        steps = [" ".join(f"{name} {step:+.4g}" for name, step in d.items()) for d in directions]
        return "free direction" + ("s: " if len(steps) > 1 else ": ") + "; ".join(steps)
    own = [next(iter(d)) for d in directions]
    tied = [name for name in names if name not in own and any(name in d for d in directions)]
    alone = [name for name, d in zip(own, directions, strict=True) if len(d) == 1]
    text = f"{len(directions)} of {len(names)} directions are free"
    if tied:
        text += f": {', '.join(tied)} can make up for the others"
    if alone:
        text += f"; without effect here: {', '.join(alone)}"
    return text


def _met(design: DesignReport, report: Report) -> str:
    if all(design.met.values()):
        return "yes"
    misses = {
        name: f"misses by {_miss(design.miss[name], report.target[name])}"
        for name, met in design.met.items()
        if not met
    }
    if len(design.met) == 1:
        return escape(next(iter(misses.values())))
    return escape("; ".join(f"{name} {text}" for name, text in misses.items()))


def _verdict(report: Report) -> str:
    if report.status == "no target":
        return f"no target was named; the outputs are {escape(', '.join(report.surrogate.test) or 'untested')}"
    if report.status == "met":
        return "the best design meets the target"
    if report.status == "interrupted":
        return "interrupted: these are the best designs so far"
    if not report.designs:
        return "no start reached a design with a finite prediction"
    best = report.designs[0]
    parts = [
        f"{name} misses by {_miss(best.miss[name], report.target[name])}{_tolerance(report.target[name])}"
        for name, met in best.met.items()
        if not met
    ]
    return escape("no design meets the target; the nearest: " + ", ".join(parts))


def _target(name: str, target: TargetReport) -> str:
    """Return what was asked of an output as it was typed, with the tolerance in force."""
    low, high = (None if side is None else typed(side) for side in (target.lower, target.upper))
    if target.goal is not None:
        sides = [f">= {low}"] * (low is not None) + [f"<= {high}"] * (high is not None)
        text = ", ".join([f"{name} = {target.goal}", *sides])
    elif low is None or high is None:
        text = f"{name} <= {high}" if low is None else f"{name} >= {low}"
    elif low == high:
        return f"{name} = {low} ± {_computed(target.tolerance)}" if target.tolerance else f"{name} = {low}"
    else:
        text = f"{name} = {low}..{high}"
    return text + _tolerance(target)


def _tolerance(target: TargetReport) -> str:
    return f" (tolerance {_computed(target.tolerance)})" if target.tolerance else ""


def _output(value: float | None, target: TargetReport) -> str:
    """Return an output to a small share of its range and tolerance, so that it can be seen to meet or miss."""
    if value is None:
        return "–"
    low, high = (
        side if limit is None else limit for side, limit in ((-math.inf, target.lower), (math.inf, target.upper))
    )

    allowed = target.tolerance if low == high else max(target.tolerance, ROUNDOFF * (target.range or 0.0))

    def alike(shown: float) -> bool:
        """Whether a number is inside where the output is, and met where it is."""
        before, after = (max(low - y, y - high, 0.0) for y in (value, shown))
        return (after > allowed) == (before > allowed) and (low == high or before > 0 or after == 0)

    unit = SHARE * (target.range or 0.0)
    if target.tolerance:
        unit = min(unit, target.tolerance / 10) if unit else target.tolerance / 10
    return telling(value, unit, alike)


def _miss(miss: float | None, target: TargetReport) -> str:
    size = abs(miss or 0.0)
    return (
        telling(size, 1e-4 * size, lambda shown: shown > target.tolerance) if size > target.tolerance else _number(size)
    )


def _computed(value: float) -> str:
    """Return a number as it was typed, or to three digits where it was computed."""
    return given(value, 1e-2 * value)


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return escape(near(value, 1e-4 * abs(value)) if isinstance(value, float) else str(value))
