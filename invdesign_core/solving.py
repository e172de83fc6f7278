"""From a surrogate and targets to points reached: starts, the solver, discrete values, re-evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.calling import call_solver
from invdesign_core.constraints import nearest, onto_bounds, settle
from invdesign_core.context import Context
from invdesign_core.continuation import firm, hold_limits
from invdesign_core.data import Known
from invdesign_core.discrete import Plan, Way, best_combinations, rounded_and_improved
from invdesign_core.errors import ConfigError
from invdesign_core.goal import Goal, Prediction
from invdesign_core.near_to import PULLS, NearTo, Pulled, distances, few_changes, near_rows, weights
from invdesign_core.problem import Forward, IndexArray, Problem, SolverResult, Status
from invdesign_core.rows import Rows, make_rows
from invdesign_core.space import FloatArray, Space
from invdesign_core.starts import losses_of
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
    far : ndarray or None
        (b,) distances from the present design that answers are to be near to.
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
    far: FloatArray | None = None


def reach(
    forward: Forward,
    targets: Targets,
    space: Space,
    solver: Solver,
    ctx: Context,
    plan: Plan,
    known: Known | None = None,
    held: FloatArray | None = None,
    first: int = 0,
    near_to: NearTo | None = None,
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
    plan : Plan
        How to search where only some values exist, or only some variables may be above zero.
    known : Known, optional
        The training rows, to start from.
    held : ndarray, optional
        (t, e) encoded values that a target comes with, such as today's temperature; NaN where free.
    first : int
        Number of the first target in the whole of the work, where targets are solved in chunks.
    near_to : NearTo, optional
        What answers are to be near to.

    Raises
    ------
    SolverError
        If the solver fails, or answers with another shape than it was asked for.
    ConfigError
        If no design of a target's satisfies the constraints, or none that was measured lies inside the bounds.
    """
    surrogate, near = forward.surrogate, near_to or NearTo()
    goal = targets.goal(surrogate.shift, surrogate.scale)
    search = _Search(forward, targets, goal, space, solver, near, known, held, ctx, first)
    if plan.way == "enumerated" and not near.to_data:
        ended = search.all_tried(plan)
    elif near.fewest:
        ended = search.with_few_changes(plan)
    else:
        ended = search.searched(plan, *search.boxes(plan))
    x, u, groups = ended.x, ended.u, ended.groups
    z = surrogate.predict_z(x)
    loss = forward.loss_of(z, goal.take(groups) if ended.goal is None else ended.goal.take(groups))
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
        search.far(x),
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
    goal: Goal | None = None


