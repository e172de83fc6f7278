"""A compiled function that knows how long its compilation took."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Compiled:
    """A function of arrays with one entry a row, compiled at its first calls.

    Attributes
    ----------
    compile_seconds : float
        What the calls that compiled took.
    """

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run
        self.compile_seconds = 0.0

    def __call__(self, *args: Any) -> Any:
        """Evaluate; float64 arrays in and out."""
        return self._run(*args)
