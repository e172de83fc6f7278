"""A large result that is written as it grows: parts in a folder beside it, joined and renamed at the end."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign_core.data.files.write import check_ending, of_one_type_each, write_pieces
from invdesign_core.errors import RunStoreError, reason, writing
from invdesign_core.surrogate.sealed import read_bytes, read_sealed, seal

if TYPE_CHECKING:
    import pandas as pd

_PART = re.compile(r"(\d+)-([0-9a-f]{64})\.parquet")
"""A part's name: its number, and the checksum of its number and content."""


class ChunkedTable:
    """The parts of one table, kept until it is whole, so that a killed run goes on where it was.

    Parameters
    ----------
    target : Path
        The ``.csv``, ``.parquet`` or ``.xlsx`` file to make.
    identity : mapping
        What the parts depend on; parts of another identity are not gone on with.

    Raises
    ------
    ConfigError
        If the file has another ending, or what writes it is not installed.
    RunStoreError
        If it is there already, belongs to another solve that is unfinished, or can't be written, or if a part is
        damaged.
    """

    def __init__(self, target: Path, identity: dict[str, Any]) -> None:
        check_ending(target)
        if target.exists():
            raise RunStoreError(f"{target}: the file already exists", "choose another --out, or delete it")
        self.target = target
        self.folder = target.with_name(f".{target.name}.parts")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check(json.loads(json.dumps(identity)))
        except OSError as error:
            if not self.done:
                shutil.rmtree(self.folder, ignore_errors=True)
            raise RunStoreError(f"{target}: can't be written: {reason(error)}", "choose another --out") from None
        for number in self.done:
            self._read(number)

    @property
    def done(self) -> set[int]:
        """The numbers of the parts that are there."""
        return set(self._files())

    def write(self, number: int, table: pd.DataFrame) -> None:
        """Write one part under a temporary name, and rename it.

        Raises
        ------
        RunStoreError
            If it can't be written.
        """
        partial = self.folder / f"{number}.partial"
        with self._writing(partial):
            of_one_type_each(table).to_parquet(partial, index=False)
            digest = hashlib.sha256(_salt(number) + partial.read_bytes()).hexdigest()
            partial.replace(self.folder / f"{number}-{digest}.parquet")

    def join(self) -> None:
        """Join the parts in their order into the file, part by part, and take them away.

        Raises
        ------
        RunStoreError
            If the file can't be written; the parts stay.
        """
        if self.done:
            with self._writing(self.target.with_name(f".{self.target.name}.partial")):
                write_pieces(self.target, self.tables())
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def _writing(self, partial: Path) -> Iterator[None]:
        """Say of a failure to write what is kept; what was half written goes, to make room."""
        try:
            hint = (
                f"finished targets are saved in {self.folder}; free some disk space and run the same command to resume"
            )
            with writing(self.target, hint):
                yield
        except RunStoreError:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise

    def tables(self, columns: list[str] | None = None) -> Iterator[pd.DataFrame]:
        """Return the parts in their order, or some of their columns."""
        import pandas as pd

        for number in sorted(self.done):
            yield pd.read_parquet(io.BytesIO(self._read(number)), columns=columns)

    def _files(self) -> dict[int, Path]:
        matches = ((_PART.fullmatch(path.name), path) for path in self.folder.glob("*.parquet"))
        return {int(match[1]): path for match, path in matches if match}

    def _read(self, number: int) -> bytes:
        """Return a part as it was written."""
        path = self._files()[number]
        match = _PART.fullmatch(path.name)
        assert match is not None
        return read_bytes(path, "delete this file; its targets will be solved again", match[2], _salt(number))

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
        path.write_text(json.dumps(seal(identity)), encoding="utf-8")


def _salt(number: int) -> bytes:
    """Return what a part's number adds to its checksum, so that no part passes for another."""
    return f"{number} ".encode()
