"""What plugins do with the arrays and tables that they are handed changes no answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import invert, lin

from invdesign_core.context import Context
from invdesign_core.registry import Registry
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.regressors import regressor_answer
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets

REGISTRY = Registry.discover()
SPACE = Space((Variable("a", lower=0, upper=1), Variable("b", lower=0, upper=1)))


def solve(truth):
    surrogate = Surrogate.of_model(lin([[1], [1]]), SPACE, ("y",))
    solver = REGISTRY.create("solver", "least-squares", {"starts": 4})
    objective = REGISTRY.create("objective", "mse", {})
    return invert(surrogate, parse_targets(["1"], ("y",)), SPACE, objective, solver, Context(), truth=truth)


def in_place(frame):
    frame["a"] *= 1000
    frame["b"] += frame["a"] / 1000
    return frame[["b"]].rename(columns={"b": "y"})


def test_a_true_model_that_works_in_its_table_changes_no_design():
    designs = solve(in_place).designs
    assert designs["design.a"].max() <= 1
    assert (designs["design.a"] + designs["design.b"]).to_numpy() == pytest.approx(designs["truth.y"].to_numpy())


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda n: pd.DataFrame({"y": ["high"] * n}), "y is 'high'"),
        (lambda n: pd.DataFrame(np.ones((n, 2)), columns=["y", "y"]), "it gave the columns ['y', 'y'], expected each"),
        (lambda n: pd.DataFrame({"y": pd.array([None] * n, dtype="Float64")}), "y is empty"),
        (lambda n: pd.DataFrame({"y": np.ones(n + 1)}), "it gave 2 rows, expected 1 row"),
    ],
    ids=["text", "a name twice", "nothing", "another number of rows"],
)
def test_answers_of_a_true_model_that_are_no_numbers_are_none(answer, why):
    nothing = solve(lambda frame: answer(len(frame)))
    assert (nothing.status, nothing.designs["truth.y"].isna().all()) == ("not met", True)
    assert nothing.designs["failed"].str.startswith(why).all()


def test_a_regressor_that_works_in_its_array_changes_no_design():
    class Scaling:
        def predict(self, h):
            h *= 10
            return h.sum(axis=1)

    x = np.ones((3, 2))
    assert regressor_answer(Scaling(), x, 1, "it").ravel().tolist() == [20, 20, 20]
    assert x.tolist() == [[1, 1]] * 3
