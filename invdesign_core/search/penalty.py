"""Limits beside a maximum or minimum: the search goes on from where it is until they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from invdesign_core.search.problem import LossFunctions, Problem, SolverResult, part_of
from invdesign_core.space.arrays import FloatArray
from invdesign_core.targets import EXTREMUM_OFFSET, LIMIT_MARGIN, MARGIN, Goal, Targets

Solve = Callable[[Problem, FloatArray], tuple[SolverResult, bool]]
"""Calls a solver from (b, e) start points; what it answered, and whether it was interrupted."""

HEAVIER = 10.0
"""Limits beside an extremum weigh so much more from the start, and violated ones so much more again each time."""
ROUNDS = 10
"""Times that violated limits are made heavier, or aimed at from further inside, at most."""
NEAR = 2e-3
"""A violation below this share of the range is taken away by aiming that much further inside."""
MIN_DECREASE, PATIENCE = 0.9, 3
"""A row whose violation doesn't fall below this share of itself, so many times running, is given up."""
FIRM = 1e6
"""So much heavier are limits where no slope is followed: no point that violates one looks better for it."""
FARTHER, FARTHEST = 4.0, 20
"""An ideal that was reached is put so many times farther away, at most so many times."""
CLOSE = 0.5
"""An ideal is reached when a prediction comes so near to it, in training ranges."""


@dataclass(frozen=True)
class Held:
    """What a search for extrema under limits came to.

    Attributes
    ----------
    result : SolverResult
        (b, e) points, and the solver's account of the last search that each row took part in.
    goal : Goal
        t goals in z with the user's weights, whose extrema lie beyond all that was reached.
    interrupted : bool
        Whether it was cut short.
    """

    result: SolverResult
    goal: Goal
    interrupted: bool


def firm(goal: Goal, targets: Targets, heavy: float = FIRM) -> Goal:
    """Return t goals in which limits beside an extremum weigh so many times more; the default is to compare points."""
    must = targets.extremum.any(axis=1, keepdims=True) & ~targets.extremum
    return replace(goal, weight=np.where(must, heavy, 1.0) * goal.weight)


@dataclass(frozen=True)
class Asked:
    """What is asked of a search.

    Attributes
    ----------
    targets : Targets
        t targets.
    goal : Goal
        The goals in z that the problem has.
    slopes : bool
        Whether the solver follows gradients, which very unlike weights would spoil. One that follows none, such as
        a population that can't move once it agrees, has the limits at their heaviest from the start.
    near : bool
        Whether answers are to be near to a present design, which a margin inside the limits would cost.
    """

    targets: Targets
    goal: Goal
    slopes: bool = True
    near: bool = False


def hold_limits(solve: Solve, forward: LossFunctions, problem: Problem, u0: FloatArray, asked: Asked) -> Held:
    """Solve, and solve on where an extremum is asked for, until the limits beside it hold.

    A maximum is asked for as a value beyond reach, and a limit as an interval, so that any objective and any
    solver can take them; but then a limit is only one wish among others. So violated limits are made ten times
    heavier, row by row, and the search goes on from where it is (an exterior penalty method; Fiacco and
    McCormick, "Nonlinear programming: sequential unconstrained minimization techniques", 1968). Once a row is
    near, it aims further inside by what it still violates, as a multiplier would have it: that converges at
    weights which leave the problem well conditioned. Rows in which that leads nowhere look for the limits alone,
    and for the extremum from there; where the limits can't all hold, they end where these are violated
    least. Targets of set points alone are solved once, and limits without an extremum as `_from_inside` says.

    Parameters
    ----------
    solve : callable
        Calls the solver.
    forward : LossFunctions
        Predicts.
    problem : Problem
        b rows; it counts the evaluations of all rounds.
    u0 : ndarray
        (b, e) start points.
    asked : Asked
        What is asked.
    """
    targets, goal = asked.targets, asked.goal
    if not targets.extremum.any():
        if targets.open.any():
            return _from_inside(solve, forward, problem, u0, asked)
        result, interrupted = solve(problem, u0)
        return Held(result, goal, interrupted)
    state = _State(solve, forward, problem, u0, targets, goal, HEAVIER if asked.slopes else FIRM)
    state.hold()
    for _ in range(FARTHEST):
        if not state.raise_ideal():
            break
        state.hold()
    return Held(state.result, state.goal, state.interrupted)


