"""The inverse problem, which all searches start from, and the result, which all of them give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.data import TrainingRows
from invdesign_core.data.distance import DataDistance
from invdesign_core.search.plan import Plan, Way
from invdesign_core.search.problem import LossFunctions
from invdesign_core.search.protocols import Objective, Solver
from invdesign_core.search.proximity import NearTo
from invdesign_core.search.trust_boxes import measured
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.space import Space
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Goal, Prediction, Targets


@dataclass(frozen=True)
class Wishes:
    """What is wanted of the answers besides the targets.

    Attributes
    ----------
    designs : int
        Distinct designs to report for each target.
    near_to : NearTo
        What answers are to be near to.
    """

    designs: int = 5
    near_to: NearTo = field(default_factory=NearTo)


@dataclass(frozen=True)
class InverseProblem:
    """A forward map, and the targets that its outputs are to meet.

    Attributes
    ----------
    surrogate : Surrogate
        The forward map.
    space : Space
        The design variables with the bounds of this search.
    targets : Targets
        t targets.
    objective, solver : plugins
        How far a prediction is from a target, and what makes it less.
    rows : TrainingRows, optional
        The training rows: to start from, and to say how near to them a design is; with those held out, to say which
        rows are answers themselves.
    truth : callable, optional
        The true forward model, to judge designs by.
    wishes : Wishes
        What is wanted besides.
    fixed_inputs : ndarray, optional
        (t, e) encoded values that targets come with, such as today's temperature; NaN where free.
    errors : mapping
        The surrogate's typical error of each output, where it was tested.
    plan : Plan, optional
        How to search where only some values exist; a search without one chooses it.
    first : int
        Number of the first target in the whole of the work, where targets are solved in chunks.
    whole : Targets, optional
        All targets of the work, where these are some of them.
    """

    surrogate: Surrogate
    space: Space
    targets: Targets
    objective: Objective
    solver: Solver
    rows: TrainingRows | None = None
    truth: Any = None
    wishes: Wishes = field(default_factory=Wishes)
    fixed_inputs: FloatArray | None = None
    errors: Mapping[str, float] = field(default_factory=dict)
    plan: Plan | None = None
    first: int = 0
    whole: Targets | None = None

    @property
    def near_to(self) -> NearTo:
        """What answers are to be near to."""
        return self.wishes.near_to

    @property
    def in_table(self) -> bool:
        """Whether the targets are rows of a table."""
        return len(self.targets) > 1 or self.first > 0 or self.fixed_inputs is not None

    @property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """(t, e) encoded bounds of each target."""
        low, high = (np.tile(bound, (len(self.targets), 1)) for bound in self.space.bounds)
        if self.fixed_inputs is not None:
            low, high = (np.where(np.isnan(self.fixed_inputs), side, self.fixed_inputs) for side in (low, high))
        return low, high

    @cached_property
    def goal(self) -> Goal:
        """The t targets in z."""
        return self.targets.goal(self.surrogate.shift, self.surrogate.scale)

    @cached_property
    def losses(self) -> LossFunctions:
        """The surrogate and the objective, compiled; parts of one problem share them."""
        return LossFunctions(self.surrogate, self.objective, self.space)

    @cached_property
    def data(self) -> DataDistance | None:
        """The measured designs that answers are to stay near to."""
        return measured(self.rows, self.space) if self.near_to.to_data else None

    @cached_property
    def nearness(self) -> DataDistance | None:
        """The measured designs that the distance of an answer is said from, whether it is to be small or not."""
        return None if self.rows is None else DataDistance.of(self.rows, self.surrogate.space)

    def take(self, rows: slice | IndexArray) -> InverseProblem:
        """Return the same problem for some of the targets; what was compiled is shared."""
        begin = int(np.arange(len(self.targets))[rows][0])
        part = replace(
            self,
            targets=self.targets.take(rows),
            fixed_inputs=None if self.fixed_inputs is None else self.fixed_inputs[rows],
            first=self.first + begin,
            whole=self.whole or self.targets,
        )
        for name in ("losses", "data", "nearness"):
            part.__dict__[name] = getattr(self, name)
        return part


@dataclass(frozen=True)
class SearchResult:
    """Where b starts ended, as the designs will be written.

    Attributes
    ----------
    groups : ndarray of int
        (b,) the target of each row.
    guess, x : ndarray
        (b, e) encoded start points, and encoded designs as written: rounded and inside the bounds.
    prediction : Prediction
        (b, m) in the user's units, at the designs as written.
    loss, variance : ndarray
        (b,) the objective there, and the mean variance of the members in z over the asked outputs.
    status : ndarray
        (b,) ``converged``, ``limit``, ``failed``, ``stuck`` (reported as converged, but did not move
        and misses) or ``not finite``.
    message : list of str
        (b,) the solver's words.
    evaluations : ndarray of int
        (b,) points evaluated.
    moved : ndarray of bool
        (b,) whether the point reached differs from the guess.
    interrupted : bool
        Whether the solver was stopped by Ctrl-C or a deadline.
    search : str
        How variables of which only some values exist were searched; see `Plan.way`.
    distance_to_reference : ndarray or None
        (b,) distances from the present design that answers are to be near to.
    """

    groups: IndexArray
    guess: FloatArray
    x: FloatArray
    prediction: Prediction
    loss: FloatArray
    variance: FloatArray
    status: NDArray[Any]
    message: list[str]
    evaluations: NDArray[np.int64]
    moved: NDArray[np.bool_]
    interrupted: bool
    search: Way = "continuous"
    distance_to_reference: FloatArray | None = None
