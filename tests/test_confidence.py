"""Intervals at designs: a second model of another family tells how far the answers can be trusted."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import fn, of_an_earlier_version

from invdesign_core.designs.intervals import Doubt, _excess
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.second_model import SecondModel
from invdesign_core.targets import Target, Targets
from invdesign_core.workflow.coverage import chance_reports, run_coverage
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.run import run_experiment
from invdesign_core.workflow.solve import solve_model
from invdesign_plugins.surrogates.process_fit import Hyperparameters
from invdesign_plugins.surrogates.process_local import LocalProcess
from invdesign_plugins.surrogates.process_model import GaussianProcess


def wave(n, seed=0, noise=0.02):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 2))
    return X, np.sin(2 * X[:, 0]) + X[:, 1] ** 2 + noise * rng.normal(size=n)


def table(folder, n=50):
    X, y = wave(n)
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": y})
    frame.to_csv(folder / "rows.csv", index=False)
    return frame


# The process beside the surrogate


def rows(n=40):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 2)).astype(np.float32).astype(np.float64)
    y = np.stack([np.sin(2 * x[:, 0]) + x[:, 1], x[:, 0] * x[:, 1]], axis=1) + 0.05 * rng.normal(size=(n, 2))
    y[::7, 1] = np.nan
    return x, y


def test_what_a_process_says_without_a_row_is_what_it_says_when_it_never_saw_that_row():
    x, y = rows()
    whole = GaussianProcess(2, 2).fit(x, y)
    mean, std = whole.left_out(x)
    lengths, ratio, variance = (
        keras.ops.convert_to_numpy(w.value) for w in (whole.lengths, whole.noise_ratio, whole.variance)
    )
    for row in (3, 8):
        without = GaussianProcess(2, 2)
        without._search = lambda *given: [
            Hyperparameters(*each) for each in zip(lengths, map(float, ratio), strict=True)
        ]
        without.fit(np.delete(x, row, 0), np.delete(y, row, 0))
        expected, deviation = without.predict(x[row : row + 1])
        np.testing.assert_allclose(mean[row], expected[0], atol=1e-5)
        scale = np.sqrt(variance / keras.ops.convert_to_numpy(without.variance.value))
        np.testing.assert_allclose(std[row], deviation[0] * scale, rtol=1e-3)


def test_a_process_of_the_nearest_rows_is_the_whole_process_where_these_are_all_rows():
    x, y = rows()
    whole = GaussianProcess(2, 2).fit(x, y)
    local = LocalProcess(2, 2, neighbours=100)
    local.start_from(whole)
    local.fit(x, y)
    new = np.random.default_rng(2).normal(size=(10, 2))
    for ours, theirs in zip(local.predict(new), whole.predict(new), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.long
def test_a_process_of_the_nearest_rows_answers_the_same_compiled_and_saved(tmp_path):
    x, y = rows()
    local = LocalProcess(2, 2, neighbours=12).fit(x, y)
    new = np.random.default_rng(2).normal(size=(10, 2)).astype(np.float32)
    expected = local.predict(new)
    for ours, theirs in zip(local(new), expected, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(ours), theirs, atol=1e-5)
    with backend.lean():
        local.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(new)[1], expected[1])
    assert local.left_out(x)[1].mean() > local.predict(x)[1].mean(), "a row that was learnt from is better known"


# Half-widths and probabilities


def second(ratios=None, m=1):
    ratios = np.random.default_rng(0).normal(size=(200, m)) if ratios is None else ratios
    return SecondModel(None, "made-up", np.asarray(ratios, dtype=float), np.full(m, 0.1))


def doubt(centre=0.0, other=0.0, std=0.1, own=0.0, noise=0.1, beyond=1000):
    def one(value):
        return np.array([[value]], dtype=float)

    return Doubt(one(centre), one(own), one(other), one(std), one(noise), np.array([[beyond]]), one(other))


def half(of, level=0.9):
    return [float(part[0, 0]) for part in of.half_widths(second(), level)]


def test_an_interval_is_wider_for_all_that_makes_an_answer_less_sure():
    true, new = half(doubt())
    assert new > true > 0
    for less_sure in (doubt(std=0.2), doubt(other=0.2), doubt(own=0.2), doubt(beyond=2)):
        assert half(less_sure)[0] > true
        assert half(less_sure)[1] > new
    assert half(doubt(noise=0.3))[0] == pytest.approx(true)
    assert half(doubt(noise=0.3))[1] > new
    assert half(doubt(), 0.95)[0] > true > half(doubt(), 0.8)[0]


def test_half_widths_are_those_of_a_normal_distribution_where_nothing_says_otherwise():
    quantile = second().quantile(0.9)[0]
    true, new = half(doubt(beyond=10**9))
    assert true == pytest.approx(max(quantile, 1.6449) * 0.1, rel=1e-3)
    assert new == pytest.approx(max(quantile, 1.6449) * 0.1 * np.sqrt(2), rel=1e-3)


def test_the_quantile_counts_the_rows_and_too_few_are_said():
    found = second(np.arange(1, 20)[:, None])  # of 19 rows the 18th: 20 * 0.9
    assert found.quantile(0.9)[0] == 18
    assert second(np.ones((8, 1))).quantile(0.9)[0] == np.inf
    assert second(np.ones((9, 1))).quantile(0.9)[0] == 1


def probability(of, **target):
    asked = Targets.build([{"y": Target(**target)}], ("y",), np.array([1.0]))
    return float(of.probability(second(), asked, np.zeros(1, dtype=int))[0])


def test_a_target_is_met_more_probably_where_it_is_wider_and_the_answer_surer():
    near = probability(doubt(), lower=0, upper=0, tolerance=0.1)
    assert probability(doubt(), lower=0, upper=0, tolerance=0.2) > near
    assert probability(doubt(noise=0.3), lower=0, upper=0, tolerance=0.1) < near
    assert probability(doubt(other=0.3), lower=0, upper=0, tolerance=0.1) < near
    assert probability(doubt(), lower=-np.inf, upper=0) == pytest.approx(0.5, abs=1e-3)
    assert np.isnan(probability(doubt(), goal="max"))


def test_many_errors_tell_of_more_noise_than_a_likelihood_does():
    from invdesign_core.workflow.confidence import _at_least

    errors = np.random.default_rng(0).normal(size=(600, 3)) * [0.11, 0.05, 0.11]
    errors[7, 1] = 1e6  # one outlier is not noise
    said, std = np.array([0.1, 0.1, 1e-4]), np.zeros((600, 3))
    found = _at_least(said, errors, std)
    assert found[:2] == pytest.approx([0.11, 0.1], rel=0.06)
    assert found[2] == 1e-4, "a model that does not suit a function without noise errs without noise"
    assert (_at_least(said, errors[:100], std[:100]) == said).all(), "few errors tell less than it does"
    assert _at_least(said, errors, std + 0.2) == pytest.approx(said), "a model that is unsure errs without noise"


def test_probabilities_are_compared_with_what_came_true_in_bins():
    said, found = (
        np.r_[np.full(60, 0.95), np.full(60, 0.35), np.full(10, 0.1)],
        np.r_[np.full(60, 0.9), np.full(70, 0.3)],
    )
    bins, gap = chance_reports(said, found)
    assert [one.designs for one in bins] == [10, 60, 60]
    assert gap == pytest.approx(0.05), "a bin of ten designs tells nothing"


# Runs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a small table, in whose folder the second model is."""

    folder = tmp_path_factory.mktemp("sure")
    table(folder)
    experiment = Experiment(
        dataset={"use": "table", "path": "rows.csv", "outputs": ["y"]},
        surrogate="ridge",
        solver={"use": "least-squares", "starts": 8},
        folder=folder,
    )
    return run_experiment(experiment, ["y=0.5"], folder / "out"), folder / "out"


