"""Many small convex quadratic programs at once, inside boxes cut by shared linear constraints."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.rules import Linear

TOUCHING = 1e-12
"""A constraint with less room than this holds a point."""
STILL = 1e-13
"""A step that moves nothing by more than this goes nowhere."""
SLOW = 1e-11
"""Constraints that a step nears by less than this share of its length are parallel to it."""
WRONG_WAY = 1e-11
"""A multiplier of the wrong sign below this share of the gradient is rounding."""
RANK = 1e-10
"""Singular values below this share of the largest count as zero."""
SOFT = 1e-14
"""Keeps the equations solvable where constraints say the same; the points pay for it by as much."""


class Polytope:
    """b boxes, cut by linear constraints that all share.

    Equations are made independent once, on the columns that are not fixed, so redundant ones and fixed variables do no
    harm. It remembers which constraints held each row, where its next search begins.

    Parameters
    ----------
    lower, upper : ndarray
        (b, e) boxes; equal where a column is fixed.
    linear : Linear
        k constraints on e columns.
    """

    def __init__(self, lower: FloatArray, upper: FloatArray, linear: Linear) -> None:
        self.lower, self.upper = lower, upper
        free = upper > lower
        given = np.where(free, 0.0, lower)
        same = linear.equations
        self.matrix, self.low, self.high, self.equations = _normalised(
            linear.matrix[~same], linear.lower[~same], linear.upper[~same], free, given
        )
        if same.any():
            equations = _independent(linear.matrix[same], linear.lower[same], free, given)
            pairs = zip(equations, (self.matrix, self.low, self.high, self.equations), strict=True)
            self.matrix, self.low, self.high, self.equations = (np.concatenate(pair, axis=1) for pair in pairs)
        self.held = np.zeros((len(lower), lower.shape[1] + self.low.shape[1]), dtype=np.int8)

    def nearest(self, wanted: FloatArray, inside: FloatArray, rows: IndexArray) -> FloatArray:
        """Return the points of the polytope nearest to (n, e) wanted ones, found from (n, e) points inside."""
        n, e = wanted.shape
        return self.minimise(np.broadcast_to(np.eye(e), (n, e, e)), inside - wanted, inside, rows)

    def minimise(self, hessian: FloatArray, gradient: FloatArray, at: FloatArray, rows: IndexArray) -> FloatArray:
        """Return the points x that minimise ½ (x − at)ᵀ H (x − at) + gᵀ (x − at) in the polytope.

        The primal active-set method for convex quadratic programs (R. Fletcher, "A general quadratic programming
        algorithm", J. Inst. Maths Applics 7, 1971; Nocedal and Wright, "Numerical Optimization", 2nd ed. 2006,
        algorithm 16.3), in which each row has a working set of its own. Every point on the way is feasible and
        better than the one before, so one that is cut short is a descent step all the same.

        Parameters
        ----------
        hessian, gradient : ndarray
            (n, e, e) positive definite, and (n, e).
        at : ndarray
            (n, e) feasible points.
        rows : ndarray of int
            (n,) which box each belongs to.

        Returns
        -------
        ndarray
            (n, e). Variables held by a bound lie on it exactly.
        """
        n, e = at.shape
        scale = np.maximum(np.einsum("rii->ri", hessian).max(axis=1), 1e-300)
        hessian, gradient = hessian / scale[:, None, None], gradient / scale[:, None]
        tolerance = WRONG_WAY * np.abs(gradient).max(axis=1)
        matrix, equations = self.matrix[rows], self.equations[rows]
        low = np.concatenate([self.lower[rows], self.low[rows]], axis=1)
        high = np.concatenate([self.upper[rows], self.high[rows]], axis=1)
        fixed = np.concatenate([self.upper[rows] <= self.lower[rows], equations], axis=1)
        x = np.clip(at, self.lower[rows], self.upper[rows])
        held = _still_touching(self.held[rows], _values(matrix, x), low, high)
        live = np.arange(n)
        for _ in range(4 * held.shape[1] + 20):  # working sets change by one constraint at a time
            if not len(live):
                break
            side, a = held[live], matrix[live]
            value = _values(a, x[live])
            active = (side[:, e:] != 0) | equations[live]
            aim = np.where(side > 0, high[live], low[live])[:, e:]
            missing = np.where(active, aim - value[:, e:], 0.0)
            free = (side[:, :e] == 0) & ~fixed[live, :e]
            step, multiplier = _equality_constrained(hessian[live], gradient[live], a, free, active, missing)
            rate = _values(a, step)
            length = np.abs(step).max(axis=1, keepdims=True)
            nears = (np.abs(rate) > SLOW * length) & (side == 0) & ~fixed[live] & (length > STILL)
            room = np.where(rate > 0, high[live], low[live]) - value
            with np.errstate(divide="ignore", invalid="ignore"):
                reach = np.where(nears, np.maximum(room / rate, 0.0), np.inf)
            first = reach.argmin(axis=1)
            each = np.arange(len(live))
            share = np.minimum(reach[each, first], 1.0)
            x[live] += share[:, None] * step
            gradient[live] += share[:, None] * np.einsum("rij,rj->ri", hessian[live], step)
            blocked = share < 1
            held[live[blocked], first[blocked]] = np.sign(rate[each, first])[blocked]
            bound = blocked & (first < e)
            row, column = live[bound], first[bound]
            x[row, column] = np.where(held[row, column] > 0, high[row, column], low[row, column])
            # Where nothing was in the way this is the best of its working set: is a constraint held for nothing?
            pull = -gradient[live] - np.einsum("rke,rk->re", a, multiplier)
            gain = np.concatenate([pull, multiplier], axis=1) * side
            gain[fixed[live]] = 0.0
            worst = gain.argmin(axis=1)
            let_go = ~blocked & (gain[each, worst] < -tolerance[live])
            held[live[let_go], worst[let_go]] = 0
            live = live[blocked | let_go]
        self.held[rows] = held
        return self._restored(x, held, rows)

    def _restored(self, x: FloatArray, held: NDArray[np.int8], rows: IndexArray) -> FloatArray:
        """Put points back onto the constraints that hold them, from which large multipliers had moved them a little."""
        e = x.shape[1]
        active = (held[:, e:] != 0) | self.equations[rows]
        aim = np.where(held[:, e:] > 0, self.high[rows], self.low[rows])
        missing = np.where(active, aim - _values(self.matrix[rows], x)[:, e:], 0.0)
        off = np.flatnonzero((np.abs(missing) > STILL).any(axis=1))
        if len(off):
            free = (held[off, :e] == 0) & (self.upper[rows[off]] > self.lower[rows[off]])
            one, zero = np.broadcast_to(np.eye(e), (len(off), e, e)), np.zeros((len(off), e))
            x[off] += _equality_constrained(one, zero, self.matrix[rows[off]], free, active[off], missing[off])[0]
        return np.clip(x, self.lower[rows], self.upper[rows])


def _values(matrix: FloatArray, x: FloatArray) -> FloatArray:
    """Return what all constraints limit: the (n, e) columns, and the (n, k) rows of the matrix."""
    return np.concatenate([x, np.einsum("rke,re->rk", matrix, x)], axis=1)


def _still_touching(held: NDArray[np.int8], value: FloatArray, low: FloatArray, high: FloatArray) -> NDArray[np.int8]:
    """Keep the constraints that hold these points; some of an independent set are independent."""
    room = np.where(held > 0, high - value, value - low)
    return np.where(np.abs(room) <= TOUCHING, held, 0).astype(np.int8)


def _equality_constrained(
    hessian: FloatArray,
    gradient: FloatArray,
    matrix: FloatArray,
    free: NDArray[np.bool_],
    active: NDArray[np.bool_],
    missing: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return the (n, e) steps of the free columns to the minimum where the active rows hold, and (n, k) multipliers."""
    n, k, e = matrix.shape
    system = np.zeros((n, e + k, e + k))
    system[:, :e, :e] = hessian * (free[:, :, None] & free[:, None, :])
    rows = matrix * (active[:, :, None] & free[:, None, :])
    system[:, e:, :e], system[:, :e, e:] = rows, rows.transpose(0, 2, 1)
    diagonal = np.einsum("rii->ri", system)
    diagonal[:, :e][~free] = 1.0
    diagonal[:, e:] = np.where(active, -SOFT, 1.0)
    right = np.concatenate([np.where(free, -gradient, 0.0), missing], axis=1)
    answer = np.linalg.solve(system, right[:, :, None])[:, :, 0]
    return np.where(free, answer[:, :e], 0.0), np.where(active, answer[:, e:], 0.0)


