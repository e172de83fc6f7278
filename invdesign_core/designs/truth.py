"""The true model's say about designs: it decides which are met, and their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.context import Context
from invdesign_core.designs.answers import Answers, Columns, laid_out, with_gaps
from invdesign_core.designs.distinct import TIE
from invdesign_core.search.inverse_problem import InverseProblem, SearchResult
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.targets import ROUNDOFF, Prediction
from invdesign_core.truth.simulated import Simulated


def by_truth(problem: InverseProblem, result: SearchResult, found: Answers, ctx: Context) -> Answers:
    """Put the designs that will be shown through the true model, where there is one; judge and order them by it.

    Those that meet their target come first, and of these the ones whose true outputs have the smallest loss; those
    without true outputs come last. All are shown: what was simulated is worth knowing.
    """
    if problem.truth is None:
        return found
    targets, outputs, of = found.targets, problem.surrogate.outputs, found.columns["target",]
    designs = laid_out({(name,): found.columns["design", name] for name in problem.space.names})
    said = problem.truth.evaluate(designs, outputs, ctx)
    met, misses = targets.met(said.y, of), targets.miss(said.y, of)
    fine: NDArray[np.bool_] = np.asarray(met.all(axis=1))
    lacking: NDArray[np.bool_] = np.asarray((np.isnan(said.y) & targets.asked[of]).any(axis=1))
    reasons = np.where(lacking, np.array(said.failed, dtype=np.object_), "")
    columns = _with_truth(found.columns, said, reasons, problem)
    limited = targets.limited[of]
    for m, name in enumerate(outputs):
        if ("met", name) in columns:
            columns["met", name] = with_gaps(met[:, m], limited[:, m])
        if ("miss", name) in columns:
            columns["miss", name] = misses[:, m]
    columns["met",] = with_gaps(fine, limited.any(axis=1) | ~fine)
    order = _order(problem, result, said.y, of, fine)
    columns = {key: _taken(values, order) for key, values in columns.items()}
    columns["rank",] = found.columns["rank",]
    tally = replace(said.tally, failed=int(lacking.sum()), reason=next(filter(None, reasons.tolist()), ""))
    return replace(found, columns=columns, simulated=tally, interrupted=found.interrupted or said.interrupted)


def _with_truth(columns: Columns, said: Simulated, reasons: Any, problem: InverseProblem) -> Columns:
    """Return the columns with the true outputs beside the predictions, how far apart they are, and what failed."""
    named = [(m, name) for m, name in enumerate(problem.surrogate.outputs) if ("prediction", name) in columns]
    added: Columns = {("truth", name): said.y[:, m] for m, name in named}
    added |= {("difference", name): columns["prediction", name] - said.y[:, m] for m, name in named}
    added["failed",] = reasons
    before = {key: values for key, values in columns.items() if key[0] in ("target", "rank", "design", "prediction")}
    before |= {key: values for key, values in columns.items() if key[0] == "spread"}
    return before | added | {key: values for key, values in columns.items() if key not in before}


def _order(
    problem: InverseProblem, result: SearchResult, y: FloatArray, of: IndexArray, fine: NDArray[np.bool_]
) -> IndexArray:
    """Return the order of n designs by their (n, m) true outputs: by target, then as ranks go."""
    surrogate, targets = problem.surrogate, problem.targets
    asked = targets.asked[of]
    z = np.where(asked, (y - surrogate.shift) / surrogate.scale, 0.0)
    goal = result.goal.take(of)
    loss = problem.losses.loss_of(Prediction(z, None if result.z.std is None else np.zeros_like(z)), goal)
    loss = np.where(np.isfinite(loss) & np.isfinite(z).all(axis=1), loss, np.inf)
    excess = np.abs(targets.excess(y, of)).sum(axis=1)  # limits beside an extremum are to hold, or violated least
    excess = np.where(excess <= ROUNDOFF, 0.0, np.where(np.isfinite(excess), np.ceil(excess * 1e4), np.inf))
    if result.distances is not None:  # of designs that meet the target, the nearest to the present one comes first
        loss = np.where(fine & ~targets.extremum[of].any(axis=1), 0.0, loss)
    return np.lexsort((np.arange(len(of)), np.where(loss < TIE, 0.0, loss), excess, ~fine, of))


def _taken(values: Any, order: Sequence[int] | IndexArray) -> Any:
    """Return a column in another order."""
    return [values[i] for i in order] if isinstance(values, list) else values[order]
