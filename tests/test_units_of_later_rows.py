"""Rows that follow a run come in any unit: one rule for all that read them, wherever in the table the unit stands."""

from __future__ import annotations

import pandas as pd
import pytest

from invdesign_core.context import Context
from invdesign_core.data.own_columns import as_targets, read_targets, row_of
from invdesign_core.errors import InvdesignError
from invdesign_core.targets import parse_target
from invdesign_core.workflow.learn import read_measured
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.predict import predict_table
from invdesign_core.workflow.run_folder import saved_space

ROWS = [(20 + 3 * i % 50, 1 + 7 * i % 9 / 2) for i in range(24)]
HEADS = {"units": "T (°C),L [mm],F (kN),m", "none": "T,L,F,m"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the folders of two runs of F = 0.1 T + L: one that knows the units, and one that knows none."""
    from conftest import called

    folder = tmp_path_factory.mktemp("runs")
    for name, head in HEADS.items():
        rows = "".join(f"{t}.5,{length},{0.1 * (t + 0.5) + length:.4f},{'AB'[t % 2]}\n" for t, length in ROWS)
        (folder / f"{name}.csv").write_text(f"{head}\n{rows}", encoding="utf-8")
        output = head.split(",")[2]
        (folder / f"{name}.toml").write_text(
            f'surrogate = "ridge"\nconfidence = {{ model = "none" }}\ntargets = {{ "{output}" = 5 }}\n'
            f'dataset = {{ use = "table", path = "{name}.csv", outputs = ["{output}"] }}\n',
            encoding="utf-8",
        )
        done = called(["run", f"{name}.toml", "--out", name, "--quiet", "--set", "solver.starts=2"], folder, {})
        assert done.code in (0, 1), done.err
    return folder


def predicted(run, path):
    (row,) = predict_table(run, path).report.prediction
    return list(row.values())


def learnt(run, path):
    p = prepare(run)
    found = read_measured(p, path)
    return [*found.frame.iloc[0][:2], found.y[0, 0]]


def targets(run, path):
    return asked(run, read_targets(path, saved_space(run)))


def asked(run, frame):
    """Return the first row of a table of targets as it is understood."""
    p = prepare(run)
    output = p.model.surrogate.outputs[0]
    found = as_targets(frame, p.base, [output], Context(), p.units)
    wanted = parse_target(found[output].iloc[0], "target", p.units.numbers(output))
    return [*found[list(p.base.names)].iloc[0][:2], wanted.lower]


def present(run, path):
    p = prepare(run)
    return list(row_of(f"{path}:1", p.base, p.units).values())[:2]


READERS = [predicted, learnt, targets, present]


def says(reader):
    """Return what the readers say of 40 °C, 2 mm and 6.05 kN."""
    return {predicted: [6.0], present: [40, 2]}.get(reader, [40, 2, 6.05])


WAYS = {
    "own": "T (°C),L [mm],F (kN),m\n40,2,6.05,A\n",
    "short names": "T,L,F,m\n40,2,6.05,A\n",
    "header": "T [K],L (cm),F [N],m\n313.15,0.2,6050,A\n",
    "line": "T,L,F,m\nK,cm,N,\n313.15,0.2,6050,A\n",
    "line below units": "T (°C),L [mm],F (kN),m\nK,cm,N,\n313.15,0.2,6050,A\n",
    "cells": "T,L,F,m\n313.15 K,0.2 cm,6050 N,A\n",
    "cells below units": "T (°C),L [mm],F (kN),m\n313.15 K,0.2 cm,6050 N,A\n",
    "own cells": "T (°C),L [mm],F (kN),m\n40 °C,2 mm,6.05 kN,A\n",
    "designs": "design.T,design.L [cm],F,design.m\n313.15 K,0.2,6050 N,A\n",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("reader", READERS)
def test_a_unit_counts_wherever_it_stands(runs, tmp_path, reader, way):
    path = tmp_path / "rows.csv"
    path.write_text(WAYS[way], encoding="utf-8")
    assert reader(runs / "units", path) == pytest.approx(says(reader), rel=1e-4)


@pytest.mark.parametrize("head", ["T,L,F,m", "T [K],L,F,m", "T (°C),L [mm],F (kN),m"])
@pytest.mark.parametrize("reader", READERS)
def test_each_cell_may_have_a_unit_of_its_own(runs, tmp_path, reader, head):
    path = tmp_path / "rows.csv"
    path.write_text(f"{head}\n313.15 K,2 mm,6050 N,A\n104 °F,0.2 cm,6.05 kN,B\n", encoding="utf-8")
    if reader is predicted:
        rows = predict_table(runs / "units", path).report.prediction
        assert [row["F (kN)"] for row in rows] == pytest.approx([6, 6], rel=1e-4)
    else:
        assert reader(runs / "units", path) == pytest.approx(says(reader), rel=1e-4)


@pytest.mark.parametrize("way", ["header", "cells", "own cells", "own"])
def test_cells_of_a_frame_may_be_texts(runs, tmp_path, way):
    path = tmp_path / "rows.csv"
    path.write_text(WAYS[way], encoding="utf-8")
    frame = pd.read_csv(path, dtype=str) if "cells" in way else pd.read_csv(path)
    assert asked(runs / "units", frame) == pytest.approx([40, 2, 6.05])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("T,L,F,m\n40 foo,2,6,A\n", "found the unit 'foo', expected one that is known"),
        ("T,L,F,m\n[foo],mm,kN,\n40,2,6,A\n40,2,6,A\n", "found the unit 'foo', expected one that is known"),
        ("T,L,F,m\n40 kg,2,6,A\n", r"kg \(mass\), expected a number in °C \(temperature\)"),
        ("T,L,F,m\nkg,mm,kN,\n40,2,6,A\n40,2,6,A\n", r"kg \(mass\), expected a number in °C \(temperature\)"),
        ("T [kg],L,F,m\n40,2,6,A\n", r"kg \(mass\), expected a number in °C \(temperature\)"),
    ],
)
@pytest.mark.parametrize("reader", READERS)
def test_a_unit_that_can_not_be_meant_is_refused_by_its_column(runs, tmp_path, reader, text, said):
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvdesignError, match=rf"column 'T.*{said}") as refused:
        reader(runs / "units", path)
    assert refused.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "T [K],L,F,m\n40,2,6,A\n",
        "T,L,F,m\nK,,,\n40,2,6,A\n40,2,6,A\n",
        "T,L,F,m\n40 K,2,6,A\n",
        "T,L,F,m\n40 K,2,6,A\n40 °C,2,6,A\n",
        "design.T,L,F,m\n40 K,2,6,A\n",
    ],
)
@pytest.mark.parametrize("reader", READERS)
def test_a_unit_where_none_is_known_is_refused_with_the_line_that_says_it(runs, tmp_path, reader, text):
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvdesignError, match=r"column '(design\.)?T.*found") as refused:
        reader(runs / "none", path)
    assert '[units] T = "UNIT"' in refused.value.hint


def test_what_predict_writes_says_the_units_that_its_numbers_are_in(runs, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(WAYS["line"], encoding="utf-8")
    found = predict_table(runs / "units", path, tmp_path / "out.csv").table
    assert list(found)[:3] == ["T [K]", "L [cm]", "F [N]"]
    again = predict_table(runs / "units", tmp_path / "out.csv").report
    assert again.prediction[0]["F (kN)"] == pytest.approx(6, rel=1e-4)


def test_a_table_that_says_two_units_of_a_column_is_refused_where_it_is_first_read(tmp_path, invdesign):
    rows = "".join(f"{300 + i} K,{i}\n" for i in range(8))
    (tmp_path / "t.csv").write_text(f"T (°C),y\n{rows}", encoding="utf-8")
    (tmp_path / "t.toml").write_text('dataset = { use = "table", path = "t.csv", outputs = ["y"] }\n')
    refused = invdesign("validate", "t.toml")
    assert refused.code == 4
    assert "column 'T (°C)': its name says the unit '°C', and a line of units or its cells 'K'" in refused.err
