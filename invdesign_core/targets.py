"""What is wanted of outputs and inputs: from the user's words to the numbers that a search and its objective see."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from invdesign_core.errors import ConfigError, near_match, near_or_all, require
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.digits import given, typed
from invdesign_core.space.sizes import FAR, check_size
from invdesign_core.space.text import parse_number, split_assignment
from invdesign_core.space.units import NO_UNITS, PLAIN_NUMBERS, Numbers, Units

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.space.space import Space
    from invdesign_core.space.variables import Variable

Tensor = Any
"""A tensor of the running Keras backend."""
DEFAULT_TOLERANCE = 0.02
"""Share of an output's training range by which it may miss a set point and still count as met."""
ROUNDOFF = 1e-6
"""Share of the range that single precision can't resolve: what oversteps a limit by less lies on it."""
LIMIT_MARGIN = 1e-4
"""Share of the range by which the search aims inside limits, where more would cost something."""
MARGIN = 0.01
"""Share of the range by which it aims inside limits where nothing else is wanted."""
EXTREMUM_OFFSET = 2.0
"""Where a maximum is looked for first: so many ranges above the mean, which is a range beyond the best row at least."""
GOALS: dict[str, Literal["max", "min", "free"]] = {
    "max": "max",
    "maximise": "max",
    "maximize": "max",
    "maximum": "max",
    "min": "min",
    "minimise": "min",
    "minimize": "min",
    "minimum": "min",
    "free": "free",
}
"""Words for what no number says."""
WEIGHTS = 1e-9, 1e9
"""Between which single precision tells weights apart."""
KEYS = ("equals", "at_least", "at_most", "goal", "weight", "tolerance")
"""Keys of a target that is written as a table."""


@dataclass(frozen=True)
class Prediction:
    """What the surrogate answers for r designs.

    Attributes
    ----------
    mean : (r, m) array or tensor
        Mean over the members.
    std : (r, m) array or tensor, optional
        Standard deviation over the members, with what they know of their own; None for one that knows nothing.
    """

    mean: Tensor
    std: Tensor | None = None


@dataclass(frozen=True)
class Goal:
    """The wanted interval of each output, in standardised units z.

    Attributes
    ----------
    lower, upper : (t, m) arrays on the host, (r, m) tensors inside an objective
        Equal for a set point, infinite where a side is open.
    weight : (t, m) or (r, m)
        0 for an output that is free.
    outputs : tuple of str
        The names of the m outputs inside an objective; empty elsewhere.
    """

    lower: Tensor
    upper: Tensor
    weight: Tensor
    outputs: tuple[str, ...] = ()

    def miss(self, z: Tensor) -> Tensor:
        """Return the signed distance of (r, m) outputs outside the interval: negative below, 0 inside."""
        if isinstance(z, np.ndarray):
            return np.maximum(z - self.upper, 0.0) - np.maximum(self.lower - z, 0.0)
        from keras import ops

        return ops.maximum(z - self.upper, 0.0) - ops.maximum(self.lower - z, 0.0)

    def take(self, rows: NDArray[np.intp]) -> Goal:
        """Return the goal of some rows."""
        return Goal(self.lower[rows], self.upper[rows], self.weight[rows], self.outputs)


@dataclass(frozen=True)
class Target:
    """What is wanted of one output, in the user's units: a set point has equal bounds, an open side an infinite one."""

    lower: float = -np.inf
    upper: float = np.inf
    weight: float = 1.0
    tolerance: float | None = None
    goal: Literal["max", "min"] | None = None
    label: Any = None
    """The label that a category among the inputs is to have."""

    @property
    def limited(self) -> bool:
        """Whether a number has to lie in an interval."""
        return bool(np.isfinite(self.lower) or np.isfinite(self.upper))

    @property
    def free(self) -> bool:
        """Whether nothing is wanted."""
        return self.goal is None and self.label is None and not self.limited

    def to_json(self) -> dict[str, Any]:
        """Return the table that `parse_targets` reads back."""
        if self.free:
            return {"goal": "free"}
        if self.label is not None:
            return {"equals": self.label}
        found: dict[str, Any] = {} if self.goal is None else {"goal": self.goal}
        if self.lower == self.upper:
            found["equals"] = self.lower
        else:
            sides = {"at_least": self.lower, "at_most": self.upper}
            found |= {key: value for key, value in sides.items() if np.isfinite(value)}
        found["weight"] = self.weight
        return found if self.tolerance is None else found | {"tolerance": self.tolerance}

    def __str__(self) -> str:
        sides = [
            f"{sign} {_shown(side)}" for sign, side in ((">=", self.lower), ("<=", self.upper)) if np.isfinite(side)
        ]
        if self.label is not None:
            text = f"= {self.label}"
        elif self.goal is not None:
            text = ", ".join([f"= {self.goal}", *sides])
        elif self.lower == self.upper:
            text = f"= {_shown(self.lower)}"
        else:
            both = f"= {_shown(self.lower)}..{_shown(self.upper)}"
            text = both if len(sides) == 2 else sides[0] if sides else "= free"
        return text if self.tolerance is None else f"{text} tolerance {_shown(self.tolerance)}"


