"""A plugin's fault is the plugin's: an error that names it, never a crash of ours and never a silent wrong answer."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from conftest import invert, lin

from invdesign_core.context import Context
from invdesign_core.errors import PluginError, SolverError, TrainingError
from invdesign_core.plugin import Data, Dataset, Objective, Solver, SolverResult, SurrogateBuilder, Tuner
from invdesign_core.registry import Registry
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.validate import load

REGISTRY = Registry.discover()
SPACE = Space((Variable("x1", lower=0, upper=1), Variable("x2", lower=0, upper=1)))


def solve(objective=None, solver=None, truth=None):
    surrogate = Surrogate.of_model(lin([[1], [1]]), SPACE, ("y",))
    objective = objective or REGISTRY.create("objective", "mse", {})
    solver = solver or REGISTRY.create("solver", "lbfgsb", {"starts": 4})
    return invert(surrogate, parse_targets({"y": 1}, ("y",)), SPACE, objective, solver, Context(), truth=truth)


def make(base, name="odd", **methods):
    return type(
        "Odd", (base,), {"name": name, "__doc__": "Odd.", "__annotations__": {"name": ClassVar[str]}, **methods}
    )


def fails(*_):
    raise RuntimeError("out of order")


@pytest.mark.parametrize("answer", [fails, lambda self, ctx: None])
def test_a_dataset_that_fails_is_named(answer):
    with pytest.raises(PluginError, match="dataset 'odd' failed"):
        load(make(Dataset, load=answer)(), Context())


@pytest.mark.parametrize("answer", [fails, lambda self, z, goal: z.mean, lambda self, z, goal: None])
@pytest.mark.parametrize("method", ["loss", "residuals"])
def test_an_objective_that_fails_or_answers_another_shape_is_named(method, answer):
    if method == "residuals" and answer is not fails:
        answer = lambda self, z, goal: z.mean[:, 0]  # noqa: E731
    with pytest.raises(PluginError, match="objective 'odd' failed"):
        solve(objective=make(Objective, **{method: answer})())


@pytest.mark.parametrize(
    "answer",
    [
        fails,
        lambda self, problem, u0, ctx: None,
        lambda self, problem, u0, ctx: SolverResult(u0, ["fine"] * len(u0), [""] * len(u0)),
    ],
)
def test_a_solver_that_fails_or_answers_nonsense_is_named(answer):
    with pytest.raises(SolverError, match="solver 'odd'"):
        solve(solver=make(Solver, solve=answer)(starts=4))


@pytest.mark.parametrize("truth", [fails, lambda frame: 3])
def test_a_true_model_that_fails_costs_no_answer_and_its_designs_say_why(truth):
    found = solve(truth=truth)
    assert found.status == "not met"
    assert len(found.designs) > 0
    why = "RuntimeError: out of order" if truth is fails else "it returned 3, expected a DataFrame"
    assert {text.partition(" (test_")[0] for text in found.designs["failed"]} == {why}


class Forest:
    """A regressor that answers what it is told."""

    def __init__(self, answer):
        self.answer = answer

    def fit(self, X, y):
        return self

    def predict(self, X):
        return self.answer(X)


def builder(build):
    return make(SurrogateBuilder, "odd", build=build, differentiable=False)()


def wide(X):
    return np.zeros((len(X), 3))


def fit(surrogate, tuner="grid-search"):
    X = np.random.default_rng(0).random((40, 2))
    solver = make(Solver, "any", solve=fails)()
    return InverseDesign(surrogate, tuner, solver=solver).fit(X, X)


def test_a_builder_that_fails_is_named():
    with pytest.raises(PluginError, match="surrogate 'odd' failed to build: RuntimeError: out of order"):
        fit(builder(fails))


def test_a_regressor_of_another_width_is_refused():
    with pytest.raises(PluginError, match=r"predicts shape \(32, 3\) for 32 rows, expected \(32, 2\)"):
        fit(builder(lambda self, hp, data: Forest(wide)))


def test_a_regressor_that_can_not_be_saved_is_refused_before_training():
    with pytest.raises(PluginError, match="can't be pickled"):
        fit(builder(lambda self, hp, data: Forest(lambda X: X)))


def same(X):
    return X


@pytest.mark.parametrize(
    ("search", "error", "message"),
    [
        (fails, PluginError, "tuner 'odd' failed: RuntimeError"),
        (lambda self, space, evaluate, ctx: None, TrainingError, "asked for no trial"),
    ],
)
def test_a_tuner_that_fails_or_asks_for_nothing_is_named(search, error, message):
    with pytest.raises(error, match=message):
        fit(builder(lambda self, hp, data: Forest(same)), make(Tuner, search=search)())


def test_a_fault_while_training_is_not_blamed_on_the_tuner(monkeypatch):
    from invdesign_core.surrogate import regressors

    monkeypatch.setattr(regressors, "regressor_answer", fails)
    with pytest.raises(TrainingError, match="out of order"):
        fit(builder(lambda self, hp, data: Forest(same)))


def test_an_unseeded_regressor_is_reproducible():
    from sklearn.ensemble import RandomForestRegressor

    results = []
    for _ in range(2):
        model = fit(builder(lambda self, hp, data: RandomForestRegressor(n_estimators=5)))
        results.append(model.predict(np.full((1, 2), 0.3)))
    assert (results[0] == results[1]).all()


def test_an_option_called_name_is_pointed_out_to_the_plugin_author():
    with pytest.raises(TypeError, match="annotate `name` as ClassVar"):

        class Odd(Dataset):
            name: str = "odd"


def test_data_of_a_dataset_reach_the_builder_unchanged():
    seen = []

    def build(self, hp, data):
        seen.append(data)
        return Forest(same)

    fit(builder(build))
    assert isinstance(seen[0], Data)
    assert Experiment().seed == 0
