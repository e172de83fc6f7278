"""Mean squared miss."""

from __future__ import annotations

from typing import ClassVar

from invdesign_core.plugin import Goal, Objective, Prediction, Tensor


class MSE(Objective):
    """Weighted mean of the squared misses of the asked outputs, in standardised units.

    The miss is the distance outside the wanted interval, so any value inside a range costs nothing.
    The weights of one target are scaled to a mean of one, so that outputs which are free don't
    dilute the others.
    """

    name: ClassVar[str] = "mse"

    def residuals(self, z: Prediction, goal: Goal) -> Tensor:
        """Return the (r, m) weighted misses."""
        from keras import ops

        mean = ops.mean(goal.weight, axis=-1, keepdims=True)
        return goal.miss(z.mean) * ops.sqrt(goal.weight / ops.maximum(mean, 1e-30))
