"""What a Gaussian process says of any designs, once its hyper-parameters are known: by NumPy, in float64."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import cho_solve, lapack, solve_triangular

from invdesign_core.plugin import FloatArray
from invdesign_plugins.surrogates.process_fit import matern

LEAST_VARIANCE = 1e-12
"""In units of the signal variance: less than this is rounding."""
JITTER = 1e-10
"""In units of the signal variance: the least noise, so that rows which are almost the same design can be told of."""


@dataclass(frozen=True)
class Posterior:
    """m independent processes with hyper-parameters that are given, and what n rows say of them.

    Attributes
    ----------
    lengths : (m, e) array
        In standard deviations of the columns.
    variance, noise_variance : (m,) arrays
        Of the function and of a measurement, in standardised units.
    x, y : (n, e) and (n, m) arrays
        The rows, standardised; NaN where an output is not known.
    """

    lengths: FloatArray
    variance: FloatArray
    noise_variance: FloatArray
    x: FloatArray
    y: FloatArray

    @property
    def noise(self) -> FloatArray:
        """(m,) standard deviations of a measurement about the function."""
        return np.sqrt(self.noise_variance)

    def predict(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the (r, m) means and standard deviations of the functions at (r, e) designs."""
        answers = [self._answer(x, j) for j in range(len(self.variance))]
        mean, std = (np.stack(part, axis=1) for part in zip(*answers, strict=True))
        return mean, std

    def influence(self, x: FloatArray, last: int) -> FloatArray:
        """Return the (r, last, m) slopes of the means at (r, e) designs by the outputs of the last rows."""
        slopes = []
        for j, (known, factor, _) in enumerate(self._solved):
            across = matern(known, x / self.lengths[j])
            slopes.append(cho_solve((factor, True), across)[len(known) - last :].T)
        return np.stack(slopes, axis=2)

    def given(self, x: FloatArray, y: FloatArray) -> Posterior:
        """Return what is known with (k, e) more rows and their (k, m) outputs."""
        return replace(self, x=np.concatenate([self.x, x]), y=np.concatenate([self.y, y]))

    def of(self, x: FloatArray, y: FloatArray, variance: FloatArray | None = None) -> Posterior:
        """Return what is known from other rows instead; the (m,) variance of the functions may be another one too."""
        return replace(self, x=x, y=y, variance=self.variance if variance is None else variance)

    def _answer(self, x: FloatArray, j: int) -> tuple[FloatArray, FloatArray]:
        """Return the (r,) mean and standard deviation of one output."""
        known, factor, weights = self._solved[j]
        if not len(known):
            return np.zeros(len(x)), np.full(len(x), np.sqrt(self.variance[j]))
        across = matern(known, x / self.lengths[j])
        explained = solve_triangular(factor, across, lower=True)
        left = np.maximum(1 - np.einsum("ir,ir->r", explained, explained), LEAST_VARIANCE)
        return across.T @ weights, np.sqrt(self.variance[j] * left)

    @cached_property
    def _solved(self) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
        """Return for each output its scaled rows, the factor of their covariance, and the weights in the mean."""
        found = []
        for j, (lengths, variance) in enumerate(zip(self.lengths, self.variance, strict=True)):
            known = np.isfinite(self.y[:, j])
            points = self.x[known] / lengths
            covariance = matern(points)
            noise = max(self.noise_variance[j] / variance, JITTER)
            while True:
                covariance.flat[:: len(covariance) + 1] = 1 + noise
                factor, failed = lapack.dpotrf(covariance, lower=1, clean=1)
                if not failed:
                    break
                noise *= 10  # rows that are almost the same design
            found.append((points, factor, cho_solve((factor, True), self.y[known, j])))
        return found
