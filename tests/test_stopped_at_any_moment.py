"""Real processes that are killed, told to end or interrupted: the same command resumes them, and ends as unbroken."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
import kills

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Each of two jobs as it begins, the seconds that it takes, and its answer."""
    found = {}
    for job in kills.JOBS:
        if job.name not in ("tuning and training", "table"):
            continue
        root = tmp_path_factory.mktemp("unbroken")
        kills.prepare(job, root / "begin")
        for name in ("cold", "whole"):
            folder = Path(kills.shutil.copytree(root / "begin", root / name))
            began = time.monotonic()
            code, printed, said = kills.run(folder, job.command)
            assert code in (0, 1), said
        found[job.name] = (job, root / "begin", time.monotonic() - began, job.answer(folder, printed))
    return found


@pytest.mark.parametrize(("name", "shares"), [("tuning and training", [0.6]), ("table", [0.7, 0.8])])
def test_what_was_killed_is_resumed_and_ends_as_if_it_had_not_been(unbroken, tmp_path, name, shares):
    job, begin, seconds, whole = unbroken[name]
    assert kills.kill_at(job, begin, tmp_path / "run", shares, seconds, whole) == ""


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_who_is_told_to_end_says_so_and_leaves_what_can_be_resumed(unbroken, tmp_path, signals):
    job, begin, _, whole = unbroken["tuning and training"]
    folder = Path(kills.shutil.copytree(begin, tmp_path / "run"))
    process = kills.start(folder, job.command)
    waiting = time.monotonic() + 120
    while not list(folder.glob("run/trials/*.npz")) and process.poll() is None and time.monotonic() < waiting:
        time.sleep(0.02)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.05)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert "Traceback" not in said
    assert not list(folder.rglob("*.partial"))
    code, printed, said = kills.run(folder, kills.going_on(job, folder))
    assert code in (0, 1), said
    assert job.answer(folder, printed) == whole


def test_a_reader_who_goes_away_ends_nothing(unbroken, tmp_path):
    job, begin, _, whole = unbroken["table"]
    folder = Path(kills.shutil.copytree(begin, tmp_path / "run"))
    script = Path(sys.executable).with_name("invdesign")
    line = f"set -o pipefail; '{script}' {' '.join(job.command)} | head -0"
    assert subprocess.run(["bash", "-c", line], cwd=folder, check=False).returncode in (0, 1)
    assert job.answer(folder, "") == whole
