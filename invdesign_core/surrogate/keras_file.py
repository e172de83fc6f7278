"""Model files of any origin: loaded safely, or refused with what is wrong and what to do."""

from __future__ import annotations

import copy
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign_core.errors import NOT_FAULTS, DataError, RunStoreError, reason
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.keras_file_faults import Archive

if TYPE_CHECKING:
    import keras

FUNCTIONS = ("activations", "constraints", "initializers", "losses", "metrics", "optimizers", "regularizers")
"""Where Keras looks up a function of which a file says no more than the name."""


def load_model(path: Path, allow_code: bool = False) -> keras.Model:
    """Load a ``.keras`` file without its loss and optimizer, which solving doesn't need.

    Parameters
    ----------
    path : Path
        The file.
    allow_code : bool
        Whether Python code in the file (`Lambda` layers) may run.

    Raises
    ------
    DataError
        If the file is missing, is no Keras model, or would run code; naming the layer at fault.
    """
    import keras

    archive = Archive.read(path)
    if not allow_code:
        _refuse_code(archive)
    _refuse_unknown(archive)
    with _readable(archive) as readable, backend.lean():
        try:
            return keras.saving.load_model(readable, compile=False, safe_mode=not allow_code)
        except NOT_FAULTS:
            raise
        except BaseException as error:  # Keras and layers raise nearly anything here; each is a fault of the file
            raise _diagnosis(archive, error, allow_code) from None


@contextmanager
def _readable(archive: Archive) -> Iterator[Path]:
    """Yield a file that Keras can read: the archive itself, or a copy of it without what Keras stumbles over.

    Raises
    ------
    RunStoreError
        If a copy is needed, and there is nowhere to write it.
    """
    if not archive.compiled_inside and archive.path.suffix == ".keras":
        yield archive.path
        return
    with ExitStack() as stack:
        try:
            copied = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "model.keras"
            archive.rewrite(copied)
        except OSError as error:
            raise RunStoreError(
                f"{archive.path}: no copy of it can be written to a temporary folder: {reason(error)}",
                "free some disk space there, or set $TMPDIR to another folder",
            ) from None
        yield copied


@contextmanager
def evaluated(path: Path) -> Iterator[None]:
    """Turn whatever a model's layers raise while it is evaluated into an error of its file."""
    try:
        yield
    except NOT_FAULTS:
        raise
    except BaseException as error:
        raise DataError(
            f"{path}: the model can't be evaluated: {type(error).__name__}: {_reason(error)}",
            "try model.predict on a few rows; a layer that uses TensorFlow or JAX directly needs that --backend",
        ) from error


def _refuse_code(archive: Archive) -> None:
    """Refuse a file that holds Python code, before Keras sees it."""
    lambdas = [part.layer for part in archive.parts() if part.class_name == "__lambda__"]
    if lambdas:
        raise DataError(
            f"{archive.path}: the model holds Python code ({_layers(lambdas)}: Lambda), which loading would run",
            "add --allow-code (in Python allow_code=True) if you trust whoever made the file: its code can do on this "
            "machine whatever you can; "
            "or build that layer from keras.ops or a class of your own, and save the model again",
        )


def _refuse_unknown(archive: Archive) -> None:
    """Refuse a file with classes or functions of its author's own that nobody has imported."""
    unknown = [part for part in archive.parts() if _is_unknown(part.config)]
    if not unknown:
        return
    first = unknown[0]
    is_function = first.class_name == "function"
    name = str(first.config["config"] if is_function else first.config.get("registered_name") or first.class_name)
    layers = _layers(p.layer for p in unknown if p.config.get("config" if is_function else "registered_name") == name)
    found = f"{layers or _layers([first.layer])}: {'the function' if is_function else 'the class'} {name!r}"
    raise DataError(
        f"{archive.path}: {found} is not Keras' own, and the file doesn't hold its code",
        "name the Python module or file that defines it, such as --import my_layers.py; in Python, register it "
        "(@keras.saving.register_keras_serializable()) and import it before the model is loaded",
    )


def _is_unknown(config: Any) -> bool:
    """Whether a serialised object is neither Keras' own nor registered."""
    import keras

    name, module = config["class_name"], config.get("module", "")
    if str(name).startswith("__"):
        return False
    own = str(module).partition(".")[0] in ("keras", "tf_keras", "tensorflow")
    if name == "function":
        called = config["config"]
        registered = keras.saving.get_custom_objects()
        if own or not isinstance(called, str) or keras.saving.get_registered_object(called) is not None:
            return False
        # Keras up to 3.6 wrote a registered function by its bare name.
        ours = any(key.endswith(f">{called}") for key in registered)
        return not ours and not any(hasattr(getattr(keras, place), called) for place in FUNCTIONS)
    if "module" not in config or own:
        return False
    return keras.saving.get_registered_object(config.get("registered_name") or name) is None


def _diagnosis(archive: Archive, error: BaseException, allow_code: bool) -> DataError:
    """Return what is wrong with a file that Keras can't load: the first layer that can't be made, and why."""
    import keras

    found, culprit = _reason(error), None
    for part in archive.parts():
        if part.is_layer and "layers" not in part.config["config"]:
            try:
                keras.saving.deserialize_keras_object(copy.deepcopy(dict(part.config)), safe_mode=not allow_code)
            except NOT_FAULTS:
                raise
            except BaseException as fault:
                found, culprit = _reason(fault), f"layer {part.layer!r} ({part.class_name})"
                break
    message = f"{archive.path}: {culprit or 'the model'} can't be loaded: {found}"
    if archive.version is None:
        return DataError(message, "save the model again; if the file was copied, copy it again")
    message += f" (the file was written by Keras {archive.version}, this is Keras {keras.__version__})"
    if archive.version == keras.__version__:
        return DataError(message, "the file was changed after it was written: copy it again, or save the model again")
    return DataError(
        message,
        f"install the Keras that wrote it (pip install 'keras=={archive.version}'), or load the model there, leave "
        "out what this one doesn't support, and save it again",
    )


def _reason(error: BaseException) -> str:
    """Return the innermost of the messages that Keras nests, without the configurations between them."""
    text = re.sub(r"\x1b\[\d*m", "", str(error)).rpartition("Exception encountered: ")[2]
    text = re.sub(r"^Exception encountered when calling (.+)\.\s+", r"\1: ", text.strip())
    text = re.split(r"\s*Full object config|\s*Full config|\n", text)[0] or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}…"


def _layers(names: Iterable[str]) -> str:
    listed = list(dict.fromkeys(names))
    return f"layer{'s' * (len(listed) > 1)} " + ", ".join(map(repr, listed)) if listed else ""
