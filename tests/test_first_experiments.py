"""The first experiments: a plan inside what an experiment file allows, before there is any table."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from invdesign_core.context import Context
from invdesign_core.search.candidates import around, drawn, from_unit, to_unit
from invdesign_core.search.spread import spread_out
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable, infer_variable
from invdesign_core.workflow.design import Design
from invdesign_core.workflow.draft import described, first_experiments
from invdesign_core.workflow.experiment import Experiment

MIXTURE = """
[dataset]
use = "table"
path = "measured.csv"
outputs = ["strength"]
kinds = { time = "integer" }

[design]
bounds = { cement = [0.1, 0.6], water = [0.1, 0.4], sand = [0.1, 0.8], time = [1, 28] }
levels = { binder = ["A", "B", "C"], speed = [1, 10, 100] }
fixed = { furnace = "old" }
step = { cement = 0.05 }
constraints = ["cement + water + sand = 1", "water <= 0.5 * cement"]
"""


@pytest.fixture
def mixture(tmp_path):
    (tmp_path / "draft.toml").write_text(MIXTURE)
    return Experiment.from_toml(tmp_path / "draft.toml")


def test_the_first_experiments_keep_bounds_steps_constraints_and_labels(mixture):
    plan = first_experiments(mixture, 12, Context(3))
    frame = plan.inputs
    assert len(frame.drop_duplicates()) == 12
    np.testing.assert_allclose(frame["cement"] + frame["water"] + frame["sand"], 1, atol=1e-12)
    assert (frame["water"] <= 0.5 * frame["cement"]).all()
    np.testing.assert_allclose(frame["cement"] / 0.05, np.rint(frame["cement"] / 0.05), atol=1e-9)
    for name, (low, high) in mixture.design.bounds.items():
        assert frame[name].between(low, high).all()
    assert frame["time"].dtype.kind == "i"
    assert set(frame["binder"]) == {"A", "B", "C"}
    assert set(frame["speed"]) == {1, 10, 100}
    assert set(frame["furnace"]) == {"old"}
    assert plan.table["strength"].isna().all()


def test_a_plan_follows_its_seed(mixture):
    first, again, other = (first_experiments(mixture, 5, Context(seed)).inputs for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_a_plan_leaves_smaller_gaps_than_chance():
    space = Space(tuple(Variable(f"x{i}", lower=0, upper=1) for i in range(3)))
    u = drawn(space, 2000, np.random.default_rng(0))

    def gap(chosen):
        return np.sqrt(((u[:, None] - u[chosen]) ** 2).sum(axis=2)).min(axis=1).mean()

    chance = np.mean([gap(np.random.default_rng(seed).permutation(len(u))[:15]) for seed in range(20)])
    assert gap(spread_out(u, 15)) < 0.85 * chance


def test_a_plan_keeps_away_from_what_is_taken():
    u = np.random.default_rng(0).random((500, 2))
    taken = u[u[:, 0] < 0.5]
    assert (u[spread_out(u, 5, taken), 0] > 0.5).all()


@pytest.mark.parametrize(
    "design",
    [
        {"constraints": ["a + b + c = 1", "at most 2 of a, b, c above 0"]},
        {"constraints": ["a + b + c = 1"], "step": {"a": 0.1, "b": 0.1, "c": 0.1}},
        {"bounds": {"t": [[1, 2], [50, 100]]}, "log": ["t"], "fixed": {"m": "X"}},
        {"levels": {"m": ["X", "Z"], "a": [0.1, 0.9]}, "constraints": ["a + b <= 0.95", "2 * b >= c"]},
    ],
)
def test_designs_drawn_or_moved_are_allowed_ones(design):
    free = [Variable(name, lower=0, upper=1) for name in "abc"]
    free += [Variable("t", lower=0.1, upper=1000), Variable("m", "categorical", levels=("X", "Y", "Z"))]
    space = Design.from_mapping(design).apply(Space(tuple(free)), ["y"])
    rng = np.random.default_rng(0)
    x = drawn(space, 200, rng)
    near = around(space, x[:10], 0.05, 10, rng)
    assert len(x) >= 10
    assert len(near) >= 10
    for found in (x, near):
        assert space.feasible_set.holds(found).all()
        np.testing.assert_array_equal(found, space.snap(found))
        np.testing.assert_allclose(from_unit(space, to_unit(space, found)), found, rtol=1e-9, atol=1e-12)


def test_where_few_designs_exist_all_are_found_and_more_are_refused(tmp_path, invdesign):
    (tmp_path / "draft.toml").write_text('[design.levels]\na = [1, 2]\nb = ["x", "y"]\n')
    done = invdesign("propose", "--design", "draft.toml", "--batch", "4")
    assert done.code == 0
    rows = sorted(done.out.strip().splitlines()[1:])
    assert rows == ["1,x", "1,y", "2,x", "2,y"]
    refused = invdesign("propose", "--design", "draft.toml", "--batch", "5")
    assert refused.code == 2
    assert "5 experiments asked for, and only 4 designs" in refused.err


def test_a_plan_is_written_as_a_table_to_fill_in_and_as_json(tmp_path, invdesign):
    (tmp_path / "draft.toml").write_text(MIXTURE + 'conditions = { air = "data" }\n')
    done = invdesign("propose", "--design", "draft.toml", "--batch", "4", "--out", "next.xlsx", "--json")
    report = json.loads(done.out)
    table = pd.read_excel(tmp_path / "next.xlsx", engine="openpyxl")
    assert list(table) == ["cement", "water", "sand", "time", "binder", "speed", "furnace", "air", "strength"]
    assert table[["air", "strength"]].isna().all(axis=None)
    assert report["out"] == "next.xlsx"
    assert [row["binder"] for row in report["experiments"]] == list(table["binder"])
    again = invdesign("propose", "--design", "draft.toml", "--batch", "4", "--out", "next.xlsx")
    assert again.code == 7
    assert "already exists" in again.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[dataset]\ninputs = ["a", "b"]\n[design]\nbounds = { a = [0, 1] }', "nothing says which values 'b' may take"),
        ("[design]\nconstraints = ['a <= 1']", "no variable has bounds, levels or a fixed value"),
        ('[dataset]\nkinds = { c = "integer" }\n[design]\nbounds = { a = [0, 1] }', "there is no variable 'c'"),
        ("[design]\nbounds = { a = [0, 1] }\nconstraints = ['a >= 2']", "these contradict each other"),
    ],
)
def test_what_an_experiment_file_lacks_is_said(tmp_path, invdesign, text, said):
    (tmp_path / "draft.toml").write_text(text + "\n")
    done = invdesign("propose", "--design", "draft.toml")
    assert done.code == 2
    assert said in done.err


def test_true_and_false_make_a_binary_variable():
    design = Design.from_mapping({"levels": {"lid": [True, False]}, "bounds": {"n": [1, 5]}})
    space = described(design, {"inputs": ["lid", "n"], "kinds": {"n": "integer"}})
    assert [variable.kind for variable in space.variables] == ["binary", "integer"]
    assert space.names == ("lid", "n")


SPANS = [(0, 500), (0, 1), (-3, 4), (0, 20000), (1e6, 3e6), (10, 11), (0, 1e-3)]


@pytest.mark.parametrize("batch", [1, 4, 9])
@pytest.mark.parametrize("more", ["", "log = ['v4']\n", "constraints = ['v0 + v3 <= 15000', 'v1 + v2 >= 0']\n"])
def test_a_plan_that_was_carried_out_is_read_as_the_kinds_of_variables_it_was_made_of(tmp_path, batch, more):
    bounds = ", ".join(f"v{i} = [{low!r}, {high!r}]" for i, (low, high) in enumerate(SPANS))
    (tmp_path / "draft.toml").write_text(
        f'[dataset]\nuse = "table"\npath = "m.csv"\noutputs = ["y"]\nkinds = {{ n = "integer" }}\n'
        f"[design]\nbounds = {{ {bounds}, n = [1, 900], s = [0, 40] }}\nstep = {{ s = 1 }}\n{more}"
    )
    experiment = Experiment.from_toml(tmp_path / "draft.toml")
    for seed in range(3):
        plan = first_experiments(experiment, batch, Context(seed), tmp_path / f"{seed}.csv").inputs
        again = pd.read_csv(tmp_path / f"{seed}.csv")
        kinds = {name: infer_variable(name, again[name]).kind for name in plan}
        assert kinds == {name: "integer" if name in "ns" else "continuous" for name in plan}
        for name, (low, high) in experiment.design.bounds.items():
            assert again[name].between(low, high).all()


@pytest.mark.parametrize(
    ("more", "said"),
    [("", True), ("step = { T = 1, p = 1 }", False), ("[dataset.kinds]\nT = 'integer'\n'p*' = 'continuous'", False)],
)
def test_a_table_of_whole_numbers_is_said_to_be_one_where_the_file_says_no_kind(tmp_path, invdesign, more, said):
    (tmp_path / "d.toml").write_text(
        f'surrogate = "ridge"\n[dataset]\nuse = "table"\npath = "m.csv"\noutputs = ["y"]\n'
        f"[design]\nbounds = {{ T = [0, 500], p = [0, 500] }}\n{more}\n"
    )
    rows = [(37 * i % 500, 91 * i % 500) for i in range(30)]
    (tmp_path / "m.csv").write_text("T,p,y\n" + "".join(f"{t},{p},{t / 100 + p / 200}\n" for t, p in rows))
    done = invdesign("validate", "d.toml")
    assert done.code == 0, done.err
    note = "whole numbers in all rows, so only whole numbers are looked for: 'T', 'p'; where any number will do: "
    assert (note + '[dataset] kinds = { T = "continuous", … }' in " ".join(done.err.split())) == said
