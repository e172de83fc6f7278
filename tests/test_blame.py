"""Whose fault it is: messages name the plugin, its distribution and the line, and nobody else is blamed."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from conftest import called
from distributions import imported_from, put
from test_plugin_faults import Forest, builder, fails, fit, make, same, solve

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError, DataError, InvdesignError, PluginError, TrainingError
from invdesign_core.plugin import (
    Data,
    Dataset,
    Objective,
    Plugin,
    Solver,
    SolverResult,
    Space,
    Status,
    SurrogateBuilder,
    Trial,
    Tuner,
    Variable,
)
from invdesign_core.registry import Registry
from invdesign_core.registry.contract import hold_to
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.validate import load

ODD = """
    from typing import ClassVar

    import numpy as np
    import pandas as pd
    from invdesign_core.plugin import Data, Dataset, Objective, Solver, Tuner, hookimpl
    from pydantic import Field


    class OddData(Dataset):
        \"\"\"Fails.\"\"\"

        name: ClassVar[str] = "odd"

        key: str = Field("mss", description="A key.")

        def load(self, ctx):
            frame = pd.DataFrame({"a": np.arange(20.0), "y": np.arange(20.0)})
            return Data.from_frame(frame.assign(b=frame[self.key]), ["y"])


    @hookimpl
    def invdesign_datasets():
        return [OddData]
