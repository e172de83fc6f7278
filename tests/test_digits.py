"""Numbers that people see and type in again: as many digits as they need, and no more."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from conftest import fn, lin, prepare_model

from invdesign_core.cli.console import show
from invdesign_core.registry import Registry
from invdesign_core.space.constraint_text import parse_constraints
from invdesign_core.space.digits import given, inward, near, rounded, span, telling, typed
from invdesign_core.space.rounding import broken, settle, shortened
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.targets import parse_target
from invdesign_core.workflow.solve import solve_one

REGISTRY = Registry.discover()


def on_screen(report):
    stream = io.StringIO()
    show(report, stream, quiet=True)
    return stream.getvalue()


def cells(text, head):
    """Return the columns of numbers under headings of the table of designs."""
    lines = [re.split("[│┃]", line)[1:-1] for line in text.splitlines() if line[:1] in "│┃" and line]
    at = next(i for i, line in enumerate(lines) if any(cell.strip() == head for cell in line))
    column = [cell.strip() for cell in lines[at]].index(head)
    return [line[column].strip() for line in lines[at + 1 :]]


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """Solve a saved model, in process."""
    folder, count = tmp_path_factory.mktemp("digits"), iter(range(1000))

    def solve(model, targets, bounds, **options):
        path = folder / f"{next(count)}.keras"
        model.save(path)
        prepared = prepare_model(path, registry=REGISTRY, bounds=bounds, **options)
        return solve_one(prepared, targets)

    return solve


# Digits alone


def test_a_number_is_repeated_as_it_was_typed():
    for text in ("-2183.449", "0.1", "2400000000", "1e-07", "115", "0", "1.3", "123456.789012345"):
        assert typed(float(text)) == text
    assert [typed(v) for v in (3, np.float64(2.0), np.int64(4), "red", True)] == ["3", "2", "4", "red", "True"]
    for text in ("-2183.449", "<= -2183.449", "-2183.4491..-2183.449", ">= 2400000100"):
        assert str(parse_target(text, "here")).removeprefix("= ") == text
    assert str(parse_target("1 tolerance 0.001", "here")) == "= 1 tolerance 0.001"


def test_a_range_far_from_zero_keeps_its_ends_apart():
    assert span(2.4e9, 2.4e9 + 1000) == "2400000000 to 2400001000"
    assert Variable("f", lower=2.4e9, upper=2.4e9 + 999.1234567).span == "2400000000 to 2400000999.1235"
    assert span(0.1 + 0.2, 1 / 3) == "0.3 to 0.33333333"
    assert given(1.23456789, 0.1) == "1.23456789"


def test_rounding_gives_the_double_nearest_to_a_decimal_of_that_many_places():
    rng = np.random.default_rng(0)
    for exponent in (-30, -25, -9, -3, 0, 4, 12):
        values = rng.normal(size=50) * 10.0 ** (exponent + 4)
        found = rounded(values, np.full(50, 10.0**exponent))
        assert np.abs(found - values).max() <= 0.51 * 10.0**exponent
        assert max(len(repr(v).split("e")[0].strip("-0").replace(".", "").rstrip("0")) for v in found.tolist()) <= 7


def test_more_digits_are_shown_only_until_what_is_shown_is_judged_alike():
    assert telling(114.99996, 0.01, lambda y: y <= 115) == "115"
    assert telling(115.00004, 0.01, lambda y: y > 115) == "115.00004"
    assert near(243.6000000000103, 1e-4) == "243.6"


def test_the_ends_of_a_tolerance_are_rounded_towards_the_design():
    ends = inward(
        np.array([[0.123456789, 0.987654321], [0.0, 1 / 3]]), np.array([0.5, 0.333]), np.array([[0.0, 1.0]] * 2)
    )
    assert ends.tolist() == [[0.1235, 0.9876], [0.0, 0.3333]]
    assert inward(np.array([[0.7, 0.7]]), np.array([0.7]), np.array([[0.0, 1.0]])).tolist() == [[0.7, 0.7]]


# Designs


@pytest.mark.parametrize(
    ("model", "target", "bounds"),
    [
        (lambda: lin([[1000]], [-500]), "y=123.4567 tolerance 0.001", {"x1": (0, 1)}),
        (lambda: lin([[1000], [300]], [-500]), "y=-33.3 tolerance 0.001", {"x1": (0, 1), "x2": (-3, 7)}),
        (lambda: lin([[1], [1]]), "y=1.3", {"x1": (0, 1), "x2": (0, 1)}),
        (lambda: lin([[3e-7], [2e-7]]), "y<=0.02 tolerance 1e-6", {"x1": (0, 1e5), "x2": (0, 3e4)}),
        (lambda: lin([[1.0], [-2.0]]), "y=max", {"x1": (0.1234567891, 1), "x2": (1e-7, 1)}),
    ],
)
def test_what_the_screen_shows_meets_the_target_when_it_is_typed_in_again(solved, model, target, bounds):
    result = solved(model(), [target], bounds)
    text, reports = on_screen(result.report), result.report.designs
    x = np.array([[float(v) for v in cells(text, name)] for name in bounds]).T
    assert len(x) == len(reports) == len({tuple(row) for row in x.tolist()}), "different designs look different"
    y = result.surrogate.predict(x).mean
    targets = result.answers.targets
    assert targets.met(y, np.zeros(len(x), dtype=int)).all()
    for shown, value, design in zip(cells(text, "predicted y"), y[:, 0], reports, strict=True):
        place = 10.0 ** -len(shown.partition(".")[2])
        assert float(shown) == pytest.approx(value, abs=0.51 * place + 1e-7 * result.report.target["y"].range)
        assert [typed(v) for v in design.inputs.values()] == [typed(v) for v in x[reports.index(design)]]
    assert max(len(cell.strip("-0.").replace(".", "")) for name in bounds for cell in cells(text, name)) <= 10


def test_designs_far_from_zero_are_told_apart_and_the_target_is_repeated(solved):
    from keras import ops

    model = fn(1, lambda x: -2183.45 + 1e-3 * ops.floor((x - 2.4e9) / 512))
    result = solved(model, ["y=-2183.449"], {"x1": (2.4e9, 2.4e9 + 2000)})
    text = on_screen(result.report)
    assert "designs for y = -2183.449 ± " in text
    shown = cells(text, "x1")
    assert len(set(shown)) == len(shown) > 1
    low, high = re.search(r"others fixed\): x1 (\S+)\.\.(\S+)", text).groups()
    assert 2.4e9 <= float(low) < float(high) <= 2.4e9 + 2000


def test_the_ends_of_each_input_alone_still_meet_the_target_when_typed_in(solved):
    result = solved(lin([[1], [2]]), ["y=1.5 tolerance 0.05"], {"x1": (0, 1), "x2": (0, 1)})
    text, best = on_screen(result.report), result.report.designs[0]
    found = re.search(r"others fixed\): x1 (\S+)\.\.([^,]+), x2 (\S+)\.\.(\S+)", text).groups()
    assert max(map(len, found)) <= 8
    for at, end in enumerate(map(float, found)):
        x = np.array([list(best.inputs.values())])
        x[0, at // 2] = end
        assert result.answers.targets.met(result.surrogate.predict(x).mean, np.zeros(1, dtype=int)).all()


def accept(tried, before):
    return np.ones(len(tried), dtype=bool)


def short(space, x, stays=False, as_good=accept):
    low, high = (np.tile(side, (len(x), 1)) for side in space.bounds)
    return shortened(space, x, low, high, np.full(x.shape, stays), as_good)


@pytest.mark.parametrize(("low", "high", "scale"), [(0, 359, "linear"), (1e-6, 10, "log"), (1 / 7, 2 / 3, "linear")])
def test_what_misses_a_bound_by_rounding_is_the_bound_and_other_values_stay(low, high, scale):
    space = Space((Variable("slag", lower=float(low), upper=float(high), scale=scale),))
    off = 6e-7 * (high - low) if scale == "linear" else 6e-7 * low * np.log(high / low)
    x = np.array([[low + off], [high - 6e-7 * (high - low)], [low + 1e-3 * (high - low)], [2 * low + off]])
    found = short(space, x)
    assert found[:2, 0].tolist() == [low, high]
    assert np.abs(found[2:] / np.where(x[2:] == 0, 1, x[2:]) - 1)[x[2:] > 1e-3].max() < 1e-3
    if scale == "log":
        assert found[3, 0] == pytest.approx(2 * low, rel=1e-4), "near the lower bound on a linear scale only"


def test_noise_digits_go_and_what_somebody_typed_stays():
    space = Space((Variable("t", lower=0.0, upper=500.0), Variable("n", "integer", lower=0, upper=9)))
    x = np.array([[243.6000000000103, 3.0]])
    assert short(space, x).tolist() == [[243.6, 3.0]]
    assert short(space, x, stays=True).tolist() == x.tolist()


def test_a_design_keeps_the_digits_that_it_needs():
    space = Space((Variable("x", lower=0.0, upper=1.0),))
    x = np.array([[0.123456789012345678], [0.5000000004]])
    found = short(space, x, as_good=lambda tried, before: np.abs(tried - before).max(axis=1) < 1e-10)
    assert found[:, 0].tolist() == [0.1234567890, 0.5000000004]
    assert (short(space, x, as_good=lambda tried, before: np.zeros(2, dtype=bool)) == x).all()


@pytest.mark.parametrize(
    "texts",
    [
        ["a + b + c = 100"],
        ["a + b + c <= 100"],
        ["a + b + c = 100", "a >= 2*b"],
        ["0.3*a + 0.7*b <= 33", "a + c >= 12.5"],
        ["a - b = 3", "b + c <= 77.7"],
        ["a/3 + b/7 = 11", "|a - c| <= 5"],
    ],
)
def test_constraints_hold_as_exactly_with_fewer_digits(texts):
    plain = Space(tuple(Variable(name, lower=0.0, upper=100.0) for name in "abc"))
    space = Space(plain.variables, parse_constraints(texts, plain, ("y",)))
    low, high = space.bounds
    points = space.feasible_set.within(low, high).project(np.random.default_rng(0).uniform(-20, 120, (60, 3)))
    x = settle(space, points)
    found = short(space, x)
    assert not broken(space, found).any()
    assert space.feasible_set.holds(found).all()
    digits = np.array([[len(repr(v).strip("0").replace(".", "")) for v in row] for row in found.tolist()])
    assert np.median(digits) <= 9
    if texts == ["a + b + c = 100"]:
        assert digits.max() <= 8
        assert np.abs(found.sum(axis=1) - 100).max() < 1e-12


def test_the_listing_of_an_experiment_tells_bounds_apart(tmp_path, monkeypatch, capfd):
    import pandas as pd
    from click.testing import CliRunner

    from invdesign_core.cli.commands import cli

    rng = np.random.default_rng(0)
    x = rng.integers(0, 1000, 60)
    pd.DataFrame({"frequency": 2.4e9 + x + 0.5, "y": -2183.45 + 2e-6 * x}).to_csv(tmp_path / "t.csv", index=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.toml").write_text(
        '[dataset]\nuse = "table"\npath = "t.csv"\noutputs = ["y"]\n[targets]\ny = -2183.449\n'
    )
    CliRunner().invoke(cli, ["validate", "e.toml", "--json"])
    found = json.loads(capfd.readouterr().out)
    assert found["targets"] == {"y": "= -2183.449"}
    low, high = found["variables"][0]["values"].split(" to ")
    assert (float(low), float(high)) == (2.4e9 + x.min() + 0.5, 2.4e9 + x.max() + 0.5)


def test_a_row_of_the_table_keeps_its_own_numbers():
    from test_dataset_search import answer

    rows = np.array([[243.6, 0.1], [1 / 3, 0.7], [17.3, 1e-7], [499.9, 1.0]])
    space = Space((Variable("t", lower=0.1, upper=500.7), Variable("s", lower=0.0, upper=1.0)))
    answers, _ = answer(lin([[1e-2], [1]]), {"y": 2.0}, rows, space=space, starts=4)
    found = answers.starts.filter(like="design.").to_numpy(float).tolist()
    assert sorted(found) == sorted(rows.tolist())
