"""Locks: of two processes that would write the same, the second is refused in words; readers need none."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from invdesign_core.errors import RunStoreError

PATIENCE = 0.5
"""Seconds to wait for a lock: `is_held` takes it for a moment."""


class Lock:
    """A file that one process holds at a time; the system lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path, message: str, hint: str) -> None:
        """Take the lock, or raise a RunStoreError with this message and hint."""
        self.path = path
        self._lock = FileLock(path, timeout=PATIENCE)
        refusal = RunStoreError(message, hint)
        try:
            self._lock.acquire(poll_interval=0.05)
        except Timeout:
            raise refusal from None
        if not path.exists():  # whoever held it took it away while we waited, and somebody else may have made another
            self._lock.release()
            raise refusal

    def release(self) -> None:
        """Let others have it; the file goes first, so that nobody gets one that is about to go."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._lock.release()
        with suppress(OSError):  # a system that keeps files which are open
            if os.name == "nt":
                self.path.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Say whether a process holds a lock; only reading is asked of the disk where the system allows that."""
    try:
        import fcntl
    except ImportError:
        return path.exists() and _is_held_elsewhere(path)
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:  # it is held; or it can't be opened, and may be somebody else's
        return True
    return False


def _is_held_elsewhere(path: Path) -> bool:
    """Say the same on Windows."""
    try:
        with FileLock(path, timeout=0):
            return False
    except (Timeout, OSError):
        return True
