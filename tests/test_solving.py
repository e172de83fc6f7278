"""Solving: designs from networks whose exact answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import fn, invert, lin

from invdesign_core.context import Context
from invdesign_core.errors import ConfigError, PluginError, SolverError
from invdesign_core.plugin import FloatArray, Objective, Problem, Solver, SolverResult, Status
from invdesign_core.registry import Registry
from invdesign_core.search.problem import Bounded
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets
from invdesign_core.workflow.solver_choice import Requirements, check_solver

REGISTRY = Registry.discover()


def solve(model, target, box=(0.0, 1.0), outputs=("y",), seed=0, fixed=None, solver=None, space=None, **options):
    width = model.input_shape[1]
    space = space or Space(tuple(Variable(f"x{i + 1}", lower=box[0], upper=box[1]) for i in range(width)))
    space = space.restrict(fixed=fixed)
    surrogate = Surrogate.of_model(model, space, outputs)
    wanted = parse_targets(target if isinstance(target, dict) else {outputs[0]: target}, outputs)
    solver = solver or REGISTRY.create("solver", "lbfgsb", options)
    return invert(surrogate, wanted, space, REGISTRY.create("objective", "mse", {}), solver, Context(seed))


def inputs(answers):
    return answers.designs.filter(like="design.").to_numpy(dtype=float)


@pytest.mark.parametrize("gradient", ["exact", "3-point", "2-point"])
def test_every_start_hits_a_sum_whatever_the_gradient(gradient):
    answers = solve(lin([[1], [1]]), 1.3, starts=20, init="uniform", gradient=gradient)
    assert answers.counts()["hit"] == 20
    assert inputs(answers)[0].sum() == pytest.approx(1.3, abs=1e-3)


def test_a_start_that_never_moved_and_misses_is_not_called_converged():
    class Idle(Solver):
        """Claims success wherever it stands."""

        name = "idle"

        def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
            return SolverResult(u0, [Status.CONVERGED] * len(u0), ["success"] * len(u0))

    answers = solve(lin([[1], [1]]), 1.3, solver=Idle(starts=50, init="uniform"))
    counts = answers.counts()
    missing = ~answers.starts["hit"]
    assert missing.sum() > 10
    assert (answers.starts["status"][missing] == "stuck").all()
    assert counts["converged"] == counts["hit"]
    assert counts["unmoved"] == 50


def test_a_target_out_of_reach_gives_the_nearest_design_and_the_miss():
    answers = solve(lin([[1], [1]], act="tanh"), 5)
    best = answers.designs.iloc[0]
    assert not answers.met
    assert inputs(answers)[0].tolist() == [1, 1]
    assert best["prediction.y"] == pytest.approx(0.9640, abs=1e-4)
    assert best["miss.y"] == pytest.approx(-4.0360, abs=1e-4)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("width", [2, 3])
def test_a_network_flat_over_most_of_its_box_is_solved_for_every_seed(seed, width):
    from keras import ops

    def bump(x):
        return ops.relu(1 - ops.sum(ops.square(x - 0.83), axis=1, keepdims=True) / 0.02)

    answers = solve(fn(width, bump), 0.9, seed=seed)
    assert answers.met
    assert answers.counts()["unmoved"] > 0, "the starts on the flat part are counted"


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 1e6])
def test_the_unit_of_an_output_changes_no_design(unit):
    from keras import ops

    def model(scale):
        return fn(2, lambda x: scale * ops.expand_dims(x[:, 0] * x[:, 1] + ops.sin(3 * x[:, 0]), -1))

    plain, scaled = solve(model(1.0), 0.7), solve(model(unit), 0.7 * unit)
    assert plain.counts()["hit"] == scaled.counts()["hit"] == 64
    # Every start is the same and reaches the same basin; float32 rounds the valley differently.
    ours, theirs = (a.starts.filter(like="design.").to_numpy(float) for a in (plain, scaled))
    assert np.median(np.abs(ours - theirs)) < 1e-4


def test_both_answers_are_found_and_never_their_mean():
    from keras import ops

    answers = solve(fn(1, ops.square), 1, box=(-2, 2))
    met = answers.designs[answers.designs["met"]]
    assert sorted(met["design.x1"].round(3)) == [-1, 1]


def test_several_outputs_are_met_at_once():
    model = lin([[1, 1], [1, -1]])
    answers = solve(model, {"perimeter": 1.2, "slack": 0.2}, outputs=("perimeter", "slack"))
    assert inputs(answers)[0] == pytest.approx([0.7, 0.5], abs=1e-4)


def test_any_value_inside_a_range_costs_nothing():
    answers = solve(lin([[1], [1]]), "0.5..1.5", init="uniform")
    inside = answers.starts[answers.starts["moved"] == False]  # noqa: E712
    assert len(inside) > 10
    assert (inside["loss"] == 0).all()
    assert answers.starts["hit"].all()


def test_a_fixed_variable_stays_and_the_other_makes_up_for_it():
    answers = solve(lin([[1], [1]]), 7, box=(0, 10), fixed={"x1": 3.0})
    assert inputs(answers)[0] == pytest.approx([3, 4], abs=1e-4)
    assert (answers.starts["design.x1"] == 3).all()


def test_integers_are_rounded_and_the_rest_makes_up_for_it():
    space = Space((Variable("n", "integer", lower=0, upper=9), Variable("x", lower=0, upper=1)))
    answers = solve(lin([[1], [1]]), 4.3, space=space)
    best = answers.designs.iloc[0]
    assert best["design.n"] + best["design.x"] == pytest.approx(4.3, abs=1e-4)
    assert isinstance(best["design.n"], (int, np.integer))


def test_a_category_is_never_a_mixture():
    space = Space((Variable("kind", "categorical", levels=("A", "B", "C")), Variable("x", lower=0, upper=0.5)))
    answers = solve(lin([[0], [1], [5], [1]]), 3, space=space)
    best = answers.designs.iloc[0]
    assert not answers.met
    assert (best["design.kind"], best["design.x"]) == ("B", pytest.approx(0.5))
    assert best["prediction.y"] == pytest.approx(1.5, abs=1e-4)


def test_a_prediction_that_is_not_finite_is_never_ranked_best():
    from keras import ops

    answers = solve(fn(1, lambda x: ops.sqrt(x - 0.5)), 0.5, starts=20, init="uniform")
    assert answers.designs["design.x1"][0] == pytest.approx(0.75, abs=1e-3)
    assert answers.counts()["not_finite"] > 0
    assert np.isfinite(answers.designs["loss"]).all()


@pytest.mark.parametrize("init", ["screened", "uniform", "sobol", "latin-hypercube"])
def test_starts_lie_in_the_bounds_and_follow_the_seed(init):
    first, again, other = (solve(lin([[1], [1]]), 5, box=(2, 3), seed=s, init=init) for s in (0, 0, 1))
    guesses = first.starts.filter(like="guess.").to_numpy()
    assert ((guesses >= 2) & (guesses <= 3)).all()
    assert len(np.unique(guesses, axis=0)) > 32
    assert first.starts.equals(again.starts)
    assert not first.starts.equals(other.starts)


def test_starts_can_come_from_the_rows_whose_output_is_nearest():
    model = lin([[1], [1]])
    space = Space((Variable("x1", lower=0, upper=1), Variable("x2", lower=0, upper=1)))
    surrogate = Surrogate.of_model(model, space, ("y",))
    x = np.random.default_rng(0).random((500, 2))
    wanted = parse_targets({"y": 1.3}, ("y",))
    solver = REGISTRY.create("solver", "lbfgsb", {"init": "data", "starts": 10})
    mse = REGISTRY.create("objective", "mse", {})
    answers = invert(surrogate, wanted, space, mse, solver, Context(), (x, x.sum(axis=1, keepdims=True)))
    guesses = answers.starts.filter(like="guess.").to_numpy()
    nearest = np.sort(np.abs(x.sum(axis=1) - 1.3))[:10]
    assert np.sort(np.abs(guesses.sum(axis=1) - 1.3)) == pytest.approx(nearest, abs=1e-6)


def test_the_best_point_seen_counts_not_the_last_one():
    class Wanders(Solver):
        """Evaluates a good point and comes back with a bad one, outside the box."""

        name = "wanders"

        def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
            problem.value(np.full_like(u0, 0.65))
            return SolverResult(u0 * 0 + 9.0, [Status.LIMIT] * len(u0), [""] * len(u0))

    answers = solve(lin([[1], [1]]), 1.3, solver=Wanders(starts=3))
    assert inputs(answers)[0] == pytest.approx([0.65, 0.65], abs=1e-6)
    assert (answers.starts["evaluations"] == 1).all()


def test_out_of_time_keeps_what_was_found():
    class Endless(Solver):
        """Never stops by itself."""

        name = "endless"

        def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
            while True:
                try:
                    problem.value(ctx.rng("endless").random(u0.shape))
                except Exception:  # a plugin that swallows everything can't hold up the run
                    continue

    import time

    space = Space((Variable("x1", lower=0, upper=1), Variable("x2", lower=0, upper=1)))
    surrogate = Surrogate.of_model(lin([[1], [1]]), space, ("y",))
    mse = REGISTRY.create("objective", "mse", {})
    wanted = parse_targets({"y": 1.3}, ("y",))
    ctx = Context(deadline=time.monotonic() + 1.0)
    answers = invert(surrogate, wanted, space, mse, Endless(starts=64), ctx)
    assert answers.interrupted
    assert (answers.starts["message"] == "out of time").all()
    assert answers.met


@pytest.mark.parametrize(
    "result",
    [
        lambda u: SolverResult(u[:1], [Status.LIMIT], [""]),
        lambda u: SolverResult(u.T, [Status.LIMIT] * len(u), [""] * len(u)),
        lambda u: 1 / 0,
    ],
)
def test_a_solver_that_answers_nonsense_is_named(result):
    class Odd(Solver):
        """Answers what it was not asked."""

        name = "odd"

        def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
            return result(u0)

    with pytest.raises(SolverError, match="'odd'"):
        solve(lin([[1], [1]]), 1.3, solver=Odd(starts=3))


def test_a_solver_that_needs_more_than_there_is_is_refused_with_those_that_can():
    class Free(Solver):
        """Needs nothing."""

        name = "free"

    class OnlyLoss(Objective):
        """Has no residuals."""

        name = "only-loss"

        def loss(self, z, goal):
            return z.mean[:, 0]

    class Squares(Solver):
        """Needs residuals."""

        name = "squares"
        needs = frozenset({"residuals"})

    lbfgsb, mse = REGISTRY.create("solver", "lbfgsb", {}), REGISTRY.create("objective", "mse", {})
    with pytest.raises(PluginError, match="solvers that can: free"):
        check_solver(lbfgsb, Requirements(mse, "forest", False), {"lbfgsb": type(lbfgsb), "free": Free})
    with pytest.raises(PluginError, match="needs residuals, and objective 'only-loss' has none"):
        check_solver(Squares(), Requirements(OnlyLoss(), "net"))
    check_solver(lbfgsb, Requirements(OnlyLoss(), "net"))
    check_solver(Squares(), Requirements(mse, "net"))


def test_a_variable_without_bounds_is_refused_with_the_ways_to_give_them():
    bounded = Variable("x1", lower=0, upper=1)
    surrogate = Surrogate.of_model(lin([[1.0], [1.0]]), Space((bounded, Variable("x2", lower=0, upper=1))), ("y",))
    space = Space((bounded, Variable("x2")))
    with pytest.raises(ConfigError) as error:
        invert(surrogate, parse_targets({"y": 1.0}, ("y",)), space, None, None, Context())
    assert "'x2'" in str(error.value)
    assert "--bounds" in str(error.value)


def test_residuals_and_jacobian_agree_with_value_and_gradient():
    from invdesign_core.search.loss_functions import LossFunctions
    from invdesign_core.targets import Targets

    rng = np.random.default_rng(0)
    model = lin(rng.normal(size=(3, 4)), rng.normal(size=4), "tanh")
    space = Space(tuple(Variable(f"x{i}", lower=-1, upper=2) for i in range(3)))
    outputs = tuple("abcd")
    surrogate = Surrogate.of_model(model, space, outputs)
    targets = Targets.build(
        [parse_targets({"a": 0.3, "c": "<=0.1", "d": {"equals": 0, "weight": 3}}, outputs)], outputs, surrogate.spread
    )
    goal = targets.goal(surrogate.shift, surrogate.scale)
    problem = Problem(
        LossFunctions(surrogate, REGISTRY.create("objective", "mse", {})),
        goal.take(np.zeros(5, int)),
        Bounded(np.zeros(5, int), np.zeros((5, 3)), np.ones((5, 3))),
        space.discrete,
        Context(),
    )
    u = rng.random((5, 3))
    loss, gradient = problem.value_and_grad(u)
    residuals, jacobian = problem.residuals_and_jacobian(u)
    assert problem.value(u) == pytest.approx(loss, rel=1e-5)
    assert (residuals**2).mean(axis=1) == pytest.approx(loss, rel=1e-5)
    assert 2 * np.einsum("rq,rqe->re", residuals, jacobian) / residuals.shape[1] == pytest.approx(
        gradient, rel=1e-3, abs=1e-4
    )
    assert problem.evaluations.tolist() == [3] * 5
    assert problem.best_loss == pytest.approx(loss, rel=1e-5)
