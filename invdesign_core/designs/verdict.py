"""The last line of a report: what came of it, by what it is judged, and how far to trust it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from invdesign_core.errors import plural
from invdesign_core.space.digits import SHARE, given, near, telling, typed, was_computed
from invdesign_core.space.units import behind
from invdesign_core.targets import DEFAULT_TOLERANCE, ROUNDOFF

if TYPE_CHECKING:
    from invdesign_core.designs.report import (
        DesignReport,
        MeasuredReport,
        OutputMetrics,
        Report,
        SurrogateReport,
        TableReport,
        TargetReport,
    )

RELAXED = 'discrete values were rounded at the end, which can miss designs; solver.discrete = "auto" searches them'
GUESS = 0.5
"""R² below which an answer for an output is called a guess: more than half of what varies is not explained."""
USELESS = 0.1
"""R² on rows never seen, below which an output is called not predictable."""
FEW_ROWS = 20
"""Rows below which R² is uncertain, and said to be."""
CLOSE = 0.1
"""Length of the range of R² up to which it counts as known."""
JUDGES = {"truth": "by the true model", "prediction": "by prediction"}


@dataclass(frozen=True)
class Quality:
    """A surrogate's R² and errors by output on rows with measured outputs, none where unknown; which rows, in words."""

    metrics: Mapping[str, OutputMetrics] = field(default_factory=dict)
    rows: str = ""

    @classmethod
    def of(cls, report: SurrogateReport) -> Quality:
        """Return the metrics on the rows that a training never saw, or those of a model on the rows of its table."""
        if "table" in report.rows:
            # These rows are not a draw from many: the model contradicts them or not.
            known = {name: m.model_copy(update={"r2_range": None}) for name, m in report.test.items()}
            return cls(known, f"the {plural(report.rows['table'], 'row')} of the table")
        if report.rows.get("left out"):
            return cls(report.test, f"{plural(report.rows['left out'], 'row')} left out in turn")
        return cls(report.test, plural(report.rows.get("test", 0), "test row"))

    @property
    def errors(self) -> dict[str, float]:
        """The typical error of each output, in its units: the root mean squared error."""
        return {name: m.rmse for name, m in self.metrics.items() if m.rmse is not None}

    def doubt(self, outputs: Iterable[str]) -> str:
        """Say of which outputs the surrogate explains too little; empty where of none."""
        known = {name: self.metrics[name].r2 for name in outputs if name in self.metrics}
        parts = [
            f"{r2:.0%} of {name}".replace("%", " %") if r2 > 0 else f"nothing of {name} (R² {r2:.2g})"
            for name, r2 in known.items()
            if r2 is not None and surely_below(self.metrics[name], GUESS)
        ]
        return f"the surrogate explains {' and '.join(parts)} on {self.rows}" if parts else ""


def metric_warnings(test: Mapping[str, OutputMetrics]) -> list[str]:
    """Return what is odd about a surrogate, by its metrics on rows that it never saw."""
    return [
        f"output {name!r} is not predictable from these inputs: R² is {metrics.r2:.2g} on designs never seen; "
        "designs for it cannot be trusted"
        for name, metrics in test.items()
        if metrics.r2 is not None and surely_below(metrics, USELESS)
    ]


def r2_range(r2: float, rows: int) -> tuple[float, float] | None:
    """Return between which values R² lies with a confidence of 90 %, where it comes from few rows.

    R² on rows never seen is about the squared correlation of what was predicted and measured, of which the inverse
    hyperbolic tangent has a standard error of ``1 / sqrt(rows - 3)`` (R. A. Fisher, Metron 1, 1921).

    Examples
    --------
    >>> low, high = r2_range(0.9, 6)
    >>> round(low, 2), round(high, 2)
    (0.49, 0.98)
    """
    if rows >= FEW_ROWS:
        return None
    if rows <= 3:
        return min(r2, 0.0), 1.0
    middle, half = math.atanh(math.sqrt(min(max(r2, 0.0), 1 - 1e-12))), 1.645 / math.sqrt(rows - 3)
    return min(r2, math.tanh(max(middle - half, 0.0)) ** 2), math.tanh(middle + half) ** 2


def surely_below(metrics: OutputMetrics, limit: float) -> bool:
    """Whether R² is below a limit, and not by the chance of few rows."""
    most = metrics.r2 if metrics.r2_range is None else metrics.r2_range[1]
    return most is not None and most < limit


def r2_text(metrics: OutputMetrics) -> str:
    """Write R², and in brackets where it lies if that is uncertain."""
    if metrics.r2 is None or metrics.r2_range is None or metrics.r2_range[1] - metrics.r2_range[0] <= CLOSE:
        return number_text(metrics.r2)
    return f"{metrics.r2:.2g} ({metrics.r2_range[0]:.2g} to {metrics.r2_range[1]:.2g})"


