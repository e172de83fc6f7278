"""The conformance kit passes what keeps the contract, and finds each planted fault."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from conftest import called
from distributions import imported_from
from pydantic import ConfigDict, Field

from invdesign_core.cli.plugin_author import scaffold
from invdesign_core.errors import PluginError
from invdesign_core.plugin import (
    KINDS,
    Data,
    Dataset,
    Objective,
    Plugin,
    Solver,
    SolverResult,
    Space,
    Status,
    SurrogateBuilder,
    Trial,
    Tuner,
    Variable,
)
from invdesign_core.registry import Registry
from invdesign_core.testing import (
    DatasetTests,
    ObjectiveTests,
    SolverTests,
    TunerTests,
    check_plugin,
    checks_of,
    small_data,
)
from invdesign_core.testing.kit import run_check

REGISTRY = Registry.discover()
NEED_OPTIONS = ("table", "model-builder")
"""Plugins that do nothing without a table or a network of the user's."""
DEFAULTS = [e.plugin for e in REGISTRY.entries if e.provider.is_own and e.name not in NEED_OPTIONS]


class Good(Objective):
    """Weighted squared misses."""

    name: ClassVar[str] = "good"

    power: float = Field(1.0, ge=1, description="Does nothing.")

    def loss(self, z: Any, goal: Any) -> Any:
        from keras import ops

        return ops.sum(goal.weight * ops.square(goal.miss(z.mean)), axis=-1)


class Walk(Solver):
    """Random steps."""

    name: ClassVar[str] = "walk"

    def solve(self, problem: Any, u0: Any, ctx: Any) -> Any:
        return self.answer(problem, *self.walked(problem, u0.copy()))

    def walked(self, problem: Any, u: Any) -> Any:
        best = problem.value(u)
        rngs = [problem.rng(row) for row in range(len(u))]
        for _ in range(20):
            step = 0.1 * np.stack([rng.standard_normal(u.shape[1]) for rng in rngs])
            tried = np.clip(u + step, problem.lower, problem.upper)
            loss = problem.value(tried)
            u[loss < best], best = tried[loss < best], np.minimum(loss, best)
        return u, best

    def answer(self, problem: Any, u: Any, best: Any) -> Any:
        return SolverResult(u, Status.LIMIT)


class Draws(Tuner):
    """Some draws."""

    name: ClassVar[str] = "draws"

    def search(self, space: Any, evaluate: Any, ctx: Any) -> None:
        evaluate(
            [Trial(), *(Trial({hp.name: hp.random_sample(ctx.seed_for("d", i)) for hp in space.space}) for i in (1, 2))]
        )


class Rows(Dataset):
    """Rows."""

    name: ClassVar[str] = "rows"

    def load(self, ctx: Any) -> Any:
        frame = pd.DataFrame({"a": ctx.rng("rows").uniform(0, 1, 20)})
        space = Space((Variable("a", lower=0, upper=1),))
        return Data(frame.assign(y=frame["a"] ** 2), space, ("y",), truth=self.truth, example={"y": 0.5})

    def truth(self, designs: Any) -> Any:
        return pd.DataFrame({"y": designs["a"] ** 2})


def of(base: type[Plugin], **methods: Any) -> type[Plugin]:
    """Return a plugin class like another one, but for some methods."""
    return type(base.__name__, (base,), {"__doc__": "Odd.", "__module__": __name__, **methods})


def loss(answer: Any) -> type[Plugin]:
    return of(Good, loss=lambda self, z, goal: answer(Good.loss(self, z, goal), z, goal))


def swallowing(self: Any, problem: Any, u0: Any, ctx: Any) -> Any:
    try:
        return Walk.solve(self, problem, u0, ctx)
    except BaseException:
        return SolverResult(u0, Status.CONVERGED)


def greedy(self: Any, problem: Any, u0: Any, ctx: Any) -> Any:
    u0[:] = 0.5
    return SolverResult(u0, Status.LIMIT)


