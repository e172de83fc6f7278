"""The one place where an inverse problem is put together, for a run, a solve, a table of targets and Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from invdesign_core.data.data import TrainingRows
from invdesign_core.designs.report import SurrogateReport
from invdesign_core.designs.verdict import Quality
from invdesign_core.search.inverse_problem import InverseProblem, Wishes
from invdesign_core.search.rows import check_held
from invdesign_core.space.space import Space
from invdesign_core.surrogate.surrogate import Surrogate
from invdesign_core.targets import Target, Targets
from invdesign_core.workflow.fixed_inputs import hold
from invdesign_core.workflow.pipeline import check_bounds, check_columns

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.plugin import Objective, Solver


@dataclass(frozen=True)
class ForwardModel:
    """A surrogate and what is known of it."""

    surrogate: Surrogate
    report: SurrogateReport | None = None
    rows: TrainingRows | None = None
    truth: Callable[[pd.DataFrame], pd.DataFrame] | None = None


def inverse_problem(
    model: ForwardModel,
    space: Space,
    targets: Mapping[str, Target] | pd.DataFrame,
    objective: Objective,
    solver: Solver,
    wishes: Wishes,
) -> InverseProblem:
    """Put an inverse problem together."""
    surrogate, held = model.surrogate, None
    if isinstance(targets, Mapping):
        check_bounds(space)
        wanted = Targets.build([targets], surrogate.outputs, surrogate.spread)
    else:
        check_columns(targets, surrogate.outputs, space.names)
        wanted = Targets.from_frame(targets, surrogate.outputs, surrogate.spread)
        space, held = hold(space, targets)
        check_bounds(space)
        if held is not None:
            check_held(space, held)
    errors = {} if model.report is None else Quality.of(model.report).errors
    return InverseProblem(surrogate, space, wanted, objective, solver, model.rows, model.truth, wishes, held, errors)
