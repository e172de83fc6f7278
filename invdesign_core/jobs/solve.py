"""`solve`: new answers from a saved surrogate, or from a model of the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign_core import backend, pipeline
from invdesign_core.choosing import AUTO, pick_solver
from invdesign_core.context import Context, Event
from invdesign_core.errors import ConfigError, InvdesignError
from invdesign_core.jobs.check import load
from invdesign_core.jobs.result import Result, make_report, pass_on
from invdesign_core.registry import Registry
from invdesign_core.results import SurrogateReport
from invdesign_core.runs import RunFolder
from invdesign_core.targets import Target, parse_targets
from invdesign_core.user_code import import_named, keras_objects

if TYPE_CHECKING:
    from invdesign_core.experiment import Experiment
    from invdesign_core.surrogate import Surrogate


def solve_saved(
    run: Path,
    targets: Sequence[str],
    *,
    registry: Registry | None = None,
    overrides: Mapping[str, Any] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    fixed: Mapping[str, Any] | None = None,
    seed: int | None = None,
    backend_name: str | None = None,
    allow_code: bool = False,
    imports: Sequence[str] = (),
    ctx: Context | None = None,
) -> Result:
    """Invert the surrogate of a run folder again.

    Parameters
    ----------
    run : Path
        The run folder.
    targets : sequence of str
        As `--target` takes them; without any, those of the run.
    registry : Registry, optional
        The plugins; by default those installed.
    overrides : mapping, optional
        Sections of the experiment to replace: ``objective``, ``solver``, ``design``.
    bounds, fixed : mapping, optional
        What may vary in this solve.
    seed : int, optional
        By default the run's.
    backend_name : str, optional
        By default what the environment says; a saved surrogate runs on either.
    allow_code : bool
        Whether code in the surrogate's files may run.
    imports : sequence of str
        Modules, or files that end in .py, with the classes and functions that those files name.
    ctx : Context, optional
        Takes the events, counts the seconds, and can stop the search.
    """
    from invdesign_core.experiment import Experiment

    outer = ctx or Context()
    clock = outer.clock
    folder = RunFolder.open(run)
    stored = folder.read_json("resolved.json")
    settings = {**stored["experiment"], **(overrides or {})}
    if seed is not None:
        settings["seed"] = seed
    base = Path(stored["folder"])
    with clock.stage("import"):
        running = backend.select(backend_name)
        registry = registry or Registry.discover()
        experiment = Experiment.from_mapping(settings, str(run), base)
        objective: Any = registry.create("objective", experiment.objective.use, experiment.objective.options)
        import keras  # noqa: F401
    notes: list[str] = []
    ctx = replace(outer, seed=experiment.seed, folder=base, emit=lambda event: pass_on(event, notes, registry, outer))
    with clock.stage("load"):
        ctx.emit(Event("stage", {"stage": "load"}))
        with _imported(imports):
            surrogate, known = folder.read_surrogate(allow_code)
        truth = _truth(experiment, registry, ctx) if stored["truth"] else None
    differentiable, name = surrogate.differentiable, experiment.surrogate.use
    solver = pick_solver(registry, experiment.solver.use, experiment.solver.options, objective, differentiable, name)
    space = surrogate.space.restrict(
        {**experiment.design.bounds, **(bounds or {})}, {**experiment.design.fixed, **(fixed or {})}
    )
    wanted = parse_targets(targets, surrogate.outputs) or parse_targets(
        stored["experiment"]["targets"], surrogate.outputs
    )
    _need_target(wanted, surrogate.outputs)
    answers = pipeline.invert(surrogate, wanted, space, objective, solver, ctx, known, truth, experiment.design.designs)
    saved = folder.write_answers(answers, folder.next_solve())
    ctx.note(f"every start and design is in {saved}")
    trained = folder.read_json("run.json")["surrogate"] if folder.has("run.json") else None
    report = make_report(
        answers,
        SurrogateReport(**trained) if trained else _loaded(surrogate, experiment.surrogate.use),
        folder.path,
        {
            **{kind: item["name"] for kind, item in stored["plugins"].items()},
            "objective": objective.name,
            "solver": solver.name,
        },
        experiment.seed,
        running,
        notes,
        clock.report(),
    )
    folder.write_json(f"solve/{saved.name}/report.json", report.model_dump())
    return Result(report, answers, surrogate)


def solve_model(
    path: Path,
    targets: Sequence[str],
    *,
    registry: Registry | None = None,
    objective: tuple[str, Mapping[str, Any]] = ("mse", {}),
    solver: tuple[str, Mapping[str, Any]] = (AUTO, {}),
    table: Path | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    fixed: Mapping[str, Any] | None = None,
    designs: int = 5,
    seed: int = 0,
    backend_name: str | None = None,
    allow_code: bool = False,
    imports: Sequence[str] = (),
    ctx: Context | None = None,
) -> Result:
    """Invert a Keras model of the user's own.

    Parameters
    ----------
    path : Path
        A ``.keras`` file, with one or several inputs and outputs of one or two axes.
    targets : sequence of str
        As `--target` takes them.
    registry : Registry, optional
        The plugins; by default those installed.
    objective, solver : pairs
        Plugin name and options.
    table : Path, optional
        A table with the inputs, whose ranges become bounds, and maybe the outputs.
    inputs, outputs : sequence of str, optional
        Names, in the model's order; by default those of its several inputs and outputs, or the table's
        columns, or x1, x2, … and y, or y1, y2, ….
    bounds, fixed : mapping, optional
        What may vary.
    designs : int
        Designs to report.
    seed : int
        Fixes the starts.
    backend_name : str, optional
        By default what the environment says.
    allow_code : bool
        Whether code in the file may run.
    imports : sequence of str
        Modules, or files that end in .py, with the classes and functions that the file names.
    ctx : Context, optional
        Takes the events, counts the seconds, and can stop the search.
    """
    from invdesign_core.influence import describe, sample
    from invdesign_core.jobs.naming import name_ports
    from invdesign_core.models import load_model
    from invdesign_core.ports import one_tensor
    from invdesign_core.surrogate import Surrogate

    outer = ctx or Context()
    clock = outer.clock
    with clock.stage("import"):
        running = backend.select(backend_name)
        registry = registry or Registry.discover()
        goal: Any = registry.create("objective", *objective)
        search = pick_solver(registry, *solver, goal, True, path.name)
        import keras  # noqa: F401
    notes: list[str] = []
    ctx = replace(outer, seed=seed, emit=lambda event: pass_on(event, notes, registry, outer))
    with clock.stage("load"):
        ctx.emit(Event("stage", {"stage": "load"}))
        with _imported(imports):
            model, ports = one_tensor(load_model(path, allow_code), path)
        named = name_ports(ports, path, table, inputs, outputs)
        space = named.space.restrict(bounds, fixed)
        wanted = parse_targets(targets, named.outputs)
        _need_target(wanted, named.outputs)
        pipeline.check_bounds(space)
        sampled = sample(model, space)
        y = named.rows[1] if named.rows is not None else None
        surrogate = Surrogate.of_model(model, space, named.outputs, y=y, sampled=sampled)
    describe(sampled, space, named.outputs, wanted, ctx)
    answers = pipeline.invert(surrogate, wanted, space, goal, search, ctx, named.rows, None, designs)
    report = make_report(
        answers,
        _loaded(surrogate, None),
        None,
        {"objective": goal.name, "solver": search.name},
        seed,
        running,
        notes,
        clock.report(),
    )
    return Result(report, answers, surrogate)


def _truth(experiment: Experiment, registry: Registry, ctx: Context) -> Any:
    """Return the dataset's true model, or None where the dataset can't be loaded any more."""
    try:
        dataset: Any = registry.create("dataset", experiment.dataset.use, experiment.dataset.options)
        return load(dataset, replace(ctx, emit=lambda event: None)).truth
    except InvdesignError as error:
        ctx.warn(f"the dataset can't be loaded, so designs are judged by the prediction: {error.message}")
        return None


@contextmanager
def _imported(modules: Sequence[str]) -> Iterator[None]:
    """Let model files that are loaded meanwhile find what a user's modules define."""
    import keras

    found: dict[str, Any] = {}
    for item in modules:
        found |= keras_objects(import_named(item, Path.cwd(), f"--import {item}"))
    with keras.saving.custom_object_scope(found):
        yield


def _need_target(wanted: Mapping[str, Target], outputs: Sequence[str]) -> None:
    if not wanted:
        example = f"--target '{outputs[0]}=1'"
        raise ConfigError(
            "no target is named", f"for example {example}; the outputs are {', '.join(map(repr, outputs))}"
        )


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
