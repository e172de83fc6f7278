"""What is kept on disk and read back: JSON and other files with checksums, so that no damage goes unnoticed."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import to_jsonable_python

from invdesign_core.data.files.unpacked import check_unpacked
from invdesign_core.errors import DataError, RunStoreError, plural

KEY = "sha256"
"""Where a sealed JSON object holds the checksum of everything else in it."""
FAULTS = (ValueError, OSError, EOFError, KeyError, NotImplementedError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises of a file that holds no arrays."""


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: NumPy's numbers as Python's, and as text what JSON knows nothing like."""
    return to_jsonable_python(value, fallback=lambda v: v.item() if isinstance(v, np.generic) else str(v))


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object as JSON will hold it, and with it the checksum of its content."""
    written: dict[str, Any] = plain(content)
    return {**written, KEY: _digest(written)}


def opened(text: str | bytes, place: str, hint: str, keys: Collection[str] = ()) -> dict[str, Any]:
    """Return the content of a sealed JSON object that holds the keys; `place` is its file, and maybe its line."""
    try:
        content = json.loads(text)
    except ValueError as error:  # also where the bytes are no UTF-8
        found = "nothing" if not text.strip() else f"what can't be read ({error})"
        raise RunStoreError(f"{place}: found {found}, expected the JSON that invdesign wrote", hint) from None
    if not isinstance(content, dict):
        raise RunStoreError(f"{place}: found {type(content).__name__}, expected a JSON object", hint)
    if KEY not in content:
        raise RunStoreError(
            f"{place}: found no checksum ({KEY}), expected one: an earlier version of invdesign wrote it, or it was "
            "changed",
            hint,
        )
    said = content.pop(KEY)
    found = _digest(content)
    if said != found:
        raise RunStoreError(
            f"{place}: found content with the checksum {found[:12]}…, expected {str(said)[:12]}…: it was changed "
            "after it was written",
            hint,
        )
    lacking = [key for key in keys if key not in content]
    if lacking:
        raise RunStoreError(f"{place}: there is no {lacking[0]!r}, expected {', '.join(map(repr, keys))}", hint)
    return content


def read_sealed(path: Path, hint: str, keys: Collection[str] = ()) -> dict[str, Any]:
    """Read a sealed JSON file that holds the keys."""
    return opened(read_bytes(path, hint), str(path), hint, keys)


def read_bytes(path: Path, hint: str, sha256: str | None = None, salt: bytes = b"") -> bytes:
    """Read a file, and hold it to its checksum where one is given; `salt` is what was put before its content."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error, hint) from None
    if sha256 is not None and (found := hashlib.sha256(salt + content).hexdigest()) != sha256:
        raise _changed(path, len(content), found, sha256, hint)
    return content


def read_arrays(content: bytes, path: Path, hint: str) -> dict[str, Any]:
    """Return the arrays of an .npz file that was read from a path; none of its code runs, and no bomb goes off."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            check_unpacked(archive, path, len(content))
        with np.load(io.BytesIO(content)) as stored:  # which refuses pickled objects
            return {name: stored[name] for name in stored.files}
    except DataError as error:
        raise RunStoreError(error.message, hint) from None
    except FAULTS as error:
        raise RunStoreError(f"{path}: found no arrays of NumPy ({error})", hint) from None


def whole_lines(path: Path) -> list[str]:
    """Return the whole lines of a log; a kill can leave half of one behind, which is cut off."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(path, error, "make it readable") from None
    if not content.endswith(b"\n"):
        content = content[: content.rfind(b"\n") + 1]
        path.write_bytes(content)
    return content.decode("utf-8", errors="replace").split("\n")[:-1]


def check_file(path: Path, sha256: str, hint: str) -> None:
    """Hold a file that somebody else reads to its checksum."""
    try:
        found, size = file_digest(path), path.stat().st_size
    except OSError as error:
        raise unreadable(path, error, hint) from None
    if found != sha256:
        raise _changed(path, size, found, sha256, hint)


def file_digest(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unreadable(path: Path, error: OSError, hint: str) -> RunStoreError:
    """Return the error of a file that is missing or can't be read."""
    if isinstance(error, FileNotFoundError):
        return RunStoreError(f"{path}: the file is missing", hint)
    return RunStoreError(f"{path}: the file can't be read: {error.strerror or error}", hint)


def _changed(path: Path, size: int, found: str, expected: str, hint: str) -> RunStoreError:
    what = "an empty file" if size == 0 else f"{plural(size, 'byte')} with the checksum {found[:12]}…"
    return RunStoreError(
        f"{path}: found {what}, expected the checksum {expected[:12]}…: the file was changed after it was written", hint
    )


def _digest(content: Mapping[str, Any]) -> str:
    """Return the checksum of a JSON object, whatever the order of its keys and the spaces in its file."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
