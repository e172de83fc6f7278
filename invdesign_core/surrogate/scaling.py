"""Standardisation: float64 statistics of the training rows, as layers around a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.columns import in_float32, is_constant, is_flat
from invdesign_core.space.arrays import FloatArray

if TYPE_CHECKING:
    import keras

FAR = 64.0
"""Deviations from 0 to the mean of an input, from which on float32 would round products with 1 / scale too much."""
FROM_UNITS, TO_UNITS, CENTRED = "from_units", "to_units", "centred"
"""Names of layers, by which a loaded model shows where z is."""
CONSTANT, COLUMN = "constant", "as_column"
"""Names of the layers that may stand between a network and z."""


@dataclass(frozen=True)
class Scaling:
    """Shift and scale of (e,) inputs and (m,) outputs: ``x = x_shift + x_scale * h`` and ``y = y_shift + y_scale * z``.

    `coarse` are inputs of a small range beside their size, whose centre a network takes off before it scales: a product
    with 1 / scale would be rounded by much of that range;
    `constant` are outputs that are one number in every row, and so in every prediction.
    """

    x_shift: FloatArray
    x_scale: FloatArray
    y_shift: FloatArray
    y_scale: FloatArray
    coarse: NDArray[np.bool_] | None = None
    constant: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, x: FloatArray, y: FloatArray, network: bool = True) -> Scaling:
        """Take mean and standard deviation of (n, e) inputs and (n, m) outputs, NaN where one was not measured.

        A constant column is shifted by its value, and its scale is 1. So is that of an input whose values are one
        number in float32, where a `network` takes them; it gives z, so that outputs may be flatter.
        """
        coarse = np.zeros(x.shape[1], dtype=np.bool_)
        if network:
            coarse = is_flat(x.min(axis=0), x.max(axis=0))
            seen = in_float32(x)
            coarse |= seen.min(axis=0) == seen.max(axis=0)
            middle, deviation, _ = _standard(x)
            coarse |= np.abs(middle) > FAR * deviation
            x = np.where(coarse, seen, x)
        x_shift, x_scale, _ = _standard(x)
        y_shift, y_scale, constant = _standard(y)
        x_shift = np.where(coarse, in_float32(x_shift), x_shift)
        return cls(x_shift, x_scale, y_shift, y_scale, coarse, constant)

    def inputs(self, x: FloatArray) -> FloatArray:
        """Return standardised inputs, as the network will see them when it is given raw ones."""
        if self.coarse is not None and self.coarse.any():
            x = np.where(self.coarse, in_float32(x), x)
        return (x - self.x_shift) / self.x_scale

    def outputs(self, y: FloatArray) -> FloatArray:
        """Return standardised outputs."""
        return (y - self.y_shift) / self.y_scale

    def wrap(self, net: keras.Model) -> keras.Model:
        """Return a model from raw x to raw y around a network from standardised inputs to z."""
        import keras

        x = h = keras.Input((len(self.x_shift),), name="x")
        shift = self.x_shift
        if self.coarse is not None and self.coarse.any():
            # A product with 1 / scale would round away what float32 still tells apart; a difference is exact.
            h = keras.layers.Rescaling(1.0, list(np.where(self.coarse, -shift, 0.0)), name=CENTRED)(h)
            shift = np.where(self.coarse, 0.0, shift)
        h = keras.layers.Rescaling(list(1 / self.x_scale), list(-shift / self.x_scale), name=FROM_UNITS)(h)
        z = as_columns(mean_of(net(h)))
        if self.constant is not None and self.constant.any():
            z = keras.layers.Rescaling(list(np.where(self.constant, 0.0, 1.0)), name=CONSTANT)(z)
        y = keras.layers.Rescaling(list(self.y_scale), list(self.y_shift), name=TO_UNITS)(z)
        return keras.Model(x, y, name="surrogate")


def unwrapped(model: keras.Model) -> tuple[keras.Model, Scaling] | None:
    """Return the network and the scaling that `Scaling.wrap` put a model together from; None for any other model."""
    import keras

    layers = {layer.name: layer for layer in model.layers}
    nets = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if FROM_UNITS not in layers or units_of(model) is None or len(nets) != 1:
        return None
    own = layers[FROM_UNITS]
    x_scale = 1 / np.asarray(own.scale, dtype=np.float64)
    x_shift = -np.asarray(own.offset, dtype=np.float64) * x_scale
    coarse = np.zeros(len(x_scale), dtype=np.bool_)
    if CENTRED in layers:
        centre = -np.asarray(layers[CENTRED].offset, dtype=np.float64)
        coarse = centre != 0
        x_shift = np.where(coarse, centre, x_shift)
    y_shift, y_scale = units_of(model) or (np.zeros(0), np.zeros(0))
    constant = np.zeros(len(y_shift), dtype=np.bool_)
    if CONSTANT in layers:
        constant = np.asarray(layers[CONSTANT].scale) == 0
    return nets[0], Scaling(x_shift, x_scale, y_shift, y_scale, coarse, constant)


def units_of(model: keras.Model) -> tuple[FloatArray, FloatArray] | None:
    """Return the (m,) shift and scale of the outputs, where a model ends in the layer that `Scaling.wrap` adds."""
    import keras

    for layer in model.layers:
        if layer.name == TO_UNITS and isinstance(layer, keras.layers.Rescaling) and layer.output is model.outputs[0]:
            return np.asarray(layer.offset, dtype=np.float64), np.asarray(layer.scale, dtype=np.float64)
    return None


def mean_of(answer: Any) -> Any:
    """Return the mean of what a model answers, which may know its own standard deviation and answer both."""
    return answer[0] if isinstance(answer, (tuple, list)) else answer


def deviation_beside(mean: Any) -> Any:
    """Return the standard deviation from the layer that a mean in a model's graph comes from; None if it gives none."""
    while True:
        layer, node, _ = mean._keras_history
        inbound = layer._inbound_nodes[node]
        if len(inbound.output_tensors) == 2 and inbound.output_tensors[0] is mean:
            std = inbound.output_tensors[1]
            return std if std.shape == mean.shape else None
        if layer.name not in (CONSTANT, COLUMN):
            return None
        (mean,) = inbound.input_tensors


def as_columns(z: Any) -> Any:
    """Give an output of rank 1 its second axis."""
    import keras

    return keras.layers.Reshape((1,), name=COLUMN)(z) if len(z.shape) == 1 else z


def _standard(columns: FloatArray) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Return the mean and deviation of each of (n, c) columns, the value and 1 of a constant one, and which are."""
    low, high = np.nanmin(columns, axis=0), np.nanmax(columns, axis=0)
    constant = is_constant(low, high)
    # Means and deviations of equal values are off by rounding, which as a scale would be all that counts.
    mean, deviation = np.nanmean(columns, axis=0), np.nanstd(columns, axis=0)
    return np.where(constant, low, mean), np.where(constant, 1.0, deviation), constant
