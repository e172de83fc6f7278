"""What is particular to JAX: compiled maps over padded rows, and epochs of many networks side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from numpy.typing import NDArray

from invdesign_core.backend.compiled import Compiled

SIZES = (1, 16, 64, 256, 1024, 4096, 16384)
"""Row counts that programs are compiled for; others are padded up to the next."""

Function = Callable[..., Any]


def value(fn: Function, variables: Sequence[Any]) -> Compiled:
    """Compile ``fn(x, *rows)``, whose result has one entry a row (or is a tuple of such)."""
    return _padded(_with_weights(fn, variables))


def value_and_grad(fn: Function, variables: Sequence[Any]) -> Compiled:
    """Compile ``fn(x, *rows) -> (r,)`` together with its (r, e) gradient in x; rows are independent."""

    def both(x: Any, *rows: Any) -> Any:
        result, pull = jax.vjp(lambda x: fn(x, *rows), x)
        return result, pull(jnp.ones_like(result))[0]

    return _padded(_with_weights(both, variables))


def residuals_and_jacobian(fn: Function, variables: Sequence[Any]) -> Compiled:
    """Compile ``fn(x, *rows) -> (r, q)`` together with its (r, q, e) Jacobian in x."""

    def both(x: Any, *rows: Any) -> Any:
        def one(x: Any, *row: Any) -> Any:
            return fn(x[None], *(r[None] for r in row))[0]

        result = fn(x, *rows)
        differentiate = jax.jacfwd if x.shape[1] <= result.shape[1] else jax.jacrev
        return result, jax.vmap(differentiate(one))(x, *rows)

    return _padded(_with_weights(both, variables))


def _with_weights(fn: Function, variables: Sequence[Any]) -> Function:
    """Compile `fn` with the networks' weights as arguments, so that they are no constants of the program."""

    def substituted(weights: Any, *args: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, weights, strict=True))):
            return fn(*args)

    call = jax.jit(substituted)

    def run(*args: Any) -> Any:
        return call([variable.value for variable in variables], *args)

    return run


def _padded(call: Function) -> Compiled:
    """Let `call` see a few row counts only; float64 outside, float32 inside."""
    sizes: set[int] = set()

    def run(*args: NDArray[Any]) -> Any:
        began = time.perf_counter()
        rows = len(args[0])
        size = next((size for size in SIZES if size >= rows), SIZES[-1])
        pieces = []
        for at in range(0, max(rows, 1), size):
            part = [np.asarray(a[at : at + size], dtype=np.float32) for a in args]
            lack = size - len(part[0])
            if lack:
                part = [
                    np.concatenate(
                        [
                            a,
                            np.repeat(a[:1] if len(a) else np.zeros((1, *a.shape[1:]), a.dtype), lack, axis=0),
                        ]
                    )
                    for a in part
                ]
            pieces.append(jax.device_get(call(*part)))
        if size not in sizes:
            sizes.add(size)
            compiled.compile_seconds += time.perf_counter() - began
        if isinstance(pieces[0], tuple):
            return tuple(np.concatenate(p)[:rows].astype(np.float64) for p in zip(*pieces, strict=True))
        return np.concatenate(pieces)[:rows].astype(np.float64)

    compiled = Compiled(run)
    return compiled


