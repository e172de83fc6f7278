"""Everything that can go wrong for a user, each with a message, a hint and an exit code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """What the process returns; scripts may rely on these numbers."""

    OK = 0
    NOT_MET = 1
    CONFIG = 2
    PLUGIN = 3
    DATA = 4
    TRAINING = 5
    SOLVER = 6
    RUN_STORE = 7
    BUG = 70
    OUT_OF_TIME = 124
    INTERRUPTED = 130


class InvdesignError(Exception):
    """A mistake that the user can mend.

    Parameters
    ----------
    message : str
        The place, what was found there and what was expected.
    hint : str, optional
        What to do next.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nHint: {self.hint}"


class ConfigError(InvdesignError):
    """The request itself: options, experiment file, targets."""

    exit_code = ExitCode.CONFIG


class PluginError(InvdesignError):
    """A plugin is missing, broken, or can't do what was asked of it."""

    exit_code = ExitCode.PLUGIN


class DataError(InvdesignError):
    """A table or a model file does not hold what was expected."""

    exit_code = ExitCode.DATA


class TrainingError(InvdesignError):
    """No usable surrogate came out of the training."""

    exit_code = ExitCode.TRAINING


class SolverError(InvdesignError):
    """A solver failed or answered with something that is no answer."""

    exit_code = ExitCode.SOLVER


class RunStoreError(InvdesignError):
    """A run folder or another file can't be written, or a run can't be read."""

    exit_code = ExitCode.RUN_STORE


class OutOfTimeError(InvdesignError):
    """The time limit ended a search before it had a result that can be returned."""

    exit_code = ExitCode.OUT_OF_TIME


class StopSolving(BaseException):
    """Raised through a solver when there is no time left; no `Exception`, so that none swallows it."""


NOT_FAULTS = (InvdesignError, KeyboardInterrupt, StopSolving)
"""What may pass through the code of a plugin without being its fault; `sys.exit` is one."""


@contextmanager
def plugin_errors(
    who: str,
    hint: str = "this is a fault of the plugin, or an option that it should have refused",
    kind: type[InvdesignError] = PluginError,
) -> Iterator[None]:
    """Turn whatever a plugin raises into an error that names the plugin; `sys.exit` too, which must not end us.

    Parameters
    ----------
    who : str
        The plugin's kind and name, and maybe what it was doing.
    hint : str
        What the user can do.
    kind : type
        The error to raise.
    """
    try:
        yield
    except NOT_FAULTS:
        raise
    except BaseException as error:
        raise kind(f"{who} failed: {described(error)}", hint) from error


def described(error: BaseException) -> str:
    """Return an exception's type and text; whatever its own text raises is left out.

    Examples
    --------
    >>> described(SystemExit(0)), described(ValueError())
    ('SystemExit: 0 (it called sys.exit)', 'ValueError')
    """
    name = type(error).__name__
    try:
        text = str(error).strip()
    except Exception:
        text = ""
    return (f"{name}: {text}" if text else name) + (" (it called sys.exit)" if isinstance(error, SystemExit) else "")


def reason(error: BaseException) -> str:
    """Return why the operating system refused something, in its own words.

    Examples
    --------
    >>> reason(OSError(28, "Error writing bytes to file"))
    'No space left on device'
    """
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(error) or type(error).__name__


@contextmanager
def writing(path: Path, hint: str | None = None) -> Iterator[None]:
    """Turn a failure to write a file or folder into an error that names it.

    Libraries may hide the operating system's error behind one of their own, so the errors that led to it are
    looked at too.

    Parameters
    ----------
    path : Path
        What is being written; a temporary name is shown as the name that it is to become.
    hint : str, optional
        What to do next.

    Raises
    ------
    RunStoreError
        Naming the path, and why it can't be written.
    """
    try:
        yield
    except InvdesignError:
        raise
    except Exception as error:
        refusal = _refusal(error)
        if refusal is None:
            raise
        parts = [part[1 : -len(".partial")] if _is_temporary(part) else part for part in path.parts]
        raise RunStoreError(f"{Path(*parts)}: can't be written: {reason(refusal)}", hint) from error


def _refusal(error: BaseException | None) -> OSError | None:
    """Return the operating system's error that an exception is, or came from."""
    while error is not None:
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(".partial")


def near_match(name: str, known: Iterable[str]) -> str:
    """Return a hint: the closest known name, or all of them.

    Examples
    --------
    >>> near_match("lbfgs", ["lbfgsb", "slsqp"])
    "did you mean 'lbfgsb'?"
    """
    options = sorted(known)
    folded = {option.casefold(): option for option in options}
    begins = [option for key, option in folded.items() if name and key.startswith(name.casefold())]
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    if close or len(begins) == 1:
        return f"did you mean {(folded[close[0]] if close else begins[0])!r}?"
    if not options:
        return "none are available"
    return "choose from " + ", ".join(repr(option) for option in options)


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """Count things in English; `nouns` is a plural that does not end in -s.

    Examples
    --------
    >>> plural(1, "row"), plural(3, "row"), plural(2, "entry", "entries")
    ('1 row', '3 rows', '2 entries')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {nouns or noun + 's'}"
