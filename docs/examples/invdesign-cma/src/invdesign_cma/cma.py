"""A solver: the covariance matrix adaptation evolution strategy, for all targets at once."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from invdesign_core.plugin import Context, FloatArray, Problem, Progress, Solver, SolverResult, Status

MET = 1e-8
"""A loss below this, in standardised units, is as good as 0."""


class CmaEs(Solver):
    """CMA-ES around the best start of each target; a generation of all targets is one call. Needs no gradients.

    Hansen, "The CMA evolution strategy: a tutorial", arXiv:1604.00772. What is drawn outside of bounds or linear
    constraints is moved to the nearest point that satisfies them, and ranks the lower the farther it was outside.
    """

    name: ClassVar[str] = "cma-es"
    handles: ClassVar[frozenset[str]] = frozenset({"linear"})
    rank: ClassVar[int] = 50

    starts: int = Field(16, ge=4, description="Start points of each target, and points in a generation.")
    sigma: float = Field(0.1, gt=0, description="First standard deviation, as a share of each variable's range.")
    max_generations: int = Field(300, ge=1, description="Generations at most.")
    tol: float = Field(
        1e-6, ge=0, description="Stop when losses of the better half of a generation differ by less than this share."
    )

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Ask the strategies of all targets for points, evaluate these in one call, and tell the losses."""
        u, best = u0.copy(), np.nan_to_num(problem.value(u0), nan=np.inf)
        searches = [
            Strategy(problem, np.flatnonzero(problem.groups == target), u, best, self.sigma)
            for target in np.unique(problem.groups)
        ]
        total = len(searches)
        for _ in range(self.max_generations):
            searches = [search for search in searches if not search.is_done(self.tol)]
            if not searches:
                break
            rows = np.concatenate([search.rows for search in searches])
            asked = np.concatenate([search.ask() for search in searches])
            tried = problem.feasible.project(asked, rows)
            losses = np.nan_to_num(problem.value(tried, rows), nan=np.inf)
            begin = 0
            for search in searches:
                part = slice(begin, begin := begin + len(search.rows))
                search.tell(asked[part], tried[part], losses[part])
            order = np.argsort(-losses)  # where a row occurs twice the better is written last
            order = order[losses[order] < best[rows[order]]]
            u[rows[order]], best[rows[order]] = tried[order], losses[order]
            ctx.emit(Progress("solve", total - len(searches), total))
        late = np.isin(problem.groups, [problem.groups[search.rows[0]] for search in searches])
        status = np.where(late, Status.LIMIT, Status.CONVERGED)
        words = np.where(
            late, f"reached max_generations = {self.max_generations}", "the goal is met, or a generation agrees"
        )
        return SolverResult(u, status, words)


class Strategy:
    """The strategy of one target: its rows take turns in being given the points of a generation."""

    def __init__(self, problem: Problem, rows: NDArray[np.intp], u: FloatArray, loss: FloatArray, sigma: float) -> None:
        from cmaes import CMA

        self.free = (problem.upper > problem.lower)[rows].any(axis=0)
        self._start = u[rows[np.argmin(loss[rows])]]
        size = max(len(rows), 4 + int(3 * np.log(len(self.free))))
        self.rows = np.resize(rows, size)
        self.losses = np.sort(loss[rows])
        if self.free.any():
            seed = int(problem.rng(rows[0]).integers(2**31))
            self._strategy = CMA(self._start[self.free], sigma, population_size=size, seed=seed)

    def ask(self) -> FloatArray:
        """Return a generation of points."""
        asked = np.tile(self._start, (len(self.rows), 1))
        asked[:, self.free] = [self._strategy.ask() for _ in self.rows]
        return asked

    def tell(self, asked: FloatArray, tried: FloatArray, losses: FloatArray) -> None:
        """Let the strategy learn what the points that it asked for are worth."""
        outside = ((asked - tried)[:, self.free] ** 2).sum(axis=1)
        self._strategy.tell(list(zip(asked[:, self.free], losses + outside, strict=True)))
        self.losses = np.sort(losses)

    def is_done(self, tol: float) -> bool:
        """Whether the goal is met, the better half of a generation hardly differs, or nothing is free to move."""
        best, median = self.losses[0], self.losses[len(self.losses) // 2]
        return not self.free.any() or bool(best <= MET or median <= (1 + tol) * best)
