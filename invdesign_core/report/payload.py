"""What a page shows, as plain values: answers, surrogate and the report of a run in, one mapping out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.data.data import TrainingRows
from invdesign_core.designs.report import DesignReport, Report, TargetReport
from invdesign_core.designs.verdict import (
    Quality,
    as_written,
    miss_of,
    number_text,
    output_text,
    r2_text,
    size_of_tolerance,
    tolerance_text,
    values_of,
)
from invdesign_core.errors import plural
from invdesign_core.errors.visible import visible
from invdesign_core.report.formula import formula
from invdesign_core.report.influence import MOST_POINTS, influence
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.conditions import Scenarios
from invdesign_core.space.digits import given, near, typed
from invdesign_core.space.space import Space
from invdesign_core.space.units import behind, with_unit
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.second_model import SecondModel
from invdesign_core.surrogate.surrogate import FEW, Surrogate
from invdesign_core.targets import Target

if TYPE_CHECKING:
    import pandas as pd

MOST_CELLS = 60_000
"""Numbers of the table that a page holds at most; of longer tables it has some rows."""
MOST_ROWS = 1500
"""Rows of the table that it holds at most."""
MOST_STARTS = 256
SLICE_POINTS = 25
"""Points of a curve that is computed beforehand, where the page can't compute it."""
MOST_WORK = 300_000_000
"""Weights times predictions, up to which it is found out which inputs matter: a page is to be made in half a second."""
MOST_NETWORKS = 12
"""Networks whose losses are drawn."""
WORST = 10
"""Rows that are fitted worst, so many of them."""
USUAL = 1.645
"""Standard deviations on both sides of the mean in which 90 % of normally distributed errors lie."""


@dataclass(frozen=True)
class TargetTable:
    """A table of targets: those that are shown, of which each has its best design in the report, in the same order."""

    count: int
    """How many there are in all."""
    numbers: Sequence[int]
    """Their numbers, from 1."""
    targets: Sequence[Mapping[str, TargetReport]]
    rows: Sequence[int | None]
    """The measured row that is an answer to each; None where none is."""
    file: str = ""
    """Where all designs are."""


@dataclass(frozen=True)
class Material:
    """What a page is made of."""

    report: Report
    surrogate: Surrogate
    """From encoded designs to outputs, without the inputs that a target is about and without means over conditions."""
    space: Space
    """The design variables as the search had them."""
    rows: TrainingRows | None = None
    scenarios: Scenarios | None = None
    starts: pd.DataFrame | None = None
    trials: Sequence[Mapping[str, Any]] = ()
    command: str = ""
    """The command that gave the answers; empty where it was no command."""
    versions: Mapping[str, str] = field(default_factory=dict)
    table: TargetTable | None = None
    """What was asked for, where it was a table of targets."""
    losses: Sequence[Mapping[str, Any]] = ()
    """Of each network its losses by epoch, as `TrainingEnded` has them."""
    second: SecondModel | None = None
    """The second model, which tells the intervals."""


def payload(material: Material, lean: bool = False) -> dict[str, Any]:
    """Return what a page shows, as JSON holds it; a `lean` page has the answer and the profiler alone."""
    report, surrogate, space = material.report, material.surrogate, material.space
    predicted = answering(material)
    known = _quality(report)
    designs = _designs(material)
    model = formula(surrogate)
    live = not isinstance(model, str)
    content = {
        "lean": lean,
        "title": _title(material),
        "table": None if material.table is None else _table(material.table, report.units),
        "run": report.run,
        "status": report.status,
        "verdict": report.verdict,
        "doubtful": bool(known.doubt(report.target)) and report.met_by != "truth",
        "question": [_wanted(name, target, report.units) for name, target in report.target.items()],
        "limits": _limits(material),
        "level": getattr(report, "level", None),
        "variables": [_variable(v, s, material) for v, s in zip(space.variables, space.slices, strict=True)],
        "outputs": [_output(m, material, known) for m in range(len(surrogate.outputs))],
        "goals": [_goal(name, t, space) for name, t in report.target.items() if name in space.names and t.goal],
        "constraints": _constraints(space),
        "formulas": sorted({name for name in _asked(material) if name not in (*space.names, *surrogate.outputs)}),
        "designs": designs,
        "measured": _measured(report),
        "model": model if live else None,
        "second": None if lean else _second(material, designs),
        "slices": None if live else slices(predicted, material, designs, str(model)),
        "scenarios": _scenarios(material.scenarios),
        "data": None if lean else _data(material),
        "fit": None if lean else fit_of(surrogate, material.rows),
        "influence": None if lean else _influence(predicted, material),
        "surrogate": _surrogate(report, known),
        "race": None if report.surrogate.race is None else report.surrogate.race.model_dump(mode="json"),
        "starts": None if lean else _starts(predicted, material),
        "history": _history(material),
    }
    plain: dict[str, Any] = _shown(content)
    return plain


