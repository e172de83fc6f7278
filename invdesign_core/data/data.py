"""A table of designs and responses, checked once, and its split into rows to learn from and to test on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from invdesign_core.context import Context
from invdesign_core.data.frames import as_frame, plain_columns
from invdesign_core.data.patterns import expand, expand_keys
from invdesign_core.errors import ConfigError, DataError, near_or_all, plural, require
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.sizes import LARGEST, SMALLEST, UNIT
from invdesign_core.space.space import Space
from invdesign_core.space.units import contradiction
from invdesign_core.space.variables import Kind, infer_variable

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.data.large import LargeTable

PARTS = ("train", "validation", "test")

LEAST = 4
"""Rows that a surrogate needs."""


@dataclass(frozen=True)
class Data:
    """What a dataset plugin hands over.

    Attributes
    ----------
    frame : pandas.DataFrame
        n rows, with a column for each design variable and each output.
    space : Space
        The design variables.
    outputs : tuple of str
        The m output columns.
    split : array of str, optional
        (n,) ``"train"``, ``"validation"`` or ``"test"`` for each row; None lets the core split, and an empty text
        lets it choose whether that row is for training or validation.
    truth : callable, optional
        The true forward model: a table of designs to a table of outputs, a row of NaN where that
        simulation failed.
    example : mapping, optional
        A target to ask for when the user names none.
    name : str
        What to call it in reports.
    groups : array, optional
        (n,) a batch, mix or laboratory for each row; all rows of one stay on one side of the split.
    partial : bool
        Whether outputs may be NaN where they were not measured; each is then fitted to its own rows.
    weights : array, optional
        (n,) how much each row counts in training and early stopping.
    units : mapping
        The units of columns, as the table has them, such as ``{"load": "kN"}``; those of some are enough.
    large : LargeTable, optional
        The whole table, where it is too large to lie in memory and `frame` holds a sample of its rows.
    """

    frame: pd.DataFrame
    space: Space
    outputs: tuple[str, ...]
    split: NDArray[np.str_] | None = None
    truth: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    example: Mapping[str, Any] | None = None
    name: str = "data"
    groups: NDArray[Any] | None = None
    partial: bool = False
    weights: FloatArray | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    large: LargeTable | None = None

    def __post_init__(self) -> None:
        import pandas as pd

        if not self.outputs:
            raise DataError("the data name no output column", "name at least one (outputs = [...])")
        known = [str(column) for column in self.frame.columns]
        for name in self.outputs:
            if name not in known:
                raise DataError(f"there is no output column {name!r}", near_or_all(name, known))
            if name in self.space.names:
                raise DataError(
                    f"{name!r} is both a design variable and an output", "list it as an input or as an output"
                )
        if len(self.frame) < LEAST:
            raise DataError(f"the table has {plural(len(self.frame), 'row')}; a surrogate needs at least {LEAST}", None)
        for name in self.space.names:
            if name not in known:
                raise DataError(f"there is no column {name!r}", near_or_all(name, known))
        for name in (*self.space.names, *self.outputs):
            column = self.frame[name]
            if pd.api.types.is_numeric_dtype(column.dtype):
                values = column.to_numpy(dtype=np.float64)
                bad = np.isinf(values) if self.partial and name in self.outputs else ~np.isfinite(values)
                refuse_cells(f"column {name!r}", values, bad)
                _refuse_sizes(name, values)
                continue
            if name in self.outputs:
                at = int(np.argmax(pd.to_numeric(column, errors="coerce").isna().to_numpy()))
                raise DataError(f"output {name!r}, row {at + 1}: found text {column.iloc[at]!r}, expected a number")
            refuse_cells(f"column {name!r}", column.to_numpy(), column.isna().to_numpy())
        for name, unit in self.units.items():
            if other := contradiction(name, unit):
                raise DataError(
                    f"column {name!r}: its name says the unit {other!r}, and a line of units or its cells {unit!r}",
                    "let one of them say it, or write the same unit",
                )
        if self.partial:
            empty = self.frame[list(self.outputs)].isna().all(axis=1).to_numpy()
            if empty.any():
                raise DataError(
                    f"row {int(np.argmax(empty)) + 1}: no output was measured (rows without any: {int(empty.sum())})",
                    "leave those rows out",
                )
            for name in self.outputs:
                if self.frame[name].isna().all():
                    raise DataError(f"output {name!r} has no measured values", "remove it from the outputs")
        if self.weights is not None:
            w = np.asarray(self.weights, dtype=np.float64)
            bad = ~(np.isfinite(w) & (w >= 0))
            if w.shape != (len(self.frame),) or bad.any() or not w.any():
                row = f", row {int(np.argmax(bad)) + 1}: found {w[np.argmax(bad)]}" if bad.any() else ""
                raise DataError(f"the weights{row}: expected one number for each row, none negative, not all 0")
        if self.groups is not None and len(self.groups) != len(self.frame):
            raise DataError(f"there are {plural(len(self.groups), 'group label')} for {plural(len(self.frame), 'row')}")
        if self.split is not None:
            if len(self.split) != len(self.frame):
                raise DataError(
                    f"the split has {plural(len(self.split), 'entry', 'entries')} for {plural(len(self.frame), 'row')}"
                )
            strange = set(np.unique(self.split)) - {*PARTS, ""}
            if strange:
                raise DataError(f"the split names {sorted(strange)}, expected {list(PARTS)}")

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        outputs: Sequence[str],
        inputs: Sequence[str] | None = None,
        kinds: Mapping[str, Kind] | None = None,
        name: str = "data",
        groups: str | None = None,
        partial: bool = False,
        weights: str | None = None,
    ) -> Data:
        """Read the kinds and ranges of the design variables off a table.

        Parameters
        ----------
        frame : DataFrame
            The table: of pandas, polars or Arrow. What a column is follows from its values, not from its type.
        outputs : sequence of str
            The output columns, or patterns such as ``y*``.
        inputs : sequence of str, optional
            The design variables, or patterns; by default every column that is no output.
        kinds : mapping, optional
            Kinds to take instead of the inferred ones, by name or pattern.
        name : str
            What to call the data in reports.
        groups : str, optional
            A column that keeps rows together in the split; it is no design variable.
        partial : bool
            Whether outputs may be NaN where they were not measured.
        weights : str, optional
            A column with how much each row counts; it is no design variable.

        Raises
        ------
        DataError
            If a column is missing or holds what can't be used.
        """
        for place, names in (("outputs", outputs), ("inputs", inputs)):
            if isinstance(names, str):
                raise ConfigError(f"{place}: found {names!r}, expected a list of names", f"write [{names!r}]")
            require(names if names is not None else [], Iterable, place, "a list of names")
        frame, outputs = as_frame(frame).rename(columns=str), [str(name) for name in outputs]
        known = list(frame.columns)
        twice = sorted({column for column in known if known.count(column) > 1})
        if twice:
            raise DataError(f"the column {twice[0]!r} appears twice", "rename one of them")
        outputs = expand(map(str, outputs), known, "outputs")
        given = None if inputs is None else expand(map(str, inputs), known, "inputs")
        chosen = [c for c in known if c not in set(outputs)] if given is None else given
        beside = [column for column in (groups, weights) if column is not None]
        chosen = [column for column in chosen if column not in beside]
        kinds = expand_keys(kinds or {}, chosen, "kinds")
        for column in (*chosen, *outputs, *(kinds or {}), *beside):
            if column not in known:
                raise DataError(f"the table has no column {column!r}", near_or_all(column, known))
        if not chosen:
            raise DataError("no column is left as a design variable", "name fewer outputs")
        needed = {*chosen, *outputs, *([] if weights is None else [weights])}
        frame = plain_columns(frame, needed)
        for column in chosen:
            refuse_cells(f"column {column!r}", frame[column].to_numpy(), frame[column].isna().to_numpy())
        space = Space(tuple(infer_variable(c, frame[c], (kinds or {}).get(c)) for c in chosen))
        labels = None if groups is None else frame[groups].to_numpy()
        counts = None if weights is None else frame[weights].to_numpy(dtype=np.float64)
        columns = frame[[*chosen, *outputs]]
        return cls(columns, space, tuple(outputs), name=name, groups=labels, partial=partial, weights=counts)

    @property
    def x(self) -> FloatArray:
        """(n, e) encoded designs."""
        return self.space.encode(self.frame)

    @property
    def y(self) -> FloatArray:
        """(n, m) outputs in the user's units."""
        return self.frame[list(self.outputs)].to_numpy(dtype=np.float64)


