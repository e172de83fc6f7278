"""The nearest point that satisfies linear constraints and bounds, for many points at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invdesign_core.space.arrays import FloatArray, IndexArray, Mask
from invdesign_core.space.rules import Linear

_ROUNDS = 60
_EPS = float(np.finfo(np.float64).eps)


def project(linear: Linear, lower: FloatArray, upper: FloatArray, points: FloatArray) -> FloatArray:
    """Return the points nearest to (n, e) others in ``{lower <= x <= upper, linear}``; NaN where there is none.

    The bounds are (e,) or (n, e), the sides of the constraints (k,) or (n, k). Newton's method on the dual, all points
    side by side: given one multiplier a constraint, the nearest point in the box is a clipped sum, and the dual is
    concave, smooth, and made of quadratic pieces. What it does not finish goes to an exact active-set method.
    """
    lower, upper = np.broadcast_to(lower, points.shape), np.broadcast_to(upper, points.shape)
    shape = (len(points), len(linear))
    low, high = np.broadcast_to(linear.lower, shape), np.broadcast_to(linear.upper, shape)
    found = np.clip(points, lower, upper)
    value = found @ linear.matrix.T
    # Only those move that have to: what satisfies the constraints stays to the last bit.
    outside = np.flatnonzero((np.maximum(value - high, low - value) > 0).any(axis=1))
    if not len(outside):
        return found
    size = np.linalg.norm(linear.matrix, axis=1)
    size[size == 0] = 1.0
    matrix, low, high = linear.matrix / size[:, None], low[outside] / size, high[outside] / size
    equal = (low == high).all(axis=0)
    above, below = ~equal & np.isfinite(high).any(axis=0), ~equal & np.isfinite(low).any(axis=0)
    rows = np.vstack([matrix[equal], matrix[above], -matrix[below]])
    sides = np.hstack([low[:, equal], high[:, above], -low[:, below]])
    task = _Task(rows, sides, np.arange(len(rows)) < equal.sum(), lower[outside], upper[outside], points[outside])
    x, miss = task.newton(np.zeros_like(sides))
    left = np.flatnonzero(miss > task.rounding)
    if len(left):
        task = _Task(rows, sides[left], task.equal, task.lower[left], task.upper[left], task.points[left])
        # A loop over the few points on which Newton's method stalls, or that have no answer.
        exact = [task.exact(row) for row in range(len(left))]
        polished, polished_miss = task.newton(np.array([multipliers for _, multipliers in exact]))
        best = np.where((polished_miss <= miss[left])[:, None], polished, x[left])
        fine = np.fmin(polished_miss, miss[left]) <= 1e4 * task.rounding
        # Where hardly a point is allowed the multipliers grow without end, and the point itself is more exact.
        x[left] = np.where(fine[:, None], best, np.array([point for point, _ in exact]))
    found[outside] = x
    return found


@dataclass(frozen=True)
class _Task:
    """n projections onto ``rows @ x <= sides`` (or ``=``), each row of length 1, inside bounds."""

    rows: FloatArray
    sides: FloatArray
    equal: Mask
    lower: FloatArray
    upper: FloatArray
    points: FloatArray

    def newton(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the (n, e) points after a number of rounds from (n, m) multipliers, and how far off each is."""
        x, gap = self._at(y, slice(None))
        miss, worth, limit = self._miss(y, gap), self._worth(y, x, gap, slice(None)), self.rounding
        for _ in range(_ROUNDS):
            open_ = np.flatnonzero(miss > limit)
            if not len(open_):
                break
            slope, length, waiting = gap[open_], np.ones(len(open_)), np.arange(len(open_))
            step = self._step(y[open_], slope, x[open_], miss[open_], open_)
            for _ in range(40):
                rows = open_[waiting]
                y_new = y[rows] + length[waiting, None] * step[waiting]
                y_new = np.where(self.equal, y_new, np.maximum(y_new, 0.0))
                x_new, gap_new = self._at(y_new, rows)
                worth_new = self._worth(y_new, x_new, gap_new, rows)
                miss_new = self._miss(y_new, gap_new)
                gain = ((y_new - y[rows]) * slope[waiting]).sum(axis=1)
                # Close to the end the gain drowns in rounding; there, and only there, the miss has the say.
                drowned = gain <= 1e-10 * (1.0 + np.abs(worth[rows]))
                good = np.where(drowned, miss_new <= 0.5 * miss[rows], worth_new >= worth[rows] + 1e-4 * gain)
                kept = rows[good]
                y[kept], x[kept], gap[kept] = y_new[good], x_new[good], gap_new[good]
                worth[kept], miss[kept] = worth_new[good], miss_new[good]
                waiting = waiting[~good]
                if not len(waiting):
                    break
                length[waiting] *= 0.3
        return x, miss

    def exact(self, row: int) -> tuple[FloatArray, FloatArray]:
        """Return one (e,) point and its (m,) multipliers by Lawson and Hanson's least-distance method, else NaN."""
        from scipy.optimize import nnls

        nothing = np.full(self.rows.shape[1], np.nan), np.full(len(self.rows), np.nan)
        free = self.upper[row] > self.lower[row]
        start = np.where(free, self.points[row], self.lower[row])
        box = np.eye(len(free))[free]
        rows = np.vstack([self.rows, -self.rows[self.equal], box, -box])
        sides = np.concatenate(
            [self.sides[row], -self.sides[row][self.equal], self.upper[row][free], -self.lower[row][free]]
        )
        kept = np.isfinite(sides)
        sides = sides - rows @ start
        scale = float(np.abs(sides[kept]).max(initial=0.0)) or 1.0
        # A side that rounding alone has put out of reach counts as reached.
        system = np.vstack([-rows[kept][:, free].T, -sides[kept] / scale - 1e-12])
        wanted = np.append(np.zeros(free.sum()), 1.0)
        try:
            found, _ = nnls(system, wanted, maxiter=50 * system.shape[1])
        except RuntimeError:
            return nothing
        excess = 1.0 - system[-1] @ found
        if excess < 1e-13:
            return nothing
        y = np.zeros(len(rows))
        y[kept] = scale * found / excess
        count, equal = len(self.rows), int(self.equal.sum())
        y[:count][self.equal] -= y[count : count + equal]
        point = start.copy()
        point[free] += scale * (system[:-1] @ found) / excess
        point = np.clip(point, self.lower[row], self.upper[row])
        over = self.rows @ point - self.sides[row]
        if np.where(self.equal, np.abs(over), over).max() > 1e-9 * scale:
            return nothing
        return point, y[:count]

    def _at(self, y: FloatArray, rows: slice | IndexArray) -> tuple[FloatArray, FloatArray]:
        """Return the nearest points in the box given the multipliers, and by how much they exceed each side."""
        x = np.clip(self.points[rows] - y @ self.rows, self.lower[rows], self.upper[rows])
        gap = x @ self.rows.T - self.sides[rows]
        return x, np.where(np.isneginf(gap), -1e300, gap)

    def _worth(self, y: FloatArray, x: FloatArray, gap: FloatArray, rows: slice | IndexArray) -> FloatArray:
        return np.asarray(0.5 * ((x - self.points[rows]) ** 2).sum(axis=1) + (y * gap).sum(axis=1))

    def _miss(self, y: FloatArray, gap: FloatArray) -> FloatArray:
        """Return how far each is from the answer: sides exceeded, and multipliers on sides that are not reached."""
        return np.asarray(np.where(self.equal | (y > 0), np.abs(gap), np.maximum(gap, 0.0)).max(axis=1))

    @property
    def rounding(self) -> FloatArray:
        """(n,) how far off a point may be by rounding alone."""
        size = np.abs(self.points).max(axis=1) + np.where(np.isfinite(self.sides), np.abs(self.sides), 0.0).max(axis=1)
        return np.asarray(8 * _EPS * np.sqrt(self.points.shape[1]) * size)

    def _step(self, y: FloatArray, gap: FloatArray, x: FloatArray, miss: FloatArray, rows: IndexArray) -> FloatArray:
        """Return Newton's steps; multipliers that rest at 0 stay."""
        free = (x > self.lower[rows]) & (x < self.upper[rows])
        count = len(self.rows)
        pairs = (self.rows[:, None, :] * self.rows[None, :, :]).reshape(count * count, -1)
        curvature = (free @ pairs.T).reshape(-1, count, count)
        resting = ~self.equal & (y <= 0) & (gap <= 0)
        curvature = curvature * ~(resting[:, :, None] | resting[:, None, :])
        damping = 1e-12 + 1e-3 * np.minimum(1.0, miss)
        curvature += np.eye(count) * np.where(resting, 1.0, damping[:, None])[:, :, None]
        return np.asarray(np.linalg.solve(curvature, np.where(resting, 0.0, gap)[:, :, None])[:, :, 0])
