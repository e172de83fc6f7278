"""The `[design]` section: what may vary and how, in the words of the file, of the command line and of Python."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from invdesign_core.context import Context
from invdesign_core.data.own_columns import row_of
from invdesign_core.errors import ConfigError
from invdesign_core.registry import build_options
from invdesign_core.search.proximity import NearTo
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.conditions import Distribution, Scenarios, any_value, distribution_of, draw
from invdesign_core.space.conditions import as_the_file_has_it as plain_distribution
from invdesign_core.space.constraint_text import parse_constraints
from invdesign_core.space.constraint_units import in_own_units
from invdesign_core.space.overrides import VariableOverrides
from invdesign_core.space.space import Space, check_feasible
from invdesign_core.space.units import NO_UNITS, Numbers, Units
from invdesign_core.targets import Target
from invdesign_core.workflow.fixed_inputs import check_agreement, held_names, hold
from invdesign_core.workflow.input_limits import narrowed

if TYPE_CHECKING:
    import pandas as pd

End = float | str
"""A number in the column's own unit, or text with another, such as ``350 K``."""
Pair = tuple[End, End]


class Design(BaseModel):
    """The `[design]` section: what may vary, where the data do not say it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bounds: dict[str, Pair | list[Pair]] = Field(
        default_factory=dict,
        description="Lowest and highest value of a numeric variable, by name, or a list of several such ranges; by "
        'default those of the data. Here and below, text such as `"350 K"` is a number in another unit.',
    )
    fixed: dict[str, Any] = Field(default_factory=dict, description="Fixed values of variables, by name.")
    conditions: dict[str, Any] = Field(
        default_factory=dict,
        description='Distributions of inputs that are measured and not chosen, by name: `"data"` for the measured '
        "values, a list of values that are equally likely, or `{ mean = 22, sd = 3 }`. Designs meet the target on "
        "average over them.",
    )
    levels: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="The only values that a variable may take, by name: numbers, or some of a category's labels.",
    )
    step: dict[str, End | dict[str, End]] = Field(
        default_factory=dict,
        description="The distance between the values of a variable, by name: they are its multiples. With "
        "`{ by = 1, from = 155.8 }` they are counted from that number instead of 0.",
    )
    log: list[str] = Field(
        default_factory=list, description="Names of the variables that are searched on a logarithmic scale."
    )
    margin: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="Widen the data's bounds by this share of their range, on both sides; not bounds that are given.",
    )
    constraints: list[str] = Field(
        default_factory=list, description="Further conditions that designs must satisfy, such as `a + b <= 1`."
    )
    near: dict[str, Any] = Field(
        default_factory=dict, description="A reference design, or some of its values: answers stay close to it."
    )
    near_row: str = Field(
        "",
        exclude=True,  # what is kept of a run is the design that it names
        description="A table, and after a colon a row of it, that is the present design: what --near FILE:ROW says.",
    )
    fewest_changes: bool = Field(
        False,
        description="Change as few variables of the reference design (`near`) as possible, whatever the distance.",
    )
    stay_near_data: bool = Field(
        False, description="Stay as near to a measured design as measured designs are to each other."
    )
    designs: int = Field(5, ge=1, description="How many different designs to report, best first.")

    _units: Units = PrivateAttr(NO_UNITS)
    """By which the row of a table is read that `near_row` names."""

    @property
    def linear(self) -> bool:
        """Whether a constraint is linear; "at most k of these" is not handled by solvers."""
        return any(not text.lstrip().lower().startswith("at most") for text in self.constraints)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], place: str = "[design]") -> Design:
        """Validate settings, with messages for people."""
        design: Design = build_options(cls, values, place)
        return design

    def converted(
        self, units: Units, names: Sequence[str], derived: Mapping[str, str] = MappingProxyType({})
    ) -> Design:
        """Return the same with plain numbers in the units of the columns, and with the whole names of these.

        `names` are those of all inputs and outputs, for constraints; in these, formulas take the place of `derived`
        names.
        """
        if not units and not derived:
            return self

        def read(said: Mapping[str, Any], convert: Callable[[Any, Numbers, str], Any], key: str) -> dict[str, Any]:
            full = units.named(said)
            return {n: convert(v, units.numbers(n), f"{key} {n!r}") if n in units.of else v for n, v in full.items()}

        found = self.model_copy(
            update={
                "bounds": read(self.bounds, _values, "bounds of"),
                "fixed": read(self.fixed, _values, "fixed value of"),
                "levels": read(self.levels, _values, "levels of"),
                "near": read(self.near, _values, "near:"),
                "step": read(self.step, _steps, "step of"),
                "conditions": read(self.conditions, _distribution, "conditions:"),
                "log": [units.name(name) for name in self.log],
                "constraints": [in_own_units(text, names, units, derived) for text in self.constraints],
            }
        )
        found._units = units
        return found

    def tell_converted(self, before: Design, ctx: Context) -> None:
        """Say what became of constraints in other units than those of the columns."""
        for written, read in zip(before.constraints, self.constraints, strict=True):
            if written != read:
                ctx.note(f"the constraint {written!r} means {read!r}")

    def restrict(self, space: Space, held: Collection[str] = ()) -> Space:
        """Return the space in which these values exist, constraints aside.

        Variables that a table of targets holds are not fixed, and of their bounds only the outermost count, from which
        steps may be counted: their rows' values go beyond them.
        """
        varying = self.distributions(space, held)
        fixed = {name: value for name, value in self.fixed.items() if name not in held}
        fixed |= {name: any_value(space[name], said) for name, said in varying.items()}
        bounds = {name: value for name, value in self.bounds.items() if name not in held}
        for name in set(held) & set(self.bounds) - set(self.levels):
            if space[name].kind in ("continuous", "integer"):
                ends = [end for pair in _pairs(self.bounds[name]) for end in pair]
                bounds[name] = (min(ends), max(ends))
        steps: Any = self.step  # plain numbers by now
        return space.restrict(bounds, fixed, self.levels, steps, self.log, self.margin)

    def apply(
        self,
        space: Space,
        outputs: Sequence[str],
        frame: pd.DataFrame | None = None,
        limits: Mapping[str, Target] = MappingProxyType({}),
    ) -> Space:
        """Return the space of a search; the values of a table of targets win over what is said here of their variables.

        `limits` are what a target sets for inputs, which narrow it.

        Where no design satisfies the constraints, those that contradict each other are named.
        """
        varying = self.distributions(space, held_names(space, frame))
        for name in varying:
            if name in limits:
                raise ConfigError(
                    f"target of {name!r}: it is a condition that varies ({varying[name]}), which is not searched",
                    f"leave it out, or hold it at a value: --fixed '{name}=VALUE'",
                )
        found = narrowed(self.restrict(space, held_names(space, frame)), limits)
        if frame is not None:
            found = hold(found, frame)[0]
        if not self.constraints:
            return found
        constrained = Space(found.variables, parse_constraints(self.constraints, found, outputs))
        _refuse_varying(constrained, varying)
        check_feasible(constrained)
        return constrained

    def near_to(self, space: Space, held: Collection[str] = ()) -> NearTo:
        """Return what answers are to be near to, in the space that `apply` returned.

        Variables that a table of targets holds need no present value.
        """
        return NearTo.build(self.present(space), self.fewest_changes, self.stay_near_data, space, held)

    def present(self, space: Space) -> dict[str, Any]:
        """Return the present design by variable, with what a row of a table says of it."""
        said = {**(row_of(self.near_row, space, self._units) if self.near_row else {}), **self.near}
        return {name: value for name, value in said.items() if name not in self.conditions}

    def distributions(self, space: Space, held: Collection[str] = ()) -> dict[str, Distribution]:
        """Return the distributions of conditions, but for those that a table of targets holds at its rows' values."""
        found = {}
        for name, value in self.conditions.items():
            found[name] = distribution_of(value, space[name])
            for key in ("fixed", "bounds", "levels", "step", "log"):
                if name in getattr(self, key):
                    raise ConfigError(
                        f"{name!r} is a condition that varies ({found[name]}), and it is in {key!r}, which is for "
                        "what is chosen",
                        "remove one of them",
                    )
        return {name: said for name, said in found.items() if name not in held}

    def scenarios(
        self, space: Space, x: FloatArray | None, ctx: Context, held: Collection[str] = ()
    ) -> Scenarios | None:
        """Draw what conditions may be, from (n, e) measured rows of `space` where the data say it; None without any."""
        said = self.distributions(space, held)
        return draw(said, space, x, ctx.rng("conditions")) if said else None

    def check_table(self, space: Space, frame: pd.DataFrame) -> None:
        """Refuse a table of targets whose values contradict what is said here of a variable."""
        said = {}
        for name in held_names(space, frame):
            bounds, levels = self.bounds.get(name), self.levels.get(name)
            step: Any = self.step.get(name)
            said[name] = VariableOverrides(bounds, levels, step, self.fixed.get(name))
        check_agreement(said, space, frame)


