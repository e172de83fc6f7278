"""One design variable: its kind, the values that exist, and the way to numbers and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from invdesign_core.errors import ConfigError, DataError, near_or_all, require
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.digits import EvenGrid, given, span, typed

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["continuous", "integer", "binary", "categorical", "levels"]
Scale = Literal["linear", "log"]


@dataclass(frozen=True)
class Variable:
    """One design variable.

    Attributes
    ----------
    name : str
        As the user wrote it.
    kind : str
        ``continuous``, ``integer``, ``binary`` (two `levels`, encoded 0 and 1), ``categorical``
        (labels, encoded one-hot) or ``levels`` (numbers, of which only the listed ones exist).
    lower, upper : float
        Bounds in the user's units; unused for categories.
    levels : tuple
        The labels or numbers that exist; for a binary variable what 0 and 1 stand for.
    fixed : object, optional
        The one value that this variable may take.
    step : float, optional
        Only values whole steps from `origin` exist; for continuous and integer variables.
    origin : float
        Where steps count from.
    ranges : tuple of pairs
        Ranges of a continuous variable, where it has several; its bounds are the outermost.
    scale : str
        ``linear``, or ``log``: the search moves in the variable's logarithm.
    allowed : tuple
        The labels of a category that this search may take; empty for all.
    condition : bool
        Whether it is measured and not chosen, so that a search has to be told its value.
    """

    name: str
    kind: Kind = "continuous"
    lower: float = -np.inf
    upper: float = np.inf
    levels: tuple[Any, ...] = ()
    fixed: Any = None
    step: float | None = None
    origin: float = 0.0
    ranges: tuple[tuple[float, float], ...] = ()
    scale: Scale = "linear"
    allowed: tuple[Any, ...] = ()
    condition: bool = False

    def __post_init__(self) -> None:
        place = f"design variable {self.name!r}"
        require(self.name, str, place, "a name")
        if self.kind not in get_args(Kind):
            raise ConfigError(f"{place}: there is no kind {self.kind!r}", near_or_all(str(self.kind), get_args(Kind)))
        for end in (self.lower, self.upper):
            require(end, (int, float, np.number), f"bounds of {self.name!r}", "numbers")
        if self.kind in ("categorical", "levels") and not len(self.levels):
            raise ConfigError(
                f"{place}: a {self.kind} variable needs the values that exist", "for example levels=(1, 2)"
            )
        levels, ends = self.levels, (self.lower, self.upper)
        if self.kind == "binary":
            levels, ends = levels or (0, 1), (0.0, 1.0)
        if self.kind == "levels":
            number: type = int if all(isinstance(level, (int, np.integer)) for level in levels) else float
            levels = tuple(sorted({number(level) for level in levels}))
            ends = float(levels[0]), float(levels[-1])
        if self.ranges:
            ends = self.ranges[0][0], self.ranges[-1][1]
        for key, value in (("levels", levels), ("lower", ends[0]), ("upper", ends[1])):
            object.__setattr__(self, key, value)
        if self.kind != "categorical" and not self.lower <= self.upper:
            wrong = f"the lower bound {typed(self.lower)} is above the upper bound {typed(self.upper)}"
            raise ConfigError(f"bounds of {self.name!r}: {wrong}", "write the smaller number first")
        if self.scale == "log" and not self.lower > 0 and np.isfinite(self.lower):
            wrong = f"its lowest value is {typed(self.lower)}, expected one above 0"
            hint = "give it bounds above 0, or leave its scale linear"
            raise ConfigError(f"log scale of {self.name!r}: {wrong}", hint)

    @property
    def width(self) -> int:
        """Number of encoded columns."""
        return len(self.levels) if self.kind == "categorical" else 1

    @property
    def discrete(self) -> bool:
        """Whether only some values exist."""
        return self.kind != "continuous" or self.step is not None

    @property
    def count(self) -> int | None:
        """How many values exist; None where there is a continuum."""
        if self.fixed is not None:
            return 1
        if self.kind == "categorical":
            return len(self._labels)
        if self.kind in ("binary", "levels"):
            return len(self.levels)
        if self.discrete:
            return self.grid.count
        return 1 if self.lower == self.upper else None

    @property
    def ordered(self) -> bool:
        """Whether its values are numbers in an order."""
        return self.kind != "categorical"

    @property
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """Its ranges, or its bounds where it has but one."""
        return self.ranges or ((self.lower, self.upper),)

    @property
    def span(self) -> str:
        """Its values in words."""
        if self.fixed is not None:
            return typed(self.fixed)
        if self.kind == "categorical":
            return ", ".join(map(str, self._labels))
        if self.kind == "levels" and len(self.levels) <= 10:
            return ", ".join(given(level, 1e-6 * (self.upper - self.lower)) for level in self.levels)
        pairs = self.pairs
        if self.step and np.isfinite(pairs).all():  # what exists, not what limits it
            pairs = ((float(self.bounds()[0][0]), float(self.bounds()[1][0])),)
        text = " or ".join(span(low, high) for low, high in pairs)
        return text + (f" by {typed(self.step)}" if self.step else "") + (", log scale" if self.scale == "log" else "")

    def encode(self, values: Sequence[Any] | NDArray[Any]) -> FloatArray:
        """Turn (n,) values as the user writes them into (n, width) numbers."""
        if self.kind == "categorical" or (self.kind == "binary" and self.levels != (0, 1)):
            index = {level: position for position, level in enumerate(self.levels)}
            try:
                codes = np.array([index[value] for value in values], dtype=np.intp)
            except (KeyError, TypeError):  # the second where it can be no key, as a list
                wrong = next(value for value in values if value not in list(self.levels))
                hint = near_or_all(str(wrong), map(str, self.levels))
                raise DataError(f"{self.name!r} has no level {wrong!r}", hint) from None
            return codes.astype(np.float64)[:, None] if self.kind == "binary" else np.eye(len(self.levels))[codes]
        try:
            return np.asarray(values, dtype=np.float64)[:, None]
        except (TypeError, ValueError):
            wrong = next(value for value in values if not _is_number(value))
            expected = "True or False" if self.kind == "binary" else "a number"
            raise DataError(f"{self.name!r}: found {wrong!r}, expected {expected}") from None

    def index(self, columns: FloatArray) -> IndexArray:
        """Return the (n,) numbers, counted from 0, of the existing values nearest to (n, width) encoded columns."""
        if self.kind == "categorical":
            return np.asarray(np.argmax(columns[:, self._places], axis=1))
        if self.kind == "levels":
            return np.asarray(np.argmin(np.abs(columns - np.array(self.levels, dtype=np.float64)), axis=1))
        return self.grid.index(columns[:, 0])

    def at(self, index: IndexArray) -> FloatArray:
        """Return the (n, width) encoded columns of existing values by their numbers."""
        if self.kind == "categorical":
            return np.eye(self.width)[self._places[index]]
        if self.kind == "levels":
            return np.array(self.levels, dtype=np.float64)[index][:, None]
        return self.grid.at(index)[:, None]

    def decode(self, columns: FloatArray) -> list[Any]:
        """Turn (n, width) snapped columns into values as the user writes them."""
        if self.kind == "categorical":
            return [self.levels[i] for i in np.argmax(columns, axis=1)]
        numbers = columns[:, 0]
        if self.kind == "binary":
            return [self.levels[int(v)] for v in numbers]
        if self.kind == "integer" or (self.kind == "levels" and isinstance(self.levels[0], int)):
            return [int(v) for v in numbers]
        return [float(v) for v in numbers]

    def numbers_as_measured(self, numbers: FloatArray) -> list[float | int]:
        """Write (n,) numbers as they are: whole ones as such where the variable has whole numbers."""
        whole = self.kind == "integer" or (self.kind == "levels" and isinstance(self.levels[0], int))
        return [int(v) if whole and v.is_integer() else float(v) for v in numbers]

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the encoded bounds, each (width,)."""
        if self.fixed is not None:
            value = self.encode([self.fixed])[0]
            return value, value
        if self.kind == "categorical":
            upper = np.zeros(self.width)
            upper[self._places] = 1.0
            return (upper if len(self._places) == 1 else np.zeros(self.width)), upper
        if self.kind in ("integer", "continuous") and self.discrete and np.isfinite([self.lower, self.upper]).all():
            ends = self.grid.at(np.array([0, self.grid.count - 1]))
            return ends[:1], ends[1:]
        return np.array([self.lower], dtype=np.float64), np.array([self.upper], dtype=np.float64)

    @property
    def grid(self) -> EvenGrid:
        """The evenly spaced values of an integer or binary variable, or of one with a step."""
        return EvenGrid(self.lower, self.upper, 1.0 if self.step is None else self.step, self.origin)

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[Any]:
        """Draw (n,) values evenly from those that exist, of a log scale in the logarithm."""
        if self.fixed is not None:
            return np.full(n, self.fixed, dtype=object if isinstance(self.fixed, str) else None)
        if self.kind in ("categorical", "binary", "levels"):
            return np.array(self._labels)[rng.integers(0, len(self._labels), n)]
        if self.discrete:
            values = self.grid.at(rng.integers(0, self.grid.count, n))
            return np.rint(values).astype(np.int64) if self.kind == "integer" else values
        ends = np.log(self.pairs) if self.scale == "log" else np.array(self.pairs, dtype=np.float64)
        lengths = ends[:, 1] - ends[:, 0]
        share = lengths / lengths.sum() if lengths.sum() > 0 else np.full(len(ends), 1 / len(ends))
        part = rng.choice(len(ends), n, p=share)
        values = ends[part, 0] + rng.random(n) * lengths[part]
        return np.asarray(np.exp(values) if self.scale == "log" else values)

    @property
    def _labels(self) -> tuple[Any, ...]:
        return self.allowed or self.levels

    @property
    def _places(self) -> IndexArray:
        """Where the allowed labels stand among all."""
        return np.array([self.levels.index(label) for label in self._labels], dtype=np.intp)


