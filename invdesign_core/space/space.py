"""The user's design variables together: their bounds, their constraints, and the way to numbers and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.errors import ConfigError, DataError, near_or_all, require
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.constraint_text import parse_constraints
from invdesign_core.space.feasible_set import FeasibleSet
from invdesign_core.space.overrides import VariableOverrides, restricted
from invdesign_core.space.rules import AllowedValues, Constraints, Linear
from invdesign_core.space.variables import Variable, plain

if TYPE_CHECKING:
    import pandas as pd


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

    def __post_init__(self) -> None:
        require(self.variables, (tuple, list), "Space", "a tuple of Variables")
        for variable in self.variables:
            require(variable, Variable, "Space", "a Variable")
        names = [variable.name for variable in self.variables]
        if len(set(names)) != len(names):
            double = next(name for name in names if names.count(name) > 1)
            raise DataError(f"the design variable {double!r} appears twice", "names must be unique")

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

    def sample(self, rng: np.random.Generator, n: int) -> pd.DataFrame:
        """Draw n designs, each variable evenly from its values; constraints are not heeded.

        Whole numbers, levels and labels have equal weight, and ranges that of their lengths. A variable on a log scale
        is drawn in its logarithm.

        Parameters
        ----------
        rng : numpy.random.Generator
            Such as ``ctx.rng("designs")``.
        n : int
            Number of designs.

        Raises
        ------
        ConfigError
            If a variable has no bounds.
        """
        import pandas as pd

        lacking = self.unbounded()
        if lacking:
            raise ConfigError(f"no bounds are known for {', '.join(map(repr, lacking))}", "give its Variable bounds")
        return pd.DataFrame({variable.name: variable.draw(rng, n) for variable in self.variables})

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Each variable's encoded columns."""
        ends = np.cumsum([0, *(variable.width for variable in self.variables)]).tolist()
        return tuple(slice(start, end) for start, end in pairwise(ends))

    @property
    def discrete(self) -> NDArray[np.bool_]:
        """(e,) whether a column belongs to a variable of which only some values exist."""
        return np.concatenate([np.full(v.width, v.discrete) for v in self.variables])

    @property
    def logarithmic(self) -> NDArray[np.bool_]:
        """(e,) whether the search moves in a column's logarithm."""
        return np.concatenate([np.full(v.width, v.scale == "log") for v in self.variables])

    @property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Encoded lower and upper bounds, each (e,)."""
        pairs = [variable.bounds() for variable in self.variables]
        return np.concatenate([low for low, _ in pairs]), np.concatenate([high for _, high in pairs])

    @cached_property
    def feasible_set(self) -> FeasibleSet:
        """The encoded designs that are allowed."""
        anchor, step = np.zeros(self.width), np.zeros(self.width)
        levels: dict[int, FloatArray] = {}
        ranges: dict[int, FloatArray] = {}
        for variable, columns in zip(self.variables, self.slices, strict=True):
            j = columns.start
            if variable.kind == "levels":
                levels[j] = np.asarray(variable.levels, dtype=np.float64)
            elif variable.kind in ("integer", "binary") or variable.step is not None:
                anchor[j], step[j] = variable.origin, variable.step or 1.0
            elif variable.ranges:
                ranges[j] = np.asarray(variable.ranges, dtype=np.float64)
        blocks = tuple(s for v, s in zip(self.variables, self.slices, strict=True) if v.kind == "categorical")
        values, rules = AllowedValues(anchor, step, levels, ranges, blocks), self.constraints
        return FeasibleSet(*self.bounds, values, rules.linear, rules.at_most)

    def __getitem__(self, name: str) -> Variable:
        """Return the variable of that name."""
        for variable in self.variables:
            if variable.name == name:
                return variable
        raise ConfigError(f"there is no design variable {name!r}", near_or_all(name, self.names))

    def encode(self, frame: pd.DataFrame) -> FloatArray:
        """Turn a table with one column per variable into (n, e) numbers.

        Raises
        ------
        DataError
            If a column is missing or holds a level that the variable doesn't have.
        """
        for name in self.names:
            if name not in frame.columns:
                raise DataError(f"the table has no column {name!r}", near_or_all(name, map(str, frame.columns)))
        if not self.variables:
            return np.zeros((len(frame), 0))
        return np.hstack([variable.encode(frame[variable.name].to_numpy()) for variable in self.variables])

    def snap(self, x: FloatArray) -> FloatArray:
        """Move (n, e) points to the nearest designs that exist: rounded, one level a category, in bounds."""
        allowed = self.feasible_set
        lower, upper = np.broadcast_to(allowed.lower, x.shape), np.broadcast_to(allowed.upper, x.shape)
        return allowed.values.snap(x, lower, upper)

    def decode(self, x: FloatArray) -> pd.DataFrame:
        """Turn (n, e) points into the designs that a user would write down."""
        import pandas as pd

        x = self.snap(np.asarray(x, dtype=np.float64))
        return pd.DataFrame(
            {v.name: v.decode(x[:, s]) for v, s in zip(self.variables, self.slices, strict=True)},
            columns=list(self.names),
        )

    def as_measured(self, x: FloatArray) -> pd.DataFrame:
        """Turn (n, e) measured points into designs with numbers as they were, also those that no search could reach."""
        x = np.asarray(x, dtype=np.float64)
        frame = self.decode(x)
        for v, s in zip(self.variables, self.slices, strict=True):
            if v.kind not in ("categorical", "binary"):
                frame[v.name] = v.numbers_as_measured(x[:, s.start])
        return frame

    def restrict(
        self,
        bounds: Mapping[str, Sequence[Any]] | None = None,
        fixed: Mapping[str, Any] | None = None,
        levels: Mapping[str, Sequence[Any]] | None = None,
        step: Mapping[str, float | Mapping[str, float]] | None = None,
        log: Collection[str] = (),
        margin: float = 0.0,
    ) -> Space:
        """Return a space in which less, or other, values exist.

        Parameters
        ----------
        bounds : mapping, optional
            Lowest and highest value of a variable, or several such pairs.
        fixed : mapping, optional
            Fixed values of variables.
        levels : mapping, optional
            The values that exist of a variable.
        step : mapping, optional
            Steps between the values that exist, which are their multiples; ``{"by": step, "from": start}`` counts
            from another number than 0.
        log : collection of str
            Variables in whose logarithm the search moves.
        margin : float
            Share of its range by which a variable's own bounds are widened, where no others are given.

        Raises
        ------
        ConfigError
            If a name is unknown, or what is asked contradicts itself or the variable's kind; by name.
        """
        bounds, fixed, levels, step = bounds or {}, fixed or {}, levels or {}, step or {}
        for name in (*bounds, *fixed, *levels, *step, *log):
            self[name]
        changed = []
        for v in self.variables:
            of = (bounds.get(v.name), levels.get(v.name), step.get(v.name), fixed.get(v.name))
            changed.append(restricted(v, VariableOverrides(*of, log=v.name in log, margin=margin)))
        return Space(tuple(changed), self.given)

    def unbounded(self) -> tuple[str, ...]:
        """Return the names of variables that still lack a finite bound."""
        return tuple(
            v.name
            for v in self.variables
            if v.kind != "categorical" and v.fixed is None and not np.isfinite([v.lower, v.upper]).all()
        )

    def to_json(self) -> dict[str, Any]:
        """Return variables and constraints as plain values; `from_json` is the way back.

        Raises
        ------
        ConfigError
            If a constraint has no text.
        """
        keys, rules = [f.name for f in fields(Variable)], self.constraints
        if rules and not rules.texts:
            raise ConfigError("constraints made of arrays can't be saved", "write them as text")
        variables = [{key: plain(getattr(v, key)) for key in keys} for v in self.variables]
        return {"variables": variables, "constraints": list(rules.texts)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Space:
        """Build a space from what `to_json` returned; older versions wrote the variables alone, with fewer keys."""
        items, texts = (values["variables"], values["constraints"]) if isinstance(values, Mapping) else (values, ())
        variables = []
        for item in items:
            # JSON has lists where a variable has tuples.
            ranges = tuple((low, high) for low, high in item.get("ranges", ()))
            lists = {"levels": tuple(item["levels"]), "ranges": ranges, "allowed": tuple(item.get("allowed", ()))}
            variables.append(Variable(**{**item, **lists}))
        space = cls(tuple(variables))
        return replace(space, given=parse_constraints(texts, space, ())) if texts else space


def conflicts(space: Space) -> tuple[str, ...] | None:
    """Name a smallest set of constraints and bounds that no design satisfies together; None where a design exists."""
    rules = space.constraints
    rows: dict[str, list[int]] = {}
    for row in range(len(rules.linear)):
        label = repr(rules.texts[rules.origin[row]]) if rules.origin else f"row {row + 1} of the constraints"
        rows.setdefault(label, []).append(row)
    found = space.feasible_set.conflicts([tuple(of) for of in rows.values()])
    if found is None:
        return None
    columns, held, limits = found
    texts = [
        (repr(rules.at_most[i].text) if rules.at_most[i].text else f"limit {i + 1} of the constraints") for i in limits
    ]
    held_by = zip(space.variables, space.slices, strict=True)
    return (
        *(label for label, of in rows.items() if of[0] in held),
        *texts,
        *(_what_limits(variable) for variable, of in held_by if of.start in columns),
    )


def check_feasible(space: Space, place: str = "constraints") -> None:
    """Refuse a space in which no design satisfies the constraints, naming those that contradict each other."""
    found = conflicts(space)
    if found is not None and len(found) == 1:
        raise ConfigError(f"{place}: no design satisfies {found[0]}", "change or remove it")
    if found is not None:
        hint = "change or remove one of them, whichever matters least"
        raise ConfigError(f"{place}: these contradict each other: {'; '.join(found)}", hint)


def _what_limits(variable: Variable) -> str:
    """Return what holds a variable, in the user's words."""
    if variable.fixed is not None:
        return f"fixed value of {variable.name!r}: {variable.fixed}"
    if variable.kind == "binary":
        return f"values of {variable.name!r}: {', '.join(map(str, variable.levels))}"
    if variable.kind == "levels":
        return f"values of {variable.name!r}: {variable.span}"
    whole = " (whole numbers)" if variable.kind == "integer" and variable.step is None else ""
    return f"bounds of {variable.name!r}: {variable.span}{whole}"
