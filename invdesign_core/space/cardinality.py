"""Which variables may be above zero at once, where constraints limit how many."""

from __future__ import annotations

from itertools import combinations, product
from math import comb, prod

import numpy as np

from invdesign_core.space.allowed_values import lengths
from invdesign_core.space.arrays import Mask
from invdesign_core.space.feasible_set import FeasibleSet
from invdesign_core.space.milp import Program

_FEW = 256
"""Up to so many choices are all looked at."""


def column_choices(allowed: FeasibleSet, count: int, rng: np.random.Generator) -> Mask:
    """Choose (count, e) columns that may be above zero, so that each choice keeps to the limits and leaves a design.

    Few choices are taken once each, in random order, before any is taken again; of many, some are drawn. Where none
    leaves a design, they come back as they are.
    """
    width = len(allowed.lower)
    if not allowed.at_most:
        return np.ones((count, width), dtype=bool)
    choices = prod(comb(len(limit.columns), min(limit.count, len(limit.columns))) for limit in allowed.at_most)
    if choices <= _FEW:
        drawn = _all(allowed)
        fit = _leave_a_design(allowed, drawn)
        chosen = drawn[fit] if fit.any() else drawn
        rounds = [rng.permutation(len(chosen)) for _ in range(-(-count // len(chosen)))]
        return np.asarray(chosen[np.concatenate(rounds)[:count]])
    masks = np.array([_drawn(allowed, rng) for _ in range(count)]).reshape(count, width)
    different, which = np.unique(masks, axis=0, return_inverse=True)
    # A loop over distinct choices without a design: a program for each of their rows.
    for number in np.flatnonzero(~_leave_a_design(allowed, different)):
        for row in np.flatnonzero(which.ravel() == number):
            masks[row] = _found(allowed, different[number], rng)
    return masks


def _all(allowed: FeasibleSet) -> Mask:
    """Return every choice once, each as large as the limits allow."""
    limits = allowed.at_most
    ways = [list(combinations(limit.columns, min(limit.count, len(limit.columns)))) for limit in limits]
    masks = np.ones((prod(map(len, ways)), len(allowed.lower)), dtype=bool)
    for mask, kept in zip(masks, product(*ways), strict=True):
        for limit, columns in zip(limits, kept, strict=True):
            mask[list(set(limit.columns) - set(columns))] = False
    masks = np.unique(masks, axis=0)
    # Of limits that share columns one may forbid what another allows: a choice inside another adds nothing.
    inside = (masks[:, None] <= masks[None]).all(axis=2)
    return np.asarray(masks[inside.sum(axis=1) == 1])


def _drawn(allowed: FeasibleSet, rng: np.random.Generator) -> Mask:
    mask = np.ones(len(allowed.lower), dtype=bool)
    for limit in allowed.at_most:
        left = [column for column in limit.columns if mask[column]]
        mask[rng.permutation(left)[limit.count :]] = False
    return mask


def _leave_a_design(allowed: FeasibleSet, masks: Mask) -> Mask:
    """(c,) whether a design exists whose columns are above zero only where (c, e) masks let them."""
    upper = np.where(masks, allowed.upper, np.minimum(allowed.upper, 0.0))
    return allowed.within(np.broadcast_to(allowed.lower, upper.shape), upper).possible()


def _found(allowed: FeasibleSet, mask: Mask, rng: np.random.Generator) -> Mask:
    """Return a choice that leaves a design, by a program with random costs; the one given where there is none."""
    lower, upper = allowed.lower, allowed.upper
    program = Program.build(allowed.linear, lower, upper, allowed.values, allowed.at_most, lengths(lower, upper))
    solution = program.solve({helper: rng.standard_normal() for helper in program.above.values()})
    if solution is None:
        return mask
    found = np.ones_like(mask)
    for column, helper in program.above.items():
        found[column] = solution[helper] > 0.5
    return found
