"""A dataset: the tip deflection and the mass of a cantilever beam."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from invdesign_core.plugin import Context, Data, Dataset, Space, Variable
from pydantic import Field

if TYPE_CHECKING:
    import pandas as pd

YOUNG = 210e9
"""Young's modulus of steel, in Pa."""
DENSITY = 7850.0
"""Density of steel, in kg/m³."""


class Cantilever(Dataset):
    """A steel cantilever of rectangular section with a force at its tip.

    The width (mm) and height (mm) of the section decide the deflection (mm) of the tip, 4 F L³ / (E w h³)
    by Euler and Bernoulli, and the mass (kg).
    """

    name: ClassVar[str] = "cantilever"

    rows: int = Field(400, ge=4, description="Number of random beams.")
    length: float = Field(1.0, gt=0, description="Length of the beam, in m.")
    force: float = Field(1000.0, gt=0, description="Force at the tip, in N.")

    def load(self, ctx: Context) -> Data:
        """Draw beams, and compute how they answer."""
        import pandas as pd

        space = Space((Variable("width", lower=20, upper=60), Variable("height", lower=40, upper=100)))
        designs = space.decode(ctx.rng("cantilever").uniform(*space.bounds, size=(self.rows, space.width)))
        return Data(
            pd.concat([designs, self.truth(designs)], axis=1),
            space,
            ("deflection", "mass"),
            truth=self.truth,
            example={"deflection": 2.0, "mass": "<=20"},
            name="steel cantilever",
        )

    def truth(self, designs: pd.DataFrame) -> pd.DataFrame:
        """Return the outputs of each beam: the true forward model."""
        import pandas as pd

        metres = designs[["width", "height"]].to_numpy(dtype=np.float64) / 1000
        width, height = metres.T
        deflection = 4 * self.force * self.length**3 / (YOUNG * width * height**3)
        mass = DENSITY * self.length * width * height
        return pd.DataFrame({"deflection": 1000 * deflection, "mass": mass}, index=designs.index)
