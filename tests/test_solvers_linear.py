"""Solvers under linear constraints: never an infeasible point, the optimum of convex problems, and the QP beneath."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from conftest import lin
from hypothesis import given, settings
from hypothesis import strategies as st
from test_solvers import network

from invdesign_core.context import Context
from invdesign_core.plugin import Linear, Polytope
from invdesign_core.registry import Registry
from invdesign_core.search.loss_functions import LossFunctions
from invdesign_core.search.problem import Bounded, Problem
from invdesign_core.space.feasible_set import TOLERANCE
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Targets, parse_targets
from invdesign_plugins.solvers.scipy_starts import Starts, speaks_reverse_communication
from invdesign_plugins.solvers.slsqp import SLSQP

REGISTRY = Registry.discover()
LINEAR = sorted(label for label, solver in REGISTRY.labels("solver").items() if "linear" in solver.handles)
"""Every installed solver that takes linear constraints."""


def problem(model, target, lower, upper, linear, groups=None, objective="mse"):
    """State the problem of a network whose inputs are u, its outputs standardised by nothing but their spread."""
    width = model.input_shape[1]
    outputs = tuple(f"y{i}" for i in range(model.output_shape[1]))
    space = Space(tuple(Variable(f"x{i}", lower=0, upper=1) for i in range(width)))
    surrogate = Surrogate.of_model(model, space, outputs)
    groups = np.zeros(len(lower), int) if groups is None else groups
    wanted = [parse_targets(dict(zip(outputs, target, strict=True)), outputs)] * (groups.max() + 1)
    goal = Targets.build(wanted, outputs, surrogate.spread).goal(surrogate.shift, surrogate.scale)
    forward = LossFunctions(surrogate, REGISTRY.create("objective", objective, {}))
    allowed = replace(space.feasible_set, linear=linear)
    return Problem(forward, goal.take(groups), Bounded(groups, lower, upper), space.discrete, Context(), allowed)


def polytope(rng, e, rows):
    """Return random boxes, constraints, and a point of each: equations, redundant and touching ones among them."""
    lower = rng.choice([0.0, 0.0, 0.2, -0.3], e)
    upper = lower + rng.choice([1.0, 0.7, 0.3, 0.0], e, p=[0.4, 0.3, 0.2, 0.1])
    inside = lower + (upper - lower) * rng.choice([0.0, 1.0, 0.5, 0.31], e)
    matrix = rng.normal(size=(3, e)) if rng.random() < 0.5 else rng.integers(-1, 2, (3, e)).astype(float)
    matrix = np.concatenate([matrix, np.ones((1, e)), 2 * matrix[:1], matrix[:1], -matrix[1:2]])
    matrix = matrix[rng.permutation(len(matrix))[: rng.integers(1, len(matrix) + 1)]]
    there = matrix @ inside
    kind = rng.choice(["equals", "at most", "at least", "between", "touches"], len(matrix))
    low = np.select([kind == "equals", np.isin(kind, ["at least", "between"])], [there, there - 0.1], -np.inf)
    high = np.select(
        [np.isin(kind, ["equals", "touches"]), np.isin(kind, ["at most", "between"])], [there, there + 0.1], np.inf
    )
    return np.tile(lower, (rows, 1)), np.tile(upper, (rows, 1)), Linear(matrix, low, high), np.tile(inside, (rows, 1))


def assert_feasible(u, lower, upper, linear):
    assert (u >= lower).all()
    assert (u <= upper).all()
    assert linear.violation(u).max(initial=0.0) <= TOLERANCE


# The quadratic programs


def slope_along(gradient, point, lower, upper, linear):
    """Return how steeply one can descend from a point along the polytope: the answer of a small linear program."""
    from scipy.optimize import linprog

    value = linear.matrix @ point
    # Steps of length 1 at most, to points that are no further outside than rounding.
    rows = np.concatenate([linear.matrix, -linear.matrix])
    room = np.concatenate([linear.upper - value, value - linear.lower])
    finite = np.isfinite(room)
    step = np.stack([np.maximum(lower - point, -1), np.minimum(upper - point, 1)], axis=1)
    answer = linprog(gradient, rows[finite], np.maximum(room[finite], 0), bounds=step)
    return -answer.fun


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_answer_of_a_quadratic_program_is_feasible_and_nothing_lies_below_it(seed):
    rng = np.random.default_rng(seed)
    e, n = int(rng.integers(1, 8)), 3
    lower, upper, linear, inside = polytope(rng, e, n)
    half = rng.normal(size=(n, int(rng.integers(1, e + 1)), e))  # of less than full rank, but for the damping
    hessian = np.einsum("rqi,rqj->rij", half, half) + 10.0 ** rng.uniform(-7, -1) * np.eye(e)
    gradient = rng.normal(size=(n, e)) * rng.choice([0.01, 1, 100])
    found = Polytope(lower, upper, linear).minimise(hessian, gradient, inside, np.arange(n))
    assert_feasible(found, lower, upper, linear)
    assert linear.violation(found).max() <= 1e-10
    slope = gradient + np.einsum("rij,rj->ri", hessian, found - inside)
    for row in range(n):
        steep = slope_along(slope[row], found[row], lower[row], upper[row], linear)
        assert steep <= 1e-6 * max(np.abs(gradient[row]).max(), 1e-3), (
            "a convex program is solved where no way leads down"
        )


def test_quadratic_programs_agree_with_scipy():
    from scipy.optimize import LinearConstraint, minimize

    rng = np.random.default_rng(3)
    e, n = 6, 10
    inside = rng.dirichlet(np.ones(e), size=n)
    linear = Linear(np.array([np.ones(e), [1, -1, 0, 0, 0, 0]]), np.array([1, -np.inf]), np.array([1, 0.9]))
    half = rng.normal(size=(n, 3, e))
    hessian, gradient = np.einsum("rqi,rqj->rij", half, half) + 0.1 * np.eye(e), rng.normal(size=(n, e))
    found = Polytope(np.zeros((n, e)), np.ones((n, e)), linear).minimise(hessian, gradient, inside, np.arange(n))
    for row in range(n):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reference = minimize(
                lambda s, row=row: (s @ hessian[row] @ s / 2 + gradient[row] @ s, hessian[row] @ s + gradient[row]),
                np.zeros(e),
                jac=True,
                method="SLSQP",
                bounds=np.stack([-inside[row], 1 - inside[row]], axis=1),
                constraints=LinearConstraint(
                    linear.matrix,
                    linear.lower - linear.matrix @ inside[row],
                    linear.upper - linear.matrix @ inside[row],
                ),
                options={"ftol": 1e-15, "maxiter": 500},
            )
        assert found[row] - inside[row] == pytest.approx(reference.x, abs=1e-6)


def test_a_program_goes_on_from_where_its_last_one_ended():
    rng = np.random.default_rng(0)
    e, n = 14, 20
    linear = Linear(np.ones((1, e)), np.ones(1), np.ones(1))
    inside = rng.dirichlet(np.ones(e), size=n)
    p = Polytope(np.zeros((n, e)), np.ones((n, e)), linear)
    hessian = np.broadcast_to(np.eye(e), (n, e, e))
    gradient = rng.normal(size=(n, e))
    first = p.minimise(hessian, gradient, inside, np.arange(n))
    held = p.held.copy()
    again = p.minimise(hessian, gradient + first - inside, first, np.arange(n))
    np.testing.assert_allclose(again, first, atol=1e-14)
    assert (p.held == held).all()
    assert ((first == 0) == (held[:, :e] < 0)).all(), "what holds a variable holds it exactly"


def test_projections_are_the_nearest_points():
    rng = np.random.default_rng(1)
    linear = Linear(np.ones((1, 4)), np.ones(1), np.ones(1))
    p = Polytope(np.zeros((50, 4)), np.ones((50, 4)), linear)
    wanted = rng.normal(size=(50, 4))
    inside = np.full((50, 4), 0.25)
    found = p.nearest(wanted, inside, np.arange(50))
    # The projection onto the simplex in closed form: shift, and cut at 0.
    ordered = -np.sort(-wanted, axis=1)
    excess = (np.cumsum(ordered, axis=1) - 1) / np.arange(1, 5)
    count = (ordered > excess).sum(axis=1)
    expected = np.maximum(wanted - excess[np.arange(50), count - 1][:, None], 0)
    np.testing.assert_allclose(found, expected, atol=1e-12)


# Every installed solver that handles them


@pytest.mark.parametrize("name", LINEAR)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_solver_ever_answers_an_infeasible_point(name, seed):
    rng = np.random.default_rng(seed)
    e = int(rng.integers(2, 5))
    lower, upper, linear, inside = polytope(rng, e, 8)
    p = problem(NETWORKS[e], [float(rng.normal())], lower, upper, linear)
    options = {"max_generations": 20} if name == "differential-evolution" else {}
    result = REGISTRY.create("solver", name, options).solve(p, inside, Context())
    assert_feasible(result.u, lower, upper, linear)
    if name in ("least-squares", "differential-evolution"):  # they take no step that raises the loss
        loss = p.value(result.u)
        assert (loss <= p.value(inside) + 1e-5 * (1 + loss)).all()


NETWORKS = {e: network(e, e) for e in (2, 3, 4)}


def mixtures(rows, seed=0, e=4):
    rng = np.random.default_rng(seed)
    linear = Linear(
        np.array([np.ones(e), [1.0, -1, 0, 0], [1, 1, 0, 0]]), np.array([1, -np.inf, 0.2]), np.array([1, 0.3, np.inf])
    )
    inside = rng.dirichlet(np.ones(e), size=40 * rows)
    inside = inside[(linear.violation(inside) <= 1e-12).all(axis=1)][:rows]
    assert len(inside) == rows
    return linear, inside


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("target", [(2.0, -1.0), (0.2, 0.1)], ids=["out of reach", "within reach"])
def test_the_optimum_of_a_convex_problem_is_that_of_scipy(name, target):
    """Two linear outputs and a squared miss: the loss at the answer is the least of the polytope."""
    from scipy.optimize import LinearConstraint, minimize

    weights = np.array([[0.9, 0.1], [0.2, -0.8], [-0.5, 0.4], [0.3, 0.6]])
    linear, inside = mixtures(24)
    lower, upper = np.zeros_like(inside), np.ones_like(inside)
    p = Problem.from_function(lambda u: u @ weights - target, lower, upper, linear=linear)
    result = REGISTRY.create("solver", name, {}).solve(p, inside, Context())
    assert_feasible(result.u, lower, upper, linear)

    def loss(u):
        return float(np.mean((u @ weights - target) ** 2))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = minimize(
            loss,
            inside[0],
            method="SLSQP",
            bounds=[(0, 1)] * 4,
            constraints=LinearConstraint(linear.matrix, linear.lower, linear.upper),
            options={"ftol": 1e-14, "maxiter": 1000},
        ).fun
    reached = np.array([loss(u) for u in result.u])
    assert reached.min() == pytest.approx(reference, abs=1e-5)
    assert np.median(reached) == pytest.approx(reference, abs=1e-4), "from most starts, not from one"


@pytest.mark.parametrize("name", LINEAR)
def test_a_target_out_of_reach_is_answered_in_the_corner_of_bounds_and_constraints(name):
    linear, rng = Linear(np.ones((1, 3)), np.ones(1), np.ones(1)), np.random.default_rng(0)
    p = problem(lin([[1], [0], [-1]]), [5.0], np.zeros((12, 3)), np.full((12, 3), 0.6), linear)
    start = rng.dirichlet(np.ones(3) * 9, size=12) * 0.5 + 1 / 6
    u = REGISTRY.create("solver", name, {}).solve(p, start, Context()).u
    assert u[p.value(u).argmin()] == pytest.approx([0.6, 0.4, 0.0], abs=1e-6)
    if name == "least-squares":  # an active-set method: what holds a variable holds it exactly, in every row
        assert (u[:, 0] == 0.6).all()
        assert (u[:, 2] == 0.0).all()
        assert u[:, 1] == pytest.approx(0.4, abs=1e-14)


@pytest.mark.parametrize("name", LINEAR)
def test_each_row_keeps_to_what_it_holds_fixed(name):
    linear, inside = mixtures(12)
    lower, upper = np.zeros_like(inside), np.ones_like(inside)
    lower[::2, 3] = upper[::2, 3] = inside[::2, 3]
    p = problem(NETWORKS[4], [0.3], lower, upper, linear, np.arange(12) % 2)
    result = REGISTRY.create("solver", name, {}).solve(p, inside, Context())
    assert_feasible(result.u, lower, upper, linear)
    assert (result.u[::2, 3] == inside[::2, 3]).all()


@pytest.mark.parametrize("name", LINEAR)
def test_the_rows_of_one_target_end_alike_whatever_is_solved_beside_them(name):
    linear, inside = mixtures(20)
    lower, upper = np.zeros_like(inside), np.ones_like(inside)
    solver = REGISTRY.create("solver", name, {})
    both = problem(NETWORKS[4], [0.3], lower, upper, linear, np.repeat([0, 1], 10))
    alone = problem(NETWORKS[4], [0.3], lower[:10], upper[:10], linear)
    first, second = solver.solve(both, inside, Context()), solver.solve(alone, inside[:10], Context())
    losses = [np.sort(both.value(u, np.arange(10))) for u in (first.u[:10], second.u)]
    np.testing.assert_allclose(*losses, atol=1e-4)


# SLSQP


def test_scipy_slsqp_is_driven_step_by_step_here():
    assert speaks_reverse_communication(SLSQP), "this SciPy is new to us: the fallback is used, which is slower"


@pytest.mark.parametrize(
    "linear",
    [
        Linear.none(2),
        Linear(np.array([[1.0, 1.0]]), np.array([-np.inf]), np.array([1.1])),
        Linear(np.array([[1.0, 1.0], [2.0, 2.0], [1.0, 0.0]]), np.array([1.0, 2.0, 0.1]), np.array([1.0, 2.0, 0.9])),
    ],
    ids=["bounds", "at most", "a redundant equation"],
)
def test_slsqp_in_lock_step_ends_each_start_as_minimize_does(linear):
    """The same functions to both, in float64, so that the iterates can be compared start by start."""

    def valley(u, rows):
        a, b = u[:, 0], u[:, 1]
        value = (1 - 2 * a) ** 2 + 50 * (b - a**2) ** 2
        return value, np.stack([-4 * (1 - 2 * a) - 200 * a * (b - a**2), 100 * (b - a**2)], axis=1)

    first = np.random.default_rng(1).uniform(0.1, 0.9, 30)
    u0 = np.stack([first, 1 - first], axis=1)
    starts, solver = Starts(valley, u0, np.zeros((30, 2)), np.ones((30, 2)), linear, Context()), SLSQP(ftol=1e-10)
    ours, theirs = solver.lock_step(starts), solver.one_after_another(starts)
    np.testing.assert_array_equal(ours.u, theirs.u)
    assert list(ours.message) == list(theirs.message)
    assert [str(s) for s in ours.status] == [str(s) for s in theirs.status]


def test_slsqp_asks_once_a_round_for_all_starts(monkeypatch):
    linear, inside = mixtures(24)
    p = problem(NETWORKS[4], [0.3], np.zeros_like(inside), np.ones_like(inside), linear, objective="mae")
    calls = []
    ask = p.value_and_grad
    monkeypatch.setattr(p, "value_and_grad", lambda u, rows: calls.append(len(u)) or ask(u, rows))
    REGISTRY.create("solver", "slsqp", {}).solve(p, inside, Context())
    assert calls[0] == 24
    assert len(calls) == p.evaluations.max(), "as many calls as the slowest start needs"
