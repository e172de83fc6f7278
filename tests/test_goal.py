"""Targets: the words a user writes, and the numbers that objectives see."""

from __future__ import annotations

import numpy as np
import pytest

from invdesign_core.errors import ConfigError
from invdesign_core.space.text import split_assignment
from invdesign_core.targets import Target, Targets, parse_target, parse_targets

OUTPUTS = ("H2", "Reformer Duty", "a=b", "x-1", "T (°C)")


@pytest.mark.parametrize(
    ("text", "name", "lower", "upper"),
    [
        ("H2=0.33", "H2", 0.33, 0.33),
        ("H2 = 3.3e-1", "H2", 0.33, 0.33),
        ("H2<=0.33", "H2", -np.inf, 0.33),
        ("H2 >= .33", "H2", 0.33, np.inf),
        ("Reformer Duty=1..2", "Reformer Duty", 1, 2),
        ("T (°C)=-5..-1e0", "T (°C)", -5, -1),
        ("a=b=3", "a=b", 3, 3),
        ('"a=b"<=3', "a=b", -np.inf, 3),
        ("x-1=-1", "x-1", -1, -1),
    ],
)
def test_a_target_is_read_with_hard_names(text, name, lower, upper):
    (found,) = parse_targets([text], OUTPUTS).items()
    assert found[0] == name
    assert (found[1].lower, found[1].upper) == (lower, upper)


@pytest.mark.parametrize("text", ["2", "=2", " 2.0 "])
def test_a_single_output_needs_no_name(text):
    assert parse_targets([text], ["y"])["y"].lower == 2
    assert parse_targets(["<=2"], ["y"])["y"].upper == 2


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["2"], "there are 5 outputs; name the one"),
        (["H2~1"], "for example 'H2=2'"),
        (["H3=1"], "did you mean 'H2'?"),
        (["H2=warm"], "found 'warm', expected a number"),
        (["H2=nan"], "expected a finite number"),
        (["H2=inf"], "expected a finite number"),
        (["H2=0,5"], "write the decimals after a point"),
        (["H2=2..1"], "lower end 2 is above the upper end 1"),
        (["H2=1", "H2=2"], "given twice"),
        ({"H2": {"equal": 2}}, "did you mean 'equals'?"),
        ({"H2": {"equals": 2, "at_most": 3}}, "contradicts"),
        ({"H2": {"at_least": 3, "at_most": 2}}, "contradicts"),
        ({"H2": {"weight": 2}}, "no value, limit or goal is given"),
        ({"H2": True}, "expected a number"),
        ({"H2": {}}, "no value, limit or goal is given"),
        (["H2=maximm"], "did you mean 'maxim"),
        (["H2=1 weight -1"], "found the weight -1, expected one from"),
        (["H2=1 weight 2 weight 3"], "'weight' appears twice"),
        (["H2=1 tolerance much"], "found 'much', expected a number"),
        (["H2=max tolerance 1"], "leave the tolerance out"),
        (["H2=free weight 2"], "has no effect on a free output"),
        ({"H2": {"goal": "most"}}, "expected max, min or free"),
        ({"H2": {"goal": "max", "equals": 2}}, "contradicts the goal 'max'"),
        ({"CO": 1}, "there is no output 'CO'"),
    ],
)
def test_what_can_not_be_meant_is_refused(items, message):
    with pytest.raises(ConfigError) as error:
        parse_targets(items, OUTPUTS)
    assert message in str(error.value)


def test_the_longest_name_wins():
    assert split_assignment("a b=1", ["a", "a b"], "here", "output") == ("a b", "1")


