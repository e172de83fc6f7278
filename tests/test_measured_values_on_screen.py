"""Measured values and tolerances on the screen: as in the table, without digits that nobody typed."""

from __future__ import annotations

import pytest

from invdesign_core.designs.report import TargetReport
from invdesign_core.designs.verdict import as_written, measured_text, size_of_tolerance


def wanted(lower=10.0, upper=10.0, tolerance=0.5, size=25.0):
    return TargetReport(goal=None, lower=lower, upper=upper, weight=1.0, tolerance=tolerance, range=size)


@pytest.mark.parametrize(
    ("value", "text"),
    [(26.755000000000003, "26.755"), (49.978217054418515, "49.978"), (1.05564, "1.05564"), (None, "–"), (16, "16")],
)
def test_a_measured_output_has_the_digits_of_its_table_and_no_noise(value, text):
    assert measured_text(value, wanted()) == text


def test_a_measured_output_never_looks_as_if_it_met_what_it_misses():
    limit = wanted(lower=115.0, upper=None, tolerance=0.0)
    assert float(measured_text(114.99990123456789, limit)) < 115
    assert float(measured_text(115.00000000000001, limit)) >= 115


@pytest.mark.parametrize(
    ("value", "text"), [(243.6000000000103, "243.6"), (9.999518096000001, "9.999518096"), (7, "7")]
)
def test_an_input_of_a_measured_row_has_no_noise(value, text):
    assert as_written(value) == text


@pytest.mark.parametrize(
    ("tolerance", "size", "text"),
    [
        (0.02 * 1.998622, 1.998622, "0.04"),
        (0.03997244, 5.0, "0.03997244"),
        (0.001, 5.0, "0.001"),
        (0.0001, 0.005, "0.0001"),
    ],
)
def test_a_tolerance_that_nobody_asked_for_is_shown_to_three_digits(tolerance, size, text):
    assert size_of_tolerance(wanted(tolerance=tolerance, size=size)) == text
