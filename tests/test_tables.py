"""The tables that people bring: read as they are meant, or refused with the place and the way out."""

from __future__ import annotations

import csv
import datetime
import io
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import xlsx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from invdesign_core.context import Context
from invdesign_core.data.data import Data
from invdesign_core.data.files.contents import READERS
from invdesign_core.data.files.load import load_table, read_table
from invdesign_core.data.files.options import LoadedTable, Reading
from invdesign_core.errors import DataError, ExitCode
from invdesign_plugins.datasets.table import Table


@pytest.fixture
def save(tmp_path):
    """Write a file and return its path."""

    def write(content: str | bytes, name: str = "t.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def parquet(tmp_path):
    """Write columns as parquet and return the path."""

    def write(columns, name: str = "t.parquet") -> Path:
        path = tmp_path / name
        pq.write_table(pa.table(columns), path)
        return path

    return write


@pytest.fixture
def excel(tmp_path):
    """Write sheets of rows as an Excel file and return the path."""
    pytest.importorskip("openpyxl")
    return lambda **sheets: xlsx(tmp_path / "t.xlsx", **sheets)


def refusal(path: Path, reading: Reading | None = None, columns=None) -> DataError:
    with pytest.raises(DataError) as caught:
        load_table(path, reading or Reading(), columns)
    assert str(path) in caught.value.message
    assert caught.value.exit_code == ExitCode.DATA
    return caught.value


def values(table: LoadedTable) -> dict[str, list]:
    return table.frame.to_dict("list")


def load(path: Path, outputs=("y",), **options) -> tuple[Data, list[str], list[str]]:
    """Load the `table` dataset; return the data, its notes and its warnings."""
    events = []
    dataset = Table(path=path, outputs=list(outputs), **options)
    data = dataset.load(Context(emit=events.append, folder=path.parent))
    said = [(event.kind, event.data["text"]) for event in events]
    return data, [t for kind, t in said if kind == "note"], [t for kind, t in said if kind == "warning"]


# CSV as Excel and pandas write it

GERMAN = "a;b;y\n0,5;1,5;2,0\n1,25;2,5;3,75\n"
GERMAN_VALUES = {"a": [0.5, 1.25], "b": [1.5, 2.5], "y": [2.0, 3.75]}


def test_semicolons_and_decimal_commas(save):
    table = load_table(save(GERMAN))
    assert values(table) == GERMAN_VALUES
    assert table.understood == ("separator ';', decimal comma, 2 rows, 3 columns",)
    assert table.notes == ()


def test_a_byte_order_mark_and_the_line_ends_of_windows(save):
    assert values(load_table(save("\ufeff" + GERMAN.replace("\n", "\r\n")))) == GERMAN_VALUES


@pytest.mark.parametrize("start", [0, 1])
def test_an_index_is_left_out_also_when_the_rows_are_sorted_by_something_else(save, start):
    frame = pd.DataFrame({"a": [0.5, 1.5, 2.5, 3.5], "y": [3.0, 1.0, 4.0, 2.0]})
    frame.index += start
    path = save(frame.sort_values("y").to_csv())
    table = load_table(path)
    assert values(table) == {"a": [1.5, 3.5, 0.5, 2.5], "y": [1.0, 2.0, 3.0, 4.0]}
    assert "no name and numbers the rows" in table.notes[0]
    data, _, warnings = load(path)
    assert data.space.names == ("a",)
    assert "numbers the rows" in warnings[0]
    assert values(load_table(path, Reading(index="keep")))["index"] == [1 + start, 3 + start, start, 2 + start]


def test_an_index_that_pandas_saved_twice_is_left_out(save):
    frame = pd.DataFrame({"a": [0.5, 1.5, 2.5], "y": [3.0, 1.0, 4.0]})
    twice = pd.read_csv(io.StringIO(frame.to_csv())).to_csv()
    assert "Unnamed: 0" in twice
    assert list(load_table(save(twice)).frame) == ["a", "y"]


def test_a_first_column_without_a_name_that_may_be_a_variable_is_asked_about(save):
    path = save(",a,y\n300,0.5,1\n310,0.25,2\n320,0.75,3\n")
    error = refusal(path)
    assert "column 1 of 3 has no name" in error.message
    assert 'index = "drop"' in error.hint
    assert 'index = "keep"' in error.hint
    assert values(load_table(path, Reading(index="keep")))["index"] == [300, 310, 320]
    assert list(load_table(path, Reading(index="drop")).frame) == ["a", "y"]


def test_a_row_of_something_else_is_named_and_can_be_skipped(save):
    path = save("a;b;y\nheld;free;read\n0,5;1,5;2,0\n1,25;2,5;3,75\n")
    error = refusal(path)
    assert "column 'a', row 1 (line 2): found 'held'" in error.message
    assert "skip_rows = 1" in error.hint
    assert "header = 2" in error.hint
    for skip in (1, [1]):
        table = load_table(path, Reading(skip_rows=skip))
        assert values(table) == GERMAN_VALUES
        assert table.place(0) == "row 2 (line 3)"
    assert values(load_table(path, Reading(skip_rows=[1, 3])))["a"] == [0.5]
    assert "skip_rows names row 9, but the table has" in refusal(path, Reading(skip_rows=[9])).message
    assert "skip_rows leaves out all 3 rows" in refusal(path, Reading(skip_rows=3)).message


@pytest.mark.parametrize("other", ["1", "0.5"])
def test_thousands_are_named_and_can_be_read(save, other):
    path = save(f'a,y\n{other},900\n2,"1,000"\n3,950\n')
    error = refusal(path)
    assert "column 'y', row 2 (line 3)" in error.message
    assert "'1,000'" in error.message
    assert 'thousands = ","' in error.hint
    assert values(load_table(path, Reading(thousands=",")))["y"] == [900, 1000, 950]


# Separators


@pytest.mark.parametrize(("separator", "name"), [(",", "','"), (";", "';'"), ("\t", "tab"), ("|", "'|'")])
def test_separators_are_recognised(save, separator, name):
    text = " a ,b c, y\n 1 ,2.5 , x\n3,4.5,z \n".replace(",", separator)
    table = load_table(save(text))
    assert values(table) == {"a": [1, 3], "b c": [2.5, 4.5], "y": ["x", "z"]}
    assert f"separator {name}" in table.understood[0]


def test_integers_with_commas_between_them_stay_integers(save):
    table = load_table(save("a,b\n1,5\n2,5\n100,200\n"))
    assert values(table) == {"a": [1, 2, 100], "b": [5, 5, 200]}
    assert set(table.frame.dtypes) == {np.dtype(np.int64)}


def test_blanks_between_aligned_numbers(save):
    text = "a    b      y\n 1   2.5  1e-3\n 10  20.5 4\n"
    assert values(load_table(save(text, "t.txt"))) == {"a": [1, 10], "b": [2.5, 20.5], "y": [0.001, 4.0]}


def test_other_separators_can_be_named(save):
    path = save("a:b\n1:2\n3:4\n")
    error = refusal(path, columns=["b"])
    assert "separator" in error.hint
    assert values(load_table(path, Reading(separator=":"))) == {"a": [1, 3], "b": [2, 4]}


def test_two_possible_separators_are_asked_about(save):
    path = save("x,mm;y,mm\n1,5;2,5\n2,5;3,5\n")
    error = refusal(path)
    assert "with ',' (3 columns) and with ';' (2 columns)" in error.message
    assert 'separator = ";"' in error.hint
    assert values(load_table(path, Reading(separator=";"))) == {"x,mm": [1.5, 2.5], "y,mm": [2.5, 3.5]}
    assert values(load_table(path, Reading(decimal=","))) == {"x,mm": [1.5, 2.5], "y,mm": [2.5, 3.5]}


def test_excels_own_line_about_the_separator_is_no_header(save):
    assert values(load_table(save("sep=;\r\na;b\r\n1,5;2\r\n"))) == {"a": [1.5], "b": [2]}


def test_one_column_with_decimal_commas_is_asked_about(save):
    path = save("y\n0,5\n1,5\n")
    assert 'decimal = ","' in refusal(path).hint
    assert values(load_table(path, Reading(decimal=","))) == {"y": [0.5, 1.5]}


def test_an_empty_line_in_one_column_is_a_missing_value_and_shifts_nothing(save):
    assert load_table(save("y\n1\n\n2\n\n")).frame["y"].isna().tolist() == [False, True, False]


# Structure: nothing shifts in silence


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("a,b\n1,2\n3,4,5\n", "row 2 (line 3): found 3 values", "decimal comma"),
        ("a,b\n1,2\n3\n", "row 2 (line 3): found 1 value ", "skip_rows = [2]"),
        ("a,b\n\n1,2\n\n3,4\nTotal: 2\n", "row 3 (line 6): found 1 value ('Total: 2')", "skip_rows = [3]"),
        ('a,b\n"x\ny",2\n3\n', "row 2 (line 4): found 1 value ", "skip_rows"),
        ("a,b\n0,5,1,5\n0,6,1,6\n", "row 1 (line 2): found 4 values", "decimal comma"),
        ("a,b\nr1,1,2\nr1,3,4\n", "row 1 (line 2): found 3 values", "header"),
        ("a,b\n1,2,\n3,4,\n", "row 1 (line 2): found 3 values", "ends with a separator"),
        ("by X\na,b\n1,2\n", "row 1 (line 2): found 2 values", "header = 2"),
        ('a,b\n1,"x\n2,y\n', "line 2: a quotation mark is opened and not closed", "close it"),
    ],
)
def test_rows_unlike_their_header_are_named(save, text, place, hint):
    error = refusal(save(text))
    assert place in error.message
    assert hint in error.hint


