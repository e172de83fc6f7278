"""Constraints as the user writes them, turned into rows over encoded designs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Protocol

import numpy as np

from invdesign_core.errors import ConfigError
from invdesign_core.space.constraint_grammar import Comparison, Limit, LinearForm, read
from invdesign_core.space.constraint_words import Refusal, Token, readings, show
from invdesign_core.space.digits import span
from invdesign_core.space.linear import AtMost, Constraints, Linear, Value
from invdesign_core.space.variables import Variable

Row = tuple[LinearForm, bool, tuple[Value, Value]]
"""A form that must be at most 0, or (if set) exactly 0, and the two sides that it is the difference of."""
_MAGNITUDES = 6
"""How many absolute values one constraint may hold; each doubles its rows."""


class Space(Protocol):
    """The design variables that constraints are about."""

    @property
    def variables(self) -> tuple[Variable, ...]:
        """In order."""

    @property
    def names(self) -> tuple[str, ...]:
        """The variables' names."""

    @property
    def slices(self) -> tuple[slice, ...]:
        """Each variable's encoded columns."""

    @property
    def width(self) -> int:
        """The number of encoded columns."""

    def __getitem__(self, name: str) -> Variable:
        """Return the variable of that name."""


def parse_constraints(
    texts: Sequence[str], space: Space, outputs: Sequence[str], place: str = "constraints"
) -> Constraints:
    """Read linear equations, inequalities and limits on how many variables are above zero.

    Each text is one constraint, such as ``a + b = 1``, ``0.2 <= a <= 2*b``, ``|a - b| <= 0.3`` or
    ``at most 2 of a, b, c above zero``. A name may hold anything; in double quotes it is taken whole. Constraints can't
    hold the `outputs`. `place` says where the texts were written.

    Raises
    ------
    ConfigError
        If a text can't be read, can be read in two ways, is not linear, or holds a name that it can't hold.
    """
    rows: list[Row] = []
    origin: list[int] = []
    limits: list[AtMost] = []
    columns = {v.name: s.start for v, s in zip(space.variables, space.slices, strict=True)}
    for number, text in enumerate(texts):
        try:
            statement = _only_reading(text, (*space.names, *outputs))
            if isinstance(statement, Limit):
                limits.append(_limit(statement, space, outputs, columns, text))
            else:
                found = _rows(statement, space, outputs)
                rows += found
                origin += [number] * len(found)
        except Refusal as refusal:
            where = f"character {refusal.at + 1} of {text!r}"
            raise ConfigError(f"{place}: {where}: {refusal.message}", refusal.hint) from None
    matrix = np.zeros((len(rows), space.width))
    for row, (form, _, _) in zip(matrix, rows, strict=True):
        for name, coefficient in form.coefficients.items():
            row[columns[name]] = coefficient
    # Adding 0 turns a negative zero into a plain one.
    upper = np.array([-form.constant for form, _, _ in rows]) + 0.0
    lower = np.where([equal for _, equal, _ in rows], upper, -np.inf)
    return Constraints(
        Linear(matrix, lower, upper), tuple(limits), tuple(texts), tuple(origin), tuple(sides for _, _, sides in rows)
    )


def _only_reading(text: str, names: Sequence[str]) -> Comparison | Limit:
    """Return the one way to read a text; two are refused, even where one of them is not linear."""
    found: list[tuple[Comparison | Limit, Sequence[Token]]] = []
    fault: Refusal | None = None
    for words in readings(text, names):
        try:
            found.append((read(words, len(text)), words))
        except Refusal as refusal:
            if fault is None or refusal.at > fault.at:
                fault = refusal
        if len(found) == 2:
            one, other = (words for _, words in found)
            at = next(a.at for a, b in zip(one, other, strict=False) if a != b)
            raise Refusal(
                f"it can be read in two ways, as {show(one)} and as {show(other)}",
                at,
                "put the names in double quotes, as in the reading that you mean",
            )
    if found:
        return found[0][0]
    raise fault or Refusal("it is empty, expected a constraint", 0, "for example a + b <= 1")


def _number_variable(name: Token, space: Space, outputs: Sequence[str]) -> Variable:
    """Return a variable that may be calculated with."""
    if name.text in outputs:
        raise Refusal(
            f"{name.text!r} is an output; constraints are on design variables",
            name.at,
            f"a limit on an output is a target, such as --target '{name.text}<=LIMIT'",
        )
    variable = space[name.text]
    if variable.kind == "categorical":
        raise Refusal(
            f"{name.text!r} is categorical, expected a variable that is a number",
            name.at,
            "hold it at one level instead (fixed)",
        )
    if variable.kind == "binary" and tuple(variable.levels) != (0, 1):
        levels = " and ".join(map(repr, variable.levels))
        raise Refusal(f"{name.text!r} is {levels}, expected a variable that is a number", name.at)
    if variable.scale == "log":
        raise Refusal(
            f"{name.text!r} has a logarithmic scale, on which this constraint is not linear",
            name.at,
            "give it a linear scale, or leave it out of constraints",
        )
    return variable


