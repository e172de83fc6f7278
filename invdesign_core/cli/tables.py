"""Tables and lines that fit the width they have: what is too wide becomes cards, and no number is ever cut in two."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from invdesign_core.errors.visible import visible

FIXED = 120
"""How wide to print into files and pipes, whatever the terminal is like."""
NARROWEST = 16
"""How narrow a column of words may become."""


@dataclass(frozen=True)
class Column:
    """One column: its heading, how it looks, and whether its cells are words that may go on in the next line."""

    heading: str
    justify: Literal["left", "right"] = "right"
    style: str = ""
    words: bool = False


def printer(stream: TextIO) -> Console:
    """Return what prints to a stream, as wide as its terminal or as `$COLUMNS` says, else at a fixed width."""
    width = None if _has_width(stream) else FIXED
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=width)


def _has_width(stream: TextIO) -> bool:
    return stream.isatty() or os.environ.get("COLUMNS", "").isdigit()


def echo(text: str, stream: TextIO | None = None) -> None:
    """Print lines of a list, broken at spaces where there is a width to keep to; a file has each whole."""
    stream = stream or sys.stdout
    if not _has_width(stream):
        stream.write(visible(text) + "\n")
        return
    console = printer(stream)
    for line in text.splitlines() or [""]:
        say(console, line, further=" " * (len(line) - len(line.lstrip()) + 4))


def say(console: Console, text: str, style: str = "", indent: str = "", further: str | None = None) -> None:
    """Print a text with lines broken at spaces; `further` begins the lines after its first.

    A word that has no room, as a path may be, is left whole, so that it can be copied.
    """
    further = indent if further is None else further
    for number, line in enumerate(_broken(visible(text), console.width - max(len(indent), len(further)))):
        console.print(Text((further if number else indent) + line, style=style), soft_wrap=True)


def show_rows(
    console: Console,
    columns: Sequence[Column | str],
    rows: Sequence[Sequence[str]],
    what: str = "row",
    styles: Sequence[str] = (),
) -> None:
    """Print a row for each item; where that has no room a column for each, and where that has none a card for each.

    `what` is what an item is called where it has no row, followed by its number; `styles` are those of the rows.
    """
    heads = [column if isinstance(column, Column) else Column(column) for column in columns]
    heads = [replace(head, heading=visible(head.heading, lines=False)) for head in heads]
    rows = [[visible(cell, lines=False) for cell in row] for row in rows]
    lying = _lying(console, heads, rows, styles)
    if lying is not None:
        console.print(lying)
        return
    for beside in range(len(rows), 0, -1):
        parts = [_turned(heads, rows[at : at + beside], at + 1, what) for at in range(0, len(rows), beside)]
        if all(_width(part, console) <= console.width for part in parts):
            for part in parts:
                console.print(part)
            return
    for number, row in enumerate(rows, start=1):
        _card(console, heads, row, f"{what} {number}")


def _lying(
    console: Console, heads: Sequence[Column], rows: Sequence[Sequence[str]], styles: Sequence[str]
) -> Table | None:
    """Return the table with a row for each item, its words broken where they must be; None where it has no room."""

    def table(width: int | None) -> Table:
        made = Table()
        for head in heads:
            fixed = width if head is words else None
            made.add_column(Text(head.heading), justify=head.justify, style=head.style, width=fixed)
        for number, row in enumerate(rows):
            made.add_row(*map(Text, row), style=styles[number] if styles else None)
        return made

    words = next((head for head in heads if head.words), None)
    over = _width(table(None), console) - console.width
    if over <= 0:
        return table(None)
    if words is None:
        return None
    cells = [words.heading, *(row[list(heads).index(words)] for row in rows)]
    longest = max(cell_len(word) for cell in cells for word in [*cell.split(), ""])
    width = max(cell_len(cell) for cell in cells) - over
    return table(width) if width >= max(longest, NARROWEST) else None


def _turned(heads: Sequence[Column], rows: Sequence[Sequence[str]], first: int, what: str) -> Table:
    """Return a table with a column for each of some items, of which the first has the number `first`."""
    table = Table()
    table.add_column(Text(what))
    for number in range(first, first + len(rows)):
        table.add_column(str(number), justify="right")
    for head, cells in zip(heads, zip(*rows, strict=True), strict=True):
        table.add_row(Text(head.heading), *map(Text, cells))
    return table


def _width(table: Table, console: Console) -> int:
    """Return how wide a table would like to be, measured on a wide page: rich never asks for more than there is."""
    return console.measure(table, options=console.options.update(width=10_000)).maximum


def _card(console: Console, heads: Sequence[Column], row: Sequence[str], title: str) -> None:
    """Print one item as lines with a heading each, with room for the longest heading where there is enough."""
    say(console, title, "bold")
    for head, cell in zip(heads, row, strict=True):
        if not (head.heading or cell):
            continue
        line = f"{head.heading}: {cell}" if head.heading else cell
        if cell_len(line) + 2 <= console.width:
            say(console, line, head.style, "  ")
            continue
        say(console, f"{head.heading}:", head.style, "  ")
        say(console, cell, head.style, "    ")


def _broken(text: str, width: int) -> list[str]:
    """Return the lines of a text, broken at spaces; a word that is longer than a line has one of its own."""
    lines = []
    for given in text.splitlines() or [""]:
        line = ""
        for word in re.findall(r"\S+|\s+", given):
            if cell_len((line + word).rstrip()) > width and line.strip():
                lines.append(line.rstrip())
                line = ""
            line += word if line or word.strip() or not lines else ""
        lines.append(line.rstrip())
    return lines
