"""`invdesign refine`: a true model is asked about the designs that teach most, until the target is met."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TextIO

from invdesign_core.cli.output import check_printed, print_line, print_model
from invdesign_core.cli.saved_run import opened
from invdesign_core.cli.tables import printer, say, show_rows
from invdesign_core.designs.report import RefineReport
from invdesign_core.designs.verdict import number_text
from invdesign_core.errors import ExitCode
from invdesign_core.workflow.refine import Plan, refine

SHOWN = 20
"""Targets of a table that are printed."""


def refine_run(
    run: Path,
    targets: tuple[str, ...],
    target_table: Path | None,
    rounds: int,
    budget: int,
    batch: int | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Ask the true model, learn, and ask again."""
    truth = True if given["truth"] else None
    takes, why = ("truth", "compute", "dataset"), "a run is trained on by its own settings"
    with opened(run, targets, out, quiet, given, takes=takes, why=why, target_table=target_table, truth=truth) as this:
        stdout, frame = this.stdout, this.targets
        try:
            report = refine(this.prepared, targets if frame is None else frame, Plan(rounds, budget, batch), out)
        except KeyboardInterrupt:
            print_line("finished rounds are saved; run the same command to resume", sys.stderr)
            raise
        if as_json:
            print_model(report, stdout)
        else:
            _show(report, stdout)
        check_printed(stdout, f"the rounds are in {run}")
        return int(ExitCode.NOT_MET if report.status == "not met" else ExitCode.OK)


def _show(report: RefineReport, stream: TextIO) -> None:
    """Print what came of it for people."""
    console = printer(stream)
    say(console, "the best designs by the true model", "italic")
    first = next((one for one in report.targets if one.inputs is not None and one.outputs is not None), None)
    known = [] if first is None else [*(first.inputs or {}), *(f"true {output}" for output in first.outputs or {})]
    rows = []
    for one in report.targets[:SHOWN] if first is not None else []:
        cells = [number_text(v) if isinstance(v, float) else str(v) for v in (one.inputs or {}).values()]
        values = [number_text(value) for value in (one.outputs or {}).values()]
        if not cells:
            cells = [""] * len(first.inputs or {}) + [""] * len(first.outputs or {}) if first else []
        met = {True: "yes", False: "no", None: ""}[one.met]
        rows.append([str(one.target), *cells, *values, met, str(one.experiments)])
    show_rows(console, ["target", *known, "met", "experiments"], rows, "design")
    if len(report.targets) > SHOWN:
        say(console, f"… and {len(report.targets) - SHOWN} more targets")
    say(console, report.verdict + (f"; the designs are in {report.out}" if report.out else ""))
