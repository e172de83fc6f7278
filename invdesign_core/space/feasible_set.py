"""Which designs are allowed: bounds, values that exist, linear constraints, and how many columns may be above zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from math import comb, prod

import numpy as np

from invdesign_core.space.arrays import FloatArray, IndexArray, Mask
from invdesign_core.space.milp import Program
from invdesign_core.space.projection import project
from invdesign_core.space.rules import AllowedValues, AtMost, Linear, lengths
from invdesign_core.space.sampling import sample

TOLERANCE = 1e-9
"""The miss that counts as rounding, as a share of the largest term that a row, or a bound, can have."""
_FEW = 256
"""Up to so many choices of the columns that may be above zero are all looked at."""
Conflict = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Columns, rows and limits that no design satisfies together."""


@dataclass(frozen=True)
class FeasibleSet:
    """The encoded designs that are allowed; the one place that knows what is feasible.

    Bounds are (e,), or (n, e) where each of n designs has its own; the k rows of `linear` hold no column of a category;
    `whole` is the set of which this is a part: its bounds say how large a column's rounding is.
    """

    lower: FloatArray
    upper: FloatArray
    values: AllowedValues
    linear: Linear
    at_most: tuple[AtMost, ...] = ()
    whole: FeasibleSet | None = None

    @property
    def constrained(self) -> bool:
        """Whether there is anything besides bounds and values."""
        return bool(len(self.linear) or self.at_most)

    def within(self, lower: FloatArray, upper: FloatArray) -> FeasibleSet:
        """Return the part inside other bounds, (e,) or (n, e)."""
        return replace(self, lower=lower, upper=upper, whole=self.whole or self)

    def take(self, rows: IndexArray) -> FeasibleSet:
        """Return the part of some rows, where each has its own bounds."""
        return self if self.lower.ndim == 1 else self.within(self.lower[rows], self.upper[rows])

    def violation(self, x: FloatArray, to: FloatArray | None = None) -> FloatArray:
        """Return (n,) by how much (n, e) designs break bounds and constraints, summed; 0 up to rounding, NaN for NaN.

        Where `to` (n, e) holds the upper corners of boxes that begin at `x`, by how much all of their points do so
        at least; each constraint is looked at alone, so that a box of 0 may still hold no design.
        """
        high = x if to is None else to
        size = self.size(np.maximum(np.abs(x), np.abs(high)))
        total = _beyond(np.maximum(self.lower - high, x - self.upper), TOLERANCE * size)
        if len(self.linear):
            matrix = self.linear.matrix
            if to is None:
                least = most = x @ matrix.T
            else:
                rises, falls = np.maximum(matrix, 0).T, np.minimum(matrix, 0).T
                least, most = x @ rises + to @ falls, to @ rises + x @ falls
            largest = np.max(np.abs(matrix) * size[..., None, :], axis=-1, initial=0.0)
            outside = np.maximum(least - self.linear.upper, self.linear.lower - most)
            total = total + _beyond(outside, TOLERANCE * largest)
        for limit in self.at_most:
            total = total + limit.excess(x, TOLERANCE * size)
        return total

    def holds(self, x: FloatArray) -> Mask:
        """(n,) whether designs are inside the bounds and satisfy the constraints up to rounding; not where NaN."""
        return np.asarray(self.violation(x) == 0)

    def project(self, x: FloatArray) -> FloatArray:
        """Return the (n, e) nearest points inside bounds and linear constraints alone; NaN where there is none."""
        return project(self.linear, self.lower, self.upper, x)

    def nearest(self, x: FloatArray) -> FloatArray:
        """Move (n, e) designs to the nearest that exist and satisfy all constraints; NaN where none exists.

        For a design that rounding each column does not settle, a mixed-integer program chooses the values of discrete
        columns, and which columns are above zero, that need the smallest sum of moves in units of the columns' ranges;
        the continuous columns are then projected.
        """
        lower, upper = np.broadcast_to(self.lower, x.shape), np.broadcast_to(self.upper, x.shape)
        found = self.emptied(self.values.snap(x, lower, upper))
        scale = lengths(lower.min(axis=0, initial=np.inf), upper.max(axis=0, initial=-np.inf))
        # A loop over the designs that rounding does not settle: each is a program of its own.
        for row in np.flatnonzero(~self.holds(found)):
            found[row] = self.within(lower[row], upper[row])._repaired(x[row], found[row], scale)
        return found

    def emptied(self, x: FloatArray) -> FloatArray:
        """Return (n, e) designs with 0 for what rounding has left above it in columns that a limit wants at 0."""
        x, size = x.copy(), np.broadcast_to(self.size(x), x.shape)
        for limit in self.at_most:
            columns = list(limit.columns)
            values = x[:, columns]
            rank = np.argsort(np.argsort(-values, axis=1, kind="stable"), axis=1)
            x[:, columns] = np.where((rank >= limit.count) & (values <= TOLERANCE * size[:, columns]), 0.0, values)
        return x

    def sample(self, count: int, rng: np.random.Generator) -> FloatArray:
        """Draw (count, e) points evenly from the finite (e,) bounds and linear constraints; NaN where there is none."""
        return sample(self.linear, self.lower, self.upper, count, rng)

    def possible(self, relaxed: bool = False) -> Mask:
        """(n,) whether the bounds hold a design; where `relaxed`, discrete columns may take any number."""
        lower, upper = np.atleast_2d(self.lower), np.atleast_2d(self.upper)
        whole = self.whole or self
        low, width = np.where(np.isfinite(whole.lower), whole.lower, 0.0), lengths(whole.lower, whole.upper)
        with np.errstate(invalid="ignore"):
            middle = (lower + upper) / 2
        middle = np.clip(np.where(np.isfinite(middle), middle, 0.0), lower, upper)
        fine = np.asarray(self.violation(lower, upper) == 0)
        if len(self.linear):
            rows = np.flatnonzero(fine)
            box = (side[rows] - low for side in (lower, upper, middle))
            found = project(self.linear.scaled(low, width), *(side / width for side in box))
            fine[rows] = np.isfinite(found).all(axis=1)
        if relaxed:
            return fine
        fine &= np.isfinite(self.values.snap(middle, lower, upper)).all(axis=1)
        ends = self.values.range_of(middle)
        several = (self.values.discrete & (lower < upper)) | (lower < ends[0]) | (upper > ends[1])
        rows = np.flatnonzero(fine & (several & self._tied).any(axis=1))
        if len(rows):
            fine[rows] = np.isfinite(self.within(lower[rows], upper[rows]).nearest(middle[rows])).all(axis=1)
        return fine

    def conflicts(self, together: Sequence[tuple[int, ...]] | None = None) -> Conflict | None:
        """Find a smallest set of bounds, rows and limits that no design satisfies together; None where one exists.

        Demands are given up one by one, those of single columns first; one without which a design exists is taken back.
        Rows that are `together` stand or fall together; by default each stands alone.
        """
        tied = self._tied | np.isnan(self.values.snap(*np.stack([self.lower, self.lower, self.upper])[:, None])[0])
        rows = [(row,) for row in range(len(self.linear))] if together is None else together
        items: list[Conflict] = [((int(column),), (), ()) for column in np.flatnonzero(tied)]
        items += [((), tuple(each), ()) for each in rows]
        items += [((), (), (limit,)) for limit in range(len(self.at_most))]
        if self._possible(items, tied):
            return None
        left = list(items)
        for item in items:
            without = [other for other in left if other is not item]
            if not self._possible(without, tied):
                left = without
        return _joined(left)

    def _possible(self, items: Sequence[Conflict], tied: Mask) -> bool:
        """Whether a design exists that meets these demands; a (e,) tied column without its own takes any number."""
        columns, rows, limits = _joined(items)
        free, values, linear = tied.copy(), self.values, self.linear
        free[list(columns)] = False
        program = Program.build(
            Linear(linear.matrix[list(rows)], linear.lower[list(rows)], linear.upper[list(rows)]),
            np.where(free, -np.inf, self.lower),
            np.where(free, np.inf, self.upper),
            values.without(free),
            [self.at_most[limit] for limit in limits],
            lengths(self.lower, self.upper),
        )
        return program.possible()

    @property
    def _tied(self) -> Mask:
        """(e,) whether a row or a limit holds a column."""
        tied = np.asarray(self.linear.matrix.any(axis=0))
        for limit in self.at_most:
            tied[list(limit.columns)] = True
        return tied

    def size(self, x: FloatArray) -> FloatArray:
        """(e,) or (n, e) the largest absolute value that a column can have, or has where it is not bounded."""
        whole = self.whole or self
        size = np.maximum(np.abs(whole.lower), np.abs(whole.upper))
        return size if np.isfinite(size).all() else np.where(np.isfinite(size), size, np.abs(x))

    def _repaired(self, point: FloatArray, rounded: FloatArray, scale: FloatArray) -> FloatArray:
        """Return the (e,) nearest design, columns that nothing ties being rounded already; NaN if there is none."""
        nothing, free = np.full_like(point, np.nan), ~self._tied
        if np.isnan(rounded[free]).any():
            return nothing
        program = Program.build(self.linear, self.lower, self.upper, self.values, self.at_most, scale)
        solution = program.solve(program.add_distances(point, scale, np.flatnonzero(~free).tolist()))
        if solution is None:
            return nothing
        design = program.design(solution)
        low, high = self.lower.copy(), self.upper.copy()
        for column, helper in program.above.items():
            if solution[helper] < 0.5:
                high[column] = min(high[column], 0.0)
        chosen, fixed = self.values.snap(design[None], self.lower[None], self.upper[None]), self.values.discrete
        low[fixed] = high[fixed] = chosen[0, fixed]
        low[free] = high[free] = rounded[free]
        ends = self.values.range_of(chosen)
        low, high = np.maximum(low, ends[0][0]), np.minimum(high, ends[1][0])
        # Near the program's answer, in units of the ranges, so that a wide column does not take the whole move.
        unit = Linear(self.linear.matrix * scale, self.linear.lower, self.linear.upper)
        moved = project(unit, low / scale, high / scale, np.clip(point, low, high)[None] / scale)[0] * scale
        return np.asarray(np.clip(moved, low, high))


