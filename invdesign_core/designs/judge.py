"""From where the starts of a search ended to answers, with what was measured beside them."""

from __future__ import annotations

from dataclasses import replace

from invdesign_core.designs.answers import Answers, answers
from invdesign_core.designs.measured import add_measured
from invdesign_core.search.inverse_problem import InverseProblem, SearchResult


def judge(problem: InverseProblem, result: SearchResult) -> Answers:
    """Judge what a search reached: the distinct designs, the measured rows beside them, and the typical errors."""
    found = answers(problem, result)
    if problem.rows is not None:
        space, outputs = problem.space, problem.surrogate.outputs
        found = add_measured(found, problem.rows, space, outputs, problem.wishes.designs, problem.fixed_inputs)
    errors = {f"error.{name}": value for name, value in problem.errors.items()}
    return replace(found, designs=found.designs.assign(**errors))
