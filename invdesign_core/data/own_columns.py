"""Tables that invdesign wrote, read back: which of their columns are designs, and which are results."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.context import Context
from invdesign_core.data.data import refuse_cells
from invdesign_core.data.files.contents import KINDS, TEXT
from invdesign_core.data.files.head import NoHeaderError, numbered
from invdesign_core.data.files.load import AUTOMATIC, load_table
from invdesign_core.data.files.messages import option
from invdesign_core.data.files.options import DESIGN, LoadedTable, Reading
from invdesign_core.data.frames import as_frame, plain_columns
from invdesign_core.errors import ConfigError, DataError, near_match, near_or_all
from invdesign_core.space.sizes import check_near_data
from invdesign_core.space.space import Space
from invdesign_core.space.units import NO_UNITS, Numbers, Units, converted, in_brackets, is_quantity, quoted
from invdesign_core.space.variables import Variable, plain

if TYPE_CHECKING:
    import pandas as pd

PREFIX, DERIVED = DESIGN, "derived."
RESULTS = (
    *("target", "rank", "start", "loss", "variance", "met", "met_by", "hit", "starts", "status", "message"),
    *("evaluations", "moved", "inside", "failed", "free_directions", "nearest.row", "nearest.distance"),
    *("probability", "guarantee", "no_guarantee"),
    *("measured.row", "measured.met", "measured.answer"),
)
"""Columns of results that stand for themselves."""
OF_A_NAME = (
    *("prediction", "derived", "spread", "over_conditions", "truth", "difference", "met", "miss"),
    *("guess", "from", "to", "levels", "error"),
    *(f"{end}{kind}" for end in ("low", "high") for kind in ("", "_new", "_joint", "_new_joint")),
)
"""Columns of results that belong to a design variable or an output, whose name follows after a dot."""
_BRACKETED = re.compile(r"(.*\S) \[([^\[\]]+)\]", re.S)


def column_of(name: str, columns: Collection[str], taken: Collection[str] = ()) -> str | None:
    """Return the column of a design variable: of its own name, or of that with `PREFIX` before it; refuse both.

    A column that is called like a variable or an output, one of `taken`, is never another one's.
    """
    own, prefixed = name in columns, PREFIX + name in columns and PREFIX + name not in taken
    if own and prefixed and name not in RESULTS:
        raise ConfigError(
            f"the table has a column {name!r} and a column {PREFIX + name!r}: only one of them can be the design",
            "remove one of them",
        )
    return PREFIX + name if prefixed else name if own else None


def is_written_by_us(columns: Iterable[str]) -> bool:
    """Whether a table has the columns of designs that invdesign writes."""
    return any(column.startswith((PREFIX, "prediction.")) for column in columns)


def is_result(column: str, names: Collection[str]) -> bool:
    """Whether a column of a table that invdesign wrote holds a result, given all variables and outputs."""
    kind, _, name = column.removeprefix("nearest.").partition(".")
    return column in RESULTS or (kind in (*OF_A_NAME, "measured") and name in names)


def design_columns(names: Collection[str], said: Collection[str]) -> dict[str, str]:
    """Return the columns ``design.NAME`` of a table of designs, by the names of their variables.

    In a table that has other columns than results, and none such as only we write, these names are the user's own.

    Parameters
    ----------
    names : collection of str
        The table's columns.
    said : collection of str
        Outputs, and all other columns that the user names.
    """
    found = {n.removeprefix(PREFIX): n for n in names if n.startswith(PREFIX) and n != PREFIX and n not in said}
    known = {*found, *said}
    ours = any(n.startswith("prediction.") for n in names) or {"target", "rank"} <= set(names)
    others = [n for n in names if n not in known and n not in found.values()]
    return found if ours or all(is_result(n, known) for n in others) else {}


def read_designs(
    path: Path, space: Space | None = None, text: Sequence[str] = (), reading: Reading = AUTOMATIC
) -> pd.DataFrame:
    """Read the named columns of a table with designs in it; labels of the variables of `space` exactly as written.

    Other columns may hold anything: dates are taken as text, and so are the columns that `text` names. `reading` is
    what the user says about the file. Where variables are known, a unit that stands in a line of its own or at the
    numbers of a column is put behind the column's name, for `in_own_units`.
    """
    table = _read_designs(path, space, text, reading)
    if space is None:
        return table.frame
    truths = {name: table.frame[name].map(bool, na_action="ignore").astype(object) for name in table.gapped}
    return _with_units_in_names(replace(table, frame=table.frame.assign(**truths)))


def _read_designs(path: Path, space: Space | None, text: Sequence[str], reading: Reading) -> LoadedTable:
    try:
        return _read_named(path, space, text, reading)
    except NoHeaderError as error:
        if reading.adjustable:
            raise
        names = option("names", numbered(error.width)[:2]).replace(" = ", "=", 1)
        raise DataError(error.message, f"{error.hint}, or name the columns: --set 'dataset.{names}'") from None


def _read_named(path: Path, space: Space | None, text: Sequence[str], reading: Reading) -> LoadedTable:
    labelled = [v.name for v in space.variables if any(isinstance(level, str) for level in v.levels)] if space else []
    labels: list[str] = [*reading.labels, *text]
    if labelled or KINDS.get(Path(path).suffix.lower()) != TEXT:
        found = load_table(path, reading, columns=[])
        labels += [column for name in labelled for column in (name, PREFIX + name) if column in found.names]
        variables = space.names if space else ()
        labels += [name for name in found.refused if name.removeprefix(PREFIX) not in (*variables, *labels)]
    said = {"labels": list(dict.fromkeys(labels)), "leave_out": [*reading.leave_out, ""]}
    return load_table(path, reading.model_copy(update=said))


def _with_units_in_names(table: LoadedTable) -> pd.DataFrame:
    """Return the rows of a table that says units elsewhere than in its header as if they stood there."""
    names = [str(name) for name in table.frame.columns]
    new = {n: f"{n} [{table.units[n]}]" for n in names if n in table.units and _unit_behind(n)[1] != table.units[n]}
    return table.frame.rename(columns={old: name for old, name in new.items() if name not in names})


def read_targets(path: Path, space: Space | None = None, reading: Reading = AUTOMATIC) -> pd.DataFrame:
    """Read a table of targets as `read_designs` does; where words such as ``0..1`` stand among numbers, as text."""
    try:
        return _with_units_in_names(_read_designs(path, space, (), reading))
    except DataError as error:
        inputs = {column for name in space.names for column in (name, PREFIX + name)} if space else set()
        try:
            wanted = [name for name in load_table(path, reading, columns=[]).names if name and name not in inputs]
            return _with_units_in_names(_read_designs(path, space, wanted, reading))
        except DataError:
            raise error from None


def designs_of(frame: pd.DataFrame, space: Space, outputs: Collection[str], where: str) -> pd.DataFrame:
    """Return the designs of a table of n rows, a column for each variable, whatever else is in it."""
    import pandas as pd

    found = {}
    for variable in space.variables:
        column = column_of(variable.name, frame.columns, {*space.names, *outputs})
        if column is None:
            near = near_match(variable.name, map(str, frame.columns)).replace("choose from", "the columns are")
            raise DataError(
                f"{where}: there is no column {variable.name!r} or {PREFIX + variable.name!r}",
                f"each design variable needs one; {near}",
            )
        found[variable.name] = values_of(variable, frame[column], where)
    return pd.DataFrame(found, columns=list(space.names), index=frame.index)


def values_of(variable: Variable, column: pd.Series, where: str, missing: bool = False) -> Any:
    """Return a column's values as its variable has them, and refuse what is none; empty cells may be `missing`.

    A table of texts doesn't tell a label ``1`` from a number: what is written like a level is that level.
    """
    import pandas as pd

    place = f"{where}, column {str(column.name)!r}"
    empty = column.isna().to_numpy()
    if not missing:
        refuse_cells(place, column.to_numpy(), empty)
    if variable.kind == "categorical" or (variable.kind == "binary" and variable.levels != (0, 1)):
        written = {str(level): level for level in reversed(variable.levels)}
        values: list[Any] = []
        for row, (cell, none) in enumerate(zip(column, empty, strict=True), 1):
            if none or cell in variable.levels:
                values.append(cell)
                continue
            text = str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
            if text not in written:
                raise DataError(
                    f"{place}, row {row}: {variable.name!r} has no level {cell!r}", near_or_all(text, written)
                )
            values.append(written[text])
        return pd.Series(values, index=column.index, dtype=object)
    cells = column
    if pd.api.types.is_complex_dtype(column.dtype):  # which pandas would take the real parts of
        cells = column.astype(str)
    elif variable.kind == "binary" and not pd.api.types.is_numeric_dtype(column.dtype):
        cells = column.map(lambda cell: {str(level): int(level) for level in variable.levels}.get(str(cell), cell))
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
    exists = np.isin(numbers, (0, 1)) if variable.kind == "binary" else np.isfinite(numbers)
    if not (exists | empty).all():
        row = int(np.argmin(exists | empty))
        expected = " or ".join(map(str, variable.levels)) if variable.kind == "binary" else "a number"
        hint = None
        if where == "targets":
            hint = (
                f"a row holds an input at one value; for a goal or limits, solve for one: --target '{variable.name}=…'"
            )
        raise DataError(f"{place}, row {row + 1}: found {plain(column.iloc[row])!r}, expected {expected}", hint)
    if len(numbers) and variable.kind != "binary":
        row = int(np.argmax(np.where(empty, 0.0, np.abs(numbers))))  # the largest, which is the one that can be wrong
        ends = (-np.inf, np.inf) if variable.scale == "log" else (variable.lower, variable.upper)
        try:
            check_near_data(numbers[row : row + 1], *ends, variable.kind == "integer", f"{place}, row {row + 1}")
        except ConfigError as error:
            raise DataError(error.message, error.hint) from None
    return column if pd.api.types.is_numeric_dtype(column.dtype) else pd.Series(numbers, index=column.index)


def in_own_units(
    frame: pd.DataFrame, names: Sequence[str], units: Units, place: str, numbers: Collection[str] = ()
) -> pd.DataFrame:
    """Return a table whose columns may leave out the unit behind a name, or have another, with those of `names`.

    The numbers of ``temperature [K]`` are converted where the column itself is in another unit, and so are those cells
    of `numbers`, which are columns that hold nothing but numbers or labels, that have a unit of their own: ``350 K``.
    """
    new: dict[str, tuple[str, str, str | None]] = {}
    for column in map(str, frame.columns):
        if column in names or column.removeprefix(PREFIX) in names:
            continue
        name, unit = _name_and_unit(column, names, units)
        own = PREFIX + name if column.startswith(PREFIX) and not name.startswith(PREFIX) else name
        if name not in names or own in frame.columns:
            continue
        if own in new:
            raise ConfigError(f"{place}: {new[own][0]!r} and {column!r} are the same column", "remove one of them")
        new[own] = column, name, unit
    if new:
        frame = frame.copy()
    for column, name, unit in new.values():
        if unit is not None and unit != units.of.get(name) and name not in units.labels:
            where = f"{place}, column {column!r}"
            frame[column] = _converted(frame[column], unit, _own_unit(units, name, unit, where), where)
    frame = frame.rename(columns={column: own for own, (column, _, _) in new.items()})
    for name in numbers:
        for column in (name, PREFIX + name) if name not in units.labels else ():
            if column in frame.columns:
                where = f"{place}, column {column!r}"
                frame = frame.assign(**{column: _cells_converted(frame[column], units.numbers(name), where)})
    return frame


def _name_and_unit(column: str, names: Collection[str], units: Units) -> tuple[str, str | None]:
    """Return the one of `names` that a column stands for, and the last unit behind it; the column if it is none."""
    rest, unit = column, None
    while True:
        for name in (rest, units.name(rest), rest.removeprefix(PREFIX), units.name(rest.removeprefix(PREFIX))):
            if name in names:
                return name, unit
        rest, said = _unit_behind(rest)
        if said is None:
            return column, None
        unit = unit or said


def _unit_behind(column: str) -> tuple[str, str | None]:
    """Return the name of a column and the unit behind it, also one that nobody knows, if it stands in brackets."""
    found = in_brackets(column) or ((both[1], both[2]) if (both := _BRACKETED.fullmatch(column)) else None)
    return (column, None) if found is None else found


def _own_unit(units: Units, name: str, unit: str, place: str) -> str:
    """Return the unit of a column, into which another one is to be converted; refuse that where it is not known."""
    if name not in units.of:
        raise ConfigError(
            f"{place}: found the unit {unit!r}, and it is not known which one {name!r} has",
            f'say it: [units] {quoted(name)} = "UNIT"; or leave the unit out where the numbers are in its own',
        )
    return units.of[name]


def _converted(column: pd.Series, unit: str, into: str, place: str) -> pd.Series:
    """Return the numbers of a column in another unit; a cell may have a unit of its own."""
    import pandas as pd

    column = _cells_converted(column, Numbers(unit=unit), place)
    numbers = pd.to_numeric(column, errors="coerce")
    bad = (numbers.isna() & column.notna()).to_numpy()
    if bad.any():
        row = int(np.argmax(bad))
        raise ConfigError(
            f"{place}, row {row + 1}: found {plain(column.iloc[row])!r}, expected a number, since the column's {unit} "
            f"are to become {into}",
            f"write the column in {into}, or the units into its cells, such as '<=2 {unit}'",
        )
    converted(1.0, unit, into, place)  # refuses what can't be converted, be there a number or not
    return numbers.map(lambda number: number if pd.isna(number) else converted(float(number), unit, into, place))


def _cells_converted(column: pd.Series, own: Numbers, place: str) -> pd.Series:
    """Return a column in which cells that are a number with a unit are numbers in the column's own."""
    import pandas as pd

    if column.dtype.kind in "biuf":
        return column
    cells = list(column)
    for row, cell in enumerate(cells):
        if isinstance(cell, str) and is_quantity(cell):
            cells[row] = own.value(cell, f"{place}, row {row + 1}")
    return pd.Series(cells, index=column.index, name=column.name, dtype=object)


