"""`run`: an experiment from its settings to its run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from invdesign_core.cluster.settings import computing
from invdesign_core.context import Context, DesignsReady, Event, RunFailed, RunFinished, RunStarted
from invdesign_core.errors import InvdesignError, RunStoreError, plugin_errors, remedy, require
from invdesign_core.plugin import Plugin, Race
from invdesign_core.registry import Registry
from invdesign_core.search.inverse_problem import Wishes
from invdesign_core.space.variables import plain
from invdesign_core.surrogate import backend
from invdesign_core.workflow import identity
from invdesign_core.workflow.conditions import averaged
from invdesign_core.workflow.confidence import second_model
from invdesign_core.workflow.derived import shown
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.inverse import asked_of, inverse_problem, invert
from invdesign_core.workflow.manifest import MANIFEST
from invdesign_core.workflow.others import made_by
from invdesign_core.workflow.pages import command, in_folder, with_page, write_page
from invdesign_core.workflow.race import candidates_of, learn
from invdesign_core.workflow.result import Result, UnsavedError, make_report, noting, put_off, told_of_failure
from invdesign_core.workflow.run_folder import PAGE, RunFolder
from invdesign_core.workflow.truths import method_of, truth_of_run
from invdesign_core.workflow.validate import Checked, check


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
        Whether to resume an unfinished run in `out`.
    source : str, optional
        The text of the experiment file, to be kept with the run.
    ctx : Context, optional
        Takes the events, counts the seconds, and can stop the run; seed and folder are the experiment's.

    Raises
    ------
    InvdesignError
        If anything is wrong with the request, the data, a plugin or the run folder.
    UnsavedError
        If all went well, but not everything could be written; its `result` is what would have been returned.
    """
    require(ctx, (Context, type(None)), "run_experiment: ctx", "a Context")
    hint = "Experiment.from_toml(path) reads a file, Experiment.from_mapping(values) a mapping"
    require(experiment, Experiment, "run_experiment", "an Experiment", hint)
    require(out, (str, Path, type(None)), "run_experiment: out", "the path of a folder")
    require(registry, (Registry, type(None)), "run_experiment: registry", "a Registry")
    with computing(experiment.compute, ctx or Context()) as outer:
        return _run(experiment, targets, out, registry, resume, source, outer)


def _run(
    experiment: Experiment,
    targets: Sequence[str],
    out: Path | str | None,
    registry: Registry | None,
    resume: bool,
    source: str | None,
    outer: Context,
) -> Result:
    """Do what `run_experiment` says."""
    with outer.clock.stage("import"):
        running = backend.select(experiment.backend)
        registry = experiment.plugins.arrange(registry or Registry.discover(), experiment.folder)
        stages = experiment.stages(registry)  # refuse before the heavy imports
        import keras
        import pandas  # noqa: F401
    folder: RunFolder | None = None

    def keep(event: Event) -> None:
        if folder is not None:
            try:
                folder.event(event)
            except RunStoreError as fault:
                told.warn(f"{fault.message}; the log of this run ends here")

    told, notes = noting(outer, registry, keep, seed=experiment.seed, folder=experiment.folder)
    ctx = told
    with told_of_failure(ctx):
        checked = check(experiment, registry, ctx, targets, stages=stages)
        folder = RunFolder.create(Path(out) if out is not None else None, resume)
    ctx.record.path = folder.path
    faults: list[RunStoreError] = []
    try:
        decides = _decides_training(experiment, checked, registry, running)
        if resume:
            _check_same_search(folder, decides)
            folder.unfinish()
        plugins = _described(checked, registry)
        _write_settings(folder, experiment, checked, plugins, running, source, decides)
        ctx.emit(RunStarted(str(folder.path)))
        stages, data = checked.stages, checked.data
        key = identity.digest(decides)
        table = folder.trials(key)
        model = learn(
            data,
            stages.surrogate,
            stages.tuner,
            checked.training,
            ctx,
            table,
            registry=registry,
            asked=_asked(checked),
            memory=folder.race(key),
        )
        with put_off(faults):
            folder.write_trials(table.results)
        with put_off(faults):
            folder.write_surrogate(model.surrogate, model.known, model.report)
        model = replace(model, second=second_model(model, experiment.confidence, ctx, registry))
        if model.second is not None:
            with put_off(faults):
                folder.write_second(model.second)
        answers = None
        if checked.targets:
            model = replace(model, truth=truth_of_run(experiment, checked, folder, plugins["dataset"]))
            model = averaged(model, checked.space, checked.scenarios)
            asked, wanted = asked_of(model, checked.targets, checked.space, checked.derived)
            wishes = Wishes(experiment.design.designs, checked.near_to, shown(checked.derived, checked.space))
            problem = inverse_problem(
                asked,
                checked.space,
                wanted,
                stages.objective,
                stages.solver,
                wishes,
            )
            answers = replace(invert(problem, ctx), units=checked.said.units.of)
            ctx.emit(DesignsReady(answers))
            with put_off(faults):
                folder.write_answers(answers, "1", checked.space, command())
        else:
            name = data.outputs[0]
            ctx.note(
                f"no target was given, so nothing was inverted; for a target run: invdesign solve {folder.path} "
                f"--target {name if ' ' not in name else repr(name)}=VALUE"
            )
        report = make_report(
            answers,
            model.report,
            None if faults else folder.path,
            {kind: plugin.name for kind, plugin in stages},
            str(keras.backend.backend()),
            notes,
            ctx,
            {kind: provider.label for kind, provider in made_by(registry, stages.all).items()},
            checked.said.units.of,
        )
        if not faults:
            with put_off(faults):
                folder.finish(report)
            material = in_folder(
                folder, report, model.surrogate, model.rows, None if answers is None else "solve/1", model.second
            )
            answers = None if answers is None else with_page(answers, material)
            with put_off(faults):
                write_page(folder, PAGE, material, told)
        result = Result(report, answers, model.surrogate, folder.path)
        ctx.emit(RunFinished(result))
    except BaseException as error:
        ctx.emit(RunFailed.of(error))
        if isinstance(error, InvdesignError):
            folder.discard_if_empty()
        raise
    finally:
        folder.close()
    if faults:
        kept = "" if table.lost else "the trials are kept; "
        raise UnsavedError(
            faults,
            f"{kept}{remedy(faults[0])}, and resume with the same command plus --out {folder.path} --resume",
            replace(result, report=report.model_copy(update={"run": None}), saved=None),
        )
    return result