def unseeded(self: Any, problem: Any, u0: Any, ctx: Any) -> Any:
    u, _ = self.walked(problem, u0.copy())
    return SolverResult(np.clip(u + 1e-12 * np.random.default_rng().random(u.shape), 0, 1), Status.LIMIT)


def answering(change: Any) -> type[Plugin]:
    return of(Walk, answer=lambda self, problem, u, best: SolverResult(change(u), Status.LIMIT))


WHOLE = Space((Variable("a", "integer", lower=0, upper=1),))


def loaded(change: Any) -> type[Plugin]:
    return of(Rows, load=lambda self, ctx: change(Rows.load(self, ctx)))


def table(**columns: Any) -> Any:
    return lambda data: Data(data.frame.assign(**columns), data.space, ("y",))


def changing(designs: Any) -> Any:
    designs["a"] = 0.0
    return pd.DataFrame({"y": designs["a"]})


def asking(*trials: Trial) -> type[Plugin]:
    return of(Draws, search=lambda self, space, evaluate, ctx: evaluate(list(trials)))


def endless(self: Any, space: Any, evaluate: Any, ctx: Any) -> None:
    try:
        while True:
            evaluate([Trial(epochs=number + 1) for number in range(3000)])
    except KeyboardInterrupt:
        pass


class Undescribed(Good):
    """Good, but for an option without a description."""

    speed: float = 1.0


class Lenient(Good):
    """Good, but it takes any option."""

    model_config = ConfigDict(extra="allow")


class Mutable(Good):
    """Good, but its options can be changed."""

    model_config = ConfigDict(frozen=False)


def once_broken(self: Any, hp: Any, data: Any) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(3, random_state=int(np.random.default_rng().integers(10**6)))


def frozen_answer(self: Any, hp: Any, data: Any) -> Any:
    data.frame["a"] = 0.0
    from sklearn.linear_model import Ridge

    return Ridge()


NOISY = of(SurrogateBuilder, name="noisy", differentiable=False, build=once_broken)
MEDDLING = of(SurrogateBuilder, name="meddling", differentiable=False, build=frozen_answer)

FAULTS: list[tuple[str, type[Plugin], str]] = [
    ("losses below 0", loss(lambda loss, z, goal: loss - 100), "gives_a_loss_for_each_row"),
    ("a loss that is not a number", loss(lambda loss, z, goal: loss * np.nan), "gives_a_loss_for_each_row"),
    ("not 0 where met", loss(lambda loss, z, goal: loss + 0.1), "is_zero_where_the_goal_is_met"),
    ("0 where missed", loss(lambda loss, z, goal: loss * 0), "is_above_zero_where_the_goal_is_missed"),
    (
        "free outputs count",
        loss(lambda loss, z, goal: loss + goal.miss(z.mean)[:, 0] ** 2),
        "heeds_no_output",
    ),
    ("rows mix", loss(lambda loss, z, goal: loss + loss.sum()), "judges_each_row_by_itself"),
    (
        "rounded, so without a gradient",
        loss(lambda loss, z, goal: (loss * 50).round() / 50),
        "has_the_gradient",
    ),
    ("an option without a description", Undescribed, "is_described"),
    ("any option is taken", Lenient, "refuses_unknown_options"),
    ("options can be changed", Mutable, "has_no_state"),
    (
        "points outside the bounds",
        answering(lambda u: u + 9),
        "answers_inside",
    ),
    (
        "points that are not numbers",
        answering(lambda u: u * np.nan),
        "answers_inside",
    ),
    (
        "worse than the start",
        answering(lambda u: u * 0),
        "is_no_worse_than",
    ),
    ("starts are written into", of(Walk, solve=greedy), "leaves_the_starts_unchanged"),
    ("seeds are not followed", of(Walk, solve=unseeded), "follows_the_seed"),
    ("Ctrl-C is swallowed", of(Walk, solve=swallowing), "stops_at_ctrl_c"),
    ("the deadline is swallowed", of(Walk, solve=swallowing), "stops_when_time_is_over"),
    (
        "2.5 in a whole number",
        loaded(lambda d: Data(d.frame, WHOLE, ("y",))),
        "holds",
    ),
    ("99 outside the bounds", loaded(table(a=99.0)), "holds_what_it_describes"),
    (
        "rows without the seed",
        loaded(lambda d: table(y=np.random.default_rng().random(20))(d)),
        "follows_the_seed",
    ),
    ("a truth that changes its input", of(Rows, truth=staticmethod(changing)), "has_a_truth_that_answers"),
    (
        "an example nobody can ask for",
        loaded(lambda d: Data(d.frame, d.space, ("y",), example={"z": 1})),
        "has_an_example",
    ),
    ("impossible values", asking(Trial({"rate": 7.0})), "asks_for_trials"),
    ("no epochs", asking(Trial(epochs=0)), "asks_for_trials"),
    ("no trial at all", asking(), "asks_for_trials"),
    ("a search without an end", of(Draws, search=endless), "asks_for_trials"),
    ("Ctrl-C in a search is swallowed", of(Draws, search=endless), "stops_at_ctrl_c"),
    ("training without the seed", NOISY, "learns_and_follows_the_seed"),
    ("the table is changed", MEDDLING, "learns_and_follows_the_seed"),
]
"""What is planted, and the check that has to find it."""


