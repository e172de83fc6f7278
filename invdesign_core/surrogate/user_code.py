"""Python code of the user's own: modules found beside a file first, then on the import path."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from invdesign_core.errors import NOT_FAULTS, ConfigError, PluginError, described, near_match

MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
PLACE = re.compile(rf"{MODULE.pattern}:{MODULE.pattern}")
_SHADOWED: dict[tuple[Path, str], dict[str, ModuleType]] = {}
"""Modules of a folder that another module of the same name keeps out of `sys.modules`: each is executed only once."""


@dataclass(frozen=True)
class UserObject:
    """A function or another object of the user's own, and what the user calls it.

    Attributes
    ----------
    place : str
        ``module:name``.
    value : object
        The object itself.
    folder : Path
        Where its code may import from while it runs, besides the import path.
    whole_file : bool
        Whether all of its file counts as its code. Of an object that was handed over in Python only the text of its
        own definition does: the script around it changes when it asks to resume.
    """

    place: str
    value: Any
    folder: Path
    whole_file: bool = True

    @staticmethod
    def is_place(text: str) -> bool:
        """Whether a text has the form ``module:name``."""
        return PLACE.fullmatch(text) is not None

    @classmethod
    def find(cls, place: str, folder: Path, what: str) -> UserObject:
        """Import the module, and take the name from it.

        Parameters
        ----------
        place : str
            ``module:name``.
        folder : Path
            Where the module is looked for first: the folder of the experiment file.
        what : str
            The option that names the place, for messages.

        Raises
        ------
        ConfigError
            If the module is missing or fails, or has no such name.
        """
        module, _, path = place.partition(":")
        found: Any = import_module(module, folder, what)
        for name in path.split("."):
            try:
                found = getattr(found, name)
            except AttributeError:
                public = [key for key in getattr(found, "__dict__", {}) if not key.startswith("_")]
                owner = getattr(found, "__file__", None) or getattr(found, "__qualname__", module)
                raise ConfigError(f"{what}: there is no {name!r} in {owner}", near_match(name, public)) from None
            except NOT_FAULTS:
                raise
            except BaseException as error:  # a module may compute its names
                raise ConfigError(f"{what}: looking for {name!r} failed: {_fault(error, folder)}") from error
        return cls(place, found, folder)

    @classmethod
    def of(cls, value: Any) -> UserObject:
        """Name an object by where it was defined."""
        item = value if hasattr(value, "__qualname__") else type(value)
        try:
            folder = Path(inspect.getfile(item)).resolve().parent
        except (OSError, TypeError):  # built in, or typed at a prompt
            folder = Path.cwd()
        return cls(f"{item.__module__}:{item.__qualname__}", value, folder, whole_file=False)

    def code(self) -> bytes:
        """Return the text of its file or of its definition; nothing for what was typed at a prompt."""
        item = self.value if hasattr(self.value, "__qualname__") else type(self.value)
        try:
            file = inspect.getfile(item)
            return Path(file).read_bytes() if self.whole_file else inspect.getsource(item).encode()
        except (OSError, TypeError):
            return b""

    @contextmanager
    def running(self, who: str, hint: str | None = None) -> Iterator[None]:
        """Run the user's code: it may import what lies beside it, and its exceptions become messages.

        Raises
        ------
        PluginError
            Naming the line where the user's code failed.
        """
        with beside(self.folder):
            try:
                yield
            except NOT_FAULTS:
                raise
            except BaseException as error:  # SystemExit too: a plugin must not end the program
                raise PluginError(f"{who} failed: {_fault(error, self.folder)}", hint) from error


@contextmanager
def beside(folder: Path) -> Iterator[None]:
    """Let imports look into a folder first, and leave the import path as it was."""
    before = list(sys.path)
    sys.path.insert(0, str(folder.resolve()))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def import_module(name: str, folder: Path, what: str) -> ModuleType:
    """Import a module of the user's, which lies in a folder or on the import path; `what` names the option."""
    top = name.partition(".")[0]
    cached = sys.modules.get(top)
    hidden: dict[str, ModuleType] = {}
    if cached is not None and _is_in(folder, name) and not _comes_from(cached, folder):
        hidden = _take_out(top)  # another module of that name is there already, but this one is meant
        sys.modules.update(_SHADOWED.get((folder.resolve(), top), {}))
    try:
        with beside(folder):
            return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a module that is a script must not end the program
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and (name == missing or name.startswith(f"{missing}.")):
            raise ConfigError(
                f"{what}: there is no module {missing!r} in {folder} or on Python's import path",
                near_match(name, [path.stem for path in folder.glob("*.py")]),
            ) from None
        raise ConfigError(
            f"{what}: importing {name!r} failed: {_fault(error, folder)}",
            f"install {missing}, or put it beside the module" if missing else None,
        ) from error
    finally:
        if hidden:
            _SHADOWED[folder.resolve(), top] = _take_out(top)
            sys.modules.update(hidden)


def import_named(item: str, folder: Path, what: str) -> ModuleType:
    """Import a module that is named, or given as the path of its file from a folder."""
    if not item.endswith(".py"):
        if not MODULE.fullmatch(item):
            raise ConfigError(f"{what}: found {item!r}, expected a module's name, or a file that ends in .py")
        return import_module(item, folder, what)
    path = folder / item
    if not path.is_file():
        near = near_match(path.name, [p.name for p in path.parent.glob("*.py")]) if path.parent.is_dir() else None
        raise ConfigError(f"{what}: there is no file {item!r}", near)
    return import_module(path.stem, path.parent, what)


def keras_objects(module: ModuleType) -> dict[str, Any]:
    """Return the classes and functions that a model file may mean by a bare name: a module's own, less Keras' names."""
    import keras

    places = (keras.activations, keras.constraints, keras.initializers, keras.losses, keras.metrics, keras.regularizers)
    return {
        name: item
        for name, item in vars(module).items()
        if isinstance(item, (type, FunctionType))
        and item.__module__ == module.__name__
        and not any(hasattr(place, name) for place in places)
    }


def _fault(error: BaseException, folder: Path) -> str:
    """Return an exception in one line, with the place in the user's files where it came up."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({Path(error.filename or '').name}, line {error.lineno})"
    text = described(error).splitlines()[0]
    inside = folder.resolve()
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if Path(frame.filename).resolve().is_relative_to(inside)]
    return f"{text} ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else text


def _take_out(top: str) -> dict[str, ModuleType]:
    """Remove a module and those below it from Python's table of modules."""
    return {key: sys.modules.pop(key) for key in list(sys.modules) if key == top or key.startswith(f"{top}.")}


def _is_in(folder: Path, name: str) -> bool:
    """Whether a folder holds a module."""
    path, top = folder.joinpath(*name.split(".")), folder / name.partition(".")[0]
    return any(p.is_file() for p in (path.with_suffix(".py"), path / "__init__.py", top / "__init__.py"))


def _comes_from(module: ModuleType, folder: Path) -> bool:
    """Whether a top-level module or package lies in a folder."""
    own = getattr(module, "__dict__", {})  # its own __getattr__, which may do anything, is not asked
    file = own.get("__file__")
    places = [Path(file)] if file else []
    places = [place.parent if place.name == "__init__.py" else place for place in places]
    places += [Path(path) for path in own.get("__path__") or []]
    return any(place.resolve().parent == folder.resolve() for place in places)
