"""Before a solve: a saved surrogate or a model of the user's own, with what it needs to be inverted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign_core.context import Context, StageStarted
from invdesign_core.data.data import TrainingRows
from invdesign_core.data.own_columns import as_targets
from invdesign_core.data.quality import bounds_warnings
from invdesign_core.designs.report import SurrogateReport
from invdesign_core.errors import InvdesignError
from invdesign_core.registry import OWN, Registry
from invdesign_core.search.inverse_problem import InverseProblem, Wishes
from invdesign_core.space.space import Space
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.user_code import import_named, keras_objects
from invdesign_core.workflow import identity
from invdesign_core.workflow.defaults import AUTO
from invdesign_core.workflow.fixed_inputs import check_command, held_names
from invdesign_core.workflow.inverse import ForwardModel, inverse_problem
from invdesign_core.workflow.result import pass_on
from invdesign_core.workflow.run_folder import RunFolder
from invdesign_core.workflow.solver_choice import Requirements, asks_for_extremum, pick_solver
from invdesign_core.workflow.validate import load

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.plugin import Objective, Solver
    from invdesign_core.search.proximity import NearTo
    from invdesign_core.surrogate.model_check import ModelSample
    from invdesign_core.surrogate.surrogate import Surrogate
    from invdesign_core.targets import Target
    from invdesign_core.workflow.design import Design
    from invdesign_core.workflow.experiment import Experiment


@dataclass(frozen=True)
class Prepared:
    """What a solve works with."""

    surrogate: Surrogate
    space: Space
    objective: Objective
    solver: Solver
    known: TrainingRows | None
    truth: Any
    designs: int
    near_to: NearTo
    report: SurrogateReport
    plugins: Mapping[str, str]
    running: str
    ctx: Context
    notes: list[str]
    source: str
    base: Space
    design: Design
    command: Design
    versions: Mapping[str, str]
    code: str
    folder: RunFolder | None = None
    targets: Mapping[str, Any] | None = None
    sampled: ModelSample | None = None

    def problem(self, targets: Mapping[str, Target] | pd.DataFrame) -> InverseProblem:
        """Return the inverse problem of some targets."""
        model = ForwardModel(self.surrogate, self.report, self.known, self.truth)
        wishes = Wishes(self.designs, self.near_to)
        return inverse_problem(model, self.space, targets, self.objective, self.solver, wishes)

    def holding(self, frame: pd.DataFrame) -> Prepared:
        """Return the same for a table of targets, whose values win over what a run says of their variables."""
        names = held_names(self.base, frame)
        if not names:
            return self
        check_command(self.command, self.base, frame)
        space = self.design.apply(self.base, self.surrogate.outputs, frame)
        return replace(self, space=space, near_to=self.design.near_to(space, names))


def prepare_saved(
    run: Path,
    *,
    registry: Registry | None = None,
    overrides: Mapping[str, Any] | None = None,
    seed: int | None = None,
    backend_name: str | None = None,
    allow_code: bool = False,
    imports: Sequence[str] = (),
    targets: Sequence[str] = (),
    frame: pd.DataFrame | None = None,
    ctx: Context | None = None,
    **design: Any,
) -> Prepared:
    """Read the surrogate of a run folder, to invert it again."""
    from invdesign_core.workflow.design import Design, merge_design
    from invdesign_core.workflow.experiment import Experiment

    outer = ctx or Context()
    clock = outer.clock
    folder = RunFolder.open(run)
    stored = folder.read_settings_of_surrogate()
    settings = _overridden(stored["experiment"], overrides or {})
    settings["design"] = merge_design(settings.get("design", {}), design)
    if seed is not None:
        settings["seed"] = seed
    base = Path(stored["folder"])
    with clock.stage("import"):
        running = backend.select(backend_name)
        registry = registry or Registry.discover()
        settings = _as_it_ran(settings, stored, registry)
        experiment = Experiment.from_mapping(settings, str(run), base)
        objective: Any = registry.create("objective", experiment.objective.use, experiment.objective.options)
        import keras  # noqa: F401
    notes: list[str] = []
    ctx = replace(outer, seed=experiment.seed, folder=base, emit=lambda event: pass_on(event, notes, registry, outer))
    with clock.stage("load"):
        ctx.emit(StageStarted("load"))
        with imported(imports) as code:
            surrogate, known = folder.read_surrogate(allow_code)
        truth = _truth(experiment, registry, ctx) if stored["truth"] else None
    differentiable, name = surrogate.differentiable, stored["plugins"]["surrogate"]["name"]
    demand = experiment.demand(objective, name, differentiable)
    if targets:  # they replace those of the run
        demand = replace(demand, extremum=asks_for_extremum(targets))
    solver = pick_solver(registry, *experiment.choice("solver", registry), demand)
    command = Design.from_mapping(merge_design((overrides or {}).get("design", {}), design))
    frame = _checked(frame, surrogate.space, surrogate.outputs, command)
    held = held_names(surrogate.space, frame)
    space = experiment.design.apply(surrogate.space, surrogate.outputs, frame)
    for doubt in bounds_warnings(space, surrogate.space):
        ctx.warn(doubt)
    trained = folder.read_report()
    plugins = {kind: item["name"] for kind, item in stored["plugins"].items()}
    return Prepared(
        surrogate,
        space,
        objective,
        solver,
        known,
        truth,
        experiment.design.designs,
        experiment.design.near_to(space, held),
        trained or _loaded(surrogate, name),
        plugins | {"objective": objective.name, "solver": solver.name},
        running,
        ctx,
        notes,
        str(run),
        surrogate.space,
        experiment.design,
        command,
        identity.versions(running, registry, [objective, solver]),
        identity.digest(code, stored["plugins"]["dataset"] if truth is not None else None),
        folder,
        stored["experiment"]["targets"],
    )


def prepare_model(
    path: Path,
    *,
    registry: Registry | None = None,
    objective: tuple[str, Mapping[str, Any]] = (f"{OWN}:mse", {}),
    solver: tuple[str, Mapping[str, Any]] = (AUTO, {}),
    table: Path | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    seed: int = 0,
    backend_name: str | None = None,
    allow_code: bool = False,
    imports: Sequence[str] = (),
    targets: Sequence[str] = (),
    frame: pd.DataFrame | None = None,
    ctx: Context | None = None,
    **design: Any,
) -> Prepared:
    """Load a Keras model of the user's own, to invert it."""
    from invdesign_core.surrogate.keras_file import evaluated, load_model
    from invdesign_core.surrogate.model_check import sample
    from invdesign_core.surrogate.signature import one_tensor
    from invdesign_core.surrogate.surrogate import Surrogate
    from invdesign_core.workflow.agreement import contradictions
    from invdesign_core.workflow.design import Design
    from invdesign_core.workflow.naming import name_tensors
    from invdesign_core.workflow.pipeline import check_bounds, test_metrics

    wanted = Design.from_mapping(design)
    outer = ctx or Context()
    clock = outer.clock
    with clock.stage("import"):
        running = backend.select(backend_name)
        registry = registry or Registry.discover()
        goal: Any = registry.create("objective", *objective)
        demand = Requirements(goal, path.name, linear=wanted.linear, extremum=asks_for_extremum(targets))
        search = pick_solver(registry, *solver, demand)
        import keras  # noqa: F401
    notes: list[str] = []
    ctx = replace(outer, seed=seed, emit=lambda event: pass_on(event, notes, registry, outer))
    with clock.stage("load"):
        ctx.emit(StageStarted("load"))
        with imported(imports) as code, evaluated(path):
            model, ports = one_tensor(load_model(path, allow_code), path)
        named = name_tensors(ports, path, table, inputs, outputs)
        frame = _checked(frame, named.space, named.outputs, wanted)
        held = held_names(named.space, frame)
        space = wanted.apply(named.space, named.outputs, frame)
        check_bounds(space)
        box = space
        if held:  # units and tolerances are those of the bounds; where there are none, of the table of targets
            own = wanted.restrict(named.space)
            unbounded = own.unbounded()
            pairs = zip(own.variables, space.variables, strict=True)
            box = Space(tuple(row if v.name in unbounded else v for v, row in pairs), space.given)
        with evaluated(path):
            sampled = sample(model, box)
        y = named.rows.y if named.rows is not None else None
        surrogate = Surrogate.of_model(model, box, named.outputs, y=y, sampled=sampled)
        report = _loaded(surrogate, None)
        if named.measured is not None:
            with evaluated(path):
                test = test_metrics(surrogate, named.measured.x, named.measured.y)
                doubts = contradictions(surrogate, named.measured, test, set(ports.kinds) == {"continuous"})
            report = report.model_copy(update={"rows": {"table": len(named.measured.x)}, "test": test})
            for doubt in doubts:
                ctx.warn(doubt)
    return Prepared(
        surrogate,
        space,
        goal,
        search,
        named.rows,
        None,
        wanted.designs,
        wanted.near_to(space, held),
        report,
        {"objective": goal.name, "solver": search.name},
        running,
        ctx,
        notes,
        str(path),
        named.space,
        wanted,
        wanted,
        identity.versions(running, registry, [goal, search]),
        identity.digest(code),
        sampled=sampled,
    )


