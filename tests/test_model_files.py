"""Model files that do not load: one message each, and nothing of the file's code has run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import lin
from test_models import best, box, save, solved

from invdesign_core.errors import ConfigError, DataError, ExitCode
from invdesign_core.surrogate.keras_file import load_model


def edited(source, target, config=lambda text: text, version=None):
    """Write a model file again with another configuration, or as another Keras would."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                content = config(content.decode()).encode()
            if name == "metadata.json" and version:
                content = json.dumps({"keras_version": version}).encode()
            new.writestr(name, content)
    return target


def with_lambda(folder):
    import keras

    x = keras.Input((2,))
    code = keras.layers.Lambda(
        lambda t: (open("touched", "w").close(), t[:, :1] + t[:, 1:])[1],
        output_shape=(1,),
        name="sum",
    )
    model = keras.Model(x, code(x))
    Path("touched").unlink(missing_ok=True)  # it ran once to find its shape
    return save(model, folder / "code.keras")


OWN = """
import keras

open("touched", "w").close()

@keras.saving.register_keras_serializable("own")
class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x

class Unregistered(keras.layers.Layer):
    def call(self, x):
        return 2 * x

def doubled(x):
    return 2 * x

def relu(x):
    return 0 * x

def make(layer):
    x = keras.Input((2,))
    h = keras.layers.Dense(2, activation="relu", name="kept", kernel_initializer="identity")(x)
    last = keras.layers.Dense(1, activation=doubled if layer is None else None, name="last", kernel_initializer="ones")
    y = last(h)
    return keras.Model(x, y if layer is None else layer(name="own")(y))
"""
"""A user's module; importing it leaves a trace."""


