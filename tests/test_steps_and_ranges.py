"""Steps are multiples of themselves, also near the data and near a design; each input's own range keeps all rules."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from conftest import invert, lin
from hypothesis import given, settings
from hypothesis import strategies as st

from invdesign_core.cli.option_values import design_values
from invdesign_core.context import Context
from invdesign_core.data.data import TrainingRows
from invdesign_core.data.distance import DataDistance
from invdesign_core.errors import ConfigError
from invdesign_core.registry import Registry
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets
from invdesign_core.workflow.design import Design

REGISTRY = Registry.discover()
MSE = REGISTRY.create("objective", "mse", {})


def solve(model, data_space, target, known, starts=8, designs=5, **wishes):
    """Answer a target with an exact network over (x, y) rows; `wishes` is a `[design]` section."""
    design = Design.from_mapping(wishes)
    surrogate = Surrogate.of_model(model, data_space, ("y",), y=known.y)
    space = design.apply(data_space, ("y",))
    solver = REGISTRY.create("solver", "least-squares", {"starts": starts})
    wanted = parse_targets({"y": target}, ("y",))
    answers = invert(
        surrogate, wanted, space, MSE, solver, Context(), known, designs=designs, near_to=design.near_to(space)
    )
    return answers, space


def values(answers):
    return answers.designs.filter(like="design.").to_numpy(dtype=float)


def numbers(count, low, high, kind="continuous"):
    return Space(tuple(Variable(f"x{i}", kind, lower=low, upper=high) for i in range(count)))


def rows(weights, low, high, count=30, seed=0, digits=None):
    """Rows of the plane y = x·weights."""
    x = np.random.default_rng(seed).uniform(low, high, (count, len(weights)))
    x = x if digits is None else np.round(x, digits)
    return TrainingRows(x, x @ np.array(weights, float)[:, None])


# Where steps count from


@settings(deadline=None)
@given(
    st.decimals("0.001", 20, places=3).map(float),
    st.decimals(-500, 500, places=3).map(float),
    st.floats(1.1, 40),
    st.lists(st.floats(-1000, 1000), min_size=1, max_size=5),
)
def test_every_value_on_a_step_is_a_decimal_multiple_of_it_inside_bounds_off_the_grid(step, low, wide, points):
    high = low + wide * step
    space = numbers(1, low, high)
    for bounds in (None, {"x0": (low, high)}):
        found = space.restrict(bounds, step={"x0": step})
        for value in found.decode(np.array(points)[:, None])["x0"]:
            assert Decimal(repr(value)) % Decimal(repr(step)) == 0
            assert low <= value <= high


def test_separate_ranges_hold_the_multiples_of_the_step_too():
    space = numbers(1, -10, 10).restrict({"x0": [(-7.3, -4.9), (1.1, 2.05)]}, step={"x0": 0.5})
    assert space["x0"].levels == (-7, -6.5, -6, -5.5, -5, 1.5, 2)


def test_bounds_given_after_a_step_do_not_move_its_multiples():
    space = numbers(1, 0, 10).restrict(step={"x0": 2}).restrict({"x0": (3, 9)})
    assert [side.tolist() for side in space.bounds] == [[4], [8]]


def test_a_step_counts_from_where_the_user_says_it_starts():
    space = numbers(1, 0, 300).restrict({"x0": (150, 160)}, step={"x0": {"by": 1, "from": 155.8}})
    assert [side.tolist() for side in space.bounds] == [[150.8], [159.8]]


def options(*steps):
    empty = dict.fromkeys(("bounds", "fixed", "levels", "log", "constraints", "near"), ())
    return {**empty, "step": steps, "margin": None, "fewest_changes": False, "stay_near_data": False}


def test_the_command_line_says_where_a_step_starts():
    found = design_values(options("water=1 from 155.8", "cement=5", "a from b=-1e-1 from -2"))
    assert found["step"] == {
        "water": {"by": 1, "from": 155.8}, "cement": 5, "a from b": {"by": -0.1, "from": -2},
    }  # fmt: skip
    for text in ("water=1 from", "water=1 from here", "water=from 2"):
        with pytest.raises(ConfigError, match="expected a number"):
            design_values(options(text))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"from": 1}, "has no 'by'"),
        ({"by": 1, "form": 2}, "found 'form', which is neither 'by' nor 'from'"),
        ({"by": 0, "from": 1}, "expected a number above 0"),
        ({"by": 1, "from": float("inf")}, "counts from inf, expected a finite number"),
        ({"by": 1, "from": "x"}, "counts from 'x', expected a finite number"),
    ],
)
def test_a_step_that_cannot_be_read_is_refused(step, message):
    with pytest.raises(ConfigError, match=message):
        numbers(1, 0, 10).restrict(step={"x0": step})


def test_steps_of_whole_numbers_start_at_whole_numbers():
    with pytest.raises(ConfigError, match=r"found 0.5, and 'x0' takes whole numbers"):
        numbers(1, 0, 10, "integer").restrict(step={"x0": {"by": 2, "from": 0.5}})


def test_the_words_for_a_stepped_variable_name_values_that_exist():
    assert numbers(1, 155.8, 247.3).restrict(step={"x0": 1})["x0"].span == "156 to 247 by 1"


# Stepped and whole values near the data


def test_a_stepped_design_near_a_measured_one_is_found_though_no_measured_one_meets_the_target():
    weights = [1.0, 2, -1]
    known = rows(weights, 0.3, 9.7)
    answers, _ = solve(
        lin([[w] for w in weights]), numbers(3, 0, 10), "7.5 tolerance 0.01", known,
        step={f"x{i}": 0.5 for i in range(3)}, stay_near_data=True,
    )  # fmt: skip
    assert answers.met
    assert answers.designs["inside"].all()
    assert (values(answers) % 0.5 == 0).all()


KINDS = {
    "steps": (Variable("x", lower=0, upper=20), {"step": {"x": 1}}),
    "whole numbers": (Variable("x", "integer", lower=0, upper=20), {}),
    "levels": (Variable("x", "levels", levels=tuple(range(21))), {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_discrete_variable_moves_from_the_measured_value_to_one_near_it(kind):
    variable, wishes = KINDS[kind]
    space = Space((variable, Variable("c", lower=0, upper=1)))
    other = np.linspace(0, 1, 11) + np.tile([0.0, 0.02], 6)[:11]  # no multiple of the first column
    x = np.column_stack([np.arange(0, 21, 2), other])
    known = TrainingRows(x, x @ [[1.0], [0.01]])  # odd values were never measured
    answers, _ = solve(lin([[1], [0.01]]), space, "7 tolerance 0.02", known, stay_near_data=True, **wishes)
    assert answers.met
    assert answers.designs["inside"].all()
    assert values(answers)[0, 0] == 7


def stepped_case(seed):
    """Return a random problem in steps whose target a design near the data meets, and that design."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 4))
    weights = rng.uniform(0.5, 2, count) * rng.choice([-1, 1], count)
    known = rows(weights, -5, 5, 30, seed)
    space = numbers(count, -5, 5)
    step = rng.choice([0.25, 0.4, 0.5], count)
    wishes = {"step": {f"x{i}": float(step[i]) for i in range(count)}}
    if seed % 2:  # one stays continuous, but hardly matters
        del wishes["step"][f"x{count - 1}"]
        weights[-1] = 0.01
        known = TrainingRows(known.x, known.x @ weights[:, None])
    restricted = space.restrict(**wishes)
    data = DataDistance.of(known, restricted)
    near = restricted.snap(known.x + rng.uniform(-1, 1, known.x.shape) * data.limit / np.sqrt(count) * data.unit)
    near = near[data.holds(near)]
    return weights, known, space, wishes, near[rng.integers(len(near))]


