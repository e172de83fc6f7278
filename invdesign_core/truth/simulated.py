"""What a true model says of designs: their outputs, or why there are none; and how much work that was."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from invdesign_core.errors import plural
from invdesign_core.errors.faults import kind_of
from invdesign_core.space.arrays import FloatArray

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.context import Context

REASON = "failed"
"""A column of an answer in which a simulator may say why a design has no outputs."""


@dataclass(frozen=True)
class Tally:
    """How much work it was to judge designs.

    Attributes
    ----------
    designs : int
        Designs that were asked about.
    simulated : int
        Rows that were computed: each design once, or once in each scenario where conditions vary.
    known : int
        Rows whose outputs were known from before.
    calls : int
        Calls of the function or the command.
    failed : int
        Designs of which an output is missing.
    by : str
        What was asked, in words.
    reason : str
        Why the first of those that failed did.
    """

    designs: int = 0
    simulated: int = 0
    known: int = 0
    calls: int = 0
    failed: int = 0
    by: str = ""
    reason: str = ""

    def __add__(self, other: Tally) -> Tally:
        numbers = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        return Tally(**numbers, by=self.by, reason=self.reason or other.reason)


COUNTS = ("designs", "simulated", "known", "calls", "failed")
"""The numbers of a tally."""


def sum_of(parts: Iterable[Tally | None]) -> Tally | None:
    """Return all work together; None where nothing was asked of any true model."""
    asked = [part for part in parts if part is not None]
    return sum(asked[1:], asked[0]) if asked else None


@dataclass(frozen=True)
class Simulated:
    """What a true model says of n designs.

    Attributes
    ----------
    y : ndarray
        (n, m) outputs, NaN where there is none.
    failed : tuple of str
        (n,) why an output is missing; empty where none is.
    tally : Tally
        How much work it was.
    interrupted : bool
        Whether Ctrl-C ended it: designs that had no answer by then have none.
    """

    y: FloatArray
    failed: tuple[str, ...]
    tally: Tally = Tally()
    interrupted: bool = False


class Truth(Protocol):
    """A true model: a dataset's, a function or a command, or something around one of these."""

    @property
    def words(self) -> str:
        """What to call it, in messages."""

    @property
    def identity(self) -> str:
        """A digest of what its answers depend on, or an empty text where that is not known."""

    @property
    def told(self) -> bool:
        """Whether it is said that it works, and how much: a dataset's formula is not worth that."""

    def evaluate(self, designs: pd.DataFrame, outputs: Sequence[str], ctx: Context) -> Simulated:
        """Return the outputs of the designs in a table with a column for each design variable."""


class CallError(Exception):
    """A call that gave no answer.

    `repeat` says whether another call, for one design alone, may do better; `interrupted` whether Ctrl-C ended it.
    """

    def __init__(self, reason: str, repeat: bool = True, interrupted: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.repeat, self.interrupted = reason, repeat, interrupted


def as_outputs(
    answer: Any, count: int, outputs: Sequence[str], bits: Collection[str] = ()
) -> tuple[FloatArray, list[str]]:
    """Return the (n, m) numbers of a simulator's answer for `count` designs, and why some are missing.

    True and false are numbers in the outputs `bits` alone.

    Raises
    ------
    CallError
        If it is no table of as many rows with at least one of the outputs.
    """
    import pandas as pd

    if not isinstance(answer, pd.DataFrame):
        raise CallError(f"it returned {kind_of(answer)}, expected a DataFrame", repeat=False)
    names = [str(name).strip() for name in answer.columns]
    twice = [name for name in outputs if names.count(name) > 1]
    there = [name for name in outputs if names.count(name) == 1]
    if twice or not there:
        raise CallError(f"it gave the columns {names}, expected each of {list(outputs)} once", repeat=False)
    if len(answer) != count:
        raise CallError(f"it gave {plural(len(answer), 'row')}, expected {plural(count, 'row')}", repeat=count > 1)
    y = np.full((count, len(outputs)), np.nan)
    missing: list[list[str]] = [[] for _ in range(count)]
    for m, name in enumerate(outputs):
        if name not in there:
            for row in missing:
                row.append(f"it gives no column {name!r}")
            continue
        for i, cell in enumerate(answer.iloc[:, names.index(name)]):
            y[i, m] = number = _number(cell, name in bits)
            if not math.isfinite(number):
                missing[i].append(f"{name} is {_shown(cell)}")
    said = list(answer.iloc[:, names.index(REASON)]) if names.count(REASON) == 1 and REASON not in outputs else []
    reasons = ["; ".join(row) for row in missing]
    for i, cell in enumerate(said):
        if reasons[i] and isinstance(cell, str) and cell.strip():
            reasons[i] = cell.strip()
    return np.where(np.isfinite(y), y, np.nan), reasons


def _number(cell: Any, truths: bool) -> float:
    """Return a cell as a number, NaN where it is none; `truths` are 1 and 0."""
    if isinstance(cell, str) and truths:
        cell = {"true": True, "false": False}.get(cell.strip().lower(), cell)
    if isinstance(cell, bool | np.bool_) and not truths:
        return math.nan
    try:
        return float(cell)
    except (TypeError, ValueError):  # a text, a list, pandas' NA
        return math.nan


def _shown(cell: Any) -> str:
    """Write a cell that is no number."""
    text = str(cell).strip()
    if isinstance(cell, bool | np.bool_):
        return f"{text}, expected a number"
    return "empty" if text in ("", "nan", "<NA>", "None", "NaT") else repr(text) if isinstance(cell, str) else text
