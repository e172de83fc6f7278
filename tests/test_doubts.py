"""What a table can't teach is said, and repeats never make it look as if it could."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from invdesign_core.context import Context
from invdesign_core.data.data import Data, split_rows
from invdesign_core.data.quality import bounds_warnings, data_notes, data_warnings
from invdesign_core.errors import DataError, PluginError
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.workflow.design import Design
from invdesign_core.workflow.estimator import InverseDesign

NET = {"use": "selu-mlp", "learning_rate": (0.01, 0.01)}


def fit(frame, outputs, training=None, **options):
    """Return a fitted model and what it said."""
    said = []
    data = Data.from_frame(frame, outputs, **options)
    model = InverseDesign(NET, training=training)
    model._context = lambda: Context(emit=lambda e: said.append(str(e.data.get("text", ""))))
    return model.fit_data(data), " ".join(said)


@pytest.mark.long
def test_each_output_is_fitted_to_its_own_rows_when_asked():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(0, 1, (400, 2)), columns=["x1", "x2"])
    frame["y1"] = frame["x1"] + frame["x2"]
    frame["y2"] = (frame["x1"] - frame["x2"]).where(np.arange(400) % 10 < 3)
    model, said = fit(frame, ["y1", "y2"], partial=True)
    assert "'y2' was measured in 120 of 400 rows" in said
    best = model.invert({"y1": 1.2, "y2": 0.2}).designs.iloc[0]
    assert best["design.x1"] == pytest.approx(0.7, abs=0.03)
    assert best["design.x2"] == pytest.approx(0.5, abs=0.03)
    assert model.report_.test["y2"].r2 > 0.98
    near = model.known_[1][np.isfinite(model.known_[1][:, 1])]
    assert len(near) < 400, "rows that were not measured are known as such"


def test_missing_outputs_don_t_change_what_the_others_teach():
    """A network sees the same loss whether a missing output is left out or predicted exactly."""
    import keras

    from invdesign_core.surrogate.networks import ignore_missing

    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    net.compile("sgd", "mse", metrics=["mae"])
    ignore_missing(net)
    x, y = np.ones((4, 2), "float32"), np.ones((4, 2), "float32")
    y[:2, 1] = np.nan
    predicted = net.predict(x, verbose=0)
    expected = np.where(np.isnan(y), 0, predicted - y)
    logs = net.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx((expected**2).mean(), rel=1e-5)
    assert logs["mae"] == pytest.approx(np.abs(expected).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1, np.nan], [np.nan, np.nan]], "no output was measured"),
        ([[1, np.nan], [1, np.nan]], "has no measured values"),
    ],
)
def test_rows_and_outputs_without_any_measurement_are_refused(values, message):
    frame = pd.DataFrame(np.tile(values, (5, 1)), columns=["y1", "y2"]).assign(x=np.arange(10.0))
    with pytest.raises(DataError, match=message):
        Data.from_frame(frame, ["y1", "y2"], partial=True)


def test_a_regressor_refuses_rows_that_were_not_measured():
    from typing import ClassVar

    from invdesign_core.plugin import SurrogateBuilder

    class Plain(SurrogateBuilder):
        """No network."""

        name: ClassVar[str] = "plain"
        differentiable: ClassVar[bool] = False

        def build(self, hp, data):
            from sklearn.linear_model import LinearRegression

            return LinearRegression()

    frame = pd.DataFrame({"x": np.arange(50.0), "a": np.arange(50.0), "b": [*np.arange(49.0), np.nan]})
    without_gradients = {"use": "differential-evolution"}
    with pytest.raises(PluginError, match="can't be trained on rows"):
        InverseDesign(Plain(), solver=without_gradients).fit_data(Data.from_frame(frame, ["a", "b"], partial=True))


@pytest.mark.long
def test_repeats_never_flatter_the_test_score():
    rng = np.random.default_rng(0)
    recipes = rng.random((30, 3))
    frame = pd.DataFrame(np.repeat(recipes, 10, axis=0), columns=list("abc"))
    frame["y"] = np.repeat(rng.normal(size=30), 10) + 0.01 * rng.normal(size=300)
    model, said = fit(frame, ["y"], {"test": 0.3})
    assert model.report_.test["y"].r2 < 0.3
    assert "rows that repeat a design: 270 of 300;" in said
    if model.report_.test["y"].r2 < 0.1:
        assert "'y' is not predictable" in said


def test_what_depends_on_nothing_known_is_called_unpredictable():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.random((300, 2)), columns=["a", "b"]).assign(y=rng.normal(size=300))
    model, said = fit(frame, ["y"])
    assert model.report_.test["y"].r2 < 0.1
    assert "'y' is not predictable from these inputs" in said


def test_a_group_stays_on_one_side_of_the_split():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((120, 2)), columns=["a", "b"]).assign(y=1.0, batch=np.arange(120) // 6)
    frame.loc[60, ["a", "b"]] = frame.loc[0, ["a", "b"]]  # a design that two batches share ties them together
    data = Data.from_frame(frame, ["y"], groups="batch")
    assert data.space.names == ("a", "b")
    rows = split_rows(data, 0.2, 0.2, Context())
    sides = [set(frame["batch"].to_numpy()[part]) for part in (rows.train, rows.validation, rows.test)]
    assert sides[0].isdisjoint(sides[1] | sides[2])
    assert sides[1].isdisjoint(sides[2])
    assert sum(0 in side and 10 in side for side in sides) == 1
    assert "19 groups" in " ".join(data_notes(data)) or "20 groups" in " ".join(data_notes(data))


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("b", lambda rng: 1e9 + rng.uniform(-1, 1, 60), "too flat for the network's float32"),
        ("b", lambda rng: np.full(60, 3.0), "the same in every row"),
        ("y", lambda rng: np.full(60, 3.0), "the same in every row"),
    ],
)
def test_flat_and_constant_columns_are_pointed_out_with_advice(name, column, message):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.random(60), "b": rng.random(60), "y": rng.random(60)})
    frame[name] = column(rng)
    said = data_warnings(Data.from_frame(frame, ["y"]))
    assert any(message in text and repr(name) in text for text in said)


def test_few_rows_are_pointed_out():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((12, 4)), columns=["a", "b", "c", "y"])
    assert "12 distinct designs for 3 inputs: too few for a reliable surrogate" in " ".join(
        data_warnings(Data.from_frame(frame, ["y"]))
    )


def test_a_good_table_raises_no_doubt():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((200, 3)), columns=["a", "b", "y"]) * 1e-20
    assert data_warnings(Data.from_frame(frame, ["y"])) == []
    assert data_notes(Data.from_frame(frame, ["y"])) == []


@pytest.mark.parametrize(
    ("design", "said"),
    [
        ({}, ""),
        ({"bounds": {"x": [-0.01, 1.02]}, "step": {"n": 2}, "fixed": {"c": "b"}}, ""),
        ({"bounds": {"x": [0, 2]}}, "'x' 0 to 2 (data 0 to 1)"),
        ({"bounds": {"x": [[-2, -1], [0.2, 0.4]]}}, "'x' -2 to -1 or 0.2 to 0.4 (data 0 to 1)"),
        ({"levels": {"n": [1, 9]}, "fixed": {"x": 3}}, "'x' 3 (data 0 to 1), 'n' 1, 9 (data 1 to 5)"),
        ({"bounds": {"dose": [1e-7, 1e-2]}}, ""),
        ({"bounds": {"dose": [1e-7, 1e-2]}, "log": ["dose"]}, "'dose' 1e-07 to 0.01, log scale (data 1e-06 to 0.01)"),
    ],
)
def test_bounds_beyond_the_data_are_said(design, said):
    data = Space(
        (
            Variable("x", lower=0, upper=1),
            Variable("n", "integer", lower=1, upper=5),
            Variable("c", "categorical", levels=("a", "b")),
            Variable("dose", lower=1e-6, upper=1e-2),
        )
    )
    doubts = bounds_warnings(Design.from_mapping(design).apply(data, ["y"]), data)
    start = "the search range extends beyond the data, where the surrogate extrapolates: "
    assert doubts == ([start + said] if said else [])


@pytest.mark.long
def test_a_solve_says_once_that_its_bounds_reach_beyond_the_data():
    frame = pd.DataFrame({"x": np.linspace(0, 1, 40)}).assign(y=lambda t: 2 * t["x"])
    model, _ = fit(frame, ["y"], {"epochs": 2})
    said = []
    model._context = lambda: Context(emit=lambda e: said.append(str(e.data.get("text", ""))))
    model.set_params(bounds={"x": (0, 2)}).invert(1.0)
    assert " ".join(said).count("'x' 0 to 2 (data 0 to 1)") == 1
