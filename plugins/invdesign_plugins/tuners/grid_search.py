"""Every combination of the hyper-parameters' values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from invdesign_core.plugin import Context, Evaluate, Tuner, search_by_oracle

if TYPE_CHECKING:
    import keras_tuner as kt


class GridSearch(Tuner):
    """Try every combination of the hyper-parameters' values, on keras-tuner's grid oracle.

    A float without a step is tried at ten values of its range and at its default, as keras-tuner
    does. As many combinations are asked for at once as the core would like; hyper-parameters that
    show up while training add further rounds.
    """

    name: ClassVar[str] = "grid-search"

    max_trials: int | None = Field(
        None, ge=1, description="Try at most so many; by default all. A note says where the grid is smaller."
    )

    def search(self, space: kt.HyperParameters, evaluate: Evaluate, ctx: Context) -> None:
        """Ask for the whole grid."""
        search_by_oracle(
            _eager_oracle(), space, evaluate, ctx, seed=ctx.seed_for(self.name), max_trials=self.max_trials
        )


def _eager_oracle() -> type:
    """Return keras-tuner's grid oracle, made to hand out all that it knows without waiting for results."""
    import keras_tuner as kt

    class Eager(kt.oracles.GridSearchOracle):  # type: ignore[misc]
        def populate_space(self, trial_id: str) -> dict[str, Any]:
            found: dict[str, Any] = super().populate_space(trial_id)
            if found["values"] is not None and trial_id not in self._populate_next:
                self._populate_next.append(trial_id)
            return found

        def update_space(self, hyperparameters: kt.HyperParameters) -> None:
            known = len(self.hyperparameters.space)
            super().update_space(hyperparameters)
            if len(self.hyperparameters.space) > known:  # every trial may have another combination after it now
                self._populate_next.extend(self.trials)

    return Eager