def _shown(value: float) -> str:
    """Write a number as it was typed, or, where it was computed from another unit, to six digits."""
    return given(value, 1e-5 * abs(value))


_EXTRA = re.compile(r"(?P<rest>.*\S)\s+(?P<key>tolerance|weight)\s+(?P<number>\S.*)", re.S)
_EITHER_SIDE = re.compile(r"\s*(?:±|\+/?-)\s*")


def parse_target(value: Any, place: str, numbers: Numbers = PLAIN_NUMBERS) -> Target:
    """Read a number, a table with some of `KEYS`, or text such as ``<=0.3`` or ``0.3..0.4 tolerance 0.1 weight 2``.

    `numbers` says how those of the column are read, which may come in another unit than its own.
    """
    if isinstance(value, Target):
        return value
    if isinstance(value, Mapping):
        return _of_table(value, place, numbers)
    if hasattr(value, "magnitude") and hasattr(value, "units"):  # a quantity of pint's
        value = f"{value.magnitude} {value.units}"
    pair = isinstance(value, list | tuple) and len(value) == 2
    hint = f"write a range as text: '{value[0]}..{value[1]}'" if pair else None
    require(value, (str, Real, Decimal), place, "a number, or text such as '<=1', '1..2' or 'max'", hint)
    text = _EITHER_SIDE.sub(" tolerance ", str(value)).strip().removeprefix("=").strip()
    extra: dict[str, Any] = {}
    while match := _EXTRA.fullmatch(text):
        key, where = match["key"], f"{place}, {match['key']}"
        if key in extra:
            raise ConfigError(f"{place}: {key!r} appears twice", "remove one of them")
        read = numbers.difference if key == "tolerance" else parse_number
        extra[key] = read(match["number"], where)
        text = match["rest"]
    return _of_table(_word(text, place, numbers) | extra, place)


def _word(text: str, place: str, numbers: Numbers) -> dict[str, Any]:
    """Return the table that says the same as a word."""
    if text.startswith("<="):
        return {"at_most": numbers.value(text[2:], place)}
    if text.startswith(">="):
        return {"at_least": numbers.value(text[2:], place)}
    if one_sided := re.fullmatch(r"(=?[<>≤≥]|[<>])\s*(.*)", text, re.S):
        sign = "<=" if one_sided[1][-1] in "<≤" else ">="
        raise ConfigError(f"{place}: found {text!r}, expected <= or >= before a number", f"write {sign}{one_sided[2]}")
    if ".." in text:
        lower, upper = numbers.ends(text, place)
        return {"at_least": lower, "at_most": upper}
    if text.lower() in GOALS:
        return {"goal": text}
    if re.fullmatch(r"[^\W\d]{3,}", text) and text.lower() not in ("nan", "inf", "infinity"):
        near = near_match(text.lower(), GOALS)
        raise ConfigError(f"{place}: found {text!r}, expected a number, LOW..HIGH, max, min or free", near)
    if between := re.fullmatch(r"([\d.]+)\s*(?:-|–|:|to)\s*([\d.]+)", text):
        raise ConfigError(
            f"{place}: found {text!r}, expected a number, or LOW..HIGH", f"write {between[1]}..{between[2]}"
        )
    return {"equals": numbers.value(text, place)}


