"""All combinations of discrete values, tried in chunks of bounded memory."""

from __future__ import annotations

import numpy as np

from invdesign_core.context import Context
from invdesign_core.search.inverse_problem import InverseProblem, SearchResult
from invdesign_core.search.plan import Plan, combine, no_combination
from invdesign_core.search.problem import Status
from invdesign_core.search.starts import check_found
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.targets import Goal, Prediction

CHUNK = 2**18
"""Pairs of a target and a combination that are looked at together."""
AT_ONCE = 2**14
"""Combinations that are predicted together."""


def all_combinations(problem: InverseProblem, plan: Plan, ctx: Context) -> SearchResult:
    """Try all combinations of the free discrete variables, and keep the best of each target; no solver is asked.

    A target has fewer rows, or none, where fewer of its combinations satisfy the constraints.
    """
    low, high = problem.bounds
    t, goal = len(low), problem.firm_goal
    sizes = tuple(problem.space.variables[i].count or 1 for i in plan.free)
    keys, number = np.full((1, t, plan.starts), np.nan), np.zeros((t, plan.starts), dtype=np.intp)
    chunk = min(max(CHUNK // t, 1), AT_ONCE)
    interrupted = False
    try:
        for first in range(0, plan.combinations, chunk):
            ctx.check_stop()
            if first and ctx.out_of_time():
                interrupted = True
                break
            flat = np.arange(first, min(first + chunk, plan.combinations))
            found = _keys(problem, plan, goal, low, np.unravel_index(flat, sizes))
            keys = np.concatenate([np.broadcast_to(keys, (len(found), *keys.shape[1:])), found], axis=2)
            number = np.concatenate([number, np.tile(flat, (t, 1))], axis=1)
            if len(keys) == 1:
                alone = np.nan_to_num(keys[0], nan=np.inf)  # infinities become the largest number, and NaN follows it
                best = np.argpartition(alone, plan.starts - 1, axis=1)[:, : plan.starts]
            else:
                best = np.lexsort(keys[::-1], axis=1)[:, : plan.starts]
            keys, number = np.take_along_axis(keys, best[None], axis=2), np.take_along_axis(number, best, axis=1)
    except KeyboardInterrupt:
        interrupted = True
    order = np.lexsort((number, *keys[::-1]), axis=1)
    keys, number = np.take_along_axis(keys, order[None], axis=2), np.take_along_axis(number, order, axis=1)
    kept = ~np.isnan(keys[0])
    groups = np.repeat(np.arange(t), kept.sum(axis=1))
    x = combine(problem.space, plan.free, np.unravel_index(number[kept], sizes), low[groups])
    if not interrupted and not len(x) and problem.data is None:
        raise no_combination()
    if not interrupted:
        check_found(problem, groups)
    b = len(x)
    return SearchResult(
        problem,
        plan.way,
        problem.goal,
        groups,
        u0=problem.losses.to_u(((low + high) / 2)[groups]),  # no search began anywhere
        u=problem.losses.to_u(x),
        x=x,
        said=np.full(b, str(Status.CONVERGED), dtype=object),
        message=np.full(b, f"one of the best of {plan.combinations:,} combinations", dtype=object),
        evaluations=np.full(b, plan.combinations // plan.starts),
        movable=np.ones(b, dtype=bool),
        interrupted=interrupted,
    )


def _keys(
    problem: InverseProblem, plan: Plan, goal: Goal, base: FloatArray, index: tuple[IndexArray, ...]
) -> FloatArray:
    """Return (k, t, c) keys to sort c combinations by for t goals; NaN, which sorts last, where one is ruled out."""
    space, t, c = problem.space, len(base), len(index[0])
    rows = np.repeat(np.arange(t), c)
    if (base == base[0]).all():  # one set of designs serves all targets, and is predicted once
        x = combine(space, plan.free, index, np.repeat(base[:1], c, axis=0))
        z = problem.surrogate.predict_z(x)
        z = Prediction(np.tile(z.mean, (t, 1)), None if z.std is None else np.tile(z.std, (t, 1)))
    else:
        x = combine(space, plan.free, [np.tile(numbers, t) for numbers in index], base[rows])
        z = problem.surrogate.predict_z(x)
    keys = problem.preference(x, z, problem.losses.loss_of(z, goal.take(rows)), rows)
    allowed = space.feasible_set.holds(x)
    if problem.data is not None:
        allowed &= problem.data.holds(x)
    return np.where(np.resize(allowed, t * c), keys, np.nan).reshape(-1, t, c)
