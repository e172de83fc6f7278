"""Constraints as the user writes them, turned into rows over encoded designs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise, product
from operator import add, mul, sub, truediv
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from invdesign_core.errors import ConfigError
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.constraint_grammar import Refusal, only_reading
from invdesign_core.space.digits import span
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
    """Read linear equations, inequalities and limits on how many variables are above zero, or refuse by name.

    Each text is one constraint, such as ``a + b = 1``, ``0.2 <= a <= 2*b``, ``|a - b| <= 0.3`` or
    ``at most 2 of a, b, c above zero``. A name may hold anything; in double quotes it is taken whole. Constraints can't
    hold the `outputs`. `place` says where the texts were written.
    """
    starts = accumulate((v.width for v in space.variables), initial=0)
    columns = {v.name: (v, start) for v, start in zip(space.variables, starts, strict=False)}
    reader = _Reader(columns, outputs, sum(v.width for v in space.variables))
    rows: list[Row] = []
    origin: list[int] = []
    limits: list[AtMost] = []
    for number, text in enumerate(texts):
        try:
            tree = only_reading(text, (*columns, *outputs))
            if tree.data == "at_most":
                limits.append(reader.limit(tree, text))
            else:
                with np.errstate(all="ignore"):
                    found = reader.rows(tree)
                rows += found
                origin += [number] * len(found)
        except Refusal as refusal:
            where = f"character {refusal.at + 1} of {text!r}"
            raise ConfigError(f"{place}: {where}: {refusal.message}", refusal.hint) from None
    # Adding 0 turns a negative zero into a plain one.
    forms = np.array([form for form, _, _ in rows]).reshape(len(rows), reader.width + 1) + 0.0
    upper = 0.0 - forms[:, -1]
    lower = np.where([equal for _, equal, _ in rows], upper, -np.inf)
    return Constraints(
        Linear(forms[:, :-1], lower, upper), tuple(limits), tuple(texts), tuple(origin), tuple(row[2] for row in rows)
    )


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
        wrong = hint = ""
        if variable.kind == "categorical":
            wrong, hint = "is categorical, expected a variable that is a number", "hold it at one level instead (fixed)"
        elif variable.kind == "binary" and tuple(variable.levels) != (0, 1):
            wrong = f"is {' and '.join(map(repr, variable.levels))}, expected a variable that is a number"
        elif variable.scale == "log":
            wrong = "has a logarithmic scale, on which this constraint is not linear"
            hint = "give it a linear scale, or leave it out of constraints"
        if wrong:
            raise Refusal(f"{str(name)!r} {wrong}", name.start_pos, hint or None)
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

    def rows(self, tree: Tree[Token]) -> list[Row]:
        """Return a comparison as forms that are at most 0, or exactly 0."""
        parts: list[Any] = tree.children
        signs = parts[1::2]
        strict = [sign for sign in signs if sign.type in ("LT", "GT")]
        operator = (strict or signs)[0]
        at, equal = operator.start_pos, operator.type == "EQ"
        if strict:
            hint = f"write {operator}=; in numbers with a decimal point the two can't be told apart"
            raise Refusal(f"found '{operator}', expected '{operator}='", at, hint)
        for name in tree.scan_values(lambda word: getattr(word, "type", "") == "NAME"):
            self.column(name)  # what a name is comes before what is done with it
        sides = [self.side(part) for part in parts[::2]]
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
            case "power":
                names, hint = self.side(parts[0]).names, "write numbers out, such as 100"
                of = f" of {_quoted(names[:1])}" if names else ""
                raise Refusal(f"found a power{of}, expected a linear constraint", parts[1].start_pos, hint)
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
        if total.names and other.names:
            wrong = (
                f"found the product of {_quoted((*total.names[:1], *other.names[:1]))}, expected a linear constraint"
            )
            hint = "only numbers may be multiplied with a variable; add the product to the table as an output, "
            raise Refusal(wrong, at, hint + "and put a limit on that")
        return total.times(float(other.form[-1])) if total.names else other.times(float(total.form[-1]))
    if other.names:
        hint = "multiply both sides by it if it is never negative, so that it stands alone: a <= 2*b"
        raise Refusal(f"found a division by {_quoted(other.names)}, expected a linear constraint", at, hint)
    if other.form[-1] == 0:
        raise Refusal("found a division by zero", at)
    return total.times(1.0 / float(other.form[-1]))


def _magnitude(inner: _Side, at: int) -> _Side:
    if inner.magnitudes:
        raise Refusal("found an absolute value inside another, expected a linear expression between the bars", at)
    absolute: Value = lambda x: np.abs(inner.value(x))  # noqa: E731
    if not inner.names:
        return _Side(np.abs(inner.form), absolute)
    return _Side(np.zeros_like(inner.form), absolute, inner.names, ((1.0, inner.form),))


def _halves(whole: _Side, at: int) -> list[FloatArray]:
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
