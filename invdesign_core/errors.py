"""Everything that can go wrong for a user, each with a message, a hint and an exit code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from enum import IntEnum


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
    """A run folder can't be written or read."""

    exit_code = ExitCode.RUN_STORE


@contextmanager
def blamed(who: str) -> Iterator[None]:
    """Turn an exception of a plugin into an error that names the plugin.

    Parameters
    ----------
    who : str
        The plugin's kind and name.
    """
    try:
        yield
    except InvdesignError:
        raise
    except Exception as error:
        raise PluginError(
            f"{who} failed: {type(error).__name__}: {error}",
            "this is a fault of the plugin, or an option that it should have refused",
        ) from error


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
        return "there is none to choose from"
    return "choose from " + ", ".join(repr(option) for option in options)