@pytest.mark.parametrize("seed", range(4))
def test_where_a_design_on_steps_meets_the_target_near_the_data_one_is_found(seed):
    weights, known, space, wishes, there = stepped_case(seed)
    target = {"equals": float(there @ weights), "tolerance": 0.06}
    answers, _ = solve(lin([[w] for w in weights]), space, target, known, starts=16, stay_near_data=True, **wishes)
    assert answers.met
    assert answers.designs["inside"].all()


def test_designs_near_the_data_are_near_it_though_bounds_cut_the_measured_ones_off():
    x = np.random.default_rng(0).uniform(0, [0.4, 1], (300, 2))
    x[0] = [1, 0.5]  # nothing was measured between 0.4 and 1
    known = TrainingRows(x, x[:, :1])
    answers, space = solve(
        lin([[1], [0]]), numbers(2, 0, 1), "max", known, bounds={"x0": [0.41, 0.8]}, stay_near_data=True
    )
    starts = answers.starts.filter(like="design.").to_numpy()
    assert len(starts)
    assert DataDistance.of(known, space).holds(starts).all()


def test_shares_in_steps_that_sum_to_one_are_found_near_the_data():
    rng = np.random.default_rng(3)
    x = rng.dirichlet([4, 4, 4], 60)
    known = TrainingRows(x, x @ [[1.0], [2.0], [4.0]])
    answers, _ = solve(
        lin([[1], [2], [4]]), numbers(3, 0, 1), "2.3 tolerance 0.01", known, constraints=["x0 + x1 + x2 = 1"],
        step={f"x{i}": 0.05 for i in range(3)}, stay_near_data=True,
    )  # fmt: skip
    assert answers.met
    assert answers.designs["inside"].all()
    assert values(answers).sum(axis=1) == pytest.approx(1, abs=1e-12)


