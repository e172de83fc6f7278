"""`solve`: new answers from a saved surrogate, or from a model of the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core import backend, pipeline
from invdesign_core.context import Context, Event
from invdesign_core.errors import ConfigError, DataError, InvdesignError, near_match
from invdesign_core.jobs.check import load
from invdesign_core.jobs.result import Result, make_report, pass_on
from invdesign_core.registry import Registry
from invdesign_core.results import SurrogateReport
from invdesign_core.runs import RunFolder
from invdesign_core.solving import check_solver
from invdesign_core.space import FloatArray, Space, Variable, infer_variable
from invdesign_core.tables import read_table
from invdesign_core.targets import Target, parse_targets

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
        solver: Any = registry.create("solver", experiment.solver.use, experiment.solver.options)
        import keras  # noqa: F401
    notes: list[str] = []
    ctx = replace(outer, seed=experiment.seed, folder=base, emit=lambda event: pass_on(event, notes, registry, outer))
    with clock.stage("load"):
        ctx.emit(Event("stage", {"stage": "load"}))
        surrogate, known = folder.read_surrogate(allow_code)
        truth = _truth(experiment, registry, ctx) if stored["truth"] else None
    differentiable, name = surrogate.differentiable, experiment.surrogate.use
    check_solver(solver, objective, differentiable, name, registry.labels("solver"))
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
    solver: tuple[str, Mapping[str, Any]] = ("lbfgsb", {}),
    table: Path | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    fixed: Mapping[str, Any] | None = None,
    designs: int = 5,
    seed: int = 0,
    backend_name: str | None = None,
    allow_code: bool = False,
    ctx: Context | None = None,
) -> Result:
    """Invert a Keras model of the user's own.

    Parameters
    ----------
    path : Path
        A ``.keras`` file with one input and one output tensor.
    targets : sequence of str
        As `--target` takes them.
    registry : Registry, optional
        The plugins; by default those installed.
    objective, solver : pairs
        Plugin name and options.
    table : Path, optional
        A table with the inputs, whose ranges become bounds, and maybe the outputs.
    inputs, outputs : sequence of str, optional
        Names, in the model's order; by default the table's columns, or x1, x2, … and y, or y1, y2, ….
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
    ctx : Context, optional
        Takes the events, counts the seconds, and can stop the search.
    """
    from invdesign_core.models import check_inputs_outputs, load_model
    from invdesign_core.surrogate import Surrogate

    outer = ctx or Context()
    clock = outer.clock
    with clock.stage("import"):
        running = backend.select(backend_name)
        registry = registry or Registry.discover()
        goal: Any = registry.create("objective", *objective)
        search: Any = registry.create("solver", *solver)
        check_solver(search, goal, True, path.name)
        import keras  # noqa: F401
    notes: list[str] = []
    ctx = replace(outer, seed=seed, emit=lambda event: pass_on(event, notes, registry, outer))
    with clock.stage("load"):
        ctx.emit(Event("stage", {"stage": "load"}))
        model = load_model(path, allow_code)
        width, count = check_inputs_outputs(model, path)
        space, names, rows = _names(width, count, path, table, inputs, outputs)
        space = space.restrict(bounds, fixed)
        wanted = parse_targets(targets, names)
        _need_target(wanted, names)
        pipeline.check_bounds(space)
        y = rows[1] if rows is not None else None
        surrogate = Surrogate.of_model(model, space, names, y=y)
    if (surrogate.spread <= 1e-9 * (1 + abs(surrogate.shift))).any() and y is None:
        ctx.warn("a predicted output doesn't change anywhere in the bounds; check them, and the model")
    known = (rows[0], rows[1]) if rows is not None and rows[1] is not None else None
    answers = pipeline.invert(surrogate, wanted, space, goal, search, ctx, known, None, designs)
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


def _names(
    width: int,
    count: int,
    path: Path,
    table: Path | None,
    inputs: Sequence[str] | None,
    outputs: Sequence[str] | None,
) -> tuple[Space, tuple[str, ...], tuple[FloatArray, FloatArray | None] | None]:
    """Name a bare model's inputs and outputs, and read their ranges off a table where there is one."""
    if table is None:
        x_names = list(inputs or [f"x{i + 1}" for i in range(width)])
        y_names = list(outputs or (["y"] if count == 1 else [f"y{i + 1}" for i in range(count)]))
        _check_names(path, x_names, width, "inputs", "--inputs")
        _check_names(path, y_names, count, "outputs", "--outputs")
        return Space(tuple(Variable(name) for name in x_names)), tuple(y_names), None
    frame = read_table(table)
    columns = list(frame.columns)
    if outputs is None and inputs is None and len(columns) != width:
        raise ConfigError(
            f"{table} has {len(columns)} columns, the model has {width} inputs and {count} outputs: which are which?",
            f"name the output columns: --outputs {','.join(columns[-count:])}",
        )
    for name in (*(inputs or ()), *(outputs or ())):
        if name not in columns and name in (inputs or ()):
            raise DataError(f"{table}: there is no column {name!r}", near_match(name, columns))
    x_names = list(inputs or [c for c in columns if c not in set(outputs or ())])
    measured = outputs is not None and all(name in columns for name in outputs)
    y_names = list(outputs or (["y"] if count == 1 else [f"y{i + 1}" for i in range(count)]))
    _check_names(path, x_names, width, "inputs", "--inputs")
    _check_names(path, y_names, count, "outputs", "--outputs")
    space = Space(tuple(infer_variable(name, frame[name]) for name in x_names))
    y = frame[y_names].to_numpy(dtype=np.float64) if measured else None
    return space, tuple(y_names), (space.encode(frame), y)


def _check_names(path: Path, names: Sequence[str], count: int, what: str, option: str) -> None:
    if len(names) != count:
        listed = ", ".join(map(repr, names))
        raise ConfigError(
            f"{path}: the model has {count} {what}, found {len(names)} names: {listed}",
            f"name them: {option} a,b,…",
        )


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
