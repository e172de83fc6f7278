"""Designs and responses as users hand them over: checked as scikit-learn checks them, and given names."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_array, validate_data

from invdesign_core.data.bookkeeping import LeaveOut
from invdesign_core.data.data import Data, TrainingRows, refuse_cells, refuse_truths, true_or_false
from invdesign_core.data.files.behind import looks_like_number
from invdesign_core.data.files.grid import cells
from invdesign_core.data.files.number_text import POINT, Texts
from invdesign_core.data.frames import as_frame, is_foreign, plain_columns
from invdesign_core.data.own_columns import PREFIX, designs_of, in_own_units
from invdesign_core.errors import ConfigError, DataError, InvdesignError, plural
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.space import Space
from invdesign_core.space.units import Units

if TYPE_CHECKING:
    import pandas as pd

LEAST_ROWS = 4
"""What `Data` asks for; scikit-learn wants it said of samples."""


class InputError(DataError, ValueError, TypeError):
    """X or y can't be used; what scikit-learn raises for it is a ValueError or a TypeError, and so is this."""


class UnfittedError(InvdesignError, NotFittedError):  # type: ignore[misc]
    """The estimator was asked before it was fitted."""


@contextmanager
def bad_input() -> Iterator[None]:
    """Turn what scikit-learn and the core say about bad X and y into an `InputError`."""
    try:
        yield
    except InputError:
        raise
    except (ConfigError, DataError) as error:
        raise InputError(error.message, error.hint) from None
    except (ValueError, TypeError) as error:
        text = str(error)  # scikit-learn shows all of a complex array
        raise InputError(text.splitlines()[0] if text.startswith("Complex") else text) from error


def join(estimator: Any, X: Any, y: Any) -> Data:
    """Check (n, d) designs and (n,) or (n, m) responses, and put them into one table.

    The estimator is told the number and the names of the features. Arrays get the names x1, x2, … and y, or y1, y2, ….
    """
    import pandas as pd

    with bad_input():
        designs = design_table(estimator, X, reset=True)
        responses = _response_table(y)
        if len(designs) != len(responses):
            raise InputError(
                f"X has {plural(len(designs), 'row')}, y has {len(responses)}", "row i of X belongs to row i of y"
            )
        if len(designs) < LEAST_ROWS:
            raise InputError(f"X has {plural(len(designs), 'sample')}, expected at least {LEAST_ROWS}")
        _refuse_numbers_as_text(designs)
        for what, table in (("X", designs), ("y", responses)):
            numeric = table.loc[:, [pd.api.types.is_numeric_dtype(dtype) for dtype in table.dtypes]]
            if numeric.shape[1]:
                # Not the finite values: `_refuse_not_finite` names the place.
                values = check_array(numeric, ensure_all_finite=False, input_name=what)
                _refuse_not_finite(values.astype(np.float64), list(numeric.columns), what)
        frame = pd.concat([designs.reset_index(drop=True), responses.reset_index(drop=True)], axis=1)
        return Data.from_frame(frame, list(responses.columns), list(designs.columns))


def further(
    estimator: Any, X: Any, y: Any, space: Space, outputs: Sequence[str], known: TrainingRows, units: Units
) -> tuple[pd.DataFrame, FloatArray]:
    """Check (k, d) further designs against those of the fit, and their responses, NaN where one was not measured.

    Responses whose names say a unit are converted into those of the `known` rows.
    """
    with bad_input():
        X = as_frame(X, "X") if is_foreign(X) else X
        if hasattr(X, "columns") and _has_designs(X.columns, space):
            X = designs_of(X.rename(columns=str), space, outputs, "X")
        elif hasattr(X, "columns") and set(space.names) <= set(map(str, X.columns)):
            X = X.rename(columns=str)[list(space.names)]  # as `propose` gives them
        X = X if hasattr(estimator, "feature_names_in_") or not hasattr(X, "columns") else X.to_numpy(dtype=np.float64)
        designs = design_table(estimator, X, reset=False).set_axis(list(space.names), axis=1).reset_index(drop=True)
        designs = designs_of(designs, space, outputs, "X")
        responses = _further_responses(y, outputs, true_or_false(known.measured.y, outputs), units)
        if responses.shape != (len(designs), len(outputs)):
            raise InputError(
                f"X has {plural(len(designs), 'row')}, y is {responses.shape}, expected {len(outputs)} columns"
            )
        values = responses.to_numpy(dtype=np.float64)
        if np.isinf(values).any() or np.isnan(values).all(axis=1).any():
            raise InputError("y contains infinity, or rows in which nothing was measured", "leave those rows out")
        return designs, values


