"""`benchmark`: how near designs come to their targets by a true model, which is asked once they are ranked."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import cpu_count
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from invdesign_core.cluster.settings import computing
from invdesign_core.context import Clock, Context, Event
from invdesign_core.data.data import Data
from invdesign_core.designs.answers import Answers, laid_out
from invdesign_core.designs.report import Number, OutputMetrics
from invdesign_core.errors import ConfigError, DataError, OutOfTimeError, plural, require
from invdesign_core.plugin import Solver
from invdesign_core.registry import Registry
from invdesign_core.search.inverse_problem import InverseProblem
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.settings import Training
from invdesign_core.truth.simulated import Truth
from invdesign_core.truth.simulator import beside_rows, find, of_dataset, simulator_of
from invdesign_core.workflow import identity
from invdesign_core.workflow.derived import Understood
from invdesign_core.workflow.experiment import Experiment, Stages
from invdesign_core.workflow.inverse import invert_many, pose, tell_of_truth, time_limit_of
from invdesign_core.workflow.race import learn
from invdesign_core.workflow.result import noting
from invdesign_core.workflow.train import ForwardModel
from invdesign_core.workflow.validate import load

if TYPE_CHECKING:
    import pandas as pd

DESIGNS = (1, 10, 50)
"""The numbers T of designs for each target that r_T is measured for."""
STARTS = 128
"""Start points for each target, where the user does not say how many: enough for that many distinct designs."""
HELD_OUT = 0.1
"""Share of the designs held out as targets, where neither the dataset nor `training.test` says it."""


class Part(BaseModel):
    """A part of a report."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Seconds(Part):
    """What one part of the work took."""

    train: float = Field(description="Training; tuning, and a race of surrogates, included.")
    solve: float = Field(description="The search for designs of all targets.")


class SeedReport(Part):
    """What was measured with one seed, which draws the rows, the first weights and the starts."""

    seed: int = Field(description="The seed.")
    surrogate: str = Field(description="The surrogate; where several raced, the one that was chosen.")
    best: dict[str, Any] = Field(description="Its hyper-parameters, as they were tuned.")
    error: dict[str, Number] = Field(
        description="r_T by T: the lowest mean squared error over the outputs, in their units, by the true model among "
        "the first T designs, averaged over the targets; null where the true model failed for all of them."
    )
    targets: int = Field(description="Number of targets.")
    fewer: dict[str, int] = Field(description="By T: the targets with fewer distinct designs than T; all were taken.")
    unanswered: dict[str, int] = Field(
        description="By T: the targets left out of the average, since the true model failed for their first T designs."
    )
    failed: int = Field(description="Designs for which the true model gave no value.")
    test: dict[str, OutputMetrics] = Field(description="How well each output is predicted on all rows held out.")
    cpu: Seconds = Field(description="Seconds of processor time.")
    wall: Seconds = Field(description="Seconds of the clock on the wall.")


class TaskReport(Part):
    """What was measured for one dataset."""

    dataset: str = Field(description="The dataset.")
    options: dict[str, Any] = Field(description="Its options.")
    rows: int = Field(description="Rows to learn from.")
    held_out: int = Field(description="Rows held out, from which the targets are drawn.")
    plugins: dict[str, str] = Field(description="Plugins by kind.")
    members: int = Field(description="Networks in the ensemble.")
    starts: int = Field(description="Start points for each target.")
    median: dict[str, Number] = Field(description="Median of `error` over the seeds, by T.")
    worst: dict[str, Number] = Field(description="The largest `error`, by T.")
    published: dict[str, dict[str, float]] = Field(
        description="Published figures by method and T, where the task is the published one."
    )
    seeds: list[SeedReport] = Field(description="What was measured with each seed.")
    notes: list[str] = Field(description="Notes and warnings.")


