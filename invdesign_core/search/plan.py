"""Which way a search takes where only some values exist: all of them tried, each solved, or rounded and improved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, prod
from typing import TYPE_CHECKING, Literal

import numpy as np

from invdesign_core.errors import ConfigError
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.feasible_set import column_choices
from invdesign_core.space.space import Space

if TYPE_CHECKING:
    from invdesign_core.context import Context
    from invdesign_core.search.protocols import Solver

Way = Literal["continuous", "enumeration", "per-combination", "rounding", "solver", "relaxation"]
ENUMERATED = 200_000
"""Combinations of discrete values that are all tried, where nothing else is free."""
SOLVED_EACH = 256
"""Combinations, of discrete values and separate ranges, that each get starts of their own."""


@dataclass(frozen=True)
class Plan:
    """How the discrete variables and the separate ranges of a search are dealt with.

    Attributes
    ----------
    way : str
        ``continuous``, ``enumeration``, ``per-combination``, ``rounding``, ``solver``
        where it handles discrete variables itself, or ``relaxation`` where the solver is to take them for numbers.
    combinations : int
        Combinations of the values of the free discrete variables.
    free : tuple of int
        The free discrete variables, by position.
    lower, upper : ndarray
        (c, e) the boxes that starts live in, as encoded designs; NaN where a target's own bounds hold.
    starts : int
        Starts in each box; or, where all combinations are tried, how many of them are kept.
    """

    way: Way
    combinations: int
    free: tuple[int, ...]
    lower: FloatArray
    upper: FloatArray
    starts: int

    @property
    def rows(self) -> int:
        """Rows of each target."""
        return len(self.lower) * self.starts

    def tell(self, ctx: Context) -> None:
        """Say which way is taken, where there is a choice."""
        what = f"{self.combinations:,} combinations of discrete values"
        says = {
            "enumeration": f"{what}: all were tried",
            "per-combination": f"{what}: each was solved for the other variables",
            "rounding": f"{what}: searched by rounding and neighbours",
            "relaxation": f"{what}: searched as numbers between their bounds, and rounded at the end",
        }
        if self.way in says:
            ctx.note(says[self.way])

    def boxes(self, low: FloatArray, high: FloatArray, held: FloatArray | None) -> tuple[FloatArray, FloatArray]:
        """Return the (t · c, e) bounds of each target's boxes, those of one target together.

        Parameters
        ----------
        low, high : ndarray
            (t, e) encoded bounds of each target.
        held : ndarray, optional
            (t, e) values that a target comes with, NaN where free.
        """
        found = []
        for own, cells in ((low, self.lower), (high, self.upper)):
            boxes = np.where(np.isnan(cells), own[:, None], cells)
            if held is not None:
                boxes = np.where(np.isnan(held)[:, None], boxes, held[:, None])
            found.append(boxes.reshape(-1, own.shape[1]))
        return found[0], found[1]


def plan_search(space: Space, solver: Solver, ctx: Context, held: FloatArray | None = None) -> Plan:
    """Choose how to search.

    Parameters
    ----------
    space : Space
        The design variables of the search, with finite bounds.
    solver : Solver
        Its `handles` may name ``discrete``; its option `discrete` may ask for a relaxation.
    ctx : Context
        Its seed decides which variables may be above zero, where there are too many ways to try all.
    held : ndarray, optional
        (t, e) values that targets come with, NaN where free.

    Raises
    ------
    ConfigError
        If no combination of values and ranges can satisfy the constraints.
    """
    fixed = np.zeros(space.width, dtype=bool)
    if held is not None:
        fixed = np.asarray(~np.isnan(held).any(axis=0))
    open_ = [i for i, s in enumerate(space.slices) if not fixed[s].all() and space.variables[i].count != 1]
    free = tuple(i for i in open_ if space.variables[i].discrete)
    split = [i for i in open_ if space.variables[i].ranges]
    counts = [space.variables[i].count or 1 for i in free]
    combinations = prod(counts)
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
    lower, upper = _cells(space, parts)
    if space.constraints.at_most and way != "enumeration":
        lower, upper = _with_supports(space, lower, upper, ctx)
    if way != "enumeration" and held is None:
        low, high = space.bounds
        low, high = np.where(np.isnan(lower), low, lower), np.where(np.isnan(upper), high, upper)
        possible = np.flatnonzero(space.feasible_set.violation(low, high) == 0)
        if not len(possible) and not split:
            raise no_combination()
        lower, upper = lower[possible], upper[possible]
        if split or (space.constraints.at_most and free):
            lower, upper = _with_one_that_holds(space, split, lower, upper)
    starts = solver.starts if len(lower) == 1 else max(-(-solver.starts // len(lower)), min(2, solver.starts))
    if way == "enumeration":
        starts = min(solver.starts, combinations)
    return Plan(way, combinations, free, lower, upper, starts)


def _with_supports(space: Space, lower: FloatArray, upper: FloatArray, ctx: Context) -> tuple[FloatArray, FloatArray]:
    """Cross (c, e) boxes with the ways to choose which columns may be above zero, where only so many may."""
    count = max(SOLVED_EACH // len(lower), 1)
    masks = np.unique(column_choices(space.feasible_set, count, ctx.rng("supports")), axis=0)
    lower, upper = np.repeat(lower, len(masks), axis=0), np.repeat(upper, len(masks), axis=0)
    return lower, np.where(np.tile(masks, (len(lower) // len(masks), 1)), upper, 0.0)


def _with_one_that_holds(
    space: Space, split: Sequence[int], lower: FloatArray, upper: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Add to (c, e) boxes that are drawn, and may all be empty, one that holds a design."""
    allowed = space.feasible_set
    if not allowed.constrained:
        return lower, upper
    design = allowed.nearest(space.snap(((allowed.lower + allowed.upper) / 2)[None]))
    if np.isnan(design).any():
        raise no_combination()
    box = np.full((2, space.width), np.nan)
    columns = [space.slices[i].start for i in split]
    box[:, columns] = np.concatenate(allowed.values.range_of(design))[:, columns]
    for limit in allowed.at_most:
        least = [j for j in limit.columns if design[0, j] <= 0]
        box[1, least] = 0.0
        box[0, least] = 0.0
    return np.vstack([lower, box[0]]), np.vstack([upper, box[1]])


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


def _cells(space: Space, parts: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Return the (c, e) boxes of the combinations of some variables' values or ranges; NaN elsewhere."""
    sizes = [len(space.variables[i].ranges) or space.variables[i].count or 1 for i in parts]
    total = prod(sizes)
    stride = 1
    if total > SOLVED_EACH:  # more than can be solved: a stride without common divisor mixes all digits of the number
        stride = round(0.618 * total)
        while gcd(stride, total) != 1:
            stride += 1
    flat = [k * stride % total for k in range(min(total, SOLVED_EACH))]
    lower = np.full((len(flat), space.width), np.nan)
    upper = lower.copy()
    for i, size in zip(parts, sizes, strict=True):
        variable, columns = space.variables[i], space.slices[i]
        index = np.array([number % size for number in flat], dtype=np.intp)
        flat = [number // size for number in flat]  # Python's integers: the product may be astronomic
        if variable.ranges:
            lower[:, columns], upper[:, columns] = np.array(variable.ranges)[index].T[:, :, None]
        else:
            lower[:, columns] = upper[:, columns] = variable.at(index)
    return lower, upper
