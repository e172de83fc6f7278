"""From the laboratory and back: experiments are proposed, measured rows are learnt, and nothing is lost on the way."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from invdesign_core.context import Context
from invdesign_core.data.data import Data, TrainingRows, split_rows
from invdesign_core.registry import Registry
from invdesign_core.surrogate.settings import Training
from invdesign_core.workflow import identity
from invdesign_core.workflow.learn import not_known
from invdesign_core.workflow.rounds import Trainers, renumbered, trained_on, with_rows
from invdesign_core.workflow.run_folder import RunFolder, newest
from invdesign_core.workflow.train import fit

DRAFT = """
[dataset]
use = "table"
path = "mine.csv"
outputs = ["y"]

[design]
step = { a = 0.05 }
bounds = { b = [0.0, 1.0] }
constraints = ["a + b <= 1.2"]

[surrogate]
use = "gaussian-process"

[confidence]
model = "none"

[targets]
y = 0.9
"""


def truth(frame):
    return np.sin(3 * frame["a"]) * frame["b"] + 0.3 * (frame["m"] == "X")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a run on 28 rows."""
    from conftest import called

    folder = tmp_path_factory.mktemp("laboratory")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": (rng.integers(0, 21, 28) * 0.05).round(2), "b": rng.random(28).round(3)})
    frame["m"] = rng.choice(["X", "Y"], 28)
    frame.assign(y=truth(frame).round(6)).to_csv(folder / "mine.csv", index=False)
    (folder / "mine.toml").write_text(DRAFT)
    done = called(["run", "mine.toml", "--out", "first", "--quiet"], folder, {})
    assert done.code == 0, done.err
    done = called(["propose", "first", "--batch", "3", "--out", "next.csv"], folder, {})
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def lab(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def measured(lab, name="next.csv", to="measured.csv"):
    frame = pd.read_csv(lab / name)
    frame = frame.assign(y=truth(frame))
    frame.to_csv(lab / to, index=False)
    return frame


def test_proposals_are_new_allowed_and_written_to_be_filled_in(lab):
    frame, known = pd.read_csv(lab / "next.csv"), pd.read_csv(lab / "mine.csv")
    assert len(frame[["a", "b", "m"]].drop_duplicates()) == 3
    assert (frame["a"] + frame["b"] <= 1.2).all()
    np.testing.assert_allclose(frame["a"] / 0.05, np.rint(frame["a"] / 0.05), atol=1e-9)
    assert frame["y"].isna().all()
    assert (frame["low_new.y"] < frame["prediction.y"]).all()
    assert (frame["prediction.y"] < frame["high_new.y"]).all()
    assert frame["probability"].between(0, 1).all()
    assert frame.merge(known, on=["a", "b", "m"]).empty


@pytest.mark.parametrize("surrogate", ["gaussian-process", "ridge"])
def test_what_is_predicted_of_experiments_is_what_the_surrogate_says(surrogate):
    from invdesign_core import InverseDesign

    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.random(12), "b": rng.random(12)})
    model = InverseDesign(surrogate, confidence={"model": "none"}).fit(X, np.sin(6 * X["a"]) + X["b"])
    for target in ({"y": 0.7}, None):
        found = model.propose(2, target)
        expected = model.predict(found[["a", "b"]]).ravel()
        np.testing.assert_allclose(found["prediction.y"], expected, rtol=2e-6)


def test_values_that_are_held_stay_and_what_is_measured_is_proposed_only_where_it_is_asked_for(lab, invdesign):
    levels = ["--bounds", "a=0.19..0.27", "--levels", "b=0.5", "--fixed", "m=X"]
    done = invdesign("propose", "first", "--batch", "3", "--json", *levels, cwd=lab)
    report = json.loads(done.out)
    assert sorted(row["a"] for row in report["experiments"]) == [0.2, 0.25]
    assert {(row["b"], row["m"]) for row in report["experiments"]} == {(0.5, "X")}
    assert any("only 2 experiments of 3" in note for note in report["notes"])
    row = pd.read_csv(lab / "mine.csv").query("a + b <= 1.2").iloc[0]
    held = [item for name in ("a", "b", "m") for item in ("--fixed", f"{name}={row[name]}")]
    none = invdesign("propose", "first", "--out", "none.csv", *held, cwd=lab)
    assert (none.code, (lab / "none.csv").exists()) == (2, False)
    assert "no experiment to propose" in none.err
    again = json.loads(invdesign("propose", "first", "--json", "--repeats", *held, cwd=lab).out)["experiments"]
    assert again == [{"a": row["a"], "b": row["b"], "m": row["m"]}]