def answering(material: Material) -> Any:
    """Return a function from (n, e) designs to (n, m) outputs, computed in pieces for which programs are there."""
    surrogate, scenarios = material.surrogate, material.scenarios

    def mean(x: FloatArray) -> FloatArray:
        if not surrogate.differentiable:
            return surrogate.units(surrogate.mean_z(x))
        pieces = [surrogate.mean_z(x[at : at + FEW]) for at in range(0, len(x), FEW)]
        return surrogate.units(np.concatenate(pieces))

    def over(x: FloatArray) -> FloatArray:
        if scenarios is None:
            return mean(x)
        found = mean(scenarios.of(x))
        return np.asarray(found.reshape(len(x), len(scenarios), -1).mean(axis=1))

    return over


def _quality(report: Report) -> Quality:
    return Quality.of(report.surrogate)


def _designs(material: Material) -> list[dict[str, Any]]:
    """Return the designs; those of a table with what each is for."""
    report, table = material.report, material.table
    if table is None:
        return [_design(material, design) for design in report.designs]
    found = []
    for number, targets, design in zip(table.numbers, table.targets, report.designs, strict=True):
        own = replace(material, report=report.model_copy(update={"target": dict(targets)}))
        asked = {name: target.model_dump(mode="json") for name, target in targets.items()}
        found.append({**_design(own, design), "target": number, "wishes": asked})
    return found


def _asked(material: Material) -> list[str]:
    """Return what there are targets for, in a table of them by any."""
    if material.table is None:
        return list(material.report.target)
    return [name for targets in material.table.targets for name in targets]


def _table(table: TargetTable, units: Mapping[str, str]) -> dict[str, Any]:
    """Return what each target of a table asks for, in words."""
    lines = [
        {"number": number, "wanted": [_wanted(name, target, units) for name, target in targets.items()], "row": row}
        for number, targets, row in zip(table.numbers, table.targets, table.rows, strict=True)
    ]
    return {"count": table.count, "lines": lines, "file": table.file}


def _title(material: Material) -> str:
    report = material.report
    if material.table is not None:
        return f"Designs for {plural(material.table.count, 'target')}"
    asked = ", ".join(_wanted(name, target, report.units)["text"] for name, target in report.target.items())
    return f"Designs for {asked}" if asked else "A surrogate without a target"


def _wanted(name: str, target: TargetReport, units: Mapping[str, str]) -> dict[str, Any]:
    """Return what is wanted of one output in words."""
    low, high, unit = target.lower, target.upper, behind(name, units)
    words = {"max": "as large as possible", "min": "as small as possible"}
    parts = [words[target.goal]] if target.goal else []
    if low is not None and low == high:
        size = f" ± {size_of_tolerance(target)}" if target.tolerance else ""
        parts.append(f"{_number(low)}{size}{unit}")
    elif low is not None and high is not None:
        parts.append(f"from {_number(low)} to {_number(high)}{unit}{tolerance_text(target)}")
    elif low is not None:
        parts.append(f"at least {_number(low)}{unit}{tolerance_text(target)}")
    elif high is not None:
        parts.append(f"at most {_number(high)}{unit}{tolerance_text(target)}")
    ends = (-math.inf if low is None else low, math.inf if high is None else high)
    text = str(Target(*ends, goal=target.goal)).replace(">=", "≥").replace("<=", "≤")
    text += unit if low is not None or high is not None else ""
    return {"name": name, "words": ", ".join(parts), "text": f"{name} {text}"}


def _number(value: float) -> str:
    """Write a number as it was typed, or, where it was computed from another unit, to six digits."""
    return given(value, 1e-5 * abs(value))


