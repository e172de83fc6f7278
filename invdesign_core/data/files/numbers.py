"""From columns of text to numbers, true/false and labels; what fits none of them is refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.data.files.decimal import find_decimal
from invdesign_core.data.files.grid import Grid
from invdesign_core.data.files.messages import option, shown
from invdesign_core.data.files.number_text import (
    FALSE,
    GROUPS,
    INFINITE,
    PADDED,
    TRUE,
    WHOLE,
    Mask,
    Texts,
    matches,
    number,
)
from invdesign_core.data.files.options import Reading
from invdesign_core.errors import DataError, plural

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Parsed:
    """Columns as a frame takes them, and what was noticed on the way.

    Attributes
    ----------
    columns : dict
        Arrays or series of n values by name.
    understood, notes : list of str
        How they were read, and what is odd about it.
    words : dict
        For each column of numbers, the texts that were taken as missing, and how often.
    """

    columns: dict[str, Any] = field(default_factory=dict)
    understood: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    words: dict[str, dict[str, int]] = field(default_factory=dict)


def parse(path: Path, grid: Grid, reading: Reading) -> Parsed:
    """Turn texts into the values that they stand for.

    Parameters
    ----------
    path : Path
        For messages.
    grid : Grid
        The cells.
    reading : Reading
        What the user says about them.

    Raises
    ------
    DataError
        If numbers can be read in two ways, or a column of numbers holds a text that is none.
    """
    for name in grid.names:
        if name in grid.refused:
            raise grid.refused[name]
    result = Parsed()
    texts = [Texts(name, column, reading.missing) for name, column in zip(grid.names, grid.columns, strict=True)]
    decimal = find_decimal(path, grid, [t for t in texts if t.name not in reading.labels], reading)
    if decimal == ",":
        result.understood.append("decimal comma")
    if reading.thousands is not None:
        result.understood.append(f"thousands {reading.thousands!r}")
    for column in texts:
        if column.name in reading.labels:
            _note_lines(grid, column, result)
            result.columns[column.name] = as_text(column.column)
        else:
            result.columns[column.name] = _convert(path, grid, column, decimal, reading.thousands, result)
    return result


def as_text(column: pa.Array) -> Any:
    """Return texts as a frame holds them."""
    import pandas as pd

    return pd.Series(column.to_pylist(), dtype=object if column.null_count == len(column) else None)


def _convert(path: Path, grid: Grid, column: Texts, decimal: str, thousands: str | None, result: Parsed) -> Any:
    """Return a column's numbers, its truth values, or its texts where it holds neither."""
    if not column.present.any():
        return np.full(len(column.column), np.nan)
    simple = column.pointed if decimal == "." and thousands is None else column.whole
    found = column.present if simple else matches(column.plain, number(decimal, thousands)) & ~column.words
    infinite = np.zeros_like(found) if simple else matches(column.plain, INFINITE) & ~column.words
    missing = np.zeros_like(found) if simple else column.words
    stray = column.present & ~found & ~infinite & ~missing
    if found.any() and not stray.any():
        if missing.any():
            result.words[column.name] = _counts(column, missing)
        return _numbers(grid, column, found | infinite, decimal, thousands, result)
    if _true_or_false(column, missing):
        if missing.any():
            result.words[column.name] = _counts(column, missing)
        return _truth(column, missing)
    if column.mostly_numbers:
        raise _stray(path, grid, column, stray, decimal)
    _note_lines(grid, column, result)
    _note_text(column, result)
    return as_text(column.column)


def _counts(column: Texts, mask: Mask) -> dict[str, int]:
    import pyarrow as pa

    return dict(Counter(column.column.filter(pa.array(mask)).to_pylist()).most_common())


