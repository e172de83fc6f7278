"""What one command writes, every other reads: csv, parquet and xlsx, with the names that the columns have there."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from conftest import lin
from test_target_tables import REGISTRY, prepared

from invdesign_core.cli.commands import cli
from invdesign_core.context import Context
from invdesign_core.data.data import TrainingRows
from invdesign_core.data.files.load import load_table, read_table
from invdesign_core.data.files.write import write_table
from invdesign_core.data.own_columns import as_targets, designs_of, row_of
from invdesign_core.errors import ConfigError, DataError, ExitCode, RunStoreError
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.workflow.design import Design
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.predict import predict_table
from invdesign_core.workflow.run_folder import RunFolder
from invdesign_core.workflow.solve import solve_table
from invdesign_core.workflow.validate import load

ENDINGS = ("csv", "parquet", "xlsx")
LABELS = ("010", "1", "NA", "=A", "1,5", "max")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder without training: y = T + 10 times the number of the label, and z = T."""
    folder = tmp_path_factory.mktemp("run")
    space = Space((Variable("T", lower=0.0, upper=5.0), Variable("kind", "categorical", levels=LABELS)))
    weights = [[1.0, 1.0], *([10.0 * i, 0.0] for i in range(len(LABELS)))]
    box = np.stack([np.zeros(7), np.array([5.0, *np.ones(6)])])
    surrogate = Surrogate((lin(weights), lin(weights)), space, ("y", "z"), np.zeros(2), np.ones(2), box, np.ones(2))
    files = RunFolder(folder)
    files.write_surrogate(
        surrogate, TrainingRows(space.encode(pd.DataFrame({"T": [1.0], "kind": ["1"]})), np.ones((1, 2)))
    )
    files.write_sealed(
        "resolved.json",
        {
            "experiment": {"dataset": {"use": "binary-decimal"}, "targets": {}},
            "plugins": {},
            "folder": str(folder),
            "backend": "jax",
            "truth": False,
            "trials depend on": {},
        },
    )
    return folder


def designs(prefix="design."):
    return pd.DataFrame(
        {
            "target": [1, 2, 3, 4, 5, 6],
            "rank": 1,
            f"{prefix}T": [0.5, 1.0, 2.0, 2.5, 3.0, 4.0],
            f"{prefix}kind": LABELS,
            "prediction.y": -1.0,
            "loss": 0.0,
            "met": True,
            "inside": True,
        }
    )


EXPECTED = [0.5, 11.0, 22.0, 32.5, 43.0, 54.0]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("prefix", ["design.", ""])
def test_designs_that_were_written_are_predicted_as_they_were(run, tmp_path, ending, prefix):
    table, out = tmp_path / f"designs.{ending}", tmp_path / f"out.{ending}"
    write_table(table, designs(prefix))
    found = predict_table(run, table, out, registry=REGISTRY)
    assert found.table["prediction.y"].tolist() == pytest.approx(EXPECTED)
    assert found.table["spread.z"].tolist() == pytest.approx([0] * 6)
    assert found.table[f"{prefix}kind"].tolist() == list(LABELS)
    assert "replaced by new predictions: 'prediction.y'" in " ".join(found.report.notes)
    again = predict_table(run, out, registry=REGISTRY)  # what it writes it reads
    pd.testing.assert_frame_equal(again.table, found.table, check_dtype=False)
    with pytest.raises(RunStoreError, match="already exists"):
        predict_table(run, table, out, registry=REGISTRY)


def test_the_command_predicts_and_prints_csv_json_or_a_file(run, tmp_path, monkeypatch):
    import io

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("invdesign_core.cli.session.results_only_on_stdout", on_stdout)
    designs().assign(operator="Ann").to_csv("designs.csv", index=False)
    call = CliRunner().invoke
    plain = call(cli, ["predict", str(run), "designs.csv", "-q"], standalone_mode=False, catch_exceptions=False)
    assert pd.read_csv(io.StringIO(plain.stdout))["prediction.y"].tolist() == pytest.approx(EXPECTED)
    said = call(cli, ["predict", str(run), "designs.csv", "--json", "-q"], standalone_mode=False)
    found = json.loads(said.stdout)
    assert [row["y"] for row in found["prediction"]] == pytest.approx(EXPECTED)
    assert "'operator'" in " ".join(found["notes"]), "what is no design variable is kept, and said"
    call(cli, ["predict", str(run), "designs.csv", "-q", "--out", "p.xlsx"], standalone_mode=False)
    assert load_table(tmp_path / "p.xlsx", columns=["operator"]).frame["operator"].tolist() == ["Ann"] * 6


