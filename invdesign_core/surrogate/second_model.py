"""The second model: a surrogate of another family that takes no part in a search, and tells how far to trust it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from invdesign_core.errors import RunStoreError, writing
from invdesign_core.space.arrays import FloatArray
from invdesign_core.surrogate.sealed import read_arrays, read_bytes
from invdesign_core.surrogate.settings import LEVEL
from invdesign_core.surrogate.surrogate import DAMAGED, Surrogate, read_meta
from invdesign_core.targets import Prediction

ABOUT = "confidence.npz"
"""The file beside the members that holds what is known besides them."""
ARRAYS = ("ratios", "noise", "searched_knows")
OUTLIER = 4.0
"""Errors of more standard deviations than these count as so many."""
SMALLEST = 1e-6
"""In standard deviations of an output: less than this is rounding of single precision."""


@dataclass(frozen=True)
class SecondModel:
    """A second forward map, learnt from the same rows by another kind of model, and how far it can be trusted.

    Attributes
    ----------
    surrogate : Surrogate
        From n designs to m outputs and their standard deviations.
    plugin : str
        The surrogate plugin that built it.
    ratios : (k, m) array
        Of k rows that it had not learnt from: measured less predicted, over the standard deviation of a measurement
        there, which is that of the model and the noise. NaN where one was not measured.
    noise : (m,) array
        Standard deviations of a measurement about its mean, in the user's units.
    searched_knows : bool
        Whether the searched model tells how sure it is, as a process does: then `ratios` and `noise` are its own.
    level : float
        The share of cases in which intervals are to hold.
    """

    surrogate: Surrogate
    plugin: str
    ratios: FloatArray
    noise: FloatArray
    searched_knows: bool = False
    level: float = LEVEL

    @property
    def digest(self) -> str:
        """A checksum of what it answers with."""
        weights = [np.asarray(net.get_weights()[i]) for net in self.surrogate.members for i in range(len(net.weights))]
        return hashlib.sha256(b"".join(part.tobytes() for part in (self.ratios, self.noise, *weights))).hexdigest()

    def predict(self, x: FloatArray) -> Prediction:
        """Return the (n, m) means and standard deviations of the function, without the noise, in the user's units."""
        found = self.surrogate.predict(x)
        least = SMALLEST * np.abs(self.surrogate.scale)
        std = np.zeros_like(found.mean) if found.std is None else found.std
        return Prediction(found.mean, np.maximum(std, least))

    @property
    def scale(self) -> FloatArray:
        """(m,) how large errors are beside their standard deviations, at most 1: the root of the mean square."""
        ratios = np.clip(self.ratios, -OUTLIER, OUTLIER)
        return np.asarray(np.minimum(np.sqrt(np.nanmean(ratios**2, axis=0)), 1.0))

    def quantile(self, level: float) -> FloatArray:
        """Return (m,) how many standard deviations hold this share of measurements, infinite where rows are too few.

        It is the split-conformal quantile of the rows that were not learnt from (Lei, G'Sell, Rinaldo, Tibshirani and
        Wasserman, "Distribution-free predictive inference for regression", JASA 113, 2018).
        """
        found = np.full(self.ratios.shape[1], np.inf)
        for m, own in enumerate(self.ratios.T):
            size = np.sort(np.abs(own[np.isfinite(own)]))
            at = math.ceil(round((len(size) + 1) * level, 9))
            if at <= len(size):
                found[m] = size[at - 1]
        return found

    def save(self, folder: Path, of: str) -> None:
        """Write it into a folder, with checksums of its files; `of` is that of the searched surrogate."""
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            arrays = {name: getattr(self, name) for name in ARRAYS}
            np.savez_compressed(folder / ABOUT, plugin=np.array(self.plugin), of=np.array(of), **arrays)
        self.surrogate.save(folder)

    @classmethod
    def load(cls, folder: Path, level: float, of: str) -> SecondModel:
        """Read what `save` wrote, if it was of this searched surrogate."""
        path, files = folder / ABOUT, read_meta(folder)["files"]
        if ABOUT not in files:
            raise RunStoreError(f"{path}: the file is missing", DAMAGED)
        content = read_bytes(path, DAMAGED, files[ABOUT])  # quicker than the members, so damage is told sooner
        stored = read_arrays(content, path, DAMAGED)
        if "of" in stored and str(stored["of"]) != of:  # earlier versions did not write it
            raise RunStoreError(
                f"{path}: found the second model of another surrogate: one of the two is of another run, or a resumed "
                "run has not finished",
                f"{DAMAGED}, or resume it (--resume)",
            )
        lacking = {*ARRAYS, "plugin"} - set(stored)
        if lacking:
            raise RunStoreError(f"{path}: there is no array {min(lacking)!r}", DAMAGED)
        ratios, noise, knows = (stored[name] for name in ARRAYS)
        return cls(Surrogate.load(folder), str(stored["plugin"]), ratios, noise, bool(knows), level)
