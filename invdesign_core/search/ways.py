"""The ways to search: all combinations tried, the solver from many starts, or ever more changes of a present design."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError
from invdesign_core.search.enumerate import best_combinations
from invdesign_core.search.inverse_problem import InverseProblem
from invdesign_core.search.local_search import Surroundings, rounded_and_improved
from invdesign_core.search.penalty import Asked, firm, hold_limits
from invdesign_core.search.plan import Plan, no_combination
from invdesign_core.search.problem import Bounded, Problem, SolverResult, Status
from invdesign_core.search.proximity import PULLS, ProximityPenalty, distances, few_changes, weights
from invdesign_core.search.rows import Rows, make_rows, no_design
from invdesign_core.search.run_solver import call_solver
from invdesign_core.search.starts import losses_of
from invdesign_core.search.trust_boxes import around_designs, near_rows
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.rounding import broken, mended, shortened, written
from invdesign_core.targets import Goal, Prediction

if TYPE_CHECKING:
    from invdesign_core.search.local_search import Score

NEXT_TO_NOTHING = 1e-4
"""Weight of the distance to a present design beside an extremum, and a loss that counts for none."""


ROW = 1e-9
"""A design this near to a measured row, in shares of the ranges, is that row."""
SAME = 5e-6
"""A design may be written with fewer digits where that changes no output by more, in standardised units."""


@dataclass(frozen=True)
class Ended:
    """Where b rows ended.

    Attributes
    ----------
    groups : ndarray of int
        (b,) the target of each.
    u0, u : ndarray
        (b, e) start points, and points reached.
    x : ndarray
        (b, e) encoded designs as they will be written.
    result : SolverResult
        The solver's account of the first search.
    evaluations : ndarray of int
        (b,) points evaluated.
    movable : ndarray of bool
        (b,) whether any column was free to move.
    interrupted : bool
        Whether the search was cut short.
    goal : Goal or None
        t goals in z by which the points are to be judged, where the search has put an extremum farther away.
    """

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
class Search:
    """The ways to search for the answers to a problem."""

    problem: InverseProblem
    ctx: Context

    def boxes(self, plan: Plan) -> tuple[FloatArray, FloatArray, int]:
        """Return the (t · c, e) encoded bounds of the boxes to start in, and the starts in each."""
        p = self.problem
        low, high = p.bounds
        if not p.near_to.to_data:
            return *plan.boxes(low, high, p.fixed_inputs), plan.starts
        assert p.rows is not None
        assert p.data is not None
        shift, scale = p.losses.surrogate.shift, p.losses.surrogate.scale
        loss = losses_of(p.losses, Prediction((p.rows.y - shift) / scale), self._compared)
        first = None if p.fixed_inputs is None else p.first
        low, high = near_rows(p.space, p.rows, p.data, loss, (low, high), p.solver.starts, first)
        return low.reshape(-1, low.shape[2]), high.reshape(-1, high.shape[2]), 1

    def far(self, x: FloatArray) -> FloatArray | None:
        """Return the (n,) distances of encoded designs from the present one, or how many variables differ from it."""
        p = self.problem
        present = p.near_to.present
        if present is None:
            return None
        away = distances(p.space, p.losses, present, x)
        if not p.near_to.fewest:
            return away
        differs = np.zeros(len(x))
        for columns in p.space.slices:
            differs += (np.isfinite(present[columns]) & (x[:, columns] != present[columns])).any(axis=1)
        return differs + away / (1 + away)  # as few as possible, and of those the nearest

    def judged(self, x: FloatArray, mean: FloatArray, loss: FloatArray, groups: IndexArray) -> FloatArray:
        """Return scores by which designs that exist are compared; infinite where they are not near to the data.

        Of designs that meet the target, the nearest to the present one is the best; else that of the smallest loss.

        Parameters
        ----------
        x : ndarray
            (c, e) encoded designs; repeated, if they are fewer than the losses.
        mean : ndarray
            (n, m) their predictions in z.
        loss : ndarray
            (n,)
        groups : ndarray of int
            (n,) their targets.
        """
        p = self.problem
        score, away = loss, self.far(x)
        if away is not None:
            away, y = np.resize(away, len(loss)), p.losses.surrogate.units(mean)
            met = p.targets.met(y, groups).all(axis=1) & ~p.targets.excess(y, groups).any(axis=1)
            extremum = np.asarray(p.targets.extremum.any(axis=1))[groups]  # comes before nearness
            nearly = np.where(loss <= NEXT_TO_NOTHING, 0.0, loss) + NEXT_TO_NOTHING * away
            score = np.where(extremum, nearly, np.where(met, away / (1 + away) - 1, loss))
        return score if p.data is None else np.where(np.resize(p.data.holds(x), len(loss)), score, np.inf)

    def all_tried(self, plan: Plan) -> Ended:
        """Try all combinations of discrete values; no solver is asked."""
        p = self.problem
        low, high = p.bounds
        x, groups, interrupted = best_combinations(p.losses, self._compared, p.space, plan, low, self.ctx, self.judged)
        if not interrupted and not len(x) and p.data is None:
            raise no_combination()
        if not interrupted:
            self._check_found(groups)
        b, u = len(x), p.losses.to_u(x)
        said = SolverResult(u, [Status.CONVERGED] * b, [f"one of the best of {plan.combinations:,} combinations"] * b)
        middle = p.losses.to_u(((low + high) / 2)[groups])  # no search began anywhere
        evaluations = np.full(b, plan.combinations // plan.starts)
        return Ended(groups, middle, u, x, said, evaluations, np.ones(b, dtype=bool), interrupted)

    def with_few_changes(self, plan: Plan) -> Ended:
        """Let ever more variables of the present design change, until each target is met."""
        p = self.problem
        assert p.near_to.present is not None
        low, high = p.bounds
        open_, found = np.ones(len(p.targets), dtype=bool), list[Ended]()
        for cells in few_changes(p.space, p.near_to.present):
            lower, upper = (_crossed(cells, side) for side in (plan.lower, plan.upper))
            part = replace(plan, lower=lower, upper=upper, starts=4)
            everything = bool(np.isnan(cells).all())
            for rows, ended in self._of_targets(np.flatnonzero(open_), part, low, high, everything):
                y = p.losses.surrogate.predict(ended.x).mean
                met = p.targets.met(y, ended.groups).all(axis=1)
                done = np.bincount(ended.groups[met], minlength=len(open_)) > 0
                last = everything or ended.interrupted
                found.append(_some(ended, done[ended.groups] | last))
                open_[rows] &= ~(done[rows] | last)
            if not open_.any():
                break
        return _joined(found)

    def _of_targets(
        self, rows: IndexArray, plan: Plan, low: FloatArray, high: FloatArray, must: bool
    ) -> Iterator[tuple[IndexArray, Ended]]:
        """Search for some of the targets; pass over those with no design in the plan's boxes, unless one must be."""
        asked = replace(self, problem=self.problem.take(rows))
        try:
            ended = asked.searched(plan, *plan.boxes(low[rows], high[rows], asked.problem.fixed_inputs), plan.starts)
        except ConfigError:
            if len(rows) == 1 and must:
                raise
            for row in rows if len(rows) > 1 else ():  # each for itself, to find out which it is
                yield from self._of_targets(np.array([row]), plan, low, high, must)
            return
        yield rows, replace(ended, groups=rows[ended.groups])

    def searched(self, plan: Plan, low: FloatArray, high: FloatArray, count: int) -> Ended:
        """Run the solver from the starts of (t · c, e) boxes, and make discrete values of what it finds."""
        p = self.problem
        forward, space, ctx = p.losses, p.space, self.ctx
        rows = make_rows(p, self._compared, (low, high), count, ctx)
        rows = self._from_present(rows)
        inside = forward.relaxed(space.feasible_set)
        relaxed = plan.way == "relaxation"
        discrete = space.discrete & (not relaxed)
        goal, interrupted, evaluations = p.goal, False, np.zeros(len(rows.u0), dtype=np.int64)

        def solve(problem: Problem, begin: FloatArray) -> tuple[SolverResult, bool]:
            return call_solver(p.solver, problem, begin, ctx)

        def descend(u: FloatArray, lower: FloatArray, upper: FloatArray, maps: list[Any]) -> SolverResult:
            nonlocal goal, interrupted, evaluations
            for through in maps:
                bounded = Bounded(rows.groups, lower, upper, rows.first)
                problem = Problem(through, goal, bounded, discrete, ctx, space.feasible_set)
                asked = Asked(p.targets, goal, bool(p.solver.needs), p.near_to.present is not None)
                reached = hold_limits(solve, through, problem, u, asked)
                goal, interrupted, u = reached.goal, reached.interrupted, reached.result.u
                evaluations = evaluations + problem.evaluations
                if interrupted:
                    break
            return reached.result

        maps = list(self._maps())
        result = descend(rows.u0, rows.lower, rows.upper, maps)
        u = result.u
        x = written(space, forward.to_x(u), rows.low, rows.high)

        def polish(x: FloatArray) -> tuple[FloatArray, NDArray[np.int64], bool]:
            """Hold the discrete variables at the values that exist, and let the others make up for it."""
            nonlocal evaluations
            low, high = self._with_values(x, rows)
            lower, upper = forward.to_u(low), forward.to_u(high)
            begin = np.clip(forward.to_u(x), lower, upper)
            begin = _feasible_or(inside.within(lower, upper).project(begin), begin)
            before, evaluations = evaluations, np.zeros_like(evaluations)
            polished = descend(begin, lower, upper, maps[-1:] if len(maps) == 1 else maps[1:])
            spent, evaluations = evaluations, before
            return written(space, forward.to_x(polished.u), low, high), spent, interrupted

        if plan.way in ("rounding", "relaxation") and not interrupted:
            scores = [] if relaxed else self._scores(maps, goal)
            others = (~space.discrete & (rows.upper > rows.lower).any(axis=0)).any()
            around = Surroundings(space, plan, rows.low, rows.high, self._kept(rows))
            x, more, interrupted = rounded_and_improved(
                x, forward.to_x(u), rows.groups, scores, around, polish if others else None, ctx
            )
            # Whether a relaxed start moved is told by the point that the solver reached, not by its rounding.
            u, evaluations = u if relaxed else forward.to_u(x), evaluations + more
        x, rowlike = self._as_measured(x, rows, np.asarray((np.abs(u - rows.u0) <= ROW).all(axis=1)))
        x = self._shortened(x, rows.groups, rows.low, rows.high, rowlike)
        movable = np.asarray((rows.upper > rows.lower).any(axis=1))
        return self._feasible(Ended(rows.groups, rows.u0, u, x, result, evaluations, movable, interrupted, goal))

    def _scores(self, maps: list[Any], goal: Goal) -> list[Score]:
        """Return the scores by which neighbours are searched: by the strongest pull, then as designs are compared."""
        p = self.problem
        forward, goal = p.losses, firm(goal, p.targets)

        def pulled(x: FloatArray, groups: IndexArray) -> FloatArray:
            loss = maps[0].value(forward.to_u(x), goal.take(groups))
            return loss if p.data is None else np.where(p.data.holds(x), loss, np.inf)

        def compared(x: FloatArray, groups: IndexArray) -> FloatArray:
            z = forward.surrogate.predict_z(x)
            loss = forward.loss_of(z, goal.take(groups))
            return self.judged(x, z.mean, np.where(np.isfinite(loss), loss, np.inf), groups)

        def where_feasible(score: Score) -> Score:
            def found(x: FloatArray, groups: IndexArray) -> FloatArray:
                scores, fine = np.full(len(x), np.inf), np.flatnonzero(p.space.feasible_set.holds(x))
                if len(fine):
                    scores[fine] = score(x[fine], groups[fine])
                return scores

            return found

        return [where_feasible(score) for score in ([pulled, compared] if len(maps) > 1 else [pulled])]

    def _kept(self, rows: Rows) -> FloatArray:
        """Return the (b, e) values that the neighbours of designs keep, NaN where they may differ."""
        p = self.problem
        if p.data is None:
            return rows.fixed
        low, high = p.bounds  # how far they may go is not said by boxes around measured designs
        return np.where(low == high, low, np.nan)[rows.groups]

    def _with_values(self, x: FloatArray, rows: Rows) -> tuple[FloatArray, FloatArray]:
        """Return the (b, e) boxes in which continuous columns may move, where discrete ones have the values of x."""
        p = self.problem
        low, high = rows.low, rows.high
        if p.data is not None:
            low, high = (side[rows.groups] for side in p.bounds)
            low, high = around_designs(p.space, p.data, x, low, high)
        return np.where(p.space.discrete, x, low), np.where(p.space.discrete, x, high)

    def _feasible(self, ended: Ended) -> Ended:
        """Leave out rows in whose boxes no design exists that satisfies the constraints; starts may lie between."""
        p = self.problem
        x, fine = mended(
            p.space, ended.x, ended.groups, *p.bounds, stay=p.near_to.to_data or p.near_to.fewest
        )  # fmt: skip
        same = (x == ended.x).all(axis=1)
        if not same.all():
            low, high = (side[ended.groups] for side in p.bounds)
            x = self._shortened(x, ended.groups, low, high, same)
        if p.data is not None:
            fine &= p.data.holds(x)
        self._check_found(ended.groups[fine])
        if fine.all() and same.all():
            return ended
        u = np.where(same[:, None], ended.u, p.losses.to_u(x))
        return _some(replace(ended, x=x, u=u), fine)

    def _check_found(self, groups: IndexArray) -> None:
        """Refuse to go on where a target, of (b,) that designs were found for, is not among these."""
        p = self.problem
        lost = np.setdiff1d(np.arange(len(p.targets)), groups)
        if not len(lost):
            return
        row, several = p.first + int(lost[0]), p.in_table
        if p.data is not None:
            which = f"targets, row {row + 1}: with its values, " if several else ""
            raise ConfigError(
                f"{which}stay_near_data: no allowed design near a measured one was found that satisfies the "
                "constraints",
                "relax the constraints, or remove stay_near_data",
            )
        raise no_design(row, several)

    def _as_measured(
        self, x: FloatArray, starts: Rows, still: NDArray[np.bool_]
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Give (n, e) designs that never moved from a measured row its very numbers, and say which those are."""
        p = self.problem
        least, most = p.space.bounds
        unit = np.where(np.isfinite(most - least) & (most > least), most - least, 1.0)
        rows = np.flatnonzero(still & np.isfinite(x).all(axis=1))
        if p.rows is None or not len(rows) or not len(p.rows.x):
            return x, np.zeros(len(x), dtype=bool)
        from scipy.spatial import cKDTree

        far, at = cKDTree(p.rows.x / unit).query(x[rows] / unit, p=np.inf)
        measured = p.rows.x[at]
        fine = (far <= ROW) & ~broken(p.space, measured).any(axis=1)
        fine &= ((measured >= starts.low[rows]) & (measured <= starts.high[rows])).all(axis=1)
        found, rowlike = x.copy(), np.zeros(len(x), dtype=bool)
        found[rows[fine]], rowlike[rows[fine]] = measured[fine], True
        return found, rowlike

    def _shortened(
        self, x: FloatArray, groups: IndexArray, low: FloatArray, high: FloatArray, done: NDArray[np.bool_]
    ) -> FloatArray:
        """Write (n, e) designs with fewer digits, where that changes no prediction noticeably; not those (n,) done."""
        p = self.problem
        present = np.full(p.space.width, np.nan) if p.near_to.present is None else p.near_to.present
        surrogate, targets = p.losses.surrogate, p.targets
        asked, open_ = targets.asked[groups], targets.open[groups]
        allowed = np.where(
            open_ | targets.extremum[groups], SAME, np.minimum(SAME, targets.tolerance[groups] / 10 / surrogate.scale)
        )
        z: FloatArray | None = None

        def as_good(tried: FloatArray, before: FloatArray) -> NDArray[np.bool_]:
            nonlocal z
            z = surrogate.predict_z(before).mean if z is None else z
            now = surrogate.predict_z(tried).mean
            y, changed = surrogate.units(z), surrogate.units(now)
            worse = (np.abs(now - z) > allowed) | (np.isfinite(z) & ~np.isfinite(now))
            worse |= targets.met(y, groups) & ~targets.met(changed, groups)
            worse |= open_ & (targets.miss(y, groups) == 0) & (targets.miss(changed, groups) != 0)
            worse |= (targets.excess(y, groups) == 0) & (targets.excess(changed, groups) != 0)
            good = ~np.asarray((worse & asked).any(axis=1))
            return good if p.data is None else good & (p.data.holds(tried) | ~p.data.holds(before))

        return shortened(p.space, x, low, high, (x == present) | done[:, None], as_good)

    @property
    def _compared(self) -> Goal:
        """The goals by which points are compared and not searched."""
        p = self.problem
        return firm(p.goal, p.targets)

    def _maps(self) -> Iterator[Any]:
        """Return the forward maps to solve with, one after another: ever less pulled to the present design."""
        p = self.problem
        if p.near_to.present is not None and not p.near_to.fewest:
            present = p.losses.to_u(p.near_to.present)
            for pull in PULLS:
                yield ProximityPenalty(p.losses, present, weights(p.space), pull)
        yield p.losses

    def _from_present(self, rows: Rows) -> Rows:
        """Let the first row of each target start from the present design, or as near to it as its bounds allow."""
        p = self.problem
        if p.near_to.present is None:
            return rows
        firsts = np.flatnonzero(np.r_[True, rows.groups[1:] != rows.groups[:-1]])
        present = p.losses.to_u(p.near_to.present)
        lower, upper, u0 = rows.lower[firsts], rows.upper[firsts], rows.u0.copy()
        begin = np.clip(np.where(np.isfinite(present), present, u0[firsts]), lower, upper)
        inside = p.losses.relaxed(p.space.feasible_set).within(lower, upper)
        u0[firsts] = _feasible_or(inside.project(begin), u0[firsts])
        return replace(rows, u0=u0)


def _crossed(cells: FloatArray, plan: FloatArray) -> FloatArray:
    """Return each of (c, e) cells with each of a plan's (p, e); where a cell holds a value, that counts."""
    both = np.where(np.isnan(cells)[:, None], plan[None], cells[:, None])
    return both.reshape(-1, cells.shape[1])


def _feasible_or(points: FloatArray, otherwise: FloatArray) -> FloatArray:
    """Return (n, e) points, or others where there are none."""
    return np.where(np.isfinite(points).all(axis=1, keepdims=True), points, otherwise)


def _some(ended: Ended, keep: NDArray[np.bool_]) -> Ended:
    result = SolverResult(ended.u[keep], *(np.asarray(part, dtype=object)[keep] for part in _words(ended.result)))
    parts = (ended.groups[keep], ended.u0[keep], ended.u[keep], ended.x[keep])
    return Ended(*parts, result, ended.evaluations[keep], ended.movable[keep], ended.interrupted, ended.goal)


def _joined(parts: list[Ended]) -> Ended:
    """Put rows together, those of one target beside each other."""
    order = np.argsort(np.concatenate([p.groups for p in parts]), kind="stable")
    groups, u0, u, x, evaluations, movable = (
        np.concatenate([getattr(p, name) for p in parts])[order]
        for name in ("groups", "u0", "u", "x", "evaluations", "movable")
    )
    words = (np.concatenate(each)[order] for each in zip(*(_words(p.result) for p in parts), strict=True))
    return Ended(groups, u0, u, x, SolverResult(u, *words), evaluations, movable, any(p.interrupted for p in parts))


def _words(result: SolverResult) -> tuple[NDArray[Any], NDArray[Any]]:
    return np.asarray(list(result.status), dtype=object), np.asarray(list(result.message), dtype=object)
