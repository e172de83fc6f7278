"""Constraints: read as the user means them, satisfied by every point, and named where they contradict each other."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from invdesign_core.errors import ConfigError
from invdesign_core.space.constraint_text import parse_constraints
from invdesign_core.space.feasible_set import FeasibleSet, column_choices
from invdesign_core.space.projection import project
from invdesign_core.space.rounding import settle
from invdesign_core.space.rules import AllowedValues, AtMost, Constraints, Linear
from invdesign_core.space.sampling import sample
from invdesign_core.space.space import Space, check_feasible, conflicts
from invdesign_core.space.variables import Variable


def box(*names: str, kind="continuous", lower=0.0, upper=1.0) -> Space:
    return Space(tuple(Variable(name, kind, lower=lower, upper=upper) for name in names))


def under(space: Space, *texts: str) -> Space:
    return replace(space, given=parse_constraints(texts, space, ["y"]))


LAB = Space(
    (
        *box("flow rate", "x-1", "x", "T (°C)", "E", "2nd pass", "lambda", "a=b").variables,
        Variable("metal", "categorical", levels=("Al", "Cu")),
        Variable("n", "integer", lower=0, upper=5),
        Variable("on", "binary", levels=(False, True)),
        Variable("valve", "binary", levels=("open", "shut")),
        Variable("drift", lower=-1, upper=1),
        Variable("held", lower=0, upper=9, fixed=4.0),
    )
)
"""Headings as laboratories write them."""


def rows(text: str, space: Space = LAB) -> list[tuple[dict[str, float], float, float]]:
    """Return the rows of a text, with names instead of columns."""
    found = parse_constraints([text], space, ["y"]).linear
    starts = {columns.start: name for name, columns in zip(space.names, space.slices, strict=True)}
    return [
        ({starts[j]: row[j] for j in np.flatnonzero(row)}, low, high)
        for row, low, high in zip(found.matrix, found.lower, found.upper, strict=True)
    ]


# Reading


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-flow rate >= -0.5", [({"flow rate": 1}, -np.inf, 0.5)]),
        ('2*flow rate + "x-1" <= 1', [({"flow rate": 2, "x-1": 1}, -np.inf, 1)]),
        ('2*flow rate + "x"-1 <= 1', [({"flow rate": 2, "x": 1}, -np.inf, 2)]),
        ("x - 1 <= 0", [({"x": 1}, -np.inf, 1)]),
        ("T (°C) + 2nd pass = lambda", [({"T (°C)": 1, "2nd pass": 1, "lambda": -1}, 0, 0)]),
        ("a=b = 1", [({"a=b": 1}, 1, 1)]),
        ("a=b <= E", [({"a=b": 1, "E": -1}, -np.inf, 0)]),
        ("1e2*E == 1E1", [({"E": 100}, 10, 10)]),
        ("3*(E + x) <= 2", [({"E": 3, "x": 3}, -np.inf, 2)]),
        ("(E - x)/4 + .5 <= 2.", [({"E": 0.25, "x": -0.25}, -np.inf, 1.5)]),
        ("-(E - -x) <= +1", [({"E": -1, "x": -1}, -np.inf, 1)]),
        ("E <= x - lambda", [({"E": 1, "x": -1, "lambda": 1}, -np.inf, 0)]),
        ("0.2 <= E + x <= 0.8", [({"E": -1, "x": -1}, -np.inf, -0.2), ({"E": 1, "x": 1}, -np.inf, 0.8)]),
        ("0.8 >= E >= x", [({"E": 1}, -np.inf, 0.8), ({"E": -1, "x": 1}, -np.inf, 0)]),
        ("|x - E| <= 0.3", [({"x": 1, "E": -1}, -np.inf, 0.3), ({"x": -1, "E": 1}, -np.inf, 0.3)]),
        ("lambda >= |x|", [({"x": 1, "lambda": -1}, -np.inf, 0), ({"x": -1, "lambda": -1}, -np.inf, 0)]),
        ("E + 2*|drift| <= 1", [({"E": 1, "drift": 2}, -np.inf, 1), ({"E": 1, "drift": -2}, -np.inf, 1)]),
        ("on + n <= held", [({"on": 1, "n": 1, "held": -1}, -np.inf, 0)]),
        ("  E≤1 ", [({"E": 1}, -np.inf, 1)]),
    ],
)
def test_a_constraint_means_what_it_says(text, expected):
    assert rows(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2*flow rate + x-1 <= 1", ["character 15", '2*"flow rate" + "x-1" <= 1', '2*"flow rate" + "x" - 1 <= 1']),
        ("x-1*E <= 1", ['"x-1"*"E"', '"x" - 1*"E"']),
        ("E/0 <= 1", ["division by zero"]),
        ("x <= y", ["character 6", "'y' is an output", "constraints are on design variables", "--target 'y<=LIMIT'"]),
        ("flow rat <= 1", ["character 1", "'flow rat'", "did you mean 'flow rate'?"]),
        ("flow <= 1", ["'flow'", "did you mean 'flow rate'?"]),
        ('"Flow rate" <= 1', ["'Flow rate'", "did you mean 'flow rate'?"]),
        ("E < 1", ["character 3", "'<'", "write <="]),
        ("1 > E", ["'>'", "write >="]),
        ("E =< 1", ["write <="]),
        ("|x - E| >= 0.3", ["character 9", "non-convex", "smaller side"]),
        ("|x - E| = 0.3", ["convex"]),
        ("0.1 <= |x - E| <= 0.3", ["convex"]),
        ("2 E <= 1", ["character 3", "'E' after '2'", "write *"]),
        ("2E <= 1", ["write 2*E"]),
        ("2(E + x) <= 1", ["after '2'", "write *"]),
        ("E + <= 1", ["character 5", "expected a name or a number"]),
        ("E + x", ["ends where <=, >= or = is expected"]),
        ("(E + x <= 1", ["expected )"]),
        ("|E <= 1", ["expected |"]),
        ("E = x = lambda", ["two constraints"]),
        ("", ["expected"]),
        ('"E <= 1', ["double quote"]),
        ("E $ 1", ["character 3", "'$'"]),
        ("1 <= 2", ["no design variable"]),
        ("E - E <= 1", ["cancel"]),
        ("E <= 1e999", ["too large"]),
        ("0.8 <= E <= 0.2", ["never holds"]),
        ("|x - E| <= -0.1", ["never holds"]),
        ("metal <= 1", ["'metal' is categorical"]),
        ("valve + E <= 1", ["'open' and 'shut'"]),
        ("at most 1 of drift, E above zero", ["'drift' may be below zero", "-1 to 1"]),
        ("at most 1 of held, E above zero", ["'held' is always above zero"]),
        ("at most 1 of E, E above zero", ["twice"]),
        ("at most 1.5 of E, x above zero", ["'1.5'", "whole number"]),
        ("at most 1 of E x above zero", ["comma"]),
        ("at most 1 of E, x", ["above zero"]),
    ],
)
def test_what_can_not_be_meant_is_refused_with_the_place(text, words):
    with pytest.raises(ConfigError) as error:
        parse_constraints([text], LAB, ["y"], place="[design] constraints")
    message = str(error.value)
    assert message.startswith("[design] constraints: character ")
    assert repr(text) in message
    for word in words:
        assert word in message


def test_a_variable_with_a_logarithmic_scale_is_kept_as_what_is_not_linear():
    space = Space((Variable("a", lower=1, upper=2, scale="log"), Variable("b", lower=0, upper=1)))
    found = parse_constraints(["a + b <= 1.5"], space, [])
    assert not len(found.linear)
    assert found.within_limits(np.array([[1.0, 0.5], [1.0, 0.6]])).tolist() == [True, False]


@pytest.mark.parametrize("end", ["above zero", "are above zero", "nonzero", "are non-zero"])
def test_how_many_may_be_above_zero(end):
    text = f"at most 2 of flow rate, n, x and E {end}"
    found = parse_constraints([text], LAB, [])
    columns = tuple(LAB.slices[LAB.names.index(name)].start for name in ("flow rate", "n", "x", "E"))
    assert found.at_most == (AtMost(2, columns, text),)
    assert not len(found.linear)


def test_rows_name_the_text_they_are_from_and_skip_the_columns_of_categories():
    found = parse_constraints(["|x - E| <= 0.3", "at most 1 of x, E above zero", "n <= 3"], LAB, [])
    assert found.origin == (0, 0, 2)
    assert found.linear.matrix.shape == (3, LAB.width)
    assert found.linear.matrix[2, LAB.slices[LAB.names.index("n")]] == 1
    assert not found.linear.matrix[:, LAB.slices[LAB.names.index("metal")]].any()


def test_a_column_called_as_a_number_needs_its_quotes():
    space = box("2", "a")
    assert rows("2*a <= 1", space) == [({"a": 2}, -np.inf, 1)]
    assert rows('"2" + a <= 1', space) == [({"2": 1, "a": 1}, -np.inf, 1)]


def test_a_column_called_as_a_sign_is_told_from_the_sign():
    space = box("-", "a")
    assert rows('"-" + a <= 1', space) == [({"-": 1, "a": 1}, -np.inf, 1)]
    with pytest.raises(ConfigError, match=r"in two ways, as \"-\" - \"a\" <= 1 and as --\"a\" <= 1"):
        parse_constraints(["- - a <= 1"], space, [])


def test_names_inside_names_in_a_long_sum_cost_no_time():
    names = [name for i in range(40) for name in (f"a{i}", f"b{i}", f"a{i}=b{i}", f"a{i} b{i}")]
    space = box(*names)
    for inner in ("=", " "):
        [(coefficients, _, _)] = rows(" + ".join(f"a{i}{inner}b{i}" for i in range(40)) + " <= 1", space)
        assert list(coefficients) == [f"a{i}{inner}b{i}" for i in range(40)]


def test_a_text_that_hides_thousands_of_readings_is_refused_at_once():
    space = box("a", "b", "a-b", "a-b-a")
    with pytest.raises(ConfigError, match="in two ways"):
        parse_constraints(["-".join("ab" * 200) + " <= 1"], space, [])


names = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters='"'), min_size=1),
    min_size=1,
    max_size=6,
    unique=True,
)
numbers = st.floats(-1e6, 1e6, allow_nan=False).filter(lambda value: value == 0 or abs(value) > 1e-6)


@given(names, st.data())
def test_any_name_in_quotes_is_taken_whole(names, data):
    factors = data.draw(st.lists(numbers.filter(bool), min_size=len(names), max_size=len(names)))
    side = data.draw(numbers)
    space = box(*names)
    text = " + ".join(f'{factor!r} * "{name}"' for factor, name in zip(factors, names, strict=True))
    found = parse_constraints([f"{text} <= {side!r}"], space, []).linear
    assert found.matrix[0].tolist() == factors
    assert found.upper[0] == side


@given(st.text(st.sampled_from('abx-1 =<>+*/()|2.",e^'), max_size=25))
def test_no_text_makes_the_reader_fail_without_a_message(text):
    space = box("a", "b", "x-1", "x", "a=b", "a b")
    with suppress(ConfigError):
        assert parse_constraints([text], space, ["e"]).linear.matrix.any(axis=1).all()


# Points


@st.composite
def polytopes(draw):
    """Boxes with rows that a known point inside satisfies."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    e, k = draw(st.integers(1, 8)), draw(st.integers(0, 4))
    width = draw(st.sampled_from([1.0, 1e-3, 1e3]))
    lower = rng.normal(size=e) * width
    upper = lower + width * rng.random(e) * (rng.random(e) < 0.85)
    matrix = rng.integers(-2, 3, (k, e)) * 1.0
    corner = np.where(rng.random(e) < 0.5, lower, upper) if draw(st.booleans()) else lower + 0.5 * (upper - lower)
    value = matrix @ corner
    room = width * rng.random((2, k)) * (rng.random((2, k)) < 0.6)
    low, high = value - room[0], value + room[1]
    open_ = rng.random(k) < 0.4
    equal = rng.random(k) < 0.25
    low = np.where(equal, value, np.where(open_, -np.inf, low))
    high = np.where(equal, value, high)
    return Linear(matrix, low, high), lower, upper, width, rng


