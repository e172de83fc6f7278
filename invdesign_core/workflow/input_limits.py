"""What targets say of inputs: limits and values, which narrow the search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError, near_or_all
from invdesign_core.space.digits import span, typed
from invdesign_core.space.overrides import VariableOverrides, restricted
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.targets import Target


def narrowed(space: Space, wanted: Mapping[str, Target]) -> Space:
    """Return the space inside the limits, and at the values, that targets set for its inputs; it never gets wider."""
    if not any(name in wanted for name in space.names):
        return space
    return Space(tuple(_narrow(v, wanted[v.name]) if v.name in wanted else v for v in space.variables), space.given)


def _narrow(variable: Variable, target: Target) -> Variable:
    name, place = variable.name, f"target of {variable.name!r}"
    low, high = target.lower, target.upper
    if variable.fixed is not None or variable.lower == variable.upper:
        held = variable.lower if variable.fixed is None else variable.fixed
        kept = held == target.label if target.label is not None else not target.limited or low <= held <= high
        if kept and target.goal is None:
            return variable
        raise ConfigError(
            f"{place}: asked for {str(target).removeprefix('= ')}, but it is fixed at {typed(held)}",
            "remove one of them, or free it with bounds",
        )
    if target.label is not None:
        return restricted(replace(variable, allowed=()), VariableOverrides(fixed=_allowed(variable, target, place)))
    if not target.limited:
        return variable
    inside = [(max(a, low), min(b, high)) for a, b in variable.pairs if max(a, low) <= min(b, high)]
    lowest, highest = variable.lower, variable.upper
    beyond = low < high and np.isfinite([low, high]).all() and (low < lowest or high > highest)
    if not inside or beyond:
        option = f"--fixed '{name}={typed(low)}'" if low == high else f"--bounds '{name}={_range(variable, target)}'"
        raise ConfigError(
            f"{place}: found {str(target).removeprefix('= ')}, expected it inside {span(lowest, highest)}",
            f"a target doesn't widen what an input may be; {option} does",
        )
    if low == high:
        return restricted(variable, VariableOverrides(fixed=int(low) if float(low).is_integer() else low))
    found = restricted(variable, VariableOverrides(bounds=inside))
    if found.step is not None and np.isfinite([found.lower, found.upper]).all() and found.grid.count < 1:
        raise ConfigError(f"{place}: no value on its step lies in {span(low, high)}", "widen it, or take a finer step")
    return found


def _range(variable: Variable, target: Target) -> str:
    """Write a range that holds all that a target allows, for a hint."""
    low = target.lower if np.isfinite(target.lower) else variable.lower
    high = target.upper if np.isfinite(target.upper) else variable.upper
    return f"{typed(min(low, high))}..{typed(max(low, high))}"


def _allowed(variable: Variable, target: Target, place: str) -> Any:
    """Return the label that a category is to have, if the search may take it."""
    if variable.allowed and target.label not in variable.allowed:
        raise ConfigError(
            f"{place}: {target.label!r} is not one of its levels",
            near_or_all(str(target.label), map(str, variable.allowed)),
        )
    return target.label


def check_wanted(wanted: Mapping[str, Target], space: Space) -> None:
    """Refuse targets of which none says what to search for."""
    if wanted and all(name in space.names and target.goal is None for name, target in wanted.items()):
        raise ConfigError(
            f"targets: only values and limits of inputs are given ({', '.join(map(repr, wanted))})",
            "ask for an output too, or for the max or min of an input",
        )


def note_limits(wanted: Mapping[str, Target], space: Space, ctx: Context) -> None:
    """Say which inputs the targets limit or fix."""
    said = [
        f"{n} {replace(t, goal=None)}"
        for n, t in wanted.items()
        if n in space.names and (t.limited or t.label is not None)
    ]
    if said:
        ctx.note(f"limits of inputs, which every design keeps: {', '.join(said)}")