def as_targets(
    frame: pd.DataFrame, space: Space, outputs: Sequence[str], ctx: Context, units: Units = NO_UNITS
) -> pd.DataFrame:
    """Return a table of t targets with the names of outputs and design variables, and without our own results."""
    frame = as_frame(frame, "targets").rename(columns=str)
    if not len(frame):
        raise ConfigError("targets: the table has no rows", "give it a row for each target")
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise ConfigError(f"targets: the column {twice[0]!r} is there twice", "rename or remove one of them")
    names = {*space.names, *outputs}
    frame = in_own_units(frame, [*space.names, *outputs], units, "targets", space.names)
    frame = plain_columns(frame, {*names, *(PREFIX + name for name in space.names)}, "targets, ", mixed=True)
    if is_written_by_us(frame.columns):
        known = names | {column.removeprefix(DERIVED) for column in frame.columns if column.startswith(DERIVED)}
        aside = [column for column in frame.columns if column not in names and is_result(column, known)]
        if aside:
            ctx.note(f"targets: columns with results are ignored: {', '.join(map(repr, aside))}")
        frame = frame.drop(columns=aside)
        for name in outputs:
            if name in RESULTS and name in frame.columns:
                raise ConfigError(
                    f"targets: the column {name!r} may be the output or the result of that name in tables of designs",
                    "remove the columns prediction.NAME and design.NAME, or this one",
                )
    for variable in space.variables:
        column = column_of(variable.name, frame.columns, names)
        if column is not None:
            if column != variable.name and variable.name in frame:  # a result of that name
                frame = frame.drop(columns=variable.name)
            frame[column] = values_of(variable, frame[column], "targets", missing=True)
            frame = frame.rename(columns={column: variable.name})
    return frame


