"""No text that we write into CSV is a formula for a spreadsheet, and each is read back as it was."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pandas as pd
from conftest import called
from hypothesis import given, settings
from hypothesis import strategies as st

from invdesign_core.data.files.guards import guarded, unguarded
from invdesign_core.data.files.load import load_table
from invdesign_core.data.files.options import Reading
from invdesign_core.data.files.write import write_table

COMMAND = "+cmd|' /C calc'!A0"
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?%?|[+-]?\d*,\d*([eE][+-]?\d+)?%?")

texts = st.text(st.sampled_from("'=+-@＝\t\rab1.,5(|)!é"), min_size=1, max_size=6)


def is_computed(cell: str) -> bool:
    """Whether a spreadsheet would compute a cell that is no number."""
    return cell[:1] in tuple("=+-@\t\r＝＋－＠") and bool(re.search(r"\w", cell)) and not NUMBER.fullmatch(cell)


@settings(deadline=None)
@given(texts)
def test_no_text_is_computed_and_each_comes_back(text: str):
    assert not is_computed(guarded(text))
    assert unguarded(guarded(text)) == text
    if not is_computed(text.lstrip("'")):
        assert guarded(text) == text


@settings(deadline=None, max_examples=50)
@given(st.lists(texts.map(str.strip).filter(bool), min_size=2, max_size=6), texts.map(str.strip).filter(bool))
def test_a_table_is_read_back_as_it_was_written(labels: list[str], name: str):
    from tempfile import TemporaryDirectory

    name = re.sub(r"[\r\t]", "", name) + "x"  # a name has no line breaks, and is no number
    table = pd.DataFrame({name: labels, "y": [-1.5 * i for i in range(len(labels))]})
    with TemporaryDirectory() as folder:
        path = Path(folder, "table.csv")
        write_table(path, table)
        assert not any(is_computed(cell) for row in csv.reader(path.open(newline="")) for cell in row)
        found = load_table(path, Reading(labels=[name], header=1, separator=",", missing=[])).frame
    pd.testing.assert_frame_equal(found.astype({name: object}), table.astype({name: object}), check_dtype=False)


def test_numbers_and_lone_signs_stay_as_they_are():
    for text in ("-5", "+5", "-1.5e-3", "-0,5", "-", "--", "a=1", "10%", "-7%"):
        assert guarded(text) == text


def test_designs_of_such_labels_come_back_into_every_command(tmp_path: Path):
    """What `run` writes, and `predict` prints, has no formulas, and is read back."""
    kinds = [COMMAND, "-OH", "'=quoted"]
    rows = [(i % 3, i / 7 % 1) for i in range(30)]
    table = pd.DataFrame({"=a": [a for _, a in rows], "@kind": [kinds[k] for k, _ in rows]})
    table["y"] = 3 * table["=a"] + [float(k) for k, _ in rows]
    write_table(tmp_path / "table.csv", table)
    experiment = '[dataset]\nuse = "table"\npath = "table.csv"\noutputs = ["y"]\n'
    (tmp_path / "e.toml").write_text(experiment)

    def ran(*args: object) -> str:
        done = called([str(arg) for arg in (*args, "--quiet")], tmp_path, {})
        assert done.code in (0, 1), done
        return done.out

    ran("run", "e.toml", "--surrogate", "ridge", "--target", "y=2", "--out", "r", "--solver", "dataset-search")
    for text in (
        (tmp_path / "r/solve/1/designs.csv").read_text(),
        ran("predict", "r", "r/solve/1/designs.csv"),
    ):
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert not any(is_computed(cell) for cell in cells)
        assert any(cell in [guarded(kind) for kind in kinds] for cell in cells)
    wanted = pd.DataFrame({"y": [1.0, 2.0], "@kind": kinds[:2]})
    write_table(tmp_path / "wanted.csv", wanted)
    ran("solve", "r", "--targets", "wanted.csv", "--out", "found.csv", "--solver", "dataset-search")
    assert set(load_table(tmp_path / "found.csv").frame["design.@kind"]) <= set(kinds)
