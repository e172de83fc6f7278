"""Answers near to measured designs: the boxes around these in which to search."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from invdesign_core.constraints import Lattice, nearest
from invdesign_core.constraints.lattice import lengths
from invdesign_core.data import Known
from invdesign_core.discrete.plan import box_infeasibility
from invdesign_core.errors import ConfigError
from invdesign_core.nearness import Nearness
from invdesign_core.space import FloatArray, Space

NO_DISTANCE = 1e-12
"""The square of a distance to a measured design that rounding can make."""


def near_rows(
    space: Space,
    known: Known,
    loss: FloatArray,
    low: FloatArray,
    high: FloatArray,
    count: int,
    row: int | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return boxes around the measured designs that come nearest to each target.

    Inside such a box every point is as near to a measured design as measured designs are to each other: their
    distance to the nearest other one, which 99 of 100 don't exceed. Each box holds a point that satisfies the
    constraints.

    Parameters
    ----------
    known : Known
        n measured designs.
    loss : ndarray
        (t, n) how far each is from each target.
    low, high : ndarray
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
        If no measured design lies inside the bounds, or no design near one satisfies the constraints.
    """
    data = Nearness.of(known, space)
    alike = bool((low == low[0]).all() and (high == high[0]).all())
    own = (low[:1], high[:1]) if alike else (low, high)  # most often the targets hold nothing
    points = np.clip(space.snap(known.x), own[0][:, None], own[1][:, None])
    # What the bounds, values held or values that exist take a row away from where it was measured.
    left = data.limit**2 - (((points - known.x) / data.unit) ** 2).sum(axis=2)
    loss = np.where(left >= -NO_DISTANCE, loss, np.inf)
    order = np.argsort(loss, axis=1, kind="stable")
    inside = np.isfinite(np.take_along_axis(loss, order, axis=1))
    if not inside.any(axis=1).all():
        raise ConfigError(
            f"{_place(row, inside)}stay near data: no measured design lies inside the bounds",
            "widen the bounds, or leave stay-near-data out",
        )
    target = np.zeros(len(low), dtype=np.intp)[:, None] if alike else np.arange(len(low))[:, None]
    around = np.sqrt(np.maximum(left, 0.0) / max(int((~space.discrete).sum()), 1))[:, :, None]
    around = around * np.where(space.discrete, 0.0, data.unit)
    boxes = [np.empty((len(low), 0, space.width))] * 2
    fine = np.zeros((len(low), 0), dtype=bool)
    step = 4 * count if space.constraints else count
    for at in range(0, len(known.x), step):  # on and on, until each target has a box
        part = order[:, at : at + step]
        lower, upper = _ranges(space, points[target, part], around[target, part], low, high)
        fine = np.hstack([fine, inside[:, at : at + step] & _leaves_a_design(space, lower, upper)])
        boxes = [np.concatenate(sides, axis=1) for sides in zip(boxes, (lower, upper), strict=True)]
        if fine.any(axis=1).all():
            break
    else:
        raise ConfigError(
            f"{_place(row, fine)}stay near data: no design near a measured one satisfies the constraints",
            "allow more, or leave stay-near-data out",
        )
    first = np.argsort(~fine, axis=1, kind="stable")
    chosen = np.take_along_axis(first, np.arange(count) % fine.sum(axis=1)[:, None], axis=1)[:, :, None]
    return np.take_along_axis(boxes[0], chosen, axis=1), np.take_along_axis(boxes[1], chosen, axis=1)


def _place(row: int | None, fine: NDArray[np.bool_]) -> str:
    """Name the first target that has none of (t, k) choices, where they come from a table."""
    return "" if row is None else f"targets, row {row + int(np.argmin(fine.any(axis=1))) + 1}: with its values, "


def _ranges(
    space: Space, points: FloatArray, around: FloatArray, low: FloatArray, high: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the (t, k, e) boxes around points, inside the bounds, one range of each, and the limits on how many."""
    ends = Lattice.of(space).range_of(points.reshape(-1, space.width))
    lower, upper = (
        np.clip(np.clip(side, *(end.reshape(points.shape) for end in ends)), low[:, None], high[:, None])
        for side in (points - around, points + around)
    )
    for limit in space.constraints.at_most:
        columns = list(limit.columns)
        rank = np.argsort(np.argsort(-points[..., columns], axis=2, kind="stable"), axis=2)
        upper[..., columns] = np.where(rank < limit.count, upper[..., columns], lower[..., columns])
    return lower, upper


def _leaves_a_design(space: Space, lower: FloatArray, upper: FloatArray) -> NDArray[np.bool_]:
    """Say of which (t, k, e) boxes, whose discrete variables are held, some point satisfies the constraints."""
    shape, e = lower.shape[:2], space.width
    lower, upper = lower.reshape(-1, e), upper.reshape(-1, e)
    rules = space.constraints
    fine = np.ones(len(lower), dtype=bool)
    for limit in rules.at_most:
        fine &= (lower[:, list(limit.columns)] > 0).sum(axis=1) <= limit.count
    rows = np.flatnonzero(fine & (box_infeasibility(space, lower, upper) == 0))
    fine[:] = False
    if len(rows):
        low, width = space.bounds[0], lengths(*space.bounds)
        lower, upper = (lower[rows] - low) / width, (upper[rows] - low) / width
        found = nearest(rules.linear.scaled(low, width), lower, upper, (lower + upper) / 2)
        fine[rows] = np.isfinite(found).all(axis=1)
    return np.asarray(fine.reshape(shape))
