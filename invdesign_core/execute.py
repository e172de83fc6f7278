"""An experiment from its settings to its run folder, and a saved surrogate to new answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core import backend, pipeline
from invdesign_core.context import Context, Event
from invdesign_core.data import Data
from invdesign_core.errors import ConfigError, DataError, InvdesignError, blamed, near_match
from invdesign_core.goal import Target, parse_targets
from invdesign_core.plugin import KINDS, Dataset
from invdesign_core.registry import Registry
from invdesign_core.results import Report, SurrogateReport, design_reports, target_reports
from invdesign_core.runs import RunFolder
from invdesign_core.solving import check_solver
from invdesign_core.space import FloatArray, Space, Variable, infer_variable
from invdesign_core.tables import read_table

if TYPE_CHECKING:
    from invdesign_core.designs import Answers
    from invdesign_core.experiment import Experiment, Stages
    from invdesign_core.surrogate import Surrogate


@dataclass(frozen=True)
class Result:
    """What a run gave.

    Attributes
    ----------
    report : Report
        The summary that `run.json` holds.
    answers : Answers or None
        Every start and the designs as tables; None without a target.
    surrogate : Surrogate
        The forward map.
    """

    report: Report
    answers: Answers | None
    surrogate: Surrogate


@dataclass(frozen=True)
class Checked:
    """An experiment of which all that needs no trained model was checked."""

    stages: Stages
    data: Data
    space: Space
    targets: dict[str, Target]


def check(experiment: Experiment, registry: Registry, ctx: Context, targets: Sequence[str] = ()) -> Checked:
    """Create the plugins, load the data, and refuse whatever can be refused before training.

    Parameters
    ----------
    experiment : Experiment
        The settings.
    registry : Registry
        The installed plugins.
    ctx : Context
        Seeds and events.
    targets : sequence of str
        Targets of the command line; they replace those of the experiment for the same outputs.

    Raises
    ------
    ConfigError, PluginError, DataError
        Whatever is wrong first.
    """
    stages = experiment.stages(registry)
    check_plugins(stages, registry)
    with ctx.clock.stage("load"):
        ctx.emit(Event("stage", {"stage": "load"}))
        data = load(stages.dataset, ctx)
    space = data.space.restrict(experiment.design.bounds, experiment.design.fixed)
    wanted = parse_targets(experiment.targets, data.outputs) | parse_targets(targets, data.outputs)
    if not wanted and data.example:
        wanted = parse_targets(data.example, data.outputs)
        asked = ", ".join(f"{name} {target}" for name, target in wanted.items())
        ctx.note(f"no target was named; the dataset's example is taken: {asked}")
    pipeline.check_bounds(space)
    return Checked(stages, data, space, wanted)


def load(dataset: Dataset, ctx: Context) -> Data:
    """Return a dataset's data.

    Raises
    ------
    PluginError
        If the plugin fails or returns something else.
    """
    with blamed(dataset.label):
        data = dataset.load(ctx)
        if not isinstance(data, Data):
            raise TypeError(f"load returned {data!r}, expected Data")
    return data


def check_plugins(stages: Stages, registry: Registry) -> None:
    """Refuse a solver that can't take the surrogate and the objective."""
    differentiable, name = stages.surrogate.differentiable, stages.surrogate.name
    check_solver(stages.solver, stages.objective, differentiable, name, registry.labels("solver"))


