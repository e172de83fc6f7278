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
    """One input or output tensor: its name, the numbers in a row, whether its shape is (n,), what it holds."""

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
    """A model's inputs and outputs in the order of their columns, and whether their names tell them apart.

    A single tensor's name is often Keras' invention.
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
        return [spec.kind for spec in self.inputs for _ in range(spec.columns)]


def one_tensor(model: keras.Model, path: Path) -> tuple[keras.Model, Signature]:
    """Return a model from one (n, e) tensor to one (n, m) tensor, and what its columns are; `path` is for messages.

    A model that is so already is returned as it is. Around others goes an adapter of slices and concatenations, which
    adds no weights and no code.
    """
    import keras
    from keras import ops

    ins, outs = _structures(model, path)
    inputs, outputs = _tensors(ins, "input"), _tensors(outs, "output")
    given = [_spec(name, tensor, "input", path) for name, tensor in inputs]
    answered = [_spec(name, tensor, "output", path) for name, tensor in outputs]
    specs = Signature(
        tuple(given), tuple(answered), *(isinstance(s, dict) or len(t) > 1 for s, t in ((ins, inputs), (outs, outputs)))
    )
    nested = isinstance(ins, (list, tuple, dict)) or isinstance(outs, (list, tuple, dict))
    if getattr(model, "inputs", None) and not nested and _is_plain(given[0], ins) and not answered[0].flat:
        return model, specs
    x = keras.Input((sum(spec.columns for spec in given),), name="x")
    parts, at = {}, 0
    for spec, (_, tensor) in zip(given, inputs, strict=True):
        part = x[:, at] if spec.flat else x[:, at : at + spec.columns]
        parts[id(tensor)] = part if spec.kind == "continuous" else ops.cast(ops.round(part), spec.dtype)
        at += spec.columns
    answer = model(keras.tree.map_structure(lambda tensor: parts[id(tensor)], ins))
    columns = [tensor for _, tensor in _tensors(answer, "output")]
    columns = [ops.expand_dims(t, -1) if spec.flat else t for t, spec in zip(columns, answered, strict=True)]
    columns = [t if t.dtype.startswith("float") else ops.cast(t, "float32") for t in columns]
    return keras.Model(x, ops.concatenate(columns, axis=-1) if len(columns) > 1 else columns[0]), specs


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
        return [
            (str(key) if tensor is value else f"{key}_{tensor.name}", tensor)
            for key, value in structure.items()
            for tensor in keras.tree.flatten(value)
        ]
    tensors = keras.tree.flatten(structure)
    # An output has the name of the layer that gives it.
    return [((t if what == "input" else t._keras_history.operation).name, t) for t in tensors]


def _spec(name: str, tensor: Any, what: str, path: Path) -> TensorSpec:
    """Describe a tensor, or refuse one of other than one or two axes, or of no numbers."""
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


def _is_plain(spec: TensorSpec, tensor: Any) -> bool:
    """Whether an input is what the solver gives: any number of rows of numbers."""
    return not spec.flat and spec.kind == "continuous" and tensor.shape[0] is None


def _names(specs: Sequence[TensorSpec], named: bool, letter: str) -> list[str]:
    """Return a name for each column: the tensors' own where they tell columns apart, else numbered letters."""
    names = [name for spec in specs for name in spec.names]
    if named and len(set(names)) == len(names):
        return names
    return [letter] if len(names) == 1 and letter == "y" else [f"{letter}{i + 1}" for i in range(len(names))]
