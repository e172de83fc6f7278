"""A race of surrogates: every row is left out once, the same folds for all, and the best is trained on all rows."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from sklearn.linear_model import LinearRegression

from invdesign_core.context import CandidateStarted, Context
from invdesign_core.data.data import Data, together
from invdesign_core.designs.comparison import Standing, choose, project, words
from invdesign_core.errors import ConfigError, DataError, PluginError, RunStoreError, TrainingError
from invdesign_core.plugin import Race, SurrogateBuilder
from invdesign_core.registry import Entry, Provider, Registry
from invdesign_core.surrogate.folds import make_folds, plan_folds, thinned
from invdesign_core.surrogate.settings import Training
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.race import learn, pool_of
from invdesign_core.workflow.race_memory import RaceMemory
from invdesign_core.workflow.run import run_experiment

OURS = Registry.discover()


@keras.saving.register_keras_serializable("races")
class Solved(keras.Model):
    """Least squares on powers of the inputs, as a Keras model."""

    def __init__(self, outputs, degree, **kwargs):
        super().__init__(**kwargs)
        self.dense, self.outputs_, self.degree = keras.layers.Dense(outputs), outputs, degree

    def get_config(self):
        return super().get_config() | {"outputs": self.outputs_, "degree": self.degree}

    def call(self, x):
        return self.dense(ops.concatenate([x**k for k in range(1, self.degree + 1)], axis=1))

    def fit(self, x, y, sample_weight=None):
        powers = np.concatenate([x**k for k in range(1, self.degree + 1)], axis=1)
        found = np.linalg.lstsq(np.column_stack([powers, np.ones(len(x))]), y, rcond=None)[0]
        self(x[:1].astype("float32"))
        self.dense.set_weights([found[:-1], found[-1]])


class Line(SurrogateBuilder):
    """Linear regression."""

    name = "line"
    closed_form: ClassVar[bool] = True

    def build(self, data):
        return Solved(len(data.outputs), 1)


class Curve(SurrogateBuilder):
    """Least squares with squares."""

    name = "curve"
    closed_form: ClassVar[bool] = True
    degree: int = 2

    def build(self, data):
        return Solved(len(data.outputs), self.degree)


class Memory(SurrogateBuilder):
    """The nearest row, without gradients."""

    name = "memory"
    differentiable: ClassVar[bool] = False

    def build(self, data):
        from sklearn.neighbors import KNeighborsRegressor

        return KNeighborsRegressor(1)


class Broken(SurrogateBuilder):
    """Raises while it is built."""

    name = "broken"

    def build(self, data):
        raise ValueError("no such luck")


class Net(SurrogateBuilder):
    """A tiny network whose rate is to be chosen; at 0 it learns nothing."""

    name = "net"

    def build(self, hp, data):
        model = keras.Sequential([keras.Input((data.space.width,)), keras.layers.Dense(len(data.outputs))])
        model.compile(keras.optimizers.Adam(hp.Choice("rate", [0.0, 0.1])), "mse")
        return model

    def recipe(self, rows):
        return {"epochs": 200, "schedule": "cosine", "restore_best": False, "members": 2}


class Contest(Race):
    """A race of the surrogates above."""

    name = "contest"
    candidates: list[str | dict[str, Any]] = ["line", "curve"]  # noqa: RUF012


PLUGINS = (Line, Curve, Memory, Broken, Net, Contest)
REGISTRY = Registry([*OURS.entries, *(Entry(p, Provider("races", "1", "races")) for p in PLUGINS)])
GRID = OURS.create("tuner", "grid-search", {})


def table(n=42, noise=0.0, seed=0, **outputs):
    """Return a table of two inputs; each output is a function of them."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.uniform(-1, 1, (n, 2)), columns=["a", "b"])
    for name, f in outputs.items():
        frame[name] = f(frame["a"], frame["b"]) + noise * rng.standard_normal(n)
    return Data.from_frame(frame, list(outputs))


def line(a, b):
    return 3 * a - b + 5


def parabola(a, b):
    return a**2 + b


def race(data, *candidates, training=None, ctx=None, memory=None, asked=(), **options):
    ctx, options = ctx or Context(0), {"learning_curve": False, "folds": 3, "repeats": 1} | options
    contest = Contest(candidates=list(candidates), **options) if candidates else Contest(**options)
    training = training or Training()
    return learn(data, contest, GRID, training, ctx, registry=REGISTRY, memory=memory, asked=asked)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 7), st.integers(1, 3), st.booleans())
