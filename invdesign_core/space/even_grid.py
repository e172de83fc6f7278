"""Evenly spaced numbers, computed as the decimals that a user writes: 30.3, never 30.299999999999997."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.space.digits import EXACT_POWERS

DIGITS = Context(prec=700)
"""Enough for the sum of any two doubles as they are written."""


@dataclass(frozen=True)
class EvenGrid:
    """The numbers ``origin + k * step`` from `lower` to `upper`, numbered from 0.

    The bounds are finite, and taken to their last written digit; the origin need not lie inside them.

    Examples
    --------
    >>> EvenGrid(0, 50, 0.1, 0).nearest(np.array([30.26])).tolist()
    [30.3]
    """

    lower: float
    upper: float
    step: float
    origin: float

    @cached_property
    def count(self) -> int:
        """How many there are; 0 where none lies inside the bounds."""
        return max(self._last - self._first + 1, 0)

    def index(self, values: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the (n,) numbers of the grid's members nearest to (n,) values."""
        steps = np.rint((values - self.origin) / self.step) - self._first
        return np.asarray(np.clip(steps, 0, self.count - 1).astype(np.intp))

    def at(self, index: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the (n,) members with (n,) numbers, each the double nearest to its decimal."""
        return self.value(index + self._first)

    def value(self, steps: NDArray[Any]) -> NDArray[np.float64]:
        """Return the (n,) numbers that are (n,) whole steps from the origin, each the double nearest to its decimal."""
        values = self.origin + steps * self.step
        # The error of the sum is far below its last decimal, so rounding there gives the written number.
        return np.asarray(np.round(values, self._decimals) if self._decimals <= EXACT_POWERS else values)

    def nearest(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (n,) members nearest to (n,) values."""
        return self.at(self.index(values))

    def holds(self, value: float) -> bool:
        """Return whether a number is a member, ignoring the bounds."""
        return DIGITS.remainder(DIGITS.subtract(_decimal(value), _decimal(self.origin)), _decimal(self.step)) == 0

    @cached_property
    def _first(self) -> int:
        return self._steps(self.lower, ROUND_CEILING)

    @cached_property
    def _last(self) -> int:
        return self._steps(self.upper, ROUND_FLOOR)

    def _steps(self, bound: float, rounding: str) -> int:
        if not np.isfinite(bound):  # a variable without bounds, held at a value
            return int(np.copysign(2**53, bound))
        steps = DIGITS.divide(DIGITS.subtract(_decimal(bound), _decimal(self.origin)), _decimal(self.step))
        return int(steps.to_integral_value(rounding=rounding))

    @cached_property
    def _decimals(self) -> int:
        return max(-int(_decimal(number).normalize().as_tuple().exponent) for number in (self.origin, self.step, 1.0))


def _decimal(value: float) -> Decimal:
    """Return a number as it is written."""
    return Decimal(repr(float(value)))
