"""Design variables: the user's values survive the way to numbers and back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invdesign_core.errors import ConfigError, DataError
from invdesign_core.space import Space, Variable, infer_variable

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
        ({}, {"metal": "Fe"}, "none of its levels"),
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


def test_a_space_survives_json():
    import json

    assert Space.from_json(json.loads(json.dumps(MIXED.to_json()))) == MIXED
