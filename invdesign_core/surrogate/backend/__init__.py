"""The Keras backend: chosen here, once, before Keras is first imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from invdesign_core.errors import ConfigError

NAMES = ("jax", "tensorflow")
_acts_with: int | None = None
"""The processors of the process that this one works for."""


def select(name: str | None = None) -> str:
    """Decide which backend Keras runs on, and return it: `name`, else ``$KERAS_BACKEND``, else jax.

    The file ``keras.json`` is not asked: Keras writes it unasked at its first import and names TensorFlow in it.
    """
    running = ""
    if "keras" in sys.modules:
        import keras

        running = str(keras.backend.backend())
        if name is not None and name != running:
            raise ConfigError(
                f"backend {name!r} is asked for, but Keras already runs on {running!r} in this process",
                f"set KERAS_BACKEND={name} before Keras is imported",
            )
    chosen = running or name or os.environ.get("KERAS_BACKEND") or "jax"
    if chosen not in NAMES:
        raise ConfigError(f"found backend {chosen!r}, expected jax or tensorflow", "check $KERAS_BACKEND")
    if running:
        return running
    os.environ["KERAS_BACKEND"] = chosen
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors raise; what it writes besides is about GPUs
    return chosen


def load() -> Any:
    """Return the module that holds what differs between the backends."""
    name = f"invdesign_core.surrogate.backend.{select()}"
    return sys.modules.get(name) or import_module(name)  # TensorFlow warns of an import in a function that it traces


def processors() -> int:
    """Return how many processors this process may use, or that which it works for: training is dealt out by them."""
    if _acts_with is not None:
        return _acts_with
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def act_as_with(count: int) -> None:
    """Deal training out as a process with so many processors does, so that it gives the same to the last digit."""
    global _acts_with
    _acts_with = count


def in_float64(fn: Callable[..., Any], x: Any, *weights: Any) -> Any:
    """Evaluate ``fn(x, *weights) -> (r,)`` of a layer in float64, whose result and gradient in x are then rounded.

    Parameters
    ----------
    fn : callable
        Takes x and the weights in float64, and returns one number a row, which depends on that row only. It is written
        in ``keras.ops``.
    x : (r, e) tensor
        What the layer is called with.
    weights : tensors
        They take part in no gradient.

    Returns
    -------
    (r,) tensor
        In the precision of x.
    """
    from keras import ops

    return load().in_float64(fn, *map(ops.convert_to_tensor, (x, *weights)))


@contextmanager
def lean() -> Iterator[None]:
    """Keep Keras' serialisation from importing TensorFlow while another backend runs.

    Keras asks of every object whether it is a TensorFlow type, and imports TensorFlow to find out,
    which takes seconds; where nothing has imported it, the answer is no.
    """
    from keras.src.utils import module_utils

    lazy: Any = getattr(module_utils, "tensorflow", None)
    if "tensorflow" in sys.modules or getattr(lazy, "_available", True) is not None:
        yield
        return
    lazy._available = False
    try:
        yield
    finally:
        lazy._available = None
