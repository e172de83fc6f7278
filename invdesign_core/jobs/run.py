"""`run`: an experiment from its settings to its run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from invdesign_core import backend, pipeline
from invdesign_core.context import Context, Event
from invdesign_core.errors import InvdesignError
from invdesign_core.jobs.check import Checked, check
from invdesign_core.jobs.result import Result, make_report, pass_on
from invdesign_core.plugin import KINDS
from invdesign_core.registry import Registry
from invdesign_core.runs import RunFolder

if TYPE_CHECKING:
    from invdesign_core.experiment import Experiment


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
        pass_on(event, notes, registry, outer)

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
