"""Brings a solver with an option that says nothing of itself."""

from typing import ClassVar

from invdesign_core.plugin import Context, FloatArray, Problem, Solver, SolverResult, Status, hookimpl


class Terse(Solver):
    """A solver whose option has no description."""

    name: ClassVar[str] = "terse"

    speed: float = 1.0

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Return the starts."""
        return SolverResult(u0, Status.LIMIT, "the start as it was")


@hookimpl
def invdesign_solvers() -> list[type[Solver]]:
    """Return the solver."""
    return [Terse]
