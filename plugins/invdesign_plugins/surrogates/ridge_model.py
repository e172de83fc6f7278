"""A polynomial of the second degree as a Keras model, fitted by ridge regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from invdesign_core.plugin import FloatArray

PENALTIES = np.logspace(-10, 4, 57)
"""Of the squared coefficients, for each row."""
SECOND_DEGREE = (0.0, 0.1, 0.3, 1.0)
"""Sizes of the squares and products beside the columns: the smaller, the more their coefficients are penalised."""


@keras.saving.register_keras_serializable("invdesign")
class Polynomial(keras.Model):  # type: ignore[misc]
    """From (r, e) designs to the (r, m) values of m polynomials of the second degree.

    Parameters
    ----------
    columns, responses : int
        e and m.
    pairs : sequence of (int, int)
        The columns whose products take part; a column with itself is its square.
    """

    def __init__(self, columns: int, responses: int, pairs: Sequence[Sequence[int]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.columns, self.responses = columns, responses
        self.pairs = [[int(i), int(j)] for i, j in pairs]
        self._left, self._right = np.array(self.pairs, dtype=np.int32).reshape(-1, 2).T

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"name": self.name, "columns": self.columns, "responses": self.responses, "pairs": self.pairs}

    def build(self, input_shape: Any = None) -> None:
        """Make the weights."""
        terms = self.columns + len(self.pairs)
        self.kernel = self.add_weight(
            name="kernel", shape=(terms, self.responses), initializer="zeros", trainable=False
        )
        self.bias = self.add_weight(name="bias", shape=(self.responses,), initializer="zeros", trainable=False)
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the answer."""
        return (input_shape[0], self.responses)

    def call(self, x: Any) -> Any:
        """Return the values."""
        return ops.matmul(self._terms(x), self.kernel) + self.bias

    def page_formula(self) -> dict[str, Any]:
        """Return how a browser computes the values."""
        kernel, bias = (np.asarray(ops.convert_to_numpy(w), dtype=np.float32) for w in (self.kernel, self.bias))
        return {
            "op": "polynomial",
            "columns": self.columns,
            "responses": self.responses,
            "left": self._left.tolist(),
            "right": self._right.tolist(),
            "kernel": kernel,
            "bias": bias,
        }

    def _terms(self, x: Any) -> Any:
        """Return the columns, and their squares and products."""
        products = ops.take(x, self._left, axis=1) * ops.take(x, self._right, axis=1)
        return ops.concatenate([x, products], axis=1)

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Polynomial:  # type: ignore[override]
        """Learn from (k, e) standardised designs and (k, m) standardised outputs, NaN where one was not measured."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64).reshape(len(x), -1)
        weight = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        terms = np.concatenate([x, x[:, self._left] * x[:, self._right]], axis=1)
        kernel, bias = np.zeros((terms.shape[1], self.responses)), np.zeros(self.responses)
        measured = np.isfinite(y) & (weight > 0)[:, None]
        for mask in np.unique(measured, axis=1).T:  # outputs that were measured in the same rows share the work
            alike = (measured == mask[:, None]).all(axis=0)
            points, at = np.unique(x[mask], axis=0, return_inverse=True, return_index=True)[1:]
            at = at.reshape(-1)
            total = np.bincount(at, weight[mask]).astype(np.float64)
            sums = np.zeros((len(points), int(alike.sum())))
            np.add.at(sums, at, weight[mask, None] * y[mask][:, alike])
            kernel[:, alike], bias[alike] = ridge(terms[mask][points], sums / total[:, None], total, self.columns)
        if not self.built:
            self.build()
        self.kernel.assign(kernel.astype(np.float32))
        self.bias.assign(bias.astype(np.float32))
        return self


def ridge(terms: FloatArray, y: FloatArray, weight: FloatArray, columns: int) -> tuple[FloatArray, FloatArray]:
    """Fit (n, m) outputs to (n, p) terms, of which the first `columns` are of the first degree; return (p, m) and (m,).

    The penalty, and how much stronger it is for the second degree, are those of the smallest error of each row's
    prediction by the others, for each output.
    """
    share = weight / weight.sum()
    centre, mean = share @ terms, share @ y
    deviation = np.sqrt(share @ (terms - centre) ** 2)
    root = np.sqrt(share)[:, None]
    unit = np.where(deviation > 1e-9 * np.abs(centre).max(initial=1.0), deviation, np.inf)
    design, target = root * (terms - centre) / unit, root * (y - mean)
    best = np.full(y.shape[1], np.inf)
    kernel = np.zeros((terms.shape[1], y.shape[1]))
    for size in SECOND_DEGREE if terms.shape[1] > columns else (1.0,):
        sizes = np.where(np.arange(terms.shape[1]) < columns, 1.0, size)
        left, singular, right = np.linalg.svd(design * sizes, full_matrices=False)
        across = left.T @ target
        for penalty in PENALTIES:
            kept = singular**2 / (singular**2 + penalty)
            # A row's weight in its own prediction: that of the terms, and that of the mean.
            own = (left**2) @ kept + share
            error = (target - left @ (kept[:, None] * across)) / np.maximum(1 - own, 1e-9)[:, None]
            score = np.sum(error**2, axis=0)
            better = score < best
            best = np.where(better, score, best)
            inverse = singular / (singular**2 + penalty)
            if better.any():
                found = right.T @ (inverse[:, None] * across[:, better])
                kernel[:, better] = found * (sizes / unit)[:, None]
    return kernel, mean - centre @ kernel
