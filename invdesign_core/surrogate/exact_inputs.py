"""A surrogate that also answers with some of its inputs, exactly, so that they can be maximised and minimised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from invdesign_core.data.data import TrainingRows
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Prediction

if TYPE_CHECKING:
    from invdesign_core.space.conditions import Scenarios


@dataclass(frozen=True)
class ExactInputs(Surrogate):
    """A surrogate whose last k outputs are the k `columns` of its input, with no spread and no error."""

    base: Surrogate
    columns: IndexArray

    @classmethod
    def beside(cls, base: Surrogate, names: Sequence[str]) -> Self:
        """Return a surrogate that answers with numeric inputs too, standardised by their training ranges."""
        places = dict(zip(base.space.names, base.space.slices, strict=True))
        columns = np.array([places[name].start for name in names], dtype=np.intp)
        low, high = base.box[:, columns]
        spread = np.where(high > low, high - low, 1.0)
        return cls(
            base.members,
            base.space,
            (*base.outputs, *names),
            np.concatenate([base.shift, (low + high) / 2]),
            np.concatenate([base.scale, spread / np.sqrt(12)]),  # the deviation of what is even over the range
            base.box,
            np.concatenate([base.spread, spread]),
            base,
            columns,
        )

    @property
    def exact_inputs(self) -> tuple[str, ...]:
        """The outputs that are inputs."""
        return self.outputs[len(self.base.outputs) :]

    @property
    def scenarios(self) -> Scenarios | None:
        """What conditions may be, where the base answers with means over that."""
        return self.base.scenarios

    @property
    def rows_at_once(self) -> int:
        """Rows to evaluate at once."""
        return self.base.rows_at_once

    def scenario_spread(self, x: FloatArray) -> FloatArray | None:
        """Return the (n, m) standard deviations of the base's answers over the scenarios; inputs have none."""
        found = self.base.scenario_spread(x)
        return None if found is None else np.column_stack([found, np.zeros((len(x), len(self.columns)))])

    @property
    def variables(self) -> list[Any]:
        """All weights of all members."""
        return self.base.variables

    def trace(self, x: Any) -> Prediction:
        """Answer in z, in the backend's own operations, for compilation; x is an (r, e) tensor."""
        from keras import ops

        answer, k = self.base.trace(x), len(self.columns)
        shift, scale = (ops.cast(side[-k:], x.dtype) for side in (self.shift, self.scale))
        own = (ops.take(x, self.columns, axis=1) - shift) / scale
        mean = ops.concatenate([answer.mean, ops.cast(own, answer.mean.dtype)], axis=1)
        if answer.std is None:
            return Prediction(mean)
        return Prediction(mean, ops.concatenate([answer.std, ops.zeros_like(mean[:, -k:])], axis=1))

    def predict_z(self, x: FloatArray) -> Prediction:
        """Answer in z for (n, e) raw designs, as float64 arrays."""
        answer, k = self.base.predict_z(x), len(self.columns)
        own = (x[:, self.columns] - self.shift[-k:]) / self.scale[-k:]
        std = None if answer.std is None else np.column_stack([answer.std, np.zeros_like(own)])
        return Prediction(np.column_stack([answer.mean, own]), std)

    def rows(self, known: TrainingRows) -> TrainingRows:
        """Return measured rows with these inputs beside their outputs."""
        held_out = None if known.held_out is None else self.rows(known.held_out)
        return known._replace(y=np.column_stack([known.y, known.x[:, self.columns]]), held_out=held_out)
