"""An objective: how improbable a response is, measured with normal noise."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from invdesign_core.plugin import Goal, Objective, Prediction, Tensor


class Likelihood(Objective):
    """The negative logarithm of the likelihood of the response, less that of a perfect match: ½ Σ (miss / noise)².

    A weight of 2 stands for a response that was measured twice. Where the surrogate has several members, their variance
    adds to that of the noise.
    """

    name: ClassVar[str] = "likelihood"

    noise: float = Field(
        0.05,
        gt=0,
        description="Standard deviation of a measurement, in standard deviations of the table's output.",
    )

    def loss(self, z: Prediction, goal: Goal) -> Tensor:
        """Return (r,) losses."""
        from keras import ops

        variance = self.noise**2 if z.std is None else self.noise**2 + ops.square(z.std)
        return ops.sum(goal.weight * ops.square(goal.miss(z.mean)) / variance, axis=-1) / 2
