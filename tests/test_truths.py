"""Whole inverse problems on trained surrogates, whose answers are judged by measured rows or by the exact formula."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import SHARED_DATA

pytestmark = pytest.mark.long


def ran(invdesign, folder, text):
    """Write an experiment, train its surrogate, and return the command's answer."""
    (folder / "it.toml").write_text(text)
    done = invdesign("run", "it.toml", "--out", "out", "--json")
    assert done.code in (0, 1), done.err
    return done


# Polymer blends: four fractions that sum to 1, and how much of the blend degrades in light

BLENDS = """
[dataset]
use = "table"
path = "{path}"
outputs = ["degradation"]

[surrogate]
use = "selu-mlp"

[design]
constraints = ["mat_1 + mat_2 + mat_3 + mat_4 = 1"]

[targets]
degradation = "min"
"""
MATERIALS = [f"mat_{i}" for i in range(1, 5)]


def check_written(path, rows):
    """Check the designs as the next program reads them: inside the bounds to the last bit, and whole blends."""
    designs = pd.read_csv(path)
    x = designs[[f"design.{name}" for name in MATERIALS]].to_numpy()
    assert len(x) > 0
    assert (x >= rows[MATERIALS].min().to_numpy()).all()
    assert (x <= rows[MATERIALS].max().to_numpy()).all()
    assert not ((x > 0) & (x < 1e-8)).any(), "what is on a bound is there exactly"
    for design in x.tolist():
        assert abs(sum(design) - 1) <= 1e-9
    assert designs["nearest.row"].between(1, len(rows)).all()
    measured = rows[MATERIALS].to_numpy()[designs["nearest.row"] - 1]
    apart = np.linalg.norm((x - measured) / np.ptp(rows[MATERIALS].to_numpy(), axis=0), axis=1)
    assert apart == pytest.approx(designs["nearest.distance"].to_numpy(), abs=1e-6)
    assert designs["inside"].any()


def test_blends_that_degrade_least_and_blends_that_degrade_as_asked(invdesign, tmp_path):
    table = SHARED_DATA / "photo_wf3.csv"
    if not table.exists():
        pytest.skip("the table photo_wf3.csv is not here")
    rows = pd.read_csv(table)
    measured = np.ptp(rows["degradation"])
    done = ran(invdesign, tmp_path, BLENDS.format(path=table))
    assert any("rows that repeat a design: 20 of 1040;" in note for note in done.json["notes"])
    assert done.code == 0
    check_written(tmp_path / "out" / "solve" / "1" / "designs.csv", rows)
    least = done.json["designs"][0]["prediction"]["degradation"]
    every = np.array(list(itertools.product(np.linspace(0, 1, 26), repeat=3)))
    every = np.column_stack([every, 1 - every.sum(axis=1)])
    every = np.concatenate([every[(every[:, 3] >= 0) & (every[:, 2] <= 0.9)], rows[MATERIALS]])
    assert least <= predicted(tmp_path / "out", every).min() + 1e-6, "the least of the surrogate, measured or not"
    assert least <= np.sort(rows["degradation"])[10], "and where the best measured blends are"

    near = invdesign("solve", "out", "--stay-near-data", "--json")
    assert near.code == 0, near.err
    check_written(tmp_path / "out" / "solve" / "2" / "designs.csv", rows)
    assert all(design["nearest"]["inside"] for design in near.json["designs"])
    assert least - 1e-6 <= near.json["designs"][0]["prediction"]["degradation"] <= least + 0.02 * measured

    for number, more in ((3, []), (4, ["--stay-near-data"])):
        asked = invdesign("solve", "out", "--target", "degradation=0.2", *more, "--json")
        assert asked.code == 0, asked.err
        check_written(tmp_path / "out" / "solve" / str(number) / "designs.csv", rows)
        designs = asked.json["designs"]
        assert designs[0]["met"] == {"degradation": True}
        assert designs[0]["prediction"]["degradation"] == pytest.approx(0.2, abs=1e-4)
        assert designs[0]["nearest"]["inside"]
    # Measured blends beside the answers scatter by 0.03 around the surrogate, as those held out do.
    beside = rows["degradation"].to_numpy()[[design["nearest"]["row"] - 1 for design in designs]]
    assert np.median(np.abs(beside - 0.2)) <= 0.06


def predicted(run, x):
    """Ask the surrogate's file, without the project's own code."""
    import keras

    model = keras.saving.load_model(run / "surrogate" / "member-0.keras")
    return model.predict(x, batch_size=len(x), verbose=0)[:, 0]


# The reformer: three outputs of rows that the surrogate has not seen

