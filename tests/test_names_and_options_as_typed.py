"""What is typed on the command line arrives whole: names that hold commas, options that are nothing, counts."""

from __future__ import annotations

import re
import tomllib

import numpy as np
import pandas as pd
import pytest
from conftest import lin
from hypothesis import given
from hypothesis import strategies as st

from invdesign_core.cli.init import draft, toml, toml_key
from invdesign_core.cli.option_values import design_values, listed_names
from invdesign_core.data.data import Data
from invdesign_core.errors import near_match, plural

TEXTS = ["plain", 'in "quotes"', "it's", "back\\slash", "two\nlines", "é · µ", "\x7f", "a.b", "", "1"]

DESIGN_OPTIONS = (
    "bounds", "fixed", "conditions", "levels", "step", "log", "constraints", "near", "fewest_changes", "stay_near_data"
)  # fmt: skip


def test_an_option_set_to_none_is_left_out_of_the_file(invdesign, tmp_path):
    pd.DataFrame({"a": np.linspace(0, 1, 20), "y": np.linspace(1, 2, 20)}).to_csv(tmp_path / "mine.csv", index=False)
    done = invdesign("init", "mine.csv", "--outputs", "y", "--set", "sheet=none")
    assert done.code == 0, done.err
    assert "sheet" not in tomllib.loads((tmp_path / "mine.toml").read_text())["dataset"]
    assert invdesign("validate", "mine.toml").code == 0


@pytest.mark.parametrize("options", [{"inputs": ["a"]}, {"kinds": {"a": "continuous"}}, {"levels": {"b c": None}}])
def test_every_draft_is_toml_whatever_options_are_given(options):
    frame = pd.DataFrame({"a": np.linspace(0, 1, 20), "y": np.linspace(1, 2, 20)})
    text = draft(Data.from_frame(frame, ["y"]), [("path", "mine.csv"), ("outputs", ["y"]), *options.items()])
    assert tomllib.loads(text)["dataset"]["inputs"] == ["a"]


@pytest.mark.parametrize("value", [*TEXTS, 1, 1.5, 1e-300, True, ["a,b", 2], {"a b": {'"': [1]}, "c": "d"}])
def test_values_are_read_back_as_they_were_written(value):
    assert tomllib.loads(f"v = {toml(value)}") == {"v": value}


@pytest.mark.parametrize("name", TEXTS)
def test_names_are_read_back_as_they_were_written(name):
    assert tomllib.loads(f"{toml_key(name)} = 1") == {name: 1}


def test_names_with_commas_are_taken_whole_for_a_model(tmp_path):
    pd.DataFrame({"y,1": [1.0], "design.a,b": [2.0], "c": [3.0]}).to_csv(tmp_path / "t.csv", index=False)
    assert listed_names('"a,b",c', None) == ["a,b", "c"]
    assert listed_names("y,1", tmp_path / "t.csv") == ["y,1"]
    assert listed_names("a,b,c", tmp_path / "t.csv") == ["a,b", "c"]
    assert listed_names(" c , d ", tmp_path / "t.csv") == ["c", "d"]
    assert listed_names(None, tmp_path / "t.csv") is None


def test_solve_and_predict_take_names_with_commas(invdesign, tmp_path):
    lin([[1.0], [1.0]]).save(tmp_path / "sum.keras")
    pd.DataFrame({"a,b": [1.0, 2.0], "c": [3.0, 4.0]}).to_csv(tmp_path / "t.csv", index=False)
    names = ["--inputs", '"a,b",c', "--outputs", '"y,1"']
    bounds = ["--bounds", "a,b=0..1", "--bounds", "c=0..1", "--set", "solver.starts=4"]
    found = invdesign("solve", "sum.keras", *names, *bounds, "--target", "1", "--json")
    assert found.code == 0, found.err
    assert set(found.json["designs"][0]["inputs"]) == {"a,b", "c"}
    assert set(found.json["designs"][0]["prediction"]) == {"y,1"}
    found = invdesign("predict", "sum.keras", "t.csv", "--inputs", "a,b,c", "--outputs", '"y,1"')
    assert found.code == 0, found.err
    assert found.out.splitlines()[0] == '"a,b",c,"prediction.y,1"'


@pytest.mark.parametrize(("count", "text"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials")])
def test_counts_read_as_english(count, text):
    assert plural(count, "trial") == text


@pytest.mark.parametrize("label", ["c,d", "a, b and c", "plain", "2,5", 'q"r'])
def test_a_label_is_given_to_levels_as_to_near(label):
    quoted = label if '"' in label else f'"{label}"'
    read = design_values(dict.fromkeys(DESIGN_OPTIONS, ()) | {"levels": (f"glass={quoted}",), "margin": None})
    assert read["levels"] == {"glass": [label]}
    if '"' not in label:
        both = design_values(dict.fromkeys(DESIGN_OPTIONS, ()) | {"levels": (f"glass={quoted}, 3",), "margin": None})
        assert both["levels"] == {"glass": [label, 3]}


@given(st.text("abc", min_size=1, max_size=3), st.lists(st.text("abcde", min_size=1, max_size=3), min_size=1))
def test_a_name_that_is_suggested_begins_like_the_one_that_was_given_or_has_most_letters_of_it(name, known):
    hint = near_match(name, known)
    if hint.startswith("did you mean"):
        (near,) = re.findall("'(.*)'", hint)
        longer = max(len(name), len(near))
        assert near.startswith(name) or (set(name) & set(near) and longer - min(len(name), len(near)) <= 1)
