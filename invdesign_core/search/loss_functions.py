"""The functions of points that a search evaluates: a surrogate and an objective compiled, or a plain function."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from invdesign_core.errors import plugin_errors
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.feasible_set import FeasibleSet
from invdesign_core.space.rules import AllowedValues
from invdesign_core.surrogate import backend
from invdesign_core.targets import Goal, Prediction, Tensor

if TYPE_CHECKING:
    from invdesign_core.space.space import Space
    from invdesign_core.surrogate.surrogate import Surrogate

ROWS_AT_ONCE = 4096
"""Rows that backends take at once; a surrogate may ask for fewer."""
STEP = 6e-6
"""Step of central differences in float64: about the cube root of its precision."""


class Objective(Protocol):
    """What a search needs of an objective, whoever brings it."""

    @property
    def label(self) -> str:
        """The kind and the name, for messages."""

    def loss(self, z: Prediction, goal: Goal) -> Tensor:
        """Return (r,) losses."""

    def residuals(self, z: Prediction, goal: Goal) -> Tensor:
        """Return (r, q) residuals."""


def compile_seconds_of(surrogate: Any) -> float:
    """Return what compiling the answers of a surrogate has taken so far; what stands for one may not know."""
    return float(getattr(surrogate, "compile_seconds", 0.0))


class LossFunctions:
    """The surrogate and the objective as compiled functions of rows; shared by the problems of one solve.

    The space says what is searched on a logarithmic scale; without one nothing is.
    """

    def __init__(self, surrogate: Surrogate, objective: Objective, space: Space | None = None) -> None:
        self.surrogate, self.objective, self._space = surrogate, objective, space
        self._compiled_before: dict[str, float] = {}
        self._surrogate_before = compile_seconds_of(surrogate)

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
            loss = self._value(self.to_x(u), goal.lower, goal.upper, goal.weight)
        else:
            loss = self.loss_of(self.surrogate.predict_z(self.to_x(u)), goal)
        return np.where(np.isfinite(loss), loss, np.inf)

    def loss_of(self, z: Prediction, goal: Goal) -> FloatArray:
        """Return the (k,) losses of predictions in z that are there already."""
        spread = () if z.std is None else (z.std,)
        return np.asarray(self._loss(z.mean, goal.lower, goal.upper, goal.weight, *spread), dtype=np.float64)

    def losses_of_all(self, z: Prediction, goal: Goal) -> FloatArray:
        """Return the (t, n) losses of n predictions in z for each of t goals."""
        n, t = len(z.mean), len(goal.lower)
        if t > 1 and self._pairs is not None:
            spread = () if z.std is None else (z.std,)
            return np.asarray(self._pairs((z.mean, *spread), (goal.lower, goal.upper, goal.weight)))
        tiled = Prediction(np.tile(z.mean, (t, 1)), None if z.std is None else np.tile(z.std, (t, 1)))
        return self.loss_of(tiled, goal.take(np.repeat(np.arange(t), n))).reshape(t, n)

    def value_and_grad(self, u: FloatArray, goal: Goal) -> tuple[FloatArray, FloatArray]:
        """Return (k,) losses and their (k, e) gradients in u; infinite and 0 where not finite."""
        loss, gradient = self._value_and_grad(self.to_x(u), goal.lower, goal.upper, goal.weight)
        fine = np.isfinite(loss) & np.isfinite(gradient).all(axis=1)
        return np.where(fine, loss, np.inf), np.where(fine[:, None], gradient * self._slope(u), 0.0)

    def residuals_and_jacobian(self, u: FloatArray, goal: Goal) -> tuple[FloatArray, FloatArray]:
        """Return (k, q) residuals and their (k, q, e) Jacobians in u; infinite and 0 where not finite."""
        residuals, jacobian = self._residuals_and_jacobian(self.to_x(u), goal.lower, goal.upper, goal.weight)
        fine = np.isfinite(residuals).all(axis=1) & np.isfinite(jacobian).all(axis=(1, 2))
        return (
            np.where(fine[:, None], residuals, np.inf),
            np.where(fine[:, None, None], jacobian * self._slope(u)[:, None, :], 0.0),
        )

    @property
    def compile_seconds(self) -> float:
        """What compiling these functions has taken so far, but for what was compiled for an earlier solve."""
        own = sum(vars(self)[name].compile_seconds - was for name, was in self._compiled_before.items())
        return float(own + compile_seconds_of(self.surrogate) - self._surrogate_before)

    def _slope(self, u: FloatArray) -> FloatArray:
        """Return the (k, e) derivatives of x by u; where the search moves in logarithms they depend on the point."""
        slope = np.tile(self._box[1], (len(u), 1))
        slope[:, self._log] *= self.to_x(u)[:, self._log]
        return slope

    @cached_property
    def _log(self) -> IndexArray:
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
        return self._program(
            "_value", lambda: self._in_pieces(backend.load().value(self._trace_loss, self.surrogate.variables))
        )

    @cached_property
    def _value_and_grad(self) -> Any:
        return self._program(
            "_value_and_grad",
            lambda: self._in_pieces(backend.load().value_and_grad(self._trace_loss, self.surrogate.variables)),
        )

    @cached_property
    def _residuals_and_jacobian(self) -> Any:
        def trace(x: Any, *goal: Any) -> Any:
            return self._asked("residuals", self.surrogate.trace(x), self._goal(*goal))

        return self._program(
            "_residuals_and_jacobian",
            lambda: self._in_pieces(backend.load().residuals_and_jacobian(trace, self.surrogate.variables)),
        )

    @cached_property
    def _loss(self) -> Any:
        def loss(mean: Any, lower: Any, upper: Any, weight: Any, std: Any = None) -> Any:
            return self._asked("loss", Prediction(mean, std), self._goal(lower, upper, weight))

        return self._program("_loss", lambda: backend.load().value(loss, []))

    @cached_property
    def _pairs(self) -> Any:
        """The loss for all pairs of predictions and goals, where the backend has such programs."""
        kind = backend.load().Pairs
        if kind is None:
            return None

        def loss(mean: Any, *rest: Any) -> Any:
            *std, lower, upper, weight = rest
            return self._asked("loss", Prediction(mean, *std), self._goal(lower, upper, weight))

        return self._program("_pairs", lambda: kind(loss))

    def _program(self, name: str, compiled: Callable[[], Any]) -> Any:
        """Return a compiled function, which the surrogate keeps for the next solve with this objective.

        What stands for a surrogate, where an objective is tried before there is one, keeps nothing.
        """
        kept = getattr(self.surrogate, "compiled_for", None)
        program = compiled() if kept is None else kept(name, self.objective, compiled)
        self._compiled_before[name] = program.compile_seconds
        return program

    def _in_pieces(self, compiled: Any) -> Any:
        """Return a compiled function that is given no more rows than the surrogate takes at once."""
        most = self.surrogate.rows_at_once
        return compiled if most >= ROWS_AT_ONCE else InPieces(compiled, most)

    def _trace_loss(self, x: Any, *goal: Any) -> Any:
        return self._asked("loss", self.surrogate.trace(x), self._goal(*goal))

    def _goal(self, lower: Any, upper: Any, weight: Any) -> Goal:
        """Return a goal as objectives see it: it knows what the outputs are called."""
        return Goal(lower, upper, weight, tuple(self.surrogate.outputs))

    def _asked(self, what: str, z: Prediction, goal: Goal) -> Any:
        """Return the objective's ``loss`` or ``residuals``, of the shape that they must have."""
        rank, expected = (1, "(rows,)") if what == "loss" else (2, "(rows, residuals)")
        with plugin_errors(self.objective.label, code=[self.objective]):
            answer = getattr(self.objective, what)(z, goal)
            shape = getattr(answer, "shape", None)
            if shape is None or len(shape) != rank:
                raise ValueError(f"it returned shape {shape}, expected {expected}")
            return answer


