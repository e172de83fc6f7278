"""`solve`: new answers from a saved surrogate, or from a model of the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core.data.own_columns import as_targets
from invdesign_core.designs.answers import Answers
from invdesign_core.designs.report import TableReport
from invdesign_core.designs.verdict import Quality, table_verdict_of
from invdesign_core.errors import ConfigError, OutOfTimeError, RunStoreError, plural
from invdesign_core.targets import Target, Targets, parse_targets
from invdesign_core.workflow import identity, pipeline
from invdesign_core.workflow.chunks import ChunkedTable
from invdesign_core.workflow.load import Prepared, prepare_model, prepare_saved
from invdesign_core.workflow.result import Result, UnsavedError, make_report, put_off

if TYPE_CHECKING:
    import pandas as pd


def solve_saved(run: Path, targets: Sequence[str], **options: Any) -> Result:
    """Invert the surrogate of a run folder again."""
    return solve_one(prepare_saved(run, targets=targets, **options), targets)


def solve_model(path: Path, targets: Sequence[str], **options: Any) -> Result:
    """Invert a Keras model of the user's own."""
    return solve_one(prepare_model(path, targets=targets, **options), targets)


def solve_one(prepared: Prepared, targets: Sequence[str]) -> Result:
    """Find the designs that meet one target."""
    p, ctx = prepared, prepared.ctx
    outputs = p.surrogate.outputs
    wanted = parse_targets(targets if targets else p.targets or {}, outputs)
    _need_target(wanted, outputs)
    if p.sampled is not None:
        from invdesign_core.surrogate.model_check import describe

        describe(p.sampled, p.space, outputs, wanted, ctx)
    quality = Quality.of(p.report)
    answers = pipeline.invert(p.problem(wanted), ctx)
    saved, faults = None, list[RunStoreError]()
    if p.folder is not None:
        with put_off(faults):
            saved = p.folder.write_answers(answers, p.folder.next_solve())
            ctx.note(f"every start and design is in {saved}")
    where = None if p.folder is None or faults else p.folder.path
    report = make_report(answers, p.report, where, p.plugins, ctx.seed, p.running, p.notes, ctx.clock.report(), quality)
    if p.folder is not None and saved is not None:
        with put_off(faults):
            p.folder.write_json(f"solve/{saved.name}/report.json", report.model_dump())
    result = Result(report, answers, p.surrogate, saved)
    if faults:
        hint = "free some disk space and solve again, or keep the printed result"
        raise UnsavedError(faults, hint if saved is None else f"the tables are in {saved}; {hint}", result)
    return result


