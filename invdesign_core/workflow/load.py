"""Before a solve: a run's surrogate, or a model of the user's own, with what it needs to be inverted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign_core.context import Context, StageStarted
from invdesign_core.data.data import Data, TrainingRows
from invdesign_core.data.own_columns import as_targets
from invdesign_core.data.quality import bounds_warnings
from invdesign_core.errors import ConfigError, DataError, PluginError, require, require_section
from invdesign_core.plugin import Plugin
from invdesign_core.registry import OWN, Registry
from invdesign_core.search.inverse_problem import InverseProblem
from invdesign_core.space.space import Space
from invdesign_core.space.units import NO_UNITS, Units
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.keras_file import evaluated, load_model
from invdesign_core.surrogate.model_check import ModelSample, sample
from invdesign_core.surrogate.signature import one_tensor
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.surrogate.user_code import import_named, keras_objects
from invdesign_core.targets import Target, parse_targets
from invdesign_core.truth.simulator import beside_rows
from invdesign_core.workflow import identity
from invdesign_core.workflow.confidence import second_model
from invdesign_core.workflow.derived import Understood
from invdesign_core.workflow.design import Design, merge_design
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.fixed_inputs import held_names
from invdesign_core.workflow.inverse import check_bounds, pose
from invdesign_core.workflow.others import PluginsSection, changes, check_plugins, gone, made_by
from invdesign_core.workflow.own_model import contradictions, name_tensors
from invdesign_core.workflow.result import noting
from invdesign_core.workflow.run_folder import RunFolder, is_run
from invdesign_core.workflow.train import ForwardModel, test_metrics, untested
from invdesign_core.workflow.truths import truth_of_solve

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.plugin import Objective

NO_RUN: dict[str, Any] = {"experiment": {"dataset": {"use": "none"}}, "plugins": {}, "folder": None}
"""What a run's settings are for a model of the user's own."""


@dataclass(frozen=True)
class SolveOptions:
    """What a solve may be told besides its targets."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    """The sections `objective` and `solver`, laid over those of a run, and keys of `[truth]`."""
    design: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the section `[design]`, laid over those of a run."""
    seed: int | None = None
    """By default the run's, or 0."""
    backend_name: str | None = None
    allow_code: bool = False
    """Whether code in the surrogate's files may run."""
    imports: Sequence[str] = ()
    """Modules, or files that end in .py, with the classes and functions that these files name."""
    frame: pd.DataFrame | None = None
    """The table of targets, where there is one: a model without other bounds has those of its design variables."""
    targets: Sequence[str] = ()
    """The target, as `--target` takes it: a model without other bounds has those that it sets for inputs."""
    table: Any = None
    """For a model: a file or DataFrame with the inputs, whose ranges become bounds, and maybe the outputs."""
    inputs: Sequence[str] | None = None
    """For a model: its names in its order; by default its own, or the table's columns, or x1, x2, …."""
    outputs: Sequence[str] | None = None
    truth: Any = None
    """The true model: a function, its place, or a `[truth]` section; True for that of the run; False for none."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> SolveOptions:
        """Return options by name; `objective` and `solver` name overrides, all others are keys of `[design]`."""
        own = {item.name for item in fields(cls)} - {"design"}
        design = {key: value for key, value in given.items() if key not in (*own, "objective", "solver")}
        options = {key: value for key, value in given.items() if key in own}
        for key in ("imports", "inputs", "outputs"):
            if options.get(key) is not None:
                require(options[key], (list, tuple), key, "a list of names")
        require_section(options.get("overrides", {}), "overrides")
        chosen = {kind: _section(kind, given[kind]) for kind in ("objective", "solver") if kind in given}
        return cls(**options | {"design": design, "overrides": options.get("overrides", {}) | chosen})


def _section(kind: str, chosen: Any) -> Mapping[str, Any]:
    """Return a plugin's section from its name, a pair of name and options, or the section itself."""
    match chosen:
        case str():
            return {"use": chosen}
        case (str(name), Mapping() as options):
            return {"use": name, **options}
        case Mapping():
            return chosen
    raise ConfigError(
        f"{kind}: found {chosen!r}, expected a plugin's name or a section such as {{'use': 'NAME', 'OPTION': VALUE}}"
    )


