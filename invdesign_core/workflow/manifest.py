"""The manifest of a folder: checksums of the files that are read back, so that no damage to one goes unnoticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invdesign_core.data.files.atomic import write_text
from invdesign_core.errors import RunStoreError, writing
from invdesign_core.surrogate.sealed import read_bytes, read_sealed, seal, unreadable

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What a folder held when it was finished: the size and the checksum of each file, and what else is said of it."""

    path: Path
    files: Mapping[str, tuple[int, str]]
    about: Mapping[str, Any]

    @classmethod
    def of(cls, folder: Path, hint: str) -> Manifest | None:
        """Return the manifest of a folder; None where it has none."""
        path = folder / MANIFEST
        if not path.exists():
            return None
        found = read_sealed(path, hint, ("format", "files"))
        if found["format"] != FORMAT:
            raise RunStoreError(
                f"{path}: found format {found['format']!r}, expected {FORMAT}", "use the version that wrote it"
            )
        files = {name: (int(item["bytes"]), str(item["sha256"])) for name, item in found["files"].items()}
        return cls(path, files, {key: value for key, value in found.items() if key not in ("format", "files")})

    def held_to(self, name: str, content: bytes, hint: str) -> bytes:
        """Return what a file held when the folder was finished; other content is refused, but a log may have grown."""
        if name not in self.files:
            return content
        size, sha256 = self.files[name]
        found = content[:size] if name.endswith(".jsonl") else content
        if hashlib.sha256(found).hexdigest() != sha256:
            what = "nothing" if not content else "other content"
            raise RunStoreError(
                f"{self.path.parent / name}: found {what}, expected the checksum {sha256[:12]}… of {MANIFEST}: the "
                "file was changed after it was written, or one of the two is of another run",
                hint,
            )
        return found

    def lacks(self, folder: Path, hint: str) -> RunStoreError | None:
        """Return the error of the first file that is no longer there."""
        for name in self.files:
            if not (folder / name).exists():
                return unreadable(folder / name, FileNotFoundError(), hint)
        return None


def write_manifest(folder: Path, names: Iterable[str], extra: Mapping[str, bytes] | None = None, **about: Any) -> None:
    """Write down the checksums of those files of a folder that are there, and of `extra` ones, still to come."""
    contents = dict(extra or {})
    with writing(folder / MANIFEST):
        for name in names:
            if name not in contents and (folder / name).is_file():
                contents[name] = (folder / name).read_bytes()
        files = {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        }
    text = json.dumps(seal({"format": FORMAT, **about, "files": files}), indent=1, ensure_ascii=False)
    write_text(folder / MANIFEST, text + "\n")


def read_listed(folder: Path, name: str, hint: str) -> bytes:
    """Read a file, and hold it to the manifest of its folder where there is one that lists it."""
    manifest = Manifest.of(folder, hint)
    content = read_bytes(folder / name, hint)
    return content if manifest is None else manifest.held_to(name, content, hint)
