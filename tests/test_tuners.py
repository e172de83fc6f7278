"""Tuners on keras-tuner's oracles: what is tried, how often, and what happens when it fails."""

from __future__ import annotations

import keras_tuner as kt
import numpy as np
import pytest

from invdesign_core.context import Context
from invdesign_core.data.data import Data, split_rows
from invdesign_core.errors import TrainingError
from invdesign_core.plugin import SurrogateBuilder, TrialResult
from invdesign_core.registry import Registry
from invdesign_core.surrogate.evaluate import Evaluator
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.trials import TrialTable

REGISTRY = Registry.discover()
TUNERS = ["grid-search", "random-search", "bayesian"]


class Watched:
    """A context that remembers the trials that were trained, and the notes."""

    def __init__(self, seed=0, **limits):
        self.trained, self.notes = [], []
        self.ctx = Context(seed, emit=self._take, **limits)

    def _take(self, event):
        if event.kind == "trial":
            self.trained.append(dict(event.data["values"]))
        elif event.kind == "note":
            self.notes.append(event.data["text"])


class Ridge(SurrogateBuilder):
    """A linear model, which trains in no time, with four penalties to choose from."""

    name = "ridge"
    differentiable = False

    def build(self, hp, data):
        from sklearn.linear_model import Ridge

        return Ridge(hp.Choice("alpha", [1e-3, 1e-1, 1e1, 1e3]))


def search(tuner, builder=None, table=None, seed=0, training=None, **options):
    """Run a search as the core does; return what was trained and noted, and the evaluator."""
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(-1, 1, (60, 2)), columns=["a", "b"])
    frame["y"] = frame["a"] - 2 * frame["b"]
    data, seen = Data.from_frame(frame, ["y"]), Watched(seed)
    training = training or Training()
    plugin = REGISTRY.create("tuner", tuner, options)
    rows = split_rows(data, training.held_out(raced=False), training.validation, seen.ctx)
    run = Evaluator(builder or Ridge(), data, rows, plugin, training, seen.ctx, table)
    plugin.search(run.space.copy(), run, seen.ctx)
    return seen, run


class Scored:
    """Stands in for training: the score is a formula of the hyper-parameters that `build` asks for."""

    def __init__(self, build, formula):
        self.build, self.formula = build, formula
        self.space = kt.HyperParameters()
        build(self.space)
        self.asked, self.values = [], []

    def __call__(self, trials):
        self.asked.append(len(trials))
        used = []
        for trial in trials:
            hp = self.space.copy()
            hp.values.update(trial.values)
            self.build(hp)
            self.space.merge(hp, overwrite=False)
            used.append({p.name: hp.values.get(p.name, p.default) for p in hp.space if hp.is_active(p)})
        self.values += used
        scores = [float(self.formula(v)) for v in used]
        return [
            TrialResult(i, s, "ok" if np.isfinite(s) else "failed", 1, v, self.space)
            for i, (s, v) in enumerate(zip(scores, used, strict=True))
        ]

    @property
    def best(self):
        return min(self.formula(v) for v in self.values)

    @property
    def distinct(self):
        return {tuple(sorted(v.items())) for v in self.values}


def lead(tuner, build, formula=lambda values: 1.0, seed=0, width=64, **options):
    scored, seen = Scored(build, formula), Watched(seed, width=width)
    REGISTRY.create("tuner", tuner, options).search(scored.space.copy(), scored, seen.ctx)
    return scored, seen


# More trials later


@pytest.mark.parametrize("tuner", TUNERS)
def test_more_trials_later_train_only_the_further_ones(tuner, tmp_path):
    first, _ = search(tuner, table=TrialTable(tmp_path), max_trials=2)
    more, run = search(tuner, table=TrialTable(tmp_path), max_trials=4)
    assert len(first.trained) == 2
    assert len(more.trained) == 2
    assert {v["alpha"] for v in first.trained + more.trained} == {1e-3, 1e-1, 1e1, 1e3}
    assert len(run.table.results) == 4


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_search_that_is_run_again_trains_nothing(tuner, tmp_path):
    first, _ = search(tuner, table=TrialTable(tmp_path), max_trials=3)
    again, run = search(tuner, table=TrialTable(tmp_path), max_trials=3)
    assert (len(first.trained), again.trained) == (3, [])
    assert len(run.table.results) == 3


