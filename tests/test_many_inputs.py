"""Problems of many inputs: what is done in pieces, or by another way, gives what it gives for few."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import lin
from hypothesis import given, settings
from hypothesis import strategies as st

from invdesign_core.context import Context
from invdesign_core.designs import tolerances
from invdesign_core.designs.directions import _explicit, _null_space, _readable
from invdesign_core.designs.tolerances import tolerance_ranges
from invdesign_core.registry import Registry
from invdesign_core.report import influence as module
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.settings import Confidence
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Targets, parse_target
from invdesign_core.workflow.confidence import MOST_OUTPUTS, second_model

SPACE = Space((*(Variable(f"x{i}", lower=0.0, upper=1.0) for i in range(3)), Variable("n", "integer", 0, 7)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3), st.integers(4, 9), st.integers(0, 2**31))
def test_free_directions_of_many_inputs_span_what_those_of_few_do(r, v, seed):
    matrix = np.random.default_rng(seed).normal(size=(r, v))
    basis, _, rows = _null_space(matrix)
    many, own = _explicit(rows)
    few, _ = _readable(basis)
    assert many.shape == few.shape == (v - r, v)
    assert np.linalg.matrix_rank(np.concatenate([many, few]), tol=0.1) == v - r
    assert np.array_equal(many[:, own], np.eye(v - r))


def test_tolerance_ranges_are_the_same_in_pieces(monkeypatch):
    surrogate = Surrogate.of_model(lin([[1.0], [0.5], [-2.0], [0.1]]), SPACE, ("y",))
    targets = Targets.build([{"y": parse_target("0.1..0.9", "y")}], ("y",), surrogate.spread)
    x = np.array([[0.5, 0.5, 0.2, 1.0], [0.9, 0.1, 0.3, 2.0]])
    whole = tolerance_ranges(surrogate, SPACE, targets, x)
    assert whole[0]["x0"][0] < 0.5 < whole[0]["x0"][1]
    monkeypatch.setattr(tolerances, "AT_ONCE", 40)
    assert tolerance_ranges(surrogate, SPACE, targets, x) == whole


def test_influence_is_the_same_in_pieces(monkeypatch):
    def predict(x):
        return np.stack([x[:, 0] + x[:, 1] * x[:, 2], x[:, 3]], axis=1)

    whole = module.influence(predict, SPACE, 512)
    assert whole.total[1].round(3).tolist() == pytest.approx([0, 0, 0, 1], abs=0.05)
    monkeypatch.setattr(module, "AT_ONCE", 64 * 4)
    pieces = module.influence(predict, SPACE, 512)
    for part in ("first", "total", "direction", "points"):
        np.testing.assert_array_equal(getattr(pieces, part), getattr(whole, part))


def test_many_outputs_have_a_second_model_only_where_one_is_named():
    notes = []
    surrogate = SimpleNamespace(outputs=tuple(f"y{m}" for m in range(MOST_OUTPUTS + 1)))
    model = SimpleNamespace(rows=SimpleNamespace(x=np.eye(3)), report=None, surrogate=surrogate)
    ctx = Context(emit=lambda event: notes.append(event.data["text"]))
    for named, said in (("auto", 'model = "gaussian-process" trains one'), ("gaussian-process", "3 distinct designs")):
        assert second_model(model, Confidence(model=named), ctx, Registry.discover()) is None
        assert said in notes[-1]
