"""Columns of numbers: which of them are constant, and what float32 can tell apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invdesign_core.space.arrays import FloatArray

ROUNDING = 16 * float(np.finfo(np.float64).eps)
"""Share of a column's size below which its range is rounding: the values are one number, computed in several ways."""
FLAT = 1e-5
"""Share of a column's size below which its range loses digits in float32, where the steps are 1.2e-7 of the size."""


def is_constant(low: ArrayLike, high: ArrayLike) -> NDArray[np.bool_]:
    """Say of columns, by their least and largest values, whether they are one number but for rounding."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    return np.asarray(high - low <= ROUNDING * np.maximum(np.abs(low), np.abs(high)))


def is_flat(low: ArrayLike, high: ArrayLike) -> NDArray[np.bool_]:
    """Say of columns, by their least and largest values, whether float32 loses digits of what they differ by."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    return np.asarray(high - low < FLAT * np.maximum(np.abs(low), np.abs(high)))


def in_float32(x: FloatArray) -> FloatArray:
    """Return numbers as a network sees them: rounded to float32, and 0 where they are too small for it."""
    with np.errstate(over="ignore"):
        seen = np.asarray(x, dtype=np.float32)
    return np.where(np.abs(seen) < np.finfo(np.float32).tiny, 0.0, seen.astype(np.float64))
