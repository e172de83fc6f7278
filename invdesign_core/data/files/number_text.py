"""Which texts are numbers, in which way of writing, and which stand for no value."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Mask = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

MISSING = ("na", "n/a", "#n/a", "#na", "<na>", "nan", "-nan", "nat", "null", "none", "1.#qnan", "-1.#ind")
"""Texts, in any case, that stand for no value in a column of numbers."""
TRUE, FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")

SIGN = "[+-]?"
POWER = r"(?:[eE][+-]?\d+)?"
WHOLE = rf"^{SIGN}\d+$"
PADDED = rf"^{SIGN}0\d"
INFINITE = rf"(?i)^{SIGN}inf(?:inity)?$"
GROUPS = {",": ",", ".": r"\.", "'": "['’]", " ": "[ \u00a0\u202f]", "_": "_"}
"""What groups digits, by the option's value; typeset tables use other apostrophes and spaces."""


def number(decimal: str, thousands: str | None = None) -> str:
    """Return the pattern of a number with `decimal` before its decimals, and `thousands` or nothing between groups."""
    point = re.escape(decimal)
    whole = r"\d+" if thousands is None else rf"(?:\d+|\d{{1,3}}(?:{GROUPS[thousands]}\d{{3}})+)"
    return rf"^{SIGN}(?:{whole}{point}?\d*|{point}\d+){POWER}$"


POINT, COMMA = number("."), number(",")
GROUP = {mark: rf"^{SIGN}[1-9]\d{{0,2}}{GROUPS[mark]}\d{{3}}$" for mark in ",."}
"""One group of thousands, which is a number with three decimals as well."""
MANY_GROUPS = {
    mark: rf"^{SIGN}\d{{1,3}}(?:(?:{GROUPS[mark]}\d{{3}}){{2,}}|(?:{GROUPS[mark]}\d{{3}})+{GROUPS[other]}\d+)$"
    for mark, other in ((",", "."), (".", ","))
}
"""Several groups, or groups and decimals: the other mark is that before decimals."""
WAYS = [number(d, t) for d, t in (",.", ".,", ". ", ", ", ".'", "._")] + [POINT, COMMA]
ANY = "|".join(WAYS)
"""A number in any way of writing."""
DIGITS = "(?:" + "|".join(way.removeprefix("^").removesuffix("$") for way in WAYS) + ")"
HARD = "\u00a0\u202f"
"""Blanks at which no line may break."""
BLANK = rf"[\s{HARD}]"
POWER_OF_UNIT = r"(?:\^?[-−]?\d)?"
SUFFIX = (
    rf"(?:[^\d\s{HARD},.;:+\-−<>=_#*|~±×()\[][^\d;,:=±]{{0,23}}{POWER_OF_UNIT}"
    rf"(?:[ ·*/][^\d\s;,:=±]{{1,8}}{POWER_OF_UNIT}){{0,3}}|[(\[][^\d;,:=±]{{1,20}}{POWER_OF_UNIT}[)\]])"
)
BEHIND = rf"^(?P<before>[$€£¥]?){BLANK}*(?P<digits>{DIGITS})(?P<blank>{BLANK}*)(?P<unit>{SUFFIX}?)$"
"""A number that may have a currency before it or something behind it: `25%`, `3 mm`, `2.5 kN/m2`, `$ 3.50`."""
CODE = r"^\d+[A-Za-z]$"
"""What is a code as well as a number with a unit: `10K`, `304L`."""
FORTRAN = rf"^{SIGN}(?:(?:\d+[.,]\d*|[.,]\d+)[dD][+-]?\d+|\d+[dD][+-]\d+)$"
LOST = rf"^{SIGN}\d*[.,]\d+[+-]\d{{3}}$"
"""Fortran's exponents: `1.2D-03`, and `1.2-103`, where three digits leave no room for the letter."""
POWERED = r"\d[eEdD][+-]?\d+$"
BELOW = rf"^[<≤]\s*(?P<rest>{DIGITS}(?:\s*{SUFFIX})?)$"
"""A value below a limit: `<0.01`."""
LIMIT_WORD = (
    r"(?i)^(?:[<>≤≥]\s*[a-z]{2,4}|n\.? ?[dqbw]\.?|b\.? ?[dq]\.? ?l\.?|b\.? ?l\.? ?[dq]\.?|bd|u\.?d\.?|lod|loq|"
    r"not (?:detected|determined|measured|available)|below .*|traces?|tr\.?|\*{2,}|overflow|error|failed|k\.? ?a\.?)$"
)
"""Words that stand for a value that was not measured: `n.d.`, `<LOD`, `b.d.l.`, and the stars of Fortran."""
PAIR = rf"^{DIGITS}\s*(?:(?:±|\+/?-|\+−|–|-|to|\.\.+|…|/)\s*{DIGITS}\s*{SUFFIX}?|\(\d+\))$"
"""Two numbers: a value and its error, a range, a fraction."""
COMPLEX = rf"^\(?{DIGITS}?[+-]{DIGITS}?[ijIJ]\)?$|^\(?{DIGITS}[ijIJ]\)?$"
_PLAIN = rf"{SIGN}(?:\d+\.\d*{POWER}|\d+[eE][+-]?\d+)"
REAL_AND_IMAGINARY = rf"^\(?{_PLAIN}(?:dB)?,\s?{_PLAIN}°?\)?$"
"""A complex number as LTspice exports it: `9.9e-01,-1.2e-03`, or `(-0.5dB,-1.2°)`."""
ABOUT = rf"^(?:[~≈>≥<≤=±]|ca\.?|>=|<=)\s*{DIGITS}\s*{SUFFIX}?$"
DATE = (
    r"(?i)^\d{1,4}(?:-\d{1,2}-\d{1,4}|/\d{1,2}/\d{1,4}|\.\d{1,2}\.\d{1,4})|^\d{1,2}:\d\d|"
    r"^\d{1,2}[.-]?\s*(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mai|okt|dez)[a-zä]*\b"
)


