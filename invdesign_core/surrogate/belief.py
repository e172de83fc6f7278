"""What is believed of the outputs of designs, also while experiments are under way whose results are not known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np

from invdesign_core.context import Context
from invdesign_core.data.data import LEAST, Data, Rows, TrainingRows
from invdesign_core.errors import TrainingError
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.surrogate.protocols import Builder
from invdesign_core.surrogate.scaling import Scaling, unwrapped
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.surrogate.trainer import Trainer

FITTED = 400
"""Rows that the hyper-parameters of a process beside the surrogate are found on, at most."""
FEW = 100
"""Rows up to which a process of its own is fitted in any case: one that is not as sure of what they say."""
NEAREST = 300
"""Rows that a process looks at, at most: those nearest to the designs in question."""


class Posterior(Protocol):
    """What a process says from rows, in standardised units."""

    @property
    def noise(self) -> FloatArray:
        """(m,) standard deviations of a measurement."""
        ...

    def predict(self, x: FloatArray, /) -> tuple[FloatArray, FloatArray]:
        """Return the (r, m) means and standard deviations at (r, e) designs."""
        ...

    def influence(self, x: FloatArray, last: int, /) -> FloatArray:
        """Return the (r, last, m) slopes of the means by the outputs of the last rows."""
        ...

    def given(self, x: FloatArray, y: FloatArray, /) -> Self:
        """Return what it says with more rows."""
        ...

    def of(self, x: FloatArray, y: FloatArray, variance: FloatArray | None = None, /) -> Self:
        """Return what it says from other rows, where the functions have another (m,) variance too."""
        ...


@dataclass(frozen=True)
class Belief:
    """Mean and standard deviation of the outputs of designs, in the user's units.

    A process with the hyper-parameters of all rows tells how sure it is. Where the surrogate is another model than
    that, its mean counts, with what a process makes of its misses of the rows near by; by how much that differs from
    the process alone is part of the standard deviation.

    Attributes
    ----------
    posterior : Posterior
        From rows, and from experiments under way as if they had given what is believed of them.
    scaling : Scaling
        Of the process.
    surrogate : Surrogate, optional
        Whose mean counts; None where the process is the surrogate.
    first : Posterior, optional
        From rows alone, where experiments are under way.
    count : int
        How many experiments are under way.
    misses : Posterior, optional
        What is missing to the surrogate's mean.
    """

    posterior: Posterior
    scaling: Scaling
    known: TrainingRows
    surrogate: Surrogate | None
    first: Posterior | None = None
    count: int = 0
    misses: Posterior | None = None

    def from_rows(self, rows: IndexArray) -> Belief:
        """Return what some of the rows say."""
        x, y = self.known.x[rows], self.known.y[rows]
        h, z = self.scaling.inputs(x), self.scaling.outputs(y)
        posterior, misses = self.posterior.of(h, z), None
        if self.surrogate is not None:
            left = z - self.scaling.outputs(self.surrogate.units(self.surrogate.mean_z(x)))
            size = np.nanmean(left**2, axis=0)
            variance = np.maximum(size - self.posterior.noise**2, 1e-2 * size) + 1e-12
            misses = posterior.of(h, left, variance)
        return replace(self, posterior=posterior, misses=misses)

    @property
    def noise(self) -> FloatArray:
        """(m,) standard deviations of a measurement about the function."""
        return np.asarray(self.posterior.noise * self.scaling.y_scale)

    def predict(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the (r, m) means and standard deviations at (r, e) encoded designs."""
        h = self.scaling.inputs(x)
        z, std = self.posterior.predict(h)
        mean, deviation = self._units(z), std * self.scaling.y_scale
        if self.surrogate is None:
            return mean, deviation
        own = self.surrogate.units(self.surrogate.mean_z(x))
        if self.misses is not None:
            own = own + self.misses.predict(h)[0] * self.scaling.y_scale
        if self.first is not None:  # what experiments under way leave of the doubt, in the same share
            z, before = self.first.predict(h)
            share = np.where(before > 0, std / np.where(before > 0, before, 1.0), 1.0)
            return own, share * np.hypot(before * self.scaling.y_scale, own - self._units(z))
        return own, np.hypot(deviation, own - mean)

    def given(self, x: FloatArray) -> Belief:
        """Return what is believed once (k, e) more designs are under way."""
        h = self.scaling.inputs(x)
        expected = self.posterior.predict(h)[0]
        posterior, first = self.posterior.given(h, expected), self.first or self.posterior
        return replace(self, posterior=posterior, first=first, count=self.count + len(x))

    def influence(self, x: FloatArray) -> FloatArray:
        """Return the (r, k, m) slopes of the means by the outputs of the k experiments under way."""
        return self.posterior.influence(self.scaling.inputs(x), self.count)

    def near(self, x: FloatArray) -> Belief:
        """Return what the rows nearest to some (k, e) designs say, where there are too many to look at all."""
        if len(self.known.x) <= NEAREST:
            return self
        from scipy.spatial import cKDTree

        h = self.scaling.inputs(self.known.x)
        away = cKDTree(self.scaling.inputs(x)).query(h)[0]
        return self.from_rows(np.argsort(away, kind="stable")[:NEAREST])

    def _units(self, z: FloatArray) -> FloatArray:
        return np.asarray(self.scaling.y_shift + self.scaling.y_scale * z)