@dataclass(frozen=True)
class Prepared:
    """What a solve works with."""

    source: Path
    """The run folder or model file."""
    experiment: Experiment
    command: Design
    """What this command itself says of the design, without the run that it takes the rest from."""
    registry: Registry
    running: str
    """What Keras runs on."""
    ctx: Context
    notes: list[str]
    objective: Objective
    model: ForwardModel
    base: Space
    """The design variables as the data, or the model, have them."""
    plugins: Mapping[str, str]
    """The plugin of each kind, but for the solver, which is chosen for the targets."""
    versions: Mapping[str, str]
    code: str
    """A digest of the modules that were imported for the model."""
    recorded: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the run's settings say of its plugins."""
    folder: RunFolder | None = None
    sampled: ModelSample | None = None
    """What a model without data answers over its box."""
    said: Understood = field(default_factory=lambda: Understood(NO_UNITS, {}, Design()))
    """What the run and this command say of columns."""

    @property
    def units(self) -> Units:
        """The units of columns."""
        return self.said.units

    @property
    def derive(self) -> Mapping[str, str]:
        """Formulas of inputs as text, by name."""
        return self.said.derive

    def note_intervals(self) -> None:
        """Say why there are no intervals, where there are none and nobody asked for that."""
        if self.model.second is not None or not self.experiment.confidence.wanted:
            return
        why = "the run has no second model: run the experiment again to have one"
        if self.folder is None:
            why = (
                "a model without rows to learn from has no second model to tell; give it a table (--table) to have some"
            )
        self.ctx.note(f"designs have no intervals: {why}")

    def made_by(self, solver: Any) -> dict[str, str]:
        """Return the distributions of the plugins that aren't invdesign's own, by kind."""
        known = {
            kind: f"{item['distribution']} {item['version']}"
            for kind, item in self.recorded.items()
            if item["distribution"] != OWN and kind not in ("objective", "solver")
        }
        now = made_by(self.registry, [self.objective, solver])
        return known | {kind: provider.label for kind, provider in now.items()}

    def wanted(self, targets: Sequence[str]) -> dict[str, Target]:
        """Read targets as `--target` takes them; without any, those of the run."""
        outputs = self.model.surrogate.outputs
        return parse_targets(targets or self.experiment.targets, outputs, None, self.base, self.units, self.derive)

    def problem(self, asked: Mapping[str, Target] | pd.DataFrame) -> InverseProblem:
        """Return the inverse problem of one target, or of a table, whose values win over what a run says of them."""
        surrogate = self.model.surrogate
        name = self.plugins.get("surrogate", self.source.name)

        def choose(extremum: bool) -> Any:
            return self.experiment.pick_solver(self.registry, self.objective, name, surrogate.differentiable, extremum)

        with self.ctx.clock.stage("load"):
            if not isinstance(asked, Mapping):
                self.command.check_table(self.base, asked)
            problem = pose(self.model, self.base, self.said, asked, self.objective, choose, self.ctx)
            if self.folder is not None:
                for doubt in bounds_warnings(problem.space, self.base):
                    self.ctx.warn(doubt)
        return problem