def test_a_run_tells_of_every_design_between_which_values_it_lies(run):
    result, folder = run
    designs = pd.read_csv(folder / "solve" / "1" / "designs.csv", keep_default_na=False)
    assert (designs["low_new.y"] < designs["low.y"]).all()
    assert (designs["low.y"] < designs["prediction.y"]).all()
    assert (designs["high.y"] < designs["high_new.y"]).all()
    assert designs["probability"].between(0, 1).all()
    assert ((designs["no_guarantee"] == "") == (designs["guarantee"].astype(str) == "True")).all()
    best = result.report.designs[0]
    assert best.interval["y"] == pytest.approx((designs["low.y"][0], designs["high.y"][0]))
    assert best.probability == pytest.approx(designs["probability"][0])
    assert best.probability >= round(designs["probability"].max(), 2) - 0.005, "the surest comes first"
    written = json.loads((folder / "solve" / "1" / "intervals.json").read_text())
    assert written["level"] == result.report.level == 0.9
    assert written["second_model"] == "gaussian-process"
    assert written["designs"][0]["outputs"]["y"]["true_mean"] == list(best.interval["y"])
    assert written["without_guarantee"] == result.report.without_guarantee


def test_designs_come_in_the_order_of_their_probability(run):
    varied = 0
    for target in ("y=0.2", "y<=0.1", "y=0.5 tolerance 0.02", "y=0.3..0.4"):
        designs = solve_model(
            run[1], [target], overrides={"design": {"designs": 12}, "solver": {"starts": 64}}
        ).report.designs
        told = [round(one.probability, 2) for one in designs]
        assert told == sorted(told, reverse=True), target
        varied += len(set(told)) > 1
    assert varied, "somewhere there was something to put in order"


