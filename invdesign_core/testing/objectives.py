"""What objectives promise: losses of rows, 0 where the goal is met, with gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from invdesign_core.search.inverse_problem import check_losses
from invdesign_core.search.loss_functions import LossFunctions
from invdesign_core.space.arrays import FloatArray
from invdesign_core.surrogate import backend
from invdesign_core.targets import Goal, Prediction
from invdesign_core.testing.declared import check, does_not_apply, hold

ROWS, OUTPUTS = 12, ("a", "b", "c")
STEP = 1e-2
"""Step of central differences: predictions are in single precision."""


class _Named:
    """What an objective may ask of a surrogate: the names of its outputs."""

    outputs = OUTPUTS


def _z() -> FloatArray:
    return np.random.default_rng(0).normal(size=(ROWS, len(OUTPUTS)))


def _goal(z: FloatArray, away: float = 1.0) -> Goal:
    """Return set points, intervals and open sides that are missed by about `away`; by 0 they are met."""
    shift = away * np.random.default_rng(1).uniform(0.5, 1.5, z.shape)
    lower, upper = z + shift, z + shift
    upper[:, 1] += 0.5  # an interval
    upper[:, 2] = np.inf  # an open side
    return Goal(lower, upper, np.tile([1.0, 2.0, 0.5], (len(z), 1)), OUTPUTS)


def _losses(plugin: Any, z: FloatArray, goal: Goal, std: FloatArray | None = None) -> FloatArray:
    named: Any = _Named()
    return LossFunctions(named, plugin).loss_of(Prediction(z, std), goal)


@check("objective")
def gives_a_loss_for_each_row(plugin: Any) -> None:
    """Losses are finite numbers of 0 or more, one a row, also compiled."""
    z = _z()
    check_losses(_losses(plugin, z, _goal(z)), Prediction(z, None), plugin.label)


@check("objective")
def is_zero_where_the_goal_is_met(plugin: Any) -> None:
    """The loss is 0 where every output lies in its interval."""
    z = _z()
    loss = _losses(plugin, z, _goal(z, 0.0))
    hold((np.abs(loss) < 1e-6).all(), f"losses up to {np.abs(loss).max():g} where the goal is met")


@check("objective")
def is_above_zero_where_the_goal_is_missed(plugin: Any) -> None:
    """The loss is above 0 where an output that counts misses its interval."""
    z = _z()
    loss = _losses(plugin, z, _goal(z))
    hold((loss > 1e-6).all(), f"losses down to {loss.min():g} where the goal is missed")


@check("objective")
def heeds_no_output_without_weight(plugin: Any) -> None:
    """An output whose weight is 0 changes nothing."""
    z = _z()
    goal = _goal(z)
    goal.weight[:, 0] = 0.0
    other = z.copy()
    other[:, 0] += 3.0
    before, after = _losses(plugin, z, goal), _losses(plugin, other, goal)
    hold(np.allclose(before, after, rtol=1e-5, atol=1e-7), "an output with weight 0 changes the loss")


@check("objective")
def judges_each_row_by_itself(plugin: Any) -> None:
    """What a row's loss is does not depend on the rows beside it, even where one is not a number."""
    z = _z()
    goal, part = _goal(z), np.arange(5)
    whole = _losses(plugin, z, goal)
    hold(np.allclose(whole[part], _losses(plugin, z[part], goal.take(part)), rtol=1e-5, atol=1e-7), "rows mix")
    broken = z.copy()
    broken[-1] = np.nan
    hold(np.allclose(whole[:-1], _losses(plugin, broken, goal)[:-1], rtol=1e-5, atol=1e-7), "a NaN spreads to others")


@check("objective")
def gives_the_same_twice(plugin: Any) -> None:
    """The same predictions have the same losses."""
    z = _z()
    hold((_losses(plugin, z, _goal(z)) == _losses(plugin, z, _goal(z))).all(), "the losses differ from call to call")


@check("objective")
def takes_a_standard_deviation(plugin: Any) -> None:
    """Predictions may come with a standard deviation."""
    z = _z()
    std = np.full_like(z, 0.1)
    check_losses(_losses(plugin, z, _goal(z), std), Prediction(z, std), plugin.label)


@check("objective")
def has_the_gradient_of_its_loss(plugin: Any) -> None:
    """The gradient is that of central differences, where the loss has no kink."""
    z = _z()
    goal = _goal(z)

    def loss(z: Any, lower: Any, upper: Any, weight: Any) -> Any:
        return plugin.loss(Prediction(z, None), Goal(lower, upper, weight, OUTPUTS))

    arrays = (goal.lower, goal.upper, goal.weight)
    here, gradient = backend.load().value_and_grad(loss, [])(z, *arrays)
    for m in range(z.shape[1]):
        step = np.zeros_like(z)
        step[:, m] = STEP
        ahead, behind = (_losses(plugin, z + sign * step, goal) for sign in (1, -1))
        slopes = np.stack([(ahead - here) / STEP, (here - behind) / STEP])
        size = np.abs(slopes).max() + 1e-3
        smooth = np.abs(slopes[0] - slopes[1]) < 0.2 * size
        far = np.abs(slopes.mean(axis=0) - gradient[:, m])[smooth]
        hold((far < 0.05 * size).all(), f"the gradient by output {OUTPUTS[m]} is off by up to {far.max(initial=0):.3g}")


@check("objective")
def has_residuals_that_make_its_loss(plugin: Any) -> None:
    """Where there are residuals, the mean of their squares is the loss."""
    if not plugin.has_residuals:
        does_not_apply("it has no residuals")
    z = _z()
    goal = _goal(z)

    def squares(z: Any, lower: Any, upper: Any, weight: Any) -> Any:
        from keras import ops

        return ops.mean(ops.square(plugin.residuals(Prediction(z, None), Goal(lower, upper, weight, OUTPUTS))), axis=-1)

    found = np.asarray(backend.load().value(squares, [])(z, goal.lower, goal.upper, goal.weight))
    hold(np.allclose(found, _losses(plugin, z, goal), rtol=1e-4, atol=1e-6), "loss and residuals disagree")
