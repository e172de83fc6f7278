"""The model that is reported is the model that is saved, and labels come back as they were written."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from invdesign_core.context import Context
from invdesign_core.registry import Registry
from invdesign_core.workflow.validate import load

pytestmark = pytest.mark.slow


@pytest.fixture
def noisy(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(0, 1, (120, 2)), columns=["a", "b"])
    frame["y"] = frame["a"] * 3 + frame["b"] ** 2 + 0.2 * rng.normal(size=120)
    frame.to_csv(tmp_path / "noisy.csv", index=False)
    (tmp_path / "noisy.toml").write_text(
        '[dataset]\nuse = "table"\npath = "noisy.csv"\noutputs = ["y"]\n'
        '[surrogate]\nuse = "selu-mlp"\n[tuner]\nmax_trials = 2\n[training]\nepochs = 20\ntest = 0.2\n'
    )
    return frame


@pytest.mark.parametrize("retrain", ["false", "true"])
def test_loading_the_saved_model_gives_the_reported_test_metrics(invdesign, noisy, tmp_path, retrain):
    import keras

    from invdesign_core.data.data import split_rows

    done = invdesign("run", "noisy.toml", "--out", "out", "--set", f"training.retrain={retrain}", "--json")
    assert done.code == 0, done.err
    report = done.json["surrogate"]
    model = keras.saving.load_model(tmp_path / "out" / "surrogate" / "member-0.keras")
    dataset = Registry.discover().create("dataset", "table", {"path": tmp_path / "noisy.csv", "outputs": ["y"]})
    data = load(dataset, Context())
    rows = split_rows(data, 0.2, 0.1, Context())
    error = model.predict(rows.x[rows.test].astype("float32"), verbose=0) - rows.y[rows.test]
    assert report["rows"]["test"] == len(rows.test) == 24
    assert report["test"]["y"]["mae"] == pytest.approx(np.abs(error).mean(), abs=1e-6)
    assert report["test"]["y"]["rmse"] == pytest.approx(np.sqrt((error**2).mean()), abs=1e-6)
    if retrain == "true":
        kept = "trial's weights are kept" in " ".join(done.json["notes"])
        assert kept != report["retrained"], "it says which of the two it kept"


def test_a_level_called_na_is_a_level(invdesign, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"region": ["NA", "EU", "AS"] * 100, "x": rng.random(300)})
    frame["y"] = frame["region"].map({"NA": 10.0, "EU": 20.0, "AS": 30.0}) + frame["x"]
    frame.to_csv(tmp_path / "regions.csv", index=False)
    (tmp_path / "regions.toml").write_text(
        '[dataset]\nuse = "table"\npath = "regions.csv"\noutputs = ["y"]\n[surrogate]\nuse = "ridge"\n'
    )
    done = invdesign("run", "regions.toml", "--target", "y=10.5", "--json")
    assert done.code == 0, done.err
    best = done.json["designs"][0]["inputs"]
    assert best["region"] == "NA"
    assert best["x"] == pytest.approx(0.5, abs=0.05)


def test_half_of_two_categories_is_no_answer(invdesign, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"level": rng.choice(list("ABCD"), 800), "x": rng.uniform(0, 0.5, 800)})
    frame["y"] = frame["level"].map({"A": 0.0, "B": 1.0, "C": 5.0, "D": 9.0}) + frame["x"]
    frame.to_csv(tmp_path / "levels.csv", index=False)
    (tmp_path / "levels.toml").write_text(
        '[dataset]\nuse = "table"\npath = "levels.csv"\noutputs = ["y"]\n[surrogate]\nuse = "ridge"\n'
    )
    done = invdesign("run", "levels.toml", "--target", "y=3", "--json")
    assert done.code == 1, done.err
    best = done.json["designs"][0]
    assert best["inputs"]["level"] == "B"
    assert best["inputs"]["x"] == pytest.approx(0.5, abs=0.05)
    assert best["prediction"]["y"] == pytest.approx(1.5, abs=0.1)
