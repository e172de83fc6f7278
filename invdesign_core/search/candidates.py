"""Designs to choose experiments from: drawn evenly from those that are allowed, or near to others; as written."""

from __future__ import annotations

from math import prod

import numpy as np

from invdesign_core.space.arrays import FloatArray, IndexArray, Mask
from invdesign_core.space.feasible_set import FeasibleSet, column_choices
from invdesign_core.space.rounding import broken, shortened, smooth_columns, written
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable

DIGITS = (2, 3, 4, 6, 8, 10, 12)
"""Digits that a design to be set by hand is written to: the fewest that do."""
DECIMAL = 0.1
"""What the last digit of a number stands for, at most, that need not be whole."""
LISTED = 4096
"""Up to so many designs are all listed, where nothing is continuous."""
ENOUGH = 128
"""Where rounding leaves fewer designs feasible, others are moved to the nearest that is allowed: each by a program."""
CHOICES = 64
"""Choices of the columns that may be above zero, where only so many may: each takes a sample of its own."""


def drawn(space: Space, count: int, rng: np.random.Generator, held: FloatArray | None = None) -> FloatArray:
    """Return about `count` different (k, e) designs that are allowed, drawn evenly; all of them where there are few.

    `held` (e,) has the values of columns that are given, NaN where they are free. None may come back where designs
    are allowed, but hard to find.
    """
    low, high = (np.where(np.isnan(h), side, h) for h, side in _held(space, held))
    listed = _all(space, held)
    if listed is not None:
        return _fine(space, listed, low, high)
    allowed = space.feasible_set.within(low, high)
    masks, which = _supports(allowed, count, rng)
    x = np.empty((count, space.width))
    for number, mask in enumerate(masks):  # a sample for each choice of the columns that may be above zero
        rows = np.flatnonzero(which == number)
        inside = allowed.within(low, np.where(mask, high, np.minimum(high, 0.0)))
        x[rows] = inside.sample(len(rows), rng)
    x = _evenly_in_values(space, x, low, high, rng)
    return _fine(space, _repaired(allowed, x[np.isfinite(x).all(axis=1)], low, high), low, high)


def around(
    space: Space, x: FloatArray, reach: float, each: int, rng: np.random.Generator, held: FloatArray | None = None
) -> FloatArray:
    """Return up to `each` allowed designs near each of (n, e) others: moved by normal steps of `reach` ranges.

    A step moves some of the columns alone, and now and then draws a discrete variable anew.
    """
    low, high = (np.where(np.isnan(h), side, h) for h, side in _held(space, held))
    centre = np.repeat(x, each, axis=0)
    moves = rng.random(centre.shape) < max(0.5, 1.0 / space.width)
    unit = to_unit(space, centre) + np.where(moves, reach * rng.standard_normal(centre.shape), 0.0)
    moved = np.where(low < high, from_unit(space, unit), np.clip(centre, low, high))
    for variable, columns in zip(space.variables, space.slices, strict=True):
        if variable.discrete and (low[columns] < high[columns]).any():
            again = rng.random(len(moved)) < (0.15 if variable.ordered else max(0.05, min(0.3, reach)))
            moved[again, columns] = variable.at(rng.integers(0, variable.count or 1, int(again.sum())))
            if not variable.ordered:
                moved[~again, columns] = centre[~again, columns]
    allowed = space.feasible_set.within(low, high)
    if len(space.constraints.linear):
        moved = allowed.project(np.clip(moved, low, high))
    moved = moved[np.isfinite(moved).all(axis=1)]
    return _fine(space, _repaired(allowed, moved, low, high), low, high)


def short(space: Space, x: FloatArray, share: float = 0.01, no_whole: Mask | None = None) -> FloatArray:
    """Return (n, e) designs with few digits, to be set by hand; each column moves by a `share` of its range at most.

    Columns that may hold any number have decimals, by which they are known as such; where a column of (e,) `no_whole`
    can't be other than whole, a design stays as it is.
    """
    low, high = space.bounds
    never: Mask = np.zeros(space.width, dtype=bool) if no_whole is None else no_whole

    def near(tried: FloatArray, before: FloatArray) -> Mask:
        close = (np.abs(to_unit(space, tried) - to_unit(space, before)) <= share).all(axis=1)
        return np.asarray(close & ~(whole(tried) & never).any(axis=1))

    return shortened(space, x, low, high, np.zeros(x.shape, dtype=bool), near, DIGITS, DECIMAL)


def with_decimals(space: Space, written: FloatArray, x: FloatArray) -> FloatArray:
    """Return the (n, e) designs `x` as `written`, but so that no column that may hold any number is whole throughout.

    Whoever reads them could else take it for one of whole numbers.
    """
    low, high = space.bounds
    lacking = smooth_columns(space) & (low < high) & whole(written).all(axis=0)
    if not lacking.any():
        return written
    again = short(space, x, no_whole=lacking)
    return np.where(~whole(again)[:, lacking].any(axis=1, keepdims=True), again, written)


def whole(x: FloatArray) -> Mask:
    """Return which numbers are whole."""
    return np.asarray(x == np.rint(x))


def to_unit(space: Space, x: FloatArray) -> FloatArray:
    """Return (n, e) designs in shares of their variables' ranges, of the logarithm where the scale is logarithmic.

    The columns of a category are such that two labels are 1 apart. A column without a range is 0.
    """
    low, length = _ranges(space)
    log = space.logarithmic
    value = np.where(log, np.log(np.where(log, np.maximum(x, np.finfo(float).tiny), 1.0)), x)
    return np.asarray((value - low) / length)


