"""Directions in which a design can move and still meet its target: where answers form a valley."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.milp import linear_program
from invdesign_core.space.space import Space
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Targets

DIFFERENCE = 5e-3
"""Step of central differences in u: the cube root of the precision of float32, in which networks compute."""
FLAT = 1e-3
"""Slopes below this share of the steepest, and changes of an output below this share of its deviation, are none."""
STEP = 0.05
"""How far a direction is followed to see whether it leads along a valley, in shares of the bounds."""
CORRECTIONS = 4
"""Newton steps back into a bent valley."""
FEW = 100
"""Directions up to which they are found by elimination."""
SMALL = 0.01
"""Entries of a direction below this share of its largest are left out."""
BATCH = 1024
"""Rows predicted at once: a call with few is filled up."""


def predict(surrogate: Surrogate, x: FloatArray) -> FloatArray:
    """Return the (n, m) predictions in z of (n, e) designs, in batches of one size: another would be compiled anew."""
    if not surrogate.differentiable:
        return surrogate.mean_z(x)
    filled = np.concatenate([x, np.repeat(x[:1], -len(x) % BATCH, axis=0)])
    parts = [surrogate.mean_z(filled[at : at + BATCH]) for at in range(0, len(filled), BATCH)]
    return np.concatenate(parts)[: len(x)]


def free_directions(
    surrogate: Surrogate, space: Space, targets: Targets, x: FloatArray
) -> list[list[dict[str, float]]]:
    """Find the directions from each of (k, e) designs that meet one target which change no output that is asked for.

    They are the null space of the outputs' slopes and of the linear equations. A direction counts only if the
    prediction stays the same along it for a twentieth of the bounds, corrected for the valley's bend: at the bottom of
    a bowl all slopes vanish too. Nor does it count if it leads out of the bounds or of an inequality both ways. Each
    maps continuous variables to coefficients in the user's units; the first one named has 1, and is in no other.
    """
    low, high = space.bounds
    moves = np.flatnonzero(~space.discrete & (high > low))
    if not surrogate.differentiable or not len(moves) or not len(x):
        return [[] for _ in x]
    z = predict(surrogate, x)
    goal = targets.goal(surrogate.shift, surrogate.scale)
    inside = (z > goal.lower + FLAT) & (z < goal.upper - FLAT)
    binds = targets.asked & ~inside
    slopes = _slopes(surrogate, x, moves, low, high)
    # One after another: as many as designs are reported.
    return [_of_one(surrogate, space, moves, x[i], z[i], slopes[i], binds[i]) for i in range(len(x))]


def _of_one(
    surrogate: Surrogate,
    space: Space,
    moves: IndexArray,
    x: FloatArray,
    z: FloatArray,
    slopes: FloatArray,
    binds: NDArray[np.bool_],
) -> list[dict[str, float]]:
    """Find the directions of one design, given its (m,) outputs, their (m, v) slopes, and which outputs must stay."""
    low, high = space.bounds
    width, linear = (high - low)[moves], space.constraints.linear
    equations = linear.matrix[linear.equations][:, moves] * width
    equations = equations / np.maximum(np.abs(equations).max(axis=1, keepdims=True, initial=0.0), 1e-300)
    basis, back, rows = _null_space(np.concatenate([slopes[binds], equations]))
    basis, own = _readable(basis) if len(basis) <= FEW else _explicit(rows)
    if not len(basis):
        return []
    # Follow each both ways, and see whether the outputs stay the same.
    ahead = STEP * np.concatenate([basis, -basis]) / np.tile(np.abs(basis).max(axis=1, keepdims=True), (2, 1))
    way = ahead.copy()
    for attempt in range(CORRECTIONS + 1):
        points = np.tile(x, (len(way), 1))
        points[:, moves] += way * width
        off = np.concatenate([(predict(surrogate, points) - z)[:, binds], way @ equations.T], axis=1)
        if attempt < CORRECTIONS:
            way = way - off @ back.T
    walls = _walls(space, x, moves, width)
    within = (way @ walls.T >= -SMALL * STEP).all(axis=1) | _have_room(basis @ walls.T)
    stays = within & (np.abs(off) <= FLAT).all(axis=1) & (np.abs(way - ahead) <= STEP / 2).all(axis=1)
    names = np.array([v.name for v in space.variables for _ in range(v.width)])[moves]
    found = []
    for d in np.flatnonzero(stays.reshape(2, -1).any(axis=0)):  # in the user's units, for a step of 1 of its own
        steps = basis[d] * width / width[own[d]]
        others = [j for j in np.flatnonzero(basis[d]).tolist() if j != own[d]]
        found.append({str(names[j]): float(f"{steps[j]:.4g}") for j in (own[d], *others)})
    return found


def _slopes(surrogate: Surrogate, x: FloatArray, moves: IndexArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return (k, m, v) central differences of the outputs z in shares of the bounds, inside the bounds."""
    k, e = x.shape
    v = len(moves)
    points = np.broadcast_to(x[:, None, None], (k, 2, v, e)).copy()
    at = np.arange(v)
    for side, sign in enumerate((1, -1)):
        moved = x[:, moves] + sign * DIFFERENCE * (high - low)[moves]
        points[:, side, at, moves] = np.clip(moved, low[moves], high[moves])
    z = predict(surrogate, points.reshape(-1, e)).reshape(k, 2, v, -1)
    span = (points[:, 0, at, moves] - points[:, 1, at, moves]) / (high - low)[moves]
    return np.asarray(((z[:, 0] - z[:, 1]) / span[..., None]).transpose(0, 2, 1))


