"""Batched Levenberg–Marquardt inside bounds, for objectives that are a mean of squares."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from invdesign_core.plugin import Context, FloatArray, Polytope, Problem, Progress, Solver, SolverResult, Status

DAMPING = 1e-3
"""First damping, as a share of the largest curvature."""
DAMPING_LIMIT = 1e12
"""Damping, as a share of the largest curvature, at which a step is too short to change anything."""
WINDOW, PROGRESS = 8, 1e-3
"""A row whose loss fell by less than this share over so many rounds creeps along a kink of the network; it is looked
for every half of them."""
NOISE = 1e-12
"""A loss below this is the rounding of float32, not a miss."""
LEAST_CURVATURE = 1e-10
"""The least damping under linear constraints, as a share of the largest curvature, so that rounding decides no step."""


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
    in_threads: ClassVar[bool] = True

    max_iterations: int = Field(60, ge=1, description="Rounds at most.")
    gtol: float = Field(1e-6, ge=0, description="Stop when no projected gradient component is larger.")
    xtol: float = Field(1e-7, ge=0, description="Stop when a step is shorter than this share of the box.")
    ftol: float = Field(1e-8, ge=0, description="Stop when a step lowers the loss by less than this share of it.")

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Improve all rows round by round."""
        b = len(u0)
        reached = np.clip(u0, problem.lower, problem.upper)
        polytope = Polytope(problem.lower, problem.upper, problem.linear) if len(problem.linear) else None
        status = np.full(b, Status.LIMIT, dtype=object)
        message = np.full(b, f"reached max_iterations = {self.max_iterations}", dtype=object)
        # What follows holds the live rows only; rows that end are written to `reached`, `status` and `message`.
        rows, u, low, high = np.arange(b), reached.copy(), problem.lower, problem.upper
        residual, jacobian = problem.residuals_and_jacobian(u, rows)
        loss = np.mean(residual**2, axis=1)
        past, recent, growth = loss, loss, np.full(b, 2.0)
        ended = np.where(np.isfinite(loss), LIVE, LOST)
        damping: FloatArray | None = None
        for number in range(self.max_iterations + 1):
            gradient, free = _projected(u, low, high, residual, jacobian, polytope is not None)
            slope = np.abs(gradient).max(axis=1) * 2 / residual.shape[1]
            ended[(ended == LIVE) & ((slope <= self.gtol) | (loss <= NOISE))] = FLAT
            if number % (WINDOW // 2) == 0:
                if number >= WINDOW:
                    ended[(ended == LIVE) & (loss > (1 - PROGRESS) * past)] = SLOW
                past, recent = recent, loss
            stay = ended == LIVE
            if not stay.all():
                gone = rows[~stay]
                reached[gone], message[gone] = u[~stay], WHY[ended[~stay]]
                status[gone] = np.where(ended[~stay] == LOST, Status.FAILED, Status.CONVERGED)
                rows, u, low, high, residual, jacobian, loss, past, recent, growth, ended, gradient, free = (
                    values[stay]
                    for values in (
                        rows, u, low, high, residual, jacobian, loss, past, recent, growth, ended, gradient, free,
                    )
                )  # fmt: skip
                damping = damping if damping is None else damping[stay]
                ctx.emit(Progress("solve", b - len(rows), b))
            if not len(rows) or number == self.max_iterations:
                break
            masked = jacobian * free[:, None, :]
            largest = np.einsum("rqe,rqe->re", masked, masked).max(axis=1)
            damping = DAMPING * largest if damping is None else damping
            if polytope is None:
                tried = np.clip(u + _step(masked, gradient, residual, damping), low, high)
            else:
                tried = _constrained(polytope, rows, u, masked, gradient, damping)
            step = tried - u
            model = residual + np.einsum("rqe,re->rq", jacobian, step)
            expected = np.mean(residual**2, axis=1) - np.mean(model**2, axis=1)
            new_residual, new_jacobian = problem.residuals_and_jacobian(tried, rows)
            new_loss = np.mean(new_residual**2, axis=1)
            better = new_loss < loss
            fall = np.where(better, loss - new_loss, 0.0)
            gain = np.minimum(fall / np.maximum(expected, 1e-300), 1.0)
            damping = np.where(
                better,
                damping * np.maximum(1 / 3, 1 - (2 * gain - 1) ** 3),
                np.maximum(damping, 1e-12 * largest) * growth,
            )
            growth = np.where(better, 2.0, 2 * growth)
            ended[~better & (damping > DAMPING_LIMIT * np.maximum(largest, 1e-300))] = STUCK
            ended[better & (fall <= self.ftol * loss)] = SLOW
            ended[np.abs(step).max(axis=1) <= self.xtol] = SHORT
            u = np.where(better[:, None], tried, u)
            loss = np.where(better, new_loss, loss)
            residual = np.where(better[:, None], new_residual, residual)
            jacobian = np.where(better[:, None, None], new_jacobian, jacobian)
        reached[rows] = u
        return SolverResult(reached, status, message)


LIVE, FLAT, SLOW, SHORT, STUCK, LOST = range(6)
WHY = np.array(
    [
        "",
        "the projected gradient is small",
        "the loss hardly falls any more",
        "the step is short",
        "no step lowers the loss",
        "the prediction at the start is not finite",
    ],
    dtype=object,
)
"""Why a row ended."""


def _projected(
    u: FloatArray, low: FloatArray, high: FloatArray, residual: FloatArray, jacobian: FloatArray, constrained: bool
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the (k, e) gradients of half the summed squares, 0 where a bound holds a variable, and what is free.

    Where constraints meet bounds, the step itself finds which of them hold; then only fixed variables aren't free.
    """
    with np.errstate(invalid="ignore"):
        gradient = np.einsum("rqe,rq->re", jacobian, residual)
    free = high > low if constrained else ~(((u <= low) & (gradient >= 0)) | ((u >= high) & (gradient <= 0)))
    return np.where(free, gradient, 0.0), free


def _step(jacobian: FloatArray, gradient: FloatArray, residual: FloatArray, damping: FloatArray) -> FloatArray:
    """Return the (k, e) steps that minimise |r + J s|² + damping |s|², solved on the shorter side of J."""
    q, e = jacobian.shape[1:]
    floor = np.maximum(damping, 1e-30)[:, None, None]
    if q == 1:  # one output: no system to solve
        return np.asarray(-jacobian[:, 0] * (residual / (np.square(jacobian).sum(axis=2) + floor[:, :, 0])))
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