def test_without_a_target_experiments_are_where_least_is_known(lab, invdesign):
    values = json.loads((lab / "first" / "resolved.json").read_text())["experiment"]
    assert values["targets"]
    done = invdesign("propose", "first", "--batch", "2", "--json", "--target", "y=free", cwd=lab)
    report = json.loads(done.out)
    assert report["probability"] is None
    width = [high["y"] - low["y"] for low, high in zip(report["low"], report["high"], strict=True)]
    frame = pd.read_csv(lab / "next.csv")
    assert max(width) > (frame["high_new.y"] - frame["low_new.y"]).max()


def test_learnt_rows_make_a_round_and_leave_all_else_as_it_was(lab, invdesign):
    frame = measured(lab)
    before = {name: identity.of_files(lab / name) for name in ("measured.csv", "mine.csv", "first")}
    done = invdesign("learn", "first", "measured.csv", "--batch", "2", "--out", "next2.csv", "--json", cwd=lab)
    report = json.loads(done.out)
    assert done.code == 0
    assert (report["round"], report["added"], report["afresh"]) == (1, 3, False)
    assert [row["measured"]["y"] for row in report["measured"]] == pytest.approx(list(frame["y"]))
    assert [row["prediction"]["y"] for row in report["measured"]] == pytest.approx(
        list(frame["prediction.y"]), rel=1e-4
    )
    assert len(pd.read_csv(lab / "next2.csv")) == 2
    shutil.move(lab / "first" / "rounds", lab / "rounds")
    assert {name: identity.of_files(lab / name) for name in before} == before
    shutil.move(lab / "rounds", lab / "first" / "rounds")
    predicted = invdesign("predict", "first", "measured.csv", cwd=lab)
    from io import StringIO

    found = pd.read_csv(StringIO(predicted.out))
    np.testing.assert_allclose(found["prediction.y"], found["y"], atol=0.01)


def test_rows_held_out_stay_so_also_where_their_design_is_measured_again(lab, invdesign):
    _, known = RunFolder.open(lab / "first").read_surrogate()
    held = known.held_out
    assert held is not None
    surrogate, _ = RunFolder.open(lab / "first").read_surrogate()
    frame = surrogate.space.decode(np.concatenate([held.x[:1], known.x[:1] * [0, 0, 1, 1] + [0.05, 0.77, 0, 0]]))
    frame.assign(y=[0.5, 0.25]).to_csv(lab / "again.csv", index=False)
    done = invdesign("learn", "first", "again.csv", "--batch", "0", cwd=lab)
    assert done.code == 0, done.err
    _, after = RunFolder.open(lab / "first").read_surrogate()
    np.testing.assert_array_equal(after.held_out.x[: len(held.x)], held.x)
    np.testing.assert_array_equal(after.held_out.rows[: len(held.x)], held.rows)
    assert len(after.held_out.x) == len(held.x) + 1
    assert after.held_out.y[-1, 0] == 0.5
    np.testing.assert_array_equal(after.x[:-1], known.x)
    assert after.rows[-1] == 30


def test_what_is_known_is_not_learnt_twice_and_empty_rows_are_skipped(lab, invdesign):
    frame = measured(lab)
    frame.loc[1, "y"] = np.nan
    frame.to_csv(lab / "measured.csv", index=False)
    done = invdesign("learn", "first", "measured.csv", "--batch", "0", "--json", cwd=lab)
    assert json.loads(done.out)["skipped"] == {"nothing was filled in": 1}
    again = invdesign("learn", "first", "measured.csv", cwd=lab)
    assert again.code == 4
    assert "no row is new" in again.err
    measured(lab)
    done = invdesign("learn", "first", "measured.csv", "--batch", "0", "--json", cwd=lab)
    report = json.loads(done.out)
    assert (report["round"], report["added"], report["skipped"]) == (2, 1, {"known already": 2})
    assert newest(lab / "first").name == "2"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame.assign(y=["0.5", "failed", "0.4"]), "row 2 (line 3): found 'failed', expected a number"),
        (lambda frame: frame.drop(columns="y"), "no column is an output"),
        (lambda frame: frame.drop(columns="b").assign(y=1.0), "there is no column 'b'"),
        (lambda frame: frame.assign(m=["X", "W", "Y"], y=1.0), "row 2: 'm' has no level 'W'"),
        (lambda frame: frame, "nothing was filled in in 'y'"),
    ],
)
def test_rows_that_cannot_be_used_are_refused_by_their_place(lab, invdesign, change, said):
    change(pd.read_csv(lab / "next.csv").astype({"y": object})).to_csv(lab / "bad.csv", index=False)
    done = invdesign("learn", "first", "bad.csv", cwd=lab)
    assert done.code == 4
    assert said in done.err
    assert not (lab / "first" / "rounds").exists()


