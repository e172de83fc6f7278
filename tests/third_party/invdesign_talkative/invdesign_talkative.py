"""Prints when it is imported, and when it is asked for its plugins."""

from invdesign_core.plugin import Solver, hookimpl

print("talkative is being imported")


@hookimpl
def invdesign_solvers() -> list[type[Solver]]:
    """Return nothing, and say so."""
    print("talkative has no solvers")
    return []
