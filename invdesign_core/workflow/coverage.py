"""`benchmark --coverage`: how often the truth lies inside the intervals at the designs, and how wide these are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from invdesign_core.cluster.settings import computing
from invdesign_core.context import Clock, Context
from invdesign_core.data.data import Data
from invdesign_core.designs.answers import Columns, laid_out
from invdesign_core.designs.report import Number
from invdesign_core.errors import ConfigError, plural
from invdesign_core.registry import Registry
from invdesign_core.space.arrays import FloatArray
from invdesign_core.surrogate import backend
from invdesign_core.targets import Targets
from invdesign_core.truth.simulated import Truth
from invdesign_core.workflow import identity
from invdesign_core.workflow.benchmark import (
    HELD_OUT,
    Part,
    check,
    machine,
    name_of,
    posed,
    solved_all,
    spent,
    true_model,
)
from invdesign_core.workflow.confidence import check_second, second_model
from invdesign_core.workflow.experiment import Experiment, Stages
from invdesign_core.workflow.race import learn
from invdesign_core.workflow.train import ForwardModel
from invdesign_core.workflow.validate import load

EXTREME = 0.01
"""The share of the rows held out, those farthest out, that extreme targets are drawn from."""
BINS = 10
"""Parts of the range from 0 to 1 in which probabilities are compared with what came true."""
ENOUGH = 50
"""Designs in a bin without which it tells nothing."""
KNOWN_NOISE = 1000
"""Rows by which the noise that a dataset itself has is known."""


class ChanceReport(Part):
    """How often a measurement met the target among designs of which nearly the same probability was said."""

    said: Number = Field(description="The mean of the probabilities that were said.")
    found: Number = Field(description="The share of measurements that met the target.")
    designs: int = Field(description="Number of designs.")


class PlaceReport(Part):
    """What was measured at the designs for targets of one kind."""

    designs: int = Field(description="Number of designs.")
    without_guarantee: Number = Field(description="The share of designs without a guarantee.")
    true: Number = Field(description="The share of true values inside their interval, at designs with a guarantee.")
    new: Number = Field(
        description="The share of single new measurements inside their interval, at designs with a guarantee."
    )
    all_true: Number = Field(description="As `true`, at all designs.")
    all_new: Number = Field(description="As `new`, at all designs.")
    joint: Number = Field(
        description="The share of designs with a guarantee whose true values all lie inside their joint intervals; "
        "null where there is one output."
    )
    width: Number = Field(
        description="Median width of the intervals for a measurement over that of a plain split-conformal interval."
    )
    plain: Number = Field(
        description="The share of measurements inside the plain split-conformal interval around the prediction."
    )


class CoverageTask(Part):
    """What was measured for one dataset, with all seeds together."""

    dataset: str = Field(description="The dataset.")
    name: str = Field(description="What the dataset calls its rows.")
    options: dict[str, Any] = Field(description="Its options.")
    rows: int = Field(description="Rows to learn from.")
    noise: float = Field(description="Noise that was added to these, in shares of each output's range.")
    surrogate: str = Field(description="The surrogate; where several raced, those that were chosen.")
    second: str = Field(description="The second model.")
    seeds: int = Field(description="Number of seeds.")
    targets: int = Field(description="Targets of each kind and seed.")
    ordinary: PlaceReport = Field(description="Targets drawn from all rows held out.")
    extreme: PlaceReport = Field(description="Targets drawn from the hundredth of these that is farthest out.")
    chances: list[ChanceReport] = Field(
        description="Probabilities in ten bins beside what came true, at designs with a guarantee."
    )
    gap: Number = Field(
        description=f"The largest difference between both in a bin of at least {ENOUGH} designs; null where none is."
    )
    seconds: dict[str, float] = Field(description="Seconds to `train` the surrogate, and the `second` model.")


class CoverageReport(Part):
    """What `benchmark --coverage` measured."""

    level: float = Field(description="The level of the intervals.")
    tasks: list[CoverageTask] = Field(description="What was measured for each dataset.")
    backend: str = Field(description="What Keras ran on.")
    versions: dict[str, str] = Field(description="Versions of what computed.")
    machine: str = Field(description="The processor's architecture, and how many there are.")
    seconds: float = Field(description="Seconds of the clock on the wall, for everything.")


@dataclass(frozen=True)
class Seen:
    """What was said of n designs and m outputs, and what is true.

    Attributes
    ----------
    low, high, low_new, high_new, low_joint, high_joint : (n, m) arrays
        Ends of intervals.
    probability : (n,) array
        That a measurement meets the target.
    guarantee : (n,) array of bool
        Whether the intervals were said to hold.
    centre, true : (n, m) arrays
        What was predicted, and what is true.
    noise : (m,) array
        Standard deviation of a measurement.
    chance : (n,) array
        The true probability that a measurement meets the target.
    plain : (m,) array
        Half-width of the plain split-conformal intervals.
    """

    low: FloatArray
    high: FloatArray
    low_new: FloatArray
    high_new: FloatArray
    low_joint: FloatArray
    high_joint: FloatArray
    probability: FloatArray
    guarantee: NDArray[np.bool_]
    centre: FloatArray
    true: FloatArray
    noise: FloatArray
    chance: FloatArray
    plain: FloatArray

    @property
    def covered(self) -> FloatArray:
        """(n, m) 1 where the true value lies inside its interval, else 0."""
        return ((self.low <= self.true) & (self.true <= self.high)).astype(np.float64)

    @property
    def covered_new(self) -> FloatArray:
        """(n, m) the probability that a measurement lies inside its interval."""
        return inside(self.true, self.low_new, self.high_new, self.noise)

    @property
    def covered_plain(self) -> FloatArray:
        """(n, m) the probability that a measurement lies inside the plain interval."""
        return inside(self.true, self.centre - self.plain, self.centre + self.plain, self.noise)


def inside(mean: FloatArray, low: FloatArray, high: FloatArray, std: FloatArray) -> FloatArray:
    """Return the probability that a normal variable lies between two values; where it has no deviation, 0 or 1."""
    from scipy.special import ndtr

    sharp = ((low <= mean) & (mean <= high)).astype(np.float64)
    width = np.where(std > 0, std, 1.0)
    return np.asarray(np.where(std > 0, ndtr((high - mean) / width) - ndtr((low - mean) / width), sharp))


def place_report(seen: Sequence[Seen]) -> PlaceReport:
    """Put together what was measured with several seeds."""
    sure = np.concatenate([part.guarantee for part in seen])
    true, new, plain = (
        np.concatenate([getattr(part, name) for part in seen]) for name in ("covered", "covered_new", "covered_plain")
    )
    joint = np.concatenate([((p.low_joint <= p.true) & (p.true <= p.high_joint)).all(axis=1) for p in seen])
    width = np.concatenate([(part.high_new - part.low_new) / (2 * part.plain) for part in seen])
    several = true.shape[1] > 1
    return PlaceReport(
        designs=len(sure),
        without_guarantee=float(1 - sure.mean()),
        true=_mean(true[sure]),
        new=_mean(new[sure]),
        all_true=_mean(true),
        all_new=_mean(new),
        joint=_mean(joint[sure].astype(np.float64)) if several else None,
        width=float(np.median(width)),
        plain=_mean(plain),
    )


def chance_reports(said: FloatArray, found: FloatArray) -> tuple[list[ChanceReport], float | None]:
    """Compare (n,) probabilities with those that are true, in bins; return also the largest gap of a bin that tells.

    Examples
    --------
    >>> bins, gap = chance_reports(np.full(60, 0.92), np.full(60, 0.9))
    >>> bins[0].designs, round(gap, 3)
    (60, 0.02)
    """
    at = np.minimum((said * BINS).astype(np.intp), BINS - 1)
    bins = [
        ChanceReport(said=_mean(said[at == b]), found=_mean(found[at == b]), designs=int((at == b).sum()))
        for b in range(BINS)
        if (at == b).any()
    ]
    gaps = [abs(one.said - one.found) for one in bins if one.designs >= ENOUGH and one.said is not None and one.found]
    return bins, max(gaps, default=None)


def _task(
    experiment: Experiment,
    stages: Stages,
    seeds: int,
    targets: int,
    noise: float,
    registry: Registry,
    outer: Context,
) -> CoverageTask:
    """Measure one dataset with every seed; `noise` is added to the rows to learn from, in shares of the ranges."""
    ordinary, extreme, about = list[Seen](), list[Seen](), list[dict[str, Any]]()
    for number in range(seeds):
        seed = experiment.seed + number
        outer.note(f"{stages.dataset.name}: seed {seed}, {number + 1} of {seeds}")
        ctx = replace(outer, seed=seed, clock=Clock(), folder=experiment.folder)
        found = _with_seed(experiment, stages, targets, noise, registry, ctx)
        ordinary.append(found[0])
        extreme.append(found[1])
        about.append(found[2])
    every = [*ordinary, *extreme]
    said, came_true = (np.concatenate([getattr(p, n)[p.guarantee] for p in every]) for n in ("probability", "chance"))
    chances, gap = chance_reports(said, came_true)
    return CoverageTask(
        dataset=stages.dataset.name,
        name=about[0]["name"],
        options=stages.dataset.model_dump(mode="json"),
        rows=about[0]["rows"],
        noise=noise,
        surrogate=", ".join(sorted({one["surrogate"] for one in about})),
        second=", ".join(sorted({one["plugin"] for one in about})),
        seeds=seeds,
        targets=about[0]["targets"],
        ordinary=place_report(ordinary),
        extreme=place_report(extreme),
        chances=chances,
        gap=gap,
        seconds={key: round(float(np.median([one[key] for one in about])), 2) for key in ("train", "second")},
    )


def _with_seed(
    experiment: Experiment, stages: Stages, count: int, noise: float, registry: Registry, ctx: Context
) -> tuple[Seen, Seen, dict[str, Any]]:
    """Train with one seed, search for designs for ordinary and extreme targets, and then ask the true model."""
    import pandas as pd

    data = load(stages.dataset, ctx)
    truth, data = true_model(experiment, data), replace(data, truth=None)
    assert truth is not None
    taught, held_out = _parted(data, ctx)
    data, std = _noisy(taught, truth, noise, ctx)
    training = experiment.training.model_copy(update={"test": 0.0})
    with spent() as trained:
        model = learn(data, stages.surrogate, stages.tuner, training, ctx, registry=registry)
    with spent() as checked:
        second = second_model(model, experiment.confidence, ctx, registry)
    if second is None:
        raise ConfigError("there is no second model, so there are no intervals to measure", "set confidence.model")
    model = replace(model, second=second)
    plain = _plain(model, held_out, std, ctx)

    def seen(y: FloatArray) -> Seen:
        frame = pd.DataFrame(y, columns=list(data.outputs))
        problem = posed(experiment, stages, model, data, frame, registry, ctx, experiment.design.designs)
        columns = solved_all(problem, ctx).columns
        designs = laid_out({(name,): columns["design", name] for name in problem.space.names})
        said = truth.evaluate(designs, data.outputs, ctx)
        return _compared(columns, said.y, problem.targets, std, plain)

    ordinary, far = _targets(held_out.y, count, ctx)
    about = {"name": data.name, "rows": len(model.known.x)}
    about |= {"surrogate": name_of(model, stages), "plugin": second.plugin}
    return seen(ordinary), seen(far), about | {"targets": len(ordinary), "train": trained[1], "second": checked[1]}


def _parted(data: Data, ctx: Context) -> tuple[Data, Data]:
    """Return the rows to learn from, and those held out: as the data say, else a tenth of them."""
    if data.split is None:
        held = np.zeros(len(data.frame), dtype=np.bool_)
        held[ctx.rng("coverage-held-out").permutation(len(held))[: max(round(HELD_OUT * len(held)), 1)]] = True
    else:
        held = data.split == "test"

    def part(rows: NDArray[np.bool_]) -> Data:
        options: dict[str, Any] = {
            name: value[rows] for name in ("split", "groups", "weights") if (value := getattr(data, name)) is not None
        }
        return replace(data, frame=data.frame[rows].reset_index(drop=True), **options)

    return part(~held), part(held)


def _noisy(data: Data, truth: Truth, noise: float, ctx: Context) -> tuple[Data, FloatArray]:
    """Add noise to the rows to learn from; return also the (m,) standard deviations of all noise in them."""
    y = np.array(data.y)
    some = np.arange(min(len(y), KNOWN_NOISE))
    own = np.nanstd(y[some] - truth.evaluate(data.frame.iloc[some], data.outputs, ctx).y, axis=0)
    own = np.where(own > 1e-9 * np.ptp(y, axis=0), own, 0.0)
    added = noise * (np.nanmax(y, axis=0) - np.nanmin(y, axis=0))
    y += added * ctx.rng("coverage-noise").standard_normal(y.shape)
    return replace(data, frame=data.frame.assign(**dict(zip(data.outputs, y.T, strict=True)))), np.hypot(own, added)


def _targets(y: FloatArray, count: int, ctx: Context) -> tuple[FloatArray, FloatArray]:
    """Return the (t, m) outputs of some rows held out, and those of the hundredth of them that is farthest out."""
    y = y[np.isfinite(y).all(axis=1)]
    away = np.square((y - y.mean(axis=0)) / y.std(axis=0)).sum(axis=1)
    far = np.argsort(-away)[: max(round(EXTREME * len(y)), 1)]
    if len(far) < count:
        ctx.note(f"a hundredth of the rows held out is {plural(len(far), 'row')}: as many extreme targets")
    ordinary, extreme = (rows[ctx.rng("coverage").permutation(len(rows))[:count]] for rows in (np.arange(len(y)), far))
    return y[ordinary], y[extreme]


def _plain(model: ForwardModel, held_out: Data, std: FloatArray, ctx: Context) -> FloatArray:
    """Return the (m,) half-widths of plain split-conformal intervals: a quantile of the errors on rows held out."""
    assert model.second is not None
    y = held_out.y + std * ctx.rng("coverage-plain").standard_normal(held_out.y.shape)
    error = np.abs(y - model.surrogate.predict(held_out.x).mean)
    return np.asarray(np.nanquantile(error, model.second.level, axis=0))


def _compared(columns: Columns, true: FloatArray, targets: Targets, std: FloatArray, plain: FloatArray) -> Seen:
    """Put beside each other what was said of designs, and what is true; those without a true value are left out."""
    known = np.isfinite(true).all(axis=1)
    of = columns["target",][known]
    tolerance = targets.tolerance[of]
    met = inside(true[known], targets.lower[of] - tolerance, targets.upper[of] + tolerance, std)

    def part(kind: str) -> FloatArray:
        return np.stack([columns[kind, name] for name in targets.outputs], axis=1)[known]

    jointly = "_joint" if ("low_joint", targets.outputs[0]) in columns else ""
    return Seen(
        low=part("low"),
        high=part("high"),
        low_new=part("low_new"),
        high_new=part("high_new"),
        low_joint=part(f"low{jointly}"),
        high_joint=part(f"high{jointly}"),
        probability=columns["probability",][known],
        guarantee=columns["guarantee",][known],
        centre=part("prediction"),
        true=true[known],
        noise=std,
        chance=met.prod(axis=1),
        plain=plain,
    )


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else np.nan


def run_coverage(
    experiments: Sequence[Experiment],
    *,
    seeds: int = 3,
    targets: int = 200,
    noise: float = 0.0,
    registry: Registry | None = None,
    ctx: Context | None = None,
) -> CoverageReport:
    """Measure how often the truth lies inside the intervals at designs, for ordinary and for extreme targets.

    Parameters
    ----------
    experiments : sequence of Experiment
        One for each dataset.
    seeds, targets : int
        How many seeds each is run with, and how many targets of each kind.
    noise : float
        Standard deviation of noise on the rows to learn from, in shares of each output's range.
    registry, ctx
        As `run_benchmark` takes them.

    Raises
    ------
    InvdesignError
        If a dataset has no truth or holds out no rows, or anything is wrong with the settings.
    """
    outer, began = ctx or Context(), time.perf_counter()
    registry = registry or Registry.discover()
    running = backend.select(experiments[0].backend if experiments else None)
    prepared = [(experiment, experiment.stages(registry)) for experiment in experiments]
    for experiment, stages in prepared:  # refuse before the first training
        check(experiment, stages, replace(outer, seed=experiment.seed, folder=experiment.folder))
        check_second(experiment.confidence, registry)
    tasks = []
    for experiment, stages in prepared:
        with computing(experiment.compute, outer) as ctx:
            tasks.append(_task(experiment, stages, seeds, targets, noise, registry, ctx))
    return CoverageReport(
        level=experiments[0].confidence.level,
        tasks=tasks,
        backend=running,
        versions=identity.versions(running, registry, [plugin for _, stages in prepared for _, plugin in stages]),
        machine=machine(),
        seconds=round(time.perf_counter() - began, 2),
    )
