"""A table of targets: all rows at once, each with its own conditions, and nothing lost."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from conftest import fn, lin, prepare_model

from invdesign_core.context import Context
from invdesign_core.data.own_columns import read_targets
from invdesign_core.errors import ConfigError, RunStoreError
from invdesign_core.registry import Registry
from invdesign_core.workflow.chunks import ChunkedTable
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.solve import solve_one, solve_table

REGISTRY = Registry.discover()


@pytest.fixture
def product(tmp_path):
    """y = T x."""
    from keras import ops

    path = tmp_path / "product.keras"
    fn(2, lambda i: ops.expand_dims(i[:, 0] * i[:, 1], -1)).save(path)
    return path


def prepared(path, **options):
    options = {"bounds": {"x1": (0, 1), "x2": (0, 1)}, "designs": 1} | options
    return prepare_model(path, registry=REGISTRY, **options)


def test_a_column_that_is_a_design_variable_is_held_at_its_rows_value(product, tmp_path, invdesign):
    (tmp_path / "wanted.csv").write_text("T,y\n1,2\n2,2\n4,2\n")
    done = invdesign("solve", "product.keras", "--inputs", "T,x", "--bounds", "x=0..5", "--targets", "wanted.csv",
                     "--out", "designs.csv", "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert (done.json["targets"], done.json["met"]) == (3, 3)
    table = pd.read_csv(tmp_path / "designs.csv")
    assert table["design.T"].tolist() == [1, 2, 4]
    assert table["design.x"].to_numpy() == pytest.approx([2, 1, 0.5], abs=1e-3)
    assert table["target"].tolist() == [1, 2, 3]


def test_a_column_that_is_neither_is_refused_by_name(product, tmp_path, invdesign):
    (tmp_path / "wanted.csv").write_text("T,y,operator\n1,2,Ann\n")
    done = invdesign("solve", "product.keras", "--inputs", "T,x", "--bounds", "x=0..5", "--targets", "wanted.csv",
                     "--out", "designs.csv")  # fmt: skip
    assert done.code == 2
    assert "'operator' is neither an output nor a design variable" in done.err
    assert not (tmp_path / "designs.csv").exists()


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "sum.keras"
    lin([[1, 1], [1, -1]]).save(path)
    return path


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_many_targets_get_the_answers_that_each_gets_alone(model, tmp_path, ending):
    wanted = pd.DataFrame({"y1": np.linspace(0.2, 1.8, 50), "y2": np.linspace(-0.1, 0.1, 50)})
    out = tmp_path / f"designs.{ending}"
    report = solve_table(prepared(model), wanted, out)
    assert report.met == report.targets == 50
    table = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
    sums = table["design.x1"] + table["design.x2"]
    assert sums.to_numpy() == pytest.approx(wanted["y1"].to_numpy(), abs=1e-3)
    alone = solve_one(prepared(model), [f"y1={wanted['y1'][20]}", f"y2={wanted['y2'][20]}"])
    best = alone.report.designs[0].inputs
    assert table.loc[20, ["design.x1", "design.x2"]].tolist() == pytest.approx(list(best.values()), abs=1e-4)


def test_cells_may_be_ranges_and_empty_cells_are_free(model, tmp_path):
    wanted = pd.DataFrame({"y1": ["<=0.5", "1.2..1.3", None], "y2": [np.nan, 0.2, -0.3]})
    report = solve_table(prepared(model), wanted, tmp_path / "d.parquet")
    table = pd.read_parquet(tmp_path / "d.parquet")
    assert report.met == 3
    assert table["prediction.y1"][0] <= 0.5 + 0.04
    assert 1.2 - 0.04 <= table["prediction.y1"][1] <= 1.3 + 0.04
    assert table["prediction.y2"][2] == pytest.approx(-0.3, abs=1e-3)


@pytest.mark.parametrize(
    "cells", [["1", "2", "0.5..1", "3"], ["<=1", "2", "max", "3"], ["1", "2", "1", "2 tolerance 0.1"]]
)
def test_words_of_targets_may_stand_among_numbers_in_a_file(product, tmp_path, invdesign, cells):
    (tmp_path / "wanted.csv").write_text("T,y\n" + "".join(f"1.5,{cell}\n" for cell in cells))
    done = invdesign("solve", "product.keras", "--inputs", "T,x", "--bounds", "x=0..5", "--targets", "wanted.csv",
                     "--out", "designs.csv", "--json")  # fmt: skip
    assert done.code == 0, done.err
    table = pd.read_csv(tmp_path / "designs.csv")
    assert table["design.T"].tolist() == [1.5] * 4
    asked = {row: float(cell) for row, cell in enumerate(cells) if cell.isdigit()}
    assert table["prediction.y"][list(asked)].tolist() == pytest.approx(list(asked.values()), abs=0.05)


def test_targets_out_of_reach_are_counted_and_their_nearest_designs_given(model, tmp_path):
    report = solve_table(prepared(model), pd.DataFrame({"y1": [1.0, 5.0]}), tmp_path / "d.parquet")
    table = pd.read_parquet(tmp_path / "d.parquet")
    assert (report.status, report.met) == ("not met", 1)
    assert table["met"].tolist() == [True, False]
    assert table["miss.y1"][1] == pytest.approx(-3.0, abs=1e-3)
    assert table.loc[1, ["design.x1", "design.x2"]].tolist() == [1, 1]


def test_chunks_change_no_answer(model, tmp_path):
    wanted = pd.DataFrame({"y1": np.linspace(0.2, 1.8, 30)})
    tables = []
    for rows in (16384, 640):
        path = tmp_path / f"{rows}.parquet"
        solve_table(prepared(model, solver=("least-squares", {"init": "uniform", "rows_at_once": rows})), wanted, path)
        tables.append(pd.read_parquet(path))
    pd.testing.assert_frame_equal(*tables, rtol=1e-3, atol=1e-3)


def test_a_killed_solve_goes_on_where_it_was(model, tmp_path):
    few = {"solver": ("least-squares", {"rows_at_once": 640})}
    wanted, out = pd.DataFrame({"y1": np.linspace(0.2, 1.8, 30)}), tmp_path / "d.parquet"
    solve_table(prepared(model, **few), wanted, tmp_path / "whole.parquet")
    solved = []

    def kill(event):
        if event.kind == "progress":
            solved.append(event.data["done"])
            if len(solved) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve_table(prepared(model, **few, ctx=Context(emit=kill)), wanted, out)
    assert not out.exists()
    with pytest.raises(RunStoreError, match="with different designs"):
        solve_table(prepared(model, **few, designs=2), wanted, out)
    report = solve_table(prepared(model, **few), wanted, out)
    assert report.starts.total < 30 * 64, "what was solved before is not solved again"
    assert "already solved, and not solved again" in " ".join(report.notes)
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(tmp_path / "whole.parquet"))
    assert [p.name for p in tmp_path.glob(".*")] == []


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"x1": [0.5]}, "no column is an output"),
        ({"y1": [np.inf]}, "row 1: found infinity"),
        ({"y1": ["warm"]}, "column 'y1', row 1"),
        ({"y1": [1.0, np.nan], "y2": [1.0, np.nan]}, "row 2: no output has a target"),
        ({"y1": [1.0, 1.0], "x1": [0.1, np.nan]}, "column 'x1', row 2: the cell is empty"),
    ],
)
def test_bad_tables_are_refused_with_row_and_column(model, tmp_path, frame, message):
    with pytest.raises(ConfigError) as error:
        solve_table(prepared(model), pd.DataFrame(frame), tmp_path / "d.parquet")
    assert message in str(error.value)
    mended = solve_table(prepared(model), pd.DataFrame({"y1": [1.0]}), tmp_path / "d.parquet")
    assert mended.met == 1, "a refused table leaves nothing that is in the way"


@pytest.mark.long
def test_a_dataframe_of_targets_is_answered_in_python():
    x = pd.DataFrame({"T": np.tile([1.0, 2.0, 4.0], 60), "x": np.random.default_rng(0).uniform(0, 5, 180)})
    y = pd.DataFrame({"y": x["T"] + x["x"]})
    model = InverseDesign({"use": "selu-mlp", "learning_rate": (0.01, 0.01)}, designs=2, training={"epochs": 150})
    answers = model.fit(x, y).invert(pd.DataFrame({"T": [1.0, 2.0, 4.0], "y": ["3", "3.9..4.1", "max"]}))
    best = answers.designs[answers.designs["rank"] == 1]
    assert best["target"].tolist() == [0, 1, 2]
    assert best["design.T"].tolist() == [1.0, 2.0, 4.0]
    assert best["design.x"].to_numpy() == pytest.approx([2, 2, x["x"].max()], abs=0.3)
    assert answers.met
    assert len(answers.targets) == 3
    with pytest.raises(ConfigError, match="neither an output nor a design variable"):
        model.invert(pd.DataFrame({"y": [1.0], "z": [1.0]}))


def test_a_file_that_is_there_is_never_overwritten(tmp_path):
    (tmp_path / "d.csv").write_text("mine")
    with pytest.raises(RunStoreError, match="already exists"):
        ChunkedTable(tmp_path / "d.csv", {})
    with pytest.raises(ConfigError, match=r"expected .csv, .parquet or .xlsx"):
        ChunkedTable(tmp_path / "d.ods", {})


@pytest.mark.long
def test_ctrl_c_leaves_the_parts_and_exits_with_130(console, model, tmp_path):
    import signal
    import subprocess

    pd.DataFrame({"y1": np.random.default_rng(0).uniform(0, 2, 60000)}).to_parquet(tmp_path / "wanted.parquet")
    args = ["solve", "sum.keras", "--bounds", "x1=0..1", "--bounds", "x2=0..1", "--targets", "wanted.parquet"]
    running = subprocess.Popen([console, *args, "--out", "d.parquet"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    parts, deadline = tmp_path / ".d.parquet.parts", time.monotonic() + 60
    while len(list(parts.glob("*.parquet"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "to resume" in err
    assert len(list(parts.glob("*.parquet"))) >= 2
    assert not (tmp_path / "d.parquet").exists()


@pytest.mark.parametrize("text", ["1 weight 2", "1 tolerance 0.5", "1 tolerance 0.5 weight 2", "1 weight 0"])
def test_a_weight_or_tolerance_of_every_row_is_no_unit(tmp_path, text):
    """Where all rows have the same one, it looked like the unit of the column, and was dropped."""
    path = tmp_path / "wanted.csv"
    path.write_text(f"y,z\n{text},1\n{text},2\n")
    assert list(read_targets(path)["y"]) == [text, text]
