"""Where the search begins: start points inside the bounds, by several methods."""

from __future__ import annotations

import numpy as np

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError
from invdesign_core.goal import Goal, Prediction
from invdesign_core.problem import Forward
from invdesign_core.space import FloatArray

SCREENED_PER_START = 64
"""Points that `screened` looks at for each start."""
SCREENED_LIMIT = 16384
KNOWN_LIMIT = 4096
"""Training rows that `screened` looks at besides."""


def start_points(
    method: str,
    count: int,
    forward: Forward,
    goal: Goal,
    lower: FloatArray,
    upper: FloatArray,
    known: tuple[FloatArray, FloatArray] | None,
    ctx: Context,
) -> FloatArray:
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
    forward : Forward
        Evaluates the screened points.
    goal : Goal
        t goals in z.
    lower, upper : ndarray
        (e,) bounds in u.
    known : pair of ndarray, optional
        (n, e) training designs in u, and (n, m) measured outputs in z.
    ctx : Context
        Its seed decides the points.

    Returns
    -------
    ndarray
        (t, count, e).
    """
    t, width = len(goal.lower), upper - lower
    if method == "uniform":
        unit = np.stack([ctx.rng("starts", i).random((count, len(lower))) for i in range(t)])
        return np.asarray(lower + unit * width)
    if method in ("sobol", "latin-hypercube"):
        return np.tile(lower + _space_filling(method, count, len(lower), ctx) * width, (t, 1, 1))
    if method == "data":
        if known is None:
            raise ConfigError(
                'starts are asked for from the training data (init = "data"), and none are known',
                "name a table with the model's inputs and outputs, or take another init",
            )
        u, z = known
        chosen = _best_rows(forward, Prediction(z), goal, count)
        return np.asarray(np.clip(u[chosen], lower, upper))
    return _screened(count, forward, goal, lower, upper, known, ctx)


def _space_filling(method: str, count: int, dimensions: int, ctx: Context) -> FloatArray:
    """Return (count, dimensions) points in the unit cube."""
    from scipy.stats import qmc

    rng = ctx.rng("starts")
    if method == "latin-hypercube":
        return np.asarray(qmc.LatinHypercube(dimensions, rng=rng).random(count))
    power = int(np.ceil(np.log2(max(count, 2))))  # Sobol points are balanced in powers of two
    return np.asarray(qmc.Sobol(dimensions, rng=rng).random_base2(power))[:count]


def _best_rows(forward: Forward, z: Prediction, goal: Goal, count: int) -> np.ndarray:
    """Return (t, count) numbers of the rows with the smallest losses; repeated where there are too few."""
    losses = _losses(forward, z, goal)
    order = np.argsort(losses, axis=1, kind="stable")
    return order[:, np.arange(count) % order.shape[1]]


def _losses(forward: Forward, z: Prediction, goal: Goal) -> FloatArray:
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


def _screened(
    count: int,
    forward: Forward,
    goal: Goal,
    lower: FloatArray,
    upper: FloatArray,
    known: tuple[FloatArray, FloatArray] | None,
    ctx: Context,
) -> FloatArray:
    from scipy.spatial import cKDTree

    size = min(count * SCREENED_PER_START, SCREENED_LIMIT)
    points = lower + _space_filling("sobol", size, len(lower), ctx) * (upper - lower)
    if known is not None:
        rows = known[0]
        if len(rows) > KNOWN_LIMIT:
            rows = rows[ctx.rng("screened-rows").choice(len(rows), KNOWN_LIMIT, replace=False)]
        points = np.concatenate([points, np.clip(rows, lower, upper)])
    losses = _losses(forward, forward.surrogate.predict_z(forward.to_x(points)), goal)
    best = np.argsort(losses, axis=1, kind="stable")[:, : (count + 1) // 2]
    regions = count - best.shape[1]
    if not regions:
        return np.asarray(points[best])
    # The first points of a Sobol sequence are spread evenly: each is the centre of a region.
    _, region = cKDTree(points[:regions]).query(points)
    each = np.empty((len(losses), regions), dtype=np.intp)
    for r in range(regions):  # as many as there are starts, whatever the number of targets
        members = np.flatnonzero(region == r)
        members = members if len(members) else np.array([r])  # a fixed variable can let centres coincide
        each[:, r] = members[np.argmin(losses[:, members], axis=1)]
    return np.asarray(points[np.concatenate([best, each], axis=1)])
