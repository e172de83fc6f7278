"""What a column of a table in memory is follows from its values; tables of other libraries are read as pandas ones."""

from __future__ import annotations

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invdesign_core.context import Context
from invdesign_core.data.data import Data
from invdesign_core.data.frames import as_frame, plain_columns
from invdesign_core.data.own_columns import as_targets
from invdesign_core.data.sklearn_input import InputError, join
from invdesign_core.errors import DataError
from invdesign_core.targets import Targets
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.own_model import name_tensors

N = 40
RNG = np.random.default_rng(0)
X = pd.DataFrame(
    {
        "flow": RNG.uniform(0, 10, N).round(3),
        "pumps": RNG.integers(1, 5, N),
        "on": RNG.random(N) > 0.5,
        "alloy": RNG.choice(["brass", "steel"], N),
    }
)
Y = (X["flow"] + 2 * X["pumps"]).rename("yield")
DAYS = pd.date_range("2024-01-01", periods=N)

ALIKE = {
    "objects": (X.astype(object), Y.astype(object)),
    "types with gaps": (X.convert_dtypes(), Y.convert_dtypes()),
    "Arrow types": (X.convert_dtypes(dtype_backend="pyarrow"), Y.convert_dtypes(dtype_backend="pyarrow")),
    "Decimals": (X.assign(flow=[Decimal(str(v)) for v in X["flow"]]), Y.map(lambda v: Decimal(repr(v)))),
    "categories of text": (X.assign(alloy=X["alloy"].astype("category")), Y),
    "sparse": (X.assign(flow=pd.arrays.SparseArray(X["flow"])), Y),
    "another index": (X.set_axis(range(5, N + 5)), Y),
    "polars": (pl.from_pandas(X), pl.Series("yield", Y.to_numpy())),
    "polars, y a frame": (pl.from_pandas(X), pl.from_pandas(Y.to_frame())),
    "polars decimals and categories": (
        pl.from_pandas(X).with_columns(pl.col("flow").cast(pl.Decimal(12, 3)), pl.col("alloy").cast(pl.Categorical)),
        Y,
    ),
    "Arrow table": (pa.Table.from_pandas(X), pa.Table.from_pandas(Y.to_frame())),
    "Arrow batch": (pa.RecordBatch.from_pandas(X), Y),
}


@pytest.mark.parametrize("case", ALIKE)
def test_the_same_values_are_the_same_data_whatever_holds_them(case):
    expected, found = join(InverseDesign(), X, Y), join(InverseDesign(), *ALIKE[case])
    assert found.space == expected.space
    assert found.outputs == ("yield",)
    assert (found.x == expected.x).all()
    assert (found.y == expected.y).all()


@pytest.mark.parametrize("case", [name for name, (frame, _) in ALIKE.items() if not hasattr(frame, "num_columns")])
def test_a_dataset_plugin_may_hand_over_any_of_them(case):
    frame = as_frame(ALIKE[case][0]).reset_index(drop=True).assign(y=Y)
    data = Data.from_frame(frame, ["y"])
    assert data.space == Data.from_frame(X.assign(y=Y), ["y"]).space


def test_from_frame_takes_polars_and_arrow_and_looks_at_needed_columns_only():
    frame = pl.from_pandas(X.assign(y=Y, when=DAYS))
    expected = Data.from_frame(X.assign(y=Y), ["y"])
    for table in (frame, frame.to_arrow()):
        data = Data.from_frame(table, ["y"], ["flow", "pumps", "on", "alloy"])
        assert data.space == expected.space
        pd.testing.assert_frame_equal(data.frame, expected.frame)


NO_VALUES = {
    "dates": (DAYS, "a date or a time"),
    "dates with a zone": (DAYS.tz_localize("UTC"), "a date or a time"),
    "Arrow dates": (pd.Series(DAYS).astype("timestamp[ns][pyarrow]"), "a date or a time"),
    "dates as objects": ([datetime.date(2024, 1, 1)] * N, "a date or a time"),
    "times": ([datetime.time(10)] * N, "a date or a time"),
    "differences of times": (pd.to_timedelta(np.arange(N), "h"), "a date or a time"),
    "periods": (pd.period_range("2024-01", periods=N, freq="M"), "a date or a time"),
    "complex": (np.ones(N) * 1j, "a complex number"),
    "complex objects": (pd.Series([1 + 2j] * N, dtype=object), "a complex number"),
    "lists": ([[1, 2]] * N, "several values"),
    "mappings": ([{"a": 1}] * N, "several values"),
    "arrays": ([np.ones(2)] * N, "several values"),
    "Arrow lists": (pd.Series([[1]] * N, dtype=pd.ArrowDtype(pa.list_(pa.int64()))), "several values"),
    "bytes": ([b"x"] * N, "bytes"),
    "intervals": (pd.interval_range(0, N, N), "Interval"),
    "any object": ([object()] * N, "object"),
}


