"""Where a table's names and units stand, and whether it has any."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from invdesign_core.data.files.messages import option, some
from invdesign_core.data.files.number_text import ANY, BEHIND, BELOW, INFINITE, LIMIT_WORD, MISSING
from invdesign_core.data.files.options import Reading
from invdesign_core.data.files.units import unit_of
from invdesign_core.errors import DataError, plural

Cells = Sequence[str]
SHORT = 12
"""Columns of which a message lists all names."""


class NoHeaderError(DataError):
    """A file begins with numbers where names are expected; `width` columns."""

    def __init__(self, message: str, hint: str, width: int) -> None:
        super().__init__(message, hint)
        self.width = width


@dataclass(frozen=True)
class Head:
    """What the first rows of a table say about its columns."""

    names: tuple[str, ...]
    at: int
    """The position of the row that holds the names; -1 where no row does."""
    units: Mapping[str, str] = field(default_factory=dict)
    below: bool = False
    """Whether the row below the names holds units."""
    notes: tuple[str, ...] = ()
    commented: bool = False
    """Whether a comment above the rows holds the names."""

    @property
    def understood(self) -> tuple[str, ...]:
        """What was found, in words."""
        return ("a row of units",) if self.below else ("no header",) if self.at < 0 and not self.commented else ()


@dataclass(frozen=True)
class Named:
    """Names and units that a comment line above the rows holds."""

    line: int
    names: tuple[str, ...]
    units: Mapping[str, str]


def find_head(
    path: Path,
    rows: Sequence[Cells],
    lines: Sequence[int],
    reading: Reading,
    above: Named | None = None,
    line: str = "line",
) -> Head:
    """Find the names of the columns in a table's first rows, of equal width, and their units.

    `lines` are the rows' numbers in the file, of which `line` says what they count.
    """
    width = len(rows[0])
    if reading.header == "no":
        return Head(given_names(path, reading.names, width) or numbered(width), -1)
    if above is not None and _names_above(path, rows, lines, reading, above):
        units = _units(above.names, rows)
        said = {name: unit for name, unit in zip(above.names, units, strict=True) if unit} if units else above.units
        names = given_names(path, reading.names, width) or above.names
        return Head(names, -1, {} if reading.names else said, units is not None, commented=True)
    if reading.header is None and _is_values(rows, reading.skipped):
        if reading.names:
            return Head(given_names(path, reading.names, width), -1)
        raise no_header(path, rows[0], lines[0], line, reading.adjustable)
    if reading.names and reading.header is None:
        raise DataError(
            f"{path}: `names` is given, and {line} {lines[0]} holds names, too: {some(rows[0])}",
            f"{option('header', lines[0])} replaces these names; {option('header', 'no')} makes that {line} a row",
        )
    head = Head(tuple(rows[0]), 0) if reading.header else _below_groups(rows, lines, line)
    units = _units(head.names, rows[head.at + 1 :])
    names = given_names(path, reading.names, width) or head.names
    named = {name: unit for name, unit in zip(names, units or (), strict=False) if unit}
    return replace(head, names=names, units=named or head.units, below=units is not None)


def _names_above(path: Path, rows: Sequence[Cells], lines: Sequence[int], reading: Reading, above: Named) -> bool:
    """Return whether the names are those in the comment, and not those in the first row; refuse what may be either."""
    if reading.header is not None or reading.names:
        return reading.header == above.line
    numeric = [i for i in range(len(rows[0])) if numbers_below(rows[1:], i)]
    if any(rows[0][i] and not is_number(rows[0][i]) for i in numeric):
        return _units(above.names, rows) is not None
    if any(map(is_number, rows[0])):
        return True
    raise DataError(
        f"{path}: the names may stand in the comment in line {above.line} ({some(above.names)}) or in line {lines[0]} "
        f"({some(rows[0])})",
        f"choose one: {option('header', above.line)} or {option('header', lines[0])}",
    )


def given_names(path: Path, names: Sequence[str], width: int) -> tuple[str, ...]:
    """Return the names that the user gave, one for each of `width` columns, or none."""
    if names and len(names) != width:
        raise DataError(
            f"{path}: `names` holds {plural(len(names), 'name')} ({some(names)}), and the file "
            f"{plural(width, 'column')}",
            "name each column once, in the file's order; `leave_out` leaves some of them out",
        )
    return tuple(names)


def numbered(width: int, letter: str = "x") -> tuple[str, ...]:
    """Return names for columns that have none: x1, x2 and so on."""
    return tuple(f"{letter}{i + 1}" for i in range(width))


def no_header(path: Path, found: Cells, at: int, line: str, adjustable: bool) -> NoHeaderError:
    """Ask about a first line, number `at`, of values."""
    where = "the first line" if at == 1 and line == "line" else f"{line} {at}"
    only = "only numbers" if all(not text or is_number(text) for text in found) else "values like those below it"
    names = numbered(len(found))
    said = f"names = [{', '.join(map(repr, names[:2]))}, …]".replace("'", '"')
    ways = ["write a line of names above it"]
    if adjustable:
        ways = [
            f"name the columns: {option('names', names) if len(names) <= SHORT else said}",
            f"{option('header', 'no')} calls them x1, x2, …",
            *ways,
        ]
    if adjustable and len(set(found)) == len(found) and all(found):
        ways.append(f"if these are names: {option('header', at)}")
    return NoHeaderError(
        f"{path}: {where} holds {only}: {some(found)}; is there no header?", "; or ".join(ways), len(found)
    )


def is_number(text: str) -> bool:
    """Return whether a text is a number in some way of writing."""
    return bool(re.match(ANY, text) or re.match(BEHIND, text))


def numbers_below(rows: Sequence[Cells], column: int) -> bool:
    """Return whether the values of a column are numbers, and there is one."""
    texts = [row[column] for row in rows if column < len(row)]
    values = [text for text in texts if text and text.lower() not in MISSING]
    return bool(values) and all(is_number(text) for text in values)


def _is_values(rows: Sequence[Cells], skipped: object) -> bool:
    """Return whether the first row looks like those below it: no column of numbers has a text for a name."""
    first, below = rows[0], [row for i, row in enumerate(rows) if i and i not in skipped]  # type: ignore[operator]
    filled = [i for i, text in enumerate(first) if text]
    units = [i for i in filled if any(row[i] and not re.match(ANY, row[i]) for row in below)]
    if not any(re.match(ANY, first[i]) or (i in units and is_number(first[i])) for i in filled):
        return False
    if all(is_number(first[i]) for i in filled):
        return True
    numeric = [i for i in filled if numbers_below(below, i)]
    unread = "|".join((LIMIT_WORD.removeprefix("(?i)"), BELOW.replace("?P<rest>", ""), INFINITE.removeprefix("(?i)")))
    return bool(numeric) and all(
        is_number(first[i]) or first[i].lower() in MISSING or re.match(unread, first[i], re.I) for i in numeric
    )


def _below_groups(rows: Sequence[Cells], lines: Sequence[int], line: str) -> Head:
    """Return the names and where they stand: in the first row, or below titles and heads of groups."""
    plain = Head(tuple(rows[0]), 0)
    titles = 0
    while titles < len(rows) - 2 and len(rows[0]) > 1 and sum(map(bool, rows[titles])) <= 1:
        titles += 1  # a title above the table
    groups, names, below = rows[titles], rows[titles + 1 : titles + 2], rows[titles + 2 :]
    if not names or not below:
        return plain
    width = len(rows[0])
    numeric = [i for i in range(width) if numbers_below(below, i) or numbers_below(below[1:], i)]
    second = names[0]
    if titles and _is_header(groups, [*names, *below]):
        said = f"{line} {lines[0]} ({some([t for t in rows[0] if t])}) is left out, as it stands above the names"
        return Head(tuple(groups), titles, notes=(said,))
    filled = [text for text in groups if text]
    grouped = any(not groups[i] and second[i] for i in range(1, width)) or max(Counter(filled).values(), default=0) > 1
    named = any(second[i] for i in numeric) and not any(is_number(second[i]) for i in numeric)
    if not grouped or not named or _all_units(second):
        return plain
    heads, names_ = _filled(groups), [own or group for own, group in zip(second, groups, strict=True)]
    if any(not name for name in names_[1:]):
        return plain
    twice = {name for name, count in Counter(names_).items() if count > 1}
    names_ = [f"{head} {name}" if name in twice and head else name for head, name in zip(heads, names_, strict=True)]
    if _all_units(groups) and not twice:
        units = {name: unit for name, text in zip(names_, groups, strict=True) if (unit := unit_of(text))}
        return Head(tuple(names_), titles + 1, units)
    said = f"the names stand in {line} {lines[titles + 1]}; above them are heads of groups: {some(filled)}"
    return Head(tuple(names_), titles + 1, notes=(said,))


def _is_header(names: Cells, below: Sequence[Cells]) -> bool:
    """Return whether a row names every column that holds values, those of numbers by a text."""
    columns = [i for i in range(len(names)) if any(row[i] for row in below)]
    numeric = [i for i in columns if numbers_below(below, i) or numbers_below(below[1:], i)]
    return bool(numeric) and all(names[i] for i in columns[1:]) and not any(is_number(names[i]) for i in numeric)


def _filled(groups: Cells) -> list[str]:
    """Return for each column the head of its group, which stands above the first one of it."""
    heads, last = [], ""
    for text in groups:
        last = text or last
        heads.append(last)
    return heads


def _all_units(texts: Cells) -> bool:
    """Return whether all texts are units, or stand in place of one."""
    found = [unit_of(text) for text in texts if text]
    return any(found) and all(unit is not None for unit in found)


def _units(names: Cells, rows: Sequence[Cells]) -> list[str] | None:
    """Return the unit of each column where the row below the names holds them, which no row of values can be."""
    if len(rows) < 2:
        return None
    first, below = rows[0], rows[1:]
    numeric = [i for i in range(len(names)) if numbers_below(below, i)]
    units = [unit_of(text) for text in first]
    labels = [i for i in range(len(names)) if i not in numeric and first[i]]
    if not any(units[i] for i in numeric) or any(units[i] is None for i in numeric):
        return None
    if any(first[i] in {row[i] for row in below} and units[i] != "" for i in labels):  # a label, as in other rows
        return None
    return [unit or "" for unit in units]
