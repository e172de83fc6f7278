"""The solver from many starts, and designs of what it finds: with values that exist, as they will be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from invdesign_core.context import Context
from invdesign_core.search.inverse_problem import InverseProblem, SearchResult, firm
from invdesign_core.search.local_search import improve, precedes, repair
from invdesign_core.search.penalty import hold_limits
from invdesign_core.search.plan import Plan
from invdesign_core.search.problem import Bounded
from invdesign_core.search.starts import Rows, check_found, losses_of, make_rows, projected
from invdesign_core.search.trust_boxes import TrustBoxes
from invdesign_core.space.arrays import FloatArray, IndexArray, Mask
from invdesign_core.space.rounding import broken, mended, shortened, written
from invdesign_core.targets import Goal, Prediction

ROW = 1e-9
"""A design this near to a measured row, in shares of the ranges, is that row."""
SAME = 5e-6
"""A design may be written with fewer digits where that changes no output by more, in standardised units."""


def from_starts(problem: InverseProblem, plan: Plan, ctx: Context) -> SearchResult:
    """Run the solver from starts in a plan's boxes, or around measured designs, and make designs of what it finds."""
    rows = make_rows(problem, *_boxes(problem, plan), ctx)
    b = len(rows.u0)
    begun = SearchResult(
        problem,
        plan.way,
        problem.goal,
        rows.groups,
        u0=rows.u0,
        u=rows.u0,
        x=problem.losses.to_x(rows.u0),
        said=np.full(b, "", dtype=object),
        message=np.full(b, "", dtype=object),
        evaluations=np.zeros(b, dtype=np.int64),
        movable=np.asarray((rows.upper > rows.lower).any(axis=1)),
    )
    maps = problem.near_to.forward_maps(problem.space, problem.losses)
    result = _descend(begun, rows, maps, ctx)
    result = replace(result, x=written(problem.space, problem.losses.to_x(result.u), *rows.bounds))
    if plan.way in ("rounding", "relaxation") and not result.interrupted:
        result = _made_discrete(result, rows, plan, maps, ctx)
    return _as_written(result, rows)


def _boxes(problem: InverseProblem, plan: Plan) -> tuple[FloatArray, int]:
    """Return the (2, t · c, e) encoded boxes to start in, and the starts in each."""
    if problem.data is None or problem.rows is None:
        return problem.boxes(plan), plan.starts
    known, surrogate, count = problem.rows, problem.surrogate, problem.solver.starts
    loss = losses_of(problem.losses, Prediction((known.y - surrogate.shift) / surrogate.scale), problem.firm_goal)
    first = None if problem.fixed_inputs is None else problem.first
    boxes = TrustBoxes(problem.space, problem.data).around_rows(known, loss, problem.bounds, count, first)
    return boxes.reshape(2, -1, problem.space.width), 1


def _descend(result: SearchResult, rows: Bounded, maps: Sequence[Any], ctx: Context) -> SearchResult:
    """Solve through one forward map after another."""
    for forward in maps:
        result = hold_limits(result, forward, rows, ctx)
        if result.interrupted:
            break
    return result


def _made_discrete(result: SearchResult, rows: Rows, plan: Plan, maps: Sequence[Any], ctx: Context) -> SearchResult:
    """Repair and polish rounded designs, search their neighbours, and polish again what that changed.

    Neighbours are searched by the loss with the strongest pull, then as designs are compared; of a relaxation none are.
    """
    problem, groups = result.problem, result.groups
    space, forward, goal = problem.space, problem.losses, firm(result.goal, problem.targets)
    relaxed = plan.way == "relaxation"
    through = [] if relaxed else maps if len(maps) == 1 else [maps[0], None]
    # Boxes around measured designs do not say how far others may go.
    low, high = rows.bounds if problem.data is None else problem.bounds[:, groups]
    held = np.where(low == high, low, np.nan)
    polishes = (~space.discrete & (rows.upper > rows.lower).any(axis=0)).any()
    x = repair(result.x, forward.to_x(result.u), rows.bounds, space, plan.free, ctx)
    result = replace(result, x=x)
    if polishes:
        result = _polished(result, rows, maps, ctx)
    for forward_map in through:
        if result.interrupted:
            break
        score = partial(_score, problem, goal, forward_map)
        x, evaluations = improve(result.x, groups, score, held, space, plan.free, ctx)
        changed = (x != result.x).any()
        evaluations += result.evaluations
        result = replace(result, x=x, evaluations=evaluations, interrupted=ctx.out_of_time())
        if polishes and changed and not result.interrupted:
            polished = _polished(result, rows, maps, ctx)
            worse = precedes(score(x, groups), score(polished.x, groups))
            result = replace(polished, x=np.where(worse[:, None], x, polished.x))
    # Whether a relaxed start moved is told by the point that the solver reached, not by its rounding.
    return result if relaxed else replace(result, u=forward.to_u(result.x))


