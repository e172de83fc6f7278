"""The robotic arm: where its tip is, for the height of its base and the angles of its three joints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from invdesign_core.plugin import FloatArray
from invdesign_plugins.datasets.published_task import PublishedTask

LENGTHS = (0.5, 0.5, 1.0)
SPREADS = (0.25, 0.5, 0.5, 0.5)


class RoboticArm(PublishedTask):
    """An arm of three joints on a rail: a benchmark in which four inputs decide where its tip is.

    The base is at height x1; the joints turn by x2, x3 and x4. The tip is at (Σ l cos a, x1 + Σ l sin a) with
    lengths l = 0.5, 0.5, 1 and angles a = (x2, x3 − x2, x4 − x3 − x2). Rows are normally distributed, with
    standard deviations of 0.25, 0.5, 0.5 and 0.5, and moved to ±0.6, ±1.2, ±1.2 and ±1.2 where they lie beyond
    (Ren, Padilla and Malof, "Benchmarking deep inverse models over time, and the neural-adjoint method",
    NeurIPS 2020).
    """

    name: ClassVar[str] = "robotic-arm"
    limits: ClassVar[tuple[float, ...]] = (0.6, 1.2, 1.2, 1.2)
    goal: ClassVar[Mapping[str, float]] = {"y1": 1.5, "y2": 0.5}
    figures: ClassVar[Mapping[str, Mapping[int, float]]] = {  # read off the plots of the publication
        "neural-adjoint": {1: 2.3e-4, 10: 1.0e-5, 50: 2.7e-6},
        "tandem": {1: 5.3e-4},
    }

    def draw(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Return (count, 4) normal designs, moved into the bounds."""
        limits = np.array(self.limits)
        return np.clip(SPREADS * rng.standard_normal((count, 4)), -limits, limits)

    def outputs(self, *x: FloatArray) -> FloatArray:
        """Return where the tip is."""
        x1, x2, x3, x4 = x
        angles = np.stack([x2, x3 - x2, x4 - x3 - x2])
        y1, y2 = np.tensordot(LENGTHS, np.stack([np.cos(angles), np.sin(angles)], axis=1), axes=1)
        return np.stack([y1, x1 + y2])
