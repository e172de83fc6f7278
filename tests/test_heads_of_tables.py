"""Where a table's names and units stand: no header, comments, units and heads of groups beside the names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED_DATA
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from invdesign_core.context import Context
from invdesign_core.data.files.load import load_table, read_table
from invdesign_core.data.files.options import Reading
from invdesign_core.data.files.units import unit_of
from invdesign_core.errors import DataError
from invdesign_plugins.datasets.table import Table

ROWS = "1,2,3.5\n2,3,4.5\n3,5,1.5\n"
BLANKS = ROWS.replace(",", "  ")
COLUMNS = [[1, 2, 3], [2, 3, 5], [3.5, 4.5, 1.5]]


@pytest.fixture
def read(tmp_path):
    """Write a text file and read it; return the table."""

    def write(text: str, name: str = "t.csv", **options):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return load_table(path, Reading(**options))

    return write


@pytest.fixture
def refused(read):
    """Write a text file, which is refused; return the error."""

    def write(text: str, name: str = "t.csv", **options) -> DataError:
        with pytest.raises(DataError) as caught:
            read(text, name, **options)
        return caught.value

    return write


def columns(table) -> dict[str, list]:
    return table.frame.to_dict("list")


def named(*names: str) -> dict[str, list]:
    return dict(zip(names, COLUMNS, strict=True))


# No header


@pytest.mark.parametrize(
    "text",
    [
        ROWS,
        ROWS.replace(",", "\t"),
        BLANKS,
        "0,5;1,5\n0,7;1,6\n",
        "1,,3\n2,,4\n",
        "1,NaN,3\n2,1,4\n",
        "5.1,3.5,Iris-setosa\n4.9,3.0,Iris-setosa\n",
        "A1,5.1,3.5\nA2,4.9,3\n",
        "2010,2011\n1,2\n",
        "1.2D-03,1.0\n1.3D-03,2.0\n",
        "10%,20%\n11%,21%\n",
        "<0.01,3,4\n0.6,4,5\n",
        "n.d.,3,4\n0.6,4,5\n",
        "inf,1\n2,3\n",
        "7\n8\n",
        "1,2\n",
    ],
)
def test_a_first_line_of_values_is_asked_about(refused, text):
    error = refused(text)
    assert "is there no header?" in error.message
    assert 'header = "no"' in error.hint
    assert "names = [" in error.hint


@pytest.mark.parametrize(
    "text", ["year,2010,yield\n1,1,2\n2,2,3\n", "a1,b2\n1,2\n", "3D area,y\n1,2\n", "1,a\nx,b\n", "10%,20%\n1,2\n"]
)
def test_a_header_that_names_a_column_of_numbers_is_believed(read, text):
    assert tuple(read(text).frame) == tuple(text.split("\n")[0].split(","))


def test_the_ways_in_the_hint_read_the_file(read, refused):
    hint = refused(ROWS).hint
    assert 'names = ["x1", "x2", "x3"]' in hint
    assert "header = 1" in hint
    assert columns(read(ROWS, names=["a", "b", "y"])) == named("a", "b", "y")
    table = read(ROWS, header="no")
    assert columns(table) == named("x1", "x2", "x3")
    assert table.place(0) == "row 1 (line 1)"
    assert "no header" in table.understood[0]
    assert list(read("2010,2011\n1,2\n", header=1).frame) == ["2010", "2011"]


def test_where_no_option_can_be_given_the_hint_names_none(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(ROWS)
    with pytest.raises(DataError, match="is there no header") as caught:
        read_table(path)
    assert caught.value.hint == "write a line of names above it"


def test_names_that_do_not_fit_the_file_are_refused(refused):
    assert "2 names ('a', 'b'), and the file 3 columns" in refused(ROWS, names=["a", "b"]).message
    assert "appears twice" in refused(ROWS, names=["a", "a", "b"]).message
    error = refused("a,b,y\n" + ROWS, names=["u", "v", "w"])
    assert "line 1 holds names, too: 'a', 'b', 'y'" in error.message
    assert "header = 1" in error.hint


@pytest.mark.parametrize("first", ["100,101,1000", "10,10,10", "1000,1e3,100"])
def test_a_first_row_of_numbers_is_no_line_of_units(read, first):
    text = f"a,b,y\n{first}\n3,4,5\n6,7,8\n"
    assert len(read(text).frame) == 3
    assert len(read(text.replace(",", "\t"), "t.txt").frame) == 3


def test_names_may_replace_those_in_the_file(read):
    assert columns(read("a,b,y\n" + ROWS, names=["u", "v", "w"], header=1)) == named("u", "v", "w")


@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=1))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_row_of_numbers_is_lost_to_a_header(read, rows):
    text = "".join(",".join(map(repr, row)) + "\n" for row in rows)
    with pytest.raises(DataError, match="is there no header"):
        read(text)
    assert read(text, header="no").frame.to_numpy(dtype=float).tolist() == rows


def pair(folder: Path, features: str, targets: str, **options) -> Table:
    (folder / "f.csv").write_text(features)
    (folder / "t.csv").write_text(targets)
    return Table(features=folder / "f.csv", targets=folder / "t.csv", **options)


def test_two_files_without_a_header(tmp_path):
    files = tmp_path, "1,2\n2,3\n3,5\n4,6\n", "3.5\n4.5\n1.5\n2.5\n"
    with pytest.raises(DataError, match="is there no header") as caught:
        pair(*files).load(Context())
    assert 'names = ["x1", "x2", "y1"]' in caught.value.hint
    assert list(pair(*files, header="no").load(Context()).frame) == ["x1", "x2", "y1"]
    data = pair(*files, names=["a", "b", "loss"]).load(Context())
    assert data.frame.to_dict("list") == {"a": [1, 2, 3, 4], "b": [2, 3, 5, 6], "loss": [3.5, 4.5, 1.5, 2.5]}
    assert data.outputs == ("loss",)
    with pytest.raises(DataError, match="holds 2 names, and the files without a header have 3 columns"):
        pair(*files, names=["a", "b"]).load(Context())


def test_one_of_two_files_without_a_header(tmp_path):
    data = pair(tmp_path, "a,b\n1,2\n2,3\n3,5\n4,6\n", "3.5\n4.5\n1.5\n2\n", names=["loss"]).load(Context())
    assert list(data.frame) == ["a", "b", "loss"]
    assert data.frame["loss"].tolist() == [3.5, 4.5, 1.5, 2]


@pytest.mark.parametrize("header", [False, "none", "no"])
def test_ways_to_say_that_there_is_no_header(header):
    assert Reading(header=header).header == "no"


# Comment lines


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("# a,b,y\n" + ROWS, "a b y"),
        ("#a,b,y\n" + ROWS, "a b y"),
        ("## a,b,y\n" + ROWS, "a b y"),
        ("#,b,y\n" + ROWS, "# b y"),
        ("# a b y\n" + BLANKS, "a b y"),
        ("% a b y\n" + ROWS, "a b y"),
        ("# a, b, y\n" + BLANKS, "a b y"),
        ("# made by me\n#\n# a b y\n# -----\n" + BLANKS, "a b y"),
        ("# made by me\na,b,y\n" + ROWS, "a b y"),
        ("# made,by,me\na,b,y\n" + ROWS, "a b y"),
        ("// a,b,y\n" + ROWS, "a b y"),
        ("! a b y\n" + BLANKS, "a b y"),
        ("! made by me\n# a b y\n" + BLANKS, "a b y"),
        ("a,b,y\n1,2,3.5\n# 9,9,9\n2,3,4.5\n3,5,1.5\n#end\n", "a b y"),
    ],
)
def test_names_in_comments_and_among_them(read, text, names):
    assert columns(read(text, "t.txt")) == named(*names.split())


def test_every_name_may_begin_with_a_percent_sign(read):
    assert list(read("% Ni,% Cr,y\n" + ROWS).frame) == ["% Ni", "% Cr", "y"]
    assert list(read("% Ni,T,y\n" + ROWS, comment="no").frame) == ["% Ni", "T", "y"]


def test_units_in_comments(read):
    comsol = read("% Model: x.mph\n% gap (mm)   width (mm)   loss (dB)\n" + BLANKS, "t.txt")
    assert columns(comsol) == named("gap", "width", "loss")
    assert comsol.units == {"gap": "mm", "width": "mm", "loss": "dB"}
    assert "names from the comment in line 2, 1 comment line left out" in comsol.understood[0]
    assert read("# a b y\n# mm mm dB\n" + BLANKS, "t.txt").units == {"a": "mm", "b": "mm", "y": "dB"}
    below = read("# a,b,y\nmm,mm,dB\n" + ROWS)
    assert columns(below) == named("a", "b", "y")
    assert below.units == {"a": "mm", "b": "mm", "y": "dB"}


def test_a_comment_that_does_not_name_the_columns_is_no_header(read, refused):
    assert "is there no header?" in refused("# data of 2024\n" + ROWS).message
    assert "is there no header?" in refused("# a b\n" + BLANKS, "t.txt").message
    assert columns(read("# one two three\n" + ROWS, names=["a", "b", "y"])) == named("a", "b", "y")


def test_another_mark_can_be_named(read):
    assert columns(read("$ a b y\n" + BLANKS, "t.txt", comment="$")) == named("a", "b", "y")
    assert columns(read("# u v w\n# a b y\n# p q r\n" + BLANKS, "t.txt", header=2)) == named("a", "b", "y")


def test_labels_that_begin_with_a_mark_are_no_comments(read, refused):
    assert read("id,y\n#1,2\n#2,3\n").frame["id"].tolist() == ["#1", "#2"]
    assert read("a,y\n#N/A,2\n1,2\n2,3\n").frame["a"].isna().tolist() == [True, False, False]
    assert read('a,y\n"x\n# z",1\nu,2\n').frame["a"].tolist() == ["x\n# z", "u"]
    text = "color,y\n#f00,2\nred,3\nblue,4\n"
    error = refused(text)
    assert "line 2: '#f00,2' can be a comment, or a row" in error.message
    assert read(text, comment="no").frame["color"].tolist() == ["#f00", "red", "blue"]
    assert read(text, comment="#").frame["color"].tolist() == ["red", "blue"]
    assert "all lines begin with '#'" in refused("# a,b\n# 1,2\n").message


def test_a_comment_mark_is_no_letter():
    with pytest.raises(ValidationError, match="what comment lines begin with"):
        Reading(comment="x")


# Blanks between values


def test_blanks_between_numbers_and_texts(read):
    dakota = read("%eval_id interface   x1    y \n1        NO_ID   0.5   1 \n2        NO_ID   0.7   2 \n", "t.dat")
    assert columns(dakota) == {"eval_id": [1, 2], "interface": ["NO_ID"] * 2, "x1": [0.5, 0.7], "y": [1, 2]}
    assert list(read("Feed Temp   Rate   y\n1 2 3\n2 3 4\n", "t.txt").frame) == ["Feed Temp", "Rate", "y"]
    wide = read("alloy      T   y\nsteel A    3   4\ncast iron  4   5\n", "t.txt")
    assert wide.frame["alloy"].tolist() == ["steel A", "cast iron"]


def test_a_header_that_lacks_the_name_of_the_first_column_is_refused(refused):
    assert "the header may lack a name" in refused("a b y\n0.3 0.5 0.6 1\n0.3 0.7 0.8 2\n", "t.txt").hint


def test_one_column_of_texts_is_not_split_in_silence(read, refused):
    text = "mix name\nmix 1\nmix 2\n"
    assert 'separator = "space"' in refused(text, "t.txt").hint
    assert list(read(text, "t.txt", separator="space").frame) == ["mix", "name"]
    assert list(read(text, "t.txt", separator=",").frame) == ["mix name"]


# Units and heads of groups


@pytest.mark.parametrize(
    ("line", "units"),
    [
        ("mm,-,N/mm^2", {"a": "mm", "y": "N/mm^2"}),
        ("[mm],[-],(°C)", {"a": "mm", "y": "°C"}),
        ("kN,m,MPa", {"a": "kN", "b": "m", "y": "MPa"}),
        (",%,1/s", {"b": "%", "y": "1/s"}),
        ("Units:,mm,N", {"b": "mm", "y": "N"}),
    ],
)
def test_a_line_of_units_below_the_names(read, line, units):
    table = read(f"a,b,y\n{line}\n{ROWS}")
    assert columns(table) == named("a", "b", "y")
    assert table.units == units
    assert table.place(0) == "row 2 (line 3)"
    assert columns(read(f"a,b,y\n{line}\n{ROWS}", skip_rows=1)) == columns(table)  # as it was said before
    assert read(f"a,b,y\n{line}\n{ROWS}", skip_rows=[3]).frame["a"].tolist() == [1, 3]


@pytest.mark.parametrize("line", ["-,-,-", "n.d.,n.d.,n.d.", "held,free,read", "mm,free,N"])
def test_a_line_that_may_be_something_else_is_no_line_of_units(refused, line):
    assert "row 1 (line 2)" in refused(f"a,b,y\n{line}\n{ROWS}").message


def test_a_label_among_units_leaves_both_readings(read, refused):
    assert "skip_rows = 1" in refused("g,b\nA,mm\nA,1\nB,2\n").hint
    assert read("g,b\n-,mm\nA,1\nB,2\n").frame["g"].tolist() == ["A", "B"]


def test_units_above_the_names(read):
    table = read("mm,mm,dB\na,b,y\n" + ROWS)
    assert columns(table) == named("a", "b", "y")
    assert table.units == {"a": "mm", "b": "mm", "y": "dB"}


def test_a_title_above_the_names_is_left_out_with_a_note(read):
    table = read("Series 7,,\n,,\na,b,y\nmm,mm,N\n" + ROWS)
    assert columns(table) == named("a", "b", "y")
    assert "line 1 ('Series 7') is left out" in table.notes[0]


@pytest.mark.parametrize("units", ["", "mm,mm,N\n"])
def test_heads_of_groups_above_the_names(read, units):
    table = read(f"recipe,,tests\na,b,y\n{units}{ROWS}")
    assert columns(table) == named("a", "b", "y")
    assert "heads of groups: 'recipe', 'tests'" in table.notes[0]


def test_names_that_occur_in_two_groups_get_the_group_before_them(read):
    table = read("load,,strength,\nmean,std,mean,std\n1,2,3,4\n2,3,4,5\n")
    assert list(table.frame) == ["load mean", "load std", "strength mean", "strength std"]


def test_a_table_with_two_lines_of_names_from_pandas(read):
    table = read(",recipe,recipe,tests\n,a,b,y\n0,1,2,3.5\n1,2,3,4.5\n2,3,5,1.5\n")
    assert columns(table) == named("a", "b", "y")


@pytest.mark.parametrize(
    "text", ["mm", "N/mm²", "kg m-2 s-1", "wt%", "°C", "1/s", "W/(m·K)", "µm", "m^2", "[a.u.]", "%"]
)
def test_units(text):
    assert unit_of(text)


@pytest.mark.parametrize("text", ["held", "Spannweite", "A1", "n.d.", "12", "[12]", "good", "alloy", "yield"])
def test_words_that_are_no_units(text):
    assert not unit_of(text)


def test_sheets_are_read_alike(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")

    def sheet(*rows, **options):
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(tmp_path / "t.xlsx")
        return load_table(tmp_path / "t.xlsx", Reading(**options))

    rows = [1, 2, 3.5], [2, 3, 4.5], [3, 5, 1.5]
    with pytest.raises(DataError, match="row of the sheet 1 holds only numbers"):
        sheet(*rows)
    assert columns(sheet(*rows, names=["a", "b", "y"])) == named("a", "b", "y")
    assert columns(sheet(*rows, header="no")) == named("x1", "x2", "x3")
    table = sheet(["Series 7"], [], ["recipe", None, "tests"], ["a", "b", "y"], ["mm", "-", "N"], *rows)
    assert columns(table) == named("a", "b", "y")
    assert table.units == {"a": "mm", "y": "N"}
    assert table.place(0) == "row 2 (row of the sheet 6)"


def test_units_are_shown_beside_the_variables(tmp_path):
    said = []
    (tmp_path / "t.csv").write_text("a,b,y\nmm,-,N\n" + ROWS + "4,6,2.5\n")
    Table(path=Path("t.csv"), outputs=["y"]).load(Context(emit=said.append, folder=tmp_path))
    assert said[0].data["text"].endswith("a [mm] (integer), b (integer); output y [N]")


@pytest.mark.parametrize("name", ["savetxt.dat", "savetxt.csv", "percent.txt", "dakota.dat"])
def test_exports_whose_header_is_a_comment(name):
    path = SHARED_DATA / "field" / name
    if not path.exists():
        pytest.skip("needs the shared data")
    table = load_table(path)
    assert {"gap", "width", "loss"} <= set(table.frame)
    assert len(table.frame) == 60
    assert np.isfinite(table.frame[["gap", "width", "loss"]].to_numpy()).all()
