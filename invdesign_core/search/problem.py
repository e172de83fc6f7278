"""What a solver sees: independent rows of numbers, and compiled functions to evaluate them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.context import Context
from invdesign_core.errors import StopSolving, plugin_errors
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.feasible_set import FeasibleSet
from invdesign_core.space.rules import AllowedValues, Linear
from invdesign_core.surrogate import backend
from invdesign_core.targets import Goal, Prediction

if TYPE_CHECKING:
    from invdesign_core.search.protocols import Objective
    from invdesign_core.space.space import Space
    from invdesign_core.surrogate.surrogate import Surrogate


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
    """

    u: FloatArray
    status: Any
    message: Any = ""


class LossFunctions:
    """The surrogate and the objective as compiled functions of rows; shared by the problems of one solve.

    Parameters
    ----------
    surrogate : Surrogate
        The forward map.
    objective : Objective
        How far predictions are from a goal.
    space : Space, optional
        The search's, which says what is searched on a logarithmic scale; by default nothing is.
    """

    def __init__(self, surrogate: Surrogate, objective: Objective, space: Space | None = None) -> None:
        self.surrogate, self.objective, self._space = surrogate, objective, space

    def to_x(self, u: FloatArray) -> FloatArray:
        """Return encoded designs of (k, e) solver coordinates."""
        low, width = self._box
        x = low + u * width
        x[..., self._log] = np.exp(x[..., self._log])
        return np.asarray(x)

    def to_u(self, x: FloatArray) -> FloatArray:
        """Return solver coordinates of (k, e) encoded designs."""
        low, width = self._box
        x = np.array(x, dtype=np.float64)
        # Training rows may hold 0 where the search may not: they end far below every bound.
        x[..., self._log] = np.log(np.maximum(x[..., self._log], np.finfo(np.float64).tiny))
        return np.asarray((x - low) / width)

    def relaxed(self, allowed: FeasibleSet) -> FeasibleSet:
        """Return the bounds and linear constraints of designs in u, where discrete columns may take any number.

        No linear constraint is about a column on a logarithmic scale.
        """
        lower, upper = self.to_u(allowed.lower), self.to_u(allowed.upper)
        return FeasibleSet(lower, upper, AllowedValues.all(lower.shape[-1]), allowed.linear.scaled(*self._box))

    def value(self, u: FloatArray, goal: Goal) -> FloatArray:
        """Return the (k,) losses; infinite where the prediction is not finite."""
        if self.surrogate.differentiable:
            loss = self._value(self.to_x(u), *_arrays(goal))
        else:
            loss = self.loss_of(self.surrogate.predict_z(self.to_x(u)), goal)
        return np.where(np.isfinite(loss), loss, np.inf)

    def loss_of(self, z: Prediction, goal: Goal) -> FloatArray:
        """Return the (k,) losses of predictions in z that are there already."""
        spread = () if z.std is None else (z.std,)
        return np.asarray(self._loss(z.mean, *_arrays(goal), *spread), dtype=np.float64)

    def value_and_grad(self, u: FloatArray, goal: Goal) -> tuple[FloatArray, FloatArray]:
        """Return (k,) losses and their (k, e) gradients in u; infinite and 0 where not finite."""
        loss, gradient = self._value_and_grad(self.to_x(u), *_arrays(goal))
        fine = np.isfinite(loss) & np.isfinite(gradient).all(axis=1)
        return np.where(fine, loss, np.inf), np.where(fine[:, None], gradient * self._slope(u), 0.0)

    def residuals_and_jacobian(self, u: FloatArray, goal: Goal) -> tuple[FloatArray, FloatArray]:
        """Return (k, q) residuals and their (k, q, e) Jacobians in u; infinite and 0 where not finite."""
        residuals, jacobian = self._residuals_and_jacobian(self.to_x(u), *_arrays(goal))
        fine = np.isfinite(residuals).all(axis=1) & np.isfinite(jacobian).all(axis=(1, 2))
        return (
            np.where(fine[:, None], residuals, np.inf),
            np.where(fine[:, None, None], jacobian * self._slope(u)[:, None, :], 0.0),
        )

    @property
    def compile_seconds(self) -> float:
        """What compiling these functions has taken so far."""
        return float(sum(getattr(f, "compile_seconds", 0.0) for f in vars(self).values()))

    def _slope(self, u: FloatArray) -> FloatArray:
        """Return the (k, e) derivatives of x by u; where the search moves in logarithms they depend on the point."""
        slope = np.tile(self._box[1], (len(u), 1))
        slope[:, self._log] *= self.to_x(u)[:, self._log]
        return slope

    @cached_property
    def _log(self) -> NDArray[np.intp]:
        """The columns that are searched on a logarithmic scale."""
        return np.zeros(0, dtype=np.intp) if self._space is None else np.flatnonzero(self._space.logarithmic)

    @cached_property
    def _box(self) -> tuple[FloatArray, FloatArray]:
        """What u = 0 stands for, and the length of u's unit: in x, or in its logarithm."""
        low, high = (np.array(side) for side in self.surrogate.box)
        if self._space is not None and len(self._log):
            below = [column for column in self._log if low[column] <= 0]  # the data's range has no logarithm
            low[below], high[below] = (side[below] for side in self._space.bounds)
            low[self._log], high[self._log] = np.log(low[self._log]), np.log(high[self._log])
        return low, np.where(high > low, high - low, 1.0)

    @cached_property
    def _value(self) -> Any:
        return backend.load().value(self._trace_loss, self.surrogate.variables)

    @cached_property
    def _value_and_grad(self) -> Any:
        return backend.load().value_and_grad(self._trace_loss, self.surrogate.variables)

    @cached_property
    def _residuals_and_jacobian(self) -> Any:
        def trace(x: Any, *goal: Any) -> Any:
            z = self.surrogate.trace(x)
            with plugin_errors(self.objective.label):
                return _checked(self.objective.residuals(z, Goal(*goal)), 2)

        return backend.load().residuals_and_jacobian(trace, self.surrogate.variables)

    @cached_property
    def _loss(self) -> Any:
        def loss(mean: Any, lower: Any, upper: Any, weight: Any, std: Any = None) -> Any:
            with plugin_errors(self.objective.label):
                return _checked(self.objective.loss(Prediction(mean, std), Goal(lower, upper, weight)), 1)

        return backend.load().value(loss, [])

    def _trace_loss(self, x: Any, *goal: Any) -> Any:
        z = self.surrogate.trace(x)
        with plugin_errors(self.objective.label):
            return _checked(self.objective.loss(z, Goal(*goal)), 1)


