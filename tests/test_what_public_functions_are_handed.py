"""What the public functions are handed by mistake is refused in words, whatever it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invdesign_core.errors import ConfigError, InvdesignError
from invdesign_core.plugin import Data, Space, Variable, load_table, read_table
from invdesign_core.targets import parse_targets
from invdesign_core.workflow.estimator import InverseDesign
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.load import SolveOptions
from invdesign_core.workflow.run import run_experiment
from invdesign_core.workflow.solve import solve_model

X, Y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
FRAME = pd.DataFrame({"a": [1.0, 2, 3, 4], "y": [1.0, 2, 3, 5]})
QUICK = Experiment(training={"epochs": 1})
WRONG = {
    "an experiment that is no mapping": lambda: Experiment.from_mapping(None),
    "a list for an experiment": lambda: Experiment.from_mapping([]),
    "a number for a section": lambda: Experiment.from_mapping({1: 2}),
    "a number for a file": lambda: Experiment.from_toml(3),
    "a number for an override": lambda: Experiment.from_toml("none.toml", [3]),
    "a path for an experiment": lambda: run_experiment("mine.toml"),
    "a mapping for an experiment": lambda: run_experiment({}),
    "a number for a folder": lambda: run_experiment(QUICK, out=5),
    "a number for a registry": lambda: run_experiment(QUICK, registry=5),
    "a number for a context": lambda: run_experiment(QUICK, ctx=5),
    "a number for targets": lambda: parse_targets(5, ("y",)),
    "a number among targets": lambda: parse_targets([5], ("y",)),
    "a list for a target": lambda: parse_targets({"y": [1, 2]}, ("y",)),
    "nothing for a target": lambda: parse_targets({"y": None}, ("y",)),
    "an object for a target": lambda: parse_targets({"y": object()}, ("y",)),
    "a number for a model": lambda: solve_model(3, ["1"]),
    "a number for a registry of a solve": lambda: solve_model("m.keras", ["1"], registry=3),
    "a number for a context of a solve": lambda: solve_model("m.keras", ["1"], ctx=3),
    "a number for inputs": lambda: SolveOptions.of({"inputs": 3}),
    "a text for outputs": lambda: SolveOptions.of({"outputs": "ab"}),
    "a number for imports": lambda: SolveOptions.of({"imports": 3}),
    "a number for overrides": lambda: SolveOptions.of({"overrides": 3}),
    "a text for a seed": lambda: InverseDesign(seed="a").fit(X, Y),
    "a seed below 0": lambda: InverseDesign(seed=-1).fit(X, Y),
    "a number for plugins": lambda: InverseDesign(registry=3).fit(X, Y),
    "a number for training": lambda: InverseDesign(training=3).fit(X, Y),
    "a text for training": lambda: InverseDesign(training="abc").fit(X, Y),
    "a number for an option of training": lambda: InverseDesign(training={3: 2}).fit(X, Y),
    "a number for a plugin's name": lambda: InverseDesign({"use": 3}).fit(X, Y),
    "a number for data": lambda: InverseDesign().fit_data(3),
    "a number for a saved model": lambda: InverseDesign.load(3),
    "a number for a place to save": lambda: InverseDesign().save(3),
    "a number for a table": lambda: read_table(3),
    "a mapping for how to read": lambda: load_table(Path("a.csv"), {"decimal": ","}),
    "a number for outputs": lambda: Data.from_frame(FRAME, 3),
    "a number for an output": lambda: Data.from_frame(FRAME, [3]),
    "a text for the outputs of a table": lambda: Data.from_frame(FRAME, "y"),
    "a number for variables": lambda: Space(3),
    "a number for a variable": lambda: Space((3,)),
    "a number for a name": lambda: Variable(3),
    "a kind that there isn't": lambda: Variable("a", "continous"),
    "a text for a bound": lambda: Variable("a", lower="x"),
    "a category without labels": lambda: Variable("a", "categorical"),
    "levels without values": lambda: Variable("a", "levels"),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_it_is_refused_in_words(call):
    with pytest.raises(InvdesignError) as refused:
        call()
    assert "\n" not in refused.value.message


def test_one_target_may_be_a_text():
    assert parse_targets("y=1", ("y",)) == parse_targets(["y=1"], ("y",)) == parse_targets({"y": 1}, ("y",))


def test_a_pair_of_numbers_is_pointed_to_a_range():
    with pytest.raises(ConfigError) as refused:
        parse_targets({"y": (1, 2)}, ("y",))
    assert "'1..2'" in refused.value.hint


def test_a_metric_that_nothing_reports_comes_with_those_that_are():
    import keras

    from invdesign_core.surrogate.networks import metric_directions

    net = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    for metrics, known in (([], {"loss"}), (["mae"], {"loss", "mae"})):
        net.compile(loss="mse", metrics=metrics)
        net._symbolic_build(data_batch=(X.astype("float32"), Y[:, None].astype("float32")))
        assert set(metric_directions(net)) == known
