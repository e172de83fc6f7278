"""JAX programs exist for a few row counts; any number of rows is cut up for them."""

import keras
import numpy as np
import pytest

jax_backend = pytest.importorskip("invdesign_core.surrogate.backend.jax.programs")


@pytest.mark.parametrize("rows", [0, 1, 257, 4097, 4096 * 1200 + 5])
def test_any_number_of_rows_is_computed_row_by_row(rows):
    variable = keras.Variable(np.float32(2))
    twice = jax_backend.value(lambda x: x[:, 0] * variable, [variable])
    x = np.arange(rows, dtype=float)[:, None] % 1000
    assert np.array_equal(twice(x), 2 * x[:, 0])


@pytest.mark.parametrize("sizes", [jax_backend.SIZES, jax_backend.FEW_SIZES, jax_backend.ONE_SIZE])
@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65, 256, 257, 300, 1000, 4095, 4096, 8191, 8192, 20_000])
def test_the_pieces_hold_all_rows_and_not_many_more(sizes, rows):
    pieces = jax_backend._pieces(rows, sizes)
    assert sum(pieces) >= rows
    assert sum(pieces[:-1]) < rows
    assert sum(pieces) <= max(256, 4 * rows), "little is computed for nothing"
    assert set(pieces) <= set(sizes) or rows >= jax_backend.MANY
