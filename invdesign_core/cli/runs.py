"""`invdesign runs`: the runs in a folder, listed, compared and deleted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from invdesign_core.cli.output import print_error, print_json, print_line
from invdesign_core.cli.tables import Column, printer, say, show_rows
from invdesign_core.designs.report import Report, SurrogateReport
from invdesign_core.designs.verdict import number_text, percent, r2_text
from invdesign_core.errors import ConfigError, ExitCode, InvdesignError, plural
from invdesign_core.space.digits import typed
from invdesign_core.workflow.runs import (
    Compared,
    Difference,
    Listed,
    check_removable,
    compare_runs,
    list_runs,
    remove_run,
)

NONE = "–"


def list_them(folder: Path, as_json: bool) -> None:
    """List the runs in a folder, and name what else lies there."""
    runs, others = list_runs(folder)
    if as_json:
        print_json({"runs": [run.to_json() for run in runs], "others": [other.to_json() for other in others]})
        return
    console = printer(sys.stdout)
    if runs:
        columns: list[Column | str] = [
            Column("run", "left", "bold"),
            Column("began", "left"),
            Column("status", "left"),
            Column("target", "left", words=True),
            Column("surrogate", "left"),
            *("lowest R²", "designs", "solves", "rounds", "MB"),
        ]
        show_rows(console, columns, [_row(run) for run in runs])
    else:
        say(console, f"there are no runs in the folder {folder}")
    files = [other.path.name for other in others if other.path.is_file()]
    if files:
        say(console, f"files, not runs: {', '.join(files)}", further="  ")
    for other in others:
        if other.path.name not in files:
            say(console, f"{other.path} is not listed: {other.why}", "yellow", further="  ")


def _row(run: Listed) -> list[str]:
    r2 = NONE if run.r2 is None else number_text(run.r2)
    words = [str(run.path), run.began or NONE, run.status, run.target or NONE, run.surrogate or NONE]
    return [*words, r2, str(run.designs), str(run.solves), str(run.rounds), f"{run.megabytes:.1f}"]


def compare(first: Path, second: Path, as_json: bool) -> None:
    """Show what two runs differ in, and how good each is."""
    found = compare_runs(first, second)
    if as_json:
        print_json(found.to_json())
        return
    console = printer(sys.stdout)
    names = [str(first), str(second)]
    _differences(found, names, console)
    _errors(found, names, console)
    for name, report in zip(names, found.reports, strict=True):
        _results(name, report, console)


def _differences(found: Compared, names: list[str], console: Console) -> None:
    if not found.differences:
        say(console, "the two runs have the same settings, data and versions")
        return
    say(console, "settings that differ", "italic")
    columns = [Column("setting", "left"), *(Column(name, "left", words=True) for name in names)]
    show_rows(console, columns, [_difference(one) for one in found.differences], "difference")


def _difference(one: Difference) -> list[str]:
    return [one.setting, *(NONE if value is None else _said(value) for value in (one.first, one.second))]


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _errors(found: Compared, names: list[str], console: Console) -> None:
    rows = []
    for name, surrogate in zip(names, found.surrogates, strict=True):
        for output, m in surrogate.test.items() if surrogate else ():
            rows.append([output, name, _by(surrogate), r2_text(m), number_text(m.mae), number_text(m.rmse)])
    if not rows:
        return
    rows.sort(key=lambda row: row[0])
    say(console, "errors of the surrogates", "italic")
    columns = [Column(name, "left") for name in ("output", "run", "surrogate")]
    show_rows(console, [*columns, "R²", "mean abs. error", "RMS error"], rows, "error")
    if not found.same_rows:
        say(console, "they were tested on different rows: small differences of these errors may come from that")


def _by(surrogate: SurrogateReport | None) -> str:
    return (surrogate.plugin if surrogate else None) or NONE


def _results(name: str, report: Report | None, console: Console) -> None:
    """Print the best design of a run with what it promises."""
    if report is None:
        say(console, f"{name}: unfinished")
        return
    say(console, f"{name}: {report.verdict}", further="  ")
    if not report.designs:
        return
    best = report.designs[0]
    cells = {key: typed(value) for key, value in best.inputs.items()}
    cells |= {f"predicted {key}": number_text(value) for key, value in best.prediction.items()}
    cells |= {} if best.probability is None else {"probability": percent(best.probability)}
    show_rows(console, list(cells), [list(cells.values())], "design")


def remove(runs: tuple[Path, ...], yes: bool, as_json: bool) -> int:
    """Delete runs, after a question; what is no run, damaged or in use is named and stays."""
    fine, refused = list[Listed](), list[InvdesignError]()
    for path in dict.fromkeys(runs):
        try:
            fine.append(check_removable(path))
        except InvdesignError as error:
            refused.append(error)
    if fine and not yes:
        _ask(fine)
    removed = list[str]()
    for run in fine:
        try:
            remove_run(run.path)
            removed.append(str(run.path))
        except InvdesignError as error:  # it came to be in use meanwhile
            refused.append(error)
    if as_json:
        print_json({"removed": removed, "refused": [error.message for error in refused]})
    for name in [] if as_json else removed:
        print_line(f"deleted {name}")
    for refusal in refused:
        print_error(refusal)
    return int(refused[0].exit_code if refused else ExitCode.OK)


def _ask(runs: list[Listed]) -> None:
    """Ask whether to delete runs; only a person at a terminal can say yes."""
    for run in runs:
        solves = f", {plural(run.solves, 'solve')}" + (f", {plural(run.rounds, 'round')}" if run.rounds else "")
        print_line(f"{run.path}: {run.status}, {run.target or 'no target'}{solves}, {run.megabytes:.1f} MB", sys.stderr)
    if not sys.stdin.isatty():
        raise ConfigError("runs rm: nobody is there to be asked whether to delete this", "add --yes to delete it")
    if not click.confirm(f"Delete {plural(len(runs), 'run')} for good?", err=True):
        raise click.Abort
