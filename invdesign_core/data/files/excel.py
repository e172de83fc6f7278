"""Excel files: the values of one sheet."""

from __future__ import annotations

import datetime
import io
from pathlib import Path
from typing import Any

import numpy as np

from invdesign_core.data.files.grid import Grid, cells, clean_name, kept_rows
from invdesign_core.data.files.messages import option, place, some
from invdesign_core.data.files.options import Reading
from invdesign_core.errors import DataError, near_match, plural

TIMES = (datetime.date, datetime.time, datetime.timedelta)
LINE = "row of the sheet"


def read_excel(path: Path, data: bytes, reading: Reading) -> Grid:
    """Read a sheet's cells, as the texts that stand for their values exactly.

    Parameters
    ----------
    path : Path
        For messages.
    data : bytes
        The file.
    reading : Reading
        What the user says about it.

    Raises
    ------
    DataError
        If openpyxl isn't there, or several sheets hold something and none is named.
    """
    try:
        import openpyxl  # type: ignore[import-untyped]
    except ImportError:
        raise DataError(
            f"{path}: Excel files need openpyxl", "pip install 'invdesign[excel]', or save it as .csv"
        ) from None
    try:
        # Formulas give the values that Excel saved with them.
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    except Exception as error:  # openpyxl lets through whatever its parsers raise
        raise DataError(
            f"{path}: this Excel file can't be read: {type(error).__name__}: {error}",
            "save it again, or save it as .csv",
        ) from None
    title, sheet = _sheet(path, {sheet.title: _values(sheet) for sheet in book.worksheets}, reading.sheet)
    first = reading.header or 1
    head = next((i for i in range(first - 1, len(sheet)) if _filled(sheet[i])), None)
    if head is None:
        raise DataError(f"{path}: no column names from row {first} on in sheet {title!r}", "see `header`")
    used = [i for i in range(sheet.shape[1]) if _filled(sheet[head:, i])]
    names = tuple(clean_name("" if v is None else _text(v)) for v in sheet[head, used])
    body = sheet[head + 1 :, used]
    rows = kept_rows(path, len(body), reading.skip_rows)
    body = body[rows - 1]
    lines = rows + head + 1
    columns = list(zip(names, body.T, strict=True))
    return Grid(
        names,
        tuple(cells([None if v is None else _text(v) for v in column]) for _, column in columns),
        rows,
        lines,
        line=LINE,
        understood=(f"sheet {title!r}",) if len(book.worksheets) > 1 else (),
        refused={name: why for name, column in columns if (why := _times(path, name, column, rows, lines))},
    )


def _values(sheet: Any) -> np.ndarray[Any, Any]:
    """Return a sheet's values, (rows, columns), None where a cell is empty."""
    sheet.reset_dimensions()  # some programs write wrong ones
    rows = list(sheet.iter_rows(values_only=True))
    width = max(map(len, rows), default=0)
    values = np.empty((len(rows), width), dtype=object)
    for i, row in enumerate(rows):  # rows come in different lengths
        values[i, : len(row)] = row
    return values


def _sheet(path: Path, sheets: dict[str, Any], wanted: int | str | None) -> tuple[str, Any]:
    """Return the title and the values of the sheet that is named, or of the only one that holds something."""
    titles = list(sheets)
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(titles):
            raise DataError(f"{path}: there is no sheet {wanted}; found {plural(len(titles), 'sheet')}: {some(titles)}")
        wanted = titles[wanted - 1]
    if wanted is not None:
        if wanted not in sheets:
            raise DataError(f"{path}: there is no sheet {wanted!r}", near_match(wanted, titles))
        return wanted, sheets[wanted]
    full = [title for title in titles if _filled(sheets[title])]
    if not full:
        raise DataError(f"{path}: the file is empty", "expected a row of column names and rows of values below it")
    if len(full) > 1:
        raise DataError(
            f"{path}: {len(full)} sheets contain data: {some(full)}", f"choose one: {option('sheet', full[0])}"
        )
    return full[0], sheets[full[0]]


def _filled(values: np.ndarray[Any, Any]) -> bool:
    return any(value is not None and value != "" for value in values.flat)


def _text(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _times(path: Path, name: str, column: Any, rows: Any, lines: Any) -> DataError | None:
    """Return why a column can't be used if it holds dates or times."""
    found = np.array([isinstance(value, TIMES) for value in column], dtype=bool)
    if not found.any():
        return None
    at = int(np.argmax(found))
    return DataError(
        f"{path}: column {name!r}, {place(int(rows[at]), int(lines[at]), LINE)}: found a date or a time "
        f"({column[at]}), expected numbers, true/false or text",
        f"leave the column out ({option('leave_out', [name])}), or make it a number, such as hours since the start",
    )
