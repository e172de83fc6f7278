"""Text files: which character separates the values, and rows that are as long as their header."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.files.comments import Source, names_in_comments, units_below, without_comments
from invdesign_core.data.files.contents import decode
from invdesign_core.data.files.grid import Grid, cells, clean_name, kept_rows
from invdesign_core.data.files.guards import unguarded, unguarded_cells
from invdesign_core.data.files.head import find_head, is_number, numbers_below
from invdesign_core.data.files.messages import option, place, shown, some
from invdesign_core.data.files.number_text import all_numbers
from invdesign_core.data.files.options import Reading, Skipped
from invdesign_core.errors import DataError, plural

SEPARATORS = ",;\t|"
"""What is looked for; other characters have to be named."""
WIDE = "  "
"""Two or more blanks, which names and texts with single ones need."""
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
    if "\n" not in text:  # lines end as they did on the first Macs
        text = text.replace("\r", "\n")
    source = without_comments(path, text, reading)
    told = reading.header if isinstance(reading.header, int) else None
    start = told or 1
    separator = reading.separator
    if announced := re.match(r"sep=(.)\r?\n", text):  # Excel's own way to say it
        start, separator = max(start, 2), separator or announced[1]
    if separator is None:
        separator = _find_separator(source, start, reading)
    lines, rows = _first_rows(source, separator, start)
    row_names = reading.header != "no" and _has_row_names(source, separator, start, lines, rows)
    if row_names:
        rows = [["", *rows[0]]]
        lines = lines[:1]
    above = names_in_comments(source, separator, len(rows[0]), lines[0], told)
    head = find_head(path, rows, lines, reading, above)
    header = lines[head.at] if head.at >= 0 else 0
    commented = {} if head.units or not header else units_below(source, separator, head.names, header)
    body = lines[0] if head.at < 0 else _line_below(source, separator, header)
    skipped = [1, *reading.skipped] if head.below else reading.skip_rows
    columns, numbers, places = _split_lines(source, separator, body, len(head.names), skipped) or _split_rows(
        source, separator, body, head.names, skipped
    )
    names = tuple(unguarded(clean_name(name)) for name in head.names)
    plain = [unguarded_cells(column) for column in columns]
    guards = names != tuple(map(clean_name, head.names)) or any(a is not b for a, b in zip(plain, columns, strict=True))
    named = {"\t": "tab", " ": "space", WIDE: "two or more blanks"}.get(separator, f"'{separator}'")
    parts = (f"encoding {encoding}" if encoding else "", f"separator {named}" if separator != ONE_COLUMN else "")
    return Grid(
        path,
        names,
        tuple(plain),
        numbers,
        places,
        separator=None if separator == ONE_COLUMN else separator,
        understood=(
            *(part for part in parts if part),
            *_left_out(
                source, above.line if above is not None and head.commented else 0, header + 1 if commented else 0
            ),
            *head.understood,
            *(("texts without the ' that keeps spreadsheets from computing them",) if guards else ()),
        ),
        notes=(*((note,) if note else ()), *head.notes),
        units={unguarded(clean_name(name)): unit for name, unit in (head.units or commented).items()},
        row_names=row_names,
    )


def _left_out(source: Source, names: int, units: int) -> Iterator[str]:
    """Say which comment lines were left out, and which ones hold the names and the units; 0 where none does."""
    left = [number for number in source.comments if number not in (names, units)]
    if names:
        yield f"names from the comment in line {names}"
    if units:
        yield f"units from the comment in line {units}"
    if left:
        at = min(left)
        yield f"{plural(len(left), 'comment line')} left out (first line {at}: {shown(source.comments[at])})"


def _rows(source: Source, separator: str, start: int) -> Iterator[Row]:
    """Split a text into rows, from line `start` on."""
    path = source.path
    lines: Iterator[str] = io.StringIO(source.text, newline="")
    for _ in range(start - 1):
        if next(lines, None) is None:
            break
    if separator == " ":
        lines = (line.strip().replace("\t", " ") + "\n" for line in lines)
    if separator == WIDE:
        lines = (re.sub(r"\s{2,}|\t", "\t", line.strip()) + "\n" for line in lines)
    delimiter = "\t" if separator == WIDE else separator
    reader = csv.reader(chain(lines, (END,)), delimiter=delimiter, skipinitialspace=True)
    begin = before = start
    try:
        for row in reader:
            if row == [END]:
                return
            if begin not in source.comments:
                yield begin, row
            begin, before = start + reader.line_num, begin
    except csv.Error as error:
        raise DataError(
            f"{path}, line {begin}: can't be read: {error}", "look for a quotation mark that is opened and not closed"
        ) from None
    raise DataError(f"{path}, line {before}: a quotation mark is opened and not closed", "close it or remove it")


def _is_blank(row: Sequence[str]) -> bool:
    return len(row) < 2 and not (row and row[0])


def _find_separator(source: Source, start: int, reading: Reading) -> str:
    """Return the one character that splits header and rows into equally many values."""
    path, text = source.path, source.text
    samples = {separator: _sample(source, separator, start, reading) for separator in SEPARATORS}
    if not any(samples.values()):
        return ONE_COLUMN
    split = {separator: sample for separator, sample in samples.items() if sample and len(sample[0]) > 1}
    if reading.decimal == "," and len(split) > 1:
        split.pop(",", None)
    fitting = [s for s, sample in split.items() if all(len(row) == len(sample[0]) for row in sample)]
    if "\t" in fitting and path.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    if len(fitting) > 1:  # without a header, one that gives numbers only
        plain = [s for s in fitting if all(all_numbers(row) for row in split[s])]
        fitting = plain if len(plain) == 1 else fitting
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
    if blanks := _blanks(source, start, reading):
        return blanks
    # One column. A row that splits all the same has values without a name, wherever in the file it stands.
    for separator in SEPARATORS if reading.decimal != "," else SEPARATORS.replace(",", ""):
        if separator in text and any(len(row) > 1 for _, row in _rows(source, separator, start)):
            return separator
    return ONE_COLUMN


def _blanks(source: Source, start: int, reading: Reading) -> str | None:
    """Return which blanks separate values: any number of them, or two and more; None where none do."""
    lacking = False
    for separator in (" ", WIDE):
        rows = _sample(source, separator, start, reading)
        commented = any(number < start or number == 1 for number in source.comments)
        values = rows if commented or len(rows) < 2 else rows[1:]
        width = len(values[0]) if values else 0
        if width < 2 or any(len(row) != width for row in values):
            continue
        numeric = sum(numbers_below(values, i) for i in range(width))
        names = {len(rows[0]), len(_sample(source, WIDE, start, reading)[0])}
        lacking = lacking or (bool(numeric) and len(rows[0]) == width - 1 and not commented)
        if not numeric or width not in names:
            continue
        single = not re.search(r"\S(?:\s{2,}|\t)\S", source.text)
        if separator == " " and width == 2 and numeric == 1 and not commented and single:
            raise DataError(
                f"{source.path} can be read with blanks between values (2 columns) and as one column of texts, such as "
                f"{shown(' '.join(values[0]))}",
                f"choose one: {option('separator', 'space')} or {option('separator', ',')}",
            )
        return separator
    return " " if lacking else None  # refused, as the header lacks a name


def _quoted(separator: str) -> str:
    return "tabs" if separator == "\t" else f"'{separator}'"


def _sample(source: Source, separator: str, start: int, reading: Reading) -> list[list[str]]:
    """Return the header and the first rows below it that aren't to be skipped; none where that fails."""
    try:
        rows = [row for _, row in islice(_rows(source, separator, start), SAMPLE) if not _is_blank(row)]
    except DataError:
        return []
    return [row for number, row in enumerate(rows) if number not in reading.skipped]


