"""Several table files as one: found by patterns, stacked one below the other, or joined by a key or by their order."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.files.contents import READERS
from invdesign_core.data.files.load import columns_without_names, load_table
from invdesign_core.data.files.messages import option, some
from invdesign_core.data.files.options import LoadedTable, Reading
from invdesign_core.data.patterns import matches
from invdesign_core.errors import DataError, near_match, plural

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 4
"""Files of which a note says how each was read."""


@dataclass(frozen=True)
class TableFile:
    """A table that was read, and the file, or the first of the files, that it is from."""

    path: Path
    table: LoadedTable

    @property
    def where(self) -> str:
        """The file or files, for messages."""
        others = len(self.table.files) - 1
        return str(self.path) if others < 1 else f"{self.path} and {plural(others, 'other file')}"

    @property
    def name(self) -> str:
        """The same, short."""
        others = len(self.table.files) - 1
        return self.path.name if others < 1 else f"{self.path.name} and {plural(others, 'other file')}"

    def first(self, bad: NDArray[np.bool_]) -> str:
        """Say where the first bad row stands."""
        return self.table.place(int(np.argmax(bad)))


def find_files(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """Return the files that paths and patterns such as ``runs/*.csv`` name, each once; those of a pattern are sorted.

    Raises
    ------
    DataError
        If a pattern matches no file.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        whole = folder / path
        named = [whole]
        if whole.is_dir():
            ending = next((p.suffix for p in sorted(whole.iterdir()) if p.suffix.lower() in READERS), ".csv")
            pattern = option("path", (path / f"*{ending}").as_posix())
            raise DataError(f"{whole}: found a folder, expected a file", f"all tables in it are read by {pattern}")
        if any(mark in str(path) for mark in "*?[") and not whole.exists():
            matched = glob.glob(str(path), root_dir=folder, recursive=True)
            named = sorted(folder / name for name in matched if (folder / name).is_file())
            if not named:
                there = [p.name for p in whole.parent.iterdir()] if whole.parent.is_dir() else []
                raise DataError(f"{whole}: no file matches", near_match(path.name.strip("*?"), there))
        for file in named:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def read_pair(features: Path, targets: Path, reading: Reading) -> list[TableFile]:
    """Read the features and the targets, of which those without a header take their share of `names`, in order."""
    paths = features, targets
    widths = [columns_without_names(path, reading) for path in paths]
    known = [f"{letter}{i + 1}" for letter, width in zip("xy", widths, strict=True) for i in range(width)]
    if any(widths) and not reading.names and reading.header is None:
        found = " and ".join(str(path) for path, width in zip(paths, widths, strict=True) if width)
        raise DataError(
            f"{found}: the first line holds only numbers; is there no header?",
            f'name the columns: {option("names", known)}; or header = "no" calls them {", ".join(known[:3])}, '
            "…; or write a line of names above it; if these are names: header = 1",
        )
    if reading.names and len(reading.names) != len(known):
        raise DataError(
            f"{features} and {targets}: `names` holds {len(reading.names)} names, and the files without a header have "
            f"{len(known)} columns",
            "`names` lists the columns of the features, then those of the targets; a file with a header keeps its "
            "own names",
        )
    names = reading.names or known
    own = names[: widths[0]], names[widths[0] :]
    return [
        TableFile(path, load_table(path, reading.model_copy(update={"names": part}), strict=False))
        for path, part in zip(paths, own, strict=True)
    ]


def stack(files: Sequence[TableFile], outputs: Sequence[str] = ()) -> TableFile:
    """Put tables with the same columns, in whatever order, one below the other; `outputs` can't be left out.

    Raises
    ------
    DataError
        If the columns differ, or one is text in one file and numbers in another.
    """
    import pandas as pd

    if len(files) == 1:
        return files[0]
    first = files[0]
    columns = list(first.table.frame.columns)
    for file in files[1:]:
        _refuse_other_columns(first, file, outputs)
    for name in columns:
        _refuse_other_type(files, name)
        _refuse_other_unit(files, name)
    sizes = [len(file.table.frame) for file in files]
    words: dict[str, Counter[str]] = {}
    for file in files:
        for name, found in file.table.words.items():
            words.setdefault(name, Counter()).update(found)
    lines = [
        np.zeros(n, np.intp) if f.table.lines is None else f.table.lines for f, n in zip(files, sizes, strict=True)
    ]
    ends = np.cumsum(sizes)
    said = [
        f"rows {end - size + 1} to {end} are {file.path.name} ({', '.join(file.table.understood)})"
        for file, size, end in zip(files[:SHOWN], sizes, ends, strict=False)
    ]
    if len(files) > SHOWN:
        said.append(f"rows {ends[SHOWN - 1] + 1} to {ends[-1]} are {plural(len(files) - SHOWN, 'more file')}")
    table = LoadedTable(
        frame=pd.concat([file.table.frame[columns] for file in files], ignore_index=True),
        names=first.table.names,
        understood=tuple(said),
        notes=tuple(f"{file.path.name}: {note}" for file in files for note in file.table.notes),
        rows=np.concatenate([file.table.rows for file in files]),
        lines=np.concatenate(lines),
        line=first.table.line,
        words=words,
        refused=tuple({name: None for file in files for name in file.table.refused}),
        units={name: unit for file in files for name, unit in file.table.units.items()},
        files=tuple(file.path for file in files),
        file=np.repeat(np.arange(len(files)), sizes),
    )
    return TableFile(first.path, table)


def _refuse_other_columns(first: TableFile, file: TableFile, outputs: Sequence[str]) -> None:
    mine, other = list(first.table.frame.columns), list(file.table.frame.columns)
    lacking, more = [n for n in mine if n not in other], [n for n in other if n not in mine]
    if not (lacking or more):
        return
    differ = [f"it lacks {some(lacking)}"] if lacking else []
    differ += [f"it has {some(more)} besides"] if more else []
    shared = [name for name in mine if name in other]
    hint = "tables below each other need the same columns; "
    if len(shared) == 1:
        hint += f"if these belong beside each other: {option('join', shared[0])}"
    elif any(name in matches(output, [*lacking, *more]) for output in outputs for name in (*lacking, *more)):
        hint += 'if these belong beside each other, name the column that says which rows do: join = "COLUMN"'
    else:
        hint += f"if these aren't needed: {option('leave_out', [*lacking, *more])}"
    raise DataError(f"{file.path}: its columns are not those of {first.path}: {', and '.join(differ)}", hint)


def _refuse_other_type(files: Sequence[TableFile], name: str) -> None:
    """Refuse a column that is of another type in some files, where it isn't empty."""
    found: dict[str, TableFile] = {}
    for file in files:
        column = file.table.frame[name]
        if column.notna().any():
            found.setdefault(type_of(column), file)
    if len(found) > 1:
        (what, one), (other, second) = list(found.items())[:2]
        column = second.table.frame[name]
        there = column.notna().to_numpy()
        raise DataError(
            f"{second.path}: column {name!r}, {second.first(there)}: found {other} "
            f"({column.iloc[int(np.argmax(there))]!r}), expected {what}, as in {one.path}",
            f"if it is a label in all files: {option('labels', [name])}",
        )


def _refuse_other_unit(files: Sequence[TableFile], name: str) -> None:
    """Refuse a column that has another unit in some files, where they say it."""
    found: dict[str, TableFile] = {}
    for file in files:
        if name in file.table.units:
            found.setdefault(file.table.units[name], file)
    if len(found) > 1:
        (unit, one), (other, second) = list(found.items())[:2]
        raise DataError(
            f"{second.path}: column {name!r} is in {other!r}, and in {unit!r} in {one.path}",
            "convert one of them; if both mean the same, write it alike",
        )


def type_of(column: pd.Series) -> str:
    """Name what a column holds."""
    return {"b": "true/false", "i": "numbers", "u": "numbers", "f": "numbers"}.get(column.dtype.kind, "text")


def join(files: Sequence[TableFile], key: str, unmatched: str = "refuse") -> list[TableFile]:
    """Put the rows of tables with the same value of a key beside each other, in the order of the first table.

    The key stays a column of the first one. `unmatched` says what to do with rows that some table has no partner of:
    ``refuse`` them, or ``leave-out``.

    Raises
    ------
    DataError
        If the key is missing, is there twice, or has other values in another table, or a column is in two tables.
    """
    import pandas as pd

    if len(files) == 1:
        raise DataError(f"{files[0].path}: join = {key!r} joins several files, and there is one", "name the others")
    keys = [pd.Index(_keys(file, key)) for file in files]
    for file, values in zip(files[1:], keys[1:], strict=True):
        (mine, other) = (type_of(f.table.frame[key]) for f in (files[0], file))
        if mine != other:
            raise DataError(
                f"{key!r} holds {mine} in {files[0].path}, such as {_some(keys[0])}, and {other} in {file.path}, such "
                f"as {_some(values)}",
                f"if they are labels: {option('labels', [key])}",
            )
    both = keys[0]
    for values in keys[1:]:
        both = both[both.isin(values)]
    if unmatched == "refuse":
        _refuse_unmatched(files, keys, key, both)
    if not len(both):
        raise DataError(
            f"{files[0].path} and {files[1].path}: no value of {key!r} is in all files: {_some(keys[0])} in "
            f"{files[0].path}, {_some(keys[1])} in {files[1].path}",
            "is it the right column?",
        )
    joined = [_taken(file, values.get_indexer(both)) for file, values in zip(files, keys, strict=True)]
    joined = [
        joined[0],
        *(replace(f, table=replace(f.table, frame=f.table.frame.drop(columns=key))) for f in joined[1:]),
    ]
    refuse_shared(joined)
    said = f"joined by {key!r}: {plural(len(both), 'row')}"
    lost = [f"{len(k) - len(both)} without a partner left out" for k in keys if len(k) > len(both)]
    first = joined[0].table
    return [replace(joined[0], table=replace(first, understood=(*first.understood, said, *lost))), *joined[1:]]


def _keys(file: TableFile, key: str) -> NDArray[np.object_]:
    """Return the (n,) values of a key, each of which is there once."""
    frame = file.table.frame
    if key not in frame.columns:
        raise DataError(f"{file.path}: there is no column {key!r}, and join names it", near_match(key, frame.columns))
    column = frame[key]
    empty = column.isna().to_numpy()
    if empty.any():
        raise DataError(f"{file.path}: {key!r}, by which tables are joined, is empty in {file.first(empty)}")
    again = column.duplicated().to_numpy()
    if again.any():
        row = int(np.argmax(again))
        first = int(np.argmax((column == column.iloc[row]).to_numpy()))
        raise DataError(
            f"{file.path}: {key!r}, by which tables are joined, is {column.iloc[row]!r} in {file.table.place(first)} "
            f"and in {file.table.place(row)}",
            "a key is there once in each table; of repeated measurements put a mean into it, or join by another column",
        )
    return column.to_numpy()


def _refuse_unmatched(files: Sequence[TableFile], keys: Sequence[pd.Index], key: str, both: pd.Index) -> None:
    said = []
    for file, values in zip(files, keys, strict=True):
        alone = values[~values.isin(both)]
        if len(alone):
            said.append(f"{len(alone)} of {plural(len(values), 'row')} of {file.path}, such as {_some(alone)}")
    if said:
        raise DataError(
            f"joined by {key!r}, these rows have no partner in the other files: {'; '.join(said)}",
            f"leave them out: {option('unmatched', 'leave-out')}",
        )


def _some(values: pd.Index) -> str:
    return some(values.tolist(), 3)


def _taken(file: TableFile, order: NDArray[np.intp]) -> TableFile:
    """Return the table with some of its rows, in another order."""
    t = file.table
    lines, index, number = (None if a is None else a[order] for a in (t.lines, t.index, t.file))
    frame = t.frame.iloc[order].reset_index(drop=True)
    return replace(file, table=replace(t, frame=frame, rows=t.rows[order], lines=lines, index=index, file=number))


def beside(designs: TableFile, responses: TableFile, index: str | None) -> list[TableFile]:
    """Check that row i of the one table can belong to row i of the other; `index` is what was said of row numbers."""
    both = f"{designs.where} and {responses.where}"
    rows = len(designs.table.frame), len(responses.table.frame)
    shared = [name for name in designs.table.frame.columns if name in responses.table.frame.columns]
    if rows[0] != rows[1]:
        by = option("join", shared[0]) if len(shared) == 1 else 'join = "COLUMN"'
        raise DataError(
            f"{designs.where} has {rows[0]} rows, {responses.where} has {rows[1]}",
            f"row i of one table belongs to row i of the other; if a column says which belong together: {by}",
        )
    refuse_shared([designs, responses])
    left, right = designs.table.index, responses.table.index
    if index is None and left is not None and right is not None and (left != right).any():
        at = int(np.argmax(left != right))
        raise DataError(
            f"{both}: the row numbers in their first columns differ: {left[at]} and {right[at]} in "
            f"{designs.table.place(at)}",
            'sort both files alike; if these numbers mean nothing: index = "drop"',
        )
    return [designs, responses]


def refuse_shared(files: Sequence[TableFile]) -> None:
    """Refuse a column that two tables have, of which nobody could say which is meant."""
    seen: dict[str, TableFile] = {}
    for file in files:
        for name in file.table.frame.columns:
            if name in seen:
                raise DataError(
                    f"the column {name!r} is in {seen[name].where} and in {file.where}",
                    f"rename one, or leave it out; if it says which rows belong together: {option('join', name)}",
                )
            seen[name] = file
