"""Text files: which character separates the values, and rows that are as long as their header."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.files.contents import decode
from invdesign_core.data.files.grid import Grid, cells, clean_name, kept_rows
from invdesign_core.data.files.messages import option, place, some
from invdesign_core.data.files.number_text import all_numbers
from invdesign_core.data.files.options import Reading
from invdesign_core.errors import DataError, plural

SEPARATORS = ",;\t|"
"""What is looked for; other characters have to be named."""
ONE_COLUMN = "\x1f"
"""Not found in text, so each line is one value."""
SAMPLE = 200
"""Rows by which a separator is recognised; the length of every row is checked afterwards."""
BLOCK = 50_000
"""Rows that are held as Python lists at a time."""
END = "\x1e\x1e\x1e"
"""A line added after the last. If it isn't read as a row of its own, a quotation mark was left open."""

Row = tuple[int, list[str]]
"""The line in which a row begins, and its values."""


def read_delimited(path: Path, data: bytes, reading: Reading) -> Grid:
    """Read a text file's cells."""
    text, encoding, note = decode(path, data, reading.encoding)
    if not text.strip():
        raise DataError(f"{path}: the file is empty", "expected a line of column names and rows of values below it")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path}, line {line}: found a zero byte, expected text", "is the encoding right?")
    start, separator = reading.header or 1, reading.separator
    if announced := re.match(r"sep=(.)\r?\n", text):  # Excel's own way to say it
        start, separator = max(start, 2), separator or announced[1]
    if separator is None:
        separator = _find_separator(path, text, start, reading)
    header, names = _header(path, text, separator, start)
    columns, rows, lines = _split_lines(path, text, separator, header, len(names), reading) or _split_rows(
        path, text, separator, header, names, reading
    )
    named = {"\t": "tab", " ": "space"}.get(separator, f"'{separator}'")
    parts = (f"encoding {encoding}" if encoding else "", f"separator {named}" if separator != ONE_COLUMN else "")
    return Grid(
        path,
        tuple(clean_name(name) for name in names),
        tuple(columns),
        rows,
        lines,
        separator=None if separator == ONE_COLUMN else separator,
        understood=tuple(part for part in parts if part),
        notes=(note,) if note else (),
    )


def _rows(path: Path, text: str, separator: str, start: int) -> Iterator[Row]:
    """Split a text into rows, from line `start` on."""
    lines: Iterator[str] = io.StringIO(text, newline="")
    for _ in range(start - 1):
        next(lines, None)
    if separator == " ":
        lines = (line.strip().replace("\t", " ") + "\n" for line in lines)
    reader = csv.reader(chain(lines, (END,)), delimiter=separator, skipinitialspace=True)
    begin = before = start
    try:
        for row in reader:
            if row == [END]:
                return
            yield begin, row
            begin, before = start + reader.line_num, begin
    except csv.Error as error:
        raise DataError(
            f"{path}, line {begin}: can't be read: {error}", "look for a quotation mark that is opened and not closed"
        ) from None
    raise DataError(f"{path}, line {before}: a quotation mark is opened and not closed", "close it or remove it")


def _is_blank(row: Sequence[str]) -> bool:
    return len(row) < 2 and not (row and row[0])


def _find_separator(path: Path, text: str, start: int, reading: Reading) -> str:
    """Return the one character that splits header and rows into equally many values."""
    samples = {separator: _sample(path, text, separator, start, reading) for separator in SEPARATORS}
    if not any(samples.values()):
        return ONE_COLUMN
    split = {separator: sample for separator, sample in samples.items() if sample and len(sample[0]) > 1}
    if reading.decimal == "," and len(split) > 1:
        split.pop(",", None)
    fitting = [s for s, sample in split.items() if all(len(row) == len(sample[0]) for row in sample)]
    if "\t" in fitting and path.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    if len(fitting) > 1:
        ways = " and ".join(f"with {_quoted(s)} ({plural(len(split[s][0]), 'column')})" for s in fitting)
        raise DataError(
            f"{path} can be read {ways}", f"choose one: {' or '.join(option('separator', s) for s in fitting)}"
        )
    if fitting:
        return fitting[0]
    if split:
        # The rows don't fit their header: the likeliest reading is kept, and refused with the row that differs.
        return max(split, key=lambda s: (sum(len(r) == len(split[s][0]) for r in split[s]), len(split[s][0])))
    blanks = _sample(path, text, " ", start, reading)
    width = len(blanks[0]) if blanks else 0
    if width > 1 and all(len(row) == width and all_numbers(row) for row in blanks[1:]):
        return " "
    # One column. A row that splits all the same has values without a name, wherever in the file it stands.
    for separator in SEPARATORS if reading.decimal != "," else SEPARATORS.replace(",", ""):
        if separator in text and any(len(row) > 1 for _, row in _rows(path, text, separator, start)):
            return separator
    return ONE_COLUMN


