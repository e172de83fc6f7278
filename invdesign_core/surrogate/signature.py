"""A model's inputs and outputs: their names, and the same model from one (n, e) tensor to one (n, m) tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign_core.errors import DataError

if TYPE_CHECKING:
    import keras

    from invdesign_core.space.variables import Kind


@dataclass(frozen=True)
class TensorSpec:
    """One input or output tensor of a model.

    Attributes
    ----------
    name : str
        The model's name for it.
    columns : int
        Numbers in a row.
    flat : bool
        Whether its shape is (n,), not (n, columns).
    dtype : str
        What it holds.
    """

    name: str
    columns: int
    flat: bool
    dtype: str

    @property
    def names(self) -> list[str]:
        """A name for each column: the tensor's own, numbered where it has several."""
        return [self.name] if self.columns == 1 else [f"{self.name}_{i + 1}" for i in range(self.columns)]

    @property
    def kind(self) -> Kind:
        """The kind of variable that an input holds."""
        if self.dtype == "bool":
            return "binary"
        return "integer" if "int" in self.dtype else "continuous"


@dataclass(frozen=True)
class Signature:
    """A model's inputs and outputs in the order of their columns.

    Attributes
    ----------
    inputs, outputs : tuple of Port
        The tensors.
    named_inputs, named_outputs : bool
        Whether the names tell the tensors apart; a single tensor's is often Keras' invention.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    named_inputs: bool
    named_outputs: bool

    @property
    def input_names(self) -> list[str]:
        """(e,) a name for each input column."""
        return _names(self.inputs, self.named_inputs, "x")

    @property
    def output_names(self) -> list[str]:
        """(m,) a name for each output column."""
        return _names(self.outputs, self.named_outputs, "y")

    @property
    def kinds(self) -> list[Kind]:
        """(e,) the kind of variable in each input column."""
        return [port.kind for port in self.inputs for _ in range(port.columns)]


def one_tensor(model: keras.Model, path: Path) -> tuple[keras.Model, Signature]:
    """Return a model from one (n, e) tensor to one (n, m) tensor, and what its columns are.

    A model that is so already is returned as it is. Around others goes an adapter of slices and
    concatenations, which adds no weights and no code.

    Parameters
    ----------
    model : keras.Model
        With one or several inputs and outputs, single, in lists or in dicts.
    path : Path
        Its file, for messages.

    Raises
    ------
    DataError
        If a tensor has other than one or two axes, or holds no numbers; naming the tensor.
    """
    import keras
    from keras import ops

    ins, outs = _structures(model, path)
    inputs, outputs = _tensors(ins, "input"), _tensors(outs, "output")
    given = [_port(name, tensor, "input", path) for name, tensor in inputs]
    answered = [_port(name, tensor, "output", path) for name, tensor in outputs]
    ports = Signature(
        tuple(given), tuple(answered), *(isinstance(s, dict) or len(t) > 1 for s, t in ((ins, inputs), (outs, outputs)))
    )
    nested = isinstance(ins, (list, tuple, dict)) or isinstance(outs, (list, tuple, dict))
    if getattr(model, "inputs", None) and not nested and _is_plain(given[0], ins) and not answered[0].flat:
        return model, ports
    x = keras.Input((sum(port.columns for port in given),), name="x")
    parts, at = {}, 0
    for port, (_, tensor) in zip(given, inputs, strict=True):
        part = x[:, at] if port.flat else x[:, at : at + port.columns]
        parts[id(tensor)] = part if port.kind == "continuous" else ops.cast(ops.round(part), port.dtype)
        at += port.columns
    answer = model(keras.tree.map_structure(lambda tensor: parts[id(tensor)], ins))
    columns = [tensor for _, tensor in _tensors(answer, "output")]
    columns = [ops.expand_dims(t, -1) if port.flat else t for t, port in zip(columns, answered, strict=True)]
    columns = [t if t.dtype.startswith("float") else ops.cast(t, "float32") for t in columns]
    return keras.Model(x, ops.concatenate(columns, axis=-1) if len(columns) > 1 else columns[0]), ports


def _structures(model: keras.Model, path: Path) -> tuple[Any, Any]:
    """Return a model's inputs and outputs as it takes them: tensors, or lists or dicts of them."""
    import keras

    if getattr(model, "inputs", None):
        sequential = isinstance(model, keras.Sequential)  # it has no `input` before it is called
        return (model.inputs[0], model.outputs[0]) if sequential else (model.input, model.output)
    shape = model.get_build_config().get("input_shape") if model.built else None
    if not (isinstance(shape, (tuple, list)) and shape and all(n is None or isinstance(n, int) for n in shape)):
        raise DataError(
            f"{path}: the model ({type(model).__name__}) does not define its inputs",
            "save a model that was called or built on one input tensor, or one made with keras.Model(inputs, outputs)",
        )
    x = keras.Input(tuple(shape[1:]), name="x")
    return x, model(x, training=False)


def _tensors(structure: Any, what: str) -> list[tuple[str, Any]]:
    """Return the tensors of a structure with their names, a dict's in its own order."""
    import keras

    if isinstance(structure, dict):
        flat = [
            (str(key) if tensor is value else f"{key}_{tensor.name}", tensor)
            for key, value in structure.items()
            for tensor in keras.tree.flatten(value)
        ]
        return flat
    tensors = keras.tree.flatten(structure)
    if what == "input":
        return [(tensor.name, tensor) for tensor in tensors]
    # An output has the name of the layer that gives it.
    return [(tensor._keras_history.operation.name, tensor) for tensor in tensors]


def _port(name: str, tensor: Any, what: str, path: Path) -> TensorSpec:
    shape = tuple(tensor.shape)
    if not any(kind in tensor.dtype for kind in ("float", "int", "bool")):
        raise DataError(
            f"{path}: {what} {name!r} holds {tensor.dtype}, expected numbers",
            "remove the layers that read text, and give the model their outputs",
        )
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] is None):
        raise DataError(
            f"{path}: {what} {name!r} has shape {shape}, expected (None, columns) or (None,)",
            "each column is one number of a design or of an answer; put the model between keras.layers.Reshape "
            "layers, and save that",
        )
    return TensorSpec(name, 1 if len(shape) == 1 else int(shape[1]), len(shape) == 1, tensor.dtype)


def _is_plain(port: TensorSpec, tensor: Any) -> bool:
    """Whether an input is what the solver gives: any number of rows of numbers."""
    return not port.flat and port.kind == "continuous" and tensor.shape[0] is None


def _names(ports: Sequence[TensorSpec], named: bool, letter: str) -> list[str]:
    names = [name for port in ports for name in port.names]
    if named and len(set(names)) == len(names):
        return names
    return [letter] if len(names) == 1 and letter == "y" else [f"{letter}{i + 1}" for i in range(len(names))]
