"""A Gaussian process as a Keras model: the numbers of scikit-learn's, on either backend, saved and loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import keras_tuner as kt
import numpy as np
import pandas as pd
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from invdesign_core.context import Context, Note
from invdesign_core.data.data import Data, split_rows
from invdesign_core.errors import DataError
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.exact_inputs import ExactInputs
from invdesign_core.surrogate.scaling import Scaling
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.surrogate.trainer import Trainer
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_plugins.surrogates.gaussian_process import GaussianProcess as Builder
from invdesign_plugins.surrogates.process_fit import Likelihood, Rows
from invdesign_plugins.surrogates.process_model import GaussianProcess


def problem(seed: int, noise: float) -> tuple[Any, Any, Any]:
    """Return (n, e) designs and (n, 2) outputs of random shapes and lengths, and new designs, all of float32's grid."""
    rng = np.random.default_rng(seed)
    e, n = int(rng.integers(1, 6)), int(rng.integers(8, 80))
    x, new = rng.normal(size=(n, e)).astype(np.float32), rng.normal(size=(20, e)).astype(np.float32)
    y = np.stack([np.sin(x @ rng.normal(size=e)), x @ rng.normal(size=e) + np.cos(x[:, 0])], axis=1)
    y += noise * rng.normal(size=y.shape)
    return x.astype(np.float64), (y - y.mean(axis=0)) / y.std(axis=0), new.astype(np.float64)


def compiled(model: Any, columns: int) -> Any:
    """Return the model's mean and deviation and the mean's Jacobian, as a solver has them."""
    x = keras.Input((columns,))
    net = keras.Model(x, model(x))
    both = backend.load().residuals_and_jacobian(lambda x: keras.ops.concatenate(net(x), axis=1), net.variables)
    return lambda new: (*np.split(both(new)[0], 2, axis=1), both(new)[1])


def scikit_learns(model: Any, j: int, x: Any, y: Any) -> Any:
    """Return scikit-learn's regressor with the hyper-parameters of one output."""
    lengths, variance, ratio = (np.asarray(part, np.float64)[j] for part in hyperparameters(model))
    kernel = ConstantKernel(variance) * Matern(lengths, nu=2.5)
    return GaussianProcessRegressor(kernel, alpha=variance * ratio, optimizer=None).fit(x, y[:, j])


def hyperparameters(model: Any) -> list[Any]:
    return [keras.ops.convert_to_numpy(w.value) for w in (model.lengths, model.variance, model.noise_ratio)]


@pytest.mark.parametrize(("seed", "noise"), [(0, 0.3), (1, 0.01), (2, 1e-4), (3, 0.0)])
def test_mean_and_deviation_are_those_of_scikit_learn(seed: int, noise: float) -> None:
    x, y, new = problem(seed, noise)
    model = GaussianProcess(x.shape[1], 2).fit(x, y)
    mean, std = model.predict(new)
    for j in range(2):
        expected, deviation = scikit_learns(model, j, x, y).predict(new, return_std=True)
        size = np.sqrt(hyperparameters(model)[1][j])
        np.testing.assert_allclose(mean[:, j], expected, atol=1e-6, rtol=1e-6)
        np.testing.assert_allclose(std[:, j] / size, deviation / size, atol=1e-6)


def test_the_compiled_model_answers_the_same_with_the_exact_gradient_though_coefficients_are_large() -> None:
    x, y, new = problem(2, 1e-4)
    model = GaussianProcess(x.shape[1], 1).fit(x, y[:, :1])
    mean, std, jacobian = compiled(model, x.shape[1])(new)
    expected, deviation = model.predict(new)
    size = np.sqrt(hyperparameters(model)[1])
    np.testing.assert_allclose(mean, expected, atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(std / size, deviation / size, atol=1e-6)
    theirs, (lengths, variance, _) = scikit_learns(model, 0, x, y), hyperparameters(model)
    away = (new[:, None] - x) / lengths[0]
    r = np.sqrt(5) * np.linalg.norm(away, axis=2)
    slope = -5 / 3 * variance[0] * ((1 + r) * np.exp(-r) * theirs.alpha_)[:, :, None] * away / lengths[0]
    np.testing.assert_allclose(jacobian[:, 0], slope.sum(axis=1), atol=1e-5, rtol=1e-5)


def test_the_likelihood_has_the_gradient_that_it_gives() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 4))
    rows = Rows(x, np.sin(x[:, 0]), rng.integers(1, 4, 30).astype(float), within=0.3, count=70)
    for exploring in (False, True):
        likelihood = Likelihood(rows, np.array([0, 1, 1, 2]), np.array([1.0, 0.5, 2.0, 1.0]), exploring)
        at, step = np.array([0.1, 0.5, -0.3, -3.0]), 1e-6 * np.eye(4)
        central = [(likelihood(at + s)[0] - likelihood(at - s)[0]) / 2e-6 for s in step]
        np.testing.assert_allclose(likelihood(at)[1], central, rtol=1e-5)


