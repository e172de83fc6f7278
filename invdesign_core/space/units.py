"""Units of columns: what a column is in, and numbers that come in another unit; pint is loaded for these alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from invdesign_core.errors import ConfigError, near_match, near_or_all
from invdesign_core.space.digits import typed
from invdesign_core.space.text import NUMBER, RANGE, parse_number, parse_range
from invdesign_core.space.variables import Variable

UNITLESS = ("", "1", "-", "–", "—")
"""What is written for a column of plain numbers."""
_QUANTITY = re.compile(rf"((?>{NUMBER}))\s*((?!from\b)[A-Za-zµμΩÅ°%‰€$£\[].*)", re.S)
_IN_BRACKETS = re.compile(r"(?P<name>.*\S)\s*(?:\[(?P<square>[^\[\]]+)\]|\((?P<round>[^()]+)\))", re.S)
PREFIX = r"(?:da|[YZEPTGMkhdcmµμunpfazy])"
PREFIXED = (
    "m|g|s|A|K|mol|cd|Hz|N|Pa|J|W|C|V|F|Ω|Ω|[Oo]hms?|S|Wb|T|H|lm|lx|Bq|Gy|Sv|kat|rad|sr|l|L|eV|bar|t|M|P|St|cal|Da|"
    "px|Wh|Ah|VA|var|psi|B"
)
PLAIN = (
    r"°|°C|°F|degC|degF|deg|degrees?|[CFK]elsius|Celsius|Fahrenheit|Kelvin|mins?|minutes?|h|hrs?|hours?|d|days?|weeks?|"
    r"months?|yrs?|years?|a|secs?|seconds?|in|inch|inches|ft|yd|mi|mil|mils|lb|lbs|lbf|kip|kips|ksi|oz|gal|Btu|BTU|hp|"
    r"HP|PS|dB[mi]?|rpm|RPM|rev|cycles?|counts?|cts|atm|at|mmHg|Torr|torr|[Dd]a?N|Nm|kNm|Å|µ|μ|um|micron|phr|ppm|ppb|ppt|"
    r"a\.?u\.?|arb\. ?u\.?|wt|vol|at|pixels?|gr|gsm|acre|ha|knots?|kts?|mph|kph|USD|EUR|GBP|CHF|[$€£¥]"
)
SHARE = r"(?:wt|vol|mol|at|mass|Vol|Gew|Mol|Ma|m|w|v)?[.\-]{0,2} ?(?:%|‰|percent)(?: ?\(?[wv]/[wv]\)?)?"
POWER = r"(?:\^\(?[-−+]?\d(?:[./]\d)?\)?|[-−]\d|[2-4]|\*\*[-−]?\d|[⁻]?[²³¹⁰⁴⁵⁶])?"
FACTOR = rf"(?:(?:{PREFIX}?(?:{PREFIXED})|{PLAIN}|{SHARE}){POWER}|10\^?-?\d+|1)"
UNIT = re.compile(rf"\(?{FACTOR}\)?(?:(?: ?[/·⋅*×.] ?| )\(?{FACTOR}\)?)*")
_ALONE = frozenset(["m", "s", "g", "h", "K", "V", "N", "W", "J", "%", "°", "‰"])
"""Single characters that are a unit in round brackets; others may be a version: `Strength (A)`."""
_OURS = (
    *("EUR = [currency_EUR] = € = euro", "USD = [currency_USD] = $ = dollar = dollars", "GBP = [currency_GBP] = £"),
    *("CHF = [currency_CHF]", "JPY = [currency_JPY]", "CNY = [currency_CNY]", "INR = [currency_INR]"),
    "phr = [parts_per_hundred_resin]",
)
_SHARES = ("wt", "wt.", "w", "vol", "vol.", "Vol.-", "mol", "at", "at.", "m", "mass")
_SAME = {
    **{f"{what}{sign}": "percent" for what in _SHARES for sign in ("%", "-%", " %", ".%")},
    **{"Celsius": "degC", "celsius": "degC", "Fahrenheit": "degF", "fahrenheit": "degF", "Kelvin": "kelvin"},
    **{"Ohm": "ohm", "Ohms": "ohm", "Torr": "torr", "hrs": "hour", "hr": "hour", "secs": "second", "mins": "minute"},
    **{"mil": "thou", "mils": "thou", "ksi": "kpsi", "Btu": "Btu", "BTU": "Btu", "µ": "µm"},
}
"""How units are written that pint reads otherwise or not at all."""
_USUAL = (
    *(
        "mm",
        "cm",
        "km",
        "nm",
        "kg",
        "mg",
        "kN",
        "kPa",
        "MPa",
        "GPa",
        "mPa",
        "kJ",
        "MJ",
        "kW",
        "MW",
        "mL",
        "ms",
        "mol/L",
    ),
    *("L/min", "m^3/s", "m/s", "kg/m^3", "W/m/K", "degC", "degF", "percent", "kHz", "MHz", "GHz", "mA", "mV", "kV"),
)


def in_brackets(name: str) -> tuple[str, str] | None:
    """Return the name and the unit of a column such as ``temperature [degC]``; None where no unit stands behind it.

    What is taken for one is decided by how it is written, without pint: it is shown, and known in earnest only once
    another unit is to be converted into it.
    """
    found = _IN_BRACKETS.fullmatch(name.strip())
    if found is None:
        return None
    text = (found["square"] or found["round"]).strip()
    if found["square"] is None and len(text) == 1 and text not in _ALONE:
        return None
    if not UNIT.fullmatch(text) or not re.search(r"[^\d^.\s-]", text):
        return None
    return found["name"], text


def column_called(name: str, columns: Sequence[str]) -> str:
    """Return the column of a name that may leave out the unit behind it; the name itself where it is not clear."""
    if name in columns:
        return name
    found = [column for column in columns if (split := in_brackets(column)) is not None and split[0] == name]
    return found[0] if len(found) == 1 else name


@dataclass(frozen=True)
class Numbers:
    """How numbers of one column are read: in the column's own unit, or in another, which is converted."""

    name: str = ""
    unit: str | None = None

    def value(self, text: Any, place: str) -> float:
        """Read a number; ``350 K`` of a column in °C is 76.85."""
        return self._read(str(text), place, difference=False)

    def difference(self, text: Any, place: str) -> float:
        """Read a difference between two numbers of the column, such as a tolerance; ``5 K`` is 5 °C of it."""
        return self._read(str(text), place, difference=True)

    def ends(self, text: str, place: str) -> tuple[float, float]:
        """Read ``LOW..HIGH``; a unit behind the higher end alone is that of both."""
        below, above = ends_as_written(text, place)
        if not (isinstance(below, str) and isinstance(above, str)):
            return float(below), float(above)
        low, high = self.value(below, place), self.value(above, place)
        if low > high:
            raise ConfigError(
                f"{place}: the lower end {below} is above the upper end {above}", "write the smaller number first"
            )
        return low, high

    def _read(self, text: str, place: str, difference: bool) -> float:
        found = _QUANTITY.fullmatch(text.strip())
        if found is None:
            return parse_number(text, place)
        number, unit = float(found[1]), found[2].strip().removeprefix("[").removesuffix("]").strip()
        if self.unit is None:
            raise ConfigError(
                f"{place}: found {text.strip()!r}, expected a number",
                f'if {unit!r} is a unit, say which one the column has: [units] {quoted(self.name)} = "UNIT"',
            )
        return converted(number, unit, self.unit, place, difference)


