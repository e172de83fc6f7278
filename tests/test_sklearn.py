"""`InverseDesign` where scikit-learn is at home: pipelines, cross-validation, grid search, copies, pickles, files."""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys
from typing import ClassVar
from unittest import SkipTest

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from invdesign_core.data.sklearn_input import InputError
from invdesign_core.errors import ConfigError, DataError, InvdesignError, PluginError, RunStoreError
from invdesign_core.plugin import Solver, SolverResult, Status, SurrogateBuilder
from invdesign_core.registry import Entry, Provider, Registry
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_plugins.objectives.mse import MSE
from invdesign_plugins.solvers.lbfgsb import LBFGSB
from invdesign_plugins.surrogates.selu_mlp import SeluMLP
from invdesign_plugins.tuners.grid_search import GridSearch

TINY = {"use": "selu-mlp", "widths": [8], "learning_rate": (0.01, 0.01)}
NET = {"use": "selu-mlp", "widths": [32], "learning_rate": (0.01, 0.01)}
QUICK = {"epochs": 60, "early_stopping": False, "schedule": "cosine"}
FEW = {"use": "lbfgsb", "starts": 8}


class Linear(SurrogateBuilder):
    """A regressor that is no network."""

    name: ClassVar[str] = "linear"
    differentiable: ClassVar[bool] = False

    def build(self, hp, data):
        return Ridge(1e-6)


class Still(Solver):
    """Answers with the starts."""

    name: ClassVar[str] = "still"

    def solve(self, problem, u0, ctx):
        return SolverResult(u0, [Status.CONVERGED] * len(u0), [""] * len(u0))


OF_NETWORKS = {
    "check_dict_unchanged",
    "check_estimators_pickle",
    "check_fit_idempotent",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_regressors_train",
    "check_sample_weights_shape",
}
"""The checks of what a network learns and answers; all others are about conventions, which it shares with the rest."""
CHECKS = [
    *estimator_checks_generator(InverseDesign("ridge", confidence={"model": "none"})),
    *estimator_checks_generator(InverseDesign(Linear(), solver=Still())),
    *(
        (estimator, check)
        for estimator, check in estimator_checks_generator(InverseDesign(TINY, training={"epochs": 3}))
        if check.func.__name__ in OF_NETWORKS
    ),
]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "check"),
    CHECKS,
    ids=lambda value: value.func.__name__ if hasattr(value, "func") else str(value.surrogate),
)
def test_scikit_learns_own_checks(estimator, check):
    """All checks of scikit-learn, with a Keras model in closed form and a regressor that is none; some with a network.

    The network is small and trained for three epochs, so its checks are about conventions and not about
    what it learns.
    """
    try:
        check(estimator)
    except SkipTest as skipped:
        pytest.skip(str(skipped))


