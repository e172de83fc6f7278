"""The surrogate: one or more trained members, their units, and the numbers that make them one answer."""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.context import Context
from invdesign_core.data.columns import in_float32, is_constant
from invdesign_core.data.files.atomic import atomic_write
from invdesign_core.errors import DataError, InvdesignError, RunStoreError, plugin_errors, plural, writing
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.digits import near
from invdesign_core.space.space import Space
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.keras_file import load_model
from invdesign_core.surrogate.model_check import POINTS, RESOLUTION, ModelSample, sample
from invdesign_core.surrogate.networks import model_shapes
from invdesign_core.surrogate.scaling import (
    TO_UNITS,
    Scaling,
    as_columns,
    deviation_beside,
    mean_of,
    units_of,
    unwrapped,
)
from invdesign_core.surrogate.sealed import check_file, file_digest, read_sealed, seal
from invdesign_core.targets import Prediction

if TYPE_CHECKING:
    import keras

    from invdesign_core.space.conditions import Scenarios

CHUNK = 16384
"""Rows predicted at once."""
FEW = 64
"""Points at which most outputs are seen to change; the program for so many is compiled anyway."""
META = "meta.json"
FORMAT, WITHOUT_WEIGHTS = 3, 2
"""The format that is written, and an earlier one, which differs only in that all members count alike."""
ARRAYS = ("shift", "scale", "box", "spread")
DAMAGED = "copy the folder again from where it is whole, or run the experiment again"
"""What to do where a file of a saved surrogate is damaged."""


