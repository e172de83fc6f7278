"""Hyper-parameters of a Gaussian process by the largest marginal likelihood: NumPy and LAPACK, in float64."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from invdesign_core.plugin import FloatArray

LENGTHS = (1e-2, 1e3)
"""Shortest and longest length, in standard deviations of a column."""
NOISE = (1e-10, 1e3)
"""Lowest and highest noise variance, in units of the signal variance."""
PRIOR_DEVIATION = np.sqrt(3.0)
"""Of the logarithm of a length."""
NEARER = -1.76
"""What an exploring process takes off the mean logarithm of a length: its mode is then that of the density of lengths
where inputs lie evenly between 0 and 1."""
QUIET = -4.0
"""Logarithm of the noise ratio above which an exploring process takes it for less probable, by a normal density."""
FIRST_STARTS = ((1.0, 1e-2), (3.0, 1e-3))
"""Length, in units of the square root of the number of columns, and noise ratio where the first searches begin."""
MANY = 1000
"""Rows beyond which a search begins on so many of them, and ends on all."""
ITERATIONS, LAST_ITERATIONS = 200, 50
"""Steps of a search, and of one that begins near its end."""
TOLERANCE = 1e-7
"""A search ends where a step lowers the negative log likelihood per measurement by less than this."""
UNLIKELY = 10.0
"""The negative log likelihood per measurement where the covariance is singular: large, but a line search can use it."""


@dataclass(frozen=True)
class Rows:
    """Distinct designs, with the mean of the measurements of one output at each.

    Attributes
    ----------
    x : (n, e) array
        The designs.
    y : (n,) array
        The weighted means of the measurements.
    weight : (n,) array
        The sums of their weights: the noise of a mean is the noise variance divided by it.
    within : float
        Weighted sum of the squares of the measurements about these means.
    count : int
        How many measurements there are, at least n.
    """

    x: FloatArray
    y: FloatArray
    weight: FloatArray
    within: float
    count: int

    @classmethod
    def distinct(cls, x: FloatArray, y: FloatArray, weight: FloatArray) -> Rows:
        """Gather (k, e) designs, (k,) measurements and their (k,) positive weights."""
        points, at = np.unique(x, axis=0, return_inverse=True)
        at = at.reshape(-1)
        total = np.bincount(at, weight).astype(np.float64)
        mean = np.bincount(at, weight * y) / total
        return cls(points, mean, total, float(np.sum(weight * (y - mean[at]) ** 2)), len(y))

    def some(self, chosen: NDArray[np.intp]) -> Rows:
        """Return a few of the designs, as if the scatter about their means were the average one."""
        share = len(chosen) / len(self.x)
        count = len(chosen) + round(share * (self.count - len(self.x)))
        return Rows(self.x[chosen], self.y[chosen], self.weight[chosen], share * self.within, count)


@dataclass(frozen=True)
class Hyperparameters:
    """Of one output: (e,) lengths, and the noise variance in units of the signal variance."""

    lengths: FloatArray
    noise_ratio: float


class Likelihood:
    """The negative logarithm of the posterior density of the hyper-parameters per measurement, with its gradient.

    The covariance is ``s² (M(r) + g diag(1 / weight))`` with a Matérn kernel M of order 5/2 of the distance r, each
    column divided by its length. The signal variance s² has its best value for any lengths and noise ratio g, so it is
    no parameter of the search (Rasmussen and Williams, "Gaussian processes for machine learning", 2006, section 5.4.1).
    The prior of the lengths is the log-normal one of Hvarfner, Hellsten and Nardi, "Vanilla Bayesian optimization
    performs great in high dimensions", ICML 2024: longer where there are more columns. Columns of one block share a
    length. One that is `exploring` has the modes of that paper, whose densities are those of lengths and noise and not
    of their logarithms: few rows are then taken for a wavy function rather than for noise.
    """

    def __init__(self, rows: Rows, blocks: NDArray[np.intp], factor: FloatArray, exploring: bool = False) -> None:
        """Take the (e,) number of each column's block, from 0, and what each column's length is beside its block's."""
        self._rows, self._blocks, self._count = rows, blocks, int(blocks.max()) + 1
        self._x = rows.x / factor
        self._factor = factor
        self._exploring = exploring
        self._mean_length = np.sqrt(2.0) + 0.5 * np.log(self._count) + (NEARER if exploring else 0.0)

    def start(self, length: float, noise_ratio: float) -> FloatArray:
        """Return parameters with one length for all blocks."""
        return np.asarray(np.log(np.append(np.full(self._count, length * np.sqrt(self._count)), noise_ratio)))

    def parameters(self, of: Hyperparameters) -> FloatArray:
        """Return the parameters of the search: logarithms of the blocks' lengths and of the noise ratio."""
        _, first = np.unique(self._blocks, return_index=True)
        return np.asarray(np.log(np.append((of.lengths / self._factor)[first], of.noise_ratio)))

    def hyperparameters(self, parameters: FloatArray) -> Hyperparameters:
        """Return what the parameters of the search stand for."""
        values = np.exp(parameters)
        return Hyperparameters(values[self._blocks] * self._factor, float(values[-1]))

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """Lowest and highest value of each parameter."""
        return [tuple(np.log(LENGTHS))] * self._count + [tuple(np.log(NOISE))]

    def __call__(self, parameters: FloatArray) -> tuple[float, FloatArray]:
        """Return the value and its gradient; what can't be factored is very unlikely."""
        rows, n = self._rows, len(self._rows.x)
        lengths, ratio = np.exp(parameters[:-1])[self._blocks], float(np.exp(parameters[-1]))
        slope = _roots(scaled := self._x / lengths, scaled)
        covariance, falling = _matern_of(slope)
        slope += 1  # becomes minus the derivative by the square of the distance, times 2
        slope *= falling
        slope *= 5 / 3
        noise = ratio / rows.weight
        covariance.flat[:: n + 1] += noise
        factor, failed = lapack.dpotrf(covariance.T, overwrite_a=1, clean=0)
        if failed:
            return UNLIKELY, np.zeros_like(parameters)
        log_determinant = 2 * float(np.log(np.diag(factor)).sum())
        weights = lapack.dpotrs(factor, rows.y)[0]
        more = rows.count - n
        variance = (rows.y @ weights + rows.within / ratio) / rows.count
        deviation = (parameters[:-1] - self._mean_length) / PRIOR_DEVIATION
        loud = max(float(parameters[-1]) - QUIET, 0.0) if self._exploring else 0.0
        prior = float(deviation @ deviation) + loud**2
        value = 0.5 * (rows.count * np.log(variance) + log_determinant + more * np.log(ratio) + prior)
        inverse = lapack.dpotri(factor, overwrite_c=1)[0]
        inner = np.triu(inverse)
        inner += np.triu(inverse, 1).T
        inner -= np.outer(weights, weights / variance)
        by_noise = 0.5 * (np.diag(inner) @ noise + more - rows.within / (ratio * variance)) + loud
        inner *= slope
        # The sum over pairs of inner * (x_i - x_j)², without a matrix for each column.
        by_column = inner.sum(axis=1) @ self._x**2 - np.einsum("ie,ie->e", self._x, inner @ self._x)
        by_length = np.bincount(self._blocks, by_column / lengths**2, minlength=self._count)
        gradient = np.append(by_length + deviation / PRIOR_DEVIATION, by_noise)
        return float(value) / rows.count, gradient / rows.count