@settings(deadline=None)
@given(polytopes())
def test_every_start_satisfies_the_constraints(case):
    linear, lower, upper, width, rng = case
    points = sample(linear, lower, upper, 20, rng)
    assert (points >= lower).all()
    assert (points <= upper).all()
    assert linear.violation(points).max(initial=0) <= 2e-8 * width


@settings(deadline=None)
@given(polytopes())
def test_the_nearest_point_is_allowed_and_no_other_is_nearer(case):
    linear, lower, upper, width, rng = case
    points = lower + width * rng.normal(size=(15, len(lower))) * 2
    found = project(linear, lower, upper, points)
    assert (found >= lower).all()
    assert (found <= upper).all()
    size = width + np.abs(points).max()
    assert linear.violation(found).max(initial=0) <= 1e-11 * size
    others = sample(linear, lower, upper, 30, rng)
    # The angle between the way to the nearest point and the way on to any other is never acute.
    onward = ((points - found)[:, None] * (others[None] - found[:, None])).sum(axis=2)
    assert onward.max() <= 1e-7 * size**2


def test_ten_fractions_that_sum_to_one():
    fractions = Linear(np.ones((1, 10)), np.ones(1), np.ones(1))
    points = sample(fractions, np.zeros(10), np.ones(10), 5000, np.random.default_rng(0))
    assert np.abs(points.sum(axis=1) - 1).max() < 1e-12
    assert points.min() >= 0
    # Uniform on the simplex: each fraction has the Beta(1, 9) distribution.
    assert np.allclose(points.mean(axis=0), 0.1, atol=0.01)
    assert np.allclose(points.var(axis=0), 0.9 * 0.1 / 11, rtol=0.15)
    again = sample(fractions, np.zeros(10), np.ones(10), 5000, np.random.default_rng(0))
    assert (points == again).all()


