"""The Python API: fit a surrogate to designs and responses, predict, and invert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core import backend, pipeline
from invdesign_core.context import Context, Event
from invdesign_core.data import Data
from invdesign_core.errors import ConfigError, InvdesignError
from invdesign_core.experiment import Experiment
from invdesign_core.plugin import KINDS, Plugin
from invdesign_core.registry import Registry
from invdesign_core.results import SurrogateReport
from invdesign_core.solving import check_solver
from invdesign_core.targets import parse_targets

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.designs import Answers
    from invdesign_core.surrogate import Surrogate

PluginLike = str | Mapping[str, Any] | Plugin
"""A plugin by name, as a mapping with `use` and its options, or as an object."""


class InverseDesign:
    """Learn a forward map from a table, and ask it which inputs give a wanted output.

    Parameters
    ----------
    surrogate, tuner, objective, solver : str, mapping or plugin
        By name, by a mapping such as ``{"use": "lbfgsb", "starts": 16}``, or as an object.
    training : mapping, optional
        Keys of the `[training]` section.
    bounds : mapping, optional
        Lowest and highest value of a variable; by default those of the data.
    fixed : mapping, optional
        Variables held at one value.
    designs : int
        Distinct designs to report.
    seed : int
        Fixes training, starts and result on one machine.
    backend : str, optional
        ``jax`` or ``tensorflow``; by default ``$KERAS_BACKEND``, else jax. Once Keras is imported it stays.
    registry : Registry, optional
        The plugins; by default those installed.

    Attributes
    ----------
    surrogate_ : Surrogate
        The trained forward map.
    report_ : SurrogateReport
        Trials, winner and test metrics.
    data_ : Data
        What it learnt from.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(0, 1, (200, 2))
    >>> y = X[:, 0] + X[:, 1]
    >>> model = InverseDesign(surrogate={"use": "selu-mlp", "learning_rate": (3e-3, 3e-3)}).fit(X, y)
    >>> answers = model.invert({"y": 1.3})
    >>> bool(answers.designs["met"][0])
    True
    """

    def __init__(
        self,
        surrogate: PluginLike = "selu-mlp",
        tuner: PluginLike = "grid-search",
        objective: PluginLike = "mse",
        solver: PluginLike = "lbfgsb",
        *,
        training: Mapping[str, Any] | None = None,
        bounds: Mapping[str, Sequence[float]] | None = None,
        fixed: Mapping[str, Any] | None = None,
        designs: int = 5,
        seed: int = 0,
        backend: str | None = None,
        registry: Registry | None = None,
    ) -> None:
        self.surrogate = surrogate
        self.tuner = tuner
        self.objective = objective
        self.solver = solver
        self.training = training
        self.bounds = bounds
        self.fixed = fixed
        self.designs = designs
        self.seed = seed
        self.backend = backend
        self.registry = registry

    def fit(self, X: Any, y: Any) -> InverseDesign:
        """Tune and train a surrogate.

        Parameters
        ----------
        X : DataFrame or array
            (n, d) designs; an array's variables are called x1, x2, ….
        y : DataFrame, Series or array
            (n,) or (n, m) responses; an array's are called y, or y1, y2, ….

        Raises
        ------
        InvdesignError
            If the data can't be used, a plugin is missing, or nothing usable came out of training.
        """
        return self.fit_data(_table(X, y))

    def fit_data(self, data: Data) -> InverseDesign:
        """Tune and train a surrogate on data of a dataset plugin."""
        backend.select(self.backend)
        plugins = self._plugins(["surrogate", "tuner", "objective", "solver"])
        self._check(plugins)
        training = Experiment.from_mapping({"training": dict(self.training or {})}).training
        fitted = pipeline.fit(data, plugins["surrogate"], plugins["tuner"], training, self._context())
        self.data_ = data
        self.surrogate_: Surrogate = fitted.surrogate
        self.report_: SurrogateReport = fitted.report
        self.known_ = fitted.known
        return self

    def predict(self, X: Any) -> Any:
        """Return the surrogate's answer for (n, d) designs: (n,) for one output, (n, m) for several."""
        surrogate = self._fitted()
        frame = _frame(X, surrogate.space.names)
        mean = surrogate.predict(surrogate.space.encode(frame)).mean
        return mean[:, 0] if mean.shape[1] == 1 else mean

    def invert(self, target: Any) -> Answers:
        """Find the inputs whose output is the target.

        Parameters
        ----------
        target : mapping, number or str
            What is wanted of each output: ``{"y": 2}``, ``{"H2": ">=0.3", "N2": "0.3..0.34"}``, or a
            bare value where there is one output.

        Returns
        -------
        Answers
            ``.designs``, the distinct designs best first, and ``.starts``, every start, as DataFrames.
        """
        surrogate = self._fitted()
        plugins = self._plugins(["objective", "solver"])
        self._check({"surrogate": self._plugins(["surrogate"])["surrogate"], **plugins})
        if not isinstance(target, Mapping):
            if len(surrogate.outputs) != 1:
                listed = ", ".join(map(repr, surrogate.outputs))
                raise ConfigError(
                    f"which of {len(surrogate.outputs)} outputs?", f"give a mapping; the outputs are {listed}"
                )
            target = {surrogate.outputs[0]: target}
        wanted = parse_targets(target, surrogate.outputs)
        if not wanted:
            raise ConfigError("no target is named", "for example {" + f"{surrogate.outputs[0]!r}: 1" + "}")
        return pipeline.invert(
            surrogate,
            wanted,
            surrogate.space.restrict(self.bounds, self.fixed),
            plugins["objective"],
            plugins["solver"],
            self._context(),
            self.known_,
            self.data_.truth,
            self.designs,
        )

    def _context(self) -> Context:
        return Context(self.seed, emit=_warn)

    def _fitted(self) -> Surrogate:
        if not hasattr(self, "surrogate_"):
            raise InvdesignError("this InverseDesign is not fitted yet", "call fit(X, y) first")
        return self.surrogate_

    def _plugins(self, kinds: Sequence[str]) -> dict[str, Any]:
        """Return the plugins of some kinds, made from names where they are no objects."""
        found: dict[str, Any] = {}
        for kind in kinds:
            given: Any = getattr(self, kind)
            if isinstance(given, Plugin):
                if not isinstance(given, KINDS[kind]):
                    raise ConfigError(f"{kind}: found a {given.kind} ({given.name!r})")
                found[kind] = given
                continue
            choice = {"use": given} if isinstance(given, str) else dict(given)
            found[kind] = self._registry().create(kind, choice.pop("use", ""), choice)
        return found

    def _check(self, plugins: Mapping[str, Any]) -> None:
        surrogate = plugins["surrogate"]
        installed = self._registry().labels("solver")
        check_solver(plugins["solver"], plugins["objective"], surrogate.differentiable, surrogate.name, installed)

    def _registry(self) -> Registry:
        if self.registry is not None:
            return self.registry
        if not hasattr(self, "_discovered"):
            self._discovered = Registry.discover()
        return self._discovered


