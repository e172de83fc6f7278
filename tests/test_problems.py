"""Whole inverse problems whose answer is known, asked as users ask them: file, command line and Python."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import fn, lin, prepare_model

from invdesign_core.errors import ConfigError, PluginError
from invdesign_core.registry import Registry
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.solve import solve_one, solve_table

REGISTRY = Registry.discover()
LINEAR = [label for label, solver in REGISTRY.labels("solver").items() if "linear" in solver.handles]


@pytest.fixture
def ask(tmp_path):
    """Save a model, and solve it for one target or a table of them; bounds are 0 to 1 where none are said."""

    def run(model, targets, inputs, outputs=("y",), solver="auto", starts=None, **design):
        path = tmp_path / "it.keras"
        model.save(path)
        said = {*design.get("fixed", {}), *design.get("bounds", {})}
        bounds = {name: (0, 1) for name in inputs if name not in said} | design.pop("bounds", {})
        prepared = prepare_model(
            path,
            registry=REGISTRY,
            inputs=inputs,
            outputs=outputs,
            solver=(solver, {} if starts is None else {"starts": starts}),
            bounds=bounds,
            **design,
        )
        if not isinstance(targets, pd.DataFrame):
            return solve_one(prepared, targets)
        (tmp_path / "designs.csv").unlink(missing_ok=True)
        solve_table(prepared, targets, tmp_path / "designs.csv")
        return as_read(tmp_path / "designs.csv")

    return run


def as_read(path):
    """Read a file of designs, each number to the last bit."""
    table, text = pd.read_csv(path), pd.read_csv(path, dtype=str)
    designs = [name for name in text.columns if name.startswith("design.")]
    return table.assign(**{name: [float(value) for value in text[name]] for name in designs})


def best(result):
    return list(result.report.designs[0].inputs.values())


def sums(table, names):
    """Add up the numbers of a file from left to right in double precision."""
    total = table[f"design.{names[0]}"]
    for name in names[1:]:
        total = total + table[f"design.{name}"]
    return total


# Close to what I run today

SUM = [[1.0], [1.0]]
TODAY = {"a": 0.2, "b": 0.3}


def test_the_nearest_answer_moves_both_inputs_alike(ask):
    result = ask(lin(SUM), ["y=1"], ["a", "b"], near=TODAY)
    assert best(result) == pytest.approx([0.45, 0.55], abs=1e-3)
    assert result.report.status == "met"


def test_the_fewest_changes_leave_one_input_as_it_is(ask):
    result = ask(lin(SUM), ["y=1"], ["a", "b"], near=TODAY, fewest_changes=True)
    designs = [list(d.inputs.values()) for d in result.report.designs]
    assert designs[0] == pytest.approx([0.7, 0.3], abs=1e-3) or designs[0] == pytest.approx([0.2, 0.8], abs=1e-3)
    assert designs[0][0] == 0.2 or designs[0][1] == 0.3, "what stays, stays to the last bit"


def test_a_reference_design_on_the_command_line(tmp_path, invdesign):
    lin(SUM).save(tmp_path / "sum.keras")
    where = ["solve", "sum.keras", "--inputs", "a,b", "--bounds", "a=0..1", "--bounds", "b=0..1", "--target", "y=1"]
    near = invdesign(*where, "--near", "a=0.2,b=0.3", "--json")
    assert near.code == 0, near.err
    assert list(near.json["designs"][0]["inputs"].values()) == pytest.approx([0.45, 0.55], abs=1e-3)
    few = invdesign(*where, "--near", "a=0.2", "--near", "b=0.3", "--fewest-changes", "--json")
    assert few.code == 0, few.err
    a, b = few.json["designs"][0]["inputs"].values()
    assert (a, b) == pytest.approx((0.7, 0.3), abs=1e-3) or (a, b) == pytest.approx((0.2, 0.8), abs=1e-3)
    wrong = invdesign(*where, "--near", "a=0.2,bb=0.3")
    assert wrong.code == 2
    assert "'bb'" in wrong.err
    assert "did you mean 'b'" in wrong.err


def plain_network():
    """A linear network, which learns a plane exactly."""
    import keras

    def build(hp):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.02), loss="mse")
        return model

    return InverseDesign({"use": "model-builder", "builder": build}, training={"epochs": 200})


@pytest.fixture(scope="module")
def plane():
    """Rows of y = a + b."""
    frame = pd.DataFrame(np.random.default_rng(0).random((200, 2)), columns=["a", "b"])
    return plain_network().fit(frame, (frame["a"] + frame["b"]).rename("y"))


def test_a_reference_design_in_python(plane):
    from sklearn.base import clone

    plane.set_params(bounds={"a": (0, 1), "b": (0, 1)}, near=TODAY)
    assert plane.invert(1).designs.iloc[0][["design.a", "design.b"]].tolist() == pytest.approx([0.45, 0.55], abs=5e-3)
    plane.set_params(fewest_changes=True)
    a, b = plane.invert(1).designs.iloc[0][["design.a", "design.b"]]
    assert (a, b) == pytest.approx((0.7, 0.3), abs=5e-3) or (a, b) == pytest.approx((0.2, 0.8), abs=5e-3)
    assert clone(plane).get_params()["near"] == TODAY
    plane.set_params(near={"a": 0.2})
    with pytest.raises(ConfigError, match="the reference design has no value for 'b'"):
        plane.invert(1)
    plane.set_params(near=None, fewest_changes=False, bounds=None)


def test_a_present_design_may_name_only_some_variables(ask):
    result = ask(lin([[1.0], [1.0], [1.0]]), ["y=1.5"], ["a", "b", "c"], near={"a": 0.9})
    assert best(result)[0] == pytest.approx(0.9, abs=1e-3)
    assert result.report.status == "met"


def test_near_is_meant_in_shares_of_each_range(ask):
    """b is a hundred times as wide, so it moves a hundred times as far."""
    result = ask(lin([[1.0], [0.01]]), ["y=1"], ["a", "b"], bounds={"b": (0, 100)}, near={"a": 0.2, "b": 30})
    assert best(result) == pytest.approx([0.45, 55], rel=1e-3)


def test_near_under_a_linear_constraint(ask):
    # Of a + b = 1 with b <= a, the nearest to (0.2, 0.3) is the end (0.5, 0.5).
    result = ask(lin(SUM), ["y=1"], ["a", "b"], near=TODAY, constraints=["b <= a"])
    assert best(result) == pytest.approx([0.5, 0.5], abs=1e-3)
    few = ask(lin(SUM), ["y=1"], ["a", "b"], near=TODAY, constraints=["b <= a"], fewest_changes=True)
    assert best(few) == pytest.approx([0.7, 0.3], abs=1e-3), "(0.2, 0.8) is not allowed"


def test_the_fewest_changes_may_be_none_at_all_or_all(ask):
    assert best(ask(lin(SUM), ["y=0.5"], ["a", "b"], near=TODAY, fewest_changes=True)) == [0.2, 0.3]
    assert best(ask(lin(SUM), ["y=1.6"], ["a", "b"], near=TODAY, fewest_changes=True)) == pytest.approx(
        [0.8, 0.8], abs=0.2
    )


def test_few_changes_of_a_target_out_of_reach_end_with_the_nearest_miss(ask):
    """A fixed variable can't change, so letting all others change is the last that can be tried."""
    present = TODAY | {"c": 0.5}
    for near in (present, TODAY):
        result = ask(
            lin([[1.0], [1.0], [1.0]]), ["y=5"], ["a", "b", "c"], near=near, fewest_changes=True, fixed={"c": 0.5}
        )
        assert result.report.status == "not met"
        assert best(result) == [1, 1, 0.5]


