"""The stages in their order: fit a surrogate to data, and invert it for targets."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.context import Context, Event, Progress, StageStarted, within
from invdesign_core.data.columns import is_constant
from invdesign_core.data.data import Data, Rows, TrainingRows, split_rows
from invdesign_core.data.distance import DataDistance
from invdesign_core.data.quality import doubts_of_split
from invdesign_core.designs.answers import Answers, answers
from invdesign_core.designs.around import add_tolerances
from invdesign_core.designs.measured import add_measured
from invdesign_core.designs.report import OutputMetrics, SurrogateReport
from invdesign_core.designs.trust import Quality, metric_warnings
from invdesign_core.errors import ConfigError, PluginError, near_match, plugin_errors
from invdesign_core.search.plan import Plan, plan_search
from invdesign_core.search.problem import LossFunctions
from invdesign_core.search.rows import check_held
from invdesign_core.search.search import reach
from invdesign_core.search.trust_boxes import measured, near_plan
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.space import Space
from invdesign_core.surrogate.evaluate import Evaluator
from invdesign_core.surrogate.model_check import warn_of_flat
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.surrogate.trial_table import TrialTable
from invdesign_core.targets import ROUNDOFF, Target, Targets
from invdesign_core.workflow.fixed_inputs import hold

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.plugin import Objective, Solver, SurrogateBuilder, Tuner
    from invdesign_core.search.proximity import NearTo


@dataclass(frozen=True)
class Fitted:
    """A trained surrogate, what it was trained on, and how good it is."""

    surrogate: Surrogate
    report: SurrogateReport
    rows: Rows

    @property
    def known(self) -> TrainingRows:
        """The rows that it learnt from, and those held out for the test."""
        x, y, test = self.rows.x, self.rows.y, self.rows.test
        seen = np.concatenate([self.rows.train, self.rows.validation])
        held_out = TrainingRows(x[test], y[test], test + 1) if len(test) else None
        return TrainingRows(x[seen], y[seen], seen + 1, held_out)


def fit(
    data: Data,
    builder: SurrogateBuilder,
    tuner: Tuner,
    training: Training,
    ctx: Context,
    table: TrialTable | None = None,
) -> Fitted:
    """Split, tune, train, and test on the rows held out.

    Parameters
    ----------
    data : Data
        Designs and responses.
    builder, tuner : plugins
        What to train, and with which hyper-parameters.
    training : Training
        How to train.
    ctx : Context
        Seeds and events.
    table : TrialTable, optional
        Finished trials of an earlier run of the same search.

    Raises
    ------
    TrainingError
        If no trial gave a usable surrogate.
    """
    rows = split_rows(data, training.test, training.validation, ctx)
    for doubt in doubts_of_split(rows):
        ctx.warn(doubt)
    with ctx.clock.stage("tune"):
        ctx.emit(StageStarted("tune"))
        evaluator = Evaluator(builder, data, rows, tuner, training, ctx, table)
        try:
            with plugin_errors(tuner.label):
                tuner.search(evaluator.space.copy(), evaluator, ctx)
        except PluginError:
            if evaluator.fault is not None:  # raised inside `evaluate`: not the tuner's
                raise evaluator.fault from None
            raise
    with ctx.clock.stage("train"):
        ctx.emit(StageStarted("train"))
        members, how = evaluator.winner()
        seen = np.concatenate([rows.train, rows.validation])
        surrogate = Surrogate.trained(members, data.space, data.outputs, evaluator.scaling, rows.x[seen], rows.y[seen])
        best = evaluator.best
        report = SurrogateReport(
            plugin=builder.name,
            members=len(members),
            trials=len(evaluator.table.results),
            failed=sum(r.status == "failed" for r in evaluator.table.results),
            best=dict(best.values),
            objective=how["objective"],
            score=how["score"],
            retrained=how["retrained"],
            rows={part: len(getattr(rows, part)) for part in ("train", "validation", "test")},
            test=test_metrics(surrogate, rows.x[rows.test], rows.y[rows.test]),
        )
    for doubt in metric_warnings(report.test):
        ctx.warn(doubt)
    return Fitted(surrogate, report, rows)


def test_metrics(surrogate: Surrogate, x: FloatArray, y: FloatArray) -> dict[str, OutputMetrics]:
    """Return R², MAE and RMSE of each output on (n, e) designs with (n, m) measured outputs."""
    if not len(x):
        return {}
    prediction = surrogate.predict(x).mean
    return {name: _metrics(prediction[:, m], y[:, m]) for m, name in enumerate(surrogate.outputs)}


def _metrics(prediction: FloatArray, y: FloatArray) -> OutputMetrics:
    """Compare one output's (n,) predictions with what was measured, where it was."""
    measured = np.isfinite(y)
    if not measured.any():
        return OutputMetrics(r2=None, mae=None, rmse=None)
    y, error = y[measured], prediction[measured] - y[measured]
    deviation = 0.0 if is_constant(y.min(), y.max()) else float(((y - y.mean()) ** 2).sum())
    return OutputMetrics(
        r2=1 - float((error**2).sum()) / deviation if deviation > 0 else None,
        mae=float(np.abs(error).mean()),
        rmse=float(np.sqrt((error**2).mean())),
    )


