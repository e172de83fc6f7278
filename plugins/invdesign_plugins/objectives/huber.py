"""Misses that count squared while small and linearly when large."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from invdesign_core.plugin import Goal, Objective, Prediction, Tensor


class Huber(Objective):
    """Weighted mean of the misses of the asked outputs, squared up to a limit and linear beyond it.

    With d the distance outside the wanted interval in standardised units, a miss costs d² up to
    delta, and delta (2 d - delta) beyond: twice the function of Huber, "Robust estimation of a location
    parameter", Ann. Math. Statist. 35 (1964), so that small misses cost what they cost in `mse`. An
    output that can't be reached doesn't drown the others.
    """

    name: ClassVar[str] = "huber"

    delta: float = Field(
        0.1, gt=0, description="Misses beyond this count linearly; in standard deviations of the output."
    )

    def residuals(self, z: Prediction, goal: Goal) -> Tensor:
        """Return the (r, m) signed roots of what the misses cost."""
        from keras import ops

        miss = goal.miss(z.mean)
        # Never below delta, where the root would have no finite slope.
        size = ops.maximum(ops.abs(miss), self.delta)
        large = ops.sign(miss) * ops.sqrt(self.delta * (2 * size - self.delta))
        mean = ops.mean(goal.weight, axis=-1, keepdims=True)
        return ops.where(ops.abs(miss) <= self.delta, miss, large) * ops.sqrt(goal.weight / ops.maximum(mean, 1e-30))
