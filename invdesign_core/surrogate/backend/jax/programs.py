"""Maps over rows, compiled by JAX for a few row counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from numpy.typing import NDArray

SIZES = (1, 16, 64, 256, 1024, 4096)
"""Row counts that programs are compiled for; others are cut into such pieces, the last padded up."""
FEW_SIZES = (64, 256)
"""Those for derivatives of small networks, whose programs take longer to compile than to run some rows too many."""
ONE_SIZE = (256,)
"""That for values of small networks."""
MANY = 8192
"""Rows from which on a small network has a program for `SIZES[-1]` of them, too."""
WHOLE = 256
"""So many rows go through one program, so that their order can't matter to the last digit."""
SMALL = 50_000
"""Weights up to which networks gain from sharing a step; larger ones fill the processors alone."""
SPLIT = 0.6
"""Rows are cut into smaller pieces where these hold less than this share of the rows of the next larger program."""

Function = Callable[..., Any]


class Compiled:
    """``fn(x, *rows)`` compiled for a few row counts, with the networks' weights as arguments, not as constants.

    Takes and returns float64 arrays, and computes in float32; `compile_seconds` is what the calls that compiled took.
    """

    def __init__(self, fn: Function, variables: Sequence[Any], few_sizes: tuple[int, ...] = FEW_SIZES) -> None:
        def substituted(weights: Any, *args: Any) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(variables, weights, strict=True))):
                return fn(*args)

        self._call, self._variables = jax.jit(substituted), variables
        weights = sum(int(np.prod(variable.shape)) for variable in variables)
        self._few_sizes = few_sizes if weights <= SMALL else SIZES
        self._known: set[int] = set()
        self.compile_seconds = 0.0

    def __call__(self, *args: NDArray[Any]) -> Any:
        """Evaluate at any number of rows."""
        began = time.perf_counter()
        rows, at, pieces = len(args[0]), 0, []
        sizes = _pieces(max(rows, 1), self._few_sizes)
        # Read each time: Keras' own `predict` puts new arrays in the place of a model's weights.
        weights = [variable.value for variable in self._variables]
        for size in sizes:
            pieces.append(self._call(weights, *(_filled(a[at : at + size], size) for a in args)))
            at += size
        if not self._known.issuperset(sizes):
            jax.block_until_ready(pieces)
            self._known.update(sizes)
            self.compile_seconds += time.perf_counter() - began
        if isinstance(pieces[0], tuple):
            return tuple(_joined(parts, rows) for parts in zip(*pieces, strict=True))
        return _joined(pieces, rows)


def value(fn: Function, variables: Sequence[Any]) -> Compiled:
    """Compile ``fn(x, *rows)``, whose result has one entry a row (or is a tuple of such)."""
    return Compiled(fn, variables, ONE_SIZE)


