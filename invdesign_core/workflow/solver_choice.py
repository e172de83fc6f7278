"""Which solver takes a problem: what each can do is declared, held to, and used to choose."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from invdesign_core.errors import ConfigError, PluginError, near_match
from invdesign_core.plugin import Solver
from invdesign_core.registry import Registry, build_options
from invdesign_core.workflow.defaults import AUTO

if TYPE_CHECKING:
    from invdesign_core.plugin import Objective, Plugin

EXTREMUM = re.compile(r"\s*(min|max)(imi[sz]e)?\b", re.IGNORECASE)
"""A target that asks for the least or the most of an output."""


@dataclass(frozen=True)
class Requirements:
    """What a problem has to offer a solver, and what it asks of one."""

    objective: Objective
    surrogate: str
    differentiable: bool = True
    linear: bool = False
    extremum: bool = False


def asks_for_extremum(targets: Mapping[str, Any] | Iterable[str]) -> bool:
    """Return whether targets, as a mapping or as ``NAME=VALUE`` texts, ask for the least or the most of an output.

    Examples
    --------
    >>> asks_for_extremum(["H2=max", "N2<=0.34"]), asks_for_extremum({"H2": {"equals": 0.3}})
    (True, False)
    >>> asks_for_extremum({"H2": [0.3, "max"]})
    True
    """
    values: Iterable[Any]
    if isinstance(targets, Mapping):
        values = [item for value in targets.values() for item in _words(value)]
    else:
        values = [text.rpartition("=")[2] for text in targets]
    return any(isinstance(value, str) and EXTREMUM.match(value) is not None for value in values)


def _words(value: Any) -> list[Any]:
    """Return what may be words in one output's target: itself, a table's keys and values, or a column's cells."""
    if isinstance(value, Mapping):
        return [*value, *value.values()]
    return list(value) if isinstance(value, list) else [value]


def pick_solver(registry: Registry, use: str, options: Mapping[str, Any], demand: Requirements) -> Solver:
    """Return the solver of that name, held to the problem, or for ``auto`` the first that can take it."""
    installed = registry.labels("solver")
    if use == AUTO:
        return choose_solver(installed, demand, options)
    solver: Any = registry.create("solver", use, options)
    check_solver(solver, demand, installed)
    chosen: Solver = solver
    return chosen


def check_solver(solver: Solver, demand: Requirements, installed: Mapping[str, type[Plugin]] | None = None) -> None:
    """Refuse, before any training, a solver that can't take the problem."""
    lack = _lack(type(solver), demand)
    if lack:
        can = [label for label, other in _solvers(installed) if not _lack(other, demand)]
        hint = f"solvers that can: {', '.join(can)}" if can else f"no installed solver can; {_needed(demand)}"
        raise PluginError(f"solver {solver.name!r} {lack}", hint)


def choose_solver(installed: Mapping[str, type[Plugin]], demand: Requirements, options: Mapping[str, Any]) -> Solver:
    """Return the first solver, by rank, that can take the problem.

    Where an output is minimised or maximised, the solvers that need residuals come after all others.
    """
    for key in options:
        if key not in Solver.model_fields:
            raise ConfigError(
                f"[solver] auto: there is no option {key!r}",
                f"{near_match(key, Solver.model_fields)}; options of one solver need that solver named (use = ...)",
            )

    def place(item: tuple[str, type[Solver]]) -> tuple[bool, int, str, str]:
        label, solver = item  # the label has the distribution in front where another one shares the name
        return demand.extremum and "residuals" in solver.needs, solver.rank or 0, solver.name, label

    for label, solver in sorted((item for item in _solvers(installed) if item[1].rank is not None), key=place):
        if not _lack(solver, demand):
            chosen: Solver = build_options(solver, options, f"[solver] {label}")
            return chosen
    raise PluginError(
        f"no installed solver can invert surrogate {demand.surrogate!r} with objective {demand.objective.name!r}: "
        f"{_needed(demand)}",
        "install a solver that can",
    )


def _solvers(installed: Mapping[str, type[Plugin]] | None) -> list[tuple[str, type[Solver]]]:
    return [(label, plugin) for label, plugin in (installed or {}).items() if issubclass(plugin, Solver)]


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