# Near a present design


@pytest.mark.parametrize("seed", range(4))
def test_near_a_present_design_a_stepped_design_that_meets_the_target_is_found(seed):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.5, 2, 5) * rng.choice([-1, 1], 5)
    known = rows(weights, -5, 5, 60, seed)
    present = {f"x{i}": float(rng.integers(-4, 5)) for i in range(5)}
    there = np.array(list(present.values())) + 0.5 * rng.integers(-2, 3, 5)
    step = {f"x{i}": 0.5 for i in range(5)}
    if seed % 2:  # a continuous variable without effect makes up for nothing
        del step["x4"]
        weights[4] = 0.0
    target = {"equals": float(there @ weights), "tolerance": 0.05}
    answers, _ = solve(lin([[w] for w in weights]), numbers(5, -5, 5), target, known, near=present, step=step)
    assert answers.search == "rounding"
    assert answers.met
    far = [np.linalg.norm((x - list(present.values()))[: len(step)]) for x in (values(answers)[0], there)]
    assert far[0] <= far[1] + 0.5, "the search is no exact one, but not a step farther than a design that it could find"


def test_of_all_combinations_that_meet_the_target_the_nearest_to_the_present_design_comes_first():
    weights = [1.0, 1.0]
    known = rows(weights, 0, 10)
    answers, _ = solve(
        lin([[1], [1]]), numbers(2, 0, 10), "10 tolerance 0.3", known, near={"x0": 2, "x1": 3},
        step={"x0": 0.25, "x1": 0.25},
    )  # fmt: skip
    assert answers.search == "enumeration"
    x = values(answers)[0]
    assert 9.7 <= x.sum() < 9.76, "a quarter less would miss"


def test_a_category_of_which_some_labels_may_be_taken_is_still_moved_to_a_better_one():
    labels = Variable("c", "categorical", levels=("a", "b", "d"))
    space = Space((labels, *(Variable(f"x{i}", "integer", lower=0, upper=200) for i in range(3))))
    weights = [[0.0], [0.0], [1000.0], [0.5], [0.5], [0.5]]
    x = np.eye(6)[:3].repeat(20, axis=0)
    x[:, 3:] = np.random.default_rng(0).integers(0, 200, (60, 3))
    answers, _ = solve(
        lin(weights), space, "1100 tolerance 1", TrainingRows(x, x @ weights), levels={"c": ["b", "d"]},
        near={"c": "b", "x0": 100, "x1": 50, "x2": 50},
    )  # fmt: skip
    assert answers.met
    assert answers.designs["design.c"][0] == "d"


# The range of each input alone


def room_of(answers, name):
    best = answers.designs.iloc[0]
    return best[f"from.{name}"], best[f"to.{name}"]


def test_an_input_that_a_limit_holds_has_its_range_end_there():
    known = rows([1, 1], 0, 10)
    answers, _ = solve(
        lin([[1], [1]]), numbers(2, 0, 10), "12 tolerance 1", known, constraints=["x0 <= x1"], near={"x0": 9, "x1": 3}
    )
    x = values(answers)[0]
    assert room_of(answers, "x0")[1] == pytest.approx(x[0], abs=1e-6), "x0 can't grow"
    assert room_of(answers, "x1")[0] == pytest.approx(x[1], abs=1e-6)


def test_the_ends_of_ranges_are_written_as_the_constraints_have_them():
    limits = ["x0 >= 1.5", "3*x1 <= 10", "x0 + x1 <= 9.7"]
    answers, _ = solve(lin([[1], [1]]), numbers(2, 0, 10), "8 tolerance 7", rows([1, 1], 0, 10), constraints=limits)
    assert room_of(answers, "x0")[0] == 1.5
    for name in ("x0", "x1"):
        assert all(len(str(end)) <= 5 for end in room_of(answers, name)), room_of(answers, name)


def test_an_input_that_an_equation_ties_has_its_own_value_for_a_range_and_the_screen_says_so():
    from invdesign_core.cli.console import _range

    known = rows([1, 2, 3], 0, 1)
    answers, _ = solve(lin([[1], [2], [3]]), numbers(3, 0, 1), "2 tolerance 0.5", known, constraints=["x0 + x1 = 1"])
    x = values(answers)[0]
    assert room_of(answers, "x0") == (x[0], x[0])
    assert room_of(answers, "x1") == (x[1], x[1])
    assert room_of(answers, "x2")[0] < room_of(answers, "x2")[1]
    assert _range([0.5, 0.5]) == "0.5 only"
    assert _range([0.5, 0.75]) == "0.5..0.75"


