"""What datasets promise: the rows that they describe, the same for one seed, and a truth that answers designs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from invdesign_core.context import Context
from invdesign_core.data.data import Data, true_or_false
from invdesign_core.targets import parse_targets
from invdesign_core.testing.declared import check, does_not_apply, hold
from invdesign_core.truth.simulated import as_outputs
from invdesign_core.workflow.validate import load


def _load(plugin: Any, seed: int = 0) -> Data:
    return load(plugin, Context(seed))


@check("dataset")
def holds_what_it_describes(plugin: Any) -> None:
    """Columns are there, and hold values that their variables can have."""
    _load(plugin)


@check("dataset")
def follows_the_seed(plugin: Any) -> None:
    """The same seed gives the same rows, and nothing is drawn from NumPy's global stream."""
    state = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    first, again = _load(plugin), _load(plugin)
    hold(first.frame.equals(again.frame), "two loads with one seed differ: draw from ctx.rng")
    hold((state == np.random.get_state()[1]).all(), "it draws from NumPy's global stream")  # type: ignore[index]


@check("dataset")
def has_an_example_that_can_be_asked_for(plugin: Any) -> None:
    """The example target names outputs, with words that a target may have."""
    data = _load(plugin)
    if not data.example:
        does_not_apply("it has no example")
    parse_targets(data.example or {}, data.outputs)


@check("dataset")
def has_a_truth_that_answers_designs(plugin: Any) -> None:
    """The true model answers a table of designs with a row of outputs for each, the same twice, and changes nothing."""
    data = _load(plugin)
    if data.truth is None:
        does_not_apply("it has no true model")
    truth: Any = data.truth
    designs = data.frame[list(data.space.names)].iloc[:5].reset_index(drop=True)
    before = designs.copy()
    answers = [
        as_outputs(truth(designs), len(designs), data.outputs, true_or_false(data.y, data.outputs)) for _ in range(2)
    ]
    for _, reasons in answers:
        hold(not any(reasons), f"the true model gives no value: {next(filter(None, reasons), '')}")
    hold(np.allclose(answers[0][0], answers[1][0], equal_nan=True), "the true model answers differently twice")
    hold(designs.equals(before), "the true model changes the table that it is handed")
    fewer = partial(truth, designs.iloc[:1])
    hold(len(fewer()) == 1, "the true model does not answer one design with one row")
