"""Predictions beside a design, in batches of one size, so that looking around compiles one program."""

from __future__ import annotations

import numpy as np

from invdesign_core.space.arrays import FloatArray
from invdesign_core.surrogate.surrogate import Surrogate

BATCH = 1024
"""Rows predicted at once: a call with few is filled up."""


def predict(surrogate: Surrogate, x: FloatArray) -> FloatArray:
    """Return the (n, m) predictions in z of (n, e) encoded designs."""
    if not surrogate.differentiable:
        return np.asarray(surrogate.predict_z(x).mean)
    lack = -len(x) % BATCH
    filled = np.concatenate([x, np.repeat(x[:1], lack, axis=0)])
    # One batch after another: another number of rows would compile another program.
    parts = [surrogate.predict_z(filled[at : at + BATCH]).mean for at in range(0, len(filled), BATCH)]
    return np.concatenate(parts)[: len(x)]
