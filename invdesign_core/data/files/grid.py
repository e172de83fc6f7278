"""A table's cells as text, and which of its columns are columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.files.messages import option, place, shown, some
from invdesign_core.data.files.options import IndexChoice, Skipped
from invdesign_core.errors import DataError, plural

if TYPE_CHECKING:
    import pyarrow as pa

NAMELESS = re.compile(r"|Unnamed: \d+(\.\d+)?")
"""Names of columns that have none: as written, and as pandas writes them when it saves such a table again."""


@dataclass(frozen=True)
class Grid:
    """The cells of n rows of a text file or a sheet, before anybody says what they mean."""

    path: Path
    names: tuple[str, ...]
    columns: tuple[pa.Array, ...]
    """For each name (n,) texts without the spaces around them, null where a cell is empty."""
    rows: NDArray[np.intp]
    """(n,) numbers of the rows below the header, from 1."""
    lines: NDArray[np.intp]
    """(n,) numbers of the rows in the file, of which `line` says what they count."""
    line: str = "line"
    separator: str | None = None
    understood: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    index: NDArray[np.int64] | None = None
    """(n,) row numbers that were left out."""
    refused: Mapping[str, DataError] = field(default_factory=dict)
    """Why some of the columns can't be used."""

    def place(self, position: int) -> str:
        """Say where row `position` (from 0) stands in the file."""
        return place(int(self.rows[position]), int(self.lines[position]), self.line)

    def at(self, positions: Sequence[int]) -> Grid:
        """Return the grid with the columns at some positions."""
        return replace(
            self, names=tuple(self.names[i] for i in positions), columns=tuple(self.columns[i] for i in positions)
        )

    def keep(self, names: Sequence[str]) -> Grid:
        """Return the grid with some of its columns, which have different names by now."""
        return self.at([self.names.index(name) for name in names])


def cells(texts: Any) -> pa.Array:
    """Turn texts into a column: without spaces around them, null where nothing is left."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
    array = pc.utf8_trim_whitespace(array)
    empty = pc.equal(array, "")
    return pc.if_else(empty, pa.scalar(None, pa.large_string()), array) if pc.any(empty).as_py() else array


def clean_name(name: str) -> str:
    """Return a name without spaces around it and without line breaks."""
    return re.sub(r"\s*[\r\n]+\s*", " ", name.strip())


def tidy(grid: Grid, index: IndexChoice) -> Grid:
    """Leave out what is no row and no column, and refuse columns that can't be told apart."""
    filled = np.zeros(len(grid.rows), dtype=bool)
    for column in grid.columns:
        filled |= column.is_valid().to_numpy(zero_copy_only=False)
    if not filled.any():
        raise DataError(
            f"{grid.path}: found column names and no rows below them: {some(grid.names)}", "is this the right file?"
        )
    notes = list(grid.notes)
    end = int(filled.nonzero()[0][-1]) + 1
    if end < len(filled):  # as spreadsheets write them
        notes.append(f"{plural(len(filled) - end, 'empty row')} at the end left out")
        columns = tuple(column.slice(0, end) for column in grid.columns)
        grid = replace(grid, columns=columns, rows=grid.rows[:end], lines=grid.lines[:end])
    named = [
        i
        for i, (name, column) in enumerate(zip(grid.names, grid.columns, strict=True))
        if not NAMELESS.fullmatch(name) or column.null_count < end
    ]
    if len(named) < len(grid.names):
        notes.append(f"{plural(len(grid.names) - len(named), 'column')} without a name and without values left out")
        grid = grid.at(named)
    names, numbers, more = name_columns(grid.path, grid.names, grid.columns.__getitem__, index)
    grid = grid.at(range(len(grid.names) - len(names), len(grid.names)))
    return replace(grid, names=names, index=numbers, notes=(*notes, *more))


def name_columns(
    path: Path, names: Sequence[str], texts: Callable[[int], pa.Array], index: IndexChoice
) -> tuple[tuple[str, ...], NDArray[np.int64] | None, list[str]]:
    """Leave out row numbers in first columns without a name, and refuse names that are missing or there twice.

    Returns the names of the columns that are left, the last ones; (n,) the numbers left out; and what to tell the user.
    """
    kept, numbers, notes = list(names), None, []
    while kept and NAMELESS.fullmatch(kept[0]):
        column = texts(len(names) - len(kept))
        counted = _row_numbers(column)
        if index == "keep":
            kept[0] = "index" if "index" not in kept else f"index {len(kept)}"
            notes.append(f"the first column has no name and is kept as {kept[0]!r}")
            break
        if counted is None and index is None:
            break
        what = f"begins with {_first(column)}" if counted is None else "numbers the rows"
        notes.append(f"the first column has no name and {what}: left out")
        numbers = counted if counted is not None else numbers
        del kept[0]
    nameless = next((i for i, name in enumerate(kept) if NAMELESS.fullmatch(name)), None)
    if nameless is not None:
        hint = f"write a name into the header; if the names stand in another line: {option('header', 2)}"
        if nameless == 0:
            rows = f"if these are row numbers, {option('index', 'drop')} leaves them out"
            hint = f"{rows} and {option('index', 'keep')} makes them a column; else {hint}"
        called = f" (pandas calls it {kept[nameless]!r})" if kept[nameless] else ""
        position = len(names) - len(kept) + nameless
        raise DataError(
            f"{path}: column {position + 1} of {len(names)} has no name{called}; its first value is "
            f"{_first(texts(position))}",
            hint,
        )
    refuse_twice(path, kept)
    return tuple(kept), numbers, notes


def refuse_twice(path: Path, names: Sequence[str]) -> None:
    """Refuse names that occur more than once."""
    for name in names:
        where = [i + 1 for i, other in enumerate(names) if other == name]
        if len(where) > 1:
            raise DataError(
                f"{path}: the column {name!r} appears {'twice' if len(where) == 2 else f'{len(where)} times'} "
                f"(columns {', '.join(map(str, where[:-1]))} and {where[-1]})",
                "rename one of them",
            )


def kept_rows(path: Path, count: int, skip: Skipped) -> NDArray[np.intp]:
    """Return the numbers, from 1, of the rows that aren't to be skipped; refuse a row that isn't there, and none."""
    if isinstance(skip, list) and max(skip, default=0) > count:
        raise DataError(f"{path}: skip_rows names row {max(skip)}, but the table has {plural(count, 'row')}", None)
    rows = np.arange(1, count + 1)
    rows = rows[skip:] if isinstance(skip, int) else rows[~np.isin(rows, skip)]
    if count and not len(rows):
        raise DataError(f"{path}: skip_rows leaves out all {plural(count, 'row')}", "see `skip_rows`")
    return rows


def _row_numbers(column: pa.Array) -> NDArray[np.int64] | None:
    """Return a column's numbers where they are 0…n−1 or 1…n in any order, else None."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count or not pc.all(pc.match_substring_regex(column, r"^\d{1,18}(\.0)?$")).as_py():
        return None
    numbers = pc.cast(pc.replace_substring_regex(column, r"\.0$", ""), pa.int64()).to_numpy(zero_copy_only=False)
    ordered = np.sort(numbers)
    counted = ordered[0] in (0, 1) and (ordered == np.arange(len(ordered)) + ordered[0]).all()
    return np.asarray(numbers, dtype=np.int64) if counted else None


def _first(column: pa.Array) -> str:
    values = column.drop_null()
    return shown(values[0].as_py()) if len(values) else "nothing"
