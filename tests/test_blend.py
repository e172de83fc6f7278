"""A weighted mean of surrogates: each output has its own weights, found on rows left out, and they are saved."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_race import GRID, REGISTRY, Contest, line, parabola, race, table

from invdesign_core.context import Context
from invdesign_core.data.data import Rows
from invdesign_core.designs.comparison import saved_by_blend
from invdesign_core.errors import RunStoreError
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.blend import LEAST, blend
from invdesign_core.surrogate.cross_validation import Pool
from invdesign_core.surrogate.folds import Fold
from invdesign_core.surrogate.keras_file import load_model
from invdesign_core.surrogate.scaling import Scaling
from invdesign_core.surrogate.sealed import KEY, seal
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.workflow.rounds import Trainers, trained_on, with_rows


def pool_of(y, folds, repeats=1):
    """Return a pool of rows with these measured (n, m) outputs."""
    n, m = y.shape
    rows, dealt = np.arange(n), []
    for repeat in range(repeats):
        part = np.random.default_rng(repeat).permutation(n) % folds
        dealt += [Fold(rows[part != k], rows[part == k], repeat) for k in range(folds)]
    split = Rows(np.zeros((n, 1)), y, rows, rows[:0], rows[:0])
    return Pool(None, split, rows, dealt, np.arange(m), np.ones(m))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 3), st.integers(1, 2), st.booleans())
def test_weights_add_up_to_one_and_none_is_small_or_negative(seed, parts, outputs, repeats, gaps):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(30, outputs))
    said = {f"{k}": y + rng.normal(size=(repeats, 30, outputs)) * rng.uniform(0, 3) for k in range(parts)}
    if gaps:
        y[rng.random(y.shape) < 0.2] = np.nan
    weights = np.array(list(blend(said, pool_of(y, 5, repeats)).weights.values()))
    assert weights.sum(axis=0) == pytest.approx(1)
    assert ((weights == 0) | (weights >= min(LEAST, 1 / parts) - 1e-12)).all()


def test_two_that_err_independently_are_better_together_and_the_better_one_counts_more():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(2000, 1))
    said = {"good": y + rng.normal(size=(1, 2000, 1)), "fair": y + 2 * rng.normal(size=(1, 2000, 1))}
    found = blend(said, pool_of(y, 5))
    assert found.weights["good"][0] == pytest.approx(0.8, abs=0.04)  # inversely as the variances, 1 and 4
    assert np.mean((found.predicted - y) ** 2) == pytest.approx(0.8, abs=0.06)


def test_what_is_said_of_a_fold_does_not_know_what_was_measured_there():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(40, 2))
    said = {name: y + rng.normal(size=(2, 40, 2)) for name in ("a", "b", "c")}
    pool = pool_of(y, 4, 2)
    for fold in pool.folds:
        other = y.copy()
        other[fold.left_out] = rng.normal(size=(len(fold.left_out), 2)) * 100
        changed = blend(said, replace(pool, rows=replace(pool.rows, y=other)))
        before = blend(said, pool).predicted[fold.repeat, fold.left_out]
        assert np.array_equal(changed.predicted[fold.repeat, fold.left_out], before)


def bent_and_straight():
    """Return a table of an output that a line describes best and of one that it does not describe."""
    return table(30, noise=0.4, straight=line, bent=lambda a, b: 4 * parabola(a, b))


def test_each_output_has_the_mean_that_suits_it_and_the_files_say_the_same(tmp_path):
    found = race(bent_and_straight(), "line", {"use": "curve", "degree": 6}, folds=5)
    report = found.report.race
    assert (report.chosen, found.report.plugin) == ("blend", "blend")
    assert report.weights["line"]["straight"] > report.weights["line"]["bent"]
    by_name = {one.name: one.error for one in report.candidates}
    assert by_name["blend"] < min(by_name["line"], by_name["curve"])
    assert "a weighted mean of 2 surrogates is chosen" in report.text[0]
    assert found.report.test["bent"].rmse == pytest.approx(
        next(one for one in report.candidates if one.name == "blend").outputs["bent"].rmse
    )
    found.surrogate.save(tmp_path)
    loaded = Surrogate.load(tmp_path)
    x = found.known.x[:7]
    assert np.array_equal(loaded.predict(x).mean, found.surrogate.predict(x).mean)
    members = [load_model(tmp_path / f"member-{i}.keras") for i in range(2)]
    shares = [[report.weights[name][output] for output in ("straight", "bent")] for name in report.weights]
    told = sum(np.array(w) * np.asarray(m(x.astype("float32"))) for w, m in zip(shares, members, strict=True))
    assert loaded.predict(x).mean == pytest.approx(told, rel=1e-5, abs=1e-5)


def test_a_user_can_do_without_a_blend():
    report = race(bent_and_straight(), "line", {"use": "curve", "degree": 6}, folds=5, blend=False).report.race
    assert report.chosen in ("line", "curve")
    assert report.weights is None


def test_a_blend_that_saves_next_to_nothing_is_not_chosen():
    report = race(table(40, y=line, noise=0.3), "line", {"use": "line"}, folds=5).report
    assert report.race.chosen == "line"


def two_members(weights, tmp_path):
    """Return a saved surrogate of two straight lines whose units differ."""
    import keras

    members = []
    for slope, y in ((1.0, [[1e6], [1e6 + 4]]), (3.0, [[1e6 + 1], [1e6 + 2]])):
        net = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
        net.set_weights([np.array([[slope]]), np.zeros(1)])
        members.append(Scaling.of(np.array([[0.0], [2.0]]), np.array(y)).wrap(net))
    scaling = Scaling.of(np.array([[0.0], [2.0]]), np.array([[1e6], [1e6 + 4]]))
    space = Space((Variable("x", lower=0, upper=2),))
    x, y = np.array([[0.0], [2.0]]), np.array([[1e6], [1e6 + 4]])
    surrogate = replace(Surrogate.trained(members, space, ("y",), scaling, x, y), weights=weights)
    surrogate.save(tmp_path)
    return surrogate


def test_members_in_units_of_their_own_count_as_much_as_their_weights_say(tmp_path):
    surrogate = two_members(np.array([[0.25], [0.75]]), tmp_path)
    x = np.array([[0.0], [0.5], [2.0]])
    each = np.column_stack([1e6 + 2 + 2 * (x - 1), 1e6 + 1.5 + 0.5 * 3 * (x - 1)])
    mean = each @ [0.25, 0.75]
    answer = surrogate.predict(x)
    assert answer.mean[:, 0] == pytest.approx(mean, rel=0, abs=1e-5)  # a hundred times finer than float32 at a million
    assert answer.std[:, 0] == pytest.approx(np.sqrt((each - mean[:, None]) ** 2 @ [0.25, 0.75]), abs=1e-5)


@pytest.mark.parametrize("weights", [[[1.0]], [[0.5], [0.6]], [[-0.5], [1.5]], "much", [[None], [1.0]]])
def test_weights_that_are_none_are_refused(weights, tmp_path):
    two_members(np.array([[0.25], [0.75]]), tmp_path)
    path = tmp_path / "meta.json"
    meta = {k: v for k, v in json.loads(path.read_text()).items() if k != KEY} | {"weights": weights}
    path.write_text(json.dumps(seal(meta)))
    with pytest.raises(RunStoreError, match=r"'weights' holds .* expected 2 rows of 1 numbers"):
        Surrogate.load(tmp_path)


@pytest.mark.parametrize(
    ("ratios", "saved"),
    [([0.5, 1.0], 1 - np.sqrt(0.5)), ([1.0, 1.0], 0.0), ([0.9], 0.1), ([0.2, 1.1], 0.0)],
)
def test_an_output_that_is_known_well_counts_as_much_as_one_that_is_not(ratios, saved):
    best = np.tile([[0.01, 1.0][: len(ratios)]], (5, 1)) ** 2
    assert saved_by_blend(best * np.square(ratios), best) == pytest.approx(saved)


def test_a_blend_that_learns_further_rows_keeps_its_parts_and_weights():
    found = race(bent_and_straight(), "line", {"use": "curve", "degree": 6}, folds=5)
    assert found.report.race.chosen == "blend"
    candidates = ["line", {"use": "curve", "degree": 6}]
    by = Trainers(Contest(candidates=candidates, folds=5, repeats=1), GRID, Training(), REGISTRY)
    more = table(20, noise=0.4, seed=1, straight=line, bent=lambda a, b: 4 * parabola(a, b))
    data = with_rows(found, more.x, more.y, more.space)
    after = trained_on(found, data, by, Context(0))
    assert len(after.known.x) == 50
    assert np.array_equal(after.surrogate.weights, found.surrogate.weights)
    alone = [fit_alone(data, name) for name in candidates]
    shares = [list(found.report.race.weights[name].values()) for name in found.report.race.weights]
    by_name = dict(zip(("line", "curve"), alone, strict=True))
    told = sum(w * by_name[name] for name, w in zip(found.report.race.weights, np.array(shares), strict=True))
    assert after.surrogate.predict(data.x).mean == pytest.approx(told, abs=1e-4)


def fit_alone(data, candidate):
    """Return what one candidate answers that has learnt all rows."""
    return race(replace(data, split=None), candidate, folds=5, blend=False).surrogate.predict(data.x).mean
