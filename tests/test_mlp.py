"""The network for tables of one's own, and its optimizer."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest

from invdesign_core.context import Context
from invdesign_core.data.data import Data, Rows
from invdesign_core.plugin import Trial, Tuner
from invdesign_core.surrogate.evaluate import Evaluator
from invdesign_core.surrogate.loop import train
from invdesign_core.surrogate.networks import architecture_key, seeded
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.trainer import Trainer
from invdesign_plugins.surrogates.decayed_adam import DecayedAdam
from invdesign_plugins.surrogates.mlp import MLP
from invdesign_plugins.surrogates.selu_mlp import SeluMLP

pytestmark = pytest.mark.long
"""Whole trainings."""


def table(n=200, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.uniform(-1, 1, (n, 2)), columns=["a", "b"])
    frame["y"] = np.sin(3 * frame["a"]) + frame["b"] ** 2
    return Data.from_frame(frame, ["y"])


def network(optimizer, seed=0):
    with seeded(seed):
        net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, "swish"), keras.layers.Dense(2)])
    net.compile(optimizer, "mse")
    return net


def test_weight_decays_train_side_by_side_and_give_what_keras_adamw_gives():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 3)).astype("float32"), rng.normal(size=(64, 2)).astype("float32")
    decays = [0.0, 0.1, 1.0]
    nets = [network(DecayedAdam(0.01, decay), seed) for seed, decay in enumerate(decays)]
    assert len({architecture_key(net) for net in nets}) == 1
    settings = Training(epochs=12, batch_size=16, schedule="constant", early_stopping=False, restore_best=False)
    part = np.arange(64), np.arange(0)
    train(nets, [5, 6, 7], (x, y), [part] * 3, settings, Context(), "tune")
    for seed, decay in enumerate(decays):
        theirs = keras.optimizers.AdamW(0.01, weight_decay=decay)
        theirs.exclude_from_weight_decay(var_names=["bias"])
        alone, order = network(theirs, seed), np.random.default_rng(5 + seed)
        for _ in range(12):
            shuffled = order.permutation(64)
            for at in range(0, 64, 16):
                alone.train_on_batch(x[shuffled[at : at + 16]], y[shuffled[at : at + 16]])
        for a, b in zip(nets[seed].get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_a_decay_that_is_no_variable_is_part_of_the_configuration():
    nets = [network(keras.optimizers.AdamW(0.01, weight_decay=decay)) for decay in (0.0, 0.1)]
    assert architecture_key(nets[0]) != architecture_key(nets[1])
    assert architecture_key(network(DecayedAdam(0.01))) != architecture_key(network(DecayedAdam(0.01, beta_1=0.5)))


def test_the_optimizer_is_saved_and_loaded_with_the_network(tmp_path):
    net = network(DecayedAdam(0.01, 0.25))
    net.optimizer.build(net.trainable_variables)
    net.save(tmp_path / "net.keras")
    loaded = keras.saving.load_model(tmp_path / "net.keras").optimizer
    assert isinstance(loaded, DecayedAdam)
    assert loaded.get_config()["weight_decay"] == 0.25
    assert float(loaded.weight_decay) == 0.25


def spread(net):
    return [float(np.std(layer.kernel) * np.sqrt(layer.kernel.shape[0])) for layer in net.layers if layer.weights][:-1]


@pytest.mark.parametrize("builder", [MLP, SeluMLP])
@pytest.mark.parametrize(("activation", "variance"), [("swish", 1), ("relu", 2), ("leaky_relu", 2), ("selu", 1)])
def test_initial_weights_suit_the_activation(builder, activation, variance):
    data = table()
    plugin = builder(widths=[200, 200], activation=activation)
    rows = Rows(data.x, data.y, np.arange(200), np.arange(0), np.arange(0))
    import keras_tuner as kt

    net = Trainer(plugin, data, rows, Training(), Context()).build(kt.HyperParameters(), 0)
    assert spread(net)[1] == pytest.approx(np.sqrt(variance), rel=0.05)


@pytest.mark.parametrize("rows", [4, 50, 100, 800, 1999, 2000, 8000, 200_000])
def test_the_recipe_is_one_that_training_takes(rows):
    training = Training().with_recipe(MLP().recipe(rows))
    assert training.schedule == "cosine"
    assert training.members == 5
    assert training.epochs >= 20


@pytest.mark.parametrize(
    ("options", "message"),
    [({"widths": [0]}, "positive"), ({"weight_decay": [-1.0]}, "from 0 up"), ({"weight_decay": []}, "at least 1")],
)
def test_what_can_not_be_used_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MLP(**options)


def test_the_tuner_is_asked_for_the_weight_decay_alone():
    data = table()
    rows = Rows(data.x, data.y, np.arange(150), np.arange(150, 200), np.arange(0))
    training = Training(epochs=3)
    run = Evaluator(MLP(), data, rows, Tuner(), training, Context())
    assert [hp.name for hp in run.space.space] == ["weight_decay"]
    results = run([Trial({"weight_decay": decay}) for decay in (0.0, 0.3)])
    assert results[0].score != results[1].score
    assert not Evaluator(MLP(weight_decay=[0.1]), data, rows, Tuner(), training, Context()).space.space


@pytest.mark.long
def test_five_of_five_members_learn_a_wave():
    import keras_tuner as kt

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(-1, 1, (3000, 2)), columns=["a", "b"])
    frame["y"] = np.sin(3 * np.pi * frame["a"]) + np.cos(3 * np.pi * frame["b"])
    data, rows = Data.from_frame(frame, ["y"]), np.arange(3000)
    builder = MLP(weight_decay=[0.0])
    settings = Training(epochs=160).with_recipe(builder.recipe(1000))
    trainer = Trainer(builder, data, Rows(data.x, data.y, rows[:1000], rows[:0], rows[1000:]), settings, Context())
    nets = [trainer.build(kt.HyperParameters(), number) for number in range(5)]
    trainer.train(nets, range(5), "member", "train", [settings.epochs] * 5)
    errors = [float(np.sqrt(trainer.squared_errors(net, rows[1000:]).mean())) for net in nets]
    assert max(errors) < 0.05
    assert max(errors) < 4 * min(errors), "none is far from the others"
