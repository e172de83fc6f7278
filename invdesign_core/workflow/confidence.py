"""The second model: one of another family, trained on the same rows, tells how far answers can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from invdesign_core.context import Context
from invdesign_core.data.data import Data, Rows, together
from invdesign_core.designs.report import SurrogateReport
from invdesign_core.errors import ConfigError, InvdesignError, PluginError, TrainingError, plugin_errors
from invdesign_core.plugin import Race, SurrogateBuilder
from invdesign_core.registry import Registry
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.surrogate.folds import make_folds
from invdesign_core.surrogate.scaling import Scaling, unwrapped
from invdesign_core.surrogate.second_model import OUTLIER, SecondModel
from invdesign_core.surrogate.settings import Confidence, Training
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.surrogate.trainer import Trainer
from invdesign_core.workflow.defaults import AUTO
from invdesign_core.workflow.train import ForwardModel

FOLDS = 5
"""Models of a second model that can't tell itself what it would say of a row, had it not learnt from it."""
MEMBERS = 3
"""Networks beside a searched model that knows itself how sure it is."""
QUICK = 0.25
"""The part of the epochs in which networks that take no part in a search learn well enough."""
MOST = 1000
"""Rows at most whose errors tell how far to trust a second model."""
MOST_OUTPUTS = 200
"""Outputs beyond which there is a second model only where one is named: a process is fitted to each of them."""
ENOUGH_ERRORS = 500
"""Errors from which on they tell of at least so much noise as a likelihood that saw some of the rows alone."""
MISFIT = 1.25
"""Errors that tell of so many times the noise or more are those of a model that does not suit the function."""
FEWEST = 8
"""Distinct designs without which there is no second model."""


def second_model(model: ForwardModel, confidence: Confidence, ctx: Context, registry: Registry) -> SecondModel | None:
    """Train the second model of a surrogate, on the rows that it learnt from; None where there is none, which is said.

    A model file has learnt from none; with a table it is compared on the rows of that.
    """
    if not confidence.wanted or model.rows is None:
        return None
    with ctx.clock.stage("train"):
        try:
            builder = second_builder(model.report, confidence, registry)
        except PluginError as error:  # none of the defaults is installed
            ctx.note(f"there are no intervals: {error.message}")
            return None
        many = len(model.surrogate.outputs)
        if confidence.model == AUTO and many > MOST_OUTPUTS:
            ctx.note(
                f"there are no intervals: a second model of {many} outputs takes very long; [confidence] "
                f'model = "{builder.name}" trains one all the same'
            )
            return None
        count = len(np.unique(model.rows.x, axis=0))
        if count < FEWEST:
            ctx.note(f"there are no intervals: {count} distinct designs are too few for a second model")
            return None
        try:
            return replace(_trained(builder, model.surrogate, data_of(model), ctx), level=confidence.level)
        except InvdesignError as error:
            ctx.warn(f"there are no intervals, since the second model ({builder.name}) failed: {error.message}")
            return None


def check_second(confidence: Confidence, registry: Registry) -> None:
    """Refuse a second model that is named and can't be one."""
    if confidence.wanted and confidence.model != AUTO:
        second_builder(None, confidence, registry)


def second_builder(first: SurrogateReport | None, confidence: Confidence, registry: Registry) -> SurrogateBuilder:
    """Return the builder of the second model beside a surrogate; refuse one that can't be used."""
    named = confidence.model or AUTO
    if named == AUTO:
        named = registry.label("surrogate", _family_beside(first, registry))
    builder: Any = registry.create("surrogate", named, {})
    if isinstance(builder, Race) or not builder.differentiable:
        raise ConfigError(
            f"[confidence] model: {named!r} can't be a second model",
            "name one that is differentiable and no race, such as gaussian-process or mlp; or none",
        )
    found: SurrogateBuilder = builder
    return found


def _family_beside(first: SurrogateReport | None, registry: Registry) -> str:
    """Return the name of the plugin that suits as second model."""
    plugins = {entry.name: entry.plugin for entry in registry.entries if entry.kind == "surrogate"}
    found = plugins.get("" if first is None else first.plugin or "")
    return str(getattr(found, "second", SurrogateBuilder.second))


def data_of(model: ForwardModel) -> Data:
    """Return the rows that a surrogate learnt from as a table."""
    known, space, outputs = model.known, model.surrogate.space, model.surrogate.outputs
    import pandas as pd

    frame = pd.concat([space.as_measured(known.x), pd.DataFrame(known.y, columns=list(outputs))], axis=1)
    partial = bool(np.isnan(known.y).any())
    return Data(frame, space, outputs, groups=known.groups, partial=partial, weights=known.weights)


