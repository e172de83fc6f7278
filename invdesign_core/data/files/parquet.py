"""Parquet files: each column by the type that the file declares, not by what a conversion makes of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.files.arrow import as_text, decoded, plain_type, unusable, values_of
from invdesign_core.data.files.grid import Nameless, clean_name, kept_rows, name_columns, refuse_twice
from invdesign_core.data.files.messages import option, some
from invdesign_core.data.files.numbers import Parsed
from invdesign_core.data.files.options import Reading
from invdesign_core.data.files.unpacked import RATIO, too_large
from invdesign_core.errors import DataError, InvdesignError

MANY = 10_000_000
"""Rows from which on a file has to hold as many as it says."""


LARGE = 2**29
"""Bytes that the values of any file may take; beyond, they may be so many times its size as those of other files."""


@dataclass(frozen=True)
class Parquet:
    """An open parquet file of n rows."""

    path: Path
    file: Any
    fields: Mapping[str, str]
    """Its columns but for those that number the rows: the name without spaces around it, and as it is stored."""
    rows: NDArray[np.intp]
    """(n,) the numbers of its rows, from 1, but for those that are skipped."""
    notes: Sequence[str] = ()
    index: NDArray[np.int64] | None = None
    """(n,) the row numbers that are left out."""
    lines: None = None
    line: str = "row"
    understood: tuple[str, ...] = ("parquet",)

    @property
    def refused(self) -> Sequence[str]:
        """The columns whose values are no numbers, truth values or texts."""
        with damage_named(self.path):
            schema = self.file.schema_arrow
            return [name for name, field in self.fields.items() if unusable(plain_type(schema.field(field).type))]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.fields)


def open_parquet(path: Path, reading: Reading, some_only: bool = False) -> Parquet:
    """Open a file and leave out its index: the one that pandas stores, or first columns without a name."""
    with damage_named(path):
        return _opened(path, reading, some_only)


def _opened(path: Path, reading: Reading, some_only: bool) -> Parquet:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    stored, count = tuple(file.schema_arrow.names), int(file.metadata.num_rows)
    if not count:
        raise DataError(f"{path}: found column names and no rows: {some(stored)}", "is this the right file?")
    decoded_size, size = 8 * count * len(stored), path.stat().st_size
    if decoded_size > max(LARGE, RATIO * size):
        raise too_large(path, size, decoded_size)
    if count > MANY:  # numbers of rows take memory, however few there are in truth
        _column(path, file, stored[0])
    names = [clean_name(name) for name in stored]
    refuse_twice(path, names)
    rows = kept_rows(path, count, reading.skip_rows)
    pandas = json.loads((file.schema_arrow.metadata or {}).get(b"pandas", b"{}"))
    index = [name for name in pandas.get("index_columns", ()) if isinstance(name, str) and name in stored]
    if index and reading.index != "keep":
        fields = {name: field for name, field in zip(names, stored, strict=True) if field not in index}
        column = _column(path, file, index[0])
        counted = len(index) == 1 and pa.types.is_integer(column.type) and not column.null_count
        note = f"the pandas index {some(index)} is left out; {option('index', 'keep')} makes it a column"
        return Parquet(path, file, fields, rows, (note,), np.asarray(column, np.int64)[rows - 1] if counted else None)

    def texts(position: int) -> Any:
        column = _column(path, file, stored[position])
        return pa.nulls(count, pa.large_string()) if unusable(column.type) else column.cast(pa.large_string())

    kept, at, numbers, notes = name_columns(path, names, texts, Nameless(reading.index, some_only, reading.leave_out))
    fields = {name: stored[i] for name, i in zip(kept, at, strict=True)}
    return Parquet(path, file, fields, rows, notes, None if numbers is None else numbers[rows - 1])


def parse_parquet(source: Parquet, wanted: Sequence[str], labels: Collection[str]) -> Parsed:
    """Turn the wanted columns into what a frame holds; refuse types that are no number, true/false or text."""
    with damage_named(source.path):
        return _parsed(source, wanted, labels)


def _parsed(source: Parquet, wanted: Sequence[str], labels: Collection[str]) -> Parsed:
    import pyarrow as pa

    columns = {name: _column(source.path, source.file, source.fields[name]) for name in wanted}
    source.file.close()
    refused = {
        name: what
        for name, column in columns.items()
        if (what := unusable(column.type)) and not (what == "times" and name in labels)
    }
    if refused:
        found = ", ".join(f"column {name!r} holds {what} ({columns[name].type})" for name, what in refused.items())
        advice = "make it a number, such as hours since the start" if "times" in refused.values() else "split it up"
        raise DataError(
            f"{source.path}: {found}; expected numbers, true/false or text",
            f"leave out what is not a variable ({option('leave_out', list(refused))}), or {advice}",
        )
    result = Parsed()
    for name, column in columns.items():
        column = column.take(source.rows - 1)
        result.columns[name] = as_text(column.cast(pa.large_string())) if name in labels else values_of(column)
        if pa.types.is_boolean(column.type) and column.null_count and name not in labels:
            result.gapped.append(name)
    return result


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes the libraries raise into an error that names it."""
    try:
        yield
    except (InvdesignError, MemoryError):
        raise
    except Exception as error:
        said = str(error).splitlines()
        raise _damaged(path, said[0] if said else type(error).__name__) from None


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path}: this parquet file can't be read: {why}", "it may be cut off or damaged")


def _column(path: Path, file: Any, name: str) -> Any:
    """Return a column as one array of its values, with no dictionary between."""
    column = file.read(columns=[name]).column(name)
    if len(column) != file.metadata.num_rows:
        raise _damaged(path, f"column {name!r} has {len(column)} values, and the file {file.metadata.num_rows} rows")
    column.validate(full=True)
    return decoded(column)
