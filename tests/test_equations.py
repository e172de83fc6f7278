"""Equations that every row of a table satisfies are found, said with the line to paste, and judged by."""

from __future__ import annotations

import tomllib

import numpy as np
import pandas as pd
import pytest

from invdesign_core.cli.init import draft
from invdesign_core.data.data import Data, TrainingRows
from invdesign_core.data.distance import DataDistance
from invdesign_core.data.equations import advice_of, equations_among, multiples_of_outputs
from invdesign_core.data.quality import data_warnings
from invdesign_core.workflow.design import Design


def table(rng=None, rows=200, **columns):
    """Return data with an output that no column is tied to."""
    rng = rng or np.random.default_rng(0)
    return Data.from_frame(pd.DataFrame(columns).assign(y=rng.random(rows)), ["y"])


def shares(count=3, rows=150, decimals=2, seed=0):
    values = 100 * np.random.default_rng(seed).dirichlet(np.full(count, 2.0), rows)
    return {f"part {i}": column if decimals is None else column.round(decimals) for i, column in enumerate(values.T)}


def found(data):
    return [equation.constraint for equation in equations_among(data.x, data.space)]


@pytest.mark.parametrize("count", [2, 3, 5, 9])
@pytest.mark.parametrize("decimals", [1, 2, 4, None])
@pytest.mark.parametrize("rows", [30, 400])
def test_shares_that_sum_to_100_are_found_whatever_they_are_rounded_to(count, decimals, rows):
    data = table(rows=rows, **shares(count, rows, decimals), other=np.random.default_rng(5).random(rows))
    assert found(data) == [" + ".join(f'"part {i}"' for i in range(count)) + " = 100"]


@pytest.mark.parametrize("factor", [73.41, 145.0377377, -2.0, 1e-9, 1e12, 1.0])
def test_a_column_that_is_another_s_multiple_is_found_with_its_factor(factor):
    rng = np.random.default_rng(3)
    speed = rng.uniform(1, 5, 120)
    data = table(rows=120, speed=speed, load=rng.random(120), re=factor * speed)
    (equation,) = equations_among(data.x, data.space)
    assert set(equation.names) == {"speed", "re"}
    ratio = -equation.coefficients[1] / equation.coefficients[0]
    assert ratio == pytest.approx(factor if equation.names[0] == "re" else 1 / factor, rel=1e-8)


def test_affine_pairs_and_sums_of_several_columns_are_found_together():
    rng = np.random.default_rng(4)
    celsius = rng.uniform(10, 90, 300).round(1)
    parts = rng.uniform(0.01, 0.1, (300, 4))
    data = table(
        rows=300,
        celsius=celsius,
        fahrenheit=(1.8 * celsius + 32).round(2),
        kelvin=celsius + 273.15,
        **{f"r{i}": column for i, column in enumerate(parts.T)},
        total=parts.sum(axis=1),
        free=rng.random(300),
    )
    assert found(data) == ["fahrenheit = 1.8*celsius + 32", "kelvin = celsius + 273.15", "total = r0 + r1 + r2 + r3"]


@pytest.mark.parametrize("rows", [5, 8, 12, 30, 200])
@pytest.mark.parametrize("count", [2, 5, 10, 15])
def test_random_tables_have_no_equations(rows, count):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        whole = rng.integers(0, 4, (rows, count)).astype(float)
        onehot = np.eye(count)[rng.integers(0, count, rows)]
        for values in (rng.random((rows, count)), whole, rng.normal(size=(rows, count)).round(1), onehot):
            assert found(table(rng, rows, **{f"x{i}": column for i, column in enumerate(values.T)})) == []


def test_nearly_collinear_and_curved_columns_are_no_equations():
    rng = np.random.default_rng(0)
    x = rng.random(200)
    data = table(rows=200, x=x, square=x**2, noisy=x + 0.01 * rng.normal(size=200), root=np.sqrt(x))
    assert found(data) == []


def test_labels_and_switches_have_no_equations():
    rng = np.random.default_rng(0)
    level = rng.integers(0, 3, 90)
    frame = pd.DataFrame({"metal": np.array(["Al", "Cu", "Fe"])[level], "on": level > 0, "x": rng.random(90)})
    for i in range(3):
        frame[f"is{i}"] = (level == i).astype(int)
    data = Data.from_frame(frame.assign(y=rng.random(90)), ["y"], kinds={f"is{i}": "binary" for i in range(3)})
    assert found(data) == []
    assert advice_of(data) == []


