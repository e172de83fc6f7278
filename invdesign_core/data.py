"""A table of designs and responses, checked once, and its split into rows to learn from and to test on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.context import Context
from invdesign_core.errors import DataError, near_match
from invdesign_core.space import FloatArray, Kind, Space, infer_variable

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "validation", "test")


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
        (n,) ``"train"``, ``"validation"`` or ``"test"`` for each row; None lets the core split.
    truth : callable, optional
        The true forward model: a table of designs to a table of outputs, a row of NaN where that
        simulation failed.
    example : mapping, optional
        A target to ask for when the user names none.
    name : str
        What to call it in reports.
    """

    frame: pd.DataFrame
    space: Space
    outputs: tuple[str, ...]
    split: NDArray[np.str_] | None = None
    truth: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    example: Mapping[str, Any] | None = None
    name: str = "data"

    def __post_init__(self) -> None:
        import pandas as pd

        if not self.outputs:
            raise DataError("the data name no output column", "name at least one (outputs = [...])")
        known = [str(column) for column in self.frame.columns]
        for name in self.outputs:
            if name not in known:
                raise DataError(f"there is no output column {name!r}", near_match(name, known))
            if name in self.space.names:
                raise DataError(f"{name!r} is both a design variable and an output", "make it the one or the other")
        if len(self.frame) < 4:
            raise DataError(f"the data have {len(self.frame)} rows; a surrogate needs more", None)
        for name in (*self.space.names, *self.outputs):
            if name not in known:
                raise DataError(f"there is no column {name!r}", near_match(name, known))
            column = self.frame[name]
            numeric = pd.api.types.is_numeric_dtype(column.dtype)
            if not numeric and name in self.outputs:
                raise DataError(
                    f"output {name!r}, row {_first_text(column) + 1}: found text {column.iloc[_first_text(column)]!r}, "
                    "expected a number"
                )
            bad = ~np.isfinite(column.to_numpy(dtype=np.float64)) if numeric else column.isna().to_numpy()
            if bad.any():
                first = int(np.argmax(bad))
                raise DataError(
                    f"column {name!r}, row {first + 1}: found {column.iloc[first]!r}, expected a value "
                    f"({int(bad.sum())} of {len(bad)} rows are missing or not finite)",
                    "fill them in, or leave those rows out",
                )
        if self.split is not None:
            if len(self.split) != len(self.frame):
                raise DataError(f"the split names {len(self.split)} rows, the table has {len(self.frame)}")
            strange = set(np.unique(self.split)) - set(PARTS)
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
    ) -> Data:
        """Read the kinds and ranges of the design variables off a table.

        Parameters
        ----------
        frame : pandas.DataFrame
            The table.
        outputs : sequence of str
            The output columns.
        inputs : sequence of str, optional
            The design variables; by default every column that is no output.
        kinds : mapping, optional
            Kinds to take instead of the inferred ones.
        name : str
            What to call the data in reports.

        Raises
        ------
        DataError
            If a column is missing or holds what can't be used.
        """
        frame = frame.rename(columns=str)
        known = list(frame.columns)
        twice = sorted({column for column in known if known.count(column) > 1})
        if twice:
            raise DataError(f"the column {twice[0]!r} is there twice", "rename one of them")
        chosen = [str(c) for c in inputs] if inputs is not None else [c for c in known if c not in set(outputs)]
        for column in (*chosen, *outputs, *(kinds or {})):
            if column not in known:
                raise DataError(f"the table has no column {column!r}", near_match(column, known))
        if not chosen:
            raise DataError("no column is left as a design variable", "name fewer outputs")
        for column in chosen:
            _refuse_missing(column, frame[column])
        space = Space(tuple(infer_variable(c, frame[c], (kinds or {}).get(c)) for c in chosen))
        return cls(frame[[*chosen, *outputs]], space, tuple(outputs), name=name)

    @property
    def x(self) -> FloatArray:
        """(n, e) encoded designs."""
        return self.space.encode(self.frame)

    @property
    def y(self) -> FloatArray:
        """(n, m) outputs in the user's units."""
        return self.frame[list(self.outputs)].to_numpy(dtype=np.float64)


@dataclass(frozen=True)
class Rows:
    """The numbers that training and testing see.

    Attributes
    ----------
    x, y : ndarray
        (n, e) encoded designs and (n, m) outputs, in the user's units.
    train, validation, test : ndarray of int
        Row numbers.
    """

    x: FloatArray
    y: FloatArray
    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    test: NDArray[np.intp]


def split_rows(data: Data, test: float, validation: float, ctx: Context) -> Rows:
    """Split by distinct designs, so that a repeated one never sits on both sides.

    Parameters
    ----------
    data : Data
        The table; its own split is kept where it has one.
    test : float
        Share of the distinct designs held out for the test.
    validation : float
        Share of the others that early stopping and tuning watch.
    ctx : Context
        Its seed decides which.
    """
    x, y = data.x, data.y
    if data.split is not None:
        parts = [np.flatnonzero(data.split == part) for part in PARTS]
        return Rows(x, y, *parts)
    _, group = np.unique(x, axis=0, return_inverse=True)
    group = group.reshape(-1)
    count = int(group.max()) + 1
    order = ctx.rng("split").permutation(count)
    n_test = _share(test, count)
    n_validation = _share(validation, count - n_test)
    if count - n_test - n_validation < 1:
        raise DataError(f"{count} distinct designs leave none to learn from", "hold back less (test, validation)")
    part = np.zeros(count, dtype=np.intp)
    part[order[:n_test]] = 2
    part[order[n_test : n_test + n_validation]] = 1
    row_part = part[group]
    return Rows(x, y, *(np.flatnonzero(row_part == k) for k in range(3)))


def _share(share: float, count: int) -> int:
    """Return how many of `count` make up a share; at least one where the share isn't zero."""
    return 0 if share == 0 else max(1, round(share * count))


def _refuse_missing(name: str, column: pd.Series) -> None:
    missing = column.isna().to_numpy()
    if missing.any():
        first = int(np.argmax(missing))
        raise DataError(
            f"column {name!r}, row {first + 1}: found nothing, expected a value "
            f"({int(missing.sum())} of {len(missing)} rows are missing)",
            "fill them in, or leave those rows out",
        )


def _first_text(column: pd.Series) -> int:
    """Return the position of the first value that is no number."""
    import pandas as pd

    return int(np.argmax(pd.to_numeric(column, errors="coerce").isna().to_numpy()))