def on_stdout():
    import sys
    from contextlib import nullcontext

    return nullcontext(sys.stdout)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t.assign(T=1.0), ConfigError, "a column 'T' and a column 'design.T'"),
        (lambda t: t.drop(columns="design.T"), DataError, "no column 'T' or 'design.T'"),
        (lambda t: t.assign(**{"design.kind": "B"}), DataError, "row 1: 'kind' has no level 'B'"),
        (lambda t: t.assign(**{"design.T": [1, 1, None, 1, 1, 1]}), DataError, "row 3: the cell is empty"),
        (lambda t: t.assign(**{"design.T": ["1", "warm", *"3456"]}), DataError, "'warm'"),
    ],
)
def test_tables_that_are_not_clear_are_refused(run, tmp_path, change, error, message):
    change(designs()).to_parquet(tmp_path / "designs.parquet")
    with pytest.raises(error) as caught:
        predict_table(run, tmp_path / "designs.parquet", registry=REGISTRY)
    assert message in str(caught.value)


def test_designs_outside_the_data_are_said(run, tmp_path):
    designs().assign(**{"design.T": [1, 2, 9, 4, 5, 9]}).to_csv(tmp_path / "far.csv", index=False)
    found = predict_table(run, tmp_path / "far.csv", registry=REGISTRY)
    assert "designs outside the ranges of the training data: 2 of 6, first in row 3" in " ".join(found.report.notes)


def test_a_model_file_predicts_by_its_own_names_or_those_given(tmp_path):
    lin([[1.0], [10.0]]).save(tmp_path / "sum.keras")
    pd.DataFrame({"y": [0.0, 0.0], "design.x1": [1.0, 2.0], "design.x2": [3.0, 4.0]}).to_csv(tmp_path / "a.csv")
    pd.DataFrame({"heat": [3.0, 4.0], "flow": [1.0, 2.0], "day": [1, 2]}).to_csv(tmp_path / "b.csv", index=False)
    pd.DataFrame({"flow": [1.0, 2.0], "heat": [3.0, 4.0], "yield": [0.0, 0.0]}).to_csv(tmp_path / "c.csv", index=False)
    asked = [("a.csv", {}), ("b.csv", {"inputs": ["flow", "heat"]}), ("c.csv", {"outputs": ["yield"]})]
    for name, options in asked:
        found = predict_table(tmp_path / "sum.keras", tmp_path / name, registry=REGISTRY, **options)
        assert found.table.iloc[:, -1].tolist() == [31.0, 42.0]
        assert found.report.run.endswith("sum.keras")
    with pytest.raises(ConfigError, match="not clear which are the inputs"):
        predict_table(tmp_path / "sum.keras", tmp_path / "b.csv", registry=REGISTRY)


@pytest.mark.parametrize("ending", ENDINGS)
def test_designs_of_a_table_of_targets_are_written_and_held_again(run, tmp_path, ending):
    lin([[1, 1], [1, -1]]).save(tmp_path / "sum.keras")
    out = tmp_path / f"designs.{ending}"
    few = {"solver": ("least-squares", {"rows_at_once": 64, "starts": 16})}  # several parts
    report = solve_table(prepared(tmp_path / "sum.keras", **few), pd.DataFrame({"y1": np.linspace(0.2, 1.8, 9)}), out)
    assert report.met == 9
    first = read_table(out)
    assert first["target"].tolist() == list(range(1, 10))
    notes = []
    ctx = Context(emit=lambda e: notes.append(e.data.get("text", "")))
    again = tmp_path / f"again.{ending}"
    held = solve_table(
        prepared(tmp_path / "sum.keras", ctx=ctx, **few), first.assign(y1=np.linspace(0.2, 1.8, 9)), again
    )
    assert held.met == 9
    assert "columns with results are ignored: 'target', 'rank'," in " ".join(notes)
    second = read_table(again)
    for name in ("design.x1", "design.x2"):
        np.testing.assert_allclose(second[name], first[name])
    found = predict_table(tmp_path / "sum.keras", out, registry=REGISTRY)
    np.testing.assert_allclose(found.table["prediction.y1"], first["prediction.y1"], atol=1e-6)


def test_labels_of_a_table_of_targets_are_those_of_the_run(run, tmp_path):
    space = RunFolder(run).read_surrogate()[0].space
    notes = []
    ctx = Context(emit=lambda e: notes.append(e.data["text"]))
    frame = as_targets(designs().assign(y=1.0), space, ["y", "z"], ctx)
    assert list(frame.columns) == ["T", "kind", "y"]
    assert frame["kind"].tolist() == list(LABELS)
    numbers = pd.DataFrame({"kind": [1.0, 1.0], "y": [1, 2]})  # read by a program to which 1 is a number
    assert as_targets(numbers, space, ["y", "z"], ctx)["kind"].tolist() == ["1", "1"]


