"""Measure ours and the alternatives side by side, and print ratios: ``python tests/benchmarks/run.py``.

Each side runs in a process of its own on the same machine, one after the other. Compile times of
first calls are shown apart. ``--only ROW`` takes some rows; ``--repeat N`` takes the best of N.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def measure(name: str, backend: str, folder: str, repeat: int) -> dict[str, Any]:
    """Run one side, and return its best of `repeat` runs."""
    runs = []
    for _ in range(repeat):
        env = {
            **os.environ,
            "KERAS_BACKEND": backend,
            "BENCH": folder,
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        if name != "floor":  # the machine's rate is that of all processors; the solves are small on either side
            env["OPENBLAS_NUM_THREADS"] = "1"
        done = subprocess.run(
            [sys.executable, HERE / "sides.py", name], env=env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{name} on {backend} failed:\n{done.stderr[-3000:]}")
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return min(runs, key=lambda run: run.get("seconds", 0.0))


def command(args: list[str], folder: str, backend: str = "jax") -> dict[str, Any]:
    """Time a whole process: the median of three runs after a warm-up, and the largest memory."""
    times, peaks = [], []
    for _ in range(4):
        began = time.perf_counter()
        process = subprocess.Popen(
            args,
            cwd=folder,
            env={**os.environ, "KERAS_BACKEND": backend},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 1):
            raise SystemExit(f"{args} ended with {process.returncode}")
        times.append(time.perf_counter() - began)
        peaks.append(usage.ru_maxrss / 1024)
    return {"seconds": sorted(times[1:])[1], "peak_mb": max(peaks)}


FIT, LOOP = ("search_fit", "tensorflow"), ("notebook_starts", "tensorflow")
SCIPY = ("starts1000_scipy", "jax")

# row: (work, our side, their side and backend, what "per" is, the ratio asked for at least)
ROWS: dict[str, tuple[str, str, tuple[str, str], str, float]] = {
    "search": ("the notebook's search, 11 trials, per trial-epoch", "search_ours", FIT, "epochs", 120),
    "search64": ("64 trials side by side, per trial-epoch", "search64_ours", FIT, "epochs", 120),
    "one-tf": ("one training, against fit on TensorFlow", "one_ours", ("one_fit", "tensorflow"), "epochs", 40),
    "one-jax": ("one training, against fit on JAX", "one_ours", ("one_fit", "jax"), "epochs", 4),
    "large-tf": ("14 → 4×500 → 10, fit on TensorFlow", "large_ours", ("large_fit", "tensorflow"), "epochs", 1.3),
    "large-jax": ("14 → 4×500 → 10, fit on JAX", "large_ours", ("large_fit", "jax"), "epochs", 1.3),
    "starts100": ("100 starts, the notebook's loop", "starts100_least_squares", LOOP, "rows", 1000),
    "starts1000-lbfgsb": ("1000 starts, lbfgsb against SciPy", "starts1000_lbfgsb", SCIPY, "rows", 15),
    "starts1000-ls": ("1000 starts, least-squares", "starts1000_least_squares", SCIPY, "rows", 80),
    "arm": ("robotic arm, 200 targets × 50 starts", "arm_least_squares", ("arm_scipy", "jax"), "rows", 25),
    "arm-lbfgsb": ("the same, lbfgsb", "arm_lbfgsb", ("arm_scipy", "jax"), "rows", 25),
    "arm5": ("the same, 5 members", "arm5_least_squares", ("arm5_scipy", "jax"), "rows", 25),
    "table": ("100,000 targets × 8 starts", "table_ours", ("arm8_scipy", "jax"), "rows", 40),
}  # fmt: skip


def main() -> None:
    """Run the rows, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=[*ROWS, "process"], help="a row; repeatable")
    parser.add_argument("--repeat", type=int, default=1, help="take the best of so many runs of each side")
    chosen = parser.parse_args()
    versions = {n: importlib.metadata.version(n) for n in ("keras", "jax", "tensorflow", "scipy", "numpy")}
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, {versions}\n")
    print("| work | ours | theirs | ratio | at least | our first call | peak MB ours / theirs |")
    print("|---|---|---|---|---|---|---|")
    cache: dict[tuple[str, str], dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        measure("networks", "jax", folder, 1)

        def side(name: str, backend: str) -> dict[str, Any]:
            if (name, backend) not in cache:
                cache[name, backend] = measure(name, backend, folder, chosen.repeat)
            return cache[name, backend]

        for key, (work, mine, (their, backend), per, least) in ROWS.items():
            if chosen.only and key not in chosen.only:
                continue
            ours, theirs = side(mine, "jax"), side(their, backend)
            a, b = ours["seconds"] / ours[per], theirs["seconds"] / theirs[per]
            hits = f" ({ours['hit']:.0%} hit, theirs {theirs['hit']:.0%})" if "hit" in ours and "hit" in theirs else ""
            cells = [work + hits, f"{a * 1e3:.4g} ms", f"{b * 1e3:.4g} ms", f"{b / a:.1f}", f"{least:g}"]
            cells += [f"{ours.get('compile', 0):.2f} s", f"{ours['peak_mb']:.0f} / {theirs['peak_mb']:.0f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
        if not chosen.only or "process" in chosen.only:
            processes(folder, side)
        rate = side("floor", "jax")["flops"]
        for name, flops in (
            ("large_ours", 6 * 10000 * (14 * 500 + 3 * 500**2 + 500 * 10)),
            ("one_ours", 6 * 810 * 2752),
        ):
            if (name, "jax") in cache:
                ours = cache[name, "jax"]
                print(f"\n{name}: {ours['seconds'] / ours['epochs'] / (flops / rate):.1f} × the arithmetic floor")


def processes(folder: str, side: Any) -> None:
    """Time whole processes, start-up included."""
    script = str(Path(sys.executable).with_name("invdesign"))
    notebook = str(ROOT / "docs" / "examples" / "notebook.toml")
    run = command([script, "run", notebook, "-q"], folder)
    kept = ["run", "-q", "--out", "kept", "--set", "training.epochs=50"]
    subprocess.run([script, *kept], cwd=folder, check=True, capture_output=True)
    solve = command([script, "solve", "kept", "--target", "2", "-q"], folder)
    keras = command([sys.executable, "-c", "import keras"], folder)
    classic = side("classic", "tensorflow")
    for work, ours, theirs, least in (
        ("`invdesign run notebook.toml` against the notebook as a script", run, classic, "30"),
        ("`invdesign solve RUN --target 2` against `import keras`", solve, keras, "1/2.5"),
    ):
        a, b = ours["seconds"], theirs["seconds"]
        memory = f"{ours['peak_mb']:.0f} / {theirs['peak_mb']:.0f}"
        print(f"| {work} | {a:.2f} s | {b:.2f} s | {b / a:.2f} | {least} | in it | {memory} |", flush=True)


if __name__ == "__main__":
    main()
