"""The polynomial of `ridge`: its numbers, what it says of tables that are polynomials, and its gradient."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from invdesign_core.surrogate import backend
from invdesign_core.surrogate.keras_file import load_model
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_plugins.surrogates import ridge_model
from invdesign_plugins.surrogates.ridge_model import Polynomial, ridge


def table(seed: int, rows: int) -> Any:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 3)), rng


def test_a_table_that_is_a_polynomial_of_the_second_degree_is_found_exactly() -> None:
    X, _ = table(0, 40)
    y = 3 + X[:, 0] - 2 * X[:, 1] * X[:, 2] + X[:, 2] ** 2
    model = InverseDesign(surrogate="ridge").fit(X, y)
    assert model.report_.test["y"].rmse < 1e-4
    best = model.invert({"y": 5.0}).designs.iloc[0]
    x = [best[f"design.x{i}"] for i in (1, 2, 3)]
    assert 3 + x[0] - 2 * x[1] * x[2] + x[2] ** 2 == pytest.approx(5, abs=1e-3)


@pytest.mark.parametrize("surrogate", ["ridge", "gaussian-process"])
def test_of_no_designs_nothing_is_predicted(surrogate: str) -> None:
    X, _ = table(0, 20)
    found = InverseDesign(surrogate=surrogate).fit(X, X[:, :2] ** 2).surrogate_
    none = np.empty((0, 3))
    assert found.predict(none).mean.shape == found.mean_z(none).shape == (0, 2)


def test_the_penalty_is_the_best_by_leaving_each_row_out() -> None:
    x, rng = table(1, 25)
    terms = np.concatenate([x, x**2], axis=1)
    y = (x[:, 0] + 0.3 * x[:, 1] ** 2 + 0.3 * rng.normal(size=25))[:, None]
    weight = np.ones(25)
    chosen = ridge(terms, y, weight, 3)

    def left_out(penalties: Any, sizes: Any) -> float:
        """Return the leave-one-out error of one penalty, by 25 fits on the same standardised terms."""
        centre, deviation = terms.mean(axis=0), terms.std(axis=0)
        design, total = (terms - centre) / deviation * sizes, 0.0
        for i in range(25):
            keep = np.arange(25) != i
            a = np.concatenate([design[keep], np.ones((24, 1))], axis=1)
            gram = a.T @ a + 25 * np.diag([*[penalties] * 6, 0])
            total += float((np.append(design[i], 1) @ np.linalg.solve(gram, a.T @ y[keep, 0]) - y[i, 0]) ** 2)
        return total

    scores = {
        (size, penalty): left_out(penalty, np.array([1, 1, 1, *[max(size, 1e-9)] * 3]))
        for size in ridge_model.SECOND_DEGREE
        for penalty in ridge_model.PENALTIES[16:]
    }
    size, penalty = min(scores, key=lambda key: scores[key])
    sizes = np.array([1, 1, 1, *[size] * 3])
    design = (terms - terms.mean(axis=0)) / terms.std(axis=0) * sizes
    expected = np.linalg.solve(design.T @ design + 25 * penalty * np.eye(6), design.T @ (y - y.mean())) * sizes[:, None]
    np.testing.assert_allclose(chosen[0], expected / terms.std(axis=0)[:, None], atol=1e-6)


def test_a_straight_line_in_noise_has_no_squares() -> None:
    x, rng = table(2, 30)
    model = Polynomial(3, 1, [(i, j) for i in range(3) for j in range(i, 3)])
    model.fit(x, x[:, :1] + 0.3 * rng.normal(size=(30, 1)))
    kernel = np.asarray(model.get_weights()[0])[:, 0]
    assert np.abs(kernel[3:]).max() < 0.1 < kernel[0]


def test_more_columns_than_rows_and_a_constant_column_are_no_obstacle() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 20))
    x[:, 3] = 0.0
    model = Polynomial(20, 1, [(i, i) for i in range(20)]).fit(x, x[:, :1])
    assert all(np.isfinite(weights).all() for weights in model.get_weights())


def test_a_model_of_an_installed_plugin_is_read_without_naming_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, _ = table(0, 20)
    model = Polynomial(3, 1, [(0, 1)]).fit(x, x[:, :1])
    inputs = keras.Input((3,))
    with backend.lean():
        keras.Model(inputs, model(inputs)).save(tmp_path / "model.keras")
    monkeypatch.delitem(keras.saving.get_custom_objects(), "invdesign>Polynomial")
    monkeypatch.delitem(sys.modules, Polynomial.__module__)
    read = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(read.get_weights()[0], model.get_weights()[0])


def test_boosted_trees_learn_steps_and_are_searched_without_gradients() -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (150, 2))
    y = np.stack([np.where(X[:, 0] > 0.5, 2.0, 1.0), X[:, 1]], axis=1)
    model = InverseDesign(surrogate={"use": "gradient-boosting", "trees": 60}).fit(X, y)
    assert model.report_.test["y1"].r2 > 0.9
    assert model.invert({"y1": 2.0}).designs.iloc[0]["design.x1"] > 0.45
