"""Files and folders that appear whole or not at all: written under a temporary name, and renamed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from invdesign_core.errors import writing


@contextmanager
def atomic_write(target: Path, hint: str | None = None, named: Path | None = None) -> Iterator[Path]:
    """Yield a temporary name beside a file or folder, and rename it; nothing of it is left where that fails.

    A folder replaces an earlier one of its name. A failure is a RunStoreError with the hint, which names the target, or
    `named`: the file that the user asked for.
    """
    partial = target.with_name(f".{target.name}.partial")
    with writing(named or target, hint):
        try:
            _take_away(partial)
            yield partial
            if partial.is_dir():
                shutil.rmtree(target, ignore_errors=True)
            partial.replace(target)
        except BaseException:
            _take_away(partial)
            raise


def write_text(path: Path, content: str, hint: str = "free some disk space, or choose another --out") -> None:
    """Write a text file, whole or not at all."""
    with atomic_write(path, hint) as partial:
        partial.write_text(content, encoding="utf-8")


def _take_away(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
