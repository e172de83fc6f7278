"""A model that is given with a table is compared with it, and what contradicts is said with its likely cause."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import lin, prepare_model

from invdesign_core.cli.console import show
from invdesign_core.context import Context
from invdesign_core.registry import Registry
from invdesign_core.workflow.solve import solve_one, solve_table

REGISTRY = Registry.discover()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model y = x1 + 3 x2 of inputs without names, and tables for it."""
    path = tmp_path_factory.mktemp("models")
    lin([[1], [3]]).save(path / "model.keras")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"flow": rng.random(120), "heat": rng.random(120)})
    frame["y"] = frame["flow"] + 3 * frame["heat"]
    frame.to_csv(path / "right.csv", index=False)
    frame[["heat", "flow", "y"]].to_csv(path / "order.csv", index=False)
    frame.drop(columns="y").to_csv(path / "designs.csv", index=False)
    frame.assign(y=frame["y"].where(frame.index % 3 == 0)).to_csv(path / "gaps.csv", index=False)
    frame.assign(y=frame["y"] + 0.5 * rng.normal(size=120)).to_csv(path / "noisy.csv", index=False)
    units = pd.DataFrame({"temp": 300 + 100 * frame["flow"], "pres": 1 + 4 * frame["heat"]})
    units.assign(y=lambda t: 5 + 0.01 * t["temp"] + 3 * t["pres"] / 4).to_csv(path / "units.csv", index=False)
    return path


def prepared(folder, table, model="model.keras", outputs=("y",), **options):
    said = []
    ctx = replace(Context(), emit=lambda e: said.append(str(e.data.get("text", ""))))
    options = {"registry": REGISTRY, "outputs": list(outputs), "ctx": ctx, **options}
    found = prepare_model(folder / model, table=folder / table, **options)
    return found, [text for text in said if "contradicts" in text or "finite" in text]


def test_a_table_with_its_columns_in_another_order_is_said_and_r2_stands_in_the_result(folder):
    p, (said,) = prepared(folder, "order.csv")
    assert "R² on its rows is -0." in said or "R² on its rows is 0." in said
    assert "order" in said
    assert "units, unscaled" in said
    assert "--inputs flow,heat" in said
    result = solve_one(p, ["y=3"])
    assert said in result.report.notes
    assert result.report.surrogate.test["y"].r2 < 0.5
    assert result.report.surrogate.rows == {"table": 120}
    stream = io.StringIO()
    show(result.report, stream, quiet=True)
    assert "the model on 120 rows of the table" in stream.getvalue()


def test_the_order_that_is_proposed_is_right(folder):
    p, said = prepared(folder, "order.csv", inputs=["flow", "heat"])
    assert said == []
    assert p.model.report.test["y"].r2 == pytest.approx(1)


def test_a_model_for_scaled_numbers_is_said_and_scaling_is_named_as_the_cause(folder):
    p, (said,) = prepared(folder, "units.csv")
    assert p.model.report.test["y"].r2 < -100
    assert "the scaling of its training belongs into the model" in said


@pytest.mark.parametrize("table", ["right.csv", "noisy.csv", "gaps.csv"])
def test_a_model_that_agrees_with_its_table_is_measured_and_not_doubted(folder, table):
    p, said = prepared(folder, table)
    assert said == []
    assert p.model.report.test["y"].r2 > 0.5
    assert p.model.report.rows == {"table": 40 if table == "gaps.csv" else 120}


def test_a_table_without_outputs_has_nothing_to_say_of_the_model(folder):
    p, said = prepared(folder, "designs.csv", outputs=["z"], inputs=["flow", "heat"])
    assert (said, p.model.report.test, p.model.report.rows) == ([], {}, {})


def test_an_output_that_the_table_has_is_compared_though_another_is_missing(folder):
    lin([[1, 1], [3, 0]]).save(folder / "two.keras")
    p, (said,) = prepared(folder, "order.csv", "two.keras", ["y", "other"], inputs=["heat", "flow"])
    assert "for 'y'" in said
    assert p.model.report.test["other"].r2 is None
    assert p.model.rows is None


def test_a_table_of_targets_is_answered_with_the_same_word(folder, tmp_path):
    p, (said,) = prepared(folder, "order.csv")
    report = solve_table(p, pd.DataFrame({"y": [1.0, 2.0]}), tmp_path / "designs.csv")
    assert said in report.notes
    assert any(text.startswith("R² of the model on 120 rows of the table: ") for text in report.notes)


def test_answers_that_are_not_finite_on_the_table_are_counted(folder):
    from conftest import fn
    from keras import ops

    fn(2, lambda i: ops.sqrt(i[:, :1] - 0.5)).save(folder / "root.keras")
    frame = pd.read_csv(folder / "right.csv")
    _, said = prepared(folder, "right.csv", "root.keras")
    assert any(f"not finite for {(frame['flow'] < 0.5).sum()} of 120 rows" in text for text in said)


def test_predictions_that_vary_where_the_table_has_one_number_are_said(folder):
    frame = pd.read_csv(folder / "right.csv")
    frame.assign(y=2.0).to_csv(folder / "constant.csv", index=False)
    _, (said,) = prepared(folder, "constant.csv")
    assert "'y' is 2 in every row" in said


def test_another_order_that_fits_exactly_is_said_though_r2_is_not_poor(folder):
    rng = np.random.default_rng(0)
    lin([[1], [2], [3]]).save(folder / "three.keras")
    x = np.column_stack([rng.random(90), rng.uniform(0, 3, 90), rng.random(90)])
    frame = pd.DataFrame(x, columns=list("abc"))
    frame.assign(y=x @ [3, 2, 1]).to_csv(folder / "swapped.csv", index=False)
    _, (said,) = prepared(folder, "swapped.csv", model="three.keras")
    assert "R² on its rows is 0." in said
    assert "--inputs c,b,a" in said
    frame.assign(y=x @ [1, 2, 3] + rng.normal(size=90)).to_csv(folder / "noise.csv", index=False)
    assert prepared(folder, "noise.csv", model="three.keras")[1] == []
