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

DIFFERS, MATTERS = 3.0, 0.05
"""The second model disagrees where it is so many times farther away than its own interval explains, and by more than
this share of the output's range."""
FAR = 2.0
"""A design is outside the data where the nearest row is so many times farther away than is usual among the rows."""
FEW, OUTSIDE = "too few rows for this level", "outside the data"
BEYOND, APART = "beyond all measured outputs", "the second model disagrees"
"""Why there is no guarantee."""
LEAST_FREEDOM = 3
"""Rows that are taken to tell of a probability, at least: with fewer a t distribution has no variance."""
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
        That a measurement meets the target in every output; NaN where it has no limits, or there are too few rows.
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
    centre, own : (n, m) arrays
        The searched model's predictions; and its standard deviations, 0 where it has none or they are `std`.
    other, std : (n, m) arrays
        The second model's predictions; and the standard deviations of that of the two which knows how sure it is.
    noise : (n, m) array
        Standard deviations of a measurement about the true mean.
    beyond : (n, m) array of int
        How many measured outputs are as extreme as the prediction, or more so.
    middle : (n, m) array
        What that model predicts which knows how sure it is.
    """

    centre: FloatArray
    own: FloatArray
    other: FloatArray
    std: FloatArray
    noise: FloatArray
    beyond: IndexArray
    middle: FloatArray

    @property
    def apart(self) -> FloatArray:
        """(n, m) how far the two models are apart."""
        return np.abs(self.centre - self.other)

    def half_widths(self, second: SecondModel, level: float) -> tuple[FloatArray, FloatArray]:
        """Return the (n, m) half-widths at a level, for the true mean and for a measurement.

        How wrong models are for outputs as extreme as those at a design is known from as many rows as are beyond it; so
        many degrees of freedom has the t distribution that takes the place of the normal one.
        """
        from scipy.special import stdtrit

        normal, quantile = _normal_quantile(level), self._quantile(second, level)
        known = (quantile * self.std) ** 2 + normal**2 * (self.apart**2 + self.own**2)
        known *= (stdtrit(np.maximum(self.beyond, 1), (1 + level) / 2) / normal) ** 2
        return np.sqrt(known), np.sqrt(known + (quantile * self.noise) ** 2)

    def explained(self, second: SecondModel, level: float) -> FloatArray:
        """Return the (n, m) half-widths that the second model alone would have, noise included."""
        return np.asarray(self._quantile(second, level) * np.sqrt(self.std**2 + self.noise**2))

    def _quantile(self, second: SecondModel, level: float) -> FloatArray:
        """Return (m,) how many of the second model's standard deviations hold such a share."""
        found = np.maximum(second.quantile(level), _normal_quantile(level))
        return np.pad(found, (0, self.centre.shape[1] - len(found)), constant_values=1.0)

    def probability(self, second: SecondModel, targets: Targets, groups: IndexArray) -> FloatArray:
        """Return the (n,) probabilities that a measurement meets its target; row i has target groups[i].

        They are about the prediction of the model that knows how sure it is. Where that is the searched one, the search
        moved it to where it was wanted, and by how much it is wrong there is known from as many rows as are beyond it.
        """
        from scipy.special import ndtr

        tolerance = np.maximum(targets.tolerance, np.where(targets.open, ROUNDOFF * targets.spread, 0.0))[groups]
        scale = np.pad(second.scale, (0, self.centre.shape[1] - len(second.scale)), constant_values=1.0)
        known = (scale * self.std) ** 2 + (self.apart / 2) ** 2 + self.own**2
        if second.searched_knows:
            freedom = np.maximum(self.beyond, LEAST_FREEDOM)
            known = known * freedom / (freedom - 2)
        low, high = (side[groups] for side in (targets.lower, targets.upper))
        std = np.sqrt(known + self.noise**2 + np.finfo(np.float64).tiny)
        inside = ndtr((high + tolerance - self.middle) / std) - ndtr((low - tolerance - self.middle) / std)
        limited = targets.limited[groups]
        found = np.where(limited, inside, 1.0).prod(axis=1)
        return np.where(limited.any(axis=1), found, np.nan)


def _normal_quantile(level: float) -> float:
    """Return how many standard deviations of a normal distribution hold this share of it."""
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


