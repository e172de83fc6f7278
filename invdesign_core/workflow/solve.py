"""`solve`: new answers from a run's surrogate, or from a model of the user's own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.cluster.settings import computing
from invdesign_core.context import Context, DesignsReady, RunFinished
from invdesign_core.data.files.atomic import write_text
from invdesign_core.data.files.write import check_new, write_table
from invdesign_core.data.own_columns import as_targets, designs_of
from invdesign_core.designs.answers import Answers
from invdesign_core.designs.report import Report, StartsReport, TableReport, truth_report
from invdesign_core.errors import ConfigError, DataError, OutOfTimeError, RunStoreError, plural, remedy, writing
from invdesign_core.report.payload import Material
from invdesign_core.search.inverse_problem import InverseProblem
from invdesign_core.surrogate.model_check import describe
from invdesign_core.truth.simulated import Tally, sum_of
from invdesign_core.workflow import identity
from invdesign_core.workflow.chunks import ChunkedTable
from invdesign_core.workflow.input_limits import note_limits
from invdesign_core.workflow.inverse import invert, invert_many, time_limit_of
from invdesign_core.workflow.load import Prepared, prepare
from invdesign_core.workflow.locks import Lock
from invdesign_core.workflow.pages import command, html_of, in_folder, made, of_table, shown_of, with_page, write_page
from invdesign_core.workflow.result import (
    NEEDED,
    Result,
    UnsavedError,
    make_report,
    put_off,
    tally,
    tally_of_parts,
    told_of_failure,
    with_verdict,
)
from invdesign_core.workflow.run_folder import PAGE, RunFolder, installed

if TYPE_CHECKING:
    import pandas as pd


CLOSE = 1e-4
"""In ranges of an output: how near predictions of the same design are, whatever computes them."""


def solve_model(path: Path, targets: Sequence[str], **options: Any) -> Result:
    """Invert a Keras model of the user's own, or the surrogate of a run folder.

    Parameters
    ----------
    path : Path
        A ``.keras`` file or a run folder.
    targets : sequence of str
        As `--target` takes them; of a run, without any, its own.
    **options
        `registry`, `ctx`, `objective` and `solver` as in an experiment file, such as
        ``solver={"use": "lbfgsb", "starts": 16}``, fields of `SolveOptions`, such as ``truth=simulate``, and keys
        of the `[design]` section, such as ``bounds={"x1": (0, 1)}``.

    Raises
    ------
    ConfigError, PluginError, DataError
        If one of them can't be used, or the model can't be read.
    """
    return solve_one(prepare(path, targets=targets, **options), targets)


def solve_one(p: Prepared, targets: Sequence[str], out: Path | None = None, page: Path | None = None) -> Result:
    """Find the designs that meet one target, given as `--target` takes them; without any, those of the run.

    `out` is the .csv, .parquet or .xlsx file for the designs, where they are wanted in one, and `page` the .html file
    for the report.

    UnsavedError means that the answers could not be written; its `result` is what would have been returned.
    """
    with computing(p.experiment.compute, p.ctx) as ctx:
        return _solve_one(replace(p, ctx=ctx), targets, out, page)


def _solve_one(p: Prepared, targets: Sequence[str], out: Path | None, page: Path | None) -> Result:
    """Do what `solve_one` says."""
    ctx, outputs = p.ctx, p.model.surrogate.outputs
    wanted = p.wanted(targets)
    if not wanted:
        listed = ", ".join(map(repr, outputs))
        raise ConfigError("no target is given", f"for example --target '{outputs[0]}=1'; the outputs are {listed}")
    problem = p.problem(wanted)
    if out is not None and problem.surrogate.scenarios is not None:
        check_new(_beside(out))
    note_limits(wanted, p.base, ctx)
    p.note_intervals()
    if p.sampled is not None:
        describe(p.sampled, problem.space, outputs, wanted, ctx)
    with told_of_failure(ctx):
        answers = replace(invert(problem, ctx), units=p.units.of)
    ctx.emit(DesignsReady(answers))
    with ExitStack() as stack:
        return _kept(p, problem, answers, out, page, stack)


def _kept(
    p: Prepared, problem: InverseProblem, answers: Answers, out: Path | None, page: Path | None, stack: ExitStack
) -> Result:
    """Write the answers to a target, and return them; what can't be written is told at the end."""
    ctx, surrogate, folder = p.ctx, p.model.surrogate, p.folder
    saved, faults, place = None, list[RunStoreError](), None
    if folder is not None and _may_keep(folder, out, ctx):
        with put_off(faults):
            place = stack.enter_context(folder.new_solve())
            place.put(answers, problem.space, command())
            saved = place.final
            ctx.note(f"every start and design is in {saved}")
    if out is not None:
        with put_off(faults):
            write_table(out, answers.designs.assign(target=answers.designs["target"] + 1))
            ctx.note(f"the designs are in {out}")
            _write_scenarios(problem, out, ctx)
    where = None if folder is None or place is None or faults else folder.path
    plugins, makers = _plugins(p, problem), p.made_by(problem.solver)
    report = make_report(answers, p.model.report, where, plugins, p.running, p.notes, ctx, makers, p.units.of)
    if folder is not None and place is not None and saved is not None:
        inside = str(place.path.relative_to(folder.path))
        with put_off(faults):
            folder.write_json(f"{inside}/report.json", report.model_dump())
            material = in_folder(folder, report, surrogate, p.model.rows, inside, problem.second)
            answers = with_page(answers, material)
            write_page(folder, f"{inside}/{PAGE}", material, ctx)
        with put_off(faults):
            place.keep()
    else:
        answers = with_page(answers, _material(p, problem, report, answers))
    if page is not None and answers.shown is not None:
        with put_off(faults):
            answers.report(page)
    result = Result(report, answers, surrogate, saved)
    ctx.emit(RunFinished(result))
    if faults:
        hint = f"{remedy(faults[0])} and solve again, take a file elsewhere with --out, or keep the printed result"
        raise UnsavedError(faults, hint if saved is None else f"the tables are in {saved}; {hint}", result)
    return result


