"""R² on a handful of designs: said with how uncertain it is, and no verdict by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invdesign_core.designs.report import OutputMetrics
from invdesign_core.designs.verdict import FEW_ROWS, Quality, few_rows, metric_warnings, r2_range, r2_text


def metrics(r2, rows):
    return OutputMetrics(r2=r2, mae=1.0, rmse=1.0, rows=rows, r2_range=r2_range(r2, rows))


@given(r2=st.floats(-5, 1), rows=st.integers(2, 100))
def test_the_range_holds_what_was_found_and_closes_with_more_rows(r2, rows):
    found = r2_range(r2, rows)
    assert (found is None) == (rows >= FEW_ROWS)
    if found is None:
        return
    low, high = found
    assert low - 1e-9 <= r2 <= high + 1e-9
    assert 0 <= high <= 1
    more = r2_range(r2, rows + 1)
    if more is not None:
        assert more[1] <= high + 1e-12


def test_the_range_holds_the_truth_nine_times_out_of_ten():
    rng, rows, inside = np.random.default_rng(0), 10, 0
    for _ in range(2000):
        y = rng.normal(size=rows)
        seen = y + rng.normal(size=rows) * 0.5  # explains 80 % of what is measured
        low, high = r2_range(np.corrcoef(y, seen)[0, 1] ** 2, rows)
        inside += low <= 0.8 <= high
    assert 0.86 <= inside / 2000 <= 0.94


@pytest.mark.parametrize(
    ("r2", "rows", "guess"), [(0.3, 6, False), (0.3, 40, True), (-3.0, 15, True), (-3.0, 6, False)]
)
def test_few_rows_alone_call_no_answer_a_guess(r2, rows, guess):
    known = {"y": metrics(r2, rows)}
    assert bool(Quality(known, "the test rows").doubt(["y"])) == guess


def test_few_rows_do_not_call_an_output_unpredictable():
    assert metric_warnings({"y": metrics(-0.5, 6)}) == []
    assert "not predictable" in metric_warnings({"y": metrics(-0.5, 40)})[0]


def test_how_uncertain_it_is_is_said_where_it_matters():
    assert r2_text(metrics(0.9, 6)) == "0.9 (0.49 to 0.98)"
    (said,) = few_rows({"y": metrics(0.9, 6)})
    assert said.startswith("6 test rows are few, so that R² is uncertain")
    assert said.endswith("y 0.9 (0.49 to 0.98)")
    for known in (metrics(0.9, 40), metrics(0.9999, 6)):
        assert few_rows({"y": known}) == []
        assert "(" not in r2_text(known)
