"""What a user may say about a table file, and what comes back from reading it."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from invdesign_core.data.files.messages import place

if TYPE_CHECKING:
    import pandas as pd

DESIGN = "design."
"""What stands before the name of a design variable in the tables that invdesign writes."""
IndexChoice = Literal["drop", "keep"] | None
Skipped = int | list[int]
NAMED = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "space": " ", "apostrophe": "'"}
"""Characters that are hard to write on a command line."""


class Reading(BaseModel):
    r"""How a table file is written, where the file itself doesn't say it.

    Everything is found out by default; what can be read in two ways is refused until one is named here.

    Examples
    --------
    >>> Reading(separator="tab", decimal=",").separator
    '\t'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    adjustable: ClassVar[bool] = True
    """Whether the user can say more about the file."""

    separator: str | None = Field(
        None,
        description="The separator between the values of a text file: one character, `tab`, or `space` for any "
        "number of blanks. By default a comma, semicolon, tab or pipe, as the header shows.",
    )
    decimal: Literal[".", ","] | None = Field(None, description="The decimal mark: `.` or `,`.")
    thousands: Literal[",", ".", "'", " ", "_"] | None = Field(
        None, description="The thousands separator, as in `1,000`: `,`, `.`, `'`, `_` or `space`."
    )
    encoding: str | None = Field(
        None,
        description="The encoding of a text file, such as `cp1252`. By default UTF-8 or UTF-16, else Windows-1252.",
    )
    header: Annotated[int, Field(ge=1)] | Literal["no"] | None = Field(
        None,
        description="The line of the file that holds the column names; by default the first with text. `no` says that "
        "there is none: the columns are called x1, x2, …, in a file of targets y1, y2, …, unless `names` names them.",
    )
    names: list[str] = Field(
        default_factory=list,
        description="The names of all columns, in the file's order, where the file holds none; with `header`, in place "
        "of those in that line.",
    )
    comment: str | None = Field(
        None,
        description="What lines that are no rows begin with, or `no` where there are no such lines. By default `#`, "
        "`%`, `//` or `!`, as the first lines show.",
    )
    skip_rows: Skipped = Field(
        0,
        description="Rows to leave out, such as a row of units: how many of the first ones below the header, or a "
        "list of rows, counted from 1 below the header.",
    )
    sheet: int | str | None = Field(
        None, description="The sheet of a spreadsheet: its name, or its number from 1. Needed if several contain data."
    )
    index: IndexChoice = Field(
        None,
        description="Whether to `drop` or `keep` row numbers in a first column without a name, or in a parquet file's "
        "index. By default they are left out, and what isn't sure to be row numbers is asked about.",
    )
    labels: list[str] = Field(
        default_factory=list,
        description="Columns to take as text exactly as written, such as codes like `010`; names or patterns.",
    )
    numbers: list[str] = Field(
        default_factory=list,
        description="Columns of numbers that could be taken for codes, such as `10K`: the number is read, and what "
        "stands behind it is the unit.",
    )
    below_limit: Literal["limit", "half", "zero", "missing"] | None = Field(
        None,
        description="What stands for values such as `<0.01`: the `limit`, `half` of it, `zero`, or no value "
        "(`missing`). By default they are asked about.",
    )
    missing: list[str] = Field(
        default_factory=list,
        description="Texts that stand for no value in a column of numbers, such as `-` or `-999`, besides the usual "
        "ones (`NA`, `nan`, `null`, …).",
    )
    leave_out: list[str] = Field(
        default_factory=list,
        description="Columns to leave out, such as a date or a remark, even if `inputs` names them; names or patterns "
        "such as `*_std`; an empty text leaves out all columns without a name.",
    )

    @field_validator("separator", "thousands", mode="before")
    @classmethod
    def _spelled_out(cls, value: object) -> object:
        return NAMED.get(value, value) if isinstance(value, str) else value

    @field_validator("header", mode="before")
    @classmethod
    def _no_header(cls, value: object) -> object:
        return "no" if value is False or value in ("none", "None") else value

    @field_validator("comment")
    @classmethod
    def _a_mark(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip() or (value != "no" and value[0].isalnum())):
            raise ValueError(f"found {value!r}, expected what comment lines begin with, such as #, or no")
        return value

    @field_validator("separator")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        if value is not None and (len(value) != 1 or value in '\r\n"\0'):
            raise ValueError(f"found {value!r}, expected one character, or a name: tab, space")
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                codecs.lookup(value)
            except LookupError:
                raise ValueError(f"there is no encoding {value!r}; for example utf-8, cp1252, utf-16") from None
        return value

    @field_validator("skip_rows")
    @classmethod
    def _counted_from_one(cls, value: Skipped) -> Skipped:
        if isinstance(value, list) and any(row < 1 for row in value):
            raise ValueError(f"found {min(value)} in the list; rows are counted from 1, the first below the header")
        if isinstance(value, int) and value < 0:
            raise ValueError(f"found {value}, expected how many rows below the header to leave out")
        return value

    @property
    def skipped(self) -> Collection[int]:
        """The numbers of the rows to leave out, from 1 below the header."""
        return range(1, self.skip_rows + 1) if isinstance(self.skip_rows, int) else set(self.skip_rows)

    def only_number(self, name: str) -> bool:
        """Say whether a column can hold nothing but numbers, as outputs do."""
        return False

    @model_validator(mode="after")
    def _marks_differ(self) -> Reading:
        if self.thousands is not None and self.thousands == self.decimal:
            raise ValueError(f"`thousands` and `decimal` are both {self.decimal!r}; they must differ")
        return self


class Automatic(Reading):
    """What a file is read with where the user has no way to say more, as in a table of targets."""

    adjustable: ClassVar[bool] = False


@dataclass(frozen=True)
class LoadedTable:
    """A table file as it was understood.

    Attributes
    ----------
    frame : pandas.DataFrame
        n rows: whole numbers, decimal numbers, true/false and text. What is missing is NaN.
    names : tuple of str
        All columns of the file, read or not.
    understood : tuple of str
        How the file was read, in words.
    notes : tuple of str
        What is odd about it.
    rows : ndarray of int
        (n,) each row's number in the file, counted from 1 below the header.
    lines : ndarray of int, optional
        (n,) the line of the text file, or the row of the sheet, in which each row begins.
    line : str
        What `lines` counts.
    words : mapping
        For each column of numbers, the texts that were taken as missing, and how often.
    index : ndarray of int, optional
        (n,) the row numbers that were found in the file and left out.
    refused : tuple of str
        The columns that can't be used, such as dates; they are refused where they are needed.
    units : mapping
        The units of columns, as the file says them in a line of their own or behind the numbers.
    gapped : tuple of str
        The columns of true/false in which some values are missing, so that they are 1 and 0 and NaN.
    files : tuple of Path
        The files whose rows stand one below the other, where there are several.
    file : ndarray of int, optional
        (n,) the number of each row's file among them.
    """

    frame: pd.DataFrame
    names: tuple[str, ...]
    understood: tuple[str, ...]
    notes: tuple[str, ...]
    rows: NDArray[np.intp]
    lines: NDArray[np.intp] | None = None
    line: str = "line"
    words: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    index: NDArray[np.int64] | None = None
    refused: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    gapped: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    file: NDArray[np.intp] | None = None

    def place(self, position: int) -> str:
        """Say where row `position` (from 0) of the frame stands in the file."""
        line = None if self.lines is None or self.lines[position] == 0 else self.lines[position]
        found = place(self.rows[position], line, self.line)
        return found if self.file is None else f"{found} of {self.files[self.file[position]]}"
