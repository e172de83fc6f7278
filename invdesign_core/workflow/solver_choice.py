"""Which solver takes a problem: what each can do is declared, held to, and used to choose."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from invdesign_core.errors import ConfigError, PluginError, near_match
from invdesign_core.plugin import Solver
from invdesign_core.registry import Registry, build_options
from invdesign_core.workflow.defaults import AUTO

if TYPE_CHECKING:
    from invdesign_core.plugin import Objective, Plugin


@dataclass(frozen=True)
class Requirements:
    """What a problem has to offer a solver, and what it asks of one; `surrogate` is a name, for messages."""

    objective: Objective
    surrogate: str
    differentiable: bool = True
    linear: bool = False
    """Whether there are linear constraints on the designs."""
    extremum: bool = False
    """Whether an output is to be as small or as large as possible. The residual is large at such an answer, which is
    what methods for sums of squares are worst at, so `auto` asks them last."""


def pick_solver(registry: Registry, use: str, options: Mapping[str, Any], demand: Requirements) -> Solver:
    """Return the solver of that name, held to the problem, or for ``auto`` the first that can take it."""
    installed = registry.labels("solver")
    if use == AUTO:
        later = {label for label, solver in installed.items() if not registry.is_preferred(solver)}
        return choose_solver(installed, demand, options, later)
    solver: Any = registry.create("solver", use, options)
    return check_solver(solver, demand, installed)


def check_solver(solver: Solver, demand: Requirements, installed: Mapping[str, type[Plugin]] | None = None) -> Solver:
    """Return a solver, unless it can't take the problem: then name what is missing, and those installed that can."""
    lack = _lack(type(solver), demand)
    if lack:
        can = [label for label, other in _solvers(installed or {}) if not _lack(other, demand)]
        hint = f"solvers that can: {', '.join(can)}" if can else f"no installed solver can; {_needed(demand)}"
        raise PluginError(f"solver {solver.name!r} {lack}", hint)
    return solver


def choose_solver(
    installed: Mapping[str, type[Plugin]],
    demand: Requirements,
    options: Mapping[str, Any],
    later: Collection[str] = (),
) -> Solver:
    """Return the first solver, by rank, that can take the problem, with options that every solver has.

    Those of `later` are asked after all others, whatever their rank.
    """
    for key in options:
        if key not in Solver.model_fields:
            raise ConfigError(
                f"[solver] auto: there is no option {key!r}",
                f"{near_match(key, Solver.model_fields)}; options of one solver need that solver named (use = ...)",
            )

    def place(item: tuple[str, type[Solver]]) -> tuple[bool, bool, int, str, str]:
        label, solver = item  # the label has the distribution in front where another one shares the name
        return label in later, demand.extremum and "residuals" in solver.needs, solver.rank or 0, solver.name, label

    for label, solver in sorted((item for item in _solvers(installed) if item[1].rank is not None), key=place):
        if not _lack(solver, demand):
            chosen: Solver = build_options(solver, options, f"[solver] {label}")
            return chosen
    raise PluginError(
        f"no installed solver can invert surrogate {demand.surrogate!r} with objective {demand.objective.name!r}: "
        f"{_needed(demand)}",
        "install a solver that can",
    )


def _solvers(installed: Mapping[str, type[Plugin]]) -> list[tuple[str, type[Solver]]]:
    return [(label, plugin) for label, plugin in installed.items() if issubclass(plugin, Solver)]


def _lack(solver: type[Solver], demand: Requirements) -> str | None:
    """Return what a solver needs and the problem doesn't have, or can't do and the problem asks for; or None."""
    if "gradient" in solver.needs and not demand.differentiable:
        return f"needs gradients, and surrogate {demand.surrogate!r} has none"
    if "residuals" in solver.needs:
        if not demand.objective.has_residuals:
            return f"needs residuals, and objective {demand.objective.name!r} has none"
        if not demand.differentiable:
            return f"needs Jacobians, and surrogate {demand.surrogate!r} has none"
    if demand.linear and "linear" not in solver.handles:
        return "does not handle linear constraints, and [design] has some"
    return None


def _needed(demand: Requirements) -> str:
    """Say what a solver of the problem would have to do."""
    has_to = [
        *(["handle linear constraints"] if demand.linear else []),
        *(["do without gradients"] if not demand.differentiable else []),
        *(["do without residuals"] if not demand.objective.has_residuals else []),
    ]
    return f"one would have to {' and '.join(has_to)}" if has_to else "no solver is installed"
