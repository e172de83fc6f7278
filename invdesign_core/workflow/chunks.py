"""A large result that is written as it grows: parts in a folder beside it, joined at the end."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from invdesign_core.data.files.atomic import atomic_write
from invdesign_core.data.files.write import check_ending, of_one_type_each, write_pieces
from invdesign_core.errors import RunStoreError, writing
from invdesign_core.surrogate.sealed import read_bytes, read_sealed, seal

if TYPE_CHECKING:
    import pandas as pd

_PART = re.compile(r"(\d+)-([0-9a-f]{64})\.parquet")
"""A part's name: its number, and the checksum of its number and content."""


class ChunkedTable:
    """The parts of a .csv, .parquet or .xlsx file to come, kept so that a killed solve is resumed where it was.

    Parts that were made of something else than `identity`, or are damaged, are refused.
    """

    def __init__(self, target: Path, identity: dict[str, Any]) -> None:
        check_ending(target)
        if target.exists():
            raise RunStoreError(f"{target}: the file already exists", "choose another --out, or delete it")
        self.target = target
        self.folder = target.with_name(f".{target.name}.parts")
        self._hint = (
            f"finished targets are saved in {self.folder}; free some disk space and run the same command to resume"
        )
        try:
            with writing(target, "choose another --out"):
                self.folder.mkdir(parents=True, exist_ok=True)
                self._check(to_jsonable_python(identity))
        except RunStoreError:
            if not self.done:
                shutil.rmtree(self.folder, ignore_errors=True)
            raise
        for match in self._files().values():
            self._read(match)

    @property
    def done(self) -> set[int]:
        """The numbers of the parts that are there."""
        return set(self._files())

    def write(self, number: int, table: pd.DataFrame) -> None:
        """Write one part."""
        content: bytes = of_one_type_each(table).to_parquet(None, index=False)
        digest = hashlib.sha256(_salt(number) + content).hexdigest()
        with atomic_write(self.folder / f"{number}-{digest}.parquet", self._hint, self.target) as partial:
            partial.write_bytes(content)

    def join(self) -> None:
        """Join the parts in their order into the file, and take them away; they stay where that fails."""
        if self.done:
            write_pieces(self.target, self.tables(), self._hint)
        shutil.rmtree(self.folder, ignore_errors=True)

    def tables(self, columns: Collection[str] | None = None) -> Iterator[pd.DataFrame]:
        """Return the parts in their order, or some of the columns, of those that there are."""
        for _, table in self.numbered(columns):
            yield table

    def numbered(self, columns: Collection[str] | None = None) -> Iterator[tuple[int, pd.DataFrame]]:
        """Return the parts with their numbers, in their order."""
        import pandas as pd
        import pyarrow.parquet as pq

        for number, match in sorted(self._files().items()):
            content = io.BytesIO(self._read(match))
            wanted = None if columns is None else [name for name in pq.read_schema(content).names if name in columns]
            yield number, pd.read_parquet(content, columns=wanted)

    def _files(self) -> dict[int, re.Match[str]]:
        matches = (_PART.fullmatch(path.name) for path in self.folder.glob("*.parquet"))
        return {int(match[1]): match for match in matches if match}

    def _read(self, match: re.Match[str]) -> bytes:
        """Return a part as it was written."""
        hint = "delete this file; its targets will be solved again"
        return read_bytes(self.folder / match[0], hint, match[2], _salt(int(match[1])))

    def _check(self, identity: dict[str, Any]) -> None:
        path = self.folder / "identity.json"
        if self.done:  # a solve that was refused leaves nothing to resume
            before = read_sealed(path, f"delete {self.folder}; all targets will be solved again")
            changed = [key for key in {**before, **identity} if before.get(key) != identity.get(key)]
            if changed:
                raise RunStoreError(
                    f"{self.target}: found an unfinished solve with different {', '.join(changed)}",
                    f"repeat the same command to resume it, or delete {self.folder}",
                )
        with atomic_write(path, "choose another --out", self.target) as partial:
            partial.write_text(json.dumps(seal(identity)), encoding="utf-8")


def _salt(number: int) -> bytes:
    """Return what a part's number adds to its checksum, so that no part passes for another."""
    return f"{number} ".encode()