def plain(value: Any) -> Any:
    """Turn NumPy's values, sequences and mappings into what JSON can hold."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def infer_variable(name: str, column: pd.Series, kind: Kind | None = None) -> Variable:
    """Read a variable's kind, unless one is given, and its range off a column without gaps.

    Text is categorical, bool binary, whole numbers integer.
    """
    import pandas as pd

    if kind is None:
        if pd.api.types.is_bool_dtype(column.dtype):
            kind = "binary"
        elif pd.api.types.is_integer_dtype(column.dtype):
            kind = "integer"
        elif pd.api.types.is_float_dtype(column.dtype):
            kind = "continuous"
        else:
            kind = "categorical"
    values = [plain(value) for value in column.unique()]
    if kind == "categorical":
        _refuse_odd_labels(name, values)
        return Variable(name, kind, levels=tuple(sorted(values, key=str)))
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise ConfigError(f"{name!r} holds text such as {values[0]!r} and can't be {kind}", "leave it categorical")
    if kind == "binary":
        if len(values) > 2:
            raise ConfigError(f"{name!r} has {len(values)} values and can't be binary", "call it integer or levels")
        levels = (False, True) if pd.api.types.is_bool_dtype(column.dtype) else tuple(sorted(values))
        return Variable(name, kind, levels=levels if len(levels) == 2 else (0, 1))
    if kind == "levels":
        return Variable(name, kind, levels=tuple(values))
    return Variable(name, kind, lower=float(column.min()), upper=float(column.max()))


def _refuse_odd_labels(name: str, labels: Sequence[Any]) -> None:
    """Refuse labels that a file could not hold, or not tell apart."""
    written: dict[str, Any] = {}
    for label in labels:
        if not isinstance(label, str | int | float):
            wrong = f"{name!r} holds {label!r} ({type(label).__name__}), expected text, numbers, true or false"
            raise DataError(wrong, "turn the column into text: .astype(str), or .str.decode('utf-8') for bytes")
        if str(label) in written:
            wrong = f"{name!r} holds the labels {written[str(label)]!r} and {label!r}, which are written alike"
            raise DataError(wrong, "make them one, or write one of them in another way")
        written[str(label)] = label


def _is_number(value: Any) -> bool:
    """Return whether a value can be a number."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
