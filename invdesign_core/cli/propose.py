"""`invdesign propose`: the next experiments, or the first ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from invdesign_core.cli.console import Watcher
from invdesign_core.cli.option_values import experiment_of
from invdesign_core.cli.output import check_printed, print_csv, print_line, print_model, results_only_on_stdout
from invdesign_core.cli.saved_run import opened
from invdesign_core.context import Context
from invdesign_core.designs.report import ProposeReport
from invdesign_core.errors import ConfigError, plural
from invdesign_core.space.variables import plain
from invdesign_core.workflow.defaults import DEFAULTS
from invdesign_core.workflow.draft import first_experiments
from invdesign_core.workflow.propose import propose_one


def propose(run: Path | None, design: Path | None, **given: Any) -> None:
    """Write experiments that teach most, or that fill the space where there are no data yet."""
    if (run is None) == (design is None):
        raise ConfigError(
            "name a run, or an experiment file for the first experiments (--design)",
            "for example: invdesign propose --design draft.toml --batch 20 --out next.csv",
        )
    if run is None:
        _first(design, **given)
    else:
        _next(run, **given)


def _next(
    run: Path, targets: tuple[str, ...], batch: int, out: Path | None, as_json: bool, quiet: bool, **given: Any
) -> None:
    """Propose the next experiments of a run."""
    with opened(run, targets, out, quiet, given, why="no surrogate is trained") as this:
        stdout = this.stdout
        report, table = propose_one(this.prepared, targets, batch, out, given["repeats"])
        if as_json:
            print_model(report, stdout)
        elif out is None:
            print_csv(table, stdout)
        else:
            print_line(f"wrote {plural(len(table), 'experiment')} to {out}", stdout)
        check_printed(stdout, None if out is None else f"the experiments are in {out}")


def _first(design: Path | None, batch: int, out: Path | None, as_json: bool, quiet: bool, **given: Any) -> None:
    """Plan the first experiments of an experiment file whose table need not be there."""
    if given["targets"]:
        raise ConfigError("--target: before there are data, nothing is known of the outputs", "leave it out")
    experiment, _ = experiment_of(design, dict.fromkeys(DEFAULTS) | given)
    with results_only_on_stdout() as stdout, Watcher(quiet) as watcher:
        ctx = Context(experiment.seed, emit=watcher, folder=experiment.folder)
        plan = first_experiments(experiment, batch, ctx, out)
        report = ProposeReport(
            run=None,
            design=str(design),
            out=None if out is None else str(out),
            experiments=[{name: plain(value) for name, value in row.items()} for row in plan.inputs.to_dict("records")],
            seed=experiment.seed,
            notes=list(plan.notes),
        )
        if as_json:
            print_model(report, stdout)
        elif out is None:
            print_csv(plan.table, stdout)
        else:
            print_line(f"wrote {plural(len(plan.table), 'experiment')} to {out}", stdout)
        check_printed(stdout)
