"""How near a design is to the rows that the surrogate learnt from, and whether it lies among them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.columns import is_constant
from invdesign_core.data.data import TrainingRows
from invdesign_core.data.equations import Rules
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.space import Space

USUAL = 0.99
"""A design is inside the data if it is as near to a row as this share of the rows are to their nearest other."""
NEAR = 0.25
"""No distance above this is near, however far apart the rows are: among few rows the usual distance is no measure."""
ROUNDING = 1e-6
"""Share of the limit by which a design at a corner of a box around a row may seem to be beyond it."""
SAMPLE = 2048
"""Rows that the usual distance is read off, and that rankings look at."""


@dataclass(frozen=True)
class DataDistance:
    """The distinct training rows, each input scaled by its range over them; another category is a distance of 1."""

    points: FloatArray
    """(n, e) distinct rows, scaled."""
    rows: NDArray[np.intp] | None
    """(n,) their numbers in the user's table."""
    low: FloatArray
    unit: FloatArray
    """(e,) what is subtracted from an encoded design, and what it is then divided by."""
    rules: Rules | None = None
    """The equations that all rows satisfy."""
    y: FloatArray | None = None
    """(n, m) what was measured there, NaN where it was not."""

    @classmethod
    def of(cls, known: TrainingRows, space: Space) -> DataDistance:
        """Scale the rows that a surrogate learnt from, and leave repeats out."""
        low, high = known.x.min(axis=0), known.x.max(axis=0)
        unit = np.where(is_constant(low, high), 1.0, high - low)
        for variable, columns in zip(space.variables, space.slices, strict=True):
            if variable.kind == "categorical":
                unit[columns] = np.sqrt(2.0)  # two levels differ in two columns
        order = np.arange(len(known.x)) if known.rows is None else np.argsort(known.rows, kind="stable")
        first = order[np.unique(known.x[order], axis=0, return_index=True)[1]]
        rows = None if known.rows is None else known.rows[first]
        return cls((known.x[first] - low) / unit, rows, low, unit, Rules(known.x, space), known.y[first])

    @cached_property
    def limit(self) -> float:
        """The largest distance to a row that is near: usual among the rows themselves, and at most `NEAR`."""
        return min(self.usual, NEAR)

    @cached_property
    def usual(self) -> float:
        """The distance to the nearest other one that 99 % of the rows have at most."""
        if len(self.points) < 2:
            return 0.0
        some = self.points[_spaced(len(self.points), SAMPLE)]
        return float(np.quantile(self._tree.query(some, k=2, workers=-1)[0][:, 1], USUAL))

    @cached_property
    def sample(self) -> DataDistance:
        """The same of not more than `SAMPLE` rows, where every start is looked at and not only what is reported."""
        if len(self.points) <= SAMPLE:
            return self
        some = _spaced(len(self.points), SAMPLE)
        return DataDistance(self.points[some], None, self.low, self.unit, self.rules)

    def nearest(self, x: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
        """Return the positions in `points` of the rows nearest to (k, e) encoded designs, and their (k,) distances."""
        distance, row = self._tree.query((x - self.low) / self.unit, workers=-1)
        return np.asarray(row, dtype=np.intp), np.asarray(distance, dtype=np.float64)

    def inside(self, x: FloatArray) -> NDArray[np.bool_]:
        """Return (k,) whether encoded designs lie among the rows: near to one, and true to the equations of all."""
        return np.asarray((self.nearest(x)[1] <= self.limit * (1 + ROUNDING)) & ~self.breaks(x))

    def outside(self, x: FloatArray) -> FloatArray:
        """Return (k,) distances to the nearest row in multiples of `limit`; above 1 is outside the data.

        So is a design that breaks an equation which all rows satisfy.
        """
        distance = self.nearest(x)[1]
        share = np.where(distance > 0, distance / max(self.limit, np.finfo(float).tiny), 0.0)
        return np.where(self.breaks(x), np.maximum(share, 1.0 + 1e-6), share)

    def breaks(self, x: FloatArray) -> NDArray[np.bool_]:
        """Say which of (k, e) encoded designs break an equation that all rows satisfy, by more than rows are off."""
        return np.zeros(len(x), dtype=np.bool_) if self.rules is None else self.rules.broken_by(x)

    def holds(self, x: FloatArray) -> NDArray[np.bool_]:
        """Say which of (k, e) encoded designs are as near to a row as `limit`."""
        far = self.limit * (1 + ROUNDING)
        scaled = (x - self.low) / self.unit
        distance = self._tree.query(scaled, distance_upper_bound=far * (1 + ROUNDING) + 1e-300, workers=-1)[0]
        return np.asarray(distance <= far)

    @cached_property
    def _tree(self) -> Any:
        from scipy.spatial import cKDTree

        return cKDTree(self.points)


def _spaced(count: int, wanted: int) -> NDArray[np.intp]:
    """Return at most `wanted` positions among `count`, drawn with one seed whatever the run's."""
    if count <= wanted:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, wanted, replace=False))
