"""The text of a constraint, read in the one way that the names in it allow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from invdesign_core.errors import near_or_all

if TYPE_CHECKING:
    from lark import Token, Tree

_GRAMMAR = r"""
    start: sum (LE | GE | EQ | LT | GT) sum             -> comparison
         | sum (LE | LT) sum (LE | LT) sum              -> comparison
         | sum (GE | GT) sum (GE | GT) sum              -> comparison
         | AT_MOST NUMBER OF NAME (COMMA NAME)* ABOVE   -> at_most
    ?sum: product ((PLUS | MINUS) product)*
    ?product: factor ((TIMES | OVER) factor)*
    ?factor: MINUS factor          -> negative
           | PLUS factor           -> inner
           | atom
           | atom POWER factor     -> power
    ?atom: NUMBER                  -> number
         | QUANTITY                -> quantity
         | NAME                    -> name
         | _LEFT sum _RIGHT
         | BAR sum BAR             -> magnitude
         | FUNCTION _LEFT sum (COMMA sum)* _RIGHT -> call
    ?expression: sum
    LE: "<=" | "≤"
    GE: ">=" | "≥"
    EQ: /==?/
    LT: /<(?!=)/
    GT: /\>(?!=)/
    PLUS: "+"
    MINUS: "-" | "−"
    POWER: "**" | "^"
    TIMES: /\*(?!\*)/
    OVER: "/"
    _LEFT: "("
    _RIGHT: ")"
    BAR: "|"
    FUNCTION: /(?:exp|ln|log10|log|sqrt|abs|min|max)(?=\s*\()/i
    AT_MOST: /at\s+most\b/i
    OF: /of\b/i
    COMMA: /,(?:\s*and\b)?|and\b/i
    ABOVE: /(?:(?:are|is)\s+)?(?:above\s+(?:zero|0)|non-?zero)(?=\s*$)/i
    %declare NUMBER QUANTITY NAME
"""
_NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_PIECE = re.compile(r'(?:"[^"]*"|[^<>=+\-*/^|(),≤≥−])+')
_WORD = r"(?:[A-Za-zµμΩÅ°%‰€$£][A-Za-zµμΩÅ]*(?:\^-?\d|[²³]|\*\*-?\d|\d)?)"
_UNIT = re.compile(rf"\s*(?:\[[^\[\]]+\]|(?!(?:of|and|is|are)\b){_WORD}(?:[/·]{_WORD})*)")
"""A unit behind a number; in brackets it may be anything."""
_COMPARISONS = {"LE", "GE", "EQ", "LT", "GT"}
_EXPECTED = {
    "NAME": "a name or a number",
    "NUMBER": "a whole number",
    "$END": "the end",
    "LE": "<=, >= or =",
    "_RIGHT": ")",
    "BAR": "|",
    "OF": "'of'",
    "ABOVE": "a comma or 'above zero'",
}
"""What may follow, in words, the most informative first."""


LONGEST, DEEPEST = 50_000, 200
"""Characters that a text may have, and parts of it one inside the other, each of which has to be remembered."""


class Refusal(Exception):  # noqa: N818 - it becomes a ConfigError
    """A part of a text that can't be used as it stands: what was found and expected, and at which character."""

    def __init__(self, message: str, at: int | None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.at, self.hint = message, at or 0, hint


@cache
def _parser() -> tuple[Any, dict[str, re.Pattern[str]]]:
    """Compile the grammar, at the first constraint only; return the parser, and what its signs and words look like."""
    import lark

    parser = lark.Lark(_GRAMMAR, parser="lalr", lexer="basic", start=["start", "expression"])
    return parser, {t.name: re.compile(t.pattern.to_regexp()) for t in parser.terminals if t.pattern}


def only_reading(text: str, names: Sequence[str], start: str = "start") -> Tree[Token]:
    """Return the one way to read a text; two are refused, even where one of them is not linear.

    It is a constraint, or a formula where `start` is ``expression``.

    Names may hold anything, so all words that may stand at a place are tried. Of those that bring the parser into one
    state at one place two are kept: what follows is the same for both, and more than two don't matter.
    """
    from lark import UnexpectedToken

    if len(text) > LONGEST:
        raise Refusal(f"found {len(text)} characters, expected at most {LONGEST}", 0)
    longest = sorted(filter(None, names), key=len, reverse=True)
    reached: dict[int, list[tuple[Any, list[Token]]]] = {0: [(_parser()[0].parse_interactive(start=start), [])]}
    found: list[list[Token]] = []
    while reached:
        end = min(reached)
        at = len(text) - len(text[end:].lstrip())
        ways, words = reached.pop(end), _words_at(text, at, longest)
        for parser, read in ways:
            for word in words:
                if word.type not in parser.choices():
                    continue
                onwards = parser.copy(deepcopy_values=False)
                try:
                    onwards.feed_token(word)
                except UnexpectedToken:
                    continue
                if word.type == "$END":
                    found.append([*read, word])
                    continue
                others, state = reached.setdefault(word.end_pos or 0, []), onwards.parser_state.state_stack
                if len(state) > DEEPEST:
                    wrong = f"found more than {DEEPEST} signs and parts one inside the other"
                    raise Refusal(wrong, word.start_pos, "write it with fewer signs and parentheses")
                if sum(other.parser_state.state_stack == state for other, _ in others) < 2:
                    others.append((onwards, [*read, word]))
    if not found:
        raise _stuck(text, at, *ways[0], words, names)
    if len(found) > 1:
        raise Refusal(
            f"it can be read in two ways, as {_shown(found[0])} and as {_shown(found[1])}",
            next(a.start_pos for a, b in zip(*found[:2], strict=False) if (a.type, a) != (b.type, b)),
            "put the names in double quotes, as in the reading that you mean",
        )
    # The trees of the parsers above are of no use: copies of a parser share and change them.
    parser = _parser()[0].parse_interactive(start=start)
    trees: list[Tree[Token]] = [parser.feed_token(word) for word in found[0]]
    return trees[-1]


def _words_at(text: str, at: int, longest: Sequence[str]) -> list[Token]:
    """Return all names, numbers and signs that begin at a place, without the quotes around a name."""
    from lark import Token

    if at == len(text):
        return [Token("$END", "", start_pos=at, end_pos=at)]
    found = []
    if text[at] == '"':
        end = text.find('"', at + 1)
        if end > 0 and text[at + 1 : end] in longest:
            found.append(("NAME", text[at + 1 : end], end + 1))
    for name in (name for name in longest if text.startswith(name, at)):
        end = at + len(name)
        inside = _wordlike(name[-1]) and _wordlike(text[end : end + 1])
        # A column called `2` needs its quotes: without them it is the number.
        if not (inside or _NUMBER.fullmatch(name)):
            found.append(("NAME", name, end))
    number = _NUMBER.match(text, at)
    # `2nd pass` does not begin with a number.
    if number and not _wordlike(text[number.end() : number.end() + 1]):
        found.append(("NUMBER", number[0], number.end()))
    if number and (unit := _UNIT.match(text, number.end())) and not _begins(text, unit, longest):
        found.append(("QUANTITY", text[at : unit.end()].strip(), unit.end()))
    matches = [(kind, pattern.match(text, at)) for kind, pattern in _parser()[1].items()]
    found += [(kind, match[0], match.end()) for kind, match in matches if match]
    return [Token(kind, word, start_pos=at, end_pos=end) for kind, word, end in found]


def _begins(text: str, unit: re.Match[str], names: Sequence[str]) -> bool:
    """Whether what may be a unit is a name, or a part of one that begins with the number before it."""
    word = unit[0].strip()
    at = unit.end() - len(word)
    if any(text.startswith(name, unit.start() - 1) for name in names if name[0].isdigit()):
        return True
    return any(len(name) >= len(word) and text.startswith(name, at) for name in names)


def _wordlike(character: str) -> bool:
    return character.isalnum() or character == "_"


def _shown(words: Sequence[Token]) -> str:
    """Return a reading as text, its names in double quotes."""
    shown, before = "", ""
    for word in words:
        sign = word.type == "MINUS" and before not in ("NAME", "NUMBER", "_RIGHT")
        close = sign or word.type in ("TIMES", "OVER", "_LEFT", "_RIGHT", "BAR", "NUMBER")
        shown += f'"{word}"' if word.type == "NAME" else str(word) if close else f" {word} "
        before = word.type
    return re.sub(r" +(?=,)", "", shown).strip()


def _stuck(text: str, at: int, parser: Any, read: list[Token], words: list[Token], names: Sequence[str]) -> Refusal:
    """Say which of the words at a place, where no reading goes on, can't follow what is read."""
    accepted = parser.accepts()
    operand, last = "NAME" in accepted, read[-1] if read else None
    after, here = last.type if last is not None else "", text[at : at + 1]
    expected = next(name for kind, name in _EXPECTED.items() if kind in accepted)
    if not here:
        return Refusal(f"it ends where {expected} is expected", at)
    kinds, number = {word.type for word in words}, _NUMBER.match(text, at)
    if here == '"' and "NAME" not in kinds:
        end = text.find('"', at + 1)
        if end < 0:
            return Refusal("found a double quote that is never closed", at)
        return Refusal(
            f"there is no design variable {text[at + 1 : end]!r}", at, near_or_all(text[at + 1 : end], names)
        )
    if last is not None and after == "EQ" and here in "<>":
        return Refusal(f"found '={here}', expected '{here}='", last.start_pos, f"write {here}=")
    if after in ("NUMBER", "_RIGHT") and "TIMES" in accepted and kinds & {"_LEFT", "NAME"}:
        return Refusal(f"found {_piece(text, at)!r} after {str(last)!r}, expected an operator", at, "write * between")
    if number and operand and any(text.startswith(name, number.end()) for name in names if name):
        hint = f"write {number[0]}*{_piece(text, number.end())}"
        return Refusal(f"found {_piece(text, at)!r}, expected an operator after {number[0]!r}", at, hint)
    if "$END" in accepted and kinds & _COMPARISONS:
        return Refusal(f"found {here!r} after a comparison that is complete", at, "write two constraints")
    if _wordlike(here) and (operand or (after == "NAME" and "ABOVE" not in accepted)):
        begin = at if operand or last is None else last.start_pos or 0
        piece = _piece(text, begin)
        return Refusal(f"there is no design variable {piece!r}", begin, near_or_all(piece, names))
    sign = next((str(word) for word in words if word.type in (*_COMPARISONS, "_RIGHT", "BAR")), None)
    if "PLUS" in accepted and not (operand or sign):
        expected = "an operator, such as + or <="
    return Refusal(f"found {_piece(text, at) if 'ABOVE' in accepted else sign or here!r}, expected {expected}", at)


def _piece(text: str, at: int) -> str:
    """Return what a reader would take for one name: all up to the next sign."""
    match = _PIECE.match(text, at)
    return match[0].strip() if match else text[at]
