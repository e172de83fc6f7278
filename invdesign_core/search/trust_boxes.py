"""Answers near to measured designs: the boxes around these in which to search."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.data import TrainingRows
from invdesign_core.data.distance import ROUNDING, DataDistance
from invdesign_core.errors import ConfigError
from invdesign_core.search.plan import Plan
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable

NO_DISTANCE = 1e-12
"""The square of a distance to a measured design that rounding can make."""


def measured(known: TrainingRows | None, space: Space) -> DataDistance:
    """Return the measured designs that answers are to stay near to.

    Raises
    ------
    ConfigError
        If none are known.
    """
    if known is None:
        raise ConfigError(
            "stay_near_data: no measured designs are known", "name a table with the model's inputs and outputs"
        )
    return DataDistance.of(known, space)


def near_plan(plan: Plan, space: Space, data: DataDistance) -> Plan:
    """Return how to search near measured designs: in boxes around them, in which few combinations of values exist.

    Discrete variables that can take but one value near a measured design stay there; where no other is left,
    nothing is rounded.
    """
    if plan.way not in ("per-combination", "rounding"):
        return plan
    free = tuple(i for i in plan.free if _gap(space.variables[i], data.unit[space.slices[i]]) <= 2 * data.limit)
    return replace(plan, way="rounding" if free else "continuous", free=free)


def _gap(variable: Variable, unit: FloatArray) -> float:
    """Return the smallest distance between two values that exist, scaled; half of it where rows have no other."""
    if variable.kind == "categorical":
        return 2.0  # rows have values that exist, so that another one is a distance of 1 away
    if variable.kind == "levels":
        return float(np.diff(variable.levels).min() / unit[0])
    return float((variable.step or 1.0) / unit[0])


def near_rows(
    space: Space,
    known: TrainingRows,
    data: DataDistance,
    loss: FloatArray,
    bounds: tuple[FloatArray, FloatArray],
    count: int,
    row: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return boxes around the measured designs that come nearest to each target.

    Inside such a box every point is inside the data, as `DataDistance` has it: as near to a measured design as 99 of
    100 measured designs are to their nearest other one, and never farther than a quarter of the ranges. Each box holds
    a design that exists and satisfies the constraints, and where a variable is discrete, its ends are values that
    exist.

    Parameters
    ----------
    known : TrainingRows
        n measured designs.
    data : DataDistance
        How far from these a design may be.
    loss : ndarray
        (t, n) how far each is from each target.
    bounds : pair of ndarray
        (t, e) encoded bounds.
    count : int
        Boxes for each target.
    row : int, optional
        Number of the first target in a table of them, for messages.

    Returns
    -------
    tuple of ndarray
        (t, count, e) encoded lower and upper bounds.

    Raises
    ------
    ConfigError
        If no design inside the bounds is near to a measured one, or none that is satisfies the constraints.
    """
    low, high = bounds
    alike = bool((low == low[0]).all() and (high == high[0]).all())
    own = (low[:1], high[:1]) if alike else (low, high)  # most often the targets hold nothing
    points = np.clip(space.snap(known.x), own[0][:, None], own[1][:, None])
    # What the bounds, values held or values that exist take a row away from where it was measured.
    left = _left(data, points, known.x)
    loss = np.where(left >= -NO_DISTANCE, loss, np.inf)
    order = np.argsort(loss, axis=1, kind="stable")
    inside = np.isfinite(np.take_along_axis(loss, order, axis=1))
    if not inside.any(axis=1).all():
        raise ConfigError(
            f"{_place(row, inside)}stay_near_data: no measured design lies within the bounds, nor near a "
            "design that exists there",
            "widen the bounds, allow more values, or remove stay_near_data",
        )
    target = np.zeros(len(low), dtype=np.intp)[:, None] if alike else np.arange(len(low))[:, None]
    boxes = [np.empty((len(low), 0, space.width))] * 2
    fine = np.zeros((len(low), 0), dtype=bool)
    step = 4 * count if space.constraints else count
    for at in range(0, len(known.x), step):  # on and on, until each target has a box
        part = order[:, at : at + step]
        lower, upper = _ranges(space, data, known.x[part], points[target, part], left[target, part], low, high)
        fine = np.hstack([fine, inside[:, at : at + step] & _possible(space, lower, upper)])
        boxes = [np.concatenate(sides, axis=1) for sides in zip(boxes, (lower, upper), strict=True)]
        if fine.any(axis=1).all():
            break
    else:
        raise ConfigError(
            f"{_place(row, fine)}stay_near_data: no design near a measured one satisfies the constraints",
            "relax the constraints, or remove stay_near_data",
        )
    fit = np.argsort(~fine, axis=1, kind="stable")
    chosen = np.take_along_axis(fit, np.arange(count) % fine.sum(axis=1)[:, None], axis=1)[:, :, None]
    return np.take_along_axis(boxes[0], chosen, axis=1), np.take_along_axis(boxes[1], chosen, axis=1)


