"""JAX programs exist for a few row counts; any number of rows is cut up for them."""

import keras
import numpy as np
import pytest

jax_backend = pytest.importorskip("invdesign_core.surrogate.backend.jax")


@pytest.mark.parametrize("rows", [0, 1, 257, 4097, 4096 * 1200 + 5])
def test_any_number_of_rows_is_computed_row_by_row(rows):
    variable = keras.Variable(np.float32(2))
    twice = jax_backend.value(lambda x: x[:, 0] * variable, [variable])
    x = np.arange(rows, dtype=float)[:, None] % 1000
    assert np.array_equal(twice(x), 2 * x[:, 0])
