"""Decimal comma or decimal point: what the numbers of a whole file prove."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from invdesign_core.data.files.grid import Grid
from invdesign_core.data.files.messages import option, shown
from invdesign_core.data.files.number_text import COMMA, GROUP, MANY_GROUPS, POINT, Mask, Texts, matches
from invdesign_core.data.files.options import Reading
from invdesign_core.errors import DataError

Cell = tuple[Texts, int]
"""A column and a row."""


def find_decimal(path: Path, grid: Grid, columns: Sequence[Texts], reading: Reading) -> str:
    """Return what stands before decimals, as `reading` says or as the columns of numbers show.

    A number such as `0,5` proves a comma, `0.5` a point. `1,000` alone proves nothing.

    Raises
    ------
    DataError
        If both are proved, or if neither is and the numbers depend on it.
    """
    if reading.decimal is not None:
        return reading.decimal
    if reading.thousands in (",", "."):
        return "." if reading.thousands == "," else ","
    columns = [column for column in columns if not column.whole and column.mostly_numbers]
    comma = _first(columns, COMMA, ",") or _first(columns, MANY_GROUPS["."])
    point = _first(columns, POINT, ".") or _first(columns, MANY_GROUPS[","])
    if comma and point:
        raise DataError(
            f"{path}: found decimal commas and decimal points: "
            f"{shown(comma[0].text(comma[1]))} in {_cell(grid, comma)}, "
            f"{shown(point[0].text(point[1]))} in {_cell(grid, point)}",
            f"say which are meant ({option('decimal', ',')} or {option('decimal', '.')}); columns that hold codes "
            f"instead of numbers are named in `labels`",
        )
    if comma:
        return ","
    # With commas or blanks between values, a point can't but stand before decimals.
    marks = ",." if grid.separator in (";", "\t") else ","
    for mark in marks if not point else "":
        either = _first(columns, GROUP[mark])
        if either:
            text = either[0].text(either[1])
            with_mark, without = text.replace(",", "."), text.replace(mark, "")
            raise DataError(
                f"{path}: {_cell(grid, either)}: {shown(text)} can be read as {with_mark} or as {without}, "
                "and no other number of the file settles it",
                f"choose one: {option('decimal', mark)} or {option('thousands', mark)}",
            )
    return "."


def _first(columns: Sequence[Texts], pattern: str, mark: str | None = None) -> Cell | None:
    """Return the first cell that matches; with a `mark` that contains it and isn't a group of thousands."""
    for column in columns:
        if mark == "," and column.pointed:
            continue
        found: Mask = matches(column.plain, pattern) & ~column.words
        if mark is not None:
            found &= matches(column.plain, "[,.]") & ~matches(column.plain, GROUP[mark])
        row = column.first(found)
        if row is not None:
            return column, row
    return None


def _cell(grid: Grid, cell: Cell) -> str:
    column, row = cell
    return f"column {column.name!r}, {grid.place(row)}"
