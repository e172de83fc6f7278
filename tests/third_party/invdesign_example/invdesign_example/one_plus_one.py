"""A solver without gradients: a (1+1) evolution strategy."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from invdesign_core.plugin import Context, FloatArray, Problem, Progress, Solver, SolverResult, Status
from pydantic import Field

GROW = 1.5
"""A success widens the step by this factor, and four failures narrow it by the same: one in five succeeds."""


class OnePlusOne(Solver):
    """Take a random step from each start, keep it where it is no worse, and adapt its width.

    The (1+1) evolution strategy with the one-fifth rule, as in Kern et al., "Learning probability
    distributions in continuous evolutionary algorithms", Natural Computing 3 (2004).
    """

    name: ClassVar[str] = "one-plus-one"

    starts: int = Field(16, ge=1, description="Number of start points for each target.")
    steps: int = Field(200, ge=1, description="Steps from one start.")
    step: float = Field(0.1, gt=0, le=1, description="First step, as a share of each variable's range.")
    precision: float = Field(1e-4, gt=0, description="Stop when the step is narrower than this share.")

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Search from one start after another."""
        u, status, message = u0.copy(), [], []
        for row in range(len(u0)):
            u[row], reached, why = self._search(problem, row, u0[row], problem.rng(row))
            status.append(reached)
            message.append(why)
            ctx.emit(Progress("solve", row + 1, len(u0)))
        return SolverResult(u, status, message)

    def _search(
        self, problem: Problem, row: int, u: FloatArray, rng: np.random.Generator
    ) -> tuple[FloatArray, Status, str]:
        """Return where the search from one start ended, and why."""
        lower, upper = problem.lower[row], problem.upper[row]
        best, step = problem.value(u[None], np.array([row]))[0], self.step
        for _ in range(self.steps):
            if best == 0:
                return u, Status.CONVERGED, "the goal is met exactly"
            if step < self.precision:
                return u, Status.CONVERGED, "the step is narrower than the precision"
            tried = np.clip(u + step * (upper - lower) * rng.standard_normal(len(u)), lower, upper)
            loss = problem.value(tried[None], np.array([row]))[0]
            if loss <= best:
                u, best, step = tried, loss, min(step * GROW, 1.0)
            else:
                step *= GROW**-0.25
        return u, Status.LIMIT, f"{self.steps} steps were taken"
