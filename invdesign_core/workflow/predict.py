"""`predict`: what a saved surrogate, or a model of the user's own, answers for the designs of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.context import Context, StageStarted
from invdesign_core.data.files.load import AUTOMATIC
from invdesign_core.data.files.options import Reading
from invdesign_core.data.files.write import check_new, write_table
from invdesign_core.data.own_columns import (
    PREFIX,
    column_of,
    designs_of,
    in_own_units,
    is_result,
    is_written_by_us,
    read_designs,
)
from invdesign_core.designs.report import PredictReport
from invdesign_core.errors import ConfigError, plural
from invdesign_core.registry import Registry, build_options
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.units import Units
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.keras_file import evaluated, load_model
from invdesign_core.surrogate.signature import Signature, one_tensor
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.workflow.conditions import predicted_over, read_back
from invdesign_core.workflow.load import imported
from invdesign_core.workflow.own_model import name_tensors
from invdesign_core.workflow.result import noting
from invdesign_core.workflow.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Predicted:
    """The table that was given, with ``prediction.NAME`` and, of an ensemble, ``spread.NAME``, and its summary."""

    report: PredictReport
    table: pd.DataFrame


def predict_table(
    run_or_model: Path,
    table: Path,
    out: Path | None = None,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    registry: Registry | None = None,
    backend_name: str | None = None,
    allow_code: bool = False,
    imports: Sequence[str] = (),
    reading: Mapping[str, Any] | None = None,
    ctx: Context | None = None,
) -> Predicted:
    """Predict the outputs of a run or a .keras file for the designs of a table, other columns of which are kept.

    `inputs` and `outputs` name a model's columns in its order; `out` is the .csv, .parquet or .xlsx file to write;
    `reading` has options of the `table` dataset that say how the table is written.
    """
    how = build_options(Reading, reading, "reading") if reading else AUTOMATIC
    if out is not None:
        check_new(out)
    running = backend.select(backend_name)
    ctx, notes = noting(ctx or Context(), registry or Registry.discover())
    ctx.emit(StageStarted("load"))
    is_run = (run_or_model / "resolved.json").exists()
    if is_run and (inputs or outputs):
        raise ConfigError("--inputs and --outputs are for models; a run has its own", "leave them out")
    with imported(imports):
        if is_run or (run_or_model.is_dir() and (run_or_model / "surrogate").is_dir()):
            folder = RunFolder.open(run_or_model)
            surrogate, known = folder.read_surrogate(allow_code)
            frame = read_designs(table, surrogate.space, (), how)
            if is_run and read_back(frame.rename(columns=str), surrogate.space, surrogate.outputs):
                ctx = replace(ctx, seed=folder.read_settings()["experiment"].get("seed", 0))  # the run's scenarios
        else:
            frame = read_designs(table, reading=how)
            surrogate, known = _of_model(run_or_model, frame, table, inputs, outputs, allow_code), None
    frame = frame.rename(columns=str)
    found = folder.read_settings().get("units") if is_run else None
    units = Units.of_columns(surrogate.space.variables, surrogate.outputs, found)
    variables = surrogate.space.names
    own = in_own_units(frame, variables, units, str(table), variables)
    surrogate, plain = predicted_over(surrogate, known, own, ctx)
    designs = designs_of(plain, surrogate.space, surrogate.outputs, str(table))
    x = surrogate.space.encode(designs)
    if is_run:
        _say_outside(surrogate, x, ctx)
    _say_unused(own, surrogate, ctx)
    with evaluated(run_or_model):
        answer = surrogate.predict(x)
    names = surrogate.outputs
    parts = {"prediction": answer.mean} | ({} if answer.std is None else {"spread": answer.std})
    over = surrogate.scenario_spread(x)
    parts |= {} if over is None else {"over_conditions": over}
    columns = {f"{part}.{name}": y[:, m] for part, y in parts.items() for m, name in enumerate(names)}
    listed = {part: [dict(zip(names, row, strict=True)) for row in y.tolist()] for part, y in parts.items()}
    strange = ~np.isfinite(answer.mean).all(axis=1)
    if strange.any():
        ctx.warn(
            f"predictions that are not finite: {int(strange.sum())} of {len(frame)}, first in row {_first(strange)}"
        )
    replaced = [name for name in columns if name in frame.columns]
    if replaced:
        ctx.note(f"existing columns are replaced by new predictions: {', '.join(map(repr, replaced))}")
    predicted = frame.assign(**columns)
    if out is not None:
        write_table(out, predicted)
    report = PredictReport(
        run=str(run_or_model),
        table=str(table),
        out=None if out is None else str(out),
        rows=len(frame),
        outputs=list(names),
        units=dict(units.of),
        prediction=listed["prediction"],
        spread=listed.get("spread"),
        over_conditions=listed.get("over_conditions"),
        backend=running,
        notes=notes,
    )
    return Predicted(report, predicted)


def _of_model(
    path: Path,
    frame: pd.DataFrame,
    table: Path,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
    allow_code: bool,
) -> Surrogate:
    """Return a bare model as a surrogate that is only to be asked: without bounds or units of its own."""
    model, ports = one_tensor(load_model(path, allow_code), path)
    if inputs is None:
        inputs = _names_in(frame, table, ports, outputs)
    named = name_tensors(ports, path, None, inputs, outputs)
    m, e = len(named.outputs), named.space.width
    box = np.stack([np.zeros(e), np.ones(e)])
    return Surrogate((model,), named.space, named.outputs, np.zeros(m), np.ones(m), box, np.ones(m))


def _names_in(
    frame: pd.DataFrame, table: Path, ports: Signature, outputs: Sequence[str] | None
) -> Sequence[str] | None:
    """Return the columns of a table that a model without names takes; None where the model's own names are there."""
    columns = [str(column) for column in frame.columns]
    y_names = list(outputs or ports.output_names)
    if all(column_of(name, columns, ports.input_names) for name in ports.input_names) or ports.named_inputs:
        return None
    designs = [column.removeprefix(PREFIX) for column in columns if column.startswith(PREFIX)]
    ours = is_written_by_us(columns)
    left = designs or [c for c in columns if c not in y_names and not (ours and is_result(c, {*columns, *y_names}))]
    if len(left) != len(ports.kinds):
        raise ConfigError(
            f"the model has {plural(len(ports.kinds), 'input')}, {table} has the columns "
            f"{', '.join(map(repr, columns))}; it is not clear which are the inputs",
            "name them in the model's order: --inputs a,b,…",
        )
    return left


