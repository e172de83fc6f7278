"""From a surrogate and targets to judged designs; the one place where an inverse problem is put together."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from invdesign_core.cluster.threads import Threads
from invdesign_core.context import Compute, Context, Event, Local, Piece, Progress, StageStarted, within
from invdesign_core.designs.answers import Answers
from invdesign_core.designs.judge import add_tolerances, judge, name_conditions
from invdesign_core.designs.verdict import Quality
from invdesign_core.errors import ConfigError, near_or_all, plural
from invdesign_core.search.inverse_problem import InverseProblem, Wishes
from invdesign_core.search.loss_functions import Objective
from invdesign_core.search.plan import Plan
from invdesign_core.search.search import plan_for, search
from invdesign_core.search.solver import Solver
from invdesign_core.search.starts import check_held
from invdesign_core.space.conditions import Scenarios
from invdesign_core.space.expressions import Expression
from invdesign_core.space.space import Space
from invdesign_core.space.units import NO_UNITS, Units
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.exact_inputs import ExactInputs
from invdesign_core.surrogate.surrogate import warn_of_flat
from invdesign_core.targets import ROUNDOFF, Target, Targets, check_targets
from invdesign_core.truth.around import WithInputs
from invdesign_core.truth.simulated import Tally, Truth, sum_of
from invdesign_core.workflow.conditions import averaged, tell
from invdesign_core.workflow.derived import Understood, derivations, limits_of, shown, tell_doubts
from invdesign_core.workflow.design import Design
from invdesign_core.workflow.fixed_inputs import check_conditions, held_names, hold
from invdesign_core.workflow.input_limits import check_wanted
from invdesign_core.workflow.train import ForwardModel

if TYPE_CHECKING:
    import pandas as pd


THREADS = 4
"""Parts of a table that are solved side by side at most: what is not compiled takes turns."""


def pose(
    model: ForwardModel,
    base: Space,
    said: Design | Understood,
    asked: Mapping[str, Target] | pd.DataFrame,
    objective: Objective,
    choose: Callable[[bool], Solver],
    ctx: Context,
) -> InverseProblem:
    """Put an inverse problem together, for one target or a table of targets.

    `base` has the variables as the data say them. `choose` returns the solver, told whether an extremum is asked for.
    """
    said = said if isinstance(said, Understood) else Understood(NO_UNITS, {}, said)
    design = said.design
    frame, wanted = (None, asked) if isinstance(asked, Mapping) else (asked, {})
    held = held_names(base, frame)
    if frame is not None:
        check_columns(frame, (*model.surrogate.outputs, *said.derive), base.names)
        for name in sorted(set(held) & set(design.conditions)):
            ctx.note(f"targets: each row holds {name!r} at its own value, whatever is said of its distribution")
    space = design.apply(base, model.surrogate.outputs, frame, wanted)
    scenarios = design.scenarios(base, None if model.rows is None else model.rows.measured.x, ctx, held)
    tell(scenarios, base, ctx)
    model = averaged(model, space, scenarios)
    derived = derivations(said.derive, space, model.surrogate.outputs)
    tell_doubts(derived, space, ctx)
    model, targets = asked_of(model, wanted if frame is None else frame, space, derived, said.units)
    check_conditions(space, held)
    solver = choose(bool(targets.extremum.any()))
    wishes = Wishes(design.designs, design.near_to(space, held), shown(derived, space))
    return inverse_problem(model, space, targets, objective, solver, wishes, frame)


def asked_of(
    model: ForwardModel,
    asked: Mapping[str, Target] | pd.DataFrame,
    space: Space,
    derived: Mapping[str, Expression],
    units: Units = NO_UNITS,
) -> tuple[ForwardModel, Targets]:
    """Return one target, or a table of them, and the model that answers with all that they are about.

    Besides the outputs these are inputs to be maximised or minimised, `derived` formulas of inputs, and those that the
    constraints of the `space` limit.
    """
    goals: list[str] = []
    if isinstance(asked, Mapping):
        check_wanted(asked, space)
        goals = [name for name, target in asked.items() if name in space.names and target.goal is not None]
    limits = limits_of(space)
    formulas = {name: formula for name, formula in derived.items() if name in asked}
    formulas |= {name: formula for name, (formula, _) in limits.items()}
    if goals or formulas:
        _refuse_conditions(formulas, model.surrogate.scenarios)
        rows = None if model.rows is None else model.rows.measured.x
        exact = ExactInputs.beside(model.surrogate, goals, formulas, rows)
        known = None if model.rows is None else exact.rows(model.rows)
        truth = None if model.truth is None else WithInputs(model.truth, space, dict(exact.formulas))
        model = replace(model, surrogate=exact, rows=known, truth=truth)
    outputs, spread = model.surrogate.outputs, model.surrogate.spread
    if isinstance(asked, Mapping):
        wanted = {
            name: replace(target, lower=-np.inf, upper=np.inf) if name in goals else target
            for name, target in asked.items()
            if name in outputs
        }
        targets = Targets.build([wanted], outputs, spread)
    else:
        targets = Targets.from_frame(asked, outputs, spread, units)
    check_targets(targets, model.surrogate.shift)
    if formulas:
        targets = targets.constrained({name: limit for name, (_, limit) in limits.items()}, list(formulas))
    return model, targets


def _refuse_conditions(formulas: Mapping[str, Expression], scenarios: Scenarios | None) -> None:
    """Refuse a formula of a condition that varies: it has another value in each scenario."""
    for name, formula in formulas.items():
        if scenarios is not None and set(formula.columns) & set(scenarios.columns.tolist()):
            raise ConfigError(
                f"{name!r} ({formula.text}) looks at a condition that varies ({scenarios.words})",
                "hold the condition at one value, or leave it out of the formula",
            )


def inverse_problem(
    model: ForwardModel,
    space: Space,
    targets: Targets,
    objective: Objective,
    solver: Solver,
    wishes: Wishes,
    frame: pd.DataFrame | None = None,
) -> InverseProblem:
    """Put an inverse problem together; variables in the `frame` of t targets are held at their rows' values."""
    held = None
    if frame is not None:
        space, held = hold(space, frame)
    check_bounds(space)
    if held is not None:
        check_held(space, held)
    return InverseProblem(
        model.surrogate,
        space,
        targets,
        objective,
        solver,
        model.rows,
        model.truth,
        wishes,
        held,
        second=None if model.rows is None else model.second,  # intervals need the measured outputs
        errors=Quality.of(model.report).errors,
    )