def test_every_row_is_left_out_once_in_each_repeat_and_what_belongs_together_stays_together(seed, k, repeats, grouped):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(20, 60))
    x = rng.integers(0, 4, (n, 2)).astype(float) if grouped else rng.uniform(size=(n, 2))
    group = together(x, rng.integers(0, 12, n) if grouped else None)
    rows = np.sort(rng.permutation(n)[: n - 3])
    if len(np.unique(group[rows])) < k:
        with pytest.raises(DataError, match="distinct designs or groups"):
            make_folds(group, rows, k, repeats, Context(seed))
        return
    folds = make_folds(group, rows, k, repeats, Context(seed))
    assert len(folds) == k * repeats
    for repeat in range(repeats):
        mine = [fold for fold in folds if fold.repeat == repeat]
        assert np.array_equal(np.sort(np.concatenate([fold.left_out for fold in mine])), rows)
    for fold in folds:
        assert np.array_equal(np.sort(np.concatenate([fold.train, fold.left_out])), rows)
        assert not set(group[fold.train]) & set(group[fold.left_out])
    if not grouped:
        sizes = [len(fold.left_out) for fold in folds]
        assert max(sizes) - min(sizes) <= 1
    half, quarter = (thinned(group, rows, share, Context(seed), 0) for share in (0.5, 0.25))
    assert set(quarter) <= set(half) <= set(rows)


def test_few_rows_are_dealt_out_more_often_and_many_to_fewer_folds():
    plans = [plan_folds(count) for count in (3, 30, 300, 3000, 30000)]
    trainings = [folds * repeats for folds, repeats in plans[1:]]
    assert plans[0][0] == 3
    assert trainings == sorted(trainings, reverse=True)
    assert plan_folds(30, 4, 1) == (4, 1)


def test_the_error_is_that_of_the_rows_left_out_and_all_rows_teach_the_winner():
    data = table(y=parabola, noise=0.2)
    model = race(data, "line", folds=4, repeats=2)
    pool = pool_of(data, Contest(folds=4, repeats=2), Training(), Context(0))
    wrong = []
    for fold in pool.folds:
        theirs = LinearRegression().fit(data.x[fold.train], data.y[fold.train])
        wrong.append(theirs.predict(data.x[fold.left_out]) - data.y[fold.left_out])
    metrics = model.report.test["y"]
    assert metrics.rmse == pytest.approx(np.sqrt(np.mean(np.concatenate(wrong) ** 2)), rel=1e-4)
    assert metrics.rows == 42
    assert model.report.rows == {"train": 42, "validation": 0, "test": 0, "left out": 42}
    theirs = LinearRegression().fit(data.x, data.y)
    assert np.allclose(model.surrogate.predict(data.x).mean, theirs.predict(data.x), atol=1e-4)
    assert model.known.held_out is None


def test_the_candidate_with_the_smaller_error_out_of_fold_wins():
    report = race(table(40, y=parabola, noise=0.05), folds=5, learning_curve=True).report
    assert (report.plugin, report.race.chosen) == ("curve", "curve")
    assert [one.name for one in report.race.candidates] == ["curve", "line", "mean"]
    assert "curve is clearly ahead" in report.race.text[0]
    errors = [one.error for one in report.race.candidates]
    assert errors == sorted(errors)
    assert report.race.curve.rows == [8, 16, 32]
    assert report.race.curve.error[-1] == report.race.candidates[0].error
    assert report.race.text[-1] == report.race.curve.text
    assert errors[-1] == pytest.approx(1, abs=0.15)  # the mean's error is the standard deviation


def test_a_simple_candidate_that_is_as_good_is_named():
    report = race(table(40, y=line, noise=0.3), folds=5).report
    said = " ".join(report.race.text)
    assert "line" in said
    assert "as good within the noise" in said or report.race.chosen == "line"


def test_only_the_outputs_with_a_target_decide():
    data = table(straight=line, bent=parabola, noise=0.02)
    flat = {"use": "curve", "degree": 1}
    assert race(data, flat, "curve", asked=["bent"]).report.race.chosen == "curve-2"
    report = race(data, flat, "curve", asked=["straight"]).report
    assert report.race.outputs == ["straight"]
    assert set(report.test) == {"straight", "bent"}


def test_a_candidate_that_fails_is_out_with_its_reason():
    told = []
    report = race(table(y=line), "broken", "line", ctx=Context(0, emit=told.append)).report
    out = report.race.candidates[-1]
    assert (out.name, out.role) == ("broken", "out")
    assert "no such luck" in out.message
    assert any("broken is out of the race" in event.data["text"] for event in told if event.kind == "note")
    with pytest.raises(TrainingError, match=r"no candidate of the race can be used: broken: .*no such luck"):
        race(table(y=line), "broken", "memory")


