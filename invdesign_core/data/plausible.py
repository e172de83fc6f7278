"""Whether a dataset's table holds what its design variables say: their kinds, labels, levels and bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.data import Data
from invdesign_core.errors import DataError
from invdesign_core.errors.faults import kind_of
from invdesign_core.space.variables import Variable

ROUNDING = 1e-9
"""A value this near to a bound, in shares of the range, lies inside."""


def check_values(data: Data) -> None:
    """Refuse a table with a value that its variable can't have, naming the column, the row and what was expected.

    Raises
    ------
    DataError
        Also where the truth is no function, or there are repeated names.
    """
    names = [*data.space.names, *data.outputs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"the name {twice[0]!r} appears twice among the variables and outputs", "rename one of them")
    if data.truth is not None and not callable(data.truth):
        raise DataError(f"truth is {kind_of(data.truth)}, expected a function of a table of designs")
    for variable in data.space.variables:
        column = data.frame[variable.name].to_numpy()
        for bad, expected in _faults(variable, column):
            if bad.any():
                row = int(np.argmax(bad))
                value = column[row].item() if isinstance(column[row], np.generic) else column[row]
                raise DataError(
                    f"column {variable.name!r}, row {row + 1}: found {value!r}, expected {expected} "
                    f"(rows alike: {int(bad.sum())} of {len(bad)})",
                    "correct the variable or the values",
                )


def _faults(variable: Variable, column: NDArray[Any]) -> list[tuple[NDArray[np.bool_], str]]:
    """Return the (n,) rows of a column that break a rule of its variable, and the rule in words."""
    if variable.kind == "categorical" or (variable.levels and column.dtype.kind not in "fiub"):
        known = set(map(str, variable.levels))
        return [(np.array([str(cell) not in known for cell in column]), f"one of {_listed(variable.levels)}")]
    if column.dtype.kind not in "fiub":
        return [(np.ones(len(column), dtype=bool), "a number")]
    values = column.astype(np.float64)
    found = []
    if variable.kind == "binary" and column.dtype.kind != "b":  # numbers between are relaxed rows, and may teach
        levels = _numbers(variable.levels)
        if levels is None:
            return [(np.ones(len(column), dtype=bool), f"one of {_listed(variable.levels)}")]
        outside = (values < levels.min() - ROUNDING) | (values > levels.max() + ROUNDING)
        return [(outside, f"a number from {levels.min():g} to {levels.max():g}")]
    if variable.levels:
        levels = _numbers(variable.levels)
        if levels is None:
            return []
        near = np.abs(values[:, None] - levels).min(axis=1) <= ROUNDING * max(float(np.abs(levels).max()), 1.0)
        return [(~near, f"one of {_listed(variable.levels)}")]
    if variable.kind == "integer":
        found.append((np.abs(values - np.round(values)) > ROUNDING, "a whole number"))
    if variable.kind in ("continuous", "integer"):
        low, high = variable.lower, variable.upper
        slack = ROUNDING * max(high - low, abs(low), abs(high)) if np.isfinite(high - low) else 0.0
        outside = (values < low - slack) | (values > high + slack)
        found.append((outside, f"a value from {low:g} to {high:g}, its bounds"))
    return found


def _numbers(levels: Any) -> NDArray[np.float64] | None:
    """Return levels as numbers, or None where they are labels."""
    try:
        return np.array([float(level) for level in levels])
    except (TypeError, ValueError):
        return None


def _listed(levels: Any) -> str:
    """List levels, the first few of many."""
    shown = ", ".join(repr(level) for level in levels[:8])
    return shown + (", …" if len(levels) > 8 else "")
