"""All that can be refused before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from invdesign_core import pipeline
from invdesign_core.context import Context, Event
from invdesign_core.data import Data
from invdesign_core.doubts import doubts_of_bounds
from invdesign_core.errors import blamed
from invdesign_core.plugin import Dataset, SurrogateBuilder
from invdesign_core.registry import Registry
from invdesign_core.space import Space
from invdesign_core.targets import Target, parse_targets

if TYPE_CHECKING:
    from invdesign_core.experiment import Experiment, Stages
    from invdesign_core.near_to import NearTo


@dataclass(frozen=True)
class Checked:
    """An experiment of which all that needs no trained model was checked; `builder` has found what it names."""

    stages: Stages
    builder: SurrogateBuilder
    data: Data
    space: Space
    targets: dict[str, Target]
    near_to: NearTo


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
    stages = experiment.stages(registry, targets)
    with ctx.clock.stage("load"):
        ctx.emit(Event("stage", {"stage": "load"}))
        data = load(stages.dataset, ctx)
    with blamed(stages.surrogate.label):
        builder = stages.surrogate.prepared(ctx)
    space = experiment.design.apply(data.space, data.outputs)
    for doubt in doubts_of_bounds(space, data.space):
        ctx.warn(doubt)
    wanted = parse_targets(targets, data.outputs, parse_targets(experiment.targets, data.outputs))
    if not (wanted or targets or experiment.targets) and data.example:
        wanted = parse_targets(data.example, data.outputs)
        asked = ", ".join(f"{name} {target}" for name, target in wanted.items())
        ctx.note(f"no target was named; the dataset's example is taken: {asked}")
    pipeline.check_bounds(space)
    near_to = experiment.design.near_to(space)
    near_to.check(any(target.goal is not None for target in wanted.values()))
    return Checked(stages, builder, data, space, wanted, near_to)


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
