"""Whatever is read back is what was written: any other content is refused by name, and never used."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from conftest import lin
from test_target_tables import REGISTRY, prepared

from invdesign_core.data.data import TrainingRows
from invdesign_core.errors import InvdesignError, RunStoreError
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.sealed import opened, seal
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.run import run_experiment
from invdesign_core.workflow.run_folder import RunFolder
from invdesign_core.workflow.solve import solve_table

ZERO, ONE = np.zeros(2), np.ones(2)
DAMAGES = {
    "missing": lambda content: None,
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "one bit": lambda content: bytes([*content[:-40], content[-40] ^ 1, *content[-39:]]),
    "something else": lambda content: b"[1, 2]",
}


def damage(path, how):
    content = DAMAGES[how](path.read_bytes())
    path.unlink() if content is None else path.write_bytes(content)


def two_inputs(weights=((1.0, 2.0), (3.0, 4.0))):
    """Two exact outputs of two inputs, saved without training."""
    variables = tuple(Variable(name, lower=0.0, upper=1.0) for name in "ab")
    box = np.array([[0.0, 0.0], [1.0, 1.0]])
    return Surrogate((lin(weights),), Space(variables), ("p", "q"), ZERO, ONE, box, ONE)


@pytest.fixture
def folder(tmp_path):
    known = TrainingRows(np.zeros((3, 2)), np.zeros((3, 2)), np.arange(3))
    RunFolder(tmp_path).write_surrogate(two_inputs(), known)
    return tmp_path


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["meta.json", "known.npz", "member-0.keras"])
def test_a_damaged_file_of_a_surrogate_is_refused_by_name(folder, name, how):
    damage(folder / "surrogate" / name, how)
    with pytest.raises(RunStoreError) as error:
        RunFolder(folder).read_surrogate()
    assert name in error.value.message
    assert error.value.hint


def test_members_that_were_exchanged_are_refused(folder, tmp_path):
    two_inputs(((9.0, 9.0), (9.0, 9.0))).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "member-0.keras", folder / "surrogate" / "member-0.keras")
    with pytest.raises(RunStoreError, match=r"member-0.keras: found .* expected the checksum"):
        RunFolder(folder).read_surrogate()


def changed(folder, **values):
    """Write other values into the surrogate's file, with a checksum that fits them."""
    path = folder / "surrogate" / "meta.json"
    content = opened(path.read_bytes(), "", "")
    path.write_text(json.dumps(seal({**content, **values})))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": [1.0]}, "'scale' has the shape (1,), expected (2,)"),
        ({"shift": [0.0, 0.0, 0.0]}, "'shift' has the shape (3,)"),
        ({"spread": 1.0}, "'spread' has the shape ()"),
        ({"box": [[0.0], [1.0]]}, "'box' has the shape (2, 1), expected (2, 2)"),
        ({"scale": [1.0, float("nan")]}, "expected finite numbers"),
        ({"scale": [1.0, 0.0]}, "expected finite numbers"),
        ({"shift": ["a", "b"]}, "expected numbers"),
        ({"outputs": []}, "expected names"),
        (
            {"outputs": ["p"], "scale": [1.0], "shift": [0.0], "spread": [1.0]},
            "found a model from (None, 2) to (None, 2)",
        ),
        ({"space": [{"name": "a"}]}, "holds no design variables"),
        ({"members": ["member-9.keras"]}, "names of files that have a checksum"),
        ({"format": 4}, "found format 4"),
    ],
)
def test_numbers_that_do_not_fit_each_other_are_refused(folder, values, message):
    changed(folder, **values)
    with pytest.raises(RunStoreError) as error:
        Surrogate.load(folder / "surrogate")
    assert message in error.value.message
    assert "meta.json" in error.value.message


def test_a_number_that_was_changed_is_noticed(folder):
    path = folder / "surrogate" / "meta.json"
    path.write_text(path.read_text().replace('"scale": [\n  1.0,', '"scale": [\n  1.5,'))
    with pytest.raises(RunStoreError, match="changed after it was written"):
        Surrogate.load(folder / "surrogate")


def test_a_surrogate_without_checksums_is_refused_and_what_to_do_is_said(folder):
    path = folder / "surrogate" / "meta.json"
    content = opened(path.read_bytes(), "", "")
    path.write_text(json.dumps({**content, "format": 1}))
    with pytest.raises(RunStoreError, match="no checksums") as error:
        Surrogate.load(folder / "surrogate")
    assert "run the experiment again" in error.value.hint