def _refuse_varying(space: Space, varying: Mapping[str, Distribution]) -> None:
    """Refuse a constraint on a condition that varies: it could hold in one scenario and not in another."""
    rules = space.constraints
    for name, columns in zip(space.names, space.slices, strict=True):
        if name not in varying:
            continue
        rows = np.flatnonzero((rules.linear.matrix[:, columns] != 0).any(axis=1))
        texts = [rules.texts[rules.origin[row]] for row in rows]
        own = {*range(columns.start, columns.stop)}
        texts += [limit.text for limit in rules.at_most if own & {*limit.columns}]
        if texts:
            raise ConfigError(
                f"constraint {texts[0]!r}: {name!r} is a condition that varies ({varying[name]})",
                f"write it for the worst case, with a number in the place of {name!r}",
            )


def _pairs(bounds: Any) -> list[Pair]:
    """Return bounds as a list of ranges; one is written as a pair of numbers."""
    return [bounds] if isinstance(bounds[0], int | float | str) else list(bounds)


def _values(said: Any, read: Numbers, place: str) -> Any:
    """Return a value, or several, with plain numbers in the place of text."""
    if isinstance(said, list | tuple):
        return type(said)(_values(item, read, place) for item in said)
    return read.value(said, place) if isinstance(said, str) else said