def test_where_two_names_fit_both_readings_are_shown_and_quotes_decide():
    with pytest.raises(ConfigError) as error:
        parse_targets(["a=b=1"], ["a", "a=b"])
    assert "2 ways: 'a=b' = 1 or 'a' = b=1" in str(error.value)
    assert """'"a=b"=1'""" in str(error.value)
    assert parse_targets(['"a=b"=1'], ["a", "a=b"])["a=b"].lower == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.33 tolerance 0.01 weight 2", Target(0.33, 0.33, 2, 0.01)),
        ("0.33 weight 2 tolerance 1e-2", Target(0.33, 0.33, 2, 0.01)),
        ("= 0.33", Target(0.33, 0.33)),
        ("<=0.33 weight .5", Target(-np.inf, 0.33, 0.5)),
        ("0.3 .. 0.33 tolerance 0", Target(0.3, 0.33, 1, 0)),
        ("max", Target(goal="max")),
        ("Maximise weight 3", Target(weight=3, goal="max")),
        ("maximize", Target(goal="max")),
        ("minimise", Target(goal="min")),
        ({"goal": "minimize", "at_most": 4, "tolerance": 1}, Target(-np.inf, 4, 1, 1, "min")),
        ("free", Target()),
    ],
)
def test_the_same_words_everywhere(text, expected):
    assert parse_target(text, "here") == expected
    if isinstance(text, str):
        assert parse_targets([f"H2={text}"], OUTPUTS) == ({} if expected.free else {"H2": expected})


def test_free_takes_a_target_back():
    base = parse_targets({"H2": 1, "x-1": 2}, OUTPUTS)
    assert parse_targets(["H2=free"], OUTPUTS, base) == {"x-1": Target(2, 2)}


def test_a_target_survives_its_table():
    tables = {"equals": 1, "weight": 3, "tolerance": 0.5}, {"goal": "max", "at_most": 0.4, "weight": 2}
    for value in (2, "<=3", ">=1", "1..2", "max", "min weight 2", "free", *tables):
        target = parse_target(value, "here")
        assert parse_target(target.to_json(), "there") == target


def make(value, spread=10.0):
    return Targets.build([parse_targets({"y": value}, ["y"])], ("y",), np.array([spread]))


def test_any_value_in_a_range_is_equally_good():
    goal = make("1..2").goal(np.zeros(1), np.ones(1))
    z = np.array([[0.5], [1.0], [1.5], [2.0], [2.5]])
    assert goal.miss(z).ravel().tolist() == [-0.5, 0, 0, 0, 0.5]


def test_met_means_within_two_percent_of_the_training_range_unless_told():
    y, rows = np.array([[2.2], [2.21]]), np.zeros(2, int)
    assert make(2).met(y, rows).ravel().tolist() == [True, False]
    assert make({"equals": 2, "tolerance": 0.3}).met(y, rows).all()


def test_a_failed_simulation_never_meets_a_target():
    assert not make(2).met(np.array([[np.nan]]), np.zeros(1, int)).any()
    assert not make(">=2").met(np.array([[np.nan]]), np.zeros(1, int)).any()


def test_a_maximum_lies_beyond_reach_and_is_never_missed():
    targets = make("max")
    goal = targets.goal(np.zeros(1), np.ones(1))
    assert (goal.lower[0, 0], goal.upper[0, 0]) == (20, np.inf)
    y, rows = np.array([[-50.0], [3.0], [np.nan]]), np.zeros(3, int)
    assert targets.met(y, rows).ravel().tolist() == [True, True, False]
    assert targets.miss(y, rows)[:2].ravel().tolist() == [0, 0]


def test_beside_an_extremum_limits_must_hold_exactly_and_set_points_nearly():
    targets = Targets.build(
        [parse_targets({"y": "max", "limit": "<=1", "point": 1}, ["y", "limit", "point"])],
        ("y", "limit", "point"),
        np.full(3, 10.0),
    )
    y, rows = np.array([[0, 1, 1.02], [0, 1.1, 1.12]]), np.zeros(2, int)
    assert targets.met(y, rows).tolist() == [[True, True, True], [True, False, True]]
    assert targets.excess(y, rows) == pytest.approx(np.array([[0, 0, 0], [0, 0.01, 0.01]]))
    assert not make("<=1").excess(np.array([[5.0]]), np.zeros(1, int)).any()


def test_a_table_of_targets_takes_the_same_words():
    import pandas as pd

    frame = pd.DataFrame({"y": ["max", "<=1 weight 2", None, "free"], "z": [1.0, np.nan, 2.0, 3.0]})
    targets = Targets.from_frame(frame, ("y", "z"), np.ones(2))
    assert targets.extremum.tolist() == [[True, False], [False, False], [False, False], [False, False]]
    assert targets.asked.tolist() == [[True, True], [True, False], [False, True], [False, True]]
    assert targets.weight.tolist() == [[1, 1], [2, 0], [0, 1], [0, 1]]
