"""Only some values exist: exact answers with discrete variables, steps and separate ranges, and how they were found."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import fn, invert, invert_many, lin

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError
from invdesign_core.registry import Registry
from invdesign_core.search.plan import SOLVED_EACH, plan_search
from invdesign_core.space.constraint_text import parse_constraints
from invdesign_core.space.rules import AtMost, Constraints, Linear
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets
from invdesign_core.workflow.design import Design

REGISTRY = Registry.discover()
MSE = REGISTRY.create("objective", "mse", {})


def surrogate_of(model, space, outputs=("y",), y=None):
    return Surrogate.of_model(model, space, outputs, y=y)


def solve(model, space, target, outputs=("y",), given=None, ctx=None, y=None, **options):
    surrogate = surrogate_of(model, space, outputs, y)
    wanted = parse_targets(target if isinstance(target, dict) else {outputs[0]: target}, outputs)
    solver = REGISTRY.create("solver", "least-squares", options)
    return invert(surrogate, wanted, Space(space.variables, given), MSE, solver, ctx or Context())


def noted(said):
    return Context(emit=lambda event: said.append(event.data["text"]) if event.kind == "note" else None)


def ints(count, high=9):
    return Space(tuple(Variable(f"x{i}", "integer", lower=0, upper=high) for i in range(count)))


def inputs(answers):
    return answers.designs.filter(like="design.").to_numpy(dtype=float)


def total_is(width, total):
    return Constraints(Linear(np.ones((1, width)), np.array([total]), np.array([total])))


# Only some values exist


def one(lower, upper, **wishes):
    space = Space((Variable("x", lower=lower, upper=upper),))
    return space.restrict(**{key: {"x": value} for key, value in wishes.items()})


def test_a_list_of_allowed_values():
    from keras import ops

    best = solve(fn(1, ops.square), one(0, 5, levels=[1, 2.18, 4]), 5).designs.iloc[0]
    assert best["design.x"] == 2.18
    assert best["prediction.y"] == pytest.approx(4.7524, abs=1e-5)
    assert best["miss.y"] == pytest.approx(-0.2476, abs=1e-5)


def test_a_step_of_two():
    best = solve(lin([[1]]), one(12, 20, bounds=(12, 20), step=2), 15).designs.iloc[0]
    assert best["design.x"] in (14, 16)
    assert abs(best["miss.y"]) == pytest.approx(1, abs=1e-5)


def test_the_resolution_of_an_instrument():
    best = solve(lin([[1]]), one(0, 50, step=0.1), 30.26).designs.iloc[0]
    assert best["design.x"] == 30.3, "to the last bit, as it is written"
    assert best["prediction.y"] == pytest.approx(30.3, abs=1e-5)


def test_separate_ranges_hold_every_design():
    answers = solve(lin([[1]]), one(0, 6, bounds=[(1.5, 2.4), (3.1, 5.6)]), 2.9)
    best = answers.designs.iloc[0]
    assert best["design.x"] == 3.1
    assert best["miss.y"] == pytest.approx(0.2, abs=1e-5)
    x = answers.starts["design.x"].to_numpy()
    assert (((x >= 1.5) & (x <= 2.4)) | ((x >= 3.1) & (x <= 5.6))).all()
    assert x.min() <= 2.4, "the best of the other range competes"


def test_many_separate_ranges_are_sampled_evenly():
    pairs = [(k, k + 0.1) for k in range(4)]
    space = Space(tuple(Variable(f"x{i}", lower=0, upper=4) for i in range(6)))
    space = space.restrict({f"x{i}": pairs for i in range(6)})
    plan = plan_search(space, REGISTRY.create("solver", "lbfgsb", {}), Context())
    assert plan.cells.shape[1] == SOLVED_EACH
    for column in plan.cells[0].T:
        assert set(column) == {0, 1, 2, 3}
    answers = solve(lin([[1]] * 6), space, 7.35)
    assert answers.met
    assert (inputs(answers) % 1 <= 0.1 + 1e-12).all()


# Which way is taken


def test_small_spaces_are_tried_whole_and_the_result_says_so():
    said = []
    space = Space(tuple(Variable(f"x{i}", "levels", levels=tuple(range(5))) for i in range(3)))
    answers = solve(lin([[1], [5], [25]]), space, 89, ctx=noted(said), starts=500)
    assert answers.search == "enumeration"
    assert said == ["125 combinations of discrete values: all were tried"]
    assert len(answers.starts) == 125
    assert inputs(answers)[0].tolist() == [4, 2, 3]


@pytest.mark.long
def test_twenty_integers_take_little_time_and_memory():
    code = """
