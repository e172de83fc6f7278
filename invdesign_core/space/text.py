"""Numbers, ranges and names in text that a user writes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from invdesign_core.errors import ConfigError, near_or_all
from invdesign_core.space.digits import typed

NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_OPERATOR = re.compile(r"\s*(<=|>=|=)\s*")
RANGE = re.compile(rf"({NUMBER})\s*\.\.\s*({NUMBER})")


def parse_number(text: str, place: str) -> float:
    """Read one finite number, or say where which text stood instead."""
    try:
        value = float(text)
    except ValueError:
        hint = "write the decimals after a point" if re.fullmatch(r"[+-]?\d+,\d+", text.strip()) else None
        raise ConfigError(f"{place}: found {text.strip()!r}, expected a number", hint) from None
    if not np.isfinite(value):
        raise ConfigError(f"{place}: found {text.strip()!r}, expected a finite number")
    return value


def parse_range(text: str, place: str) -> tuple[float, float]:
    """Read ``LOW..HIGH``, or refuse a text that is no range, or whose ends are the wrong way round."""
    match = RANGE.fullmatch(text.strip())
    if not match:
        raise ConfigError(f"{place}: found {text.strip()!r}, expected LOW..HIGH", "for example 0..1")
    low, high = float(match[1]), float(match[2])
    if low > high:
        wrong = f"{place}: the lower end {typed(low)} is above the upper end {typed(high)}"
        raise ConfigError(wrong, "write the smaller number first")
    return low, high


def split_assignment(text: str, names: Sequence[str], place: str, what: str) -> tuple[str, str]:
    """Split ``NAME=VALUE``, ``NAME<=VALUE`` or ``NAME>=VALUE`` into a known name and the rest, a leading sign kept.

    A name may hold spaces, signs and ``=``; one in double quotes is taken as it stands. Two that fit are refused.
    `place` says where the text was written, `what` what the names are.
    """
    text = text.strip()
    quoted = re.match(r'"([^"]*)"', text)
    found: list[tuple[str, str]] = []
    for name in [quoted[1]] if quoted else sorted(names, key=len, reverse=True):
        rest = text[quoted.end() :] if quoted else text[len(name) :] if text.startswith(name) else ""
        operator = _OPERATOR.match(rest)
        if operator and (not quoted or name in names):
            sign = "" if operator[1] == "=" else operator[1]
            found.append((name, sign + rest[operator.end() :]))
    if len(found) > 1:
        readings = " or ".join(f"{name!r} {rest if rest[:1] in '<>' else '= ' + rest}" for name, rest in found)
        hint = f"put the name in double quotes: '\"{found[0][0]}\"{text[len(found[0][0]) :]}'"
        raise ConfigError(f"{place}: this can be read in {len(found)} ways: {readings}", hint)
    if found:
        return found[0]
    guess = quoted[1] if quoted else re.split(r"<=|>=|=", text, maxsplit=1)[0].strip()
    if guess in names or not re.search(r"<=|>=|=", text):
        example = f"for example {names[0]}=1" if names else None
        raise ConfigError(f"{place}: found {text!r}, expected NAME=VALUE", example)
    raise ConfigError(f"{place}: there is no {what} {guess!r}", near_or_all(guess, names))


def split_names(text: str, known: Sequence[str] | None = None) -> list[str]:
    """Split ``A,B`` into names; a name in double quotes, or one that is known, may hold a comma."""
    names: list[str] = []
    rest = text.strip()
    while rest:
        quoted = re.match(r'"([^"]*)"\s*(?:,|$)', rest)
        whole = [n for n in known or () if rest == n or rest.startswith(n + ",")]
        name = quoted[1] if quoted else max(whole, key=len) if whole else rest.split(",", 1)[0].strip()
        names.append(name)
        rest = rest[quoted.end() :] if quoted else rest[len(name) :] if whole else rest.partition(",")[2]
        rest = rest.lstrip().removeprefix(",").lstrip() if not quoted else rest.lstrip()
    return names
