"""A table of the user's own: one file, or a features and a targets file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from invdesign_core.plugin import (
    DESIGN,
    Context,
    Data,
    DataError,
    Dataset,
    Kind,
    LoadedTable,
    Reading,
    columns_without_names,
    design_columns,
    is_result,
    load_table,
    near_match,
    refuse_unknown,
    toml_option,
)

if TYPE_CHECKING:
    import pandas as pd


class Columns(BaseModel):
    """Which files to read, and what their columns are."""

    path: Path | None = Field(None, description="The file with designs and outputs: text, parquet or Excel.")
    features: Path | None = Field(None, description="The file with the designs alone.")
    targets: Path | None = Field(None, description="The file with the outputs alone, row by row.")
    outputs: list[str] = Field(
        default_factory=list,
        description="The output columns. Needed with `path`; with `targets` by default all of its columns.",
    )
    inputs: list[str] | None = Field(
        None, description="The design variables; by default every column that is not an output."
    )
    kinds: dict[str, Kind] = Field(
        default_factory=dict, description="Kinds of variables, by name, where the column's type doesn't say it."
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
    missing_outputs: Literal["refuse", "own-rows"] = Field(
        "refuse",
        description="What to do where outputs are empty: `refuse` the table, or fit each output to its `own-rows`.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Columns:
        if self.path is None and (self.features is None or self.targets is None):
            raise ValueError("name a file: `path`, or `features` and `targets`")
        if self.path is not None and (self.features is not None or self.targets is not None):
            raise ValueError("`path` contradicts `features` and `targets`; use either `path` or the other two")
        if self.path is not None and not self.outputs:
            raise ValueError("name the output columns: `outputs`")
        return self

    @model_validator(mode="after")
    def _one_role(self) -> Columns:
        for key, name in (("groups", self.groups), ("weights", self.weights)):
            if name in (*self.outputs, *(self.inputs or ())):
                raise ValueError(f"{name!r} is in `{key}`, so it is neither input nor output")
        return self

    @property
    def beside(self) -> list[str]:
        """The columns that are neither inputs nor outputs, and yet needed."""
        return [name for name in (self.groups, self.weights) if name is not None]


@dataclass(frozen=True)
class File:
    """A file that was read."""

    path: Path
    table: LoadedTable

    def first(self, bad: NDArray[np.bool_]) -> str:
        """Say where the first bad row stands."""
        return self.table.place(int(np.argmax(bad)))


class Table(Reading, Columns, Dataset):
    """Designs and responses from a text, parquet or Excel file, or from a features and a targets file.

    Whole numbers become integer variables, true/false binary ones, text categories; `kinds` says
    otherwise where that is wrong.
    """

    name: ClassVar[str] = "table"

    @model_validator(mode="after")
    def _outputs_are_numbers(self) -> Table:
        for key, names in (("labels", self.labels), ("leave_out", self.leave_out)):
            for name in names:
                if name in self.outputs:
                    raise ValueError(f"{name!r} is in both `outputs` and `{key}`; remove it from one of them")
        return self

    @property
    def _kinds(self) -> dict[str, Kind]:
        """The kinds that are given, but for those of columns that are left out."""
        return {name: kind for name, kind in self.kinds.items() if name not in self.leave_out}

    @property
    def only_numbers(self) -> list[str]:
        """The outputs."""
        return self.outputs

    def load(self, ctx: Context) -> Data:
        """Read the file or files."""
        import pandas as pd

        files = self._files(ctx.folder)
        where = " and ".join(str(file.path) for file in files)
        files = [_with_plain_names(file, self) for file in files]
        frame = pd.concat([file.table.frame for file in files], axis=1)
        outputs = self.outputs or list(files[-1].table.frame.columns)
        named = None if self.inputs is None else [name for name in self.inputs if name not in self.leave_out]
        for name in (*outputs, *(named or ()), *self.beside, *self._kinds):
            if name not in frame.columns:
                raise DataError(f"{where}: there is no column {name!r}", near_match(name, frame.columns))
        others = [name for name in files[0].table.frame.columns if name not in (*outputs, *self.beside)]
        inputs = others if named is None else named
        if named is None and (designs := _designs(files[0].table.names, self)):
            inputs = [name for name in others if name in designs]
            if left := ", ".join(repr(name) for name in others if name not in designs):
                said = f"the inputs are the columns that begin with {DESIGN!r}; left aside are {left}"
                ctx.note(f"{files[0].path.name}: {said}")
        source = {name: file for file in files for name in file.table.frame.columns}
        for name in (*inputs, *self.beside):
            _refuse_empty(source[name], name)
        for name in outputs:
            _refuse_text(source[name], name)
            if self.missing_outputs == "refuse":
                _refuse_empty(source[name], name, output=True)
        if self.missing_outputs == "own-rows":
            _refuse_unmeasured(source[outputs[0]], frame[outputs])
        try:
            units = {name: unit for file in files for name, unit in file.table.units.items()}
            data = Data.from_frame(
                frame,
                outputs,
                inputs,
                self._kinds,
                name=files[0].path.name,
                groups=self.groups,
                weights=self.weights,
                partial=self.missing_outputs == "own-rows",
            )
        except DataError as error:
            raise DataError(f"{where}: {error.message}", error.hint) from None
        said = "; ".join(f"{file.path.name}: {', '.join(file.table.understood)}" for file in files)
        ctx.note(f"{said}; {_variables(data, units)}")
        for file in files:
            for note in file.table.notes:
                ctx.warn(f"{file.path.name}: {note}")
        return data

    def _files(self, folder: Path) -> list[File]:
        """Read the one file, or both, where row i of the one has to belong to row i of the other."""
        if self.path is not None:
            named = {*(self.inputs or ()), *self._kinds} - {*self.leave_out}
            needed = None if self.inputs is None else {*named, *self.outputs, *self.beside}
            return [File(folder / self.path, load_table(folder / self.path, self, needed))]
        designs, responses = self._both(folder)
        both = f"{designs.path} and {responses.path}"
        refuse_unknown(both, self, (*designs.table.names, *responses.table.names))
        rows = len(designs.table.frame), len(responses.table.frame)
        if rows[0] != rows[1]:
            raise DataError(
                f"{designs.path} has {rows[0]} rows, {responses.path} has {rows[1]}",
                "row i of one table belongs to row i of the other",
            )
        twice = [name for name in designs.table.frame.columns if name in responses.table.frame.columns]
        if twice:
            raise DataError(
                f"the column {twice[0]!r} is in {self.features} and in {self.targets}", "rename one, or leave it out"
            )
        left, right = designs.table.index, responses.table.index
        if self.index is None and left is not None and right is not None and (left != right).any():
            at = int(np.argmax(left != right))
            raise DataError(
                f"{both}: the row numbers in their first columns differ: {left[at]} and {right[at]} in "
                f"{designs.table.place(at)}",
                'sort both files alike; if these numbers mean nothing: index = "drop"',
            )
        return [designs, responses]

    def _both(self, folder: Path) -> list[File]:
        """Read the features and the targets, of which those without a header take their share of `names`, in order."""
        assert self.features is not None
        assert self.targets is not None
        paths = folder / self.features, folder / self.targets
        widths = [columns_without_names(path, self) for path in paths]
        known = [f"{letter}{i + 1}" for letter, width in zip("xy", widths, strict=True) for i in range(width)]
        both = f"{paths[0]} and {paths[1]}"
        if any(widths) and not self.names and self.header is None:
            found = " and ".join(str(path) for path, width in zip(paths, widths, strict=True) if width)
            raise DataError(
                f"{found}: the first line holds only numbers; is there no header?",
                f'name the columns: {toml_option("names", known)}; or header = "no" calls them {", ".join(known[:3])}, '
                "…; or write a line of names above it; if these are names: header = 1",
            )
        if self.names and len(self.names) != len(known):
            raise DataError(
                f"{both}: `names` holds {len(self.names)} names, and the files without a header have {len(known)} "
                "columns",
                "`names` lists the columns of the features, then those of the targets; a file with a header keeps its "
                "own names",
            )
        names = self.names or known
        own = names[: widths[0]], names[widths[0] :]
        return [
            File(path, load_table(path, self.model_copy(update={"names": part}), strict=False))
            for path, part in zip(paths, own, strict=True)
        ]


def _designs(names: Sequence[str], table: Table) -> dict[str, str]:
    """Return the columns ``design.NAME`` of a table of designs by their variables, where no option names them so."""
    said = {*table.outputs, *(table.inputs or ()), *table.kinds, *table.beside}
    return design_columns([name for name in names if name not in table.leave_out], said)


def _with_plain_names(file: File, table: Table) -> File:
    """Let the columns ``design.NAME`` of a table that invdesign wrote go by the names of the variables."""
    frame = file.table.frame
    found = {column: name for name, column in _designs(list(frame.columns), table).items()}
    for column, name in found.items():
        if name in frame.columns and is_result(name, ()):
            frame = frame.drop(columns=name)
        elif name in frame.columns:
            raise DataError(
                f"{file.path}: there is a column {name!r} and a column {column!r}: only one of them can be the design",
                f"leave one of them out: {toml_option('leave_out', [name])}, or name the inputs",
            )
    return replace(file, table=replace(file.table, frame=frame.rename(columns=found)))


def _refuse_empty(file: File, name: str, output: bool = False) -> None:
    """Refuse a column with empty places, and say what stands there."""
    empty = file.table.frame[name].isna().to_numpy()
    if not empty.any():
        return
    words = file.table.words.get(name, {})
    found = ", ".join(f"{word!r} {'once' if count == 1 else f'{count} times'}" for word, count in words.items())
    hints = []
    if output:
        hints.append('missing_outputs = "own-rows" fits each output to the rows where it was measured')
    elif words:
        hints.append(f"if {next(iter(words))!r} is a value: {toml_option('labels', [name])}")
    rows = [int(row) for row in file.table.rows[empty]]
    if file.table.lines is not None and len(rows) <= 10:
        hints.append(f"these rows are left out by {toml_option('skip_rows', rows)}")
    if not output:
        hints.append(f"the column is left out by {toml_option('leave_out', [name])}")
    raise DataError(
        f"{file.path}: {name}: {int(empty.sum())} of {len(empty)} empty, first in {file.first(empty)}"
        + (f" ({found})" if found else ""),
        "; ".join(hints),
    )


def _refuse_text(file: File, name: str) -> None:
    column = file.table.frame[name]
    if column.dtype.kind in "biuf":
        return
    text = column.notna().to_numpy()
    raise DataError(
        f"{file.path}: output {name!r}, {file.first(text)}: found text {column.iloc[int(np.argmax(text))]!r}, "
        "expected a number",
        "outputs are numbers; name another column, or write numbers for its labels",
    )


def _refuse_unmeasured(file: File, responses: pd.DataFrame) -> None:
    """Refuse rows in which no output was measured; they would be designs without an answer."""
    nothing = responses.isna().all(axis=1).to_numpy()
    if nothing.any():
        rows = [int(row) for row in file.table.rows[nothing]]
        raise DataError(
            f"{file.path}: rows without any output: {len(rows)} of {len(nothing)}, first {file.first(nothing)}",
            f"leave them out: {toml_option('skip_rows', rows)}" if len(rows) <= 10 else "leave those rows out",
        )


def _variables(data: Data, units: Mapping[str, str]) -> str:
    """List the variables with their units and kinds, or count them where there are many, and the outputs with units."""

    def named(name: str) -> str:
        return f"{name} [{units[name]}]" if name in units else name

    variables = data.space.variables
    outputs = [named(name) for name in data.outputs if name in units]
    said = [f"output {', '.join(outputs)}"] if outputs and len(outputs) <= 8 else []
    if len(variables) <= 8:
        return "; ".join([", ".join(f"{named(v.name)} ({v.kind})" for v in variables), *said])
    kinds = Counter(v.kind for v in variables)
    counts = f"{len(variables)} inputs (" + ", ".join(f"{count} {kind}" for kind, count in kinds.items()) + ")"
    return "; ".join([counts, *said])
