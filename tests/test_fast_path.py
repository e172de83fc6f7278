"""The compiled epochs give what Keras' own steps give, for every layer and optimizer that people use."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers as L

from invdesign_core.context import Context
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.backend.jax import side_by_side
from invdesign_core.surrogate.loop import train
from invdesign_core.surrogate.networks import architecture_key, seeded
from invdesign_core.surrogate.settings import Training

EXACT = Training(epochs=10, batch_size=16, early_stopping=False, restore_best=False, schedule="constant")


class Doubled(keras.Model):
    """A subclassed model."""

    def __init__(self):
        super().__init__()
        self.first, self.second = L.Dense(8, "tanh"), L.Dense(1)

    def call(self, x):
        return self.second(2 * self.first(x))


def sequential(*hidden):
    return keras.Sequential([keras.Input((4,)), *hidden, L.Dense(1)])


def skip():
    x = keras.Input((4,))
    h = L.Dense(4, "selu")(x)
    return keras.Model(x, L.Dense(1)(L.Concatenate()([L.Add()([x, h]), h])))


LAYERS = {
    "dense": lambda: sequential(L.Dense(8, "selu")),
    "skip": skip,
    "subclassed": Doubled,
    "conv": lambda: sequential(L.Reshape((4, 1)), L.Conv1D(3, 2, activation="relu"), L.Flatten()),
    "layer-norm": lambda: sequential(L.Dense(8), L.LayerNormalization()),
    "batch-norm": lambda: sequential(L.Dense(8, use_bias=False), L.BatchNormalization(), L.Activation("tanh")),
    "bias before batch-norm": lambda: sequential(L.Dense(8), L.BatchNormalization(), L.Activation("tanh")),
    "dropout": lambda: sequential(L.Dense(16, "relu"), L.Dropout(0.3)),
    "noise": lambda: sequential(L.GaussianNoise(0.1), L.Dense(8, "tanh")),
    "rescaling": lambda: sequential(L.Rescaling(0.5, 0.1), L.Dense(8, "tanh")),
    "l1-l2": lambda: sequential(L.Dense(8, "tanh", kernel_regularizer=keras.regularizers.L1L2(1e-3, 1e-3))),
}


def cubic(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** 3, axis=-1)


KO = keras.optimizers
OPTIMIZERS = {
    "sgd with momentum": lambda rate: KO.SGD(rate, momentum=0.9, nesterov=True),
    "rmsprop": lambda rate: KO.RMSprop(rate),
    "adam": lambda rate: KO.Adam(rate),
    "adamw": lambda rate: KO.AdamW(rate, weight_decay=0.01),
    "nadam": lambda rate: KO.Nadam(rate),
    "adafactor": lambda rate: KO.Adafactor(rate),
    "clipnorm": lambda rate: KO.Adam(rate, clipnorm=0.1),
    "global clipnorm": lambda rate: KO.SGD(rate, global_clipnorm=0.1),
    "schedule": lambda rate: KO.Adam(KO.schedules.ExponentialDecay(rate, 10, 0.9)),
}
CASES = [(layer, "nadam", "mse") for layer in LAYERS] + [("dense", optimizer, "mse") for optimizer in OPTIMIZERS]
CASES += [("skip", "adam", cubic), ("dense", "adam", "huber")]
CASES = [(*case, "together") for case in CASES]
CASES += [(layer, "nadam", "mse", way) for layer in ("dense", "batch-norm", "dropout") for way in ("alone", "steps")]
OFTEN = {("dense", "together"), ("batch-norm", "steps"), ("dropout", "alone")}
"""The layers and ways that every run of the tests tries; the others are for the slow step."""
CASES = list(dict.fromkeys(CASES))
CASES = [
    case if (case[0], case[3]) in OFTEN and case[1] == "nadam" else pytest.param(*case, marks=pytest.mark.long)
    for case in CASES
]


def build(layer, optimizer, loss, seed, rate):
    with seeded(seed):
        net = LAYERS[layer]()
        net(np.zeros((1, 4), "float32"))
        net.compile(OPTIMIZERS[optimizer](rate), loss, metrics=["mae"])
    return net


def go(way, monkeypatch):
    """Train in one block, in a block for each processor, or step by step as large networks do."""
    monkeypatch.setattr(backend, "processors", lambda: 1 if way == "together" else 2)
    monkeypatch.setattr(side_by_side, "SMALL", 0 if way == "steps" else 50_000)


@pytest.mark.parametrize(
    ("layer", "optimizer", "loss", "way"), CASES, ids=lambda value: getattr(value, "__name__", value)
)
def test_fifty_steps_give_the_weights_that_train_on_batch_gives(layer, optimizer, loss, way, monkeypatch):
    go(way, monkeypatch)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(70, 4)).astype("float32"), rng.normal(size=(70, 1)).astype("float32")  # a short last batch
    rates, said = [1e-3, 1e-2], []
    nets = [build(layer, optimizer, loss, seed, rate) for seed, rate in enumerate(rates)]
    ctx = Context(emit=lambda event: said.append(event.data["text"]) if event.kind == "note" else None)
    part = np.arange(70), np.arange(0)
    if optimizer == "schedule":  # a rate inside a schedule is part of the configuration: groups of their own
        assert architecture_key(nets[0]) != architecture_key(nets[1])
        for seed, net in enumerate(nets):
            train([net], [10 + seed], (x, y), [part], EXACT, ctx, "tune")
    else:
        train(nets, [10, 11], (x, y), [part, part], EXACT, ctx, "tune")
    assert said == [], "it takes the fast path"
    for seed, rate in enumerate(rates):
        alone, order = build(layer, optimizer, loss, seed, rate), np.random.default_rng(10 + seed)
        for _ in range(10):
            shuffled = order.permutation(70)
            for at in range(0, 70, 16):
                alone.train_on_batch(x[shuffled[at : at + 16]], y[shuffled[at : at + 16]])
        if layer == "bias before batch-norm":
            # The bias's true gradient is 0, which Nadam turns into noise. The batch's own mean takes it out again,
            # the moving mean only with a lag: so predictions are compared as they are while training.
            ours, theirs = (np.asarray(net(x, training=True)) for net in (nets[seed], alone))
            np.testing.assert_allclose(ours, theirs, atol=1e-4)
            continue
        for ours, theirs in zip(nets[seed].get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_weights_of_rows_count_as_in_keras():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(48, 4)).astype("float32"), rng.normal(size=(48, 1)).astype("float32")
    weights = rng.uniform(0, 2, 48).astype("float32")
    net, alone = (build("dense", "adam", "mse", 0, 1e-2) for _ in range(2))
    (outcome,) = train([net], [5], (x, y, weights), [(np.arange(len(x)), np.arange(9))], EXACT, Context(), "tune")
    order = np.random.default_rng(5)
    for _ in range(10):
        shuffled = order.permutation(48)
        for at in range(0, 48, 16):
            rows = shuffled[at : at + 16]
            alone.train_on_batch(x[rows], y[rows], sample_weight=weights[rows])
    for ours, theirs in zip(net.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    loss = alone.evaluate(x[:9], y[:9], sample_weight=weights[:9], verbose=0)[0]
    assert outcome.metrics["val_loss"] == pytest.approx(loss, rel=1e-4)


@pytest.mark.long
def test_a_column_of_weights_reaches_the_training():
    import pandas as pd

    from invdesign_core.data.data import Data
    from invdesign_core.workflow.estimator import InverseDesign

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": np.tile(rng.random(100), 2), "w": np.repeat([1.0, 0.0], 100)})
    frame["y"] = np.where(frame["w"] > 0, frame["x"], -5.0)  # rows that count for nothing say something else
    frame["x"] += 1e-6 * np.arange(200)
    data = Data.from_frame(frame, ["y"], weights="w")
    assert data.space.names == ("x",)
    model = InverseDesign({"use": "selu-mlp", "learning_rate": (0.01, 0.01)}, training={"epochs": 200}).fit_data(data)
    assert model.predict(pd.DataFrame({"x": [0.5]}))[0] == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("left", [[1, 2, 4], [1, 2], [4]])
def test_a_finished_network_leaves_without_a_new_program_and_nan_harms_nobody(left, monkeypatch):
    monkeypatch.setattr(backend, "processors", lambda: 2)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 4)).astype("float32"), rng.normal(size=(40, 1)).astype("float32")
    rates, everyone, live = np.full(9, 1e-2), np.ones(9, bool), np.ones(9, bool)
    rates[3] = 1e30
    live[np.setdiff1d(np.arange(9), left)] = False
    order = np.tile(np.arange(40), (9, 1))

    def after(epochs: int):
        nets = [build("dense", "sgd with momentum", "mse", seed, 1e-2) for seed in range(9)]
        for net in nets:
            net.optimizer.build(net.trainable_variables)
        program = side_by_side.SideBySide(nets, (x, y), 40, np.tile(np.arange(40, dtype=np.int32), (9, 1)), 16)
        logs = []
        for who in (everyone, live)[:epochs]:
            logs.append(program.epoch(order, rates, who))
            program.keep(who)
        if len(left) > 2 or epochs == 1:  # the last two have a program for one network
            assert program._program._cache_size() == 1
        program.assign_best(nets)
        return [net.get_weights() for net in nets], logs

    (one, _), (two, logs) = after(1), after(2)
    assert not np.isfinite(logs[0]["loss"][3])
    assert np.isfinite(np.delete(logs[0]["loss"], 3)).all()
    assert np.isfinite(logs[1]["loss"][live]).all()
    for i in range(9):
        same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one[i], two[i], strict=True))
        assert same == (not live[i])


def test_unlike_networks_are_told_apart():
    assert architecture_key(build("skip", "adam", "mse", 0, 1e-3)) == architecture_key(
        build("skip", "adam", "mse", 1, 1e-2)
    )
    assert architecture_key(build("skip", "adam", "mse", 0, 1e-3)) != architecture_key(
        build("skip", "adam", "mae", 0, 1e-3)
    )
    assert architecture_key(build("skip", "adam", cubic, 0, 1e-3)) is None, "two closures of one name may differ"


def test_the_last_network_learns_the_same_by_a_program_of_its_own(monkeypatch):
    go("apart", monkeypatch)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 4)).astype("float32"), rng.normal(size=(40, 1)).astype("float32")
    settings = Training(epochs=14, batch_size=16, schedule="constant", patience=3, restore_best=False)
    alone, traced = side_by_side.SideBySide._alone, []
    monkeypatch.setattr(side_by_side.SideBySide, "_alone", lambda self, *state: traced.append(1) or alone(self, *state))
    weights = []
    for after in (10**9, 0):
        monkeypatch.setattr(side_by_side.SideBySide, "ALONE_AFTER", after)
        nets = [build("dense", "nadam", "mse", seed, 1e-2 if seed == 2 else 0.0) for seed in range(5)]
        parts = [(np.arange(30), np.arange(30, 40))] * 5
        outcomes = train(nets, list(range(5)), (x, y), parts, settings, Context(), "tune")
        assert outcomes[2].epochs > 1 + max(outcomes[k].epochs for k in (0, 1, 3, 4)), "it is left alone for a while"
        assert bool(traced) == (after == 0)
        weights.append(nets[2].get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.long
def test_final_losses_over_twenty_seeds_are_those_of_fit():
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (120, 4)).astype("float32")
    y = (x[:, :1] * x[:, 1:2] + np.sin(2 * x[:, 2:3])).astype("float32")
    settings = Training(epochs=60, batch_size=16, schedule="constant", patience=5)
    data = (x[:90], y[:90]), (x[90:], y[90:])
    nets = [build("dense", "nadam", "mse", seed, 1e-2) for seed in range(20)]
    parts = [(np.arange(90), np.arange(90, 120))] * 20
    ours = [o.metrics["val_loss"] for o in train(nets, list(range(20)), (x, y), parts, settings, Context(), "tune")]
    theirs = []
    for seed in range(20):
        with seeded(1000 + seed):
            net = build("dense", "nadam", "mse", 100 + seed, 1e-2)
            stop = keras.callbacks.EarlyStopping("val_loss", patience=5)
            history = net.fit(*data[0], batch_size=16, epochs=60, validation_data=data[1], callbacks=[stop], verbose=0)
        theirs.append(min(history.history["val_loss"]))
    assert ks_2samp(ours, theirs).pvalue > 0.01
    assert np.median(ours) == pytest.approx(np.median(theirs), rel=0.5)
