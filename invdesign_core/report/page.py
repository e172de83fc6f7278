"""From what a page shows to its HTML: one file that loads nothing."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

SCRIPTS = ("model.js", "space.js", "figures.js", "profiler.js", "tradeoffs.js", "evidence.js", "start.js")
"""The page's own code, in the order in which it is read."""


def page(content: dict[str, Any]) -> str:
    """Return the HTML of what `payload` gave; every text in it is escaped."""
    return str(
        _template().render(content=content, data=embedded(content), style=_file("static", "page.css"), scripts=_code())
    )


def embedded(content: Any) -> str:
    """Return JSON that can stand inside a script element: no text of a user's ends it, or begins a comment."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_file("templates", "page.html.j2"))


@cache
def _code() -> tuple[tuple[str, str], ...]:
    return tuple((name, _file("static", name)) for name in SCRIPTS)


@cache
def _file(*parts: str) -> str:
    return resources.files("invdesign_core.report").joinpath(*parts).read_text(encoding="utf-8")
