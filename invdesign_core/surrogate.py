"""The surrogate: one or more trained members, their units, and the numbers that make them one answer."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core import backend
from invdesign_core.errors import DataError, RunStoreError, blamed, writing
from invdesign_core.goal import Prediction
from invdesign_core.influence import Sampled, sample
from invdesign_core.space import FloatArray, Space
from invdesign_core.training.scaling import TO_UNITS, Scaling, as_columns, units_of

if TYPE_CHECKING:
    import keras

CHUNK = 16384
"""Rows predicted at once."""


@dataclass(frozen=True)
class Surrogate:
    """K trained members, each from raw encoded x to raw y.

    Attributes
    ----------
    members : tuple
        Keras models, or regressors with a method `z` where the builder was not differentiable.
    space : Space
        The design variables.
    outputs : tuple of str
        The m outputs.
    shift, scale : ndarray
        (m,) with y = shift + scale * z.
    box : ndarray
        (2, e) lowest and highest encoded training value: what u = 0 and u = 1 stand for.
    spread : ndarray
        (m,) range of each output over the training rows, of which default tolerances are a share.
    """

    members: tuple[Any, ...]
    space: Space
    outputs: tuple[str, ...]
    shift: FloatArray
    scale: FloatArray
    box: FloatArray
    spread: FloatArray

    @classmethod
    def trained(
        cls,
        members: Sequence[Any],
        space: Space,
        outputs: Sequence[str],
        scaling: Scaling,
        x: FloatArray,
        y: FloatArray,
    ) -> Surrogate:
        """Put together what training gave, with the ranges of its (n, e) and (n, m) rows."""
        box = np.stack([x.min(axis=0), x.max(axis=0)])
        spread = np.nanmax(y, axis=0) - np.nanmin(y, axis=0)
        return cls(tuple(members), space, tuple(outputs), scaling.y_shift, scaling.y_scale, box, spread)

    @classmethod
    def of_model(
        cls,
        model: keras.Model,
        space: Space,
        outputs: Sequence[str],
        box: FloatArray | None = None,
        y: FloatArray | None = None,
        sampled: Sampled | None = None,
    ) -> Surrogate:
        """Use a Keras model as it is.

        Parameters
        ----------
        model : keras.Model
            From (n, e) to (n, m) or (n,).
        space : Space
            Its inputs, with finite bounds.
        outputs : sequence of str
            Names of its outputs.
        box : ndarray, optional
            (2, e) ranges of the inputs; by default the bounds.
        y : ndarray, optional
            (n, m) measured outputs, for their ranges; by default the model's own predictions at
            points spread over the box.
        sampled : Sampled, optional
            Those predictions, where they are there already.
        """
        import keras

        if len(model.output_shape) == 1:
            model = keras.Model(model.inputs, as_columns(model.outputs[0]))
        if box is None:
            box = np.stack(space.bounds)
        if y is None:
            sampled = sampled or sample(model, space, box)
            y, spread = sampled.y, sampled.spread
        else:
            spread = y.max(axis=0) - y.min(axis=0)
        scaling = Scaling.of(np.zeros((1, space.width)), y)
        shift, scale = units_of(model) or (scaling.y_shift, scaling.y_scale)
        return cls((model,), space, tuple(outputs), shift, scale, box, spread)

    @property
    def differentiable(self) -> bool:
        """Whether the members are networks, whose gradients solvers may use."""
        return not hasattr(self.members[0], "z")

    @property
    def variables(self) -> list[Any]:
        """All weights of all members."""
        return [v for net in self._z_nets for v in (*net.trainable_variables, *net.non_trainable_variables)]

    def trace(self, x: Any) -> Prediction:
        """Answer in z, in the backend's own operations, for compilation; x is an (r, e) tensor."""
        from keras import ops

        with blamed("the surrogate's network", "this is a fault of its layers"):
            answers = [net(x, training=False) for net in self._z_nets]
        if not self._ends_in_z:
            shift, scale = (ops.convert_to_tensor(a.astype(np.float32)) for a in (self.shift, self.scale))
            answers = [(y - shift) / scale for y in answers]
        if len(answers) == 1:
            return Prediction(answers[0])
        stacked = ops.stack(answers)
        return Prediction(ops.mean(stacked, axis=0), ops.std(stacked, axis=0))

    def predict_z(self, x: FloatArray) -> Prediction:
        """Answer in z for (n, e) raw designs, as float64 arrays."""
        if not self.differentiable:
            stacked = np.stack([member.z(x) for member in self.members])
            std = stacked.std(axis=0) if len(self.members) > 1 else None
            return Prediction(stacked.mean(axis=0), std)
        pieces = [self._compiled(x[at : at + CHUNK]) for at in range(0, max(len(x), 1), CHUNK)]
        whole = [np.concatenate(part) for part in zip(*pieces, strict=True)]
        return Prediction(whole[0], whole[1] if len(whole) > 1 else None)

    def predict(self, x: FloatArray) -> Prediction:
        """Answer in the user's units for (n, e) raw designs, in chunks of bounded memory."""
        z = self.predict_z(np.asarray(x, dtype=np.float64))
        return Prediction(self.units(z.mean), None if z.std is None else z.std * self.scale)

    def units(self, z: FloatArray) -> FloatArray:
        """Return (n, m) outputs in the user's units."""
        return self.shift + self.scale * z

    def save(self, folder: Path) -> None:
        """Write the members and their units into a folder.

        Raises
        ------
        RunStoreError
            If it can't be written.
        """
        with writing(folder):
            self._write(folder)

    def _write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        names = []
        for i, member in enumerate(self.members):
            names.append(f"member-{i}.keras" if self.differentiable else f"member-{i}.pkl")
            if self.differentiable:
                with backend.lean(), _untrained(member):
                    member.save(folder / names[-1])
            else:
                (folder / names[-1]).write_bytes(pickle.dumps(member))
        meta = {
            "format": 1,
            "members": names,
            "space": self.space.to_json(),
            "outputs": list(self.outputs),
            "shift": self.shift.tolist(),
            "scale": self.scale.tolist(),
            "box": self.box.tolist(),
            "spread": self.spread.tolist(),
        }
        partial = folder / ".meta.json"
        partial.write_text(json.dumps(meta, indent=1, ensure_ascii=False), encoding="utf-8")
        partial.replace(folder / "meta.json")

    @classmethod
    def load(cls, folder: Path, allow_code: bool = False) -> Surrogate:
        """Read what `save` wrote.

        Parameters
        ----------
        folder : Path
            The surrogate's folder.
        allow_code : bool
            Whether code in the files may run: pickled regressors, `Lambda` layers.

        Raises
        ------
        RunStoreError
            If the folder holds no surrogate.
        DataError
            If a member can't be loaded, or only by running code.
        """
        from invdesign_core.models import load_model

        try:
            meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunStoreError(
                f"{folder}: there is no surrogate in it (no meta.json)", "did the run finish?"
            ) from None
        members: list[Any] = []
        for name in meta["members"]:
            if name.endswith(".keras"):
                members.append(load_model(folder / name, allow_code))
                continue
            if not allow_code:
                raise DataError(
                    f"{folder / name}: this surrogate is a pickled regressor, and unpickling runs code from the file",
                    "add --allow-code if you trust whoever made this run; in Python, allow_code=True",
                )
            members.append(_unpickled(folder / name))
        arrays = {key: np.array(meta[key], dtype=np.float64) for key in ("shift", "scale", "box", "spread")}
        return cls(tuple(members), Space.from_json(meta["space"]), tuple(meta["outputs"]), **arrays)

    @cached_property
    def _ends_in_z(self) -> bool:
        """Whether all members have z, in these units, before their last layer."""
        found = [units_of(net) for net in self.members]
        return all(units is not None and np.array_equal(units, (self.shift, self.scale)) for units in found)

    @cached_property
    def _z_nets(self) -> list[keras.Model]:
        import keras

        if not self._ends_in_z:
            return list(self.members)
        return [keras.Model(net.inputs, net.get_layer(TO_UNITS).input) for net in self.members]

    @cached_property
    def _compiled(self) -> Any:
        def both(x: Any) -> Any:
            answer = self.trace(x)
            return (answer.mean,) if answer.std is None else (answer.mean, answer.std)

        return backend.load().value(both, self.variables)


def _unpickled(path: Path) -> Any:
    """Return a pickled regressor; whatever its code raises is a fault of the file."""
    with blamed(f"{path}: loading the regressor", "load it with the packages that it was made with", DataError):
        return pickle.loads(path.read_bytes())


@contextmanager
def _untrained(model: keras.Model) -> Iterator[None]:
    """Let a model and those in it be saved without loss and optimizer.

    Keras would load those of a model inside another one whatever is asked of it, and a loss of the
    user's own can only be loaded where it was imported.
    """
    import keras

    nets = [layer for layer in model._flatten_layers() if isinstance(layer, keras.Model) and layer.compiled]
    for net in nets:
        net.compiled = False
    try:
        yield
    finally:
        for net in nets:
            net.compiled = True
