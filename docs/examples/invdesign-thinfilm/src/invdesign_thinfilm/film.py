"""A dataset: coatings on glass, and how much light they reflect."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from invdesign_core.plugin import Context, Data, Dataset, Space, Variable

if TYPE_CHECKING:
    import pandas as pd

WAVELENGTHS = range(400, 800, 10)
"""In nm."""
MATERIALS = {"MgF2": 1.38, "SiO2": 1.46, "Al2O3": 1.77, "TiO2": 2.40}
"""Refractive indices, which are taken as the same for all wavelengths."""


class ThinFilm(Dataset):
    """Random coatings on glass, and the share of light that they reflect at 40 wavelengths, in %.

    A layer has a thickness, in nm, and a material; layer 1 is next to the air. The light falls in at a right angle. The
    truth is the transfer-matrix method of Byrnes, "Multilayer optical calculations", arXiv:1603.02720.
    """

    name: ClassVar[str] = "thin-film"

    rows: int = Field(400, ge=4, description="Number of random coatings.")
    layers: int = Field(1, ge=1, le=8, description="Layers of a coating.")
    thickness: tuple[float, float] = Field((20.0, 200.0), description="Smallest and largest thickness of a layer (nm).")
    glass: float = Field(1.52, ge=1, description="Refractive index of the glass.")

    def load(self, ctx: Context) -> Data:
        """Draw coatings, and compute what they reflect."""
        import pandas as pd

        low, high = self.thickness
        variables = []
        for layer in range(1, self.layers + 1):
            variables.append(Variable(f"thickness{layer}", lower=low, upper=high))
            variables.append(Variable(f"material{layer}", "categorical", levels=tuple(MATERIALS)))
        space = Space(tuple(variables))
        designs = space.sample(ctx.rng("thin-film"), self.rows)
        return Data(
            pd.concat([designs, self.truth(designs)], axis=1),
            space,
            tuple(f"R{wavelength}" for wavelength in WAVELENGTHS),
            truth=self.truth,
            example={"R550": "min"},
            name="thin films on glass",
        )

    def truth(self, designs: pd.DataFrame) -> pd.DataFrame:
        """Return the reflectance of each coating: the true forward model."""
        import pandas as pd
        from tmm import coh_tmm

        found = np.empty((len(designs), len(WAVELENGTHS)))
        for i, design in enumerate(designs.to_dict("records")):  # tmm takes one stack and wavelength at a time
            layers = range(1, self.layers + 1)
            indices = [1.0, *(MATERIALS[design[f"material{layer}"]] for layer in layers), self.glass]
            depths = [np.inf, *(design[f"thickness{layer}"] for layer in layers), np.inf]
            found[i] = [coh_tmm("s", indices, depths, 0, wavelength)["R"] for wavelength in WAVELENGTHS]
        return pd.DataFrame(100 * found, designs.index, [f"R{wavelength}" for wavelength in WAVELENGTHS])
