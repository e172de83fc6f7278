"""`invdesign run`: from a table to the designs that hit a target."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from invdesign_core.cli.console import show
from invdesign_core.cli.option_values import experiment_of
from invdesign_core.cli.output import check_printed, print_line, print_model
from invdesign_core.cli.session import discover, session
from invdesign_core.errors import ExitCode, RunStoreError
from invdesign_core.workflow.result import UnsavedError
from invdesign_core.workflow.run import run_experiment

CODES = {
    "not met": ExitCode.NOT_MET,
    "out of time": ExitCode.OUT_OF_TIME,
    "interrupted": ExitCode.INTERRUPTED,
}
"""What a status that is no success ends with."""


def run(
    experiment: Path | None,
    targets: tuple[str, ...],
    out: Path | None,
    resume: bool,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Load, split, tune, train, save, invert, report."""
    chosen, source = experiment_of(experiment, given)
    registry = chosen.plugins.arrange(discover(), chosen.folder)
    chosen.stages(registry)
    with session(chosen.backend, quiet, trains=True) as (stdout, watcher, ctx):

        def job() -> Any:
            return run_experiment(chosen, targets, out, registry=registry, resume=resume, source=source, ctx=ctx)

        try:
            return finish(job, as_json, stdout, quiet)
        except KeyboardInterrupt:
            if watcher.run is not None:
                folder = Path(watcher.run)
                kept = "no trial had finished yet"
                if (folder / "trials" / "trials.jsonl").exists():
                    kept = "finished trials are saved"
                elif (folder / "race").exists():
                    kept = "candidates that had ended are saved"
                print_line(f"{kept}; resume with the same command plus --out {watcher.run} --resume", sys.stderr)
            raise


def finish(job: Callable[[], Any], as_json: bool, stdout: TextIO, quiet: bool = False) -> int:
    """Do a job, print its result, even one that could not be saved, and return its exit code."""
    unsaved = None
    try:
        result = job()
    except UnsavedError as error:
        unsaved, result = error, error.result
    if as_json:
        print_model(result.report, stdout)
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
    return int(CODES.get(result.report.status, ExitCode.OK))
