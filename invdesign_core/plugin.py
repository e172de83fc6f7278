"""All that a plugin imports: the five kinds, the values they are handed, and those they return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import pluggy
from pydantic import BaseModel, ConfigDict, Field

from invdesign_core.context import (
    CandidateStarted,
    Context,
    DesignsReady,
    Event,
    Note,
    Progress,
    Reported,
    RunFailed,
    RunFinished,
    RunStarted,
    StageStarted,
    TrainingEnded,
    TrialEnded,
    Warned,
)
from invdesign_core.data.data import Data
from invdesign_core.data.files.load import load_table, read_table, refuse_unknown
from invdesign_core.data.files.messages import option as toml_option
from invdesign_core.data.files.options import DESIGN, LoadedTable, Reading
from invdesign_core.data.files.several import TableFile, beside, find_files, join, read_pair, stack
from invdesign_core.data.large import LargeTable, read_large
from invdesign_core.data.own_columns import design_columns, is_result
from invdesign_core.data.patterns import matches as matching_columns
from invdesign_core.data.roles import Columns, measured_designs, with_conditions
from invdesign_core.errors import (
    ConfigError,
    DataError,
    InvdesignError,
    PluginError,
    SolverError,
    TrainingError,
    near_match,
)
from invdesign_core.search.problem import FeasibleRows, Problem, SolverResult, Status
from invdesign_core.space.arrays import FloatArray
from invdesign_core.space.quadratic import Polytope
from invdesign_core.space.rules import Linear
from invdesign_core.space.space import Space
from invdesign_core.space.variables import Kind, Variable
from invdesign_core.surrogate.backend import in_float64
from invdesign_core.surrogate.keras_tuner import search_by_oracle
from invdesign_core.surrogate.protocols import Evaluate
from invdesign_core.surrogate.trials import Trial, TrialResult
from invdesign_core.surrogate.user_code import UserObject
from invdesign_core.targets import Goal, Prediction, Tensor

if TYPE_CHECKING:
    import keras
    import keras_tuner as kt

__all__ = [  # noqa: RUF022 - grouped by the kind of plugin that needs them
    # every plugin
    "Plugin",
    "KINDS",
    "hookimpl",
    "Context",
    "Event",
    "CandidateStarted",
    "DesignsReady",
    "Note",
    "Progress",
    "Reported",
    "RunFailed",
    "RunFinished",
    "RunStarted",
    "StageStarted",
    "TrainingEnded",
    "TrialEnded",
    "Warned",
    "FeasibleRows",
    "FloatArray",
    "UserObject",
    # errors
    "InvdesignError",
    "ConfigError",
    "DataError",
    "PluginError",
    "SolverError",
    "TrainingError",
    "near_match",
    # datasets
    "Dataset",
    "Data",
    "Space",
    "Variable",
    "Kind",
    # datasets that read files
    "Columns",
    "DESIGN",
    "LargeTable",
    "LoadedTable",
    "Reading",
    "TableFile",
    "beside",
    "design_columns",
    "find_files",
    "is_result",
    "join",
    "load_table",
    "matching_columns",
    "measured_designs",
    "read_large",
    "read_pair",
    "read_table",
    "refuse_unknown",
    "stack",
    "toml_option",
    "with_conditions",
    # surrogates
    "SurrogateBuilder",
    "Regressor",
    "Race",
    "in_float64",
    # tuners
    "Tuner",
    "TrialOptions",
    "Evaluate",
    "Trial",
    "TrialResult",
    "search_by_oracle",
    # objectives
    "Objective",
    "Goal",
    "Prediction",
    "Tensor",
    # solvers: these four are all that most need
    "Solver",
    "Problem",
    "SolverResult",
    "Status",
    "StartOptions",
    "Linear",
    "Polytope",
]

hookimpl = pluggy.HookimplMarker("invdesign")
"""Marks the functions of a plugin module that implement a hook."""


class Plugin(BaseModel):
    """A plugin is its options: a frozen pydantic model whose fields are what a user may set."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: ClassVar[str]
    """What users call it."""
    kind: ClassVar[str]
    """Set by the five classes below."""
    brought_by: ClassVar[str] = ""
    """The distribution and its version, which the registry fills in; empty for invdesign's own."""

    @property
    def label(self) -> str:
        """The kind and the name, for messages, and the distribution where it isn't invdesign itself."""
        made_by = type(self).__dict__.get("brought_by", "")
        return f"{self.kind} {self.name!r}" + (f" ({made_by})" if made_by else "")

    def check(self, data: Data, ctx: Context) -> None:
        """Refuse data that the plugin can't work with, before anything is trained; by default all are fine.

        A `ConfigError` is shown as it is, and a `ValueError` becomes one.
        """

    @classmethod
    def served_by_core(cls) -> frozenset[str]:
        """Return the names of the options that the core serves: the plugin itself need not read them."""
        mixins: tuple[type[BaseModel], ...] = (TrialOptions, StartOptions, Race)
        return frozenset(key for mixin in mixins if issubclass(cls, mixin) for key in mixin.model_fields)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in cls.__annotations__ and not str(cls.__annotations__["name"]).startswith(
            ("ClassVar", "typing.ClassVar")
        ):
            raise TypeError(f"{cls.__name__}: annotate `name` as ClassVar[str]; it is not an option")