def _of_table(table: Mapping[str, Any], place: str, read: Numbers = PLAIN_NUMBERS) -> Target:
    """Read a target's table, and refuse one that can't be meant."""
    for key in table:
        if key not in KEYS:
            raise ConfigError(f"{place}: there is no key {key!r}", near_match(str(key), KEYS))
    goal = None
    if "goal" in table:
        goal = GOALS.get(str(table["goal"]).lower())
        if goal is None:
            hint = near_match(str(table["goal"]).lower(), GOALS)
            raise ConfigError(f"{place}.goal: found {table['goal']!r}, expected max, min or free", hint)
    how = {"weight": parse_number, "tolerance": read.difference}
    numbers = {
        key: how.get(key, read.value)(str(item), f"{place}.{key}") for key, item in table.items() if key != "goal"
    }
    limits = numbers.keys() & {"equals", "at_least", "at_most"}
    if "equals" in limits and (len(limits) > 1 or goal in ("max", "min")):
        others = "'at_least' and 'at_most'" if len(limits) > 1 else f"the goal {goal!r}"
        raise ConfigError(f"{place}: 'equals' contradicts {others}", "use only one of them")
    if goal == "free":
        if numbers:
            raise ConfigError(f"{place}: {min(numbers)!r} has no effect on a free output", "remove it")
        return Target()
    if goal is None and not limits:
        raise ConfigError(
            f"{place}: no value, limit or goal is given", "give equals, at_least, at_most or goal, or remove it"
        )
    if goal is not None and not limits and "tolerance" in numbers:
        raise ConfigError(
            f"{place}: a tolerance is for values that can be missed, and {goal} can't be", "leave the tolerance out"
        )
    lower = numbers.get("equals", numbers.get("at_least", -np.inf))
    upper = numbers.get("equals", numbers.get("at_most", np.inf))
    weight, tolerance = numbers.get("weight", 1.0), numbers.get("tolerance")
    for key, number in numbers.items():
        if key != "weight":
            check_size(number, f"{place}.{key}")
    if (tolerance or 0.0) < 0:
        raise ConfigError(f"{place}: weight and tolerance can't be negative")
    if not WEIGHTS[0] <= weight <= WEIGHTS[1]:
        raise ConfigError(
            f"{place}: found the weight {typed(weight)}, expected one from {WEIGHTS[0]:.0e} to {WEIGHTS[1]:.0e}",
            "leave the target out, or make it free" if weight == 0 else "what counts is their ratio; 1 is usual",
        )
    if lower > upper:
        raise ConfigError(f"{place}: at least {typed(lower)} contradicts at most {typed(upper)}")
    return Target(lower, upper, weight, tolerance, goal)


def parse_targets(
    items: Iterable[str] | Mapping[str, Any],
    outputs: Sequence[str],
    base: Mapping[str, Target] | None = None,
    space: Space | None = None,
    units: Units = NO_UNITS,
    derived: Collection[str] = (),
) -> dict[str, Target]:
    """Read the items of ``--target``, or a ``[targets]`` table, over those of `base`; what is freed is left out.

    With a `space`, targets may be about its inputs too, and about `derived` quantities.
    Numbers may come in other units than the columns' own.
    """
    items = [items] if isinstance(items, str) else items
    example = "for example ['y=1'], or a mapping such as {'y': 1}"
    require(items, Iterable, "targets", "a list of texts or a mapping", example)
    inputs = {} if space is None else {variable.name: variable for variable in space.variables}
    names, targets = [*outputs, *derived, *(n for n in inputs if n not in outputs)], dict[str, Target]()
    what = "output or input" if inputs else "output"
    if isinstance(items, Mapping):
        given = [(str(name), value) for name, value in items.items()]
    else:
        given = []
        for item in items:
            require(item, str, "targets", "texts as --target takes them", example)
            given.append(_split(item, outputs, [*names, *units.short], what))
    for name, value in ((units.name(name), value) for name, value in given):
        place = f"target of {name!r}"
        if name not in names:
            raise ConfigError(f"targets: there is no {what} {name!r}", near_or_all(name, names))
        if name in targets:
            raise ConfigError(f"--target: {name!r} is given twice", "write a range as NAME=LOW..HIGH")
        if name in inputs and name in outputs:
            raise ConfigError(f"{place}: an input and an output have this name", "rename one of them")
        read = units.numbers(name)
        targets[name] = (
            _of_input(value, inputs[name], place, read) if name in inputs else parse_target(value, place, read)
        )
    merged = {**(base or {}), **targets}
    return {name: target for name, target in merged.items() if not target.free}


