"""What a solver is handed and answers: independent rows of numbers, whose evaluations are counted and stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from invdesign_core.context import Context
from invdesign_core.errors import StopSolving
from invdesign_core.search.loss_functions import PlainFunction
from invdesign_core.space.arrays import FloatArray, IndexArray, Mask
from invdesign_core.space.feasible_set import FeasibleSet
from invdesign_core.space.rules import AllowedValues, Linear


class Status(StrEnum):
    """How the search from one start ended, by the solver's own account."""

    CONVERGED = "converged"
    LIMIT = "limit"
    FAILED = "failed"


@dataclass(frozen=True)
class SolverResult:
    """What a solver answers; the core evaluates the points again itself.

    Attributes
    ----------
    u : ndarray
        (b, e) points reached.
    status : Status or sequence of Status
        How each ended: (b,), or one for all.
    message : str or sequence of str, optional
        The same in words: (b,), or one for all.
    samples : bool
        Whether the points are samples of a distribution: they are kept where better ones were evaluated.
    """

    u: FloatArray
    status: Any
    message: Any = ""
    samples: bool = False


class FeasibleRows:
    """What may be the points of a problem's rows, in u: the same means for every solver.

    In each method, point i belongs to row ``rows[i]``, by default to row i.
    """

    def __init__(self, forward: Any, allowed: FeasibleSet, lower: FloatArray, upper: FloatArray) -> None:
        self._forward = forward
        self.relaxed: FeasibleSet = forward.relaxed(allowed).within(lower, upper)
        self.designs = allowed.within(forward.to_x(lower), forward.to_x(upper))

    def violation(self, u: FloatArray, rows: IndexArray | None = None) -> FloatArray:
        """Return by how much (k, e) points are outside of bounds and constraints, summed; 0 up to rounding: (k,)."""
        return self._of(self.designs, rows).violation(self._forward.to_x(u))

    def project(self, u: FloatArray, rows: IndexArray | None = None) -> FloatArray:
        """Return the (k, e) points nearest to others inside the bounds and linear constraints; NaN where none is."""
        return self._of(self.relaxed, rows).project(u)

    def nearest(self, u: FloatArray, rows: IndexArray | None = None) -> FloatArray:
        """Return (k, e) designs near to points: their values exist, and all constraints hold; NaN where none is."""
        return np.asarray(self._forward.to_u(self._of(self.designs, rows).nearest(self._forward.to_x(u))))

    def sample(self, count: int, rng: np.random.Generator, row: int = 0) -> FloatArray:
        """Draw (count, e) points evenly from the bounds and linear constraints of a row; NaN where there is none."""
        return self.relaxed.within(self.relaxed.lower[row], self.relaxed.upper[row]).sample(count, rng)

    @staticmethod
    def _of(part: FeasibleSet, rows: IndexArray | None) -> FeasibleSet:
        return part if rows is None else part.take(rows)


@dataclass(frozen=True)
class Bounded:
    """b rows with (b,) targets, (b, e) bounds in u, equal where a variable is fixed, and numbers in the whole work."""

    groups: IndexArray
    lower: FloatArray
    upper: FloatArray
    numbers: IndexArray | None = None

    def take(self, rows: IndexArray) -> Bounded:
        """Return some of the rows; their numbers stay theirs."""
        numbers = rows if self.numbers is None else self.numbers[rows]
        return Bounded(self.groups[rows], self.lower[rows], self.upper[rows], numbers)


