"""The Python API: fit, predict, invert, with names, arrays and plugins as a user has them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from invdesign_core.data.sklearn_input import InputError
from invdesign_core.errors import ConfigError, InvdesignError, PluginError
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.run import run_experiment
from invdesign_plugins.solvers.lbfgsb import LBFGSB

NET = {"use": "selu-mlp", "learning_rate": (0.01, 0.01)}
QUICK = {"epochs": 60}


@pytest.fixture(scope="module")
def xy():
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (300, 2))
    return X, X[:, 0] + X[:, 1]


@pytest.fixture(scope="module")
def fitted(xy):
    return InverseDesign(NET, training=QUICK).fit(*xy)


@pytest.mark.slow
def test_arrays_get_names_and_predictions_keep_their_shape(fitted, xy):
    X, y = xy
    assert fitted.predict(X).shape == y.shape
    assert np.abs(fitted.predict(X) - y).mean() < 0.05
    assert fitted.invert(1.3).designs.columns[2:4].tolist() == ["design.x1", "design.x2"]


def test_the_best_design_hits_the_target(fitted):
    answers = fitted.invert({"y": 1.3})
    best = answers.designs.iloc[0]
    assert best["met"]
    assert best["design.x1"] + best["design.x2"] == pytest.approx(1.3, abs=0.1)
    assert len(answers.starts) == 64
    assert fitted.predict(answers.designs.filter(like="design.").to_numpy()) == pytest.approx(
        answers.designs["prediction.y"].to_numpy(), abs=1e-6
    ), "the reported prediction is that of the design as written"


@pytest.mark.slow
def test_tables_keep_their_names(xy):
    X = pd.DataFrame(xy[0], columns=["flow rate", "x-1"])
    y = pd.DataFrame({"sum": xy[1], "difference": xy[0][:, 0] - xy[0][:, 1]})
    model = InverseDesign(NET, training=QUICK, bounds={"x-1": (0, 0.6)}).fit(X, y)
    assert model.predict(X).shape == (300, 2)
    answers = model.invert({"sum": 1.2, "difference": ">=0.2"})
    best = answers.designs.iloc[0]
    assert best["met"]
    assert best["design.x-1"] <= 0.6
    assert set(model.report_.test) == {"sum", "difference"}


def test_plugins_are_taken_by_name_with_options_or_as_objects(fitted):
    results = []
    for solver in ({"use": "lbfgsb", "starts": 5}, LBFGSB(starts=5)):
        fitted.solver = solver
        results.append(fitted.invert(1.0).starts)
    fitted.solver = "auto"
    assert len(results[0]) == 5
    pd.testing.assert_frame_equal(*results)


def test_auto_takes_options_that_every_solver_has(fitted):
    fitted.solver = {"use": "auto", "starts": 5}
    answers = fitted.invert(1.0)
    fitted.solver = {"use": "auto", "max_iterations": 5}
    with pytest.raises(ConfigError, match="options of one solver need that solver named"):
        fitted.invert(1.0)
    fitted.solver = "auto"
    assert len(answers.starts) == 5


@pytest.mark.long
def test_one_seed_gives_one_result(xy):
    first, again = (InverseDesign(NET, training=QUICK, seed=3).fit(*xy).invert(1.0).starts for _ in range(2))
    pd.testing.assert_frame_equal(first, again)


@pytest.mark.long
def test_an_ensemble_reports_its_spread(xy):
    answers = InverseDesign(NET, training=QUICK | {"members": 3}).fit(*xy).invert(1.0)
    assert (answers.designs["spread.y"] > 0).all()
    assert (answers.designs["variance"] > 0).all()


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda m, X, y: InverseDesign().predict(X), InvdesignError, "call fit"),
        (lambda m, X, y: m.predict(X[:, :1]), InputError, "expecting 2 features"),
        (lambda m, X, y: InverseDesign().fit(X[:10], y), InputError, "row i of X"),
        (lambda m, X, y: m.invert({"z": 1}), ConfigError, "no output or input 'z'"),
        (lambda m, X, y: m.invert({}), ConfigError, "no target"),
        (lambda m, X, y: InverseDesign(solver="lbfgs").fit(X, y), PluginError, "did you mean"),
        (lambda m, X, y: InverseDesign(solver=NET).fit(X, y), PluginError, "is the name of a surrogate"),
        (lambda m, X, y: InverseDesign(tuner=LBFGSB()).fit(X, y), ConfigError, "found a solver"),
        (lambda m, X, y: InverseDesign(tuner=LBFGSB).fit(X, y), ConfigError, "a class has to be called"),
        (lambda m, X, y: InverseDesign(training={"epoch": 3}).fit(X, y), ConfigError, "did you mean 'epochs'"),
        (lambda m, X, y: InverseDesign(backend="tensorflow").fit(X, y), ConfigError, "already runs on 'jax'"),
    ],
)
def test_mistakes_are_named(fitted, xy, act, error, message):
    with pytest.raises(error) as caught:
        act(fitted, *xy)
    assert message in str(caught.value)


def test_an_experiment_is_the_same_thing_underneath(xy, tmp_path, monkeypatch):
    frame = pd.DataFrame(xy[0], columns=["x1", "x2"]).assign(y=xy[1])
    frame.to_parquet(tmp_path / "t.parquet")
    (tmp_path / "e.toml").write_text(
        '[dataset]\nuse = "table"\npath = "t.parquet"\noutputs = ["y"]\n'
        '[surrogate]\nuse = "selu-mlp"\nlearning_rate = [0.01, 0.01]\n[training]\nepochs = 60\n'
    )
    monkeypatch.chdir(tmp_path)
    result = run_experiment(Experiment.from_toml("e.toml"), ["1.3"], "out")
    answers = InverseDesign(NET, training=QUICK).fit(frame[["x1", "x2"]], frame["y"]).invert(1.3)
    pd.testing.assert_frame_equal(result.answers.starts, answers.starts)
    assert result.report.status == "met"


@pytest.mark.slow
def test_one_input_and_one_output(xy):
    x = np.linspace(0, 1, 100)[:, None]
    answers = InverseDesign(NET, training={"epochs": 200}).fit(x, x[:, 0] ** 2).invert(0.25)
    assert answers.designs["design.x1"][0] == pytest.approx(0.5, abs=0.05)