def _of_input(value: Any, variable: Variable, place: str, read: Numbers) -> Target:
    """Read what is wanted of an input: a goal, limits, or a value that it is to have."""
    if isinstance(value, Target):
        return value
    if variable.kind in ("categorical", "binary"):
        wanted = value["equals"] if isinstance(value, Mapping) and list(value) == ["equals"] else value
        word = wanted.strip().removeprefix("=").strip() if isinstance(wanted, str) else wanted
        levels = {str(level): level for level in variable.levels}
        for label in variable.levels:
            if label == word or str(label) == str(word):
                return Target(label=label)
        if GOALS.get(str(word).lower()) == "free":
            return Target()
        if variable.levels != (0, 1) or GOALS.get(str(word).lower()) is None:
            raise ConfigError(
                f"{place}: found {word!r}; the input is a category, which can only be given one of its labels",
                f"for example {variable.name}={variable.levels[0]}; {near_or_all(str(word), levels)}",
            )
    target = parse_target(value, place, read)
    if target.tolerance is not None:
        raise ConfigError(f"{place}: an input is chosen, so it needs no tolerance", "write a range, LOW..HIGH")
    if target.goal is None and target.weight != 1:
        raise ConfigError(f"{place}: what an input is limited to always holds", "leave the weight out")
    return target


def _split(item: str, outputs: Sequence[str], names: Sequence[str], what: str) -> tuple[str, str]:
    """Split a target of the command line into its output or input and what is wanted of it."""
    bare = item.strip()
    named = any(re.match(re.escape(name) + r"\s*(<=|>=|=)", bare) for name in names)  # one may begin with a sign
    if named or (re.search(r"<=|>=|=", bare) and not re.match(r"<=|>=|=", bare)):
        return split_assignment(item, names, f"--target {item!r}", what)
    for name in sorted(names, key=len, reverse=True):
        rest = bare.removeprefix(name).lstrip()
        if bare.startswith(name) and rest[:1] in ("<", ">", "≤", "≥"):
            return name, rest  # refused where it is read, with the sign that is meant
    if len(outputs) != 1:
        example = "2" if bare.startswith(tuple(names)) else bare.lstrip("=")
        raise ConfigError(
            f"--target {item!r}: there are {len(outputs)} outputs; name the one this target is for",
            f"write NAME=VALUE, for example '{outputs[0]}={example}'; the outputs are " + ", ".join(map(repr, outputs)),
        )
    return outputs[0], bare.removeprefix("=")


def check_targets(targets: Targets, middle: FloatArray) -> None:
    """Refuse targets so far from the (m,) middles of the measured outputs that no model can tell how far."""
    reach = FAR * np.where(targets.spread > 0, targets.spread, np.maximum(np.abs(middle), 1.0))
    for side in (targets.lower, targets.upper):
        away = np.where(np.isfinite(side), np.abs(side - middle), 0.0)
        for t, m in zip(*np.nonzero(away > reach), strict=True):
            row = f", row {t + 1}" if len(targets) > 1 else ""
            raise ConfigError(
                f"target of {targets.outputs[m]!r}{row}: {typed(float(side[t, m]))} lies more than {FAR:.0e} times the "
                "range of the measured values away from them",
                "no model says anything so far away: is the unit right?",
            )


