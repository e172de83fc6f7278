"""Spreadsheets of every kind are read alike; formulas without values, and what stands beside a table, are told."""

from __future__ import annotations

import datetime
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import xlsx

from invdesign_core.data.files.formulas import unstored
from invdesign_core.data.files.load import load_table
from invdesign_core.data.files.options import Reading
from invdesign_core.data.own_columns import read_designs
from invdesign_core.errors import DataError

HEAD = ["gap", "grade", "ok", "loss"]
ROWS = [[0.5 * i, "A" if i % 2 else "B", bool(i % 2), 1.5 * i] for i in range(6)]
OLD = Path(__file__).parent / "files" / "old.xls"
"""HEAD and ROWS as Excel 97 has them, written by xlwt."""


def ods(path, **sheets):
    """Write an OpenDocument spreadsheet as LibreOffice does, with the empty rows and columns that it ends with."""

    def cell(value):
        if value is None:
            return "<table:table-cell/>"
        kind, key, text = "float", "value", value
        if isinstance(value, bool):
            kind, key, text = "boolean", "boolean-value", str(value).lower()
        elif isinstance(value, datetime.date):
            kind, key = "date", "date-value"
        elif isinstance(value, str):
            return f'<table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell>'
        shown = f"<text:p>{value}</text:p></table:table-cell>"
        return f'<table:table-cell office:value-type="{kind}" office:{key}="{text}">{shown}'

    end = (
        '<table:table-row table:number-rows-repeated="1048000"><table:table-cell table:number-columns-repeated="999"/>'
    )
    body = "".join(
        f'<table:table table:name="{title}">'
        + "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows)
        + f"{end}</table:table-row></table:table>"
        for title, rows in sheets.items()
    )
    names = " ".join(f'xmlns:{n}="urn:oasis:names:tc:opendocument:xmlns:{n}:1.0"' for n in ("office", "table", "text"))
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", kind)
        archive.writestr(
            "content.xml",
            f'<?xml version="1.0"?><office:document-content {names} office:version="1.2"><office:body>'
            f"<office:spreadsheet>{body}</office:spreadsheet></office:body></office:document-content>",
        )
        archive.writestr(
            "META-INF/manifest.xml",
            '<?xml version="1.0"?><m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
            f'<m:file-entry m:full-path="/" m:media-type="{kind}"/></m:manifest>',
        )
    return path


def xlsb(path, Runs):
    """Write Excel's binary file: records of a type, a length and data ([MS-XLSB] 2.1.4)."""

    def record(kind, data=b""):
        head = bytes([kind]) if kind < 128 else bytes([kind & 127 | 128, kind >> 7])
        return head + bytes([len(data)]) + data

    def wide(text):
        return struct.pack("<I", len(text)) + text.encode("utf-16-le")

    def cell(column, value):
        head = struct.pack("<II", column, 0)
        if isinstance(value, bool):
            return record(4, head + bytes([value]))
        return record(6, head + wide(value)) if isinstance(value, str) else record(5, head + struct.pack("<d", value))

    sheet = record(148, struct.pack("<4I", 0, len(Runs) - 1, 0, len(Runs[0]) - 1)) + record(145)
    for number, row in enumerate(Runs):
        sheet += record(0, struct.pack("<I", number) + bytes(21)) + b"".join(map(cell, range(len(row)), row))
    book = record(143) + record(156, struct.pack("<II", 0, 1) + wide("rId1") + wide("Runs")) + record(144)
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.bin", record(131) + book + record(132))
        archive.writestr("xl/worksheets/sheet1.bin", record(129) + sheet + record(146) + record(130))
        archive.writestr(
            "xl/_rels/workbook.bin.rels",
            '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="rId1" Type="{relation}" Target="worksheets/sheet1.bin"/></Relationships>',
        )
    return path


@pytest.mark.parametrize("ending", ["xlsx", "xlsm", "ods", "xlsb", "xls"])
def test_every_spreadsheet_of_the_same_cells_is_the_same_table(tmp_path, ending):
    path = tmp_path / f"t.{ending}"
    if ending == "xls":
        shutil.copy(OLD, path)
    else:
        write = {"ods": ods, "xlsb": xlsb}.get(ending, xlsx)
        write(path, Runs=[HEAD, *ROWS])
    frame = load_table(path).frame
    assert frame.to_numpy().tolist() == ROWS
    assert [dtype.kind for dtype in frame.dtypes] == ["f", "O", "b", "f"]


