"""Table files: CSV and parquet, read the same way wherever a table is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from invdesign_core.errors import DataError, near_match

if TYPE_CHECKING:
    import pandas as pd

READERS = (".csv", ".parquet", ".pq", ".txt", ".tsv")
"""Endings of the files that can be read."""


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV or parquet file, with spaces around names and values left out.

    Raises
    ------
    DataError
        If the file is missing, of another kind, or can't be read.
    """
    import pandas as pd

    if not path.exists():
        near = near_match(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else None
        raise DataError(f"{path}: there is no such file", near)
    if path.suffix.lower() not in READERS:
        raise DataError(f"{path}: found a {path.suffix or 'nameless'} file, expected .csv or .parquet")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(
                path,
                index_col=False,
                skipinitialspace=True,
                float_precision="round_trip",
                encoding="utf-8-sig",
                sep="\t" if path.suffix.lower() == ".tsv" else ",",
            )
    except (ValueError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: can't be read as a table: {str(error).splitlines()[0]}") from None
    frame.columns = [str(name).strip() for name in frame.columns]
    return frame
