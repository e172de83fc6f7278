"""A true model is asked about the designs that teach most, until a target is met or the budget is spent."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import called

from invdesign_core import InverseDesign
from invdesign_core.search.acquisition import Worth
from invdesign_core.search.experiments import Choice
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.targets import Target, Targets

SIMULATOR = """
import numpy as np
import pandas as pd


def simulate(designs):
    with open("asked.txt", "a") as file:
        file.write(f"{len(designs)}\\n")
    y = np.sin(3 * designs["a"]) * designs["b"] + designs["a"]
    return pd.DataFrame({"y": y.where(designs["b"] < 0.98), "z": designs["a"] - designs["b"]})
"""
EXPERIMENT = """
[dataset]
use = "table"
path = "mine.csv"
outputs = ["y", "z"]

[surrogate]
use = "gaussian-process"

[confidence]
model = "none"

[truth]
function = "simulator:simulate"
"""
EXACT = ["--target", "y=1.1 tolerance 1e-4", "--target", "z=0.05 tolerance 1e-4"]


def truth(a, b):
    return np.sin(3 * a) * b + a


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulations")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.random(14).round(3), "b": (0.97 * rng.random(14)).round(3)})
    frame.assign(y=truth(frame["a"], frame["b"]), z=frame["a"] - frame["b"]).to_csv(folder / "mine.csv", index=False)
    (folder / "mine.toml").write_text(EXPERIMENT)
    (folder / "simulator.py").write_text(SIMULATOR)
    done = called(["run", "mine.toml", "--out", "first", "--quiet"], folder, {})
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def lab(made, tmp_path):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def asked(lab):
    path = lab / "asked.txt"
    return sum(map(int, path.read_text().split())) if path.exists() else 0


def test_a_target_is_met_by_the_true_model_within_its_budget_and_not_asked_again(lab, invdesign):
    command = ["refine", "first", "--truth", *EXACT, "--rounds", "4", "--budget", "12", "--json"]
    done = invdesign(*command, cwd=lab)
    report = json.loads(done.out)
    assert done.code == 0, done.err
    (one,) = report["targets"]
    assert (report["status"], one["met"]) == ("met", True)
    assert truth(one["inputs"]["a"], one["inputs"]["b"]) == pytest.approx(1.1, abs=1e-4)
    assert one["inputs"]["a"] - one["inputs"]["b"] == pytest.approx(0.05, abs=1e-4)
    assert report["evaluated"] == one["experiments"] == asked(lab) <= 12
    assert [part["round"] for part in report["rounds"]] == list(range(1, len(report["rounds"]) + 1))
    again = json.loads(invdesign(*command, "--out", "best.csv", cwd=lab).out)
    assert asked(lab) == report["evaluated"]
    assert again["targets"] == report["targets"]
    assert pd.read_csv(lab / "best.csv")["met"].tolist() == [True]


def test_a_budget_that_is_spent_ends_it_and_another_round_goes_on_from_there(lab, invdesign):
    never = ["--target", "y=9", "--truth", "--batch", "2", "--json"]
    done = invdesign("refine", "first", *never, "--rounds", "1", "--budget", "4", cwd=lab)
    first = json.loads(done.out)
    assert (done.code, first["status"], asked(lab)) == (1, "not met", 2)
    more = json.loads(invdesign("refine", "first", *never, "--rounds", "9", "--budget", "4", cwd=lab).out)
    assert [part["round"] for part in more["rounds"]] == [1, 2]
    assert (more["evaluated"], asked(lab)) == (4, 4)
    assert any("resumed after 1 round" in note for note in more["notes"])


def test_every_target_of_a_table_has_its_budget_and_what_one_teaches_serves_all(lab, invdesign):
    pd.DataFrame({"y": [0.5, 1.0], "z": [-0.1, 0.2], "b": [np.nan, 0.4]}).drop(columns="b").to_csv(
        lab / "wanted.csv", index=False
    )
    options = ["--truth", "--targets", "wanted.csv", "--rounds", "3", "--budget", "6", "--out", "best.csv", "--json"]
    done = invdesign("refine", "first", *options, cwd=lab)
    report = json.loads(done.out)
    best = pd.read_csv(lab / "best.csv")
    assert done.code == 0, done.err
    assert list(best["target"]) == [1, 2]
    np.testing.assert_allclose(truth(best["design.a"], best["design.b"]), best["truth.y"], rtol=1e-9)
    assert all(one["experiments"] <= 6 for one in report["targets"])
    assert report["evaluated"] == sum(one["experiments"] for one in report["targets"])


def test_a_design_that_fails_costs_its_evaluation_and_teaches_nothing(lab, invdesign):
    options = ["--truth", "--target", "y=9", "--rounds", "1", "--budget", "3", "--json"]
    bounds = ["--bounds", "b=0.9..1.0", "--levels", "a=0.6,0.9"]
    report = json.loads(invdesign("refine", "first", *options, *bounds, cwd=lab).out)
    (one,) = report["rounds"]
    assert 0 < one["failed"] < 3
    assert len(pd.read_csv(lab / one["folder"] / "measured.csv")) == 3 - one["failed"]
    assert any("gave no value" in note for note in report["notes"])


OTHERS = """

