"""Start points that satisfy linear constraints, spread evenly over all that do."""

from __future__ import annotations

import numpy as np

from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.linear import Linear
from invdesign_core.space.polytope import PolytopeInterior, inside

_CHAINS = 1024
"""Walks side by side; more points than this are taken from the same walks, further on."""
_BLOCK = 1_000_000
"""How many random numbers are drawn at once: few large products of matrices are faster than many small ones."""


def sample(linear: Linear, lower: FloatArray, upper: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Draw (count, e) points evenly from a polytope by hit-and-run, never by rejection; NaN if no point satisfies all.

    The (e,) bounds are finite, equal where a column is fixed. Equations, and inequalities that amount to equations, are
    kept to rounding. A uniform point on a line of random direction, again and again, tends to the uniform distribution:
    R. L. Smith, Operations Research 32 (1984) 1296.

    Examples
    --------
    >>> thirds = Linear(np.ones((1, 3)), np.ones(1), np.ones(1))
    >>> points = sample(thirds, np.zeros(3), np.ones(3), 100, np.random.default_rng(0))
    >>> bool(np.abs(points.sum(axis=1) - 1).max() < 1e-12)
    True
    """
    width = upper - lower
    unit = rng.random((count, len(lower)))
    if len(linear) and count:
        scaled = linear.scaled(lower, width)
        tied = (scaled.matrix != 0).any(axis=0)
        rows = Linear(scaled.matrix[:, tied], scaled.lower, scaled.upper)
        region = inside(rows, np.zeros(tied.sum()), np.ones(tied.sum()))
        if region is None:
            return np.full_like(unit, np.nan)
        unit[:, tied] = _on_equations(_walk(region, count, rng), region)
    return np.asarray(np.clip(lower + unit * width, lower, upper))


def _walk(region: PolytopeInterior, count: int, rng: np.random.Generator) -> FloatArray:
    """Return (count, e) points of independent walks that all begin at the centre."""
    freedom = region.basis.shape[1]
    if not freedom:
        return np.repeat(region.centre[None, :], count, axis=0)
    chains = min(count, _CHAINS)
    across = (region.rows @ region.basis).T
    value = np.repeat((region.rows @ region.centre)[None, :], chains, axis=0)
    moved = np.zeros((chains, freedom))
    first, later = 20 + 10 * freedom, 5 + freedom
    steps = first + (-(-count // chains) - 1) * later
    block = min(steps, max(1, _BLOCK // (chains * freedom)))
    kept = []
    for step in range(steps):
        if step % block == 0:
            drawn = rng.standard_normal((block * chains, freedom))
            directions, changes = (part.reshape(block, chains, -1) for part in (drawn, drawn @ across))
        direction, change = directions[step % block], changes[step % block]
        with np.errstate(divide="ignore", invalid="ignore"):
            to_high, to_low = (region.high - value) / change, (region.low - value) / change
        # Not a number: a direction that runs along a row, from a point on it.
        longest = np.fmin.reduce(np.fmax(to_high, to_low), axis=1)
        shortest = np.fmax.reduce(np.fmin(to_high, to_low), axis=1)
        length = shortest + (longest - shortest) * rng.random(chains)
        length = np.where(np.isfinite(length), length, 0.0)[:, None]
        moved += length * direction
        value += length * change
        if step >= first - 1 and (step - first + 1) % later == 0:
            kept.append(moved.copy())
    return np.asarray(region.centre + np.concatenate(kept)[:count] @ region.basis.T)


def _on_equations(points: FloatArray, region: PolytopeInterior) -> FloatArray:
    """Take off what rounding has added up on the way."""
    if not len(region.equations):
        return points
    miss = region.sides - points @ region.equations.T
    return np.asarray(points + miss @ np.linalg.pinv(region.equations).T)
