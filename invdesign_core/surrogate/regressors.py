"""Models that are fitted in one go: regressors in scikit-learn's style, and Keras models in closed form."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.data import Rows
from invdesign_core.errors import NOT_FAULTS, PluginError, fault_of, plugin_errors, plural
from invdesign_core.errors.faults import told
from invdesign_core.space.arrays import FloatArray
from invdesign_core.surrogate.loop import Outcome
from invdesign_core.surrogate.scaling import Scaling, mean_of

if TYPE_CHECKING:
    import keras

FEWEST = 64
"""Rows that a Keras model is asked about at once, at least."""
ROWS = 4096
"""Rows that a Keras model answers at once."""
ERRORS = {"loss": "min", "mae": "min"}
"""What is reported for a model fitted in one go: mean square and mean absolute error in z."""


def fit_regressor(model: Any, h: FloatArray, z: FloatArray, rows: Rows, who: str, code: Sequence[Any] = ()) -> Outcome:
    """Fit a regressor to the training rows of (n, e) inputs and (n, m) z; return how that ended."""

    def fit() -> None:
        model.fit(h[rows.train], z[rows.train] if z.shape[1] > 1 else z[rows.train, 0])

    return _fitted(
        fit, lambda part: regressor_answer(model, h[part], z.shape[1], who), z, rows, f"{who}: its regressor", code
    )


def fit_closed_form(
    net: keras.Model,
    h: FloatArray,
    z: FloatArray,
    weights: FloatArray | None,
    rows: Rows,
    who: str,
    code: Sequence[Any] = (),
) -> Outcome:
    """Fit a Keras model in closed form to the training rows, with (n,) weights where there are any."""

    def fit() -> None:
        counts = {} if weights is None else {"sample_weight": weights[rows.train]}
        net.fit(h[rows.train], z[rows.train], **counts)

    return _fitted(fit, lambda part: keras_answer(net, h[part], z.shape[1], who), z, rows, f"{who}: its model", code)


def _fitted(
    fit: Callable[[], None],
    answer: Callable[[NDArray[np.intp]], FloatArray],
    z: FloatArray,
    rows: Rows,
    what: str,
    code: Sequence[Any],
) -> Outcome:
    """Fit a model, and compare its answers for given rows with their (n, m) z, where those were measured."""
    metrics: dict[str, float] = {}
    try:
        fit()
        for prefix, part in (("", rows.train), ("val_", rows.validation)):
            if len(part):
                error = (answer(part) - z[part])[np.isfinite(z[part])]
                metrics[f"{prefix}loss"] = float(np.mean(error**2))
                metrics[f"{prefix}mae"] = float(np.mean(np.abs(error)))
    except NOT_FAULTS:
        raise
    except Exception as error:  # a model's own code may raise anything; the trial failed
        return Outcome(0, message=f"{what} failed: {told(error, code)}")
    except BaseException as error:  # not for want of a fit: it asked to end the program
        raise fault_of(what, error, code=code) from error
    return Outcome(1, metrics)


def keras_answer(net: keras.Model, h: FloatArray, outputs: int, who: str) -> FloatArray:
    """Return the (n, m) mean of a Keras model for (n, e) inputs; it may be (n,) for one output.

    A model with a `predict` of its own knows how to answer without having anything compiled.
    """
    import keras
    from keras import ops

    own, pieces = type(net).predict is not keras.Model.predict, []
    for at in range(0, len(h), ROWS):
        piece = np.asarray(h[at : at + ROWS], np.float32)
        count = max(FEWEST, 1 << (len(piece) - 1).bit_length())  # few sizes: each is compiled for itself
        answer = net.predict(piece) if own else net(np.resize(piece, (count, piece.shape[1])), training=False)
        pieces.append(np.asarray(ops.convert_to_numpy(mean_of(answer)), dtype=np.float64)[: len(piece)])
    found = np.concatenate(pieces)
    if found.size != len(h) * outputs:
        raise PluginError(f"{who} answers {found.shape} for {plural(len(h), 'row')}, expected ({len(h)}, {outputs})")
    return found.reshape(len(h), outputs)


class ScaledRegressor:
    """A regressor from (n, e) inputs, standardised or raw, to (n, m) z, used with raw inputs."""

    def __init__(self, model: Any, scaling: Scaling, scaled_inputs: bool) -> None:
        self.model, self.scaling, self.scaled_inputs = copy.copy(model), scaling, scaled_inputs

    def z(self, x: Any) -> Any:
        """Answer (n, m) z for (n, e) raw inputs."""
        h = self.scaling.inputs(x) if self.scaled_inputs else x
        with plugin_errors("the regressor", f"this is a fault of {type(self.model).__name__}", code=[self.model]):
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
        raise PluginError(f"{who} built {type(model).__name__}, which can't be pickled: {error}") from error