def ends_as_written(text: str, place: str) -> tuple[float, float] | tuple[str, str]:
    """Return the ends of ``LOW..HIGH``: plain numbers, or texts where they have a unit, which is that of both."""
    below, dots, above = (part.strip() for part in text.partition(".."))
    shared = _QUANTITY.fullmatch(above)
    if RANGE.fullmatch(text.strip()) or not dots or shared is None:
        return parse_range(text, place)
    below = f"{below} {shared[2]}" if re.fullmatch(NUMBER, below) else below
    return (below, above) if _QUANTITY.fullmatch(below) else parse_range(text, place)


def number_as_written(text: str, place: str) -> float | str:
    """Return a plain number, or the text where it has a unit."""
    return text.strip() if _QUANTITY.fullmatch(text.strip()) else parse_number(text, place)


def contradiction(name: str, unit: str) -> str | None:
    """Return the unit behind a column's name, where that is another one than the column is said to be in."""
    split = in_brackets(name)
    if split is None or split[1] == unit:
        return None
    try:
        alike = [converted(number, split[1], unit, name) for number in (0.0, 1.0)] == [0.0, 1.0]
    except ConfigError:
        alike = False
    return None if alike else split[1]


def is_quantity(text: str) -> bool:
    """Whether a text is a number with a unit."""
    return _QUANTITY.fullmatch(text.strip()) is not None


