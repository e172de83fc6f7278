r"""Text of other people's as it may be printed: what a terminal would obey, or a reader can't see, as ``\x1b``."""

from __future__ import annotations

import re
import unicodedata

JOINERS = "\u200c\u200d"
"""Signs without a width that words of Persian and Hindi, and many emojis, are written with."""


def visible(text: str, lines: bool = True) -> str:
    r"""Return a text with each character that can't be seen as an escape; line breaks and tabs stay if `lines`.

    These are control characters, which begin the commands of terminals, marks that turn the direction of what follows,
    other signs without a width, and what stands for bytes that are no text.

    Examples
    --------
    >>> visible("a\x1b[31m\u202eb")
    'a\\x1b[31m\\u202eb'
    """
    return re.sub(r"[^\n\t -~]" if lines else "[^ -~]", _escaped, text)


def visible_json(text: str) -> str:
    """Return JSON that says the same, in which such characters are escapes."""
    return re.sub(r"[^\n\t -~]", _escaped_in_json, text)


def visible_toml(text: str) -> str:
    """Return a line of TOML that says the same; such characters are in its comments or between double quotes."""
    return re.sub(r"[^\t -~]", _escaped_in_toml, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0] if _is_seen(found[0]) else found[0].encode("unicode_escape").decode()


def _escaped_in_json(found: re.Match[str]) -> str:
    if _is_seen(found[0]):
        return found[0]
    return re.sub("(....)", r"\\u\1", found[0].encode("utf-16-be", "surrogatepass").hex())


def _escaped_in_toml(found: re.Match[str]) -> str:
    code = ord(found[0])
    return found[0] if _is_seen(found[0]) else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_seen(sign: str) -> bool:
    return sign.isprintable() or sign in JOINERS or unicodedata.category(sign) == "Zs"
