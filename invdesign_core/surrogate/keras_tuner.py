"""Searches led by keras-tuner's oracles: asked for trials, told their results, kept quiet and off the disk."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from invdesign_core.context import Context
from invdesign_core.surrogate.trials import Trial, TrialResult

if TYPE_CHECKING:
    import keras_tuner as kt

    from invdesign_core.surrogate.protocols import Evaluate

COLLISIONS = 1000
"""Draws in a row that were all tried before, after which a space counts as exhausted. keras-tuner's 20 would miss the
last of ten values in one search out of nine."""


def search_by_oracle(
    kind: Callable[..., Any],
    space: kt.HyperParameters,
    evaluate: Evaluate,
    ctx: Context,
    *,
    seed: int,
    max_trials: int | None,
    at_once: Callable[[int], int] | None = None,
    trial_of: Callable[[Any, Mapping[str, int]], Trial] | None = None,
    **options: Any,
) -> None:
    """Ask an oracle for trials and have them trained, until it has no more.

    Hyper-parameters that show up while training are added to the oracle's space, so they may add
    further rounds. A trial that failed is reported as such; it never ends the search.

    Parameters
    ----------
    kind : class
        A ``keras_tuner.Oracle``, such as ``keras_tuner.oracles.RandomSearchOracle``.
    space : keras_tuner.HyperParameters
        The hyper-parameters known so far.
    evaluate : callable
        Trains trials.
    ctx : Context
        Told where the space holds fewer trials than were asked for.
    seed : int
        The oracle's seed.
    max_trials : int or None
        Trials at most; None for all that the oracle has.
    at_once : callable, optional
        From the number of trials so far to how many to ask for next; `Context.width` at most, and by default.
    trial_of : callable, optional
        From the oracle's trial, and the number that each trial so far has in the run's table, to what
        to train; by default all of the oracle's values.
    **options
        Further arguments of the oracle.
    """
    import keras_tuner as kt

    oracle = kind(
        objective=kt.Objective("score", "min"),
        hyperparameters=space.copy(),
        **({} if max_trials is None else {"max_trials": max_trials}),  # Hyperband's oracle takes none
        seed=max(seed, 1),  # 0 would mean a random seed
        max_consecutive_failed_trials=sys.maxsize,
        **options,
    )
    oracle.verbose = 0
    oracle.save = oracle._save_trial = _keep_nothing
    oracle._max_collisions = COLLISIONS
    numbers: dict[str, int] = {}
    while True:
        tried = len(oracle.trials)
        batch = _ask(oracle, min(at_once(tried), ctx.width) if at_once else ctx.width, ctx)
        if not batch:
            break
        wanted = [trial_of(t, numbers) if trial_of else Trial(dict(t.hyperparameters.values)) for t in batch]
        results = evaluate(wanted)
        numbers |= {trial.trial_id: result.id for trial, result in zip(batch, results, strict=True)}
        _tell(oracle, batch, results)
    if max_trials is not None and tried < max_trials:
        trials = "1 trial is all there is" if tried == 1 else f"{tried} trials are all there are"
        ctx.note(f"the space is exhausted: {trials}, fewer than max_trials = {max_trials}")


def _ask(oracle: Any, count: int, ctx: Context) -> list[Any]:
    """Return up to `count` trials that the oracle hands out without waiting for results."""
    batch: list[Any] = []
    with warnings.catch_warnings(action="ignore"):
        while len(batch) < count:
            ctx.check_stop()
            trial = oracle.create_trial(f"core-{len(oracle.trials)}")
            if trial.status != "RUNNING":
                break
            batch.append(trial)
    return batch


def _tell(oracle: Any, batch: Sequence[Any], results: Sequence[TrialResult]) -> None:
    """Report what came of trials, and the hyper-parameters that they discovered."""
    known = len(oracle.hyperparameters.space)
    for result in results:
        if result.space is not None:
            oracle.update_space(result.space)
    if len(oracle.hyperparameters.space) > known:
        _fill_in(oracle)
    with warnings.catch_warnings(action="ignore"):
        for trial, result in zip(batch, results, strict=True):
            fine = result.status == "ok" and math.isfinite(result.score)
            trial.status = "COMPLETED" if fine else "INVALID"
            if fine:
                oracle.update_trial(trial.trial_id, {"score": result.score})
            oracle.end_trial(trial)


def _fill_in(oracle: Any) -> None:
    """Write into every trial the defaults it ran with of hyper-parameters that were discovered since.

    Without them the grid oracle fails on older trials, and the others draw the same trial again.
    """
    for trial in oracle.trials.values():
        full = oracle.get_space()
        full.values = dict(trial.hyperparameters.values)
        for hp in full.space:
            if full.is_active(hp):
                full.values.setdefault(hp.name, hp.default)
        trial.hyperparameters = full
        oracle._record_values(trial)


def _keep_nothing(*_: Any) -> None:
    """Stand in for an oracle's own saving; the core keeps the trials."""
