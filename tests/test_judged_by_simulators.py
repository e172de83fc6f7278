"""Runs, solves, tables of targets and Python: a simulator judges what is shown, and no stranger's code runs."""

from __future__ import annotations

import json
import shutil
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from conftest import called, lin

from invdesign_core.errors import ConfigError
from invdesign_core.plugin import Data, Dataset, Space, Variable
from invdesign_core.registry import Entry, Provider, Registry
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.run import run_experiment
from invdesign_core.workflow.solve import solve_model

MODULE = """
from pathlib import Path


def simulate(designs):
    log = Path(__file__).with_name("asked.txt")
    log.write_text((log.read_text() if log.exists() else "") + f"{len(designs)}\\n")
    return designs.assign(y=designs["a"] + designs["b"] + 0.01, z=0.0)[["y"]]
"""
EXPERIMENT = """
[dataset]
use = "table"
path = "sums.csv"
outputs = ["y"]

[surrogate]
use = "gradient-boosting"

[solver]
use = "dataset-search"

[truth]
function = "simulation:simulate"

[targets]
y = { equals = 1, tolerance = 0.1 }
"""


SOLVE = ("solve", "out", "--allow-code", "--json")
"""Trees are kept in a file that needs consent too."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with an experiment whose designs a function judged; the calls of that are in its asked.txt."""
    folder = tmp_path_factory.mktemp("simulators")
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.uniform(0, 1, (60, 2)), columns=["a", "b"])
    rows.assign(y=rows["a"] + rows["b"]).to_csv(folder / "sums.csv", index=False)
    (folder / "simulation.py").write_text(MODULE)
    (folder / "it.toml").write_text(EXPERIMENT)
    done = called(["run", "it.toml", "--out", "out", "--json"], folder, {})
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def ran(trained, tmp_path):
    """A copy of it, of which nothing was asked yet; its run still names the folder that it was run in."""
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    for path in (folder / "asked.txt", trained / "asked.txt"):
        path.unlink(missing_ok=True)
    return folder


def asked(folder):
    """Return how many designs each call was for."""
    path = folder / "asked.txt"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


# A run


def test_a_run_shows_predicted_true_and_error_and_counts_what_it_took(trained):
    report = json.loads((trained / "out" / "run.json").read_text())
    assert (report["status"], report["met_by"]) == ("met", "truth")
    shown = len(report["designs"])
    assert asked(trained) == [shown]
    assert report["truth"] == {
        "by": "the true model simulation:simulate",
        **{"designs": shown, "simulated": shown, "known": 0, "calls": 1, "failed": 0},
    }
    for design in report["designs"]:
        assert design["truth"]["y"] == pytest.approx(sum(design["inputs"].values()) + 0.01)
        assert design["difference"]["y"] == pytest.approx(design["prediction"]["y"] - design["truth"]["y"])
        assert design["failed"] is None
    designs = pd.read_csv(trained / "out" / "solve" / "1" / "designs.csv")
    beside = [name for name in designs.columns if name in ("prediction.y", "truth.y", "difference.y", "failed")]
    assert beside == ["prediction.y", "truth.y", "difference.y", "failed"]


def test_nothing_is_simulated_by_validate_and_what_would_be_is_said(ran, invdesign):
    done = invdesign("validate", "it.toml", cwd=ran)
    assert done.code == 0, done.err
    assert "designs are judged by the function simulation:simulate" in done.out
    assert invdesign("validate", "it.toml", "--json", cwd=ran).json["truth"] == "function simulation:simulate"
    assert asked(ran) == []
    wrong = invdesign("run", "it.toml", "--set", "truth.function=simulation:simulat", "--out", "new", cwd=ran)
    assert wrong.code == 2
    assert "did you mean 'simulate'?" in wrong.err
    assert not (ran / "new").exists(), "refused before any training"


