"""The batched solvers: each start ends as it would alone, inside its bounds, whatever is solved beside it."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import fn, lin

from invdesign_core.context import Context
from invdesign_core.plugin import Linear
from invdesign_core.registry import Registry
from invdesign_core.search.loss_functions import LossFunctions
from invdesign_core.search.problem import Bounded, Problem
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Targets, parse_targets
from invdesign_plugins.solvers.differential_evolution import Populations
from invdesign_plugins.solvers.lbfgsb import LBFGSB, stencil
from invdesign_plugins.solvers.least_squares import LeastSquares
from invdesign_plugins.solvers.scipy_starts import Starts, speaks_reverse_communication

REGISTRY = Registry.discover()


def asked(model, target):
    """Return the loss of a network's outputs, and the goal."""
    width = model.input_shape[1]
    outputs = tuple(f"y{i}" for i in range(model.output_shape[1]))
    space = Space(tuple(Variable(f"x{i}", lower=0, upper=1) for i in range(width)))
    surrogate = Surrogate.of_model(model, space, outputs)
    wanted = Targets.build(
        [parse_targets(dict(zip(outputs, target, strict=False)), outputs)], outputs, surrogate.spread
    )
    goal = wanted.goal(surrogate.shift, surrogate.scale)
    return LossFunctions(surrogate, REGISTRY.create("objective", "mse", {})), goal


def rows(forward, goal, b, lower=0.0, upper=1.0):
    """State the problem of b rows in one box."""
    shape = (b, forward.surrogate.space.width)
    low, high = np.full(shape, lower), np.full(shape, upper)
    groups = np.zeros(b, int)
    return Problem(forward, goal.take(groups), Bounded(groups, low, high), np.zeros(shape[1], bool), Context())


def problem(model, target, b, lower=0.0, upper=1.0):
    return rows(*asked(model, target), b, lower, upper)


def network(seed=0, inputs=2, outputs=1):
    rng = np.random.default_rng(seed)
    import keras

    net = keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(16, "selu"), keras.layers.Dense(outputs)])
    net.set_weights([rng.normal(size=w.shape) for w in net.get_weights()])
    return net


def starts(b, width=2, seed=1):
    return np.random.default_rng(seed).random((b, width))


def test_what_was_compiled_is_kept_for_the_next_solve_with_the_same_objective():
    first, goal = asked(network(), [0.5])
    u = np.random.default_rng(0).random((3, 2))
    first.residuals_and_jacobian(u, goal.take(np.zeros(3, int)))
    assert first.compile_seconds > 0
    same = LossFunctions(first.surrogate, REGISTRY.create("objective", "mse", {}))
    same.residuals_and_jacobian(u, goal.take(np.zeros(3, int)))
    assert same.compile_seconds == 0
    losses = {
        delta: LossFunctions(first.surrogate, REGISTRY.create("objective", "huber", {"delta": delta})).value(
            u, goal.take(np.zeros(3, int))
        )
        for delta in (0.01, 10.0)
    }
    assert (losses[0.01] < losses[10.0]).all(), "one with other options is compiled for itself"


def test_scipy_is_driven_step_by_step_here():
    assert speaks_reverse_communication(LBFGSB), "this SciPy is new to us: the fallback is used, which is slower"


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.3, 0.6)])
def test_lock_step_ends_each_start_as_minimize_does(bounds):
    """The same functions to both, in float64, so that the iterates can be compared start by start."""

    def valley(u, rows):
        a, b = u[:, 0], u[:, 1]
        value = (1 - 2 * a) ** 2 + 50 * (b - a**2) ** 2
        return value, np.stack([-4 * (1 - 2 * a) - 200 * a * (b - a**2), 100 * (b - a**2)], axis=1)

    low, high = (np.full((30, 2), bound) for bound in bounds)
    u0 = low + starts(30) * (high - low)
    begin = Starts(valley, u0, low, high, Linear.none(2), Context())
    ours, theirs = LBFGSB().lock_step(begin), LBFGSB().one_after_another(begin)
    np.testing.assert_array_equal(ours.u, theirs.u)
    assert list(ours.message) == list(theirs.message)
    assert [str(s) for s in ours.status] == [str(s) for s in theirs.status]


@pytest.mark.slow
def test_lock_step_reaches_what_minimize_reaches_on_a_network():
    p = problem(network(), [0.5], 60)
    begin = Starts(p.value_and_grad, starts(60), p.lower, p.upper, Linear.none(2), Context())
    losses = [p.value(run(begin).u) for run in (LBFGSB().lock_step, LBFGSB().one_after_another)]
    assert np.mean(np.abs(losses[0] - losses[1]) < 1e-5) > 0.9, "float32 rounds a batch and a row differently"
    assert losses[0].mean() <= losses[1].mean() + 1e-3


@pytest.mark.long
@pytest.mark.parametrize("name", ["least-squares", "lbfgsb", "slsqp"])
@pytest.mark.parametrize(("inputs", "outputs"), [(2, 1), (1, 3), (3, 3), (6, 2)])
def test_more_or_fewer_outputs_than_inputs(name, inputs, outputs):
    net = network(3, inputs, outputs)
    there = np.asarray(net(np.full((1, inputs), 0.4, "float32")))[0]
    p = problem(net, list(there), 32)
    result = REGISTRY.create("solver", name, {}).solve(p, starts(32, inputs), Context())
    assert p.value(result.u).min() < 1e-8
    assert ((result.u >= 0) & (result.u <= 1)).all()


