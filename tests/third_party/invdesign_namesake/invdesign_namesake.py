"""A solver by a name that another distribution took first."""

from typing import ClassVar

from invdesign_core.plugin import Context, FloatArray, Problem, Solver, SolverResult, Status, hookimpl


class OnePlusOne(Solver):
    """Add nothing to the starts: answer with the screened points themselves, and talk about it."""

    name: ClassVar[str] = "one-plus-one"

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Return the starts."""
        print("one plus one is two")
        return SolverResult(u0, Status.LIMIT, "the start as it was")


@hookimpl
def invdesign_solvers() -> list[type[Solver]]:
    """Return the solver."""
    return [OnePlusOne]