def test_an_exception_of_the_simulator_costs_no_training(ran, invdesign):
    (ran / "simulation.py").write_text("def simulate(designs):\n    raise RuntimeError('no licence')\n")
    done = invdesign("run", "it.toml", "--out", "new", "--json", cwd=ran)
    assert done.code == 0, "measured rows meet the target"
    assert {design["failed"] for design in done.json["designs"]} == {"RuntimeError: no licence (simulation.py, line 2)"}
    assert done.json["met_by"] == "measured row"
    assert "no licence" in done.err
    assert (ran / "new" / "surrogate" / "meta.json").exists()


def test_a_run_that_is_resumed_simulates_nothing_twice(ran, invdesign):
    (ran / "out" / "run.json").unlink()
    done = invdesign("run", "it.toml", "--out", "out", "--resume", "--json", cwd=ran)
    assert done.code == 0, done.err
    assert asked(ran) == []
    assert done.json["truth"]["known"] == done.json["truth"]["designs"] > 0


# A solve of a run


def test_a_solve_runs_nothing_of_a_run_folder_unless_the_user_says_so(ran, trained, invdesign, monkeypatch):
    monkeypatch.setattr("invdesign_core.workflow.truths.find", lambda *_: pytest.fail("it looks for the code"))
    done = invdesign(*SOLVE, cwd=ran)
    assert done.code == 0, done.err
    assert done.json["met_by"] == "prediction"
    assert done.json["truth"] is None
    note = next(note for note in done.json["notes"] if "[truth]" in note)
    assert "function simulation:simulate" in note
    assert "--truth" in note
    said = invdesign(*SOLVE, "--set", "truth.retries=2", cwd=ran)
    assert said.code == 2
    assert "add --truth" in said.err
    assert asked(trained) == asked(ran) == []


def test_a_solve_that_is_told_to_asks_about_new_designs_alone(ran, trained, invdesign):
    again = invdesign(*SOLVE, "--truth", cwd=ran)
    assert (again.code, asked(trained)) == (0, [])
    assert again.json["met_by"] == "truth"
    other = invdesign(*SOLVE, "--truth", "--target", "y=1.5 tolerance 0.1", cwd=ran)
    assert asked(trained) == [other.json["truth"]["simulated"]] == [len(other.json["designs"])]
    mine = ran / "mine"
    mine.mkdir()
    (mine / "own.py").write_text("def simulate(designs):\n    return designs.assign(y=3.0)\n")
    another = invdesign("solve", "../out", *SOLVE[2:], "--set", "truth.function=own:simulate", cwd=mine)
    assert {design["truth"]["y"] for design in another.json["designs"]} == {3.0}, "not what was kept of the other"


def test_what_a_solve_in_python_is_told_of_a_simulator_is_looked_at(ran):
    code = {"allow_code": True}
    with pytest.raises(ConfigError, match=r"\[truth\]: found neither 'function' nor 'command'"):
        solve_model(ran / "out", ["1"], truth={}, **code)
    with pytest.raises(ConfigError, match="truth: found 3, expected a function"):
        solve_model(ran / "out", ["1"], truth=3, **code)
    found = solve_model(ran / "out", [], truth=lambda designs: pd.DataFrame({"y": designs["a"] * 0 + 1}), **code)
    assert found.report.designs[0].truth == {"y": 1}


def test_a_table_of_targets_is_judged_by_the_simulator(ran, trained, invdesign):
    pd.DataFrame({"y": ["0.8 tolerance 0.1", "1.2 tolerance 0.1", "9"]}).to_csv(ran / "wanted.csv", index=False)
    done = invdesign(*SOLVE, "--targets", "wanted.csv", "--out", "found.csv", "--truth", cwd=ran)
    assert done.code == 1
    assert (done.json["met"], done.json["truth"]["designs"]) == (2, 3)
    assert sum(asked(trained)) + done.json["truth"]["known"] == 3
    found = pd.read_csv(ran / "found.csv")
    assert found["truth.y"].to_numpy() == pytest.approx(found["design.a"] + found["design.b"] + 0.01)
    assert found["met"].tolist() == [True, True, False]


# Other ways to a search


