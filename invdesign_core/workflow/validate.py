"""All that can be refused before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from invdesign_core.context import Context, StageStarted
from invdesign_core.data.data import Data, Rows, TrainingRows
from invdesign_core.data.patterns import matches
from invdesign_core.data.plausible import check_values
from invdesign_core.data.quality import NAMED, bounds_warnings, doubts_of_split, tell
from invdesign_core.errors import ConfigError, DataError, InvdesignError, PluginError, plugin_errors
from invdesign_core.errors.faults import kind_of
from invdesign_core.plugin import Dataset, Objective, Race, SurrogateBuilder, UserObject
from invdesign_core.registry import Registry
from invdesign_core.search.inverse_problem import check_losses
from invdesign_core.search.loss_functions import LossFunctions
from invdesign_core.search.plan import plan_search
from invdesign_core.search.proximity import NearTo
from invdesign_core.search.trust_boxes import TrustBoxes, measured
from invdesign_core.space.conditions import Scenarios
from invdesign_core.space.expressions import Expression
from invdesign_core.space.space import Space
from invdesign_core.space.units import quoted
from invdesign_core.surrogate.evaluate import Evaluator
from invdesign_core.surrogate.scaling import Scaling
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.surrogate import spread_of
from invdesign_core.surrogate.trainer import check_learnable
from invdesign_core.targets import Prediction, Target, Targets, check_targets, parse_targets
from invdesign_core.truth.command import Command
from invdesign_core.truth.function import Function
from invdesign_core.truth.simulator import find
from invdesign_core.workflow.conditions import put_aside
from invdesign_core.workflow.conditions import tell as tell_of_conditions
from invdesign_core.workflow.confidence import check_second
from invdesign_core.workflow.defaults import AUTO
from invdesign_core.workflow.derived import Understood, derivations, tell_doubts
from invdesign_core.workflow.design import Design
from invdesign_core.workflow.experiment import Experiment, Stages
from invdesign_core.workflow.fixed_inputs import check_conditions
from invdesign_core.workflow.input_limits import check_wanted, note_limits
from invdesign_core.workflow.inverse import check_bounds
from invdesign_core.workflow.others import announce, check_plugins, made_by
from invdesign_core.workflow.race import Entered, candidates_of, check_tuner, entered
from invdesign_core.workflow.train import expects_validation, settle

TRIED = 16
"""Measured rows that an objective by others is tried on."""


@dataclass(frozen=True)
class Checked:
    """An experiment of which all that needs no trained model was checked.

    `user_code` is the builder's; its recipe has gone into `training`.
    """

    stages: Stages
    user_code: tuple[UserObject, ...]
    data: Data
    space: Space
    targets: dict[str, Target]
    near_to: NearTo
    training: Training
    said: Understood
    derived: Mapping[str, Expression]
    race: Entered | None = None
    """What would race, where the surrogate is a race and a first model of each candidate was built."""
    scenarios: Scenarios | None = None
    truth: Function | Command | None = None
    """What `[truth]` names: it is there, and was not called."""


def check(
    experiment: Experiment,
    registry: Registry,
    ctx: Context,
    targets: Sequence[str] = (),
    build: bool = False,
    stages: Stages | None = None,
) -> Checked:
    """Load the data, say what is odd, choose the solver, and refuse whatever can be refused before training.

    `targets` replace those of the experiment for the same outputs. With `build` a first surrogate is built as well, as
    a run does right after: it shows whether the builder can take these data, and which metrics the tuner can choose by.
    `stages` are the experiment's plugins, where they were made before.
    """
    stages = stages or experiment.stages(registry)
    check_second(experiment.confidence, registry)
    truth = find(experiment.truth, experiment.folder) if experiment.truth else None
    with ctx.clock.stage("load"):
        ctx.emit(StageStarted("load"))
        data = load(stages.dataset, ctx)
    announce(registry, stages.all, experiment.solver.use == AUTO, ctx)
    racing = candidates_of(stages.surrogate, registry) if isinstance(stages.surrogate, Race) else []
    user_code = tuple(code for one in racing for code in user_code_of(one.builder, ctx))
    if racing:
        check_tuner(stages.tuner)
    else:
        user_code = user_code_of(stages.surrogate, ctx)
        check_learnable(stages.surrogate, data)
    check_plugins([*stages.all, *(one.builder for one in racing)], data, ctx)
    said = Understood.of(experiment.design, data.space, data.outputs, experiment.units, experiment.derive, data.units)
    design, units = said.design, said.units
    design.tell_converted(experiment.design, ctx)
    _tell_whole(stages.dataset, data, design, ctx)
    own = parse_targets(experiment.targets, data.outputs, None, data.space, units, said.derive)
    wanted = parse_targets(targets, data.outputs, own, data.space, units, said.derive)
    check_wanted(wanted, data.space)
    space = design.apply(data.space, data.outputs, limits=wanted)
    derived = derivations(said.derive, space, data.outputs)
    tell_doubts(derived, space, ctx)
    for doubt in bounds_warnings(space, data.space):
        ctx.warn(doubt)
    scenarios = design.scenarios(data.space, data.x, ctx)
    tell_of_conditions(scenarios, data.space, ctx)
    note_limits(wanted, space, ctx)
    if not (wanted or targets or experiment.targets) and data.example:
        wanted = _example(data, stages.dataset)
        asked = ", ".join(f"{name} {target}" for name, target in wanted.items())
        ctx.note(f"no target was given; using the dataset's example: {asked}")
    check_bounds(space)
    if wanted:
        check_conditions(space)
    near_to = design.near_to(space)
    extremum = any(target.goal is not None for target in wanted.values())
    near_to.check(extremum)
    if extremum and experiment.solver.use == AUTO:
        learner = stages.surrogate
        solver = experiment.pick_solver(registry, stages.objective, learner.name, learner.differentiable, extremum)
        stages = stages.model_copy(update={"solver": solver})
    training, rows = settle(data, stages.surrogate, experiment.training, ctx)
    if wanted:
        predicted = {name: target for name, target in wanted.items() if name in data.outputs}
        check_targets(Targets.build([predicted], data.outputs, spread_of(data.y)), np.nanmean(data.y, axis=0))
    if wanted and made_by(registry, [stages.objective]):
        _try_objective(stages.objective, data, wanted)
    if wanted:
        _check_search(space, stages, near_to, data, replace(rows, x=put_aside(rows.x, space, scenarios)), ctx)
    tell(data, ctx, space, training.scale)
    race = None
    if build and isinstance(stages.surrogate, Race):
        deciding = [name for name in data.outputs if name in wanted]
        race = entered(data, stages.surrogate, racing, training, ctx, deciding)
    elif build:
        doubts = doubts_of_split(rows) if expects_validation(stages.surrogate, training) else []
        for doubt in doubts:  # which a run says
            ctx.warn(doubt)
        Evaluator(stages.surrogate, data, rows, stages.tuner, training, ctx)
    return Checked(stages, user_code, data, space, wanted, near_to, training, said, derived, race, scenarios, truth)


def _tell_whole(dataset: Dataset, data: Data, design: Design, ctx: Context) -> None:
    """Say which variables with bounds are whole numbers only because all rows are, where the dataset has `kinds`."""
    kinds = getattr(dataset, "kinds", None)
    if not isinstance(kinds, Mapping):
        return
    names = data.space.names
    said = {*design.step, *(name for item in kinds for name in matches(item, names))}
    found = [v.name for v in data.space.variables if v.kind == "integer" and v.name in design.bounds.keys() - said]
    if found:
        listed = ", ".join(map(repr, found[:NAMED])) + (", …" if len(found) > NAMED else "")
        ctx.note(
            f"whole numbers in all rows, so only whole numbers are looked for: {listed}; where any number will do: "
            f'[dataset] kinds = {{ {quoted(found[0])} = "continuous"{", …" if len(found) > 1 else ""} }}'
        )


def _try_objective(objective: Objective, data: Data, wanted: Mapping[str, Target]) -> None:
    """Have an objective by others judge some measured rows, and so be compiled, before anything is trained."""
    y = data.y[np.isfinite(data.y).all(axis=1)][:TRIED]
    if not len(y):
        return
    scaling = Scaling.of(np.zeros((len(y), 1)), y)
    asked = {name: target for name, target in wanted.items() if name in data.outputs}
    targets = Targets.build([asked], data.outputs, spread_of(y))
    z = Prediction((y - scaling.y_shift) / scaling.y_scale, None)
    untrained: Any = Untrained(data.outputs)
    losses = LossFunctions(untrained, objective)
    goal = targets.goal(scaling.y_shift, scaling.y_scale).take(np.zeros(len(y), dtype=np.intp))
    check_losses(losses.loss_of(z, goal), z, objective.label)


@dataclass(frozen=True)
class Untrained:
    """What an objective may ask of a surrogate that is not there yet: the names of its outputs."""

    outputs: tuple[str, ...]


def user_code_of(builder: SurrogateBuilder, ctx: Context) -> tuple[UserObject, ...]:
    """Return the code of the user's own that a builder works with."""
    with plugin_errors(builder.label, code=[builder]):
        found = tuple(builder.user_code(ctx))
        for item in found:
            if not isinstance(item, UserObject):
                raise TypeError(f"user_code returned {kind_of(item)}, expected UserObjects")
    return found


