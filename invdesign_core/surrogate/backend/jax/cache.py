"""JAX's cache of programs on disk: a damaged entry is replaced, where JAX would warn of it in every later run."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

NEVER = bytes(8)
"""When an entry was last used, as JAX writes it down, where a kill came before that: it goes first."""


def mend_cache() -> None:
    """Let entries of the cache that can't be read be compiled, and written, again."""
    try:
        from jax._src import compilation_cache, lru_cache

        kind: Any = lru_cache.LRUCache
        get, decompress = kind.get, compilation_cache.decompress_executable
    except (ImportError, AttributeError):  # another JAX, which keeps its programs elsewhere
        return

    @wraps(get)
    def get_whole(self: Any, key: str) -> bytes | None:
        found: bytes | None = get(self, key)
        if found is None:
            return None
        try:
            decompress(found)
        except Exception:  # zlib's, or that of another package
            with suppress(OSError):
                (Path(str(self.path)) / f"{key}-cache").unlink(missing_ok=True)
            return None
        return found

    if not hasattr(get, "__wrapped__"):
        kind.get = get_whole
    _write_down_uses()


def _write_down_uses() -> None:
    """Give entries without a time of last use one: a single one without stops JAX from keeping any other program."""
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if not folder:
        return
    with suppress(OSError):
        names = set(os.listdir(folder))
        for name in names:
            used = f"{name.removesuffix('-cache')}-atime"
            if name.endswith("-cache") and used not in names:
                Path(folder, used).write_bytes(NEVER)