def _say_outside(surrogate: Surrogate, x: FloatArray, ctx: Context) -> None:
    """Warn of designs outside the ranges of the rows that the surrogate learnt from, and of its variables' bounds."""
    bounds = np.stack(surrogate.space.bounds)
    bounds = np.where(np.isfinite(bounds), bounds, surrogate.box)
    low, high = np.fmin(surrogate.box[0], bounds[0]), np.fmax(surrogate.box[1], bounds[1])
    slack = 1e-9 * np.maximum(high - low, np.abs(high))
    outside = ((x < low - slack) | (x > high + slack)).any(axis=1)
    if outside.any():
        ctx.warn(
            f"designs outside the ranges of the training data: {int(outside.sum())} of {len(x)}, first in row "
            f"{_first(outside)}; their predictions are extrapolated"
        )


def _say_unused(frame: pd.DataFrame, surrogate: Surrogate, ctx: Context) -> None:
    names = {*surrogate.space.names, *surrogate.outputs}
    used = {column_of(name, frame.columns, names) for name in surrogate.space.names}
    rest = [c for c in frame.columns if c not in used and c not in surrogate.outputs and not is_result(c, names)]
    if rest:
        ctx.note(f"columns that are not design variables are kept unchanged: {', '.join(map(repr, rest))}")


def _first(rows: Any) -> int:
    return int(np.argmax(rows)) + 1