def _null_space(matrix: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return a (d, v) basis of what a (r, v) matrix maps to nothing, its (v, r) pseudo-inverse, and one of its rows."""
    if not len(matrix) or not np.isfinite(matrix).all():
        d = matrix.shape[1] if not len(matrix) else 0
        return np.eye(matrix.shape[1])[:d], np.zeros((matrix.shape[1], len(matrix))), matrix[:0]
    left, size, right = np.linalg.svd(matrix)
    rank = int((size > max(FLAT * size[0], FLAT)).sum())
    back = right[:rank].T @ (left[:, :rank] / size[:rank]).T
    return right[rank:], back, right[:rank]


def _explicit(rows: FloatArray) -> tuple[FloatArray, list[int]]:
    """Return what (r, v) independent rows map to nothing as `_readable` does, where r is far smaller than v."""
    from scipy.linalg import qr

    r, v = rows.shape
    order = qr(rows, pivoting=True, mode="economic")[2] if r else np.arange(v)
    depend, own = order[:r], np.sort(order[r:])
    basis = np.zeros((v - r, v))
    basis[np.arange(v - r), own] = 1.0
    basis[:, depend] = -np.linalg.solve(rows[:, depend], rows[:, own]).T
    largest = np.abs(basis).max(axis=1, keepdims=True)
    return np.where(np.abs(basis) < SMALL * largest, 0.0, basis), own.tolist()


def _readable(basis: FloatArray) -> tuple[FloatArray, list[int]]:
    """Return the same (d, v) directions, reduced, and the variable that each has for itself, with the entry 1."""
    reduced, own = basis.copy(), []
    for row in range(len(reduced)):  # Gauss and Jordan, with the first column that has a large entry
        rest = np.abs(reduced[row:])
        column = int(np.argmax(rest.max(axis=0) >= rest.max() / 2))
        pivot = row + int(np.argmax(rest[:, column]))
        reduced[[row, pivot]] = reduced[[pivot, row]]
        reduced[row] /= reduced[row, column]
        others = np.arange(len(reduced)) != row
        reduced[others] -= reduced[others, column : column + 1] * reduced[row]
        own.append(column)
    largest = np.abs(reduced).max(axis=1, keepdims=True, initial=0.0)
    return np.where(np.abs(reduced) < SMALL * largest, 0.0, reduced), own


def _walls(space: Space, x: FloatArray, moves: IndexArray, width: FloatArray) -> FloatArray:
    """Return (w, v) rows that no step from a design may lower: its bounds and inequalities that leave it no room."""
    low, high = (bound[moves] for bound in space.bounds)
    each = np.eye(len(moves))
    linear = space.constraints.linear
    rows, value = linear.matrix[:, moves] * width, linear.matrix @ x
    size = np.maximum(np.abs(rows).max(axis=1, initial=0.0), 1e-300)
    rows, below, above = rows / size[:, None], (value - linear.lower) / size, (linear.upper - value) / size
    matters = ~linear.equations
    return np.concatenate(
        [
            each[x[moves] - low <= FLAT * width],
            -each[high - x[moves] <= FLAT * width],
            rows[matters & (below <= FLAT)],
            -rows[matters & (above <= FLAT)],
        ]
    )


def _have_room(slopes: FloatArray) -> bool:
    """Say whether d directions together lead away from w walls, each by (d, w) slopes, though none may do so alone."""
    d, w = slopes.shape
    if not d or not w:
        return True
    cost = np.r_[np.zeros(d), -1.0]
    rows = np.column_stack([-slopes.T, np.ones(w)])
    best = linear_program(cost, A_ub=rows, b_ub=np.zeros(w), bounds=[(-1, 1)] * d + [(0, 1)])
    return bool(best.status == 0 and -best.fun > SMALL)
