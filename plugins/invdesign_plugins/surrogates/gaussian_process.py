"""A Gaussian process: for tables of up to some 2,000 rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from invdesign_core.plugin import Context, Data, DataError, SurrogateBuilder

if TYPE_CHECKING:
    import keras
    import keras_tuner as kt

MOST_ROWS = 2000
"""Distinct designs that are taken unless the user says how many: time goes with the cube of their number."""

SEARCH_ROWS = 400
"""Distinct designs that tell the hyper-parameters of a second model well enough."""
NEIGHBOURS = 128
"""Rows nearest to a design that tell nearly as much of it as all do."""


class GaussianProcess(SurrogateBuilder):
    """A Gaussian process with a Matérn 5/2 kernel and a length for each variable; it knows its standard deviation.

    The hyper-parameters of each output have the largest marginal likelihood of several searches. Mean
    and standard deviation are computed in float64, with exact gradients, so every solver works on them.
    """

    name: ClassVar[str] = "gaussian-process"
    closed_form: ClassVar[bool] = True
    second: ClassVar[str] = "mlp"

    rows: int | None = Field(
        None,
        ge=4,
        description=f"Learn from so many distinct designs, drawn at random. By default from all, up to {MOST_ROWS}.",
    )
    neighbours: int | None = Field(
        None,
        ge=8,
        description="Predict each design from so many rows that are nearest to it, which takes tables of any size; by "
        "default from all rows at once.",
    )
    search_rows: int | None = Field(
        None,
        ge=4,
        description="Look for the hyper-parameters on so many distinct designs, drawn at random; by default on all.",
    )
    starts: int = Field(
        2, ge=1, description="Searches for the hyper-parameters of each output, of which the best counts."
    )

    exploring: bool = Field(
        False,
        description="Take short lengths and little noise for more probable. From few rows it is then better known how "
        "little is known, as suits the planning of experiments; predictions are some percent worse.",
    )

    def recipe(self, rows: int) -> Mapping[str, Any]:
        """Return that it needs no rows to watch, and that another member would be the same."""
        return {"members": 1, "validation": 0.0}

    def as_second(self, rows: int) -> SurrogateBuilder:
        """Return a process that is quick to fit: one search on a few hundred rows, and neighbours where many are."""
        quick = {"starts": 1, "search_rows": SEARCH_ROWS}
        return self.model_copy(update=quick if rows <= MOST_ROWS else quick | {"neighbours": NEIGHBOURS})

    def as_belief(self) -> Self:
        """Return a process that does not take few rows for noise."""
        return self.model_copy(update={"exploring": True})

    def build(self, hp: kt.HyperParameters, data: Data, ctx: Context) -> keras.Model:
        """Return the model, whose `fit` finds hyper-parameters and coefficients."""
        from invdesign_plugins.surrogates.process_model import GaussianProcess as Model

        count = len(np.unique(data.x, axis=0))
        if self.rows is None and self.neighbours is None and count > MOST_ROWS:
            raise DataError(
                f"the table has {count} distinct designs, and surrogate {self.name!r} takes {MOST_ROWS} at most",
                f"use surrogate mlp, or let it predict from the rows nearest to a design (surrogate.neighbours = "
                f"{NEIGHBOURS}), or learn from some of them (surrogate.rows = {MOST_ROWS})",
            )
        if self.rows is not None and count > self.rows:
            ctx.note(f"surrogate {self.name!r} learns from at most {self.rows} of {count} distinct designs")
        options: dict[str, Any] = {
            "columns": data.space.width,
            "responses": len(data.outputs),
            "limit": self.rows,
            "blocks": blocks_of(data),
            "starts": self.starts,
            "search_rows": self.search_rows,
            "exploring": self.exploring,
            "seed": ctx.seed_for("process"),
        }
        if self.neighbours is None:
            return Model(**options)
        from invdesign_plugins.surrogates.process_local import LocalProcess

        return LocalProcess(neighbours=self.neighbours, **options)


def blocks_of(data: Data) -> list[int]:
    """Return a number for each encoded column: that of its design variable."""
    return [number for number, part in enumerate(data.space.slices) for _ in range(part.start, part.stop)]
