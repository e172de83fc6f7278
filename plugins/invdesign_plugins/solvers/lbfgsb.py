"""Multi-start L-BFGS-B, all starts in lock-step."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from invdesign_core.plugin import Context, FloatArray, Problem, Progress, Solver, SolverResult, Status

STEPS = {"2-point": 3.5e-4, "3-point": 5e-3}
"""Steps of finite differences in u: square and cube root of the precision of float32, in which networks compute."""
CORRECTIONS = 10
"""Corrections that the approximate Hessian is made of: SciPy's default."""
LINE_SEARCH = 20
"""Evaluations of one line search: SciPy's default."""

Function = Callable[[FloatArray, NDArray[np.intp]], tuple[FloatArray, FloatArray]]
"""From (k, e) points and their rows to (k,) losses and (k, e) gradients."""


class LBFGSB(Solver):
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
        "exact", description="Exact gradients, or central or forward differences."
    )
    max_iterations: int = Field(200, ge=1, description="Iterations from one start.")
    ftol: float = Field(1e-12, ge=0, description="Stop when the loss falls by less than this share of itself.")
    gtol: float = Field(1e-6, ge=0, description="Stop when no projected gradient component is larger.")

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Run L-BFGS-B from every start."""
        run = lock_step if speaks_reverse_communication() else one_after_another
        return run(
            self._function(problem), u0, problem.lower, problem.upper, self.max_iterations, self.ftol, self.gtol, ctx
        )

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


def stencil(
    u: FloatArray, lower: FloatArray, upper: FloatArray, gradient: Literal["exact", "3-point", "2-point"]
) -> tuple[FloatArray, FloatArray]:
    """Return the points of finite differences inside the bounds, and the distances they span.

    Parameters
    ----------
    u, lower, upper : ndarray
        (k, e) points and their bounds.
    gradient : str
        ``2-point`` or ``3-point``.

    Returns
    -------
    points : ndarray
        (k, 1 + e, e) or (k, 1 + 2 e, e): each point itself, then e points forward and, for central
        differences, e points backward. At a bound a central difference is shortened on that side.
    spans : ndarray
        (k, e) signed distances; 0 for a fixed variable.

    Examples
    --------
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


def one_after_another(
    function: Function,
    u0: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    max_iterations: int,
    ftol: float,
    gtol: float,
    ctx: Context,
) -> SolverResult:
    """Run SciPy's public `minimize` from each start in turn: what `lock_step` must agree with."""
    from scipy.optimize import Bounds, minimize

    u, status, message = u0.copy(), [], []
    options = {"maxiter": max_iterations, "ftol": ftol, "gtol": gtol}
    for row in range(len(u0)):  # SciPy's public optimiser holds the state of one start

        def one(x: FloatArray, row: int = row) -> tuple[float, FloatArray]:
            value, gradient = function(x[None], np.array([row]))
            return float(value[0]), gradient[0]

        bounds = Bounds(lower[row], upper[row])
        result = minimize(one, u0[row], jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        u[row] = result.x
        status.append(Status.CONVERGED if result.success else Status.LIMIT if result.status == 1 else Status.FAILED)
        message.append(str(result.message))
        ctx.emit(Progress("solve", row + 1, len(u0)))
    return SolverResult(u, status, message)


def lock_step(
    function: Function,
    u0: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    max_iterations: int,
    ftol: float,
    gtol: float,
    ctx: Context,
) -> SolverResult:
    """Run L-BFGS-B from every start at once, one evaluation of all live starts a round.

    Drives the reverse communication of SciPy's own implementation, ``_lbfgsb.setulb``, as its
    `minimize` does: the same states, tests and messages for each start.
    """
    from scipy.optimize import _lbfgsb_py as scipy_lbfgsb

    setulb = scipy_lbfgsb._lbfgsb.setulb
    b, n = u0.shape
    m = CORRECTIONS
    x, f, g = np.clip(u0, lower, upper), np.zeros(b), np.zeros((b, n))
    low, high, kind = lower.copy(), upper.copy(), np.full(n, 2, dtype=np.int32)
    work = np.zeros((b, 2 * m * n + 5 * n + 11 * m * m + 8 * m))
    iwork, task, line_task = (np.zeros((b, width), dtype=np.int32) for width in (3 * n, 2, 2))
    lsave, isave, dsave = np.zeros((b, 4), np.int32), np.zeros((b, 44), np.int32), np.zeros((b, 29))
    factor = ftol / np.finfo(float).eps
    # Views of each start's own memory, taken once: a call of setulb costs a few microseconds.
    calls = [
        (
            m,
            x[i],
            low[i],
            high[i],
            kind,
            f[i : i + 1].reshape(()),
            g[i],
            factor,
            gtol,
            work[i],
            iwork[i],
            task[i],
            lsave[i],
            isave[i],
            dsave[i],
            LINE_SEARCH,
            line_task[i],
        )
        for i in range(b)
    ]
    iterations = np.zeros(b, dtype=int)
    live = np.arange(b)
    while len(live):
        for i in live:  # the optimisers' states are separate, and small
            setulb(*calls[i])
            while task[i, 0] == NEW_ITERATION:
                iterations[i] += 1
                if iterations[i] >= max_iterations:
                    task[i] = STOP, STOP_ITERATIONS
                setulb(*calls[i])
        live = live[task[live, 0] == EVALUATE]
        if len(live):
            f[live], g[live] = function(x[live], live)
        ctx.emit(Progress("solve", b - len(live), b))
    converged, limit = task[:, 0] == CONVERGENCE, iterations >= max_iterations
    status = np.where(converged, Status.CONVERGED, np.where(limit, Status.LIMIT, Status.FAILED))
    words = {
        code: f"{scipy_lbfgsb.status_messages[code[0]]}: {scipy_lbfgsb.task_messages[code[1]]}"
        for code in {(int(a), int(c)) for a, c in task}
    }
    return SolverResult(x, status, [words[int(a), int(c)] for a, c in task])


NEW_ITERATION, EVALUATE, CONVERGENCE, STOP, STOP_ITERATIONS = 1, 3, 4, 5, 504
"""What `setulb` asks for or reports in ``task[0]``, and the reason to stop in ``task[1]``."""


@cache
def speaks_reverse_communication() -> bool:
    """Return whether this SciPy's private step-by-step interface answers as its public one does."""

    def quadratic(u: FloatArray, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        miss = u - np.array([0.3, 2.0])
        return (miss**2).sum(axis=1), 2 * miss

    start, lower, upper = np.array([[0.9, 0.1]]), np.zeros((1, 2)), np.ones((1, 2))
    try:
        answers = [
            run(quadratic, start, lower, upper, 50, 1e-12, 1e-6, Context()) for run in (lock_step, one_after_another)
        ]
    except Exception:  # another SciPy: whatever it raises, the public interface is there
        return False
    ours, theirs = answers
    return bool(np.allclose(ours.u, theirs.u, atol=1e-9) and list(ours.message) == list(theirs.message))
