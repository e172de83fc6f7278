"""Data: checked once, split so that no design sits on both sides."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from invdesign_core.context import Context
from invdesign_core.data.data import Data, split_rows
from invdesign_core.errors import DataError


def table(n=100, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.random(n), "b": rng.random(n)})
    frame["y"] = frame["a"] + frame["b"]
    return frame


def test_a_repeated_design_stays_on_one_side_of_the_split():
    frame = pd.concat([table(60)] * 3, ignore_index=True)
    rows = split_rows(Data.from_frame(frame, ["y"]), 0.2, 0.2, Context())
    sides = [{tuple(r) for r in rows.x[part]} for part in (rows.train, rows.validation, rows.test)]
    assert sides[0].isdisjoint(sides[1] | sides[2])
    assert sides[1].isdisjoint(sides[2])
    assert sum(map(len, sides)) == 60
    assert len(rows.test) == 36


def test_the_seed_decides_the_split_and_nothing_else_does():
    data = Data.from_frame(table(), ["y"])
    first, again, other = (split_rows(data, 0.1, 0.1, Context(seed)) for seed in (0, 0, 1))
    assert (first.test == again.test).all()
    assert set(first.test) != set(other.test)


def test_a_split_of_the_dataset_is_kept():
    frame = table(10)
    data = Data.from_frame(frame, ["y"])
    part = np.array(["train"] * 6 + ["validation"] * 2 + ["test"] * 2)
    rows = split_rows(Data(data.frame, data.space, data.outputs, split=part), 0.5, 0.5, Context())
    assert rows.train.tolist() == [0, 1, 2, 3, 4, 5]
    assert rows.test.tolist() == [8, 9]


@pytest.mark.parametrize(
    ("change", "outputs", "message"),
    [
        (lambda f: f, ["z"], "no column 'z'"),
        (lambda f: f, [], "no output column"),
        (lambda f: f.assign(a=[*f["a"][:-1], np.nan]), ["y"], "column 'a', row 100"),
        (lambda f: f.assign(y=[np.inf, *f["y"][1:]]), ["y"], "column 'y', row 1"),
        (lambda f: f.assign(y=["x", *f["y"][1:].astype(str)]), ["y"], "found text 'x'"),
        (lambda f: f.head(2), ["y"], "2 rows"),
        (lambda f: f[["y"]], ["y"], "no column is left"),
        (lambda f: pd.concat([f, f[["a"]]], axis=1), ["y"], "'a' appears twice"),
    ],
)
def test_bad_tables_are_refused_with_row_and_column(change, outputs, message):
    with pytest.raises(DataError) as error:
        Data.from_frame(change(table()), outputs)
    assert message in str(error.value)


def test_holding_back_everything_is_refused():
    with pytest.raises(DataError, match="leave no training rows"):
        split_rows(Data.from_frame(table(4), ["y"]), 0.9, 0.9, Context())
