"""The robotic arm: where its tip is, for the height of its base and the angles of its three joints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from invdesign_core.plugin import Context, Data, Dataset, Space, Variable

if TYPE_CHECKING:
    import pandas as pd

LENGTHS = (0.5, 0.5, 1.0)
SPREADS = np.array([0.25, 0.5, 0.5, 0.5])
LIMITS = np.array([0.6, 1.2, 1.2, 1.2])
PUBLISHED = {"neural-adjoint": {1: 2.3e-4, 10: 1.0e-5, 50: 2.7e-6}, "tandem": {1: 5.3e-4}}
"""Ren, Padilla and Malof, "Benchmarking deep inverse models over time, and the neural-adjoint method", NeurIPS 2020;
read off its plots."""


class RoboticArm(Dataset):
    """An arm of three joints on a rail: a benchmark in which four inputs decide where its tip is.

    The base is at height x1; the joints turn by x2, x3 and x4. The tip is at (Σ l cos a, x1 + Σ l sin a) with
    lengths l = 0.5, 0.5, 1 and angles a = (x2, x3 − x2, x4 − x3 − x2). Rows are normally distributed, with
    standard deviations of 0.25, 0.5, 0.5 and 0.5, and moved to ±0.6, ±1.2, ±1.2 and ±1.2 where they lie beyond
    (Ren, Padilla and Malof, "Benchmarking deep inverse models over time, and the neural-adjoint method",
    NeurIPS 2020).
    """

    name: ClassVar[str] = "robotic-arm"

    rows: int = Field(8000, ge=4, description="Number of rows to learn from.")
    held_out: int = Field(2000, ge=0, description="Number of further rows held out for the test, which have no noise.")
    noise: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Standard deviation, in units of the outputs, of noise on the rows to learn from.",
    )

    def load(self, ctx: Context) -> Data:
        """Draw the rows."""
        import pandas as pd

        variables = (Variable(f"x{i + 1}", lower=-limit, upper=limit) for i, limit in enumerate(LIMITS.tolist()))
        space = Space(tuple(variables))
        rows, held_out = ctx.rng("robotic-arm"), ctx.rng("robotic-arm-held-out")
        x = SPREADS * np.concatenate(
            [rows.standard_normal((self.rows, 4)), held_out.standard_normal((self.held_out, 4))]
        )
        designs = space.decode(np.clip(x, -LIMITS, LIMITS))
        outputs = self.truth(designs)
        outputs.iloc[: self.rows] += self.noise * ctx.rng("robotic-arm-noise").standard_normal((self.rows, 2))
        return Data(
            pd.concat([designs, outputs], axis=1),
            space,
            ("y1", "y2"),
            split=np.repeat(["", "test"], [self.rows, self.held_out]),
            truth=self.truth,
            example={"y1": 1.5, "y2": 0.5},
            name="robotic arm",
        )

    def truth(self, designs: pd.DataFrame) -> pd.DataFrame:
        """Return where the tip is for each design: the true forward model."""
        import pandas as pd

        x1, x2, x3, x4 = (designs[f"x{i}"].to_numpy(dtype=np.float64) for i in range(1, 5))
        angles = np.stack([x2, x3 - x2, x4 - x3 - x2])
        y1, y2 = np.tensordot(LENGTHS, np.stack([np.cos(angles), np.sin(angles)], axis=1), axes=1)
        return pd.DataFrame({"y1": y1, "y2": x1 + y2}, index=designs.index)

    @property
    def published(self) -> Mapping[str, Mapping[int, float]]:
        """The published figures, where the rows are those of the publication."""
        return PUBLISHED if (self.rows, self.noise) == (8000, 0.0) else {}
