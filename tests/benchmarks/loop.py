"""How many experiments it takes to meet a target, beside random search, BoTorch and BayBE.

    python tests/benchmarks/loop.py --methods invdesign,random --seeds 20
    python tests/benchmarks/loop.py --methods botorch,baybe --seeds 20      # where these two are installed

All methods begin with the same 10 rows (scrambled Sobol points), propose 5 designs at a time, and are given what the
simulator says of them. Counted are the experiments, the first rows too, until the true outputs of one are within 1 % of
their range of the target; 61 stands for more than 60. BoTorch and BayBE are needed for their methods alone, and
invdesign is not needed for these.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import qmc

START, BATCH, MOST = 10, 5, 60
TOLERANCE = 0.01
"""In shares of the outputs' ranges over the space."""


@dataclass(frozen=True)
class Task:
    """A simulator: numbers between bounds, maybe a category, outputs, and noise in shares of their ranges."""

    name: str
    bounds: dict[str, tuple[float, float]]
    outputs: tuple[str, ...]
    truth: Callable[[pd.DataFrame], np.ndarray]
    levels: tuple[str, ...] = ()
    noise: float = 0.0

    def designs(self, count: int, seed: int) -> pd.DataFrame:
        """Return scrambled Sobol points."""
        width = len(self.bounds) + bool(self.levels)
        unit = qmc.Sobol(width, rng=np.random.default_rng(seed)).random(count)
        low, high = np.array(list(self.bounds.values())).T
        frame = pd.DataFrame(low + unit[:, : len(low)] * (high - low), columns=list(self.bounds))
        if self.levels:
            frame["c"] = np.array(self.levels)[(unit[:, -1] * len(self.levels)).astype(int)]
        return frame


def arm(x: pd.DataFrame) -> np.ndarray:
    """Return where the end of a robotic arm on a rail is."""
    angle = np.cumsum(x[["x2", "x3", "x4"]].to_numpy(), axis=1)
    length = np.array([0.5, 0.5, 1.0])
    return np.column_stack([x["x1"] + (np.sin(angle) * length).sum(axis=1), (np.cos(angle) * length).sum(axis=1)])


def sine(x: pd.DataFrame) -> np.ndarray:
    """Return a sum of waves."""
    return (np.sin(3 * np.pi * x["a"]) + np.cos(3 * np.pi * x["b"])).to_numpy()[:, None]


def peaks(x: pd.DataFrame) -> np.ndarray:
    """Return a narrow peak whose place and height depend on a category."""
    code = x["c"].map({"A": 0, "B": 1, "C": 2, "D": 3}).to_numpy()
    place, height = np.array([0.2, 0.8, 0.5, 0.35])[code], np.array([1.0, 1.5, 0.7, 2.0])[code]
    away = (x["a"] - place) ** 2 + (x["b"] - 1 + place) ** 2
    return (height * np.exp(-away / 0.05) + 0.5 * x["a"]).to_numpy()[:, None]


TASKS = {
    "arm": Task("arm", dict.fromkeys(["x1", "x2", "x3", "x4"], (-1.2, 1.2)), ("y1", "y2"), arm),
    "sine": Task("sine", {"a": (-1.0, 1.0), "b": (-1.0, 1.0)}, ("y",), sine, noise=0.02),
    "peaks": Task("peaks", {"a": (0.0, 1.0), "b": (0.0, 1.0)}, ("y",), peaks, levels=("A", "B", "C", "D")),
}


def random_search(task: Task, X: pd.DataFrame, y: np.ndarray, target: np.ndarray, seed: int) -> pd.DataFrame:
    """Return random designs."""
    return task.designs(512, seed + 10_000 * len(X)).sample(BATCH, random_state=seed)


def invdesign(task: Task, X: pd.DataFrame, y: np.ndarray, target: np.ndarray, seed: int) -> pd.DataFrame:
    """Return what invdesign proposes."""
    from invdesign_core import InverseDesign

    bounds = {name: list(pair) for name, pair in task.bounds.items()}
    process = {"use": "gaussian-process"}
    model = InverseDesign(process, training={"test": 0.0}, bounds=bounds, confidence={"model": "none"}, seed=seed)
    model.fit(X, pd.DataFrame(y, columns=list(task.outputs)))
    return model.propose(BATCH, dict(zip(task.outputs, map(float, target), strict=True)))[list(X)]