def test_a_solve_has_the_intervals_of_its_run_and_narrower_ones_at_a_lower_level(run):
    result, folder = run
    same = solve_model(folder, ["y=0.5"]).report
    assert same.designs[0].interval == result.report.designs[0].interval
    less = solve_model(folder, ["y=0.5"], overrides={"confidence": {"level": 0.5}}).report
    by_inputs = {tuple(design.inputs.values()): design for design in less.designs}
    for design in same.designs:
        other = by_inputs.get(tuple(design.inputs.values()))
        assert other is None or other.interval["y"][0] > design.interval["y"][0]
    assert less.level == 0.5


def test_without_a_second_model_there_are_no_intervals_and_that_is_said(run, tmp_path):
    import shutil

    shutil.copytree(run[1], tmp_path / "old")
    shutil.rmtree(of_an_earlier_version(tmp_path / "old") / "second")
    old = solve_model(tmp_path / "old", ["y=0.5"]).report
    assert old.level is None
    assert old.designs[0].interval is None
    assert any("no intervals" in note for note in old.notes)
    unasked = solve_model(run[1], ["y=0.5"], overrides={"confidence": {"model": "none"}}).report
    assert unasked.designs[0].probability is None
    assert not any("no intervals" in note for note in unasked.notes), "nobody asked for any"


def test_a_table_of_targets_has_them_too(run, tmp_path):
    from invdesign_core.workflow.load import prepare
    from invdesign_core.workflow.solve import solve_table

    report = solve_table(prepare(run[1]), pd.DataFrame({"y": [0.2, 0.5]}), tmp_path / "designs.csv")
    designs = pd.read_csv(tmp_path / "designs.csv")
    assert (designs["low.y"] < designs["high.y"]).all()
    assert report.without_guarantee == (~designs["guarantee"]).sum()


def test_a_model_file_has_intervals_where_a_table_comes_with_it_and_else_says_that_it_has_none(tmp_path):
    model = fn(2, lambda x: keras.ops.sin(2 * x[:, :1]) + x[:, 1:] ** 2)
    with backend.lean():
        model.save(tmp_path / "mine.keras")
    frame = table(tmp_path)
    bare = solve_model(
        tmp_path / "mine.keras", ["y=0.5"], bounds={"a": (-1, 1), "b": (-1, 1)}, inputs=["a", "b"], outputs=["y"]
    )
    assert bare.report.designs[0].interval is None
    assert any("no intervals" in note and "--table" in note for note in bare.report.notes)
    beside = solve_model(tmp_path / "mine.keras", ["y=0.5"], table=frame, inputs=["a", "b"], outputs=["y"]).report
    low, high = beside.designs[0].interval["y"]
    x = [beside.designs[0].inputs[name] for name in ("a", "b")]
    assert low < np.sin(2 * x[0]) + x[1] ** 2 < high


def test_far_from_all_rows_and_beyond_all_measured_outputs_there_is_no_guarantee():
    X, y = wave(60)
    model = InverseDesign(surrogate="ridge", bounds={"x1": (3, 4)}, solver={"use": "least-squares", "starts": 8}).fit(
        X, y
    )
    with pytest.warns(UserWarning, match="beyond the data"):
        designs = model.invert({"y": 0.5}).designs
    assert (designs["no_guarantee"] == "outside the data").all()
    inside = InverseDesign(surrogate="ridge", solver={"use": "least-squares", "starts": 8}).fit(X, y)
    designs = inside.invert({"y": "max"}).designs
    assert designs["no_guarantee"][0] in ("beyond all measured outputs", "the second model disagrees")
    assert designs["probability"].isna().all(), "a maximum is never met"


def test_an_estimator_trains_the_second_model_once_and_keeps_it(tmp_path):
    X, y = wave(50)
    model = InverseDesign(surrogate="ridge", solver={"use": "least-squares", "starts": 8}).fit(X, y)
    assert not hasattr(model, "second_"), "not before it is needed"
    before = model.invert({"y": 0.5}).designs
    model.save(tmp_path / "kept")
    for copy in (InverseDesign.load(tmp_path / "kept"), pickle.loads(pickle.dumps(model))):
        assert copy.second_.plugin == "gaussian-process"
        np.testing.assert_allclose(copy.invert({"y": 0.5}).designs["high_new.y"], before["high_new.y"])
    off = InverseDesign(surrogate="ridge", confidence={"model": "none"}, solver={"use": "least-squares", "starts": 8})
    assert "low.y" not in off.fit(X, y).invert({"y": 0.5}).designs


