"""The training rows nearest to a target: the baseline that a search has to beat."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import fn, invert, lin

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError
from invdesign_core.registry import Registry
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets

REGISTRY = Registry.discover()


def answer(model, targets, rows, solver="dataset-search", objective="mse", space=None, **options):
    """Solve for a network that is exact, so that the rows' outputs are its own."""
    outputs = tuple(targets)
    space = space or Space(tuple(Variable(f"x{i + 1}", lower=0, upper=1) for i in range(rows.shape[1])))
    y = model.predict(rows.astype(np.float32), verbose=0).astype(float)
    answers = invert(
        Surrogate.of_model(model, space, outputs, y=y),
        parse_targets(targets, outputs),
        space,
        REGISTRY.create("objective", objective, {}),
        REGISTRY.create("solver", solver, options),
        Context(),
        (rows, y),
    )
    return answers, y


def wavy():
    from keras import ops

    return fn(2, lambda x: ops.stack([ops.sin(3 * x[:, 0]) + x[:, 1] ** 2, x[:, 0] * x[:, 1]], axis=1))


@pytest.fixture
def rows():
    return np.random.default_rng(0).random((200, 2))


def test_its_best_design_is_the_nearest_row_of_the_table(rows):
    answers, y = answer(lin([[1], [1]]), {"y": 1.3}, rows)
    nearest = np.abs(y[:, 0] - 1.3).argmin()
    best = answers.designs.iloc[0]
    assert best.filter(like="design.").to_numpy(float) == pytest.approx(rows[nearest], abs=1e-12)
    assert abs(best["miss.y"]) == pytest.approx(np.abs(y[:, 0] - 1.3).min(), abs=1e-6)


@pytest.mark.parametrize("objective", ["mse", "mae", "max-miss"])
def test_nearest_is_meant_as_the_objective_means_it(rows, objective):
    answers, y = answer(wavy(), {"a": 0.9, "b": 0.4}, rows, objective=objective)
    miss = np.abs((y - [0.9, 0.4]) / y.std(axis=0))
    of_rows = {"mse": (miss**2).mean(axis=1), "mae": miss.mean(axis=1), "max-miss": miss.max(axis=1)}[objective]
    best = answers.designs.filter(like="design.").to_numpy(float)[0]
    assert best == pytest.approx(rows[of_rows.argmin()], abs=1e-12)


def test_every_design_is_a_row_and_no_other_row_is_nearer(rows):
    answers, y = answer(lin([[1], [1]]), {"y": 1.3}, rows, starts=10)
    found = answers.starts.filter(like="design.").to_numpy(float)
    distance = np.abs(found[:, None] - rows).max(axis=2)
    assert distance.min(axis=1).max() < 1e-12
    assert sorted(distance.argmin(axis=1)) == sorted(np.abs(y[:, 0] - 1.3).argsort()[:10])
    assert not answers.starts["moved"].any()
    assert (answers.starts["evaluations"] == 1).all()
    assert answers.counts()["converged"] == 0, "it claims no search"


def test_a_search_beats_it_on_a_smooth_problem(rows):
    targets = {"a": 0.9, "b": 0.4}
    rows_only, _ = answer(wavy(), targets, rows)
    search, _ = answer(wavy(), targets, rows, "lbfgsb")
    worst = [np.abs(a.designs.filter(like="miss.").to_numpy()[0]).max() for a in (rows_only, search)]
    assert worst[1] < worst[0] / 100


def test_categories_and_whole_numbers_stay_those_of_the_row():
    space = Space(
        (
            Variable("kind", "categorical", levels=("A", "B", "C")),
            Variable("n", "integer", lower=0, upper=9),
            Variable("x", lower=0, upper=1),
        )
    )
    rng = np.random.default_rng(1)
    kinds, n, x = rng.integers(0, 3, 80), rng.integers(0, 10, 80), rng.random(80)
    rows = np.column_stack([np.eye(3)[kinds], n, x])
    answers, y = answer(lin([[0], [1], [5], [1], [1]]), {"y": 7.3}, rows, space=space)
    nearest = np.abs(y[:, 0] - 7.3).argmin()
    best = answers.designs.iloc[0]
    assert best["design.kind"] == "ABC"[kinds[nearest]]
    assert best["design.n"] == n[nearest]
    assert best["design.x"] == pytest.approx(x[nearest], abs=1e-12)
    assert best["prediction.y"] == pytest.approx(y[nearest, 0], abs=1e-5)


def test_rows_come_from_the_data_and_from_nowhere_else(rows):
    with pytest.raises(ConfigError, match="option 'init': found 'sobol', input should be 'data'"):
        REGISTRY.create("solver", "dataset-search", {"init": "sobol"})
    space = Space((Variable("x1", lower=0, upper=1), Variable("x2", lower=0, upper=1)))
    with pytest.raises(ConfigError, match="training data"):
        invert(
            Surrogate.of_model(lin([[1], [1]]), space, ("y",)),
            parse_targets({"y": 1.3}, ("y",)),
            space,
            REGISTRY.create("objective", "mse", {}),
            REGISTRY.create("solver", "dataset-search", {}),
            Context(),
        )


def test_it_needs_nothing_and_is_never_chosen_by_itself():
    from invdesign_core.workflow.solver_choice import Requirements, check_solver, choose_solver

    solver = REGISTRY.create("solver", "dataset-search", {})
    mae, installed = REGISTRY.create("objective", "mae", {}), REGISTRY.labels("solver")
    check_solver(solver, Requirements(mae, "forest", False))
    for differentiable in (True, False):
        assert choose_solver(installed, Requirements(mae, "net", differentiable), {}).name != "dataset-search"