def _may_keep(folder: RunFolder, out: Path | None, ctx: Context) -> bool:
    """Whether the answers go into the run too; where nobody may write there, those in `out` are enough."""
    if out is None or os.access(folder.path, os.W_OK):
        return True
    ctx.note(f"the run folder {folder.path} can't be written, so the designs are in {out} alone")
    return False


def _material(p: Prepared, problem: InverseProblem, report: Report, answers: Answers) -> Material:
    """Return what the page of a model of the user's own is made of."""
    return Material(
        report,
        p.model.surrogate,
        problem.space,
        p.model.rows,
        answers.scenarios,
        answers.starts,
        command=command(),
        versions=installed(),
        second=problem.second,
    )


def solve_table(p: Prepared, frame: pd.DataFrame, out: Path, page: Path | None = None) -> TableReport:
    """Find designs for every row of a table of targets, written as they are found; a killed solve is resumed.

    A column is an output, or a design variable that is held at its row's value, whatever the run says of it. `out` is
    the .csv, .parquet or .xlsx file to write: the designs of each target, best first. `page` is the .html file for the
    report, where one is wanted.
    """
    refusal = f"{out}: another process is writing this file"
    with writing(out, "choose another --out"):
        lock = Lock(out.with_name(f".{out.name}.lock"), refusal, "wait for it, or choose another --out")
    try:
        with computing(p.experiment.compute, p.ctx) as ctx:
            return _solve_table(replace(p, ctx=ctx), frame, out, page)
    finally:
        lock.release()


