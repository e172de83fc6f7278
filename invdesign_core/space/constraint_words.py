"""The text of a constraint cut into names, numbers and signs, in every way that its names allow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from invdesign_core.errors import near_match

_NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_BLANK = re.compile(r"\s*")
_SIGNS = {
    "<=": "LE", ">=": "GE", "==": "EQ", "**": "POWER", "≤": "LE", "≥": "GE", "−": "MINUS", "<": "LT", ">": "GT",
    "=": "EQ", "+": "PLUS", "-": "MINUS", "*": "TIMES", "/": "OVER", "^": "POWER",
}  # fmt: skip
_COMPARISONS = {"LE", "GE", "EQ", "LT", "GT"}
_SIGN = re.compile("|".join(re.escape(sign) for sign in _SIGNS))
_AT_MOST = re.compile(r"at\s+most\b", re.I)
_OF = re.compile(r"of\b", re.I)
_COMMA = re.compile(r",(?:\s*and\b)?|and\b", re.I)
_ABOVE = re.compile(r"(?:(?:are|is)\s+)?(?:above\s+(?:zero|0)|non-?zero)\s*$", re.I)
_STEPS = 20_000
"""After how many cuts the search for readings gives up; an ordinary text needs one for each of its words."""


class Refusal(Exception):  # noqa: N818 - it becomes a ConfigError
    """A part of a text that can't be used as it stands: what was found and expected, and at which character."""

    def __init__(self, message: str, at: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.at, self.hint = message, at, hint


@dataclass(frozen=True)
class Token:
    """A name without quotes, a number's digits or a sign; `kind` is the terminal of the grammar."""

    kind: str
    text: str
    at: int
    end: int


@dataclass(frozen=True)
class _Cut:
    """A text cut up to `end`, the last word first; `operand` says whether a name or number is due next."""

    end: int
    word: Token | None = None
    before: _Cut | None = None
    operand: bool = True
    comparisons: str = ""
    listing: bool = False

    def words(self) -> list[Token]:
        found, cut = [], self
        while cut.word is not None and cut.before is not None:
            found.append(cut.word)
            cut = cut.before
        return found[::-1]


def readings(text: str, names: Sequence[str]) -> Iterator[list[Token]]:
    """Yield every way to cut a text into words in which operands and operators alternate, longest names first.

    A name in double quotes is taken whole.

    Raises
    ------
    Refusal
        If there is no way, naming the place that none of them gets past; or if there are too many.
    """
    longest = sorted(names, key=len, reverse=True)
    stack, found = [_Cut(0, listing=bool(_AT_MOST.match(text.lstrip())))], False
    far: _Cut | None = None
    for _ in range(_STEPS):
        if not stack:
            break
        cut = stack.pop()
        at = _skip(text, cut.end)
        if at == len(text) and not cut.operand:
            found = True
            yield cut.words()
            continue
        onwards = [_onto(cut, word) for word in _next(text, at, longest, cut)]
        if not onwards and (far is None or cut.end > far.end):
            far = cut
        stack += onwards[::-1]
    else:
        raise Refusal("it can be read in too many ways", 0, 'put the names in double quotes: "flow rate" <= 1')
    if not found and far is not None:
        raise _stuck(text, _skip(text, far.end), far, names)


def show(words: Sequence[Token]) -> str:
    """Return a reading as text, its names in double quotes.

    Examples
    --------
    >>> show([Token("NAME", "x", 0, 1), Token("MINUS", "-", 1, 2), Token("NUMBER", "1", 2, 3)])
    '"x" - 1'
    """
    parts: list[str] = []
    operand = True
    for word in words:
        if word.kind == "NAME":
            parts.append(f'"{word.text}"')
        elif (word.kind == "MINUS" and operand) or word.kind in ("TIMES", "OVER", "LEFT", "RIGHT", "BAR", "NUMBER"):
            parts.append(word.text)
        else:
            parts.append(f" {word.text} ")
        operand = word.kind not in ("NAME", "NUMBER", "RIGHT")
    return re.sub(r" +(?=,)", "", "".join(parts)).strip()


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _onto(cut: _Cut, word: Token) -> _Cut:
    # A bar opens where an operand is due, and closes where one has come: what is due stays.
    operand = cut.operand if word.kind == "BAR" else word.kind not in ("NAME", "NUMBER", "RIGHT", "ABOVE")
    comparisons = cut.comparisons + (word.kind if word.kind in _COMPARISONS else "")
    return _Cut(word.end, word, cut, operand, comparisons, cut.listing)


def _next(text: str, at: int, names: Sequence[str], cut: _Cut) -> Iterator[Token]:
    """Yield the words that may come at a place, of which names are the only ones that compete."""
    if at == len(text):
        return
    if cut.listing:
        yield from _listing(text, at, cut)
    if cut.operand:
        yield from _names(text, at, names)
        number = _NUMBER.match(text, at)
        # `2nd pass` does not begin with a number.
        if number and not _wordlike(text, number.end()):
            yield Token("NUMBER", number[0], at, number.end())
    single = {"(": "LEFT", ")": "RIGHT", "|": "BAR"}.get(text[at])
    if single and (single == "BAR" or (single == "LEFT") == cut.operand):
        yield Token(single, text[at], at, at + 1)
    sign = _SIGN.match(text, at)
    if sign:
        kind = _SIGNS[sign[0]]
        # No text holds `=` beside another comparison: a column `a=b` in a long sum is not cut everywhere.
        fits = kind not in _COMPARISONS or (
            not cut.comparisons or ("EQ" not in cut.comparisons and kind != "EQ" and len(cut.comparisons) < 4)
        )
        if fits and (not cut.operand or kind in ("MINUS", "PLUS")):
            yield Token(kind, sign[0], at, sign.end())


def _listing(text: str, at: int, cut: _Cut) -> Iterator[Token]:
    """Yield the words of ``at most 2 of a, b above zero``."""
    if cut.word is None:
        patterns = [("AT_MOST", _AT_MOST)]
    elif cut.operand:
        patterns = []
    else:
        patterns = [("OF", _OF), ("COMMA", _COMMA), ("ABOVE", _ABOVE)]
    for kind, pattern in patterns:
        match = pattern.match(text, at)
        if match:
            yield Token(kind, match[0].strip(), at, match.end())


def _names(text: str, at: int, names: Sequence[str]) -> Iterator[Token]:
    if text[at] == '"':
        end = text.find('"', at + 1)
        if end > at and text[at + 1 : end] in names:
            yield Token("NAME", text[at + 1 : end], at, end + 1)
    for name in names:
        end = at + len(name)
        bordered = not (_wordlike(name, len(name) - 1) and _wordlike(text, end))
        # A column called `2` needs its quotes: without them it is the number.
        if name and text.startswith(name, at) and bordered and not _NUMBER.fullmatch(name):
            yield Token("NAME", name, at, end)


def _wordlike(text: str, at: int) -> bool:
    return at < len(text) and (text[at].isalnum() or text[at] == "_")


def _stuck(text: str, at: int, cut: _Cut, names: Sequence[str]) -> Refusal:
    """Say what stands where no reading goes on."""
    if at == len(text):
        return Refusal("it ends where a name or a number is expected", at)
    if text[at] == '"':
        end = text.find('"', at + 1)
        if end < 0:
            return Refusal("found a double quote that is never closed", at)
        return Refusal(f"there is no design variable {text[at + 1 : end]!r}", at, near_match(text[at + 1 : end], names))
    last = cut.word
    if text.startswith("<", at) and last is not None and last.kind == "EQ":
        return Refusal("found '=<', expected '<='", last.at, "write <=")
    if text.startswith(">", at) and last is not None and last.kind == "EQ":
        return Refusal("found '=>', expected '>='", last.at, "write >=")
    follows_number = not cut.operand and last is not None and last.kind in ("NUMBER", "RIGHT")
    if follows_number and last is not None and (text[at] == "(" or any(_names(text, at, names))):
        return Refusal(f"found {_piece(text, at)!r} after {last.text!r}, expected an operator", at, "write * between")
    number = _NUMBER.match(text, at)
    if number and cut.operand and any(text.startswith(name, number.end()) for name in names if name):
        return Refusal(
            f"found {_piece(text, at)!r}, expected an operator after {number[0]!r}",
            at,
            f"write {number[0]}*{_piece(text, number.end())}",
        )
    if cut.listing and not cut.operand:
        return Refusal(f"found {_piece(text, at)!r}, expected a comma or 'above zero'", at)
    if cut.comparisons and not cut.operand and _SIGN.match(text, at):
        return Refusal(f"found {text[at]!r} after a comparison that is complete", at, "write two constraints")
    if _wordlike(text, at) and (cut.operand or (last is not None and last.kind == "NAME")):
        begin = at if cut.operand or last is None else last.at
        piece = _piece(text, begin)
        return Refusal(f"there is no design variable {piece!r}", begin, near_match(piece, names))
    expected = "a name or a number" if cut.operand else "an operator, such as + or <="
    return Refusal(f"found {text[at]!r}, expected {expected}", at)


def _piece(text: str, at: int) -> str:
    """Return what a reader would take for one name: all up to the next sign."""
    match = re.compile(r"[^<>=+\-*/^|(),≤≥−]+").match(text, at)
    return match[0].strip() if match else text[at]
