"""In a notebook: answers show their designs and the profiler, models their race, and both can be drawn."""

from __future__ import annotations

import pickle
import re
import sys
from html import unescape

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.base import clone

from invdesign_core.designs.report import RaceReport, design_reports, reports_of_rows
from invdesign_core.errors import ConfigError, InvdesignError
from invdesign_core.report.drawing import Grid, Panel, draw
from invdesign_core.workflow.estimator import InverseDesign

HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"flow": rng.uniform(0, 10, 40), "pumps": rng.integers(1, 5, 40)})
    X["alloy"] = rng.choice([HOSTILE, "steel"], 40)
    y = pd.DataFrame({"yield": X["flow"] + 2 * X["pumps"] + 4 * (X["alloy"] == "steel"), "heat": X["flow"] ** 2})
    options = {
        "solver": {"use": "least-squares", "starts": 8},
        "confidence": {"model": "none"},
        "derive": {"cost": "2*flow + pumps"},
    }
    return InverseDesign(surrogate="ridge", **options).fit(X, y)


@pytest.fixture(scope="module")
def answers(model):
    return model.invert({"yield": 15, "heat": "<=50", "cost": "<=25"})


def test_answers_show_their_designs_and_the_profiler_in_a_frame_of_its_own(answers):
    html = answers._repr_html_()
    assert html.startswith("<iframe ")
    assert 'sandbox="allow-scripts"' in html
    page = unescape(re.search(r'srcdoc="([^"]*)"', html)[1])
    assert "The best design" in page
    assert 'id="profiler-here"' in page
    assert 'id="fit-here"' not in page
    assert len(page) < 0.5e6


def test_no_text_of_a_users_gets_out_of_the_frame(answers, model):
    assert "<script>alert(1)" not in answers._repr_html_()
    assert "<script>alert(1)" not in model._repr_mimebundle_()["text/html"]


def test_answers_to_a_table_show_its_targets_and_each_can_be_drawn(model, tmp_path):
    found = model.invert(pd.DataFrame({"yield": ["12..13", 15.0]}))
    html = found.report(tmp_path / "table.html").read_text()
    for text in ("Designs for 2 targets", "2 of 2 targets met", "from 12 to 13"):
        assert text in html
    assert "from 12 to 13" in found._repr_html_()
    figure = found.plot_profiler(1, inputs=["flow"], outputs=["yield"])
    (wanted,) = [shape for shape in figure.layout.shapes if shape.fillcolor == "#009E73"]
    assert (wanted.y0, wanted.y1) == (12, 13)
    (here,) = [
        trace for trace in found.plot_profiler(2, inputs=["flow"], outputs=["yield"]).data if trace.mode == "markers"
    ]
    best = found.designs[(found.designs["target"] == 1) & (found.designs["rank"] == 1)]
    assert here.x[0] == pytest.approx(best["design.flow"].iloc[0])


def test_designs_read_from_a_table_are_told_as_the_answers_tell_them(answers):
    told = [
        one.model_copy(update={"tolerance_range": None, "free_directions": None}) for one in design_reports(answers)
    ]
    assert reports_of_rows(answers.designs) == told
    assert told[0].derived


def test_answers_from_a_pickle_show_their_designs(answers):
    again = pickle.loads(pickle.dumps(answers))
    assert "<table" in again._repr_html_()
    with pytest.raises(ConfigError, match="pickle"):
        again.plot_parallel()


def test_a_model_shows_how_good_it_is_and_its_race(model):
    assert "yield" in model._repr_html_()
    candidates = [("mlp", 0.25, "chosen", None), ("ridge", 0.5, "beaten", None), ("bad<b>", None, "out", "it <failed>")]
    rows = [
        {"name": n, "role": r, "error": e, "outputs": {}, "best": {}, "members": 1, "message": m, "seconds": 1.0}
        for n, e, r, m in candidates
    ]
    race = RaceReport(
        folds=5, repeats=1, rows=40, outputs=["yield"], chosen="mlp", weights=None, candidates=rows, curve=None,
        text=["mlp is better"],
    )  # fmt: skip
    one = clone(model)
    one.report_ = model.report_.model_copy(update={"race": race})
    html = one._repr_mimebundle_()["text/html"]
    for text in ("mlp is better", "0.250", "width:100.0%", "width:50.0%", "bad&lt;b&gt; is out: it &lt;failed&gt;"):
        assert text in html
    assert "not tested" not in html
    assert "mlp is better" in one._repr_html_()
    assert isinstance(clone(model)._repr_html_(), str)  # not fitted


