"""`invdesign benchmark` and its two tasks: designs are asked of the truth when they are ranked, and not before."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from conftest import called
from pydantic import Field

from invdesign_core.cli.benchmark import show
from invdesign_core.context import Context
from invdesign_core.data.data import Data, split_rows
from invdesign_core.plugin import Dataset, Space, Variable
from invdesign_core.registry import Entry, Provider, Registry
from invdesign_core.workflow.benchmark import BenchmarkReport, best_of, run_benchmark
from invdesign_core.workflow.experiment import Experiment

REGISTRY = Registry.discover()
TINY = {"widths": [8], "learning_rate": (0.02, 0.02)}
QUICK = [
    *("--surrogate", "selu-mlp", "--set", "surrogate.widths=[8]", "--set", "surrogate.learning_rate=[0.02, 0.02]"),
    *("--set", "training.epochs=20", "--set", "solver.starts=8", "--targets", "4", "--seeds", "1"),
]


def loaded(name, seed=0, **options):
    return REGISTRY.create("dataset", name, options).load(Context(seed))


# The tasks


def test_the_sine_wave_is_the_published_one():
    truth = loaded("sine-wave").truth
    designs = pd.DataFrame({"x1": [0, 1 / 6, 1 / 2, 1], "x2": [0, 0, 1 / 3, -1]})
    assert truth(designs)["y"].to_numpy() == pytest.approx([1, 2, -2, -1])


def test_the_robotic_arm_is_the_published_one():
    truth = loaded("robotic-arm").truth
    designs = pd.DataFrame({"x1": [0, 0.5, 0], "x2": [0, 0, 1.2], "x3": [0, 0, 1.2], "x4": [0, 0, 1.2]})
    bent = [0.5 * np.cos(1.2) + 0.5 + np.cos(1.2), 0.5 * np.sin(1.2) - np.sin(1.2)]
    assert truth(designs).to_numpy() == pytest.approx(np.array([[2, 0], [2, 0.5], bent]))


@pytest.mark.parametrize("name", ["sine-wave", "robotic-arm"])
def test_rows_lie_inside_the_bounds_and_rows_held_out_are_exact_and_no_others(name):
    data = loaded(name, rows=300, held_out=100, noise=0.1)
    low, high = data.space.bounds
    assert ((data.x >= low) & (data.x <= high)).all()
    missed = np.abs(data.truth(data.frame)[list(data.outputs)].to_numpy() - data.y)
    held_out = split_rows(data, 0.5, 0.2, Context()).test
    assert held_out.tolist() == list(range(300, 400)), "what the dataset holds out stays held out"
    assert missed[:300].std() == pytest.approx(0.1, rel=0.5)
    assert missed[300:].max() == 0


@pytest.mark.parametrize("name", ["sine-wave", "robotic-arm"])
def test_more_rows_change_neither_the_first_ones_nor_those_held_out(name):
    few, many = loaded(name, rows=50, held_out=20), loaded(name, rows=80, held_out=30)
    assert (few.x[:50] == many.x[:50]).all()
    assert (few.x[50:] == many.x[80:100]).all()
    assert (few.x[:50] != loaded(name, seed=1, rows=50, held_out=20).x[:50]).any()


def test_figures_are_published_for_the_published_rows_alone():
    for name in ("sine-wave", "robotic-arm"):
        assert set(REGISTRY.create("dataset", name, {}).published["neural-adjoint"]) == {1, 10, 50}
        assert not REGISTRY.create("dataset", name, {"rows": 500}).published
        assert not REGISTRY.create("dataset", name, {"noise": 0.1}).published
    assert not REGISTRY.create("dataset", "binary-decimal", {}).published


# What a dataset says of the split


def test_rows_that_a_dataset_leaves_open_are_shared_out_between_training_and_validation():
    data = Data.from_frame(pd.DataFrame({"x": np.arange(20.0), "y": np.arange(20.0)}), ["y"])
    rows = split_rows(replace(data, split=np.repeat(["", "train", "test"], [10, 5, 5])), 0.3, 0.4, Context())
    assert rows.test.tolist() == [15, 16, 17, 18, 19]
    assert len(rows.validation) == 4
    assert set(rows.validation) < set(range(10))
    assert set(rows.train) == set(range(15)) - set(rows.validation)


# The truth is asked when the designs are ranked, and not before


class Watched(Dataset):
    """y = x + c, with c measured and not chosen; what is asked of the truth is written down."""

    name: ClassVar[str] = "watched"

    said: Any = Field(None, exclude=True, description="A list that takes the designs.")
    slope: float = Field(1.0, description="What the truth multiplies x by; the rows have 1.")
    fails: float = Field(np.inf, description="The truth fails where x is above.")

    def load(self, ctx):
        frame = pd.DataFrame(ctx.rng("watched").uniform(0, 1, (80, 2)), columns=["x", "c"])
        frame["y"] = frame["x"] + frame["c"]
        space = Space((Variable("x", lower=0, upper=1), Variable("c", lower=0, upper=1, condition=True)))
        return Data(frame, space, ("y",), truth=self.truth, split=np.repeat(["", "test"], [60, 20]))

    def truth(self, designs):
        self.said.append(designs)
        y = self.slope * designs["x"] + designs["c"]
        return pd.DataFrame({"y": y.where(designs["x"] <= self.fails)})


def watched(seeds=1, targets=20, ctx=None, surrogate=None, **options):
    """Benchmark `Watched`; return the report of the task, and what the truth was asked."""
    registry = Registry([*REGISTRY.entries, Entry(Watched, Provider("test", "1", "test"))])
    said = options.setdefault("said", [])
    experiment = Experiment(
        dataset={"use": "watched", **options},
        surrogate=surrogate or {"use": "selu-mlp", **TINY},
        training={"epochs": 20},
        solver={"use": "least-squares"},
    )
    (task,) = run_benchmark([experiment], seeds=seeds, targets=targets, registry=registry, ctx=ctx).tasks
    return task, said


@pytest.fixture(scope="module")
def twice():
    """A benchmark with two seeds; the events and what the truth was asked, in their order."""
    told: list[Any] = []
    return watched(seeds=2, ctx=Context(emit=told.append), said=told)


def test_the_truth_is_asked_once_and_after_the_last_target_is_solved(twice):
    task, told = twice
    order = [
        "asked" if isinstance(item, pd.DataFrame) else f"{item.kind} {item.data.get('stage')}"
        for item in told
        if isinstance(item, pd.DataFrame) or item.kind in ("stage", "progress")
    ]
    assert order.count("asked") == 2
    first, second = (at for at, item in enumerate(order) if item == "asked")
    assert order[first - 1] == order[second - 1] == "progress solve"
    assert second == len(order) - 1
    assert "progress solve" not in order[first + 1 : order.index("stage solve", first)]
    assert [seed.seed for seed in task.seeds] == [0, 1]
    assert task.starts == 128, "enough for fifty designs, where nobody says how many"


def test_another_truth_changes_no_design_and_what_is_not_chosen_is_that_of_the_held_out_row(twice):
    one, told = twice
    designs = next(item for item in told if isinstance(item, pd.DataFrame))
    other, (same,) = watched(slope=2.0)
    pd.testing.assert_frame_equal(designs, same)
    assert one.seeds[0].error["1"] < other.seeds[0].error["1"]
    held_out = Watched(said=[]).load(Context(0)).frame["c"].iloc[60:]
    assert set(designs["c"]) == set(held_out)


@pytest.mark.long
def test_designs_for_which_the_truth_fails_are_counted():
    task, (designs,) = watched(fails=0.5)
    (seed,) = task.seeds
    assert seed.failed == (designs["x"] > 0.5).sum() > 0
    assert 0 < seed.unanswered["1"] < 20
    text = io.StringIO()
    show(BenchmarkReport(tasks=[task], backend="jax", versions={}, machine="", seconds=1), text)
    assert f"the true model failed for {seed.failed} designs" in text.getvalue()
    assert f"{seed.unanswered['1']} of 20 targets count in no r_1: the true model failed" in text.getvalue()


@pytest.mark.long
def test_a_race_chooses_without_the_truth_too_and_the_winner_is_named():
    race = {"use": "auto", "candidates": [{"use": "selu-mlp", **TINY}], "folds": 2, "learning_curve": False}
    task, said = watched(surrogate=race, targets=4)
    assert len(said) == 1
    assert (task.plugins["surrogate"], task.seeds[0].surrogate) == ("auto", "selu-mlp")
    assert task.held_out == 20, "rows held out by the dataset take no part in the race"
    assert task.rows == 60


# What is counted


def test_the_best_of_the_first_designs_counts_averaged_over_the_targets():
    of, rank = np.array([0, 0, 0, 1, 1]), np.array([1, 2, 3, 1, 2])
    true = np.array([[3, 1], [0, 1.0], [np.nan, 0], [2, 2], [4, 4]])
    found = best_of(of, rank, true, np.array([[0, 1.0], [3, 3]]))
    assert found["error"] == {"1": pytest.approx((4.5 + 1) / 2), "10": pytest.approx(0.5), "50": pytest.approx(0.5)}
    assert found["failed"] == 1
    assert found["fewer"] == {"1": 0, "10": 2, "50": 2}
    assert found["unanswered"] == {"1": 0, "10": 0, "50": 0}


def test_a_target_whose_designs_all_failed_is_left_out_and_counted():
    of, rank, wanted = np.array([0, 1, 1]), np.array([1, 1, 2]), np.zeros((2, 1))
    found = best_of(of, rank, np.array([[2.0], [np.nan], [1.0]]), wanted)
    assert found["error"] == {"1": 4.0, "10": 2.5, "50": 2.5}
    assert found["unanswered"] == {"1": 1, "10": 0, "50": 0}
    assert np.isnan(best_of(of, rank, np.full((3, 1), np.nan), wanted)["error"]["1"])


# The command


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A benchmark of few rows, and the folder that it was run in."""
    folder = tmp_path_factory.mktemp("made")
    words = ["benchmark", "sine-wave", "--rows", "60", "--set", "dataset.held_out=30", *QUICK]
    done = called([*words, "--json", "--out", "it.json"], folder, {})
    assert done.code == 0, done.err
    return done, folder


