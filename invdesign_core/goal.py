"""The numbers that objectives see: predictions, and what is wanted of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensor = Any
"""A tensor of the running Keras backend."""


@dataclass(frozen=True)
class Prediction:
    """What the surrogate answers for r designs.

    Attributes
    ----------
    mean : (r, m) array or tensor
        Mean over the members.
    std : (r, m) array or tensor, optional
        Spread of the members; None where there is one member only.
    """

    mean: Tensor
    std: Tensor | None = None


@dataclass(frozen=True)
class Goal:
    """The wanted interval of each output, in standardised units z.

    Attributes
    ----------
    lower, upper : (t, m) arrays on the host, (r, m) tensors inside an objective
        Equal for a set point, infinite where a side is open.
    weight : (t, m) or (r, m)
        0 for an output that is free.
    """

    lower: Tensor
    upper: Tensor
    weight: Tensor

    def miss(self, z: Tensor) -> Tensor:
        """Return the signed distance of (r, m) outputs outside the interval: negative below, 0 inside."""
        if isinstance(z, np.ndarray):
            return np.maximum(z - self.upper, 0.0) - np.maximum(self.lower - z, 0.0)
        from keras import ops

        return ops.maximum(z - self.upper, 0.0) - ops.maximum(self.lower - z, 0.0)

    def take(self, rows: NDArray[np.intp]) -> Goal:
        """Return the goal of some rows."""
        return Goal(self.lower[rows], self.upper[rows], self.weight[rows])
