"""Formulas of engineering that papers on surrogates are measured by: rows drawn from a seed, of a map that is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from invdesign_core.plugin import Context, Data, Dataset, FloatArray, Space, Variable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Formula:
    """One output of several inputs, each with its lowest and highest value."""

    output: str
    example: float
    ranges: Mapping[str, tuple[float, float]]
    value: Callable[..., FloatArray]


def _borehole(
    rw: FloatArray,
    r: FloatArray,
    tu: FloatArray,
    hu: FloatArray,
    tl: FloatArray,
    hl: FloatArray,
    length: FloatArray,
    kw: FloatArray,
) -> FloatArray:
    """Return the flow of water through a borehole, in cubic metres a year."""
    ratio = np.log(r / rw)
    return np.asarray(2 * np.pi * tu * (hu - hl) / (ratio * (1 + 2 * length * tu / (ratio * rw**2 * kw) + tu / tl)))


def _otl_circuit(
    rb1: FloatArray, rb2: FloatArray, rf: FloatArray, rc1: FloatArray, rc2: FloatArray, beta: FloatArray
) -> FloatArray:
    """Return the midpoint voltage of a push-pull circuit without a transformer, in volts."""
    base, gain = 12 * rb2 / (rb1 + rb2), beta * (rc2 + 9)
    return np.asarray(
        (base + 0.74) * gain / (gain + rf) + 11.35 * rf / (gain + rf) + 0.74 * rf * gain / ((gain + rf) * rc1)
    )


def _piston(
    m: FloatArray, s: FloatArray, v0: FloatArray, k: FloatArray, p0: FloatArray, ta: FloatArray, t0: FloatArray
) -> FloatArray:
    """Return the time that a piston in a cylinder takes for a cycle, in seconds."""
    force = p0 * s + 19.62 * m - k * v0 / s
    volume = s / (2 * k) * (np.sqrt(force**2 + 4 * k * p0 * v0 * ta / t0) - force)
    return np.asarray(2 * np.pi * np.sqrt(m / (k + s**2 * p0 * v0 * ta / t0 / volume**2)))


FORMULAS = {
    "borehole": Formula(
        "flow",
        100.0,
        {
            "rw": (0.05, 0.15),
            "r": (100, 50_000),
            "tu": (63_070, 115_600),
            "hu": (990, 1110),
            "tl": (63.1, 116),
            "hl": (700, 820),
            "length": (1120, 1680),
            "kw": (9855, 12_045),
        },
        _borehole,
    ),
    "otl-circuit": Formula(
        "voltage",
        5.0,
        {
            "rb1": (50, 150),
            "rb2": (25, 70),
            "rf": (0.5, 3),
            "rc1": (1.2, 2.5),
            "rc2": (0.25, 1.2),
            "beta": (50, 300),
        },
        _otl_circuit,
    ),
    "piston": Formula(
        "time",
        0.5,
        {
            "m": (30, 60),
            "s": (0.005, 0.02),
            "v0": (0.002, 0.01),
            "k": (1000, 5000),
            "p0": (90_000, 110_000),
            "ta": (290, 296),
            "t0": (340, 360),
        },
        _piston,
    ),
}


class EngineeringFormula(Dataset):
    """A formula of engineering with six to eight inputs, uniform in their ranges: a benchmark of intervals.

    The flow through a borehole, the voltage of a circuit, or the time of a piston, as Surjanovic and Bingham, "Virtual
    library of simulation experiments: test functions and datasets", Simon Fraser University 2013, describe them.
    """

    name: ClassVar[str] = "test-function"

    function: Literal["borehole", "otl-circuit", "piston"] = Field("borehole", description="The formula.")
    rows: int = Field(500, ge=4, description="Number of rows to learn from.")
    held_out: int = Field(2000, ge=0, description="Number of further rows held out for the test, which have no noise.")
    noise: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Standard deviation, in units of the output, of noise on the rows to learn from.",
    )

    @property
    def formula(self) -> Formula:
        """The formula that is named."""
        return FORMULAS[self.function]

    def load(self, ctx: Context) -> Data:
        """Draw the rows."""
        import pandas as pd

        ranges = self.formula.ranges
        space = Space(tuple(Variable(name, lower=low, upper=high) for name, (low, high) in ranges.items()))
        low, high = np.array(list(ranges.values()), dtype=np.float64).T
        parts = ((self.function, self.rows), (f"{self.function}-held-out", self.held_out))
        drawn = [ctx.rng(stream).uniform(low, high, (count, len(low))) for stream, count in parts]
        designs = space.decode(np.concatenate(drawn))
        outputs = self.truth(designs)
        outputs.iloc[: self.rows, 0] += self.noise * ctx.rng(f"{self.function}-noise").standard_normal(self.rows)
        return Data(
            pd.concat([designs, outputs], axis=1),
            space,
            (self.formula.output,),
            split=np.repeat(["", "test"], [self.rows, self.held_out]),
            truth=self.truth,
            example={self.formula.output: self.formula.example},
            name=self.function.replace("-", " "),
        )

    def truth(self, designs: pd.DataFrame) -> pd.DataFrame:
        """Return the output of each design."""
        import pandas as pd

        columns = [designs[name].to_numpy(dtype=np.float64) for name in self.formula.ranges]
        return pd.DataFrame({self.formula.output: self.formula.value(*columns)}, index=designs.index)
