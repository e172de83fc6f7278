"""Brings a solver with an option that says nothing of itself."""

from typing import ClassVar

from invdesign_core.plugin import Solver, hookimpl


class Terse(Solver):
    """A solver whose option has no description."""

    name: ClassVar[str] = "terse"

    speed: float = 1.0


@hookimpl
def invdesign_solvers() -> list[type[Solver]]:
    """Return the solver."""
    return [Terse]
