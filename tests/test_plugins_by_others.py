"""Plugins by others: in files, required, excluded, preferred; in saved runs; and those who observe."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
from conftest import called
from distributions import imported_from, put

from invdesign_core.context import Context, DesignsReady, Note, RunFinished, RunStarted
from invdesign_core.errors import ConfigError, PluginError
from invdesign_core.registry import Arrangement, Registry
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.run import run_experiment
from invdesign_core.workflow.solve import solve_model

MINE = """
from typing import ClassVar

from invdesign_core.plugin import Objective, Solver, SolverResult


class Mine(Objective):
    '''Squares.'''

    name: ClassVar[str] = "mine"

    def loss(self, z, goal):
        from keras import ops

        return ops.mean(ops.square(goal.miss(z.mean)), axis=-1)


class First(Solver):
    '''Answers the starts.'''

    name: ClassVar[str] = "first"
    rank: ClassVar[int] = 1

    def solve(self, problem, u0, ctx):
        return SolverResult(u0, "limit")
"""
NET = """
from typing import ClassVar

import keras
from invdesign_core.plugin import SurrogateBuilder, hookimpl
from pydantic import Field


class Half(keras.layers.Layer):
    def call(self, x):
        return x / 2


class Net(SurrogateBuilder):
    '''A net with a layer of its own.'''

    name: ClassVar[str] = "own-net"

    def build(self, hp, data):
        net = keras.Sequential([keras.Input((data.space.width,)), Half(), keras.layers.Dense(len(data.outputs))])
        net.compile(keras.optimizers.Adam(1e-2), "mse")
        return net
"""
HOOK = """

@hookimpl
def invdesign_surrogates():
    return [Net]
"""
SMALL = {"dataset": {"use": "binary-decimal", "rows": 60}, "training": {"epochs": 2}}


@pytest.fixture
def site(tmp_path):
    with imported_from(tmp_path / "site") as folder:
        yield folder


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine_objective.py"
    path.write_text(MINE)
    return path


def small(folder: Path, **sections) -> Experiment:
    return Experiment.from_mapping(SMALL | sections, folder=folder)


# Files


def test_a_file_brings_plugins_without_a_package(mine, tmp_path):
    found = small(tmp_path, plugins={"files": ["mine_objective.py"]}).plugins.arrange(Registry.discover(), tmp_path)
    assert {entry.name for entry in found.entries if not entry.provider.is_own} == {"mine", "first"}
    assert found.find("mine").plugin().label == "objective 'mine' (mine_objective.py)"
    assert pickle.loads(pickle.dumps(found)).find("mine").provider == found.find("mine").provider
    listed = called(["plugins", "list", "--plugin", "mine_objective.py"], tmp_path, {})
    assert "objective  mine" in listed.out


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1\n", "nothing.py: there is no plugin in it"),
        ("x = \n", "importing 'nothing' failed: SyntaxError"),
        (MINE.replace("def loss(self, z, goal)", "def loss(self)"), r"Mine.loss\(\) can't be called"),
    ],
)
def test_a_file_that_brings_nothing_says_why(source, said, tmp_path):
    (tmp_path / "nothing.py").write_text(source)
    with imported_from(tmp_path), pytest.raises((PluginError, ConfigError), match=said):
        Registry.discover().arranged(Arrangement(files=(tmp_path / "nothing.py",)))


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"require": ["invdesign-thinfilm>=0.1"]}, "invdesign-thinfilm is required and not installed"),
        ({"require": ["numpy>=99"]}, r"numpy>=99 is required, and [\d.]+ is installed"),
        ({"require": ["numpy >> 1"]}, r"\[plugins\] require: found 'numpy >> 1'"),
        ({"exclude": ["lbfgs"]}, "exclude: there is no plugin 'lbfgs'"),
        ({"prefer": ["nobody"]}, "prefer: there is no plugin 'nobody'"),
        ({"files": ["absent.py"]}, "there is no file 'absent.py'"),
        ({"file": []}, "there is no option 'file'"),
    ],
)
def test_a_section_that_can_not_be_kept_is_refused(section, said, tmp_path):
    with pytest.raises((PluginError, ConfigError), match=said):
        small(tmp_path, plugins=section).plugins.arrange(Registry.discover(), tmp_path)


def test_what_is_required_and_there_is_fine(tmp_path):
    section = small(tmp_path, plugins={"require": ["numpy>=1", "invdesign"]}).plugins
    assert section.arrange(Registry.discover(), tmp_path).entries


def test_a_plugin_that_is_excluded_counts_as_not_installed(tmp_path):
    left = small(tmp_path, plugins={"exclude": ["lbfgsb"]}).plugins.arrange(Registry.discover(), tmp_path)
    with pytest.raises(PluginError, match="there is no solver plugin 'lbfgsb'"):
        left.find("lbfgsb", "solver")
    done = called(["validate", "--no-data", "--solver", "slsqp", "--no-plugin", "slsqp"], tmp_path, {})
    assert (done.code, "there is no solver plugin 'slsqp'" in done.err) == (3, True)


def test_the_file_of_a_plugin_in_place_of_its_name_is_told_apart(tmp_path):
    done = called(["plugins", "show", "mine.py"], tmp_path, {})
    assert (done.code, "given by --plugin mine.py" in done.err) == (3, True)


# Rank


def test_auto_heeds_a_rank_by_others_only_where_it_is_preferred(mine, tmp_path):
    def chosen(**section):
        experiment = small(tmp_path, plugins={"files": ["mine_objective.py"], **section})
        return experiment.stages(experiment.plugins.arrange(Registry.discover(), tmp_path)).solver.name

    assert chosen() == "least-squares"
    assert chosen(prefer=["mine_objective.py"]) == chosen(prefer=["first"]) == "first"
    listed = called(["plugins", "show", "first", "--plugin", "mine_objective.py"], tmp_path, {}).out
    assert "rank: 1" in listed
    assert "warning: its rank 1 is before that of default solvers (10 to 40)" in listed


def test_a_plugin_named_like_a_default_is_announced(tmp_path):
    (tmp_path / "same_name.py").write_text(MINE.replace('"mine"', '"mse"'))
    with imported_from(tmp_path):
        done = called(["plugins", "list", "--plugin", "same_name.py"], tmp_path, {})
    assert "invdesign has a objective of that name" not in done.out
    assert "invdesign has an objective of that name: 'same_name.py:mse' or 'invdesign:mse'" in done.out


# Runs


WATCH = """
from invdesign_core.plugin import hookimpl

