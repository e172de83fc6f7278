"""Targets that are about inputs: limits and values narrow the search, the least or most of one is found exactly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import fn, lin, prepare_model
from hypothesis import given
from hypothesis import strategies as st

from invdesign_core.context import Context
from invdesign_core.data.data import TrainingRows
from invdesign_core.errors import ConfigError
from invdesign_core.registry import Registry
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets
from invdesign_core.truth.simulator import as_truth
from invdesign_core.workflow.design import Design
from invdesign_core.workflow.input_limits import narrowed
from invdesign_core.workflow.inverse import invert, pose
from invdesign_core.workflow.solve import solve_one
from invdesign_core.workflow.train import ForwardModel, untested

REGISTRY = Registry.discover()
X = Variable("x", lower=0, upper=10)
GLASS = Variable("glass", "categorical", levels=("A", "B", "E"))
EVERY_KIND = Space((X, Variable("n", "integer", lower=1, upper=9), GLASS, Variable("flag", "binary")))


def solve(model, targets, space=None, solver="lbfgsb", rows=None, truth=None, **design):
    """Invert a network as it is, as `solve` does."""
    space = space or Space((Variable("x1", lower=0, upper=1), Variable("x2", lower=0, upper=1)))
    surrogate = model if isinstance(model, Surrogate) else Surrogate.of_model(model, space, ("y",))
    known = ForwardModel(surrogate, untested(surrogate), rows, as_truth(truth))
    wanted = parse_targets(targets, ("y",), space=space)
    objective = REGISTRY.create("objective", "mse", {})
    problem = pose(
        known, space, Design(**design), wanted, objective, lambda _: REGISTRY.create("solver", solver, {}), Context()
    )
    return invert(problem, Context(0))


@pytest.fixture(scope="module")
def plane():
    return lin([[1], [1]])


@pytest.fixture
def model_file(plane, tmp_path):
    plane.save(tmp_path / "plane.keras")
    return tmp_path / "plane.keras"


@pytest.mark.parametrize("solver", ["lbfgsb", "least-squares", "slsqp", "differential-evolution"])
def test_the_least_of_an_input_gives_way_to_the_limit_of_an_output(plane, solver):
    best = solve(plane, {"y": ">=1.4", "x1": "min"}, solver=solver).designs.iloc[0]
    assert best["met"]
    assert best["prediction.y"] >= 1.4 - 1e-5
    assert best["design.x1"] == pytest.approx(0.4, abs=2e-3)


def test_the_most_of_an_input_gives_way_to_a_value_of_an_output(plane):
    best = solve(plane, {"y": 0.7, "x2": "max"}).designs.iloc[0]
    assert best["design.x2"] == pytest.approx(0.7, abs=5e-3)


def test_a_goal_of_an_input_can_stand_beside_that_of_an_output(plane):
    answers = solve(lin([[1], [0]]), {"y": "max", "x2": "min"})
    assert answers.status == "optimised"
    assert answers.designs.filter(like="design.").iloc[0].tolist() == [1, 0]


def test_a_goal_of_an_input_alone_is_an_answer(plane):
    assert solve(plane, {"x1": "max"}).designs["design.x1"][0] == 1


def test_constraints_hold_beside_a_goal_of_an_input(plane):
    wanted = {"y": ">=0.5", "x1": "min"}
    best = solve(plane, wanted, solver="slsqp", constraints=["x2 <= 0.3"]).designs.iloc[0]
    assert best["design.x1"] == pytest.approx(0.2, abs=2e-3)


def test_an_input_is_not_called_predicted_measured_or_true(plane):
    x = np.random.default_rng(0).uniform(0, 1, (50, 2))
    rows = TrainingRows(x, x.sum(axis=1, keepdims=True), np.arange(1, 51))

    def truth(designs):
        return pd.DataFrame({"y": designs["x1"] + designs["x2"]})

    answers = solve(plane, {"y": ">=1.4", "x1": "min"}, rows=rows, truth=truth)
    columns = {*answers.designs.columns, *answers.starts.columns, *answers.measured.columns}
    assert {c for c in columns if c.endswith(".x1")} <= {"design.x1", "guess.x1", "from.x1", "to.x1"}
    assert {"truth.y", "nearest.measured.y"} <= columns


def test_the_best_measured_row_is_the_one_with_the_least_input_that_holds_the_limit(plane):
    x = np.array([[0.9, 0.9], [0.5, 0.95], [0.2, 0.9], [0.45, 0.96]])
    rows = TrainingRows(x, x.sum(axis=1, keepdims=True), np.arange(1, 5))
    answers = solve(plane, {"y": ">=1.4", "x1": "min"}, rows=rows)
    assert answers.measured["row"].tolist() == [4]
    assert not answers.measured["answer"][0], "the design is better"


def test_what_is_found_is_exact_where_an_input_is_large():
    space = Space((Variable("x1", lower=1e6, upper=1e6 + 8), Variable("x2", lower=0, upper=1)))
    model = fn(2, lambda x: x[:, 1:])
    best = solve(model, {"y": 0.5, "x1": "min"}, space=space).designs.iloc[0]
    assert best["design.x1"] == 1e6


class Plane:
    """A regressor, which has no gradient."""

    def z(self, x):
        return x.sum(axis=1, keepdims=True)


def test_a_regressor_has_goals_of_inputs_too():
    space = Space((Variable("x1", lower=0, upper=1), Variable("x2", lower=0, upper=1)))
    box = np.stack(space.bounds)
    surrogate = Surrogate((Plane(),), space, ("y",), np.zeros(1), np.ones(1), box, np.array([2.0]))
    best = solve(surrogate, {"y": ">=1.4", "x1": "min"}, solver="differential-evolution").designs
    assert best["design.x1"][0] == pytest.approx(0.4, abs=5e-3)


def test_limits_and_values_of_inputs_hold_exactly(plane):
    answers = solve(plane, {"y": ">=1.2", "x1": "0.25..0.5", "x2": 0.875})
    assert answers.designs["design.x1"].between(0.25, 0.5).all()
    assert (answers.designs["design.x2"] == 0.875).all()
    assert answers.targets.outputs == ("y",), "what always holds is no wish"


@given(low=st.decimals(0, 10, places=30).map(float), high=st.decimals(0, 10, places=30).map(float))
def test_a_limit_narrows_and_never_widens(low, high):
    low, high = sorted((low, high))
    space = Space((X,))
    wanted = parse_targets({"x": {"at_least": low, "at_most": high}}, ("y",), space=space)
    found = narrowed(space, wanted)["x"]
    assert (found.lower, found.upper) == (low, high)
    again = narrowed(Space((found,)), parse_targets({"x": {"at_most": 11}}, ("y",), space=space))["x"]
    assert (again.lower, again.upper) == (low, high)


@pytest.mark.parametrize(
    ("wanted", "values"),
    [
        ({"glass": "E"}, {"glass": "E"}),
        ({"glass": "=B"}, {"glass": "B"}),
        ({"flag": 1}, {"flag": "1"}),
        ({"n": ">=3"}, {"n": "3 to 9"}),
        ({"n": "2.5..4.5"}, {"n": "3 to 4"}),
        ({"n": "min"}, {"n": "1 to 9"}),
        ({"x": {"goal": "min", "at_least": 2}}, {"x": "2 to 10"}),
        ({"x": 4, "y": "max"}, {"x": "4"}),
        ({"x": "<=12"}, {"x": "0 to 10"}),
        ({"x": "free", "n": "free"}, {}),
    ],
)
def test_what_a_target_leaves_of_an_input(wanted, values):
    targets = parse_targets(wanted, ("y",), space=EVERY_KIND)
    found = narrowed(EVERY_KIND, targets)
    integers = {"3 to 4": (3, 4), "3 to 9": (3, 9)}
    for name, text in values.items():
        if text in integers:
            low, high = found.bounds[0][1], found.bounds[1][1]
            assert (low, high) == integers[text]
        else:
            assert found[name].span == text
    assert parse_targets({k: t.to_json() for k, t in targets.items()}, ("y",), space=EVERY_KIND) == targets


@pytest.mark.parametrize(
    ("wanted", "message", "hint"),
    [
        ({"glass": "min"}, "'glass': found 'min'; the input is a category", "glass=A"),
        ({"glass": "F"}, "'glass': found 'F'", "'A', 'B', 'E'"),
        ({"glass": ">=2"}, "'glass': found '>=2'", "glass=A"),
        ({"x": "3 tolerance 1"}, "needs no tolerance", "LOW..HIGH"),
        ({"x": "3..4 weight 2"}, "always holds", "leave the weight out"),
        ({"x": "8..12"}, "found 8..12, expected it inside 0 to 10", "--bounds 'x=8..12'"),
        ({"x": 12}, "found 12, expected it inside 0 to 10", "--fixed 'x=12'"),
        ({"x": ">=12"}, "found >= 12, expected it inside 0 to 10", "--bounds 'x=10..12'"),
        ({"n": 3.5}, "'n': found 3.5, expected a whole number", None),
        ({"z": 1}, "there is no output or input 'z'", "'glass', 'n'"),
    ],
)
def test_what_cannot_be_asked_of_an_input_is_refused(wanted, message, hint):
    with pytest.raises(ConfigError) as refused:
        narrowed(EVERY_KIND, parse_targets(wanted, ("y",), space=EVERY_KIND))
    assert message in refused.value.message
    assert hint is None or hint in refused.value.hint


def test_an_input_that_is_fixed_has_no_other_target(plane):
    for target in ("min", 0.4, "0.1..0.3"):
        with pytest.raises(ConfigError, match=r"'x1': asked for .*, but it is fixed at 0\.5"):
            solve(plane, {"y": 1, "x1": target}, fixed={"x1": 0.5})
    assert solve(plane, {"y": 1, "x1": 0.5}, fixed={"x1": 0.5}).met


def test_limits_of_inputs_alone_ask_for_nothing(plane):
    with pytest.raises(ConfigError, match="only values and limits of inputs are given"):
        solve(plane, {"x1": 0.4})


def test_a_name_that_is_input_and_output_is_refused():
    with pytest.raises(ConfigError, match="an input and an output have this name"):
        parse_targets({"x": 1}, ("x", "y"), space=EVERY_KIND)


def test_targets_of_inputs_are_the_bounds_of_a_model_file(model_file):
    targets = ["y=1", "x1=0..0.4", "x2=0..1"]
    best = solve_one(prepare_model(model_file, targets=targets), targets).report.designs[0]
    assert best.inputs["x1"] <= 0.4
    with pytest.raises(ConfigError, match="no bounds are known for 'x2'"):
        prepare_model(model_file, targets=targets[:2])


def test_the_command_line_says_what_was_asked_of_inputs_and_what_came_of_it(invdesign, model_file):
    bounds = ("--bounds", "x1=0..1", "--bounds", "x2=0..1")
    wanted = ("--target", "y>=1.4", "--target", "x1=min", "--target", "x2<=0.75")
    done = invdesign("solve", model_file.name, *bounds, *wanted)
    assert done.code == 0, done.err
    assert "designs for y >= 1.4, x1 = min" in done.out
    assert "the smallest x1 found with all limits held by prediction is 0.65" in done.out
    assert "limits of inputs, which every design keeps: x2 <= 0.75" in done.err
    found = invdesign("solve", model_file.name, *bounds, *wanted, "--json").json
    assert found["target"]["x1"]["goal"] == "min"
    assert list(found["designs"][0]["prediction"]) == ["y"]
