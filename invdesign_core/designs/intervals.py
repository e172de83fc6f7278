"""Between which values the true outputs of designs lie, and how probable it is that a measurement meets the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.search.inverse_problem import InverseProblem
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.surrogate.second_model import SecondModel
from invdesign_core.targets import ROUNDOFF, Prediction, Targets

DIFFERS = 3.0
"""So many half-widths that the second model's own uncertainty explains may it differ from the searched model by."""


FEW, OUTSIDE = "too few rows for this level", "outside the data"
APART = "the second model disagrees"
"""Why there is no guarantee."""
Columns = dict[tuple[str, ...], Any]
"""Columns by part and name, as the answers have them."""


@dataclass(frozen=True)
class Intervals:
    """What two models together say of n designs and m outputs, in the user's units.

    Attributes
    ----------
    centre : (n, m) array
        The searched model's predictions, in the middle of all intervals.
    half, half_new : (n, m) arrays
        Half-widths of the intervals for the true mean, and for one new measurement.
    joint, joint_new : (n, m) arrays
        The same of intervals that hold for all asked outputs of a design together (Bonferroni).
    probability : (n,) array
        That a measurement meets the target in every output; NaN where it has no limits.
    reason : (n,) array of str
        Why there is no guarantee; empty where there is one.
    """

    centre: FloatArray
    half: FloatArray
    half_new: FloatArray
    joint: FloatArray
    joint_new: FloatArray
    probability: FloatArray
    reason: NDArray[np.str_]

    @property
    def guarantee(self) -> NDArray[np.bool_]:
        """(n,) whether the intervals are said to hold."""
        return np.asarray(self.reason == "")


@dataclass(frozen=True)
class Doubt:
    """How far the searched model may be off at n designs, in m outputs.

    Attributes
    ----------
    centre, std : (n, m) arrays
        The searched model's predictions, and the second model's standard deviations.
    apart : (n, m) array
        How far the two models' predictions are apart.
    noise : (n, m) array
        Standard deviations of a measurement about the true mean.
    """

    centre: FloatArray
    std: FloatArray
    apart: FloatArray
    noise: FloatArray

    def half_widths(self, second: SecondModel, level: float) -> tuple[FloatArray, FloatArray]:
        """Return the (n, m) half-widths at a level, for the true mean and for a measurement."""
        normal = _normal_quantile(level)
        quantile = np.maximum(second.quantile(level), normal)
        known = (quantile * self.std) ** 2 + (normal * self.apart) ** 2
        return np.sqrt(known), np.sqrt(known + (quantile * self.noise) ** 2)

    def explained(self, second: SecondModel, level: float) -> FloatArray:
        """Return the (n, m) half-widths that the second model alone would have, noise included."""
        quantile = np.maximum(second.quantile(level), _normal_quantile(level))
        return np.asarray(quantile * np.sqrt(self.std**2 + self.noise**2))

    def probability(self, targets: Targets, groups: IndexArray) -> FloatArray:
        """Return the (n,) probabilities that a measurement meets its target; row i has target groups[i]."""
        from scipy.special import ndtr

        tolerance = np.maximum(targets.tolerance, np.where(targets.open, ROUNDOFF * targets.spread, 0.0))[groups]
        std = np.sqrt(self.std**2 + self.apart**2 + self.noise**2 + np.finfo(np.float64).tiny)
        low, high = (side[groups] for side in (targets.lower, targets.upper))
        inside = ndtr((high + tolerance - self.centre) / std) - ndtr((low - tolerance - self.centre) / std)
        limited = targets.limited[groups]
        found = np.where(limited, inside, 1.0).prod(axis=1)
        return np.where(limited.any(axis=1), found, np.nan)


def _normal_quantile(level: float) -> float:
    """Return how many standard deviations of a normal distribution hold this share of it."""
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


def doubt_of(second: SecondModel, searched: Prediction, x: FloatArray, over: FloatArray | None = None) -> Doubt:
    """Compare what two models say of (n, e) designs; `searched` are (n, m) predictions of at least as many outputs.

    Outputs beyond those of the second model are inputs, which are exact. `over` are (n, m) standard deviations of the
    mean over conditions that vary: one measurement is made in one of them.
    """
    own = second.predict(x)
    more = searched.mean.shape[1] - own.mean.shape[1]

    def filled(part: Any, value: float) -> FloatArray:
        return np.pad(part, ((0, 0), (0, more)), constant_values=value)

    centre = np.asarray(searched.mean, dtype=np.float64)
    noise = filled(np.broadcast_to(second.noise, own.mean.shape), 0.0)
    if over is not None:
        noise = np.hypot(noise, over)
    apart = filled(np.abs(centre[:, : own.mean.shape[1]] - own.mean), 0.0)
    return Doubt(centre, filled(own.std, 0.0), apart, noise)


def intervals(problem: InverseProblem, x: FloatArray, searched: Prediction, groups: IndexArray) -> Intervals:
    """Return what is known of (n, e) designs with (n, m) predictions; row i has target groups[i]."""
    assert problem.second is not None
    second, targets, level = problem.second, problem.targets, problem.second.level
    doubt = doubt_of(second, searched, x, problem.surrogate.scenario_spread(x))
    half, half_new = doubt.half_widths(second, level)
    asked = targets.asked[groups]
    joint, joint_new = half.copy(), half_new.copy()
    several = asked.sum(axis=1)
    for count in np.unique(several[several > 1]):
        rows = several == count
        for part, whole in zip((joint, joint_new), doubt.half_widths(second, 1 - (1 - level) / count), strict=True):
            part[rows] = whole[rows]
    outside = np.zeros(len(x), dtype=np.bool_) if problem.nearness is None else ~problem.nearness.inside(x)
    few = ~np.isfinite(np.where(asked, half, 0.0)).all(axis=1)
    differs = (doubt.apart > DIFFERS * doubt.explained(second, level)) & asked
    reason = np.select([few, outside, differs.any(axis=1)], [FEW, OUTSIDE, APART], "")
    probability = doubt.probability(targets, groups)
    return Intervals(doubt.centre, half, half_new, joint, joint_new, probability, reason)


def interval_columns(problem: InverseProblem, x: FloatArray, searched: Prediction, groups: IndexArray) -> Columns:
    """Return the columns of designs that tell how far to trust them; none without a second model."""
    if problem.second is None:
        return {}
    found, surrogate = intervals(problem, x, searched, groups), problem.surrogate
    named = [(m, name) for m, name in enumerate(surrogate.outputs) if name not in surrogate.exact_inputs]
    kinds = {"": found.half, "_new": found.half_new}
    if ((problem.whole or problem.targets).asked.sum(axis=1) > 1).any():
        kinds |= {"_joint": found.joint, "_new_joint": found.joint_new}
    columns: Columns = {}
    for kind, half in kinds.items():
        columns |= {(f"low{kind}", name): found.centre[:, m] - half[:, m] for m, name in named}
        columns |= {(f"high{kind}", name): found.centre[:, m] + half[:, m] for m, name in named}
    return columns | {
        ("probability",): found.probability,
        ("guarantee",): found.guarantee,
        ("no_guarantee",): found.reason.astype(object),
    }