def matern(scaled: FloatArray, others: FloatArray | None = None) -> FloatArray:
    """Return the (n, r) Matérn 5/2 covariances of (n, e) and (r, e) designs that are divided by their lengths."""
    return _matern_of(_roots(scaled, scaled if others is None else others))[0]


def _roots(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the (n, r) distances, times the square root of 5."""
    r = a @ b.T
    r *= -2
    r += np.einsum("ie,ie->i", b, b)
    r += np.einsum("ie,ie->i", a, a)[:, None]
    np.maximum(r, 0, out=r)
    if a is b:
        r.flat[:: len(r) + 1] = 0
    r *= 5
    return np.asarray(np.sqrt(r, out=r))


def _matern_of(r: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the covariance at distances, times the square root of 5, and the exponential in it."""
    falling = np.exp(-r)
    covariance = r * r
    covariance /= 3
    covariance += r
    covariance += 1
    covariance *= falling
    return covariance, falling


@dataclass(frozen=True)
class Search:
    """How the hyper-parameters of one output are looked for.

    Attributes
    ----------
    blocks, factor : (e,) arrays
        As in `Likelihood`.
    starts : int
        Searches, of which the best counts.
    seed : int
        For the rows and the starts that are drawn.
    exploring : bool
        As in `Likelihood`.
    """

    blocks: NDArray[np.intp]
    factor: FloatArray
    starts: int
    seed: int
    exploring: bool = False

    def first(self, rows: Rows, index: int) -> tuple[float, Hyperparameters]:
        """Return how good the result of one search is, and the result; on some of the rows where there are many."""
        rng = np.random.default_rng([self.seed, index])
        chosen = np.random.default_rng(self.seed).permutation(len(rows.x))[:MANY]
        likelihood = Likelihood(rows.some(np.sort(chosen)), self.blocks, self.factor, self.exploring)
        if index < len(FIRST_STARTS):
            start = likelihood.start(*FIRST_STARTS[index])
        else:
            start = likelihood.start(1.0, float(10.0 ** rng.uniform(-6, 0)))
            start[:-1] += rng.normal(0, PRIOR_DEVIATION, len(start) - 1)
        return _minimise(likelihood, start, ITERATIONS)

    def last(self, rows: Rows, near: Hyperparameters) -> Hyperparameters:
        """Improve hyper-parameters that are good already, on all rows."""
        likelihood = Likelihood(rows, self.blocks, self.factor, self.exploring)
        return _minimise(likelihood, likelihood.parameters(near), LAST_ITERATIONS)[1]

    def __call__(self, outputs: Sequence[Rows], near: Sequence[Hyperparameters] | None) -> list[Hyperparameters]:
        """Return the best hyper-parameters of each output, from those of another model where they are given."""
        with _processors(len(outputs) * (1 if near else self.starts)) as pool:
            if near is None:
                tried = [[pool.submit(self.first, rows, i) for i in range(self.starts)] for rows in outputs]
                near = [min((each.result() for each in each_start), key=lambda r: r[0])[1] for each_start in tried]
                if all(len(rows.x) <= MANY for rows in outputs):
                    return list(near)
            return list(pool.map(self.last, outputs, near))


@contextmanager
def _processors(tasks: int) -> Iterator[ThreadPoolExecutor]:
    """Share the processors among tasks that run at once, each in a thread of its own."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = min(count, tasks)
    # Threads of BLAS wait for each other by spinning: on a busy machine two take ten times as long as one.
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        yield pool


def _minimise(likelihood: Likelihood, start: FloatArray, iterations: int) -> tuple[float, Hyperparameters]:
    """Search from one start."""
    low, high = np.array(likelihood.bounds).T
    found = minimize(
        likelihood,
        np.clip(start, low, high),
        jac=True,
        method="L-BFGS-B",
        bounds=likelihood.bounds,
        options={"maxiter": iterations, "ftol": TOLERANCE, "gtol": 1e-5},
    )
    return float(found.fun), likelihood.hyperparameters(found.x)
