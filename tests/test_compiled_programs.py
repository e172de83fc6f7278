"""What JAX keeps of compiled programs: a damaged one is compiled again and replaced, without a word."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

from invdesign_core.surrogate import backend


def flipped(content):
    return content[:40] + bytes([content[40] ^ 8]) + content[41:]


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:60], flipped])
def test_a_damaged_program_is_replaced(damage):
    backend.load()
    import jax

    folder = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    before = set(folder.glob("*-cache"))

    def compiled():
        jax.clear_caches()
        return float(jax.jit(lambda x: x * 3.25 + len(damage(bytes(99))))(2.0))

    found = compiled()
    (entry,) = set(folder.glob("*-cache")) - before
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiled() == found
    assert len(entry.read_bytes()) >= 0.9 * len(whole)  # the seconds that compiling took are in it, too
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiled() == found


def test_a_program_whose_last_use_a_kill_left_unwritten_stops_no_other_from_being_kept(tmp_path, monkeypatch):
    from jax._src.lru_cache import LRUCache

    from invdesign_core.surrogate.backend.jax.cache import mend_cache

    cache = LRUCache(str(tmp_path), max_size=10_000)
    (tmp_path / "torn-cache").write_bytes(b"half")
    with suppress(FileNotFoundError):  # of JAX before 0.12
        cache.put("next", b"whole")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    mend_cache()
    cache.put("next", b"whole")
    assert (tmp_path / "next-cache").read_bytes() == b"whole"
