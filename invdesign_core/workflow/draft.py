"""Experiments before there are any data: a plan that fills the space which an experiment file describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.context import Context
from invdesign_core.data.files.write import check_new, write_table
from invdesign_core.errors import ConfigError, near_or_all, plural
from invdesign_core.search.candidates import drawn, short, to_unit, with_decimals
from invdesign_core.search.spread import spread_out
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.space import Space
from invdesign_core.space.units import Units
from invdesign_core.space.variables import Variable
from invdesign_core.workflow.design import Design
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.inverse import check_bounds

if TYPE_CHECKING:
    import pandas as pd

CANDIDATES = 2048
"""Designs that a plan is chosen from, at least; for each of its rows there are `PER_ROW`."""
PER_ROW = 64


@dataclass(frozen=True)
class Drafted:
    """A plan of experiments: the designs, and the table with empty columns beside them for what will be measured."""

    inputs: pd.DataFrame
    table: pd.DataFrame
    notes: tuple[str, ...]


def first_experiments(experiment: Experiment, batch: int, ctx: Context, out: Path | None = None) -> Drafted:
    """Plan `batch` experiments that fill the space of an experiment file whose table need not be there yet.

    The design variables are those that `[design]` gives bounds, levels or a value; `[dataset]` may say their order
    (`inputs`), their `kinds`, and which columns will be measured (`outputs`, `conditions`). `out` is the .csv,
    .parquet or .xlsx file to write.

    Raises
    ------
    ConfigError
        If a variable has no bounds, or fewer designs than asked for satisfy the constraints.
    """
    if out is not None:
        check_new(out)
    said = experiment.dataset.options
    measured = [*_names(said, "conditions"), *experiment.design.conditions]
    design = experiment.design.model_copy(update={"conditions": {}, "near": {}, "near_row": ""})
    outputs = _names(said, "outputs")
    units = Units.build([*design.bounds, *outputs], [*design.levels, *design.fixed], said=experiment.units)
    design = design.converted(units, [*design.bounds, *design.levels, *design.fixed, *outputs])
    space = design.apply(described(design, said, measured), outputs)
    check_bounds(space)
    x = fill(space, batch, ctx)
    empty = dict.fromkeys([*dict.fromkeys(measured), *outputs], np.nan)
    notes = []
    if measured:
        notes.append(f"measured and not chosen, to be filled in too: {', '.join(map(repr, dict.fromkeys(measured)))}")
    if not outputs:
        notes.append("no outputs are named ([dataset] outputs = [...]), so the plan has no columns for them")
    for note in notes:
        ctx.note(note)
    inputs = space.decode(x)
    table = inputs.assign(**empty)
    if out is not None:
        write_table(out, table)
    return Drafted(inputs, table, tuple(notes))


def fill(space: Space, count: int, ctx: Context, taken: FloatArray | None = None) -> FloatArray:
    """Return `count` different (n, e) designs that fill a space beside the (k, e) that are taken, with few digits.

    A table of them is read as having the same kinds of variables.
    """
    candidates = drawn(space, max(CANDIDATES, PER_ROW * count), ctx.rng("plan"))
    if len(candidates) < count:
        raise ConfigError(
            f"{plural(count, 'experiment')} asked for, and only {plural(len(candidates), 'design')} that the bounds "
            "and constraints allow were found",
            "ask for fewer, or allow more values",
        )
    u = to_unit(space, candidates)
    chosen = candidates[spread_out(u, count, None if taken is None else to_unit(space, taken))]
    written = with_decimals(space, short(space, chosen), chosen)
    _, first = np.unique(written, axis=0, return_index=True)
    again = np.setdiff1d(np.arange(count), first)  # designs that differ in digits left out alone
    written[again] = chosen[again]
    return written


def described(design: Design, said: Mapping[str, Any], measured: Sequence[str] = ()) -> Space:
    """Return the variables that a `[design]` section describes, without those that are `measured` and not chosen."""
    names = list(dict.fromkeys([*design.bounds, *design.levels, *design.fixed]))
    inputs = _names(said, "inputs")
    if inputs:
        unknown = [name for name in inputs if name not in names and name not in measured]
        if unknown:
            raise ConfigError(
                f"[design]: nothing says which values {unknown[0]!r} may take",
                f"give it bounds, levels or a fixed value: [design] bounds = {{ {unknown[0]} = [0, 1] }}",
            )
        names = [*(name for name in inputs if name in names), *(name for name in names if name not in inputs)]
    names = [name for name in names if name not in measured]
    if not names:
        raise ConfigError(
            "[design]: no variable has bounds, levels or a fixed value", "for example [design] bounds = { x = [0, 1] }"
        )
    kinds = dict(said.get("kinds") or {})
    for name in kinds:
        if name not in (*names, *measured):
            raise ConfigError(f"[dataset] kinds: there is no variable {name!r}", near_or_all(name, names))
    return Space(tuple(_variable(name, design, kinds.get(name)) for name in names))


def _variable(name: str, design: Design, kind: Any) -> Variable:
    """Return one variable as `[design]` describes it."""
    if name in design.levels or name not in design.bounds:
        values = list(design.levels.get(name, [])) or [design.fixed[name]]
        if kind is None:
            truths = all(isinstance(value, bool) for value in values)
            numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
            kind = "binary" if truths else "levels" if numbers else "categorical"
        if kind == "binary":
            return Variable(name, kind, levels=(False, True) if isinstance(values[0], bool) else tuple(values))
        if kind in ("levels", "categorical"):
            return Variable(name, kind, levels=tuple(values))
        return Variable(name, kind, lower=min(values), upper=max(values))
    bounds = design.bounds[name]
    pairs = [bounds] if isinstance(bounds[0], int | float) else bounds
    ends = [float(end) for pair in pairs for end in pair]  # type: ignore[union-attr]
    return Variable(name, kind or "continuous", lower=min(ends), upper=max(ends))


def _names(said: Mapping[str, Any], key: str) -> list[str]:
    """Return a list of names of the `[dataset]` section."""
    value = said.get(key) or []
    return [value] if isinstance(value, str) else [str(name) for name in value]
