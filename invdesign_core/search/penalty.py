"""Limits beside a maximum or minimum: the search goes on from where it is until they hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from invdesign_core.context import Context
from invdesign_core.search.inverse_problem import FIRM, SearchResult, firm
from invdesign_core.search.problem import Bounded, Problem
from invdesign_core.search.solver import call_solver
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.targets import EXTREMUM_OFFSET, LIMIT_MARGIN, MARGIN, Goal

HEAVIER = 10.0
"""Limits beside an extremum weigh so much more from the start, and violated ones so much more again each time."""
ROUNDS = 10
"""Times that violated limits are made heavier, or aimed at from further inside, at most."""
NEAR = 2e-3
"""A violation below this share of the range is taken away by aiming that much further inside."""
MIN_DECREASE, PATIENCE = 0.9, 3
"""A row whose violation doesn't fall below this share of itself, so many times running, is given up."""
FARTHER, FARTHEST = 4.0, 20
"""An ideal that was reached is put so many times farther away, at most so many times."""
CLOSE = 0.5
"""An ideal is reached when a prediction comes so near to it, in training ranges."""


def hold_limits(begun: SearchResult, forward: Any, rows: Bounded, ctx: Context) -> SearchResult:
    """Solve from the points of b rows through a forward map, and solve on until limits beside an extremum hold.

    A maximum is asked for as a value beyond reach, and a limit as an interval, so that any objective and any
    solver can take them; but then a limit is only one wish among others. So violated limits are made ten times
    heavier, row by row, and the search goes on from where it is (an exterior penalty method; Fiacco and
    McCormick, "Nonlinear programming: sequential unconstrained minimization techniques", 1968). Once a row is
    near, it aims further inside by what it still violates, as a multiplier would have it: that converges at
    weights which leave the problem well conditioned. Rows in which that leads nowhere look for the limits alone,
    and for the extremum from there; where the limits can't all hold, they end where these are violated
    least. Targets of set points alone are solved once, and limits without an extremum as `_from_inside` says.
    """
    targets, everything = begun.problem.targets, np.arange(len(begun.u))
    if targets.extremum.any() or targets.hard:
        return _Extrema(begun, forward, rows, ctx).ended()
    descent = _Descent(begun, forward, rows, ctx)
    if targets.open.any():
        _from_inside(descent)
    else:
        descent.go_on(everything, begun.goal.take(rows.groups))
    return descent.ended()


class _Descent:
    """Rows of a search through a forward map: each may go on from the point that it reached, with a goal of its own."""

    def __init__(self, begun: SearchResult, forward: Any, rows: Bounded, ctx: Context) -> None:
        self.begun, self.u, self.evaluations = begun, begun.u.copy(), begun.evaluations.copy()
        self.said, self.message = np.full((2, len(self.u)), "", dtype=object)
        self.goal, self.interrupted, self.groups = begun.goal, False, rows.groups
        self.targets, self.surrogate = begun.problem.targets, begun.problem.surrogate
        self._forward, self._rows, self._ctx = forward, rows, ctx

    def go_on(self, rows: IndexArray, goal: Goal) -> None:
        """Let the solver go on from where some rows are, each with a goal of its own."""
        problem, space = self.begun.problem, self.begun.problem.space
        discrete = space.discrete & (self.begun.search != "relaxation")
        part = Problem(self._forward, goal, self._rows.take(rows), discrete, self._ctx, space.feasible_set)
        result, self.interrupted = call_solver(problem.solver, part, self.u[rows], self._ctx)
        self.evaluations[rows] += part.evaluations
        self.u[rows], self.said[rows], self.message[rows] = result.u, result.status, result.message

    def predict(self, rows: IndexArray) -> FloatArray:
        """Return (k, m) outputs in the user's units where some rows are."""
        x = self._forward.to_x(self.u[rows])
        return self.surrogate.units(self.surrogate.predict_z(x).mean, x)

    def ended(self) -> SearchResult:
        """Return where all rows are, with the solver's account of the last search that each took part in."""
        account = {name: getattr(self, name) for name in ("goal", "u", "said", "message", "evaluations", "interrupted")}
        return replace(self.begun, **account)


def _from_inside(descent: _Descent) -> None:
    """Solve for limits from a margin inside them, so that rounding and small errors don't turn a hit into a miss.

    A start that is inside stays where it is. Rows that miss, since the margin can't be had or contradicts what else
    is wanted, go on with a smaller one and at last with none.
    """
    surrogate, groups, targets = descent.surrogate, descent.groups, descent.targets
    # A margin costs nearness to a present design.
    first = targets.margin(descent.begun.problem.near_to.present is not None)
    everything = np.arange(len(groups))
    for share in (first, LIMIT_MARGIN, 0.0):
        y = descent.predict(everything)
        miss = np.abs(targets.miss(y, groups))
        wanted = targets.goal(surrogate.shift, surrogate.scale, inside=share).take(groups)
        if share is first:
            inside, plain, rows = (miss == 0).all(axis=1)[:, None], descent.goal.take(groups), everything
            lower, upper = np.where(inside, plain.lower, wanted.lower), np.where(inside, plain.upper, wanted.upper)
            wanted = Goal(lower, upper, plain.weight)
        else:
            left = ~targets.met(y, groups).all(axis=1)
            # A smaller margin helps only where the larger one may have been what kept the point outside.
            rows = np.flatnonzero(left & ((miss <= 2 * MARGIN * targets.spread).all(axis=1) | (share == 0)))
        if len(rows):
            descent.go_on(rows, wanted.take(rows))
        if descent.interrupted:
            break


