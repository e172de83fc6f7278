"""Design variables that a table of targets holds at its rows' values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.errors import ConfigError, near_or_all
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.digits import near
from invdesign_core.space.overrides import VariableOverrides, restricted, series
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable, plain

if TYPE_CHECKING:
    import pandas as pd

ROUNDING = 1e-12
"""A number that misses one that exists by this share of its size is that number, computed: 0.1 + 0.2 is 0.3."""


def held_names(space: Space, frame: pd.DataFrame | None) -> tuple[str, ...]:
    """Return the variables for which a table of targets has a column."""
    return () if frame is None else tuple(name for name in space.names if name in frame.columns)


def check_conditions(space: Space, held: Sequence[str] = ()) -> None:
    """Refuse a search that is not told the value of a condition: of what is measured and not chosen."""
    lacking = [v for v in space.variables if v.condition and v.count != 1 and v.name not in held]
    if not lacking:
        return
    first = lacking[0]
    key, middle = json.dumps(first.name), near((first.lower + first.upper) / 2, (first.upper - first.lower) / 20)
    value = json.dumps(plain(first.levels[0])) if first.levels else middle
    names, are = ", ".join(repr(v.name) for v in lacking), "is a condition" if len(lacking) == 1 else "are conditions"
    raise ConfigError(
        f"{names} {are}: say at which value",
        f"for example --fixed '{first.name}={value}', or [design] fixed = {{ {key} = {value} }}, or a column of that "
        f"name in a table of targets; on average over its measured values: --condition '{first.name}=data'",
    )


def hold(space: Space, frame: pd.DataFrame) -> tuple[Space, FloatArray | None]:
    """Let the variables of a table of targets take their rows' values, whatever else the space says of them.

    Such a variable is fixed no more, and its bounds hold all of its values, so that what is written for a row is
    the value that the row was solved for. Only values that exist are let in: levels, whole numbers, steps.
    """
    names = held_names(space, frame)
    if not names:
        return space, None
    variables, held = list(space.variables), np.full((len(frame), space.width), np.nan)
    for i, (variable, columns) in enumerate(zip(space.variables, space.slices, strict=True)):
        if variable.name in names:
            variables[i], held[:, columns] = _opened(variable, frame[variable.name])
    return Space(tuple(variables), space.given), held


def check_agreement(said: Mapping[str, VariableOverrides], space: Space, frame: pd.DataFrame) -> None:
    """Refuse rows whose values contradict what the same command says of a variable."""
    for name, wish in said.items():
        if wish == VariableOverrides():
            continue
        restricted(space[name], wish)  # refuses what makes no sense in itself
        numeric = space[name].kind not in ("categorical", "binary")
        cells: Any = _numbers(name, frame[name]) if numeric else np.array([plain(v) for v in frame[name]], dtype=object)
        for words, fine in _agreements(wish, cells):
            if not fine.all():
                row = int(np.argmin(fine))
                raise ConfigError(
                    f"{_place(name, row)}: found {_shown(cells[row])}, but the same command {words}",
                    "remove one of them",
                )


def _agreements(wish: VariableOverrides, cells: Any) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return what a command says of a variable, in words, each with (t,) whether the cells agree."""
    found: list[tuple[str, NDArray[np.bool_]]] = []
    if wish.fixed is not None:
        same = np.array([cell == wish.fixed for cell in cells], dtype=bool)
        found.append((f"fixes it at {_shown(wish.fixed)}", same))
    if wish.bounds is not None:
        pairs = np.asarray(wish.bounds, dtype=np.float64).reshape(-1, 2)
        inside = ((cells[:, None] >= pairs[:, 0]) & (cells[:, None] <= pairs[:, 1])).any(axis=1)
        found.append(("bounds it to " + " or ".join(f"{low:g} to {high:g}" for low, high in pairs), inside))
    if wish.levels is not None:
        listed = np.array([cell in wish.levels for cell in cells], dtype=bool)
        found.append((f"lets it take only {_listed(wish.levels)}", listed))
    return found


def _opened(variable: Variable, column: pd.Series) -> tuple[Variable, FloatArray]:
    """Return a variable that may take all values of a column, and these encoded, (t, width)."""
    if variable.kind in ("categorical", "binary"):
        _refuse_missing(variable.name, column)
        levels = variable.allowed or variable.levels
        values = [plain(value) for value in column]
        unknown = [row for row, value in enumerate(values) if value not in levels]
        if unknown:
            raise ConfigError(
                f"{_place(variable.name, unknown[0])}: found {values[unknown[0]]!r}, which is not one of its levels",
                near_or_all(str(values[unknown[0]]), map(str, levels)),
            )
        return replace(variable, fixed=None), variable.encode(values)
    numbers = _numbers(variable.name, column)
    if not len(numbers):
        return replace(variable, fixed=None), numbers[:, None]
    freed = replace(variable, fixed=None, ranges=(), scale="linear")  # nothing moves in it any more
    room = (variable.step or 1.0) if variable.discrete else 0.0  # no member of a grid may fall out by rounding
    exists = Space((_around(freed, numbers, room),)).snap(numbers[:, None])[:, 0]
    strange = np.abs(exists - numbers) > ROUNDING * np.maximum(np.abs(exists), room)
    if strange.any():
        row = int(np.argmax(strange))
        lacking, way_out = _lacking(variable)
        raise ConfigError(f"{_place(variable.name, row)}: found {_shown(numbers[row])}, {lacking}", way_out)
    return _around(freed, exists, 0.0), exists[:, None]


def _around(variable: Variable, numbers: FloatArray, room: float) -> Variable:
    """Return a variable whose bounds hold some numbers, with some room; those of levels are their ends already."""
    if variable.kind == "levels":
        return variable
    lower, upper = float(numbers.min()) - room, float(numbers.max()) + room
    return replace(
        variable,
        lower=min(lower, variable.lower) if np.isfinite(variable.lower) else lower,
        upper=max(upper, variable.upper) if np.isfinite(variable.upper) else upper,
    )


def _lacking(variable: Variable) -> tuple[str, str]:
    """Say which numbers exist of a variable, where one doesn't, and what to do."""
    if variable.kind == "levels":
        listed = f"expected one of the values that exist: {_listed(variable.levels)}"
        return listed, "change the row, or the levels"
    if variable.step is not None:
        step = f"which is not on its step, {series(variable.step, variable.origin)} with a whole k"
        return step, "change the row, or the step"
    return "expected a whole number", "change the row"


def _numbers(name: str, column: pd.Series) -> FloatArray:
    """Return the (t,) numbers of a column, of which `as_targets` has made sure but for empty cells and truth values."""
    import pandas as pd

    _refuse_missing(name, column)
    if pd.api.types.is_bool_dtype(column.dtype):
        raise ConfigError(f"{_place(name, 0)}: found {bool(column.iloc[0])}, expected a number")
    return column.to_numpy(dtype=np.float64)


def _refuse_missing(name: str, column: pd.Series) -> None:
    missing = column.isna().to_numpy()
    if missing.any():
        raise ConfigError(
            f"{_place(name, int(np.argmax(missing)))}: the cell is empty, expected a value",
            "an input in a table of targets is held in every row: fill it in, or leave its column out where it is free",
        )


def _place(name: str, row: int) -> str:
    return f"targets, column {name!r}, row {row + 1}"


def _shown(value: Any) -> str:
    """Write a cell as the user would: numbers in full, without a type."""
    value = plain(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(_shown(value) for value in values[:10])
    return shown if len(values) <= 10 else f"{shown} and {len(values) - 10} more"
