"""Large tables of targets: parts that are solved side by side, and numbers that are kept once, change no answer."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import fn, prepare_model
from hypothesis import given, settings
from hypothesis import strategies as st

from invdesign_core.cluster.threads import Threads
from invdesign_core.context import Context, Local, Note, Piece
from invdesign_core.errors import DataError
from invdesign_core.search.starts import _smallest
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Prediction, Targets, parse_target
from invdesign_core.workflow import inverse
from invdesign_core.workflow.result import tally, tally_of_parts
from invdesign_core.workflow.solve import solve_table

BOUNDS = {"x1": (0, 1), "x2": (0, 1)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    from keras import ops

    fn(2, lambda x: ops.concatenate([ops.sin(3 * x[:, :1]) * x[:, 1:], x[:, :1] + x[:, 1:]], axis=1)).save(path)
    return path


def test_parts_solved_in_threads_give_the_same_file_as_one_after_another(model, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"y1": rng.random(40) / 2, "y2": rng.random(40) + 0.4})
    files, counts = [], []
    for threads in (1, 3):
        monkeypatch.setattr(inverse, "THREADS", threads)
        monkeypatch.setattr(inverse.backend, "processors", lambda: 3)
        solver = ("least-squares", {"starts": 4, "rows_at_once": 16})
        out = tmp_path / f"{threads}.csv"
        report = solve_table(prepare_model(model, bounds=BOUNDS, solver=solver, designs=2), frame, out)
        files.append(out.read_bytes())
        counts.append((report.status, report.met, report.starts))
    assert files[0] == files[1]
    assert counts[0] == counts[1]


def test_pieces_in_threads_come_in_their_order_with_what_they_said():
    events, begun = [], threading.Barrier(2, timeout=10)

    def work(shared, value, ctx):
        if value:
            begun.wait()  # two at a time, or this fails
        ctx.note(f"{shared} {value}")
        return value * 2

    pieces = [Piece(str(i), i) for i in range(5)]
    ctx = Context(emit=events.append)
    assert list(Threads(2).map(ctx, work, "piece", pieces)) == [0, 2, 4, 6, 8]
    assert events == [Note(f"piece {i}") for i in range(5)]


def test_a_piece_that_fails_in_a_thread_ends_the_work_with_its_own_error():
    def work(shared, value, ctx):
        if value == 2:
            raise DataError("piece 2 is bad")
        return value

    for who in (Local(), Threads(2)):
        results = who.map(Context(), work, None, [Piece(str(i), i) for i in range(9)])
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(DataError, match="piece 2 is bad"):
            next(results)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, np.inf]), min_size=6, max_size=6), min_size=1, max_size=4),
    st.integers(1, 6),
)
def test_the_smallest_losses_are_those_that_sorting_finds(losses, count):
    losses = np.array(losses)
    assert _smallest(losses, count).tolist() == np.argsort(losses, axis=1, kind="stable")[:, :count].tolist()


WORDS = st.sampled_from([0.3, "<=0.5", "0.1..0.2", "max", "0.3 weight 2", "0.3 tolerance 0.1", "free"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS).filter(lambda row: row != ("free", "free")), min_size=1, max_size=6))
def test_targets_of_a_table_are_those_of_each_row_however_they_are_kept(rows):
    outputs, spread = ("a", "b"), np.array([1.0, 2.0])
    frame = pd.DataFrame([[str(word) for word in row] for row in rows], columns=list(outputs))
    one_by_one = Targets.build(
        [{n: parse_target(w, n) for n, w in zip(outputs, row, strict=True)} for row in rows], outputs, spread
    )
    whole = Targets.from_frame(frame, outputs, spread)
    for name in ("lower", "upper", "weight", "tolerance", "direction"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(one_by_one, name))
    limited = whole.constrained({"b": parse_target("<=0.7", "b")}, ["b"])
    np.testing.assert_array_equal(limited.upper[:, 1], 0.7)
    np.testing.assert_array_equal(limited.lower[:, 0], whole.lower[:, 0])
    for some in ("limited", "asked", "extremum"):
        all_, kinds = getattr(whole, some), getattr(whole.kinds, some)
        assert sorted(map(tuple, np.unique(all_, axis=0))) == sorted(map(tuple, np.unique(kinds, axis=0)))


def test_losses_of_all_pairs_are_those_of_each_pair():
    from invdesign_core.registry import Registry
    from invdesign_core.search.loss_functions import LossFunctions
    from invdesign_core.search.starts import losses_of

    space = Space(tuple(Variable(name, lower=0.0, upper=1.0) for name in BOUNDS))
    surrogate = Surrogate.of_model(fn(2, lambda x: x), space, ("a", "b"))
    rng = np.random.default_rng(1)
    z = Prediction(rng.normal(size=(7, 2)))
    wanted = rng.normal(size=(130, 2))
    asked = Targets(
        ("a", "b"), wanted, wanted + 0.1, np.ones((130, 2)), np.zeros((130, 2)), np.zeros((130, 2)), np.ones(2)
    )
    goal = asked.goal(np.zeros(2), np.ones(2))
    for name in ("mse", "mae", "max-miss"):
        losses = LossFunctions(surrogate, Registry.discover().create("objective", name, {}))
        each = [losses.loss_of(z, goal.take(np.full(7, t))) for t in range(130)]
        np.testing.assert_allclose(losses_of(losses, z, goal), each, rtol=1e-5, atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=9), st.integers(1, 4))
def test_a_table_is_counted_in_parts_as_it_is_as_a_whole(rows, size):
    n = len(rows)
    targets = Targets.from_frame(pd.DataFrame({"a": np.zeros(n)}), ("a",), np.ones(1))
    direction = np.array([[1 if extremum else 0] for extremum, _ in rows], dtype=np.int8)
    targets = replace(targets, direction=direction)
    written = pd.DataFrame({"target": np.arange(1, n + 1), "met": [met for _, met in rows]})
    parts = [(at, written.iloc[at : at + size]) for at in range(0, n, size)]
    assert tally_of_parts(iter(parts), targets) == tally(written, targets)
