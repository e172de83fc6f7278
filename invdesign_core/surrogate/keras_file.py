"""Model files of any origin: loaded safely, or refused with what is wrong and what to do."""

from __future__ import annotations

import copy
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign_core.data.files.unpacked import check_unpacked
from invdesign_core.errors import NOT_FAULTS, DataError, RunStoreError, no_such_file, plugin_errors, plural, reason
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.user_code import keras_objects
from invdesign_core.surrogate.weights_size import check_size

if TYPE_CHECKING:
    import keras

GROUP = "invdesign"
"""The entry points of installed plugins."""
CONFIG, METADATA = "config.json", "metadata.json"
EXPECTED = "expected a file that model.save('NAME.keras') wrote"
FUNCTIONS = ("activations", "constraints", "initializers", "losses", "metrics", "optimizers", "regularizers")
"""Where Keras looks up a function of which a file says no more than the name."""


@dataclass(frozen=True)
class Part:
    """A serialised layer, function or initializer of a model, and the innermost layer that holds it, or that it is."""

    layer: str
    config: Mapping[str, Any]
    is_layer: bool

    @property
    def class_name(self) -> str:
        """What it is an instance of."""
        return str(self.config["class_name"])


@dataclass(frozen=True)
class Archive:
    """A `.keras` file that is whole: the model's configuration, and the Keras that wrote it."""

    path: Path
    config: Mapping[str, Any]
    version: str | None

    @classmethod
    def read(cls, path: Path) -> Archive:
        """Read a file's configuration; none of its code runs, and no weight is read."""
        _refuse_others(path)
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                if CONFIG not in names:
                    raise DataError(f"{path}: this is not a Keras model, but another zip file (no {CONFIG})", EXPECTED)
                check_unpacked(archive, path, path.stat().st_size)
                config = json.loads(archive.read(CONFIG))
                metadata = json.loads(archive.read(METADATA)) if METADATA in names else {}
        except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
            raise DataError(f"{path}: this file is damaged: {error}", "copy or download it again") from None
        if not isinstance(config, dict) or "class_name" not in config:
            raise DataError(f"{path}: this is not a Keras model ({CONFIG} does not describe one)", EXPECTED)
        return cls(path, config, str(metadata["keras_version"]) if "keras_version" in metadata else None)

    def parts(self) -> Iterator[Part]:
        """Return every object of the model, the model first; how it was compiled is left out."""
        return _walk(self.config, "", True)

    @property
    def compiled_inside(self) -> bool:
        """Whether a model in the model carries its loss and optimizer along, which Keras would want to load."""
        return any(part.config.get("compile_config") for part in list(self.parts())[1:])

    def rewrite(self, target: Path) -> None:
        """Write the file again without the losses and optimizers of the models in it."""
        with zipfile.ZipFile(self.path) as source, zipfile.ZipFile(target, "w") as written:
            for item in source.infolist():
                with source.open(item) as old, written.open(item.filename, "w", force_zip64=True) as new:
                    if item.filename == CONFIG:
                        new.write(json.dumps(_uncompiled(self.config)).encode())
                    else:
                        shutil.copyfileobj(old, new)


def is_model_folder(path: Path) -> bool:
    """Whether a folder holds a model, so that it is no run folder."""
    return any((path / name).is_file() for name in ("saved_model.pb", CONFIG))


def _refuse_others(path: Path) -> None:
    """Say what a file is, where it is no zip file."""
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            raise DataError(
                f"{path}: this folder is a TensorFlow SavedModel, which Keras 3 can't read",
                "load it with the TensorFlow that wrote it, and save it with model.save('NAME.keras')",
            )
        if (path / CONFIG).is_file():
            raise DataError(f"{path}: this folder is an unpacked Keras model", "save it with zipped=True, as one file")
        raise DataError(f"{path}: this is a folder and holds no Keras model", EXPECTED)
    if not path.exists():
        raise DataError(*no_such_file(path))
    with path.open("rb") as file:
        begin = file.read(200)
    if begin.startswith(b"\x89HDF"):
        raise _hdf5(path)
    if zipfile.is_zipfile(path):
        return
    if begin.startswith(b"PK\x03\x04"):
        raise DataError(
            f"{path}: this is only part of a Keras model: the end of the file is missing "
            f"(found {plural(path.stat().st_size, 'byte')})",
            "copy or download it again, or save the model again",
        )
    if begin.startswith(b"version https://git-lfs"):
        raise DataError(f"{path}: this is a Git LFS pointer, not the model itself", "fetch it: git lfs pull")
    raise DataError(f"{path}: this is not a Keras model" + ("" if begin else ", but an empty file"), EXPECTED)


