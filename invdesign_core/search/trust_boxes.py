"""Answers near to measured designs: the boxes around these in which to search."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from invdesign_core.data.data import TrainingRows
from invdesign_core.data.distance import ROUNDING, DataDistance
from invdesign_core.errors import ConfigError
from invdesign_core.search.plan import Plan
from invdesign_core.space.arrays import FloatArray, Mask
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable

NO_DISTANCE = 1e-12
"""The square of a distance to a measured design that rounding can make."""


def measured(known: TrainingRows | None, space: Space) -> DataDistance:
    """Return the measured designs that answers are to stay near to."""
    if known is None:
        raise ConfigError(
            "stay_near_data: no measured designs are known", "name a table with the model's inputs and outputs"
        )
    return DataDistance.of(known, space)


def near_plan(plan: Plan, space: Space, data: DataDistance) -> Plan:
    """Return how to search near measured designs: in boxes around them, in which few combinations of values exist.

    Discrete variables that can take but one value near a measured design stay there; where no other is left,
    nothing is rounded.
    """
    if plan.way not in ("per-combination", "rounding"):
        return plan
    free = tuple(i for i in plan.free if _gap(space.variables[i], data.unit[space.slices[i]]) <= 2 * data.limit)
    return replace(plan, way="rounding" if free else "continuous", free=free)


def _gap(variable: Variable, unit: FloatArray) -> float:
    """Return the smallest distance between two values that exist, scaled; half of it where rows have no other."""
    if variable.kind == "categorical":
        return 2.0  # rows have values that exist, so that another one is a distance of 1 away
    if variable.kind == "levels":
        return float(np.diff(variable.levels).min() / unit[0])
    return float((variable.step or 1.0) / unit[0])


@dataclass(frozen=True)
class TrustBoxes:
    """Boxes in a space around measured designs, inside which all points are near to one."""

    space: Space
    data: DataDistance

    def around_rows(
        self, known: TrainingRows, loss: FloatArray, bounds: FloatArray, count: int, row: int | None = None
    ) -> FloatArray:
        """Return the (2, t, count, e) encoded boxes around the measured designs that come nearest to each target.

        Inside such a box every point is inside the data, as `DataDistance` has it. Each box holds a design that exists
        and satisfies the constraints, and where a variable is discrete, its ends are values that exist. The (t, n) loss
        says how far each of n measured designs is from each target, and `row` the number of the first target, for
        messages, where they are a table.
        """
        space = self.space
        alike = bool((bounds == bounds[:, :1]).all())  # most often the targets hold nothing
        low, high = bounds[:, :1] if alike else bounds
        points = np.clip(space.snap(known.x), low[:, None], high[:, None])
        # What the bounds, values held or values that exist take a row away from where it was measured.
        left = self._left(points, known.x)
        loss = np.where(left >= -NO_DISTANCE, loss, np.inf)
        order = np.argsort(loss, axis=1, kind="stable")
        inside = np.isfinite(np.take_along_axis(loss, order, axis=1))
        if not inside.any(axis=1).all():
            raise ConfigError(
                f"{_place(row, inside)}stay_near_data: no measured design lies within the bounds, nor near a "
                "design that exists there",
                "widen the bounds, allow more values, or remove stay_near_data",
            )
        t = len(loss)
        target = np.zeros((t, 1), dtype=np.intp) if alike else np.arange(t)[:, None]
        ordered = np.concatenate([np.full(v.width, v.ordered) for v in space.variables])
        moves = (ordered & (bounds[0] < bounds[1]))[:, None]
        boxes, fine = np.empty((2, t, 0, space.width)), np.zeros((t, 0), dtype=bool)
        step = 4 * count if space.constraints else count
        for at in range(0, len(known.x), step):  # on and on, until each target has a box
            part = order[:, at : at + step]
            around = known.x[part], points[target, part], left[target, part]
            more = self._around(*around, bounds, moves)
            # A discrete column that has no other value within its share leaves that to the others.
            more = self._around(*around, bounds, moves & (~space.discrete | (more[0] < more[1])))
            possible = space.feasible_set.within(*more.reshape(2, -1, space.width)).possible().reshape(part.shape)
            fine = np.hstack([fine, inside[:, at : at + step] & possible])
            boxes = np.concatenate([boxes, more], axis=2)
            if fine.any(axis=1).all():
                break
        else:
            raise ConfigError(
                f"{_place(row, fine)}stay_near_data: no design near a measured one satisfies the constraints",
                "relax the constraints, or remove stay_near_data",
            )
        fit = np.argsort(~fine, axis=1, kind="stable")
        chosen = np.take_along_axis(fit, np.arange(count) % fine.sum(axis=1)[:, None], axis=1)
        return np.asarray(np.take_along_axis(boxes, chosen[None, :, :, None], axis=2))

    def around_designs(self, x: FloatArray, bounds: FloatArray) -> FloatArray:
        """Return (2, b, e) boxes around designs near measured ones, in which continuous columns stay near."""
        space, data = self.space, self.data
        rows, points = (data.points[data.nearest(x)[0]] * data.unit + data.low)[:, None], x[:, None]
        moves = (~space.discrete & (bounds[0] < bounds[1]))[:, None]
        return self._around(rows, points, self._left(points, rows), bounds, moves)[:, :, 0]

    def _left(self, points: FloatArray, rows: FloatArray) -> FloatArray:
        """Return (t, n) squares of the distances that (t, n, e) points near (n, e) rows leave to move in."""
        return np.asarray(self.data.limit**2 - (((points - rows) / self.data.unit) ** 2).sum(axis=2))

    def _around(
        self, rows: FloatArray, points: FloatArray, left: FloatArray, bounds: FloatArray, moves: Mask
    ) -> FloatArray:
        """Return (2, t, k, e) boxes around points near rows: what is left is shared among the columns that move.

        They are cut to the (2, t, e) bounds, to values that exist, one range of each, and the limits on how many.
        """
        space, data = self.space, self.data
        share = np.maximum(left, 0.0)[..., None] / np.maximum(moves.sum(axis=-1, keepdims=True), 1)
        # A column that is off its row already gets its share beside that, so that the corners are not too far away.
        away = data.unit * np.sqrt(((points - rows) / data.unit) ** 2 + share)
        boxes = np.stack([np.minimum(rows - away, points), np.maximum(rows + away, points)])
        ends = np.array(space.feasible_set.values.range_of(points.reshape(-1, space.width))).reshape(2, *points.shape)
        boxes = np.clip(np.clip(np.where(moves, boxes, points), *ends), *bounds[:, :, None])
        for variable, columns in zip(space.variables, space.slices, strict=True):
            if variable.discrete and variable.ordered:
                j = columns.start
                boxes[..., j] = _existing(variable, boxes[..., j], points[..., j], ROUNDING * data.unit[j])
        for limit in space.constraints.at_most:
            those = list(limit.columns)
            rank = np.argsort(np.argsort(-points[..., those], axis=2, kind="stable"), axis=2)
            boxes[1][..., those] = np.where(rank < limit.count, boxes[1][..., those], boxes[0][..., those])
        return np.asarray(boxes)


def _place(row: int | None, fine: Mask) -> str:
    """Name the first target that has none of (t, k) choices, where they come from a table."""
    return "" if row is None else f"targets, row {row + int(np.argmin(fine.any(axis=1))) + 1}: with its values, "


def _existing(variable: Variable, ends: FloatArray, own: FloatArray, tolerance: float) -> FloatArray:
    """Move (2, t, k) ends inwards to values of a discrete variable that exist; not beyond its own value."""
    inwards = np.array([1, -1])[:, None, None]
    index = variable.index(ends.reshape(-1, 1)).reshape(ends.shape)
    value, further = (
        variable.at(np.clip(number, 0, (variable.count or 1) - 1).ravel())[:, 0].reshape(ends.shape)
        for number in (index, index + inwards)
    )
    found = np.where((ends - value) * inwards > tolerance, further, value)
    return np.stack([np.minimum(found[0], own), np.maximum(found[1], own)])