class Dataset(Plugin):
    """Where designs and responses come from."""

    kind: ClassVar[str] = "dataset"

    @property
    def published(self) -> Mapping[str, Mapping[int, float]]:
        """Published figures for a benchmark on exactly these rows: of each method its r_T by T.

        r_T is the lowest mean squared error among T designs for a target, averaged over the targets.
        """
        return {}

    def load(self, ctx: Context) -> Data:
        """Return the table, its design variables and its outputs."""
        raise NotImplementedError


class Regressor(Protocol):
    """What a builder that is not differentiable returns: anything scikit-learn would call a regressor."""

    def fit(self, X: Any, y: Any) -> Any:
        """Learn from (n, e) encoded designs and (n, m) standardised outputs."""
        ...

    def predict(self, X: Any) -> Any:
        """Answer (n, m), or (n,) where there is one output."""
        ...


class SurrogateBuilder(Plugin):
    """Builds an untrained model of the forward map."""

    kind: ClassVar[str] = "surrogate"
    differentiable: ClassVar[bool] = True
    """False where `build` returns a `Regressor`; solvers that need gradients are refused then."""
    closed_form: ClassVar[bool] = False
    """True where `build` returns a Keras model whose own `fit` finds its weights in one go, without epochs."""
    second: ClassVar[str] = "gaussian-process"
    """The surrogate of another family that tells how far answers of this one can be trusted."""

    def build(self, hp: kt.HyperParameters, data: Data, ctx: Context) -> keras.Model | Regressor:
        """Return a compiled Keras model for ``data.space.width`` inputs and ``len(data.outputs)`` outputs.

        An implementation may leave out arguments that it does not need. A model in closed form need not be compiled.
        Its ``fit(x, y, sample_weight=None)`` is called once, with float64 arrays: (n, e) standardised designs, (n, m)
        standardised outputs, NaN where one was not measured, and (n,) weights where the data have them.

        Parameters
        ----------
        hp : keras_tuner.HyperParameters
            Asked for what is to be tuned.
        data : Data
            The table, its variables and its outputs.
        ctx : Context
            Its seed and its random streams belong to this trial or member alone; ``ctx.folder`` is the folder of the
            experiment file.
        """
        raise NotImplementedError

    def recipe(self, rows: int) -> Mapping[str, Any]:
        """Return the settings of `[training]` that suit this model for so many training rows.

        What the user sets wins over them, and they win over the defaults.
        """
        return {}

    def as_second(self, rows: int) -> SurrogateBuilder:
        """Return this builder as it suits a second model, which is to be quick, for so many distinct designs."""
        return self

    def as_belief(self) -> Self:
        """Return this builder as it suits the planning of experiments from few rows."""
        return self

    def user_code(self, ctx: Context) -> Sequence[UserObject]:
        """Return the code of the user's own that `build` works with; a search is resumed only while it is the same.

        The core asks before anything is trained, so that a missing module is refused early.
        """
        return ()


class Race(SurrogateBuilder):
    """A choice among surrogates: the core cross-validates the candidates on the same folds, and trains the best.

    A subclass is a `name` and other defaults. It builds nothing itself.
    """

    candidates: list[str | dict[str, Any]] = Field(
        min_length=1,
        description="Surrogates that are compared, the simplest first: names, or tables with `use` and options. One "
        "that isn't differentiable is a yardstick: it is shown, and never chosen.",
    )
    folds: int | None = Field(
        None, ge=2, description="Folds of the cross-validation; by default 5, fewer from 1000 designs on."
    )
    repeats: int | None = Field(
        None, ge=1, description="How many times rows are dealt out to folds; by default 2 below 60 designs, else 1."
    )
    blend: bool = Field(
        True,
        description="Whether a weighted mean of the candidates may be chosen, where its error is clearly the smallest.",
    )
    learning_curve: bool = Field(
        True, description="Whether the winner learns from a quarter and half of the rows too, to tell what more bring."
    )


