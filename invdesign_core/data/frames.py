"""Tables in memory as users hand them over: of pandas, polars, Arrow or another library, with any types of columns.

What a column is follows from its values. A number is a number as a float, a Decimal, an object or an Arrow value.
"""

from __future__ import annotations

import datetime
import numbers
from collections import Counter
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.files.arrow import decoded, unusable, values_of
from invdesign_core.data.files.messages import shortened
from invdesign_core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

UNUSABLE: Mapping[str, tuple[tuple[type, ...], str]] = {
    "a date or a time": (
        (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64),
        "make it a number, such as hours since the start",
    ),
    "a complex number": ((complex, np.complexfloating), "make its real and its imaginary part columns of their own"),
    "bytes": ((bytes, bytearray, memoryview), "turn them into text: .str.decode('utf-8')"),
    "several values": ((list, tuple, set, frozenset, dict, np.ndarray), "make each of them a column of its own"),
}
"""What is no value of a design: its classes, and what may be done about it."""
OTHER = "turn it into numbers or text: .astype(float) or .astype(str)"


def as_frame(table: Any, what: str = "the table") -> pd.DataFrame:
    """Return a DataFrame of pandas, polars or another library, or an Arrow table, as one of pandas."""
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        return table
    if isinstance(table, pd.Series):
        return table.to_frame(table.name if table.name is not None else "y")
    if not hasattr(table, "__arrow_c_stream__") and not hasattr(table, "__dataframe__"):
        way = next((way for way in ("collect", "compute", "to_pandas", "df") if hasattr(table, way)), None)
        found = f"{type(table).__module__.partition('.')[0]}.{type(table).__qualname__}"
        raise DataError(
            f"{what}: found {found}, expected a DataFrame", f"call .{way}() first" if way else "hand over one of pandas"
        )
    try:
        return _from_arrow(table) if hasattr(table, "__arrow_c_stream__") else _from_interchange(table)
    except DataError:
        raise
    except Exception as error:  # whatever another library raises for its own types
        raise DataError(
            f"{what}: found {type(table).__qualname__}, which can't be read: {str(error).splitlines()[0]}",
            "leave out columns of other objects, or hand over a DataFrame of pandas",
        ) from None


def is_foreign(table: Any) -> bool:
    """Say whether something is a table, or a column of one, of another library than pandas and NumPy."""
    import pandas as pd

    if isinstance(table, (pd.DataFrame, pd.Series)):
        return False
    lazy = hasattr(type(table), "columns") and any(hasattr(table, way) for way in ("collect", "compute", "to_pandas"))
    return lazy or hasattr(table, "__arrow_c_stream__") or hasattr(table, "__dataframe__")


def plain_columns(
    frame: pd.DataFrame, names: Collection[str] | None = None, what: str = "", mixed: bool = False
) -> pd.DataFrame:
    """Return a table of n rows in which columns of numbers, truth values and texts have NumPy's types.

    Other values are refused by column and row, as are numbers among which there is something else, unless they may be
    `mixed`. Only the columns with the given names are looked at; `what` stands before the place in messages.
    """
    import pandas as pd

    chosen = [names is None or name in names for name in frame.columns]
    columns = [
        _plain(frame.iloc[:, i], f"{what}column {str(name)!r}", mixed) if take else frame.iloc[:, i]
        for i, (name, take) in enumerate(zip(frame.columns, chosen, strict=True))
    ]
    if all(new.dtype == old for new, old in zip(columns, frame.dtypes, strict=True)):
        return frame
    plain = pd.concat([column.reset_index(drop=True) for column in columns], axis=1)
    return plain.set_axis(frame.columns, axis=1).set_axis(frame.index, axis=0)


def _from_arrow(table: Any) -> pd.DataFrame:
    """Read what speaks Arrow; a single column is called `y` where it has no name."""
    import pandas as pd
    import pyarrow as pa

    if isinstance(table, pa.ChunkedArray) or not (hasattr(table, "columns") or hasattr(table, "schema")):
        name = getattr(table, "name", None)
        table = pa.table({name if isinstance(name, str) and name else "y": pa.chunked_array(table)})
    objects = _object_columns(table)
    order = list(table.columns) if objects else None
    table = pa.table(table.drop(list(objects)) if objects else table)
    columns = [decoded(column) for column in table.columns]
    read = [
        pd.Series(column, dtype=pd.ArrowDtype(column.type)) if unusable(column.type) else pd.Series(values_of(column))
        for column in columns
    ]
    frame = pd.concat(read, axis=1) if read else pd.DataFrame(index=range(table.num_rows))
    frame = frame.set_axis(table.column_names, axis=1)
    return frame if order is None else frame.assign(**objects)[order]


