"""What is wanted of the outputs, in the user's words and units."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.errors import ConfigError, near_match
from invdesign_core.goal import Goal
from invdesign_core.space import FloatArray

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_TOLERANCE = 0.02
"""Share of an output's training range by which it may miss and still count as met."""


@dataclass(frozen=True)
class Target:
    """What is wanted of one output, in the user's units.

    Attributes
    ----------
    lower, upper : float
        Equal for a set point; infinite where a side is open.
    weight : float
        How much a miss counts beside the other outputs'.
    tolerance : float, optional
        The miss that still counts as met; by default 2 % of the output's training range.
    """

    lower: float
    upper: float
    weight: float = 1.0
    tolerance: float | None = None

    def to_json(self) -> dict[str, float]:
        """Return the table that `parse_target` reads back."""
        if self.lower == self.upper:
            found = {"equals": self.lower}
        else:
            sides = {"at_least": self.lower, "at_most": self.upper}
            found = {key: value for key, value in sides.items() if np.isfinite(value)}
        found["weight"] = self.weight
        return found if self.tolerance is None else found | {"tolerance": self.tolerance}

    def __str__(self) -> str:
        if self.lower == self.upper:
            return f"= {self.lower:g}"
        if np.isinf(self.lower):
            return f"<= {self.upper:g}"
        if np.isinf(self.upper):
            return f">= {self.lower:g}"
        return f"= {self.lower:g}..{self.upper:g}"


_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_OPERATOR = re.compile(r"\s*(<=|>=|=)\s*")
_RANGE = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})")


def parse_number(text: str, place: str) -> float:
    """Read one finite number, or say where which text stood instead."""
    try:
        value = float(text)
    except ValueError:
        hint = "write the decimals after a point" if re.fullmatch(r"[+-]?\d+,\d+", text.strip()) else None
        raise ConfigError(f"{place}: found {text.strip()!r}, expected a number", hint) from None
    if not np.isfinite(value):
        raise ConfigError(f"{place}: found {text.strip()!r}, expected a finite number")
    return value


def parse_range(text: str, place: str) -> tuple[float, float]:
    """Read ``LOW..HIGH``.

    Raises
    ------
    ConfigError
        If the text is no range, or the ends are the wrong way round.
    """
    match = _RANGE.fullmatch(text.strip())
    if not match:
        raise ConfigError(f"{place}: found {text.strip()!r}, expected LOW..HIGH", "for example 0..1")
    low, high = float(match[1]), float(match[2])
    if low > high:
        raise ConfigError(
            f"{place}: the lower end {low:g} is above the upper end {high:g}",
            "write the smaller number first",
        )
    return low, high


def split_assignment(text: str, names: Sequence[str], place: str, what: str) -> tuple[str, str]:
    """Split ``NAME=VALUE``, ``NAME<=VALUE`` or ``NAME>=VALUE`` at a known name.

    A name may hold spaces, signs and ``=``: the longest known name that an operator follows is
    taken; a name in double quotes is taken as it stands.

    Parameters
    ----------
    text : str
        What the user wrote.
    names : sequence of str
        The names that exist.
    place : str
        Where it was written, for the message.
    what : str
        What the names are, for the message.

    Returns
    -------
    tuple of str
        The name, and the rest with a leading ``<=`` or ``>=`` kept.
    """
    text = text.strip()
    quoted = re.match(r'"([^"]*)"', text)
    found: list[tuple[str, str]] = []
    for name in [quoted[1]] if quoted else sorted(names, key=len, reverse=True):
        rest = text[quoted.end() :] if quoted else text[len(name) :] if text.startswith(name) else ""
        operator = _OPERATOR.match(rest)
        if operator and (not quoted or name in names):
            sign = "" if operator[1] == "=" else operator[1]
            found.append((name, sign + rest[operator.end() :]))
    if found:
        return found[0]
    guess = quoted[1] if quoted else re.split(r"<=|>=|=", text, maxsplit=1)[0].strip()
    if guess in names or not re.search(r"<=|>=|=", text):
        raise ConfigError(
            f"{place}: found {text!r}, expected NAME=VALUE", f"for example {names[0]}=1" if names else None
        )
    raise ConfigError(f"{place}: there is no {what} {guess!r}", near_match(guess, names))


