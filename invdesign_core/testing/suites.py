"""The checks as classes of tests that pytest collects where they are inherited from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from unittest import SkipTest

from invdesign_core.plugin import Plugin
from invdesign_core.testing.declared import Check
from invdesign_core.testing.kit import checks_of, run_check


class PluginTests:
    """Checks of one plugin; subclasses set `plugin`, and where they need to the others."""

    plugin: ClassVar[type[Plugin]]
    options: ClassVar[Mapping[str, Any]] = {}
    """Options of the plugin."""
    expected_failures: ClassVar[Mapping[str, str]] = {}
    """The reason for each check, by its name, that is known to fail."""
    kind: ClassVar[str]

    def test_no_check_was_taken_away(self) -> None:
        """Fail where a subclass hides a check."""
        for check in checks_of(self.kind):
            assert callable(getattr(self, f"test_{check.name}", None)), f"the check {check.name} was taken away"
        unknown = set(self.expected_failures) - {check.name for check in checks_of(self.kind)}
        assert not unknown, f"expected_failures names {sorted(unknown)}, which are no checks"


def _as_test(check: Check) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        outcome, message = run_check(check, self.plugin(**self.options))
        reason = self.expected_failures.get(check.name)
        if outcome == "left out":
            raise SkipTest(message)
        if reason is not None:
            assert outcome == "failed", f"it was expected to fail: {reason}"
            raise SkipTest(f"expected failure: {reason}")
        assert outcome == "passed", message

    test.__name__, test.__doc__ = f"test_{check.name}", check.text
    return test


def _suite(kind: str) -> Any:
    tests = {f"test_{check.name}": _as_test(check) for check in checks_of(kind)}
    about = {"kind": kind, "__doc__": f"Checks of a {kind}; a subclass sets `plugin`.", "__module__": __name__}
    return type(f"{kind.title()}Tests", (PluginTests,), about | tests)


DatasetTests = _suite("dataset")
SurrogateTests = _suite("surrogate")
TunerTests = _suite("tuner")
ObjectiveTests = _suite("objective")
SolverTests = _suite("solver")
