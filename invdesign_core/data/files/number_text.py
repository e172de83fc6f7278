"""Which texts are numbers, in which way of writing, and which stand for no value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Mask = NDArray[np.bool_]

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
    """Return the pattern of a decimal number.

    Parameters
    ----------
    decimal : str
        What stands before the decimals.
    thousands : str, optional
        What groups the digits before them, three by three; a number without groups is one as well.
    """
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
ANY = "|".join([POINT, COMMA, *(number(d, t) for d, t in (",.", ".,", ". ", ", ", ".'", "._"))])
"""A number in any way of writing."""


def all_numbers(texts: Iterable[str]) -> bool:
    """Return whether all texts are numbers in some way of writing, or stand for no value."""
    return all(re.match(ANY, text) or text.lower() in MISSING for text in texts)


def matches(column: pa.Array, pattern: str) -> Mask:
    """Return (n,) whether a pattern is found in each text."""
    import pyarrow.compute as pc

    return _mask(pc.match_substring_regex(column, pattern))


def _mask(values: Any) -> Mask:
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False), dtype=np.bool_)


@dataclass(frozen=True)
class Texts:
    """A column of texts and what they look like, each question answered once.

    Attributes
    ----------
    name : str
        The column's name.
    column : pyarrow.Array
        (n,) texts, null where there is none.
    missing : sequence of str
        Texts that stand for no value, besides the usual ones.
    """

    name: str
    column: pa.Array
    missing: Sequence[str] = ()

    @cached_property
    def plain(self) -> pa.Array:
        """(n,) texts with the sign that a typesetter takes for minus written as everybody else does."""
        import pyarrow.compute as pc

        return pc.replace_substring(self.column, "−", "-") if self._has("−") else self.column

    @cached_property
    def present(self) -> Mask:
        """(n,) whether there is a text, which may stand for no value."""
        return np.asarray(self.column.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)

    @cached_property
    def words(self) -> Mask:
        """(n,) whether a text stands for no value where numbers are expected."""
        import pyarrow as pa
        import pyarrow.compute as pc

        usual = pc.is_in(pc.utf8_lower(self.column), value_set=pa.array(MISSING, pa.large_string()))
        if not self.missing:
            return _mask(usual)
        return _mask(usual) | _mask(pc.is_in(self.column, value_set=pa.array(list(self.missing), pa.large_string())))

    @cached_property
    def whole(self) -> bool:
        """Whether all texts are whole numbers."""
        return self._all(WHOLE) and not self._has_own_words

    @cached_property
    def pointed(self) -> bool:
        """Whether all texts are numbers with a decimal point, or whole."""
        return (self.whole or self._all(POINT)) and not self._has_own_words

    @cached_property
    def values(self) -> int:
        """How many texts stand for a value."""
        return int((self.present & ~self.words).sum())

    @cached_property
    def numeric(self) -> Mask:
        """(n,) whether a text is a number in any way of writing."""
        return self.present & ~self.words if self.pointed else matches(self.plain, ANY) & ~self.words

    @property
    def mostly_numbers(self) -> bool:
        """Whether more than half of the values are numbers in some way of writing."""
        return self.pointed or int(self.numeric.sum()) * 2 > self.values

    def first(self, mask: Mask) -> int | None:
        """Return the first row of a mask."""
        return int(np.argmax(mask)) if mask.any() else None

    def text(self, row: int) -> str:
        """Return the text in a row."""
        return str(self.column[row].as_py())

    @property
    def _has_own_words(self) -> bool:
        return bool(self.missing) and bool(self.words.any())

    def _has(self, part: str) -> bool:
        import pyarrow.compute as pc

        return bool(pc.any(pc.match_substring(self.column, part)).as_py())

    def _all(self, pattern: str) -> bool:
        """Return whether all texts match; the first thousand often tell that they don't."""
        head = self.column.slice(0, 1000).drop_null()
        if not matches(head, pattern).all():
            return False
        return self.column.null_count < len(self.column) and bool((matches(self.column, pattern) == self.present).all())