def test_a_long_row_is_named_wherever_it_stands(save):
    lines = ["a,b"] + [f"{i},{i / 7}" for i in range(60_000)]
    lines[55_001] += ",9"
    assert "row 55001 (line 55002): found 3 values" in refusal(save("\n".join(lines))).message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        ("a,b\n", "column names and no rows below them: 'a', 'b'"),
        ("a,b\n,\n", "no rows below"),
        ("a,b,a\n1,2,3\n", "'a' appears twice (columns 1 and 3)"),
        ("a,b, a \n1,2,3\n", "'a' appears twice"),
        ("a,,b\n1,x,3\n", "column 2 of 3 has no name; its first value is 'x'"),
    ],
)
def test_tables_without_rows_or_names_are_refused(save, text, message):
    assert message in refusal(save(text)).message


def test_what_spreadsheets_leave_behind_is_left_out_with_a_note(save):
    table = load_table(save("a;b;;\n1;2;;\n3;4;;\n;;;\n;;;\n"))
    assert values(table) == {"a": [1, 3], "b": [2, 4]}
    assert any("2 empty rows at the end" in note for note in table.notes)
    assert any("2 columns without a name" in note for note in table.notes)


def test_the_header_may_stand_further_down(save):
    path = save("Bench 3; 2024\n\na;y\n1;2\n3;4\n")
    table = load_table(path, Reading(header=3))
    assert values(table) == {"a": [1, 3], "y": [2, 4]}
    assert table.place(0) == "row 1 (line 4)"


