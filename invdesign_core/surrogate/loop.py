"""The two ways through the epochs: networks side by side in one program, or one after another by `model.fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.context import Context, Progress
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.stopping import EarlyStopping, LearningRate, cosine

if TYPE_CHECKING:
    import keras

Columns = tuple[NDArray[np.float64], ...]
"""Inputs, outputs, and weights of the rows where there are any."""


@dataclass
class Outcome:
    """How the training of one network ended; its weights are in the network.

    Attributes
    ----------
    epochs : int
        Epochs trained.
    metrics : mapping
        The logs of the epoch whose weights were kept.
    complete : bool
        False where Ctrl-C ended the training before it was done.
    """

    epochs: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    complete: bool = True

    @property
    def finite(self) -> bool:
        """Whether the losses of the kept epoch are numbers."""
        return all(np.isfinite(v) for k, v in self.metrics.items() if k in ("loss", "val_loss"))


def train(
    nets: Sequence[keras.Model],
    streams: Sequence[int],
    data: tuple[Columns, Columns],
    settings: Training,
    epochs: int,
    ctx: Context,
    stage: str,
    ended: Callable[[int, Outcome], None] | None = None,
) -> list[Outcome]:
    """Train networks of one configuration, side by side where the backend can.

    Parameters
    ----------
    nets : sequence of keras.Model
        Built and compiled, alike but for their weights and learning rates.
    streams : sequence of int
        For each the seed of the order in which it sees the rows.
    data : pair of tuples
        Training and validation inputs and outputs, and weights of the rows where there are any.
    settings : Training
        Batches, early stopping and learning rate.
    epochs : int
        Maximum number of epochs.
    ctx : Context
        Takes the progress.
    stage : str
        What the progress is for.
    ended : callable, optional
        Told the position and the outcome of each network whose training is complete, before the next one
        begins where they train one after another.
    """
    tell = ended or (lambda at, outcome: None)
    side_by_side = backend.load().SideBySide
    why = None
    if side_by_side is not None:
        why = _needs_fit(nets[0])
        if why is None:
            try:
                for net in nets:
                    net.optimizer.build(net.trainable_variables)
                program = side_by_side(nets, *data, settings.batch_size)
                outcomes = _run_program(program, nets, streams, data, settings, epochs, ctx, stage)
            except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
                why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            else:
                for at, outcome in enumerate(outcomes):
                    if outcome.complete:
                        tell(at, outcome)
                return outcomes
        ctx.note(f"this model can't be compiled into one program an epoch ({why}); trained by model.fit")
    outcomes = []
    for at, (net, stream) in enumerate(zip(nets, streams, strict=True)):
        outcomes.append(_fit(net, stream, data, settings, epochs, ctx, stage))
        tell(at, outcomes[-1])
    return outcomes


def _needs_fit(net: keras.Model) -> str | None:
    """Return why a network must be trained by `model.fit`, or None."""
    if net.run_eagerly:
        return "it is compiled with run_eagerly"
    if getattr(net.optimizer, "use_ema", False):
        return "its optimizer averages the weights (use_ema)"
    return None


def _run_program(
    program: Any,
    nets: Sequence[keras.Model],
    streams: Sequence[int],
    data: tuple[Columns, Columns],
    settings: Training,
    epochs: int,
    ctx: Context,
    stage: str,
) -> list[Outcome]:
    n, rows = len(nets), len(data[0][0])
    fixed_rate = not program.sets_learning_rate
    initial = np.array([np.nan if fixed_rate else float(net.optimizer.learning_rate) for net in nets])
    rates = LearningRate(initial, settings, epochs)
    stopping = EarlyStopping(n, settings.patience if settings.stops_early else None, settings.min_delta)
    shuffles = [np.random.default_rng(stream) for stream in streams]
    live, ended = np.ones(n, dtype=bool), np.zeros(n, dtype=int)
    kept = [dict[str, float]() for _ in range(n)]
    order = np.zeros((n, rows), dtype=np.int32)
    stopped = False
    try:
        for epoch in range(epochs):
            order[live] = [rng.permutation(rows) for rng, going in zip(shuffles, live, strict=True) if going]
            logs = program.epoch(order, rates.at(epoch), live)
            loss = logs.get("val_loss", logs["loss"])
            rates.update(epoch, loss)
            better, done = stopping.update(epoch, loss)
            keep = live & (better if settings.restore_best else True)
            program.keep(keep)
            for at in np.flatnonzero(keep):
                kept[at] = {name: float(values[at]) for name, values in logs.items()}
            ended[live] = epoch + 1
            live &= ~done & np.isfinite(loss)
            _tell(ctx, stage, epoch + 1, epochs, int(live.sum()), stopping.best)
            if not live.any():
                break
    except KeyboardInterrupt:  # the networks that had ended are kept
        stopped = True
    ctx.clock.move(program.compile_seconds, stage, "compile")
    program.assign_best(nets)
    return [Outcome(int(ended[i]), kept[i], not (stopped and live[i])) for i in range(n)]


def _fit(
    net: keras.Model,
    stream: int,
    data: tuple[Columns, Columns],
    settings: Training,
    epochs: int,
    ctx: Context,
    stage: str,
) -> Outcome:
    import keras

    training, validation = data
    x, y = training[:2]
    watched = "val_loss" if len(validation[0]) else "loss"
    history: list[dict[str, float]] = []

    class Record(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            history.append({k: float(v) for k, v in (logs or {}).items() if k != "learning_rate"})
            losses = [row[watched] for row in history]
            _tell(ctx, stage, epoch + 1, epochs, 1, np.array([np.nanmin(losses) if losses else np.nan]))
            if not np.isfinite(losses[-1]):
                self.model.stop_training = True

    callbacks: list[Any] = [Record()]
    schedule = isinstance(net.optimizer._learning_rate, keras.optimizers.schedules.LearningRateSchedule)
    if settings.schedule == "plateau" and not schedule:
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                watched, settings.plateau_factor, settings.plateau_patience, min_lr=settings.min_learning_rate
            )
        )
    if settings.schedule == "cosine" and not schedule:
        first = float(net.optimizer.learning_rate)
        callbacks.append(keras.callbacks.LearningRateScheduler(lambda epoch, _: first * cosine(epoch, epochs)))
    patience = settings.patience if settings.stops_early else epochs + 1
    stopper = keras.callbacks.EarlyStopping(
        watched, settings.min_delta, patience, mode="min", restore_best_weights=settings.restore_best
    )
    callbacks.append(stopper)
    from invdesign_core.surrogate.networks import seeded

    with seeded(stream):  # fit shuffles by the global seed
        net.fit(
            np.asarray(x, np.float32),
            np.asarray(y, np.float32),
            sample_weight=np.asarray(training[2], np.float32) if len(training) > 2 else None,
            batch_size=settings.batch_size,
            epochs=epochs,
            validation_data=tuple(np.asarray(a, np.float32) for a in validation) if len(validation[0]) else None,
            callbacks=callbacks,
            verbose=0,
        )
    kept = stopper.best_epoch if settings.restore_best else len(history) - 1
    return Outcome(len(history), history[kept])


def _tell(ctx: Context, stage: str, epoch: int, epochs: int, live: int, best: NDArray[np.float64]) -> None:
    ctx.check_stop()
    finite = best[np.isfinite(best)]
    ctx.emit(Progress(stage, epoch, epochs, live, float(finite.min()) if len(finite) else None))
