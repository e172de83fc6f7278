"""Targets as engineers state them: ranges, limits, the most and the least, on networks whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import fn, invert, invert_many, lin, prepare_model

from invdesign_core.context import Context
from invdesign_core.registry import Registry
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_target, parse_targets
from invdesign_core.workflow.solve import solve_one, solve_table

REGISTRY = Registry.discover()
SOLVERS = ["lbfgsb", "least-squares"]
TWO = ("y1", "y2")


def box(width, low=0.0, high=1.0):
    return Space(tuple(Variable(f"x{i + 1}", lower=low, upper=high) for i in range(width)))


def solve(model, targets, outputs=TWO, solver="lbfgsb", objective="mse", space=None, surrogate=None, **options):
    said = []
    space = space or box(model.input_shape[1])
    surrogate = surrogate or Surrogate.of_model(model, space, outputs)
    ctx = Context(0, emit=lambda event: said.append(event.data["text"]) if event.kind in ("note", "warning") else None)
    plugins = REGISTRY.create("objective", objective, {}), REGISTRY.create("solver", solver, options)
    answers = invert(surrogate, parse_targets(targets, outputs), space, *plugins, ctx)
    return answers, said


def curve(f):
    """A network of one input with the outputs f(x)."""
    from keras import ops

    return fn(1, lambda x: ops.concatenate(f(x), axis=1))


# Ranges


def test_any_value_in_the_ranges_is_equally_good():
    answers, _ = solve(
        lin([[14, 0], [0, 100]]), {"pH": "6..8", "perf": ">=80"}, ("pH", "perf"), init="uniform", starts=200
    )
    starts = answers.starts
    inside = starts["guess.x1"].between(6 / 14, 8 / 14) & (starts["guess.x2"] >= 0.8)
    assert inside.sum() >= 3
    assert not starts["moved"][inside].any()
    assert (starts["loss"][inside] == 0).all()
    assert starts["hit"].all()
    at = starts[inside]["prediction.perf"]
    assert at.max() - at.min() > 2, "they rank alike, wherever they are"


# The most and the least


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_most_and_the_least_of_a_plane_are_corners_of_the_box(solver):
    model = lin([[1], [-2]])
    most, _ = solve(model, {"y": "max"}, ("y",), solver)
    least, _ = solve(model, {"y": "minimise"}, ("y",), solver)
    assert most.designs.filter(like="design.").iloc[0].tolist() == [1, 0]
    assert least.designs.filter(like="design.").iloc[0].tolist() == [0, 1]
    assert most.met
    assert (most.designs["miss.y"] == 0).all()


@pytest.mark.parametrize("objective", ["mse", "mae", "huber", "max-miss"])
def test_a_limit_on_another_output_holds_and_leaves_the_most(objective):
    answers, said = solve(lin([[1, 1], [1, 2]]), {"y1": "max", "y2": "<=1"}, objective=objective)
    best = answers.designs.iloc[0]
    assert best["prediction.y2"] <= 1
    assert best["prediction.y1"] == pytest.approx(1, abs=1e-3)
    assert [best["design.x1"], best["design.x2"]] == pytest.approx([1, 0], abs=1e-3)
    assert not said


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_top_of_a_curve_is_cut_off_by_a_limit(solver):
    answers, _ = solve(curve(lambda x: [-((x - 0.7) ** 2), x]), {"y1": "max", "y2": "<=0.5"}, solver=solver)
    best = answers.designs.iloc[0]
    assert 0.499 < best["design.x1"] <= 0.5
    assert best["prediction.y2"] <= 0.5
    assert answers.met


def test_a_limit_that_does_not_matter_costs_nothing():
    answers, _ = solve(curve(lambda x: [-((x - 0.7) ** 2), x]), {"y1": "max", "y2": "<=0.9"})
    assert answers.designs["design.x1"][0] == pytest.approx(0.7, abs=1e-3)


def test_a_set_point_beside_an_extremum_is_met_within_a_tenth_of_its_tolerance():
    answers, _ = solve(lin([[1, 1], [1, 2]]), {"y1": "max", "y2": 1})
    best = answers.designs.iloc[0]
    assert best["prediction.y1"] == pytest.approx(1, abs=0.006)
    assert abs(best["miss.y2"]) <= 0.1 * answers.targets.tolerance[0, 1]


def test_an_extremum_can_have_a_limit_of_its_own():
    model = lin([[1, 1], [1, 2]])
    most, _ = solve(model, {"y1": {"goal": "max", "at_most": 1.2}})
    assert 1.199 < most.designs["prediction.y1"][0] <= 1.2
    # y1 falls where y2 rises, and y1 must not fall below 0.9.
    both, _ = solve(
        lin([[1, 0], [-1, 1]]), {"y1": {"goal": "max", "at_least": 0.9}, "y2": {"goal": "max", "weight": 50}}
    )
    assert 0.9 <= both.designs["prediction.y1"][0] < 0.902
    assert both.designs["prediction.y2"][0] == pytest.approx(0.1, abs=2e-3)


def test_limits_that_can_not_all_hold_are_named_with_the_smallest_violation():
    model = curve(lambda x: [x, x, x])
    wanted = {"y1": "<=0.2", "y2": ">=0.5", "y3": "max"}
    answers, said = solve(model, wanted, ("y1", "y2", "y3"))
    best = answers.designs.iloc[0]
    assert not answers.met
    assert [best["miss.y1"], best["miss.y2"]] == pytest.approx([0.15, -0.15], abs=1e-3)
    assert "met.y3" not in best, "a maximum is never met"
    assert any("smallest violation: 'y1' misses by 0.15" in note and "'y2' misses by 0.15" in note for note in said)
    assert answers.starts["evaluations"].max() < 1000


def test_limits_hold_even_where_a_tolerance_would_forgive_it():
    answers, _ = solve(lin([[1, 1], [1, 2]]), {"y1": "max", "y2": {"at_most": 1, "tolerance": 0.5}})
    assert answers.designs["prediction.y2"][0] <= 1
    assert (answers.designs["prediction.y2"] <= 1).all()


def test_more_is_had_than_any_row_of_the_training_data_had():
    """The bounds reach fifty times as far as the data, and the output grows with the cube."""
    model, space = curve(lambda x: [x**3, x]), box(1, 0, 50)
    rows = np.array([[0.0, 0.0], [1.0, 1.0]])
    surrogate = Surrogate.of_model(model, space, TWO, np.array([[0.0], [1.0]]), rows)
    free, _ = solve(model, {"y1": "max"}, space=space, surrogate=surrogate)
    assert free.designs["design.x1"][0] == 50
    limited, _ = solve(model, {"y1": "max", "y2": "<=7"}, space=space, surrogate=surrogate)
    assert 6.99 < limited.designs["design.x1"][0] <= 7


def test_the_best_of_a_wavy_surface_under_limits_is_what_another_method_finds():
    import keras
    from scipy.optimize import minimize

    rng = np.random.default_rng(10)
    w1, b1, w2 = 2 * rng.normal(size=(4, 16)), rng.normal(size=16), rng.normal(size=(16, 4))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(16, "tanh"), keras.layers.Dense(4)])
    model.set_weights([w1, b1, w2, np.zeros(4)])

    def f(x):
        return np.tanh(x @ w1 + b1) @ w2

    y = f(rng.random((4000, 4)))
    b, c, d, e = (float(np.quantile(y[:, m], p)) for m, p in ((1, 0.25), (2, 0.75), (3, 0.4), (3, 0.5)))

    def slack(x):
        return np.array([b - f(x)[1], f(x)[2] - c, f(x)[3] - d, e - f(x)[3]])

    ends = [
        minimize(lambda x: -f(x)[0], x0, bounds=[(0, 1)] * 4, constraints=[{"type": "ineq", "fun": slack}])
        for x0 in rng.random((40, 4))
    ]
    known = max(-end.fun for end in ends if slack(end.x).min() > -1e-7)
    wanted = {"y1": "max", "y2": f"<={b}", "y3": f">={c}", "y4": f"{d}..{e}"}
    answers, _ = solve(model, wanted, ("y1", "y2", "y3", "y4"))
    x = answers.designs.filter(like="design.").iloc[0].to_numpy(dtype=float)
    assert slack(x).min() >= 0
    assert f(x)[0] >= known - 1e-3 * np.ptp(y[:, 0])


# Weights, tolerances, units


def conflict(first, second):
    """y1 = y2 = x, wanted at 0 and at 1."""
    answers, _ = solve(curve(lambda x: [x, x]), {"y1": first, "y2": second})
    return answers


def test_weights_decide_between_targets_that_contradict_each_other():
    even = conflict(0, 1).designs["design.x1"][0]
    heavy = conflict("0 weight 9", 1).designs["design.x1"][0]
    assert even == pytest.approx(0.5, abs=1e-4)
    assert heavy == pytest.approx(0.1, abs=1e-4)


def test_the_tolerance_decides_what_is_met():
    assert not conflict("0 tolerance 0.4", "1 tolerance 0.4").met
    assert conflict("0 tolerance 0.6", "1 tolerance 0.6").met
    assert conflict("<=0.2 tolerance 0.41", ">=0.9 tolerance 0.41").met


def test_targets_on_very_unlike_scales_miss_by_equal_shares_of_their_ranges():
    answers, _ = solve(curve(lambda x: [1e-3 * x, 1e6 * x]), {"y1": 0, "y2": 1e6})
    best = answers.designs.iloc[0]
    assert best["miss.y1"] / 1e-3 == pytest.approx(0.5, abs=1e-3)
    assert best["miss.y2"] / 1e6 == pytest.approx(-0.5, abs=1e-3)


# Where targets come from


def test_a_table_of_targets_mixes_the_most_with_limits_and_held_variables(tmp_path):
    path = tmp_path / "two.keras"
    lin([[1, 1], [1, 2]]).save(path)
    wanted = pd.DataFrame(
        {"y1": ["max", "min", 1.5, "max weight 2"], "y2": ["<=1", ">=1.2", "free", "<=1"], "x2": [0.0, 0.5, 0.5, 0.25]}
    )
    prepared = prepare_model(
        path,
        registry=REGISTRY,
        bounds={"x1": (0, 1), "x2": (0, 1)},
        solver=("lbfgsb", {"rows_at_once": 128}),
        designs=1,
    )
    report = solve_table(prepared, wanted, tmp_path / "d.parquet")
    table = pd.read_parquet(tmp_path / "d.parquet")
    assert (report.met, report.optimised, report.targets) == (1, 3, 4)
    assert report.status == "optimised"
    assert table["design.x1"].to_numpy() == pytest.approx([1, 0.2, 1, 0.5], abs=1e-3)
    assert table["prediction.y2"][0] <= 1
    assert table["prediction.y2"][1] >= 1.2
    assert table["prediction.y2"][3] <= 1


def test_an_ensemble_is_maximised_too():
    space = box(2)
    members = [lin([[1, 1], [1, 2]]), lin([[1, 1], [1.2, 2.2]])]
    surrogate = Surrogate.of_model(members[0], space, TWO)
    import dataclasses

    both = dataclasses.replace(surrogate, members=tuple(members))
    answers, _ = solve(members[0], {"y1": "max", "y2": "<=1"}, space=space, surrogate=both)
    best = answers.designs.iloc[0]
    assert best["prediction.y2"] <= 1
    assert best["design.x1"] == pytest.approx(1, abs=1e-3)
    assert best["spread.y1"] == pytest.approx(0, abs=1e-3)


def test_limits_hold_with_whole_numbers_too():
    space = Space((Variable("n", "integer", lower=0, upper=9), Variable("x", lower=0, upper=1)))
    answers, _ = solve(lin([[1, 1], [1, 3]]), {"y1": "max", "y2": "<=7.5"}, space=space)
    best = answers.designs.iloc[0]
    assert best["prediction.y2"] <= 7.5
    assert best["design.n"] == 7
    assert best["design.x"] == pytest.approx(0.5 / 3, abs=1e-3)


def test_set_points_are_solved_once_and_limits_that_miss_once_more_without_a_margin():
    from invdesign_core.plugin import Solver, SolverResult, Status

    calls = []

    class Counts(Solver):
        """Stays where it is."""

        name = "counts"

        def solve(self, problem, u0, ctx):
            calls.append(len(u0))
            return SolverResult(u0, [Status.LIMIT] * len(u0), [""] * len(u0))

    space = box(2)
    surrogate = Surrogate.of_model(lin([[1, 1], [1, 2]]), space, TWO)
    mse = REGISTRY.create("objective", "mse", {})
    for targets, expected in (({"y1": 0.1, "y2": 2.9}, [64]), ({"y1": "<=0.1", "y2": ">=2.9"}, [64, 64])):
        calls.clear()
        invert(surrogate, parse_targets(targets, TWO), space, mse, Counts(), Context())
        assert calls == expected
    frame = pd.DataFrame({"y1": ["max", 0.5], "y2": ["<=0.001", "<=0.001"]})
    calls.clear()
    list(invert_many(surrogate, frame, space, mse, Counts(init="uniform"), Context()))
    assert calls[0] == 128
    assert all(count <= 64 for count in calls[1:]), "the second target has no extremum"
    assert 2 <= len(calls) <= 8, "a search that gets nowhere is given up"


# The command line


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "two.keras"
    lin([[1, 1], [1, 2]]).save(path)
    return path


def ask(invdesign, *targets, table="two.keras"):
    wanted = [part for target in targets for part in ("--target", target)]
    return invdesign("solve", table, "--bounds", "x1=0..1", "--bounds", "x2=0..1", "--json", *wanted)


@pytest.mark.parametrize("word", ["Maximum", "maximise", "maximize", "MINIMUM", "minimise", "minimize"])
def test_a_goal_may_be_written_as_it_is_said(word):
    assert parse_target(word, "y").goal == word.lower()[:3]


def test_the_command_line_takes_the_same_words(model, invdesign):
    done = ask(invdesign, "y1=max", "y2<=1 weight 3")
    assert done.code == 0, done.err
    assert done.json["target"]["y1"]["goal"] == "max"
    assert (done.json["target"]["y2"]["goal"], done.json["target"]["y2"]["weight"]) == (None, 3)
    best = done.json["designs"][0]
    assert done.json["status"] == "optimised"
    assert best["met"] == {"y2": True}, "a maximum is never met"
    assert best["miss"] == {"y1": 0, "y2": 0}
    assert best["prediction"]["y2"] <= 1
    assert best["prediction"]["y1"] == pytest.approx(1, abs=2e-3)


def test_limits_that_contradict_each_other_exit_with_1(model, invdesign):
    done = ask(invdesign, "y1=max", "y1>=1.5", "y2<=1")
    assert done.code == 2, "one output is asked for once"
    lin([[1, 1, 1], [1, 2, 0]]).save(model.parent / "three.keras")
    done = ask(invdesign, "y1>=1.8", "y2<=1", "y3=min", table="three.keras")
    assert done.code == 1, done.err
    assert any("smallest violation" in note for note in done.json["notes"])


def test_freed_outputs_are_not_asked_for(model):
    prepared = prepare_model(model, registry=REGISTRY, bounds={"x1": (0, 1), "x2": (0, 1)})
    result = solve_one(prepared, ["y1=0.5", "y2=free"])
    assert list(result.report.target) == ["y1"]


def test_a_target_that_can_be_read_in_two_ways_is_refused_with_both(tmp_path, invdesign):
    lin([[1, 1], [1, 2]]).save(tmp_path / "two.keras")
    args = ["solve", "two.keras", "--outputs", "a,a=b", "--bounds", "x1=0..1", "--bounds", "x2=0..1", "--json"]
    done = invdesign(*args, "--target", "a=b=1")
    assert done.code == 2
    assert "'a=b' = 1 or 'a' = b=1" in done.err
    done = invdesign(*args, "--target", '"a=b"=1')
    assert done.code == 0, done.err


# A prediction that doesn't change


def test_a_flat_prediction_is_said_for_a_trained_surrogate():
    from keras import ops

    model = curve(lambda x: [x, ops.relu(x - 5)])
    rows = np.array([[0.0, 0.0], [1.0, 3.0]])
    surrogate = Surrogate.of_model(model, box(1), TWO, y=rows)
    _, said = solve(model, {"y1": 0.5, "y2": 1}, surrogate=surrogate)
    assert said == [
        "the prediction of 'y2' is constant within the bounds (0); "
        "check the bounds, the units of the inputs, and the model"
    ]


# Real data


@pytest.mark.long
def test_the_reformer_gives_the_most_hydrogen_with_little_nitrogen(reformer, invdesign, tmp_path):
    (tmp_path / "reformer.toml").write_text(
        f'[dataset]\nuse = "table"\npath = "{reformer}"\noutputs = ["H2", "N2", "CO2"]\n'
        '[surrogate]\nuse = "selu-mlp"\n[solver]\nuse = "lbfgsb"\n[targets]\nH2 = "max"\nN2 = "<=0.34"\n'
    )
    done = invdesign("run", "reformer.toml", "--json")
    assert done.code == 0, done.err
    best = done.json["designs"][0]
    table = pd.read_csv(reformer, skipinitialspace=True)
    table.columns = table.columns.str.strip()
    known = table["H2"][table["N2"] <= 0.34].max()
    assert best["prediction"]["N2"] <= 0.34
    assert best["prediction"]["H2"] >= known - 0.01 * np.ptp(table["H2"])
    assert set(best["met"].values()) == {True}
