"""The next experiments of a run: where they teach most about a target, or about all that is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

from invdesign_core.context import Context
from invdesign_core.data.data import TrainingRows
from invdesign_core.data.files.write import check_new, write_table
from invdesign_core.designs.intervals import doubt_of
from invdesign_core.designs.report import ProposeReport
from invdesign_core.errors import ConfigError, plural
from invdesign_core.registry import OWN, Registry
from invdesign_core.search.acquisition import Worth
from invdesign_core.search.experiments import APART, Choice
from invdesign_core.search.inverse_problem import InverseProblem
from invdesign_core.search.search import plan_for, search
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.space import Space
from invdesign_core.space.variables import plain
from invdesign_core.surrogate.belief import Belief, WithInputs, believe
from invdesign_core.surrogate.exact_inputs import ExactInputs
from invdesign_core.surrogate.second_model import SecondModel
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Prediction, Target, Targets
from invdesign_core.workflow.inverse import check_bounds
from invdesign_core.workflow.load import Prepared

if TYPE_CHECKING:
    import pandas as pd

PROCESS = f"{OWN}:gaussian-process"
"""The surrogate that tells how sure a prediction is, where the run's own is another one."""
LEVEL = 0.9
"""The share of measurements that are to lie in the intervals."""
FEW_COLUMNS = 12
"""Encoded columns up to which designs drawn and moved come near enough to the best."""
ENOUGH = 50
"""Rows from which on a second model's intervals are used: from fewer it knows less than the process does."""
BEST_ROWS = 200
"""Measured rows that the best loss is looked for among, by what is believed of them."""


@dataclass(frozen=True)
class Proposed:
    """Experiments for one target: (n, e) designs, with the (n, m) means and standard deviations of the outputs.

    `noise` (m,) is the standard deviation of a measurement, `probability` (n,) that it meets the target; None where no
    value or limit is asked for. `half` (n, m) are the half-widths of the intervals that a `level` of measurements
    should lie in, as a second model tells them; else those of the process that also chose the designs.
    """

    x: FloatArray
    mean: FloatArray
    std: FloatArray
    noise: FloatArray
    probability: FloatArray | None
    half: FloatArray | None = None
    level: float = LEVEL

    @property
    def interval(self) -> tuple[FloatArray, FloatArray]:
        """The (n, m) ends of the intervals that measurements should lie in."""
        own = -ndtri((1 - self.level) / 2) * np.hypot(self.std, self.noise)
        half = own if self.half is None else np.where(np.isfinite(self.half), self.half, own)
        return self.mean - half, self.mean + half


def belief_of(surrogate: Surrogate, known: TrainingRows | None, registry: Registry, ctx: Context) -> Belief:
    """Return what is believed by a surrogate and its rows."""
    if known is None:
        raise ConfigError("no measured rows are known, so nothing can be proposed", "take a run that has its rows")
    builder: Any = registry.create("surrogate", PROCESS, {})
    return believe(surrogate, known, builder, ctx)


def propose_for(
    problem: InverseProblem,
    belief: Belief,
    count: int,
    ctx: Context,
    repeats: bool = False,
    purpose: str = "propose",
    apart: float = APART,
    failed: FloatArray | None = None,
) -> list[Proposed]:
    """Return the experiments that teach most about each target of a problem, those of a target so far `apart`.

    `failed` are (n, e) designs whose simulation failed.
    """
    refuse_scenarios(problem)
    view: Any = belief
    if isinstance(problem.surrogate, ExactInputs):
        view = WithInputs(belief, problem.surrogate.exact, len(problem.surrogate.formulas))
    result = search(problem, plan_for(problem, ctx), ctx) if _needs_search(problem, belief) else None
    known = problem.rows or TrainingRows(
        np.zeros((0, problem.space.width)), np.zeros((0, len(problem.surrogate.outputs)))
    )
    taken = np.zeros((0, problem.space.width)) if repeats else known.measured.x
    found = []
    for t in range(len(problem.targets)):
        targets, number = problem.targets.take(slice(t, t + 1)), problem.first + t
        starts = known.x[:0] if result is None else result.x[result.groups == t]
        near = view.near(starts) if len(starts) else view
        worth = _worth(targets, problem.surrogate.scale, known, near, ctx.seed_for(purpose, number))
        choice = Choice(
            problem.space,
            starts,
            taken,
            None if problem.fixed_inputs is None else problem.fixed_inputs[t],
            everywhere=problem.near_to.present is None,
            fits=None if problem.data is None else problem.data.holds,
            apart=apart,
            failed=failed,
        )
        x = choice.experiments(count, near, worth, ctx.rng(purpose, number))
        found.append(described(x, near, targets, problem.surrogate))
    return found