def test_several_outputs_have_wider_intervals_that_hold_together():
    X, y = wave(60)
    outputs = pd.DataFrame({"p": y, "q": X[:, 0] - X[:, 1]})
    model = InverseDesign(surrogate="ridge", solver={"use": "least-squares", "starts": 8}).fit(X, outputs)
    designs = model.invert({"p": ">=0.2", "q": ">=0.1"}).designs
    for name in ("p", "q"):
        assert (designs[f"low_joint.{name}"] < designs[f"low.{name}"]).all()
        assert (designs[f"high_new_joint.{name}"] > designs[f"high_new.{name}"]).all()


@pytest.mark.long
def test_beside_a_process_stand_networks_and_the_process_tells_how_sure_it_is():
    X, y = wave(40)
    model = InverseDesign(surrogate="gaussian-process", solver={"use": "least-squares", "starts": 8}).fit(X, y)
    designs = model.invert({"y": 0.5}).designs
    assert model.second_.plugin == "mlp"
    assert model.second_.searched_knows
    width = designs["high.y"] - designs["low.y"]
    assert (width >= 2 * 1.64 * designs["spread.y"]).all()


@pytest.mark.parametrize("model", ["auto-ml", "gradient-boosting"])
def test_what_cannot_be_a_second_model_is_refused_before_anything_is_trained(invdesign, tmp_path, model):
    table(tmp_path)
    done = invdesign(
        "run",
        "--dataset",
        "table",
        "--set",
        "dataset.path=rows.csv",
        "--set",
        "dataset.outputs=['y']",
        "--set",
        f"confidence.model={model}",
    )
    assert done.code in (2, 3)
    assert model in done.err


# The measure


@pytest.mark.long
def test_the_benchmark_measures_how_often_intervals_hold():
    experiment = Experiment(
        dataset={"use": "test-function", "function": "otl-circuit", "rows": 40, "held_out": 400},
        surrogate="ridge",
        design={"designs": 2},
        solver={"use": "least-squares", "starts": 8},
    )
    (task,) = run_coverage([experiment], seeds=1, targets=5, noise=0.02).tasks
    assert task.targets == 5
    assert task.second == "gaussian-process"
    assert task.ordinary.designs <= 10
    assert task.ordinary.all_new > 0.5
    assert 0 < task.ordinary.width < 3
    assert task.extreme.designs == 4 * 2, "a hundredth of 400 rows"
    sure = [round(place.designs * (1 - place.without_guarantee)) for place in (task.ordinary, task.extreme)]
    assert sum(one.designs for one in task.chances) == sum(sure) > 0


def test_formulas_are_the_published_ones():
    from invdesign_plugins.datasets.test_function import FORMULAS

    middle = {name: {key: sum(ends) / 2 for key, ends in formula.ranges.items()} for name, formula in FORMULAS.items()}
    found = {name: float(FORMULAS[name].value(**inputs)) for name, inputs in middle.items()}
    assert found == pytest.approx({"borehole": 70.0, "otl-circuit": 5.0, "piston": 0.46}, rel=0.3)
    assert replace(FORMULAS["piston"]).output == "time"


def test_where_rows_are_too_few_for_intervals_there_is_no_probability_either(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.random(8), "b": rng.random(8)})
    frame.assign(y=frame["a"] + frame["b"]).to_csv(tmp_path / "few.csv", index=False)
    values = {
        "dataset": {"use": "table", "path": "few.csv", "outputs": ["y"]},
        "surrogate": "ridge",
        "training": {"test": 0.0},
        "solver": {"use": "least-squares", "starts": 8},
    }
    report = run_experiment(Experiment.from_mapping(values, folder=tmp_path), ["y=0.9"], tmp_path / "out").report
    for design in report.designs:
        assert design.no_guarantee == "too few rows for this level"
        assert design.interval["y"] == (None, None)
        assert design.probability is None


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_prediction_counts_as_beyond_all_outputs_where_it_can_be_told_from_them(noise):
    y = np.array([[0.0], [0.5], [1.0]])
    centre = np.array([[0.5], [1.0 + 0.5 * noise], [1.0 + 5 * noise + 1e-3], [-0.5]])
    assert (_excess(centre, y) > 2 * noise).ravel().tolist() == [False, False, True, True]
    assert not (_excess(centre, np.full((3, 1), np.nan)) > 0).any()