@pytest.mark.parametrize("near", [{}, {"near": {"x": 0.1}}])
def test_where_no_design_meets_the_target_those_with_twice_the_least_loss_are_reported(ask, near):
    def wave(x):
        from keras import ops

        return ops.sin(12 * x) * (0.4 + 0.6 * x)

    designs = ask(fn(1, wave), ["y=1"], ["x"], solver="lbfgsb", starts=16, **near).report.designs
    losses = [design.loss for design in designs]
    assert designs[0].inputs["x"] == pytest.approx(0.6597, abs=1e-3)
    assert max(losses) <= 2 * min(losses)


@pytest.fixture(scope="module")
def mixed():
    """Rows of y = level of the metal (0, 1 or 5) + n + x, learnt by a network that can be exact."""
    rows = [(metal, n, x) for metal in "ABC" for n in range(10) for x in (0.0, 0.2, 0.5)]
    frame = pd.DataFrame(rows, columns=["metal", "n", "x"])
    y = frame["metal"].map({"A": 0, "B": 1, "C": 5}) + frame["n"] + frame["x"]
    return plain_network().fit(frame, y.rename("y"))


def asked(model, target, **design):
    """Ask for one target, and return the best design."""
    model.set_params(near=None, fewest_changes=False, stay_near_data=False, constraints=()).set_params(**design)
    answers = model.invert(target)
    return answers.designs.filter(like="design.").iloc[0].rename(lambda name: name[7:]).to_dict()


