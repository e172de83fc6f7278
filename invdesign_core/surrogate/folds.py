"""Folds of K-fold cross-validation: every row is left out once, and what belongs together stays together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from invdesign_core.context import Context
from invdesign_core.errors import DataError

FEW, SOME, MANY = 60, 1000, 5000
"""Numbers of distinct designs (or groups) at which the default numbers of folds and repeats change."""

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Fold:
    """The rows that teach and those left out, by their positions in the table; `repeat` counts from 0."""

    train: Indices
    left_out: Indices
    repeat: int = 0


def plan_folds(count: int, folds: int | None = None, repeats: int | None = None) -> tuple[int, int]:
    """Return how many folds and repeats so many distinct designs, or groups of them, are worth; a given number wins.

    Few rows are cheap to train on and tell the error badly: their folds are drawn more than once. Many rows tell it
    well enough in a few folds.
    """
    default = (5, 2) if count < FEW else (5, 1) if count < SOME else (3, 1) if count < MANY else (2, 1)
    return min(folds or default[0], count), repeats or default[1]


def make_folds(group: Indices, rows: Indices, folds: int, repeats: int, ctx: Context) -> list[Fold]:
    """Deal out (k,) rows of a table to folds of nearly equal size; rows of one number in (n,) `group` stay together.

    Parameters
    ----------
    group : ndarray
        (n,) for each row of the table the number that it shares with the rows it belongs to.
    rows : ndarray
        (k,) positions of the rows to be dealt out.
    folds, repeats : int
        How many folds, and how many times they are drawn.
    ctx : Context
        Its seed fixes them.
    """
    numbers, at, sizes = np.unique(group[rows], return_inverse=True, return_counts=True)
    if not 2 <= folds <= len(numbers):
        raise DataError(
            f"there are {len(numbers)} distinct designs or groups for {folds} folds of a cross-validation",
            "name a surrogate, which needs none (--surrogate NAME), or measure more",
        )
    made = []
    for repeat in range(repeats):
        order = ctx.rng("folds", repeat).permutation(len(numbers))
        order = order[np.argsort(-sizes[order], kind="stable")]  # the largest first, so that the small ones even it out
        fold = np.zeros(len(numbers), dtype=np.intp)
        filled = np.zeros(folds)
        for number in order:  # each goes where the fewest rows are, which the next has to know
            fold[number] = np.argmin(filled)
            filled[fold[number]] += sizes[number]
        row_fold = fold[at.reshape(-1)]
        made += [Fold(rows[row_fold != k], rows[row_fold == k], repeat) for k in range(folds)]
    return made


def thinned(group: Indices, rows: Indices, share: float, ctx: Context, index: int) -> Indices:
    """Return a share of (k,) rows of a table, whole designs or groups at a time; smaller shares are parts of larger."""
    numbers = np.unique(group[rows])
    order = ctx.rng("thinned", index).permutation(numbers)
    kept = order[: max(1, round(share * len(order)))]
    return rows[np.isin(group[rows], kept)]


def validation_part(group: Indices, rows: Indices, share: float, ctx: Context, index: int) -> tuple[Indices, Indices]:
    """Split (k,) rows that teach into those trained on, and a share that early stopping watches."""
    numbers = np.unique(group[rows])
    if share == 0 or len(numbers) < 2:
        return rows, rows[:0]
    order = ctx.rng("fold-validation", index).permutation(numbers)
    watched = np.isin(group[rows], order[: max(1, round(share * len(order)))])
    return rows[~watched], rows[watched]
