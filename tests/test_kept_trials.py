"""Each trial is kept as it ends: a kill costs the trial that was running, and nothing that was done before."""

from __future__ import annotations

import json
from contextlib import suppress

import keras
import numpy as np
import pytest
from test_training import evaluator

from invdesign_core.errors import RunStoreError
from invdesign_core.plugin import SurrogateBuilder, Trial
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.trials import TrialTable

QUICK = Training(epochs=2, batch_size=64)
X = np.random.default_rng(0).uniform(-1, 1, (10, 2)).astype("float32")


class Killed(BaseException):
    """Stands for a process that ends at once."""


def net(rate, width=2, eager=False):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(width), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse", run_eagerly=eager)
    return model


class Widths(SurrogateBuilder):
    """Networks of two widths, which do not fit into one program."""

    name = "widths"

    def build(self, hp, data):
        return net(hp.Float("rate", 1e-3, 1e-1), hp.Choice("width", [2, 3]))


class Eager(SurrogateBuilder):
    """Networks that Keras' own fit trains one after another."""

    name = "eager"

    def build(self, hp, data):
        hp.Choice("width", [2, 3])
        return net(hp.Float("rate", 1e-3, 1e-1), eager=True)


class Slope:
    """A regressor: y is a share of the first input; what it learnt depends on the seed."""

    fitted: list[float] = []  # noqa: RUF012

    def __init__(self, rate):
        self.rate = rate

    def fit(self, x, y):
        Slope.fitted.append(self.rate)
        self.slope = self.rate + 0.01 * np.random.random()

    def predict(self, x):
        return self.slope * x[:, 0]


class Slopes(SurrogateBuilder):
    """Regressors that are no networks."""

    name = "slopes"
    differentiable = False

    def build(self, hp, data):
        hp.Choice("width", [2, 3])
        if hp.Float("rate", 1e-3, 2.0) > 0.5:
            hp.Float("found on the way", 0.0, 1.0, default=0.3)
        return Slope(hp.get("rate"))


TRIALS = [Trial({"rate": r, "width": w}) for r, w in ((0.01, 2), (0.9, 3), (0.02, 2), (0.03, 3))]


def search(builder, folder, kill_after=None):
    """Ask for the trials; end at once when so many of them have ended."""
    ended = []

    def emit(event):
        if event.kind == "trial":
            ended.append(event.data["id"])
            if len(ended) == kill_after:
                raise Killed

    run = evaluator(builder, training=QUICK, table_=TrialTable(folder), emit=emit)
    with suppress(Killed):
        run(TRIALS)
    return run, ended


@pytest.mark.parametrize("builder", [Slopes, Widths, Eager])
def test_a_kill_loses_no_trial_that_had_ended_and_none_is_trained_twice(builder, tmp_path):
    whole, all_ended = search(builder(), tmp_path / "whole")
    assert sorted(all_ended) == [0, 1, 2, 3]
    step = 2 if builder is Widths else 1  # two of its networks train side by side, and end together
    for killed_at in {1, 3} if step == 1 else {2}:
        folder = tmp_path / str(killed_at)
        _, before = search(builder(), folder, kill_after=killed_at)
        kept = [r.id for r in TrialTable(folder).results]
        assert kept == sorted(before), "what had ended is kept"
        run, after = search(builder(), folder)
        assert sorted(before + after) == [0, 1, 2, 3], "none is trained twice, and none is missing"
        assert [(r.id, r.values) for r in run.table.results] == [(r.id, r.values) for r in whole.table.results]
        scores = [[r.score for r in each.table.results] for each in (run, whole)]
        np.testing.assert_allclose(*scores, rtol=1e-6)
        assert run.best.id == whole.best.id
        ours, theirs = (each.winner()[0][0] for each in (run, whole))
        if builder is Slopes:
            np.testing.assert_allclose(ours.z(X), theirs.z(X))
        else:
            np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), rtol=1e-5)


def test_each_trial_is_on_disk_before_the_next_begins(tmp_path):
    seen = []

    class Watching(Slope):
        def fit(self, x, y):
            log = tmp_path / "trials.jsonl"
            seen.append(len(log.read_text().splitlines()) if log.exists() else 0)
            super().fit(x, y)

    class Watched(Slopes):
        def build(self, hp, data):
            super().build(hp, data)
            return Watching(hp.get("rate"))

    import invdesign_core.surrogate.trainer as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "check_pickles", lambda model, who: None)
        search(Watched(), tmp_path)
    assert seen == [0, 1, 2, 3]


