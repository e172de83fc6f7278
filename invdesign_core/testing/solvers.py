"""What solvers promise: points inside their bounds, no worse than the starts, and an end when they are told."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from invdesign_core.context import Context, Warned
from invdesign_core.plugin import Linear, Problem
from invdesign_core.search.solver import call_solver
from invdesign_core.space.arrays import FloatArray
from invdesign_core.testing.declared import check, does_not_apply, hold

ROWS, COLUMNS = 6, 3
AIM = np.array([0.3, 0.6, 0.8])


def _bowl(u: FloatArray) -> FloatArray:
    """Return residuals that are 0 at AIM."""
    return np.asarray(u - AIM)


def _starts() -> FloatArray:
    return np.random.default_rng(0).uniform(0.05, 0.95, (ROWS, COLUMNS))


def _problem(
    f: Callable[..., FloatArray] = _bowl,
    ctx: Context | None = None,
    linear: Linear | None = None,
    low: tuple[Any, int, float] | None = None,
    high: tuple[Any, int, float] | None = None,
) -> Problem:
    """Return a problem in the unit cube, of which one bound is another for some rows."""
    lower, upper = np.zeros((ROWS, COLUMNS)), np.ones((ROWS, COLUMNS))
    for side, change in ((lower, low), (upper, high)):
        if change is not None:
            side[change[0], change[1]] = change[2]
    return Problem.from_function(f, lower, upper, linear=linear, ctx=ctx)


def _solved(plugin: Any, problem: Problem, u0: FloatArray, ctx: Context | None = None) -> tuple[Any, bool]:
    """Call a solver as the core does, and take its warnings for broken promises."""
    told: list[str] = []

    def emit(event: Any) -> None:
        if isinstance(event, Warned):
            told.append(event.text)

    ctx = ctx or Context()
    heard = Context(ctx.seed, emit=emit, deadline=ctx.deadline, stop=ctx.stop)
    result, interrupted = call_solver(plugin, problem, u0, heard)
    hold(not told, "; ".join(told))
    return result, interrupted


def _losses(u: FloatArray) -> FloatArray:
    return np.asarray((_bowl(u) ** 2).mean(axis=1))


@check("solver")
def answers_inside_the_bounds(plugin: Any) -> None:
    """Points have the shape of the starts, are finite, and lie inside the bounds of their rows."""
    problem = _problem(low=(1, 0, 0.5), high=(2, 1, 0.4))
    result, _ = _solved(plugin, problem, np.clip(_starts(), problem.lower, problem.upper))
    hold(np.isfinite(result.u).all(), "a point is not finite")


@check("solver")
def is_no_worse_than_its_starts(plugin: Any) -> None:
    """No row ends at a greater loss than it began with."""
    u0 = _starts()
    raw = plugin.solve(_problem(), u0.copy(), Context())
    _not_of_samples(raw)
    worse = _losses(np.asarray(raw.u)) > _losses(u0) + 1e-9
    hold(not worse.any(), f"{int(worse.sum())} of {ROWS} rows end worse than they began")


@check("solver")
def leaves_fixed_variables_alone(plugin: Any) -> None:
    """A variable whose bounds are equal stays there."""
    problem = _problem(low=(slice(None), 1, 0.25), high=(slice(None), 1, 0.25))
    u0 = _starts()
    u0[:, 1] = 0.25
    raw = np.asarray(plugin.solve(problem, u0.copy(), Context()).u)
    hold(np.allclose(raw[:, 1], 0.25, atol=1e-12), "a fixed variable was moved")


@check("solver")
def leaves_the_starts_unchanged(plugin: Any) -> None:
    """The array of starts is not written into."""
    u0 = _starts()
    before = u0.copy()
    plugin.solve(_problem(), u0, Context())
    hold((u0 == before).all(), "it writes into u0: copy it first")


@check("solver")
def follows_the_seed(plugin: Any) -> None:
    """The same seed gives the same points, and nothing is drawn from NumPy's global stream."""
    state = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    first, again = (np.asarray(plugin.solve(_problem(), _starts(), Context()).u) for _ in range(2))
    hold((first == again).all(), "two calls with one seed differ: draw from problem.rng(row)")
    hold((state == np.random.get_state()[1]).all(), "it draws from NumPy's global stream")  # type: ignore[index]


