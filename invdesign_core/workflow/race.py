"""The race: which surrogate suits the table, by cross-validation on the same folds; then the winner, trained."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from invdesign_core.context import CandidateStarted, Context, Piece, StageStarted
from invdesign_core.data.columns import is_constant
from invdesign_core.data.data import Data, Rows, split_rows, together
from invdesign_core.designs.comparison import (
    BLEND,
    MEAN,
    WORTH_IT,
    Standing,
    choose,
    no_better_than_mean,
    project,
    saved_by_blend,
    words,
    words_of_blend,
)
from invdesign_core.designs.report import CandidateReport, CurveReport, FoldMetrics, OutputMetrics, RaceReport
from invdesign_core.errors import ConfigError, InvdesignError, RunStoreError, TrainingError, plugin_errors, require
from invdesign_core.plugin import Race, SurrogateBuilder, Tuner
from invdesign_core.registry import Registry
from invdesign_core.space.arrays import FloatArray
from invdesign_core.surrogate.cross_validation import SHARES, CrossValidation, Pool, Validated
from invdesign_core.surrogate.folds import make_folds, plan_folds
from invdesign_core.surrogate.scaling import Scaling
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.surrogate.trials import Trial, TrialTable
from invdesign_core.workflow.chosen import Candidate, Chosen, Part, blended, weighted_mean
from invdesign_core.workflow.race_memory import RaceMemory
from invdesign_core.workflow.train import (
    ForwardModel,
    fit,
    fit_rows,
    known_rows,
    output_metrics,
    tell_of_test,
    test_metrics,
    tune,
    untested,
)

if TYPE_CHECKING:
    import keras_tuner as kt

    from invdesign_core.plugin import Evaluate


@dataclass(frozen=True)
class Finished:
    """What came of a candidate: its cross-validation, or why it is out."""

    candidate: Candidate
    found: Validated | None
    message: str | None
    seconds: float


class Started(NamedTuple):
    """A candidate whose turn it is: the `number`-th, from 1, of so many."""

    candidate: Candidate
    number: int
    total: int


class _Repeat(Tuner):
    """Asks for the one trial whose hyper-parameters a race has found."""

    name: ClassVar[str] = "race"

    values: dict[str, Any] = Field({}, description="The hyper-parameters.")

    def search(self, space: kt.HyperParameters, evaluate: Evaluate, ctx: Context) -> None:
        """Ask for it."""
        evaluate([Trial(self.values)])


def candidates_of(race: Race, registry: Registry) -> list[Candidate]:
    """Return the candidates with their options set; refuse a race that none could win."""
    found: list[Candidate] = []
    for item in race.candidates:
        section: dict[str, Any] = {"use": item} if isinstance(item, str) else dict(item)
        use: Any = section.pop("use", None)
        require(use, str, f"[surrogate] {race.name}: candidates", "names of surrogates, or tables with `use` in them")
        builder: Any = registry.create("surrogate", use, section)
        if isinstance(builder, Race):
            raise ConfigError(f"[surrogate] {race.name}: the candidate {use!r} is a race itself", "name its candidates")
        count = sum(other.builder.name == builder.name for other in found) + (builder.name in (MEAN, BLEND))
        found.append(Candidate(f"{builder.name}-{count + 1}" if count else builder.name, builder))
    if not any(candidate.eligible for candidate in found):
        raise ConfigError(
            f"[surrogate] {race.name}: no candidate is differentiable, so that none can be chosen",
            f"add one that is, or name the surrogate: --surrogate {found[0].name}",
        )
    return found


def check_tuner(tuner: Tuner) -> None:
    """Refuse a metric that trials of a race would have to be compared by: they are by the error on rows left out."""
    if tuner.objective != type(tuner).model_fields["objective"].default:
        raise ConfigError(
            f"[tuner] objective: found {tuner.objective!r}, but in a race trials are compared by the error on "
            "rows left out, and no metric reports anything else",
            "leave it out, or name a surrogate (--surrogate NAME)",
        )


def pool_of(data: Data, race: Race, training: Training, ctx: Context, asked: Sequence[str] = ()) -> Pool:
    """Return the rows and folds of a race, for which the `asked` outputs decide; rows held out for a test stay out."""
    split = split_rows(data, training.held_out(raced=True), 0.0, ctx)
    teaching = np.sort(np.concatenate([split.train, split.validation]))
    rows = Rows(split.x, split.y, teaching, teaching[:0], split.test)
    group = together(rows.x, data.groups)
    counts = plan_folds(len(np.unique(group[teaching])), race.folds, race.repeats)
    scale = Scaling.of(rows.x[teaching], rows.y[teaching]).y_scale
    return Pool(data, rows, group, make_folds(group, teaching, *counts, ctx), _deciding(data, asked), scale)


def settings_of(builder: SurrogateBuilder, pool: Pool, training: Training) -> Training:
    """Return how a candidate is trained: as the user says, else by its recipe.

    Rows that nothing would watch teach instead: hyper-parameters are chosen by the rows left out.
    """
    rows = round(float(np.mean([len(fold.train) for fold in pool.folds])))
    with plugin_errors(f"{builder.label}: its recipe", code=[builder]):
        settings = training.with_recipe(builder.recipe(rows))
    return settings if settings.watches else settings.model_copy(update={"validation": 0.0})


@dataclass(frozen=True)
class Entered:
    """What would race: on how many folds, how many times drawn, and the candidates, each with why it is out or None."""

    folds: int
    repeats: int
    rows: int
    outputs: list[str]
    candidates: dict[str, str | None]


def entered(
    data: Data, race: Race, candidates: Sequence[Candidate], training: Training, ctx: Context, asked: Sequence[str]
) -> Entered:
    """Build a first model of each candidate, and say which would race; refuse a race that none could win."""
    pool = pool_of(data, race, training, ctx, asked)
    found: dict[str, str | None] = {}
    for one in candidates:
        try:
            CrossValidation(one.builder, pool, settings_of(one.builder, pool, training), ctx)
            found[one.name] = None
        except InvdesignError as error:
            found[one.name] = error.message
            ctx.note(f"{one.name} is out of the race: {error.message}")
    if not any(one.eligible and found[one.name] is None for one in candidates):
        raise _nobody(found)
    outputs = [data.outputs[m] for m in pool.asked]
    return Entered(pool.counts[0], pool.counts[1], len(pool.rows.train), outputs, found)


def _nobody(reasons: Mapping[str, str | None]) -> TrainingError:
    said = "; ".join(f"{name}: {reason or 'a yardstick'}" for name, reason in reasons.items())
    return TrainingError(
        f"no candidate of the race can be used: {said}",
        "look for outliers in the outputs, or name a surrogate and its options (--surrogate NAME)",
    )


def _deciding(data: Data, asked: Sequence[str]) -> Any:
    """Return the positions of the outputs that decide: those asked for that vary, else all that vary, else all."""
    y = data.y
    varies = ~is_constant(np.nanmin(y, axis=0), np.nanmax(y, axis=0))
    named = np.array([name in asked for name in data.outputs])
    return next((np.flatnonzero(c) for c in (named & varies, varies) if c.any()), np.arange(len(data.outputs)))


def learn(
    data: Data,
    builder: SurrogateBuilder,
    tuner: Tuner,
    training: Training,
    ctx: Context,
    table: TrialTable | None = None,
    *,
    registry: Registry,
    asked: Sequence[str] = (),
    memory: RaceMemory | None = None,
) -> ForwardModel:
    """Train the surrogate that is named; or have the candidates of a race compared, and the best trained on all rows.

    Parameters
    ----------
    data, builder, tuner, training, ctx, table
        As `train.fit` takes them.
    registry : Registry
        The candidates' plugins.
    asked : sequence of str
        The outputs that decide a race; by default all.
    memory : RaceMemory, optional
        Has candidates of an earlier run of the same race, and keeps those of this one.
    """
    if not isinstance(builder, Race):
        return fit(data, builder, tuner, training, ctx, table)
    check_tuner(tuner)
    if data.large is not None:
        ctx.warn(
            f"candidates are compared by {len(data.frame)} of the table's {data.large.count} rows, and the best may "
            "learn from these alone; a network that is named (surrogate.use) learns from all"
        )
    with ctx.clock.stage("race"):
        ctx.emit(StageStarted("race"))
        candidates = candidates_of(builder, registry)
        pool = pool_of(data, builder, training, ctx, asked)
        running = _Race(pool, tuner, training, ctx, memory or RaceMemory())
        finished = running.validated(candidates)
        report, chosen = running.judged(finished, builder)
    return running.trained(chosen, report, table)


class _Race:
    """A race under way: what all candidates share, and the cross-validations at work."""

    def __init__(self, pool: Pool, tuner: Tuner, training: Training, ctx: Context, memory: RaceMemory) -> None:
        self._pool, self._tuner, self._training, self._ctx, self._memory = pool, tuner, training, ctx, memory
        self._folds, self._repeats = pool.counts
        self._at_work: dict[str, CrossValidation] = {}

    def __reduce__(self) -> Any:
        # Elsewhere it validates candidates, for each of which it is given a context.
        return _elsewhere, (self._pool, self._tuner, self._training)

    def validated(self, candidates: Sequence[Candidate]) -> list[Finished]:
        """Cross-validate the candidates, or take what an earlier run found of them."""
        total, known = len(candidates), [self._memory.find(at, one.name) for at, one in enumerate(candidates)]
        fresh = [Started(one, at + 1, total) for at, one in enumerate(candidates) if known[at] is None]
        pieces = [Piece(f"candidate {started.candidate.name} of the race", started) for started in fresh]
        results = self._ctx.compute.map(self._ctx, _Race.validate, self, pieces)
        finished = []
        for at, (candidate, kept) in enumerate(zip(candidates, known, strict=True)):
            if kept is None:
                kept, before = next(results), self._memory.lost
                self._memory.keep(at, candidate.name, *kept)
                if self._memory.lost is not before:
                    self._ctx.warn(
                        f"{self._memory.lost}; candidates are not kept from here on, so they can't be resumed"
                    )
            found, message, seconds = kept
            if message is not None:
                self._ctx.note(f"{candidate.name} is out of the race: {message}")
            finished.append(Finished(candidate, found, message, seconds))
        return finished

    def validate(self, started: Started, ctx: Context) -> tuple[Validated | None, str | None, float]:
        """Cross-validate a candidate: return what was found, or why it is out, and the seconds."""
        began = time.perf_counter()
        ctx.emit(CandidateStarted(started.candidate.name, started.number, started.total))
        try:
            work = self._work(started.candidate, ctx)
            if work.space.space:
                tune(self._tuner, work, ctx)
            else:
                work([Trial()])
            found, message = work.winner(), None
        except RunStoreError:
            raise
        except InvdesignError as error:
            found, message = None, error.message
        return found, message, round(time.perf_counter() - began, 3)

    def _work(self, candidate: Candidate, ctx: Context | None = None) -> CrossValidation:
        """Return a candidate's cross-validation, which may hold models already; without a context it is the race's."""
        if candidate.name not in self._at_work:
            settings = settings_of(candidate.builder, self._pool, self._training)
            self._at_work[candidate.name] = CrossValidation(candidate.builder, self._pool, settings, ctx or self._ctx)
        return self._at_work[candidate.name]

    def judged(self, finished: Sequence[Finished], race: Race) -> tuple[RaceReport, Chosen]:
        """Return the report of the race, and what is chosen; warn of outputs that it does not predict."""
        found = {one.candidate.name: (one.candidate, one.found) for one in finished if one.found is not None}
        if not any(candidate.eligible for candidate, _ in found.values()):
            raise _nobody({one.candidate.name: one.message for one in finished})
        predicted = {MEAN: self._mean()} | {name: validated.predicted for name, (_, validated) in found.items()}
        standings = [self._standing(n, y, n in found and found[n][0].eligible) for n, y in predicted.items()]
        best = choose(standings)
        chosen = Chosen([Part(*found[best.name], np.ones(len(self._pool.data.outputs)))], predicted[best.name])
        said = words(standings, best, self._folds)
        mean = blended(standings, found, self._pool) if race.blend else None
        saved = 0.0 if mean is None else self._saved(mean.predicted, chosen.predicted)
        if mean is not None and saved >= WORTH_IT:
            standing = self._standing(BLEND, mean.predicted, True)
            said = words_of_blend(saved, best, self._deciding_weights(mean), standings, standing, self._folds)
            standings, best, chosen, predicted = (
                [*standings, standing],
                standing,
                mean,
                {**predicted, BLEND: mean.predicted},
            )
        self._doubts(predicted[MEAN], chosen.predicted)
        curve = self._curve(chosen.heaviest(self._pool.asked)) if race.learning_curve else None
        roles = {s.name: "chosen" if s is best else "beaten" if s.eligible else "yardstick" for s in standings}
        report = RaceReport(
            folds=self._folds,
            repeats=self._repeats,
            rows=len(self._pool.rows.train),
            outputs=[self._pool.data.outputs[m] for m in self._pool.asked],
            chosen=best.name,
            weights=self._weights(chosen) if chosen is mean else None,
            candidates=self._reports(sorted(standings, key=lambda s: s.error), roles, predicted, finished),
            curve=curve,
            text=[*said, *([] if curve is None else [curve.text])],
        )
        return report, chosen

    def _standing(self, name: str, predicted: FloatArray, eligible: bool) -> Standing:
        return Standing(name, self._pool.over_asked(self._pool.fold_errors(predicted)), eligible)

    def _saved(self, blend: FloatArray, best: FloatArray) -> float:
        """Return by what share a blend's errors are smaller, over the outputs that decide."""
        return saved_by_blend(*(self._pool.fold_errors(y)[:, self._pool.asked] for y in (blend, best)))

    def _deciding_weights(self, chosen: Chosen) -> dict[str, dict[str, float]]:
        """Return the weights of each part for the outputs that decide."""
        named = [self._pool.data.outputs[m] for m in self._pool.asked]
        return {part: {n: shares[n] for n in named} for part, shares in self._weights(chosen).items()}

    def _weights(self, chosen: Chosen) -> dict[str, dict[str, float]]:
        outputs = self._pool.data.outputs
        shares = ((part.candidate.name, part.weights) for part in chosen.parts)
        return {name: dict(zip(outputs, map(float, w), strict=True)) for name, w in shares}

    def _reports(
        self,
        standings: Sequence[Standing],
        roles: Mapping[str, Any],
        predicted: Mapping[str, FloatArray],
        finished: Sequence[Finished],
    ) -> list[CandidateReport]:
        """Return what there is to say of all candidates, those that are out last."""
        by_name = {one.candidate.name: one for one in finished}
        running = [self._report(s, roles[s.name], predicted[s.name], by_name.get(s.name)) for s in standings]
        return running + [
            CandidateReport(
                name=one.candidate.name,
                role="out",
                error=None,
                outputs={},
                best={},
                members=0,
                message=one.message,
                seconds=one.seconds,
            )
            for one in finished
            if one.found is None
        ]

    def _report(self, standing: Standing, role: Any, predicted: FloatArray, one: Finished | None) -> CandidateReport:
        """Return what there is to say of a candidate that ended."""
        found = None if one is None else one.found
        spread = np.sqrt(self._pool.fold_errors(predicted)) * self._pool.scale
        return CandidateReport(
            name=standing.name,
            role=role,
            error=standing.error,
            outputs={
                name: FoldMetrics(rmse=m.rmse, spread=float(np.nanstd(spread[:, i])), mae=m.mae, r2=m.r2)
                for i, (name, m) in enumerate(self._metrics(predicted).items())
            },
            best={} if found is None else found.values,
            members=1 if found is None else found.members,
            message=None,
            seconds=0.0 if one is None else one.seconds,
        )

    def _metrics(self, predicted: FloatArray) -> dict[str, OutputMetrics]:
        """Return the metrics of (r, n, m) predictions for rows left out; each repeat counts, none is averaged away."""
        rows, y = self._pool.rows.train, self._pool.rows.y
        said = np.concatenate([part[rows] for part in predicted])
        measured = np.concatenate([y[rows]] * len(predicted))
        return {
            name: output_metrics(said[:, m], measured[:, m], int(np.isfinite(y[rows, m]).sum()))
            for m, name in enumerate(self._pool.data.outputs)
        }

    def _mean(self) -> FloatArray:
        """Return the (r, n, m) predictions of the mean of each fold's training rows."""
        y = self._pool.rows.y
        found = np.full((self._repeats, *y.shape), np.nan)
        overall = np.nanmean(y[self._pool.rows.train], axis=0)
        for fold in self._pool.folds:
            taught = y[fold.train]
            count = np.isfinite(taught).sum(axis=0)
            mean = np.where(count > 0, np.nansum(taught, axis=0) / np.maximum(count, 1), overall)
            found[fold.repeat, fold.left_out] = mean
        return found

    def _doubts(self, by_mean: FloatArray, predicted: FloatArray) -> None:
        """Warn of outputs that what is chosen predicts no better than their mean, or badly."""
        metrics = self._metrics(predicted)
        mean, chosen = self._pool.fold_errors(by_mean), self._pool.fold_errors(predicted)
        for m, name in enumerate(self._pool.data.outputs):
            if metrics[name].r2 is not None and no_better_than_mean(mean[:, m], chosen[:, m], self._folds):
                self._ctx.warn(
                    f"output {name!r} is predicted no better than by its mean on designs never seen: the inputs tell "
                    "nothing about it, and designs for it cannot be trusted"
                )
                del metrics[name]
        tell_of_test(metrics, self._ctx, "measured row")

    def _curve(self, part: Part) -> CurveReport | None:
        """Return the learning curve of a candidate; None where it could not be trained on fewer rows."""
        try:
            errors = self._work(part.candidate).curve(part.found)
        except RunStoreError:
            raise
        except InvdesignError as error:
            self._ctx.note(f"the learning curve of {part.candidate.name} could not be drawn: {error.message}")
            return None
        rows = float(np.mean([len(fold.train) for fold in self._pool.folds]))
        return project([round(share * rows) for share in (*SHARES, 1.0)], errors, self._folds)

    def trained(self, chosen: Chosen, race: RaceReport, table: TrialTable | None) -> ForwardModel:
        """Return what is chosen, trained on all rows that are not held out for a test."""
        models = [self._trained(part, table) for part in chosen.parts]
        model = models[0] if len(models) == 1 else weighted_mean(chosen.parts, models)
        rows = self._pool.rows
        if len(rows.test):
            test = test_metrics(model.surrogate, rows.x[rows.test], rows.y[rows.test])
            tell_of_test(test, self._ctx)
            known = {}
        else:
            test, known = self._metrics(chosen.predicted), {"left out": len(rows.train)}
        update = {"race": race, "test": test, "rows": model.report.rows | known}
        learnt = model.known
        assert learnt.rows is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a row of which no candidate says anything
            left_out = np.nanmean(chosen.predicted, axis=0)[learnt.rows - 1]
        return replace(model, report=model.report.model_copy(update=update), rows=learnt._replace(left_out=left_out))

    def _trained(self, part: Part, table: TrialTable | None) -> ForwardModel:
        """Return one candidate, trained on all rows."""
        builder, rows = part.candidate.builder, self._pool.rows
        if builder.closed_form:
            return self._from_closed_form(part)
        settings = settings_of(builder, self._pool, self._training)
        if settings.watches:
            rows = split_rows(self._pool.data, self._training.held_out(raced=True), settings.validation, self._ctx)
        again = _Repeat(values=part.found.values)
        return fit_rows(self._pool.data, rows, builder, again, settings, self._ctx, table)

    def _from_closed_form(self, part: Part) -> ForwardModel:
        """Return the model of all rows, which the folds' models started from."""
        found, rows, data = part.found, self._pool.rows, self._pool.data
        with self._ctx.clock.stage("train"):
            self._ctx.emit(StageStarted("train"))
            work = self._work(part.candidate)
            member = work.member_of(work.whole(found.values, found.number))
            known = known_rows(rows, data)
            surrogate = Surrogate.trained([member], data.space, data.outputs, work.scaling, known.x, known.y)
        report = untested(surrogate, part.candidate.builder.name)
        counts = {"train": len(known.x), "validation": 0, "test": len(rows.test)}
        report = report.model_copy(update={"best": found.values, "rows": counts})
        return ForwardModel(surrogate, report, known)


def _elsewhere(pool: Pool, tuner: Tuner, training: Training) -> _Race:
    return _Race(pool, tuner, training, Context(), RaceMemory())
