"""`refine`: the true model is asked about the designs that teach most, the surrogate learns them, and so on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from invdesign_core.cluster.settings import computing
from invdesign_core.context import Context, Event, Progress
from invdesign_core.data.files.write import check_new, write_table
from invdesign_core.data.own_columns import PREFIX, as_targets
from invdesign_core.designs.answers import with_gaps
from invdesign_core.designs.report import RefinedReport, RefineReport, RoundReport
from invdesign_core.errors import ConfigError, RunStoreError, plural
from invdesign_core.search.experiments import SAME
from invdesign_core.search.inverse_problem import InverseProblem
from invdesign_core.space.arrays import FloatArray, IndexArray, Mask
from invdesign_core.space.variables import plain
from invdesign_core.surrogate.surrogate import DAMAGED
from invdesign_core.targets import Target, Targets
from invdesign_core.workflow import identity
from invdesign_core.workflow.learn import SINCE, Measured, learnt, rows_at_the_beginning, with_second, write_round
from invdesign_core.workflow.load import Prepared
from invdesign_core.workflow.propose import Proposed, belief_of, propose_for
from invdesign_core.workflow.rounds import TWICE, widened
from invdesign_core.workflow.run_folder import ABOUT_ROUND, ROUNDS, SECOND, RunFolder, rounds_of

if TYPE_CHECKING:
    import pandas as pd

    Asked = Mapping[str, Target] | pd.DataFrame

KEY = "refine"
"""What a round of this kind says of itself in its `ABOUT`."""


@dataclass(frozen=True)
class Evaluated:
    """What the true model has said: (n, e) designs, (n, m) outputs, and what was spent on each of t targets."""

    x: FloatArray
    y: FloatArray
    spent: IndexArray

    @classmethod
    def nothing(cls, problem: InverseProblem) -> Evaluated:
        """Return that nothing was asked yet."""
        e, m = problem.space.width, len(problem.surrogate.outputs)
        return cls(np.zeros((0, e)), np.zeros((0, m)), np.zeros(len(problem.targets), dtype=np.intp))

    def and_more(self, x: FloatArray, y: FloatArray, groups: IndexArray) -> Evaluated:
        """Return it with further designs, each chosen for a target."""
        spent = self.spent + np.bincount(groups, minlength=len(self.spent))
        return Evaluated(np.concatenate([self.x, x]), np.concatenate([self.y, y]), spent)


@dataclass(frozen=True)
class Best:
    """Of each of t targets the best design that the true model was asked about; NaN where there is none.

    `x` are (t, e) designs, `y` their (t, m) true outputs, and `met` (t,) says which targets they meet.
    """

    x: FloatArray
    y: FloatArray
    met: Mask


@dataclass(frozen=True)
class Plan:
    """How much may be done: rounds, true evaluations for each target, and designs for each target in a round."""

    rounds: int
    budget: int
    batch: int | None = None

    @property
    def each(self) -> int:
        """Designs of a target in a round."""
        return self.batch or max(1, -(-self.budget // self.rounds))


def refine(p: Prepared, asked: Sequence[str] | pd.DataFrame, plan: Plan, out: Path | None = None) -> RefineReport:
    """Ask the true model about designs until each target is met or its budget is spent; each round is kept.

    Parameters
    ----------
    p : Prepared
        The run, with a true model.
    asked : sequence of str or DataFrame
        A target as `--target` takes it, by default that of the run; or a table with a target in each row.
    plan : Plan
        How much may be done. The same command goes on where it was stopped.
    out : Path, optional
        The .csv, .parquet or .xlsx file for the best design of each target.
    """
    if out is not None:
        check_new(out)
    if p.folder is None:
        raise ConfigError(f"{p.source}: only a run is refined, and this is a model", "name a run folder")
    if p.model.truth is None:
        raise ConfigError(
            "no true model is known, which refine asks about designs",
            "name one: --set truth.function=MODULE:FUNCTION, or --truth for that of the run; for measurements by hand "
            "there are `invdesign propose` and `invdesign learn`",
        )
    root = RunFolder(p.source)
    with root.locked(), computing(p.experiment.compute, p.ctx) as ctx:
        return _refined(replace(p, ctx=ctx), _asked(p, asked), plan, out)


def _asked(p: Prepared, asked: Sequence[str] | pd.DataFrame) -> Asked:
    """Return the target or the table of targets."""
    surrogate = p.model.surrogate
    if not isinstance(asked, Sequence):
        return as_targets(asked, p.base, (*surrogate.outputs, *p.derive), p.ctx, p.units)
    wanted = p.wanted(asked)
    if not wanted:
        raise ConfigError("no target is given", f"for example --target '{surrogate.outputs[0]}=1'")
    return wanted


def _refined(p: Prepared, asked: Asked, plan: Plan, out: Path | None) -> RefineReport:
    """Do the rounds that are left."""
    ctx, problem = p.ctx, p.problem(asked)
    p = replace(p, ctx=_quieter(ctx, p.notes))
    mark = _mark(p, problem, asked)
    known, done = _before(p.source, mark, Evaluated.nothing(problem))
    if done:
        ctx.note(f"resumed after {plural(len(done), 'round')}, which are not done again")
    best = best_of(problem, known)
    while len(done) < plan.rounds:
        ctx.emit(Progress("refine", len(done), plan.rounds))
        left = np.flatnonzero(_open(problem.targets, best) & (known.spent < plan.budget))
        if not len(left):
            break
        counts = np.minimum(plan.budget - known.spent, plan.each)
        chosen = _choose(p, problem, left, counts, known, f"refine-{len(done)}")
        if not len(chosen[0]):
            ctx.warn("no other design that is allowed was found")
            break
        p, known, one = _round(p, problem, asked, chosen, known, mark)
        problem = p.problem(asked)
        best = best_of(problem, known)
        done.append(one.model_copy(update={"met": int(best.met[problem.targets.limited.any(axis=1)].sum())}))
        ctx.note(_told(done[-1], problem.targets))
    if done and p.folder is not None and not p.folder.has(SECOND):  # not in each round: it takes longer than the rest
        model = with_second(p, p.model)
        if model.second is not None:
            p.folder.write_second(model.second)
            p.folder.write_round_manifest()
    return _reported(replace(p, ctx=ctx), problem, best, known, done, out)


def _quieter(ctx: Context, before: Sequence[str]) -> Context:
    """Return a context that passes on what each round says only where it was not said before, and no notes."""
    said = set(before)

    def emit(event: Event) -> None:
        text = str(event.data.get("text", ""))
        if event.kind not in ("note", "stage") and not (event.kind == "warning" and text in said):
            ctx.emit(event)
        said.add(text)

    return replace(ctx, emit=emit)


Chosen = tuple[FloatArray, Proposed, IndexArray]
"""Designs, what is believed of them, and the targets that they were chosen for."""


def _choose(
    p: Prepared, problem: InverseProblem, left: IndexArray, counts: IndexArray, known: Evaluated, purpose: str
) -> Chosen:
    """Choose designs for the targets that are left."""
    with p.ctx.clock.stage("solve"):
        belief = belief_of(p.model.surrogate, p.model.rows, p.registry, p.ctx)
        most = int(counts[left].max())
        # A simulator has no finest step: designs next to each other show it the slope.
        failed = known.x[~_succeeded(problem, known.y)]
        found = propose_for(problem.take(left), belief, most, p.ctx, purpose=purpose, apart=SAME, failed=failed)
        return _joined(found, left, counts)


def _round(
    p: Prepared, problem: InverseProblem, asked: Asked, chosen: Chosen, known: Evaluated, mark: str
) -> tuple[Prepared, Evaluated, RoundReport]:
    """Put designs through the true model, and learn what it says."""
    x, said, groups = chosen
    ctx, outputs = p.ctx, len(p.model.surrogate.outputs)
    assert p.folder is not None
    assert problem.truth is not None
    designs = problem.space.decode(x)
    answer = problem.truth.evaluate(designs, problem.surrogate.outputs, ctx)
    if answer.interrupted:
        raise KeyboardInterrupt
    known = known.and_more(x, answer.y, groups)
    succeeded = _succeeded(problem, answer.y)
    fine = np.flatnonzero(succeeded)
    if not succeeded.all():
        why = next(reason for reason, there in zip(answer.failed, succeeded, strict=True) if not there)
        ctx.warn(f"{answer.tally.by} gave no value for {len(x) - len(fine)} of {plural(len(x), 'design')}: {why}")
    kept = designs.iloc[fine].reset_index(drop=True)
    space = widened(p.base, kept)
    measured = Measured(kept, space.encode(kept), answer.y[fine, :outputs], fine + 1, space, {})
    since = rows_at_the_beginning(p)
    model, again = p.model, False
    if len(fine):
        afresh = len(p.model.known.x) + len(fine) >= TWICE * since
        names = tuple(asked) if isinstance(asked, Mapping) else tuple(map(str, asked.columns))
        model, again = learnt(p, measured, names, afresh)
    number = (rounds_of(p.source) or [0])[-1] + 1
    folder = p.source / ROUNDS / str(number)
    failed = len(x) - len(fine)
    report = RoundReport(round=number, folder=str(folder), evaluated=len(x), failed=failed, met=0, afresh=again)
    about = {
        SINCE: len(model.known.x) if again else since,
        KEY: {
            "asked": mark,
            "spent": known.spent.tolist(),
            "x": x.tolist(),
            "y": [[value if math.isfinite(value) else None for value in row] for row in answer.y.tolist()],
            "round": report.model_dump(),
        },
    }
    before = Proposed(measured.x, said.mean[fine, :outputs], said.std[fine, :outputs], said.noise[:outputs], None)
    write_round(folder, p.folder, model, measured, before, about)
    return replace(p, model=model, base=space, folder=RunFolder(folder)), known, report


def _succeeded(problem: InverseProblem, y: FloatArray) -> Mask:
    """(n,) which of (n, m) true outputs are there: those that a target asks for, or all where the surrogate needs them.

    Formulas of inputs stand behind the surrogate's own outputs, and never fail.
    """
    surrogate = problem.surrogate
    needed = np.flatnonzero(problem.targets.asked.any(axis=0)) if surrogate.differentiable else np.arange(y.shape[1])
    return np.asarray(np.isfinite(y[:, needed[needed < y.shape[1]]]).all(axis=1))


def _joined(found: Sequence[Proposed], left: IndexArray, counts: IndexArray) -> Chosen:
    """Return all designs, as many for each target as it may have, what is believed of them, and their targets."""
    sizes = [min(len(one.x), int(counts[t])) for one, t in zip(found, left, strict=True)]
    x, mean, std = (
        np.concatenate([getattr(one, name)[:size] for one, size in zip(found, sizes, strict=True)])
        for name in ("x", "mean", "std")
    )
    return x, Proposed(x, mean, std, found[0].noise, None), np.repeat(left, sizes)


def best_of(problem: InverseProblem, known: Evaluated) -> Best:
    """Return of each target the best design that the true model was asked about: one that meets it comes first."""
    t = len(problem.targets)
    x, y = np.full((t, problem.space.width), np.nan), np.full((t, len(problem.surrogate.outputs)), np.nan)
    met, at = np.zeros(t, dtype=bool), np.zeros(len(known.x), dtype=np.intp)
    for i in range(t if len(known.x) else 0):  # each target with all designs: a matrix of both would be large
        one = problem.targets.take(slice(i, i + 1))
        fits = _at_held_values(problem, i, known.x)
        value = _loss(one, known.y, at, problem.surrogate.scale)
        value = np.where(np.isfinite(value) & fits, value, np.inf)
        fine = np.asarray(one.met(known.y, at).all(axis=1) & fits)
        first = int(np.lexsort((value, ~fine))[0])
        if np.isfinite(value[first]):
            x[i], y[i], met[i] = known.x[first], known.y[first], fine[first]
    return Best(x, y, met)


def _at_held_values(problem: InverseProblem, t: int, x: FloatArray) -> Mask:
    """(n,) whether designs have the values that a target of a table holds."""
    if problem.fixed_inputs is None:
        return np.ones(len(x), dtype=bool)
    held = problem.fixed_inputs[t]
    return np.asarray((np.isclose(x, held, rtol=1e-9, atol=1e-12) | np.isnan(held)).all(axis=1))


def _loss(one: Targets, y: FloatArray, at: IndexArray, scale: FloatArray) -> FloatArray:
    """Return the (n,) losses of (n, m) outputs for one target: squares of misses, or how far an extremum is."""
    miss = (one.miss(y, at) / scale) ** 2 * one.weight
    ahead = np.where(one.direction != 0, y / scale * one.direction, 0.0)
    total = np.where(one.limited, miss, 0.0).sum(axis=1)
    return np.asarray(np.where(one.extremum.any(), np.where(total > 0, 1e6 + total, -ahead.sum(axis=1)), total))


def _open(targets: Targets, best: Best) -> Mask:
    """(t,) which targets are worth more experiments: those not met, and extrema always."""
    return np.asarray(~best.met | targets.extremum.any(axis=1))


def _mark(p: Prepared, problem: InverseProblem, asked: Asked) -> str:
    """Return a digest of what is asked, by which a command knows the rounds that it did before."""
    said = {n: t.to_json() for n, t in asked.items()} if isinstance(asked, Mapping) else identity.of_table(asked)
    truth = getattr(problem.truth, "identity", "")
    return identity.digest(said, p.experiment.design.model_dump(mode="json"), p.ctx.seed, truth)


def _before(run: Path, mark: str, nothing: Evaluated) -> tuple[Evaluated, list[RoundReport]]:
    """Return what the true model has said in earlier rounds of the same command, and their reports."""
    known, done = nothing, list[RoundReport]()
    for number in rounds_of(run):
        folder = RunFolder(run / ROUNDS / str(number))
        said = (folder.read_round() or {}).get(KEY)
        try:
            if said is None or said["asked"] != mark:
                continue
            x, y = (np.array(said[name], dtype=np.float64) for name in ("x", "y"))
            known = Evaluated(
                np.concatenate([known.x, x]), np.concatenate([known.y, y]), np.array(said["spent"], dtype=np.intp)
            )
            done.append(RoundReport.model_validate(said["round"]))
        except (TypeError, ValueError, KeyError) as error:
            raise RunStoreError(
                f"{folder.path / ABOUT_ROUND}: found no round of a refinement ({error!r})", DAMAGED
            ) from None
    return known, done


def _told(one: RoundReport, targets: Targets) -> str:
    put, limited = plural(one.evaluated, "design was", "designs were"), int(targets.limited.any(axis=1).sum())
    met = f"; {one.met} of {plural(limited, 'target')} met" if limited else ""
    return f"round {one.round}: {put} put through the true model{met}"


def _reported(
    p: Prepared,
    problem: InverseProblem,
    best: Best,
    known: Evaluated,
    done: Sequence[RoundReport],
    out: Path | None,
) -> RefineReport:
    """Put the report together, and write the best designs."""
    targets, outputs, ctx = problem.targets, problem.surrogate.outputs, p.ctx
    there: Mask = np.asarray(np.isfinite(best.x).all(axis=1))
    designs = problem.surrogate.space.decode(np.where(there[:, None], best.x, problem.surrogate.box[0]))
    miss = targets.miss(best.y, np.arange(len(targets)))
    limited: Mask = np.asarray(targets.limited.any(axis=1))
    found = []
    for t, record in enumerate(designs.to_dict("records")):
        asked = [m for m in range(len(outputs)) if targets.limited[t, m]]
        found.append(
            RefinedReport(
                target=t + 1,
                met=bool(best.met[t]) if limited[t] else None,
                experiments=int(known.spent[t]),
                inputs={k: plain(v) for k, v in record.items()} if there[t] else None,
                outputs=dict(zip(outputs, best.y[t].tolist(), strict=True)) if there[t] else None,
                miss={outputs[m]: float(miss[t, m]) for m in asked} if there[t] else None,
            )
        )
    extremum = bool(targets.extremum.any())
    fine = bool((best.met | ~limited).all())
    count = int(best.met[limited].sum())
    evaluated = sum(one.evaluated for one in done)
    said = f"{count} of {plural(int(limited.sum()), 'target')} met" if limited.any() else "the best that was found"
    report = RefineReport(
        run=str(p.source),
        out=None if out is None else str(out),
        status="not met" if not fine else "optimised" if extremum else "met",
        verdict=f"{said} after {plural(evaluated, 'true evaluation')} in {plural(len(done), 'round')}",
        targets=found,
        rounds=list(done),
        evaluated=evaluated,
        plugins=dict(p.plugins),
        seed=ctx.seed,
        notes=list(p.notes),
        seconds=ctx.clock.report(),
    )
    if out is not None:
        table = designs[there].add_prefix(PREFIX)
        table.insert(0, "target", np.flatnonzero(there) + 1)
        for m, name in enumerate(outputs):
            table[f"truth.{name}"] = best.y[there, m]
        met = with_gaps(best.met[there], limited[there])
        write_table(out, table.assign(met=met, experiments=known.spent[there]))
    return report
