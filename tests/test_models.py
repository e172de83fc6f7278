"""Models as they come: several inputs and outputs, the user's own layers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import fn, lin

from invdesign_core.errors import DataError, InvdesignError
from invdesign_core.registry import Registry
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.keras_file import load_model
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.workflow.solve import solve_model

REGISTRY = Registry.discover()


def box(*names, low=0.0, high=1.0):
    return dict.fromkeys(names, (low, high))


def save(model, path):
    model.save(path)
    return path


def other_notes(notes):
    """Return what is said besides that a model alone has no intervals."""
    assert sum("no intervals" in note for note in notes) == 1
    return [note for note in notes if "no intervals" not in note]


def solved(path, *targets, starts=16, **options):
    return solve_model(
        path, targets, overrides={"solver": {"use": "lbfgsb", "starts": starts}}, registry=REGISTRY, **options
    )


@pytest.mark.parametrize(
    "solver", ["lbfgsb", ("lbfgsb", {"starts": 3}), {"use": "lbfgsb", "starts": 3, "max_iterations": 50}]
)
def test_a_solver_is_named_as_in_an_experiment_file(tmp_path, solver):
    path = save(rectangle(), tmp_path / "rectangle.keras")
    result = solve_model(path, ["perimeter=1"], solver=solver, bounds=box("length", "width"), registry=REGISTRY)
    assert result.report.plugins["solver"] == "lbfgsb"


@pytest.mark.parametrize("solver", [7, ["lbfgsb", 3], {"use": "lbfgsb", "start": 3, "steps": 1}, {"use": "gone"}])
def test_what_is_no_solver_is_refused_in_words(tmp_path, solver):
    path = save(rectangle(), tmp_path / "rectangle.keras")
    with pytest.raises(InvdesignError):
        solve_model(path, ["perimeter=1"], solver=solver, bounds=box("length", "width"), registry=REGISTRY)


def best(result):
    return result.report.designs[0]


# Several inputs and outputs


def rectangle(*more):
    """A model of `length` and `width` that answers a dict, and more inputs that nothing uses."""
    import keras

    ports = [keras.Input((1,), name=name) for name in ("length", "width", *more)]
    sides = ports[:2]
    answer = {"perimeter": keras.layers.Add()(sides), "slack": keras.layers.Subtract()(sides)}
    return keras.Model(ports, answer)


def test_inputs_and_outputs_go_by_their_names(tmp_path):
    path = save(rectangle(), tmp_path / "rectangle.keras")
    result = solved(path, "perimeter=1.2", "slack=0.2", bounds=box("length", "width"))
    assert result.report.status == "met"
    assert best(result).inputs == pytest.approx({"length": 0.7, "width": 0.5}, abs=1e-3)
    assert other_notes(result.report.notes) == []
    swapped = solved(
        path, "slack=0.2", "perimeter=1.2", bounds=box("length", "width"), inputs=["width", "length"],
        outputs=["slack", "perimeter"],
    )  # fmt: skip
    assert best(swapped).inputs == pytest.approx(best(result).inputs, abs=1e-3), "names are not renamings"
    renamed = solved(path, "p=1.2", bounds=box("l", "w"), inputs=["l", "w"], outputs=["p", "s"])
    assert sum(best(renamed).inputs.values()) == pytest.approx(1.2, abs=0.05)


def test_an_input_that_nothing_uses_is_named(tmp_path):
    path = save(rectangle("colour"), tmp_path / "rectangle.keras")
    result = solved(path, "perimeter=1.2", "slack=0.2", bounds=box("length", "width", "colour"))
    assert result.report.status == "met"
    inputs = best(result).inputs
    assert (inputs["length"], inputs["width"]) == pytest.approx((0.7, 0.5), abs=1e-3)
    assert [note for note in result.report.notes if "no effect" in note] == [
        "'colour': no effect on 'perimeter', 'slack' within the bounds"
    ]


def test_the_gradient_of_an_unused_input_is_zero(tmp_path):
    from invdesign_core.search.loss_functions import LossFunctions
    from invdesign_core.surrogate.signature import one_tensor
    from invdesign_core.targets import Goal

    model, ports = one_tensor(rectangle("colour"), Path("r.keras"))
    space = Space(tuple(Variable(name, lower=0, upper=1) for name in ports.input_names))
    surrogate = Surrogate.of_model(model, space, ports.output_names)
    forward = LossFunctions(surrogate, REGISTRY.create("objective", "mse", {}))
    goal = Goal(np.full((5, 2), 0.3), np.full((5, 2), 0.3), np.ones((5, 2)))
    _, gradient = forward.value_and_grad(np.random.default_rng(0).random((5, 3)), goal)
    assert (gradient[:, 2] == 0).all()
    assert (gradient[:, :2] != 0).any()


def test_an_input_without_influence_is_found_in_one_tensor_too(tmp_path):
    path = save(lin([[1, 0], [0, 1], [0, 0]]), tmp_path / "m.keras")
    result = solved(path, "y1=0.5", bounds=box("x1", "x2", "x3"))
    assert [n for n in result.report.notes if "no effect" in n] == ["'x2', 'x3': no effect on 'y1' within the bounds"]


def test_wide_and_flat_inputs_lists_of_outputs_and_whole_numbers(tmp_path):
    import keras
    from keras import ops

    flat = keras.Input((), name="flat")
    wide = keras.Input((2,), name="wide")
    count = keras.Input((1,), name="count", dtype="int32")
    table = keras.layers.Embedding(4, 1, embeddings_initializer="zeros")
    steps = keras.layers.Flatten()(table(count))
    table.set_weights([np.array([[0.0], [10.0], [20.0], [30.0]])])
    total = keras.layers.Add(name="total")([ops.sum(wide, axis=1, keepdims=True), steps])
    model = keras.Model([flat, wide, count], [total, keras.layers.Dense(2, name="pair")(wide), ops.square(flat)])
    path = save(model, tmp_path / "odd.keras")
    bounds = {**box("flat", "wide_1", "wide_2"), "count": (0, 3)}
    result = solved(path, "total=21.5", bounds=bounds, outputs=["total", "pair_1", "pair_2", "square"])
    inputs = best(result).inputs
    assert inputs["count"] == 2
    assert isinstance(inputs["count"], int)
    assert inputs["wide_1"] + inputs["wide_2"] == pytest.approx(1.5, abs=1e-3)
    x = [np.array([v]) for v in (inputs["flat"], [inputs["wide_1"], inputs["wide_2"]], [inputs["count"]])]
    said = load_model(path).predict(x, verbose=0)
    answer = np.concatenate([np.ravel(part) for part in said])
    assert list(best(result).prediction.values()) == pytest.approx(answer, abs=1e-4)


def test_a_table_is_matched_by_the_names_of_the_inputs(tmp_path):
    path = save(rectangle(), tmp_path / "rectangle.keras")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(0, 1, (50, 2)), columns=["width", "length"])
    frame["perimeter"], frame["slack"] = frame.sum(axis=1), frame["length"] - frame["width"]
    frame.insert(0, "batch", range(50))
    frame.to_csv(tmp_path / "r.csv", index=False)
    result = solved(path, "perimeter=1.2", "slack=0.2", table=tmp_path / "r.csv")
    assert best(result).inputs == pytest.approx({"length": 0.7, "width": 0.5}, abs=1e-3)


def image():
    import keras

    x = keras.Input((4, 4), name="image")
    return keras.Model(x, keras.layers.Dense(1)(keras.layers.Flatten()(x)))


def words():
    import keras

    x, label = keras.Input((1,), name="x"), keras.Input((1,), name="label", dtype="string")
    return keras.Model([x, label], keras.layers.Dense(1)(x))


def picture():
    import keras

    x = keras.Input((4,), name="x")
    return keras.Model(x, keras.layers.Reshape((2, 2), name="picture")(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (image, "input 'image' has shape (None, 4, 4), expected (None, columns) or (None,)"),
        (words, "input 'label' holds string, expected numbers"),
        (picture, "output 'picture' has shape (None, 2, 2)"),
    ],
)
def test_tensors_that_are_no_columns_are_refused_by_name(make, message):
    from invdesign_core.surrogate.signature import one_tensor

    with pytest.raises(DataError) as error:
        one_tensor(make(), Path("mine.keras"))
    assert f"mine.keras: {message}" in error.value.message
    assert error.value.hint


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_a_model_that_was_never_built_is_refused(tmp_path):
    import keras

    path = save(keras.Sequential([keras.layers.Dense(1)]), tmp_path / "unbuilt.keras")
    with pytest.raises(DataError, match="does not define its inputs"):
        solved(path, "1", bounds=box("x1"))


def test_a_model_that_fails_when_it_is_asked_is_named(tmp_path):
    import keras

    x = keras.Input((2,), batch_size=7)
    path = save(keras.Model(x, keras.ops.reshape(x, (14, 1))[:7, :]), tmp_path / "seven.keras")
    with pytest.raises(DataError) as error:
        solved(path, "1", bounds=box("x1", "x2"))
    assert "seven.keras: the model can't be evaluated: TypeError: " in error.value.message
    assert "cannot reshape" in error.value.message
    assert "model.predict" in error.value.hint


# Bounds that are equal, all equal, or missing; answers that are not finite


@pytest.mark.slow
def test_bounds_that_are_equal_all_equal_or_missing(invdesign, tmp_path):
    save(lin([[1], [1]]), tmp_path / "sum.keras")
    solve = ["solve", "sum.keras", "--json"]
    done = invdesign(*solve, "--fixed", "x1=3", "--bounds", "x2=0..10", "--target", "7")
    assert done.code == 0, done.err
    assert done.json["designs"][0]["inputs"] == pytest.approx({"x1": 3, "x2": 4}, abs=1e-3)
    held, equal = ["--fixed", "x1=3", "--fixed", "x2=4"], ["--bounds", "x1=3..3", "--bounds", "x2=4..4"]
    for both, target, code, miss in ((held, "7", 0, 0), (equal, "7", 0, 0), (held, "8", 1, -1)):
        done = invdesign(*solve, *both, "--target", target)
        assert done.code == code, done.err
        design = done.json["designs"][0]
        assert design["inputs"] == {"x1": 3, "x2": 4}
        assert design["prediction"]["y"] == 7
        assert design["miss"]["y"] == miss
        assert len(done.json["designs"]) == 1
        assert other_notes(done.json["notes"]) == []
    shown = invdesign(*solve[:2], *held, "--target", "8")
    assert "misses by 1" in shown.out
    done = invdesign(*solve, "--bounds", "x1=0..1", "--target", "1")
    assert done.code == 2
    assert "'x2'" in done.err
    assert "'x1'" not in done.err
    assert all(way in done.err for way in ("--bounds", "--fixed", "--table"))
    assert done.out == ""


def test_a_design_held_everywhere_is_met_within_what_float32_resolves(tmp_path):
    path = save(lin([[1], [1]]), tmp_path / "sum.keras")
    result = solved(path, "0.3", fixed={"x1": 0.1, "x2": 0.2})  # in float32 the sum is 0.30000001
    assert result.report.status == "met"
    assert solved(path, "0.3001", fixed={"x1": 0.1, "x2": 0.2}).report.status == "not met"


@pytest.mark.slow
def test_starts_without_a_finite_answer_spoil_nothing(invdesign, tmp_path):
    from keras import ops

    save(fn(1, lambda i: ops.sqrt(i - 0.5)), tmp_path / "root.keras")
    args = ["--bounds", "x1=0..1", "--target", "0.5", "--set", "solver.starts=20", "--set", "solver.init=uniform"]
    done = invdesign("solve", "root.keras", *args, "--json")
    assert done.code == 0, done.err
    assert done.json["designs"][0]["inputs"]["x1"] == pytest.approx(0.75, abs=1e-3)
    starts = done.json["starts"]
    assert starts["not_finite"] > 0
    assert starts["not_finite"] + starts["hit"] == starts["total"] == 20


# The user's layers, not ours


def unusual_layers():
    """Return models by name, each with the points where its answer is known."""
    import keras
    from keras import layers as L

    rng = np.random.default_rng(0)
    x = keras.Input((1,))
    clipped = keras.Model(
        x,
        L.ReLU(max_value=1, negative_slope=0.1, threshold=0.2)(
            L.Dense(1, use_bias=False, kernel_initializer="ones")(x)
        ),
    )
    x = keras.Input((3,))
    normal = L.Normalization()
    normal.adapt(rng.normal([1, -1, 0.1], [2, 1, 0.5], (200, 3)))
    skip = L.Dense(3, "tanh")(x)
    prelu = L.PReLU(alpha_initializer=keras.initializers.RandomUniform(0.1, 0.5, seed=1))
    return {
        "relu": (clipped, {-1: -0.12, 0: -0.02, 0.1: -0.01, 0.5: 0.5, 2: 1}),
        "normalization": (keras.Model(x, L.Dense(2)(normal(x))), {}),
        "layer normalization": (keras.Model(x, L.Dense(2)(L.LayerNormalization()(L.Dense(8)(x)))), {}),
        "prelu": (keras.Model(x, L.Dense(1)(prelu(L.Dense(6)(x)))), {}),
        "gelu": (keras.Model(x, L.Dense(1)(L.Dense(6, "gelu")(x))), {}),
        "skip connection": (keras.Model(x, L.Dense(2, use_bias=False)(L.Add()([x, skip]))), {}),
        "no bias after bias": (keras.Model(x, L.Dense(1, use_bias=False)(L.Dense(4, bias_initializer="ones")(x))), {}),
    }


def largest_difference(model, known):
    """Return how far the compiled path is from `model.predict` on 1000 points, and from known answers."""

    width = model.input_shape[1]
    space = Space(tuple(Variable(f"x{i}", lower=-3, upper=3) for i in range(width)))
    surrogate = Surrogate.of_model(model, space, [f"y{i}" for i in range(model.output_shape[1])])
    x = np.random.default_rng(1).uniform(-3, 3, (1000, width)).astype(np.float32)
    off = np.abs(surrogate.predict(x).mean - model.predict(x, verbose=0)).max()
    for point, answer in known.items():
        off = max(off, abs(surrogate.predict(np.array([[point]])).mean[0, 0] - answer))
    return float(off)


def on_this_backend(folder):
    """Return what the tests of layers and of unused inputs look at, for another process."""
    path = save(rectangle("colour"), Path(folder) / "rectangle.keras")
    result = solved(path, "perimeter=1.2", "slack=0.2", bounds=box("length", "width", "colour"))
    return {
        "backend": result.report.backend,
        "differences": {name: largest_difference(*item) for name, item in unusual_layers().items()},
        "inputs": best(result).inputs,
        "notes": result.report.notes,
    }


@pytest.mark.parametrize("name", unusual_layers())
def test_the_compiled_path_is_the_users_model(name):
    assert largest_difference(*unusual_layers()[name]) < 1e-5


@pytest.mark.long
def test_own_layers_and_unused_inputs_on_tensorflow_too(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import json, test_models as t; print(json.dumps(t.on_this_backend({str(tmp_path)!r})))",
        ],
        cwd=Path(__file__).parent,
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["backend"] == "tensorflow"
    assert {name: off for name, off in found["differences"].items() if off >= 1e-5} == {}
    assert len(found["differences"]) == len(unusual_layers())
    assert (found["inputs"]["length"], found["inputs"]["width"]) == pytest.approx((0.7, 0.5), abs=1e-3)
    assert any("'colour': no effect" in note for note in found["notes"])


# Inference is inference


def with_noise_in_training():
    """A trained network of BatchNormalization and Dropout, whose answer in training depends on the batch."""
    import keras
    from keras import layers as L

    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (256, 2))
    keras.utils.set_random_seed(0) if keras.backend.backend() == "tensorflow" else None
    model = keras.Sequential(
        [keras.Input((2,)), L.Dense(32, "swish"), L.BatchNormalization(), L.Dropout(0.3), L.Dense(1)]
    )
    model.compile("adam", "mse")
    model.fit(x, x.sum(axis=1), epochs=5, verbose=0)
    return model


@pytest.mark.slow
def test_a_prediction_does_not_depend_on_the_starts_beside_it(tmp_path):
    import keras

    path = save(with_noise_in_training(), tmp_path / "noisy.keras")
    model = keras.saving.load_model(path)
    few, many = (solved(path, "1.0", bounds=box("x1", "x2"), starts=n) for n in (2, 200))
    for result in (few, many):
        assert other_notes(result.report.notes) == []
        answers = result.answers.starts
        written = answers.filter(like="design.").to_numpy(float)
        said = model.predict(written, verbose=0)[:, 0]
        spread = result.surrogate.spread[0]
        assert answers["prediction.y"].to_numpy() == pytest.approx(said, abs=1e-5 * spread)
        alone = model.predict(written[:1], verbose=0)[0, 0]
        assert best(result).prediction["y"] == pytest.approx(
            model.predict(np.array([list(best(result).inputs.values())]), verbose=0)[0, 0], abs=1e-5 * spread
        )
        assert answers["prediction.y"][0] == pytest.approx(alone, abs=1e-5 * spread)


@pytest.mark.parametrize("more", ["alone", "with a layer behind it"])
def test_a_network_that_a_run_saved_is_read_as_the_model_that_it_is(more):
    """It ends in the units of its training rows, which are not those of a box it is searched in."""
    import keras

    from invdesign_core.surrogate.scaling import Scaling

    x = np.random.default_rng(0).normal(3, 2, (50, 2))
    model = Scaling.of(x, 7 + 40 * x @ [[1.0, 2], [3, 4]]).wrap(lin([[1, 2], [0.5, 1]], act="tanh"))
    if more != "alone":
        model = keras.Model(model.inputs, keras.layers.Dense(2, name="behind")(model.outputs[0]))
    space = Space((Variable("x1", lower=0, upper=1), Variable("x2", lower=2, upper=3)))
    designs = np.array([[0.2, 2.3], [0.7, 2.9]])
    said = Surrogate.of_model(model, space, ("y1", "y2")).predict(designs).mean
    assert said == pytest.approx(model.predict(designs, verbose=0), rel=1e-5)


def test_a_model_that_looks_at_the_rows_beside_is_pointed_out(tmp_path):
    from keras import ops

    path = save(fn(2, lambda x: ops.sum(x - ops.mean(x, axis=0), axis=1, keepdims=True)), tmp_path / "batch.keras")
    result = solved(path, "0.1", bounds=box("x1", "x2"))
    assert any("changes with the other rows in the batch" in note for note in result.report.notes)


# A prediction that doesn't change


@pytest.mark.slow
def test_a_prediction_that_does_not_change_over_the_box_is_said(invdesign, tmp_path):
    import keras

    x = keras.Input((2,))
    dead = keras.layers.Dense(4, "relu", bias_initializer=keras.initializers.Constant(-100.0))(x)
    last = keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(0.25))
    save(keras.Model(x, last(dead)), tmp_path / "dead.keras")
    args = ["solve", "dead.keras", "--bounds", "x1=0..1", "--bounds", "x2=0..1"]
    done = invdesign(*args, "--target", "3", "--json")
    assert done.code == 1, done.err
    assert [note for note in done.json["notes"] if "'y' is constant within the bounds (0.25)" in note]
    assert not [note for note in done.json["notes"] if "no effect" in note]
    assert "is constant within the bounds" in done.err
    assert invdesign(*args, "--target", "0.25", "--json").code == 0
