"""Quantities derived from inputs by a formula, as targets and limits; constraints that are not linear."""

from __future__ import annotations

import csv
import math
import re

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import lin
from hypothesis import given, settings
from hypothesis import strategies as st

from invdesign_core import InverseDesign
from invdesign_core.context import Context
from invdesign_core.data.data import TrainingRows
from invdesign_core.data.own_columns import as_targets
from invdesign_core.designs.report import reports_of_rows
from invdesign_core.errors import ConfigError
from invdesign_core.registry import Registry
from invdesign_core.search.candidates import drawn
from invdesign_core.space.constraint_text import parse_constraints
from invdesign_core.space.expressions import parse_expression
from invdesign_core.space.space import Space
from invdesign_core.space.units import NO_UNITS
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets
from invdesign_core.truth.simulator import as_truth
from invdesign_core.workflow.derived import Understood, derivations, limits_of
from invdesign_core.workflow.design import Design
from invdesign_core.workflow.inverse import invert, invert_many, pose
from invdesign_core.workflow.train import ForwardModel, untested

REGISTRY = Registry.discover()
SPACE = Space(
    (
        Variable("a", lower=0, upper=2),
        Variable("b b", lower=1, upper=3),
        Variable("glass", "categorical", levels=("A", "B")),
        Variable("flag", "binary"),
        Variable("log", lower=-1, upper=1),
    )
)
POINT = np.array([[1.5, 2.0, 0.0, 1.0, 1.0, 0.5]])
UNIT = Space((Variable("x1", lower=0, upper=1), Variable("x2", lower=0, upper=1)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2.1*a + 0.8*b b - 1", 2.1 * 1.5 + 0.8 * 2 - 1),
        ("a*b b/4", 0.75),
        ("a - b b - 1", -1.5),
        ("a/b b/2", 0.375),
        ("-a^2", -2.25),
        ("2^-a", 2**-1.5),
        ("a**2**0.5", 1.5 ** (2**0.5)),
        ("exp(-a) + ln(b b) + log10(100)", math.exp(-1.5) + math.log(2) + 2),
        ("log(b b)*log", math.log(2) * 0.5),
        ("sqrt(a*a) + abs(-a) + |a - b b|", 3.5),
        ("min(a, b b, 1) + max(a, 1)", 2.5),
        ("Max(a, 1)", 1.5),
        ('"a" + flag', 2.5),
        ("((a))", 1.5),
        ("min(2, 3)*a", 3.0),
    ],
)
def test_a_formula_means_what_it_says(text, value):
    found = parse_expression(text, SPACE, ["y"], "here")
    assert found.value(POINT).tolist() == pytest.approx([value], rel=1e-15)
    traced = found.trace(keras.ops.convert_to_tensor(POINT.astype(np.float32)))
    assert np.asarray(traced) == pytest.approx([value], rel=1e-5)


