"""The grammar of a constraint: from words to sides that are linear in the design variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.constraint_words import Refusal, Token

Columns = Mapping[str, FloatArray]
"""The (n,) values of each design variable."""

GRAMMAR = r"""
    start: sum (LE | GE | EQ | LT | GT) sum             -> comparison
         | sum (LE | LT) sum (LE | LT) sum              -> comparison
         | sum (GE | GT) sum (GE | GT) sum              -> comparison
         | AT_MOST NUMBER OF NAME (COMMA NAME)* ABOVE   -> at_most
    sum: product ((PLUS | MINUS) product)*
    product: factor ((TIMES | OVER) factor)*
    ?factor: MINUS factor          -> negative
           | PLUS factor           -> inner
           | atom
           | atom POWER factor     -> power
    ?atom: NUMBER                  -> number
         | NAME                    -> name
         | LEFT sum RIGHT          -> inner
         | BAR sum BAR             -> magnitude
    %declare NUMBER NAME LE GE EQ LT GT PLUS MINUS TIMES OVER POWER LEFT RIGHT BAR AT_MOST OF COMMA ABOVE
"""
"""Lark's notation; the terminals are found by `constraint_words.readings`, since names may hold anything."""

_EXPECTED = {
    "LE": "<=, >= or =",
    "RIGHT": ")",
    "BAR": "|",
    "NAME": "a name or a number",
    "ABOVE": "'above zero'",
    "$END": "the end",
}
"""Terminals in words, the most informative first."""


