"""What the core needs to know of a network that a builder returned: its shape, its metrics, its likeness."""

from __future__ import annotations

import json
import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.errors import NOT_FAULTS, PluginError, described, plural
from invdesign_core.surrogate import backend

if TYPE_CHECKING:
    import keras


STREAMS = threading.RLock()
"""Held by the thread whose seed Python's and NumPy's random streams have."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let Keras draw initial weights and dropout seeds from one seed, and leave Python's and NumPy's streams alone.

    These streams belong to the whole process, so that one thread at a time can have them.
    """
    import keras

    with STREAMS:
        python, numpy = random.getstate(), np.random.get_state()
        if keras.backend.backend() == "tensorflow":
            keras.utils.set_random_seed(seed)
        else:  # the same without its import of TensorFlow: Keras draws default seeds from `random`
            random.seed(seed)
            np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def check_network(net: Any, inputs: int, outputs: int, who: str, closed_form: bool = False) -> None:
    """Refuse what is no compiled network, or has other shapes than the data.

    Of a model in `closed_form`, whose weights may take their shapes when it is fitted, the type alone is checked.
    """
    import keras

    if not isinstance(net, keras.Model):
        raise PluginError(f"{who} built {type(net).__name__}, expected a compiled keras.Model")
    if closed_form:
        return
    if not net.built:
        try:
            net(np.zeros((1, inputs), np.float32))  # a subclassed model makes its variables when it is called
        except NOT_FAULTS:
            raise
        except BaseException as error:
            why = described(error).splitlines()[0]
            raise PluginError(f"{who} built a model that can't take {plural(inputs, 'input column')}: {why}") from error
    if not getattr(net, "compiled", False):
        raise PluginError(f"{who} built a model that isn't compiled", "call model.compile(optimizer=..., loss=...)")
    shape_in, shape_out = model_shapes(net, inputs)
    if shape_in != (None, inputs):
        raise PluginError(
            f"{who} built a model with input shape {shape_in}, the data have {plural(inputs, 'input column')}: "
            f"expected (None, {inputs})",
            "take the width from data.space.width",
        )
    if shape_out not in {(None, outputs)} | ({(None,)} if outputs == 1 else set()):
        raise PluginError(
            f"{who} built a model with output shape {shape_out}, the data have {plural(outputs, 'output')}: "
            f"expected (None, {outputs})",
            "take the number from len(data.outputs)",
        )


def model_shapes(net: keras.Model, inputs: int) -> tuple[Any, Any]:
    """Return a model's input and output shape, lists of them where it has several."""
    import keras

    try:
        return net.input_shape, net.output_shape
    except (AttributeError, ValueError):  # a subclassed model has no shapes of its own
        out = net.compute_output_spec(keras.KerasTensor((None, inputs)))
        return (None, inputs), getattr(out, "shape", type(out))


def metric_directions(net: keras.Model) -> dict[str, str | None]:
    """Return the metrics that a built network logs, with ``"min"``, ``"max"``, or None where Keras knows neither."""
    words = {"up": "max", "down": "min"}
    metrics = [each for metric in net.metrics for each in getattr(metric, "metrics", [metric])]
    return {each.name: words.get(getattr(each, "_direction", "")) for each in metrics} | {"loss": "min"}


def ignore_missing(net: keras.Model) -> None:
    """Let a network learn each output from the rows where it was measured.

    For one that is missing (NaN), loss and metrics see the prediction on both sides, cut off from the gradient: it
    teaches nothing, whatever the loss is (the absolute value, for one, has a slope of 1 at 0 in JAX).
    """
    from keras import ops

    def fill(y: Any, y_pred: Any) -> tuple[Any, Any]:
        y, constant = ops.reshape(y, ops.shape(y_pred)), ops.stop_gradient(y_pred)
        missing = ops.isnan(y)
        return ops.where(missing, constant, y), ops.where(missing, constant, y_pred)

    loss, metrics = net.compute_loss, net.compute_metrics

    def compute_loss(x: Any = None, y: Any = None, y_pred: Any = None, *args: Any, **kwargs: Any) -> Any:
        return loss(x, *fill(y, y_pred), *args, **kwargs)

    def compute_metrics(x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return metrics(x, *fill(y, y_pred), sample_weight)

    net.compute_loss, net.compute_metrics = compute_loss, compute_metrics


def architecture_key(net: keras.Model) -> str | None:
    """Return a text that two networks share when they differ in numbers only: in weights, and in numbers that the
    optimizer has among its variables, as it has its learning rate.

    None where the configuration doesn't tell: a subclassed model without `get_config`, or functions of the user's own.
    """
    try:
        with backend.lean():
            return _likeness(net)
    except NOT_FAULTS:
        raise
    except BaseException:  # a model's own get_config may raise anything
        return None


def _likeness(net: keras.Model) -> str | None:
    """Return what Keras would save of a network, without names and the numbers among its optimizer's variables."""
    from keras.saving import serialize_keras_object

    config = json.dumps([type(net).__name__, net.get_config()], default=serialize_keras_object, sort_keys=True)
    compiled = net.get_compile_config()
    optimizer = compiled["optimizer"]["config"]
    held = {variable.name for variable in net.optimizer.variables}
    optimizer.update({key: None for key, value in optimizer.items() if key in held and isinstance(value, float)})
    optimizer["name"] = None
    training = json.dumps(compiled, default=serialize_keras_object, sort_keys=True)
    if '"class_name": "function"' in config + training or "__lambda__" in config + training:
        return None
    numbers = {layer.name: f"layer-{i}" for i, layer in enumerate(net._flatten_layers())}
    return re.sub(r'"([^"]*)"', lambda m: f'"{numbers.get(m[1], m[1])}"', config) + training
