"""Where things are said: results on stdout, everything else on stderr, whoever prints it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


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


@contextmanager
def quiet_import() -> Iterator[None]:
    """Hold back what is written to file descriptor 2 while Keras and its backend are imported.

    TensorFlow 2.21 logs its first lines before any setting is read. They are shown after all if the
    import fails.
    """
    import tempfile

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
