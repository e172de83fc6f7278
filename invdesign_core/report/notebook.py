"""What a notebook shows: a page in a frame, and a model with its race."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape as html_escape

from invdesign_core.designs.report import RaceReport, SurrogateReport
from invdesign_core.designs.verdict import Quality, number_text, r2_text
from invdesign_core.errors.visible import visible

HEIGHT = 760
"""Pixels of a frame."""


def escape(text: str) -> str:
    """Return a text of other people's as HTML."""
    return html_escape(visible(text))


def framed(html: str, title: str) -> str:
    """Return a page in a frame of its own, whose code and style can't touch the notebook's."""
    style = f"width:100%;height:{HEIGHT}px;border:1px solid #cccccc"
    inside = f'style="{style}" srcdoc="{html_escape(html)}"'
    return f'<iframe title="{escape(title)}" sandbox="allow-scripts" {inside}></iframe>'


def model_html(report: SurrogateReport) -> str:
    """Return how good a surrogate is, and the race that chose it."""
    return _quality(report) + ("" if report.race is None else _race(report.race))


def _quality(report: SurrogateReport) -> str:
    name = escape(report.plugin or "a model file")
    if not report.test:
        return f"<p><strong>{name}</strong>, not tested</p>"
    rows = [
        {"output": output, "R²": r2_text(m), "mean abs. error": number_text(m.mae), "RMS error": number_text(m.rmse)}
        for output, m in report.test.items()
    ]
    said = f" on {Quality.of(report).rows}"
    return f"<p><strong>{name}</strong>, errors{said}</p>{_table(rows)}"


def _race(race: RaceReport) -> str:
    """Return the candidates with bars for their errors, and what came of it in words."""
    running = [one for one in race.candidates if one.error is not None]
    longest = max((one.error for one in running if one.error is not None), default=0) or 1
    lines = []
    for one in running:
        width = round(100 * (one.error or 0) / longest, 1)
        colour = "#0072B2" if one.role == "chosen" else "#999999"
        bar = f'<div style="background:{colour};height:0.8em;width:{width}%"></div>'
        name = f"<strong>{escape(one.name)}</strong>" if one.role == "chosen" else escape(one.name)
        role = "" if one.role == "beaten" else one.role
        lines.append(
            f'<tr><td style="text-align:left">{name}</td><td>{one.error:.3f}</td>'
            f'<td style="width:14em">{bar}</td><td style="text-align:left">{role}</td></tr>'
        )
    head = f"error / standard deviation, {race.folds}-fold cross-validation of {race.rows} rows"
    out = [f"{one.name} is out: {one.message or ''}" for one in race.candidates if one.error is None]
    words = "".join(f"<li>{escape(text)}</li>" for text in [*race.text, *out])
    heading = f"<thead><tr><th>surrogate</th><th colspan='3'>{head}</th></tr></thead>"
    return f"<table>{heading}<tbody>{''.join(lines)}</tbody></table><ul>{words}</ul>"


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    head = "".join(f"<th>{escape(key)}</th>" for key in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row.values()) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
