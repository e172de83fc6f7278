"""What lies around the designs of one target: how far each input may move, and in which directions nothing changes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from invdesign_core.data.distance import DataDistance
from invdesign_core.designs.answers import Answers
from invdesign_core.designs.directions import free_directions
from invdesign_core.designs.tolerances import tolerance_ranges
from invdesign_core.space.space import Space
from invdesign_core.surrogate.surrogate import Surrogate


def add_tolerances(answers: Answers, surrogate: Surrogate, space: Space, near: DataDistance | None = None) -> Answers:
    """Add to each design how far its inputs may move alone, and the directions along which it still meets.

    Both cost some thousand predictions, so that they are for one target and not for tables of them. Where nothing
    but an extremum is asked for, there is nothing to miss.

    Parameters
    ----------
    answers : Answers
        The designs of one target.
    surrogate : Surrogate
        The forward map.
    space : Space
        The design variables with the bounds of the search, and the constraints.
    near : DataDistance, optional
        The measured designs that answers stay near to.

    Returns
    -------
    Answers
        With the columns ``from.NAME`` and ``to.NAME`` of numbers, ``levels.NAME`` of other variables, and
        ``free_directions``: empty where a design misses; lists are written as JSON.
    """
    designs = answers.designs.copy()
    if not len(designs) or not (answers.targets.asked & ~answers.targets.extremum).any():
        return answers
    x = space.encode(designs[[f"design.{name}" for name in space.names]].set_axis(list(space.names), axis=1))
    found = tolerance_ranges(surrogate, space, answers.targets, x, near)
    for variable in space.variables:
        if variable.fixed is not None:
            continue
        ranges = [None if r is None else r[variable.name] for r in found]
        if variable.kind in ("categorical", "binary"):
            designs[f"levels.{variable.name}"] = [
                None if r is None else json.dumps(r, ensure_ascii=False) for r in ranges
            ]
            continue
        for i, end in enumerate(("from", "to")):
            designs[f"{end}.{variable.name}"] = [np.nan if r is None else r[i] for r in ranges]
    meets = np.array([r is not None for r in found])
    free = iter(free_directions(surrogate, space, answers.targets, x[meets]))
    designs["free_directions"] = [json.dumps(next(free), ensure_ascii=False) if fine else None for fine in meets]
    return replace(answers, designs=designs)
