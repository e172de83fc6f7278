"""What a job gives, and how its report is put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.context import Context, Event, RunFailed, RunRecord, Warned
from invdesign_core.designs.report import (
    AddedReport,
    Report,
    SurrogateReport,
    TableReport,
    design_reports,
    measured_reports,
    target_reports,
    truth_report,
)
from invdesign_core.designs.verdict import Quality, table_verdict_of, verdict_of
from invdesign_core.errors import RunStoreError
from invdesign_core.registry import Registry
from invdesign_core.targets import Targets

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.designs.answers import Answers
    from invdesign_core.surrogate.surrogate import Surrogate


@dataclass(frozen=True)
class Result:
    """What a run or a solve gave; no answers without a target, and no folder where they are not kept."""

    report: Report
    answers: Answers | None
    surrogate: Surrogate
    saved: Path | None = None


class UnsavedError(RunStoreError):
    """A result that was computed, and could not be written."""

    def __init__(self, faults: Sequence[RunStoreError], hint: str, result: Result) -> None:
        super().__init__("; ".join(fault.message for fault in faults), hint)
        self.result = result


@contextmanager
def put_off(faults: list[RunStoreError]) -> Iterator[None]:
    """Put a failure to write off until the answer is there."""
    try:
        yield
    except RunStoreError as fault:
        faults.append(fault)


def make_report(
    answers: Answers | None,
    surrogate: SurrogateReport,
    run: Path | None,
    plugins: Mapping[str, str],
    running: str,
    notes: Sequence[str],
    ctx: Context,
    distributions: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
) -> Report:
    """Put a report together; `distributions` are those of plugins by others, by kind, and `units` those of columns."""
    measured, count, best = ([], 0, None) if answers is None else measured_reports(answers)
    drawn = None if answers is None else answers.scenarios
    report = Report(
        run=None if run is None else str(run),
        status="no target" if answers is None else answers.status,
        met_by=None if answers is None else answers.met_by,
        verdict="",
        target={} if answers is None else target_reports(answers.targets),
        distinct=0 if answers is None else len(answers.designs),
        designs=[] if answers is None else design_reports(answers),
        level=None if answers is None else answers.level,
        without_guarantee=None if answers is None else answers.without_guarantee,
        measured=measured,
        measured_count=count,
        measured_best=best,
        conditions=None if drawn is None else {name: str(said) for name, said in drawn.said.items()},
        scenarios=None if drawn is None else len(drawn),
        starts=None if answers is None else answers.counts(),  # type: ignore[arg-type]
        truth=None if answers is None else truth_report(answers.simulated),
        search=None if answers is None else answers.search,
        units=dict(units or {}),
        surrogate=surrogate,
        plugins=dict(plugins),
        distributions=dict(distributions or {}),
        added=[AddedReport(source=a.source, text=a.text, metrics=dict(a.metrics)) for a in ctx.record.added],
        seed=ctx.seed,
        backend=running,
        notes=list(notes),
        seconds=ctx.clock.report(),
    )
    return report.model_copy(update={"verdict": verdict_of(report, Quality.of(surrogate))})


NEEDED = ("target", "met", "measured.answer", "guarantee")
"""Columns of a table of designs that `tally` looks at, where they are there."""


def tally(written: pd.DataFrame, targets: Targets, first: int = 1) -> dict[str, Any]:
    """Count what came of the targets of a table, as `TableReport` tells it; `first` is the number of the first one."""
    extremum, every = targets.extremum.any(axis=1), np.arange(first, first + len(targets))
    reached = np.isin(every, _targets_of(written, "met", gaps=True))
    answered = np.isin(every, _targets_of(written, "measured.answer", gaps=False))
    by_rows = ~reached & answered
    fine = bool((reached | by_rows).all())
    return {
        "status": "not met" if not fine else "optimised" if extremum.any() else "met",
        "targets": len(targets),
        "met": int((reached & ~extremum).sum()),
        "optimised": int((reached & extremum).sum()),
        "measured": int(by_rows.sum()),
        "beaten": int((reached & extremum & answered).sum()),
        "without_guarantee": int((~written["guarantee"].astype(bool)).sum()) if "guarantee" in written else None,
    }


def tally_of_parts(parts: Iterable[tuple[int, pd.DataFrame]], targets: Targets) -> dict[str, Any]:
    """Count what came of the targets of a table that comes in parts, each with the number of its first one from 0."""
    found = list[dict[str, Any]]()
    for (first, table), (end, _) in pairwise(chain(parts, [(len(targets), None)])):
        assert table is not None
        found.append(tally(table, targets.take(slice(first, end)), first + 1))
    statuses = {part["status"] for part in found}
    status = next(word for word in ("not met", "optimised", "met") if word in statuses)
    counted = ("targets", "met", "optimised", "measured", "beaten")
    unsure = [part["without_guarantee"] for part in found]
    return {
        "status": status,
        **{key: sum(part[key] for part in found) for key in counted},
        "without_guarantee": None if None in unsure else sum(unsure),
    }


def with_verdict(report: TableReport, surrogate: SurrogateReport, targets: Targets, truth: bool) -> TableReport:
    """Return the report of a table with its verdict; `truth` says that a true model judged the designs."""
    deciding = [targets.outputs[m] for m in np.flatnonzero(targets.asked.any(axis=0))]
    doubt = "" if truth else Quality.of(surrogate).doubt(deciding)
    return report.model_copy(update={"verdict": table_verdict_of(report, doubt)})


def _targets_of(written: pd.DataFrame, column: str, gaps: bool) -> NDArray[np.intp]:
    """Return the targets with a row in which a column is true; `gaps` says what a cell without a value counts as."""
    if column not in written:
        return np.zeros(0, dtype=np.intp)
    fine = written[column].astype("boolean").fillna(gaps).to_numpy(dtype=np.bool_)
    return np.unique(written["target"].to_numpy(dtype=np.intp)[fine])


def noting(
    outer: Context, registry: Registry, keep: Callable[[Event], None] | None = None, **changes: Any
) -> tuple[Context, list[str]]:
    """Return a context that tells observers and whoever called, and the notes for the report that it keeps.

    `keep` is given each event first. An observer that fails is named in a warning once. What observers say themselves
    is not told to observers.
    """
    notes: list[str] = []
    failed: set[str] = set()
    telling = False

    def emit(event: Event) -> None:
        nonlocal telling
        if event.kind in ("note", "warning"):
            notes.append(str(event.data["text"]))
        if keep is not None:
            keep(event)
        faults: list[tuple[str, str]] = []
        if not telling:
            telling = True
            try:
                faults = registry.emit(event, ctx)
            finally:
                telling = False
        outer.emit(event)
        for who, why in faults:
            if who not in failed:
                failed.add(who)
                emit(Warned(f"the observer of {who} failed, and the run goes on: {why}"))

    ctx = replace(outer, emit=emit, record=RunRecord(), **changes)
    return ctx, notes


@contextmanager
def told_of_failure(ctx: Context) -> Iterator[None]:
    """Tell observers of what ends a job."""
    try:
        yield
    except BaseException as error:
        ctx.emit(RunFailed.of(error))
        raise
