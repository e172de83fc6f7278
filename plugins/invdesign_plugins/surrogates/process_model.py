"""A Gaussian process as a Keras model: its mean and its standard deviation, in float64 inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.linalg import lapack, solve_triangular
from threadpoolctl import ThreadpoolController

from invdesign_core.plugin import FloatArray, TrainingError, in_float64
from invdesign_plugins.surrogates.process_fit import Hyperparameters, Rows, Search, matern
from invdesign_plugins.surrogates.process_posterior import LEAST_VARIANCE, Posterior

AT_ONCE = 2**22
"""Covariances that are held in memory at once where designs are predicted."""
PER_OUTPUT = ("lengths", "variance", "noise_ratio", "measured", "coefficients", "coefficients_rest")


@keras.saving.register_keras_serializable("invdesign")
class GaussianProcess(keras.Model):  # type: ignore[misc]
    """From (r, e) designs to the (r, m) mean and the (r, m) standard deviation of m independent Gaussian processes.

    The standard deviation is that of the function, without the noise of a measurement. What predictions need is kept
    in float32, as Keras keeps it: designs and hyper-parameters are rounded before the coefficients are computed, and
    the coefficients are kept in two parts. The covariance matrix is factored where the standard deviation is asked
    for, so no matrix is kept.

    Parameters
    ----------
    columns, responses : int
        e and m.
    rows : int
        n, the distinct designs that it has learnt from; 0 before `fit`.
    limit : int, optional
        Learn from so many distinct designs at most, drawn by the seed.
    blocks : sequence of int, optional
        (e,) a number for each column, from 0: the columns of one categorical variable share theirs, and a length.
    starts, seed : int
        How many searches for the hyper-parameters there are, and what is drawn is drawn from.
    search_rows : int, optional
        Look for the hyper-parameters on so many distinct designs at most, drawn by the seed.
    exploring : bool
        Take short lengths and little noise for more probable, as suits experiments that are planned from few rows.
    """

    def __init__(
        self,
        columns: int,
        responses: int,
        rows: int = 0,
        limit: int | None = None,
        blocks: Sequence[int] | None = None,
        starts: int = 2,
        seed: int = 0,
        search_rows: int | None = None,
        exploring: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.search_rows, self.exploring = search_rows, exploring
        self.columns, self.responses, self.rows = columns, responses, rows
        self.limit, self.starts, self.seed = limit, starts, seed
        self.blocks = list(range(columns)) if blocks is None else [int(block) for block in blocks]
        self._near: list[Hyperparameters] | None = None

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        names = ("columns", "responses", "rows", "limit", "blocks", "starts", "seed", "search_rows", "exploring")
        return {"name": self.name, **{name: getattr(self, name) for name in names}}

    def build(self, input_shape: Any = None) -> None:
        """Make the weights, once it is known for how many rows."""
        if not self.rows:
            raise ValueError("the Gaussian process has learnt from no rows: call fit first")
        m, n, e = self.responses, self.rows, self.columns
        shapes = {
            "points": (n, e),
            "lengths": (m, e),
            "variance": (m,),
            "noise_ratio": (m,),
            "measured": (m, n),
            "coefficients": (m, n),
            "coefficients_rest": (m, n),
        }
        for name, shape in shapes.items():
            weight = self.add_weight(name=name, shape=shape, initializer="zeros", dtype="float32", trainable=False)
            setattr(self, name, weight)
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shapes of mean and standard deviation."""
        return ((input_shape[0], self.responses),) * 2

    def call(self, x: Any) -> Any:
        """Return mean and standard deviation."""
        mean = self._each(_mean, x, self.lengths, self.coefficients, self.coefficients_rest)
        return mean, self._each(_deviation, x, self.lengths, self.variance, self.noise_ratio, self.measured)

    def _each(self, fn: Callable[..., Any], x: Any, *weights: Any) -> Any:
        """Return (r, m) numbers of m outputs; the program for several is compiled once for all of them."""
        weights = tuple(map(ops.convert_to_tensor, weights))
        if self.responses == 1:
            return ops.expand_dims(in_float64(fn, x, self.points, *(own[0] for own in weights)), 1)
        return ops.transpose(ops.map(lambda own: in_float64(fn, x, self.points, *own), weights))

    def predict(self, x: Any, deviation: bool = True, **options: Any) -> Any:
        """Return what `call` does, by NumPy: as (r, m) float64 arrays, and without compiling anything.

        Without `deviation` it is the mean alone, which is much quicker.
        """
        kept = {weight.name: array_of(weight) for weight in self.weights}
        x = np.asarray(x, np.float32).astype(np.float64)
        with _threads().limit(limits=1, user_api="blas"):  # more of them wait for each other longer than they work
            answers = [
                _answer(x, deviation, kept["points"], *(kept[name][j] for name in PER_OUTPUT))
                for j in range(self.responses)
            ]
        mean, std = (np.stack(part, axis=1) for part in zip(*answers, strict=True))
        return (mean, std) if deviation else mean

    def left_out(self, x: Any) -> tuple[FloatArray, FloatArray]:
        """Return what `predict` would say of each of (r, e) designs, had the process not learnt from that design.

        The hyper-parameters stay. Of a design that it did not learn from it says what `predict` does. See Rasmussen and
        Williams, "Gaussian processes for machine learning", 2006, section 5.4.2.
        """
        kept = {weight.name: array_of(weight) for weight in self.weights}
        x = np.asarray(x, np.float32).astype(np.float64)
        mean, std = self.predict(x)
        places = {row.tobytes(): i for i, row in enumerate(kept["points"])}
        at = np.array([places.get(row.tobytes(), -1) for row in x])
        for j in range(self.responses):
            there = np.flatnonzero((at >= 0) & (kept["measured"][j, at] > 0))
            without = _without_each(kept["points"], *(kept[name][j] for name in PER_OUTPUT))
            mean[there, j], std[there, j] = (part[at[there]] for part in without)
        return mean, std

    def page_formula(self) -> dict[str, Any]:
        """Return how a browser computes the mean: coefficients in float64, all else as it is kept."""
        kept = {weight.name: array_of(weight) for weight in self.weights}
        return {
            "op": "matern52",
            "columns": self.columns,
            "responses": self.responses,
            "points": kept["points"].astype(np.float32),
            "lengths": kept["lengths"].astype(np.float32),
            "coefficients": kept["coefficients"] + kept["coefficients_rest"],
        }

    @property
    def noise(self) -> FloatArray:
        """(m,) standard deviations of a measurement about the function, in standardised units."""
        ratio, variance = map(array_of, (self.noise_ratio, self.variance))
        return np.asarray(np.sqrt(ratio * variance))

    def posterior(self, x: FloatArray, y: FloatArray) -> Posterior:
        """Return what (n, e) standardised designs and their (n, m) outputs say by the hyper-parameters of this process.

        It can be told further rows, such as experiments that are under way.
        """
        lengths, ratio, variance = map(array_of, (self.lengths, self.noise_ratio, self.variance))
        return Posterior(lengths, variance, ratio * variance, x, y)

    def start_from(self, other: GaussianProcess) -> None:
        """Search near the hyper-parameters of another fitted process of the same columns and outputs only."""
        lengths, ratios = map(array_of, (other.lengths, other.noise_ratio))
        self._near = [Hyperparameters(*each) for each in zip(lengths, map(float, ratios), strict=True)]

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> GaussianProcess:  # type: ignore[override]
        """Learn from (k, e) standardised designs and (k, m) standardised outputs, NaN where one was not measured.

        A row of weight w counts as the mean of w measurements, in units of the average weight.
        """
        if self.rows:
            raise ValueError("the Gaussian process is fitted already: build another one")
        x, y = np.asarray(x, np.float32).astype(np.float64), np.asarray(y, np.float64).reshape(len(x), -1)
        weight = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        used = weight > 0
        x, y, weight = x[used], y[used], weight[used] / weight[used].mean()
        points, at = np.unique(x, axis=0, return_inverse=True)
        if self.limit is not None and len(points) > self.limit:
            drawn = np.sort(np.random.default_rng(self.seed).permutation(len(points))[: self.limit])
            kept = np.isin(at.reshape(-1), drawn)
            x, y, weight, points = x[kept], y[kept], weight[kept], points[drawn]
        measured = np.isfinite(y)
        outputs = [Rows.distinct(x[at], column[at], weight[at]) for column, at in zip(y.T, measured.T, strict=True)]
        self._keep(points, outputs, self._search(x, outputs))
        return self

    def _search(self, x: FloatArray, outputs: Sequence[Rows]) -> list[Hyperparameters]:
        """Return the hyper-parameters of each output; one that is 0 in every row has none worth looking for."""
        outputs = [self._some(rows) for rows in outputs]
        blocks = np.asarray(self.blocks)
        shared = np.bincount(blocks)[blocks] > 1
        # Two categories differ by as much as two standard deviations of a number do, however rare they are.
        factor = np.where(shared & (np.ptp(x, axis=0) > 0), np.ptp(x, axis=0) / np.sqrt(2), 1.0)
        search = Search(blocks, factor, self.starts, self.seed, self.exploring)
        found = [Hyperparameters(np.ones(self.columns), 1.0)] * len(outputs)
        varied = [j for j, rows in enumerate(outputs) if rows.y.any() or rows.within]
        if not varied:
            return found
        near = None if self._near is None else [self._near[j] for j in varied]
        for j, best in zip(varied, search([outputs[j] for j in varied], near), strict=True):
            found[j] = best
        return found

    def _some(self, rows: Rows) -> Rows:
        """Return the rows that hyper-parameters are looked for on."""
        if self.search_rows is None or len(rows.x) <= self.search_rows:
            return rows
        drawn = np.random.default_rng(self.seed).permutation(len(rows.x))[: self.search_rows]
        return rows.some(np.sort(drawn))

    def _keep(self, points: FloatArray, outputs: Sequence[Rows], found: Sequence[Hyperparameters]) -> None:
        """Keep what predictions need."""
        self.rows = len(points)
        self.build()
        place = {row.tobytes(): i for i, row in enumerate(points)}
        values = {weight.name: np.zeros(weight.shape) for weight in self.weights}
        values["points"] = points
        for j, (rows, best) in enumerate(zip(outputs, found, strict=True)):
            lengths, ratio = (np.asarray(v, np.float32).astype(np.float64) for v in (best.lengths, best.noise_ratio))
            weight = rows.weight.astype(np.float32).astype(np.float64)
            coefficients, variance = self._learnt(rows, weight, lengths, float(ratio))
            at = [place[row.tobytes()] for row in rows.x]
            values["lengths"][j], values["noise_ratio"][j] = lengths, ratio
            values["variance"][j] = variance
            values["measured"][j, at] = weight
            values["coefficients"][j, at] = coefficients
        values["coefficients_rest"] = values["coefficients"] - values["coefficients"].astype(np.float32)
        for weight in self.weights:
            weight.assign(values[weight.name].astype(np.float32))

    def _learnt(self, rows: Rows, weight: FloatArray, lengths: FloatArray, ratio: float) -> tuple[FloatArray, float]:
        """Return the (n,) numbers of one output that are kept for predictions, and its signal variance."""
        coefficients = solved(rows, weight, lengths, ratio)
        return coefficients, signal_variance(rows, coefficients, ratio)


