"""The worst output counts."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from invdesign_core.plugin import Goal, Objective, Prediction, Tensor


class MaxMiss(Objective):
    """The square of the largest weighted miss of the asked outputs, in standardised units, made smooth.

    The largest of several misses has a kink wherever two are equal, which is where the best design
    lies, and gradients lead nowhere on a kink. A power mean has none: it is `mse` at power 2, and the
    maximum at power infinity. Unlike a log-sum-exp it needs no temperature that fits the size of
    the misses. Charalambous and Bandler, "Non-linear minimax optimization as a sequence of least pth
    optimization with finite values of p", Int. J. Systems Sci. 7 (1976).
    """

    name: ClassVar[str] = "max-miss"

    power: float = Field(
        32.0,
        ge=2,
        le=1000,
        description="How nearly the largest miss alone counts: from 2, the mean of squares, to 1000, hard to solve.",
    )

    def loss(self, z: Prediction, goal: Goal) -> Tensor:
        """Return (r,) losses: the power mean of the misses, squared."""
        from keras import ops

        count = ops.maximum(ops.sum(ops.where(goal.weight > 0, 1.0, 0.0), axis=-1, keepdims=True), 1.0)
        mean = ops.sum(goal.weight, axis=-1, keepdims=True) / count
        square = ops.square(goal.miss(z.mean)) * goal.weight / ops.maximum(mean, 1e-30)
        # In shares of the largest, high powers neither overflow nor vanish. The result doesn't depend
        # on the unit, so the unit has no part in the gradient.
        largest = ops.stop_gradient(ops.max(square, axis=-1, keepdims=True))
        share = square / ops.where(largest > 1e-30, largest, 1.0)
        total = ops.sum(share ** (self.power / 2), axis=-1, keepdims=True) / count
        # At least 1 / count where there is a miss; 0 would have no finite slope under the root.
        return ops.squeeze(largest * ops.maximum(total, 1e-12) ** (2 / self.power), axis=-1)
