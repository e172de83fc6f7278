"""Constraints in other units, or with names that leave out a unit, as text with plain numbers and whole names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from invdesign_core.errors import ConfigError
from invdesign_core.space.constraint_grammar import Refusal, only_reading
from invdesign_core.space.digits import typed
from invdesign_core.space.units import Numbers, Units, has_offset, known

if TYPE_CHECKING:
    from lark import Token, Tree


def in_whole_names(text: str, names: Sequence[str], units: Units) -> str:
    """Return a formula with the whole names of columns in the place of those that leave out a unit."""
    try:
        tree = only_reading(text, [*names, *units.short], "expression")
    except Refusal:  # told where it is read in earnest
        return text
    short = [token for token in _tokens(tree, "NAME") if str(token) in units.short]
    return _replaced(text, [(token, f'"{units.name(str(token))}"') for token in short])


def written_out(text: str, names: Sequence[str], derived: Mapping[str, str]) -> str:
    """Return a formula in which other formulas stand in the place of their names."""
    try:
        tree = only_reading(text, [*names, *derived], "expression")
    except Refusal:
        return text
    return _replaced(text, [(t, f"({derived[str(t)]})") for t in _tokens(tree, "NAME") if str(t) in derived])


def in_own_units(
    text: str,
    names: Sequence[str],
    units: Units,
    derived: Mapping[str, str] = MappingProxyType({}),
    place: str = "constraints",
) -> str:
    """Return a constraint in which all numbers are plain, in the units of the columns that they are compared with.

    Formulas stand in the place of the names of `derived` quantities. A text that needs no change, or that can't be
    read, comes back as it is.

    Raises
    ------
    ConfigError
        If a number has a unit that can't be converted into that of what it stands beside.
    """
    try:
        tree = only_reading(text, [*names, *units.short, *derived])
    except Refusal:  # told where the constraint is read in earnest
        return text
    quantities = list(_tokens(tree, "QUANTITY"))
    named = list(_tokens(tree, "NAME"))
    new = [(token, f'"{units.name(str(token))}"') for token in named if str(token) in units.short]
    new += [(token, f"({derived[str(token)]})") for token in named if str(token) in derived]
    if quantities:
        unit, total = _measure(tree, units, text, place)
        for token in quantities:
            where = f"{place}: character {(token.start_pos or 0) + 1} of {text!r}"
            if unit in (None, UNKNOWN):
                raise ConfigError(
                    f"{where}: found {str(token)!r}, and the unit of what it is compared with isn't known",
                    "say it, in the section [units], or write a plain number",
                )
            read = Numbers("", unit)
            if not has_offset(str(unit), where):
                value = read.value(token, where)
            elif total in (0, 1):
                value = (read.difference if total == 0 else read.value)(token, where)
            else:
                raise ConfigError(
                    f"{where}: zero {unit} is not nothing, so that {str(token)!r} means something beside one column "
                    "or a difference of two alone, as in t <= 350 K or t1 - t2 <= 5 K",
                    f"write a plain number, in {unit}",
                )
            new.append((token, typed(value)))
    return _replaced(text, new)


def _replaced(text: str, new: Sequence[tuple[Token, str]]) -> str:
    """Return a text with other words in the place of some."""
    for token, word in sorted(new, key=lambda pair: pair[0].start_pos or 0, reverse=True):
        text = text[: token.start_pos] + word + text[token.end_pos :]
    return text


@dataclass(frozen=True)
class _Part:
    """A part of a constraint: its unit, None for plain numbers, and how often the column counts in it, all in all."""

    unit: str | None = None
    total: float = 0.0
    number: float | None = None


def _measure(tree: Tree[Token], units: Units, text: str, place: str) -> tuple[str | None, float]:
    """Return the unit that both sides of a comparison are in, and how often columns count in it, in sum."""
    parts = [_part(side, units) for side in tree.children[::2] if not isinstance(side, str)]
    found = list(dict.fromkeys(part.unit for part in parts if part.unit is not None))
    if UNKNOWN in found:
        return UNKNOWN, 0.0
    if _MIXED in found or len({str(known(unit, place)) for unit in found}) > 1:
        raise ConfigError(
            f"{place}: {text!r}: columns of different units stand beside each other, so that a number with a unit "
            "could mean several things",
            "write a plain number",
        )
    total = sum(sign * part.total for sign, part in zip((1.0, -1.0, 1.0), parts, strict=False))
    return (found[0] if found else None), abs(round(total, 9))


_MIXED, UNKNOWN = "mixed", "unknown"
"""In the place of a unit: parts with several, and with columns of which none is known."""


def _part(tree: Any, units: Units) -> _Part:
    """Return what is known of a part of a constraint."""
    parts: list[Any] = tree.children
    match tree.data:
        case "number":
            return _Part(number=float(parts[0]))
        case "quantity":
            return _Part()
        case "name":
            return _Part(units.of.get(units.name(str(parts[0])), UNKNOWN), 1.0)
        case "inner" | "magnitude":
            return _part(parts[1], units)
        case "negative":
            inner = _part(parts[1], units)
            return _Part(inner.unit, -inner.total, None if inner.number is None else -inner.number)
        case "sum":
            return _summed([_part(part, units) for part in parts[::2]], parts[1::2])
        case "product":
            return _multiplied([_part(part, units) for part in parts[::2]], parts[1::2])
    return _Part(_MIXED)


def _summed(parts: Sequence[_Part], signs: Sequence[Token]) -> _Part:
    found = {part.unit for part in parts if part.unit is not None}
    total = parts[0].total
    for sign, part in zip(signs, parts[1:], strict=True):
        total += part.total if sign.type == "PLUS" else -part.total
    one = UNKNOWN if UNKNOWN in found else _MIXED
    return _Part(None if not found else found.pop() if len(found) == 1 else one, total)


def _multiplied(parts: Sequence[_Part], signs: Sequence[Token]) -> _Part:
    """Return a product or a quotient; one of several columns has a unit of its own."""
    found, factor = parts[0], 1.0 if parts[0].number is None else parts[0].number
    for sign, part in zip(signs, parts[1:], strict=True):
        if part.number is not None:
            factor = factor * part.number if sign.type == "TIMES" else factor / (part.number or 1.0)
        elif found.number is not None and sign.type == "TIMES":
            found = part
        elif UNKNOWN in (found.unit, part.unit):
            found = _Part(UNKNOWN)
        elif found.unit is None or part.unit is None or _MIXED in (found.unit, part.unit):
            found = _Part(_MIXED)
        else:
            between = "*" if sign.type == "TIMES" else "/"
            found = _Part(f"({found.unit or 1}){between}({part.unit or 1})", 1.0)
    number = factor if found.number is not None else None
    return _Part(found.unit, found.total * factor if found.number is None else 0.0, number)


def _tokens(tree: Tree[Token], kind: str) -> Iterator[Token]:
    yield from tree.scan_values(lambda word: getattr(word, "type", "") == kind)