def _limit(limit: Limit, space: Space, outputs: Sequence[str], columns: dict[str, int], text: str) -> AtMost:
    if not limit.count.isdigit():
        raise Refusal(f"found {limit.count!r}, expected a whole number", limit.at)
    seen: set[str] = set()
    for name in limit.names:
        variable = _number_variable(name, space, outputs)
        low, high = (float(side[0]) for side in variable.bounds())
        if low < 0:
            raise Refusal(
                f"{name.text!r} may be below zero ({span(low, high)}), expected a lower bound of 0", name.at,
                "raise its lower bound to 0, or leave it out of the list",
            )  # fmt: skip
        if low > 0:
            raise Refusal(
                f"{name.text!r} is always above zero ({span(low, high)}), expected a range that holds 0", name.at,
                "lower its lower bound to 0, or leave it out of the list",
            )  # fmt: skip
        if name.text in seen:
            raise Refusal(f"{name.text!r} is listed twice", name.at)
        seen.add(name.text)
    return AtMost(int(limit.count), tuple(columns[name.text] for name in limit.names), text)


def _rows(comparison: Comparison, space: Space, outputs: Sequence[str]) -> list[Row]:
    """Return a comparison as forms that are at most 0, or exactly 0."""
    if comparison.operator in ("LT", "GT"):
        sign = "<" if comparison.operator == "LT" else ">"
        raise Refusal(
            f"found {sign!r}, expected '{sign}='",
            comparison.at,
            f"write {sign}=; in numbers with a decimal point the two can't be told apart",
        )
    for side in comparison.sides:
        for name in side.names:
            _number_variable(name, space, outputs)
    equal = comparison.operator == "EQ"
    rows: list[Row] = []
    for left, right in pairwise(comparison.sides):
        small, large = (right, left) if comparison.operator == "GE" else (left, right)
        form = small.form().plus(large.form(), -1.0)
        if not form.coefficients and not form.magnitudes:
            raise Refusal("it holds no design variable", comparison.at)
        if form.magnitudes and (equal or min(weight for weight, _ in form.magnitudes) < 0):
            raise Refusal(
                "found an absolute value that is equal to, or at least, something; that set of designs is non-convex",
                comparison.at,
                "keep the absolute value on the smaller side, as in |a - b| <= 0.3, or search each side "
                "of it (a - b >= 0.3, then b - a >= 0.3) for itself",
            )
        halves = [half for half in _halves(form, comparison.at) if _bites(half, bool(form.magnitudes), comparison.at)]
        rows += [(half, equal, (small.value, large.value)) for half in halves]
    _check_sides(rows, comparison.at)
    return rows


def _halves(form: LinearForm, at: int) -> list[LinearForm]:
    """Return the linear forms whose largest is the form."""
    if len(form.magnitudes) > _MAGNITUDES:
        raise Refusal(f"found {len(form.magnitudes)} absolute values, expected at most {_MAGNITUDES}", at)
    halves = []
    for signs in product((1.0, -1.0), repeat=len(form.magnitudes)):
        half = LinearForm(form.coefficients, form.constant)
        for sign, (weight, inner) in zip(signs, form.magnitudes, strict=True):
            half = half.plus(inner.times(sign * weight))
        halves.append(half)
    return halves


def _bites(form: LinearForm, half: bool, at: int) -> bool:
    """Whether a row says anything; half of an absolute value may not."""
    if not np.isfinite([form.constant, *form.coefficients.values()]).all():
        raise Refusal("found a number that is too large", at)
    if any(form.coefficients.values()):
        return True
    if half and form.constant <= 0:
        return False
    raise Refusal("all its variables cancel, so the constraint is empty", at)


def _check_sides(rows: Sequence[Row], at: int) -> None:
    """Refuse a text whose own constants contradict each other, such as ``0.8 <= a <= 0.2``."""
    lowest: dict[tuple[tuple[str, float], ...], float] = {}
    for form, equal, _ in rows:
        if equal:
            continue
        for sign in (1.0, -1.0):
            key = tuple(sorted((name, sign * value) for name, value in form.coefficients.items() if value))
            if sign > 0:
                lowest[key] = max(lowest.get(key, -np.inf), form.constant)
            elif lowest.get(key, -np.inf) + form.constant > 0:
                raise Refusal("its two limits contradict each other, so it never holds", at)
