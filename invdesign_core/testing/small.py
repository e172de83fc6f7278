"""Small data and a small trained surrogate, for tests that need one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from invdesign_core.data.data import Data
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Variable
from invdesign_core.surrogate.surrogate import Surrogate


def small_data(rows: int = 48, outputs: Sequence[str] = ("sum", "product"), category: bool = False) -> Data:
    """Return a table of two numbers, and with `category` one of two labels, and what follows from them.

    Parameters
    ----------
    rows : int
        Number of rows.
    outputs : sequence of str
        Of ``sum`` and ``product``.
    category : bool
        Whether there is a categorical variable too.

    Examples
    --------
    >>> small_data(8).space.names
    ('a', 'b')
    """
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.uniform(1, 3, rows), "b": rng.uniform(-1, 1, rows)})
    variables = [Variable("a", lower=1.0, upper=3.0), Variable("b", lower=-1.0, upper=1.0)]
    if category:
        frame["kind"] = np.array(["x", "y"])[np.arange(rows) % 2]
        variables.append(Variable("kind", "categorical", levels=("x", "y")))
    known = {"sum": frame["a"] + frame["b"], "product": frame["a"] * frame["b"]}
    whole = frame.assign(**{name: known[name] for name in outputs})
    return Data(whole, Space(tuple(variables)), tuple(outputs), name="small")


def small_surrogate(units: int = 8, epochs: int = 30) -> Surrogate:
    """Return a small network that has learnt `small_data`, for tests of what is done with surrogates."""
    import keras

    from invdesign_core.plugin import SurrogateBuilder

    class Net(SurrogateBuilder):
        name = "small-net"

        def build(self, hp: Any, data: Any, ctx: Any) -> Any:
            net = keras.Sequential([keras.Input((data.space.width,)), keras.layers.Dense(units, activation="tanh")])
            net.add(keras.layers.Dense(len(data.outputs)))
            net.compile(keras.optimizers.Adam(2e-2), "mse")
            return net

    surrogate: Surrogate = trained(Net(), small_data(), epochs).surrogate
    return surrogate


def trained(builder: Any, data: Data, epochs: int, seed: int = 0) -> Any:
    """Return the model that a builder's defaults give, trained for some epochs."""
    from invdesign_core.context import Context
    from invdesign_core.plugin import Trial, Tuner
    from invdesign_core.surrogate.settings import Training
    from invdesign_core.workflow.train import fit

    class Once(Tuner):
        name = "once"

        def search(self, space: Any, evaluate: Any, ctx: Any) -> None:
            evaluate([Trial()])

    return fit(data, builder, Once(), Training(epochs=epochs, batch_size=16), Context(seed))
