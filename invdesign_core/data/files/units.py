"""Which texts are units of measurement."""

from __future__ import annotations

import re

from invdesign_core.space.units import UNIT

BRACKETED = re.compile(r"\[(.*)\]|\((.*)\)|<(.*)>|\{(.*)\}")
NONE = ("", "-", "–", "—", "1", "none", "dimensionless", "unitless", "n/a", "nondim", "#")
"""What stands in place of a unit for numbers without one."""


def unit_of(text: str) -> str | None:
    """Return the unit that a text is, empty for none such as `[-]`; None where it is something else."""
    bracketed = BRACKETED.fullmatch(text)
    inside = next((group for group in bracketed.groups() if group is not None), "").strip() if bracketed else text
    if text.lower().rstrip(":") in ("unit", "units", "einheit", "einheiten", "unité", "unités"):
        return ""  # the name of the line itself
    if inside.lower() in NONE and (bracketed or inside in ("", "-", "–", "—")):
        return ""
    number = re.fullmatch(r"[\d.,]+", inside)  # also where it begins like a power of ten: 100
    if bracketed and not number:
        return inside
    return inside if UNIT.fullmatch(inside) and not number else None
