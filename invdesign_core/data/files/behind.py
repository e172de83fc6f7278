"""Numbers with something before or behind them: units, Fortran's exponents, limits of detection."""

from __future__ import annotations

import numpy as np

from invdesign_core.data.files.grid import Grid
from invdesign_core.data.files.messages import option, shown
from invdesign_core.data.files.number_text import (
    ABOUT,
    BEHIND,
    BELOW,
    CODE,
    COMPLEX,
    DATE,
    FORTRAN,
    LIMIT_WORD,
    LOST,
    PAIR,
    POWERED,
    REAL_AND_IMAGINARY,
    Mask,
    Texts,
    among,
    first,
    matches,
)
from invdesign_core.data.files.options import Reading
from invdesign_core.data.files.units import unit_of
from invdesign_core.errors import DataError, plural

SHARES = {"limit": 1.0, "half": 0.5, "zero": 0.0, "missing": np.nan}
"""What stands for a value below a limit, as a share of the limit."""
DIFFERENT = 10
"""More different texts than this, and in more than half of the rows, are no labels if they look like numbers."""

OF_A_TARGET = ("weight", "tolerance")
"""What stands behind the number of a target, and is no unit."""


def bare(grid: Grid, column: Texts, reading: Reading) -> tuple[Texts, str | None, list[str]]:
    """Return a column without what stands around its numbers, the unit that does, and what to say of it."""
    if column.pointed or (column.numeric | column.words | ~column.present).all():
        return column, None, []
    column, said = _limits(column, reading)
    column, more = _fortran(column)
    said += more
    if column.numeric.any():  # some have no unit: refused by cell
        return column, None, said
    unit = _common_unit(grid, column, reading)
    if unit is None or unit.strip().startswith(OF_A_TARGET):
        return column, None, said
    import pyarrow.compute as pc

    digits = pc.struct_field(column.extract(BEHIND), "digits")
    digits = pc.if_else(pc.or_(pc.is_valid(digits), pc.is_null(column.column)), digits, column.column)
    said.append(f"{unit!r} at the numbers of {column.name!r} is their unit")
    return Texts(column.name, digits, column.missing, column.factors), unit_of(unit) or unit, said


def _limits(column: Texts, reading: Reading) -> tuple[Texts, list[str]]:
    """Let values below a limit be what the user says."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = column.match(BELOW) & ~column.words
    if reading.below_limit is None or not found.any():
        return column, []
    rest = pc.struct_field(column.extract(BELOW), "rest")
    if reading.below_limit == "missing":
        rest = pa.nulls(len(column.column), pa.large_string())
    texts = pc.if_else(pa.array(found), rest, column.column)
    factors = np.where(found, SHARES[reading.below_limit], 1.0)
    said = f"{plural(int(found.sum()), 'value')} of {column.name!r} below a limit: {reading.below_limit}"
    return Texts(column.name, texts, column.missing, None if reading.below_limit == "missing" else factors), [said]


def _fortran(column: Texts) -> tuple[Texts, list[str]]:
    """Write Fortran's exponents as everybody else does."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lettered, lost = column.match(FORTRAN), column.match(LOST)
    found = lettered | lost
    if not found.any() or not (column.numeric | found | column.words | ~column.present | _unread(column)).all():
        return column, []
    if not column.match(POWERED).any():  # 0.5-100 may as well be a range
        return column, []
    texts = pc.replace_substring_regex(column.plain, r"^([^dD]*)[dD]([+-]?\d+)$", r"\1e\2")
    texts = pc.if_else(pa.array(lost), pc.replace_substring_regex(texts, r"([+-]\d{3})$", r"e\1"), texts)
    texts = pc.if_else(pa.array(found), texts, column.column)
    said = f"{shown(column.text(int(np.argmax(found))))} in {column.name!r} has Fortran's exponent"
    return Texts(column.name, texts, column.missing, column.factors), [said]


