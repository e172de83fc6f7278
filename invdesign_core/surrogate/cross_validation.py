"""Cross-validation of one builder: its models on every fold side by side, tuned by what they get wrong out of fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.context import Context
from invdesign_core.data.data import Data, Rows
from invdesign_core.errors import TrainingError, plugin_errors
from invdesign_core.space.arrays import FloatArray
from invdesign_core.surrogate.folds import Fold, Indices, thinned, validation_part
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.trainer import Trainer
from invdesign_core.surrogate.trials import Trial, TrialResult

if TYPE_CHECKING:
    import keras_tuner as kt

    from invdesign_core.surrogate.protocols import Builder

SHARES = (0.25, 0.5)
"""The parts of a fold's training rows that a learning curve is drawn through, beside all of them."""
QUICK = 0.25
"""The part of the epochs in which a training along a cosine tells good hyper-parameters from bad ones."""
MOST_MEMBERS = ((1000, 3), (5000, 2))
"""Members that are trained for each fold at most, below so many rows: more lower the error by a few hundredths. Of more
rows the quick look tells enough."""
STEPS = 64
"""Steps that an epoch should have: one of few takes longer to start than to run."""


@dataclass(frozen=True)
class Pool:
    """The rows that a race works with, and the (n,) numbers that rows which belong together share.

    `rows.train` are dealt out to the folds. `asked` are the positions of the outputs that decide, `scale` the (m,)
    standard deviations that errors are measured by.
    """

    data: Data
    rows: Rows
    group: Indices
    folds: Sequence[Fold]
    asked: Indices
    scale: FloatArray

    @property
    def counts(self) -> tuple[int, int]:
        """The folds of one repeat, and the repeats."""
        repeats = 1 + max(fold.repeat for fold in self.folds)
        return len(self.folds) // repeats, repeats

    def fold_errors(self, predicted: FloatArray) -> FloatArray:
        """Return the (f, m) mean squared errors of (r, n, m) out-of-fold predictions, NaN where none was measured."""
        found = []
        for fold in self.folds:
            wrong = (predicted[fold.repeat, fold.left_out] - self.rows.y[fold.left_out]) / self.scale
            measured = np.isfinite(self.rows.y[fold.left_out])
            count = measured.sum(axis=0)
            total = np.where(measured, wrong**2, 0.0).sum(axis=0)
            found.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
        return np.array(found)

    def over_asked(self, errors: FloatArray) -> FloatArray:
        """Return the (f,) means of (f, m) errors over the outputs that decide, where any was measured."""
        asked = errors[:, self.asked]
        known = np.isfinite(asked).any(axis=1)
        return np.asarray(np.nanmean(asked[known], axis=1))


@dataclass(frozen=True)
class Validated:
    """What a cross-validation found: the best hyper-parameters, and (r, n, m) predictions for rows never seen.

    `alone` are the predictions of the trial that was best, whose number is `number`; the learning curve is compared
    with them.
    """

    values: dict[str, Any]
    number: int
    predicted: FloatArray
    alone: FloatArray
    members: int


