"""The two published tasks beside what they have to reach: r_1 and r_50, median and worst of three seeds.

python tests/benchmarks/designs.py            measures, some ten minutes on two processors
python tests/benchmarks/designs.py FILE.json  judges what `invdesign benchmark --out FILE.json` has written
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

BARS = {
    "sine-wave": {"1": (5e-6, 1e-6), "50": (1e-8, 2e-9)},
    "robotic-arm": {"1": (2e-7, 1e-8), "50": (1e-8, 1e-9)},
}
"""What the median has to reach at least, and what is aimed at."""
SPREAD = 5
"""How many times the bar the worst seed may be."""


def main() -> None:
    """Measure, or read a file, and print a row for each number."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder, "found.json")
        if not path.exists():
            command = Path(sys.executable).with_name("invdesign")
            subprocess.run([command, "benchmark", *BARS, "--out", path], check=True, stdout=sys.stderr)
        tasks = {task["dataset"]: task for task in json.loads(path.read_text(encoding="utf-8"))["tasks"]}
    print("| task | r_T | median | worst | at least | aim | published | |\n" + "| --- " * 8 + "|")
    for name, bars in BARS.items():
        task = tasks[name]
        for t, (least, aim) in bars.items():
            median, worst = task["median"][t], task["worst"][t]
            fine = median <= least and worst <= SPREAD * least
            verdict = "not reached" if not fine else "aim reached" if median <= aim else "reached"
            published = task["published"].get("neural-adjoint", {}).get(t, float("nan"))
            numbers = " | ".join(f"{number:.1e}" for number in (median, worst, least, aim, published))
            print(f"| {name} | r_{t} | {numbers} | {verdict} |")
    for name, task in tasks.items():
        train, solve = (sorted(seed["cpu"][part] for seed in task["seeds"]) for part in ("train", "solve"))
        middle = len(train) // 2
        print(f"{name}: {train[middle]:.0f} s of processor time to train, {solve[middle]:.0f} s to solve")


if __name__ == "__main__":
    main()