def _steps(said: Any, read: Numbers, place: str) -> Any:
    """Return a step, which is a difference, and the number that it is counted from."""
    if not isinstance(said, Mapping):
        return read.difference(said, place) if isinstance(said, str) else said
    return {key: (_values if key == "from" else _steps)(value, read, place) for key, value in said.items()}


def _distribution(said: Any, read: Numbers, place: str) -> Any:
    """Return what is said of a condition; a standard deviation is a difference."""
    said = plain_distribution(said)
    if isinstance(said, Mapping):
        return {key: (_steps if key == "sd" else _values)(value, read, place) for key, value in said.items()}
    return _values(said, read, place) if isinstance(said, list) else said


def merge_design(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one `[design]` section over another: name by name, and constraints beside those that are there.

    Bounds or levels over a variable that the base holds fixed set it free again. Of a condition the last word counts,
    whether it is a value or a distribution. An empty list takes all away.
    """
    by_name, lists = ("bounds", "fixed", "levels", "step", "conditions", "near"), ("constraints", "log")
    if not (
        all(isinstance(over.get(key, {}), Mapping) for key in by_name)
        and all(isinstance(over.get(key, []), list | tuple) for key in lists)
    ):
        return {**base, **over}  # refused where it is read
    merged = dict(base)
    for key, value in over.items():
        before = merged.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[key] = {**before, **value}
        elif key in ("constraints", "log") and isinstance(before, list) and value:
            merged[key] = [*before, *(item for item in value if item not in before)]
        else:
            merged[key] = value
    if over.get("near_row"):  # a whole design of its own
        merged["near"] = dict(over.get("near", {}))
    freed = {*over.get("bounds", {}), *over.get("levels", {})} - set(over.get("fixed", {}))
    _forget(merged, "fixed", freed)
    told, varying = freed | {*over.get("fixed", {})}, set(over.get("conditions", {}))
    _forget(merged, "conditions", told - varying)
    for key in ("fixed", "bounds", "levels", "step", "log"):
        _forget(merged, key, varying - set(over.get(key, ())))
    return merged


def _forget(section: dict[str, Any], key: str, names: Collection[str]) -> None:
    """Take names out of a mapping or a list of a `[design]` section."""
    said = section.get(key)
    if isinstance(said, Mapping):
        section[key] = {name: value for name, value in said.items() if name not in names}
    elif isinstance(said, list):
        section[key] = [name for name in said if name not in names]
