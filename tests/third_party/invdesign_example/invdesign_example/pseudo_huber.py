"""An objective: misses that count squared while small and linearly when large."""

from __future__ import annotations

from typing import ClassVar

from invdesign_core.plugin import Goal, Objective, Prediction, Tensor
from pydantic import Field


class PseudoHuber(Objective):
    """Weighted mean of each asked output's pseudo-Huber miss, in standardised units.

    An output that can't be reached doesn't drown the others. Charbonnier et al., "Deterministic
    edge-preserving regularization in computed imaging", IEEE Trans. Image Process. 6 (1997).
    """

    name: ClassVar[str] = "pseudo-huber"

    delta: float = Field(1.0, gt=0, description="Misses beyond this many standard deviations count linearly.")

    def loss(self, z: Prediction, goal: Goal) -> Tensor:
        """Return (r,) losses: delta² (sqrt(1 + (miss/delta)²) - 1), written without cancellation."""
        from keras import ops

        square = ops.square(goal.miss(z.mean))
        each = square / (1 + ops.sqrt(1 + square / self.delta**2))
        total = ops.sum(goal.weight, axis=-1)
        return ops.sum(goal.weight * each, axis=-1) / ops.maximum(total, 1e-30)
