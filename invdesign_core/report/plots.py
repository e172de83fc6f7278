"""Figures for notebooks: curves around a design, designs on parallel axes, predicted beside measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from invdesign_core.data.data import TrainingRows
from invdesign_core.designs.report import DesignReport, SurrogateReport, TargetReport
from invdesign_core.designs.verdict import number_text, r2_text
from invdesign_core.errors import ConfigError, near_or_all
from invdesign_core.report.drawing import Axis, Grid, Panel, Parallel, draw
from invdesign_core.report.payload import MOST_ROWS, Material, along, answering, encoded, fit_of, middle_of, promise
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.digits import typed
from invdesign_core.space.space import Space
from invdesign_core.space.units import with_unit
from invdesign_core.surrogate.surrogate import Surrogate

MOST_INPUTS, MOST_OUTPUTS = 8, 6
"""Columns and rows of a profiler where none are named."""
BESIDE = 3
"""Panels in a row where each stands alone."""


def profiler(
    material: Material, backend: str, design: int, inputs: Sequence[str] | None, outputs: Sequence[str] | None
) -> Any:
    """Return each output over each input as curves through a design, with what is wanted and the data's range."""
    space, surrogate, report = material.space, material.surrogate, material.report
    if report.designs and not 1 <= design <= len(report.designs):
        raise ConfigError(f"design: found {design}, expected 1 to {len(report.designs)}")
    chosen = report.designs[design - 1] if report.designs else None
    point = middle_of(material) if chosen is None else encoded(material, chosen)
    drawn = report.conditions or {}
    free = [v.name for v in space.variables if v.count != 1 and v.name not in drawn]
    targets = report.target if material.table is None else material.table.targets[design - 1]
    asked = [name for name in surrogate.outputs if name in targets]
    others = [name for name in surrogate.outputs if name not in asked]
    columns = _named("inputs", inputs, free, MOST_INPUTS)
    rows = _named("outputs", outputs, [*asked, *others], MOST_OUTPUTS)
    predict, blocks = answering(material), dict(zip(space.names, along(material, point), strict=True))
    here = predict(np.array(point)[None])[0]
    curves = {name: predict(blocks[name]) for name in columns}
    panels = []
    for output in rows:
        m = surrogate.outputs.index(output)
        ends = _interval(material, chosen, output)
        row = []
        for name in columns:
            x, labels, at = _axis(space, name, blocks[name], point)
            y = curves[name][:, m]
            band = None if ends is None else (y + ends[0], y + ends[1])
            row.append(
                Panel(
                    with_unit(name, report.units),
                    with_unit(output, report.units),
                    line=(x, y),
                    band=band,
                    here=(at, float(here[m])),
                    shaded=_range_of_data(material, name) if not len(labels) else None,
                    wanted=_wanted(targets.get(output)),
                    labels=labels,
                    log=space[name].scale == "log",
                )
            )
        panels.append(row)
    title = f"through design {design}" if chosen is not None else "through the middle of the bounds"
    if material.table is not None:
        title = f"through the best design for target {material.table.numbers[design - 1]}"
    return draw(Grid(title, panels, shared=True), backend)


def parallel(material: Material, backend: str) -> Any:
    """Return the designs, and the measured rows behind them, on parallel axes: the inputs, then the outputs."""
    space, surrogate, rows = material.space, material.surrogate, material.rows
    designs, units = material.report.designs, material.report.units
    x = [np.array([encoded(material, one) for one in designs], dtype=np.float64).reshape(-1, space.width)]
    found = [[one.prediction.get(name) for name in surrogate.outputs] for one in designs]
    y = [np.array(found, dtype=np.float64).reshape(-1, len(surrogate.outputs))]
    numbers = [np.arange(1.0, len(designs) + 1)]
    if rows is not None:
        measured = rows.measured
        some = np.linspace(0, len(measured.x) - 1, min(MOST_ROWS, len(measured.x))).round().astype(np.intp)
        x, y = [*x, measured.x[some]], [*y, measured.y[some]]
        numbers.append(np.zeros(len(some)))
    if not sum(map(len, x)):
        raise ConfigError("plot_parallel: there are neither designs nor measured rows to draw")
    inputs, values, which = np.concatenate(x), np.concatenate(y), np.concatenate(numbers)
    whole: Any = np.isfinite(values).all(axis=1)  # a line needs a value on each axis
    axes = []
    for name in space.names:
        at, labels, _ = _axis(space, name, inputs[whole], inputs[0])
        axes.append(Axis(with_unit(name, units), at, labels))
    axes += [Axis(with_unit(name, units), values[whole, m]) for m, name in enumerate(surrogate.outputs)]
    title = "designs" + ("" if rows is None else ", and in grey the measured rows")
    return draw(Parallel(title, axes, which[whole]), backend)


