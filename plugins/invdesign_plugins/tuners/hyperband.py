"""Many short trainings, of which the promising ones go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from invdesign_core.plugin import Context, Evaluate, Trial, Tuner, search_by_oracle

if TYPE_CHECKING:
    import keras_tuner as kt


class Hyperband(Tuner):
    """Train many random configurations for a few epochs, and only the best of them on and on.

    Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, "Hyperband: a novel bandit-based approach to
    hyperparameter optimization", JMLR 18 (2018), on keras-tuner's oracle. A configuration that goes on
    keeps its weights.
    """

    name: ClassVar[str] = "hyperband"

    max_epochs: int = Field(100, ge=1, description="Epochs that the best configurations are trained in all.")
    factor: int = Field(3, ge=2, description="Each round keeps one of so many, and trains it so many times longer.")
    iterations: int = Field(1, ge=1, description="How often to run through all brackets.")

    def search(self, space: kt.HyperParameters, evaluate: Evaluate, ctx: Context) -> None:
        """Ask round by round; all trials of a round train side by side."""
        import keras_tuner as kt

        if not space.space:  # the oracle would ask for nothing
            evaluate([Trial(epochs=self.max_epochs)])
            return
        search_by_oracle(
            kt.oracles.HyperbandOracle,
            space,
            evaluate,
            ctx,
            seed=ctx.seed_for(self.name),
            max_trials=None,
            trial_of=_trial_of,
            max_epochs=self.max_epochs,
            factor=self.factor,
            hyperband_iterations=self.iterations,
        )


def _trial_of(trial: Any, numbers: Mapping[str, int]) -> Trial:
    """Translate the oracle's own entries: the epochs until a round ends, and whose weights to go on from."""
    values = dict(trial.hyperparameters.values)
    own = {key: values.pop(key) for key in list(values) if key.startswith("tuner/")}
    epochs = own.get("tuner/epochs", 1) - own.get("tuner/initial_epoch", 0)
    before = own.get("tuner/trial_id")
    return Trial(values, epochs=max(int(epochs), 1), resume=numbers[before] if before else None)