def test_inequalities_that_leave_one_value_are_found_out():
    pinned = Linear(np.array([[1.0, 1, 0], [0, 1, 1]]), np.array([2, -np.inf]), np.array([np.inf, 1.5]))
    points = sample(pinned, np.zeros(3), np.ones(3), 200, np.random.default_rng(0))
    assert np.allclose(points[:, :2], 1, atol=1e-12)
    assert points[:, 2].min() < 0.05
    assert points[:, 2].max() > 0.45
    assert points[:, 2].max() <= 0.5 + 1e-12


def test_fifty_columns_and_thousands_of_points():
    rng = np.random.default_rng(0)
    matrix = np.vstack([np.ones(50), rng.normal(size=(4, 50))])
    middle = matrix @ np.full(50, 0.5)
    linear = Linear(matrix, np.append(middle[0], middle[1:] - 0.1), np.append(middle[0], middle[1:] + 0.1))
    points = sample(linear, np.zeros(50), np.ones(50), 2_000, rng)
    assert linear.violation(points).max() < 1e-12
    moved = project(linear, np.zeros(50), np.ones(50), points + rng.normal(size=points.shape))
    assert linear.violation(moved).max() < 1e-12
    assert moved.min() >= 0
    assert moved.max() <= 1


def test_a_point_that_is_allowed_stays_to_the_last_bit():
    linear = Linear(np.ones((1, 3)), np.array([-np.inf]), np.ones(1))
    points = np.random.default_rng(0).random((100, 3)) / 3
    assert (project(linear, np.zeros(3), np.ones(3), points) == points).all()


