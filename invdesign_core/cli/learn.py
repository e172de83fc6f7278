"""`invdesign learn`: what was measured is learnt, compared with what was predicted, and followed by new proposals."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from invdesign_core.cli.output import check_printed, print_model
from invdesign_core.cli.saved_run import opened
from invdesign_core.cli.tables import Column, printer, say, show_rows
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
            print_model(report, stdout)
        else:
            _show(report, stdout)
        check_printed(stdout, f"the round is in {report.folder}")


def _show(report: LearnReport, stream: TextIO) -> None:
    """Print what was learnt for people."""
    console = printer(stream)
    say(console, "measured beside predicted", "italic")
    columns: list[Column | str] = ["row"]
    for name in report.inside:
        columns += [f"measured {name}", f"predicted {name}", "interval"]
    rows = []
    for one in report.measured:
        cells = [str(one.row)]
        for name in report.inside:
            mark = "" if one.inside.get(name, True) else " !"
            interval = f"{number_text(one.low[name])} to {number_text(one.high[name])}{mark}"
            cells += [number_text(one.measured[name]), number_text(one.prediction[name]), interval]
        rows.append(cells)
    show_rows(console, columns, rows, "measured")
    held = [f"{name} {k} of {n}" for name, (k, n) in report.inside.items()]
    level = f"{report.level:.0%}".replace("%", " %")
    say(console, f"inside their {level} intervals: {', '.join(held)}")
    for name, now in report.after.items():
        if now.rmse is not None and name in report.before:
            errors = f"{number_text(report.before[name].rmse)} → {number_text(now.rmse)}"
            say(console, f"RMS error of {name} on the rows held out: {errors}")
    met = ", ".join(str(one.row) for one in report.measured if one.met)
    if met:
        say(console, f"rows that meet the target: {met}")
    how = "trained from the beginning" if report.afresh else "trained on"
    say(console, f"{plural(report.added, 'row')} learnt, {how}: round {report.round} in {report.folder}")
    if report.next is not None:
        count = plural(len(report.next.experiments), "next experiment")
        say(console, f"{count} in {report.next.out}" if report.next.out else f"{count} (--out writes them):")
        if not report.next.out:
            _show_next(report, console)


def _show_next(report: LearnReport, console: Console) -> None:
    """Print the next experiments."""
    assert report.next is not None
    following = report.next
    columns = [*(following.experiments[0] if following.experiments else ()), *(f"predicted {n}" for n in report.inside)]
    rows = []
    for inputs, prediction in zip(following.experiments, following.prediction or [], strict=True):
        cells = [number_text(v) if isinstance(v, float) else str(v) for v in inputs.values()]
        rows.append([*cells, *(number_text(prediction[name]) for name in report.inside)])
    show_rows(console, columns, rows, "experiment")
