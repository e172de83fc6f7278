"""From columns of text to numbers, true/false and labels; what fits none of them is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from invdesign_core.data.files.arrow import as_text
from invdesign_core.data.files.behind import (
    advice,
    as_labels,
    bare,
    doubtful_labels,
    looks_like_number,
    numbers_but_for_units,
)
from invdesign_core.data.files.grid import Grid, refusal
from invdesign_core.data.files.messages import option, shown
from invdesign_core.data.files.number_text import (
    COMMA,
    FALSE,
    GROUP,
    GROUPS,
    INFINITE,
    MANY_GROUPS,
    PADDED,
    POINT,
    TRUE,
    WHOLE,
    Mask,
    Texts,
    among,
    first,
    matches,
    number,
)
from invdesign_core.data.files.options import Reading
from invdesign_core.errors import DataError, plural


@dataclass
class Parsed:
    """Columns of n values as a frame takes them, and what was noticed on the way."""

    columns: dict[str, Any] = field(default_factory=dict)
    understood: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    words: dict[str, dict[str, int]] = field(default_factory=dict)
    """For each column of numbers, the texts that were taken as missing, and how often."""
    units: dict[str, str] = field(default_factory=dict)
    """The units that stand at the numbers of columns."""
    gapped: list[str] = field(default_factory=list)
    """Columns of true/false in which some values are missing, so that they are 1 and 0 and NaN."""


def parse(grid: Grid, reading: Reading) -> Parsed:
    """Turn texts into the values that they stand for."""
    as_labels = set(reading.labels)
    if refused := {n: grid.refused[n] for n in grid.names if n in grid.refused and n not in as_labels}:
        raise refusal(grid.path, refused)
    result = Parsed()
    texts = []
    for name, cells in zip(grid.names, grid.columns, strict=True):
        column, unit, said = Texts(name, cells, reading.missing), None, list[str]()
        if name not in reading.labels:
            column, unit, said = bare(grid, column, reading)
        result.units |= {name: unit} if unit else {}
        result.understood += said
        texts.append(column)
    decimal, thousands = _marks(grid, [t for t in texts if t.name not in reading.labels], reading)
    if decimal == ",":
        result.understood.append("decimal comma")
    if thousands is not None:
        result.understood.append(f"thousands {thousands!r}")
    for column in texts:
        values = None if column.name in reading.labels else _values(grid, column, (decimal, thousands), reading, result)
        if values is None:
            several = first(matches(column.column, r"[\r\n]"))
            if several is not None:  # as after a quotation mark too many
                result.notes.append(
                    f"column {column.name!r}, {grid.place(several)}: a text of several lines; if that is wrong, look "
                    "for a quotation mark too many"
                )
            if column.name not in reading.labels:
                result.notes += doubtful_labels(grid, column, reading)
                result.notes += _doubts_of_labels(column)
            values = as_text(column.column)
        result.columns[column.name] = values
    return result


Marks = tuple[str, str | None]
"""What stands before decimals, and what groups thousands."""


def _marks(grid: Grid, columns: Sequence[Texts], reading: Reading) -> Marks:
    """Return the marks in numbers, as the user says or as the numbers of the whole file prove.

    `0,5` proves a decimal comma, `0.5` a point, `1.234,5` and `1.234.567` groups as well. `1,000` alone proves nothing.
    """
    if reading.decimal is not None:
        return reading.decimal, reading.thousands
    if reading.thousands in (",", "."):
        return "." if reading.thousands == "," else ",", reading.thousands
    columns = [column for column in columns if not column.whole and column.mostly_numbers]
    groups = {mark: _proof(grid, columns, MANY_GROUPS[mark]) for mark in ".,"}
    comma = _proof(grid, columns, COMMA, ",") or groups["."]
    point = _proof(grid, columns, POINT, ".") or groups[","]
    if comma and point:
        raise DataError(
            f"{grid.path}: found decimal commas and decimal points: "
            f"{shown(comma[0])} in {comma[1]}, {shown(point[0])} in {point[1]}",
            f"say which are meant ({option('decimal', ',')} or {option('decimal', '.')}); columns that hold codes "
            f"instead of numbers are named in `labels`",
        )
    if comma or point:
        grouped = "." if comma else ","
        return "," if comma else ".", reading.thousands or (grouped if groups[grouped] else None)
    # With commas or blanks between values, a point can't but stand before decimals.
    for mark in ",." if grid.separator in (";", "\t") else ",":
        if either := _proof(grid, columns, GROUP[mark]):
            text, where = either
            raise DataError(
                f"{grid.path}: {where}: {shown(text)} can be read as {text.replace(',', '.')} or as "
                f"{text.replace(mark, '')}, and no other number of the file settles it",
                f"choose one: {option('decimal', mark)} or {option('thousands', mark)}",
            )
    return ".", reading.thousands


def _proof(grid: Grid, columns: Sequence[Texts], pattern: str, mark: str | None = None) -> tuple[str, str] | None:
    """Return the first text that matches, and where; with a `mark` that contains one and isn't a group of thousands."""
    for column in columns:
        if mark == "," and column.pointed:
            continue
        found = matches(column.plain, pattern) & ~column.words
        if mark is not None:
            found &= matches(column.plain, "[,.]") & ~matches(column.plain, GROUP[mark])
        if (row := first(found)) is not None:
            return column.text(row), f"column {column.name!r}, {grid.place(row)}"
    return None


