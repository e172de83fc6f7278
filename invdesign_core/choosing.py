"""Which solver takes a problem: what each can do is declared, held to, and used to choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from invdesign_core.errors import ConfigError, PluginError, near_match
from invdesign_core.plugin import Solver
from invdesign_core.registry import Registry, build_options

if TYPE_CHECKING:
    from invdesign_core.plugin import Objective, Plugin

AUTO = "auto"
"""The name that lets the core choose the solver."""


def pick_solver(
    registry: Registry,
    use: str,
    options: Mapping[str, Any],
    objective: Objective,
    differentiable: bool,
    surrogate: str,
) -> Solver:
    """Return the solver of that name, held to the problem, or for ``auto`` the first that can take it.

    Parameters
    ----------
    registry : Registry
        The installed plugins.
    use : str
        A solver's name, or ``auto``.
    options : mapping
        Its options.
    objective, differentiable, surrogate
        As for `check_solver`.

    Raises
    ------
    PluginError, ConfigError
        If there is no such solver, it can't take the problem, or an option is refused.
    """
    installed = registry.labels("solver")
    if use == AUTO:
        return choose_solver(installed, objective, differentiable, surrogate, options)
    solver: Any = registry.create("solver", use, options)
    check_solver(solver, objective, differentiable, surrogate, installed)
    chosen: Solver = solver
    return chosen


def check_solver(
    solver: Solver,
    objective: Objective,
    differentiable: bool,
    surrogate: str,
    installed: Mapping[str, type[Plugin]] | None = None,
) -> None:
    """Refuse, before any training, a solver that can't take the problem.

    Parameters
    ----------
    solver : Solver
        What was asked for.
    objective : Objective
        Whether it has residuals.
    differentiable : bool
        Whether the surrogate has gradients.
    surrogate : str
        Its name, for the message.
    installed : mapping, optional
        The installed solvers by name.

    Raises
    ------
    PluginError
        Naming what is missing and the installed solvers that can.
    """
    lack = _lack(type(solver), objective, differentiable, surrogate)
    if lack:
        can = [label for label, other in _solvers(installed) if not _lack(other, objective, differentiable, surrogate)]
        hint = f"solvers that can: {', '.join(can)}" if can else "no installed solver can; install one that needs less"
        raise PluginError(f"solver {solver.name!r} {lack}", hint)


def choose_solver(
    installed: Mapping[str, type[Plugin]],
    objective: Objective,
    differentiable: bool,
    surrogate: str,
    options: Mapping[str, Any],
) -> Solver:
    """Return the first solver, by rank, that can take the problem.

    Parameters
    ----------
    installed : mapping
        The installed solvers by name.
    objective, differentiable, surrogate
        As for `check_solver`.
    options : mapping
        Options that every solver has: `starts` and `init`.

    Raises
    ------
    PluginError
        If no installed solver can, naming what it would need to do without.
    ConfigError
        If an option belongs to one solver.
    """
    for key in options:
        if key not in Solver.model_fields:
            raise ConfigError(
                f"[solver] auto: there is no option {key!r}",
                f"{near_match(key, Solver.model_fields)}; options of one solver need that solver named (use = ...)",
            )
    ranked = sorted((s for s in _solvers(installed) if s[1].rank is not None), key=lambda item: (item[1].rank, item[0]))
    for label, solver in ranked:
        if not _lack(solver, objective, differentiable, surrogate):
            chosen: Solver = build_options(solver, options, f"[solver] {label}")
            return chosen
    missing = "gradients" if not differentiable else "residuals"
    raise PluginError(
        f"no installed solver can invert surrogate {surrogate!r} with objective {objective.name!r}: "
        f"there are no {missing}, which each of them needs",
        "install a solver that needs none",
    )


def _solvers(installed: Mapping[str, type[Plugin]] | None) -> list[tuple[str, type[Solver]]]:
    return [(label, plugin) for label, plugin in (installed or {}).items() if issubclass(plugin, Solver)]


def _lack(solver: type[Solver], objective: Objective, differentiable: bool, surrogate: str) -> str | None:
    """Return what a solver needs and the problem doesn't have, or None."""
    if "gradient" in solver.needs and not differentiable:
        return f"needs gradients, and surrogate {surrogate!r} has none"
    if "residuals" in solver.needs:
        if not objective.has_residuals:
            return f"needs residuals, and objective {objective.name!r} has none"
        if not differentiable:
            return f"needs Jacobians, and surrogate {surrogate!r} has none"
    return None