def test_a_spreadsheet_with_the_ending_of_another_one_is_read_and_what_is_none_is_called_what_it_is(tmp_path):
    for name in ("t.xlsx", "t.xls", "t.xlsb"):
        assert len(load_table(ods(tmp_path / name, Runs=[HEAD, *ROWS])).frame) == 6
    (tmp_path / "a.xls").write_text("gap\tloss\n1\t2\n")
    with pytest.raises(DataError, match=r"called \.xls, but it is a text file"):
        load_table(tmp_path / "a.xls")
    shutil.copy(OLD, tmp_path / "b.csv")
    with pytest.raises(DataError, match="but it is an old Excel file"):
        load_table(tmp_path / "b.csv")


@pytest.mark.parametrize("write", [xlsx, ods])
def test_sheets_are_listed_with_their_sizes(tmp_path, write):
    path = write(tmp_path / f"t.{write.__name__}", Notes=[["hello"], [None], ["world"]], Runs=[HEAD, *ROWS])
    with pytest.raises(DataError) as error:
        load_table(path)
    assert "2 sheets contain data: 'Notes' (2 rows, 1 column), 'Runs' (7 rows, 4 columns)" in error.value.message
    assert error.value.hint == 'choose one, such as the largest: sheet = "Runs"'
    assert len(load_table(path, Reading(sheet="Runs")).frame) == 6


@pytest.mark.parametrize("write", [xlsx, ods])
def test_columns_of_dates_are_named_together_and_only_where_they_are_needed(tmp_path, write):
    day = datetime.date(2024, 1, 2)
    path = write(tmp_path / f"t.{write.__name__}", Runs=[["from", "gap", "to"], [None, 1.5, day], [day, 2.5, day]])
    with pytest.raises(DataError) as error:
        load_table(path)
    assert "column 'from', row 2 (row of the sheet 3): found a date or a time" in error.value.message
    assert "the same goes for 'to'" in error.value.message
    assert 'leave it out: leave_out = ["from", "to"]' in error.value.hint
    assert load_table(path, columns=["gap"]).refused == ("from", "to")
    assert load_table(path, Reading(leave_out=["from", "to"])).frame["gap"].tolist() == [1.5, 2.5]


def test_formulas_without_stored_values_are_called_that_where_they_are_needed(tmp_path):
    rows = [["a", "b", "sum", "y"], *([i, 2.5 * i, f"=A{i + 2}+B{i + 2}", 1.0] for i in range(4))]
    path = xlsx(tmp_path / "t.xlsx", Notes=[], Runs=[[], [None, *rows[0]], *([None, *row] for row in rows[1:])])
    with pytest.raises(DataError) as error:
        load_table(path)
    assert (
        "column 'sum', row 1 (row of the sheet 3): found a formula without a stored value (4 such cells)"
        in error.value.message
    )
    assert "open the file in Excel or LibreOffice and save it" in error.value.hint
    assert load_table(path, Reading(leave_out=["sum"])).frame["y"].tolist() == [1.0] * 4
    assert list(load_table(path, columns=["a", "y"]).frame) == ["a", "y"]
    path = xlsx(tmp_path / "all.xlsx", Runs=[["a", "y"], ["=1", "=2"], ["=3", "=4"]])
    with pytest.raises(DataError, match=r"'a', row 1 .*: found a formula without a stored value"):
        load_table(path)


def test_formulas_with_values_and_empty_cells_are_no_such_formulas(tmp_path):
    path = xlsx(tmp_path / "t.xlsx", Runs=[["a", "b"], [1, "=A2"], [None, 2]])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert unstored(path.read_bytes(), "Runs") == {(2, 2)}
    sheet = "xl/worksheets/sheet1.xml"
    for empty in (b"<v></v>", b"<v/>", b"<v />"):
        parts[sheet] = parts[sheet].replace(b"</f>" + empty, b"</f><v>1</v>")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert unstored(path.read_bytes(), "Runs") == set()
    frame = load_table(path).frame
    assert frame["b"].tolist() == [1, 2]
    assert np.isnan(frame["a"][1])
    assert unstored(b"no archive", "Runs") == set()