def few_rows(test: Mapping[str, OutputMetrics], row: str = "test row") -> list[str]:
    """Say how uncertain R² is where it comes from few rows; `row` is what one is called."""
    said = [f"{name} {text}" for name, text in ((n, r2_text(m)) for n, m in test.items()) if text.endswith(")")]
    if not said:
        return []
    rows = min(metrics.rows or 0 for metrics in test.values() if metrics.r2_range is not None)
    return [
        f"{plural(rows, row)} {'is' if rows == 1 else 'are'} few, so that R² is uncertain (in brackets where it "
        f"lies with 90 % confidence): {', '.join(said)}"
    ]


def verdict_of(report: Report, quality: Quality) -> str:
    """Return the line for one target, from all else of its report."""
    if report.status == "no target":
        return f"no target was given; the outputs are {', '.join(report.surrogate.test) or 'untested'}"
    judged = "truth" if report.designs and report.designs[0].truth else "prediction"
    doubt = "" if judged == "truth" and report.met_by != "measured row" else quality.doubt(report.target)
    if report.status == "interrupted":
        return _joined("interrupted: these are the best designs so far", doubt)
    if report.status == "out of time":
        said = "the time limit ended the search: these are the best designs so far"
        if not report.designs:
            return "the time limit ended the search before any design was found"
        if False in report.designs[0].met.values():
            said += "; the nearest misses the target: " + ", ".join(misses(report))
        return _joined(said, doubt)
    if report.met_by == "measured row":
        return _joined(_by_rows(report), doubt)
    if not report.designs:
        return "no start reached a design with a finite prediction"
    if report.status == "not met":
        text = "no design meets the target; closest: " + ", ".join(misses(report))
        return _joined(text, RELAXED if report.search == "relaxation" else "", doubt)
    if report.status == "optimised":
        return _joined(_reached(report, JUDGES[judged]), f"{doubt}: what it predicts is a guess" if doubt else "")
    rows = ""
    if report.measured:
        does, first = "meets" if report.measured_count == 1 else "meet", report.measured[0].row
        rows = f"{plural(report.measured_count, 'measured row')} {does} it already"
        rows += "" if first is None else f" (row {first})"
    if doubt:
        return _joined("the prediction is met", f"{doubt}: the design is a guess", rows)
    return _joined(f"the best design meets the target {JUDGES[judged]}", rows)


def table_verdict_of(report: TableReport, doubt: str) -> str:
    """Return the line for a table of targets; `doubt` says what the surrogate that judges them explains too little."""
    beaten = f" (measured rows beat {report.beaten} of them: measured.row)" if report.beaten else ""
    if report.optimised == report.targets:
        parts = [f"{report.optimised} of {plural(report.targets, 'target')} optimised{beaten}"]
    else:
        parts = [f"{report.met} of {plural(report.targets, 'target')} met"]
        parts += [f"{report.optimised} optimised{beaten}"] if report.optimised else []
    if report.measured:
        parts.append(f"{report.measured} more by measured rows alone (measured.row)")
    return _joined(", ".join(parts), f"{doubt}: what it predicts is a guess" if doubt else "")


def misses(report: Report) -> list[str]:
    """Say by how much the best design misses each output."""
    best = report.designs[0]
    why = f" ({best.failed})" if best.failed else ""
    return [
        miss_of(name, best, report.target[name])
        + ("" if best.miss[name] is None else behind(name, report.units))
        + (why if best.miss[name] is None else tolerance_text(report.target[name]))
        for name, met in best.met.items()
        if not met
    ] or [f"no finite {name} {'by the true model' if best.truth else 'predicted'}{why}" for name in report.target]


def miss_of(name: str, design: DesignReport, target: TargetReport) -> str:
    """Say by how much a design misses an output, or that nothing is known of it there."""
    miss = design.miss[name]
    if miss is None:
        return f"the true model gave no value of {name} there" if design.truth else f"no finite {name} is predicted"
    return f"{name} misses by {miss_text(miss, target)}"


def values_of(row: MeasuredReport, targets: Mapping[str, TargetReport]) -> str:
    """Name what was measured in a row of some outputs, as it was written."""
    return ", ".join(f"{name} {measured_text(row.value(name), target)}" for name, target in targets.items())


def _by_rows(report: Report) -> str:
    """Say that measured rows do what no proposed design does."""
    what = "meets the target"
    if any(target.goal for target in report.target.values()):
        what = "holds all limits" if _limited(report) else f"has a value of {' and '.join(report.target)}"
    one = report.measured_count == 1
    rows = f"{plural(report.measured_count, 'measured row')} {'does' if one else 'do'}"
    which = "it is" if one else "the best is"
    row = report.measured[0]
    number = f"row {row.row}: " if row.row is not None else ""
    return f"no proposed design {what}, but {rows}; {which} {number}{values_of(row, report.target)}"


