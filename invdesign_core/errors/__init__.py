"""Everything that can go wrong for a user, each with a message, a hint and an exit code.

Also what goes wrong outside: in plugins, in the operating system, and in the installed packages, of which any may be
damaged. Nothing here imports another package: one that asks all others for their metadata may be stopped by it.
"""

from __future__ import annotations

import errno
import os
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from enum import IntEnum
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from invdesign_core.errors.faults import USE_OPS, is_symbolic, told
from invdesign_core.errors.faults import described as described
from invdesign_core.errors.visible import visible


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
        self.message = visible(str(message))
        self.hint = None if hint is None else visible(str(hint))
        super().__init__(self.message)

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


class OutOfMemoryError(InvdesignError):
    """The memory of the machine, or of its accelerator, is not enough."""

    exit_code = ExitCode.RUN_STORE


class OutOfTimeError(InvdesignError):
    """The time limit ended a search before it had a result that can be returned."""

    exit_code = ExitCode.OUT_OF_TIME


class StopSolving(BaseException):
    """Raised through a solver when there is no time left; no `Exception`, so that none swallows it."""


NOT_FAULTS = (InvdesignError, KeyboardInterrupt, StopSolving)
"""What may pass through the code of a plugin without being its fault; `sys.exit` is one."""


FAULT = "this is a fault of the plugin, or an option that it should have refused"


@contextmanager
def plugin_errors(
    who: str, hint: str = FAULT, kind: type[InvdesignError] = PluginError, code: Iterable[Any] = ()
) -> Iterator[None]:
    """Turn whatever a plugin raises into an error that names the plugin; `sys.exit` too, which must not end us.

    `code` are objects of the plugin's: the message shows the innermost line of their package.
    """
    try:
        yield
    except NOT_FAULTS:
        raise
    except BaseException as error:
        raise out_of_memory(error, who) or fault_of(who, error, hint, kind, code) from error


def fault_of(
    who: str,
    error: BaseException,
    hint: str = FAULT,
    kind: type[InvdesignError] = PluginError,
    code: Iterable[Any] = (),
    what: str = "failed",
) -> InvdesignError:
    """Return the error that names a plugin, what it raised, and where."""
    return kind(f"{who} {what}: {told(error, code)}", USE_OPS if is_symbolic(error) else hint)


def out_of_memory(error: BaseException, who: str = "") -> OutOfMemoryError | None:
    """Return what to say where the memory was not enough, as Python, NumPy, JAX and TensorFlow tell it; else None."""
    for cause in _with_causes(error):
        theirs = type(cause).__module__.partition(".")[0] in ("jax", "jaxlib", "tensorflow")
        if isinstance(cause, MemoryError) or (theirs and "RESOURCE_EXHAUSTED" in str(cause)):
            said = (str(cause).splitlines() or [""])[0][:200]
            return OutOfMemoryError(
                f"{who + ': ' if who else ''}the memory is not enough{f' ({said})' if said else ''}",
                "close other programs, or ask for less at once: a smaller solver.starts, solver.rows_at_once or "
                "training.batch_size, training.side_by_side = 1, a smaller surrogate; what was finished is kept",
            )
    return None


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error, and those that led to it; the chain of one that is raised again may be a circle."""
    seen = set[int]()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def reason(error: BaseException) -> str:
    """Return why the operating system refused something, in its own words: number 28 is 'No space left on device'."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(error) or type(error).__name__


FREE = "free some disk space"
"""What to do where a disk is full; `writing` says something else in its place where that is not the reason."""


@contextmanager
def writing(path: Path, hint: str | None = None) -> Iterator[None]:
    """Turn a failure to write a file or folder into an error with the name that a temporary one is to become."""
    try:
        yield
    except InvdesignError:
        raise
    except Exception as error:
        # Libraries may hide the operating system's error behind one of their own.
        cause = next((each for each in _with_causes(error) if isinstance(each, OSError)), None)
        if cause is None:
            raise
        final = Path(*(re.sub(r"(?s)^\.(.*)\.partial$", r"\1", part) for part in path.parts))
        said = None if hint is None else hint.replace(FREE, remedy(cause))
        raise RunStoreError(f"{final}: can't be written: {reason(cause)}", said) from error


def remedy(error: BaseException) -> str:
    """Return what to do where a file could not be written, by the operating system's reason among the causes."""
    numbers = {each.errno for each in _with_causes(error) if isinstance(each, OSError)}
    return "make the folder writable" if numbers & {errno.EROFS, errno.EACCES, errno.EPERM} else FREE


def near_match(name: str, known: Iterable[str]) -> str:
    """Return a hint: the closest known name, or all of them where none is close.

    Examples
    --------
    >>> near_match("lbfgs", ["lbfgsb", "slsqp"])
    "did you mean 'lbfgsb'?"
    >>> near_match("x3", ["x1", "temperature"])
    "did you mean 'x1'?"
    >>> near_match("cat", ["a", "T"])
    "choose from 'T', 'a'"
    """
    options = sorted(known)
    folded = {option.casefold(): option for option in options}
    begins = [option for key, option in folded.items() if name and key.startswith(name.casefold())]
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    if len(name) == 2 and not close:  # one of two letters, as in x1 and x3
        pairs = [option for option in folded if len(option) == 2]
        close = get_close_matches(name.casefold(), pairs, n=1, cutoff=0.5)
    if close or len(begins) == 1:
        return f"did you mean {(folded[close[0]] if close else begins[0])!r}?"
    if not options:
        return "none are available"
    return "choose from " + ", ".join(repr(option) for option in options)


