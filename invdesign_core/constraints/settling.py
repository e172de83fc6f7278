"""Designs whose written numbers satisfy the constraints exactly, not only up to rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from invdesign_core.constraints.linear import FloatArray
from invdesign_core.constraints.programs import Grid, lengths
from invdesign_core.constraints.projection import nearest_between

if TYPE_CHECKING:
    from invdesign_core.space import Space

_ROUNDS = 8
_UNIT = 1e-13
"""The unit of moves, as a share of a column's range."""
_FAR = 1e6
"""What is further away than so many units is out of reach."""
_EPS = float(np.finfo(np.float64).eps)


def feasible(space: Space, x: FloatArray, tolerance: float = 1e-9) -> NDArray[np.bool_]:
    """Say which designs are inside the bounds and satisfy the constraints.

    Parameters
    ----------
    space : Space
        The design variables and constraints.
    x : ndarray
        (n, e) encoded designs.
    tolerance : float
        The miss that counts as rounding, as a share of the largest term that a row, or bound, can have.

    Returns
    -------
    ndarray of bool
        (n,); False for NaN.
    """
    lower, upper = space.bounds
    rules = space.constraints
    size = _sizes(space, x)
    fine = ((x >= lower - tolerance * size) & (x <= upper + tolerance * size)).all(axis=1)
    largest = np.max(np.abs(rules.linear.matrix)[None] * size[:, None, :], axis=2, initial=0.0)
    fine &= (rules.linear.violation(x) <= tolerance * largest).all(axis=1)
    for limit in rules.at_most:
        columns = list(limit.columns)
        fine &= (x[:, columns] > tolerance * size[:, columns]).sum(axis=1) <= limit.count
    return np.asarray(fine)


def settle(space: Space, x: FloatArray) -> FloatArray:
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

    Returns
    -------
    ndarray
        (n, e). A design with an inequality that its continuous columns can't loosen stays as it is, such as one
        between discrete variables alone.
    """
    lower, upper = space.bounds
    linear = space.constraints.linear
    x = _emptied(space, np.clip(x, lower, upper))
    if not len(linear) or not len(x):
        return x
    held = Grid.of(space).discrete | (lower == upper)
    for variable, columns in zip(space.variables, space.slices, strict=True):
        held[columns] |= variable.kind == "categorical"
    zero = np.zeros(x.shape, dtype=bool)
    for limit in space.constraints.at_most:
        zero[:, list(limit.columns)] |= x[:, list(limit.columns)] == 0
    scale = lengths(lower, upper)
    stuck = held | zero
    low, high = np.where(stuck, x, lower), np.where(stuck, x, upper)
    # What rounding can make of a sum, whatever the order of its terms.
    sides = np.array([linear.lower, linear.upper])
    margin = 4 * (2 + (linear.matrix != 0).sum(axis=1)) * _EPS
    largest = np.max(np.where(np.isfinite(sides), np.abs(sides), 0.0), axis=0)
    # A move that the units below can't express would be none.
    largest = largest + 1e-3 * np.max(np.abs(linear.matrix) * scale, axis=1)
    tight = np.zeros((len(x), len(linear)), dtype=bool)
    settled = x.copy()
    for _ in range(_ROUNDS):
        broken = _broken(space, settled)
        rows = np.flatnonzero(broken.any(axis=1))
        if not len(rows):
            break
        tight[rows] |= broken[rows]
        now = settled[rows]
        terms = np.abs(now) @ np.abs(linear.matrix).T
        inset = np.where(tight[rows], margin * (terms + largest), 0.0)
        at = now @ linear.matrix.T
        # The move itself is sought, in units so small that the projection's own rounding does not matter.
        unit = _UNIT * scale
        move = nearest_between(
            linear.matrix * scale,
            np.where(np.isneginf(linear.lower), -np.inf, np.maximum((linear.lower + inset - at) / _UNIT, -_FAR)),
            np.minimum((linear.upper - inset - at) / _UNIT, _FAR),
            np.maximum((low[rows] - now) / unit, -_FAR),
            np.minimum((high[rows] - now) / unit, _FAR),
            np.zeros_like(now),
        )
        possible = np.asarray(np.isfinite(move).all(axis=1))
        move = np.where(possible[:, None], move, 0.0)
        moved = np.clip(now + np.asarray(move * unit), low[rows], high[rows])
        settled[rows] = np.where(move == 0, now, moved)
        if not possible.any():
            break
    return settled


def _emptied(space: Space, x: FloatArray) -> FloatArray:
    """Set to 0 what rounding has left above it in columns that a limit wants at 0."""
    size = _sizes(space, x)
    for limit in space.constraints.at_most:
        columns = list(limit.columns)
        values = x[:, columns]
        rank = np.argsort(np.argsort(-values, axis=1, kind="stable"), axis=1)
        x[:, columns] = np.where((rank >= limit.count) & (values <= 1e-9 * size[:, columns]), 0.0, values)
    return x


def _broken(space: Space, x: FloatArray) -> NDArray[np.bool_]:
    """(n, k) which inequalities do not hold in double precision."""
    rules = space.constraints
    linear = rules.linear
    terms = x[:, None, :] * linear.matrix
    broken = np.zeros(terms.shape[:2], dtype=bool)
    # Readers add from left to right, or as NumPy does, pairwise.
    for value in (np.cumsum(terms, axis=2)[:, :, -1], terms.sum(axis=2)):
        broken |= (value > linear.upper) | (value < linear.lower)
    columns = {v.name: x[:, s.start] for v, s in zip(space.variables, space.slices, strict=True)}
    for row, (small, large) in enumerate(rules.written):
        broken[:, row] |= np.asarray(small.value(columns) > large.value(columns))
    return broken & ~linear.equations


def _sizes(space: Space, x: FloatArray) -> FloatArray:
    """(n, e) the largest absolute value that a column can have, or has where it is not bounded."""
    lower, upper = space.bounds
    size = np.maximum(np.abs(lower), np.abs(upper))
    return np.asarray(np.where(np.isfinite(size), size, np.abs(x)))
