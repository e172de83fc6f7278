"""Multi-start L-BFGS-B."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from invdesign_core.plugin import Context, Event, FloatArray, Problem, Solver, SolverResult, Status

STEPS = {"2-point": 3.5e-4, "3-point": 5e-3}
"""Steps of finite differences in u: square and cube root of float32's precision, which networks compute in."""


class LBFGSB(Solver):
    """Limited-memory quasi-Newton with bounds, from each start (SciPy's L-BFGS-B).

    Byrd, Lu, Nocedal and Zhu, "A limited memory algorithm for bound constrained optimization", SIAM J.
    Sci. Comput. 16 (1995). Gradients are exact by default; finite differences take steps that a
    float32 network can resolve.
    """

    name: ClassVar[str] = "lbfgsb"
    needs: ClassVar[frozenset[str]] = frozenset({"gradient"})
    rank: ClassVar[int] = 20

    gradient: Literal["exact", "3-point", "2-point"] = Field(
        "exact", description="Exact gradients, or central or forward differences."
    )
    max_iterations: int = Field(200, ge=1, description="Iterations from one start.")
    ftol: float = Field(1e-12, ge=0, description="Stop when the loss falls by less than this share of itself.")
    gtol: float = Field(1e-6, ge=0, description="Stop when no projected gradient component is larger.")

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Run SciPy's `minimize` from each start in turn."""
        from scipy.optimize import Bounds, minimize

        u, status, message = u0.copy(), [], []
        options = {"maxiter": self.max_iterations, "ftol": self.ftol, "gtol": self.gtol}
        for row in range(len(u0)):  # SciPy's optimiser holds the state of one start
            bounds = Bounds(problem.lower[row], problem.upper[row])
            result = minimize(
                self._function(problem, row),
                u0[row],
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options=options,
            )
            u[row] = result.x
            status.append(Status.CONVERGED if result.success else Status.LIMIT if result.status == 1 else Status.FAILED)
            message.append(str(result.message))
            ctx.emit(Event("progress", {"stage": "solve", "done": row + 1, "total": len(u0)}))
        return SolverResult(u, status, message)

    def _function(self, problem: Problem, row: int) -> Any:
        """Return a function from (e,) to the loss and its gradient."""
        if self.gradient == "exact":

            def exact(u: FloatArray) -> tuple[float, FloatArray]:
                value, gradient = problem.value_and_grad(u[None], np.array([row]))
                return float(value[0]), gradient[0]

            return exact
        lower, upper = problem.lower[row], problem.upper[row]

        def differences(u: FloatArray) -> tuple[float, FloatArray]:
            points, spans = stencil(u, lower, upper, self.gradient)
            values = problem.value(points, np.full(len(points), row))
            value, forward, backward = values[0], values[1 : len(u) + 1], values[len(u) + 1 :]
            with np.errstate(invalid="ignore"):
                rise = forward - (backward if len(backward) else value)
            gradient = np.where((spans != 0) & np.isfinite(rise), rise / np.where(spans != 0, spans, 1.0), 0.0)
            return float(value), gradient

        return differences


def stencil(
    u: FloatArray, lower: FloatArray, upper: FloatArray, gradient: Literal["exact", "3-point", "2-point"]
) -> tuple[FloatArray, FloatArray]:
    """Return the points of a finite difference inside the bounds, and the (e,) distances they span.

    The first point is `u` itself, then follow e points forward and, for central differences, e points
    backward. At a bound a central difference is shortened on that side; a fixed variable spans 0.

    Examples
    --------
    >>> points, spans = stencil(np.array([0.0]), np.array([0.0]), np.array([1.0]), "2-point")
    >>> points.ravel().tolist(), spans.tolist()
    ([0.0, 0.00035], [0.00035])
    """
    step = np.minimum(STEPS[gradient], upper - lower)
    if gradient == "2-point":
        end = np.where(u + step <= upper, u + step, np.maximum(u - step, lower))
        points = np.concatenate([u[None], np.where(np.eye(len(u), dtype=bool), end, u)])
        return points, end - u
    ahead, behind = np.minimum(u + step, upper), np.maximum(u - step, lower)
    eye = np.eye(len(u), dtype=bool)
    points = np.concatenate([u[None], np.where(eye, ahead, u), np.where(eye, behind, u)])
    return points, ahead - behind
