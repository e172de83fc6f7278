"""`evaluate`: trains the trials that a tuner asks for, remembers them, and hands over the winner."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.context import Context, TrialEnded
from invdesign_core.data.data import Data, Rows
from invdesign_core.errors import (
    NOT_FAULTS,
    ConfigError,
    PluginError,
    RunStoreError,
    TrainingError,
    described,
    near_match,
    plugin_errors,
    plural,
)
from invdesign_core.space.digits import near
from invdesign_core.surrogate.loop import Outcome, train
from invdesign_core.surrogate.networks import architecture_key, check_network, ignore_missing, metric_directions, seeded
from invdesign_core.surrogate.regressors import REGRESSOR_METRICS, ScaledRegressor, check_pickles, fit_regressor
from invdesign_core.surrogate.scaling import Scaling
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.trial_table import TrialTable
from invdesign_core.surrogate.trials import Trial, TrialResult

if TYPE_CHECKING:
    import keras_tuner as kt

    from invdesign_core.surrogate.protocols import Builder, Tuner


class Evaluator:
    """The function that tuners call, with the memory that makes a search resumable.

    Parameters
    ----------
    builder : Builder
        Builds a network for given hyper-parameters.
    data : Data
        Handed to the builder.
    rows : Rows
        The numbers to train on.
    tuner : Tuner
        Its `objective` and `direction` make the score.
    settings : Training
        How to train.
    ctx : Context
        Seeds and events.
    table : TrialTable, optional
        Finished trials of an earlier run of the same search.

    Attributes
    ----------
    space : keras_tuner.HyperParameters
        The hyper-parameters found so far.
    fault : BaseException or None
        What was raised while training, which is not the tuner's doing.
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
        import keras_tuner as kt

        self._builder, self._data, self._rows, self._settings, self._ctx = builder, data, rows, settings, ctx
        self.table = table if table is not None else TrialTable()
        self.scaling = Scaling.of(rows.x[rows.train], rows.y[rows.train], builder.differentiable)
        self._h = self.scaling.inputs(rows.x) if settings.scale else rows.x
        self._z = self.scaling.outputs(rows.y) if settings.scale or not builder.differentiable else rows.y
        check_learnable(builder, data)
        self._row_weights = data.weights
        self._partial = bool(np.isnan(rows.y).any())
        self._models: dict[int, Any] = {}
        self.fault: BaseException | None = None
        self.space: kt.HyperParameters = kt.HyperParameters()
        first = self._build(self.space, 0)
        self._objective = tuner.objective
        self._sign = self._direction(first, tuner)

    def __call__(self, trials: Sequence[Trial], /) -> list[TrialResult]:
        """Train the trials that the table doesn't know, and return the results of all in the same order."""
        wanted = list(dict.fromkeys(trial.key for trial in trials))
        fresh = [next(t for t in trials if t.key == key) for key in wanted if self.table.find(key) is None]
        for key in wanted:  # before others are built, as they would know them without a kill between
            self._learn_space(self.table.find(key))
        if fresh:
            try:
                self._run(fresh)
            except BaseException as error:
                self.fault = error
                raise
        found = [self.table.find(trial.key) for trial in trials]
        for result in found:
            self._learn_space(result)
        return [_with_space(result, self.space) for result in found if result is not None]

    def _learn_space(self, result: TrialResult | None) -> None:
        """Know the hyper-parameters that a trial of an earlier run discovered."""
        import keras_tuner as kt

        if result is not None and result.id in self.table.spaces:
            self.space.merge(kt.HyperParameters.from_config(self.table.spaces[result.id]), overwrite=False)

    @property
    def best(self) -> TrialResult:
        """The trial with the smallest score.

        Raises
        ------
        TrainingError
            If no trial ended with a finite score.
        """
        good = [r for r in self.table.results if r.status == "ok"]
        if not good:
            if not self.table.results:
                raise TrainingError(
                    "the tuner asked for no trial", "increase its number of trials, or use another tuner"
                )
            reasons = {r.message for r in self.table.results}
            raise TrainingError(
                f"no usable surrogate in {plural(len(self.table.results), 'trial')}: {'; '.join(sorted(reasons))}",
                "try smaller learning rates, or look for outliers in the outputs",
            )
        return min(good, key=lambda r: (r.score, r.id))

    def winner(self) -> tuple[list[Any], dict[str, Any]]:
        """Return the models that make the surrogate, each from raw x to raw y, and how they came about.

        The first is the best trial's, or the same configuration trained again where that was asked
        for and is better; further members have weights and row orders of their own.
        """
        best = self.best
        models: list[Any] = [self._model(best)]
        report: dict[str, Any] = {"trial": best.id, "retrained": False, "score": self._sign * best.score}
        extra = self._settings.members - 1
        if self._settings.retrain or extra:
            count = int(self._settings.retrain) + extra
            again = self._train_values([best.values] * count, "member", "train", range(count))
            if self._settings.retrain:
                model, outcome, message = again.pop(0)
                watched = "val_loss" if len(self._rows.validation) else "loss"
                before, after = best.metrics[watched], outcome.metrics.get(watched, np.nan)
                if not message and after <= before:
                    models[0] = model
                    report |= {"retrained": True, "score": outcome.metrics[self._objective]}
                else:
                    unit = min(abs(after - before) / 10, 1e-3 * abs(before))
                    worse, better = near(after, unit), near(before, unit)
                    self._ctx.note(
                        f"training the winner again gave {watched} {worse}, worse than the trial's {better}; "
                        "the trial's weights are kept"
                    )
            failed = [message for _, outcome, message in again if message or not outcome.finite]
            if failed:
                self._ctx.warn(f"{len(failed)} of {extra} further members failed to train and are left out")
            models += [model for model, outcome, message in again if not message and outcome.finite]
        report["objective"] = self._objective
        with plugin_errors(self._builder.label):
            return [self._wrap(model) for model in models], report

    def _run(self, trials: Sequence[Trial]) -> None:
        known = {hp.name for hp in self.space.space}
        for trial in trials:
            for name in trial.values:
                if name not in known:
                    raise PluginError(f"a trial sets the hyper-parameter {name!r}", near_match(name, known))
        numbers = self.table.free_numbers(len(trials))

        def keep(at: int, model: Any, outcome: Outcome, message: str) -> None:
            self._keep(trials[at], numbers[at], model, outcome, message)

        trained = self._train_values(
            [t.values for t in trials],
            "trial",
            "tune",
            numbers,
            epochs=[t.epochs for t in trials],
            resume=[t.resume for t in trials],
            ended=keep,
        )
        if not all(outcome.complete for _, outcome, _ in trained):
            raise KeyboardInterrupt

    def _keep(self, trial: Trial, number: int, model: Any, outcome: Outcome, message: str) -> None:
        """Remember a trial that has ended, and say so."""
        score = np.inf
        if not message:
            score = self._score(outcome.metrics)
            if not (outcome.finite and np.isfinite(score)):
                message, score = "its loss is not finite (the training diverged)", np.inf
        result = TrialResult(
            number,
            score,
            "failed" if message else "ok",
            outcome.epochs,
            self._values(trial.values),
            self.space,
            outcome.metrics,
            message,
        )
        self._models[result.id] = model
        before = self.table.lost
        self.table.add(trial, result, self._weights(model))
        if self.table.lost is not before:
            self._ctx.warn(f"{self.table.lost}; trials are not kept from here on, so they can't be resumed")
        self._ctx.emit(
            TrialEnded(result.id, dict(result.values), self._sign * score, result.status, result.epochs, message)
        )

    def _train_values(
        self,
        values: Sequence[Mapping[str, Any]],
        purpose: str,
        stage: str,
        indices: Sequence[int],
        epochs: Sequence[int | None] | None = None,
        resume: Sequence[int | None] | None = None,
        ended: Callable[[int, Any, Outcome, str], None] | None = None,
    ) -> list[tuple[Any, Outcome, str]]:
        """Build and train a model for each set of values; return it, its outcome, and why it failed or ``""``.

        `ended` is told each of them, with its position, as soon as it has ended.
        """
        tell = ended or (lambda at, model, outcome, message: None)
        built: list[Any] = []
        for at, (value, index) in enumerate(zip(values, indices, strict=True)):
            hp = self.space.copy()
            hp.values.update(value)
            net = self._build(hp, index, purpose)
            self.space.merge(hp, overwrite=False)
            source = resume[at] if resume else None
            if source is not None and self._builder.differentiable:
                net.set_weights(self._resumable(source))
            built.append(net)
        if not self._builder.differentiable:
            fitted = []
            for at, (model, index) in enumerate(zip(built, indices, strict=True)):
                self._ctx.check_stop()
                outcome, message = self._fit_regressor(model, purpose, index)
                tell(at, model, outcome, message)
                fitted.append((model, outcome, message))
            return fitted
        limits = [(epochs[i] if epochs else None) or self._settings.epochs for i in range(len(built))]
        alike: dict[Any, list[int]] = {}
        for i, net in enumerate(built):
            alike.setdefault((architecture_key(net) or f"alone-{i}", limits[i]), []).append(i)
        size = self._settings.side_by_side
        groups = [(key, all_[at : at + size]) for key, all_ in alike.items() for at in range(0, len(all_), size)]
        results: list[tuple[Any, Outcome, str] | None] = [None] * len(built)
        columns = [self._h, self._z] if self._row_weights is None else [self._h, self._z, self._row_weights]
        train_on, watch = (tuple(c[part] for c in columns) for part in (self._rows.train, self._rows.validation))
        for (_, limit), members in groups:
            streams = [self._ctx.seed_for(f"{purpose}-order", indices[i]) for i in members]
            told = partial(_tell_member, tell, built, members)
            outcomes = self._train([built[i] for i in members], streams, (train_on, watch), limit, stage, told)
            for i, outcome in zip(members, outcomes, strict=True):
                results[i] = (built[i], outcome, "")
            if not all(outcome.complete for outcome in outcomes):
                break
        missing = Outcome(0, complete=False)
        found = [r or (built[i], missing, "") for i, r in enumerate(results)]
        if purpose != "trial" and not all(outcome.complete for _, outcome, _ in found):
            raise KeyboardInterrupt
        return found

    def _train(
        self,
        nets: list[Any],
        streams: list[int],
        data: tuple[Any, Any],
        epochs: int,
        stage: str,
        told: Callable[[int, Outcome], None],
    ) -> list[Outcome]:
        """Train networks of one configuration; what their layers, losses or optimizers raise is their builder's."""
        outside: list[BaseException] = []

        def noted(call: Callable[..., None]) -> Callable[..., None]:
            """Note what is raised by whoever watches the run, who may end it so, or keeps its trials."""

            def noting(*args: Any) -> None:
                try:
                    call(*args)
                except BaseException as error:
                    outside.append(error)
                    raise

            return noting

        ctx = replace(self._ctx, emit=noted(self._ctx.emit))
        try:
            with plugin_errors(self._builder.label):
                return train(nets, streams, data, self._settings, epochs, ctx, stage, noted(told))
        except PluginError:
            if outside:
                raise outside[0] from None
            raise

    def _fit_regressor(self, model: Any, purpose: str, index: int) -> tuple[Outcome, str]:
        with seeded(self._ctx.seed_for(f"{purpose}-fit", index)):
            return fit_regressor(model, self._h, self._z, self._rows, self._builder.label)

    def _build(self, hp: kt.HyperParameters, index: int, purpose: str = "trial") -> Any:
        """Call the builder, with seeds of its own, and check what it returns."""
        who = self._builder.label
        seed = self._ctx.seed_for(purpose, index)
        with seeded(seed):
            try:
                net = call_build(self._builder, hp, self._data, replace(self._ctx, seed=seed))
            except NOT_FAULTS:
                raise
            except BaseException as error:
                raise PluginError(f"{who} failed to build: {described(error)}") from error
            with plugin_errors(f"{who}: what it built"):
                if not self._builder.differentiable:
                    if not (hasattr(net, "fit") and hasattr(net, "predict")):
                        raise PluginError(f"{who} built {type(net).__name__}, expected something with fit and predict")
                    check_pickles(net, who)
                    return net
                check_network(net, self._data.space.width, len(self._data.outputs), who)
                if self._partial:
                    ignore_missing(net)
        return net

    def _direction(self, net: Any, tuner: Tuner) -> float:
        """Return 1 where the tuner's objective is to be small, -1 where large."""
        if self._builder.differentiable:
            sample = [np.asarray(a[self._rows.train[:1]], np.float32) for a in (self._h, self._z)]
            with plugin_errors(f"{self._builder.label}: the loss or the metrics of its network"):
                net._symbolic_build(data_batch=tuple(sample))
                known = dict(metric_directions(net))
        else:
            known = dict(REGRESSOR_METRICS)
        if not len(self._rows.validation):
            self._objective = self._objective.removeprefix("val_")
        else:
            known |= {f"val_{name}": direction for name, direction in known.items()}
        if self._objective not in known:
            raise ConfigError(
                f"[tuner] objective: no metric reports {self._objective!r}",
                near_match(self._objective, known),
            )
        direction = tuner.direction if tuner.direction != "auto" else known[self._objective]
        if direction is None:
            raise ConfigError(
                f"[tuner] objective: Keras doesn't know whether {self._objective!r} is to be minimised or maximised",
                'set tuner.direction = "min" or "max"',
            )
        return 1.0 if direction == "min" else -1.0

    def _score(self, metrics: Mapping[str, float]) -> float:
        return self._sign * metrics[self._objective]

    def _values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return all active hyper-parameters with the values that were used."""
        hp = self.space.copy()
        hp.values.update(values)
        return {p.name: hp.values.get(p.name, p.default) for p in hp.space if hp.is_active(p)}

    def _weights(self, model: Any) -> list[Any] | None:
        return [np.asarray(w) for w in model.get_weights()] if self._builder.differentiable else None

    def _resumable(self, trial: int) -> list[Any]:
        weights = self._weights(self._models[trial]) if trial in self._models else self.table.weights(trial)
        if weights is None:
            raise PluginError(f"a trial is to continue from trial {trial}, whose weights don't exist")
        return weights

    def _model(self, result: TrialResult) -> Any:
        """Return a trial's trained model, built again where the trial is of an earlier run."""
        if result.id not in self._models:
            if not self._builder.differentiable:
                self._models[result.id] = self._fitted_again(result)
                return self._models[result.id]
            weights = self.table.weights(result.id)
            if weights is None:
                raise RunStoreError(f"the weights of trial {result.id} were not kept", "start a new search")
            hp = self.space.copy()
            hp.values.update(result.values)
            model = self._build(hp, result.id)
            try:
                model.set_weights(weights)
            except ValueError as error:
                raise self.table.misfit(result.id, str(error).partition("\n")[0]) from None
            self._models[result.id] = model
        return self._models[result.id]

    def _fitted_again(self, result: TrialResult) -> Any:
        """Fit the regressor of an earlier run's trial again: a kept one would run code from its file to be read."""
        ((model, outcome, message),) = self._train_values([result.values], "trial", "train", [result.id])
        if message:
            raise TrainingError(f"trial {result.id} of the earlier run can't be fitted again: {message}")
        before, after = result.metrics["loss"], outcome.metrics["loss"]
        if not np.isclose(before, after, rtol=1e-6, atol=1e-12):
            self._ctx.warn(
                f"trial {result.id}, fitted again for the resumed run, has the loss {after:.4g} where it had "
                f"{before:.4g}: {self._builder.label} does not follow the seed"
            )
        return model

    def _wrap(self, model: Any) -> Any:
        if not self._builder.differentiable:
            return ScaledRegressor(model, self.scaling, self._settings.scale)
        import keras

        from invdesign_core.surrogate.scaling import as_columns

        if self._settings.scale:
            return self.scaling.wrap(model)
        x = keras.Input((self._data.space.width,), name="x")
        return keras.Model(x, as_columns(model(x)), name="surrogate")


