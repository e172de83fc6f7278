"""`invdesign refine`: a true model is asked about the designs that teach most, until the target is met."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from invdesign_core.cli.console import width_of
from invdesign_core.cli.option_values import check_exists, design_values, overrides_of
from invdesign_core.cli.output import check_printed
from invdesign_core.cli.session import discover, session
from invdesign_core.data.files.load import AUTOMATIC
from invdesign_core.data.files.options import Reading
from invdesign_core.data.files.write import check_new
from invdesign_core.data.own_columns import read_targets
from invdesign_core.designs.report import RefineReport
from invdesign_core.designs.verdict import number_text
from invdesign_core.errors import ConfigError, ExitCode
from invdesign_core.registry import build_options
from invdesign_core.workflow.design import merge_design
from invdesign_core.workflow.experiment import apply_overrides
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.refine import Plan, refine
from invdesign_core.workflow.run_folder import saved_space

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
    check_exists(run)
    if out is not None:
        check_new(out)
    if targets and target_table is not None:
        raise ConfigError("--target and --targets contradict each other", "put all targets into the table")
    sections = apply_overrides({}, overrides_of(given))
    said = sections.pop("dataset", {})
    reading = build_options(Reading, said, "--set dataset") if said else AUTOMATIC
    design = merge_design(sections.pop("design", {}), design_values(given))
    registry = discover()
    with session(given["backend"], quiet) as (stdout, _, ctx):
        frame = None if target_table is None else read_targets(target_table, saved_space(run), reading)
        prepared = prepare(
            run,
            registry=registry,
            ctx=ctx,
            overrides=sections,
            seed=given["seed"],
            backend_name=given["backend"],
            allow_code=given["allow_code"],
            truth=True if given["truth"] else None,
            frame=frame,
            targets=targets,
            **design,
        )
        try:
            report = refine(prepared, targets if frame is None else frame, Plan(rounds, budget, batch), out)
        except KeyboardInterrupt:
            click.echo("finished rounds are saved; run the same command to resume", err=True)
            raise
        if as_json:
            stdout.write(report.model_dump_json(indent=1) + "\n")
        else:
            _show(report, stdout)
        check_printed(stdout, f"the rounds are in {run}")
        return int(ExitCode.NOT_MET if report.status == "not met" else ExitCode.OK)


def _show(report: RefineReport, stream: TextIO) -> None:
    """Print what came of it for people."""
    console = Console(file=stream, highlight=False, width=width_of(stream))
    table = Table(title="the best designs by the true model", title_justify="left")
    table.add_column("target", justify="right")
    first = next((one for one in report.targets if one.inputs is not None and one.outputs is not None), None)
    for name in [] if first is None else [*(first.inputs or {}), *(f"true {output}" for output in first.outputs or {})]:
        table.add_column(escape(name), justify="right", overflow="fold")
    for name in ("met", "experiments"):
        table.add_column(name, justify="right")
    for one in report.targets[:SHOWN] if first is not None else []:
        cells = [number_text(v) if isinstance(v, float) else str(v) for v in (one.inputs or {}).values()]
        values = [number_text(value) for value in (one.outputs or {}).values()]
        if not cells:
            cells = [""] * len(first.inputs or {}) + [""] * len(first.outputs or {}) if first else []
        met = {True: "yes", False: "no", None: ""}[one.met]
        table.add_row(str(one.target), *map(escape, [*cells, *values]), met, str(one.experiments))
    console.print(table)
    if len(report.targets) > SHOWN:
        console.print(f"… and {len(report.targets) - SHOWN} more targets")
    console.print(escape(report.verdict) + (f"; the designs are in {report.out}" if report.out else ""))
