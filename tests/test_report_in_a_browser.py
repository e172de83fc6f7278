"""The report in a real browser: sliders move, numbers are the surrogate's, and nothing is loaded or goes wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_report import HOSTILE, MIXED, Surrogate, dense, html_of, in_closed_form, table, trained, without_target

from invdesign_core.data.data import TrainingRows
from invdesign_core.designs.report import reports_of_rows, target_reports
from invdesign_core.report.notebook import framed
from invdesign_core.report.page import page
from invdesign_core.report.payload import Material, TargetTable, payload
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.targets import Target, Targets

pytestmark = pytest.mark.long
REQUIRED = os.environ.get("INVDESIGN_BROWSER") == "required"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium: the system's, or that of Playwright."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        except Error as error:
            if REQUIRED:
                raise
            pytest.skip(f"no browser to look at the report with; `playwright install chromium` brings one ({error})")
        yield found
        found.close()


class Page:
    """A report in a window, with all that it asked for and complained about."""

    def __init__(self, browser: Any, html: str, folder: Path, width: int = 1280, height: int = 900) -> None:
        file = folder / f"page-{width}.html"
        file.write_text(html, encoding="utf-8")
        self.window = browser.new_page(viewport={"width": width, "height": height})
        self.asked, self.said = list[str](), list[str]()
        self.window.on("request", lambda request: self.asked.append(request.url))
        self.window.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.window.on("pageerror", lambda error: self.said.append(str(error)))
        self.window.on("dialog", lambda dialog: (self.said.append("dialog"), dialog.dismiss()))
        self.window.goto(file.as_uri())
        self.window.locator("html[data-ready=yes]").wait_for(state="attached")  # the page's policy forbids `eval`

    def x(self) -> np.ndarray:
        return np.array([self.window.evaluate("[...Invdesign.profiler.x]")])

    def shown(self, output: str) -> float:
        return float(self.window.locator(f'[data-output="{output}"]').get_attribute("data-exact"))

    def check(self) -> None:
        self.window.wait_for_timeout(400)  # what is drawn later
        assert self.said == []
        assert [url for url in self.asked if not url.startswith(("file:", "data:"))] == []
        assert self.window.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        assert self.window.locator(".fault").count() == 0


def of_all_kinds() -> Surrogate:
    weights = np.array([[0.5, 0.1], [0.1, 0.2], [0.4, 0.7]])
    return trained([*in_closed_form(), dense(MIXED.width)], weights=weights)


@pytest.mark.parametrize("width", [1280, 390])
def test_dragging_a_slider_shows_what_the_surrogate_answers(browser: Any, tmp_path: Path, width: int) -> None:
    surrogate = of_all_kinds()
    known = TrainingRows(*table(), rows=np.arange(80) + 1)
    page = Page(browser, html_of(surrogate, rows=known), tmp_path, width, 844)
    before = page.x()
    box = page.window.locator('[data-input="temperature"]').bounding_box()
    y = box["y"] + box["height"] / 2
    page.window.mouse.move(box["x"] + box["width"] / 2, y)
    page.window.mouse.down()
    for share in (0.6, 0.7, 0.8):
        page.window.mouse.move(box["x"] + share * box["width"], y)
    page.window.mouse.up()
    page.window.wait_for_timeout(200)
    assert 400 < page.x()[0, 0] < 440
    assert (page.x()[0, 1:] == before[0, 1:]).all()
    page.window.locator('[data-input="temperature"]').press("ArrowLeft")
    x = page.x()
    said = surrogate.units(surrogate.mean_z(x))[0]
    for m, name in enumerate(surrogate.outputs):
        assert page.shown(name) == pytest.approx(said[m], abs=1e-5 * surrogate.spread[m])
    page.check()


def test_typing_choosing_and_dragging_in_a_curve_move_the_design(browser: Any, tmp_path: Path) -> None:
    surrogate = of_all_kinds()
    page = Page(browser, html_of(surrogate), tmp_path)
    page.window.locator('[data-number="flow"]').fill("0.00125")
    page.window.locator('[data-number="flow"]').press("Enter")
    page.window.locator('select[aria-label="catalyst"]').select_option("1")
    cell = page.window.locator(".cell").nth(0)
    box = cell.bounding_box()
    page.window.mouse.click(box["x"] + box["width"] / 2, box["y"] + 30)
    x = page.x()[0]
    assert x[1] == pytest.approx(0.00125)
    assert list(x[2:5]) == [0, 1, 0]
    assert x[0] == pytest.approx(375, abs=3)
    page.check()


def test_find_it_and_the_keyboard_work(browser: Any, tmp_path: Path) -> None:
    space = Space((Variable("a", lower=0, upper=1), Variable("b", lower=0, upper=1)))
    surrogate = trained([dense(2, 1)], space, 1)
    wanted = float(surrogate.units(surrogate.mean_z(np.array([[0.2, 0.9]])))[0, 0])
    page = Page(browser, html_of(surrogate), tmp_path)
    for side in ("from", "to"):
        field = page.window.get_by_label(f"y1 wanted {side}")
        field.fill(repr(wanted))
        field.press("Tab")
    page.window.get_by_role("button", name="find it").click()
    page.window.get_by_text("Found by a small search").wait_for()
    assert page.shown("y1") == pytest.approx(wanted, abs=1e-5 * surrogate.spread[0])
    page.check()


def test_text_of_users_runs_nothing(browser: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    space = Space((Variable(HOSTILE, "categorical", levels=(HOSTILE, "b")), Variable("x", lower=0, upper=1)))
    surrogate = replace(trained([dense(3, 1)], space, 1), outputs=(HOSTILE,))
    page = Page(browser, html_of(surrogate), tmp_path)
    assert page.window.locator("img").count() == 0
    page.check()


def test_ten_by_ten_curves_follow_a_slider(browser: Any, tmp_path: Path) -> None:
    """The least of many times, since other programs may be running."""
    space = Space(tuple(Variable(f"x{i}", lower=0, upper=1) for i in range(10)))
    page = Page(browser, html_of(trained([dense(10, 10, seed) for seed in range(5)], space, 10)), tmp_path, 1800)
    times = page.window.evaluate(
        """(() => {
          const { profiler } = Invdesign;
          profiler.shownInputs = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
          profiler.shownOutputs = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
          profiler.layOut();
          return Array.from({ length: 30 }, (_, i) => {
            profiler.set(0, i / 30);
            return profiler.milliseconds;
          });
        })()"""
    )
    assert page.window.locator(".cell").count() == 100
    assert min(times) < 50


def test_many_inputs_and_outputs_are_paged(browser: Any, tmp_path: Path) -> None:
    space = Space(tuple(Variable(f"input {i}", lower=0, upper=1) for i in range(100)))
    page = Page(browser, html_of(trained([dense(100, 100)], space, 100)), tmp_path, 390)
    assert page.window.locator(".cell").count() <= 24
    page.window.get_by_label("search inputs").first.fill("input 77")
    assert page.window.locator('[data-input="input 77"]').count() == 1
    page.check()


def of_a_table(surrogate: Surrogate) -> str:
    """Return the page of two targets, each with a design."""
    x = table()[0][:2]
    designs = MIXED.decode(x).add_prefix("design.")
    designs = designs.assign(target=[1, 2], rank=1, loss=0.0, variance=0.0, starts=3, met=True)
    mean = surrogate.predict(x).mean
    designs["prediction.y1"], designs["prediction.y2"], designs["met.y1"] = mean[:, 0], mean[:, 1], True
    wanted = [{"y1": Target(value - 1, value + 1)} for value in mean[:, 0]]
    targets = Targets.build(wanted, ["y1", "y2"], surrogate.spread)
    shown = TargetTable(2, [1, 2], [target_reports(targets, row) for row in range(2)], [None, 7], "designs.csv")
    report = without_target(surrogate, designs=reports_of_rows(designs), status="met")
    return page(payload(Material(report, surrogate, MIXED, table=shown)))


def test_the_profiler_goes_to_the_design_of_a_target_with_what_that_wants(browser: Any, tmp_path: Path) -> None:
    surrogate = trained([dense(MIXED.width)])
    shown = Page(browser, of_a_table(surrogate), tmp_path)
    assert shown.window.locator(".targets tbody tr").count() == 2
    assert "row 7 is an answer" in shown.window.locator(".targets").inner_text()
    for at, y in enumerate(surrogate.predict(table()[0][:2]).mean[:, 0]):
        shown.window.locator(f'button[data-design="{at}"]').click()
        assert shown.shown("y1") == pytest.approx(y, rel=1e-5)
        fields = [shown.window.locator(f'[aria-label="y1 wanted {side}"]') for side in ("from", "to")]
        assert [float(field.input_value()) for field in fields] == pytest.approx([y - 1, y + 1], rel=1e-3)
    shown.check()


def test_a_notebook_shows_the_profiler_alive_in_its_frame(browser: Any) -> None:
    surrogate = trained([dense(MIXED.width)])
    material = Material(without_target(surrogate), surrogate, MIXED)
    window, said = browser.new_page(), list[str]()
    window.on("console", lambda message: said.append(message.text))
    window.on("pageerror", lambda error: said.append(str(error)))
    window.set_content(f"<p>a notebook</p>{framed(page(payload(material, lean=True)), 'designs')}")
    frame = window.frame_locator("iframe")
    frame.locator('[data-number="temperature"]').fill("400")
    frame.locator('[data-number="temperature"]').press("Enter")
    assert frame.locator('[data-number="temperature"]').input_value() == "400"
    assert float(frame.locator('[data-output="y1"]').get_attribute("data-exact")) != 0
    assert frame.locator("#parallel-here").count() == 0
    assert said == []
