"""Multi-start L-BFGS-B, all starts in lock-step."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from invdesign_core.plugin import Context, FloatArray, Problem, Progress, SolverResult, Status
from invdesign_plugins.solvers.scipy_starts import Function, ScipySolver, Starts, minimize_each

STEPS = {"2-point": 3.5e-4, "3-point": 5e-3}
"""Steps of finite differences in u: square and cube root of the precision of float32, in which networks compute."""
CORRECTIONS = 10
"""Corrections that the approximate Hessian is made of: SciPy's default."""
LINE_SEARCH = 20
"""Evaluations of one line search: SciPy's default."""
NEW_ITERATION, EVALUATE, CONVERGENCE, STOP, STOP_ITERATIONS = 1, 3, 4, 5, 504
"""What `setulb` asks for or reports in ``task[0]``, and the reason to stop in ``task[1]``."""


class LBFGSB(ScipySolver):
    """Limited-memory quasi-Newton with bounds, from each start (SciPy's L-BFGS-B).

    Byrd, Lu, Nocedal and Zhu, "A limited memory algorithm for bound constrained optimization", SIAM J.
    Sci. Comput. 16 (1995). Every start has an optimiser of its own, and all of them ask for their next
    evaluation together, so that a round costs one call of the network. Gradients are exact by
    default; finite differences take steps that a float32 network can resolve.
    """

    name: ClassVar[str] = "lbfgsb"
    needs: ClassVar[frozenset[str]] = frozenset({"gradient"})
    rank: ClassVar[int] = 20

    gradient: Literal["exact", "3-point", "2-point"] = Field(
        "exact", description="Exact gradients, or finite differences: central (`3-point`) or forward (`2-point`)."
    )
    max_iterations: int = Field(200, ge=1, description="Iterations from one start.")
    ftol: float = Field(1e-12, ge=0, description="Stop when the loss falls by less than this share of itself.")
    gtol: float = Field(1e-6, ge=0, description="Stop when no projected gradient component is larger.")

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Run L-BFGS-B from every start."""
        return self.run(Starts(self._function(problem), u0, problem.lower, problem.upper, problem.linear, ctx))

    def _function(self, problem: Problem) -> Function:
        if self.gradient == "exact":
            return problem.value_and_grad

        def differences(u: FloatArray, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
            points, spans = stencil(u, problem.lower[rows], problem.upper[rows], self.gradient)
            k, count, e = points.shape
            values = problem.value(points.reshape(k * count, e), np.repeat(rows, count)).reshape(k, count)
            value, ahead, behind = values[:, :1], values[:, 1 : e + 1], values[:, e + 1 :]
            with np.errstate(invalid="ignore"):
                rise = ahead - (behind if behind.shape[1] else value)
            gradient = np.where((spans != 0) & np.isfinite(rise), rise / np.where(spans != 0, spans, 1.0), 0.0)
            return value[:, 0], gradient

        return differences

    def one_after_another(self, starts: Starts) -> SolverResult:
        """Run `minimize` from each start in turn."""
        return minimize_each(starts, "L-BFGS-B", {"maxiter": self.max_iterations, "ftol": self.ftol, "gtol": self.gtol})

    def lock_step(self, starts: Starts) -> SolverResult:
        """Drive ``_lbfgsb.setulb`` as SciPy's `minimize` does: the same states, tests and messages for each start."""
        from scipy.optimize import _lbfgsb_py as scipy_lbfgsb

        setulb = scipy_lbfgsb._lbfgsb.setulb
        b, n = starts.u0.shape
        m = CORRECTIONS
        low, high, kind = starts.lower.copy(), starts.upper.copy(), np.full(n, 2, dtype=np.int32)
        x, f, g = np.clip(starts.u0, low, high), np.zeros(b), np.zeros((b, n))
        work = np.zeros((b, 2 * m * n + 5 * n + 11 * m * m + 8 * m))
        iwork, task, line_task = (np.zeros((b, width), dtype=np.int32) for width in (3 * n, 2, 2))
        lsave, isave, dsave = np.zeros((b, 4), np.int32), np.zeros((b, 44), np.int32), np.zeros((b, 29))
        factor, memory = self.ftol / np.finfo(float).eps, (work, iwork, task, lsave, isave, dsave)
        calls = []
        for row in range(b):  # views of each start's own memory, taken once: a call of setulb costs a few microseconds
            at = m, x[row], low[row], high[row], kind, f[row : row + 1].reshape(()), g[row], factor, self.gtol
            calls.append((*at, *(part[row] for part in memory), LINE_SEARCH, line_task[row]))
        iterations = np.zeros(b, dtype=int)
        live = np.arange(b)
        while len(live):
            for i in live:  # the optimisers' states are separate, and small
                setulb(*calls[i])
                while task[i, 0] == NEW_ITERATION:
                    iterations[i] += 1
                    if iterations[i] >= self.max_iterations:
                        task[i] = STOP, STOP_ITERATIONS
                    setulb(*calls[i])
            live = live[task[live, 0] == EVALUATE]
            if len(live):
                f[live], g[live] = starts.function(x[live], live)
            starts.ctx.emit(Progress("solve", b - len(live), b))
        ended = np.where(iterations >= self.max_iterations, Status.LIMIT, Status.FAILED)
        status = np.where(task[:, 0] == CONVERGENCE, Status.CONVERGED, ended)
        state, why = scipy_lbfgsb.status_messages, scipy_lbfgsb.task_messages
        return SolverResult(x, status, [f"{state[a]}: {why[c]}" for a, c in task.tolist()])


def stencil(
    u: FloatArray, lower: FloatArray, upper: FloatArray, gradient: Literal["exact", "3-point", "2-point"]
) -> tuple[FloatArray, FloatArray]:
    """Return points of finite differences inside the bounds: (k, 1 + e, e), or (k, 1 + 2 e, e) for ``3-point``.

    Each of (k, e) points itself, then e forward, then e backward; and the (k, e) signed distances that they span, 0
    where fixed. At a bound a central difference is shortened on that side.

    >>> points, spans = stencil(np.array([[0.0]]), np.array([[0.0]]), np.array([[1.0]]), "2-point")
    >>> points.ravel().tolist(), spans.tolist()
    ([0.0, 0.00035], [[0.00035]])
    """
    step = np.minimum(STEPS[gradient], upper - lower)
    axis = np.eye(u.shape[1], dtype=bool)
    if gradient == "2-point":
        end = np.where(u + step <= upper, u + step, np.maximum(u - step, lower))
        return np.concatenate([u[:, None], np.where(axis, end[:, None], u[:, None])], axis=1), end - u
    ahead, behind = np.minimum(u + step, upper), np.maximum(u - step, lower)
    moved = [np.where(axis, side[:, None], u[:, None]) for side in (ahead, behind)]
    return np.concatenate([u[:, None], *moved], axis=1), ahead - behind
