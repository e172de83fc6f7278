"""A fitted estimator as a folder of plain files: its parameters as JSON, its surrogate as a run keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.data.files.atomic import atomic_write
from invdesign_core.errors import ConfigError, PluginError, RunStoreError, own_version
from invdesign_core.plugin import Plugin
from invdesign_core.surrogate.sealed import check_file, file_digest, read_sealed
from invdesign_core.surrogate.surrogate import META
from invdesign_core.workflow.run_folder import RunFolder

if TYPE_CHECKING:
    from invdesign_core.data.data import TrainingRows
    from invdesign_core.registry import Registry
    from invdesign_core.surrogate.second_model import SecondModel
    from invdesign_core.surrogate.settings import Confidence
    from invdesign_core.surrogate.surrogate import Surrogate

ABOUT = "estimator.json"
"""The file by which a folder is known to hold a saved estimator."""
FORMAT = 2
DAMAGED = "copy the folder again from where it is whole, or save the estimator again"


def write(
    folder: Path, about: Mapping[str, Any], surrogate: Surrogate, known: TrainingRows, second: SecondModel | None
) -> None:
    """Write an estimator into a folder that is new, empty, or holds an earlier save, which is replaced."""
    folder = folder.resolve()  # "." has no name to put a temporary one beside
    with atomic_write(folder, "choose another folder") as partial:
        if folder.exists() and not (folder / ABOUT).exists() and (folder.is_file() or any(folder.iterdir())):
            raise RunStoreError(f"{folder}: something else is there", "choose another folder, or empty this one")
        partial.mkdir(parents=True)
        files = RunFolder(partial)
        files.write_surrogate(surrogate, known)
        if second is not None:
            files.write_second(second)
        meta = {"surrogate": file_digest(partial / "surrogate" / META)}
        files.write_sealed(ABOUT, {"format": FORMAT, "invdesign": own_version(), **meta, **about})


def read_about(folder: Path) -> dict[str, Any]:
    """Return the JSON file of a saved estimator; refuse one that is missing, damaged or of another format."""
    path = folder / ABOUT
    if not path.exists():
        raise RunStoreError(
            f"{folder}: no InverseDesign was saved there (no {ABOUT})", "name the folder that `save` wrote"
        )
    try:
        old = json.loads(path.read_bytes()).get("format") == 1
    except (ValueError, AttributeError, OSError):
        old = False  # told below
    keys = ("format", "invdesign", "surrogate", "params", "n_features_in", "feature_names_in", "report")
    about = {} if old else read_sealed(path, DAMAGED, keys)
    if about.get("format") != FORMAT:
        raise RunStoreError(
            f"{path}: found format {about.get('format', 1)}, expected {FORMAT}",
            "load it with the version of invdesign that saved it, or fit and save the estimator again",
        )
    check_file(folder / "surrogate" / META, about["surrogate"], DAMAGED)
    return about


def read_surrogate(folder: Path, allow_code: bool) -> tuple[Surrogate, TrainingRows]:
    """Return the surrogate of a saved estimator, and the rows that it learnt from."""
    surrogate, known = RunFolder(folder).read_surrogate(allow_code)
    if known is None:
        raise RunStoreError(f"{folder}: its training rows are missing (surrogate/known.npz)")
    return surrogate, known


def read_second(folder: Path, confidence: Confidence) -> SecondModel | None:
    """Return the second model of a saved estimator; None where it has none."""
    return RunFolder(folder).read_second(confidence)


def plain(name: str, value: Any, registry: Registry) -> Any:
    """Return a parameter as JSON can hold it, a plugin by its name and options."""
    if isinstance(value, Plugin):
        labels = [label for label, plugin in registry.labels(value.kind).items() if plugin is type(value)]
        if not labels:
            raise PluginError(
                f"{value.label} can't be saved: its class {type(value).__name__} is not installed as a plugin",
                "declare it in the entry points of a distribution, or pickle the estimator",
            )
        value = {"use": labels[0], **value.model_dump()}
    try:
        return json.loads(json.dumps(value, default=_unboxed))
    except TypeError as error:
        raise ConfigError(f"{name} can't be saved: {error}", "give plain values, or pickle the estimator") from None


def _unboxed(value: Any) -> Any:
    """Return what NumPy and mappings of other kinds hold; a set would not come back as one, so it is refused."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"found {value!r}, expected numbers, text, lists or mappings")
