"""What is kept of a race while it runs: the cross-validation of each candidate, so that none is done twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from invdesign_core.data.files.atomic import atomic_write, write_text
from invdesign_core.errors import RunStoreError, writing
from invdesign_core.surrogate.cross_validation import Validated
from invdesign_core.surrogate.sealed import file_digest, read_arrays, read_bytes, read_sealed, seal

KEYS = ("name", "values", "number", "members", "message", "seconds", "predictions")


class RaceMemory:
    """Finished candidates by their number in the race, kept in a folder where there is one.

    `lost` is why candidates are no longer kept.
    """

    def __init__(self, folder: Path | None = None, identity: str = "") -> None:
        self._folder = folder
        self._identity = identity
        self.lost: RunStoreError | None = None

    def find(self, number: int, name: str) -> tuple[Validated | None, str | None, float] | None:
        """Return what came of a candidate, why it is out, and the seconds that it took; None where it never ended."""
        if self._folder is None or not (path := self._folder / f"{number}.json").exists():
            return None
        hint = f"copy the file again from where it is whole; or delete it, and {name} is cross-validated again"
        item = read_sealed(path, hint, KEYS)
        if item.get("run", self._identity) != self._identity:  # earlier versions did not write it
            raise RunStoreError(f"{path}: found a candidate of another run, or of other settings", hint)
        if item["name"] != name:
            raise RunStoreError(f"{path}: found the candidate {item['name']!r}, expected {name!r}", hint)
        if item["message"] is not None:
            return None, item["message"], item["seconds"]
        arrays = self._folder / f"{number}.npz"
        stored = read_arrays(read_bytes(arrays, hint, item["predictions"]), arrays, hint)
        lacking = {"predicted", "alone"} - set(stored)
        if lacking:
            raise RunStoreError(f"{arrays}: there is no array {min(lacking)!r}", hint)
        found = Validated(item["values"], item["number"], stored["predicted"], stored["alone"], item["members"])
        return found, None, item["seconds"]

    def keep(self, number: int, name: str, found: Validated | None, message: str | None, seconds: float) -> None:
        """Write down what came of a candidate; the first that can't be written is the last."""
        if self._folder is None or self.lost is not None:
            return
        try:
            with writing(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
                line: dict[str, Any] = dict.fromkeys(KEYS)
                line |= {"name": name, "run": self._identity, "message": message, "seconds": seconds}
                if found is not None:
                    with atomic_write(self._folder / f"{number}.npz") as partial:
                        with partial.open("wb") as file:
                            np.savez(file, predicted=found.predicted, alone=found.alone)
                        line["predictions"] = file_digest(partial)
                    line |= {"values": found.values, "number": found.number, "members": found.members}
                write_text(self._folder / f"{number}.json", json.dumps(seal(line), indent=1) + "\n")
        except RunStoreError as error:
            self.lost = error