@pytest.mark.parametrize("name", ["", "Unnamed: 3"])
def test_a_remark_beside_the_table_is_left_out_by_an_option_or_where_columns_are_named(tmp_path, name):
    path = tmp_path / "t.csv"
    path.write_text(f"a,b,y,{name}\n1,2,3,\n2,3,5,\n3,1,4,checked twice\n4,4,8,\n")
    with pytest.raises(DataError, match=r"column 4 of 4 has no name.*its first value is 'checked twice'") as error:
        load_table(path)
    assert "header = " not in error.value.hint
    assert 'leave_out = [""]' in error.value.hint
    for table in (load_table(path, Reading(leave_out=[""])), load_table(path, columns=["a", "b", "y"])):
        assert table.frame.to_numpy().tolist() == [[1, 2, 3], [2, 3, 5], [3, 1, 4], [4, 4, 8]]
        assert table.notes == ("column 4 of 4 without a name left out",)
    assert list(read_designs(path)) == ["a", "b", "y"]
    assert load_table(path, Reading(leave_out=["", "b"])).frame.columns.tolist() == ["a", "y"]


def test_the_hint_for_a_nameless_column_keeps_what_is_left_out_already_and_works(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("when,b,y,,\n1,u,v,w,x\n2,3,5,z,\n3,1,4,,\n4,2,2,,\n")
    with pytest.raises(DataError) as error:
        load_table(path, Reading(leave_out=["when"]))
    assert "header = " not in error.value.hint
    assert 'leave_out = ["when", ""]' in error.value.hint
    path.write_text("when,b,y,,\n1,2,3,,x\n2,3,5,z,\n")
    assert list(load_table(path, Reading(leave_out=["when", ""])).frame) == ["b", "y"]


def test_names_below_heads_of_groups_are_pointed_to(tmp_path):
    rows = [
        ["Series 7"],
        ["No.", "Recipe", None, "Tests"],
        [None, "Zn", "Mg", "YS"],
        *([i, i, 2 * i, 3] for i in (1, 2)),
    ]
    path = xlsx(tmp_path / "t.xlsx", Runs=rows)
    for header in (1, 2):
        with pytest.raises(DataError) as error:
            load_table(path, Reading(header=header))
        assert "header = 3" in error.value.hint
    assert load_table(path, Reading(header=3)).frame.columns.tolist() == ["Zn", "Mg", "YS"]


def test_what_stands_beside_the_table_adds_no_rows_to_it(tmp_path):
    beside = [["Analysis", None], ["mean", 1], ["count", 2], ["more", 3]]
    rows = [["a", "y", None, *beside[0]], [1, 2, None, *beside[1]], *([None] * 3 + row for row in beside[2:])]
    path = xlsx(tmp_path / "t.xlsx", Runs=rows)
    table = load_table(path, columns=["a", "y"])
    assert table.frame.to_numpy().tolist() == [[1, 2]]
    assert "2 empty rows at the end left out" in table.notes


def test_init_leaves_out_columns_that_hold_dates(invdesign, tmp_path):
    day = datetime.date(2024, 1, 2)
    xlsx(tmp_path / "t.xlsx", Runs=[["when", "gap", "loss"], *([day, i**0.5, 2.5 * i] for i in range(12))])
    done = invdesign("init", "t.xlsx", "--outputs", "loss")
    assert done.code == 0, done.err
    assert "'when' holds dates" in done.err
    assert 'leave_out = ["when"]' in (tmp_path / "t.toml").read_text()
    assert invdesign("validate", "t.toml").code == 0


@pytest.mark.parametrize("ending", ["xlsx", "ods", "parquet"])
def test_a_table_of_designs_may_hold_dates_and_remarks_besides(tmp_path, ending):
    import pandas as pd

    path = tmp_path / f"d.{ending}"
    rows = [[datetime.date(2024, 1, 2), 0.5, 1.5], [datetime.date(2024, 2, 3), 1.5, 2.5]]
    if ending == "parquet":
        pd.DataFrame(rows, columns=["when", "gap", "loss"]).to_parquet(path)
    else:
        (xlsx if ending == "xlsx" else ods)(path, Runs=[["when", "gap", "loss", None], *([*row, "x"] for row in rows)])
    frame = read_designs(path)
    assert frame["gap"].tolist() == [0.5, 1.5]
    assert frame["when"].tolist() == ["2024-01-02", "2024-02-03"]
    assert load_table(path, Reading(labels=["when"], leave_out=[""])).frame["when"].tolist() == frame["when"].tolist()
