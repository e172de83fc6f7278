"""Columns that are named by patterns, such as `y*`, instead of one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from invdesign_core.errors import DataError, near_match
from invdesign_core.space.units import column_called


def is_pattern(name: str, names: Collection[str]) -> bool:
    """Whether a name is a pattern: it has ``*``, ``?`` or ``[`` in it, and no column is called exactly so."""
    return name not in names and any(mark in name for mark in "*?[")


def matches(name: str, names: Sequence[str]) -> list[str]:
    """Return the columns that a name or a pattern stands for, none where it matches nothing.

    A name may leave out the unit that stands in brackets behind it.
    """
    if is_pattern(name, names):
        return [column for column in names if fnmatchcase(column, name)]
    return [column_called(name, names)]


def expand(given: Iterable[str], names: Sequence[str], what: str) -> list[str]:
    """Return the columns that names and patterns stand for, each once; `what` names the file and the option.

    Names without a pattern are returned as they are, be there such a column or not; they may leave out a unit.

    Raises
    ------
    DataError
        If a pattern matches no column.

    Examples
    --------
    >>> expand(["t", "y?"], ["y1", "t", "y2", "y10"], "a.csv: outputs")
    ['t', 'y1', 'y2']
    """
    found: list[str] = []
    for name in given:
        columns = matches(name, names)
        if not columns:
            near = near_match(name.strip("*?"), names)
            raise DataError(f"{what}: no column matches {name!r}", near)
        found += [column for column in columns if column not in found]
    return found


def expand_keys(given: Mapping[str, Any], names: Sequence[str], what: str) -> dict[str, Any]:
    """Return a mapping with a key for each column that a name or a pattern stands for; a name wins over a pattern.

    Raises
    ------
    DataError
        If a pattern matches no column, or two patterns say different things of one.
    """
    exact = {column_called(name, names): value for name, value in given.items() if not is_pattern(name, names)}
    found: dict[str, tuple[str, Any]] = {}
    for pattern in [name for name in given if is_pattern(name, names)]:
        for name in expand([pattern], names, what):
            before, value = found.get(name, (pattern, given[pattern]))
            if value != given[pattern]:
                first, second = sorted((before, pattern))
                raise DataError(
                    f"{what}: {name!r} matches {first!r} and {second!r}, which say different things",
                    "name the column itself, or change one pattern",
                )
            found[name] = pattern, value
    return {name: value for name, (_, value) in found.items()} | exact


def said_of(key: str, given: Iterable[str], names: Sequence[str], leave_out: Collection[str] = ()) -> list[str]:
    """Say which columns the patterns of an option stand for."""
    kept = [name for name in names if name not in leave_out]
    return [f"{key} {name!r}: {', '.join(map(repr, matches(name, kept)))}" for name in given if is_pattern(name, names)]
