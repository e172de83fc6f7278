"""Which way a search takes where only some values exist: all of them tried, each solved, or rounded and improved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, prod
from typing import Literal

import numpy as np

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError
from invdesign_core.search.solver import Solver
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.feasible_set import column_choices
from invdesign_core.space.space import Space

Way = Literal["continuous", "enumeration", "per-combination", "rounding", "solver", "relaxation"]
ENUMERATED = 200_000
"""Combinations of discrete values that are all tried, where nothing else is free."""
SOLVED_EACH = 256
"""Combinations, of discrete values and separate ranges, that each get starts of their own."""


@dataclass(frozen=True)
class Plan:
    """How the discrete variables and the separate ranges of a search are dealt with."""

    way: Way  # "solver" handles discrete variables itself, "relaxation" is to take them for numbers
    combinations: int  # of the values of the free discrete variables
    free: tuple[int, ...]  # these variables, by position
    cells: FloatArray  # (2, c, e) boxes that starts live in, as encoded designs; NaN where a target's own bounds hold
    starts: int  # in each box; or, where all combinations are tried, how many of them are kept

    @property
    def rows(self) -> int:
        """Rows of each target."""
        return int(self.cells.shape[1]) * self.starts

    def tell(self, ctx: Context) -> None:
        """Say which way is taken, where there is a choice."""
        says = {
            "enumeration": "all were tried",
            "per-combination": "each was solved for the other variables",
            "rounding": "searched by rounding and neighbours",
            "relaxation": "searched as numbers between their bounds, and rounded at the end",
        }
        if self.way in says:
            ctx.note(f"{self.combinations:,} combinations of discrete values: {says[self.way]}")


def plan_search(space: Space, solver: Solver, ctx: Context, held: FloatArray | None = None) -> Plan:
    """Choose how to search a space with finite bounds, for targets that hold some (t, e) values, NaN where free."""
    fixed = np.zeros(space.width, dtype=bool) if held is None else np.asarray(~np.isnan(held).any(axis=0))
    open_ = [i for i, s in enumerate(space.slices) if not fixed[s].all() and space.variables[i].count != 1]
    free = tuple(i for i in open_ if space.variables[i].discrete)
    split = [i for i in open_ if space.variables[i].ranges]
    combinations = prod(space.variables[i].count or 1 for i in free)
    ranges = prod(len(space.variables[i].ranges) for i in split)
    way: Way = "rounding"
    if not free:
        way = "continuous"
    elif solver.discrete == "relax":
        way = "relaxation"
    elif "discrete" in solver.handles:
        way = "solver"
    elif len(free) == len(open_):
        way = "enumeration" if combinations <= ENUMERATED else way
    elif combinations * ranges <= SOLVED_EACH:
        way = "per-combination"
    parts = [*(free if way == "per-combination" else ()), *split]
    cells = _cells(space, parts)
    if way == "enumeration":
        return Plan(way, combinations, free, cells, min(solver.starts, combinations))
    if space.constraints.at_most:
        cells = _with_supports(space, cells, ctx)
    if held is None:
        bounds = np.where(np.isnan(cells), np.array(space.bounds)[:, None], cells)
        possible = np.flatnonzero(space.feasible_set.violation(*bounds) == 0)
        if not len(possible) and not split:
            raise no_combination()
        cells = cells[:, possible]
        if split or (space.constraints.at_most and free):
            cells = _with_one_that_holds(space, split, cells)
    count = cells.shape[1]
    starts = solver.starts if count == 1 else max(-(-solver.starts // count), min(2, solver.starts))
    return Plan(way, combinations, free, cells, starts)


def _with_supports(space: Space, cells: FloatArray, ctx: Context) -> FloatArray:
    """Cross (2, c, e) boxes with the ways to choose which columns may be above zero, where only so many may."""
    count = cells.shape[1]
    masks = np.unique(column_choices(space.feasible_set, max(SOLVED_EACH // count, 1), ctx.rng("supports")), axis=0)
    cells = np.repeat(cells, len(masks), axis=1)
    cells[1] = np.where(np.tile(masks, (count, 1)), cells[1], 0.0)
    return cells


def _with_one_that_holds(space: Space, split: Sequence[int], cells: FloatArray) -> FloatArray:
    """Add to (2, c, e) boxes that are drawn, and may all be empty, one that holds a design."""
    allowed = space.feasible_set
    if not allowed.constrained:
        return cells
    design = allowed.nearest(space.snap(((allowed.lower + allowed.upper) / 2)[None]))
    if np.isnan(design).any():
        raise no_combination()
    box = np.full((2, space.width), np.nan)
    columns = [space.slices[i].start for i in split]
    box[:, columns] = np.concatenate(allowed.values.range_of(design))[:, columns]
    for limit in allowed.at_most:
        box[:, [j for j in limit.columns if design[0, j] <= 0]] = 0.0
    return np.concatenate([cells, box[:, None]], axis=1)


def no_combination() -> ConfigError:
    """Return the error for a search in which nothing that exists is allowed."""
    return ConfigError(
        "no combination of the allowed values and ranges satisfies the constraints",
        "allow more values, or fewer constraints",
    )


def combine(space: Space, chosen: Sequence[int], numbers: Sequence[IndexArray], x: FloatArray) -> FloatArray:
    """Return (n, e) designs `x` with the values of some discrete variables by their numbers, each (n,)."""
    x = x.copy()
    for i, index in zip(chosen, numbers, strict=True):  # each variable has columns and values of its own
        x[:, space.slices[i]] = space.variables[i].at(index)
    return x


def _cells(space: Space, parts: Sequence[int]) -> FloatArray:
    """Return the (2, c, e) boxes of the combinations of some variables' values or ranges; NaN elsewhere."""
    sizes = [len(space.variables[i].ranges) or space.variables[i].count or 1 for i in parts]
    total = prod(sizes)
    stride = 1
    if total > SOLVED_EACH:  # more than can be solved: a stride without common divisor mixes all digits of the number
        stride = round(0.618 * total)
        while gcd(stride, total) != 1:
            stride += 1
    flat = [k * stride % total for k in range(min(total, SOLVED_EACH))]
    cells = np.full((2, len(flat), space.width), np.nan)
    for i, size in zip(parts, sizes, strict=True):
        variable, columns = space.variables[i], space.slices[i]
        index = np.array([number % size for number in flat], dtype=np.intp)
        flat = [number // size for number in flat]  # Python's integers: the product may be astronomic
        if variable.ranges:
            cells[:, :, columns] = np.array(variable.ranges)[index].T[:, :, None]
        else:
            cells[:, :, columns] = variable.at(index)
    return cells
