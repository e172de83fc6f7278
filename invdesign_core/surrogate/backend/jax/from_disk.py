"""Epochs of a network on rows that stay on disk, compiled by JAX."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from numpy.typing import NDArray

from invdesign_core.surrogate.backend.jax.programs import SMALL
from invdesign_core.surrogate.backend.jax.side_by_side import SideBySide, assign
from invdesign_core.surrogate.rows_on_disk import RUNS, RowsOnDisk


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
        assign(nets[0], self._best)

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
