"""The network for tables of one's own: smooth layers, and a training that ends in small steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from invdesign_core.plugin import Context, Data, SurrogateBuilder
from invdesign_plugins.surrogates.initial_weights import initial_weights

if TYPE_CHECKING:
    import keras
    import keras_tuner as kt

SECOND_DECAY = 0.1
"""Weight decay of a second model, for which none is tuned."""


class MLP(SurrogateBuilder):
    """A fully connected network for one's own table, with its weight decay to be tuned.

    It brings its own recipe for the training: batches and epochs by the number of rows, a learning rate that rises at
    first and then falls to 0 along a cosine, and five members.
    """

    name: ClassVar[str] = "mlp"

    widths: list[int] = Field([64, 64, 64], min_length=1, description="Units of each hidden layer.")
    activation: str = Field("swish", description="Activation of the hidden layers, by its Keras name.")
    learning_rate: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="The highest learning rate, from which the schedule falls; by default it follows the rows.",
    )
    weight_decay: list[float] = Field(
        [0.0, 0.03, 0.1, 0.3, 1.0],
        min_length=1,
        description="Weight decays to try: how strongly weights are drawn towards 0. One leaves nothing to tune.",
    )
    loss: str = Field("mse", description="Loss to train with, by its Keras name; in standardised units.")
    metrics: list[str] = Field(
        [], description="Further metrics to log, by their Keras names; tuners can compare by them."
    )

    @field_validator("widths")
    @classmethod
    def _positive(cls, widths: list[int]) -> list[int]:
        if any(width < 1 for width in widths):
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
        size = Size.of(rows)
        return {
            "batch_size": size.batch,
            "epochs": size.epochs(rows),
            "schedule": "cosine",
            "warmup": 0.02,
            "early_stopping": False,
            "restore_best": False,
            "members": 5,
        }

    def as_second(self, rows: int) -> SurrogateBuilder:
        """Return a network with nothing to tune."""
        return self.model_copy(update={"weight_decay": [SECOND_DECAY]})

    def build(self, hp: kt.HyperParameters, data: Data, ctx: Context) -> keras.Model:
        """Return the compiled network."""
        import keras

        from invdesign_plugins.surrogates.decayed_adam import DecayedAdam

        size = Size.of(len(data.frame))
        decays = sorted(set(self.weight_decay))
        decay = decays[0] if len(decays) == 1 else hp.Choice("weight_decay", decays, default=decays[len(decays) // 2])
        x = keras.Input((data.space.width,))
        h, initial = x, initial_weights(self.activation)
        for width in self.widths:
            h = keras.layers.Dense(width, activation=self.activation, kernel_initializer=initial)(h)
        model = keras.Model(x, keras.layers.Dense(len(data.outputs), kernel_initializer="lecun_normal")(h))
        model.compile(DecayedAdam(self.learning_rate or size.rate, decay), self.loss, metrics=list(self.metrics))
        return model


@dataclass(frozen=True)
class Size:
    """What suits a number of rows, found by cross-validation over many tables."""

    rate: float
    batch: int
    steps: int

    @classmethod
    def of(cls, rows: int) -> Size:
        """Return what suits so many rows."""
        return cls(1e-2, 32, max(2000, 10 * rows)) if rows < 2000 else cls(5e-3, 64, 25000)

    def epochs(self, rows: int) -> int:
        """Return in how many epochs of so many rows the steps are done."""
        return max(20, round(self.steps * self.batch / rows))
