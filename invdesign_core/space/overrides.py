"""A variable with what the user says about it: bounds, ranges, levels, a step, a scale, a fixed value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from invdesign_core.errors import ConfigError, near_or_all
from invdesign_core.space.digits import span, typed
from invdesign_core.space.sizes import SMALLEST, UNIT, WHOLE, check_near_data, in_doubles
from invdesign_core.space.variables import Variable

LISTED = 100_000
"""Values that separate ranges of a discrete variable may hold at most, since they are kept as a list."""


@dataclass(frozen=True)
class VariableOverrides:
    """What the user says of one variable; None where nothing. `margin` widens the range where no bounds are given."""

    bounds: Sequence[Any] | None = None
    levels: Sequence[Any] | None = None
    step: float | Mapping[str, float] | None = None
    fixed: Any = None
    log: bool = False
    margin: float = 0.0


def restricted(variable: Variable, wish: VariableOverrides) -> Variable:
    """Return the variable as wished, or refuse a wish that contradicts itself or the variable's kind; by name."""
    found = variable
    wish = replace(wish, **{key: in_doubles(getattr(wish, key)) for key in ("bounds", "levels", "step", "fixed")})
    if wish.levels is not None and wish.step is not None:
        raise ConfigError(f"{variable.name!r} has levels and a step", "use only one of them")
    if wish.bounds is not None:
        found = _bounded(found, _pairs(found, wish.bounds))
    if wish.levels is not None:
        found = _listed(found, wish.levels, wish.bounds is not None)
    elif wish.margin and wish.bounds is None:
        found = _widened(found, wish.margin, wish.log)
    if wish.step is not None:
        found = _stepped(found, wish.step)
    if found.ranges and found.discrete:
        found = _flattened(found)
    if wish.fixed is not None:
        found = _fixed(found, wish.fixed, wish)
    if variable.kind in ("continuous", "integer", "levels"):
        _check_sizes(variable, found, wish)
    if not wish.log:
        return found
    if found.kind in ("categorical", "binary"):
        raise ConfigError(f"log scale of {found.name!r}: a {found.kind} variable has no scale", "remove it from `log`")
    return replace(found, scale="log")


def _check_sizes(variable: Variable, found: Variable, wish: VariableOverrides) -> None:
    """Refuse numbers that are too large, or too near to each other, for a model to tell them apart."""
    if variable.kind == "integer" and WHOLE < max(abs(variable.lower), abs(variable.upper)) < np.inf:
        raise ConfigError(
            f"design variable {variable.name!r}: found {span(variable.lower, variable.upper)}, expected whole numbers "
            f"up to {int(WHOLE)} in size, since larger ones can't be told apart",
            "if it names rows, leave it out (leave_out of the dataset); else subtract a number from the column",
        )
    lower, upper = (-np.inf, np.inf) if wish.log else (variable.lower, variable.upper)
    for what, values in (
        ("bounds", [end for pair in found.pairs for end in pair] if wish.bounds is not None else []),
        ("levels", found.levels if wish.levels is not None else []),
        ("fixed value", [found.fixed] if wish.fixed is not None else []),
        ("step", [found.origin] if wish.step is not None else []),
        ("margin", [found.lower, found.upper] if wish.margin and wish.bounds is None else []),
    ):
        check_near_data(values, lower, upper, found.kind == "integer", f"{what} of {found.name!r}")
    ends = [found.lower, found.upper]
    for low, high in found.pairs:
        if 0 < high - low < SMALLEST:
            wrong = f"found {typed(low)} to {typed(high)}, whose ends single precision can't tell apart"
            hint = f"hold it at one value: --fixed '{found.name}={typed(low)}'"
            raise ConfigError(f"bounds of {found.name!r}: {wrong}", hint)
    if found.kind == "levels" and 0 < np.diff(np.array(found.levels, dtype=np.float64)).min(initial=1.0) < SMALLEST:
        wrong = f"found values nearer to each other than {SMALLEST:.0e}, which single precision can't tell apart"
        raise ConfigError(f"levels of {found.name!r}: {wrong}", UNIT)
    if found.step is not None:
        furthest = max((abs(end - found.origin) for end in ends if np.isfinite(end)), default=0.0)
        if not furthest / found.step <= WHOLE:
            wrong = f"{typed(found.step)} is so small that its values can't be counted"
            raise ConfigError(f"step of {found.name!r}: {wrong}", "take a larger step, or leave it out")


