"""Designs as they will be written: values that exist, inside their bounds, the constraints satisfied."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.digits import power_of_ten, rounded
from invdesign_core.space.exact import broken, settle
from invdesign_core.space.space import Space

ROUNDING = 1e-8
"""A continuous column that misses a bound by this share of its range is meant to lie on it."""
DIGITS = (6, 8, 10, 12)
"""Digits that a continuous column is written to, counted from the first one of its range: the fewest that do."""


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
    fine = space.feasible_set.holds(x)
    lost = np.setdiff1d(np.arange(len(low)), groups[fine])
    if stay or not len(lost):
        return x, fine
    low, high, firsts = low[lost], high[lost], np.searchsorted(groups, lost)
    found = space.feasible_set.within(low, high).nearest(x[firsts])
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
    found, moved = space.feasible_set.within(lower, upper).project(onto), x.copy()
    moved[moves] = np.where(np.isfinite(found).all(axis=1, keepdims=True), found, x[moves])
    return moved


def shortened(
    space: Space,
    x: FloatArray,
    low: FloatArray,
    high: FloatArray,
    stays: NDArray[np.bool_],
    as_good: Callable[[FloatArray, FloatArray], NDArray[np.bool_]],
) -> FloatArray:
    """Return designs with as few digits as leave them what they are, so that they can be read and typed in again.

    Parameters
    ----------
    space : Space
        The design variables and constraints.
    x : ndarray
        (n, e) designs as written.
    low, high : ndarray
        (n, e) bounds of each.
    stays : ndarray of bool
        (n, e) or (e,) columns that are as somebody typed them.
    as_good : callable
        Compares (n, e) designs with those before: (n,) whether each may take their place.

    Returns
    -------
    ndarray
        (n, e). Continuous columns are rounded to the first of `DIGITS` that breaks no constraint and that `as_good`
        accepts, and lie on a bound that they miss by less than that; where none does, the design is as before.
    """
    smooth = np.concatenate([np.full(v.width, v.kind == "continuous" and v.step is None) for v in space.variables])
    low, high = np.broadcast_to(low, x.shape), np.broadcast_to(high, x.shape)
    free = np.asarray(smooth & ~stays & (low < high))
    allowed = space.feasible_set
    ends = allowed.values.range_of(x)
    low, high = np.maximum(low, ends[0]), np.minimum(high, ends[1])
    found, left = x, np.asarray(free.any(axis=1))
    before, lost = broken(space, x), ~allowed.holds(x)
    for digits in DIGITS:
        if not left.any():
            break
        tried = np.where(free & left[:, None], _rounded(space, x, low, high, free, digits), x)
        fine = left & (allowed.holds(tried) | lost) & ~(broken(space, tried) & ~before).any(axis=1)
        fine &= as_good(tried, x)
        found = np.where(fine[:, None], tried, found)
        left &= ~fine
    return found


def _rounded(
    space: Space, x: FloatArray, low: FloatArray, high: FloatArray, free: NDArray[np.bool_], digits: int
) -> FloatArray:
    """Return (n, e) designs of which the free columns are rounded; one column of each constraint makes up for it."""
    least, most = space.bounds
    with np.errstate(divide="ignore", invalid="ignore"):
        span = np.where(space.logarithmic, np.abs(x) * np.log(most / least), most - least)
    span = np.where(np.isfinite(span) & (span > 0), span, np.maximum(np.abs(x), 1.0))
    unit, close = power_of_ten(span) / 10.0**digits, span / 10.0**digits
    short = np.clip(np.where(free, rounded(x, unit), x), low, high)
    short = np.where(free & (x - low <= close), low, np.where(free & (high - x <= close), high, short))
    linear = space.constraints.linear
    each = np.arange(len(x))
    for at in range(2 * len(linear)):  # twice: what mends one row may break another
        row = at % len(linear)
        if row == 0:
            violated = broken(space, short).astype(np.float64)
        coefficient = linear.matrix[row]
        value = short @ coefficient
        above, below = value - linear.upper[row], linear.lower[row] - value
        if linear.equations[row]:
            over, must = above, np.zeros(len(x))
        else:
            # What rounding alone has broken needs a whole step inwards.
            must = violated[:, row]
            over = np.where(above >= below, np.maximum(above, 0.0), -np.maximum(below, 0.0))
            over = np.where((over == 0) & (must > 0), np.where(above >= below, 1e-300, -1e-300), over)
        # Of the columns that lie on no bound, the finest one: the others' steps are whole multiples of its own.
        size = np.where(free & (coefficient != 0) & (short > low) & (short < high), np.abs(coefficient) * unit, np.inf)
        column = np.argmin(size, axis=1)
        step, own = size[each, column], unit[each, column]
        moves = np.isfinite(step) & np.isfinite(over) & (over != 0)
        count = np.where(moves, np.abs(over) / np.where(moves, step, 1.0), 0.0)
        count = np.rint(count) if linear.equations[row] else np.maximum(np.ceil(count - 1e-6), must)
        moved = rounded(short[each, column] - np.sign(over) * np.sign(coefficient[column]) * count * own, own)
        fits = moves & (count > 0)
        moved = np.clip(moved, low[each, column], high[each, column])
        short[each, column] = np.where(fits, moved, short[each, column])
    return short
