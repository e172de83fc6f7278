"""How large a file becomes when it is read: .xlsx, .npz, .keras and .parquet files may be made to fill the memory."""

from __future__ import annotations

import zipfile
from pathlib import Path

from invdesign_core.errors import DataError

RATIO = 200
"""Times its own size that a file may unpack to; text with many repetitions, as in an Excel file, stays below it."""
SMALL = 64 * 2**20
"""Bytes that any file may unpack to."""


def check_unpacked(archive: zipfile.ZipFile, path: Path, size: int) -> None:
    """Refuse an archive of so many bytes that says it is far larger inside; Python reads no more than it says."""
    whole = sum(item.file_size for item in archive.infolist())
    if whole > max(SMALL, RATIO * size):
        raise too_large(path, size, whole)


def too_large(path: Path, size: int, whole: int) -> DataError:
    """Return the error of a file that becomes far larger when it is read."""
    return DataError(
        f"{path}: the file has {_bytes(size)}, and would unpack to {_bytes(whole)}: more than {RATIO} times as much",
        "it was made to fill the memory, or is damaged: get it from where it is whole",
    )


def _bytes(count: int) -> str:
    for unit, one in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= one:
            return f"{count / one:.3g} {unit}"
    return f"{count} bytes"
