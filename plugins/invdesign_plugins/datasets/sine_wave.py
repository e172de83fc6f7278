"""The sine wave: two inputs, one output, and many designs for every target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from invdesign_core.plugin import FloatArray
from invdesign_plugins.datasets.published_task import PublishedTask


class SineWave(PublishedTask):
    """A sum of a sine and a cosine of two inputs: a benchmark whose every target has many designs.

    y = sin(3π x1) + cos(3π x2), with x1 and x2 uniform in [−1, 1] (Ren, Padilla and Malof, "Benchmarking
    deep inverse models over time, and the neural-adjoint method", NeurIPS 2020).
    """

    name: ClassVar[str] = "sine-wave"
    limits: ClassVar[tuple[float, ...]] = (1.0, 1.0)
    goal: ClassVar[Mapping[str, float]] = {"y": 1.0}
    figures: ClassVar[Mapping[str, Mapping[int, float]]] = {  # read off the plots of the publication
        "neural-adjoint": {1: 1.0e-3, 10: 2.9e-5, 50: 1.6e-6},
        "tandem": {1: 2.3e-2},
    }

    def draw(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Return (count, 2) uniform designs."""
        return rng.uniform(-1, 1, (count, 2))

    def outputs(self, *x: FloatArray) -> FloatArray:
        """Return the sum of the waves."""
        return np.asarray([np.sin(3 * np.pi * x[0]) + np.cos(3 * np.pi * x[1])])
