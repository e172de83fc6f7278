"""Designs that are drawn have values that exist, each of them as often as the others."""

from __future__ import annotations

import numpy as np
import pytest

from invdesign_core.errors import ConfigError
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable

SPACE = Space(
    (
        Variable("whole", "integer", lower=1, upper=4),
        Variable("stepped", lower=0, upper=1, step=0.25),
        Variable("level", "levels", levels=(1, 2, 4)),
        Variable("label", "categorical", levels=("a", "b", "c")),
        Variable("bit", "binary"),
        Variable("parts", ranges=((0.0, 1.0), (3.0, 4.0))),
        Variable("log", lower=1e-4, upper=1.0, scale="log"),
        Variable("held", lower=0, upper=9, fixed=3.0),
    )
)


def test_draws_are_designs_and_follow_the_stream():
    frame = SPACE.sample(np.random.default_rng(0), 200)
    assert list(frame.columns) == list(SPACE.names)
    assert SPACE.feasible_set.holds(SPACE.encode(frame)).all()
    assert frame.equals(SPACE.sample(np.random.default_rng(0), 200))


@pytest.mark.parametrize(("name", "count"), [("whole", 4), ("stepped", 5), ("level", 3), ("label", 3), ("bit", 2)])
def test_end_values_are_as_frequent_as_those_between(name, count):
    shares = SPACE.sample(np.random.default_rng(1), 6000)[name].value_counts(normalize=True)
    assert len(shares) == count
    assert shares.to_numpy() == pytest.approx(np.full(count, 1 / count), abs=0.03)


def test_a_log_scale_is_drawn_in_the_logarithm():
    values = SPACE.sample(np.random.default_rng(2), 4000)["log"]
    assert (values < 1e-2).mean() == pytest.approx(0.5, abs=0.03)


def test_without_bounds_nothing_can_be_drawn():
    with pytest.raises(ConfigError, match="no bounds are known for 'x'"):
        Space((Variable("x"),)).sample(np.random.default_rng(0), 1)