def test_the_layout_of_a_file_is_no_damage(folder):
    path = folder / "surrogate" / "meta.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(content.items())), indent=8))
    assert Surrogate.load(folder / "surrogate").outputs == ("p", "q")


def test_known_rows_may_have_further_arrays_but_not_another_width(folder):
    surrogate = two_inputs()
    for name, arrays, fine in [
        ("more", {"x": np.zeros((3, 2)), "y": np.zeros((3, 2)), "all": np.zeros(9)}, True),
        ("width", {"x": np.zeros((3, 1)), "y": np.zeros((3, 2))}, False),
        ("length", {"x": np.zeros((3, 2)), "y": np.zeros((2, 2))}, False),
        ("rows", {"x": np.zeros((3, 2)), "y": np.zeros((3, 2)), "rows": np.zeros(2)}, False),
        ("y", {"x": np.zeros((3, 2))}, False),
    ]:
        where = folder / name / "surrogate"
        where.mkdir(parents=True)
        np.savez(where / "known.npz", **arrays)
        surrogate.save(where)
        if fine:
            assert len(RunFolder(folder / name).read_surrogate()[1].x) == 3
            continue
        with pytest.raises(RunStoreError, match=r"known.npz"):
            RunFolder(folder / name).read_surrogate()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run on a few rows."""
    from invdesign_core.workflow.experiment import Experiment

    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(0, 1, (30, 2)), columns=["a", "b"]).assign(y=lambda f: f["a"] + f["b"])
    frame.to_csv(folder / "few.csv", index=False)
    values = {
        "dataset": {"use": "table", "path": "few.csv", "outputs": ["y"]},
        "surrogate": {"use": "selu-mlp", "widths": [4], "learning_rate": [0.01, 0.01]},
        "training": {"epochs": 2},
        "solver": {"starts": 2},
    }
    experiment = Experiment.from_mapping(values, "few", folder)
    run_experiment(experiment, ["y=1"], folder / "out", registry=REGISTRY)
    return experiment, folder / "out"


@pytest.mark.parametrize("how", [*DAMAGES, "another number"])
@pytest.mark.parametrize("name", ["resolved.json", "run.json", "surrogate/report.json"])
def test_a_damaged_file_of_a_run_is_refused_by_name(run, tmp_path, name, how):
    shutil.copytree(run[1], tmp_path / "out")
    path = tmp_path / "out" / name
    if how == "another number":
        text = path.read_text()
        path.write_text(text.replace('"train": 2', '"train": 3').replace('"seed": 0', '"seed": 1'))
        assert path.read_text() != text
    else:
        damage(path, how)
    if (name, how) == ("run.json", "missing"):  # the run is unfinished; its surrogate has its own report
        assert prepare(tmp_path / "out", registry=REGISTRY).model.report == RunFolder(run[1]).read_report()
        return
    if (name, how) == ("run.json", "one bit"):  # it may lie in the seconds, which nobody reads back
        with suppress(RunStoreError):
            assert prepare(tmp_path / "out", registry=REGISTRY).model.report == RunFolder(run[1]).read_report()
        return
    with pytest.raises(RunStoreError) as error:
        prepare(tmp_path / "out", registry=REGISTRY)
    assert path.name in error.value.message


@pytest.mark.parametrize("name", ["resolved.json", "run.json", "surrogate"])
def test_what_belongs_to_another_run_is_refused(run, tmp_path, name):
    """A whole file of another run: its own checksum is right."""
    experiment, out = run
    design = experiment.design.model_copy(update={"bounds": {"a": (0.0, 0.1)}})
    training = experiment.training.model_copy(update={"epochs": 1})
    run_experiment(
        experiment.model_copy(update={"design": design, "training": training}), ["y=1"], tmp_path / "other",
        registry=REGISTRY,
    )  # fmt: skip
    shutil.copytree(out, tmp_path / "out")
    for folder in (tmp_path / "out", tmp_path / "other"):
        prepare(folder, registry=REGISTRY)
    target = tmp_path / "out" / name
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    shutil.move(tmp_path / "other" / name, target)
    with pytest.raises(RunStoreError, match="another run"):
        prepare(tmp_path / "out", registry=REGISTRY)


def test_trials_of_unknown_settings_are_not_gone_on_with(run, tmp_path):
    experiment, out = run
    shutil.copytree(out, tmp_path / "out")
    (tmp_path / "out" / "resolved.json").unlink()
    with pytest.raises(RunStoreError, match=r"resolved.json: the file is missing"):
        run_experiment(experiment, ["y=1"], tmp_path / "out", registry=REGISTRY, resume=True)


def test_a_resumed_run_trains_nothing_twice(run, tmp_path):
    experiment, out = run
    shutil.copytree(out, tmp_path / "out")
    (tmp_path / "out" / "run.json").unlink()
    shutil.rmtree(tmp_path / "out" / "surrogate")
    again = run_experiment(experiment, ["y=1"], tmp_path / "out", registry=REGISTRY, resume=True)
    log = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    before = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    trials = [line for line in log if line["kind"] == "trial"]
    assert len(trials) == len([line for line in before if line["kind"] == "trial"]) >= 1
    assert again.report.surrogate == RunFolder(out).read_report()


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_of_a_saved_estimator_is_refused_by_name(folder, tmp_path, how):
    model = InverseDesign()
    model.surrogate_, model.known_ = RunFolder(folder).read_surrogate()
    model.n_features_in_, model.truth_ = 2, None
    from invdesign_core.workflow.train import untested

    model.report_ = untested(model.surrogate_)
    for name in ("estimator.json", "surrogate/meta.json", "surrogate/known.npz", "surrogate/member-0.keras"):
        where = tmp_path / "saved" / name.replace("/", "-")
        model.save(where)
        damage(where / name, how)
        with pytest.raises(RunStoreError) as error:
            InverseDesign.load(where)
        assert (where / name).name in error.value.message


def test_a_saved_estimator_with_the_surrogate_of_another_is_refused(folder, tmp_path):
    model = InverseDesign()
    model.surrogate_, model.known_ = RunFolder(folder).read_surrogate()
    model.n_features_in_, model.truth_ = 2, None
    from invdesign_core.workflow.train import untested

    model.report_ = untested(model.surrogate_)
    model.save(tmp_path / "one")
    model.surrogate_ = two_inputs(((9.0, 9.0), (9.0, 9.0)))
    model.save(tmp_path / "two")
    shutil.rmtree(tmp_path / "one" / "surrogate")
    shutil.copytree(tmp_path / "two" / "surrogate", tmp_path / "one" / "surrogate")
    with pytest.raises(RunStoreError, match=r"meta.json"):
        InverseDesign.load(tmp_path / "one")


def stopped(path, tmp_path, wanted):
    """Leave the parts of a table of targets that was killed."""
    from invdesign_core.context import Context

    solved = []

    def kill(event):
        if event.kind == "progress":
            solved.append(event)
            if len(solved) == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve_table(prepared(path, **FEW, ctx=Context(emit=kill)), wanted, tmp_path / "d.csv")
    return tmp_path / ".d.csv.parts"


FEW = {"solver": ("least-squares", {"rows_at_once": 640})}


@pytest.mark.parametrize("name", ["*.parquet", "identity.json"])
def test_damaged_parts_of_a_table_of_targets_are_refused_and_a_missing_one_is_solved_again(tmp_path, name):
    path = tmp_path / "sum.keras"
    lin([[1, 1], [1, -1]]).save(path)
    wanted = pd.DataFrame({"y1": np.linspace(0.2, 1.8, 30)})
    parts = stopped(path, tmp_path, wanted)
    part = sorted(parts.glob(name))[0]
    whole = part.read_bytes()
    for how in ("empty", "cut", "one bit"):
        part.write_bytes(DAMAGES[how](whole))
        with pytest.raises(RunStoreError) as error:
            solve_table(prepared(path, **FEW), wanted, tmp_path / "d.csv")
        assert part.name in error.value.message
        assert "solved again" in error.value.hint
    if name == "identity.json":
        return
    part.unlink()
    report = solve_table(prepared(path, **FEW), wanted, tmp_path / "d.csv")
    assert report.met == report.targets == 30
    assert pd.read_csv(tmp_path / "d.csv")["target"].tolist() == list(range(1, 31))


def test_every_damage_has_an_exit_code_that_is_no_bug(folder):
    for name in ("meta.json", "known.npz"):
        damage(folder / "surrogate" / name, "empty")
        with pytest.raises(InvdesignError) as error:
            RunFolder(folder).read_surrogate()
        assert error.value.exit_code == 7
