"""A real Ray cluster of two workers does the pieces: the same results, whatever dies; nothing of it is left behind."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from invdesign_core.cluster.settings import ComputeSettings, computing
from invdesign_core.context import Context, Local, Note, Piece
from invdesign_core.errors import PluginError
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.run import run_experiment
from invdesign_core.workflow.solve import solve_table

pytestmark = [pytest.mark.long, pytest.mark.slow]

WORK = """
import os
import signal
import time
from pathlib import Path

import besides_the_work


def told(shared, value, ctx):
    ctx.note(f"{shared['name']} {value}")
    time.sleep(0.1 * (value % 2))
    return value, besides_the_work.twice(float(ctx.rng("work", value).random())), os.getpid()


def dies(marks, value, ctx):
    mark = Path(marks) / f"{value}-{os.getpid()}"
    mark.touch()
    if len(list(Path(marks).glob(f"{value}-*"))) <= (value == 2) + 9 * (value == 7):
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def waits(marks, value, ctx):
    (Path(marks) / str(os.getpid())).touch()
    while True:
        ctx.check_stop()
        time.sleep(0.05)


def raises(shared, value, ctx):
    raise ValueError(f"no {value}")
"""


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A cluster of two processors on this machine, that the tests find as they would find one that is there."""
    ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'invdesign[ray]')")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A module of the user's own with another one beside it, which no worker could import from where they are."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "work_in_pieces.py").write_text(WORK)
    (folder / "besides_the_work.py").write_text("def twice(number):\n    return 2 * number\n")
    sys.path.insert(0, str(folder))
    import work_in_pieces

    sys.path.remove(str(folder))
    yield work_in_pieces
    del sys.modules["work_in_pieces"], sys.modules["besides_the_work"]


@pytest.fixture(scope="class")
def workers(work: Any) -> Iterator[Any]:
    with computing(ComputeSettings(use="ray", workers=2), Context()) as ctx:
        yield ctx.compute


def pieces(*values: int) -> list[Piece]:
    return [Piece(f"piece {value}", value) for value in values]


def gone(pid: int) -> bool:
    """Whether a process ends within some seconds."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            os.kill(pid, 0)
        except OSError:
            return True
        time.sleep(0.05)
    return False


class TestWorkers:
    def test_results_and_notes_come_in_order_from_modules_that_travel(self, workers: Any, work: Any) -> None:
        heard: list[Any] = []
        ctx = Context(seed=3, emit=heard.append)
        found = list(workers.map(ctx, work.told, {"name": "piece"}, pieces(*range(8))))
        here = list(Local().map(Context(seed=3), work.told, {"name": "piece"}, pieces(*range(8))))
        assert [each[:2] for each in found] == [each[:2] for each in here]
        assert heard == [Note(f"piece {value}") for value in range(8)]
        assert os.getpid() not in {each[2] for each in found}

    def test_a_worker_that_dies_costs_its_piece(self, workers: Any, work: Any, tmp_path: Path) -> None:
        assert list(workers.map(Context(), work.dies, str(tmp_path), pieces(*range(5)))) == [0, 1, 2, 3, 4]
        assert len(list(tmp_path.glob("2-*"))) == 2

    def test_a_piece_at_which_two_workers_die_is_named(self, workers: Any, work: Any, tmp_path: Path) -> None:
        with pytest.raises(PluginError, match=r"2 workers died at the same piece of work \(piece 7\)"):
            list(workers.map(Context(), work.dies, str(tmp_path), pieces(6, 7, 8)))

    def test_what_the_work_raises_is_raised_here(self, workers: Any, work: Any) -> None:
        with pytest.raises(ValueError, match="no 4") as caught:
            list(workers.map(Context(), work.raises, None, pieces(4, 5)))
        assert "work_in_pieces.py" in caught.value.__notes__[0]

    def test_ctrl_c_leaves_no_worker_behind(self, workers: Any, work: Any, tmp_path: Path) -> None:
        ctx = Context()

        def interrupt() -> None:
            while len(list(tmp_path.iterdir())) < 2:
                time.sleep(0.05)
            ctx.stop.set()

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            list(workers.map(ctx, work.waits, str(tmp_path), pieces(1, 2, 3)))
        thread.join()
        assert all(gone(int(mark.name)) for mark in tmp_path.iterdir())


def ran(folder: Path, workers: int | None) -> tuple[Any, Counter[str]]:
    """Race, train and ask a simulator, in this process or by so many workers; return the result and the events."""
    heard: Counter[str] = Counter()
    experiment = Experiment.from_toml(folder / "experiment.toml")
    compute = ComputeSettings() if workers is None else ComputeSettings(use="ray", workers=workers)
    ctx = Context(emit=lambda event: heard.update([event.kind]))
    return run_experiment(experiment.model_copy(update={"compute": compute}), out=folder / f"{workers}", ctx=ctx), heard


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiment")
    x = np.random.default_rng(1).random((60, 2))
    y = np.sin(3 * x[:, 0]) + x[:, 1] ** 2
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y}).to_csv(folder / "table.csv", index=False)
    (folder / "mine.py").write_text(
        "import numpy as np\nimport pandas as pd\n\n\ndef simulate(designs):\n"
        "    return pd.DataFrame({'y': np.sin(3 * designs['a']) + designs['b'] ** 2})\n"
    )
    (folder / "experiment.toml").write_text(
        """
seed = 5
dataset = { use = "table", path = "table.csv", outputs = ["y"] }
surrogate = { candidates = ["gaussian-process", "ridge", { use = "selu-mlp", widths = [8] }], folds = 2, blend = false }
training = { epochs = 8, members = 2, side_by_side = 2 }
tuner = { max_trials = 2 }
truth = { function = "mine:simulate", batch = 1 }
solver = { starts = 8 }
targets = { y = 0.9 }
"""
    )
    return folder


def test_a_run_gives_the_same_designs_by_one_process_and_by_two_workers(folder: Path) -> None:
    here, said = ran(folder, None)
    there, heard = ran(folder, 2)
    pd.testing.assert_frame_equal(here.answers.designs, there.answers.designs, rtol=1e-9, atol=1e-9)
    for one, other in zip(here.report.surrogate.race.candidates, there.report.surrogate.race.candidates, strict=True):
        assert (one.name, one.error) == (other.name, pytest.approx(other.error, rel=1e-9))
    assert said == heard


@pytest.mark.parametrize("count", [1, 2])
def test_a_table_of_targets_is_solved_the_same_by_any_number_of_workers(folder: Path, count: int) -> None:
    frame = pd.DataFrame({"y": np.linspace(0.2, 1.4, 24)})
    for name, compute in (("here", {}), (f"by-{count}", {"use": "ray", "workers": count})):
        if not (folder / f"{name}.csv").exists():
            prepared = prepare(
                folder / "None", solver=("lbfgsb", {"starts": 4, "rows_at_once": 16}), overrides={"compute": compute}
            )
            prepared = replace(prepared, model=replace(prepared.model, truth=None))
            solve_table(prepared, frame, folder / f"{name}.csv")
    here, there = (pd.read_csv(folder / f"{name}.csv") for name in ("here", f"by-{count}"))
    pd.testing.assert_frame_equal(here, there, rtol=1e-9, atol=1e-9)