def test_quotation_marks_hold_separators_and_lines(save):
    table = load_table(save('a,b,"c\n[K]"\n"x, y",1,2\n"two\nlines",3,4\n5" pipe,5,6\n'))
    assert values(table) == {"a": ["x, y", "two\nlines", '5" pipe'], "b": [1, 3, 5], "c [K]": [2, 4, 6]}
    assert "row 2 (line 4): a text of several lines" in table.notes[0]


# Decimals


@pytest.mark.parametrize(
    ("text", "message", "hints"),
    [
        ("a;b\n1,000;2\n2,500;3\n", "'1,000' can be read as 1.000 or as 1000", ['decimal = ","', 'thousands = ","']),
        ("a;b\n1.234;2\n5.678;3\n", "'1.234' can be read as 1.234 or as 1234", ['decimal = "."', 'thousands = "."']),
        ("a;b\n0,5;0.5\n1,5;2.5\n", "commas and decimal points: '0,5' in column 'a', row 1", ["labels"]),
        ("a;b\n1.234;0,5\n5.678;3\n", "found '1.234', expected a number with a decimal comma", ['thousands = "."']),
        ("a;b\n1 234;0,5\n5 678;3\n", "column 'a', row 1 (line 2): found '1 234'", ['thousands = " "']),
    ],
)
def test_numbers_that_can_be_read_in_two_ways_are_asked_about(save, text, message, hints):
    error = refusal(save(text))
    assert message in error.message
    for hint in hints:
        assert hint in error.hint


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("a;b\n1,000;2\n2,500;3\n", {"decimal": ","}, {"a": [1.0, 2.5], "b": [2, 3]}),
        ("a;b\n1,000;2\n2,500;3\n", {"thousands": ","}, {"a": [1000, 2500], "b": [2, 3]}),
        ("a;b\n1.234;2\n5.678;3\n", {"decimal": "."}, {"a": [1.234, 5.678], "b": [2, 3]}),
        ("a;b\n1.234;2\n5.678,5;3\n", {"thousands": "."}, {"a": [1234.0, 5678.5], "b": [2, 3]}),
        ("a;b\n1\u202f234;0,5\n5 678;3\n", {"thousands": "space"}, {"a": [1234, 5678], "b": [0.5, 3.0]}),
        ("a;b\n1'234;1\n5’678.5;3\n", {"thousands": "apostrophe"}, {"a": [1234.0, 5678.5], "b": [1, 3]}),
        ("a;b\n1.234,5;1\n1.000;3\n", {}, {"a": [1234.5, 1000], "b": [1, 3]}),
        ('a,b\n"1,234,567",1.5\n"1,000",3\n', {}, {"a": [1234567, 1000], "b": [1.5, 3]}),
        ('a,b\n"0,5",1\n"1,5",3\n', {}, {"a": [0.5, 1.5], "b": [1, 3]}),
        ("a,b\n−5,+1\n-6,+2\n", {}, {"a": [-5, -6], "b": [1, 2]}),
        ("a,b\n1E+05,.5\n2e-3,5.\n", {}, {"a": [1e5, 2e-3], "b": [0.5, 5.0]}),
    ],
)
def test_numbers_in_other_ways_of_writing(save, text, options, expected):
    assert values(load_table(save(text), Reading(**options))) == expected


def test_a_decimal_point_where_commas_were_announced(save):
    error = refusal(save("a;b\n1.5;0,5\n5.5;3\n"), Reading(decimal=","))
    assert "column 'a', row 1 (line 2): found '1.5', expected a number with a decimal comma" in error.message
    assert error.hint.startswith("if '.' stands before decimals: decimal = \".\"")


def test_a_group_of_two_digits_is_no_thousand(save):
    error = refusal(save('a,b\n"1,5",1\n"1,000",2\n7,3\n'), Reading(thousands=","))
    assert "column 'a', row 1 (line 2): found '1,5'" in error.message


