"""How far each input of a design may move alone before the prediction misses the target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.designs.probe import predict
from invdesign_core.digits import inward
from invdesign_core.space import FloatArray, Space, Variable
from invdesign_core.surrogate import Surrogate
from invdesign_core.targets import Targets

GRID = 32
"""Steps over a variable's bounds in which the first miss is looked for."""
HALVINGS = 9
"""Halvings of a step: to 1e-4 of the bounds."""
LISTED = 256
"""Values of a discrete variable that are tried one by one; of more only the ends are refined."""

Room = dict[str, list[Any]]
"""By variable: the lowest and the highest value, or the levels of a category."""
Meets = Callable[[FloatArray], NDArray[np.bool_]]


def rooms(surrogate: Surrogate, space: Space, targets: Targets, x: FloatArray) -> list[Room | None]:
    """Move one variable at a time, and find where the target is first missed.

    Parameters
    ----------
    surrogate : Surrogate
        Its prediction alone is asked.
    space : Space
        The design variables with the bounds of the search.
    targets : Targets
        One target.
    x : ndarray
        (k, e) encoded designs.

    Returns
    -------
    list
        For each design the room of every variable that is not fixed: ``[low, high]``, exact to 1e-4 of
        the bounds, or the levels of a category that meet the target. None where the design itself
        misses.
    """

    def meets(points: FloatArray) -> NDArray[np.bool_]:
        y = surrogate.units(predict(surrogate, points))
        return np.asarray(targets.met(y, np.zeros(len(points), dtype=np.intp)).all(axis=1))

    there = meets(x)
    found: list[Room] = [{} for _ in x]
    smooth = []
    for variable, columns in zip(space.variables, space.slices, strict=True):
        values = _listed(variable)
        if variable.fixed is not None:
            continue
        if values is None:
            smooth.append((variable, columns.start))
            continue
        for room, answer in zip(found, _by_value(meets, variable, columns, values, x), strict=True):
            room[variable.name] = answer
    ends = _by_halving(meets, np.array([c for _, c in smooth], dtype=np.intp), *_limits(smooth), x)
    own = x[:, [columns for _, columns in smooth]]
    ends = inward(ends, own, np.stack([*_limits(smooth)], axis=-1)[None]) if smooth else ends
    for j, (variable, _) in enumerate(smooth):
        for room, (low, high) in zip(found, ends[:, j], strict=True):
            whole = variable.kind == "integer"
            room[variable.name] = [int(np.ceil(low)), int(np.floor(high))] if whole else [float(low), float(high)]
    names = [v.name for v in space.variables if v.fixed is None]
    return [{name: room[name] for name in names} if fine else None for room, fine in zip(found, there, strict=True)]


def _listed(variable: Variable) -> list[Any] | None:
    """Return the values of a variable of which only some exist, in order; None where there are too many."""
    if variable.kind in ("categorical", "binary", "levels"):
        return list(variable.levels)
    if variable.kind == "integer" and variable.upper - variable.lower < LISTED:
        return list(range(int(np.ceil(variable.lower)), int(np.floor(variable.upper)) + 1))
    return None


def _limits(smooth: list[tuple[Variable, int]]) -> tuple[FloatArray, FloatArray]:
    bounds = [variable.bounds() for variable, _ in smooth]
    return np.array([low[0] for low, _ in bounds]), np.array([high[0] for _, high in bounds])


def _by_value(meets: Meets, variable: Variable, columns: slice, values: list[Any], x: FloatArray) -> list[list[Any]]:
    """Try every value; of numbers, those that meet without a gap around the design's own."""
    encoded = variable.encode(values)
    points = np.repeat(x, len(values), axis=0)
    points[:, columns] = np.tile(encoded, (len(x), 1))
    fine = meets(points).reshape(len(x), len(values))
    if variable.kind in ("categorical", "binary"):
        return [[value for value, ok in zip(values, row, strict=True) if ok] for row in fine]
    own = np.argmin(np.abs(encoded.T - x[:, columns]), axis=1)
    at = np.arange(len(values))
    first = np.where(~fine & (at < own[:, None]), at, -1).max(axis=1) + 1
    last = np.where(~fine & (at > own[:, None]), at, len(values)).min(axis=1) - 1
    return [[values[i], values[j]] for i, j in zip(first, last, strict=True)]


def _by_halving(
    meets: Meets, columns: NDArray[np.intp], low: FloatArray, high: FloatArray, x: FloatArray
) -> FloatArray:
    """Return the (k, v, 2) ends of what meets around the values of v variables that move freely."""
    k, v = len(x), len(columns)
    own = x[:, columns]
    if not v:
        return np.zeros((k, 0, 2))

    def try_values(values: FloatArray) -> NDArray[np.bool_]:
        """Say for (k, v, n) values whether each meets as the only one that moved."""
        points = np.broadcast_to(x[:, None, None], (*values.shape, x.shape[1])).copy()
        i, j, n = np.indices(values.shape)
        points[i, j, n, columns[j]] = values
        return meets(points.reshape(-1, x.shape[1])).reshape(values.shape)

    grid = np.broadcast_to(np.linspace(low, high, GRID + 1, axis=1), (k, v, GRID + 1))
    misses = ~try_values(grid)
    below = np.where(misses & (grid < own[..., None]), grid, -np.inf).max(axis=2)
    above = np.where(misses & (grid > own[..., None]), grid, np.inf).min(axis=2)
    step = ((high - low) / GRID)[None]
    bad = np.stack([below, above], axis=2)
    # Between a miss and the next point of the grid, or the design itself, lies the end.
    good = np.stack([np.minimum(below + step, own), np.maximum(above - step, own)], axis=2)
    reached = ~np.isfinite(bad)
    bad = np.where(reached, np.stack([low, high], axis=1)[None], bad)
    good = np.where(reached, bad, good)
    for _ in range(HALVINGS):
        middle = (good + bad) / 2
        fine = try_values(middle)
        good, bad = np.where(fine, middle, good), np.where(fine, bad, middle)
    return good
