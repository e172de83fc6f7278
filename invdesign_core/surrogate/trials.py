"""Trials: what a tuner asks for, what it is told, and the table that remembers both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import keras_tuner as kt


@dataclass(frozen=True)
class Trial:
    """One configuration that a tuner wants trained.

    Attributes
    ----------
    values : mapping
        Hyper-parameter values by name; those left out take their defaults.
    epochs : int, optional
        Maximum number of epochs; by default what `[training]` says.
    resume : int, optional
        The `TrialResult.id` of the trial whose weights to go on from.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    resume: int | None = None

    @property
    def key(self) -> str:
        """What makes two trials the same."""
        return json.dumps([dict(sorted(self.values.items())), self.epochs, self.resume], default=_plain)


@dataclass(frozen=True)
class TrialResult:
    """What came of a trial.

    Attributes
    ----------
    id : int
        Number of the trial in the run's table.
    score : float
        The tuner's objective, turned so that smaller is better; infinite where the trial failed.
    status : str
        ``"ok"``, or ``"failed"`` with the reason in `message`.
    epochs : int
        Epochs trained.
    values : mapping
        All hyper-parameters as they were used.
    space : keras_tuner.HyperParameters
        The space as it is known now, with hyper-parameters that this trial discovered.
    metrics : mapping
        Every logged metric at the epoch that was kept.
    message : str
        Why the trial failed.
    """

    id: int
    score: float
    status: Literal["ok", "failed"]
    epochs: int
    values: Mapping[str, Any]
    space: kt.HyperParameters | None = field(default=None, compare=False, repr=False)
    metrics: Mapping[str, float] = field(default_factory=dict)
    message: str = ""


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return str(value)