def test_the_labels_of_a_restricted_category_are_those_that_may_be_taken():
    import json

    space = Space((Variable("c", "categorical", levels=("a", "b", "d")), Variable("x", lower=0, upper=1)))
    x = np.hstack([np.eye(3).repeat(10, axis=0), np.random.default_rng(0).random((30, 1))])
    known = TrainingRows(x, x[:, 3:])
    answers, _ = solve(lin([[0], [0], [0], [1]]), space, "0.5 tolerance 0.1", known, levels={"c": ["a", "d"]})
    assert all(json.loads(text) == ["a", "d"] for text in answers.designs["levels.c"])


def random_case(seed):
    """Return a small random problem with constraints of all kinds and variables of all kinds."""
    rng = np.random.default_rng(seed)
    space = Space(
        (
            Variable("a", lower=0, upper=4),
            Variable("s", lower=-3, upper=3.1),
            Variable("r", lower=0, upper=6),
            Variable("n", "integer", lower=0, upper=int(rng.choice([9, 1000]))),
            Variable("v", "levels", levels=(0, 1, 2.5, 4)),
            Variable("o", "binary"),
            Variable("k", "categorical", levels=("p", "q", "t")),
        )
    )
    low, high = space.bounds
    weights = rng.uniform(-2, 2, (space.width, 1)) / (high - low)[:, None]
    x = space.snap(rng.uniform(low, high, (50, space.width)))
    wishes = {
        "step": {"s": float(rng.choice([0.1, 0.3])), **({"n": 3} if rng.random() < 0.5 else {})},
        "bounds": {"r": [[0, 2], [3.5, 6]]},
        "levels": {"k": ["p", "t"]},
    }
    some = ["a + r <= 5", "a - s <= 3.3", "a + v + s = 2", "at most 2 of a, r, v above zero", "n <= 8*a", "o <= r"]
    wishes["constraints"] = [str(text) for text in rng.choice(some, int(rng.integers(1, 4)), replace=False)]
    there = x[0] @ weights
    return lin(weights), space, TrainingRows(x, x @ weights), wishes, {"equals": float(there[0]), "tolerance": 0.5}


@pytest.mark.parametrize("seed", range(5))
def test_both_ends_of_every_range_put_into_the_design_are_answers(seed):
    import json

    model, data_space, known, wishes, target = random_case(seed)
    answers, space = solve(model, data_space, target, known, starts=4, designs=3, **wishes)
    names = list(space.names)
    asked = 0
    for _, row in answers.designs.iterrows():
        if not row["met"]:
            continue
        design = {name: row[f"design.{name}"] for name in names}
        for name in names:
            if f"levels.{name}" in row:
                ends = json.loads(row[f"levels.{name}"])
                assert design[name] in ends
            else:
                ends = [row[f"from.{name}"], row[f"to.{name}"]]
                assert ends[0] <= design[name] <= ends[1]
            for end in ends:
                x = space.encode(pd.DataFrame({key: [value] for key, value in {**design, name: end}.items()}))
                assert (space.snap(x) == x).all(), f"{name} = {end} exists"
                assert space.feasible_set.holds(x).all(), f"{name} = {end} satisfies the constraints"
                assert abs(model(x)[0, 0] - target["equals"]) <= target["tolerance"] + 1e-4
                asked += 1
    assert asked or not answers.met


@pytest.mark.parametrize("seed", range(4))
def test_ranges_reach_as_far_as_the_constraints_and_the_target_allow(seed):
    rng = np.random.default_rng(seed)
    known = rows([1, 1], 0, 10)
    limit = float(rng.uniform(5, 7))
    answers, _ = solve(
        lin([[1], [1]]), numbers(2, 0, 10), "8 tolerance 2", known, constraints=[f"x0 + 2*x1 <= {limit * 2}"], designs=3
    )
    for i in range(len(answers.designs)):
        x0, x1 = values(answers)[i]
        row = answers.designs.iloc[i]
        assert row["to.x0"] == pytest.approx(min(10, 10 - x1, 2 * limit - 2 * x1), abs=3e-3)
        assert row["to.x1"] == pytest.approx(min(10, 10 - x0, limit - x0 / 2), abs=3e-3)
        assert row["from.x0"] == pytest.approx(max(0, 6 - x1), abs=3e-3)


def test_ranges_of_designs_near_the_data_stay_near_the_data():
    x = np.random.default_rng(0).random((60, 1)).repeat(2, axis=1)
    known = TrainingRows(x, x[:, :1])  # a line, which either input alone soon leaves
    answers, space = solve(lin([[1], [0]]), numbers(2, 0, 1), "0.5 tolerance 0.3", known, stay_near_data=True)
    data = DataDistance.of(known, space)
    for i, x in enumerate(values(answers)):
        for j, name in enumerate(space.names):
            for end in (answers.designs[f"from.{name}"][i], answers.designs[f"to.{name}"][i]):
                changed = x.copy()
                changed[j] = end
                assert data.holds(changed[None]).all()