def split_names(text: str, known: Sequence[str] | None = None) -> list[str]:
    """Split ``A,B`` into names; a name in double quotes, or one that is known, may hold a comma.

    Examples
    --------
    >>> split_names('H2,"a,b"')
    ['H2', 'a,b']
    """
    names: list[str] = []
    rest = text.strip()
    while rest:
        quoted = re.match(r'"([^"]*)"\s*(?:,|$)', rest)
        whole = [n for n in known or () if rest == n or rest.startswith(n + ",")]
        name = quoted[1] if quoted else max(whole, key=len) if whole else rest.split(",", 1)[0].strip()
        names.append(name)
        rest = rest[quoted.end() :] if quoted else rest[len(name) :] if whole else rest.partition(",")[2]
        rest = rest.lstrip().removeprefix(",").lstrip() if not quoted else rest.lstrip()
    return names


def parse_target(value: Any, place: str) -> Target:
    """Read what is wanted of one output.

    Parameters
    ----------
    value : number, str or mapping
        ``2``, ``"2"``, ``"<=0.34"``, ``">=0.3"``, ``"0.30..0.33"``, or a table with some of
        ``equals``, ``at_least``, ``at_most``, ``weight`` and ``tolerance``.
    place : str
        Where it was written, for the message.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    if isinstance(value, Target):
        return value
    if isinstance(value, Mapping):
        known = {"equals", "at_least", "at_most", "weight", "tolerance"}
        for key in value:
            if key not in known:
                raise ConfigError(f"{place}: there is no key {key!r}", near_match(str(key), known))
        numbers = {key: parse_number(str(item), f"{place}.{key}") for key, item in value.items()}
        if "equals" in numbers and len(numbers.keys() & {"at_least", "at_most"}):
            raise ConfigError(f"{place}: 'equals' contradicts 'at_least' and 'at_most'", "keep the one or the other")
        lower = numbers.get("equals", numbers.get("at_least", -np.inf))
        upper = numbers.get("equals", numbers.get("at_most", np.inf))
        if numbers.get("weight", 1.0) < 0 or numbers.get("tolerance", 0.0) < 0:
            raise ConfigError(f"{place}: weight and tolerance can't be negative")
        target = Target(lower, upper, numbers.get("weight", 1.0), numbers.get("tolerance"))
    elif isinstance(value, str):
        text = value.strip()
        if text.startswith("<="):
            target = Target(-np.inf, parse_number(text[2:], place))
        elif text.startswith(">="):
            target = Target(parse_number(text[2:], place), np.inf)
        elif ".." in text:
            target = Target(*parse_range(text, place))
        else:
            number = parse_number(text, place)
            target = Target(number, number)
    else:
        if isinstance(value, bool):
            raise ConfigError(f"{place}: found {value!r}, expected a number")
        number = parse_number(str(value), place)
        target = Target(number, number)
    if target.lower > target.upper:
        raise ConfigError(f"{place}: at least {target.lower:g} contradicts at most {target.upper:g}")
    if np.isinf(target.lower) and np.isinf(target.upper):
        raise ConfigError(f"{place}: nothing is wanted of it", "say equals, at_least or at_most, or leave it out")
    return target


def parse_targets(items: Iterable[str] | Mapping[str, Any], outputs: Sequence[str]) -> dict[str, Target]:
    """Read the targets of a command line or of a ``[targets]`` table.

    Parameters
    ----------
    items : sequence of str, or mapping
        ``["H2=0.33", "N2<=0.34"]``, ``["2"]`` where there is one output, or a mapping of output to
        what `parse_target` takes.
    outputs : sequence of str
        The outputs that exist.

    Raises
    ------
    ConfigError
        If a name is unknown or asked for twice, or a value can't be read.
    """
    if isinstance(items, Mapping):
        for name in items:
            if name not in outputs:
                raise ConfigError(f"targets: there is no output {name!r}", near_match(str(name), outputs))
        return {name: parse_target(value, f"target of {name!r}") for name, value in items.items()}
    targets: dict[str, Target] = {}
    for item in items:
        bare = item.strip()
        operator = re.match(r"<=|>=|=", bare)
        if operator or not re.search(r"<=|>=|=", bare):
            if len(outputs) != 1:
                raise ConfigError(
                    f"--target {item!r}: which of {len(outputs)} outputs?",
                    f"write NAME=VALUE, for example '{outputs[0]}={bare.lstrip('=')}'; the outputs are "
                    + ", ".join(map(repr, outputs)),
                )
            name, text = outputs[0], bare[1:] if bare.startswith("=") else bare
        else:
            name, text = split_assignment(item, outputs, f"--target {item!r}", "output")
        if name in targets:
            raise ConfigError(f"--target: {name!r} is asked for twice", "write a range as NAME=LOW..HIGH")
        targets[name] = parse_target(text, f"target of {name!r}")
    return targets


@dataclass(frozen=True)
class Targets:
    """t targets over m outputs, in the user's units.

    Attributes
    ----------
    outputs : tuple of str
        The m outputs.
    lower, upper, weight, tolerance : ndarray
        (t, m) each; weight 0 where an output is free.
    """

    outputs: tuple[str, ...]
    lower: FloatArray
    upper: FloatArray
    weight: FloatArray
    tolerance: FloatArray

    @classmethod
    def build(cls, rows: Sequence[Mapping[str, Target]], outputs: Sequence[str], spread: FloatArray) -> Targets:
        """Lay out targets as arrays.

        Parameters
        ----------
        rows : sequence of mappings
            What is wanted, one mapping a target.
        outputs : sequence of str
            The m outputs.
        spread : ndarray
            (m,) the outputs' training ranges, of which the default tolerance is a share.
        """
        shape = (len(rows), len(outputs))
        lower, upper = np.full(shape, -np.inf), np.full(shape, np.inf)
        weight, tolerance = np.zeros(shape), np.tile(DEFAULT_TOLERANCE * spread, (shape[0], 1))
        for t, row in enumerate(rows):
            for name, target in row.items():
                m = list(outputs).index(name)
                lower[t, m], upper[t, m], weight[t, m] = target.lower, target.upper, target.weight
                if target.tolerance is not None:
                    tolerance[t, m] = target.tolerance
        return cls(tuple(outputs), lower, upper, weight, tolerance)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, outputs: Sequence[str], spread: FloatArray) -> Targets:
        """Read a table of targets: a number or text such as ``<=0.3`` in an output's column; empty is free.

        Parameters
        ----------
        frame : pandas.DataFrame
            t rows; columns that are no outputs are not looked at.
        outputs : sequence of str
            The m outputs.
        spread : ndarray
            (m,) the outputs' training ranges, of which the default tolerance is a share.

        Raises
        ------
        ConfigError
            If a cell can't be read, or a row asks for nothing.
        """
        import pandas as pd

        shape = (len(frame), len(outputs))
        lower, upper = np.full(shape, -np.inf), np.full(shape, np.inf)
        for m, name in enumerate(outputs):
            if name not in frame.columns:
                continue
            column = frame[name]
            if pd.api.types.is_numeric_dtype(column.dtype):
                wanted = column.to_numpy(dtype=np.float64, na_value=np.nan)
                infinite = np.isinf(wanted)
                if infinite.any():
                    raise ConfigError(f"targets, column {name!r}, row {int(np.argmax(infinite)) + 1}: found infinity")
                given = np.isfinite(wanted)
                lower[given, m] = upper[given, m] = wanted[given]
                continue
            for t in np.flatnonzero(column.notna().to_numpy()):  # text, such as ranges: read cell by cell
                target = parse_target(str(column.iloc[t]), f"targets, column {name!r}, row {t + 1}")
                lower[t, m], upper[t, m] = target.lower, target.upper
        asked = np.isfinite(lower) | np.isfinite(upper)
        if not asked.any(axis=1).all():
            raise ConfigError(f"targets, row {int(np.argmin(asked.any(axis=1))) + 1}: no output is asked for")
        return cls(
            tuple(outputs), lower, upper, asked.astype(np.float64), np.tile(DEFAULT_TOLERANCE * spread, (shape[0], 1))
        )

    def take(self, rows: slice) -> Targets:
        """Return some of the targets."""
        parts = (self.lower, self.upper, self.weight, self.tolerance)
        return Targets(self.outputs, *(part[rows] for part in parts))

    def __len__(self) -> int:
        """Return the number t of targets."""
        return len(self.lower)

    @property
    def asked(self) -> NDArray[np.bool_]:
        """(t, m) whether anything is wanted of an output."""
        return np.isfinite(self.lower) | np.isfinite(self.upper)

    def goal(self, shift: FloatArray, scale: FloatArray) -> Goal:
        """Return the same in z, where ``y = shift + scale * z``."""
        return Goal((self.lower - shift) / scale, (self.upper - shift) / scale, self.weight)

    def miss(self, y: FloatArray, rows: NDArray[np.intp]) -> FloatArray:
        """Return the signed misses of (r, m) outputs, in the user's units; row i has target rows[i]."""
        lower, upper = self.lower[rows], self.upper[rows]
        return np.maximum(y - upper, 0.0) - np.maximum(lower - y, 0.0)

    def met(self, y: FloatArray, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Return (r, m) whether each output is met within its tolerance; a NaN never is."""
        inside = np.abs(self.miss(y, rows)) <= self.tolerance[rows] * (1 + 1e-12)
        return np.asarray(inside | ~self.asked[rows])
