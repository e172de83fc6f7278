"""Columns that number, date or group the rows are no design variables: said once, with what leaves them out."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invdesign_core.data.bookkeeping import described_rows, row_numbers
from invdesign_core.data.data import Data
from invdesign_core.data.quality import data_warnings
from invdesign_core.workflow.estimator import InverseDesign

ROWS = 24
RNG = np.random.default_rng(3)
BLOCKS = np.repeat([1, 2, 3], 8)


def found(name, values, **more):
    """Return what is said of a column beside two design variables, None where it is taken for one, too."""
    rows = len(values)
    frame = pd.DataFrame({name: values, "heat": RNG.random(rows).round(3), "flow": RNG.random(rows).round(3), **more})
    return described_rows(Data.from_frame(frame.assign(y=RNG.random(rows)), ["y"])).get(name)


@pytest.mark.parametrize(
    ("name", "values", "what"),
    [
        ("StdOrder", RNG.permutation(ROWS) + 1, "numbers the rows, 1 to 24"),
        ("anything", RNG.permutation(ROWS), "numbers the rows, 0 to 23"),
        ("anything", np.arange(501, 501 + ROWS), "numbers the rows, 501 to 524"),
        ("anything", np.arange(1.0, ROWS + 1), "numbers the rows, 1 to 24"),
        ("No.", [1, 2, 3, 4, 5, 6], "numbers the rows, 1 to 6"),
        ("Run_ID", np.delete(np.arange(30), [3, 4, 9, 12, 13, 20]), "numbers the rows, 0 to 29"),
        ("sample", RNG.permutation(np.delete(np.arange(40), np.arange(5, 21))), "numbers the rows, 0 to 39"),
        ("Run Order", np.tile(np.arange(1, 9), 3), "numbers groups or blocks of rows, 1 to 8"),
        ("Sample No", np.repeat(np.arange(1, 13), 2), "numbers groups or blocks of rows, 1 to 12"),
        ("eval_id", np.arange(1, ROWS + 1), "numbers the rows, 1 to 24"),
        ("interface", ["NO_ID"] * ROWS, "is the same in every row (NO_ID)"),
        ("PtType", [1] * ROWS, "is the same in every row (1)"),
        ("pressure", np.where(np.arange(ROWS) % 2, 298.15, 298.15 + 5.7e-14), "is the same in every row (298.15)"),
        ("Blocks", BLOCKS, "tells blocks of runs apart"),
        ("Block", ["B1", "B2", "B3"] * 8, "tells blocks of runs apart"),
        ("Pt Type", [1] * 8 + [0] * 8 + [-1] * 8, "tells types of points apart"),
        ("CenterPt", [1] * 20 + [0] * 4, "tells types of points apart"),
        ("Replicate", BLOCKS, "counts repeats"),
        ("when", [f"2024-01-{i + 1:02}" for i in range(ROWS)], "holds dates or times"),
        ("when", ["3.1.2024 10:15", "31.12.2023 9:00"] * 12, "holds dates or times"),
        ("when", [f"{i + 1} Jan 2024" for i in range(ROWS)], "holds dates or times"),
        ("when", [f"1/{i + 1}/24 1:05 PM" for i in range(ROWS)], "holds dates or times"),
        ("when", [f"2024-01-01T10:{i:02}:00Z" for i in range(ROWS)], "holds dates or times"),
        ("clock", [f"10:{i:02}" for i in range(ROWS)], "holds dates or times"),
        ("Date", [20240101, 20240102, 20240215] * 8, "holds dates or times"),
        ("date", np.repeat([45292, 45293, 45300], 8), "holds dates or times"),
        ("timestamp", 1700000000 + 977 * np.arange(ROWS), "holds dates or times"),
        ("ID", [f"S{i}x" for i in range(6)], "holds 6 different texts in 6 rows"),
        ("remark", [f"run {i} was fine" for i in range(ROWS)], "holds 24 different texts in 24 rows"),
    ],
)
def test_what_describes_the_rows_is_recognised_by_its_values_and_by_usual_names(name, values, what):
    assert found(name, values) == what


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("run", [10, 20, 30] * 8),
        ("run", [1, 2, 3] * 8),
        ("run", np.repeat([1, 2, 3], 8)),
        ("sample", RNG.integers(1, 6, ROWS)),
        ("index", RNG.random(ROWS)),
        ("id", [12.5, 14.0, 16.2, 19.0] * 6),
        ("No.", RNG.choice([2, 4, 8, 16, 32], ROWS)),
        ("Block", ["PS", "PMMA", "PEO"] * 8),
        ("blocks", [10, 20, 30] * 8),
        ("blocks", [1.5, 2.5, 3.5] * 8),
        ("replicate", np.arange(100, 100 + 2 * ROWS, 2)),
        ("time", [20000, 30000, 40000] * 8),
        ("date", [1, 5, 9] * 8),
        ("ID", ["A", "B", "C"] * 8),
        ("ratio", ["1:2", "1:3", "2:3"] * 8),
        ("plate", ["1.5", "2.5", "4.0"] * 8),
        ("temperature", [300, 310, 320] * 8),
        ("temperature", np.arange(300, 300 + 10 * ROWS, 10)),
        ("temperature", RNG.permutation(np.arange(300, 300 + ROWS))),
        ("speed", np.delete(np.arange(30), [3, 4, 9, 12, 13, 20])),
        ("passes", [1, 2, 3, 4, 5, 6]),
    ],
)
def test_a_name_alone_or_values_alone_that_a_design_may_have_say_nothing(name, values):
    assert found(name, values) is None


def test_numbers_that_begin_again_in_each_block_are_recognised_by_the_blocks():
    numbers = np.concatenate([np.arange(1, 11), RNG.permutation(14) + 1])
    assert found("std.roder", numbers) is None
    assert found("std.roder", numbers, Block=np.repeat([1, 2], [10, 14])) == "numbers groups or blocks of rows, 1 to 14"


def test_what_is_left_to_choose_is_never_nothing():
    ramp = pd.DataFrame({"x": np.arange(1, 21), "t": 300.0, "y": RNG.random(20)})
    assert list(described_rows(Data.from_frame(ramp, ["y"]))) == ["t"], "x is the only input that varies"
    data = Data.from_frame(pd.DataFrame({"id": np.arange(9), "y": RNG.random(9)}), ["y"])
    assert described_rows(data) == {}


@given(st.integers(8, 60), st.integers(0, 1), st.randoms(use_true_random=False))
def test_any_order_of_the_numbers_of_the_rows_is_recognised_and_two_of_a_kind_are_not(rows, first, random):
    numbers = list(range(first, first + rows))
    random.shuffle(numbers)
    frame = pd.DataFrame({"q": numbers, "x": np.linspace(0, 1, rows) ** 2, "y": 1.0})
    data = Data.from_frame(frame, ["y"])
    assert row_numbers(data.x, data.space) == ["q"]
    frame.loc[0, "q"] = frame.loc[1, "q"]
    data = Data.from_frame(frame, ["y"])
    assert row_numbers(data.x, data.space) == []


def design():
    """Return a full factorial of three inputs in random order, as design programs write it, and its yield."""
    levels = np.array(list(itertools.product([40, 60, 80], [20, 30, 40], [6.0, 6.5, 7.0])))
    order = np.random.default_rng(0).permutation(27)
    frame = pd.DataFrame({"StdOrder": order + 1, "RunOrder": np.arange(27) + 1, "PtType": 1, "Blocks": 1})
    frame[["Temp", "Time", "pH"]] = levels[order]
    frame["Yield"] = 0.5 * frame["Temp"] - 0.2 * (frame["pH"] - 6.5) ** 2 + 0.1 * frame["Time"]
    return frame


OF_THE_RUNS = ["StdOrder", "RunOrder", "PtType", "Blocks"]


def test_it_is_said_in_one_sentence_with_the_line_that_leaves_all_of_it_out():
    said = [text for text in data_warnings(Data.from_frame(design(), ["Yield"])) if "leave_out" in text]
    assert said == [
        "probably no design variables: 'StdOrder' and 'RunOrder' number the rows, 1 to 27; 'PtType' and 'Blocks' are "
        f"the same in every row (1); leave_out = {json.dumps(OF_THE_RUNS)}"
    ]


@pytest.mark.parametrize("inputs", ["", 'inputs = ["StdOrder", "RunOrder", "PtType", "Blocks", "Temp", "Time", "pH"]'])
def test_validate_says_what_run_says_and_its_line_works(invdesign, tmp_path, inputs):
    design().to_csv(tmp_path / "doe.csv", index=False)
    text = f'[surrogate]\nuse = "selu-mlp"\n[dataset]\nuse = "table"\npath = "doe.csv"\noutputs = ["Yield"]\n{inputs}\n'
    (tmp_path / "doe.toml").write_text(text)
    validated = invdesign("validate", "doe.toml").err
    run = invdesign(
        "run", "doe.toml", "--set", "training.epochs=1", "--set", "surrogate.learning_rate=[0.01, 0.01]"
    ).err
    (line,) = {*re.findall(r"leave_out = \[.*\]", validated), *re.findall(r"leave_out = \[.*\]", run)}
    (tmp_path / "doe.toml").write_text(text + line + "\n[dataset.kinds]\nBlocks = 'integer'\n")
    done = invdesign("validate", "doe.toml")
    assert done.code == 0, done.err
    assert "leave_out" not in done.err
    assert re.findall(r"input +(\w+):", done.out) == ["Temp", "Time", "pH"]


def test_init_leaves_them_out_and_says_why(invdesign, tmp_path):
    design().to_csv(tmp_path / "doe.csv", index=False)
    done = invdesign("init", "doe.csv", "--outputs", "Yield")
    assert "'StdOrder' and 'RunOrder' number the rows, 1 to 27" in done.err
    text = (tmp_path / "doe.toml").read_text()
    assert f"leave_out = {json.dumps(OF_THE_RUNS)}" in text
    assert 'inputs = ["Temp", "Time", "pH"]' in text
    assert "probably no design variables" not in invdesign("validate", "doe.toml").err


def test_what_the_user_names_as_an_input_is_one(invdesign, tmp_path):
    design().to_csv(tmp_path / "doe.csv", index=False)
    invdesign("init", "doe.csv", "--outputs", "Yield", "--set", 'inputs=["RunOrder", "Temp"]')
    assert 'inputs = ["RunOrder", "Temp"]' in (tmp_path / "doe.toml").read_text()


def test_python_says_it_with_the_line_that_works_there():
    frame = design()
    fast = {"surrogate": {"use": "selu-mlp", "learning_rate": (0.01, 0.01)}, "training": {"epochs": 1}}
    X, y = frame.drop(columns="Yield"), frame["Yield"]
    with pytest.warns(UserWarning, match=re.escape(f"; X = X.drop(columns={json.dumps(OF_THE_RUNS)})")):
        InverseDesign(**fast).fit(X, y)
    with pytest.warns(UserWarning, match=re.escape("'x1' and 'x2' number the rows, 1 to 27")) as said:
        InverseDesign(**fast).fit(X.to_numpy(), y)
    assert any("X = np.delete(X, [0, 1, 2, 3], axis=1)" in str(warning.message) for warning in said)
