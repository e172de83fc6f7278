"""Simulators that are programs: a call writes a CSV file of designs, waits, and reads a CSV file of outputs."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign_core.data.files.atomic import atomic_write
from invdesign_core.errors import ConfigError, RunStoreError, near_match, reason
from invdesign_core.surrogate.sealed import file_digest
from invdesign_core.truth.simulated import CallError

if TYPE_CHECKING:
    import pandas as pd

GRACE = 2.0
"""Seconds that a program has to end after it was told to."""
POLL = 0.1
"""Seconds between two looks at whether a program is to end."""
INPUT, OUTPUT, STDOUT, STDERR = "input.csv", "output.csv", "stdout.txt", "stderr.txt"
"""The files of a call, in a folder of its own."""


@dataclass(frozen=True)
class Command:
    """A program that reads designs from one CSV file and writes their outputs to another.

    Attributes
    ----------
    arguments : tuple of str
        The program and its arguments, in which `{input}`, `{output}`, `{folder}` and `{python}` are replaced.
    folder : Path
        Where it runs, and where relative paths start from.
    timeout : float or None
        Seconds after which it is ended.
    parallel : int
        How many may run at the same time.
    kept : Path or None
        Where each call's folder is made; a temporary one where that is None, which is left where a call failed.
    """

    arguments: tuple[str, ...]
    folder: Path
    timeout: float | None = None
    parallel: int = 1
    kept: Path | None = None
    _numbering: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def find(cls, arguments: Sequence[str], folder: Path, timeout: float | None = None, parallel: int = 1) -> Command:
        """Check that the program is there; a ConfigError says what is wrong with it."""
        found = cls(tuple(arguments), folder, timeout, parallel)
        program = found.program
        what = f"[truth] option 'command': {arguments[0]!r}"
        if os.path.dirname(program):
            path = Path(program)
            if not path.is_file():
                siblings = [p.name for p in path.parent.glob("*") if p.is_file()]
                raise ConfigError(f"{what}: there is no such file in {folder}", near_match(path.name, siblings))
            if not os.access(path, os.X_OK):
                raise ConfigError(f"{what}: the file can't be executed", f"chmod +x '{path}'")
        elif shutil.which(program) is None:
            beside = (folder / program).is_file()
            hint = f"write './{program}' for the file beside the experiment file" if beside else None
            raise ConfigError(f"{what}: there is no such program on the PATH", hint)
        return found

    @property
    def program(self) -> str:
        """The program itself; a path with a folder in it starts from `folder`."""
        said = self.arguments[0].replace("{python}", sys.executable)
        return str(self.folder / said) if os.path.dirname(said) else said

    @property
    def words(self) -> str:
        """What to call it, in messages."""
        return f"the true model {' '.join(part for part in self.arguments if '{' not in part) or self.arguments[0]}"

    def parts(self) -> list[Any]:
        """Return what its answers depend on: its arguments, and the files that they name."""
        files = [self.folder / part for part in (self.program, *self.arguments[1:]) if "{" not in part]
        return ["command", *self.arguments, *(file_digest(path) for path in files if path.is_file())]

    def __call__(self, designs: pd.DataFrame, stop: threading.Event) -> pd.DataFrame:
        """Run it for some designs and return what it wrote, or raise a CallError with the reason why there is nothing.

        It ends where `stop` is set, with all processes that it began.
        """
        if stop.is_set():
            raise CallError("interrupted", interrupted=True)
        own = self._own_folder()
        try:
            with atomic_write(own / INPUT) as partial:
                designs.to_csv(partial, index=False, encoding="utf-8")
        except RunStoreError as error:
            raise CallError(error.message, repeat=False) from None
        try:
            self._run(own, stop)
            found = _read(own / OUTPUT)
        except CallError as error:
            if error.interrupted:
                raise
            raise CallError(f"{error.reason} ({own})", error.repeat) from None
        if self.kept is None:
            shutil.rmtree(own, ignore_errors=True)
        return found

    def _own_folder(self) -> Path:
        """Make a folder for a call, with the next number."""
        try:
            if self.kept is None:
                return Path(tempfile.mkdtemp(prefix="invdesign-"))
            with self._numbering:
                self.kept.mkdir(parents=True, exist_ok=True)
                number = max((int(p.name) for p in self.kept.iterdir() if p.name.isdecimal()), default=0)
                while True:  # another process may make the same
                    number += 1
                    with suppress(FileExistsError):
                        (self.kept / str(number)).mkdir()
                        return (self.kept / str(number)).resolve()
        except OSError as error:
            raise CallError(f"{self.kept or 'a temporary folder'}: can't be made: {reason(error)}", False) from None

    def _run(self, own: Path, stop: threading.Event) -> None:
        """Run it, and wait for its end; what it prints is kept in its folder."""
        places = {"{input}": own / INPUT, "{output}": own / OUTPUT, "{folder}": own, "{python}": sys.executable}
        arguments = [self.program, *self.arguments[1:]]
        for place, value in places.items():
            arguments = [part.replace(place, str(value)) for part in arguments]
        end = None if self.timeout is None else time.monotonic() + self.timeout
        try:
            with (own / STDOUT).open("wb") as out, (own / STDERR).open("wb") as err:
                process = subprocess.Popen(
                    arguments,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=os.name == "posix",  # so that it can be ended with what it began
                )
        except OSError as error:
            raise CallError(f"it can't be started: {reason(error)}", repeat=False) from None
        try:
            while process.poll() is None:
                if stop.is_set():
                    raise CallError("interrupted", interrupted=True)
                left = POLL if end is None else min(end - time.monotonic(), POLL)
                if left <= 0:
                    raise CallError(f"it took more than {self.timeout:g} s")
                with suppress(subprocess.TimeoutExpired):
                    process.wait(left)
        finally:
            if process.poll() is None:
                _end(process)
        if process.returncode:
            raise CallError(f"{_exit(process.returncode)}{_last_line(own)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it began: asked first, then without asking."""
    if os.name != "posix":
        process.kill()
        process.wait()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    with suppress(ProcessLookupError, PermissionError):  # those that it began may still be there
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _exit(code: int) -> str:
    """Say how a program ended."""
    if code > 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def _last_line(own: Path) -> str:
    """Return the last thing that a program printed to stderr, else to stdout, with a colon before it."""
    for name in (STDERR, STDOUT):
        with suppress(OSError):
            with (own / name).open("rb") as file:
                file.seek(max(file.seek(0, os.SEEK_END) - 4000, 0))
                lines = file.read().decode("utf-8", errors="replace").split("\n")
            if said := [line.strip() for line in lines if line.strip()]:
                return f": {said[-1][:200]}"
    return ""


def _read(path: Path) -> pd.DataFrame:
    """Read the CSV file that a program wrote; its cells are text."""
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, skipinitialspace=True) if row]
    except FileNotFoundError:
        raise CallError("it wrote no output file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CallError(f"its output file can't be read: {error}", repeat=False) from None
    if not rows:
        raise CallError("its output file is empty")
    names, body = rows[0], rows[1:]
    for number, row in enumerate(body, 1):
        if len(row) != len(names):
            raise CallError(f"row {number} of its output has {len(row)} cells, expected {len(names)}")
    return pd.DataFrame(body, columns=names, dtype=object)