def refuse_scenarios(problem: InverseProblem) -> None:
    """Refuse to propose experiments where conditions vary."""
    if problem.surrogate.scenarios is not None:
        names = ", ".join(map(repr, problem.surrogate.scenarios.said))
        raise ConfigError(
            f"conditions that vary ({names}): an experiment is done at one value of them",
            "hold them: --fixed NAME=VALUE",
        )


def _needs_search(problem: InverseProblem, belief: Belief) -> bool:
    """Whether designs have to be found by the solver first.

    A process that is the surrogate itself answers for many designs at once, without anything being compiled for the
    rows that it has learnt: designs drawn and moved do where columns are few and answers may be anywhere.
    """
    alone = belief.surrogate is None and problem.space.width <= FEW_COLUMNS
    return not alone or problem.near_to.present is not None or problem.data is not None


def _worth(targets: Targets, scale: FloatArray, known: TrainingRows, belief: Any, seed: int) -> Worth:
    """Return what experiments are worth, compared with what is believed of the best of the measured rows."""
    rough = Worth.of(targets, scale, np.zeros((0, len(scale))), seed)
    y = np.where(np.isfinite(known.y), known.y, np.nanmean(known.y, axis=0)) if len(known.y) else known.y
    if not len(y):
        return rough
    best = np.argsort(rough.loss(y), kind="stable")[:BEST_ROWS]
    return Worth.of(targets, scale, belief.predict(known.x[best])[0], seed)


def propose_anywhere(
    space: Space, belief: Belief, surrogate: Surrogate, count: int, ctx: Context, repeats: bool = False
) -> Proposed:
    """Return the experiments where least is known."""
    taken = np.zeros((0, space.width)) if repeats else belief.known.measured.x
    worth = Worth.of(None, belief.scaling.y_scale, np.zeros((0, len(belief.noise))), 0)
    choice = Choice(space, np.zeros((0, space.width)), taken)
    return described(choice.experiments(count, belief, worth, ctx.rng("propose")), belief, None, surrogate)


def as_told(
    found: Proposed, second: SecondModel | None, measured: FloatArray, targets: Targets | None = None
) -> Proposed:
    """Return experiments with the intervals and the probability that a second model tells, where there is one.

    `measured` are the (k, m) outputs that were measured so far.
    """
    if second is None or len(second.ratios) < ENOUGH or not len(found.x):
        return found
    said = Prediction(found.mean, found.std if second.searched_knows else None)
    doubt = doubt_of(second, said, found.x, measured, None)
    probability = found.probability
    if probability is not None and targets is not None:
        probability = doubt.probability(second, targets, np.zeros(len(found.x), dtype=np.intp))
    half = doubt.half_widths(second, second.level)[1]
    return replace(found, half=half, level=second.level, probability=probability)


def described(x: FloatArray, belief: Any, targets: Targets | None, surrogate: Surrogate) -> Proposed:
    """Return designs with what the surrogate predicts, and what is believed of how far that is off."""
    believed, std = belief.predict(x)
    probability = None
    if targets is not None and targets.limited.any():
        worth = Worth.of(targets, np.ones(believed.shape[1]), believed[:0], 0)
        probability = np.exp(worth.log_probability(believed, np.hypot(std, belief.noise)))
    mean = surrogate.predict(x).mean if len(x) else believed
    return Proposed(x, mean, np.hypot(std, mean - believed), np.asarray(belief.noise), probability)


