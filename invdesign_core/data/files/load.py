"""A table file of any kind that can be read: bytes to cells of text to columns of values."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from invdesign_core.data.files.contents import KINDS, PARQUET, SHEETS, TEXT, read_bytes
from invdesign_core.data.files.excel import read_excel
from invdesign_core.data.files.grid import NAMELESS, Grid, tidy, without_empty_end
from invdesign_core.data.files.head import NoHeaderError
from invdesign_core.data.files.numbers import parse
from invdesign_core.data.files.options import DESIGN, Automatic, LoadedTable, Reading
from invdesign_core.data.files.parquet import Parquet, open_parquet, parse_parquet
from invdesign_core.data.files.text_file import read_delimited
from invdesign_core.data.patterns import expand, matches, said_of
from invdesign_core.errors import DataError, near_or_all, plural, require

if TYPE_CHECKING:
    import pandas as pd

UNUSED = {
    TEXT: ("sheet",),
    PARQUET: (
        *("separator", "decimal", "thousands", "encoding", "header", "names", "comment", "sheet", "numbers"),
        *("below_limit", "missing"),
    ),
    **dict.fromkeys(SHEETS, ("separator", "encoding", "comment")),
}
"""Options that mean nothing for a kind of file."""
PATTERNS = ("labels", "numbers", "leave_out")
"""Options that name columns, one by one or by patterns."""
AUTOMATIC = Automatic()
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
        The columns that are needed, or patterns such as ``y*``; the others are neither read nor checked. By default
        all. Where there is none of a name, that of the same name with ``design.`` before is taken, as in the tables
        that invdesign writes.
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
    import pandas as pd

    require(path, (str, Path), "the table", "the path of a file")
    require(reading, Reading, "the table: reading", "a Reading", "for example Reading(decimal=',')")
    path = Path(path)
    data = read_bytes(path, reading)
    kind = KINDS[path.suffix.lower()]
    source: Parquet | Grid
    if kind == PARQUET:
        source = open_parquet(path, reading, columns is not None)
    else:
        grid = (read_delimited if kind == TEXT else read_excel)(path, data, reading)
        source = tidy(grid, reading, columns is not None)
    asked, reading = reading, _named(path, source.names, reading, strict)
    if columns is not None:
        kept = [name for name in source.names if name not in reading.leave_out]
        columns = expand(columns, [*kept, *(n.removeprefix(DESIGN) for n in kept if n.startswith(DESIGN))], str(path))
    prefixed = {
        name: DESIGN + name
        for name in columns or ()
        if name not in source.names and DESIGN + name in source.names and DESIGN + name not in (columns or ())
    }
    needed = None if columns is None else [prefixed.get(name, name) for name in columns]
    wanted = _wanted(path, source.names, reading, needed)
    if isinstance(source, Parquet):
        parsed = parse_parquet(source, wanted, reading.labels)
    else:
        source = source if columns is None or not wanted else without_empty_end(source, wanted)
        parsed = parse(source.keep(wanted), reading)
    frame = pd.DataFrame(parsed.columns, index=pd.RangeIndex(len(source.rows)), columns=wanted)
    unused = [key for key in UNUSED[kind] if getattr(reading, key) not in (None, [])]
    notes = [f"{', '.join(unused)}: not used for a {path.suffix} file"] if unused else []
    gaps = len(source.rows) > 0 and source.rows[-1] > len(source.rows)
    without = " (numbered without those left out)" if gaps else ""  # results know a row by its place among these
    size = (plural(len(source.rows), "row") + without, plural(len(source.names), "column"))
    chosen = [text for key in PATTERNS for text in said_of(key, getattr(asked, key), source.names)]
    return LoadedTable(
        frame=frame.rename(columns={column: name for name, column in prefixed.items()}),
        names=source.names,
        understood=(", ".join((*source.understood, *parsed.understood, *size, *chosen)),),
        notes=(*source.notes, *parsed.notes, *notes),
        rows=source.rows,
        lines=source.lines,
        line=source.line,
        words=parsed.words,
        index=source.index,
        refused=tuple(source.refused),
        units={**getattr(source, "units", {}), **parsed.units},
        gapped=tuple(parsed.gapped),
    )


def columns_without_names(path: Path, reading: Reading) -> int:
    """Return how many columns a file without a header has; 0 for a file that holds the names of its columns.

    Parameters
    ----------
    path : Path
        The file; it is only read.
    reading : Reading
        What the user says about it but for `names`.
    """
    plain = reading.model_copy(update={"names": [], "labels": [], "numbers": [], "leave_out": []})
    try:
        table = load_table(path, plain, columns=[])
    except NoHeaderError as error:
        return error.width
    return len(table.names) if reading.header == "no" else 0


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
    names = list(dict.fromkeys(names))
    for key in PATTERNS:
        for name in expand(getattr(reading, key), names, f"{where}: {key}"):
            if name not in names and not (key == "leave_out" and NAMELESS.fullmatch(name)):
                raise DataError(f"{where}: {key} names {name!r}, and there is no such column", near_or_all(name, names))


def _named(path: Path, names: Sequence[str], reading: Reading, strict: bool) -> Reading:
    """Return the options with columns instead of patterns."""
    if strict:
        refuse_unknown(str(path), reading, names)
    found = {key: [n for name in getattr(reading, key) for n in matches(name, names)] for key in PATTERNS}
    return reading.model_copy(update=found)


def _wanted(path: Path, names: Sequence[str], reading: Reading, columns: Collection[str] | None) -> list[str]:
    """Return the columns to read, in the file's order."""
    for name in columns or ():
        if name not in names:
            alone = len(names) == 1 and len(names[0]) > len(name)
            hint = f"the only column is {names[0]!r}; if that is several, name the `separator`" if alone else None
            raise DataError(f"{path}: there is no column {name!r}", hint or near_or_all(name, names))
        if name in reading.leave_out:
            raise DataError(
                f"{path}: the column {name!r} is needed, and leave_out names it", "remove it from leave_out"
            )
    return [name for name in names if (columns is None or name in columns) and name not in reading.leave_out]