def invert(
    surrogate: Surrogate,
    targets: Mapping[str, Target],
    space: Space,
    objective: Objective,
    solver: Solver,
    ctx: Context,
    known: TrainingRows | None = None,
    truth: Any = None,
    designs: int = 5,
    near_to: NearTo | None = None,
    quality: Quality | None = None,
) -> Answers:
    """Find the designs whose output is the target.

    Parameters
    ----------
    surrogate : Surrogate
        The forward map.
    targets : mapping
        What is wanted of each output.
    space : Space
        The design variables with the bounds of this search.
    objective, solver : plugins
        How far a prediction is from the target, and what makes it less.
    ctx : Context
        Seeds and events.
    known : TrainingRows, optional
        The training rows: to start from, and to say how near to them a design is; with those held out, to say which
        rows are answers themselves. A plain (x, y) will do.
    truth : callable, optional
        The true forward model, to judge designs by.
    designs : int
        Distinct designs to report.
    near_to : NearTo, optional
        What answers are to be near to.
    quality : Quality, optional
        How good the surrogate is.

    Raises
    ------
    ConfigError
        If a variable has no bounds, or no design can satisfy the constraints.
    """
    check_bounds(space)
    ctx = within(ctx, solver.time_limit)
    known = None if known is None else TrainingRows(*known)
    wanted = Targets.build([targets], surrogate.outputs, surrogate.spread)
    forward = LossFunctions(surrogate, objective, space)
    plan = _plan(space, solver, ctx, known, near_to)
    with ctx.clock.stage("solve"):
        ctx.emit(_solving(plan, solver))
        plan.tell(ctx)
        warn_of_flat(surrogate, space, targets, ctx)
        reached = reach(forward, wanted, space, solver, ctx, plan, known, near_to=near_to)
        near = None if known is None else DataDistance.of(known, surrogate.space)
        found = answers(reached, surrogate, space, wanted, truth, designs, near)
        found = _with_evidence(found, known, space, surrogate.outputs, designs, quality)
        found = replace(found, out_of_time=_ran_out(found, ctx))
        if not reached.interrupted:
            near = near if near_to is not None and near_to.to_data else None
            found = add_tolerances(found, surrogate, space, near)
    ctx.clock.move(forward.compile_seconds, "solve", "compile")
    _note_violated(found, ctx)
    if found.out_of_time:
        ctx.note(f"{time_limit_of(solver)} ended the search")
    return found


def time_limit_of(solver: Solver) -> str:
    """Name what limits the time of a search, for messages."""
    return "the deadline" if solver.time_limit is None else f"the time limit of {solver.time_limit:g} s"


def _ran_out(found: Answers, ctx: Context) -> bool:
    """Return whether it was the deadline, and not Ctrl-C, that cut a search short."""
    return found.interrupted and ctx.out_of_time() and not ctx.stop.is_set()


def _plan(
    space: Space,
    solver: Solver,
    ctx: Context,
    known: TrainingRows | None,
    near_to: NearTo | None,
    held: FloatArray | None = None,
) -> Plan:
    """Decide how variables of which only some values exist are searched."""
    plan = plan_search(space, solver, ctx, held)
    return near_plan(plan, space, measured(known, space)) if near_to is not None and near_to.to_data else plan


def _with_evidence(
    found: Answers,
    known: TrainingRows | None,
    space: Space,
    outputs: tuple[str, ...],
    count: int,
    quality: Quality | None,
    held: FloatArray | None = None,
) -> Answers:
    """Add what was measured, and the surrogate's typical errors."""
    if known is not None:
        found = add_measured(found, known, space, outputs, count, held)
    errors = {} if quality is None else quality.errors
    return replace(found, designs=found.designs.assign(**{f"error.{name}": value for name, value in errors.items()}))


def _solving(plan: Plan, solver: Solver) -> Event:
    """Return the event that a search begins; it names the solver where one is asked."""
    return StageStarted("solve", solver.name if plan.way != "enumeration" else None)


