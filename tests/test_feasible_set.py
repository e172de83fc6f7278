"""What is allowed, in one place: how far off a point is, the nearest that is allowed, draws, and contradictions."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from conftest import lin

from invdesign_core.context import Context
from invdesign_core.plugin import FeasibleRows, Problem
from invdesign_core.registry import Registry
from invdesign_core.search.loss_functions import LossFunctions
from invdesign_core.search.problem import Bounded
from invdesign_core.space.constraint_text import parse_constraints
from invdesign_core.space.feasible_set import TOLERANCE, FeasibleSet
from invdesign_core.space.rules import AllowedValues, AtMost, Linear
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Targets, parse_targets

MIXED = Space(
    (
        Variable("n", "integer", lower=0, upper=4),
        Variable("a", lower=0, upper=2),
        Variable("b", "levels", levels=(0, 0.5, 1.5)),
        Variable("c", lower=0, upper=1000),
    )
)
TEXTS = ["n + a + b = 3", "a + 0.001*c <= 1.5", "at most 2 of n, a, b above zero"]


def under(space: Space, *texts: str) -> Space:
    return replace(space, given=parse_constraints(texts, space, ["y"]))


def problem(space: Space, low: np.ndarray, high: np.ndarray) -> Problem:
    """State the problem of a network with one output, inside encoded bounds of each row."""
    net = lin(np.ones((space.width, 1)), np.zeros(1))
    surrogate = Surrogate.of_model(net, Space(space.variables), ("y",))
    targets = Targets.build([parse_targets({"y": 1.0}, ("y",))], ("y",), surrogate.spread)
    forward = LossFunctions(surrogate, Registry.discover().create("objective", "mse", {}), space)
    groups = np.zeros(len(low), dtype=int)
    goal = targets.goal(surrogate.shift, surrogate.scale).take(groups)
    rows = Bounded(groups, forward.to_u(low), forward.to_u(high))
    return Problem(forward, goal, rows, space.discrete, Context(), space.feasible_set)


def test_violation_is_what_a_point_lacks_in_bounds_rows_and_limits():
    allowed = under(MIXED, *TEXTS).feasible_set
    x = np.array([[2, 1, 0, 0], [2, 1, 0, 900], [2, 0.5, 0.5, 0], [0, 2.5, 0.5, 0], [np.nan, 1, 1, 1]], dtype=float)
    assert allowed.violation(x)[:4] == pytest.approx([0, 0.4, 1, 1.5])
    assert np.isnan(allowed.violation(x)[4])
    assert allowed.holds(x).tolist() == [True, False, False, False, False]


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_the_tolerance_is_a_share_of_the_largest_term_whatever_the_unit(unit):
    allowed = FeasibleSet(
        np.zeros(2), np.full(2, unit), AllowedValues.all(2), Linear(np.ones((1, 2)), np.full(1, unit), np.full(1, unit))
    )
    off = unit * (1 + np.array([0.5, -0.5, 2, -2]) * TOLERANCE)
    assert allowed.holds(np.stack([off / 4, off * 3 / 4], axis=1)).tolist() == [True, True, False, False]


def test_no_point_of_a_box_lacks_less_than_its_violation():
    rng = np.random.default_rng(0)
    allowed = replace(under(MIXED, *TEXTS).feasible_set, at_most=())
    low = rng.uniform(0, 1, (50, 4)) * [4, 2, 1, 1000]
    high = low + rng.uniform(0, 0.3, (50, 4)) * [4, 2, 1, 1000]
    inside = low[:, None] + rng.random((50, 100, 4)) * (high - low)[:, None]
    least = allowed.violation(inside.reshape(-1, 4)).reshape(50, 100).min(axis=1)
    assert (allowed.violation(low, high) <= least + 1e-9).all()


def test_a_box_is_possible_where_a_design_exists_in_it():
    rng = np.random.default_rng(1)
    space = under(MIXED, *TEXTS)
    grid = np.array(list(product(range(5), np.linspace(0, 2, 21), [0, 0.5, 1.5], [0.0])))
    designs = grid[space.feasible_set.holds(grid)]
    low = np.stack([rng.integers(0, 4, 60), rng.integers(0, 15, 60) / 10, np.zeros(60), np.zeros(60)], axis=1)
    high = low + np.stack([rng.integers(0, 3, 60), rng.integers(0, 6, 60) / 10, np.full(60, 0.6), np.ones(60)], axis=1)
    some = ((designs >= low[:, None] - 1e-9) & (designs <= high[:, None] + 1e-9)).all(axis=2).any(axis=1)
    boxes = space.feasible_set.within(low, high)
    assert (boxes.possible() == some).all()
    assert 5 < some.sum() < 55, "the boxes must put the function to the test"
    assert (boxes.possible(relaxed=True) >= some).all()


def test_bounds_of_each_row_are_kept_whichever_rows_are_asked_for():
    low, high = np.array([[0.0, 0], [0.5, 0]]), np.array([[0.2, 1], [1.0, 1]])
    allowed = FeasibleSet(low, high, AllowedValues.all(2), Linear(np.ones((1, 2)), np.ones(1), np.ones(1)))
    x = np.full((2, 2), 0.3)
    assert allowed.take(np.array([1, 0])).project(x) == pytest.approx(allowed.project(x)[[1, 0]])


def test_conflicts_are_named_by_column_row_and_limit():
    row = Linear(np.ones((1, 3)), np.array([2.5]), np.array([np.inf]))
    allowed = FeasibleSet(np.zeros(3), np.ones(3), AllowedValues.all(3), row, (AtMost(2, (0, 1, 2)),))
    assert allowed.conflicts() == ((0, 1, 2), (0,), (0,))
    assert replace(allowed, at_most=()).conflicts() is None


LOGARITHMIC = Space((*MIXED.variables, Variable("d", "integer", lower=1, upper=1000, scale="log")))


@pytest.mark.parametrize("space", [under(MIXED, *TEXTS), under(LOGARITHMIC, *TEXTS)])
def test_a_solver_is_handed_the_same_means_in_its_own_coordinates(space):
    rng = np.random.default_rng(2)
    low, high = (np.tile(side, (6, 1)) for side in space.bounds)
    high[3:, 1] = 0.8
    rows = problem(space, low, high).feasible
    assert isinstance(rows, FeasibleRows)
    u = rng.random((6, space.width))
    projected, nearest = rows.project(u), rows.nearest(u)
    to_x = rows._forward.to_x
    assert (rows.violation(nearest) == 0).all()
    assert np.allclose(space.snap(to_x(nearest)), to_x(nearest), rtol=1e-9), "its values exist"
    assert (to_x(nearest)[3:, 1] <= 0.8).all()
    linear = replace(space.feasible_set, at_most=()).within(low, high)
    assert linear.holds(to_x(projected)).all()
    assert rows.project(projected) == pytest.approx(projected)
    drawn = rows.sample(20, rng, row=5)
    assert linear.take(np.full(20, 5)).holds(to_x(drawn)).all()
    some = np.array([4, 1])
    assert rows.nearest(u[some], some) == pytest.approx(nearest[some])
