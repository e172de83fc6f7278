"""What training needs of a builder and of a tuner, whoever brings them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, Self

from invdesign_core.surrogate.trials import Trial, TrialResult


class Evaluate(Protocol):
    """The function a tuner calls to have trials trained; all of a call's trials train side by side."""

    def __call__(self, trials: Sequence[Trial], /) -> list[TrialResult]:
        """Train the trials, or answer from the table of finished ones; same order."""
        ...


class Builder(Protocol):
    """What builds an untrained model for given hyper-parameters."""

    differentiable: ClassVar[bool]
    closed_form: ClassVar[bool]

    @property
    def label(self) -> str:
        """The kind and the name, for messages."""
        ...

    def as_belief(self) -> Self:
        """Return it as it suits the planning of experiments from few rows."""
        ...

    def recipe(self, rows: int, /) -> Mapping[str, Any]:
        """Return the settings that suit the model for so many training rows."""
        ...

    @property
    def build(self) -> Callable[..., Any]:
        """The method that returns an untrained model; it takes some of ``hp``, ``data`` and ``ctx``."""
        ...


class Tuner(Protocol):
    """What the best trial is best at, and whether that is to be small or large."""

    @property
    def objective(self) -> str:
        """The metric."""
        ...

    @property
    def direction(self) -> Literal["auto", "min", "max"]:
        """``"auto"`` is what Keras knows of the metric."""
        ...
