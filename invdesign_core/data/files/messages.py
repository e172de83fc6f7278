"""How places in a table file and options are named in messages."""

from __future__ import annotations

import json
from collections.abc import Iterable


def place(row: int, line: int | None, what: str) -> str:
    """Name a row as people count it, below the header and in the file: ``row 6 (line 7)``."""
    return f"row {row}" if line is None else f"row {row} ({what} {line})"


def some(names: Iterable[object], limit: int = 5) -> str:
    """List names for a message, the first few of many."""
    listed = [repr(name) for name in names]
    return ", ".join(listed[:limit]) + (f" and {len(listed) - limit} more" if len(listed) > limit else "")


def option(name: str, value: object) -> str:
    """Write an option as it stands in an experiment file.

    Examples
    --------
    >>> option("labels", ["a"])
    'labels = ["a"]'
    """
    return f"{name} = {json.dumps(value, ensure_ascii=False)}"


def shown(text: str, limit: int = 40) -> str:
    """Quote a text that was found, shortened where it is long."""
    return repr(shortened(text, limit))


def shortened(text: str, limit: int = 40) -> str:
    """Cut off what is too long for a message."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
