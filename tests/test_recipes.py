"""Recipes of builders for `[training]`, and models in closed form, which are fitted in one go."""

from __future__ import annotations

from typing import ClassVar

import keras
import numpy as np
import pandas as pd
import pytest

from invdesign_core.context import Context
from invdesign_core.data.data import Data
from invdesign_core.errors import PluginError
from invdesign_core.plugin import SurrogateBuilder, Trial, Tuner
from invdesign_core.surrogate.loop import LearningRate
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.trials import TrialTable
from invdesign_core.workflow.train import fit, settle


class Once(Tuner):
    """Asks for one trial."""

    name: ClassVar[str] = "once"

    def search(self, space, evaluate, ctx):
        evaluate([Trial()])


class Line(keras.Sequential):
    """A linear map, by least squares; it remembers what it was fitted on."""

    def fit(self, x, y, sample_weight=None):
        self.given = [np.asarray(x), np.asarray(y), sample_weight]
        ones = np.column_stack([x, np.ones(len(x))])
        root = np.ones((len(x), 1)) if sample_weight is None else np.sqrt(sample_weight)[:, None]
        found = np.linalg.lstsq(root * ones, root * np.nan_to_num(y), rcond=None)[0]
        self.layers[-1].set_weights([found[:-1], found[-1]])


class Linear(SurrogateBuilder):
    """A linear map in closed form."""

    name: ClassVar[str] = "linear"
    closed_form: ClassVar[bool] = True
    built: ClassVar[list] = []

    def build(self, data):
        net = Line([keras.Input((data.space.width,)), keras.layers.Dense(len(data.outputs))])
        self.built.append(net)
        return net


class Quick(SurrogateBuilder):
    """A small network with a recipe of its own."""

    name: ClassVar[str] = "quick"

    def build(self, data):
        net = keras.Sequential([keras.Input((data.space.width,)), keras.layers.Dense(len(data.outputs))])
        net.compile("sgd", "mse")
        return net

    def recipe(self, rows):
        return {"epochs": 600 // rows, "schedule": "cosine", "members": 2}


def table(n=60, partial=False, weights=None):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(-1, 1, (n, 2)), columns=["a", "b"])
    frame["y"], frame["v"] = 3 * frame["a"] - frame["b"] + 5, frame["b"] * 1e3
    if partial:
        frame.loc[::7, "v"] = np.nan
    if weights is not None:
        frame["w"] = weights
    return Data.from_frame(frame, ["y", "v"], partial=partial, weights=None if weights is None else "w")


def test_what_the_user_sets_wins_over_the_recipe_and_the_recipe_over_the_defaults():
    training = Training(epochs=7, test=0.0).with_recipe({"epochs": 100, "batch_size": 5})
    assert (training.epochs, training.batch_size, training.patience) == (7, 5, Training().patience)
    assert training.with_recipe({"batch_size": 9}).batch_size == 9, "only what the user set stays"


@pytest.mark.parametrize("recipe", [{"epoch": 5}, {"epochs": 0}])
def test_a_recipe_that_can_not_be_used_is_its_plugins_fault(recipe):
    class Wrong(Quick):
        name: ClassVar[str] = "wrong"

        def recipe(self, rows):
            return recipe

    with pytest.raises(PluginError, match=r"(?s)'wrong': its recipe.*epoch"):
        fit(table(), Wrong(), Once(), Training(), Context())


def test_the_recipe_is_for_the_rows_that_are_not_held_out():
    training, rows = settle(table(60), Quick(), Training(test=0.5), Context())
    assert len(rows.train) + len(rows.validation) == 30
    assert training.epochs == 20
    model = fit(table(60), Quick(), Once(), Training(test=0.5), Context())
    assert model.report.members == 2
    assert fit(table(60), Quick(), Once(), Training(members=1), Context()).report.members == 1


def test_a_rate_warms_up_in_equal_steps_and_falls_to_nothing():
    rate = LearningRate(np.array([0.1]), Training(epochs=100, schedule="cosine", warmup=0.04))
    rates = np.array([rate.at(epoch)[0] for epoch in range(100)])
    assert rates[:4] == pytest.approx([0.02, 0.04, 0.06, 0.08])
    assert rates[4] == 0.1
    assert np.all(np.diff(rates[4:]) < 0)
    assert rates[-1] < 1e-4
    without = LearningRate(np.array([0.1]), Training(epochs=100, schedule="cosine"))
    assert without.at(0) == 0.1


def test_a_model_in_closed_form_is_fitted_once_on_float64_and_answers_exactly():
    told = []
    ctx = Context(emit=lambda event: told.append(event.data["text"]) if event.kind == "note" else None)
    Linear.built.clear()
    data = table()
    model = fit(data, Linear(), Once(), Training(members=3), ctx)
    assert model.report.members == 1
    assert any("closed form" in note for note in told)
    x, y, weights = next(net.given for net in Linear.built if hasattr(net, "given"))
    assert x.dtype == y.dtype == np.float64
    assert weights is None
    assert len(x) == model.report.rows["train"]
    assert x.mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert y.std(axis=0) == pytest.approx(1)
    assert model.report.score < 1e-10
    np.testing.assert_allclose(model.surrogate.predict(data.x).mean, data.y, rtol=1e-5)


def test_a_model_in_closed_form_sees_what_was_measured_and_how_much_it_counts():
    Linear.built.clear()
    weights = np.linspace(0, 1, 60)
    data = table(partial=True, weights=weights)
    fit(data, Linear(), Once(), Training(test=0.0, validation=0.0), Context())
    _, y, given = next(net.given for net in Linear.built if hasattr(net, "given"))
    assert np.array_equal(np.isnan(y), np.isnan(data.y))
    np.testing.assert_array_equal(given, weights)


def test_a_resumed_model_in_closed_form_is_fitted_again(tmp_path):
    first = fit(table(), Linear(), Once(), Training(), Context(), TrialTable(tmp_path / "trials"))
    again = fit(table(), Linear(), Once(), Training(), Context(), TrialTable(tmp_path / "trials"))
    x = table().x
    np.testing.assert_array_equal(first.surrogate.predict(x).mean, again.surrogate.predict(x).mean)


def test_what_a_model_in_closed_form_raises_is_the_reason_of_its_trial():
    class Fails(Line):
        def fit(self, x, y, sample_weight=None):
            raise ValueError("the matrix is singular")

    class Failing(Linear):
        name: ClassVar[str] = "failing"

        def build(self, data):
            return Fails([keras.Input((data.space.width,)), keras.layers.Dense(len(data.outputs))])

    with pytest.raises(Exception, match="the matrix is singular"):
        fit(table(), Failing(), Once(), Training(), Context())
