"""From a surrogate and targets to points reached: starts, the solver, discrete values, re-evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from invdesign_core.context import Context
from invdesign_core.data import Known
from invdesign_core.errors import InvdesignError, SolverError
from invdesign_core.goal import Prediction
from invdesign_core.problem import Forward, IndexArray, Problem, SolverResult, Status, StopSolving
from invdesign_core.space import FloatArray, Space
from invdesign_core.starts import start_points
from invdesign_core.targets import Targets

if TYPE_CHECKING:
    from invdesign_core.plugin import Solver

MOVED = 1e-9
"""A start that ends this near to where it began, in u, never moved."""


@dataclass(frozen=True)
class Reached:
    """Where b starts ended, as the designs will be written.

    Attributes
    ----------
    groups : ndarray of int
        (b,) the target of each row.
    guess, x : ndarray
        (b, e) encoded start points, and encoded designs as written: rounded and inside the bounds.
    prediction : Prediction
        (b, m) in the user's units, at the designs as written.
    loss, variance : ndarray
        (b,) the objective there, and the mean variance of the members in z over the asked outputs.
    status : ndarray
        (b,) ``converged``, ``limit``, ``failed``, ``stuck`` (said to have converged, but never moved
        and misses) or ``not finite``.
    message : list of str
        (b,) the solver's words.
    evaluations : ndarray of int
        (b,) points evaluated.
    moved : ndarray of bool
        (b,) whether the point reached differs from the guess.
    interrupted : bool
        Whether the solver was stopped by Ctrl-C or a deadline.
    """

    groups: IndexArray
    guess: FloatArray
    x: FloatArray
    prediction: Prediction
    loss: FloatArray
    variance: FloatArray
    status: NDArray[Any]
    message: list[str]
    evaluations: NDArray[np.int64]
    moved: NDArray[np.bool_]
    interrupted: bool


def reach(
    forward: Forward,
    targets: Targets,
    space: Space,
    solver: Solver,
    ctx: Context,
    known: Known | None = None,
    held: FloatArray | None = None,
    first: int = 0,
) -> Reached:
    """Search from every start for every target.

    Parameters
    ----------
    forward : Forward
        The surrogate and the objective, compiled.
    targets : Targets
        t targets.
    space : Space
        The design variables with the bounds of this search.
    solver : Solver
        What makes the loss less.
    ctx : Context
        Seeds, events and the deadline.
    known : Known, optional
        The training rows, to start from.
    held : ndarray, optional
        (t, e) encoded values that a target comes with, such as today's temperature; NaN where free.
    first : int
        Number of the first target in the whole of the work, where targets are solved in chunks.

    Raises
    ------
    SolverError
        If the solver fails, or answers with another shape than it was asked for.
    """
    surrogate = forward.surrogate
    goal = targets.goal(surrogate.shift, surrogate.scale)
    t = len(targets)
    low, high = (np.tile(bound, (t, 1)) for bound in space.bounds)
    if held is not None:
        low, high = (np.where(np.isnan(held), bound, held) for bound in (low, high))
    low, high = forward.to_u(low), forward.to_u(high)
    scaled = None
    if known is not None:
        scaled = forward.to_u(known[0]), (known[1] - surrogate.shift) / surrogate.scale
    starts = start_points(solver.init, solver.starts, forward, goal, low, high, scaled, ctx, first)
    count = starts.shape[1]
    u0, groups = starts.reshape(t * count, space.width), np.repeat(np.arange(t), count)
    lower, upper = low[groups], high[groups]
    fixed = None if held is None else held[groups]
    problem = Problem(forward, goal, groups, lower, upper, space.discrete, ctx, first * count)
    result, interrupted = _solve(solver, problem, u0, ctx)
    u, evaluations = result.u, problem.evaluations
    x = _written(space, forward.to_x(u), fixed)
    free = ~space.discrete & (high > low).any(axis=0)
    polish_them = space.discrete.any() and "discrete" not in solver.handles
    if polish_them and free.any() and not interrupted:
        # Hold the discrete variables at the values that exist, and let the others make up for it.
        rounded = forward.to_u(x)
        lower = np.where(space.discrete, rounded, lower)
        upper = np.where(space.discrete, rounded, upper)
        polish = Problem(forward, goal, groups, lower, upper, space.discrete, ctx, first * count)
        polished, interrupted = _solve(solver, polish, np.clip(rounded, lower, upper), ctx)
        u, evaluations = polished.u, evaluations + polish.evaluations
        x = _written(space, forward.to_x(u), fixed)
    z = surrogate.predict_z(x)
    loss = forward.loss_of(z, goal.take(groups))
    asked = targets.asked[groups]
    variance = np.zeros(len(x))
    if z.std is not None:
        variance = (z.std**2 * asked).sum(axis=1) / asked.sum(axis=1)
    prediction = Prediction(surrogate.units(z.mean), None if z.std is None else z.std * surrogate.scale)
    moved = np.asarray((np.abs(u - u0) > MOVED).any(axis=1))
    met = targets.met(prediction.mean, groups).all(axis=1)
    status = np.array([str(s) for s in result.status], dtype=object)
    movable = np.asarray((high > low).any(axis=1))[groups]
    status[~moved & ~met & (status == Status.CONVERGED) & movable] = "stuck"
    status[~np.isfinite(loss) | ~np.isfinite(prediction.mean).all(axis=1)] = "not finite"
    return Reached(
        groups,
        forward.to_x(u0),
        x,
        prediction,
        np.where(np.isfinite(loss), loss, np.inf),
        np.where(np.isfinite(variance), variance, np.inf),
        status,
        [str(m) for m in result.message],
        evaluations,
        moved,
        interrupted,
    )


def _written(space: Space, x: FloatArray, held: FloatArray | None) -> FloatArray:
    """Return (b, e) designs as they will be written: rounded, in bounds, held where a target holds them."""
    x = space.snap(x)
    return x if held is None else np.where(np.isnan(held), x, held)


def _solve(solver: Solver, problem: Problem, u0: FloatArray, ctx: Context) -> tuple[SolverResult, bool]:
    """Call a solver; believe its point only where it is no worse than the best that was evaluated."""
    try:
        # Solvers work on matrices as small as a design: BLAS threads would wait for each other, and for XLA's.
        with threadpool_limits(limits=1, user_api="blas"):
            result = solver.solve(problem, u0, ctx)
    except (StopSolving, KeyboardInterrupt) as stop:
        seen = np.isfinite(problem.best_loss)
        u = np.where(seen[:, None], problem.best_u, u0)
        why = "stopped by Ctrl-C" if isinstance(stop, KeyboardInterrupt) else "out of time"
        return SolverResult(u, [Status.LIMIT] * len(u), [why] * len(u)), True
    except InvdesignError:
        raise
    except Exception as error:
        raise SolverError(
            f"{solver.label} failed: {type(error).__name__}: {error}", "this is a fault of the plugin"
        ) from error
    if not isinstance(result, SolverResult):
        raise SolverError(
            f"{solver.label} answered {result!r}, expected a SolverResult", "this is a fault of the plugin"
        )
    strange = {str(s) for s in result.status} - set(Status)
    if strange:
        raise SolverError(
            f"{solver.label} answered the status {min(strange)!r}, expected one of {[str(s) for s in Status]}",
            "this is a fault of the plugin",
        )
    b, e = problem.shape
    u = np.asarray(result.u, dtype=np.float64)
    if u.shape != (b, e) or len(result.status) != b or len(result.message) != b:
        raise SolverError(
            f"{solver.label} answered points of shape {u.shape} with {len(result.status)} states and "
            f"{len(result.message)} messages, expected ({b}, {e}), {b} and {b}",
            "this is a fault of the plugin",
        )
    u = np.where(np.isfinite(u), np.clip(u, problem.lower, problem.upper), problem.best_u)
    seen = problem.best_loss.copy()
    loss = problem.value(u) if not ctx.out_of_time() else np.full(b, np.inf)
    problem.evaluations -= 1  # ours, not the solver's
    worse = ~(loss <= seen) & np.isfinite(seen)
    return SolverResult(np.where(worse[:, None], problem.best_u, u), result.status, result.message), False
