import keras_tuner as kt
from invdesign_optuna.tuner import OptunaTuner

from invdesign_core.plugin import Context, Trial, TrialResult
from invdesign_core.testing import TunerTests


class TestOptuna(TunerTests):
    plugin = OptunaTuner


def test_good_trials_are_found_and_go_on_with_their_own_weights() -> None:
    space = kt.HyperParameters()
    space.Float("rate", 1e-4, 1e-1, sampling="log")
    asked: list[Trial] = []

    def evaluate(trials):
        asked.extend(trials)
        begin = len(asked) - len(trials)
        scores = [abs(trial.values["rate"] - 1e-2) for trial in trials]
        return [TrialResult(begin + i, score, "ok", 1, {}) for i, score in enumerate(scores)]

    OptunaTuner(trials=24).search(space, evaluate, Context())
    begun = [trial for trial in asked if trial.resume is None]
    assert len(begun) == 24
    assert min(abs(trial.values["rate"] - 1e-2) for trial in begun) < 3e-3
    assert sum(trial.epochs for trial in asked) < 0.7 * 24 * 90  # many were pruned
    for trial in asked:
        assert trial.resume is None or asked[trial.resume].values == trial.values
