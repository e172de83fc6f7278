"""What travels to workers and back: values as bytes, networks as files, the user's modules as text."""

from __future__ import annotations

import io
import os
import pickle
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ray.cloudpickle import CloudPickler

from invdesign_core.errors import NOT_FAULTS, PluginError, described
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.keras_file import load_model
from invdesign_core.surrogate.surrogate import untrained

OURS = ("invdesign_core", "invdesign_plugins")
"""Packages that are installed wherever there is a worker."""
VARIABLES = ("KERAS_BACKEND", "TF_CPP_", "JAX_", "XLA_")
"""What the names of environment variables begin with that decide how networks compute."""


_LOCK = type(threading.Lock())


class Source(NamedTuple):
    """A module's file where it comes from, and the text of it."""

    file: str
    content: bytes


class _Packer(CloudPickler):  # type: ignore[misc]
    """Pickles what a search or a training works with, without the programs that were compiled on the way."""

    def reducer_override(self, obj: Any) -> Any:
        """Say how an object is pickled."""
        keras = sys.modules.get("keras")
        if keras is not None and isinstance(obj, keras.Model):
            return _model_of, (_file_of(obj),)
        if isinstance(obj, _LOCK):
            return threading.Lock, ()
        own = type(obj).__module__.partition(".")[0] in OURS
        if own and is_dataclass(obj) and not isinstance(obj, type) and "__getstate__" not in vars(type(obj)):
            return _instance_of, (type(obj), {f.name: getattr(obj, f.name) for f in fields(obj)})
        return super().reducer_override(obj)


def pack(value: Any) -> bytes:
    """Return a value as bytes; what it computed and keeps beside its fields stays here."""
    file = io.BytesIO()
    try:
        _Packer(file).dump(value)
    except NOT_FAULTS:
        raise
    except Exception as error:
        raise PluginError(
            f"[compute]: what a worker needs can't be sent to it: {described(error).splitlines()[0]}",
            "functions and classes have to be in modules; or leave [compute] out",
        ) from error
    return file.getvalue()


def unpack(content: bytes) -> Any:
    """Return what was packed by a process that belongs to the same work."""
    return pickle.loads(content)


def _file_of(model: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder, backend.lean(), untrained(model):
        path = Path(folder, "model.keras")
        model.save(path)
        return path.read_bytes()


def _model_of(content: bytes) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        path.write_bytes(content)
        return load_model(path, allow_code=True)  # by now its code has run where it came from, by the user's consent


def _instance_of(kind: type[Any], values: Mapping[str, Any]) -> Any:
    made = object.__new__(kind)
    made.__dict__.update(values)
    return made


def travelling_modules(folder: Path) -> dict[str, Source]:
    """Return the user's modules that are imported, and those in a folder, by name."""
    beside = ((path.stem, path) for path in sorted(folder.glob("*.py")))
    return {name: Source(str(path), path.read_bytes()) for name, path in (*beside, *_imported())}


def _imported() -> Iterator[tuple[str, Path]]:
    """Give the imported modules that are part of no installation."""
    installed = [Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    for name, module in list(sys.modules.items()):
        file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if not isinstance(file, str) or not file.endswith(".py") or name.partition(".")[0] in (*OURS, "__main__"):
            continue
        path = Path(file).resolve()
        if path.is_file() and not any(path.is_relative_to(place) for place in installed):
            yield name, path


class TravelledModules(MetaPathFinder, SourceLoader):  # type: ignore[misc]
    """Lets Python import modules that have travelled here, where it finds none of that name."""

    def __init__(self, modules: Mapping[str, Source]) -> None:
        self._modules = modules

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return what to import for a name."""
        if name not in self._modules:
            return None
        return spec_from_file_location(name, self._modules[name].file, loader=self)

    def get_filename(self, name: str) -> str:
        """Return the file that a module comes from, which need not be there."""
        return self._modules[name].file

    def get_data(self, path: str | bytes) -> bytes:
        """Return the text of a module, by its file."""
        for source in self._modules.values():
            if source.file == path:
                return source.content
        raise OSError(f"{path!r} has not travelled here")


def variables() -> dict[str, str]:
    """Return the environment variables that decide how networks compute."""
    return {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)}
