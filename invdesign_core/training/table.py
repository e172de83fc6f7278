"""The trial table: every finished trial, kept on disk as it ends, so that a search can go on after a kill."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from invdesign_core.errors import RunStoreError, writing
from invdesign_core.training.trials import Trial, TrialResult


class TrialTable:
    """Finished trials by what was asked for.

    Parameters
    ----------
    folder : Path, optional
        Where to keep them; finished trials that are there already are read.

    Attributes
    ----------
    results : list of TrialResult
        The finished trials, by their numbers.
    spaces : mapping
        For each the configuration of the hyper-parameters that were known when it had ended.
    lost : RunStoreError or None
        Why trials that have ended since are not kept on disk.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.results: list[TrialResult] = []
        self.spaces: dict[int, dict[str, Any]] = {}
        self.lost: RunStoreError | None = None
        self._ids: dict[str, int] = {}
        self._folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for line in self._read_lines():
                item = json.loads(line)
                score = item.pop("score")
                key = item.pop("key")
                self.spaces[item["id"]] = item.pop("space", None) or {}
                result = TrialResult(**item, score=math.inf if score is None else score)
                self._ids[key] = result.id
                self.results.append(result)

    def find(self, key: str) -> TrialResult | None:
        """Return the result of a trial that was trained before, or None."""
        return self.results[self._ids[key]] if key in self._ids else None

    def add(self, trial: Trial, result: TrialResult, weights: Sequence[Any] | None = None) -> None:
        """Remember a finished trial, weights first, so that a killed run never lists one without them."""
        if result.space is not None:
            self.spaces[result.id] = result.space.get_config()
        if self._folder is not None and self.lost is None:
            try:
                self._keep(self._folder, trial, result, weights)
            except RunStoreError as error:  # a search goes on without its memory; later trials need this one's line
                self.lost = error
        self._ids[trial.key] = result.id
        self.results.append(result)

    def _keep(self, folder: Path, trial: Trial, result: TrialResult, weights: Sequence[Any] | None) -> None:
        """Write down a finished trial."""
        with writing(folder / "trials.jsonl"):
            if weights is not None:
                partial = folder / f".{result.id}.npz"
                try:
                    with partial.open("wb") as file:
                        np.savez(file, *weights)
                    partial.replace(folder / f"{result.id}.npz")
                except BaseException:
                    partial.unlink(missing_ok=True)
                    raise
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
            }
            with (folder / "trials.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, default=str) + "\n")

    def weights(self, trial: int) -> list[Any] | None:
        """Return the weights of a finished trial, or None where they were not kept."""
        path = self._folder / f"{trial}.npz" if self._folder is not None else None
        if path is None or not path.exists():
            return None
        with np.load(path) as stored:
            return [stored[f"arr_{i}"] for i in range(len(stored.files))]

    def _read_lines(self) -> list[str]:
        """Return the whole lines of the table; a kill can leave half of one behind."""
        assert self._folder is not None
        path = self._folder / "trials.jsonl"
        if not path.exists():
            return []
        text = path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            text = text[: text.rfind("\n") + 1]
            path.write_text(text, encoding="utf-8")
        return text.splitlines()
