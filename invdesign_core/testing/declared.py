"""How checks are declared: functions of a plugin that raise where it breaks a promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from invdesign_core.plugin import KINDS


class BrokenPromiseError(AssertionError):
    """What a plugin does that its contract does not allow."""


class NotAppliedError(Exception):
    """Why a check has nothing to check in this plugin."""


@dataclass(frozen=True)
class Check:
    """One promise: its name, what it says, and the function that holds a plugin to it."""

    name: str
    text: str
    run: Callable[[Any], None]


DECLARED: dict[str, list[Check]] = {kind: [] for kind in KINDS}
"""The checks of each kind, in the order in which they run."""


def check(*kinds: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Declare a function as a check of some kinds, by default of all; its docstring says the promise."""

    def declare(function: Callable[[Any], None]) -> Callable[[Any], None]:
        text = (function.__doc__ or "").strip().split("\n")[0]
        for kind in kinds or tuple(KINDS):
            DECLARED[kind].append(Check(function.__name__, text, function))
        return function

    return declare


def hold(condition: Any, message: str) -> None:
    """Raise where a promise is broken."""
    if not condition:
        raise BrokenPromiseError(message)


def does_not_apply(reason: str) -> None:
    """Leave a check out, with the reason."""
    raise NotAppliedError(reason)