REFORMER = """
[dataset]
use = "table"
path = "seen.csv"
inputs = ["Bypass Fraction", "NG Steam Ratio"]
outputs = ["H2", "N2", "CO2"]

[surrogate]
use = "selu-mlp"
"""


def test_the_reformer_is_set_for_three_given_outputs_together(reformer, invdesign, tmp_path):
    from scipy.interpolate import RegularGridInterpolator

    inputs, outputs = ["Bypass Fraction", "NG Steam Ratio"], ["H2", "N2", "CO2"]
    rows = pd.read_csv(reformer, skipinitialspace=True).rename(columns=str.strip).drop_duplicates(inputs)
    rows = rows.sort_values(inputs, ignore_index=True)
    span = np.ptp(rows[outputs].to_numpy(), axis=0)
    held_out = np.random.default_rng(0).choice(len(rows), 20, replace=False)
    rows.drop(index=held_out).to_csv(tmp_path / "seen.csv", index=False)
    wanted = rows.loc[held_out, outputs].to_numpy()
    words = [[f"{y} tolerance {0.01 * s}" for y, s in zip(row, span, strict=True)] for row in wanted]
    pd.DataFrame(words, columns=outputs).to_csv(tmp_path / "wanted.csv", index=False)
    ran(invdesign, tmp_path, REFORMER)
    done = invdesign("solve", "out", "--targets", "wanted.csv", "--out", "answers.csv", "--json")
    assert done.code == 0, done.err
    assert (done.json["met"], done.json["targets"]) == (20, 20)
    best = pd.read_csv(tmp_path / "answers.csv").query("rank == 1")
    said = best[[f"prediction.{name}" for name in outputs]].to_numpy()
    assert (np.abs(said - wanted) <= 0.01 * span).all()
    # The rows are a full grid over both inputs, so that between them the plant itself can be asked.
    axes = [np.unique(rows[name]) for name in inputs]
    grid = rows[outputs].to_numpy().reshape(*map(len, axes), 3)
    plant = RegularGridInterpolator(axes, grid, method="cubic")
    true = plant(best[[f"design.{name}" for name in inputs]].to_numpy())
    assert (np.abs(true - wanted) <= 0.01 * span).all()


# Binary digits: a staircase of 256 steps in eight digits

DIGITS = """
[dataset]
use = "binary-decimal"
digits = 8
rows = 20_000

[surrogate]
activation = "tanh"
learning_rate = [3e-3, 3e-3]

[training]
epochs = 40
schedule = "cosine"
"""


def numbers(path, names):
    """Return the numbers that the first designs write, and whether each is called met."""
    best = pd.read_csv(path).query("rank == 1")
    assert best["target"].tolist() == list(range(1, 257))
    digits = best[[f"design.{name}" for name in names]].to_numpy()
    assert set(np.unique(digits)) == {0, 1}
    return digits @ 2 ** np.arange(7, -1, -1), best["met"].to_numpy()


def test_eight_digits_write_each_number_to_255(invdesign, tmp_path):
    wanted = np.arange(256)
    pd.DataFrame({"decimal": [f"{n} tolerance 0.5" for n in wanted]}).to_csv(tmp_path / "wanted.csv", index=False)
    pd.DataFrame({"decimal": wanted}).to_csv(tmp_path / "plain.csv", index=False)
    ran(invdesign, tmp_path, DIGITS)
    # Judged by the truth, with a tolerance that one number alone lies within, and with the default.
    done = invdesign("solve", "out", "--targets", "wanted.csv", "--out", "by-truth.csv", "--json")
    assert done.code == 0, done.err
    written, met = numbers(tmp_path / "by-truth.csv", [f"bit_{i}" for i in range(8)])
    assert (written == wanted).sum() >= 250
    assert (met == (written == wanted)).all()
    assert done.json["met"] == met.sum()
    invdesign("solve", "out", "--targets", "plain.csv", "--out", "plain-answers.csv", "--json")
    written, _ = numbers(tmp_path / "plain-answers.csv", [f"bit_{i}" for i in range(8)])
    assert (written == wanted).sum() >= 250
    # The network alone knows no truth, and may still call nothing met that is wrong.
    levels = [part for i in range(1, 9) for part in ("--levels", f"x{i}=0,1")]
    model = "out/surrogate/member-0.keras"
    invdesign("solve", model, "--outputs", "decimal", *levels, "--targets", "wanted.csv", "--out", "alone.csv")
    written, met = numbers(tmp_path / "alone.csv", [f"x{i}" for i in range(1, 9)])
    assert (written == wanted).sum() >= 250
    assert (written == wanted)[met].all()
