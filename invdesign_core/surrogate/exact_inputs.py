"""A surrogate that also answers with formulas of its inputs, or with inputs themselves, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from invdesign_core.data.data import TrainingRows
from invdesign_core.errors import ConfigError
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.expressions import Expression
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Prediction

if TYPE_CHECKING:
    from invdesign_core.space.conditions import Scenarios


POINTS = 1024
"""Points that tell the range of a formula where no rows are known."""


@dataclass(frozen=True)
class ExactInputs(Surrogate):
    """A surrogate whose last k outputs are formulas of its input, by name, with no spread and no error.

    The last `inputs` of them are inputs themselves, of which a target asks for the smallest or the largest value.
    """

    base: Surrogate
    formulas: tuple[tuple[str, Expression], ...]
    inputs: int = 0

    @classmethod
    def beside(
        cls,
        base: Surrogate,
        names: Sequence[str],
        derived: Mapping[str, Expression] | None = None,
        x: FloatArray | None = None,
    ) -> Self:
        """Return a surrogate that answers with `derived` formulas and numeric inputs too.

        They are standardised by their ranges over (n, e) training rows `x`, inputs by the training box.

        Raises
        ------
        ConfigError
            If a formula has a value nowhere.
        """
        places = dict(zip(base.space.names, base.space.slices, strict=True))
        columns = [places[name].start for name in names]
        of_inputs = {name: Expression.of_column(name, at) for name, at in zip(names, columns, strict=True)}
        ranges = [_range_of(name, formula, base, x) for name, formula in (derived or {}).items()]
        low, high = np.array([*ranges, *base.box[:, columns].T]).reshape(-1, 2).T
        spread = np.where(high > low, high - low, 1.0)
        return cls(
            base.members,
            base.space,
            (*base.outputs, *(derived or {}), *names),
            np.concatenate([base.shift, (low + high) / 2]),
            np.concatenate([base.scale, spread / np.sqrt(12)]),  # the deviation of what is even over the range
            base.box,
            np.concatenate([base.spread, spread]),
            base,
            (*(derived or {}).items(), *of_inputs.items()),
            len(names),
        )

    @property
    def exact_inputs(self) -> tuple[str, ...]:
        """The outputs that are inputs."""
        return self.outputs[len(self.outputs) - self.inputs :]

    @property
    def derived(self) -> tuple[str, ...]:
        """The outputs that are formulas of inputs."""
        return self.outputs[len(self.base.outputs) : len(self.outputs) - self.inputs]

    def exact(self, x: FloatArray) -> FloatArray:
        """Return the (n, k) values of the formulas for (n, e) designs, NaN where one has none."""
        return np.column_stack([formula.value(x) for _, formula in self.formulas])

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
        return None if found is None else np.column_stack([found, np.zeros((len(x), len(self.formulas)))])

    @property
    def variables(self) -> list[Any]:
        """All weights of all members."""
        return self.base.variables

    def trace(self, x: Any) -> Prediction:
        """Answer in z, in the backend's own operations, for compilation; x is an (r, e) tensor."""
        from keras import ops

        answer, k = self.base.trace(x), len(self.formulas)
        shift, scale = (ops.cast(side[-k:], x.dtype) for side in (self.shift, self.scale))
        own = (ops.stack([formula.trace(x) for _, formula in self.formulas], axis=1) - shift) / scale
        mean = ops.concatenate([answer.mean, ops.cast(own, answer.mean.dtype)], axis=1)
        if answer.std is None:
            return Prediction(mean)
        return Prediction(mean, ops.concatenate([answer.std, ops.zeros_like(mean[:, -k:])], axis=1))

    def predict_z(self, x: FloatArray) -> Prediction:
        """Answer in z for (n, e) raw designs, as float64 arrays."""
        answer, own = self.base.predict_z(x), self._own(x)
        std = None if answer.std is None else np.column_stack([answer.std, np.zeros_like(own)])
        return Prediction(np.column_stack([answer.mean, own]), std)

    def mean_z(self, x: FloatArray) -> FloatArray:
        """Return the (n, m) answers in z of (n, e) raw designs alone."""
        return np.column_stack([self.base.mean_z(x), self._own(x)])

    def _own(self, x: FloatArray) -> FloatArray:
        """Return the formulas' values of (n, e) raw designs, in z."""
        k = len(self.formulas)
        return np.asarray((self.exact(x) - self.shift[-k:]) / self.scale[-k:])

    def units(self, z: FloatArray, x: FloatArray | None = None) -> FloatArray:
        """Return (n, m) outputs in the user's units; with their designs, the formulas' values as they are."""
        found = super().units(z)
        if x is not None:
            found[:, len(self.base.outputs) :] = self.exact(x)
        return found

    def rows(self, known: TrainingRows) -> TrainingRows:
        """Return measured rows with the formulas' values beside their outputs."""
        held_out = None if known.held_out is None else self.rows(known.held_out)
        return known._replace(y=np.column_stack([known.y, self.exact(known.x)]), held_out=held_out)


def _range_of(name: str, formula: Expression, base: Surrogate, x: FloatArray | None) -> tuple[float, float]:
    """Return the range of a formula over (n, e) rows, or over points drawn evenly from the training box."""
    if x is None or not len(x):
        low, high = base.box
        x = low + np.random.default_rng(0).random((POINTS, len(low))) * (high - low)
    values = formula.value(x)
    if not np.isfinite(values).any():
        raise ConfigError(
            f"{name!r}: {formula.text} has a value for none of the designs that are known",
            "look at denominators, and at the arguments of logarithms and roots",
        )
    return float(np.nanmin(values)), float(np.nanmax(values))
