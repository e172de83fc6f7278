"""What restricts encoded designs, as arrays: linear rows, limits on columns above zero, and the values that exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from invdesign_core.space.arrays import FloatArray, Mask
from invdesign_core.space.digits import EvenGrid

_SLACK = 1e-9
"""A value that misses a bound by this share of the distance to the next one lies on it."""
_EPS = float(np.finfo(np.float64).eps)
Value = Callable[[FloatArray], FloatArray]
"""From (n, e) designs to the (n,) values of one side of a constraint, computed as it is written."""


@dataclass(frozen=True)
class Linear:
    """k rows of ``lower <= matrix @ x <= upper``; equal sides where it is an equation.

    Attributes
    ----------
    matrix : ndarray
        (k, e) coefficients.
    lower, upper : ndarray
        (k,) sides; infinite where one is open.
    """

    matrix: FloatArray
    lower: FloatArray
    upper: FloatArray

    @classmethod
    def none(cls, columns: int) -> Linear:
        """Return no constraint on (·, columns) points."""
        return cls(np.zeros((0, columns)), np.zeros(0), np.zeros(0))

    def __len__(self) -> int:
        """Return the number k of rows."""
        return len(self.matrix)

    @property
    def equations(self) -> Mask:
        """(k,) whether a row is an equation."""
        return np.asarray(self.lower == self.upper)

    def violation(self, x: FloatArray) -> FloatArray:
        """Return the (n, k) distances of (n, e) points outside each row; 0 where it holds."""
        value = x @ self.matrix.T
        return np.asarray(np.maximum(np.maximum(value - self.upper, self.lower - value), 0.0))

    def scaled(self, low: FloatArray, width: FloatArray) -> Linear:
        """Return the same constraints on u, where ``x = low + u * width``, each (e,)."""
        at_low = self.matrix @ low
        return Linear(self.matrix * width, self.lower - at_low, self.upper - at_low)


@dataclass(frozen=True)
class AtMost:
    """At most `count` of some encoded columns are above zero; `text` is what the user wrote."""

    count: int
    columns: tuple[int, ...]
    text: str = ""

    def excess(self, x: FloatArray, zero: FloatArray | float = 0.0) -> FloatArray:
        """Return how many columns of (n, e) designs are above zero, or (e,) or (n, e) others, beyond those allowed."""
        columns = list(self.columns)
        above = (x > zero)[:, columns].sum(axis=1)
        return np.asarray(np.maximum(above - self.count, 0), dtype=np.float64)


class Limit(Protocol):
    """A constraint that is not linear, as `expressions` has it."""

    @property
    def expression(self) -> Any:
        """The formula."""

    @property
    def lower(self) -> float:
        """The least that it may be."""

    @property
    def upper(self) -> float:
        """The most that it may be."""

    def holds(self, x: FloatArray) -> Mask:
        """(n,) whether (n, e) designs satisfy it."""


@dataclass(frozen=True)
class Constraints:
    """What designs must satisfy besides bounds and kinds: k rows over encoded designs, and limits on those above zero.

    `origin` (k,) says which of the `texts` each row is from; an absolute value gives two. `written` (k,) holds the
    smaller and the larger side of each row as they were written, since rounding depends on the order of the terms.
    `limits` are constraints that are not linear: the search is led to where they hold, and designs are judged by them.
    """

    linear: Linear
    at_most: tuple[AtMost, ...] = ()
    texts: tuple[str, ...] = ()
    origin: tuple[int, ...] = ()
    written: tuple[tuple[Value, Value], ...] = ()
    limits: tuple[Limit, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any constraint."""
        return bool(len(self.linear) or self.at_most or self.limits)

    def within_limits(self, x: FloatArray) -> Mask:
        """(n,) whether (n, e) designs satisfy what is not linear, computed as it is written."""
        found = np.ones(len(x), dtype=bool)
        for limit in self.limits:
            found &= limit.holds(x)
        return found


