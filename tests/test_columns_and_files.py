"""Columns that are named by patterns and by what they are for, and tables that are spread over several files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from invdesign_core.context import Context
from invdesign_core.data.data import Data
from invdesign_core.data.files.load import load_table
from invdesign_core.data.files.options import Reading
from invdesign_core.errors import DataError, ExitCode
from invdesign_plugins.datasets.table import Table

HEADER = "x1,x2,y1,y2,y1_std,note\n"
ROWS = [f"{i},{i / 4 + 0.1},{i * i},{i + 0.5},0.1,r{i % 3}\n" for i in range(8)]
WHOLE = HEADER + "".join(ROWS)


@pytest.fixture
def read(tmp_path):
    """Write files, and return what the table dataset makes of them, with what it says."""

    def load(files: dict[str, str], **options) -> tuple[Data, str]:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        said: list[str] = []
        ctx = Context(folder=tmp_path, emit=lambda event: said.append(str(event.data.get("text", ""))))
        return Table(**options).load(ctx), "\n".join(said)

    return load


# Columns by pattern


def test_columns_are_named_by_patterns_and_what_matched_is_said(read):
    data, said = read(
        {"a.csv": WHOLE},
        path="a.csv",
        outputs=["y?"],
        inputs=["x*"],
        kinds={"x*": "continuous", "x1": "levels"},
        leave_out=["*_std", "note"],
    )
    assert data.outputs == ("y1", "y2")
    assert [(v.name, v.kind) for v in data.space.variables] == [("x1", "levels"), ("x2", "continuous")]
    assert "outputs 'y?': 'y1', 'y2'; inputs 'x*': 'x1', 'x2'" in said
    assert "leave_out '*_std': 'y1_std'" in said


def test_what_is_left_out_is_no_output_of_a_pattern(read):
    data, said = read({"a.csv": WHOLE}, path="a.csv", outputs=["y*"], leave_out=["*_std"], labels=["n*"])
    assert data.outputs == ("y1", "y2")
    assert data.space.names == ("x1", "x2", "note")
    assert "labels 'n*': 'note'" in said


@given(st.text(st.sampled_from("ab*?[]!-"), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_column_of_exactly_that_name_wins_over_the_pattern(tmp_path, name):
    path = tmp_path / "t.csv"
    names = ["y", "aa", "abb", "b"]
    if name not in names:
        path.write_text(f"{','.join(names)},{name}\n" + "1,2,3,4,5\n" * 3)
        assert list(load_table(path, Reading(leave_out=[name])).frame) == names
        assert list(load_table(path, columns=[name]).frame) == [name]


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"outputs": ["z*"]}, "no column matches 'z*'", "choose from"),
        ({"outputs": ["y1"], "inputs": ["xx*"]}, "no column matches 'xx*'", "did you mean 'x"),
        ({"outputs": ["y1"], "kinds": {"q*": "integer"}}, "kinds: no column matches 'q*'", "choose from"),
        ({"outputs": ["y1"], "leave_out": ["nite*"]}, "leave_out: no column matches 'nite*'", "did you mean 'note'"),
        ({"outputs": ["y?"], "inputs": ["?1", "x2"]}, "'y1' is in both `outputs` and `inputs`", "name the columns"),
        ({"outputs": ["y*"], "weights": "y1_std"}, "'y1_std' is in `weights` and in `outputs`", "name the columns"),
        (
            {"outputs": ["y1"], "kinds": {"x*": "integer", "?2": "continuous"}},
            "'x2' matches '?2' and 'x*', which say different things",
            "name the column itself",
        ),
    ],
)
def test_patterns_that_match_nothing_or_too_much_are_refused(read, options, message, hint):
    with pytest.raises(DataError) as refused:
        read({"a.csv": WHOLE}, path="a.csv", **options)
    assert message in refused.value.message
    assert hint in str(refused.value.hint)


def test_patterns_find_the_variables_in_a_table_that_invdesign_wrote(read):
    table = "target,rank,design.x1,design.x2,prediction.y,y\n" + "".join(f"1,{i},{i},{i / 2},2,{i}\n" for i in range(6))
    data, _ = read({"a.csv": table}, path="a.csv", outputs=["y"], inputs=["x*"])
    assert data.space.names == ("x1", "x2")


def test_frames_in_python_are_told_the_same_patterns():
    frame = pd.DataFrame({name: np.arange(6) / (i + 2) for i, name in enumerate(["x1", "x2", "y1", "y2", "z*"])})
    data = Data.from_frame(frame, ["y*"], ["x?"], {"x*": "levels", "x2": "continuous"})
    assert data.outputs == ("y1", "y2")
    assert [(v.name, v.kind) for v in data.space.variables] == [("x1", "levels"), ("x2", "continuous")]
    assert Data.from_frame(frame, ["z*"]).outputs == ("z*",)
    with pytest.raises(DataError, match="outputs: no column matches 'q"):
        Data.from_frame(frame, ["q*"])


# Columns by role


def test_replicates_are_left_out_and_counted(read):
    table = "x,rep,y\n" + "".join(f"{i // 3}.5,{i % 3 + 1},{i}\n" for i in range(12))
    data, said = read({"a.csv": table}, path="a.csv", outputs=["y"], replicates="rep")
    assert data.space.names == ("x",)
    assert "12 measurements of 4 designs" in said
    _, said = read({"a.csv": WHOLE}, path="a.csv", outputs=["y1"], replicates="note")
    assert "no design is there twice" in said


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("weight", 'weights = "weight"'),
        ("Batch", 'groups = "Batch"'),
        ("group", 'groups = "group"'),
    ],
)
def test_columns_with_the_name_of_a_role_are_used_as_inputs_and_the_line_to_use_them_is_said(read, name, line):
    table = f"x,{name},y\n" + "".join(f"{i / 3},{i % 3 + 1},{i}\n" for i in range(12))
    data, said = read({"a.csv": table}, path="a.csv", outputs=["y"])
    assert name in data.space.names
    assert line in said
    key, value = line.replace('"', "").split(" = ")
    data, said = read({"a.csv": table}, path="a.csv", outputs=["y"], **{key: value})
    assert data.space.names == ("x",)
    assert line not in said
    _, said = read({"a.csv": table}, path="a.csv", outputs=["y"], inputs=["x", name])
    assert line not in said


def test_one_column_has_one_role():
    with pytest.raises(ValidationError, match="'a' is in `replicates` and in `groups`"):
        Table(path="a.csv", outputs=["y"], groups="a", replicates="a")


# Several tables


@given(st.integers(0, 2**32 - 1), st.sampled_from([",", ";", "\t"]))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_table_in_pieces_is_the_table(tmp_path, seed, separator):
    rng = np.random.default_rng(seed)
    whole = pd.DataFrame({"a": rng.normal(size=12).round(3), "b": rng.integers(5, size=12), "y": rng.normal(size=12)})
    cuts = np.sort(rng.integers(1, 12, 2))
    (tmp_path / "parts").mkdir(exist_ok=True)
    for old in (tmp_path / "parts").iterdir():
        old.unlink()
    pieces = [piece for piece in (whole[: cuts[0]], whole[cuts[0] : cuts[1]], whole[cuts[1] :]) if len(piece)]
    for i, piece in enumerate(pieces):
        columns = rng.permutation(["a", "b", "y"])
        decimal = "," if separator == ";" else "."
        piece[columns].to_csv(tmp_path / "parts" / f"{i}.csv", index=False, sep=separator, decimal=decimal)
    data = Table(path=["parts/*.csv", "parts/0.csv"], outputs=["y"]).load(Context(folder=tmp_path))
    pd.testing.assert_frame_equal(data.frame[["a", "b", "y"]].sort_index(axis=1), whole, check_dtype=False)


PIECES = {"a.csv": HEADER + "".join(ROWS[:3]), "runs/b.csv": HEADER + "".join(ROWS[3:])}


def test_a_cell_of_the_second_file_is_refused_with_its_file_and_row(read):
    holes = dict(PIECES, **{"runs/b.csv": HEADER + ROWS[3] + "4,,16,4.5,0.1,r1\n" + ROWS[5]})
    with pytest.raises(DataError, match=r"first in row 2 \(line 3\) of .*runs/b\.csv") as refused:
        read(holes, path=["a.csv", "runs/*.csv"], outputs=["y?"], leave_out=["*_std", "note"])
    assert "skip_rows" not in str(refused.value.hint)


@pytest.mark.parametrize(
    ("pieces", "options", "message", "hint"),
    [
        ({}, {"path": ["a.csv", "rums/*.csv"]}, "no file matches", "none are available"),
        ({}, {"path": ["a.csv", "runs/*.txt"]}, "no file matches", "b.csv"),
        ({}, {"path": "runs"}, "found a folder", 'path = "runs/*.csv"'),
        ({"runs/b.csv": WHOLE.replace("x2", "temp")}, {}, "lacks 'x2', and it has 'temp' besides", "leave_out"),
        ({"runs/b.csv": "x1,y2\n1,2\n"}, {"outputs": ["y1"]}, "it lacks 'x2', 'y1', 'y1_std', 'note'", "join"),
        ({"runs/b.csv": HEADER + "1,low,3,4,5,a\n"}, {}, "row 1 (line 2): found text ('low'), expected numbers", "x2"),
    ],
)
def test_files_that_do_not_fit_below_each_other_are_refused_by_name(read, pieces, options, message, hint):
    with pytest.raises(DataError) as refused:
        read(PIECES | pieces, **({"path": ["a.csv", "runs/*.csv"], "outputs": ["y?"]} | options))
    assert message in refused.value.message
    assert hint in str(refused.value.hint)


def test_the_hint_to_leave_columns_out_that_only_some_files_have_works(read):
    more = dict(PIECES, **{"runs/b.csv": "extra," + HEADER + "".join(f"0,{row}" for row in ROWS[3:])})
    options = {"path": ["a.csv", "runs/*.csv"], "outputs": ["y?"]}
    with pytest.raises(DataError) as refused:
        read(more, **options)
    assert refused.value.hint.endswith('leave_out = ["extra"]')
    data, _ = read(more, **options, leave_out=["extra"])
    assert len(data.frame) == 8


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(read):
    data, _ = read({"run[1].csv": WHOLE, "run1.csv": "a\n"}, path="run[1].csv", outputs=["y1"])
    assert len(data.frame) == 8


DESIGNS = "sample,x\n" + "".join(f"S{i},{i / 2}\n" for i in range(6))
TESTS = "y;sample\n" + "".join(f"{i},5;S{i}\n" for i in reversed(range(6)))


@pytest.mark.parametrize(
    "files", [{"path": ["d.csv", "t.csv"], "outputs": ["y"]}, {"features": "d.csv", "targets": "t.csv"}]
)
def test_tables_are_joined_by_a_key(read, files):
    data, said = read({"d.csv": DESIGNS, "t.csv": TESTS}, join="sample", **files)
    assert data.space.names == ("x",)
    assert data.frame["y"].tolist() == [i + 0.5 for i in range(6)]
    assert "joined by 'sample': 6 rows" in said


@pytest.mark.parametrize(
    ("designs", "tests", "join", "message", "hint"),
    [
        (DESIGNS, TESTS + "9,5;S9\n", "sample", "1 of 7 rows of", 'unmatched = "leave-out"'),
        (DESIGNS + "S7,7\n", TESTS + "9,5;S9\n", "sample", "such as 'S7'; 1 of 7", 'unmatched = "leave-out"'),
        (DESIGNS, TESTS + "9,5;S1\n", "sample", "'S1' in row 5 (line 6) and in row 7 (line 8)", "once in each"),
        (DESIGNS, TESTS.replace("S", ""), "sample", "holds text in", 'labels = ["sample"]'),
        (DESIGNS, TESTS, "Sample", "there is no column 'Sample', and join names it", "did you mean 'sample'?"),
        (DESIGNS, TESTS + "9,5;\n", "sample", "is empty in row 7 (line 8)", "None"),
    ],
)
def test_keys_that_do_not_say_which_rows_belong_together_are_refused(read, designs, tests, join, message, hint):
    with pytest.raises(DataError) as refused:
        read({"d.csv": designs, "t.csv": tests}, path=["d.csv", "t.csv"], outputs=["y"], join=join)
    assert message in refused.value.message
    assert hint in str(refused.value.hint)


def test_rows_without_a_partner_are_left_out_where_that_is_asked(read):
    files = {"d.csv": DESIGNS + "S7,7\n", "t.csv": TESTS + "9,5;S9\n"}
    data, said = read(files, path=["*.csv"], outputs=["y"], join="sample", unmatched="leave-out")
    assert len(data.frame) == 6
    assert "1 without a partner left out" in said


def test_two_tables_with_one_shared_column_are_asked_about_a_join(read):
    with pytest.raises(DataError) as refused:
        read({"d.csv": DESIGNS, "t.csv": TESTS}, path=["d.csv", "t.csv"], outputs=["y"])
    assert 'join = "sample"' in str(refused.value.hint)


def test_the_command_line_reads_several_tables(invdesign, tmp_path):
    for name, content in PIECES.items():
        path: Path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    (tmp_path / "t.toml").write_text(
        '[dataset]\nuse = "table"\npath = ["a.csv", "runs/*.csv"]\noutputs = ["y?"]\nleave_out = ["*_std", "note"]\n'
    )
    done = invdesign("validate", "t.toml")
    assert done.code == 0, done.err
    assert "8 rows" in done.out
    assert "rows 4 to 8 are b.csv" in done.err


# Conditions: measured and not chosen


CONDITIONED = "x,ambient,y\n" + "".join(f"{i},{20 + i * 7 % 5},{2 * i + i * 7 % 5}\n" for i in range(12))


@pytest.fixture
def experiment(tmp_path):
    """An experiment with a condition."""
    (tmp_path / "a.csv").write_text(CONDITIONED)
    (tmp_path / "a.toml").write_text(
        '[dataset]\nuse = "table"\npath = "a.csv"\noutputs = ["y"]\nconditions = ["amb*"]\n'
        'kinds = { "*" = "continuous" }\n[surrogate]\nuse = "selu-mlp"\n[training]\nepochs = 3\n[solver]\nstarts = 4\n'
    )


@pytest.mark.usefixtures("experiment")
@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_search_without_the_value_of_a_condition_is_refused_before_any_training(invdesign, command):
    done = invdesign(command, "a.toml", "--target", "y=9")
    assert done.code == ExitCode.CONFIG
    assert "'ambient' is a condition: say at which value" in done.err
    assert "--fixed 'ambient=22'" in done.err
    assert "training" not in done.err


@pytest.mark.usefixtures("experiment")
@pytest.mark.parametrize(
    "option", [("--fixed", "ambient=22"), ("--set", 'design.fixed={"ambient" = 22}'), ("--target", "ambient=22")]
)
def test_a_condition_is_held_at_the_value_that_is_said(invdesign, option):
    done = invdesign("validate", "a.toml", "--target", "y=9", *option)
    assert done.code == 0, done.err
    assert "condition ambient: continuous, 22" in done.out


@pytest.mark.usefixtures("experiment")
def test_a_run_keeps_what_is_a_condition(invdesign, tmp_path):
    assert invdesign("run", "a.toml", "--out", "r", "-q").code == 0, "without a target there is nothing to hold"
    refused = invdesign("solve", "r", "--target", "y=9")
    assert refused.code == ExitCode.CONFIG
    assert "'ambient' is a condition" in refused.err
    done = invdesign("solve", "r", "--target", "y=9", "--fixed", "ambient=22", "--out", "d.csv", "-q")
    assert done.code in (ExitCode.OK, ExitCode.NOT_MET), done.err
    assert set(pd.read_csv(tmp_path / "d.csv")["design.ambient"]) == {22}
    (tmp_path / "t.csv").write_text("y,ambient\n9,21\n12,24\n")
    invdesign("solve", "r", "--targets", "t.csv", "--out", "e.csv", "-q")
    assert pd.read_csv(tmp_path / "e.csv")["design.ambient"].tolist() == [21, 24]
    (tmp_path / "t.csv").write_text("y\n9\n12\n")
    assert "'ambient' is a condition" in invdesign("solve", "r", "--targets", "t.csv", "--out", "f.csv").err
    (tmp_path / "p.csv").write_text("x\n9\n12\n")
    assert "'ambient'" in invdesign("predict", "r", "p.csv").err, "a prediction needs its value"


@pytest.mark.usefixtures("experiment")
def test_init_writes_no_bounds_for_a_condition_and_shows_where_its_value_goes(invdesign, tmp_path):
    done = invdesign("init", "a.csv", "--outputs", "y", "--set", 'conditions=["ambient"]', "--out", "b.toml")
    assert done.code == 0, done.err
    text = (tmp_path / "b.toml").read_text()
    assert "# [design.fixed]\n# ambient = 20\n" in text
    uncommented = text.replace("# [design.fixed]\n# ambient = 20\n", "[design.fixed]\nambient = 20\n")
    (tmp_path / "b.toml").write_text(uncommented)
    assert invdesign("validate", "b.toml", "--target", "y=9").code == 0