def test_an_output_left_among_the_inputs_in_another_unit_is_named():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"load": rng.uniform(1, 5, 200), "span": rng.uniform(1, 3, 200)})
    frame["stress MPa"] = frame["load"] * frame["span"]
    frame["stress psi"] = 145.0377377 * frame["stress MPa"]
    (said,) = advice_of(Data.from_frame(frame, ["stress MPa"]))
    assert "'stress psi' is 145.038 × 'stress MPa' in every row" in said
    assert 'leave_out = ["stress psi"]' in said
    frame = frame.assign(other=1.0 * np.arange(200))
    frame.loc[:49, "stress MPa"] = np.nan
    assert len(multiples_of_outputs(Data.from_frame(frame, ["stress MPa", "other"], partial=True))) == 1
    assert advice_of(Data.from_frame(frame[["stress psi", "stress MPa"]].dropna(), ["stress MPa"])) == []


@pytest.mark.parametrize("names", [("a", "b", "c"), ("flow rate", "x-1", "2nd pass"), ("of", "and", "at"), "eEé"])
def test_the_line_to_paste_is_read_back_as_the_same_equation(names):
    data = table(rows=150, **dict(zip(names, shares().values(), strict=True)))
    (equation,) = equations_among(data.x, data.space)
    (said,) = data_warnings(data)
    line = said[said.index("constraints = ") :]
    assert f"{' + '.join(names)} is 100 in every row" in said
    space = Design(**tomllib.loads(line)).apply(data.space, data.outputs)
    assert equation.implied_by(space.constraints.linear, space)
    assert data_warnings(data, space) == [], "what the constraints hold needs no word"


def test_a_design_that_breaks_an_equation_is_not_inside_the_data():
    data = table(rows=150, **shares())
    x = data.x
    near = DataDistance.of(TrainingRows(x, data.y), data.space)
    designs = np.array([x[0], x[0] + [0.02, -0.02, 0], x[0] + [0.2, 0, 0], x[0] - [0, 0, 0.1]])
    assert near.breaks(designs).tolist() == [False, False, True, True]
    assert (near.outside(designs) > 1).tolist() == [False, False, True, True]


def test_what_is_reported_as_inside_satisfies_the_equations():
    from conftest import invert, lin

    from invdesign_core.context import Context
    from invdesign_core.registry import Registry
    from invdesign_core.surrogate.surrogate import Surrogate
    from invdesign_core.targets import parse_targets

    data = table(rows=150, **shares())
    model = lin([[0.5], [0.2], [0.1]])
    surrogate = Surrogate.of_model(model, data.space, ("y",), y=data.x @ [[0.5], [0.2], [0.1]])
    registry = Registry.discover()
    found = invert(
        surrogate,
        parse_targets({"y": 30}, ["y"]),
        data.space,
        registry.create("objective", "mse", {}),
        registry.create("solver", "least-squares", {}),
        Context(),
        TrainingRows(data.x, data.x @ [[0.5], [0.2], [0.1]]),
    ).designs
    sums = found[[f"design.part {i}" for i in range(3)]].sum(axis=1)
    assert (np.abs(sums - 100) > 0.1).any(), "the box allows what the table rules out"
    assert not found["inside"][np.abs(sums - 100) > 0.1].any()


def test_init_writes_the_equations_and_proposes_no_others():
    data = table(rows=150, **shares(), count=np.random.default_rng(1).integers(1, 9, 150))
    values = tomllib.loads(draft(data, [("path", "mine.csv"), ("outputs", ["y"])]))
    assert values["design"]["constraints"] == ['"part 0" + "part 1" + "part 2" = 100']
    Design.from_mapping(values["design"]).apply(data.space, data.outputs)
    rng = np.random.default_rng(0)
    text = draft(table(rows=90, a=rng.random(90), b=rng.random(90), c=rng.random(90)), [("path", "mine.csv")])
    assert "constraints" not in tomllib.loads(text)["design"]
    assert "= 1" not in [line.partition(" = ")[2] for line in text.splitlines() if "a + b" in line]


def test_init_leaves_out_an_equation_that_no_design_of_whole_numbers_satisfies():
    inch = np.arange(10, 400, 3)
    data = table(rows=len(inch), inch=inch, mm=np.round(inch * 25.4).astype(int))
    values = tomllib.loads(draft(data, [("path", "mine.csv"), ("outputs", ["y"])]))
    Design.from_mapping(values["design"]).apply(data.space, data.outputs)