def _trained(builder: SurrogateBuilder, searched: Surrogate, data: Data, ctx: Context) -> SecondModel:
    """Train a second model on all rows of a table.

    Where the searched model knows itself how sure it is, its standard deviations are used, and the second model tells
    by how much another family differs. Else that is a model which can say of each row what it would predict without it,
    as a process can, or one model for each fold.
    """
    x, y = data.x, data.y
    known = np.arange(len(x))
    nobody = known[:0]
    rows = Rows(x, y, known, nobody, nobody)
    with plugin_errors(f"{builder.label}: as a second model"):
        builder = builder.as_second(len(np.unique(x, axis=0)))
        settings = Training().with_recipe(builder.recipe(len(known)))
    work = _Work(Trainer(builder, data, rows, settings, replace(ctx, emit=lambda event: None)), rows)
    epochs = max(1, round(QUICK * settings.epochs))
    errors = _of_searched(searched, x, y, _some(known, ctx))
    models = [work.build(0)]
    if errors is not None:
        models += map(work.build, range(1, 1 if builder.closed_form else MEMBERS))
        work.train(models, [known] * len(models), epochs)
    elif hasattr(models[0], "left_out") and data.groups is None:
        work.train(models, [known], epochs)
        errors = work.errors(models, [_some(known, ctx)])
    else:
        folds = make_folds(together(x, data.groups), known, FOLDS, 1, ctx)
        models += map(work.build, range(1, len(folds)))
        work.train(models, [fold.train for fold in folds], epochs)
        errors = work.errors(models, [fold.left_out for fold in folds])
    members = [work.trainer.member(one) for one in models]
    surrogate = Surrogate.trained(members, data.space, data.outputs, work.trainer.scaling, x, y)
    knows = _process_of(searched) is not None
    return SecondModel(surrogate, builder.name, errors.ratios, errors.noise * np.abs(surrogate.scale), knows)


@dataclass(frozen=True)
class _Errors:
    """What a model gets wrong of k rows that it had not learnt from, in z: (k, m) arrays, and the (m,) noise."""

    error: FloatArray
    std: FloatArray
    noise: FloatArray

    @property
    def ratios(self) -> FloatArray:
        """(k, m) errors over the standard deviations of a measurement."""
        return np.asarray(self.error / np.sqrt(self.std**2 + self.noise**2 + np.finfo(np.float64).tiny))


def _process_of(searched: Surrogate) -> tuple[Any, Scaling] | None:
    """Return the one model of a surrogate that knows itself how sure it is, and its scaling; None for any other."""
    parts = unwrapped(searched.members[0]) if searched.differentiable and len(searched.members) == 1 else None
    return parts if parts is not None and hasattr(parts[0], "left_out") else None


def _of_searched(searched: Surrogate, x: FloatArray, y: FloatArray, rows: IndexArray) -> _Errors | None:
    """Return what the searched model gets wrong of rows, where it can say what it would predict without them."""
    parts = _process_of(searched)
    if parts is None:
        return None
    net, scaling = parts
    with plugin_errors("the searched model"):
        mean, std = net.left_out(scaling.inputs(x[rows]))
    error = scaling.outputs(y[rows]) - mean
    return _Errors(error, std, _at_least(np.asarray(net.noise), error, std))


def _at_least(noise: FloatArray, error: FloatArray, std: FloatArray) -> FloatArray:
    """Return (m,) noise, and no less than many (k, m) errors tell beside a model's standard deviations."""
    if len(error) < ENOUGH_ERRORS:
        return noise
    most = OUTLIER * np.sqrt(std**2 + noise**2)
    left = np.nanmean(np.clip(error, -most, most) ** 2 - std**2, axis=0)
    return np.asarray(np.where(left < (MISFIT * noise) ** 2, np.sqrt(np.maximum(noise**2, left)), noise))


@dataclass(frozen=True)
class _Work:
    """A second model under way: its models answer and are compared in standardised units."""

    trainer: Trainer
    rows: Rows

    def build(self, index: int) -> Any:
        """Build one of its models."""
        import keras_tuner as kt

        return self.trainer.build(kt.HyperParameters(), index, "second")

    def train(self, models: Sequence[Any], taught: Sequence[IndexArray], epochs: int) -> None:
        """Train its models, each on its own rows."""
        nobody = self.rows.validation
        outcomes = self.trainer.train(
            models,
            range(len(models)),
            "second",
            "train",
            [epochs] * len(models),
            parts=[(rows, nobody) for rows in taught],
        )
        failed = next((outcome for outcome in outcomes if not outcome.ok), None)
        if failed is not None:
            raise TrainingError(failed.message or "its loss is not finite")

    def errors(self, models: Sequence[Any], left_out: Sequence[IndexArray]) -> _Errors:
        """Return what each model gets wrong of rows that it had not learnt from, all together."""
        parts = [self._errors(models, at, rows) for at, rows in enumerate(left_out)]
        error, std = (np.concatenate(part) for part in zip(*parts, strict=True))
        if all(hasattr(model, "noise") for model in models):
            noise = np.mean([model.noise for model in models], axis=0)
            return _Errors(error, std, _at_least(noise, error, std))
        left = np.nanmean(error**2 - std**2, axis=0)
        return _Errors(error, std, np.sqrt(np.maximum(left, 0.0)))

    def _errors(self, models: Sequence[Any], at: int, rows: IndexArray) -> tuple[FloatArray, FloatArray]:
        """Return the errors of one model, and its standard deviations or those of the others."""
        if hasattr(models[at], "left_out"):
            mean, std = self.trainer.left_out(models[at], rows)
        else:
            answers = np.stack([self.trainer.answer(each, rows) for each in models])
            mean, std = answers[at], np.delete(answers, at, axis=0).std(axis=0)
        return self.trainer.scaling.outputs(self.rows.y[rows]) - mean, std


def _some(rows: IndexArray, ctx: Context) -> IndexArray:
    """Return at most `MOST` of the rows."""
    if len(rows) <= MOST:
        return rows
    return rows[np.sort(ctx.rng("second-calibration").permutation(len(rows))[:MOST])]