OPERATORS = st.sampled_from(["+", "-", "*", "/"])
LEAVES = st.sampled_from(["x1", "x2", "0.5", "3", "(x1 + 1)"])
FORMULAS = st.recursive(
    LEAVES, lambda inner: st.builds(lambda a, op, b, s: f"{s}({a} {op} {b})", inner, OPERATORS, inner,
                                    st.sampled_from(["", "-", "exp", "abs"])), max_leaves=4,
)  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(formula=FORMULAS, x1=st.floats(0.1, 0.9), x2=st.floats(0.1, 0.9))
def test_formulas_are_computed_as_python_computes_them(formula, x1, x2):
    names = {"x1": x1, "x2": x2, "exp": math.exp, "abs": abs}
    try:
        expected = eval(formula, names)
    except (ZeroDivisionError, OverflowError):
        expected = math.nan
    if not re.search("x[12]", formula) or math.isnan(expected):
        return
    found = parse_expression(formula, UNIT, [], "here")
    value = found.value(np.array([[x1, x2]]))[0]
    assert value == pytest.approx(expected, rel=1e-15) or (math.isnan(value) and math.isinf(expected))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("glass + 1", ["character 1", "'glass' is categorical"]),
        ("y + a", ["character 1", "'y' is an output"]),
        ("2 + 3", ["no design variable"]),
        ("a +", ["ends where"]),
        ("a <= 2", ["without a comparison", "constraints"]),
        ("min(a)", ["min has 1", "two arguments"]),
        ("exp(a, a)", ["exp has 2", "one argument"]),
        ("3 kg*a", ["a number with a unit"]),
        ("c*a", ["no design variable 'c'"]),
        ("a/0", ["a denominator is 0 everywhere"]),
        ("log(a - 3)", ["a logarithm is 0 or less everywhere"]),
        ("sqrt(-b b)", ["a root is below 0 everywhere"]),
    ],
)
def test_formulas_that_cannot_be_computed_are_refused(text, words):
    with pytest.raises(ConfigError) as refused:
        derivations({"q": text}, SPACE, ["y"])
    assert refused.value.message.startswith("[derive] q: character ")
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ("b b/a", "a denominator may be 0"),
        ("log(a)", "a logarithm may be 0 or less"),
        ("sqrt(a - 1)", "a root may be below 0"),
        ("log**0.5", "the base of a power may be 0 or less"),
        ("1/(a + 1)", ""),
        ("log**2", ""),
        ("log(b b)", ""),
        ("1/(b b - a + 1.5)", ""),
    ],
)
def test_where_a_formula_may_have_no_value_is_said(text, doubt):
    found = parse_expression(text, SPACE, [], "here").doubts
    assert doubt in found[0] if doubt else not found


def test_names_of_columns_are_not_taken():
    for name in ("a", "y"):
        with pytest.raises(ConfigError, match="has this name"):
            derivations({name: "2*a"}, SPACE, ["y"])


def test_a_formula_may_use_those_above_it():
    found = derivations({"p": "2*a", "q": "p + 1", "r": "p*q"}, SPACE, [])
    assert found["r"].value(POINT) == [12]
    with pytest.raises(ConfigError, match="no design variable 'q'"):
        derivations({"p": "q + 1", "q": "2*a"}, SPACE, [])
    said = Understood.of(Design(constraints=["r <= 2"]), SPACE, [], None, {"p": "2*a", "q": "p + 1", "r": "p*q"})
    assert said.design.constraints == ["((2*a)*((2*a) + 1)) <= 2"]


# Constraints

MIX = Space((Variable("w", lower=0, upper=2), Variable("c", lower=1, upper=3), Variable("n", lower=-3, upper=-1)))


@pytest.mark.parametrize(
    ("text", "matrix"),
    [
        ("w/c <= 0.5", [[1, -0.5, 0]]),
        ("0.5 >= w/c", [[1, -0.5, 0]]),
        ("0.25 <= w/c <= 0.5", [[-1, 0.25, 0], [1, -0.5, 0]]),
        ("w/(w + c) <= 0.25", [[0.75, -0.25, 0]]),
        ("2*(w/c) + 1 >= 0.5", [[-2, -0.5, 0]]),
        ("w/n >= -1", [[1, 0, 1]]),
        ("w/c <= n/c + 0.5", [[1, -0.5, -1]]),
        ("1/c <= 0.75", [[0, -0.75, 0]]),
        ("|w - n|/c <= 0.5", [[1, -0.5, -1], [-1, -0.5, 1]]),
        ("w <= 10**2/50", [[1, 0, 0]]),
    ],
)
def test_fractions_become_linear_where_that_is_the_same(text, matrix):
    found = parse_constraints([text], MIX, [])
    assert not found.limits
    assert found.linear.matrix.tolist() == matrix
    x = np.random.default_rng(0).uniform(*MIX.bounds, (500, 3))
    as_written = np.all([small(x) <= large(x) + 1e-12 for small, large in found.written], axis=0)
    assert (as_written == MIX.feasible_set.holds(x) & (found.linear.violation(x) <= 1e-12).all(axis=1)).all()


