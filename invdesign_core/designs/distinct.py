"""Which of the points reached are reported: the best of each basin, then points spread along wide ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.search.local_search import precedes
from invdesign_core.space.arrays import FloatArray, IndexArray

SAME = 0.01
"""Designs nearer than this share of each variable's range are one answer."""
LINK = 0.05
"""Points nearer than this share of each variable's range lie in one basin, and so do chains of them."""
TIE = 1e-10
"""Losses below this are equal: an exact solver leaves nothing but rounding."""
NEAR_BEST = 2.0
"""Where nothing meets the target, designs of up to this many times the least loss are reported."""
NEIGHBOURS = 8
"""Links that a point has at most; a basin of more points hangs together by chains."""


@dataclass(frozen=True)
class Picked:
    """The (n,) points to report, by target and rank; the starts that led to each: those of its basin nearest to it."""

    rows: IndexArray
    starts: IndexArray
    ranks: IndexArray


def pick(
    groups: IndexArray,
    unit: FloatArray,
    hit: NDArray[np.bool_],
    keys: FloatArray,
    count: int,
    outside: FloatArray | None = None,
) -> Picked:
    """Pick distinct designs for all targets at once, in as many steps as designs are asked for.

    A step takes one point of each target. Basins that gave none yet come first, by their least score.
    Among equals, points inside the data come before others, then those far from the designs that were
    taken, then those near to the data. Where every basin has given one, their other points follow
    alike.

    Parameters
    ----------
    groups : ndarray of int
        (b,) target of each point; the points of one target stand together.
    unit : ndarray
        (b, e) points in shares of each variable's range.
    hit : ndarray of bool
        (b,) whether a point meets its target.
    keys : ndarray
        (k, b) what to rank by, the first one first, smaller is better; a point with one that isn't finite is not
        reported.
    count : int
        Designs for each target at most.
    outside : ndarray, optional
        (b,) distances to the data in multiples of what is usual there: above 1 is outside.

    Returns
    -------
    Picked
        By target and rank.
    """
    worth = np.flatnonzero(_worth_reporting(groups, hit, keys))
    of, p, exact = _numbered(groups[worth]), unit[worth], keys[:, worth]
    off = np.zeros(len(worth)) if outside is None else outside[worth]
    tied = np.where(exact < TIE, 0.0, exact)
    basin = _basins(of, p)
    targets = int(of.max()) + 1 if len(of) else 0
    served = np.zeros(int(basin.max()) + 1 if len(basin) else 0, dtype=np.bool_)
    far, left = np.full(len(worth), np.inf), np.ones(len(worth), dtype=np.bool_)
    within, part = np.full(len(worth), np.inf), np.full(len(worth), -1)
    chosen: list[IndexArray] = []
    total = 0
    for _ in range(count):
        rows = np.flatnonzero(left)
        if not len(rows):
            break
        done = served[basin[rows]]
        # Rounded, since two seeds reach one answer with other last digits.
        rank = (
            done,
            *np.where(done, 0.0, tied[:, rows]),
            off[rows] > 1,
            -np.round(far[rows], 3),
            np.round(off[rows], 3),
        )
        first = rows[_least(of[rows], chain(rank, (np.round(column[rows], 3) for column in p.T)))]
        best = _best_alike(rows, of, p, tied, exact, off, first)
        mine = np.full(targets, -1)
        mine[of[best]] = best
        there = np.flatnonzero(mine[of] >= 0)
        distance = p[there] - p[mine[of[there]]]
        euclid = np.sqrt((distance**2).sum(axis=1))
        left[there[(np.abs(distance) <= SAME).all(axis=1)]] = False
        far[there] = np.minimum(far[there], euclid)
        nearer = (basin[there] == basin[mine[of[there]]]) & (euclid < within[there])
        number = np.full(len(worth), -1)
        number[best] = total + np.arange(len(best))
        within[there[nearer]] = euclid[nearer]
        part[there[nearer]] = number[mine[of[there[nearer]]]]
        served[basin[best]] = True
        chosen.append(best)
        total += len(best)
    if not chosen:
        nothing = np.zeros(0, dtype=np.intp)
        return Picked(nothing, nothing, nothing)
    best = np.concatenate(chosen)
    ranks = np.repeat(np.arange(1, len(chosen) + 1), [len(part) for part in chosen])
    starts = np.bincount(part[part >= 0], minlength=total)
    order = np.lexsort((ranks, of[best]))
    return Picked(worth[best[order]], starts[order], ranks[order])


