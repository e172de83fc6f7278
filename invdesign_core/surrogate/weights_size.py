"""Whether a `.keras` file fits into the memory: how large its weights are, and how large its layers would be."""

from __future__ import annotations

import copy
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from invdesign_core.data.files.unpacked import RATIO, SMALL, too_large
from invdesign_core.errors import DataError

WEIGHTS = "model.weights.h5"
WAITING = "uninitialized_variables"
"""Where Keras keeps the weights of layers that are described and not yet made."""
FEW = 2**22
"""Weights of so many numbers fit into any memory, so that layers which can't have more need not be asked."""


def check_size(archive: zipfile.ZipFile, config: Mapping[str, Any], path: Path) -> None:
    """Refuse a model file that would take far more memory than the file has bytes, before anything of it is loaded."""
    size = path.stat().st_size
    held = _numbers_held(archive, path, size)
    if held is None or _at_most(config) <= FEW:
        return
    asked = _numbers_asked(config)
    if asked is not None and asked > 2 * held + FEW:
        raise DataError(
            f"{path}: the file is damaged: its layers have {asked:.3g} weights, and it holds {held:.3g} numbers",
            "copy or download it again",
        )


def _numbers_held(archive: zipfile.ZipFile, path: Path, size: int) -> int | None:
    """Return how many numbers the weights have as they say themselves; None where Keras will say what is wrong."""
    import h5py  # type: ignore[import-untyped]

    counts = [0, 0]

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            counts[0] += math.prod(item.shape or ())
            counts[1] += item.nbytes

    try:
        with archive.open(WEIGHTS) as file, h5py.File(file, "r") as weights:
            weights.visititems(add)
    except Exception:  # h5py raises nearly anything of a damaged file
        return None
    if counts[1] > max(SMALL, RATIO * size):
        raise too_large(path, size, counts[1])
    return counts[0]


def _numbers_asked(config: Mapping[str, Any]) -> int | None:
    """Return how many weights the layers have, none of which is made for that; None where Keras doesn't tell."""
    import keras

    try:
        from keras.src.backend.common import global_state

        before = global_state.get_global_attribute(WAITING)
        global_state.set_global_attribute(WAITING, [])
        try:
            with keras.StatelessScope(initialize_variables=False), suppress(Exception):  # told when it is loaded
                keras.saving.deserialize_keras_object(copy.deepcopy(dict(config)))
            return sum(int(math.prod(weight.shape)) for weight in global_state.get_global_attribute(WAITING))
        finally:
            global_state.set_global_attribute(WAITING, before)
    except (ImportError, AttributeError, TypeError):  # a Keras that keeps them elsewhere
        return None


def _at_most(config: Mapping[str, Any]) -> int:
    """Return about how many weights the largest layer can have, from the numbers that stand in its configuration."""
    sizes = sorted(_sizes(config), reverse=True)
    return math.prod(sizes[:2])


def _sizes(node: Any) -> Iterator[int]:
    """Yield for each layer the product of the whole numbers in its configuration."""
    if isinstance(node, list):
        for item in node:
            yield from _sizes(item)
    elif isinstance(node, dict):
        inner = node.get("config")
        if isinstance(inner, dict) and "layers" not in inner and "layer" not in inner:
            yield math.prod(_whole_numbers(inner))
        elif isinstance(inner, dict):
            yield from _sizes(inner.get("layers", []))
            yield from _sizes(inner.get("layer", []))


def _whole_numbers(node: Any) -> Iterator[int]:
    if isinstance(node, int) and not isinstance(node, bool):
        yield max(1, abs(node))
    for item in node if isinstance(node, list) else ():
        yield from _whole_numbers(item)
    for key, item in node.items() if isinstance(node, dict) else ():
        if key not in ("seed", "shared_object_id"):
            yield from _whole_numbers(item)
