"""A column that is one number in every row never matters, and float32 never makes noise of one that hardly varies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import lin

from invdesign_core.data.data import Data, TrainingRows
from invdesign_core.data.distance import DataDistance
from invdesign_core.data.quality import data_warnings
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.regressors import ScaledRegressor
from invdesign_core.surrogate.scaling import Scaling
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.train import output_metrics

VALUES = [298.15, 0.1, 71.3, 1.2, -1e-20, 2.4e9, 0.0, 25.0]


def with_column(column, rng=None):
    """Return (n, 2) inputs, the second as given, and y = 2 x."""
    x = (rng or np.random.default_rng(0)).random(len(column))
    return np.column_stack([x, column]), 2 * x[:, None]


@pytest.mark.parametrize("value", VALUES)
def test_a_constant_input_has_its_value_as_shift_and_a_scale_of_1_for_any_number_of_rows(value):
    for n in (4, 540, 600, 800, 911, 1000, 5000):
        x, y = with_column(np.full(n, value))
        scaling = Scaling.of(x, y)
        assert scaling.x_scale[1] == 1
        assert scaling.x_shift[1] == pytest.approx(value, rel=1e-7)
        assert (scaling.inputs(x)[:, 1] == 0).all()


@pytest.mark.parametrize("value", VALUES)
def test_a_constant_output_has_its_value_as_shift_and_a_scale_of_1(value):
    for n in (4, 540, 800, 1000):
        y, _ = with_column(np.full(n, value))
        scaling = Scaling.of(np.zeros((n, 1)), y)
        assert (scaling.y_shift[1], scaling.y_scale[1]) == (value, 1)
        assert (scaling.outputs(y)[:, 1] == 0).all()


def test_a_column_that_differs_by_the_rounding_of_a_sum_is_constant():
    column = np.where(np.arange(900) % 2, 273.15 + 25, 298.15) + np.where(np.arange(900) % 3, 5.7e-14, 0)
    assert np.ptp(column) > 0
    scaling = Scaling.of(np.zeros((900, 1)), column[:, None])
    assert scaling.y_scale[0] == 1
    frame = pd.DataFrame({"x": np.arange(900.0), "y": column})
    assert any("'y' is the same in every row" in text for text in data_warnings(Data.from_frame(frame, ["y"])))


@pytest.mark.parametrize(
    "column",
    [
        np.full(1000, 298.15),
        298.15 + 1e-9 * np.random.default_rng(1).normal(size=1000),
        np.full(1000, 2.4e9),
        1e-50 * np.random.default_rng(1).random(1000),
    ],
    ids=["constant", "flatter than float32", "large", "too small for float32"],
)
def test_the_saved_network_sees_nothing_of_an_input_that_is_one_number_in_float32(column):
    x, y = with_column(column)
    model = Scaling.of(x, y).wrap(lin([[1], [1e3]]))  # the second input would show
    answer = np.asarray(model.predict(x.astype("float32"), verbose=0, batch_size=1000))
    assert answer == pytest.approx(y, abs=1e-5)


@pytest.mark.parametrize(("offset", "spread"), [(2.4e9, 1000), (298.15, 1e-3), (1e6, 3.0), (-5e4, 0.2)])
def test_a_network_is_trained_on_what_it_will_see_of_an_input_with_a_large_offset(offset, spread):
    rng = np.random.default_rng(2)
    x, y = with_column(offset + spread * rng.random(1000), rng)
    scaling = Scaling.of(x, y)
    model = scaling.wrap(lin([[0], [1]]))
    seen = scaling.y_shift + scaling.y_scale * scaling.inputs(x)[:, 1:]
    answer = np.asarray(model.predict(x.astype("float32"), verbose=0, batch_size=1000), dtype=np.float64)
    assert answer == pytest.approx(seen, abs=1e-5)


def test_outputs_may_be_flatter_than_float32_resolves():
    y = -2183.45 + 1e-3 * np.random.default_rng(0).random((500, 1))
    scaling = Scaling.of(np.zeros((500, 1)), y)
    back = scaling.y_shift + scaling.y_scale * scaling.outputs(y).astype(np.float32)
    assert back == pytest.approx(y, abs=1e-9)
    assert scaling.y_scale[0] == pytest.approx(y.std(), rel=1e-6)
    frame = pd.DataFrame({"x": np.random.default_rng(1).random(500), "energy": y[:, 0]})
    assert data_warnings(Data.from_frame(frame, ["energy"])) == []
    assert "too flat" in " ".join(data_warnings(Data.from_frame(frame, ["energy"]), scale=False))


def test_a_regressor_in_double_precision_keeps_a_flat_input():
    x, y = with_column(298.15 + 1e-9 * np.random.default_rng(1).normal(size=1000))
    assert Scaling.of(x, y, network=False).inputs(x).std(axis=0) == pytest.approx([1, 1])


def test_the_doubt_says_what_float32_leaves_of_an_input():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"f": 2.4e9 + 1000 * rng.random(300), "t": 298.15 + 1e-9 * rng.random(300), "x": rng.random(300)}
    ).assign(y=rng.random(300))
    said = data_warnings(Data.from_frame(frame, ["y"], inputs=["f", "t", "x"]))
    assert len(said) == 2, said
    assert "distinguishes only 5 values of it; subtract 2400000000" in said[0]
    assert "it is a single number without information" in said[1]


@pytest.mark.parametrize("value", VALUES)
def test_a_constant_output_has_no_r2_and_a_tolerance_that_rounding_meets(value):
    y = np.full(1000, value)
    metrics = output_metrics(y + 1e-6, y)
    assert metrics.r2 is None
    assert metrics.mae == pytest.approx(1e-6, rel=1e-3, abs=1e-6)
    scaling = Scaling.of(np.zeros((1000, 1)), y[:, None])
    space = Space((Variable("x", lower=0, upper=1),))
    surrogate = Surrogate.trained([None], space, ("y",), scaling, np.arange(1000.0)[:, None], y[:, None])
    assert surrogate.spread[0] == pytest.approx(1e-4 * abs(value))
    assert surrogate.scale[0] == 1


def test_a_constant_output_is_predicted_as_that_number_by_networks_and_regressors():
    x = np.random.default_rng(0).random((700, 2))
    y = np.column_stack([x.sum(axis=1), np.full(700, 298.15)])
    scaling = Scaling.of(x, y)
    net = lin([[1, 5], [1, 5]], [0.1, 3])
    surrogate = Surrogate.trained([scaling.wrap(net)], Space((Variable("a"), Variable("b"))), "yc", scaling, x, y)
    assert (surrogate.predict(x).mean[:, 1] == 298.15).all()

    class Wrong:
        def predict(self, h):
            return np.ones((len(h), 2))

    assert (ScaledRegressor(Wrong(), scaling, True).z(x)[:, 1] == 0).all()


def test_a_model_that_answers_one_number_is_not_scaled_by_float32_rounding():
    model = lin([[1, 0], [1, 0]], [0, 298.15])
    space = Space((Variable("a", lower=0, upper=1), Variable("b", lower=0, upper=1)))
    assert Surrogate.of_model(model, space, ("y", "c")).scale[1] == 1


def test_a_constant_input_is_no_distance_to_the_data():
    x = np.column_stack([np.linspace(0, 1, 900), np.where(np.arange(900) % 2, 298.15, 298.15 + 5.7e-14)])
    space = Space((Variable("x", lower=0, upper=1), Variable("t", lower=298, upper=299)))
    near = DataDistance.of(TrainingRows(x, x[:, :1]), space)
    assert near.nearest(np.array([[x[0, 0], x[1, 1]]]))[1][0] < 1e-9
    assert near.breaks(np.array([[0.5, 298.15], [0.5, 298.3]])).tolist() == [False, True]


@pytest.mark.long
@pytest.mark.parametrize("column", [298.15, "flat"])
def test_a_constant_input_leaves_the_surrogate_as_good_as_without_it(column):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.random(1000).round(6)})
    frame["t"] = 298.15 if column == 298.15 else 298.15 + 1e-9 * rng.normal(size=1000)
    net = {"use": "selu-mlp", "learning_rate": (3e-3, 3e-3)}
    with pytest.warns(UserWarning, match="'t'"):
        model = InverseDesign(net, training={"epochs": 40}).fit(frame, 2 * frame["x"].rename("y"))
    assert model.report_.test["y"].r2 > 0.999
    assert model.invert(1.0).designs["design.x"][0] == pytest.approx(0.5, abs=0.02)
