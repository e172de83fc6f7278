"""Work that was cut short is gone on with only by the same request, and ends as if it had never been cut short."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import lin, prepare_model

from invdesign_core.context import Context
from invdesign_core.data.data import TrainingRows
from invdesign_core.errors import RunStoreError
from invdesign_core.registry import Registry
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.sealed import read_sealed, seal
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.truth.simulator import as_truth
from invdesign_core.workflow import identity
from invdesign_core.workflow.chunks import ChunkedTable
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.run import run_experiment
from invdesign_core.workflow.solve import solve_table

REGISTRY = Registry.discover()
WANTED = pd.DataFrame({"y": np.linspace(0.2, 1.8, 30), "z": np.linspace(-0.1, 0.1, 30)})
SOLVER = ("least-squares", {"starts": 4, "rows_at_once": 40})


def save(model, path):
    with backend.lean():
        model.save(path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save(lin([[1, 1], [1, -1]]), tmp_path_factory.mktemp("models") / "sum.keras")


def ready(path, **options):
    options = {"outputs": ["y", "z"], "solver": SOLVER, "bounds": {"x1": (0, 1), "x2": (0, 1)}, "designs": 1} | options
    return prepare_model(path, registry=REGISTRY, **options)


@pytest.fixture(scope="module")
def cut_short(model, tmp_path_factory):
    """A table of which the first chunk is solved, and the folder in which it is."""
    out = tmp_path_factory.mktemp("cut") / "d.parquet"
    cut(ready(model), WANTED, out)
    return out


def cut(prepared, frame, out):
    """Press Ctrl-C when the first chunk is there: the second is being solved then."""
    ctx = prepared.ctx

    def stop(event):
        if event.kind == "progress":
            ctx.stop.set()

    with pytest.raises(KeyboardInterrupt):
        solve_table(replace(prepared, ctx=replace(ctx, emit=stop)), frame, out)


@pytest.mark.parametrize(
    ("solver", "rows", "design"),
    [("least-squares", 4, {}), ("lbfgsb", 12, {"step": {"x1": 0.5}}), ("differential-evolution", 10, {})],
)
def test_a_chunk_that_was_cut_short_is_solved_anew(model, tmp_path, solver, rows, design):
    options = {"solver": (solver, {"starts": 5 if rows == 10 else 2, "rows_at_once": rows}), **design}
    whole, out, wanted = tmp_path / "whole.csv", tmp_path / "d.csv", WANTED[:6]
    solve_table(ready(model, **options), wanted, whole)
    cut(ready(model, **options), wanted, out)
    parts = [path.name.split("-")[0] for path in (tmp_path / ".d.csv.parts").glob("*.parquet")]
    assert parts == ["0"], "what was half solved is not kept"
    solve_table(ready(model, **options), wanted, out)
    assert out.read_text() == whole.read_text()


OTHER = {
    "names of the columns": ("targets", WANTED.rename(columns={"y": "z", "z": "y"})),
    "order of the columns": ("targets", WANTED[["z", "y"]]),
    "order of the rows": ("targets", WANTED[::-1].reset_index(drop=True)),
    "one number by its last digit": ("targets", WANTED.assign(y=np.nextafter(WANTED["y"], 2))),
    "words": ("targets", WANTED.assign(y=">=0.2")),
    "names of the outputs": ("surrogate", {"outputs": ["z", "y"]}),
    "names of the inputs": ("variables", {"inputs": ["x2", "x1"]}),
    "bounds": ("variables", {"bounds": {"x1": (0, 1), "x2": (0, 1.0000001)}}),
    "a step": ("variables", {"step": {"x1": 0.1}}),
    "a logarithmic scale": ("variables", {"bounds": {"x1": (0, 1), "x2": (0.1, 1)}, "log": ["x2"]}),
    "constraints": ("constraints", {"constraints": ["x1 <= x2"]}),
    "near": ("present design", {"near": {"x1": 0.5}}),
    "near to data": ("present design", {"stay_near_data": True}),
    "the objective": ("objective", {"objective": ("mae", {}), "solver": ("lbfgsb", {})}),
    "an option of the solver": ("solver", {"solver": (SOLVER[0], {**SOLVER[1], "starts": 5})}),
    "number of designs": ("designs", {"designs": 2}),
    "the seed": ("seed", {"seed": 1}),
}


@pytest.mark.parametrize("what", OTHER)
def test_a_table_is_not_gone_on_with_by_another_question(model, cut_short, what):
    key, change = OTHER[what]
    frame, options = (change, {}) if isinstance(change, pd.DataFrame) else (WANTED, change)
    with pytest.raises(RunStoreError, match=f"with different .*{key}"):
        solve_table(ready(model, **options), frame, cut_short)


def test_near_designs_that_differ_by_little_are_told_apart(model, tmp_path):
    out = tmp_path / "d.parquet"
    cut(ready(model, near={"x1": 0.123456789012}), WANTED, out)
    with pytest.raises(RunStoreError, match="with different present design"):
        solve_table(ready(model, near={"x1": 0.123456789013}), WANTED, out)


def test_a_table_is_not_gone_on_with_by_a_model_whose_weights_differ_in_the_last_digit(cut_short, model, tmp_path):
    near = save(lin([[1, 1], [np.nextafter(np.float32(1), np.float32(2)), -1]]), tmp_path / "sum.keras")
    with pytest.raises(RunStoreError, match="with different surrogate"):
        solve_table(ready(near), WANTED, cut_short)


def test_the_same_weights_in_another_file_and_other_layers_are_another_model(cut_short, tmp_path):
    bent = save(lin([[1, 1], [1, -1]], act="tanh"), tmp_path / "sum.keras")
    with pytest.raises(RunStoreError, match="with different surrogate"):
        solve_table(ready(bent), WANTED, cut_short)


@pytest.mark.parametrize("what", ["versions", "code", "measured designs", "true model", "backend"])
def test_a_table_is_not_gone_on_with_by_what_computes_otherwise(model, cut_short, what):
    prepared = ready(model)
    changes = {
        "versions": {"versions": {**prepared.versions, "keras": "0.1"}},
        "code": {"code": "other"},
        "measured designs": {"model": replace(prepared.model, rows=TrainingRows(np.zeros((4, 2)), np.zeros((4, 2))))},
        "true model": {"model": replace(prepared.model, truth=as_truth(lambda frame: frame))},
        "backend": {"running": "tensorflow"},
    }
    with pytest.raises(RunStoreError, match=f"with different {what}"):
        solve_table(replace(prepared, **changes[what]), WANTED, cut_short)


def test_the_versions_name_who_brings_the_plugins(model):
    prepared = ready(model)
    assert {"invdesign", "keras", "numpy", "scipy", "jax"} <= set(prepared.versions)
    chosen = REGISTRY.create("solver", *SOLVER)
    solver = [entry for entry in REGISTRY.entries if entry.plugin is type(chosen)]
    others = [replace(entry, provider=replace(entry.provider, distribution="mine", version="7")) for entry in solver]
    assert identity.versions("jax", Registry(others), [chosen])["mine"] == "7"


def test_the_code_of_imported_modules_counts(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    for number in (1, 2):
        (tmp_path / "layers_of_mine.py").write_text(f"SIZE = {number}\n")
        found.append(ready(model, imports=["layers_of_mine.py"]).code)
    assert found[0] != found[1]


def test_a_digest_tells_apart_what_looks_alike():
    x = np.arange(6.0)
    alike = [
        (x,), (x.reshape(2, 3),), (x.astype(np.float32),), (x[:3], x[3:]), (x[:4], x[4:]), (None,), (), ("a", "bc"),
        ("ab", "c"), (1,), ("1",), (np.array(["a", "b"]),), (np.array(["a", "b"], dtype=object), None),
    ]  # fmt: skip
    assert len({identity.digest(*parts) for parts in alike}) == len(alike)


def test_a_surrogate_is_known_by_its_names_units_and_weights():
    from invdesign_core.space.space import Space
    from invdesign_core.space.variables import Variable

    space = Space((Variable("a", lower=0, upper=1), Variable("b", lower=0, upper=1)))
    first = Surrogate.of_model(lin([[1], [2]]), space, ("y",))
    others = [
        first,
        replace(first, outputs=("z",)),
        replace(first, scale=first.scale * 2),
        replace(first, spread=first.spread * 2),
        replace(first, box=first.box * 2),
        replace(first, members=(lin([[1], [2.0000002]]),)),
        replace(first, members=(first.members[0], first.members[0])),
        replace(first, space=Space(space.variables[::-1])),
    ]
    assert len({identity.of_surrogate(surrogate) for surrogate in others}) == len(others)


# Runs

BUILDER = """
import keras
def build(hp):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(hp.Choice("rate", [0.01, 0.02])), loss="mse")
    return model