@pytest.mark.parametrize(
    ("text", "formula", "lower", "upper"),
    [
        ("w*c <= 2", "w*c", -np.inf, 2),
        ("2 >= w*c", "w*c", -np.inf, 2),
        ("1 <= w*c <= 2", "w*c", 1, 2),
        ("exp(w) >= c", "c - (exp(w))", -np.inf, 0),
        ("c/w <= 2", "c/w", -np.inf, 2),
        ("w/c <= 1/(c + 1)", "w/c - (1/(c + 1))", -np.inf, 0),
        ("w^2 <= 2", "w^2", -np.inf, 2),
        ("||w - c| - 1| <= 0.5", "||w - c| - 1|", -np.inf, 0.5),
    ],
)
def test_other_constraints_become_limits_on_formulas(text, formula, lower, upper):
    found = parse_constraints([text], MIX, [])
    assert not len(found.linear)
    ((limit,),) = [found.limits]
    assert (limit.expression.text, limit.lower, limit.upper) == (formula, lower, upper)
    saved = Space.from_json(Space(MIX.variables, found).to_json())
    assert saved.constraints.limits[0].expression.text == formula


def test_limits_of_one_formula_are_one_and_may_contradict():
    space = Space(MIX.variables, parse_constraints(["w*c <= 2", "w*c >= 1"], MIX, []))
    assert str(limits_of(space)["w*c"][1]) == "= 1..2"
    with pytest.raises(ConfigError, match=r"w\*c is to be at least 3 and at most 2"):
        limits_of(Space(MIX.variables, parse_constraints(["w*c <= 2", "w*c >= 3"], MIX, [])))


def test_an_equation_that_is_not_linear_is_refused():
    with pytest.raises(ConfigError, match="an equation that is not linear") as refused:
        parse_constraints(["w*c = 2"], MIX, [])
    assert "limits on both sides" in refused.value.hint


def test_experiments_keep_what_is_not_linear():
    space = Space(MIX.variables, parse_constraints(["w*c <= 1"], MIX, []))
    x = drawn(space, 64, np.random.default_rng(0))
    assert len(x)
    assert (x[:, 0] * x[:, 1] <= 1).all()


# Solving


class Plane:
    """A regressor, which has no gradient."""

    def z(self, x):
        return x.sum(axis=1, keepdims=True)


PLANE = Surrogate((Plane(),), UNIT, ("y",), np.zeros(1), np.ones(1), np.stack(UNIT.bounds), np.array([2.0]))


def solve(targets, derive=None, solver="differential-evolution", rows=None, truth=None, said=None, **design):
    """Invert y = x1 + x2, as `solve` does; through a regressor, which compiles nothing, where the solver allows it."""
    derive = derive or {}
    surrogate = PLANE if solver == "differential-evolution" else Surrogate.of_model(lin([[1], [1]]), UNIT, ("y",))
    known = ForwardModel(surrogate, untested(surrogate), rows, as_truth(truth))
    if not hasattr(targets, "columns"):
        targets = parse_targets(targets, ("y",), space=UNIT, derived=derive)
    ctx = Context(0, emit=(said if said is not None else []).append)
    objective = REGISTRY.create("objective", "mse", {})
    stages = (objective, lambda _: REGISTRY.create("solver", solver, {"starts": 16}), ctx)
    return invert(pose(known, UNIT, Understood(NO_UNITS, derive, Design(**design)), targets, *stages), ctx)


@pytest.mark.parametrize("solver", ["least-squares", "differential-evolution"])
def test_the_least_of_a_formula_gives_way_to_the_limit_of_an_output(solver):
    answers = solve({"y": ">=1.4", "cost": "min"}, {"cost": "2*x1 + exp(x2)"}, solver)
    best = answers.designs.iloc[0]
    assert answers.status == "optimised"
    assert best["design.x2"] == pytest.approx(math.log(2), abs=0.02), "where both slopes are alike"
    assert best["derived.cost"] == 2 * best["design.x1"] + math.exp(best["design.x2"])
    assert best["prediction.y"] >= 1.4 - 1e-6
    assert "prediction.cost" not in answers.designs


def test_values_and_ranges_of_formulas_are_met():
    best = solve({"y": 1, "ratio": "0.2..0.25"}, {"ratio": "x1/x2"}).designs.iloc[0]
    assert best["met"]
    assert 0.2 <= best["design.x1"] / best["design.x2"] <= 0.25
    best = solve({"p": "0.3 tolerance 1e-3"}, {"p": "x1*x2"}).designs.iloc[0]
    assert best["met"]
    assert best["design.x1"] * best["design.x2"] == pytest.approx(0.3, abs=1e-3)