def prepare(source: Path, *, registry: Registry | None = None, ctx: Context | None = None, **given: Any) -> Prepared:
    """Read a run's surrogate, or a .keras file of the user's own; `given` is what `SolveOptions.of` takes."""
    require(source, (str, Path), "solve_model", "the path of a run folder or of a .keras file")
    require(registry, (Registry, type(None)), "solve_model: registry", "a Registry")
    require(ctx, (Context, type(None)), "solve_model: ctx", "a Context")
    source, options, outer = Path(source), SolveOptions.of(given), ctx or Context()
    folder = RunFolder.open(source) if is_run(source) else None
    stored = NO_RUN if folder is None else folder.read_settings_of_surrogate()
    with outer.clock.stage("import"):
        running = backend.select(options.backend_name)
        registry = registry_for(
            stored, options.overrides.get("plugins"), registry or Registry.discover(), options.allow_code
        )
        experiment = _experiment(source, options, stored, registry)
        objective: Any = registry.create("objective", *experiment.choice("objective", registry))
        import keras  # noqa: F401
    ctx, notes = noting(outer, registry, seed=experiment.seed, folder=experiment.folder)
    ctx.record.path = None if folder is None else folder.path
    _tell_left_out(stored, registry, ctx)
    for kind, recorded in stored["plugins"].items():
        changed = changes(kind, recorded, registry)
        if changed is not None:
            ctx.warn(f"{changed}; the answers may differ")
    chosen = options.overrides.get("truth", {})
    truth = truth_of_solve(options.truth, chosen, stored, experiment, registry, folder, ctx)
    with ctx.clock.stage("load"):
        ctx.emit(StageStarted("load"))
        files = [str(path) for path in registry.arrangement.files]
        with imported([*options.imports, *files]) as code:
            if folder is None:
                model, base, sampled = _own_model(source, options, experiment, ctx)
                model = replace(model, second=second_model(model, experiment.confidence, ctx, registry))
            else:
                if folder.path != source:
                    ctx.note(f"the newest round of the run is used: {folder.path}")
                surrogate, known = _read_surrogate(folder, options.allow_code, stored["plugins"]["surrogate"], registry)
                report = folder.read_report() or untested(surrogate, stored["plugins"]["surrogate"]["name"])
                second = folder.read_second(experiment.confidence)
                model, base, sampled = ForwardModel(surrogate, report, known, second=second), surrogate.space, None
                if model.of_more_rows:
                    ctx.note(
                        f"the table stayed on disk, and {len(model.known.measured.x)} of its {model.of_more_rows} rows "
                        "are kept with the run: which rows meet a target, or are measured already, is told of these"
                    )
    outputs, found = model.surrogate.outputs, stored.get("units")
    said = Understood.of(experiment.design, base, outputs, experiment.units, experiment.derive, found)
    own = said.design
    own.tell_converted(experiment.design, ctx)
    experiment = experiment.model_copy(update={"design": own})
    command = Design.from_mapping(merge_design(options.overrides.get("design", {}), options.design))
    plugins = {kind: item["name"] for kind, item in stored["plugins"].items()}
    _check_objective(objective, model, base, ctx)
    return Prepared(
        source,
        experiment,
        Understood.of(command, base, outputs, experiment.units, experiment.derive, found).design,
        registry,
        running,
        ctx,
        notes,
        objective,
        replace(model, truth=beside_rows(truth, None if model.rows is None else model.rows.measured.y, outputs)),
        base,
        plugins | {"objective": objective.name},
        identity.versions(running, registry, [objective]),
        identity.digest(code),
        stored["plugins"],
        folder,
        sampled,
        said,
    )


def registry_for(
    stored: Mapping[str, Any], others: Mapping[str, Any] | None, registry: Registry, allow_code: bool
) -> Registry:
    """Return the plugins as a run had them arranged, with what a command says besides.

    Files that only the run names are left out, unless code of it may run: somebody else may have written it.
    """
    own, said = PluginsSection.of(stored["experiment"]), PluginsSection.of({"plugins": others})
    if not allow_code:
        own = own.model_copy(update={"files": []})
    return own.with_(said).arrange(registry, Path(stored["folder"] or Path.cwd()))


def _tell_left_out(stored: Mapping[str, Any], registry: Registry, ctx: Context) -> None:
    """Say which files with plugins a run names that were not loaded."""
    folder = Path(stored["folder"] or Path.cwd())
    files = PluginsSection.of(stored["experiment"]).files
    lost = [name for name in files if Path(folder, name).resolve() not in registry.arrangement.files]
    if lost:
        ctx.note(
            f"plugins in files that the run names are not loaded ({', '.join(lost)}), since that runs their code; "
            "--plugin FILE.py loads one, and --allow-code all; in Python allow_code=True"
        )


