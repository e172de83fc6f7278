"""What a person sees: progress while it runs, then a table of the designs."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

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
        if event.kind == "stage" and not self._console.is_terminal:
            self._console.print(WORDS.get(data["stage"], data["stage"]), "…")
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
            self._task = self._bar.add_task(WORDS.get(self._stage, self._stage), total=data["total"], rest="")
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
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else 120)
    _surrogate(report, console)
    if report.designs:
        _designs(report, console)
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
        for name in ("output", "R²", "mean abs. error", "RMS error"):
            table.add_column(name, justify="left" if name == "output" else "right")
        for name, m in s.test.items():
            table.add_row(escape(name), _number(m.r2), _number(m.mae), _number(m.rmse))
        console.print(table)
    if s.trials:
        best = ", ".join(f"{k} {_number(v)}" for k, v in s.best.items()) or "nothing to tune"
        failed = f", {s.failed} failed" if s.failed else ""
        console.print(
            f"{s.trials} trials{failed}; best: {escape(best)} ({escape(str(s.objective))} {_number(s.score)})"
        )


def _designs(report: Report, console: Console) -> None:
    first = report.designs[0]
    wanted = ", ".join(_target(name, t) for name, t in report.target.items())
    table = Table(title=f"designs for {escape(wanted)}", title_justify="left")
    for name in first.inputs:
        table.add_column(escape(name), justify="right", style="bold")
    shown = [name for name in first.prediction if name in report.target]
    for name in shown:
        table.add_column(f"predicted {escape(name)}", justify="right")
        if first.truth:
            table.add_column(f"true {escape(name)}", justify="right")
    table.add_column("met")
    table.add_column("loss", justify="right")
    table.add_column("starts", justify="right")
    for design in report.designs:
        row = [_number(v) for v in design.inputs.values()]
        for name in shown:
            row.append(_number(design.prediction[name]))
            if design.truth:
                row.append(_number(design.truth[name]))
        table.add_row(*row, _met(design), _number(design.loss), str(design.starts))
    console.print(table)


def _met(design: DesignReport) -> str:
    if all(design.met.values()):
        return "yes"
    misses = {name: f"misses by {_number(abs(design.miss[name] or 0))}" for name, met in design.met.items() if not met}
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
        f"{name} misses by {_number(abs(best.miss[name] or 0))} (tolerance {_number(report.target[name].tolerance)})"
        for name, met in best.met.items()
        if not met
    ]
    return escape("no design meets the target; the nearest: " + ", ".join(parts))


def _target(name: str, target: TargetReport) -> str:
    low, high = _number(target.lower), _number(target.upper)
    if target.goal is not None:
        sides = [f">= {low}"] * (target.lower is not None) + [f"<= {high}"] * (target.upper is not None)
        return ", ".join([f"{name} = {target.goal}", *sides])
    if target.lower is None:
        return f"{name} <= {high}"
    if target.upper is None:
        return f"{name} >= {low}"
    return f"{name} = {low}" if target.lower == target.upper else f"{name} = {low}..{high}"


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.5g}" if isinstance(value, float) else escape(str(value))
