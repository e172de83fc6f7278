"""The sine wave: two inputs, one output, and many designs for every target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from invdesign_core.plugin import Context, Data, Dataset, Space, Variable

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED = {"neural-adjoint": {1: 1.0e-3, 10: 2.9e-5, 50: 1.6e-6}, "tandem": {1: 2.3e-2}}
"""Ren, Padilla and Malof, "Benchmarking deep inverse models over time, and the neural-adjoint method", NeurIPS 2020;
read off its plots."""


class SineWave(Dataset):
    """A sum of a sine and a cosine of two inputs: a benchmark whose every target has many designs.

    y = sin(3π x1) + cos(3π x2), with x1 and x2 uniform in [−1, 1] (Ren, Padilla and Malof, "Benchmarking
    deep inverse models over time, and the neural-adjoint method", NeurIPS 2020).
    """

    name: ClassVar[str] = "sine-wave"

    rows: int = Field(8000, ge=4, description="Number of rows to learn from.")
    held_out: int = Field(2000, ge=0, description="Number of further rows held out for the test, which have no noise.")
    noise: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Standard deviation, in units of the output, of noise on the rows to learn from.",
    )

    def load(self, ctx: Context) -> Data:
        """Draw the rows."""
        import pandas as pd

        space = Space((Variable("x1", lower=-1, upper=1), Variable("x2", lower=-1, upper=1)))
        rows, held_out = ctx.rng("sine-wave"), ctx.rng("sine-wave-held-out")
        x = [rows.uniform(-1, 1, (self.rows, 2)), held_out.uniform(-1, 1, (self.held_out, 2))]
        designs = space.decode(np.concatenate(x))
        outputs = self.truth(designs)
        outputs.iloc[: self.rows] += self.noise * ctx.rng("sine-wave-noise").standard_normal((self.rows, 1))
        return Data(
            pd.concat([designs, outputs], axis=1),
            space,
            ("y",),
            split=np.repeat(["", "test"], [self.rows, self.held_out]),
            truth=self.truth,
            example={"y": 1.0},
            name="sine wave",
        )

    def truth(self, designs: pd.DataFrame) -> pd.DataFrame:
        """Return the output of each design: the true forward model."""
        import pandas as pd

        x1, x2 = (designs[name].to_numpy(dtype=np.float64) for name in ("x1", "x2"))
        return pd.DataFrame({"y": np.sin(3 * np.pi * x1) + np.cos(3 * np.pi * x2)}, index=designs.index)

    @property
    def published(self) -> Mapping[str, Mapping[int, float]]:
        """The published figures, where the rows are those of the publication."""
        return PUBLISHED if (self.rows, self.noise) == (8000, 0.0) else {}