def row_of(item: str, space: Space, units: Units = NO_UNITS) -> dict[str, Any]:
    """Return the design in a row of ``FILE``, whose table has one, or ``FILE:ROW``, by variable; no empty cells.

    Rows are counted from 1 below the column names; columns that are no design variable are left aside.
    """
    path, row = split_row(item)
    frame = in_own_units(read_designs(path, space), space.names, units, f"--near {item}", space.names)
    if row is None and len(frame) != 1:
        raise ConfigError(
            f"--near {item}: the table has {len(frame)} rows, expected one", f"name one, such as {path}:1"
        )
    if row is not None and not 1 <= row <= len(frame):
        raise ConfigError(f"--near {item}: there is no row {row}", f"the table has rows 1 to {len(frame)}")
    one = frame.iloc[[0 if row is None else row - 1]]
    found: dict[str, Any] = {}
    for variable in space.variables:
        column = column_of(variable.name, frame.columns, space.names)
        if column is not None and one[column].notna().all():
            cell = values_of(variable, one[column], f"--near {item}").iloc[0]
            found[variable.name] = cell.item() if isinstance(cell, np.generic) else cell
    if not found:
        raise ConfigError(
            f"--near {item}: no column is a design variable",
            f"the design variables are {', '.join(map(repr, space.names))}",
        )
    return found


def split_row(item: str) -> tuple[Path, int | None]:
    """Return the file and the row of ``FILE`` or ``FILE:ROW``."""
    path, colon, row = item.rpartition(":")
    return (Path(path), int(row)) if colon and path and row.isdecimal() else (Path(item), None)
