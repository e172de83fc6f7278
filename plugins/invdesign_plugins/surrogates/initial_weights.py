"""The spread of initial weights that suits an activation."""

from __future__ import annotations


def initial_weights(activation: str) -> str:
    """Return the Keras name of an initializer under which signals neither die nor grow from layer to layer.

    He's variance, 2/n for n inputs of a layer, suits `relu` and its kind, which let half of their input pass. LeCun's,
    1/n, suits smooth activations. Glorot's, 2/(n + units), is too small for the first layer of a table of few columns:
    some networks of `swish` layers never learn from it.
    """
    return "he_normal" if "relu" in activation else "lecun_normal"