def test_the_report_is_the_same_on_the_screen_and_in_a_file(invdesign, made):
    done, folder = made
    assert json.loads((folder / "it.json").read_text()) == done.json
    (task,) = BenchmarkReport.model_validate(done.json).tasks
    assert (task.dataset, task.rows, task.held_out, task.starts) == ("sine-wave", 60, 30, 8)
    assert task.published == {}, "60 rows are not the published task"
    (seed,) = task.seeds
    assert seed.error == task.median == task.worst
    assert seed.error["1"] >= seed.error["10"] >= seed.error["50"] > 0
    assert seed.fewer["50"] == seed.targets == 4
    assert min(seed.cpu.train, seed.cpu.solve, seed.wall.train, seed.wall.solve) > 0
    again = invdesign("benchmark", "sine-wave", "--out", "it.json", cwd=folder)
    assert again.code != 0
    assert "it.json: the file already exists" in again.err


def test_published_figures_stand_beside_those_of_this_run(made):
    report = BenchmarkReport.model_validate(made[0].json)
    figures = REGISTRY.create("dataset", "sine-wave", {}).published
    published = {method: {str(t): r for t, r in known.items()} for method, known in figures.items()}
    text = io.StringIO()
    show(report.model_copy(update={"tasks": [report.tasks[0].model_copy(update={"published": published})]}), text)
    lines = {line.split("│")[1].strip(): line for line in text.getvalue().splitlines() if line.startswith("│")}
    assert set(lines) == {"this run", "published: neural-adjoint", "published: tandem"}
    assert [cell.strip() for cell in lines["published: tandem"].split("│")[2:5]] == ["2.3e-02", "–", "–"]


