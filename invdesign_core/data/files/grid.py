"""A table's cells as text, and which of its columns are columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.files.messages import option, place, shown, some
from invdesign_core.errors import DataError, plural

if TYPE_CHECKING:
    import pyarrow as pa

NAMELESS = re.compile(r"|Unnamed: \d+(\.\d+)?")
"""Names of columns that have none: as written, and as pandas writes them when it saves such a table again."""


IndexChoice = Literal["drop", "keep"] | None


@dataclass(frozen=True)
class Grid:
    """The cells of a text file or a sheet, before anybody says what they mean.

    Attributes
    ----------
    names : tuple of str
        The d names in the header.
    columns : tuple of pyarrow.Array
        For each name (n,) texts without the spaces around them, null where a cell is empty.
    rows, lines : ndarray of int
        (n,) numbers of each row: below the header, and in the file.
    line : str
        What `lines` counts.
    separator : str, optional
        What stands between the values of a text file; None where there is one column, or in a sheet.
    understood, notes : tuple of str
        How the file was read so far, and what is odd about it.
    index : ndarray of int, optional
        (n,) the row numbers that were left out.
    refused : mapping
        Why some of the columns can't be used.
    """

    names: tuple[str, ...]
    columns: tuple[pa.Array, ...]
    rows: NDArray[np.intp]
    lines: NDArray[np.intp]
    line: str = "line"
    separator: str | None = None
    understood: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    index: NDArray[np.int64] | None = None
    refused: Mapping[str, DataError] = field(default_factory=dict)

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

    def noting(self, note: str) -> Grid:
        """Return the grid with one more note."""
        return replace(self, notes=(*self.notes, note))


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


def tidy(path: Path, grid: Grid, index: IndexChoice) -> Grid:
    """Leave out what is no row and no column, and refuse columns that can't be told apart.

    Parameters
    ----------
    path : Path
        For messages.
    grid : Grid
        The cells as they stand in the file.
    index : str, optional
        What to do with a first column without a name.
    """
    grid = _without_empty_end(grid)
    if not len(grid.rows):
        raise DataError(
            f"{path}: found column names and no rows below them: {some(grid.names)}", "is this the right file?"
        )
    count = len(grid.names)
    keep = [i for i in range(count) if not (NAMELESS.fullmatch(grid.names[i]) and _is_empty(grid.columns[i]))]
    if len(keep) < count:
        grid = grid.at(keep)
        grid = grid.noting(f"{plural(count - len(keep), 'column')} without a name and without values left out")
    names, numbers, notes = name_columns(path, grid.names, lambda i: grid.columns[i], index)
    dropped = len(grid.names) - len(names)
    grid = grid.at(range(dropped, len(grid.names)))
    return replace(grid, names=names, index=numbers, notes=(*grid.notes, *notes))


def name_columns(
    path: Path, names: Sequence[str], texts: Callable[[int], pa.Array], index: IndexChoice
) -> tuple[tuple[str, ...], NDArray[np.int64] | None, list[str]]:
    """Leave out row numbers in first columns without a name, and refuse names that are missing or there twice.

    Parameters
    ----------
    path : Path
        For messages.
    names : sequence of str
        The header.
    texts : callable
        Returns the texts of a column.
    index : str, optional
        What the user says about a first column without a name.

    Returns
    -------
    names : tuple of str
        Those of the last columns, which are kept.
    numbers : ndarray of int or None
        (n,) the row numbers that are left out.
    notes : list of str
        What to tell the user.
    """
    kept, numbers, notes = list(names), None, []
    while kept and NAMELESS.fullmatch(kept[0]):
        column = texts(len(names) - len(kept))
        counted = row_numbers(column)
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
    for i, name in enumerate(kept):
        if NAMELESS.fullmatch(name):
            position = len(names) - len(kept) + i
            hint = f"write a name into the header; if the names stand in another line: {option('header', 2)}"
            if i == 0:
                rows = f"if these are row numbers, {option('index', 'drop')} leaves them out"
                hint = f"{rows} and {option('index', 'keep')} makes them a column; else {hint}"
            called = f" (pandas calls it {name!r})" if name else ""
            raise DataError(
                f"{path}: column {position + 1} of {len(names)} has no name{called}; its first value is "
                f"{_first(texts(position))}",
                hint,
            )
    refuse_twice(path, kept)
    return tuple(kept), numbers, notes


def kept_rows(path: Path, count: int, skip: int | list[int]) -> NDArray[np.intp]:
    """Return the numbers, from 1, of the rows that aren't to be skipped.

    Raises
    ------
    DataError
        If a row is named that isn't there, or none is left.
    """
    if isinstance(skip, list) and max(skip, default=0) > count:
        raise DataError(f"{path}: skip_rows names row {max(skip)}, but the table has {plural(count, 'row')}", None)
    rows = np.arange(1, count + 1)
    rows = rows[skip:] if isinstance(skip, int) else rows[~np.isin(rows, skip)]
    if count and not len(rows):
        raise DataError(f"{path}: skip_rows leaves out all {plural(count, 'row')}", "see `skip_rows`")
    return rows


def row_numbers(column: pa.Array) -> NDArray[np.int64] | None:
    """Return a column's numbers where they are 0…n−1 or 1…n in any order, else None."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count or not pc.all(pc.match_substring_regex(column, r"^\d{1,18}(\.0)?$")).as_py():
        return None
    numbers = pc.cast(pc.replace_substring_regex(column, r"\.0$", ""), pa.int64()).to_numpy(zero_copy_only=False)
    ordered = np.sort(numbers)
    start = int(ordered[0])
    counted = start in (0, 1) and (ordered == np.arange(start, start + len(ordered))).all()
    return np.asarray(numbers, dtype=np.int64) if counted else None


def _without_empty_end(grid: Grid) -> Grid:
    """Leave out rows at the end that hold nothing, as spreadsheets write them."""
    filled = np.zeros(len(grid.rows), dtype=bool)
    for column in grid.columns:
        filled |= column.is_valid().to_numpy(zero_copy_only=False)
    end = int(filled.nonzero()[0][-1]) + 1 if filled.any() else 0
    if end == len(filled):
        return grid
    short = replace(
        grid, columns=tuple(c.slice(0, end) for c in grid.columns), rows=grid.rows[:end], lines=grid.lines[:end]
    )
    return short.noting(f"{plural(len(filled) - end, 'empty row')} at the end left out")


def _is_empty(column: pa.Array) -> bool:
    return bool(column.null_count == len(column))


def _first(column: pa.Array) -> str:
    values = column.drop_null()
    return shown(values[0].as_py()) if len(values) else "nothing"


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
