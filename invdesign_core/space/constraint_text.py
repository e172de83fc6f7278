"""Constraints as the user writes them, turned into rows over encoded designs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from operator import add, mul, sub, truediv
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from invdesign_core.errors import ConfigError
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.constraint_grammar import Refusal, only_reading
from invdesign_core.space.digits import span
from invdesign_core.space.expressions import Formulas, Limit, columns_of, number_of
from invdesign_core.space.rules import AtMost, Constraints, Linear, Value
from invdesign_core.space.variables import Variable

if TYPE_CHECKING:
    from lark import Token, Tree

Row = tuple[FloatArray, bool, tuple[Value, Value]]
"""A form that must be at most 0, or (if set) exactly 0, and the two sides that it is the difference of."""
_MAGNITUDES = 6
"""How many absolute values one constraint may hold; each doubles its rows."""
_OPERATIONS: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "PLUS": add, "MINUS": sub, "TIMES": mul, "OVER": truediv,
}  # fmt: skip


class NotLinear(Refusal):
    """What stands in a constraint and makes it none that is linear."""


class Space(Protocol):
    """The design variables that constraints are about: the `Space` that stands above this module."""

    @property
    def variables(self) -> tuple[Variable, ...]:
        """In order."""


@dataclass(frozen=True)
class _Side:
    """A side of a comparison, or a part of it: ``form @ (x, 1)`` plus each weight · ``|inner @ (x, 1)|``, all (e + 1,).

    `value` computes it from (n, e) designs in double precision, step by step as it is written; `names` occur in it.
    """

    form: FloatArray
    value: Value
    names: tuple[Token, ...] = ()
    magnitudes: tuple[tuple[float, FloatArray], ...] = ()

    def times(self, factor: float) -> _Side:
        magnitudes = tuple((factor * weight, inner) for weight, inner in self.magnitudes)
        return replace(self, form=factor * self.form, magnitudes=magnitudes)

    def plus(self, other: _Side, sign: float = 1.0) -> _Side:
        other = other.times(sign)
        return _Side(self.form + other.form, self.value, self.names + other.names, self.magnitudes + other.magnitudes)


def parse_constraints(
    texts: Sequence[str], space: Space, outputs: Sequence[str], place: str = "constraints"
) -> Constraints:
    """Read equations, inequalities and limits on how many variables are above zero, or refuse by name.

    What isn't linear, and can't be written so with the same meaning, becomes one of the `limits`.

    Each text is one constraint, such as ``a + b = 1``, ``0.2 <= a <= 2*b``, ``|a - b| <= 0.3`` or
    ``at most 2 of a, b, c above zero``. A name may hold anything; in double quotes it is taken whole. Constraints can't
    hold the `outputs`. `place` says where the texts were written.
    """
    columns = columns_of(space)
    reader = _Reader(columns, outputs, sum(v.width for v in space.variables))
    rows: list[Row] = []
    origin: list[int] = []
    at_most: list[AtMost] = []
    limits: list[Limit] = []
    for number, text in enumerate(texts):
        try:
            tree = only_reading(text, (*columns, *outputs))
            if tree.data == "at_most":
                at_most.append(reader.limit(tree, text))
                continue
            with np.errstate(all="ignore"):
                found = reader.rows(tree)
            if found is None:
                limits += reader.limits(tree, text)
            else:
                rows += found
                origin += [number] * len(found)
        except Refusal as refusal:
            where = f"character {refusal.at + 1} of {text!r}"
            raise ConfigError(f"{place}: {where}: {refusal.message}", refusal.hint) from None
    # Adding 0 turns a negative zero into a plain one.
    forms = np.array([form for form, _, _ in rows]).reshape(len(rows), reader.width + 1) + 0.0
    upper = 0.0 - forms[:, -1]
    lower = np.where([equal for _, equal, _ in rows], upper, -np.inf)
    written = tuple(row[2] for row in rows)
    linear = Linear(forms[:, :-1], lower, upper)
    return Constraints(linear, tuple(at_most), tuple(texts), tuple(origin), written, tuple(limits))


@dataclass(frozen=True)
class _Reader:
    """Turns what the grammar has found into rows and limits."""

    columns: Mapping[str, tuple[Variable, int]]
    outputs: Sequence[str]
    width: int

    def column(self, name: Token) -> tuple[Variable, int]:
        """Return a variable that may be calculated with, and its encoded column."""
        if name in self.outputs:
            hint = f"a limit on an output is a target, such as --target '{name}<=LIMIT'"
            raise Refusal(f"{str(name)!r} is an output; constraints are on design variables", name.start_pos, hint)
        variable, column = self.columns[name]
        number_of(variable, name)
        return variable, column

    def limit(self, tree: Tree[Token], text: str) -> AtMost:
        """Return a limit on how many variables are above zero."""
        words: list[Any] = tree.children
        if not words[1].isdigit():
            raise Refusal(f"found {str(words[1])!r}, expected a whole number", words[1].start_pos)
        columns: list[int] = []
        for name in words[3:-1:2]:
            variable, column = self.column(name)
            low, high = (float(side[0]) for side in variable.bounds())
            if low != 0:
                found, wanted, mend = ("may be below", "a lower bound of 0", "raise")
                if low > 0:
                    found, wanted, mend = ("is always above", "a range that holds 0", "lower")
                wrong = f"{str(name)!r} {found} zero ({span(low, high)}), expected {wanted}"
                raise Refusal(wrong, name.start_pos, f"{mend} its lower bound to 0, or leave it out of the list")
            if column in columns:
                raise Refusal(f"{str(name)!r} is listed twice", name.start_pos)
            columns.append(column)
        return AtMost(int(words[1]), tuple(columns), text)

    def rows(self, tree: Tree[Token]) -> list[Row] | None:
        """Return a comparison as forms that are at most 0, or exactly 0; None where it isn't linear."""
        parts: list[Any] = tree.children
        signs = parts[1::2]
        strict = [sign for sign in signs if sign.type in ("LT", "GT")]
        operator = (strict or signs)[0]
        if strict:
            hint = f"write {operator}=; in numbers with a decimal point the two can't be told apart"
            raise Refusal(f"found '{operator}', expected '{operator}='", operator.start_pos, hint)
        logarithmic = False
        for name in tree.scan_values(lambda word: getattr(word, "type", "") == "NAME"):
            logarithmic |= self.column(name)[0].scale == "log"  # what a name is comes before what is done with it
        if logarithmic:
            return None
        try:
            return self._compared([self.side(part) for part in parts[::2]], operator)
        except NotLinear:
            pass
        try:
            return self._without_denominators(parts[::2], operator)
        except NotLinear:
            return None

    def limits(self, tree: Tree[Token], text: str) -> list[Limit]:
        """Return a comparison that isn't linear as limits on formulas."""
        parts: list[Any] = tree.children
        sides, signs = parts[::2], parts[1::2]
        if signs[0].type == "EQ":
            hint = "give it limits on both sides, such as 1.99 <= a*b <= 2.01, or set all but one of its variables"
            raise Refusal("found an equation that is not linear, expected <= or >=", signs[0].start_pos, hint)
        ends = [0, *(end for sign in signs for end in (sign.start_pos, sign.end_pos)), len(text)]
        texts = [text[a:b].strip() for a, b in zip(ends[::2], ends[1::2], strict=True)]
        formulas = Formulas(self.columns, self.outputs, {})
        numbers = [formulas.constant(side) for side in sides]
        for side, number in zip(sides, numbers, strict=True):
            if number is not None and not np.isfinite(number):
                raise Refusal("found a number that is too large, or that doesn't exist", _begin(side))
        if signs[0].type == "GE":
            sides, texts, numbers = sides[::-1], texts[::-1], numbers[::-1]
        if len(sides) == 3 and numbers[0] is not None and numbers[1] is None and numbers[2] is not None:
            return [Limit(formulas.expression(texts[1], sides[1]), numbers[0], numbers[2], text)]
        found = []
        for small, large in pairwise(range(len(sides))):
            low, high = numbers[small], numbers[large]
            if high is not None:
                found.append(Limit(formulas.expression(texts[small], sides[small]), upper=high, text=text))
            elif low is not None:
                found.append(Limit(formulas.expression(texts[large], sides[large]), lower=low, text=text))
            else:
                both = f"{texts[small]} - ({texts[large]})"
                found.append(Limit(formulas.expression(both, sides[small], sides[large]), upper=0.0, text=text))
        return found

    def _without_denominators(self, parts: Sequence[Tree[Token]], operator: Token) -> list[Row]:
        """Return the forms of a comparison of fractions, multiplied by a denominator of one sign inside the bounds.

        Each side is a linear form over a linear form. What is written is what rows are held to, up to the last digit.
        """
        rows: list[Row] = []
        for left, right in pairwise(parts):
            (a, below), (b, under) = self._fraction(left), self._fraction(right)
            if below.names and under.names and not np.array_equal(below.form, under.form):
                raise NotLinear("found two denominators", operator.start_pos)
            by = below if below.names else under
            a = a if below.names else _product(a, by, operator.start_pos)
            b = b if under.names else _product(b, by, operator.start_pos)
            low, high = self._span(by)
            if not (low > 0 or high < 0):
                raise NotLinear("found a denominator that may be zero", operator.start_pos)
            sign = 1.0 if low > 0 else -1.0
            sides = [replace(side.times(sign), value=self._value(part)) for side, part in ((a, left), (b, right))]
            rows += self._compared(sides, operator)
        return rows

    def _value(self, tree: Tree[Token]) -> Value:
        """Return what computes a side as it is written."""
        formulas = Formulas(self.columns, self.outputs, {})
        number = formulas.constant(tree)
        return formulas.expression("", tree).value if number is None else lambda x: np.asarray(number)

    def _span(self, side: _Side) -> tuple[float, float]:
        """Return between which numbers a linear form lies inside the bounds."""
        low, high = (np.concatenate(ends) for ends in zip(*(v.bounds() for v, _ in self.columns.values()), strict=True))
        form = side.form[:-1]
        with np.errstate(invalid="ignore"):
            ends = np.where(form == 0, 0.0, form * low), np.where(form == 0, 0.0, form * high)
        least, most = (float(pick(*ends).sum() + side.form[-1]) for pick in (np.minimum, np.maximum))
        return least, most

    def _fraction(self, tree: Tree[Token]) -> tuple[_Side, _Side]:
        """Return a part as a linear form over a linear form, or say that it is none."""
        parts: list[Any] = tree.children
        one = _Side(np.append(np.zeros(self.width), 1.0), lambda x: np.asarray(1.0))
        match tree.data:
            case "inner":
                return self._fraction(parts[1])
            case "negative":
                above, below = self._fraction(parts[1])
                return above.times(-1.0), below
            case "sum" | "product":
                found = self._fraction(parts[0])
                for sign, part in zip(parts[1::2], parts[2::2], strict=True):
                    found = _fractions(found, sign, self._fraction(part))
                return found
        return self.side(tree), one

    def _compared(self, sides: Sequence[_Side], operator: Token) -> list[Row]:
        """Return the forms of linear sides that stand beside each other."""
        at, equal = operator.start_pos, operator.type == "EQ"
        rows: list[Row] = []
        for left, right in pairwise(sides):
            small, large = (right, left) if operator.type == "GE" else (left, right)
            if not (left.names or right.names):
                raise Refusal("it holds no design variable", at)
            whole = small.plus(large, -1.0)
            if whole.magnitudes and (equal or min(weight for weight, _ in whole.magnitudes) < 0):
                wrong = "found an absolute value that is equal to, or at least, something; that set of designs is "
                hint = "keep the absolute value on the smaller side, as in |a - b| <= 0.3, or search each side of it"
                raise Refusal(wrong + "non-convex", at, f"{hint} (a - b >= 0.3, then b - a >= 0.3) for itself")
            rows += [(form, equal, (small.value, large.value)) for form in _halves(whole, at)]
        if rows and not equal:
            # Two opposite rows, as those of ``0.8 <= a <= 0.2``, whose constants leave no room between them.
            forms = np.array([form for form, _, _ in rows])
            opposite = (forms[:, None, :-1] == -forms[:, :-1]).all(axis=2)
            if (opposite & (forms[:, None, -1] + forms[:, -1] > 0)).any():
                raise Refusal("its two limits contradict each other, so it never holds", at)
        return rows

    def side(self, tree: Tree[Token]) -> _Side:
        """Return a side of a comparison, or a part of it; refuse one that is not linear."""
        parts: list[Any] = tree.children
        form = np.zeros(self.width + 1)
        match tree.data:
            case "number":
                number = form[-1] = float(parts[0])
                return _Side(form, lambda x: np.asarray(number))
            case "quantity":
                wrong = f"found {str(parts[0])!r}, a number with a unit, and the unit of no column is known"
                raise Refusal(wrong, parts[0].start_pos, "say them, in the section [units], or write a plain number")
            case "name":
                column = self.column(parts[0])[1]
                form[column] = 1.0
                return _Side(form, lambda x: x[:, column], (parts[0],))
            case "inner":
                return self.side(parts[1])
            case "negative":
                inner = self.side(parts[1])
                return replace(inner.times(-1.0), value=lambda x: -inner.value(x))
            case "power" | "call":
                constant = Formulas(self.columns, self.outputs, {}).constant(tree)
                if constant is None:
                    raise NotLinear("found a power or a function", None)
                if not np.isfinite(constant):
                    raise Refusal("found a number that is too large, or that doesn't exist", _begin(tree))
                form[-1] = constant
                return _Side(form, lambda x: np.asarray(constant))
            case "magnitude":
                return _magnitude(self.side(parts[1]), parts[0].start_pos)
        first, *others = (self.side(part) for part in parts[::2])
        total, signs = first, parts[1::2]
        for sign, other in zip(signs, others, strict=True):
            total = _combined(total, sign, other)
        steps = [(_OPERATIONS[sign.type], other.value) for sign, other in zip(signs, others, strict=True)]

        def value(x: FloatArray) -> FloatArray:
            found = first.value(x)
            for operation, other in steps:
                found = operation(found, other(x))
            return found

        return replace(total, value=value)


