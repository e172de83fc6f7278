"""Where things are said: results on stdout, everything else on stderr, whoever prints it."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

from invdesign_core.registry import Registry


@contextmanager
def results_only_on_stdout() -> Iterator[TextIO]:
    """Yield the real stdout, and send file descriptor 1 to stderr meanwhile.

    Plugins, models and TensorFlow print where they like; TensorFlow does it below Python, so the
    descriptor itself has to be moved.
    """
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # no stdout at all
        yield sys.stdout
        return
    os.dup2(2, 1)
    real = os.fdopen(kept, "w", encoding="utf-8", errors="replace")
    try:
        yield real
    finally:
        sys.stdout.flush()
        real.flush()
        os.dup2(kept, 1)
        real.close()


def discover() -> Registry:
    """Return the installed plugins; what they print while they are imported goes to stderr."""
    with results_only_on_stdout():
        return Registry.discover()


@contextmanager
def stop_on_interrupt(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C set an event besides raising: JAX runs Python inside the garbage collector, which loses exceptions."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def import_keras(backend: str | None) -> None:
    """Choose Keras' backend and import it, without the lines that TensorFlow writes meanwhile."""
    from invdesign_core import backend as keras_backend

    if keras_backend.select(backend) == "jax":
        _remember_programs()
    with _held_back():
        import keras  # noqa: F401


def _remember_programs() -> None:
    """Let JAX keep what it compiles for the next process; whatever the user has set himself stays."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        (home / "invdesign" / "jax").mkdir(parents=True, exist_ok=True)
    except OSError:  # nowhere to keep it: each process compiles for itself
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(home / "invdesign" / "jax")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(256 * 2**20))


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, and show it after all if what runs fails.

    TensorFlow 2.21 logs its first lines before any setting is read.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        kept = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            held.seek(0)
            sys.stderr.write(held.read().decode(errors="replace"))
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
