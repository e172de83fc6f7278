"""Answers near to a present design: all of it changed a little, or as little of it as possible changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np

from invdesign_core.errors import ConfigError, DataError, near_match
from invdesign_core.search.problem import LossFunctions
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.space import Space
from invdesign_core.targets import Goal

PULLS = (1e-2, 1e-4, 1e-6)
"""Weights of the distance to the present design beside the loss, one solve after another; at last there is none."""
SUBSETS = 2000
"""Sets of variables to change that are tried for one number of changes, at most."""


@dataclass(frozen=True)
class NearTo:
    """What answers are to be near to.

    Attributes
    ----------
    present : ndarray or None
        (e,) an encoded design, NaN in the columns of variables that it does not name.
    fewest : bool
        Whether to change as few of its variables as possible, rather than all of them a little.
    to_data : bool
        Whether to stay as near to a measured design as measured designs are to each other.
    """

    present: FloatArray | None = None
    fewest: bool = False
    to_data: bool = False

    @classmethod
    def build(
        cls, near: Mapping[str, Any], fewest: bool, to_data: bool, space: Space, held: Collection[str] = ()
    ) -> NearTo:
        """Read what the user said.

        Parameters
        ----------
        near : mapping
            Values of the present design by variable; not all need be named.
        fewest : bool
            As few changes as possible.
        to_data : bool
            Near to measured designs.
        space : Space
            The design variables of the search.
        held : collection of str
            Variables that targets come with; they are no changes, so their present values need not be named.

        Raises
        ------
        ConfigError
            If a name is unknown, a value doesn't exist, or few changes are asked for without a whole design or near
            to the data.
        """
        for name in near:
            if name not in space.names:
                raise ConfigError(f"near: there is no design variable {name!r}", near_match(name, space.names))
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
        for variable, columns in zip(space.variables, space.slices, strict=True):
            if variable.name not in near:
                continue
            value = near[variable.name]
            numeric = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if variable.kind not in ("categorical", "binary") and not numeric:
                raise ConfigError(f"near {variable.name!r}: found {value!r}, expected a number")
            try:
                present[columns] = variable.encode([value])[0]
            except DataError as error:
                raise ConfigError(f"near: {error.message}", error.hint) from None
        return cls(present, fewest, to_data)

    def check(self, extremum: bool) -> None:
        """Refuse as few changes as possible where an output is to be as large or as small as possible.

        Raises
        ------
        ConfigError
            Saying what to ask for instead.
        """
        if self.fewest and extremum:
            raise ConfigError(
                "fewest_changes cannot be combined with a maximum or minimum target",
                "set a limit such as '>=0.3', or remove fewest_changes",
            )

    def __bool__(self) -> bool:
        """Whether anything is to be near."""
        return self.present is not None or self.to_data


class ProximityPenalty:
    """A forward map whose loss also grows with the distance to a present design.

    Parameters
    ----------
    forward : LossFunctions
        The loss itself.
    present : ndarray
        (e,) in u; NaN where nothing is named.
    weight : ndarray
        (e,) how much the square of each column's distance counts.
    pull : float
        How much all of it counts beside the loss.
    """

    def __init__(self, forward: LossFunctions, present: FloatArray, weight: FloatArray, pull: float) -> None:
        self._forward, self._named = forward, np.flatnonzero(np.isfinite(present) & (weight > 0))
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


def distances(space: Space, forward: LossFunctions, present: FloatArray, x: FloatArray) -> FloatArray:
    """Return the (n,) distances of (n, e) encoded designs from a present one, in shares of each variable's range.

    Another category counts as 1; variables that the present design does not name count for nothing.
    """
    away = forward.to_u(x) - forward.to_u(present)
    away = np.where(np.isfinite(present), away, 0.0)
    return np.asarray(np.sqrt((weights(space) * away**2).sum(axis=1)))


def weights(space: Space) -> FloatArray:
    """Return how much the square of each column's distance counts: another category moves two columns by 1."""
    return np.concatenate([np.full(v.width, 0.5 if v.kind == "categorical" else 1.0) for v in space.variables])


def few_changes(space: Space, present: FloatArray) -> Iterator[FloatArray]:
    """Let ever more variables of a present design change: none, one, two and so on.

    Where there are too many sets of one size, some are taken, each variable as often as another.

    Yields
    ------
    ndarray
        (c, e) values of encoded columns, one row for each set of variables; NaN where they may change.
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