class TrialOptions(BaseModel):
    """Options of every tuner that the core serves: it scores the trials and remembers the best."""

    model_config = ConfigDict(frozen=True)

    objective: str = Field(
        "val_loss", description="What the best trial is best at: `val_loss`, or a metric such as `val_mae`."
    )
    direction: Literal["auto", "min", "max"] = Field(
        "auto",
        description="Whether the objective is to be small (`min`) or large (`max`); `auto` knows Keras' own metrics.",
    )


class Tuner(TrialOptions, Plugin):
    """Proposes hyper-parameters; the core trains them."""

    kind: ClassVar[str] = "tuner"

    def search(self, space: kt.HyperParameters, evaluate: Evaluate, ctx: Context) -> None:
        """Ask `evaluate` for trials; the core remembers the best."""
        raise NotImplementedError


class Objective(Plugin):
    """How far predictions are from a goal, in ``keras.ops``, so that every backend can differentiate it.

    Implement `loss`, or `residuals` where it is a mean of squares.
    """

    kind: ClassVar[str] = "objective"

    def loss(self, z: Prediction, goal: Goal) -> Tensor:
        """Return (r,) losses, smaller is better, 0 where the goal is met exactly."""
        if not self.has_residuals:
            raise NotImplementedError
        from keras import ops

        return ops.mean(ops.square(self.residuals(z, goal)), axis=-1)

    def residuals(self, z: Prediction, goal: Goal) -> Tensor:
        """Return (r, q) residuals, whose mean of squares is the loss."""
        raise NotImplementedError

    @property
    def has_residuals(self) -> bool:
        """Whether the objective is a mean of squares."""
        return type(self).residuals is not Objective.residuals


class StartOptions(BaseModel):
    """Options of every solver that the core serves: it makes start points, splits tables of targets and keeps time.

    A solver that needs other defaults or limits declares the same fields again.
    """

    model_config = ConfigDict(frozen=True)

    starts: int = Field(64, ge=1, le=1_000_000, description="Number of start points for each target.")
    init: Literal["screened", "uniform", "sobol", "latin-hypercube", "data"] = Field(
        "screened",
        description="Where starts come from: `screened`, the best and most different of many random points; `uniform`, "
        "random points; `sobol` or `latin-hypercube`, which fill the space; or `data`, the best training rows.",
    )
    discrete: Literal["auto", "relax"] = Field(
        "auto",
        description="How discrete variables are searched: `auto` decides by the number of combinations, and `relax` "
        "lets the solver move them as numbers between their bounds, rounded at the end, however many there are.",
    )
    rows_at_once: int = Field(
        16384, ge=1, description="With a table of targets: start points solved at once; fewer need less memory."
    )
    time_limit: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Seconds that the search may take, for all targets together; it then ends with what was found. By "
        "default there is no limit.",
    )


class Solver(StartOptions, Plugin):
    """Moves start points to designs that meet a goal; sees rows of numbers in [0, 1], never networks."""

    kind: ClassVar[str] = "solver"
    needs: ClassVar[frozenset[str]] = frozenset()
    """What the solver needs of a problem: any of ``gradient`` and ``residuals``."""
    handles: ClassVar[frozenset[str]] = frozenset()
    """Of ``linear`` and ``discrete``; what isn't handled the core takes care of, or refuses."""
    rank: ClassVar[int | None] = 100
    """The order in which `auto` asks, smaller first; None is never."""
    in_threads: ClassVar[bool] = False
    """Whether several calls of `solve` may run in threads of one process, for parts of a table of targets."""

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Improve (b, e) start points, row by row.

        Parameters
        ----------
        problem : Problem
            b independent rows with their bounds and the functions to evaluate.
        u0 : ndarray
            (b, e) start points inside the bounds.
        ctx : Context
            Seeds and events.
        """
        raise NotImplementedError


KINDS: dict[str, type[Plugin]] = {
    "dataset": Dataset,
    "surrogate": SurrogateBuilder,
    "tuner": Tuner,
    "objective": Objective,
    "solver": Solver,
}
"""The five kinds by the name of their section in the experiment file."""
