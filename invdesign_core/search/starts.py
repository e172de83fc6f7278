"""Where the search begins: start points inside the bounds, by several methods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError
from invdesign_core.search.problem import LossFunctions
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.feasible_set import FeasibleSet
from invdesign_core.targets import Goal, Prediction

SCREENED_PER_START = 64
"""Points that `screened` looks at for each start."""
SCREENED_LIMIT = 16384
KNOWN_LIMIT = 4096
"""Training rows that `screened` looks at besides."""


@dataclass(frozen=True)
class Boxes:
    """Where starts are made: t boxes, and how to tell good points of them.

    Attributes
    ----------
    forward : LossFunctions
        Evaluates points.
    goal : Goal
        t goals in z.
    inside : FeasibleSet
        (t, e) bounds in u, and linear constraints that every start satisfies. With constraints, random points of
        the polytope stand for space-filling ones.
    known : pair of ndarray, optional
        (n, e) training designs in u, and (n, m) measured outputs in z.
    """

    forward: LossFunctions
    goal: Goal
    inside: FeasibleSet
    known: tuple[FloatArray, FloatArray] | None = None

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
    """Return start points for t goals.

    Parameters
    ----------
    method : str
        ``uniform`` (random), ``sobol``, ``latin-hypercube``, ``data`` (the training rows whose measured
        outputs are nearest to the goal) or ``screened``: a space-filling set, far larger than asked
        for, is predicted in one batch together with the training rows; half of the starts are the
        best of it, and the other half the best of each region, so that neither a flat
        surrogate nor one wide basin takes them all.
    count : int
        Starts for each goal.
    boxes : Boxes
        A box for each goal.
    ctx : Context
        Its seed decides the points.
    first : int
        Number of the first goal in the whole of the work.

    Returns
    -------
    ndarray
        (t, count, e); NaN where a box holds no point that satisfies the constraints.
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
    best, regions = (count + 1) // 2, count // 2
    chosen = np.argsort(losses, axis=1, kind="stable")[:, :best]
    # The points are drawn independently, so that any part of them is spread over the whole polytope.
    parts = np.array_split(np.arange(size), regions) if regions else []
    each = [part[np.argmin(losses[:, part], axis=1)] for part in parts]
    chosen = np.concatenate([chosen, *(part[:, None] for part in each)], axis=1)
    return np.asarray(np.take_along_axis(points, chosen[:, :, None], axis=1))


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
    n, t = len(z.mean), len(goal.lower)
    rows = np.repeat(np.arange(t), n)
    if np.isnan(z.mean).any():  # not measured, or no prediction: bad only where that output is asked for
        asked = np.tile(goal.weight[:, None, :] > 0, (1, n, 1)).reshape(t * n, -1)
        mean = np.tile(z.mean, (t, 1))
        loss = forward.loss_of(Prediction(np.where(np.isnan(mean), 0.0, mean)), goal.take(rows))
        return np.where((np.isnan(mean) & asked).any(axis=1), np.inf, loss).reshape(t, n)
    tiled = Prediction(np.tile(z.mean, (t, 1)), None if z.std is None else np.tile(z.std, (t, 1)))
    loss = forward.loss_of(tiled, goal.take(rows)).reshape(t, n)
    return np.where(np.isfinite(loss), loss, np.inf)


def _screened(count: int, boxes: Boxes, ctx: Context) -> FloatArray:
    """Return (t, count, e) of the best and most different of many points."""
    from scipy.spatial import cKDTree

    forward, goal, lower, upper = boxes.forward, boxes.goal, boxes.inside.lower, boxes.inside.upper
    t, e = lower.shape
    alike = bool((lower == lower[0]).all() and (upper == upper[0]).all())
    size = min(count * (SCREENED_PER_START if alike else SCREENED_PER_START // 8), SCREENED_LIMIT)
    unit = _space_filling("sobol", size, e, ctx)
    best, regions = (count + 1) // 2, count // 2
    if alike:  # one set of points serves all targets, and is predicted once
        points = lower[0] + unit * (upper[0] - lower[0])
        if boxes.known is not None:
            seen = _some_of(boxes.known[0], KNOWN_LIMIT if t == 1 else size, ctx)
            points = np.concatenate([points, np.clip(seen, lower[0], upper[0])])
        losses = losses_of(forward, forward.surrogate.predict_z(forward.to_x(points)), goal)
        points = np.broadcast_to(points, (t, *points.shape))
        region = cKDTree(points[0, : max(regions, 1)]).query(points[0])[1]
    else:  # every target holds other values, so it needs points of its own
        points = lower[:, None] + unit * (upper - lower)[:, None]
        rows = np.repeat(np.arange(t), size)
        losses = forward.value(points.reshape(t * size, e), goal.take(rows)).reshape(t, size)
        region = cKDTree(unit[: max(regions, 1)]).query(unit)[1]
    chosen = np.argsort(losses, axis=1, kind="stable")[:, :best]
    each = np.empty((t, regions), dtype=np.intp)
    # The first points of a Sobol sequence are spread evenly: each is the centre of a region.
    for r in range(regions):  # as many as there are starts, whatever the number of targets
        members = np.flatnonzero(region == r)
        members = members if len(members) else np.array([r])  # a fixed variable can let centres coincide
        each[:, r] = members[np.argmin(losses[:, members], axis=1)]
    chosen = np.concatenate([chosen, each], axis=1)
    return np.asarray(np.take_along_axis(points, chosen[:, :, None], axis=1))


def _some_of(rows: FloatArray, limit: int, ctx: Context) -> FloatArray:
    """Return training rows to look at, not too many."""
    if len(rows) <= limit:
        return rows
    return np.asarray(rows[ctx.rng("screened-rows").choice(len(rows), limit, replace=False)])
