"""All inputs that could have given a measured response, for invdesign; the entry point names this module."""

from __future__ import annotations

from invdesign_core.plugin import Objective, Solver, hookimpl


@hookimpl
def invdesign_objectives() -> list[type[Objective]]:
    """Return the objective."""
    from invdesign_sbi.likelihood import Likelihood

    return [Likelihood]


@hookimpl
def invdesign_solvers() -> list[type[Solver]]:
    """Return the solver."""
    from invdesign_sbi.posterior import Posterior

    return [Posterior]
