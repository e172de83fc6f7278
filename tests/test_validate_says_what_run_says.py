"""`validate` says of a table what `run` says, and refuses what `run` would refuse after it has begun."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from conftest import called

from invdesign_core.cli.commands import validate
from invdesign_core.context import Context
from invdesign_core.data.data import Data
from invdesign_core.errors import ConfigError, DataError, PluginError
from invdesign_core.plugin import Dataset, SurrogateBuilder
from invdesign_core.registry import Registry
from invdesign_core.workflow.experiment import Experiment, Stages
from invdesign_core.workflow.run import run_experiment
from invdesign_core.workflow.validate import check

TRAINING = {"epochs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    shares = 100 * rng.dirichlet([2, 2, 2], 60)
    frame = pd.DataFrame(shares.round(2), columns=["a", "b", "c"]).assign(t=298.15, metal=rng.choice(["Al", "Cu"], 60))
    frame.loc[59] = frame.loc[58]
    frame.assign(y=frame["a"] + 2 * frame["b"]).to_csv(path / "odd.csv", index=False)
    return path


def settings(folder, **sections):
    table = {"use": "table", "path": str(folder / "odd.csv"), "outputs": ["y"]}
    return {
        "dataset": table,
        "surrogate": {"use": "selu-mlp", "learning_rate": [0.01, 0.01]},
        "training": TRAINING,
    } | sections


def said_by(job):
    said = []
    job(Context(emit=lambda e: e.kind in ("note", "warning") and said.append(e.data["text"])))
    return said


@pytest.mark.slow
def test_validate_says_all_that_a_run_says_before_training(folder, tmp_path):
    experiment = Experiment.from_mapping(settings(folder, training={**TRAINING, "validation": 0}))
    registry = Registry.discover()
    checked = said_by(lambda ctx: check(experiment, registry, ctx, build=True))
    run = said_by(lambda ctx: run_experiment(experiment, out=tmp_path / "run", registry=registry, ctx=ctx))
    assert set(checked) <= set(run)
    assert len(run) == len(set(run)), "nothing is said twice"
    text = " ".join(checked)
    assert "'t' is the same in every row" in text
    assert "a + b + c is 100 in every row" in text
    assert 'constraints = ["a + b + c = 100"]' in text
    assert "rows that repeat a design: 1 of 60;" in text
    assert "no validation rows" in text
    left = [t for t in run if t not in checked]
    assert not any("in every row" in t or "repeat" in t for t in left)


def test_the_command_prints_the_doubts_and_lists_them_in_json(folder, capfd):
    args = ["--dataset", "table", "--set", f"dataset.path={folder / 'odd.csv'}", "--set", 'dataset.outputs=["y"]']
    validate.main([*args, "--json", "--quiet"], standalone_mode=False)
    notes = json.loads(capfd.readouterr().out)["notes"]
    assert any("a + b + c is 100 in every row" in text for text in notes)
    validate.main([*args, "--constraint", "a + b + c = 100"], standalone_mode=False)
    shown = capfd.readouterr().err
    assert "'t' is the same in every row" in shown
    assert "is 100 in every row" not in shown


class Given(Dataset):
    """A table made here."""

    name: ClassVar[str] = "given"
    weights: bool = False
    partial: bool = False
    example: dict[str, str] | None = None

    def load(self, ctx):
        rng = np.random.default_rng(0)
        frame = pd.DataFrame({"a": rng.random(40), "b": rng.random(40)}).assign(y=lambda t: t["a"], w=1.0)
        if self.partial:
            frame = frame.assign(z=frame["y"].where(frame["a"] > 0.5))
        data = Data.from_frame(
            frame.drop(columns=[] if self.weights else "w"),
            ["y", "z"] if self.partial else ["y"],
            weights="w" if self.weights else None,
            partial=self.partial,
        )
        return replace(data, example=self.example)


class Plain(SurrogateBuilder):
    """No network."""

    name: ClassVar[str] = "plain"
    differentiable: ClassVar[bool] = False

    def build(self, hp, data):
        from sklearn.linear_model import LinearRegression

        return LinearRegression()


class Wide(SurrogateBuilder):
    """A network with one output too many."""

    name: ClassVar[str] = "wide"

    def build(self, hp, data):
        from conftest import lin

        net = lin(np.ones((data.space.width, len(data.outputs) + 1)))
        net.compile("sgd", "mse")
        return net


class WithObjects(Experiment):
    """An experiment with plugins given as objects."""

    def stages(self, registry):
        rest = super().stages(registry)
        return Stages(**(dict(rest) | PLUGINS))


PLUGINS: dict = {}


@pytest.mark.parametrize(
    ("plugins", "tuner", "message"),
    [
        (
            {"dataset": Given(weights=True), "surrogate": Plain()},
            "val_loss",
            "row weights are only supported for Keras models",
        ),
        (
            {"dataset": Given(partial=True), "surrogate": Plain()},
            "val_loss",
            "can't be trained on rows where an output",
        ),
        ({"dataset": Given(), "surrogate": Plain()}, "val_acc", "no metric reports 'val_acc'"),
        ({"dataset": Given()}, "val_acc", "no metric reports 'val_acc'"),
        ({"dataset": Given(), "surrogate": Wide()}, "val_loss", "the data have 1 output"),
        ({"dataset": Given(example={"zz": "1"})}, "val_loss", "its example target can't be used.*'zz'"),
    ],
)
def test_what_a_run_would_refuse_once_it_has_begun_is_refused(monkeypatch, plugins, tuner, message):
    for kind, plugin in plugins.items():
        monkeypatch.setitem(PLUGINS, kind, plugin)
    experiment = WithObjects(tuner={"use": "grid-search", "objective": tuner}, training=TRAINING)
    with pytest.raises((PluginError, ConfigError), match=message):
        check(experiment, Registry.discover(), Context(), build=True)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"training": {"test": 0.9, "validation": 0.999}}, "leave no training rows"),
        ({"design": {"stay_near_data": True, "bounds": {"a": [500, 600]}}}, "no measured design lies within"),
        ({"design": {"fixed": {"metal": "Zn"}}}, "'Zn'"),
        ({"design": {"levels": {"metal": ["Zn"]}}}, "'Zn'"),
        ({"design": {"near": {"metal": "Zn"}}}, "'Zn'"),
    ],
)
def test_searches_that_no_design_could_come_out_of_are_refused(folder, sections, message):
    experiment = Experiment.from_mapping(settings(folder, targets={"y": 100}, **sections))
    with pytest.raises((ConfigError, DataError), match=message):
        check(experiment, Registry.discover(), Context())


def test_no_data_imports_no_keras():
    code = (
        "import sys; from invdesign_core.cli.main import main; sys.argv = ['invdesign', 'validate', '--no-data']\n"
        "try: main()\nexcept SystemExit: pass\nassert 'keras' not in sys.modules and 'pandas' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", [[], ["--target", "y=tow"]])
def test_no_data_says_that_targets_were_not_checked(target, tmp_path):
    done = called(["validate", "--no-data", *target], tmp_path, {})
    assert (done.code, "targets were not checked" in done.out) == (0, bool(target)), done.err
