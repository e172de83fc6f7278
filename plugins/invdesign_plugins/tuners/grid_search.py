"""Every combination of the hyper-parameters' values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from invdesign_core.plugin import Context, Evaluate, Trial, TrialResult, Tuner

if TYPE_CHECKING:
    import keras_tuner as kt


class GridSearch(Tuner):
    """Try every combination of the hyper-parameters' values, on keras-tuner's grid oracle.

    A float without a step is tried at ten values of its range and at its default, as keras-tuner
    does. All combinations are asked for at once; only hyper-parameters that show up while training
    add a further round.
    """

    name: ClassVar[str] = "grid-search"

    max_trials: int | None = Field(None, ge=1, description="Try at most so many; by default all.")

    def search(self, space: kt.HyperParameters, evaluate: Evaluate, ctx: Context) -> None:
        """Ask for the whole grid."""
        oracle = _oracle(space, self.max_trials, ctx.seed_for("grid-search"))
        while batch := _ask(oracle):
            results = evaluate([Trial(dict(trial.hyperparameters.values)) for trial in batch])
            for trial, result in zip(batch, results, strict=True):
                _tell(oracle, trial, result)


def _oracle(space: kt.HyperParameters, max_trials: int | None, seed: int) -> Any:
    """Return keras-tuner's grid oracle, made to hand out all that it knows without waiting for results."""
    import keras_tuner as kt

    class Eager(kt.oracles.GridSearchOracle):  # type: ignore[misc]
        def populate_space(self, trial_id: str) -> dict[str, Any]:
            found: dict[str, Any] = super().populate_space(trial_id)
            if found["values"] is not None and trial_id not in self._populate_next:
                self._populate_next.append(trial_id)
            return found

        def save(self) -> None:
            """Keep nothing on disk: the core does."""

        def _save_trial(self, trial: Any) -> None:
            """Keep nothing on disk: the core does."""

    oracle = Eager(
        objective=kt.Objective("score", "min"),
        max_trials=max_trials,
        hyperparameters=space.copy(),
        seed=seed,
        max_consecutive_failed_trials=10**9,
    )
    oracle.verbose = 0
    return oracle


def _ask(oracle: Any) -> list[Any]:
    """Return every trial that the oracle hands out now."""
    batch: list[Any] = []
    while True:
        trial = oracle.create_trial(f"core-{len(oracle.trials)}")
        if trial.status != "RUNNING":
            return batch
        batch.append(trial)


def _tell(oracle: Any, trial: Any, result: TrialResult) -> None:
    """Report a result, and the hyper-parameters that it discovered."""
    if result.space is not None:
        oracle.update_space(result.space)
    trial.score = result.score
    trial.status = "COMPLETED" if result.status == "ok" else "INVALID"
    if result.status == "ok":
        oracle.update_trial(trial.trial_id, {"score": result.score})
    oracle.end_trial(trial)
