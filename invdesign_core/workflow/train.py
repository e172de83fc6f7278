"""From data to a trained and tested surrogate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from invdesign_core.context import Context, StageStarted
from invdesign_core.data.columns import is_constant
from invdesign_core.data.data import Data, Rows, TrainingRows, split_rows
from invdesign_core.data.quality import doubts_of_split
from invdesign_core.designs.report import OutputMetrics, SurrogateReport
from invdesign_core.designs.verdict import few_rows, metric_warnings, r2_range
from invdesign_core.errors import PluginError, plugin_errors
from invdesign_core.plugin import Race
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.surrogate.cross_validation import CrossValidation
from invdesign_core.surrogate.evaluate import Evaluator
from invdesign_core.surrogate.second_model import SecondModel
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.surrogate.trials import Trial, TrialResult, TrialTable, check_trials
from invdesign_core.truth.simulated import Truth

if TYPE_CHECKING:
    from invdesign_core.plugin import SurrogateBuilder, Tuner


@dataclass(frozen=True)
class ForwardModel:
    """A surrogate and what is known of it."""

    surrogate: Surrogate
    report: SurrogateReport
    """How good it is."""
    rows: TrainingRows | None = None
    """The rows that it learnt from, and those held out for the test."""
    truth: Truth | None = None
    """The true model, by which designs are judged."""
    second: SecondModel | None = None
    """Another model of the same rows, which tells how far the answers can be trusted."""

    @property
    def known(self) -> TrainingRows:
        """The rows of a model that was trained here."""
        assert self.rows is not None
        return self.rows

    @property
    def of_more_rows(self) -> int:
        """Of how many rows it has learnt, where these are more than are known; else 0."""
        count = sum(self.report.rows.get(part, 0) for part in ("train", "validation", "test"))
        return count if self.rows is not None and count > len(self.rows.measured.x) else 0


def settle(data: Data, builder: SurrogateBuilder, training: Training, ctx: Context) -> tuple[Training, Rows]:
    """Split the rows, and let the builder's recipe for so many set what the user did not."""
    test = training.held_out(raced=isinstance(builder, Race))
    rows = split_rows(data, test, training.validation, ctx)
    with plugin_errors(f"{builder.label}: its recipe", code=[builder]):
        training = training.with_recipe(builder.recipe(len(rows.train) + len(rows.validation)))
    return training, split_rows(data, test, training.validation, ctx)


def expects_validation(builder: SurrogateBuilder, training: Training) -> bool:
    """Whether there should be validation rows: neither a fit in one go nor the builder's recipe does without them."""
    return not builder.closed_form and (training.validation > 0 or "validation" in training.model_fields_set)


def fit(
    data: Data,
    builder: SurrogateBuilder,
    tuner: Tuner,
    training: Training,
    ctx: Context,
    table: TrialTable | None = None,
) -> ForwardModel:
    """Split, tune, train, and test on the rows held out; `table` has finished trials of the same search."""
    training, rows = settle(data, builder, training, ctx)
    for doubt in doubts_of_split(rows) if expects_validation(builder, training) else []:
        ctx.warn(doubt)
    model = fit_rows(data, rows, builder, tuner, training, ctx, table)
    tell_of_test(model.report.test, ctx)
    return model


def fit_rows(
    data: Data,
    rows: Rows,
    builder: SurrogateBuilder,
    tuner: Tuner,
    training: Training,
    ctx: Context,
    table: TrialTable | None = None,
) -> ForwardModel:
    """Tune, train, and test on rows that were split before, by settings that a recipe has gone into."""
    with ctx.clock.stage("tune"):
        ctx.emit(StageStarted("tune"))
        evaluator = Evaluator(builder, data, rows, tuner, training, ctx, table)
        tune(tuner, evaluator, ctx)
    with ctx.clock.stage("train"):
        ctx.emit(StageStarted("train"))
        members, how = evaluator.winner()
        known, test = known_rows(rows, data), rows.test
        surrogate = Surrogate.trained(members, data.space, data.outputs, evaluator.scaling, known.x, known.y)
        report = SurrogateReport(
            plugin=builder.name,
            members=len(members),
            trials=len(evaluator.table.results),
            failed=sum(r.status == "failed" for r in evaluator.table.results),
            best=dict(evaluator.best.values),
            objective=how["objective"],
            score=how["score"],
            retrained=how["retrained"],
            trained_again=how["trained_again"],
            left_out=how["left_out"],
            rows={"train": evaluator.learnt, "validation": len(rows.validation), "test": len(rows.test)},
            test=test_metrics(surrogate, rows.x[test], rows.y[test]),
        )
    return ForwardModel(surrogate, report, known)