def test_where_there_is_no_point_there_is_no_number():
    linear = Linear(np.ones((1, 2)), np.array([3.0]), np.array([np.inf]))
    lower, upper = np.zeros((2, 2)), np.array([[1.0, 1], [2, 2]])
    found = project(linear, lower, upper, np.zeros((2, 2)))
    assert np.isnan(found[0]).all()
    assert np.allclose(found[1], 1.5)
    drawn = [sample(linear, *box, 5, np.random.default_rng(0)) for box in zip(lower, upper, strict=True)]
    assert np.isnan(drawn[0]).all()
    assert (drawn[1].sum(axis=1) >= 3 - 1e-12).all()


def test_a_column_that_is_held_stays_in_the_sample():
    linear = Linear(np.ones((1, 3)), np.ones(1), np.ones(1))
    points = sample(linear, np.array([0.2, 0, 0]), np.array([0.2, 1, 1]), 50, np.random.default_rng(0))
    assert (points[:, 0] == 0.2).all()
    assert np.abs(points.sum(axis=1) - 1).max() < 1e-12


# Designs that exist


def mixed(seed):
    rng = np.random.default_rng(seed)
    step = np.array([1.0, 0.5, 0.1])
    anchor = np.array([0.0, 0.25, 0.0])
    levels = np.array([0.0, 0.7, 1.9])
    matrix = rng.integers(-2, 3, (2, 4)) * 1.0
    inner = np.array(
        [rng.integers(0, 3), 0.25 + 0.5 * rng.integers(0, 3), 0.1 * rng.integers(0, 11), rng.choice(levels)]
    )
    value = matrix @ inner
    low = np.where(rng.random(2) < 0.3, value, -np.inf)
    return matrix, low, value + 1e-9, step, anchor, levels, rng


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
@example(772)  # in these four, HiGHS' presolve ends with an error
@example(846)
@example(1092)
@example(1625)
def test_a_repaired_design_exists_and_is_the_nearest_that_does(seed):
    matrix, low, high, step, anchor, levels, rng = mixed(seed)
    linear = Linear(matrix, low, high)
    lattice = AllowedValues(np.append(anchor, 0), np.append(step, 0), {3: levels})
    lower, upper = np.array([0, 0.25, 0, 0]), np.array([2, 1.25, 1, 1.9])
    values = [np.arange(3.0), 0.25 + 0.5 * np.arange(3), 0.1 * np.arange(11), levels]
    every = np.array(list(product(*values)))
    every = every[(linear.violation(every) <= 1e-7).all(axis=1)]
    points = lower + (upper - lower) * rng.random((3, 4))
    found = FeasibleSet(lower, upper, lattice, linear).nearest(points)
    assert (linear.violation(found) <= 1e-7).all()
    assert all(np.isclose(value[:, None], values[j]).any(axis=1).all() for j, value in enumerate(found.T))

    def far(designs):
        return (np.abs(designs - points) / (upper - lower)).sum(axis=-1)

    assert np.allclose(far(found), far(every[:, None]).min(axis=0), atol=1e-6)


