"""Training: the same as Keras', trial by trial, whoever trains beside it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from invdesign_core.context import Context
from invdesign_core.data.data import Data, split_rows
from invdesign_core.errors import ConfigError, PluginError, TrainingError
from invdesign_core.plugin import SurrogateBuilder, Trial, Tuner
from invdesign_core.surrogate.evaluate import Evaluator
from invdesign_core.surrogate.loop import train
from invdesign_core.surrogate.networks import architecture_key, seeded
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.trials import TrialTable


def table(n=120, seed=0):
    import pandas as pd

    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.uniform(-1, 1, (n, 2)), columns=["a", "b"])
    frame["y"] = frame["a"] * frame["b"] + frame["a"]
    return Data.from_frame(frame, ["y"])


def network(seed=0, rate=0.01, width=8, optimizer="Nadam", metrics=()):
    with seeded(seed):
        net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(width, "tanh"), keras.layers.Dense(1)])
        net.compile(getattr(keras.optimizers, optimizer)(rate), "mse", metrics=list(metrics))
    return net


class Small(SurrogateBuilder):
    """A small network with its learning rate and width to be tuned."""

    name = "small"

    def build(self, hp, data):
        rate = hp.Float("rate", 1e-3, 1e-1, sampling="log")
        width = hp.Choice("width", [4, 8])
        net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(width, "tanh"), keras.layers.Dense(1)])
        net.compile(keras.optimizers.SGD(rate), "mse", metrics=["mae", "r2_score"])
        return net


def evaluator(builder=None, tuner=None, training=None, seed=0, table_=None, emit=lambda event: None):
    data, ctx = table(), Context(seed, emit=emit)
    training = training or Training(epochs=5, batch_size=16)
    rows = split_rows(data, training.held_out(raced=False), training.validation, ctx)
    return Evaluator(builder or Small(), data, rows, tuner or Tuner(), training, ctx, table_)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "Nadam", "RMSprop"])
def test_side_by_side_gives_the_weights_that_train_on_batch_gives(optimizer):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 2)), rng.normal(size=(50, 1))  # the last batch is short
    settings = Training(epochs=10, batch_size=16, early_stopping=False, restore_best=False, schedule="constant")
    rates = [0.01, 0.03]
    nets = [network(i, rate, optimizer=optimizer) for i, rate in enumerate(rates)]
    part = np.arange(50), np.arange(0)
    train(nets, [7, 8], (x, y), [part, part], settings, Context(), "tune")
    for i, rate in enumerate(rates):
        alone, order = network(i, rate, optimizer=optimizer), np.random.default_rng(7 + i)
        for _ in range(10):
            shuffled = order.permutation(50)
            for at in range(0, 50, 16):
                rows = shuffled[at : at + 16]
                alone.train_on_batch(x[rows].astype("float32"), y[rows].astype("float32"))
        for ours, theirs in zip(nets[i].get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_reported_metrics_are_those_of_the_weights_that_are_kept():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 2)), rng.normal(size=(60, 1))
    held = rng.normal(size=(20, 2)), rng.normal(size=(20, 1))
    net = network(rate=0.1, metrics=["mae"])
    settings = Training(epochs=40, batch_size=16, patience=5, schedule="constant")
    columns = tuple(np.concatenate(pair) for pair in zip((x, y), held, strict=True))
    part = np.arange(60), np.arange(60, 80)
    (outcome,) = train([net], [0], columns, [part], settings, Context(), "tune")
    loss, mae = net.evaluate(*(a.astype("float32") for a in held), verbose=0)
    assert outcome.metrics["val_loss"] == pytest.approx(loss, rel=1e-5)
    assert outcome.metrics["val_mae"] == pytest.approx(mae, rel=1e-5)
    assert outcome.epochs < 40, "it overfits, so it must have stopped"


@pytest.mark.long
def test_a_trial_does_not_depend_on_those_beside_it():
    trials = [Trial({"rate": r, "width": w}) for r in (0.01, 0.02, 0.05) for w in (4, 8)]
    together = evaluator()(trials)
    one_by_one = evaluator()
    for trial, beside in zip(trials, together, strict=True):
        (alone,) = one_by_one([trial])
        assert alone.score == pytest.approx(beside.score, rel=1e-5)
        assert alone.id == beside.id


def test_only_networks_of_one_configuration_train_in_one_program():
    def with_dropout(share):
        net = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(share), keras.layers.Dense(1)])
        net.compile("adam", "mse")
        return net

    assert architecture_key(network(0, 0.1)) == architecture_key(network(1, 0.2))
    assert architecture_key(network(width=8)) != architecture_key(network(width=9))
    assert architecture_key(network(optimizer="SGD")) != architecture_key(network(optimizer="Adam"))
    assert architecture_key(with_dropout(0.1)) != architecture_key(with_dropout(0.2)), (
        "the same shapes, another network"
    )


def test_a_trial_that_diverges_is_listed_and_never_ranked_best():
    run = evaluator(training=Training(epochs=30, batch_size=16))
    results = run([Trial({"rate": 1e6}), Trial({"rate": 0.05})])
    assert [r.status for r in results] == ["failed", "ok"]
    assert "diverged" in results[0].message
    assert run.best.id == 1
    assert results[1].score == pytest.approx(
        evaluator(training=Training(epochs=30, batch_size=16))([Trial({"rate": 1e-3}), Trial({"rate": 0.05})])[1].score,
        rel=1e-5,
    )


def test_nothing_usable_is_an_error_with_advice():
    run = evaluator(training=Training(epochs=30, batch_size=16))
    run([Trial({"rate": 1e9})])
    with pytest.raises(TrainingError, match="smaller learning rates"):
        _ = run.best


def test_a_killed_search_trains_only_what_is_missing(tmp_path):
    trials = [Trial({"rate": r}) for r in (0.01, 0.05, 0.1)]
    whole = evaluator()
    expected = whole(trials)
    evaluator(table_=TrialTable(tmp_path))(trials[:2])
    with (tmp_path / "trials.jsonl").open("a") as file:
        file.write('{"key": "half a li')  # what a kill leaves behind
    trained = []
    resumed = evaluator(
        table_=TrialTable(tmp_path), emit=lambda event: trained.append(event) if event.kind == "trial" else None
    )
    results = resumed(trials)
    assert [event.data["id"] for event in trained] == [2]
    assert [r.score for r in results] == pytest.approx([r.score for r in expected], rel=1e-5)
    models, _ = resumed.winner()
    x = np.random.default_rng(0).uniform(-1, 1, (10, 2)).astype("float32")
    np.testing.assert_allclose(models[0].predict(x, verbose=0), whole.winner()[0][0].predict(x, verbose=0), atol=1e-5)


def test_a_trial_can_go_on_from_another():
    run = evaluator(training=Training(epochs=4, batch_size=16, restore_best=False))
    first = run([Trial({"rate": 0.05}, epochs=4)])[0]
    further, fresh = run([Trial({"rate": 0.05}, epochs=20, resume=first.id), Trial({"rate": 0.05}, epochs=20)])
    assert further.score < first.score
    assert further.epochs == 20
    assert fresh.score != further.score


def test_a_large_objective_is_turned_so_that_smaller_is_better():
    run = evaluator(tuner=Tuner(objective="val_r2_score"), training=Training(epochs=40, batch_size=16))
    good, bad = run([Trial({"rate": 0.1}), Trial({"rate": 1e-3})])
    assert good.score < bad.score
    assert run.winner()[1]["score"] == -good.score


def test_an_objective_that_no_metric_reports_is_refused_before_training():
    with pytest.raises(ConfigError) as error:
        evaluator(tuner=Tuner(objective="val_mea"))
    assert "did you mean 'val_mae'?" in str(error.value)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (lambda: keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]), "isn't compiled"),
        (lambda: network_of(3, 1), "expected (None, 2)"),
        (lambda: network_of(2, 4), "expected (None, 1)"),
        (lambda: "no model", "built str"),
    ],
)
def test_a_model_of_another_shape_is_refused_with_what_was_found(net, message):
    class Odd(SurrogateBuilder):
        name = "odd"

        def build(self, hp, data):
            return net()

    with pytest.raises(PluginError) as error:
        evaluator(Odd())
    assert message in str(error.value)


def network_of(inputs, outputs):
    net = keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(outputs)])
    net.compile("sgd", "mse")
    return net


@pytest.mark.long
def test_training_again_keeps_the_better_of_the_two():
    notes = []
    for seed in range(6):
        training = Training(epochs=15, batch_size=16, retrain=True)
        data = table()
        ctx = Context(seed, emit=lambda e: notes.append(e.data["text"]) if e.kind == "note" else None)
        rows = split_rows(data, 0.1, 0.2, ctx)
        run = Evaluator(Small(), data, rows, Tuner(), training, ctx)
        run([Trial({"rate": 0.05})])
        (model,), report = run.winner()
        held = rows.validation
        z = run.scaling.outputs(model.predict(rows.x[held].astype("float32"), verbose=0))
        loss = float(np.mean((z - run.scaling.outputs(rows.y[held])) ** 2))
        assert loss <= run.best.metrics["val_loss"] * (1 + 1e-4)
        assert report["retrained"] == (loss < run.best.metrics["val_loss"] * (1 - 1e-4)) or len(notes)
    assert any("the trial's weights are kept" in note for note in notes)


def test_members_differ_and_the_first_is_the_winner():
    run = evaluator(training=Training(epochs=5, batch_size=16, members=3))
    run([Trial({"rate": 0.05})])
    models, _ = run.winner()
    x = np.zeros((1, 2), "float32")
    answers = {float(m.predict(x, verbose=0)[0, 0]) for m in models}
    assert len(answers) == 3


@pytest.mark.slow
def test_what_can_not_be_compiled_is_trained_by_fit_and_says_so():
    class Eager(Small):
        name = "eager"

        def build(self, hp, data):
            net = super().build(hp, data)
            net.run_eagerly = True
            return net

    notes = []
    run = evaluator(
        Eager(),
        training=Training(epochs=2, batch_size=64),
        emit=lambda e: notes.append(e.data["text"]) if e.kind == "note" else None,
    )
    (result,) = run([Trial({"rate": 0.05})])
    assert result.status == "ok"
    assert "trained by model.fit" in notes[0]