def _limits(material: Material) -> list[str]:
    """Return what designs had to keep to, in words."""
    said = list(material.space.constraints.texts)
    said += [f"{v.name} = {typed(v.fixed)}" for v in material.space.variables if v.fixed is not None]
    drawn = material.report.conditions or {}
    return said + [f"on average over {name}: {how}" for name, how in drawn.items()]


def _variable(variable: Variable, columns: slice, material: Material) -> dict[str, Any]:
    """Return one input: its kind, the values that exist, and the range of the data."""
    low, high = variable.bounds()
    box = material.surrogate.box[:, columns.start]
    drawn = material.report.conditions or {}
    allowed = [variable.levels.index(label) for label in variable.allowed or variable.levels]
    return {
        "name": variable.name,
        "label": with_unit(variable.name, material.report.units),
        "kind": variable.kind,
        "start": columns.start,
        "stop": columns.stop,
        "lower": float(low[0]),
        "upper": float(high[0]),
        "levels": [typed(level) for level in variable.levels] if variable.kind != "levels" else list(variable.levels),
        "allowed": allowed if variable.kind == "categorical" else None,
        "step": variable.step or (1.0 if variable.kind == "integer" else None),
        "origin": variable.origin,
        "ranges": [list(pair) for pair in variable.ranges],
        "log": variable.scale == "log",
        "fixed": variable.count == 1 or variable.name in drawn,
        "said": drawn.get(variable.name) or (typed(variable.fixed) if variable.fixed is not None else None),
        "data": [float(box[0]), float(box[1])] if variable.kind != "categorical" else None,
        "span": variable.span,
    }


def _output(m: int, material: Material, known: Quality) -> dict[str, Any]:
    """Return one output: what is wanted of it, its range, and how well it is known."""
    name, spread = material.surrogate.outputs[m], float(material.surrogate.spread[m])
    units, target, metrics = material.report.units, material.report.target.get(name), known.metrics.get(name)
    rows = material.rows
    low = high = float(material.surrogate.shift[m])
    if rows is not None and np.isfinite(rows.y[:, m]).any():
        low, high = float(np.nanmin(rows.y[:, m])), float(np.nanmax(rows.y[:, m]))
    return {
        "name": name,
        "label": with_unit(name, units),
        "range": spread,
        "low": low,
        "high": high,
        "measured": rows is not None,
        "target": None if target is None else target.model_dump(mode="json") | _wanted(name, target, units),
        "error": None if metrics is None else metrics.rmse,
        "r2": None if metrics is None or metrics.r2 is None else r2_text(metrics),
    }


def _goal(name: str, target: TargetReport, space: Space) -> dict[str, Any]:
    """Return an input that is to be as large or as small as it can be."""
    places = dict(zip(space.names, space.slices, strict=True))
    sign = 1 if target.goal == "max" else -1
    return {"column": places[name].start, "sign": sign, "range": target.range, "name": name}


def _constraints(space: Space) -> dict[str, Any]:
    rules = space.constraints
    linear = rules.linear
    sides = zip(linear.matrix.tolist(), linear.lower.tolist(), linear.upper.tolist(), strict=True)
    return {
        "rows": [{"row": row, "lower": low, "upper": high} for row, low, high in sides],
        "at_most": [{"count": limit.count, "columns": list(limit.columns)} for limit in rules.at_most],
        "texts": list(rules.texts),
    }


def _design(material: Material, design: DesignReport) -> dict[str, Any]:
    """Return one design: what it is, what it promises, and what lies around it."""
    report = material.report
    said = design.model_dump(mode="json")
    outputs = [promise(name, design, said, report) for name in (*design.prediction, *(design.derived or {}))]
    nearest = design.nearest
    met = None if not design.met else all(design.met.values())
    return {
        "x": encoded(material, design),
        "inputs": [
            {
                "name": name,
                "label": with_unit(name, report.units),
                "text": typed(value),
                "tolerance": _around(design, name),
            }
            for name, value in design.inputs.items()
        ],
        "outputs": sorted(outputs, key=lambda item: item["wanted"] is None),
        "met": met,
        "misses": [miss_of(n, design, report.target[n]) for n, fine in design.met.items() if not fine],
        "judged": "the true model" if design.truth else "the prediction",
        "probability": said.get("probability"),
        "doubt": said.get("no_guarantee"),
        "failed": said.get("failed"),
        "inside": None if nearest is None else nearest.inside,
        "nearest": None if nearest is None else {"row": nearest.row, "distance": number_text(nearest.distance)},
        "starts": design.starts,
        "tolerance": said["tolerance_range"],
        "free": said["free_directions"],
    }


