"""What a race says, in words: who is ahead of whom, whether that is more than noise, and what more rows would bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from invdesign_core.designs.report import CurveReport
from invdesign_core.space.arrays import FloatArray

MEAN = "mean"
"""The candidate that predicts the mean of the rows that it learnt from."""
BLEND = "blend"
"""The weighted mean of candidates."""
WORTH_IT = 0.02
"""The share of the error that a blend has to save: it is slower than the surrogates in it."""
LISTED = 4
"""Outputs up to which the weights of a blend are told for each."""
SURE = 1.645
"""Standard errors beyond which a difference is more than noise: one in twenty is so large by chance."""
TINY = 1e-24
"""Below this a squared error in standardised units counts as none."""
PERFECT = 1e-3
"""An error in standard deviations below which nothing is left to learn."""
LITTLE = 0.05
"""Shares of the error below which a difference, or what more rows bring, is not worth a number."""
VAGUE = 0.15
"""Standard error above which it can't be said what twice the rows would bring."""
IN_WORDS = {
    "ridge": "a polynomial of second degree describes the table",
    "gaussian-process": "no network is needed",
}
"""What it means that a simple candidate is as good as the one chosen."""


@dataclass(frozen=True)
class Standing:
    """A candidate's (f,) mean squared errors on the folds, in standardised units, and whether it may be chosen."""

    name: str
    errors: FloatArray
    eligible: bool = True

    @property
    def error(self) -> float:
        """The root of the mean squared error."""
        return float(np.sqrt(self.errors.mean()))


def standard_error(values: FloatArray, folds: int) -> float:
    """Return the standard error of the mean of (f,) values of the folds of a cross-validation.

    The folds share their training rows, so that their values are not independent: Nadeau and Bengio, "Inference for the
    generalization error", Machine Learning 52, 2003, add the ratio of test to training rows.
    """
    if len(values) < 2:
        return float("inf")
    return float(np.sqrt(values.var(ddof=1) * (1 / len(values) + 1 / max(folds - 1, 1))))


def ahead(better: FloatArray, worse: FloatArray, folds: int, sure: float = SURE) -> bool:
    """Whether one candidate's (f,) errors are smaller than another's by more than so many standard errors.

    Their logarithms are compared: a fold with large errors has large differences, too.
    """
    difference = np.log(np.maximum(worse, TINY)) - np.log(np.maximum(better, TINY))
    return bool(difference.mean() > sure * standard_error(difference, folds))


def choose(standings: Sequence[Standing]) -> Standing:
    """Return the standing with the smallest error of those that may be chosen; of equal ones the simplest."""
    return min((s for s in standings if s.eligible), key=lambda s: float(s.errors.mean()))


def saved_by_blend(blend: FloatArray, best: FloatArray) -> float:
    """Return by what share (f, m) squared errors of a blend are smaller than the best candidate's, over all outputs.

    It is the geometric mean: an output that is known well counts as much as one that is not. Zero where the error over
    all outputs is larger.
    """
    blend, best = (np.maximum(np.nanmean(errors, axis=0), TINY) for errors in (blend, best))
    if blend.mean() > best.mean():
        return 0.0
    return float(1 - np.exp(np.log(blend / best).mean() / 2))


def words_of_blend(
    saved: float,
    best: Standing,
    weights: Mapping[str, Mapping[str, float]],
    standings: Sequence[Standing],
    blend: Standing,
    folds: int,
) -> list[str]:
    """Say what a blend is made of, from the weights of each part for the outputs that decide, and what it saves.

    `best` is the best of the candidates alone, `standings` are those of all.
    """
    outputs = list(next(iter(weights.values())))
    made = {output: _mixture({name: shares[output] for name, shares in weights.items()}) for output in outputs}
    if len(set(made.values())) == 1:
        of = next(iter(made.values()))
    elif len(outputs) <= LISTED:
        of = "; ".join(f"{output}: {mixture}" for output, mixture in made.items())
    else:
        of = f"of {' and '.join(weights)}, with weights of its own for each output"
    of_outputs = "its error is" if len(outputs) == 1 else "its errors are"
    lead = (
        f"a weighted mean of {len(weights)} surrogates is chosen ({of}): {of_outputs} {_percent(saved)} smaller than "
        f"with the best alone, {best.name}" + ("" if len(outputs) == 1 else ", on average over the outputs")
    )
    return [lead, *_better_yardsticks(standings, blend, folds)]


