"""Several different experiments to do next, of all that are allowed: those that are worth most together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from invdesign_core.search.acquisition import Worth
from invdesign_core.search.candidates import DIGITS, around, drawn
from invdesign_core.space.arrays import FloatArray, Mask
from invdesign_core.space.rounding import shortened
from invdesign_core.space.rules import lengths
from invdesign_core.space.space import Space

DRAWN = 1024
"""Designs drawn evenly, for each experiment."""
BEST, EACH = 8, 32
"""So many of the best designs are looked around, at so many each."""
REACHES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
"""How far from them, in ranges, in one round after another."""
SAME = 1e-9
"""Designs whose columns differ by less than this share of the ranges are one."""
APART = 1e-3
"""So far, in ranges, are experiments of one batch from each other: nearer ones would be the same in a laboratory."""
AS_GOOD = 0.02
"""Fewer digits may lower the worth, a logarithm, by so much."""


class Believed(Protocol):
    """What is believed of the outputs of designs."""

    def predict(self, x: FloatArray, /) -> tuple[FloatArray, FloatArray]:
        """Return the (n, m) means and standard deviations of (n, e) designs."""
        ...

    def influence(self, x: FloatArray, /) -> FloatArray:
        """Return the (n, k, m) slopes of the means by the outputs of k designs under way."""
        ...

    def given(self, x: FloatArray, /) -> Self:
        """Return what is believed once more designs are under way."""
        ...


@dataclass(frozen=True)
class Choice:
    """What experiments are chosen from.

    Attributes
    ----------
    space : Space
        What is allowed.
    starts : (k, e) array
        Designs that a search has found.
    taken : (n, e) array
        Designs that are not to be chosen.
    held : (e,) array, optional
        Values of columns that are given, NaN where they are free.
    everywhere : bool
        Whether all that is allowed is looked at, and not only what is near to the starts.
    fits : callable, optional
        Says which of (n, e) designs are fit to be chosen.
    apart : float
        How far chosen designs are from each other, in ranges.
    failed : (n, e) array, optional
        Designs whose simulation failed: none is chosen that is nearer to one of them than to all that are taken.
    """

    space: Space
    starts: FloatArray
    taken: FloatArray
    held: FloatArray | None = None
    everywhere: bool = True
    fits: Callable[[FloatArray], Mask] | None = None
    apart: float = APART
    failed: FloatArray | None = None

    def experiments(self, count: int, belief: Believed, worth: Worth, rng: np.random.Generator) -> FloatArray:
        """Return `count` different designs, fewer where no more are allowed, those worth most first.

        They are chosen one after another, each by what it is worth beside those before it, whose results are drawn from
        what is believed of them (the greedy way to several points of Wilson, Hutter and Deisenroth, "Maximizing
        acquisition functions for Bayesian optimization", NeurIPS 2018).
        """
        chosen = np.zeros((0, self.space.width))
        for _ in range(count):
            found = self._next(belief, worth, chosen, rng)
            if found is None:
                break
            chosen = np.concatenate([chosen, found[None]])
            worth = worth.given(*belief.predict(found[None]), belief.influence(found[None]))
            belief = belief.given(found[None])
        return chosen

    def _next(self, belief: Believed, worth: Worth, chosen: FloatArray, rng: np.random.Generator) -> FloatArray | None:
        """Return the (e,) design that is worth most, None where there is no other one."""

        def score(x: FloatArray) -> FloatArray:
            return worth(*belief.predict(x), belief.influence(x))

        more = [drawn(self.space, DRAWN, rng, self.held)] if self.everywhere or not len(self.starts) else []
        x = self._fit(np.concatenate([self.starts, *more]), chosen)
        if not len(x):
            return None
        value = score(x)
        for reach in REACHES:
            best = x[np.argsort(-value, kind="stable")[:BEST]]
            x = self._fit(np.concatenate([best, around(self.space, best, reach, EACH, rng, self.held)]), chosen)
            value = score(x)
        first = x[[int(np.argmax(value))]]
        least = float(value.max()) - AS_GOOD

        def as_good(tried: FloatArray, before: FloatArray) -> Mask:
            return np.asarray((score(tried) >= least) & (len(self._fit(tried, chosen)) == len(tried)))

        low, high = self.space.bounds
        stays = np.zeros(first.shape, dtype=bool) if self.held is None else ~np.isnan(self.held)[None]
        return np.asarray(shortened(self.space, first, low, high, stays, as_good, DIGITS)[0])

    def _fit(self, x: FloatArray, chosen: FloatArray) -> FloatArray:
        """Return those of (n, e) designs that may be chosen beside others."""
        from scipy.spatial import cKDTree

        x = np.unique(x, axis=0) if len(x) else x
        unit = lengths(*self.space.bounds)
        for others, least in ((self.taken, SAME), (chosen, self.apart)):
            if len(others) and len(x):
                x = x[cKDTree(others / unit).query(x / unit, p=np.inf)[0] > least]
        if self.failed is not None and len(self.failed) and len(x):
            to_failed, to_taken = (
                cKDTree(others / unit).query(x / unit, p=np.inf)[0] if len(others) else np.full(len(x), np.inf)
                for others in (self.failed, self.taken)
            )
            x = x[to_taken < to_failed]
        return x if self.fits is None or not len(x) else x[self.fits(x)]
