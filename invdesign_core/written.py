"""Designs as they will be written: values that exist, inside their bounds, the constraints satisfied."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from invdesign_core.constraints import Lattice, feasible, nearest_integer, settle
from invdesign_core.space import FloatArray, Space
from invdesign_core.variables import IndexArray


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
    return settle(space, inside, low, high)


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
