"""Text that a spreadsheet would take for a formula: in CSV files ' stands before it, but not once read.

A spreadsheet computes what begins with ``=``, ``+``, ``-`` or ``@``, whoever wrote it, and a formula can start a
program or call a server. Text with ' before it stays text there, and what is read here is what was written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

GUARD = "'"
_SIGNS = "[=+\\-@\\t\\r＝＋－＠]"
"""What a formula begins with; programs of some countries take wide signs, too, and leave out a tab before them."""
_FORMULA = re.compile(rf"{_SIGNS}(?=.*\w)", re.S)
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?%?", re.I)


def guarded(text: str) -> str:
    """Return a text as it is written: with ' before a formula, and one more before such a text that begins with '.

    Examples
    --------
    >>> guarded("=1+1"), guarded("-OH"), guarded("-5"), guarded("-")
    ("'=1+1", "'-OH", '-5', '-')
    """
    return GUARD + text if _is_formula(text.lstrip(GUARD)) else text


def unguarded(text: str) -> str:
    """Return the text that `guarded` was given."""
    return text[1:] if text.startswith(GUARD) and _is_formula(text.lstrip(GUARD)) else text


def guarded_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose names and texts are as they are written; numbers stay."""
    import pandas as pd

    new: dict[int, Any] = {}
    for i in range(table.shape[1]):
        column = table.iloc[:, i]
        if pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
            continue
        changed = {text: guarded(text) for text in column.unique() if isinstance(text, str)}
        if any(text != found for text, found in changed.items()):
            new[i] = column.astype(object).map(lambda value, changed=changed: changed.get(value, value))
    names = [guarded(str(name)) for name in table.columns]
    if new:
        table = pd.concat([new.get(i, table.iloc[:, i]) for i in range(table.shape[1])], axis=1)
    return table.set_axis(names, axis=1)


def unguarded_cells(column: pa.Array) -> pa.Array:
    """Return a column of texts as they were given to be written."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.any(pc.match_substring_regex(column, f"^'+{_SIGNS}")).as_py():
        return column
    different = column.dictionary_encode()
    texts = [None if text is None else unguarded(text) for text in different.dictionary.to_pylist()]
    return pa.array(texts, column.type).take(different.indices)


def _is_formula(text: str) -> bool:
    return bool(_FORMULA.match(text)) and not _NUMBER.fullmatch(text)