def test_least_squares_survives_rank_deficient_jacobians_and_flat_parts():
    from keras import ops

    twice = lin([[1, 2], [1, 2]])  # both outputs say the same, and a whole line of designs meets them
    p = problem(twice, [1.0, 2.0], 20)
    assert p.value(LeastSquares().solve(p, starts(20), Context()).u).max() < 1e-10
    flat = fn(2, lambda x: ops.relu(x[:, :1] - 0.5))
    p = problem(flat, [0.3], 40)
    result = LeastSquares().solve(p, starts(40), Context())
    began_flat = starts(40)[:, 0] < 0.5
    assert (result.u[began_flat] == starts(40)[began_flat]).all()
    assert p.value(result.u)[~began_flat].max() < 1e-8


@pytest.mark.parametrize("name", ["least-squares", "lbfgsb"])
def test_answers_lie_on_the_bounds_exactly_where_the_target_is_beyond_them(name):
    p = problem(lin([[1], [1]], act="tanh"), [5.0], 16, 0.2, 0.7)
    result = REGISTRY.create("solver", name, {}).solve(p, np.clip(starts(16), 0.2, 0.7), Context())
    assert (result.u == 0.7).all()


def test_a_slow_row_does_not_hold_up_the_rest():
    p = problem(network(5), [0.2], 200)
    LeastSquares().solve(p, starts(200), Context())
    assert np.median(p.evaluations) < 20, "rows that are done leave the batch"


@pytest.mark.parametrize("solver", ["least-squares", "lbfgsb", "slsqp", "differential-evolution"])
def test_nothing_is_compiled_again_while_rows_leave(solver):
    forward, goal = asked(network(), [0.5])
    plugin = REGISTRY.create("solver", solver, {})
    plugin.solve(rows(forward, goal, 300), starts(300), Context())
    compiled = forward.compile_seconds
    assert compiled > 0
    plugin.solve(problem(network(), [0.5], 300), starts(300), Context())
    plugin.solve(rows(forward, goal, 300), starts(300, seed=2), Context())
    assert forward.compile_seconds == compiled


# Differential evolution


def plain(f, b, groups=None):
    """State the problem of a plain function of two variables."""
    return Problem.from_function(f, np.zeros((b, 2)), np.ones((b, 2)), groups)


def populations(groups, values, calls=None):
    """State a problem of two minima a target, in float64, so that points can be compared exactly."""

    def value(u, target):
        if calls is not None:
            calls.append(len(u))
        return np.minimum(((u - values[target, None]) ** 2).sum(axis=1), ((u - 0.9) ** 2).sum(axis=1) + 0.1)

    return plain(value, len(groups), groups)


EVOLUTION = REGISTRY.create("solver", "differential-evolution", {})


def test_populations_evolve_alike_whatever_is_solved_beside_them():
    values, u0 = np.array([0.2, 0.4, 0.6]), starts(60)
    together = EVOLUTION.solve(populations(np.repeat([0, 1, 2], 20), values), u0, Context()).u
    alone = EVOLUTION.solve(populations(np.repeat([0], 20), values), u0[:20], Context()).u
    np.testing.assert_array_equal(together[:20], alone)
    for row, value in zip((0, 20, 40), values, strict=True):
        assert np.median(np.abs(together[row : row + 20] - value)) < 1e-3


def test_rows_of_a_population_need_not_stand_together():
    values, u0 = np.array([0.2, 0.4]), starts(40)
    result = EVOLUTION.solve(populations(np.arange(40) % 2, values), u0, Context())
    for target in range(2):
        assert np.median(np.abs(result.u[target::2] - values[target])) < 1e-3


def test_a_generation_of_all_targets_is_one_call():
    calls = []
    EVOLUTION.solve(populations(np.repeat([0, 1, 2], 20), np.array([0.2, 0.4, 0.6]), calls), starts(60), Context())
    assert calls[:2] == [60, 60]
    assert calls[-1] in (20, 40, 60), "populations leave as a whole"
    assert len(calls) < EVOLUTION.max_generations


def test_partners_are_two_others_of_the_same_population():
    groups = np.array([1, 0, 1, 0, 1, 0, 0, 1])
    family, rows = Populations(groups), np.arange(8)
    draws = np.random.default_rng(0).random((500, 2, 8))
    drawn = [family.partners(rows, *draw) for draw in draws]
    seen = {(int(r), int(a), int(b)) for first, second in drawn for r, a, b in zip(rows, first, second, strict=True)}
    assert all(len({r, a, b}) == 3 and groups[r] == groups[a] == groups[b] for r, a, b in seen)
    assert len(seen) == 8 * 3 * 2, "and each pair of them comes up"


def test_a_population_crosses_plateaus():
    p = plain(lambda u: np.floor(20 * np.abs(u - 0.73).max(axis=1)), 40)
    result = EVOLUTION.solve(p, starts(40), Context())
    assert np.median(p.value(result.u)) == 0
    assert set(map(str, result.status)) == {"converged"}


def test_losses_that_are_not_finite_are_left_behind():
    p = plain(lambda u: np.where(u[:, 0] < 0.5, np.nan, (u[:, 0] - 0.7) ** 2), 30)
    result = EVOLUTION.solve(p, starts(30) * [0.52, 1], Context())
    assert np.isfinite(p.value(result.u)).mean() > 0.9


def test_a_stencil_never_leaves_the_bounds():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.4, (50, 3))
    high = low + rng.choice([0.0, 1e-5, 0.5], (50, 3))
    u = low + rng.choice([0.0, 0.5, 1.0], (50, 3)) * (high - low)
    for kind in ("2-point", "3-point"):
        points, spans = stencil(u, low, high, kind)
        assert (points >= low[:, None] - 1e-15).all()
        assert (points <= high[:, None] + 1e-15).all()
        assert ((spans != 0) == (high > low)).all()
