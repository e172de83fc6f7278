"""The inside of a polytope: which inequalities hold with equality all over it, and a point well inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.linear import Linear
from invdesign_core.space.milp import HIGHS_TOLERANCE, linear_program

THIN = 1e-8
"""A polytope that is thinner than this in some direction is taken to be flat in it."""


@dataclass(frozen=True)
class PolytopeInterior:
    """The points ``centre + basis @ w`` with ``low <= rows @ point <= high`` and ``equations @ point = sides``.

    `centre` (e,) is well inside; `basis` (e, d) holds the directions in which points may move, longest steps where
    there is most room; `rows` (r, e), `low` and `high` (r,) limit them, bounds included.
    """

    centre: FloatArray
    basis: FloatArray
    rows: FloatArray
    low: FloatArray
    high: FloatArray
    equations: FloatArray
    sides: FloatArray


def inside(linear: Linear, lower: FloatArray, upper: FloatArray) -> PolytopeInterior | None:
    """Find the inside of a polytope with finite (e,) bounds about 1 apart; None if no point satisfies all.

    Rows that a largest ball of radius 0 rests on hold with equality everywhere (their multipliers prove it); they
    become equations, and the ball is sought again among the points that satisfy them.
    """
    # Rows of columns that are all held say nothing of the others, but may be broken.
    idle = ~linear.matrix.any(axis=1)
    if (linear.violation(np.zeros((1, len(lower))))[:, idle] > THIN).any():
        return None
    linear = Linear(linear.matrix[~idle], linear.lower[~idle], linear.upper[~idle])
    if not len(lower):
        nothing = np.zeros((0, 0))
        return PolytopeInterior(lower, nothing, nothing, lower, upper, nothing, lower)
    rows = np.vstack([np.eye(len(lower)), linear.matrix])
    low, high = np.concatenate([lower, linear.lower]), np.concatenate([upper, linear.upper])
    size = np.linalg.norm(rows, axis=1)
    rows, low, high = rows / size[:, None], low / size, high / size
    equal = high - low <= THIN
    side = np.where(equal, (low + high) / 2, 0.0)
    while True:
        basis = _null_space(rows[equal])
        room = np.linalg.norm(rows @ basis, axis=1)
        moving = ~equal & (room > 1e-9)
        found = _ball(rows, low, high, np.where(equal, 1.0, np.where(moving, room, 0.0)), equal, side)
        if found is None:
            return None
        point, radius, upper_held, lower_held = found
        held = moving & (upper_held | lower_held)
        if radius > THIN or not moving.any() or not held.any():
            break
        side = np.where(held, np.where(upper_held, high, low), side)
        equal = equal | held
    if equal.any():
        point = point + np.linalg.pinv(rows[equal]) @ (side[equal] - rows[equal] @ point)
    if radius <= THIN:
        basis = basis[:, :0]
    else:
        point, basis = _centred(point, basis, rows[moving], low[moving], high[moving])
    return PolytopeInterior(point, basis, rows[moving], low[moving], high[moving], rows[equal], side[equal])


def _null_space(rows: FloatArray) -> FloatArray:
    _, values, directions = np.linalg.svd(rows, full_matrices=True)
    return np.asarray(directions[int((values > 1e-9).sum()) :].T)


def _ball(
    rows: FloatArray, low: FloatArray, high: FloatArray, room: FloatArray, equal: NDArray[np.bool_], side: FloatArray
) -> tuple[FloatArray, float, NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Return the largest ball's centre and radius, and which rows it rests on from below and from above."""
    above, below = ~equal & np.isfinite(high), ~equal & np.isfinite(low)
    answer = linear_program(
        np.append(np.zeros(rows.shape[1]), -1.0),
        A_ub=np.vstack([np.column_stack([rows, room])[above], np.column_stack([-rows, room])[below]]),
        b_ub=np.concatenate([high[above], -low[below]]),
        A_eq=np.column_stack([rows[equal], np.zeros(equal.sum())]),
        b_eq=side[equal],
        bounds=[(None, None)] * rows.shape[1] + [(0.0, 1.0)],
        options={"primal_feasibility_tolerance": HIGHS_TOLERANCE, "dual_feasibility_tolerance": HIGHS_TOLERANCE},
    )
    if answer.x is None:
        return None
    upper_held, lower_held = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    held = answer.ineqlin.marginals < -1e-7
    upper_held[above], lower_held[below] = held[: above.sum()], held[above.sum() :]
    return answer.x[:-1], float(answer.x[-1]), upper_held, lower_held


def _centred(
    point: FloatArray, basis: FloatArray, rows: FloatArray, low: FloatArray, high: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Move to the analytic centre; there the barrier's curvature says how far it is to the walls in each direction."""
    along = rows @ basis
    for _ in range(50):
        value = rows @ point
        up, down = 1.0 / (high - value), 1.0 / (value - low)
        gradient = along.T @ (up - down)
        curvature = (along.T * (up**2 + down**2)) @ along
        step = -np.linalg.solve(curvature, gradient)
        decrement = float(-gradient @ step)
        if decrement < 1e-6:
            break
        # The damped Newton step of a self-concordant barrier never leaves the inside.
        point = point + basis @ step / (1.0 + np.sqrt(decrement))
    return point, basis @ np.linalg.inv(np.linalg.cholesky(curvature)).T