def _worth_reporting(groups: IndexArray, hit: NDArray[np.bool_], keys: FloatArray) -> NDArray[np.bool_]:
    """Return (b,) which points are answers: those that hit, else those that come before twice the least keys."""
    begins = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    sizes = np.diff(np.r_[begins, len(groups)])
    fine = np.isfinite(keys).all(axis=0)
    hit = hit & fine
    reached = np.repeat(np.logical_or.reduceat(hit, begins), sizes)
    ranked = np.where(fine, keys, np.inf)
    least = ranked[:, np.lexsort((*ranked[::-1], groups))[begins]]
    limit = NEAR_BEST * np.repeat(least, sizes, axis=1)
    limit[-1] += TIE
    return np.where(reached, hit, fine & ~precedes(limit, keys))


def _numbered(groups: IndexArray) -> IndexArray:
    """Number the targets that occur in (n,) sorted rows from 0."""
    return np.cumsum(np.r_[False, groups[1:] != groups[:-1]][: len(groups)])


def _least(of: IndexArray, keys: Iterable[NDArray[Any]]) -> IndexArray:
    """Return the position of one row of each target: that of the least first (n,) key, among equals of the second.

    Targets are in ascending order; keys that no tie is left for are not asked for.
    """
    rows = np.arange(len(of))
    for key in keys:
        begins = np.flatnonzero(np.r_[True, of[rows][1:] != of[rows][:-1]])
        values = key[rows]
        least = np.repeat(np.minimum.reduceat(values, begins), np.diff(np.r_[begins, len(rows)]))
        rows = rows[values == least]
        if len(rows) == len(begins):
            break
    return np.asarray(rows[np.r_[True, of[rows][1:] != of[rows][:-1]]])


def _best_alike(
    rows: IndexArray,
    of: IndexArray,
    p: FloatArray,
    tied: FloatArray,
    exact: FloatArray,
    off: FloatArray,
    first: IndexArray,
) -> IndexArray:
    """Replace each target's point by the best one that is the same answer, to the last digit of its score."""
    mine = np.full(int(of.max()) + 1, -1)
    mine[of[first]] = first
    to = mine[of[rows]]
    alike = rows[(tied[:, rows] == tied[:, to]).all(axis=0) & (np.abs(p[rows] - p[to]) <= SAME).all(axis=1)]
    return np.asarray(alike[_least(of[alike], (*exact[:, alike], off[alike]))])


def _basins(of: IndexArray, p: FloatArray) -> IndexArray:
    """Number the basins of (n, e) points in shares of the ranges: what hangs together in steps of about `LINK`.

    Points of one cell of a grid stand for each other, so that many starts in one place cost no more than one.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    if not len(of):
        return np.zeros(0, dtype=np.intp)
    cells = np.column_stack([of, np.floor(p / LINK).astype(np.int64)])
    # One number stands for a row of them: sorting numbers is far faster, and two alike are as good as impossible.
    mixed = cells @ np.random.default_rng(0).integers(1, 2**62, size=cells.shape[1])
    first, cell = np.unique(mixed, return_index=True, return_inverse=True)[1:]
    points = np.column_stack([of[first], p[first]])  # another target is far away
    tree = cKDTree(points, balanced_tree=False, compact_nodes=False)
    near = tree.query(points, k=min(NEIGHBOURS, len(points)), p=np.inf, distance_upper_bound=2 * LINK)[1]
    near = near.reshape(len(points), -1)
    i, j = np.nonzero(near < len(points))
    links = coo_array((np.ones(len(i)), (i, near[i, j])), shape=(len(points), len(points)))
    label = connected_components(links, directed=False)[1]
    return np.asarray(label[cell.reshape(-1)], dtype=np.intp)
