"""Standardised rows to learn from that stay on disk: a file without a name, which goes with the process."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.data import Data
from invdesign_core.data.large import mixed
from invdesign_core.errors import FREE, DataError, writing
from invdesign_core.space.arrays import FloatArray

RUN = 1024
"""Rows that are read together."""
RUNS = 64
"""Runs of rows, from anywhere in the file, that are mixed before a network sees them."""


class RowsOnDisk:
    """n rows of float32: `inputs` columns of a network's inputs, and those of its outputs."""

    def __init__(self, folder: Path | None, inputs: int, outputs: int) -> None:
        self._place = folder or Path(tempfile.gettempdir())
        with writing(self._place):
            self._file: Any = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._lock = threading.Lock()
        self.inputs, self.width, self.count = inputs, inputs + outputs, 0

    def add(self, rows: NDArray[Any]) -> None:
        """Write some rows behind the others."""
        with writing(self._place, FREE):
            self._file.write(np.ascontiguousarray(rows, dtype=np.float32).tobytes())
        self.count += len(rows)

    @property
    def runs(self) -> int:
        """How many runs of rows there are; the last may be shorter."""
        return -(-self.count // RUN)

    def read(self, run: int) -> NDArray[np.float32]:
        """Return the rows of a run."""
        with self._lock:
            self._file.seek(run * RUN * self.width * 4)
            content = self._file.read(RUN * self.width * 4)
        return np.frombuffer(content, dtype=np.float32).reshape(-1, self.width)

    def mixed(self, runs: NDArray[np.int32], before: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the rows of some runs and those left from before, in an order that follows from the runs."""
        rows = np.concatenate([before, *(self.read(int(run)) for run in runs)])
        return np.asarray(rows[np.random.default_rng(runs.tolist()).permutation(len(rows))])


def rows_to_learn(
    data: Data,
    held: FloatArray,
    standardised: Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]],
    folder: Path | None,
) -> RowsOnDisk:
    """Write all rows of a large table but for those with one of the (n, e) held designs, `standardised`, to disk."""
    assert data.large is not None
    found = RowsOnDisk(folder, data.space.width, len(data.outputs))
    kept_out, seen = mixed(held), 0
    for block in data.large.blocks():
        x, y = data.space.encode(block), block[list(data.outputs)].to_numpy(dtype=np.float64)
        found.add(np.hstack(standardised(x, y))[~np.isin(mixed(x), kept_out)])
        seen += len(block)
    if seen != data.large.count:
        raise DataError(f"{data.large.path}: found {seen} rows, where there were {data.large.count} before")
    return found