@pytest.mark.parametrize(("plugin", "check"), [(p, c) for _, p, c in FAULTS], ids=[name for name, _, _ in FAULTS])
def test_a_planted_fault_is_found(plugin, check):
    (wanted,) = [one for one in checks_of(plugin.kind) if one.name.startswith(check)]
    outcome, message = run_check(wanted, plugin())
    assert outcome == "failed"
    assert message


def test_there_are_more_than_twenty_faults_of_every_kind():
    assert len(FAULTS) >= 20
    assert {plugin.kind for _, plugin, _ in FAULTS} == set(KINDS)


@pytest.mark.parametrize("plugin", [Walk, Draws, Rows])
def test_what_keeps_the_contract_passes(plugin):
    records = check_plugin(plugin, expected_failures={"imports_little": "this module of tests imports pandas"})
    assert records.ok, str(records)
    assert len(records) == len(checks_of(plugin.kind)) == records.declared
    assert f"{records.declared} of {records.declared} checks ran" in str(records)


def test_the_table_passes_with_a_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_data().frame.to_csv("small.csv", index=False)
    records = check_plugin(REGISTRY.find("table").plugin, path="small.csv", outputs=["sum", "product"])
    assert records.ok, str(records)


@pytest.mark.long
@pytest.mark.parametrize("plugin", DEFAULTS, ids=lambda plugin: plugin.name)
def test_every_default_plugin_passes(plugin):
    records = check_plugin(plugin)
    assert records.ok, str(records)


def test_a_failure_that_is_expected_has_a_reason_and_one_that_passes_is_told():
    with pytest.raises(PluginError, match="has no reason"):
        check_plugin(Undescribed, expected_failures={"is_described": " "})
    with pytest.raises(PluginError, match="is no check of"):
        check_plugin(Undescribed, expected_failures={"is_nice": "x"})
    records = {
        r.check: r for r in check_plugin(Undescribed, expected_failures={"is_described": "soon", "has_no_state": "?"})
    }
    assert records["is_described"].outcome == "expected failure"
    assert records["has_no_state"].outcome == "unexpected pass"


def test_fewer_records_than_checks_are_no_pass():
    records = check_plugin(Draws, expected_failures={"imports_little": "pandas"})
    del records[3]
    assert not records.ok


@pytest.mark.long
class TestGood(ObjectiveTests):
    plugin = Good
    expected_failures: ClassVar = {"imports_little": "this module of tests imports pandas"}


def test_a_suite_has_every_check_and_notices_one_that_was_taken_away():
    for suite in (DatasetTests, ObjectiveTests, SolverTests, TunerTests):
        names = {name.removeprefix("test_") for name in dir(suite) if name.startswith("test_")}
        assert names >= {check.name for check in checks_of(suite.kind)}
    fewer = type("Fewer", (SolverTests,), {"plugin": Walk, "test_follows_the_seed": None})
    with pytest.raises(AssertionError, match="follows_the_seed was taken away"):
        fewer().test_no_check_was_taken_away()


