"""A solver: samples of all designs that could have given a response, in place of the best ones."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from invdesign_core.plugin import Context, Data, FloatArray, Problem, Progress, Solver, SolverResult, Status


class Posterior(Solver):
    """Sample designs with the density exp(-loss), by sequential Monte Carlo on the surrogate.

    Evenly drawn starts are weighted, drawn again and moved, while the density turns step by step from an even one into
    exp(-loss) (Del Moral, Doucet and Jasra, "Sequential Monte Carlo samplers", J. R. Stat. Soc. B 68 (2006)). Several
    answers that lie apart keep their shares. With the objective `likelihood` the samples are of the posterior
    distribution, the prior being even inside bounds and constraints.
    """

    name: ClassVar[str] = "posterior"
    handles: ClassVar[frozenset[str]] = frozenset({"linear"})
    rank: ClassVar[int | None] = None

    starts: int = Field(1000, ge=20, description="Number of samples for each target.")
    init: Literal["uniform", "sobol"] = Field("sobol", description="How the starts are drawn, evenly in both cases.")
    moves: int = Field(10, ge=1, description="Metropolis steps of each sample in each stage.")

    def check(self, data: Data, ctx: Context) -> None:
        """Refuse variables that have no density."""
        odd = [variable.name for variable in data.space.variables if variable.kind != "continuous"]
        if odd:
            raise ValueError(f"posterior samples continuous variables only, and {odd[0]!r} is not continuous")

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Take the samples of each target through its stages; all targets are evaluated in one call."""
        loss = problem.value(u0)
        parts = [np.flatnonzero(problem.groups == target) for target in np.unique(problem.groups)]
        total = len(parts)
        ensembles = [Ensemble(problem, rows, u0[rows], loss[rows]) for rows in parts]
        live = ensembles
        while live := [ensemble for ensemble in live if ensemble.power < 1]:
            for ensemble in live:
                ensemble.raise_power()
            for _ in range(self.moves):
                rows = np.concatenate([ensemble.rows for ensemble in live])
                tried = np.concatenate([ensemble.propose() for ensemble in live])
                inside = problem.feasible.violation(tried, rows) == 0
                loss = np.full(len(rows), np.inf)
                loss[inside] = problem.value(tried[inside], rows[inside])
                ends = np.cumsum([len(ensemble.rows) for ensemble in live])[:-1]
                for ensemble, points, losses in zip(live, np.split(tried, ends), np.split(loss, ends), strict=True):
                    ensemble.accept(points, losses)
            ctx.emit(Progress("solve", total - len(live), total))
        u = np.empty_like(u0)
        for rows, ensemble in zip(parts, ensembles, strict=True):
            u[rows] = ensemble.u
        return SolverResult(u, Status.CONVERGED, "a sample", samples=True)


class Ensemble:
    """The samples of one target, whose density is exp(-power · loss)."""

    def __init__(self, problem: Problem, rows: NDArray[np.intp], u: FloatArray, loss: FloatArray) -> None:
        self.rows, self.u, self.loss = rows, u.copy(), np.nan_to_num(loss, nan=np.inf)
        self.power = 0.0
        self._rng = problem.rng(rows[0])
        self._free = max(int((problem.upper > problem.lower)[rows].any(axis=0).sum()), 1)
        self._partners = self.u

    def raise_power(self) -> None:
        """Raise the power as far as half of the samples still count, and draw them again by their weights."""
        low, high = self.power, 1.0
        if self._effective(high) < 0.5:
            for _ in range(50):
                middle = (low + high) / 2
                low, high = (low, middle) if self._effective(middle) < 0.5 else (middle, high)
        weights = self._weights(high)
        places = (self._rng.random() + np.arange(len(self.u))) / len(self.u)
        chosen = np.minimum(np.searchsorted(np.cumsum(weights), places), len(self.u) - 1)
        self.u, self.loss, self.power = self.u[chosen], self.loss[chosen], high
        self._partners = self.u.copy()

    def propose(self) -> FloatArray:
        """Return each sample moved by the difference of two others, as they were when the stage began.

        Ter Braak, "A Markov chain Monte Carlo version of the genetic algorithm differential evolution", Stat. Comput.
        16 (2006). So the steps have the shape of the density.
        """
        one, two = self._rng.integers(len(self.u), size=(2, len(self.u)))
        scale = 2.38 / np.sqrt(2 * self._free) * self._rng.choice([1.0, 0.3], size=len(self.u))
        return np.asarray(self.u + scale[:, None] * (self._partners[one] - self._partners[two]))

    def accept(self, tried: FloatArray, loss: FloatArray) -> None:
        """Move where the density is higher, and elsewhere with a probability."""
        better = np.log(self._rng.random(len(loss))) < self.power * (self.loss - np.nan_to_num(loss, nan=np.inf))
        self.u[better], self.loss[better] = tried[better], loss[better]

    def _weights(self, power: float) -> FloatArray:
        weights = np.exp(-(power - self.power) * (self.loss - self.loss.min()))
        return np.asarray(weights / weights.sum())

    def _effective(self, power: float) -> float:
        """Return the share of samples that count, by the variance of their weights."""
        return float(1 / (len(self.u) * np.square(self._weights(power)).sum()))
