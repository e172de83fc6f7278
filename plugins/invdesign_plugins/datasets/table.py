"""A table of the user's own: one CSV or parquet file, or a features and a targets file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from invdesign_core.plugin import Context, Data, DataError, Dataset, near_match, read_table


class Table(Dataset):
    """Designs and responses from a CSV or parquet file, or from a features and a targets file.

    Whole numbers become integer variables, booleans binary ones, text categories; `kinds` says
    otherwise where that is wrong.
    """

    name: ClassVar[str] = "table"

    path: Path | None = Field(None, description="CSV or parquet file with designs and outputs.")
    features: Path | None = Field(None, description="CSV or parquet file with the designs alone.")
    targets: Path | None = Field(None, description="CSV or parquet file with the outputs alone, row by row.")
    outputs: list[str] = Field(
        default_factory=list,
        description="The output columns; with a targets file by default all of its columns.",
    )
    inputs: list[str] | None = Field(
        None, description="The design variables; by default every column that is no output."
    )
    kinds: dict[str, Literal["continuous", "integer", "binary", "categorical", "levels"]] = Field(
        default_factory=dict, description="Kinds of variables, where the column's type doesn't say it."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Table:
        if self.path is None and (self.features is None or self.targets is None):
            raise ValueError("name a file: `path`, or `features` and `targets`")
        if self.path is not None and (self.features is not None or self.targets is not None):
            raise ValueError("`path` contradicts `features` and `targets`; keep the one or the others")
        if self.path is not None and not self.outputs:
            raise ValueError("name the output columns: `outputs`")
        return self

    def load(self, ctx: Context) -> Data:
        """Read the file or files."""
        if self.path is not None:
            path = ctx.folder / self.path
            frame, outputs = read_table(path), self.outputs
        else:
            assert self.features is not None
            assert self.targets is not None
            path = ctx.folder / self.features
            designs, responses = read_table(path), read_table(ctx.folder / self.targets)
            if len(designs) != len(responses):
                raise DataError(
                    f"{self.features} has {len(designs)} rows, {self.targets} has {len(responses)}",
                    "row i of the one belongs to row i of the other",
                )
            both = [name for name in designs.columns if name in responses.columns]
            if both:
                raise DataError(f"the column {both[0]!r} is in {self.features} and in {self.targets}", "rename one")
            import pandas as pd

            frame = pd.concat([designs, responses], axis=1)
            outputs = self.outputs or list(responses.columns)
        for name in (*outputs, *(self.inputs or []), *self.kinds):
            if name not in frame.columns:
                raise DataError(f"{path}: there is no column {name!r}", near_match(name, frame.columns))
        inputs: Any = self.inputs
        if inputs is None and self.targets is not None:
            inputs = list(designs.columns)
        try:
            data = Data.from_frame(frame, outputs, inputs, self.kinds, name=path.name)  # type: ignore[arg-type]
        except DataError as error:
            raise DataError(f"{path}: {error.message}", error.hint) from None
        ctx.note(f"{path.name}: {len(frame)} rows; " + ", ".join(f"{v.name} ({v.kind})" for v in data.space.variables))
        return data
