"""`evaluate`: has the trials trained that a tuner asks for, remembers them, and hands over the winner."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from invdesign_core.context import Context, TrialEnded
from invdesign_core.data.data import Data, Rows
from invdesign_core.errors import ConfigError, PluginError, RunStoreError, TrainingError, near_or_all, plural
from invdesign_core.space.digits import near
from invdesign_core.surrogate.loop import Outcome, Part
from invdesign_core.surrogate.members import cross_fitted, failed_members
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.trainer import Trainer
from invdesign_core.surrogate.trials import Trial, TrialResult, TrialTable

if TYPE_CHECKING:
    import keras_tuner as kt

    from invdesign_core.surrogate.protocols import Builder, Tuner


class Evaluator:
    """The function that tuners call, with the memory that makes a search resumable.

    `space` holds the hyper-parameters found so far, `fault` what was raised while training, which is not the tuner's.
    """

    def __init__(
        self,
        builder: Builder,
        data: Data,
        rows: Rows,
        tuner: Tuner,
        settings: Training,
        ctx: Context,
        table: TrialTable | None = None,
    ) -> None:
        """Build a first model, for its hyper-parameters and metrics; `table` may hold trials of an earlier run."""
        import keras_tuner as kt

        self._builder, self._data, self._rows, self._settings, self._ctx = builder, data, rows, settings, ctx
        self._trainer = Trainer(builder, data, rows, settings, ctx, from_disk=True)
        self.scaling = self._trainer.scaling
        self.table = table if table is not None else TrialTable()
        self._models: dict[int, Any] = {}
        self.fault: BaseException | None = None
        self.space: kt.HyperParameters = kt.HyperParameters()
        known = self._trainer.metrics(self._trainer.build(self.space, 0))
        self._watched = "val_loss" if len(rows.validation) else "loss"
        self._objective = tuner.objective if len(rows.validation) else tuner.objective.removeprefix("val_")
        if self._objective not in known:
            raise ConfigError(
                f"[tuner] objective: no metric reports {self._objective!r}", near_or_all(self._objective, known)
            )
        direction = tuner.direction if tuner.direction != "auto" else known[self._objective]
        if direction is None:
            raise ConfigError(
                f"[tuner] objective: Keras doesn't know whether {self._objective!r} is to be minimised or maximised",
                'set tuner.direction = "min" or "max"',
            )
        self._sign = 1.0 if direction == "min" else -1.0

    def __call__(self, trials: Sequence[Trial], /) -> list[TrialResult]:
        """Train the trials that the table doesn't know, and return the results of all in the same order."""
        asked = {trial.key: trial for trial in trials}
        fresh = [trial for key, trial in asked.items() if self.table.find(key) is None]
        self._learn_space(asked)  # before others are built, as they would know them without a kill between
        if fresh:
            try:
                self._run(fresh)
            except BaseException as error:
                self.fault = error
                raise
        self._learn_space(asked)
        found = [self.table.find(trial.key) for trial in trials]
        return [replace(result, space=self.space) for result in found if result is not None]

    def _learn_space(self, keys: Collection[str]) -> None:
        """Know the hyper-parameters that trials of an earlier run discovered."""
        import keras_tuner as kt

        for key in keys:
            result = self.table.find(key)
            if result is not None and result.id in self.table.spaces:
                self.space.merge(kt.HyperParameters.from_config(self.table.spaces[result.id]), overwrite=False)

    @property
    def learnt(self) -> int:
        """How many rows the trials learn from."""
        return self._trainer.learnt

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers of the trials that may be resumed."""
        return self.table.numbers

    @property
    def best(self) -> TrialResult:
        """The trial with the smallest score."""
        good = [r for r in self.table.results if r.status == "ok"]
        if good:
            return min(good, key=lambda r: (r.score, r.id))
        if not self.table.results:
            raise TrainingError("the tuner asked for no trial", "increase its number of trials, or use another tuner")
        first, *others = dict.fromkeys(r.message for r in self.table.results)
        more = f" (and {plural(len(others), 'other reason')})" if others else ""
        who = "" if self._builder.label in first else f" of {self._builder.label}"
        raise TrainingError(
            f"no usable surrogate in {plural(len(self.table.results), 'trial')}{who}: {first}{more}",
            "try smaller learning rates, or look for outliers in the outputs",
        )

    def winner(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the models that make the surrogate, each from raw x to raw y, and how they came about.

        The first is the best trial's, or the same configuration trained again where that was asked
        for and is better. Further members have weights, row orders and validation rows of their own; one that fails to
        learn what the others learnt is trained again, and left out where that fails too.
        """
        best = self.best
        models: list[Any] = [self._model(best)]
        report: dict[str, Any] = {"trial": best.id, "retrained": False, "score": self._sign * best.score}
        extra, retrain = self._settings.members - 1, self._settings.retrain
        if self._builder.closed_form and (extra or retrain):
            self._ctx.note(f"{self._builder.label} is fitted in closed form: one member is all there is")
            extra, retrain = 0, False
        if retrain:
            ((model, outcome),) = self._train([Trial(best.values)], [0], "member", "train")
            before, after = best.metrics[self._watched], outcome.metrics.get(self._watched, np.nan)
            if not outcome.message and after <= before:
                models[0] = model
                report |= {"retrained": True, "score": outcome.metrics[self._objective]}
            else:
                unit = min(abs(after - before) / 10, 1e-3 * abs(before))
                self._ctx.note(
                    f"training the winner again gave {self._watched} {near(after, unit)}, worse than the trial's "
                    f"{near(before, unit)}; the trial's weights are kept"
                )
        report |= {"objective": self._objective, "trained_again": 0, "left_out": 0}
        if extra:
            models, again = self._ensemble(best, models[0], range(int(retrain), int(retrain) + extra))
            report |= again
        return [self._trainer.member(model) for model in models], report

    def _ensemble(self, best: TrialResult, first: Any, numbers: range) -> tuple[list[Any], dict[str, int]]:
        """Return the first member and further ones, and how many were trained again or left out as they failed."""
        rows, trial = self._rows, Trial(best.values)
        parts = cross_fitted(self._data, rows, len(numbers), self._ctx)
        made = self._train([trial] * len(numbers), numbers, "member", "train", parts=parts)
        models = [first, *(model if outcome.ok else None for model, outcome in made)]
        parts = [(rows.train, rows.validation)] + (parts or [(rows.train, rows.validation)] * len(numbers))
        failed = self._failed(models, parts)
        if not failed:
            return models, {}
        others = range(numbers.stop, numbers.stop + len(failed))
        made = self._train([trial] * len(failed), others, "member", "train", parts=[parts[at] for at in failed])
        for at, (model, outcome) in zip(failed, made, strict=True):
            models[at] = model if outcome.ok else None
        total, again, left_out = len(models), len(failed), self._failed(models, parts)
        self._ctx.note(
            f"{again} of {plural(total, 'member')} did not learn what the others learnt; trained again from a new start"
        )
        if left_out:
            self._ctx.warn(
                f"{len(left_out)} of {plural(total, 'member')} failed to learn, from a new start too; left out"
            )
        kept = [model for at, model in enumerate(models) if at not in left_out]
        return kept, {"trained_again": again, "left_out": len(left_out)}

    def _failed(self, models: Sequence[Any], parts: Sequence[Part]) -> list[int]:
        """Return the positions of members that failed; None among the models is one whose training did."""
        pool = np.sort(np.concatenate([self._rows.train, self._rows.validation]))
        errors = np.full((len(models), len(pool)), np.inf)
        for at, model in enumerate(models):
            if model is not None:
                errors[at] = self._trainer.squared_errors(model, pool)
        return failed_members(errors, [np.flatnonzero(np.isin(pool, part[1])) for part in parts])

    def _run(self, trials: Sequence[Trial]) -> None:
        """Train trials, and keep each as it ends."""
        numbers = self.table.free_numbers(len(trials))

        def keep(at: int, model: Any, outcome: Outcome) -> None:
            self._keep(trials[at], numbers[at], model, outcome)

        self._train(trials, numbers, "trial", "tune", keep)

    def _keep(self, trial: Trial, number: int, model: Any, outcome: Outcome) -> None:
        """Remember a trial that has ended, and say so."""
        message, score = outcome.message, np.inf
        if not message:
            score = self._sign * outcome.metrics[self._objective]
            if not (outcome.ok and np.isfinite(score)):
                message, score = "its loss is not finite (the training diverged)", np.inf
        hp = self._with_values(trial.values)
        used = {p.name: hp.values.get(p.name, p.default) for p in hp.space if hp.is_active(p)}
        status: Literal["ok", "failed"] = "failed" if message else "ok"
        result = TrialResult(number, score, status, outcome.epochs, used, self.space, outcome.metrics, message)
        self._models[number] = model
        before = self.table.lost
        self.table.add(trial, result, None if self._trainer.in_one_go or model is None else model.get_weights())
        if self.table.lost is not before:
            self._ctx.warn(f"{self.table.lost}; trials are not kept from here on, so they can't be resumed")
        self._ctx.emit(TrialEnded(number, dict(used), self._sign * score, status, outcome.epochs, message))

    def _train(
        self,
        trials: Sequence[Trial],
        numbers: Sequence[int],
        purpose: str,
        stage: str,
        ended: Callable[[int, Any, Outcome], None] = lambda at, model, outcome: None,
        parts: Sequence[Part] | None = None,
    ) -> list[tuple[Any, Outcome]]:
        """Build and train a model for each trial, on rows of its own where `parts` has them.

        `ended` is told each with its position as soon as it has ended.
        """
        found: dict[int, tuple[Any, Outcome]] = {}
        models: dict[int, Any] = {}
        for at, (trial, number) in enumerate(zip(trials, numbers, strict=True)):
            hp = self._with_values(trial.values)
            try:
                models[at] = self._trainer.build(hp, number, purpose)
            except PluginError as error:
                if stage != "tune" or (error.__cause__ is not None and not isinstance(error.__cause__, Exception)):
                    raise  # only a trial can be done without
                found[at] = None, Outcome(0, message=error.message)
                ended(at, *found[at])
                continue
            self.space.merge(hp, overwrite=False)
            if trial.resume is not None and not self._trainer.in_one_go:
                models[at].set_weights(self._resumable(trial.resume))
        built = list(models)
        epochs = [trials[at].epochs or self._settings.epochs for at in built]

        def told(at: int, outcome: Outcome) -> None:
            ended(built[at], models[built[at]], outcome)

        if built:
            numbers, parts = [numbers[at] for at in built], None if parts is None else [parts[at] for at in built]
            outcomes = self._trainer.train(list(models.values()), numbers, purpose, stage, epochs, told, parts)
            found |= {at: (models[at], outcome) for at, outcome in zip(built, outcomes, strict=True)}
        return [found[at] for at in range(len(trials))]

    def _with_values(self, values: Mapping[str, Any]) -> kt.HyperParameters:
        hp = self.space.copy()
        hp.values.update(values)
        return hp

    def _resumable(self, trial: int) -> list[Any]:
        weights = self._models[trial].get_weights() if trial in self._models else self.table.weights(trial)
        if weights is None:
            raise PluginError(f"a trial is to continue from trial {trial}, whose weights don't exist")
        return list(weights)

    def _model(self, result: TrialResult) -> Any:
        """Return a trial's trained model, built again where the trial is of an earlier run."""
        if result.id in self._models:
            return self._models[result.id]
        if self._trainer.in_one_go:
            return self._fitted_again(result)
        weights = self.table.weights(result.id)
        if weights is None:
            raise RunStoreError(f"the weights of trial {result.id} were not kept", "start a new search")
        model = self._trainer.build(self._with_values(result.values), result.id)
        try:
            model.set_weights(weights)
        except ValueError as error:
            raise self.table.misfit(result.id, str(error).partition("\n")[0]) from None
        return model

    def _fitted_again(self, result: TrialResult) -> Any:
        """Fit the model of an earlier run's trial again: a kept regressor would run code from its file to be read."""
        ((model, outcome),) = self._train([Trial(result.values)], [result.id], "trial", "train")
        if outcome.message:
            raise TrainingError(f"trial {result.id} of the earlier run can't be fitted again: {outcome.message}")
        before, after = result.metrics["loss"], outcome.metrics["loss"]
        if not np.isclose(before, after, rtol=1e-6, atol=1e-12):
            self._ctx.warn(
                f"trial {result.id}, fitted again for the resumed run, has the loss {after:.4g} where it had "
                f"{before:.4g}: {self._builder.label} does not follow the seed"
            )
        return model
