"""The hooks that a plugin module may implement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invdesign_core.plugin import Dataset, Event, Objective, Solver, SurrogateBuilder, Tuner

hookspec = pluggy.HookspecMarker("invdesign")


@hookspec
def invdesign_datasets() -> Sequence[type[Dataset]]:  # type: ignore[empty-body]
    """Return dataset classes."""


@hookspec
def invdesign_surrogates() -> Sequence[type[SurrogateBuilder]]:  # type: ignore[empty-body]
    """Return surrogate builder classes."""


@hookspec
def invdesign_tuners() -> Sequence[type[Tuner]]:  # type: ignore[empty-body]
    """Return tuner classes."""


@hookspec
def invdesign_objectives() -> Sequence[type[Objective]]:  # type: ignore[empty-body]
    """Return objective classes."""


@hookspec
def invdesign_solvers() -> Sequence[type[Solver]]:  # type: ignore[empty-body]
    """Return solver classes."""


@hookspec
def invdesign_event(event: Event) -> None:
    """Observe a run: called with each event, on the thread of the run."""
