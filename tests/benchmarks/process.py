"""Compare `gaussian-process` with scikit-learn's on tables of a folder: ``python tests/benchmarks/process.py FOLDER``.

scikit-learn's regressor has the same kernel and three searches. Both learn from the same 80 % of the distinct designs,
three times drawn. The last column of a table is an output unless ``--outputs`` says that more are: ``--outputs
slump.csv=3``. ``--theirs FILE`` keeps scikit-learn's errors, which take most of the time.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SEEDS = (0, 1, 2)


def main() -> None:
    """Print, for each table and output, our test error over theirs and the seconds of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--outputs", nargs="*", default=[], metavar="FILE=COUNT")
    parser.add_argument("--theirs", type=Path, help="a JSON file of scikit-learn's errors and seconds")
    parser.add_argument("--skip", nargs="*", default=[], help="tables to leave out")
    chosen = parser.parse_args()
    counts = {name: int(count) for name, _, count in (item.partition("=") for item in chosen.outputs)}
    known = json.loads(chosen.theirs.read_text()) if chosen.theirs and chosen.theirs.exists() else {}
    warnings.simplefilter("ignore")
    print("| table | output | rows | ours / scikit-learn, median | each | ours, CPU s | theirs |")
    print("|---|---|---|---|---|---|---|")
    medians = []
    for path in sorted(chosen.folder.glob("*.csv")):
        if path.name in chosen.skip:
            continue
        table = pd.read_csv(path, encoding="utf-8-sig").select_dtypes("number")
        count = counts.get(path.name, 1)
        x, y = table.iloc[:, :-count].to_numpy(float), table.iloc[:, -count:].to_numpy(float)
        ratios, ours_seconds, theirs_seconds = [], [], []
        for seed in SEEDS:
            train, test = split(x, seed)
            h, z = standard(x, train), standard(y, train)
            began = time.process_time()
            error = ours(h, z, train, test)
            ours_seconds.append(time.process_time() - began)
            key = f"{path.stem}/{seed}"
            if key not in known:
                began = time.process_time()
                known[key] = theirs(h, z, train, test, seed).tolist(), time.process_time() - began
                if chosen.theirs:
                    chosen.theirs.write_text(json.dumps(known))
            ratios.append(error / known[key][0])
            theirs_seconds.append(known[key][1])
        for name, each in zip(table.columns[-count:], np.transpose(ratios), strict=True):
            medians.append(np.median(each))
            cells = [path.stem, name, str(len(train)), f"{medians[-1]:.3f}", " ".join(f"{r:.3f}" for r in each)]
            cells += [f"{np.median(ours_seconds):.1f}", f"{np.median(theirs_seconds):.1f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\nmedian {np.median(medians):.3f}, worst {max(medians):.3f}")


def split(x: Any, seed: int) -> tuple[Any, Any]:
    """Return the rows of 80 % of the distinct designs, and the others."""
    _, design = np.unique(x, axis=0, return_inverse=True)
    design = design.reshape(-1)
    order = np.random.default_rng(seed).permutation(design.max() + 1)
    test = np.isin(design, order[: round(0.2 * len(order))])
    return np.flatnonzero(~test), np.flatnonzero(test)


def standard(columns: Any, train: Any) -> Any:
    """Return columns with mean 0 and deviation 1 over the training rows."""
    deviation = columns[train].std(axis=0)
    return (columns - columns[train].mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)


def rmse(mean: Any, z: Any) -> Any:
    """Return the error of each output."""
    return np.sqrt(np.mean((mean - z) ** 2, axis=0))


def ours(h: Any, z: Any, train: Any, test: Any) -> Any:
    """Return our errors."""
    from invdesign_plugins.surrogates.process_model import GaussianProcess

    return rmse(GaussianProcess(h.shape[1], z.shape[1]).fit(h[train], z[train]).predict(h[test])[0], z[test])


def theirs(h: Any, z: Any, train: Any, test: Any, seed: int) -> Any:
    """Return scikit-learn's errors."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    found = []
    for column in z.T:
        kernel = ConstantKernel(1.0, (1e-3, 1e5)) * Matern(np.ones(h.shape[1]), (1e-2, 1e3), nu=2.5)
        kernel += WhiteKernel(1e-2, (1e-8, 1e1))
        model = GaussianProcessRegressor(kernel, n_restarts_optimizer=2, random_state=seed)
        found.append(model.fit(h[train], column[train]).predict(h[test]))
    return rmse(np.stack(found, axis=1), z[test])


if __name__ == "__main__":
    main()
