"""The stages in their order: fit a surrogate to data, and invert it for targets."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from invdesign_core.context import Context, Event, Progress, StageStarted, within
from invdesign_core.data.columns import is_constant
from invdesign_core.data.data import Data, Rows, TrainingRows, split_rows
from invdesign_core.data.quality import doubts_of_split
from invdesign_core.designs.answers import Answers
from invdesign_core.designs.judge import add_tolerances, judge
from invdesign_core.designs.report import OutputMetrics, SurrogateReport
from invdesign_core.designs.verdict import metric_warnings
from invdesign_core.errors import ConfigError, PluginError, near_match, plugin_errors
from invdesign_core.search.inverse_problem import InverseProblem
from invdesign_core.search.plan import Plan
from invdesign_core.search.protocols import Solver
from invdesign_core.search.search import plan_for, search
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.space import Space
from invdesign_core.surrogate.evaluate import Evaluator
from invdesign_core.surrogate.model_check import warn_of_flat
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.surrogate.trials import TrialTable
from invdesign_core.targets import ROUNDOFF

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.plugin import SurrogateBuilder, Tuner


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
    """Split, tune, train, and test on the rows held out."""
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


def invert(problem: InverseProblem, ctx: Context) -> Answers:
    """Find the designs whose output is the one target of a problem."""
    ctx = within(ctx, problem.solver.time_limit)
    plan = plan_for(problem, ctx)
    problem = replace(problem, plan=plan)
    surrogate, space, targets = problem.surrogate, problem.space, problem.targets
    with ctx.clock.stage("solve"):
        ctx.emit(_solving(plan, problem.solver.name))
        plan.tell(ctx)
        warn_of_flat(surrogate, space, [targets.outputs[m] for m in np.flatnonzero(targets.asked[0])], ctx)
        found = judge(problem, search(problem, ctx))
        found = replace(found, out_of_time=_ran_out(found, ctx))
        if not found.interrupted:
            found = add_tolerances(found, surrogate, space, problem.nearness if problem.near_to.to_data else None)
    ctx.clock.move(problem.losses.compile_seconds, "solve", "compile")
    _note_violated(found, ctx)
    if found.out_of_time:
        ctx.note(f"{time_limit_of(problem.solver)} ended the search")
    return found


def time_limit_of(solver: Solver) -> str:
    """Name what limits the time of a search, for messages."""
    return "the deadline" if solver.time_limit is None else f"the time limit of {solver.time_limit:g} s"


def _ran_out(found: Answers, ctx: Context) -> bool:
    """Return whether it was the deadline, and not Ctrl-C, that cut a search short."""
    return found.interrupted and ctx.out_of_time() and not ctx.stop.is_set()


def _solving(plan: Plan, solver: str) -> Event:
    """Return the event that a search begins; it names the solver where one is asked."""
    return StageStarted("solve", solver if plan.way != "enumeration" else None)


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
    problem: InverseProblem, ctx: Context, skip: Container[int] = ()
) -> Iterator[tuple[int, Answers | None]]:
    """Find designs for a table of targets, chunk by chunk."""
    ctx = within(ctx, problem.solver.time_limit)
    plan = plan_for(problem, ctx)
    problem = replace(problem, plan=plan)
    total, size = len(problem.targets), max(problem.solver.rows_at_once // plan.rows, 1)
    ctx.emit(_solving(plan, problem.solver.name))
    plan.tell(ctx)
    quiet = replace(ctx, emit=lambda event: None if event.kind == "progress" else ctx.emit(event))
    for first in range(0, total, size):
        if first in skip:
            yield first, None
            continue
        part = problem.take(slice(first, first + size))
        with ctx.clock.stage("solve"):
            before = part.losses.compile_seconds
            found = judge(part, search(part, quiet))
            found = replace(found, out_of_time=_ran_out(found, ctx))
        ctx.clock.move(part.losses.compile_seconds - before, "solve", "compile")
        ctx.emit(Progress("solve", min(first + size, total), total))
        yield first, found
        if found.interrupted:
            return


def check_columns(frame: pd.DataFrame, outputs: Sequence[str], variables: Sequence[str]) -> None:
    """Refuse a table of targets with a column that is neither an output nor a design variable."""
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
    """Refuse a space that the search could leave to infinity."""
    lacking = space.unbounded()
    if lacking:
        names = ", ".join(map(repr, lacking))
        raise ConfigError(
            f"no bounds are known for {names}",
            f"give them: --bounds '{lacking[0]}=0..1', or --fixed '{lacking[0]}=1', or --table FILE with a column "
            f"of that name; in Python bounds={{{lacking[0]!r}: (0, 1)}}",
        )