@pytest.mark.parametrize("case", NO_VALUES)
def test_what_is_no_value_is_refused_by_column_and_row_before_any_training(case):
    values, what = NO_VALUES[case]
    frame = X.assign(odd=pd.Series(values, dtype=object) if isinstance(values, list) else values)
    with pytest.raises(InputError, match=rf"X, column 'odd', row 1: found {what} \(") as error:
        InverseDesign().fit(frame, Y)
    assert "leave the column out" in error.value.hint
    with pytest.raises(DataError, match=f"column 'odd', row 1: found {what}"):
        Data.from_frame(frame.assign(y=Y), ["y"])
    with pytest.raises(InputError, match=f"y, column 'odd', row 1: found {what}"):
        InverseDesign().fit(X, frame["odd"])


def test_the_first_cell_that_is_none_is_named_and_empty_cells_are_passed_over():
    odd = pd.Series([None, 1.5, DAYS[0], *range(N - 3)], dtype=object)
    with pytest.raises(InputError, match="X, column 'odd', row 3: found a date or a time"):
        InverseDesign().fit(X.assign(odd=odd), Y)
    with pytest.raises(InputError, match="column 'odd', row 1: the cell is empty"):
        InverseDesign().fit(X.assign(odd=pd.array([None, *range(N - 1)], dtype="Int64")), Y)


def test_a_text_among_numbers_makes_no_categories_of_them():
    odd = pd.Series([1.5, "n.d.", *np.arange(N - 2.0)], dtype=object)
    with pytest.raises(InputError, match=r"row 2: found 'n.d.', expected a number, as 39 of 40 values are"):
        InverseDesign().fit(X.assign(odd=odd), Y)
    with pytest.raises(InputError, match="row 40: found 3, expected true/false"):
        InverseDesign().fit(X.assign(odd=pd.Series([True] * (N - 1) + [3], dtype=object)), Y)


def test_many_numbers_as_text_can_be_read_in_two_ways_and_each_of_them_can_be_chosen():
    frame = X.assign(flow=X["flow"].map("{:.3f}".format))
    with pytest.raises(InputError, match="can be read as numbers or as labels") as error:
        InverseDesign().fit(frame, Y)
    assert error.value.hint == "choose one: X['flow'].astype(float) or X['flow'].astype('category')"
    assert join(InverseDesign(), frame.assign(flow=frame["flow"].astype(float)), Y).space["flow"].kind == "continuous"
    labels = join(InverseDesign(), frame.assign(flow=frame["flow"].astype("category")), Y)
    assert labels.space["flow"].kind == "categorical"
    codes = X.assign(code=RNG.choice(["010", "020"], N))
    assert join(InverseDesign(), codes, Y).space["code"].levels == ("010", "020")


@pytest.mark.parametrize("write", ["{:.2f} mm", "{:.1f}%", "{:.3f}D-03", "<{:.2f}"])
def test_many_texts_that_look_like_numbers_never_become_labels_in_silence(write):
    frame = X.assign(flow=(1 + X["flow"].abs()).map(write.format))
    with pytest.raises(InputError, match=r"column 'flow' holds \d+ different texts in 40 rows"):
        InverseDesign().fit(frame, Y)
    assert join(InverseDesign(), frame.astype({"flow": "category"}), Y).space["flow"].kind == "categorical"


def test_what_has_to_be_computed_first_says_how():
    with pytest.raises(InputError, match=r"X: found polars\.LazyFrame, expected a DataFrame") as error:
        InverseDesign().fit(pl.from_pandas(X).lazy(), Y)
    assert "call .collect() first" in error.value.hint


NUMBERS = st.one_of(
    st.floats(-1e9, 1e9).map(float),
    st.integers(-(2**53), 2**53),
    st.decimals(-1000, 1000, places=3),
    st.fractions(-9, 9),
    st.floats(-9, 9, width=32).map(np.float32),
    st.none(),
    st.just(pd.NA),
    st.just(np.nan),
)


@given(st.lists(NUMBERS, min_size=1, max_size=12))
def test_numbers_of_any_classes_are_the_floats_or_integers_that_they_are(values):
    column = plain_columns(pd.DataFrame({"a": pd.Series(values, dtype=object)}))["a"]
    missing = pd.Series(values, dtype=object).isna().to_numpy()
    assert column.dtype == (np.int64 if all(isinstance(v, int) for v in values) else np.float64)
    assert (column.isna().to_numpy() == missing).all()
    expected = [float(v) for v, none in zip(values, missing, strict=True) if not none]
    assert column[~missing].astype(float).tolist() == expected