def test_a_column_that_is_called_like_a_result_is_left_aside_only_in_a_table_of_ours(run):
    space = RunFolder(run).read_surrogate()[0].space
    mine = pd.DataFrame({"y": [1.0], "rank": [1]})
    assert list(as_targets(mine, space, ["y"], Context()).columns) == ["y", "rank"]  # refused by name later
    ours = pd.DataFrame({"rank": [1.0], "prediction.rank": [2.0], "design.T": [1.0]})
    with pytest.raises(ConfigError, match="'rank' may be the output or the result"):
        as_targets(ours, space, ["rank"], Context())
    with pytest.raises(ConfigError, match="only one of them can be the design"):
        as_targets(pd.DataFrame({"y": [1.0], "T": [1.0], "design.T": [2.0]}), space, ["y"], Context())


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_row_of_a_file_is_the_present_design(run, tmp_path, ending, monkeypatch):
    from invdesign_core.cli.option_values import design_values

    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / f"d.{ending}", designs())
    write_table(tmp_path / f"one.{ending}", designs()[1:2])
    space = RunFolder(run).read_surrogate()[0].space

    def near(*items):
        empty = dict.fromkeys(("bounds", "fixed", "levels", "step", "log", "constraints"), ())
        flags = {"margin": None, "fewest_changes": False, "stay_near_data": False}
        return Design.from_mapping(design_values({**empty, **flags, "near": items})).present(space)

    for row, (t, label) in enumerate(zip(designs()["design.T"], LABELS, strict=True), 1):
        assert near(f"d.{ending}:{row}") == {"T": t, "kind": label}
    assert near(f"one.{ending}") == {"T": 1.0, "kind": "1"}
    assert near(f"one.{ending}", "T=3") == {"T": 3, "kind": "1"}, "what is said beside it counts"
    for item, message in [
        (f"d.{ending}", "the table has 6 rows, expected one"),
        (f"d.{ending}:7", "there is no row 7"),
        (f"d.{ending}:0", "there is no row 0"),
    ]:
        with pytest.raises(ConfigError) as error:
            near(item)
        assert message in str(error.value)
    with pytest.raises(DataError, match="no such file"):
        near("other.csv:1")
    with pytest.raises(ConfigError, match="second row"):
        near(f"d.{ending}:1", f"d.{ending}:2")


def test_a_row_of_a_file_takes_the_place_of_the_runs_present_design():
    from invdesign_core.workflow.design import merge_design

    assert merge_design({"near": {"T": 9}}, {"near_row": "d.csv:1"})["near"] == {}
    assert merge_design({"near": {"T": 9}}, {"near_row": "d.csv:1", "near": {"T": 2}})["near"] == {"T": 2}


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_experiment_on_written_designs_has_the_variables_as_inputs(tmp_path, ending):
    write_table(tmp_path / f"d.{ending}", designs().assign(y=EXPECTED))
    said = []
    ctx = Context(emit=lambda e: said.append(e.data["text"]), folder=tmp_path)
    data = load(REGISTRY.create("dataset", "table", {"path": f"d.{ending}", "outputs": ["y"],
                                                     "labels": ["design.kind"]}), ctx)  # fmt: skip
    named = load(REGISTRY.create("dataset", "table", {"path": f"d.{ending}", "outputs": ["y"], "inputs": ["T"]}), ctx)
    assert named.space.names == ("T",)
    assert data.space.names == ("T", "kind")
    assert data.space["kind"].levels == tuple(sorted(LABELS))
    frame = designs().drop(columns="design.kind").assign(y=EXPECTED)
    write_table(tmp_path / f"numbers.{ending}", frame)
    data = load(REGISTRY.create("dataset", "table", {"path": f"numbers.{ending}", "outputs": ["y"]}), ctx)
    assert data.space.names == ("T",)
    assert "left aside are 'target', 'rank', 'prediction.y'" in " ".join(said)
    write_table(tmp_path / f"both.{ending}", frame.assign(T=1.0))
    with pytest.raises(DataError, match="only one of them can be the design"):
        load(REGISTRY.create("dataset", "table", {"path": f"both.{ending}", "outputs": ["y"]}), ctx)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_has_no_value_is_an_empty_cell_whatever_its_type(tmp_path, ending):
    frame = pd.DataFrame({"target": [1, 2], "a": [0.5, np.nan], "text": ["x", None]})
    frame["met"] = pd.array([True, None], dtype="boolean")
    frame["measured.row"] = pd.array([7, None], dtype="Int64")
    write_table(path := tmp_path / f"gaps.{ending}", frame)
    back = read_table(path)
    assert back.isna().to_numpy().tolist() == [[False] * 5, [False, True, True, True, True]]
    assert back.iloc[0].tolist() == [1, 0.5, "x", True, 7]


