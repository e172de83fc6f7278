"""The inverse problem, which all searches start from, and the one result, which they bring from starts to designs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.data import TrainingRows
from invdesign_core.data.distance import DataDistance
from invdesign_core.errors import PluginError, plural
from invdesign_core.search.loss_functions import LossFunctions, Objective
from invdesign_core.search.plan import Plan, Way
from invdesign_core.search.problem import Status
from invdesign_core.search.proximity import NearTo
from invdesign_core.search.solver import Solver
from invdesign_core.search.trust_boxes import measured
from invdesign_core.space.arrays import FloatArray, IndexArray, Mask
from invdesign_core.space.expressions import Expression
from invdesign_core.space.space import Space
from invdesign_core.surrogate.second_model import SecondModel
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Goal, Prediction, Targets
from invdesign_core.truth.simulated import Truth

FIRM = 1e6
"""So much heavier are limits beside an extremum where no slope is followed: no point that violates one looks better."""
NO_MATTER = 1e-4
"""Losses beside an extremum that differ by less are alike: the design nearer to the present one is preferred."""
MOVED = 1e-9
"""A start that ends this near to where it began, in u, did not move."""


FAR = 1e6
"""Predictions farther from the data than so many standard deviations may have any loss."""
ROUNDING = 1e-5
"""What single precision may leave below 0."""
OBJECTIVE = "a loss is a number of 0 or more, and 0 where the goal is met"


@dataclass(frozen=True)
class Wishes:
    """What is wanted of the answers besides the targets: how many distinct designs for each, and near to what.

    Beside each design the values of `formulas` of its inputs are shown.
    """

    designs: int = 5
    near_to: NearTo = field(default_factory=NearTo)
    formulas: Mapping[str, Expression] = field(default_factory=dict)


@dataclass(frozen=True)
class InverseProblem:
    """A forward map, and the t targets that its outputs are to meet."""

    surrogate: Surrogate
    space: Space  # with the bounds of this search
    targets: Targets
    objective: Objective
    solver: Solver
    rows: TrainingRows | None = None  # to start from, and to say how near to them a design is; some may be answers
    truth: Truth | None = None  # the true forward model, to judge designs by
    wishes: Wishes = field(default_factory=Wishes)
    fixed_inputs: FloatArray | None = None  # (t, e) encoded values that targets come with, NaN where free
    second: SecondModel | None = None  # tells how far the surrogate's answers can be trusted
    errors: Mapping[str, float] = field(default_factory=dict)  # the surrogate's typical ones, where it was tested
    first: int = 0  # number of the first target in the whole of the work, where targets are solved in chunks
    whole: Targets | None = None  # one of each kind of all targets of the work, where these are some of them

    @property
    def near_to(self) -> NearTo:
        """What answers are to be near to."""
        return self.wishes.near_to

    @property
    def bounds(self) -> FloatArray:
        """(2, t, e) encoded bounds of each target."""
        bounds = np.repeat(np.array(self.space.bounds)[:, None], len(self.targets), axis=1)
        return bounds if self.fixed_inputs is None else np.where(np.isnan(self.fixed_inputs), bounds, self.fixed_inputs)

    def boxes(self, plan: Plan) -> FloatArray:
        """Return the (2, t · c, e) encoded bounds of a plan's boxes for each target, those of one target together."""
        boxes = np.where(np.isnan(plan.cells)[:, None], self.bounds[:, :, None], plan.cells[:, None])
        if self.fixed_inputs is not None:
            boxes = np.where(np.isnan(self.fixed_inputs)[:, None], boxes, self.fixed_inputs[:, None])
        return boxes.reshape(2, -1, self.space.width)

    @cached_property
    def goal(self) -> Goal:
        """The t targets in z."""
        return self.targets.goal(self.surrogate.shift, self.surrogate.scale)

    @property
    def firm_goal(self) -> Goal:
        """The t targets in z, as points are compared that are not searched on from."""
        return firm(self.goal, self.targets)

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
        part = replace(
            self,
            targets=self.targets.take(rows),
            fixed_inputs=None if self.fixed_inputs is None else self.fixed_inputs[rows],
            first=self.first + int((rows.start or 0) if isinstance(rows, slice) else rows[0]),
            whole=self.whole or self.targets.kinds,
        )
        for name in ("losses", "data", "nearness"):
            part.__dict__[name] = getattr(self, name)
        return part

    def preference(self, x: FloatArray, z: Prediction, loss: FloatArray, groups: IndexArray) -> FloatArray:
        """Return (k, n) keys to sort designs by, the first one first, from (n, m) predictions, losses and targets.

        Of designs that meet the target, the nearest to the present one is the best; else that of the smallest loss.
        Beside an extremum, which comes before nearness, so it is among losses that are alike. A loss that is not finite
        makes all keys infinite. `x` is (c, e), to be repeated where the predictions are more.
        """
        distances, y = self.near_to.distances(self.space, self.losses, x), self.surrogate.units(z.mean)
        if distances is None:
            return np.where(np.isfinite(loss), loss, np.inf)[None]
        met = self.targets.met(y, groups).all(axis=1) & ~self.targets.excess(y, groups).any(axis=1)
        extremum = np.asarray(self.targets.extremum.any(axis=1))[groups]
        near = extremum | met
        differs, away = (np.where(near, np.resize(part, len(loss)), 0.0) for part in distances)
        first = np.where(extremum, np.floor(loss / NO_MATTER), ~met)
        # Rounded, since equal distances differ in their last digits.
        return np.where(np.isfinite(loss), np.stack([first, differs, np.where(near, away.round(12), loss)]), np.inf)


