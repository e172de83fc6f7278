"""A weighted mean of several surrogates: the weights of each output are found by errors on rows left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from invdesign_core.space.arrays import FloatArray
from invdesign_core.surrogate.cross_validation import Pool

LEAST = 0.1
"""The weight below which a surrogate is left out of the mean."""


@dataclass(frozen=True)
class Blend:
    """Surrogates by name with their (m,) weights, which add up to 1, and (r, n, m) predictions for rows left out.

    The predictions for a fold are made with weights found on the other folds alone, so that their error is honest.
    """

    weights: Mapping[str, FloatArray]
    predicted: FloatArray


def blend(predicted: Mapping[str, FloatArray], pool: Pool) -> Blend:
    """Return the weighted mean with the least squared error out of fold, of (r, n, m) predictions by name.

    See Breiman, "Stacked regressions", Machine Learning 24, 1996: weights that are not negative.
    """
    said = np.stack(list(predicted.values()))
    mean = np.full(said.shape[1:], np.nan)
    all_rows: NDArray[np.bool_] = np.zeros(said.shape[1:3], dtype=np.bool_)
    all_rows[:, pool.rows.train] = True
    for fold in pool.folds:
        others = all_rows.copy()
        others[:, fold.left_out] = False
        weights = _weights(said, pool, others)
        mean[fold.repeat, fold.left_out] = np.einsum("cnm,cm->nm", said[:, fold.repeat, fold.left_out], weights)
    return Blend(dict(zip(predicted, _weights(said, pool, all_rows), strict=True)), mean)


def _weights(said: FloatArray, pool: Pool, chosen: NDArray[np.bool_]) -> FloatArray:
    """Return the (c, m) weights that suit (c, r, n, m) predictions of the (r, n) rows chosen."""
    repeat, row = np.nonzero(chosen)
    y, answers = pool.rows.y[row] / pool.scale, said[:, repeat, row] / pool.scale
    found = np.zeros((len(said), y.shape[1]))
    for m in range(y.shape[1]):
        measured = np.isfinite(y[:, m])
        found[:, m] = _simplex(answers[:, measured, m].T - y[measured, m, None])
    return found


def _simplex(errors: FloatArray) -> FloatArray:
    """Return (c,) weights that add up to 1, with the least square of the mean of (n, c) errors; none below `LEAST`."""
    from scipy.optimize import nnls

    kept = np.arange(errors.shape[1])
    while True:
        part = errors[:, kept]
        size = np.sqrt((part**2).sum())
        if len(kept) == 1 or not size > 0:
            weights = np.r_[1.0, np.zeros(len(kept) - 1)]
        else:
            firm = 1e4 * size  # the row that holds the sum, far heavier than the others
            weights = nnls(np.vstack([part, np.full(len(kept), firm)]), np.r_[np.zeros(len(part)), firm])[0]
            weights /= weights.sum()
        least = min(LEAST, weights.max())
        if (weights[weights > 0] >= least).all():
            break
        kept = kept[weights >= least]
    found = np.zeros(errors.shape[1])
    found[kept] = weights
    return found
