"""Early stopping and learning-rate plateaus for many networks at once, by Keras' own rules.

Follows ``keras.callbacks.EarlyStopping`` and ``keras.callbacks.ReduceLROnPlateau`` of Keras 3,
which compare in float32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from invdesign_core.surrogate.settings import Training

PLATEAU_MIN_DELTA = 1e-4
"""Keras' default for ``ReduceLROnPlateau(min_delta=...)``."""


class EarlyStopping:
    """Watch a loss of n networks and say which became better and which are done.

    Parameters
    ----------
    n : int
        Number of networks.
    patience : int or None
        Epochs without improvement after which a network is done; None is never.
    min_delta : float
        An improvement smaller than this is none.
    """

    def __init__(self, n: int, patience: int | None, min_delta: float = 0.0) -> None:
        self.patience = patience
        self.min_delta = min_delta
        self.best = np.full(n, np.inf)
        self.best_epoch = np.zeros(n, dtype=int)
        self.wait = np.zeros(n, dtype=int)

    def update(self, epoch: int, loss: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Take the (n,) losses of an epoch; return (n,) which improved and (n,) which are done."""
        better = _less(loss + self.min_delta, self.best) | (epoch == 0)
        self.best = np.where(better, loss, self.best)
        self.best_epoch = np.where(better, epoch, self.best_epoch)
        self.wait = np.where(better, 0, self.wait + 1)
        done = np.zeros_like(better) if self.patience is None else ~better & (self.wait >= self.patience)
        return better, done & (epoch > 0)


class LearningRate:
    """The learning rate of n networks, epoch by epoch.

    Parameters
    ----------
    initial : ndarray
        (n,) learning rates to begin with.
    settings : Training
        The schedule and its numbers.
    epochs : int
        Epochs over which a cosine falls to zero.
    """

    def __init__(self, initial: NDArray[np.float64], settings: Training, epochs: int) -> None:
        self.initial = initial
        self.settings = settings
        self.epochs = epochs
        self.rate = _float32(initial)  # Keras keeps it in float32
        self.best = np.full(len(initial), np.inf)
        self.wait = np.zeros(len(initial), dtype=int)

    def at(self, epoch: int) -> NDArray[np.float64]:
        """Return the (n,) learning rates to train an epoch with."""
        if self.settings.schedule == "cosine":
            return self.initial * cosine(epoch, self.epochs)
        return self.rate

    def update(self, epoch: int, loss: NDArray[np.float64]) -> None:
        """Take the (n,) losses of an epoch."""
        if self.settings.schedule != "plateau":
            return
        better = _less(loss + PLATEAU_MIN_DELTA, self.best) | (epoch == 0)
        self.best = np.where(better, loss, self.best)
        self.wait = np.where(better, 0, self.wait + 1)
        floor = self.settings.min_learning_rate
        drop = ~better & (self.wait >= self.settings.plateau_patience) & (self.rate > np.float32(floor))
        lower = _float32(np.maximum(self.rate * self.settings.plateau_factor, floor))
        self.rate = np.where(drop, lower, self.rate)
        self.wait = np.where(drop, 0, self.wait)


def cosine(epoch: int, epochs: int) -> float:
    """Return the share of the learning rate that a cosine leaves in an epoch: 1 at the first, near 0 at the last."""
    return float(0.5 * (1 + np.cos(np.pi * epoch / max(epochs, 1))))


def _less(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_]:
    return a.astype(np.float32) < b.astype(np.float32)


def _float32(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.astype(np.float32).astype(np.float64)
