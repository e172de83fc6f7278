"""Values of the hyper-parameters where a model of the scores expects improvement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from invdesign_core.plugin import Context, Evaluate, FloatArray, Tuner, search_by_oracle

if TYPE_CHECKING:
    import keras_tuner as kt


class Bayesian(Tuner):
    """Learn from the scores where to try next, on keras-tuner's Bayesian oracle.

    The first draws are random. Then a Gaussian process models the score over the hyper-parameters,
    and trials go where mean - beta * standard deviation is smallest: Srinivas, Krause, Kakade and
    Seeger, "Gaussian process optimization in the bandit setting", ICML 2010. Within a batch, trials
    that are not trained yet count with a pessimistic guess, so that the batch spreads out.
    """

    name: ClassVar[str] = "bayesian"

    max_trials: int = Field(
        10, ge=1, description="Number of trials, random draws included; where the space holds fewer, all are tried."
    )
    batch: int = Field(
        4, ge=1, description="Trials to choose from one state of knowledge and train side by side; 1 learns the most."
    )
    num_initial_points: int | None = Field(
        None, ge=1, description="Random draws to begin with; by default three for each hyper-parameter known then."
    )
    alpha: float = Field(1e-4, gt=0, description="Variance of the noise in the scores, as a share of their variance.")
    beta: float = Field(2.6, ge=0, description="How much the unknown counts against the known; larger explores more.")

    def search(self, space: kt.HyperParameters, evaluate: Evaluate, ctx: Context) -> None:
        """Ask for the random draws at once, then for one batch after another."""
        initial = self.num_initial_points or 3 * max(len(space.space), 1)
        search_by_oracle(
            _quick_oracle(),
            space,
            evaluate,
            ctx,
            seed=ctx.seed_for(self.name),
            max_trials=self.max_trials,
            at_once=lambda tried: initial - tried if tried < initial else self.batch,
            num_initial_points=initial,
            alpha=self.alpha,
            beta=self.beta,
        )


def _quick_oracle() -> type:
    """Return keras-tuner's Bayesian oracle, made to choose quickly and never the same twice.

    Its own choice takes thousands of predictions, one by one: seconds for each trial. This one takes
    a few, in batches. Values that were tried come up again in spaces of whole numbers and choices; a
    random draw learns more, and ends the search where nothing is left.
    """
    import keras_tuner as kt
    import numpy as np

    class Quick(kt.oracles.BayesianOptimizationOracle):  # type: ignore[misc]
        def _make_gpr(self) -> Any:
            # One length is fitted, on the unit cube. At a tiny one, trials would say nothing of their neighbours.
            return super()._make_gpr().set_params(n_restarts_optimizer=2, kernel__length_scale_bounds=(0.05, 20.0))

        def populate_space(self, trial_id: str) -> dict[str, Any]:
            known = sum(trial.status == "COMPLETED" for trial in self.trials.values())
            if known >= self.num_initial_points and self._nonfixed_space():
                self.gpr.fit(*self._vectorize_trials())
                values = self._vector_to_values(self._most_promising())
                if not self._duplicate(values):
                    return {"status": "RUNNING", "values": values}
            drawn: dict[str, Any] = self._random_populate_space()
            return drawn

        def _most_promising(self) -> FloatArray:
            """Return the point of the unit cube with the smallest bound: the best of many, then of those near it."""
            random, width = self._random_state, len(self._nonfixed_space())
            points = random.uniform(size=(2048, width))
            for spread in (0.1, 0.03, 0.01, 0.003, 0.0):
                mean, deviation = self.gpr.predict(points, return_std=True)
                best = points[np.argmin(mean - self.beta * deviation)]
                around = np.clip(best + spread * random.normal(size=(512, width)), 0.0, 1.0)
                points = np.concatenate([best[None], around])
            return np.asarray(best)

    return Quick
