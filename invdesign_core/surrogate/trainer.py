"""Builds and trains the models of a builder, networks and regressors alike, and blames the builder for its faults."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from invdesign_core.context import Context, Event, Piece
from invdesign_core.data.data import Data, Rows
from invdesign_core.errors import NOT_FAULTS, PluginError, fault_of, plugin_errors
from invdesign_core.space.arrays import FloatArray
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.loop import Outcome, Part, filled_length, learns_from_disk, train, train_from_disk
from invdesign_core.surrogate.networks import architecture_key, check_network, ignore_missing, metric_directions, seeded
from invdesign_core.surrogate.regressors import (
    ERRORS,
    ScaledRegressor,
    check_pickles,
    fit_closed_form,
    fit_regressor,
    keras_answer,
    regressor_answer,
)
from invdesign_core.surrogate.rows_on_disk import RowsOnDisk, rows_to_learn
from invdesign_core.surrogate.scaling import Scaling, as_columns, mean_of
from invdesign_core.surrogate.settings import Training

if TYPE_CHECKING:
    import keras_tuner as kt

    from invdesign_core.surrogate.protocols import Builder


@dataclass(frozen=True)
class Recipe:
    """What a builder was asked for when it built a network."""

    hp: kt.HyperParameters
    index: int
    purpose: str


@dataclass(frozen=True)
class _Alike:
    """Networks of one configuration, which are trained side by side, each in an order of the rows of its own."""

    members: list[int]  # their positions among all that are trained
    nets: list[Any]
    recipes: list[Recipe]
    streams: list[int]
    parts: list[Part]
    length: int | None
    epochs: int
    stage: str
    ended: Callable[[int, Outcome], None] | None

    def words(self, total: int) -> str:
        """Say which networks they are."""
        return f"networks {self.members[0] + 1} to {self.members[-1] + 1} of {total}"

    def __getstate__(self) -> dict[str, Any]:
        # Networks travel as what they were built from, and their weights: Keras' files hold no changed training step.
        return {**self.__dict__, "nets": [(net.get_weights(), rate_of(net)) for net in self.nets], "ended": None}


def rate_of(net: Any) -> float | None:
    """Return the learning rate of a network's optimizer, None where it follows a schedule of its own."""
    rate: Any = getattr(net.optimizer, "_learning_rate", None)
    return float(np.asarray(rate.value)) if hasattr(rate, "assign") else None


def _train_piece(trainer: Trainer, work: _Alike, ctx: Context) -> tuple[list[Outcome], list[Any] | None]:
    """Train networks; where they were built elsewhere, build them again, and return their weights besides."""
    own = trainer.in_context(ctx)
    here = work.ended is not None
    nets = (
        work.nets
        if here
        else [own.rebuild(recipe, *state) for recipe, state in zip(work.recipes, work.nets, strict=True)]
    )

    def told(at: int, outcome: Outcome) -> None:
        if work.ended is not None:
            work.ended(work.members[at], outcome)

    settings = own._settings.model_copy(update={"epochs": work.epochs})
    outcomes = own._train_alike(nets, work.streams, work.parts, work.length, settings, work.stage, told)
    return outcomes, None if here else [net.get_weights() for net in nets]


