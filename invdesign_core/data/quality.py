"""Data-quality warnings about a table, and about the surrogate trained on it."""

from __future__ import annotations

import numpy as np

from invdesign_core.context import Context
from invdesign_core.data.bookkeeping import LeaveOut, described_rows, leave_out_line, sentence
from invdesign_core.data.columns import in_float32, is_constant, is_flat
from invdesign_core.data.data import Data, Rows, together
from invdesign_core.data.equations import advice_of
from invdesign_core.errors import plural
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.digits import near, span
from invdesign_core.space.space import Space

FEW = 10
"""Distinct designs for each encoded input below which a table is called small."""

BEYOND = 0.05
"""How far outside the data, as a share of their range, a bound is worth a word."""
NAMED = 4
"""Variables that one sentence names."""


def tell(
    data: Data, ctx: Context, space: Space | None = None, scale: bool = True, leave_out: LeaveOut = leave_out_line
) -> None:
    """Say what is known and what is odd about a table before a search with the design variables of `space`.

    `scale` says whether inputs and outputs are standardised before training, `leave_out` how columns are left out.
    """
    for fact in data_notes(data):
        ctx.note(fact)
    for doubt in data_warnings(data, space, scale, leave_out):
        ctx.warn(doubt)


def data_warnings(
    data: Data, space: Space | None = None, scale: bool = True, leave_out: LeaveOut = leave_out_line
) -> list[str]:
    """Return what is odd about a table, with advice; nothing of it stops a run."""
    aside = described_rows(data)
    said = [sentence(aside, leave_out)] if aside else []
    for name in (*data.space.names, *data.outputs):
        column = data.frame[name]
        what = "output" if name in data.outputs else "input"
        numeric = column.dtype.kind in "fiu"
        values = column.to_numpy(dtype=np.float64) if numeric else np.zeros(1)
        ends = np.nanmin(values), np.nanmax(values)
        if column.nunique() == 1 or (numeric and is_constant(*ends)):
            if what == "output":
                said.append(f"output {name!r} is the same in every row ({column.iloc[0]}): there is nothing to learn")
        elif numeric:
            said += _doubts_of_numbers(f"{what} {name!r}", values, what == "input" or not scale)
    rows = together(data.x)
    distinct = int(rows.max()) + 1
    if distinct < FEW * data.space.width:
        said.append(
            f"{plural(distinct, 'distinct design')} for {plural(data.space.width, 'input')}: too few for a reliable "
            "surrogate; measure more, or leave out inputs that don't matter"
        )
    return said + advice_of(data, None if space is None else space.constraints.linear, leave_out)


def _doubts_of_numbers(what: str, values: FloatArray, in_float32_: bool) -> list[str]:
    """Return what the network's precision does to (n,) numbers; standardised outputs never go through it whole."""
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    if not in_float32_:
        return []
    seen = len(np.unique(in_float32(values)))
    around = f"{what} varies by {high - low:.3g} around {near(low + (high - low) / 2, high - low)}"
    advice = f"subtract {near(low, 10 * (high - low))} from it, or use another unit"
    if seen == 1:
        flat = "too flat for the network's float32, in which it is a single number without information"
        return [f"{around}, {flat}; {advice}"]
    if is_flat(low, high):
        return [f"{around}, too flat for the network's float32, which distinguishes only {seen} values of it; {advice}"]
    return []


def data_notes(data: Data) -> list[str]:
    """Return what is worth knowing about a table, and no reason to worry."""
    said: list[str] = []
    rows = together(data.x)
    repeats = len(rows) - int(rows.max()) - 1
    if repeats:
        said.append(f"rows that repeat a design: {repeats} of {len(rows)}; repeats stay on one side of the split")
    if data.groups is not None:
        said.append(f"rows of a group stay on one side of the split ({plural(len(np.unique(data.groups)), 'group')})")
    for m, name in enumerate(data.outputs):
        count = int(np.isfinite(data.y[:, m]).sum())
        if count < len(rows):
            said.append(f"output {name!r} was measured in {count} of {len(rows)} rows, and is fitted to those alone")
    return said


def doubts_of_split(rows: Rows) -> list[str]:
    """Return what is odd about how the rows of a table were split."""
    if len(rows.validation):
        return []
    return ["there are no validation rows: tuning and early stopping watch the training loss"]


def bounds_warnings(space: Space, data: Space) -> list[str]:
    """Return, in one sentence or none, which variables of a search have bounds beyond what was measured."""
    beyond: list[str] = []
    for searched, measured in zip(space.variables, data.variables, strict=True):
        if measured.kind in ("categorical", "binary"):
            continue
        ends = np.concatenate([*measured.bounds(), *searched.bounds()])
        low, high, least, most = np.log(ends) if searched.scale == "log" and ends[0] > 0 else ends
        room = BEYOND * (high - low)
        if least < low - room or most > high + room:
            beyond.append(f"{searched.name!r} {searched.span} (data {span(ends[0], ends[1])})")
    if not beyond:
        return []
    more = f" and {len(beyond) - NAMED} more" if len(beyond) > NAMED else ""
    return [
        f"the search range extends beyond the data, where the surrogate extrapolates: {', '.join(beyond[:NAMED])}{more}"
    ]
