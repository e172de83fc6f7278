"""Measure the race: ``python tests/benchmarks/race.py errors FOLDER``, ``regret FOLDER`` or ``times``.

``errors`` compares the held-out error of ``auto`` with the best of a Gaussian process, a random forest and gradient
boosting of scikit-learn, each tuned on the training rows, on the same splits of the tables in FOLDER. ``regret``
compares it with that of each candidate alone. ``times`` takes the seconds of whole commands. ``--only TEXT`` takes
some outputs, ``--seeds N`` so many splits, ``--rows N`` at most so many rows of a table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

OUTPUTS: dict[str, tuple[list[str], list[str]]] = {
    "agnp.csv": (["spectrum_score"], []),
    "enb.csv": (["HeatingLoad", "CoolingLoad"], []),
    "p3ht.csv": (["conductivity"], []),
    "slump.csv": (["SLUMP(cm)", "FLOW(cm)", "Compressive Strength (28-day)(Mpa)"], ["No"]),
    "snar.csv": (["impurity"], []),
    "yacht.csv": (["resistance"], []),
    "photo_wf3.csv": (["degradation"], []),
    "reformer.csv": (["Steam Flow", "Reformer Duty", "H2"], []),
}
"""The outputs of each table that are measured, and columns that are left out."""
CANDIDATES = ("ridge", "gaussian-process", "mlp", "selu-mlp")


def tables(folder: Path, rows: int, only: str) -> Iterator[tuple[str, pd.DataFrame, pd.Series]]:
    """Yield the name, the inputs and the output of each task."""
    for name, (outputs, aside) in OUTPUTS.items():
        for path in sorted(folder.rglob(name)):
            frame = pd.read_csv(path, encoding="utf-8-sig").rename(columns=lambda c: c.strip().lstrip("%"))
            frame = frame.rename(columns=lambda c: c.lstrip("# "))
            if len(frame) > rows:
                frame = frame.sample(rows, random_state=0).reset_index(drop=True)
            known = OUTPUTS[name][0] if name != "reformer.csv" else list(frame.columns[2:])
            for output in outputs:
                if only in f"{name} {output}":
                    yield f"{name} {output}", frame.drop(columns=[*known, *aside]), frame[output]


def split(x: pd.DataFrame, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to learn from and a fifth to test on, no design on both sides."""
    _, design = np.unique(x.to_numpy(), axis=0, return_inverse=True)
    design = design.reshape(-1)
    order = np.random.default_rng(seed).permutation(design.max() + 1)
    test = np.isin(design, order[: len(order) // 5])
    return np.flatnonzero(~test), np.flatnonzero(test)


def theirs(x: np.ndarray, y: np.ndarray, seed: int) -> dict[str, Any]:
    """Return scikit-learn's models, fitted to (n, d) and (n,) training rows."""
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    d = x.shape[1]
    kernel = ConstantKernel(1.0, (1e-3, 1e4)) * Matern(np.ones(d), (1e-2, 1e3), 2.5) + WhiteKernel(1e-2, (1e-8, 10.0))
    process = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=1, random_state=seed)
    forest = GridSearchCV(
        RandomForestRegressor(200, random_state=seed), {"max_features": [1.0, 1 / 3], "min_samples_leaf": [1, 3]}, cv=3
    )
    boosting = GridSearchCV(
        GradientBoostingRegressor(random_state=seed, subsample=0.7),
        {"n_estimators": [200, 600], "max_depth": [2, 4], "learning_rate": [0.05]},
        cv=3,
    )
    models = {"process": make_pipeline(StandardScaler(), process), "forest": forest, "boosting": boosting}
    with warnings.catch_warnings(action="ignore"):
        return {name: model.fit(x, y) for name, model in models.items()}


def rmse(said: np.ndarray, y: np.ndarray) -> float:
    """Return the root of the mean squared error."""
    return float(np.sqrt(np.mean((said - y) ** 2)))


def ours(surrogate: Any, x: pd.DataFrame, y: pd.Series, learn: np.ndarray, seed: int) -> tuple[Any, float]:
    """Return a fitted estimator and the seconds that it took."""
    from invdesign_core.workflow.estimator import InverseDesign

    began = time.perf_counter()
    with warnings.catch_warnings(action="ignore"):
        model = InverseDesign(surrogate=surrogate, seed=seed).fit(x.iloc[learn], y.iloc[learn])
    return model, time.perf_counter() - began


def errors(folder: Path, chosen: Any, with_candidates: bool) -> None:
    """Print the held-out errors of each task and seed, and their ratios."""
    kept = Path(chosen.keep) if chosen.keep else None
    done = {}
    if kept is not None and kept.exists():
        for line in kept.read_text().splitlines():
            row = json.loads(line)
            done[row["task"], row["seed"]] = row
    for task, x, y in tables(folder, chosen.rows, chosen.only):
        for seed in range(chosen.seeds):
            row = done.setdefault((task, seed), {"task": task, "seed": seed})
            learn, test = split(x, seed)
            before = dict(row)
            if "auto" not in row or chosen.again:
                model, seconds = ours("auto", x, y, learn, seed)
                row |= {
                    "auto": rmse(model.predict(x.iloc[test]), y.to_numpy()[test]),
                    "chosen": model.race_.chosen,
                    "seconds": round(seconds, 1),
                    "out of fold": {c.name: c.error for c in model.race_.candidates},
                }
            if not with_candidates and "theirs" not in row:
                models = theirs(x.to_numpy()[learn], y.to_numpy()[learn], seed)
                row["theirs"] = {n: rmse(m.predict(x.to_numpy()[test]), y.to_numpy()[test]) for n, m in models.items()}
            for name in CANDIDATES if with_candidates else ():
                alone = row.setdefault("alone", {})
                if name not in alone or chosen.again:
                    surrogate = {"use": "auto", "candidates": [name], "learning_curve": False}
                    model, _ = ours(surrogate, x, y, learn, seed)
                    alone[name] = rmse(model.predict(x.iloc[test]), y.to_numpy()[test])
            if row != before and kept is not None:
                with kept.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            best = min((row["alone"] if with_candidates else row["theirs"]).values())
            said = f"{row['auto'] / best:5.2f}  {row['chosen']:18} {row['seconds']:6.1f} s"
            print(f"{task:45} seed {seed}: {said}", flush=True)
    summary(done, chosen, "alone" if with_candidates else "theirs")


def summary(done: dict[Any, Any], chosen: Any, against: str) -> None:
    """Print the median over the seeds of each task, then the median and the worst of those."""
    ratios: dict[str, list[float]] = {}
    for (task, seed), row in done.items():
        if seed < chosen.seeds and against in row and chosen.only in task:
            ratios.setdefault(task, []).append(row["auto"] / min(row[against].values()))
    print(f"\n| task | auto / best of {against}, median of the seeds |\n| --- | --- |")
    for task, values in ratios.items():
        print(f"| {task} | {np.median(values):.2f} |")
    medians = [float(np.median(values)) for values in ratios.values()]
    print(f"| median | {np.median(medians):.2f} |\n| worst | {max(medians):.2f} |")


def times() -> None:
    """Print the seconds of whole commands on tables of 100 and 1000 rows with 8 columns."""
    script = str(Path(sys.executable).with_name("invdesign"))
    for rows in (100, 1000):
        rng = np.random.default_rng(rows)
        x = rng.uniform(size=(rows, 8))
        y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
        with tempfile.TemporaryDirectory() as folder:
            frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(8)]).assign(y=y + rng.standard_normal(rows))
            frame.to_csv(Path(folder) / "table.csv", index=False)
            args = ["run", "--dataset", "table", "--surrogate", "auto", "--target", "y=15", "-q"]
            options = ["--set", "dataset.path=table.csv", "--set", 'dataset.outputs=["y"]']
            began = time.perf_counter()
            subprocess.run([script, *args, *options], cwd=folder, env={**os.environ}, capture_output=True, check=True)
            print(f"{rows} rows × 8 columns: {time.perf_counter() - began:.1f} s", flush=True)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["errors", "regret", "times"])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--only", default="", help="part of the task's name")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--keep", help="a file of JSON lines with what was measured before")
    parser.add_argument("--again", action="store_true", help="measure ours again, and take theirs from the file")
    chosen = parser.parse_args()
    if chosen.what == "times":
        times()
    elif chosen.folder is None:
        parser.error("name the folder of the tables")
    else:
        errors(chosen.folder, chosen, chosen.what == "regret")


if __name__ == "__main__":
    main()
