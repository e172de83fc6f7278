"""Whether any design satisfies the constraints, and if not, which of them contradict each other."""

from __future__ import annotations

from invdesign_core.errors import ConfigError
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable


def conflicts(space: Space) -> tuple[str, ...] | None:
    """Name a smallest set of constraints and bounds that no design satisfies together; None where a design exists."""
    rules = space.constraints
    rows: dict[str, list[int]] = {}
    for row in range(len(rules.linear)):
        label = repr(rules.texts[rules.origin[row]]) if rules.origin else f"row {row + 1} of the constraints"
        rows.setdefault(label, []).append(row)
    found = space.feasible_set.conflicts([tuple(of) for of in rows.values()])
    if found is None:
        return None
    limits = [(i, rules.at_most[i].text) for i in found[2]]
    return (
        *(label for label, of in rows.items() if of[0] in found[1]),
        *(repr(text) if text else f"limit {i + 1} of the constraints" for i, text in limits),
        *(
            _what_limits(v)
            for v, columns in zip(space.variables, space.slices, strict=True)
            if columns.start in found[0]
        ),
    )


def check_feasible(space: Space, place: str = "constraints") -> None:
    """Refuse a space in which no design satisfies the constraints, naming those that contradict each other."""
    found = conflicts(space)
    if found is None:
        return
    if len(found) == 1:
        raise ConfigError(f"{place}: no design satisfies {found[0]}", "change or remove it")
    raise ConfigError(
        f"{place}: these contradict each other: {'; '.join(found)}",
        "change or remove one of them, whichever matters least",
    )


def _what_limits(variable: Variable) -> str:
    """Return what holds a variable, in the user's words."""
    if variable.fixed is not None:
        return f"fixed value of {variable.name!r}: {variable.fixed}"
    if variable.kind == "binary":
        return f"values of {variable.name!r}: {', '.join(map(str, variable.levels))}"
    if variable.kind == "levels":
        return f"values of {variable.name!r}: {variable.span}"
    whole = " (whole numbers)" if variable.kind == "integer" and variable.step is None else ""
    return f"bounds of {variable.name!r}: {variable.span}{whole}"