@pytest.mark.long
def test_a_model_of_ones_own_is_judged_by_a_simulator_too(tmp_path, invdesign):
    lin([[1], [1]]).save(tmp_path / "sum.keras")
    (tmp_path / "simulation.py").write_text(MODULE.replace('"a"', '"x1"').replace('"b"', '"x2"'))
    box = ("--bounds", "x1=0..1", "--bounds", "x2=0..1", "--outputs", "y", "--target", "1")
    done = invdesign("solve", "sum.keras", *box, "--set", "truth.function=simulation:simulate", "--json")
    assert done.code == 0, done.err
    assert done.json["designs"][0]["truth"]["y"] == pytest.approx(1.01)
    assert sum(asked(tmp_path)) == len(done.json["designs"])


def test_an_estimator_asks_a_function_once_for_each_design_and_is_saved_without_it(tmp_path):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.uniform(0, 1, (40, 2)), columns=["a", "b"])
    tables = []

    def simulate(designs):
        tables.append(designs)
        return pd.DataFrame({"y": designs["a"] + designs["b"] - 0.02})

    model = InverseDesign("gradient-boosting", solver="dataset-search", truth=simulate)
    model.fit(X, (X["a"] + X["b"]).rename("y"))
    answers = model.invert({"y": {"equals": 1, "tolerance": 0.2}})
    assert (answers.met_by, len(tables), len(tables[0])) == ("truth", 1, len(answers.designs))
    again = model.invert({"y": {"equals": 1, "tolerance": 0.2, "weight": 2}})
    assert (again.met, again.simulated.known, len(tables)) == (True, len(again.designs), 1)
    model.save(tmp_path / "model")
    assert InverseDesign.load(tmp_path / "model", allow_code=True).truth is None
    model.set_params(truth=None)
    assert model.invert({"y": {"equals": 1, "tolerance": 0.2}}).met_by == "prediction"
    model.set_params(truth="no_such_module:simulate")
    with pytest.raises(ConfigError, match="no module 'no_such_module'"):
        model.invert(1)


# A dataset with a truth


class Slow(Dataset):
    """Sums, with a truth; loading is counted."""

    name: ClassVar[str] = "slow"
    loaded: ClassVar[list[int]] = []

    def load(self, ctx):
        """Return the rows."""
        self.loaded.append(1)
        rows = pd.DataFrame(ctx.rng("rows").uniform(0, 1, (40, 2)), columns=["a", "b"])
        space = Space((Variable("a", lower=0, upper=1), Variable("b", lower=0, upper=1)))
        return Data(pd.concat([rows, self.sums(rows)], axis=1), space, ("y",), truth=self.sums)

    def sums(self, designs):
        """Return the outputs."""
        return pd.DataFrame({"y": designs["a"] + designs["b"]})


def test_a_dataset_that_knows_its_truth_is_not_loaded_again_to_be_asked(tmp_path):
    ours = Registry.discover()
    registry = Registry([*ours.entries, Entry(Slow, Provider("mine", "1", "mine"))])
    settings = {"dataset": "slow", "surrogate": "gradient-boosting", "solver": "dataset-search"}
    run_experiment(Experiment.from_mapping(settings), ["y=1"], tmp_path / "run", registry=registry)
    assert Slow.loaded == [1]
    more = {"registry": registry, "allow_code": True}
    report = solve_model(tmp_path / "run", ["y=0.8 tolerance 0.2"], **more).report
    assert report.met_by == "truth"
    assert Slow.loaded == [1]
    again = solve_model(tmp_path / "run", ["y=0.8 tolerance 0.2"], **more).report
    assert again.truth.known == again.truth.designs > 0


@pytest.mark.long
def test_a_benchmark_takes_the_simulator_of_an_experiment_file(ran, invdesign):
    more = ("--seeds", "1", "--targets", "3")
    done = invdesign("benchmark", "it.toml", *more, "--json", cwd=ran)
    assert done.code == 0, done.err
    assert len(asked(ran)) == 1, "all ranked designs at once, when the search is over"