def fit(surrogate: Surrogate, rows: TrainingRows | None, report: SurrogateReport, backend: str) -> Any:
    """Return predicted over measured for each output, on rows that the model did not learn from where there are any."""
    known = fit_of(surrogate, rows)
    if known is None:
        raise ConfigError("plot_fit: no measured rows are known", "fit the model in this process, or load a saved one")
    panels = []
    for m, name in enumerate(surrogate.outputs):
        x, y = (np.array(known[key][m], dtype=np.float64) for key in ("measured", "predicted"))
        metrics = report.test.get(name)
        said = "" if metrics is None else f": R² {r2_text(metrics)}, RMS error {number_text(metrics.rmse)}"
        words = [] if known["rows"] is None else [f"row {number}" for number in known["rows"]]
        title = f"{name}{said}"
        panels.append(Panel("measured", "predicted", title, points=(x, y), words=words, diagonal=True))
    rows_of_panels = [panels[at : at + BESIDE] for at in range(0, len(panels), BESIDE)]
    return draw(Grid(known["said"], rows_of_panels), backend)


def _named(what: str, wanted: Sequence[str] | None, known: Sequence[str], most: int) -> list[str]:
    """Return the names that are wanted, else the first of those known."""
    if wanted is None:
        return list(known[:most])
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if name not in known:
            raise ConfigError(f"{what}: there is no {name!r}", near_or_all(str(name), known))
    if not names:
        raise ConfigError(f"{what}: found no name", f"leave it out, or name some of {', '.join(map(repr, known))}")
    return names


def _axis(
    space: Space, name: str, x: FloatArray, point: Sequence[float] | FloatArray
) -> tuple[FloatArray, list[str], float]:
    """Return values of an input as numbers, their labels where they are none, and where a point is among them."""
    variable = space[name]
    columns = dict(zip(space.names, space.slices, strict=True))[name]
    own, here = x[:, columns], np.array(point, dtype=np.float64)[None, columns]
    if variable.kind in ("categorical", "binary"):
        labels = [typed(level) for level in variable.levels]
        levels = list(variable.levels)
        places = np.array([levels.index(value) for value in variable.decode(own)], dtype=np.float64)
        return places, labels, float(levels.index(variable.decode(here)[0]))
    return own[:, 0], [], float(here[0, 0])


def _range_of_data(material: Material, name: str) -> tuple[float, float]:
    columns = dict(zip(material.space.names, material.space.slices, strict=True))[name]
    low, high = material.surrogate.box[:, columns.start].tolist()
    return low, high


def _wanted(target: TargetReport | None) -> tuple[float | None, float | None] | None:
    if target is None or (target.lower is None and target.upper is None):
        return None
    low = None if target.lower is None else target.lower - target.tolerance
    high = None if target.upper is None else target.upper + target.tolerance
    return low, high


def _interval(material: Material, design: DesignReport | None, output: str) -> tuple[float, float] | None:
    """Return how far below and above its prediction the interval of a design ends."""
    if design is None or output not in design.prediction:
        return None
    said = promise(output, design, design.model_dump(mode="json"), material.report)
    if said["interval"] is None or said["value"] is None:
        return None
    return said["interval"][0] - said["value"], said["interval"][1] - said["value"]