def _example(data: Data, dataset: Dataset) -> dict[str, Target]:
    """Return a dataset's example target, or blame the dataset for it."""
    try:
        return parse_targets(data.example or {}, data.outputs)
    except ConfigError as error:
        raise PluginError(f"{dataset.label}: its example target can't be used: {error.message}", error.hint) from None


def _check_search(space: Space, stages: Stages, near_to: NearTo, data: Data, rows: Rows, ctx: Context) -> None:
    """Refuse a search that no design could come out of, whatever the surrogate says."""
    plan_search(space, stages.solver, replace(ctx, emit=lambda event: None))
    if near_to.to_data:
        seen = np.concatenate([rows.train, rows.validation])
        known = TrainingRows(rows.x[seen], rows.y[seen])
        boxes = TrustBoxes(space, measured(known, space))
        boxes.around_rows(known, np.zeros((1, len(seen))), np.array(space.bounds)[:, None], 1)


def load(dataset: Dataset, ctx: Context) -> Data:
    """Return a dataset's data, if they are what it says of them; what is wrong is the dataset's, never a target's."""
    with plugin_errors(dataset.label, code=[dataset]):
        try:
            data = dataset.load(ctx)
        except InvdesignError as error:
            if type(dataset).brought_by and dataset.label not in error.message:
                raise type(error)(f"{dataset.label}: {error.message}", error.hint) from error
            raise
        if not isinstance(data, Data):
            raise TypeError(f"load returned {kind_of(data)}, expected Data")
    try:
        check_values(data)
    except DataError as error:
        raise DataError(f"{dataset.label}: {error.message}", error.hint) from None
    return data
