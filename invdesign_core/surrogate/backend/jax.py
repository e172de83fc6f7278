"""What is particular to JAX: compiled maps over padded rows, and epochs of many networks side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from numpy.typing import NDArray

from invdesign_core.surrogate import backend
from invdesign_core.surrogate.backend.jax_cache import mend_cache
from invdesign_core.surrogate.rows_on_disk import RUNS, RowsOnDisk

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
mend_cache()


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


class SideBySide:
    """Epochs of n networks of one configuration, in compiled programs without a loop of Python's over batches.

    They share the graph of the first, and differ in weights, optimizer state, learning rate and order of the rows.
    A step is the model's own ``train_step``: `jax.vmap` runs it for a block of networks, `jax.lax.scan` over the
    batches. Each processor has a thread, to which blocks are dealt. When networks stop, those left are dealt into fewer
    blocks of the same size, so that nothing is compiled again. Where long training is left, the last few get a thread
    each and a program for one network, which is compiled beside the training.
    """

    VALIDATION_ROWS = 8192
    BLOCK = 8
    """Networks in one vectorised step: more of them spill out of the processor's cache."""
    ALONE_AFTER = 1500
    """Steps after the first network has stopped that are worth the compilation of a program for one."""

    def __init__(
        self,
        nets: Sequence[keras.Model],
        columns: tuple[NDArray[Any], ...],
        length: int,
        held: NDArray[np.int32],
        batch_size: int,
    ) -> None:
        """Take compiled networks with built optimizers.

        `columns` are as in `loop.train`; each network sees `length` rows of them in an epoch, and its validation rows
        are those numbered in (n, v) `held`, of which there may be none.
        """
        began = time.perf_counter()
        net = self._net = nets[0]
        self._columns = tuple(jnp.asarray(np.asarray(a, np.float32)) for a in columns)
        self._length, self._held = length, held
        self._batch = min(batch_size, length)
        net._symbolic_build(data_batch=tuple(np.asarray(a[:1], np.float32) for a in columns))
        self._rate_at = next(
            (i for i, v in enumerate(net.optimizer.variables) if v is net.optimizer._learning_rate), None
        )
        self._zero_metrics = [np.asarray(v.value) for v in net.metrics_variables]
        small = net.count_params() <= SMALL
        self._threads = min(backend.processors(), len(nets)) if small else 1
        self._block = min(self.BLOCK, -(-len(nets) // self._threads)) if small else 1
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None
        program = self._steps if not small else self._alone if self._block == 1 else self._together
        self._program = program if not small else jax.jit(program, donate_argnums=(0, 1))
        self._one_step = jax.jit(self._step, donate_argnums=0)
        self._watch = jax.jit(self._validate)
        self._single: Future[Any] | None = None
        self._steps_since = 0
        self._compiled = False
        self._left: dict[int, Any] = {}
        states = {
            i: (
                [v.value for v in each.trainable_variables],
                [v.value for v in each.non_trainable_variables],
                [v.value for v in each.optimizer.variables],
            )
            for i, each in enumerate(nets)
        }
        states = jax.device_get(states)
        self._deal({i: (state, state[:2], False) for i, state in states.items()})
        self.compile_seconds = time.perf_counter() - began

    @property
    def sets_learning_rate(self) -> bool:
        """Whether the learning rate is a number that can be set, not a schedule of the optimizer's own."""
        return self._rate_at is not None

    def epoch(self, order: NDArray[Any], rate: NDArray[Any], live: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """Train the (n,) live networks for one epoch with (n, rows) orders and (n,) rates; return (n,) metrics.

        Those of networks that have left are NaN; the others keep what `keep` kept.
        """
        began = time.perf_counter()
        if not live.all() and self._block > 1:
            self._last_ones(int(live.sum()))
        other = len(self._blocks[0].members) != self._block
        if other or -(-int(live.sum()) // self._block) < len(self._blocks):
            self._repack(live)
        work = [(block, order, rate) for block in self._blocks]
        if self._pool is None or not self._compiled:
            logs = [self._run(*item) for item in work]
        else:
            logs = list(self._pool.map(lambda item: self._run(*item), work))
        told = {name: np.full(len(live), np.nan) for name in logs[0]}
        for block, values in zip(self._blocks, logs, strict=True):
            for name, column in values.items():
                told[name][block.members] = column
        if not self._compiled:
            self._compiled = True
            self.compile_seconds += time.perf_counter() - began
        return told

    def keep(self, better: NDArray[np.bool_]) -> None:
        """Keep the weights that these of the n networks have now, as the best so far."""
        for block in self._blocks:  # a few; the copy is made by the next epoch's program
            block.better = better[block.members]

    def assign_best(self, nets: Sequence[keras.Model]) -> None:
        """Write the weights that were kept into the n models, and end."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        self._repack(np.zeros(len(nets), dtype=bool))
        for i, net in enumerate(nets):
            for variables, values in zip(
                (net.trainable_variables, net.non_trainable_variables), self._left[i], strict=True
            ):
                for variable, value in zip(variables, values, strict=True):
                    variable.assign(value)

    def _run(self, block: _Block, order: NDArray[Any], rate: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Train one block for an epoch."""
        if self._rate_at is not None:
            block.state[2][self._rate_at] = rate[block.members].astype(np.float32)
        rows = order[block.members].astype(np.int32)
        held = self._held[block.members]
        block.state, block.best, logs = self._program(block.state, block.best, block.better, rows, held)
        block.better = np.zeros(len(block.members), dtype=bool)
        return {name: np.asarray(v).astype(np.float64) for name, v in logs.items()}

    def _last_ones(self, live: int) -> None:
        """Prepare for the time when there are no more networks than threads, or begin it."""
        self._steps_since += -(-self._length // self._batch)
        if self._pool is None or self._steps_since < self.ALONE_AFTER:  # steps, not seconds: each run does the same
            return
        if self._single is None:
            block = self._blocks[0]
            shapes = jax.tree.map(
                lambda a: jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype),
                (block.state, block.best, block.better, np.zeros((1, self._length), np.int32), self._held[:1]),
            )
            lowered = jax.jit(self._alone, donate_argnums=(0, 1)).lower(*shapes)
            compiler = ThreadPoolExecutor(1)
            self._single = compiler.submit(lowered.compile)
            compiler.shutdown(wait=False)  # the thread ends by itself; its result is not needed any more
        if live <= self._threads:
            began = time.perf_counter()
            self._program, self._block = self._single.result(), 1
            self.compile_seconds += time.perf_counter() - began

    def _repack(self, live: NDArray[np.bool_]) -> None:
        """Take out the networks that have stopped, and deal the others into as few blocks as hold them."""
        held: dict[int, Any] = {}
        for block in self._blocks:
            state, best = jax.device_get((block.state, block.best))
            for at, member in enumerate(block.members):
                each = jax.tree.map(lambda a, at=at: a[at], (state, best))
                held[int(member)] = (*each, bool(block.better[at]))
        self._left.update({i: s[:2] if new else best for i, (s, best, new) in held.items() if not live[i]})
        self._deal({i: each for i, each in held.items() if live[i]})

    def _deal(self, held: dict[int, Any]) -> None:
        """Stack networks into blocks; the last is filled up with one of its own, trained twice alike."""
        members = sorted(held)
        self._blocks = []
        for at in range(0, len(members), self._block):
            chosen = np.resize(members[at : at + self._block], self._block)
            states, bests = ([held[i][part] for i in chosen] for part in (0, 1))
            # Stacked on the host: each shape would cost a small program on the device.
            state, best = (jax.tree.map(lambda *leaves: np.stack(leaves), *each) for each in (states, bests))
            better = np.array([held[i][2] for i in chosen])
            state, best = jax.device_put((state, best))
            self._blocks.append(_Block(chosen, state, best, better))

    def _together(self, state: Any, best: Any, better: Any, order: Any, held: Any) -> Any:
        """Run one epoch of a block."""
        best = jax.tree.map(
            lambda new, old: jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old), state[:2], best
        )
        state, logs = jax.vmap(self._epoch)(state, order, held)
        return state, best, logs

    def _alone(self, state: Any, best: Any, better: Any, order: Any, held: Any) -> Any:
        """Run one epoch of a block of one, whose matrix products stay plain."""
        best = jax.tree.map(lambda new, old: jnp.where(better[0], new, old), state[:2], best)
        state, logs = self._epoch(*jax.tree.map(lambda a: a[0], (state, order, held)))
        return *jax.tree.map(lambda a: a[None], (state,)), best, jax.tree.map(lambda a: a[None], logs)

    def _steps(self, state: Any, best: Any, better: Any, order: Any, held: Any) -> Any:
        """Run one epoch of a large network step by step: a loop in a program would slow its matrix products."""
        if better[0]:
            best = jax.tree.map(np.array, jax.device_get(state[:2]))
        state = (*jax.tree.map(lambda a: a[0], state), self._zero_metrics)
        order, logs = order[0], {}
        for at in range(0, len(order), self._batch):  # each step computes for milliseconds
            state, logs = self._one_step(state, order[at : at + self._batch])
        *state, _ = state
        logs = self._with_validation(dict(logs), self._watch, state, held[0])
        return jax.tree.map(lambda a: a[None], tuple(state)), best, jax.tree.map(lambda a: a[None], logs)

    def _epoch(self, state: Any, order: Any, held: Any) -> Any:
        """Run one epoch of one network."""
        full = self._length // self._batch
        state = (*state, self._zero_metrics)
        state, logs = jax.lax.scan(self._step, state, order[: full * self._batch].reshape(full, self._batch))
        logs = jax.tree.map(lambda a: a[-1], logs)
        if full * self._batch < self._length:
            state, logs = self._step(state, order[full * self._batch :])
        *state, _ = state
        return tuple(state), self._with_validation(dict(logs), self._validate, state, held)

    def _step(self, state: Any, rows: Any) -> Any:
        logs, state = self._net.train_step(state, tuple(column[rows] for column in self._columns))
        return state, logs

    def _with_validation(self, logs: dict[str, Any], validate: Function, state: Any, held: Any) -> dict[str, Any]:
        if len(held):
            logs |= {f"val_{name}": v for name, v in validate(state[0], state[1], held).items()}
        return logs

    def _validate(self, trainable: Any, fixed: Any, held: Any) -> Any:
        state: Any = (trainable, fixed, self._zero_metrics)
        logs: Any = {}
        for at in range(0, len(held), self.VALIDATION_ROWS):
            rows = held[at : at + self.VALIDATION_ROWS]
            logs, state = self._net.test_step(state, tuple(column[rows] for column in self._columns))
        return logs


@dataclass
class _Block:
    """Networks that train in one vectorised step: (k,) their numbers, states and best weights with a leading axis k."""

    members: NDArray[np.intp]
    state: Any
    best: Any
    better: NDArray[np.bool_]


class FromDisk:
    """Epochs of one network on rows that stay on disk; used as `SideBySide` is, with runs of rows in its order."""

    def __init__(
        self, net: keras.Model, rows: RowsOnDisk, watched: tuple[NDArray[Any], NDArray[Any]], batch_size: int
    ) -> None:
        """Take a compiled network with a built optimizer, and the rows for validation, of which there may be none."""
        self._net, self._rows, self._batch = net, rows, min(batch_size, rows.count)
        self._watched = tuple(jnp.asarray(a, jnp.float32) for a in watched)
        one = rows.read(0)[:1]
        net._symbolic_build(data_batch=(one[:, : rows.inputs], one[:, rows.inputs :]))
        variables = net.optimizer.variables
        self._rate_at = next((i for i, v in enumerate(variables) if v is net.optimizer._learning_rate), None)
        self._zero_metrics = [np.asarray(v.value) for v in net.metrics_variables]
        self._state: Any = None
        self._best: Any = None
        # A loop in a program would slow the matrix products of a large network.
        steps = self._scan if net.count_params() <= SMALL else self._one_by_one
        self._steps = jax.jit(steps, donate_argnums=0) if net.count_params() <= SMALL else steps
        self._step = jax.jit(net.train_step, donate_argnums=0)
        self._watch = jax.jit(net.test_step)
        self._compiled = False
        self.compile_seconds = 0.0

    def begin(self, net: keras.Model) -> None:
        """Go on with another network like the first."""
        kinds = (net.trainable_variables, net.non_trainable_variables, net.optimizer.variables)
        state = jax.device_get([[v.value for v in kind] for kind in kinds])
        self._state, self._best = jax.device_put(state), state[:2]
        self.compile_seconds = 0.0

    @property
    def sets_learning_rate(self) -> bool:
        """Whether the learning rate is a number that can be set, not a schedule of the optimizer's own."""
        return self._rate_at is not None

    def epoch(self, order: NDArray[Any], rate: NDArray[Any], live: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """Train for one epoch, on the runs of rows in a (1, runs) order; the last rows of less than a batch wait."""
        began, compiles = time.perf_counter(), not self._compiled
        if self._rate_at is not None:
            self._state[2][self._rate_at] = jnp.asarray(rate[0], jnp.float32)
        state: Any = (*self._state, [jnp.array(a) for a in self._zero_metrics])
        logs: Any = {}
        left = np.empty((0, self._rows.width), dtype=np.float32)
        for at in range(0, order.shape[1], RUNS):
            block = self._rows.mixed(order[0, at : at + RUNS], left)
            full = len(block) // self._batch * self._batch
            batches, left = block[:full].reshape(-1, self._batch, self._rows.width), block[full:]
            if full:
                jax.block_until_ready(logs)  # else blocks would wait in memory, since they are read faster than learnt
                state, logs = self._steps(state, batches[:, :, : self._rows.inputs], batches[:, :, self._rows.inputs :])
            if compiles:
                jax.block_until_ready(logs)
                self.compile_seconds, self._compiled, compiles = time.perf_counter() - began, True, False
        *trained, _ = state
        self._state = [list(part) for part in trained]
        told = {name: np.array([float(value)]) for name, value in logs.items()}
        return told | {f"val_{name}": np.array([float(value)]) for name, value in self._validated().items()}

    def keep(self, better: NDArray[np.bool_]) -> None:
        """Keep the weights that the network has now, as the best so far."""
        if better[0]:
            self._best = jax.device_get(self._state[:2])

    def assign_best(self, nets: Sequence[keras.Model]) -> None:
        """Write the weights that were kept into the model."""
        for variables, values in zip(
            (nets[0].trainable_variables, nets[0].non_trainable_variables), self._best, strict=True
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def _scan(self, state: Any, x: Any, y: Any) -> Any:
        def step(state: Any, batch: Any) -> Any:
            logs, state = self._net.train_step(state, batch)
            return state, logs

        state, logs = jax.lax.scan(step, state, (x, y))
        return state, jax.tree.map(lambda a: a[-1], logs)

    def _one_by_one(self, state: Any, x: Any, y: Any) -> Any:
        logs: Any = {}
        for batch in zip(x, y, strict=True):
            logs, state = self._step(state, batch)
        return state, logs

    def _validated(self) -> dict[str, Any]:
        logs: Any = {}
        state: Any = (*self._state[:2], self._zero_metrics)
        for at in range(0, len(self._watched[0]), SideBySide.VALIDATION_ROWS):
            logs, state = self._watch(state, tuple(a[at : at + SideBySide.VALIDATION_ROWS] for a in self._watched))
        return dict(logs)
