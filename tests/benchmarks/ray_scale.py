"""What two workers of Ray do in the time of one, and what a small command pays for Ray.

    python tests/benchmarks/ray_scale.py                          # 100,000 targets × 8 starts, 64 trials, 100 starts
    python tests/benchmarks/ray_scale.py --targets 5000 --repeat 3

A cluster with as many processors as there are workers is started here. Both sides of a row run one after the other in
this process, `--repeat` times in turn; the best of each counts. Workers have started, and compiled once, before that.
The efficiency is the time of one worker, over that of so many times their number: 1 is perfect. On a machine that does
something else besides, it says little; there the processor time tells more: `expected` is the efficiency that follows
from it where this process works while no worker does, and all workers take equal shares.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from invdesign_core.cluster.settings import ComputeSettings, computing
from invdesign_core.context import Context, Local
from invdesign_core.data.data import Data
from invdesign_core.registry import Registry
from invdesign_core.surrogate.settings import Training
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.run import run_experiment
from invdesign_core.workflow.solve import solve_one, solve_table
from invdesign_core.workflow.train import fit

WIDTHS = [64, 64]


def outputs(x: np.ndarray) -> pd.DataFrame:
    """Return two smooth outputs of three inputs."""
    return pd.DataFrame({"y": np.sin(3 * x[:, 0]) + x[:, 1] ** 2 - x[:, 2] * x[:, 0], "z": x[:, 0] * x[:, 1] + x[:, 2]})


@contextmanager
def workers(count: int) -> Iterator[Any]:
    """Give what deals work out to so many workers of the cluster."""
    with computing(ComputeSettings(use="ray", workers=count), Context()) as ctx:
        yield ctx.compute


def trials(data: Data, compute: Any, count: int, epochs: int) -> None:
    """Train trials that differ in the learning rate, eight side by side."""
    registry = Registry.discover()
    builder: Any = registry.create("surrogate", "selu-mlp", {"widths": WIDTHS})
    tuner: Any = registry.create("tuner", "random-search", {"max_trials": count})
    training = Training(epochs=epochs, side_by_side=8, early_stopping=False)
    fit(data, builder, tuner, training, Context(compute=compute, width=count))


def timed(work: Callable[[], Any]) -> tuple[float, float, float]:
    """Return the seconds that some work takes, and the processor's seconds of this process and of the workers."""
    began, here, there = time.perf_counter(), time.process_time(), of_workers()
    work()
    return time.perf_counter() - began, time.process_time() - here, of_workers() - there


def of_workers() -> float:
    """Return the processor's seconds of all workers that are there (on Linux)."""
    found = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
            if name.startswith("ray::Started"):
                found += sum(map(int, rest.split()[11:13])) / os.sysconf("SC_CLK_TCK")
    return found


def main() -> None:
    """Measure, and print a line of JSON for each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=100_000)
    parser.add_argument("--starts", type=int, default=8)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    given = parser.parse_args()
    import ray

    with tempfile.TemporaryDirectory() as scratch:
        os.environ |= {  # as the command line has it, before a backend is there; workers are told
            "JAX_COMPILATION_CACHE_DIR": f"{scratch}/programs",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        ray.init(address="local", num_cpus=given.workers, include_dashboard=False, log_to_driver=False)
        measure(given, Path(scratch))


def measure(given: argparse.Namespace, folder: Path) -> None:
    """Make a table and a run, and measure the rows."""
    x = np.random.default_rng(0).random((1000, 3))
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(**outputs(x))
    frame.to_csv(folder / "table.csv", index=False)
    settings = {
        "dataset": {"use": "table", "path": "table.csv", "outputs": ["y", "z"]},
        "surrogate": {"use": "selu-mlp", "widths": WIDTHS},
        "training": {"epochs": 50},
        "tuner": {"max_trials": 1},
        "confidence": {"model": "none"},
    }
    run = folder / "run"
    run_experiment(Experiment.from_mapping(settings, folder=folder), out=run)
    wanted, some = (
        outputs(np.random.default_rng(1).random((n, 3))) for n in (given.targets, 20 * 16384 // given.starts)
    )
    data, numbers = Data.from_frame(frame, ["y", "z"]), iter(range(10**6))

    def solve(compute: Any, asked: pd.DataFrame) -> None:
        prepared = prepare(run, solver={"use": "least-squares", "starts": given.starts}, designs=1)
        prepared = replace(prepared, ctx=replace(prepared.ctx, compute=compute))
        solve_table(prepared, asked, folder / f"{next(numbers)}.parquet")

    def small(compute: Any) -> None:
        prepared = prepare(run, solver={"use": "least-squares", "starts": 100})
        solve_one(replace(prepared, ctx=replace(prepared.ctx, compute=compute)), ["y=1"])

    rows: dict[str, tuple[Callable[[Any], None], Callable[[Any], None]]] = {
        f"{given.targets} targets × {given.starts} starts": (
            lambda c: solve(c, wanted),
            lambda c: solve(c, some.head(given.workers * 16384 // given.starts)),
        ),
        f"{given.trials} trials of {given.epochs} epochs": (
            lambda c: trials(data, c, given.trials, given.epochs),
            lambda c: trials(data, c, 8 * given.workers, 2),
        ),
    }
    for name, (work, warm) in rows.items():
        seconds: dict[int, list[tuple[float, float, float]]] = {1: [], given.workers: []}
        for _ in range(given.repeat):
            for count, taken in seconds.items():
                with workers(count) as compute:
                    warm(compute)
                    taken.append(timed(lambda work=work, compute=compute: work(compute)))
        (one, *first), (all_of_them, here, there) = (min(taken) for taken in seconds.values())
        expected = sum(first) / (given.workers * here + there)
        found = {"one": one, "workers": given.workers, "seconds": all_of_them}
        found |= {"efficiency": one / all_of_them / given.workers, "expected": expected}
        say(name, **found, here=here, there=there)
    with workers(given.workers) as compute:
        solve(compute, some.head(given.workers * 16384 // given.starts))  # Ray is up
        small(Local())
        here, there = (min(timed(lambda who=who: small(who))[0] for _ in range(3)) for who in (Local(), compute))
    say("100 starts", here=here, with_ray=there, overhead=there - here)


def say(name: str, **numbers: float) -> None:
    """Print a row."""
    rounded = {key: round(value, 3) for key, value in numbers.items()}
    print(json.dumps({"row": name, **rounded, "load": os.getloadavg()[0]}, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
