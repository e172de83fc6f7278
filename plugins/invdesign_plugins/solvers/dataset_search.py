"""The training rows nearest to the target: what any search should beat."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from invdesign_core.plugin import Context, FloatArray, Problem, Solver, SolverResult, Status


class DatasetSearch(Solver):
    """Answer with the training rows whose measured outputs are nearest to the target, and improve nothing.

    It is the baseline: a solver whose designs are no better than rows of the table brings nothing.
    """

    name: ClassVar[str] = "dataset-search"
    handles: ClassVar[frozenset[str]] = frozenset({"discrete"})
    rank: ClassVar[int | None] = None

    starts: int = Field(64, ge=1, le=1_000_000, description="Number of rows for each target, nearest first.")
    init: Literal["data"] = Field("data", description="Where the rows come from: the training data, always.")

    def solve(self, problem: Problem, u0: FloatArray, ctx: Context) -> SolverResult:
        """Evaluate the rows."""
        problem.value(u0)
        return SolverResult(u0, Status.LIMIT, "a row of the training data")