def test_whole_numbers_and_fractions_repaired_together():
    space = Space((Variable("n", "integer", lower=0, upper=4), *box("a", "b").variables))
    space = under(space, "n + a + b = 2.5", "at most 1 of a, b above zero")
    found = space.feasible_set.nearest(np.array([[1.4, 0.4, 0.3], [4, 1, 1.0]]))
    assert np.allclose(found[0], [2, 0.5, 0], atol=1e-12)
    assert found[1, 0] == 2
    assert sorted(found[1, 1:]) == pytest.approx([0, 0.5])
    assert space.feasible_set.holds(found).all()


STEPPED = Space(
    (
        Variable("s", lower=0, upper=1, step=0.1),
        Variable("r", ranges=((0.0, 0.2), (0.6, 1.0))),
        Variable("p", "levels", levels=(1, 2.18, 4)),
    )
)


def test_steps_ranges_and_levels_are_kept_in_a_repair():
    space = under(STEPPED, "s + r <= 0.75", "r + p >= 2.7")
    points = np.array([[0.52, 0.45, 1.2], [0.1, 0.1, 4], [0.3, 0.3, 2.3]])
    found = space.feasible_set.nearest(points)
    assert space.feasible_set.holds(found).all()
    assert np.allclose(space.snap(found), found, atol=1e-12)
    assert found[1] == pytest.approx([0.1, 0.1, 4])
    # r must leave the gap upwards, s give way, and p step up; or r go down, and p step up further.
    assert found[2] == pytest.approx([0.1, 0.6, 2.18])


def test_a_range_is_not_left_for_the_sake_of_rounding():
    space = under(STEPPED, "s + r <= 0.7")
    found = settle(space, np.array([[0.1, 0.6 + 1e-14, 1], [0.5, 0.2, 1], [0.1, 0.6, 4]]))
    assert (space.snap(found) == found).all()
    assert all(s + r <= 0.7 for s, r, _ in found.tolist())


def test_a_repair_that_is_impossible_says_so():
    linear = Linear(np.array([[2.0, 2.0]]), np.ones(1), np.ones(1))
    lattice = AllowedValues(np.zeros(2), np.ones(2))
    assert np.isnan(FeasibleSet(np.zeros(2), np.full(2, 3.0), lattice, linear).nearest(np.ones((1, 2)))).all()


# As written


def read_back(space: Space, x: np.ndarray) -> pd.DataFrame:
    file = io.StringIO(space.decode(x).to_csv(index=False))
    return pd.read_csv(file)