def test_an_exploring_process_does_not_take_a_few_rows_of_waves_for_noise() -> None:
    noise = []
    for seed in range(6):
        x = np.random.default_rng(seed).uniform(-1.7, 1.7, (8, 1))
        y = np.sin(6 * x)
        y /= y.std()
        noise.append([GaussianProcess(1, 1, exploring=way).fit(x, y).noise[0] for way in (False, True)])
    plain, exploring = np.max(noise, axis=0)
    assert exploring < 0.25 < 0.5 < plain


def test_repeated_designs_are_one_design_with_the_mean_of_their_measurements_and_less_noise() -> None:
    x, y = np.array([[1.0], [2.0], [1.0]]), np.array([3.0, 5.0, 4.0])
    rows = Rows.distinct(x, y, weight=np.array([1.0, 1.0, 2.0]))
    assert rows.x.tolist() == [[1.0], [2.0]]
    np.testing.assert_allclose(rows.y, [11 / 3, 5])
    assert rows.weight.tolist() == [3.0, 1.0]
    np.testing.assert_allclose(rows.within, (3 - 11 / 3) ** 2 + 2 * (4 - 11 / 3) ** 2)
    assert rows.count == 3


def test_each_output_learns_from_the_rows_where_it_was_measured() -> None:
    x, y, new = problem(5, 0.2)
    gaps = y.copy()
    gaps[::3, 1] = np.nan
    apart = GaussianProcess(x.shape[1], 1).fit(np.delete(x, np.s_[::3], 0), np.delete(y[:, 1:], np.s_[::3], 0))
    together = GaussianProcess(x.shape[1], 2).fit(x, gaps)
    for ours, alone in zip(together.predict(new), apart.predict(new), strict=True):
        np.testing.assert_allclose(ours[:, 1:], alone, atol=1e-6)


@pytest.mark.long
def test_a_design_far_from_all_rows_is_as_uncertain_as_one_can_be_and_ranks_last() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (60, 2))
    y = np.sin(5 * X[:, 0]) * X[:, 1]
    model = InverseDesign(surrogate="gaussian-process", bounds={"x1": [0, 4], "x2": [0, 4]}).fit(X, y)
    std = model.surrogate_.predict(np.array([X[0], [4.0, 4.0]])).std
    assert std[1] > 100 * std[0]
    answers = model.invert({"y": 0.5})
    beyond = (answers.starts[["design.x1", "design.x2"]] > 1.2).any(axis=1)
    assert beyond.any()
    assert answers.starts["variance"][beyond].min() > answers.starts["variance"].min()
    assert (answers.designs.iloc[0][["design.x1", "design.x2"]] < 1.2).all()


def test_more_distinct_designs_than_it_takes_are_refused_unless_it_may_choose_some() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (2100, 1))
    y = np.sin(9 * X[:, 0])
    with pytest.raises(DataError, match=r"2100 distinct designs.*2000 at most\n.*surrogate.rows = 2000"):
        InverseDesign(surrogate="gaussian-process").fit(X, y)
    model = InverseDesign(surrogate={"use": "gaussian-process", "rows": 60}).fit(X, y)
    assert model.report_.test["y"].rmse < 1e-3


def test_that_it_learns_from_some_designs_is_said_once_however_many_models_are_built() -> None:
    said: list[Any] = []
    x, y, _ = problem(2, 0.1)
    data = Data.from_frame(pd.DataFrame({"x": x[:, 0], "y": y[:, 0]}), ["y"])
    ctx = Context(emit=said.append)
    trainer = Trainer(Builder(rows=10), data, split_rows(data, 0.1, 0.0, ctx), Training(), ctx)
    models = [trainer.build(kt.HyperParameters(), index) for index in (0, 0, 1)]
    assert [model.limit for model in models] == [10, 10, 10]
    assert said == [Note("surrogate 'gaussian-process' learns from at most 10 of 26 distinct designs")]


READ = """
import sys
import numpy as np
from pathlib import Path
from invdesign_core.surrogate.exact_inputs import ExactInputs
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.surrogate.trainer import Trainer
answer = Surrogate.load(Path(sys.argv[1])).predict(np.load(sys.argv[2]))
np.save(sys.argv[3], np.stack([answer.mean, answer.std]))
"""


@pytest.mark.long
def test_a_saved_process_is_read_in_another_process_on_the_other_backend_without_naming_its_module(
    tmp_path: Path,
) -> None:
    x, y, new = problem(2, 0.01)
    model = InverseDesign(surrogate="gaussian-process").fit(x, y[:, 0])
    model.surrogate_.save(tmp_path / "surrogate")
    np.save(tmp_path / "x.npy", new)
    subprocess.run(
        [sys.executable, "-c", READ, tmp_path / "surrogate", tmp_path / "x.npy", tmp_path / "answer.npy"],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        check=True,
    )
    answer = model.surrogate_.predict(new)
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), [answer.mean, answer.std], rtol=1e-4, atol=1e-5)


