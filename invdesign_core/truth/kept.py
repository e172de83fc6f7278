"""What a true model said of designs, by their values, so that none is simulated twice."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invdesign_core.errors import RunStoreError, writing
from invdesign_core.space.variables import plain
from invdesign_core.surrogate.sealed import opened, seal, whole_lines

LOG = "simulated.jsonl"
KEYS = ("truth", "design", "outputs", "failed")


@dataclass(frozen=True)
class Entry:
    """The outputs of a design, NaN where there is none, and why; without outputs, the call for it failed."""

    outputs: Mapping[str, float] | None
    failed: str = ""


class KeptDesigns:
    """What designs gave, kept in a folder where there is one, and read from it; `lost` is why no more is kept.

    Only what the same true model said is read, by its `identity`; without one, nothing is read or written. Designs
    whose call failed are written, and simulated again by the next command.
    """

    def __init__(self, folder: Path | None = None, identity: str = "") -> None:
        self.lost: RunStoreError | None = None
        self._entries: dict[str, Entry] = {}
        self._identity = identity
        self._folder = folder if identity else None
        if self._folder is not None:
            path = self._folder / LOG
            for number, line in enumerate(whole_lines(path), 1):
                self._take(line, f"{path}, line {number}")

    def find(self, design: Mapping[str, Any], outputs: Sequence[str]) -> Entry | None:
        """Return what is known of a design, None where it is nothing, or not of all these outputs."""
        entry = self._entries.get(key_of(design))
        if entry is not None and entry.outputs is not None and not set(outputs) <= set(entry.outputs):
            return None
        return entry

    def add(self, designs: Sequence[Mapping[str, Any]], entries: Sequence[Entry]) -> None:
        """Remember what designs gave; the first that can't be written are the last."""
        self._entries |= {key_of(design): entry for design, entry in zip(designs, entries, strict=True)}
        if self._folder is None or self.lost is not None:
            return
        path = self._folder / LOG
        try:
            with writing(path):
                self._folder.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:
                    file.writelines(self._line(*pair) + "\n" for pair in zip(designs, entries, strict=True))
        except RunStoreError as error:
            self.lost = error

    def _line(self, design: Mapping[str, Any], entry: Entry) -> str:
        """Return what the log says of a design."""
        outputs = entry.outputs
        said = None if outputs is None else {n: y if math.isfinite(y) else None for n, y in outputs.items()}
        line = {"truth": self._identity, "design": plain(dict(design)), "outputs": said, "failed": entry.failed}
        return json.dumps(seal(line), ensure_ascii=False)

    def _take(self, line: str, place: str) -> None:
        """Read one line of the log."""
        hint = "copy the file again from where it is whole; or take the line out, and its design is simulated again"
        item = opened(line, place, hint, KEYS)
        if item["truth"] == self._identity and item["outputs"] is not None:
            outputs = {name: math.nan if y is None else float(y) for name, y in item["outputs"].items()}
            self._entries[key_of(item["design"])] = Entry(outputs, item["failed"])


def key_of(design: Mapping[str, Any]) -> str:
    """Return a text that is equal for equal designs, to the last bit: 1 and 1.0 are one number, '1' is a label."""
    values = {name: _canonical(value) for name, value in plain(dict(design)).items()}
    return json.dumps(values, sort_keys=True, default=str)


def _canonical(value: Any) -> Any:
    """Return a number as a float, unless it is a whole one that no float is equal to; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 2**53:
        return value
    return float(value) + 0.0
