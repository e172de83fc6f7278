"""`invdesign init`: from a table to an experiment file that runs."""

from __future__ import annotations

import re
import tomllib

import numpy as np
import pandas as pd
import pytest

from invdesign_core.cli.init import draft
from invdesign_core.data.data import Data
from invdesign_core.space.text import split_names
from invdesign_core.workflow.design import Design
from invdesign_core.workflow.experiment import Experiment


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "flow rate": rng.uniform(1e-9, 2e-9, 200),
            "count": rng.integers(1, 9, 200),
            "on": rng.random(200) > 0.5,
            'metal "new"': rng.choice(["Al", "Cu", "NA"], 200),
            "y,1": rng.random(200),
            "same": 3.0,
        }
    )


def test_the_file_says_what_was_found_and_is_valid(frame):
    text = draft(Data.from_frame(frame, ["y,1"]), [("path", "mine.csv"), ("outputs", ["y,1"])])
    values = tomllib.loads(text)
    assert values["dataset"]["kinds"] == {
        "flow rate": "continuous",
        "count": "integer",
        "on": "binary",
        'metal "new"': "categorical",
        "same": "continuous",
    }
    assert values["design"]["bounds"]["flow rate"] == [frame["flow rate"].min(), frame["flow rate"].max()]
    assert values["targets"] == {}
    assert Experiment.from_mapping(values).dataset.options["path"] == "mine.csv"
    assert 'metal "new" takes Al, Cu, NA' in text
    assert "'same' is the same in every row (3)" in text
    assert '# "y,1" = ' in text


def test_numbers_of_which_there_are_few_may_be_levels(frame):
    frame = frame[["flow rate", "count", "y,1"]].assign(layer=[0.1, 0.15, 0.2, 0.3] * 50, oven=[150, 180] * 100)
    lines = draft(Data.from_frame(frame, ["y,1"]), [("path", "mine.csv"), ("outputs", ["y,1"])]).splitlines()
    assert [line for line in lines if "levels" in line] == [
        'layer = "continuous"  # "levels" if none exist but 0.1, 0.15, 0.2, 0.3',
        'oven = "integer"  # "levels" if none exist but 150, 180',
    ]


def test_taking_the_comment_away_asks_for_a_target(frame):
    text = draft(Data.from_frame(frame, ["y,1"]), [("path", "mine.csv"), ("outputs", ["y,1"])])
    assert list(tomllib.loads(text.replace('# "y,1" = ', '"y,1" = '))["targets"]) == ["y,1"]


def test_every_wish_in_the_file_is_valid_once_its_comment_is_taken_away(frame):
    data = Data.from_frame(frame.drop(columns="same"), ["y,1"])
    lines = draft(data, [("path", "mine.csv"), ("outputs", ["y,1"])]).splitlines()
    wishes = [line.removeprefix("# ") for line in lines if re.match(r"# (\[design|[\w\"\\ ]+ = )", line)]
    values = tomllib.loads("\n".join(["[design]", *wishes]))["design"]
    assert set(values) == {"stay_near_data", "fewest_changes", "fixed", "step", "near"}
    assert values["step"] == {"flow rate": 1e-11}
    assert set(values["near"]) == set(data.space.names)
    values["constraints"], values["fixed"] = ["count - flow rate >= 1"], {"on": True}
    for alone in ("stay_near_data", "fewest_changes"):  # of these two, one
        design = Design.from_mapping({**values, "stay_near_data": False, "fewest_changes": False, alone: True})
        assert design.near_to(design.apply(data.space, data.outputs))


@pytest.mark.parametrize(
    ("text", "known", "names"),
    [
        ("a,b", None, ["a", "b"]),
        (" a , b ", None, ["a", "b"]),
        ('"a,b",c', None, ["a,b", "c"]),
        ("a,b,c", ["a,b", "c", "a"], ["a,b", "c"]),
        ("flow rate", ["flow rate"], ["flow rate"]),
    ],
)
def test_names_with_commas_are_taken_whole(text, known, names):
    assert split_names(text, known) == names


@pytest.mark.slow
def test_the_first_ten_minutes(invdesign, frame, tmp_path):
    frame["y,1"] = frame["flow rate"] * 1e9 + frame["on"]
    frame.drop(columns="same").to_csv(tmp_path / "mine.csv", index=False)
    before = (tmp_path / "mine.csv").read_bytes()
    done = invdesign("init", "mine.csv", "--outputs", "y,1")
    assert done.code == 0, done.err
    assert "invdesign run mine.toml" in done.out
    assert invdesign("validate", "mine.toml").code == 0
    done = invdesign("run", "mine.toml", "--target", "y,1=2.5", "--surrogate", "ridge", "--json")
    assert done.code == 0, done.err
    best = done.json["designs"][0]["inputs"]
    assert best["flow rate"] * 1e9 + best["on"] == pytest.approx(2.5, abs=0.25)
    assert best['metal "new"'] in ("Al", "Cu", "NA")
    assert (tmp_path / "mine.csv").read_bytes() == before
