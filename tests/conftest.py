"""Fixtures that several test modules share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("INVDESIGN_DATA", ROOT.parent / "shared" / "data"))
"""Real tables that live beside the project; tests that need them skip where they are absent."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def console() -> str:
    """The installed console script of this environment."""
    script = Path(sys.executable).with_name("invdesign")
    assert script.exists(), "install the project first"
    return str(script)


@pytest.fixture
def invdesign(console: str, tmp_path: Path) -> Callable[..., Finished]:
    """Run the real command line in an empty folder."""

    def run(*args: str, cwd: Path = tmp_path, env: dict[str, str] | None = None, timeout: int = 300) -> Finished:
        done = subprocess.run(
            [console, *map(str, args)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def reformer() -> Path:
    path = SHARED_DATA / "reformer.csv"
    if not path.exists():
        pytest.skip("the table reformer.csv is not here")
    return path


def lin(W: Sequence[Sequence[float]], b: Sequence[float] | None = None, act: str | None = None) -> Any:
    """Return the exact network y = act(x W + b)."""
    import keras

    weights = np.array(W, float)
    model = keras.Sequential([keras.Input((weights.shape[0],)), keras.layers.Dense(weights.shape[1], act)])
    model.set_weights([weights, np.zeros(weights.shape[1]) if b is None else np.array(b, float)])
    return model


def fn(d: int, f: Callable[[Any], Any]) -> Any:
    """Return the network y = f(x) of d inputs."""
    import keras

    inputs = keras.Input((d,))
    return keras.Model(inputs, f(inputs))


@pytest.fixture(scope="session")
def saved_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished run of the built-in example; tests that change it copy it."""
    from invdesign_core import Experiment, run_experiment

    folder = tmp_path_factory.mktemp("saved") / "run"
    surrogate = {"widths": [8], "learning_rate": (0.02, 0.02)}
    run_experiment(Experiment(training={"epochs": 20}, surrogate=surrogate), ["decimal=2"], folder)
    return folder
