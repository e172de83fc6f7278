"""The `[training]` section: how the core trains whatever a builder builds."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Training(BaseModel):
    """How surrogates are trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(2000, ge=1, description="Maximum number of epochs.")
    batch_size: int = Field(32, ge=1, description="Rows in one gradient step.")
    test: float = Field(0.1, ge=0, lt=1, description="Share of the distinct designs held out for the test metrics.")
    validation: float = Field(
        0.1, ge=0, lt=1, description="Share of the other designs that early stopping and tuning watch."
    )
    early_stopping: bool = Field(
        True, description="Stop when the watched loss no longer improves; `cosine` always goes to its end."
    )
    patience: int = Field(40, ge=0, description="Early stopping: epochs without improvement.")
    min_delta: float = Field(0.0, ge=0, description="An improvement smaller than this is none.")
    restore_best: bool = Field(True, description="Go back to the weights of the best epoch when stopped.")
    schedule: Literal["plateau", "cosine", "constant"] = Field(
        "plateau",
        description="Learning rate: halved on plateaus of the watched loss, falling to 0 along a cosine over `epochs`, "
        "or constant.",
    )
    plateau_patience: int = Field(15, ge=1, description="`plateau`: halve after so many epochs without improvement.")
    plateau_factor: float = Field(0.5, gt=0, lt=1, description="`plateau`: multiply the learning rate by this.")
    min_learning_rate: float = Field(1e-6, ge=0, description="`plateau`: never go below this learning rate.")
    side_by_side: int = Field(
        64, ge=1, description="Networks trained at once at most; fewer need less memory, and change no result."
    )
    members: int = Field(1, ge=1, description="Networks in the ensemble; more than one gives a spread.")
    scale: bool = Field(
        True,
        description="Standardise inputs and outputs around the network; false for a model that brings its own.",
    )
    retrain: bool = Field(
        False,
        description="Train the winner again from new weights, and keep the better of the two by validation.",
    )

    @property
    def stops_early(self) -> bool:
        """Whether a training may stop before its last epoch; one that follows a cosine is best at its end."""
        return self.early_stopping and self.schedule != "cosine"
