"""The epochs: networks side by side in one program, or one after another by `model.fit`; when to stop, at what rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.context import Context, Progress, TrainingEnded
from invdesign_core.errors import described
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.networks import seeded
from invdesign_core.surrogate.rows_on_disk import RowsOnDisk
from invdesign_core.surrogate.settings import Training

if TYPE_CHECKING:
    import keras

LOSSES = ("loss", "val_loss")
"""What is told of each epoch once a training has ended."""
MOST_EPOCHS = 200
"""Epochs of a network whose losses are told at most."""
Columns = tuple[NDArray[np.float64], ...]
"""(n, e) inputs, (n, m) outputs, and (n,) weights of the rows where there are any."""
Part = tuple[NDArray[np.intp], NDArray[np.intp]]
"""The numbers of the rows that a network learns from, and of those that are watched."""
PLATEAU_MIN_DELTA = 1e-4
"""Keras' default for ``ReduceLROnPlateau(min_delta=...)``."""


@dataclass
class Outcome:
    """How a training ended: epochs, logs of the epoch that was kept, False where Ctrl-C cut it short, why it failed."""

    epochs: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    complete: bool = True
    message: str = ""

    @property
    def ok(self) -> bool:
        """Whether it came to an end, with losses that are numbers."""
        return not self.message and all(np.isfinite(self.metrics.get(k, 0.0)) for k in ("loss", "val_loss"))