def _solve_table(p: Prepared, frame: pd.DataFrame, out: Path, page: Path | None) -> TableReport:
    """Find designs for every row of a table of targets, and go on where an earlier process was stopped."""
    ctx, model = p.ctx, p.model
    frame = as_targets(frame, p.base, (*model.surrogate.outputs, *p.derive), ctx, p.units)
    problem = p.problem(frame)
    p.note_intervals()
    if problem.surrogate.scenarios is not None:
        check_new(_beside(out))
    known = model.report
    if "table" in known.rows:
        r2 = ", ".join(f"{m.r2:.5g} for {name!r}" for name, m in known.test.items() if m.r2 is not None)
        ctx.note(f"R² of the model on {plural(known.rows['table'], 'row')} of the table: {r2 or 'unknown'}")
    parts = ChunkedTable(out, _identity(p, problem, frame))
    solved, counts, asked = 0, list[Mapping[str, int | None]](), list[Tally | None]()
    for first, answers in invert_many(problem, ctx, parts.done):
        if answers is None:
            continue
        if answers.out_of_time:  # some of its targets were hardly looked at
            raise OutOfTimeError(
                f"{time_limit_of(problem.solver)} ended the search: {first} of {len(frame)} targets are solved",
                "the same command goes on with the others, also with another time limit"
                + ("" if first else "; where it never solves any, give it more time"),
            )
        if answers.interrupted:
            raise KeyboardInterrupt
        solved += len(answers.targets)
        counts.append(answers.counts())
        asked.append(answers.simulated)
        parts.write(first, answers.designs.assign(target=answers.designs["target"] + first + 1))
    resumed = len(frame) - solved
    if resumed:
        ctx.note(f"already solved, and not solved again: {resumed} of {plural(len(frame), 'target')}")
    counted = tally_of_parts(parts.numbered(NEEDED), problem.targets)
    best = shown_of(parts.tables())
    parts.join()
    _write_scenarios(problem, out, ctx)
    report = TableReport(
        out=str(out),
        run=str(p.source),
        verdict="",
        **counted,
        units=dict(p.units.of),
        starts=_summed(counts),
        truth=truth_report(sum_of(asked)),
        plugins=_plugins(p, problem),
        seed=ctx.seed,
        backend=p.running,
        notes=list(p.notes),
        seconds=ctx.clock.report(),
    )
    report = with_verdict(report, known, problem.targets, model.truth is not None)
    if page is not None:
        material = of_table(report, problem, model.surrogate, model.rows, known, best)
        html = made(page, replace(material, command=command(), versions=installed()), ctx)
        if html is not None:
            write_text(page, html)
            ctx.note(f"the report is in {page}")
    return report


def report_table(p: Prepared, frame: pd.DataFrame, written: pd.DataFrame, designs: Path, page: Path) -> None:
    """Write the report of a table of targets that was solved before; `written` is what the file `designs` holds.

    DataError means that these are not designs of this run for these targets.
    """
    frame = as_targets(frame, p.base, (*p.model.surrogate.outputs, *p.derive), p.ctx, p.units)
    problem = p.problem(frame)
    lacking = [name for name in ("target", "rank", "met", "starts", "loss") if name not in written]
    if lacking:
        raise DataError(f"{designs}: there is no column {lacking[0]!r}, expected a file that solve --targets wrote")
    best = shown_of([written])
    _check_theirs(p, problem, best, designs)
    known = p.model.report
    report = TableReport(
        out=str(designs),
        run=str(p.source),
        verdict="",
        **tally(written, problem.targets),
        starts=StartsReport(total=0, converged=0, hit=None, unmoved=0, not_finite=0),
        truth=None,
        plugins=_plugins(p, problem),
        seed=p.ctx.seed,
        backend=p.running,
        notes=[],
        seconds={},
        units=dict(p.units.of),
    )
    report = with_verdict(report, known, problem.targets, any(str(name).startswith("truth.") for name in written))
    material = of_table(report, problem, p.model.surrogate, p.model.rows, known, best)
    write_text(page, html_of(replace(material, command=command(), versions=installed())))


