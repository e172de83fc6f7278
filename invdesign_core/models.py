"""Model files of any origin: loaded safely, or refused with what is wrong and what to do."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from invdesign_core import backend
from invdesign_core.errors import DataError

if TYPE_CHECKING:
    import keras


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
        If the file is missing, is no Keras model, or would run code.
    """
    import keras

    if not path.exists():
        raise DataError(f"{path}: there is no such file")
    if not zipfile.is_zipfile(path):
        kind = "an HDF5 file" if path.read_bytes()[:4] == b"\x89HDF" else "no Keras model, or only a part of one"
        raise DataError(f"{path}: this is {kind}", "expected a file that model.save('NAME.keras') wrote")
    try:
        with backend.lean():
            model = keras.saving.load_model(path, compile=False, safe_mode=not allow_code)
    except Exception as error:  # Keras raises nearly anything here; each is a fault of the file
        text = str(error).strip() or type(error).__name__
        if "safe_mode" in text or "lambda" in text.lower():
            raise DataError(
                f"{path}: the model holds Python code (a Lambda layer), which loading would run",
                "add --allow-code if you trust whoever made the file",
            ) from None
        raise DataError(
            f"{path}: the model can't be loaded: {text.splitlines()[0]}",
            "a custom layer must be registered (keras.saving.register_keras_serializable) and imported first",
        ) from None
    return model


def check_inputs_outputs(model: keras.Model, path: Path) -> tuple[int, int]:
    """Return the number of input columns and of outputs.

    Raises
    ------
    DataError
        If the model has several inputs or outputs, or tensors of another rank.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise DataError(
            f"{path}: the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs, expected one "
            "tensor each",
            "join them with keras.layers.Concatenate",
        )
    shape_in, shape_out = tuple(model.inputs[0].shape), tuple(model.outputs[0].shape)
    if len(shape_in) != 2 or shape_in[1] is None:
        raise DataError(f"{path}: the model's input has shape {shape_in}, expected (None, number of variables)")
    if len(shape_out) not in (1, 2) or (len(shape_out) == 2 and shape_out[1] is None):
        raise DataError(f"{path}: the model's output has shape {shape_out}, expected (None, number of outputs)")
    return int(shape_in[1]), int(shape_out[1]) if len(shape_out) == 2 else 1