def encode(estimator: Any, X: Any, space: Space, outputs: Sequence[str] = ()) -> FloatArray:
    """Check (n, d) designs against those of the fit, and return them encoded, (n, e).

    A DataFrame with columns ``design.NAME`` is a table of answers: its designs are taken, whatever else is in it.
    """
    with bad_input():
        X = as_frame(X, "X") if is_foreign(X) else X
        if hasattr(X, "columns") and _has_designs(X.columns, space):
            X = designs_of(X.rename(columns=str), space, outputs, "X")
            X = X if hasattr(estimator, "feature_names_in_") else X.to_numpy(dtype=np.float64)
        table = design_table(estimator, X, reset=False)
        if not len(table):
            raise InputError("X has 0 samples, expected at least 1")
        x = space.encode(table.set_axis(list(space.names), axis=1))
        _refuse_not_finite(x, [variable.name for variable in space.variables for _ in range(variable.width)], "X")
        return x


def design_table(estimator: Any, X: Any, reset: bool) -> pd.DataFrame:
    """Return designs as a table, with the number and the names of its columns learnt (`reset`) or compared.

    A DataFrame's columns keep their types, since text and truth values are designs too; all else has to be numbers.
    """
    import pandas as pd

    X = as_frame(X, "X") if is_foreign(X) else X
    if isinstance(X, pd.DataFrame):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return plain_columns(X.rename(columns=str), what="X, ")
    values = validate_data(estimator, X, reset=reset, ensure_all_finite=False)
    names = getattr(estimator, "feature_names_in_", [f"x{i + 1}" for i in range(values.shape[1])])
    return plain_columns(pd.DataFrame(values, columns=list(names)), what="X, ")


def out_of_x(X: Any) -> LeaveOut:
    """Return how columns are left out of designs that were handed over as `X`."""
    if hasattr(X, "columns"):
        way = "X.drop_columns(" if hasattr(X, "drop_columns") else "X.drop(" if is_foreign(X) else "X.drop(columns="
        return lambda names: f"X = {way}{json.dumps(list(names), ensure_ascii=False)})"
    return lambda names: f"X = np.delete(X, {[int(name.removeprefix('x')) - 1 for name in names]}, axis=1)"


def _has_designs(columns: Any, space: Space) -> bool:
    """Whether a table has variables under the names that answers have."""
    names = {str(column) for column in columns}
    return any(PREFIX + name in names and PREFIX + name not in space.names for name in space.names)


def _further_responses(y: Any, outputs: Sequence[str], bits: Collection[str], units: Units) -> pd.DataFrame:
    """Return responses of outputs in the outputs' own units; true and false are numbers in `bits` alone."""
    import pandas as pd

    if isinstance(y, pd.Series) or is_foreign(y):
        y = as_frame(y, "y")
    if not isinstance(y, pd.DataFrame):
        if len(bits) < len(outputs):
            refuse_truths(np.ravel(np.asarray(y)), "y")
        return _response_table(y)
    y = y.rename(columns=str)
    if y.columns.is_unique:
        y = in_own_units(y, outputs, units, "y", outputs)
        y = y[list(outputs)] if set(outputs) <= set(y.columns) else y
    for m, name in enumerate(outputs[: y.shape[1]]):
        if name not in bits:
            refuse_truths(y.iloc[:, m], f"y, column {str(y.columns[m])!r}")
    return _response_table(y)


def _response_table(y: Any) -> pd.DataFrame:
    import pandas as pd

    if y is None:
        raise InputError("this InverseDesign requires y to be passed, but the target y is None", "call fit(X, y)")
    if isinstance(y, pd.Series) or is_foreign(y):
        y = as_frame(y, "y")
    if isinstance(y, pd.DataFrame):
        return plain_columns(y.rename(columns=str), what="y, ")
    values = check_array(y, ensure_2d=False, ensure_all_finite=False, input_name="y")
    values = values[:, None] if values.ndim == 1 else values
    names = ["y"] if values.shape[1] == 1 else [f"y{i + 1}" for i in range(values.shape[1])]
    return plain_columns(pd.DataFrame(values, columns=names), what="y, ")


def _refuse_numbers_as_text(designs: pd.DataFrame) -> None:
    """Refuse a column of many different texts that are all numbers, or look like them: they may be meant as either."""
    import pandas as pd

    for name, column in designs.items():
        if pd.api.types.is_numeric_dtype(column.dtype) or isinstance(column.dtype, pd.CategoricalDtype):
            continue
        texts = column.dropna().astype(str)
        different = texts.nunique()
        if different > max(10, len(column) / 2) and looks_like_number(Texts(str(name), cells(texts), ())).all():
            plain = texts.str.match(POINT).all()
            ways = f"X[{name!r}].astype(float)" if plain else "make it a column of numbers"
            raise InputError(
                f"X, column {name!r} holds {different} different texts in {len(column)} rows, such as "
                f"{texts.iloc[0]!r}, that can be read as numbers or as labels",
                f"choose one: {ways} or X[{name!r}].astype('category')",
            )


def _refuse_not_finite(values: FloatArray, names: Sequence[str], what: str) -> None:
    bad = ~np.isfinite(values)
    for name, column, those in zip(names, values.T, bad.T, strict=True):
        found = column[int(np.argmax(those))]  # NaN and inf are words that scikit-learn looks for
        refuse_cells(f"{what} contains {'NaN' if np.isnan(found) else found}: column {name!r}", column, those)