def promise(name: str, design: DesignReport, said: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Return what a design promises of one output, beside what is wanted."""
    target = report.target.get(name)
    value = {**design.prediction, **(design.derived or {})}[name]
    truth = (design.truth or {}).get(name)
    interval, once = ((said.get(key) or {}).get(name) for key in ("interval", "interval_new"))
    interval = None if interval is None or None in interval else interval
    error = (said.get("error") or {}).get(name)
    own = (said.get("spread") or {}).get(name)
    if interval is None and value is not None and (error is not None or own is not None):
        half = USUAL * max(error or 0.0, own or 0.0)
        interval, how = [value - half, value + half], "about 90 %, by the typical error"
    else:
        level = getattr(report, "level", None)
        how = "" if interval is None or level is None else f"{level:.0%}".replace("%", " %")
    unit = (target.range if target is not None else None) or abs(value or 0.0)

    def text(number: float | None) -> str:
        if number is None:
            return "–"
        return output_text(number, target) if target is not None else near(number, 1e-3 * unit)

    return {
        "name": name,
        "label": with_unit(name, report.units),
        "value": value,
        "text": text(value),
        "truth": None if truth is None else text(truth),
        "truth_value": truth,
        "interval": interval,
        "interval_text": None if interval is None else [near(end, 1e-3 * unit) for end in interval],
        "measurement": None if once is None or None in once else [near(end, 1e-3 * unit) for end in once],
        "how": how,
        "met": design.met.get(name),
        "wanted": None if target is None else _wanted(name, target, report.units)["words"],
        "scale": None if target is None else _scale(target, value, truth, interval),
    }


def _scale(
    target: TargetReport, value: float | None, truth: float | None, interval: Sequence[float] | None
) -> dict[str, Any] | None:
    """Return where things lie on a line of 100 units: what is wanted, the interval, the prediction and the truth."""
    low, high, slack = target.lower, target.upper, target.tolerance
    marks = [v for v in (low, high, value, truth, *(interval or ())) if v is not None]
    if value is None or not marks:
        return None
    least, most = min(marks) - slack, max(marks) + slack
    room = 0.15 * (most - least) or abs(most) or 1.0
    least, most = least - room, most + room

    def at(number: float) -> float:
        return round(100 * (min(max(number, least), most) - least) / (most - least), 2)

    def part(ends: Sequence[float]) -> dict[str, float]:
        return {"left": at(ends[0]), "width": max(round(at(ends[1]) - at(ends[0]), 2), 0.6)}

    wanted = None
    if low is not None or high is not None:
        wanted = part([least if low is None else low - slack, most if high is None else high + slack])
    return {
        "wanted": wanted,
        "interval": None if interval is None else part(interval),
        "value": at(value),
        "truth": None if truth is None else at(truth),
        "low": near(least, (most - least) / 100),
        "high": near(most, (most - least) / 100),
    }


def _around(design: DesignReport, name: str) -> str | None:
    """Return how far an input may move alone, in words; None where it may not, or nobody knows."""
    ends = (design.tolerance_range or {}).get(name)
    if not ends:
        return None
    if len(ends) == 2 and all(isinstance(end, int | float) and not isinstance(end, bool) for end in ends):
        return None if ends[0] == ends[1] else f"{typed(ends[0])} to {typed(ends[1])}"
    return " or ".join(map(typed, ends))


def encoded(material: Material, design: DesignReport) -> list[float]:
    """Return a design's (e,) encoded columns; a condition that varies is in the middle of its bounds."""
    space, drawn = material.space, material.report.conditions or {}
    low, high = space.bounds
    found: list[float] = []
    for variable, columns in zip(space.variables, space.slices, strict=True):
        if variable.name in drawn:
            middle = ((low + high) / 2)[columns]
            found += np.where(np.isfinite(middle), middle, material.surrogate.box[0, columns]).tolist()
        else:
            found += variable.encode([_level(variable, design.inputs[variable.name])])[0].tolist()
    return found


def _level(variable: Variable, value: Any) -> Any:
    """Return a level as the variable has it: JSON may have turned what it is written as."""
    if variable.kind not in ("categorical", "binary") or value in variable.levels:
        return value
    return next((level for level in variable.levels if str(level) == str(value)), value)


def _measured(report: Report) -> dict[str, Any]:
    """Return the measured rows that are answers themselves, and the best of all."""

    def row(item: Any) -> dict[str, Any]:
        targets = {k: t for k, t in report.target.items() if k in {**item.inputs, **item.derived, **item.outputs}}
        return {
            "row": item.row,
            "inputs": [
                {"name": with_unit(name, report.units), "text": as_written(value)}
                for name, value in item.inputs.items()
            ],
            "values": values_of(item, targets),
        }

    return {"count": report.measured_count, "rows": [row(item) for item in report.measured]}


def along(material: Material, point: Sequence[float]) -> list[FloatArray]:
    """Return for each input designs through a point, (k, e) in which that input alone takes other values."""
    space = material.space
    low, high = _ends(material)
    found = []
    for variable, columns in zip(space.variables, space.slices, strict=True):
        number = variable.count
        if number is not None and number <= 2 * SLICE_POINTS:
            values = variable.at(np.arange(number))
        else:
            values = np.linspace(low[columns], high[columns], SLICE_POINTS)
        block = np.repeat(np.array(point, dtype=np.float64)[None], len(values), axis=0)
        block[:, columns] = values
        found.append(block)
    return found


def _ends(material: Material) -> tuple[FloatArray, FloatArray]:
    """Return between which values inputs are shown: their bounds, or the data's range where they have none."""
    (low, high), box = material.space.bounds, material.surrogate.box
    return np.where(np.isfinite(low), low, box[0]), np.where(np.isfinite(high), high, box[1])


def middle_of(material: Material) -> list[float]:
    """Return a design in the middle of the bounds."""
    low, high = _ends(material)
    found: list[float] = material.space.snap(((low + high) / 2)[None])[0].tolist()
    return found


def slices(answering: Any, material: Material, designs: Sequence[Mapping[str, Any]], why: str) -> dict[str, Any]:
    """Return curves through each design, computed beforehand; `why` says why the page can't compute them."""
    points = [design["x"] for design in designs] or [middle_of(material)]
    curves = []
    for point in points:
        blocks = along(material, point)
        y = np.split(answering(np.concatenate(blocks)), np.cumsum([len(block) for block in blocks])[:-1])
        curves.append(
            [
                {"x": block[:, columns].tolist(), "y": _digits(values)}
                for block, values, columns in zip(blocks, y, material.space.slices, strict=True)
            ]
        )
    return {"why": why, "curves": curves, "points": points}


def _second(material: Material, designs: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return what the second model says, and how far to trust it; None where there is none, or one of other rows."""
    second, surrogate = material.second, material.surrogate
    if second is None or second.surrogate.outputs != surrogate.outputs:
        return None
    if second.surrogate.space.width != surrogate.space.width:
        return None
    model = formula(second.surrogate)
    x = np.array([design["x"] for design in designs[:1]], dtype=np.float64).reshape(-1, surrogate.space.width)
    best = second.predict(x).mean if len(x) and material.scenarios is None else None
    level = second.level if material.report.level is None else material.report.level
    rows = [
        {
            "name": with_unit(name, material.report.units),
            "noise": number_text(float(second.noise[m])),
            "scale": number_text(float(second.scale[m])),
            "wide": number_text(float(second.quantile(level)[m])),
            "best": None if best is None else near(float(best[0, m]), 1e-3 * float(surrogate.spread[m] or 1.0)),
        }
        for m, name in enumerate(surrogate.outputs)
    ]
    return {
        "plugin": second.plugin,
        "model": None if isinstance(model, str) else model,
        "why": model if isinstance(model, str) else "",
        "own": second.searched_knows,
        "level": f"{level:.0%}".replace("%", " %"),
        "count": len(second.ratios),
        "rows": rows,
    }


def _scenarios(scenarios: Scenarios | None) -> dict[str, Any] | None:
    if scenarios is None:
        return None
    return {"columns": scenarios.columns.tolist(), "values": scenarios.values.tolist()}


def _data(material: Material) -> dict[str, Any] | None:
    """Return the measured rows, or some of them."""
    if material.rows is None:
        return None
    rows = material.rows.measured
    width = rows.x.shape[1] + rows.y.shape[1]
    most = max(min(MOST_ROWS, MOST_CELLS // width), 2)
    some = np.arange(len(rows.x))
    if len(some) > most:
        some = np.sort(np.random.default_rng(0).choice(len(some), most, replace=False))
    numbers = None if rows.rows is None else rows.rows[some].tolist()
    x, y = _digits(rows.x[some]), _digits(rows.y[some])
    return {"rows": numbers, "x": x, "y": y, "total": len(rows.x)}


def fit_of(surrogate: Surrogate, rows: TrainingRows | None) -> dict[str, Any] | None:
    """Return predicted beside measured for rows that the model did not learn from, else for those that it did."""
    if rows is None:
        return None
    left_out = rows.left_out
    if left_out is not None and np.isfinite(left_out).any():
        said = "rows left out in turn: each is predicted by a model that did not learn from it"
        numbers, x, y, predicted = rows.rows, rows.x, rows.y, left_out
    elif rows.held_out is not None and len(rows.held_out.x):
        held = rows.held_out
        said = "test rows, which the model did not learn from"
        numbers, x, y, predicted = held.rows, held.x, held.y, _mean(surrogate, held.x)
    else:
        said = "rows that the model learnt from: errors on new rows are larger"
        some = slice(None, 2 * MOST_ROWS)
        numbers = None if rows.rows is None else rows.rows[some]
        x, y, predicted = rows.x[some], rows.y[some], _mean(surrogate, rows.x[some])
    some_rows = np.arange(len(x))
    most = max(min(MOST_ROWS, MOST_CELLS // (2 * y.shape[1])), 2)
    residual = np.abs(predicted - y) / np.where(surrogate.spread > 0, surrogate.spread, 1.0)
    size = np.where(np.isfinite(residual).any(axis=1), np.nanmax(np.nan_to_num(residual, nan=0.0), axis=1), 0.0)
    worst = np.argsort(-size, kind="stable")[:WORST]
    if len(some_rows) > most:  # the worst are shown in any case
        drawn = np.random.default_rng(0).choice(len(x), most, replace=False)
        some_rows = np.union1d(drawn, worst)
    frame = surrogate.space.as_measured(x[worst])
    return {
        "said": said,
        "rows": None if numbers is None else np.asarray(numbers)[some_rows].tolist(),
        "measured": _digits(y[some_rows].T),
        "predicted": _digits(predicted[some_rows].T),
        "total": len(x),
        "worst": [
            {
                "row": None if numbers is None else int(numbers[at]),
                "output": surrogate.outputs[int(np.nanargmax(np.nan_to_num(residual[at], nan=-1.0)))],
                "measured": number_text(float(y[at, int(np.nanargmax(np.nan_to_num(residual[at], nan=-1.0)))])),
                "predicted": number_text(
                    float(predicted[at, int(np.nanargmax(np.nan_to_num(residual[at], nan=-1.0)))])
                ),
                "share": round(float(size[at]), 4),
                "inputs": ", ".join(f"{name} {as_written(frame[name].iloc[i])}" for name in frame.columns[:8])
                + (", …" if len(frame.columns) > 8 else ""),
            }
            for i, at in enumerate(worst.tolist())
        ],
    }


def _mean(surrogate: Surrogate, x: FloatArray) -> FloatArray:
    """Return (n, m) outputs in the user's units, in pieces for which programs are compiled already."""
    pieces = [surrogate.mean_z(x[at : at + FEW]) for at in range(0, len(x), FEW)]
    return surrogate.units(np.concatenate(pieces))


def _influence(answering: Any, material: Material) -> dict[str, Any] | None:
    """Return which inputs matter."""
    if material.space.unbounded() or material.scenarios is not None:
        return None
    weights = (
        sum(int(np.prod(v.shape)) for v in material.surrogate.variables) if material.surrogate.differentiable else 0
    )
    found = influence(answering, material.space, min(MOST_POINTS, MOST_WORK // max(weights, 1)))
    if found is None:
        return None
    return {
        "first": np.round(found.first, 4).tolist(),
        "total": np.round(found.total, 4).tolist(),
        "direction": np.round(found.direction, 3).tolist(),
        "points": found.points,
        "tied": bool(material.space.constraints),
    }


def _surrogate(report: Report, known: Quality) -> dict[str, Any]:
    """Return how good the surrogate is, as the table of its errors shows it."""
    s = report.surrogate
    return {
        "plugin": s.plugin or "a model file",
        "members": s.members,
        "rows": known.rows,
        "counts": dict(s.rows),
        "metrics": [
            {
                "name": with_unit(name, report.units),
                "r2": r2_text(m),
                "mae": number_text(m.mae),
                "rmse": number_text(m.rmse),
            }
            for name, m in s.test.items()
        ],
        "best": {key: number_text(value) for key, value in s.best.items()},
    }


def _starts(answering: Any, material: Material) -> dict[str, Any] | None:
    """Return how far each start missed the target before and after the search, in shares of the outputs' ranges."""
    starts, report, space = material.starts, material.report, material.surrogate.space
    if starts is None or not len(starts) or material.scenarios is not None:
        return None
    outputs = material.surrogate.outputs
    asked = [name for name in report.target if name in outputs]
    guesses = [column for column in starts.columns if column.startswith("guess.")]
    if not asked or len(guesses) != space.width:
        return None
    some = starts.iloc[:MOST_STARTS]
    limited = any(report.target[n].lower is not None or report.target[n].upper is not None for n in asked)
    guess = some[guesses].to_numpy(dtype=np.float64)
    before = answering(np.where(np.isfinite(guess), guess, material.surrogate.box[0]))
    after = np.column_stack([some[f"prediction.{n}"].to_numpy(dtype=np.float64) for n in outputs])
    if not limited:
        m = outputs.index(asked[0])
        return {"what": asked[0], "miss": False, "before": _digits(before[:, m]), "after": _digits(after[:, m])}
    return {
        "what": "miss, in shares of the outputs' ranges",
        "miss": True,
        "before": _digits(_miss(before, asked, outputs, report)),
        "after": _digits(_miss(after, asked, outputs, report)),
    }


def _miss(y: FloatArray, asked: Sequence[str], outputs: Sequence[str], report: Report) -> FloatArray:
    """Return (n,) the root of the mean squared miss over the asked outputs, each in units of its range."""
    total = np.zeros(len(y))
    for name in asked:
        target, value = report.target[name], y[:, outputs.index(name)]
        above = 0.0 if target.upper is None else np.maximum(value - target.upper, 0.0)
        below = 0.0 if target.lower is None else np.maximum(target.lower - value, 0.0)
        total += ((above + below) / (target.range or 1.0)) ** 2
    return np.asarray(np.sqrt(total / len(asked)))


def _history(material: Material) -> dict[str, Any]:
    """Return what happened, with what, and how to do it again."""
    report = material.report
    return {
        "notes": list(report.notes),
        "seconds": {key: round(value, 2) for key, value in report.seconds.items() if value >= 0.005},
        "plugins": dict(report.plugins),
        "seed": report.seed,
        "backend": report.backend,
        "search": report.search,
        "starts": None if report.starts is None else report.starts.model_dump(),
        "trials": [dict(trial) for trial in material.trials],
        "score": report.surrogate.objective,
        "losses": _losses(material.losses),
        "command": material.command,
        "versions": dict(material.versions),
    }


def _losses(networks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the losses by epoch of the networks that ended best, the best first."""

    def end(network: Mapping[str, Any]) -> float:
        known = [value for value in network.get("val_loss", network["loss"]) if value is not None]
        return min(known, default=math.inf)

    return [dict(network) for network in sorted(networks, key=end)[:MOST_NETWORKS]]


def _digits(values: FloatArray) -> Any:
    """Return numbers as lists, to seven significant digits: more can't be seen, and takes room."""
    if values.ndim > 1:
        return [_digits(row) for row in values]
    return [float(f"{value:.7g}") if math.isfinite(value) else None for value in values.tolist()]


def _shown(value: Any) -> Any:
    """Return the same without NaN and infinity, which JSON does not have, and without NumPy's numbers.

    Names and texts hold no marks that would turn the direction of what stands around them.
    """
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(str(key)): _shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if value and type(value[0]) is float:  # long lists of numbers are quicker this way
            return [item if type(item) is float and math.isfinite(item) else _shown(item) for item in value]
        return [_shown(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
