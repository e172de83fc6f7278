"""A large result that is written as it grows: parts in a folder beside it, joined and renamed at the end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign_core.errors import ConfigError, RunStoreError, reason, writing

if TYPE_CHECKING:
    import pandas as pd


class Parts:
    """The parts of one table, kept until it is whole, so that a killed run goes on where it was.

    Parameters
    ----------
    target : Path
        The ``.parquet`` or ``.csv`` file to make.
    identity : mapping
        What the parts depend on; parts of another identity are not gone on with.

    Raises
    ------
    ConfigError
        If the file has another ending.
    RunStoreError
        If it is there already, belongs to another solve that is unfinished, or can't be written.
    """

    def __init__(self, target: Path, identity: dict[str, Any]) -> None:
        if target.suffix.lower() not in (".parquet", ".csv"):
            raise ConfigError(f"{target}: found the ending {target.suffix!r}, expected .parquet or .csv")
        if target.exists():
            raise RunStoreError(f"{target}: the file is there already", "choose another --out, or take it away")
        self.target = target
        self.folder = target.with_name(f".{target.name}.parts")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check(json.loads(json.dumps(identity)))
        except OSError as error:
            if not self.done:
                shutil.rmtree(self.folder, ignore_errors=True)
            raise RunStoreError(f"{target}: can't be written: {reason(error)}", "choose another --out") from None

    @property
    def done(self) -> set[int]:
        """The numbers of the parts that are there."""
        return {int(path.stem) for path in self.folder.glob("*.parquet") if path.stem.isdigit()}

    def write(self, number: int, table: pd.DataFrame) -> None:
        """Write one part under a temporary name, and rename it.

        Raises
        ------
        RunStoreError
            If it can't be written.
        """
        partial = self.folder / f"{number}.partial"
        with self._writing(partial):
            table.to_parquet(partial, index=False)
            partial.replace(self.folder / f"{number}.parquet")

    def join(self) -> None:
        """Join the parts in their order into the file, part by part, and take them away.

        Raises
        ------
        RunStoreError
            If the file can't be written; the parts stay.
        """
        partial = self.target.with_name(f".{self.target.name}.partial")
        with self._writing(partial):
            self._join(partial)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _join(self, partial: Path) -> None:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet as pq

        writer: Any = None
        for number in sorted(self.done):
            table = pq.read_table(self.folder / f"{number}.parquet")
            if writer is None:
                kind = pq.ParquetWriter if self.target.suffix.lower() == ".parquet" else pa.csv.CSVWriter
                schema = table.schema
                writer = kind(partial, schema)
            writer.write_table(table.cast(schema))
        if writer is not None:
            writer.close()
            partial.replace(self.target)

    @contextmanager
    def _writing(self, partial: Path) -> Iterator[None]:
        """Say of a failure to write what is kept; what was half written goes, to make room."""
        try:
            hint = f"what is solved is kept in {self.folder}; make room, and the same command goes on with it"
            with writing(self.target, hint):
                yield
        except RunStoreError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise

    def _check(self, identity: dict[str, Any]) -> None:
        path = self.folder / "identity.json"
        if path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            changed = [key for key in {**before, **identity} if before.get(key) != identity.get(key)]
            if changed and self.done:  # a solve that was refused leaves nothing to go on with
                raise RunStoreError(
                    f"{self.target}: an unfinished solve is there, with other {', '.join(changed)}",
                    f"ask for the same again to go on with it, or take {self.folder} away",
                )
        path.write_text(json.dumps(identity), encoding="utf-8")
