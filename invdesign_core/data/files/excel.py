"""Spreadsheets of Excel and LibreOffice: the values of one sheet."""

from __future__ import annotations

import datetime
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from invdesign_core.data.files.contents import ZIP
from invdesign_core.data.files.formulas import unstored
from invdesign_core.data.files.grid import Grid, Refused, cells, clean_name, kept_rows
from invdesign_core.data.files.head import find_head
from invdesign_core.data.files.messages import option, place, some
from invdesign_core.data.files.options import Reading
from invdesign_core.data.files.unpacked import check_unpacked
from invdesign_core.errors import DataError, near_or_all, plural

TIMES = (datetime.date, datetime.time, datetime.timedelta)
LINE = "row of the sheet"
TOP = 200
"""Rows by which names and units are recognised."""
WHOLE = 1e16
"""Whole numbers below are written without an exponent in Excel files, and are exact."""
ERROR = re.compile(rb"(<(?:\w+:)?c\s[^>]*?\b)t=[\"']e[\"']")
"""The tag of a cell that shows an error."""
ODS_ERROR = re.compile(rb"<table:table-cell\b[^>]*?\bcalcext:value-type=\"error\"[^>]*>")
VALUE = re.compile(rb"\soffice:(?:value-type|string-value|value)=\"[^\"]*\"")
"""The same in a sheet of LibreOffice, and what such a tag says of its value instead of the error."""


def read_excel(path: Path, data: bytes, reading: Reading) -> Grid:
    """Read a sheet's cells, as texts that stand for their values exactly; a formula has the value saved with it."""
    try:
        from python_calamine import CalamineWorkbook, PasswordError, SheetTypeEnum
    except ImportError:
        raise DataError(
            f"{path}: spreadsheets need python-calamine", "pip install 'invdesign[excel]', or save it as .csv"
        ) from None
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(_with_errors_as_text(path, data)))
        titles = [sheet.name for sheet in book.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]
        title, sheet = _sheet(path, book, titles, reading.sheet)
    except DataError:
        raise
    except PasswordError:
        raise DataError(f"{path}: this file has a password", "save it without one, or save it as .csv") from None
    except Exception as error:  # zipfile lets through whatever it meets
        raise DataError(
            f"{path}: this spreadsheet can't be read: {type(error).__name__}: {error}",
            "save it again, or save it as .csv",
        ) from None
    first = reading.header if isinstance(reading.header, int) else 1
    head = next((i for i in range(first - 1, len(sheet)) if _filled(sheet[i])), None)
    if head is None:
        raise DataError(f"{path}: no column names from row {first} on in sheet {title!r}", "see `header`")
    used = [i for i in range(sheet.shape[1]) if _filled(sheet[head:, i])]
    top = [[_text(value).strip() for value in row] for row in sheet[head : head + TOP, used]]
    found = find_head(path, top, [head + i + 1 for i in range(len(top))], reading, line=LINE)
    head += found.at
    names = tuple(clean_name(name) for name in found.names)
    skipped = [1, *reading.skipped] if found.below else reading.skip_rows
    rows = kept_rows(path, len(sheet) - head - 1, skipped)
    lines = rows + head + 1
    columns = sheet[lines - 1][:, used].T
    refused = {
        name: why for name, column in zip(names, columns, strict=True) if (why := _times(name, column, rows, lines))
    }
    if not len(lines) or not all(value != "" for value in columns.flat):
        # Rows of nothing but such formulas at the end are no rows to calamine.
        empty = [at for at in unstored(data, title) if at[0] in lines or at[0] > max(len(sheet), head + 1)]
        for name, position in zip(names, used, strict=True):
            if at := sorted(row for row, column in empty if column == position + 1):
                refused[name] = Refused(
                    f"column {name!r}, {place(at[0] - head - 1, at[0], LINE)}: found a formula without a stored value "
                    f"({plural(len(at), 'such cell')})",
                    "open the file in Excel or LibreOffice and save it, which stores the values of formulas",
                )
    return Grid(
        path,
        names,
        tuple(cells([_text(value) for value in column]) for column in columns),
        rows,
        lines,
        line=LINE,
        understood=(*((f"sheet {title!r}",) if len(titles) > 1 else ()), *found.understood),
        notes=found.notes,
        refused=refused,
        units={clean_name(name): unit for name, unit in found.units.items()},
    )