def test_ctrl_c_in_fit_keeps_what_had_ended(tmp_path):
    def interrupt(event):
        if event.kind == "trial" and event.data["id"] == 1:
            raise KeyboardInterrupt

    run = evaluator(Eager(), training=QUICK, table_=TrialTable(tmp_path), emit=interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(TRIALS)
    assert [r.id for r in TrialTable(tmp_path).results] == [0, 1]


def test_a_lost_line_of_the_log_is_trained_again_and_changes_no_other_trial(tmp_path):
    whole, _ = search(Slopes(), tmp_path)
    log = tmp_path / "trials.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    for lost in range(4):
        log.write_text("".join(lines[:lost] + lines[lost + 1 :]))
        table = TrialTable(tmp_path)
        for at, trial in enumerate(TRIALS):
            found = table.find(trial.key)
            assert found is None if at == lost else found == whole.table.find(trial.key)
        run, ended = search(Slopes(), tmp_path)
        assert ended == [lost]
        assert run.table.results == whole.table.results
        assert run.best == whole.best


def test_a_regressor_that_does_not_follow_the_seed_is_said(tmp_path):
    class Restless(Slope):
        def fit(self, x, y):
            self.slope = next(NUMBERS)

    class Builder(Slopes):
        def build(self, hp, data):
            return Restless(hp.Float("rate", 1e-3, 1e-1))

    NUMBERS = iter([0.1, 0.2])
    said = []

    def listen(event):
        if event.kind == "warning":
            said.append(event.data["text"])

    import invdesign_core.surrogate.trainer as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "check_pickles", lambda model, who: None)
        evaluator(Builder(), training=QUICK, table_=TrialTable(tmp_path))([Trial()])
        resumed = evaluator(Builder(), training=QUICK, table_=TrialTable(tmp_path), emit=listen)
        resumed([Trial()])
        resumed.winner()
    assert "does not follow the seed" in said[0]


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A finished search of networks on disk."""
    folder = tmp_path_factory.mktemp("networks")
    run, _ = search(Widths(), folder)
    return folder, run.best.id


def copied(networks, tmp_path):
    folder, best = networks
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path, best


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "exchanged", "one bit"])
def test_damaged_weights_of_the_winner_are_refused(networks, tmp_path, damage):
    folder, best = copied(networks, tmp_path)
    path = folder / f"{best}.npz"
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "exchanged":
        path.write_bytes((folder / f"{(best + 2) % 4}.npz").read_bytes())
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes({"empty": b"", "cut": content[:100], "one bit": content}[damage])
    with pytest.raises(RunStoreError) as error:
        TrialTable(folder).weights(best)
    assert str(path) in error.value.message
    assert f'"id": {best}' in error.value.hint, "it says what to do"


def test_a_resumed_run_does_not_go_on_without_its_winners_weights(networks, tmp_path):
    folder, best = copied(networks, tmp_path)
    (folder / f"{best}.npz").unlink()
    run, ended = search(Widths(), folder)
    assert ended == []
    with pytest.raises(RunStoreError, match="missing"):
        run.winner()
    lines = (folder / "trials.jsonl").read_text().splitlines(keepends=True)
    (folder / "trials.jsonl").write_text("".join(line for line in lines if json.loads(line)["id"] != best))
    mended, ended = search(Widths(), folder)
    assert ended == [best], "what the hint says mends the folder"
    mended.winner()


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: "\n",
        lambda line: line[: len(line) // 2] + "\n",
        lambda line: "[1, 2]\n",
        lambda line: line.replace('"ok"', '"failed"'),
        lambda line: line.replace('"id": 1', '"id": 7'),
        lambda line: json.dumps({k: v for k, v in json.loads(line).items() if k != "sha256"}) + "\n",
        lambda line: line + line,
    ],
)
def test_a_damaged_line_of_the_log_is_refused_with_its_place(networks, tmp_path, damage):
    folder, _ = copied(networks, tmp_path)
    lines = (folder / "trials.jsonl").read_text().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if json.loads(line)["id"] == 1)
    lines[at] = damage(lines[at])
    (folder / "trials.jsonl").write_text("".join(lines))
    with pytest.raises(RunStoreError) as error:
        TrialTable(folder)
    assert "trials.jsonl, line " in error.value.message
    assert "take the line out" in error.value.hint
