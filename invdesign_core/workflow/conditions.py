"""Searches over conditions that vary: what they work with, and what is said of it."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from invdesign_core.context import Context
from invdesign_core.data.data import TrainingRows
from invdesign_core.data.own_columns import column_of
from invdesign_core.data.quality import BEYOND
from invdesign_core.errors import ConfigError, plural
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.conditions import Distribution, Scenarios, any_value, beyond, distribution_of, draw
from invdesign_core.space.space import Space
from invdesign_core.surrogate.over_scenarios import OverScenarios
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.truth.around import MeanTruth
from invdesign_core.workflow.train import ForwardModel

if TYPE_CHECKING:
    import pandas as pd


def averaged(model: ForwardModel, space: Space, scenarios: Scenarios | None) -> ForwardModel:
    """Return a model that answers, and is judged, by means over scenarios; `space` holds their conditions somewhere.

    What rows say of the conditions is put aside, so that only the design columns tell how near a design is to them.
    """
    if scenarios is None:
        return model
    surrogate = OverScenarios.averaging(model.surrogate, scenarios)
    rows = None if model.rows is None else _aside(model.rows, space, scenarios)
    truth = None if model.truth is None else MeanTruth(model.truth, scenarios)
    second = model.second
    if second is not None:
        second = replace(second, surrogate=OverScenarios.averaging(second.surrogate, scenarios))
    return replace(model, surrogate=surrogate, rows=rows, truth=truth, second=second)


def put_aside(x: FloatArray, space: Space, scenarios: Scenarios | None) -> FloatArray:
    """Return (n, e) encoded rows whose conditions are where a space holds them."""
    if scenarios is None:
        return x
    found = x.copy()
    found[:, scenarios.columns] = space.bounds[0][scenarios.columns]
    return found


def _aside(known: TrainingRows, space: Space, scenarios: Scenarios) -> TrainingRows:
    held_out = None if known.held_out is None else _aside(known.held_out, space, scenarios)
    return known._replace(x=put_aside(known.x, space, scenarios), held_out=held_out)


def read_back(frame: pd.DataFrame, space: Space, outputs: Collection[str]) -> dict[str, tuple[str, Distribution]]:
    """Return the conditions whose column holds a distribution in words, as designs are written: column and meaning."""
    found = {}
    for variable in space.variables:
        column = column_of(variable.name, frame.columns, {*space.names, *outputs})
        cells = [] if column is None else list(frame[column].unique())
        if column is None or len(cells) != 1 or not isinstance(cells[0], str) or cells[0] in map(str, variable.levels):
            continue
        with suppress(ConfigError):  # told where the column is read as values
            found[variable.name] = column, distribution_of(cells[0], variable)
    return found


def predicted_over(
    surrogate: Surrogate, known: TrainingRows | None, frame: pd.DataFrame, ctx: Context
) -> tuple[Surrogate, pd.DataFrame]:
    """Return a surrogate for the designs of a table, which averages where a column holds a distribution in words."""
    space = surrogate.space
    varying = read_back(frame, space, surrogate.outputs)
    if not varying:
        return surrogate, frame
    said = {name: meant for name, (_, meant) in varying.items()}
    scenarios = draw(said, space, None if known is None else known.measured.x, ctx.rng("conditions"))
    tell(scenarios, space, ctx)
    written = {column: any_value(space[name], said[name]) for name, (column, _) in varying.items()}
    return OverScenarios.averaging(surrogate, scenarios), frame.assign(**written)


def tell(scenarios: Scenarios | None, data: Space, ctx: Context) -> None:
    """Say that predictions are means, and over what."""
    if scenarios is None:
        return
    ctx.note(f"predictions are means over {plural(len(scenarios), 'scenario')} of {scenarios.words}")
    for doubt in beyond(scenarios, data, BEYOND):
        ctx.warn(doubt)