@pytest.mark.parametrize("name", ["met", "loss", "target", "free_directions"])
def test_a_variable_that_is_called_like_a_result_is_read_back_from_its_own_column(name, tmp_path):
    space = Space((Variable(name, lower=0.0, upper=9.0), Variable("T", lower=0.0, upper=9.0)))
    frame = pd.DataFrame({"target": 1, "rank": 1, f"design.{name}": [2.0, 3.0], "design.T": 4.0, "prediction.y": 7.0})
    frame = frame.assign(loss=0.0, met=True, free_directions="[]")
    assert designs_of(frame, space, ["y"], "table")[name].tolist() == [2.0, 3.0]
    wanted = as_targets(frame.assign(y=1.0), space, ["y"], Context())
    assert wanted[name].tolist() == [2.0, 3.0]
    assert sorted(wanted.columns) == sorted([name, "T", "y"])
    write_table(path := tmp_path / "d.csv", frame)
    assert row_of(f"{path}:2", space) == {name: 3.0, "T": 4.0}
    rows = pd.concat([frame.assign(y=[1.0, 2.0])] * 4).assign(**{f"design.{name}": np.arange(8) / 3})
    write_table(path := tmp_path / "rows.csv", rows)
    data = load(REGISTRY.create("dataset", "table", {"path": str(path), "outputs": ["y"]}), Context())
    assert data.space.names == (name, "T")
    assert data.x[:, 0] == pytest.approx(np.arange(8) / 3)


def test_a_column_of_the_users_own_that_begins_like_ours_costs_no_other_input(tmp_path):
    frame = pd.DataFrame(
        {"flow": np.arange(9) / 4, "design.gap": np.arange(9) ** 2 / 8, "met": [3, 2, 1] * 3, "y": np.arange(9) ** 3}
    )
    for options, names in (
        ({}, ("flow", "design.gap", "met")),
        ({"inputs": ["flow", "design.gap"]}, ("flow", "design.gap")),
        ({"leave_out": ["flow", "met"]}, ("gap",)),
    ):
        write_table(path := tmp_path / f"{len(names)}{len(options)}.csv", frame)
        dataset = REGISTRY.create("dataset", "table", {"path": str(path), "outputs": ["y"], **options})
        assert load(dataset, Context()).space.names == names


def test_init_drafts_an_experiment_from_written_designs(tmp_path, monkeypatch):
    from invdesign_core.workflow.experiment import Experiment
    from invdesign_core.workflow.validate import check

    monkeypatch.chdir(tmp_path)
    frame = designs().drop(columns="design.kind").assign(y=EXPECTED)
    frame.to_csv("designs.csv", index=False)
    CliRunner().invoke(cli, ["init", "designs.csv", "--outputs", "y", "-q"], standalone_mode=False)
    experiment = Experiment.from_toml(tmp_path / "designs.toml")
    assert experiment.dataset.options["inputs"] == ["T"]
    assert check(experiment, REGISTRY, Context(folder=tmp_path)).data.space.names == ("T",)


def test_python_predicts_the_designs_that_it_answered(run):
    model = InverseDesign()
    model.surrogate_, model.n_features_in_ = RunFolder(run).read_surrogate()[0], 2
    model.feature_names_in_ = np.array(["T", "kind"], dtype=object)
    assert model.predict(designs())[:, 0] == pytest.approx(EXPECTED)
    assert model.predict(designs("")[["T", "kind"]])[:, 0] == pytest.approx(EXPECTED)
    with pytest.raises(ValueError, match="only one of them can be the design"):
        model.predict(designs().assign(T=1.0))


def test_an_estimator_that_was_fitted_on_an_array_predicts_the_designs_that_it_answered(recwarn):
    space = Space(tuple(Variable(name, lower=0.0, upper=1.0) for name in ("x1", "x2")))
    model, box = InverseDesign(), np.array([[0.0, 0.0], [1.0, 1.0]])
    model.surrogate_ = Surrogate((lin([[1.0], [10.0]]),), space, ("y",), np.zeros(1), np.ones(1), box, np.ones(1))
    model.n_features_in_ = 2
    frame = pd.DataFrame({"target": [1], "design.x2": [3.0], "design.x1": [2.0]})
    assert model.predict(frame).tolist() == [32.0]
    assert not list(recwarn)