def from_unit(space: Space, u: FloatArray) -> FloatArray:
    """Return the (n, e) designs at shares of the ranges: the way back of `to_unit`, inside the bounds."""
    low, length = _ranges(space)
    value = low + np.where(np.isfinite(length), u * np.where(np.isfinite(length), length, 0.0), 0.0)
    return np.asarray(
        np.clip(np.where(space.logarithmic, np.exp(np.where(space.logarithmic, value, 0)), value), *space.bounds)
    )


def _ranges(space: Space) -> tuple[FloatArray, FloatArray]:
    """Return what `to_unit` takes off and divides by, each (e,)."""
    low, high = (np.array(side) for side in space.bounds)
    log = space.logarithmic
    low, high = (np.where(log, np.log(np.where(log, side, 1.0)), side) for side in (low, high))
    length = np.where(high > low, high - low, np.inf)
    for variable, columns in zip(space.variables, space.slices, strict=True):
        if not variable.ordered:
            low[columns], length[columns] = 0.0, np.sqrt(2.0)
    return low, length


def _held(space: Space, held: FloatArray | None) -> tuple[tuple[FloatArray, FloatArray], ...]:
    nothing = np.full(space.width, np.nan) if held is None else held
    return tuple((nothing, side) for side in space.bounds)


def _all(space: Space, held: FloatArray | None) -> FloatArray | None:
    """Return every design of a space in which nothing is continuous, where they are not too many."""
    given: Mask = np.zeros(space.width, dtype=bool) if held is None else np.asarray(~np.isnan(held))
    free = [i for i, s in enumerate(space.slices) if not given[s].all()]
    sizes = [space.variables[i].count for i in free]
    if any(size is None for size in sizes) or prod(size or 1 for size in sizes) > LISTED:
        return None
    total = prod(size or 1 for size in sizes)
    base = space.bounds[0] if held is None else np.where(given, held, space.bounds[0])
    x = np.repeat(base[None], total, axis=0)
    index = np.unravel_index(np.arange(total), tuple(size or 1 for size in sizes)) if free else ()
    for i, numbers in zip(free, index, strict=True):
        variable = space.variables[i]
        if variable.fixed is None and variable.discrete:
            x[:, space.slices[i]] = variable.at(numbers)
    return x


def _supports(allowed: FeasibleSet, count: int, rng: np.random.Generator) -> tuple[Mask, IndexArray]:
    """Return (c, e) choices of the columns that may be above zero, and for each of `count` designs its choice."""
    if not allowed.at_most:
        return np.ones((1, len(allowed.lower)), dtype=bool), np.zeros(count, dtype=np.intp)
    masks = np.unique(column_choices(allowed, CHOICES, rng), axis=0)
    return masks, np.asarray(np.arange(count) % len(masks), dtype=np.intp)


def _evenly_in_values(
    space: Space, x: FloatArray, low: FloatArray, high: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Draw again, evenly among what exists, the columns that no constraint ties: values, ranges, logarithms."""
    tied: Mask = np.asarray(space.constraints.linear.matrix.any(axis=0))
    for limit in space.constraints.at_most:
        tied[list(limit.columns)] = True
    for variable, columns in zip(space.variables, space.slices, strict=True):
        if tied[columns].any() or not (low[columns] < high[columns]).any() or variable.fixed is not None:
            continue
        if variable.discrete:
            x[:, columns] = variable.at(rng.integers(0, variable.count or 1, len(x)))
        else:
            x[:, columns] = _in_ranges(variable, len(x), rng)
    return x


def _in_ranges(variable: Variable, count: int, rng: np.random.Generator) -> FloatArray:
    """Return (count, 1) numbers, evenly from the ranges of a continuous variable, on its own scale."""
    log = variable.scale == "log"
    pairs = np.array(variable.pairs, dtype=np.float64)
    pairs = np.log(pairs) if log else pairs
    length = pairs[:, 1] - pairs[:, 0]
    at = rng.choice(len(pairs), count, p=length / length.sum()) if length.sum() else np.zeros(count, dtype=int)
    value = pairs[at, 0] + length[at] * rng.random(count)
    return np.asarray(np.exp(value) if log else value)[:, None]


def _repaired(allowed: FeasibleSet, x: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Round (n, e) points to values that exist, and let continuous columns make up for it; leave out what is lost.

    Where that leaves few, some of the others are moved to the nearest designs that are allowed.
    """
    low, high = np.broadcast_to(low, x.shape), np.broadcast_to(high, x.shape)
    rounded = allowed.emptied(allowed.values.snap(x, low, high))
    holds = allowed.holds(rounded)
    discrete = allowed.values.discrete
    if len(allowed.linear) and not discrete.all():
        lost = np.flatnonzero(~holds)
        ends = [np.where(discrete, rounded[lost], side[lost]) for side in (low, high)]
        found = allowed.within(*ends).project(np.clip(rounded[lost], *ends))
        fine = np.isfinite(found).all(axis=1)
        rounded[lost[fine]] = found[fine]
        holds = allowed.holds(rounded)
    lost = np.flatnonzero(~holds)[: max(ENOUGH - int(holds.sum()), 0)]
    rounded[lost] = allowed.nearest(x[lost])
    return rounded[np.isfinite(rounded).all(axis=1)]


def _fine(space: Space, x: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return the different ones of (n, e) designs that are allowed, as they will be written."""
    if not len(x):
        return x
    x = written(space, x, np.broadcast_to(low, x.shape), np.broadcast_to(high, x.shape))
    fine = space.feasible_set.within(low, high).holds(x) & ~broken(space, x).any(axis=1)
    fine &= space.constraints.within_limits(x)
    x = x[fine]
    _, first = np.unique(x, axis=0, return_index=True)
    return np.asarray(x[np.sort(first)])
