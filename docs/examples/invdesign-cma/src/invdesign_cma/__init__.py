"""CMA-ES, by the package cmaes, as a solver for invdesign; the entry point names this module."""

from __future__ import annotations

from invdesign_core.plugin import Solver, hookimpl


@hookimpl
def invdesign_solvers() -> list[type[Solver]]:
    """Return the solver."""
    from invdesign_cma.cma import CmaEs

    return [CmaEs]