def test_a_formula_without_a_value_is_no_answer_and_that_is_said():
    events = []
    answers = solve({"y": ">=0.0", "q": "min"}, {"q": "log(x1)*x1"}, said=events)
    assert any("may be 0 or less" in str(event.data.get("text")) for event in events)
    best = answers.designs.iloc[0]
    assert best["design.x1"] == pytest.approx(math.exp(-1), abs=0.01)
    with pytest.raises(ConfigError, match="has a value for none"):
        solve({"y": 1, "q": "min"}, {"q": "log(x1 - x2 - 0.9999)*log(x2 - x1 - 0.9999)"})


@pytest.mark.parametrize("targets", [{"y": "max"}, {"y": 0.8}, {"y": 1.9}])
def test_what_is_not_linear_holds_as_it_is_written(targets):
    answers = solve(targets, constraints=["x1 * x2 <= 0.25", "exp(x1) <= 2.5"])
    for _, design in answers.designs.iterrows():
        assert design["design.x1"] * design["design.x2"] <= 0.25
        assert math.exp(design["design.x1"]) <= 2.5
    best = answers.designs.iloc[0]
    if targets["y"] == 0.8:
        assert answers.status == "met"
    else:
        assert best["prediction.y"] == pytest.approx(1.25, abs=0.01), "the nearest inside the limits"
        assert answers.status == ("optimised" if targets["y"] == "max" else "not met")


def test_a_limit_that_cannot_hold_is_never_called_met():
    answers = solve({"y": 1}, constraints=["x1 * x2 >= 1.5"])
    assert answers.status == "not met"
    assert not answers.designs["met.x1 * x2"].any()
    assert answers.designs["derived.x1 * x2"][0] == pytest.approx(1, abs=5e-3), "it comes before the value of y"


def test_a_fraction_holds_to_the_last_digit():
    for side in (0.3, 0.7):
        answers = solve({"y": "max"}, constraints=[f"x1 / x2 <= {side}"], bounds={"x2": (0.1, 1)})
        best = answers.designs.iloc[0]
        assert best["design.x1"] / best["design.x2"] <= side
        assert best["design.x1"] == pytest.approx(side, abs=1e-6)


def test_rows_that_violate_a_limit_are_no_answers():
    x = np.array([[0.5, 0.5], [0.9, 0.1], [0.3, 0.4], [0.2, 0.9]])
    rows = TrainingRows(x, x.sum(axis=1, keepdims=True), np.arange(1, 5))
    measured = solve({"y": 1}, {"d": "x1 - x2"}, rows=rows, constraints=["x1*x2 <= 0.1"]).measured
    assert measured["row"].tolist() == [2]
    assert measured["derived.d"].tolist() == [0.8]
    answers = solve({"y": 1, "d": ">=0.5"}, {"d": "x1 - x2"}, rows=rows)
    assert answers.measured["row"].tolist() == [2]


def test_a_true_model_judges_outputs_and_formulas_are_exact():
    def truth(designs):
        return pd.DataFrame({"y": designs["x1"] + designs["x2"] + 0.2})

    answers = solve({"y": ">=1", "d": "0.5..0.6"}, {"d": "x1 - x2"}, truth=truth)
    assert answers.met
    assert "truth.d" not in answers.designs
    assert answers.designs["derived.d"].between(0.5, 0.6).all()


def test_a_table_of_targets_may_have_formulas():
    frame = pd.DataFrame({"y": [1.0, 1.2], "d": ["<=0.0", ">=0.5"]})
    solver = REGISTRY.create("solver", "differential-evolution", {"starts": 8})
    derive, stages = {"d": "x1 - x2"}, (REGISTRY.create("objective", "mse", {}), lambda _: solver)
    known = ForwardModel(PLANE, untested(PLANE))
    said = Understood(NO_UNITS, derive, Design(constraints=["x1*x2 <= 0.3"]))
    problem = pose(known, UNIT, said, frame, *stages, Context())
    ((_, answers),) = invert_many(problem, Context())
    best = answers.designs[answers.designs["rank"] == 1]
    assert best["met"].all()
    assert best["derived.d"].iloc[0] <= 0
    assert best["derived.d"].iloc[1] >= 0.5
    assert (best["design.x1"] * best["design.x2"] <= 0.3).all()
    assert reports_of_rows(best)[0].derived == {"d": best["derived.d"].iloc[0], "x1*x2": best["derived.x1*x2"].iloc[0]}
    again = as_targets(best.assign(y=1.0).drop(columns="target"), UNIT, ("y",), Context())
    assert set(again.columns) == {"x1", "x2", "y"}, "what was computed is no target"


