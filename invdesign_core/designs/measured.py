"""Measured rows as answers: those that meet a target already, or are better than the best design found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.data import TrainingRows
from invdesign_core.designs.answers import Answers, Columns, filled, laid_out, numbered_within, with_gaps
from invdesign_core.search.inverse_problem import InverseProblem
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.space import Space
from invdesign_core.targets import Targets

AT_ONCE = 2_000_000
"""Numbers compared at once, for many targets and rows."""
ROUNDING = 1e-9
"""Share of a value by which a row may be off what exists or off an inequality."""
AS_WRITTEN = 2e-3
"""Share of its terms by which a row may be off an equation: measured shares are written with few digits."""
BETTER = 1e-4
"""Share of the range by which a row has to be better than a design; less is rounding."""


def measured_rows(problem: InverseProblem, known: TrainingRows, found: Answers) -> Answers:
    """Add the measured rows that are answers themselves, and name the best row of each target beside its designs.

    Rows count that lie inside the bounds, values and constraints of the search, and in which the asked outputs were
    measured; rows held out for the test do too. One is an answer if it meets the target. Where the target has a
    maximum or minimum, it also has to be better than the best design in one of them, and worse in none.
    """
    rows, targets, space, outputs = known.measured, found.targets, problem.space, problem.surrogate.outputs
    reached, fine = _reached(found)
    there = np.flatnonzero(admissible(space, rows.x))
    x, y, held = rows.x[there], rows.y[there], problem.fixed_inputs
    parts = []
    step = max(AT_ONCE // max(x.size + y.size, 1), 1)
    for first in range(0, len(targets), step):
        few = np.arange(first, min(first + step, len(targets)))
        own = np.ones((len(few), len(x)), dtype=np.bool_) if held is None else _as_held(held[few], x)
        at, *others = _best(targets.take(few), y, own, reached[few], fine[few], problem.wishes.designs)
        parts.append((at + first, *others))
    target, row, answer, total, holds = (np.concatenate(side) for side in zip(*parts, strict=True))
    columns: Columns = {("target",): target, ("rank",): numbered_within(target) + 1}
    if rows.rows is not None:
        columns["row",] = rows.rows[there][row]
    written = space.as_measured(x[row])
    columns |= {("design", name): written[name].array for name in space.names}
    columns |= {("measured", name): y[row, m] for m, name in problem.surrogate.predicted}
    columns |= {("derived", name): formula.value(x[row]) for name, formula in problem.wishes.formulas.items()}
    judged = targets.met(y[row], target)
    limited = targets.limited[target]
    for m in np.flatnonzero((problem.whole or targets).limited.any(axis=0)):
        columns["met", outputs[m]] = with_gaps(judged[:, m], limited[:, m])
    columns |= {("met",): with_gaps(holds, limited.any(axis=1)), ("answer",): answer, ("answers",): total}
    best = laid_out({key: values[columns["rank",] == 1] for key, values in columns.items()}).set_index("target")
    at, designs = found.columns["target",], dict(found.columns)
    if rows.rows is not None:
        designs["measured", "row"] = best["row"].reindex(at).astype("Int64").array
    designs["measured", "met"] = best["met"].astype("boolean").reindex(at).array
    designs["measured", "answer"] = best["answer"].reindex(at, fill_value=False).to_numpy(dtype=np.bool_)
    return replace(found, rows=columns, columns=designs)


def admissible(space: Space, x: FloatArray) -> NDArray[np.bool_]:
    """Return which of (n, e) measured designs the search could have proposed, but for how they were rounded."""
    fine = np.isclose(space.snap(x), x, rtol=ROUNDING, atol=ROUNDING * 1e-3).all(axis=1)
    rules = space.constraints
    if len(rules.linear):
        size = np.abs(x) @ np.abs(rules.linear.matrix).T
        allowed = np.where(rules.linear.equations, AS_WRITTEN, ROUNDING) * size
        fine &= (rules.linear.violation(x) <= allowed).all(axis=1)
    for limit in rules.at_most:
        fine &= limit.excess(x) == 0
    fine &= rules.within_limits(x)
    return np.asarray(fine)


def _reached(found: Answers) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the (t, m) outputs of each target's best design, and (t,) whether it misses nothing."""
    targets, columns = found.targets, found.columns
    y, fine = np.full(targets.lower.shape, np.nan), np.zeros(len(targets), dtype=np.bool_)
    best = np.flatnonzero(columns["rank",] == 1)
    at = columns["target",][best]
    y[at] = np.stack([found.reached(name, found.judged_by)[best] for name in targets.outputs], axis=1)
    fine[at] = filled(columns["met",])[best]
    return y, fine


def _as_held(held: FloatArray, x: FloatArray) -> NDArray[np.bool_]:
    """Return (c, n) whether a row has the values that a target comes with."""
    same = np.isclose(x[None], held[:, None], rtol=ROUNDING, atol=0.0) | np.isnan(held)[:, None]
    return np.asarray(same.all(axis=2))


def _best(
    targets: Targets,
    y: FloatArray,
    own: NDArray[np.bool_],
    reached: FloatArray,
    fine: NDArray[np.bool_],
    count: int,
) -> tuple[IndexArray, IndexArray, NDArray[np.bool_], IndexArray, NDArray[np.bool_]]:
    """Rank n rows for c targets; for each row listed: target, position, whether an answer, how many, whether it meets.

    Rows that are answers come first; without any the one in which all limits hold, else the one that misses least.
    """
    c, n = own.shape
    groups = np.repeat(np.arange(c), n)
    every = np.tile(y, (c, 1))
    shape = (c, n, y.shape[1])
    asked, direction = targets.asked[:, None], targets.direction[:, None]
    there = own & (np.isfinite(y) | ~asked).all(axis=2)
    holds = there & targets.met(every, groups).all(axis=1).reshape(c, n)
    spread = np.where(targets.spread > 0, targets.spread, 1.0)
    weight = targets.weight[:, None]
    misses = np.where(asked, targets.miss(every, groups).reshape(shape) / spread, 0.0)
    with np.errstate(invalid="ignore"):
        gain = direction * (y - reached[:, None]) / spread
        extremum = np.asarray(targets.extremum.any(axis=1))
        ahead = np.asarray((~(gain < -BETTER)).all(axis=2) & (gain > BETTER).any(axis=2))
    answers = holds & (~extremum | ~fine)[:, None] | (holds & ahead)
    middle = np.nan_to_num(y).sum(axis=0) / max(n, 1)
    score = (weight * misses**2).sum(axis=2)
    worth = np.where(direction != 0, direction * (y - middle) / spread * weight, 0.0).sum(axis=2)
    score = np.where(holds & extremum[:, None], -worth, score)
    listed = np.where(
        answers.any(axis=1, keepdims=True), answers, np.where(holds.any(axis=1, keepdims=True), holds, there)
    )
    score = np.where(listed, score, np.inf)
    order = score.argmin(axis=1)[:, None] if count == 1 and n else np.argsort(score, axis=1, kind="stable")[:, :count]
    chosen = np.take_along_axis(listed, order, axis=1)
    chosen[:, 1:] &= answers.any(axis=1, keepdims=True)
    at, place = np.nonzero(chosen)
    row = order[at, place]
    return at, row, answers[at, row], answers.sum(axis=1)[at], holds[at, row]
