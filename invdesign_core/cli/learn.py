"""`invdesign learn`: what was measured is learnt, compared with what was predicted, and followed by new proposals."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from invdesign_core.cli.console import width_of
from invdesign_core.cli.output import check_printed
from invdesign_core.cli.saved_run import opened
from invdesign_core.designs.report import LearnReport
from invdesign_core.designs.verdict import number_text
from invdesign_core.errors import plural
from invdesign_core.workflow.learn import learn_table


def learn(
    run: Path,
    table: Path,
    targets: tuple[str, ...],
    batch: int | None,
    out: Path | None,
    afresh: bool,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Add measured rows to a run, train on, and propose again."""
    why = "a run is trained on by its own settings"
    with opened(run, targets, out, quiet, given, takes=("dataset",), why=why) as this:
        stdout = this.stdout
        report = learn_table(
            this.prepared, table, targets=targets, reading=this.reading, afresh=afresh, batch=batch, out=out
        )
        if as_json:
            stdout.write(report.model_dump_json(indent=1) + "\n")
        else:
            _show(report, stdout)
        check_printed(stdout, f"the round is in {report.folder}")


def _show(report: LearnReport, stream: TextIO) -> None:
    """Print what was learnt for people."""
    console = Console(file=stream, highlight=False, width=width_of(stream))
    table = Table(title="measured beside predicted", title_justify="left")
    table.add_column("row", justify="right")
    for name in report.inside:
        for text in (f"measured {name}", f"predicted {name}", "interval"):
            table.add_column(escape(text), justify="right", overflow="fold")
    for one in report.measured:
        cells = [str(one.row)]
        for name in report.inside:
            mark = "" if one.inside.get(name, True) else " !"
            interval = f"{number_text(one.low[name])} to {number_text(one.high[name])}{mark}"
            cells += [number_text(one.measured[name]), number_text(one.prediction[name]), interval]
        table.add_row(*cells)
    console.print(table)
    held = [f"{escape(name)} {k} of {n}" for name, (k, n) in report.inside.items()]
    console.print(f"inside their {report.level:.0%} intervals: {', '.join(held)}")
    for name, now in report.after.items():
        if now.rmse is not None and name in report.before:
            errors = f"{number_text(report.before[name].rmse)} → {number_text(now.rmse)}"
            console.print(f"RMS error of {escape(name)} on the rows held out: {errors}")
    met = ", ".join(str(one.row) for one in report.measured if one.met)
    if met:
        console.print(f"rows that meet the target: {met}")
    how = "trained from the beginning" if report.afresh else "trained on"
    console.print(f"{plural(report.added, 'row')} learnt, {how}: round {report.round} in {report.folder}")
    if report.next is not None:
        count = plural(len(report.next.experiments), "next experiment")
        console.print(f"{count} in {report.next.out}" if report.next.out else f"{count} (--out writes them):")
        if not report.next.out:
            _show_next(report, console)


def _show_next(report: LearnReport, console: Any) -> None:
    """Print the next experiments."""
    assert report.next is not None
    following = report.next
    table = Table()
    for name in following.experiments[0] if following.experiments else ():
        table.add_column(escape(name), justify="right", overflow="fold")
    for name in report.inside:
        table.add_column(escape(f"predicted {name}"), justify="right", overflow="fold")
    for inputs, prediction in zip(following.experiments, following.prediction or [], strict=True):
        cells = [number_text(v) if isinstance(v, float) else str(v) for v in inputs.values()]
        table.add_row(*map(escape, cells), *(number_text(prediction[name]) for name in report.inside))
    console.print(table)
