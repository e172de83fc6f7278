"""The installed distributions, of which any may be damaged: whoever asks all of them has to expect that.

Nothing here imports pydantic, which is one of those that ask, and ends where one distribution is damaged.
"""

from __future__ import annotations

import traceback
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from invdesign_core.errors import PluginError, described

ENDINGS = (".dist-info", ".egg-info")
"""Of the folders that hold the metadata of distributions."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Damaged:
    """A distribution whose entry points can't be read.

    Attributes
    ----------
    name, version : str
        The distribution.
    file : str
        The file at fault.
    fault : str
        What is wrong with it.
    """

    name: str
    version: str
    file: str
    fault: str


def entry_points(group: str) -> tuple[list[metadata.EntryPoint], list[Damaged]]:
    """Return the entry points of a group, and the distributions whose entry points can't be read."""
    with suppress(Exception):
        return list(metadata.entry_points(group=group)), []
    points: list[metadata.EntryPoint] = []  # one is damaged, whichever it is: ask each for itself
    for dist in _distributions():
        with suppress(Exception):
            points += dist.entry_points.select(group=group)
    return points, damaged()


def damaged() -> list[Damaged]:
    """Return the distributions whose entry points can't be read: they stop whoever asks for those of all."""
    found = []
    for dist in _distributions():
        try:
            _ = dist.entry_points
        except Exception as error:
            folder = getattr(dist, "_path", None)
            file = "entry_points.txt" if folder is None else str(Path(str(folder)) / "entry_points.txt")
            found.append(Damaged(*identity(dist), file, _first_fault(dist) or described(error)))
    return found


def stopped_by(error: Exception) -> PluginError | None:
    """Return what to say of an error that came up in reading the metadata of all distributions, else None.

    Parameters
    ----------
    error : Exception
        Raised while something was imported.
    """
    files = [Path(frame.filename).parts for frame in traceback.extract_tb(error.__traceback__)]
    if not any("importlib" in parts or "importlib_metadata" in parts for parts in files):
        return None
    for item in damaged():
        return PluginError(
            f"the installed package {item.name} is damaged: {item.file}: {item.fault}",
            "reinstall or uninstall it: it stops every program that looks for plugins in the installed packages",
        )
    return None


def identity(dist: metadata.Distribution | None) -> tuple[str, str]:
    """Return a distribution's name and version, from the name of its folder where its metadata don't say them."""
    folder = Path(str(getattr(dist, "_path", UNKNOWN))).name
    stem = folder.rpartition(".")[0] if folder.endswith(ENDINGS) else ""
    name, _, version = stem.partition("-")
    return said(dist, "Name") or name or UNKNOWN, said(dist, "Version") or version.partition("-")[0] or UNKNOWN


def said(dist: metadata.Distribution | None, key: str) -> str | None:
    """Return a line of a distribution's metadata, or None where they can't be read or don't say."""
    try:
        return None if dist is None else str(dist.metadata[key] or "") or None
    except Exception:  # missing, or in another encoding; each version of Python raises something else
        return None


def normal(name: str) -> str:
    """Return a distribution's name as all of its spellings have it."""
    return name.lower().replace("_", "-").replace(".", "-")


def _distributions() -> list[metadata.Distribution]:
    """Return the installed distributions; of several with one name the first on the import path counts."""
    found: dict[str, metadata.Distribution] = {}
    for dist in metadata.distributions():
        found.setdefault(normal(identity(dist)[0]), dist)
    return list(found.values())


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


def own_version() -> str:
    """Return the version of this core, which plugins may ask for."""
    try:
        return metadata.version("invdesign")
    except metadata.PackageNotFoundError:  # a checkout that was never installed
        return "0+unknown"
