"""Answers near to a present design: all of it changed a little, or as little of it as possible changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np

from invdesign_core.errors import ConfigError, DataError, near_or_all
from invdesign_core.search.loss_functions import LossFunctions
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.sizes import check_near_data, in_doubles
from invdesign_core.space.space import Space
from invdesign_core.targets import Goal

PULLS = (1e-2, 1e-4, 1e-6)
"""Weights of the distance to the present design beside the loss, one solve after another; at last there is none."""
SUBSETS = 2000
"""Sets of variables to change that are tried for one number of changes, at most."""


@dataclass(frozen=True)
class NearTo:
    """What answers are to be near to: a present design, or any measured one."""

    present: FloatArray | None = None  # (e,) encoded, NaN in the columns of variables that are not named
    fewest: bool = False  # as few of its variables as possible are to change, rather than all of them a little
    to_data: bool = False  # answers are to stay as near to a measured design as measured designs are to each other

    @classmethod
    def build(
        cls, near: Mapping[str, Any], fewest: bool, to_data: bool, space: Space, held: Collection[str] = ()
    ) -> NearTo:
        """Read what the user said: values of the present design by variable, and what is to be few or near.

        Variables that targets come with are `held`: they are no changes, so their present values need not be named.
        """
        for name in near:
            if name not in space.names:
                raise ConfigError(f"near: there is no design variable {name!r}", near_or_all(name, space.names))
        if fewest and to_data:
            raise ConfigError(
                "fewest_changes and stay_near_data cannot be combined",
                "remove one of them; each answer shows how near to the data it is",
            )
        if fewest:
            lacking = [v.name for v in space.variables if v.name not in (*near, *held) and v.fixed is None]
            if lacking:
                raise ConfigError(
                    f"fewest_changes: the reference design has no value for {', '.join(map(repr, lacking))}",
                    "give a value for every variable that is not fixed (near)",
                )
        if not near:
            return cls(None, False, to_data)
        present = np.full(space.width, np.nan)
        for name, value in in_doubles(near).items():
            variable, columns = space[name], space.slices[space.names.index(name)]
            numeric = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if variable.kind not in ("categorical", "binary") and not numeric:
                raise ConfigError(f"near {name!r}: found {value!r}, expected a number")
            try:
                present[columns] = variable.encode([value])[0]
            except DataError as error:
                raise ConfigError(f"near: {error.message}", error.hint) from None
            known = variable.kind != "binary" or variable.levels != (0, 1) or value in (0, 1)
            if not (known and np.isfinite(present[columns]).all()):
                expected = "a finite number" if variable.kind != "binary" else "True or False"
                raise ConfigError(f"near {name!r}: found {value!r}, expected {expected}")
            if variable.kind not in ("categorical", "binary"):
                check_near_data([float(value)], variable.lower, variable.upper, False, f"near {name!r}")
        return cls(present, fewest, to_data)

    def check(self, extremum: bool) -> None:
        """Refuse as few changes as possible where an output is to be as large or as small as possible."""
        if self.fewest and extremum:
            raise ConfigError(
                "fewest_changes cannot be combined with a maximum or minimum target",
                "set a limit such as '>=0.3', or remove fewest_changes",
            )

    def distances(self, space: Space, forward: LossFunctions, x: FloatArray) -> FloatArray | None:
        """Return how many variables of (n, e) encoded designs differ from the present one, and how far away they are.

        (2, n): 0 differ unless as few as possible are to; distances are in shares of each variable's range. Variables
        that the present design does not name count for nothing.
        """
        if self.present is None:
            return None
        away = np.where(np.isfinite(self.present), forward.to_u(x) - forward.to_u(self.present), 0.0)
        found = np.stack([np.zeros(len(x)), np.sqrt((_weights(space) * away**2).sum(axis=1))])
        if self.fewest:
            for columns in space.slices:
                named = np.isfinite(self.present[columns])
                found[0] += (named & (x[:, columns] != self.present[columns])).any(axis=1)
            found[1] = found[1].round(12)  # changes of different variables by as much differ in their last digits
        return found

    def forward_maps(self, space: Space, forward: LossFunctions) -> list[Any]:
        """Return the forward maps to solve with, one after another: ever less pulled to the present design."""
        if self.present is None or self.fewest:
            return [forward]
        return [
            *(ProximityPenalty(forward, forward.to_u(self.present), _weights(space), pull) for pull in PULLS),
            forward,
        ]


class ProximityPenalty:
    """A forward map whose loss also grows with the distance to a present design: (e,) in u, NaN where nothing is named.

    The square of each column's distance counts by its (e,) weight, and all of it, beside the loss, by `pull`.
    """

    def __init__(self, forward: LossFunctions, present: FloatArray, weight: FloatArray, pull: float) -> None:
        self._forward, self._named = forward, np.flatnonzero(np.isfinite(present))
        self._present, self._strength = present[self._named], pull * weight[self._named]

    def __getattr__(self, name: str) -> Any:
        """Everything else is the forward map's own."""
        return getattr(self._forward, name)

    def value(self, u: FloatArray, goal: Goal) -> FloatArray:
        """Return the (k,) losses with the pull."""
        return self._forward.value(u, goal) + self._pull(u)[0]

    def value_and_grad(self, u: FloatArray, goal: Goal) -> tuple[FloatArray, FloatArray]:
        """Return (k,) losses with the pull, and their (k, e) gradients."""
        loss, gradient = self._forward.value_and_grad(u, goal)
        more, away = self._pull(u)
        gradient[:, self._named] += 2 * self._strength * away
        return loss + more, gradient

    def residuals_and_jacobian(self, u: FloatArray, goal: Goal) -> tuple[FloatArray, FloatArray]:
        """Return residuals and Jacobians with a row for each named column; the loss is still their mean of squares."""
        residuals, jacobian = self._forward.residuals_and_jacobian(u, goal)
        (k, q), e = residuals.shape, u.shape[1]
        count = q + len(self._named)
        slope = np.sqrt(count * self._strength)
        rows = np.zeros((len(self._named), e))
        rows[np.arange(len(self._named)), self._named] = slope
        _, away = self._pull(u)
        return (
            np.concatenate([residuals * np.sqrt(count / q), slope * away], axis=1),
            np.concatenate([jacobian * np.sqrt(count / q), np.broadcast_to(rows, (k, *rows.shape))], axis=1),
        )

    def _pull(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        away = u[:, self._named] - self._present
        return np.asarray((self._strength * away**2).sum(axis=1)), away


def _weights(space: Space) -> FloatArray:
    """Return how much the square of each column's distance counts: another category moves two columns by 1."""
    return np.concatenate([np.full(v.width, 0.5 if v.kind == "categorical" else 1.0) for v in space.variables])


def few_changes(space: Space, present: FloatArray) -> Iterator[FloatArray]:
    """Let ever more variables of a present design change: none, one, two and so on.

    Yields (c, e) encoded columns, one row for each set of variables, NaN where they may change. Where there are too
    many sets of one size, some are taken, each variable as often as another.
    """
    slices, present = [], present.copy()
    for variable, columns in zip(space.variables, space.slices, strict=True):
        if variable.fixed is None:
            slices.append(columns)
        else:
            present[columns] = np.nan  # its bounds hold it
    low, high = space.bounds
    # What the present design has outside the bounds, or between values that exist, must change.
    exists = space.snap(np.where(np.isnan(present), low, present)[None])[0] == present
    stays = (present >= low) & (present <= high) & exists
    for size in range(len(slices) + 1):
        total = comb(len(slices), size)
        if total <= SUBSETS:
            chosen = np.array(list(combinations(range(len(slices)), size)), dtype=np.intp).reshape(total, size)
        else:
            rng = np.random.default_rng(size)  # which sets are looked at does not depend on the run's seed
            chosen = np.argsort(rng.random((SUBSETS, len(slices))), axis=1)[:, :size]
        cells = np.tile(present, (len(chosen), 1))
        for row, each in enumerate(chosen):
            for i in each:
                cells[row, slices[i]] = np.nan
        cells = cells[(np.isnan(cells) | stays).all(axis=1)]
        if len(cells):
            yield cells