@dataclass(frozen=True)
class AllowedValues:
    """Which values exist for each of e encoded columns: ``anchor + step * k``, k whole; all where the step is 0.

    Columns that are no such series have sorted `levels`; continuous ones may have several (r, 2) `ranges`. Of each
    block of `categories` one column is 1 and the others are 0.
    """

    anchor: FloatArray
    step: FloatArray
    levels: Mapping[int, FloatArray] = field(default_factory=dict)
    ranges: Mapping[int, FloatArray] = field(default_factory=dict)
    categories: tuple[slice, ...] = ()

    @classmethod
    def all(cls, columns: int) -> AllowedValues:
        """Return every value of some number of columns."""
        return cls(np.zeros(columns), np.zeros(columns))

    def without(self, free: Mask) -> AllowedValues:
        """Return the same where (e,) columns that are free may take every value."""
        levels, ranges = ({j: each for j, each in of.items() if not free[j]} for of in (self.levels, self.ranges))
        return AllowedValues(self.anchor, np.where(free, 0.0, self.step), levels, ranges, self.categories)

    @property
    def discrete(self) -> Mask:
        """(e,) whether only some values exist."""
        found = self.step > 0
        found[list(self.levels)] = True
        for block in self.categories:
            found[block] = True
        return np.asarray(found)

    def snap(self, x: FloatArray, lower: FloatArray, upper: FloatArray) -> FloatArray:
        """Move (n, e) points to the nearest values inside the bounds, each (n, e); NaN where there is none."""
        found = np.clip(x, lower, upper)
        for j in map(int, np.flatnonzero(self.step > 0)):
            step, anchor = self.step[j], self.anchor[j]
            low, high = (lower[:, j] - anchor) / step, (upper[:, j] - anchor) / step
            low = np.ceil(low - _SLACK - 4 * _EPS * np.abs(low))
            high = np.floor(high + _SLACK + 4 * _EPS * np.abs(high))
            count = np.clip(np.rint((x[:, j] - anchor) / step), low, np.maximum(low, high))
            value = EvenGrid(-np.inf, np.inf, float(step), float(anchor)).value(count)
            found[:, j] = np.where(low <= high, value, np.nan)
        for j, levels in self.levels.items():
            gap, slack = np.abs(x[:, j, None] - levels), _SLACK * np.diff(levels).min(initial=np.abs(levels).max())
            outside = (levels < lower[:, j, None] - slack) | (levels > upper[:, j, None] + slack)
            gap[outside] = np.inf
            found[:, j] = np.where(outside.all(axis=1), np.nan, levels[np.argmin(gap, axis=1)])
        for j, ranges in self.ranges.items():
            low, high = np.maximum(ranges[:, 0], lower[:, j, None]), np.minimum(ranges[:, 1], upper[:, j, None])
            inside = np.where(low <= high, np.clip(x[:, j, None], low, np.maximum(low, high)), np.inf)
            best = np.argmin(np.abs(inside - x[:, j, None]), axis=1)
            nearest = np.take_along_axis(inside, best[:, None], axis=1)[:, 0]
            found[:, j] = np.where(np.isfinite(nearest), nearest, np.nan)
        for block in self.categories:
            choice = np.where(upper[:, block] > 0, x[:, block], -np.inf)
            found[:, block] = np.eye(choice.shape[1])[np.argmax(choice, axis=1)]
        return found

    def range_of(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the range that each column of (n, e) points is in, infinite where it has but one."""
        low, high = np.full_like(x, -np.inf), np.full_like(x, np.inf)
        for j, ranges in self.ranges.items():
            away = np.abs(x[:, j, None] - np.clip(x[:, j, None], ranges[:, 0], ranges[:, 1]))
            low[:, j], high[:, j] = ranges[np.argmin(away, axis=1)].T
        return low, high


def lengths(lower: FloatArray, upper: FloatArray) -> FloatArray:
    """Return the (e,) ranges of columns; 1 where there is none."""
    with np.errstate(invalid="ignore"):
        width = upper - lower
    return np.where(np.isfinite(width) & (width > 0), width, 1.0)
