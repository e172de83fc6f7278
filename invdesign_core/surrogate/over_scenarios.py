"""A surrogate that answers with the mean of its predictions over what conditions may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.conditions import Scenarios
from invdesign_core.surrogate.surrogate import CHUNK, Surrogate
from invdesign_core.targets import Prediction


@dataclass(frozen=True)
class OverScenarios(Surrogate):
    """A surrogate whose answer for a design is the mean over scenarios; what the design says of conditions is ignored.

    The members' spread is the mean of theirs in the scenarios, as if they erred alike in all: no less than the spread
    of their means.
    """

    base: Surrogate
    sample: Scenarios

    @classmethod
    def averaging(cls, base: Surrogate, sample: Scenarios) -> Self:
        """Return the mean of a surrogate's answers over some scenarios."""
        own = (base.members, base.space, base.outputs, base.shift, base.scale, base.box, base.spread)
        return cls(*own, base, sample)

    @property
    def scenarios(self) -> Scenarios:
        """What the answers are means over."""
        return self.sample

    @property
    def rows_at_once(self) -> int:
        """Rows to evaluate at once: each is as many as there are scenarios."""
        return max(self.base.rows_at_once // len(self.sample), 1)

    @property
    def variables(self) -> list[Any]:
        """All weights of all members."""
        return self.base.variables

    def trace(self, x: Any) -> Prediction:
        """Answer in z, in the backend's own operations, for compilation; x is an (r, e) tensor."""
        from keras import ops

        s, e = len(self.sample), self.space.width
        kept, values = np.ones(e), np.zeros((s, e))
        kept[self.sample.columns], values[:, self.sample.columns] = 0.0, self.sample.values
        points = ops.expand_dims(x * ops.cast(kept, x.dtype), 1) + ops.cast(values[None], x.dtype)
        answer = self.base.trace(ops.reshape(points, (-1, e)))

        def over(part: Any) -> Any:
            return ops.mean(ops.reshape(part, (-1, s, len(self.outputs))), axis=1)

        return Prediction(over(answer.mean), None if answer.std is None else over(answer.std))

    def predict_z(self, x: FloatArray) -> Prediction:
        """Answer in z for (n, e) raw designs, as float64 arrays."""
        mean, std, _ = self._over(x)
        return Prediction(mean, std)

    def mean_z(self, x: FloatArray) -> FloatArray:
        """Return the (n, m) answers in z of (n, e) raw designs alone."""
        s, m = len(self.sample), len(self.outputs)
        step = max(CHUNK // s, 1)
        parts = (x[at : at + step] for at in range(0, max(len(x), 1), step))
        means = [self.base.mean_z(self.sample.of(part)).reshape(-1, s, m).mean(axis=1) for part in parts]
        return np.concatenate(means)

    def scenario_spread(self, x: FloatArray) -> FloatArray:
        """Return the (n, m) standard deviations of the prediction over the scenarios, in the user's units."""
        return np.asarray(self._over(x)[2] * np.abs(self.scale))

    def _over(self, x: FloatArray) -> tuple[FloatArray, FloatArray | None, FloatArray]:
        """Return means over the scenarios of (n, m) answers and of the members' spread, and deviations, in z."""
        s, m = len(self.sample), len(self.outputs)
        step, parts = max(CHUNK // s, 1), []
        for at in range(0, max(len(x), 1), step):
            answer = self.base.predict_z(self.sample.of(x[at : at + step]))
            z = answer.mean.reshape(-1, s, m)
            std = None if answer.std is None else answer.std.reshape(-1, s, m).mean(axis=1)
            parts.append((z.mean(axis=1), std, z.std(axis=1)))
        mean, std, deviation = zip(*parts, strict=True)
        return np.concatenate(mean), None if std[0] is None else np.concatenate(std), np.concatenate(deviation)