class Problem:
    """b independent rows, each asking for its own target inside its own bounds.

    It counts evaluations, remembers the best point of each row, and stops a solver that runs out
    of time, so that solvers need do none of that.

    Attributes
    ----------
    linear : Linear
        The linear constraints on u, only for solvers that handle ``linear``; without any it has no rows.
    feasible : FeasibleRows
        Moves points to the nearest that satisfy bounds and constraints, draws such points, and says which do.
    evaluations : ndarray of int
        (b,) points evaluated for each row.
    best_u, best_loss : ndarray
        (b, e) and (b,) the best point that was evaluated for each row, and its loss.
    """

    def __init__(
        self, forward: Any, goal: Any, rows: Bounded, discrete: Mask, ctx: Context, allowed: FeasibleSet | None = None
    ) -> None:
        """Take b goals in z, or, of a plain function, b targets; designs that are allowed are encoded."""
        lower, upper = rows.lower, rows.upper
        self._numbers = np.arange(len(lower)) if rows.numbers is None else rows.numbers
        self._forward, self._goal, self._ctx = forward, goal, ctx
        self.groups, self.lower, self.upper, self.discrete = rows.groups, lower, upper, discrete
        self._allowed = allowed or _box(forward.to_x(lower), forward.to_x(upper))
        self.feasible = FeasibleRows(forward, self._allowed, lower, upper)
        self.linear = self.feasible.relaxed.linear
        self.evaluations = np.zeros(len(lower), dtype=np.int64)
        self.best_u = (lower + upper) / 2
        self.best_loss = np.full(len(lower), np.inf)

    @classmethod
    def from_function(
        cls,
        f: Callable[..., Any],
        lower: FloatArray,
        upper: FloatArray,
        groups: IndexArray | None = None,
        linear: Linear | None = None,
        ctx: Context | None = None,
    ) -> Problem:
        """Return the problem of making a plain function small, to try a solver without a surrogate.

        Derivatives are central differences of the function, in float64.

        Parameters
        ----------
        f : callable
            From (k, e) points to (k,) losses, or to (k, q) residuals whose mean of squares is the loss. With `groups`
            it is also given the (k,) targets that the points ask for.
        lower, upper : ndarray
            (b, e) bounds.
        groups : ndarray of int, optional
            (b,) the target of each row; by default all have one.
        linear : Linear, optional
            Constraints on u.
        ctx : Context, optional
            Seed and deadline.

        Examples
        --------
        >>> problem = Problem.from_function(lambda u: u - 0.3, np.zeros((1, 2)), np.ones((1, 2)))
        >>> problem.value(np.array([[0.3, 0.5]])).round(6).tolist()
        [0.02]
        """
        lower, upper = (np.array(side, dtype=np.float64) for side in (lower, upper))
        if lower.ndim != 2 or lower.shape != upper.shape or not (lower <= upper).all():
            raise ValueError(
                f"found bounds of shape {lower.shape} and {upper.shape}, expected (b, e) for both, lower <= upper"
            )
        asks = np.zeros(len(lower), dtype=np.intp) if groups is None else np.asarray(groups, dtype=np.intp)
        if asks.shape != (len(lower),):
            raise ValueError(f"found groups of shape {asks.shape}, expected one for each of {len(lower)} rows")
        forward, discrete = PlainFunction(f, groups is not None), np.zeros(lower.shape[1], dtype=bool)
        allowed = _box(lower, upper, linear)
        return cls(forward, asks, Bounded(asks, lower, upper), discrete, ctx or Context(), allowed)

    @property
    def shape(self) -> tuple[int, int]:
        """(b, e)."""
        return self.lower.shape[0], self.lower.shape[1]

    def rng(self, row: int) -> np.random.Generator:
        """Return a random stream of one row, which is the same whatever rows are solved beside it."""
        return self._ctx.rng("solver", int(self._numbers[row]))

    def value(self, u: FloatArray, rows: IndexArray | None = None) -> FloatArray:
        """Return the (k,) losses of (k, e) points; point i belongs to row ``rows[i]``, by default row i."""
        u, rows = self._begin(u, rows)
        loss: FloatArray = self._forward.value(u, self._goal.take(rows))
        self._note(u, rows, loss)
        return loss

    def value_and_grad(self, u: FloatArray, rows: IndexArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Return the (k,) losses of (k, e) points and their (k, e) gradients."""
        u, rows = self._begin(u, rows)
        loss, gradient = self._forward.value_and_grad(u, self._goal.take(rows))
        self._note(u, rows, loss)
        return loss, gradient

    def residuals_and_jacobian(self, u: FloatArray, rows: IndexArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Return (k, q) residuals, whose mean of squares is the loss, and their (k, q, e) Jacobians."""
        u, rows = self._begin(u, rows)
        residuals, jacobian = self._forward.residuals_and_jacobian(u, self._goal.take(rows))
        self._note(u, rows, np.mean(residuals**2, axis=1))
        return residuals, jacobian

    def _begin(self, u: FloatArray, rows: IndexArray | None) -> tuple[FloatArray, IndexArray]:
        self._ctx.check_stop()
        if self._ctx.out_of_time():
            raise StopSolving
        rows = np.arange(len(u)) if rows is None else np.asarray(rows, dtype=np.intp)
        return np.asarray(u, dtype=np.float64), rows

    def _note(self, u: FloatArray, rows: IndexArray, loss: FloatArray) -> None:
        """Count, and keep the best feasible point of each row; a row may occur several times."""
        alone = bool((rows[1:] > rows[:-1]).all())
        if alone:
            self.evaluations[rows] += 1
        else:
            np.add.at(self.evaluations, rows, 1)
        inside = ((u >= self.lower[rows]) & (u <= self.upper[rows])).all(axis=1)
        if self._allowed.constrained:
            inside &= self.feasible.violation(u, rows) == 0
        better = np.flatnonzero(inside & (loss < self.best_loss[rows]))
        if not len(better):
            return
        # Where a row occurs several times the smallest is written last.
        order = better if alone else better[np.argsort(-loss[better], kind="stable")]
        self.best_loss[rows[order]] = loss[order]
        self.best_u[rows[order]] = u[order]


def _box(lower: FloatArray, upper: FloatArray, linear: Linear | None = None) -> FeasibleSet:
    """Return all designs inside the (b, e) bounds of any row that satisfy constraints."""
    e = lower.shape[1]
    low, high = lower.min(axis=0, initial=np.inf), upper.max(axis=0, initial=-np.inf)
    return FeasibleSet(low, high, AllowedValues.all(e), linear or Linear.none(e))
