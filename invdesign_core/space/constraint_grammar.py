"""The grammar of a constraint, and the tree of one reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from invdesign_core.space.constraint_expressions import (
    Expression,
    Magnitude,
    Name,
    Negative,
    Number,
    Power,
    Product,
    Refusal,
    Sum,
)

if TYPE_CHECKING:
    from invdesign_core.space.constraint_words import Word

GRAMMAR = r"""
    start: sum (LE | GE | EQ | LT | GT) sum             -> comparison
         | sum (LE | LT) sum (LE | LT) sum              -> comparison
         | sum (GE | GT) sum (GE | GT) sum              -> comparison
         | AT_MOST NUMBER OF NAME (COMMA NAME)* ABOVE   -> at_most
    sum: product ((PLUS | MINUS) product)*
    product: factor ((TIMES | OVER) factor)*
    ?factor: MINUS factor          -> negative
           | PLUS factor           -> positive
           | atom
           | atom POWER factor     -> power
    ?atom: NUMBER                  -> number
         | NAME                    -> name
         | LEFT sum RIGHT          -> group
         | BAR sum BAR             -> magnitude
    %declare NUMBER NAME LE GE EQ LT GT PLUS MINUS TIMES OVER POWER LEFT RIGHT BAR AT_MOST OF COMMA ABOVE
"""
"""Lark's notation; the terminals are found by `words.cuts`, since names may hold anything."""

_EXPECTED = {
    "LE": "<=, >= or =",
    "RIGHT": ")",
    "BAR": "|",
    "NAME": "a name or a number",
    "ABOVE": "'above zero'",
    "$END": "the end",
}
"""Terminals in words, the most telling first."""


@dataclass(frozen=True)
class Comparison:
    """Two or three sides, all compared in one direction.

    Attributes
    ----------
    sides : tuple of Expression
        From left to right.
    operator : str
        ``LE``, ``GE``, ``EQ``, ``LT`` or ``GT``; a strict one where any is.
    at : int
        Where it stands.
    """

    sides: tuple[Expression, ...]
    operator: str
    at: int


@dataclass(frozen=True)
class Limit:
    """At most `count` of some variables are above zero."""

    count: str
    names: tuple[Name, ...]
    at: int


def read(words: Sequence[Word], end: int) -> Comparison | Limit:
    """Return the tree of words.

    Parameters
    ----------
    words : sequence of Word
        One way to cut the text.
    end : int
        The length of the text, for the message.

    Raises
    ------
    Refusal
        If they are no sentence of the grammar.
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
        """Hands on the words as they were cut."""

        def __init__(self, conf: Any) -> None:
            pass

        def lex(self, words: Any) -> Iterator[lark.Token]:  # type: ignore[override]
            for word in words:
                yield lark.Token(word.kind, word.text, start_pos=word.at, end_pos=word.end)

    class Build(lark.Transformer):  # type: ignore[type-arg]
        """Turns each rule into a node."""

        def comparison(self, found: list[Any]) -> Comparison:
            operators = found[1::2]
            strict = [operator for operator in operators if operator.type in ("LT", "GT")]
            chosen = (strict or operators)[0]
            return Comparison(tuple(found[::2]), chosen.type, chosen.start_pos)

        def at_most(self, found: list[Any]) -> Limit:
            names = tuple(Name(str(token), token.start_pos) for token in found if token.type == "NAME")
            return Limit(str(found[1]), names, found[1].start_pos)

        def sum(self, found: list[Any]) -> Expression:
            if len(found) == 1:
                return found[0]  # type: ignore[no-any-return]
            signs = ["+", *(str(token).replace("−", "-") for token in found[1::2])]
            return Sum(tuple(zip(signs, found[::2], strict=True)))

        def product(self, found: list[Any]) -> Expression:
            if len(found) == 1:
                return found[0]  # type: ignore[no-any-return]
            signs = [("*", 0), *((str(token), token.start_pos) for token in found[1::2])]
            return Product(tuple((sign, at, factor) for (sign, at), factor in zip(signs, found[::2], strict=True)))

        def negative(self, found: list[Any]) -> Expression:
            return Negative(found[1])

        def positive(self, found: list[Any]) -> Expression:
            return found[1]  # type: ignore[no-any-return]

        def power(self, found: list[Any]) -> Expression:
            return Power(found[0], found[1].start_pos)

        def number(self, found: list[Any]) -> Expression:
            return Number(float(found[0]), found[0].start_pos)

        def name(self, found: list[Any]) -> Expression:
            return Name(str(found[0]), found[0].start_pos)

        def group(self, found: list[Any]) -> Expression:
            return found[1]  # type: ignore[no-any-return]

        def magnitude(self, found: list[Any]) -> Expression:
            return Magnitude(found[1], found[0].start_pos)

    return lark.Lark(GRAMMAR, parser="lalr", lexer=Given, transformer=Build())
