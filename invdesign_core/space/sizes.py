"""How large and how small numbers may be, since models compute in single precision."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from invdesign_core.errors import ConfigError
from invdesign_core.space.digits import span, typed

LARGEST = 1e37
"""What single precision holds, with room for sums and for what lies beyond the data."""
SMALLEST = 1e-37
"""The smallest difference that single precision scales without loss."""
MOST = int(sys.float_info.max)
WHOLE = float(2**53)
"""Up to here whole numbers are told apart."""
FAR = 1e12
"""Ranges of the data from which on the square of a distance in them is no number that a model can use."""
UNIT = "give the column in another unit, so that its numbers are nearer to 1"


def in_doubles(value: Any) -> Any:
    """Return a value in which whole numbers of many digits are doubles, or infinite where they are larger than any."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > WHOLE:
        return float(value) if abs(value) <= MOST else np.inf if value > 0 else -np.inf
    if isinstance(value, Mapping):
        return {key: in_doubles(item) for key, item in value.items()}
    return [in_doubles(item) for item in value] if isinstance(value, list | tuple) else value


def check_size(value: float, place: str) -> float:
    """Refuse a number that single precision does not hold."""
    if not abs(value) <= LARGEST:
        raise ConfigError(f"{place}: found {typed(float(value))}, expected a number up to {LARGEST:.0e} in size", UNIT)
    return value


def check_near_data(values: Iterable[float], lower: float, upper: float, whole: bool, place: str) -> None:
    """Refuse values of a variable that are too large, or too far from the range of its data for a model to tell."""
    for value in map(float, values):
        if not np.isfinite(value):
            continue
        check_size(value, place)
        if whole and abs(value) > WHOLE:
            raise ConfigError(
                f"{place}: found {typed(float(value))}, expected whole numbers up to {int(WHOLE)} in size",
                "larger ones can't be told apart",
            )
        if np.isfinite([lower, upper]).all() and lower < upper:
            away = max(lower - value, value - upper, 0.0) / (upper - lower)
            if away > FAR:
                raise ConfigError(
                    f"{place}: {typed(float(value))} lies {away:.0e} times the range of the data, "
                    f"{span(lower, upper)}, away from them",
                    "a model says nothing so far away: is the unit right?",
                )
