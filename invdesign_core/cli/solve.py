"""`invdesign solve`: another target for a saved surrogate, or for a model of the user's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from invdesign_core.cli.options import (
    backend_option,
    code_option,
    design_options,
    import_option,
    inputs_option,
    json_option,
    outputs_option,
    plugin_options,
    quiet_option,
    seed_option,
    set_option,
    target_option,
    time_limit_option,
    with_time_limit,
)
from invdesign_core.cli.output import check_printed, discover, import_keras, results_only_on_stdout, stop_on_interrupt
from invdesign_core.cli.run import finish
from invdesign_core.errors import ConfigError, ExitCode
from invdesign_core.workflow.defaults import AUTO, DEFAULTS

SOLVE_SECTIONS = ("solver", "objective", "design")


@click.command()
@click.argument("run_or_model", metavar="RUN|MODEL.keras", type=click.Path(path_type=Path))
@target_option
@plugin_options(["objective", "solver"])
@set_option
@design_options
@click.option(
    "--table",
    type=click.Path(path_type=Path),
    help="For a model: a table whose columns give names and bounds.",
)
@inputs_option
@outputs_option
@click.option(
    "--targets",
    "target_table",
    type=click.Path(path_type=Path),
    help="A table of targets: a column for each output, and for each variable that a target comes with; NAME and "
    "design.NAME are the same variable.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="With --targets: the .csv, .parquet or .xlsx file for the designs."
)
@click.option(
    "--designs", type=click.IntRange(1), help="How many different designs to report; by default 5, or 1 with --targets."
)
@seed_option
@backend_option
@time_limit_option
@code_option
@import_option
@json_option
@quiet_option
def solve(
    run_or_model: Path,
    targets: tuple[str, ...],
    overrides: tuple[str, ...],
    table: Path | None,
    inputs: str | None,
    outputs: str | None,
    target_table: Path | None,
    out: Path | None,
    designs: int | None,
    seed: int | None,
    backend: str | None,
    time_limit: float | None,
    allow_code: bool,
    imports: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **others: Any,
) -> int:
    """Find the inputs that give another target, without training.

    A run folder contains its variables, bounds and settings. For a .keras file of your own, give the
    bounds, or a table to take them from. Layer classes of your own need --import.

    \b
    Examples:
      invdesign solve runs/20260101-120000 --target 3
      invdesign solve runs/20260101-120000 --target H2=max --target 'N2<=0.34' --bounds T=300..350
      invdesign solve runs/20260101-120000 --target 3 --near a=0.2,b=0.3 --fewest-changes
      invdesign solve mine.keras --bounds x1=0..1 --bounds x2=0..1 --target 1.3
      invdesign solve mine.keras --table mine.csv --outputs H2,N2 --target H2=0.33
      invdesign solve runs/20260101-120000 --targets wanted.csv --out designs.csv
    """
    from invdesign_core.cli.console import Watcher, show_table
    from invdesign_core.cli.option_values import check_exists, design_values, listed_names
    from invdesign_core.context import Context
    from invdesign_core.surrogate.keras_file_faults import is_model_folder
    from invdesign_core.workflow.design import merge_design

    if (target_table is None) != (out is None):
        raise ConfigError("--targets and --out belong together: a table of targets, and a file for their designs")
    if target_table is not None and targets:
        raise ConfigError("--target and --targets contradict each other", "put all targets into the table")
    if target_table is not None and designs is None:
        designs = 1
    plugins = {kind: others[kind] for kind in ("objective", "solver")}
    values = _sections(with_time_limit(overrides, time_limit), plugins, designs)
    design = merge_design(values.pop("design", {}), design_values(others))
    registry = discover()
    for kind in ("objective", "solver"):
        if kind in values and values[kind].get("use", AUTO) != AUTO:
            registry.find(values[kind]["use"], kind)
    ctx = Context()
    common: dict[str, Any] = {
        "registry": registry,
        **design,
        "backend_name": backend,
        "allow_code": allow_code,
        "imports": imports,
        "targets": targets,
        "frame": None,
    }
    is_run = run_or_model.is_dir() and ((run_or_model / "resolved.json").exists() or not is_model_folder(run_or_model))
    if is_run and (table or inputs or outputs):
        raise ConfigError("--table, --inputs and --outputs are for models; a run has its own", "leave them out")
    check_exists(run_or_model)
    with results_only_on_stdout() as stdout, Watcher(quiet) as watcher, stop_on_interrupt(ctx.stop):
        common["ctx"] = replace(ctx, emit=watcher)
        with ctx.clock.stage("import"):
            import_keras(backend)
        from invdesign_core.data.own_columns import PREFIX, read_designs
        from invdesign_core.workflow.load import prepare_model, prepare_saved
        from invdesign_core.workflow.run_folder import saved_space
        from invdesign_core.workflow.solve import solve_one, solve_table

        frame = None
        if target_table is not None:
            frame = read_designs(target_table, saved_space(run_or_model) if is_run else None)
        if frame is not None:  # what `auto` chooses a solver for
            texts = frame.select_dtypes(exclude="number")
            common["frame"] = frame
            texts = texts[[name for name in texts if not str(name).startswith(PREFIX)]]
            common["targets"] = [f"{name}={cell}" for name in texts for cell in texts[name].dropna().unique()]
        if is_run:
            prepared = prepare_saved(run_or_model, overrides=values, seed=seed, **common)
        else:
            chosen = {
                kind: (
                    values.get(kind, {}).get("use", registry.label(kind, DEFAULTS[kind])),
                    _options(values.get(kind, {})),
                )
                for kind in ("objective", "solver")
            }
            prepared = prepare_model(
                run_or_model,
                **chosen,  # type: ignore[arg-type]
                table=table,
                inputs=listed_names(inputs, table),
                outputs=listed_names(outputs, table),
                seed=seed or 0,
                **common,
            )
        if frame is None or out is None:
            return finish(lambda: solve_one(prepared, targets), as_json, stdout, quiet)
        try:
            report = solve_table(prepared, frame, out)
        except KeyboardInterrupt:
            click.echo("finished targets are saved; run the same command to resume", err=True)
            raise
        if as_json:
            stdout.write(report.model_dump_json(indent=1) + "\n")
        else:
            show_table(report, stdout)
        check_printed(stdout, f"the designs are in {report.out}")
        return int(ExitCode.NOT_MET if report.status == "not met" else ExitCode.OK)


def _sections(
    overrides: tuple[str, ...], plugins: dict[str, str | None], designs: int | None
) -> dict[str, dict[str, Any]]:
    """Return the sections of an experiment that a solve may replace."""
    from invdesign_core.workflow.experiment import apply_overrides

    values: dict[str, Any] = {kind: {"use": name} for kind, name in plugins.items() if name is not None}
    values = apply_overrides(values, overrides)
    for section in values:
        if section not in SOLVE_SECTIONS:
            raise ConfigError(
                f"--set {section}: a solve trains nothing, so only {', '.join(SOLVE_SECTIONS)} can be set",
                "use `invdesign run` to train again",
            )
    if designs is not None:
        values.setdefault("design", {})["designs"] = designs
    return values


def _options(section: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != "use"}
