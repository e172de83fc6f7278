"""The sides of a constraint as a tree: its linear form, and its value just as it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from invdesign_core.space.arrays import FloatArray


class Refusal(Exception):  # noqa: N818 - it says no, and becomes a ConfigError
    """A part of a text that can't be used as it stands.

    Parameters
    ----------
    message : str
        What was found and what was expected.
    at : int
        Which character of the text it is about, from 0.
    hint : str, optional
        What to do next.
    """

    def __init__(self, message: str, at: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.at, self.hint = message, at, hint


@dataclass(frozen=True)
class Form:
    """``coefficients · variables + constant + Σ weight·|form|``.

    Attributes
    ----------
    coefficients : mapping
        A number for each name, in the order of the text.
    constant : float
        What is added.
    magnitudes : tuple
        Pairs of a weight and the form between its bars.
    """

    coefficients: Mapping[str, float] = field(default_factory=dict)
    constant: float = 0.0
    magnitudes: tuple[tuple[float, Form], ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether no variable occurs."""
        return not self.coefficients and not self.magnitudes

    def times(self, factor: float) -> Form:
        """Return the form multiplied by a number."""
        return Form(
            {name: factor * value for name, value in self.coefficients.items()},
            factor * self.constant,
            tuple((factor * weight, form) for weight, form in self.magnitudes),
        )

    def plus(self, other: Form) -> Form:
        """Return the sum of two forms."""
        total = dict(self.coefficients)
        for name, value in other.coefficients.items():
            total[name] = total.get(name, 0.0) + value
        return Form(total, self.constant + other.constant, self.magnitudes + other.magnitudes)

    def minus(self, other: Form) -> Form:
        """Return the difference of two forms."""
        return self.plus(other.times(-1.0))


class Expression:
    """One side of a constraint, or a part of it."""

    def form(self) -> Form:
        """Return the linear form.

        Raises
        ------
        Refusal
            If it is not linear.
        """
        raise NotImplementedError

    def value(self, columns: Mapping[str, FloatArray]) -> FloatArray:
        """Return the value in double precision, computed step by step as written, for (n,) columns."""
        raise NotImplementedError

    @property
    def leaves(self) -> tuple[Name, ...]:
        """The names that occur, in the order of the text."""
        raise NotImplementedError

    @property
    def names(self) -> tuple[str, ...]:
        """The leaves as text."""
        return tuple(leaf.name for leaf in self.leaves)


@dataclass(frozen=True)
class Number(Expression):
    """A number."""

    number: float
    at: int

    def form(self) -> Form:
        """Return a constant."""
        return Form(constant=self.number)

    def value(self, columns: Mapping[str, FloatArray]) -> FloatArray:
        """Return the number itself."""
        return np.asarray(self.number)

    @property
    def leaves(self) -> tuple[Name, ...]:
        """None."""
        return ()


@dataclass(frozen=True)
class Name(Expression):
    """A design variable, or what stands in the place of one."""

    name: str
    at: int

    def form(self) -> Form:
        """Return the variable once."""
        return Form({self.name: 1.0})

    def value(self, columns: Mapping[str, FloatArray]) -> FloatArray:
        """Return the variable's column."""
        return columns[self.name]

    @property
    def leaves(self) -> tuple[Name, ...]:
        """The one name."""
        return (self,)


@dataclass(frozen=True)
class Negative(Expression):
    """An expression with a minus before it."""

    of: Expression

    def form(self) -> Form:
        """Return the negated form."""
        return self.of.form().times(-1.0)

    def value(self, columns: Mapping[str, FloatArray]) -> FloatArray:
        """Return the negated value."""
        return -self.of.value(columns)

    @property
    def leaves(self) -> tuple[Name, ...]:
        """Those inside."""
        return self.of.leaves


@dataclass(frozen=True)
class Sum(Expression):
    """Terms added or taken off from left to right."""

    terms: tuple[tuple[str, Expression], ...]

    def form(self) -> Form:
        """Return the sum of the terms' forms."""
        total = Form()
        for sign, term in self.terms:
            total = total.plus(term.form()) if sign == "+" else total.minus(term.form())
        return total

    def value(self, columns: Mapping[str, FloatArray]) -> FloatArray:
        """Add the values in the order of the text."""
        total = self.terms[0][1].value(columns)
        for sign, term in self.terms[1:]:
            total = total + term.value(columns) if sign == "+" else total - term.value(columns)
        return total

    @property
    def leaves(self) -> tuple[Name, ...]:
        """Those of all terms."""
        return tuple(leaf for _, term in self.terms for leaf in term.leaves)


@dataclass(frozen=True)
class Product(Expression):
    """Factors multiplied or divided from left to right; each with its operator and where that stands."""

    factors: tuple[tuple[str, int, Expression], ...]

    def form(self) -> Form:
        """Return the form, of which one factor at most may hold variables."""
        total = self.factors[0][2].form()
        for operator, at, factor in self.factors[1:]:
            other = factor.form()
            if operator == "/":
                if not other.is_number:
                    raise Refusal(
                        f"found a division by {_quoted(factor.names)}, expected a linear constraint",
                        at,
                        "multiply both sides by it if it is never negative, so that it stands alone: a <= 2*b",
                    )
                if other.constant == 0:
                    raise Refusal("found a division by zero", at)
                total = total.times(1.0 / other.constant)
            elif total.is_number:
                total = other.times(total.constant)
            elif other.is_number:
                total = total.times(other.constant)
            else:
                both = _quoted((*self.names[:1], *factor.names[:1]))
                raise Refusal(
                    f"found the product of {both}, expected a linear constraint",
                    at,
                    "only numbers may be multiplied with a variable; add the product to the table as an output, "
                    "and put a limit on that",
                )
        return total

    def value(self, columns: Mapping[str, FloatArray]) -> FloatArray:
        """Multiply the values in the order of the text."""
        total = self.factors[0][2].value(columns)
        for operator, _, factor in self.factors[1:]:
            total = total / factor.value(columns) if operator == "/" else total * factor.value(columns)
        return total

    @property
    def leaves(self) -> tuple[Name, ...]:
        """Those of all factors."""
        return tuple(leaf for _, _, factor in self.factors for leaf in factor.leaves)


@dataclass(frozen=True)
class Power(Expression):
    """A power, which no linear constraint holds."""

    base: Expression
    at: int

    def form(self) -> Form:
        """Refuse it."""
        of = f" of {_quoted(self.base.names[:1])}" if self.base.names else ""
        raise Refusal(f"found a power{of}, expected a linear constraint", self.at, "write numbers out, such as 100")

    @property
    def leaves(self) -> tuple[Name, ...]:
        """Those of the base."""
        return self.base.leaves


@dataclass(frozen=True)
class Magnitude(Expression):
    """An expression between bars."""

    of: Expression
    at: int

    def form(self) -> Form:
        """Return the absolute value of what must be a linear form."""
        inner = self.of.form()
        if inner.magnitudes:
            raise Refusal(
                "found an absolute value inside another, expected a linear expression between the bars", self.at
            )
        if inner.is_number:
            return Form(constant=abs(inner.constant))
        return Form(magnitudes=((1.0, inner),))

    def value(self, columns: Mapping[str, FloatArray]) -> FloatArray:
        """Return the absolute value."""
        return np.abs(self.of.value(columns))

    @property
    def leaves(self) -> tuple[Name, ...]:
        """Those between the bars."""
        return self.of.leaves


def _quoted(names: tuple[str, ...]) -> str:
    return " and ".join(repr(name) for name in dict.fromkeys(names)) or "numbers"