def with_unit(name: str, units: Mapping[str, str]) -> str:
    """Return a heading for a column: its name, and its unit where that does not stand in it."""
    unit, split = units.get(name, ""), in_brackets(name)
    return name if unit in UNITLESS or (split is not None and split[1] == unit) else f"{name} [{unit}]"


def behind(name: str, units: Mapping[str, str]) -> str:
    """Return what stands behind a number of a column: a blank and its unit, or nothing."""
    return "" if units.get(name, "") in UNITLESS else f" {units[name]}"


PLAIN_NUMBERS = Numbers()
"""Numbers without a unit."""


@dataclass(frozen=True)
class Units:
    """The units of columns, as they are written; `short` are names without the unit behind them, by what they leave.

    `labels` are columns that can't have a unit.
    """

    of: Mapping[str, str] = field(default_factory=dict)
    short: Mapping[str, str] = field(default_factory=dict)
    labels: frozenset[str] = frozenset()

    @classmethod
    def build(
        cls,
        numeric: Sequence[str],
        others: Sequence[str] = (),
        found: Mapping[str, str] | None = None,
        said: Mapping[str, str] | None = None,
    ) -> Units:
        """Put together what stands in brackets in the names, what was `found` in the table and what the user `said`.

        `numeric` are the columns that may have a unit, `others` those that can't.
        """
        columns = [*numeric, *others]
        split = {name: parts for name in columns if (parts := in_brackets(name)) is not None}
        counts = Counter(parts[0] for parts in split.values())
        short = {parts[0]: name for name, parts in split.items() if counts[parts[0]] == 1 and parts[0] not in columns}
        units = {name: parts[1] for name, parts in split.items() if name in numeric}
        units |= {name: unit for name, unit in (found or {}).items() if name in numeric and unit}
        for key, unit in (said or {}).items():
            name, place = short.get(key, key), f"[units] {key}"
            if name not in numeric:
                wrong = "has labels, which have no unit" if name in others else "is not there"
                hint = None if name in others else near_or_all(key, numeric)
                raise ConfigError(f"{place}: the column {key!r} {wrong}", hint)
            if not isinstance(unit, str):
                raise ConfigError(f"{place}: found {unit!r}, expected a unit as text", 'for example "degC", or "%"')
            known(unit, place)
            units[name] = unit
        return cls({name: units[name] for name in numeric if name in units}, short, frozenset(others))

    @classmethod
    def of_columns(
        cls,
        variables: Sequence[Variable],
        outputs: Sequence[str],
        found: Mapping[str, str] | None = None,
        said: Mapping[str, str] | None = None,
    ) -> Units:
        """Return the units of design variables and outputs; labels have none."""
        labelled = [v.name for v in variables if v.kind == "categorical" or (v.kind == "binary" and v.levels != (0, 1))]
        numeric = [v.name for v in variables if v.name not in labelled]
        return cls.build([*numeric, *outputs], labelled, found, said)

    def __bool__(self) -> bool:
        """Whether any column has a unit, or a name without it."""
        return bool(self.of or self.short)

    def name(self, given: str) -> str:
        """Return the column of a name that may leave out the unit behind it."""
        return self.short.get(given, given)

    def numbers(self, name: str) -> Numbers:
        """Return how numbers of a column are read."""
        return Numbers(name, self.of.get(name))

    def named(self, mapping: Mapping[str, Any]) -> dict[str, Any]:
        """Return a mapping by column, whose keys may leave out the unit behind a name."""
        return {self.name(key): value for key, value in mapping.items()}


NO_UNITS = Units()
"""Columns of which nothing is known."""


