"""Which true model designs are judged by: that of `[truth]`, else that of the dataset; of a saved run by consent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError, InvdesignError
from invdesign_core.plugin import Dataset
from invdesign_core.registry import Registry, build_options
from invdesign_core.surrogate.user_code import UserObject
from invdesign_core.truth.settings import TruthSettings
from invdesign_core.truth.simulated import Truth
from invdesign_core.truth.simulator import Simulator, as_truth, beside_rows, digest, find, of_dataset, simulator_of
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.others import gone
from invdesign_core.workflow.run_folder import RunFolder, run_of
from invdesign_core.workflow.validate import Checked, load

if TYPE_CHECKING:
    import pandas as pd

    Formula = Callable[[pd.DataFrame], pd.DataFrame]

KEPT = "truth"
"""The folder of a run in which calls and what came of them are kept."""


def truth_of_run(
    experiment: Experiment, checked: Checked, folder: RunFolder, dataset: Mapping[str, Any]
) -> Truth | None:
    """Return the true model of a run; `dataset` names the plugin with its version and options."""
    data = checked.data
    if checked.truth is not None:
        found: Truth | None = simulator_of(experiment.truth, checked.truth, folder.path / KEPT)
    else:
        found = _of_dataset(data.truth, dataset, experiment.seed, folder)
    return beside_rows(found, data.y, data.outputs)


def method_of(dataset: Dataset, truth: Formula | None) -> str | bool:
    """Return the name of the dataset's method that is its true model, so that it is found without loading the data.

    Without a true model, or where it is no such method, return whether there is one.
    """
    name = getattr(truth, "__name__", "")
    own = getattr(truth, "__self__", None) is dataset and _may_be(name) and hasattr(type(dataset), name)
    return name if own else truth is not None


def truth_of(said: Any, kept: Path | None = None) -> Truth | None:
    """Return the true model that a user names in Python: a function, its place, or a `[truth]` section."""
    values = {"function": said} if isinstance(said, str) else said
    if not isinstance(values, Mapping):
        return as_truth(values)
    settings: TruthSettings = build_options(TruthSettings, values, "[truth]")
    if not settings:
        raise ConfigError("[truth]: found neither 'function' nor 'command'", "name one of them")
    return simulator_of(settings, find(settings, Path.cwd()), kept)


def truth_of_solve(
    said: Any,
    options: Mapping[str, Any],
    stored: Mapping[str, Any],
    experiment: Experiment,
    registry: Registry,
    folder: RunFolder | None,
    ctx: Context,
) -> Truth | None:
    """Return the true model of a solve.

    Parameters
    ----------
    said : object
        True for what the run's `[truth]` names, or else for its dataset's; a function, its place, or a section; False
        for none at all.
    options : mapping
        Keys of `[truth]` that the command line sets.
    stored : mapping
        The settings of the run.
    experiment : Experiment
        The settings of this solve.
    registry : Registry
        The plugins.
    folder : RunFolder or None
        The run.
    ctx : Context
        Is told what is not asked.
    """
    kept = None if folder is None else run_of(folder.path) / KEPT
    if said is False:
        return None
    if options.get("function") or options.get("command"):
        return truth_of(options, kept)
    if said is not None and said is not True:
        return truth_of(said, kept)
    if experiment.truth and (said or options):
        return _recorded(bool(said), options, experiment, kept)
    if options or (said and not stored.get("truth")):
        raise ConfigError(
            "the run names no [truth]", "name one: --set truth.function=MODULE:FUNCTION, or --set 'truth.command=[…]'"
        )
    if experiment.truth:
        ctx.note(
            f"the run's [truth] ({experiment.truth.words}) is not asked, so its say is missing here; --truth has the "
            "designs put through it; in Python truth=True"
        )
    return _of_plugin(stored, experiment, registry, folder, ctx) if stored.get("truth") and folder else None


def _recorded(allowed: bool, own: Mapping[str, Any], experiment: Experiment, kept: Path | None) -> Truth:
    """Return what the `[truth]` of a run names, which somebody else may have written: the user has to say so."""
    if not allowed:
        raise ConfigError(
            f"[truth] {next(iter(own))} is set, but nothing says that what the run names there may be run",
            "add --truth; in Python truth=True",
        )
    values = experiment.truth.model_dump() | dict(own)
    settings: TruthSettings = build_options(TruthSettings, values, "[truth]")
    return simulator_of(settings, find(settings, experiment.folder), kept)


def _of_plugin(
    stored: Mapping[str, Any], experiment: Experiment, registry: Registry, folder: RunFolder, ctx: Context
) -> Simulator | None:
    """Return the dataset's true model, or None where the dataset can't be loaded any more."""
    try:
        lost = gone("dataset", stored["plugins"]["dataset"], registry)
        if lost is not None:
            raise lost
        dataset: Any = registry.create("dataset", *experiment.choice("dataset", registry))
        name = stored["truth"]
        function = getattr(dataset, name, None) if isinstance(name, str) and _may_be(name) else None
        if function is None:
            function = load(dataset, replace(ctx, emit=lambda event: None)).truth
    except InvdesignError as error:
        ctx.warn(f"the dataset can't be loaded, so designs are judged by the prediction: {error.message}")
        return None
    return _of_dataset(function, stored["plugins"]["dataset"], experiment.seed, folder)


def _of_dataset(function: Formula | None, dataset: Mapping[str, Any], seed: int, folder: RunFolder) -> Simulator | None:
    """Return the true model of a dataset, whose answers depend on the plugin, its options and the seed."""
    if function is None:
        return None
    code = UserObject("", function, Path()).code()
    identity = digest("dataset", *(dataset[key] for key in ("name", "distribution", "version", "options")), seed, code)
    return of_dataset(function, identity, run_of(folder.path) / KEPT)


def _may_be(name: str) -> bool:
    """Whether a method of that name can be a true model: it is no part of what every dataset has."""
    return bool(name) and not name.startswith("_") and not hasattr(Dataset, name)
