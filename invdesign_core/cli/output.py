"""The output streams: results go to stdout and everything else to stderr, whatever prints it."""

from __future__ import annotations

import io
import os
import select
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from invdesign_core.errors import RunStoreError, reason

if TYPE_CHECKING:
    from invdesign_core.registry import Registry


class Descriptor(io.FileIO):
    """A file descriptor to print to; what it refuses is dropped, and the rest with it.

    A reader who goes away, as in ``invdesign … | head``, must not end a run, nor must a full disk below a log.
    Whether results were lost in that way is for the end of the command to say.

    Attributes
    ----------
    refusal : OSError or None
        Why the descriptor stopped taking anything.
    """

    def __init__(self, number: int, own: bool = False) -> None:
        super().__init__(number, "w", closefd=own)
        self.refusal: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write all of it or nothing more."""
        rest = memoryview(data).cast("B")
        while len(rest) and self.refusal is None:
            try:
                written = super().write(rest)
                if written is None:  # another process has made it non-blocking, and it is full
                    select.select([], [self], [])
                rest = rest[written or 0 :]
            except OSError as error:
                self.refusal = error
        return memoryview(data).nbytes


def open_standard_streams() -> None:
    """Make sure that there are three open standard streams, and let none of them raise.

    Services and ``>&-`` start programs without some. Then the next file that is opened would get the
    descriptor, and whatever prints to it would write into that file.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
    sys.stdout, sys.stderr = (_steady(stream, number) for stream, number in ((sys.stdout, 1), (sys.stderr, 2)))


def _steady(stream: TextIO | None, number: int) -> TextIO:
    """Return a stream that prints like one of Python's own, and doesn't raise."""
    if stream is None:
        return _text(Descriptor(number), "utf-8", "replace")
    with suppress(OSError, ValueError):
        stream.flush()
    errors = "replace" if stream.errors in (None, "strict") else stream.errors
    return _text(Descriptor(number), stream.encoding or "utf-8", errors)


def _text(descriptor: Descriptor, encoding: str, errors: str) -> TextIO:
    buffered = io.BufferedWriter(descriptor)
    by_line = descriptor.isatty() or descriptor.fileno() == 2
    return io.TextIOWrapper(buffered, encoding=encoding, errors=errors, line_buffering=by_line)


def check_printed(stream: TextIO, hint: str | None = None) -> None:
    """Refuse to end well where results were printed into a full disk; that nobody reads them is no failure.

    Parameters
    ----------
    stream : TextIO
        What the results were printed to.
    hint : str, optional
        Where they are besides.

    Raises
    ------
    RunStoreError
        If they are lost.
    """
    stream.flush()
    descriptor = getattr(getattr(stream, "buffer", None), "raw", None)
    refusal = descriptor.refusal if isinstance(descriptor, Descriptor) else None
    if refusal is not None and not isinstance(refusal, BrokenPipeError):
        raise RunStoreError(
            f"standard output can't be written: {reason(refusal)}", hint or "send the output somewhere else"
        )


@contextmanager
def results_only_on_stdout() -> Iterator[TextIO]:
    """Yield the real stdout, and send file descriptor 1 to stderr meanwhile.

    Plugins, models and TensorFlow print where they like; TensorFlow does it below Python, so the
    descriptor itself has to be moved.

    Raises
    ------
    RunStoreError
        If what was printed could not be written.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    real = _text(Descriptor(kept, own=True), "utf-8", "replace")
    try:
        yield real
        check_printed(real)
    finally:
        sys.stdout.flush()
        real.flush()
        os.dup2(kept, 1)
        real.close()


def discover() -> Registry:
    """Return the installed plugins; what they print while they are imported goes to stderr."""
    from invdesign_core.registry import Registry

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
    from invdesign_core.surrogate import backend as keras_backend

    if keras_backend.select(backend) == "jax":
        _remember_programs()
    with _held_back():
        import keras  # noqa: F401


def _remember_programs() -> None:
    """Let JAX keep what it compiles for the next process; whatever the user has set himself stays."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    from platformdirs import user_cache_path

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
