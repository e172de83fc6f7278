"""Builders of the user's own: `model_builder(hp)` and `HyperModel`, from a module or as an object."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invdesign_core.context import Context
from invdesign_core.data.data import Data
from invdesign_core.errors import ConfigError, ExitCode, PluginError
from invdesign_core.plugin import UserObject
from invdesign_core.registry import Registry
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.solve import solve_model

REGISTRY = Registry.discover()
ModelBuilder = REGISTRY.find("model-builder", "surrogate").plugin
QUICK = ["--set", "training.epochs=20", "--set", "solver.starts=8"]

NOISY = """
import keras
from keras import layers as L, ops


def huberish(a, b):
    return ops.mean(ops.log(ops.cosh(a - b)))


@keras.saving.register_keras_serializable("user")
class Scaled(L.Layer):
    def call(self, x):
        return 2.0 * x


def noisy(hp):
    from beside_it import WIDTH
    model = keras.Sequential()
    model.add(L.Dense(WIDTH, activation=hp.Choice("activation", ["swish", "tanh"])))
    model.add(L.BatchNormalization())
    model.add(L.Dropout(0.1))
    model.add(L.Dense(1))
    model.compile(keras.optimizers.Adam(hp.Float("learning_rate", 1e-3, 1e-2, step=9e-3)), huberish, metrics=["mae"])
    return model


def scaled(hp):
    model = keras.Sequential([keras.Input((2,)), L.Dense(8, "swish"), Scaled(name="own"), L.Dense(1)])
    model.compile("adam", "mse")
    return model
"""
"""A user's module of builders, with a loss and a layer of its own, and an import inside a function."""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with an experiment file, a table and a module of builders."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(0, 1, (120, 2)), columns=["a", "b"])
    frame["y"] = frame["a"] + frame["b"]
    folder = tmp_path / "project"
    folder.mkdir()
    frame.to_csv(folder / "mine.csv", index=False)
    (folder / "user_nets.py").write_text(NOISY)
    (folder / "beside_it.py").write_text("WIDTH = 16\n")
    (folder / "mine.toml").write_text(
        '[dataset]\nuse = "table"\npath = "mine.csv"\noutputs = ["y"]\n'
        '[surrogate]\nuse = "model-builder"\nbuilder = "user_nets:noisy"\n[targets]\ny = 1.0\n'
    )
    yield folder
    for name in ("user_nets", "beside_it"):
        sys.modules.pop(name, None)


@pytest.mark.long
def test_a_run_with_a_builder_beside_the_experiment_file(invdesign, project, tmp_path):
    import keras

    done = invdesign("run", "project/mine.toml", "--out", "out", *QUICK, "--json")
    assert done.code in (0, 1), done.err
    assert done.json["surrogate"]["trials"] == 4
    assert set(done.json["surrogate"]["best"]) == {"activation", "learning_rate"}
    assert json.loads((tmp_path / "out" / "resolved.json").read_text())["plugins"]["surrogate"]["options"] == {
        "builder": "user_nets:noisy"
    }
    # The saved member is the model that is reported, and loads without the user's loss.
    member = keras.saving.load_model(tmp_path / "out" / "surrogate" / "member-0.keras")
    few, many = (
        solve_model(tmp_path / "out", ["y=1.2"], overrides={"solver": {"starts": n}}, registry=REGISTRY)
        for n in (2, 100)
    )
    for result in (few, many):
        starts = result.answers.starts
        said = member.predict(starts.filter(like="design.").to_numpy(float), verbose=0)[:, 0]
        assert starts["prediction.y"].to_numpy() == pytest.approx(said, abs=1e-5 * result.surrogate.spread[0])


@pytest.mark.slow
def test_a_run_whose_model_has_a_layer_of_the_users_own(invdesign, project, tmp_path):
    done = invdesign("run", "project/mine.toml", "--set", "surrogate.builder=user_nets:scaled", "--out", "out", *QUICK)
    assert done.code in (0, 1), done.err
    refused = invdesign("solve", "out", "--target", "1.2")
    assert refused.code == ExitCode.DATA
    assert "layer 'own': the class 'user>Scaled'" in refused.err
    assert "--import" in refused.err
    done = invdesign("solve", "out", "--target", "1.2", "--import", "project/user_nets.py", "--json")
    assert done.code in (0, 1), done.err
    assert done.json["designs"]


def hyperparameters():
    import keras_tuner

    return keras_tuner.HyperParameters()


def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(0, 1, (40, 2)), columns=["a", "b"])
    return Data.from_frame(frame.assign(y=frame.sum(axis=1)), ["y"])