def _pairs(variable: Variable, bounds: Sequence[Any]) -> list[tuple[float, float]]:
    """Return ranges in order, those that overlap made one."""
    place = f"bounds of {variable.name!r}"
    several = len(bounds) > 0 and isinstance(bounds[0], Sequence | np.ndarray) and not isinstance(bounds[0], str)
    pairs = []
    for pair in bounds if several else [bounds]:
        try:
            low, high = (float(value) for value in pair)
        except (TypeError, ValueError):
            wrong = f"{place}: found {pair!r}, expected a lowest and a highest number"
            raise ConfigError(wrong, "for example [0, 1]") from None
        if not np.isfinite([low, high]).all():
            raise ConfigError(f"{place}: found {typed(low)} to {typed(high)}, expected finite numbers")
        if not low <= high:
            wrong = f"{place}: the lower bound {typed(low)} is above the upper bound {typed(high)}"
            raise ConfigError(wrong, "write the smaller number first")
        pairs.append((low, high))
    merged: list[tuple[float, float]] = []
    for low, high in sorted(pairs):
        if merged and low <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return merged


def _bounded(variable: Variable, pairs: list[tuple[float, float]]) -> Variable:
    place, kind = f"bounds of {variable.name!r}", variable.kind
    if kind in ("categorical", "binary"):
        hint = "name the values that it may take (levels, fixed)"
        raise ConfigError(f"{place}: a {kind} variable has no bounds", hint)
    text = " or ".join(span(low, high) for low, high in pairs)
    if kind == "levels":
        levels = tuple(v for v in variable.levels if _inside(v, pairs))
        if not levels:
            raise ConfigError(f"{place}: none of its levels lies in {text}", f"its levels are {_first(variable)}")
        return replace(variable, levels=levels)
    if kind == "integer" and not any(np.ceil(low) <= np.floor(high) for low, high in pairs):
        raise ConfigError(f"{place}: no whole number lies between {text.replace(' to ', ' and ')}")
    return replace(variable, lower=pairs[0][0], upper=pairs[-1][1], ranges=tuple(pairs) if len(pairs) > 1 else ())


def _listed(variable: Variable, levels: Sequence[Any], bounded: bool) -> Variable:
    """Let only some values exist."""
    place = f"levels of {variable.name!r}"
    if isinstance(levels, str) or not isinstance(levels, Sequence | np.ndarray) or not len(levels):
        raise ConfigError(f"{place}: found {levels!r}, expected a list of values", "for example [1, 2, 4]")
    if variable.kind in ("categorical", "binary"):
        unknown = [level for level in levels if level not in variable.levels]
        if unknown:
            hint = near_or_all(str(unknown[0]), map(str, variable.levels))
            raise ConfigError(f"{place}: the data have no {unknown[0]!r}", hint)
        kept = tuple(level for level in variable.levels if level in levels)
        if variable.kind == "categorical":
            return replace(variable, allowed=kept)
        return replace(variable, fixed=kept[0]) if len(kept) == 1 else variable
    for level in levels:
        if not _is_number(level) or not np.isfinite(level):
            raise ConfigError(f"{place}: found {level!r}, expected {_expected(level)}")
        if variable.kind == "integer" and level != int(level):
            raise ConfigError(f"{place}: found {typed(level)}, expected whole numbers")
        if bounded and not _inside(level, variable.pairs):
            wrong = f"{place}: {typed(level)} lies outside its bounds {variable.span}"
            raise ConfigError(wrong, "change the levels or the bounds")
        if variable.kind == "levels" and level not in variable.levels:
            wrong = f"{place}: {typed(level)} is not one of the allowed values"
            raise ConfigError(wrong, f"these are {_first(variable)}")
    numbers = tuple(int(v) for v in levels) if variable.kind == "integer" else tuple(levels)
    return replace(variable, kind="levels", levels=numbers, ranges=(), step=None)


def _widened(variable: Variable, margin: float, log: bool) -> Variable:
    """Widen the data's bounds by a share of their range, on the variable's own scale."""
    low, high = variable.lower, variable.upper
    if variable.kind not in ("continuous", "integer") or variable.ranges or not np.isfinite([low, high]).all():
        return variable
    if log and low > 0:
        factor = (high / low) ** margin
        low, high = low / factor, high * factor
    else:
        low, high = low - margin * (high - low), high + margin * (high - low)
    if variable.kind == "integer":
        low, high = float(np.ceil(low)), float(np.floor(high))
    return replace(variable, lower=low, upper=high)