def _first_rows(source: Source, separator: str, start: int) -> tuple[list[int], list[list[str]]]:
    """Return the first rows of equal width, and their lines."""
    found = [item for item in islice(_rows(source, separator, start), SAMPLE) if not _is_blank(item[1])]
    if not found:
        count = source.text.count("\n") + (not source.text.endswith("\n"))
        raise DataError(
            f"{source.path}: no column names from line {start} on; the file has {plural(count, 'line')}", "see `header`"
        )
    line, first = found[0]
    if separator == " " and len(found) > 1 and len(first) != len(found[1][1]):  # names that hold blanks
        wide = next(_rows(source, WIDE, line))[1]
        found[0] = line, wide if len(wide) == len(found[1][1]) else first
    width = len(found[0][1])
    same = list(takewhile(lambda item: len(item[1]) == width, found))
    return [line for line, _ in same], [[cell.strip() for cell in row] for _, row in same]


def _has_row_names(
    source: Source, separator: str, start: int, lines: Sequence[int], rows: Sequence[Sequence[str]]
) -> bool:
    """Say whether only the header lacks a name, that of a first column which names or numbers the rows, as R writes."""
    width = len(rows[0]) + 1
    below = [row for line, row in islice(_rows(source, separator, start), SAMPLE) if line > lines[0] and row]
    if len(rows) > 1 or len(below) < 2 or any(len(row) != width for row in below) or any(map(is_number, rows[0])):
        return False
    first = [row[0].strip() for row in below]
    if len(set(first)) < len(first) or not all(first):
        return False
    if not all_numbers(first):
        return not any(map(is_number, first))
    quoted = re.split(r"\r\n|\r|\n", source.text)[lines[0]].lstrip().startswith('"')
    return [str(i) for i in range(1, len(first) + 1)] == first and (quoted or separator != ",")


