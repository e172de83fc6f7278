"""Designs as they will be written: values that exist, inside their bounds, the constraints satisfied exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from invdesign_core.space.arrays import FloatArray, IndexArray, Mask
from invdesign_core.space.digits import power_of_ten, rounded
from invdesign_core.space.projection import project
from invdesign_core.space.rules import Linear, lengths
from invdesign_core.space.space import Space

ROUNDING = 1e-8
"""A continuous column that misses a bound by this share of its range is meant to lie on it."""
DIGITS = (6, 8, 10, 12)
"""Digits that a continuous column is written to, counted from the first one of its range: the fewest that do."""
_ROUNDS = 8
_UNIT = 1e-13
"""The unit of moves, as a share of a column's range."""
_FAR = 1e6
"""What is further away than so many units is out of reach."""
_EPS = float(np.finfo(np.float64).eps)


def written(space: Space, x: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return (n, e) designs as they will be written, as far as rounding and the last digits can make them so.

    Of discrete columns, the (n, e) bounds `low` and `high` say only whether one is fixed.
    """
    x = space.snap(x)
    chosen = space.discrete & (low != high)
    inside = np.where(chosen, x, np.clip(x, low, high))
    if not space.constraints:
        return inside
    low, high = (np.where(chosen, side, own) for side, own in zip(space.bounds, (low, high), strict=True))
    return settle(space, _onto_bounds(space, inside, low, high), low, high)


def mended(
    space: Space, x: FloatArray, groups: IndexArray, low: FloatArray, high: FloatArray, stay: bool
) -> tuple[FloatArray, Mask]:
    """Return (b, e) designs as written of which each target, if any can, has one that is feasible, and (b,) which are.

    `groups` (b,) names the targets, those of one standing together; the bounds are (t, e). Where all of a target's
    designs are infeasible, its first one is moved to the nearest that exists, unless designs are to `stay`.
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
    ends: Mask = np.asarray((onto == low[moves]) | (onto == high[moves]) | space.discrete)
    lower, upper = np.where(ends, onto, low[moves]), np.where(ends, onto, high[moves])
    found, moved = space.feasible_set.within(lower, upper).project(onto), x.copy()
    moved[moves] = np.where(np.isfinite(found).all(axis=1, keepdims=True), found, x[moves])
    return moved


def shortened(
    space: Space,
    x: FloatArray,
    low: FloatArray,
    high: FloatArray,
    stays: Mask,
    as_good: Callable[[FloatArray, FloatArray], Mask],
    to: Sequence[int] = DIGITS,
    coarsest: float = np.inf,
) -> FloatArray:
    """Return (n, e) designs with as few digits as leave them what they are, to be read and typed in again.

    Continuous columns, but for those that stay as somebody typed them, are rounded to the first number of digits `to`
    that breaks no constraint and for which `as_good(tried, x)` is (n,) true, and lie on a bound that they miss by less
    than that. Their last digit stands for `coarsest` at most.
    """
    low, high = np.broadcast_to(low, x.shape), np.broadcast_to(high, x.shape)
    free = np.asarray(smooth_columns(space) & ~stays & (low < high))
    allowed = space.feasible_set
    ends = allowed.values.range_of(x)
    low, high = np.maximum(low, ends[0]), np.minimum(high, ends[1])
    found, left = x, np.asarray(free.any(axis=1))
    before, lost = broken(space, x), ~allowed.holds(x)
    for digits in to:
        if not left.any():
            break
        tried = np.where(free & left[:, None], _rounded(space, x, low, high, free, digits, coarsest), x)
        fine = left & (allowed.holds(tried) | lost) & ~(broken(space, tried) & ~before).any(axis=1)
        fine &= as_good(tried, x)
        found = np.where(fine[:, None], tried, found)
        left &= ~fine
    return found


def smooth_columns(space: Space) -> Mask:
    """Return (e,) whether a column may hold any number."""
    return np.concatenate([np.full(v.width, v.kind == "continuous" and v.step is None) for v in space.variables])


def _rounded(
    space: Space, x: FloatArray, low: FloatArray, high: FloatArray, free: Mask, digits: int, coarsest: float
) -> FloatArray:
    """Return (n, e) designs of which the free columns are rounded; one column of each constraint makes up for it."""
    least, most = space.bounds
    with np.errstate(divide="ignore", invalid="ignore"):
        span = np.where(space.logarithmic, np.abs(x) * np.log(most / least), most - least)
    span = np.where(np.isfinite(span) & (span > 0), span, np.maximum(np.abs(x), 1.0))
    unit, close = np.minimum(power_of_ten(span) / 10.0**digits, coarsest), span / 10.0**digits
    short = np.clip(np.where(free, rounded(x, unit), x), low, high)
    short = np.where(free & (x - low <= close), low, np.where(free & (high - x <= close), high, short))
    linear = space.constraints.linear
    each = np.arange(len(x))
    for row in (*range(len(linear)), *range(len(linear))):  # twice: what mends one row may break another
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
        moved = np.clip(moved, low[each, column], high[each, column])
        short[each, column] = np.where(moves & (count > 0), moved, short[each, column])
    return short


def settle(space: Space, x: FloatArray, lower: FloatArray | None = None, upper: FloatArray | None = None) -> FloatArray:
    """Move (n, e) designs by a few units in the last place, so that they satisfy inequalities exactly as written.

    Whoever adds up a design's numbers in double precision, in the order of the text or of the columns, finds each
    inequality satisfied. Only continuous columns move; an inequality that they can't loosen stays as it is.
    """
    linear = space.constraints.linear
    lower, upper = space.bounds if lower is None or upper is None else (lower, upper)
    x = space.feasible_set.emptied(np.clip(x, lower, upper))
    if not len(linear) or not len(x):
        return x
    values = space.feasible_set.values
    fixed = np.broadcast_to(values.discrete | (lower == upper), x.shape).copy()
    for limit in space.constraints.at_most:
        fixed[:, list(limit.columns)] |= x[:, list(limit.columns)] == 0
    ends = values.range_of(x)
    low, high = np.where(fixed, x, np.maximum(lower, ends[0])), np.where(fixed, x, np.minimum(upper, ends[1]))
    settled = np.clip(x, low, high)
    tight, rigid = np.zeros((2, len(x), len(linear)), dtype=bool)
    for _ in range(_ROUNDS):
        violated = broken(space, settled)
        rows = np.flatnonzero(violated.any(axis=1))
        if not len(rows):
            break
        tight[rows] |= violated[rows]
        nudge = _Nudge(linear, lengths(*space.bounds), low[rows], high[rows])
        settled[rows], possible = nudge.moved(settled[rows], tight[rows] & ~rigid[rows])
        left = rows[~possible]
        rigid[left] |= replace(nudge, low=low[left], high=high[left]).rigid(settled[left], tight[left])
    return settled


@dataclass(frozen=True)
class _Nudge:
    """The shortest moves of n designs, inside (n, e) bounds, that put k rows on the safe side of rounding."""

    linear: Linear
    scale: FloatArray
    low: FloatArray
    high: FloatArray

    def moved(self, x: FloatArray, tight: Mask) -> tuple[FloatArray, Mask]:
        """Return (n, e) designs a little inside the (n, k) tight rows, and (n,) for which there are such."""
        matrix, lower, upper = self.linear.matrix, self.linear.lower, self.linear.upper
        # What rounding can make of a sum, whatever the order of its terms; and not less than the units below express.
        sides = np.abs(np.array([lower, upper]))
        largest = np.max(np.where(np.isfinite(sides), sides, 0.0), axis=0)
        largest = largest + 1e-3 * np.max(np.abs(matrix) * self.scale, axis=1)
        rounding = 4 * (2 + (matrix != 0).sum(axis=1)) * _EPS * (np.abs(x) @ np.abs(matrix).T + largest)
        inset = np.where(tight, rounding, 0.0)
        at = x @ matrix.T
        least, most = lower + inset - at, upper - inset - at
        move = self._moves(x, least, most)
        possible = np.asarray(~np.isnan(move).any(axis=1))
        if not possible.all():
            # Where hardly a point is allowed, the rows that are to stay may be broken by rounding, and stay so.
            left = ~possible
            least, most = (np.where(~tight & (np.abs(side) <= rounding), 0.0, side)[left] for side in (least, most))
            move[left] = replace(self, low=self.low[left], high=self.high[left])._moves(x[left], least, most)
            possible = np.asarray(~np.isnan(move).any(axis=1))
        move = np.where(possible[:, None], move, 0.0)
        return np.where(move == 0, x, np.clip(x + move, self.low, self.high)), possible

    def rigid(self, x: FloatArray, tight: Mask) -> Mask:
        """(n, k) which rows leave no room near a design, such as an equation written as two inequalities."""
        rigid = np.zeros_like(tight)
        for row in range(len(self.linear)):
            alone = np.zeros_like(tight)
            alone[:, row] = tight[:, row]
            rigid[:, row] = tight[:, row] & ~self.moved(x, alone)[1]
        # Rows that only together leave no room are all taken as they are.
        return np.where(rigid.any(axis=1, keepdims=True), rigid, tight)

    def _moves(self, x: FloatArray, least: FloatArray, most: FloatArray) -> FloatArray:
        """Return the (n, e) shortest moves that change each row by something between two (n, k) sides."""
        # In units so small that the projection's own rounding does not matter.
        unit = _UNIT * self.scale
        least = np.where(np.isneginf(least), -np.inf, np.maximum(least / _UNIT, -_FAR))
        most = np.where(np.isposinf(most), np.inf, np.minimum(most / _UNIT, _FAR))
        low, high = np.maximum((self.low - x) / unit, -_FAR), np.minimum((self.high - x) / unit, _FAR)
        return unit * project(Linear(self.linear.matrix * self.scale, least, most), low, high, np.zeros_like(x))


def _compensated_sum(terms: FloatArray) -> FloatArray:
    """Add along the last axis, with what rounding takes away added in the end (Neumaier, ZAMM 54, 1974)."""
    total, lost = np.zeros(terms.shape[:-1]), np.zeros(terms.shape[:-1])
    for term in np.moveaxis(terms, -1, 0):
        more = total + term
        lost += np.where(np.abs(total) >= np.abs(term), total - more + term, term - more + total)
        total = more
    return np.asarray(total + lost)


def broken(space: Space, x: FloatArray) -> Mask:
    """Return (n, k) which inequalities do not hold in double precision, as they are written."""
    rules = space.constraints
    linear = rules.linear
    terms = x[:, None, :] * linear.matrix
    found = np.zeros(terms.shape[:2], dtype=bool)
    # Readers add from left to right, as NumPy does, pairwise, or as Python does from 3.12 on.
    for value in (np.cumsum(terms, axis=2)[:, :, -1], terms.sum(axis=2), _compensated_sum(terms)):
        found |= (value > linear.upper) | (value < linear.lower)
    for row, (small, large) in enumerate(rules.written):
        found[:, row] |= np.asarray(small(x) > large(x))
    return found & ~linear.equations
