"""Rounded designs made better: by the neighbours that exist, one or two variables away, until none is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from invdesign_core.context import Context
from invdesign_core.space.arrays import FloatArray, IndexArray, Mask
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable

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
"""From (n, e) designs and their rows to (k, n) keys to sort by, the first one first; infinite where ruled out."""


class _Moves(NamedTuple):
    """m moves of k variables at once."""

    which: IndexArray  # (k, m) the variables, counted among the free ones
    steps: IndexArray  # (k, m) by how many values each moves
    around: Mask  # (k, m) whether the last value is followed by the first


@dataclass
class _Search:
    """The state of a local search over some free discrete variables."""

    space: Space
    free: tuple[int, ...]
    movable: Mask  # (r, d) whether a row's variable may move
    x: FloatArray  # (r, e)
    index: IndexArray  # (r, d) the numbers of the discrete values
    keys: FloatArray  # (k, r)
    evaluations: IndexArray  # (r,)

    @classmethod
    def of(cls, x: FloatArray, space: Space, free: tuple[int, ...], held: FloatArray, keys: FloatArray) -> _Search:
        """Begin at (r, e) designs with (k, r) keys; what is held, (r, e) and NaN where free, does not move."""
        variables = [(space.variables[i], space.slices[i]) for i in free]
        # Labels that a category may not take are held, each at 0; where it is held itself, all of its columns are.
        movable = np.stack([np.isnan(held[:, s]).any(axis=1) for _, s in variables], axis=1)
        return cls(space, free, movable, x.copy(), _indices(space, free, x), keys, np.zeros(len(x), dtype=np.intp))

    def descend(self, score: Score, ctx: Context) -> None:
        """Take the best move of each row, of one variable or else of two, until no row gets better."""
        singles, pairs = _moves([self.space.variables[i] for i in self.free], ctx)
        rows = np.arange(len(self.x))
        for _ in range(ROUNDS):
            ctx.check_stop()
            if not len(rows) or ctx.out_of_time():
                return
            better = self._step(rows, singles, score)
            stuck = rows[~better]
            rows = np.concatenate([rows[better], stuck[self._step(stuck, pairs, score)]])

    def _step(self, rows: IndexArray, moves: _Moves, score: Score) -> Mask:
        """Take the best move of each of some rows; return which of them became better."""
        count, each = moves.which.shape[1], np.arange(len(rows))
        if not count or not len(rows):  # a lone variable makes no pairs
            return np.zeros(len(rows), dtype=bool)
        block = max(CHUNK // count, 1)
        if len(rows) > block:  # so that memory is bounded
            parts = np.split(rows, range(block, len(rows), block))
            return np.concatenate([self._step(part, moves, score) for part in parts])
        x = np.repeat(self.x[rows][:, None], count, axis=1)
        index = np.repeat(self.index[rows][:, None], count, axis=1)
        valid = np.ones((len(rows), count), dtype=bool)
        for which, steps, around in zip(*moves, strict=True):
            for j in np.unique(which):  # each variable has columns and values of its own
                variable, columns = self.space.variables[self.free[j]], self.space.slices[self.free[j]]
                here = np.flatnonzero(which == j)
                size = variable.count or 1
                new = index[:, here, j] + steps[here]
                valid[:, here] &= self.movable[rows, j][:, None] & (around[here] | ((new >= 0) & (new < size)))
                new = new % size
                index[:, here, j] = new
                x[:, here, columns] = variable.at(new.ravel()).reshape(*new.shape, -1)
        keys = np.full((len(self.keys), len(rows), count), np.inf)
        keys[:, valid] = score(x[valid], rows[np.nonzero(valid)[0]])
        self.evaluations[rows] += valid.sum(axis=1)
        left = np.ones(valid.shape, dtype=bool)
        for key in keys:
            key = np.where(left, key, np.inf)
            left &= key == key.min(axis=1, keepdims=True)
        best = left.argmax(axis=1)
        found = keys[:, each, best]
        better = precedes(found, self.keys[:, rows], slack=1e-6)
        taken = rows[better]
        self.x[taken], self.index[taken] = x[each, best][better], index[each, best][better]
        self.keys[:, taken] = found[:, better]
        return better


def precedes(keys: FloatArray, others: FloatArray, slack: float = 0.0) -> Mask:
    """Return (n,) whether (k, n) keys come before others; where they are alike but for a slack, they do not."""
    margin = slack * np.abs(np.where(np.isfinite(keys), keys, 0.0)) + slack**2
    found = np.zeros(keys.shape[1:], dtype=bool)
    for less, alike in zip((keys < others - margin)[::-1], (keys == others)[::-1], strict=True):
        found = less | (alike & found)
    return found


def repair(
    x: FloatArray, relaxed: FloatArray, bounds: FloatArray, space: Space, free: tuple[int, ...], ctx: Context
) -> FloatArray:
    """Return rounded designs moved to values with which the constraints can hold, near to where they were.

    Designs are (b, e), encoded, rounded, and relaxed as before that. One stays as it was if no design inside its
    bounds, of which those of discrete columns exist, satisfies the constraints.
    """
    (low, high), continuous = bounds, ~space.discrete
    if not space.constraints:
        return x
    unit = np.where(space.bounds[1] > space.bounds[0], space.bounds[1] - space.bounds[0], 1.0)

    def outside(points: FloatArray, rows: IndexArray) -> FloatArray:
        """By how much the constraints are violated, whatever the continuous variables are."""
        lower, upper = np.where(continuous, low[rows], points), np.where(continuous, high[rows], points)
        return space.feasible_set.violation(lower, upper)

    broken = np.flatnonzero(outside(x, np.arange(len(x))) > 0)
    if not len(broken):
        return x

    def score(points: FloatArray, rows: IndexArray) -> FloatArray:
        rows = broken[rows]
        far = (((points - relaxed[rows]) / unit) ** 2).sum(axis=1)
        left = ((points < low[rows]) | (points > high[rows])) & ~continuous
        return np.where(left.any(axis=1), np.inf, np.stack([outside(points, rows).round(9), far]))

    held = np.where(low == high, low, np.nan)[broken]
    search = _Search.of(x[broken], space, free, held, score(x[broken], np.arange(len(broken))))
    search.descend(score, ctx)
    repaired = x.copy()
    repaired[broken] = search.x
    left = broken[outside(search.x, broken) > 0]  # no neighbour was nearer to the constraints
    if len(left):
        found = space.feasible_set.within(low[left], high[left]).nearest(repaired[left])
        exists = np.isfinite(found).all(axis=1)
        repaired[left[exists]] = found[exists]
    return repaired


def improve(
    x: FloatArray,
    groups: IndexArray,
    score: Score,
    held: FloatArray,
    space: Space,
    free: tuple[int, ...],
    ctx: Context,
) -> tuple[FloatArray, IndexArray]:
    """Return (b, e) rounded designs with the best of each of their (b,) targets moved, and (b,) evaluations.

    These go to their best neighbours until none is better. A round evaluates all neighbours of all rows in one call:
    one variable at another of its values, and, for rows that this makes no better, two variables together, without
    which no sum could be kept. The score is told the targets; what is held, (b, e) and NaN where free, stays.
    """
    keys = score(x, groups)
    best = _best(_indices(space, free, x), groups, keys)
    search = _Search.of(x[best], space, free, held[best], keys[:, best])
    search.descend(lambda points, rows: score(points, groups[best[rows]]), ctx)
    x, evaluations = x.copy(), np.ones(len(x), dtype=np.intp)
    x[best] = search.x
    evaluations[best] += search.evaluations
    return x, evaluations


def _indices(space: Space, free: tuple[int, ...], x: FloatArray) -> IndexArray:
    return np.stack([space.variables[i].index(x[:, space.slices[i]]) for i in free], axis=1)


def _best(index: IndexArray, groups: IndexArray, keys: FloatArray) -> IndexArray:
    """Return the best rows of each target by (k, b) keys, no two of them with the same discrete values."""
    order = np.lexsort((*keys[::-1], groups))
    _, firsts = np.unique(np.column_stack([groups, index])[order], axis=0, return_index=True)
    rows = order[np.sort(firsts)]
    starts = np.flatnonzero(np.r_[True, groups[rows][1:] != groups[rows][:-1]])
    rank = np.arange(len(rows)) - np.repeat(starts, np.diff(np.r_[starts, len(rows)]))
    return rows[rank < IMPROVED]


def _moves(free: list[Variable], ctx: Context) -> tuple[_Moves, _Moves]:
    """Return the moves of one of the free variables, and those of two."""
    singles = _listed([_steps(v, STRIDES, FEW) for v in free], free)
    units = _listed([_steps(v, EXCHANGES, 2 * EXCHANGES[-1] + 1) for v in free], free)
    if units.which.shape[1] ** 2 / 2 > PAIRS:
        units = _listed([_steps(v, EXCHANGES[:1], 2 * EXCHANGES[0] + 1) for v in free], free)
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


def _steps(variable: Variable, near: tuple[int, ...], few: int) -> list[int]:
    """Return the steps to a variable's neighbours: all of few values, or of labels, else those near, up and down."""
    size = variable.count or 1
    if size <= few or not variable.ordered:
        return list(range(1, size))
    return [sign * step for step in near for sign in (1, -1)]