def test_what_has_no_gradients_is_a_yardstick_even_where_it_is_ahead():
    def steps(a, b):
        return np.where((4 * a).astype(int) % 2 == 0, 1.0, -1.0)

    report = race(table(n=400, y=steps), "line", "memory").report
    first, *_ = report.race.candidates
    assert (first.name, first.role, report.race.chosen) == ("memory", "yardstick", "line")
    assert "--surrogate memory" in " ".join(report.race.text)
    with pytest.raises(ConfigError, match="no candidate is differentiable"):
        race(table(y=line), "memory")


def test_an_output_that_the_inputs_tell_nothing_about_is_warned_of():
    told = []
    data = table(n=60, y=line, chance=lambda a, b: 0 * a, noise=0.1)
    race(data, ctx=Context(0, emit=told.append))
    warned = [event.data["text"] for event in told if event.kind == "warning"]
    assert any("'chance' is predicted no better than by its mean" in text for text in warned)
    assert not any("'y'" in text for text in warned)


@pytest.mark.long
def test_hyper_parameters_are_chosen_by_the_error_out_of_fold_and_networks_are_several():
    model = race(table(y=line), "net")
    (net, mean) = model.report.race.candidates
    assert (net.best, net.members) == ({"rate": 0.1}, 2)
    assert net.error < 0.3 < mean.error
    assert model.report.members == 2
    assert model.report.best == {"rate": 0.1}


def test_rows_that_the_dataset_holds_out_are_the_test_and_teach_nobody():
    data = table(y=parabola, noise=0.1)
    split = np.where(np.arange(42) < 12, "test", np.where(np.arange(42) < 20, "validation", "train"))
    model = race(replace(data, split=split))
    assert model.report.rows == {"train": 30, "validation": 0, "test": 12}
    assert model.report.race.rows == 30
    assert model.report.test["y"].rows == 12
    assert len(model.known.held_out.x) == 12
    asked_for = pool_of(data, Contest(), Training(test=0.2), Context(0))
    assert (len(asked_for.rows.test), len(asked_for.rows.train)) == (8, 34)


def test_repeated_designs_and_groups_stay_on_one_side():
    data = table(n=30, y=line, noise=0.1)
    twice = Data.from_frame(pd.concat([data.frame, data.frame], ignore_index=True), ["y"])
    for fold in pool_of(twice, Contest(), Training(), Context(0)).folds:
        assert {row % 30 for row in fold.train}.isdisjoint({row % 30 for row in fold.left_out})


def test_finished_candidates_are_not_run_again(tmp_path):
    data = table(y=parabola, noise=0.1)
    first = race(data, memory=RaceMemory(tmp_path / "race"))
    told = []
    again = race(data, memory=RaceMemory(tmp_path / "race"), ctx=Context(0, emit=told.append))
    assert not any(isinstance(event, CandidateStarted) for event in told)
    assert again.report == first.report
    x = data.x[:5]
    assert np.array_equal(again.surrogate.predict(x).mean, first.surrogate.predict(x).mean)
    kept = tmp_path / "race" / "0.json"
    kept.write_text(kept.read_text().replace("line", "lime"))
    with pytest.raises(RunStoreError, match="changed after it was written"):
        race(data, memory=RaceMemory(tmp_path / "race"))


@pytest.mark.long
def test_a_run_resumes_its_race_with_the_same_result(tmp_path):
    path = tmp_path / "table.csv"
    table(y=parabola, noise=0.1).frame.to_csv(path, index=False)
    experiment = Experiment(
        dataset={"use": "table", "path": str(path), "outputs": ["y"]},
        surrogate={"use": "contest", "learning_curve": False},
        solver={"starts": 4},
    )

    def stop(event):
        if isinstance(event, CandidateStarted) and event.number == 2:
            raise KeyboardInterrupt

    run = {"registry": REGISTRY, "targets": ["y=0.5"]}
    with pytest.raises(KeyboardInterrupt):
        run_experiment(experiment, out=tmp_path / "run", ctx=Context(emit=stop), **run)
    started = []
    watch = Context(emit=lambda event: started.append(event) if isinstance(event, CandidateStarted) else None)
    resumed = run_experiment(experiment, out=tmp_path / "run", resume=True, ctx=watch, **run)
    assert [event.name for event in started] == ["curve"]
    whole = run_experiment(experiment, out=tmp_path / "whole", **run)
    for a, b in zip(resumed.report.designs, whole.report.designs, strict=True):
        assert a == b
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    assert saved["surrogate"]["race"]["chosen"] == "curve"
    other = experiment.model_copy(update={"seed": 1})
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(RunStoreError, match="seed was 0, now 1"):
        run_experiment(other, out=tmp_path / "run", resume=True, **run)


