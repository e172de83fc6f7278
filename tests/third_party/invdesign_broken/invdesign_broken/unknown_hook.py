"""Implements a hook that doesn't exist: the `s` is missing."""

from invdesign_core.plugin import Solver, hookimpl


@hookimpl
def invdesign_solver() -> list[type[Solver]]:
    """Return nothing."""
    return []
