"""Rounds of a run: rows that were measured later, and the surrogate that has learnt them too, each in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.context import Context, StageStarted
from invdesign_core.data.data import Data, Rows, TrainingRows, split_rows
from invdesign_core.designs.comparison import BLEND
from invdesign_core.designs.report import SurrogateReport
from invdesign_core.errors import TrainingError
from invdesign_core.plugin import Race, SurrogateBuilder
from invdesign_core.registry import Registry
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.surrogate.train_on import Trained
from invdesign_core.workflow.race import candidates_of, learn
from invdesign_core.workflow.train import ForwardModel, known_rows, test_metrics

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.plugin import Tuner

TWICE = 2.0
"""So many times the rows of the last training from the beginning make another one."""
ADDED = "added"
"""The group of each row that was added, where rows have groups."""


@dataclass(frozen=True)
class Trainers:
    """What a surrogate was trained by, and is trained on or again by."""

    builder: SurrogateBuilder
    tuner: Tuner
    training: Training
    registry: Registry


def with_rows(model: ForwardModel, x: FloatArray, y: FloatArray, space: Space) -> Data:
    """Return all rows that a model knows together with (k, e) designs of a space that holds them and (k, m) outputs.

    Rows that were held out or watched stay so. A new row of such a design goes where that design is, so that no design
    is on both sides.
    """
    known = model.known
    held = known.held_out
    xs, ys = [known.x], [known.y]
    parts = [np.where(_or(known.watched, np.zeros(len(known.x), dtype=bool)), "validation", "train")]
    if held is not None:
        xs, ys, parts = [*xs, held.x], [*ys, held.y], [*parts, np.full(len(held.x), "test")]
    before, part = np.concatenate(xs), np.concatenate(parts)
    place = {row.tobytes(): part[i] for i, row in enumerate(before)}
    added = np.array([place.get(row.tobytes(), "train") for row in np.ascontiguousarray(x)], dtype=part.dtype)
    sides = [known] if held is None else [known, held]
    options: dict[str, Any] = {"split": np.concatenate([part, added])}
    if known.weights is not None:
        old = np.concatenate([_or(side.weights, np.ones(len(side.x))) for side in sides])
        options["weights"] = np.concatenate([old, np.full(len(x), float(np.mean(old)))])
    if known.groups is not None:
        old = np.concatenate([_or(side.groups, np.full(len(side.x), "")) for side in sides])
        options["groups"] = np.concatenate([old, [f"{ADDED} {i + 1}" for i in range(len(x))]])
    outputs = np.concatenate([*ys, y])
    frame = space.as_measured(np.concatenate([before, x]))
    frame = frame.assign(**dict(zip(model.surrogate.outputs, outputs.T, strict=True)))
    partial = bool(np.isnan(outputs).any())
    return Data(frame, space, model.surrogate.outputs, partial=partial, **options)


def _or(values: Any, otherwise: Any) -> Any:
    return otherwise if values is None else values


def widened(space: Space, frame: pd.DataFrame) -> Space:
    """Return a space whose bounds and listed numbers hold the designs of a table too."""

    def wide(v: Variable) -> Variable:
        if v.kind in ("continuous", "integer"):
            values = frame[v.name].to_numpy(dtype=np.float64)
            return replace(v, lower=min(v.lower, float(values.min())), upper=max(v.upper, float(values.max())))
        if v.kind == "levels":
            return replace(v, levels=(*v.levels, *(x.item() for x in frame[v.name].to_numpy())))
        return v

    return Space(tuple(wide(v) for v in space.variables), space.given) if len(frame) else space


def trained_on(model: ForwardModel, data: Data, by: Trainers, ctx: Context) -> ForwardModel:
    """Return a model that has learnt further rows from where it was.

    Raises
    ------
    TrainingError
        If it can't go on from there.
    """
    rows = split_rows(data, 0.0, 0.0, ctx)
    with ctx.clock.stage("train"):
        ctx.emit(StageStarted("train"))
        members, scaling = [], None
        for part in _parts(model.surrogate, model.report, by):
            builder: Any = part.builder
            settings = by.training.with_recipe(builder.recipe(len(rows.train) + len(rows.validation)))
            mine = rows
            if not (len(rows.validation) and settings.watches) and not builder.closed_form:
                seen = np.concatenate([rows.train, rows.validation])
                mine = Rows(rows.x, rows.y, seen, seen[:0], rows.test)
            found, own = part.trained_on(data, mine, settings, ctx)
            members += found
            scaling = scaling or own
        assert scaling is not None
        known = renumbered(known_rows(rows, data), model.known, model.of_more_rows)
        surrogate = Surrogate.trained(members, data.space, data.outputs, scaling, known.x, known.y)
        if model.surrogate.weights is not None:
            surrogate = replace(surrogate, weights=_weights(model.surrogate.weights, len(members)))
        report = model.report.model_copy(update=_said(model.report, surrogate, rows))
    return ForwardModel(surrogate, report, known, model.truth)


def trained_again(model: ForwardModel, data: Data, by: Trainers, asked: tuple[str, ...], ctx: Context) -> ForwardModel:
    """Return a model that has learnt all rows from the beginning; those that were held out stay so."""
    assert data.split is not None
    open_ = replace(data, split=np.where(data.split == "test", "test", ""))
    found = learn(open_, by.builder, by.tuner, by.training, ctx, registry=by.registry, asked=asked)
    return replace(found, rows=renumbered(found.known, model.known, model.of_more_rows), truth=model.truth)


def renumbered(found: TrainingRows, before: TrainingRows, table: int = 0) -> TrainingRows:
    """Give rows the numbers that they had in their table; rows that were added are numbered on from its last one.

    `table` is how many rows it has, where it is known to have more than are known.
    """
    sides = [before] if before.held_out is None else [before, before.held_out]
    if any(side.rows is None for side in sides):
        return found._replace(
            rows=None, held_out=None if found.held_out is None else found.held_out._replace(rows=None)
        )
    old = np.concatenate([side.rows for side in sides if side.rows is not None])
    last = max(int(old.max(initial=0)), table)

    def numbers(side: TrainingRows) -> TrainingRows:
        assert side.rows is not None
        at = side.rows - 1
        new = np.where(at < len(old), old[np.minimum(at, len(old) - 1)], last + 1 + at - len(old))
        return side._replace(rows=np.asarray(new, dtype=np.intp))

    return numbers(found)._replace(held_out=None if found.held_out is None else numbers(found.held_out))


def _parts(surrogate: Surrogate, report: SurrogateReport, by: Trainers) -> list[Trained]:
    """Return the members by the builders that built them."""
    if not isinstance(by.builder, Race):
        return [Trained(by.builder, report.best, surrogate.members)]
    if report.race is None:
        raise TrainingError("nothing says which candidate of the race the surrogate is")
    builders = {one.name: one.builder for one in candidates_of(by.builder, by.registry)}
    values: Mapping[str, Mapping[str, Any]] = {one.name: one.best for one in report.race.candidates}
    names = list(report.race.weights or {}) if report.race.chosen == BLEND else [report.race.chosen]
    if any(name not in builders for name in names):
        raise TrainingError("the candidates of the race are others than those that it was run with")
    networks = sum(not builders[name].closed_form for name in names)
    several = len(surrogate.members) - (len(names) - networks)
    if networks > 1 or several < networks:
        raise TrainingError("nothing says which members are of which candidate")
    parts, at = [], 0
    for name in names:  # one member of what is fitted in one go, and all others of the network
        count = 1 if builders[name].closed_form else several
        parts.append(Trained(builders[name], values[name], surrogate.members[at : at + count]))
        at += count
    return parts


def _weights(before: FloatArray, count: int) -> FloatArray:
    if len(before) != count:
        raise TrainingError(f"there are {count} members, and weights of {len(before)}")
    return before


def _said(report: SurrogateReport, surrogate: Surrogate, rows: Rows) -> dict[str, Any]:
    """Return what changes of a report: the rows, and the errors on those held out where there are any."""
    counts = {part: len(getattr(rows, part)) for part in ("train", "validation", "test")}
    kept = {key: value for key, value in report.rows.items() if key not in counts}
    found: dict[str, Any] = {"rows": counts | kept, "members": len(surrogate.members)}
    if len(rows.test):
        found["test"] = test_metrics(surrogate, rows.x[rows.test], rows.y[rows.test])
    return found


def on_or_again(
    model: ForwardModel, data: Data, by: Trainers, asked: tuple[str, ...], afresh: bool, ctx: Context
) -> tuple[ForwardModel, bool]:
    """Return a model that has learnt all rows, and whether it began from the beginning, asked to or as it had to."""
    if not afresh:
        try:
            return trained_on(model, data, by, ctx), False
        except TrainingError as error:
            ctx.warn(f"the surrogate can't be trained on, so it is trained from the beginning: {error.message}")
    return trained_again(model, data, by, asked, ctx), True