class Pairs:
    """``fn(*ones, *others) -> (r,)`` compiled for all pairs of n rows with t others, which never lie in memory."""

    BLOCK = 64
    """So many others go through one program, the last of them repeated where there are fewer."""

    def __init__(self, fn: Function) -> None:
        def block(ones: Any, others: Any) -> Any:
            def one(other: Any) -> Any:
                return fn(*ones, *(jnp.broadcast_to(a, (len(ones[0]), *a.shape)) for a in other))

            return jax.lax.map(one, others)  # all at once would take twenty times as long on a processor

        self._call = jax.jit(block)
        self._known: set[tuple[int, ...]] = set()
        self.compile_seconds = 0.0

    def __call__(self, ones: Sequence[NDArray[Any]], others: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Return (t, n) results for (n, …) rows and (t, …) others."""
        began = time.perf_counter()
        n, t = len(ones[0]), len(others[0])
        ones = [a.astype(np.float32) for a in ones]
        parts = [
            self._call(ones, [_filled(a[at : at + self.BLOCK], self.BLOCK) for a in others])
            for at in range(0, t, self.BLOCK)
        ]
        if (n, len(ones)) not in self._known:
            jax.block_until_ready(parts)
            self._known.add((n, len(ones)))
            self.compile_seconds += time.perf_counter() - began
        return _joined(parts, t)


def value_and_grad(fn: Function, variables: Sequence[Any]) -> Compiled:
    """Compile ``fn(x, *rows) -> (r,)`` together with its (r, e) gradient in x; rows are independent."""

    def both(x: Any, *rows: Any) -> Any:
        result, pull = jax.vjp(lambda x: fn(x, *rows), x)
        return result, pull(jnp.ones_like(result))[0]

    return Compiled(both, variables)


def residuals_and_jacobian(fn: Function, variables: Sequence[Any]) -> Compiled:
    """Compile ``fn(x, *rows) -> (r, q)`` together with its (r, q, e) Jacobian in x; rows are independent."""

    def both(x: Any, *rows: Any) -> Any:
        def residuals(x: Any) -> Any:
            return fn(x, *rows)

        r, e = x.shape
        q = jax.eval_shape(residuals, x).shape[1]
        # One pass forward serves all columns of the Jacobian, by the shorter side.
        if e < q:
            result, push = jax.linearize(residuals, x)
            along = jnp.broadcast_to(jnp.eye(e, dtype=x.dtype)[:, None, :], (e, r, e))
            return result, jnp.moveaxis(jax.vmap(push)(along), 0, 2)
        result, pull = jax.vjp(residuals, x)
        along = jnp.broadcast_to(jnp.eye(q, dtype=result.dtype)[:, None, :], (q, r, q))
        return result, jnp.moveaxis(jax.vmap(pull)(along)[0], 0, 1)

    return Compiled(both, variables)


def in_float64(fn: Function, x: Any, *weights: Any) -> Any:
    """Evaluate ``fn(x, *weights) -> (r,)`` in float64 and return it in the precision of x; rows are independent.

    The derivative in x is computed in float64, too, once for both directions of differentiation: JAX transposes what it
    has traced outside of the context in which there is float64. There is none in the weights.
    """

    def double(x: Any, *weights: Any) -> Any:
        return fn(x.astype(jnp.float64), *(w.astype(jnp.float64) for w in weights))

    def rounded(x: Any, *weights: Any) -> Any:
        with _float64():
            return double(x, *weights).astype(x.dtype)

    def derivative(at: Any, along: Any) -> Any:
        x, *weights = at
        with _float64():
            result, pull = jax.vjp(lambda x: double(x, *weights), x)
            slope = pull(jnp.ones_like(result))[0]
            result = result.astype(x.dtype)
        return result, jnp.sum(slope * along[0], axis=1)

    evaluate = jax.custom_jvp(rounded)
    evaluate.defjvp(derivative)
    return evaluate(x, *weights)


def _float64() -> Any:
    """Let JAX compute in float64 while this context lasts."""
    return jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64()


@cache
def _pieces(rows: int, few_sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the sizes of the programs that some rows are cut up for."""
    sizes = few_sizes if rows < MANY else SIZES
    full = (rows - 1) // sizes[-1]
    if full:  # these first, so that the recursion is as deep as there are sizes
        return (sizes[-1],) * full + _pieces(rows - full * sizes[-1], few_sizes)
    up = next(size for size in sizes if size >= rows)
    down = max((size for size in sizes if size < rows), default=None)
    if rows <= WHOLE or down is None:
        return (up,)
    split = (down, *_pieces(rows - down, few_sizes))
    return split if sum(split) <= SPLIT * up else (up,)


def _filled(part: NDArray[Any], size: int) -> NDArray[np.float32]:
    """Return rows in float32, the first of them repeated up to a number."""
    if len(part) == size:
        return part.astype(np.float32)
    filled = np.empty((size, *part.shape[1:]), dtype=np.float32)
    filled[: len(part)] = part
    filled[len(part) :] = part[:1] if len(part) else 0.0
    return filled


def _joined(parts: Sequence[Any], rows: int) -> NDArray[np.float64]:
    if len(parts) == 1:
        return np.asarray(parts[0])[:rows].astype(np.float64)
    return np.concatenate([np.asarray(part) for part in parts])[:rows].astype(np.float64)
