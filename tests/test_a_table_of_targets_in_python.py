"""A table of targets in Python: stopped, with one row, with rows that are there twice, in small chunks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import fn

from invdesign_core.context import Context, Progress
from invdesign_core.data.data import TrainingRows
from invdesign_core.data.own_columns import values_of
from invdesign_core.designs.report import SurrogateReport
from invdesign_core.errors import DataError, InvdesignError
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.workflow import inverse
from invdesign_core.workflow.estimator import InverseDesign

SPACE = Space((Variable("T", lower=1, upper=5), Variable("x", lower=0, upper=5)))
WANTED = pd.DataFrame({"T": [1.0, 2.0, 4.0, 2.0, 5.0], "y": [2.0, 2.0, 2.0, 2.0, 2.0]})


@pytest.fixture(scope="module")
def product():
    from keras import ops

    surrogate = Surrogate.of_model(fn(2, lambda i: ops.expand_dims(i[:, 0] * i[:, 1], -1)), SPACE, ("y",))
    x = np.random.default_rng(0).uniform([1, 0], [5, 5], (50, 2))
    return surrogate, TrainingRows(x, surrogate.predict(x).mean)


def fitted(product, **options):
    solver = {"use": "least-squares", "starts": 4} | options.pop("solver", {})
    model = InverseDesign(solver=solver, **{"designs": 1} | options)
    model.surrogate_, model.known_ = product
    model.truth_ = None
    model.report_ = SurrogateReport(
        plugin=None, members=1, trials=0, failed=0, best={}, objective=None, score=None, retrained=False, rows={},
        test={},
    )  # fmt: skip
    return model


def stopping(monkeypatch, after):
    """Press Ctrl-C while the chunk after some is being solved."""
    real, calls = inverse.search, []

    def search(problem, plan, ctx):
        if len(calls) == after:
            solver = problem.solver.model_copy()
            object.__setattr__(solver, "solve", pressed)
            problem = replace(problem, solver=solver)
        calls.append(len(problem.targets))
        return real(problem, plan, ctx)

    def pressed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(inverse, "search", search)
    return calls


def test_a_table_tells_how_many_of_its_targets_are_solved(product):
    events = []
    model = fitted(product, solver={"rows_at_once": 8})
    model._context = lambda: Context(emit=events.append)
    model.invert(WANTED)
    solved = [(event.done, event.total) for event in events if isinstance(event, Progress) and event.stage == "solve"]
    assert solved == [(2, 5), (4, 5), (5, 5)]


def test_ctrl_c_in_a_table_stops_and_gives_the_targets_that_are_solved(product, monkeypatch):
    model = fitted(product, solver={"rows_at_once": 8})
    whole = model.invert(WANTED)
    assert whole.status == "met"
    calls = stopping(monkeypatch, after=1)
    with pytest.warns(UserWarning, match="stopped by Ctrl-C: the first 2 of 5 targets are solved"):
        found = model.invert(WANTED)
    assert calls[:2] == [2, 2]
    assert (found.interrupted, found.status, found.met) == (True, "interrupted", False)
    pd.testing.assert_frame_equal(found.designs, whole.designs[whole.designs["target"] < 2])


def test_ctrl_c_before_any_target_is_solved_is_raised(product, monkeypatch):
    stopping(monkeypatch, after=0)
    with pytest.raises(KeyboardInterrupt):
        fitted(product).invert(WANTED)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"T": [], "y": []}), "targets: the table has no rows"),
        (pd.DataFrame([[1.0, 2.0, 4.0]], columns=["T", "T", "y"]), "the column 'T' is there twice"),
        (pd.DataFrame([[1.0, 2.0, 4.0]], columns=["T", "y", "y"]), "the column 'y' is there twice"),
        (pd.DataFrame({"y": [1 + 2j]}), "column 'y', row 1: found a complex number"),
        (pd.DataFrame({"T": [1 + 2j], "y": [1.0]}), "column 'T', row 1: found a complex number"),
        (pd.DataFrame({"T": [1.0, 2.0], "y": [1.0, None]}), "row 2: no output has a target"),
        (pd.DataFrame({0: [1.0], "y": [1.0]}), "the column '0' is neither an output nor a design variable"),
    ],
)
def test_a_table_that_can_not_be_meant_is_refused_by_name(product, frame, message):
    with pytest.raises(InvdesignError, match=message):
        fitted(product).invert(frame)


@pytest.mark.parametrize("rows_at_once", [4, 8, 1000])
def test_rows_that_are_there_twice_or_alone_have_the_same_answer_in_chunks_of_any_size(product, rows_at_once):
    found = fitted(product, solver={"rows_at_once": rows_at_once}).invert(WANTED.set_axis(list("aabba"))).designs
    assert found["design.T"].tolist() == WANTED["T"].tolist()
    np.testing.assert_allclose(found["design.x"], 2 / WANTED["T"], rtol=1e-4)
    alone = fitted(product).invert(WANTED[1:2]).designs
    assert alone["design.x"][0] == pytest.approx(found["design.x"][1], rel=1e-4)


def test_truth_values_that_are_written_as_words_are_truth_values():
    switch = Variable("on", "binary", levels=(False, True))
    for cells in (["True", "False"], [1, 0], ["1", "0"], [True, False]):
        assert values_of(switch, pd.Series(cells, name="on"), "t").astype(float).tolist() == [1, 0]
    with pytest.raises(DataError, match="column 'on', row 2: found 2, expected False or True"):
        values_of(switch, pd.Series([1, 2], name="on"), "t")