Rows = tuple[FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]
"""(b, k, e) coefficients on the free columns, (b, k) sides, and (b, k) whether each is an equation."""


def _normalised(
    matrix: FloatArray, low: FloatArray, high: FloatArray, free: NDArray[np.bool_], given: FloatArray
) -> Rows:
    """Return inequalities on the free columns with coefficients of length 1; without limits where none is free."""
    own = matrix * free[:, None, :]
    length = np.linalg.norm(own, axis=2)
    there = length > RANK * np.linalg.norm(matrix, axis=1)
    length = np.where(there, length, 1.0)
    constant = given @ matrix.T
    return (
        own * there[:, :, None] / length[:, :, None],
        np.where(there, (low - constant) / length, -np.inf),
        np.where(there, (high - constant) / length, np.inf),
        np.zeros_like(there),
    )


def _independent(matrix: FloatArray, right: FloatArray, free: NDArray[np.bool_], given: FloatArray) -> Rows:
    """Return the equations on the free columns as orthonormal ones; those that say nothing new have no limits."""
    b, k = len(free), len(right)
    found = np.zeros((b, k, matrix.shape[1])), np.zeros((b, k)), np.zeros((b, k), dtype=bool)
    patterns, of = np.unique(free, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):  # as many as there are ways to fix columns: mostly one
        rows = of.ravel() == number
        left, size, basis = np.linalg.svd(matrix * pattern, full_matrices=False)
        rank = int((size > RANK * max(np.linalg.norm(matrix, axis=1).max(), 1e-300)).sum())
        aim = (right - given[rows] @ matrix.T) @ left[:, :rank] / size[:rank]
        found[0][rows, :rank], found[1][rows, :rank], found[2][rows, :rank] = basis[:rank], aim, True
    there = found[2]
    return found[0], np.where(there, found[1], -np.inf), np.where(there, found[1], np.inf), there