def small(hp):
    import keras

    model = keras.Sequential([keras.layers.Dense(hp.Int("units", 4, 8, step=4), "swish"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    return model


@pytest.mark.long
def test_a_function_is_used_as_it_is():
    X = np.random.default_rng(0).uniform(0, 1, (150, 2))
    model = InverseDesign(surrogate=ModelBuilder(builder=small), training={"epochs": 60}).fit(X, X.sum(axis=1))
    assert model.report_.trials == 2
    assert model.report_.best["units"] in (4, 8)
    assert model.invert(1.0).met


def test_a_hypermodel_is_used_as_class_and_as_instance_and_its_fit_is_not():
    import keras_tuner as kt

    class Net(kt.HyperModel):
        def __init__(self, name="net", units=4):
            super().__init__(name)
            self.units = units

        def build(self, hp):
            return small(hp)

        def fit(self, hp, model, *args, **kwargs):
            raise AssertionError("the core trains")

    assert not isinstance(Net(), type(small))
    for builder in (Net, Net()):
        plugin = ModelBuilder(builder=builder)
        assert plugin.build(hyperparameters(), table(), Context()).built
        assert "Net" in plugin.label
    X = np.random.default_rng(0).uniform(0, 1, (40, 2))
    InverseDesign(surrogate=ModelBuilder(builder=Net), training={"epochs": 2}).fit(X, X[:, 0])


def test_the_module_beside_the_experiment_file_comes_first(project, monkeypatch):
    import types

    monkeypatch.setitem(sys.modules, "user_nets", types.ModuleType("user_nets"))  # another of that name
    before, modules = list(sys.path), set(sys.modules)
    plugin, ctx = ModelBuilder(builder="user_nets:noisy"), Context(folder=project)
    assert plugin.build(hyperparameters(), table(), ctx).built, (
        "what the function imports when it is called is found too"
    )
    assert sys.path == before
    assert "beside_it" in set(sys.modules) - modules
    assert not hasattr(sys.modules["user_nets"], "noisy"), "the other module is there again"
    installed = ModelBuilder(builder="keras.applications:MobileNet")
    with pytest.raises(ConfigError, match="expected a function of one argument"):
        ModelBuilder(builder="os:getcwd").user_code(Context(folder=project))
    assert installed.label == "surrogate 'model-builder' (keras.applications:MobileNet)"


MISTAKES = {
    "user_net:noisy": "there is no module 'user_net'",
    "user_nets:nosy": "did you mean 'noisy'?",
    "user_nets:keras.nothing": "there is no 'nothing' in",
    "user_nets:NUMBER": "'user_nets:NUMBER': found 3, expected a function of one argument, hp, or a HyperModel",
    "user_nets:two": "found a function of (hp, width), expected",
    "user_nets:Scaled": "found the class 'Scaled', expected",
    "user_nets:MODEL": "found a Sequential that is built already",
    "user_nets:Needs": "Needs.__init__() missing 1 required positional argument",
    "failing:build": "ModuleNotFoundError: No module named 'torchlight' (failing.py, line 1)",
}


@pytest.mark.parametrize("place", MISTAKES)
def test_a_builder_that_is_not_there_is_a_mistake_of_the_request(project, place):
    with (project / "user_nets.py").open("a") as file:
        file.write(
            "\nNUMBER = 3\nMODEL = keras.Sequential([keras.Input((2,)), L.Dense(1)])\ndef two(hp, width): ...\n"
            "import keras_tuner\nclass Needs(keras_tuner.HyperModel):\n    def __init__(self, width): ...\n"
        )
    (project / "failing.py").write_text("import torchlight\n")
    before = list(sys.path)
    with pytest.raises((ConfigError, PluginError)) as error:
        ModelBuilder(builder=place).user_code(Context(folder=project))
    assert MISTAKES[place] in str(error.value)
    assert "[surrogate] model-builder: option 'builder'" in error.value.message
    assert sys.path == before


@pytest.mark.parametrize(
    ("builder", "hint"), [("user_nets", "'module:name'"), ("nets/mine.py:build", "such as 'nets.mine:build'"), (3, "3")]
)
def test_a_builder_of_another_form_is_refused_at_once(builder, hint):
    with pytest.raises(ConfigError) as error:
        REGISTRY.create("surrogate", "model-builder", {"builder": builder})
    assert hint in str(error.value)
    with pytest.raises(ConfigError, match="'builder' is missing"):
        REGISTRY.create("surrogate", "model-builder", {})


def fails(hp):
    raise ValueError("no such thing")


def nothing(hp):
    pass


def too_wide(hp):
    import keras

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def too_many(hp):
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
    model.compile("adam", "mse")
    return model


def for_pictures(hp):
    import keras

    return keras.Sequential([keras.layers.Conv1D(3, 2)])


@pytest.mark.parametrize(
    ("builder", "found"),
    [
        (fails, f"failed: ValueError: no such thing ({Path(__file__).name}, line "),
        (nothing, "built NoneType, expected a compiled keras.Model"),
        (too_wide, "input shape (None, 3), the data have 2 input columns: expected (None, 2)"),
        (too_many, "output shape (None, 4), the data have 1 output: expected (None, 1)"),
        (for_pictures, "expected min_ndim=3"),
    ],
)
def test_a_builder_that_does_not_fit_the_table_is_named_with_what_was_found(builder, found):
    X = np.random.default_rng(0).uniform(0, 1, (40, 2))
    with pytest.raises(PluginError) as error:
        InverseDesign(surrogate=ModelBuilder(builder=builder)).fit(X, X[:, 0])
    assert f"surrogate 'model-builder' (test_model_builder:{builder.__name__})" in error.value.message
    assert found in error.value.message


def test_user_objects_say_where_they_are():
    assert UserObject.is_place("a.b:C.d")
    assert not any(UserObject.is_place(text) for text in ("a", "a:", ":b", "a b:c", "a:b c", "a/b:c", "1a:b"))
    assert UserObject.of(small).place == "test_model_builder:small"
