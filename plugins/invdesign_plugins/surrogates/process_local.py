"""A Gaussian process of many rows, which predicts each design from the rows nearest to it."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from invdesign_core.plugin import FloatArray
from invdesign_plugins.surrogates.process_fit import MANY, Rows
from invdesign_plugins.surrogates.process_model import (
    PER_OUTPUT,
    GaussianProcess,
    array_of,
    signal_variance,
    solved,
)
from invdesign_plugins.surrogates.process_posterior import LEAST_VARIANCE

AT_ONCE = 32
"""Designs whose neighbours' covariances are in memory at once."""


@keras.saving.register_keras_serializable("invdesign")
class LocalProcess(GaussianProcess):
    """A Gaussian process that answers for a design by those of its rows that are nearest to it.

    The hyper-parameters are looked for on some of the rows, once. Near is by the lengths of each output. See Vecchia,
    "Estimation and model identification for continuous spatial processes", J. R. Statist. Soc. B 50, 1988.

    Parameters
    ----------
    neighbours : int
        Rows that a prediction is made from.
    **options
        As `GaussianProcess` takes them.
    """

    def __init__(self, columns: int, responses: int, neighbours: int = 128, **options: Any) -> None:
        super().__init__(columns, responses, **options)
        self.search_rows = min(self.search_rows or MANY, MANY)
        self.neighbours = neighbours

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "neighbours": self.neighbours}

    def call(self, x: Any) -> Any:
        """Return mean and standard deviation."""
        count = min(self.neighbours, self.rows)
        own = (self.lengths, self.variance, self.noise_ratio, self.measured)
        weights = (*own, self.coefficients, self.coefficients_rest)
        return tuple(self._each(partial(part, count), x, *weights) for part in (_mean, _deviation))

    def predict(self, x: Any, **options: Any) -> tuple[FloatArray, FloatArray]:  # type: ignore[override]
        """Return what `call` does, by NumPy: as (r, m) float64 arrays, and without compiling anything."""
        return self._answers(x, without=False)

    def left_out(self, x: Any) -> tuple[FloatArray, FloatArray]:
        """Return what `predict` would say of each of (r, e) designs, had the process not learnt from that design."""
        return self._answers(x, without=True)

    def _answers(self, x: Any, without: bool) -> tuple[FloatArray, FloatArray]:
        kept = {weight.name: array_of(weight) for weight in self.weights}
        x = np.asarray(x, np.float32).astype(np.float64)
        mean, std = np.zeros((len(x), self.responses)), np.zeros((len(x), self.responses))
        for j in range(self.responses):
            own = [kept[name][j] for name in PER_OUTPUT]
            mean[:, j], std[:, j] = _answer(x, kept["points"], self.neighbours, without, *own)
        return mean, std

    def _learnt(self, rows: Rows, weight: FloatArray, lengths: FloatArray, ratio: float) -> tuple[FloatArray, float]:
        """Return the measurements themselves: coefficients are found for the neighbours of each design."""
        some = self._some(rows)
        return rows.y, signal_variance(some, solved(some, some.weight, lengths, ratio), ratio)


