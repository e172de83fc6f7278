"""Objectives: what a miss costs, whatever the outputs, weights and intervals."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import invert, lin
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError
from invdesign_core.plugin import Goal, Prediction
from invdesign_core.registry import Registry
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets

REGISTRY = Registry.discover()
OBJECTIVES = ["mse", "mae", "huber", "max-miss"]
COMPILED = {}


def cost(name, z, lower, upper, weight, **options):
    """Return the (r,) losses and their (r, m) gradients, as the solvers get them."""
    key = name, np.shape(z)[-1], tuple(options.items())  # TensorFlow compiles for one number of outputs
    if key not in COMPILED:
        objective = REGISTRY.create("objective", name, options)
        COMPILED[key] = backend.load().value_and_grad(lambda z, *goal: objective.loss(Prediction(z), Goal(*goal)), [])
    rows = [np.atleast_2d(np.asarray(a, dtype=float)) for a in (z, lower, upper, weight)]
    return COMPILED[key](*rows)


def missing(z, lower, upper):
    return np.maximum(z - upper, 0) + np.maximum(lower - z, 0)


# Properties


def numbers(low, high):
    return st.floats(low, high, width=32, allow_subnormal=False)  # XLA takes subnormal numbers for 0


@st.composite
def asked(draw, outputs=4):
    """Outputs, and intervals of all sorts: points, ranges, one-sided, free."""
    lower, upper = np.full(outputs, -np.inf), np.full(outputs, np.inf)
    weight = np.zeros(outputs)
    z = draw(arrays.arrays(np.float32, outputs, elements=numbers(-5, 5))).astype(float)
    for m in range(outputs):
        sort = draw(st.sampled_from(["point", "hit", "range", "at least", "at most", "free", "not counted"]))
        at = z[m] if sort == "hit" else draw(numbers(-3, 3))
        if sort in ("point", "hit", "not counted"):
            lower[m] = upper[m] = at
        elif sort == "range":
            lower[m], upper[m] = at, at + draw(numbers(0, 2))
        elif sort == "at least":
            lower[m] = at
        elif sort == "at most":
            upper[m] = at
        weight[m] = 0 if sort in ("free", "not counted") else draw(st.sampled_from([0.1, 1.0, 1.0, 3.0, 100.0]))
    size = missing(z.astype(np.float32), lower.astype(np.float32), upper.astype(np.float32))
    assume(((size == 0) | (size > 1e-3)).all())  # float32 squares smaller ones away beside large ones
    return z, lower, upper, weight


each = pytest.mark.parametrize("name", OBJECTIVES)


@each
@given(asked())
@settings(deadline=None)
def test_it_costs_nothing_exactly_where_all_is_as_asked(name, problem):
    z, lower, upper, weight = problem
    (loss,), _ = cost(name, *problem)
    outside = (missing(z, lower, upper) > 1e-4) & (weight > 0)
    assert (loss > 0) if outside.any() else (loss == 0)


@each
@given(asked())
@settings(deadline=None)
def test_loss_and_gradient_are_finite_and_nothing_pulls_at_what_is_met(name, problem):
    z, lower, upper, weight = problem
    (loss,), (gradient,) = cost(name, *problem)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    assert (gradient[(weight == 0) | ((z > lower) & (z < upper))] == 0).all()
    pull = np.sign(np.maximum(z - upper, 0) - np.maximum(lower - z, 0))
    assert (gradient * pull >= 0).all()


@each
@given(asked(), st.permutations(range(4)))
@settings(deadline=None)
def test_the_order_of_the_outputs_does_not_matter(name, problem, order):
    (loss,), (gradient,) = cost(name, *problem)
    (other,), (its,) = cost(name, *(a[order] for a in problem))
    assert other == pytest.approx(loss, rel=1e-5)
    assert its == pytest.approx(gradient[order], rel=1e-4, abs=1e-6)


@each
@given(asked(), st.integers(0, 3), numbers(0, 4))
@settings(deadline=None)
def test_a_larger_miss_never_costs_less(name, problem, which, further):
    z, lower, upper, weight = problem
    (loss,), _ = cost(name, *problem)
    away = z.copy()
    away[which] += further if z[which] > lower[which] else -further
    assume(missing(away, lower, upper)[which] >= missing(z, lower, upper)[which])
    (more,), _ = cost(name, away, lower, upper, weight)
    assert more >= loss * (1 - 1e-5)


@each
@given(asked(), st.sampled_from([1e-3, 10.0, 1e4]))
@settings(deadline=None)
def test_only_the_ratio_of_the_weights_counts(name, problem, factor):
    z, lower, upper, weight = problem
    (loss,), _ = cost(name, *problem)
    (other,), _ = cost(name, z, lower, upper, weight * factor)
    assert other == pytest.approx(loss, rel=1e-4)


@each
def test_outputs_that_are_free_change_nothing(name):
    z, point, weight = [0.7, -0.4], [0.2, 0.1], [1.0, 2.0]
    (few,), _ = cost(name, z, point, point, weight)
    free = [-np.inf, -np.inf], [np.inf, np.inf], [0.0, 0.0]
    (many,), _ = cost(name, [*z, 9.0, -9.0], [*point, *free[0]], [*point, *free[1]], [*weight, *free[2]])
    assert many == pytest.approx(few, rel=1e-6)


@each
def test_nothing_asked_costs_nothing(name):
    (loss,), (gradient,) = cost(name, np.ones(4), np.zeros(4), np.zeros(4), np.zeros(4))
    assert loss == 0
    assert (gradient == 0).all()


# What each costs


@given(asked())
@settings(deadline=None)
def test_mae_is_the_weighted_mean_of_the_misses(problem):
    z, lower, upper, weight = problem
    (loss,), _ = cost("mae", *problem)
    assert loss == pytest.approx((weight * missing(z, lower, upper)).sum() / max(weight.sum(), 1e-30), rel=1e-5)


@given(asked(), st.sampled_from([0.1, 1.0]))
@settings(deadline=None)
def test_huber_is_squared_up_to_delta_and_linear_beyond(problem, delta):
    z, lower, upper, weight = problem
    size = missing(z, lower, upper)
    each = np.where(size <= delta, size**2, delta * (2 * size - delta))
    (loss,), _ = cost("huber", *problem, delta=delta)
    assert loss == pytest.approx((weight * each).sum() / max(weight.sum(), 1e-30), rel=1e-5, abs=1e-9)


def test_huber_costs_what_mse_costs_while_all_misses_are_small():
    z, zero, weight = np.random.default_rng(0).uniform(-0.1, 0.1, (20, 4)), np.zeros((20, 4)), np.ones((20, 4))
    for ours, theirs in zip(cost("huber", z, zero, zero, weight), cost("mse", z, zero, zero, weight), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-8)


@given(asked(), st.sampled_from([4.0, 32.0, 1000.0]))
@settings(deadline=None)
def test_max_miss_is_the_square_of_the_largest_but_for_a_known_share(problem, power):
    z, lower, upper, weight = problem
    count = max((weight > 0).sum(), 1)
    share = np.sqrt(weight * count / max(weight.sum(), 1e-30))
    largest = (share * missing(z, lower, upper)).max()
    (loss,), _ = cost("max-miss", *problem, power=power)
    assert largest * count ** (-1 / power) * (1 - 1e-5) <= np.sqrt(loss) <= largest * (1 + 1e-5)


@given(asked())
@settings(deadline=None)
def test_max_miss_at_power_two_is_mse(problem):
    for ours, theirs in zip(cost("max-miss", *problem, power=2.0), cost("mse", *problem), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("name", "degree"), [("mse", 2), ("mae", 1), ("max-miss", 2)])
@given(arrays.arrays(np.float32, 4, elements=numbers(-5, 5)), st.sampled_from([1e-3, 1.0, 1e3]))
@settings(deadline=None)
def test_the_gradient_is_that_of_the_loss_at_misses_of_any_size(name, degree, z, unit):
    """For a homogeneous function, Euler: z · gradient = degree * loss."""
    z = z * unit
    (loss,), (gradient,) = cost(name, z, np.zeros(4), np.zeros(4), [1.0, 2.0, 1.0, 0.5])
    assert z @ gradient == pytest.approx(degree * loss, rel=1e-4, abs=1e-12)


@pytest.mark.parametrize(("name", "options"), [("huber", {"delta": 0}), ("max-miss", {"power": 1.5})])
def test_options_without_a_meaning_are_refused(name, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        REGISTRY.create("objective", name, options)


# What each leads to


def best(model, targets, objective, outputs=("a", "b", "c"), **options):
    width = model.input_shape[1]
    space = Space(tuple(Variable(f"x{i + 1}", lower=0, upper=1) for i in range(width)))
    surrogate = Surrogate.of_model(model, space, outputs)
    answers = invert(
        surrogate,
        parse_targets(targets, outputs),
        space,
        REGISTRY.create("objective", objective, options),
        REGISTRY.create("solver", "lbfgsb", {"starts": 16}),
        Context(),
    )
    return answers.designs.filter(like="design.").to_numpy(dtype=float)[0], surrogate


@pytest.mark.parametrize(
    ("objective", "x", "within"),
    [
        ("mse", 1 / 3, 1e-3),
        ("max-miss", 1 / 2, 1e-2),  # the worst counts
        ("mae", 0, 1e-3),  # two are met, the third is given up
        ("huber", 0, 0.03),
    ],
)
def test_three_outputs_that_can_not_all_be_zero(objective, x, within):
    (found,), _ = best(lin([[1, 1, -1]], [0, 0, 1]), {"a": 0, "b": 0, "c": 0}, objective)
    assert found == pytest.approx(x, abs=within)


def test_an_output_of_more_weight_may_miss_by_less():
    targets = {"a": {"equals": 0, "weight": 4}, "c": {"equals": 0, "weight": 1}}
    (found,), _ = best(lin([[1, 1, -1]], [0, 0, 1]), targets, "max-miss")
    assert found == pytest.approx(1 / 3, abs=1e-2), "the root of the weights balances: 2 x = 1 - x"


@pytest.mark.parametrize("seed", range(3))
def test_the_worst_miss_is_nearly_as_small_as_it_can_be(seed):
    """Against the exact answer of a linear program: the smallest t with every miss within ±t."""
    from scipy.optimize import linprog

    rng = np.random.default_rng(seed)
    outputs = tuple("abcdef")
    W, b, wanted = rng.normal(size=(3, 6)), rng.normal(size=6), rng.normal(size=6) * 2
    found, surrogate = best(lin(W, b), dict(zip(outputs, wanted, strict=True)), "max-miss", outputs)
    A, c = (W / surrogate.scale).T, (wanted - b) / surrogate.scale
    ones = np.ones((6, 1))
    exact = linprog(
        [0, 0, 0, 1],
        A_ub=np.block([[A, -ones], [-A, -ones]]),
        b_ub=np.concatenate([c, -c]),
        bounds=[(0, 1)] * 3 + [(0, None)],
    )
    assert exact.fun > 0.1, "out of reach, or else the test says nothing"
    assert np.abs(A @ found - c).max() <= exact.fun * 6 ** (1 / 32) * (1 + 1e-3)


@each
def test_targets_within_reach_are_met_by_all(name):
    found, _ = best(lin([[1, 1], [1, -1]]), {"a": 1.2, "b": 0.2}, name, ("a", "b"))
    assert found == pytest.approx([0.7, 0.5], abs=0.02)
