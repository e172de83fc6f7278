"""What is particular to TensorFlow: compiled maps over any number of rows; training is `model.fit`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from invdesign_core.surrogate.backend.compiled import Compiled

Function = Callable[..., Any]

SideBySide = None
"""TensorFlow trains one network after another: `tf.vectorized_map` compiles again, without a word, at every call."""


def value(fn: Function, variables: Sequence[Any]) -> Compiled:
    """Compile ``fn(x, *rows)``, whose result has one entry a row (or is a tuple of such)."""
    return _any_rows(fn)


def value_and_grad(fn: Function, variables: Sequence[Any]) -> Compiled:
    """Compile ``fn(x, *rows) -> (r,)`` together with its (r, e) gradient in x; rows are independent."""

    def both(x: Any, *rows: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            result = fn(x, *rows)
        gradient = tape.gradient(result, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return result, gradient

    return _any_rows(both)


def residuals_and_jacobian(fn: Function, variables: Sequence[Any]) -> Compiled:
    """Compile ``fn(x, *rows) -> (r, q)`` together with its (r, q, e) Jacobian in x."""

    def both(x: Any, *rows: Any) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            result = fn(x, *rows)
            columns = tf.unstack(result, axis=1)
        gradients = [tape.gradient(column, x, unconnected_gradients=tf.UnconnectedGradients.ZERO) for column in columns]
        return result, tf.stack(gradients, axis=1)

    return _any_rows(both)


def _any_rows(fn: Function) -> Compiled:
    """Compile once for an unknown number of rows; float64 outside, float32 inside."""
    traced: dict[int, Function] = {}

    def run(*args: NDArray[Any]) -> Any:
        began = time.perf_counter()
        tensors = [np.asarray(a, dtype=np.float32) for a in args]
        first = len(tensors) not in traced
        if first:
            signature = [tf.TensorSpec((None, *a.shape[1:]), tf.float32) for a in tensors]
            traced[len(tensors)] = tf.function(fn, input_signature=signature, autograph=False)
        result = traced[len(tensors)](*tensors)
        if first:
            compiled.compile_seconds += time.perf_counter() - began
        if isinstance(result, (tuple, list)):
            return tuple(np.asarray(part, dtype=np.float64) for part in result)
        return np.asarray(result, dtype=np.float64)

    compiled = Compiled(run)
    return compiled