def run_experiment(
    experiment: Experiment,
    targets: Sequence[str] = (),
    out: Path | str | None = None,
    *,
    registry: Registry | None = None,
    resume: bool = False,
    source: str | None = None,
    ctx: Context | None = None,
) -> Result:
    """Load, split, tune, train, save, invert and report.

    Parameters
    ----------
    experiment : Experiment
        The settings.
    targets : sequence of str
        More targets, as `--target` takes them.
    out : path, optional
        The run folder; by default a new one below ``runs/``.
    registry : Registry, optional
        The plugins; by default those installed.
    resume : bool
        Whether to go on with an unfinished run in `out`.
    source : str, optional
        The text of the experiment file, to be kept with the run.
    ctx : Context, optional
        Takes the events, counts the seconds, and can stop the run; seed and folder are the experiment's.

    Raises
    ------
    InvdesignError
        If anything is wrong with the request, the data, a plugin or the run folder.
    """
    outer = ctx or Context()
    clock = outer.clock
    with clock.stage("import"):
        running = backend.select(experiment.backend)
        registry = registry or Registry.discover()
        experiment.stages(registry)  # refuse before the heavy imports
        import keras
        import pandas  # noqa: F401
    notes: list[str] = []
    folder: RunFolder | None = None

    def emit(event: Event) -> None:
        if folder is not None:
            folder.event(event)
        _pass_on(event, notes, registry, outer)

    ctx = replace(outer, seed=experiment.seed, folder=experiment.folder, emit=emit)
    checked = check(experiment, registry, ctx, targets)
    folder = RunFolder.create(Path(out) if out is not None else None, resume)
    try:
        _write_settings(folder, experiment, checked, registry, running, source)
        emit(Event("run", {"path": str(folder.path)}))
        stages, data = checked.stages, checked.data
        table = folder.trials()
        fitted = pipeline.fit(data, stages.surrogate, stages.tuner, experiment.training, ctx, table)
        folder.write_trials(table.results)
        folder.write_surrogate(fitted.surrogate, fitted.known)
        answers = None
        if checked.targets:
            answers = pipeline.invert(
                fitted.surrogate,
                checked.targets,
                checked.space,
                stages.objective,
                stages.solver,
                ctx,
                fitted.known,
                data.truth,
                experiment.design.designs,
            )
            folder.write_answers(answers, "1")
        else:
            name = data.outputs[0]
            ctx.note(
                f"no target was named, so nothing was inverted; ask with: invdesign solve {folder.path} "
                f"--target {name if ' ' not in name else repr(name)}=VALUE"
            )
        report = make_report(
            answers,
            fitted.report,
            folder.path,
            {kind: getattr(stages, kind).name for kind in type(stages).model_fields},
            experiment.seed,
            str(keras.backend.backend()),
            notes,
            clock.report(),
        )
        folder.finish(report)
    except InvdesignError:
        folder.discard_if_empty()
        raise
    finally:
        folder.close()
    return Result(report, answers, fitted.surrogate)


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
    ctx = replace(outer, seed=experiment.seed, folder=base, emit=lambda event: _pass_on(event, notes, registry, outer))
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
    trained = folder.read_json("run.json")["surrogate"] if folder.finished else None
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
    ctx = replace(outer, seed=seed, emit=lambda event: _pass_on(event, notes, registry, outer))
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


def make_report(
    answers: Answers | None,
    surrogate: SurrogateReport,
    run: Path | None,
    plugins: Mapping[str, str],
    seed: int,
    running: str,
    notes: Sequence[str],
    seconds: Mapping[str, float],
) -> Report:
    """Put a report together."""
    status: Any = "no target"
    if answers is not None:
        status = "interrupted" if answers.interrupted else "met" if answers.met else "not met"
    return Report(
        run=None if run is None else str(run),
        status=status,
        target={} if answers is None else target_reports(answers),
        designs=[] if answers is None else design_reports(answers),
        starts=None if answers is None else answers.counts(),  # type: ignore[arg-type]
        surrogate=surrogate,
        plugins=dict(plugins),
        seed=seed,
        backend=running,
        notes=list(notes),
        seconds=dict(seconds),
    )


def _pass_on(event: Event, notes: list[str], registry: Registry, outer: Context) -> None:
    """Keep what the report will say, and tell observers and whoever called."""
    if event.kind in ("note", "warning"):
        notes.append(str(event.data["text"]))
    registry.emit(event)
    outer.emit(event)


def _write_settings(
    folder: RunFolder,
    experiment: Experiment,
    checked: Checked,
    registry: Registry,
    running: str,
    source: str | None,
) -> None:
    """Write down what is about to run: the settings as given and in full, and what they run on."""
    plugins = {}
    for kind in KINDS:
        entry = registry.find(getattr(experiment, kind).use, kind)
        plugins[kind] = {
            "name": entry.name,
            "distribution": entry.provider.distribution,
            "version": entry.provider.version,
            "options": getattr(checked.stages, kind).model_dump(mode="json"),
        }
    values = experiment.model_dump(mode="json")
    values["targets"] = {name: target.to_json() for name, target in checked.targets.items()}
    folder.write_json(
        "resolved.json",
        {
            "experiment": values,
            "plugins": plugins,
            "folder": str(experiment.folder),
            "backend": running,
            "truth": checked.data.truth is not None,
        },
    )
    folder.write_environment()
    if source is not None:
        folder.write("experiment.toml", source)


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
