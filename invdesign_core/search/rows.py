"""The rows of a search: for each target its boxes, and start points inside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError
from invdesign_core.search.inverse_problem import InverseProblem
from invdesign_core.search.starts import Boxes, start_points
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.space import Space
from invdesign_core.targets import Goal


@dataclass(frozen=True)
class Rows:
    """b rows, those of one target together.

    Attributes
    ----------
    groups : ndarray of int
        (b,) the target of each.
    u0 : ndarray
        (b, e) start points in u.
    lower, upper : ndarray
        (b, e) bounds in u.
    low, high : ndarray
        (b, e) the same bounds as encoded designs.
    first : int
        Number of the first row in the whole of the work.
    """

    groups: IndexArray
    u0: FloatArray
    lower: FloatArray
    upper: FloatArray
    low: FloatArray
    high: FloatArray
    first: int

    @property
    def fixed(self) -> FloatArray:
        """(b, e) encoded values of the columns that may not move, NaN elsewhere."""
        return np.where(self.low == self.high, self.low, np.nan)


def make_rows(
    problem: InverseProblem, goal: Goal, boxes: tuple[FloatArray, FloatArray], count: int, ctx: Context
) -> Rows:
    """Start in every box of every target.

    Parameters
    ----------
    problem : InverseProblem
        t targets.
    goal : Goal
        t goals in z, by which points are compared.
    boxes : pair of ndarray
        (t · c, e) encoded bounds of the boxes, those of one target together.
    count : int
        Starts in each box.
    ctx : Context
        Seeds.

    Raises
    ------
    ConfigError
        If no design of a target's boxes satisfies the constraints.
    """
    forward, surrogate, known, t = problem.losses, problem.surrogate, problem.rows, len(problem.targets)
    low, high = boxes
    each = len(low) // t
    lower, upper = forward.to_u(low), forward.to_u(high)
    scaled = None
    if known is not None:
        scaled = forward.to_u(known.x), (known.y - surrogate.shift) / surrogate.scale
    inside = forward.relaxed(problem.space.feasible_set).within(lower, upper)
    goals = goal.take(np.repeat(np.arange(t), each))
    method = "uniform" if problem.near_to.to_data else problem.solver.init
    u0 = start_points(method, count, Boxes(forward, goals, inside, scaled), ctx, problem.first * each)
    u0, groups = u0.reshape(-1, problem.space.width), np.repeat(np.arange(t), each * count)
    lower, upper, low, high = (np.repeat(side, count, axis=0) for side in (lower, upper, low, high))
    number = problem.first * each * count
    there = np.asarray(np.isfinite(u0).all(axis=1))
    if there.all():
        return Rows(groups, u0, lower, upper, low, high, number)
    lost = np.setdiff1d(np.arange(t), groups[there])
    if len(lost):
        raise no_design(problem.first + int(lost[0]), t > 1 or problem.first > 0)
    u0, lower, upper, low, high = (side[there] for side in (u0, lower, upper, low, high))
    return Rows(groups[there], u0, lower, upper, low, high, number)


def check_held(space: Space, held: FloatArray) -> None:
    """Refuse targets that come with values under which no design satisfies the constraints.

    Whether whole numbers and steps leave a design is found out by the search.

    Parameters
    ----------
    space : Space
        The design variables and constraints; what is not held has finite bounds.
    held : ndarray
        (t, e) encoded values that the targets come with, NaN where free.

    Raises
    ------
    ConfigError
        Naming the first such row.
    """
    low, high = (np.where(np.isnan(held), bound, held) for bound in space.bounds)
    lost = ~space.feasible_set.within(low, high).possible(relaxed=True)
    if lost.any():
        raise no_design(int(np.argmax(lost)), True)


def no_design(target: int, several: bool) -> ConfigError:
    """Return the error for a target, by its number from 0, none of whose designs satisfies the constraints."""
    which = f"targets, row {target + 1}: with its values " if several else ""
    return ConfigError(
        f"{which}no design inside the bounds satisfies the constraints", "allow more values, or fewer constraints"
    )
