"""Start points that satisfy linear constraints, spread evenly over all that do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invdesign_core.space.arrays import FloatArray, Mask
from invdesign_core.space.milp import HIGHS_TOLERANCE, linear_program
from invdesign_core.space.rules import Linear

_THIN = 1e-8
"""A polytope that is thinner than this in some direction is taken to be flat in it."""
_CHAINS = 1024
"""Walks side by side; more points than this are taken from the same walks, further on."""
_BLOCK = 1_000_000
"""How many random numbers are drawn at once: few large products of matrices are faster than many small ones."""


@dataclass(frozen=True)
class _Interior:
    """The (e,) points ``centre + basis @ w`` with ``low <= rows @ point <= high`` and ``equations @ point = sides``.

    `basis` (e, d) holds the directions in which points may move, longest steps where there is most room.
    """

    centre: FloatArray
    basis: FloatArray
    rows: FloatArray
    low: FloatArray
    high: FloatArray
    equations: FloatArray
    sides: FloatArray


def sample(linear: Linear, lower: FloatArray, upper: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Draw (count, e) points evenly from a polytope with finite (e,) bounds; NaN if no point satisfies all.

    Hit-and-run, never rejection: a uniform point on a line of random direction, again and again, tends to the uniform
    distribution (R. L. Smith, Operations Research 32 (1984) 1296). What amounts to an equation is kept to rounding.
    """
    width = upper - lower
    unit = rng.random((count, len(lower)))
    if len(linear) and count:
        scaled = linear.scaled(lower, width)
        tied = (scaled.matrix != 0).any(axis=0)
        rows = Linear(scaled.matrix[:, tied], scaled.lower, scaled.upper)
        region = _interior(rows, np.zeros(tied.sum()), np.ones(tied.sum()))
        if region is None:
            return np.full_like(unit, np.nan)
        points = _walk(region, count, rng)
        # Take off what rounding has added up on the way.
        miss = region.sides - points @ region.equations.T
        unit[:, tied] = points + miss @ np.linalg.pinv(region.equations).T
    return np.asarray(np.clip(lower + unit * width, lower, upper))


def _walk(region: _Interior, count: int, rng: np.random.Generator) -> FloatArray:
    """Return (count, e) points of independent walks that all begin at the centre."""
    freedom = region.basis.shape[1]
    if not freedom:
        return np.repeat(region.centre[None, :], count, axis=0)
    chains = min(count, _CHAINS)
    across = (region.rows @ region.basis).T
    value = np.repeat((region.rows @ region.centre)[None, :], chains, axis=0)
    moved = np.zeros((chains, freedom))
    first, later = 20 + 10 * freedom, 5 + freedom
    steps = first + (-(-count // chains) - 1) * later
    block = min(steps, max(1, _BLOCK // (chains * freedom)))
    kept = []
    for step in range(steps):
        if step % block == 0:
            drawn = rng.standard_normal((block * chains, freedom))
            directions, changes = (part.reshape(block, chains, -1) for part in (drawn, drawn @ across))
        direction, change = directions[step % block], changes[step % block]
        with np.errstate(divide="ignore", invalid="ignore"):
            to_high, to_low = (region.high - value) / change, (region.low - value) / change
        # Not a number: a direction that runs along a row, from a point on it.
        longest = np.fmin.reduce(np.fmax(to_high, to_low), axis=1)
        shortest = np.fmax.reduce(np.fmin(to_high, to_low), axis=1)
        length = shortest + (longest - shortest) * rng.random(chains)
        length = np.where(np.isfinite(length), length, 0.0)[:, None]
        moved += length * direction
        value += length * change
        if step >= first - 1 and (step - first + 1) % later == 0:
            kept.append(moved.copy())
    return np.asarray(region.centre + np.concatenate(kept)[:count] @ region.basis.T)


def _interior(linear: Linear, lower: FloatArray, upper: FloatArray) -> _Interior | None:
    """Find the inside of a polytope with finite (e,) bounds about 1 apart; None if no point satisfies all.

    Rows that a largest ball of radius 0 rests on hold with equality everywhere (their multipliers prove it); they
    become equations, and the ball is sought again among the points that satisfy them.
    """
    # Rows of columns that are all held say nothing of the others, but may be broken.
    idle = ~linear.matrix.any(axis=1)
    if (linear.violation(np.zeros((1, len(lower))))[:, idle] > _THIN).any():
        return None
    linear = Linear(linear.matrix[~idle], linear.lower[~idle], linear.upper[~idle])
    if not len(lower):
        nothing = np.zeros((0, 0))
        return _Interior(lower, nothing, nothing, lower, upper, nothing, lower)
    rows = np.vstack([np.eye(len(lower)), linear.matrix])
    low, high = np.concatenate([lower, linear.lower]), np.concatenate([upper, linear.upper])
    size = np.linalg.norm(rows, axis=1)
    rows, low, high = rows / size[:, None], low / size, high / size
    equal = high - low <= _THIN
    side = np.where(equal, (low + high) / 2, 0.0)
    while True:
        _, values, directions = np.linalg.svd(rows[equal], full_matrices=True)
        basis = directions[int((values > 1e-9).sum()) :].T
        room = np.linalg.norm(rows @ basis, axis=1)
        moving = ~equal & (room > 1e-9)
        found = _ball(rows, low, high, np.where(equal, 1.0, np.where(moving, room, 0.0)), equal, side)
        if found is None:
            return None
        point, radius, upper_held, lower_held = found
        held = moving & (upper_held | lower_held)
        if radius > _THIN or not moving.any() or not held.any():
            break
        side = np.where(held, np.where(upper_held, high, low), side)
        equal = equal | held
    if equal.any():
        point = point + np.linalg.pinv(rows[equal]) @ (side[equal] - rows[equal] @ point)
    if radius <= _THIN:
        basis = basis[:, :0]
    else:
        point, basis = _centred(point, basis, rows[moving], low[moving], high[moving])
    return _Interior(point, basis, rows[moving], low[moving], high[moving], rows[equal], side[equal])


def _ball(
    rows: FloatArray, low: FloatArray, high: FloatArray, room: FloatArray, equal: Mask, side: FloatArray
) -> tuple[FloatArray, float, Mask, Mask] | None:
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