def test_near_keeps_a_category_and_moves_a_whole_number(mixed):
    near = asked(mixed, 9.25, near={"metal": "C", "n": 3, "x": 0.25})
    assert near == {"metal": "C", "n": 4, "x": pytest.approx(0.25, abs=0.05)}
    few = asked(mixed, 6.25, near={"metal": "C", "n": 5, "x": 0.25}, fewest_changes=True)
    assert few == {"metal": "C", "n": 1, "x": 0.25}, "another metal would be one change too, but a larger one"
    none = asked(mixed, 10.25, near={"metal": "C", "n": 5, "x": 0.25}, fewest_changes=True)
    assert none == {"metal": "C", "n": 5, "x": 0.25}
    part = asked(mixed, 9.25, near={"metal": "B"})
    assert part["metal"] == "B"


def test_a_present_design_that_can_not_be_is_refused_by_name(mixed):
    with pytest.raises(ConfigError, match="near: 'metal' has no level 'D'"):
        asked(mixed, 6.25, near={"metal": "D"})
    with pytest.raises(ConfigError, match="near 'n': found 'four', expected a number"):
        asked(mixed, 6.25, near={"n": "four"})
    with pytest.raises(ConfigError, match="no design variable 'metl'\nHint: did you mean 'metal'"):
        asked(mixed, 6.25, near={"metl": "A"})


def test_near_for_a_table_of_targets(ask):
    wanted = pd.DataFrame({"y": [0.5, 1.0, 1.5]})
    table = ask(lin(SUM), wanted, ["a", "b"], near=TODAY, designs=1)
    assert table[["design.a", "design.b"]].to_numpy() == pytest.approx(
        np.array([[0.2, 0.3], [0.45, 0.55], [0.7, 0.8]]), abs=1e-3
    )
    few = ask(lin(SUM), wanted, ["a", "b"], near=TODAY, fewest_changes=True, designs=1)
    changed = (few[["design.a", "design.b"]].to_numpy() != [0.2, 0.3]).sum(axis=1)
    assert changed.tolist() == [0, 1, 2]
    assert few["met"].all()