def test_numbers_keep_every_digit(save):
    numbers = [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, 2.2250738585072011e-308, -0.0]
    table = load_table(save("a,b\n" + "".join(f"{v!r},9007199254740993\n" for v in numbers)))
    assert [v.hex() for v in table.frame["a"]] == [v.hex() for v in numbers]
    assert table.frame["b"].tolist() == [9007199254740993] * 6


# Text: labels and codes


def test_a_level_called_na_is_kept_and_counted(save):
    rows = [f"{region},{i / 100},{10 * k + i / 100}" for i in range(100) for k, region in enumerate(("NA", "EU", "AS"))]
    path = save("region,x,y\n" + "\n".join(rows))
    data, _, warnings = load(path)
    assert data.space["region"].levels == ("AS", "EU", "NA")
    assert data.frame["region"].value_counts().to_dict() == {"NA": 100, "EU": 100, "AS": 100}
    assert "'NA' (100 times) is kept as a label" in warnings[0]


@pytest.mark.parametrize("word", ["NA", "None", "null", "n/a", "nan", "NULL", "#N/A", "<NA>"])
def test_words_for_nothing_are_labels_among_labels_and_missing_among_numbers(save, word):
    labels = load_table(save(f"a,y\n{word},1\nx,2\nz,3\n"))
    assert labels.frame["a"].tolist() == [word, "x", "z"]
    numbers = load_table(save(f"a,y\n{word},1\n2,2\n3.5,3\n"))
    assert numbers.frame["a"].isna().tolist() == [True, False, False]
    assert numbers.words == {"a": {word: 1}}


def test_codes_with_a_label_called_na_are_never_two_levels(save):
    path = save("code,y\n" + "NA,1\n1,2\n2,3\n" * 4)
    with pytest.raises(DataError) as caught:
        load(path)
    assert "code: 4 of 12 empty, first in row 1 (line 2) ('NA' 4 times)" in caught.value.message
    assert 'labels = ["code"]' in caught.value.hint
    assert load(path, labels=["code"])[0].space["code"].levels == ("1", "2", "NA")


def test_codes_come_back_as_written(save):
    path = save("code,y\n010,1\n020,2\n100,3\n007,4\n")
    assert load_table(path, Reading(labels=["code"])).frame["code"].tolist() == ["010", "020", "100", "007"]
    table = load_table(path)
    assert table.frame["code"].tolist() == [10, 20, 100, 7]
    assert "'010' was read as a number" in table.notes[0]
    assert load(path, labels=["code"])[0].space["code"].levels == ("007", "010", "020", "100")


def test_a_text_among_numbers_is_named(save):
    path = save("a,y\n1,1\n2,2\n-,3\n4,4\n5,?\n")
    error = refusal(path)
    assert "column 'a', row 3 (line 4): found '-', expected a number, as 4 of 5 values are" in error.message
    assert 'missing = ["-"]' in error.hint
    assert 'labels = ["a"]' in error.hint
    table = load_table(path, Reading(missing=["-", "?"]))
    assert table.frame.isna().sum().to_dict() == {"a": 1, "y": 1}
    assert load_table(path, Reading(labels=["a"], missing=["?"])).frame["a"].tolist() == ["1", "2", "-", "4", "5"]


def test_a_number_may_stand_for_no_value(save):
    table = load_table(save("a,y\n-999,1\n2,2\n3,-999\n"), Reading(missing=["-999"]))
    assert table.frame.isna().to_dict("list") == {"a": [True, False, False], "y": [False, False, True]}


def test_true_and_false(save):
    table = load_table(save("a,b,y\ntrue,FALSE,1\nfalse,TRUE,2\n"))
    assert values(table) == {"a": [True, False], "b": [False, True], "y": [1, 2]}
    assert table.frame["a"].dtype == bool


def test_columns_that_are_not_needed_are_not_looked_at(save):
    path = save("a,when,y\n1,x,1\n2,3,2\n3,4,3\n")
    refusal(path)
    assert list(load_table(path, columns=["y", "a"]).frame) == ["a", "y"]
    assert list(load_table(path, Reading(leave_out=["when"])).frame) == ["a", "y"]
    assert "'wen', and there is no such column" in refusal(path, Reading(leave_out=["wen"])).message
    assert "did you mean 'when'" in refusal(path, columns=["whem"]).hint


# Encodings, and files that are not what they are called


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_that_say_what_they_are(save, encoding):
    table = load_table(save("größe;y\n0,5;1\n1,5;2\n".encode(encoding)))
    assert values(table) == {"größe": [0.5, 1.5], "y": [1, 2]}
    assert table.notes == ()


def test_an_encoding_that_is_assumed_is_said(save):
    path = save("größe;y\n0,5;1\n".encode("cp1252"))
    table = load_table(path)
    assert list(table.frame) == ["größe", "y"]
    assert "Windows-1252 (first in line 1: 'ö')" in table.notes[0]
    assert load_table(path, Reading(encoding="latin-1")).notes == ()
    error = refusal(path, Reading(encoding="utf-8"))
    assert "line 1: byte 0xf6" in error.message