def _combined(total: _Side, sign: Token, other: _Side) -> _Side:
    """Add, subtract, multiply or divide; one factor at most may hold variables, and it is not divided by."""
    if sign.type in ("PLUS", "MINUS"):
        return total.plus(other, 1.0 if sign.type == "PLUS" else -1.0)
    at = sign.start_pos
    if sign.type == "TIMES":
        return _product(total, other, at)
    if other.names:
        raise NotLinear(f"found a division by {_quoted(other.names)}", at)
    if other.form[-1] == 0:
        raise Refusal("found a division by zero", at)
    return total.times(1.0 / float(other.form[-1]))


def _product(total: _Side, other: _Side, at: int | None) -> _Side:
    """Multiply; one factor at most may hold variables."""
    if total.names and other.names:
        raise NotLinear(f"found the product of {_quoted((*total.names[:1], *other.names[:1]))}", at)
    return total.times(float(other.form[-1])) if total.names else other.times(float(total.form[-1]))


def _fractions(one: tuple[_Side, _Side], sign: Token, other: tuple[_Side, _Side]) -> tuple[_Side, _Side]:
    """Combine two linear forms over linear forms, where that gives one."""
    (a, below), (b, under), at = one, other, sign.start_pos
    if sign.type in ("PLUS", "MINUS"):
        if np.array_equal(below.form, under.form):
            return _combined(a, sign, b), below
        by = _product(below, under, at)  # one of them is a number
        return _combined(_product(a, under, at), sign, _product(b, below, at)), by
    if sign.type == "OVER":
        b, under = under, b
        if not (under.names or under.form[-1]):
            raise Refusal("found a division by zero", at)
    return _product(a, b, at), _product(below, under, at)