def test_an_excel_file_needs_openpyxl_and_says_so_before_any_work(run, tmp_path, monkeypatch):
    import sys

    designs().to_csv(tmp_path / "designs.csv", index=False)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    for ask in (
        lambda: predict_table(tmp_path / "none", tmp_path / "none.csv", tmp_path / "o.xlsx", registry=REGISTRY),
        lambda: write_table(tmp_path / "o.xlsx", designs()),
    ):
        with pytest.raises(ConfigError, match="needs the package openpyxl") as error:
            ask()
        assert "invdesign[excel]" in error.value.hint


def test_what_an_excel_sheet_can_not_hold_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(RunStoreError, match="a character that Excel can't"):
        write_table(tmp_path / "o.xlsx", pd.DataFrame({"a": ["\x07"]}))
    monkeypatch.setattr("invdesign_core.data.files.write.SHEET", (3, 3))
    with pytest.raises(RunStoreError, match="a sheet of Excel holds"):
        write_table(tmp_path / "o.xlsx", pd.DataFrame({"a": [1, 2, 3]}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_table_is_predicted_from_standard_input(run, tmp_path, monkeypatch, ending):
    import io

    monkeypatch.setattr("invdesign_core.cli.session.results_only_on_stdout", on_stdout)
    write_table(tmp_path / f"designs.{ending}", designs())
    piped = (tmp_path / f"designs.{ending}").read_bytes()
    said = CliRunner().invoke(cli, ["predict", str(run), "-", "-q", "--json"], input=piped, standalone_mode=False)
    assert [row["y"] for row in json.loads(said.stdout)["prediction"]] == pytest.approx(EXPECTED)
    assert json.loads(said.stdout)["table"] == "-"
    plain = CliRunner().invoke(cli, ["predict", str(run), "-", "-q"], input=piped, standalone_mode=False)
    assert pd.read_csv(io.StringIO(plain.stdout))["prediction.y"].tolist() == pytest.approx(EXPECTED)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "standard input is empty"),
        (b"T,kid\n1,1\n", "standard input: there is no column 'kind'"),
        (b'{"T": 1}', "standard input: the file is called .csv, but it is a JSON file"),
    ],
)
def test_standard_input_that_is_no_table_of_designs_is_refused_by_that_name(run, monkeypatch, content, message):
    monkeypatch.setattr("invdesign_core.cli.session.results_only_on_stdout", on_stdout)
    refused = CliRunner().invoke(cli, ["predict", str(run), "-", "-q"], input=content, standalone_mode=False)
    assert message in str(refused.exception)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_designs_of_a_solve_are_written_to_a_file_that_the_other_commands_read(tmp_path, ending, invdesign):
    lin([[1, 1], [1, -1]]).save(tmp_path / "sum.keras")
    box = ("--bounds", "x1=0..1", "--bounds", "x2=0..1")
    out = tmp_path / f"designs.{ending}"
    solve = ("solve", "sum.keras", *box, "--target", "y1=1", "-q", "--set", "solver.starts=8")
    done = invdesign(*solve, "--out", out.name)
    assert done.code == 0, done.err
    written = read_table(out)
    assert set(written["target"]) == {1}
    np.testing.assert_allclose(written["prediction.y1"], 1, atol=0.02)
    predicted = json.loads(invdesign("predict", "sum.keras", out.name, "--json", "-q").out)["prediction"]
    np.testing.assert_allclose([row["y1"] for row in predicted], written["prediction.y1"], atol=1e-6)
    assert invdesign(*solve, "--near", f"{out.name}:1").code == 0
    again = invdesign(*solve, "--out", out.name)
    assert (again.code, again.out) == (ExitCode.RUN_STORE, ""), "before the search"
    assert "already exists" in again.err
    assert invdesign(*solve, "--out", "designs.json").code == ExitCode.CONFIG


@pytest.mark.parametrize(("columns", "hint"), [("b,T", "the columns are 'T', 'b'"), ("knd,T", "did you mean 'knd'?")])
def test_a_missing_design_variable_is_not_said_to_be_a_column_of_quite_another_name(run, tmp_path, columns, hint):
    (tmp_path / "rows.csv").write_text(f"{columns}\n1,2\n")
    with pytest.raises(DataError, match="there is no column 'kind'") as refused:
        predict_table(run, tmp_path / "rows.csv")
    assert hint in refused.value.hint