def test_wide_text_without_a_mark_is_recognised(save):
    path = save("a;y\n0,5;1\n".encode("utf-16-le"))
    assert 'encoding = "utf-16-le"' in refusal(path).hint
    assert values(load_table(path, Reading(encoding="utf-16-le"))) == {"a": [0.5], "y": [1]}


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("t.csv", b"PAR1\x15\x04\x15", "a parquet file"),
        ("t.csv", b"PK\x03\x04....xl/workbook.xml", "an Excel file"),
        ("t.csv", b"PK\x03\x04....notes.txt", "a zip archive"),
        ("t.csv", b"\x1f\x8b\x08", "a gzip archive"),
        ("t.csv", b"\xd0\xcf\x11\xe0\xa1\xb1", "an old Excel file"),
        ("t.csv", b"\n<!DOCTYPE html><html>", "an HTML page"),
        ("t.csv", b'{"a": 1}', "a JSON file"),
        ("t.csv", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("t.txt", bytes(range(256)), "a binary file"),
        ("t.parquet", b"a,b\n1,2\n", "a text file"),
        ("t.parquet", b"PK\x03\x04....xl/workbook.xml", "an Excel file"),
        ("t.xlsx", b"a,b\n1,2\n", "a text file"),
        ("t.xlsx", b"PAR1\x15\x04\x15", "a parquet file"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(save, name, content, found):
    error = refusal(save(content, name))
    assert f"is called {Path(name).suffix}, but it is {found}" in error.message
    assert error.hint


@pytest.mark.parametrize("name", ["t.json", "t.doc", "t.feather", "t"])
def test_other_files_are_refused_with_the_list_of_those_that_can_be_read(save, name):
    error = refusal(save("a,b\n1,2\n", name))
    assert "which can't be read" in error.message
    assert all(ending in error.hint for ending in READERS)


def test_missing_files_folders_and_damaged_ones(save, tmp_path):
    save("a,b\n1,2\n", "table.csv")
    assert "did you mean 'table.csv'" in refusal(tmp_path / "tabel.csv").hint
    (tmp_path / "data.csv").mkdir()
    assert "found a folder" in refusal(tmp_path / "data.csv").message
    assert "parquet file can't be read" in refusal(save(b"PAR1" + bytes(99), "cut.parquet")).message


# Parquet's types


def every_type(null=None):
    """Return one column of each type, and where wanted with nothing in row 3."""
    n = 4

    def column(items, kind):
        items = list(items)
        if null:
            items[2] = None
        return pa.array(items, kind)

    return {
        "whole": column(range(n), pa.int64()),
        "flag": column([True, False, True, False], pa.bool_()),
        "grade": column(["A", "B", "A", "NA"], pa.string()).dictionary_encode(),
        "price": column([Decimal("0.10"), Decimal("2.25"), Decimal("3.50"), Decimal("7.70")], pa.decimal128(5, 2)),
        "half": column(np.array([0.5, 1.5, 2.5, 3.5], np.float16), pa.float16()),
        "byte": column([1, 2, 250, 255], pa.uint8()),
        "text": column(["x", "10", "None", "z"], pa.large_string()),
    }


KINDS = {
    "whole": "integer",
    "flag": "binary",
    "grade": "categorical",
    "price": "continuous",
    "half": "continuous",
    "byte": "integer",
    "text": "categorical",
}


def test_parquet_columns_are_what_their_types_say(parquet):
    path = parquet({**every_type(), "y": [1.0, 2.0, 3.0, 4.0]})
    data, notes, _ = load(path)
    assert {v.name: v.kind for v in data.space.variables} == KINDS
    assert data.frame["price"].tolist() == [0.1, 2.25, 3.5, 7.7]
    assert data.frame["half"].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert data.frame["byte"].tolist() == [1, 2, 250, 255]
    assert data.frame["grade"].tolist() == ["A", "B", "A", "NA"]
    assert "parquet, 4 rows, 8 columns" in notes[0]


@pytest.mark.parametrize("name", KINDS)
def test_a_null_in_any_parquet_column_is_named_with_its_row(parquet, name):
    path = parquet({name: every_type(null=True)[name], "y": [1.0, 2.0, 3.0, 4.0]})
    with pytest.raises(DataError, match=rf"{name}: 1 of 4 empty, first in row 3"):
        load(path)


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (pa.array([datetime.datetime(2024, 1, 1)] * 4), "times (timestamp[us])"),
        (pa.array([datetime.date(2024, 1, 1)] * 4), "times (date32[day])"),
        (pa.array([datetime.timedelta(1)] * 4), "times (duration[us])"),
        (pa.array([[1, 2]] * 4), "lists (list<"),
        (pa.array([{"a": 1}] * 4), "records (struct<"),
        (pa.array([b"ab"] * 4), "bytes (binary)"),
    ],
)
def test_parquet_columns_of_other_kinds_are_refused_by_name(parquet, column, found):
    path = parquet({"a": [1, 2, 3, 4], "odd": column, "y": [1.0, 2.0, 3.0, 4.0]})
    error = refusal(path)
    assert f"column 'odd' holds {found}" in error.message
    assert 'leave_out = ["odd"]' in error.hint
    assert load(path, leave_out=["odd"])[0].space.names == ("a",)
    assert load(path, inputs=["a"])[0].space.names == ("a",)


