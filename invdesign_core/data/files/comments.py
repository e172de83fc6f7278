"""Comment lines of text files: which they are, and the names and units of columns that they may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from invdesign_core.data.files.head import Named, is_number
from invdesign_core.data.files.messages import option, shown
from invdesign_core.data.files.options import Reading
from invdesign_core.data.files.units import unit_of
from invdesign_core.errors import DataError

MARKS = ("#", "%", "//", "!")
"""What comment lines begin with."""
NO_ERROR = r"(?!N/?A\b|DIV/0|VALUE!|REF!|NAME\?|NUM!|NULL!)"
"""What doesn't follow a mark: Excel's errors begin with `#`, too."""
SPLITS = (r"\s{2,}|\t", r"\s+", r"\s*,\s*", r"\s*;\s*", r"\s*\|\s*")
"""What may stand between the names in a comment, whatever stands between the values."""
NAME_WITH_UNIT = re.compile(r"(.*\S)\s+(?:\(([^()]+)\)|\[([^][]+)\])")


@dataclass(frozen=True)
class Source:
    """The characters of a text file, its comment lines emptied."""

    path: Path
    text: str
    comments: Mapping[int, str] = field(default_factory=dict)
    """The comment lines, by their number."""
    mark: str = ""


def without_comments(path: Path, text: str, reading: Reading) -> Source:
    """Find a text's comment lines: those that begin with a mark and are no rows."""
    marks = MARKS if reading.comment is None else (reading.comment,)
    start = re.compile(r"(?m)^[ \t]*(" + "|".join(map(re.escape, marks)) + ")" + NO_ERROR)
    if reading.comment == "no" or not (found := start.search(text)):
        return Source(path, text)
    lines = text.split("\n")
    mark = found[1]
    inside, comments, others = False, dict[int, str](), list[tuple[int, str]]()
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        begun = None if inside else start.match(line)
        if begun and (begun[1] == mark or not others):
            comments[number] = stripped
            continue
        if stripped:
            others.append((number, stripped))
        inside ^= line.count('"') % 2 == 1
    if reading.comment is None:
        first = others[0][0] if others else len(lines)
        below = [number for number in comments if number > first]
        if not others:
            raise DataError(
                f"{path}: all lines begin with {mark!r}, as comments do; expected rows of values",
                f"if they are rows: {option('comment', 'no')}",
            )
        if len(below) > len(others) - 1:  # labels that begin with it
            comments = {number: line for number, line in comments.items() if number < first}
        elif below:
            _refuse_rows(path, mark, {number: comments[number] for number in below}, others)
    if not comments:
        return Source(path, text)
    for number in comments:
        lines[number - 1] = ""
    return Source(path, "\n".join(lines), comments, mark)


def _refuse_rows(path: Path, mark: str, below: Mapping[int, str], others: list[tuple[int, str]]) -> None:
    """Refuse a line that begins with a mark if it may be a row, whose label does."""
    separator = max(",;\t|", key=others[0][1].count)
    pattern = re.escape(separator) if separator in others[0][1] else r"\s+"
    width = len(re.split(pattern, others[0][1]))
    if all(is_number(re.split(pattern, line)[0].strip()) for _, line in others[1:]):
        return
    for number, line in below.items():
        if len(re.split(pattern, line)) == width:
            raise DataError(
                f"{path}, line {number}: {shown(line)} can be a comment, or a row whose first value begins "
                f"with {mark!r}",
                f"choose one: {option('comment', mark)} or {option('comment', 'no')}",
            )


def names_in_comments(source: Source, separator: str, width: int, first: int, header: int | None) -> Named | None:
    """Return the names in the comment directly above line `first`, the first with values, if it holds `width` of them.

    `header` is the line that the user names.
    """
    above = [n for n in source.comments if n < first and re.search(r"\w", source.comments[n])]
    if header is not None:
        above = [n for n in above if n <= header]
    units: list[str] | None = None
    for number in sorted(above, reverse=True)[:2]:
        names = _split(source, number, separator, width)
        if names is None or any(map(is_number, names)):
            return None
        found = [unit_of(name) for name in names]
        if units is None and number != min(above) and any(found) and all(unit is not None for unit in found):
            units = [unit or "" for unit in found]
            continue
        if units is None:
            pairs = [NAME_WITH_UNIT.fullmatch(name) for name in names]
            short = [name if pair is None else pair[1] for name, pair in zip(names, pairs, strict=True)]
            if len(set(short)) == len(names):
                units = ["" if pair is None else pair[2] or pair[3] for pair in pairs]
                names = short
        said = zip(names, units or (), strict=False)
        return Named(number, tuple(names), {name: unit for name, unit in said if unit})
    return None


def units_below(source: Source, separator: str, names: Sequence[str], line: int) -> dict[str, str]:
    """Return the units of columns where the comment directly below their names, in line `line`, holds only such."""
    if line + 1 not in source.comments:
        return {}
    found = [unit_of(text) for text in _split(source, line + 1, separator, len(names)) or ()]
    if not any(found) or any(unit is None for unit in found):
        return {}
    return {name: unit for name, unit in zip(names, found, strict=True) if unit}


def _split(source: Source, number: int, separator: str, width: int) -> list[str] | None:
    """Return the `width` names in a comment line, or None; the mark is part of a name where it is one of them."""
    line = source.comments[number]
    mark = next((mark for mark in (source.mark, *MARKS) if line.startswith(mark)), source.mark)
    plain = re.sub(rf"^(?:{re.escape(mark)})+\s*", "", line)
    ways = (re.escape(separator), *SPLITS) if separator.strip() else SPLITS
    names = [name.strip() for name in re.split(ways[0], line)]
    if len(names) == width and all(names) and any(name.startswith(mark) for name in names[1:]):
        return names  # such as % Ni, % Cr
    for text in (plain, line) if separator.strip() else (plain,):
        for way in ways:
            names = [name.strip().strip('"') for name in re.split(way, text.strip())]
            if len(names) == width and all(names) and not any(name.endswith((",", ";")) for name in names):
                return names
    return None
