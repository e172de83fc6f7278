"""The sections `[training]`, how the core trains whatever a builder builds, and `[confidence]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

LEVEL = 0.9
"""The share of cases in which intervals hold, where nobody says another."""


class Training(BaseModel):
    """How surrogates are trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(2000, ge=1, description="Maximum number of epochs.")
    batch_size: int = Field(32, ge=1, description="Rows in one gradient step.")
    test: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Share of the distinct designs held out for the test metrics; by default 0.1 where a surrogate is "
        "named, and none where candidates race, whose cross-validation tells the error.",
    )
    validation: float = Field(
        0.1, ge=0, lt=1, description="Share of the other designs that early stopping and tuning watch."
    )
    early_stopping: bool = Field(
        True, description="Stop when the watched loss no longer improves; `cosine` always goes to its end."
    )
    patience: int = Field(40, ge=0, description="Early stopping: epochs without improvement.")
    min_delta: float = Field(0.0, ge=0, description="Smaller improvements do not count.")
    restore_best: bool = Field(True, description="Go back to the weights of the best epoch at the end.")
    schedule: Literal["plateau", "cosine", "constant"] = Field(
        "plateau",
        description="Learning rate: `plateau` lowers it when the watched loss stalls, `cosine` lowers it to 0 over "
        "`epochs`, `constant` keeps it.",
    )
    warmup: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="`cosine`: the share of the epochs over which the learning rate first rises from near 0.",
    )
    plateau_patience: int = Field(
        15, ge=1, description="`plateau`: epochs without improvement before the learning rate is lowered."
    )
    plateau_factor: float = Field(0.5, gt=0, lt=1, description="`plateau`: multiply the learning rate by this.")
    min_learning_rate: float = Field(1e-6, ge=0, description="`plateau`: the lowest learning rate.")
    side_by_side: int = Field(
        64,
        ge=1,
        description="Maximum number of networks trained at once; fewer need less memory and change no result.",
    )
    members: int = Field(
        1, ge=1, description="Networks in the ensemble; with more than one, predictions have a spread."
    )
    scale: bool = Field(
        True,
        description="Standardise inputs and outputs around the network; false is for a model with its own scaling.",
    )
    retrain: bool = Field(
        False,
        description="Train the winner again from new weights, and keep the better of the two by validation.",
    )

    def with_recipe(self, recipe: Mapping[str, Any]) -> Training:
        """Return these settings with a recipe's values for the keys that nobody set; it remains known which were set.

        Raises
        ------
        ValueError
            If the recipe holds a key or a value that can't be used.
        """
        merged = type(self).model_validate({**recipe, **self.model_dump(include=self.model_fields_set)})
        return type(self).model_construct(_fields_set=set(self.model_fields_set), **merged.model_dump())

    def held_out(self, raced: bool) -> float:
        """Return the share of the designs that is held out, after a race or for a surrogate that was named."""
        return self.test if self.test is not None else 0.0 if raced else 0.1

    @property
    def watches(self) -> bool:
        """Whether rows for validation change what a training gives: when it stops, what it keeps, or its rate."""
        return self.stops_early or self.restore_best or self.schedule == "plateau"

    @property
    def stops_early(self) -> bool:
        """Whether a training may stop before its last epoch; one that follows a cosine is best at its end."""
        return self.early_stopping and self.schedule != "cosine"


class Confidence(BaseModel):
    """The `[confidence]` section: intervals at the designs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(
        LEVEL, gt=0, lt=1, description="The share of designs whose true value lies inside its interval."
    )
    model: str | None = Field(
        "auto",
        description="The second model, which takes no part in the search and tells how far the answers can be trusted: "
        "`auto` is the one that the surrogate's plugin names; with `none` there are no intervals.",
    )

    @property
    def wanted(self) -> bool:
        """Whether there is to be a second model."""
        return self.model not in (None, "none")