@dataclass(frozen=True)
class Surrogate:
    """K trained members, each from raw encoded x to raw y: Keras models, or regressors with a method `z`.

    (m,) `shift` and `scale` give y = shift + scale * z; (2, e) `box` is the lowest and highest encoded training value,
    where u is 0 and 1; (m,) `spread` is each output's range over the training rows, a share of which is a tolerance.
    (K, m) `weights` say how much each member counts for each output, and add up to 1; None is all alike.
    """

    members: tuple[Any, ...]
    space: Space
    outputs: tuple[str, ...]
    shift: FloatArray
    scale: FloatArray
    box: FloatArray
    spread: FloatArray
    weights: FloatArray | None = field(default=None, kw_only=True)

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
        return cls(tuple(members), space, tuple(outputs), scaling.y_shift, scaling.y_scale, box, spread_of(y))

    @classmethod
    def of_model(
        cls,
        model: keras.Model,
        space: Space,
        outputs: Sequence[str],
        box: FloatArray | None = None,
        y: FloatArray | None = None,
        sampled: ModelSample | None = None,
    ) -> Surrogate:
        """Use a Keras model from (n, e) to (n, m) or (n,) as it is.

        `box` is by default the bounds of `space`; `y` are (n, m) measured outputs for their ranges, by default the
        model's own answers over the box, which `sampled` may hold already.
        """
        import keras

        if len(model.output_shape) == 1:
            model = keras.Model(model.inputs, as_columns(model.outputs[0]))
        if box is None:
            box = np.stack(space.bounds)
        if y is None:
            sampled = sampled or sample(model, space, box)
            spread, flat = sampled.spread, sampled.flat
            y = np.where(flat, np.median(sampled.y, axis=0), sampled.y)  # what else it differs by is float32's rounding
        else:
            spread = spread_of(y)
        scaling = Scaling.of(np.zeros((1, space.width)), y)
        shift, scale = units_of(model) or (scaling.y_shift, scaling.y_scale)
        return cls((model,), space, tuple(outputs), shift, scale, box, spread)

    @property
    def differentiable(self) -> bool:
        """Whether the members are networks, whose gradients solvers may use."""
        return not hasattr(self.members[0], "z")

    @property
    def exact_inputs(self) -> tuple[str, ...]:
        """The outputs that are inputs, of which a target asks for the smallest or the largest value."""
        return ()

    @property
    def predicted(self) -> list[tuple[int, str]]:
        """The outputs that are predicted, and not computed, with their numbers."""
        exact = {*self.derived, *self.exact_inputs}
        return [(m, name) for m, name in enumerate(self.outputs) if name not in exact]

    @property
    def derived(self) -> tuple[str, ...]:
        """The outputs that are formulas of inputs, which are computed exactly."""
        return ()

    @property
    def scenarios(self) -> Scenarios | None:
        """What conditions may be, where the answers are means over that."""
        return None

    @property
    def rows_at_once(self) -> int:
        """Rows to evaluate at once, so that memory is bounded."""
        return CHUNK

    def scenario_spread(self, x: FloatArray) -> FloatArray | None:
        """Return the (n, m) standard deviations of the answers over the scenarios, where they are means over these."""
        return None

    @property
    def variables(self) -> list[Any]:
        """All weights of all members."""
        return [v for net in self._z_nets for v in (*net.trainable_variables, *net.non_trainable_variables)]

    def trace(self, x: Any) -> Prediction:
        """Answer in z, in the backend's own operations, for compilation; x is an (r, e) tensor."""
        from keras import ops

        with plugin_errors("the surrogate's network", "this is a fault of its layers"):
            answers = [net(x, training=False) for net in self._z_nets]
        return self._combined([(mean_of(a), a[1] if isinstance(a, list) else None) for a in answers], ops)

    def _combined(self, answers: Sequence[tuple[Any, Any]], ops: Any) -> Prediction:
        """Return what the members' (r, m) means and deviations, or None, say together; `ops` is keras' or NumPy."""
        tensor = getattr(ops, "convert_to_tensor", np.asarray)
        means: list[Any] = []
        deviations: dict[int, Any] = {}
        for k, ((mean, std), own) in enumerate(zip(answers, self._own_units, strict=True)):
            if own is not None:
                shift, scale = (tensor(a.astype(np.float32)) for a in own)
                mean, std = (mean - shift) / scale, None if std is None else std / scale
            means.append(mean)
            if std is not None:
                deviations[k] = std
        if len(means) == 1:
            return Prediction(means[0], deviations.get(0))
        stacked = ops.stack(means)
        mean = self._over_members(stacked, ops)
        variance = self._over_members(ops.square(stacked - mean), ops)
        if deviations:  # the law of total variance; of members that don't know theirs it is taken to be that of others
            squares = ops.square(ops.stack(list(deviations.values())))
            variance = variance + self._over_members(squares, ops, list(deviations))
        return Prediction(mean, ops.sqrt(variance))

    def _over_members(self, values: Any, ops: Any, members: Sequence[int] | None = None) -> Any:
        """Return the (r, m) weighted mean of (k, r, m) values of some members, by default of all."""
        if self.weights is None:
            return ops.mean(values, axis=0)
        weights = self.weights if members is None else self.weights[list(members)]
        total = weights.sum(axis=0)
        weights = (weights / np.where(total > 0, total, 1.0))[:, None, :].astype(np.float32)
        return ops.sum(values * getattr(ops, "convert_to_tensor", np.asarray)(weights), axis=0)

    def predict_z(self, x: FloatArray) -> Prediction:
        """Answer in z for (n, e) raw designs, as float64 arrays."""
        if not self.differentiable:
            stacked = np.stack([member.z(x) for member in self.members])
            std = stacked.std(axis=0) if len(self.members) > 1 else None
            return Prediction(stacked.mean(axis=0), std)
        if self._in_closed_form:
            return self._combined(self._answers(x, deviation=True), np)
        pieces = [self._compiled(x[at : at + CHUNK]) for at in range(0, max(len(x), 1), CHUNK)]
        whole = [np.concatenate(part) for part in zip(*pieces, strict=True)]
        return Prediction(whole[0], whole[1] if len(whole) > 1 else None)

    def mean_z(self, x: FloatArray) -> FloatArray:
        """Return the (n, m) answers in z of (n, e) raw designs alone: the deviation of a process takes far longer."""
        if self._in_closed_form:
            return np.asarray(self._combined(self._answers(x, deviation=False), np).mean)
        if not self._members_deviate:
            return np.asarray(self.predict_z(x).mean)
        step = self.rows_at_once
        return np.concatenate([self._compiled_mean(x[at : at + step]) for at in range(0, max(len(x), 1), step)])

    def _answers(self, x: FloatArray, deviation: bool) -> list[tuple[Any, Any]]:
        """Return the (n, m) answers of each member, where some are computed by NumPy, with nothing to compile."""
        x = in_float32(x)  # as the members take it
        found: dict[int, tuple[Any, Any]] = {}
        for k, (net, scaling) in self._in_closed_form.items():
            with plugin_errors("the surrogate's network", "this is a fault of its layers"):
                quick = not deviation and "deviation" in inspect.signature(net.predict).parameters
                answer = net.predict(scaling.inputs(x), **({"deviation": False} if quick else {}))
            mean = np.asarray(mean_of(answer), dtype=np.float64).reshape(len(x), len(scaling.y_shift))
            if scaling.constant is not None:
                mean = np.where(scaling.constant, 0.0, mean)
            found[k] = (mean, answer[1] if isinstance(answer, (tuple, list)) else None)
        others = [k for k in range(len(self.members)) if k not in found]
        if others:
            pieces = [self._compiled_others(x[at : at + CHUNK]) for at in range(0, max(len(x), 1), CHUNK)]
            columns = iter([np.concatenate(part) for part in zip(*pieces, strict=True)])
            for k in others:
                found[k] = (next(columns), next(columns) if isinstance(self._z_nets[k].output, list) else None)
        return [found[k] for k in range(len(self.members))]

    def predict(self, x: FloatArray) -> Prediction:
        """Answer in the user's units for (n, e) raw designs, in chunks of bounded memory."""
        z = self.predict_z(np.asarray(x, dtype=np.float64))
        return Prediction(self.units(z.mean), None if z.std is None else z.std * self.scale)

    def units(self, z: FloatArray, x: FloatArray | None = None) -> FloatArray:
        """Return (n, m) outputs in the user's units; with their (n, e) designs, those that are computed exactly."""
        return self.shift + self.scale * z

    def save(self, folder: Path) -> None:
        """Write the members and their units into a folder, with checksums of all files that are in it then."""
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            names = [f"member-{i}.{'keras' if self.differentiable else 'pkl'}" for i in range(len(self.members))]
            for name, member in zip(names, self.members, strict=True):
                if self.differentiable:
                    with backend.lean(), untrained(member):
                        member.save(folder / name)
                else:
                    (folder / name).write_bytes(pickle.dumps(member))
            meta = {
                "format": FORMAT,
                "members": names,
                "files": {path.name: file_digest(path) for path in sorted(folder.iterdir()) if path.name != META},
                "space": self.space.to_json(),
                "outputs": self.outputs,
                **{key: getattr(self, key).tolist() for key in ARRAYS},
                "weights": None if self.weights is None else self.weights.tolist(),
            }
            with atomic_write(folder / META, named=folder) as partial:
                partial.write_text(json.dumps(seal(meta), indent=1, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, allow_code: bool = False) -> Surrogate:
        """Read what `save` wrote; `allow_code` lets code in the files run: pickled regressors, `Lambda` layers."""
        meta = read_meta(folder)
        space, arrays = checked(meta, folder / META)
        members = [_load_member(folder / name, meta["files"][name], allow_code) for name in meta["members"]]
        surrogate = cls(
            tuple(members), space, tuple(meta["outputs"]), **arrays, weights=_weights_of(meta, folder / META)
        )
        for name, member in zip(meta["members"], members, strict=True):
            surrogate._check_widths(member, folder / name)
        return surrogate

    def _check_widths(self, member: Any, path: Path) -> None:
        """Refuse a member that takes or gives another number of columns than there are variables and outputs."""
        inputs, outputs = self.space.width, len(self.outputs)
        if self.differentiable:
            found = tuple(tuple(shape) for shape in model_shapes(member, inputs))
        else:
            found = ((None, inputs), (None, *np.shape(member.z(self.box))[1:]))
        if found != ((None, inputs), (None, outputs)):
            raise RunStoreError(
                f"{path}: found a model from {found[0]} to {found[1]}, expected one from (None, {inputs}) to "
                f"(None, {outputs}), as {META} says",
                DAMAGED,
            )

    @cached_property
    def _own_units(self) -> list[tuple[FloatArray, FloatArray] | None]:
        """Shift and scale that take what each of `_z_nets` answers to z in these units, None where it is that already.

        z = (answer - shift) / scale; what a member answers may be z in units of its own, or y.
        """
        found: list[tuple[FloatArray, FloatArray] | None] = []
        for net in self.members:
            units = units_of(net)
            if units is None:
                found.append((self.shift, self.scale))
            elif np.array_equal(units, (self.shift, self.scale)):
                found.append(None)
            else:
                found.append(((self.shift - units[0]) / units[1], self.scale / units[1]))
        return found

    @cached_property
    def _z_nets(self) -> list[keras.Model]:
        """The members, up to z where they end in it, with their standard deviation beside it where they know it."""
        import keras

        nets = []
        for net in self.members:
            z = net.outputs[0] if units_of(net) is None else net.get_layer(TO_UNITS).input
            std = deviation_beside(z)
            nets.append(keras.Model(net.inputs, z if std is None else [z, std]))
        return nets

    def compiled_for(self, what: str, objective: Any, compiled: Callable[[], Any]) -> Any:
        """Return a program of this surrogate and an objective: that of an earlier call, if there was one."""
        for kept, beside, program in self._programs:
            if kept == what and type(beside) is type(objective) and beside == objective:
                return program
        program = compiled()
        self._programs.append((what, objective, program))
        return program

    @cached_property
    def _programs(self) -> list[tuple[str, Any, Any]]:
        """What was compiled for objectives: the name of the function, the objective and the program."""
        return []

    @property
    def compile_seconds(self) -> float:
        """What compiling its answers has taken so far."""
        programs = (vars(self).get(name) for name in ("_compiled", "_compiled_others", "_compiled_mean"))
        return float(sum(program.compile_seconds for program in programs if program is not None))

    @cached_property
    def _compiled(self) -> Any:
        def both(x: Any) -> Any:
            answer = self.trace(x)
            return (answer.mean,) if answer.std is None else (answer.mean, answer.std)

        return backend.load().value(both, self.variables)

    @cached_property
    def _in_closed_form(self) -> dict[int, tuple[keras.Model, Scaling]]:
        """Networks, with their scalings, of the members that learn and answer by methods of their own, in NumPy."""
        import keras

        found = {}
        for k, member in enumerate(self.members if self.differentiable else ()):
            parts = unwrapped(member)
            if parts is None:
                continue
            kind = type(parts[0])
            if kind.fit is not keras.Model.fit and kind.predict is not keras.Model.predict:
                found[k] = parts
        return found

    @cached_property
    def _compiled_others(self) -> Any:
        """The answers of the members that are not in closed form."""
        nets = [net for k, net in enumerate(self._z_nets) if k not in self._in_closed_form]

        def each(x: Any) -> Any:
            with plugin_errors("the surrogate's network", "this is a fault of its layers"):
                answers = [net(x, training=False) for net in nets]
            return tuple(part for a in answers for part in (a if isinstance(a, list) else [a]))

        variables = [v for net in nets for v in (*net.trainable_variables, *net.non_trainable_variables)]
        return backend.load().value(each, variables)

    @cached_property
    def _compiled_mean(self) -> Any:
        return backend.load().value(lambda x: self.trace(x).mean, self.variables)

    @cached_property
    def _members_deviate(self) -> bool:
        """Whether members know a standard deviation of their own."""
        return self.differentiable and any(isinstance(net.output, list) for net in self._z_nets)


def read_meta(folder: Path) -> dict[str, Any]:
    """Return what a saved surrogate's JSON file says, if it is whole and of this version."""
    path = folder / META
    if not path.exists():
        raise RunStoreError(f"{folder}: there is no surrogate in it (no {META})", "did the run finish?")
    try:
        old = json.loads(path.read_bytes()).get("format") == 1
    except (ValueError, AttributeError, OSError):
        old = False  # told below
    if old:
        raise RunStoreError(
            f"{path}: found format 1, which has no checksums, expected format {FORMAT}",
            "an earlier version of invdesign wrote it; run the experiment again",
        )
    meta = read_sealed(path, DAMAGED, ("format", "members", "files", "space", "outputs", *ARRAYS))
    if meta["format"] not in (FORMAT, WITHOUT_WEIGHTS):
        raise RunStoreError(
            f"{path}: found format {meta['format']!r}, expected {FORMAT}", "use the version that wrote it"
        )
    return meta


def checked(meta: Mapping[str, Any], path: Path) -> tuple[Space, dict[str, FloatArray]]:
    """Return the space and the `ARRAYS` of a saved surrogate, each of the shape that the others ask for."""
    try:
        space = Space.from_json(meta["space"])
    except (TypeError, KeyError, ValueError, InvdesignError) as error:
        raise RunStoreError(f"{path}: 'space' holds no design variables: {error}", DAMAGED) from None
    outputs, files = meta["outputs"], meta["files"]
    if not (isinstance(outputs, list) and outputs and all(isinstance(name, str) for name in outputs)):
        raise RunStoreError(f"{path}: 'outputs' holds {outputs!r}, expected names", DAMAGED)
    if not meta["members"] or not all(name in files for name in meta["members"]):
        raise RunStoreError(
            f"{path}: 'members' holds {meta['members']!r}, expected names of files that have a checksum", DAMAGED
        )
    m, arrays = len(outputs), {}
    for key in ARRAYS:
        shape = (2, space.width) if key == "box" else (m,)
        try:
            arrays[key] = np.array(meta[key], dtype=np.float64)
        except (TypeError, ValueError):
            raise RunStoreError(f"{path}: {key!r} holds {meta[key]!r}, expected numbers", DAMAGED) from None
        if arrays[key].shape != shape:
            raise RunStoreError(
                f"{path}: {key!r} has the shape {arrays[key].shape}, expected {shape} for {plural(m, 'output')} and "
                f"{plural(space.width, 'input column')}",
                DAMAGED,
            )
        fine = ~np.isinf(arrays[key]) if key == "spread" else np.isfinite(arrays[key])  # NaN: no row was measured
        if not fine.all() or (key == "scale" and not arrays[key].all()):
            raise RunStoreError(f"{path}: {key!r} holds {meta[key]!r}, expected finite numbers", DAMAGED)
    return space, arrays


def _weights_of(meta: Mapping[str, Any], path: Path) -> FloatArray | None:
    """Return how much each member of a saved surrogate counts for each output; None is all alike."""
    if meta.get("weights") is None:
        return None
    shape = (len(meta["members"]), len(meta["outputs"]))
    try:
        weights = np.array(meta["weights"], dtype=np.float64)
    except (TypeError, ValueError):
        weights = np.empty(0)
    if weights.shape != shape or not ((weights >= 0).all() and np.allclose(weights.sum(axis=0), 1)):
        raise RunStoreError(
            f"{path}: 'weights' holds {meta['weights']!r}, expected {shape[0]} rows of {shape[1]} numbers from 0 to 1, "
            "each column adding up to 1",
            DAMAGED,
        )
    return weights


def _load_member(path: Path, sha256: str, allow_code: bool) -> Any:
    """Load one member, once it is known to be the one that was saved."""
    check_file(path, sha256, DAMAGED)
    if path.suffix == ".keras":
        return load_model(path, allow_code)
    if not allow_code:
        raise DataError(
            f"{path}: this surrogate is a pickled regressor, and unpickling runs code from the file",
            "add --allow-code if you trust whoever made this run; in Python, allow_code=True",
        )
    hint = "install what it was made with, or name the module that defines it with --import"
    with plugin_errors(f"{path}: loading the regressor", hint, DataError):  # unpickling may raise anything
        return pickle.loads(path.read_bytes())


def warn_of_flat(surrogate: Surrogate, space: Space, asked: Container[str], ctx: Context) -> None:
    """Warn of outputs with a target whose prediction is one number all over the bounds: no search can change it."""
    from scipy.stats import qmc

    low, high = space.bounds
    named = np.array([m for m, name in enumerate(surrogate.outputs) if name in asked], dtype=np.intp)
    if not (high > low).any() or not len(named):
        return
    unit = qmc.Sobol(space.width, rng=ctx.rng("flat")).random_base2(POINTS.bit_length() - 1)
    for count in (FEW, POINTS):  # a few points tell most outputs; the many are for those that seem flat
        y = surrogate.units(surrogate.mean_z(space.snap(low + unit[:count] * (high - low))))[:, named]
        flat = np.ptp(y, axis=0) <= RESOLUTION * surrogate.spread[named]
        if not flat.any():
            return
    for m, value in zip(named[flat], y[0, flat], strict=True):
        level = near(value, RESOLUTION * abs(value))
        ctx.warn(
            f"the prediction of {surrogate.outputs[m]!r} is constant within the bounds ({level}); "
            "check the bounds, the units of the inputs, and the model"
        )


def spread_of(y: FloatArray) -> FloatArray:
    """Return the (m,) ranges of (n, m) outputs; of a constant one what float32 resolves, as `Sampled.spread` has it."""
    low, high = np.nanmin(y, axis=0), np.nanmax(y, axis=0)
    return np.asarray(np.where(is_constant(low, high), 100 * RESOLUTION * np.abs(high), high - low))


@contextmanager
def untrained(model: keras.Model) -> Iterator[None]:
    """Let a model be saved without loss and optimizer; Keras would load those of a model in it, whatever is asked."""
    import keras

    nets = [layer for layer in model._flatten_layers() if isinstance(layer, keras.Model) and layer.compiled]
    for net in nets:
        net.compiled = False
    try:
        yield
    finally:
        for net in nets:
            net.compiled = True
