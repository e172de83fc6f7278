"""Figures by plotly."""

from __future__ import annotations

from typing import Any

import numpy as np
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from invdesign_core.report.drawing import BLUE, GREEN, GREY, ORANGE, Grid, Panel, Parallel, ends

SIZE = (240, 190)
"""Pixels of a panel."""


def grid(figure: Grid) -> Any:
    """Return panels in rows."""
    rows, columns = len(figure.panels), max(map(len, figure.panels))
    made = make_subplots(
        rows,
        columns,
        shared_xaxes="columns" if figure.shared else False,
        shared_yaxes="rows" if figure.shared else False,
        subplot_titles=[panel.title for row in figure.panels for panel in _filled(row, columns)],
        horizontal_spacing=0.25 / max(columns, 4),
        vertical_spacing=0.3 / max(rows, 3),
    )
    for r, row in enumerate(figure.panels, start=1):
        for c, panel in enumerate(row, start=1):
            _panel(made, panel, r, c, outer=(not figure.shared or c == 1, not figure.shared or r == rows))
    made.update_layout(
        title=_plain(figure.title),
        showlegend=False,
        template="plotly_white",
        width=max(columns * SIZE[0] + 90, 420),
        height=rows * SIZE[1] + 140,
    )
    return made


def _filled(row: Any, columns: int) -> list[Panel]:
    return [*row, *[Panel("", "")] * (columns - len(row))]


def _panel(made: Any, panel: Panel, r: int, c: int, outer: tuple[bool, bool]) -> None:
    """Draw one pair of axes."""
    place = {"row": r, "col": c}
    if panel.band is not None and panel.line is not None:
        x, (low, high) = panel.line[0], panel.band
        outline = {"x": np.concatenate([x, x[::-1]]), "y": np.concatenate([high, low[::-1]])}
        band = go.Scatter(
            **outline, fill="toself", fillcolor="rgba(0,114,178,0.2)", mode="lines", line_width=0, hoverinfo="skip"
        )
        made.add_trace(band, **place)
    if panel.line is not None:
        x, y = panel.line
        mode = "lines+markers" if panel.labels else "lines"
        made.add_trace(go.Scatter(x=x, y=y, mode=mode, line_color=BLUE, name=_plain(panel.y_name)), **place)
    if panel.points is not None:
        x, y = panel.points
        if panel.diagonal:
            both = ends(np.concatenate([x, y]))
            made.add_trace(go.Scatter(x=both, y=both, mode="lines", line_color=GREY, hoverinfo="skip"), **place)
        words = [_plain(text) for text in panel.words] or None
        marker = {"color": BLUE, "size": 5, "opacity": 0.7}
        made.add_trace(go.Scatter(x=x, y=y, mode="markers", marker=marker, text=words), **place)
    if panel.here is not None:
        at, height = panel.here
        made.add_trace(go.Scatter(x=[at], y=[height], mode="markers", marker={"color": ORANGE, "size": 9}), **place)
    behind: Any = {"line_width": 0, "layer": "below", "exclude_empty_subplots": False, **place}
    if panel.shaded is not None:
        made.add_vrect(*panel.shaded, fillcolor=GREY, opacity=0.12, **behind)
    if panel.wanted is not None:
        made.add_hrect(*_closed(panel), fillcolor=GREEN, opacity=0.22, **behind)
    made.update_xaxes(title=_plain(panel.x_name) if outer[1] else None, type="log" if panel.log else "linear", **place)
    made.update_yaxes(title=_plain(panel.y_name) if outer[0] else None, **place)
    if panel.labels:
        texts = [_plain(label) for label in panel.labels]
        made.update_xaxes(tickvals=list(range(len(texts))), ticktext=texts, **place)


def _closed(panel: Panel) -> tuple[float, float]:
    """Return the wanted range of y; a side that is open ends where the panel's numbers do."""
    assert panel.wanted is not None
    known = [part for part in (panel.line and panel.line[1], *(panel.band or ())) if part is not None]
    low, high = panel.wanted
    finite = [end for end in (low, high) if end is not None]
    least, most = ends(np.concatenate([*known, finite]))
    return least if low is None else low, most if high is None else high


def parallel(figure: Parallel) -> Any:
    """Return parallel axes, along which ranges can be brushed."""
    dimensions = []
    for axis in figure.axes:
        one: dict[str, Any] = {"label": _plain(axis.name), "values": axis.values, "range": ends(axis.values)}
        if axis.labels:
            one |= {"tickvals": list(range(len(axis.labels))), "ticktext": [_plain(label) for label in axis.labels]}
        dimensions.append(one)
    is_design = figure.designs > 0
    order = np.argsort(is_design, kind="stable")  # designs are drawn over the rows
    for one in dimensions:
        one["values"] = one["values"][order]
    scale = [[0, "#c8c8c8"], [1, BLUE]] if not is_design.all() else [[0, BLUE], [1, BLUE]]
    line = {"color": is_design[order].astype(float), "colorscale": scale, "cmin": 0, "cmax": 1}
    made = go.Figure(go.Parcoords(dimensions=dimensions, line=line))
    width = max(110 * len(dimensions) + 160, 420)
    made.update_layout(title=_plain(figure.title), template="plotly_white", width=width, height=420)
    return made


def _plain(text: str) -> str:
    """Return a text that plotly does not read as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
