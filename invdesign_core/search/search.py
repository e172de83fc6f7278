"""From a surrogate and targets to points reached: starts, the solver, discrete values, re-evaluation."""

from __future__ import annotations

import numpy as np

from invdesign_core.context import Context
from invdesign_core.search.inverse_problem import InverseProblem, SearchResult
from invdesign_core.search.plan import Plan, plan_search
from invdesign_core.search.problem import Status
from invdesign_core.search.trust_boxes import near_plan
from invdesign_core.search.ways import Search
from invdesign_core.targets import Prediction

MOVED = 1e-9
"""A start that ends this near to where it began, in u, did not move."""


def plan_for(problem: InverseProblem, ctx: Context) -> Plan:
    """Choose how to search where only some values exist, or only some variables may be above zero."""
    plan = plan_search(problem.space, problem.solver, ctx, problem.fixed_inputs)
    return plan if problem.data is None else near_plan(plan, problem.space, problem.data)


def search(problem: InverseProblem, ctx: Context) -> SearchResult:
    """Search from every start for every target.

    Raises
    ------
    SolverError
        If the solver fails, or answers with another shape than it was asked for.
    ConfigError
        If no design of a target's satisfies the constraints, or none that was measured lies inside the bounds.
    """
    surrogate, space, targets, forward = problem.surrogate, problem.space, problem.targets, problem.losses
    near, goal = problem.near_to, problem.goal
    near.check(bool(targets.extremum.any()))
    plan, ways = problem.plan or plan_for(problem, ctx), Search(problem, ctx)
    if plan.way == "enumeration":
        ended = ways.all_tried(plan)
    elif near.fewest:
        ended = ways.with_few_changes(plan)
    else:
        ended = ways.searched(plan, *ways.boxes(plan))
    # What is predicted here is what will be written: a value between those that exist would be moved on the way.
    x, u, groups = space.snap(ended.x), ended.u, ended.groups
    z = surrogate.predict_z(x)
    loss = forward.loss_of(z, goal.take(groups) if ended.goal is None else ended.goal.take(groups))
    asked = targets.asked[groups]
    variance = np.zeros(len(x))
    if z.std is not None:
        variance = (z.std**2 * asked).sum(axis=1) / asked.sum(axis=1)
    prediction = Prediction(surrogate.units(z.mean), None if z.std is None else z.std * surrogate.scale)
    moved = np.asarray((np.abs(u - ended.u0) > MOVED).any(axis=1) | (plan.way == "enumeration"))
    met = targets.met(prediction.mean, groups).all(axis=1)
    status = np.array([str(s) for s in ended.result.status], dtype=object)
    status[~moved & ~met & (status == Status.CONVERGED) & ended.movable] = "stuck"
    status[~np.isfinite(loss) | ~np.isfinite(prediction.mean).all(axis=1)] = "not finite"
    return SearchResult(
        groups,
        forward.to_x(ended.u0),
        x,
        prediction,
        np.where(np.isfinite(loss), loss, np.inf),
        np.where(np.isfinite(variance), variance, np.inf),
        status,
        [str(m) for m in ended.result.message],
        ended.evaluations,
        moved,
        ended.interrupted,
        plan.way,
        ways.far(x),
    )