@cache
def _threads() -> ThreadpoolController:
    """Return what can limit the threads of BLAS."""
    return ThreadpoolController()


def array_of(weight: Any) -> FloatArray:
    """Return a weight of a model as a NumPy array."""
    return np.asarray(ops.convert_to_numpy(ops.convert_to_tensor(weight)), dtype=np.float64)


def solved(rows: Rows, weight: FloatArray, lengths: FloatArray, ratio: float) -> FloatArray:
    """Return the (n,) coefficients of the covariances in the mean."""
    covariance = matern(rows.x / lengths)
    covariance.flat[:: len(covariance) + 1] += ratio / weight
    _, coefficients, failed = lapack.dposv(covariance, rows.y)
    if failed or not np.isfinite(coefficients).all():
        raise TrainingError(
            "the covariance matrix of the Gaussian process is singular in float64",
            "use surrogate mlp, or look for rows that differ in the last digits only",
        )
    return np.asarray(coefficients)


def signal_variance(rows: Rows, coefficients: FloatArray, ratio: float) -> float:
    """Return the best variance of the signal for such hyper-parameters."""
    return float((rows.y @ coefficients + rows.within / ratio) / rows.count)


def _answer(
    x: FloatArray,
    deviation: bool,
    points: FloatArray,
    lengths: FloatArray,
    variance: float,
    noise_ratio: float,
    measured: FloatArray,
    coefficients: FloatArray,
    rest: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return the (r,) mean and standard deviation of one output; 0 instead of the deviation where it isn't wanted."""
    known = measured > 0
    points, weights = points[known] / lengths, (coefficients + rest)[known]
    mean, left = np.zeros(len(x)), np.zeros(len(x))
    factor = np.zeros((0, 0))
    if deviation:
        covariance = matern(points)
        covariance.flat[:: len(covariance) + 1] += noise_ratio / measured[known]
        factor = np.asarray(np.linalg.cholesky(covariance), np.float64)
    step = max(AT_ONCE // max(len(points), 1), 1)
    for at in range(0, len(x), step):
        piece = slice(at, at + step)
        across = matern(points, x[piece] / lengths)
        mean[piece] = across.T @ weights
        if deviation:
            explained = solve_triangular(factor, across, lower=True, overwrite_b=True, check_finite=False)
            left[piece] = np.maximum(1 - np.einsum("ir,ir->r", explained, explained), LEAST_VARIANCE)
    return mean, np.sqrt(variance * left)


def _without_each(
    points: FloatArray,
    lengths: FloatArray,
    variance: float,
    noise_ratio: float,
    measured: FloatArray,
    coefficients: FloatArray,
    rest: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return the (n,) mean and standard deviation of one output at each point, by all others; 0 where unmeasured."""
    known = measured > 0
    covariance = matern(points[known] / lengths)
    noise = noise_ratio / measured[known]
    covariance.flat[:: len(covariance) + 1] += noise
    weights = (coefficients + rest)[known]
    values = covariance @ weights
    factor = lapack.dpotrf(covariance, lower=1)[0]
    precision = np.diag(lapack.dpotri(factor, lower=1)[0])
    mean, std = np.zeros(len(points)), np.zeros(len(points))
    mean[known] = values - weights / precision
    std[known] = np.sqrt(variance * np.maximum(1 / precision - noise, LEAST_VARIANCE))
    return mean, std


def _matern(a: Any, b: Any) -> Any:
    """Return the (r, n) covariances of (r, e) and (n, e) designs that are divided by their lengths."""
    square = ops.sum(a * a, axis=1)[:, None] + ops.sum(b * b, axis=1) - 2 * ops.matmul(a, ops.transpose(b))
    r = ops.sqrt(ops.maximum(5 * square, 1e-30))  # the root has no derivative at 0, and none is needed there
    return (1 + r + r * r / 3) * ops.exp(-r)


def _mean(x: Any, points: Any, lengths: Any, coefficients: Any, rest: Any) -> Any:
    """Return the (r,) mean of one output."""
    return ops.matmul(_matern(x / lengths, points / lengths), coefficients + rest)


def _deviation(x: Any, points: Any, lengths: Any, variance: Any, noise_ratio: Any, measured: Any) -> Any:
    """Return the (r,) standard deviation of one output; a row of weight 0 in `measured` takes no part."""
    known = ops.cast(measured > 0, x.dtype)
    noise = ops.where(measured > 0, noise_ratio / ops.maximum(measured, 1e-30), 1.0)
    covariance = _matern(points / lengths, points / lengths) * known * known[:, None] + ops.diag(noise)
    across = _matern(points / lengths, x / lengths) * known[:, None]
    explained = ops.solve_triangular(ops.cholesky(covariance), across, lower=True)
    return ops.sqrt(variance * ops.maximum(1 - ops.sum(explained * explained, axis=0), LEAST_VARIANCE))
