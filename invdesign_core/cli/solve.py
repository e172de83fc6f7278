"""`invdesign solve`: another target for a saved surrogate, or for a model of the user's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from invdesign_core.cli.console import show_table
from invdesign_core.cli.option_values import (
    arranged,
    check_exists,
    design_values,
    listed_names,
    others_of,
)
from invdesign_core.cli.output import check_printed, print_line, print_model
from invdesign_core.cli.report import check_page
from invdesign_core.cli.run import finish
from invdesign_core.cli.saved_run import PLUGINS, SECTIONS, sections_of
from invdesign_core.cli.session import discover, session
from invdesign_core.data.files.write import check_ending, check_new
from invdesign_core.data.own_columns import read_designs, read_targets
from invdesign_core.errors import ConfigError, ExitCode
from invdesign_core.workflow.defaults import AUTO
from invdesign_core.workflow.design import merge_design
from invdesign_core.workflow.load import prepare, registry_for
from invdesign_core.workflow.run_folder import RunFolder, is_run, saved_space
from invdesign_core.workflow.solve import solve_one, solve_table


def solve(
    run_or_model: Path,
    targets: tuple[str, ...],
    target_table: Path | None,
    out: Path | None,
    page: Path | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Find the inputs that give another target, without training."""
    if target_table is not None and out is None:
        raise ConfigError("--targets needs a file for the designs: --out", "for example --out designs.csv")
    check_page(page, "--report")
    if out is not None:
        (check_new if target_table is None else check_ending)(out)  # a table that was begun is gone on with
    if target_table is not None and targets:
        raise ConfigError("--target and --targets contradict each other", "put all targets into the table")
    sections, reading, said = sections_of(given, (*SECTIONS, "truth", "compute", "dataset"), "a solve trains nothing")
    designs = 1 if target_table is not None and given["designs"] is None else given["designs"]
    if designs is not None:
        sections.setdefault("design", {})["designs"] = designs
    if said and target_table is None and given["table"] is None:
        raise ConfigError("--set dataset: no table is read", "it says how the file of --targets or --table is written")
    design = merge_design(sections.pop("design", {}), design_values(given))
    others = others_of(given)
    registry = discover()
    if is_run(run_or_model) and (run_or_model / "resolved.json").exists():
        registry = registry_for(RunFolder(run_or_model).read_settings(), others, registry, given["allow_code"])
    elif others:
        registry = arranged(registry, given)
    for kind, section in sections.items():
        if kind in PLUGINS and section.get("use", AUTO) != AUTO:
            registry.find(section["use"], kind)
    model_only = {"table": given["table"], "inputs": given["inputs"], "outputs": given["outputs"]}
    if is_run(run_or_model) and any(model_only.values()):
        raise ConfigError("--table, --inputs and --outputs are for models; a run has its own", "leave them out")
    check_exists(run_or_model)
    with session(given["backend"], quiet) as (stdout, _, ctx):
        frame, table = None, given["table"]
        if target_table is not None:
            frame = read_targets(target_table, saved_space(run_or_model) if is_run(run_or_model) else None, reading)
        prepared = prepare(
            run_or_model,
            registry=registry,
            ctx=ctx,
            overrides=sections | ({"plugins": others} if others else {}),
            seed=given["seed"],
            backend_name=given["backend"],
            allow_code=given["allow_code"],
            imports=given["imports"],
            truth=True if given["truth"] else None,
            frame=frame,
            targets=targets,
            table=read_designs(table, reading=reading) if said and table is not None else table,
            inputs=listed_names(given["inputs"], table, reading),
            outputs=listed_names(given["outputs"], table, reading),
            **design,
        )
        if frame is None or out is None:
            return finish(lambda: solve_one(prepared, targets, out, page), as_json, stdout, quiet)
        try:
            report = solve_table(prepared, frame, out, page)
        except KeyboardInterrupt:
            print_line("finished targets are saved; run the same command to resume", sys.stderr)
            raise
        if as_json:
            print_model(report, stdout)
        else:
            show_table(report, stdout)
        check_printed(stdout, f"the designs are in {report.out}")
        return int(ExitCode.NOT_MET if report.status == "not met" else ExitCode.OK)
