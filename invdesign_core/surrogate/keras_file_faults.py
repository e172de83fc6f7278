"""What a `.keras` file says of itself, read without Keras: its kind, its layers, and the Keras that wrote it."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invdesign_core.errors import DataError, near_match, plural

CONFIG, METADATA = "config.json", "metadata.json"
EXPECTED = "expected a file that model.save('NAME.keras') wrote"


@dataclass(frozen=True)
class Part:
    """One object of a model's configuration: a layer, a function, an initializer.

    Attributes
    ----------
    layer : str
        Name of the innermost layer that holds it, or that it is.
    config : mapping
        Its serialised form.
    is_layer : bool
        Whether it is a layer, or the model itself.
    """

    layer: str
    config: Mapping[str, Any]
    is_layer: bool

    @property
    def class_name(self) -> str:
        """What it is an instance of."""
        return str(self.config["class_name"])


@dataclass(frozen=True)
class Archive:
    """A `.keras` file that is whole.

    Attributes
    ----------
    path : Path
        The file.
    config : mapping
        The model's configuration.
    version : str or None
        The Keras that wrote it.
    """

    path: Path
    config: Mapping[str, Any]
    version: str | None

    @classmethod
    def read(cls, path: Path) -> Archive:
        """Read a file's configuration; none of its code runs, and no weight is read.

        Raises
        ------
        DataError
            If there is no such file, or it is no `.keras` file, or not a whole one.
        """
        _refuse_others(path)
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                if CONFIG not in names:
                    raise DataError(f"{path}: this is not a Keras model, but another zip file (no {CONFIG})", EXPECTED)
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
        with zipfile.ZipFile(self.path) as source, zipfile.ZipFile(target, "w") as copy:
            for item in source.infolist():
                with source.open(item) as old, copy.open(item.filename, "w", force_zip64=True) as new:
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
        siblings = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        raise DataError(f"{path}: there is no such file", near_match(path.name, siblings) if siblings else None)
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
    if isinstance(node, list):
        return [_uncompiled(item) for item in node]
    if not isinstance(node, dict):
        return node
    bare = "class_name" in node and "config" in node
    return {key: {} if bare and key == "compile_config" else _uncompiled(value) for key, value in node.items()}