def _checked(frame: pd.DataFrame | None, space: Space, outputs: Sequence[str], command: Design) -> pd.DataFrame | None:
    """Return a table of targets under the names of the variables; its values must agree with those of the command."""
    if frame is None:
        return None
    frame = as_targets(frame, space, outputs, Context())
    check_command(command, space, frame)
    return frame


def _overridden(stored: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the sections of a solve over those of a run: key by key, but another plugin starts from its own defaults."""
    settings = dict(stored)
    for section, values in overrides.items():
        before = dict(stored.get(section, {}))
        another = "use" in values and values["use"] != before.get("use")
        settings[section] = dict(values) if another else before | dict(values)
    return settings


def _as_it_ran(settings: Mapping[str, Any], stored: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """Name the run's plugins with the distributions that they came from, where others have come to share a name."""
    named = dict(settings)
    for kind, plugin in stored["plugins"].items():
        section = named[kind]
        shared = sum(entry.kind == kind and entry.name == plugin["name"] for entry in registry.entries) > 1
        if shared and section == stored["experiment"][kind] and section["use"] == plugin["name"]:
            named[kind] = {**section, "use": f"{plugin['distribution']}:{plugin['name']}"}
    return named


def _truth(experiment: Experiment, registry: Registry, ctx: Context) -> Any:
    """Return the dataset's true model, or None where the dataset can't be loaded any more."""
    try:
        dataset: Any = registry.create("dataset", experiment.dataset.use, experiment.dataset.options)
        return load(dataset, replace(ctx, emit=lambda event: None)).truth
    except InvdesignError as error:
        ctx.warn(f"the dataset can't be loaded, so designs are judged by the prediction: {error.message}")
        return None


@contextmanager
def imported(modules: Sequence[str]) -> Iterator[list[str]]:
    """Let model files that are loaded meanwhile find what a user's modules define; give digests of their code."""
    import keras

    found: dict[str, Any] = {}
    code: list[str] = []
    for item in modules:
        module = import_named(item, Path.cwd(), f"--import {item}")
        found |= keras_objects(module)
        code.append(identity.of_files(Path(module.__file__)) if module.__file__ else item)
    with keras.saving.custom_object_scope(found):
        yield code


def _loaded(surrogate: Surrogate, plugin: str | None) -> SurrogateReport:
    return SurrogateReport(
        plugin=plugin,
        members=len(surrogate.members),
        trials=0,
        failed=0,
        best={},
        objective=None,
        score=None,
        retrained=False,
        rows={},
        test={},
    )