@pytest.fixture(scope="module")
def table():
    """A table as users have it: numbers, counts, truth values and text; rows of one batch belong together."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "flow rate": rng.uniform(0, 10, 240),
            "pumps": rng.integers(1, 5, 240),
            "heated": rng.random(240) < 0.5,
            "alloy": rng.choice(["brass", "steel"], 240),
        }
    )
    y = X["flow rate"] + 2 * X["pumps"] + 3 * X["heated"] + 4 * (X["alloy"] == "steel")
    return X, y.rename("yield"), np.arange(240) // 8


@pytest.fixture(scope="module")
def fitted(table):
    X, y, _ = table
    return InverseDesign(NET, solver=FEW, training=QUICK).fit(X, y)


def test_a_table_with_text_is_learnt_with_its_names_and_left_as_it_was(fitted, table):
    X, y, _ = table
    before = X.copy(), y.copy()
    assert clone(fitted).set_params(training={"epochs": 1}).fit(X, y).score(X, y) <= 1
    pd.testing.assert_frame_equal(X, before[0])
    pd.testing.assert_series_equal(y, before[1])
    assert fitted.score(X, y) > 0.95
    assert fitted.feature_names_in_.tolist() == list(X.columns)
    assert fitted.n_features_in_ == 4
    best = fitted.invert({"yield": 15}).designs.iloc[0]
    assert best["met"]
    assert best["design.alloy"] in ("brass", "steel")
    assert best["design.pumps"] in (1, 2, 3, 4)
    assert best["design.heated"] in (True, False)


@pytest.mark.long
def test_cross_validation_keeps_batches_together(table):
    X, y, batch = table
    scores = cross_val_score(InverseDesign("ridge"), X, y, groups=batch, cv=GroupKFold(3))
    assert len(scores) == 3
    assert scores.min() > 0.9


@pytest.mark.long
def test_a_pipeline_scales_before_it(table):
    X = table[0][["flow rate", "pumps"]].to_numpy()
    y = X.sum(axis=1)
    pipe = make_pipeline(StandardScaler(), InverseDesign("ridge", solver=FEW)).fit(X, y)
    assert pipe.score(X, y) > 0.95
    designs = pipe[-1].invert(8).designs.filter(like="design.")
    assert pipe[0].inverse_transform(designs.to_numpy())[0].sum() == pytest.approx(8, abs=0.5)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:output 'yield' is not predictable")
def test_a_grid_search_chooses_how_to_train(table):
    X, y, _ = table
    enough = {"epochs": 40, "early_stopping": False, "schedule": "cosine"}
    search = GridSearchCV(InverseDesign(NET, solver=FEW), {"training": [{"epochs": 1}, enough]}, cv=2).fit(X, y)
    assert search.best_params_ == {"training": enough}
    assert search.best_estimator_.invert(15).met


@pytest.mark.long
def test_several_outputs_are_scored_together(table):
    X, y, _ = table
    Y = pd.DataFrame({"yield": y, "cost": 20 - y + X["pumps"]})
    model = InverseDesign("ridge", solver=FEW)
    assert cross_val_score(model, X, Y, cv=2).min() > 0.9
    assert model.fit(X, Y).predict(X).shape == Y.shape
    answer = model.invert({"yield": 15, "cost": "<=9"})
    assert answer.met


def test_parameters_are_kept_as_given_and_cloned():
    training, surrogate, solver = {"epochs": 3}, SeluMLP(widths=[4]), LBFGSB(starts=5)
    model = InverseDesign(surrogate, solver=solver, training=training, bounds={"x1": (0, 1)})
    assert model.get_params()["training"] is training
    assert model.surrogate is surrogate
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert twin.set_params(seed=7, solver="lbfgsb").seed == 7
    assert model.solver == solver


def test_plugins_of_a_registry_of_ones_own_are_cloned(table):
    X, y, _ = table
    registry = Registry([Entry(plugin, Provider("mine", "1", "mine")) for plugin in (Linear, Still)])
    model = InverseDesign("linear", tuner=GridSearch(), objective=MSE(), solver="still", registry=registry)
    assert clone(model).fit(X, y).score(X, y) > 0.99


def joblib_copy(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize("copied", [joblib_copy, copy.deepcopy])
def test_a_copy_answers_as_the_original(fitted, table, copied):
    X, _, _ = table
    expected = fitted.invert(15).starts
    twin = copied(fitted)
    assert (twin.predict(X) == fitted.predict(X)).all()
    pd.testing.assert_frame_equal(twin.invert(15).starts, expected)
    assert twin.report_ == fitted.report_


def test_a_copy_that_is_not_fitted_says_so():
    with pytest.raises(NotFittedError, match="call fit") as caught:
        copy.deepcopy(InverseDesign()).predict([[1.0]])
    assert isinstance(caught.value, InvdesignError)


def test_a_saved_model_answers_as_the_original(fitted, table, tmp_path):
    X, _, _ = table
    fitted.save(tmp_path / "model")
    fitted.save(tmp_path / "model")  # again, in the place of the first
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    loaded = InverseDesign.load(tmp_path / "model")
    assert (loaded.predict(X) == fitted.predict(X)).all()
    pd.testing.assert_frame_equal(loaded.invert(15).starts, fitted.invert(15).starts)
    assert loaded.report_ == fitted.report_
    assert loaded.feature_names_in_.tolist() == list(X.columns)
    assert clone(loaded).get_params() == loaded.get_params()


@pytest.mark.long
def test_a_saved_model_runs_in_another_process_on_the_other_backend(fitted, table, tmp_path):
    X, _, _ = table
    fitted.save(tmp_path / "model")
    joblib.dump(fitted, tmp_path / "model.joblib")
    X.to_parquet(tmp_path / "X.parquet")
    script = """