@dataclass(frozen=True)
class _Search:
    """What all ways to search work with; t targets."""

    forward: Forward
    targets: Targets
    goal: Goal
    space: Space
    solver: Solver
    near: NearTo
    known: Known | None
    held: FloatArray | None
    ctx: Context
    first: int

    @property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """(t, e) encoded bounds of each target."""
        low, high = (np.tile(bound, (len(self.targets), 1)) for bound in self.space.bounds)
        if self.held is not None:
            low, high = (np.where(np.isnan(self.held), bound, self.held) for bound in (low, high))
        return low, high

    def boxes(self, plan: Plan) -> tuple[FloatArray, FloatArray, int]:
        """Return the (t · c, e) encoded bounds of the boxes to start in, and the starts in each."""
        low, high = self.bounds
        if not self.near.to_data:
            return *plan.boxes(low, high, self.held), plan.starts
        if self.known is None:
            raise ConfigError(
                "stay near data: no measured designs are known", "name a table with the model's inputs and outputs"
            )
        shift, scale = self.forward.surrogate.shift, self.forward.surrogate.scale
        loss = losses_of(self.forward, Prediction((self.known.y - shift) / scale), self._compared)
        low, high = near_rows(self.space, self.known, loss, low, high, self.solver.starts)
        return low.reshape(-1, low.shape[2]), high.reshape(-1, high.shape[2]), 1

    def far(self, x: FloatArray) -> FloatArray | None:
        """Return the (n,) distances of encoded designs from the present one, or how many variables differ from it."""
        present = self.near.present
        if present is None:
            return None
        away = distances(self.space, self.forward, present, x)
        if not self.near.fewest:
            return away
        differs = np.zeros(len(x))
        for columns in self.space.slices:
            differs += (np.isfinite(present[columns]) & (x[:, columns] != present[columns])).any(axis=1)
        return differs + away / (1 + away)  # as few as possible, and of those the nearest

    def all_tried(self, plan: Plan) -> _Ended:
        """Try all combinations of discrete values; no solver is asked."""
        low, high = self.bounds
        x, groups, interrupted = best_combinations(
            self.forward, self._compared, self.space, plan, low, self.ctx, self.far if self.near else None
        )
        b, u = len(x), self.forward.to_u(x)
        said = SolverResult(u, [Status.CONVERGED] * b, [f"one of the best of {plan.combinations:,} combinations"] * b)
        middle = self.forward.to_u(((low + high) / 2)[groups])  # no search began anywhere
        evaluations = np.full(b, plan.combinations // plan.starts)
        return _Ended(groups, middle, u, x, said, evaluations, np.ones(b, dtype=bool), interrupted)

    def with_few_changes(self, plan: Plan) -> _Ended:
        """Let ever more variables of the present design change, until each target is met."""
        assert self.near.present is not None
        low, high = self.bounds
        open_, found = np.ones(len(self.targets), dtype=bool), list[_Ended]()
        for cells in few_changes(self.space, self.near.present):
            lower, upper = (_crossed(cells, side) for side in (plan.lower, plan.upper))
            part = replace(plan, lower=lower, upper=upper, starts=4)
            rows = np.flatnonzero(open_)
            asked = replace(self, targets=self.targets.take(rows), goal=self.goal.take(rows))
            asked = asked if self.held is None else replace(asked, held=self.held[rows])
            try:
                ended = asked.searched(part, *part.boxes(low[rows], high[rows], asked.held), part.starts)
            except ConfigError:
                if len(cells) == 1 and np.isnan(cells).all():
                    raise  # everything may change, and still nothing satisfies the constraints
                continue  # so few changes leave no design that satisfies the constraints
            y = self.forward.surrogate.predict(ended.x).mean
            met = asked.targets.met(y, ended.groups).all(axis=1)
            done = np.bincount(ended.groups[met], minlength=len(rows)) > 0
            last = bool(np.isnan(cells).all())
            keep = done[ended.groups] | last
            found.append(_some(replace(ended, groups=rows[ended.groups]), keep))
            open_[rows[done]] = False
            if last or ended.interrupted or not open_.any():
                break
        return _joined(found)

    def searched(self, plan: Plan, low: FloatArray, high: FloatArray, count: int) -> _Ended:
        """Run the solver from the starts of (t · c, e) boxes, and make discrete values of what it finds."""
        forward, space, ctx = self.forward, self.space, self.ctx
        rows = make_rows(
            forward, self._compared, space, low, high, self._init, count, self.known, ctx, self.first
        )  # fmt: skip
        rows = self._from_present(rows)
        linear = forward.linear(space.constraints.linear)
        goal, interrupted, evaluations = self.goal, False, np.zeros(len(rows.u0), dtype=np.int64)

        def solve(problem: Problem, begin: FloatArray) -> tuple[SolverResult, bool]:
            return call_solver(self.solver, problem, begin, ctx)

        def descend(u: FloatArray, lower: FloatArray, upper: FloatArray, maps: list[Any]) -> SolverResult:
            nonlocal goal, interrupted, evaluations
            for through in maps:
                problem = Problem(
                    through, goal, rows.groups, lower, upper, space.discrete, ctx, rows.first, linear
                )  # fmt: skip
                reached = hold_limits(solve, through, problem, u, self.targets, goal, bool(self.solver.needs))
                goal, interrupted, u = reached.goal, reached.interrupted, reached.result.u
                evaluations = evaluations + problem.evaluations
                if interrupted:
                    break
            return reached.result

        def written(u: FloatArray) -> FloatArray:
            u = onto_bounds(linear, rows.lower, rows.upper, u) if len(linear) else u
            return _written(space, forward.to_x(u), rows)

        maps = list(self._maps())
        result = descend(rows.u0, rows.lower, rows.upper, maps)
        u = result.u
        x = written(u)

        def polish(x: FloatArray) -> tuple[FloatArray, NDArray[np.int64], bool]:
            """Hold the discrete variables at the values that exist, and let the others make up for it."""
            nonlocal evaluations
            rounded = forward.to_u(x)
            lower, upper = (np.where(space.discrete, rounded, side) for side in (rows.lower, rows.upper))
            begin = np.clip(rounded, lower, upper)
            if len(linear):
                begin = _feasible_or(nearest(linear, lower, upper, begin), begin)
            before, evaluations = evaluations, np.zeros_like(evaluations)
            polished = descend(begin, lower, upper, maps[-1:] if len(maps) == 1 else maps[1:])
            spent, evaluations = evaluations, before
            return written(polished.u), spent, interrupted

        if plan.way == "rounded and neighbours" and not interrupted:
            others = (~space.discrete & (rows.upper > rows.lower).any(axis=0)).any()
            through = maps[0] if len(maps) > 1 else forward
            x, more, interrupted = rounded_and_improved(
                x, forward.to_x(u), rows.groups, through, firm(goal, self.targets), space, plan, rows.fixed,
                polish if others else None, ctx,
            )  # fmt: skip
            u, evaluations = forward.to_u(x), evaluations + more
        movable = np.asarray((rows.upper > rows.lower).any(axis=1))
        return _Ended(rows.groups, rows.u0, u, x, result, evaluations, movable, interrupted, goal)

    @property
    def _compared(self) -> Goal:
        """The goals by which points are compared and not searched."""
        return firm(self.goal, self.targets)

    @property
    def _init(self) -> str:
        return "uniform" if self.near.to_data else self.solver.init

    def _maps(self) -> Iterator[Any]:
        """Return the forward maps to solve with, one after another: ever less pulled to the present design."""
        if self.near.present is not None and not self.near.fewest:
            present = self.forward.to_u(self.near.present)
            for pull in PULLS:
                yield Pulled(self.forward, present, weights(self.space), pull)
        yield self.forward

    def _from_present(self, rows: Rows) -> Rows:
        """Let the first row of each target start from the present design, or as near to it as its bounds allow."""
        if self.near.present is None:
            return rows
        firsts = np.flatnonzero(np.r_[True, rows.groups[1:] != rows.groups[:-1]])
        present = self.forward.to_u(self.near.present)
        lower, upper, u0 = rows.lower[firsts], rows.upper[firsts], rows.u0.copy()
        begin = np.clip(np.where(np.isfinite(present), present, u0[firsts]), lower, upper)
        linear = self.forward.linear(self.space.constraints.linear)
        u0[firsts] = _feasible_or(nearest(linear, lower, upper, begin), u0[firsts]) if len(linear) else begin
        return replace(rows, u0=u0)


def _crossed(cells: FloatArray, plan: FloatArray) -> FloatArray:
    """Return each of (c, e) cells with each of a plan's (p, e); where a cell holds a value, that counts."""
    both = np.where(np.isnan(cells)[:, None], plan[None], cells[:, None])
    return both.reshape(-1, cells.shape[1])


def _feasible_or(points: FloatArray, otherwise: FloatArray) -> FloatArray:
    """Return (n, e) points, or others where there are none."""
    return np.where(np.isfinite(points).all(axis=1, keepdims=True), points, otherwise)


def _some(ended: _Ended, keep: NDArray[np.bool_]) -> _Ended:
    result = SolverResult(ended.u[keep], *(np.asarray(part, dtype=object)[keep] for part in _words(ended.result)))
    parts = (ended.groups[keep], ended.u0[keep], ended.u[keep], ended.x[keep])
    return _Ended(*parts, result, ended.evaluations[keep], ended.movable[keep], ended.interrupted)


def _joined(parts: list[_Ended]) -> _Ended:
    """Put rows together, those of one target beside each other."""
    order = np.argsort(np.concatenate([p.groups for p in parts]), kind="stable")
    groups, u0, u, x, evaluations, movable = (
        np.concatenate([getattr(p, name) for p in parts])[order]
        for name in ("groups", "u0", "u", "x", "evaluations", "movable")
    )
    words = (np.concatenate(each)[order] for each in zip(*(_words(p.result) for p in parts), strict=True))
    return _Ended(groups, u0, u, x, SolverResult(u, *words), evaluations, movable, any(p.interrupted for p in parts))


def _words(result: SolverResult) -> tuple[NDArray[Any], NDArray[Any]]:
    return np.asarray(list(result.status), dtype=object), np.asarray(list(result.message), dtype=object)


def _written(space: Space, x: FloatArray, rows: Rows) -> FloatArray:
    """Return (b, e) designs as they will be written: rounded, inside their rows' bounds, the constraints satisfied."""
    x = space.snap(x)
    held: NDArray[np.bool_] = np.asarray(rows.low == rows.high)
    inside = np.where(space.discrete & ~held, x, np.clip(x, rows.low, rows.high))
    if not space.constraints:
        return inside
    low, high = (
        np.where(space.discrete & ~held, side, row)
        for side, row in zip(space.bounds, (rows.low, rows.high), strict=True)
    )
    return settle(space, inside, low, high)