def invert(problem: InverseProblem, ctx: Context) -> Answers:
    """Find the designs whose output is the one target of a problem."""
    with ctx.clock.stage("import"):
        import scipy.stats  # noqa: F401 - takes half a second, and is no part of the search

    ctx = within(ctx, problem.solver.time_limit)
    plan = plan_for(problem, ctx)
    surrogate, space, targets, losses = problem.surrogate, problem.space, problem.targets, problem.losses
    with ctx.clock.stage("solve"):
        ctx.emit(_solving(plan, problem.solver.name))
        plan.tell(ctx)
        warn_of_flat(surrogate, space, [targets.outputs[m] for m in np.flatnonzero(targets.asked[0])], ctx)
        found = _solved(problem, plan, ctx)
        if not found.interrupted:
            found = add_tolerances(found, surrogate, space, problem.nearness if problem.near_to.to_data else None)
    found = name_conditions(found, surrogate.scenarios)
    ctx.clock.move(losses.compile_seconds, "solve", "compile")
    tell_of_truth(found.simulated, problem.truth, ctx)
    _note_violated(found, ctx)
    if found.out_of_time:
        ctx.note(f"{time_limit_of(problem.solver)} ended the search")
    return found


def invert_many(
    problem: InverseProblem, ctx: Context, skip: Container[int] = ()
) -> Iterator[tuple[int, Answers | None]]:
    """Yield the number of each chunk's first target and its answers, None for chunks to `skip`.

    What is held in memory is bounded by the solver's `rows_at_once`.
    """
    ctx = within(ctx, problem.solver.time_limit)
    plan = plan_for(problem, ctx)
    each = plan.rows * len(problem.surrogate.scenarios or (None,))
    total, size = len(problem.targets), max(problem.solver.rows_at_once // each, 1)
    asked = list[Tally | None]()
    ctx.emit(_solving(plan, problem.solver.name))
    plan.tell(ctx)
    quiet = replace(ctx, emit=lambda event: None if event.kind in ("progress", "stage") else ctx.emit(event))
    chunks = {first: slice(first, min(first + size, total)) for first in range(0, total, size)}
    pieces = [Piece(f"targets {c.start + 1} to {c.stop}", c) for first, c in chunks.items() if first not in skip]
    results = _compute(problem, ctx).map(quiet, _solved_chunk, (problem, plan), pieces)
    for first, chunk in chunks.items():
        if first in skip:
            yield first, None
            continue
        with ctx.clock.stage("solve"):
            found = next(results)
        ctx.emit(Progress("solve", chunk.stop, total))
        asked.append(found.simulated)
        if found.interrupted or chunk.stop >= total:
            tell_of_truth(sum_of(asked), problem.truth, ctx)
        yield first, name_conditions(found, problem.surrogate.scenarios)
        if found.interrupted:
            return


def _compute(problem: InverseProblem, ctx: Context) -> Compute:
    """Return who solves the parts of a table: this process does some side by side where what they call allows it."""
    if problem.truth is not None:  # a simulator asks for its own designs in pieces, and remembers all of them
        return Local()
    if not isinstance(ctx.compute, Local) or not (problem.solver.in_threads and problem.surrogate.differentiable):
        return ctx.compute
    count = min(backend.processors(), THREADS)
    return Threads(count) if count > 1 else ctx.compute


def _solved_chunk(shared: tuple[InverseProblem, Plan], chunk: slice, ctx: Context) -> Answers:
    """Solve some of the targets of a problem."""
    problem, plan = shared
    before = problem.losses.compile_seconds
    found = _solved(problem.take(chunk), plan, ctx)
    ctx.clock.move(problem.losses.compile_seconds - before, "solve", "compile")
    return found


def _solved(problem: InverseProblem, plan: Plan, ctx: Context) -> Answers:
    """Search and judge; say whether it was the deadline, and not Ctrl-C, that cut the search short."""
    found = judge(problem, search(problem, plan, ctx), ctx)
    return replace(found, out_of_time=found.interrupted and ctx.out_of_time() and not ctx.stop.is_set())


def _solving(plan: Plan, solver: str) -> Event:
    """Return the event that a search begins; it names the solver where one is asked."""
    return StageStarted("solve", solver if plan.way != "enumeration" else None)


def time_limit_of(solver: Solver) -> str:
    """Name what limits the time of a search, for messages."""
    return "the deadline" if solver.time_limit is None else f"the time limit of {solver.time_limit:g} s"


def tell_of_truth(tally: Tally | None, truth: Truth | None, ctx: Context) -> None:
    """Say how many designs were put through the true model, how much work that was, and what failed."""
    if tally is None or truth is None or not tally.designs:
        return
    if truth.told:
        work = [f"{tally.simulated} simulated in {plural(tally.calls, 'call')}"] if tally.simulated else []
        work += [f"{tally.known} known from before"] if tally.known else []
        put = plural(tally.designs, "design was", "designs were")
        ctx.note(f"{put} put through {tally.by}: {', '.join(work) or 'none simulated'}")
    if tally.failed:
        ctx.warn(f"{tally.by} gave no value for {tally.failed} of {plural(tally.designs, 'design')}: {tally.reason}")


def _note_violated(found: Answers, ctx: Context) -> None:
    """Say which limits beside an extremum can't hold, by how much, even where a tolerance forgives it."""
    if not len(found.designs):
        return
    outputs = found.targets.outputs
    y = np.array([[found.reached(name, found.judged_by)[0] for name in outputs]], dtype=np.float64)
    first = np.zeros(1, dtype=np.intp)
    violated = np.flatnonzero(np.abs(found.targets.excess(y, first)[0]) > ROUNDOFF)
    if len(violated):
        miss = found.targets.miss(y, first)[0]
        by = ", ".join(f"{outputs[m]!r} misses by {abs(miss[m]):.5g}" for m in violated)
        ctx.note(f"no design was found in which all limits hold; the smallest violation: {by}")


def check_columns(frame: pd.DataFrame, outputs: Sequence[str], variables: Sequence[str]) -> None:
    """Refuse a table of targets with a column that is neither an output nor a design variable."""
    for name in frame.columns:
        if name not in outputs and name not in variables:
            raise ConfigError(
                f"targets: the column {name!r} is neither an output nor a design variable",
                near_or_all(str(name), [*outputs, *variables]) + "; or take the column out",
            )
    if not any(name in outputs for name in frame.columns):
        raise ConfigError("targets: no column is an output", f"the outputs are {', '.join(map(repr, outputs))}")


def check_bounds(space: Space) -> None:
    """Refuse a space that the search could leave to infinity, naming the variables."""
    lacking = space.unbounded()
    if lacking:
        names = ", ".join(map(repr, lacking))
        raise ConfigError(
            f"no bounds are known for {names}",
            f"give them: --bounds '{lacking[0]}=0..1', or --fixed '{lacking[0]}=1', or --table FILE with a column "
            f"of that name; in Python bounds={{{lacking[0]!r}: (0, 1)}}",
        )
