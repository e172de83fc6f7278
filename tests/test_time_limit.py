"""A search that is given so many seconds ends with what it has found, and says that its time was over."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from conftest import called, invert, lin, prepare_model

from invdesign_core.context import Context, within
from invdesign_core.errors import ConfigError, ExitCode, OutOfTimeError
from invdesign_core.plugin import Problem, Solver, SolverResult, Status
from invdesign_core.registry import Entry, Provider, Registry
from invdesign_core.search.solver import call_solver
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import parse_targets
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.solve import solve_table

LIMIT = 0.5
ENDED = "the time limit ended the search: these are the best designs so far"


NOW = [0.0]
"""The time by the clock that contexts look at."""


class Endless(Solver):
    """Draws 40 random points for each start, long enough for any time limit; some calls before that end at once."""

    name = "endless"
    quick: ClassVar[int] = 0
    """Calls that end at once."""

    def solve(self, problem, u0, ctx):
        if type(self).quick > 0:
            type(self).quick -= 1
            problem.value(u0)
            return SolverResult(u0, Status.CONVERGED)
        for i in range(40):
            problem.value(ctx.rng("endless", i).random(u0.shape))
        NOW[0] += 10**6
        problem.value(u0)
        raise AssertionError("the time was over")


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """The installed plugins and the endless solver."""
    found = Registry.discover()
    found = Registry([*found.entries, Entry(Endless, Provider("invdesign-endless", "1", "endless"))])
    monkeypatch.setattr(Registry, "discover", classmethod(lambda cls: found))
    monkeypatch.setattr(Endless, "quick", 0)
    clock = SimpleNamespace(monotonic=lambda: NOW[0], perf_counter=time.perf_counter)
    monkeypatch.setattr("invdesign_core.context.time", clock)
    return found


@pytest.fixture
def model(tmp_path):
    """A model file of y = x1 + x2."""
    path = tmp_path / "model.keras"
    lin([[1], [1]]).save(path)
    return path


def inverted(target, registry, space=None, **options):
    space = space or Space((Variable("x1", lower=0, upper=1), Variable("x2", lower=0, upper=1)))
    surrogate = Surrogate.of_model(lin([[1], [1]]), space, ("y",))
    events = []
    ctx = Context(emit=events.append)
    mse = registry.create("objective", "mse", {})
    solver = Endless(starts=8, init="uniform", **options)
    answers = invert(surrogate, parse_targets({"y": target}, ("y",)), space, mse, solver, ctx)
    notes = [event.data["text"] for event in events if event.kind == "note"]
    return answers, notes


@pytest.mark.parametrize(
    ("target", "status"), [(1.3, "met"), (5.0, "out of time"), ("max", "out of time"), ("<=1.9", "met")]
)
def test_the_limit_ends_the_search_and_only_what_is_met_counts_as_found(registry, target, status):
    answers, notes = inverted(target, registry, time_limit=LIMIT)
    assert (answers.status, answers.interrupted, answers.out_of_time) == (status, True, True)
    assert "the time limit of 0.5 s ended the search" in notes
    assert (answers.starts["message"] == "out of time").all()
    assert np.isfinite(answers.designs["loss"]).all()


def test_a_search_that_ends_in_time_says_nothing_of_the_limit(registry, monkeypatch):
    monkeypatch.setattr(Endless, "quick", 10**9)
    answers, notes = inverted(5.0, registry, time_limit=60)
    assert (answers.status, answers.interrupted, answers.out_of_time) == ("not met", False, False)
    assert not any("time" in note for note in notes)


@pytest.mark.parametrize("count", [3, 4000])
def test_the_limit_holds_where_values_are_discrete(registry, count, monkeypatch):
    space = Space(tuple(Variable(name, kind="integer", lower=0, upper=count) for name in ("x1", "x2")))
    if count == 3:  # all 16 combinations are tried, four at a time, and no solver is asked
        monkeypatch.setattr("invdesign_core.search.enumerate.CHUNK", 4)
        ticks = iter(range(100))
        monkeypatch.setattr("invdesign_core.context.time.monotonic", lambda: next(ticks))
    answers, _ = inverted(0.5, registry, space, time_limit=LIMIT)
    assert (answers.status, answers.out_of_time) == ("out of time", True)
    assert len(answers.designs)
    assert (answers.designs[["design.x1", "design.x2"]] % 1 == 0).all(axis=None)


def test_a_deadline_of_the_context_holds_beside_the_limit():
    assert within(Context(), None).deadline is None
    soon = Context(deadline=NOW[0] + 1)
    assert within(soon, None) is soon
    assert within(soon, 100).deadline == soon.deadline
    assert within(soon, 0.1).deadline < soon.deadline


def test_a_solver_that_ends_after_the_deadline_keeps_its_count_of_evaluations():
    class Late(Solver):
        """Evaluates once, and comes back when time is over."""

        name = "late"

        def solve(self, problem, u0, ctx):
            problem.value(u0)
            NOW[0] += 10**6
            return SolverResult(u0 + 0.1, Status.LIMIT)

    ctx = within(Context(), LIMIT)
    problem = Problem.from_function(lambda u: u, np.zeros((2, 1)), np.ones((2, 1)), ctx=ctx)
    result, _ = call_solver(Late(), problem, np.full((2, 1), 0.5), ctx)
    assert problem.evaluations.tolist() == [1, 1]
    assert (result.u == 0.5).all(), "what was not evaluated is not believed"


@pytest.mark.parametrize("limit", ["0", "-1", "inf", "nan"])
def test_a_limit_that_is_no_time_is_refused(limit, model, tmp_path):
    asked = ["solve", model.name, "--bounds", "x1=0..1", "--bounds", "x2=0..1", "--target", "1"]
    done = called([*asked, "--time-limit", limit], tmp_path, {})
    assert done.code == ExitCode.CONFIG
    assert "time_limit" in done.err


@pytest.mark.parametrize(
    ("target", "code", "status", "verdict"),
    [
        ("1.3", 0, "met", "the best design meets the target by prediction"),
        ("max", ExitCode.OUT_OF_TIME, "out of time", ENDED),
        ("5", ExitCode.OUT_OF_TIME, "out of time", f"{ENDED}; the nearest misses the target: y"),
    ],
)
def test_the_command_line_takes_a_limit_and_its_exit_code_and_report_say_what_came_of_it(
    target, code, status, verdict, model, tmp_path
):
    asked = ["solve", model.name, "--bounds", "x1=0..1", "--bounds", "x2=0..1", "--target", target]
    done = called([*asked, "--solver", "endless", "--time-limit", str(LIMIT), "--json"], tmp_path, {})
    assert done.code == code, done.err
    assert done.json["status"] == status
    assert "the time limit of 0.5 s ended the search" in done.json["notes"]
    assert done.json["designs"]
    assert done.json["verdict"].startswith(verdict)
    assert "misses" not in done.json["verdict"] or "misses" in verdict


@pytest.mark.parametrize(("options", "limit"), [((), 1000), (("--time-limit", "0.3"), 0.3)])
def test_a_run_takes_the_limit_from_its_file_and_the_option_wins(options, limit, tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text("[solver]\ntime_limit = 1000\n")
    asked = []

    def run_experiment(experiment, *_, **__):
        asked.append(experiment.stages(Registry.discover()).solver.time_limit)
        raise ConfigError("that is enough")

    monkeypatch.setattr("invdesign_core.cli.run.run_experiment", run_experiment)
    called(["run", "mine.toml", *options], tmp_path, {})
    assert asked == [limit]


WANTED = pd.DataFrame({"y": [0.3, 0.8, 1.3, 1.8]})


def ready(model, registry, limit):
    options = {"starts": 4, "rows_at_once": 4, **({} if limit is None else {"time_limit": limit})}
    return prepare_model(
        model, bounds={"x1": (0, 1), "x2": (0, 1)}, solver=("endless", options), registry=registry, outputs=("y",)
    )


def test_a_table_keeps_what_was_solved_and_goes_on_with_another_limit(model, registry, tmp_path, monkeypatch):
    out = tmp_path / "designs.csv"
    monkeypatch.setattr(Endless, "quick", 2)
    with pytest.raises(OutOfTimeError, match=r"the time limit of 0.5 s ended the search") as error:
        solve_table(ready(model, registry, LIMIT), WANTED, out)
    assert error.value.exit_code == ExitCode.OUT_OF_TIME
    assert "2 of 4 targets" in error.value.message
    assert not out.exists()
    monkeypatch.setattr(Endless, "quick", 10**9)
    report = solve_table(ready(model, registry, None), WANTED, out)
    assert report.starts.total == 4 * 2, "the others were solved before"
    assert sorted(set(pd.read_csv(out)["target"])) == [1, 2, 3, 4]


def test_a_table_of_which_nothing_is_solved_in_time_says_what_to_do(model, registry, tmp_path):
    with pytest.raises(OutOfTimeError, match="0 of 4 targets") as error:
        solve_table(ready(model, registry, 0.2), WANTED, tmp_path / "designs.csv")
    assert "give it more time" in error.value.hint


@pytest.fixture(scope="module")
def fitted():
    X = np.random.default_rng(0).random((40, 2))
    return InverseDesign("selu-mlp", training={"epochs": 1}).fit(X, X.sum(axis=1))


def test_in_python_the_limit_is_an_option_of_the_solver(fitted, monkeypatch):
    model = fitted.set_params(solver=Endless(starts=4, rows_at_once=4, time_limit=LIMIT))
    frame = pd.DataFrame({model.surrogate_.outputs[0]: [0.3, 0.8, 1.3, 1.8]})
    assert model.invert("max").status == "out of time"
    with pytest.raises(OutOfTimeError, match="before any target was solved"):
        model.invert(frame)
    monkeypatch.setattr(Endless, "quick", 2)
    with pytest.warns(UserWarning, match="the time limit of 0.5 s ended the search: the first 2 of 4 targets"):
        answers = model.invert(frame)
    assert (answers.interrupted, answers.out_of_time, answers.status) == (True, True, "out of time")
    assert set(answers.designs["target"]) == {0, 1}


def test_an_automatic_choice_of_the_solver_takes_the_limit(fitted):
    with pytest.raises(ConfigError, match="time_limit"):
        fitted.set_params(solver={"use": "auto", "time_limit": -1}).invert(1.0)
    assert fitted.set_params(solver={"use": "auto", "time_limit": 1000}).invert("<=1.9").status == "met"