def _quoted(separator: str) -> str:
    return "tabs" if separator == "\t" else f"'{separator}'"


def _sample(path: Path, text: str, separator: str, start: int, reading: Reading) -> list[list[str]]:
    """Return the header and the first rows below it that aren't to be skipped; none where that fails."""
    try:
        rows = [row for _, row in islice(_rows(path, text, separator, start), SAMPLE) if not _is_blank(row)]
    except DataError:
        return []
    return [row for number, row in enumerate(rows) if number not in reading.skipped]


def _header(path: Path, text: str, separator: str, start: int) -> Row:
    """Return the line of the header and its names."""
    for line, row in _rows(path, text, separator, start):
        if not _is_blank(row):
            return line, row
    count = text.count("\n") + (not text.endswith("\n"))
    raise DataError(
        f"{path}: no column names from line {start} on; the file has {plural(count, 'line')}", "see `header`"
    )


Body = tuple[list[Any], NDArray[np.intp], NDArray[np.intp]]
"""The columns below the header, and the numbers of their rows below it and in the file."""


def _split_lines(path: Path, text: str, separator: str, header: int, width: int, reading: Reading) -> Body | None:
    """Split a text without quotation marks, each line a row of `width` values, several times faster; None for others.

    The values are what the csv module gives, which is left to say what is wrong.
    """
    import pyarrow as pa
    from pyarrow import csv

    if '"' in text or width < 2 or separator == " " or not separator.isascii():
        return None
    names = [str(i) for i in range(width)]
    try:
        table = csv.read_csv(
            pa.py_buffer(text.rstrip("\r\n").encode()),
            csv.ReadOptions(column_names=names, skip_rows=header),
            csv.ParseOptions(delimiter=separator, quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        return None
    rows = kept_rows(path, len(table), reading.skip_rows)
    table = table if len(rows) == len(table) else table.take(rows - 1)
    return [cells(column.combine_chunks()) for column in table.columns], rows, header + rows


def _split_rows(path: Path, text: str, separator: str, header: int, names: Sequence[str], reading: Reading) -> Body:
    """Split a text with the csv module, whose lists become arrays block by block."""
    import pyarrow as pa

    width, count, skipped = len(names), 0, reading.skipped
    found: Iterator[Row] = islice(_rows(path, text, separator, header), 1, None)
    if width > 1:
        found = (item for item in found if not _is_blank(item[1]))
    parts: list[list[Any]] = [[cells([])] for _ in names]
    rows, lines = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
    while numbered := [
        (number, line, row or [""]) for number, (line, row) in enumerate(islice(found, BLOCK), count + 1)
    ]:
        count += len(numbered)
        block = [item for item in numbered if item[0] not in skipped] if skipped else numbered
        if any(len(row) != width for _, _, row in block):
            raise _misfit(path, names, block, separator)
        for column, values in zip(parts, zip(*(row for _, _, row in block), strict=True), strict=False):
            column.append(cells(values))
        rows.append(np.array([number for number, _, _ in block], np.intp))
        lines.append(np.array([line for _, line, _ in block], np.intp))
    kept_rows(path, count, reading.skip_rows)  # refuses rows that aren't there
    return [pa.concat_arrays(column) for column in parts], np.concatenate(rows), np.concatenate(lines)


def _misfit(path: Path, names: Sequence[str], block: list[tuple[int, int, list[str]]], separator: str) -> DataError:
    """Say that a row is longer or shorter than the header, and why that may be."""
    width = len(names)
    number, line, row = next(item for item in block if len(item[2]) != width)
    longer = all(len(other) == width + 1 for _, _, other in block)
    if longer and not any(other[-1] for _, _, other in block):
        hint = "every row ends with a separator: end the header with one, too"
    elif separator == "," and len(row) > width and all(re.fullmatch(r"\s*[+-]?\d+\s*", value) for value in row):
        hint = "if these are decimal commas, write the values in quotation marks or with another separator, such as ;"
        if width == 1:
            hint = f"if these are decimal commas: {option('decimal', ',')}"
    elif number == 1 and len(row) > width and not all_numbers(row):
        hint = f"if the column names stand in another line, say in which: {option('header', line)}"
    elif longer:
        hint = "every row has one value more: the header may lack a name, as where row names were saved without one"
    else:
        hint = (
            "values that hold the separator need quotation marks; a row that is none can be left out: "
            f"{option('skip_rows', [number])}"
        )
    split = f"separator {_quoted(separator)}" if separator != ONE_COLUMN else "no separator"
    return DataError(
        f"{path}: {place(number, line, 'line')}: found {plural(len(row), 'value')} ({some(row)}), expected {width}, "
        f"one for each column name ({some(names)}; {split})",
        hint,
    )
