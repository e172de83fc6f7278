"""What is particular to JAX: compiled maps over padded rows, and epochs of many networks or of rows on disk."""

from invdesign_core.surrogate.backend.jax.cache import mend_cache
from invdesign_core.surrogate.backend.jax.from_disk import FromDisk
from invdesign_core.surrogate.backend.jax.programs import (
    Pairs,
    in_float64,
    residuals_and_jacobian,
    value,
    value_and_grad,
)
from invdesign_core.surrogate.backend.jax.side_by_side import SideBySide

mend_cache()

__all__ = ["FromDisk", "Pairs", "SideBySide", "in_float64", "residuals_and_jacobian", "value", "value_and_grad"]
