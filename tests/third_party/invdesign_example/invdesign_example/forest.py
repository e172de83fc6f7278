"""A surrogate without gradients: a scikit-learn regressor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from invdesign_core.plugin import Context, Data, Regressor, SurrogateBuilder
from pydantic import Field

if TYPE_CHECKING:
    import keras_tuner as kt


class Forest(SurrogateBuilder):
    """Extremely randomised trees, with their leaf size to be tuned.

    Geurts, Ernst and Wehenkel, "Extremely randomized trees", Machine Learning 63 (2006).
    """

    name: ClassVar[str] = "forest"
    differentiable: ClassVar[bool] = False

    trees: int = Field(50, ge=1, description="Number of trees.")
    largest_leaf: int = Field(5, ge=1, description="Largest number of rows in a leaf to try; 1 leaves nothing to tune.")

    def build(self, hp: kt.HyperParameters, data: Data, ctx: Context) -> Regressor:
        """Return the regressor; the core fits it."""
        from sklearn.ensemble import ExtraTreesRegressor

        leaf = hp.Int("min_samples_leaf", 1, self.largest_leaf) if self.largest_leaf > 1 else 1
        # Each trial and member is handed a seed of its own.
        seed = ctx.seed_for("forest")
        model: Regressor = ExtraTreesRegressor(self.trees, min_samples_leaf=leaf, random_state=seed)
        return model