def _from_inside(solve: Solve, forward: LossFunctions, problem: Problem, u0: FloatArray, asked: Asked) -> Held:
    """Solve for limits from a margin inside them, so that rounding and small errors don't turn a hit into a miss.

    A start that is inside stays where it is. Rows that miss, since the margin can't be had or contradicts what else
    is wanted, go on with a smaller one and at last with none.
    """
    surrogate, groups, targets, goal = forward.surrogate, problem.groups, asked.targets, asked.goal
    u, interrupted = u0.copy(), False
    status, message = (np.full(len(u0), "", dtype=object) for _ in range(2))
    for share in (None, LIMIT_MARGIN, 0.0):
        y = surrogate.units(surrogate.predict_z(forward.to_x(u)).mean)
        miss = np.abs(targets.miss(y, groups))
        if share is None:
            aim = targets.goal(surrogate.shift, surrogate.scale, inside=targets.margin(asked.near)).take(groups)
            inside, plain = (miss == 0).all(axis=1)[:, None], goal.take(groups)
            lower, upper = np.where(inside, plain.lower, aim.lower), np.where(inside, plain.upper, aim.upper)
            wanted, rows = Goal(lower, upper, plain.weight), np.arange(len(u0))
        else:
            wanted = targets.goal(surrogate.shift, surrogate.scale, inside=share).take(groups)
            left = ~targets.met(y, groups).all(axis=1)
            # A smaller margin helps only where the larger one may have been what kept the point outside.
            rows = np.flatnonzero(left & ((miss <= 2 * MARGIN * targets.spread).all(axis=1) | (share == 0)))
        if not len(rows):
            continue
        part = part_of(problem, rows, wanted.take(rows))
        result, interrupted = solve(part, u[rows])
        problem.evaluations[rows] += part.evaluations
        u[rows], status[rows], message[rows] = result.u, [str(s) for s in result.status], list(result.message)
        if interrupted:
            break
    return Held(SolverResult(u, list(status), list(message)), goal, interrupted)


