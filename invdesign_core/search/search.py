"""From a surrogate and targets to points reached: starts, the solver, discrete values, re-evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.context import Context
from invdesign_core.data.data import TrainingRows
from invdesign_core.search.plan import Plan, Way
from invdesign_core.search.problem import LossFunctions, Status
from invdesign_core.search.proximity import NearTo
from invdesign_core.search.ways import Search
from invdesign_core.space.arrays import FloatArray, IndexArray
from invdesign_core.space.space import Space
from invdesign_core.targets import Prediction, Targets

if TYPE_CHECKING:
    from invdesign_core.search.protocols import Solver

MOVED = 1e-9
"""A start that ends this near to where it began, in u, did not move."""


@dataclass(frozen=True)
class Reached:
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
    far : ndarray or None
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
    far: FloatArray | None = None


def reach(
    forward: LossFunctions,
    targets: Targets,
    space: Space,
    solver: Solver,
    ctx: Context,
    plan: Plan,
    known: TrainingRows | None = None,
    held: FloatArray | None = None,
    first: int = 0,
    near_to: NearTo | None = None,
) -> Reached:
    """Search from every start for every target.

    Parameters
    ----------
    forward : LossFunctions
        The surrogate and the objective, compiled.
    targets : Targets
        t targets.
    space : Space
        The design variables with the bounds of this search.
    solver : Solver
        What makes the loss less.
    ctx : Context
        Seeds, events and the deadline.
    plan : Plan
        How to search where only some values exist, or only some variables may be above zero.
    known : TrainingRows, optional
        The training rows, to start from.
    held : ndarray, optional
        (t, e) encoded values that a target comes with, such as today's temperature; NaN where free.
    first : int
        Number of the first target in the whole of the work, where targets are solved in chunks.
    near_to : NearTo, optional
        What answers are to be near to.

    Raises
    ------
    SolverError
        If the solver fails, or answers with another shape than it was asked for.
    ConfigError
        If no design of a target's satisfies the constraints, or none that was measured lies inside the bounds.
    """
    surrogate, near = forward.surrogate, near_to or NearTo()
    goal = targets.goal(surrogate.shift, surrogate.scale)
    near.check(bool(targets.extremum.any()))
    rows = None if known is None else TrainingRows(*known)
    search = Search(forward, targets, goal, space, solver, near, rows, held, ctx, first)
    if plan.way == "enumeration":
        ended = search.all_tried(plan)
    elif near.fewest:
        ended = search.with_few_changes(plan)
    else:
        ended = search.searched(plan, *search.boxes(plan))
    # What is predicted here is what will be written: a value between those that exist would be moved on the way.
    x, u, groups = space.snap(ended.x), ended.u, ended.groups
    z = surrogate.predict_z(x)
    loss = forward.loss_of(z, goal.take(groups) if ended.goal is None else ended.goal.take(groups))
    asked = targets.asked[groups]
    variance = np.zeros(len(x))
    if z.std is not None:
        variance = (z.std**2 * asked).sum(axis=1) / asked.sum(axis=1)
    prediction = Prediction(surrogate.units(z.mean), None if z.std is None else z.std * surrogate.scale)
    moved = np.asarray((np.abs(u - ended.u0) > MOVED).any(axis=1) | (plan.way == "enumeration"))
    met = targets.met(prediction.mean, groups).all(axis=1)
    status = np.array([str(s) for s in ended.result.status], dtype=object)
    status[~moved & ~met & (status == Status.CONVERGED) & ended.movable] = "stuck"
    status[~np.isfinite(loss) | ~np.isfinite(prediction.mean).all(axis=1)] = "not finite"
    return Reached(
        groups,
        forward.to_x(ended.u0),
        x,
        prediction,
        np.where(np.isfinite(loss), loss, np.inf),
        np.where(np.isfinite(variance), variance, np.inf),
        status,
        [str(m) for m in ended.result.message],
        ended.evaluations,
        moved,
        ended.interrupted,
        plan.way,
        search.far(x),
    )
