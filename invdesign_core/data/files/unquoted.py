"""Text files without quotation marks, where each line is a row: split by Arrow, several times faster."""

from __future__ import annotations

from typing import Any


def split_lines(text: str, separator: str, header: int, width: int) -> list[Any] | None:
    """Return the columns below the header, or None where some line isn't a row of `width` values.

    Parameters
    ----------
    text : str
        The file.
    separator : str
        What stands between values.
    header : int
        The line of the header, from 1.
    width : int
        The number of columns, two or more.

    Returns
    -------
    list of pyarrow.Array or None
        For each column (n,) texts, value i from line ``header + 1 + i``; exactly what the csv module gives but for
        spaces at the beginning. None leaves it to that module to say what is wrong.
    """
    import pyarrow as pa
    from pyarrow import csv

    if '"' in text or width < 2 or separator == " " or not separator.isascii():
        return None
    names = [str(i) for i in range(width)]
    data = pa.py_buffer(text.rstrip("\r\n").encode())
    try:
        table = csv.read_csv(
            data,
            csv.ReadOptions(column_names=names, skip_rows=header),
            csv.ParseOptions(delimiter=separator, quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        return None
    return [column.combine_chunks() for column in table.columns]
