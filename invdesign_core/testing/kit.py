"""Runs the checks of a plugin, and counts them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from invdesign_core.errors import InvdesignError, PluginError
from invdesign_core.errors.faults import told
from invdesign_core.plugin import KINDS, Plugin
from invdesign_core.registry import build_options
from invdesign_core.testing import datasets, every_kind, objectives, solvers, surrogates, tuners
from invdesign_core.testing.declared import DECLARED, BrokenPromiseError, Check, NotAppliedError

MODULES = (every_kind, datasets, surrogates, tuners, objectives, solvers)
"""What declares checks."""
Outcome = Literal["passed", "failed", "left out", "expected failure", "unexpected pass"]


@dataclass(frozen=True)
class Record:
    """What came of one check."""

    check: str
    promise: str
    outcome: Outcome
    message: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it is as it should be."""
        return self.outcome in ("passed", "left out", "expected failure")


class Records(list[Record]):
    """What came of all checks of a plugin; `declared` is how many there should be."""

    def __init__(self, records: list[Record], declared: int) -> None:
        super().__init__(records)
        self.declared = declared

    @property
    def ok(self) -> bool:
        """Whether as many checks ran as were declared, and all of them are as they should be."""
        return len(self) == self.declared and all(record.ok for record in self)

    def __str__(self) -> str:
        """Say how many checks ran, and what failed."""
        lines = [f"{record.check}: {record.message}" for record in self if not record.ok]
        counts = {outcome: sum(record.outcome == outcome for record in self) for outcome in OUTCOMES}
        said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        return "\n".join([*lines, f"{len(self)} of {self.declared} checks ran: {said}"])


OUTCOMES: tuple[Outcome, ...] = ("passed", "failed", "left out", "expected failure", "unexpected pass")


def checks_of(kind: str) -> list[Check]:
    """Return the checks that a plugin of a kind has to pass, in order."""
    return list(DECLARED[kind])


def check_plugin(
    plugin: type[Plugin] | Plugin, expected_failures: Mapping[str, str] | None = None, **options: Any
) -> Records:
    """Hold a plugin to everything that the contract of its kind promises.

    Parameters
    ----------
    plugin : class or Plugin
        The class, or an object with its options set.
    expected_failures : mapping, optional
        The reason for each check, by its name, that is known to fail.
    **options
        Options of the plugin.

    Returns
    -------
    Records
        A record of each check; its `ok` says whether all is well, and its text what is not.

    Raises
    ------
    PluginError
        If there is no such check, or a reason is missing.
    """
    cls = plugin if isinstance(plugin, type) else type(plugin)
    kind = next((kind for kind, base in KINDS.items() if issubclass(cls, base)), None)
    if kind is None:
        raise PluginError(f"{cls.__name__} is no plugin: it derives from none of {', '.join(KINDS)}")
    expected = dict(expected_failures or {})
    names = [check.name for check in checks_of(kind)]
    for name, reason in expected.items():
        if name not in names or not reason.strip():
            what = f"expected_failures: {name!r} is no check of a {kind}, or has no reason"
            raise PluginError(what, ", ".join(names))
    instance = plugin if isinstance(plugin, Plugin) else build_options(cls, options, f"[{kind}] {cls.__name__}")
    return Records([_record(check, instance, expected.get(check.name)) for check in checks_of(kind)], len(names))


def run_check(check: Check, plugin: Any) -> tuple[Outcome, str]:
    """Run one check, and return what came of it and why; whatever a plugin raises is a broken promise."""
    try:
        check.run(plugin)
    except KeyboardInterrupt:
        raise
    except NotAppliedError as reason:
        return "left out", str(reason)
    except BrokenPromiseError as broken:
        return "failed", str(broken)
    except InvdesignError as error:
        return "failed", error.message
    except BaseException as error:  # SystemExit too
        return "failed", told(error, [plugin])
    return "passed", ""


def _record(check: Check, plugin: Any, expected: str | None) -> Record:
    """Run one check, and compare it with what is expected of it."""
    began = time.perf_counter()
    outcome, message = run_check(check, plugin)
    if expected is not None and outcome == "failed":
        outcome, message = "expected failure", f"{expected} ({message})"
    elif expected is not None and outcome == "passed":
        outcome, message = "unexpected pass", f"it was expected to fail: {expected}"
    return Record(check.name, check.text, outcome, message, time.perf_counter() - began)
