"""A table of the user's own: one file, several below each other, or several beside each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import model_validator

from invdesign_core.plugin import (
    DESIGN,
    Columns,
    Context,
    Data,
    DataError,
    Dataset,
    LargeTable,
    Reading,
    TableFile,
    beside,
    design_columns,
    find_files,
    is_result,
    join,
    load_table,
    matching_columns,
    measured_designs,
    read_large,
    read_pair,
    refuse_unknown,
    stack,
    toml_option,
    with_conditions,
)

if TYPE_CHECKING:
    import pandas as pd


class Table(Reading, Columns, Dataset):
    """Designs and responses from text, parquet or Excel files: one, or several below or beside each other.

    Whole numbers become integer variables, true/false binary ones, text categories; `kinds` says
    otherwise where that is wrong.
    """

    name: ClassVar[str] = "table"

    @model_validator(mode="after")
    def _outputs_are_numbers(self) -> Table:
        for key, names in (("labels", self.labels), ("leave_out", self.leave_out)):
            for name in (output for item in names for output in matching_columns(item, self.outputs)):
                if name in self.outputs:
                    raise ValueError(f"{name!r} is in both `outputs` and `{key}`; remove it from one of them")
        return self

    def only_number(self, name: str) -> bool:
        """Say whether a column can hold nothing but numbers: an output."""
        return name in (column for item in self.outputs for column in matching_columns(item, [name]))

    def load(self, ctx: Context) -> Data:
        """Read the file or files."""
        asked = self.without(self.leave_out)
        found = asked._large(ctx)
        if found is not None:
            file, large = found
            ctx.note(f"{file.name}: {large.words}")
            return replace(asked._understood([file], ctx), large=large)
        return asked._understood(asked._files(ctx.folder), ctx)

    def _large(self, ctx: Context) -> tuple[TableFile, LargeTable] | None:
        """Read a sample of one file that is too large to lie in memory, where nothing is asked that needs all rows."""
        paths = [] if self.features is not None else find_files(ctx.folder, self.paths)
        needs_all = self.join or self.kinds or self.groups or self.weights or self.replicates or self.conditions
        if len(paths) != 1 or needs_all or self.missing_outputs != "refuse":
            return None
        found = read_large(paths[0], self, self.needed, ctx)
        return None if found is None else (TableFile(paths[0], found[0]), found[1])

    def _understood(self, files: Sequence[TableFile], ctx: Context) -> Data:
        """Return the data in files that were read."""
        asked = self
        where = " and ".join(file.where for file in files)
        table = asked.with_outputs([name for file in files for name in file.table.frame.columns], where)
        files = [_with_plain_names(file, table) for file in files]
        names = [name for file in files for name in file.table.frame.columns]
        if said := asked.said(names, table.outputs):
            ctx.note(f"{files[0].name}: {'; '.join(said)}")
        return table.with_inputs(names, where)._data(files, where, ctx)

    def _data(self, files: Sequence[TableFile], where: str, ctx: Context) -> Data:
        """Return the data in files that were read; each option names columns that are there."""
        import pandas as pd

        frame = pd.concat([file.table.frame for file in files], axis=1)
        outputs = self.outputs or [name for name in files[-1].table.frame.columns if name not in self.aside]
        sides = files if self.join is not None else files[:1]
        others = [name for file in sides for name in file.table.frame.columns if name not in (*outputs, *self.aside)]
        inputs = others if self.inputs is None else self.inputs
        if self.inputs is None and (designs := _designs(files[0].table.names, self)):
            inputs = [name for name in others if name in designs]
            if left := ", ".join(repr(name) for name in others if name not in designs):
                said = f"the inputs are the columns that begin with {DESIGN!r}; left aside are {left}"
                ctx.note(f"{files[0].name}: {said}")
        source = {name: file for file in files for name in file.table.frame.columns}
        whole = [*inputs, *self.beside, *(outputs if self.missing_outputs == "refuse" else ())]
        empty = [name for name in whole if frame[name].isna().any()]
        for name in (*inputs, *self.beside):
            _refuse_empty(source[name], name, empty, self.skipped)
        for name in outputs:
            _refuse_text(source[name], name)
            if self.missing_outputs == "refuse":
                _refuse_empty(source[name], name, empty, self.skipped, output=True)
        if self.missing_outputs == "own-rows":
            _refuse_unmeasured(source[outputs[0]], frame[outputs], self.skipped)
        try:
            units = {name: unit for file in files for name, unit in file.table.units.items()}
            data = Data.from_frame(
                frame,
                outputs,
                inputs,
                self.kinds,
                name=files[0].name,
                groups=self.groups,
                weights=self.weights,
                partial=self.missing_outputs == "own-rows",
            )
            data = replace(with_conditions(data, self.conditions), units=units)
        except DataError as error:
            raise DataError(f"{where}: {error.message}", error.hint) from None
        said = "; ".join(f"{file.name}: {', '.join(file.table.understood)}" for file in files)
        ctx.note(f"{said}; {_variables(data, units)}{measured_designs(data, self.replicates)}")
        for file in files:
            for note in file.table.notes:
                ctx.warn(note if file.table.files else f"{file.name}: {note}")
        for doubt in self.tell(data):
            ctx.warn(f"{files[0].name}: {doubt}")
        return data

    def _files(self, folder: Path) -> list[TableFile]:
        """Read the files: one table, or several whose rows stand below or beside each other."""
        if self.features is not None and self.targets is not None:
            files = read_pair(folder / self.features, folder / self.targets, self)
        elif len(paths := find_files(folder, self.paths)) == 1 and self.join is None:
            return [TableFile(paths[0], load_table(paths[0], self, self.needed))]
        else:
            needed = self.needed if self.join is None else None
            files = [TableFile(path, load_table(path, self, needed, strict=False)) for path in paths]
        where = " and ".join(str(file.path) for file in files)
        refuse_unknown(where, self, [name for file in files for name in file.table.names])
        if self.join is not None:
            return join(files, self.join, self.unmatched)
        return [stack(files, self.outputs)] if self.paths else beside(files[0], files[1], self.index)


def _designs(names: Sequence[str], table: Table) -> dict[str, str]:
    """Return the columns ``design.NAME`` of a table of designs by their variables, where no option names them so."""
    said = {*table.outputs, *(table.inputs or ()), *table.conditions, *table.kinds, *table.aside}
    left_out = {column for name in table.leave_out for column in matching_columns(name, names)}
    return design_columns([name for name in names if name not in left_out], said)


def _with_plain_names(file: TableFile, table: Table) -> TableFile:
    """Let the columns ``design.NAME`` of a table that invdesign wrote go by the names of the variables."""
    frame = file.table.frame
    found = {column: name for name, column in _designs(list(frame.columns), table).items()}
    for column, name in found.items():
        if name in frame.columns and is_result(name, ()):
            frame = frame.drop(columns=name)
        elif name in frame.columns:
            raise DataError(
                f"{file.where}: there is a column {name!r} and a column {column!r}: only one of them can be the design",
                f"leave one of them out: {toml_option('leave_out', [name])}, or name the inputs",
            )
    return replace(file, table=replace(file.table, frame=frame.rename(columns=found)))


def _refuse_empty(
    file: TableFile, name: str, others: Sequence[str], skipped: Collection[int], output: bool = False
) -> None:
    """Refuse a column with empty places, and say what stands there, and which `others` have some too."""
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
    if file.table.lines is not None and not file.table.files and len(rows) <= 10:
        hints.append(f"these rows are left out by {toml_option('skip_rows', sorted({*skipped, *rows}))}")
    if not output:
        hints.append(f"the column is left out by {toml_option('leave_out', [name])}")
    if more := [repr(other) for other in others if other != name]:
        hints.append(f"empty in places too: {', '.join(more[:5])}{', …' * (len(more) > 5)}")
    raise DataError(
        f"{file.where}: {name}: {int(empty.sum())} of {len(empty)} empty, first in {file.first(empty)}"
        + (f" ({found})" if found else ""),
        "; ".join(hints),
    )


def _refuse_text(file: TableFile, name: str) -> None:
    column = file.table.frame[name]
    if column.dtype.kind in "biuf":
        return
    text = column.notna().to_numpy()
    raise DataError(
        f"{file.where}: output {name!r}, {file.first(text)}: found text {column.iloc[int(np.argmax(text))]!r}, "
        "expected a number",
        "outputs are numbers; name another column, or write numbers for its labels",
    )


def _refuse_unmeasured(file: TableFile, responses: pd.DataFrame, skipped: Collection[int]) -> None:
    """Refuse rows in which no output was measured; they would be designs without an answer."""
    nothing = responses.isna().all(axis=1).to_numpy()
    if nothing.any():
        rows = [int(row) for row in file.table.rows[nothing]]
        raise DataError(
            f"{file.where}: rows without any output: {len(rows)} of {len(nothing)}, first {file.first(nothing)}",
            f"leave them out: {toml_option('skip_rows', sorted({*skipped, *rows}))}"
            if len(rows) <= 10 and not file.table.files
            else "leave those rows out",
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
