"""Multi-start sequential quadratic programming (SciPy's SLSQP) under bounds and linear constraints."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from invdesign_core.plugin import Context, FloatArray, Linear, Problem, Progress, Solver, SolverResult, Status
from invdesign_plugins.solvers.quadratic import RANK, Polytope

Function = Callable[[FloatArray, NDArray[np.intp]], tuple[FloatArray, FloatArray]]
"""From (k, e) points and their rows to (k,) losses and (k, e) gradients."""
EVALUATE, GRADIENT, CONVERGED, ITERATIONS = 1, -1, 0, 9
"""What SLSQP asks for or reports in its ``mode``; every other mode is a failure."""
MESSAGES = {
    0: "Optimization terminated successfully",
    2: "More equality constraints than independent variables",
    3: "More than 3*n iterations in LSQ subproblem",
    4: "Inequality constraints incompatible",
    5: "Singular matrix E in LSQ subproblem",
    6: "Singular matrix C in LSQ subproblem",
    7: "Rank-deficient equality constraint subproblem HFTI",
    8: "Positive directional derivative for linesearch",
    9: "Iteration limit reached",
}
"""SciPy's words for the modes in which SLSQP ends."""


class SLSQP(Solver):
    """Sequential quadratic programming with bounds and linear constraints, from each start (SciPy's SLSQP).

    Kraft, "A software package for sequential quadratic programming", Tech. Rep. DFVLR-FB 88-28, DLR (1988).
    Every start has an optimiser of its own, and all of them ask for their next evaluation together, so
    that a round costs one call of the network. What SLSQP leaves of a linear constraint is taken away at
    the end: each point reached is moved to the nearest that satisfies bounds and constraints.
    """

    name: ClassVar[str] = "slsqp"
    needs: ClassVar[frozenset[str]] = frozenset({"gradient"})
    handles: ClassVar[frozenset[str]] = frozenset({"linear"})
    rank: ClassVar[int] = 30

    max_iterations: int = Field(200, ge=1, description="Iterations from one start.")
    ftol: float = Field(1e-9, gt=0, description="Stop when the loss changes by less than this.")

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Run SLSQP from every start."""

        def function(u: FloatArray, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
            # SLSQP leaves bounds by a rounding now and then, and the network is defined inside them.
            return problem.value_and_grad(np.clip(u, problem.lower[rows], problem.upper[rows]), rows)

        run = lock_step if speaks_reverse_communication() else one_after_another
        result = run(function, u0, problem.lower, problem.upper, problem.linear, self.max_iterations, self.ftol, ctx)
        reached = np.clip(np.where(np.isfinite(result.u), result.u, u0), problem.lower, problem.upper)
        if len(problem.linear):
            polytope = Polytope(problem.lower, problem.upper, problem.linear)
            reached = polytope.nearest(reached, u0, np.arange(len(u0)))
        return SolverResult(reached, result.status, result.message)


def one_after_another(
    function: Function,
    u0: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    linear: Linear,
    max_iterations: int,
    ftol: float,
    ctx: Context,
) -> SolverResult:
    """Run SciPy's public `minimize` from each start in turn: what `lock_step` must agree with."""
    from scipy.optimize import Bounds, minimize

    equations, limits, right = _as_slsqp_has_them(linear)
    matrix = np.concatenate([equations, limits])
    kinds = np.repeat(["eq", "ineq"], [len(equations), len(limits)])
    constraints = [
        {"type": kind, "fun": lambda x, a=a, c=c: a @ x - c, "jac": lambda x, a=a: a}
        for kind, a, c in zip(kinds, matrix, right, strict=True)
    ]
    u, status, message = u0.copy(), [], []
    options = {"maxiter": max_iterations, "ftol": ftol}
    for row in range(len(u0)):  # SciPy's public optimiser holds the state of one start

        def one(x: FloatArray, row: int = row) -> tuple[float, FloatArray]:
            value, gradient = function(x[None], np.array([row]))
            return float(value[0]), gradient[0]

        result = minimize(
            one,
            u0[row],
            jac=True,
            method="SLSQP",
            bounds=Bounds(lower[row], upper[row]),
            constraints=constraints,
            options=options,
        )
        u[row] = result.x
        status.append(_status(result.status))
        message.append(str(result.message))
        ctx.emit(Progress("solve", row + 1, len(u0)))
    return SolverResult(u, status, message)


