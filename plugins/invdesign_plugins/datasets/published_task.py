"""What the published benchmarks of inverse design have in common: rows drawn from a seed, of a map that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from invdesign_core.plugin import Context, Data, Dataset, FloatArray, Space, Variable

if TYPE_CHECKING:
    import pandas as pd


class PublishedTask(Dataset):
    """Rows to learn from, and rows held out for the test, whose outputs a true model gives.

    Both have random streams of their own, so that more of the one change nothing of the other.
    """

    limits: ClassVar[tuple[float, ...]]
    """The inputs x1, x2, … lie between these and their negatives."""
    goal: ClassVar[Mapping[str, float]]
    """An example target: a value for each output."""
    figures: ClassVar[Mapping[str, Mapping[int, float]]]
    """For each published method r_T by T, measured with 8,000 rows without noise."""

    rows: int = Field(8000, ge=4, description="Number of rows to learn from.")
    held_out: int = Field(2000, ge=0, description="Number of further rows held out for the test, which have no noise.")
    noise: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="Standard deviation, in units of the outputs, of noise on the rows to learn from.",
    )

    def draw(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Return (count, e) designs."""
        raise NotImplementedError

    def outputs(self, *x: FloatArray) -> FloatArray:
        """Return the (m, n) outputs for the (n,) values of each input."""
        raise NotImplementedError

    def load(self, ctx: Context) -> Data:
        """Draw the rows."""
        import pandas as pd

        space = Space(tuple(Variable(f"x{i + 1}", lower=-limit, upper=limit) for i, limit in enumerate(self.limits)))
        parts = ((self.name, self.rows), (f"{self.name}-held-out", self.held_out))
        designs = space.decode(np.concatenate([self.draw(ctx.rng(stream), count) for stream, count in parts]))
        outputs = self.truth(designs)
        noise = ctx.rng(f"{self.name}-noise").standard_normal((self.rows, len(self.goal)))
        outputs.iloc[: self.rows] += self.noise * noise
        return Data(
            pd.concat([designs, outputs], axis=1),
            space,
            tuple(self.goal),
            split=np.repeat(["", "test"], [self.rows, self.held_out]),
            truth=self.truth,
            example=self.goal,
            name=self.name.replace("-", " "),
        )

    def truth(self, designs: pd.DataFrame) -> pd.DataFrame:
        """Return the outputs of each design: the true forward model."""
        import pandas as pd

        x = (designs[f"x{i + 1}"].to_numpy(dtype=np.float64) for i in range(len(self.limits)))
        return pd.DataFrame(dict(zip(self.goal, self.outputs(*x), strict=True)), index=designs.index)

    @property
    def published(self) -> Mapping[str, Any]:
        """The published figures, where the rows are those of the publication."""
        return self.figures if (self.rows, self.noise) == (8000, 0.0) else {}