def never(designs):
    raise RuntimeError("no licence")


def one_output(designs):
    return simulate(designs)[["y"]]
"""


def test_a_round_in_which_every_design_fails_counts_and_others_are_tried(lab, invdesign):
    options = ["--truth", "--rounds", "6", "--budget", "6", "--batch", "1", "--out", "best.csv", "--json"]
    done = invdesign("refine", "first", "--target", "y=max", "--bounds", "b=0.9..1.0", *options, cwd=lab)
    report = json.loads(done.out)
    assert done.code == 0, done.err
    failed = [part["failed"] for part in report["rounds"]]
    assert (len(failed), report["evaluated"]) == (6, 6)
    assert 0 < sum(failed) < 6
    assert report["targets"][0]["inputs"]["b"] < 0.98
    assert pd.read_csv(lab / "best.csv")["truth.y"].notna().all()


def test_where_nothing_can_be_simulated_the_rounds_end_and_no_design_is_asked_twice(lab, invdesign):
    (lab / "simulator.py").write_text(SIMULATOR + OTHERS)
    options = ["--set", "truth.function=simulator:never", "--target", "y=1.1", "--rounds", "3", "--budget", "6"]
    done = invdesign("refine", "first", *options, "--json", cwd=lab)
    report = json.loads(done.out)
    assert (done.code, report["status"], report["evaluated"]) == (1, "not met", 6)
    assert report["targets"][0]["inputs"] is None
    assert "no licence" in done.err


def test_outputs_without_a_target_need_not_be_simulated(lab, invdesign):
    (lab / "simulator.py").write_text(SIMULATOR + OTHERS)
    options = ["--set", "truth.function=simulator:one_output", "--rounds", "4", "--budget", "12", "--json"]
    done = invdesign("refine", "first", *EXACT[:2], *options, cwd=lab)
    report = json.loads(done.out)
    assert done.code == 0, done.err
    assert report["targets"][0]["outputs"]["z"] is None
    assert not any(part["failed"] for part in report["rounds"])


def test_what_has_no_limits_is_not_said_to_be_met(lab, invdesign):
    options = ["--truth", "--target", "y=max", "--rounds", "1", "--budget", "2", "--out", "best.csv", "--json"]
    report = json.loads(invdesign("refine", "first", *options, cwd=lab).out)
    assert report["targets"][0]["met"] is None
    assert report["rounds"][0]["met"] == 0
    assert pd.read_csv(lab / "best.csv")["met"].isna().all()


def test_without_a_true_model_it_is_refused(lab, invdesign):
    done = invdesign("refine", "first", "--target", "y=1", cwd=lab)
    assert done.code == 2
    assert "no true model is known" in done.err


def test_the_same_in_python():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.random(14), "b": rng.random(14), "m": rng.choice(["X", "Y"], 14)})
    model = InverseDesign("gaussian-process", confidence={"model": "none"}, constraints=["a + b <= 1.5"]).fit(
        X, truth(X["a"], X["b"]).rename("y")
    )
    held = model.known_.held_out.x
    frame = model.propose(3, {"y": 1.0})
    assert list(frame) == ["a", "b", "m", "prediction.y", "low_new.y", "high_new.y", "probability"]
    assert (frame["a"] + frame["b"] <= 1.5).all()
    assert len(frame[["a", "b", "m"]].drop_duplicates()) == 3
    y = truth(frame["a"], frame["b"])
    before = np.abs(model.predict(frame[["a", "b", "m"]]) - y).mean()
    assert model.partial_fit(frame, y.rename("y")) is model
    assert np.abs(model.predict(frame[["a", "b", "m"]]) - y).mean() < before / 2
    np.testing.assert_array_equal(model.known_.held_out.x, held)
    assert len(model.data_.frame) == 17
    assert "probability" not in model.propose(2)
    with pytest.raises(ValueError, match="X has 1 row"):
        model.partial_fit(frame.iloc[:1], [1.0, 2.0])


def worth(wanted, known):
    targets = Targets.build([{"y": wanted}], ["y"], np.ones(1))
    return Worth.of(targets, np.ones(1), np.array(known)[:, None], 0)


def test_what_may_come_nearer_is_worth_more_than_what_can_not():
    value = worth(Target(1.0, 1.0, tolerance=0.01), [0.0, 0.4])(
        np.array([[0.9], [0.9], [0.4], [-1.0]]), np.array([[0.01], [0.3], [1e-6], [0.1]])
    )
    assert value[0] > value[1] > value[2] > value[3]


@pytest.mark.parametrize(("mean", "std"), [(0.7, 0.05), (0.7, 0.5), (1.2, 0.1), (-3.0, 0.2)])
def test_the_probability_of_meeting_a_target_is_that_of_draws(mean, std):
    one = worth(Target(0.8, 1.1), [0.0])
    found = np.exp(one.log_probability(np.array([[mean]]), np.array([[std]])))[0]
    y = mean + std * np.random.default_rng(0).standard_normal(400_000)
    assert found == pytest.approx(((y >= 0.8) & (y <= 1.1)).mean(), abs=3e-3)
    assert np.isfinite(one.log_probability(np.array([[mean]]), np.array([[1e-3]]))).all()


def test_a_second_experiment_of_the_same_kind_is_worth_less():
    one = worth(Target(1.0, 1.0), [0.0])
    mean, std, same = np.array([[0.9]]), np.array([[0.2]]), np.ones((1, 1, 1))
    alone = one(mean, std)
    under_way = one.given(mean, std)
    assert under_way(mean, 1e-6 * std, same)[0] < under_way(mean, std, 0 * same)[0] < alone[0]


class Sum:
    """A belief that is sure of the sum of the inputs, and a worth that is this sum whatever else is chosen."""

    def predict(self, x):
        return x.sum(axis=1, keepdims=True), np.zeros((len(x), 1))

    def influence(self, x):
        return np.zeros((len(x), 0, 1))

    def given(self, *_):
        return self

    def __call__(self, mean, std, slopes):
        return mean[:, 0]


def test_experiments_that_are_done_together_differ_by_more_than_an_instrument_shows():
    space = Space((Variable("a", lower=0, upper=10), Variable("b", lower=0, upper=10)))
    choice = Choice(space, np.array([[10.0, 10.0]]), np.array([[9.9999, 10.0]]))
    x = choice.experiments(4, Sum(), Sum(), np.random.default_rng(0))
    apart = np.abs(x[:, None] - x).max(axis=-1)[np.triu_indices(4, 1)]
    assert apart.min() > 0.0099
    assert x[0].tolist() == [10, 10]  # what is measured may be neared as far as you like
    assert x.sum(axis=1).min() > 19.5


def test_what_was_simulated_is_known_in_every_round_of_the_run(lab, invdesign):
    solve = ["solve", "first", "--truth", "--target", "y=1.1", "--fixed", "a=0.5", "--fixed", "b=0.6"]
    assert invdesign(*solve, cwd=lab).code in (0, 1)
    assert asked(lab) == 1
    frame = pd.DataFrame({"a": [0.31, 0.62], "b": [0.4, 0.8]})
    frame.assign(y=truth(frame["a"], frame["b"]), z=frame["a"] - frame["b"]).to_csv(lab / "more.csv", index=False)
    assert invdesign("learn", "first", "more.csv", "--batch", "0", cwd=lab).code == 0
    assert "known from before" in invdesign(*solve, cwd=lab).err
    assert asked(lab) == 1
