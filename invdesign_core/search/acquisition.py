"""How much a new experiment is worth: what it may improve, and how likely it meets the target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import log_ndtr
from scipy.stats import norm, qmc

from invdesign_core.space.arrays import FloatArray, Mask
from invdesign_core.targets import ROUNDOFF, Targets

DRAWS = 512
"""Draws of all outputs from what is believed of them, the same for all designs."""
AT_ONCE = 2**22
"""Numbers that are drawn at once."""


@dataclass(frozen=True)
class Worth:
    """What experiments are worth for one target, in the user's units; without a target by how little is known.

    Attributes
    ----------
    targets : Targets, optional
        One target.
    scale : (m,) array
        What a miss of each output is measured by.
    seed : int
        Of the draws, which are the same for all designs.
    start : float
        The smallest loss of the measured rows, by what is believed of them.
    best : (s,) array
        The smallest loss in each draw: of the measured rows, and of experiments under way.
    under_way : (s, k, m) array
        How far k experiments under way are from what is believed of them, in each draw.
    """

    targets: Targets | None
    scale: FloatArray
    seed: int
    start: float
    best: FloatArray
    under_way: FloatArray

    @classmethod
    def of(cls, targets: Targets | None, scale: FloatArray, known: FloatArray, seed: int) -> Worth:
        """Take the (n, m) outputs that are believed of the measured rows."""
        nothing = np.zeros((DRAWS, 0, len(scale)))
        worth = cls(targets, scale, seed, np.inf, np.full(DRAWS, np.inf), nothing)
        if targets is None or not len(known):
            return worth
        start = float(np.min(np.where(worth.held(known), worth.loss(known), np.inf)))
        return replace(worth, start=start, best=np.full(DRAWS, start))

    def loss(self, y: FloatArray) -> FloatArray:
        """Return the losses of (…, m) outputs: squares of misses, or beside an extremum how far it is the other way."""
        t = self.targets
        assert t is not None
        if t.extremum.any():
            return np.asarray(-(y / self.scale * (t.direction[0] * t.weight[0])).sum(axis=-1))
        miss = np.maximum(y - t.upper[0], 0.0) - np.maximum(t.lower[0] - y, 0.0)
        return np.asarray(((miss / self.scale) ** 2 * t.weight[0]).sum(axis=-1))

    def held(self, y: FloatArray) -> Mask:
        """(n,) whether (n, m) outputs hold the limits beside an extremum; where there is none, all do."""
        t = self.targets
        assert t is not None
        if not t.extremum.any():
            return np.ones(len(y), dtype=bool)
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

    def __call__(self, mean: FloatArray, std: FloatArray, influence: FloatArray | None = None) -> FloatArray:
        """Return the (n,) worths of designs whose (n, m) outputs have these means and standard deviations.

        It is the logarithm of the improvement to be expected beside that of the experiments under way, by which the
        means change with the (n, k, m) slopes `influence`. Where none is to be expected, designs of a smaller expected
        loss are worth more. Without a target it is how little is known.
        """
        if self.targets is None:
            return np.asarray(np.log(((std / self.scale) ** 2).mean(axis=1)))
        gain, expected = np.empty(len(mean)), np.empty(len(mean))
        step = max(AT_ONCE // self._normal.size, 1)
        for at in range(0, len(mean), step):
            part = slice(at, at + step)
            y = mean[part, None] + std[part, None] * self._normal
            if influence is not None and influence.shape[1]:
                y = y + np.einsum("nkm,skm->nsm", influence[part], self.under_way)
            loss = self.loss(y)
            gain[part] = np.maximum(self.best - loss, 0.0).mean(axis=1) if np.isfinite(self.start) else 0.0
            expected[part] = loss.mean(axis=1)
        if self.targets.extremum.any():
            unit, hope = 1.0, np.exp(-np.clip(expected, -50, 50))
            holds = np.exp(self.log_probability(mean, std))
            gain, hope = gain * holds, hope * holds
        else:
            unit = self.start if np.isfinite(self.start) and self.start > 0 else 1.0
            hope = 1.0 / (1.0 + expected / unit)
        return np.asarray(np.log(gain / unit + 1e-12 * hope + 1e-300))

    def given(self, mean: FloatArray, std: FloatArray, influence: FloatArray | None = None) -> Worth:
        """Return what others are worth once an experiment is under way, whose (1, m) outputs are believed so."""
        if self.targets is None:
            return self
        away = std * self._normal
        if influence is not None and influence.shape[1]:
            away = away + np.einsum("km,skm->sm", influence[0], self.under_way)
        y = mean + away
        best = np.minimum(self.best, np.where(self.held(y), self.loss(y), np.inf))
        return replace(self, best=best, under_way=np.concatenate([self.under_way, away[:, None]], axis=1))

    @cached_property
    def _normal(self) -> FloatArray:
        """(s, m) normal numbers, others for each number of experiments under way."""
        rng = np.random.default_rng([self.seed, self.under_way.shape[1]])
        unit = qmc.Sobol(len(self.scale), rng=rng).random(DRAWS)
        return np.asarray(norm.ppf(np.clip(unit, 1e-9, 1 - 1e-9)))


def _log_between(low: FloatArray, high: FloatArray) -> FloatArray:
    """Return the logarithm of the probability that a standard normal number lies between two others."""
    flip = low + high > 0  # in the lower tail differences are exact
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    with np.errstate(divide="ignore"):
        upper, lower = log_ndtr(b), log_ndtr(a)
        return np.asarray(upper + np.log1p(-np.exp(np.minimum(lower - upper, -1e-300))))