def lock_step(
    function: Function,
    u0: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    linear: Linear,
    max_iterations: int,
    ftol: float,
    ctx: Context,
) -> SolverResult:
    """Run SLSQP from every start at once, one evaluation of all live starts a round.

    Drives the reverse communication of SciPy's own implementation, ``_slsqplib.slsqp``, as its
    `minimize` does: the same states, points and messages for each start. A round brings values and
    gradients together, since a gradient is asked for where the value was.
    """
    from scipy.optimize._slsqplib import slsqp

    equations, limits, right = _as_slsqp_has_them(linear)
    b, n = u0.shape
    meq, m = len(equations), len(equations) + len(limits)
    matrix = np.zeros((max(1, m), n), order="F")
    matrix[:m] = np.concatenate([equations, limits])
    right = np.concatenate([right, np.zeros(max(1, m) - m)])
    x, f, g = np.clip(u0, lower, upper), np.zeros(b), np.zeros((b, n))
    low, high = lower.copy(), upper.copy()
    # SciPy's own count of the memory that it works in.
    size = n * (n + 1) // 2 + 3 * m * n - (m + 5 * n + 7) * meq + 9 * m + 8 * n * n + 35 * n + meq * meq + 28
    size += 2 * n * (n + 1) if m == meq else 0
    work, indices = np.zeros((b, max(size, 1))), np.zeros((b, max(m + 2 * n + 2, 1)), dtype=np.int32)
    multipliers = np.zeros((b, max(1, m + 2 * n + 2)))
    states = [_fresh_state(n, m, meq, max_iterations, ftol) for _ in range(b)]
    live = np.arange(b)
    f[:], g[:] = function(x, live)
    distance = np.empty(max(1, m))
    while len(live):
        asks = np.zeros(len(live), dtype=bool)
        for number, i in enumerate(live):  # the optimisers' states are separate, and small
            state = states[i]
            while True:
                np.subtract(matrix @ x[i], right, out=distance)
                slsqp(state, f[i], g[i], matrix, distance, x[i], multipliers[i], low[i], high[i], work[i], indices[i])
                if state["mode"] != GRADIENT:  # the gradient came with the value
                    break
            asks[number] = state["mode"] == EVALUATE
        live = live[asks]
        if len(live):
            f[live], g[live] = function(x[live], live)
        ctx.emit(Progress("solve", b - len(live), b))
    modes = [state["mode"] for state in states]
    return SolverResult(x, [_status(mode) for mode in modes], [MESSAGES[mode] for mode in modes])


def _as_slsqp_has_them(linear: Linear) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return rows that equal, rows that are at least, and their right sides, in this order.

    Equations become orthonormal ones, since SLSQP refuses those that say the same twice.
    """
    same = linear.equations
    left, size, basis = np.linalg.svd(linear.matrix[same], full_matrices=False)
    rank = int((size > RANK * size.max(initial=0.0)).sum())
    right = linear.lower[same] @ left[:, :rank] / size[:rank]
    above, below = ~same & np.isfinite(linear.lower), ~same & np.isfinite(linear.upper)
    limits = np.concatenate([linear.matrix[above], -linear.matrix[below]])
    return basis[:rank], limits, np.concatenate([right, linear.lower[above], -linear.upper[below]])


def _fresh_state(n: int, m: int, meq: int, max_iterations: int, ftol: float) -> dict[str, Any]:
    """Return the state in which SLSQP begins, as SciPy's `minimize` sets it."""
    numbers = dict.fromkeys(("alpha", "f0", "gs", "h1", "h2", "h3", "h4", "t", "t0"), 0.0)
    counts = dict.fromkeys(("exact", "inconsistent", "reset", "iter", "line", "mode"), 0)
    sizes = {"itermax": max_iterations, "m": m, "meq": meq, "n": n}
    return {"acc": ftol, "tol": 10 * ftol, **numbers, **counts, **sizes}


def _status(mode: int) -> Status:
    return Status.CONVERGED if mode == CONVERGED else Status.LIMIT if mode == ITERATIONS else Status.FAILED


@cache
def speaks_reverse_communication() -> bool:
    """Return whether this SciPy's private step-by-step interface answers as its public one does."""

    def quadratic(u: FloatArray, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        miss = u - np.array([0.3, 2.0, 0.1])
        return (miss**2).sum(axis=1), 2 * miss

    start, lower, upper = np.array([[0.7, 0.2, 0.1]]), np.zeros((1, 3)), np.ones((1, 3))
    linear = Linear(np.array([[1.0, 1, 1], [1, -1, 0]]), np.array([1.0, -0.4]), np.array([1.0, 0.9]))
    try:
        answers = [
            run(quadratic, start, lower, upper, linear, 50, 1e-10, Context()) for run in (lock_step, one_after_another)
        ]
    except Exception:  # another SciPy: whatever it raises, the public interface is there
        return False
    ours, theirs = answers
    return bool(np.allclose(ours.u, theirs.u, atol=1e-9) and list(ours.message) == list(theirs.message))