OWN = ("x", "y", "rows", "watched", "weights", "groups", "left_out")
"""The arrays of `TrainingRows`, by the names that files keep them under."""


class TrainingRows(NamedTuple):
    """The rows that a surrogate learnt from: (n, e) encoded designs and (n, m) outputs, in the user's units."""

    x: FloatArray
    y: FloatArray
    rows: NDArray[np.intp] | None = None
    """(n,) their numbers in the user's table, of which the first is 1."""
    held_out: TrainingRows | None = None
    """Measured rows of the same table that it did not learn from: no starts, but answers where they meet a target."""
    watched: NDArray[np.bool_] | None = None
    """(n,) which of them a training watched only; None where that is not known."""
    weights: FloatArray | None = None
    """(n,) how much each row counts, where the data say it."""
    groups: NDArray[np.str_] | None = None
    """(n,) which rows belong together, where the data say it."""
    left_out: FloatArray | None = None
    """(n, m) what models that had not learnt from a row say of it; None where there was no cross-validation."""

    @property
    def measured(self) -> TrainingRows:
        """All measured rows, those held out too, in the order of the table."""
        if self.held_out is None:
            return self
        x, y = (np.concatenate(pair) for pair in ((self.x, self.held_out.x), (self.y, self.held_out.y)))
        if self.rows is None or self.held_out.rows is None:
            return TrainingRows(x, y)
        rows = np.concatenate([self.rows, self.held_out.rows])
        order = np.argsort(rows, kind="stable")
        return TrainingRows(x[order], y[order], rows[order])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what a file keeps, by name; `from_arrays` is the way back."""
        own = {name: value for name in OWN if (value := getattr(self, name)) is not None}
        beside = {} if self.held_out is None else self.held_out.arrays()
        return own | {f"held_out_{name}": array for name, array in beside.items()}

    @classmethod
    def from_arrays(cls, stored: Mapping[str, NDArray[Any]]) -> TrainingRows:
        """Build from what `arrays` returned; older versions kept fewer."""
        sides: list[TrainingRows] = []
        for prefix in ("", "held_out_"):
            own: dict[str, Any] = {name: stored[prefix + name] for name in OWN if prefix + name in stored}
            sides += [cls(**own)] if own else []
        return sides[0]._replace(held_out=sides[1]) if len(sides) > 1 else sides[0]


@dataclass(frozen=True)
class Rows:
    """What training and testing see: (n, e) encoded designs and (n, m) outputs in the user's units, and row numbers."""

    x: FloatArray
    y: FloatArray
    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    test: NDArray[np.intp]