def test_small_data_are_for_unit_tests():
    data = small_data(10, ("product",), category=True)
    assert (len(data.frame), data.outputs, data.space.width) == (10, ("product",), 4)


# The commands


@pytest.fixture
def made(tmp_path):
    """A distribution as `plugins new all` writes it, installed."""
    done = called(["plugins", "new", "all", "mine"], tmp_path, {})
    assert done.code == 0, done.err
    site = tmp_path / "invdesign-mine"
    info = site / "invdesign_mine-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: invdesign-mine\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[invdesign]\ninvdesign_mine = invdesign_mine\n")
    with imported_from(site):
        yield site


@pytest.mark.long
def test_what_is_written_is_listed_and_passes_the_kit(made, tmp_path):
    entries = [entry for entry in Registry.discover().entries if entry.provider.distribution == "invdesign-mine"]
    assert {entry.name for entry in entries} == {f"mine-{kind}" for kind in KINDS}
    assert not any(entry.warnings for entry in entries)
    for entry in entries:
        if entry.kind in ("dataset", "tuner"):
            records = check_plugin(entry.plugin)
            assert records.ok, str(records)
    done = called(["plugins", "check", "mine-solver", "--set", "steps=20", "--json"], tmp_path, {})
    assert (done.code, done.json["ok"], done.json["declared"]) == (0, True, len(checks_of("solver")))


@pytest.mark.long
def test_a_written_surrogate_and_objective_pass_too_and_all_work_together(made, tmp_path):
    for name in ("mine-surrogate", "mine-objective"):
        assert called(["plugins", "check", name], tmp_path, {}).code == 0
    plugins = [item for kind in KINDS for item in (f"--{kind}", f"mine-{kind}")]
    done = called(["run", *plugins, "--set", "training.epochs=5", "--json"], tmp_path, {})
    assert done.code in (0, 1), done.err
    assert set(done.json["distributions"].values()) == {"invdesign-mine 0.1.0"}


def test_a_plugin_that_fails_its_checks_ends_with_its_code(tmp_path):
    (tmp_path / "worse.py").write_text(
        "from typing import ClassVar\nfrom invdesign_core.plugin import Tuner\n\n"
        "class Worse(Tuner):\n    name: ClassVar[str] = 'worse'\n    def search(self, space, evaluate, ctx): pass\n"
    )
    with imported_from(tmp_path):
        done = called(["plugins", "check", "worse", "--plugin", "worse.py"], tmp_path, {})
    assert done.code == 3
    assert "it asked for no trial" in done.out
    assert "tuner 'worse' (worse.py): 13 of 13 checks ran" in done.out


def test_one_kind_has_one_plugin_with_a_test_of_five_lines():
    files = scaffold(["solver"], "shrink", "invdesign-shrink")
    assert set(files) == {
        "pyproject.toml",
        "README.md",
        "invdesign_shrink/__init__.py",
        "invdesign_shrink/shrink.py",
        "tests/test_invdesign_shrink.py",
    }
    assert len([line for line in files["tests/test_invdesign_shrink.py"].splitlines() if line]) <= 5
    assert not any("@" in text.replace("@hookimpl", "") for text in files.values())


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["solvers", "mine"], 2, "did you mean 'solver'"),
        (["observer", "mine"], 2, "invdesign_event(event, ctx)"),
        (["solver", "My Solver"], 2, "expected lower-case words"),
        (["solver", "there"], 7, "is not empty"),
    ],
)
def test_what_can_not_be_written_is_refused(args, code, said, tmp_path):
    (tmp_path / "invdesign-there").mkdir()
    (tmp_path / "invdesign-there" / "a.txt").write_text("a")
    done = called(["plugins", "new", *args], tmp_path, {})
    assert (done.code, said in done.err) == (code, True), done.err
