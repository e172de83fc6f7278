"""Numbers as people write them: as many digits as say what is meant, and evenly spaced ones to their last decimal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import cached_property
from typing import Any

import numpy as np

from invdesign_core.space.arrays import FloatArray, IndexArray

EXACT_POWERS = 22
"""Powers of ten up to this one are exact in double precision."""
TYPED = 12
"""A number with more significant digits than these was computed; nobody typed it."""
LONG = 1e12
"""From this size on a number has an exponent, where that is shorter."""
_DECIMALS = Context(prec=700)
"""Enough for the sum of any two doubles as they are written."""
SHARE = 1e-4
"""Outputs are shown to about this share of their range."""


def typed(value: Any) -> str:
    """Return a value as somebody would type it: the shortest text that is read back as the same number."""
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, float):
        return str(value)
    text = "0" if value == 0 else repr(value).removesuffix(".0")
    if abs(value) >= LONG and "e" not in text:
        digits = text.lstrip("-").rstrip("0")
        power = f"{'-' * (value < 0)}{digits[0]}{'.' * (len(digits) > 1)}{digits[1:]}e{len(text.lstrip('-')) - 1}"
        return min(text, power, key=len) if "." not in text else text
    return text


def near(value: float, unit: float) -> str:
    """Return a number to the decimal place of a unit; to six digits where there is no unit."""
    if not np.isfinite(value):
        return str(value)
    if not (np.isfinite(unit) and unit > 0):
        return typed(float(f"{value:.6g}"))
    return typed(float(rounded(np.array([value]), np.array([unit]))[0]))


def given(value: float, unit: float) -> str:
    """Return a number as it was typed, or to the decimal place of a unit where it was computed."""
    return near(value, unit) if was_computed(value) else typed(value)


def was_computed(value: float) -> bool:
    """Say whether a number has more digits than anybody types."""
    return len(_decimal(value).normalize().as_tuple().digits) > TYPED


def telling(value: float, unit: float, alike: Callable[[float], bool]) -> str:
    """Return a number to the decimal place of a unit, and with more digits until what is shown is judged alike."""
    for more in range(12):
        text = near(value, unit / 10.0**more)
        if alike(float(text)):
            return text
    return typed(value)


def span(low: float, high: float) -> str:
    """Return a range in words."""
    unit = 1e-6 * (high - low)
    return f"{given(low, unit)} to {given(high, unit)}"


def rounded(values: FloatArray, unit: FloatArray, way: Callable[[FloatArray], FloatArray] = np.rint) -> FloatArray:
    """Round finite numbers to whole multiples of powers of ten; each is the double nearest to its decimal.

    The power at or below `unit`, of their shape or broadcast to it, is rounded to, by ``np.rint``, ``np.floor`` or
    ``np.ceil``.
    """
    places = np.broadcast_to(-_exponent(unit), values.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        power = 10.0 ** np.abs(places)
        steps = way(np.where(places >= 0, values * power, values / power))
        found = np.where(places >= 0, steps / power, steps * power)
    for at in zip(*np.nonzero(np.abs(places) > EXACT_POWERS), strict=True):  # rare: units as small as 1e-23
        known = np.isfinite(steps[at])  # a unit as small as 1e-310 has no power that is a double
        found[at] = float(f"{steps[at]:.0f}e{-int(places[at])}") if known else values[at]
    return np.asarray(found)


def inward(ends: FloatArray, own: FloatArray, bounds: FloatArray, logarithmic: bool = False) -> FloatArray:
    """Round (..., 2) ends of intervals towards a (...) number inside each, to about a thousandth of their length.

    The number stays inside, and an end that lies on one of the (..., 2) bounds stays there, unless nobody would type
    it. On a logarithmic scale ends are rounded to about a thousandth of themselves.
    """
    length = np.maximum(ends[..., 1] - ends[..., 0], 0.0)
    size = ends if logarithmic else np.broadcast_to(length[..., None], ends.shape)
    unit = np.where(size > 0, 1e-3 * size, 1.0)
    low = np.minimum(rounded(ends[..., 0], unit[..., 0], np.ceil), own)
    high = np.maximum(rounded(ends[..., 1], unit[..., 1], np.floor), own)
    short = np.stack([low, high], axis=-1)
    computed = np.reshape([was_computed(end) for end in ends.ravel().tolist()], ends.shape)
    return np.where(((ends == bounds) & ~computed) | (length == 0)[..., None], ends, short)


def power_of_ten(size: FloatArray) -> FloatArray:
    """Return the powers of ten at or below some sizes."""
    return np.asarray(10.0 ** _exponent(size))


def _exponent(size: FloatArray) -> np.ndarray[Any, np.dtype[np.int64]]:
    with np.errstate(divide="ignore"):
        return np.floor(np.log10(size) + 1e-9).astype(np.int64)


@dataclass(frozen=True)
class EvenGrid:
    """The numbers ``origin + k * step`` from `lower` to `upper`, bounds as they are written, numbered from 0."""

    lower: float
    upper: float
    step: float
    origin: float

    @cached_property
    def count(self) -> int:
        """How many there are; 0 where none lies inside the bounds."""
        return max(self._steps(self.upper, ROUND_FLOOR) - self._first + 1, 0)

    def index(self, values: FloatArray) -> IndexArray:
        """Return the (n,) numbers of the grid's members nearest to (n,) values."""
        steps = np.rint((values - self.origin) / self.step) - self._first
        return np.asarray(np.clip(steps, 0, self.count - 1).astype(np.intp))

    def at(self, index: IndexArray) -> FloatArray:
        """Return the (n,) members with (n,) numbers, each the double nearest to its decimal."""
        return self.value(index + self._first)

    def value(self, steps: FloatArray | IndexArray) -> FloatArray:
        """Return the (n,) numbers that are (n,) whole steps from the origin, each the double nearest to its decimal."""
        values = self.origin + steps * self.step
        # The error of the sum is far below its last decimal, so rounding there gives the written number.
        return np.asarray(np.round(values, self._decimals) if self._decimals <= EXACT_POWERS else values)

    def holds(self, value: float) -> bool:
        """Return whether a number is a member, ignoring the bounds."""
        return _DECIMALS.remainder(_DECIMALS.subtract(_decimal(value), _decimal(self.origin)), _decimal(self.step)) == 0

    @cached_property
    def _first(self) -> int:
        return self._steps(self.lower, ROUND_CEILING)

    def _steps(self, bound: float, rounding: str) -> int:
        if not np.isfinite(bound):  # a variable without bounds, held at a value
            return int(np.copysign(2**53, bound))
        steps = _DECIMALS.divide(_DECIMALS.subtract(_decimal(bound), _decimal(self.origin)), _decimal(self.step))
        return int(steps.to_integral_value(rounding=rounding))

    @cached_property
    def _decimals(self) -> int:
        return max(-int(_decimal(number).normalize().as_tuple().exponent) for number in (self.origin, self.step, 1.0))


def _decimal(value: float) -> Decimal:
    """Return a number as it is written."""
    return Decimal(repr(float(value)))
