"""The didactic dataset: binary digits in, the decimal number out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from invdesign_core.plugin import Context, Data, Dataset, Space, Variable

if TYPE_CHECKING:
    import pandas as pd


class BinaryDecimal(Dataset):
    """Binary digits and the decimal number that they write.

    Each row has digits between 0 and 1 (the binary variables relaxed, so that a network can be
    searched by gradients) and the decimal number of the rounded digits, most significant first.
    Answers are rounded to 0 and 1, and the dataset knows the right answer.
    """

    name: ClassVar[str] = "binary-decimal"

    digits: int = Field(2, ge=1, le=32, description="Number of binary digits, up to 32.")
    rows: int = Field(1000, ge=4, description="Number of random rows.")
    seed: int | None = Field(None, ge=0, description="Seed of the rows; by default the run's seed.")

    def load(self, ctx: Context) -> Data:
        """Draw the rows."""
        import pandas as pd

        rng = ctx.rng("binary-decimal") if self.seed is None else np.random.default_rng(self.seed)
        names = [f"bit_{i}" for i in range(self.digits)]
        frame = pd.DataFrame(rng.random((self.rows, self.digits)), columns=names)
        frame["decimal"] = self.decimal(frame)["decimal"]
        return Data(
            frame,
            Space(tuple(Variable(name, "binary") for name in names)),
            ("decimal",),
            truth=self.decimal,
            example={"decimal": 2 ** (self.digits - 1)},
            name=f"{self.digits} binary digits",
        )

    def decimal(self, designs: pd.DataFrame) -> pd.DataFrame:
        """Return the decimal number of each row of digits: the true forward model."""
        import pandas as pd

        digits = np.rint(designs[[f"bit_{i}" for i in range(self.digits)]].to_numpy(dtype=np.float64))
        weights = 2.0 ** np.arange(self.digits - 1, -1, -1)
        return pd.DataFrame({"decimal": digits @ weights}, index=designs.index)