def vertices(space: Space, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return what a linear program, or a mean of its answers, calls feasible."""
    linear = space.constraints.linear
    equal = linear.equations
    lower, upper = space.bounds
    found = [
        linprog(
            rng.normal(size=space.width) - 0.5,
            A_ub=linear.matrix[~equal],
            b_ub=linear.upper[~equal],
            A_eq=linear.matrix[equal] if equal.any() else None,
            b_eq=linear.upper[equal] if equal.any() else None,
            bounds=np.column_stack([lower, upper]),
        ).x
        for _ in range(count)
    ]
    return np.einsum(
        "nk,nke->ne", rng.dirichlet([0.3, 0.3, 0.3], count), np.array(found)[rng.integers(0, count, (count, 3))]
    )


CASES = {
    "a + b + c + d + e + f <= 1": lambda t: t.a + t.b + t.c + t.d + t.e + t.f <= 1,
    "2*a - b/3 + c <= 0.7": lambda t: 2 * t.a - t.b / 3 + t.c <= 0.7,
    "c <= a - b": lambda t: t.c <= t.a - t.b,
    "3*(d + e) >= 0.1": lambda t: 3 * (t.d + t.e) >= 0.1,
    "0.2 <= a + d + f <= 0.8": lambda t: (t.a + t.d + t.f >= 0.2) & (t.a + t.d + t.f <= 0.8),
    "|a - e| <= 0.3": lambda t: (t.a - t.e).abs() <= 0.3,
    "b + e + f = 1/3": lambda t: (t.b + t.e + t.f - 1 / 3).abs() <= 1e-9,
    "a + c = 0.4": lambda t: (t.a + t.c - 0.4).abs() <= 1e-9,
}


@pytest.mark.parametrize("texts", [list(CASES)[:1], list(CASES)[:3], list(CASES)[2:6], list(CASES)])
@pytest.mark.parametrize("noise", [0, 1e-15, 1e-10])
def test_the_written_numbers_satisfy_what_was_asked_exactly(texts, noise):
    rng = np.random.default_rng(1)
    space = under(box(*"abcdef"), *texts)
    x = vertices(space, 200, rng)
    x = np.clip(x + noise * rng.normal(size=x.shape), 0, 1)
    table = read_back(space, settle(space, x))
    for text in texts:
        assert CASES[text](table).all(), text
    assert ((table >= 0) & (table <= 1)).all(axis=None)
    assert np.abs(table.to_numpy() - x).max() < 1e-8


def test_maximising_weighted_sums_ends_on_the_facet_and_not_beyond():
    rng = np.random.default_rng(0)
    space = under(box(*"abcdef"), "a + b + c + d + e + f <= 1")
    x = rng.dirichlet(np.ones(6), 200)
    total = read_back(space, settle(space, x))
    beyond = sum(1 for row in x.tolist() if sum(row) > 1)
    assert beyond > 20, "the points must put the function to the test"
    assert all(sum(row) <= 1.0 for row in total.to_numpy().tolist())
    assert (total.sum(axis=1) <= 1).all()


def test_round_numbers_are_left_alone():
    space = under(box("x1", "x2", "x3"), "x3 <= x1 - x2", "x1 + x2 + x3 <= 2")
    x = np.array([[1.0, 0, 1], [0.5, 0.25, 0.25], [0, 0, 0]])
    assert (settle(space, x) == x).all()


@settings(deadline=None, max_examples=50)
@given(polytopes(), st.sampled_from([0, 1e-12]))
def test_settled_designs_read_from_a_file_are_exact(case, noise):
    linear, lower, upper, width, rng = case
    bounded = linear.lower == linear.upper
    # Rows with two sides that nearly coincide can't be loosened.
    assume(not (np.isfinite(linear.lower) & ~bounded & (linear.upper - linear.lower < 1e-6 * width)).any())
    space = Space(tuple(Variable(f"v{j}", lower=lower[j], upper=upper[j]) for j in range(len(lower))))
    texts = []
    for row, low, high in zip(linear.matrix, linear.lower, linear.upper, strict=True):
        side = " + ".join(f"({value!r})*v{j}".replace("(", "").replace(")", "") for j, value in enumerate(row.tolist()))
        side = side.replace("+ -", "- ")
        if row.any() and low == high:
            texts.append(f"{side} = {float(high)!r}")
        elif row.any():
            texts += [f"{side} <= {float(high)!r}"] + [f"{side} >= {float(low)!r}"] * bool(np.isfinite(low))
    space = under(space, *texts)
    points = project(linear, lower, upper, lower + width * rng.normal(size=(30, len(lower))))
    moved = np.clip(points + noise * width * rng.normal(size=points.shape), lower, upper)
    found = settle(space, moved)
    table = read_back(space, found).to_numpy()
    assert (table == found).all()
    assert (table >= lower).all()
    assert (table <= upper).all()
    rules = space.constraints.linear
    loose = sample(rules, lower, upper, 20, rng)
    # Inequalities that amount to equations are another matter: they leave no room for rounding.
    totals = loose @ rules.matrix.T
    assume(((totals < rules.upper - 1e-6 * width).any(axis=0) | rules.equations).all())
    assume((np.ptp(loose, axis=0) > 1e-6 * width)[lower < upper].all())
    for row, low, high in zip(rules.matrix, rules.lower, rules.upper, strict=True):
        # Python's own sum, from left to right.
        totals = [sum(a * b for a, b in zip(row.tolist(), design, strict=True)) for design in table.tolist()]
        if low == high:
            assert np.abs(np.array(totals) - high).max() <= 1e-9 * (width + np.abs(high) + np.abs(lower).max())
        else:
            assert max(totals) <= high


def test_columns_that_a_limit_wants_at_zero_are_written_as_zero():
    space = under(box("a", "b", "c"), "at most 1 of a, b, c above zero", "a + b + c <= 1")
    found = settle(space, np.array([[1.0, 1e-13, 0.0], [0.25, 0, 0]]))
    assert found.tolist() == [[1, 0, 0], [0.25, 0, 0]]
    assert space.feasible_set.holds(found).all()


def test_discrete_columns_do_not_move():
    space = Space((Variable("n", "integer", lower=0, upper=3), *box("a", "b").variables))
    space = under(space, "0.1*n + a + b <= 0.7")
    found = settle(space, np.array([[1, 0.3, 0.3 + 1e-12], [2, 0.1, 0.4 + 1e-12]]))
    assert found[:, 0].tolist() == [1, 2]
    assert all(0.1 * n + a + b <= 0.7 for n, a, b in found.tolist())


def test_what_feasible_means():
    space = under(box("a", "b", "c"), "a + b <= 1", "a - c = 0", "at most 2 of a, b, c above zero")
    x = np.array([[0.5, 0, 0.5], [0.5, 0.1, 0.5], [0, 1.1, 0], [0.5, 0, 0.4], [0, 1 + 1e-12, 0], [np.nan, 0, 0]])
    assert space.feasible_set.holds(x).tolist() == [True, False, False, False, True, False]


# Contradictions


def test_the_texts_and_bounds_that_contradict_each_other_are_named():
    space = under(box("a", "b", "c"), "a + b >= 3", "a + c <= 1.5", "b - c <= 0.5")
    assert conflicts(space) == ("'a + b >= 3'", "'a + c <= 1.5'", "'b - c <= 0.5'")
    with pytest.raises(ConfigError) as error:
        check_feasible(space, "[design]")
    assert str(error.value).startswith("[design]: these contradict each other: 'a + b >= 3'; 'a + c <= 1.5'; ")
    assert "Hint" in str(error.value)


def test_where_a_design_exists_nothing_is_named():
    space = under(box("a", "b"), "a + b = 1")
    assert conflicts(space) is None
    check_feasible(space)


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (
            under(box("a", "b", lower=-np.inf, upper=np.inf), "a - b >= 1", "b - a >= 0"),
            {"'a - b >= 1'", "'b - a >= 0'"},
        ),
        (
            under(box("n", "m", kind="integer", upper=3), "2*n + 2*m = 3"),
            {"'2*n + 2*m = 3'", "bounds of 'n': 0 to 3 (whole numbers)", "bounds of 'm': 0 to 3 (whole numbers)"},
        ),
        (
            under(box("a", "b", "c", upper=0.4), "a + b + c = 1", "at most 2 of a, b, c above zero"),
            {
                "'a + b + c = 1'",
                "'at most 2 of a, b, c above zero'",
                *(f"bounds of '{name}': 0 to 0.4" for name in "abc"),
            },
        ),
        (
            under(Space((Variable("p", "levels", levels=(1, 2.18, 4)),)), "p >= 2.5", "p <= 3.5"),
            {"'p >= 2.5'", "'p <= 3.5'", "values of 'p': 1, 2.18, 4"},
        ),
        (
            under(Space((Variable("a", lower=0, upper=1, fixed=0.7), Variable("b", lower=0, upper=1))), "a + b <= 0.5"),
            {"'a + b <= 0.5'", "fixed value of 'a': 0.7", "bounds of 'b': 0 to 1"},
        ),
        (
            under(STEPPED, "s = 0.25"),
            {"'s = 0.25'", "bounds of 's': 0 to 1 by 0.1"},
        ),
        (
            under(STEPPED, "r >= 0.3", "r + s = 0.5"),
            {"'r >= 0.3'", "'r + s = 0.5'", "bounds of 'r': 0 to 0.2 or 0.6 to 1", "bounds of 's': 0 to 1 by 0.1"},
        ),
        (box("n", kind="integer", lower=0.2, upper=0.8), {"bounds of 'n': 0.2 to 0.8 (whole numbers)"}),
    ],
)
def test_kinds_and_missing_bounds_take_part(space, expected):
    found = conflicts(space)
    assert found is not None
    assert set(found) == expected


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_without_any_one_of_the_culprits_a_design_exists(seed):
    rng = np.random.default_rng(seed)
    kinds = rng.choice(["continuous", "integer"], 4)
    plain = Space(tuple(Variable(name, kind, lower=0, upper=2) for name, kind in zip("abcd", kinds, strict=True)))
    texts = []
    for _ in range(4):
        factors = rng.integers(-2, 3, 4)
        factors[rng.integers(4)] = 1
        side = " + ".join(f"{factor}*{name}" for factor, name in zip(factors, "abcd", strict=True)).replace("+ -", "- ")
        texts.append(f"{side} {rng.choice(['<=', '>=', '='])} {rng.integers(-3, 8)}")
    space = under(plain, *texts)
    found = conflicts(space)
    if found is None:
        return
    named = [text for text in texts if repr(text) in found]
    held = [name for name in "abcd" if any(f"of '{name}'" in item for item in found)]
    assert len(set(named)) + len(held) == len(found)

    def exists(texts, held):
        variables = tuple(
            v if v.name in held else replace(v, kind="continuous", lower=-np.inf, upper=np.inf) for v in plain.variables
        )
        return conflicts(under(Space(variables), *texts)) is None

    assert not exists(named, held), "together they leave nothing"
    assert all(exists([text for text in named if text != gone], held) for gone in named)
    assert all(exists(named, [name for name in held if name != gone]) for gone in held)


# Which may be above zero


def test_few_choices_are_each_taken_before_any_is_repeated():
    space = under(box(*"abcd", "free"), "at most 2 of a, b, c, d above zero")
    masks = column_choices(space.feasible_set, 12, np.random.default_rng(0))
    assert masks[:, 4].all()
    first = {tuple(np.flatnonzero(mask[:4])) for mask in masks[:6]}
    assert first == set(combinations(range(4), 2))
    assert {tuple(np.flatnonzero(mask[:4])) for mask in masks[6:]} == first


def test_choices_that_leave_no_design_are_not_made():
    space = under(box(*"abcd", upper=0.5), "at most 2 of a, b, c, d above zero", "a + b + c + d = 1", "a + d <= 0.9")
    masks = column_choices(space.feasible_set, 30, np.random.default_rng(0))
    assert {tuple(np.flatnonzero(mask)) for mask in masks} == set(combinations(range(4), 2)) - {(0, 3)}


def test_many_choices_are_drawn_and_mended():
    space = box(*(f"v{i}" for i in range(30)))
    names = ", ".join(space.names)
    space = under(
        space, f"at most 3 of {names} above zero", "v0 + v1 >= 1.5", f"at most 1 of {names[3 * 4 :]} above zero"
    )
    masks = column_choices(space.feasible_set, 20, np.random.default_rng(0))
    assert (masks.sum(axis=1) <= 3).all()
    assert masks[:, :2].all(), "both are needed"
    lower, upper = space.bounds
    for mask in masks:
        point = project(space.constraints.linear, lower, np.where(mask, upper, 0), np.zeros((1, 30)))
        assert space.feasible_set.holds(point).all()


def test_limits_that_share_columns():
    limits = (AtMost(1, (0, 1, 2)), AtMost(2, (1, 2, 3)))
    space = replace(box(*"abcd"), given=Constraints(Linear.none(4), limits))
    masks = column_choices(space.feasible_set, 50, np.random.default_rng(0))
    assert {tuple(np.flatnonzero(mask)) for mask in masks} == {(0, 3), (1, 3), (2, 3)}