import json, resource, sys, time
import numpy as np
sys.path.insert(0, sys.argv[1])
from test_discrete import solve, ints
from conftest import lin
began = time.perf_counter()
answers = solve(lin([[1]] * 20), ints(20), 90)
best = answers.designs.filter(like="design.").to_numpy(dtype=float)[0]
print(json.dumps({"met": bool(answers.met), "sum": best.sum(), "way": answers.search,
                  "seconds": time.perf_counter() - began,
                  "kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""
    folder = __file__.rsplit("/", 1)[0]
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["met"]
    assert found["sum"] == 90
    assert found["way"] == "rounding"
    assert found["kib"] < 2 * 2**20


def test_more_combinations_than_memory_could_hold_are_tried_in_chunks(monkeypatch):
    from invdesign_core.search import enumerate as enumeration

    monkeypatch.setattr(enumeration, "AT_ONCE", 64)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 1))
    space = ints(4, 6)
    every = np.array(list(itertools.product(range(7), repeat=4)))
    values = (every @ weights)[:, 0]
    for target in rng.uniform(values.min(), values.max(), 3):
        answers = solve(lin(weights), space, float(target), starts=3)
        nearest = np.sort(np.abs(values - target))[:3]
        assert np.sort(np.abs(answers.starts["prediction.y"] - target)) == pytest.approx(nearest, abs=1e-5)


def test_each_combination_is_solved_for_the_other_variables():
    from keras import ops

    # For three of four kinds the best x is in the interior, and the relaxed optimum is a mixture of two.
    def f(x):
        return ops.expand_dims(ops.square(x[:, 4] - 0.3) + ops.sum(x[:, :4] * np.array([3.0, 1.0, 0.5, 2.0]), -1), -1)

    space = Space((Variable("kind", "categorical", levels=("A", "B", "C", "D")), Variable("x", lower=0, upper=1)))
    answers = solve(fn(5, f), space, 0)
    assert answers.search == "per-combination"
    best = answers.designs.iloc[0]
    assert (best["design.kind"], best["design.x"]) == ("C", pytest.approx(0.3, abs=1e-3))
    assert set(answers.starts["design.kind"]) == {"A", "B", "C", "D"}


def test_never_a_mixture_of_categories():
    space = Space((Variable("level", "categorical", levels=tuple("ABCD")), Variable("x", lower=0, upper=0.5)))
    best = solve(lin([[0], [1], [5], [9], [1]]), space, 3).designs.iloc[0]
    assert (best["design.level"], best["design.x"]) == ("B", pytest.approx(0.5))
    assert best["miss.y"] == pytest.approx(-1.5, abs=1e-5)


def test_a_category_can_be_narrowed_to_some_labels():
    space = Space((Variable("level", "categorical", levels=tuple("ABCD")), Variable("x", lower=0, upper=0.5)))
    answers = solve(lin([[0], [1], [5], [9], [1]]), space.restrict(levels={"level": ["A", "C"]}), 3)
    assert set(answers.starts["design.level"]) == {"A", "C"}
    assert answers.designs.iloc[0]["design.level"] == "C"


# Rounding and neighbours


def test_neighbours_find_what_rounding_misses():
    rng = np.random.default_rng(1)
    weights = rng.integers(3, 60, size=(12, 1)).astype(float)
    for target in (701, 433, 857):  # sums of whole weights: some vector gives it exactly
        answers = solve(lin(weights), ints(12), target)
        assert answers.search == "rounding"
        assert inputs(answers)[0] @ weights[:, 0] == target


def test_the_continuous_variables_make_up_for_the_discrete_ones():
    space = Space((*ints(10).variables, Variable("a", lower=0, upper=1), Variable("b", lower=0, upper=1)))
    model = lin([[float(7 * i + 5), 1.0] for i in range(10)] + [[1, 0], [0, 1]])
    answers = solve(model, space, {"y": 1625.25, "n": 45.5}, outputs=("y", "n"))
    assert answers.search == "rounding"
    best = inputs(answers)[0]
    assert ((7 * np.arange(10) + 5) @ best[:10], best[:10].sum()) == (1625, 45)
    assert best[10:] == pytest.approx([0.25, 0.5], abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_integers_under_a_sum_constraint_are_exact_where_all_can_be_tried(seed):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(6, 1))
    space, total = ints(6, 5), 13.0
    every = np.array(list(itertools.product(range(6), repeat=6)))
    every = every[every.sum(axis=1) == total]
    values = (every @ weights)[:, 0]
    target = float(rng.uniform(values.min(), values.max()))
    answers = solve(lin(weights), space, target, given=total_is(6, total))
    assert answers.search == "enumeration"
    assert (inputs(answers).sum(axis=1) == total).all()
    assert abs(inputs(answers)[0] @ weights[:, 0] - target) == pytest.approx(np.abs(values - target).min(), abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_integers_under_a_sum_constraint_are_exact_where_they_are_too_many(seed):
    """8 integers that sum to 20: 888,030 feasible of 10^8; rounding the relaxed answer mostly breaks the sum."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(1, 40, size=(8, 1)).astype(float)
    space, total = ints(8), 20.0
    present = rng.multinomial(20, np.full(8, 1 / 8)).clip(0, 9)
    present[np.argmin(present)] += 20 - present.sum()
    target = float(present @ weights[:, 0])  # so it can be met exactly
    answers = solve(lin(weights), space, target, given=total_is(8, total))
    assert answers.search == "rounding"
    assert (inputs(answers).sum(axis=1) == total).all()
    assert inputs(answers)[0] @ weights[:, 0] == target


def test_every_row_satisfies_the_constraints_though_rounding_breaks_them():
    matrix = np.array([[1.0] * 10, [2.0, 3, 5, 0, 0, 0, 0, 0, 0, 1]])
    given = Constraints(Linear(matrix, np.array([31.0, -np.inf]), np.array([31.0, 40.0])))
    space = ints(10)
    answers = solve(lin([[i] for i in range(10)]), space, 150, given=given)
    x = answers.starts.filter(like="design.").to_numpy(dtype=float)
    assert Space(space.variables, given).feasible_set.holds(x).all()
    assert answers.met


def test_values_that_no_neighbour_leads_to_are_found_too():
    # 97 a + 89 b + 83 c = 1189 only for a few whole numbers, far from where rounding ends.
    matrix = np.array([[97.0, 89, 83, 0, 0, 0], [0, 0, 0, 1, 1, 1]])
    given = Constraints(Linear(matrix, np.array([1189.0, 17]), np.array([1189.0, 17])))
    space = ints(6)
    triples = np.array(list(itertools.product(range(10), repeat=3)))
    allowed = triples[triples @ matrix[0, :3] == 1189]
    assert 0 < len(allowed) < 5
    answers = solve(lin([[1], [2], [3], [4], [5], [6]]), space, 100, given=given)
    x = answers.starts.filter(like="design.").to_numpy(dtype=float)
    assert Space(space.variables, given).feasible_set.holds(x).all()
    values = [np.arange(1, 4) @ a + np.arange(4, 7) @ b for a in allowed for b in triples[triples.sum(axis=1) == 17]]
    assert inputs(answers)[0] @ np.arange(1, 7) == min(values, key=lambda v: abs(v - 100))


def test_at_most_two_are_above_zero():
    given = Constraints(Linear.none(4), (AtMost(2, (0, 1, 2, 3)),))
    answers = solve(lin([[1]] * 4), ints(4), 20, given=given)
    assert (np.count_nonzero(inputs(answers), axis=1) <= 2).all()
    assert inputs(answers)[0].sum() == 18


def test_a_category_that_the_constraints_exclude_is_never_tried():
    space = Space((Variable("n", "integer", lower=0, upper=3), Variable("x", lower=0, upper=1)))
    given = Constraints(Linear(np.array([[1.0, 1.0]]), np.array([-np.inf]), np.array([1.5])))
    plan = plan_search(Space(space.variables, given), REGISTRY.create("solver", "lbfgsb", {}), Context())
    assert plan.cells[0, :, 0].tolist() == [0, 1]


@pytest.mark.parametrize("others", [(), (Variable("x", lower=0, upper=1),)])
def test_constraints_that_no_combination_satisfies_are_refused(others):
    space = Space((*ints(2, 3).variables, *others))
    width = 2 + len(others)
    with pytest.raises(ConfigError, match="no combination"):
        solve(lin([[1]] * width), space, 1, given=total_is(width, 99.0))


@pytest.mark.parametrize("count", [3, 12])
def test_variables_that_a_target_holds_stay(count):
    space = ints(count)
    frame = pd.DataFrame({"y": [7.0, 12.0], "x0": [5, 2]})
    surrogate = surrogate_of(lin([[1]] * count), space)
    solver = REGISTRY.create("solver", "least-squares", {})
    said = []
    found = list(invert_many(surrogate, frame, space, MSE, solver, noted(said)))
    starts = pd.concat([answers.starts for _, answers in found])
    assert starts.groupby("target")["design.x0"].unique().map(list).tolist() == [[5], [2]]
    designs = pd.concat([answers.designs for _, answers in found])
    assert designs["met"].all()
    assert designs.filter(like="design.").sum(axis=1).tolist() == [7, 12]
    assert len(said) == 1, "said once, not for each target"


def test_a_table_is_answered_as_its_rows_are_one_by_one():
    space = Space((*ints(2, 3).variables, Variable("x", lower=0, upper=1)))
    surrogate = surrogate_of(lin([[2], [3], [1]]), space)
    solver = REGISTRY.create("solver", "least-squares", {"rows_at_once": 100})
    frame = pd.DataFrame({"y": [3.3, 8.1, 12.9]})
    many = [a.designs["prediction.y"].iloc[0] for _, a in invert_many(surrogate, frame, space, MSE, solver, Context())]
    assert many == pytest.approx(frame["y"].tolist(), abs=1e-4)


# The answers' values


def test_log_scale_reaches_each_decade():
    from keras import ops

    space = Space((Variable("x", lower=1e-6, upper=1.0),))
    model = fn(1, lambda x: ops.log(x) / float(np.log(10)))
    answers = solve(model, space.restrict(log=["x"]), -4.5, init="uniform", starts=50)
    assert answers.starts["hit"].all()
    assert answers.designs["design.x"].iloc[0] == pytest.approx(10**-4.5, rel=1e-3)
    guesses = np.log10(answers.starts["guess.x"])
    assert np.histogram(guesses, bins=6, range=(-6, 0))[0].min() >= 3, "starts in every decade"


def test_small_values_of_a_log_scale_stay_where_they_are_beside_constraints_on_others():
    from keras import ops

    space = Space(tuple(Variable(name, lower=1e-12, upper=1) for name in "xab"))
    space = space.restrict(log=["x"])
    rules = parse_constraints(["a + b <= 1"], space, ["y"])
    answers = solve(fn(3, lambda x: ops.log(x[:, :1]) / float(np.log(10))), space, -10.0, given=rules)
    assert answers.designs["design.x"][0] == pytest.approx(1e-10, rel=1e-3)


def test_log_scale_gradients_are_those_of_the_logarithm():
    from invdesign_core.search.loss_functions import LossFunctions
    from invdesign_core.targets import Targets

    space = Space((Variable("x", lower=0.01, upper=100), Variable("z", lower=0, upper=2))).restrict(log=["x"])
    surrogate = surrogate_of(lin([[0.01], [0.5]], act="tanh"), space)
    goal = Targets.build([parse_targets({"y": 0.3}, ("y",))], ("y",), surrogate.spread).goal(
        surrogate.shift, surrogate.scale
    )
    forward = LossFunctions(surrogate, MSE, space)
    u = np.random.default_rng(0).random((20, 2))
    rows = np.zeros(20, dtype=int)
    assert forward.to_u(forward.to_x(u)) == pytest.approx(u, abs=1e-12)
    _, gradient = forward.value_and_grad(u, goal.take(rows))
    residuals, jacobian = forward.residuals_and_jacobian(u, goal.take(rows))
    step = 2e-3
    for column in range(2):
        ahead, behind = u.copy(), u.copy()
        ahead[:, column] += step
        behind[:, column] -= step
        slope = (forward.value(ahead, goal.take(rows)) - forward.value(behind, goal.take(rows))) / (2 * step)
        assert gradient[:, column] == pytest.approx(slope, rel=0.05, abs=2e-3)
    assert 2 * residuals * jacobian[:, 0] == pytest.approx(gradient, rel=1e-3, abs=1e-5)


def test_bounds_hold_to_the_last_bit_on_a_log_scale_too():
    space = Space((Variable("x", lower=0.1, upper=0.7), Variable("z", lower=0.3, upper=0.9)))
    for target in (-5, 5):
        answers = solve(lin([[1], [1]]), space.restrict(log=["x"]), target)
        x = inputs(answers)
        assert (x >= [0.1, 0.3]).all()
        assert (x <= [0.7, 0.9]).all()


# With a trained surrogate


@pytest.mark.long
def test_fifty_targets_of_a_mixed_table_are_all_met_by_the_truth():
    from invdesign_core.data.data import Data
    from invdesign_core.workflow.estimator import InverseDesign

    rng = np.random.default_rng(0)

    def truth(d):
        metal = d["metal"].map({"Al": 0.0, "Cu": 1.0, "Fe": 2.5, "Ni": 4.0})
        y = 2 * d["a"] + np.sin(3 * d["b"]) + 0.6 * d["n"] + metal * (0.5 + d["a"]) + np.where(d["on"], 1.5, 0.0)
        return pd.DataFrame({"y": y})

    def designs(count):
        return pd.DataFrame(
            {
                "a": rng.uniform(0, 1, count),
                "b": rng.uniform(0, 2, count),
                "n": rng.integers(0, 6, count),
                "metal": rng.choice(["Al", "Cu", "Fe", "Ni"], count),
                "on": rng.choice([True, False], count),
            }
        )

    frame = designs(2000)
    frame["y"] = truth(frame)["y"]
    data = Data.from_frame(frame, ["y"])
    training = {"epochs": 150, "schedule": "cosine", "early_stopping": False, "members": 2}
    surrogate = {"use": "selu-mlp", "learning_rate": (5e-3, 5e-3)}
    model = InverseDesign(surrogate, training=training).fit_data(data)
    wanted = pd.DataFrame({"y": truth(designs(50))["y"]})
    solver = REGISTRY.create("solver", "least-squares", {})
    found = list(invert_many(model.surrogate_, wanted, model.surrogate_.space, MSE, solver, Context(), truth=truth))
    best = pd.concat([answers.designs for _, answers in found])
    assert len(best) == 50
    assert best["met"].all(), "judged by the truth"
    assert all(answers.search == "per-combination" for _, answers in found)


# In the words of the file, of the command line and of Python


def test_one_section_for_the_file_and_for_python():
    wishes = {"bounds": {"x": [[1.5, 2.4], [3.1, 5.6]]}, "step": {"n": 2}, "log": ["x"], "margin": 0.5}
    space = Space((Variable("x", lower=0, upper=6), Variable("n", "integer", lower=0, upper=9)))
    found = Design.from_mapping(wishes).apply(space, ("y",))
    assert found["x"].span == "1.5 to 2.4 or 3.1 to 5.6, log scale"
    assert found["n"].span == "-4 to 12 by 2"


@pytest.fixture
def identity(tmp_path):
    lin([[1]]).save(tmp_path / "same.keras")
    return tmp_path / "same.keras"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "target", "x", "code"),
    [
        (("--bounds", "x1=1.5..2.4,3.1..5.6"), "2.9", 3.1, 1),
        (("--bounds", "x1=12..20", "--step", "x1=2"), "14", 14, 0),
        (("--levels", "x1=1,2.18,4"), "2.5", 2.18, 1),
        (("--bounds", "x1=0..50", "--step", "x1=0.1"), "30.26", 30.3, 0),
        (("--bounds", "x1=0.001..10", "--log", "x1"), "0.5", pytest.approx(0.5, abs=1e-2), 0),
    ],
)
def test_the_command_line_says_it_with_the_same_words(invdesign, identity, options, target, x, code):
    done = invdesign("solve", identity, *options, "--target", target, "--json")
    assert done.code == code, done.err
    assert done.json["designs"][0]["inputs"]["x1"] == x


@pytest.mark.slow
def test_a_run_takes_them_too_and_a_later_solve_lays_its_own_over_them(invdesign, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.random(200), "b": rng.random(200)})
    frame["y"] = frame["a"] + frame["b"]
    frame.to_csv(tmp_path / "sum.csv", index=False)
    (tmp_path / "sum.toml").write_text(
        '[dataset]\nuse = "table"\npath = "sum.csv"\noutputs = ["y"]\n[training]\nepochs = 30\n'
        '[surrogate]\nuse = "ridge"\n[design]\nfixed = { b = 0.4 }\n'
    )
    run = invdesign(
        "run", "sum.toml", "--bounds", "a=0..1", "--step", "a=0.25", "--target", "1.1", "--out", "out", "--json"
    )
    assert run.json["designs"][0]["inputs"] == {"a": 0.75, "b": 0.4}
    assert run.json["search"] == "enumeration"
    solved = invdesign("solve", "out", "--levels", "b=0.2,0.6", "--target", "1.1", "--json")
    assert solved.json["designs"][0]["inputs"] == {"a": 0.5, "b": 0.6}


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["--step", "x1"], "expected NAME=VALUE"),
        (["--step", "x1=small"], "expected a number"),
        (["--bounds", "x1=1..2,3"], "expected LOW..HIGH"),
        (["--levels", "x1=1,2", "--step", "x1=1"], "levels and a step"),
        (["--log", "x9"], "no design variable 'x9'"),
        (["--bounds", "x1=0..1", "--log", "x1"], "expected one above 0"),
    ],
)
def test_what_the_command_line_cant_mean_is_refused(identity, items, message):
    from click.testing import CliRunner

    from invdesign_core.cli.commands import cli

    done = CliRunner().invoke(cli, ["solve", str(identity), *items, "--target", "1"])
    assert isinstance(done.exception, ConfigError)
    assert message in str(done.exception)
