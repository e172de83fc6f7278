"""Standardisation: float64 statistics of the training rows, as layers around a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.space import FloatArray

if TYPE_CHECKING:
    import keras

FROM_UNITS, TO_UNITS = "from_units", "to_units"
"""Names of the two layers, by which a loaded model shows where z is."""


@dataclass(frozen=True)
class Scaling:
    """Shift and scale of inputs and outputs: ``x = x_shift + x_scale * h``, ``y = y_shift + y_scale * z``.

    Attributes
    ----------
    x_shift, x_scale : ndarray
        (e,) of the encoded inputs.
    y_shift, y_scale : ndarray
        (m,) of the outputs.
    """

    x_shift: FloatArray
    x_scale: FloatArray
    y_shift: FloatArray
    y_scale: FloatArray

    @classmethod
    def of(cls, x: FloatArray, y: FloatArray) -> Scaling:
        """Take mean and standard deviation of (n, e) inputs and (n, m) outputs.

        The deviation of a constant column is 1; outputs that are NaN were not measured.
        """
        return cls(x.mean(axis=0), _deviation(x), np.nanmean(y, axis=0), _deviation(y))

    def inputs(self, x: FloatArray) -> FloatArray:
        """Return standardised inputs."""
        return (x - self.x_shift) / self.x_scale

    def outputs(self, y: FloatArray) -> FloatArray:
        """Return standardised outputs."""
        return (y - self.y_shift) / self.y_scale

    def units(self, z: FloatArray) -> FloatArray:
        """Return outputs in the user's units."""
        return self.y_shift + self.y_scale * z

    def wrap(self, net: keras.Model) -> keras.Model:
        """Return a model from raw x to raw y around a network from standardised inputs to z."""
        import keras

        x = keras.Input((len(self.x_shift),), name="x")
        h = keras.layers.Rescaling(list(1 / self.x_scale), list(-self.x_shift / self.x_scale), name=FROM_UNITS)(x)
        z = as_columns(net(h))
        y = keras.layers.Rescaling(list(self.y_scale), list(self.y_shift), name=TO_UNITS)(z)
        return keras.Model(x, y, name="surrogate")


def units_of(model: keras.Model) -> tuple[FloatArray, FloatArray] | None:
    """Return the (m,) shift and scale of the outputs, where a model ends in the layer that `Scaling.wrap` adds."""
    import keras

    for layer in model.layers:
        if layer.name == TO_UNITS and isinstance(layer, keras.layers.Rescaling) and layer.output is model.outputs[0]:
            return np.asarray(layer.offset, dtype=np.float64), np.asarray(layer.scale, dtype=np.float64)
    return None


def as_columns(z: Any) -> Any:
    """Give an output of rank 1 its second axis."""
    import keras

    return keras.layers.Reshape((1,), name="as_column")(z) if len(z.shape) == 1 else z


def _deviation(columns: FloatArray) -> FloatArray:
    deviation = np.nanstd(columns, axis=0)
    # A constant column's deviation is rounding noise of its mean, if not zero.
    return np.where(deviation > 1e-14 * np.abs(np.nanmean(columns, axis=0)), deviation, 1.0)
