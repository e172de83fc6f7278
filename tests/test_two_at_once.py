"""Several processes on one folder or file: the second that would write is refused, and readers need nothing."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import lin
from test_target_tables import prepared

from invdesign_core.errors import RunStoreError
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.locks import Lock, is_held
from invdesign_core.workflow.run_folder import ASKED, LOCK, RunFolder
from invdesign_core.workflow.runs import list_runs
from invdesign_core.workflow.solve import solve_one, solve_table


class Tables:
    """Stands for answers."""

    starts = designs = pd.DataFrame({"a": np.arange(3.0)})
    scenarios = level = None
    units = {}  # noqa: RUF012


@contextmanager
def another_writes(path):
    lock = Lock(path, "taken", "")
    try:
        yield
    finally:
        lock.release()


def test_of_two_that_write_the_same_table_the_second_is_refused(tmp_path):
    lin([[1, 1], [1, -1]]).save(tmp_path / "sum.keras")
    wanted, out = pd.DataFrame({"y1": [0.5, 1.0]}), tmp_path / "d.csv"
    p = prepared(tmp_path / "sum.keras")
    with another_writes(tmp_path / ".d.csv.lock"), pytest.raises(RunStoreError, match="another process") as error:
        solve_table(p, wanted, out)
    assert error.value.exit_code == 7
    assert str(out) in error.value.message
    assert not out.exists()
    assert solve_table(p, wanted, out).met == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.csv", "sum.keras"]


def test_of_two_that_run_or_resume_in_one_folder_the_second_is_refused(tmp_path):
    first = RunFolder.create(tmp_path / "run")
    for resume in (False, True):
        with pytest.raises(RunStoreError):
            RunFolder.create(tmp_path / "run", resume=resume)
    assert (tmp_path / "run" / LOCK).exists()
    first.close()
    RunFolder.create(tmp_path / "run", resume=True).close()
    assert list((tmp_path / "run").iterdir()) == []


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [RunFolder.create(None) for _ in range(3)]
    assert len({folder.path for folder in folders}) == 3
    for folder in folders:
        folder.close()


def test_solves_of_one_run_at_the_same_time_have_numbers_of_their_own_and_are_whole(tmp_path):
    space = Space((Variable("a", lower=0, upper=1), Variable("b", lower=0, upper=1)))
    folder = RunFolder(tmp_path)
    Surrogate.of_model(lin([[1], [1]]), space, ("y",)).save(tmp_path / "surrogate")
    kept, begin = [], threading.Barrier(6)

    def solve():
        begin.wait()
        for _ in range(3):
            with folder.new_solve() as place:
                place.put(Tables(), space, "")
                place.keep()
                kept.append(place.final.name)

    threads = [threading.Thread(target=solve) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, kept)) == list(range(1, 19))
    for name in kept:
        assert folder.read_asked(f"solve/{name}") == (space, "")
    assert not [path for path in (tmp_path / "solve").iterdir() if path.name.startswith(".")]


def test_a_solve_that_is_stopped_while_it_is_written_leaves_nothing(tmp_path):
    folder = RunFolder(tmp_path)

    def stopped():
        with folder.new_solve() as place:
            (place.path / ASKED).write_text("{}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list((tmp_path / "solve").iterdir()) == []


def test_whoever_looks_disturbs_nobody_who_writes(saved_run, tmp_path):
    run = Path(shutil.copytree(saved_run, tmp_path / "run"))
    with another_writes(run / LOCK):
        assert is_held(run / LOCK)
        assert [one.status for one in list_runs(tmp_path)[0]] == ["being written"]
        prepare(run)
    (run / LOCK).touch()  # a kill leaves the file behind, which nobody holds
    assert not is_held(run / LOCK)
    RunFolder.create(run, resume=True).close()


def test_a_run_on_a_disk_that_can_not_be_written_is_read_and_solved_into_another_file(saved_run, tmp_path, monkeypatch):
    """Whether the disk can be written is asked of the system, which would let root write: here it says no."""
    run = Path(shutil.copytree(saved_run, tmp_path / "run"))
    before = sorted(str(path) for path in run.rglob("*"))
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    result = solve_one(prepare(run), ["decimal=1"], tmp_path / "designs.csv")
    assert (tmp_path / "designs.csv").exists()
    assert result.saved is None
    assert any("can't be written, so the designs are in" in note for note in result.report.notes)
    assert result.answers is not None
    assert sorted(str(path) for path in run.rglob("*")) == before
