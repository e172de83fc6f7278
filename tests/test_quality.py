"""The answers are right: known truths, real tables, every seed, both backends."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import ROOT

from invdesign_core.context import Context
from invdesign_core.registry import Registry
from invdesign_core.workflow.estimator import InverseDesign

pytestmark = pytest.mark.long
REGISTRY = Registry.discover()


def digits(seed, **options):
    dataset = REGISTRY.create("dataset", "binary-decimal", options)
    return InverseDesign("selu-mlp", seed=seed).fit_data(dataset.load(Context(seed)))


@pytest.mark.parametrize("seed", range(5))
def test_two_digits_are_right_for_every_target_and_seed(seed):
    model = digits(seed)
    for target in range(4):
        answers = model.invert(target)
        best = answers.designs.iloc[0]
        assert 2 * best["design.bit_0"] + best["design.bit_1"] == target
        assert best["truth.decimal"] == target
        assert answers.met


def test_four_digits_are_right_for_every_target():
    model = digits(0, digits=4, rows=4000)
    right = [model.invert(target).designs["truth.decimal"][0] == target for target in range(16)]
    assert sum(right) == 16


def test_the_reformer_is_inverted_for_two_outputs_at_once(reformer, invdesign, tmp_path):
    outputs = [
        "Steam Flow",
        "Reformer Duty",
        "AR",
        "C2H6",
        "C3H8",
        "C4H10",
        "CH4",
        "CO",
        "CO2",
        "H2",
        "H2O",
        "N2",
        "O2",
    ]
    before = reformer.read_bytes()
    (tmp_path / "reformer.toml").write_text(
        f'[dataset]\nuse = "table"\npath = "{reformer}"\noutputs = {outputs}\n'
        '[surrogate]\nuse = "selu-mlp"\n[targets]\nH2 = 0.30\n"Reformer Duty" = 20000\n'
    )
    done = invdesign("run", "reformer.toml", "--json")
    assert done.code == 0, done.err
    report = done.json
    assert set(report["surrogate"]["test"]) == set(outputs)
    assert all(m["r2"] > 0.999 for m in report["surrogate"]["test"].values())
    best = report["designs"][0]
    import pandas as pd

    table = pd.read_csv(reformer, skipinitialspace=True)
    table.columns = table.columns.str.strip()
    for name, wanted in (("H2", 0.30), ("Reformer Duty", 20000)):
        spread = table[name].max() - table[name].min()
        assert abs(best["prediction"][name] - wanted) <= 0.01 * spread
    # The measured rows around the answer agree with it: the surrogate did not invent it.
    inputs = table[["Bypass Fraction", "NG Steam Ratio"]]
    distance = (((inputs - pd.Series(best["inputs"])) / (inputs.max() - inputs.min())) ** 2).sum(axis=1)
    assert table["H2"][distance.idxmin()] == pytest.approx(0.30, abs=0.02 * 0.13)
    assert reformer.read_bytes() == before


def test_thirty_inputs_with_interactions():
    def formula(x):
        pairs = x[:, 0] * x[:, 1] - x[:, 3] * x[:, 4] + x[:, 16] * x[:, 17]
        return pairs + 2 * x[:, 2] + 0.5 * x[:, 5:15].sum(axis=1) + np.sin(2 * x[:, 15])

    x = np.random.default_rng(0).uniform(-1, 1, (3000, 30))
    model = InverseDesign().fit(x, formula(x))
    assert model.report_.test["y"].r2 > 0.98
    for target in (-2.0, 0.0, 3.0):
        answers = model.invert(target)
        designs = answers.designs.filter(like="design.").to_numpy(dtype=float)
        assert answers.met
        assert np.abs(formula(designs) - target).max() < 0.5


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_one_input_and_several_outputs_on_either_backend(invdesign, tmp_path, backend):
    import pandas as pd

    x = np.linspace(0, 1, 150)
    pd.DataFrame({"x": x, "square": x**2, "wave": 1e-6 * np.sin(3 * x)}).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.toml").write_text(
        '[dataset]\nuse = "table"\npath = "t.csv"\noutputs = ["square", "wave"]\n'
        '[surrogate]\nuse = "selu-mlp"\nlearning_rate = [0.01, 0.01]\n[training]\nepochs = 150\n'
    )
    args = ["--target", "square=0.25", "--target", f"wave={1e-6 * np.sin(1.5)}", "--backend", backend, "--json"]
    done = invdesign("run", "t.toml", *args)
    assert done.code == 0, done.err
    assert done.json["designs"][0]["inputs"]["x"] == pytest.approx(0.5, abs=0.02)
    assert done.json["backend"] == backend


def test_the_default_run_takes_well_under_a_minute_and_is_right(invdesign_process):
    done = invdesign_process("run", "--json", timeout=60)
    assert done.code == 0, done.err
    assert done.json["designs"][0]["inputs"] == {"bit_0": 1, "bit_1": 0}
    assert done.json["designs"][0]["truth"] == {"decimal": 2}
    assert done.json["surrogate"]["trials"] == 11


def test_the_classic_notebook_is_reproduced(invdesign):
    done = invdesign("run", str(ROOT / "docs" / "examples" / "notebook.toml"), "--json")
    assert done.code == 0, done.err
    assert done.json["surrogate"]["trials"] == 11
    assert done.json["surrogate"]["objective"] == "accuracy"
    assert done.json["search"] == "relaxation"
    assert done.json["starts"]["total"] == 10
    # A network chosen by its accuracy comes within the tolerance on some processors only; the true model decides.
    assert done.json["met_by"] == "truth"
    assert done.json["designs"][0]["inputs"] == {"bit_0": 1, "bit_1": 0}
