"""Tables that are written for others to read: csv, parquet or xlsx, by the file's ending, piece by piece."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.data.files.atomic import atomic_write
from invdesign_core.data.files.guards import guarded_table
from invdesign_core.errors import ConfigError, RunStoreError

if TYPE_CHECKING:
    import pandas as pd

ENDINGS = (".csv", ".parquet", ".xlsx")
"""What can be written; each can be read back by every command that takes a table."""
SHEET = (1_048_576, 16_384)
"""Rows and columns that a sheet of Excel holds at most."""


def check_ending(path: Path) -> None:
    """Refuse, before any work, a file of another ending than `ENDINGS`, or one whose writer is not installed."""
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise ConfigError(f"{path}: found the ending {path.suffix!r}, expected .csv, .parquet or .xlsx")
    if ending == ".xlsx":
        _openpyxl(path)


def of_one_type_each(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which columns that hold text and others are text: files know one type a column."""
    from pandas.api.types import infer_dtype

    mixed = [
        name
        for name, column in table.items()
        if column.dtype == object and infer_dtype(column, skipna=True) in ("mixed", "mixed-integer")
    ]
    return table.assign(**{str(name): table[name].map(str, na_action="ignore") for name in mixed})


def for_csv(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as its CSV has it, in which a spreadsheet finds no formulas; `load_table` reads the table back."""
    return guarded_table(of_one_type_each(table))


def check_new(path: Path) -> None:
    """Refuse, before any work, a file that is there already, or of an ending that can't be written."""
    check_ending(path)
    if path.exists():
        raise RunStoreError(f"{path}: the file already exists", "choose another --out, or delete it")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table into a file that isn't there yet."""
    check_new(path)
    write_pieces(path, [table], "choose another --out")


def write_pieces(path: Path, pieces: Iterable[pd.DataFrame], hint: str) -> None:
    """Write the pieces of a table one below the other; all have the columns of the first."""
    write = _write_sheet if path.suffix.lower() == ".xlsx" else _write_arrow
    with atomic_write(path, hint) as partial:
        write(path, partial, pieces)


def _write_arrow(path: Path, partial: Path, pieces: Iterable[pd.DataFrame]) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    kind = pq.ParquetWriter if path.suffix.lower() == ".parquet" else pa.csv.CSVWriter
    written = (of_one_type_each(piece) if kind is pq.ParquetWriter else for_csv(piece) for piece in pieces)
    tables = (pa.Table.from_pandas(piece, preserve_index=False) for piece in written)
    first = next(tables)
    with kind(partial, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table.cast(first.schema))


def _write_sheet(path: Path, partial: Path, pieces: Iterable[pd.DataFrame]) -> None:
    book = _openpyxl(path).Workbook(write_only=True)
    sheet = book.create_sheet("designs")
    rows, columns = 1, None
    try:
        for piece in pieces:
            if columns is None:
                columns = list(piece.columns)
                sheet.append([_text(sheet, path, str(name)) for name in columns])
            rows += len(piece)
            if rows > SHEET[0] or len(columns) > SHEET[1]:
                raise RunStoreError(
                    f"{path}: a sheet of Excel holds {SHEET[0]} rows and {SHEET[1]} columns, and this table has more",
                    "repeat the command with an --out that ends in .parquet or .csv; finished targets are kept",
                )
            for row in piece[columns].itertuples(index=False, name=None):
                sheet.append([_cell(sheet, path, value) for value in row])
    except BaseException:
        sheet.close()  # else openpyxl complains when the sheet is collected
        raise
    book.save(partial)


def _cell(sheet: Any, path: Path, value: Any) -> Any:
    """Return a value as a cell holds it: None for what is missing, text for what Excel has no number for."""
    import pandas as pd

    if isinstance(value, np.generic):
        value = value.item()
    if pd.isna(value):
        return None
    if isinstance(value, float) and np.isinf(value):
        value = "inf" if value > 0 else "-inf"
    return _text(sheet, path, value) if isinstance(value, str) else value


def _text(sheet: Any, path: Path, value: str) -> Any:
    """Return a cell of text, also where the text begins like a formula."""
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.utils.exceptions import IllegalCharacterError

    try:
        cell = WriteOnlyCell(sheet, value)
    except IllegalCharacterError:
        raise RunStoreError(
            f"{path}: {value!r} holds a character that Excel can't", "choose an --out that ends in .parquet or .csv"
        ) from None
    cell.data_type = "s"
    return cell


def _openpyxl(path: Path) -> Any:
    try:
        import openpyxl
    except ImportError:
        raise ConfigError(
            f"{path}: writing Excel files needs the package openpyxl, which is not installed",
            "pip install 'invdesign[excel]', or choose an --out that ends in .csv or .parquet",
        ) from None
    return openpyxl
