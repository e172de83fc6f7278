"""Left-overs of how tables are kept: row names of R, complex numbers, units in comments, files without a header."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invdesign_core.context import Context
from invdesign_core.data.files.load import load_table
from invdesign_core.data.files.options import Reading
from invdesign_core.data.own_columns import as_targets, read_designs, read_targets
from invdesign_core.errors import ConfigError, DataError, ExitCode
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.targets import Targets
from invdesign_core.workflow.experiment import Experiment


@pytest.fixture
def file(tmp_path):
    def write(text, name="t.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


# R leaves out the name of the column with the names of rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"a" "y"\n"1" 0.5 2\n"2" 0.7 3\n"3" 0.5 4\n', "numbers the rows"),
        ('"a","y"\n"1",0.5,2\n"2",0.7,3\n"3",0.5,4\n', "numbers the rows"),
        ("a\ty\nMazda RX4\t0.5\t2\nFiat 128\t0.7\t3\nVolvo\t0.5\t4\n", "begins with 'Mazda RX4'"),
    ],
)
def test_row_names_without_a_name_in_the_header_are_left_out_and_said(file, text, said):
    table = load_table(file(text))
    assert table.frame.to_dict("list") == {"a": [0.5, 0.7, 0.5], "y": [2, 3, 4]}
    assert any(said in note for note in table.notes)


@pytest.mark.parametrize(
    "text",
    [
        "a,y\n1,0.5,2\n2,0.7,3\n3,0.5,4\n",  # may be decimal commas
        "a;y\n0.5;0.5;2\n0.6;0.7;3\n0.7;0.5;4\n",  # a column of numbers that lost its name
        "a;y\nsteel;0.5;2\nsteel;0.7;3\nwood;0.5;4\n",  # a column of labels that lost its name
    ],
)
def test_other_columns_without_a_name_in_the_header_are_refused(file, text):
    with pytest.raises(DataError, match="found 3 values"):
        load_table(file(text))


# Complex numbers


@pytest.mark.parametrize(
    "cells", [["9.9e-01,-1.2e-03", "9.8e-01,-1.2e-02"] * 2, ["(0.5dB,-1.2°)", "(0.4dB,-2.5°)"] * 2]
)
def test_complex_cells_of_a_circuit_simulator_are_refused_by_column(file, cells):
    rows = "\n".join(f"{i}\t{cell}\t{i}" for i, cell in enumerate(cells))
    with pytest.raises(DataError, match=r"column 'V\(out\)', row 1 \(line 2\): found .* complex number"):
        load_table(file(f"freq\tV(out)\ty\n{rows}\n", "t.txt"), Reading())


# Units in a comment below the names


def test_units_in_the_comment_below_the_names_are_read(file):
    table = load_table(file("load,span,y\n# kN, m, MPa\n0.5,1.5,2\n0.7,1.6,2.5\n"))
    assert table.units == {"load": "kN", "span": "m", "y": "MPa"}
    assert "units from the comment in line 2" in table.understood[0]
    assert load_table(file("load,span,y\n# series A, first, day\n0.5,1.5,2\n0.7,1.6,2.5\n")).units == {}


# LibreOffice


def test_errors_in_a_sheet_of_libreoffice_are_refused_by_cell(tmp_path):
    spaces = "".join(
        f' xmlns:{name}="urn:{urn}"'
        for name, urn in (
            ("office", "oasis:names:tc:opendocument:xmlns:office:1.0"),
            ("table", "oasis:names:tc:opendocument:xmlns:table:1.0"),
            ("text", "oasis:names:tc:opendocument:xmlns:text:1.0"),
            ("calcext", "org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"),
        )
    )
    text, number = 'office:value-type="string"', 'office:value-type="float" office:value="{0}"'
    error = 'office:value-type="string" office:string-value="" calcext:value-type="error"'
    rows = [[(text, "a"), (text, "y")], *([(number.format(i), i), (number.format(2 * i), 2 * i)] for i in range(1, 6))]
    rows[2][0] = (error, "#DIV/0!")
    body = "".join(
        "<table:table-row>"
        + "".join(f"<table:table-cell {kind}><text:p>{value}</text:p></table:table-cell>" for kind, value in row)
        + "</table:table-row>"
        for row in rows
    )
    sheet = f'<table:table table:name="S">{body}</table:table>'
    for tag in ("office:spreadsheet", "office:body"):
        sheet = f"<{tag}>{sheet}</{tag}>"
    content = f"<office:document-content{spaces}>{sheet}</office:document-content>"
    path: Path = tmp_path / "e.ods"
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        book.writestr("content.xml", content)
        book.writestr("META-INF/manifest.xml", "<manifest/>")
    with pytest.raises(DataError, match=r"column 'a', row 2 .*: found '#DIV/0!', expected a number"):
        load_table(path)


# polars


def test_objects_of_polars_are_refused_as_what_they_are():
    pl = pytest.importorskip("polars")
    from invdesign_core.plugin import Data

    class Part:
        """Not a value of a design."""

    numbers = {"a": [1.0, 2, 3, 4], "y": [1.0, 2, 3, 4]}
    with pytest.raises(DataError, match="column 'part', row 1: found Part"):
        Data.from_frame(
            pl.DataFrame({**numbers, "part": pl.Series([Part() for _ in range(4)], dtype=pl.Object)}), ["y"]
        )
    whole = pl.DataFrame({"n": pl.Series([1, 2, 3, 4], dtype=pl.Object), **numbers})
    assert Data.from_frame(whole, ["y"]).space["n"].kind == "integer"


# Tables of targets


SPACE = Space((Variable("x", lower=0, upper=1),))


def test_goals_and_limits_of_inputs_in_a_table_of_targets_are_refused_with_the_way(file):
    for word in ("min", "0..1", "<=0.5"):
        frame = read_targets(file(f"y,x\n1,0.5\n2,{word}\n"), SPACE)
        with pytest.raises(DataError, match="column 'x', row 2: found") as refused:
            as_targets(frame, SPACE, ["y"], Context())
        assert "--target 'x=…'" in str(refused.value.hint)


def test_truth_values_as_targets_are_refused():
    with pytest.raises(ConfigError, match="column 'y', row 1: found True, expected a number"):
        Targets.from_frame(pd.DataFrame({"y": [True, False]}), ["y"], np.ones(1))


# Files without a header, wherever designs and targets are read


def test_the_options_of_a_table_serve_designs_and_targets_too(file):
    path = file("0,5;1\n0,7;2\n")
    with pytest.raises(DataError, match="is there no header") as refused:
        read_designs(path, SPACE)
    assert "--set 'dataset.names=" in str(refused.value.hint)
    reading = Reading(names=["x", "y"], decimal=",")
    assert read_designs(path, SPACE, (), reading)["x"].tolist() == [0.5, 0.7]
    assert read_targets(path, SPACE, reading)["y"].tolist() == [1, 2]


def test_predict_and_solve_take_the_options_of_a_table(saved_run, invdesign, tmp_path):
    (tmp_path / "d.csv").write_text("0;1\n1;1\n")
    done = invdesign("predict", saved_run, "d.csv", "--set", 'names=["bit_0", "bit_1"]', "--json")
    assert done.code == 0, done.err
    assert len(done.json["prediction"]) == 2
    (tmp_path / "t.csv").write_text("2;1\n3;0\n")
    done = invdesign(
        "solve", saved_run, "--targets", "t.csv", "--set", 'dataset.names=["decimal", "bit_0"]', "--out", "o.csv"
    )  # fmt: skip
    assert "target" in done.out, done.err
    assert pd.read_csv(tmp_path / "o.csv")["design.bit_0"].tolist() == [1, 0]
    refused = invdesign("solve", saved_run, "--target", "2", "--set", "dataset.header=no")
    assert refused.code == ExitCode.CONFIG
    assert "no table is read" in refused.err


def test_init_drafts_from_several_files(invdesign, tmp_path):
    (tmp_path / "runs").mkdir()
    for i in range(2):
        rows = "\n".join(f"{j + i / 2},{j}" for j in range(4))
        (tmp_path / "runs" / f"day{i}.csv").write_text(f"x,y\n{rows}\n")
    done = invdesign("init", "runs/day*.csv", "--outputs", "y")
    assert done.code == 0, done.err
    text = (tmp_path / "day.toml").read_text()
    assert 'path = ["runs/day*.csv"]' in text
    assert "8 rows" in text
    assert invdesign("validate", "day.toml").code == 0


# Settings made in Python


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": "a"},
        {"training": {"epoch": 3}},
        {"solver": 3},
        {"nonsense": 1},
        {"design": {"designs": 0}},
        {"backend": "x"},
    ],
)
def test_what_a_file_cannot_hold_is_refused_alike_in_python(settings):
    with pytest.raises(ConfigError) as by_name:
        Experiment(**settings)
    with pytest.raises(ConfigError):
        Experiment.from_mapping(settings)
    assert by_name.value.message.startswith("Experiment: ")
