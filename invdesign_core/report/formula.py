"""How a browser computes what a surrogate answers: its members as lists of steps with their weights in base64."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.surrogate.surrogate import Surrogate

if TYPE_CHECKING:
    import keras

MOST_BYTES = 2_500_000
"""Weights that take more are not embedded: the page would be too large to be mailed."""
ACTIVATIONS = (
    "linear",
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "softplus",
    "softsign",
    "silu",
    "gelu",
    "mish",
    "tanh",
    "sigmoid",
    "hard_sigmoid",
    "exponential",
)
"""Activations that the page's own code has, by their Keras names."""
IDENTITIES = (
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "AlphaDropout",
    "ActivityRegularization",
    "Identity",
    "Flatten",
)
"""Layers that change nothing in a row of numbers when a model answers."""
MERGES = {"Add": "add", "Subtract": "subtract", "Multiply": "multiply", "Average": "average"}


class UnknownStepError(Exception):
    """A model has a layer that the page can't compute."""


def formula(surrogate: Surrogate) -> dict[str, Any] | str:
    """Return what the page needs to answer as the surrogate does, or why it can't.

    A step names what it does (`op`), the values that it takes (`from`, by number: 0 is the (n, e) designs, and each
    step adds the next), and its weights. Members go from encoded designs to outputs in the user's units.
    """
    if not surrogate.differentiable:
        return "its members are not networks"
    try:
        members = [_member(member, surrogate.space.width) for member in surrogate.members]
    except UnknownStepError as error:
        return str(error)
    size = sum(len(w["data"]) for member in members for step in member["steps"] for w in _weights(step))
    if size > MOST_BYTES:
        return f"its weights take {size / 1e6:.1f} MB, and a page should be small enough to be mailed"
    weights = surrogate.weights
    return {"members": members, "weights": None if weights is None else weights.tolist()}


def packed(values: Any, exact: bool = False) -> dict[str, Any]:
    """Return numbers as base64, in single precision unless they are to be `exact`."""
    array = np.ascontiguousarray(np.asarray(values), dtype="<f8" if exact else "<f4")
    return {"type": "f8" if exact else "f4", "data": base64.b64encode(array.tobytes()).decode("ascii")}


def _weights(step: dict[str, Any]) -> list[dict[str, Any]]:
    return [value for value in step.values() if isinstance(value, dict) and "data" in value]


def _member(model: keras.Model, width: int) -> dict[str, Any]:
    """Return the steps of one model, and the number of the value that is its answer."""
    steps: list[dict[str, Any]] = []
    out = _model(model, 0, width, steps)
    return {"steps": steps, "out": out}


def _model(model: Any, at: int, width: int, steps: list[dict[str, Any]]) -> int:
    """Add the steps of a functional model that takes the value `at`; return the number of its first output."""
    graph = getattr(model, "_functional", None) or model  # a Sequential model holds a functional one
    nodes = getattr(graph, "_nodes_by_depth", None)
    if nodes is None or len(graph.inputs) != 1:
        raise UnknownStepError(f"it has the layer {type(model).__name__}, which the page has no formula for")
    known: dict[int, int] = {id(graph.inputs[0]): at}
    for depth in sorted(nodes, reverse=True):
        for node in nodes[depth]:
            if node.is_input:
                continue
            sources = []
            for tensor in node.arguments.keras_tensors:
                if id(tensor) not in known:
                    raise UnknownStepError("one of its layers takes an output that the page does not compute")
                sources.append(known[id(tensor)])
            number = _layer(node.operation, sources, node.arguments.keras_tensors, steps)
            known[id(node.outputs[0])] = number
    answer = graph.outputs[0]
    if id(answer) not in known:
        raise UnknownStepError("its answer is an output that the page does not compute")
    return known[id(answer)]


def _layer(layer: Any, sources: list[int], tensors: list[Any], steps: list[dict[str, Any]]) -> int:
    """Add the steps of one layer; return the number of its (first) output."""
    import keras

    def add(op: str, **more: Any) -> int:
        steps.append({"op": op, "from": sources, **more})
        return len(steps)

    kind = type(layer).__name__
    if hasattr(layer, "page_formula"):
        return add(**_of_plugin(layer))
    if isinstance(layer, keras.Model):
        return _model(layer, sources[0], int(tensors[0].shape[-1]), steps)
    if getattr(keras.layers, kind, None) is not type(layer) or any(len(t.shape) > 2 for t in tensors):
        raise UnknownStepError(f"it has the layer {kind}, which the page has no formula for")
    if kind in IDENTITIES or (kind == "Reshape" and len(layer.target_shape) == 1):
        return sources[0]
    if kind in MERGES:
        return add(MERGES[kind])
    if kind == "Concatenate":
        return add("concatenate", widths=[int(t.shape[-1]) for t in tensors])
    make = STEPS.get(kind)
    if make is None:
        raise UnknownStepError(f"it has the layer {kind}, which the page has no formula for")
    made = make(layer, int(tensors[0].shape[-1]) if len(tensors[0].shape) > 1 else 1)
    last = len(steps)
    for step in made:
        steps.append({**step, "from": sources if len(steps) == last else [len(steps)]})
    return len(steps)


