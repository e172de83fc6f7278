"""AdamW whose weight decay is a variable: networks of different decays train in one program."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="invdesign")
class DecayedAdam(keras.optimizers.AdamW):  # type: ignore[misc]
    """Keras' AdamW with its weight decay among its variables, as its learning rate is.

    Kernels decay, biases don't. Source: I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR
    2019, arXiv:1711.05101.
    """

    def __init__(self, learning_rate: float = 0.001, weight_decay: float = 0.004, **options: Any) -> None:
        super().__init__(learning_rate, weight_decay, **options)
        self._number = float(weight_decay)
        self.weight_decay = self.add_variable((), keras.initializers.Constant(weight_decay), name="weight_decay")
        self.exclude_from_weight_decay(var_names=["bias"])

    def get_config(self) -> dict[str, Any]:
        """Return what another of its kind is made from."""
        return {**super().get_config(), "weight_decay": self._number}