def true_or_false(y: FloatArray | None, outputs: Sequence[str]) -> frozenset[str]:
    """Return the outputs that later rows may call true or false: of which nothing but 0 and 1 was measured, (n, m)."""
    if y is None or not len(y):
        return frozenset()
    bits = np.atleast_1d((np.isnan(y) | np.isin(y, (0, 1))).all(axis=0) & np.isfinite(y).any(axis=0))
    return frozenset(name for name, only in zip(outputs, bits, strict=True) if only)


def refuse_truths(cells: Iterable[Any], place: str) -> None:
    """Refuse true and false where numbers were measured so far."""
    for row, cell in enumerate(cells, 1):
        if isinstance(cell, bool | np.bool_):
            raise DataError(
                f"{place}, row {row}: found {cell}, expected a number, as it was so far",
                "write what was measured, or leave the cell empty",
            )


def refuse_cells(where: str, cells: NDArray[Any], bad: NDArray[np.bool_]) -> None:
    """Refuse (n,) cells of which some are empty or infinite: say what stands in the first, and how many there are."""
    if bad.any():
        row = int(np.argmax(bad))
        infinite = isinstance(cells[row], float) and np.isinf(cells[row])
        raise DataError(
            f"{where}, row {row + 1}: {f'found {cells[row]}' if infinite else 'the cell is empty'}, expected a value "
            f"(rows with missing or infinite values: {int(bad.sum())} of {len(bad)})",
            "fill them in, or leave those rows out",
        )


