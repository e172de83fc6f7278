"""A table file of any kind that can be read, by its ending and by what it really is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from invdesign_core.data.files import file_type as disguise
from invdesign_core.data.files.excel import read_excel
from invdesign_core.data.files.grid import Grid, tidy
from invdesign_core.data.files.messages import option
from invdesign_core.data.files.numbers import parse
from invdesign_core.data.files.options import DESIGN, LoadedTable, Reading
from invdesign_core.data.files.parquet import Parquet, open_parquet, parse_parquet
from invdesign_core.data.files.text_file import read_delimited
from invdesign_core.errors import DataError, near_match, plural

if TYPE_CHECKING:
    import pandas as pd

TEXT = (".csv", ".txt", ".tsv", ".tab", ".dat")
PARQUET = (".parquet", ".pq")
EXCEL = (".xlsx", ".xlsm")
READERS = (*TEXT, *PARQUET, *EXCEL)
"""Endings of the files that can be read."""

_UNUSED = {
    TEXT: ("sheet",),
    PARQUET: ("separator", "decimal", "thousands", "encoding", "header", "sheet", "missing"),
    EXCEL: ("separator", "encoding"),
}
"""Options that mean nothing for a kind of file."""

AUTOMATIC = Reading()
"""Everything is found out."""


def read_table(path: Path) -> pd.DataFrame:
    """Read a table file whose way of writing can be found out; `load_table` tells more and can be told more.

    Raises
    ------
    DataError
        If the file is missing, is no table, or can be understood in two ways.
    """
    return load_table(path).frame


def load_table(
    path: Path, reading: Reading = AUTOMATIC, columns: Collection[str] | None = None, strict: bool = True
) -> LoadedTable:
    r"""Read a table from a text, parquet or Excel file.

    Parameters
    ----------
    path : Path
        The file; it is only read.
    reading : Reading
        What the user says about it.
    columns : collection of str, optional
        The columns that are needed; the others are neither read nor checked. By default all. Where there is none of
        a name, that of the same name with ``design.`` before is taken, as in the tables that invdesign writes.
    strict : bool
        False where `labels` and `leave_out` may name columns of another file.

    Returns
    -------
    LoadedTable
        The table, how it was understood, and where its rows stand in the file.

    Raises
    ------
    DataError
        If the file is missing, is no table, or can be understood in two ways, or if a column is missing or holds
        what can't be used.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "table.csv"
    >>> _ = path.write_text("a;y\n0,5;2\n1,5;4\n")
    >>> table = load_table(path)
    >>> table.frame["a"].tolist(), table.understood
    ([0.5, 1.5], ("separator ';', decimal comma, 2 rows, 2 columns",))
    """
    path = Path(path)
    asked = columns or ()
    data = _contents(path, reading)
    source: Parquet | Grid
    if path.suffix.lower() in PARQUET:
        source = open_parquet(path, reading)
        columns = _as_written(source.names, columns)
        wanted = _wanted(path, source.names, reading, columns, strict)
        parsed = parse_parquet(path, source, wanted, reading.labels)
    else:
        read = read_excel if path.suffix.lower() in EXCEL else read_delimited
        source = tidy(path, read(path, data, reading), reading.index)
        columns = _as_written(source.names, columns)
        wanted = _wanted(path, source.names, reading, columns, strict)
        parsed = parse(path, source.keep(wanted), reading)
    unused = [key for key in _UNUSED[_kind(path)] if getattr(reading, key) not in (None, [])]
    notes = [f"{', '.join(unused)}: not used for a {path.suffix} file"] if unused else []
    import pandas as pd

    frame = pd.DataFrame(parsed.columns, index=pd.RangeIndex(len(source.rows)), columns=wanted)
    renamed = {DESIGN + name: name for name in asked if DESIGN + name not in asked and name not in source.names}
    size = (plural(len(source.rows), "row"), plural(len(source.names), "column"))
    return LoadedTable(
        frame=frame.rename(columns=renamed),
        names=source.names,
        understood=(", ".join((*source.understood, *parsed.understood, *size)),),
        notes=(*source.notes, *parsed.notes, *notes),
        rows=source.rows,
        lines=source.lines,
        line=source.line,
        words=parsed.words,
        index=source.index,
    )


def refuse_unknown(where: str, reading: Reading, names: Sequence[str]) -> None:
    """Refuse options that speak of columns which aren't there.

    Parameters
    ----------
    where : str
        The file or files, for messages.
    reading : Reading
        The options.
    names : sequence of str
        The columns that are there.
    """
    for key in ("labels", "leave_out"):
        for name in getattr(reading, key):
            if name not in names:
                raise DataError(f"{where}: {key} names {name!r}, and there is no such column", near_match(name, names))


def _as_written(names: Sequence[str], columns: Collection[str] | None) -> Collection[str] | None:
    """Return the names that the needed columns have in a file, which may be a table of designs."""
    if columns is None:
        return None
    asked = {name: DESIGN + name for name in columns if name not in names and DESIGN + name not in columns}
    return [asked[name] if asked.get(name) in names else name for name in columns]


def _wanted(
    path: Path, names: Sequence[str], reading: Reading, columns: Collection[str] | None, strict: bool
) -> list[str]:
    """Return the columns to read, in the file's order."""
    for name in columns or ():
        if name not in names:
            alone = len(names) == 1 and len(names[0]) > len(name)
            hint = f"the only column is {names[0]!r}; if that is several, name the `separator`" if alone else None
            raise DataError(f"{path}: there is no column {name!r}", hint or near_match(name, names))
        if name in reading.leave_out:
            raise DataError(
                f"{path}: the column {name!r} is needed, and leave_out names it", "remove it from leave_out"
            )
    if strict:
        refuse_unknown(str(path), reading, names)
    return [name for name in names if (columns is None or name in columns) and name not in reading.leave_out]