def test_few_changes_of_one_target_wait_for_no_other(ask):
    """Where T is 0.5, nothing of today's a + b is allowed, so only that row has to change at once."""
    wanted = pd.DataFrame({"y": [0.8, 0.4], "T": [0.0, 0.5]})
    table = ask(
        lin([[1.0], [1], [0]]), wanted, ["a", "b", "T"], bounds={"T": (0, 1)}, constraints=["a + b <= 1 - T"],
        near={"a": 0.5, "b": 0.3, "T": 0.0}, fewest_changes=True, designs=1,
    )  # fmt: skip
    assert table[["design.a", "design.b"]].to_numpy() == pytest.approx(np.array([[0.5, 0.3], [0.1, 0.3]]), abs=1e-3)
    assert table["design.a"][0] == 0.5
    assert table["design.b"].tolist() == [0.3, 0.3]


# Feasible as written

SIX = list("abcdef")


def test_fifty_weighted_sums_are_feasible_as_read_and_end_in_the_right_corner(ask):
    weights = np.random.default_rng(17).normal(size=(6, 50))
    outputs = [f"y{i}" for i in range(50)]
    wanted = pd.DataFrame(np.where(np.eye(50, dtype=bool), "max", "free"), columns=outputs)
    table = ask(lin(weights), wanted, SIX, outputs, constraints=["a + b + c + d + e + f <= 1"], designs=1, starts=8)
    x = table[[f"design.{name}" for name in SIX]].to_numpy()
    assert len(x) == 50
    assert ((x >= 0) & (x <= 1)).all()
    assert (sums(table, SIX) <= 1.0).all()
    reached = (x * weights.T).sum(axis=1)
    assert reached == pytest.approx(np.maximum(weights.max(axis=0), 0), abs=1e-6)


def test_an_equation_holds_to_1e_9_as_read(ask):
    weights = np.random.default_rng(18).normal(size=(6, 50))
    outputs = [f"y{i}" for i in range(50)]
    wanted = pd.DataFrame(np.where(np.eye(50, dtype=bool), "max", "free"), columns=outputs)
    table = ask(lin(weights), wanted, SIX, outputs, constraints=["a + b + c + d + e + f = 1"], designs=1, starts=8)
    x = table[[f"design.{name}" for name in SIX]].to_numpy()
    assert ((x >= 0) & (x <= 1)).all()
    assert np.abs(sums(table, SIX) - 1).max() <= 1e-9
    assert (x * weights.T).sum(axis=1) == pytest.approx(weights.max(axis=0), abs=1e-6)


# Names in expressions, where they are typed

LAB = ["flow rate", "x-1", "x", "T (°C)", "E", "2nd pass", "lambda", "a=b"]


@pytest.fixture
def lab(tmp_path, invdesign):
    """y = the sum of all, but E taken off, on the command line."""
    lin([[1.0], [1], [1], [1], [-1], [1], [1], [1]]).save(tmp_path / "lab.keras")
    bounds = [word for name in LAB for word in ("--bounds", f"{name}=0..1")]

    def run(*words):
        return invdesign("solve", "lab.keras", "--inputs", ",".join(LAB), *bounds, *words, "--json")

    return run


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("-flow rate >= -0.5", 6.5, {"flow rate": 0.5}),
        ('2*flow rate + "x-1" <= 1', 6, {"flow rate": 0, "x-1": 1}),
        ('2*flow rate + "x"-1 <= 1', 6.5, {"flow rate": 0.5, "x": 1}),
        ("|x - E| <= 0.3", 6.3, {}),
        ("a=b + lambda + 2nd pass + T (°C) = 1", 4, {"E": 0}),
    ],
)
def test_hard_names_are_taken_whole(lab, text, most, expected):
    done = lab("--constraint", text, "--target", "y=max")
    assert done.code == 0, done.err
    found = done.json["designs"][0]
    assert found["prediction"]["y"] == pytest.approx(most, abs=2e-3)
    for name, value in expected.items():
        assert found["inputs"][name] == pytest.approx(value, abs=2e-3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2*flow rate + x-1 <= 1", ['2*"flow rate" + "x-1" <= 1', '2*"flow rate" + "x" - 1 <= 1', "double quotes"]),
        ("x <= y", ["'y' is an output", "--target 'y<=LIMIT'"]),
    ],
)
def test_what_can_not_be_meant_is_refused_where_it_is_typed(lab, text, words):
    done = lab("--constraint", text, "--target", "y=max")
    assert done.code == 2
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err


