"""Figures by matplotlib: objects of their own, which no global state of pyplot holds on to."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import figure as matplotlib_figure

from invdesign_core.report.drawing import BLUE, GREEN, GREY, ORANGE, Grid, Panel, Parallel, ends

SIZE = (2.4, 1.9)
"""Inches of a panel."""


class Figure(matplotlib_figure.Figure):  # type: ignore[misc]
    """A figure that notebooks show; those of matplotlib they show only once one was made by pyplot."""

    def _repr_png_(self) -> bytes:
        """Return it as a picture."""
        file = BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def grid(figure: Grid) -> Any:
    """Return panels in rows."""
    rows, columns = len(figure.panels), max(map(len, figure.panels))
    made = Figure(figsize=(max(columns * SIZE[0] + 0.9, 4.2), rows * SIZE[1] + 0.9), layout="constrained")
    share: Any = {"sharex": "col", "sharey": "row"} if figure.shared else {}
    axes = made.subplots(rows, columns, squeeze=False, **share)
    for r in range(rows):
        for c in range(columns):
            if c >= len(figure.panels[r]):
                axes[r, c].set_axis_off()
                continue
            _panel(axes[r, c], figure.panels[r][c])
            if figure.shared and c:
                axes[r, c].set_ylabel("")
            if figure.shared and r < rows - 1:
                axes[r, c].set_xlabel("")
    for r in range(rows):  # by now all curves are drawn that share an axis
        for c in range(len(figure.panels[r])):
            _shade_wanted(axes[r, c], figure.panels[r][c])
    made.suptitle(_plain(figure.title))
    return made


def _shade_wanted(axes: Any, panel: Panel) -> None:
    """Shade what is wanted, where it has no end as far as the axis goes."""
    if panel.wanted is None:
        return
    bottom, top = axes.get_ylim()
    low = bottom if panel.wanted[0] is None else panel.wanted[0]
    high = top if panel.wanted[1] is None else panel.wanted[1]
    axes.axhspan(low, high, color=GREEN, alpha=0.22, linewidth=0)
    axes.set_ylim(min(low, bottom), max(high, top))


def _panel(axes: Any, panel: Panel) -> None:
    """Draw one pair of axes."""
    if panel.shaded is not None:
        axes.axvspan(*panel.shaded, color=GREY, alpha=0.12, linewidth=0)
    if panel.line is not None:
        axes.plot(*panel.line, color=BLUE, marker="o" if panel.labels else None, markersize=3)
        if panel.band is not None:
            axes.fill_between(panel.line[0], *panel.band, color=BLUE, alpha=0.2, linewidth=0)
    if panel.points is not None:
        if panel.diagonal:
            both = ends(np.concatenate(panel.points))
            axes.plot(both, both, color=GREY, linewidth=1)
        axes.scatter(*panel.points, color=BLUE, s=9, alpha=0.7, linewidths=0)
    if panel.here is not None:
        axes.scatter(*panel.here, color=ORANGE, s=36, zorder=3)
    if panel.log:
        axes.set_xscale("log")
    if panel.labels:
        axes.set_xticks(range(len(panel.labels)), [_plain(label) for label in panel.labels])
    axes.set_xlabel(_plain(panel.x_name))
    axes.set_ylabel(_plain(panel.y_name))
    axes.set_title(_plain(panel.title), fontsize="small")


def parallel(figure: Parallel) -> Any:
    """Return parallel axes, each from its smallest to its largest value."""
    made = Figure(figsize=(max(1.1 * len(figure.axes) + 1.6, 4.2), 4.2), layout="constrained")
    axes = made.subplots()
    limits = [ends(axis.values) for axis in figure.axes]
    heights = np.column_stack(
        [(a.values - low) / (high - low) for a, (low, high) in zip(figure.axes, limits, strict=True)]
    )
    places = np.arange(len(figure.axes))
    is_design = figure.designs > 0
    for rows, colour, width in ((~is_design, "#c8c8c8", 0.6), (is_design, BLUE, 1.6)):
        if rows.any():
            axes.plot(places, heights[rows].T, color=colour, linewidth=width)
    for place, (axis, (low, high)) in enumerate(zip(figure.axes, limits, strict=True)):
        axes.axvline(place, color=GREY, linewidth=0.8)
        ticks = enumerate(axis.labels) if axis.labels else ((low, f"{low:.4g}"), (high, f"{high:.4g}"))
        for value, text in ticks:
            axes.text(place, (value - low) / (high - low), f" {_plain(str(text))}", fontsize="small", va="center")
    axes.set_xticks(places, [_plain(axis.name) for axis in figure.axes], rotation=30, ha="right")
    axes.set_yticks([])
    axes.set_title(_plain(figure.title))
    return made


def _plain(text: str) -> str:
    """Return a text that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")
