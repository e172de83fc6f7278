"""Quantities that follow from inputs by a formula, and constraints that are not linear: limits on such."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError
from invdesign_core.space.constraint_units import in_whole_names, written_out
from invdesign_core.space.digits import typed
from invdesign_core.space.expressions import Expression, parse_expression
from invdesign_core.space.space import Space
from invdesign_core.space.units import Units
from invdesign_core.targets import Target
from invdesign_core.workflow.design import Design


def derivations(derive: Mapping[str, str], space: Space, outputs: Sequence[str]) -> dict[str, Expression]:
    """Read the section `[derive]`; a formula may use those before it."""
    found: dict[str, Expression] = {}
    for name, text in derive.items():
        check_name(name, space.names, outputs)
        found[name] = parse_expression(text, space, outputs, f"[derive] {name}", found)
    return found


def check_name(name: str, inputs: Collection[str], outputs: Collection[str]) -> None:
    """Refuse a name that is a column's already."""
    if name in inputs or name in outputs:
        what = "an input" if name in inputs else "an output"
        raise ConfigError(f"[derive] {name}: {what} has this name", "choose another one")


def limits_of(space: Space) -> dict[str, tuple[Expression, Target]]:
    """Return the constraints that are not linear as limits on formulas, those of one formula together."""
    found: dict[str, tuple[Expression, Target]] = {}
    for limit in space.constraints.limits:
        formula = limit.expression
        before = found.get(formula.text, (formula, Target()))[1]
        lower, upper = max(before.lower, limit.lower), min(before.upper, limit.upper)
        if lower > upper:
            raise ConfigError(
                f"constraints: {formula.text} is to be at least {typed(lower)} and at most {typed(upper)}",
                "change or remove one of them",
            )
        found[formula.text] = formula, Target(lower, upper)
    return found


def shown(derived: Mapping[str, Expression], space: Space) -> dict[str, Expression]:
    """Return the formulas that are shown with every design: those derived, and those of constraints."""
    return {**derived, **{name: formula for name, (formula, _) in limits_of(space).items()}}


def tell_doubts(derived: Mapping[str, Expression], space: Space, ctx: Context) -> None:
    """Say where formulas have no value, and how limits that are not linear are kept."""
    limits = limits_of(space)
    for name, formula in shown(derived, space).items():
        for doubt in formula.doubts:
            of = "" if name == formula.text else f" = {formula.text}"
            ctx.warn(f"{name}{of}: {doubt}; designs for which it has no value are no answers")
    if limits:
        ctx.note(
            f"constraints that are not linear: {', '.join(limits)}; the search is led to where they hold, and each "
            "design is judged by them as they are written"
        )


@dataclass(frozen=True)
class Understood:
    """What the user says of columns: plain numbers in their units, whole names, and formulas of inputs as text."""

    units: Units
    derive: Mapping[str, str]
    design: Design

    @classmethod
    def of(
        cls,
        design: Design,
        space: Space,
        outputs: Sequence[str],
        units: Mapping[str, str] | None,
        derive: Mapping[str, str],
        found: Mapping[str, str] | None = None,
    ) -> Understood:
        """Read a `[design]` section by the `[units]` and `[derive]` sections, and the units that a table says."""
        known = Units.of_columns(space.variables, [*outputs, *derive], found, units)
        names, whole = [*space.names, *outputs], dict[str, str]()
        for name, text in derive.items():
            check_name(name, space.names, outputs)
            whole[name] = in_whole_names(text, [*names, *whole], known)
        plain = expanded(whole, names)
        return cls(known, whole, design.converted(known, names, plain))


def expanded(derive: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return formulas in which those before them stand written out."""
    found: dict[str, str] = {}
    for name, text in derive.items():
        found[name] = written_out(text, names, found)
    return found