def test_members_that_know_their_deviation_have_the_total_of_theirs_and_of_their_disagreement() -> None:
    x, y, new = problem(2, 0.1)
    one, other = (InverseDesign(surrogate="gaussian-process", seed=s).fit(x, y[:, 0]).surrogate_ for s in (0, 1))
    both = replace(
        one, members=(one.members[0], Surrogate.of_model(other.members[0], one.space, one.outputs).members[0])
    )
    first, second, answer = (each.predict(new) for each in (one, other, both))
    means, variances = np.stack([first.mean, second.mean]), np.stack([first.std, second.std]) ** 2
    np.testing.assert_allclose(answer.mean, means.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(answer.std**2, variances.mean(axis=0) + means.var(axis=0), rtol=1e-3, atol=1e-6)


@pytest.mark.long
def test_every_default_solver_works_on_it() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (50, 2))
    model = InverseDesign(surrogate="gaussian-process").fit(X, np.sin(5 * X[:, 0]) * X[:, 1])
    for solver in ("least-squares", "lbfgsb", "slsqp", "differential-evolution"):
        model.solver = {"use": solver, "starts": 8}
        assert abs(model.invert({"y": 0.5}).designs.iloc[0]["prediction.y"] - 0.5) < 1e-3, solver


@pytest.mark.parametrize("value", [0.0, 2.3])
def test_an_output_that_is_one_number_in_all_rows_is_learnt_as_that_number(value: float) -> None:
    x, y, _ = problem(7, 0.1)
    constant = np.full((len(x), 1), value)
    for outputs in (constant, np.column_stack([constant, y])):
        mean, deviation = GaussianProcess(x.shape[1], outputs.shape[1]).fit(x, outputs).predict(x)
        np.testing.assert_allclose(mean[:, 0], value, atol=1e-2)
        assert np.isfinite(deviation).all()


@pytest.mark.parametrize("parts", [("process",), ("process", "net"), ("net", "process", "process")])
def test_answers_by_numpy_are_those_of_the_compiled_members(parts: tuple[str, ...]) -> None:
    rng = np.random.default_rng(len(parts))
    x = rng.uniform(0, 50, (30, 2))
    y = np.stack([x[:, 0] * x[:, 1], np.full(30, 7.0)], axis=1)  # one output is constant
    scaling, members = Scaling.of(x, y), []
    for part in parts:
        if part == "process":
            net: Any = GaussianProcess(2, 2).fit(
                scaling.inputs(x), scaling.outputs(y) + 0.01 * rng.normal(size=y.shape)
            )
        else:
            net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(2)])
        members.append(scaling.wrap(net))
    space = Space((Variable("a", lower=0, upper=50), Variable("b", lower=0, upper=50)))
    weights = rng.dirichlet(np.ones(len(parts)), 2).T if len(parts) > 1 else None
    surrogate = replace(Surrogate.trained(members, space, ("y", "c"), scaling, x, y), weights=weights)
    new = rng.uniform(0, 60, (9, 2))
    known = surrogate.predict_z(new)
    mean, std = surrogate._compiled(new)
    np.testing.assert_allclose(known.mean, mean, atol=2e-6)
    np.testing.assert_allclose(known.std, std, atol=2e-5)
    np.testing.assert_allclose(surrogate.mean_z(new), known.mean, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 500.0])
@pytest.mark.parametrize("offset", [0.0, 50.0, -1e3, 101_325.0, 2e6])
def test_predictions_are_what_the_saved_model_says_however_far_from_0_its_inputs_are(
    offset: float, scale: float
) -> None:
    rng = np.random.default_rng(0)
    x, new = (offset + scale * rng.normal(size=(n, 2)) for n in (40, 25))
    y = np.sin((x - offset) / scale).sum(axis=1, keepdims=True)
    scaling = Scaling.of(x, y)
    member = scaling.wrap(GaussianProcess(2, 1).fit(scaling.inputs(x), scaling.outputs(y)))
    space = Space(tuple(Variable(name, lower=-1e9, upper=1e9) for name in "ab"))
    surrogate = Surrogate.trained([member], space, ("y",), scaling, x, y)
    said = np.asarray(member(new.astype("float32")))
    np.testing.assert_allclose(surrogate.predict(new).mean, said, atol=2e-5)
    np.testing.assert_allclose(surrogate.units(surrogate._compiled(new)[0]), said, atol=2e-5)


def test_means_alone_are_the_means_that_come_with_the_deviation() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (20, 2))
    model = InverseDesign("gaussian-process").fit(x, x[:, 0] + x[:, 1] ** 2)
    new = rng.uniform(0, 1, (7, 2))
    for surrogate in (model.surrogate_, ExactInputs.beside(model.surrogate_, ["x1"])):
        both = surrogate.predict_z(new)
        assert both.std is not None
        np.testing.assert_allclose(surrogate.mean_z(new), both.mean, atol=1e-6)