def _beyond(excess: FloatArray, allowed: FloatArray) -> FloatArray:
    """Return the (n,) sums of what is more than allowed."""
    return np.asarray(np.where(excess <= allowed, 0.0, excess).sum(axis=1))


def _joined(items: Sequence[Conflict]) -> Conflict:
    columns, rows, limits = (tuple(i for item in items for i in item[part]) for part in range(3))
    return columns, rows, limits


def column_choices(allowed: FeasibleSet, count: int, rng: np.random.Generator) -> Mask:
    """Choose (count, e) columns that may be above zero, so that each choice keeps to the limits and leaves a design.

    Few choices are taken once each, in random order, before any is taken again; of many, some are drawn. Where none
    leaves a design, they come back as they are.
    """
    width = len(allowed.lower)
    if not allowed.at_most:
        return np.ones((count, width), dtype=bool)
    choices = prod(comb(len(limit.columns), min(limit.count, len(limit.columns))) for limit in allowed.at_most)
    if choices <= _FEW:
        drawn = _all(allowed)
        fit = _leave_a_design(allowed, drawn)
        chosen = drawn[fit] if fit.any() else drawn
        rounds = [rng.permutation(len(chosen)) for _ in range(-(-count // len(chosen)))]
        return np.asarray(chosen[np.concatenate(rounds)[:count]])
    masks = np.array([_drawn(allowed, rng) for _ in range(count)]).reshape(count, width)
    different, which = np.unique(masks, axis=0, return_inverse=True)
    # A loop over distinct choices without a design: a program for each of their rows.
    for number in np.flatnonzero(~_leave_a_design(allowed, different)):
        for row in np.flatnonzero(which.ravel() == number):
            masks[row] = _found(allowed, different[number], rng)
    return masks


def _all(allowed: FeasibleSet) -> Mask:
    """Return every choice once, each as large as the limits allow."""
    limits = allowed.at_most
    ways = [list(combinations(limit.columns, min(limit.count, len(limit.columns)))) for limit in limits]
    masks = np.ones((prod(map(len, ways)), len(allowed.lower)), dtype=bool)
    for mask, kept in zip(masks, product(*ways), strict=True):
        for limit, columns in zip(limits, kept, strict=True):
            mask[list(set(limit.columns) - set(columns))] = False
    masks = np.unique(masks, axis=0)
    # Of limits that share columns one may forbid what another allows: a choice inside another adds nothing.
    inside = (masks[:, None] <= masks[None]).all(axis=2)
    return np.asarray(masks[inside.sum(axis=1) == 1])


def _drawn(allowed: FeasibleSet, rng: np.random.Generator) -> Mask:
    mask = np.ones(len(allowed.lower), dtype=bool)
    for limit in allowed.at_most:
        left = [column for column in limit.columns if mask[column]]
        mask[rng.permutation(left)[limit.count :]] = False
    return mask


def _leave_a_design(allowed: FeasibleSet, masks: Mask) -> Mask:
    """(c,) whether a design exists whose columns are above zero only where (c, e) masks let them."""
    upper = np.where(masks, allowed.upper, np.minimum(allowed.upper, 0.0))
    return allowed.within(np.broadcast_to(allowed.lower, upper.shape), upper).possible()


def _found(allowed: FeasibleSet, mask: Mask, rng: np.random.Generator) -> Mask:
    """Return a choice that leaves a design, by a program with random costs; the one given where there is none."""
    lower, upper = allowed.lower, allowed.upper
    program = Program.build(allowed.linear, lower, upper, allowed.values, allowed.at_most, lengths(lower, upper))
    solution = program.solve({helper: rng.standard_normal() for helper in program.above.values()})
    if solution is None:
        return mask
    found = np.ones_like(mask)
    for column, helper in program.above.items():
        found[column] = solution[helper] > 0.5
    return found