def test_names_in_targets_keep_the_same_rules(tmp_path, invdesign):
    lin([[1.0, 2.0, 0.5]]).save(tmp_path / "hard.keras")
    words = ["solve", "hard.keras", "--outputs", "a,a=b,E (°C)", "--bounds", "x1=0..1", "--json"]
    both = invdesign(*words, "--target", "a=b=1")
    assert both.code == 2
    assert "'a=b' = 1" in both.err
    assert "'a' = b=1" in both.err
    quoted = invdesign(*words, "--target", '"a=b"=1', "--target", "E (°C)<=0.25")
    assert quoted.code == 0, quoted.err
    assert quoted.json["designs"][0]["inputs"]["x1"] == pytest.approx(0.5, abs=0.05)
    assert set(quoted.json["target"]) == {"a=b", "E (°C)"}


# A feasible set too thin for luck

TEN = [f"x{i}" for i in range(1, 11)]
TO_ONE = " + ".join(TEN) + " = 1"
RISING = [[float(i)] for i in range(1, 11)]


@pytest.mark.parametrize("solver", LINEAR)
def test_ten_fractions_that_sum_to_one(ask, solver):
    for target, y in (("y=5.5", 5.5), ("y=max", 10), ("y=min", 1)):
        result = ask(lin(RISING), [target], TEN, solver=solver, constraints=[TO_ONE])
        assert result.report.status == ("met" if target == "y=5.5" else "optimised")
        x = np.array(best(result))
        assert x @ np.arange(1, 11) == pytest.approx(y, abs=0.01)
        if target != "y=5.5":
            assert x == pytest.approx(np.eye(10)[9 if target == "y=max" else 0], abs=2e-3)
        starts = result.answers.starts
        assert np.abs(starts.filter(like="guess.").sum(axis=1) - 1).max() <= 1e-9
        assert np.abs(starts.filter(like="design.").sum(axis=1) - 1).max() <= 1e-9


@pytest.mark.parametrize("solver", LINEAR)
def test_a_maximum_under_a_limit_on_a_difference(ask, solver):
    result = ask(lin([[0.0], [0], [1]]), ["y=max"], ["x1", "x2", "x3"], solver=solver, constraints=["x3 <= x1 - x2"])
    assert best(result) == pytest.approx([1, 0, 1], abs=1e-3)
    starts = result.answers.starts
    assert (starts["guess.x3"] <= starts["guess.x1"] - starts["guess.x2"] + 1e-12).all()
    assert (starts["design.x3"] <= starts["design.x1"] - starts["design.x2"]).all()


def test_a_solver_that_handles_no_constraints_is_refused_before_any_work(ask):
    with pytest.raises(PluginError) as error:
        ask(lin(RISING), ["y=max"], TEN, solver="lbfgsb", constraints=[TO_ONE])
    assert "does not handle linear constraints" in str(error.value)
    for name in ("slsqp", "least-squares", "differential-evolution"):
        assert name in str(error.value)


@pytest.mark.slow
def test_every_guess_of_a_run_satisfies_what_the_file_asks(tmp_path, invdesign):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.dirichlet(np.ones(10), 300), columns=TEN)
    frame["y"] = frame[TEN] @ np.arange(1, 11)
    frame.to_csv(tmp_path / "ten.csv", index=False)
    (tmp_path / "ten.toml").write_text(
        '[dataset]\nuse = "table"\npath = "ten.csv"\noutputs = ["y"]\n'
        f'[design]\nbounds = {{ {", ".join(f"{name} = [0, 1]" for name in TEN)} }}\nconstraints = ["{TO_ONE}"]\n'
        '[surrogate]\nuse = "selu-mlp"\nwidths = [8]\nlearning_rate = [0.01, 0.01]\n[training]\nepochs = 30\n'
        "[targets]\ny = 5.5\n"
    )
    done = invdesign("run", "ten.toml", "--out", "out", "--json")
    assert done.code == 0, done.err
    starts = pd.read_parquet(tmp_path / "out" / "solve" / "1" / "starts.parquet")
    assert np.abs(starts[[f"guess.{name}" for name in TEN]].sum(axis=1) - 1).max() <= 1e-9
    designs = as_read(tmp_path / "out" / "solve" / "1" / "designs.csv")
    assert np.abs(sums(designs, TEN) - 1).max() <= 1e-9


