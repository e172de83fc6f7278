"""How much a new experiment is worth: what it may improve, and how likely it meets the target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr, ndtr
from scipy.stats import norm, qmc

from invdesign_core.space.arrays import FloatArray
from invdesign_core.targets import ROUNDOFF, Targets

DRAWS = 128
"""Draws of all outputs from what is believed of them, the same for all designs."""
AT_ONCE = 2**22
"""Numbers that are drawn at once."""


@dataclass(frozen=True)
class Worth:
    """What experiments are worth for one target, in the user's units; a target has no value where it is None.

    Attributes
    ----------
    targets : Targets, optional
        One target.
    scale : (m,) array
        What a miss of each output is measured by.
    best : float
        The smallest loss so far, by what is believed of the rows that were measured.
    normal : (s, m) array
        Draws of a normal distribution.
    """

    targets: Targets | None
    scale: FloatArray
    best: float
    normal: FloatArray

    @classmethod
    def of(cls, targets: Targets | None, scale: FloatArray, known: FloatArray, seed: int) -> Worth:
        """Take the (n, m) outputs that are believed of the measured rows."""
        normal = norm.ppf(np.clip(qmc.Sobol(len(scale), rng=np.random.default_rng(seed)).random(DRAWS), 1e-9, 1 - 1e-9))
        worth = cls(targets, scale, np.inf, normal)
        if targets is None or not len(known):
            return worth
        loss = worth.loss(known)
        return cls(targets, scale, float(np.min(np.where(worth.held(known), loss, np.inf))), normal)

    def loss(self, y: FloatArray) -> FloatArray:
        """Return the losses of (…, m) outputs: squares of misses, or beside an extremum how far it is the other way."""
        t = self.targets
        assert t is not None
        if t.extremum.any():
            return np.asarray(-(y / self.scale * (t.direction[0] * t.weight[0])).sum(axis=-1))
        miss = np.maximum(y - t.upper[0], 0.0) - np.maximum(t.lower[0] - y, 0.0)
        return np.asarray(((miss / self.scale) ** 2 * t.weight[0]).sum(axis=-1))

    def held(self, y: FloatArray) -> FloatArray:
        """(n,) whether (n, m) outputs hold the limits beside an extremum; where there is none, all do."""
        t = self.targets
        assert t is not None
        if not t.extremum.any():
            return np.ones(y.shape[:-1], dtype=bool)
        return np.asarray(t.met(y, np.zeros(len(y), dtype=np.intp)).all(axis=-1))

    def log_probability(self, mean: FloatArray, std: FloatArray) -> FloatArray:
        """Return the (n,) logarithms of the probability that (n, m) outputs are what the target limits them to."""
        t = self.targets
        assert t is not None
        slack = np.maximum(t.tolerance[0], np.where(t.open[0], ROUNDOFF * t.spread, 0.0))
        total = np.zeros(len(mean))
        for m in np.flatnonzero(t.limited[0]):
            low = (t.lower[0, m] - slack[m] - mean[:, m]) / std[:, m]
            high = (t.upper[0, m] + slack[m] - mean[:, m]) / std[:, m]
            total += _log_between(low, high)
        return total

    def __call__(self, mean: FloatArray, std: FloatArray) -> FloatArray:
        """Return the (n,) worths of designs whose (n, m) outputs have these means and standard deviations.

        It is the logarithm of the improvement to be expected, in shares of the best loss; where none is to be expected
        at all, designs of a smaller expected loss are worth more. Without a target it is how little is known.
        """
        if self.targets is None:
            return np.asarray(np.log(((std / self.scale) ** 2).mean(axis=1)))
        n = len(mean)
        gain, expected = np.empty(n), np.empty(n)
        step = max(AT_ONCE // self.normal.size, 1)
        for at in range(0, n, step):
            part = slice(at, at + step)
            loss = self.loss(mean[part, None] + std[part, None] * self.normal)
            gain[part] = np.maximum(self.best - loss, 0.0).mean(axis=1) if np.isfinite(self.best) else 0.0
            expected[part] = loss.mean(axis=1)
        if self.targets.extremum.any():
            unit = 1.0
            hope = np.exp(-np.clip(expected, -50, 50))
            gain, hope = (np.asarray(part * np.exp(self.log_probability(mean, std))) for part in (gain, hope))
        else:
            unit = self.best if np.isfinite(self.best) and self.best > 0 else 1.0
            hope = 1.0 / (1.0 + expected / unit)
        return np.asarray(np.log(gain / unit + 1e-12 * hope + 1e-300))


def _log_between(low: FloatArray, high: FloatArray) -> FloatArray:
    """Return the logarithm of the probability that a standard normal number lies between two others."""
    flip = low + high > 0  # in the lower tail differences are exact
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    with np.errstate(divide="ignore"):
        upper, lower = log_ndtr(b), log_ndtr(a)
        return np.asarray(upper + np.log1p(-np.exp(np.minimum(lower - upper, -1e-300))))


def between(low: FloatArray, high: FloatArray) -> FloatArray:
    """Return the probability that a standard normal number lies between two others."""
    return np.asarray(ndtr(high) - ndtr(low))
