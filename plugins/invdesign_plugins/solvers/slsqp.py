"""Multi-start sequential quadratic programming (SciPy's SLSQP) under bounds and linear constraints."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from invdesign_core.plugin import Context, FloatArray, Linear, Polytope, Problem, Progress, SolverResult, Status
from invdesign_plugins.solvers.scipy_starts import ScipySolver, Starts, minimize_each

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
RANK = 1e-10
"""Singular values below this share of the largest count as zero."""


class SLSQP(ScipySolver):
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
        lower, upper, linear = problem.lower, problem.upper, problem.linear

        def function(u: FloatArray, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
            # SLSQP leaves bounds by a rounding now and then, and the network is defined inside them.
            return problem.value_and_grad(np.clip(u, lower[rows], upper[rows]), rows)

        result = self.run(Starts(function, u0, lower, upper, linear, ctx))
        reached = np.clip(np.where(np.isfinite(result.u), result.u, u0), lower, upper)
        if len(linear):
            reached = Polytope(lower, upper, linear).nearest(reached, u0, np.arange(len(u0)))
        return SolverResult(reached, result.status, result.message)

    def one_after_another(self, starts: Starts) -> SolverResult:
        """Run `minimize` from each start in turn."""
        equations, limits, right = _as_slsqp_has_them(starts.linear)
        kinds = np.repeat(["eq", "ineq"], [len(equations), len(limits)])
        constraints = [
            {"type": kind, "fun": lambda x, a=a, c=c: a @ x - c, "jac": lambda x, a=a: a}
            for kind, a, c in zip(kinds, np.concatenate([equations, limits]), right, strict=True)
        ]
        return minimize_each(starts, "SLSQP", {"maxiter": self.max_iterations, "ftol": self.ftol}, constraints)

    def lock_step(self, starts: Starts) -> SolverResult:
        """Drive ``_slsqplib.slsqp`` as SciPy's `minimize` does: the same states, points and messages for each start.

        A round brings values and gradients together, since a gradient is asked for where the value was.
        """
        from scipy.optimize._slsqplib import slsqp

        equations, limits, right = _as_slsqp_has_them(starts.linear)
        b, n = starts.u0.shape
        meq, m = len(equations), len(equations) + len(limits)
        matrix = np.zeros((max(1, m), n), order="F")
        matrix[:m] = np.concatenate([equations, limits])
        right = np.concatenate([right, np.zeros(max(1, m) - m)])
        low, high = starts.lower.copy(), starts.upper.copy()
        x, f, g = np.clip(starts.u0, low, high), np.zeros(b), np.zeros((b, n))
        # SciPy's own count of the memory that it works in.
        size = n * (n + 1) // 2 + 3 * m * n - (m + 5 * n + 7) * meq + 9 * m + 8 * n * n + 35 * n + meq * meq + 28
        size += 2 * n * (n + 1) if m == meq else 0
        work, indices = np.zeros((b, max(size, 1))), np.zeros((b, max(m + 2 * n + 2, 1)), dtype=np.int32)
        multipliers = np.zeros((b, max(1, m + 2 * n + 2)))
        states = [self._fresh_state(n, m, meq) for _ in range(b)]
        live = np.arange(b)
        f[:], g[:] = starts.function(x, live)
        distance = np.empty(max(1, m))
        while len(live):
            for i in live:  # the optimisers' states are separate, and small
                state = states[i]
                while True:
                    np.subtract(matrix @ x[i], right, out=distance)
                    memory = multipliers[i], low[i], high[i], work[i], indices[i]
                    slsqp(state, f[i], g[i], matrix, distance, x[i], *memory)
                    if state["mode"] != GRADIENT:  # the gradient came with the value
                        break
            live = live[[states[i]["mode"] == EVALUATE for i in live]]
            if len(live):
                f[live], g[live] = starts.function(x[live], live)
            starts.ctx.emit(Progress("solve", b - len(live), b))
        modes = [state["mode"] for state in states]
        ended = {CONVERGED: Status.CONVERGED, ITERATIONS: Status.LIMIT}
        return SolverResult(x, [ended.get(mode, Status.FAILED) for mode in modes], [MESSAGES[mode] for mode in modes])

    def _fresh_state(self, n: int, m: int, meq: int) -> dict[str, Any]:
        """Return the state in which SLSQP begins, as SciPy's `minimize` sets it."""
        numbers = dict.fromkeys(("alpha", "f0", "gs", "h1", "h2", "h3", "h4", "t", "t0"), 0.0)
        counts = dict.fromkeys(("exact", "inconsistent", "reset", "iter", "line", "mode"), 0)
        sizes = {"itermax": self.max_iterations, "m": m, "meq": meq, "n": n}
        return {"acc": self.ftol, "tol": 10 * self.ftol, **numbers, **counts, **sizes}


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
