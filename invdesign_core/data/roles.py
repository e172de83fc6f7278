"""What each column of a table is for: design variable, condition, output, group, weight, replicate or key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from invdesign_core.data.bookkeeping import described_rows
from invdesign_core.data.data import Data
from invdesign_core.data.files.messages import option
from invdesign_core.data.patterns import expand, expand_keys, is_pattern, matches, said_of
from invdesign_core.errors import DataError, near_match, plural
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Kind

USUAL = {
    "weights": ("how much each row counts", {"weight", "weights"}),
    "groups": ("which rows belong together", {"group", "groups", "batch", "batches", "batch_id", "batch id"}),
    "replicates": ("which measurement of a design a row is", {"rep", "replicate", "replicates", "replication"}),
}
"""What columns of these names usually say, by the option that uses them so."""


class Columns(BaseModel):
    """Which files to read, and what their columns are."""

    path: Path | list[Path] | None = Field(
        None,
        description="The file with designs and outputs: text, parquet or Excel; or a list of files, or patterns such "
        "as `runs/*.csv`, whose rows stand below each other.",
    )
    features: Path | None = Field(None, description="The file with the designs alone.")
    targets: Path | None = Field(None, description="The file with the outputs alone, row by row.")
    join: str | None = Field(
        None,
        description="The column, such as a sample's number, by whose values rows of several files belong together.",
    )
    unmatched: Literal["refuse", "leave-out"] = Field(
        "refuse", description="With `join`: what to do with rows that have no partner in another file."
    )
    outputs: list[str] = Field(
        default_factory=list,
        description="The output columns, or patterns such as `y*`. Needed with `path`; with `targets` by default all "
        "of its columns.",
    )
    inputs: list[str] | None = Field(
        None,
        description="The design variables, or patterns such as `x?`; by default every column that is not an output.",
    )
    conditions: list[str] = Field(
        default_factory=list,
        description="Inputs that are measured and not chosen, such as the temperature of the air: the surrogate learns "
        "their effect, and a search is told their values.",
    )
    kinds: dict[str, Kind] = Field(
        default_factory=dict,
        description="Kinds of variables, by name or pattern, where the column's type doesn't say it.",
    )
    groups: str | None = Field(
        None,
        description="A column, such as a batch, a mix or a laboratory, whose rows of one value stay on one side of the "
        "split. It is not a design variable.",
    )
    weights: str | None = Field(
        None,
        description="A column with how much each row counts in training and early stopping, such as the inverse "
        "variance of its measurement. It is not a design variable.",
    )
    replicates: str | None = Field(
        None,
        description="A column that numbers repeated measurements of one design. It is left out; rows of one design "
        "always stay on one side of the split.",
    )
    missing_outputs: Literal["refuse", "own-rows"] = Field(
        "refuse",
        description="What to do where outputs are empty: `refuse` the table, or fit each output to its `own-rows`.",
    )

    @field_validator("path", mode="before")
    @classmethod
    def _names_of_files(cls, value: object) -> object:
        for item in value if isinstance(value, list) else [value]:
            if item is not None and not isinstance(item, str | Path):
                raise ValueError(f"found {item!r}, expected a file, or a list of files")
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.path == []:
            raise ValueError('`path` is an empty list; name a file in it, or a pattern such as "runs/*.csv"')
        if self.path is None and (self.features is None or self.targets is None):
            raise ValueError("name a file: `path`, or `features` and `targets`")
        if self.path is not None and (self.features is not None or self.targets is not None):
            raise ValueError("`path` contradicts `features` and `targets`; use either `path` or the other two")
        if self.path is not None and not self.outputs:
            raise ValueError("name the output columns: `outputs`")
        return self

    @model_validator(mode="after")
    def _one_role(self) -> Self:
        self.refuse_two_roles()
        return self

    def refuse_two_roles(self) -> None:
        """Refuse a column that two options claim; a condition is an input."""
        claims = {
            "outputs": self.outputs,
            "conditions": self.conditions,
            "inputs": [name for name in self.inputs or () if name not in self.conditions],
            **{key: [name] for key in ("groups", "weights", "replicates") if (name := getattr(self, key)) is not None},
        }
        seen: dict[str, str] = {}
        for key, names in claims.items():
            for name in names:
                if seen.setdefault(name, key) != key and key in ("groups", "weights", "replicates"):
                    raise ValueError(
                        f"{name!r} is in `{key}` and in `{seen[name]}`; a column of `{key}` is neither input nor output"
                    )
                if seen[name] != key:
                    raise ValueError(f"{name!r} is in both `{seen[name]}` and `{key}`; remove it from one of them")

    @property
    def paths(self) -> list[Path]:
        """The files and patterns that `path` names."""
        return [] if self.path is None else self.path if isinstance(self.path, list) else [self.path]

    @property
    def beside(self) -> list[str]:
        """The columns that are neither inputs nor outputs, and yet needed."""
        return [name for name in (self.groups, self.weights) if name is not None]

    @property
    def aside(self) -> list[str]:
        """All columns that are neither inputs nor outputs."""
        return [*self.beside, *(name for name in (self.replicates, self.join) if name is not None)]

    @property
    def needed(self) -> set[str] | None:
        """The columns, or patterns of them, that have to be read; None where all are."""
        if self.inputs is None:
            return None
        kinds = [name for name in self.kinds if not is_pattern(name, ())]
        return {*self.inputs, *self.conditions, *self.outputs, *kinds, *self.aside}

    def without(self, left_out: Sequence[str]) -> Self:
        """Return the options without the inputs and kinds of columns that are left out, by names or patterns."""
        kept = [name for name in (*(self.inputs or ()), *self.kinds) if name not in _named_by(left_out, name)]
        inputs = None if self.inputs is None else [name for name in self.inputs if name in kept]
        kinds = {name: kind for name, kind in self.kinds.items() if name in kept}
        return self.model_copy(update={"inputs": inputs, "kinds": kinds})

    def with_outputs(self, names: Sequence[str], where: str) -> Self:
        """Return the options with the outputs and conditions among a table's columns instead of patterns."""
        outputs, conditions = (
            expand(getattr(self, key), names, f"{where}: {key}") for key in ("outputs", "conditions")
        )
        return self.model_copy(update={"outputs": outputs, "conditions": conditions})

    def with_inputs(self, names: Sequence[str], where: str) -> Self:
        """Return the options with the inputs and their kinds among a table's columns instead of patterns."""
        inputs = None if self.inputs is None else expand([*self.inputs, *self.conditions], names, f"{where}: inputs")
        left = [name for name in names if name not in (*self.outputs, *self.aside)] if inputs is None else inputs
        kinds = expand_keys(self.kinds, left, f"{where}: kinds")
        found = self.model_copy(update={"inputs": inputs, "kinds": kinds})
        try:
            found.refuse_two_roles()
        except ValueError as error:
            raise DataError(f"{where}: {error}", "a pattern may match more than was meant: name the columns") from None
        for name in (*found.outputs, *(inputs or ()), *found.conditions, *found.aside, *found.kinds):
            if name not in names:
                raise DataError(f"{where}: there is no column {name!r}", near_match(name, names))
        return found

    def said(self, names: Sequence[str], outputs: Sequence[str]) -> list[str]:
        """Say what the patterns for the columns of a table match; its outputs are known by now."""
        given = {key: getattr(self, key) or () for key in ("outputs", "inputs", "conditions")}
        kinds = said_of("kinds", self.kinds, names, (*outputs, *self.aside))
        return [text for key, values in given.items() for text in said_of(key, values, names)] + kinds

    def tell(self, data: Data) -> list[str]:
        """Say which inputs have names that usually mean something else, where nobody called them inputs."""
        said = []
        known = described_rows(data)  # which is said with the line that leaves them out
        for name in data.space.names if self.inputs is None else ():
            for key, (what, usual) in USUAL.items():
                if name not in known and name.strip().casefold() in usual and getattr(self, key) is None:
                    line = option(key, name)
                    said.append(f"{name!r} is taken for a design variable; if it says {what}: {line}")
        if self.replicates is not None:
            designs = len(data.frame[list(data.space.names)].drop_duplicates())
            if designs == len(data.frame):
                said.append(f"replicates = {self.replicates!r}: no design is there twice, so it marks no repetition")
        return said


def _named_by(given: Sequence[str], name: str) -> list[str]:
    return [column for item in given for column in matches(item, [name])]


def with_conditions(data: Data, names: Sequence[str]) -> Data:
    """Return data some of whose design variables are conditions."""
    variables = tuple(replace(v, condition=v.name in names) for v in data.space.variables)
    return replace(data, space=Space(variables, data.space.given))


def measured_designs(data: Data, column: str | None) -> str:
    """Say how many designs were measured, where a column numbers repeated measurements."""
    if column is None:
        return ""
    designs = len(data.frame[list(data.space.names)].drop_duplicates())
    return f"; {plural(len(data.frame), 'measurement')} of {plural(designs, 'design')}"
