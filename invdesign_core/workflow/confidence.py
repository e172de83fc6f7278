"""The second model: one of another family, trained on the same rows, tells how far answers can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from invdesign_core.context import Context
from invdesign_core.data.data import Data, Rows, together
from invdesign_core.designs.report import SurrogateReport
from invdesign_core.errors import ConfigError, InvdesignError, TrainingError, plugin_errors
from invdesign_core.plugin import Race, SurrogateBuilder
from invdesign_core.registry import Registry
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.surrogate.folds import make_folds
from invdesign_core.surrogate.second_model import SecondModel
from invdesign_core.surrogate.settings import Confidence, Training
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.surrogate.trainer import Trainer
from invdesign_core.workflow.defaults import AUTO
from invdesign_core.workflow.train import ForwardModel

FOLDS = 5
"""Models of a second model that can't tell itself what it would say of a row, had it not learnt from it."""
MOST = 1000
"""Rows at most whose errors tell how far to trust a second model."""
FEWEST = 8
"""Distinct designs without which there is no second model."""


def second_model(
    model: ForwardModel,
    data: Data,
    confidence: Confidence,
    ctx: Context,
    registry: Registry,
) -> SecondModel | None:
    """Train the second model of a trained surrogate, on the same rows; None where there is none, which is said."""
    if not confidence.wanted:
        return None
    with ctx.clock.stage("train"):
        builder = second_builder(model.report, confidence, registry)
        assert model.rows is not None
        count = len(np.unique(model.rows.x, axis=0))
        if count < FEWEST:
            ctx.note(f"there are no intervals: {count} distinct designs are too few for a second model")
            return None
        try:
            return replace(_trained(builder, model, data, ctx), level=confidence.level)
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
    """Return the name of the plugin that suits as second model: of a weighted mean the one with the least part in it.

    It has none at all where a part's plugin names another one.
    """
    plugins = {entry.name: entry.plugin for entry in registry.entries if entry.kind == "surrogate"}
    parts = {} if first is None else {first.plugin or "": 1.0}
    if first is not None and first.race is not None and first.race.weights is not None:
        parts = {name: sum(weights.values()) for name, weights in first.race.weights.items()}
    named = [str(getattr(plugins.get(name), "second", SurrogateBuilder.second)) for name in parts]
    return min(named or [SurrogateBuilder.second], key=lambda name: parts.get(name, 0.0))


def _trained(builder: SurrogateBuilder, model: ForwardModel, data: Data, ctx: Context) -> SecondModel:
    """Train a second model on the rows that a surrogate learnt from."""
    assert model.rows is not None
    assert model.rows.rows is not None
    known, x, y = model.rows.rows - 1, data.x, data.y
    rows = Rows(x, y, known, known[:0], known[:0])
    with plugin_errors(f"{builder.label}: as a second model"):
        builder = builder.as_second(len(np.unique(x[known], axis=0)))
        settings = Training().with_recipe(builder.recipe(len(known)))
    work = _Work(Trainer(builder, data, rows, settings, replace(ctx, emit=lambda event: None)), rows, ctx)
    first = work.build(0)
    alone = hasattr(first, "left_out") and data.groups is None
    if alone:
        models, taught, left_out = [first], [known], [_some(known, ctx)]
    else:
        folds = make_folds(together(x, data.groups), known, FOLDS, 1, ctx)
        models = [first, *map(work.build, range(1, len(folds)))]
        taught, left_out = [fold.train for fold in folds], [fold.left_out for fold in folds]
    work.train(models, taught, settings.epochs)
    error, std = (np.concatenate(part) for part in zip(*work.errors(models, left_out), strict=True))
    noise = work.noise(models, error, std)
    members = [work.trainer.member(one) for one in models]
    scaling = work.trainer.scaling
    surrogate = Surrogate.trained(members, data.space, data.outputs, scaling, x[known], y[known])
    least = np.finfo(np.float64).tiny
    ratios = error / np.sqrt(std**2 + noise**2 + least)
    return SecondModel(surrogate, builder.name, ratios, noise * np.abs(scaling.y_scale))


@dataclass(frozen=True)
class _Work:
    """A second model under way: its models answer and are compared in standardised units."""

    trainer: Trainer
    rows: Rows
    ctx: Context

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

    def errors(self, models: Sequence[Any], left_out: Sequence[IndexArray]) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Yield what each model gets wrong of rows that it had not learnt from, and its standard deviations there."""
        z = self.trainer.scaling.outputs(self.rows.y)
        for at, (model, rows) in enumerate(zip(models, left_out, strict=True)):
            if hasattr(model, "left_out"):
                mean, std = self.trainer.left_out(model, rows)
            else:
                answers = np.stack([self.trainer.answer(each, rows) for each in models])
                mean, std = answers[at], np.delete(answers, at, axis=0).std(axis=0)
            yield z[rows] - mean, std

    def noise(self, models: Sequence[Any], error: FloatArray, std: FloatArray) -> FloatArray:
        """Return the (m,) standard deviations of a measurement: as a model knows them, else what errors leave."""
        if all(hasattr(model, "noise") for model in models):
            return np.asarray(np.mean([model.noise for model in models], axis=0))
        left = np.nanmean(error**2 - std**2, axis=0)
        return np.asarray(np.sqrt(np.maximum(left, 0.0)))


def _some(rows: IndexArray, ctx: Context) -> IndexArray:
    """Return at most `MOST` of the rows."""
    if len(rows) <= MOST:
        return rows
    return rows[np.sort(ctx.rng("second-calibration").permutation(len(rows))[:MOST])]
