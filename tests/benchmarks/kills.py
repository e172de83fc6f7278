"""Kill real processes at random moments, resume each by the same command, and compare with one that was never killed.

    python tests/benchmarks/kills.py --kills 30

Each of the commands is first run to its end, then killed at a random moment and repeated (a run with `--resume`) until
it ends by itself; now and then it is killed twice. The designs have to be the same to the last digit. A kill comes at a
random part of the seconds that the whole command took, after Python's own imports. Printed is a line for each kill; the
exit code is 1 where one ended otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

SETTINGS = """
[dataset]
use = "table"
path = "mine.csv"
outputs = ["y", "z"]

[confidence]
model = "none"

[solver]
starts = 8
"""
NET = '\n[surrogate]\nuse = "selu-mlp"\nwidths = [8]\n[tuner]\nuse = "random-search"\nmax_trials = 3\n'
LONG = NET + "[training]\nepochs = 60\nside_by_side = 1\n"
RACE = '\n[surrogate]\nuse = "auto"\ncandidates = ["ridge", "gaussian-process"]\n'
RIDGE = '\n[surrogate]\nuse = "ridge"\n'
SIMULATOR = """
import time

import numpy as np
import pandas as pd


def simulate(designs):
    time.sleep(0.1)
    return pd.DataFrame({"y": np.sin(3 * designs["a"]) * designs["b"], "z": designs["a"] - designs["b"]})
"""
REFINE = (
    "refine run --set truth.function=simulator:simulate --target y=9 --rounds 3 --batch 2 --budget 6 --json --quiet"
)
RUN = ("run", "mine.toml", "--target", "y=0.5", "--out", "run", "--json", "--quiet")


@dataclass(frozen=True)
class Job:
    """A command that is killed: its settings, whether a finished run is there before, and what is compared."""

    name: str
    settings: str
    command: Sequence[str]
    on_a_run: bool
    answer: Callable[[Path, str], object]


def designs_of_run(folder: Path, printed: str) -> object:
    """Return the designs that a run printed and those that it wrote."""
    written = (folder / "run" / "solve" / "1" / "designs.csv").read_text()
    return [json.loads(printed)["designs"], written, (folder / "run" / "run.json").exists()]


def table(folder: Path, printed: str) -> object:
    """Return the table of designs."""
    return (folder / "d.csv").read_text()


def refined(folder: Path, printed: str) -> object:
    """Return what a refinement printed of its targets, and its rounds."""
    rounds = sorted(path.name for path in (folder / "run" / "rounds").iterdir() if not path.name.startswith("."))
    return [json.loads(printed)["targets"], rounds]


def solved(folder: Path, printed: str) -> object:
    """Return the designs of a later solve, of which no half is left."""
    half = [path.name for path in (folder / "run" / "solve").iterdir() if path.name.isdecimal() and not ready(path)]
    return [json.loads(printed)["designs"], half]


def ready(path: Path) -> bool:
    """Whether the folder of a solve is whole."""
    return path.name == "1" or (path / "manifest.json").exists()


def page(folder: Path, printed: str) -> object:
    """Return the report, less the command that wrote it."""
    return re.sub(r"invdesign report[^<]*", "", (folder / "page.html").read_text())


JOBS = [
    Job("tuning and training", LONG, RUN, False, designs_of_run),
    Job("race", RACE, RUN, False, designs_of_run),
    Job("table", RIDGE, ("solve", "run", "--targets", "w.csv", "--out", "d.csv", "--quiet"), True, table),
    Job("solve", RIDGE, ("solve", "run", "--target", "y=0.4", "--json", "--quiet"), True, solved),
    Job(
        "refinement",
        RIDGE,
        REFINE.split(),
        True,
        refined,
    ),
    Job("report", RIDGE, ("report", "run", "--out", "page.html"), True, page),
]


def prepare(job: Job, folder: Path) -> None:
    """Write what a job begins with."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((40, 2)).round(3), columns=["a", "b"])
    frame = frame.assign(y=np.sin(3 * frame["a"]) * frame["b"], z=frame["a"] - frame["b"])
    frame.to_csv(folder / "mine.csv", index=False)
    (folder / "mine.toml").write_text(SETTINGS + job.settings)
    (folder / "simulator.py").write_text(SIMULATOR)
    pd.DataFrame({"y": np.linspace(0.1, 0.8, 400)}).to_csv(folder / "w.csv", index=False)
    if job.on_a_run:
        code, printed, said = run(folder, RUN)
        assert code in (0, 1), (printed, said)


