"""Whether any design satisfies the constraints, and if not, which of them contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from invdesign_core.errors import ConfigError
from invdesign_core.space.allowed_values import AllowedValues, lengths
from invdesign_core.space.linear import Linear
from invdesign_core.space.milp import Program

if TYPE_CHECKING:
    from invdesign_core.space.space import Space
    from invdesign_core.space.variables import Variable


@dataclass(frozen=True)
class _Item:
    """A demand that could be given up: some rows, a limit, or what holds one variable."""

    label: str
    rows: tuple[int, ...] = ()
    limit: int | None = None
    columns: slice | None = None


def conflicts(space: Space) -> tuple[str, ...] | None:
    """Name constraints and bounds that no design satisfies together.

    Demands are given up one by one, those of single variables first; one without which a design exists is taken
    back. What is left at the end is a smallest set: a design exists as soon as any one of them goes.

    Parameters
    ----------
    space : Space
        The design variables and constraints.

    Returns
    -------
    tuple of str or None
        The texts and bounds, as the user would write them; None where a design exists.
    """
    items = _items(space)
    if _possible(space, items):
        return None
    left = list(items)
    for item in items:
        without = [other for other in left if other is not item]
        if not _possible(space, without):
            left = without
    return tuple(item.label for item in sorted(left, key=lambda item: item.columns is not None))


def check_feasible(space: Space, place: str = "constraints") -> None:
    """Refuse a space in which no design satisfies the constraints.

    Parameters
    ----------
    space : Space
        The design variables and constraints.
    place : str
        Where the constraints were written, for the message.

    Raises
    ------
    ConfigError
        Naming those that contradict each other.
    """
    found = conflicts(space)
    if found is None:
        return
    if len(found) == 1:
        raise ConfigError(f"{place}: no design satisfies {found[0]}", "change or drop it")
    raise ConfigError(
        f"{place}: these contradict each other: {'; '.join(found)}",
        "change or drop one of them, whichever matters least",
    )


def _items(space: Space) -> list[_Item]:
    """List what could be given up, variables first; those in no constraint contradict nothing but themselves."""
    rules = space.constraints
    items = [
        _Item(_held_by(variable), columns=columns)
        for variable, columns in zip(space.variables, space.slices, strict=True)
        if variable.kind != "categorical"
    ]
    rows: dict[str, list[int]] = {}
    for row in range(len(rules.linear)):
        label = repr(rules.texts[rules.origin[row]]) if rules.origin else f"row {row + 1} of the constraints"
        rows.setdefault(label, []).append(row)
    items += [_Item(label, rows=tuple(found)) for label, found in rows.items()]
    for number, limit in enumerate(rules.at_most):
        items.append(_Item(repr(limit.text) if limit.text else f"limit {number + 1} of the constraints", limit=number))
    return items


def _held_by(variable: Variable) -> str:
    """Return what holds a variable, in the user's words."""
    if variable.fixed is not None:
        return f"fixed value of {variable.name!r}: {variable.fixed}"
    if variable.kind == "binary":
        return f"values of {variable.name!r}: {', '.join(map(str, variable.levels))}"
    if variable.kind == "levels":
        return f"values of {variable.name!r}: {variable.span}"
    whole = " (whole numbers)" if variable.kind == "integer" and variable.step is None else ""
    return f"bounds of {variable.name!r}: {variable.span}{whole}"


def _possible(space: Space, items: Sequence[_Item]) -> bool:
    """Whether a design exists that meets these demands; a variable without its own may take any number."""
    rules, lattice = space.constraints, AllowedValues.of(space)
    lower, upper = space.bounds
    scale = lengths(lower, upper)
    free = np.ones(space.width, dtype=bool)
    for item in items:
        if item.columns is not None:
            free[item.columns] = False
    for variable, columns in zip(space.variables, space.slices, strict=True):
        free[columns] &= variable.kind != "categorical"
    rows = [row for item in items for row in item.rows]
    program = Program.build(
        Linear(rules.linear.matrix[rows], rules.linear.lower[rows], rules.linear.upper[rows]),
        np.where(free, -np.inf, lower),
        np.where(free, np.inf, upper),
        AllowedValues(
            lattice.anchor,
            np.where(free, 0.0, lattice.step),
            {column: levels for column, levels in lattice.levels.items() if not free[column]},
            {column: ranges for column, ranges in lattice.ranges.items() if not free[column]},
        ),
        [rules.at_most[item.limit] for item in items if item.limit is not None],
        scale,
    )
    return program.possible()
