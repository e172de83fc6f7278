"""A tuner for invdesign by the package optuna; the entry point names this module."""

from __future__ import annotations

from invdesign_core.plugin import Tuner, hookimpl


@hookimpl
def invdesign_tuners() -> list[type[Tuner]]:
    """Return the tuner."""
    from invdesign_optuna.tuner import OptunaTuner

    return [OptunaTuner]
