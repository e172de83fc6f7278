"""How far an input may move alone is found for narrow tolerances, logarithmic scales, and tiny and huge units."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import fn, lin

from invdesign_core.designs.tolerances import tolerance_ranges
from invdesign_core.space.digits import inward, typed
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Targets, parse_targets


def room_of(model, variables, design, target, spread=1.0):
    space = Space(tuple(variables))
    surrogate = Surrogate.of_model(model, space, ("y",), y=np.array([[0.0], [spread]]))
    targets = Targets.build([parse_targets([target], ["y"])], ["y"], np.array([spread]))
    (room,) = tolerance_ranges(surrogate, space, targets, np.array([design], dtype=float))
    return room


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e15])
@pytest.mark.parametrize("tolerance", [1e-5, 1e-3, 0.1])
def test_the_range_is_as_long_as_the_tolerance_says_however_narrow(unit, tolerance):
    variables = [Variable("a", lower=0.0, upper=unit), Variable("b", lower=-1.0, upper=1.0)]
    room = room_of(lin([[1 / unit], [0.0]]), variables, [0.4 * unit, 0.0], f"y=0.4 tolerance {tolerance}")
    low, high = np.array(room["a"]) / unit
    assert low == pytest.approx(0.4 - tolerance, abs=0.01 * tolerance + 1e-7)
    assert high == pytest.approx(0.4 + tolerance, abs=0.01 * tolerance + 1e-7)
    assert max(len(typed(end).strip("-0.").replace(".", "").partition("e")[0]) for end in room["a"]) <= 9
    assert room["b"] == [-1.0, 1.0]


@pytest.mark.parametrize("at", [3e-11, 4e-8, 2e-3, 0.5])
@pytest.mark.parametrize("tolerance", [0.01, 0.5, 2.0])
def test_on_a_logarithmic_scale_the_range_is_a_factor(at, tolerance):
    from keras import ops

    variables = [Variable("a", lower=1e-12, upper=1.0, scale="log")]
    room = room_of(fn(1, ops.log), variables, [at], f"y={np.log(at):.12g} tolerance {tolerance}", spread=20.0)
    low, high = room["a"]
    assert low == pytest.approx(max(at * np.exp(-tolerance), 1e-12), rel=3e-3)
    assert high == pytest.approx(min(at * np.exp(tolerance), 1.0), rel=3e-3)


def test_whole_numbers_are_found_to_the_last_one():
    variables = [Variable("n", "integer", lower=0, upper=10**6)]
    assert room_of(lin([[1.0]]), variables, [123456], "y=123456 tolerance 2100", 1e6)["n"] == [121356, 125556]


def test_a_bound_that_was_computed_is_rounded_inwards_where_it_ends_a_range():
    ends = np.array([[9.999518096000001, 31.85], [0.5, 1 / 7 + 30]])
    found = inward(ends, np.array([12.0, 12.0]), ends)
    assert (found[:, 0] >= ends[:, 0]).all()
    assert (found[:, 1] <= ends[:, 1]).all()
    assert found[:, 0].tolist() == [10.0, 0.5]
    assert found[0, 1] == 31.85
    assert len(repr(found[1, 1].item())) <= 6


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.3e15, "1.3e15"), (-997684e9, "-9.97684e14"), (1e12, "1e12"), (2.4e9, "2400000000"), (123456789012345.0, None)],
)
def test_long_round_numbers_have_an_exponent(value, text):
    assert typed(value) == (text or repr(value).removesuffix(".0"))
    assert float(typed(value)) == value