def require(value: object, kinds: type | tuple[type, ...], place: str, what: str, hint: str | None = None) -> None:
    """Refuse an argument of a public function that is of no such kind; `what` names them in words."""
    if isinstance(value, bool) or not isinstance(value, kinds):  # true and false are no numbers
        raise ConfigError(f"{place}: found {value!r}, expected {what}", hint)


def require_section(value: object, place: str) -> None:
    """Refuse what is no mapping from names to values."""
    require(value, Mapping, place, "a mapping of names to values")
    for key in value:  # type: ignore[attr-defined]
        require(key, str, place, "a name for every value")


def near_or_all(name: str, known: Iterable[str], at_most: int = 20) -> str:
    """Return a hint: the closest known name, if any, and the names that there are.

    Examples
    --------
    >>> near_or_all("val_accuracy", ["loss", "mae"])
    "choose from 'loss', 'mae'"
    """
    options = sorted(map(str, known))
    near = near_match(name, options)
    if not near.startswith("did you mean") or len(options) == 1:
        return near
    listed = ", ".join(map(repr, options[:at_most])) + (", …" if len(options) > at_most else "")
    return f"{near} The names are {listed}"


ESCAPES = {"\t": "t", "\n": "n", "\r": "r", "\b": "b", "\f": "f", "\a": "a", "\v": "v"}
"""Characters that a backslash and a letter stand for between double quotes."""


def no_such_file(path: Path) -> tuple[str, str | None]:
    r"""Return the message that a file is missing, on one line, and a hint: an escape in its name, or what is like it.

    Examples
    --------
    >>> no_such_file(Path("C:\temp.csv"))[0]
    'C:<tab>emp.csv: there is no such file'
    """
    text = str(path)
    if not any(sign in text for sign in ESCAPES):
        near = near_match(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else None
        return f"{path}: there is no such file", near
    names = {"\t": "<tab>", "\n": "<line break>"}
    shown = "".join(names.get(sign, f"<\\{ESCAPES[sign]}>" if sign in ESCAPES else sign) for sign in text)
    begins = re.search(r"[A-Za-z]:[^/]*$", text)
    meant = "".join(f"\\{ESCAPES[sign]}" if sign in ESCAPES else sign for sign in (begins[0] if begins else path.name))
    slashes = meant.replace("\\", "/")
    return (
        f"{shown}: there is no such file",
        f"between double quotes a \\ begins an escape: write '{meant}' in single quotes, or \"{slashes}\"; in Python "
        f"r'{meant}'",
    )


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """Count things in English; `nouns` is a plural that does not end in -s."""
    return f"{count} {noun}" if count == 1 else f"{count} {nouns or noun + 's'}"


class Damaged(NamedTuple):
    """A distribution whose entry points can't be read: the file at fault, and what is wrong with it."""

    name: str
    version: str
    file: str
    fault: str


def damaged() -> list[Damaged]:
    """Return the distributions whose entry points can't be read: they stop whoever asks for those of all."""
    found = []
    for dist in installed():
        try:
            _ = dist.entry_points
        except Exception as error:
            file = str(Path(str(getattr(dist, "_path", ""))) / "entry_points.txt")
            found.append(Damaged(*identity(dist), file, _first_fault(dist) or described(error)))
    return found


def stopped_by(error: Exception) -> PluginError | None:
    """Return what to say of an error of an import that read the metadata of all distributions, else None."""
    files = [Path(frame.filename).parts for frame in traceback.extract_tb(error.__traceback__)]
    if not any("importlib" in parts or "importlib_metadata" in parts for parts in files):
        return None
    for item in damaged():
        return PluginError(
            f"the installed package {item.name} is damaged: {item.file}: {item.fault}",
            "reinstall or uninstall it: it stops every program that looks for plugins in the installed packages",
        )
    return None


def installed() -> list[metadata.Distribution]:
    """Return the installed distributions; of several with one name the first on the import path counts."""
    from packaging.utils import canonicalize_name

    found: dict[str, metadata.Distribution] = {}
    for dist in metadata.distributions():
        found.setdefault(canonicalize_name(identity(dist)[0]), dist)
    return list(found.values())


def own_version() -> str:
    """Return the version of this core, which plugins may ask for."""
    try:
        return metadata.version("invdesign")
    except metadata.PackageNotFoundError:  # a checkout that was never installed
        return "0+unknown"


def identity(dist: metadata.Distribution | None) -> tuple[str, str]:
    """Return a distribution's name and version, from the name of its folder where its metadata don't say them."""
    folder = Path(str(getattr(dist, "_path", ""))).name
    stem = folder.rpartition(".")[0] if folder.endswith((".dist-info", ".egg-info")) else ""
    name, _, version = stem.partition("-")
    return said(dist, "Name") or name or "unknown", said(dist, "Version") or version.partition("-")[0] or "unknown"


def said(dist: metadata.Distribution | None, key: str) -> str | None:
    """Return a line of a distribution's metadata, or None where they can't be read or don't say."""
    try:
        return None if dist is None else str(dist.metadata[key] or "") or None
    except Exception:  # missing, or in another encoding; each version of Python raises something else
        return None


def _first_fault(dist: metadata.Distribution) -> str | None:
    """Return the first line of ``entry_points.txt`` that is neither ``[group]`` nor ``name = value``, in words."""
    try:
        text = dist.read_text("entry_points.txt") or ""
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 (byte {error.start + 1})"
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if line and not line.startswith(("#", "[")) and "=" not in line:
            return f"line {number}: found {line!r}, expected name = value"
    return None
