"""Where a search begins: the rows of each target, and start points inside their bounds, by several methods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError
from invdesign_core.search.inverse_problem import InverseProblem
from invdesign_core.search.loss_functions import LossFunctions
from invdesign_core.search.problem import Bounded
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.feasible_set import FeasibleSet
from invdesign_core.space.space import Space
from invdesign_core.targets import Goal, Prediction

SCREENED_PER_START = 64
"""Points that `screened` looks at for each start."""
SCREENED_LIMIT = 16384
FEW = 16
"""So many smallest losses are looked for one by one."""
KNOWN_LIMIT = 4096
"""Training rows that `screened` looks at besides."""


@dataclass(frozen=True, kw_only=True)
class Rows(Bounded):
    """b rows, those of one target together, with their (b, e) start points in u."""

    u0: FloatArray
    bounds: FloatArray  # (2, b, e) the same as encoded designs


def make_rows(problem: InverseProblem, boxes: FloatArray, count: int, ctx: Context) -> Rows:
    """Start `count` times in each of the (2, t · c, e) encoded boxes of t targets, those of one target together."""
    forward, surrogate, known, t = problem.losses, problem.surrogate, problem.rows, len(problem.targets)
    each = boxes.shape[1] // t
    lower, upper = forward.to_u(boxes)
    scaled = None if known is None else (forward.to_u(known.x), (known.y - surrogate.shift) / surrogate.scale)
    inside = forward.relaxed(problem.space.feasible_set).within(lower, upper)
    goals = problem.firm_goal.take(np.repeat(np.arange(t), each))
    method = "uniform" if problem.near_to.to_data else problem.solver.init
    u0 = start_points(method, count, Boxes(forward, goals, inside, scaled), ctx, problem.first * each)
    u0, groups = u0.reshape(-1, problem.space.width), np.repeat(np.arange(t), each * count)
    exists = np.isfinite(u0).all(axis=1)
    check_found(problem, groups[exists])
    u0, groups = u0[exists], groups[exists]
    lower, upper, low, high = (np.repeat(side, count, axis=0)[exists] for side in (lower, upper, *boxes))
    numbers = problem.first * each * count + np.arange(len(u0))
    present = problem.near_to.present
    if present is not None:  # the first row of each target starts from there, or as near to it as its bounds allow
        firsts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
        at = np.where(np.isfinite(present), forward.to_u(present), u0[firsts])
        u0[firsts] = projected(problem, at, lower[firsts], upper[firsts], u0[firsts])
    return Rows(groups, lower, upper, numbers, u0=u0, bounds=np.stack([low, high]))


def projected(
    problem: InverseProblem, u: FloatArray, lower: FloatArray, upper: FloatArray, otherwise: FloatArray | None = None
) -> FloatArray:
    """Return the points inside (n, e) bounds and linear constraints nearest to others; where none is, the others."""
    u = np.clip(u, lower, upper)
    found = problem.losses.relaxed(problem.space.feasible_set).within(lower, upper).project(u)
    return np.where(np.isfinite(found).all(axis=1, keepdims=True), found, u if otherwise is None else otherwise)


def check_held(space: Space, held: FloatArray) -> None:
    """Refuse targets that come with (t, e) values, NaN where free, under which no design satisfies the constraints.

    What is not held has finite bounds. Whether whole numbers and steps leave a design is found out by the search.
    """
    low, high = (np.where(np.isnan(held), bound, held) for bound in space.bounds)
    lost = ~space.feasible_set.within(low, high).possible(relaxed=True)
    if lost.any():
        raise no_design(int(np.argmax(lost)), True)


def check_found(problem: InverseProblem, groups: IndexArray) -> None:
    """Refuse to go on where a target is not among the (b,) of designs that were found."""
    lost = np.setdiff1d(np.arange(len(problem.targets)), groups)
    if not len(lost):
        return
    row = problem.first + int(lost[0])
    several = len(problem.targets) > 1 or problem.first > 0 or problem.fixed_inputs is not None
    if problem.data is None:
        raise no_design(row, several)
    which = f"targets, row {row + 1}: with its values, " if several else ""
    raise ConfigError(
        f"{which}stay_near_data: no allowed design near a measured one was found that satisfies the constraints",
        "relax the constraints, or remove stay_near_data",
    )


def no_design(target: int, several: bool) -> ConfigError:
    """Return the error for a target, by its number from 0, none of whose designs satisfies the constraints."""
    which = f"targets, row {target + 1}: with its values " if several else ""
    return ConfigError(
        f"{which}no design inside the bounds satisfies the constraints", "allow more values, or fewer constraints"
    )


@dataclass(frozen=True)
class Boxes:
    """Where starts are made: t boxes, and how to tell good points of them."""

    forward: LossFunctions
    goal: Goal  # t goals in z
    inside: FeasibleSet  # (t, e) bounds in u, and linear constraints that every start satisfies
    known: tuple[FloatArray, FloatArray] | None = None  # (n, e) training designs in u, (n, m) measured outputs in z

    @property
    def measured(self) -> tuple[FloatArray, FloatArray]:
        """The training designs and outputs, where there must be some."""
        if self.known is None:
            raise ConfigError(
                'starts are asked for from the training data (init = "data"), and none are known',
                "name a table with the model's inputs and outputs, or take another init",
            )
        return self.known


def start_points(method: str, count: int, boxes: Boxes, ctx: Context, first: int = 0) -> FloatArray:
    """Return (t, count, e) start points for t goals; `first` is the number of the first one in the whole of the work.

    Methods are ``uniform`` (random), ``sobol``, ``latin-hypercube``, ``data`` (the training rows whose measured outputs
    are nearest to the goal) or ``screened``: a space-filling set, far larger than asked for, is predicted in one batch
    together with the training rows; half of the starts are the best of it, and the other half the best of each region,
    so that neither a flat surrogate nor one wide basin takes them all. With linear constraints, random points of the
    polytope stand for space-filling ones. NaN where a box holds no point that satisfies the constraints.
    """
    lower, upper = boxes.inside.lower, boxes.inside.upper
    t, e = lower.shape
    if len(boxes.inside.linear):
        return _in_polytope(method, count, boxes, ctx)
    low, width = lower[:, None], (upper - lower)[:, None]
    if method == "uniform":
        # Each target has a stream of its own, whatever targets are solved beside it.
        unit = np.stack([ctx.rng("starts", first + i).random((count, e)) for i in range(t)])
        return np.asarray(low + unit * width)
    if method in ("sobol", "latin-hypercube"):
        return np.asarray(low + _space_filling(method, count, e, ctx) * width)
    if method == "data":
        u, z = boxes.measured
        chosen = _best_rows(boxes.forward, Prediction(z), boxes.goal, count)
        return np.asarray(np.clip(u[chosen], low, low + width))
    return _screened(count, boxes, ctx)


def _in_polytope(method: str, count: int, boxes: Boxes, ctx: Context) -> FloatArray:
    """Return (t, count, e) starts that satisfy linear constraints."""
    forward, goal, inside = boxes.forward, boxes.goal, boxes.inside
    lower, upper = inside.lower, inside.upper
    t, e = lower.shape
    if method == "data":
        u, z = boxes.measured
        chosen = u[_best_rows(forward, Prediction(z), goal, count)].reshape(t * count, e)
        low, high = np.repeat(lower, count, axis=0), np.repeat(upper, count, axis=0)
        return inside.within(low, high).project(np.clip(chosen, low, high)).reshape(t, count, e)
    different, which = np.unique(np.hstack([lower, upper]), axis=0, return_inverse=True)
    which = which.ravel()
    per_start = 1 if method != "screened" else SCREENED_PER_START if len(different) == 1 else SCREENED_PER_START // 8
    size = min(count * per_start, SCREENED_LIMIT)
    drawn = np.empty((len(different), size, e))
    for number, box in enumerate(different):  # each has an inside of its own; most often there is one
        drawn[number] = inside.within(box[:e], box[e:]).sample(size, ctx.rng("starts"))
    points = drawn[which]
    if method != "screened":
        return points
    if boxes.known is not None and len(different) == 1:
        seen = _some_of(boxes.known[0], KNOWN_LIMIT if t == 1 else size, ctx)
        seen = inside.within(lower[0], upper[0]).project(np.clip(seen, lower[0], upper[0]))
        points = np.concatenate([points, np.broadcast_to(seen, (t, *seen.shape))], axis=1)
    rows = np.repeat(np.arange(t), points.shape[1])
    losses = forward.value(points.reshape(-1, e), goal.take(rows)).reshape(t, -1)
    losses = np.where(np.isnan(points).any(axis=2), np.inf, losses)
    # The points are drawn independently, so that any part of them is spread over the whole polytope.
    return _best_of_all_and_parts(points, losses, np.array_split(np.arange(size), max(count // 2, 1)), count)


def _best_of_all_and_parts(points: FloatArray, losses: FloatArray, parts: list[IndexArray], count: int) -> FloatArray:
    """Return (t, count, e) of (t, n, e) points: half of them the best of all, the other half the best of each part."""
    chosen = [_smallest(losses, (count + 1) // 2)]
    for part in parts[: count // 2]:  # as many as there are starts, whatever the number of targets
        chosen.append(part[np.argmin(losses[:, part], axis=1)][:, None])
    return np.asarray(np.take_along_axis(points, np.concatenate(chosen, axis=1)[:, :, None], axis=1))


def _smallest(losses: FloatArray, count: int) -> IndexArray:
    """Return the (t, count) positions of the smallest of (t, n) losses, the first of equal ones first."""
    if count <= FEW and count < losses.shape[1]:  # sorting all takes far longer
        left, each, found = losses.copy(), np.arange(len(losses)), list[IndexArray]()
        for _ in range(count):
            at = np.argmin(left, axis=1)
            if not np.isfinite(left[each, at]).all():  # where nothing is left, the first would be found again
                break
            left[each, at] = np.inf
            found.append(at)
        else:
            return np.stack(found, axis=1)
    return np.argsort(losses, axis=1, kind="stable")[:, :count]


def _space_filling(method: str, count: int, dimensions: int, ctx: Context) -> FloatArray:
    """Return (count, dimensions) points in the unit cube."""
    from scipy.stats import qmc

    rng = ctx.rng("starts")
    if method == "latin-hypercube":
        return np.asarray(qmc.LatinHypercube(dimensions, rng=rng).random(count))
    power = int(np.ceil(np.log2(max(count, 2))))  # Sobol points are balanced in powers of two
    return np.asarray(qmc.Sobol(dimensions, rng=rng).random_base2(power))[:count]


def _best_rows(forward: LossFunctions, z: Prediction, goal: Goal, count: int) -> np.ndarray:
    """Return (t, count) numbers of the rows with the smallest losses; repeated where there are too few."""
    losses = losses_of(forward, z, goal)
    order = np.argsort(losses, axis=1, kind="stable")
    return order[:, np.arange(count) % order.shape[1]]


def losses_of(forward: LossFunctions, z: Prediction, goal: Goal) -> FloatArray:
    """Return the (t, n) losses of n predictions for t goals; infinite where not finite."""
    if np.isnan(z.mean).any():  # not measured, or no prediction: bad only where that output is asked for
        n, t = len(z.mean), len(goal.lower)
        rows = np.repeat(np.arange(t), n)
        asked = np.tile(goal.weight[:, None, :] > 0, (1, n, 1)).reshape(t * n, -1)
        mean = np.tile(z.mean, (t, 1))
        loss = forward.loss_of(Prediction(np.where(np.isnan(mean), 0.0, mean)), goal.take(rows))
        return np.where((np.isnan(mean) & asked).any(axis=1), np.inf, loss).reshape(t, n)
    loss = forward.losses_of_all(z, goal)
    return np.where(np.isfinite(loss), loss, np.inf)


def _screened(count: int, boxes: Boxes, ctx: Context) -> FloatArray:
    """Return (t, count, e) of the best and most different of many points."""
    from scipy.spatial import cKDTree

    forward, goal, lower, upper = boxes.forward, boxes.goal, boxes.inside.lower, boxes.inside.upper
    t, e = lower.shape
    alike = bool((lower == lower[0]).all() and (upper == upper[0]).all())
    size = min(count * (SCREENED_PER_START if alike else SCREENED_PER_START // 8), SCREENED_LIMIT)
    unit = _space_filling("sobol", size, e, ctx)
    regions = max(count // 2, 1)
    if alike:  # one set of points serves all targets, and is predicted once
        points = lower[0] + unit * (upper[0] - lower[0])
        if boxes.known is not None:
            seen = _some_of(boxes.known[0], KNOWN_LIMIT if t == 1 else size, ctx)
            points = np.concatenate([points, np.clip(seen, lower[0], upper[0])])
        losses = losses_of(forward, forward.surrogate.predict_z(forward.to_x(points)), goal)
        points = np.broadcast_to(points, (t, *points.shape))
        region = cKDTree(points[0, :regions]).query(points[0])[1]
    else:  # every target holds other values, so it needs points of its own
        points = lower[:, None] + unit * (upper - lower)[:, None]
        rows = np.repeat(np.arange(t), size)
        losses = forward.value(points.reshape(t * size, e), goal.take(rows)).reshape(t, size)
        region = cKDTree(unit[:regions]).query(unit)[1]
    # The first points of a Sobol sequence are spread evenly: each is the centre of a region.
    parts = [np.flatnonzero(region == r) for r in range(regions)]
    parts = [part if len(part) else np.array([r]) for r, part in enumerate(parts)]  # fixed variables: centres coincide
    return _best_of_all_and_parts(points, losses, parts, count)


def _some_of(rows: FloatArray, limit: int, ctx: Context) -> FloatArray:
    """Return training rows to look at, not too many."""
    if len(rows) <= limit:
        return rows
    return np.asarray(rows[ctx.rng("screened-rows").choice(len(rows), limit, replace=False)])