class CrossValidation:
    """The function that a tuner calls to have trials cross-validated: the models of one builder on every fold.

    `space` holds the hyper-parameters found so far, `fault` what was raised while training, which is not the tuner's.
    """

    def __init__(self, builder: Builder, pool: Pool, settings: Training, ctx: Context) -> None:
        """Build a first model, for its hyper-parameters."""
        import keras_tuner as kt

        self._builder, self._pool, self._settings, self._ctx = builder, pool, settings, ctx
        self._trainer = Trainer(builder, pool.data, pool.rows, settings, ctx)
        self.space: kt.HyperParameters = kt.HyperParameters()
        self._trainer.build(self.space, 0, "race")
        self._known: dict[str, TrialResult] = {}
        self._predicted: dict[str, FloatArray] = {}
        self._wholes: dict[int, Any] = {}
        self._models: dict[int, list[Any]] = {}
        # A training along a cosine that watches nothing can have any length.
        self._elastic = not (self._trainer.in_one_go or settings.watches) and settings.schedule == "cosine"
        self.fault: BaseException | None = None

    def winner(self) -> Validated:
        """Return the best of the trials asked for, together with its further members."""
        best = self._best()
        alone = self._predicted[best]
        values, number = dict(self._known[best].values), self._known[best].id
        rows = len(self._pool.rows.train)
        most = next((count for below, count in MOST_MEMBERS if rows < below), 1)
        members = 1 if self._trainer.in_one_go else min(self._settings.members, most)
        predicted = [] if self._elastic and rows < MOST_MEMBERS[-1][0] else [alone]  # else that was a quick look
        if members > len(predicted):
            predicted += self._further(values, members - len(predicted))
        mean = np.mean(predicted or [alone], axis=0)
        return Validated(values, number, mean, alone, max(len(predicted), 1))

    def curve(self, found: Validated) -> FloatArray:
        """Return (s + 1, f) errors of one member that learnt from each of `SHARES` of a fold's rows, and from all."""
        folds = self._pool.folds
        jobs = [(share, k) for share in SHARES for k in range(len(folds))]
        models = [self._build(found.values, "race-curve", i) for i in range(len(jobs))]
        parts = []
        for share, k in jobs:
            learns, watched = self._part(thinned(self._pool.group, folds[k].train, share, self._ctx, k), k)
            if not self._trainer.in_one_go:  # as many steps as with all rows
                learns = np.resize(learns, len(self._part(folds[k].train, k)[0]))
            parts.append((learns, watched))
        if self._builder.closed_form:
            self._start_from(models, self.whole(found.values, found.number))
        outcomes = self._train(models, range(len(jobs)), "race-curve", parts, [self._first_look] * len(jobs))
        if not all(outcome.ok for outcome in outcomes):
            raise TrainingError("a model that learnt from a part of the rows failed to train")
        errors = []
        for at in range(len(SHARES)):
            chosen = models[at * len(folds) : (at + 1) * len(folds)]
            errors.append(self._asked_errors(self._out_of_fold(chosen)))
        return np.array([*errors, self._asked_errors(found.alone)])

    def whole(self, values: Mapping[str, Any], number: int) -> Any:
        """Return a model in closed form of all rows: the folds' models start from it, and it may be what is kept."""
        if number not in self._wholes:
            model = self._build(values, "race-whole", number)
            rows = self._pool.rows.train
            (outcome,) = self._train([model], [number], "race-whole", [(rows, rows[:0])])
            if not outcome.ok:
                raise TrainingError(outcome.message)
            self._wholes[number] = model
        return self._wholes[number]

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers of the trials that may be resumed."""
        return frozenset(self._models)

    def member_of(self, model: Any) -> Any:
        """Return a model as a member of a surrogate."""
        return self._trainer.member(model)

    @property
    def scaling(self) -> Any:
        """The units that its models work in."""
        return self._trainer.scaling

    def _best(self) -> str:
        """Return the key of the trial with the smallest error out of fold."""
        good = {key: result for key, result in self._known.items() if result.status == "ok"}
        if not good:
            reasons = sorted({result.message for result in self._known.values()}) or ["the tuner asked for no trial"]
            raise TrainingError("; ".join(reasons))
        return min(good, key=lambda key: (good[key].score, good[key].id))

    def __call__(self, trials: Sequence[Trial], /) -> list[TrialResult]:
        """Cross-validate the trials that are not known yet, all of their models side by side."""
        fresh = {trial.key: trial for trial in trials if trial.key not in self._known}
        try:
            if fresh:
                self._validate(list(fresh.values()))
        except BaseException as error:
            self.fault = error
            raise
        return [self._known[trial.key] for trial in trials]

    def _validate(self, trials: Sequence[Trial]) -> None:
        """Train a model of each trial on each fold, and remember what they say of the rows left out."""
        folds, first = self._pool.folds, len(self._known)
        numbers = [(first + i) * len(folds) + k for i in range(len(trials)) for k in range(len(folds))]
        models = [self._build(trials[i // len(folds)].values, "race", number) for i, number in enumerate(numbers)]
        if self._builder.closed_form:
            for i, trial in enumerate(trials):
                self._start_from(models[i * len(folds) : (i + 1) * len(folds)], self.whole(trial.values, first + i))
        for i, trial in enumerate(trials):
            if trial.resume is not None and not self._trainer.in_one_go:
                for model, before in zip(models[i * len(folds) :], self._models[trial.resume], strict=False):
                    model.set_weights(before.get_weights())
        parts = [self._part(fold.train, k) for _ in trials for k, fold in enumerate(folds)]
        epochs = [trial.epochs or self._first_look for trial in trials for _ in folds]
        outcomes = self._train(models, numbers, "race", parts, epochs)
        for i, trial in enumerate(trials):
            mine = slice(i * len(folds), (i + 1) * len(folds))
            message = next((o.message or "its loss is not finite" for o in outcomes[mine] if not o.ok), "")
            score = np.inf
            self._models[first + i] = models[mine]
            if not message:
                predicted = self._predicted[trial.key] = self._out_of_fold(models[mine])
                if np.isfinite(predicted[:, self._pool.rows.train]).all():
                    score = float(self._asked_errors(predicted).mean())
                else:
                    message = "its predictions are not finite"
            epochs_done = max(outcome.epochs for outcome in outcomes[mine])
            self._known[trial.key] = TrialResult(
                first + i,
                score,
                "failed" if message else "ok",
                epochs_done,
                self._used(trial.values),
                self.space,
                {"val_loss": score},
                message,
            )

    def _start_from(self, models: Sequence[Any], whole: Any) -> None:
        """Let models that can do so begin where another one ended."""
        for model in models:
            if whole is not None and hasattr(model, "start_from"):
                with plugin_errors(self._builder.label, code=[self._builder]):
                    model.start_from(whole)

    def _further(self, values: dict[str, Any], count: int) -> list[FloatArray]:
        """Return what further members say of the rows left out; those of a member that fails on a fold are left out."""
        folds = self._pool.folds
        numbers = list(range(count * len(folds)))
        models = [self._build(values, "race-member", number) for number in numbers]
        parts = [self._part(folds[i % len(folds)].train, i + len(folds)) for i in numbers]
        outcomes = self._train(models, numbers, "race-member", parts)
        said = []
        for at in range(0, len(models), len(folds)):
            if all(outcome.ok for outcome in outcomes[at : at + len(folds)]):
                said.append(self._out_of_fold(models[at : at + len(folds)]))
        return said

    def _part(self, rows: Indices, index: int) -> tuple[Indices, Indices]:
        """Return the rows that a model trains on, and those that its early stopping watches."""
        share = 0.0 if self._trainer.in_one_go else self._settings.validation
        return validation_part(self._pool.group, rows, share, self._ctx, index)

    @property
    def _first_look(self) -> int:
        """The epochs of a trial that doesn't say how many."""
        epochs = self._settings.epochs
        return max(1, round(QUICK * epochs)) if self._elastic else epochs

    def _train(
        self,
        models: Sequence[Any],
        numbers: Sequence[int],
        purpose: str,
        parts: Sequence[tuple[Indices, Indices]],
        epochs: Sequence[int] | None = None,
    ) -> list[Any]:
        """Train models on parts of the rows; where epochs would be short, fewer that go over the rows several times."""
        epochs = epochs or [self._settings.epochs] * len(models)
        if self._elastic:
            steps = -(-max(len(learns) for learns, _ in parts) // self._settings.batch_size)
            shortest = min(*epochs, max(1, round(QUICK * self._settings.epochs)))  # one length, compiled once
            times = max(1, min(round(STEPS / steps), shortest // 10))
            parts = [(np.tile(learns, times), watched) for learns, watched in parts]
            epochs = [-(-count // times) for count in epochs]
        return self._trainer.train(models, numbers, purpose, "race", epochs, parts=parts)

    def _build(self, values: Any, purpose: str, number: int) -> Any:
        hp = self.space.copy()
        hp.values.update(values)
        model = self._trainer.build(hp, number, purpose)
        self.space.merge(hp, overwrite=False)
        return model

    def _used(self, values: Any) -> dict[str, Any]:
        """Return all hyper-parameters as a trial used them."""
        hp = self.space.copy()
        hp.values.update(values)
        return {p.name: hp.values.get(p.name, p.default) for p in hp.space if hp.is_active(p)}

    def _out_of_fold(self, models: Sequence[Any]) -> FloatArray:
        """Return (r, n, m) predictions: of each row what the models say that did not learn from it."""
        y, folds = self._pool.rows.y, self._pool.folds
        found = np.full((self._pool.counts[1], *y.shape), np.nan)
        most = max(len(fold.left_out) for fold in folds)
        for model, fold in zip(models, folds, strict=True):
            rows = np.resize(fold.left_out, most)  # of one size, so that nothing is compiled twice
            found[fold.repeat, fold.left_out] = self._in_units(self._trainer.answer(model, rows))[: len(fold.left_out)]
        return found

    def _in_units(self, z: FloatArray) -> FloatArray:
        """Return outputs in the user's units for what the models answer."""
        scaling = self._trainer.scaling
        raw = self._builder.differentiable and not self._settings.scale
        return z if raw else scaling.y_shift + scaling.y_scale * z

    def _asked_errors(self, predicted: FloatArray) -> FloatArray:
        """Return the (f,) errors of the folds: the mean square over the outputs that decide, in standardised units."""
        return self._pool.over_asked(self._pool.fold_errors(predicted))
