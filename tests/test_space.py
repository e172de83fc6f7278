"""Design variables: the user's values survive the way to numbers and back."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invdesign_core.errors import ConfigError, DataError
from invdesign_core.search.proximity import NearTo
from invdesign_core.space.constraint_text import parse_constraints
from invdesign_core.space.rounding import broken
from invdesign_core.space.rules import Constraints, Linear
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable, infer_variable

MIXED = Space(
    (
        Variable("T (°C)", lower=-5, upper=80),
        Variable("count", "integer", lower=0, upper=9),
        Variable("on", "binary", levels=(False, True)),
        Variable("metal", "categorical", levels=("Al", "Cu, annealed", "NA")),
        Variable("pipe", "levels", levels=(4, 1, 2.18)),
    )
)

rows = st.lists(
    st.tuples(
        st.floats(-5, 80),
        st.integers(0, 9),
        st.booleans(),
        st.sampled_from(["Al", "Cu, annealed", "NA"]),
        st.sampled_from([1.0, 2.18, 4.0]),
    ),
    min_size=1,
    max_size=20,
)


@given(rows)
def test_what_the_user_wrote_comes_back_exactly(values):
    frame = pd.DataFrame(values, columns=list(MIXED.names))
    back = MIXED.decode(MIXED.encode(frame))
    assert back.to_numpy(dtype=object).tolist() == [list(row) for row in values]


@given(st.lists(st.lists(st.floats(-200, 200), min_size=7, max_size=7), min_size=1, max_size=10))
def test_any_point_is_snapped_to_a_design_that_exists(points):
    x = MIXED.snap(np.array(points))
    low, high = MIXED.bounds
    assert (x >= low).all()
    assert (x <= high).all()
    assert (MIXED.snap(x) == x).all()
    assert (x[:, 3:6].sum(axis=1) == 1).all(), "exactly one category"
    assert set(x[:, 6]) <= {1.0, 2.18, 4.0}
    assert (x[:, 1] == np.rint(x[:, 1])).all()


def test_a_category_becomes_one_column_for_each_level():
    assert MIXED.width == 7
    assert MIXED.discrete.tolist() == [False, True, True, True, True, True, True]


def test_a_fixed_variable_has_equal_bounds_and_keeps_its_value():
    space = MIXED.restrict(fixed={"metal": "NA", "T (°C)": 20})
    low, high = space.bounds
    assert low[0] == high[0] == 20
    assert low[3:6].tolist() == high[3:6].tolist() == [0, 0, 1]
    assert space.decode(np.full((1, 7), 3.3)).iloc[0, [0, 3]].tolist() == [20.0, "NA"]


@pytest.mark.parametrize(
    ("bounds", "fixed", "message"),
    [
        ({"T (°C)": (5, 1)}, {}, "lower bound 5 is above the upper bound 1"),
        ({"T": (0, 1)}, {}, "did you mean 'T (°C)'"),
        ({"metal": (0, 1)}, {}, "categorical variable has no bounds"),
        ({"count": (0.2, 0.8)}, {}, "no whole number"),
        ({}, {"metal": "Fe"}, "not one of its levels"),
        ({}, {"count": 1.5}, "expected a whole number"),
        ({}, {"T (°C)": "warm"}, "expected a number"),
        ({"T (°C)": (0, 10)}, {"T (°C)": 20}, "outside its bounds 0 to 10"),
    ],
)
def test_contradictory_requests_are_refused_by_name(bounds, fixed, message):
    with pytest.raises(ConfigError) as error:
        MIXED.restrict(bounds, fixed)
    assert message in str(error.value)


def test_variables_without_bounds_are_named():
    space = Space((Variable("a", lower=0, upper=1), Variable("b"), Variable("c", fixed=3.0)))
    assert space.unbounded() == ("b",)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pd.Series([0.5, 1.0]), "continuous"),
        (pd.Series([3, 9]), "integer"),
        (pd.Series([3, 9], dtype="uint8"), "integer"),
        (pd.Series([True, False]), "binary"),
        (pd.Series(["a", "b"]), "categorical"),
        (pd.Series(["a", "b"], dtype="category"), "categorical"),
    ],
)
def test_kinds_are_read_off_the_column(column, kind):
    assert infer_variable("v", column).kind == kind


def test_an_unknown_level_is_refused_with_the_near_match():
    with pytest.raises(DataError, match="did you mean 'Al'"):
        MIXED["metal"].encode(["al"])


RESTRICTED = MIXED.restrict(
    {"T (°C)": [(1, 20), (30.5, 60)]},
    levels={"metal": ["Al", "NA"], "pipe": [1, 4]},
    step={"count": 3},
    log=["T (°C)"],
)


@pytest.mark.parametrize("space", [MIXED, RESTRICTED])
def test_a_space_survives_json(space):
    import json

    assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_the_constraints_of_a_space_survive_json_to_the_last_bit():
    import json
    from dataclasses import replace

    space = Space(tuple(Variable(name, lower=0, upper=1) for name in ("a", "b - c", "d")))
    texts = ["0.1*a + 0.2*b - c <= 0.3 - d", "|a - d| <= 0.5", "at most 2 of a, b - c, d above zero"]
    space = replace(space, given=parse_constraints(texts, space, ("y",)))
    back = Space.from_json(json.loads(json.dumps(space.to_json())))
    assert back == space
    x = np.random.default_rng(0).random((1000, 3))
    assert (back.feasible_set.holds(x) == space.feasible_set.holds(x)).all()
    assert (broken(back, x) == broken(space, x)).all()
    assert [(limit.count, limit.columns) for limit in back.constraints.at_most] == [(2, (0, 1, 2))]
    assert back.constraints.texts == tuple(texts)


def test_constraints_that_can_not_be_saved_are_not_dropped_in_silence():
    given = Constraints(Linear(np.ones((1, 7)), np.zeros(1), np.ones(1)))
    with pytest.raises(ConfigError, match="can't be saved"):
        Space(MIXED.variables, given).to_json()


def test_a_space_of_an_older_version_can_be_read():
    keys = ("name", "kind", "lower", "upper", "levels", "fixed")
    assert Space.from_json([{key: item[key] for key in keys} for item in MIXED.to_json()["variables"]]) == MIXED


# Steps, ranges, levels, scales

decimals = st.decimals(-1000, 1000, allow_nan=False, places=3).map(float)


@given(decimals, st.decimals("0.001", 50, places=3).map(float), st.integers(1, 500), st.lists(st.floats(-2000, 2000)))
def test_values_on_a_step_are_the_decimals_that_a_user_writes(low, step, count, points):
    from decimal import Decimal

    high = float(Decimal(repr(low)) + count * Decimal(repr(step)))
    wish = {"by": step, "from": low}
    (variable,) = Space((Variable("x", lower=0, upper=1),)).restrict({"x": (low, high)}, step={"x": wish}).variables
    values = variable.decode(Space((variable,)).snap(np.array([low, high, *points])[:, None]))
    assert values[:2] == [low, high], "the bounds themselves are on the step"
    for value in values:
        steps = (Decimal(repr(value)) - Decimal(repr(low))) / Decimal(repr(step))
        assert steps == steps.to_integral_value()
        assert low <= value <= high


def test_the_tube_holds_what_the_sheet_says():
    space = Space((Variable("x", lower=0, upper=50),)).restrict(step={"x": 0.1})
    assert space.decode(np.array([[30.26], [0.34], [49.99], [0.7000001]]))["x"].tolist() == [30.3, 0.3, 50.0, 0.7]


def test_steps_count_from_zero_unless_the_user_says_where_they_start():
    space = Space((Variable("x", lower=0.26, upper=1.17), Variable("n", "integer", lower=3, upper=12)))
    data = space.restrict(step={"x": 0.25, "n": 5})
    assert [v.tolist() for v in data.bounds] == [[0.5, 5], [1.0, 10]]
    given = space.restrict({"x": (0.26, 1.17), "n": (3, 12)}, step={"x": 0.25, "n": 5})
    assert given.bounds[0].tolist() == [0.5, 5]
    said = {"x": {"by": 0.25, "from": 0.26}, "n": {"by": 5, "from": 3}}
    given = space.restrict({"x": (0.26, 1.17), "n": (3, 12)}, step=said)
    assert [v.tolist() for v in given.bounds] == [[0.26, 3], [1.01, 8]]
    assert isinstance(given.decode(np.array([[0.3, 7.0]]))["n"][0], (int, np.integer))


@given(st.lists(st.floats(-10, 10), min_size=1))
def test_a_point_between_ranges_goes_to_the_nearest(points):
    space = Space((Variable("x", lower=0, upper=1),)).restrict({"x": [(3.1, 5.6), (1.5, 2.0), (1.9, 2.4)]})
    assert space["x"].ranges == ((1.5, 2.4), (3.1, 5.6))
    x = np.array(points)
    snapped = space.snap(x[:, None])[:, 0]
    inside = ((snapped >= 1.5) & (snapped <= 2.4)) | ((snapped >= 3.1) & (snapped <= 5.6))
    assert inside.all()
    assert (np.abs(snapped - x) <= np.min([np.abs(np.clip(x, a, b) - x) for a, b in space["x"].ranges], axis=0)).all()


def test_ranges_of_whole_numbers_or_steps_are_their_values():
    space = MIXED.restrict({"count": [(0, 2), (7, 8)], "T (°C)": [(0, 0.2), (1, 1.1)]}, step={"T (°C)": 0.1})
    assert space["count"].levels == (0, 1, 2, 7, 8)
    assert space["T (°C)"].levels == (0.0, 0.1, 0.2, 1.0, 1.1)


def test_margins_widen_the_data_s_bounds_and_no_others():
    space = Space(
        (
            Variable("a", lower=0, upper=10),
            Variable("b", lower=0, upper=10),
            Variable("n", "integer", lower=2, upper=9),
            Variable("s", lower=1, upper=100),
        )
    ).restrict({"b": (1, 2)}, log=["s"], margin=0.1)
    assert [(v.lower, v.upper) for v in space.variables] == [
        (-1, 11), (1, 2), (2, 9), (pytest.approx(10**-0.2), pytest.approx(10**2.2)),
    ]  # fmt: skip


def test_levels_keep_the_type_that_the_user_wrote():
    assert MIXED.restrict(levels={"count": [1, 2, 4]}).decode(np.full((1, 7), 2.2))["count"].tolist() == [2]
    assert MIXED.restrict({"pipe": (2, 5)})["pipe"].levels == (2.18, 4.0)
    assert MIXED.restrict(levels={"on": [True]})["on"].fixed is True


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"step": {"T (°C)": 100}}, "100 is wider than its range -5 to 80"),
        ({"step": {"T (°C)": 0}}, "expected a number above 0"),
        ({"step": {"metal": 1}}, "categorical variable has no step"),
        ({"step": {"count": 0.5}}, "takes whole numbers"),
        ({"step": {"count": 2}, "levels": {"count": [1, 2]}}, "levels and a step"),
        ({"step": {"T (°C)": 0.5}, "fixed": {"T (°C)": 20.2}}, "20.2 is not on its step"),
        ({"levels": {"T (°C)": [1, 200]}, "bounds": {"T (°C)": (0, 100)}}, "200 lies outside its bounds 0 to 100"),
        ({"levels": {"metal": ["Al", "Fe"]}}, "the data have no 'Fe'"),
        ({"levels": {"metal": []}}, "expected a list of values"),
        ({"levels": {"pipe": [1, 3]}}, "3 is not one of the allowed values"),
        ({"levels": {"count": [1.5]}}, "expected whole numbers"),
        ({"bounds": {"T (°C)": [(0, 1), (3, 2)]}}, "lower bound 3 is above the upper bound 2"),
        ({"bounds": {"T (°C)": [(0, 1), (3, 4)]}, "fixed": {"T (°C)": 2}}, "outside its bounds 0 to 1 or 3 to 4"),
        ({"bounds": {"T (°C)": "wide"}}, "expected a lowest and a highest number"),
        ({"bounds": {"pipe": (5, 9)}}, "none of its levels lies in 5 to 9"),
        ({"log": ["T (°C)"]}, "its lowest value is -5, expected one above 0"),
        ({"log": ["metal"]}, "categorical variable has no scale"),
        ({"log": ["T"]}, "did you mean 'T (°C)'"),
    ],
)
def test_what_contradicts_a_kind_or_itself_is_refused_by_name(wishes, message):
    with pytest.raises(ConfigError) as error:
        MIXED.restrict(**wishes)
    assert message in str(error.value)
    assert "T (°C)" in str(error.value) or next(iter(next(iter(wishes.values())))) in str(error.value)


@pytest.mark.parametrize("name", MIXED.names)
@pytest.mark.parametrize("value", ["x", "", "nan", float("nan"), float("inf"), None, 7, 0.5, True, "Al", [1]])
def test_a_present_value_is_one_that_the_variable_may_have_or_is_refused_by_name(name, value):
    variable = MIXED[name]
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)
    fits = value in (*variable.levels,) if variable.kind in ("binary", "categorical") else numeric
    if not fits:
        with pytest.raises(ConfigError, match=re.escape(name)):
            NearTo.build({name: value}, False, False, MIXED)
        return
    present = NearTo.build({name: value}, False, False, MIXED).present
    assert np.isfinite(present[MIXED.slices[MIXED.names.index(name)]]).all()


def test_measured_numbers_stay_as_they_are_and_choices_are_the_nearest():
    space = Space(
        (
            Variable("n", "integer", lower=1, upper=6),
            Variable("bit", "binary"),
            Variable("size", "levels", levels=(1, 2, 4)),
            Variable("v", lower=0, upper=1, step=0.5),
        )
    )
    frame = space.as_measured(np.array([[2.5, 0.8, 3.0, 0.3], [3.0, 0.1, 2.5, 0.5]]))
    assert frame["n"].tolist() == [2.5, 3]
    assert frame["bit"].tolist() == [1, 0]
    assert frame["size"].tolist() == [3, 2.5]
    assert frame["v"].tolist() == [0.3, 0.5]