def _of_plugin(layer: Any) -> dict[str, Any]:
    """Return the step of a layer that says itself how it is computed."""
    said = dict(layer.page_formula())
    if said.get("op") not in ("matern52", "polynomial"):
        raise UnknownStepError(f"it has the layer {type(layer).__name__}, whose formula the page does not know")
    return {k: packed(v, v.dtype == np.float64) if isinstance(v, np.ndarray) else v for k, v in said.items()}


def _activation(function: Any) -> list[dict[str, Any]]:
    """Return the step of an activation, none for the identity."""
    import keras

    if function is None:
        return []
    name = getattr(function, "__name__", str(function))
    if name not in ACTIVATIONS or getattr(keras.activations, name, None) is not function:
        raise UnknownStepError(f"it has the activation {name}, which the page has no formula for")
    return [] if name == "linear" else [{"op": "activation", "name": name}]


def _array(value: Any) -> NDArray[np.float64]:
    from keras import ops

    return np.asarray(ops.convert_to_numpy(ops.convert_to_tensor(value)), dtype=np.float64)


def _dense(layer: Any, width: int) -> list[dict[str, Any]]:
    kernel = _array(layer.kernel)
    bias = _array(layer.bias) if layer.use_bias else np.zeros(kernel.shape[1])
    dense = {"op": "dense", "shape": list(kernel.shape), "kernel": packed(kernel.T), "bias": packed(bias)}
    return [dense, *_activation(layer.activation)]


def _affine(layer: Any, width: int) -> list[dict[str, Any]]:
    scale, offset = (np.broadcast_to(np.asarray(v, dtype=np.float64), (width,)) for v in (layer.scale, layer.offset))
    return [{"op": "affine", "scale": packed(scale), "offset": packed(offset)}]


def _normalization(layer: Any, width: int) -> list[dict[str, Any]]:
    import keras

    mean, variance = _array(layer.mean).reshape(-1), _array(layer.variance).reshape(-1)
    if layer.invert:
        raise UnknownStepError("it has an inverted Normalization, which the page has no formula for")
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    scale = np.broadcast_to(1 / deviation, (width,))
    offset = np.broadcast_to(-mean / deviation, (width,))
    return [{"op": "affine", "scale": packed(scale, True), "offset": packed(offset, True)}]


def _batch_normalization(layer: Any, width: int) -> list[dict[str, Any]]:
    gamma = _array(layer.gamma) if layer.scale else np.ones(width)
    beta = _array(layer.beta) if layer.center else np.zeros(width)
    mean, variance = _array(layer.moving_mean), _array(layer.moving_variance)
    scale = gamma / np.sqrt(variance + layer.epsilon)
    return [{"op": "affine", "scale": packed(scale, True), "offset": packed(beta - mean * scale, True)}]


def _relu(layer: Any, width: int) -> list[dict[str, Any]]:
    if layer.max_value is not None or layer.threshold:
        raise UnknownStepError("it has a ReLU with a threshold, which the page has no formula for")
    return [{"op": "activation", "name": "leaky_relu", "slope": float(layer.negative_slope)}]


def _leaky(layer: Any, width: int) -> list[dict[str, Any]]:
    return [{"op": "activation", "name": "leaky_relu", "slope": float(layer.negative_slope)}]


def _elu(layer: Any, width: int) -> list[dict[str, Any]]:
    return [{"op": "activation", "name": "elu", "slope": float(layer.alpha)}]


STEPS: dict[str, Callable[[Any, int], list[dict[str, Any]]]] = {
    "Dense": _dense,
    "Activation": lambda layer, width: _activation(layer.activation),
    "Rescaling": _affine,
    "Normalization": _normalization,
    "BatchNormalization": _batch_normalization,
    "ReLU": _relu,
    "LeakyReLU": _leaky,
    "ELU": _elu,
}
"""How each kind of layer of Keras is written down."""
