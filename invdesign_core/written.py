"""Designs as they will be written: values that exist, inside their bounds, the constraints satisfied."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from invdesign_core.constraints import Lattice, feasible, nearest, nearest_integer, settle
from invdesign_core.space import FloatArray, Space
from invdesign_core.variables import IndexArray

ROUNDING = 1e-8
"""A continuous column that misses a bound by this share of its range is meant to lie on it."""


def written(space: Space, x: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return designs as they will be written, as far as rounding and the last digits can make them so.

    Parameters
    ----------
    space : Space
        The design variables and constraints.
    x : ndarray
        (n, e) encoded designs.
    low, high : ndarray
        (n, e) bounds of each; of discrete columns they say only whether one is held.

    Returns
    -------
    ndarray
        (n, e). Where rounding has broken a constraint between discrete variables, it stays broken.
    """
    x = space.snap(x)
    held: NDArray[np.bool_] = np.asarray(low == high)
    inside = np.where(space.discrete & ~held, x, np.clip(x, low, high))
    if not space.constraints:
        return inside
    low, high = (
        np.where(space.discrete & ~held, side, own) for side, own in zip(space.bounds, (low, high), strict=True)
    )
    return settle(space, _onto_bounds(space, inside, low, high), low, high)


def mended(
    space: Space, x: FloatArray, groups: IndexArray, low: FloatArray, high: FloatArray, stay: bool
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Say which designs satisfy the constraints, and see to it that each target has one that does.

    Parameters
    ----------
    space : Space
        The design variables and constraints.
    x : ndarray
        (b, e) designs as written.
    groups : ndarray of int
        (b,) the target of each; those of one stand together.
    low, high : ndarray
        (t, e) bounds of each target.
    stay : bool
        Whether designs may not be moved.

    Returns
    -------
    x : ndarray
        (b, e) designs, of which the first of a target was moved to the nearest that exists where all of its were
        infeasible.
    fine : ndarray of bool
        (b,) whether each satisfies the constraints.
    """
    if not space.constraints:
        return x, np.ones(len(x), dtype=bool)
    fine = feasible(space, x)
    lost = np.setdiff1d(np.arange(len(low)), groups[fine])
    if stay or not len(lost):
        return x, fine
    low, high, firsts, given = low[lost], high[lost], np.searchsorted(groups, lost), space.constraints
    found = nearest_integer(given.linear, low, high, x[firsts], Lattice.of(space), given.at_most)
    exists = np.isfinite(found).all(axis=1)
    x = x.copy()
    x[firsts[exists]] = written(space, found[exists], low[exists], high[exists])
    fine[firsts[exists]] = True
    return x, fine


def _onto_bounds(space: Space, x: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Put continuous columns on a bound that they miss by rounding only, and let the others make up for it."""
    linear = space.constraints.linear
    # Columns of no constraint are where they are: on a log scale, much lies near the lower bound.
    whole = space.bounds[1] - space.bounds[0]  # a row's own bounds may be a small box around a measured design
    span = np.where(np.isfinite(whole), whole, np.maximum(high - low, 0.0))
    close = np.where(linear.matrix.any(axis=0), ROUNDING * span, -np.inf)
    onto = np.where(x - low <= close, low, np.where(high - x <= close, high, x))
    moves = ((onto != x) & ~space.discrete).any(axis=1)
    if not len(linear) or not moves.any():
        return x
    onto = np.where(space.discrete, x, onto)[moves]
    ends: NDArray[np.bool_] = np.asarray((onto == low[moves]) | (onto == high[moves]) | space.discrete)
    lower, upper = np.where(ends, onto, low[moves]), np.where(ends, onto, high[moves])
    found, moved = nearest(linear, lower, upper, onto), x.copy()
    moved[moves] = np.where(np.isfinite(found).all(axis=1, keepdims=True), found, x[moves])
    return moved
