"""The user's design variables: kinds, bounds, and the way to numbers and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from invdesign_core.constraints import Constraints, Linear
from invdesign_core.errors import ConfigError, DataError, near_match

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float64]
Kind = Literal["continuous", "integer", "binary", "categorical", "levels"]


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
    """

    name: str
    kind: Kind = "continuous"
    lower: float = -np.inf
    upper: float = np.inf
    levels: tuple[Any, ...] = ()
    fixed: Any = None

    def __post_init__(self) -> None:
        if self.kind == "binary" and not self.levels:
            object.__setattr__(self, "levels", (0, 1))
        if self.kind == "binary":
            object.__setattr__(self, "lower", 0.0)
            object.__setattr__(self, "upper", 1.0)
        if self.kind == "levels":
            object.__setattr__(self, "levels", tuple(sorted(self.levels)))
            object.__setattr__(self, "lower", float(self.levels[0]))
            object.__setattr__(self, "upper", float(self.levels[-1]))
        if self.kind != "categorical" and not self.lower <= self.upper:
            raise ConfigError(
                f"bounds of {self.name!r}: the lower bound {self.lower:g} is above the upper bound {self.upper:g}",
                "write the smaller number first",
            )

    @property
    def width(self) -> int:
        """Number of encoded columns."""
        return len(self.levels) if self.kind == "categorical" else 1

    @property
    def discrete(self) -> bool:
        """Whether only some values exist."""
        return self.kind != "continuous"

    def encode(self, values: Sequence[Any] | NDArray[Any]) -> FloatArray:
        """Turn (n,) values as the user writes them into (n, width) numbers."""
        if self.kind == "categorical" or (self.kind == "binary" and self.levels != (0, 1)):
            index = {level: position for position, level in enumerate(self.levels)}
            try:
                codes = np.array([index[value] for value in values], dtype=np.intp)
            except KeyError as error:
                raise DataError(
                    f"{self.name!r} has no level {error.args[0]!r}",
                    near_match(str(error.args[0]), map(str, self.levels)),
                ) from None
            if self.kind == "binary":
                return codes.astype(np.float64)[:, None]
            return np.asarray(np.eye(len(self.levels))[codes])
        return np.asarray(values, dtype=np.float64)[:, None]

    def snap(self, columns: FloatArray) -> FloatArray:
        """Move (n, width) encoded columns to the nearest values that exist, inside the bounds."""
        if self.kind == "categorical":
            return np.eye(self.width)[np.argmax(columns, axis=1)] if self.fixed is None else self._fixed_row(columns)
        if self.fixed is not None:
            return self._fixed_row(columns)
        if self.kind == "levels":
            levels = np.asarray(self.levels, dtype=np.float64)
            return np.asarray(levels[np.argmin(np.abs(columns - levels[None, :]), axis=1)][:, None])
        if self.kind == "continuous":
            return np.clip(columns, self.lower, self.upper)
        return np.clip(np.rint(columns), np.ceil(self.lower), np.floor(self.upper))

    def decode(self, columns: FloatArray) -> list[Any]:
        """Turn (n, width) snapped columns into values as the user writes them."""
        if self.kind == "categorical":
            return [self.levels[i] for i in np.argmax(columns, axis=1)]
        numbers = columns[:, 0]
        if self.kind == "binary":
            return [self.levels[int(v)] for v in numbers]
        if self.kind == "integer":
            return [int(v) for v in numbers]
        return list(numbers.tolist())

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Return the encoded bounds, each (width,)."""
        if self.fixed is not None:
            value = self.encode([self.fixed])[0]
            return value, value
        if self.kind == "categorical":
            return np.zeros(self.width), np.ones(self.width)
        return np.array([self.lower]), np.array([self.upper])

    def _fixed_row(self, columns: FloatArray) -> FloatArray:
        return np.repeat(self.encode([self.fixed]), len(columns), axis=0)


@dataclass(frozen=True)
class Space:
    """The design variables in order, and their encoding as e numeric columns.

    Attributes
    ----------
    variables : tuple of Variable
        The design variables.
    given : Constraints, optional
        What designs must satisfy besides; `constraints` is never None.

    Examples
    --------
    >>> space = Space((Variable("t", lower=0, upper=10), Variable("m", "categorical", levels=("A", "B"))))
    >>> space.width
    3
    """

    variables: tuple[Variable, ...]
    given: Constraints | None = field(default=None, compare=False)
    _slices: tuple[slice, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [variable.name for variable in self.variables]
        if len(set(names)) != len(names):
            double = next(name for name in names if names.count(name) > 1)
            raise DataError(f"the design variable {double!r} is there twice", "rename one of them")
        slices, at = [], 0
        for variable in self.variables:
            slices.append(slice(at, at + variable.width))
            at += variable.width
        object.__setattr__(self, "_slices", tuple(slices))

    @property
    def names(self) -> tuple[str, ...]:
        """The variables' names in order."""
        return tuple(variable.name for variable in self.variables)

    @property
    def width(self) -> int:
        """The number e of encoded columns."""
        return sum(variable.width for variable in self.variables)

    @property
    def constraints(self) -> Constraints:
        """What designs must satisfy besides bounds and kinds."""
        return self.given or Constraints(Linear.none(self.width))

    @property
    def slices(self) -> tuple[slice, ...]:
        """Each variable's encoded columns."""
        return self._slices

    @property
    def discrete(self) -> NDArray[np.bool_]:
        """(e,) whether a column belongs to a variable of which only some values exist."""
        return np.concatenate([np.full(v.width, v.discrete) for v in self.variables])

    @property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Encoded lower and upper bounds, each (e,)."""
        pairs = [variable.bounds() for variable in self.variables]
        return np.concatenate([low for low, _ in pairs]), np.concatenate([high for _, high in pairs])

    def __getitem__(self, name: str) -> Variable:
        """Return the variable of that name."""
        for variable in self.variables:
            if variable.name == name:
                return variable
        raise ConfigError(f"there is no design variable {name!r}", near_match(name, self.names))

    def encode(self, frame: pd.DataFrame) -> FloatArray:
        """Turn a table with one column per variable into (n, e) numbers.

        Raises
        ------
        DataError
            If a column is missing or holds a level that the variable doesn't have.
        """
        for name in self.names:
            if name not in frame.columns:
                raise DataError(f"the table has no column {name!r}", near_match(name, map(str, frame.columns)))
        if not self.variables:
            return np.zeros((len(frame), 0))
        return np.hstack([variable.encode(frame[variable.name].to_numpy()) for variable in self.variables])

    def snap(self, x: FloatArray) -> FloatArray:
        """Move (n, e) points to the nearest designs that exist: rounded, one level a category, in bounds."""
        return np.hstack([v.snap(x[:, s]) for v, s in zip(self.variables, self.slices, strict=True)])

    def decode(self, x: FloatArray) -> pd.DataFrame:
        """Turn (n, e) points into the designs that a user would write down."""
        import pandas as pd

        x = self.snap(np.asarray(x, dtype=np.float64))
        return pd.DataFrame(
            {v.name: v.decode(x[:, s]) for v, s in zip(self.variables, self.slices, strict=True)},
            columns=list(self.names),
        )

    def restrict(
        self,
        bounds: Mapping[str, Sequence[float]] | None = None,
        fixed: Mapping[str, Any] | None = None,
    ) -> Space:
        """Return a space with other bounds, or with variables held at a value.

        Raises
        ------
        ConfigError
            If a name is unknown, bounds are the wrong way round or on a category, or a fixed value
            lies outside its bounds.
        """
        changed = {variable.name: variable for variable in self.variables}
        for name, pair in (bounds or {}).items():
            variable = self[name]
            if variable.kind in ("categorical", "binary", "levels"):
                raise ConfigError(
                    f"bounds of {name!r}: a {variable.kind} variable has no bounds",
                    "hold it at one value instead (fixed)",
                )
            low, high = (float(value) for value in pair)
            if variable.kind == "integer" and np.ceil(low) > np.floor(high):
                raise ConfigError(f"bounds of {name!r}: no whole number lies between {low:g} and {high:g}")
            changed[name] = replace(variable, lower=low, upper=high)
        for name, value in (fixed or {}).items():
            self[name]
            variable = changed[name]
            if variable.kind in ("categorical", "levels") or (
                variable.kind == "binary" and value not in variable.levels
            ):
                if value not in variable.levels:
                    raise ConfigError(
                        f"fixed value of {name!r}: {value!r} is none of its levels",
                        near_match(str(value), map(str, variable.levels)),
                    )
            elif variable.kind != "binary":
                if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
                    raise ConfigError(f"fixed value of {name!r}: found {value!r}, expected a number")
                if name in (bounds or {}) and not variable.lower <= value <= variable.upper:
                    raise ConfigError(
                        f"{name!r} is fixed at {value:g}, outside its bounds {variable.lower:g} to {variable.upper:g}",
                        "change the one or the other",
                    )
                if variable.kind == "integer" and value != int(value):
                    raise ConfigError(f"fixed value of {name!r}: found {value:g}, expected a whole number")
                variable = replace(variable, lower=float(value), upper=float(value))
            changed[name] = replace(variable, fixed=value)
        return Space(tuple(changed[name] for name in self.names), self.given)

    def unbounded(self) -> tuple[str, ...]:
        """Return the names of variables that still lack a finite bound."""
        return tuple(
            v.name
            for v in self.variables
            if v.kind != "categorical" and v.fixed is None and not np.isfinite([v.lower, v.upper]).all()
        )

    def to_json(self) -> list[dict[str, Any]]:
        """Return the variables as plain values; `from_json` is the way back."""
        keys = ("name", "kind", "lower", "upper", "levels", "fixed")
        return [{key: _plain(getattr(v, key)) for key in keys} for v in self.variables]

    @classmethod
    def from_json(cls, items: Sequence[Mapping[str, Any]]) -> Space:
        """Build a space from what `to_json` returned."""
        return cls(tuple(Variable(**{**item, "levels": tuple(item["levels"])}) for item in items))


def _plain(value: Any) -> Any:
    """Turn NumPy scalars and tuples into what JSON can hold."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def infer_variable(name: str, column: pd.Series, kind: Kind | None = None) -> Variable:
    """Read a variable's kind and range off a column: text is categorical, bool binary, whole numbers integer.

    Parameters
    ----------
    name : str
        The variable's name.
    column : pandas.Series
        Its values; none missing.
    kind : str, optional
        The kind to take instead of the inferred one.
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
    values = [_plain(value) for value in column.unique()]
    if kind == "categorical":
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
