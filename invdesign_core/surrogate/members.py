"""Members of an ensemble: which rows each is watched on, and which of them failed to learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from invdesign_core.context import Context
from invdesign_core.data.data import Data, Rows, together
from invdesign_core.space.arrays import FloatArray
from invdesign_core.surrogate.loop import Part

FACTOR = 4.0
"""How many times the others' mean squared error a member's has to be, at least, for it to have failed."""
FEW_ROWS = 0.1
"""The share of the rows, those of a member's largest errors, that tell nothing of it."""
NEGLIGIBLE = 1e-6
"""A mean squared error in z that is never called a failure: a thousandth of an output's standard deviation."""


def cross_fitted(data: Data, rows: Rows, count: int, ctx: Context) -> list[Part] | None:
    """Return the rows of `count` further members: each is watched on as many designs as the first, but on others.

    So every row teaches someone. Designs and groups stay together, and test rows stay out. None where no row is
    watched, or the data say themselves which rows are.
    """
    pool = np.sort(np.concatenate([rows.train, rows.validation]))
    fixed = data.split is not None and bool((data.split[pool] != "").any())
    if fixed or not len(rows.validation):
        return None
    unit = together(rows.x[pool], None if data.groups is None else data.groups[pool])
    first = np.unique(unit[np.isin(pool, rows.validation)])
    others = np.setdiff1d(np.arange(unit.max() + 1), first)
    order = np.concatenate([first, ctx.rng("cross-fitting").permutation(others)])
    parts = []
    for member in range(1, count + 1):
        watched = np.isin(unit, order[(member * len(first) + np.arange(len(first))) % len(order)])
        parts.append((pool[~watched], pool[watched]))
    return parts


def failed_members(errors: FloatArray, watched: Sequence[NDArray[np.intp]]) -> list[int]:
    """Return the positions of members that failed to learn what the others learnt.

    One has failed where its mean squared error is not finite, or more than `FACTOR` times the others' even without the
    tenth of the rows where it is largest: what a few rows show may be their noise. An error that is `NEGLIGIBLE` is no
    failure. The others' error is the median over them (the lower one of two), and of each the larger of that over all
    rows and that over the rows it was watched on: where all reproduce their training rows, how exactly does not matter.

    Parameters
    ----------
    errors : ndarray
        (k, n) squared errors in z of k members on n rows.
    watched : sequence of ndarray
        The positions among the n rows of those that each member was watched on; none where it was on no row.
    """
    mean, rows = errors.mean(axis=1), errors.shape[1]
    finite = np.isfinite(mean)
    unseen = [float(error[at].mean()) if len(at) else 0.0 for error, at in zip(errors, watched, strict=True)]
    honest = np.where(finite, np.maximum(mean, unseen), np.inf)
    found = [int(at) for at in np.flatnonzero(~finite)]
    for at in np.flatnonzero(finite):
        others = np.sort(np.delete(honest, at))
        if not len(others):
            continue
        least = np.sort(errors[at])[: rows - max(1, round(FEW_ROWS * rows))]
        if least.sum() / rows > max(FACTOR * others[(len(others) - 1) // 2], NEGLIGIBLE):
            found.append(int(at))
    return sorted(found)
