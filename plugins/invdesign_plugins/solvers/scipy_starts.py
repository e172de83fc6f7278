"""What the solvers that run SciPy's optimisers share: many starts in lock-step, or in turn where SciPy is another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.plugin import Context, FloatArray, Linear, Progress, Solver, SolverResult, Status

Function = Callable[[FloatArray, NDArray[np.intp]], tuple[FloatArray, FloatArray]]
"""From (k, e) points and their rows to (k,) losses and (k, e) gradients."""
ITERATIONS = 1, 9
"""How `minimize` says that its iterations have ended: L-BFGS-B, SLSQP."""


@dataclass(frozen=True)
class Starts:
    """A function, (b, e) points to begin from, their bounds, and constraints that all share."""

    function: Function
    u0: FloatArray
    lower: FloatArray
    upper: FloatArray
    linear: Linear
    ctx: Context


class ScipySolver(Solver):
    """Runs one of SciPy's optimisers from each start; all of them ask for their next evaluation together."""

    def lock_step(self, starts: Starts) -> SolverResult:
        """Drive SciPy's private step-by-step interface, one evaluation of all live starts a round."""
        raise NotImplementedError

    def one_after_another(self, starts: Starts) -> SolverResult:
        """Run SciPy's public `minimize` from each start in turn: what `lock_step` must agree with."""
        raise NotImplementedError

    def run(self, starts: Starts) -> SolverResult:
        """Run the optimiser from all starts."""
        return (self.lock_step if speaks_reverse_communication(type(self)) else self.one_after_another)(starts)


def minimize_each(
    starts: Starts, method: str, options: Mapping[str, Any], constraints: Sequence[Mapping[str, Any]] = ()
) -> SolverResult:
    """Run SciPy's public `minimize` from each start in turn."""
    from scipy.optimize import Bounds, minimize

    u, status, message = starts.u0.copy(), [], []
    for row in range(len(u)):  # SciPy's public optimiser holds the state of one start

        def one(x: FloatArray, row: int = row) -> tuple[float, FloatArray]:
            value, gradient = starts.function(x[None], np.array([row]))
            return float(value[0]), gradient[0]

        bounds = Bounds(starts.lower[row], starts.upper[row])
        result = minimize(one, u[row], jac=True, method=method, bounds=bounds, constraints=constraints, options=options)
        u[row] = result.x
        ended = Status.LIMIT if result.status in ITERATIONS else Status.FAILED
        status.append(Status.CONVERGED if result.success else ended)
        message.append(str(result.message))
        starts.ctx.emit(Progress("solve", row + 1, len(u)))
    return SolverResult(u, status, message)


@cache
def speaks_reverse_communication(kind: type[ScipySolver]) -> bool:
    """Return whether this SciPy's private step-by-step interface answers as its public one does."""

    def quadratic(u: FloatArray, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        miss = u - np.array([0.3, 2.0, 0.1])
        return (miss**2).sum(axis=1), 2 * miss

    linear = Linear(np.array([[1.0, 1, 1], [1, -1, 0]]), np.array([1.0, -0.4]), np.array([1.0, 0.9]))
    starts = Starts(quadratic, np.array([[0.7, 0.2, 0.1]]), np.zeros((1, 3)), np.ones((1, 3)), linear, Context())
    try:
        ours, theirs = kind().lock_step(starts), kind().one_after_another(starts)
    except Exception:  # another SciPy: whatever it raises, the public interface is there
        return False
    return bool(np.allclose(ours.u, theirs.u, atol=1e-9) and list(ours.message) == list(theirs.message))