def _begin(tree: Tree[Token]) -> int:
    """Return the character at which a part begins."""
    return min(word.start_pos or 0 for word in tree.scan_values(lambda word: hasattr(word, "start_pos")))


def _magnitude(inner: _Side, at: int) -> _Side:
    if inner.magnitudes:
        raise NotLinear("found an absolute value inside another", at)
    absolute: Value = lambda x: np.abs(inner.value(x))  # noqa: E731
    if not inner.names:
        return _Side(np.abs(inner.form), absolute)
    return _Side(np.zeros_like(inner.form), absolute, inner.names, ((1.0, inner.form),))


def _halves(whole: _Side, at: int | None) -> list[FloatArray]:
    """Return the forms whose largest is the side, without those that say nothing."""
    if len(whole.magnitudes) > _MAGNITUDES:
        raise Refusal(f"found {len(whole.magnitudes)} absolute values, expected at most {_MAGNITUDES}", at)
    halves = []
    for signs in product((1.0, -1.0), repeat=len(whole.magnitudes)):
        half = whole.form
        for sign, (weight, inner) in zip(signs, whole.magnitudes, strict=True):
            half = half + sign * weight * inner
        if not np.isfinite(half).all():
            raise Refusal("found a number that is too large", at)
        if half[:-1].any():
            halves.append(half)
        elif not whole.magnitudes or half[-1] > 0:
            raise Refusal("all its variables cancel, so the constraint is empty", at)
    return halves


def _quoted(names: Sequence[Token]) -> str:
    return " and ".join(repr(name) for name in dict.fromkeys(map(str, names)))