@pytest.fixture(scope="session")
def own_models(tmp_path_factory):
    """Models that need `own_layers.py`, made by another process."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_layers.py").write_text(OWN)
    code = (
        "import own_layers as o\n"
        "for name, layer in (('registered', o.Doubled), ('unregistered', o.Unregistered), ('function', None)):\n"
        "    o.make(layer).save(name + '.keras')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=folder)
    (folder / "touched").unlink()
    return folder


@pytest.fixture
def own(own_models, tmp_path, monkeypatch):
    """The folder that one works in, with `own_layers.py` and models that need it."""
    shutil.copytree(own_models, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("own_layers", None)


def test_a_lambda_is_refused_by_name_before_any_of_its_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = with_lambda(tmp_path)
    with pytest.raises(DataError) as error:
        load_model(path)
    assert "code.keras" in error.value.message
    assert "layer 'sum'" in error.value.message
    assert "--allow-code" in error.value.hint
    assert "whatever you can" in error.value.hint
    assert not Path("touched").exists()
    assert load_model(path, allow_code=True).predict(np.ones((1, 2)), verbose=0) == 2
    assert Path("touched").exists()


@pytest.mark.parametrize(
    ("name", "layer", "what"),
    [
        ("registered", "'own'", "class 'own>Doubled'"),
        ("unregistered", "'own'", "class 'Unregistered'"),
        ("function", "'last'", "function 'doubled'"),
    ],
)
def test_a_class_of_the_authors_own_is_named_and_can_be_imported(own, name, layer, what):
    path = Path(f"{name}.keras")
    with pytest.raises(DataError) as error:
        solved(path, "3", bounds=box("x1", "x2"))
    assert f"{name}.keras: layer {layer}: the {what}" in error.value.message
    assert "--import" in error.value.hint
    assert "register_keras_serializable" in error.value.hint
    assert not Path("touched").exists()
    before = list(sys.path)
    result = solved(path, "3", bounds=box("x1", "x2"), imports=["own_layers.py"])
    assert sum(best(result).inputs.values()) == pytest.approx(1.5, abs=1e-3), "Keras' relu, not the module's"
    assert Path("touched").exists()
    assert sys.path == before


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("own_layer", "did you mean 'own_layers'?"),
        ("own_layer.py", "did you mean 'own_layers.py'?"),
        ("broken.py", "No module named 'nowhere_to_be_found' (broken.py, line 2)"),
        ("script", "SystemExit: 3 (it called sys.exit) (script.py, line 1)"),
        ("slip", "(slip.py, line 1)"),
        ("own layers", "expected a module's name"),
    ],
)
def test_an_import_that_fails_is_named_with_its_line(own, item, message):
    Path("broken.py").write_text("import keras\nimport nowhere_to_be_found\n")
    Path("script.py").write_text("raise SystemExit(3)\n")
    Path("slip.py").write_text("def f(:\n")
    with pytest.raises(ConfigError) as error:
        solved(Path("registered.keras"), "3", bounds=box("x1", "x2"), imports=[item])
    assert f"--import {item}: " in error.value.message
    assert message in str(error.value)


def hdf5(folder, name):
    return save(lin([[1], [1]]), folder / "old.h5").rename(folder / name)


def weights(folder):
    lin([[1], [1]]).save_weights(folder / "only.weights.h5")
    return folder / "only.weights.h5"


def text(folder, content):
    (folder / "text.keras").write_text(content)
    return folder / "text.keras"


def half(folder):
    whole = save(lin([[1], [1]]), folder / "whole.keras").read_bytes()
    (folder / "half.keras").write_bytes(whole[: len(whole) // 2])
    return folder / "half.keras"


def folder_with(folder, name):
    (folder / "saved").mkdir()
    (folder / "saved" / name).write_text("{}")
    return folder / "saved"


def changed(folder, old, new, version=None):
    whole = save(lin([[1], [1]]), folder / "whole.keras")
    return edited(whole, folder / "changed.keras", lambda text: text.replace(old, new), version)


def damaged(folder):
    whole = save(lin([[1], [1]]), folder / "whole.keras")
    return edited(whole, folder / "damaged.keras", lambda text: text[:100])


def without_config(folder):
    with zipfile.ZipFile(folder / "other.keras", "w") as archive:
        archive.writestr("letter.txt", "dear reader")
    return folder / "other.keras"


FILES = {
    "unknown argument": (
        lambda f: changed(f, '"units": 1', '"units": 1, "quantum": true', "3.99.0"),
        ["(Dense) can't be loaded", "layer 'dense", "'quantum'", "Keras 3.99.0", "this is Keras 3.", "keras==3.99.0"],
    ),
    "unknown argument, same version": (
        lambda f: changed(f, '"units": 1', '"units": 1, "quantum": true'),
        ["layer 'dense", "'quantum'", "was changed"],
    ),
    "unknown layer": (
        lambda f: changed(f, '"class_name": "Dense"', '"class_name": "Denser"', "3.99.0"),
        ["layer 'dense", "(Denser)", "Keras 3.99.0"],
    ),
    "half a file": (half, ["only part", "copy or download it again"]),
    "damaged inside": (damaged, ["is damaged"]),
    "renamed HDF5": (lambda f: hdf5(f, "new.keras"), ["HDF5", "whatever its name says", "rename it to new.h5"]),
    "HDF5": (lambda f: hdf5(f, "model.h5"), ["HDF5", "written by Keras 3.", "save('model.keras')"]),
    "weights only": (weights, ["weights only", "load_weights"]),
    "SavedModel": (lambda f: folder_with(f, "saved_model.pb"), ["TensorFlow SavedModel", "model.save('NAME.keras')"]),
    "unpacked": (lambda f: folder_with(f, "config.json"), ["unpacked", "zipped=True"]),
    "empty folder": (lambda f: folder_with(f, "notes.txt"), ["holds no Keras model"]),
    "another zip": (without_config, ["another zip file"]),
    "text": (lambda f: text(f, "a,b\n1,2\n"), ["not a Keras model"]),
    "nothing": (lambda f: text(f, ""), ["an empty file"]),
    "Git LFS": (lambda f: text(f, "version https://git-lfs.github.com/spec/v1\n"), ["git lfs pull"]),
    "missing": (lambda f: (save(lin([[1]]), f / "mine.keras"), f / "mien.keras")[1], ["no such file", "'mine.keras'"]),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_does_not_load_is_explained_in_one_message(tmp_path, kind):
    make, expected = FILES[kind]
    path = make(tmp_path)
    with pytest.raises(DataError) as error:
        load_model(path)
    assert str(path) in error.value.message
    assert error.value.hint
    assert [words for words in expected if words not in str(error.value)] == []
    assert error.value.exit_code == ExitCode.DATA
    assert len(error.value.message) < 500


def test_a_loss_that_cannot_be_imported_is_not_needed(tmp_path):
    import keras
    from keras import ops

    def mine(a, b):
        return ops.mean(ops.abs(a - b))

    inner = lin([[1], [1]])
    inner.compile("adam", mine, metrics=[mine])
    inner.fit(np.zeros((4, 2)), np.zeros((4, 1)), verbose=0)
    x = keras.Input((2,))
    outer = keras.Model(x, inner(x))
    for model in (inner, outer):  # Keras itself loads the first with compile=False, the second never
        loaded = load_model(save(model, tmp_path / "loss.keras"))
        rows = np.random.default_rng(0).random((50, 2))
        assert loaded.predict(rows, verbose=0) == pytest.approx(model.predict(rows, verbose=0))


def test_a_model_file_may_have_any_name(tmp_path):
    path = save(lin([[1], [1]]), tmp_path / "sum.keras").rename(tmp_path / "sum")
    assert load_model(path).predict(np.ones((1, 2)), verbose=0) == 2


def test_a_model_with_three_inputs_for_a_table_with_two(tmp_path):
    path = save(lin([[1], [1], [1]]), tmp_path / "three.keras")
    table = tmp_path / "two.csv"
    pd.DataFrame({"a": [0.0, 1.0], "b": [0.0, 1.0], "r": [0.0, 2.0]}).to_csv(table, index=False)
    with pytest.raises(DataError) as error:
        solved(path, "r=1", table=table, outputs=["r"])
    assert "three.keras: the model has 3 inputs and 1 output" in error.value.message
    assert "2 columns besides the outputs: 'a', 'b'" in error.value.message
    pd.DataFrame({"a": ["u", "v"], "b": [0.0, 1.0], "c": [0.0, 1.0]}).to_csv(table, index=False)
    with pytest.raises(DataError, match="holds text"):
        solved(path, "1", table=table)


@pytest.mark.slow
def test_the_command_line_says_it_once_and_exits_with_4(invdesign, own):
    with_lambda(own)
    folder_with(own, "saved_model.pb")
    bounds = ["--bounds", "x1=0..1", "--bounds", "x2=0..1", "--target", "3"]
    for name, words in (
        ("code.keras", "layer 'sum'"),
        ("registered.keras", "layer 'own'"),
        ("saved", "TensorFlow SavedModel"),
    ):
        done = invdesign("solve", name, *bounds)
        assert done.code == ExitCode.DATA, done.err
        assert words in done.err
        assert done.err.count("Error:") == 1
        assert "Traceback" not in done.err
        assert done.out == ""
    assert not (own / "touched").exists()
    done = invdesign("solve", "registered.keras", *bounds, "--import", "own_layers", "--json")
    assert done.code == 0, done.err
    assert sum(done.json["designs"][0]["inputs"].values()) == pytest.approx(1.5, abs=1e-3)
