"""What a search needs of an objective and of a solver, whoever brings them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from invdesign_core.context import Context
from invdesign_core.space.arrays import FloatArray
from invdesign_core.targets import Goal, Prediction, Tensor

if TYPE_CHECKING:
    from invdesign_core.search.problem import Problem, SolverResult


class Objective(Protocol):
    """How far predictions are from a goal."""

    name: ClassVar[str]

    @property
    def label(self) -> str:
        """The kind and the name, for messages."""
        ...

    @property
    def has_residuals(self) -> bool:
        """Whether the objective is a mean of squares."""
        ...

    def loss(self, z: Prediction, goal: Goal) -> Tensor:
        """Return (r,) losses."""
        ...

    def residuals(self, z: Prediction, goal: Goal) -> Tensor:
        """Return (r, q) residuals."""
        ...

    def model_dump(self, *, mode: Any = ...) -> dict[str, Any]:
        """Return the options."""
        ...


class Solver(Protocol):
    """What moves start points to designs that meet a goal."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    handles: ClassVar[frozenset[str]]

    @property
    def label(self) -> str:
        """The kind and the name, for messages."""
        ...

    @property
    def starts(self) -> int:
        """Start points for each target."""
        ...

    @property
    def init(self) -> str:
        """Where starts come from."""
        ...

    @property
    def discrete(self) -> str:
        """How discrete variables are searched: ``auto`` or ``relax``."""
        ...

    @property
    def rows_at_once(self) -> int:
        """Start points solved at once."""
        ...

    @property
    def time_limit(self) -> float | None:
        """Seconds that the search may take."""
        ...

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Improve (b, e) start points, row by row."""
        ...
