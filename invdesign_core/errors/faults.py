"""Where in somebody's code an exception came up, and what a value is, in a few words."""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

SYMBOLIC = ("TracerArrayConversionError", "TracerBoolConversionError", "TracerIntegerConversionError")
"""JAX's words for a value that is taken for a number while a function is compiled; TensorFlow has others."""
USE_OPS = (
    "the backend compiles this code, so that it sees tensors without values: write it in keras.ops, with ops.where in "
    "place of `if`, and without NumPy, float() or math"
)


def described(error: BaseException) -> str:
    """Return an exception's type and text; whatever its own text raises is left out."""
    name = type(error).__name__
    try:
        text = str(error).strip()
    except Exception:
        text = ""
    return (f"{name}: {text}" if text else name) + (" (it called sys.exit)" if isinstance(error, SystemExit) else "")


def told(error: BaseException, code: Iterable[Any] = ()) -> str:
    """Return an exception in words, with the place in the given code where it came up.

    `code` are objects, classes, functions or modules: all of the package that they come from is meant.
    """
    text, place = described(error), place_in(error, code)
    if place is None:
        return text
    return f"{text} ({place})" if "\n" not in text else f"{text}\n  in {place}"


def place_in(error: BaseException, code: Iterable[Any]) -> str | None:
    """Return file, line and source line of the innermost frame inside the given code, or None where there is none."""
    files, folders = _homes(code)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        inside = next((folder for folder in folders if path.is_relative_to(folder)), None)
        if frame.filename not in files and inside is None:
            continue
        shown = path.relative_to(inside.parent).as_posix() if inside is not None else path.name
        source = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
        return f"{shown}, line {frame.lineno}" + (f": {source}" if source else "")
    return None


def is_symbolic(error: BaseException) -> bool:
    """Whether code failed because it took a tensor without a value for numbers, on either backend or in Keras."""
    text = described(error)
    return type(error).__name__ in (*SYMBOLIC, "ConcretizationTypeError", "OperatorNotAllowedInGraphError") or any(
        words in text for words in ("JitTracer", "Tracer<", "symbolic tf.Tensor", "KerasTensor cannot be used as")
    )


def kind_of(value: Any) -> str:
    """Return what a value is for a message: its type, with its shape or length, and itself where that is short.

    Examples
    --------
    >>> kind_of(None), kind_of([1, 2, 3]), kind_of("mse")
    ('None', 'a list of 3', "'mse'")
    """
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else f"{value[:60]}…")
    name = type(value).__name__
    article = "an" if name[:1].lower() in "aeiou" else "a"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    try:
        shape = value.shape
        return f"{article} {name} of shape {tuple(shape)}"
    except Exception:
        pass
    if isinstance(value, list | tuple | dict | set | frozenset):
        return f"{article} {name} of {len(value)}"
    return f"{article} {name}"


def _homes(code: Iterable[Any]) -> tuple[set[str], list[Path]]:
    """Return the files of some code, and the folders of the packages that it belongs to."""
    files: set[str] = set()
    folders: list[Path] = []
    for item in code:
        owner = getattr(item, "__func__", item)
        owner = owner if isinstance(owner, type | FunctionType | ModuleType) else type(owner)
        if isinstance(owner, ModuleType):
            name = owner.__name__
        else:
            name = owner.__module__
            bodies = vars(owner).values() if isinstance(owner, type) else (owner,)
            codes = (getattr(getattr(body, "__func__", body), "__code__", None) for body in bodies)
            files |= {found.co_filename for found in codes if isinstance(found, CodeType)}
        top = sys.modules.get(name.partition(".")[0])
        if top is None or name.partition(".")[0] in ("builtins", "functools"):
            continue
        folders += [Path(path) for path in getattr(top, "__path__", None) or []]
        file = vars(top).get("__file__")
        if file:
            files.add(str(file))
    return files, folders