import joblib, numpy, pandas
from invdesign_core import InverseDesign
X = pandas.read_parquet("X.parquet")
model = InverseDesign.load("model")
assert (joblib.load("model.joblib").predict(X) == model.predict(X)).all()
assert model.invert(15).met
import keras
assert keras.backend.backend() == "tensorflow"
numpy.save("y.npy", model.predict(X))
"""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "y.npy") == pytest.approx(fitted.predict(X), rel=1e-5)


@pytest.mark.long
def test_plugin_objects_are_saved_by_name_and_options(table, tmp_path):
    X, y, _ = table
    model = InverseDesign(SeluMLP(widths=[4]), solver=LBFGSB(starts=5), training={"epochs": 2}).fit(X, y)
    model.save(tmp_path / "model")
    loaded = InverseDesign.load(tmp_path / "model")
    assert loaded.solver["use"] == "lbfgsb"
    pd.testing.assert_frame_equal(loaded.invert(15).starts, model.invert(15).starts)


def test_a_regressor_is_loaded_only_when_code_may_run(table, tmp_path):
    X, y, _ = table
    registry = Registry([Entry(plugin, Provider("mine", "1", "mine")) for plugin in (Linear, Still)])
    model = InverseDesign(Linear(), GridSearch(), MSE(), Still(), registry=registry).fit(X, y)
    with pytest.raises(PluginError, match="MSE is not installed as a plugin"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
    registry = Registry([Entry(plugin, Provider("mine", "1", "mine")) for plugin in (Linear, Still, GridSearch, MSE)])
    model.set_params(registry=registry).save(tmp_path / "model")
    with pytest.raises(DataError, match="unpickling runs code"):
        InverseDesign.load(tmp_path / "model")
    loaded = InverseDesign.load(tmp_path / "model", allow_code=True)
    assert (loaded.predict(X) == model.predict(X)).all()


def test_what_can_not_be_saved_or_loaded_is_named(fitted, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunStoreError, match="something else is there"):
        fitted.save(tmp_path)
    with pytest.raises(RunStoreError, match="no InverseDesign was saved"):
        InverseDesign.load(tmp_path)
    odd = copy.deepcopy(fitted).set_params(fixed={"pumps": {1, 2}})
    with pytest.raises(ConfigError, match=r"fixed can't be saved: found \{1, 2\}"):
        odd.save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def cell(column, value):
    """Return a change of one cell of X."""

    def change(X):
        X = X.astype({column: object}) if isinstance(value, str) else X
        X.loc[2, column] = value
        return X

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cell("flow rate", np.nan), r"NaN: column 'flow rate', row 3"),
        (cell("flow rate", np.inf), r"inf: column 'flow rate', row 3"),
        (cell("alloy", "gold"), r"'alloy' has no level 'gold'"),
        (cell("flow rate", "fast"), r"row 3: found 'fast', expected a number"),
        (lambda X: X.drop(columns="alloy"), r"seen at fit time, yet now missing"),
        (lambda X: X[["alloy", "flow rate", "pumps", "heated"]], r"must be in the same order"),
        (lambda X: X.rename(columns={"alloy": "metal"}), r"unseen at fit time"),
        (lambda X: X[["flow rate"]].to_numpy(), r"X has 1 features, but InverseDesign is expecting 4"),
        (lambda X: X["flow rate"].to_numpy(), r"Expected 2D array, got 1D array"),
        (lambda X: sparse.csr_array(np.ones((3, 4))), r"dense data is required"),
        (lambda X: X.iloc[:0], "0 samples"),
    ],
)
def test_designs_that_can_not_be_predicted_are_named(fitted, table, change, message):
    with pytest.raises(InputError, match=message) as caught:
        fitted.predict(change(table[0].copy()))
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, DataError)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.eye(5), None, "requires y"),
        (np.eye(5), [1, 2, 3], "X has 5 rows, y has 3"),
        (np.eye(5), [1, 2, np.nan, 4, 5], "y contains NaN: column 'y', row 3"),
        (np.eye(5), list("abcde"), "y"),
        (np.eye(5), pd.Series(list("abcde"), name="grade"), "output 'grade', row 1: found text 'a'"),
        (np.eye(5), pd.Series(np.arange(5) * 1j), "y, column 'y', row 1: found a complex number"),
        (np.eye(5) * 1j, np.arange(5), "Complex data not supported"),
        (pd.DataFrame(np.eye(5) * 1j), np.arange(5), "X, column '0', row 1: found a complex number"),
        (np.array([["a"]] * 5), np.arange(5), "numeric"),
        (pd.DataFrame({"y": np.arange(5)}), np.arange(5), "'y' appears twice"),
        (pd.DataFrame({"a": list("xyz")}), np.arange(3), "3 samples"),
        (pd.DataFrame({"a": ["x", None, "z", "u"]}), np.arange(4), "column 'a', row 2: the cell is empty"),
    ],
)
def test_data_that_can_not_be_learnt_are_named(X, y, message):
    with pytest.raises(InputError, match=message):
        InverseDesign(TINY, training={"epochs": 1}).fit(X, y)
