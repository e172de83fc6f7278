"""What tuners promise: trials that can be trained, the same for one seed, and an end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from invdesign_core.context import Context
from invdesign_core.surrogate.trials import Trial, TrialResult, check_trials
from invdesign_core.testing.declared import BrokenPromiseError, check, hold

MOST = 2000
"""Trials after which a search counts as endless."""


@dataclass
class _Asked:
    """Stands for the core: answers trials by a formula, and keeps what was asked for."""

    space: Any
    score: Callable[[dict[str, Any]], float]
    trials: list[Trial] = field(default_factory=list)
    known: dict[str, TrialResult] = field(default_factory=dict)

    def __call__(self, trials: Sequence[Trial], /) -> list[TrialResult]:
        """Answer, and refuse what could not be trained."""
        check_trials(trials, self.space, {result.id for result in self.known.values()})
        self.trials += trials
        if len(self.trials) > MOST:
            raise BrokenPromiseError(f"it has asked for more than {MOST} trials")
        for trial in trials:
            if trial.key not in self.known:
                hp = self.space.copy()
                hp.values.update(trial.values)
                values = {item.name: hp.values.get(item.name, item.default) for item in hp.space}
                score = self.score(values)
                status: Any = "ok" if math.isfinite(score) else "failed"
                epochs = trial.epochs or 1
                metrics = {"val_loss": score}
                self.known[trial.key] = TrialResult(len(self.known), score, status, epochs, values, None, metrics)
        return [self.known[trial.key] for trial in trials]


def _space() -> Any:
    import keras_tuner as kt

    hp = kt.HyperParameters()
    hp.Float("rate", 1e-3, 1e-1, sampling="log")
    hp.Int("width", 4, 32, step=4)
    hp.Choice("how", ["a", "b", "c"])
    hp.Boolean("deep")
    return hp


def _rated(values: dict[str, Any]) -> float:
    return float(abs(math.log10(values.get("rate", 1e-2)) + 2) + values.get("width", 4) / 100)


def _searched(plugin: Any, space: Any, score: Callable[[dict[str, Any]], float] = _rated, seed: int = 0) -> list[Trial]:
    asked = _Asked(space, score)
    plugin.search(space.copy(), asked, Context(seed))
    return asked.trials


@check("tuner")
def asks_for_trials_that_can_be_trained(plugin: Any) -> None:
    """It asks for trials, of values and epochs that there are, and comes to an end."""
    hold(_searched(plugin, _space()), "it asked for no trial")


@check("tuner")
def follows_the_seed(plugin: Any) -> None:
    """The same seed asks for the same trials."""
    first, again = ([trial.key for trial in _searched(plugin, _space(), seed=3)] for _ in range(2))
    hold(first == again, "two searches with one seed differ: draw from ctx")


@check("tuner")
def copes_with_nothing_to_tune(plugin: Any) -> None:
    """Without hyper-parameters it asks for a trial all the same."""
    import keras_tuner as kt

    hold(_searched(plugin, kt.HyperParameters()), "it asked for no trial")


@check("tuner")
def survives_trials_that_fail(plugin: Any) -> None:
    """Trials that fail, with an infinite score, do not end the search."""
    hold(_searched(plugin, _space(), lambda values: math.inf if values["how"] == "a" else _rated(values)), "no trial")
    hold(_searched(plugin, _space(), lambda values: math.inf), "no trial")


@check("tuner")
def stops_at_ctrl_c(plugin: Any) -> None:
    """A KeyboardInterrupt of a training is passed on."""

    def interrupted(values: dict[str, Any]) -> float:
        raise KeyboardInterrupt

    try:
        _searched(plugin, _space(), interrupted)
    except KeyboardInterrupt:
        return
    hold(False, "it swallows KeyboardInterrupt")
