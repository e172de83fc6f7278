"""Which variables may be above zero at once, where constraints limit how many."""

from __future__ import annotations

from itertools import combinations, product
from math import comb, prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from invdesign_core.space.allowed_values import AllowedValues, lengths
from invdesign_core.space.linear import AtMost
from invdesign_core.space.milp import Program

if TYPE_CHECKING:
    from invdesign_core.space.space import Space

Mask = NDArray[np.bool_]
_FEW = 256
"""Up to so many choices are all looked at."""


def supports(space: Space, count: int, rng: np.random.Generator) -> Mask:
    """Choose which columns may be above zero, so that each choice keeps to the limits and leaves a design.

    Where there are few choices, each is taken once before any is taken again, in random order; where there are many,
    they are drawn at random.

    Parameters
    ----------
    space : Space
        The design variables and constraints.
    count : int
        How many choices.
    rng : numpy.random.Generator
        The one source of chance.

    Returns
    -------
    ndarray of bool
        (count, e); True where a column may be above zero. Columns of no limit always may. Where no choice leaves
        a design, those that keep to the limits come back as they are.
    """
    limits = space.constraints.at_most
    if not limits:
        return np.ones((count, space.width), dtype=bool)
    choices = prod(comb(len(limit.columns), min(limit.count, len(limit.columns))) for limit in limits)
    if choices <= _FEW:
        drawn = _all(space, limits)
        fit = np.array([_leaves_a_design(space, mask) for mask in drawn])
        chosen = drawn[fit] if fit.any() else drawn
        rounds = [rng.permutation(len(chosen)) for _ in range(-(-count // len(chosen)))]
        return np.asarray(chosen[np.concatenate(rounds)[:count]])
    masks = np.array([_drawn(space, limits, rng) for _ in range(count)]).reshape(count, space.width)
    # A loop over distinct choices, each a program of its own.
    different, which = np.unique(masks, axis=0, return_inverse=True)
    for number, mask in enumerate(different):
        if not _leaves_a_design(space, mask):
            for row in np.flatnonzero(which.ravel() == number):
                masks[row] = _found(space, mask, rng)
    return masks


def _all(space: Space, limits: tuple[AtMost, ...]) -> Mask:
    """Return every choice once, each as large as the limits allow."""
    ways = [list(combinations(limit.columns, min(limit.count, len(limit.columns)))) for limit in limits]
    masks = np.ones((prod(map(len, ways)), space.width), dtype=bool)
    for mask, kept in zip(masks, product(*ways), strict=True):
        for limit, columns in zip(limits, kept, strict=True):
            mask[list(set(limit.columns) - set(columns))] = False
    masks = np.unique(masks, axis=0)
    # Of limits that share columns one may forbid what another allows: a choice inside another adds nothing.
    inside = (masks[:, None] <= masks[None]).all(axis=2)
    return np.asarray(masks[inside.sum(axis=1) == 1])


def _drawn(space: Space, limits: tuple[AtMost, ...], rng: np.random.Generator) -> Mask:
    mask = np.ones(space.width, dtype=bool)
    for limit in limits:
        allowed = [column for column in limit.columns if mask[column]]
        mask[rng.permutation(allowed)[limit.count :]] = False
    return mask


def _program(space: Space, mask: Mask) -> Program:
    lower, upper = space.bounds
    most = np.where(mask, upper, np.minimum(upper, 0.0))
    scale = lengths(lower, upper)
    rules = space.constraints
    return Program.build(rules.linear, lower, most, AllowedValues.of(space), rules.at_most, scale)


def _leaves_a_design(space: Space, mask: Mask) -> bool:
    return _program(space, mask).possible()


def _found(space: Space, mask: Mask, rng: np.random.Generator) -> Mask:
    """Return a choice that leaves a design, by a program with random costs; the one given where there is none."""
    program = _program(space, np.ones_like(mask))
    solution = program.solve({helper: rng.standard_normal() for helper in program.above.values()})
    if solution is None:
        return mask
    found = np.ones_like(mask)
    for column, helper in program.above.items():
        found[column] = solution[helper] > 0.5
    return found
