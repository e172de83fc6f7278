"""Designs whose written numbers satisfy the constraints exactly, not only up to rounding."""

from __future__ import annotations

import numpy as np

from invdesign_core.space.allowed_values import lengths
from invdesign_core.space.arrays import FloatArray, Mask
from invdesign_core.space.feasible_set import TOLERANCE
from invdesign_core.space.linear import Linear
from invdesign_core.space.projection import project_between
from invdesign_core.space.space import Space

_ROUNDS = 8
_UNIT = 1e-13
"""The unit of moves, as a share of a column's range."""
_FAR = 1e6
"""What is further away than so many units is out of reach."""
_EPS = float(np.finfo(np.float64).eps)


def settle(space: Space, x: FloatArray, lower: FloatArray | None = None, upper: FloatArray | None = None) -> FloatArray:
    """Move designs by a few units in the last place, so that they satisfy inequalities exactly as they are written.

    Whoever reads a design and adds up its numbers in double precision, in the order of the constraint's text or of
    the columns, finds each inequality satisfied, and each equation to rounding. Only continuous columns move, and
    only in designs that need it.

    Parameters
    ----------
    space : Space
        The design variables and constraints.
    x : ndarray
        (n, e) designs that are snapped and satisfy the constraints up to about 1e-9.
    lower, upper : ndarray, optional
        (n, e) bounds of each design, equal where a column must stay as it is; by default those of the space.

    Returns
    -------
    ndarray
        (n, e). An inequality that the continuous columns can't loosen stays as it is: one between discrete variables
        alone, or one that the others turn into an equation.
    """
    linear = space.constraints.linear
    lower, upper = space.bounds if lower is None or upper is None else (lower, upper)
    x = _emptied(space, np.clip(x, lower, upper))
    if not len(linear) or not len(x):
        return x
    lattice = space.feasible_set.values
    held = np.broadcast_to(lattice.discrete | (lower == upper), x.shape).copy()
    for variable, columns in zip(space.variables, space.slices, strict=True):
        held[:, columns] |= variable.kind == "categorical"
    zero = np.zeros(x.shape, dtype=bool)
    for limit in space.constraints.at_most:
        zero[:, list(limit.columns)] |= x[:, list(limit.columns)] == 0
    stuck = held | zero
    ends = lattice.range_of(x)
    low = np.where(stuck, x, np.maximum(lower, ends[0]))
    high = np.where(stuck, x, np.minimum(upper, ends[1]))
    settled = np.clip(x, low, high)
    scale = lengths(*space.bounds)
    tight, rigid = np.zeros((2, len(x), len(linear)), dtype=bool)
    for _ in range(_ROUNDS):
        violated = broken(space, settled)
        rows = np.flatnonzero(violated.any(axis=1))
        if not len(rows):
            break
        tight[rows] |= violated[rows]
        settled[rows], possible = _moved(
            linear, scale, settled[rows], low[rows], high[rows], tight[rows] & ~rigid[rows]
        )
        left = rows[~possible]
        rigid[left] |= _rigid(linear, scale, settled[left], low[left], high[left], tight[left])
    return settled


def _rigid(linear: Linear, scale: FloatArray, x: FloatArray, low: FloatArray, high: FloatArray, tight: Mask) -> Mask:
    """(n, k) which rows leave no room to any point near a design, such as an equation written as two inequalities."""
    rigid = np.zeros_like(tight)
    for row in range(len(linear)):
        alone = np.zeros_like(tight)
        alone[:, row] = tight[:, row]
        rigid[:, row] = tight[:, row] & ~_moved(linear, scale, x, low, high, alone)[1]
    # Rows that only together leave no room are all taken as they are.
    return np.where(rigid.any(axis=1, keepdims=True), rigid, tight)


def _moved(
    linear: Linear, scale: FloatArray, x: FloatArray, low: FloatArray, high: FloatArray, tight: Mask
) -> tuple[FloatArray, Mask]:
    """Return (n, e) designs a little inside the rows that are to be tight, and (n,) for which there are such."""
    # What rounding can make of a sum, whatever the order of its terms; and not less than the units below express.
    sides = np.abs(np.array([linear.lower, linear.upper]))
    largest = np.max(np.where(np.isfinite(sides), sides, 0.0), axis=0)
    largest = largest + 1e-3 * np.max(np.abs(linear.matrix) * scale, axis=1)
    margin = 4 * (2 + (linear.matrix != 0).sum(axis=1)) * _EPS
    rounding = margin * (np.abs(x) @ np.abs(linear.matrix).T + largest)
    inset = np.where(tight, rounding, 0.0)
    at = x @ linear.matrix.T
    least, most = linear.lower + inset - at, linear.upper - inset - at
    move = _move(linear, scale, x, low, high, least, most)
    possible = np.asarray(~np.isnan(move).any(axis=1))
    if not possible.all():
        # Where hardly a point is allowed, the rows that are to stay may be broken by rounding, and stay so.
        least, most = (np.where(~tight & (np.abs(side) <= rounding), 0.0, side)[~possible] for side in (least, most))
        move[~possible] = _move(linear, scale, x[~possible], low[~possible], high[~possible], least, most)
        possible = np.asarray(~np.isnan(move).any(axis=1))
    move = np.where(possible[:, None], move, 0.0)
    return np.where(move == 0, x, np.clip(x + move, low, high)), possible


def _move(
    linear: Linear,
    scale: FloatArray,
    x: FloatArray,
    low: FloatArray,
    high: FloatArray,
    least: FloatArray,
    most: FloatArray,
) -> FloatArray:
    """Return the (n, e) shortest moves that change each row by something between two (n, k) sides."""
    # In units so small that the projection's own rounding does not matter.
    unit = _UNIT * scale
    return unit * project_between(
        linear.matrix * scale,
        np.where(np.isneginf(least), -np.inf, np.maximum(least / _UNIT, -_FAR)),
        np.where(np.isposinf(most), np.inf, np.minimum(most / _UNIT, _FAR)),
        np.maximum((low - x) / unit, -_FAR),
        np.minimum((high - x) / unit, _FAR),
        np.zeros_like(x),
    )


def _emptied(space: Space, x: FloatArray) -> FloatArray:
    """Set to 0 what rounding has left above it in columns that a limit wants at 0."""
    size = np.broadcast_to(space.feasible_set.size(x), x.shape)
    for limit in space.constraints.at_most:
        columns = list(limit.columns)
        values = x[:, columns]
        rank = np.argsort(np.argsort(-values, axis=1, kind="stable"), axis=1)
        x[:, columns] = np.where((rank >= limit.count) & (values <= TOLERANCE * size[:, columns]), 0.0, values)
    return x


def broken(space: Space, x: FloatArray) -> Mask:
    """Return (n, k) which inequalities do not hold in double precision, as they are written."""
    rules = space.constraints
    linear = rules.linear
    terms = x[:, None, :] * linear.matrix
    found = np.zeros(terms.shape[:2], dtype=bool)
    # Readers add from left to right, or as NumPy does, pairwise.
    for value in (np.cumsum(terms, axis=2)[:, :, -1], terms.sum(axis=2)):
        found |= (value > linear.upper) | (value < linear.lower)
    columns = {v.name: x[:, s.start] for v, s in zip(space.variables, space.slices, strict=True)}
    for row, (small, large) in enumerate(rules.written):
        found[:, row] |= np.asarray(small(columns) > large(columns))
    return found & ~linear.equations
