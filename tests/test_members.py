"""Members of an ensemble: each row teaches someone, and one that failed to learn does not spoil the mean."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invdesign_core.context import Context
from invdesign_core.data.data import Data, split_rows
from invdesign_core.plugin import SurrogateBuilder, Trial, Tuner
from invdesign_core.surrogate.members import cross_fitted, failed_members
from invdesign_core.surrogate.settings import Training
from invdesign_core.workflow.train import fit

pytestmark = pytest.mark.long
"""Whole trainings."""


class Once(Tuner):
    """Asks for one trial."""

    name: ClassVar[str] = "once"

    def search(self, space, evaluate, ctx):
        evaluate([Trial()])


class Some(SurrogateBuilder):
    """A network that never learns where its number among those built is one of `dead`."""

    name: ClassVar[str] = "some"
    dead: tuple[int, ...] = ()
    built: ClassVar[list[Any]] = []

    def build(self, data):
        self.built.append(None)
        rate = 0.0 if len(self.built) - 2 in self.dead else 0.03  # the first is only looked at
        net = keras.Sequential(
            [keras.Input((data.space.width,)), keras.layers.Dense(16, "tanh"), keras.layers.Dense(1)]
        )
        net.compile(keras.optimizers.Adam(rate), "mse")
        return net


def table(n=80, repeats=1, split=None):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(np.repeat(rng.uniform(-1, 1, (n, 2)), repeats, axis=0), columns=["a", "b"])
    frame["y"] = 2 * frame["a"] - frame["b"]
    data = Data.from_frame(frame, ["y"])
    return data if split is None else Data(data.frame, data.space, data.outputs, split=split)


def ensemble(dead, members=5, seed=0, **training):
    told = []
    ctx = Context(seed, emit=lambda e: told.append((e.kind, e.data["text"])) if e.kind in ("note", "warning") else None)
    Some.built.clear()
    settings = Training(**{"epochs": 40, "batch_size": 16, "members": members, "test": 0.0} | training)
    return fit(table(), Some(dead=tuple(dead)), Once(), settings, ctx), told


def rmse(model):
    data = table()
    return float(np.sqrt(np.mean((model.surrogate.predict(data.x).mean - data.y) ** 2)))


def test_a_member_that_failed_is_trained_again_and_said():
    sound, told = ensemble([])
    assert (sound.report.trained_again, sound.report.left_out, sound.report.members) == (0, 0, 5)
    assert not any("learn" in text for _, text in told)
    mended, told = ensemble([2])
    assert (mended.report.trained_again, mended.report.left_out, mended.report.members) == (1, 0, 5)
    assert any("1 of 5 members did not learn" in text for kind, text in told if kind == "note")
    assert rmse(mended) < 1.5 * rmse(sound)


def test_a_member_that_fails_twice_is_left_out_with_a_warning():
    model, told = ensemble([1, 3, 5])  # the fifth is the second training of the first of these
    assert (model.report.trained_again, model.report.left_out, model.report.members) == (2, 1, 4)
    assert any("1 of 5 members failed" in text for kind, text in told if kind == "warning")
    assert rmse(model) < 0.2


def test_the_winner_of_the_trials_may_be_the_one_that_failed():
    model, _ = ensemble([0], validation=0.0)
    assert model.report.trained_again == 1
    assert rmse(model) < 0.2


def squares(rng, members, rows):
    """Squared errors of members that agree but for noise."""
    return (rng.normal(size=(1, rows)) + 0.3 * rng.normal(size=(members, rows))) ** 2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(20, 200), st.integers(-5, 2))
def test_members_that_differ_by_noise_are_never_failures_and_one_far_above_is(seed, members, rows, power):
    rng = np.random.default_rng(seed)
    errors, nobody = squares(rng, members, rows) * 10.0**power, [np.arange(0)] * members
    assert failed_members(errors, nobody) == []
    at = int(rng.integers(members))
    errors[at] *= 100
    assert failed_members(errors, nobody) == [at]
    errors[at] = np.inf
    assert failed_members(errors, nobody) == [at]


def test_a_few_rows_of_large_errors_are_no_failure():
    rng = np.random.default_rng(0)
    errors = squares(rng, 5, 60)
    errors[3, :2] += 200.0
    assert failed_members(errors, [np.arange(0)] * 5) == []


def test_among_networks_that_reproduce_their_rows_it_does_not_matter_how_exactly():
    rng = np.random.default_rng(0)
    errors = squares(rng, 4, 50) * np.array([[1e-7], [1e-7], [1e-3], [1e-7]])
    watched = [np.arange(10 * i, 10 * i + 10) for i in range(4)]
    assert failed_members(errors, [np.arange(0)] * 4) == [2]
    for i, rows in enumerate(watched):
        errors[i, rows] = squares(rng, 1, 10)
    assert failed_members(errors, watched) == []


@pytest.mark.parametrize("repeats", [1, 3])
def test_every_member_is_watched_on_other_designs_and_no_test_row_teaches(repeats):
    data = table(40, repeats)
    rows = split_rows(data, 0.1, 0.1, Context())
    parts = cross_fitted(data, rows, 4, Context())
    seen, pool = set(rows.validation.tolist()), np.sort(np.concatenate([rows.train, rows.validation]))
    for learns, watched in parts:
        assert np.array_equal(np.sort(np.concatenate([learns, watched])), pool)
        assert len(watched) == len(rows.validation)
        assert not seen & set(watched.tolist())
        seen |= set(watched.tolist())
        designs = {tuple(x) for x in data.x[watched]}
        assert not designs & {tuple(x) for x in data.x[learns]}
    many = cross_fitted(data, rows, 20, Context())
    assert set(np.concatenate([watched for _, watched in many]).tolist()) == set(pool.tolist())


def test_rows_that_the_data_name_for_validation_stay_that():
    split = np.array(["train"] * 60 + ["validation"] * 20)
    data = table(80, split=split)
    assert cross_fitted(data, split_rows(data, 0.1, 0.1, Context()), 3, Context()) is None
    data = table(80, split=np.array([""] * 60 + ["test"] * 20))
    parts = cross_fitted(data, split_rows(data, 0.1, 0.1, Context()), 3, Context())
    assert all(max(watched) < 60 for _, watched in parts)
    unwatched = table(80)
    assert cross_fitted(unwatched, split_rows(unwatched, 0.1, 0.0, Context()), 3, Context()) is None
