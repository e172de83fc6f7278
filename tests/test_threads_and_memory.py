"""Fits in threads give what they give alone, and a memory that is not enough is said in words."""

from __future__ import annotations

import importlib
import random
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from invdesign_core.errors import ExitCode, OutOfMemoryError, PluginError, plugin_errors, writing
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.networks import seeded


def test_networks_that_are_built_in_threads_have_the_weights_that_they_have_alone():
    backend.load()
    import keras

    begin = Barrier(4)

    def weights(seed, wait=lambda: None):
        wait()
        found = []
        for i in range(3):
            with seeded(10 * seed + i):
                net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1)])
            found += [array.tolist() for array in net.get_weights()]
        return found

    before = random.getstate()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: weights(seed, begin.wait), range(4)))
    assert together == [weights(seed) for seed in range(4)]
    assert random.getstate() == before


def too_large():
    return np.zeros((10**9, 10**9))


def too_large_for_jax():
    backend.load()
    import jax.numpy as jnp

    return jnp.zeros((10**7, 10**7)).block_until_ready()


@pytest.mark.parametrize("ask", [too_large, too_large_for_jax])
def test_a_memory_that_is_not_enough_is_said_with_what_to_do(ask, capsys):
    with (
        pytest.raises(OutOfMemoryError, match="solver 'mine': the memory is not enough") as error,
        plugin_errors("solver 'mine'"),
    ):
        ask()
    assert "solver.rows_at_once" in error.value.hint
    with pytest.raises((MemoryError, RuntimeError)) as bare:
        ask()
    assert importlib.import_module("invdesign_core.cli.main")._unforeseen(bare.value) == ExitCode.RUN_STORE
    said = capsys.readouterr().err
    assert "the memory is not enough" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_causes_that_go_in_a_circle_are_followed_once(length, link, tmp_path):
    errors = [ValueError(str(i)) for i in range(length)]
    for one, other in zip(errors, [*errors[1:], errors[0]], strict=True):
        setattr(one, link, other)

    def fail():
        raise errors[0]

    with pytest.raises(PluginError, match="it failed"), plugin_errors("it"):
        fail()
    with pytest.raises(ValueError, match="0"), writing(tmp_path / "a"):
        fail()