class _Extrema(_Descent):
    """Rows in search of extrema, which are put farther away where they are reached, under limits that are to hold.

    A solver that follows no gradients, which very unlike weights would spoil, such as a population that can't move once
    it agrees, has the limits at their heaviest from the start.
    """

    def __init__(self, begun: SearchResult, forward: Any, rows: Bounded, ctx: Context) -> None:
        super().__init__(begun, forward, rows, ctx)
        self._heavy = HEAVIER if begun.problem.solver.needs else FIRM
        self._ideal = np.full(self.targets.direction.shape, EXTREMUM_OFFSET)
        self._spread = np.where(self.targets.spread > 0, self.targets.spread, self.surrogate.scale)
        self._aim_on(np.arange(len(self.u)))
        self._hold()
        for _ in range(FARTHEST):
            if not self._raise_ideal():
                break
            self._hold()

    def _aim_on(self, rows: IndexArray) -> None:
        """Let rows go on to the ideals, with limits a hair inside the user's: the best design lies on them."""
        units = self.surrogate.shift, self.surrogate.scale
        self._aim = self.targets.goal(*units, self._ideal, LIMIT_MARGIN)
        self.go_on(rows, firm(self._aim, self.targets, self._heavy).take(self.groups[rows]))

    def _raise_ideal(self) -> bool:
        """Put ideals that were reached farther away, and search on: there is more to be had. Return whether any was."""
        targets, surrogate = self.targets, self.surrogate
        y = self.predict(np.arange(len(self.u)))
        holds = np.asarray(~targets.excess(y, self.groups).any(axis=1))
        above = (y - surrogate.shift) / self._spread * targets.direction[self.groups]
        reached = np.zeros(self._ideal.shape, dtype=bool)
        np.logical_or.at(reached, self.groups, holds[:, None] & (above > self._ideal[self.groups] - CLOSE))
        # A limit on the side of the extremum ends the way there.
        reached &= targets.extremum & np.isinf(np.where(targets.direction > 0, targets.upper, targets.lower))
        if self.interrupted or not reached.any():
            return False
        self._ideal = np.where(reached, self._ideal * FARTHER, self._ideal)
        self.goal = targets.goal(surrogate.shift, surrogate.scale, self._ideal)
        self._aim_on(np.flatnonzero(np.asarray(reached.any(axis=1))[self.groups]))
        return True

    def _hold(self) -> None:
        """Make the limits hold where they don't."""
        lost = self._tighten(self._violating(np.arange(len(self.u))), self._heavy)
        if not len(lost) or self.interrupted:
            return
        limits = self.targets.limits(self.surrogate.shift, self.surrogate.scale, LIMIT_MARGIN)
        # With the extremum these starts do not reach the limits, so search for the limits alone from the start points.
        self.u[lost] = self.begun.u[lost]
        self.go_on(lost, limits.take(self.groups[lost]))
        inside = np.setdiff1d(lost, self._violating(lost))
        before = self.u.copy()
        lost = self._tighten(inside, HEAVIER**4)
        self.u[lost] = before[lost]

    def _tighten(self, rows: IndexArray, heavy: float) -> IndexArray:
        """Search on with ever heavier limits, beginning so many times as heavy; return rows that still violate them."""
        surrogate = self.surrogate
        asked = self._aim.take(self.groups[rows])
        limits = self.targets.limits(surrogate.shift, surrogate.scale, LIMIT_MARGIN).take(self.groups[rows])
        must = self.targets.must & ~self.targets.extremum
        weight = asked.weight * np.where(must[self.groups[rows]], heavy, 1.0)
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
            self.go_on(rows[live], _moved(Goal(lower, upper, weight), inside).take(live))
            excess[live] = self._excess(rows[live])
            after = np.abs(excess[live]).sum(axis=1)
            slow[live] = np.where((after < MIN_DECREASE * total) | (total == 0), 0, slow[live] + 1)
            live = live[(after > 0) & (slow[live] < PATIENCE)]
        return rows[excess.any(axis=1)]

    def _violating(self, rows: IndexArray) -> IndexArray:
        return rows[self._excess(rows).any(axis=1)]

    def _excess(self, rows: IndexArray) -> FloatArray:
        """Return (k, m) by how much limits are violated, signed; 0 where there is no prediction to mend."""
        return np.nan_to_num(self.targets.excess(self.predict(rows), self.groups[rows]), posinf=0.0, neginf=0.0)


def _moved(goal: Goal, inside: FloatArray) -> Goal:
    """Move the violated ends of intervals: down where `inside` is positive, up where it is negative."""
    lower, upper = goal.lower - np.minimum(inside, 0.0), goal.upper - np.maximum(inside, 0.0)
    # The other end gives way, so that an interval is never inside out; a set point moves as a whole.
    return Goal(
        np.where(inside > 0, np.minimum(lower, upper), lower),
        np.where(inside < 0, np.maximum(lower, upper), upper),
        goal.weight,
    )