def _object_columns(table: Any) -> dict[str, Any]:
    """Return the columns of a table of polars that hold Python's objects, of which Arrow would see addresses alone."""
    import pandas as pd

    schema: Any = getattr(table, "schema", None)
    if not hasattr(schema, "items"):
        return {}
    names = [name for name, kind in schema.items() if str(kind) == "Object"]
    return {name: pd.Series(table[name].to_list(), dtype=object) for name in names}


def _from_interchange(table: Any) -> pd.DataFrame:
    from pandas.api.interchange import from_dataframe

    return from_dataframe(table)


def _plain(column: pd.Series, place: str, mixed: bool) -> pd.Series:
    """Return a column of numbers, truth values or texts with a type of NumPy; refuse any other."""
    import pandas as pd

    dtype: Any = column.dtype
    if isinstance(dtype, pd.CategoricalDtype | pd.StringDtype):
        return column
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return column
    if isinstance(dtype, pd.ArrowDtype):
        import pyarrow as pa

        array = decoded(pa.array(column))
        if (found := unusable(array.type)) is None:
            return pd.Series(values_of(array), index=column.index, name=column.name)
        raise _refusal(place, column, np.ones(len(column), np.bool_), found)
    missing = column.isna().to_numpy()
    if hasattr(dtype, "numpy_dtype") and np.dtype(dtype.numpy_dtype).kind in "biuf":  # pandas' types with gaps
        kind = np.float64 if missing.any() else dtype.numpy_dtype
        values = column.to_numpy(dtype=kind, na_value=np.nan) if missing.any() else column.to_numpy(dtype=kind)
        return pd.Series(values, index=column.index, name=column.name)
    return _by_values(column.astype(object), missing, place, mixed)


def _by_values(column: pd.Series, missing: NDArray[np.bool_], place: str, mixed: bool) -> pd.Series:
    """Return a column of (n,) objects as what they are; `missing` are those that are none."""
    import pandas as pd

    kinds = np.array(["" if none else _kind(v) for v, none in zip(column, missing, strict=True)], dtype=object)
    counts = Counter(kinds[~missing])
    for found in counts:
        if found not in ("number", "true/false", "text"):
            raise _refusal(place, column, kinds == found, found)
    most = max(counts, key=counts.__getitem__, default="number")
    if len(counts) > 1 and most != "text" and not mixed and counts[most] * 2 > len(column) - missing.sum():
        row = int(np.argmax((kinds != most) & ~missing))
        expected = "a number" if most == "number" else most
        raise DataError(
            f"{place}, row {row + 1}: found {column.iloc[row]!r}, expected {expected}, as {counts[most]} of "
            f"{len(column) - missing.sum()} values are",
            "correct it, or leave the cell or the row empty; to take all of the column as labels: .astype(str)",
        )
    if len(counts) > 1 or most == "text":
        return column
    if most == "true/false" and not missing.any():
        return column.astype(np.bool_)
    whole = counts and not missing.any() and all(isinstance(value, numbers.Integral) for value in column)
    try:
        values = np.array(column.tolist(), dtype=np.int64) if whole else None
    except OverflowError:
        values = None
    if values is None:
        values = np.array([np.nan if none else float(v) for v, none in zip(column, missing, strict=True)])
    return pd.Series(values, index=column.index, name=column.name)


def _kind(value: Any) -> str:
    """Say what a value is."""
    import pandas as pd

    if isinstance(value, str):
        return "text"
    if isinstance(value, bool | np.bool_):
        return "true/false"
    if isinstance(value, numbers.Real | Decimal):
        return "number"
    if isinstance(value, pd.Period | pd.Timestamp | pd.Timedelta):
        return "a date or a time"
    return next((what for what, (classes, _) in UNUSABLE.items() if isinstance(value, classes)), type(value).__name__)


def _refusal(place: str, column: pd.Series, bad: NDArray[np.bool_], found: str) -> DataError:
    """Say what stands in the first of some rows, and what may be done about it."""
    row = int(np.argmax(bad & ~column.isna().to_numpy()))
    value: Any = column.iloc[row] if len(column) else None
    found = kind if (kind := _kind(value)) in UNUSABLE else found
    advice = UNUSABLE[found][1] if found in UNUSABLE else OTHER
    return DataError(
        f"{place}, row {row + 1}: found {found} ({shortened(repr(value))}), expected a number, true/false or text",
        f"leave the column out, or {advice}",
    )