def test_a_formula_of_a_condition_that_varies_is_refused():
    rows = TrainingRows(np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.9]]), np.array([[0.3], [0.7], [1.4]]))
    with pytest.raises(ConfigError, match="looks at a condition that varies"):
        solve({"y": 1, "d": "min"}, {"d": "x1 - x2"}, rows=rows, conditions={"x2": "data"})


# From end to end


@pytest.fixture(scope="module")
def table():
    x = np.random.default_rng(1).uniform(0.1, 1, (40, 2)).round(3)
    return pd.DataFrame({"resin [kg]": x[:, 0], "filler": x[:, 1], "strength": 20 + 30 * x[:, 0] - 10 * x[:, 1]})


def test_formulas_in_python(table):
    model = InverseDesign(
        surrogate="ridge",
        derive={"cost": "2.1*resin + 0.8*filler", "p": "resin*filler"},
        units={"cost": "EUR/kg"},
        constraints=["p <= 0.2"],
        solver={"use": "slsqp", "starts": 4},
        confidence={"model": "none"},
    ).fit(table[["resin [kg]", "filler"]], table["strength"])
    answers = model.invert({"strength": ">=35", "cost": "<=0.0018 EUR/g"})
    best = answers.designs.iloc[0]
    assert answers.met
    assert best["derived.cost"] == 2.1 * best["design.resin [kg]"] + 0.8 * best["design.filler"] <= 1.8
    assert (answers.designs["derived.p"] <= 0.2).all()


@pytest.mark.long  # a run and a solve
def test_formulas_on_the_command_line(invdesign, tmp_path, table):
    table.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.toml").write_text(
        'dataset = { use = "table", path = "t.csv", outputs = ["strength"] }\nsurrogate = "ridge"\n'
        'confidence = { model = "none" }\nderive = { cost = "2.1*resin + 0.8*filler" }\n'
        'design = { constraints = ["resin*filler >= 0.1"] }\n'
    )
    done = invdesign("run", "t.toml", "--target", "strength>=35", "--target", "cost=min", "--out", "r")
    assert done.code == 0, done.err
    assert "constraints that are not linear: resin*filler" in done.err or '"resin [kg]"*filler' in done.err
    assert "the smallest cost found with all limits held is" in done.out
    with (tmp_path / "r/solve/1/designs.csv").open(encoding="utf-8") as file:
        best = next(csv.DictReader(file))
    assert float(best["design.resin [kg]"]) * float(best["design.filler"]) >= 0.1
    assert float(best["derived.cost"]) == pytest.approx(
        2.1 * float(best["design.resin [kg]"]) + 0.8 * float(best["design.filler"]), rel=1e-15
    )
    assert "cost" in (tmp_path / "r/report.html").read_text()
    again = invdesign(
        "solve",
        "r",
        "--target",
        "cost=1.5",
        "--target",
        "share>=0.7",
        "--set",
        "derive.share=resin/(resin+filler)",
        "--json",
    )
    assert again.code == 0, again.err
    found = again.json["designs"][0]["derived"]
    assert found["cost"] == pytest.approx(1.5, abs=0.04)
    assert found["share"] >= 0.7
    (tmp_path / "w.csv").write_text("strength,cost\n35,<=1.9\n")
    many = invdesign("solve", "r", "--targets", "w.csv", "--out", "d.csv")
    assert many.code == 0, many.err
    page = invdesign("report", "r", "--targets", "w.csv", "--designs", "d.csv", "--out", "p.html")
    assert page.code == 0, page.err
    assert "it is a formula of the inputs" in (tmp_path / "p.html").read_text()