class Trainer:
    """Trains what a builder builds; seeds are of a purpose and an index, never of a position in a batch."""

    def __init__(
        self,
        builder: Builder,
        data: Data,
        rows: Rows,
        settings: Training,
        ctx: Context,
        scaling: Scaling | None = None,
        from_disk: bool = False,
    ) -> None:
        """Take settings that the builder's recipe has gone into; units are those of the rows, unless they are given.

        Of a large table only a sample is in memory; with `from_disk` networks learn from all of its rows.
        """
        check_learnable(builder, data)
        self._said: list[Event] = []
        self._recipes: WeakKeyDictionary[Any, Recipe] = WeakKeyDictionary()
        self._builder, self._data, self._rows, self._settings, self._ctx = builder, data, rows, settings, ctx
        self.scaling = scaling or Scaling.of(rows.x[rows.train], rows.y[rows.train], builder.differentiable)
        self._h = self.scaling.inputs(rows.x) if settings.scale else rows.x
        self._z = self.scaling.outputs(rows.y) if settings.scale or not builder.differentiable else rows.y
        self._partial = bool(np.isnan(rows.y).any())
        self._disk: RowsOnDisk | None = None
        if data.large is not None and from_disk:
            self._disk = self._written(rows)

    def _written(self, rows: Rows) -> RowsOnDisk | None:
        """Return all rows of a large table to learn from, or say that the sample has to do."""
        large = self._data.large
        assert large is not None
        if self.in_one_go or backend.load().FromDisk is None:
            who = self._builder.label if self.in_one_go else "the backend TensorFlow"
            self._ctx.warn(
                f"{who} can't learn from rows on disk: it learns from {len(rows.train)} of {large.count} rows"
            )
            return None
        held = rows.x[np.concatenate([rows.validation, rows.test])]
        scaling, scales = self.scaling, self._settings.scale

        def standardised(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
            return (scaling.inputs(x), scaling.outputs(y)) if scales else (x, y)

        return rows_to_learn(self._data, held, standardised, self._ctx.record.path)

    @property
    def learnt(self) -> int:
        """How many rows networks learn from."""
        return len(self._rows.train) if self._disk is None else self._disk.count

    def __reduce__(self) -> Any:
        # It has no context of its own where it travels to: work comes with one.
        return _elsewhere, (self._builder, self._data, self._rows, self._settings, self.scaling)

    def in_context(self, ctx: Context) -> Trainer:
        """Return the same trainer that tells another context."""
        own = object.__new__(Trainer)
        own.__dict__.update(vars(self), _ctx=ctx)
        return own

    def build(self, hp: kt.HyperParameters, index: int, purpose: str = "trial") -> Any:
        """Call the builder, with seeds of its own, and check what it returns."""
        who, recipe = self._builder.label, Recipe(hp.copy(), index, purpose)
        seed = self._ctx.seed_for(purpose, index)
        with seeded(seed):
            try:
                net = call_build(self._builder, hp, self._data, replace(self._ctx, seed=seed, emit=self._once))
            except NOT_FAULTS:
                raise
            except BaseException as error:
                raise fault_of(who, error, code=[self._builder], what="failed to build") from error
            with plugin_errors(f"{who}: what it built", code=[self._builder]):
                if not self._builder.differentiable:
                    if not (hasattr(net, "fit") and hasattr(net, "predict")):
                        raise PluginError(f"{who} built {type(net).__name__}, expected something with fit and predict")
                    check_pickles(net, who)
                    return net
                check_network(net, self._data.space.width, len(self._data.outputs), who, self._builder.closed_form)
                if self._partial and not self._builder.closed_form:
                    ignore_missing(net)
        self._recipes[net] = recipe
        return net

    def rebuild(self, recipe: Recipe, weights: list[Any], rate: float | None) -> Any:
        """Return a network as it was built elsewhere, where what the builder says was told, with what it got since."""
        own = self.in_context(replace(self._ctx, emit=lambda event: None))
        net = own.build(recipe.hp, recipe.index, recipe.purpose)
        net.set_weights(weights)
        if rate is not None:
            net.optimizer.learning_rate = rate
        return net

    def _once(self, event: Event) -> None:
        """Pass on what a builder has to say, but not again for each model that it builds."""
        if event not in self._said:
            self._said.append(event)
            self._ctx.emit(event)

    def _blamed(self, what: str = "") -> AbstractContextManager[None]:
        """Turn what is raised inside into an error of the builder; `what` says of which part of it."""
        label = self._builder.label
        return plugin_errors(f"{label}: {what}" if what else label, code=[self._builder])

    def metrics(self, net: Any) -> dict[str, str | None]:
        """Return what will be reported of a model, with ``"min"``, ``"max"``, or None where Keras knows neither."""
        known: dict[str, str | None] = dict(ERRORS)
        if not self.in_one_go:
            batch = tuple(np.asarray(a[self._rows.train[:1]], np.float32) for a in (self._h, self._z))
            with self._blamed("the loss or the metrics of its network"):
                net._symbolic_build(data_batch=batch)
                known = metric_directions(net)
        return known | ({f"val_{k}": direction for k, direction in known.items()} if len(self._rows.validation) else {})

    def train(
        self,
        models: Sequence[Any],
        indices: Sequence[int],
        purpose: str,
        stage: str,
        epochs: Sequence[int],
        ended: Callable[[int, Outcome], None] = lambda at, outcome: None,
        parts: Sequence[Part] | None = None,
    ) -> list[Outcome]:
        """Train models, networks of one configuration side by side; `ended` is told each position and its outcome.

        Each model learns from its own of `parts`, numbers of rows of the table, by default from the rows of the split.
        Ctrl-C is raised once those that had ended are told.
        """
        outcomes: dict[int, Outcome] = {}
        parts = parts if self._disk is None else None
        if self.in_one_go:
            for at, (model, index) in enumerate(zip(models, indices, strict=True)):
                self._ctx.check_stop()
                with seeded(self._ctx.seed_for(f"{purpose}-fit", index)):
                    outcomes[at] = self._fit(model, self._part(at, parts))
                ended(at, outcomes[at])
            return list(outcomes.values())
        alike: dict[Any, list[int]] = {}
        for at, net in enumerate(models):
            length = None if parts is None else filled_length(len(parts[at][0]), self._settings.batch_size)
            alike.setdefault((architecture_key(net) or f"alone-{at}", epochs[at], length), []).append(at)
        size = self._settings.side_by_side
        works: list[_Alike] = []
        for (_, limit, length), same in alike.items():
            for members in (same[at : at + size] for at in range(0, len(same), size)):
                nets, learn = [models[at] for at in members], [self._part(at, parts) for at in members]
                streams = [self._ctx.seed_for(f"{purpose}-order", indices[at]) for at in members]
                recipes = [self._recipes[net] for net in nets]
                works.append(_Alike(members, nets, recipes, streams, learn, length, limit, stage, ended))
        if self._disk is not None:  # they stay on this machine's disk
            for work in works:
                outcomes |= dict(zip(work.members, self._train_from_disk(work), strict=True))
            return [outcomes[at] for at in range(len(models))]
        pieces = [Piece(f"{stage}: {work.words(len(models))}", work) for work in works]
        results = self._ctx.compute.map(self._ctx, _train_piece, self, pieces)
        for work, (trained, weights) in zip(works, results, strict=True):
            if weights is not None:  # of networks that were trained elsewhere
                for at, net, outcome in zip(work.members, work.nets, trained, strict=True):
                    net.set_weights(weights.pop(0))
                    if outcome.complete:
                        ended(at, outcome)
            if not all(outcome.complete for outcome in trained):
                raise KeyboardInterrupt
            outcomes |= dict(zip(work.members, trained, strict=True))
        return [outcomes[at] for at in range(len(models))]

    def _train_from_disk(self, work: _Alike) -> list[Outcome]:
        """Train networks on all rows of a large table."""
        assert self._disk is not None
        others = [net for net in work.nets if not learns_from_disk(net)]
        if others:
            raise PluginError(
                f"{self._builder.label}: it is compiled with run_eagerly, or its optimizer averages the weights, so it "
                "can't learn from rows that stay on disk",
                "name a smaller table, or compile it otherwise",
            )
        watched = (self._h[self._rows.validation], self._z[self._rows.validation])
        settings = self._settings.model_copy(update={"epochs": work.epochs})

        def told(at: int, outcome: Outcome) -> None:
            if work.ended is not None:
                work.ended(work.members[at], outcome)

        with self._blamed():
            found = train_from_disk(work.nets, work.streams, self._disk, watched, settings, self._ctx, work.stage, told)
        if not all(outcome.complete for outcome in found):
            raise KeyboardInterrupt
        return found

    @property
    def in_one_go(self) -> bool:
        """Whether the models are fitted in one go: regressors, and Keras models in closed form."""
        return self._builder.closed_form or not self._builder.differentiable

    def _part(self, at: int, parts: Sequence[Part] | None) -> Part:
        """Return the rows that the model at a position learns from, and those that are watched."""
        return (self._rows.train, self._rows.validation) if parts is None else parts[at]

    def _fit(self, model: Any, part: Part) -> Outcome:
        """Fit one model in one go."""
        who, rows = self._builder.label, replace(self._rows, train=part[0], validation=part[1])
        if self._builder.closed_form:
            # How many threads BLAS has shows in the last digits, which the search for lengths makes larger.
            with threadpool_limits(limits=1, user_api="blas"):
                return fit_closed_form(model, self._h, self._z, self._data.weights, rows, who, [self._builder, model])
        return fit_regressor(model, self._h, self._z, rows, who, [self._builder, model])

    def answer(self, model: Any, rows: NDArray[np.intp]) -> FloatArray:
        """Return a trained model's (k, m) z for k rows of the table."""
        m, who = self._z.shape[1], self._builder.label
        with self._blamed():
            find = keras_answer if self._builder.differentiable else regressor_answer
            return find(model, self._h[rows], m, who)

    def left_out(self, model: Any, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        """Return means and standard deviations that a model tells of k rows as if it had not learnt from them, in z."""
        with plugin_errors(self._builder.label):
            mean, std = model.left_out(self._h[rows])
        return np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)

    def squared_errors(self, model: Any, rows: NDArray[np.intp]) -> FloatArray:
        """Return a trained model's (k,) squared errors in z for k rows of the table, as much as each row counts."""
        errors: FloatArray = np.nanmean((self.answer(model, rows) - self._z[rows]) ** 2, axis=1)
        if self._data.weights is None:
            return errors
        counts = self._data.weights[rows]
        weighted: FloatArray = errors * counts / counts.mean()
        return weighted

    def _train_alike(
        self,
        nets: list[Any],
        streams: list[int],
        parts: list[Part],
        length: int | None,
        settings: Training,
        stage: str,
        told: Callable[[int, Outcome], None],
    ) -> list[Outcome]:
        """Train networks of one configuration; what their layers, losses or optimizers raise is their builder's."""
        outside: list[BaseException] = []

        def noted(call: Callable[..., None]) -> Callable[..., None]:
            """Note what is raised by whoever watches the run, who may end it so, or keeps its trials."""

            def noting(*args: Any) -> None:
                try:
                    call(*args)
                except BaseException as error:
                    outside.append(error)
                    raise

            return noting

        columns = (self._h, self._z, *([] if self._data.weights is None else [self._data.weights]))
        ctx = replace(self._ctx, emit=noted(self._ctx.emit))
        try:
            with self._blamed():
                return train(nets, streams, columns, parts, settings, ctx, stage, noted(told), length)
        except PluginError:
            if outside:
                raise outside[0] from None
            raise

    def member(self, model: Any) -> Any:
        """Return a trained model as a member of a surrogate: from raw x to raw y, or a regressor with `z`."""
        import keras

        with self._blamed():
            if not self._builder.differentiable:
                return ScaledRegressor(model, self.scaling, self._settings.scale)
            if self._settings.scale:
                return self.scaling.wrap(model)
            x = keras.Input((self._data.space.width,), name="x")
            return keras.Model(x, as_columns(mean_of(model(x))), name="surrogate")


def _elsewhere(builder: Builder, data: Data, rows: Rows, settings: Training, scaling: Scaling) -> Trainer:
    return Trainer(builder, data, rows, settings, Context(), scaling)


def call_build(builder: Builder, hp: kt.HyperParameters, data: Data, ctx: Context) -> Any:
    """Call `build` with those of ``hp``, ``data`` and ``ctx`` that it takes: by name, otherwise in this order."""
    offered = {"hp": hp, "data": data, "ctx": ctx}
    try:
        parameters = inspect.signature(builder.build).parameters.values()
    except (TypeError, ValueError):  # built in
        return builder.build(*offered.values())
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return builder.build(*offered.values())
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return builder.build(**offered)
    required = [p for p in parameters if p.default is p.empty]
    if all(p.name in offered and p.kind is not p.POSITIONAL_ONLY for p in required):
        return builder.build(**{p.name: offered[p.name] for p in parameters if p.name in offered})
    return builder.build(*list(offered.values())[: len(required)])


def check_learnable(builder: Builder, data: Data) -> None:
    """Refuse data that only a Keras model could learn from, where the builder builds none."""
    if builder.differentiable:
        return
    if data.weights is not None:
        raise PluginError(
            f"{builder.label} is not a Keras model; row weights are only supported for Keras models",
            "remove them",
        )
    if np.isnan(data.y).any():
        raise PluginError(
            f"{builder.label} is not a Keras model and can't be trained on rows where an output was not measured",
            "leave those rows out, or train one surrogate for each output",
        )
