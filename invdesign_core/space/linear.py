"""Linear constraints as arrays, and "at most k of these are above zero"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from invdesign_core.space.arrays import FloatArray, Mask

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


@dataclass(frozen=True)
class Constraints:
    """What designs must satisfy besides bounds and kinds: k rows over encoded designs, and limits on those above zero.

    `origin` (k,) says which of the `texts` each row is from; an absolute value gives two. `written` (k,) holds the
    smaller and the larger side of each row as they were written, since rounding depends on the order of the terms.
    """

    linear: Linear
    at_most: tuple[AtMost, ...] = ()
    texts: tuple[str, ...] = ()
    origin: tuple[int, ...] = ()
    written: tuple[tuple[Value, Value], ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any constraint."""
        return bool(len(self.linear) or self.at_most)
