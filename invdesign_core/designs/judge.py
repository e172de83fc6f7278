"""From where the starts of a search ended to answers, with what was measured and what lies around them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from invdesign_core.context import Context
from invdesign_core.data.distance import DataDistance
from invdesign_core.designs.answers import Answers, answers, laid_out
from invdesign_core.designs.directions import free_directions
from invdesign_core.designs.measured import measured_rows
from invdesign_core.designs.tolerances import tolerance_ranges
from invdesign_core.designs.truth import by_truth
from invdesign_core.search.inverse_problem import InverseProblem, SearchResult
from invdesign_core.space.conditions import Scenarios
from invdesign_core.space.space import Space
from invdesign_core.surrogate.surrogate import Surrogate


def judge(problem: InverseProblem, result: SearchResult, ctx: Context) -> Answers:
    """Judge what a search reached: the distinct designs, the measured rows beside them, and the typical errors.

    A true model, where there is one, is asked about these designs, and tells `ctx` of its progress.
    """
    found = by_truth(problem, result, answers(problem, result), ctx)
    if problem.rows is not None and problem.surrogate.scenarios is None:  # a row was measured in one scenario
        found = measured_rows(problem, problem.rows, found)
    n = len(found.columns["target",])
    errors = {("error", name): np.full(n, value) for name, value in problem.errors.items()}
    return replace(found, columns=found.columns | errors)


def name_conditions(found: Answers, scenarios: Scenarios | None) -> Answers:
    """Write conditions that vary as what they are: no design has a value of theirs."""
    if scenarios is None:
        return found
    columns, starts = dict(found.columns), found.starts
    for name, said in scenarios.said.items():
        columns["design", name] = np.full(len(columns["target",]), str(said), dtype=object)
        starts = starts.assign(**{f"design.{name}": str(said)})
        guesses = [c for c in starts.columns if c == f"guess.{name}" or c.startswith(f"guess.{name}=")]
        starts = starts.drop(columns=guesses)
    return replace(found, columns=columns, starts=starts, scenarios=scenarios)


def add_tolerances(found: Answers, surrogate: Surrogate, space: Space, near: DataDistance | None = None) -> Answers:
    """Add to each design of one target how far its inputs may move alone, and along which directions it still meets.

    Both cost some thousand predictions, so that they are not for tables of targets. Where nothing but an extremum is
    asked for, there is nothing to miss. With `near`, designs have to stay near to measured ones.
    """
    if not len(found.columns["target",]) or not (found.targets.asked & ~found.targets.extremum).any():
        return found
    x = space.encode(laid_out({(name,): found.columns["design", name] for name in space.names}))
    ranges = tolerance_ranges(surrogate, space, found.targets, x, near)
    meets = [r is not None for r in ranges]
    free = iter(free_directions(surrogate, space, found.targets, x[meets]))
    around = tuple(None if r is None else (r, next(free)) for r in ranges)
    columns = dict(found.columns)
    for variable in space.variables:
        if variable.fixed is not None:
            continue
        own = [None if r is None else r[variable.name] for r in ranges]
        if variable.kind in ("categorical", "binary"):
            columns["levels", variable.name] = own
        else:
            for i, end in enumerate(("from", "to")):
                columns[end, variable.name] = np.array([np.nan if r is None else r[i] for r in own])
    columns["free_directions",] = [None if a is None else a[1] for a in around]
    return replace(found, columns=columns, tolerances=around)