@dataclass(frozen=True)
class Targets:
    """t targets over m outputs, in the user's units: (t, m) arrays, and the (m,) training ranges as `spread`."""

    outputs: tuple[str, ...]
    lower: FloatArray
    upper: FloatArray
    weight: FloatArray
    """0 where an output is free."""
    tolerance: FloatArray
    """The miss that counts as met: by default a share of the range for a set point, 0 for a limit or a range."""
    direction: NDArray[np.int8]
    """1 where an output is to be maximised, -1 where it is to be minimised, else 0."""
    spread: FloatArray
    exact: tuple[str, ...] = ()
    """Outputs that are computed and not predicted: a limit on one holds to the last digit."""
    hard: tuple[str, ...] = ()
    """Outputs whose limits are constraints: they come before all else that is wanted."""

    @classmethod
    def build(cls, rows: Sequence[Mapping[str, Target]], outputs: Sequence[str], spread: FloatArray) -> Targets:
        """Lay out one mapping of output to target a row as arrays."""
        found = cls._free(len(rows), outputs, spread)
        for t, row in enumerate(rows):
            for name, target in row.items():
                found._put(np.array([t]), found.outputs.index(name), target)
        return found

    @classmethod
    def from_frame(
        cls, frame: pd.DataFrame, outputs: Sequence[str], spread: FloatArray, units: Units = NO_UNITS
    ) -> Targets:
        """Read a table of targets: a number or a word such as ``<=0.3`` in an output's column; empty is free."""
        import pandas as pd

        found = cls._free(len(frame), outputs, spread)
        for m, name in enumerate(outputs):
            if name not in frame.columns:
                continue
            column = frame[name]
            if pd.api.types.is_bool_dtype(column.dtype):
                raise ConfigError(
                    f"targets, column {name!r}, row 1: found {bool(column.iloc[0])}, expected a number or a word such "
                    "as '<=0.3'",
                    "write 1 for true and 0 for false",
                )
            if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column.dtype):
                wanted = column.to_numpy(dtype=np.float64, na_value=np.nan)
                infinite = np.isinf(wanted)
                if infinite.any():
                    raise ConfigError(f"targets, column {name!r}, row {int(np.argmax(infinite)) + 1}: found infinity")
                given = np.isfinite(wanted)
                found.lower[given, m] = found.upper[given, m] = wanted[given]
                found.weight[given, m], found.tolerance[given, m] = 1.0, DEFAULT_TOLERANCE * spread[m]
                continue
            codes, texts = pd.factorize(column)
            for code, text in enumerate(texts):  # as many as there are different texts
                rows = np.flatnonzero(codes == code)
                place = f"targets, column {name!r}, row {rows[0] + 1}"
                found._put(rows, m, parse_target(str(text), place, units.numbers(name)))
        asked = found.asked.any(axis=1)
        if not asked.all():
            raise ConfigError(f"targets, row {int(np.argmin(asked)) + 1}: no output has a target")
        return found._compact()

    def _compact(self) -> Targets:
        """Return the same in less memory: what is alike in all rows once, and set points once for both sides."""
        less: dict[str, Any] = {
            name: np.broadcast_to(array[:1], array.shape)
            for name in ("weight", "tolerance", "direction")
            if ((array := getattr(self, name)) == array[:1]).all()
        }
        return replace(self, **less, upper=self.lower if np.array_equal(self.lower, self.upper) else self.upper)

    @classmethod
    def _free(cls, count: int, outputs: Sequence[str], spread: FloatArray) -> Targets:
        """Return targets that ask for nothing yet."""
        shape = (count, len(outputs))
        lower, upper = np.full(shape, -np.inf), np.full(shape, np.inf)
        weight, tolerance, direction = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int8)
        return cls(tuple(outputs), lower, upper, weight, tolerance, direction, spread)

    def _put(self, rows: NDArray[np.intp], m: int, target: Target) -> None:
        """Ask some rows for one output; only while the arrays are being laid out."""
        if target.free:
            return
        self.lower[rows, m], self.upper[rows, m], self.weight[rows, m] = target.lower, target.upper, target.weight
        self.direction[rows, m] = {"max": 1, "min": -1, None: 0}[target.goal]
        if target.tolerance is not None:
            self.tolerance[rows, m] = target.tolerance
        elif target.lower == target.upper:
            self.tolerance[rows, m] = DEFAULT_TOLERANCE * self.spread[m]

    def constrained(self, limits: Mapping[str, Target], exact: Sequence[str]) -> Targets:
        """Return the same with limits that every design has to keep, of some of the outputs that are `exact`."""
        own: dict[str, Any] = {name: getattr(self, name).copy() for name in ("lower", "upper", "weight")}
        found = replace(self, **own, exact=tuple(exact), hard=tuple(limits))
        for name, limit in limits.items():
            m = found.outputs.index(name)
            found.lower[:, m], found.upper[:, m], found.weight[:, m] = limit.lower, limit.upper, 1.0
        return found

    def take(self, rows: slice | NDArray[np.intp]) -> Targets:
        """Return some of the targets."""
        by_row = ("lower", "upper", "weight", "tolerance", "direction")
        return replace(self, **{name: getattr(self, name)[rows] for name in by_row})

    @cached_property
    def kinds(self) -> Targets:
        """One target of each kind: those of a kind have limits and extrema of the same outputs."""
        pattern = np.packbits(np.hstack([self.limited, self.asked]), axis=1)
        return self.take(np.sort(np.unique(pattern, axis=0, return_index=True)[1]))

    def __len__(self) -> int:
        """Return the number t of targets."""
        return len(self.lower)

    @property
    def extremum(self) -> NDArray[np.bool_]:
        """(t, m) whether an output is to be maximised or minimised."""
        return np.asarray(self.direction != 0)

    @property
    def limited(self) -> NDArray[np.bool_]:
        """(t, m) whether an output has to stay inside an interval."""
        return np.isfinite(self.lower) | np.isfinite(self.upper)

    @property
    def asked(self) -> NDArray[np.bool_]:
        """(t, m) whether anything is wanted of an output."""
        return self.limited | self.extremum

    @property
    def open(self) -> NDArray[np.bool_]:
        """(t, m) whether an output has to stay inside an interval of some length."""
        return self.limited & (self.lower < self.upper)

    @property
    def must(self) -> NDArray[np.bool_]:
        """(t, m) which limits have to hold before all else: those beside an extremum, and constraints."""
        beside = self.extremum.any(axis=1, keepdims=True) | np.isin(self.outputs, self.hard)
        return np.asarray(beside & self.limited & (self.weight > 0))

    def margin(self, near: bool) -> FloatArray:
        """Return the (t, 1) shares of the ranges by which to aim inside limits: less where it costs something."""
        costs = near | (self.asked & ~self.open).any(axis=1, keepdims=True) | self.extremum.any(axis=1, keepdims=True)
        return np.where(costs, LIMIT_MARGIN, MARGIN)

    def limits(self, shift: FloatArray, scale: FloatArray, inside: FloatArray | float = 0.0) -> Goal:
        """Return the intervals in z, but no extrema; open ends are moved `inside` by shares of the training ranges."""
        inset = np.where(self.open, np.minimum(inside * self.spread, (self.upper - self.lower) / 4), 0.0)
        lower, upper = (self.lower + inset - shift) / scale, (self.upper - inset - shift) / scale
        return Goal(lower, upper, np.where(self.limited, self.weight, 0.0))

    def goal(
        self, shift: FloatArray, scale: FloatArray, ideal: FloatArray | None = None, inside: FloatArray | float = 0.0
    ) -> Goal:
        """Return `limits`, and for an extremum an interval beyond reach, (t, m) `ideal` ranges from the mean."""
        limits = self.limits(shift, scale, inside)
        far = (EXTREMUM_OFFSET if ideal is None else ideal) * np.where(self.spread > 0, self.spread / scale, 1.0)
        lower = np.where(self.direction > 0, np.minimum(far, limits.upper), limits.lower)
        upper = np.where(self.direction < 0, np.maximum(-far, limits.lower), limits.upper)
        return Goal(lower, upper, self.weight)

    def miss(self, y: FloatArray, rows: NDArray[np.intp]) -> FloatArray:
        """Return the signed misses of (r, m) outputs, in the user's units; row i has target rows[i]."""
        lower, upper = self.lower[rows], self.upper[rows]
        return np.maximum(y - upper, 0.0) - np.maximum(lower - y, 0.0)

    def met(self, y: FloatArray, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return (r, m) whether each output is met within its tolerance and single precision; a NaN never is."""
        resolved = np.where(np.isin(self.outputs, self.exact), 0.0, ROUNDOFF * self.spread)
        allowed = np.maximum(self.tolerance[rows] * (1 + 1e-12), np.where(self.open[rows], resolved, 0.0))
        inside = np.abs(self.miss(y, rows)) <= allowed
        return np.asarray(inside | ~self.asked[rows])

    def excess(self, y: FloatArray, rows: NDArray[np.intp]) -> FloatArray:
        """Return (r, m) how far limits beside an extremum are overstepped: signed, in shares of the training ranges.

        An extremum would else take all that tolerances leave, so a set point holds within a tenth of its own.
        """
        tolerance, spread = self.tolerance[rows], np.where(self.spread > 0, self.spread, 1.0)
        near = np.minimum(tolerance, np.maximum(tolerance / 10, LIMIT_MARGIN * spread))
        slack = np.where(self.lower[rows] == self.upper[rows], near, 0.0)
        miss = self.miss(y, rows)
        return np.where(self.must[rows], np.sign(miss) * np.maximum(np.abs(miss) - slack, 0.0) / spread, 0.0)
