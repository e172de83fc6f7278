"""All combinations of discrete values, tried in chunks of bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from invdesign_core.search.plan import Plan, combine
from invdesign_core.search.problem import LossFunctions
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.space import Space
from invdesign_core.targets import Goal, Prediction

if TYPE_CHECKING:
    from invdesign_core.context import Context

CHUNK = 2**18
"""Pairs of a target and a combination that are looked at together."""
AT_ONCE = 2**14
"""Combinations that are predicted together."""
Judge = Callable[[FloatArray, FloatArray, FloatArray, IndexArray], FloatArray]
"""From designs, (n, m) predictions in z, their (n,) losses and targets to (n,) scores, smaller is better; infinite
where a design may not be taken. Where all targets share their designs, there are fewer of these, to be repeated."""
WORST = 1e300
"""Stands for the loss of a design whose prediction is not finite, so that it is kept behind all others."""


def best_combinations(
    forward: LossFunctions,
    goal: Goal,
    space: Space,
    plan: Plan,
    base: FloatArray,
    ctx: Context,
    judge: Judge,
) -> tuple[FloatArray, IndexArray, bool]:
    """Try all combinations of the free discrete variables, and keep the best of each target.

    Parameters
    ----------
    forward : LossFunctions
        The surrogate and the objective.
    goal : Goal
        t goals in z.
    space : Space
        The design variables.
    plan : Plan
        Names the free variables, and how many designs to keep.
    base : ndarray
        (t, e) encoded designs with the values of the variables that are not free.
    ctx : Context
        Holds the deadline.
    judge : callable
        Makes scores of losses.

    Returns
    -------
    x : ndarray
        (b, e) the best feasible designs of each target, best first.
    groups : ndarray of int
        (b,) their targets; one has fewer rows, or none, where fewer of its combinations satisfy the constraints.
    interrupted : bool
        Whether time ran out before all were tried.
    """
    t = len(base)
    sizes = tuple(space.variables[i].count or 1 for i in plan.free)
    loss = np.full((t, plan.starts), np.inf)
    number = np.zeros((t, plan.starts), dtype=np.intp)
    chunk = min(max(CHUNK // t, 1), AT_ONCE)
    interrupted = False
    try:
        for first in range(0, plan.combinations, chunk):
            ctx.check_stop()
            if first and ctx.out_of_time():
                interrupted = True
                break
            flat = np.arange(first, min(first + chunk, plan.combinations))
            found = _scores(forward, goal, space, plan, base, np.unravel_index(flat, sizes), judge)
            loss = np.concatenate([loss, found], axis=1)
            number = np.concatenate([number, np.tile(flat, (t, 1))], axis=1)
            best = np.argpartition(loss, plan.starts - 1, axis=1)[:, : plan.starts]
            loss, number = np.take_along_axis(loss, best, axis=1), np.take_along_axis(number, best, axis=1)
    except KeyboardInterrupt:
        interrupted = True
    order = np.lexsort((number, loss), axis=1)
    loss, number = np.take_along_axis(loss, order, axis=1), np.take_along_axis(number, order, axis=1)
    kept = np.isfinite(loss)
    groups = np.repeat(np.arange(t), kept.sum(axis=1))
    return combine(space, plan.free, np.unravel_index(number[kept], sizes), base[groups]), groups, interrupted


def _scores(
    forward: LossFunctions,
    goal: Goal,
    space: Space,
    plan: Plan,
    base: FloatArray,
    index: tuple[IndexArray, ...],
    judge: Judge,
) -> FloatArray:
    """Return the (t, c) scores of c combinations for t goals; infinite where the constraints are violated."""
    t, c = len(base), len(index[0])
    rows = np.repeat(np.arange(t), c)
    if (base == base[0]).all():  # one set of designs serves all targets, and is predicted once
        x = combine(space, plan.free, index, np.repeat(base[:1], c, axis=0))
        z = forward.surrogate.predict_z(x)
        z = Prediction(np.tile(z.mean, (t, 1)), None if z.std is None else np.tile(z.std, (t, 1)))
        feasible = np.tile(space.feasible_set.holds(x), t)
    else:
        x = combine(space, plan.free, [np.tile(numbers, t) for numbers in index], base[rows])
        z = forward.surrogate.predict_z(x)
        feasible = space.feasible_set.holds(x)
    loss = forward.loss_of(z, goal.take(rows))
    score = judge(x, z.mean, np.where(np.isfinite(loss), loss, WORST), rows)
    return np.asarray(np.where(feasible, score, np.inf).reshape(t, c))