def _asked(checked: Checked) -> list[str]:
    """Return the outputs that have a target."""
    return [name for name in checked.data.outputs if name in checked.targets]


def _decides_training(experiment: Experiment, checked: Checked, registry: Registry, running: str) -> dict[str, Any]:
    """Return everything that a trial's result depends on, flat; a search can only be resumed with the same."""
    stages, data = checked.stages, checked.data
    racing = candidates_of(stages.surrogate, registry) if isinstance(stages.surrogate, Race) else []
    versions = identity.versions(running, registry, [stages.surrogate, *(one.builder for one in racing)])
    race: dict[str, Any] = {f"candidate {one.name}": _options(one.builder) for one in racing}
    race |= {"the asked outputs": _asked(checked)} if racing else {}
    # Members and the winner's second training come after the trials; how many train at once changes nothing.
    training = checked.training.model_dump(mode="json", exclude={"members", "retrain", "side_by_side"})
    return {
        "seed": experiment.seed,
        "backend": running,
        "the inputs": list(data.space.names),
        "the outputs": list(data.outputs),
        "the data": identity.digest(
            data.space.to_json(), data.x, data.y, data.partial, *([] if data.large is None else [data.large.digest])
        ),
        "the weights of rows": identity.digest(data.weights),
        "the split": identity.digest(data.split),
        "the groups": identity.digest(data.groups),
        "surrogate": stages.surrogate.name,
        **{f"surrogate.{key}": value for key, value in _options(stages.surrogate).items()},
        **{f"training.{key}": value for key, value in training.items()},
        **race,
        "tuner.objective": stages.tuner.objective,
        "tuner.direction": stages.tuner.direction,
        **{f"the code of {item.place}": identity.digest(item.code()) for item in checked.user_code},
        **{f"the version of {name}": version for name, version in versions.items()},
    }


def _options(plugin: Plugin) -> dict[str, Any]:
    """Return a plugin's options as JSON holds them; that they can be written so is for the plugin to see to."""
    with plugin_errors(f"{plugin.label}: writing its options down", code=[plugin]):
        return plugin.model_dump(mode="json")


def _check_same_search(folder: RunFolder, decides: Mapping[str, Any]) -> None:
    """Refuse to resume a search whose trials would not be comparable."""
    if not folder.has("resolved.json") and not folder.has("trials/trials.jsonl"):
        return  # ended before anything was written
    before = folder.read_settings()["trials depend on"]
    now = to_jsonable_python(decides)
    changed = [
        f"{key} was {before.get(key)!r}, now {now.get(key)!r}"
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise RunStoreError(
            f"{folder.path}: the run can't be resumed with other settings: {'; '.join(changed)}",
            "set them back, or start a new run with another --out",
        )


def _described(checked: Checked, registry: Registry) -> dict[str, dict[str, Any]]:
    """Return the plugin of each kind: its name, where it is from, and its options."""
    plugins = {}
    for kind, plugin in checked.stages:
        provider = registry.entry_of(plugin).provider
        named = {"name": plugin.name, "distribution": provider.distribution, "version": provider.version}
        plugins[kind] = named | {"options": _options(plugin)}
    return plugins


def _write_settings(
    folder: RunFolder,
    experiment: Experiment,
    checked: Checked,
    plugins: Mapping[str, Any],
    running: str,
    source: str | None,
    decides: Mapping[str, Any],
) -> None:
    """Write down what is about to run: the settings as given and in full, and what they run on."""
    values = experiment.model_dump(mode="json")
    values["design"]["near"] = plain(checked.said.design.present(checked.space))
    values["training"] = checked.training.model_dump(mode="json")
    values["targets"] = {name: target.to_json() for name, target in checked.targets.items()}
    folder.write_sealed(
        "resolved.json",
        {
            "experiment": values,
            "plugins": plugins,
            "folder": str(experiment.folder),
            "units": dict(checked.said.units.of),
            "backend": running,
            "truth": method_of(checked.stages.dataset, checked.data.truth),
            "trials depend on": decides,
            "training as set": sorted(experiment.training.model_fields_set),
            MANIFEST: True,
        },
    )
    folder.write_environment(command())
    if source is not None:
        folder.write("experiment.toml", source)