@pytest.mark.long
def test_any_dataset_with_a_truth_is_a_task_also_from_an_experiment_file(invdesign, tmp_path):
    (tmp_path / "digits.toml").write_text(
        "seed = 3\n[dataset]\nuse = 'binary-decimal'\nrows = 60\n[targets]\ndecimal = 1\n"
    )
    done = invdesign("benchmark", "digits.toml", *QUICK)
    assert done.code == 0, done.err
    assert "binary-decimal: 54 rows, 4 targets; selu-mlp" in done.out
    assert "4 of 4 targets had fewer than 10 distinct designs" in done.out
    assert "binary-decimal: seed 3, 1 of 1" in done.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["sine-wav"], 2, ["'sine-wav'", "did you mean 'sine-wave'?"]),
        (["nowhere.toml"], 2, ["nowhere.toml"]),
        (["mine.toml"], 2, ["dataset 'table': it knows no true model", "Data(truth=...)"]),
        (["sine-wave", "--set", "dataset.held_out=0"], 4, ["dataset 'sine-wave'", "holds no row out", "held_out=2000"]),
        (["binary-decimal", "--set", "dataset.held_out=5"], 2, ["held_out"]),
        (["sine-wave", "--seeds", "0"], 2, ["--seeds"]),
    ],
)
def test_what_can_not_be_benchmarked_is_refused_before_any_training(invdesign, tmp_path, words, code, said):
    pd.DataFrame({"a": np.arange(9.0), "y": np.arange(9.0)}).to_csv(tmp_path / "mine.csv", index=False)
    (tmp_path / "mine.toml").write_text("[dataset]\nuse = 'table'\npath = 'mine.csv'\noutputs = ['y']\n")
    done = invdesign("benchmark", *words)
    assert done.code == code, done.err
    assert "training" not in done.err
    for text in said:
        assert text in done.err
