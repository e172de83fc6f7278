"""The default plugins, registered through an entry point as any third party's are."""

from __future__ import annotations

import os

from invdesign_core.plugin import Context, Dataset, Event, Objective, Solver, SurrogateBuilder, Tuner, hookimpl
from invdesign_plugins.datasets.binary_decimal import BinaryDecimal
from invdesign_plugins.datasets.robotic_arm import RoboticArm
from invdesign_plugins.datasets.sine_wave import SineWave
from invdesign_plugins.datasets.table import Table
from invdesign_plugins.datasets.test_function import EngineeringFormula
from invdesign_plugins.objectives.huber import Huber
from invdesign_plugins.objectives.mae import MAE
from invdesign_plugins.objectives.max_miss import MaxMiss
from invdesign_plugins.objectives.mse import MSE
from invdesign_plugins.solvers.dataset_search import DatasetSearch
from invdesign_plugins.solvers.differential_evolution import DifferentialEvolution
from invdesign_plugins.solvers.lbfgsb import LBFGSB
from invdesign_plugins.solvers.least_squares import LeastSquares
from invdesign_plugins.solvers.slsqp import SLSQP
from invdesign_plugins.surrogates.auto import Auto
from invdesign_plugins.surrogates.gaussian_process import GaussianProcess
from invdesign_plugins.surrogates.gradient_boosting import GradientBoosting
from invdesign_plugins.surrogates.mlp import MLP
from invdesign_plugins.surrogates.model_builder import ModelBuilder
from invdesign_plugins.surrogates.ridge import Ridge
from invdesign_plugins.surrogates.selu_mlp import SeluMLP
from invdesign_plugins.tuners.bayesian import Bayesian
from invdesign_plugins.tuners.grid_search import GridSearch
from invdesign_plugins.tuners.hyperband import Hyperband
from invdesign_plugins.tuners.random_search import RandomSearch


@hookimpl
def invdesign_datasets() -> list[type[Dataset]]:
    """Return the datasets."""
    return [BinaryDecimal, RoboticArm, SineWave, Table, EngineeringFormula]


@hookimpl
def invdesign_surrogates() -> list[type[SurrogateBuilder]]:
    """Return the surrogate builders."""
    return [Auto, SeluMLP, MLP, GaussianProcess, Ridge, GradientBoosting, ModelBuilder]


@hookimpl
def invdesign_tuners() -> list[type[Tuner]]:
    """Return the tuners."""
    return [GridSearch, RandomSearch, Bayesian, Hyperband]


@hookimpl
def invdesign_objectives() -> list[type[Objective]]:
    """Return the objectives."""
    return [MSE, MAE, Huber, MaxMiss]


@hookimpl
def invdesign_solvers() -> list[type[Solver]]:
    """Return the solvers."""
    return [LBFGSB, LeastSquares, SLSQP, DifferentialEvolution, DatasetSearch]


@hookimpl
def invdesign_event(event: Event, ctx: Context) -> None:
    """Log runs in MLflow, where `$INVDESIGN_MLFLOW` asks for it."""
    if os.environ.get("INVDESIGN_MLFLOW", "0") != "0":
        from invdesign_plugins.observers.mlflow_log import tell

        tell(event, ctx)
