"""What a model without data answers over its box: the range of each output, and the inputs that move it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from invdesign_core.errors import DataError
from invdesign_core.space import FloatArray, Space

if TYPE_CHECKING:
    import keras

POINTS = 1024
"""Points, spread over the box, at which a model is asked."""
CHANGED = 128
"""Of these, points at which each variable is changed alone."""
RESOLUTION = 1e-6
"""Share of an output's size below which float32 can't tell two answers apart."""


@dataclass(frozen=True)
class Sampled:
    """A model's answers over a box.

    Attributes
    ----------
    y : ndarray
        (n, m) finite answers.
    moves : ndarray of bool
        (d, m) whether a change of one variable alone changed an output anywhere.
    free : ndarray of bool
        (d,) whether the box leaves the variable a choice.
    steady : bool
        Whether a point has the same answer when it is asked among other points.
    """

    y: FloatArray
    moves: NDArray[np.bool_]
    free: NDArray[np.bool_]
    steady: bool

    @property
    def spread(self) -> FloatArray:
        """(m,) range of each output; never less than what float32 resolves, since a tolerance is a share of it."""
        size = np.abs(self.y).max(axis=0)
        return np.maximum(self.y.max(axis=0) - self.y.min(axis=0), 100 * RESOLUTION * size)

    @property
    def flat(self) -> NDArray[np.bool_]:
        """(m,) whether an output is one number all over the box."""
        return np.asarray(np.ptp(self.y, axis=0) <= RESOLUTION * np.abs(self.y).max(axis=0))


def sample(model: keras.Model, space: Space, box: FloatArray | None = None) -> Sampled:
    """Ask a model at points spread over a box.

    Parameters
    ----------
    model : keras.Model
        From (n, e) to (n, m).
    space : Space
        Its inputs.
    box : ndarray, optional
        (2, e) where to ask; by default the bounds.

    Raises
    ------
    DataError
        If no answer is finite.
    """
    low, high = np.stack(space.bounds) if box is None else box
    free = np.array([bool((high[s] > low[s]).any()) for s in space.slices])
    x = space.snap(low + np.random.default_rng(0).random((POINTS, space.width)) * (high - low))
    asked = [x, x[::-1]]
    few = x[:CHANGED]
    for place in space.slices:
        changed = few.copy()
        changed[:, place] = np.roll(few[:, place], 1, axis=0)
        asked.append(changed)
    rows = np.concatenate(asked)
    lack = -len(rows) % POINTS  # whole batches, so that one program does
    rows = np.concatenate([rows, rows[:lack]]).astype(np.float32)
    y = np.asarray(model.predict(rows, verbose=0, batch_size=POINTS), dtype=np.float64)
    base, again, changed = y[:POINTS], y[POINTS : 2 * POINTS][::-1], y[2 * POINTS :]
    changed = changed[: len(space.slices) * CHANGED].reshape(len(space.slices), CHANGED, -1)
    finite = np.isfinite(base).all(axis=1)
    if not finite.any():
        raise DataError("the model answers NaN all over the box", "check the bounds, and the units of the inputs")
    size = np.abs(base[finite]).max(axis=0)
    with np.errstate(invalid="ignore"):
        moved = ~(np.abs(changed - base[:CHANGED]) <= RESOLUTION * size)
        both_nan = np.isnan(changed) & np.isnan(base[:CHANGED])
        steady = np.abs(again - base)[finite] <= 10 * RESOLUTION * size
    return Sampled(base[finite], (moved & ~both_nan).any(axis=1), free, bool(steady.all()))
