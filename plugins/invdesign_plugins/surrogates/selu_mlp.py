"""The default surrogate: a fully connected network."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from invdesign_core.plugin import Context, Data, SurrogateBuilder
from invdesign_plugins.surrogates.initial_weights import initial_weights

if TYPE_CHECKING:
    import keras
    import keras_tuner as kt


class SeluMLP(SurrogateBuilder):
    """A fully connected network of self-normalising layers, with its learning rate to be tuned.

    `selu` layers with LeCun-normal weights keep activations near mean 0 and variance 1 through any
    depth (Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017).
    """

    name: ClassVar[str] = "selu-mlp"

    widths: list[int] = Field([64, 32, 16], min_length=1, description="Units of each hidden layer.")
    activation: str = Field(
        "selu",
        description="Activation of the hidden layers, by its Keras name. Initial weights are He-normal for `relu` and "
        "its kind, and LeCun-normal for all others.",
    )
    optimizer: str = Field("nadam", description="Optimizer, by its Keras name.")
    loss: str = Field("mae", description="Loss to train with, by its Keras name; in standardised units.")
    metrics: list[str] = Field(
        [], description="Further metrics to log, by their Keras names; tuners can compare by them."
    )
    learning_rate: tuple[float, float] = Field(
        (1e-4, 1e-2), description="Lowest and highest learning rate to try; equal ends leave nothing to tune."
    )
    sampling: Literal["log", "linear"] = Field(
        "log", description="How the learning rates spread over that range: `log` or `linear`."
    )

    @model_validator(mode="after")
    def _range(self) -> SeluMLP:
        low, high = self.learning_rate
        if not 0 < low <= high:
            raise ValueError(f"learning_rate: found {low:g} to {high:g}, expected two positive numbers, smaller first")
        if any(width < 1 for width in self.widths):
            raise ValueError(f"widths: found {self.widths}, expected positive numbers")
        return self

    def build(self, hp: kt.HyperParameters, data: Data, ctx: Context) -> keras.Model:
        """Return the compiled network."""
        import keras

        low, high = self.learning_rate
        rate = low if low == high else hp.Float("learning_rate", low, high, sampling=self.sampling)
        x = keras.Input((data.space.width,))
        h = x
        initial = initial_weights(self.activation)
        for width in self.widths:
            h = keras.layers.Dense(width, activation=self.activation, kernel_initializer=initial)(h)
        model = keras.Model(x, keras.layers.Dense(len(data.outputs))(h))
        optimizer = keras.optimizers.get(self.optimizer)
        optimizer.learning_rate = rate
        model.compile(optimizer=optimizer, loss=self.loss, metrics=list(self.metrics))
        return model
