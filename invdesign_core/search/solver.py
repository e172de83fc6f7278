"""What a search needs of a solver, and the call of it, which checks what it answers."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from invdesign_core.context import Context
from invdesign_core.errors import SolverError, StopSolving, plugin_errors, plural
from invdesign_core.errors.faults import kind_of
from invdesign_core.search.problem import Problem, SolverResult, Status
from invdesign_core.space.arrays import FloatArray

FAULT = "this is a fault of the plugin"
OUTSIDE = 1e-6
"""A point this far outside its bounds, in shares of the range, was put there."""


class Solver(Protocol):
    """What moves start points to designs that meet a goal, whoever brings it."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    handles: ClassVar[frozenset[str]]
    in_threads: ClassVar[bool]

    @property
    def label(self) -> str:
        """The kind and the name, for messages."""

    @property
    def starts(self) -> int:
        """Start points for each target."""

    @property
    def init(self) -> str:
        """Where starts come from."""

    @property
    def discrete(self) -> str:
        """How discrete variables are searched: ``auto`` or ``relax``."""

    @property
    def rows_at_once(self) -> int:
        """Start points solved at once."""

    @property
    def time_limit(self) -> float | None:
        """Seconds that the search may take."""

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Improve (b, e) start points, row by row."""


def call_solver(solver: Solver, problem: Problem, u0: FloatArray, ctx: Context) -> tuple[SolverResult, bool]:
    """Return what a solver made of (b, e) start points, and whether it was interrupted.

    Its points are believed only where they are no worse than the best that was evaluated, unless they are samples; they
    lie inside the bounds, and states and messages are (b,) texts.
    """
    try:
        # Solvers work on matrices as small as a design: BLAS threads would wait for each other, and for XLA's.
        with plugin_errors(solver.label, FAULT, SolverError, [solver]), threadpool_limits(limits=1, user_api="blas"):
            result = solver.solve(problem, u0, ctx)
    except (StopSolving, KeyboardInterrupt) as stop:
        seen = np.isfinite(problem.best_loss)
        u = np.where(seen[:, None], problem.best_u, u0)
        why = "stopped by Ctrl-C" if isinstance(stop, KeyboardInterrupt) else "out of time"
        return SolverResult(u, _each(Status.LIMIT, len(u)), _each(why, len(u))), True
    if not isinstance(result, SolverResult):
        raise SolverError(f"{solver.label} answered {kind_of(result)}, expected a SolverResult", FAULT)
    b, e = problem.shape
    with plugin_errors(f"{solver.label}: reading its answer", FAULT, SolverError):
        u = np.asarray(result.u, dtype=np.float64)
        status, message = _each(result.status, b), _each(result.message, b)
    strange = set(status) - set(Status)
    if strange:
        raise SolverError(
            f"{solver.label} answered the status {min(strange)!r}, expected one of {[str(s) for s in Status]}",
            FAULT,
        )
    if u.shape != (b, e) or len(status) != b or len(message) != b:
        raise SolverError(
            f"{solver.label} answered points of shape {u.shape} with {len(status)} states and "
            f"{len(message)} messages, expected ({b}, {e}), {b} and {b}",
            FAULT,
        )
    status, message = _honest(solver, u, problem, status, message, ctx)
    u = np.where(np.isfinite(u), np.clip(u, problem.lower, problem.upper), problem.best_u)
    if result.samples:
        return SolverResult(u, status, message, True), False
    seen = problem.best_loss.copy()
    try:
        loss = problem.value(u)
        problem.evaluations -= 1  # ours, not the solver's
    except StopSolving:
        loss = np.full(b, np.inf)
    worse = ~(loss <= seen) & np.isfinite(seen)
    return SolverResult(np.where(worse[:, None], problem.best_u, u), status, message), False


def _honest(
    solver: Solver, u: FloatArray, problem: Problem, status: NDArray[Any], message: NDArray[Any], ctx: Context
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the states of points that a solver answered: failed where they are no numbers; say which lie outside."""
    lost = ~np.isfinite(u).all(axis=1)
    width = np.maximum(problem.upper - problem.lower, 1.0)
    with np.errstate(invalid="ignore"):
        outside = ((u < problem.lower - OUTSIDE * width) | (u > problem.upper + OUTSIDE * width)).any(axis=1) & ~lost
    if outside.any():
        ctx.warn(
            f"{solver.label} answered points outside their bounds ({int(outside.sum())} of {plural(len(u), 'row')}); "
            "they were moved to the bounds"
        )
    if not lost.any():
        return status, message
    ctx.warn(
        f"{solver.label} answered points that are not finite ({int(lost.sum())} of {plural(len(u), 'row')}); the best "
        "that it evaluated counts, and none of them as converged"
    )
    status, message = status.copy(), message.copy()
    status[lost], message[lost] = str(Status.FAILED), "the solver answered a point that is not finite"
    return status, message


def _each(value: Any, b: int) -> NDArray[Any]:
    """Return texts, one for each of b rows, of what a solver may say once for all of them."""
    if value is None or isinstance(value, str):
        return np.full(b, str(value or ""), dtype=object)
    return np.array([str(item) for item in value], dtype=object)