def doubt_of(second: SecondModel, searched: Prediction, x: FloatArray, y: FloatArray, over: FloatArray | None) -> Doubt:
    """Compare what two models say of (n, e) designs; `searched` are (n, m) predictions of at least as many outputs.

    Outputs beyond those of the second model are inputs, which are exact. `y` are (k, m) measured outputs. `over` are
    (n, m) standard deviations of the mean over conditions that vary: one measurement is made in one of them.
    """
    found, centre = second.predict(x), np.asarray(searched.mean, dtype=np.float64)
    count = found.mean.shape[1]
    other, std, noise = centre.copy(), np.zeros_like(centre), np.zeros_like(centre)
    other[:, :count], std[:, :count], noise[:, :count] = found.mean, found.std, second.noise
    own = np.zeros_like(centre) if searched.std is None else np.asarray(searched.std, dtype=np.float64)
    noise = noise if over is None else np.hypot(noise, over)
    beyond = _beyond(centre, y)
    if second.searched_knows:
        return Doubt(centre, np.zeros_like(own), other, own, noise, beyond, centre)
    return Doubt(centre, own, other, std, noise, beyond, other)


def _beyond(centre: FloatArray, y: FloatArray) -> IndexArray:
    """Return (n, m) how many of (k, m) measured outputs are at least as extreme as predictions, on their side."""
    found = np.zeros(centre.shape, dtype=np.intp)
    for m, column in enumerate(y.T):
        known = np.sort(column[np.isfinite(column)])
        below = np.searchsorted(known, centre[:, m], side="right")
        above = len(known) - np.searchsorted(known, centre[:, m], side="left")
        found[:, m] = np.minimum(below, above)
    return found


def _excess(centre: FloatArray, y: FloatArray) -> FloatArray:
    """Return (n, m) how far predictions are beyond all of (k, m) measured outputs; outputs without any have no end."""
    found = np.zeros(centre.shape)
    for m, column in enumerate(y.T):
        known = column[np.isfinite(column)]
        if len(known):
            found[:, m] = np.maximum(centre[:, m] - known.max(), known.min() - centre[:, m])
    return found


def intervals(problem: InverseProblem, x: FloatArray, searched: Prediction, groups: IndexArray) -> Intervals:
    """Return what is known of (n, e) designs with (n, m) predictions; row i has target groups[i]."""
    assert problem.second is not None
    second, targets, level = problem.second, problem.targets, problem.second.level
    assert problem.rows is not None
    doubt = doubt_of(second, searched, x, problem.rows.y, problem.surrogate.scenario_spread(x))
    half, half_new = doubt.half_widths(second, level)
    asked = targets.asked[groups]
    joint, joint_new = half.copy(), half_new.copy()
    several = asked.sum(axis=1)
    for count in np.unique(several[several > 1]):
        rows = several == count
        for part, whole in zip((joint, joint_new), doubt.half_widths(second, 1 - (1 - level) / count), strict=True):
            part[rows] = whole[rows]
    few = ~np.isfinite(np.where(asked, half, 0.0)).all(axis=1)
    outside = np.zeros(len(x), dtype=np.bool_)
    if problem.nearness is not None:
        outside = problem.nearness.breaks(x) | (problem.nearness.nearest(x)[1] > FAR * problem.nearness.usual)
    explained = doubt.explained(second, level)
    # A search moves the prediction of its own model to what is wanted, so that this one's interval tells less there.
    far = 0.0 if second.searched_knows else explained
    beyond = ((_excess(doubt.centre, problem.rows.y) > far) & (doubt.std > 0) & asked).any(axis=1)
    limit = np.maximum(DIFFERS * explained, MATTERS * problem.surrogate.spread)
    differs = ((doubt.apart > limit) & asked).any(axis=1)
    reason = np.select([few, outside, beyond, differs], [FEW, OUTSIDE, BEYOND, APART], "")
    probability = np.where(few, np.nan, doubt.probability(second, targets, groups))
    return Intervals(doubt.centre, half, half_new, joint, joint_new, probability, reason)


def interval_columns(problem: InverseProblem, x: FloatArray, searched: Prediction, groups: IndexArray) -> Columns:
    """Return the columns of designs that tell how far to trust them; none without a second model."""
    if problem.second is None:
        return {}
    found, surrogate = intervals(problem, x, searched, groups), problem.surrogate
    named = surrogate.predicted
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
