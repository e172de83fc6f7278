"""Whether a model of the user's own and the table that was given with it tell the same story."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.data import TrainingRows
from invdesign_core.designs.report import OutputMetrics
from invdesign_core.designs.verdict import number_text
from invdesign_core.errors import plural
from invdesign_core.space.arrays import FloatArray
from invdesign_core.surrogate.surrogate import Surrogate

POOR = 0.5
"""R² on a table's rows, below which a model contradicts it."""
FITS = 0.9
"""R² from which another order of the inputs, or other units, are called the cause."""
EXACTLY = 0.999
"""The same where R² in the given order is not poor."""
NOISE = 0.01
"""Share of a constant output by which predictions may be off."""
ROWS = 256
"""Rows with which causes are tried."""
ALL_ORDERS, SWAPS = 4, 16
"""Inputs up to which all orders are tried, and up to which all swaps of two are."""


def contradictions(
    surrogate: Surrogate, rows: TrainingRows, test: Mapping[str, OutputMetrics], mixable: bool
) -> list[str]:
    """Return where a model contradicts a table, with the likely causes."""
    poor = [name for name, metrics in test.items() if metrics.r2 is not None and metrics.r2 < POOR]
    lost = int((~np.isfinite(surrogate.predict(rows.x).mean).all(axis=1)).sum())
    said = (
        [f"the model's prediction is not finite for {lost} of {plural(len(rows.x), 'row')} of the table"]
        if lost
        else []
    )
    said += _moving_where_constant(surrogate, rows, test)
    sure = bool(poor)
    poor = poor or [name for name, metrics in test.items() if metrics.r2 is not None and metrics.r2 < FITS]
    if not poor:
        return said
    values = ", ".join(f"{test[name].r2:.2g} for {name!r}" for name in poor)
    asked = np.array([surrogate.outputs.index(name) for name in poor])
    some = np.linspace(0, len(rows.x) - 1, min(ROWS, len(rows.x))).astype(np.intp)
    cause = _cause(surrogate, rows.x[some], rows.y[some], asked, FITS if sure else EXACTLY) if mixable else ""
    if not sure and not cause.startswith(
        " With the order"
    ):  # noise is no contradiction, but another order that fits exactly says so
        return said
    inputs = ", ".join(surrogate.space.names)
    return [
        *said,
        f"the model contradicts the table, so its answers are about something else: R² on its rows is {values}. "
        f"Are the columns in the order that the model was trained on (inputs {inputs}; --inputs, --outputs), "
        f"and does it take and give numbers in the table's units, unscaled?{cause}",
    ]


def _moving_where_constant(surrogate: Surrogate, rows: TrainingRows, test: Mapping[str, OutputMetrics]) -> list[str]:
    """Return which outputs are one number in the table, and have other predictions; R² says nothing of these."""
    said = []
    for name, metrics in test.items():
        values = rows.y[:, surrogate.outputs.index(name)]
        values = values[np.isfinite(values)]
        if metrics.r2 is not None or metrics.rmse is None or len(values) < 2:
            continue
        value = float(values[0])
        if metrics.rmse > NOISE * (abs(value) or 1.0):
            said.append(
                f"the model contradicts the table: {name!r} is {number_text(value)} in every row, and the predictions "
                f"are off by {number_text(metrics.rmse)} (root mean square)"
            )
    return said


def _cause(surrogate: Surrogate, x: FloatArray, y: FloatArray, asked: NDArray[np.intp], least: float) -> str:
    """Return what makes a model agree with a table, as a sentence; empty where nothing does."""
    orders = list(_orders(x.shape[1]))
    answers = surrogate.predict(np.concatenate([x[:, order] for order in orders])).mean if orders else np.zeros(0)
    parts = np.split(answers, len(orders)) if orders else []
    fits = [_r2(part[:, asked], y[:, asked]).min() for part in parts]
    if fits and np.nanmax(np.nan_to_num(fits, nan=-np.inf)) >= least:
        best = int(np.nanargmax(np.nan_to_num(fits, nan=-np.inf)))
        names = ",".join(surrogate.space.names[i] for i in orders[best])
        return f" With the order {names} R² is {fits[best]:.3g}: --inputs {names}."
    spread = np.where(np.ptp(x, axis=0) > 0, np.ptp(x, axis=0), 1.0)
    deviation = np.where(np.ptp(x, axis=0) > 0, x.std(axis=0), 1.0)
    ways = {
        "minus its mean, over its standard deviation": (x - x.mean(axis=0)) / deviation,
        "scaled to 0..1": (x - x.min(axis=0)) / spread,
        "as it is": x,
    }
    for way, scaled in ways.items():
        answer = surrogate.predict(scaled).mean[:, asked]
        if _follows(answer, y[:, asked]):
            return (
                f" With each input {way} the answers follow the table, but for a factor and an offset: "
                "the scaling of its training belongs into the model."
            )
    return ""


def _orders(count: int) -> Iterator[Sequence[int]]:
    """Return other orders of some inputs to try."""
    if count <= ALL_ORDERS:
        yield from list(permutations(range(count)))[1:]
    elif count <= SWAPS:
        for i, j in combinations(range(count), 2):
            order = list(range(count))
            order[i], order[j] = j, i
            yield order


def _r2(answer: FloatArray, y: FloatArray) -> FloatArray:
    """Return the (m,) R² of (n, m) answers, where y was measured."""
    measured = np.isfinite(y)
    y, error = np.where(measured, y, np.nan), np.where(measured, answer - y, np.nan)
    return np.asarray(1 - np.nansum(error**2, axis=0) / np.nansum((y - np.nanmean(y, axis=0)) ** 2, axis=0))


def _follows(answer: FloatArray, y: FloatArray) -> bool:
    """Say whether each of m answers is an affine function of what was measured, with a positive factor."""
    for mine, theirs in zip(answer.T, y.T, strict=True):
        both = np.isfinite(mine) & np.isfinite(theirs)
        if both.sum() < 3 or np.ptp(mine[both]) == 0 or np.corrcoef(mine[both], theirs[both])[0, 1] < np.sqrt(FITS):
            return False
    return True
