"""What a race has chosen: one candidate, or several with the weights of their mean; and the model that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from invdesign_core.designs.comparison import BLEND, MEAN, Standing
from invdesign_core.designs.report import SurrogateReport
from invdesign_core.plugin import SurrogateBuilder
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.surrogate.blend import Blend, blend
from invdesign_core.surrogate.cross_validation import Pool, Validated
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.workflow.train import ForwardModel


@dataclass(frozen=True)
class Candidate:
    """One surrogate of a race; the name is the plugin's, with a number where it races more than once."""

    name: str
    builder: SurrogateBuilder

    @property
    def eligible(self) -> bool:
        """Whether it may be chosen: solvers need its gradients."""
        return self.builder.differentiable


@dataclass(frozen=True)
class Part:
    """A candidate that is chosen, its cross-validation, and its (m,) weights for the outputs; 1 where it is alone."""

    candidate: Candidate
    found: Validated
    weights: FloatArray


@dataclass(frozen=True)
class Chosen:
    """The parts, and their (r, n, m) predictions for rows left out."""

    parts: Sequence[Part]
    predicted: FloatArray

    def heaviest(self, asked: IndexArray) -> Part:
        """Return the part that counts most for the outputs that decide."""
        return max(self.parts, key=lambda part: float(part.weights[asked].mean()))


def blended(
    standings: Sequence[Standing], found: Mapping[str, tuple[Candidate, Validated]], pool: Pool
) -> Chosen | None:
    """Return the weighted mean of those in closed form and of the best network; None where fewer than two count.

    One kind of network is enough: each is trained again on all rows, and makes the answers slower.
    """
    eligible = sorted((s for s in standings if s.eligible and s.name != MEAN), key=lambda s: s.error)
    networks = [s.name for s in eligible if not found[s.name][0].builder.closed_form]
    names = [s.name for s in eligible if s.name not in networks[1:]]
    if len(names) < 2:
        return None
    mean: Blend = blend({name: found[name][1].predicted for name in names}, pool)
    counted = [name for name in names if mean.weights[name].any()]
    if len(counted) < 2:
        return None
    return Chosen([Part(*found[name], mean.weights[name]) for name in counted], mean.predicted)


def weighted_mean(parts: Sequence[Part], models: Sequence[ForwardModel]) -> ForwardModel:
    """Return the weighted mean of the models of several parts; its report holds what they have in common, or the sum.

    Its test metrics are left to be filled in.
    """
    first = models[0]
    surrogates = [model.surrogate for model in models]
    weights = [
        np.repeat(part.weights[None] / len(s.members), len(s.members), axis=0)
        for part, s in zip(parts, surrogates, strict=True)
    ]
    members = [member for s in surrogates for member in s.members]
    surrogate: Surrogate = replace(first.surrogate, members=tuple(members), weights=np.concatenate(weights))
    reports = [model.report for model in models]
    report = SurrogateReport(
        plugin=BLEND,
        members=len(members),
        trials=sum(r.trials for r in reports),
        failed=sum(r.failed for r in reports),
        best={f"{p.candidate.name}.{k}": v for p, r in zip(parts, reports, strict=True) for k, v in r.best.items()},
        objective=None,
        score=None,
        retrained=any(r.retrained for r in reports),
        trained_again=sum(r.trained_again for r in reports),
        left_out=sum(r.left_out for r in reports),
        rows=first.report.rows,
        test={},
    )
    return replace(first, surrogate=surrogate, report=report)
