"""`solve`: new answers from a saved surrogate, or from a model of the user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign_core import pipeline
from invdesign_core.designs import Answers
from invdesign_core.errors import ConfigError
from invdesign_core.jobs.prepare import Prepared, prepare_model, prepare_saved
from invdesign_core.jobs.result import Result, make_report
from invdesign_core.parts import Parts
from invdesign_core.results import TableReport
from invdesign_core.targets import Target, Targets, parse_targets
from invdesign_core.trust import Quality
from invdesign_core.verdict import table_verdict_of

if TYPE_CHECKING:
    import pandas as pd


def solve_saved(run: Path, targets: Sequence[str], **options: Any) -> Result:
    """Invert the surrogate of a run folder again.

    Parameters
    ----------
    run : Path
        The run folder.
    targets : sequence of str
        As `--target` takes them; without any, those of the run.
    **options
        As `prepare_saved` takes them.
    """
    return solve_one(prepare_saved(run, targets=targets, **options), targets)


def solve_model(path: Path, targets: Sequence[str], **options: Any) -> Result:
    """Invert a Keras model of the user's own.

    Parameters
    ----------
    path : Path
        A ``.keras`` file.
    targets : sequence of str
        As `--target` takes them.
    **options
        As `prepare_model` takes them.
    """
    return solve_one(prepare_model(path, targets=targets, **options), targets)


def solve_one(prepared: Prepared, targets: Sequence[str]) -> Result:
    """Find the designs that meet one target.

    Parameters
    ----------
    prepared : Prepared
        The surrogate, and what to invert it with.
    targets : sequence of str
        As `--target` takes them; without any, those of the run.

    Raises
    ------
    ConfigError
        If no target is named.
    """
    p, ctx = prepared, prepared.ctx
    outputs = p.surrogate.outputs
    wanted = parse_targets(targets if targets else p.targets or {}, outputs)
    _need_target(wanted, outputs)
    if p.sampled is not None:
        from invdesign_core.influence import describe

        describe(p.sampled, p.space, outputs, wanted, ctx)
    quality = _quality(p)
    answers = pipeline.invert(
        p.surrogate, wanted, p.space, p.objective, p.solver, ctx, p.known, p.truth, p.designs, p.near_to, quality
    )
    saved = None
    if p.folder is not None:
        saved = p.folder.write_answers(answers, p.folder.next_solve())
        ctx.note(f"every start and design is in {saved}")
    where = None if p.folder is None else p.folder.path
    report = make_report(answers, p.report, where, p.plugins, ctx.seed, p.running, p.notes, ctx.clock.report(), quality)
    if p.folder is not None and saved is not None:
        p.folder.write_json(f"solve/{saved.name}/report.json", report.model_dump())
    return Result(report, answers, p.surrogate)


def solve_table(prepared: Prepared, frame: pd.DataFrame, out: Path) -> TableReport:
    """Find designs for every row of a table of targets, written as they are found.

    Parameters
    ----------
    prepared : Prepared
        The surrogate, and what to invert it with.
    frame : pandas.DataFrame
        Targets: a column is an output, or a design variable that is held at its row's value.
    out : Path
        The ``.parquet`` or ``.csv`` file to write: the designs of each target, best first. A solve
        that was killed goes on where it was.

    Raises
    ------
    ConfigError
        If a column is neither, or a cell can't be read.
    RunStoreError
        If the file is there already, or belongs to another solve that is unfinished.
    """
    p, ctx = prepared, prepared.ctx
    pipeline.check_columns(frame, p.surrogate.outputs, p.space.names)
    parts = Parts(out, _identity(p, frame))
    tally, quality = _Tally(), _quality(p)
    for first, answers in pipeline.invert_many(
        p.surrogate,
        frame,
        p.space,
        p.objective,
        p.solver,
        ctx,
        p.known,
        p.truth,
        p.designs,
        parts.done,
        p.near_to,
        quality,
    ):
        if answers is None:
            continue
        tally.add(answers)
        designs = answers.designs.assign(target=answers.designs["target"] + first + 1)
        parts.write(first, designs)
        if answers.interrupted:
            raise KeyboardInterrupt
    resumed = len(frame) - tally.targets
    if resumed:
        ctx.note(f"{resumed} of {len(frame)} targets were solved before, and are taken as they were")
    parts.join()
    import pandas as pd

    written = pd.read_parquet(out) if out.suffix.lower() == ".parquet" else pd.read_csv(out)
    wanted = Targets.from_frame(frame, p.surrogate.outputs, p.surrogate.spread)
    extremum, every = wanted.extremum.any(axis=1), np.arange(1, len(frame) + 1)
    reached = np.isin(every, _targets_of(written, "met", gaps=True))
    by_rows = ~reached & np.isin(every, _targets_of(written, "measured.met", gaps=False))
    fine = bool((reached | by_rows).all())
    asked = [wanted.outputs[m] for m in np.flatnonzero(wanted.asked.any(axis=0))]
    report = TableReport(
        out=str(out),
        run=p.source,
        status="not met" if not fine else "optimised" if extremum.any() else "met",
        verdict="",
        targets=len(frame),
        met=int((reached & ~extremum).sum()),
        optimised=int((reached & extremum).sum()),
        measured=int(by_rows.sum()),
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


def _quality(p: Prepared) -> Quality:
    """Return how good a surrogate is: on its test rows, or a model of the user's own on the rows of its table."""
    if p.report.test or p.report.plugin is not None or p.known is None:
        return Quality.of(p.report)
    rows = p.known.measured
    metrics = pipeline.test_metrics(p.surrogate, rows.x, rows.y)
    return Quality(metrics, f"the {len(rows.x)} rows of the table")


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
    import pandas as pd

    digest = hashlib.sha256(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    probe = p.surrogate.predict_z(np.asarray(p.surrogate.box)).mean
    return {
        "targets": digest.hexdigest()[:16],
        "surrogate": hashlib.sha256(np.round(probe, 6).tobytes()).hexdigest()[:16],
        "bounds": p.space.to_json(),
        "constraints": list(p.space.constraints.texts),
        "near_to": repr(p.near_to),
        "objective": [p.objective.name, p.objective.model_dump(mode="json")],
        "solver": [p.solver.name, p.solver.model_dump(mode="json")],
        "designs": p.designs,
        "seed": p.ctx.seed,
        "backend": p.running,
    }


def _need_target(wanted: Mapping[str, Target], outputs: Sequence[str]) -> None:
    if not wanted:
        example = f"--target '{outputs[0]}=1'"
        raise ConfigError(
            "no target is named", f"for example {example}; the outputs are {', '.join(map(repr, outputs))}"
        )
