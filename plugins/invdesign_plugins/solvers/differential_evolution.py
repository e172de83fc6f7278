"""Differential evolution: the starts of each target are one population; no gradients."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from invdesign_core.plugin import Context, FloatArray, Polytope, Problem, Progress, Solver, SolverResult, Status

DRAWN_AT_ONCE = 16
"""Generations whose random numbers are drawn in one go."""
MET = 1e-8
"""Losses that differ by less than this, in standardised units, are equally good."""


class DifferentialEvolution(Solver):
    """Differential evolution, a whole generation of all targets in one call; needs no gradients.

    Storn and Price, "Differential evolution – a simple and efficient heuristic for global optimization over
    continuous spaces", J. Global Optim. 11 (1997), in its variant current-to-best/1/bin with a scale drawn
    anew for each trial. The starts of one target are its population. A trial outside the bounds is put
    onto them, and under linear constraints it is moved to the nearest point that satisfies both.
    """

    name: ClassVar[str] = "differential-evolution"
    handles: ClassVar[frozenset[str]] = frozenset({"linear"})
    rank: ClassVar[int] = 40

    starts: int = Field(
        64,
        ge=5,
        le=1_000_000,
        description="Members of the population of each target; ten for each variable are a good choice.",
    )
    max_generations: int = Field(300, ge=1, description="Generations at most.")
    scale: tuple[float, float] = Field(
        (0.5, 1.0), description="Lowest and highest factor of the differences between members; drawn for each trial."
    )
    crossover: float = Field(0.9, ge=0, le=1, description="Chance of each column to come from the mutant.")
    tol: float = Field(
        1e-6,
        ge=0,
        description="Stop when the losses of the better half of a population differ by less than this share.",
    )

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Let the population of each target evolve."""
        b, e = problem.shape
        lower, upper, groups = problem.lower, problem.upper, problem.groups
        polytope = Polytope(lower, upper, problem.linear) if len(problem.linear) else None
        u = np.clip(u0, lower, upper)
        loss = problem.value(u)
        family = Populations(groups)
        streams = [problem.rng(row) for row in range(b)]
        live = np.arange(b)
        for generation in range(self.max_generations):
            live = live[~family.agree(loss, self.tol)[live]]
            if not len(live):
                break
            if generation % DRAWN_AT_ONCE == 0:
                drawn = np.zeros((DRAWN_AT_ONCE, b, e + 4))
                for row in live:  # each has a stream of its own, so that other targets don't change it
                    drawn[:, row] = streams[row].random((DRAWN_AT_ONCE, e + 4))
            chance = drawn[generation % DRAWN_AT_ONCE][live]
            first, second = family.partners(live, chance[:, 0], chance[:, 1])
            factor = self.scale[0] + (self.scale[1] - self.scale[0]) * chance[:, 2:3]
            best = family.best(loss)[live]
            mutant = u[live] + factor * (u[best] - u[live]) + factor * (u[first] - u[second])
            crossed = chance[:, 4:] < self.crossover
            crossed[np.arange(len(live)), (chance[:, 3] * e).astype(int)] = True
            tried = np.clip(np.where(crossed, mutant, u[live]), lower[live], upper[live])
            if polytope is not None:
                tried = polytope.nearest(tried, u[live], live)
            new = problem.value(tried, live)
            better = new <= loss[live]  # as good is good enough: so a population crosses a plateau
            u[live[better]], loss[live[better]] = tried[better], new[better]
            ctx.emit(Progress("solve", b - len(live), b))
        agreed = family.agree(loss, self.tol)
        status = np.where(agreed, Status.CONVERGED, Status.LIMIT)
        words = np.where(agreed, "the population agrees", f"reached max_generations = {self.max_generations}")
        return SolverResult(u, status, words)


class Populations:
    """Which rows form a population: those whose (b,) targets are the same."""

    def __init__(self, groups: NDArray[np.intp]) -> None:
        self._groups = groups
        self._order = np.argsort(groups, kind="stable")
        self._place = np.empty_like(self._order)
        self._place[self._order] = np.arange(len(groups))
        _, begins, of, sizes = np.unique(
            groups[self._order], return_index=True, return_inverse=True, return_counts=True
        )
        self._begin, self._size = begins[of][self._place], sizes[of][self._place]

    def partners(
        self, rows: NDArray[np.intp], one: FloatArray, two: FloatArray
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return two other rows of the same population for each row, chosen by random numbers in [0, 1)."""
        size, begin = self._size[rows], self._begin[rows]
        ahead = 1 + (one * (size - 1)).astype(int)
        further = 1 + (two * (size - 2)).astype(int)
        further += further >= ahead
        own = self._place[rows] - begin
        return self._order[begin + (own + ahead) % size], self._order[begin + (own + further) % size]

    def best(self, loss: FloatArray) -> NDArray[np.intp]:
        """Return for each row the best of its population."""
        ranked = np.lexsort((loss, self._groups))
        return ranked[self._begin]

    def agree(self, loss: FloatArray, tol: float) -> NDArray[np.bool_]:
        """Return for each row whether the losses of the better half of its population hardly differ."""
        ranked = loss[np.lexsort((loss, self._groups))]
        best, median = ranked[self._begin], ranked[self._begin + self._size // 2]
        with np.errstate(invalid="ignore"):  # two infinite losses
            return np.asarray(np.isfinite(median) & (median - best <= tol * median + MET))