def propose_one(
    p: Prepared, targets: Sequence[str], batch: int, out: Path | None = None, repeats: bool = False, must: bool = True
) -> tuple[ProposeReport, pd.DataFrame]:
    """Propose experiments for a target as `--target` takes it, by default the run's; without one, where least is known.

    `out` is the .csv, .parquet or .xlsx file to write, with empty columns for what is measured. That there is none to
    propose is an error where there must be one.
    """
    if out is not None:
        check_new(out)
    surrogate, ctx = p.model.surrogate, p.ctx
    wanted = p.wanted(targets)
    belief = belief_of(surrogate, p.model.rows, p.registry, ctx)
    if wanted:
        space, found = _for_target(p, wanted, belief, batch, repeats)
    else:
        ctx.note("no target was given: these are the experiments where least is known")
        space = p.experiment.design.apply(p.base, surrogate.outputs)
        check_bounds(space)
        found = as_told(
            propose_anywhere(space, belief, surrogate, batch, ctx, repeats), p.model.second, p.model.known.y
        )
    if must and not len(found.x):
        raise ConfigError(
            "there is no experiment to propose: no design that is allowed is left that was not measured",
            "widen the bounds or loosen a constraint; --repeats proposes designs that were measured already, too",
        )
    if len(found.x) < batch:
        ctx.warn(f"only {plural(len(found.x), 'experiment')} of {batch}: no other design that is allowed was found")
    inputs = space.decode(found.x)
    table = table_of(inputs, surrogate.outputs, found)
    if out is not None:
        write_table(out, table)
    return _report(p, out, inputs, surrogate.outputs, found), table


def _for_target(
    p: Prepared, wanted: Mapping[str, Target], belief: Belief, batch: int, repeats: bool
) -> tuple[Space, Proposed]:
    problem = p.problem(wanted)
    with p.ctx.clock.stage("solve"):
        (found,) = propose_for(problem, belief, batch, p.ctx, repeats)
    return problem.space, as_told(found, p.model.second, p.model.known.y, problem.targets)


def table_of(inputs: pd.DataFrame, outputs: Sequence[str], found: Proposed) -> pd.DataFrame:
    """Return experiments as a table to fill in: inputs, empty outputs, and what is expected of them."""
    mean, low, high = map(_legible, (found.mean, *found.interval))
    table = inputs.assign(**dict.fromkeys(outputs, np.nan))
    for m, name in enumerate(outputs):
        table[f"prediction.{name}"] = mean[:, m]
        table[f"low_new.{name}"], table[f"high_new.{name}"] = low[:, m], high[:, m]
    if found.probability is not None:
        table["probability"] = _legible(found.probability)
    return table


def _legible(values: FloatArray) -> FloatArray:
    """Return numbers with six digits, which is more than is known of them."""
    return np.array([float(f"{value:.6g}") for value in values.ravel()]).reshape(values.shape)


def _report(
    p: Prepared, out: Path | None, inputs: pd.DataFrame, outputs: Sequence[str], found: Proposed
) -> ProposeReport:
    def rows(values: FloatArray) -> list[dict[str, float | None]]:
        return [dict(zip(outputs, row, strict=False)) for row in values.tolist()]

    low, high = found.interval
    return ProposeReport(
        run=str(p.source),
        design=None,
        out=None if out is None else str(out),
        experiments=[{name: plain(value) for name, value in row.items()} for row in inputs.to_dict("records")],
        units=dict(p.units.of),
        prediction=rows(found.mean),
        low=rows(low),
        high=rows(high),
        probability=None if found.probability is None else found.probability.tolist(),
        seed=p.ctx.seed,
        notes=list(p.notes),
    )
