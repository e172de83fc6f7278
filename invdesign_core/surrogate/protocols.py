"""What training needs of a builder and of a tuner, whoever brings them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from invdesign_core.context import Context
from invdesign_core.surrogate.trials import Trial, TrialResult
from invdesign_core.surrogate.user_code import UserObject

if TYPE_CHECKING:
    import keras_tuner as kt


class Evaluate(Protocol):
    """The function a tuner calls to have trials trained; all of a call's trials train side by side."""

    def __call__(self, trials: Sequence[Trial], /) -> list[TrialResult]:
        """Train the trials, or answer from the table of finished ones; same order."""
        ...


class Builder(Protocol):
    """What builds an untrained model for given hyper-parameters."""

    name: ClassVar[str]
    differentiable: ClassVar[bool]

    @property
    def label(self) -> str:
        """The kind and the name, for messages."""
        ...

    @property
    def build(self) -> Callable[..., Any]:
        """The method that returns an untrained model; it takes some of ``hp``, ``data`` and ``ctx``."""
        ...

    def user_code(self, ctx: Context) -> Sequence[UserObject]:
        """Return the code of the user's own that `build` works with."""
        ...


class Tuner(Protocol):
    """What proposes hyper-parameters."""

    @property
    def label(self) -> str:
        """The kind and the name, for messages."""
        ...

    @property
    def objective(self) -> str:
        """What the best trial is best at."""
        ...

    @property
    def direction(self) -> Literal["auto", "min", "max"]:
        """Whether the objective is to be small or large."""
        ...

    def search(self, space: kt.HyperParameters, evaluate: Evaluate, ctx: Context) -> None:
        """Ask `evaluate` for trials."""
        ...