def call_build(builder: Builder, hp: kt.HyperParameters, data: Data, ctx: Context) -> Any:
    """Call a builder's `build` with those of ``hp``, ``data`` and ``ctx`` that it takes.

    They are passed by name where it uses these names, and otherwise in this order.
    """
    offered = {"hp": hp, "data": data, "ctx": ctx}
    try:
        parameters = inspect.signature(builder.build).parameters.values()
    except (TypeError, ValueError):  # built in
        return builder.build(*offered.values())
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return builder.build(*offered.values())
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return builder.build(**offered)
    required = [p for p in parameters if p.default is p.empty]
    if all(p.name in offered and p.kind is not p.POSITIONAL_ONLY for p in required):
        return builder.build(**{p.name: offered[p.name] for p in parameters if p.name in offered})
    return builder.build(*list(offered.values())[: len(required)])


def _tell_member(
    tell: Callable[[int, Any, Outcome, str], None],
    built: Sequence[Any],
    members: Sequence[int],
    at: int,
    outcome: Outcome,
) -> None:
    """Pass on that a network of a group has ended; `members` has each one's position among those built."""
    tell(members[at], built[members[at]], outcome, "")


def check_learnable(builder: Builder, data: Data) -> None:
    """Refuse data that only a network could learn from, where the builder builds none.

    Raises
    ------
    PluginError
        Naming what the data have.
    """
    if builder.differentiable:
        return
    if data.weights is not None:
        raise PluginError(
            f"{builder.label} is not a neural network; row weights are only supported for neural networks",
            "remove them",
        )
    if np.isnan(data.y).any():
        raise PluginError(
            f"{builder.label} is not a neural network and can't be trained on rows where an output was not measured",
            "leave those rows out, or train one surrogate for each output",
        )


def _with_space(result: TrialResult, space: kt.HyperParameters) -> TrialResult:
    return replace(result, space=space)