class _State:
    """The points reached so far, and what is asked of the rows next."""

    def __init__(
        self,
        solve: Solve,
        forward: LossFunctions,
        problem: Problem,
        u0: FloatArray,
        targets: Targets,
        goal: Goal,
        heavy: float,
    ) -> None:
        self._solve, self._forward, self._problem, self._targets = solve, forward, problem, targets
        self._groups, self.goal, self.interrupted = problem.groups, goal, False
        self._ideal = np.full(targets.direction.shape, EXTREMUM_OFFSET)
        self._aim = self._aimed()
        self._spread = np.where(targets.spread > 0, targets.spread, forward.surrogate.scale)
        self._u0, self._u, self._heavy = u0, u0.copy(), heavy
        self._status, self._message = (np.full(len(u0), "", dtype=object) for _ in range(2))
        self._go_on(np.arange(len(u0)), firm(self._aim, targets, heavy).take(self._groups))

    @property
    def result(self) -> SolverResult:
        return SolverResult(self._u, list(self._status), list(self._message))

    def raise_ideal(self) -> bool:
        """Put ideals that were reached farther away, and search on: there is more to be had. Return whether any was."""
        targets, surrogate = self._targets, self._forward.surrogate
        y = self._predict(np.arange(len(self._u)))
        holds = np.asarray(~targets.excess(y, self._groups).any(axis=1))
        above = (y - surrogate.shift) / self._spread * targets.direction[self._groups]
        reached = np.zeros(self._ideal.shape, dtype=bool)
        np.logical_or.at(reached, self._groups, holds[:, None] & (above > self._ideal[self._groups] - CLOSE))
        # A limit on the side of the extremum ends the way there.
        reached &= targets.extremum & np.isinf(np.where(targets.direction > 0, targets.upper, targets.lower))
        if self.interrupted or not reached.any():
            return False
        self._ideal = np.where(reached, self._ideal * FARTHER, self._ideal)
        self.goal, self._aim = targets.goal(surrogate.shift, surrogate.scale, self._ideal), self._aimed()
        rows = np.flatnonzero(np.asarray(reached.any(axis=1))[self._groups])
        self._go_on(rows, firm(self._aim, targets, self._heavy).take(self._groups[rows]))
        return True

    def hold(self) -> None:
        """Make the limits hold where they don't."""
        lost = self._tighten(self._violating(np.arange(len(self._u))), self._heavy)
        if not len(lost) or self.interrupted:
            return
        surrogate = self._forward.surrogate
        limits = self._targets.limits(surrogate.shift, surrogate.scale, LIMIT_MARGIN)
        # With the extremum these starts do not reach the limits, so search for the limits alone from the start points.
        self._u[lost] = self._u0[lost]
        self._go_on(lost, limits.take(self._groups[lost]))
        inside = np.setdiff1d(lost, self._violating(lost))
        before = self._u.copy()
        lost = self._tighten(inside, HEAVIER**4)
        self._u[lost] = before[lost]

    def _tighten(self, rows: NDArray[np.intp], heavy: float) -> NDArray[np.intp]:
        """Search on with ever heavier limits, beginning so many times as heavy; return rows that still violate them."""
        surrogate = self._forward.surrogate
        asked = self._aim.take(self._groups[rows])
        limits = self._targets.limits(surrogate.shift, surrogate.scale, LIMIT_MARGIN).take(self._groups[rows])
        weight = asked.weight * np.where(self._targets.extremum[self._groups[rows]], 1.0, heavy)
        ended, inside = np.zeros(weight.shape, dtype=bool), np.zeros(weight.shape)
        live, slow = np.arange(len(rows)), np.zeros(len(rows), dtype=np.int64)
        excess = self._excess(rows)
        for _ in range(ROUNDS):
            if not len(live) or self.interrupted:
                break
            over = excess[live]
            violated, total = over != 0, np.abs(over).sum(axis=1)
            near = violated & (np.abs(over) <= NEAR) & (slow[live] == 0)[:, None]
            weight[live] *= np.where(violated & ~near, HEAVIER, 1.0)
            inside[live] += np.where(near, (over + np.sign(over) * LIMIT_MARGIN) * self._spread / surrogate.scale, 0.0)
            # From here on, an extremum whose own limit is violated wants no more than that limit.
            ended[live] |= violated
            lower = np.where(ended, limits.lower, asked.lower)
            upper = np.where(ended, limits.upper, asked.upper)
            self._go_on(rows[live], _moved(Goal(lower, upper, weight), inside).take(live))
            excess[live] = self._excess(rows[live])
            after = np.abs(excess[live]).sum(axis=1)
            slow[live] = np.where((after < MIN_DECREASE * total) | (total == 0), 0, slow[live] + 1)
            live = live[(after > 0) & (slow[live] < PATIENCE)]
        return rows[excess.any(axis=1)]

    def _aimed(self) -> Goal:
        """Return the goal with limits a hair inside the user's: the best design lies on them."""
        surrogate = self._forward.surrogate
        return self._targets.goal(surrogate.shift, surrogate.scale, self._ideal, LIMIT_MARGIN)

    def _violating(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        return rows[self._excess(rows).any(axis=1)]

    def _go_on(self, rows: NDArray[np.intp], goal: Goal) -> None:
        """Search on from where some rows are, each with a goal of its own."""
        part = part_of(self._problem, rows, goal)
        result, self.interrupted = self._solve(part, self._u[rows])
        self._problem.evaluations[rows] += part.evaluations
        self._u[rows] = result.u
        self._status[rows] = [str(s) for s in result.status]
        self._message[rows] = [str(m) for m in result.message]

    def _predict(self, rows: NDArray[np.intp]) -> FloatArray:
        """Return (k, m) outputs in the user's units."""
        surrogate = self._forward.surrogate
        return surrogate.units(surrogate.predict_z(self._forward.to_x(self._u[rows])).mean)

    def _excess(self, rows: NDArray[np.intp]) -> FloatArray:
        """Return (k, m) by how much limits are violated, signed; 0 where there is no prediction to mend."""
        return np.nan_to_num(self._targets.excess(self._predict(rows), self._groups[rows]), posinf=0.0, neginf=0.0)


def _moved(goal: Goal, inside: FloatArray) -> Goal:
    """Move the violated ends of intervals: down where `inside` is positive, up where it is negative."""
    lower, upper = goal.lower - np.minimum(inside, 0.0), goal.upper - np.maximum(inside, 0.0)
    # The other end gives way, so that an interval is never inside out; a set point moves as a whole.
    return Goal(
        np.where(inside > 0, np.minimum(lower, upper), lower),
        np.where(inside < 0, np.maximum(lower, upper), upper),
        goal.weight,
    )
