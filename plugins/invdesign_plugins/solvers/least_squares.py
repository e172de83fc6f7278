"""Batched Levenberg–Marquardt inside bounds, for objectives that are a mean of squares."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from invdesign_core.plugin import Context, Event, FloatArray, Problem, Solver, SolverResult, Status
from invdesign_plugins.solvers.quadratic import Polytope

DAMPING = 1e-3
"""First damping, as a share of the largest curvature."""
DAMPING_LIMIT = 1e12
"""Damping, as a share of the largest curvature, at which a step is too short to change anything."""
WINDOW, PROGRESS = 8, 1e-3
"""A row whose loss fell by less than this share over so many rounds creeps along a kink of the network."""
NOISE = 1e-12
"""A loss below this is the rounding of float32, not a miss."""
LEAST_CURVATURE = 1e-10
"""Under linear constraints the least damping, as a share of the largest curvature: rounding shall decide no step."""


class LeastSquares(Solver):
    """Levenberg–Marquardt with bounds, for all starts and targets at once.

    Each round costs one compiled call for the residuals and Jacobians of all live rows, and one
    batched linear solve; rows that are done leave the batch. Variables held by a bound leave the
    linear model (the projection of Bertsekas, "Projected Newton methods for optimization problems with
    simple constraints", SIAM J. Control Optim. 20, 1982), the step is projected onto the bounds
    (Kanzow, Yamashita and Fukushima, "Levenberg–Marquardt methods with strong local convergence
    properties for solving nonlinear equations with convex constraints", J. Comput. Appl. Math. 172,
    2004), and the damping follows the gain ratio (Nielsen, "Damping parameter in Marquardt's method",
    IMM-REP-1999-05). Where there are linear constraints, a step minimises the same damped model inside
    the polytope instead.
    """

    name: ClassVar[str] = "least-squares"
    needs: ClassVar[frozenset[str]] = frozenset({"gradient", "residuals"})
    handles: ClassVar[frozenset[str]] = frozenset({"linear"})
    rank: ClassVar[int] = 10

    max_iterations: int = Field(60, ge=1, description="Rounds at most.")
    gtol: float = Field(1e-6, ge=0, description="Stop when no projected gradient component is larger.")
    xtol: float = Field(1e-7, ge=0, description="Stop when a step is shorter than this share of the box.")
    ftol: float = Field(1e-8, ge=0, description="Stop when a step lowers the loss by less than this share of it.")

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Improve all rows round by round."""
        b = len(u0)
        u = np.clip(u0, problem.lower, problem.upper)
        polytope = Polytope(problem.lower, problem.upper, problem.linear) if len(problem.linear) else None
        residual, jacobian = problem.residuals_and_jacobian(u, np.arange(b))
        loss = np.mean(residual**2, axis=1)
        status = np.full(b, Status.LIMIT, dtype=object)
        message = np.full(b, f"{self.max_iterations} rounds were taken", dtype=object)
        damping, growth = np.full(b, np.nan), np.full(b, 2.0)
        live = np.arange(b)

        def finish(rows: NDArray[np.intp], how: Status, why: str) -> None:
            status[rows], message[rows] = how, why

        lost = ~np.isfinite(loss)
        finish(live[lost], Status.FAILED, "the prediction at the start is not finite")
        live = live[~lost]
        past = loss.copy()
        for number in range(self.max_iterations):
            if number % WINDOW == 0 and number:
                creeps = loss[live] > (1 - PROGRESS) * past[live]
                finish(live[creeps], Status.CONVERGED, "the loss hardly falls any more")
                live, past = live[~creeps], loss.copy()
            if not len(live):
                break
            gradient = np.einsum("rqe,rq->re", jacobian[live], residual[live])
            low, high = problem.lower[live], problem.upper[live]
            free = ~(((u[live] <= low) & (gradient >= 0)) | ((u[live] >= high) & (gradient <= 0)))
            if polytope is not None:  # where constraints meet bounds, the step itself finds which of them hold
                free = high > low
            slope = np.abs(np.where(free, gradient, 0.0)).max(axis=1) * 2 / residual.shape[1]
            done = (slope <= self.gtol) | (loss[live] <= NOISE)
            finish(live[done], Status.CONVERGED, "the projected gradient is small")
            live, gradient, free = live[~done], gradient[~done], free[~done]
            if not len(live):
                break
            masked = jacobian[live] * free[:, None, :]
            largest = np.einsum("rqe,rqe->re", masked, masked).max(axis=1)
            damping[live] = np.where(np.isnan(damping[live]), DAMPING * largest, damping[live])
            if polytope is None:
                step = _step(masked, gradient * free, residual[live], damping[live])
                tried = np.clip(u[live] + step, problem.lower[live], problem.upper[live])
            else:
                tried = _constrained(polytope, live, u[live], masked, gradient, damping[live])
            step = tried - u[live]
            short = np.abs(step).max(axis=1) <= self.xtol
            expected = _expected(residual[live], jacobian[live], step)
            new_residual, new_jacobian = problem.residuals_and_jacobian(tried, live)
            new_loss = np.mean(new_residual**2, axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                gain = np.where(np.isfinite(new_loss), (loss[live] - new_loss) / np.maximum(expected, 1e-300), -1.0)
            better = new_loss < loss[live]
            small = better & (loss[live] - new_loss <= self.ftol * loss[live])
            rows = live[better]
            u[rows], loss[rows] = tried[better], new_loss[better]
            residual[rows], jacobian[rows] = new_residual[better], new_jacobian[better]
            shrink = np.maximum(1 / 3, 1 - (2 * gain[better] - 1) ** 3)
            damping[rows] *= shrink
            growth[rows] = 2.0
            rows = live[~better]
            damping[rows] = np.maximum(damping[rows], 1e-12 * largest[~better]) * growth[rows]
            growth[rows] *= 2
            finish(live[short], Status.CONVERGED, "the step is short")
            finish(live[small], Status.CONVERGED, "the loss hardly falls any more")
            stuck = ~better & (damping[live] > DAMPING_LIMIT * np.maximum(largest, 1e-300))
            finish(live[stuck], Status.CONVERGED, "no step lowers the loss")
            live = live[~(short | small | stuck)]
            ctx.emit(Event("progress", {"stage": "solve", "done": b - len(live), "total": b}))
        return SolverResult(u, status, message)


def _step(jacobian: FloatArray, gradient: FloatArray, residual: FloatArray, damping: FloatArray) -> FloatArray:
    """Return the (k, e) steps that minimise |r + J s|² + damping |s|², solved on the shorter side of J."""
    q, e = jacobian.shape[1:]
    floor = np.maximum(damping, 1e-30)[:, None, None]
    if e <= q:
        normal = np.einsum("rqi,rqj->rij", jacobian, jacobian) + floor * np.eye(e)
        return np.asarray(-np.linalg.solve(normal, gradient[:, :, None])[:, :, 0])
    gram = np.einsum("rie,rje->rij", jacobian, jacobian) + floor * np.eye(q)
    multiplier = np.linalg.solve(gram, residual[:, :, None])[:, :, 0]
    return np.asarray(-np.einsum("rqe,rq->re", jacobian, multiplier))


def _constrained(
    polytope: Polytope,
    rows: NDArray[np.intp],
    u: FloatArray,
    jacobian: FloatArray,
    gradient: FloatArray,
    damping: FloatArray,
) -> FloatArray:
    """Return the (k, e) points u + s of the polytope that minimise |r + J s|² + damping |s|²."""
    normal = np.einsum("rqi,rqj->rij", jacobian, jacobian)
    largest = np.einsum("rii->ri", normal).max(axis=1)
    damping = np.maximum(damping, np.maximum(LEAST_CURVATURE * largest, 1e-30))
    return polytope.minimise(normal + damping[:, None, None] * np.eye(u.shape[1]), gradient, u, rows)


def _expected(residual: FloatArray, jacobian: FloatArray, step: FloatArray) -> FloatArray:
    """Return the (k,) fall of the loss that the linear model promises."""
    model = residual + np.einsum("rqe,re->rq", jacobian, step)
    return np.asarray(np.mean(residual**2, axis=1) - np.mean(model**2, axis=1))
