"""An equation of a table is as exact as its rows are: whole numbers and design levels are not taken to be rounded."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from invdesign_core.data.data import Data, TrainingRows
from invdesign_core.data.distance import DataDistance
from invdesign_core.data.equations import equations_among
from invdesign_core.data.quality import data_warnings


def table(**columns):
    rows = len(next(iter(columns.values())))
    return Data.from_frame(pd.DataFrame(columns).assign(y=np.random.default_rng(9).random(rows)), ["y"])


def lattice(steps):
    points = np.array([p for p in itertools.product(range(steps + 1), repeat=3) if sum(p) == steps])
    return dict(zip("abc", points.T / steps, strict=True))


def totals():
    a, b = np.random.default_rng(1).integers(0, 10, (2, 80))
    return {"a": a, "b": b, "total": a + b}


def setpoints():
    level = np.tile([100, 200, 300, 400, 500, 600], 5)
    return {"temperature": level, "pressure": level // 10, "other": np.random.default_rng(2).random(30)}


def distance_of(data):
    return DataDistance.of(TrainingRows(data.x, data.y), data.space)


@pytest.mark.parametrize("columns", [lattice(2), lattice(3), lattice(4), totals(), setpoints()])
def test_what_breaks_an_equation_that_rows_satisfy_exactly_is_not_inside(columns):
    data = table(**columns)
    (equation,) = equations_among(data.x, data.space)
    for share in (0.001, 0.02, 0.3):
        moved = data.x[1:2].copy()
        at = data.space.names.index(equation.names[-1])
        moved[0, at] += share * np.ptp(data.x[:, at])
        assert distance_of(data).breaks(moved).tolist() == [True], (equation, share)
    assert not distance_of(data).breaks(data.x).any()


@pytest.mark.parametrize("value", [300, 300.0, 1e-12, -40.0, 1e15, 0.0, 7])
def test_another_value_of_a_constant_input_is_not_inside(value):
    data = table(x=np.linspace(0, 1, 20), t=np.full(20, value))
    designs = np.array([[0.5, value], [0.5, value + 1e-3 * (abs(value) or 1.0)]])
    assert distance_of(data).breaks(designs).tolist() == [False, True]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("decimals", [6, None])
def test_a_trace_component_belongs_to_the_sum(last, decimals):
    rng = np.random.default_rng(1)
    shares, trace = 0.9 * rng.dirichlet([2, 2, 2], 80), rng.uniform(0, 1e-4, 80)
    if decimals:
        shares, trace = shares.round(decimals), trace.round(decimals)
    parts = {"a": shares[:, 0], "b": shares[:, 1], "c": 1 - shares[:, 0] - shares[:, 1] - trace}
    data = table(**({**parts, "trace": trace} if last else {"trace": trace, **parts}))
    (equation,) = equations_among(data.x, data.space)
    assert sorted(equation.names) == ["a", "b", "c", "trace"]
    assert equation.tolerance < 1e-5


def test_a_factor_has_all_its_digits_where_the_other_column_is_whole_numbers():
    hours = 2 * np.arange(60)
    (equation,) = equations_among(*(lambda d: (d.x, d.space))(table(t=1.7e9 + 3600.0 * hours, h=hours)))
    assert equation.coefficients.tolist() == pytest.approx([1, -1 / 3600], rel=1e-6)
    assert equation.error < 1e-4


def test_few_rows_of_rounded_numbers_are_not_fitted_by_many_factors():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        values = (rng.normal(size=(9, 1)) + 0.05 * rng.normal(size=(9, 6))).round(1)
        data = table(**{f"x{i}": column for i, column in enumerate(values.T)})
        assert all(len(equation.names) < 4 for equation in equations_among(data.x, data.space)), seed


@pytest.mark.parametrize("levels", [np.arange(0, 21, 2), np.arange(5, 60), np.linspace(0.1, 0.9, 9).round(1)])
def test_a_measured_column_that_follows_levels_with_noise_is_not_given_by_them(levels):
    level = np.repeat(levels, 2)
    noise = 0.015 * np.ptp(levels) * np.random.default_rng(0).uniform(-1, 1, len(level))
    data = table(level=level, measured=0.3 * (level + noise))
    assert equations_among(data.x, data.space) == ()


def test_whole_numbers_are_the_coefficients_where_they_say_the_same():
    wall, roof, other = np.random.default_rng(0).uniform(1, 9, (3, 90)).round(2)
    data = table(surface=(wall + 2 * roof).round(2), wall=wall, roof=roof, other=other, mean=(wall + other) / 2)
    found = [equation.constraint for equation in equations_among(data.x, data.space)]
    assert found == ["2*roof + wall = surface", "2*mean = wall + other"]
    for equation in equations_among(data.x, data.space):
        assert equation.off(data.x, data.space).max() <= equation.tolerance
        assert set(np.abs(equation.coefficients)) == {1.0, 2.0}


def test_numbers_of_the_runs_have_no_part_in_equations_and_are_named():
    levels = np.array(list(itertools.product([6.0, 6.5, 7.0], [20, 30, 40], [40, 60, 80])))
    standard = np.arange(27) + 1
    order = np.random.default_rng(0).permutation(27) + 1
    data = table(StdOrder=standard, RunOrder=order, **dict(zip(("pH", "time", "temperature"), levels.T, strict=True)))
    assert equations_among(data.x, data.space) == ()
    (said,) = [text for text in data_warnings(data) if "number the rows, 1 to 27" in text]
    assert said.endswith('leave_out = ["StdOrder", "RunOrder"]')


def test_designs_in_which_every_input_takes_all_levels_are_not_called_numbers():
    rng = np.random.default_rng(0)
    data = table(**{name: rng.permutation(20) for name in "abc"})
    assert "leave_out" not in " ".join(data_warnings(data))


def test_two_columns_that_are_almost_proportional_do_not_make_a_third_one_up():
    rng = np.random.default_rng(0)
    first = rng.uniform(1, 3, 400)
    third = rng.uniform(0, 1, 400)
    noise = 5e-5 * rng.uniform(-1, 1, 400)
    data = table(first=first, second=4.57 * first + 1e-6 * (third + noise), third=third)
    assert not [e.constraint for e in equations_among(data.x, data.space) if "third" in e.names]
