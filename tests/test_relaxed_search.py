"""Discrete variables searched as numbers between their bounds, however few their combinations are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, fn, invert, invert_many, lin

from invdesign_core.context import Context
from invdesign_core.data.data import TrainingRows
from invdesign_core.errors import ConfigError
from invdesign_core.registry import Registry
from invdesign_core.search.proximity import NearTo
from invdesign_core.space.rules import Constraints, Linear
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets
from invdesign_core.workflow.experiment import Experiment

REGISTRY = Registry.discover()
MSE = REGISTRY.create("objective", "mse", {})
RELAXED = {"discrete": "relax", "starts": 10, "init": "uniform"}
BITS = Space(tuple(Variable(f"bit_{i}", "binary") for i in range(2)))
DECIMAL = lin([[2], [1]])


def solve(model, space, target, given=None, solver="least-squares", ctx=None, known=None, near_to=None, **options):
    wanted = parse_targets({"y": target}, ("y",))
    searches = REGISTRY.create("solver", solver, RELAXED | options)
    surrogate = Surrogate.of_model(model, space, ("y",))
    return invert(
        surrogate, wanted, Space(space.variables, given), MSE, searches, ctx or Context(), known, near_to=near_to
    )


def designs(answers):
    return answers.starts.filter(like="design.").to_numpy(dtype=float)


@pytest.mark.parametrize("solver", ["least-squares", "lbfgsb", "slsqp", "differential-evolution", "dataset-search"])
def test_every_solver_moves_bits_as_numbers_and_every_start_is_reported(solver):
    rows = np.random.default_rng(0).random((40, 2))
    known = TrainingRows(rows, rows @ [[2.0], [1.0]]) if solver == "dataset-search" else None
    init = {"init": "data"} if known else {}
    said = []
    ctx = Context(emit=lambda event: said.append(event.data.get("text") or event.data.get("solver")))
    answers = solve(DECIMAL, BITS, 2, solver=solver, ctx=ctx, known=known, **init)
    assert answers.search == "relaxation"
    assert len(answers.starts) == 10
    assert solver in said
    assert "4 combinations of discrete values: searched as numbers between their bounds, and rounded at the end" in said
    guesses = answers.starts.filter(like="guess.").to_numpy()
    assert ((guesses > 0) & (guesses < 1)).all(), "the search begins between the values that exist"
    assert np.isin(designs(answers), (0, 1)).all()
    prediction = answers.starts["prediction.y"].to_numpy()
    assert prediction == pytest.approx(designs(answers) @ [2, 1]), "a design is judged as it is written"
    assert answers.starts["hit"].tolist() == np.isclose(prediction, 2).tolist()
    assert answers.met


def test_the_same_problem_is_enumerated_by_default():
    answers = solve(DECIMAL, BITS, 2, discrete="auto")
    assert answers.search == "enumeration"
    assert len(answers.starts) == 4


def test_a_start_that_the_solver_leaves_where_it_is_never_moved_though_it_is_rounded():
    flat = fn(2, lambda x: 0 * x[:, :1] + 5)
    answers = solve(flat, BITS, 2)
    assert not answers.starts["moved"].any()
    assert (answers.starts["status"] == "stuck").all()


@pytest.mark.parametrize(
    ("variable", "exists"),
    [
        (Variable("v", "integer", lower=0, upper=9), range(10)),
        (Variable("v", "levels", levels=(0.0, 2.5, 4.0, 9.0)), (0, 2.5, 4, 9)),
        (Variable("v", lower=0, upper=9, step=1.5), np.arange(0, 9.1, 1.5)),
        (Variable("v", "binary"), (0, 1)),
    ],
    ids=["integer", "levels", "step", "binary"],
)
def test_the_other_variables_make_up_for_the_rounding(variable, exists):
    answers = solve(lin([[1], [1]]), Space((variable, Variable("x", lower=0, upper=3))), 3.3)
    assert answers.search == "relaxation"
    assert len(answers.starts) == 10
    v, x = designs(answers).T
    assert np.isin(v, tuple(exists)).all()
    can = (3.3 - v >= 0) & (3.3 - v <= 3)
    assert can.any()
    assert (v + x)[can] == pytest.approx(3.3, abs=1e-4)


def test_a_category_is_searched_between_its_labels_and_ends_at_one():
    space = Space((Variable("level", "categorical", levels=tuple("ABC")), Variable("x", lower=0, upper=1)))
    answers = solve(lin([[0], [2], [5], [1]]), space, 2.5)
    assert answers.search == "relaxation"
    assert len(answers.starts) == 10
    assert set(answers.starts["design.level"]) <= set("ABC")
    assert answers.designs.iloc[0]["design.level"] == "B"
    assert answers.met


def test_the_constraints_hold_at_every_design_though_rounding_breaks_them():
    space = Space(tuple(Variable(f"x{i}", "integer", lower=0, upper=5) for i in range(4)))
    four = Constraints(Linear(np.ones((1, 4)), np.array([7.0]), np.array([7.0])))
    answers = solve(lin([[1], [2], [3], [4]]), space, 17.4, given=four)
    assert answers.search == "relaxation"
    assert len(answers.starts) == 10
    assert (designs(answers).sum(axis=1) == 7).all()


def test_rows_of_a_table_of_targets_keep_the_values_that_they_hold():
    frame = pd.DataFrame({"y": [1, 3, 2], "bit_0": [0, 1, 1]})
    searches = REGISTRY.create("solver", "least-squares", RELAXED)
    surrogate = Surrogate.of_model(DECIMAL, BITS, ("y",))
    ((_, answers),) = invert_many(surrogate, frame, BITS, MSE, searches, Context())
    assert answers.search == "relaxation"
    assert answers.met
    best = answers.designs.groupby("target").first()
    assert best["design.bit_0"].tolist() == [0, 1, 1]
    assert best["design.bit_1"].tolist() == [1, 1, 0]


def test_few_changes_of_a_present_design_are_searched_the_same_way():
    near = NearTo(np.array([0.0, 0.0]), fewest=True)
    answers = solve(DECIMAL, BITS, 2, near_to=near)
    assert answers.search == "relaxation"
    assert designs(answers)[answers.starts["hit"]].tolist()[0] == [1, 0]
    assert answers.met


def test_answers_stay_near_to_the_data_that_they_are_asked_to_stay_near_to():
    rows = np.array([[0, 0], [0, 1], [1, 0]] * 8, dtype=float)
    known = TrainingRows(rows, rows @ [[2.0], [1.0]])
    answers = solve(DECIMAL, BITS, 3, known=known, near_to=NearTo(to_data=True))
    assert answers.search == "relaxation"
    assert not (designs(answers) == [1, 1]).all(axis=1).any()


@pytest.mark.parametrize(
    ("settings", "discrete"),
    [
        ({}, "relax"),
        ({"dataset": {"digits": 2}}, "relax"),
        ({"dataset": {"digits": 4}}, "auto"),
        ({"dataset": "invdesign:binary-decimal", "solver": "lbfgsb"}, "relax"),
        ({"solver": {"discrete": "auto"}}, "auto"),
        ({"dataset": {"use": "table", "path": "own.csv", "outputs": ["y"]}}, "auto"),
    ],
)
def test_the_two_bits_of_the_example_are_relaxed_and_nothing_else_is(settings, discrete):
    assert Experiment.from_mapping(settings).stages(REGISTRY).solver.discrete == discrete


def test_the_classic_example_names_the_classic_method():
    solver = Experiment.from_toml(ROOT / "docs" / "examples" / "notebook.toml").stages(REGISTRY).solver
    assert (solver.name, solver.starts, solver.init) == ("lbfgsb", 10, "uniform")
    assert (solver.gradient, solver.discrete) == ("3-point", "relax")


def test_a_saved_run_of_the_example_is_solved_as_it_ran(saved_run):
    from invdesign_core.workflow.solve import solve_model

    again = solve_model(saved_run, ["decimal=1"])
    assert again.report.search == "relaxation"
    other = solve_model(saved_run, ["decimal=1"], overrides={"solver": {"discrete": "auto"}})
    assert other.report.search == "enumeration"


def test_another_word_for_it_is_refused():
    with pytest.raises(ConfigError, match="'relaxed', input should be 'auto' or 'relax'"):
        REGISTRY.create("solver", "lbfgsb", {"discrete": "relaxed"})


def test_a_miss_of_a_relaxed_search_says_that_rounding_can_miss_designs():
    from types import SimpleNamespace

    from invdesign_core.designs.verdict import Quality, verdict_of

    design = SimpleNamespace(truth=None, failed=None, met={"y": False}, miss={"y": 1.0})
    target = SimpleNamespace(tolerance=0.1, goal=None, lower=3.0, upper=3.0, range=2.0)

    def said(search):
        report = SimpleNamespace(
            status="not met", search=search, designs=[design], met_by=None, target={"y": target}, measured=[], units={}
        )
        return verdict_of(report, Quality())

    assert said("relaxation") == said("enumeration") + (
        '; discrete values were rounded at the end, which can miss designs; solver.discrete = "auto" searches them'
    )
