"""What a careful colleague would point out about a table, and about what was learnt from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from invdesign_core.data import Data, together
from invdesign_core.digits import near, span
from invdesign_core.results import OutputMetrics
from invdesign_core.space import Space

FLAT = 1e-5
"""A column whose range is a smaller share of its size can't be told apart in float32."""
FEW = 10
"""Distinct designs for each encoded input below which a table is called small."""
USELESS = 0.1
"""R² on rows never seen, below which an output is called not predictable."""

BEYOND = 0.05
"""How far outside the data, as a share of their range, a bound is worth a word."""
NAMED = 4
"""Variables that one sentence names."""


def doubts_of(data: Data) -> list[str]:
    """Return what is odd about a table, with advice; nothing of it stops a run."""
    said: list[str] = []
    for name in (*data.space.names, *data.outputs):
        column = data.frame[name]
        what = "output" if name in data.outputs else "input"
        if column.nunique() == 1:
            advice = (
                "it teaches nothing; leave it out" if what == "input" else "there is nothing to learn; leave it out"
            )
            said.append(f"{what} {name!r} is the same in every row ({column.iloc[0]}): {advice}")
            continue
        if column.dtype.kind not in "fiu":
            continue
        values = column.to_numpy(dtype=np.float64)
        spread, size = float(np.nanmax(values) - np.nanmin(values)), float(np.nanmax(np.abs(values)))
        if spread < FLAT * size:
            mean = float(np.nanmean(values))
            said.append(
                f"{what} {name!r} varies by {spread:.3g} "
                f"around {near(mean, spread)}, too flat for the network's float32; "
                f"subtract {near(mean, 10 * spread)} from it, or use another unit"
            )
    rows = together(data.x)
    distinct = int(rows.max()) + 1
    if distinct < FEW * data.space.width:
        said.append(
            f"{distinct} distinct designs are few for {data.space.width} inputs; "
            "measure more, or leave out inputs that don't matter"
        )
    return said


def facts_of(data: Data) -> list[str]:
    """Return what is worth knowing about a table, and no reason to worry."""
    said: list[str] = []
    rows = together(data.x)
    repeats = len(rows) - int(rows.max()) - 1
    if repeats:
        said.append(f"{repeats} of {len(rows)} rows repeat a design; repeats stay on one side of the split")
    if data.groups is not None:
        said.append(f"rows of one of {len(np.unique(data.groups))} groups stay on one side of the split")
    for m, name in enumerate(data.outputs):
        count = int(np.isfinite(data.y[:, m]).sum())
        if count < len(rows):
            said.append(f"output {name!r} was measured in {count} of {len(rows)} rows, and is fitted to those alone")
    return said


def doubts_about(test: Mapping[str, OutputMetrics]) -> list[str]:
    """Return what is odd about a surrogate, by its metrics on rows that it never saw."""
    return [
        f"output {name!r} is not predictable from these inputs: R² is {metrics.r2:.2g} on designs never seen; "
        "answers for it mean nothing"
        for name, metrics in test.items()
        if metrics.r2 is not None and metrics.r2 < USELESS
    ]


def doubts_of_bounds(space: Space, data: Space) -> list[str]:
    """Return, in one sentence or none, which variables may be searched where nothing was measured.

    Parameters
    ----------
    space : Space
        The design variables of the search.
    data : Space
        The same variables, with the ranges of the data.
    """
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
    return [f"the search goes beyond the data, where the surrogate guesses: {', '.join(beyond[:NAMED])}{more}"]
