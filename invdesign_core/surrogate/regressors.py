"""Surrogates that are no networks: regressors in scikit-learn's style, fitted in one go."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np

from invdesign_core.data.data import Rows
from invdesign_core.errors import NOT_FAULTS, PluginError, described, plugin_errors, plural
from invdesign_core.space.arrays import FloatArray
from invdesign_core.surrogate.loop import Outcome
from invdesign_core.surrogate.scaling import Scaling

REGRESSOR_METRICS = {"loss": "min", "mae": "min"}
"""What is reported for a regressor: mean square and mean absolute error in z."""


def fit_regressor(model: Any, h: FloatArray, z: FloatArray, rows: Rows, who: str) -> Outcome:
    """Fit a regressor to the training rows of (n, e) inputs and (n, m) z; return how that ended."""
    metrics: dict[str, float] = {}
    try:
        model.fit(h[rows.train], z[rows.train] if z.shape[1] > 1 else z[rows.train, 0])
        for prefix, part in (("", rows.train), ("val_", rows.validation)):
            if len(part):
                error = regressor_answer(model, h[part], z.shape[1], who) - z[part]
                metrics[f"{prefix}loss"] = float(np.mean(error**2))
                metrics[f"{prefix}mae"] = float(np.mean(np.abs(error)))
    except NOT_FAULTS:
        raise
    except Exception as error:  # a regressor may raise anything; the trial failed
        return Outcome(0, message=described(error))
    except BaseException as error:  # not for want of a fit: it asked to end the program
        raise PluginError(f"{who} failed: its regressor raised {described(error)}") from error
    return Outcome(1, metrics)


class ScaledRegressor:
    """A regressor from (n, e) inputs, standardised or raw, to (n, m) z, used with raw inputs."""

    def __init__(self, model: Any, scaling: Scaling, scaled_inputs: bool) -> None:
        self.model, self.scaling, self.scaled_inputs = copy.copy(model), scaling, scaled_inputs

    def z(self, x: Any) -> Any:
        """Answer (n, m) z for (n, e) raw inputs."""
        h = self.scaling.inputs(x) if self.scaled_inputs else x
        with plugin_errors("the regressor", f"this is a fault of {type(self.model).__name__}"):
            z = regressor_answer(self.model, h, len(self.scaling.y_shift), "the regressor")
        return z if self.scaling.constant is None else np.where(self.scaling.constant, 0.0, z)


def regressor_answer(model: Any, h: FloatArray, outputs: int, who: str) -> FloatArray:
    """Return a regressor's (n, m) answer; it may be (n,) for one output."""
    answer = np.asarray(model.predict(np.array(h)), dtype=np.float64)  # it may work in what it is given
    if answer.shape not in {(len(h), outputs)} | ({(len(h),)} if outputs == 1 else set()):
        raise PluginError(
            f"{who} predicts shape {answer.shape} for {plural(len(h), 'row')}, expected ({len(h)}, {outputs})"
        )
    return answer.reshape(len(h), outputs)


def check_pickles(model: Any, who: str) -> None:
    """Refuse before training what could not be saved after it."""
    try:
        pickle.dumps(model)
    except NOT_FAULTS:
        raise
    except BaseException as error:
        raise PluginError(f"{who} built {type(model).__name__}, which can't be pickled: {error}") from None
