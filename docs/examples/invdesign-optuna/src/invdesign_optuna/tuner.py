"""A tuner: Optuna proposes hyper-parameters, and Hyperband ends what does not promise much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from invdesign_core.plugin import Context, Evaluate, Trial, Tuner

if TYPE_CHECKING:
    import keras_tuner as kt
    import optuna

FACTOR = 3
"""About one of so many trials goes on to so many times the epochs."""


class OptunaTuner(Tuner):
    """Optuna's tree-structured Parzen estimator, with trials pruned by Hyperband.

    Akiba, Sano, Yanase, Ohta and Koyama, "Optuna: a next-generation hyperparameter optimization framework", KDD 2019.
    """

    name: ClassVar[str] = "optuna"

    trials: int = Field(24, ge=1, description="Number of trials.")
    batch: int = Field(8, ge=1, description="Trials that are proposed at once, and train side by side.")
    max_epochs: int = Field(90, ge=1, description="Epochs of the trials that are never pruned.")

    def search(self, space: kt.HyperParameters, evaluate: Evaluate, ctx: Context) -> None:
        """Ask Optuna for a batch, train it for ever more epochs, and tell what became of each trial."""
        import optuna

        if not space.space:
            evaluate([Trial(epochs=self.max_epochs)])
            return
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            study_name=self.name,  # Hyperband deals trials out to its brackets by this name
            sampler=optuna.samplers.TPESampler(seed=ctx.seed_for(self.name), constant_liar=True),
            pruner=optuna.pruners.HyperbandPruner(self._rungs[0], self.max_epochs, FACTOR),
        )
        while (left := self.trials - len(study.trials)) > 0:
            distributions = {hp.name: distribution(hp) for hp in space.space}
            asked = [study.ask(distributions) for _ in range(min(self.batch, ctx.width, left))]
            space = self._train(study, asked, evaluate) or space  # trials may discover hyper-parameters

    def _train(self, study: optuna.Study, asked: list[optuna.Trial], evaluate: Evaluate) -> kt.HyperParameters | None:
        """Train trials from rung to rung; return the hyper-parameters known afterwards."""
        from optuna.trial import TrialState

        before: dict[int, int] = {}  # whose weights each trial goes on from
        epochs, running = 0, asked
        for rung in self._rungs:
            wanted = [Trial(trial.params, rung - epochs, before.get(trial.number)) for trial in running]
            results, epochs, ended = evaluate(wanted), rung, running
            running = []
            for trial, result in zip(ended, results, strict=True):
                before[trial.number] = result.id
                if result.status == "failed":
                    study.tell(trial, state=TrialState.FAIL)
                    continue
                trial.report(result.score, rung)
                if rung == self.max_epochs:
                    study.tell(trial, result.score)
                elif trial.should_prune():
                    study.tell(trial, state=TrialState.PRUNED)
                else:
                    running.append(trial)
            if not running:
                break
        return results[-1].space

    @property
    def _rungs(self) -> list[int]:
        """After how many epochs trials are compared."""
        rungs = [self.max_epochs]
        while len(rungs) < FACTOR and rungs[0] >= FACTOR:
            rungs.insert(0, rungs[0] // FACTOR)
        return rungs


def distribution(hp: Any) -> optuna.distributions.BaseDistribution:
    """Return what Optuna calls a hyper-parameter of Keras Tuner."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    kind, log = type(hp).__name__, getattr(hp, "sampling", None) == "log"
    if kind == "Float":
        return FloatDistribution(hp.min_value, hp.max_value, log=log, step=None if log else hp.step)
    if kind == "Int":
        return IntDistribution(hp.min_value, hp.max_value, log=log, step=1 if log else hp.step or 1)
    values = {"Boolean": [False, True], "Fixed": [getattr(hp, "value", None)]}
    return CategoricalDistribution(hp.values if kind == "Choice" else values[kind])
