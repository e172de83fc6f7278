"""Numbers that no model can compute with, and texts that no parser should follow, are refused by place with a hint."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import called
from hypothesis import given, settings
from hypothesis import strategies as st

from invdesign_core.data.data import Data
from invdesign_core.data.own_columns import values_of
from invdesign_core.errors import ConfigError, DataError, InvdesignError
from invdesign_core.space.constraint_grammar import DEEPEST, LONGEST
from invdesign_core.space.constraint_text import parse_constraints
from invdesign_core.space.digits import rounded
from invdesign_core.space.expressions import parse_expression
from invdesign_core.space.sizes import FAR, LARGEST, SMALLEST, WHOLE
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.targets import Targets, check_targets, parse_target

SPACE = Space((Variable("a", lower=0, upper=1), Variable("b", lower=-1, upper=1), Variable("n", "integer", 0, 9)))
EDGES = [1e308, -1e308, 1e39, 1e37, 1e-45, 1e-320, 5e-324, 2.0**53, 2.0**63, -(2.0**63), 10**400, 0, -0.0, 0.5, 1.0]
numbers = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(EDGES))


def refusal(call: Callable[[], Any]) -> str | None:
    """The message of an error for users, or None where there is none."""
    try:
        call()
    except InvdesignError as error:
        return error.message
    return None


@settings(deadline=None)
@given(numbers, numbers, st.sampled_from(["a", "n"]), st.sampled_from(["bounds", "levels", "fixed", "step", "from"]))
def test_a_space_is_refused_by_name_or_all_its_numbers_are_ones_that_models_can_hold(
    one: float, other: float, name: str, key: str
):
    said = {
        "bounds": {"bounds": {name: (one, other)}},
        "levels": {"levels": {name: [one, other]}},
        "fixed": {"fixed": {name: one}},
        "step": {"step": {name: one}},
        "from": {"step": {name: {"by": one, "from": other}}},
    }[key]
    wrong = refusal(lambda: SPACE.restrict(**said))
    if wrong is not None:
        assert repr(name) in wrong
        return
    space = SPACE.restrict(**said)
    variable = space[name]
    low, high = (float(end[0]) for end in variable.bounds())
    assert np.isfinite([low, high]).all()
    assert max(abs(low), abs(high)) <= min(LARGEST, FAR + 1 if name == "a" else WHOLE)
    assert high == low or high - low >= SMALLEST
    x = space.sample(np.random.default_rng(0), 4)
    assert np.isfinite(space.encode(x)).all()


@settings(deadline=None)
@given(numbers, numbers, numbers)
def test_a_target_is_refused_or_all_its_numbers_are_finite_and_its_weight_counts(value, tolerance, weight):
    for text in (f"{value!r}", f"<={value!r}", f"{value!r} tolerance {tolerance!r}", f"{value!r} weight {weight!r}"):

        def read(text: str = text) -> tuple[Any, Targets]:
            target = parse_target(text, "target of 'y'")
            targets = Targets.build([{"y": target}], ["y"], np.array([2.0]))
            check_targets(targets, np.array([1.0]))
            return target, targets

        wrong = refusal(read)
        if wrong is not None:
            assert wrong.startswith("target of 'y'")
            continue
        target, targets = read()
        sides = [side for side in (target.lower, target.upper) if np.isfinite(side)]
        assert sides
        assert all(abs(side) <= 2 * FAR + 1 for side in sides)
        assert target.weight > 0
        assert np.isfinite(np.float32(target.weight))
        assert 0 <= targets.tolerance[0, 0] <= LARGEST


def test_a_target_of_no_weight_is_no_target():
    with pytest.raises(ConfigError, match=r"target of 'y': found the weight 0, expected"):
        parse_target("2 weight 0", "target of 'y'")


@pytest.mark.parametrize("column", ["a", "y"])
@pytest.mark.parametrize(
    ("factor", "says"), [(1e39, "row 2: found 1e\\+39"), (1e300, "found 1e\\+300"), (1e-45, "differ")]
)
def test_columns_beyond_single_precision_are_refused(column: str, factor: float, says: str):
    frame = pd.DataFrame({"a": [0.0, 1.0, 0.5, 0.25], "y": [0.0, 1.0, 0.5, 0.25]})
    frame[column] *= factor
    with pytest.raises(DataError, match=f"column '{column}'.*{says}") as refused:
        Data.from_frame(frame, ["y"])
    assert "another unit" in (refused.value.hint or "")


def test_whole_numbers_that_a_double_cannot_tell_apart_are_refused_as_inputs():
    frame = pd.DataFrame({"a": [2**63 - 1 - i for i in range(5)], "y": range(5)})
    data = Data.from_frame(frame, ["y"])
    with pytest.raises(ConfigError, match=r"'a'.*can't be told apart"):
        data.space.restrict()


@pytest.mark.parametrize(
    "text",
    [
        "-" * 1000 + "a",
        "(" * 1000 + "a" + ")" * 1000,
        "sqrt(" * 400 + "a" + ")" * 400,
        "(" * 20_000 + "a",
        "a" + "^a" * 1000,
        "a" + " " * LONGEST,
        "a^1e309",
        "1e309*a",
        "a/0",
    ],
)
def test_texts_too_deep_or_too_long_to_read_are_refused_as_such(text: str):
    for read in (
        lambda: parse_expression(text, SPACE, ["y"], "[derive] q"),
        lambda: parse_constraints([f"{text} <= 1"], SPACE, ["y"]),
    ):
        with pytest.raises(ConfigError, match=r"character \d+ of"):
            read()


def test_long_sums_are_read_however_many_terms_they_have():
    x = np.array([[0.5, 0.25, 3.0]])
    formula = parse_expression("a*b" + " + a - b" * 1200, SPACE, ["y"], "[derive] q")
    assert formula.value(x)[0] == pytest.approx(0.125 + 1200 * 0.25)
    limit = parse_constraints(["a*b" + " + a - b" * 1200 + " <= 1"], SPACE, ["y"]).limits[0]
    assert not limit.holds(x)[0]
    deep = "(" * (DEEPEST // 4) + "a" + ")" * (DEEPEST // 4)
    assert parse_expression(deep, SPACE, ["y"], "[derive] q").value(x)[0] == 0.5


pieces = st.sampled_from(
    ["a", "b", "n", "1", "0", "1e308", "1e309", "2", "+", "-", "*", "/", "^", "(", ")", "|", "sqrt(", "log(", "exp("]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(pieces, min_size=1, max_size=12), st.sampled_from(["<=1", ">=0", "=1", "<=1e308", "<=1/0", ""]))
def test_any_text_is_a_constraint_and_a_formula_or_is_refused_in_words(parts: list[str], end: str):
    text = "".join(parts)
    x = np.array([[0.5, -0.5, 3.0], [0.0, 0.0, 0.0]])
    wrong = refusal(lambda: parse_expression(text, SPACE, ["y"], "[derive] q").value(x))
    assert wrong is None or re.match(r"\[derive\] q: character \d+ of", wrong)
    wrong = refusal(lambda: [limit.holds(x) for limit in parse_constraints([text + end], SPACE, ["y"]).limits])
    assert wrong is None or re.match(r"constraints: character \d+ of", wrong)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_rounding_to_any_unit_gives_a_number(value: float, unit: float):
    found = float(rounded(np.array([value]), np.array([unit]))[0])
    assert np.isfinite(found) or abs(value) > 1e300
    assert abs(found - value) <= unit or unit < abs(value) * 1e-15 or not np.isfinite(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edge")
    a = np.linspace(0, 1, 20)
    pd.DataFrame({"a": a, "n": np.arange(20) % 5, "y": 2 * a}).to_csv(folder / "t.csv", index=False)
    text = '[dataset]\nuse = "table"\npath = "t.csv"\noutputs = ["y"]\n[surrogate]\nuse = "ridge"\n[targets]\ny = 1\n'
    (folder / "e.toml").write_text(text)
    return folder


@pytest.mark.parametrize(
    "options",
    [
        ("--target", "y=1e39"),
        ("--target", "y=1e20"),
        ("--near", "a=1e308"),
        ("--near", "a=nan"),
        ("--step", "a=1e-300"),
        ("--step", "a=0.1 from 1e300"),
        ("--bounds", "a=-1e308..1e308"),
        ("--bounds", "a=1e-320..1e-319"),
        ("--bounds", "n=1..9223372036854775808"),
        ("--condition", "a=mean 1e308, sd 1e308"),
        ("--constraint", "-" * 1000 + "a <= 1"),
        ("--set", "design.margin=1e300"),
        ("--set", "solver.starts=1e9"),
        ("--set", "solver.starts=true"),
        ("--set", "objective.use=7"),
        ("--set", "dataset.header=99999999999999999999"),
    ],
)
def test_the_command_line_refuses_such_numbers_before_anything_is_done(options: tuple[str, ...], folder: Path):
    done = called(["validate", "e.toml", "--quiet", *options], folder, {})
    assert done.code in (2, 4), done
    assert done.err.startswith("Error: ")


@pytest.mark.parametrize(("cell", "kind"), [(1e39, "continuous"), (1e20, "continuous"), (2.0**63, "integer")])
def test_designs_in_tables_have_the_same_limits(cell: float, kind: str):
    """What `predict`, `learn`, `--near FILE:ROW` and tables of targets read goes through here."""
    variable = Variable("a", kind, lower=0, upper=1)
    with pytest.raises(DataError, match=r"designs, column 'a', row 2: "):
        values_of(variable, pd.Series([0.0, cell], name="a"), "designs")


def test_names_that_no_file_can_have_are_refused_in_words(folder: Path):
    done = called(["predict", "a" * 300, "t.csv"], folder, {})
    assert done.code == 2, done
    assert done.err.startswith("Error: aaa")
