"""Parquet files: each column by the type that the file declares, not by what a conversion makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.files.grid import clean_name, kept_rows, name_columns, refuse_twice
from invdesign_core.data.files.messages import option, some
from invdesign_core.data.files.numbers import Parsed, as_text
from invdesign_core.data.files.options import Reading
from invdesign_core.errors import DataError


@dataclass(frozen=True)
class Parquet:
    """An open parquet file.

    Attributes
    ----------
    file : pyarrow.parquet.ParquetFile
        The file.
    fields : mapping
        Its columns but for those that number the rows: the name without spaces around it, and as it is stored.
    rows : ndarray of int
        (n,) the numbers of its rows, from 1, but for those that are skipped.
    notes : tuple of str
        What is odd about it.
    index : ndarray of int, optional
        (n,) the row numbers that are left out.
    """

    file: Any
    fields: Mapping[str, str]
    rows: NDArray[np.intp]
    notes: tuple[str, ...] = ()
    index: NDArray[np.int64] | None = None
    lines: None = None
    line: str = "row"
    understood: tuple[str, ...] = ("parquet",)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.fields)


def open_parquet(path: Path, reading: Reading) -> Parquet:
    """Open a file and leave out its index: the one that pandas stores, or first columns without a name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None
    stored, count = tuple(file.schema_arrow.names), int(file.metadata.num_rows)
    if not count:
        raise DataError(f"{path}: found column names and no rows: {some(stored)}", "is this the right file?")
    names = [clean_name(name) for name in stored]
    refuse_twice(path, names)
    rows = kept_rows(path, count, reading.skip_rows)
    pandas = json.loads((file.schema_arrow.metadata or {}).get(b"pandas", b"{}"))
    index = [name for name in pandas.get("index_columns", ()) if isinstance(name, str) and name in stored]
    if index and reading.index != "keep":
        fields = {name: field for name, field in zip(names, stored, strict=True) if field not in index}
        numbers = _column(path, file, index[0])
        counted = len(index) == 1 and pa.types.is_integer(numbers.type) and not numbers.null_count
        note = f"the pandas index {some(index)} is left out; {option('index', 'keep')} makes it a column"
        return Parquet(file, fields, rows, (note,), np.asarray(numbers, np.int64)[rows - 1] if counted else None)

    def texts(position: int) -> Any:
        column = _column(path, file, stored[position])
        return pa.nulls(count, pa.large_string()) if _unusable(column.type) else _values_as_text(column)

    kept, counted_from, notes = name_columns(path, names, texts, reading.index)
    fields = dict(zip(kept, stored[len(stored) - len(kept) :], strict=True))
    return Parquet(file, fields, rows, tuple(notes), None if counted_from is None else counted_from[rows - 1])


def parse_parquet(path: Path, source: Parquet, wanted: Sequence[str], labels: Collection[str]) -> Parsed:
    """Turn the wanted columns into what a frame holds.

    Raises
    ------
    DataError
        If a column's type is neither a number nor true/false nor text.
    """
    schema = source.file.schema_arrow
    types = {name: schema.field(source.fields[name]).type for name in wanted}
    refused = {name: found for name, kind in types.items() if (found := _unusable(kind)) is not None}
    if refused:
        found = ", ".join(f"column {name!r} holds {what} ({types[name]})" for name, what in refused.items())
        advice = "make it a number, such as hours since the start" if "times" in refused.values() else "split it up"
        raise DataError(
            f"{path}: {found}; expected numbers, true/false or text",
            f"leave out what is not a variable ({option('leave_out', list(refused))}), or {advice}",
        )
    result = Parsed()
    for name in wanted:
        column = _column(path, source.file, source.fields[name]).take(source.rows - 1)
        result.columns[name] = as_text(_values_as_text(column)) if name in labels else _values(column)
    source.file.close()
    return result


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: this parquet file can't be read: {str(error).splitlines()[0]}", "it may be cut off or damaged"
    )


def _column(path: Path, file: Any, name: str) -> Any:
    """Return a column as one array of its values, with no dictionary between."""
    import pyarrow as pa

    try:
        column = file.read(columns=[name]).column(name).combine_chunks()
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from None
    while pa.types.is_dictionary(column.type) or hasattr(column, "storage"):
        column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column.storage
    return column


def _unusable(kind: Any) -> str | None:
    """Say what a type holds that is no number, no truth value and no text."""
    from pyarrow import types

    tests: dict[str, Callable[[Any], bool]] = {
        "times": types.is_temporal,
        "lists": lambda t: types.is_list(t) or types.is_large_list(t) or types.is_fixed_size_list(t),
        "records": types.is_struct,
        "mappings": types.is_map,
        "bytes": lambda t: types.is_binary(t) or types.is_large_binary(t) or types.is_fixed_size_binary(t),
    }
    kind = _plain(kind)
    for found, test in tests.items():
        if test(kind):
            return found
    known = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, _is_text, types.is_null)
    return None if any(test(kind) for test in known) else "values of an unknown kind"


def _plain(kind: Any) -> Any:
    """Return the type of the values behind a dictionary or an extension."""
    from pyarrow import types

    while types.is_dictionary(kind) or hasattr(kind, "storage_type"):
        kind = kind.value_type if types.is_dictionary(kind) else kind.storage_type
    return kind


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _values_as_text(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.cast(column, pa.large_string())


def _values(column: Any) -> Any:
    """Return exact integers, floats, truth values or text; floats with NaN where some are missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if _is_text(kind):
        return as_text(column)
    if pa.types.is_boolean(kind):
        if not column.null_count:
            return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.bool_)
        column = pc.cast(column, pa.int8())
    elif pa.types.is_decimal(kind):
        # By way of text, since only that conversion rounds to the nearest float.
        column = _values_as_text(column)
    elif pa.types.is_integer(kind) and not column.null_count:
        numbers = column.to_numpy(zero_copy_only=False)
        return numbers if numbers.max() > np.iinfo(np.int64).max else numbers.astype(np.int64)
    return pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
