"""How far a surrogate's answers can be trusted: its errors on rows with measured outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from invdesign_core.errors import plural

if TYPE_CHECKING:
    from invdesign_core.designs.report import OutputMetrics, SurrogateReport

GUESS = 0.5
"""R² below which an answer for an output is called a guess: more than half of what varies is not explained."""

USELESS = 0.1
"""R² on rows never seen, below which an output is called not predictable."""


@dataclass(frozen=True)
class Quality:
    """A surrogate's metrics on rows with measured outputs.

    Attributes
    ----------
    metrics : mapping
        R² and errors by output; empty where nothing is known.
    rows : str
        Which rows, in words.
    """

    metrics: Mapping[str, OutputMetrics] = field(default_factory=dict)
    rows: str = ""

    @classmethod
    def of(cls, report: SurrogateReport) -> Quality:
        """Return the metrics on the test rows of a training, or those of a model on the rows of its table."""
        if "table" in report.rows:
            return cls(report.test, f"the {plural(report.rows['table'], 'row')} of the table")
        count = report.rows.get("test", 0)
        return cls(report.test, plural(count, "test row"))

    @property
    def errors(self) -> dict[str, float]:
        """The typical error of each output, in its units: the root mean squared error."""
        return {name: m.rmse for name, m in self.metrics.items() if m.rmse is not None}

    def guesses(self, outputs: Iterable[str]) -> dict[str, float]:
        """Return R² of those of some outputs for which an answer is a guess."""
        found = {name: self.metrics[name].r2 for name in outputs if name in self.metrics}
        return {name: r2 for name, r2 in found.items() if r2 is not None and r2 < GUESS}

    def doubt(self, outputs: Iterable[str]) -> str:
        """Say of which outputs the surrogate explains too little; empty where of none."""
        parts = [
            f"{max(r2, 0):.0%} of {name}".replace("%", " %") if r2 > 0 else f"nothing of {name} (R² {r2:.2g})"
            for name, r2 in self.guesses(outputs).items()
        ]
        return f"the surrogate explains {' and '.join(parts)} on {self.rows}" if parts else ""


def metric_warnings(test: Mapping[str, OutputMetrics]) -> list[str]:
    """Return what is odd about a surrogate, by its metrics on rows that it never saw."""
    return [
        f"output {name!r} is not predictable from these inputs: R² is {metrics.r2:.2g} on designs never seen; "
        "designs for it cannot be trusted"
        for name, metrics in test.items()
        if metrics.r2 is not None and metrics.r2 < USELESS
    ]