def _line_below(source: Source, separator: str, header: int) -> int:
    """Return the line in which the row below the header begins."""
    rows = _rows(source, separator, header)
    next(rows)
    below = next(rows, None)
    return source.text.count("\n") + 2 if below is None else below[0]


Body = tuple[list[Any], NDArray[np.intp], NDArray[np.intp]]
"""The columns below the header, and the numbers of their rows below it and in the file."""


def _split_lines(source: Source, separator: str, body: int, width: int, skip: Skipped) -> Body | None:
    """Split a text without quotation marks, each line a row of `width` values, several times faster; None for others.

    The values are what the csv module gives, which is left to say what is wrong.
    """
    import pyarrow as pa
    from pyarrow import csv

    text = source.text
    if any(line >= body for line in source.comments) or re.search(r"\n[ \t]*\r?\n", source.text.rstrip()):
        return None  # lines that are no rows
    if '"' in text or width < 2 or separator in (" ", WIDE) or not separator.isascii():
        return None
    names = [str(i) for i in range(width)]
    try:
        table = csv.read_csv(
            pa.py_buffer(text.rstrip("\r\n").encode()),
            csv.ReadOptions(column_names=names, skip_rows=body - 1),
            csv.ParseOptions(delimiter=separator, quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        return None
    rows = kept_rows(source.path, len(table), skip)
    table = table if len(rows) == len(table) else table.take(rows - 1)
    return [cells(column.combine_chunks()) for column in table.columns], rows, body - 1 + rows


def _split_rows(source: Source, separator: str, body: int, names: Sequence[str], skip: Skipped) -> Body:
    """Split a text with the csv module, whose lists become arrays block by block."""
    import pyarrow as pa

    width, count, skipped = len(names), 0, range(1, skip + 1) if isinstance(skip, int) else set(skip)
    found = _rows(source, separator, body)
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
            raise _misfit(source.path, names, block, separator, skipped)
        for column, values in zip(parts, zip(*(row for _, _, row in block), strict=True), strict=False):
            column.append(cells(values))
        rows.append(np.array([number for number, _, _ in block], np.intp))
        lines.append(np.array([line for _, line, _ in block], np.intp))
    kept_rows(source.path, count, skip)  # refuses rows that aren't there
    return [pa.concat_arrays(column) for column in parts], np.concatenate(rows), np.concatenate(lines)


def _misfit(
    path: Path, names: Sequence[str], block: list[tuple[int, int, list[str]]], separator: str, skipped: Collection[int]
) -> DataError:
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
            f"{option('skip_rows', sorted({*skipped, number}))}"
        )
    split = f"separator {_quoted(separator)}" if separator != ONE_COLUMN else "no separator"
    return DataError(
        f"{path}: {place(number, line, 'line')}: found {plural(len(row), 'value')} ({some(row)}), expected {width}, "
        f"one for each column name ({some(names)}; {split})",
        hint,
    )