def _values(grid: Grid, column: Texts, marks: Marks, reading: Reading, result: Parsed) -> Any:
    """Return a column's numbers or its truth values, None where it holds texts; refuse texts among numbers."""
    decimal, thousands = marks
    if not column.present.any():
        return np.full(len(column.column), np.nan)
    if column.pointed if decimal == "." and thousands is None else column.whole:
        return _numbers(grid, column, column.present, marks, result)
    found = column.match(number(decimal, thousands)) & ~column.words
    infinite = column.match(INFINITE) & ~column.words
    stray = column.present & ~found & ~infinite & ~column.words
    if found.any() and not stray.any():
        values = _numbers(grid, column, found | infinite, marks, result)
    else:
        true, absent = among(column.column, TRUE), column.words | ~column.present
        known = true | among(column.column, FALSE)
        if not (known.any() and (known | absent).all()):
            if column.mostly_numbers or (column.numeric.any() and numbers_but_for_units(column)):
                raise _stray(grid, column, stray, decimal, reading)
            return None
        values = np.where(absent, np.nan, true.astype(np.float64)) if absent.any() else true
        result.gapped += [column.name] if absent.any() else []
    if column.words.any():
        result.words[column.name] = column.counted_words()
    return values


def _numbers(grid: Grid, column: Texts, found: Mask, marks: Marks, result: Parsed) -> Any:
    """Convert the texts that were found to be numbers, to the nearest float or exactly to an integer."""
    decimal, thousands = marks
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = column.plain if found.all() else pc.if_else(pa.array(found), column.plain, None)
    if thousands is not None:
        texts = pc.replace_substring_regex(texts, GROUPS[thousands], "")
    if decimal == ",":
        texts = pc.replace_substring(texts, ",", ".")
    texts = pc.replace_substring_regex(texts, r"^\+", "")  # the sign that Arrow doesn't take
    if column.whole or (matches(texts, WHOLE) == found).all():
        padded = first(matches(texts, PADDED))
        if padded is not None:
            result.notes.append(
                f"column {column.name!r}, {grid.place(padded)}: {shown(column.text(padded))} was read as a number; if "
                f"such values are codes, say {option('labels', [column.name])}"
            )
        for kind in (pa.int64(), pa.uint64()) if found.all() and column.factors is None else ():
            try:
                return np.asarray(pc.cast(texts, kind).to_numpy(zero_copy_only=False))
            except pa.ArrowInvalid:
                continue
    values = np.asarray(pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    return values if column.factors is None else values * column.factors


def _doubts_of_labels(column: Texts) -> list[str]:
    """Say what a column of text holds that could be meant otherwise."""
    said = []
    if column.words.any():
        counted = ", ".join(f"{text!r} ({plural(count, 'time')})" for text, count in column.counted_words().items())
        said.append(f"column {column.name!r} is text, so {counted} is kept as a label")
    if numbers := int(column.numeric.sum()):
        said.append(
            f"column {column.name!r} is text, so {plural(numbers, 'number')} in it "
            f"{'is' if numbers == 1 else 'are'} kept as labels"
        )
    return said


def _stray(grid: Grid, column: Texts, stray: Mask, decimal: str, reading: Reading) -> DataError:
    """Name the first text among numbers, and what it may mean."""
    rows = np.flatnonzero(stray)
    at, head = int(rows[0]), int(grid.rows[rows[-1]])
    text, cell, other = column.text(at), column.plain.slice(at, 1), "," if decimal == "." else "."
    hints = []
    if head <= 3 and len(rows) == rows[-1] + 1 and not looks_like_number(column)[rows].any():
        hints.append(f"a row of units is left out by {option('skip_rows', head)}")
        if head == 1:
            hints.append(f"if the names stand there: {option('header', int(grid.lines[at]))}")
    for mark in GROUPS:
        before = {",": ".", ".": ","}.get(mark, decimal)
        if mark == decimal or not matches(cell, GROUPS[mark])[0]:
            continue
        if matches(cell, number(before, mark))[0]:
            hints.append(f"if {mark!r} groups thousands: {option('thousands', mark)}")
        elif mark not in ",." and matches(cell, number(other, mark))[0]:
            hints.append(f"if {mark!r} groups thousands: {option('thousands', mark)} and {option('decimal', other)}")
    if not hints and matches(cell, number(other))[0]:
        hints.append(f"if {other!r} stands before decimals: {option('decimal', other)}")
    if not hints and looks_like_number(column)[at]:
        hints.append(advice(column, at, reading))
    if not hints:
        hints.append(f"correct it; if it stands for no value: {option('missing', [*reading.missing, text])}")
    if not reading.only_number(column.name):
        hints.append(as_labels(column, reading))
    count = int((column.numeric & ~stray).sum())
    as_most = f", as {count} of {column.values} values are" if count else ""
    like = "" if decimal == "." else " with a decimal comma"
    return DataError(
        f"{grid.path}: column {column.name!r}, {grid.place(at)}: found {shown(text)}, expected a number{like}{as_most}",
        "; ".join(hints),
    )
