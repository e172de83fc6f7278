"""Linear programs over encoded designs, some columns of which take only some values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.rules import AllowedValues, AtMost, Linear, lengths

HIGHS_TOLERANCE = 1e-10
"""By how much HiGHS may miss a row; the smallest that it knows."""
_INFEASIBLE = 2
"""The status by which `linprog` says that no solution exists."""
_SOLVE_ERROR = 4
"""The status by which `linprog` says that it could not tell."""
_SECONDS = 20.0
"""How long one program may take; all but contrived ones take milliseconds."""
_LARGE = 1e4
"""How many ranges above zero a column of an at-most limit may lie whose upper bound is taken away."""


def linear_program(cost: FloatArray, *, options: Mapping[str, Any] | None = None, **arguments: Any) -> Any:
    """Return what HiGHS says through `scipy.optimize.linprog`; asked once more, without presolve, where that fails.

    HiGHS' presolve ends with a solve error at some mixed-integer programs that have a solution.
    """
    from scipy.optimize import linprog

    options = dict(options or {})
    answer = linprog(cost, method="highs", options=options, **arguments)
    if answer.status == _SOLVE_ERROR:
        answer = linprog(cost, method="highs", options={**options, "presolve": False}, **arguments)
    return answer


@dataclass
class Program:
    """A mixed-integer program in scaled variables v, where column j of a design is ``offset + factor * v``, each (e,).

    The variables after the first e are helpers: which level, which column is above zero.
    """

    offset: FloatArray
    factor: FloatArray
    low: list[float]
    high: list[float]
    whole: list[int]
    rows: list[tuple[dict[int, float], float, float]]
    above: dict[int, int]

    @classmethod
    def build(
        cls,
        linear: Linear,
        lower: FloatArray,
        upper: FloatArray,
        values: AllowedValues,
        at_most: Sequence[AtMost] = (),
        scale: FloatArray | None = None,
    ) -> Program:
        """Write down which designs are allowed; `scale` (e,) holds the lengths that count as 1, by default the ranges.

        The (e,) bounds are infinite where there is none.
        """
        if scale is None:
            scale = lengths(lower, upper)
        factor = np.where(values.step > 0, values.step, scale)
        offset = np.where(values.step > 0, values.anchor, np.where(np.isfinite(lower), lower, 0.0))
        low, high = (lower - offset) / factor, (upper - offset) / factor
        # The numbers of steps are whole; rounding in the division must not lose the last one.
        low = np.where(values.step > 0, np.ceil(low - 1e-9), low)
        high = np.where(values.step > 0, np.floor(high + 1e-9), high)
        program = cls(offset, factor, low.tolist(), high.tolist(), (values.step > 0).astype(int).tolist(), [], {})
        for row, least, most in zip(linear.matrix, linear.lower, linear.upper, strict=True):
            program.add_row(row, least, most)
        for j, levels in values.levels.items():
            program._add_levels(j, levels)
        for j, ranges in values.ranges.items():
            program._add_ranges(j, ranges)
        for limit in at_most:
            program._add_limit(limit, upper, scale)
        return program

    def add_row(self, row: FloatArray, least: float, most: float) -> None:
        """Demand ``least <= row @ design <= most``."""
        used = np.flatnonzero(row)
        at_offset = float(row[used] @ self.offset[used])
        self.rows.append(
            ({int(j): float(row[j] * self.factor[j]) for j in used}, float(least) - at_offset, float(most) - at_offset)
        )

    def add_variable(self, low: float, high: float, whole: bool) -> int:
        """Add a helper variable and return its number."""
        self.low.append(low)
        self.high.append(high)
        self.whole.append(int(whole))
        return len(self.low) - 1

    def add_distances(self, target: FloatArray, scale: FloatArray, columns: Sequence[int]) -> dict[int, float]:
        """Add a variable for the distance of each column from a (e,) design, in `scale`; return their sum as a cost."""
        cost: dict[int, float] = {}
        for j in columns:
            t = self.add_variable(0.0, np.inf, False)
            factor, gap = self.factor[j] / scale[j], (target[j] - self.offset[j]) / scale[j]
            self.rows.append(({j: factor, t: -1.0}, -np.inf, gap))
            self.rows.append(({j: factor, t: 1.0}, gap, np.inf))
            cost[t] = 1.0
        return cost

    def solve(self, cost: Mapping[int, float] | None = None) -> FloatArray | None:
        """Return the (v,) cheapest solution, or None where none was found."""
        answer = self._answer(cost or {})
        return None if answer is None or answer.x is None else np.asarray(answer.x, dtype=np.float64)

    def possible(self) -> bool:
        """Whether there is a solution; one that reaches its time limit counts as having one."""
        answer = self._answer({})
        return answer is not None and answer.status != _INFEASIBLE

    def _answer(self, cost: Mapping[int, float]) -> Any:
        """Ask HiGHS; None where bounds alone leave nothing."""
        if any(low > high for low, high in zip(self.low, self.high, strict=True)):
            return None
        c, rows = np.zeros(len(self.low)), np.zeros((len(self.rows), len(self.low)))
        c[list(cost)] = list(cost.values())
        least, most = np.array([sides for _, *sides in self.rows]).reshape(-1, 2).T
        for row, (coefficients, _, _) in zip(rows, self.rows, strict=True):
            row[list(coefficients)] = list(coefficients.values())
        # Rows of a common size: HiGHS judges them by an absolute tolerance.
        size = np.abs(rows).max(axis=1, initial=0.0)
        size = np.where(size == 0, 1.0, size)
        rows, equal = rows / size[:, None], least == most
        sides = np.stack([most / size, -least / size], axis=1)
        open_ = ~equal[:, None] & np.isfinite(sides)
        return linear_program(
            c,
            A_ub=np.stack([rows, -rows], axis=1)[open_],
            b_ub=sides[open_],
            A_eq=rows[equal],
            b_eq=sides[equal, 0],
            bounds=np.column_stack([self.low, self.high]),
            integrality=self.whole if any(self.whole) else None,
            options={"primal_feasibility_tolerance": HIGHS_TOLERANCE, "time_limit": _SECONDS},
        )

    def design(self, solution: FloatArray) -> FloatArray:
        """Return the (e,) design of a solution, whole numbers of steps made exact."""
        v = solution[: len(self.offset)]
        return np.asarray(self.offset + self.factor * np.where(self.whole[: len(v)], np.rint(v), v))

    def _add_levels(self, j: int, levels: FloatArray) -> None:
        """Make a column one of some values: one helper each, of which one is 1."""
        row = {self.add_variable(0.0, 1.0, True): float(level - self.offset[j]) for level in levels}
        self.rows.append(({**row, j: -float(self.factor[j])}, 0.0, 0.0))
        self.rows.append((dict.fromkeys(row, 1.0), 1.0, 1.0))

    def _add_ranges(self, j: int, ranges: FloatArray) -> None:
        """Put a column into one of some ranges: one helper each, of which one is 1."""
        helpers = [self.add_variable(0.0, 1.0, True) for _ in ranges]
        factor = float(self.factor[j])
        for end, low, high in ((0, 0.0, np.inf), (1, -np.inf, 0.0)):
            row = {helper: float(self.offset[j] - value) for helper, value in zip(helpers, ranges[:, end], strict=True)}
            self.rows.append(({**row, j: factor}, low, high))
        self.rows.append((dict.fromkeys(helpers, 1.0), 1.0, 1.0))

    def _add_limit(self, limit: AtMost, upper: FloatArray, scale: FloatArray) -> None:
        for j in limit.columns:
            if j not in self.above:
                self.above[j] = self.add_variable(0.0, 1.0, True)
                most = float(upper[j]) if np.isfinite(upper[j]) else _LARGE * float(scale[j])
                self.rows.append(({j: float(self.factor[j]), self.above[j]: -most}, -np.inf, -float(self.offset[j])))
        self.rows.append((dict.fromkeys((self.above[j] for j in limit.columns), 1.0), -np.inf, float(limit.count)))