def tune(tuner: Tuner, evaluate: Evaluator | CrossValidation, ctx: Context) -> None:
    """Have a tuner ask for trials."""

    def checked(trials: Sequence[Trial], /) -> list[TrialResult]:
        """Train what can be trained."""
        check_trials(trials, evaluate.space, evaluate.numbers)
        return evaluate(trials)

    try:
        with plugin_errors(tuner.label, code=[tuner]):
            tuner.search(evaluate.space.copy(), checked, ctx)
    except PluginError:
        if evaluate.fault is not None:  # raised inside `evaluate`: not the tuner's
            raise evaluate.fault from None
        raise


def known_rows(rows: Rows, data: Data) -> TrainingRows:
    """Return the rows that teach, with those held out for the test."""
    seen, test = np.concatenate([rows.train, rows.validation]), rows.test

    def part(chosen: IndexArray) -> TrainingRows:
        weights = None if data.weights is None else np.asarray(data.weights[chosen], dtype=np.float64)
        groups = None if data.groups is None else np.asarray(data.groups)[chosen].astype(str)
        numbers = chosen + 1 if data.large is None else data.large.sampled[chosen]
        return TrainingRows(rows.x[chosen], rows.y[chosen], numbers, weights=weights, groups=groups)

    watched = np.isin(seen, rows.validation)
    return part(seen)._replace(watched=watched, held_out=part(test) if len(test) else None)


def tell_of_test(test: Mapping[str, OutputMetrics], ctx: Context, row: str = "test row") -> None:
    """Say what is uncertain or odd about the metrics on rows that a surrogate never saw; `row` names one of them."""
    for note in few_rows(test, row):
        ctx.note(note)
    for doubt in metric_warnings(test):
        ctx.warn(doubt)


def untested(surrogate: Surrogate, plugin: str | None = None) -> SurrogateReport:
    """Return the report of a surrogate of which nothing is known but its members."""
    return SurrogateReport(
        plugin=plugin,
        members=len(surrogate.members),
        trials=0,
        failed=0,
        best={},
        objective=None,
        score=None,
        retrained=False,
        rows={},
        test={},
    )


def test_metrics(surrogate: Surrogate, x: FloatArray, y: FloatArray) -> dict[str, OutputMetrics]:
    """Return R², MAE and RMSE of each output on (n, e) designs with (n, m) measured outputs."""
    if not len(x):
        return {}
    prediction = surrogate.predict(x).mean
    return {name: output_metrics(prediction[:, m], y[:, m]) for m, name in enumerate(surrogate.outputs)}


def output_metrics(prediction: FloatArray, y: FloatArray, rows: int | None = None) -> OutputMetrics:
    """Compare one output's (n,) predictions with what was measured, where it was; `rows` if some count twice."""
    measured = np.isfinite(y)
    if not measured.any():
        return OutputMetrics(r2=None, mae=None, rmse=None)
    y, error = y[measured], prediction[measured] - y[measured]
    deviation = 0.0 if is_constant(y.min(), y.max()) else float(((y - y.mean()) ** 2).sum())
    r2 = 1 - float((error**2).sum()) / deviation if deviation > 0 else None
    return OutputMetrics(
        r2=r2,
        mae=float(np.abs(error).mean()),
        rmse=float(np.sqrt((error**2).mean())),
        rows=rows or len(y),
        r2_range=None if r2 is None else r2_range(r2, rows or len(y)),
    )
