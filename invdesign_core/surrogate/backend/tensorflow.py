"""What is particular to TensorFlow: compiled maps over any number of rows; training is `model.fit`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Function = Callable[..., Any]

SideBySide = None
"""TensorFlow trains one network after another: `tf.vectorized_map` compiles again, without a word, at every call."""

FromDisk = None
"""Only JAX learns from rows that stay on disk."""
Pairs = None
"""Only JAX has programs for all pairs of rows; here they are laid out."""


class Compiled:
    """``fn(x, *rows)`` compiled once for an unknown number of rows.

    Takes and returns float64 arrays, and computes in float32; `compile_seconds` is what the calls that compiled took.
    """

    def __init__(self, fn: Function) -> None:
        self._fn = fn
        self._traced: dict[int, Function] = {}
        self.compile_seconds = 0.0

    def __call__(self, *args: NDArray[Any]) -> Any:
        """Evaluate at any number of rows."""
        began = time.perf_counter()
        tensors = [np.asarray(a, dtype=np.float32) for a in args]
        first = len(tensors) not in self._traced
        if first:
            signature = [tf.TensorSpec((None, *a.shape[1:]), tf.float32) for a in tensors]
            self._traced[len(tensors)] = tf.function(self._fn, input_signature=signature, autograph=False)
        result = self._traced[len(tensors)](*tensors)
        if first:
            self.compile_seconds += time.perf_counter() - began
        if isinstance(result, (tuple, list)):
            return tuple(np.asarray(part, dtype=np.float64) for part in result)
        return np.asarray(result, dtype=np.float64)


def value(fn: Function, variables: Sequence[Any]) -> Compiled:
    """Compile ``fn(x, *rows)``, whose result has one entry a row (or is a tuple of such)."""
    return Compiled(fn)


def value_and_grad(fn: Function, variables: Sequence[Any]) -> Compiled:
    """Compile ``fn(x, *rows) -> (r,)`` together with its (r, e) gradient in x; rows are independent."""

    def both(x: Any, *rows: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            result = fn(x, *rows)
        gradient = tape.gradient(result, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return result, gradient

    return Compiled(both)


def residuals_and_jacobian(fn: Function, variables: Sequence[Any]) -> Compiled:
    """Compile ``fn(x, *rows) -> (r, q)`` together with its (r, q, e) Jacobian in x."""

    def both(x: Any, *rows: Any) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            result = fn(x, *rows)
            columns = tf.unstack(result, axis=1)
        gradients = [tape.gradient(column, x, unconnected_gradients=tf.UnconnectedGradients.ZERO) for column in columns]
        return result, tf.stack(gradients, axis=1)

    return Compiled(both)


def in_float64(fn: Function, x: Any, *weights: Any) -> Any:
    """Evaluate ``fn(x, *weights) -> (r,)`` in float64 and return it in the precision of x; rows are independent."""
    result = fn(tf.cast(x, tf.float64), *(tf.cast(w, tf.float64) for w in weights))
    return tf.cast(result, x.dtype)
