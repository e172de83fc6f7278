"""What a command works with: the installed plugins, Keras, a display of progress, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any, TextIO

from platformdirs import user_cache_path

from invdesign_core.cli.console import Watcher
from invdesign_core.cli.output import results_only_on_stdout
from invdesign_core.context import Context
from invdesign_core.registry import Registry
from invdesign_core.surrogate import backend as keras_backend

UNNEEDED = ("sklearn", "matplotlib")
"""What Keras imports where it is installed, for wrappers and pictures of its own, which takes a second."""


def discover() -> Registry:
    """Return the installed plugins; what they print while they are imported goes to stderr."""
    with results_only_on_stdout():
        return Registry.discover()


@contextmanager
def session(backend: str | None, quiet: bool, trains: bool = False) -> Iterator[tuple[TextIO, Watcher, Context]]:
    """Import Keras, and give a command the stream for its result, the display of progress, and the context it feeds.

    One that trains may meet builders who work with any part of Keras.
    """
    ctx = Context()
    with results_only_on_stdout() as stdout, Watcher(quiet) as watcher, stop_on_interrupt(ctx.stop):
        with ctx.clock.stage("import"):
            import_keras(backend, () if trains else UNNEEDED)
        yield stdout, watcher, replace(ctx, emit=watcher)


@contextmanager
def stop_on_interrupt(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C set an event besides raising: JAX runs Python inside the garbage collector, which loses exceptions.

    SIGTERM, by which schedulers and services end a program, does the same.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def import_keras(backend: str | None, without: Collection[str] = ()) -> None:
    """Choose Keras' backend and import it, without the lines that TensorFlow writes meanwhile, nor some packages."""
    if keras_backend.select(backend) == "jax":
        _remember_programs()
    with _held_back(), _without(*without):
        import keras  # noqa: F401


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Have packages that nobody has imported look as if they weren't installed, for those that import them unasked."""
    modules: dict[str, Any] = sys.modules  # None says that there is no such module
    hidden = [name for name in names if name not in modules]
    modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


def _remember_programs() -> None:
    """Let JAX keep what it compiles for the next process; whatever the user has set himself stays."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = user_cache_path("invdesign", appauthor=False) / "jax"
    if not folder.is_absolute():  # a user without a home folder
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # each process compiles for itself
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(256 * 2**20))


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, and show it after all if what runs fails.

    TensorFlow 2.21 logs its first lines before any setting is read.
    """
    sys.stderr.flush()
    try:
        scratch = tempfile.TemporaryFile()  # noqa: SIM115
    except OSError:  # nowhere to hold it back
        yield
        return
    with scratch as held:
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
