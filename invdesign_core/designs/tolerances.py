"""How far each input of a design may move alone before the prediction misses the target, or a constraint is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.distance import DataDistance
from invdesign_core.designs.directions import predict
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.digits import inward, rounded
from invdesign_core.space.rounding import broken
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Targets

GRID = 32
"""Steps over what a variable may be in which the first miss is looked for."""
HALVINGS = 40
"""Halvings of a step at most."""
FINE = 1e-3
"""Share of a range to which its ends are found."""
LISTED = 256
"""Values of a discrete variable that are tried one by one; of more only the ends are refined."""
AT_ONCE = 4_000_000
"""Numbers in the points that are tried at once."""
ROUNDING = 1e-9
"""A limit that is no further away than this share of a variable's bounds is where the design is."""
_EPS = float(np.finfo(np.float64).eps)

Room = dict[str, list[Any]]
"""By variable: the lowest and the highest value, or the levels of a category."""
Fine = Callable[[FloatArray, IndexArray], NDArray[np.bool_]]
"""From (n, e) points, and the (n,) designs that they were made of, to (n,) whether each is an answer too."""


def tolerance_ranges(
    surrogate: Surrogate, space: Space, targets: Targets, x: FloatArray, near: DataDistance | None = None
) -> list[Room | None]:
    """Move one variable of (k, e) designs at a time, and find where one target is first missed or a constraint broken.

    Returns the room of each variable that is not fixed: ``[low, high]``, values that exist, exact to about a thousandth
    of their length, or the levels of a category that are answers too. None where the design itself misses.
    """

    def meets(points: FloatArray) -> NDArray[np.bool_]:
        y = surrogate.units(predict(surrogate, points), points)
        return np.asarray(targets.met(y, np.zeros(len(points), dtype=np.intp)).all(axis=1))

    already = broken(space, x)  # what rounding has broken in a design itself does not limit its tolerance ranges

    def fine(points: FloatArray, which: IndexArray) -> NDArray[np.bool_]:
        good = space.feasible_set.holds(points) & (~broken(space, points) | already[which]).all(axis=1)
        if near is not None:
            good &= near.holds(points)
        rows = np.flatnonzero(good)
        if len(rows):
            good[rows] = meets(points[rows])
        return np.asarray(good)

    there = meets(x)
    free = [(v, s) for v, s in zip(space.variables, space.slices, strict=True) if v.fixed is None]
    numbers = [(v, s.start) for v, s in free if v.ordered and v.kind != "binary"]
    low, high = _ends(space, x)
    ends = iter(_spans(fine, numbers, low, high, x)) if numbers else iter(())
    rows: list[Room] = [{} for _ in x]
    for variable, columns in free:
        if (variable, columns.start) in numbers:
            pairs, j = next(ends), columns.start
            if not variable.discrete:
                pairs = _short(fine, space, x, j, pairs)
            answers = [variable.decode(pair[:, None]) for pair in pairs]
        else:
            answers = _labels(fine, variable, columns, x)
        for row, answer in zip(rows, answers, strict=True):
            row[variable.name] = answer
    return [row if ok else None for row, ok in zip(rows, there, strict=True)]


