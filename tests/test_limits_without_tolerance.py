"""A limit is a limit: nothing beyond it is called met unless a tolerance was asked for, and then it is shown."""

from __future__ import annotations

import io

import numpy as np
import pytest
from conftest import fn, lin, prepare_model
from test_targets import box, solve

from invdesign_core.cli.console import show
from invdesign_core.registry import Registry
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.targets import Targets, parse_targets
from invdesign_core.workflow.solve import solve_one


def judged(word, y, spread=100.0):
    targets = Targets.build([parse_targets({"y": word}, ["y"])], ("y",), np.array([spread]))
    return targets.met(np.array(y, dtype=float)[:, None], np.zeros(len(y), dtype=int))[:, 0].tolist()


@pytest.mark.parametrize(
    ("word", "y", "met"),
    [
        ("<=115", [114.9, 115, 115.52, 115.01], [True, True, False, False]),
        (">=115", [114.99, 115, 115.5], [False, True, True]),
        ("6..8", [5.99, 6, 7, 8, 8.01], [False, True, True, True, False]),
        ("<=115 tolerance 0.6", [115.52, 115.61], [True, False]),
        ("6..8 tolerance 0.1", [5.95, 8.2], [True, False]),
        ({"goal": "max", "at_most": 10}, [10, 10.5], [True, False]),
        ("10", [11.9, 12.1], [True, False]),
        ("7..7", [8.9, 9.1], [True, False]),
    ],
)
def test_a_limit_or_range_has_no_tolerance_unless_asked_and_a_set_point_has(word, y, met):
    assert judged(word, y) == met


def test_a_limit_that_is_overstepped_by_rounding_alone_is_met():
    assert judged("<=115", [115 + 1e-6, 115 - 1e-6, 115.001]) == [True, True, False]


def test_a_table_of_targets_has_the_same_tolerances():
    import pandas as pd

    frame = pd.DataFrame({"y": ["<=1", "1", "0..1", "<=1 tolerance 0.5", "max"], "z": [1.0, 2.0, np.nan, 3.0, 4.0]})
    found = Targets.from_frame(frame, ("y", "z"), np.array([10.0, 100.0])).tolerance
    assert found[:, 0].tolist() == [0, 0.2, 0, 0.5, 0]
    assert found[[0, 1, 3, 4], 1].tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("solver", ["lbfgsb", "least-squares", "slsqp"])
def test_designs_keep_a_margin_from_a_limit_where_that_costs_nothing(solver):
    answers, _ = solve(lin([[1], [2]]), {"y": ">=2.2"}, ("y",), solver)
    assert answers.met
    assert (answers.designs["prediction.y"] > 2.2).all()
    assert answers.starts["hit"].all()
    assert (answers.designs["loss"] == 0).all()
    both, _ = solve(lin([[1, 1], [2, -1]]), {"y1": "1..1.4", "y2": "<=0.2"}, solver=solver)
    y = both.designs[["prediction.y1", "prediction.y2"]].to_numpy()
    assert both.met
    assert ((y[:, 0] > 1) & (y[:, 0] < 1.4) & (y[:, 1] < 0.2)).all()


def test_a_limit_that_only_one_design_reaches_exactly_is_met_there():
    from keras import ops

    lowest, _ = solve(fn(1, ops.square), {"y": "<=0"}, ("y",), space=box(1, -2.0, 2.0))
    assert lowest.met
    assert lowest.designs["design.x1"][0] == pytest.approx(0, abs=1e-3)
    corner, _ = solve(lin([[1], [1]]), {"y": ">=2"}, ("y",))
    assert corner.met
    assert corner.designs.filter(like="design.").iloc[0].tolist() == [1, 1]
    # y2 is twice y1: the two limits leave one point, which no margin allows.
    thin, _ = solve(lin([[1, 2]]), {"y1": "<=0.3", "y2": ">=0.6"})
    assert thin.met
    assert thin.designs["design.x1"][0] == pytest.approx(0.3, abs=1e-5)


def test_limits_that_can_not_all_hold_are_compromised_as_without_a_margin():
    answers, _ = solve(lin([[1, 1]]), {"y1": "<=0.2 weight 9", "y2": ">=0.7"})
    assert not answers.met
    assert answers.designs["design.x1"][0] == pytest.approx(0.25, abs=1e-4)


@pytest.mark.parametrize("extra", [{}, {"y2": "max"}])
def test_a_discrete_design_on_the_limit_is_met(extra):
    space = Space((Variable("a", "levels", levels=(0.1, 0.7, 2.0)), Variable("b", "levels", levels=(0.2, 0.6, 5.0))))
    answers, _ = solve(lin([[1, 1], [1, 3]]), {"y1": "0.89..0.9" if not extra else "<=0.9", **extra}, space=space)
    assert answers.met
    assert answers.designs.filter(like="design.").iloc[0].tolist() == [0.7, 0.2] if not extra else [0.1, 0.6]


def test_the_head_of_the_table_shows_the_tolerance_in_force(tmp_path):
    lin([[1, 1, 2], [1, 2, 1]]).save(tmp_path / "m.keras")
    prepared = prepare_model(
        tmp_path / "m.keras", registry=Registry.discover(), bounds={"x1": (0, 1), "x2": (0, 1)}, outputs=["a", "b", "c"]
    )
    result = solve_one(prepared, ["a=1.3 tolerance 0.02", "b<=2.5", "c>=0.5 tolerance 0.125"])
    stream = io.StringIO()
    show(result.report, stream, quiet=True)
    assert "designs for a = 1.3 ± 0.02, b <= 2.5, c >= 0.5 (tolerance 0.125) (" in stream.getvalue()
