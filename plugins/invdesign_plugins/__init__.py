"""The default plugins, registered through an entry point as any third party's are."""

from __future__ import annotations

from invdesign_core.plugin import Dataset, Objective, Solver, SurrogateBuilder, Tuner, hookimpl


@hookimpl
def invdesign_datasets() -> list[type[Dataset]]:
    """Return the datasets."""
    from invdesign_plugins.datasets.binary_decimal import BinaryDecimal
    from invdesign_plugins.datasets.table import Table

    return [BinaryDecimal, Table]


@hookimpl
def invdesign_surrogates() -> list[type[SurrogateBuilder]]:
    """Return the surrogate builders."""
    from invdesign_plugins.surrogates.selu_mlp import SeluMLP

    return [SeluMLP]


@hookimpl
def invdesign_tuners() -> list[type[Tuner]]:
    """Return the tuners."""
    from invdesign_plugins.tuners.grid_search import GridSearch

    return [GridSearch]


@hookimpl
def invdesign_objectives() -> list[type[Objective]]:
    """Return the objectives."""
    from invdesign_plugins.objectives.mse import MSE

    return [MSE]


@hookimpl
def invdesign_solvers() -> list[type[Solver]]:
    """Return the solvers."""
    from invdesign_plugins.solvers.lbfgsb import LBFGSB

    return [LBFGSB]
