"""A target gets the same verdict alone and in a table of targets, whatever it is judged by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import lin, prepare_model

from invdesign_core.truth.simulator import as_truth
from invdesign_core.workflow.solve import solve_one, solve_table

TARGETS = [
    {"y": "9"},
    {"y": "max"},
    {"y": "max", "z": ">=0"},
    {"y": "9", "z": "min"},
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """y = a + 3 b and z = a - b exactly, and a table in which one row has far more y than any design."""
    folder = tmp_path_factory.mktemp("verdicts")
    lin([[1, 1], [3, -1]]).save(folder / "model.keras")
    x = np.random.default_rng(0).uniform(0, 1, (30, 2))
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": x @ [1, 3], "z": x @ [1, -1]})
    frame.loc[4, ["y", "z"]] = 9.0, -0.5
    frame.to_csv(folder / "rows.csv", index=False)
    solver = ("least-squares", {"starts": 4})
    return prepare_model(
        folder / "model.keras", table=folder / "rows.csv", outputs=("y", "z"), designs=2, solver=solver
    )


def failing(designs):
    """A true model that fails everywhere."""
    return pd.DataFrame({"y": designs["a"] * np.nan, "z": designs["a"] - designs["b"]})


def shifted(designs):
    """A true model that says something else than the prediction."""
    return pd.DataFrame({"y": designs["a"] + 3 * designs["b"] + 20, "z": designs["a"] - designs["b"]})


@pytest.mark.parametrize(("truth", "rows"), [(None, True), (failing, True), (shifted, True), (failing, False)])
def test_a_target_has_the_same_status_alone_and_in_a_table_of_targets(prepared, tmp_path, truth, rows):
    known = prepared.model.rows if rows else None
    judged = replace(prepared, model=replace(prepared.model, truth=as_truth(truth), rows=known))
    for number, asked in enumerate(TARGETS):
        alone = solve_one(judged, [f"{k}={v}" if v[0] != ">" else f"{k}{v}" for k, v in asked.items()]).report
        table = solve_table(judged, pd.DataFrame([asked]), tmp_path / f"{number}.csv")
        assert table.status == alone.status, asked
        by_rows = alone.met_by == "measured row"
        assert (table.measured, table.met + table.optimised) == (int(by_rows), int(alone.status != "not met") - by_rows)
        better = alone.status == "optimised" and not by_rows and bool(alone.measured)
        assert table.beaten == better, asked
        assert ("measured rows beat 1 of them" in table.verdict) == better
        if rows:
            written = pd.read_csv(tmp_path / f"{number}.csv")
            assert written["measured.answer"].tolist() == [bool(alone.measured)] * len(written)


def test_a_value_that_the_true_model_did_not_give_has_no_tolerance(prepared):
    judged = replace(prepared.model, truth=as_truth(failing), rows=None)
    report = solve_one(replace(prepared, model=judged), ["y=2"]).report
    said = "no design meets the target; closest: the true model gave no value of y there (y is empty)"
    assert report.verdict == said
