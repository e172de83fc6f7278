"""The spread of initial weights that suits an activation."""

from __future__ import annotations


def initial_weights(activation: str) -> str:
    """Return the Keras name of an initializer under which signals neither die nor grow from layer to layer.

    LeCun's variance, 1/n, suits activations that are near the identity at 0: `selu`, `tanh`, `linear`. He's, 2/n, suits
    those that let half of their input pass: `relu`, `swish`, `gelu` and their like.
    """
    return "lecun_normal" if activation in {"selu", "tanh", "softsign", "linear"} else "he_normal"
