"""Which of many designs to measure where nothing is known yet: those that stand for all the others."""

from __future__ import annotations

import numpy as np

from invdesign_core.space.arrays import FloatArray, IndexArray

ROUNDS = 30
"""Times that the designs are moved to the middle of those that they stand for, at most."""


def spread_out(u: FloatArray, count: int, taken: FloatArray | None = None) -> IndexArray:
    """Return the numbers of `count` of (n, e) points that fill the space beside (k, e) that are `taken`.

    They begin as far from each other as can be; each is then moved to the middle of the points that are nearer to it
    than to any other one (Lloyd's algorithm), since points as far apart as can be all lie on the border. They come back
    in an order whose first ones fill the space too.
    """
    known = np.zeros((0, u.shape[1])) if taken is None else taken
    chosen = _farthest(u, min(count, len(u)), known)
    for _ in range(ROUNDS):
        moved = _moved(u, chosen, known)
        if np.array_equal(moved, chosen):
            break
        chosen = moved
    return chosen[_farthest(u[chosen], len(chosen), known)]


def _farthest(u: FloatArray, count: int, known: FloatArray) -> IndexArray:
    """Return the numbers of points of which each is the farthest from those before it, and from the known ones."""
    away = np.full(len(u), np.inf)
    for point in known:
        away = np.minimum(away, _distances(u, point))
    chosen: list[int] = []
    for _ in range(count):
        far = np.isfinite(away).all()
        chosen.append(int(np.argmax(away)) if far else int(np.argmin(_distances(u, u.mean(axis=0)))))
        away = np.minimum(away, _distances(u, u[chosen[-1]]))
        away[chosen] = -1.0
    return np.array(chosen, dtype=np.intp)


def _moved(u: FloatArray, chosen: IndexArray, known: FloatArray) -> IndexArray:
    """Return the numbers of the points nearest to the middles of those for which each of the chosen ones stands."""
    centres = np.concatenate([u[chosen], known])
    square = np.einsum("ie,ie->i", centres, centres) - 2 * u @ centres.T
    nearest, moved = np.argmin(square, axis=1), chosen.copy()
    for i in range(len(chosen)):
        cell = np.flatnonzero(nearest == i)
        if len(cell):
            moved[i] = cell[np.argmin(_distances(u[cell], u[cell].mean(axis=0)))]
    return moved


def _distances(u: FloatArray, point: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(((u - point) ** 2).sum(axis=1)))