def test_another_metric_to_tune_by_is_refused_as_nothing_would_follow_it():
    tuner = OURS.create("tuner", "grid-search", {"objective": "val_mae"})
    with pytest.raises(ConfigError, match="compared by the error on rows left out, and no metric reports"):
        learn(table(y=line), Contest(), tuner, Training(), Context(0), registry=REGISTRY)


def test_a_race_within_a_race_and_unknown_candidates_are_refused():
    with pytest.raises(ConfigError, match="is a race itself"):
        race(table(y=line), "contest")
    with pytest.raises(PluginError, match="there is no surrogate plugin 'lines'"):
        race(table(y=line), "lines")


def test_the_estimator_says_what_raced_and_keeps_it():
    data = table(y=parabola, noise=0.1)
    model = InverseDesign(surrogate={"use": "contest", "learning_curve": False}, registry=REGISTRY).fit(
        data.frame[["a", "b"]], data.frame["y"]
    )
    assert model.race_.chosen == "curve"
    assert model.report_.plugin == "curve"
    assert model.score(data.frame[["a", "b"]], data.frame["y"]) > 0.9
    assert bool(model.invert({"y": 0.5}).designs["met"][0])


@pytest.mark.parametrize(("power", "less"), [(0.5, 1 - 2**-0.5), (1.0, 0.5), (0.0, None)])
def test_a_learning_curve_says_what_twice_the_rows_would_bring(power, less):
    rows = np.array([20, 40, 80])
    errors = (rows**-power)[:, None] ** 2 * np.linspace(0.9, 1.1, 5)
    curve = project(rows, errors, 5)
    if less is None:
        assert curve.text == "twice the rows would bring little"
    else:
        assert curve.less == pytest.approx(less)
        assert f"about {100 * less:.0f} % less error" in curve.text


def test_a_learning_curve_that_is_all_noise_says_so():
    errors = np.random.default_rng(0).lognormal(0, 1.5, (3, 4))
    curve = project([5, 10, 20], errors, 4)
    assert curve.less is None
    assert "can't be said" in curve.text
    assert "can't be said" in project([5, 10, 20], errors[:, :1], 2).text


def test_words_tell_a_lead_from_noise():
    rng = np.random.default_rng(0)
    base = rng.uniform(0.9, 1.1, 5)
    simple, complex_ = Standing("ridge", base), Standing("mlp", base - 0.001 * rng.standard_normal(5) - 1e-6)
    chosen = choose([simple, complex_])
    text = " ".join(words([simple, complex_], chosen, 5))
    assert "within the noise" in text
    far = Standing("mlp", base / 4)
    assert words([simple, far], choose([simple, far]), 5) == [
        "mlp is clearly ahead: its error is 50 % smaller than that of the next, ridge"
    ]
    equal = Standing("mlp", base)
    assert choose([simple, equal]) is simple


def test_the_command_line_says_what_would_race_and_what_came_of_it(invdesign, tmp_path):
    table(y=parabola, noise=0.1).frame.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "mine.toml").write_text(
        'dataset = { use = "table", path = "table.csv", outputs = ["y"] }\n'
        'surrogate = { use = "auto", candidates = ["ridge", "gaussian-process"], folds = 3, repeats = 1 }\n'
        "solver = { starts = 4 }\ntargets = { y = 0.5 }\n"
    )
    checked = invdesign("validate", "mine.toml")
    assert "race of ridge, gaussian-process by 3 folds" in checked.out
    done = invdesign("run", "mine.toml")
    assert done.code == 0, done.err
    assert "surrogates compared by 3-fold cross-validation" in done.out
    assert "42 rows, each left out in turn; trained on all of them" in done.out
    assert "predicted y ± 0." in done.out
    assert "comparing surrogates: gaussian-process (2 of 2)" in done.err
    named = invdesign("run", "mine.toml", "--surrogate", "ridge", "--json")
    assert (named.json["surrogate"]["plugin"], named.json["surrogate"]["race"]) == ("ridge", None)
    assert named.json["surrogate"]["rows"]["test"] == 4