def start(folder: Path, command: Sequence[str]) -> subprocess.Popen[str]:
    """Start a command."""
    script = Path(sys.executable).with_name("invdesign")
    pipe = subprocess.PIPE
    return subprocess.Popen([script, *command], cwd=folder, stdout=pipe, stderr=pipe, text=True)


def run(folder: Path, command: Sequence[str]) -> tuple[int, str, str]:
    """Run a command to its end."""
    process = start(folder, command)
    printed, said = process.communicate()
    return process.returncode, printed, said


def killed(folder: Path, command: Sequence[str], after: float) -> bool:
    """Kill a command after some seconds; False where it had ended."""
    process = start(folder, command)
    try:
        process.communicate(timeout=after)
        return False
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        return True


def going_on(job: Job, folder: Path) -> Sequence[str]:
    """Return the same command as it resumes."""
    return (*job.command, "--resume") if job.command[0] == "run" and (folder / "run").exists() else job.command


def kill_at(job: Job, start_from: Path, folder: Path, shares: Sequence[float], seconds: float, whole: object) -> str:
    """Kill a job at these shares of its time, resume it, and say what came of it: nothing where all is well."""
    shutil.copytree(start_from, folder)
    for share in shares:
        killed(folder, going_on(job, folder), share * seconds)
    code, printed, said = run(folder, going_on(job, folder))
    if code not in (0, 1):
        finished = "already exists" in said or (code == 7 and (folder / "run" / "run.json").exists())
        return "" if finished and job.answer is table else f"exit code {code}: {said.strip().splitlines()[-2:]}"
    found = job.answer(folder, printed)
    return "" if found == whole else "another answer"


def main() -> int:
    """Kill as often as asked, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--job", help="only the jobs whose name holds this word", default="")
    given = parser.parse_args()
    rng, bad = np.random.default_rng(given.seed), 0
    jobs = [job for job in JOBS if given.job in job.name]
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CACHE_HOME"] = str(Path(scratch, "cache"))  # compiled programs, of which a kill may tear one
        known: dict[str, tuple[float, object]] = {}
        print(f"{'job':22}{'killed at':>16}  outcome")
        for number in range(given.kills):
            job = jobs[number % len(jobs)]
            begin = Path(scratch, f"{job.name} begin")
            if job.name not in known:
                prepare(job, begin)
                for unbroken in (f"{job.name} cold", f"{job.name} whole"):  # the second finds its programs compiled
                    folder = shutil.copytree(begin, Path(scratch, unbroken))
                    began = time.monotonic()
                    code, printed, said = run(folder, job.command)
                    assert code in (0, 1), said
                    known[job.name] = time.monotonic() - began, job.answer(folder, printed)
            seconds, whole = known[job.name]
            shares = rng.uniform(0.1, 1.0, 1 + (rng.random() < 0.3))
            fault = kill_at(job, begin, Path(scratch, f"kill {number}"), shares.tolist(), seconds, whole)
            bad += bool(fault)
            when = ", ".join(f"{share * seconds:.1f} s" for share in shares)
            print(f"{job.name:22}{when:>16}  {fault or 'the same designs'}", flush=True)
    print(f"{given.kills - bad} of {given.kills} ended as if nothing had happened")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