def botorch(task: Task, X: pd.DataFrame, y: np.ndarray, target: np.ndarray, seed: int) -> pd.DataFrame:
    """Return what BoTorch's qLogEI of the negative squared miss proposes, with its default models."""
    import torch
    from botorch.acquisition.logei import qLogExpectedImprovement, qLogNoisyExpectedImprovement
    from botorch.acquisition.objective import GenericMCObjective
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import MixedSingleTaskGP, ModelListGP, SingleTaskGP
    from botorch.models.transforms import Standardize
    from botorch.optim import optimize_acqf, optimize_acqf_mixed
    from gpytorch.mlls import SumMarginalLogLikelihood

    torch.manual_seed(seed)
    low, high = np.array(list(task.bounds.values())).T
    unit = (X[list(task.bounds)].to_numpy() - low) / (high - low)
    if task.levels:
        unit = np.column_stack([unit, X["c"].map({level: i for i, level in enumerate(task.levels)})])
    u, at = torch.tensor(unit, dtype=torch.double), torch.tensor(target, dtype=torch.double)
    known = torch.tensor(y, dtype=torch.double)
    models = []
    for m in range(known.shape[1]):
        own, transform = known[:, m : m + 1], Standardize(1)
        if task.levels:
            models.append(MixedSingleTaskGP(u, own, cat_dims=[u.shape[1] - 1], outcome_transform=transform))
        else:
            models.append(SingleTaskGP(u, own, outcome_transform=transform))
    model = ModelListGP(*models)
    fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
    scale = known.std(dim=0)
    objective = GenericMCObjective(lambda Y, X=None: -(((Y - at) / scale) ** 2).sum(dim=-1))
    if task.noise:
        acquisition = qLogNoisyExpectedImprovement(model, u, objective=objective)
    else:
        acquisition = qLogExpectedImprovement(model, objective(known).max(), objective=objective)
    box = torch.tensor([[0.0] * u.shape[1], [1.0] * len(low) + ([len(task.levels) - 1.0] if task.levels else [])])
    options = {"q": BATCH, "num_restarts": 10, "raw_samples": 256}
    if task.levels:
        fixed = [{u.shape[1] - 1: float(i)} for i in range(len(task.levels))]
        found, _ = optimize_acqf_mixed(acquisition, box.double(), fixed_features_list=fixed, **options)
    else:
        found, _ = optimize_acqf(acquisition, box.double(), sequential=True, **options)
    values = found.detach().numpy()
    frame = pd.DataFrame(low + values[:, : len(low)] * (high - low), columns=list(task.bounds))
    if task.levels:
        frame["c"] = np.array(task.levels)[values[:, -1].round().astype(int)]
    return frame


def baybe(task: Task, X: pd.DataFrame, y: np.ndarray, target: np.ndarray, seed: int) -> pd.DataFrame:
    """Return what BayBE recommends for targets that are to be matched."""
    import torch
    from baybe import Campaign
    from baybe.objectives import DesirabilityObjective, SingleTargetObjective
    from baybe.parameters import CategoricalParameter, NumericalContinuousParameter
    from baybe.searchspace import SearchSpace
    from baybe.targets import NumericalTarget

    torch.manual_seed(seed)
    np.random.seed(seed)
    parameters = [NumericalContinuousParameter(name, pair) for name, pair in task.bounds.items()]
    if task.levels:
        parameters.append(CategoricalParameter("c", task.levels))
    targets = []
    for m, name in enumerate(task.outputs):
        if len(task.outputs) == 1:
            targets.append(NumericalTarget.match_absolute(name, match_value=float(target[m])))
        else:  # a desirability needs values between 0 and 1
            width = 2 * float(np.ptp(y[:, m]))
            targets.append(NumericalTarget.match_triangular(name, match_value=float(target[m]), width=width))
    objective = SingleTargetObjective(targets[0]) if len(targets) == 1 else DesirabilityObjective(targets)
    campaign = Campaign(SearchSpace.from_product(parameters), objective)
    campaign.add_measurements(X.assign(**dict(zip(task.outputs, y.T, strict=True))))
    return campaign.recommend(BATCH)[list(X)].reset_index(drop=True)


METHODS = {"invdesign": invdesign, "random": random_search, "botorch": botorch, "baybe": baybe}


def experiments(task: Task, method: str, seed: int) -> int:
    """Return how many experiments it took to meet the target of a seed."""
    over = task.truth(task.designs(4096, 99))
    width = np.ptp(over, axis=0)
    rng = np.random.default_rng(seed)
    target = over[rng.integers(len(over))]
    if task.levels:  # one that only the peaks reach
        target = np.array([0.6 + 1.6 * rng.random()])
    X = task.designs(START, seed)
    noise = np.random.default_rng([seed, 1])
    true = task.truth(X)
    y = true + task.noise * width * noise.standard_normal(true.shape)
    while True:
        met = (np.abs(true - target) <= TOLERANCE * width).all(axis=1)
        if met.any():
            return int(np.argmax(met)) + 1
        if len(X) >= MOST:
            return MOST + 1
        new = METHODS[method](task, X, y, target, seed).reset_index(drop=True)
        said = task.truth(new)
        X, true = pd.concat([X, new], ignore_index=True), np.concatenate([true, said])
        y = np.concatenate([y, said + task.noise * width * noise.standard_normal(said.shape)])


def main() -> None:
    """Run the tasks, and print the median and the quartiles of each method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--methods", default="invdesign,random")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    found = []
    for name in given.tasks.split(","):
        for method in given.methods.split(","):
            began, counts = time.process_time(), []
            for seed in range(given.seeds):
                counts.append(experiments(TASKS[name], method, seed))
                if given.out is not None:
                    line = {"task": name, "method": method, "counts": counts}
                    given.out.write_text(json.dumps([*found, line], indent=1))
            found.append({"task": name, "method": method, "counts": counts})
            low, median, high = np.percentile(counts, [25, 50, 75])
            seconds = time.process_time() - began
            print(f"{name:8}{method:11}median {median:5.1f}  ({low:.0f} to {high:.0f})  {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