def _polished(result: SearchResult, rows: Rows, maps: Sequence[Any], ctx: Context) -> SearchResult:
    """Hold the discrete variables at the values that exist, and let the others make up for it."""
    problem, forward, x = result.problem, result.problem.losses, result.x
    bounds = rows.bounds
    if problem.data is not None:
        bounds = TrustBoxes(problem.space, problem.data).around_designs(x, problem.bounds[:, rows.groups])
    bounds = np.where(problem.space.discrete, x, bounds)
    lower, upper = forward.to_u(bounds)
    begun = replace(result, u=projected(problem, forward.to_u(x), lower, upper))
    polished = _descend(begun, Bounded(rows.groups, lower, upper, rows.numbers), maps[1:] or maps, ctx)
    x = written(problem.space, forward.to_x(polished.u), *bounds)
    return replace(polished, x=x, u=result.u, said=result.said, message=result.message)


def _score(problem: InverseProblem, goal: Goal, forward: Any, x: FloatArray, groups: IndexArray) -> FloatArray:
    """Return (k, n) keys to sort (n, e) designs by, infinite where one is not allowed.

    They are the losses through a forward map, or, without one, those by which designs are compared.
    """
    keys = np.full((3 if forward is None else 1, len(x)), np.inf)
    fine = np.flatnonzero(problem.space.feasible_set.holds(x))
    x, groups = x[fine], groups[fine]
    if not len(fine):
        return keys
    if forward is not None:
        found = forward.value(problem.losses.to_u(x), goal.take(groups))[None]
    else:
        z = problem.surrogate.predict_z(x)
        found = problem.preference(x, z, problem.losses.loss_of(z, goal.take(groups)), groups)
    keys[:, fine] = found if problem.data is None else np.where(problem.data.holds(x), found, np.inf)
    return keys


def _as_written(result: SearchResult, rows: Rows) -> SearchResult:
    """Return the designs that a search reached from its rows as they will be written, without those that can't be.

    Rows are left out in whose boxes no design exists that satisfies the constraints; starts may lie between.
    """
    problem, groups = result.problem, result.groups
    still = np.asarray((np.abs(result.u - result.u0) <= ROW).all(axis=1))
    x, rowlike = _as_measured(result.x, rows, still, problem)
    x = _shortened(x, groups, rows.bounds, rowlike, problem)
    low, high = problem.bounds
    mends, fine = mended(problem.space, x, groups, low, high, problem.near_to.to_data or problem.near_to.fewest)
    same = (mends == x).all(axis=1)
    if not same.all():
        mends = _shortened(mends, groups, problem.bounds[:, groups], same, problem)
    if problem.data is not None:
        fine &= problem.data.holds(mends)
    check_found(problem, groups[fine])
    u = np.where(same[:, None], result.u, problem.losses.to_u(mends))
    return replace(result, x=mends, u=u).take(fine)


def _as_measured(x: FloatArray, starts: Rows, still: Mask, problem: InverseProblem) -> tuple[FloatArray, Mask]:
    """Give (n, e) designs that never moved from a measured row its very numbers, and say which those are."""
    known, (least, most) = problem.rows, problem.space.bounds
    unit = np.where(np.isfinite(most - least) & (most > least), most - least, 1.0)
    rows, rowlike = np.flatnonzero(still & np.isfinite(x).all(axis=1)), np.zeros(len(x), dtype=bool)
    if known is None or not len(rows) or not len(known.x):
        return x, rowlike
    from scipy.spatial import cKDTree

    far, at = cKDTree(known.x / unit).query(x[rows] / unit, p=np.inf)
    measured = known.x[at]
    fine = (far <= ROW) & ~broken(problem.space, measured).any(axis=1)
    fine &= ((measured >= starts.bounds[0, rows]) & (measured <= starts.bounds[1, rows])).all(axis=1)
    x = x.copy()
    x[rows[fine]], rowlike[rows[fine]] = measured[fine], True
    return x, rowlike


def _shortened(
    x: FloatArray, groups: IndexArray, bounds: FloatArray, done: Mask, problem: InverseProblem
) -> FloatArray:
    """Write (n, e) designs with fewer digits, where that changes no prediction noticeably; not those (n,) done."""
    space, surrogate, targets, data = problem.space, problem.surrogate, problem.targets, problem.data
    present = np.full(space.width, np.nan) if problem.near_to.present is None else problem.near_to.present
    asked, open_ = targets.asked[groups], targets.open[groups]
    allowed = np.where(
        open_ | targets.extremum[groups], SAME, np.minimum(SAME, targets.tolerance[groups] / 10 / surrogate.scale)
    )
    z = surrogate.predict_z(x).mean
    y = surrogate.units(z, x)

    def as_good(tried: FloatArray, before: FloatArray) -> Mask:
        now, other = z.copy(), np.flatnonzero((tried != x).any(axis=1))
        now[other] = surrogate.predict_z(tried[other]).mean
        changed = surrogate.units(now, tried)
        worse = (np.abs(now - z) > allowed) | (np.isfinite(z) & ~np.isfinite(now))
        worse |= targets.met(y, groups) & ~targets.met(changed, groups)
        worse |= open_ & (targets.miss(y, groups) == 0) & (targets.miss(changed, groups) != 0)
        worse |= (targets.excess(y, groups) == 0) & (targets.excess(changed, groups) != 0)
        good = ~np.asarray((worse & asked).any(axis=1))
        return good if data is None else good & (data.holds(tried) | ~data.holds(before))

    return shortened(space, x, bounds[0], bounds[1], (x == present) | done[:, None], as_good)