class InPieces:
    """A compiled function of rows that gets some of them at a time, because each takes much memory."""

    def __init__(self, compiled: Any, most: int) -> None:
        self._compiled, self._most = compiled, most

    @property
    def compile_seconds(self) -> float:
        """What compiling it has taken so far."""
        return float(self._compiled.compile_seconds)

    def __call__(self, *args: Any) -> Any:
        """Evaluate at any number of rows."""
        pieces = [
            self._compiled(*(a[at : at + self._most] for a in args))
            for at in range(0, max(len(args[0]), 1), self._most)
        ]
        if isinstance(pieces[0], tuple):
            return tuple(np.concatenate(part) for part in zip(*pieces, strict=True))
        return np.concatenate(pieces)


class PlainFunction:
    """A function of u in place of a surrogate and an objective, with derivatives by central differences.

    It takes (k, e) points, and where `grouped` their (k,) targets, and returns (k,) losses or (k, q) residuals.
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

    def value(self, u: FloatArray, groups: IndexArray) -> FloatArray:
        """Return the (k,) losses; infinite where they are not finite."""
        return self._losses(self._answer(u, groups))[:, 0]

    def value_and_grad(self, u: FloatArray, groups: IndexArray) -> tuple[FloatArray, FloatArray]:
        """Return (k,) losses and (k, e) gradients."""
        loss, gradient = self._differences(u, groups, self._losses)
        return loss[:, 0], gradient[:, 0]

    def residuals_and_jacobian(self, u: FloatArray, groups: IndexArray) -> tuple[FloatArray, FloatArray]:
        """Return (k, q) residuals and (k, q, e) Jacobians; infinite and 0 where not finite."""
        return self._differences(u, groups, self._residuals)

    def _answer(self, u: FloatArray, groups: IndexArray) -> FloatArray:
        answer = np.asarray(self._f(u, groups) if self._grouped else self._f(u), dtype=np.float64)
        if answer.ndim not in (1, 2) or len(answer) != len(u):
            raise ValueError(f"the function returned shape {answer.shape} for {len(u)} points, expected one row each")
        return answer

    def _differences(
        self, u: FloatArray, groups: IndexArray, part: Callable[[FloatArray], FloatArray]
    ) -> tuple[FloatArray, FloatArray]:
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
        return here[:, :, 0], np.where(np.isfinite(slope), slope, 0.0)

    @staticmethod
    def _losses(answer: FloatArray) -> FloatArray:
        loss = answer if answer.ndim == 1 else np.mean(answer**2, axis=1)
        return np.where(np.isfinite(loss), loss, np.inf)[:, None]

    @staticmethod
    def _residuals(answer: FloatArray) -> FloatArray:
        if answer.ndim == 1:
            raise ValueError("the function returns losses, and the solver asks for residuals: return them as (k, q)")
        return np.where(np.isfinite(answer), answer, np.inf)