def _reached(report: Report, judge: str) -> str:
    """Say what was reached of each maximum and minimum, and what the best measured row has."""
    best, row = report.designs[0], report.measured_best
    held = " with all limits held" if _limited(report) else ""
    parts = []
    for name, target in report.target.items():
        if target.goal is not None:
            most = "largest" if target.goal == "max" else "smallest"
            if name in best.prediction or name in (best.derived or {}):
                reached = output_text(best.value(name), target)
                by = judge if name in best.prediction or held else ""
                found = f"the {most} {name} found{held} is {reached}{behind(name, report.units)} {by}"
                parts.append(found.rstrip())
            else:  # an input
                by = f"{held} {judge}" if held else ""
                parts.append(
                    f"the {most} {name} found{by} is {as_written(best.inputs[name])}{behind(name, report.units)}"
                )
    text = ", ".join(parts)
    if row is None or not all(row.met.values()):
        return text
    number = "" if row.row is None else f" ({row.row})"
    has = values_of(row, {name: target for name, target in report.target.items() if target.goal is not None})
    better = ", which is better" if report.measured else ""
    return f"{text}; the best measured row{number} has {has}{better}"


def _limited(report: Report) -> bool:
    """Whether any output has a value or limits to meet."""
    return any(target.lower is not None or target.upper is not None for target in report.target.values())


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def number_text(value: Any) -> str:
    """Return a value to four digits of itself where it is a fraction."""
    if value is None:
        return "–"
    return near(value, 1e-4 * abs(value)) if isinstance(value, float) else str(value)


def confidence_lines(best: DesignReport, report: Report) -> list[str]:
    """Say between which values the outputs of the best design lie, and for how many designs that may not hold."""
    if report.level is None or best.interval is None or best.interval_new is None:
        return []
    lines = []
    for name in (name for name in report.target if name in best.interval):
        unit = behind(name, report.units)
        true, new = interval_text(best.interval[name]), interval_text(best.interval_new[name])
        lines.append(
            f"with {percent(report.level)} confidence {name} is {true}{unit}, and {new}{unit} in a single measurement"
        )
    if best.probability is not None:
        lines.append(f"a measurement meets the target with a probability of {percent(best.probability)}")
    unsure = Counter(design.no_guarantee for design in report.designs if design.no_guarantee)
    if best.no_guarantee is not None:
        lines.append(f"no guarantee for this: {best.no_guarantee}")
    if unsure:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in unsure.items())
        lines.append(f"no guarantee for {unsure.total()} of {plural(len(report.designs), 'design')}: {reasons}")
    return lines


def interval_text(ends: tuple[float | None, float | None]) -> str:
    """Write an interval to about a hundredth of its length."""
    low, high = ends
    if low is None or high is None:
        return "anything"
    return f"{near(low, (high - low) / 100)} to {near(high, (high - low) / 100)}"


def percent(share: float | None) -> str:
    """Write a probability in percent, never as certain."""
    if share is None:
        return "–"
    return "> 99 %" if share > 0.99 else "< 1 %" if share < 0.01 else f"{share:.0%}".replace("%", " %")


def size_of_tolerance(target: TargetReport) -> str:
    """Return a tolerance as it was typed, or to three digits where it is a share of the output's range."""
    value = target.tolerance
    computed = abs(value - DEFAULT_TOLERANCE * (target.range or 0.0)) <= 1e-9 * value
    return near(value, 1e-2 * value) if computed else given(value, 1e-2 * value)


def as_written(value: object) -> str:
    """Write a value of a table with all its digits, but for those that nobody typed."""
    return "–" if value is None else given(value, 1e-11 * abs(value)) if isinstance(value, float) else typed(value)


def measured_text(value: float | None, target: TargetReport) -> str:
    """Write what was measured of an output as the table has it, or like a prediction where nobody typed it."""
    return output_text(value, target) if value is not None and was_computed(value) else as_written(value)


def tolerance_text(target: TargetReport) -> str:
    """Return the tolerance in force in brackets; nothing where there is none."""
    return f" (tolerance {size_of_tolerance(target)})" if target.tolerance else ""


def output_text(value: float | None, target: TargetReport) -> str:
    """Return an output to a small share of its range and tolerance, so that it can be seen to meet or miss."""
    if value is None:
        return "–"
    low, high = (
        side if limit is None else limit for side, limit in ((-math.inf, target.lower), (math.inf, target.upper))
    )
    allowed = target.tolerance if low == high else max(target.tolerance, ROUNDOFF * (target.range or 0.0))

    def alike(shown: float) -> bool:
        """Whether a number is inside where the output is, and met where it is."""
        before, after = (max(low - y, y - high, 0.0) for y in (value, shown))
        return (after > allowed) == (before > allowed) and (low == high or before > 0 or after == 0)

    unit = SHARE * (target.range or 0.0)
    if target.tolerance:
        unit = min(unit, target.tolerance / 10) if unit else target.tolerance / 10
    return telling(value, unit, alike)


def miss_text(miss: float, target: TargetReport) -> str:
    """Return the size of a miss with so many digits that it can be seen to be above the tolerance."""
    size = abs(miss)
    if size > target.tolerance:
        return telling(size, 1e-4 * size, lambda shown: shown > target.tolerance)
    return number_text(size)