def _common_unit(grid: Grid, column: Texts, reading: Reading) -> str | None:
    """Return what stands around each number of a column; refuse several of them, and codes that may be meant."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = column.present & ~column.words & ~_unread(column)
    parts = column.extract(BEHIND)
    found = np.asarray(parts.is_valid()) & values & ~column.match(DATE)
    if not found.any() or int(found.sum()) * 2 <= int(values.sum()):
        return None
    around = pc.binary_join_element_wise(
        pc.struct_field(parts, "before"), pc.struct_field(parts, "unit"), pa.scalar("", pa.large_string())
    )
    kept = around.filter(pa.array(found))
    counts = sorted(pc.value_counts(kept).to_pylist(), key=lambda item: -item["counts"])
    unit = str(counts[0]["values"])
    at = (
        first(values & ~found)
        if len(counts) == 1
        else first(found & ~np.asarray(pc.equal(around, unit).fill_null(False)))
    )
    known = unit_of(unit) is not None
    sure = column.name in reading.numbers or bool((found & ~column.match(CODE)).any())
    if at is not None and sure and reading.adjustable and (known or len(counts) == 1):
        raise DataError(
            f"{grid.path}: column {column.name!r}, {grid.place(at)}: found {shown(column.text(at))}, expected a number "
            f"in {unit}, as {counts[0]['counts']} of {int(values.sum())} values are",
            f"write all numbers of the column in one unit; {as_labels(column, reading)}",
        )
    if at is not None or not (sure or reading.adjustable):  # no option can say that it is no label
        return None
    blank = pc.any(pc.greater(pc.binary_length(pc.struct_field(parts, "blank")), 0).fill_null(False)).as_py()
    if blank or (known and sure) or column.name in reading.numbers:
        return unit
    text = column.text(int(np.argmax(found)))
    number = text.removesuffix(unit).strip()
    raise DataError(
        f"{grid.path}: column {column.name!r}, {grid.place(int(np.argmax(found)))}: {shown(text)} can be the number "
        f"{number} with the unit {unit!r}, or a label",
        f"choose one: {option('numbers', [*reading.numbers, column.name])} or "
        f"{option('labels', [*reading.labels, column.name])}",
    )


def _unread(column: Texts) -> Mask:
    """Return (n,) whether a text says that a value was not measured, or is below a limit."""
    return (column.match(LIMIT_WORD) | column.match(BELOW)) & ~column.words


def looks_like_number(column: Texts) -> Mask:
    """Return (n,) whether a text is a number, or one with something around it."""
    found = column.numeric | _unread(column)
    for pattern in (BEHIND, PAIR, COMPLEX, ABOUT, FORTRAN, LOST):
        found |= column.match(pattern) & ~column.match(CODE)
    return found & column.present & ~column.words & ~column.match(DATE)


def numbers_but_for_units(column: Texts) -> bool:
    """Return whether all values are numbers, with a unit behind some, or say that they were not measured."""
    import pyarrow.compute as pc

    units = pc.struct_field(column.extract(BEHIND), "unit")
    known = [text for text in units.unique().to_pylist() if text and unit_of(text) is not None]
    behind = among(units, known) & ~column.match(CODE)
    return bool((column.numeric | _unread(column) | behind | column.words | ~column.present).all())


def doubtful_labels(grid: Grid, column: Texts, reading: Reading) -> list[str]:
    """Refuse a column of many different texts that look like numbers; say so of a column of few."""
    import pyarrow.compute as pc

    pairs = column.match(REAL_AND_IMAGINARY)
    if reading.adjustable and int(pairs.sum()) * 2 > column.values:
        at = int(np.argmax(pairs))
        told = f"found {shown(column.text(at))}, which looks like a complex number as LTspice exports it"
        raise DataError(
            f"{grid.path}: column {column.name!r}, {grid.place(at)}: {told}; expected a number",
            "write the real and the imaginary part into a column each, or export a magnitude; "
            + as_labels(column, reading),
        )
    found = looks_like_number(column)
    count = int(found.sum())
    if count * 2 <= column.values:
        return []
    at = int(np.argmax(found & ~column.numeric)) if (found & ~column.numeric).any() else int(np.argmax(found))
    text, different = column.text(at), pc.count_distinct(column.column).as_py()
    if not reading.adjustable:
        return []
    if different <= max(DIFFERENT, column.values / 2) and not column.match(BELOW).any():
        if column.numeric.any():
            return []
        return [f"column {column.name!r} is text, though its values look like numbers, such as {shown(text)}"]
    raise DataError(
        f"{grid.path}: column {column.name!r}, {grid.place(at)}: found {shown(text)}, expected a number; {count} of "
        f"{column.values} values look like numbers and can't be read as such",
        f"{advice(column, at, reading)}; {as_labels(column, reading)}",
    )


def as_labels(column: Texts, reading: Reading) -> str:
    """Say how a column becomes text, where it can."""
    if reading.only_number(column.name):
        return "outputs are numbers"
    return f"to take the whole column as text: {option('labels', [*reading.labels, column.name])}"


def advice(column: Texts, at: int, reading: Reading) -> str:
    """Say what to do about a text that looks like a number."""
    import pyarrow as pa

    cell = column.plain.slice(at, 1)
    if matches(cell, BELOW)[0]:
        return 'say what stands for values below a limit: below_limit = "limit", "half", "zero" or "missing"'
    words = column.column.filter(pa.array(_unread(column) & ~column.match(BELOW))).unique().to_pylist()
    word = column.text(at)
    listed = [*reading.missing, *(words[:8] if word in words else [word])]
    missing = (
        f"if it stands for no value: {option('missing', listed)}, "
        'in an output together with missing_outputs = "own-rows"'
    )
    if matches(cell, LIMIT_WORD)[0]:
        return missing
    if matches(cell, COMPLEX)[0]:
        return "write the real and the imaginary part into a column each"
    if matches(cell, PAIR)[0]:
        return "write the two numbers into a column each" if "/" not in word else "write fractions as decimal numbers"
    if matches(cell, BEHIND)[0] and not column.numeric[at]:
        return "write all numbers of the column in one unit"
    return f"write plain numbers; {missing}" if matches(cell, ABOUT)[0] else "write plain numbers"