def _place(row: int | None, fine: NDArray[np.bool_]) -> str:
    """Name the first target that has none of (t, k) choices, where they come from a table."""
    return "" if row is None else f"targets, row {row + int(np.argmin(fine.any(axis=1))) + 1}: with its values, "


def around_designs(
    space: Space, data: DataDistance, x: FloatArray, low: FloatArray, high: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return (b, e) boxes around designs in which their continuous columns may move and stay near to a measured one.

    Parameters
    ----------
    x : ndarray
        (b, e) encoded designs near to measured ones.
    low, high : ndarray
        (b, e) bounds of each.
    """
    rows = data.points[data.nearest(x)[0]] * data.unit + data.low
    left = _left(data, x[:, None], rows[:, None])
    lower, upper = _sides(data, rows, x, left[:, 0], ~space.discrete & (low < high))
    found = _inside(space, data, x[:, None], (lower[:, None], upper[:, None]), (low, high), ~space.discrete)
    return found[0][:, 0], found[1][:, 0]


def _left(data: DataDistance, points: FloatArray, rows: FloatArray) -> FloatArray:
    """Return (t, n) squares of the distances that (t, n, e) points near (n, e) rows leave to move in."""
    return np.asarray(data.limit**2 - (((points - rows) / data.unit) ** 2).sum(axis=2))


def _sides(
    data: DataDistance, rows: FloatArray, points: FloatArray, left: FloatArray, moves: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """Share the distances left among the (…, e) columns that move: ends on both sides of rows, around the points."""
    share = np.maximum(left, 0.0)[..., None] / np.maximum(moves.sum(axis=-1, keepdims=True), 1)
    # A column that is off its row already gets its share beside that, so that the corners are not too far away.
    away = data.unit * np.sqrt(((points - rows) / data.unit) ** 2 + share)
    lower, upper = np.minimum(rows - away, points), np.maximum(rows + away, points)
    return np.where(moves, lower, points), np.where(moves, upper, points)


def _ranges(
    space: Space,
    data: DataDistance,
    rows: FloatArray,
    points: FloatArray,
    left: FloatArray,
    low: FloatArray,
    high: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return the (t, k, e) boxes around points near rows, of which discrete columns end on values that exist."""
    ordered = np.concatenate([np.full(v.width, v.ordered) for v in space.variables])
    moves = np.broadcast_to((ordered & (low < high))[:, None], points.shape)
    lower, upper = _inside(space, data, points, _sides(data, rows, points, left, moves), (low, high), ordered)
    # A discrete column that has no other value within its share leaves that to the others.
    moves = moves & (~space.discrete | (lower < upper))
    return _inside(space, data, points, _sides(data, rows, points, left, moves), (low, high), ordered)


def _inside(
    space: Space,
    data: DataDistance,
    points: FloatArray,
    sides: tuple[FloatArray, FloatArray],
    bounds: tuple[FloatArray, FloatArray],
    moves: NDArray[np.bool_],
) -> tuple[FloatArray, FloatArray]:
    """Cut (t, k, e) boxes to the bounds, to values that exist, one range of each, and the limits on how many."""
    (low, high), e = bounds, space.width
    ends = space.feasible_set.values.range_of(points.reshape(-1, e))
    lower, upper = (
        np.clip(np.clip(side, *(end.reshape(points.shape) for end in ends)), low[:, None], high[:, None])
        for side in sides
    )
    for variable, columns in zip(space.variables, space.slices, strict=True):
        if variable.discrete and variable.ordered and moves[columns].all():
            j = columns.start
            lower[..., j], upper[..., j] = _existing(
                variable, lower[..., j], upper[..., j], points[..., j], ROUNDING * data.unit[j]
            )
    for limit in space.constraints.at_most:
        those = list(limit.columns)
        rank = np.argsort(np.argsort(-points[..., those], axis=2, kind="stable"), axis=2)
        upper[..., those] = np.where(rank < limit.count, upper[..., those], lower[..., those])
    return lower, upper


def _existing(
    variable: Variable, lower: FloatArray, upper: FloatArray, own: FloatArray, tolerance: float
) -> tuple[FloatArray, FloatArray]:
    """Move (t, k) ends inwards to values of a discrete variable that exist; not beyond its own value."""
    count = variable.count or 1
    ends = []
    for side, inwards in ((lower, 1), (upper, -1)):
        index = variable.index(side.reshape(-1, 1))
        value = variable.at(index)[:, 0].reshape(side.shape)
        outside = (side - value) * inwards > tolerance
        further = variable.at(np.clip(index + inwards, 0, count - 1))[:, 0].reshape(side.shape)
        ends.append(np.where(outside, further, value))
    return np.minimum(ends[0], own), np.maximum(ends[1], own)


def _possible(space: Space, lower: FloatArray, upper: FloatArray) -> NDArray[np.bool_]:
    """Say which (t, k, e) boxes hold a design that exists and satisfies the constraints."""
    boxes = space.feasible_set.within(lower.reshape(-1, space.width), upper.reshape(-1, space.width))
    return boxes.possible().reshape(lower.shape[:2])
