"""Boosted trees of scikit-learn: the yardstick of the other surrogates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from invdesign_core.plugin import Context, Data, Regressor, SurrogateBuilder

if TYPE_CHECKING:
    import keras_tuner as kt

MANY = 2000
"""Rows from which on histograms are quicker and as good."""


class GradientBoosting(SurrogateBuilder):
    """Boosted regression trees of scikit-learn, one model for each output; they have no gradients.

    A tree is constant between its thresholds, so a search finds one of many equal designs. Use it to see what
    the other surrogates should reach.
    """

    name: ClassVar[str] = "gradient-boosting"
    differentiable: ClassVar[bool] = False

    trees: int = Field(400, ge=1, description="Number of trees for each output.")
    learning_rate: float = Field(0.05, gt=0, le=1, description="Share of each tree's correction that is taken.")
    depth: int = Field(4, ge=1, description="Questions that a tree asks of a design, at most.")

    def recipe(self, rows: int) -> Mapping[str, Any]:
        """Return that it needs no rows to watch."""
        return {"members": 1, "validation": 0.0}

    def build(self, hp: kt.HyperParameters, data: Data, ctx: Context) -> Regressor:
        """Return the regressor."""
        from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor
        from sklearn.multioutput import MultiOutputRegressor

        seed = ctx.seed_for("boosting")
        model: Any
        if len(data.frame) < MANY:
            model = GradientBoostingRegressor(
                n_estimators=self.trees,
                learning_rate=self.learning_rate,
                max_depth=self.depth,
                subsample=0.5,
                min_samples_leaf=3,
                random_state=seed,
            )
        else:
            model = HistGradientBoostingRegressor(
                max_iter=self.trees, learning_rate=self.learning_rate, max_depth=2 * self.depth, random_state=seed
            )
        return model if len(data.outputs) == 1 else MultiOutputRegressor(model)  # type: ignore[no-any-return]