def _mixture(shares: Mapping[str, float]) -> str:
    """Write the weights of one output."""
    return " + ".join(f"{round(100 * share)} % {name}" for name, share in shares.items() if share > 0)


def words(standings: Sequence[Standing], chosen: Standing, folds: int) -> list[str]:
    """Say how far the chosen candidate is ahead; `standings` begin with the simplest candidate."""
    simpler = standings[: [s.name for s in standings].index(chosen.name)]
    equal = [s for s in simpler if s.eligible and s.name != MEAN and not ahead(chosen.errors, s.errors, folds)]
    lead = _lead(standings, chosen, folds)
    if equal:
        name = equal[0].name
        meaning = f": {IN_WORDS[name]}" if name in IN_WORDS else ""
        lead = f"{chosen.name} is chosen, though {name}, which is simpler, is as good within the noise{meaning}"
    return [lead, *_better_yardsticks(standings, chosen, folds)]


def _better_yardsticks(standings: Sequence[Standing], chosen: Standing, folds: int) -> list[str]:
    """Name those without gradients that are ahead of what is chosen."""
    return [
        f"{other.name} has an error {_percent(1 - other.error / chosen.error)} smaller, but has no gradients "
        f"to find designs by; to take it nevertheless: --surrogate {other.name}"
        for other in standings
        if not other.eligible and other.name != MEAN and ahead(other.errors, chosen.errors, folds)
    ]


def _lead(standings: Sequence[Standing], chosen: Standing, folds: int) -> str:
    others = [s for s in standings if s.eligible and s.name not in (chosen.name, MEAN)]
    if not others:
        return f"{chosen.name} is the only candidate that could be chosen"
    second = min(others, key=lambda s: s.error)
    less = 1 - chosen.error / second.error if second.error > 0 else 0.0
    if not ahead(chosen.errors, second.errors, folds):
        return f"{chosen.name} is chosen, though {second.name} is as good within the noise of the folds"
    clearly = less > 2 * LITTLE and ahead(chosen.errors, second.errors, folds, 2 * SURE)
    much = "clearly ahead" if clearly else "ahead"
    return f"{chosen.name} is {much}: its error is {_percent(less)} smaller than that of the next, {second.name}"


def no_better_than_mean(mean: FloatArray, chosen: FloatArray, folds: int) -> bool:
    """Whether one output's (f,) errors of the chosen candidate are no smaller than those of the mean, but for noise."""
    measured = np.isfinite(mean) & np.isfinite(chosen)
    return bool(measured.any()) and not ahead(chosen[measured], mean[measured], folds)


def project(rows: Sequence[int], errors: FloatArray, folds: int) -> CurveReport:
    """Return a learning curve from the (s, f) errors with so many training rows, each twice the one before.

    An error that falls like a power of the rows is a straight line on logarithmic scales. Where the line flattens, its
    last piece is followed; where it steepens, the mean of its pieces. Its standard error is that of the jackknife.
    """
    folded = errors.shape[1]
    less = _less(errors.mean(axis=1))
    uncertainty = None
    if folded > 2:
        others = np.array([_less(np.delete(errors, f, axis=1).mean(axis=1)) for f in range(folded)])
        uncertainty = float(np.sqrt((folded - 1) / folded * ((others - others.mean()) ** 2).sum()))
    levels = np.sqrt(errors.mean(axis=1))
    falls = bool((levels[1:] <= (1 + LITTLE) * levels[:-1]).all())
    if levels[-1] < PERFECT:
        text, value = "the error is next to nothing already", None
    elif not (falls and np.isfinite(less) and uncertainty is not None and uncertainty <= VAGUE):
        text, value = "it can't be said what more rows would bring: the folds are too few or differ too much", None
    elif less < max(LITTLE, uncertainty or 0.0):
        text, value = "twice the rows would bring little", less
    else:
        text, value = f"twice the rows would bring about {_percent(less)} less error", less
    return CurveReport(
        rows=list(rows),
        error=[float(level) for level in levels],
        less=value,
        uncertainty=uncertainty,
        text=text,
    )


def _less(errors: FloatArray) -> float:
    """Return by which share the root of an error falls with the next doubling, from its (s,) values so far."""
    if not (errors > 0).all():
        return float("nan")
    slopes = [float(np.log2(b / a)) / 2 for a, b in pairwise(errors)]
    return 1 - 2 ** max(slopes[-1], sum(slopes) / len(slopes))


def _percent(share: float) -> str:
    return "less than 1 %" if share < 0.01 else "more than 99 %" if share > 0.99 else f"{100 * share:.0f} %"