def _kind(path: Path) -> tuple[str, ...]:
    """Return the endings of the kind of file that a path names."""
    return next(kind for kind in (TEXT, PARQUET, EXCEL) if path.suffix.lower() in kind)


def _contents(path: Path, reading: Reading) -> bytes:
    """Return what is in a file; of a parquet file, which is read column by column, only the beginning.

    Raises
    ------
    DataError
        If there is no such file, or it is of another kind than its ending says.
    """
    ending = path.suffix.lower()
    if not path.exists():
        near = near_match(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else None
        raise DataError(f"{path}: there is no such file", near)
    if path.is_dir():
        raise DataError(f"{path}: found a folder, expected a file", f"files that can be read: {', '.join(READERS)}")
    if ending not in READERS:
        found = f"a {ending} file" if ending else "a file without an ending"
        raise DataError(f"{path}: found {found}, which can't be read", f"files that can be read: {', '.join(READERS)}")
    try:
        with path.open("rb") as file:
            data = file.read(5000) if ending in PARQUET else file.read()
            if data.startswith(disguise.ZIP) and ending in PARQUET:
                data += file.read()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from None
    found = disguise.what_it_is(data)
    expected = disguise.PARQUET if ending in PARQUET else disguise.EXCEL if ending in EXCEL else disguise.TEXT
    if found in (disguise.WIDE_TEXT, disguise.BINARY) and expected == disguise.TEXT and reading.encoding:
        found = expected  # whoever names an encoding knows that it is text
    if found == disguise.EMPTY:
        raise DataError(f"{path}: the file is empty", "expected column names and rows of values below them")
    if found != expected:
        raise DataError(f"{path}: the file is called {ending}, but it is {found}", _advice(found))
    return data


def _advice(found: str) -> str:
    endings = {disguise.TEXT: ".csv", disguise.PARQUET: ".parquet", disguise.EXCEL: ".xlsx"}
    if found in endings:
        return f"if it is a table, rename it to end in {endings[found]}"
    if found == disguise.WIDE_TEXT:
        return f"say so: {option('encoding', 'utf-16-le')}"
    if found == disguise.POINTER:
        return "fetch the file itself: git lfs pull"
    if found == disguise.HTML:
        return "was a page about the file saved instead of the file?"
    return f"unpack it, or save it as one of {', '.join(READERS)}"