class SideBySide:
    """Epochs of n networks of one configuration, one compiled program an epoch.

    The networks share the graph of `net`, and differ in weights, optimizer state, learning rate and
    order of the rows. A step is the model's own ``train_step``, so losses, metrics, regularisation
    and overridden steps are Keras' own; `jax.vmap` runs it for all networks, `jax.lax.scan` over the
    batches.

    Parameters
    ----------
    net : keras.Model
        Compiled and built.
    train, validation : tuples of arrays
        Inputs, outputs, and weights of the rows where there are any; validation may be empty.
    batch_size : int
        Rows in one step; the last batch of an epoch may be shorter.

    Attributes
    ----------
    compile_seconds : float
        What the first call took to compile.
    """

    VALIDATION_ROWS = 8192
    BLOCK = 4
    """Networks in one vectorised step: more of them spill out of the processor's cache."""
    SMALL = 50_000
    """Weights up to which networks gain from sharing a step; larger ones fill the processors alone."""

    def __init__(
        self,
        net: keras.Model,
        train: tuple[NDArray[Any], ...],
        validation: tuple[NDArray[Any], ...],
        batch_size: int,
    ) -> None:
        self._net = net
        self._train = tuple(jnp.asarray(a, jnp.float32) for a in train)
        self._validation = tuple(jnp.asarray(a, jnp.float32) for a in validation)
        self._batch = min(batch_size, len(train[0]))
        net._symbolic_build(data_batch=tuple(a[:1] for a in self._train))
        self._rate_at = next(
            (i for i, v in enumerate(net.optimizer.variables) if v is net.optimizer._learning_rate), None
        )
        self._zero_metrics = [v.value for v in net.metrics_variables]
        self._epoch = jax.jit(self._blocks, donate_argnums=0)
        self.compile_seconds = 0.0
        self._kept = False
        self._keep = jax.jit(_where)

    @property
    def sets_learning_rate(self) -> bool:
        """Whether the learning rate is a number that can be set, not a schedule of the optimizer's own."""
        return self._rate_at is not None

    def stack(self, nets: Sequence[keras.Model]) -> Any:
        """Return the state of n networks, each array with a leading axis n."""
        states = [
            (
                [v.value for v in net.trainable_variables],
                [v.value for v in net.non_trainable_variables],
                [v.value for v in net.optimizer.variables],
            )
            for net in nets
        ]
        # Stacked on the host: each shape would cost a small program on the device.
        return jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *jax.device_get(states)))

    def epoch(
        self, state: Any, order: NDArray[Any], rate: NDArray[Any], live: NDArray[np.bool_]
    ) -> tuple[Any, dict[str, NDArray[Any]]]:
        """Train the live networks for one epoch; the others cost nothing and keep what they have.

        Parameters
        ----------
        state : pytree
            From `stack` or the epoch before; it is used up.
        order : ndarray of int
            (n, rows) the order in which each network sees the rows.
        rate : ndarray
            (n,) learning rates.
        live : ndarray of bool
            (n,) which networks to train.

        Returns
        -------
        tuple
            The new state, and each metric's (n,) values; those of networks that aren't live mean nothing.
        """
        if self._rate_at is not None:
            state[2][self._rate_at] = jnp.asarray(rate, state[2][self._rate_at].dtype)
        began = time.perf_counter() if self.compile_seconds == 0 else None
        n = len(live)
        block = min(n, self.BLOCK) if self._net.count_params() <= self.SMALL else 1
        count = -(-int(live.sum()) // block)
        # The last block is filled up with live networks: trained twice alike, they change nothing.
        slots = np.resize(np.flatnonzero(live), -(-n // block) * block).astype(np.int32)
        state, logs = self._epoch(state, jnp.asarray(order, jnp.int32), slots.reshape(-1, block), np.int32(count))
        if began is not None:
            self.compile_seconds = time.perf_counter() - began
        return state, {name: np.asarray(v, dtype=np.float64) for name, v in jax.device_get(logs).items()}

    def weights(self, state: Any) -> Any:
        """Return a copy of the networks' weights."""
        # A copy of its own: the state's memory is used up by the next epoch.
        return jax.device_put(jax.tree.map(np.array, jax.device_get((state[0], state[1]))))

    def keep(self, best: Any, state: Any, better: NDArray[np.bool_]) -> Any:
        """Return the best weights so far, with those of the networks that became better replaced."""
        began = time.perf_counter() if not self._kept else None
        best = self._keep(jnp.asarray(better), (state[0], state[1]), best)
        if began is not None:
            self._kept = True
            self.compile_seconds += time.perf_counter() - began
        return best

    def fetch(self, weights: Any) -> Any:
        """Return weights as arrays of the host, for `assign`."""
        return jax.device_get(weights)

    def assign(self, weights: Any, index: int, net: keras.Model) -> None:
        """Write the fetched weights of network `index` into a model."""
        for variables, stacked in zip((net.trainable_variables, net.non_trainable_variables), weights, strict=True):
            for variable, values in zip(variables, stacked, strict=True):
                variable.assign(values[index])

    def _blocks(self, state: Any, order: Any, slots: Any, count: Any) -> Any:
        """Train `count` blocks of networks; their number is an argument, so that fewer need no new program."""

        def train(i: Any, carry: Any) -> Any:
            state, logs = carry
            rows = slots[i]
            part, told = run(jax.tree.map(lambda a: a[rows], (state, order)))
            return jax.tree.map(lambda whole, new: whole.at[rows].set(new), (state, logs), (part, told))

        def run(part: Any) -> Any:
            if slots.shape[1] > 1:
                return jax.vmap(self._one_epoch)(*part)
            # A network alone keeps its plain matrix products, which run on all processors.
            single = self._one_epoch(*jax.tree.map(lambda a: a[0], part))
            return jax.tree.map(lambda a: a[None], single)

        one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), (state, order))
        shapes = jax.eval_shape(self._one_epoch, *one)[1]
        logs = jax.tree.map(lambda s: jnp.full((len(order), *s.shape), jnp.nan, s.dtype), shapes)
        return jax.lax.fori_loop(0, count, train, (state, logs))

    def _one_epoch(self, state: Any, order: Any) -> Any:
        count = len(self._train[0])
        full = count // self._batch
        state = (*state, self._zero_metrics)

        def step(state: Any, rows: Any) -> Any:
            logs, state = self._net.train_step(state, tuple(column[rows] for column in self._train))
            return state, logs

        state, logs = jax.lax.scan(step, state, order[: full * self._batch].reshape(full, self._batch))
        logs = jax.tree.map(lambda a: a[-1], logs)
        if full * self._batch < count:
            state, logs = step(state, order[full * self._batch :])
        trainable, fixed, optimizer, _ = state
        logs = dict(logs)
        if len(self._validation[0]):
            held = self._validate(trainable, fixed)
            logs.update({f"val_{name}": v for name, v in held.items()})
        return (trainable, fixed, optimizer), logs

    def _validate(self, trainable: Any, fixed: Any) -> Any:
        state: Any = (trainable, fixed, self._zero_metrics)
        logs: Any = {}
        for at in range(0, len(self._validation[0]), self.VALIDATION_ROWS):
            rows = slice(at, at + self.VALIDATION_ROWS)
            logs, state = self._net.test_step(state, tuple(column[rows] for column in self._validation))
        return logs


def _where(better: Any, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, old)
