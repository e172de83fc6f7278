"""Numbers with units, Fortran's exponents and limits of detection: read where there is one reading, else refused."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from invdesign_core.data.files.load import load_table
from invdesign_core.data.files.options import Reading
from invdesign_core.errors import DataError
from invdesign_plugins.datasets.table import Table


@pytest.fixture
def read(tmp_path):
    """Write a column `v` of texts, and read it."""

    def write(*texts: str, **options):
        path = tmp_path / "t.csv"
        path.write_text("v;y\n" + "".join(f"{text};{i}\n" for i, text in enumerate(texts)), encoding="utf-8")
        return load_table(path, Reading(**options))

    return write


@pytest.fixture
def refused(read):
    """Write a column `v` of texts that is refused; return the error."""

    def write(*texts: str, **options) -> DataError:
        with pytest.raises(DataError) as caught:
            read(*texts, **options)
        return caught.value

    return write


@pytest.mark.parametrize(
    ("texts", "numbers", "unit"),
    [
        (["25%", "30%", "5 %"], [25, 30, 5], "%"),
        (["3 mm", "4 mm", "5.5 mm"], [3, 4, 5.5], "mm"),
        (["3.5mm", "4mm", "5mm"], [3.5, 4, 5], "mm"),
        (["2,5 %", "3,5 %"], [2.5, 3.5], "%"),
        (["1.234,5 mm", "2 mm"], [1234.5, 2], "mm"),
        (["2.5 kN/m2", "3 kN/m2"], [2.5, 3], "kN/m2"),
        (["2.5 kg m-2 s-1", "3 kg m-2 s-1"], [2.5, 3], "kg m-2 s-1"),
        (["3 [mm]", "4 [mm]"], [3, 4], "mm"),
        (["$3.50", "$ 4.00"], [3.5, 4], "$"),
        (["-3 °C", "−5 °C", "+4 °C"], [-3, -5, 4], "°C"),
        (["1e-3 Pa", "2E5 Pa"], [1e-3, 2e5], "Pa"),
        (["3\u00a0mm", "4\u202fmm"], [3, 4], "mm"),
        (["3 layers", "4 layers"], [3, 4], "layers"),
    ],
)
def test_numbers_with_one_unit_are_numbers(read, texts, numbers, unit):
    table = read(*texts)
    assert table.frame["v"].tolist() == numbers
    assert table.units == {"v": unit}
    assert "is their unit" in table.understood[0]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.sampled_from(["%", " mm", " °C"]))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_number_before_a_unit_keeps_every_digit(read, numbers, unit):
    assert read(*(f"{number!r}{unit}" for number in numbers), decimal=".").frame["v"].tolist() == numbers


@pytest.mark.parametrize(
    ("texts", "place"),
    [
        (["3 mm", "4 mm", "5 cm"], "row 3 (line 4): found '5 cm', expected a number in mm"),
        (["25%", "30%", "5"], "row 1 (line 2): found '25%'"),
        (["25", "30", "5%"], "row 3 (line 4): found '5%'"),
        (["3 mm", "4 cm"] * 20, "row 2 (line 3): found '4 cm'"),
    ],
)
def test_several_units_in_a_column_are_refused_by_cell(refused, texts, place):
    error = refused(*texts)
    assert place in error.message
    assert "in one unit" in error.hint


@pytest.mark.parametrize("texts", [["304L", "316L"], ["10K", "20K"], ["1D", "2D", "3D"], ["3abc", "4abc"]])
def test_what_may_be_a_code_is_asked_about(read, refused, texts):
    error = refused(*texts)
    assert "or a label" in error.message
    assert 'numbers = ["v"] or labels = ["v"]' in error.hint
    assert read(*texts, labels=["v"]).frame["v"].tolist() == texts
    assert read(*texts, numbers=["v"]).frame["v"].tolist() == [int("".join(filter(str.isdigit, t))) for t in texts]


@pytest.mark.parametrize(
    "texts", [["1A", "1B", "2A"], ["10", "10A", "20B"], ["S1", "S2"], ["12 Jan", "13 Jan"], ["0-A", "1-A"]]
)
def test_codes_stay_labels(read, texts):
    assert read(*texts).frame["v"].tolist() == texts


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["1.2D-03", "1.D+00", "0.5d2"], [0.0012, 1, 50]),
        (["1.2D-03", "0.5", "1e3"], [0.0012, 0.5, 1000]),
        (["1.2E-03", "0.314160-114", "0.5"], [0.0012, 0.31416e-114, 0.5]),
        (["1,2D-03", "3,4D+00"], [0.0012, 3.4]),
        (["1.234,5", "1.000"], [1234.5, 1000]),
    ],
)
def test_other_ways_to_write_a_number_that_have_one_reading(read, texts, numbers):
    assert read(*texts).frame["v"].tolist() == numbers


@pytest.mark.parametrize(("share", "value"), [("limit", 0.01), ("half", 0.005), ("zero", 0.0)])
def test_values_below_a_limit_are_what_the_user_says(read, refused, share, value):
    error = refused("<0.01", "0.02", "0.5")
    assert "row 1 (line 2): found '<0.01'" in error.message
    assert "below_limit" in error.hint
    table = read("<0.01", "0.02", "0.5", below_limit=share)
    assert table.frame["v"].tolist() == [value, 0.02, 0.5]
    assert f"1 value of 'v' below a limit: {share}" in table.understood[0]


def test_values_below_a_limit_may_be_missing(read):
    table = read("<0.01 mm", "3 mm", "5 mm", below_limit="missing")
    assert table.frame["v"].isna().tolist() == [True, False, False]


def test_a_column_below_the_limit_throughout_is_asked_about(refused, read):
    assert "below_limit" in refused("<0.01", "<0.02", "<0.01").hint
    assert read("<5", "<10", "<5", below_limit="half").frame["v"].tolist() == [2.5, 5, 2.5]


@pytest.mark.parametrize("word", ["n.d.", "<LOD", "b.d.l.", "BDL", "not detected", "trace", "********"])
@pytest.mark.parametrize("rest", [["0.02", "0.5", "1"], ["0.02"]])
def test_words_for_not_measured_are_refused_by_cell_and_can_be_missing(read, refused, word, rest):
    error = refused(word, word, *rest)
    assert f"row 1 (line 2): found {word!r}" in error.message
    assert f'missing = ["{word}"]' in error.hint
    assert read(word, word, *rest, missing=[word]).frame["v"].tolist()[2:] == [float(text) for text in rest]


def test_a_hint_keeps_what_was_said_already(refused):
    assert 'missing = ["-", "n.d."]' in refused("n.d.", "-", "0.5", "1", "2", missing=["-"]).hint


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        ("{a:.3f}±0.02", "two numbers into a column each"),
        ("{i}-{j}", "two numbers into a column each"),
        ("{a:.3f}-{a:.3f}j", "real and the imaginary part"),
        ("~{a:.3f}", "plain numbers"),
        ("1/{j}", "decimal numbers"),
    ],
)
def test_many_texts_that_look_like_numbers_are_no_categories(refused, cell, hint):
    error = refused(*(cell.format(i=i, j=i + 1, a=i / 7) for i in range(40)))
    assert "40 of 40 values look like numbers" in error.message
    assert hint in error.hint
    assert "leave" not in error.hint


def test_few_texts_that_look_like_numbers_are_categories_with_a_word(read):
    table = read(*["10-20", "20-30", "30-40"] * 8)
    assert table.frame["v"].nunique() == 3
    assert "look like numbers, such as '10-20'" in table.notes[0]


def test_outputs_are_never_told_to_become_labels(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,y\n" + "".join(f"{i},{i / 3:.2f}±1\n" for i in range(40)))
    with pytest.raises(DataError) as caught:
        load_table(path, Table(path=path, outputs=["y"]))
    assert "labels" not in caught.value.hint
