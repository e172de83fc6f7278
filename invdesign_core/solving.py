"""From a surrogate and targets to points reached: starts, the solver, discrete values, re-evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from invdesign_core.context import Context
from invdesign_core.continuation import firm, hold_limits
from invdesign_core.discrete import Plan, Way, best_combinations, plan_search, rounded_and_improved
from invdesign_core.errors import InvdesignError, SolverError
from invdesign_core.goal import Goal, Prediction
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
    search : str
        How variables of which only some values exist were searched; see `Plan.way`.
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
    search: Way = "continuous"


def reach(
    forward: Forward,
    targets: Targets,
    space: Space,
    solver: Solver,
    ctx: Context,
    known: tuple[FloatArray, FloatArray] | None = None,
    held: FloatArray | None = None,
    first: int = 0,
    plan: Plan | None = None,
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
    known : pair of ndarray, optional
        (n, e) encoded training designs and (n, m) measured outputs, to start from.
    held : ndarray, optional
        (t, e) encoded values that a target comes with, such as today's temperature; NaN where free.
    first : int
        Number of the first target in the whole of the work, where targets are solved in chunks.
    plan : Plan, optional
        How to search where only some values exist; by default what `plan_search` says.

    Raises
    ------
    SolverError
        If the solver fails, or answers with another shape than it was asked for.
    """
    surrogate = forward.surrogate
    goal = targets.goal(surrogate.shift, surrogate.scale)
    plan = plan or plan_search(space, solver, held)
    low, high = (np.tile(bound, (len(targets), 1)) for bound in space.bounds)
    if held is not None:
        low, high = (np.where(np.isnan(held), bound, held) for bound in (low, high))
    if plan.way == "enumerated":
        ended = _all_tried(forward, goal, space, plan, low, high, ctx)
    else:
        ended = _searched(forward, goal, space, plan, low, high, solver, known, held, ctx, first)
    x, u, groups = ended.x, ended.u, ended.groups
    z = surrogate.predict_z(x)
    loss = forward.loss_of(z, goal.take(groups))
    asked = targets.asked[groups]
    variance = np.zeros(len(x))
    if z.std is not None:
        variance = (z.std**2 * asked).sum(axis=1) / asked.sum(axis=1)
    prediction = Prediction(surrogate.units(z.mean), None if z.std is None else z.std * surrogate.scale)
    moved = np.asarray((np.abs(u - ended.u0) > MOVED).any(axis=1) | (plan.way == "enumerated"))
    met = targets.met(prediction.mean, groups).all(axis=1)
    status = np.array([str(s) for s in ended.result.status], dtype=object)
    status[~moved & ~met & (status == Status.CONVERGED) & ended.movable] = "stuck"
    status[~np.isfinite(loss) | ~np.isfinite(prediction.mean).all(axis=1)] = "not finite"
    return Reached(
        groups,
        forward.to_x(ended.u0),
        x,
        prediction,
        np.where(np.isfinite(loss), loss, np.inf),
        np.where(np.isfinite(variance), variance, np.inf),
        status,
        [str(m) for m in ended.result.message],
        ended.evaluations,
        moved,
        ended.interrupted,
        plan.way,
    )


@dataclass(frozen=True)
class _Ended:
    """Where b rows ended: their starts and ends in u, designs as written, and how it went."""

    groups: IndexArray
    u0: FloatArray
    u: FloatArray
    x: FloatArray
    result: SolverResult
    evaluations: NDArray[np.int64]
    movable: NDArray[np.bool_]
    interrupted: bool


def _all_tried(
    forward: Forward, goal: Goal, space: Space, plan: Plan, low: FloatArray, high: FloatArray, ctx: Context
) -> _Ended:
    """Try all combinations of discrete values for t targets with (t, e) bounds; no solver is asked."""
    x, groups, interrupted = best_combinations(forward, goal, space, plan, low, ctx)
    b, u = len(x), forward.to_u(x)
    said = SolverResult(u, [Status.CONVERGED] * b, [f"one of the best of {plan.combinations:,} combinations"] * b)
    middle = forward.to_u(((low + high) / 2)[groups])  # no search began anywhere
    evaluations = np.full(b, plan.combinations // plan.starts)
    return _Ended(groups, middle, u, x, said, evaluations, np.ones(b, dtype=bool), interrupted)


def _searched(
    forward: Forward,
    goal: Goal,
    space: Space,
    plan: Plan,
    low: FloatArray,
    high: FloatArray,
    solver: Solver,
    known: tuple[FloatArray, FloatArray] | None,
    held: FloatArray | None,
    ctx: Context,
    first: int,
) -> _Ended:
    """Run the solver from every start of t targets with (t, e) bounds, and make discrete values of what it finds."""
    surrogate, t = forward.surrogate, len(low)
    low, high = (forward.to_u(side) for side in plan.boxes(low, high, held))
    scaled = None
    if known is not None:
        scaled = forward.to_u(known[0]), (known[1] - surrogate.shift) / surrogate.scale
    boxes = len(low) // t
    goals = goal.take(np.repeat(np.arange(t), boxes))
    starts = start_points(solver.init, plan.starts, forward, goals, low, high, scaled, ctx, first * boxes)
    u0, groups = starts.reshape(-1, space.width), np.repeat(np.arange(t), plan.rows)
    lower, upper = np.repeat(low, plan.starts, axis=0), np.repeat(high, plan.starts, axis=0)
    fixed = None if held is None else held[groups]
    problem = Problem(forward, goal, groups, lower, upper, space.discrete, ctx, first * plan.rows)
    result, interrupted = _solve(solver, problem, u0, ctx)
    u, evaluations = result.u, problem.evaluations
    x = _written(space, forward.to_x(u), fixed)

    def polish(x: FloatArray) -> tuple[FloatArray, NDArray[np.int64], bool]:
        """Hold the discrete variables at the values that exist, and let the others make up for it."""
        rounded = forward.to_u(x)
        floor, ceiling = (np.where(space.discrete, rounded, side) for side in (lower, upper))
        again = Problem(forward, goal, groups, floor, ceiling, space.discrete, ctx, first * plan.rows)
        polished, stopped = _solve(solver, again, np.clip(rounded, floor, ceiling), ctx)
        return _written(space, forward.to_x(polished.u), fixed), again.evaluations, stopped

    if plan.way == "rounded and neighbours" and not interrupted:
        others = (~space.discrete & (high > low).any(axis=0)).any()
        x, more, interrupted = rounded_and_improved(
            x, forward.to_x(u), groups, forward, goal, space, plan, fixed, polish if others else None, ctx
        )
        u, evaluations = forward.to_u(x), evaluations + more
    movable = np.asarray((upper > lower).any(axis=1))
    return _Ended(groups, u0, u, x, result, evaluations, movable, interrupted)


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