@check("solver")
def keeps_linear_constraints(plugin: Any) -> None:
    """Where it handles linear constraints, its points satisfy them to 1e-9."""
    if "linear" not in plugin.handles:
        does_not_apply("it does not handle linear constraints")
    linear = Linear(np.ones((1, COLUMNS)), np.array([-np.inf]), np.array([1.2]))
    u0 = _starts() * 0.3
    raw = np.asarray(plugin.solve(_problem(linear=linear), u0, Context()).u)
    over = float((raw.sum(axis=1) - 1.2).max())
    hold(over <= 1e-9, f"a constraint is violated by {over:.3g}")


@check("solver")
def serves_each_target_by_itself(plugin: Any) -> None:
    """Rows that belong to different targets are each moved to their own."""
    aims = np.array([[0.2, 0.2, 0.2], [0.7, 0.7, 0.7]])
    groups = np.arange(ROWS) % 2
    problem = Problem.from_function(
        lambda u, target: u - aims[target], np.zeros((ROWS, COLUMNS)), np.ones((ROWS, COLUMNS)), groups=groups
    )
    u0 = _starts()
    result, _ = _solved(plugin, problem, u0)
    _not_of_samples(result)
    ends, starts = (((u - aims[groups]) ** 2).mean(axis=1) for u in (result.u, u0))
    hold((ends <= starts + 1e-9).all(), "a row ends farther from its target than it began")


@check("solver")
def survives_points_without_a_value(plugin: Any) -> None:
    """Where the function has no value, the search goes on from where it has one."""

    def holey(u: FloatArray) -> FloatArray:
        return np.where(u[:, :1] > 0.5, np.nan, _bowl(u))

    u0 = _starts()
    u0[:3, 0], u0[3:, 0] = 0.2, 0.9
    result, _ = _solved(plugin, _problem(holey), u0)
    hold(np.isfinite(result.u).all(), "a point is not finite")
    _not_of_samples(result)
    better = _losses(result.u[:3]) <= _losses(u0[:3]) + 1e-9
    hold(better.all(), "rows that began where there is a value end worse")


@check("solver")
def stops_when_time_is_over(plugin: Any) -> None:
    """A deadline ends the search: what an evaluation raises then is passed on."""
    ctx = Context(deadline=time.monotonic() - 1)
    hold(_stops(plugin, ctx), "it goes on, or answers as if nothing had happened: let exceptions of evaluations pass")


@check("solver")
def stops_at_ctrl_c(plugin: Any) -> None:
    """Ctrl-C ends the search: the KeyboardInterrupt is passed on."""
    ctx = Context()
    ctx.stop.set()
    hold(_stops(plugin, ctx), "it goes on after Ctrl-C: let KeyboardInterrupt pass")


def _not_of_samples(result: Any) -> None:
    """Leave a check out that compares losses, where points are drawn from a distribution."""
    if result.samples:
        does_not_apply("its points are samples, which may be worse than the starts")


def _stops(plugin: Any, ctx: Context) -> bool:
    """Whether a search that is told to stop ends; one that evaluates nothing has nothing to end."""
    problem = _problem(ctx=ctx)
    try:
        _, interrupted = call_solver(plugin, problem, _starts(), ctx)
    except KeyboardInterrupt:  # raised by the core, which evaluates what came back as if nothing had happened
        interrupted = False
    if not interrupted and not _evaluates(plugin):
        does_not_apply("it evaluates nothing")
    return interrupted


def _evaluates(plugin: Any) -> bool:
    problem = _problem()
    plugin.solve(problem, _starts(), Context())
    return bool(problem.evaluations.any())
