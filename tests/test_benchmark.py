"""`invdesign benchmark` and its two tasks: designs are asked of the truth when they are ranked, and not before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from invdesign_core.context import Context
from invdesign_core.data.data import Data, split_rows
from invdesign_core.registry import Registry

REGISTRY = Registry.discover()


def loaded(name, seed=0, **options):
    return REGISTRY.create("dataset", name, options).load(Context(seed))


# The tasks


def test_the_sine_wave_is_the_published_one():
    truth = loaded("sine-wave").truth
    designs = pd.DataFrame({"x1": [0, 1 / 6, 1 / 2, 1], "x2": [0, 0, 1 / 3, -1]})
    assert truth(designs)["y"].to_numpy() == pytest.approx([1, 2, -2, -1])


def test_the_robotic_arm_is_the_published_one():
    truth = loaded("robotic-arm").truth
    designs = pd.DataFrame({"x1": [0, 0.5, 0], "x2": [0, 0, 1.2], "x3": [0, 0, 1.2], "x4": [0, 0, 1.2]})
    bent = [0.5 * np.cos(1.2) + 0.5 + np.cos(1.2), 0.5 * np.sin(1.2) - np.sin(1.2)]
    assert truth(designs).to_numpy() == pytest.approx(np.array([[2, 0], [2, 0.5], bent]))


@pytest.mark.parametrize("name", ["sine-wave", "robotic-arm"])
def test_rows_lie_inside_the_bounds_and_rows_held_out_are_exact_and_no_others(name):
    data = loaded(name, rows=300, held_out=100, noise=0.1)
    low, high = data.space.bounds
    assert ((data.x >= low) & (data.x <= high)).all()
    missed = np.abs(data.truth(data.frame)[list(data.outputs)].to_numpy() - data.y)
    held_out = split_rows(data, 0.5, 0.2, Context()).test
    assert held_out.tolist() == list(range(300, 400)), "what the dataset holds out stays held out"
    assert missed[:300].std() == pytest.approx(0.1, rel=0.5)
    assert missed[300:].max() == 0


@pytest.mark.parametrize("name", ["sine-wave", "robotic-arm"])
def test_more_rows_change_neither_the_first_ones_nor_those_held_out(name):
    few, many = loaded(name, rows=50, held_out=20), loaded(name, rows=80, held_out=30)
    assert (few.x[:50] == many.x[:50]).all()
    assert (few.x[50:] == many.x[80:100]).all()
    assert (few.x[:50] != loaded(name, seed=1, rows=50, held_out=20).x[:50]).any()


def test_figures_are_published_for_the_published_rows_alone():
    for name in ("sine-wave", "robotic-arm"):
        assert set(REGISTRY.create("dataset", name, {}).published["neural-adjoint"]) == {1, 10, 50}
        assert not REGISTRY.create("dataset", name, {"rows": 500}).published
        assert not REGISTRY.create("dataset", name, {"noise": 0.1}).published
    assert not REGISTRY.create("dataset", "binary-decimal", {}).published


# What a dataset says of the split


def test_rows_that_a_dataset_leaves_open_are_shared_out_between_training_and_validation():
    data = Data.from_frame(pd.DataFrame({"x": np.arange(20.0), "y": np.arange(20.0)}), ["y"])
    rows = split_rows(replace(data, split=np.repeat(["", "train", "test"], [10, 5, 5])), 0.3, 0.4, Context())
    assert rows.test.tolist() == [15, 16, 17, 18, 19]
    assert len(rows.validation) == 4
    assert set(rows.validation) < set(range(10))
    assert set(rows.train) == set(range(15)) - set(rows.validation)
