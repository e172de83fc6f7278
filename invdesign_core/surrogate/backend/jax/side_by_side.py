"""Epochs of many small networks side by side, compiled by JAX."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from numpy.typing import NDArray

from invdesign_core.surrogate import backend
from invdesign_core.surrogate.backend.jax.programs import SMALL, Function


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
            assign(net, self._left[i])

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


def assign(net: keras.Model, weights: Any) -> None:
    """Write trainable and other weights into a network."""
    for variables, values in zip((net.trainable_variables, net.non_trainable_variables), weights, strict=True):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