SEEN = []

@hookimpl
def invdesign_event(event, ctx):
    SEEN.append(event)
    folder = ctx.folder_for("watch")
    if event.kind == "designs":
        ctx.report("watch", "All was well.", {"designs": len(event.answers.designs)})
        (folder / "seen.txt").write_text("designs")
"""
RAISES = """
from invdesign_core.plugin import hookimpl

@hookimpl
def invdesign_event(event):
    raise RuntimeError("no disk")
"""


@pytest.mark.long
def test_a_run_by_a_file_is_named_resumed_and_solved_by_what_it_recorded(mine, site, tmp_path):
    (tmp_path / "own_net.py").write_text(NET)
    (tmp_path / "watch.py").write_text(WATCH)
    (tmp_path / "raises.py").write_text(RAISES)
    files = ["mine_objective.py", "own_net.py", "watch.py", "raises.py"]
    sections = {"surrogate": "own-net", "objective": "mine", "targets": {"decimal": 1}, "plugins": {"files": files}}
    told = []
    with imported_from(tmp_path):
        result = run_experiment(small(tmp_path, **sections), out=tmp_path / "run", ctx=Context(emit=told.append))
        import watch

        kinds = [event.kind for event in watch.SEEN]
        ready = next(event for event in watch.SEEN if isinstance(event, DesignsReady))
        assert isinstance(watch.SEEN[-1], RunFinished)
    # observers
    assert kinds[0] == "stage"
    assert {"run", "trial", "progress", "designs", "finished"} <= set(kinds)
    assert len(ready.answers.designs) == result.report.distinct
    assert (tmp_path / "run" / "plugins" / "watch" / "seen.txt").read_text() == "designs"
    added = [(a.source, a.text, a.metrics) for a in result.report.added]
    assert added == [("watch", "All was well.", {"designs": float(result.report.distinct)})]
    warned = [event.text for event in told if event.kind == "warning" and "raises.py" in event.text]
    assert len(warned) == 1
    assert "RuntimeError: no disk (raises.py, line 6" in warned[0]
    # whose plugins
    assert result.report.distributions == {"surrogate": "own_net.py", "objective": "mine_objective.py"}
    assert any("objective 'mine' (mine_objective.py)" in note for note in result.report.notes)
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())
    assert recorded["distributions"]["objective"] == "mine_objective.py"
    log = [json.loads(line)["kind"] for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert log[-1] == "finished"
    # solved without --import, though nobody registered the layer
    with imported_from(tmp_path):
        again = solve_model(tmp_path / "run", ["1"], allow_code=True)
        assert again.report.distributions == {"surrogate": "own_net.py", "objective": "mine_objective.py"} or (
            again.report.distributions["objective"] == "mine_objective.py"
        )
    # a file that was changed
    mine.write_text(MINE + "\n# changed\n")
    told.clear()
    with imported_from(tmp_path):
        prepare(tmp_path / "run", ctx=Context(emit=told.append), allow_code=True)
    assert any("the file mine_objective.py with objective 'mine' has been changed" in str(e.data) for e in told)


def test_a_layer_of_an_installed_plugin_needs_no_import_and_one_that_is_gone_is_named(site, tmp_path):
    put(site, "invdesign-net", "1.3", NET + HOOK)
    run_experiment(small(tmp_path, surrogate="own-net"), out=tmp_path / "run")
    solve = ["solve", "run", "--target", "1", "--json"]
    with imported_from(site):
        assert called(solve, tmp_path, {}).code in (0, 1)
    shutil.rmtree(next(site.glob("*.dist-info")))
    (site / "invdesign_net.py").unlink()
    with imported_from(site):
        done = called(solve, tmp_path, {})
    assert done.code == 3
    assert "the run was made with surrogate 'own-net' of invdesign-net 1.3, which is not installed" in done.err
    assert "pip install 'invdesign-net==1.3'" in done.err


@pytest.mark.long
def test_a_saved_run_uses_the_distribution_that_it_recorded(site, tmp_path):
    source = MINE.replace("Solver, SolverResult", "Solver, SolverResult, hookimpl")
    source += "\n\n@hookimpl\ndef invdesign_objectives():\n    return [Mine]\n"
    put(site, "invdesign-one", "1.0", source)
    experiment = small(tmp_path, surrogate="ridge", objective="mine")
    run_experiment(experiment, out=tmp_path / "run")
    put(site, "invdesign-two", "1.0", source)
    told = []
    with imported_from(site):
        prepared = prepare(tmp_path / "run", ctx=Context(emit=told.append))
        assert type(prepared.objective).brought_by == "invdesign-one 1.0"
        assert not [event for event in told if event.kind == "warning"]
    info = next(site.glob("invdesign_one-*.dist-info"))
    info.rename(site / "invdesign_one-1.1.dist-info")
    text = (site / "invdesign_one-1.1.dist-info" / "METADATA").read_text()
    (site / "invdesign_one-1.1.dist-info" / "METADATA").write_text(text.replace("1.0", "1.1"))
    with imported_from(site):
        prepare(tmp_path / "run", ctx=Context(emit=told.append))
    assert any("made with invdesign-one 1.0, and 1.1 is installed" in str(event.data) for event in told)
    shutil.rmtree(site / "invdesign_one-1.1.dist-info")
    with imported_from(site), pytest.raises(PluginError, match=r"of invdesign-one 1.0, which is not installed"):
        prepare(tmp_path / "run")


def test_an_observer_that_says_something_is_not_told_of_it_again(tmp_path):
    (tmp_path / "echo.py").write_text(WATCH.replace("    folder", "    ctx.note('I saw it')\n    folder"))
    with imported_from(tmp_path):
        from invdesign_core.workflow.result import noting

        registry = Registry.discover().arranged(Arrangement(files=(tmp_path / "echo.py",)))
        ctx, notes = noting(Context(), registry)
        ctx.emit(RunStarted("runs/1"))
        ctx.emit(Note("b"))
        import echo

        assert [event.kind for event in echo.SEEN] == ["run", "note"]
    assert notes == ["I saw it", "b", "I saw it"]