def test_every_unusable_column_is_named_at_once(parquet):
    day = pa.array([datetime.date(2024, 1, 1)] * 2)
    error = refusal(parquet({"a": [1, 2], "when": day, "curve": [[1], [2]]}))
    assert "'when'" in error.message
    assert "'curve'" in error.message
    assert 'leave_out = ["when", "curve"]' in error.hint


def test_a_pandas_index_in_a_parquet_file_is_left_out(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"a": [3.0, 1.0, 2.0]}, index=[7, 8, 9])
    frame.to_parquet(path)
    table = load_table(path)
    assert list(table.frame) == ["a"]
    assert "pandas index" in table.notes[0]
    assert table.index.tolist() == [7, 8, 9]
    assert len(load_table(path, Reading(index="keep")).frame.columns) == 2
    frame.reset_index(drop=True).to_parquet(path)
    assert load_table(path).notes == ()


def test_parquet_rows_names_and_labels(parquet, tmp_path):
    assert "no rows" in refusal(parquet({"a": pa.array([], pa.int64())})).message
    path = parquet({"a": [10, 20], "y": [1, 2]})
    assert load_table(path, Reading(labels=["a"])).frame["a"].tolist() == ["10", "20"]
    big = parquet({"a": pa.array([2**64 - 1, 1], pa.uint64())})
    assert load_table(big).frame["a"].tolist() == [2**64 - 1, 1]
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "d.parquet")
    assert "'a' appears twice" in refusal(tmp_path / "d.parquet").message


def test_parquet_rows_can_be_skipped_and_names_are_cleaned(parquet):
    table = load_table(parquet({" T.in ": [1, 2, 3], "T": [4.5, 5.5, 6.5]}), Reading(skip_rows=[2]))
    assert values(table) == {"T.in": [1, 3], "T": [4.5, 6.5]}
    assert table.place(1) == "row 3"


def test_an_option_that_a_file_has_no_use_for_is_named(parquet, save):
    assert (
        "separator, missing: not used"
        in load_table(parquet({"a": [1]}), Reading(separator=";", missing=["-"])).notes[0]
    )
    assert "sheet: not used for a .csv file" in load_table(save("a,b\n1,2\n"), Reading(sheet=1)).notes


# Excel


def test_an_excel_sheet(excel):
    path = excel(Data=[["a", "grade", "ok", "y"], [1, "NA", True, 0.5], [2, "B", False, 1.5], [3, "C", True, 2.5]])
    table = load_table(path)
    assert values(table) == {"a": [1, 2, 3], "grade": ["NA", "B", "C"], "ok": [True, False, True], "y": [0.5, 1.5, 2.5]}
    assert table.understood == ("3 rows, 4 columns",)


def test_an_excel_table_may_stand_anywhere_on_its_sheet(excel):
    path = excel(Data=[[], [None, "a", "y"], [None, "one", "two"], [None, 1, 2], [None, 3, 4], [None, "5,5", 6]])
    error = refusal(path)
    assert "column 'a', row 1 (row of the sheet 3): found 'one'" in error.message
    assert "row 4 (row of the sheet 6): found '5,5'" in refusal(path, Reading(skip_rows=1, decimal=".")).message
    table = load_table(path, Reading(skip_rows=1))
    assert values(table) == {"a": [1.0, 3.0, 5.5], "y": [2, 4, 6]}
    assert table.place(0) == "row 2 (row of the sheet 4)"


def test_an_excel_sheet_is_named_where_there_are_several(excel):
    path = excel(Data=[["a", "y"], [1, 2]], Notes=[["hello"], [1]], Empty=[])
    error = refusal(path)
    assert "2 sheets contain data: 'Data' (2 rows, 2 columns), 'Notes' (2 rows, 1 column)" in error.message
    assert 'sheet = "Data"' in error.hint
    assert values(load_table(path, Reading(sheet="Data"))) == {"a": [1], "y": [2]}
    assert values(load_table(path, Reading(sheet=1))) == {"a": [1], "y": [2]}
    assert "did you mean 'Data'" in refusal(path, Reading(sheet="Dat")).hint
    assert "there is no sheet 7" in refusal(path, Reading(sheet=7)).message


def test_excel_dates_are_refused_and_codes_kept(excel):
    path = excel(Data=[["when", "code", "y"], [datetime.date(2024, 1, 1), "010", 1], [None, "020", 2]])
    error = refusal(path)
    assert "column 'when', row 1 (row of the sheet 2): found a date or a time (2024-01-01" in error.message
    table = load_table(path, Reading(leave_out=["when"], labels=["code"]))
    assert values(table) == {"code": ["010", "020"], "y": [1, 2]}