def _numbers(
    grid: Grid, column: Texts, found: Mask, decimal: str, thousands: str | None, result: Parsed
) -> np.ndarray[Any, Any]:
    """Convert the texts that were found to be numbers, to the nearest float or exactly to an integer."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = column.plain if found.all() else pc.if_else(pa.array(found), column.plain, None)
    if thousands is not None:
        texts = pc.replace_substring_regex(texts, GROUPS[thousands], "")
    if decimal == ",":
        texts = pc.replace_substring(texts, ",", ".")
    texts = pc.replace_substring_regex(texts, r"^\+", "")  # the sign that Arrow doesn't take
    whole = column.whole or bool((matches(texts, WHOLE) == found).all())
    if whole:
        padded = column.first(matches(texts, PADDED))
        if padded is not None:
            result.notes.append(
                f"column {column.name!r}, {grid.place(padded)}: {shown(column.text(padded))} was read as a number; if "
                f"such values are codes, say {option('labels', [column.name])}"
            )
    if whole and found.all():
        for kind in (pa.int64(), pa.uint64()):
            try:
                return np.asarray(pc.cast(texts, kind).to_numpy(zero_copy_only=False))
            except pa.ArrowInvalid:
                continue
    return np.asarray(pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _true_or_false(column: Texts, missing: Mask) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pc.is_in(column.column, value_set=pa.array([*TRUE, *FALSE], pa.large_string()))
    known = np.asarray(known.to_numpy(zero_copy_only=False), dtype=np.bool_)
    return bool(known.any() and (known | missing | ~column.present).all())


def _truth(column: Texts, missing: Mask) -> np.ndarray[Any, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    true = pc.is_in(column.column, value_set=pa.array(TRUE, pa.large_string()))
    values = np.asarray(true.to_numpy(zero_copy_only=False), dtype=np.bool_)
    absent = missing | ~column.present
    return np.where(absent, np.nan, values.astype(np.float64)) if absent.any() else values


def _note_lines(grid: Grid, column: Texts, result: Parsed) -> None:
    """Say where a text goes over several lines, as it does after a quotation mark too many."""
    at = column.first(matches(column.column, r"[\r\n]"))
    if at is not None:
        result.notes.append(
            f"column {column.name!r}, {grid.place(at)}: a text of several lines; if that is wrong, look for a "
            "quotation mark too many"
        )


def _note_text(column: Texts, result: Parsed) -> None:
    """Say what a column of text holds that could be meant otherwise."""
    if column.words.any():
        counted = ", ".join(
            f"{text!r} ({plural(count, 'time')})" for text, count in _counts(column, column.words).items()
        )
        result.notes.append(f"column {column.name!r} is text, so {counted} is kept as a label")
    numbers = int(column.numeric.sum())
    if numbers:
        result.notes.append(
            f"column {column.name!r} is text, so {plural(numbers, 'number')} in it "
            f"{'is' if numbers == 1 else 'are'} kept as labels"
        )


def _stray(path: Path, grid: Grid, column: Texts, stray: Mask, decimal: str) -> DataError:
    """Name the first text among numbers, and what it may mean."""
    at = int(np.argmax(stray))
    text = column.text(at)
    rows = np.flatnonzero(stray)
    hints = []
    head = int(grid.rows[rows[-1]])
    if head <= 3 and len(rows) == rows[-1] + 1 and not column.numeric[rows].any():
        hints.append(f"a row of units is left out by {option('skip_rows', head)}")
    cell, other = column.plain.slice(at, 1), "," if decimal == "." else "."
    for mark in GROUPS:
        before = {",": ".", ".": ","}.get(mark, decimal)
        if mark != decimal and matches(cell, GROUPS[mark])[0] and matches(cell, number(before, mark))[0]:
            hints.append(f"if {mark!r} groups thousands: {option('thousands', mark)}")
    if not hints and matches(cell, number(other))[0]:
        hints.append(f"if {other!r} stands before decimals: {option('decimal', other)}")
    if not hints:
        hints.append(f"correct it; if it stands for no value: {option('missing', [text])}")
    hints.append(f"to take the whole column as text: {option('labels', [column.name])}")
    count = int((column.numeric & ~stray).sum())
    as_most = f", as {count} of {column.values} values are" if count else ""
    like = "" if decimal == "." else " with a decimal comma"
    return DataError(
        f"{path}: column {column.name!r}, {grid.place(at)}: found {shown(text)}, expected a number{like}{as_most}",
        "; ".join(hints),
    )
