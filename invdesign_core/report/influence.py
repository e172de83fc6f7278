"""Which inputs matter: Sobol indices of a surrogate, and in which direction each input moves an output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.space import Space

MOST_POINTS = 8192
"""Predictions at most; fewer inputs get more points each."""
LEAST = 64
"""Points for each input at least."""
AT_ONCE = 4_000_000
"""Numbers in the designs that are predicted at once."""


@dataclass(frozen=True)
class Influence:
    """What each of d inputs does to each of m outputs, over the whole box of the bounds.

    Attributes
    ----------
    first, total : (m, d) arrays
        First-order and total Sobol indices: the share of an output's variance that an input causes alone, and with
        all that it does together with others. NaN where an output is constant.
    direction : (m, d) array
        The correlation of the output with the input, from -1 to 1; NaN for a category.
    points : int
        Predictions that they rest on.
    """

    first: FloatArray
    total: FloatArray
    direction: FloatArray
    points: int


def influence(predict: Callable[[FloatArray], FloatArray], space: Space, most: int = MOST_POINTS) -> Influence | None:
    """Return the influence of the inputs on `predict`, from (n, e) encoded designs to (n, m) outputs.

    Inputs vary independently over their bounds; what ties them, such as the sum of a mixture, is not looked at. None
    where nothing varies. The estimators are those of Saltelli et al., "Variance based sensitivity analysis of model
    output", Computer Physics Communications 181, 2010: equation (b) for the first order, and Jansen's for the total.
    """
    from scipy.stats import qmc

    moving = [j for j, variable in enumerate(space.variables) if variable.count != 1]
    d, k = len(space.variables), len(moving)
    if not moving:
        return None
    count = 2 ** int(np.log2(max(most // (k + 2), LEAST)))
    both = qmc.Sobol(2 * k, rng=np.random.default_rng(0)).random(count)
    a, b = both[:, :k], both[:, k:]
    answers = []
    for at in range(0, k + 2, size := max(AT_ONCE // (count * space.width), 1)):
        parts = [_mixed(a, b, i - 2) for i in range(at, min(at + size, k + 2))]
        answers.append(predict(_designs(space, moving, np.concatenate(parts))).reshape(len(parts), count, -1))
    y = np.concatenate(answers)
    y_a, y_b, y_mixed = y[0], y[1], y[2:]
    variance = np.concatenate([y_a, y_b]).var(axis=0)
    size = np.abs(y).max(axis=(0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        varies = np.where(variance > (1e-7 * size) ** 2, variance, np.nan)
        centre = np.concatenate([y_a, y_b]).mean(axis=0)
        first_k = ((y_b - centre) * (y_mixed - y_a)).mean(axis=1) / varies
        total_k = ((y_a - y_mixed) ** 2).mean(axis=1) / (2 * varies)
    m = y.shape[2]
    first, total, direction = np.zeros((m, d)), np.zeros((m, d)), np.full((m, d), np.nan)
    first[:, moving], total[:, moving] = np.clip(first_k, 0, 1).T, np.clip(total_k, 0, None).T
    first[np.isnan(varies)] = total[np.isnan(varies)] = np.nan
    ordered = [i for i, j in enumerate(moving) if space.variables[j].ordered]
    direction[:, [moving[i] for i in ordered]] = (_standardised(y_a).T @ _standardised(a[:, ordered])) / count
    return Influence(first, total, direction, count * (k + 2))


def _mixed(a: FloatArray, b: FloatArray, i: int) -> FloatArray:
    """Return (count, k) numbers `a` in which column i is that of `b`; -2 stands for `a` itself, and -1 for `b`."""
    if i < 0:
        return a if i == -2 else b
    found = a.copy()
    found[:, i] = b[:, i]
    return found


def _designs(space: Space, moving: list[int], unit: FloatArray) -> FloatArray:
    """Return the (n, e) encoded designs of (n, k) numbers from 0 to 1 for the variables that move."""
    low, high = space.bounds
    x = np.repeat(space.snap(((low + high) / 2)[None]), len(unit), axis=0)
    for i, j in enumerate(moving):
        variable, columns = space.variables[j], space.slices[j]
        number = variable.count
        if number is not None:
            x[:, columns] = variable.at(np.minimum((unit[:, i] * number).astype(np.intp), number - 1))
        elif variable.scale == "log":
            x[:, columns.start] = low[columns.start] * (high[columns.start] / low[columns.start]) ** unit[:, i]
        else:
            x[:, columns.start] = low[columns.start] + unit[:, i] * (high - low)[columns.start]
    return space.snap(x)


def _standardised(columns: FloatArray) -> FloatArray:
    """Return (n, c) columns less their means, by their standard deviations; NaN where one is constant."""
    deviation = columns.std(axis=0)
    return np.asarray((columns - columns.mean(axis=0)) / np.where(deviation > 0, deviation, np.nan))