def test_excel_without_calamine_names_the_extra(save, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "python_calamine", None)
    error = refusal(save(b"PK\x03\x04....xl/workbook.xml", "t.xlsx"))
    assert "pip install 'invdesign[excel]'" in error.hint


# The dataset


def measured(rows: int = 400, every: bool = False) -> str:
    """Return a table in which y2 was measured in 120 of 400 rows."""
    x = np.random.default_rng(0).random((rows, 2))
    lines = [f"{a},{b},{a + b},{a - b if i >= 280 or every else ''}" for i, (a, b) in enumerate(x)]
    return "x1,x2,y1,y2\n" + "\n".join(lines) + "\n"


def test_empty_outputs_are_refused_with_their_count_and_the_option(save):
    path = save(measured())
    with pytest.raises(DataError) as caught:
        load(path, ("y1", "y2"))
    assert "y2: 280 of 400 empty, first in row 1 (line 2)" in caught.value.message
    assert 'missing_outputs = "own-rows"' in caught.value.hint
    data, _, _ = load(path, ("y1", "y2"), missing_outputs="own-rows")
    assert data.partial
    assert np.isfinite(data.y).sum(axis=0).tolist() == [400, 120]


def test_a_row_without_any_output_is_named_where_outputs_may_be_missing(save):
    path = save("a,y1,y2\n1,1,\n2,,\n3,,3\n4,4,4\n5,5,5\n")
    with pytest.raises(DataError) as caught:
        load(path, ("y1", "y2"), missing_outputs="own-rows")
    assert "rows without any output: 1 of 5, first row 2 (line 3)" in caught.value.message
    assert "skip_rows = [2]" in caught.value.hint
    assert len(load(path, ("y1", "y2"), missing_outputs="own-rows", skip_rows=[2])[0].frame) == 4


def test_an_empty_input_is_refused_with_its_place_and_what_to_do(save):
    path = save("a,b,y\nmm,mm,N\n1,1,1\n2,,2\n3,3,3\n4,4,4\n5,5,5\n")
    with pytest.raises(DataError) as caught:
        load(path, skip_rows=1)
    assert "b: 1 of 5 empty, first in row 3 (line 4)" in caught.value.message
    assert "skip_rows = [1, 3]" in caught.value.hint  # with what is left out already
    assert len(load(path, skip_rows=[1, 3])[0].frame) == 4


def test_a_row_that_is_none_is_left_out_beside_those_that_are_left_out_already(save):
    path = save("a,b\nmm,N\n1,2\n3\n5,6\n")
    assert "skip_rows = [1, 3]" in refusal(path, Reading(skip_rows=1)).hint
    assert load_table(path, Reading(skip_rows=[1, 3])).frame["b"].tolist() == [2, 6]


def test_an_empty_place_tells_of_the_other_columns_that_have_some(save):
    path = save("a,b,y,z\n1,,1,\n,2,2,2\n3,3,3,3\n4,4,4,4\n5,5,5,5\n")
    with pytest.raises(DataError) as caught:
        load(path, ("y", "z"))
    assert "empty in places too: 'b', 'z'" in caught.value.hint
    with pytest.raises(DataError) as caught:
        load(path, ("y", "z"), missing_outputs="own-rows")
    assert caught.value.hint.endswith("empty in places too: 'b'")


def test_a_group_column_is_no_design_variable(save):
    path = save("batch,a,y\n" + "".join(f"L{i // 5},{i / 3},{i}\n" for i in range(20)))
    data, _, _ = load(path, groups="batch")
    assert data.space.names == ("a",)
    assert data.groups.tolist() == [f"L{i // 5}" for i in range(20)]
    with pytest.raises(ValidationError, match="neither input nor output"):
        Table(path=path, outputs=["y"], inputs=["batch", "a"], groups="batch")
    with pytest.raises(DataError, match="no column 'bach'"):
        load(path, groups="bach")


def test_an_output_of_text_is_named_with_its_place(save):
    with pytest.raises(DataError, match=r"output 'y', row 1 \(line 2\): found text 'good'"):
        load(save("a,y\n1,good\n2,bad\n3,good\n4,bad\n"))


def test_what_was_understood_is_said_in_one_line(save):
    data, notes, warnings = load(save("a;b;y\n0,5;x;2,0\n1,25;z;3,75\n1,5;x;3\n2;z;4\n"))
    assert notes == ["t.csv: separator ';', decimal comma, 4 rows, 3 columns; a (continuous), b (categorical)"]
    assert warnings == []
    assert data.space["b"].levels == ("x", "z")


def test_two_files_belong_together_row_by_row(save, tmp_path):
    save("a;code\n0,5;010\n1,5;020\n2,5;010\n3,5;020\n", "features.csv")
    save("y\n1.5\n2.5\n3.5\n4.5\n", "targets.csv")
    both = {"features": tmp_path / "features.csv", "targets": tmp_path / "targets.csv"}
    data = Table(**both, labels=["code"]).load(Context())
    assert data.space.names == ("a", "code")
    assert data.space["code"].levels == ("010", "020")
    assert data.outputs == ("y",)
    with pytest.raises(DataError, match="'cod', and there is no such column"):
        Table(**both, labels=["cod"]).load(Context())
    save("y\n1.5\n2.5\n", "targets.csv")
    with pytest.raises(DataError, match="has 4 rows"):
        Table(**both).load(Context())


