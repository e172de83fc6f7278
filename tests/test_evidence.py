"""What an answer rests on: measured rows, the surrogate's errors, the true model, and the nearest row."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from conftest import invert, lin, prepare_model

from invdesign_core.cli.console import show, show_table
from invdesign_core.cli.run import finish
from invdesign_core.context import Context
from invdesign_core.data.data import TrainingRows
from invdesign_core.data.distance import NEAR, DataDistance
from invdesign_core.designs.measured import admissible
from invdesign_core.designs.report import OutputMetrics, SurrogateReport
from invdesign_core.designs.verdict import GUESS, Quality
from invdesign_core.registry import Registry
from invdesign_core.search.trust_boxes import TrustBoxes
from invdesign_core.space.constraint_text import parse_constraints
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets
from invdesign_core.workflow.result import make_report
from invdesign_core.workflow.run_folder import RunFolder
from invdesign_core.workflow.solve import solve_model, solve_table

REGISTRY = Registry.discover()
BARE = SurrogateReport(
    plugin=None, members=1, trials=0, failed=0, best={}, objective=None, score=None, retrained=False, rows={}, test={}
)
ROWS = pd.DataFrame(  # the model below predicts 10 a + 10 b for the yield and 50 a for the turn
    {
        "a": [0.0, 1.0, 0.5, 0.2, 0.8, 0.9],
        "b": [0.0, 1.0, 0.5, 0.8, 0.3, 0.7],
        "yield": [0.25, 19.0, 10.123456789, 25.5, 11.0, 24.0],
        "turn": [0.0, 50.0, 25.0, 10.0, 40.0, 45.0],
    }
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    lin([[10, 50], [10, 0]]).save(folder / "model.keras")
    ROWS.to_csv(folder / "rows.csv", index=False)
    return folder


@pytest.fixture
def ask(files):
    def run(*targets, rows=None, **options):
        table = files / "rows.csv"
        if rows is not None:
            table = files / "other.csv"
            rows.to_csv(table, index=False)
        chosen = {"outputs": ("yield", "turn"), "overrides": {"solver": {"use": "auto", "starts": 16}}, **options}
        return solve_model(files / "model.keras", list(targets), table=table, **chosen)

    return run


def printed(report):
    out = io.StringIO()
    show(report, out, quiet=True)
    return " ".join(out.getvalue().split())


def exit_code(result):
    return finish(lambda: result, True, io.StringIO(), True)


# Measured rows


def test_rows_that_meet_a_target_which_no_design_meets_are_the_answer(ask):
    result = ask("yield>=22", "turn>=30")
    report = result.report
    assert (report.status, report.met_by, exit_code(result)) == ("met", "measured row", 0)
    assert [row.row for row in report.measured] == [6]
    assert report.measured[0].outputs == {"yield": 24.0, "turn": 45.0}
    assert report.measured[0].inputs == {"a": 0.9, "b": 0.7}
    assert report.measured[0].met == {"yield": True, "turn": True}
    assert not any(all(design.met.values()) for design in report.designs)
    assert report.verdict.startswith(
        "no proposed design meets the target, but 1 measured row does; it is row 6: yield 24, turn 45"
    )
    text = printed(report)
    assert text.index("1 measured row already meets the target") < text.index("designs for")


def test_a_maximum_that_a_row_beats_says_both_values_and_is_optimised(ask):
    result = ask("yield=max")
    report = result.report
    assert (report.status, report.met_by, exit_code(result)) == ("optimised", None, 0)
    assert report.designs[0].met == {}
    assert [row.row for row in report.measured] == [4, 6]
    assert (report.measured_count, report.measured_best.row) == (2, 4)
    assert "the largest yield found is 20 by prediction; the best measured row (4) has yield 25.5" in report.verdict
    assert "which is better" in report.verdict
    text = printed(report)
    assert "2 measured rows beat the best design" in text
    assert "hit the target" not in text
    assert report.starts.hit is None
    assert "met.yield" not in result.answers.designs
    assert result.answers.designs["met"].isna().all()


def test_the_best_row_is_named_where_the_maximum_found_is_better(ask):
    report = ask("yield=max", rows=ROWS.assign(**{"yield": 10 * (ROWS["a"] + ROWS["b"]) - 1})).report
    assert report.measured == []
    assert report.measured_best.row == 2
    assert report.verdict == "the largest yield found is 20 by prediction; the best measured row (2) has yield 19"


def test_limits_beside_a_maximum_hold_for_rows_too(ask):
    report = ask("yield=max", "turn>=30").report
    assert [row.row for row in report.measured] == [6], "row 4 has a turn of 10"
    assert (report.status, report.met_by, report.designs[0].met) == ("optimised", "prediction", {"turn": True})
    assert "with all limits held is 20" in report.verdict
    assert "hold all limits" in printed(report)


def test_rows_are_answers_where_no_design_holds_the_limits_of_a_maximum(ask):
    result = ask("turn=max", "yield>=23")
    report = result.report
    assert (report.status, report.met_by, exit_code(result)) == ("optimised", "measured row", 0)
    assert [row.row for row in report.measured] == [6, 4]
    assert "no proposed design holds all limits, but 2 measured rows do; the best is row 6" in report.verdict


def test_a_row_better_in_one_maximum_and_worse_in_another_does_not_beat_the_design(ask):
    report = ask("yield=max", "turn=max").report
    assert report.measured == [], "rows 4 and 6 have more yield and less turn than the corner"


def test_rows_come_first_also_where_designs_meet_and_at_most_as_many_as_designs(ask):
    rows = pd.DataFrame({"a": np.linspace(0, 1, 11), "b": 0.5, "yield": np.linspace(9, 11, 11), "turn": 1.0})
    rows.loc[0, "b"], rows.loc[10, "b"] = 0.0, 1.0
    report = ask("yield=10 tolerance 0.45", rows=rows, designs=2).report
    assert (report.status, report.met_by) == ("met", "prediction")
    assert [row.row for row in report.measured] == [6, 5], "the nearest first"
    assert report.measured_count == 5
    assert "5 measured rows meet it already (row 6)" in report.verdict


@pytest.mark.parametrize(
    "design",
    [
        {"bounds": {"a": (0, 0.85)}},
        {"fixed": {"b": 0.5}},
        {"levels": {"a": [0, 0.5, 1]}},
        {"step": {"a": 0.25}},
        {"constraints": ["a + b <= 1.5"]},
        {"constraints": ["a - b = 0"]},
        {"constraints": ["at most 1 of a, b above zero"]},
    ],
    ids=lambda design: next(iter(design)),
)
def test_rows_outside_what_the_search_may_propose_do_not_count(ask, design):
    assert ask("yield>=22", "turn>=30", **design).report.measured == []


def test_a_row_counts_by_its_asked_outputs_alone(ask):
    rows = ROWS.assign(turn=[0.0, 50.0, 25.0, np.nan, 40.0, 45.0])
    assert [row.row for row in ask("yield>=25", rows=rows).report.measured] == [4]
    assert ask("yield>=25", "turn<=20", rows=rows).report.measured == []


def test_rounded_shares_satisfy_their_equation_and_others_do_not():
    space = Space(tuple(Variable(name, lower=0, upper=100) for name in "abc"))
    space = Space(space.variables, parse_constraints(["a + b + c = 100"], space, ()))
    x = np.array([[33.3, 33.3, 33.3], [33.33, 33.33, 33.34], [30, 30, 30], [50, 50, 0]])
    assert admissible(space, x).tolist() == [True, True, False, True]


def test_categories_and_several_limits_as_on_a_screening_table():
    space = Space((Variable("ligand", "categorical", levels=("L1", "L2", "L3")), Variable("load", lower=0, upper=1)))
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"ligand": rng.choice(["L1", "L2", "L3"], 89), "load": rng.random(89)})
    frame.loc[[10, 20, 30], "ligand"] = "L2"
    y = np.column_stack([rng.uniform(0, 80, 89), rng.uniform(0, 60, 89)])
    y[[10, 20, 30]] = [[91, 71], [98.7, 75], [90.5, 80]]
    known = TrainingRows(space.encode(frame), y, np.arange(89) + 1)
    surrogate = Surrogate.of_model(lin([[80, 60], [85, 65], [70, 50], [2, 1]]), space, ("yield", "turnover"), y=known.y)
    targets = parse_targets(["yield>=90", "turnover>=70"], surrogate.outputs)
    found = solved(surrogate, targets, space, known)
    assert found.met_by == "measured row"
    assert found.measured["row"].tolist() == [11, 21, 31]
    assert set(found.measured["design.ligand"]) == {"L2"}
    top = solved(surrogate, parse_targets(["yield=max"], surrogate.outputs), space, known)
    assert top.measured.iloc[0][["row", "measured.yield"]].tolist() == [21, 98.7]
    held = solved(surrogate, targets, space.restrict(levels={"ligand": ["L1", "L3"]}), known)
    assert (held.met_by, held.measured["answer"].any()) == (None, False)


def solved(surrogate, targets, space, known=None, truth=None, quality=None):
    made = [REGISTRY.create(kind, name, {}) for kind, name in (("objective", "mse"), ("solver", "least-squares"))]
    return invert(surrogate, targets, space, *made, Context(), known, truth, quality=quality)


def test_rows_held_out_for_the_test_are_kept_and_count_in_a_later_solve(tmp_path):
    space = Space((Variable("x", lower=0, upper=1),))
    surrogate = Surrogate.of_model(lin([[1.0]]), space, ("y",))
    seen = TrainingRows(np.array([[0.0], [1.0]]), np.array([[0.0], [1.0]]), np.array([3, 1]))
    known = TrainingRows(*seen[:3], TrainingRows(np.array([[0.5]]), np.array([[7.0]]), np.array([2])))
    folder = RunFolder(tmp_path)
    folder.write_surrogate(surrogate, known)
    kept = folder.read_surrogate()[1]
    assert kept.x.tolist() == seen.x.tolist(), "searches start from the rows that training saw"
    assert kept.measured.rows.tolist() == [1, 2, 3]
    assert kept.measured.y[:, 0].tolist() == [1, 7, 0]
    found = solved(surrogate, parse_targets(["7"], ("y",)), space, kept)
    assert found.measured["row"].tolist() == [2]
    folder.write_surrogate(surrogate, seen)
    assert folder.read_surrogate()[1].measured.rows.tolist() == [3, 1], "nothing was held out"


def test_each_target_of_a_table_names_its_best_row_and_what_it_is_met_by(files, tmp_path):
    prepared = prepare_model(files / "model.keras", table=files / "rows.csv", outputs=("yield", "turn"), designs=1)
    frame = pd.DataFrame({"yield": ["10", "24 tolerance 0.5", "99", "max"], "turn": ["25", "45", None, ">=30"]})
    for name in ("designs.csv", "designs.parquet"):
        report = solve_table(prepared, frame, tmp_path / name)
        assert (report.targets, report.met, report.measured, report.optimised) == (4, 1, 1, 1)
        assert report.status == "not met"
        written = pd.read_csv(tmp_path / name) if name.endswith("csv") else pd.read_parquet(tmp_path / name)
        best = written.groupby("target").first()
        assert best["measured.row"].tolist() == [3, 6, 4, 6]
        assert best["measured.met"].astype(bool).tolist() == [True, True, False, True]
        assert best["nearest.measured.yield"].notna().all()
        out = io.StringIO()
        show_table(report, out)
        assert "1 of 4 targets met, 1 optimised (measured rows beat 1 of them: measured.row), 1 more" in out.getvalue()


def test_a_table_of_maxima_alone_is_optimised_and_hits_nothing(files, tmp_path):
    prepared = prepare_model(files / "model.keras", table=files / "rows.csv", outputs=("yield", "turn"), designs=1)
    report = solve_table(prepared, pd.DataFrame({"yield": ["max", "min"]}), tmp_path / "designs.csv")
    assert (report.status, report.met, report.optimised, report.starts.hit) == ("optimised", 0, 2, None)
    assert pd.read_csv(tmp_path / "designs.csv")["met"].isna().all()


def test_parts_of_a_table_have_the_same_columns_whatever_they_ask_for(files, tmp_path):
    prepared = prepare_model(
        files / "model.keras",
        table=files / "rows.csv",
        outputs=("yield", "turn"),
        designs=1,
        solver=("least-squares", {"starts": 4, "rows_at_once": 4}),
    )
    frame = pd.DataFrame({"yield": ["max", "10", None], "turn": [None, None, "30"]})
    report = solve_table(prepared, frame, tmp_path / "designs.csv")
    assert (report.met, report.optimised) == (2, 1)


def test_values_that_targets_come_with_hold_for_the_rows_too(files, tmp_path):
    prepared = prepare_model(files / "model.keras", table=files / "rows.csv", outputs=("yield", "turn"), designs=1)
    frame = pd.DataFrame({"yield": [24.0, 24.0], "a": [0.9, 0.8]})
    solve_table(prepared, frame, tmp_path / "designs.csv")
    assert pd.read_csv(tmp_path / "designs.csv")["measured.row"].tolist() == [6, 5]


# How good the surrogate is


def test_a_design_by_a_surrogate_that_explains_little_is_called_a_guess(ask):
    report = ask("yield=12").report
    assert report.status == "met"
    explained = report.designs[0].error
    misfit = 10 * (ROWS["a"] + ROWS["b"]) - ROWS["yield"]
    assert explained["yield"] == pytest.approx(np.sqrt((misfit**2).mean()), rel=1e-5)
    assert report.verdict.startswith("the prediction is met; the surrogate explains ")
    assert "% of yield on the 6 rows of the table: the design is a guess" in report.verdict
    assert f"predicted yield ± {explained['yield']:.5g}" in printed(report)
    assert ask("turn=20").report.verdict == "the best design meets the target by prediction", "turn is learnt well"


@pytest.mark.parametrize(("r2", "said"), [(0.28, "28 % of y"), (-0.4, "nothing of y (R² -0.4)"), (0.6, ""), (None, "")])
def test_what_the_surrogate_explains_is_said_below_half(r2, said):
    quality = Quality({"y": OutputMetrics(r2=r2, mae=1.0, rmse=2.0)}, "10 test rows")
    doubt = quality.doubt(["y", "z"])
    assert doubt == (f"the surrogate explains {said} on 10 test rows" if said else "")
    assert (r2 is None or r2 >= GUESS) == (not doubt)
    assert quality.doubt(["z"]) == "", "nobody asks for y"


def test_where_the_true_model_decides_the_surrogate_is_no_reason_for_doubt():
    report = reported(lambda designs: designs.assign(y=designs["x"]), ["0.5"])
    assert report.met_by == "truth"
    assert report.verdict == "the best design meets the target by the true model"


def test_members_are_shown_with_their_spread():
    space = Space((Variable("x", lower=0, upper=1),))
    box, one = np.array([[0.0], [1.0]]), np.ones(1)
    surrogate = Surrogate((lin([[1.0]]), lin([[1.2]])), space, ("y",), 0 * one, one, box, one)
    found = solved(surrogate, parse_targets(["0.55"], ("y",)), space)
    report = make_report(found, BARE, None, {}, "jax", [], Context())
    text = printed(report)
    assert "spread y" in text
    assert f"{report.designs[0].spread['y']:.5g}" in text
    assert report.designs[0].spread["y"] == pytest.approx(0.05, abs=1e-3)


# The true model


def reported(truth, targets, outputs=("y",)):
    weights = np.ones((1, len(outputs)))
    space = Space((Variable("x", lower=0, upper=1),))
    surrogate = Surrogate.of_model(lin(weights), space, outputs)
    test = {name: OutputMetrics(r2=0.1, mae=1.0, rmse=1.0) for name in outputs}
    poor = BARE.model_copy(update={"test": test, "rows": {"test": 9}})
    found = solved(surrogate, parse_targets(targets, outputs), space, truth=truth, quality=Quality.of(poor))
    return make_report(found, poor, None, {}, "jax", [], Context())


@pytest.mark.parametrize("target", ["0.5", ">=0.2", "0.2..0.8", "max"])
def test_a_true_model_that_fails_gives_no_miss_of_0(target):
    report = reported(lambda designs: designs.assign(y=np.nan), [target])
    assert (report.status, report.met_by) == ("not met", None)
    text = printed(report)
    assert "by 0" not in text
    assert "true model" in report.verdict
    assert not any(report.designs[0].met.values())
    if target != "max":
        assert "the true model gave no value of y there" in text


def test_a_true_model_that_fails_for_one_output_or_one_design_is_said_for_that_one():
    report = reported(lambda d: d.assign(y1=d["x"], y2=np.nan), ["y1=0.5", "y2=0.5"], ("y1", "y2"))
    assert report.status == "not met"
    assert report.designs[0].met == {"y1": True, "y2": False}
    assert report.designs[0].miss["y1"] == pytest.approx(0, abs=1e-6)
    assert report.designs[0].miss["y2"] is None
    assert "the true model gave no value of y2 there" in report.verdict
    assert "y1" not in report.verdict
    unasked = reported(lambda d: d.assign(y1=d["x"], y2=np.nan), ["y1=0.5"], ("y1", "y2"))
    assert unasked.status == "met", "nobody asks for y2"
    half = reported(lambda d: d.assign(y=d["x"].where(d["x"] > 0.6)), [">=0.2"])
    assert half.status == "met"
    true = [design.truth["y"] for design in half.designs]
    assert true[0] > 0.6
    assert None not in true[: len(true) - true.count(None)], "those with a value come before the others"


# The nearest row


def nearness(x, kind="continuous"):
    x = np.asarray(x, dtype=np.float64)
    variables = tuple(Variable(f"x{i}", lower=0, upper=1) for i in range(x.shape[1]))
    return DataDistance.of(TrainingRows(x, x[:, :1]), Space(variables)), Space(variables)


@pytest.mark.parametrize("spacing", [0.39, 0.5, 1.0])
def test_a_design_far_from_every_row_is_outside_however_far_the_rows_are_apart(spacing):
    rows = np.arange(0, 1.0001, spacing)[:, None]
    near, _ = nearness(np.column_stack([rows, rows]))
    assert near.limit <= NEAR <= 0.25
    on_a_row, off = near.low, near.low + 0.39 * near.unit / np.sqrt(2)
    between = near.nearest(off[None])[1] > NEAR
    assert near.inside(on_a_row[None])[0]
    assert near.inside(off[None])[0] == ~between[0]


def test_another_category_or_switch_is_never_near():
    kinds = (Variable("k", "categorical", levels=("A", "B")), Variable("s", "binary", levels=(0, 1)))
    space = Space((*kinds, Variable("x", lower=0, upper=1)))
    x = np.array([[1, 0, 0, 0.0], [0, 1, 1, 1.0]])  # A off 0 and B on 1: the rows are far from one another
    near = DataDistance.of(TrainingRows(x, x[:, :1]), space)
    assert near.inside(np.array([[0, 1, 0, 0.0], [1, 0, 1, 0.0], [1, 0, 0, 0.1]])).tolist() == [False, False, True]


def test_boxes_near_the_data_are_inside_by_the_same_measure():
    near, space = nearness([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    known = TrainingRows(near.points, near.points[:, :1])
    bounds = np.array(space.bounds)[:, None]
    lower, upper = TrustBoxes(space, near).around_rows(known, np.zeros((1, 3)), bounds, 3)
    corners = np.concatenate([lower[0], upper[0]])
    assert near.inside(corners).all()


def test_what_was_measured_in_the_nearest_row_stands_beside_the_prediction(ask):
    report = ask("yield=10", "turn=25").report
    design = report.designs[0]
    assert (design.nearest.row, design.nearest.measured) == (3, {"yield": 10.123456789, "turn": 25.0})
    text = printed(report)
    assert "nearest row's yield" in text
    assert "10.123456789" in text, "a measured value keeps its digits"
    assert json.loads(report.model_dump_json())["designs"][0]["nearest"]["measured"]["yield"] == 10.123456789
