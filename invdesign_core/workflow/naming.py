"""What a bare model's inputs and outputs are called, and what is known of their ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from invdesign_core.data.data import TrainingRows
from invdesign_core.data.files.load import read_table
from invdesign_core.errors import ConfigError, DataError, near_match, plural
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable, infer_variable
from invdesign_core.surrogate.signature import Signature

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Named:
    """A bare model's variables and outputs."""

    space: Space
    outputs: tuple[str, ...]
    rows: TrainingRows | None = None
    measured: TrainingRows | None = None


def name_tensors(
    ports: Signature,
    path: Path,
    table: Path | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> Named:
    """Name a model's columns by the options, by the table's columns, or by the model itself."""
    y_names = _given(outputs, ports.output_names, ports.named_outputs, path, "outputs")
    if table is None:
        x_names = _given(inputs, ports.input_names, ports.named_inputs, path, "inputs")
        space = Space(tuple(Variable(name, kind) for name, kind in zip(x_names, ports.kinds, strict=True)))
        return Named(space, tuple(y_names))
    frame = read_table(table)
    columns = list(frame.columns)
    for name in inputs or ():
        if name not in columns:
            raise DataError(f"{table}: there is no column {name!r}", near_match(name, columns))
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
    # Rows where only some outputs were measured are answers where those are asked.
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
    table: Path,
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