@pytest.mark.parametrize("tuner", TUNERS)
def test_asking_for_more_than_there_is_says_so_and_goes_on(tuner):
    scored, seen = lead(tuner, lambda hp: hp.Choice("layers", [1, 2]), max_trials=60)
    assert len(scored.values) == 2
    assert seen.notes == ["the space is exhausted: 2 trials are all there are, fewer than max_trials = 60"]


@pytest.mark.parametrize("tuner", TUNERS)
def test_no_value_is_left_out_before_the_space_counts_as_exhausted(tuner):
    scored, seen = lead(tuner, lambda hp: hp.Choice("width", list(range(30))), lambda v: v["width"], max_trials=31)
    assert len(scored.distinct) == len(scored.values) == 30
    assert "exhausted" in seen.notes[0]


@pytest.mark.parametrize("tuner", TUNERS)
@pytest.mark.parametrize("build", [lambda hp: None, lambda hp: hp.Fixed("layers", 2)], ids=["none", "fixed"])
def test_nothing_to_tune_is_one_trial(tuner, build):
    scored, _ = lead(tuner, build, max_trials=5)
    assert len(scored.values) == 1


def test_the_grid_is_the_whole_grid_without_a_limit_and_without_a_note():
    scored, seen = lead("grid-search", lambda hp: (hp.Choice("a", [1, 2, 3]), hp.Int("b", 1, 5)))
    assert len(scored.distinct) == len(scored.values) == 15
    assert scored.asked == [15]
    assert seen.notes == []


# Hyper-parameters that show up late


def nested(hp):
    """A width for each layer, which only networks that have the layer ask for."""
    if hp.Choice("layers", [1, 2, 3]) == 2:
        with hp.conditional_scope("layers", [2]):
            if hp.Choice("width", [10, 20, 30]) == 20:
                hp.Choice("act", ["tanh", "relu"])


def plain(hp):
    """The same without keras-tuner's scopes, as most people write it."""
    if hp.Choice("layers", [1, 2, 3]) == 2 and hp.Choice("width", [10, 20, 30]) == 20:
        hp.Choice("act", ["tanh", "relu"])


@pytest.mark.parametrize("tuner", TUNERS)
@pytest.mark.parametrize(("build", "combinations"), [(nested, 2 + 3 * 2), (plain, 3 * 3 * 2)])
def test_hyper_parameters_found_while_building_add_rounds(tuner, build, combinations):
    scored, _ = lead(tuner, build, lambda v: v["layers"], max_trials=60)
    assert len(scored.asked) >= 3, "each discovery needs a round of its own"
    late = [v for v in scored.values if v.get("width") == 20 and v.get("act") == "relu"]
    assert late
    # Trials that ran before a hyper-parameter was known ran with its default, and are not run again.
    full = {tuple(sorted({"width": 10, "act": "tanh", **v}.items())) for v in scored.values}
    assert len(scored.values) == combinations
    assert len(full) == combinations


# Failures


@pytest.mark.parametrize("tuner", TUNERS)
def test_trials_that_fail_never_end_the_search(tuner):
    def formula(values):
        return np.inf if values["rate"] > 2 else values["rate"]

    scored, _ = lead(tuner, lambda hp: hp.Choice("rate", list(range(12))), formula, max_trials=12)
    assert len(scored.distinct) == 12


@pytest.mark.parametrize("tuner", TUNERS)
def test_when_every_trial_fails_the_search_ends_and_nothing_is_best(tuner):
    class Broken(Ridge):
        """Can't be fitted."""

        name = "broken"

        def build(self, hp, data):
            model = super().build(hp, data)
            return model.set_params(alpha=-model.alpha)

    seen, run = search(tuner, Broken(), max_trials=4)
    assert len(seen.trained) == 4
    with pytest.raises(TrainingError, match="no usable surrogate in 4 trials"):
        _ = run.best


class Steep(SurrogateBuilder):
    """A network that explodes at the first of its learning rates."""

    name = "steep"

    rates: list[float]

    def build(self, hp, data):
        import keras

        net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
        net.compile(keras.optimizers.SGD(hp.Choice("rate", self.rates)), "mse")
        return net


def test_an_exploding_trial_that_comes_first_is_not_the_best():
    _, run = search("grid-search", Steep(rates=[1e3, 1e-2]), training=Training(epochs=20, batch_size=16))
    assert run.best.values["rate"] == 1e-2
    assert [r.status for r in run.table.results] == ["failed", "ok"]