class FeasibleRows:
    """What may be the points of a problem's rows, in u: the same means for every solver.

    In each method, point i belongs to row ``rows[i]``, by default to row i.

    Parameters
    ----------
    forward : LossFunctions
        The way between u and encoded designs, or a plain function in its place.
    allowed : FeasibleSet
        The encoded designs that are allowed.
    lower, upper : ndarray
        (b, e) bounds of each row in u.
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


STEP = 6e-6
"""Step of central differences in float64: about the cube root of its precision."""


class _PlainFunction:
    """A function of u in place of a surrogate and an objective, with derivatives by central differences.

    Parameters
    ----------
    f : callable
        From (k, e) points, and the (k,) targets that they ask for where it is `grouped`, to (k,) losses or
        (k, q) residuals.
    grouped : bool
        Whether it takes the targets.
    """

    def __init__(self, f: Callable[..., Any], grouped: bool) -> None:
        self._f, self._grouped = f, grouped

    def to_x(self, u: FloatArray) -> FloatArray:
        """Return the same points: they are designs."""
        return u

    to_u = to_x

    def relaxed(self, allowed: FeasibleSet) -> FeasibleSet:
        """Return the same bounds and constraints."""
        return allowed

    def value(self, u: FloatArray, groups: Any) -> FloatArray:
        """Return the (k,) losses; infinite where they are not finite."""
        return _losses(self._answer(u, groups))

    def value_and_grad(self, u: FloatArray, groups: Any) -> tuple[FloatArray, FloatArray]:
        """Return (k,) losses and (k, e) gradients."""
        return self._differences(u, groups, lambda answer: _losses(answer)[:, None], squeeze=True)

    def residuals_and_jacobian(self, u: FloatArray, groups: Any) -> tuple[FloatArray, FloatArray]:
        """Return (k, q) residuals and (k, q, e) Jacobians; infinite and 0 where not finite."""
        return self._differences(u, groups, _residuals)

    def _answer(self, u: FloatArray, groups: Any) -> FloatArray:
        answer = np.asarray(self._f(u, groups) if self._grouped else self._f(u), dtype=np.float64)
        if answer.ndim not in (1, 2) or len(answer) != len(u):
            raise ValueError(f"the function returned shape {answer.shape} for {len(u)} points, expected one row each")
        return answer

    def _differences(
        self, u: FloatArray, groups: Any, part: Callable[[FloatArray], FloatArray], squeeze: bool = False
    ) -> tuple[Any, Any]:
        """Return the (k, q) part of the answers and its (k, q, e) derivatives, from one side where a domain ends."""
        k, e = u.shape
        points = u[:, None] + STEP * np.concatenate([np.zeros((1, e)), np.eye(e), -np.eye(e)])
        answers = part(self._answer(points.reshape(-1, e), np.repeat(groups, 1 + 2 * e)))
        answers = answers.reshape(k, 1 + 2 * e, -1).transpose(0, 2, 1)
        here, ahead, behind = answers[:, :, :1], answers[:, :, 1 : e + 1], answers[:, :, e + 1 :]
        with np.errstate(invalid="ignore"):
            slope = (ahead - behind) / (2 * STEP)
            slope = np.where(np.isfinite(ahead), slope, (here - behind) / STEP)
            slope = np.where(np.isfinite(behind), slope, (ahead - here) / STEP)
        slope = np.where(np.isfinite(slope), slope, 0.0)
        return (here[:, 0, 0], slope[:, 0]) if squeeze else (here[:, :, 0], slope)


def _losses(answer: FloatArray) -> FloatArray:
    loss = answer if answer.ndim == 1 else np.mean(answer**2, axis=1)
    return np.where(np.isfinite(loss), loss, np.inf)


def _residuals(answer: FloatArray) -> FloatArray:
    if answer.ndim == 1:
        raise ValueError("the function returns losses, and the solver asks for residuals: return them as (k, q)")
    return np.where(np.isfinite(answer), answer, np.inf)


class _EachItsOwn:
    """Targets of which nothing is known but their numbers."""

    def take(self, numbers: IndexArray) -> IndexArray:
        """Return the numbers."""
        return numbers


def _box(lower: FloatArray, upper: FloatArray, linear: Linear | None = None) -> FeasibleSet:
    """Return all designs inside the (b, e) bounds of any row that satisfy constraints."""
    e = lower.shape[1]
    low, high = lower.min(axis=0, initial=np.inf), upper.max(axis=0, initial=-np.inf)
    return FeasibleSet(low, high, AllowedValues.all(e), linear or Linear.none(e))


@dataclass(frozen=True)
class Bounded:
    """b rows with bounds of their own.

    Attributes
    ----------
    groups : ndarray of int
        (b,) which goal each row asks for.
    lower, upper : ndarray
        (b, e) bounds in u; equal where a variable is fixed.
    first : int
        Number of the first row in the whole of the work, where rows are solved in chunks.
    """

    groups: IndexArray
    lower: FloatArray
    upper: FloatArray
    first: int = 0


class Problem:
    """b independent rows, each asking for its own target inside its own bounds.

    It counts evaluations, remembers the best point of each row, and stops a solver that runs out
    of time, so that solvers need do none of that.

    Parameters
    ----------
    forward : LossFunctions
        The compiled functions, or a plain function in their place.
    goal : Goal
        t goals in z; of a plain function their numbers.
    rows : Bounded
        The rows, their goals and their bounds in u.
    discrete : ndarray of bool
        (e,) whether only some values of a column exist.
    ctx : Context
        Holds the deadline.
    allowed : FeasibleSet, optional
        The encoded designs that are allowed; by default all inside the bounds.

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
        self,
        forward: Any,
        goal: Any,
        rows: Bounded,
        discrete: NDArray[np.bool_],
        ctx: Context,
        allowed: FeasibleSet | None = None,
    ) -> None:
        groups, lower, upper = rows.groups, rows.lower, rows.upper
        self._numbers = rows.first + np.arange(len(lower))
        self._asks = groups
        self._forward, self._goal, self._ctx = forward, goal, ctx
        self.groups, self.lower, self.upper, self.discrete = groups, lower, upper, discrete
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
        forward, discrete = _PlainFunction(f, groups is not None), np.zeros(lower.shape[1], dtype=bool)
        allowed = _box(lower, upper, linear)
        return cls(forward, _EachItsOwn(), Bounded(asks, lower, upper), discrete, ctx or Context(), allowed)

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
        loss: FloatArray = self._forward.value(u, self._goal.take(self._asks[rows]))
        self._note(u, rows, loss)
        return loss

    def value_and_grad(self, u: FloatArray, rows: IndexArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Return the (k,) losses of (k, e) points and their (k, e) gradients."""
        u, rows = self._begin(u, rows)
        loss, gradient = self._forward.value_and_grad(u, self._goal.take(self._asks[rows]))
        self._note(u, rows, loss)
        return loss, gradient

    def residuals_and_jacobian(self, u: FloatArray, rows: IndexArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Return (k, q) residuals, whose mean of squares is the loss, and their (k, q, e) Jacobians."""
        u, rows = self._begin(u, rows)
        residuals, jacobian = self._forward.residuals_and_jacobian(u, self._goal.take(self._asks[rows]))
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


def part_of(problem: Problem, rows: IndexArray, goal: Goal) -> Problem:
    """Return a problem of some of the rows, each with a goal of its own: (k, m) in z."""
    part = Problem(
        problem._forward,
        goal,
        Bounded(problem.groups[rows], problem.lower[rows], problem.upper[rows]),
        problem.discrete,
        problem._ctx,
        allowed=problem._allowed,
    )
    part._asks, part._numbers = np.arange(len(rows)), problem._numbers[rows]
    return part


def _checked(answer: Any, rank: int) -> Any:
    """Hold what an objective returned to its shape: one loss a row, or one row of residuals."""
    shape = getattr(answer, "shape", None)
    if shape is None or len(shape) != rank:
        raise ValueError(f"it returned shape {shape}, expected {'(rows,)' if rank == 1 else '(rows, residuals)'}")
    return answer


def _arrays(goal: Goal) -> tuple[Any, Any, Any]:
    return goal.lower, goal.upper, goal.weight