class BenchmarkReport(Part):
    """What a benchmark measured."""

    tasks: list[TaskReport] = Field(description="What was measured for each dataset.")
    backend: str = Field(description="What Keras ran on.")
    versions: dict[str, str] = Field(description="Versions of what computed.")
    machine: str = Field(description="The processor's architecture, and how many there are.")
    seconds: float = Field(description="Seconds of the clock on the wall, for everything.")


def run_benchmark(
    experiments: Sequence[Experiment],
    *,
    seeds: int = 3,
    targets: int = 200,
    registry: Registry | None = None,
    ctx: Context | None = None,
) -> BenchmarkReport:
    """Train on each dataset, find designs for targets that were held out, rank them, and then ask the true model.

    Parameters
    ----------
    experiments : sequence of Experiment
        One for each dataset; its targets and its number of designs are not looked at.
    seeds : int
        How many seeds each is run with, from that of the experiment on.
    targets : int
        Held-out rows at most whose outputs are the targets.
    registry : Registry, optional
        The plugins; by default those installed.
    ctx : Context, optional
        Takes the events, and can stop the work.

    Raises
    ------
    InvdesignError
        If a dataset has no truth or holds out no rows, or anything is wrong with the settings.
    """
    require(registry, (Registry, type(None)), "run_benchmark: registry", "a Registry")
    for name, value in (("seeds", seeds), ("targets", targets)):
        if value < 1:
            raise ConfigError(f"run_benchmark: {name}: found {value}, expected at least 1")
    outer, began = ctx or Context(), time.perf_counter()
    registry = registry or Registry.discover()
    running = backend.select(experiments[0].backend if experiments else None)
    prepared = [(experiment, experiment.stages(registry)) for experiment in experiments]
    for experiment, stages in prepared:  # refuse before the first training
        check(experiment, stages, replace(outer, seed=experiment.seed, folder=experiment.folder))
    tasks = []
    for experiment, stages in prepared:
        with computing(experiment.compute, outer) as ctx:
            tasks.append(_task(experiment, stages, seeds, targets, registry, ctx))
    used = [plugin for _, stages in prepared for _, plugin in stages]
    return BenchmarkReport(
        tasks=tasks,
        backend=running,
        versions=identity.versions(running, registry, used),
        machine=machine(),
        seconds=round(time.perf_counter() - began, 2),
    )


def true_model(experiment: Experiment, data: Data) -> Truth | None:
    """Return what says how good a design is: the simulator of `[truth]`, else the dataset's true model."""
    if experiment.truth:
        found: Truth | None = simulator_of(experiment.truth, find(experiment.truth, experiment.folder))
    else:
        found = of_dataset(data.truth)
    return beside_rows(found, data.y, data.outputs)


def check(experiment: Experiment, stages: Stages, ctx: Context) -> None:
    """Refuse a dataset that can't be a task."""
    data = load(stages.dataset, ctx)
    label = stages.dataset.label
    if true_model(experiment, data) is None:
        raise ConfigError(
            f"{label}: it knows no true model, so nobody can say how good a design is",
            "take a dataset with a truth, such as sine-wave or robotic-arm; one of your own is a dataset plugin that "
            "returns Data(truth=...), or an experiment file with a simulator in [truth]",
        )
    if data.split is not None and not (data.split == "test").any():
        raise DataError(
            f"{label}: it decides on the split and holds no row out, and targets are the outputs of such rows",
            'let it mark some rows as "test"; sine-wave and robotic-arm do with held_out=2000',
        )


