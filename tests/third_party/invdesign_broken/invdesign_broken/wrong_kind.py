"""Hands over an objective where solvers are expected."""

from typing import ClassVar

from invdesign_core.plugin import Objective, hookimpl


class Misplaced(Objective):
    """An objective among the solvers."""

    name: ClassVar[str] = "misplaced"


@hookimpl
def invdesign_solvers() -> list[type[Objective]]:
    """Return what is no solver."""
    return [Misplaced]
