"""Figures in plain values, and who draws them: plotly or matplotlib, of which neither is imported before."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from invdesign_core.errors import ConfigError
from invdesign_core.space.arrays import FloatArray

BACKENDS = ("plotly", "matplotlib")
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#777777"
"""Colours that the colour-blind tell apart (Okabe and Ito)."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes; what is None or empty is not drawn."""

    x_name: str
    y_name: str
    title: str = ""
    line: tuple[FloatArray, FloatArray] | None = None
    band: tuple[FloatArray, FloatArray] | None = None
    """The lower and upper ends around the line."""
    points: tuple[FloatArray, FloatArray] | None = None
    words: Sequence[str] = ()
    """What is said of each point."""
    here: tuple[float, float] | None = None
    """A point that stands out."""
    shaded: tuple[float, float] | None = None
    """A range of x, such as that of the data."""
    wanted: tuple[float | None, float | None] | None = None
    """A range of y, open where an end is None."""
    labels: Sequence[str] = ()
    """What stands at x = 0, 1, … where x is not a number."""
    diagonal: bool = False
    log: bool = False


@dataclass(frozen=True)
class Grid:
    """Panels in rows, of which each shares its y axis and each column its x axis where `shared`."""

    title: str
    panels: Sequence[Sequence[Panel]]
    shared: bool = False


@dataclass(frozen=True)
class Axis:
    """One of several parallel axes: a value for each line, and what stands at 0, 1, … where they are no numbers."""

    name: str
    values: FloatArray
    labels: Sequence[str] = ()


@dataclass(frozen=True)
class Parallel:
    """Lines across parallel axes, of which some stand out."""

    title: str
    axes: Sequence[Axis]
    designs: FloatArray
    """(k,) the number of the design that each line is, from 1, and 0 of a measured row."""


def draw(figure: Grid | Parallel, backend: str) -> Any:
    """Return the figure of a library; ConfigError where it is not installed."""
    if backend not in BACKENDS:
        raise ConfigError(f"backend: found {backend!r}, expected 'plotly' or 'matplotlib'")
    other = BACKENDS[1 - BACKENDS.index(backend)]
    try:
        importlib.import_module(backend)
    except ImportError as error:
        raise ConfigError(
            f"backend={backend!r}: {backend} can't be imported ({error})",
            f"pip install 'invdesign[plots]', or take backend={other!r}",
        ) from None
    module = importlib.import_module(f"invdesign_core.report.by_{backend}")
    return module.grid(figure) if isinstance(figure, Grid) else module.parallel(figure)


def ends(values: FloatArray) -> tuple[float, float]:
    """Return the smallest and largest of some numbers that are finite, apart from each other."""
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