def known_rows():
    gap = np.nan
    return TrainingRows(np.array([[0.5, 0], [0.6, 0]]), np.array([[0.75, gap], [1.0, 2.0]]))


@pytest.mark.parametrize(
    ("design", "outputs", "new"),
    [
        ([0.6, 0], [1.0, 2.0], [False, False]),
        ([0.6, 0], [1.0, np.nan], [False, False]),  # told already, with more beside it
        ([0.5, 0], [0.75, np.nan], [False, False]),
        ([0.5, 0], [0.75, 0.1], [False, True]),  # what was missing
        ([0.5, 0], [0.76, np.nan], [True, False]),  # measured again
        ([0.6, 0], [1.0, 3.0], [True, True]),
        ([0.7, 0], [0.75, np.nan], [True, False]),
    ],
)
def test_each_measurement_is_learnt_once_also_in_rows_with_gaps(design, outputs, new):
    x, y = np.array([design, design]), np.array([outputs, outputs])
    found = not_known(x, y, known_rows())
    assert np.isfinite(found[0]).tolist() == new
    assert not np.isfinite(found[1]).any()  # the same row again


def test_designs_that_differ_in_a_column_of_many_decades_are_different():
    rng = np.random.default_rng(0)
    x = np.sort(10.0 ** rng.uniform(-12, 6, 200))[:, None]
    y = np.ones((200, 1))
    assert np.isfinite(not_known(x[100:], y[100:], TrainingRows(x[:100], y[:100]))).all()
    same = np.array([[float(f"{value:.14g}")] for value in x[:, 0]])
    assert not np.isfinite(not_known(same, y, TrainingRows(x, y))).any()


def test_a_measured_row_stays_as_it_is_where_all_others_have_whole_numbers():
    frame = pd.DataFrame({"n": [1, 2, 3, 4, 5, 6], "y": [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]})
    data = Data.from_frame(frame, ["y"])
    assert data.space["n"].kind == "integer"
    registry = Registry.discover()
    builder, tuner = registry.create("surrogate", "ridge", {}), registry.create("tuner", "grid-search", {})
    model = fit(data, builder, tuner, Training(), Context())
    more = with_rows(model, np.array([[2.5], [7.0]]), np.array([[5.0], [14.0]]), data.space)
    assert more.frame["n"].tolist()[-2:] == [2.5, 7.0]
    np.testing.assert_array_equal(np.sort(more.x[:, 0]), [1, 2, 2.5, 3, 4, 5, 6, 7])


def test_a_run_of_four_rows_can_be_learnt_on_and_proposes(lab, invdesign):
    pd.read_csv(lab / "mine.csv").head(4).to_csv(lab / "four.csv", index=False)
    few = ["--set", "dataset.path=four.csv", "--set", "training.test=0.25", "--surrogate", "ridge"]
    assert invdesign("run", "mine.toml", *few, "--out", "few", cwd=lab).code in (0, 1)
    assert invdesign("propose", "few", "--batch", "1", "--out", "one.csv", cwd=lab).code == 0
    measured(lab, "one.csv")
    done = invdesign("learn", "few", "measured.csv", cwd=lab)
    assert done.code == 0, done.err


def test_conditions_that_vary_are_refused_before_anything_is_trained(lab, invdesign):
    varying = ["--condition", "m=data", "--surrogate", "ridge"]
    assert invdesign("run", "mine.toml", *varying, "--out", "varying", cwd=lab).code in (0, 1)
    measured(lab)
    done = invdesign("learn", "varying", "measured.csv", cwd=lab)
    assert done.code == 2
    assert "conditions that vary" in done.err
    assert "training" not in done.err
    assert invdesign("learn", "varying", "measured.csv", "--batch", "0", cwd=lab).code == 0


def test_rows_outside_the_bounds_are_learnt_with_a_warning_and_widen_what_the_data_say(lab, invdesign):
    pd.DataFrame({"a": [1.5], "b": [0.1], "m": ["Y"], "y": [-0.1]}).to_csv(lab / "far.csv", index=False)
    done = invdesign("learn", "first", "far.csv", "--batch", "0", cwd=lab)
    assert done.code == 0
    assert "outside the bounds or constraints of the run: 1 row (1)" in done.err
    surrogate, _ = RunFolder.open(lab / "first").read_surrogate()
    assert surrogate.space["a"].upper == 1.5