def _stepped(variable: Variable, step: float | Mapping[str, float]) -> Variable:
    """Let only values whole steps apart exist: multiples of the step, or counted from where the user says."""
    place, name = f"step of {variable.name!r}", variable.name
    if variable.kind not in ("continuous", "integer"):
        raise ConfigError(f"{place}: a {variable.kind} variable has no step", "name the values instead (levels)")
    by, origin = _read_step(step, place)
    for number, key in ((by, "step"), (origin, "start")):
        if variable.kind == "integer" and number != int(number):
            wrong = f"{place}: found {typed(number)}, and {name!r} takes whole numbers"
            raise ConfigError(wrong, f"give a whole {key}")
    low, high = float(variable.lower), float(variable.upper)
    if np.isfinite([low, high]).all() and Decimal(repr(by)) > Decimal(repr(high)) - Decimal(repr(low)):
        raise ConfigError(f"{place}: {typed(by)} is wider than its range {span(low, high)}", "take a smaller step")
    return replace(variable, step=by, origin=origin)


def _read_step(step: float | Mapping[str, float], place: str) -> tuple[float, float]:
    """Return the distance between values, and the number that they are counted from: 0 unless the user names one."""
    by, origin = (step, 0.0) if not isinstance(step, Mapping) else (step.get("by"), step.get("from", 0.0))
    unknown = [key for key in step if key not in ("by", "from")] if isinstance(step, Mapping) else []
    if unknown or by is None:
        found = f"found {unknown[0]!r}, which is neither 'by' nor 'from'" if unknown else "it has no 'by'"
        raise ConfigError(f"{place}: {found}", "write the distance alone, or { by = 0.5, from = 0.25 }")
    if not _is_number(by) or not 0 < by < np.inf:
        raise ConfigError(f"{place}: found {by!r}, expected a number above 0")
    if not _is_number(origin) or not np.isfinite(origin):
        raise ConfigError(f"{place}: it counts from {origin!r}, expected a finite number")
    return float(by), float(origin)


def _flattened(variable: Variable) -> Variable:
    """Turn separate ranges of a discrete variable into the list of their values."""
    grids = [replace(variable.grid, lower=low, upper=high) for low, high in variable.ranges]
    total = sum(grid.count for grid in grids)
    if not 0 < total <= LISTED:
        wrong = f"bounds of {variable.name!r}: its ranges hold {total} values, expected 1 to {LISTED}"
        raise ConfigError(wrong, "take a wider step, or one range" if total else "no allowed value lies in them")
    values = np.concatenate([grid.at(np.arange(grid.count)) for grid in grids if grid.count])
    levels = tuple(int(v) for v in values) if variable.kind == "integer" else tuple(values.tolist())
    return replace(variable, kind="levels", levels=levels, ranges=(), step=None)


def _fixed(variable: Variable, value: Any, wish: VariableOverrides) -> Variable:
    place = f"fixed value of {variable.name!r}"
    if variable.kind in ("categorical", "levels") or (variable.kind == "binary" and value not in variable.levels):
        known = variable.allowed or variable.levels
        if value not in known:
            raise ConfigError(f"{place}: {value!r} is not one of its levels", near_or_all(str(value), map(str, known)))
    elif variable.kind != "binary":
        if not _is_number(value) or not np.isfinite(value):
            raise ConfigError(f"{place}: found {value!r}, expected {_expected(value)}")
        if wish.bounds is not None and not _inside(value, variable.pairs):
            text = " or ".join(span(low, high) for low, high in variable.pairs)
            wrong = f"{variable.name!r} is fixed at {typed(value)}, outside its bounds {text}"
            raise ConfigError(wrong, "change one of them")
        if variable.kind == "integer" and value != int(value):
            raise ConfigError(f"{place}: found {typed(value)}, expected a whole number")
        if variable.step and not variable.grid.holds(value):
            wrong = f"{typed(value)} is not on its step, {series(variable.step, variable.origin)} with a whole k"
            raise ConfigError(f"{place}: {wrong}", "change one of them")
        variable = replace(variable, lower=float(value), upper=float(value), ranges=())
    return replace(variable, fixed=value)


def series(step: float, origin: float) -> str:
    """Write the values of a step with a whole number k."""
    return f"{typed(origin)} + k·{typed(step)}" if origin else f"k·{typed(step)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.bool_)) and value == value


def _expected(value: Any) -> str:
    return "a finite number" if _is_number(value) else "a number"


def _inside(value: float, ranges: Sequence[tuple[float, float]]) -> bool:
    return any(low <= value <= high for low, high in ranges)


def _first(variable: Variable) -> str:
    return ", ".join(typed(level) for level in variable.levels[:10])
