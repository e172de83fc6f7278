"""`invdesign run`: from a table to the designs that hit a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from invdesign_core.cli.options import (
    backend_option,
    design_options,
    json_option,
    plugin_options,
    quiet_option,
    seed_option,
    set_option,
    target_option,
    time_limit_option,
    with_time_limit,
)
from invdesign_core.cli.output import check_printed, discover, import_keras, results_only_on_stdout, stop_on_interrupt
from invdesign_core.errors import ExitCode, RunStoreError
from invdesign_core.workflow.defaults import DEFAULTS


@click.command()
@click.argument("experiment", required=False, type=click.Path(path_type=Path))
@plugin_options(list(DEFAULTS))
@set_option
@target_option
@design_options
@seed_option
@backend_option
@time_limit_option
@click.option("--out", type=click.Path(path_type=Path), help="The run folder; by default a new one below runs/.")
@click.option("--resume", is_flag=True, help="Continue the unfinished run in --out; finished trials are kept.")
@json_option
@quiet_option
def run(
    experiment: Path | None,
    overrides: tuple[str, ...],
    targets: tuple[str, ...],
    seed: int | None,
    backend: str | None,
    time_limit: float | None,
    out: Path | None,
    resume: bool,
    as_json: bool,
    quiet: bool,
    **others: Any,
) -> int:
    """Load, split, tune, train, save, invert, report.

    EXPERIMENT is a TOML file (see `invdesign schema`). Without one, features.parquet and
    targets.parquet of the current folder are taken if both are there, else the built-in example.

    \b
    Examples:
      invdesign run
      invdesign run mine.toml --target 'H2=0.33' --target 'N2<=0.34'
      invdesign run mine.toml --target H2=max --constraint 'a + b + c = 1' --step T=5
      invdesign run --dataset table --set dataset.path=mine.csv --set 'dataset.outputs=["y"]' --target 2
    """
    from invdesign_core.cli.console import Watcher
    from invdesign_core.cli.option_values import design_values, experiment_of
    from invdesign_core.context import Context

    registry = discover()
    plugins = {kind: others[kind] for kind in DEFAULTS}
    overrides = with_time_limit(overrides, time_limit)
    chosen, source = experiment_of(experiment, overrides, plugins, seed, backend, design_values(others))
    chosen.stages(registry)
    ctx = Context()
    with results_only_on_stdout() as stdout, Watcher(quiet) as watcher, stop_on_interrupt(ctx.stop):
        with ctx.clock.stage("import"):
            import_keras(chosen.backend)
        from invdesign_core.workflow.run import run_experiment

        def job() -> Any:
            return run_experiment(
                chosen, targets, out, registry=registry, resume=resume, source=source, ctx=replace(ctx, emit=watcher)
            )

        try:
            return finish(job, as_json, stdout, quiet)
        except KeyboardInterrupt:
            if watcher.run is not None:
                ended = (Path(watcher.run) / "trials" / "trials.jsonl").exists()
                kept = "finished trials are saved" if ended else "no trial had finished yet"
                click.echo(f"{kept}; resume with the same command plus --out {watcher.run} --resume", err=True)
            raise


def finish(job: Callable[[], Any], as_json: bool, stdout: Any, quiet: bool = False) -> int:
    """Do a job, print its result, and return the exit code that its status stands for.

    Raises
    ------
    RunStoreError
        If the result could not be written, after it is printed; or if it could not be printed.
    """
    from invdesign_core.cli.console import show
    from invdesign_core.workflow.result import UnsavedError

    unsaved = None
    try:
        result = job()
    except UnsavedError as error:
        unsaved, result = error, error.result
    if as_json:
        stdout.write(result.report.model_dump_json(indent=1) + "\n")
    else:
        show(result.report, stdout, quiet)
    nowhere = "the result is kept nowhere: send the output somewhere else, and ask again"
    try:
        check_printed(stdout, nowhere if result.saved is None else f"the result is in {result.saved}")
    except RunStoreError as unprinted:
        if unsaved is None:
            raise
        raise RunStoreError(f"{unsaved.message}; {unprinted.message}", unsaved.hint) from unsaved
    if unsaved is not None:
        raise unsaved
    codes = {
        "not met": ExitCode.NOT_MET,
        "out of time": ExitCode.OUT_OF_TIME,
        "interrupted": ExitCode.INTERRUPTED,
    }
    return int(codes.get(result.report.status, ExitCode.OK))
