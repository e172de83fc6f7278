"""Mean absolute miss."""

from __future__ import annotations

from typing import ClassVar

from invdesign_core.plugin import Goal, Objective, Prediction, Tensor


class MAE(Objective):
    """Weighted mean of the absolute misses of the asked outputs, in standardised units.

    The miss is the distance outside the wanted interval. Every bit of it costs the same, so where
    the targets can't all be reached, some are met in full and others are given up.
    """

    name: ClassVar[str] = "mae"

    def loss(self, z: Prediction, goal: Goal) -> Tensor:
        """Return (r,) losses."""
        from keras import ops

        miss = ops.abs(goal.miss(z.mean))
        return ops.sum(goal.weight * miss, axis=-1) / ops.maximum(ops.sum(goal.weight, axis=-1), 1e-30)
