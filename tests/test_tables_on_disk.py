"""Tables too large to lie in memory: what is a sample of them, what is not, and that networks learn from all rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from invdesign_core.context import Context
from invdesign_core.data import large
from invdesign_core.data.data import split_rows
from invdesign_core.data.files.options import Reading
from invdesign_core.data.large import mixed, read_large
from invdesign_core.errors import DataError
from invdesign_core.registry import Registry
from invdesign_core.surrogate.rows_on_disk import RUN, RUNS, rows_to_learn
from invdesign_core.surrogate.scaling import Scaling
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.learn import learn_table
from invdesign_core.workflow.load import prepare
from invdesign_core.workflow.run import run_experiment
from invdesign_core.workflow.run_folder import RunFolder

ROWS = 100_000


@pytest.fixture
def few_in_memory(monkeypatch):
    monkeypatch.setattr(large, "LARGE", 100_000)
    monkeypatch.setattr(large, "SAMPLE", 2_000)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table sorted by what the output depends on, which is how neighbouring rows would mislead a network."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"a": np.sort(rng.random(ROWS)) * 4, "n": rng.integers(0, 5, ROWS), "far": 1e6 + rng.random(ROWS)}
    )
    frame.loc[ROWS // 3, "n"] = 9  # one row alone says how far the column reaches
    frame["y"] = np.sin(frame["a"]) + 0.1 * frame["n"] + frame["far"] - 1e6
    path = tmp_path_factory.mktemp("large") / "table.parquet"
    frame.to_parquet(path, index=False, row_group_size=20_000)
    return path, frame


def data_of(path, **options):
    return Registry.discover().create("dataset", "table", {"path": path, "outputs": ["y"], **options}).load(Context())


def test_a_sample_has_the_ranges_and_kinds_of_all_rows_and_their_numbers(table, few_in_memory):
    path, frame = table
    data = data_of(path)
    assert 2_000 <= len(data.frame) < 2_020
    for variable in data.space.variables:
        column = frame[variable.name]
        assert (variable.lower, variable.upper) == (column.min(), column.max())
    assert [variable.kind for variable in data.space.variables] == ["continuous", "integer", "continuous"]
    pd.testing.assert_frame_equal(data.frame, frame.iloc[data.large.sampled - 1].reset_index(drop=True))


def test_a_table_that_fits_is_read_as_ever(table):
    path, _ = table
    assert read_large(path, Reading(), None, Context()) is None
    assert data_of(path).large is None
    assert len(data_of(path).frame) == ROWS


@pytest.mark.parametrize("spoilt", ["gap", "infinite", "text"])
def test_a_large_table_with_other_than_numbers_is_told_as_a_small_one_is(table, few_in_memory, tmp_path, spoilt):
    frame = table[1].iloc[:30_000].copy()
    if spoilt == "text":
        frame["a"] = frame["a"].map(str)
    else:
        frame.loc[20_000, "a"] = {"gap": np.nan, "infinite": np.inf}[spoilt]
    path = tmp_path / "spoilt.parquet"
    frame.to_parquet(path, index=False)
    assert read_large(path, Reading(), None, Context()) is None


def test_a_damaged_large_table_is_told_as_a_small_one_is(table, few_in_memory, tmp_path):
    content = bytearray(table[0].read_bytes())
    content[len(content) // 4 : len(content) // 4 + 2000] = bytes([255]) * 2000
    for name, damaged in (("cut", content[: len(content) // 2]), ("overwritten", content)):
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"{name}.parquet"):
            data_of(path)


def test_on_disk_are_all_rows_as_they_are_learnt_but_for_those_held_out_and_their_repeats(few_in_memory, tmp_path):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"a": rng.random(20_000), "b": rng.random(20_000)}).loc[np.repeat(np.arange(20_000), 2)]
    frame["y"] = rng.random(40_000)
    frame.to_parquet(tmp_path / "twice.parquet", index=False)
    data = data_of(tmp_path / "twice.parquet")
    rows = split_rows(data, 0.1, 0.1, Context())
    scaling = Scaling.of(rows.x, rows.y)
    held = rows.x[np.concatenate([rows.validation, rows.test])]
    disk = rows_to_learn(data, held, lambda x, y: (scaling.inputs(x), scaling.outputs(y)), tmp_path)
    x, y = frame[["a", "b"]].to_numpy(), frame[["y"]].to_numpy()
    left = ~np.isin(x[:, 0], held[:, 0])
    assert 2 * len(np.unique(held[:, 0])) == (~left).sum()
    found = np.concatenate([disk.read(run) for run in range(disk.runs)])
    np.testing.assert_array_equal(found, np.hstack([scaling.inputs(x), scaling.outputs(y)])[left].astype(np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["twice.parquet"], "nothing is left when the process ends"
    runs = np.arange(RUNS, dtype=np.int32) % disk.runs
    assert np.array_equal(disk.mixed(runs, found[:3]), disk.mixed(runs, found[:3])), "the order follows from the runs"
    some = disk.mixed(runs, found[:3])
    assert len(some) <= 3 + RUN * RUNS
    assert {tuple(row) for row in some} <= {tuple(row) for row in found}


def test_rows_are_told_apart_as_numbers_are():
    x = np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0], [0.0, 1.0 + 2e-16], [0.5, 0.5], [1e-300, 1.0]])
    codes = mixed(x)
    assert codes[0] == codes[1]
    assert len(set(codes.tolist())) == 5


@pytest.mark.long
def test_networks_learn_from_all_rows_of_a_sorted_table(table, few_in_memory, tmp_path):
    path, frame = table
    events = []
    experiment = Experiment(
        dataset={"use": "table", "path": str(path), "outputs": ["y"]},
        surrogate={"use": "mlp", "widths": [16], "learning_rate": 5e-3, "weight_decay": [0.1]},
        training={"epochs": 3, "batch_size": 64},
        confidence={"model": "none"},
    )
    result = run_experiment(experiment, ["y=1.2"], tmp_path / "run", ctx=Context(emit=events.append))
    surrogate, report = result.surrogate, result.report.surrogate
    assert report.test["y"].r2 > 0.99
    assert report.rows["train"] > ROWS - 800
    assert report.rows["train"] + report.rows["validation"] + report.rows["test"] == ROWS
    some = frame.sample(500, random_state=0)
    error = surrogate.predict(some[["a", "n", "far"]].to_numpy(dtype=float)).mean[:, 0] - some["y"]
    assert np.sqrt((error**2).mean()) < 0.1
    assert any("stay on disk" in str(event.data.get("text", "")) for event in events if event.kind == "note")
    # What is known of it later is the sample, and that is said.
    more = frame.head(3).assign(a=[4.1, 4.2, 4.3])
    more.to_csv(tmp_path / "more.csv", index=False)
    prepared = prepare(tmp_path / "run")
    assert any(f"of its {ROWS} rows are kept with the run" in note for note in prepared.notes)
    learn_table(prepared, tmp_path / "more.csv", batch=0)
    assert any("by which its errors may grow" in note for note in prepared.notes)
    known = RunFolder.open(tmp_path / "run").read_surrogate()[1].measured
    assert known.rows.tolist()[-3:] == [ROWS + 1, ROWS + 2, ROWS + 3]