def _refuse_sizes(name: str, values: FloatArray) -> None:
    """Refuse (n,) numbers that single precision can't hold or tell apart."""
    big = np.abs(values) > LARGEST
    if big.any():
        row = int(np.argmax(big))
        wrong = f"found {values[row]:g}, expected numbers up to {LARGEST:.0e} in size"
        raise DataError(f"column {name!r}, row {row + 1}: {wrong}", UNIT)
    known = values[np.isfinite(values)]
    spread = np.ptp(known) if len(known) else 0.0
    if 0 < spread < SMALLEST:
        wrong = f"its values differ by {spread:.1e} at most, which single precision can't tell apart"
        raise DataError(f"column {name!r}: {wrong}", UNIT)


def split_rows(data: Data, test: float, validation: float, ctx: Context) -> Rows:
    """Split by distinct designs and by groups, so that no repeat and no group sits on both sides.

    A share `test` of them is held out, and a share `validation` of the others is watched by early stopping and tuning.
    """
    x, y = data.x, data.y
    if data.split is not None:
        split = np.where(data.split == "", _drawn_parts(data, validation, ctx), data.split)
        return Rows(x, y, *(np.flatnonzero(split == part) for part in PARTS))
    group = together(x, data.groups)
    count = int(group.max()) + 1
    order = ctx.rng("split").permutation(count)
    n_test = _share(test, count)
    n_validation = _share(validation, count - n_test)
    if count - n_test - n_validation < 1:
        what = "distinct designs" if data.groups is None else "groups"
        raise DataError(f"{count} {what} leave no training rows", "reduce training.test or training.validation")
    part = np.zeros(count, dtype=np.intp)
    part[order[:n_test]] = 2
    part[order[n_test : n_test + n_validation]] = 1
    row_part = part[group]
    return Rows(x, y, *(np.flatnonzero(row_part == k) for k in range(3)))


def _drawn_parts(data: Data, validation: float, ctx: Context) -> NDArray[np.str_]:
    """Return (n,) parts for the rows whose part is open: a share `validation` of them is for validation."""
    part = np.full(len(data.frame), PARTS[0], dtype="<U10")
    is_open = np.flatnonzero(data.split == "")
    if len(is_open):
        group = together(data.x[is_open], None if data.groups is None else data.groups[is_open])
        order = ctx.rng("split").permutation(int(group.max()) + 1)
        count = min(_share(validation, len(order)), len(order) - 1)
        part[is_open[np.isin(group, order[:count])]] = PARTS[1]
    return part


def together(x: FloatArray, groups: NDArray[Any] | None = None) -> NDArray[np.intp]:
    """Number rows: those of one (n, e) design or one group share a number, as do groups in which one design occurs."""
    _, design = np.unique(x, axis=0, return_inverse=True)
    design = design.reshape(-1)
    if groups is None:
        return design
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, batch = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    designs, size = int(design.max()) + 1, int(design.max() + batch.max()) + 2
    links = coo_array((np.ones(len(x)), (design, designs + batch)), shape=(size, size))
    label = connected_components(links, directed=False)[1][design]
    return np.unique(label, return_inverse=True)[1].reshape(-1)


def _share(share: float, count: int) -> int:
    """Return how many of `count` make up a share; at least one where the share isn't zero."""
    return 0 if share == 0 else max(1, round(share * count))
