"""A table's cells as text, and which of its columns are columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.files.messages import option, place, shown, some
from invdesign_core.data.files.number_text import all_numbers
from invdesign_core.data.files.options import IndexChoice, Reading, Skipped
from invdesign_core.errors import DataError, plural

if TYPE_CHECKING:
    import pyarrow as pa

NAMELESS = re.compile(r"|Unnamed: \d+(\.\d+)?")
"""Names of columns that have none: as written, and as pandas writes them when it saves such a table again."""


class Refused(NamedTuple):
    """Why a column can't be used: what was found in it and where, and what may be done about it."""

    found: str
    advice: str


def refusal(path: Path, refused: Mapping[str, Refused]) -> DataError:
    """Say why the first of some columns can't be used, and how all of them are left out."""
    first, *others = refused
    also = f"; the same goes for {some(others)}" if others else ""
    leave_out = option("leave_out", list(refused))
    advice = f"{refused[first].advice}; if it is not needed, leave it out: {leave_out}"
    return DataError(f"{path}: {refused[first].found}{also}", advice)


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
    refused: Mapping[str, Refused] = field(default_factory=dict)
    """Why some of the columns can't be used."""
    units: Mapping[str, str] = field(default_factory=dict)
    """The units that stand in the header, or in a line of their own, by column."""
    row_names: bool = False
    """Whether the first column holds names of rows, for which the header has no name."""

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


def tidy(grid: Grid, reading: Reading, some_only: bool = False) -> Grid:
    """Leave out what is no row and no column, and refuse columns that can't be told apart.

    Where the user named `some_only` of the columns, those without a name are none of them.
    """
    filled = np.zeros(len(grid.rows), dtype=bool)
    for column in grid.columns:
        filled |= column.is_valid().to_numpy(zero_copy_only=False)
    if not filled.any():
        if grid.refused:
            raise refusal(grid.path, grid.refused)
        raise DataError(
            f"{grid.path}: found column names and no rows below them: {some(grid.names)}", "is this the right file?"
        )
    grid = without_empty_end(grid)
    notes, end = list(grid.notes), len(grid.rows)
    named = [
        i
        for i, (name, column) in enumerate(zip(grid.names, grid.columns, strict=True))
        if not NAMELESS.fullmatch(name) or column.null_count < end
    ]
    if len(named) < len(grid.names):
        notes.append(f"{plural(len(grid.names) - len(named), 'column')} without a name and without values left out")
        grid = grid.at(named)
    index = reading.index or ("drop" if grid.row_names else None)
    nameless = Nameless(index, some_only, reading.leave_out, _line_of_names(grid))
    names, kept, numbers, more = name_columns(grid.path, grid.names, grid.columns.__getitem__, nameless)
    return replace(grid.at(kept), names=names, index=numbers, notes=(*notes, *more))


def without_empty_end(grid: Grid, names: Sequence[str] | None = None) -> Grid:
    """Leave out the rows at the end in which nothing stands, as spreadsheets write them, or nothing in some columns."""
    filled = np.zeros(len(grid.rows), dtype=bool)
    for column in (grid if names is None else grid.keep(names)).columns:
        filled |= column.is_valid().to_numpy(zero_copy_only=False)
    end = int(filled.nonzero()[0][-1]) + 1 if filled.any() else len(filled)
    if end == len(filled):
        return grid
    said = f"{plural(len(filled) - end, 'empty row')} at the end left out"
    columns = tuple(column.slice(0, end) for column in grid.columns)
    index = None if grid.index is None else grid.index[:end]
    return replace(
        grid, columns=columns, rows=grid.rows[:end], lines=grid.lines[:end], index=index, notes=(*grid.notes, said)
    )


@dataclass(frozen=True)
class Nameless:
    """What is to be done about columns without a name."""

    index: IndexChoice = None
    aside: bool = False
    """Whether they are left out, since others were named."""
    leave_out: Sequence[str] = ()
    header: int | None = None
    """The line in which names may stand instead."""

    def drops(self, name: str) -> bool:
        """Say whether a column that is called like none is left out."""
        return self.aside or "" in self.leave_out or name in self.leave_out


def name_columns(
    path: Path, names: Sequence[str], texts: Callable[[int], pa.Array], nameless: Nameless
) -> tuple[tuple[str, ...], list[int], NDArray[np.int64] | None, list[str]]:
    """Leave out row numbers in first columns without a name, and refuse names that are missing or there twice.

    Returns the names and the positions of the columns that are left; (n,) the numbers left out; what to tell the user.
    """
    kept, numbers, notes = dict(enumerate(names)), None, []
    for i in range(len(names)):
        if not NAMELESS.fullmatch(names[i]):
            break
        counted = _row_numbers(texts(i))
        if nameless.index == "keep":
            kept[i] = "index" if "index" not in names else f"index {len(kept)}"
            notes.append(f"the first column has no name and is kept as {kept[i]!r}")
            break
        if counted is None and nameless.index is None:
            break
        what = f"begins with {_first(texts(i))}" if counted is None else "numbers the rows"
        notes.append(f"the first column has no name and {what}: left out")
        numbers = counted if counted is not None else numbers
        del kept[i]
    left = [i for i, name in kept.items() if NAMELESS.fullmatch(name) and nameless.drops(name)]
    if left:
        which = "column" if len(left) == 1 else "columns"
        notes.append(f"{which} {', '.join(str(i + 1) for i in left)} of {len(names)} without a name left out")
        kept = {i: name for i, name in kept.items() if i not in left}
    for i, name in kept.items():
        if NAMELESS.fullmatch(name):
            called = f" (pandas calls it {name!r})" if name else ""
            raise DataError(
                f"{path}: column {i + 1} of {len(names)} has no name{called}; its first value is {_first(texts(i))}",
                _hint_for_nameless(nameless, first=i == next(iter(kept))),
            )
    refuse_twice(path, list(kept.values()))
    return tuple(kept.values()), list(kept), numbers, notes


def _hint_for_nameless(nameless: Nameless, first: bool) -> str:
    """Say what may be done about a column without a name, but for what was tried already."""
    ways = [f"{option('leave_out', [*nameless.leave_out, ''])} leaves out what has no name"]
    if first and nameless.index is None:
        ways = [
            f"if these are row numbers, {option('index', 'drop')} leaves them out and {option('index', 'keep')} makes "
            "them a column",
            *ways,
        ]
    if nameless.header is not None:
        ways.insert(0, f"if the names stand in line {nameless.header}: {option('header', nameless.header)}")
    return "; ".join([*ways, "or write a name into the header"])


def _line_of_names(grid: Grid) -> int | None:
    """Return the line below the header that looks like names: texts in all columns, maybe but for the first."""
    for row in range(min(5, len(grid.rows) - 1)):
        found = [column[row].as_py() for column in grid.columns]
        if all(found[1:] or found) and not any(all_numbers([text]) for text in found if text):
            return int(grid.lines[row])
    return None


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