"""


@pytest.fixture
def site(tmp_path):
    with imported_from(tmp_path / "site") as folder:
        yield folder


# The message


def test_a_fault_names_the_plugin_its_distribution_and_the_line(site, tmp_path):
    put(site, "invdesign-odd", "2.1", ODD)
    done = called(["validate", "--dataset", "odd"], tmp_path, {})
    assert done.code == 3
    assert "dataset 'odd' (invdesign-odd 2.1) failed: KeyError: 'mss'" in done.err
    assert '(invdesign_odd.py, line 18: return Data.from_frame(frame.assign(b=frame[self.key]), ["y"]))' in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("way", [("--traceback", {}), ("-q", {"INVDESIGN_TRACEBACK": "1"})])
def test_the_whole_traceback_is_shown_on_request(site, tmp_path, way):
    put(site, "invdesign-odd", "2.1", ODD)
    done = called(["validate", "--dataset", "odd", way[0]], tmp_path, way[1])
    assert "Traceback (most recent call last)" in done.err
    assert "pandas" in done.err
    assert "KeyError: 'mss'" in done.err


def test_the_cause_is_kept_in_python():
    with pytest.raises(PluginError) as seen:
        load(make(Dataset, load=fails)(), Context())
    assert isinstance(seen.value.__cause__, RuntimeError)
    assert "test_plugin_faults.py, line" in seen.value.message
    assert 'raise RuntimeError("out of order")' in seen.value.message


def test_an_observer_and_a_log_hear_how_a_run_failed(site, tmp_path):
    put(site, "invdesign-odd", "2.1", ODD)
    (tmp_path / "watch.py").write_text(
        "import json\nfrom pathlib import Path\nfrom invdesign_core.plugin import hookimpl\n"
        "@hookimpl\ndef invdesign_event(event):\n"
        "    with Path('seen.jsonl').open('a') as file:\n"
        "        file.write(json.dumps([event.kind, event.data], default=str) + '\\n')\n"
    )
    assert called(["run", "--dataset", "odd", "--plugin", "watch.py"], tmp_path, {}).code == 3
    seen = [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text().splitlines()]
    assert [kind for kind, _ in seen] == ["stage", "failed"]
    assert seen[-1][1]["error"] == "PluginError"
    assert "KeyError: 'mss'" in seen[-1][1]["traceback"]


@pytest.mark.parametrize("method", ["loss", "residuals"])
def test_numpy_in_an_objective_gets_the_hint_to_use_keras_ops(method):
    answers = {"loss": lambda self, z, goal: np.abs(np.asarray(z.mean)).sum(axis=1)}
    answers["residuals"] = lambda self, z, goal: z.mean if float(z.mean[0, 0]) > 0 else -z.mean
    with pytest.raises(PluginError, match=r"[Tt]racer(.|\n)*keras\.ops") as seen:
        solve(objective=make(Objective, **{method: answers[method]})())
    assert "test_blame.py, line" in seen.value.message


# Contracts of classes


@pytest.mark.parametrize(
    ("base", "methods", "said"),
    [
        (Dataset, {}, r"has no method load\(ctx\)"),
        (Dataset, {"load": lambda self: None}, r"Odd.load\(\) can't be called as load\(ctx\)"),
        (SurrogateBuilder, {}, "has no method build"),
        (SurrogateBuilder, {"build": lambda self, a, b, c, d: None}, "needs more than there is"),
        (SurrogateBuilder, {"build": lambda self, hp: None, "recipe": lambda self: {}}, r"recipe\(\) can't be called"),
        (Tuner, {}, "has no method search"),
        (
            Tuner,
            {"search": lambda self, space: None},
            r"search\(space\) can't be called as search\(space, ev",
        ),
        (Objective, {}, "neither loss nor residuals"),
        (Objective, {"loss": lambda self, z: None}, r"loss\(z\) can't be called as loss\(z, goal\)"),
        (Solver, {}, "has no method solve"),
        (Solver, {"solve": lambda self, problem, u0: None}, "can't be called as solve"),
        (Solver, {"solve": lambda *_: None, "needs": frozenset({"gradients"})}, "expected a set of gradient"),
        (Solver, {"solve": lambda *_: None, "check": lambda self: None}, r"check\(\) can't be called"),
    ],
)
def test_a_class_without_what_its_kind_needs_is_refused_when_it_is_loaded(base, methods, said):
    with pytest.raises(PluginError, match=said):
        hold_to(make(base, **methods), base.kind)


def test_a_plugin_object_in_python_is_held_to_the_same():
    with pytest.raises(PluginError, match="has no method solve"):
        InverseDesign("ridge", solver=make(Solver)()).fit(np.eye(8), np.arange(8.0))


def test_a_solver_can_not_be_called_auto():
    with pytest.raises(PluginError, match="'auto' lets invdesign choose"):
        hold_to(make(Solver, "auto", solve=fails), "solver")


# Answers of datasets


def table(space, frame, outputs=("y",), **more):
    rows = len(next(iter(frame.values())))
    return lambda self, ctx: Data(pd.DataFrame({**frame, "y": np.arange(float(rows))}), space, outputs, **more)


N = 8


@pytest.mark.parametrize(
    ("variable", "cells", "said"),
    [
        (
            Variable("n", "integer", lower=0, upper=9),
            [1, 2, 3, 2.5] * 2,
            r"row 4: found 2.5, expected a whole",
        ),
        (Variable("x", lower=0, upper=1), [0.5] * 7 + [99.0], r"row 8: found 99.0, expected a value from 0 to 1"),
        (
            Variable("k", "categorical", levels=("a", "b")),
            ["a", "b"] * 3 + ["c", "a"],
            "row 7: found 'c', expected",
        ),
        (Variable("l", "levels", levels=(1, 2, 4)), [1, 2, 4, 3] * 2, r"row 4: found 3, expected one of 1, 2, 4"),
        (Variable("b", "binary"), [0, 1, 7, 0] * 2, r"row 3: found 7"),
    ],
)
def test_values_that_a_variable_can_not_have_are_the_datasets(variable, cells, said):
    dataset = make(Dataset, load=table(Space((variable,)), {variable.name: cells}))()
    with pytest.raises(DataError, match=rf"dataset 'odd': .*{said}"):
        load(dataset, Context())


def test_outputs_named_twice_are_the_datasets():
    load_twice = table(Space((Variable("x", lower=0, upper=9),)), {"x": np.arange(8.0)}, ("y", "y"))
    with pytest.raises(DataError, match=r"dataset 'odd': the name 'y' appears twice"):
        load(make(Dataset, load=load_twice)(), Context())


@pytest.mark.parametrize("answer", [None, np.zeros((1000, 3)), [1, 2]])
def test_messages_tell_types_and_shapes_and_never_the_whole_array(answer):
    with pytest.raises(PluginError) as seen:
        load(make(Dataset, load=lambda self, ctx: answer)(), Context())
    assert len(seen.value.message) < 250
    assert any(words in seen.value.message for words in ("None", "ndarray of shape (1000, 3)", "a list of 2"))


# Objectives


@pytest.mark.parametrize(
    ("answer", "said"), [(lambda z: z * np.nan, "not finite"), (lambda z: -1.0 - z * z, "below 0")]
)
def test_losses_that_are_no_losses_are_the_objectives(answer, said):
    with pytest.raises(PluginError, match=rf"objective 'odd' answered a loss (that is )?{said}"):
        solve(objective=make(Objective, loss=lambda self, z, goal: answer(z.mean[:, 0]))())


def test_an_objective_knows_what_the_outputs_are_called():
    seen = set()

    def loss(self, z, goal):
        seen.add(goal.outputs)
        return ((z.mean - goal.lower) ** 2)[:, 0]

    solve(objective=make(Objective, loss=loss)())
    assert seen == {("y",)}


# Tuners


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        ([Trial({"rate": 5.0})], "a trial sets rate = 5.0, expected a number from 0.1 to 1"),
        ([Trial({"rate": float("nan")})], "rate = nan"),
        ([Trial({"rate": "fast"})], "rate = 'fast'"),
        ([Trial({"depth": 2.5})], "depth = 2.5, expected a whole number from 1 to 4"),
        ([Trial({"how": "c"})], "expected one of 'a', 'b'"),
        ([Trial({"rat": 0.5})], "sets the hyper-parameter 'rat': did you mean 'rate'"),
        ([Trial(epochs=0)], "epochs = 0, expected a whole number of 1 or more"),
        ([Trial(epochs="many")], "epochs = 'many'"),
        ([Trial(resume=7)], "to continue from trial 7"),
        ([{"rate": 0.5}], "asked for a dict of 1, expected a Trial"),
        (Trial(), "expected a list of Trials"),
    ],
)
def test_an_impossible_trial_is_the_tuners(trials, said):
    def build(self, hp, data):
        hp.Float("rate", 0.1, 1.0), hp.Int("depth", 1, 4), hp.Choice("how", ["a", "b"])
        return Forest(same)

    with pytest.raises(PluginError, match=rf"tuner 'odd' failed: (Type|Value)Error: .*{said}") as seen:
        fit(builder(build), make(Tuner, search=lambda self, space, evaluate, ctx: evaluate(trials))())
    assert "test_blame.py, line" in seen.value.message


# Surrogates


def test_one_build_that_raises_costs_its_trial():
    def build(self, hp, data):
        if hp.Choice("how", ["a", "b", "c"]) == "b":
            raise ValueError("b is out of stock")
        return Forest(same)

    model = fit(builder(build))
    assert (model.report_.trials, model.report_.failed) == (3, 1)


def test_builds_that_all_raise_end_the_search_with_the_first_reason():
    calls = []

    def build(self, hp, data):
        hp.Choice("how", ["a", "b"])
        calls.append(1)
        if len(calls) > 1:
            raise ValueError(f"out of stock, {len(calls)}")
        return Forest(same)

    with pytest.raises(TrainingError, match=r"in 2 trials: surrogate 'odd' failed to build: .*out of stock, 2"):
        fit(builder(build))


def test_a_layer_that_raises_while_it_trains_is_the_surrogates():
    import keras

    class Layer(keras.layers.Layer):
        def call(self, x, training=False):
            if training:
                raise RuntimeError("not while training")
            return x

    def build(self, hp, data):
        net = keras.Sequential([keras.Input((2,)), Layer(), keras.layers.Dense(2)])
        net.compile("sgd", "mse")
        return net

    X = np.random.default_rng(0).random((40, 2))
    with pytest.raises(PluginError, match=r"surrogate 'odd'.*failed: RuntimeError(.|\n)*test_blame.py, line"):
        InverseDesign(make(SurrogateBuilder, build=build)(), training={"epochs": 2}).fit(X, X)


# Solvers


def test_points_that_are_not_finite_are_never_converged():
    def answer(self, problem, u0, ctx):
        problem.value(u0)
        u = u0.copy()
        u[1:] = np.nan
        return SolverResult(u, Status.CONVERGED)

    found = solve(solver=make(Solver, solve=answer)(starts=4))
    assert sorted(found.starts["status"])[:1] == ["converged"] or "failed" in set(found.starts["status"])
    assert (found.starts["status"] == "failed").sum() == 3


# Checks


class Weighted(Objective):
    """An objective with a weight for each output."""

    name: ClassVar[str] = "weighted"

    weights: dict[str, float] = {}  # noqa: RUF012

    def check(self, data, ctx):
        for name in self.weights:
            if name not in data.outputs:
                raise ValueError(f"there is a weight for {name!r}; the outputs are {', '.join(data.outputs)}")

    def loss(self, z, goal):
        return z.mean[:, 0] ** 2


def test_a_plugin_refuses_data_before_anything_is_trained():
    X = np.random.default_rng(0).random((40, 2))
    trained = []
    surrogate = builder(lambda self, hp, data: trained.append(1) or Forest(same))
    with pytest.raises(ConfigError, match=r"\[objective\] objective 'weighted': there is a weight for 'z'"):
        InverseDesign(surrogate, objective=Weighted(weights={"z": 2.0}), solver="differential-evolution").fit(X, X)
    assert not trained


def test_every_kind_has_a_check_that_accepts_by_default():
    assert {kind.check for kind in (Dataset, SurrogateBuilder, Tuner, Objective, Solver)} == {Plugin.check}


def test_a_file_may_bring_a_plugin_whose_check_validate_calls(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from typing import ClassVar\nfrom invdesign_core.plugin import Objective\n\n"
        "class Mine(Objective):\n    '''Mine.'''\n    name: ClassVar[str] = 'mine'\n"
        "    def check(self, data, ctx):\n        raise ValueError(f'{len(data.outputs)} outputs are too few')\n"
        "    def loss(self, z, goal):\n        return z.mean[:, 0] ** 2\n"
    )
    done = called(["validate", "--objective", "mine", "--plugin", "mine.py"], tmp_path, {})
    assert done.code == 2
    assert "objective 'mine' (mine.py): 1 outputs are too few" in done.err


def test_every_message_of_a_fault_names_the_distribution(site):
    put(site, "invdesign-odd", "2.1", ODD)
    entry = Registry.discover().find("odd", "dataset")
    assert entry.plugin().label == "dataset 'odd' (invdesign-odd 2.1)"
    assert Registry.discover().find("table", "dataset").plugin.brought_by == ""
    assert isinstance(PluginError("x"), InvdesignError)