@dataclass(frozen=True)
class LinearForm:
    """``coefficients · variables + constant + Σ weight·|form|``; the coefficients in the order of the text."""

    coefficients: Mapping[str, float] = field(default_factory=dict)
    constant: float = 0.0
    magnitudes: tuple[tuple[float, LinearForm], ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether no variable occurs."""
        return not self.coefficients and not self.magnitudes

    def times(self, factor: float) -> LinearForm:
        """Return the form multiplied by a number."""
        return LinearForm(
            {name: factor * value for name, value in self.coefficients.items()},
            factor * self.constant,
            tuple((factor * weight, form) for weight, form in self.magnitudes),
        )

    def plus(self, other: LinearForm, sign: float = 1.0) -> LinearForm:
        """Return the sum of two forms, or with a sign of -1 their difference."""
        total, other = dict(self.coefficients), other.times(sign)
        for name, value in other.coefficients.items():
            total[name] = total.get(name, 0.0) + value
        return LinearForm(total, self.constant + other.constant, self.magnitudes + other.magnitudes)


@dataclass(frozen=True)
class Side:
    """One side of a comparison, or a part of it.

    `form` returns its linear form, or raises `Refusal`: a reading that is not linear is still a reading. `value`
    computes it in double precision, step by step as it is written. `names` are its tokens in the order of the text.
    """

    form: Callable[[], LinearForm]
    value: Callable[[Columns], FloatArray]
    names: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Two or three sides, all compared in one direction; `operator` is a strict one where any is."""

    sides: tuple[Side, ...]
    operator: str
    at: int


@dataclass(frozen=True)
class Limit:
    """At most `count` of some variables are above zero."""

    count: str
    names: tuple[Token, ...]
    at: int


def read(words: Sequence[Token], end: int) -> Comparison | Limit:
    """Return the statement that the words of a text of `end` characters make.

    Raises
    ------
    Refusal
        If they do not follow the grammar.
    """
    import lark

    try:
        statement: Comparison | Limit = _parser().parse(words)  # type: ignore[arg-type, assignment]
    except lark.UnexpectedToken as error:
        last = error.token.type == "$END"
        expected = next((text for kind, text in _EXPECTED.items() if kind in error.accepts | error.expected), "")
        found = "it ends" if last else f"found {str(error.token)!r}"
        raise Refusal(
            f"{found}{' where ' + expected + ' is expected' if last else ', expected ' + expected}",
            end if last else error.token.start_pos or 0,
        ) from None
    return statement


@cache
def _parser() -> Any:
    """Compile the grammar, at the first constraint only."""
    import lark
    from lark.lexer import Lexer

    class Given(Lexer):
        """Passes on the words as they were cut."""

        def __init__(self, conf: Any) -> None:
            pass

        def lex(self, words: Any) -> Iterator[lark.Token]:  # type: ignore[override]
            for word in words:
                yield lark.Token(word.kind, word.text, start_pos=word.at, end_pos=word.end)

    class Build(lark.Transformer):  # type: ignore[type-arg]
        """Turns each rule into a side."""

        def comparison(self, found: list[Any]) -> Comparison:
            operators = found[1::2]
            chosen = next((o for o in operators if o.type in ("LT", "GT")), operators[0])
            return Comparison(tuple(found[::2]), chosen.type, chosen.start_pos)

        def at_most(self, found: list[Any]) -> Limit:
            return Limit(str(found[1]), tuple(_token(t) for t in found if t.type == "NAME"), found[1].start_pos)

        def sum(self, found: list[Any]) -> Side:
            return found[0] if len(found) == 1 else _sum(found[::2], [str(t) == "+" for t in found[1::2]])

        def product(self, found: list[Any]) -> Side:
            return found[0] if len(found) == 1 else _product(found[::2], [_token(t) for t in found[1::2]])

        def negative(self, found: list[Any]) -> Side:
            of = found[1]
            return Side(lambda: of.form().times(-1.0), lambda c: -of.value(c), of.names)

        def inner(self, found: list[Any]) -> Side:
            return found[1]  # type: ignore[no-any-return]

        def power(self, found: list[Any]) -> Side:
            base, sign = found[0], found[1]

            def form() -> LinearForm:
                of = f" of {_quoted(base.names[:1])}" if base.names else ""
                hint = "write numbers out, such as 100"
                raise Refusal(f"found a power{of}, expected a linear constraint", sign.start_pos, hint)

            return Side(form, base.value, base.names)

        def number(self, found: list[Any]) -> Side:
            number = float(found[0])
            return Side(lambda: LinearForm(constant=number), lambda c: np.asarray(number))

        def name(self, found: list[Any]) -> Side:
            name = str(found[0])
            return Side(lambda: LinearForm({name: 1.0}), lambda c: c[name], (_token(found[0]),))

        def magnitude(self, found: list[Any]) -> Side:
            of, at = found[1], found[0].start_pos
            return Side(lambda: _magnitude(of.form(), at), lambda c: np.abs(of.value(c)), of.names)

    return lark.Lark(GRAMMAR, parser="lalr", lexer=Given, transformer=Build())


def _sum(terms: Sequence[Side], plus: Sequence[bool]) -> Side:
    """Add or subtract from left to right."""

    def form() -> LinearForm:
        total = terms[0].form()
        for term, adds in zip(terms[1:], plus, strict=True):
            total = total.plus(term.form(), 1.0 if adds else -1.0)
        return total

    def value(columns: Columns) -> FloatArray:
        total = terms[0].value(columns)
        for term, adds in zip(terms[1:], plus, strict=True):
            total = total + term.value(columns) if adds else total - term.value(columns)
        return total

    return Side(form, value, tuple(name for term in terms for name in term.names))


def _product(factors: Sequence[Side], signs: Sequence[Token]) -> Side:
    """Multiply or divide from left to right; one factor at most may hold variables."""

    def form() -> LinearForm:
        total, before = factors[0].form(), factors[0]
        for factor, sign in zip(factors[1:], signs, strict=True):
            other = factor.form()
            if sign.text == "/":
                if not other.is_number:
                    raise Refusal(
                        f"found a division by {_quoted(factor.names)}, expected a linear constraint",
                        sign.at,
                        "multiply both sides by it if it is never negative, so that it stands alone: a <= 2*b",
                    )
                if other.constant == 0:
                    raise Refusal("found a division by zero", sign.at)
                total = total.times(1.0 / other.constant)
            elif total.is_number:
                total = other.times(total.constant)
            elif other.is_number:
                total = total.times(other.constant)
            else:
                raise Refusal(
                    f"found the product of {_quoted((*before.names[:1], *factor.names[:1]))}, expected a linear "
                    "constraint",
                    sign.at,
                    "only numbers may be multiplied with a variable; add the product to the table as an output, "
                    "and put a limit on that",
                )
            before = before if before.names else factor
        return total

    def value(columns: Columns) -> FloatArray:
        total = factors[0].value(columns)
        for factor, sign in zip(factors[1:], signs, strict=True):
            total = total / factor.value(columns) if sign.text == "/" else total * factor.value(columns)
        return total

    return Side(form, value, tuple(name for factor in factors for name in factor.names))


def _magnitude(inner: LinearForm, at: int) -> LinearForm:
    if inner.magnitudes:
        raise Refusal("found an absolute value inside another, expected a linear expression between the bars", at)
    if inner.is_number:
        return LinearForm(constant=abs(inner.constant))
    return LinearForm(magnitudes=((1.0, inner),))


def _token(found: Any) -> Token:
    return Token(found.type, str(found), found.start_pos, found.end_pos)


def _quoted(names: Sequence[Token]) -> str:
    return " and ".join(repr(name) for name in dict.fromkeys(token.text for token in names)) or "numbers"
