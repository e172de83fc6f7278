"""Tables too large to lie in memory: a sample of their rows for all that looks at rows, and the rest in blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.context import Context
from invdesign_core.data.files.arrow import decoded, plain_type
from invdesign_core.data.files.contents import KINDS, PARQUET
from invdesign_core.data.files.options import DESIGN, LoadedTable, Reading
from invdesign_core.data.files.parquet import damage_named, open_parquet
from invdesign_core.data.patterns import matches
from invdesign_core.errors import InvdesignError
from invdesign_core.space.arrays import FloatArray, IndexArray

if TYPE_CHECKING:
    import pandas as pd

LARGE = 64_000_000
"""Values from which on a table stays on disk: they take half a gigabyte, and what is made of them several times so."""
SAMPLE = 20_000
"""Rows that are drawn from it."""
BLOCK = 65_536
"""Rows that are read at once."""
EXACT = 2**53
"""The largest whole number up to which a float tells all apart."""


@dataclass(frozen=True)
class LargeTable:
    """A parquet file of numbers, of which every cell was looked at once.

    Attributes
    ----------
    path : Path
        The file.
    fields : mapping
        Its columns of numbers by name, as they are called in the file.
    count : int
        Its rows.
    sampled : ndarray of int
        (k,) the numbers, from 1, of the rows that are in memory.
    digest : str
        Of all cells.
    """

    path: Path
    fields: Mapping[str, str]
    count: int
    sampled: IndexArray
    digest: str

    def blocks(self) -> Iterator[pd.DataFrame]:
        """Return all rows in their order, some at a time."""
        import pandas as pd

        with damage_named(self.path):
            for columns in _blocks(self.path, self.fields):
                yield pd.DataFrame(columns)

    @property
    def words(self) -> str:
        """Say what is made of its rows."""
        return (
            f"the table has {self.count} rows, which stay on disk: networks learn from all of them; ranges are those "
            "of all; scaling, the rows for validation and testing, start points, distances to the data and the rows "
            f"that meet a target already are of {len(self.sampled)} rows drawn at random"
        )


def read_large(
    path: Path, reading: Reading, columns: Collection[str] | None, ctx: Context
) -> tuple[LoadedTable, LargeTable] | None:
    """Read a sample of a table that is too large to lie in memory; None for any other, which `load_table` reads.

    Only parquet files of numbers without gaps are read so.

    Parameters
    ----------
    path : Path
        The file; it is only read.
    reading : Reading
        What the user says about it.
    columns : collection of str, optional
        The columns that are needed, as `load_table` takes them.
    ctx : Context
        The random stream that the sample is drawn from.

    Returns
    -------
    tuple of LoadedTable and LargeTable, or None
        The sample, with the first row of each column's smallest and largest value among its rows, and the whole.
    """
    if KINDS.get(path.suffix.lower()) != PARQUET or not path.is_file() or reading.labels or reading.skip_rows:
        return None
    try:
        return _read_large(path, reading, columns, ctx)
    except (InvdesignError, MemoryError):
        raise
    except Exception:  # whatever a damaged file makes the libraries raise, `load_table` names
        return None


def _read_large(
    path: Path, reading: Reading, columns: Collection[str] | None, ctx: Context
) -> tuple[LoadedTable, LargeTable] | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = pq.ParquetFile(path)
    count, kinds = about.metadata.num_rows, about.schema_arrow
    if count * len(kinds) < LARGE:
        return None
    source = open_parquet(path, reading, columns is not None)
    left_out = {column for name in reading.leave_out for column in matches(name, source.names)}
    fields = {
        name: field
        for name, field in source.fields.items()
        if name not in left_out and (columns is None or name in columns)
    }
    numbers = all(
        (pa.types.is_integer(kind) and kind != pa.uint64()) or pa.types.is_floating(kind)
        for kind in (plain_type(kinds.field(field).type) for field in fields.values())
    )
    plain = not any(name.startswith(DESIGN) for name in fields) and (columns is None or set(columns) <= set(fields))
    if not numbers or not plain or count * len(fields) < LARGE or source.index is not None:
        return None
    return _sampled(path, fields, count, source.names, source.notes, ctx)


def _sampled(
    path: Path, fields: Mapping[str, str], count: int, names: tuple[str, ...], notes: Any, ctx: Context
) -> tuple[LoadedTable, LargeTable] | None:
    """Look at every cell, and keep a sample of the rows and those with the ends of each column."""
    import pandas as pd

    drawn = np.sort(ctx.rng("sample of a large table").choice(count, min(SAMPLE, count), replace=False))
    content, first, kept = hashlib.sha256(), 0, list[tuple[IndexArray, pd.DataFrame]]()
    ends: dict[tuple[str, str], tuple[float, int, pd.DataFrame]] = {}
    for columns in _blocks(path, fields):
        block = pd.DataFrame(columns)
        for name, values in columns.items():
            if not np.isfinite(values).all() or (values.dtype.kind != "f" and (np.abs(values) > EXACT).any()):
                return None  # read as a whole, it is told where that stands
            content.update(np.ascontiguousarray(values).tobytes())
            marks = {"low": -values, "high": values, "fraction": (values != np.rint(values)).astype(np.float64)}
            for what, mark in marks.items():
                at = int(np.argmax(mark))
                if (name, what) not in ends or mark[at] > ends[name, what][0]:
                    ends[name, what] = (float(mark[at]), first + at, block.iloc[[at]])
        mine = drawn[np.searchsorted(drawn, first) : np.searchsorted(drawn, first + len(block))]
        kept.append((mine, block.iloc[mine - first]))
        first += len(block)
    if first != count:
        return None
    kept += [(np.array([number]), one) for _, number, one in ends.values()]
    numbers, places = np.unique(np.concatenate([mine for mine, _ in kept]), return_index=True)
    frame: pd.DataFrame = pd.concat([part for _, part in kept], ignore_index=True).take(places).reset_index(drop=True)
    large = LargeTable(path, fields, count, numbers + 1, content.hexdigest()[:16])
    understood = f"parquet, {count} rows, {len(names)} columns"
    return LoadedTable(frame=frame, names=names, understood=(understood,), notes=tuple(notes), rows=numbers + 1), large


def _blocks(path: Path, fields: Mapping[str, str]) -> Iterator[dict[str, NDArray[Any]]]:
    """Return the columns of a file, some rows at a time: whole numbers as they are, others in float64."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        for batch in file.iter_batches(BLOCK, columns=list(fields.values()), use_threads=False):
            columns = {name: decoded(batch.column(batch.schema.get_field_index(f))) for name, f in fields.items()}
            yield {
                name: column.to_numpy(zero_copy_only=False).astype(
                    np.int64 if pa.types.is_integer(column.type) and not column.null_count else np.float64
                )
                for name, column in columns.items()
            }
    pa.default_memory_pool().release_unused()


def mixed(x: FloatArray) -> NDArray[np.uint64]:
    """Return (n,) numbers that are the same for equal (n, e) rows, and as good as never for others."""
    odd = np.random.default_rng(0).integers(1, 2**62, size=x.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    bits = np.ascontiguousarray(x + 0.0).view(np.uint64)  # 0 and -0 are equal
    with np.errstate(over="ignore"):
        bits = (bits ^ (bits >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        return np.asarray(((bits ^ (bits >> np.uint64(32))) * odd).sum(axis=1, dtype=np.uint64))
