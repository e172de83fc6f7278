"""What a file says of a design is what the saved surrogate says of it, whatever holds the variables of a row."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import fn, invert_many, lin, prepare_model

from invdesign_core.context import Context
from invdesign_core.data.data import TrainingRows
from invdesign_core.designs.report import SurrogateReport
from invdesign_core.errors import ConfigError, DataError, InvdesignError
from invdesign_core.registry import Registry
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.run_folder import RunFolder
from invdesign_core.workflow.solve import solve_one, solve_table

REGISTRY = Registry.discover()
SPACE = Space(
    (
        Variable("age", lower=1, upper=100),
        Variable("n", "integer", lower=0, upper=5),
        Variable("ligand", "categorical", levels=("L0", "L1", "L2")),
        Variable("x", lower=0, upper=1),
        Variable("z", lower=0, upper=1),
    )
)
RUN = {"fixed": {"age": 28, "ligand": "L2", "n": 3}, "bounds": {"age": [20, 40]}}
"""What the run says; every table below says something else."""


@pytest.fixture(scope="module")
def surrogate():
    network = lin([[0.02], [0.3], [0.0], [1.0], [2.0], [1.5], [1.0]])
    return Surrogate.of_model(network, SPACE, ("y",))


@pytest.fixture(scope="module")
def measured(surrogate):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.choice([3.0, 7.0, 28.0, 90.0], 200),
            "n": rng.integers(0, 6, 200),
            "ligand": rng.choice(["L0", "L1", "L2"], 200),
            "x": rng.random(200),
            "z": rng.random(200),
        }
    )
    x = SPACE.encode(frame)
    return TrainingRows(x, surrogate.predict(x).mean, np.arange(200) + 1)


@pytest.fixture(scope="module")
def run(surrogate, measured, tmp_path_factory):
    """A finished run with an exact network, whose [design] holds three variables."""
    folder = RunFolder.create(tmp_path_factory.mktemp("runs") / "run")
    folder.write_surrogate(surrogate, measured)
    experiment = Experiment.from_mapping({"dataset": {"use": "binary-decimal"}, "design": RUN})
    plugin = {"name": "x", "distribution": "x", "version": "1", "options": {}}
    folder.write_sealed(
        "resolved.json",
        {
            "experiment": experiment.model_dump(mode="json"),
            "plugins": dict.fromkeys(("dataset", "surrogate", "tuner", "objective", "solver"), plugin),
            "folder": str(folder.path),
            "backend": "jax",
            "truth": False,
            "trials depend on": {},
        },
    )
    folder.close()
    return folder.path


def ready(run, solver=None, frame=None, **design):
    # The dataset's own default is relaxation, which is not one of the ways below.
    solver = {"use": "least-squares", "starts": 4, "discrete": "auto"} | (solver or {})
    return prepare(run, registry=REGISTRY, overrides={"solver": solver}, frame=frame, **{"designs": 2} | design)


def tables(path):
    """Return what was written, as each reader has it."""
    return [pd.read_csv(path)] if path.suffix == ".csv" else [pd.read_parquet(path)]


def check_written(table, surrogate, space, frame=None):
    """Hold a written file to the rule: predictions are those of the designs, and the designs are allowed."""
    designs = table[[f"design.{name}" for name in space.names]].set_axis(list(space.names), axis=1)
    x = surrogate.space.encode(designs)
    for m, name in enumerate(surrogate.outputs):
        miss = np.abs(surrogate.predict(x).mean[:, m] - table[f"prediction.{name}"].to_numpy())
        assert miss.max() <= 1e-6 * surrogate.spread[m], f"off by {miss.max()}"
    assert np.array_equal(space.snap(x), x), "bounds, levels and steps"
    assert space.feasible_set.holds(x).all(), "constraints"
    if frame is not None:
        assert set(table["target"]) == set(range(1, len(frame) + 1)), "each target has an answer"
        for name in set(space.names) & set(frame.columns):
            assert designs[name].tolist() == frame[name].iloc[table["target"] - 1].tolist(), "the row's own value"


NEAR = {"age": 30, "n": 3, "ligand": "L2", "x": 0.4, "z": 0.6}
WAYS = {
    "least-squares": {},
    "lbfgsb": {"solver": {"use": "lbfgsb"}},
    "slsqp": {"solver": {"use": "slsqp"}},
    "differential-evolution": {"solver": {"use": "differential-evolution", "starts": 8}},
    "dataset-search": {"solver": {"use": "dataset-search"}},
    "per-combination": {"levels": {"x": [0, 0.25, 1]}},
    "rounding": {"step": {"x": 0.01, "z": 0.01}, "bounds": {"age": [0, 1000]}},
    "all tried": {"step": {"x": 0.1, "z": 0.25}, "fixed": {"age": 35}},
    "logarithmic scale": {"log": ["age"]},
    "separate ranges": {"bounds": {"x": [[0, 0.2], [0.7, 0.9]]}},
    "near": {"near": NEAR},
    "fewest changes": {"near": NEAR, "fewest_changes": True},
    "near data": {"stay_near_data": True},
    "a linear constraint": {"constraints": ["x + z + 0.1*n <= 1.1", "x >= 0.2*z"]},
    "at most": {"constraints": ["at most 1 of x, z above zero"]},
}


@pytest.mark.parametrize("way", WAYS)
def test_predictions_of_a_table_belong_to_its_designs_and_rows_keep_their_values(run, surrogate, tmp_path, way):
    frame = pd.DataFrame({"ligand": ["L0", "L1", "L0"], "age": [56.5, 7.0, 90.0], "n": [0, 5, 2], "y": [2.5, 4.0, 4.2]})
    options = dict(WAYS[way])
    if "fixed" in options:  # the command's own agrees with the column
        frame["age"] = 35.0
    if way == "near data":  # ages that were measured
        frame["age"] = [28.0, 7.0, 90.0]
    ending = "csv" if list(WAYS).index(way) % 2 else "parquet"
    out = tmp_path / f"d.{ending}"
    prepared = ready(run, frame=frame, **options)
    solve_table(prepared, frame, out)
    for table in tables(out):
        check_written(table, surrogate, prepared.problem(frame).space, frame)


@pytest.mark.parametrize("way", WAYS)
def test_predictions_of_one_target_belong_to_its_designs(run, surrogate, way):
    options = {"bounds": {}, "fixed": {}} | WAYS[way]
    prepared = ready(run, **options)
    result = solve_one(prepared, ["3.5"])
    newest = max((run / "solve").iterdir(), key=lambda path: int(path.name))
    for name in ("designs.csv", "designs.parquet"):
        for table in tables(newest / name):
            check_written(table, surrogate, prepared.problem(parse_targets(["3.5"], ("y",))).space)
            held = {"age": 35 if way == "all tried" else 28, "ligand": "L2", "n": 3}
            if "age" in options["bounds"]:
                held.pop("age")  # bounds over a fixed variable set it free
            assert all((table[f"design.{key}"] == value).all() for key, value in held.items())
    assert len(result.report.designs)


def test_part_of_a_table_is_free_in_all_ways_of_writing_values(run, surrogate, tmp_path):
    frame = pd.DataFrame({"n": ["1", "4"], "y": ["3..3.2", ">=4"]}, dtype="string")
    prepared = ready(run, frame=frame)
    solve_table(prepared, frame, tmp_path / "d.csv")
    table = pd.read_csv(tmp_path / "d.csv")
    check_written(table, surrogate, prepared.problem(frame).space)
    assert table.groupby("target")["design.n"].first().tolist() == [1, 4]
    assert (table["design.age"] == 28).all()
    assert (table["design.ligand"] == "L2").all()


def test_a_value_outside_the_data_is_written_as_it_was_asked(run, surrogate, tmp_path):
    frame = pd.DataFrame({"age": [0.25, 250.0], "n": [7, 0], "y": [5.0, 7.0]})
    prepared = ready(run, frame=frame)
    solve_table(prepared, frame, tmp_path / "d.parquet")
    assert any("beyond the data" in note for note in prepared.notes)
    check_written(pd.read_parquet(tmp_path / "d.parquet"), surrogate, prepared.problem(frame).space, frame)


@pytest.mark.parametrize("fixed", [{"age": 28.0}, {"ligand": "L2"}, {"n": 3, "age": 28.0}])
def test_the_python_pipeline_lets_the_table_win_over_a_space_that_is_fixed(surrogate, measured, fixed):
    frame = pd.DataFrame({"age": [56.0, 7.0], "ligand": ["L0", "L1"], "n": [1, 2], "y": [3.0, 4.0]})
    solver, mse = REGISTRY.create("solver", "least-squares", {"starts": 4}), REGISTRY.create("objective", "mse", {})
    space = SPACE.restrict(fixed=fixed)
    ((_, found),) = invert_many(surrogate, frame, space, mse, solver, Context(), measured)
    check_written(found.designs.assign(target=found.designs["target"] + 1), surrogate, SPACE, frame)


def test_inverse_design_lets_the_frame_win_over_its_parameters(surrogate, measured):
    model = InverseDesign(
        fixed={"age": 28, "ligand": "L2"}, bounds={"n": (2, 3)}, solver={"use": "least-squares", "starts": 4}
    )
    model.surrogate_, model.known_, model.truth_ = surrogate, measured, None
    model.report_ = SurrogateReport(
        plugin=None, members=1, trials=0, failed=0, best={}, objective=None, score=None, retrained=False, rows={},
        test={},
    )  # fmt: skip
    frame = pd.DataFrame({"age": [56.0, 7.0], "ligand": ["L0", "L1"], "n": [1, 5], "y": [3.0, 4.0]})
    found = model.invert(frame).designs
    check_written(found.assign(target=found["target"] + 1), surrogate, SPACE, frame)
    with pytest.raises(DataError, match=r"column 'ligand', row 2: 'ligand' has no level 'L9'"):
        model.invert(frame.assign(ligand=["L0", "L9"]))


@pytest.mark.parametrize(
    ("column", "design", "message"),
    [
        ({"ligand": ["L0", "L7"]}, {}, "column 'ligand', row 2: 'ligand' has no level 'L7'"),
        ({"ligand": ["L2", "L0"]}, {"levels": {"ligand": ["L1", "L2"]}}, "column 'ligand', row 2: found 'L0', but the"),
        ({"n": [1, 2.5]}, {}, "column 'n', row 2: found 2.5, expected a whole number"),
        ({"n": ["1", "many"]}, {}, "column 'n', row 2: found 'many', expected a number"),
        ({"age": [np.inf, 2]}, {}, "column 'age', row 1: found inf, expected a number"),
        ({"age": [True, False]}, {}, "column 'age', row 1: found True, expected a number"),
        ({"age": [3, np.nan]}, {}, "column 'age', row 2: the cell is empty"),
        ({"x": [0.5, 0.26]}, {"step": {"x": 0.25}}, "row 2: found 0.26, which is not on its step, k·0.25"),
        ({"x": [0.5, 0.3]}, {"levels": {"x": [0, 0.5, 1]}}, "column 'x', row 2: found 0.3, but the same command lets"),
        ({"age": [28, 20]}, {"fixed": {"age": 28}}, "column 'age', row 2: found 20, but the same command fixes it at"),
        ({"ligand": ["L2", "L0"]}, {"fixed": {"ligand": "L2"}}, "row 2: found 'L0', but the same command fixes it at"),
        ({"age": [20, 51]}, {"bounds": {"age": [10, 50]}}, "row 2: found 51, but the same command bounds it to 10 to"),
        ({"n": [1, 4]}, {"bounds": {"n": [[0, 2], [5, 5]]}}, "row 2: found 4, but the same command bounds it to 0 to"),
        ({"x": [0.1, 0.9]}, {"constraints": ["x + 0.02*age <= 0.9"]}, "row 2: with its values no design"),
        ({"x": [0, 0.9], "z": [0, 1]}, {"constraints": ["at most 1 of x, z above zero"]}, "row 2: with its values no"),
    ],
)
def test_values_that_cannot_be_are_refused_by_row_and_column_before_any_search(run, tmp_path, column, design, message):
    def no_search(event):
        assert event.kind != "stage" or event.data["stage"] != "solve", "it has begun to solve"

    frame = pd.DataFrame({**column, "y": [3.0, 4.0]})

    def ask(**options):
        prepared = ready(run, **options, **design)
        prepared = replace(prepared, ctx=replace(prepared.ctx, emit=no_search))
        solve_table(prepared, frame, tmp_path / "d.csv")

    for options in [{"frame": frame}, {}]:
        with pytest.raises(InvdesignError) as error:
            ask(**options)
        assert message in str(error.value)
    assert not (tmp_path / "d.csv").exists()


def test_a_number_that_was_computed_counts_as_the_one_it_stands_for(run, surrogate, tmp_path):
    frame = pd.DataFrame({"x": [0.1 + 0.2, 0.7], "n": [3.0000000000000004, 2], "y": [3.0, 4.0]})
    prepared = ready(run, frame=frame, step={"x": 0.1})
    solve_table(prepared, frame, tmp_path / "d.csv")
    table = pd.read_csv(tmp_path / "d.csv")
    check_written(table, surrogate, prepared.problem(frame).space)
    assert table.groupby("target")["design.x"].first().tolist() == [0.3, 0.7]


@pytest.mark.parametrize("given", [{"fixed": {"x1": 2.0}}, {"bounds": {"x1": [0, 5]}}, {}])
def test_a_bare_model_is_solved_at_the_rows_values(tmp_path, given):
    from keras import ops

    path = tmp_path / "product.keras"
    with backend.lean():
        fn(2, lambda i: ops.expand_dims(i[:, 0] * i[:, 1], -1)).save(path)
    frame = pd.DataFrame({"x1": [2.0, 2.0] if "fixed" in given else [2.0, 4.0], "y": [1.0, 3.0]})
    design = {"designs": 1, **given, "bounds": {"x2": [0, 2], **given.get("bounds", {})}}
    prepared = prepare_model(path, registry=REGISTRY, frame=frame, **design)
    solve_table(prepared, frame, tmp_path / "d.csv")
    check_written(pd.read_csv(tmp_path / "d.csv"), prepared.model.surrogate, prepared.problem(frame).space, frame)
    if given:
        with pytest.raises(ConfigError, match="row 2: found 6, but the same command"):
            solve_table(prepared, frame.assign(x1=[2.0, 6.0]), tmp_path / "other.csv")


def test_fewest_changes_need_no_present_value_of_what_the_table_holds(run, surrogate, tmp_path):
    frame = pd.DataFrame({"age": [56.0, 7.0], "n": [1, 2], "y": [3.0, 4.0]})
    present = {"ligand": "L2", "x": 0.5, "z": 0.5}
    prepared = ready(run, frame=frame, near=present, fewest_changes=True)
    solve_table(prepared, frame, tmp_path / "d.csv")
    check_written(pd.read_csv(tmp_path / "d.csv"), surrogate, prepared.problem(frame).space, frame)


def test_a_row_in_which_no_combination_is_allowed_is_named_and_not_lost(surrogate):
    frame = pd.DataFrame({"age": [4.0, 5.0], "ligand": "L0", "x": 0.5, "z": 0.5, "y": [1.0, 2.0]})
    from invdesign_core.workflow.design import Design

    space = Design(constraints=["2*n = age"]).apply(SPACE, ("y",), frame)
    solver, mse = REGISTRY.create("solver", "least-squares", {"starts": 4}), REGISTRY.create("objective", "mse", {})
    with pytest.raises(ConfigError, match="targets, row 2: with its values no design"):
        list(invert_many(surrogate, frame, space, mse, solver, Context()))


def test_the_command_line_solves_a_run_at_the_values_of_its_table(run, surrogate, tmp_path, capfd):
    from invdesign_core.cli.commands import solve

    frame = pd.DataFrame({"age": [56.0, 7.0], "ligand": ["L0", "L1"], "y": [3.0, 4.0]})
    frame.to_csv(tmp_path / "wanted.csv", index=False)
    args = [str(run), "--targets", str(tmp_path / "wanted.csv"), "--out", str(tmp_path / "d.csv"), "--json", "--quiet"]
    solve.main([*args, "--set", "solver.starts=4"], standalone_mode=False)
    assert json.loads(capfd.readouterr().out)["targets"] == 2
    check_written(pd.read_csv(tmp_path / "d.csv"), surrogate, SPACE, frame)
    with pytest.raises(ConfigError, match="row 1: found 56, but the same command fixes it at 20"):
        solve.main([*args, "--fixed", "age=20"], standalone_mode=False)


def test_a_row_to_which_no_measured_design_is_near_is_named(run, tmp_path):
    frame = pd.DataFrame({"age": [28.0, 1000.0], "y": [3.0, 4.0]})
    with pytest.raises(ConfigError, match="targets, row 2: with its values, stay_near_data: no measured design"):
        solve_table(ready(run, frame=frame, stay_near_data=True), frame, tmp_path / "d.csv")


def test_a_row_to_which_no_combination_that_was_tried_is_near_is_named(run, tmp_path):
    frame = pd.DataFrame({"age": [28.0, 60.0], "y": [3.0, 4.0]})
    options = {"stay_near_data": True, "step": {"x": 0.25, "z": 0.25}}
    with pytest.raises(ConfigError, match=r"targets, row 2: with its values, stay_near_data: no .*design"):
        solve_table(ready(run, frame=frame, **options), frame, tmp_path / "d.csv")
