"""What is wanted of one output: the words for it, and the numbers that they mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from invdesign_core.errors import ConfigError, near_match
from invdesign_core.space.digits import typed
from invdesign_core.space.text import parse_number, parse_range

GOALS: dict[str, Literal["max", "min", "free"]] = {
    "max": "max",
    "maximise": "max",
    "maximize": "max",
    "min": "min",
    "minimise": "min",
    "minimize": "min",
    "free": "free",
}
"""Words for what no number says."""
KEYS = ("equals", "at_least", "at_most", "goal", "weight", "tolerance")
"""Keys of a target that is written as a table."""


@dataclass(frozen=True)
class Target:
    """What is wanted of one output, in the user's units.

    Attributes
    ----------
    lower, upper : float
        Equal for a set point; infinite where a side is open.
    weight : float
        How much a miss counts beside the other outputs'.
    tolerance : float, optional
        The miss that still counts as met; by default 2 % of the output's training range for a set point, and 0 for
        a limit or a range.
    goal : str, optional
        ``max`` or ``min`` where the output is to be as large or as small as it can be, inside the limits.
    """

    lower: float = -np.inf
    upper: float = np.inf
    weight: float = 1.0
    tolerance: float | None = None
    goal: Literal["max", "min"] | None = None

    @property
    def free(self) -> bool:
        """Whether nothing is wanted."""
        return self.goal is None and np.isinf(self.lower) and np.isinf(self.upper)

    def to_json(self) -> dict[str, Any]:
        """Return the table that `parse_target` reads back."""
        if self.free:
            return {"goal": "free"}
        found: dict[str, Any] = {} if self.goal is None else {"goal": self.goal}
        if self.lower == self.upper:
            found["equals"] = self.lower
        else:
            sides = {"at_least": self.lower, "at_most": self.upper}
            found |= {key: value for key, value in sides.items() if np.isfinite(value)}
        found["weight"] = self.weight
        return found if self.tolerance is None else found | {"tolerance": self.tolerance}

    def __str__(self) -> str:
        sides = [
            f"{sign} {typed(side)}" for sign, side in ((">=", self.lower), ("<=", self.upper)) if np.isfinite(side)
        ]
        if self.goal is not None:
            text = ", ".join([f"= {self.goal}", *sides])
        elif self.lower == self.upper:
            text = f"= {typed(self.lower)}"
        else:
            both = f"= {typed(self.lower)}..{typed(self.upper)}"
            text = both if len(sides) == 2 else sides[0] if sides else "= free"
        return text if self.tolerance is None else f"{text} tolerance {typed(self.tolerance)}"


_EXTRA = re.compile(r"(?P<rest>.*\S)\s+(?P<key>tolerance|weight)\s+(?P<number>\S+)", re.S)


def parse_target(value: Any, place: str) -> Target:
    """Read what is wanted of one output.

    Parameters
    ----------
    value : number, str or mapping
        ``2``, ``"2"``, ``"<=0.34"``, ``">=0.3"``, ``"0.30..0.33"``, ``"max"``, ``"min"`` or ``"free"``, a text
        of these followed by ``tolerance 0.01`` or ``weight 2`` or both, or a table with some of `KEYS`.
    place : str
        Where it was written, for the message.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    if isinstance(value, Target):
        return value
    if isinstance(value, Mapping):
        return _checked(_of_table(value, place), place)
    if isinstance(value, bool):
        raise ConfigError(f"{place}: found {value!r}, expected a number")
    text = str(value).strip().removeprefix("=").strip()
    extra: dict[str, Any] = {}
    while match := _EXTRA.fullmatch(text):
        if match["key"] in extra:
            raise ConfigError(f"{place}: {match['key']!r} is there twice", "keep one of them")
        extra[match["key"]] = parse_number(match["number"], f"{place}, {match['key']}")
        text = match["rest"]
    return _checked(_of_table(_word(text, place) | extra, place), place)


def _word(text: str, place: str) -> dict[str, Any]:
    """Return the table that says the same as a word."""
    if text.startswith("<="):
        return {"at_most": parse_number(text[2:], place)}
    if text.startswith(">="):
        return {"at_least": parse_number(text[2:], place)}
    if ".." in text:
        lower, upper = parse_range(text, place)
        return {"at_least": lower, "at_most": upper}
    if text.lower() in GOALS:
        return {"goal": text}
    if re.fullmatch(r"[^\W\d]{3,}", text) and text.lower() not in ("nan", "inf", "infinity"):
        near = near_match(text.lower(), GOALS)
        raise ConfigError(f"{place}: found {text!r}, expected a number, LOW..HIGH, max, min or free", near)
    return {"equals": parse_number(text, place)}


def _of_table(table: Mapping[str, Any], place: str) -> Target:
    """Read a target's table."""
    for key in table:
        if key not in KEYS:
            raise ConfigError(f"{place}: there is no key {key!r}", near_match(str(key), KEYS))
    goal = None
    if "goal" in table:
        goal = GOALS.get(str(table["goal"]).lower())
        if goal is None:
            hint = near_match(str(table["goal"]).lower(), GOALS)
            raise ConfigError(f"{place}.goal: found {table['goal']!r}, expected max, min or free", hint)
    numbers = {key: parse_number(str(item), f"{place}.{key}") for key, item in table.items() if key != "goal"}
    limits = numbers.keys() & {"equals", "at_least", "at_most"}
    if "equals" in limits and (len(limits) > 1 or goal in ("max", "min")):
        others = "'at_least' and 'at_most'" if len(limits) > 1 else f"the goal {goal!r}"
        raise ConfigError(f"{place}: 'equals' contradicts {others}", "keep the one or the other")
    if goal == "free":
        if numbers:
            raise ConfigError(f"{place}: it is free, so {min(numbers)!r} means nothing", "leave it out")
        return Target()
    if goal is None and not limits:
        raise ConfigError(f"{place}: nothing is wanted of it", "say equals, at_least, at_most or goal, or leave it out")
    if goal is not None and not limits and "tolerance" in numbers:
        raise ConfigError(
            f"{place}: a tolerance is for values that can be missed, and {goal} can't be", "leave the tolerance out"
        )
    return Target(
        numbers.get("equals", numbers.get("at_least", -np.inf)),
        numbers.get("equals", numbers.get("at_most", np.inf)),
        numbers.get("weight", 1.0),
        numbers.get("tolerance"),
        goal,
    )


def _checked(target: Target, place: str) -> Target:
    """Refuse a target that can't be meant."""
    if target.weight < 0 or (target.tolerance or 0.0) < 0:
        raise ConfigError(f"{place}: weight and tolerance can't be negative")
    if target.lower > target.upper:
        raise ConfigError(f"{place}: at least {typed(target.lower)} contradicts at most {typed(target.upper)}")
    return target
