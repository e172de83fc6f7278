"""What each step of `mlp`'s recipe brings, over several tables: ``python tests/benchmarks/recipe.py [FOLDER]``.

Each line adds one step to those above it. Given is the error on rows left out, in three of five folds, over that of
the first line: the geometric mean over the tables, and the largest. The tables are made from formulas, and read from
the text files of FOLDER where one is given; the last column of a file is its output.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

os.environ.setdefault("KERAS_BACKEND", "jax")  # networks train side by side there

import keras
import keras_tuner as kt
import numpy as np
import pandas as pd

from invdesign_core.context import Context
from invdesign_core.data.data import Data, Rows, together
from invdesign_core.plugin import SurrogateBuilder
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.trainer import Trainer
from invdesign_plugins.surrogates.decayed_adam import DecayedAdam
from invdesign_plugins.surrogates.mlp import MLP, Size

FOLDS, USED = 5, 3


class Network(SurrogateBuilder):
    """A network of any recipe."""

    name: ClassVar[str] = "network"
    widths: tuple[int, ...] = (64, 32, 16)
    activation: str = "selu"
    initial: str = "lecun_normal"
    loss: str = "mae"
    rate: float = 3e-3
    decay: float | None = None

    def build(self, hp: kt.HyperParameters, data: Data, ctx: Context) -> keras.Model:
        """Return the compiled network."""
        x = keras.Input((data.space.width,))
        h = x
        for width in self.widths:
            h = keras.layers.Dense(width, activation=self.activation, kernel_initializer=self.initial)(h)
        model = keras.Model(x, keras.layers.Dense(len(data.outputs))(h))
        optimizer = keras.optimizers.Nadam(self.rate) if self.decay is None else DecayedAdam(self.rate, self.decay)
        model.compile(optimizer, self.loss)
        return model


def steps(rows: int) -> list[tuple[str, dict[str, Any], dict[str, Any], tuple[float, ...], int]]:
    """Return for each line its name, the network's options, the training's, the decays to choose from, and members."""
    recipe = dict(MLP().recipe(rows)) | {"members": 1}
    decays = tuple(MLP().weight_decay)
    classic: dict[str, Any] = {"epochs": 2000, "patience": 40}
    network: dict[str, Any] = {}
    lines = [("selu-mlp: selu, Nadam, mean absolute error, plateaus, early stopping", network, classic, (), 1)]
    network = network | {"activation": "swish", "initial": "glorot_uniform"}
    lines.append(("swish layers, Glorot weights", network, classic, (), 1))
    network = network | {"initial": "lecun_normal"}
    lines.append(("LeCun weights", network, classic, (), 1))
    network = network | {"loss": "mse", "decay": 0.0}
    lines.append(("Adam on the squared error", network, classic, (), 1))
    cosine = recipe | {"batch_size": 32}
    lines.append(("a cosine to 0 after 2 % of warm-up, no early stopping", network, cosine, (), 1))
    size = Size.of(rows)
    network = network | {"rate": size.rate}
    lines.append(("the learning rate by the number of rows", network, cosine, (), 1))
    network = network | {"widths": tuple(MLP().widths)}
    lines.append(("three layers of 64 units", network, recipe, (), 1))
    lines.append(("weight decay, chosen by rows left out", network, recipe, decays, 1))
    lines.append(("five members", network, recipe, decays, 5))
    return lines


def tables(folder: Path | None) -> dict[str, pd.DataFrame]:
    """Return tables by name, whose last column is the output."""
    rng = np.random.default_rng(0)
    made = {}
    x = rng.uniform(size=(200, 10))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    made["friedman"] = pd.DataFrame(np.column_stack([x, y + rng.normal(size=200)]))
    x = rng.uniform(-1, 1, (60, 5))
    made["linear"] = pd.DataFrame(np.column_stack([x, x @ [1, 2, -1, 0.5, 0] + 0.2 * rng.normal(size=60)]))
    x = rng.uniform(-1, 1, (600, 2))
    made["waves"] = pd.DataFrame(np.column_stack([x, np.sin(3 * np.pi * x[:, 0]) + np.cos(3 * np.pi * x[:, 1])]))
    for path in sorted(folder.glob("*.csv")) if folder else []:
        made[path.stem] = pd.read_csv(path, encoding="utf-8-sig").dropna()
    return {name: frame.rename(columns=str) for name, frame in made.items()}


def error(data: Data, network: Mapping[str, Any], training: Mapping[str, Any], decays: Any, members: int) -> float:
    """Return the root mean squared error, in z, on the rows of three of five folds; the best decay's where several."""
    group = together(data.x)
    order = np.random.default_rng(0).permutation(group.max() + 1)
    folds = [np.isin(group, order[i::FOLDS]) for i in range(USED)]
    whole, none = np.arange(len(group)), np.arange(0)
    settings = Training(**training)
    parts = []
    for fold in folds:
        teach, unit = whole[~fold], np.unique(group[~fold])
        watched = np.isin(group[teach], unit[:: round(1 / settings.validation)] if settings.early_stopping else none)
        parts.append((teach[~watched], teach[watched]))
    found = []
    for decay in decays or (network.get("decay"),):
        trainer = Trainer(
            Network(**network | {"decay": decay}), data, Rows(data.x, data.y, whole, none, none), settings, Context()
        )
        jobs = [part for part in parts for _ in range(members)]
        nets = [trainer.build(kt.HyperParameters(), number) for number in range(len(jobs))]
        trainer.train(nets, range(len(jobs)), "trial", "tune", [settings.epochs] * len(jobs), parts=jobs)
        squares = []
        for at, fold in enumerate(folds):
            left_out = np.flatnonzero(fold)
            answers = [trainer.answer(net, left_out) for net in nets[at * members : (at + 1) * members]]
            squares.append((np.mean(answers, axis=0) - trainer.scaling.outputs(data.y[left_out])) ** 2)
        found.append(float(np.sqrt(np.concatenate(squares).mean())))
    return min(found)


def main() -> None:
    """Measure each line on each table."""
    found = tables(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    ratios: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    for name, frame in found.items():
        data = Data.from_frame(frame, [frame.columns[-1]])
        first = 0.0
        for label, *line in steps(round(0.8 * len(frame))):
            began = time.process_time()
            rmse = error(data, *line)
            first = first or rmse
            ratios.setdefault(label, []).append(rmse / first)
            seconds[label] = seconds.get(label, 0.0) + time.process_time() - began
            print(f"  {name}: {label}: {rmse:.4f}", flush=True)
    for label, values in ratios.items():
        mean, worst = float(np.exp(np.mean(np.log(values)))), max(values)
        print(f"| {label} | {mean:.2f} | {worst:.2f} | {seconds[label]:.0f} s |")


if __name__ == "__main__":
    main()
