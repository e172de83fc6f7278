"""Labels of any kind are written down and read back as they are, or refused before any work."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from invdesign_core.data.data import Data
from invdesign_core.data.files.write import write_table
from invdesign_core.data.own_columns import designs_of, read_designs
from invdesign_core.errors import DataError
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.workflow.chunks import ChunkedTable
from invdesign_core.workflow.run_folder import _write_parquet


def data_with(labels):
    return Data.from_frame(pd.DataFrame({"k": labels, "x": np.arange(9) / 8, "y": np.arange(9.0)}), ["y"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([b"a", b"b", b"c"] * 3, r"column 'k', row 1: found bytes \(b'a'\), .*"),
        (pd.cut(np.arange(9), 3), r"'k' holds Interval"),
        (pd.Series(["1", 1, "x"] * 3, dtype=object), "'k' holds the labels '1' and 1, which are written alike"),
        (pd.Series(["True", True, "x"] * 3, dtype=object), "written alike"),
    ],
    ids=["bytes", "intervals", "a number and its text", "a truth value and its text"],
)
def test_labels_that_no_file_holds_or_tells_apart_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        data_with(labels)


@pytest.mark.parametrize("ending", ["csv", "parquet", "xlsx"])
@pytest.mark.parametrize(
    "labels",
    [("010", "1", "True", "NA", "a,b", "1.0", "=SUM(1)", "1e3", "inf", "é"), ("1", 2, "x"), (2.5, True, "x"), (1, 2)],
    ids=str,
)
def test_labels_that_are_accepted_come_back_from_every_file(tmp_path, labels, ending):
    space = Space((Variable("k", "categorical", levels=labels), Variable("x", lower=0, upper=1)))
    written = pd.DataFrame({"target": 1, "design.k": list(labels), "design.x": 0.5, "prediction.y": 1.0})
    write_table(path := tmp_path / f"d.{ending}", written)
    assert designs_of(read_designs(path, space), space, ["y"], "d")["k"].tolist() == list(labels)


def test_labels_of_several_types_can_be_kept_in_a_run_and_in_parts_of_a_table(tmp_path):
    table = pd.DataFrame({"target": [1, 2], "design.k": pd.Series(["1", 2], dtype=object)})
    _write_parquet(tmp_path / "d.parquet", table)
    parts = ChunkedTable(tmp_path / "d.csv", {})
    parts.write(0, table)
    parts.join()
    assert pd.read_parquet(tmp_path / "d.parquet")["design.k"].tolist() == ["1", "2"]
    assert pd.read_csv(tmp_path / "d.csv", dtype=str)["design.k"].tolist() == ["1", "2"]