def test_two_files_in_different_orders_are_refused(save, tmp_path):
    frame = pd.DataFrame({"a": [0.5, 1.5, 2.5, 3.5], "y": [3.0, 1.0, 4.0, 2.0]})
    save(frame[["a"]].to_csv(), "features.csv")
    save(frame[["y"]].sort_values("y").to_csv(), "targets.csv")
    both = {"features": tmp_path / "features.csv", "targets": tmp_path / "targets.csv"}
    with pytest.raises(DataError, match=r"row numbers in their first columns differ: 0 and 1 in row 1 \(line 2\)"):
        Table(**both).load(Context())
    assert Table(**both, index="drop").load(Context()).frame["y"].tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    "options",
    [
        {"separator": ""},
        {"separator": ";;"},
        {"decimal": ",", "thousands": ","},
        {"encoding": "utf-88"},
        {"skip_rows": -1},
        {"skip_rows": [0]},
        {"header": 0},
        {"label": ["a"]},
    ],
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValidationError):
        Reading(**options)


def test_the_options_of_reading_are_those_of_the_dataset():
    assert set(Reading.model_fields) <= set(Table.model_fields)
    assert all(field.description for field in Reading.model_fields.values())
    with pytest.raises(ValidationError, match="in both `outputs` and `labels`"):
        Table(path="t.csv", outputs=["y"], labels=["y"])


def test_files_are_only_read(save, parquet):
    for path in (save("a;y\n0,5;1\n"), parquet({"a": [1]})):
        before = path.read_bytes(), path.stat().st_mtime_ns
        path.chmod(0o444)
        read_table(path)
        assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_the_reformer_table_is_read_to_the_last_digit(reformer):
    table = load_table(reformer)
    assert table.understood == ("separator ',', 2800 rows, 15 columns",)
    plain = [line.split(",") for line in reformer.read_text().splitlines()]
    assert list(table.frame) == [name.strip() for name in plain[0]]
    assert (table.frame.to_numpy() == np.array([[float(v) for v in row] for row in plain[1:]])).all()


# Any table, in any dialect

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\x1e\x1f"), min_size=1, max_size=8).filter(
    lambda text: text == text.strip() and text == text.strip("\ufeff\u180e\u200b")
)
COLUMNS = st.sampled_from(["float", "int", "text"])
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTS = st.integers(-(2**63), 2**63 - 1)


@st.composite
def tables(draw):
    kinds = draw(st.lists(COLUMNS, min_size=1, max_size=4))
    rows = draw(st.integers(1, 6))
    draws = {"float": FLOATS, "int": INTS, "text": TEXTS}
    return [(kind, draw(st.lists(draws[kind], min_size=rows, max_size=rows))) for kind in kinds]


def written(columns, separator: str, decimal: str, end: str, quoting: int, blanks: bool) -> str:
    def cell(kind, value):
        text = repr(value).replace(".", decimal) if kind != "text" else value
        return f" {text} " if blanks and kind != "text" else text

    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=separator, lineterminator=end, quoting=quoting)
    writer.writerow([f"{kind}_{i}" for i, (kind, _) in enumerate(columns)])
    writer.writerows(zip(*([cell(kind, v) for v in items] for kind, items in columns), strict=True))
    return buffer.getvalue()


def check(columns, table: LoadedTable) -> None:
    assert list(table.frame) == [f"{kind}_{i}" for i, (kind, _) in enumerate(columns)]
    for (kind, expected), name in zip(columns, table.frame, strict=True):
        found = table.frame[name].tolist()
        if kind == "float":
            found, expected = [v.hex() for v in found], [v.hex() for v in expected]
        assert found == expected, name


dialects = {
    "columns": tables(),
    "separator": st.sampled_from(",;\t|"),
    "decimal": st.sampled_from(".,"),
    "end": st.sampled_from(["\n", "\r\n"]),
    "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    "blanks": st.booleans(),
    "encoding": st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
}
quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(**dialects)
def test_any_table_in_any_dialect_is_read_exactly_when_told(save, columns, separator, decimal, encoding, **style):
    path = save(written(columns, separator, decimal, **style).encode(encoding))
    labels = [f"{kind}_{i}" for i, (kind, _) in enumerate(columns) if kind == "text"]
    check(columns, load_table(path, Reading(separator=separator, decimal=decimal, labels=labels)))


@quick
@given(**dialects)
def test_any_table_in_any_dialect_is_read_exactly_or_asked_about(save, columns, separator, decimal, encoding, **style):
    path = save(written(columns, separator, decimal, **style).encode(encoding))
    labels = [f"{kind}_{i}" for i, (kind, _) in enumerate(columns) if kind == "text"]
    try:
        table = load_table(path, Reading(labels=labels))
    except DataError:
        return
    check(columns, table)