def _ends(space: Space, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return (k, e) between which values bounds, ranges and constraints let each column of designs move alone."""
    bounds, linear = space.bounds, space.constraints.linear
    ends = space.feasible_set.values.range_of(x)
    low, high = np.maximum(bounds[0], ends[0]), np.minimum(bounds[1], ends[1])
    value = x @ linear.matrix.T
    # What is added up to a row's value is rounded, so that a column stays a little inside.
    rounding = 8 * _EPS * (np.abs(x) @ np.abs(linear.matrix).T)
    for row, slope in enumerate(linear.matrix):
        columns = np.flatnonzero(slope)
        sides = []
        for side, sign in ((linear.lower[row], 1), (linear.upper[row], -1)):
            inside = side + sign * (rounding[:, row] + 8 * _EPS * abs(side)) if np.isfinite(side) else side
            sides.append(x[:, columns] + (inside - value[:, row])[:, None] / slope[columns])
        low[:, columns] = np.maximum(low[:, columns], np.minimum(*sides))
        high[:, columns] = np.minimum(high[:, columns], np.maximum(*sides))
    for limit in space.constraints.at_most:
        columns = np.array(limit.columns, dtype=np.intp)
        full = (x[:, columns] > 0).sum(axis=1) >= limit.count
        stays = full[:, None] & (x[:, columns] <= 0)
        high[:, columns] = np.where(stays, np.minimum(high[:, columns], 0.0), high[:, columns])
    close = ROUNDING * np.where(bounds[1] > bounds[0], bounds[1] - bounds[0], 1.0)
    close = np.where(space.logarithmic, ROUNDING * np.abs(x), close)
    return np.where(low > x - close, x, low), np.where(high < x + close, x, high)


def _short(fine: Fine, space: Space, x: FloatArray, column: int, pairs: FloatArray) -> FloatArray:
    """Write the (k, 2) ends of a continuous column with few digits; an end that is a bound stays one."""
    low, high = (side[column] for side in space.bounds)
    own_range = (side[:, column] for side in space.feasible_set.values.range_of(x))
    bounds = np.clip(np.stack(list(own_range), axis=-1), low, high)
    length = np.maximum(pairs[:, 1:] - pairs[:, :1], 0.0)
    logarithmic = bool(space.logarithmic[column])
    near = rounded(pairs, np.where(length > 0, 1e-3 * (pairs if logarithmic else length), 1.0))
    # What a constraint leaves is computed, and a little less than the number that was meant: that may do as well.
    points, which = np.repeat(x, 2, axis=0), np.repeat(np.arange(len(x)), 2)
    points[:, column] = near.ravel()
    meant = np.abs(near - pairs) <= ROUNDING * (pairs if logarithmic else np.maximum(np.abs(pairs), length))
    meant &= (near >= bounds[:, :1]) & (near <= bounds[:, 1:]) & fine(points, which).reshape(near.shape)
    return np.where(meant, near, inward(pairs, x[:, column], bounds, logarithmic))


def _labels(fine: Fine, variable: Variable, columns: slice, x: FloatArray) -> list[list[Any]]:
    """Return for each design the values of a category that it may have."""
    values = variable.at(np.arange(variable.count or 1))
    points, which = np.repeat(x, len(values), axis=0), np.repeat(np.arange(len(x)), len(values))
    points[:, columns] = np.tile(values, (len(x), 1))
    labels = variable.decode(values)
    good = fine(points, which).reshape(len(x), len(values))
    return [[label for label, ok in zip(labels, row, strict=True) if ok] for row in good]


def _spans(
    fine: Fine, numbers: list[tuple[Variable, int]], low: FloatArray, high: FloatArray, x: FloatArray
) -> FloatArray:
    """Return the (v, k, 2) ends of what is fine, without a gap around a design's own value, for v columns."""
    columns = np.array([column for _, column in numbers], dtype=np.intp)
    own, low, high = x[:, columns], low[:, columns], high[:, columns]
    ends, logs = (own.copy(), low, high), np.array([not v.discrete and v.scale == "log" for v, _ in numbers])
    own, low, high = (np.where(logs, np.log(np.where(logs, side, 1.0)), side) for side in ends)
    # Where only some values exist, it is their numbers that move; which of them may be is found by trying.
    counts = np.array([(v.count or 1) if v.discrete else 0 for v, _ in numbers])
    discrete = counts > 0
    for j in np.flatnonzero(discrete):
        own[:, j] = numbers[j][0].index(own[:, j, None])
        low[:, j], high[:, j] = 0.0, counts[j] - 1.0

    def values(places: FloatArray) -> FloatArray:
        """Return the values at (k, v, n) places."""
        itself, least, most = (side[..., None] for side in ends)
        found = np.where(logs[:, None], np.exp(np.where(logs[:, None], places, 0.0)), places)
        found = np.where(logs[:, None], np.where(places == own[..., None], itself, found.clip(least, most)), found)
        for j in np.flatnonzero(discrete):
            at = numbers[j][0].at(places[:, j].ravel().astype(np.intp))
            found[:, j] = at.reshape(places[:, j].shape)
        return found

    def good(places: FloatArray) -> NDArray[np.bool_]:
        """Say of (k, v, n) places whether each is fine as the only one that moved."""
        i, j, _ = np.indices(places.shape).reshape(3, -1)
        moved, found = values(places).ravel(), np.empty(places.size, dtype=bool)
        size = max(AT_ONCE // x.shape[1], 1)
        for at in range(0, places.size, size):
            part = slice(at, at + size)
            points = x[i[part]]
            points[np.arange(len(points)), columns[j[part]]] = moved[part]
            found[part] = fine(points, i[part])
        return found.reshape(places.shape)

    grid = np.repeat(own[:, :, None], max(GRID + 1, *np.where(counts <= LISTED, counts, 0)), axis=2)
    for column, number in enumerate(counts.tolist()):
        size = number if 0 < number <= LISTED else GRID + 1
        even = np.linspace(low[:, column], high[:, column], size, axis=1)
        grid[:, column, :size] = np.rint(even) if discrete[column] else even
    misses, here = ~good(grid), own[..., None]
    below = np.where(misses & (grid < here), grid, -np.inf).max(axis=2, keepdims=True)
    above = np.where(misses & (grid > here), grid, np.inf).min(axis=2, keepdims=True)
    # Between the nearest miss and the next place of the grid, or the design itself, lies the end.
    inner = np.concatenate(
        [
            np.minimum(np.where(grid > below, grid, np.inf).min(axis=2, keepdims=True), here),
            np.maximum(np.where(grid < above, grid, -np.inf).max(axis=2, keepdims=True), here),
        ],
        axis=2,
    )
    bad, limits = np.concatenate([below, above], axis=2), np.stack([low, high], axis=2)
    reached = ~np.isfinite(bad)
    inner, bad = np.where(reached, limits, inner), np.where(reached, limits, bad)
    smallest = (ROUNDING * (high - low))[..., None]
    for _ in range(max(HALVINGS, int(np.ceil(np.log2(max(counts.max(), 2)))))):
        enough = np.where(discrete[:, None], 1.0, np.maximum(FINE * np.abs(inner - here), smallest))
        if (np.abs(inner - bad) <= enough).all():
            break
        middle = (inner + bad) / 2
        between = np.where(np.abs(inner - bad) < 2, inner, np.floor(middle))
        middle = np.where(discrete[:, None], between, middle)
        passes = good(middle)
        inner, bad = np.where(passes, middle, inner), np.where(passes, bad, middle)
    return values(inner).swapaxes(0, 1)
