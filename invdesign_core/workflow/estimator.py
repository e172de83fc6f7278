"""The Python API: a scikit-learn regressor that can also be inverted."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import estimator_html_repr

from invdesign_core.context import Context, Event
from invdesign_core.data.bookkeeping import LeaveOut, leave_out_line
from invdesign_core.data.data import Data, TrainingRows
from invdesign_core.data.own_columns import as_targets, is_written_by_us
from invdesign_core.data.plausible import check_values
from invdesign_core.data.quality import bounds_warnings, tell
from invdesign_core.data.sklearn_input import UnfittedError, bad_input, encode, further, join, out_of_x
from invdesign_core.designs.answers import Answers
from invdesign_core.designs.report import RaceReport, StartsReport, SurrogateReport, TableReport, truth_report
from invdesign_core.errors import ConfigError, OutOfTimeError, require
from invdesign_core.plugin import KINDS, Objective, Plugin, Solver
from invdesign_core.registry import OWN, Registry
from invdesign_core.report import plots
from invdesign_core.report.notebook import model_html
from invdesign_core.report.payload import Material
from invdesign_core.search.inverse_problem import InverseProblem
from invdesign_core.space.units import Units
from invdesign_core.space.variables import plain
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.second_model import SecondModel
from invdesign_core.surrogate.settings import Confidence
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Target, parse_targets
from invdesign_core.truth.simulated import Truth
from invdesign_core.truth.simulator import beside_rows
from invdesign_core.workflow import saved
from invdesign_core.workflow.conditions import predicted_over
from invdesign_core.workflow.confidence import second_model
from invdesign_core.workflow.derived import Understood
from invdesign_core.workflow.design import Design
from invdesign_core.workflow.experiment import Experiment
from invdesign_core.workflow.inverse import invert, invert_many, pose, time_limit_of
from invdesign_core.workflow.others import check_object, check_plugins
from invdesign_core.workflow.pages import of_table, shown_of, with_page
from invdesign_core.workflow.propose import as_told, belief_of, propose_anywhere, propose_for, table_of
from invdesign_core.workflow.race import learn
from invdesign_core.workflow.result import make_report, tally, with_verdict
from invdesign_core.workflow.rounds import TWICE, Trainers, on_or_again, widened, with_rows
from invdesign_core.workflow.run_folder import installed
from invdesign_core.workflow.solver_choice import Requirements, check_solver, pick_solver
from invdesign_core.workflow.train import ForwardModel
from invdesign_core.workflow.truths import truth_of

if TYPE_CHECKING:
    import pandas as pd

PluginLike = str | Mapping[str, Any] | Plugin
"""A plugin by name, as a mapping with `use` and its options, or as an object."""


class InverseDesign(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Learn a forward map from a table, and ask it which inputs give a wanted output.

    It is a scikit-learn regressor: `clone`, pipelines, cross-validation and grid search take it, `score` is
    R². Parameters are stored as they are, and looked at by `fit`.

    Parameters
    ----------
    surrogate, tuner, objective, solver : str, mapping or plugin
        By name, by a mapping such as ``{"use": "lbfgsb", "starts": 16}``, or as an object. A name may have its
        distribution in front, as the defaults have: ``invdesign:mse`` is never the ``mse`` of another one. The
        solver ``auto`` is the first of the installed ones that can take the surrogate and the objective.
    training : mapping, optional
        Keys of the `[training]` section.
    bounds, fixed, conditions, levels, step, log, margin, constraints, near, fewest_changes, stay_near_data, designs
        Keys of the `[design]` section: what may vary and how, what answers are to be near to, and how many
        distinct designs to report.
    truth : callable, str or mapping, optional
        A simulator, by which designs are judged: a function from a DataFrame of designs to one of outputs, its place
        ``module:function``, or keys of the `[truth]` section. By default that of the data, where they have one.
    confidence : mapping, optional
        Keys of the `[confidence]` section: the `level` of the intervals at the designs, and the second `model` that
        they come from. It is trained when designs are first asked for.
    units : mapping, optional
        Units of columns, such as ``{"flow": "m^3/s"}``, beside those that stand in brackets in the names of columns.
        Targets and the parameters above may then be text with another unit, such as ``"2 L/min"``.
    derive : mapping, optional
        Quantities that follow from inputs by a formula, such as ``{"cost": "2.1*resin + 0.8*filler"}``. They are shown
        with every design, and may be targets.
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
    race_ : RaceReport or None
        The candidates' cross-validated errors where the surrogate was chosen by a race (``surrogate="auto"``).
    data_ : Data
        What it learnt from; not there after `load`.
    known_ : TrainingRows
        The rows that training saw, from which searches may start: ``x``, (n, e) encoded designs, ``y``, (n, m)
        outputs, and ``rows``, (n,) their numbers in the table, of which the first is 1; ``held_out``, the same of
        the rows for the test.
    truth_ : callable or None
        The true forward model that came with the data, by which designs are judged.
    units_ : dict
        The units of columns, where they are known.
    second_ : SecondModel or None
        The model that tells how far answers can be trusted; not there before the first `invert`.
    n_features_in_ : int
        Number d of design variables.
    feature_names_in_ : ndarray of str
        (d,) their names, where X had names.

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

    surrogate_: Surrogate
    report_: SurrogateReport
    race_: RaceReport | None
    data_: Data
    known_: TrainingRows
    truth_: Callable[[pd.DataFrame], pd.DataFrame] | None
    second_: SecondModel | None
    units_: dict[str, str]

    def __init__(
        self,
        surrogate: PluginLike = f"{OWN}:auto",
        tuner: PluginLike = f"{OWN}:grid-search",
        objective: PluginLike = f"{OWN}:mse",
        solver: PluginLike = "auto",
        *,
        training: Mapping[str, Any] | None = None,
        bounds: Mapping[str, Sequence[Any]] | None = None,
        fixed: Mapping[str, Any] | None = None,
        conditions: Mapping[str, Any] | None = None,
        levels: Mapping[str, Sequence[Any]] | None = None,
        step: Mapping[str, float | Mapping[str, float]] | None = None,
        log: Sequence[str] = (),
        margin: float = 0.0,
        constraints: Sequence[str] = (),
        near: Mapping[str, Any] | None = None,
        fewest_changes: bool = False,
        stay_near_data: bool = False,
        designs: int = 5,
        truth: Callable[[pd.DataFrame], pd.DataFrame] | str | Mapping[str, Any] | None = None,
        confidence: Mapping[str, Any] | None = None,
        units: Mapping[str, str] | None = None,
        derive: Mapping[str, str] | None = None,
        seed: int = 0,
        backend: str | None = None,
        registry: Registry | None = None,
    ) -> None:
        self.surrogate, self.tuner, self.objective, self.solver = surrogate, tuner, objective, solver
        self.training, self.seed, self.backend, self.registry = training, seed, backend, registry
        self.bounds, self.fixed, self.levels, self.step, self.log = bounds, fixed, levels, step, log
        self.conditions, self.confidence = conditions, confidence
        self.margin, self.constraints, self.designs = margin, constraints, designs
        self.near, self.fewest_changes, self.stay_near_data = near, fewest_changes, stay_near_data
        self.truth, self.units, self.derive = truth, units, derive

    def fit(self, X: Any, y: Any) -> Self:
        """Tune and train a surrogate.

        Parameters
        ----------
        X : DataFrame or array-like
            (n, d) designs. A DataFrame's columns may be numbers, whole numbers, truth values or text; anything
            else has to be numbers, and its variables are called x1, x2, ….
        y : DataFrame, Series or array-like
            (n,) or (n, m) responses; an array's are called y, or y1, y2, ….

        Returns
        -------
        InverseDesign
            Itself.

        Raises
        ------
        InputError
            If X or y can't be used; also a ValueError and a TypeError, as scikit-learn has it.
        InvdesignError
            If a plugin is missing, an option is refused, or nothing usable came out of training.
        """
        return self._fit(join(self, X, y), out_of_x(X))

    def fit_data(self, data: Data) -> Self:
        """Tune and train a surrogate on data of a dataset plugin."""
        require(data, Data, "fit_data", "the Data of a dataset plugin", "a table goes into fit(X, y)")
        check_values(data)
        self.n_features_in_ = len(data.space.names)
        self.feature_names_in_ = np.array(data.space.names, dtype=object)
        return self._fit(data)

    def partial_fit(self, X: Any, y: Any) -> Self:
        """Learn further rows, from where the surrogate is; before a fit it is `fit`.

        Networks train on from their weights, and processes are fitted again. Rows held out for the test stay so. Once
        the rows have doubled since, all is trained from the beginning.

        Parameters
        ----------
        X : DataFrame or array-like
            (k, d) designs, with the columns of the fit; or a table of designs as `propose` and `invert` give them.
        y : DataFrame, Series or array-like
            (k,) or (k, m) responses, NaN where one was not measured.

        Returns
        -------
        InverseDesign
            Itself.

        Raises
        ------
        InputError
            If X or y can't be used.
        """
        if not hasattr(self, "surrogate_"):
            return self.fit(X, y)
        surrogate, registry, ctx = self.surrogate_, self._registry(), self._context()
        designs, responses = further(self, X, y, surrogate.space, surrogate.outputs, self.known_, self._of_columns()[0])
        before = ForwardModel(surrogate, self.report_, self.known_)
        space = widened(surrogate.space, designs)
        data = with_rows(before, space.encode(designs), responses, space)
        builder, tuner = (self._plugin(kind, registry) for kind in ("surrogate", "tuner"))
        training = Experiment.from_mapping({"training": self.training or {}}).training
        by = Trainers(builder, tuner, training, registry)
        since = getattr(self, "_rows_at_the_beginning", len(self.known_.x))
        twice = len(self.known_.x) + len(designs) >= TWICE * since
        model, again = on_or_again(before, data, by, (), twice, ctx)
        self._rows_at_the_beginning = len(model.known.x) if again else since
        self.data_, self.surrogate_, self.report_, self.known_ = data, model.surrogate, model.report, model.known
        self.race_ = model.report.race
        if hasattr(self, "second_"):  # of the rows before
            del self.second_
        return self

    def propose(self, n: int = 6, target: Any = None, repeats: bool = False) -> pd.DataFrame:
        """Propose the experiments that teach most.

        Parameters
        ----------
        n : int
            How many, different from each other.
        target : mapping, number or str, optional
            As `invert` takes it: they are where they may come nearest to it. Without one they are where least is known.
        repeats : bool
            Whether designs that were measured may be proposed again.

        Returns
        -------
        DataFrame
            A column for each design variable, and of each output ``prediction.NAME``, ``low_new.NAME`` and
            ``high_new.NAME``, between which a measurement should lie; ``probability`` that it meets the target.
        """
        require(n, (int, np.integer), "n", "a whole number")
        if n < 1:
            raise ConfigError(f"n: found {n}, expected 1 or more")
        surrogate = self._fitted()
        belief = belief_of(surrogate, self.known_, self._registry(), self._context())
        if target is None:
            space = self._design().apply(surrogate.space, surrogate.outputs)
            found = propose_anywhere(space, belief, surrogate, n, self._context(), repeats)
            found = as_told(found, self._second(self._context(), self._registry()), self.known_.y)
        else:
            problem, ctx = self._problem(self._wanted(target))
            space, (found,) = problem.space, propose_for(problem, belief, n, ctx, repeats)
            found = as_told(found, problem.second, self.known_.y, problem.targets)
        outputs = list(surrogate.outputs)
        return table_of(space.decode(found.x), outputs, found).drop(columns=outputs)

    def predict(self, X: Any) -> Any:
        """Return the surrogate's answer.

        Parameters
        ----------
        X : DataFrame or array-like
            (n, d) designs, with the columns of the fit in their order. A DataFrame of designs as `invert` gives
            them will do too: columns ``design.NAME`` are taken, and the others are left aside.

        Returns
        -------
        ndarray
            (n,) for one output, (n, m) for several, in the units of y.

        Raises
        ------
        InputError
            If X can't be used.
        """
        surrogate = self._fitted()
        if hasattr(X, "columns") and is_written_by_us(map(str, X.columns)):
            quiet = Context(self._context().seed)
            with bad_input():
                surrogate, X = predicted_over(surrogate, getattr(self, "known_", None), X.rename(columns=str), quiet)
        mean = surrogate.predict(encode(self, X, surrogate.space, surrogate.outputs)).mean
        return mean[:, 0] if mean.shape[1] == 1 else mean

    def invert(self, target: Any) -> Answers:
        """Find the inputs whose output is the target.

        Parameters
        ----------
        target : mapping, number, str or DataFrame
            What is wanted of each output: ``{"y": 2}``, ``{"H2": ">=0.3", "N2": "0.3..0.34"}``, or a
            bare value where there is one output. A DataFrame holds a target in each row: a column is an
            output, or a design variable (``NAME`` or ``design.NAME``) that is held at its row's value, whatever
            `fixed` and `bounds` say of it.

        Returns
        -------
        Answers
            ``.designs``, the distinct designs best first, and ``.starts``, every start, as DataFrames; their
            column ``target`` is the number of the target, from 0. After Ctrl-C or a time limit in a table they hold the
            targets that were solved by then, and ``.interrupted`` is true, ``.out_of_time`` too if it was the limit.

        Raises
        ------
        KeyboardInterrupt
            If Ctrl-C was pressed before any target of a table was solved.
        OutOfTimeError
            If the solver's `time_limit` passed before any target of a table was solved.
        """
        self._fitted()
        if hasattr(target, "columns"):
            return self._invert_table(target)
        problem, ctx = self._problem(self._wanted(target))
        return self._with_page(replace(invert(problem, ctx), units=self._units().of), problem, ctx)

    def plot_fit(self, *, backend: str = "plotly") -> Any:
        """Draw predicted over measured for each output.

        The rows are those that the surrogate did not learn from: test rows, or rows left out in turn.

        Parameters
        ----------
        backend : str
            ``plotly`` or ``matplotlib``.

        Returns
        -------
        plotly.graph_objects.Figure or matplotlib.figure.Figure
            The figure.

        Raises
        ------
        ConfigError
            If the library is not installed.
        """
        return plots.fit(self._fitted(), self.known_, self.report_, backend)

    def _repr_html_inner(self) -> str:
        """Show how good the surrogate is and the race that chose it, below scikit-learn's diagram."""
        diagram: str = estimator_html_repr(self)
        return diagram + (model_html(self.report_) if hasattr(self, "report_") else "")

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """Show the same where a notebook asks for a bundle."""
        bundle: dict[str, str] = super()._repr_mimebundle_(**kwargs)
        return bundle | ({"text/html": self._repr_html_inner()} if "text/html" in bundle else {})

    def _wanted(self, target: Any) -> dict[str, Target]:
        """Return one target from a mapping or a bare value."""
        surrogate = self._fitted()
        outputs = surrogate.outputs
        if not isinstance(target, Mapping):
            if len(outputs) != 1:
                raise ConfigError(
                    f"there are {len(outputs)} outputs; name the one this target is for",
                    f"give a mapping; the outputs are {', '.join(map(repr, outputs))}",
                )
            target = {outputs[0]: target}
        wanted = parse_targets(target, outputs, None, surrogate.space, *self._of_columns())
        if not wanted:
            raise ConfigError("no target is given", f"for example {{{outputs[0]!r}: 1}}")
        return wanted

    def _with_page(self, answers: Answers, problem: InverseProblem, ctx: Context) -> Answers:
        """Return answers that can write their report."""
        plugins = {"surrogate": self.report_.plugin or "surrogate", "solver": problem.solver.name}
        running = backend.select(None)
        report = make_report(answers, self.report_, None, plugins, running, [], ctx, units=answers.units)
        material = Material(report, self.surrogate_, problem.space, self.known_, answers.scenarios, answers.starts)
        return with_page(answers, replace(material, versions=installed(), second=problem.second))

    def _problem(self, asked: Mapping[str, Target] | pd.DataFrame) -> tuple[InverseProblem, Context]:
        """Return the inverse problem of one target or a table; say where its space goes beyond the data."""
        surrogate, ctx, registry = self._fitted(), self._context(), self._registry()
        name, objective = self.report_.plugin or "surrogate", self._plugin("objective", registry)

        def choose(extremum: bool) -> Solver:
            return self._solver(registry, objective, name, surrogate.differentiable, extremum)

        truth = beside_rows(self._true_model(), self.known_.measured.y, surrogate.outputs)
        model = ForwardModel(surrogate, self.report_, self.known_, truth, self._second(ctx, registry))
        problem = pose(model, surrogate.space, self._understood(self._said()), asked, objective, choose, ctx)
        for doubt in bounds_warnings(problem.space, surrogate.space):
            ctx.warn(doubt)
        return problem, ctx

    def _second(self, ctx: Context, registry: Registry) -> SecondModel | None:
        """Return the second model, trained where that has not been done; None where there is to be none."""
        confidence = self._confidence()
        if not confidence.wanted:
            return None
        if not hasattr(self, "second_"):
            model = ForwardModel(self._fitted(), self.report_, self.known_)
            self.second_ = second_model(model, confidence, ctx, registry)
        return None if self.second_ is None else replace(self.second_, level=confidence.level)

    def _confidence(self) -> Confidence:
        return Experiment.from_mapping({"confidence": self.confidence or {}}).confidence

    def _invert_table(self, frame: pd.DataFrame) -> Answers:
        """Find designs for each row of a table of targets, in chunks whose number of starts is bounded."""
        surrogate = self._fitted()
        problem, ctx = self._problem(
            as_targets(frame, surrogate.space, surrogate.outputs, self._context(), self._units())
        )
        parts, out_of_time = list[tuple[int, Answers]](), False
        try:
            for first, found in invert_many(problem, ctx):
                out_of_time = found is not None and found.out_of_time
                if found is None or found.interrupted:  # some of its targets were hardly looked at
                    raise KeyboardInterrupt
                parts.append((first, found))
        except KeyboardInterrupt:
            why = f"{time_limit_of(problem.solver)} ended the search" if out_of_time else "stopped by Ctrl-C"
            if not parts and out_of_time:
                raise OutOfTimeError(f"{why} before any target was solved") from None
            if not parts:
                raise
            solved = sum(len(found.targets) for _, found in parts)
            ctx.warn(f"{why}: the first {solved} of {len(frame)} targets are solved, the others are not there")
        found = Answers.joined(problem.targets, parts)
        answers = replace(found, out_of_time=out_of_time, units=self._units().of)
        return answers if answers.interrupted else self._with_page_of_table(answers, problem, ctx)

    def _with_page_of_table(self, answers: Answers, problem: InverseProblem, ctx: Context) -> Answers:
        """Return answers to a table that can write their report."""
        designs = answers.designs
        report = TableReport(
            out="",
            run="",
            verdict="",
            units=dict(answers.units),
            **tally(designs, problem.targets, 0),
            starts=StartsReport(**answers.counts()),
            truth=truth_report(answers.simulated),
            plugins={"surrogate": self.report_.plugin or "surrogate", "solver": problem.solver.name},
            seed=ctx.seed,
            backend=backend.select(None),
            notes=[],
            seconds=ctx.clock.report(),
        )
        report = with_verdict(report, self.report_, problem.targets, problem.truth is not None)
        learnt = (self.surrogate_, self.known_, self.report_)
        material = of_table(report, problem, *learnt, shown_of([designs]), 0)
        return with_page(answers, replace(material, versions=installed()))

    def save(self, folder: str | Path) -> None:
        """Write the fitted estimator as plain files, under a temporary name that is then changed.

        Predictions and inversions are the same after `load`, in another process and on the other backend
        too. Not written are `data_`, `truth`, `truth_` and `registry`.

        Parameters
        ----------
        folder : path
            A new or empty folder, or one with an earlier save, which is replaced.

        Raises
        ------
        PluginError
            If a plugin was given as an object whose class is not installed.
        ConfigError
            If a parameter is no plain value.
        RunStoreError
            If the folder is not empty or can't be written.
        """
        require(folder, (str, Path), "save", "the path of a folder")
        surrogate, registry = self._fitted(), self._registry()
        names = getattr(self, "feature_names_in_", None)
        params = {k: v for k, v in self.get_params(deep=False).items() if k not in ("registry", "truth")}
        about = {
            "params": {name: saved.plain(name, value, registry) for name, value in params.items()},
            "n_features_in": self.n_features_in_,
            "feature_names_in": None if names is None else list(names),
            "report": self.report_.model_dump(mode="json"),
            "units": getattr(self, "units_", {}),
        }
        saved.write(Path(folder), about, surrogate, self.known_, getattr(self, "second_", None))

    @classmethod
    def load(cls, folder: str | Path, allow_code: bool = False) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        folder : path
            The folder.
        allow_code : bool
            Whether code in the files may run: pickled regressors, `Lambda` layers.

        Raises
        ------
        RunStoreError
            If no estimator was saved there.
        DataError
            If the surrogate can't be loaded, or only by running code.
        """
        require(folder, (str, Path), "load", "the path of a folder")
        about = saved.read_about(Path(folder))
        model = cls(**about["params"])
        _start_keras(model.backend)
        model.surrogate_, model.known_ = saved.read_surrogate(Path(folder), allow_code)
        second = saved.read_second(Path(folder), model._confidence())
        if second is not None:
            model.second_ = second
        model.report_ = SurrogateReport.model_validate(about["report"])
        model.race_ = model.report_.race
        model.truth_, model.units_ = None, about.get("units", {})
        model.n_features_in_ = about["n_features_in"]
        if about["feature_names_in"] is not None:
            model.feature_names_in_ = np.array(about["feature_names_in"], dtype=object)
        return model

    def __getstate__(self) -> dict[str, Any]:
        state = {key: value for key, value in self.__dict__.items() if key != "_asked"}
        # Copies have compiled nothing yet. As bytes, they are read after the backend is chosen.
        with backend.lean():
            if "surrogate_" in state:
                state["surrogate_"] = pickle.dumps(replace(self.surrogate_))
            second: SecondModel | None = state.get("second_")
            if second is not None:
                state["second_"] = pickle.dumps(replace(second, surrogate=replace(second.surrogate)))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "surrogate_" in state:
            _start_keras(self.backend)
        for name in ("surrogate_", "second_"):
            if state.get(name) is not None:
                with backend.lean():
                    setattr(self, name, pickle.loads(state[name]))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _fit(self, data: Data, leave_out: LeaveOut = leave_out_line) -> Self:
        backend.select(self.backend)
        registry = self._registry()
        builder, tuner, objective = (self._plugin(kind, registry) for kind in ("surrogate", "tuner", "objective"))
        self._solver(registry, objective, builder.name, builder.differentiable)  # refused now if it can't take them
        training = Experiment.from_mapping({"training": self.training or {}}).training
        ctx = self._context()
        check_plugins([builder, tuner, objective], data, ctx)
        space = self._design(data).apply(data.space, data.outputs) if self.constraints else data.space
        tell(data, ctx, space, training.scale, leave_out)
        model = learn(data, builder, tuner, training, ctx, registry=registry)
        self.units_ = dict(self._units(data).of)
        self.data_, self.surrogate_, self.report_ = data, model.surrogate, model.report
        if hasattr(self, "second_"):
            del self.second_
        self.race_ = model.report.race
        self.known_, self.truth_ = model.known, data.truth
        return self

    def _true_model(self) -> Truth | None:
        """Return the simulator, else the data's true model, with what it said before."""
        given = self.truth_ if self.truth is None else self.truth
        before, found = getattr(self, "_asked", (None, None))
        if found is None or before is not given:
            found = truth_of(given)
            self._asked = (given, found)
        return found

    def _design(self, data: Data | None = None) -> Design:
        """Return what may vary, from the parameters, in the units of the columns where these are known by now."""
        said = self._said()
        return said if data is None and not hasattr(self, "surrogate_") else self._understood(said, data).design

    def _said(self) -> Design:
        """Return what may vary as the parameters say it."""
        given = {key: plain(getattr(self, key, None)) for key in Design.model_fields}
        said = {key: value for key, value in given.items() if value is not None}
        return Design.from_mapping(said, "InverseDesign")

    def _units(self, data: Data | None = None) -> Units:
        """Return the units of all columns: those that came with the data, and those that the user says."""
        return self._understood(Design(), data).units

    def _of_columns(self) -> tuple[Units, Mapping[str, str]]:
        """Return the units of columns, and the formulas of inputs by name."""
        said = self._understood(Design())
        return said.units, said.derive

    def _understood(self, design: Design, data: Data | None = None) -> Understood:
        known = self._fitted() if data is None else data
        found = getattr(self, "units_", None) if data is None else data.units
        units, derive = self.units, plain(getattr(self, "derive", None)) or {}
        require(derive, Mapping, "derive", "a mapping from names to formulas", 'for example {"cost": "2*a + b"}')
        return Understood.of(design, known.space, known.outputs, units, derive, found)

    def _context(self) -> Context:
        require(self.seed, (int, np.integer), "seed", "a whole number")
        if self.seed < 0:
            raise ConfigError(f"seed: found {self.seed}, expected 0 or more")
        return Context(self.seed, emit=_warn)

    def _fitted(self) -> Surrogate:
        if not hasattr(self, "surrogate_"):
            raise UnfittedError("this InverseDesign is not fitted yet", "call fit(X, y) first")
        return self.surrogate_

    def _plugin(self, kind: str, registry: Registry) -> Any:
        """Return a parameter's plugin, made from its name and options where it is no object."""
        given = self._given(kind)
        return given if isinstance(given, Plugin) else registry.create(kind, *given)

    def _solver(
        self, registry: Registry, objective: Objective, surrogate: str, differentiable: bool, extremum: bool = False
    ) -> Solver:
        """Return a solver that can take such a surrogate, named for messages, and such targets."""
        demand = Requirements(objective, surrogate, differentiable, self._design().linear, extremum)
        given = self._given("solver")
        if isinstance(given, Solver):
            return check_solver(given, demand, registry.labels("solver"))
        use, options = given
        return pick_solver(registry, use, options, demand)

    def _given(self, kind: str) -> Any:
        """Return a parameter's plugin, or its name and its options."""
        given = getattr(self, kind)
        if isinstance(given, Plugin):
            if not isinstance(given, KINDS[kind]):
                raise ConfigError(f"{kind}: found a {given.kind} ({given.name!r})")
            return check_object(given, kind)
        if not isinstance(given, str | Mapping):
            hint = "a class has to be called" if isinstance(given, type) else None
            raise ConfigError(f"{kind}: found {given!r}, expected a name, a mapping or a plugin", hint)
        choice = {"use": given} if isinstance(given, str) else dict(given)
        return choice.pop("use", ""), choice

    def _registry(self) -> Registry:
        require(self.registry, (Registry, type(None)), "registry", "a Registry")
        return Registry.discover() if self.registry is None else self.registry


def _start_keras(wanted: str | None) -> None:
    """Choose the backend for models that are about to be read; they run on the other one too."""
    backend.select(None if "keras" in sys.modules else wanted)


def _warn(event: Event) -> None:
    if event.kind == "warning":
        import warnings

        warnings.warn(str(event.data["text"]), stacklevel=3)
