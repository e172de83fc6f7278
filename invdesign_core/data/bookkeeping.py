"""Columns that describe the rows of a table and no design: row numbers, run orders, blocks, dates, constants.

What the values are decides. A usual name, such as ``RunOrder``, only settles what the values leave open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from invdesign_core.data.columns import is_constant
from invdesign_core.data.files.messages import option
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.digits import given
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.data.data import Data

LeaveOut = Callable[[Sequence[str]], str]
"""From columns to the words that leave them out, which differ between an experiment file and Python."""
SERIAL = 8
"""Rows, or numbers in a block, from which whole numbers without a gap are serial numbers."""
NAMED = 4
"""The same where the column is named like one."""
NUMBERS = re.compile(
    r"(run|row|sample|specimen|test|trial|exp|expt|experiment|case|sim|simulation|eval|evaluation|design|point|obs|"
    r"observation|record|entry|std|standard|serial|sequence|seq|lfd|versuchs?|proben?)(id|no|nr|num|number|order|index|#)?"
    r"|id|no|nr|num|number|idx|ix|index|order|iter|iteration|tag|dp|key|nummer|#|№"
)
"""Usual names of columns that number the rows, without spaces, signs and capitals."""
BLOCKS = {
    "tells blocks of runs apart": re.compile(r"blocks?|blk|blocking"),
    "tells types of points apart": re.compile(r"pttype|pointtype|centerpt|centrept|centerpoint|centrepoint"),
    "counts repeats": re.compile(r"replicates?|replication|reps?|repeats?|repetition|wiederholung"),
}
"""What a column of few whole numbers is, by its usual names."""
LEVEL = r"(?i)([a-z]+[ _-]?)?\d{1,3}|([a-z]+[ _-])?([a-z]|[ivx]+)"
"""How the blocks of a design are called: ``2``, ``B``, ``Block 2``, ``IV``."""
DATES = re.compile(r"date|datum|timestamp|datetime|(start|end|created|measured)(date|time|on|at)")
"""Usual names of columns with dates."""
CLOCK = r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp]\.?[Mm]\.?)?"
MONTH = r"(?i:jan|feb|mar|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)[a-zä]*\.?"
MOMENT = re.compile(
    rf"(\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.](\d{{2}}|\d{{4}})"
    rf"|\d{{1,2}}[-. ]+{MONTH}[-., ]+\d{{2,4}}|{MONTH} \d{{1,2}},? \d{{4}})"
    rf"([T, ]+{CLOCK}( ?(Z|UTC|[+-]\d{{2}}:?\d{{2}}))?)?|{CLOCK}"
)
"""A date, a date and a time, or a time."""


def described_rows(data: Data) -> dict[str, str]:
    """Return the inputs that look as if they describe rows instead of designs, each with what it does.

    Where nothing else would be left to choose, these are only the constants.
    """
    numbers = set(row_numbers(data.x, data.space))
    constant, found = dict[str, str](), dict[str, str]()
    for variable in data.space.variables:
        name, column = variable.name, data.frame[variable.name]
        if what := _constant(column):
            constant[name] = what
        elif name in numbers:
            found[name] = _range(column)
        elif what := _named(column, _plain(name)) or _texts(variable, len(column)):
            found[name] = what
    both = constant | found if len(constant) + len(found) < len(data.space.names) else constant
    return {name: both[name] for name in data.space.names if name in both}


def row_numbers(x: FloatArray, space: Space) -> list[str]:
    """Return the numeric inputs that number (n, e) rows, unless nothing else varies.

    They are whole numbers: 0 or 1 and those that follow in any order, or numbers that grow by one from row to row.
    Where the name is one that such columns usually have, numbers may be missing, or begin again in each block. Beside a
    column of blocks they may begin again in each of these whatever their name is.
    """
    varying = [
        (v.name, x[:, columns])
        for v, columns in zip(space.variables, space.slices, strict=True)
        if not is_constant(*_ends(x[:, columns])).all()
    ]
    numeric = {name: values[:, 0] for name, values in varying if values.shape[1] == 1}
    blocks = [v for name, v in numeric.items() if any(names.fullmatch(_plain(name)) for names in BLOCKS.values())]
    found = [
        name
        for name, values in numeric.items()
        if _count(values, _plain(name)) or any(_counts_in(values, block) for block in blocks)
    ]
    return found if len(found) < len(varying) else []


def leave_out_line(names: Sequence[str]) -> str:
    """Return the line of an experiment file that leaves columns out."""
    return option("leave_out", list(names))


def sentence(found: Mapping[str, str], leave_out: LeaveOut = leave_out_line) -> str:
    """Say in one sentence what `described_rows` found, and how all of it is left out."""
    return f"probably no design variables: {reasons(found)}; {leave_out(list(found))}"


def reasons(found: Mapping[str, str]) -> str:
    """Say what the columns that `described_rows` found do, those that do the same together."""
    alike: dict[str, list[str]] = {}
    for name, what in found.items():
        alike.setdefault(what, []).append(name)
    return "; ".join(_said(names, what) for what, names in alike.items())


def _said(names: Sequence[str], what: str) -> str:
    """Put a verb in the singular behind one or several names."""
    quoted = [repr(name) for name in names]
    if len(names) == 1:
        return f"{quoted[0]} {what}"
    verb, _, rest = what.partition(" ")
    several = {"is": "are", "tells": "tell", "holds": "hold", "numbers": "number", "counts": "count"}[verb]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]} {several} {rest}"


def _count(values: FloatArray, name: str) -> bool:
    """Say whether (n,) numbers number rows."""
    count, steps = len(values), np.diff(values)
    usual = bool(NUMBERS.fullmatch(name))
    if count < (NAMED if usual else SERIAL) or not (values == np.round(values)).all():
        return False
    ordered = np.sort(values)
    first, distinct = ordered[0], bool((np.diff(ordered) > 0).all())
    if distinct and ordered[-1] - first == count - 1 and (first in (0, 1) or (steps == 1).all()):
        return True
    if not usual:
        return False
    if distinct and ((steps > 0).all() or ordered[-1] - first < 2 * count):
        return True
    begins = values[0] == first and first in (0, 1) and ordered[-1] - first + 1 >= SERIAL
    return bool(begins and (((steps == 0) | (steps == 1)).all() or (steps[values[1:] != first] == 1).all()))


def _counts_in(values: FloatArray, block: FloatArray) -> bool:
    """Say whether (n,) numbers are those from 0 or 1 on in each of several blocks, in any order."""
    parts = [np.sort(values[block == one]) for one in np.unique(block)]
    counted = all((part - part[0] == np.arange(len(part))).all() and part[0] in (0, 1) for part in parts)
    return counted and len(parts) > 1 and len(values) >= NAMED * len(parts)


def _range(column: pd.Series) -> str:
    """Say from where to where a column numbers rows, or what else it counts."""
    what = "numbers the rows" if column.is_unique else "numbers groups or blocks of rows"
    return f"{what}, {int(column.min())} to {int(column.max())}"


def _constant(column: pd.Series) -> str | None:
    numeric = column.dtype.kind in "fiu"
    if column.nunique() == 1 or (numeric and is_constant(*_ends(column.to_numpy(dtype=np.float64)))):
        return f"is the same in every row ({given(float(column.iloc[0]), 0) if numeric else column.iloc[0]})"
    return None


def _named(column: pd.Series, plain: str) -> str | None:
    """Say what a column is whose name tells and whose values agree."""
    if not (DATES.fullmatch(plain) or any(names.fullmatch(plain) for names in BLOCKS.values())):
        return None
    levels = column.unique()
    if column.dtype.kind in "iuf":
        values = np.sort(levels.astype(np.float64))
        if not (values == np.round(values)).all():
            return None
        low, high = values[0], values[-1]
        if DATES.fullmatch(plain) and (_calendar(values) or low >= 1e8 or (low >= 20000 and high <= 80000)):
            return "holds dates or times"
        without_gap = bool((np.diff(values) <= 1 + (plain.startswith(("pt", "point")))).all())
        if not (without_gap and -1 <= low <= 1 and len(values) <= len(column) / 2):
            return None
    elif not all(re.fullmatch(LEVEL, str(level)) for level in levels) or len(levels) > len(column) / 2:
        return None
    return next((what for what, names in BLOCKS.items() if names.fullmatch(plain)), None)


def _texts(variable: Variable, count: int) -> str | None:
    """Say of a column of texts in `count` rows that it holds dates, or too many different texts to choose from."""
    if variable.kind != "categorical" or not all(isinstance(level, str) for level in variable.levels):
        return None
    levels = variable.levels
    if all(MOMENT.fullmatch(level.strip()) for level in levels):
        return "holds dates or times"
    usual = NUMBERS.fullmatch(_plain(variable.name)) and count >= NAMED and len(levels) == count
    if usual or len(levels) > max(10, count / 2):
        return f"holds {len(levels)} different texts in {count} rows"
    return None


def _calendar(values: FloatArray) -> bool:
    """Say whether all whole numbers are dates such as 20240131."""
    year, month, day = values // 10000, values // 100 % 100, values % 100
    return bool(((year >= 1900) & (year <= 2100) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all())


def _plain(name: str) -> str:
    return re.sub(r"[^\w#№]+|_", "", name.lower())


def _ends(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    return values.min(axis=0), values.max(axis=0)
