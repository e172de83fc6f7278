"""The network for tables of one's own: smooth layers, and a training that ends in small steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from invdesign_core.plugin import Context, Data, SurrogateBuilder
from invdesign_plugins.surrogates.initial_weights import initial_weights

if TYPE_CHECKING:
    import keras
    import keras_tuner as kt


class MLP(SurrogateBuilder):
    """A fully connected network for one's own table, with its weight decay to be tuned.

    It brings its own recipe for the training: batches and epochs by the number of rows, a learning rate that rises at
    first and then falls to 0 along a cosine, and five members.
    """

    name: ClassVar[str] = "mlp"

    widths: list[int] | None = Field(
        None, min_length=1, description="Units of each hidden layer; by default chosen by the number of rows."
    )
    activation: str = Field("swish", description="Activation of the hidden layers, by its Keras name.")
    learning_rate: float = Field(
        3e-3, gt=0, allow_inf_nan=False, description="The highest learning rate, which the schedule begins from."
    )
    weight_decay: list[float] = Field(
        [0.0, 0.01, 0.03, 0.1, 0.3],
        min_length=1,
        description="Weight decays to try: how strongly weights are drawn towards 0. One leaves nothing to tune.",
    )
    loss: str = Field("mse", description="Loss to train with, by its Keras name; in standardised units.")
    metrics: list[str] = Field(
        [], description="Further metrics to log, by their Keras names; tuners can compare by them."
    )

    @field_validator("widths")
    @classmethod
    def _positive(cls, widths: list[int] | None) -> list[int] | None:
        if widths is not None and any(width < 1 for width in widths):
            raise ValueError(f"found {widths}, expected positive numbers")
        return widths

    @field_validator("weight_decay")
    @classmethod
    def _not_negative(cls, decays: list[float]) -> list[float]:
        if not all(0 <= decay < float("inf") for decay in decays):
            raise ValueError(f"found {decays}, expected numbers from 0 up")
        return decays

    def recipe(self, rows: int) -> Mapping[str, Any]:
        """Return settings that suit this network for so many training rows."""
        batch = 32 if rows < FEW else 64
        steps = 5000 if rows < FEW else 15000
        return {
            "batch_size": batch,
            "epochs": max(100, round(steps * batch / rows)),
            "schedule": "cosine",
            "warmup": 0.02,
            "early_stopping": False,
            "restore_best": False,
            "members": 5,
        }

    def build(self, hp: kt.HyperParameters, data: Data, ctx: Context) -> keras.Model:
        """Return the compiled network."""
        import keras

        from invdesign_plugins.surrogates.decayed_adam import DecayedAdam

        widths = self.widths or ([64, 64] if len(data.frame) < FEW else [128, 128, 128])
        decays = sorted(set(self.weight_decay))
        decay = decays[0] if len(decays) == 1 else hp.Choice("weight_decay", decays, default=decays[len(decays) // 2])
        x = keras.Input((data.space.width,))
        h = x
        for width in widths:
            initial = initial_weights(self.activation)
            h = keras.layers.Dense(width, activation=self.activation, kernel_initializer=initial)(h)
        model = keras.Model(x, keras.layers.Dense(len(data.outputs), kernel_initializer="lecun_normal")(h))
        model.compile(DecayedAdam(self.learning_rate, decay), self.loss, metrics=list(self.metrics))
        return model


FEW = 2000
"""Rows up to which a table counts as small."""