def _check_theirs(p: Prepared, problem: InverseProblem, best: pd.DataFrame, designs: Path) -> None:
    """Refuse designs that this surrogate predicts otherwise, or that miss other targets than these by what is said."""
    import pandas as pd

    surrogate, targets = p.model.surrogate, problem.targets
    at = best["target"].to_numpy(dtype=np.intp) - 1
    hint = "name the run and the table of targets that the file was made with"
    if len(at) and not (at.min() >= 0 and at.max() < len(targets)):
        raise DataError(f"{designs}: found target {at.max() + 1}, expected 1 to {len(targets)}", hint)
    missing = [name for name in surrogate.outputs if f"prediction.{name}" not in best]
    if missing:
        raise DataError(f"{designs}: there is no column 'prediction.{missing[0]}'", hint)
    said = best[[f"prediction.{name}" for name in surrogate.outputs]].to_numpy(dtype=np.float64)
    if problem.surrogate.scenarios is None:
        x = p.base.encode(designs_of(best, p.base, surrogate.outputs, str(designs)))
        off = np.abs(surrogate.predict(x).mean - said) > CLOSE * surrogate.spread
        if off.any():
            row = int(off.any(axis=1).argmax())
            raise DataError(f"{designs}, target {at[row] + 1}: this run predicts otherwise than the file says", hint)
    for m, name in enumerate(targets.outputs):
        if name not in surrogate.outputs:
            continue
        told = best[f"miss.{name}"] if f"miss.{name}" in best else pd.Series(np.nan, range(len(best)))
        y = np.zeros((len(best), len(targets.outputs)))
        judged = f"truth.{name}" if f"truth.{name}" in best else f"prediction.{name}"
        y[:, m] = best[judged].to_numpy(dtype=np.float64)
        miss = targets.miss(y, at)[:, m]
        same = np.isclose(told.to_numpy(dtype=np.float64), miss, 0, CLOSE * targets.spread[m], equal_nan=True)
        wrong = targets.asked[at, m] & ~same
        if wrong.any():
            number = at[int(wrong.argmax())] + 1
            raise DataError(f"{designs}, target {number}: what it says of {name!r} is not about this table", hint)


def _beside(designs: Path) -> Path:
    """Return the file for the scenarios beside that for the designs."""
    return designs.with_name(f"{designs.stem}.scenarios{designs.suffix}")


def _write_scenarios(problem: InverseProblem, designs: Path, ctx: Context) -> None:
    """Write what conditions that vary may be beside the file with the designs, whose predictions are means over it."""
    scenarios = problem.surrogate.scenarios
    if scenarios is not None:
        path = _beside(designs)
        write_table(path, scenarios.frame)
        ctx.note(f"the scenarios that predictions are means over are in {path}")


def _summed(counts: Sequence[Mapping[str, int | None]]) -> StartsReport:
    """Add up what became of the starts of each chunk; hits are None where there is nothing to hit."""
    known = {key: [item[key] or 0 for item in counts if item[key] is not None] for key in StartsReport.model_fields}
    return StartsReport(**{key: sum(found) if found or key != "hit" else None for key, found in known.items()})


def _plugins(p: Prepared, problem: InverseProblem) -> dict[str, str]:
    return {**p.plugins, "solver": problem.solver.name}


def _identity(p: Prepared, problem: InverseProblem, frame: pd.DataFrame) -> dict[str, Any]:
    """Return what the answers to a table depend on, to tell whether parts of them belong to it."""
    surrogate, near = problem.surrogate, problem.near_to
    solver: Any = problem.solver
    source = p.folder.path / "surrogate" if p.folder is not None else p.source
    return {
        "targets": identity.of_table(frame),
        "surrogate": [identity.of_surrogate(surrogate), identity.of_files(source) if source.exists() else None],
        "outputs": list(surrogate.outputs),
        "variables or bounds": problem.space.to_json()["variables"],
        "constraints": list(problem.space.constraints.texts),
        "present design": identity.digest(near.present, near.fewest, near.to_data),
        "conditions": None if (drawn := surrogate.scenarios) is None else identity.digest(drawn.columns, drawn.values),
        "measured designs": identity.digest(*(problem.rows or ())),
        "objective": [p.objective.name, p.objective.model_dump(mode="json")],
        # What was solved in time is the same whatever the time limit.
        "solver": [solver.name, solver.model_dump(mode="json", exclude={"time_limit"})],
        "designs": problem.wishes.designs,
        "true model": None if problem.truth is None else problem.truth.identity,
        "confidence": None if (second := problem.second) is None else [second.level, second.digest],
        "code": p.code,
        "seed": p.ctx.seed,
        "backend": p.running,
        "versions": identity.versions(p.running, p.registry, [solver]) | dict(p.versions),
    }
