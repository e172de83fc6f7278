"""Ridge regression on the columns, their squares and their products: what the other surrogates must beat."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from invdesign_core.plugin import Context, Data, SurrogateBuilder
from invdesign_plugins.surrogates.gaussian_process import blocks_of

if TYPE_CHECKING:
    import keras
    import keras_tuner as kt

MOST_COLUMNS = 30
"""Columns up to which `auto` takes their products: there are 465 of them then."""


class Ridge(SurrogateBuilder):
    """Ridge regression on the variables, their squares and their products; the quickest surrogate.

    The penalty of each output is the best by the leave-one-out error, which has a closed form.
    """

    name: ClassVar[str] = "ridge"
    closed_form: ClassVar[bool] = True

    terms: Literal["auto", "linear", "squares", "products"] = Field(
        "auto",
        description="What the polynomial is made of: `linear`; `squares` too; `products` of two variables, too; or "
        f"`auto`, which is `products` up to {MOST_COLUMNS} encoded columns and `squares` beyond.",
    )

    def recipe(self, rows: int) -> Mapping[str, Any]:
        """Return that it needs no rows to watch, and that another member would be the same."""
        return {"members": 1, "validation": 0.0}

    def build(self, hp: kt.HyperParameters, data: Data, ctx: Context) -> keras.Model:
        """Return the model, whose `fit` finds the coefficients."""
        from invdesign_plugins.surrogates.ridge_model import Polynomial

        blocks = blocks_of(data)
        terms = self.terms
        if terms == "auto":
            terms = "products" if len(blocks) <= MOST_COLUMNS else "squares"
        pairs = [
            (i, j)
            for i, j in combinations_with_replacement(range(len(blocks)), 2)
            if (terms == "products" or i == j)
            and terms != "linear"
            # A category's column holds 0 and 1: its square is itself, and its product with another's is 0.
            and (blocks.count(blocks[i]) == 1 or blocks[i] != blocks[j])
        ]
        return Polynomial(columns=len(blocks), responses=len(data.outputs), pairs=pairs)