def _task(
    experiment: Experiment, stages: Stages, seeds: int, targets: int, registry: Registry, outer: Context
) -> TaskReport:
    """Measure one dataset with every seed."""
    told, notes = noting(outer, registry, folder=experiment.folder)

    def emit(event: Event) -> None:
        if event.data.get("text") not in notes:  # each seed would say it again
            told.emit(event)

    reports, about = list[SeedReport](), dict[str, Any]()
    for number in range(seeds):
        seed = experiment.seed + number
        outer.note(f"{stages.dataset.name}: seed {seed}, {number + 1} of {seeds}")
        ctx = replace(told, emit=emit, seed=seed, clock=Clock())
        report, about = _measured(experiment, stages, targets, registry, ctx)
        reports.append(report)
    errors = {str(t): [np.nan if (e := r.error[str(t)]) is None else e for r in reports] for t in DESIGNS}
    return TaskReport(
        dataset=stages.dataset.name,
        options=stages.dataset.model_dump(mode="json"),
        **about,
        median={t: float(np.median(values)) for t, values in errors.items()},
        worst={t: float(np.max(values)) for t, values in errors.items()},
        published={
            method: {str(t): float(value) for t, value in figures.items()}
            for method, figures in stages.dataset.published.items()
        },
        seeds=reports,
        notes=notes,
    )


@dataclass(frozen=True)
class _Ranked:
    """The designs for t targets, as they were ranked before anybody asked the true model."""

    of: IndexArray  # (n,) the target of each design
    rank: IndexArray  # (n,) from 1
    designs: pd.DataFrame  # (n, d)


def _measured(
    experiment: Experiment, stages: Stages, count: int, registry: Registry, ctx: Context
) -> tuple[SeedReport, dict[str, Any]]:
    """Train and search with one seed, without the true model, then ask it; also return what all seeds share."""
    data = load(stages.dataset, ctx)
    truth, data = true_model(experiment, data), replace(data, truth=None)
    with spent() as trained:
        model = learn(data, stages.surrogate, stages.tuner, training_of(experiment, data), ctx, registry=registry)
    rows = _targets(data, model, count, ctx)
    conditions = [v.name for v in data.space.variables if v.condition]
    frame = data.frame.iloc[rows][[*data.outputs, *conditions]].reset_index(drop=True)
    problem = posed(experiment, stages, model, data, frame, registry, ctx)
    with spent() as solved:
        ranked = _ranked(problem, ctx)
    assert truth is not None
    said = truth.evaluate(ranked.designs, data.outputs, ctx)
    if said.interrupted:
        raise KeyboardInterrupt
    tell_of_truth(said.tally, truth, ctx)
    report = SeedReport(
        seed=ctx.seed,
        surrogate=name_of(model, stages),
        best=model.report.best,
        **best_of(ranked.of, ranked.rank, said.y, data.y[rows]),
        test=model.report.test,
        cpu=Seconds(train=trained[0], solve=solved[0]),
        wall=Seconds(train=trained[1], solve=solved[1]),
    )
    solver: Any = problem.solver
    about = {
        "rows": len(model.known.x),
        "held_out": model.report.rows["test"],
        "plugins": {kind: plugin.name for kind, plugin in stages} | {"solver": solver.name},
        "members": model.report.members,
        "starts": solver.starts,
    }
    return report, about


def training_of(experiment: Experiment, data: Data) -> Training:
    """Return the settings of the training, by which some rows are held out."""
    training = experiment.training
    if data.split is None and not training.test:
        training = training.model_copy(update={"test": HELD_OUT})
    return training


def _targets(data: Data, model: ForwardModel, count: int, ctx: Context) -> IndexArray:
    """Return the positions of the rows whose outputs are the targets: held out, and measured in full."""
    held_out = model.known.held_out
    assert held_out is not None
    assert held_out.rows is not None
    rows = (held_out.rows - 1)[np.isfinite(held_out.y).all(axis=1)]
    if not len(rows):
        raise DataError("no row that is held out has all outputs", "leave out those that were not always measured")
    if len(rows) < count:
        ctx.note(f"only {plural(len(rows), 'row')} are held out, so there are as many targets")
    return rows[np.sort(ctx.rng("benchmark").permutation(len(rows))[:count])]


