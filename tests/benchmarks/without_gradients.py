"""CMA-ES of docs/examples/invdesign-cma beside differential-evolution: evaluations and seconds to a loss.

Each searches a small network for the outputs of rows of the table, from random starts: all targets in one call.

    pip install docs/examples/invdesign-cma
    python tests/benchmarks/without_gradients.py
"""

from __future__ import annotations

import os
import time
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np
from invdesign_cma.cma import CmaEs

from invdesign_core.plugin import Context, FloatArray, Problem, Solver
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_plugins.datasets.robotic_arm import RoboticArm
from invdesign_plugins.datasets.sine_wave import SineWave
from invdesign_plugins.datasets.test_function import EngineeringFormula
from invdesign_plugins.solvers.differential_evolution import DifferentialEvolution

TASKS = {
    "sine wave, 2 inputs": SineWave(),
    "robotic arm, 4 inputs": RoboticArm(),
    "piston, 7 inputs": EngineeringFormula(function="piston"),
    "borehole, 8 inputs": EngineeringFormula(function="borehole"),
}
SOLVERS = {"differential-evolution": DifferentialEvolution(), "cma-es": CmaEs()}
LOSSES = (1e-4, 1e-8)
"""In standardised units: errors of 1 % and of 0.01 % of an output's standard deviation."""
TARGETS = (1, 20, 200)
SEEDS = range(3)


class Search:
    """The same targets for every solver, through a network that is compiled once."""

    def __init__(self, model: InverseDesign, targets: int, seed: int) -> None:
        data = model.data_
        asked = data.frame[list(data.outputs)].sample(targets, random_state=seed).reset_index(drop=True)
        self.inverse, _ = model._problem(asked)
        self.targets, self.seed, self.width = targets, seed, data.space.width

    def run(self, solver: Solver) -> tuple[FloatArray, float]:
        """Return for each target and each of LOSSES the evaluations until it was reached, and the seconds in all."""
        groups = np.repeat(np.arange(self.targets), solver.starts)
        u0 = np.random.default_rng(self.seed).random((len(groups), self.width))
        seen: list[tuple[Any, FloatArray]] = []

        def value(u: FloatArray, targets: Any) -> FloatArray:
            loss = self.inverse.losses.value(u, self.inverse.goal.take(targets))
            seen.append((targets, loss))
            return loss

        ctx = Context(self.seed)
        problem = Problem.from_function(value, np.zeros(u0.shape), np.ones(u0.shape), groups, ctx=ctx)
        began = time.process_time()
        solver.solve(problem, u0, ctx)
        seconds = time.process_time() - began
        asked, losses = (np.concatenate(part) for part in zip(*seen, strict=True))
        return np.array([evaluations_to(losses[asked == target]) for target in range(self.targets)]), seconds


def evaluations_to(losses: FloatArray) -> list[float]:
    """Return the evaluations until each of LOSSES was reached; infinite where it never was."""
    return [below[0] + 1 if len(below := np.flatnonzero(losses <= wanted)) else np.inf for wanted in LOSSES]


def main() -> None:
    """Print a row for each task, number of targets and solver."""
    to = " | ".join(f"evaluations to {loss:g}" for loss in LOSSES)
    print(f"| task | targets | solver | reached {LOSSES[-1]:g} | {to} | seconds |\n" + "| --- " * 7 + "|")
    for task, dataset in TASKS.items():
        model = InverseDesign("mlp", training={"epochs": 60, "members": 1}, confidence={"model": "none"})
        model.data_ = dataset.load(Context())
        model.fit_data(model.data_)
        for targets in TARGETS:
            for name, solver in SOLVERS.items():
                print(f"| {task} | {targets} | {name} | {measured(model, solver, targets)} |", flush=True)


def measured(model: InverseDesign, solver: Solver, targets: int) -> str:
    """Return the cells of a solver; each search is done twice, since the first time compiles."""
    counts, seconds = [], []
    for seed in SEEDS:
        search = Search(model, targets, seed)
        search.run(solver)
        count, second = search.run(solver)
        counts.append(count)
        seconds.append(second)
    every = np.concatenate(counts)
    reached = np.isfinite(every[:, -1]).mean()
    return " | ".join([f"{reached:.0%}", *(f"{n:.0f}" for n in np.median(every, axis=0)), f"{np.median(seconds):.2f}"])


if __name__ == "__main__":
    main()