def quoted(name: str) -> str:
    """Write a name as a key of an experiment file."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'


def converted(number: float, unit: str, into: str, place: str, difference: bool = False) -> float:
    """Return a number, or a difference, in another unit.

    Raises
    ------
    ConfigError
        If a unit is unknown, or they are units of different things.
    """
    here, there = known(unit, place), known(into, place)
    if here == there:
        return number
    registry = _registry()
    if _kind(here) != _kind(there):
        raise ConfigError(
            f"{place}: found {typed(number)} {unit} ({_words(here)}), expected {_a(into)} ({_words(there)})",
            f"give a unit of the same kind, or a plain number{'' if into in UNITLESS else f', which is in {into}'}",
        )
    q = registry.Quantity
    if difference:
        here, there = ((q(1.0, side) - q(0.0, side)).units for side in (here, there))
    value, zero = (float(q(x, here).to(there).magnitude) for x in (number, 0.0))
    # A conversion with an offset leaves 76.85000000000002 of 350 K.
    short = float(f"{value:.12g}")
    return short if abs(short - value) <= 8 * np.finfo(float).eps * max(abs(value), abs(zero)) else value


def has_offset(unit: str, place: str) -> bool:
    """Whether zero of a unit is not nothing, as that of °C."""
    return not _registry().Quantity(1.0, known(unit, place))._is_multiplicative


def known(unit: str, place: str) -> Any:
    """Return pint's unit of a text; refuse one that it doesn't know, with those most like it."""
    try:
        return _parsed(unit)
    except ValueError:
        alike = [name for name in _names() if name.lower() == unit.lower()]
        hint = f"did you mean {' or '.join(map(repr, alike))}?" if alike else near_match(unit, _names())
        raise ConfigError(
            f"{place}: found the unit {unit!r}, expected one that is known, such as degC, L/min, kg/m^3 or %", hint
        ) from None


@cache
def _parsed(unit: str) -> Any:
    """Return pint's unit of a text, or raise ValueError."""
    registry, text = _registry(), unit.strip()
    if text in UNITLESS:
        return registry.parse_units("dimensionless")
    text = re.sub(r"[A-Za-z.]+[-. ]*%", lambda m: _SAME.get(m[0], m[0]), text)
    words = re.split(r"([A-Za-zµμΩÅ°]+)", text)
    text = "".join(_SAME.get(word, word) for word in words)
    text = text.replace("·", "*").replace("⋅", "*").replace("−", "-").replace("μ", "µ")
    text = re.sub(r"(?<=[A-Za-zµΩÅ])(-?\d)", r"**\1", text)  # m3, s-1
    try:
        return registry.parse_units(text)
    except Exception as error:  # pint has many, and passes on those of Python's tokenizer
        raise ValueError(str(error)) from None


@cache
def _registry() -> Any:
    """Load pint, at the first unit that is to be converted or checked."""
    import pint

    registry: Any = pint.UnitRegistry()
    for line in _OURS:
        registry.define(line)
    return registry


def _names() -> list[str]:
    return [*_USUAL, *(str(name) for name in _registry() if not str(name).startswith("delta_"))]


def _kind(unit: Any) -> Any:
    """Return what can be converted into each other: base units, since an angle is no share, and rpm are no Hz."""
    registry = _registry()
    if not registry.Quantity(1.0, unit)._is_multiplicative and "[temperature]" not in str(unit.dimensionality):
        return unit  # decibels and other logarithms
    return registry.get_root_units(unit)[1]


def _words(unit: Any) -> str:
    """Say what a unit measures."""
    return str(unit.dimensionality).replace("[", "").replace("]", "").replace(" ** ", "^").replace(
        "dimensionless", "a plain number"
    )  # fmt: skip


def _a(unit: str) -> str:
    return "a plain number" if unit in UNITLESS else f"a number in {unit}"


def headings(columns: Iterable[str], units: Mapping[str, str]) -> dict[str, str]:
    """Return the units of columns ``PART.NAME`` of a table, where they are in that of the name."""
    alike = ("design", "guess", "prediction", "derived", "spread", "truth", "difference", "measured", "miss", "error")
    found = {}
    for column in columns:
        part, _, name = column.removeprefix("nearest.").partition(".")
        ends = part.removesuffix("_joint").removesuffix("_new") in ("low", "high", "from", "to", "over_conditions")
        if name in units and (part in alike or ends):
            found[column] = units[name]
    return found