def _table(X: Any, y: Any) -> Data:
    """Join designs and responses, giving names where they have none."""
    import pandas as pd

    designs = _frame(X, None)
    if isinstance(y, pd.DataFrame):
        responses = y.rename(columns=str)
    elif isinstance(y, pd.Series):
        responses = y.to_frame(name=str(y.name) if y.name is not None else "y")
    else:
        values = np.asarray(y)
        values = values[:, None] if values.ndim == 1 else values
        names = ["y"] if values.shape[1] == 1 else [f"y{i + 1}" for i in range(values.shape[1])]
        responses = pd.DataFrame(values, columns=names)
    if len(designs) != len(responses):
        raise ConfigError(f"X has {len(designs)} rows, y has {len(responses)}", "row i of X belongs to row i of y")
    frame = pd.concat([designs.reset_index(drop=True), responses.reset_index(drop=True)], axis=1)
    return Data.from_frame(frame, list(responses.columns), list(designs.columns))


def _frame(X: Any, names: Sequence[str] | None) -> pd.DataFrame:
    """Return designs as a table."""
    import pandas as pd

    if isinstance(X, pd.DataFrame):
        return X.rename(columns=str)
    values = np.asarray(X)
    if values.ndim != 2 or (names is not None and values.shape[1] != len(names)):
        expected = f"(n, {len(names)})" if names is not None else "(n, d)"
        raise ConfigError(f"X has shape {values.shape}, expected {expected}")
    return pd.DataFrame(values, columns=list(names or [f"x{i + 1}" for i in range(values.shape[1])]))


def _warn(event: Event) -> None:
    if event.kind == "warning":
        import warnings

        warnings.warn(str(event.data["text"]), stacklevel=3)
