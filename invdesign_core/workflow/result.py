"""What a job gives, and how its report is put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign_core.context import Context, Event, RunFailed, RunRecord, Warned
from invdesign_core.designs.report import (
    AddedReport,
    Report,
    SurrogateReport,
    design_reports,
    measured_reports,
    target_reports,
    truth_report,
)
from invdesign_core.designs.verdict import Quality, verdict_of
from invdesign_core.errors import RunStoreError
from invdesign_core.registry import Registry

if TYPE_CHECKING:
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
        target={} if answers is None else target_reports(answers),
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
