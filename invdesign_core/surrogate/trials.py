"""Trials: what a tuner asks for, what it is told, and the table that keeps both on disk as each trial ends."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from invdesign_core.data.files.atomic import atomic_write
from invdesign_core.errors import RunStoreError, near_or_all, writing
from invdesign_core.errors.faults import kind_of
from invdesign_core.surrogate.sealed import file_digest, opened, plain, read_arrays, read_bytes, seal, whole_lines

if TYPE_CHECKING:
    import keras_tuner as kt

LOG = "trials.jsonl"
KEYS = ("key", "id", "score", "status", "epochs", "values", "metrics", "message", "space", "weights")


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
        return json.dumps(plain([dict(sorted(self.values.items())), self.epochs, self.resume]))


def check_trials(trials: Any, space: kt.HyperParameters, known: Container[int]) -> None:
    """Refuse trials that can't be trained, since the tuner that asks for them is at fault, and not the training.

    Parameters
    ----------
    trials : sequence of Trial
        What a tuner asks for.
    space : keras_tuner.HyperParameters
        The hyper-parameters known so far, with the values that each may have.
    known : container of int
        The numbers of the trials that may be resumed.

    Raises
    ------
    TypeError, ValueError
        Naming what was found and what was expected.
    """
    if isinstance(trials, Trial | str | Mapping) or not isinstance(trials, Sequence):
        raise TypeError(f"it asked for {kind_of(trials)}, expected a list of Trials")
    for trial in trials:
        if not isinstance(trial, Trial) or not isinstance(trial.values, Mapping):
            raise TypeError(f"it asked for {kind_of(trial)}, expected a Trial(values, epochs, resume)")
        if trial.epochs is not None and (not _is_whole(trial.epochs) or trial.epochs < 1):
            raise ValueError(f"a trial has epochs = {kind_of(trial.epochs)}, expected a whole number of 1 or more")
        if trial.resume is not None and (not _is_whole(trial.resume) or trial.resume not in known):
            raise ValueError(f"a trial is to continue from trial {kind_of(trial.resume)}, which doesn't exist")
        for name, value in trial.values.items():
            alike = [hp for hp in space.space if hp.name == name]  # several under different conditions
            if not alike:
                names = {hp.name for hp in space.space}
                raise ValueError(f"a trial sets the hyper-parameter {name!r}: {near_or_all(str(name), names)}")
            if not any(_may_be(hp, value) for hp in alike):
                raise ValueError(f"a trial sets {name} = {kind_of(value)}, expected {_values_of(alike[0])}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _may_be(hp: Any, value: Any) -> bool:
    """Whether a hyper-parameter may have a value."""
    if isinstance(value, np.generic):
        value = value.item()
    kind = type(hp).__name__
    if kind in ("Int", "Float"):
        if isinstance(value, bool) or not isinstance(value, int | float) or (kind == "Int" and value != int(value)):
            return False
        slack = 1e-9 * max(abs(hp.min_value), abs(hp.max_value))
        return bool(hp.min_value - slack <= value <= hp.max_value + slack)
    if kind == "Choice":
        return bool(value in hp.values)
    if kind == "Boolean":
        return isinstance(value, bool)
    if kind == "Fixed":
        return bool(value == hp.value)
    return True  # one of somebody's own


def _values_of(hp: Any) -> str:
    """Return the values that a hyper-parameter may have in words."""
    kind = type(hp).__name__
    if kind in ("Int", "Float"):
        return f"{'a whole number' if kind == 'Int' else 'a number'} from {hp.min_value:g} to {hp.max_value:g}"
    if kind == "Choice":
        return f"one of {', '.join(map(repr, hp.values))}"
    return "true or false" if kind == "Boolean" else repr(getattr(hp, "value", "another value"))


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


class TrialTable:
    """Finished trials by what was asked for, kept in a folder where there is one, and read from it.

    `spaces` holds the hyper-parameters known when each had ended, `lost` why trials are no longer kept.
    """

    def __init__(self, folder: Path | None = None, identity: str = "") -> None:
        self._identity = identity
        self.spaces: dict[int, dict[str, Any]] = {}
        self._results: dict[int, TrialResult] = {}
        self.lost: RunStoreError | None = None
        self._ids: dict[str, int] = {}
        self._weights: dict[int, str] = {}
        self._folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for number, line in enumerate(whole_lines(folder / LOG), 1):
                self._take(line, f"{folder / LOG}, line {number}")

    @property
    def results(self) -> list[TrialResult]:
        """The finished trials, by their numbers."""
        return [self._results[number] for number in sorted(self._results)]

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers of the finished trials."""
        return frozenset(self._results)

    def find(self, key: str) -> TrialResult | None:
        """Return the result of a trial that was trained before, or None."""
        return self._results[self._ids[key]] if key in self._ids else None

    def free_numbers(self, count: int) -> list[int]:
        """Return the smallest numbers that no finished trial has.

        A tuner asks again in the same order, so a trial that a kill prevented gets the number, and the seeds, that it
        would have had.
        """
        return [i for i in range(len(self._results) + count) if i not in self._results][:count]

    def add(self, trial: Trial, result: TrialResult, weights: Sequence[Any] | None = None) -> None:
        """Remember a finished trial, weights first, so that a killed run never lists one without them."""
        if result.space is not None:
            self.spaces[result.id] = result.space.get_config()
        if self._folder is not None and self.lost is None:
            try:
                self._keep(self._folder, trial, result, weights)
            except RunStoreError as error:  # a search goes on without its memory; later trials need this one's line
                self.lost = error
        self._ids[trial.key], self._results[result.id] = result.id, result

    def _keep(self, folder: Path, trial: Trial, result: TrialResult, weights: Sequence[Any] | None) -> None:
        """Write down a finished trial."""
        with writing(folder / LOG):
            if weights is not None:
                with atomic_write(folder / f"{result.id}.npz") as partial:
                    with partial.open("wb") as file:
                        np.savez(file, *weights)
                    self._weights[result.id] = file_digest(partial)
            line = {
                "key": trial.key,
                "id": result.id,
                "score": result.score if math.isfinite(result.score) else None,
                "status": result.status,
                "epochs": result.epochs,
                "values": dict(result.values),
                "metrics": dict(result.metrics),
                "message": result.message,
                "space": self.spaces.get(result.id),
                "weights": self._weights.get(result.id),
                "run": self._identity,
            }
            with (folder / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(seal(line)) + "\n")

    def weights(self, trial: int) -> list[Any] | None:
        """Return the weights of a finished trial, or None where none were to be kept."""
        if self._folder is None or trial not in self._weights:
            return None
        path = self._folder / f"{trial}.npz"
        hint = (
            f'copy the file again from where it is whole; or take the line of trial {trial} ("id": {trial}) out of '
            f"{LOG}, and it is trained again"
        )
        content = read_bytes(path, hint, self._weights[trial])
        stored = read_arrays(content, path, hint)
        try:
            return [stored[f"arr_{i}"] for i in range(len(stored))]
        except KeyError as error:
            raise RunStoreError(f"{path}: there is no array {error}", hint) from None

    def misfit(self, trial: int, reason: str) -> RunStoreError:
        """Return the error of weights that don't fit the network of their trial."""
        assert self._folder is not None
        return RunStoreError(
            f"{self._folder / f'{trial}.npz'}: the weights don't fit the network that is built for trial {trial}: "
            f"{reason}",
            "was the surrogate's plugin changed since? start a new run with another --out",
        )

    def _take(self, line: str, place: str) -> None:
        """Read one line of the log."""
        hint = "copy the file again from where it is whole; or take the line out, and its trial is trained again"
        item = opened(line, place, hint, KEYS)
        key, space, weights = item.pop("key"), item.pop("space"), item.pop("weights")
        score = item.pop("score")
        if item.pop("run", self._identity) != self._identity:  # earlier versions did not write it
            raise RunStoreError(f"{place}: found a trial of another run, or of other settings", hint)
        try:
            result = TrialResult(**item, score=math.inf if score is None else float(score))
        except (TypeError, ValueError) as error:
            raise RunStoreError(f"{place}: found something that is not a trial: {error}", hint) from None
        if result.id in self._results or key in self._ids:
            raise RunStoreError(f"{place}: trial {result.id} appears twice", hint)
        self.spaces[result.id] = space or {}
        if weights is not None:
            self._weights[result.id] = weights
        self._ids[key], self._results[result.id] = result.id, result
