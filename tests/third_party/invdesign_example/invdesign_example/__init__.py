"""One plugin of each kind, and an observer; the entry point names this module."""

from __future__ import annotations

import json
import os

from invdesign_core.plugin import Dataset, Event, Objective, Solver, SurrogateBuilder, Tuner, hookimpl


@hookimpl
def invdesign_datasets() -> list[type[Dataset]]:
    """Return the dataset."""
    from invdesign_example.cantilever import Cantilever

    return [Cantilever]


@hookimpl
def invdesign_surrogates() -> list[type[SurrogateBuilder]]:
    """Return the surrogate builder."""
    from invdesign_example.forest import Forest

    return [Forest]


@hookimpl
def invdesign_tuners() -> list[type[Tuner]]:
    """Return the tuner."""
    from invdesign_example.few_draws import FewDraws

    return [FewDraws]


@hookimpl
def invdesign_objectives() -> list[type[Objective]]:
    """Return the objective."""
    from invdesign_example.pseudo_huber import PseudoHuber

    return [PseudoHuber]


@hookimpl
def invdesign_solvers() -> list[type[Solver]]:
    """Return the solver."""
    from invdesign_example.one_plus_one import OnePlusOne

    return [OnePlusOne]


@hookimpl
def invdesign_event(event: Event) -> None:
    """Append the event as a line of JSON to the file that ``$INVDESIGN_EXAMPLE_LOG`` names, if any."""
    path = os.environ.get("INVDESIGN_EXAMPLE_LOG")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": event.kind, **event.data}, default=str) + "\n")