def posed(
    experiment: Experiment,
    stages: Stages,
    model: ForwardModel,
    data: Data,
    frame: pd.DataFrame,
    registry: Registry,
    ctx: Context,
    designs: int = max(DESIGNS),
) -> InverseProblem:
    """Return the inverse problem of all targets; nothing in it knows the true model, or the rows held out."""

    def choose(extremum: bool) -> Solver:
        name, smooth = name_of(model, stages), model.surrogate.differentiable
        found = experiment.pick_solver(registry, stages.objective, name, smooth, extremum)
        few = "starts" not in found.model_fields_set and found.starts < STARTS
        return found.model_copy(update={"starts": STARTS}) if few else found

    blind = replace(model, rows=model.known._replace(held_out=None), truth=None)
    said = Understood.of(experiment.design, data.space, data.outputs, experiment.units, experiment.derive, data.units)
    said = replace(said, design=said.design.model_copy(update={"designs": designs}))
    return pose(blind, data.space, said, frame, stages.objective, choose, ctx)


def name_of(model: ForwardModel, stages: Stages) -> str:
    """Name the surrogate that was trained: of a race it is the winner."""
    return model.report.plugin or stages.surrogate.name


def _ranked(problem: InverseProblem, ctx: Context) -> _Ranked:
    """Search for the designs of all targets."""
    columns = solved_all(problem, ctx).columns
    designs = laid_out({(name,): columns["design", name] for name in problem.space.names})
    return _Ranked(np.asarray(columns["target",]), np.asarray(columns["rank",]), designs)


def solved_all(problem: InverseProblem, ctx: Context) -> Answers:
    """Return the answers to all targets, or raise what kept some from being found."""
    parts, total = list[tuple[int, Answers]](), len(problem.targets)
    for first, found in invert_many(problem, ctx):
        assert found is not None
        if found.out_of_time:
            raise OutOfTimeError(
                f"{time_limit_of(problem.solver)} ended the search: {first} of {total} targets are solved",
                "give it more time, or ask for fewer targets",
            )
        if found.interrupted:
            raise KeyboardInterrupt
        parts.append((first, found))
    return Answers.joined(problem.targets, parts)


def machine() -> str:
    """Name the processor's architecture, and how many there are."""
    return f"{platform.machine()}, {plural(cpu_count() or 1, 'processor')}"


def best_of(of: IndexArray, rank: IndexArray, true: FloatArray, wanted: FloatArray) -> dict[str, Any]:
    """Compare the true outputs of designs with what their targets asked for, by the number of designs compared.

    Parameters
    ----------
    of, rank : ndarray of int
        (n,) target of each design from 0, and its rank among the target's designs from 1.
    true : ndarray
        (n, m) true outputs, NaN where the true model failed.
    wanted : ndarray
        (t, m) outputs that the targets ask for.

    Returns
    -------
    dict
        Fields of a `SeedReport`.
    """
    error = np.square(true - wanted[of]).mean(axis=1)
    table: FloatArray = np.full((len(wanted), max(DESIGNS)), np.inf)
    table[of, rank - 1] = np.where(np.isfinite(error), error, np.inf)
    least = np.minimum.accumulate(table, axis=1)
    known: NDArray[np.bool_] = np.isfinite(least)
    designs = np.bincount(of, minlength=len(wanted))
    return {
        "error": {str(t): _mean(least[known[:, t - 1], t - 1]) for t in DESIGNS},
        "targets": len(wanted),
        "fewer": {str(t): int((designs < t).sum()) for t in DESIGNS},
        "unanswered": {str(t): int((~known[:, t - 1]).sum()) for t in DESIGNS},
        "failed": int((~np.isfinite(error)).sum()),
    }


def _mean(errors: FloatArray) -> float:
    return float(errors.mean()) if len(errors) else np.nan


@contextmanager
def spent() -> Iterator[list[float]]:
    """Fill a list with the seconds of the processor and of the clock that the work inside takes."""
    found = list[float]()
    cpu, wall = time.process_time(), time.perf_counter()
    yield found
    found += [round(time.process_time() - cpu, 3), round(time.perf_counter() - wall, 3)]