def all_numbers(texts: Iterable[str]) -> bool:
    """Return whether all texts are numbers in some way of writing, or stand for no value."""
    return all(re.match(ANY, text) or text.lower() in MISSING for text in texts)


def matches(column: pa.Array, pattern: str) -> Mask:
    """Return (n,) whether a pattern is found in each text."""
    import pyarrow.compute as pc

    return _mask(pc.match_substring_regex(column, pattern))


def among(column: pa.Array, texts: Sequence[str]) -> Mask:
    """Return (n,) whether each text is one of some texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return _mask(pc.is_in(column, value_set=pa.array(list(texts), pa.large_string())))


def _mask(values: Any) -> Mask:
    return np.asarray(values.fill_null(False).to_numpy(zero_copy_only=False), dtype=np.bool_)


@dataclass(frozen=True)
class Texts:
    """A column of (n,) texts, null where there is none, and what they look like, each question answered once."""

    name: str
    column: pa.Array
    missing: Sequence[str] = ()
    """Texts that stand for no value, besides the usual ones."""
    factors: FloatArray | None = None
    """(n,) what the numbers have to be multiplied by, as where half of a limit stands for values below it."""

    @cached_property
    def plain(self) -> pa.Array:
        """(n,) texts with the sign that a typesetter takes for minus written as everybody else does."""
        import pyarrow.compute as pc

        return pc.replace_substring(self.column, "−", "-") if matches(self.column, "−").any() else self.column

    @cached_property
    def distinct(self) -> Any:
        """(n,) texts as numbers of the different ones, of which there are few in a column of labels."""
        return self.plain.dictionary_encode()

    def match(self, pattern: str) -> Mask:
        """Return (n,) whether a pattern is found in each text."""
        found = np.append(matches(self.distinct.dictionary, pattern), False)
        return np.asarray(found[np.asarray(self.distinct.indices.fill_null(len(found) - 1))], dtype=np.bool_)

    def extract(self, pattern: str) -> Any:
        """Return the (n,) named groups of a pattern, null where it is not found."""
        import pyarrow.compute as pc

        return pc.extract_regex(self.distinct.dictionary, pattern).take(self.distinct.indices)

    @cached_property
    def present(self) -> Mask:
        """(n,) whether there is a text, which may stand for no value."""
        return np.asarray(self.column.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)

    @cached_property
    def words(self) -> Mask:
        """(n,) whether a text stands for no value where numbers are expected."""
        import pyarrow.compute as pc

        usual = among(pc.utf8_lower(self.column), MISSING)
        return usual | among(self.column, self.missing) if self.missing else usual

    @cached_property
    def whole(self) -> bool:
        """Whether all texts are whole numbers."""
        return self._all(WHOLE)

    @cached_property
    def pointed(self) -> bool:
        """Whether all texts are numbers with a decimal point, or whole."""
        return self.whole or self._all(POINT)

    @cached_property
    def values(self) -> int:
        """How many texts stand for a value."""
        return int((self.present & ~self.words).sum())

    @cached_property
    def numeric(self) -> Mask:
        """(n,) whether a text is a number in any way of writing."""
        return self.present & ~self.words if self.pointed else self.match(ANY) & ~self.words

    @property
    def mostly_numbers(self) -> bool:
        """Whether more than half of the values are numbers in some way of writing."""
        return self.pointed or int(self.numeric.sum()) * 2 > self.values

    def counted_words(self) -> dict[str, int]:
        """Return the texts that stand for no value, and how often each occurs, the most frequent first."""
        import pyarrow as pa

        return dict(Counter(self.column.filter(pa.array(self.words)).to_pylist()).most_common())

    def text(self, row: int) -> str:
        """Return the text in a row."""
        return str(self.column[row].as_py())

    def _all(self, pattern: str) -> bool:
        """Return whether all texts match and none is one of `missing`; the first thousand often tell they don't."""
        if not matches(self.column.slice(0, 1000).drop_null(), pattern).all():
            return False
        if self.missing and self.words.any():
            return False
        return self.column.null_count < len(self.column) and bool((matches(self.column, pattern) == self.present).all())


def first(mask: Mask) -> int | None:
    """Return the first row of a mask, or None."""
    return int(np.argmax(mask)) if mask.any() else None
