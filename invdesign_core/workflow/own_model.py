"""A model of the user's own: what its columns are called, and whether it and the table given with it agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.data import TrainingRows
from invdesign_core.data.frames import as_frame, plain_columns
from invdesign_core.data.own_columns import read_designs
from invdesign_core.designs.report import OutputMetrics
from invdesign_core.designs.verdict import number_text
from invdesign_core.errors import ConfigError, DataError, near_or_all, plural
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable, infer_variable
from invdesign_core.surrogate.signature import Signature
from invdesign_core.surrogate.surrogate import Surrogate

if TYPE_CHECKING:
    import pandas as pd

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


@dataclass(frozen=True)
class Named:
    """A bare model's variables, without bounds where there is no table, and its m outputs."""

    space: Space
    outputs: tuple[str, ...]
    rows: TrainingRows | None = None
    """The rows of the table in which every output was measured; held out are those in which only some were."""
    measured: TrainingRows | None = None
    """All rows that hold a design, with NaN for outputs that the table doesn't have or a row lacks."""


def name_tensors(
    ports: Signature,
    path: Path,
    table: Any = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> Named:
    """Name a model's columns by the options (its own in any order), by the table's columns, or by the model itself."""
    y_names = _given(outputs, ports.output_names, ports.named_outputs, path, "outputs")
    if table is None:
        x_names = _given(inputs, ports.input_names, ports.named_inputs, path, "inputs")
        space = Space(tuple(Variable(name, kind) for name, kind in zip(x_names, ports.kinds, strict=True)))
        return Named(space, tuple(y_names))
    if isinstance(table, str | Path):
        frame = read_designs(Path(table))
    else:
        frame = as_frame(table).rename(columns=str)
        own = ports.input_names if ports.named_inputs and set(ports.input_names) <= set(frame.columns) else None
        chosen = inputs if inputs is not None else own
        frame, table = plain_columns(frame, None if chosen is None else {*chosen, *y_names}), "the table"
    columns = list(frame.columns)
    for name in inputs or ():
        if name not in columns:
            raise DataError(f"{table}: there is no column {name!r}", near_or_all(name, columns))
    if inputs is None and ports.named_inputs and set(ports.input_names) <= set(columns):
        inputs = ports.input_names
    if inputs is None:
        inputs = _inputs_of(columns, ports, path, table, outputs, y_names)
    x_names = _given(inputs, ports.input_names, ports.named_inputs, path, "inputs")
    space = Space(tuple(_variable(n, frame, kind) for n, kind in zip(x_names, ports.kinds, strict=True)))
    if space.width != len(ports.kinds):
        text = next(v for v in space.variables if v.kind == "categorical")
        raise DataError(
            f"{table}: column {text.name!r} holds text, such as {text.levels[0]!r}; the model takes one number for it",
            "put the numbers that the model was trained on into the table",
        )
    there = [name for name in y_names if name in columns]
    for name in there:
        if not np.issubdtype(frame[name].dtype, np.number):  # type: ignore[arg-type]
            raise DataError(f"{table}: output column {name!r} holds text such as {frame[name].iloc[0]!r}")
    if not there:
        return Named(space, tuple(y_names))
    x, y = space.encode(frame), frame.reindex(columns=y_names).to_numpy(dtype=np.float64)
    y = np.where(np.isfinite(y), y, np.nan)
    usable = np.isfinite(x).all(axis=1) & np.isfinite(y).any(axis=1)
    whole = usable & np.isfinite(y).all(axis=1)
    measured, rows, beside = (
        TrainingRows(x[part], y[part], np.flatnonzero(part) + 1) if part.any() else None
        for part in (usable, whole, usable & ~whole)
    )
    return Named(space, tuple(y_names), None if rows is None else rows._replace(held_out=beside), measured)


def _given(given: Sequence[str] | None, own: Sequence[str], named: bool, path: Path, what: str) -> list[str]:
    """Return the names of the columns; the user's, unless they are the model's own in another order."""
    if given is None or (named and sorted(given) == sorted(own)):
        return list(own)
    if len(given) != len(own):
        listed = ", ".join(map(repr, given))
        called = f" ({', '.join(map(repr, own))})" if named else ""
        raise ConfigError(
            f"{path}: the model has {plural(len(own), what.removesuffix('s'))}{called}, "
            f"found {plural(len(given), 'name')}: {listed}",
            f"name them: --{what} a,b,…",
        )
    twice = [name for name in given if list(given).count(name) > 1]
    if twice:
        raise ConfigError(f"--{what}: {twice[0]!r} appears twice", "names must be unique")
    return list(given)


def _inputs_of(
    columns: Sequence[str],
    ports: Signature,
    path: Path,
    table: Any,
    outputs: Sequence[str] | None,
    y_names: Sequence[str],
) -> list[str]:
    """Return the columns of a table that are inputs: those that are no outputs."""
    left = [column for column in columns if column not in set(y_names)]
    if len(left) == len(ports.kinds):
        return left
    called = f" ({', '.join(map(repr, ports.input_names))})" if ports.named_inputs else ""
    model = f"{path}: the model has {plural(len(ports.kinds), 'input')}{called} and {plural(len(y_names), 'output')}"
    if outputs is None and len(columns) > len(ports.kinds):
        raise ConfigError(
            f"{model}, {table} has {plural(len(columns), 'column')}; name the inputs or the outputs",
            f"for example --outputs {','.join(columns[-len(y_names) :])}, or the inputs: --inputs a,b,…",
        )
    raise DataError(
        f"{model}, {table} has {plural(len(left), 'column')} besides the outputs: {', '.join(map(repr, left))}",
        "name the columns that are inputs, in the model's order: --inputs a,b,…; each input needs a column",
    )


def _variable(name: str, frame: pd.DataFrame, kind: str) -> Variable:
    """Read a variable off a column; a model that takes whole numbers only makes it an integer."""
    found = infer_variable(name, frame[name])
    return infer_variable(name, frame[name], "integer") if kind == "integer" and found.kind == "continuous" else found


def contradictions(
    surrogate: Surrogate, rows: TrainingRows, test: Mapping[str, OutputMetrics], mixable: bool
) -> list[str]:
    """Return where a model contradicts a table's rows, NaN where not measured, with the likely causes.

    `test` has its metrics on them; `mixable` is whether every input takes any number, so that orders can be tried.
    """
    said = []
    lost = int((~np.isfinite(surrogate.predict(rows.x).mean).all(axis=1)).sum())
    if lost:
        said.append(f"the model's prediction is not finite for {lost} of {plural(len(rows.x), 'row')} of the table")
    said += _moving_where_constant(surrogate, rows, test)
    r2 = {name: metrics.r2 for name, metrics in test.items() if metrics.r2 is not None}
    sure = any(value < POOR for value in r2.values())
    poor = [name for name, value in r2.items() if value < (POOR if sure else FITS)]
    if not poor:
        return said
    values = ", ".join(f"{r2[name]:.2g} for {name!r}" for name in poor)
    asked = np.array([surrogate.outputs.index(name) for name in poor])
    some = np.linspace(0, len(rows.x) - 1, min(ROWS, len(rows.x))).astype(np.intp)
    cause = _cause(surrogate, rows.x[some], rows.y[some], asked, FITS if sure else EXACTLY) if mixable else ""
    if not sure and not cause.startswith(" With the order"):  # noise is no contradiction; an order that fits exactly is
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
    if orders:
        answers = surrogate.predict(np.concatenate([x[:, order] for order in orders])).mean
        fits = [_r2(part[:, asked], y[:, asked]).min() for part in np.split(answers, len(orders))]
        fits = np.nan_to_num(fits, nan=-np.inf).tolist()
        best = int(np.argmax(fits))
        if fits[best] >= least:
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