def _hdf5(path: Path) -> DataError:
    """Return what is wrong with an HDF5 file, and how to make a `.keras` file of it."""
    import h5py  # type: ignore[import-untyped]

    named = "" if path.suffix in (".h5", ".hdf5") else f", whatever its name says ({path.suffix or 'no ending'})"
    what = f"{path}: this is an HDF5 file{named}"
    try:
        with h5py.File(path, "r") as file:
            whole = "model_config" in file.attrs
            version = str(file.attrs.get("keras_version", "an unknown version"))
    except OSError:
        return DataError(f"{what}, and it is damaged or incomplete", "copy or download it again")
    if not whole:
        return DataError(
            f"{what} with weights only: it does not contain the layers",
            "build the model in Python, call model.load_weights, and save it with model.save('NAME.keras')",
        )
    rename = f"rename it to {path.stem}.h5, then c" if named else "c"
    return DataError(
        f"{what}, Keras' old format (written by Keras {version})",
        f"{rename}onvert it in Python: "
        f"keras.saving.load_model('{path.stem}.h5', compile=False).save('{path.stem}.keras')",
    )


def _walk(node: Any, layer: str, is_layer: bool) -> Iterator[Part]:
    """Go through a configuration; the elements of a list called `layers`, and what `layer` holds, are layers."""
    if isinstance(node, list):
        for item in node:
            yield from _walk(item, layer, is_layer)
        return
    if not isinstance(node, dict):
        return
    if not ("class_name" in node and "config" in node):
        for key, value in node.items():
            yield from _walk(value, layer, key in ("layers", "layer"))
        return
    inner = node["config"]
    if is_layer:
        name = inner.get("name") if isinstance(inner, dict) else None
        layer = str(name or node.get("name") or layer or node["class_name"])
    yield Part(layer, node, is_layer)
    yield from _walk(inner, layer, False)
    yield from _walk(node.get("inbound_nodes"), layer, False)


def _uncompiled(node: Any) -> Any:
    """Return a configuration without losses and optimizers."""
    if isinstance(node, list):
        return [_uncompiled(item) for item in node]
    if not isinstance(node, dict):
        return node
    bare = "class_name" in node and "config" in node
    return {key: {} if bare and key == "compile_config" else _uncompiled(value) for key, value in node.items()}


def load_model(path: Path, allow_code: bool = False) -> keras.Model:
    """Load a ``.keras`` file without its loss and optimizer; `allow_code` lets Python code in it (`Lambda`) run."""
    import keras

    archive = Archive.read(path)
    if not allow_code:
        _refuse_code(archive)
    found = _objects_of_plugins(archive)
    with ExitStack() as stack:
        if found:  # a scope hides those around it, so there is none where it isn't needed
            stack.enter_context(keras.saving.custom_object_scope(found))
        _refuse_unknown(archive)
        with zipfile.ZipFile(path) as file:
            check_size(file, archive.config, path)
        readable = stack.enter_context(_readable(archive))
        stack.enter_context(backend.lean())
        try:
            return keras.saving.load_model(readable, compile=False, safe_mode=not allow_code)
        except NOT_FAULTS:
            raise
        except BaseException as error:  # Keras and layers raise nearly anything here; each is a fault of the file
            raise _diagnosis(archive, error, allow_code) from None


@contextmanager
def _readable(archive: Archive) -> Iterator[Path]:
    """Yield a file that Keras can read: the archive itself, or a copy of it without what Keras stumbles over."""
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
                "free some disk space, or set $TMPDIR to another folder",
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


def _objects_of_plugins(archive: Archive) -> dict[str, Any]:
    """Import the modules of installed plugins that the file names for classes nobody has registered yet.

    Returned are the classes and functions of these modules by name, since not every author registers them. A file can't
    have anything else imported: the name of a module counts only where its top-level package is that of an entry point,
    or of the distribution of one.
    """
    named = {str(part.config.get("module") or "") for part in archive.parts() if _is_unknown(part.config)}
    found: dict[str, Any] = {}
    if not any(named):
        return found
    installed = _packages_of_plugins()
    for module in sorted(named):
        if module.partition(".")[0] in installed:
            with plugin_errors(f"{archive.path}: importing {module!r}, which the model needs,", kind=DataError):
                found |= keras_objects(import_module(module))
    return found


def _packages_of_plugins() -> set[str]:
    """Return the top-level packages of the distributions that bring plugins."""
    found = set()
    for entry in metadata.entry_points(group=GROUP):
        found.add(entry.module.partition(".")[0])
        try:
            files = (entry.dist.files if entry.dist is not None else None) or []
        except Exception:  # the distribution's list of its files is damaged
            files = []
        code = [file for file in files if file.suffix == ".py" and ".." not in file.parts]
        found |= {file.parts[0].removesuffix(".py") for file in code}
    return found


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
    """List layers in words."""
    listed = list(dict.fromkeys(names))
    return f"layer{'s' * (len(listed) > 1)} " + ", ".join(map(repr, listed)) if listed else ""