def _note_violated(found: Answers, ctx: Context) -> None:
    """Say which limits beside an extremum can't hold, by how much, even where a tolerance forgives it."""
    if not len(found.designs):
        return
    outputs = found.targets.outputs
    y = found.designs.loc[:0, [f"prediction.{name}" for name in outputs]].to_numpy(dtype=np.float64)
    first = np.zeros(1, dtype=np.intp)
    violated = np.flatnonzero(np.abs(found.targets.excess(y, first)[0]) > ROUNDOFF)
    if len(violated):
        miss = found.targets.miss(y, first)[0]
        by = ", ".join(f"{outputs[m]!r} misses by {abs(miss[m]):.5g}" for m in violated)
        ctx.note(f"no design was found in which all limits hold; the smallest violation: {by}")


def invert_many(
    surrogate: Surrogate,
    frame: pd.DataFrame,
    space: Space,
    objective: Objective,
    solver: Solver,
    ctx: Context,
    known: TrainingRows | None = None,
    truth: Any = None,
    designs: int = 1,
    skip: Container[int] = (),
    near_to: NearTo | None = None,
    quality: Quality | None = None,
) -> Iterator[tuple[int, Answers | None]]:
    """Find designs for a table of targets, chunk by chunk.

    Parameters
    ----------
    surrogate, space, objective, solver, ctx, known, truth
        As for `invert`.
    frame : pandas.DataFrame
        t rows; a column is an output, whose cells are targets, or a design variable, which is held at
        its row's value, whatever `space` says of it.
    designs : int
        Distinct designs to report for each target.
    skip : container of int
        Chunks that are there already; they are passed over.
    near_to : NearTo, optional
        What answers are to be near to.
    quality : Quality, optional
        How good the surrogate is.

    Yields
    ------
    tuple
        The number of the first target of a chunk, and its answers, or None where it was skipped.
        Memory is bounded by the solver's `rows_at_once`. A chunk that was interrupted is the last one.

    Raises
    ------
    ConfigError
        If a column is neither, a cell can't be read, a value doesn't exist, or a row's values leave no design.
    """
    ctx = within(ctx, solver.time_limit)
    check_columns(frame, surrogate.outputs, space.names)
    targets = Targets.from_frame(frame, surrogate.outputs, surrogate.spread)
    space, held = hold(space, frame)
    check_bounds(space)
    if held is not None:
        check_held(space, held)
    forward = LossFunctions(surrogate, objective, space)
    known = None if known is None else TrainingRows(*known)
    plan = _plan(space, solver, ctx, known, near_to, held)
    size = max(solver.rows_at_once // plan.rows, 1)
    near = None if known is None else DataDistance.of(known, surrogate.space)
    ctx.emit(_solving(plan, solver))
    plan.tell(ctx)
    quiet = replace(ctx, emit=lambda event: None if event.kind == "progress" else ctx.emit(event))
    for first in range(0, len(targets), size):
        if first in skip:
            yield first, None
            continue
        rows = slice(first, first + size)
        part = None if held is None else held[rows]
        with ctx.clock.stage("solve"):
            before = forward.compile_seconds
            reached = reach(forward, targets.take(rows), space, solver, quiet, plan, known, part, first, near_to)
            found = answers(reached, surrogate, space, targets.take(rows), truth, designs, near, targets)
            found = _with_evidence(found, known, space, surrogate.outputs, designs, quality, part)
            found = replace(found, out_of_time=_ran_out(found, ctx))
        ctx.clock.move(forward.compile_seconds - before, "solve", "compile")
        done = min(first + size, len(targets))
        ctx.emit(Progress("solve", done, len(targets)))
        yield first, found
        if reached.interrupted:
            return


def check_columns(frame: pd.DataFrame, outputs: Sequence[str], variables: Sequence[str]) -> None:
    """Refuse a table of targets with a column that is neither an output nor a design variable.

    Raises
    ------
    ConfigError
        Naming the column.
    """
    for name in frame.columns:
        if name not in outputs and name not in variables:
            raise ConfigError(
                f"targets: the column {name!r} is neither an output nor a design variable",
                near_match(str(name), [*outputs, *variables]) + "; or take the column out",
            )
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise ConfigError(f"targets: the column {twice[0]!r} appears twice", "rename or remove one of them")
    if not any(name in outputs for name in frame.columns):
        raise ConfigError("targets: no column is an output", f"the outputs are {', '.join(map(repr, outputs))}")


def check_bounds(space: Space) -> None:
    """Refuse a space that the search could leave to infinity.

    Raises
    ------
    ConfigError
        Naming the variables.
    """
    lacking = space.unbounded()
    if lacking:
        names = ", ".join(map(repr, lacking))
        raise ConfigError(
            f"no bounds are known for {names}",
            f"give them: --bounds '{lacking[0]}=0..1', or --fixed '{lacking[0]}=1', or --table FILE with a column "
            f"of that name; in Python bounds={{{lacking[0]!r}: (0, 1)}}",
        )
