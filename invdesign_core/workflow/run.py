"""`run`: an experiment from its settings to its run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign_core.context import Context, Event, RunStarted, Warned
from invdesign_core.errors import InvdesignError, RunStoreError, plugin_errors
from invdesign_core.plugin import KINDS, Plugin
from invdesign_core.registry import Registry
from invdesign_core.search.inverse_problem import Wishes
from invdesign_core.space.variables import plain
from invdesign_core.surrogate import backend
from invdesign_core.workflow import identity, pipeline
from invdesign_core.workflow.inverse import ForwardModel, inverse_problem
from invdesign_core.workflow.result import Result, UnsavedError, make_report, pass_on, put_off
from invdesign_core.workflow.run_folder import RunFolder
from invdesign_core.workflow.validate import Checked, check

if TYPE_CHECKING:
    from invdesign_core.workflow.experiment import Experiment


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
    """Load, split, tune, train, save, invert and report."""
    outer = ctx or Context()
    clock = outer.clock
    with clock.stage("import"):
        running = backend.select(experiment.backend)
        registry = registry or Registry.discover()
        experiment.stages(registry, targets)  # refuse before the heavy imports
        import keras
        import pandas  # noqa: F401
    notes: list[str] = []
    folder: RunFolder | None = None

    def emit(event: Event) -> None:
        if folder is not None:
            try:
                folder.event(event)
            except RunStoreError as fault:
                text = f"{fault.message}; the log of this run ends here"
                pass_on(Warned(text), notes, registry, outer)
        pass_on(event, notes, registry, outer)

    ctx = replace(outer, seed=experiment.seed, folder=experiment.folder, emit=emit)
    checked = check(experiment, registry, ctx, targets)
    folder = RunFolder.create(Path(out) if out is not None else None, resume)
    faults: list[RunStoreError] = []
    try:
        decides = _decides_training(experiment, checked, registry, running)
        if resume:
            _check_same_search(folder, decides)
        _write_settings(folder, experiment, checked, registry, running, source, decides)
        emit(RunStarted(str(folder.path)))
        stages, data = checked.stages, checked.data
        table = folder.trials()
        fitted = pipeline.fit(data, stages.surrogate, stages.tuner, experiment.training, ctx, table)
        with put_off(faults):
            folder.write_trials(table.results)
        with put_off(faults):
            folder.write_surrogate(fitted.surrogate, fitted.known, fitted.report)
        answers = None
        if checked.targets:
            model = ForwardModel(fitted.surrogate, fitted.report, fitted.known, data.truth)
            wishes = Wishes(experiment.design.designs, checked.near_to)
            problem = inverse_problem(model, checked.space, checked.targets, stages.objective, stages.solver, wishes)
            answers = pipeline.invert(problem, ctx)
            with put_off(faults):
                folder.write_answers(answers, "1")
        else:
            name = data.outputs[0]
            ctx.note(
                f"no target was given, so nothing was inverted; for a target run: invdesign solve {folder.path} "
                f"--target {name if ' ' not in name else repr(name)}=VALUE"
            )
        report = make_report(
            answers,
            fitted.report,
            None if faults else folder.path,
            {kind: getattr(stages, kind).name for kind in type(stages).model_fields},
            experiment.seed,
            str(keras.backend.backend()),
            notes,
            clock.report(),
        )
        if not faults:
            with put_off(faults):
                folder.finish(report)
    except InvdesignError:
        folder.discard_if_empty()
        raise
    finally:
        folder.close()
    if faults:
        kept = "" if table.lost else "the trials are kept; "
        raise UnsavedError(
            faults,
            f"{kept}free some disk space, and resume with the same command plus --out {folder.path} --resume",
            Result(report.model_copy(update={"run": None}), answers, fitted.surrogate),
        )
    return Result(report, answers, fitted.surrogate, folder.path)


def _decides_training(experiment: Experiment, checked: Checked, registry: Registry, running: str) -> dict[str, Any]:
    """Return everything that a trial's result depends on, flat; a search can only be resumed with the same."""
    stages, data = checked.stages, checked.data
    versions = identity.versions(running, registry, [stages.surrogate])
    # Members and the winner's second training come after the trials; how many train at once changes nothing.
    training = experiment.training.model_dump(mode="json", exclude={"members", "retrain", "side_by_side"})
    return {
        "seed": experiment.seed,
        "backend": running,
        "the inputs": list(data.space.names),
        "the outputs": list(data.outputs),
        "the data": identity.digest(data.space.to_json(), data.x, data.y, data.partial),
        "the weights of rows": identity.digest(data.weights),
        "the split": identity.digest(data.split),
        "the groups": identity.digest(data.groups),
        "surrogate": stages.surrogate.name,
        **{f"surrogate.{key}": value for key, value in _options(stages.surrogate).items()},
        **{f"training.{key}": value for key, value in training.items()},
        "tuner.objective": stages.tuner.objective,
        "tuner.direction": stages.tuner.direction,
        **{f"the code of {item.place}": identity.digest(item.code()) for item in checked.user_code},
        **{f"the version of {name}": version for name, version in versions.items()},
    }


def _options(plugin: Plugin) -> dict[str, Any]:
    """Return a plugin's options as JSON holds them; that they can be written so is for the plugin to see to."""
    with plugin_errors(f"{plugin.label}: writing its options down"):
        return plugin.model_dump(mode="json")


def _check_same_search(folder: RunFolder, decides: Mapping[str, Any]) -> None:
    """Refuse to resume a search whose trials would not be comparable."""
    if not folder.has("resolved.json") and not folder.has("trials/trials.jsonl"):
        return  # ended before anything was written
    before = folder.read_settings()["trials depend on"]
    now = json.loads(json.dumps(decides))
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


def _write_settings(
    folder: RunFolder,
    experiment: Experiment,
    checked: Checked,
    registry: Registry,
    running: str,
    source: str | None,
    decides: Mapping[str, Any],
) -> None:
    """Write down what is about to run: the settings as given and in full, and what they run on."""
    plugins = {}
    for kind in KINDS:
        entry = registry.entry_of(getattr(checked.stages, kind))
        plugins[kind] = {
            "name": entry.name,
            "distribution": entry.provider.distribution,
            "version": entry.provider.version,
            "options": _options(getattr(checked.stages, kind)),
        }
    values = experiment.model_dump(mode="json")
    values["design"]["near"] = plain(experiment.design.present(checked.space))
    values["targets"] = {name: target.to_json() for name, target in checked.targets.items()}
    folder.write_sealed(
        "resolved.json",
        {
            "experiment": values,
            "plugins": plugins,
            "folder": str(experiment.folder),
            "backend": running,
            "truth": checked.data.truth is not None,
            "trials depend on": decides,
        },
    )
    folder.write_environment()
    if source is not None:
        folder.write("experiment.toml", source)
