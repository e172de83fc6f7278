"""Linear equations that every row of a table satisfies: shares that sum to 100, one quantity in two units."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.bookkeeping import LeaveOut, leave_out_line, row_numbers
from invdesign_core.data.columns import is_constant, is_flat
from invdesign_core.errors.visible import visible, visible_toml
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.space import Space

if TYPE_CHECKING:
    from invdesign_core.data.data import Data
    from invdesign_core.space.rules import Linear

EVIDENCE = 3
"""Different rows beyond the unknowns of an equation that it takes: fewer could satisfy it by chance."""
SHARE = 0.02
"""Share of the range of each of its terms that a plain sum or difference may be off by; more is no equation."""
FITTED = 0.005
"""The same for an equation with other factors: columns of few levels are not rounded, and noise follows factors."""
ROUGH = 0.002
"""The same for plain sums and differences of rounded or measured numbers."""
EXACT = 1e-9
"""Share of the size of its terms by which an equation of exact numbers may be off."""
NEAREST = 0.25
"""Share of what rounding allows by which an equation with fewer digits may be farther off than one with all of them."""
SOLVED = 1e-6
"""Share of the range of its terms by which designs may be off, whatever the rows are."""
DIGITS = 12
"""Digits that are tried for a coefficient."""
SAMPLE = 1024
"""Rows that equations are looked for in; all rows are asked whether they hold."""
MOST = 200
"""Numeric inputs up to which equations are looked for."""


@dataclass(frozen=True)
class Equation:
    """``sum(coefficients * values) = constant`` in every row, for p columns of a table; no coefficient is 0."""

    names: tuple[str, ...]
    coefficients: FloatArray
    constant: float
    tolerance: float
    """By how much designs may be off: twice what rows are, or more."""
    error: float
    """By how much rows are off."""

    @property
    def constraint(self) -> str:
        """As a constraint is written."""
        sides: list[list[str]] = [[], []]
        for name, coefficient in zip(self.names, self.coefficients, strict=True):
            size = abs(coefficient)
            sides[int(coefficient < 0)].append(_quoted(name) if size == 1 else f"{_digits(size)}*{_quoted(name)}")
        left, right = (" + ".join(side) for side in sides)
        if not right:
            return f"{left} = {_digits(self.constant)}"
        if self.constant:
            right += f" {'+' if self.constant > 0 else '-'} {_digits(abs(self.constant))}"
        return f"{left} = {right}"

    @property
    def line(self) -> str:
        """The line of an experiment file that makes designs satisfy it."""
        return f"constraints = [{toml_text(self.constraint)}]"

    @property
    def fact(self) -> str:
        """What is so in every row, in words."""
        off = f", to {self.error:.2g}" if self.error > SOLVED * abs(self.constant or 1.0) else ""
        if (self.coefficients == 1).all():
            return f"{' + '.join(self.names)} is {_digits(self.constant)} in every row{off}"
        if len(self.names) == 2 and self.coefficients[0] == 1 and self.coefficients[1] < 0 and not self.constant:
            factor = -self.coefficients[1]
            times = "the same as" if factor == 1 else f"{factor:.6g} ×"
            return f"{self.names[0]!r} is {times} {self.names[1]!r} in every row{off}"
        return f"{self.constraint} in every row{off}"

    def off(self, x: FloatArray, space: Space) -> FloatArray:
        """Return by how much each of (n, e) encoded designs is off, (n,)."""
        return np.asarray(np.abs(x[:, _columns(self.names, space)] @ self.coefficients - self.constant))

    def implied_by(self, linear: Linear, space: Space) -> bool:
        """Say whether linear constraints on encoded designs hold an equation that comes to the same."""
        rows = np.flatnonzero(linear.equations)
        if not len(rows):
            return False
        wanted = np.zeros(space.width)
        wanted[_columns(self.names, space)] = self.coefficients
        low, high = space.bounds
        size = np.where(np.isfinite(high - low) & (high > low), high - low, 1.0)
        held = linear.matrix[rows]
        parts = np.linalg.lstsq((held * size).T, wanted * size, rcond=None)[0]
        scale = float(np.abs(wanted * size).max())
        near = np.abs((parts @ held - wanted) * size).max() <= SHARE * scale
        return bool(near and abs(parts @ linear.upper[rows] - self.constant) <= max(self.tolerance, SHARE * scale))


@dataclass(frozen=True)
class Rules:
    """What all (n, e) encoded rows satisfy, looked for when it is asked for the first time."""

    x: FloatArray
    space: Space

    @cached_property
    def equations(self) -> tuple[Equation, ...]:
        """Inputs that are one number, and equations among the others."""
        return (*constants_among(self.x, self.space), *equations_among(self.x, self.space))

    def broken_by(self, x: FloatArray) -> NDArray[np.bool_]:
        """Say which of (k, e) encoded designs break one of them, by more than rows are off."""
        broken = np.zeros(len(x), dtype=np.bool_)
        for equation in self.equations:
            broken |= equation.off(x, self.space) > equation.tolerance
        return broken


def equations_among(x: FloatArray, space: Space) -> tuple[Equation, ...]:
    """Return the linear equations among numeric inputs that all of (n, e) encoded rows satisfy.

    Numbers of rows have no part in them, and none follows from the others. Each holds one column that the columns
    before it determine, and of these no more than it takes.
    """
    numbers = row_numbers(x, space)
    numeric = {
        name: at for name, at in _numeric(space).items() if name not in numbers and not is_constant(*_ends(x[:, at]))
    }
    names, columns = list(numeric), x[:, list(numeric.values())]
    if not len(columns) or not 2 <= len(names) <= MOST:
        return ()
    columns = np.unique(columns, axis=0)
    found: dict[int, Equation] = {}
    # What holds exactly comes first: rounding could hide small terms, and digits of coefficients.
    for table in (_Rounded.exact(columns), _Rounded.of(columns)):
        found |= _equations_in(table, names, found)
    return tuple(found[j] for j in sorted(found))


def _equations_in(table: _Rounded, names: Sequence[str], known: Mapping[int, Equation]) -> dict[int, Equation]:
    """Return the equations that give columns of a table by those before them; known ones give some already."""
    found: dict[int, Equation] = {}
    free: list[int] = []
    some = _some(table.values)
    basis = np.zeros((len(some), 0))
    unit = (some - some.mean(axis=0)) / table.values.std(axis=0)
    for j in range(len(names)):
        if j in known:
            continue
        rest = unit[:, j]
        for _ in range(2):  # once leaves rounding behind
            rest = rest - basis @ (basis.T @ rest)
        equation = None
        if np.sqrt((rest**2).mean()) <= 2 * SHARE:
            equation = _pair(table, free, j, names, unit) or _sum(table, free, j, names)
        if equation is not None and not _nearly_known(equation, known.values(), names, table.range):
            found[j] = equation
            continue
        free.append(j)
        size = float(np.linalg.norm(rest))
        if size > 1e-7 * np.sqrt(len(rest)):
            basis = np.column_stack([basis, rest / size])
    return found


def _nearly_known(equation: Equation, known: Iterable[Equation], names: Sequence[str], ranges: FloatArray) -> bool:
    """Say whether an equation is one of some known ones, or their sum, but for terms that are next to nothing."""
    terms = [np.zeros(len(names)) for _ in (equation, *known)]
    for row, one in zip(terms, (equation, *known), strict=True):
        at = [names.index(name) for name in one.names]
        row[at] = one.coefficients * ranges[at]
    if len(terms) == 1:
        return False
    rest = terms[0] - np.linalg.lstsq(np.array(terms[1:]).T, terms[0], rcond=None)[0] @ np.array(terms[1:])
    return bool(np.abs(rest).max() <= SHARE * np.abs(terms[0]).max())


def constants_among(x: FloatArray, space: Space) -> tuple[Equation, ...]:
    """Return the numeric inputs that are one number in all of (n, e) encoded rows, as equations."""
    found = []
    for name, at in _numeric(space).items():
        low, high = map(float, _ends(x[:, at]))
        if is_constant(low, high):
            found.append(Equation((name,), np.ones(1), low, max(high - low, SOLVED * abs(low)), high - low))
    return tuple(found)


def multiples_of_outputs(data: Data) -> list[tuple[str, Equation]]:
    """Return the inputs that are an output's multiple in every row where it was measured, each with the equation.

    An input that is the only one to vary may well be what an output is proportional to, and is not among them.
    """
    numeric = _numeric(data.space)
    varying = [
        name
        for name in data.space.names
        if data.frame[name].nunique() > 1 and not (name in numeric and is_flat(*_ends(data.frame[name])))
    ]
    found = []
    for name in [name for name in varying if name in numeric] if len(varying) > 1 else []:
        x = data.frame[name].to_numpy(dtype=np.float64)
        for output in data.outputs:
            y = data.frame[output].to_numpy(dtype=np.float64)
            pair = np.column_stack([x, y])[np.isfinite(y)]
            scaled = pair / np.maximum(np.abs(pair).max(axis=0), np.finfo(np.float64).tiny)
            sign = 1.0 if scaled[:, 0] @ scaled[:, 1] > 0 else -1.0
            if is_constant(*_ends(pair[:, 1])) or np.ptp(scaled[:, 0] - sign * scaled[:, 1]) > 2 * SHARE:
                continue
            pair = np.unique(pair, axis=0)
            size = np.abs(pair).max(axis=0)
            scaled = pair / size
            factor = float(scaled[:, 0] @ scaled[:, 1] / (scaled[:, 1] @ scaled[:, 1])) * size[0] / size[1]
            equation = _settled(_Rounded.of(pair), 0, [1], np.array([factor]), [name, output], offset=False)
            if equation is not None:
                found.append((output, equation))
                break
    return found


def advice_of(data: Data, linear: Linear | None = None, leave_out: LeaveOut = leave_out_line) -> list[str]:
    """Say what equations of a table mean for a search, with the line that heeds them; not where its constraints do."""
    said = []
    for output, equation in multiples_of_outputs(data):
        name = equation.names[0]
        said.append(
            f"{equation.fact}, and {output!r} is an output: if {name!r} is a result as well, it is not an input; "
            f"{leave_out([name])}"
        )
    for equation in equations_among(data.x, data.space):
        if linear is not None and equation.implied_by(linear, data.space):
            continue
        instead = f", or {leave_out(equation.names[:1])}" if len(equation.names) == 2 else ""
        said.append(f"{equation.fact}; so that designs satisfy it too: {equation.line}{instead}")
    return said


@dataclass(frozen=True)
class _Rounded:
    """(n, c) numbers, and how far each may be from what was meant: half the last digit that it is written with."""

    values: FloatArray
    half: FloatArray
    exactly: bool = False
    """Whether the numbers are taken to be what was meant, but for the rounding of computers."""

    @classmethod
    def exact(cls, values: FloatArray) -> _Rounded:
        return cls(values, np.column_stack([_computed_half(column) for column in values.T]), exactly=True)

    @classmethod
    def of(cls, values: FloatArray) -> _Rounded:
        return cls(values, np.column_stack([_half_digit(column) for column in values.T]))

    @property
    def range(self) -> FloatArray:
        """(c,) largest less smallest number of each column."""
        return np.asarray(np.ptp(self.values, axis=0))


def _computed_half(column: FloatArray) -> FloatArray:
    """Return (n,) what (n,) numbers may be off by because they were computed, in single precision at most."""
    with np.errstate(over="ignore"):
        single = (column.astype(np.float32) == column).all() and (column != np.round(column)).any()
    return np.asarray((np.finfo(np.float32).eps if single else 4 * np.finfo(np.float64).eps) * np.abs(column))


def _half_digit(column: FloatArray) -> FloatArray:
    """Return (n,) half the last digit of (n,) numbers, written with one number of decimals, or of digits, at most."""
    size = np.abs(column)
    decade = np.floor(np.log10(np.where(size > 0, size, 1.0)))
    half = _computed_half(column)
    for digits in range(1, 14):
        step = 10.0 ** (decade + 1 - digits)
        if (np.abs(np.round(column / step) * step - column) <= 4 * np.finfo(np.float64).eps * size).all():
            half = np.maximum(half, step / 2)
            break
    for decimals in range(13):
        if (np.abs(np.round(column, decimals) - column) <= np.finfo(np.float64).eps * size).all():
            return np.maximum(half, 0.5 * 10.0**-decimals)
    return half


def _pair(table: _Rounded, free: Sequence[int], j: int, names: Sequence[str], unit: FloatArray) -> Equation | None:
    """Return the equation that ties a column to one of the free ones, or None."""
    if not free:
        return None
    i = free[int(np.argmax(np.abs(unit[:, free].T @ unit[:, j])))]
    some = _some(table.values)
    factor, offset = np.polyfit(unit[:, i], some[:, j], 1)
    slope = factor / table.values[:, i].std()
    return _settled(table, j, [i], np.array([slope]), names, constant=offset - slope * some[:, i].mean())


def _sum(table: _Rounded, free: Sequence[int], j: int, names: Sequence[str]) -> Equation | None:
    """Return the equation that gives a column by the free ones, without those that it does as well without, or None."""
    used = list(free)
    values = _some(table.values)
    if len(used) < 2 or len(values) < len(used) + 1 + EVIDENCE:
        return None
    best = None
    centred = (values - values.mean(axis=0)) / table.values.std(axis=0)
    while len(used) > 1:
        parts = np.linalg.lstsq(centred[:, used], centred[:, j], rcond=None)[0]
        # What moves the sum by less than rounding does is not in it.
        least = EXACT if table.exactly else SHARE / 10
        real = [i for i, part in zip(used, parts, strict=True) if abs(part) > least]
        if best is None and len(real) < len(used) and len(real) > 1:
            used = real
            parts = np.linalg.lstsq(centred[:, used], centred[:, j], rcond=None)[0]
        factors = parts * table.values.std(axis=0)[j] / table.values.std(axis=0)[used]
        constant = float(values[:, j].mean() - values[:, used].mean(axis=0) @ factors)
        equation = _settled(table, j, used, factors, names, constant=constant)
        if equation is None:
            break
        best = equation
        used = [i for i in used if i != used[int(np.argmin(np.abs(parts)))]]
    return best


def _settled(
    table: _Rounded,
    j: int,
    used: Sequence[int],
    factors: FloatArray,
    names: Sequence[str],
    constant: float = 0.0,
    offset: bool = True,
) -> Equation | None:
    """Return ``column j = constant + sum(factors * used)`` with as few digits as the rows allow; None if none do."""
    values, ranges = table.values, table.range
    columns = [j, *used]
    distinct = len(np.unique(values[:, columns], axis=0))
    if distinct < len(columns) + EVIDENCE:
        return None
    best = float(np.ptp(values[:, columns] @ np.concatenate([[1.0], -factors])))
    for digits in range(1, DIGITS + 1):
        rounded = np.array([float(f"{factor:.{digits - 1}e}") for factor in factors])
        coefficients = np.concatenate([[1.0], -rounded])
        fitted = len(used) > 1 and not table.exactly and (np.abs(coefficients) != 1).any()
        if fitted and distinct < 2 * len(columns) + EVIDENCE:  # so many factors follow what was rounded
            continue
        terms = np.abs(coefficients) * ranges[columns]
        size = np.abs(coefficients) * np.abs(values[:, columns]).max(axis=0)
        allowed = table.half[:, columns] @ np.abs(coefficients) + EXACT * min(size.max(), 1e3 * terms.min())
        part = NEAREST * float(allowed.max())
        if (np.abs(coefficients) == 1).all() and not table.exactly:
            allowed = np.maximum(allowed, ROUGH * terms.min())
        share = SHARE if (np.abs(coefficients) == 1).all() else FITTED
        allowed = np.minimum(allowed, share * terms.min())
        sums = values[:, columns] @ coefficients
        if np.ptp(sums) > min(2 * allowed.max(), best + 2 * part):
            continue
        mean = float(sums.mean()) if offset else 0.0
        for places in range(DIGITS + 1):
            rest = float(f"{mean:.{places - 1}e}") if places else 0.0
            off = np.abs(sums - rest)
            if (off <= allowed).all() and abs(rest - mean) <= max(part, NEAREST * float(np.ptp(sums))):
                error = float(off.max())
                tolerance = max(2 * error, SOLVED * float(terms.max()))
                return _in_order([names[i] for i in columns], coefficients, rest, tolerance, error)
    return None


def _in_order(
    names: Sequence[str], coefficients: FloatArray, constant: float, tolerance: float, error: float
) -> Equation:
    """Return an equation, a sum in the order of the table; the column that a pair gives stands first.

    Where whole numbers say the same of three columns or more, they are its coefficients.
    """
    least = float(np.abs(coefficients).min())
    if len(names) > 2 and least < 1 and _whole(coefficients / least) and len(_digits(constant / least)) < DIGITS:
        coefficients, constant = np.rint(coefficients / least), float(_digits(constant / least))
        tolerance, error = tolerance / least, error / least
    if (coefficients == 1).all():
        names, coefficients = [*names[1:], names[0]], np.roll(coefficients, -1)
    return Equation(tuple(names), coefficients, constant, tolerance, error)


def _numeric(space: Space) -> dict[str, int]:
    """Return the inputs that are numbers in the table as they are encoded, and the encoded column of each."""
    return {
        v.name: columns.start
        for v, columns in zip(space.variables, space.slices, strict=True)
        if v.kind in ("continuous", "integer", "levels") or (v.kind == "binary" and v.levels == (0, 1))
    }


def _columns(names: Sequence[str], space: Space) -> list[int]:
    numeric = _numeric(space)
    return [numeric[name] for name in names]


def _whole(numbers: FloatArray) -> bool:
    return bool((np.abs(numbers - np.rint(numbers)) <= EXACT * np.abs(numbers)).all())


def _ends(column: Any) -> tuple[Any, Any]:
    return column.min(), column.max()


def _some(rows: FloatArray) -> FloatArray:
    """Return not more than `SAMPLE` rows, evenly taken."""
    return rows if len(rows) <= SAMPLE else rows[np.linspace(0, len(rows) - 1, SAMPLE).astype(np.intp)]


def _quoted(name: str) -> str:
    """Write a name as a constraint takes it: bare where it can be nothing else, else in double quotes."""
    bare = re.fullmatch(r"[^\W\d]\w*", name) and name.lower() not in ("at", "of", "and")
    return name if bare or '"' in name else f'"{name}"'


def _digits(value: float) -> str:
    return f"{value:.{DIGITS}g}"


def toml_text(text: str) -> str:
    """Write text as TOML: with single quotes where it holds double ones."""
    import json

    if '"' in text and "'" not in text and visible(text, lines=False) == text:
        return f"'{text}'"
    return visible_toml(json.dumps(text, ensure_ascii=False))