def test_twice_the_rows_are_learnt_from_the_beginning(lab, invdesign):
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"a": rng.random(30), "b": rng.random(30), "m": rng.choice(["X", "Y"], 30)})
    frame.assign(y=truth(frame)).to_csv(lab / "many.csv", index=False)
    report = json.loads(invdesign("learn", "first", "many.csv", "--batch", "0", "--json", cwd=lab).out)
    assert report["afresh"]
    assert report["after"]["y"]["rmse"] < report["before"]["y"]["rmse"]
    assert any("from the beginning: it is again now" in note for note in report["notes"])


@pytest.mark.long
def test_a_round_has_intervals_of_its_own_where_the_run_has_them(lab, invdesign):
    (lab / "mine.toml").write_text(DRAFT.replace('model = "none"', "level = 0.8"))
    assert invdesign("run", "mine.toml", "--out", "second", "--quiet", cwd=lab).code == 0
    frame = measured(lab)
    report = json.loads(invdesign("learn", "second", "measured.csv", "--json", cwd=lab).out)
    assert report["inside"]["y"] == [sum(one["inside"]["y"] for one in report["measured"]), len(frame)]
    solved = json.loads(invdesign("solve", "second", "--target", "y=0.7", "--json", cwd=lab).out)
    assert solved["run"].endswith("rounds/1")
    assert solved["designs"][0]["probability"] is not None


def forward(surrogate, frame, training=None, **options):
    registry = Registry.discover()
    builder = registry.create("surrogate", surrogate, options)
    tuner = registry.create("tuner", "grid-search", {})
    by = Trainers(builder, tuner, Training(**(training or {})), registry)
    data = Data.from_frame(frame, ["y"])
    return fit(data, builder, tuner, by.training, Context(1)), by


@pytest.mark.long
def test_networks_go_on_from_their_weights():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.random(80), "b": rng.random(80)})
    frame["y"] = np.sin(4 * frame["a"]) + frame["b"] ** 2
    model, by = forward("mlp", frame, {"members": 1, "epochs": 100}, widths=[16, 16], weight_decay=[0.0])
    x = rng.random((3, 2))
    y = np.sin(4 * x[:, :1]) + x[:, 1:] ** 2
    data = with_rows(model, x, y, model.surrogate.space)
    quick = Trainers(by.builder, by.tuner, Training(members=1, epochs=4), by.registry)
    on = trained_on(model, data, quick, Context(1))
    test = model.known.held_out
    np.testing.assert_array_equal(on.known.held_out.x, test.x)
    np.testing.assert_array_equal(on.surrogate.shift, model.surrogate.shift)
    error, before = (np.abs(m.surrogate.predict(test.x).mean - test.y).mean() for m in (on, model))
    assert error < max(1.5 * before, 0.05)  # from new weights, one epoch would leave some 0.5
    assert on.report.rows["train"] + on.report.rows["validation"] == 75


def test_weights_and_groups_of_rows_are_kept_for_the_rows_that_follow():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.random(20).round(2), "y": rng.random(20), "w": 2.0, "g": np.arange(20) // 2})
    data = Data.from_frame(frame, ["y"], weights="w", groups="g")
    registry = Registry.discover()
    builder = registry.create("surrogate", "gaussian-process", {})
    model = fit(data, builder, registry.create("tuner", "grid-search", {}), Training(), Context(0))
    stored = TrainingRows.from_arrays(model.known.arrays())
    for name in ("x", "y", "rows", "watched", "weights", "groups"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(model.known, name))
    more = with_rows(model, np.array([[0.123]]), np.array([[0.5]]), model.surrogate.space)
    assert (more.weights == 2.0).all()
    assert len(np.unique(more.groups)) == 11
    rows = split_rows(more, 0.0, 0.0, Context(0))
    assert len(rows.test) == len(model.known.held_out.x)


def test_added_rows_are_numbered_on_from_the_last_row_of_the_table():
    before = TrainingRows(
        np.zeros((2, 1)), np.zeros((2, 1)), np.array([4, 2]), TrainingRows(*np.zeros((2, 1, 1)), np.array([3]))
    )
    found = TrainingRows(
        np.zeros((4, 1)), np.zeros((4, 1)), np.array([1, 2, 4, 5]), TrainingRows(*np.zeros((2, 1, 1)), np.array([3]))
    )
    numbered = renumbered(found, before)
    assert numbered.rows.tolist() == [4, 2, 5, 6]
    assert numbered.held_out.rows.tolist() == [3]
    assert renumbered(found, before, 5000).rows.tolist() == [4, 2, 5001, 5002]  # of which four rows are known
