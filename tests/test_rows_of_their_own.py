"""Networks side by side, each on rows of its own: folds, and members that are watched on different rows."""

from __future__ import annotations

from typing import ClassVar

import keras
import keras_tuner as kt
import numpy as np
import pandas as pd
import pytest

from invdesign_core.context import Context
from invdesign_core.data.data import Data, Rows
from invdesign_core.plugin import SurrogateBuilder
from invdesign_core.surrogate import loop
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.trainer import Trainer


class Small(SurrogateBuilder):
    """A small network."""

    name: ClassVar[str] = "small"

    def build(self, data):
        net = keras.Sequential(
            [keras.Input((data.space.width,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(len(data.outputs))]
        )
        net.compile(keras.optimizers.Adam(0.02), "mse", metrics=["mae"])
        return net


def table(n=60):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(-1, 1, (n, 2)), columns=["a", "b"])
    frame["y"] = frame["a"] * frame["b"] + frame["a"]
    return Data.from_frame(frame, ["y"])


def trainer(settings, data=None):
    data = data or table()
    whole = np.arange(len(data.frame))
    return Trainer(Small(), data, Rows(data.x, data.y, whole, whole[:0], whole[:0]), settings, Context())


def folds(n, k):
    order = np.random.default_rng(1).permutation(n)
    return [(np.setdiff1d(order, order[i::k]), order[i::k]) for i in range(k)]


def trained(run, parts, numbers=None):
    numbers = list(range(len(parts))) if numbers is None else numbers
    nets = [run.build(kt.HyperParameters(), number) for number in numbers]
    outcomes = run.train(nets, numbers, "trial", "tune", [run._settings.epochs] * len(nets), parts=parts)
    return nets, outcomes


SETTINGS = Training(epochs=15, batch_size=16, schedule="constant", early_stopping=False, restore_best=False)


@pytest.mark.parametrize("by_fit", [False, True])
def test_a_network_learns_from_its_own_rows_alone_and_is_watched_on_its_own(by_fit, monkeypatch):
    if by_fit:
        monkeypatch.setattr(loop.backend.load(), "SideBySide", None)
    data, parts = table(), folds(60, 5)
    everything = trainer(SETTINGS, data)
    nets, outcomes = trained(everything, parts)
    poisoned = trainer(SETTINGS, data)
    poisoned._z = poisoned._z.copy()
    poisoned._z[parts[2][1]] = 1e6  # the validation rows of the third network teach the others, but not it
    others, _ = trained(poisoned, parts)
    for i in range(5):
        same = all(
            np.allclose(a, b, atol=1e-6) for a, b in zip(nets[i].get_weights(), others[i].get_weights(), strict=True)
        )
        assert same == (i == 2)
    for net, outcome, (_, held) in zip(nets, outcomes, parts, strict=True):
        error = everything.answer(net, held) - everything._z[held]
        assert outcome.metrics["val_loss"] == pytest.approx(np.mean(error**2), rel=1e-4)
        assert outcome.metrics["val_mae"] == pytest.approx(np.mean(np.abs(error)), rel=1e-4)


def test_what_becomes_of_a_network_does_not_depend_on_the_rows_of_those_beside_it():
    parts = folds(61, 5)  # of 48 or 49 rows, so an epoch has 48 or 64
    parts.append((parts[0][0][:20], parts[0][1]))
    run = trainer(SETTINGS, table(61))
    together, outcomes = trained(run, parts)
    for i, part in enumerate(parts):
        (alone,), (outcome,) = trained(run, [part], [i])
        for a, b in zip(alone.get_weights(), together[i].get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
        assert outcome.epochs == outcomes[i].epochs


@pytest.mark.parametrize(("rows", "batch", "length"), [(64, 32, 64), (65, 32, 96), (20, 32, 24), (3, 4, 4), (5, 2, 6)])
def test_an_epoch_has_whole_batches(rows, batch, length):
    assert loop.filled_length(rows, batch) == length


def test_each_row_is_seen_once_or_twice_in_an_epoch(monkeypatch):
    seen = []

    class Records:
        sets_learning_rate, compile_seconds = True, 0.0

        def epoch(self, order, rate, live):
            seen.append(order.copy())
            return {"loss": np.ones(len(live))}

        def keep(self, better):
            pass

        def assign_best(self, nets):
            pass

    parts = [np.arange(0, 40, 2), np.arange(18)]
    nets = [trainer(SETTINGS).build(kt.HyperParameters(), i) for i in range(2)]
    loop._run_program(Records(), nets, [1, 2], parts, 24, SETTINGS, Context(), "tune")
    for order in seen:
        for row, part in zip(order, parts, strict=True):
            numbers, counts = np.unique(row, return_counts=True)
            assert np.array_equal(numbers, part)
            assert set(counts) == {1, 2}
    again = [set(row[0][len(parts[0]) :]) for row in seen]
    assert len({frozenset(some) for some in again}) > 5, "others are seen twice in each epoch"