def test_fractions_and_whole_numbers_too_large_for_an_integer_are_floats():
    frame = pd.DataFrame({"a": [Fraction(1, 4)] * 4, "b": pd.Series([10**30, 1, 2, 3], dtype=object)})
    assert plain_columns(frame)["a"].tolist() == [0.25] * 4
    assert plain_columns(frame)["b"].tolist() == [1e30, 1, 2, 3]


def test_a_table_of_targets_may_be_one_of_polars_or_of_arrow_or_hold_decimals():
    space = Data.from_frame(X.assign(y=Y), ["y"]).space
    frame = pd.DataFrame({"y": [5.0, np.nan, 7.5], "pumps": [1, 2, 3], "alloy": ["brass", "steel", "brass"]})
    frame.loc[1, "y"] = 6.0
    expected = as_targets(frame, space, ["y"], Context())
    decimals = frame.assign(y=[Decimal(str(v)) for v in frame["y"]], pumps=[Decimal(v) for v in frame["pumps"]])
    for table in (pl.from_pandas(frame), pa.Table.from_pandas(frame), decimals, frame.convert_dtypes()):
        found = as_targets(table, space, ["y"], Context())
        assert found["pumps"].tolist() == expected["pumps"].tolist()
        assert found["alloy"].tolist() == expected["alloy"].tolist()
        assert (Targets.from_frame(found, ["y"], np.ones(1)).lower == [[5.0], [6.0], [7.5]]).all()
    with pytest.raises(DataError, match="targets, column 'y', row 1: found a date or a time"):
        as_targets(frame.assign(y=DAYS[:3]), space, ["y"], Context())
    words = as_targets(pl.DataFrame({"y": [">=5", "6..7"]}), space, ["y"], Context())
    assert Targets.from_frame(words, ["y"], np.ones(1)).upper.tolist() == [[np.inf], [7.0]]


@pytest.mark.long
def test_a_model_fitted_to_polars_answers_as_one_fitted_to_pandas():
    options = {
        "surrogate": {"use": "selu-mlp", "widths": [8], "learning_rate": [0.01, 0.01]},
        "training": {"epochs": 3},
        "solver": {"use": "lbfgsb", "starts": 4},
    }
    frame = X[["flow", "pumps", "alloy"]]
    mine, theirs = InverseDesign(**options).fit(frame, Y), InverseDesign(**options)
    theirs.fit(pl.from_pandas(frame), pl.Series("yield", Y.to_numpy()))
    assert (theirs.predict(pl.from_pandas(frame)) == mine.predict(frame)).all()
    assert (theirs.predict(pa.Table.from_pandas(frame)) == mine.predict(frame)).all()
    pd.testing.assert_frame_equal(theirs.invert(12).designs, mine.invert(12).designs)
    table = pd.DataFrame({"yield": [9.0, 12.0], "alloy": ["brass", "steel"]})
    pd.testing.assert_frame_equal(theirs.invert(pl.from_pandas(table)).designs, mine.invert(table).designs)


def test_a_model_s_table_may_be_a_frame(tmp_path):
    from types import SimpleNamespace

    ports = SimpleNamespace(
        input_names=["a", "b"], output_names=["y"], named_inputs=False, named_outputs=False, kinds=["continuous"] * 2
    )
    frame = pd.DataFrame({"flow": [1.0, 2, 3, 4], "heat": [Decimal(v) for v in (1, 2, 3, 5)], "y": [1.0, 2, 3, 5]})
    for table in (frame, pl.from_pandas(frame.assign(heat=frame["heat"].astype(float)))):
        named = name_tensors(ports, tmp_path / "m.keras", table, None, ["y"])
        assert named.space.names == ("flow", "heat")
        assert named.rows.x[3].tolist() == [4, 5]
    dated = frame.assign(when=pd.Timestamp("2024-01-01"))
    assert name_tensors(ports, tmp_path / "m.keras", dated, ["flow", "heat"], ["y"]).space.names == ("flow", "heat")
    with pytest.raises(DataError, match="column 'when', row 1: found a date or a time"):
        name_tensors(ports, tmp_path / "m.keras", dated, None, ["y"])
    with pytest.raises(DataError, match="the table: there is no column 'flo'"):
        name_tensors(ports, tmp_path / "m.keras", frame, ["flo", "heat"], ["y"])
