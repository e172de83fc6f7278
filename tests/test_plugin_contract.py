"""What the core promises to plugin authors, and what they may leave out."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import sys
import types
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, called

from invdesign_core.context import Context
from invdesign_core.data.data import Data
from invdesign_core.errors import PluginError, SolverError
from invdesign_core.plugin import (
    Event,
    Linear,
    Note,
    Problem,
    Progress,
    RunStarted,
    Solver,
    SolverResult,
    StageStarted,
    StartOptions,
    Status,
    SurrogateBuilder,
    TrainingEnded,
    TrialEnded,
    Warned,
)
from invdesign_core.registry import Entry, Provider, Registry
from invdesign_core.registry.contract import hold_to as checked
from invdesign_core.search.solver import call_solver
from invdesign_core.surrogate.trainer import call_build
from invdesign_core.surrogate.user_code import UserObject
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.run_folder import RunFolder
from invdesign_core.workflow.validate import user_code_of

REGISTRY = Registry.discover()


def rows() -> tuple[Any, Any]:
    X = np.random.default_rng(0).random((30, 2))
    return X, X.sum(axis=1)


class Build:
    """A builder whose `build` is the function it is given."""

    def __init__(self, build: Any) -> None:
        self.build = build


@pytest.mark.parametrize(
    ("build", "handed"),
    [
        (lambda hp: (hp,), ("hp",)),
        (lambda hp, data: (hp, data), ("hp", "data")),
        (lambda hp, data, ctx: (hp, data, ctx), ("hp", "data", "ctx")),
        (lambda hp, ctx: (hp, ctx), ("hp", "ctx")),
        (lambda ctx, data: (ctx, data), ("ctx", "data")),
        (lambda *everything: everything, ("hp", "data", "ctx")),
        (lambda **named: tuple(named.items()), (("hp", "hp"), ("data", "data"), ("ctx", "ctx"))),
        (lambda h, d: (h, d), ("hp", "data")),
        (lambda _hp, data, /: (_hp, data), ("hp", "data")),
        (lambda hp, data, rate=3: (hp, data, rate), ("hp", "data", 3)),
        (lambda: (), ()),
    ],
)
def test_a_builder_is_handed_the_arguments_that_it_takes(build, handed):
    assert call_build(Build(build), "hp", "data", "ctx") == handed


class Remembered(SurrogateBuilder):
    """A linear model that notes the seeds it is handed."""

    name = "remembered"
    differentiable = False

    seen: list[Any]

    def build(self, hp, data, ctx):
        from sklearn.linear_model import Ridge

        self.seen.append((ctx.seed, ctx.rng("weights").random(), ctx.folder))
        return Ridge(hp.Choice("alpha", [0.1, 1.0]))


def test_each_trial_and_each_member_is_built_with_a_seed_of_its_own_and_a_second_run_with_the_same():
    seen: list[list[Any]] = [[], []]
    for notes in seen:
        # pydantic copies a list that is validated, so it is handed over as it is
        surrogate = Remembered.model_construct(seen=notes)
        InverseDesign(surrogate, solver="differential-evolution", training={"members": 3}).fit(*rows())
    assert seen[0] == seen[1]
    trials, members = seen[0][1:3], seen[0][3:]
    assert len({seed for seed, _, _ in trials + members}) == len(trials + members) == 4
    assert len({draw for _, draw, _ in trials + members}) == 4


def example(module: str) -> types.ModuleType:
    path = ROOT / "tests" / "third_party" / "invdesign_example" / "invdesign_example" / f"{module}.py"
    spec = importlib.util.spec_from_file_location(f"example_{module}", path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def test_the_example_surrogate_draws_from_its_context_and_not_from_the_global_stream():
    import keras_tuner as kt
    import pandas as pd

    X, y = rows()
    data = Data.from_frame(pd.DataFrame(X, columns=["a", "b"]).assign(y=y), ["y"])
    forest = example("forest").Forest()
    before = np.random.get_state()[1].copy()
    built = [call_build(forest, kt.HyperParameters(), data, Context(seed)) for seed in (1, 1, 2)]
    assert (np.random.get_state()[1] == before).all()
    first, again, other = (model.random_state for model in built)
    assert first == again != other


def test_user_code_of_another_kind_is_the_plugins_fault():
    class Odd(Remembered):
        name = "odd"

        def user_code(self, ctx):
            return [len]

    with pytest.raises(PluginError, match=r"surrogate 'odd' failed: TypeError: user_code returned the function len"):
        user_code_of(Odd(seen=[]), Context())


def test_a_module_that_another_of_its_name_keeps_out_is_executed_only_once(tmp_path, monkeypatch):
    (tmp_path / "its_own_nets.py").write_text("class Layer: ...\ndef build(hp): return Layer\n")
    other = types.ModuleType("its_own_nets")
    monkeypatch.setitem(sys.modules, "its_own_nets", other)
    first, second = (UserObject.find("its_own_nets:build", tmp_path, "test").value(None) for _ in range(2))
    assert first is second
    assert sys.modules["its_own_nets"] is other


def answered(result: Any) -> SolverResult:
    """Call a solver that gives this answer for three rows of two columns."""

    class Answers(Solver):
        name = "answers"

        def solve(self, problem, u0, ctx):
            return result(u0)

    problem = Problem.from_function(lambda u: u - 0.2, np.zeros((3, 2)), np.ones((3, 2)))
    return call_solver(Answers(), problem, np.full((3, 2), 0.5), Context())[0]


def test_samples_are_kept_where_better_points_were_evaluated():
    class Sampler(Solver):
        name = "sampler"

        def solve(self, problem, u0, ctx):
            problem.value(u0 - 0.3)
            return SolverResult(u0, Status.CONVERGED, samples=self.starts == 1)

    for starts, ends in ((1, 0.5), (2, 0.2)):
        problem = Problem.from_function(lambda u: u - 0.2, np.zeros((3, 2)), np.ones((3, 2)))
        result, _ = call_solver(Sampler(starts=starts), problem, np.full((3, 2), 0.5), Context())
        assert np.allclose(result.u, ends)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (Status.LIMIT, "ten steps"),
        ("limit", None),
        (["limit"] * 3, ["a", "b", "c"]),
        (np.full(3, Status.LIMIT), "ten steps"),
        (np.array(["limit"] * 3), np.array(["a", "b", "c"])),
        (Status.LIMIT, ("a", "b", "c")),
    ],
)
def test_a_solver_may_say_its_status_and_its_message_once_for_all_rows(status, message):
    result = answered(lambda u: SolverResult(u, status, message))
    assert list(result.status) == ["limit"] * 3
    expected = [message or ""] * 3 if message is None or isinstance(message, str) else list(message)
    assert list(result.message) == expected


def test_a_solver_may_leave_out_the_message():
    result = answered(lambda u: SolverResult(u, Status.CONVERGED))
    assert (list(result.status), list(result.message)) == (["converged"] * 3, [""] * 3)


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (None, "", "the status ''"),
        ("fine", "", "the status 'fine'"),
        (["limit", "fine", "limit"], "", "the status 'fine'"),
        (3, "", "'int' object is not iterable"),
        (["limit"] * 2, "", "with 2 states and 3 messages"),
        (["limit"] * 3, ["a"] * 4, "with 3 states and 4 messages"),
    ],
)
def test_a_status_or_a_message_that_can_not_be_read_is_the_plugins_fault(status, message, said):
    with pytest.raises(SolverError, match=said):
        answered(lambda u: SolverResult(u, status, message))


class Terse(Solver):
    """A solver whose option says nothing of itself."""

    name = "terse"

    speed: float = 1.0

    def solve(self, problem, u0, ctx):
        return SolverResult(u0, Status.LIMIT)


@pytest.fixture
def with_terse(monkeypatch):
    """The installed plugins, and one with an option that has no description."""
    entry = Entry(checked(Terse, "solver"), Provider("invdesign-terse", "1.0", "terse"))
    registry = Registry([*REGISTRY.entries, entry])
    monkeypatch.setattr(Registry, "discover", classmethod(lambda cls: registry))
    return registry


def test_an_option_without_a_description_is_a_warning_and_the_plugin_works(with_terse, tmp_path):
    assert with_terse.create("solver", "terse", {"speed": 2}).speed == 2
    done = called(["plugins", "list"], tmp_path, {})
    assert done.code == 0
    warning = "warning: invdesign-terse 1.0 (terse): solver terse: option 'speed' has no description"
    assert [line for line in done.out.splitlines() if "warning" in line] == [warning]
    found = {
        row["name"]: row["warnings"] for row in called(["plugins", "list", "--json"], tmp_path, {}).json["plugins"]
    }
    assert found.pop("terse") == ["option 'speed' has no description"]
    assert not any(found.values())


def test_what_the_core_serves_is_listed_apart_from_a_plugins_own_options(with_terse, tmp_path):
    said = called(["plugins", "show", "terse"], tmp_path, {}).out
    own, _, every = said.partition("options of every solver:")
    assert "speed = 1.0" in own
    for key in StartOptions.model_fields:
        assert f"  {key} = " in every
        assert f"  {key} = " not in own
    options = called(["plugins", "show", "terse", "--json"], tmp_path, {}).json["options"]
    assert (
        {o["name"] for o in options if o["served_by_core"]} == Terse.served_by_core() == set(StartOptions.model_fields)
    )
    assert REGISTRY.find("dataset-search").plugin.served_by_core() == set(StartOptions.model_fields)
    assert REGISTRY.find("grid-search").plugin.served_by_core() == {"objective", "direction"}
    assert REGISTRY.find("table").plugin.served_by_core() == set()


def test_a_problem_of_a_plain_function_has_its_values_and_derivatives():
    u = np.random.default_rng(0).random((4, 2))

    def residuals(u):
        return np.stack([u[:, 0] ** 2, u[:, 0] * u[:, 1], np.sin(u[:, 1])], axis=1)

    problem = Problem.from_function(residuals, np.zeros((4, 2)), np.ones((4, 2)))
    a, b, zero = *u.T, np.zeros(4)
    slope = np.stack([np.stack([2 * a, zero], 1), np.stack([b, a], 1), np.stack([zero, np.cos(b)], 1)], axis=1)
    found, jacobian = problem.residuals_and_jacobian(u)
    loss, gradient = problem.value_and_grad(u)
    np.testing.assert_array_equal(found, residuals(u))
    np.testing.assert_allclose(jacobian, slope, atol=1e-9)
    np.testing.assert_allclose(loss, (found**2).mean(axis=1), rtol=1e-15)
    np.testing.assert_allclose(gradient, 2 * np.einsum("rq,rqe->re", found, slope) / 3, atol=1e-9)
    assert problem.evaluations.tolist() == [2] * 4
    assert (problem.best_u == u).all()


def test_a_plain_function_is_differentiated_from_one_side_where_its_domain_ends():
    problem = Problem.from_function(lambda u: np.where(u < 0, np.nan, 3 * u).sum(axis=1), [[0.0]], [[1.0]])
    loss, gradient = problem.value_and_grad(np.zeros((1, 1)))
    assert (loss[0], gradient[0, 0]) == (0, pytest.approx(3))


def test_a_plain_function_may_depend_on_the_target_of_each_row():
    aims = np.array([0.2, 0.6])
    problem = Problem.from_function(
        lambda u, target: u - aims[target, None], np.zeros((3, 1)), np.ones((3, 1)), groups=[1, 0, 1]
    )
    assert problem.value(np.full((3, 1), 0.6)) == pytest.approx([0, 0.16, 0])
    assert problem.value(np.full((2, 1), 0.2), [1, 2]) == pytest.approx([0, 0.16])
    solver = REGISTRY.create("solver", "least-squares", {})
    assert solver.solve(problem, np.full((3, 1), 0.5), Context()).u == pytest.approx(np.array([[0.6], [0.2], [0.6]]))


@pytest.mark.parametrize("solver", ["least-squares", "lbfgsb", "slsqp", "differential-evolution"])
def test_every_default_solver_can_be_tried_on_a_plain_function(solver):
    linear = Linear(np.array([[1.0, 1.0]]), np.array([-np.inf]), np.array([0.8]))
    plugin = REGISTRY.create("solver", solver, {})
    constrained = linear if "linear" in plugin.handles else None
    problem = Problem.from_function(lambda u: u - 0.5, np.zeros((16, 2)), np.ones((16, 2)), linear=constrained)
    u0 = np.random.default_rng(0).random((16, 2)) * 0.4
    reached = plugin.solve(problem, u0, Context()).u
    assert reached == pytest.approx(np.full((16, 2), 0.4 if constrained else 0.5), abs=1e-3)


@pytest.mark.parametrize(
    ("f", "lower", "upper", "groups", "said"),
    [
        (len, [0.0], [1.0], None, "expected (b, e) for both"),
        (len, [[0.0]], [[0.0, 1.0]], None, "expected (b, e) for both"),
        (len, [[1.0]], [[0.0]], None, "lower <= upper"),
        (len, [[0.0]], [[1.0]], [0, 1], "one for each of 1 rows"),
        (len, [[0.0]], [[1.0]], None, "returned shape () for 1 points"),
        (lambda u: np.zeros(3), [[0.0]], [[1.0]], None, "returned shape (3,) for 1 points"),
    ],
)
def test_a_plain_problem_that_can_not_be_stated_is_refused(f, lower, upper, groups, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        Problem.from_function(f, lower, upper, groups).value(np.zeros((1, 1)))


def test_residuals_of_a_function_that_has_none_are_refused():
    problem = Problem.from_function(lambda u: u.sum(axis=1), [[0.0]], [[1.0]])
    with pytest.raises(ValueError, match="return them as"):
        problem.residuals_and_jacobian(np.zeros((1, 1)))


@pytest.mark.parametrize(
    ("event", "kind", "data"),
    [
        (RunStarted("runs/1"), "run", {"path": "runs/1"}),
        (StageStarted("train"), "stage", {"stage": "train"}),
        (StageStarted("solve", "slsqp"), "stage", {"stage": "solve", "solver": "slsqp"}),
        (Progress("solve", 1, 8), "progress", {"stage": "solve", "done": 1, "total": 8}),
        (
            Progress("train", 1, 8, live=2, best=None),
            "progress",
            {"stage": "train", "done": 1, "total": 8, "live": 2, "best": None},
        ),
        (
            TrialEnded(3, {"rate": 0.1}, 0.5, "ok", 20, ""),
            "trial",
            {"id": 3, "values": {"rate": 0.1}, "score": 0.5, "status": "ok", "epochs": 20, "message": ""},
        ),
        (
            TrainingEnded("train", [{"epoch": [1, 2], "loss": [0.5, 0.25]}]),
            "trained",
            {"stage": "train", "losses": [{"epoch": [1, 2], "loss": [0.5, 0.25]}]},
        ),
        (Note("a"), "note", {"text": "a"}),
        (Warned("b"), "warning", {"text": "b"}),
    ],
)
def test_events_are_values_of_their_own_class_and_logs_keep_their_keys(event, kind, data, tmp_path):
    assert isinstance(event, Event)
    assert (event.kind, event.data, list(event.data)) == (kind, data, list(data))
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.text = "other"
    folder = RunFolder(tmp_path)
    folder.event(event)
    if kind != "progress":  # too many to be kept
        line = json.loads((tmp_path / "events.jsonl").read_text())
        assert {key: value for key, value in line.items() if key != "time"} == {"kind": kind, **data}


def test_what_a_run_tells_is_of_these_classes():
    told = []
    ctx = Context(emit=told.append)
    ctx.note("a")
    ctx.warn("b")
    assert told == [Note("a"), Warned("b")]
