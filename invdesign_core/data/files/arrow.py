"""Arrow arrays: which types hold numbers, truth values or texts, and these as a frame holds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def decoded(column: Any) -> Any:
    """Return one array of a column's values, with no dictionary and no other type between."""
    import pyarrow as pa

    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    while pa.types.is_dictionary(column.type) or hasattr(column, "storage"):
        if hasattr(column, "storage"):
            column = column.storage
            continue
        labels = column.dictionary
        if _is_text(labels.type):  # of views, as polars writes them, Arrow can't take some yet
            labels = labels.cast(pa.large_string())
        column = labels.take(column.indices)
    return column


def plain_type(kind: Any) -> Any:
    """Return the type that the values of a type have once they are `decoded`."""
    import pyarrow as pa

    while pa.types.is_dictionary(kind) or hasattr(kind, "storage_type"):
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind.storage_type
    return kind


def as_text(column: Any) -> Any:
    """Return texts as a frame holds them."""
    import pandas as pd

    return pd.Series(column.to_pylist(), dtype=object if column.null_count == len(column) else None)


def unusable(kind: Any) -> str | None:
    """Say what a type holds that is no number, no truth value and no text."""
    from pyarrow import types

    tests: dict[str | None, Sequence[Callable[[Any], bool]]] = {
        "times": (types.is_temporal,),
        "lists": (types.is_list, types.is_large_list, types.is_fixed_size_list),
        "records": (types.is_struct,),
        "mappings": (types.is_map,),
        "bytes": (types.is_binary, types.is_large_binary, types.is_fixed_size_binary),
        None: (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null, _is_text),
    }
    for what, those in tests.items():
        if any(test(kind) for test in those):
            return what
    return "values of an unknown kind"


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def values_of(column: Any) -> Any:
    """Return exact integers, floats, truth values or text; floats with NaN where some are missing."""
    import pyarrow as pa

    kind = column.type
    if _is_text(kind):
        return as_text(column)
    if pa.types.is_boolean(kind):
        if not column.null_count:
            return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.bool_)
        column = column.cast(pa.int8())
    elif pa.types.is_decimal(kind):
        column = column.cast(pa.large_string())  # since only that conversion rounds to the nearest float
    elif pa.types.is_integer(kind) and not column.null_count:
        numbers = column.to_numpy(zero_copy_only=False)
        return numbers if len(numbers) and numbers.max() > np.iinfo(np.int64).max else numbers.astype(np.int64)
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
