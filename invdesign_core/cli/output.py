"""The output streams: results go to stdout and everything else to stderr, whatever prints it."""

from __future__ import annotations

import io
import json
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

import click

from invdesign_core.errors import InvdesignError, RunStoreError, reason
from invdesign_core.errors.visible import visible, visible_json

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import BaseModel


def print_line(text: str, stream: TextIO | None = None) -> None:
    """Print one line whole, so that a command in it can be copied."""
    (stream or sys.stdout).write(visible(text) + "\n")


def print_error(error: InvdesignError) -> None:
    """Print the message of an error, and what to do."""
    print_marked("Error", "red", error.message)
    if error.hint:
        print_marked("Hint", "yellow", error.hint)


def print_marked(word: str, colour: str, text: str) -> None:
    """Print a line to stderr that begins with a word in colour."""
    click.echo(click.style(f"{word}: ", fg=colour, bold=True) + visible(text), err=True)


def print_json(found: Any, stream: TextIO | None = None) -> None:
    """Print plain values as JSON."""
    (stream or sys.stdout).write(visible_json(json.dumps(found, indent=1, ensure_ascii=False)) + "\n")


def print_model(report: BaseModel, stream: TextIO) -> None:
    """Print a report as JSON."""
    stream.write(visible_json(report.model_dump_json(indent=1)) + "\n")


def print_csv(table: pd.DataFrame, stream: TextIO) -> None:
    """Print a table as CSV: as it is for a program or a file, and for a reader at a terminal as it may be printed."""
    from invdesign_core.data.files.write import for_csv

    text = for_csv(table).to_csv(index=False, lineterminator="\n")
    stream.write(visible(text) if stream.isatty() else text)


class Descriptor(io.FileIO):
    """A file descriptor to print to; what it refuses is dropped, and the rest with it, and `refusal` says why.

    A reader who goes away, as in ``invdesign … | head``, must not end a run, nor must a full disk below a log.
    Whether results were lost in that way is for the end of the command to say.
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
    """Refuse to end well where results were printed into a full disk; that nobody reads them is no failure."""
    stream.flush()
    descriptor = getattr(getattr(stream, "buffer", None), "raw", None)
    refusal = descriptor.refusal if isinstance(descriptor, Descriptor) else None
    if refusal is not None and not isinstance(refusal, BrokenPipeError):
        raise RunStoreError(
            f"standard output can't be written: {reason(refusal)}", hint or "send the output somewhere else"
        )


@contextmanager
def results_only_on_stdout() -> Iterator[TextIO]:
    """Yield the real stdout, and send file descriptor 1 to stderr meanwhile, where TensorFlow prints below Python."""
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
