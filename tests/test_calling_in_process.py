"""A command called inside the test's process says and leaves what it does as a process of its own."""

from __future__ import annotations

import os
import sys
import warnings

import pytest
from conftest import called, lin


@pytest.mark.parametrize(
    "args", [["--version"], ["schema"], ["plugins", "show", "lbfgs"], ["run", "nowhere.toml"], ["run", "--frobnicate"]]
)
def test_it_says_the_same_and_exits_alike(invdesign, invdesign_process, args):
    assert invdesign(*args) == invdesign_process(*args)


def test_nothing_of_a_call_is_left_in_this_process(tmp_path, capfd):
    lin([[1.0]]).save(tmp_path / "it.keras")
    (tmp_path / "beside.py").write_text("import os\nos.environ['LEFT'] = '1'\nprint('from beside')\n")
    capfd.readouterr()  # Keras imports TensorFlow to save a model, which has something to say
    before = os.getcwd(), list(sys.argv), list(sys.path), dict(os.environ), sys.stdout, sys.stderr
    ask = ["solve", "it.keras", "--import", "beside.py", "--bounds", "x1=0..1", "--target", "0.5", "--json"]
    done = called(ask, tmp_path, {"COLUMNS": "80"})
    assert done.code == 0, done.err
    assert done.json["designs"], "what others print is kept out of the result"
    assert "from beside" in done.err
    assert (os.getcwd(), sys.argv, sys.path, dict(os.environ), sys.stdout, sys.stderr) == before
    assert "beside" not in sys.modules
    assert capfd.readouterr() == ("", "")
    assert called(ask, tmp_path, {}).err.count("from beside") == 1, "the next call imports it again"


def test_a_class_that_this_process_registered_is_unknown_to_a_call(tmp_path):
    import keras

    class Own(keras.layers.Layer):
        """Passes on what it gets."""

        def call(self, inputs):
            return inputs

    keras.saving.register_keras_serializable("here")(Own)
    inputs = keras.Input((1,))
    keras.Model(inputs, Own()(inputs)).save(tmp_path / "own.keras")
    done = called(["solve", "own.keras", "--bounds", "x1=0..1", "--target", "0.5"], tmp_path, {})
    assert done.code == 4
    assert "here>Own" in done.err
    assert keras.saving.get_registered_object("here>Own") is Own, "and is still known here"


def test_warnings_are_shown_on_stderr(tmp_path):
    (tmp_path / "loud.py").write_text("import warnings\nwarnings.warn('look out', stacklevel=1)\n")
    lin([[1.0]]).save(tmp_path / "it.keras")
    with warnings.catch_warnings(record=True) as here:
        ask = ["solve", "it.keras", "--import", "loud.py", "--bounds", "x1=0..1", "--target", "0.5"]
        done = called(ask, tmp_path, {})
    assert "UserWarning: look out" in done.err
    assert not [w for w in here if "look out" in str(w.message)]