def firm(goal: Goal, targets: Targets, heavy: float = FIRM) -> Goal:
    """Return t goals in which limits beside an extremum weigh so many times more; the default is to compare points."""
    must = targets.must & ~targets.extremum
    return replace(goal, weight=np.where(must, heavy, 1.0) * goal.weight)


def check_losses(loss: FloatArray, z: Prediction, who: str) -> None:
    """Refuse (r,) losses that are no answer to predictions that are numbers: that is a fault of the objective.

    Squares of predictions far beyond the data may be infinite.
    """
    if loss.shape != (len(z.mean),):
        raise PluginError(f"{who} answered losses of shape {loss.shape} for {plural(len(z.mean), 'row')}", OBJECTIVE)
    usable = np.isfinite(z.mean).all(axis=1) & (np.abs(z.mean) < FAR).all(axis=1)
    lost, negative = usable & ~np.isfinite(loss), usable & (loss < -ROUNDING)
    for bad, what in ((lost, "that is not finite"), (negative, "below 0")):
        if bad.any():
            row = int(np.argmax(bad))
            raise PluginError(
                f"{who} answered a loss {what} ({loss[row]:g}) for {int(bad.sum())} of {plural(len(loss), 'design')} "
                "whose prediction is finite",
                OBJECTIVE,
            )


_OF_ROWS = ("groups", "u0", "u", "x", "said", "message", "evaluations", "movable")


@dataclass(frozen=True)
class SearchResult:
    """Where b rows are, those of one target together: first at their starts, then where a solver ended, then designs.

    What is said of the designs is predicted when it is asked for.
    """

    problem: InverseProblem
    search: Way
    goal: Goal  # t goals in z to judge by; extrema that were reached lie farther away in it than in the problem's
    groups: IndexArray  # (b,) the target of each row
    u0: FloatArray  # (b, e) start points
    u: FloatArray  # (b, e) points reached
    x: FloatArray  # (b, e) encoded designs, in the end as they will be written
    said: NDArray[Any]  # (b,) the `Status` that the solver gave for the first search
    message: NDArray[Any]  # (b,) the solver's words for it
    evaluations: NDArray[np.int64]  # (b,) points evaluated
    movable: Mask  # (b,) whether any column was free to move
    interrupted: bool = False  # by Ctrl-C or a deadline

    def take(self, rows: IndexArray | Mask) -> SearchResult:
        """Return some of the rows."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _OF_ROWS})

    @classmethod
    def joined(cls, parts: Sequence[SearchResult]) -> SearchResult:
        """Put the rows of searches for one problem together, those of one target beside each other."""
        order = np.argsort(np.concatenate([part.groups for part in parts]), kind="stable")
        rows: dict[str, Any] = {name: np.concatenate([getattr(p, name) for p in parts])[order] for name in _OF_ROWS}
        return replace(parts[0], **rows, interrupted=any(part.interrupted for part in parts))

    @property
    def guess(self) -> FloatArray:
        """(b, e) encoded start points."""
        return self.problem.losses.to_x(self.u0)

    @cached_property
    def z(self) -> Prediction:
        """(b, m) in z."""
        return self.problem.surrogate.predict_z(self.x)

    @property
    def prediction(self) -> Prediction:
        """(b, m) in the user's units."""
        z, surrogate = self.z, self.problem.surrogate
        return Prediction(surrogate.units(z.mean, self.x), None if z.std is None else z.std * surrogate.scale)

    @cached_property
    def loss(self) -> FloatArray:
        """(b,) the objective; infinite where it is not finite."""
        loss = self.problem.losses.loss_of(self.z, self.goal.take(self.groups))
        check_losses(loss, self.z, self.problem.objective.label)
        return np.where(np.isfinite(loss), loss, np.inf)

    @property
    def variance(self) -> FloatArray:
        """(b,) the mean variance of the prediction in z over the asked outputs; infinite where it is not finite."""
        if self.z.std is None:
            return np.zeros(len(self.x))
        asked = self.problem.targets.asked[self.groups]
        variance = (self.z.std**2 * asked).sum(axis=1) / asked.sum(axis=1)
        return np.where(np.isfinite(variance), variance, np.inf)

    @property
    def moved(self) -> Mask:
        """(b,) whether the point reached differs from the start."""
        return np.asarray((np.abs(self.u - self.u0) > MOVED).any(axis=1) | (self.search == "enumeration"))

    @property
    def status(self) -> NDArray[Any]:
        """(b,) the solver's word; ``stuck`` where it said converged, but did not move and misses; or ``not finite``."""
        y, status = self.prediction.mean, self.said.copy()
        met = self.problem.targets.met(y, self.groups).all(axis=1)
        status[~self.moved & ~met & (status == Status.CONVERGED) & self.movable] = "stuck"
        status[~np.isfinite(self.loss) | ~np.isfinite(y).all(axis=1)] = "not finite"
        return status

    @property
    def distances(self) -> FloatArray | None:
        """(2, b) how many variables differ from the present design and how far away that is, as `NearTo` has it."""
        return self.problem.near_to.distances(self.problem.space, self.problem.losses, self.x)
