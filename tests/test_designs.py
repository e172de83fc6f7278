"""Answers: distinct designs, best first, and what is known of each; from networks whose exact answers are known."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import fn, invert, lin, prepare_model

from invdesign_core.context import Context
from invdesign_core.data.data import TrainingRows
from invdesign_core.data.distance import DataDistance
from invdesign_core.designs.distinct import pick
from invdesign_core.designs.report import design_reports
from invdesign_core.registry import Registry
from invdesign_core.space.digits import typed
from invdesign_core.space.rules import Constraints, Linear
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.solve import solve_one, solve_table

REGISTRY = Registry.discover()


def square():
    from keras import ops

    return fn(1, ops.square)


def himmelblau():
    """Four roots: (3, 2), (-2.805, 3.131), (-3.779, -3.283), (3.584, -1.848)."""
    from keras import ops

    def bowl(x):
        a, b = x[:, :1], x[:, 1:]
        return ops.square(a * a + b - 11) + ops.square(a + b * b - 7)

    return fn(2, bowl)


def arm():
    """The hand of a planar arm of two links of length 1."""
    from keras import ops

    def hand(x):
        a, ab = x[:, 0], x[:, 0] + x[:, 1]
        return ops.stack([ops.cos(a) + ops.cos(ab), ops.sin(a) + ops.sin(ab)], axis=1)

    return fn(2, hand)


ROOTS = np.array([[3, 2], [-2.805118, 3.131312], [-3.779310, -3.283186], [3.584428, -1.848126]])
ELBOWS = np.array([[-np.pi / 6, np.pi / 2], [np.pi / 3, -np.pi / 2]])
"""Both ways to put the hand where cos(a) + cos(a + b) = (√3 + 1) / 2 and the sines make (√3 - 1) / 2."""
HAND = {"x": (3**0.5 + 1) / 2, "y": (3**0.5 - 1) / 2}
ISOLATED = {
    "square": (square, {"y": 1}, (-2, 2), [[-1], [1]]),
    "himmelblau": (himmelblau, {"y": 0}, (-6, 6), ROOTS),
    "arm": (arm, HAND, (-3, 3), ELBOWS),
}


def solve(model, target, box=(0.0, 1.0), seed=0, space=None, designs=10, known=None, solver="least-squares", **options):
    space = space or Space(
        tuple(Variable(f"x{i + 1}", lower=box[0], upper=box[1]) for i in range(model.input_shape[1]))
    )
    surrogate = Surrogate.of_model(model, space, tuple(target))
    return invert(
        surrogate,
        parse_targets(target, tuple(target)),
        space,
        REGISTRY.create("objective", "mse", {}),
        REGISTRY.create("solver", solver, options),
        Context(seed),
        known,
        designs=designs,
    )


def inputs(answers):
    return answers.designs.filter(like="design.").to_numpy(dtype=float)


def free(answers, rank=0):
    return json.loads(answers.designs["free_directions"][rank])


# Distinct designs


@pytest.mark.parametrize("solver", ["least-squares", "lbfgsb"])
def test_two_answers_are_two_and_neither_their_mean_nor_copies(solver):
    answers = solve(square(), {"y": 1}, (-2, 2), designs=5, solver=solver)
    assert sorted(inputs(answers)[:, 0]) == pytest.approx([-1, 1], abs=1e-4)
    assert answers.designs["met"].all()
    assert answers.designs["starts"].sum() == answers.counts()["hit"]


@pytest.mark.slow
def test_the_number_of_distinct_answers_is_said(tmp_path, invdesign):
    square().save(tmp_path / "square.keras")
    ask = ["solve", "square.keras", "--bounds", "x1=-2..2", "--target", "1", "--designs", "5"]
    done = invdesign(*ask)
    assert re.search(r"designs for y = 1 ± 0\.0\d+ \(2 distinct\)", done.out), done.err
    report = invdesign(*ask, "--json").json
    assert report["distinct"] == len(report["designs"]) == 2
    assert sorted(d["inputs"]["x1"] for d in report["designs"]) == pytest.approx([-1, 1], abs=1e-4)


def test_answers_along_a_valley_lie_far_apart_and_its_direction_is_named():
    answers = solve(lin([[1], [1]]), {"y": 10}, (0, 10), designs=3)
    found = inputs(answers)
    assert found.sum(axis=1) == pytest.approx([10] * 3, abs=1e-3)
    gaps = np.abs(np.diff(np.sort(found[:, 0])))
    assert np.ptp(found[:, 0]) > 5
    assert gaps.min() > 2, "none beside another"
    assert free(answers) == [{"x1": 1.0, "x2": -1.0}]
    assert answers.designs["starts"].sum() == 64, "each start counts for the part that it led to"


@pytest.mark.parametrize("seed", range(10))
def test_all_four_roots_of_himmelblau_are_found(seed):
    found = inputs(solve(himmelblau(), {"y": 0}, (-6, 6), seed=seed))
    assert len(found) == 4
    assert np.abs(found[:, None] - ROOTS).max(axis=2).min(axis=0).max() < 0.06


def test_both_elbows_of_an_arm_are_found():
    found = inputs(solve(arm(), HAND, (-3, 3)))
    assert len(found) == 2
    assert np.abs(found[:, None] - ELBOWS).max(axis=2).min(axis=0).max() < 1e-3


@pytest.mark.long
@pytest.mark.parametrize("name", ISOLATED)
def test_five_seeds_give_the_same_set_in_the_same_order(name):
    model, target, box, exact = ISOLATED[name]
    sets = [inputs(solve(model(), target, box, seed=seed)) for seed in range(5)]
    for a, b in itertools.combinations(sets, 2):
        alike = (np.abs(a[:, None] - b) <= 0.01 * (box[1] - box[0])).all(axis=2)
        common = alike.any(axis=1).sum()
        assert common / (len(a) + len(b) - common) == 1, "Jaccard"
        assert alike.diagonal().all(), "ties are broken alike"
    assert len(sets[0]) == len(exact)


def test_designs_inside_a_range_rank_alike_and_then_by_their_spread():
    answers = solve(lin([[14, 0], [0, 100]]), {"pH": "6..8", "perf": ">=80"}, designs=3)
    assert (answers.designs["loss"] < 1e-12).all(), "0 but for the rounding of the edge"
    apart = inputs(answers)
    assert np.abs(apart[:, None] - apart).max(axis=2)[~np.eye(3, dtype=bool)].min() > 0.05
    for rank, (pH, perf) in enumerate(answers.designs[["prediction.pH", "prediction.perf"]].to_numpy()):
        moves = {name for direction in free(answers, rank) for name in direction}
        edge = min(pH - 6, 8 - pH) < 1e-3, perf - 80 < 1e-2
        assert moves == {name for name, at_it in zip(("x1", "x2"), edge, strict=True) if not at_it}


def test_a_start_that_meets_nothing_is_no_answer_beside_those_that_do():
    from keras import ops

    # A second, shallower bump that can't reach the target.
    model = fn(1, lambda x: ops.exp(-ops.square((x - 0.2) / 0.05)) + 0.5 * ops.exp(-ops.square((x - 0.8) / 0.05)))
    answers = solve(model, {"y": 0.99}, designs=10, init="sobol")
    assert (~answers.starts["hit"]).any()
    assert answers.designs["met"].all()
    assert inputs(answers)[:, 0] == pytest.approx([0.2] * len(answers.designs), abs=0.02)


def picked(points, score, hit=None, count=10, outside=None):
    points = np.asarray(points, dtype=float)
    hit = np.ones(len(points), dtype=bool) if hit is None else np.asarray(hit)
    return pick(np.zeros(len(points), dtype=int), points, hit, np.atleast_2d(np.asarray(score, float)), count, outside)


def test_the_best_of_each_basin_comes_before_a_second_of_a_wide_one():
    line = np.column_stack([np.full(50, 0.1), np.linspace(0, 1, 50)])
    points = np.concatenate([line, [[0.9, 0.5]]])
    score = np.r_[np.linspace(1e-3, 2e-3, 50), 5e-3]
    found = picked(points, score, count=3)
    assert found.rows.tolist() == [0, 50, 49], "the valley's best, the other basin's, the valley's far end"
    assert found.starts.sum() == 51


def test_among_equals_those_inside_the_data_come_first():
    points = [[0.1, 0.1], [0.5, 0.5], [0.9, 0.9]]
    assert picked(points, [0, 0, 0], outside=np.array([7.0, 0.5, 0.2])).rows.tolist() == [2, 1, 0]
    assert picked(points, [0, 0, 1e-3], outside=np.array([7.0, 0.5, 0.2])).rows.tolist() == [1, 0, 2]


def test_rounding_decides_nothing():
    points = [[0.8, 0.2], [0.2, 0.8]]
    for tiny in ([1e-30, 1e-14], [1e-14, 1e-30]):
        assert picked(points, tiny).rows.tolist() == [1, 0]


def test_of_one_answer_the_most_exact_start_is_reported():
    assert picked([[0.5], [0.5000001], [0.5000002]], [1e-12, 1e-15, 1e-13]).rows.tolist() == [1]


def test_where_nothing_meets_only_designs_near_the_best_are_reported():
    found = picked([[0.1], [0.5], [0.9]], [1.0, 1.5, 9.0], hit=[False] * 3)
    assert found.rows.tolist() == [0, 1]


def test_a_violated_limit_counts_before_any_loss_however_large():
    keys = np.array([[0.0, 1.0], [1e9, 0.0]])  # how much limits are violated, then the loss
    found = pick(np.zeros(2, dtype=int), np.array([[0.1], [0.9]]), np.ones(2, dtype=bool), keys, 2)
    assert found.rows.tolist() == [0, 1]
    missed = pick(np.zeros(2, dtype=int), np.array([[0.1], [0.9]]), np.zeros(2, dtype=bool), keys, 2)
    assert missed.rows.tolist() == [0], "twice the least violation, none, is none"


def test_targets_do_not_mix_and_one_without_a_finite_score_has_no_design():
    groups = np.array([0, 0, 1, 2, 2])
    points = np.array([[0.1], [0.9], [0.1], [0.1], [0.1]])
    score = np.array([[0.0, 0.0, np.inf, 0.0, 0.0]])
    found = pick(groups, points, np.ones(5, dtype=bool), score, 5)
    assert (found.rows.tolist(), found.ranks.tolist(), found.starts.tolist()) == ([0, 1, 3], [1, 2, 1], [1, 1, 2])


def test_distinct_is_meant_in_shares_of_the_bounds_where_they_are_narrower_than_the_data():
    from keras import ops

    model, space = fn(1, lambda x: ops.square(x - 5)), Space((Variable("x", lower=0, upper=1000),))
    answers = invert(
        Surrogate.of_model(model, space, ("y",)),
        parse_targets({"y": {"equals": 1, "tolerance": 0.01}}, ("y",)),
        space.restrict({"x": (0, 10)}),
        REGISTRY.create("objective", "mse", {}),
        REGISTRY.create("solver", "least-squares", {}),
        Context(),
    )
    assert sorted(inputs(answers)[:, 0]) == pytest.approx([4, 6], abs=1e-2)


# Free directions


def test_the_bottom_of_a_bowl_is_no_valley():
    assert free(solve(himmelblau(), {"y": 0}, (-6, 6))) == []


def test_a_bent_valley_is_one():
    from keras import ops

    circle = fn(2, lambda x: ops.sum(ops.square(x), axis=1, keepdims=True))
    answers = solve(circle, {"y": 1}, (-2, 2), designs=3)
    for rank in range(3):
        (direction,) = free(answers, rank)
        x, step = inputs(answers)[rank], [direction.get("x1", 0), direction.get("x2", 0)]
        assert abs(x @ step) < 0.02 * np.linalg.norm(step), "the tangent"


def test_directions_are_in_the_users_units_and_fixed_or_whole_inputs_are_in_none():
    space = Space(
        (
            Variable("T", lower=0, upper=1000),
            Variable("p", lower=0, upper=1),
            Variable("n", "integer", lower=0, upper=5),
            Variable("f", lower=0, upper=9),
        )
    ).restrict(fixed={"f": 1.0})
    answers = solve(lin([[0.001], [2], [1], [1]]), {"y": 3}, space=space)
    assert free(answers, 1) == [{"T": 1.0, "p": pytest.approx(-0.0005, rel=1e-3)}]


def test_a_linear_equation_takes_a_direction_away():
    equation = Constraints(Linear(np.array([[1.0, 1.0, 1.0]]), np.array([1.0]), np.array([1.0])))
    space = Space(tuple(Variable(f"x{i}", lower=0, upper=1) for i in range(3)), equation)
    surrogate = Surrogate.of_model(lin([[1], [2], [0]]), space, ("y",))
    from invdesign_core.designs.directions import free_directions
    from invdesign_core.targets import Targets

    targets = Targets.build([parse_targets({"y": 0.8}, ("y",))], ("y",), surrogate.spread)
    x = np.array([[0.2, 0.3, 0.5]])
    assert free_directions(surrogate, space, targets, x) == [[{"x0": 1.0, "x1": -0.5, "x2": -0.5}]]
    assert len(free_directions(surrogate, Space(space.variables), targets, x)[0]) == 2


@pytest.mark.parametrize(
    ("at", "most", "count"), [(0, [1, 1], 0), (0.5, [1, 1], 1), (0.5, [0.5, 1], 1), (0.5, [0.5, 0.5], 0)]
)
def test_a_direction_that_leads_out_of_bounds_or_inequalities_both_ways_is_none(at, most, count):
    limits = Constraints(Linear(np.eye(2), np.array([-np.inf, -np.inf]), np.array(most, dtype=float)))
    space = Space(tuple(Variable(f"x{i}", lower=0, upper=1) for i in range(2)), limits)
    surrogate = Surrogate.of_model(lin([[1], [1]]), space, ("y",))
    from invdesign_core.designs.directions import free_directions
    from invdesign_core.targets import Targets

    targets = Targets.build([parse_targets({"y": 2 * at}, ("y",))], ("y",), surrogate.spread)
    assert len(free_directions(surrogate, space, targets, np.array([[at, at]], dtype=float))[0]) == count


@pytest.mark.slow
def test_many_free_directions_are_counted_and_the_inputs_that_make_up_for_them_named(tmp_path, invdesign):
    weights = np.random.default_rng(0).normal(size=(14, 2))
    weights[7] = 0
    lin(weights).save(tmp_path / "wide.keras")
    bounds = [text for i in range(14) for text in ("--bounds", f"x{i + 1}=0..1")]
    ask = ["solve", "wide.keras", *bounds, "--target", "y1=1", "--target", "y2=0.5"]
    done = invdesign(*ask, env={"COLUMNS": "80"})
    said = " ".join(done.out.split())
    assert "12 of 14 directions are free" in said, done.err
    assert "can compensate for the others; without effect here: x8" in said
    best = invdesign(*ask, "--json").json["designs"][0]
    assert len(best["free_directions"]) == 12
    for direction in best["free_directions"]:
        step = np.array([direction.get(f"x{i + 1}", 0) for i in range(14)])
        assert np.abs(step @ weights).max() < 0.02 * np.abs(step).max()


# How far each input may move alone


def test_each_input_may_move_alone_until_the_target_is_missed():
    answers = solve(lin([[1], [2]]), {"y": {"equals": 1.5, "tolerance": 0.1}}, designs=4)
    for (x1, x2), row in zip(inputs(answers), answers.designs.to_dict("records"), strict=True):
        assert [row["from.x1"], row["to.x1"]] == pytest.approx([max(x1 - 0.1, 0), min(x1 + 0.1, 1)], abs=2e-4)
        assert [row["from.x2"], row["to.x2"]] == pytest.approx([max(x2 - 0.05, 0), min(x2 + 0.05, 1)], abs=2e-4)


def test_whole_numbers_stay_whole_where_another_design_misses():
    def truth(designs):
        return pd.DataFrame({"y": 3.0 + 0 * designs["k"]})

    space = Space((Variable("k", "integer", lower=0, upper=5),))
    plugins = REGISTRY.create("objective", "mse", {}), REGISTRY.create("solver", "least-squares", {})
    surrogate, target = Surrogate.of_model(lin([[1.0]]), space, ("y",)), parse_targets({"y": 3}, ("y",))
    designs = design_reports(invert(surrogate, target, space, *plugins, Context(), truth=truth))
    assert json.dumps(designs[0].tolerance_range) == '{"k": [3, 3]}'
    steep = Surrogate.of_model(lin([[1.2]]), space, ("y",))
    best = design_reports(invert(steep, target, space, *plugins, Context(), truth=truth))[0]
    assert (best.met["y"], best.tolerance_range) == (True, None), "met by the truth, but not by the prediction"


def test_the_room_ends_at_the_first_miss():
    answers = solve(square(), {"y": {"equals": 1, "tolerance": 0.21}}, (-2, 2))
    for row in answers.designs.to_dict("records"):
        ends = sorted([abs(row["from.x1"]), abs(row["to.x1"])])
        assert ends == pytest.approx([0.79**0.5, 1.1], abs=5e-4)
        assert row["from.x1"] * row["to.x1"] > 0, "the other answer is beyond a miss"


def test_inputs_that_are_no_numbers_have_levels_and_whole_ones_whole_ends():
    space = Space(
        (
            Variable("alloy", "categorical", levels=("A", "B", "C")),
            Variable("n", "integer", lower=0, upper=9),
            Variable("size", "levels", levels=(1.0, 2.0, 4.0)),
            Variable("x", lower=0, upper=1),
        )
    )
    answers = solve(lin([[0], [0.5], [30], [1], [0], [0]]), {"y": {"equals": 4, "tolerance": 1}}, space=space)
    best = answers.designs.iloc[0]
    assert json.loads(best["levels.alloy"]) == ["A", "B"]
    offset = 0.5 * (best["design.alloy"] == "B")
    whole = [n for n in range(10) if abs(offset + n - 4) <= 1]
    assert [best["from.n"], best["to.n"]] == [whole[0], whole[-1]]
    assert [best["from.size"], best["to.size"]] == [1, 4]
    assert [best["from.x"], best["to.x"]] == [0, 1]
    assert not any(name.endswith(".alloy") for name in answers.designs.columns if name.startswith(("from", "to")))


def test_out_of_reach_ends_with_the_nearest_design_and_its_miss(tmp_path, invdesign):
    lin([[1], [1]], act="tanh").save(tmp_path / "flat.keras")
    ask = ["solve", "flat.keras", "--bounds", "x1=0..1", "--bounds", "x2=0..1", "--target", "5"]
    done = invdesign(*ask)
    assert done.code == 1
    assert "no design meets the target; closest: y misses by 4.036" in done.out
    report = invdesign(*ask, "--json")
    assert report.code == 1
    best = report.json["designs"][0]
    assert (report.json["status"], report.json["distinct"]) == ("not met", 1)
    assert best["inputs"] == {"x1": 1, "x2": 1}
    assert best["miss"]["y"] == pytest.approx(-4.0360, abs=1e-4)
    assert (best["tolerance_range"], best["free_directions"], best["nearest"]) == (None, None, None)


# Nearness to the data


@pytest.fixture
def strip(tmp_path):
    """1000 rows along the diagonal, and the network y = x1."""
    rng = np.random.default_rng(0)
    x1 = rng.random(1000)
    x2 = np.clip(x1 + rng.uniform(-0.05, 0.05, 1000), 0, 1)
    pd.DataFrame({"x1": x1, "x2": x2, "y": x1}).to_csv(tmp_path / "strip.csv", index=False)
    lin([[1], [0]]).save(tmp_path / "strip.keras")
    return prepare_model(
        tmp_path / "strip.keras", registry=REGISTRY, table=tmp_path / "strip.csv", outputs=["y"], designs=5
    )


def test_designs_off_the_data_are_flagged_and_come_after_the_others(strip, tmp_path):
    result = solve_one(strip, ["y=0.9"])
    found = result.answers.designs
    off = (found["design.x2"] - 0.9).abs()
    assert (off > 0.2).any()
    assert not found["inside"][off > 0.2].any()
    assert found["inside"][0]
    assert found["nearest.distance"][0] <= 0.03
    table = pd.read_csv(tmp_path / "strip.csv")
    distance = np.hypot(table["x1"] - found["design.x1"][0], table["x2"] - found["design.x2"][0])
    assert found["nearest.row"][0] == distance.argmin() + 1, "the first row is 1"
    assert found["nearest.distance"][0] == pytest.approx(distance.min(), rel=0.02)
    nearest = result.report.designs[0].nearest
    assert (nearest.row, nearest.inside) == (distance.argmin() + 1, True)


def test_what_distance_is_usual_among_the_rows_and_how_far_a_corner_is(strip):
    near = DataDistance.of(strip.model.rows, strip.base)
    assert 0.012 < near.limit < 0.013
    assert near.nearest(np.array([[1.0, 0.0]]))[1] == pytest.approx([0.67], abs=0.01)


def test_a_table_of_targets_says_where_each_design_lies_and_leaves_out_its_surroundings(strip, tmp_path):
    solve_table(strip, pd.DataFrame({"y": [0.1, 0.5, 0.9]}), tmp_path / "designs.parquet")
    table = pd.read_parquet(tmp_path / "designs.parquet")
    assert {"nearest.row", "nearest.distance", "inside"} <= set(table.columns)
    assert not [name for name in table.columns if name.startswith(("from.", "to.", "free"))]
    assert table.groupby("target")["inside"].first().all()


def test_another_category_is_one_away_and_repeated_rows_count_once():
    space = Space((Variable("kind", "categorical", levels=("A", "B", "C")), Variable("x", lower=0, upper=10)))
    x = np.array([[1.0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 10], [1, 0, 0, 5]])
    near = DataDistance.of(TrainingRows(x, np.zeros((4, 1)), np.array([9, 4, 7, 2])), space)
    row, distance = near.nearest(np.array([[0.0, 0, 1, 0], [0, 1, 0, 10]]))
    assert distance == pytest.approx([1, 0])
    assert near.rows[row].tolist() == [4, 7]
    assert len(near.points) == 3


@pytest.mark.long
def test_a_saved_estimator_keeps_the_numbers_of_its_rows(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x1": rng.random(80), "x2": rng.random(80)})
    model = InverseDesign(
        surrogate={"use": "selu-mlp", "widths": [8], "learning_rate": [0.01, 0.01]}, training={"epochs": 5}
    ).fit(frame, frame["x1"] + frame["x2"])
    model.save(tmp_path / "kept")
    for fitted in (model, InverseDesign.load(tmp_path / "kept")):
        best = fitted.invert(1.0).designs.iloc[0]
        row = frame.iloc[best["nearest.row"] - 1]
        scaled = (row - best[["design.x1", "design.x2"]].to_numpy(float)) / (frame.max() - frame.min())
        assert np.linalg.norm(scaled) == pytest.approx(best["nearest.distance"], rel=0.1)


def test_near_a_present_design_a_maximum_is_still_as_large_as_can_be(tmp_path):
    lin([[1], [0]]).save(tmp_path / "first.keras")
    options = {"bounds": {"x1": (0, 1), "x2": (0, 1)}, "near": {"x1": 0.2, "x2": 0.3}}
    best = solve_one(prepare_model(tmp_path / "first.keras", registry=REGISTRY, **options), ["y=max"]).report.designs[0]
    assert best.inputs["x1"] > 0.979, "the largest, less the tolerance of 2 %"
    assert best.inputs["x2"] == pytest.approx(0.3, abs=0.01), "what doesn't matter stays as it is"


# On the screen


@pytest.mark.parametrize("columns", ["60", "80", "200"])
def test_no_digit_is_cut_however_narrow_the_terminal(tmp_path, invdesign, columns):
    rng = np.random.default_rng(1)
    lin(rng.normal(size=(9, 2))).save(tmp_path / "wide.keras")
    bounds = [text for i in range(9) for text in ("--bounds", f"x{i + 1}=0..1")]
    ask = ["solve", "wide.keras", *bounds, "--target", "y1=1", "--target", "y2=0.5"]
    done = invdesign(*ask, env={"COLUMNS": columns})
    for design in invdesign(*ask, "--json").json["designs"]:
        for value in design["inputs"].values():
            assert f" {typed(value)} " in done.out
    assert max(map(len, done.out.splitlines())) <= int(columns)
    assert "…" not in done.out
