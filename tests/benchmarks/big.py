"""What a large problem takes on one machine: ``python tests/benchmarks/big.py [--only CASE] [--folder FOLDER]``.

Each case is a command in a process of its own: its seconds, those of all its processors together, and its largest
memory. The speed of the machine is told besides, as the rate of a plain matrix product on one processor.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

INVDESIGN = str(Path(sys.executable).with_name("invdesign"))
SMALL = (
    '[surrogate]\nuse = "mlp"\nwidths = [32]\nlearning_rate = 0.003\nweight_decay = [0.1]\n'
    "[training]\nepochs = 20\nmembers = 1\nbatch_size = 64\n"
)
WITHOUT = '[confidence]\nmodel = "none"\n'


def timed(arguments: list[str], folder: Path) -> str:
    """Run a command, and return the cells of a table about it."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [INVDESIGN, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    error = process.stderr.read() if process.stderr else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{arguments} ended with {process.returncode}:\n{error[-3000:]}")
    wall, processors = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    return f"{wall:.0f} s | {processors:.0f} s | {usage.ru_maxrss / 1024:.0f} MB"


def rate() -> float:
    """Return the rate of a matrix product on one processor, in 10⁹ operations a second."""
    code = (
        "import numpy as np, time; a = np.ones((1024, 1024), 'f4'); a @ a; t = time.perf_counter();"
        "[a @ a for _ in range(20)]; print(2 * 1024**3 * 20 / (time.perf_counter() - t) / 1e9)"
    )
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return float(subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout)


def table(folder: Path, inputs: int, outputs: int, rows: int = 500) -> None:
    """Write a table of smooth outputs."""
    import pandas as pd

    rng = np.random.default_rng(0)
    x = rng.random((rows, inputs))
    y = np.sin(x @ rng.normal(size=(inputs, outputs)) / np.sqrt(inputs))
    names = [*(f"x{i}" for i in range(inputs)), *(f"y{m}" for m in range(outputs))]
    pd.DataFrame(np.hstack([x, y]), columns=names).to_parquet(folder / "table.parquet", index=False)


def experiment(folder: Path, more: str = SMALL, outputs: str = '"y*"') -> None:
    """Write an experiment file."""
    dataset = f'[dataset]\nuse = "table"\npath = "table.parquet"\noutputs = [{outputs}]\n'
    (folder / "experiment.toml").write_text(dataset + more)


def small(folder: Path, inputs: int, outputs: int, name: str, *solve: str) -> None:
    """Train a small network, and solve by it."""
    table(folder, inputs, outputs)
    experiment(folder)
    print(f"| {name}: `run` | {timed(['run', 'experiment.toml', '--out', 'kept'], folder)} |", flush=True)
    print(f"| {name}: `solve` | {timed(['solve', 'kept', *solve], folder)} |", flush=True)


def inputs(folder: Path) -> None:
    """1,000 inputs."""
    small(folder, 1000, 1, "1,000 inputs", "--target", "y0=0.3")


def outputs(folder: Path) -> None:
    """1,000 outputs."""
    targets = [word for m in range(0, 1000, 100) for word in ("--target", f"y{m}=-0.5..0.8")]
    small(folder, 10, 1000, "1,000 outputs, targets for ten", *targets)


def starts(folder: Path) -> None:
    """10,000 starts."""
    small(folder, 10, 2, "10,000 starts", "--target", "y0=0.3", "--target", "y1=0.1", "--set", "solver.starts=10000")


def constraints(folder: Path) -> None:
    """200 constraints."""
    rng = np.random.default_rng(1)
    said = []
    for _ in range(200):
        a, b, c = rng.choice(20, 3, replace=False)
        said += ["--constraint", f"x{a} + x{b} + {rng.integers(1, 5)}*x{c} <= {rng.integers(4, 7)}"]
    small(folder, 20, 2, "200 linear constraints", "--target", "y0=0.3", "--target", "y1=0.1", *said)


def targets(folder: Path, counts: tuple[int, ...] = (100_000, 1_000_000)) -> None:
    """100,000 and 1,000,000 targets with 8 starts each, by the network of the robotic arm."""
    import pandas as pd

    env = {**os.environ, "KERAS_BACKEND": "jax", "BENCH": str(folder)}
    sides = Path(__file__).with_name("sides.py")
    subprocess.run([sys.executable, sides, "networks"], env=env, check=True, capture_output=True)
    os.environ["BENCH"] = str(folder)
    from sides import arm

    rng = np.random.default_rng(3)
    x = (rng.normal(size=(8000, 4)) * [0.25, 0.5, 0.5, 0.5]).clip([-0.6, -1.2, -1.2, -1.2], [0.6, 1.2, 1.2, 1.2])
    bounds = ["--bounds", "x1=-0.6..0.6"]
    bounds += [word for i in (2, 3, 4) for word in ("--bounds", f"x{i}=-1.2..1.2")]
    for count in counts:
        wanted = pd.DataFrame(arm(x[rng.integers(0, len(x), count)]), columns=["y1", "y2"])
        wanted.to_parquet(folder / f"{count}.parquet", index=False)
        command = ["solve", "arm.keras", *bounds, "--targets", f"{count}.parquet", "--out", f"designs-{count}.parquet"]
        command += ["--set", "solver.use=least-squares", "--set", "solver.starts=8"]
        print(f"| {count:,} targets × 8 starts | {timed(command, folder)} |", flush=True)


def rows(folder: Path, count: int = 5_000_000) -> None:
    """5 million rows of 20 inputs and an output, in float64: trained for three epochs, and solved for one target."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, names = np.random.default_rng(0), [*(f"x{i}" for i in range(20)), "y"]
    weights = rng.normal(size=(20, 3)) / 4
    with pq.ParquetWriter(folder / "table.parquet", pa.schema([(name, pa.float64()) for name in names])) as file:
        for _ in range(0, count, 250_000):
            x = rng.random((250_000, 20))
            h = x @ weights
            y = np.sin(3 * h[:, 0]) + h[:, 1] ** 2 + h[:, 2] / 2
            file.write_table(pa.table([*x.T, y], names=names))
    more = SMALL.replace("epochs = 20", "epochs = 3").replace("= 64", "= 1024").replace("[32]", "[64, 32]")
    for without, said in ((WITHOUT, "no second model"), ("", "a second model")):
        experiment(folder, more + without, '"y"')
        took = timed(["run", "experiment.toml", "--out", f"kept with {said}", "--target", "y=1.5"], folder)
        print(f"| {count:,} rows × 20 inputs, {said} | {took} |", flush=True)


CASES: dict[str, Callable[[Path], None]] = {
    case.__name__: case for case in (inputs, outputs, starts, constraints, rows, targets)
}


def main() -> None:
    """Run the cases, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=CASES, help="a case; repeatable")
    parser.add_argument("--folder", type=Path, help="where files are written; by default a temporary folder")
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} processors, {rate():.0f} Gflop/s each\n")
    print("| work | seconds | of all processors | memory |")
    print("|---|---|---|---|")
    for name, case in CASES.items():
        if chosen.only and name not in chosen.only:
            continue
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            case(Path(folder))


if __name__ == "__main__":
    main()