def test_curves_are_those_of_the_surrogate(answers, model):
    figure = answers.plot_profiler(inputs=["flow"], outputs=["heat"])
    (line,) = [trace for trace in figure.data if trace.mode == "lines" and trace.name == "heat"]
    best = answers.designs.iloc[0]
    frame = pd.DataFrame({"flow": line.x, "pumps": best["design.pumps"], "alloy": best["design.alloy"]})
    np.testing.assert_allclose(line.y, model.predict(frame)[:, 1], rtol=1e-6, atol=1e-6)
    (here,) = [trace for trace in figure.data if trace.mode == "markers"]
    assert here.x[0] == pytest.approx(best["design.flow"])
    assert here.y[0] == pytest.approx(best["prediction.heat"], abs=1e-6)


def test_both_libraries_draw_the_same_curves(answers):
    flow = {"inputs": ["flow"], "outputs": ["yield"]}
    one, other = answers.plot_profiler(**flow), answers.plot_profiler(**flow, backend="matplotlib")
    line = next(trace for trace in one.data if trace.name == "yield")
    x, y = other.axes[0].lines[0].get_data()
    np.testing.assert_allclose(x, line.x)
    np.testing.assert_allclose(y, line.y)


@pytest.mark.parametrize("backend", ["plotly", "matplotlib"])
def test_every_figure_is_drawn_by_both_libraries(answers, model, backend):
    for figure in (
        answers.plot_profiler(backend=backend),
        answers.plot_profiler(2, backend=backend),
        answers.plot_parallel(backend=backend),
        model.plot_fit(backend=backend),
    ):
        if backend == "plotly":
            assert type(figure).__module__.startswith(backend)
            assert "<script>alert(1)" not in figure.to_html(include_plotlyjs=False)
        else:
            assert isinstance(figure, Figure)
            assert figure._repr_png_().startswith(b"\x89PNG")  # without pyplot notebooks show nothing else


def test_what_is_wanted_and_the_range_of_the_data_are_drawn(answers):
    figure = answers.plot_profiler(inputs=["flow"], outputs=["yield", "heat"])
    assert len(figure.layout.shapes) == 4  # two ranges of the data, a value with its tolerance, a limit
    shown = {round(shape.y1, 3) for shape in figure.layout.shapes if shape.fillcolor == "#009E73"}
    assert 50 in shown


def test_a_limit_is_shaded_to_the_end_of_the_axis_of_every_input(answers):
    figure = answers.plot_profiler(inputs=["flow", "pumps"], outputs=["heat"], backend="matplotlib")
    assert len(figure.axes) == 2
    for axes in figure.axes:
        ends = [(patch.get_y(), patch.get_y() + patch.get_height()) for patch in axes.patches]
        assert (axes.get_ylim()[0], pytest.approx(50)) in ends


def test_predicted_lies_over_measured_of_rows_for_the_test(model):
    figure = model.plot_fit()
    points = [trace for trace in figure.data if trace.mode == "markers"]
    assert len(points) == 2
    held = model.known_.held_out
    np.testing.assert_allclose(points[0].x, held.y[:, 0], rtol=1e-5)
    assert points[0].text[0] == f"row {held.rows[0]}"


def test_mistakes_are_named(answers, model):
    with pytest.raises(ConfigError, match=r"there is no 'flaw'.*\n.*'flow'"):
        answers.plot_profiler(inputs=["flaw"])
    with pytest.raises(ConfigError, match="design: found 9"):
        answers.plot_profiler(9)
    with pytest.raises(ConfigError, match="expected 'plotly' or 'matplotlib'"):
        answers.plot_parallel(backend="bokeh")
    with pytest.raises(InvdesignError):
        clone(model).plot_fit()


def test_a_library_that_is_not_installed_is_named_with_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ConfigError, match=r"invdesign\[plots\].*matplotlib"):
        draw(Grid("", [[Panel("x", "y")]]), "plotly")