def _times(name: str, column: Any, rows: Any, lines: Any) -> Refused | None:
    """Say where the first date or time of a column stands."""
    at = next((i for i, value in enumerate(column) if isinstance(value, TIMES)), None)
    if at is None:
        return None
    return Refused(
        f"column {name!r}, {place(int(rows[at]), int(lines[at]), LINE)}: found a date or a time ({column[at]}), "
        "expected numbers, true/false or text",
        "make it a number, such as hours since the start",
    )


def _sheet(path: Path, book: Any, titles: list[str], wanted: int | str | None) -> tuple[str, Any]:
    """Return the title and the (rows, columns) values of the sheet that is named, or the only one that holds any."""
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(titles):
            raise DataError(f"{path}: there is no sheet {wanted}; found {plural(len(titles), 'sheet')}: {some(titles)}")
        wanted = titles[wanted - 1]
    if wanted is not None and wanted not in titles:
        raise DataError(f"{path}: there is no sheet {wanted!r}", near_or_all(wanted, titles))
    sheets = {}
    for title in titles if wanted is None else [wanted]:
        rows = book.get_sheet_by_name(title).to_python(skip_empty_area=False)
        values = np.array(rows, dtype=object) if rows else np.empty((0, 0), dtype=object)
        if wanted is not None or _filled(values):
            sheets[title] = values
    if not sheets:
        raise DataError(f"{path}: the file is empty", "expected a row of column names and rows of values below it")
    if len(sheets) > 1:
        sizes = [f"{name!r} ({_size(values)})" for name, values in sheets.items()]
        largest = max(sheets, key=lambda name: sheets[name].size)
        raise DataError(
            f"{path}: {len(sheets)} sheets contain data: {', '.join(sizes)}",
            f"choose one, such as the largest: {option('sheet', largest)}",
        )
    return next(iter(sheets.items()))


def _size(values: np.ndarray[Any, Any]) -> str:
    """Say how many rows and columns of a sheet hold something."""
    full = values != ""
    return f"{plural(int(full.any(axis=1).sum()), 'row')}, {plural(int(full.any(axis=0).sum()), 'column')}"


def _filled(values: np.ndarray[Any, Any]) -> bool:
    return any(value != "" for value in values.flat)


def _text(value: object) -> str:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < WHOLE else repr(value)
    return str(value)


def _with_errors_as_text(path: Path, data: bytes) -> bytes:
    """Let cells that show an error, such as #DIV/0!, hold it as text: calamine gives empty cells for them."""
    if not data.startswith(ZIP):
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        check_unpacked(source, path, len(data))
        names = source.namelist()
        changed = {name: new for name in names if (new := _errors_as_text(name, source)) is not None}
        if not changed:
            return data
        copy = io.BytesIO()
        with zipfile.ZipFile(copy, "w") as target:
            for name in names:
                target.writestr(name, changed[name] if name in changed else source.read(name))
    return copy.getvalue()


def _errors_as_text(name: str, source: zipfile.ZipFile) -> bytes | None:
    """Return a sheet in which errors are texts; None for other files, and where there are no errors."""
    if name.startswith("xl/worksheets/"):
        old = source.read(name)
        new = ERROR.sub(rb'\1t="str"', old)
    elif name == "content.xml":
        old = source.read(name)
        new = ODS_ERROR.sub(lambda tag: _as_text(tag[0]), old)
    else:
        return None
    return None if new == old else new


def _as_text(tag: bytes) -> bytes:
    """Return the tag of a cell whose value is the text that it shows."""
    end = b"/>" if tag.endswith(b"/>") else b">"
    return VALUE.sub(b"", tag).removesuffix(end) + b' office:value-type="string"' + end
