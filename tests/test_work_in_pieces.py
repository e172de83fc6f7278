"""Work that comes in pieces gives the same whoever does it; Ray is used only where it is asked for."""

from __future__ import annotations

import pickle
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from invdesign_core.cluster.settings import ComputeSettings, computing
from invdesign_core.context import Context, Local, Piece
from invdesign_core.data.data import Data, split_rows
from invdesign_core.errors import ConfigError
from invdesign_core.plugin import SurrogateBuilder, Trial, Tuner
from invdesign_core.surrogate.evaluate import Evaluator
from invdesign_core.surrogate.settings import Training
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.run import run_experiment
from invdesign_core.workflow.solve import solve_table


class Backwards:
    """Others who do the last piece first, and keep what they have to say until their result is asked for."""

    def __init__(self, travels: bool = False) -> None:
        self.names: list[str] = []
        self.travels = travels

    def map(self, ctx: Context, work: Any, shared: Any, pieces: Any) -> Any:
        self.names += [piece.name for piece in pieces]
        done = {}
        for piece in reversed(pieces):
            events: list[Any] = []
            both = (shared, piece.value)
            both = pickle.loads(pickle.dumps(both)) if self.travels else both
            done[piece.name] = work(*both, replace(ctx, emit=events.append)), events
        for piece in pieces:
            result, events = done[piece.name]
            for event in events:
                ctx.emit(event)
            yield result


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "table.csv"
    x = np.random.default_rng(1).random((40, 2))
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": x[:, 0] + x[:, 1] ** 2}).to_csv(path, index=False)
    return path


def simulate(designs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"y": designs["a"] + designs["b"] ** 2})


def went(table: Path, out: Path, compute: Any) -> tuple[Any, list[str]]:
    """Race, and solve with a simulator; return the answers and what was told."""
    experiment = Experiment.from_mapping(
        {
            "dataset": {"use": "table", "path": str(table), "outputs": ["y"]},
            "surrogate": {"candidates": ["ridge", "ridge"], "folds": 2, "blend": False},
            "confidence": {"model": "none"},
            "truth": {"function": "test_work_in_pieces:simulate", "batch": 1},
            "solver": {"starts": 4},
        },
        folder=Path(__file__).parent,
    )
    said: list[str] = []
    told = Context(compute=compute, emit=lambda event: said.append(event.kind))
    return run_experiment(experiment, ["y=0.7"], out, ctx=told), said


def test_a_run_gives_the_same_whoever_does_its_pieces(table: Path, tmp_path: Path) -> None:
    others = Backwards()
    here, said = went(table, tmp_path / "here", Local())
    there, heard = went(table, tmp_path / "there", others)
    pd.testing.assert_frame_equal(here.answers.designs, there.answers.designs, check_exact=True)
    assert Counter(said) == Counter(heard)
    assert {"candidate ridge of the race", "call 2 of 3"} <= set(others.names)


class Wide(SurrogateBuilder):
    """A network whose rate and dropout are to be tuned, which says so."""

    name = "wide"

    def build(self, hp: Any, ctx: Context) -> Any:
        ctx.note("built")
        rate = hp.Float("rate", 1e-3, 1e-1, sampling="log")
        layers = [keras.layers.Dense(4, "tanh"), keras.layers.Dropout(0.1), keras.layers.Dense(1)]
        net = keras.Sequential([keras.Input((2,)), *layers])
        net.compile(keras.optimizers.SGD(rate), "mse")
        return net


@pytest.mark.parametrize("travels", [False, True], ids=["here", "elsewhere"])
def test_trials_are_trained_the_same_whoever_does_it(travels: bool) -> None:
    x = np.random.default_rng(1).random((40, 2))
    data = Data.from_frame(pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": x[:, 0] * x[:, 1]}), ["y"])
    others, found = Backwards(travels), []
    for compute in (Local(), others):
        heard: list[Any] = []
        ctx = Context(compute=compute, emit=heard.append)
        training = Training(epochs=3, batch_size=16, side_by_side=2)
        rows = split_rows(data, 0.1, training.validation, ctx)
        evaluate = Evaluator(Wide(), data, rows, Tuner(), training, ctx)
        first = evaluate([Trial({"rate": rate}) for rate in (0.01, 0.1, 0.001)])
        again = evaluate([Trial({"rate": 0.02}, resume=first[1].id), Trial({"rate": 0.03}), Trial({"rate": 0.04})])
        said = Counter(event.kind for event in heard)
        found.append(([(each.score, dict(each.metrics)) for each in (*first, *again)], said))
    assert found[0] == found[1]
    assert others.names[:2] == ["tune: networks 1 to 2 of 3", "tune: networks 3 to 3 of 3"]


def test_a_table_of_targets_is_solved_the_same_whoever_does_its_chunks(saved_run: Path, tmp_path: Path) -> None:
    frame, others = pd.DataFrame({"decimal": [0.0, 1.0, 2.0, 3.0, 2.0]}), Backwards()
    for name, compute in (("here", Local()), ("there", others)):
        prepared = prepare(saved_run, solver=("lbfgsb", {"starts": 4, "rows_at_once": 8}), truth=False)
        solve_table(replace(prepared, ctx=replace(prepared.ctx, compute=compute)), frame, tmp_path / f"{name}.csv")
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()
    assert others.names == ["targets 1 to 2", "targets 3 to 4", "targets 5 to 5"]


def test_ray_is_not_imported_unless_asked_and_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with computing(ComputeSettings(), Context()) as ctx:
        assert isinstance(ctx.compute, Local)
    monkeypatch.setattr("invdesign_core.cluster.settings.find_spec", lambda name: True)
    with computing(ComputeSettings(use="ray"), Context()) as ctx:  # one piece alone is done here
        assert list(ctx.compute.map(ctx, lambda shared, value, ctx: shared + value, 1, [Piece("one", 2)])) == [3]


def test_without_ray_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invdesign_core.cluster.settings.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught, computing(ComputeSettings(use="ray"), Context()):
        pass
    assert caught.value.hint == "pip install 'invdesign[ray]'"


@pytest.mark.parametrize("said", [["--compute", "dask"], ["--set", "compute.workers=0"], ["--set", "compute.cores=2"]])
def test_what_cannot_compute_is_refused(invdesign: Any, said: list[str]) -> None:
    result = invdesign("run", *said)
    assert result.code == 2, result.stderr


def test_a_run_says_nothing_of_who_shall_compute_a_later_solve(saved_run: Path) -> None:
    assert prepare(saved_run, overrides={"compute": {"use": "ray"}}).experiment.compute.use == "ray"
    assert prepare(saved_run).experiment.compute.use == "local"