def _answer(
    x: FloatArray,
    points: FloatArray,
    neighbours: int,
    without: bool,
    lengths: FloatArray,
    variance: float,
    noise_ratio: float,
    measured: FloatArray,
    values: FloatArray,
    rest: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return the (r,) mean and standard deviation of one output; `without` leaves a design's own row out."""
    from scipy.spatial import cKDTree

    known = measured > 0
    points, y, noise = points[known] / lengths, (values + rest)[known], noise_ratio / measured[known]
    tree, mean, std = cKDTree(points), [np.zeros(0)], [np.zeros(0)]
    for at in range(0, len(x), AT_ONCE):
        piece = x[at : at + AT_ONCE] / lengths
        near = _nearest(tree, piece, min(neighbours, len(points) - without), without)
        # About the design, so that little is lost where squares of near distances are differences of larger ones.
        about = points[near] - piece[:, None]
        square = np.einsum("rke,rke->rk", about, about)
        between = square[:, :, None] + square[:, None] - 2 * (about @ about.transpose(0, 2, 1))
        covariance = _matern_numpy(np.maximum(between, 0, out=between))
        count = near.shape[1]
        covariance[:, range(count), range(count)] = 1 + noise[near]
        across = _matern_numpy(square)
        weights = np.linalg.solve(covariance, across[:, :, None])[:, :, 0]
        mean.append((weights * y[near]).sum(axis=1))
        std.append(np.sqrt(variance * np.maximum(1 - (weights * across).sum(axis=1), LEAST_VARIANCE)))
    return np.concatenate(mean), np.concatenate(std)


def _nearest(tree: Any, x: FloatArray, count: int, without: bool) -> NDArray[np.intp]:
    """Return the (r, count) positions of the nearest points; `without` those that are the design itself."""
    distance, near = tree.query(x, k=count + without, workers=-1)
    distance, near = distance.reshape(len(x), -1), near.reshape(len(x), -1)
    if not without:
        return np.asarray(near, dtype=np.intp)
    # Itself goes to the end, where the farthest is left out if no point is the design.
    order = np.argsort(distance == 0, axis=1, kind="stable")[:, :count]
    return np.asarray(np.take_along_axis(near, order, axis=1), dtype=np.intp)


def _matern_numpy(square: FloatArray) -> FloatArray:
    """Return the covariances at squares of distances in lengths."""
    r = np.sqrt(5 * square)
    return np.asarray((1 + r + r * r / 3) * np.exp(-r))


def _near(count: int, x: Any, points: Any, lengths: Any, noise_ratio: Any, measured: Any) -> tuple[Any, Any, Any]:
    """Return the (r, count) positions of neighbours, their Cholesky factors, and their covariances with each design."""
    scaled, x = points / lengths, x / lengths
    square = ops.sum(x * x, axis=1)[:, None] + ops.sum(scaled * scaled, axis=1)
    square = square - 2 * ops.matmul(x, ops.transpose(scaled))
    near = ops.top_k(-ops.stop_gradient(square) - ops.where(measured > 0, 0.0, 1e30), count)[1]
    chosen = ops.take(scaled, near, axis=0)
    weight = ops.take(measured, near, axis=0)
    # A row that was not measured stands for nothing: it has no covariance with the others.
    known = ops.cast(weight > 0, x.dtype)
    noise = ops.where(weight > 0, noise_ratio / ops.maximum(weight, 1e-30), 1.0)
    covariance = _matern_ops(chosen[:, :, None] - chosen[:, None]) * known[:, :, None] * known[:, None]
    covariance = covariance + ops.expand_dims(noise, 2) * ops.eye(count, dtype=x.dtype)
    across = _matern_ops(chosen - x[:, None]) * known
    return near, covariance, across


def _matern_ops(apart: Any) -> Any:
    """Return the covariances of designs so far apart in lengths."""
    r = ops.sqrt(5 * ops.sum(apart * apart, axis=-1) + 1e-30)  # the root has no derivative at 0
    return (1 + r + r * r / 3) * ops.exp(-r)


def _mean(
    count: int,
    x: Any,
    points: Any,
    lengths: Any,
    variance: Any,
    noise_ratio: Any,
    measured: Any,
    values: Any,
    rest: Any,
) -> Any:
    """Return the (r,) mean of one output."""
    near, covariance, across = _near(count, x, points, lengths, noise_ratio, measured)
    weights = ops.solve(covariance, ops.expand_dims(ops.take(values + rest, near, axis=0), 2))[:, :, 0]
    return ops.sum(across * weights, axis=1)


def _deviation(
    count: int,
    x: Any,
    points: Any,
    lengths: Any,
    variance: Any,
    noise_ratio: Any,
    measured: Any,
    values: Any,
    rest: Any,
) -> Any:
    """Return the (r,) standard deviation of one output."""
    _, covariance, across = _near(count, x, points, lengths, noise_ratio, measured)
    weights = ops.solve(covariance, ops.expand_dims(across, 2))[:, :, 0]
    return ops.sqrt(variance * ops.maximum(1 - ops.sum(across * weights, axis=1), LEAST_VARIANCE))
