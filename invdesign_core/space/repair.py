"""The nearest design that exists and satisfies the constraints, where some columns take only some values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from invdesign_core.space.allowed_values import AllowedValues, lengths
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.linear import AtMost, Linear
from invdesign_core.space.milp import Program
from invdesign_core.space.projection import nearest

_HOLDS = 1e-9
"""By how much a row, scaled to ranges of 1, may be broken by rounding."""


def nearest_integer(
    linear: Linear,
    lower: FloatArray,
    upper: FloatArray,
    points: FloatArray,
    lattice: AllowedValues,
    at_most: Sequence[AtMost] = (),
) -> FloatArray:
    """Move designs to the nearest that exist and satisfy all constraints.

    A design that does so once each column is rounded is done. For every other one a mixed-integer program chooses
    the values of the discrete columns, and which columns are above zero, that need the smallest sum of moves in units
    of the columns' ranges; the continuous columns are then projected.

    Parameters
    ----------
    linear : Linear
        k rows, none of which holds a column of a category.
    lower, upper : ndarray
        (e,) or (n, e) bounds.
    points : ndarray
        (n, e); categories must be settled already.
    lattice : AllowedValues
        Which values exist.
    at_most : sequence of AtMost
        Limits on how many columns are above zero.

    Returns
    -------
    ndarray
        (n, e) designs; NaN where none exists.
    """
    lower, upper = np.broadcast_to(lower, points.shape), np.broadcast_to(upper, points.shape)
    found = lattice.snap(points, lower, upper)
    scale = lengths(lower.min(axis=0, initial=np.inf), upper.max(axis=0, initial=-np.inf))
    tied = np.asarray(linear.matrix.any(axis=0))
    for limit in at_most:
        tied[list(limit.columns)] = True
    reach = np.abs(linear.matrix) @ scale
    # A comparison with NaN is False: what could not be rounded is not fine.
    fine = (linear.violation(found) <= _HOLDS * reach).all(axis=1) & _few(found, at_most)
    # A loop over the designs that rounding does not settle: each is a program of its own.
    for row in np.flatnonzero(~fine):
        found[row] = _repaired(
            linear, lower[row], upper[row], points[row], lattice, at_most, scale, np.flatnonzero(tied), found[row]
        )
    return found


def _few(x: FloatArray, at_most: Sequence[AtMost]) -> NDArray[np.bool_]:
    """(n,) whether designs keep to the limits on how many columns are above zero."""
    fine = np.ones(len(x), dtype=bool)
    for limit in at_most:
        fine &= (x[:, list(limit.columns)] > 0).sum(axis=1) <= limit.count
    return fine


def _repaired(
    linear: Linear,
    lower: FloatArray,
    upper: FloatArray,
    point: FloatArray,
    lattice: AllowedValues,
    at_most: Sequence[AtMost],
    scale: FloatArray,
    tied: NDArray[np.intp],
    rounded: FloatArray,
) -> FloatArray:
    """Return the (e,) nearest design; NaN if there is none."""
    nothing = np.full_like(point, np.nan)
    free = np.ones(len(point), dtype=bool)
    free[tied] = False
    if np.isnan(rounded[free]).any():
        return nothing
    program = Program.build(linear, lower, upper, lattice, at_most, scale)
    solution = program.solve(program.add_distances(point, scale, tied.tolist()))
    if solution is None:
        return nothing
    design = program.design(solution)
    low, high = lower.copy(), upper.copy()
    for column, helper in program.above.items():
        if solution[helper] < 0.5:
            high[column] = min(high[column], 0.0)
    held = lattice.discrete
    chosen = lattice.snap(design[None], lower[None], upper[None])[0]
    low[held] = high[held] = chosen[held]
    low[free] = high[free] = rounded[free]
    ends = lattice.range_of(chosen[None])
    low, high = np.maximum(low, ends[0][0]), np.minimum(high, ends[1][0])
    # Near the program's answer, in units of the ranges, so that a wide column does not take the whole move.
    unit = Linear(linear.matrix * scale, linear.lower, linear.upper)
    moved = nearest(unit, low / scale, high / scale, np.clip(point, low, high)[None] / scale)[0] * scale
    return np.asarray(np.clip(moved, low, high))
