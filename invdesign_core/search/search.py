"""From an inverse problem to designs: how to search is chosen, and done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError
from invdesign_core.search.enumerate import all_combinations
from invdesign_core.search.from_starts import from_starts
from invdesign_core.search.inverse_problem import InverseProblem, SearchResult
from invdesign_core.search.plan import Plan, plan_search
from invdesign_core.search.proximity import few_changes
from invdesign_core.search.trust_boxes import near_plan
from invdesign_core.space.arrays import IndexArray


def plan_for(problem: InverseProblem, ctx: Context) -> Plan:
    """Choose how to search where only some values exist, or only some variables may be above zero."""
    plan = plan_search(problem.space, problem.solver, ctx, problem.fixed_inputs)
    return plan if problem.data is None else near_plan(plan, problem.space, problem.data)


def search(problem: InverseProblem, plan: Plan, ctx: Context) -> SearchResult:
    """Search as planned for the designs of every target."""
    near = problem.near_to
    near.check(bool(problem.targets.extremum.any()))
    if plan.way == "enumeration":
        result = all_combinations(problem, plan, ctx)
    elif near.fewest:
        result = with_few_changes(problem, plan, ctx)
    else:
        result = from_starts(problem, plan, ctx)
    # What is predicted here is what will be written: a value between those that exist would be moved on the way.
    return replace(result, x=problem.space.snap(result.x))


def with_few_changes(problem: InverseProblem, plan: Plan, ctx: Context) -> SearchResult:
    """Let ever more variables of the present design change, until each target is met."""
    assert problem.near_to.present is not None
    left, found = np.ones(len(problem.targets), dtype=bool), list[SearchResult]()
    for cells in few_changes(problem.space, problem.near_to.present):
        # Each set of values with each of the plan's boxes; where a set holds a value, that counts.
        boxes = np.where(np.isnan(cells)[:, None], plan.cells[:, None], cells[:, None])
        part = replace(plan, cells=boxes.reshape(2, -1, cells.shape[1]), starts=4)
        everything = bool(np.isnan(cells).all())
        for rows, result in _of_targets(problem, np.flatnonzero(left), part, everything, ctx):
            met = problem.targets.met(result.prediction.mean, result.groups).all(axis=1)
            done = np.bincount(result.groups[met], minlength=len(left)) > 0
            done |= everything or result.interrupted
            found.append(result.take(done[result.groups]))
            left[rows] &= ~done[rows]
        if not left.any():
            break
    return SearchResult.joined(found)


def _of_targets(
    problem: InverseProblem, rows: IndexArray, plan: Plan, must: bool, ctx: Context
) -> Iterator[tuple[IndexArray, SearchResult]]:
    """Search for some of the targets; pass over those with no design in the plan's boxes, unless one must be."""
    try:
        result = from_starts(problem.take(rows), plan, ctx)
    except ConfigError:
        if len(rows) == 1 and must:
            raise
        for row in rows if len(rows) > 1 else ():  # each for itself, to find out which it is
            yield from _of_targets(problem, np.array([row]), plan, must, ctx)
        return
    yield rows, replace(result, problem=problem, goal=problem.goal, groups=rows[result.groups])