class EarlyStopping:
    """Which of n networks became better and which are done, as ``keras.callbacks.EarlyStopping`` has it, in float32."""

    def __init__(self, n: int, patience: int | None, min_delta: float = 0.0) -> None:
        """Set the epochs without improvement after which a network is done; None is never."""
        self.patience, self.min_delta = patience, min_delta
        self.best = np.full(n, np.inf)
        self.wait = np.zeros(n, dtype=int)

    def update(self, epoch: int, loss: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Take the (n,) losses of an epoch; return (n,) which improved and (n,) which are done."""
        better = ((loss + self.min_delta).astype(np.float32) < self.best.astype(np.float32)) | (epoch == 0)
        self.best = np.where(better, loss, self.best)
        self.wait = np.where(better, 0, self.wait + 1)
        done = np.zeros_like(better) if self.patience is None else ~better & (self.wait >= self.patience)
        return better, done


class LearningRate:
    """The learning rates of n networks; plateaus as ``keras.callbacks.ReduceLROnPlateau`` has them, in float32."""

    def __init__(self, initial: NDArray[np.float64], settings: Training) -> None:
        """Take the (n,) rates to begin with; after the warm-up a cosine falls to zero over `settings.epochs`."""
        self.initial, self.settings = initial, settings
        self.rate = _float32(initial)
        self.plateau = EarlyStopping(len(initial), settings.plateau_patience, PLATEAU_MIN_DELTA)

    def at(self, epoch: int) -> NDArray[np.float64]:
        """Return the (n,) learning rates to train an epoch with."""
        return self.initial * cosine(epoch, self.settings) if self.settings.schedule == "cosine" else self.rate

    def update(self, epoch: int, loss: NDArray[np.float64]) -> None:
        """Take the (n,) losses of an epoch."""
        if self.settings.schedule != "plateau":
            return
        _, stuck = self.plateau.update(epoch, loss)
        floor = self.settings.min_learning_rate
        drop = stuck & (self.rate > np.float32(floor))
        self.rate = np.where(drop, _float32(np.maximum(self.rate * self.settings.plateau_factor, floor)), self.rate)
        self.plateau.wait[drop] = 0


def cosine(epoch: int, settings: Training) -> float:
    """Return the share of the learning rate in an epoch: rising in equal steps to 1 where warm-up ends, then falling.

    It is 1 at the first epoch where there is no warm-up, and near 0 at the last.
    """
    rising = round(settings.warmup * settings.epochs)
    if epoch < rising:
        return (epoch + 1) / (rising + 1)
    return float(0.5 * (1 + np.cos(np.pi * (epoch - rising) / (settings.epochs - rising))))


def _float32(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to float32, in which Keras keeps the rate."""
    return values.astype(np.float32).astype(np.float64)


def train(
    nets: Sequence[keras.Model],
    streams: Sequence[int],
    columns: Columns,
    parts: Sequence[Part],
    settings: Training,
    ctx: Context,
    stage: str,
    ended: Callable[[int, Outcome], None] = lambda at, outcome: None,
    length: int | None = None,
) -> list[Outcome]:
    """Train networks alike but for weights and rates, each on its part of the rows of `columns` in an order of its own.

    In one program all see `length` rows an epoch, by default as many as each has; where one has fewer, some are seen
    twice, others in each epoch. Validation rows are filled up to a common number with the first of them.

    `ended` is told the position and the outcome of each network whose training is complete, before the next one begins
    where they train one after another.
    """
    side_by_side = backend.load().SideBySide
    if side_by_side is not None:
        why = None
        if nets[0].run_eagerly:
            why = "it is compiled with run_eagerly"
        elif getattr(nets[0].optimizer, "use_ema", False):
            why = "its optimizer averages the weights (use_ema)"
        else:
            try:
                for net in nets:
                    net.optimizer.build(net.trainable_variables)
                length = length or len(parts[0][0])
                program = side_by_side(nets, columns, length, _filled([part[1] for part in parts]), settings.batch_size)
                learns = [part[0] for part in parts]
                outcomes = _run_program(program, nets, streams, learns, length, settings, ctx, stage)
            except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
                why = described(error).splitlines()[0]
            else:
                for at, outcome in enumerate(outcomes):
                    if outcome.complete:
                        ended(at, outcome)
                return outcomes
        ctx.note(f"this model can't be compiled into one program an epoch ({why}); trained by model.fit")
    outcomes = []
    for at, (net, stream, part) in enumerate(zip(nets, streams, parts, strict=True)):
        data = tuple(tuple(column[rows] for column in columns) for rows in part)
        outcomes.append(_fit(net, stream, (data[0], data[1]), settings, ctx, stage))
        ended(at, outcomes[-1])
    return outcomes


def train_from_disk(
    nets: Sequence[keras.Model],
    streams: Sequence[int],
    rows: RowsOnDisk,
    watched: tuple[NDArray[np.float64], NDArray[np.float64]],
    settings: Training,
    ctx: Context,
    stage: str,
    ended: Callable[[int, Outcome], None],
) -> list[Outcome]:
    """Train networks one after another on the same rows, which stay on disk; others are watched."""
    outcomes: list[Outcome] = []
    for net in nets:
        net.optimizer.build(net.trainable_variables)
    program = backend.load().FromDisk(nets[0], rows, watched, settings.batch_size)
    for at, (net, stream) in enumerate(zip(nets, streams, strict=True)):
        program.begin(net)
        outcomes += _run_program(program, [net], [stream], [np.arange(rows.runs)], rows.runs, settings, ctx, stage)
        if not outcomes[at].complete:
            break
        ended(at, outcomes[at])
    return outcomes


def learns_from_disk(net: keras.Model) -> bool:
    """Whether a network can learn from rows that stay on disk."""
    whole_graph = not net.run_eagerly and not getattr(net.optimizer, "use_ema", False)
    return backend.load().FromDisk is not None and whole_graph


def filled_length(rows: int, batch_size: int) -> int:
    """Return how many rows a network with rows of its own sees in an epoch: whole batches.

    So networks whose parts differ by a few rows fit into one program, and what becomes of one does not depend on those
    beside it.
    """
    unit = batch_size if rows >= batch_size else min(batch_size, 8)
    return -(-rows // unit) * unit


def _filled(parts: Sequence[NDArray[np.intp]]) -> NDArray[np.int32]:
    """Return (n, v) row numbers, those of shorter parts repeated from their beginning."""
    longest = max(len(part) for part in parts)
    return np.stack([np.resize(part, longest if len(part) else 0) for part in parts]).astype(np.int32)


def _run_program(
    program: Any,
    nets: Sequence[keras.Model],
    streams: Sequence[int],
    parts: Sequence[NDArray[np.intp]],
    length: int,
    settings: Training,
    ctx: Context,
    stage: str,
) -> list[Outcome]:
    """Train all networks in a `SideBySide`, each on its rows, so many of them in an epoch."""
    n, epochs = len(nets), settings.epochs
    fixed_rate = not program.sets_learning_rate
    initial = np.array([np.nan if fixed_rate else float(net.optimizer.learning_rate) for net in nets])
    rates = LearningRate(initial, settings)
    stopping = EarlyStopping(n, settings.patience if settings.stops_early else None, settings.min_delta)
    shuffles = [np.random.default_rng(stream) for stream in streams]
    live, ended = np.ones(n, dtype=bool), np.zeros(n, dtype=int)
    kept = [dict[str, float]() for _ in range(n)]
    order = np.zeros((n, length), dtype=np.int32)
    stopped, history = False, list[Mapping[str, NDArray[np.float64]]]()
    try:
        for epoch in range(epochs):
            for i in np.flatnonzero(live).tolist():
                order[i] = np.resize(shuffles[i].permutation(parts[i]), length)
            logs = program.epoch(order, rates.at(epoch), live)
            loss = logs.get("val_loss", logs["loss"])
            history.append({name: logs[name] for name in LOSSES if name in logs})
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
    _tell_losses(
        ctx, stage, [[{k: float(v[i]) for k, v in row.items()} for row in history[: ended[i]]] for i in range(n)]
    )
    program.assign_best(nets)
    return [Outcome(int(ended[i]), kept[i], not (stopped and live[i])) for i in range(n)]


def _fit(
    net: keras.Model,
    stream: int,
    data: tuple[Columns, Columns],
    settings: Training,
    ctx: Context,
    stage: str,
) -> Outcome:
    """Train one network by its own `fit`, with Keras' callbacks."""
    import keras

    training, validation = (tuple(np.asarray(column, np.float32) for column in part) for part in data)
    x, y, *weights = training
    epochs = settings.epochs
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
        callbacks.append(keras.callbacks.LearningRateScheduler(lambda epoch, _: first * cosine(epoch, settings)))
    patience = settings.patience if settings.stops_early else epochs + 1
    stopper = keras.callbacks.EarlyStopping(
        watched, settings.min_delta, patience, mode="min", restore_best_weights=settings.restore_best
    )
    callbacks.append(stopper)
    with seeded(stream):  # fit shuffles by the global seed
        net.fit(
            x,
            y,
            sample_weight=weights[0] if weights else None,
            batch_size=settings.batch_size,
            epochs=epochs,
            validation_data=validation if len(validation[0]) else None,
            callbacks=callbacks,
            verbose=0,
        )
    kept = stopper.best_epoch if settings.restore_best else len(history) - 1
    _tell_losses(ctx, stage, [history])
    return Outcome(len(history), history[kept])


def _tell_losses(ctx: Context, stage: str, histories: Sequence[Sequence[Mapping[str, float]]]) -> None:
    """Emit the losses of networks by epoch, of some epochs where they are many; a race has too many networks for it."""
    if stage not in ("tune", "train"):
        return
    told = []
    for history in histories:
        if not history:
            continue
        some = np.unique(np.linspace(0, len(history) - 1, min(len(history), MOST_EPOCHS)).round().astype(int)).tolist()
        losses = {name: [_finite(history[at][name]) for at in some] for name in LOSSES if name in history[0]}
        told.append({"epoch": [at + 1 for at in some], **losses})
    if told:
        ctx.emit(TrainingEnded(stage, told))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _tell(ctx: Context, stage: str, epoch: int, epochs: int, live: int, best: NDArray[np.float64]) -> None:
    """Emit the progress of a stage, or stop it where that was asked for."""
    ctx.check_stop()
    finite = best[np.isfinite(best)]
    ctx.emit(Progress(stage, epoch, epochs, live, float(finite.min()) if len(finite) else None))
