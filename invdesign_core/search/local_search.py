"""Rounded designs made better: by the neighbours that exist, one or two variables away, until none is better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from invdesign_core.search.plan import Plan
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable

if TYPE_CHECKING:
    from invdesign_core.context import Context

IMPROVED = 8
"""Rows of each target whose neighbours are looked at: the best that differ in their discrete values."""
FEW = 16
"""Values of a variable up to which each of them is a neighbour of each other."""
STRIDES = (1, 2, 4, 8)
"""Steps, up and down, to the neighbours of a value among more of them."""
EXCHANGES = (1, 2, 3)
"""Steps, up and down, where two variables move together."""
PAIRS = 20_000
"""Moves of two variables at most; more of them are drawn at random."""
ROUNDS = 200
CHUNK = 2**18
"""Neighbours that are looked at together."""

Score = Callable[[FloatArray, IndexArray], FloatArray]
"""From (n, e) designs and their rows to (n,) scores, smaller is better; infinite where one may not be taken."""


@dataclass(frozen=True)
class _Moves:
    """m moves of k variables at once.

    Attributes
    ----------
    which : ndarray of int
        (k, m) the variables, counted among the free ones.
    steps : ndarray of int
        (k, m) by how many values each moves.
    around : ndarray of bool
        (k, m) whether the last value is followed by the first.
    """

    which: IndexArray
    steps: IndexArray
    around: NDArray[np.bool_]


@dataclass
class _Search:
    """The state of a local search: designs, the numbers of their discrete values, and their scores."""

    space: Space
    free: tuple[int, ...]
    movable: NDArray[np.bool_]
    """(r, d) whether a row's variable may move."""
    x: FloatArray
    index: IndexArray
    """(r, d)"""
    score: FloatArray
    evaluations: NDArray[np.int64]

    def step(self, rows: IndexArray, moves: _Moves, score: Score) -> NDArray[np.bool_]:
        """Take the best move of each of some rows; return which of them became better."""
        better = np.zeros(len(rows), dtype=bool)
        if not moves.which.size:  # a lone variable makes no pairs
            return better
        block = max(CHUNK // moves.which.shape[1], 1)
        for at in range(0, len(rows), block):  # so that memory is bounded
            better[at : at + block] = self._step(rows[at : at + block], moves, score)
        return better

    def _step(self, rows: IndexArray, moves: _Moves, score: Score) -> NDArray[np.bool_]:
        count = moves.which.shape[1]
        x = np.repeat(self.x[rows][:, None], count, axis=1)
        index = np.repeat(self.index[rows][:, None], count, axis=1)
        valid = np.ones((len(rows), count), dtype=bool)
        for which, steps, around in zip(moves.which, moves.steps, moves.around, strict=True):
            for j in np.unique(which):  # each variable has columns and values of its own
                variable, columns = self.space.variables[self.free[j]], self.space.slices[self.free[j]]
                here = np.flatnonzero(which == j)
                size = variable.count or 1
                new = index[:, here, j] + steps[here]
                valid[:, here] &= self.movable[rows, j][:, None] & (around[here] | ((new >= 0) & (new < size)))
                new = new % size
                index[:, here, j] = new
                x[:, here, columns] = variable.at(new.ravel()).reshape(*new.shape, -1)
        scores = np.full((len(rows), count), np.inf)
        scores[valid] = score(x[valid], rows[np.nonzero(valid)[0]])
        np.add.at(self.evaluations, rows, valid.sum(axis=1))
        best = np.argmin(scores, axis=1)
        found, each = scores[np.arange(len(rows)), best], np.arange(len(rows))
        better = np.asarray(found < self.score[rows] - 1e-12 - 1e-6 * np.abs(np.where(np.isfinite(found), found, 0.0)))
        taken = rows[better]
        self.x[taken], self.index[taken] = x[each, best][better], index[each, best][better]
        self.score[taken] = found[better]
        return better

    def descend(self, singles: _Moves, pairs: _Moves, score: Score, ctx: Context) -> None:
        """Take the best move of each row, of one variable or else of two, until no row gets better."""
        rows = np.arange(len(self.x))
        for _ in range(ROUNDS):
            ctx.check_stop()
            if not len(rows) or ctx.out_of_time():
                return
            better = self.step(rows, singles, score)
            stuck = rows[~better]
            freed = self.step(stuck, pairs, score) if len(stuck) else np.zeros(0, dtype=bool)
            rows = np.concatenate([rows[better], stuck[freed]])


Polish = Callable[[FloatArray], tuple[FloatArray, NDArray[np.int64], bool]]
"""From (b, e) designs to the same with better continuous variables, (b,) evaluations, and whether time ran out."""


@dataclass(frozen=True)
class Surroundings:
    """Where b designs may go.

    Attributes
    ----------
    space : Space
        The design variables.
    plan : Plan
        Names the free discrete variables.
    low, high : ndarray
        (b, e) lowest and highest encoded values of each design's box; those of discrete columns exist.
    held : ndarray
        (b, e) values that neighbours keep, NaN where they may differ.
    """

    space: Space
    plan: Plan
    low: FloatArray
    high: FloatArray
    held: FloatArray


def rounded_and_improved(
    x: FloatArray,
    relaxed: FloatArray,
    groups: IndexArray,
    scores: Sequence[Score],
    around: Surroundings,
    polish: Polish | None,
    ctx: Context,
) -> tuple[FloatArray, NDArray[np.int64], bool]:
    """Repair and polish rounded designs, search their neighbours, and polish again what that changed.

    Parameters
    ----------
    x, relaxed : ndarray
        (b, e) encoded designs, rounded and as they were before.
    groups : ndarray of int
        (b,) the target of each.
    scores : sequence of callable
        From (n, e) designs and their (n,) targets to (n,) scores; the neighbours are searched by one after another.
    around : Surroundings
        Where the designs may go.
    polish : callable, optional
        Moves the continuous variables with the discrete ones fixed; None where there are none.
    ctx : Context
        Holds the deadline.

    Returns
    -------
    x : ndarray
        (b, e) the designs.
    evaluations : ndarray of int
        (b,) points that were evaluated for each.
    interrupted : bool
        Whether time ran out.
    """
    evaluations, interrupted = np.zeros(len(x), dtype=np.int64), False
    x = repair(x, relaxed, around, ctx)
    if polish is not None:
        x, evaluations, interrupted = polish(x)
    for score in scores:
        if interrupted:
            break
        better, more = improve(x, groups, score, around, ctx)
        changed = (better != x).any(axis=1)
        x, evaluations, interrupted = better, evaluations + more, ctx.out_of_time()
        if polish is not None and changed.any() and not interrupted:
            polished, more, interrupted = polish(x)
            evaluations = evaluations + more
            worse = ~(score(polished, groups) <= score(x, groups))
            x = np.where(worse[:, None], x, polished)
    return x, evaluations, interrupted


def repair(x: FloatArray, relaxed: FloatArray, around: Surroundings, ctx: Context) -> FloatArray:
    """Return rounded designs moved to values with which the constraints can hold, near to where they were.

    Parameters
    ----------
    x, relaxed : ndarray
        (b, e) encoded designs, rounded and as they were before.
    around : Surroundings
        Where the designs may go.
    ctx : Context
        Holds the deadline.

    Returns
    -------
    ndarray
        (b, e) the designs; one stays as it was if no design of its box satisfies the constraints.
    """
    space, low, high = around.space, around.low, around.high
    if not space.constraints:
        return x
    unit = np.where(space.bounds[1] > space.bounds[0], space.bounds[1] - space.bounds[0], 1.0)
    continuous = ~space.discrete

    def outside(points: FloatArray, rows: IndexArray) -> FloatArray:
        """By how much the constraints are violated, whatever the continuous variables are."""
        lower, upper = np.where(continuous, low[rows], points), np.where(continuous, high[rows], points)
        return space.feasible_set.violation(lower, upper)

    broken = np.flatnonzero(outside(x, np.arange(len(x))) > 0)
    if not len(broken):
        return x

    def score(points: FloatArray, rows: IndexArray) -> FloatArray:
        far = ((points - relaxed[broken[rows]]) / unit) ** 2
        left = ((points < low[broken[rows]]) | (points > high[broken[rows]])) & ~continuous
        return np.where(left.any(axis=1), np.inf, 1e6 * outside(points, broken[rows]) + far.sum(axis=1))

    search = _search(x[broken], space, around.plan, np.where(low == high, low, np.nan)[broken])
    search.score = score(search.x, np.arange(len(broken)))
    search.descend(*_moves(space, around.plan, ctx), score, ctx)
    repaired = x.copy()
    repaired[broken] = search.x
    left = broken[outside(search.x, broken) > 0]  # no neighbour was nearer to the constraints
    if len(left):
        found = space.feasible_set.within(low[left], high[left]).nearest(repaired[left])
        exists = np.isfinite(found).all(axis=1)
        repaired[left[exists]] = found[exists]
    return repaired


def improve(
    x: FloatArray, groups: IndexArray, score: Score, around: Surroundings, ctx: Context
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Move the best rows of each target to their best neighbours until none is better.

    A round evaluates all neighbours of all rows in one call: one variable at another of its values, and, for rows
    that this makes no better, two variables together, without which no sum could be kept.

    Parameters
    ----------
    x : ndarray
        (b, e) encoded designs, rounded.
    groups : ndarray of int
        (b,) the target of each.
    score : callable
        From (n, e) designs and their (n,) targets to (n,) scores.
    around : Surroundings
        Where the designs may go.
    ctx : Context
        Holds the deadline.

    Returns
    -------
    x : ndarray
        (b, e) the designs, some of them better.
    evaluations : ndarray of int
        (b,) neighbours that were evaluated for each.
    """
    everything = _search(x, around.space, around.plan, around.held)
    found = score(x, groups)
    best = _best(everything.index, groups, found)
    search = replace(
        everything,
        x=x[best],
        index=everything.index[best],
        movable=everything.movable[best],
        score=found[best],
        evaluations=np.zeros(len(best), dtype=np.int64),
    )

    search.descend(*_moves(around.space, around.plan, ctx), lambda points, rows: score(points, groups[best[rows]]), ctx)
    x, evaluations = x.copy(), np.ones(len(x), dtype=np.int64)
    x[best] = search.x
    evaluations[best] += search.evaluations
    return x, evaluations


def _search(x: FloatArray, space: Space, plan: Plan, held: FloatArray) -> _Search:
    variables = [(space.variables[i], space.slices[i]) for i in plan.free]
    index = np.stack([variable.index(x[:, s]) for variable, s in variables], axis=1)
    # Labels that a category may not take are held, each at 0; where it is held itself, all of its columns are.
    movable = np.stack([np.isnan(held[:, s]).any(axis=1) for _, s in variables], axis=1)
    nothing = np.zeros(len(x), dtype=np.int64)
    return _Search(space, plan.free, movable, x.copy(), index, np.full(len(x), np.inf), nothing)


def _best(index: IndexArray, groups: IndexArray, scores: FloatArray) -> IndexArray:
    """Return the rows with the smallest scores of each target, no two of them with the same discrete values."""
    order = np.lexsort((np.arange(len(scores)), scores, groups))
    _, firsts = np.unique(np.column_stack([groups, index])[order], axis=0, return_index=True)
    rows = order[np.sort(firsts)]
    starts = np.flatnonzero(np.r_[True, groups[rows][1:] != groups[rows][:-1]])
    rank = np.arange(len(rows)) - np.repeat(starts, np.diff(np.r_[starts, len(rows)]))
    return rows[rank < IMPROVED]


def _moves(space: Space, plan: Plan, ctx: Context) -> tuple[_Moves, _Moves]:
    """Return the moves of one variable, and those of two."""
    free = [space.variables[i] for i in plan.free]
    singles = _listed([_strides(v) for v in free], free)
    units = _listed([_exchanges(v, EXCHANGES) for v in free], free)
    if units.which.shape[1] ** 2 / 2 > PAIRS:
        units = _listed([_exchanges(v, EXCHANGES[:1]) for v in free], free)
    which = units.which[0]
    a, b = np.triu_indices(len(which), 1)
    a, b = a[which[a] != which[b]], b[which[a] != which[b]]
    if len(a) > PAIRS:
        drawn = ctx.rng("pairs of moves").choice(len(a), PAIRS, replace=False)
        a, b = a[drawn], b[drawn]
    both = np.stack([a, b])
    return singles, _Moves(which[both], units.steps[0][both], units.around[0][both])


def _listed(steps: list[list[int]], free: list[Variable]) -> _Moves:
    which = np.repeat(np.arange(len(free)), [len(s) for s in steps])
    around = np.array([(v.count or 1) <= FEW or not v.ordered for v in free])
    return _Moves(which[None], np.array([s for own in steps for s in own], dtype=np.intp)[None], around[which][None])


def _strides(variable: Variable) -> list[int]:
    """Return the steps to a variable's neighbours: all of few values, else those near."""
    size = variable.count or 1
    if size <= FEW or not variable.ordered:
        return list(range(1, size))
    return [sign * step for step in STRIDES for sign in (1, -1)]


def _exchanges(variable: Variable, steps: tuple[int, ...]) -> list[int]:
    """Return a variable's steps where another moves too."""
    size = variable.count or 1
    if not variable.ordered:
        return list(range(1, size))
    if size <= 2 * max(steps) + 1:
        return list(range(1, size))
    return [sign * step for step in steps for sign in (1, -1)]