# At most k above zero

FOUR = ["a", "b", "c", "d"]
TWO = "at most 2 of a, b, c, d above zero"


@pytest.mark.parametrize("solver", LINEAR)
@pytest.mark.parametrize(
    ("target", "constraints", "y"),
    [
        ("max", [TWO], 9),  # b and d
        ("min", [TWO], 0),
        ("8", [TWO], 8),
        ("max", [TWO, "a + b + c + d = 1"], 5),  # all of d
        ("4.5", [TWO, "a + b + c + d = 1"], 4.5),  # half of b, half of d
        ("max", [TWO, "a + b + c + d = 1", "d <= 0.25"], 4.25),  # the rest of b
        ("min", [TWO, "a + b + c + d = 1", "a <= 0.25"], 1.75),  # the rest of c
    ],
)
def test_at_most_two_of_four(ask, solver, target, constraints, y):
    result = ask(lin([[1.0], [4], [2], [5]]), [f"y={target}"], FOUR, solver=solver, constraints=constraints)
    x = np.array(best(result))
    assert x @ [1, 4, 2, 5] == pytest.approx(y, abs=0.01)
    for table in (result.answers.designs, result.answers.starts):
        x = table[[f"design.{name}" for name in FOUR]].to_numpy()
        assert (np.count_nonzero(x, axis=1) <= 2).all(), "the others are 0 exactly"
        assert (x >= 0).all()
        if len(constraints) > 1:
            assert np.abs(x.sum(axis=1) - 1).max() <= 1e-9


def test_a_mixture_of_at_most_two_is_so_as_read_from_a_file(ask):
    wanted = pd.DataFrame({"y": ["max", "min", "1.5", "4.2", "max"], "a": [0.0, 0.0, 0.5, 0.25, 0.5]})
    table = ask(
        lin([[1.0], [4], [2], [5]]),
        wanted,
        FOUR,
        constraints=[TWO, "a + b + c + d = 1"],
        bounds={"a": (0, 1)},
        designs=2,
    )
    x = table[[f"design.{name}" for name in FOUR]].to_numpy()
    assert (np.count_nonzero(x, axis=1) <= 2).all()
    assert np.abs(sums(table, FOUR) - 1).max() <= 1e-9
    first = table.groupby("target").first()
    assert first["design.a"].tolist() == wanted["a"].tolist()
    # A quarter of a and 4.2 = 0.25 + 0.75 * y is out of reach: 5 at most, so 4 is the nearest.
    assert first["prediction.y"].to_numpy() == pytest.approx([5, 2, 1.5, 4, 3], abs=0.01)


# Separate ranges


def test_the_one_choice_of_ranges_that_a_constraint_leaves_is_found(ask):
    """4^6 choices of ranges, of which only the highest of each can sum to 18.05."""
    names = list("abcdef")
    pairs = [(k, k + 0.1) for k in range(4)]
    result = ask(
        lin([[1.0], [0], [0], [0], [0], [0]]), ["y=max"], names,
        bounds=dict.fromkeys(names, pairs), constraints=["a + b + c + d + e + f = 18.05"],
    )  # fmt: skip
    x = np.array(best(result))
    assert ((x >= 3) & (x <= 3.1)).all()
    assert x.sum() == pytest.approx(18.05, abs=1e-9)
    assert x[0] == pytest.approx(3.05, abs=1e-6)