def _experiment(source: Path, options: SolveOptions, stored: Mapping[str, Any], registry: Registry) -> Experiment:
    """Return a run's settings with the options over them: key by key, but another plugin starts from its defaults."""
    settings = {key: value for key, value in stored["experiment"].items() if key != "compute"}  # that was for training
    for section, values in options.overrides.items():
        if section == "plugins":
            settings[section] = PluginsSection.of(settings).with_(PluginsSection.of(options.overrides)).model_dump()
            continue
        if section == "truth":  # not the run's own, unless the user says so
            continue
        before = dict(settings.get(section, {}))
        another = "use" in values and values["use"] != before.get("use")
        settings[section] = dict(values) if another else before | dict(values)
    settings["design"] = merge_design(settings.get("design", {}), options.design)
    if options.seed is not None:
        settings["seed"] = options.seed
    for kind, plugin in stored["plugins"].items():  # from where the run had them, whatever else is installed by now
        section = settings[kind]
        if section != stored["experiment"][kind] or section["use"].rpartition(":")[2] != plugin["name"]:
            continue
        lost = gone(kind, plugin, registry)
        if lost is not None and kind in ("objective", "solver"):
            raise lost
        shared = sum(entry.kind == kind and entry.name == plugin["name"] for entry in registry.entries) > 1
        if shared or lost is not None:
            settings[kind] = {**section, "use": f"{plugin['distribution']}:{plugin['name']}"}
    return Experiment.from_mapping(settings, str(source), Path(stored["folder"] or Path.cwd()))


def _own_model(
    path: Path, options: SolveOptions, experiment: Experiment, ctx: Context
) -> tuple[ForwardModel, Space, ModelSample]:
    """Return a user's model, its variables as its table has them, and what it answers over its box."""
    with evaluated(path):
        model, ports = one_tensor(load_model(path, options.allow_code), path)
    named = name_tensors(ports, path, options.table, options.inputs, options.outputs)
    said = Understood.of(experiment.design, named.space, named.outputs, experiment.units, experiment.derive)
    design, derive, frame = said.design, said.derive, None
    if options.frame is not None:
        frame = as_targets(options.frame, named.space, (*named.outputs, *derive), Context(), said.units)
    limits = parse_targets(options.targets, named.outputs, None, named.space, said.units, derive)
    space = box = design.apply(named.space, named.outputs, frame, limits)
    check_bounds(space)
    # Units are those of the bounds; where there are none, of the table of targets, or of the limits that a target sets.
    if held_names(named.space, frame) or any(name in named.space.names for name in limits):
        own = design.restrict(named.space)
        unbounded = own.unbounded()
        pairs = zip(own.variables, space.variables, strict=True)
        box = Space(tuple(row if v.name in unbounded else v for v, row in pairs), space.given)
    with evaluated(path):
        sampled = sample(model, box)
    y = named.rows.y if named.rows is not None else None
    surrogate = Surrogate.of_model(model, box, named.outputs, y=y, sampled=sampled)
    report = untested(surrogate)
    if named.measured is not None:
        with evaluated(path):
            test = test_metrics(surrogate, named.measured.x, named.measured.y)
            doubts = contradictions(surrogate, named.measured, test, set(ports.kinds) == {"continuous"})
        report = report.model_copy(update={"rows": {"table": len(named.measured.x)}, "test": test})
        for doubt in doubts:
            ctx.warn(doubt)
    return ForwardModel(surrogate, report, named.rows), named.space, sampled


def _check_objective(objective: Objective, model: ForwardModel, space: Space, ctx: Context) -> None:
    """Ask an objective that looks at data whether it can work with the rows that the surrogate learnt from."""
    if model.rows is not None and type(objective).check is not Plugin.check:
        import pandas as pd

        outputs = model.surrogate.outputs
        y = pd.DataFrame(model.rows.y, columns=list(outputs))
        frame = pd.concat([space.as_measured(model.rows.x).reset_index(drop=True), y], axis=1)
        check_plugins([objective], Data(frame, space, outputs, partial=bool(y.isna().to_numpy().any())), ctx)


def _read_surrogate(
    folder: RunFolder, allow_code: bool, recorded: Mapping[str, Any], registry: Registry
) -> tuple[Surrogate, TrainingRows | None]:
    """Return a run's surrogate; where the package of its layers is gone, say which it was."""
    try:
        return folder.read_surrogate(allow_code)
    except DataError as error:
        lost = gone("surrogate", recorded, registry)
        if lost is None:
            raise
        raise PluginError(f"{lost.message}: {error.message}", lost.hint) from error


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