def believe(surrogate: Surrogate, known: TrainingRows, builder: Builder, ctx: Context) -> Belief:
    """Return what is believed by a surrogate and the rows that it learnt from.

    The process is the surrogate's own where it has one among its members, and there are more than a few rows; else one
    that `builder` builds is fitted to some of the rows.
    """
    if len(known.x) < LEAST:  # a belief is tested on no row
        known = known.measured
    found, few = _own_process(surrogate), len(known.x) <= FEW
    if few:
        builder = builder.as_belief()
    process, scaling = _fitted(surrogate, known, builder, ctx) if few or found is None else found
    rows = np.arange(len(known.x))
    if len(rows) > NEAREST:  # until it is known which designs are in question
        rows = np.sort(ctx.rng("belief").permutation(len(rows))[:NEAREST])
    alone = found is not None and len(surrogate.members) == 1
    posterior = process.posterior(scaling.inputs(known.x[:1]), scaling.outputs(known.y[:1]))
    return Belief(posterior, scaling, known, None if alone else surrogate).from_rows(rows)


def _own_process(surrogate: Surrogate) -> tuple[Any, Scaling] | None:
    """Return the process among the members of a surrogate, and its scaling."""
    for member in surrogate.members if surrogate.differentiable else ():
        found = unwrapped(member)
        if found is not None and hasattr(found[0], "posterior"):
            return found
    return None


def _fitted(surrogate: Surrogate, known: TrainingRows, builder: Builder, ctx: Context) -> tuple[Any, Scaling]:
    """Fit a process to some of the rows."""
    rows = np.sort(ctx.rng("belief").permutation(len(known.x))[:FITTED])
    x, y = known.x[rows], known.y[rows]
    everything, nothing = np.arange(len(x)), np.zeros(0, dtype=np.intp)
    data = data_of(TrainingRows(x, y), surrogate)
    trainer = Trainer(builder, data, Rows(x, y, everything, nothing, nothing), Training(), ctx)
    import keras_tuner as kt

    model = trainer.build(kt.HyperParameters(), 0, "belief")
    (outcome,) = trainer.train([model], [0], "belief", "train", [1])
    if not outcome.ok:
        raise TrainingError(f"{builder.label}: {outcome.message}", "it is needed to tell how sure a prediction is")
    return model, trainer.scaling


def data_of(known: TrainingRows, surrogate: Surrogate, options: Mapping[str, Any] | None = None) -> Data:
    """Return rows as data with the names and variables of a surrogate."""
    frame = surrogate.space.as_measured(known.x).assign(**dict(zip(surrogate.outputs, known.y.T, strict=True)))
    partial = bool(np.isnan(known.y).any())
    return Data(frame, surrogate.space, surrogate.outputs, partial=partial, **(options or {}))


@dataclass(frozen=True)
class WithInputs:
    """A belief that also says what formulas of the inputs are: exactly their `values` at (n, e) designs, (n, k)."""

    belief: Belief
    values: Callable[[FloatArray], FloatArray]
    count: int

    def predict(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return means and standard deviations, those of the formulas last."""
        mean, std = self.belief.predict(x)
        own = self.values(x)
        return np.column_stack([mean, own]), np.column_stack([std, np.full_like(own, 1e-12)])

    def given(self, x: FloatArray) -> WithInputs:
        """Return what is believed once more designs are under way."""
        return replace(self, belief=self.belief.given(x))

    def influence(self, x: FloatArray) -> FloatArray:
        """Return the slopes of the means by the outputs of experiments under way; they move no input."""
        slopes = self.belief.influence(x)
        return np.concatenate([slopes, np.zeros((*slopes.shape[:2], self.count))], axis=2)

    def near(self, x: FloatArray) -> WithInputs:
        """Return what the rows nearest to some designs say."""
        return replace(self, belief=self.belief.near(x))

    @cached_property
    def noise(self) -> FloatArray:
        """(m,) standard deviations of a measurement; an input has none."""
        return np.concatenate([self.belief.noise, np.zeros(self.count)])