# Tables of targets under constraints


def test_each_target_of_a_table_keeps_to_the_constraint_with_what_it_holds(ask):
    """y = a + 2 b, and a heater that leaves less the hotter it is: a + b <= 1 - T."""
    wanted = pd.DataFrame({"y": ["max", "max", "0.3", "max"], "T": [0.0, 0.25, 0.5, 1.0]})
    table = ask(
        lin([[1.0], [2], [0]]), wanted, ["a", "b", "T"], constraints=["a + b <= 1 - T"], bounds={"T": (0, 1)}, designs=1
    )
    assert table["design.T"].tolist() == wanted["T"].tolist()
    assert (table["design.a"] + table["design.b"] <= 1 - table["design.T"]).all()
    assert table["prediction.y"].to_numpy() == pytest.approx([2, 1.5, 0.3, 0], abs=1e-3)


def test_a_row_whose_values_leave_no_design_is_named_before_any_is_solved(tmp_path, invdesign):
    lin([[1.0], [2], [0]]).save(tmp_path / "it.keras")
    (tmp_path / "wanted.csv").write_text("y,T\nmax,0\nmax,0.5\nmax,1.5\n")
    done = invdesign(
        *["solve", "it.keras", "--inputs", "a,b,T", "--bounds", "a=0..1", "--bounds", "b=0..1"],
        *["--constraint", "a + b <= 1 - T", "--targets", "wanted.csv", "--out", "designs.csv"],
    )
    assert done.code == 2
    assert "targets, row 3: with its values no design inside the bounds satisfies the constraints" in done.err
    assert not (tmp_path / "designs.csv").exists()


# An extremum under a constraint and a limit


def test_the_most_under_a_constraint_and_a_limit_on_another_output(ask):
    """Most of 3 a + b with a + b <= 1 and a - b <= 0.2 as an output: a = 0.6, b = 0.4."""
    model = lin([[3.0, 1.0], [1.0, -1.0]])
    result = ask(model, ["gain=max", "drift<=0.2"], ["a", "b"], ["gain", "drift"], constraints=["a + b <= 1"])
    found = result.report.designs[0]
    assert found.prediction["drift"] <= 0.2
    assert list(found.inputs.values()) == pytest.approx([0.6, 0.4], abs=1e-3)
    assert found.inputs["a"] + found.inputs["b"] <= 1
    assert result.report.status == "optimised"


def test_the_least_of_a_mixture_with_a_set_point_beside_it(ask):
    """Cost a + 4 b + 2 c, strength b + c / 2 wanted at 0.3, fractions: only b = 0 and c = 0.6 cost least."""
    model = lin([[1.0, 0.0], [4, 1], [2, 0.5]])
    result = ask(
        model, ["cost=min", "strength=0.3"], ["a", "b", "c"], ["cost", "strength"], constraints=["a + b + c = 1"]
    )
    assert best(result) == pytest.approx([0.4, 0, 0.6], abs=0.02)
    assert sum(best(result)) == pytest.approx(1, abs=1e-9)


# Contradictions


@pytest.fixture
def blend(tmp_path):
    """A table whose columns lie between 0 and 1, and a model of it."""
    frame = pd.DataFrame(np.random.default_rng(0).random((60, 3)), columns=["a", "b", "c"])
    frame.assign(y=frame.sum(axis=1)).to_csv(tmp_path / "blend.csv", index=False)
    (tmp_path / "blend.toml").write_text(
        '[dataset]\nuse = "table"\npath = "blend.csv"\noutputs = ["y"]\n'
        "[design]\nbounds = { a = [0, 1], b = [0, 1], c = [0, 1] }\n"
        'constraints = ["a + b >= 1.5", "c <= 0.9", "b <= 0.4"]\n[targets]\ny = 1\n'
    )
    lin([[1.0], [1], [1]]).save(tmp_path / "blend.keras")