"""


def write_table(folder, names="a,b,y,batch,split,weight", order=(0, 1, 2, 3, 4, 5), **columns):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.random(20), "b": rng.random(20)})
    frame = frame.assign(y=frame["a"] + frame["b"], batch=np.arange(20) // 4, split="train", weight=1.0)
    frame.loc[15:, "split"] = "test"
    frame = frame.assign(**columns)
    frame.columns = names.split(",")
    frame.iloc[:, list(order)].to_csv(folder / "t.csv", index=False)


def start(folder, resume, dataset=None, surrogate=None, stop="tune", **sections):
    """Run until the tuner begins: by then it is decided whether a run is gone on with."""
    settings = {
        "dataset": {"use": "table", "path": "t.csv", "inputs": ["a", "b"], "outputs": ["y"], **(dataset or {})},
        "surrogate": surrogate or {"use": "selu-mlp"},
        "training": {"epochs": 1, "test": 0.2},
    } | sections

    def halt(event):
        if event.kind == "stage" and event.data["stage"] == stop:
            raise KeyboardInterrupt

    experiment = Experiment.from_mapping(settings, "test", folder)
    run_experiment(experiment, ["1"], folder / "out", registry=REGISTRY, resume=resume, ctx=Context(emit=halt))


CHANGED = {
    "the same": (None, {}, {}),
    "another column is called the same": ("the data", {}, {"dataset": {"inputs": ["b", "a"]}}),
    "names": ("the inputs", {"names": "a,c,y,batch,split,weight"}, {"dataset": {"inputs": ["a", "c"]}}),
    "name of the output": ("the outputs", {"names": "a,b,z,batch,split,weight"}, {"dataset": {"outputs": ["z"]}}),
    "groups": ("the groups", {}, {"dataset": {"groups": "batch"}}),
    "weights": ("the weights of rows", {"weight": np.arange(20) + 1.0}, {"dataset": {"weights": "weight"}}),
    "share of test rows": ("training.test", {}, {"training": {"epochs": 1, "test": 0.3}}),
    "kind": ("the data", {}, {"dataset": {"kinds": {"a": "categorical"}}}),
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_run_is_gone_on_with_only_by_the_same_data_and_settings(tmp_path, what):
    key, columns, settings = CHANGED[what]
    write_table(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, resume=False)
    write_table(tmp_path, **columns)
    if key is None:
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path, resume=True, **settings)
        return
    with pytest.raises(RunStoreError, match=f"can't be resumed with other settings: .*{key} was"):
        start(tmp_path, resume=True, **settings)


def test_a_run_is_not_gone_on_with_by_another_builder_of_the_same_name(tmp_path):
    write_table(tmp_path)
    surrogate = {"use": "model-builder", "builder": "builder_that_changes:build"}
    (tmp_path / "builder_that_changes.py").write_text(BUILDER)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, resume=False, surrogate=surrogate)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, resume=True, surrogate=surrogate)
    (tmp_path / "builder_that_changes.py").write_text(BUILDER.replace("0.02", "0.03"))
    with pytest.raises(RunStoreError, match="the code of builder_that_changes:build was"):
        start(tmp_path, resume=True, surrogate=surrogate)


@pytest.mark.parametrize("name", ["keras", "numpy", "invdesign"])
def test_a_run_is_not_gone_on_with_under_another_version(tmp_path, name):
    write_table(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, resume=False)
    path = tmp_path / "out" / "resolved.json"
    resolved = read_sealed(path, "")
    resolved["trials depend on"][f"the version of {name}"] = "0.0"
    path.write_text(json.dumps(seal(resolved)))
    with pytest.raises(RunStoreError, match=f"the version of {name} was '0.0', now"):
        start(tmp_path, resume=True)


def test_a_part_that_was_renamed_passes_for_no_other(tmp_path):
    parts = ChunkedTable(tmp_path / "d.csv", {})
    for number in (0, 4):
        parts.write(number, pd.DataFrame({"target": [number + 1]}))
    first = next(parts.folder.glob("0-*.parquet"))
    first.rename(first.with_name(first.name.replace("0-", "8-", 1)))
    with pytest.raises(RunStoreError, match=r"8-.*the file was changed"):
        ChunkedTable(tmp_path / "d.csv", {})
