"""Optics of thin films, by the package tmm, as a dataset for invdesign; the entry point names this module."""

from __future__ import annotations

from invdesign_core.plugin import Dataset, hookimpl


@hookimpl
def invdesign_datasets() -> list[type[Dataset]]:
    """Return the dataset."""
    from invdesign_thinfilm.film import ThinFilm

    return [ThinFilm]