@pytest.mark.parametrize("command", ["run", "validate", "solve"])
def test_constraints_that_contradict_each_other_are_named_before_any_work(blend, tmp_path, invdesign, command):
    if command == "solve":
        texts = [word for text in ("a + b >= 1.5", "c <= 0.9", "b <= 0.4") for word in ("--constraint", text)]
        done = invdesign(
            "solve", "blend.keras", "--table", "blend.csv", "--bounds", "a=0..1", *texts, "--target", "y=1"
        )
    else:
        done = invdesign(command, "blend.toml", *(["--out", "out"] if command == "run" else []))
    assert done.code == 2
    assert "these contradict each other: 'a + b >= 1.5'; 'b <= 0.4'; bounds of 'a': 0 to 1" in done.err
    assert "'c <= 0.9'" not in done.err
    assert not done.out
    assert not (tmp_path / "out").exists()


def test_limits_on_how_many_take_part_in_contradictions(ask):
    with pytest.raises(ConfigError) as error:
        ask(lin([[1.0]] * 4), ["y=max"], FOUR, constraints=[TWO, "a + b + c + d >= 2.5", "a >= 0.1"])
    assert f"'{TWO}'" in error.value.message
    assert "'a + b + c + d >= 2.5'" in error.value.message
    assert "a >= 0.1" not in error.value.message


# Inside the box, off the data


@pytest.fixture(scope="module")
def strip():
    """1000 rows along the diagonal, y = x1, learnt from them."""
    rng = np.random.default_rng(0)
    x1 = rng.random(1000)
    frame = pd.DataFrame({"x1": x1, "x2": np.clip(x1 + rng.uniform(-0.05, 0.05, 1000), 0, 1)})
    model = InverseDesign({"use": "selu-mlp", "learning_rate": (0.01, 0.01), "widths": (16,)}, training={"epochs": 80})
    return model.fit(frame, frame["x1"].rename("y")), frame


@pytest.mark.slow
def test_answers_with_and_without_staying_near_the_data(strip):
    model, frame = strip
    free = model.set_params(stay_near_data=False, designs=10).invert(0.9).designs
    off = (free["design.x2"] - 0.9).abs() > 0.2
    assert not free["inside"][off].any()
    near = model.set_params(stay_near_data=True).invert(0.9).designs
    model.set_params(stay_near_data=False, designs=5)
    first = near.iloc[0]
    distance = np.hypot(frame["x1"] - first["design.x1"], frame["x2"] - first["design.x2"]).min()
    assert distance <= 0.03
    assert abs(first["prediction.y"] - 0.9) <= 0.02
    assert abs(first["design.x1"] - 0.9) <= 0.02, "by the truth too"
    assert near["inside"].all()


def test_staying_near_the_data_under_a_constraint_that_few_rows_satisfy(strip):
    model, _ = strip
    model.set_params(stay_near_data=True, constraints=["x2 - x1 >= 0.045"])
    near = model.invert(0.5)
    model.set_params(stay_near_data=False, constraints=())
    x = near.starts[["design.x1", "design.x2"]].to_numpy()
    assert (x[:, 1] - x[:, 0] >= 0.045).all()
    assert near.designs["inside"].all()
    assert abs(near.designs["design.x1"][0] - 0.5) <= 0.05


def test_staying_near_the_data_where_a_value_is_fixed_between_the_rows(strip):
    model, _ = strip
    model.set_params(stay_near_data=True, fixed={"x2": 0.5123456})
    near = model.invert(0.5).designs
    assert near["design.x2"].unique().tolist() == [0.5123456]
    assert near["inside"].all()
    assert near["design.x1"][0] == pytest.approx(0.5, abs=0.02)
    model.set_params(fixed=None, constraints=["x1 - x2 >= 0.5"])
    with pytest.raises(ConfigError, match="no design near a measured one satisfies the constraints"):
        model.invert(0.5)
    model.set_params(stay_near_data=False, constraints=())