def solve_table(prepared: Prepared, frame: pd.DataFrame, out: Path) -> TableReport:
    """Find designs for every row of a table of targets, written as they are found."""
    frame = as_targets(frame, prepared.surrogate.space, prepared.surrogate.outputs, prepared.ctx)
    pipeline.check_columns(frame, prepared.surrogate.outputs, prepared.space.names)
    p, ctx = prepared.holding(frame), prepared.ctx
    if "table" in p.report.rows:
        r2 = ", ".join(f"{m.r2:.5g} for {name!r}" for name, m in p.report.test.items() if m.r2 is not None)
        ctx.note(f"R² of the model on {plural(p.report.rows['table'], 'row')} of the table: {r2 or 'unknown'}")
    parts = ChunkedTable(out, _identity(p, frame))
    tally, quality = _Tally(), Quality.of(p.report)
    for first, answers in pipeline.invert_many(p.problem(frame), ctx, parts.done):
        if answers is None:
            continue
        if answers.out_of_time:  # some of its targets were hardly looked at
            raise OutOfTimeError(
                f"{pipeline.time_limit_of(p.solver)} ended the search: {first} of {len(frame)} targets are solved",
                "the same command goes on with the others, also with another time limit"
                + ("" if first else "; where it never solves any, give it more time"),
            )
        if answers.interrupted:
            raise KeyboardInterrupt
        tally.add(answers)
        designs = answers.designs.assign(target=answers.designs["target"] + first + 1)
        parts.write(first, designs)
    resumed = len(frame) - tally.targets
    if resumed:
        ctx.note(f"already solved, and not solved again: {resumed} of {plural(len(frame), 'target')}")
    import pandas as pd

    needed = ("target", "met", "measured.answer")
    written = pd.concat(part[[name for name in needed if name in part]] for part in parts.tables())
    wanted = Targets.from_frame(frame, p.surrogate.outputs, p.surrogate.spread)
    extremum, every = wanted.extremum.any(axis=1), np.arange(1, len(frame) + 1)
    reached = np.isin(every, _targets_of(written, "met", gaps=True))
    answered = np.isin(every, _targets_of(written, "measured.answer", gaps=False))
    by_rows = ~reached & answered
    fine = bool((reached | by_rows).all())
    asked = [wanted.outputs[m] for m in np.flatnonzero(wanted.asked.any(axis=0))]
    parts.join()
    report = TableReport(
        out=str(out),
        run=p.source,
        status="not met" if not fine else "optimised" if extremum.any() else "met",
        verdict="",
        targets=len(frame),
        met=int((reached & ~extremum).sum()),
        optimised=int((reached & extremum).sum()),
        measured=int(by_rows.sum()),
        beaten=int((reached & extremum & answered).sum()),
        starts=tally.counts,  # type: ignore[arg-type]
        plugins=dict(p.plugins),
        seed=ctx.seed,
        backend=p.running,
        notes=list(p.notes),
        seconds=ctx.clock.report(),
    )
    doubt = quality.doubt(asked) if p.truth is None else ""
    return report.model_copy(update={"verdict": table_verdict_of(report, doubt)})


def _targets_of(written: pd.DataFrame, column: str, gaps: bool) -> NDArray[np.intp]:
    """Return the targets with a row in which a column is true; `gaps` says what a cell without a value counts as."""
    if column not in written:
        return np.zeros(0, dtype=np.intp)
    fine = written[column].astype("boolean").fillna(gaps).to_numpy(dtype=np.bool_)
    return np.unique(written["target"].to_numpy(dtype=np.intp)[fine])


class _Tally:
    """Counts of starts over the chunks of a table."""

    def __init__(self) -> None:
        self.targets = 0
        self.counts: dict[str, int | None] = dict.fromkeys(("total", "converged", "unmoved", "not_finite"), 0)
        self.counts["hit"] = None

    def add(self, answers: Answers) -> None:
        self.targets += len(answers.targets)
        for key, value in answers.counts().items():
            if value is not None:
                self.counts[key] = (self.counts[key] or 0) + value


def _identity(p: Prepared, frame: pd.DataFrame) -> dict[str, Any]:
    """Return what the answers to a table depend on, to tell whether parts of them belong to it."""
    source = p.folder.path / "surrogate" if p.folder is not None else Path(p.source)
    near = p.near_to
    return {
        "targets": identity.of_table(frame),
        "surrogate": [identity.of_surrogate(p.surrogate), identity.of_files(source) if source.exists() else None],
        "outputs": list(p.surrogate.outputs),
        "variables or bounds": p.space.to_json()["variables"],
        "constraints": list(p.space.constraints.texts),
        "present design": identity.digest(near.present, near.fewest, near.to_data),
        "measured designs": identity.digest(*(p.known or ())),
        "objective": [p.objective.name, p.objective.model_dump(mode="json")],
        # What was solved in time is the same whatever the time limit.
        "solver": [p.solver.name, p.solver.model_dump(mode="json", exclude={"time_limit"})],
        "designs": p.designs,
        "true model": p.truth is not None,
        "code": p.code,
        "seed": p.ctx.seed,
        "backend": p.running,
        "versions": dict(p.versions),
    }


def _need_target(wanted: Mapping[str, Target], outputs: Sequence[str]) -> None:
    if not wanted:
        example = f"--target '{outputs[0]}=1'"
        raise ConfigError(
            "no target is given", f"for example {example}; the outputs are {', '.join(map(repr, outputs))}"
        )
