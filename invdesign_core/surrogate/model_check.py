"""What a model without data answers over its box: the range of each output, and the inputs that move it."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from invdesign_core.context import Context
from invdesign_core.errors import DataError
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.space import Space

if TYPE_CHECKING:
    import keras

POINTS = 1024
"""Points, spread over the box, at which a model is asked."""
CHANGED = 128
"""Of these, points at which each variable is changed alone."""
RESOLUTION = 1e-6
"""Share of an output's size below which float32 can't tell two answers apart."""


@dataclass(frozen=True)
class ModelSample:
    """(n, m) finite answers over a box; (d, m) whether a change of one variable alone changed an output anywhere; (d,)
    whether the box leaves it a choice; whether a point has the same answer among other points.
    """

    y: FloatArray
    moves: NDArray[np.bool_]
    free: NDArray[np.bool_]
    steady: bool

    @property
    def spread(self) -> FloatArray:
        """(m,) range of each output; never less than what float32 resolves, since a tolerance is a share of it."""
        size = np.abs(self.y).max(axis=0)
        return np.asarray(np.maximum(self.y.max(axis=0) - self.y.min(axis=0), 100 * RESOLUTION * size))

    @property
    def flat(self) -> NDArray[np.bool_]:
        """(m,) whether an output is one number all over the box."""
        return np.asarray(np.ptp(self.y, axis=0) <= RESOLUTION * np.abs(self.y).max(axis=0))


def sample(model: keras.Model, space: Space, box: FloatArray | None = None) -> ModelSample:
    """Ask a model from (n, e) to (n, m) at points spread over a (2, e) box; by default the bounds."""
    low, high = np.stack(space.bounds) if box is None else box
    free = np.array([bool((high[s] > low[s]).any()) for s in space.slices])
    x = space.snap(low + np.random.default_rng(0).random((POINTS, space.width)) * (high - low))
    other = np.repeat(x[:1], POINTS // 2, axis=0)
    y = _answers(model, x)
    again = _answers(model, np.concatenate([x[: POINTS // 2], other]))[: POINTS // 2]
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(y).all(axis=1))
    if not finite.any():
        raise DataError(
            "the model returns NaN everywhere within the bounds", "check the bounds, and the units of the inputs"
        )
    size = np.abs(y[finite]).max(axis=0)
    early = finite[: len(again)]
    steady = bool((np.abs(again[early] - y[: len(again)][early]) <= 10 * RESOLUTION * size).all())
    x, y = x[finite], y[finite]
    # Half of them where the answer is most unusual: a model may be flat but for a peak.
    unusual = np.argsort(-(np.abs(y - np.median(y, axis=0)) / (size + (size == 0))).max(axis=1), kind="stable")
    few = np.unique(np.concatenate([unusual[: CHANGED // 2], np.arange(min(CHANGED // 2, len(x)))]))
    trials = []
    for place in space.slices:
        changed = x[few]
        changed[:, place] = np.roll(changed[:, place], 1, axis=0)
        trials.append(changed)
    after = _answers(model, np.concatenate(trials)).reshape(len(trials), len(few), -1)
    # A change to NaN is a change.
    moves = ~(np.abs(after - y[few]) <= RESOLUTION * size)
    return ModelSample(y, moves.any(axis=1), free, steady)


def describe(sampled: ModelSample, space: Space, outputs: Sequence[str], asked: Container[str], ctx: Context) -> None:
    """Say what is strange about a model's (m,) outputs; `asked` are those that a target is set for."""
    if not sampled.free.any():
        return
    moving = [m for m, name in enumerate(outputs) if name in asked and not sampled.flat[m]]
    if not sampled.steady:
        ctx.warn(
            "the model's output for a row changes with the other rows in the batch: it depends on the batch or is "
            "random; predictions are unreliable"
        )
    elif moving:
        idle = ~sampled.moves[:, moving].any(axis=1) & sampled.free
        names = ", ".join(repr(v.name) for v, is_idle in zip(space.variables, idle, strict=True) if is_idle)
        if names:
            listed = ", ".join(repr(outputs[m]) for m in moving)
            ctx.note(f"{names}: no effect on {listed} within the bounds")


def _answers(model: keras.Model, x: FloatArray) -> FloatArray:
    """Return the (n, m) answers, asked in whole batches, so that one program does."""
    lack = -len(x) % POINTS
    rows = np.concatenate([x, np.repeat(x[:1], lack, axis=0)]).astype(np.float32)
    return np.asarray(model.predict(rows, verbose=0, batch_size=POINTS), dtype=np.float64)[: len(x)]