def test_an_exploding_trial_alone_is_an_error_with_advice():
    _, run = search("random-search", Steep(rates=[1e3]), training=Training(epochs=20, batch_size=16))
    with pytest.raises(TrainingError, match="smaller learning rates"):
        _ = run.best


# Order, batches, quiet


def rates(hp):
    hp.Float("rate", 1e-4, 1e-1, sampling="log")


def valley(values):
    return (np.log10(values["rate"]) + 2.2) ** 2


@pytest.mark.parametrize("tuner", ["random-search", "bayesian"])
def test_the_seed_decides_what_is_tried(tuner):
    first, again, other = (lead(tuner, rates, valley, seed=s, max_trials=8)[0].values for s in (0, 0, 1))
    assert first == again
    assert not {v["rate"] for v in first} & {v["rate"] for v in other}


@pytest.mark.parametrize("tuner", TUNERS)
def test_no_more_is_asked_for_at_once_than_the_core_would_like(tuner):
    scored, _ = lead(tuner, lambda hp: hp.Choice("rate", list(range(11))), lambda v: v["rate"], width=3, max_trials=11)
    assert max(scored.asked) == 3
    assert len(scored.distinct) == 11


def test_random_draws_are_asked_for_at_once_and_bayesian_ones_in_batches():
    assert lead("random-search", rates, valley, max_trials=12)[0].asked == [12]
    assert lead("bayesian", rates, valley, max_trials=12)[0].asked == [3, 4, 4, 1]
    assert lead("bayesian", rates, valley, max_trials=9, num_initial_points=5, batch=2)[0].asked == [5, 2, 2]


def test_a_batch_is_spread_out():
    scored, _ = lead("bayesian", rates, valley, max_trials=11, batch=8)
    assert scored.asked == [3, 8]
    places = np.sort([np.log10(v["rate"]) for v in scored.values[3:]])
    assert np.diff(places).min() > 1e-3
    assert np.ptp(places) > 1.0


@pytest.mark.parametrize("seed", range(3))
def test_bayesian_trials_close_in_on_the_best(seed):
    def two(hp):
        rates(hp)
        hp.Float("decay", 0, 1)

    def bowl(values):
        return valley(values) + (values["decay"] - 0.3) ** 2

    options = {"seed": seed, "max_trials": 24}
    assert lead("bayesian", two, bowl, **options)[0].best < 0.5 * lead("random-search", two, bowl, **options)[0].best


@pytest.mark.parametrize("tuner", TUNERS)
def test_nothing_is_printed_and_nothing_is_written(tuner, tmp_path, monkeypatch, capfd, recwarn):
    monkeypatch.chdir(tmp_path)
    lead(tuner, rates, lambda v: np.inf if v["rate"] > 1e-2 else valley(v), max_trials=8)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert [w.message for w in recwarn.list] == []


@pytest.mark.parametrize("tuner", TUNERS)
def test_ctrl_c_between_two_trials_ends_the_search(tuner):
    seen = Watched()
    scored = Scored(rates, valley)
    seen.ctx.stop.set()
    with pytest.raises(KeyboardInterrupt):
        REGISTRY.create("tuner", tuner, {"max_trials": 8}).search(scored.space.copy(), scored, seen.ctx)
    assert scored.asked == []


def test_hyperband_trains_the_promising_ones_on_from_their_weights():
    from invdesign_plugins.tuners.hyperband import Hyperband

    asked = []

    def evaluate(trials):
        results = []
        for trial in trials:
            number = len(asked)
            asked.append(trial)
            results.append(TrialResult(number, abs(trial.values["rate"] - 0.3), "ok", trial.epochs, trial.values))
        return results

    space = kt.HyperParameters()
    space.Float("rate", 0.0, 1.0)
    Hyperband(max_epochs=9).search(space, evaluate, Context())
    first, later = [t for t in asked if t.resume is None], [t for t in asked if t.resume is not None]
    assert len(first) > len(later) > 0
    for trial in later:
        assert trial.values == asked[trial.resume].values, "it goes on with the same configuration"
    assert max(t.epochs for t in asked) <= 9
    kept = {t.values["rate"] for t in later}
    dropped = {t.values["rate"] for t in first} - kept
    assert np.median([abs(r - 0.3) for r in kept]) < np.median([abs(r - 0.3) for r in dropped])
    assert not any(key.startswith("tuner/") for t in asked for key in t.values)
