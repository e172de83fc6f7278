"""`solve`: new answers from a saved surrogate, or from a model of the user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core import pipeline
from invdesign_core.designs import Answers
from invdesign_core.errors import ConfigError, RunStoreError
from invdesign_core.jobs.prepare import Prepared, prepare_model, prepare_saved
from invdesign_core.jobs.result import Result, UnsavedError, make_report, put_off
from invdesign_core.parts import Parts
from invdesign_core.results import TableReport
from invdesign_core.targets import Target, parse_targets

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
    UnsavedError
        If the answers could not be written; its `result` is what would have been returned.
    """
    p, ctx = prepared, prepared.ctx
    outputs = p.surrogate.outputs
    wanted = parse_targets(targets if targets else p.targets or {}, outputs)
    _need_target(wanted, outputs)
    if p.sampled is not None:
        from invdesign_core.influence import describe

        describe(p.sampled, p.space, outputs, wanted, ctx)
    answers = pipeline.invert(
        p.surrogate, wanted, p.space, p.objective, p.solver, ctx, p.known, p.truth, p.designs, p.near_to
    )
    saved, faults = None, list[RunStoreError]()
    if p.folder is not None:
        with put_off(faults):
            saved = p.folder.write_answers(answers, p.folder.next_solve())
            ctx.note(f"every start and design is in {saved}")
    where = None if p.folder is None or faults else p.folder.path
    report = make_report(answers, p.report, where, p.plugins, ctx.seed, p.running, p.notes, ctx.clock.report())
    if p.folder is not None and saved is not None:
        with put_off(faults):
            p.folder.write_json(f"solve/{saved.name}/report.json", report.model_dump())
    result = Result(report, answers, p.surrogate, saved)
    if faults:
        hint = "make room and solve again, or keep what was printed"
        raise UnsavedError(faults, hint if saved is None else f"the tables are in {saved}; {hint}", result)
    return result


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
    tally = _Tally()
    for first, answers in pipeline.invert_many(
        p.surrogate, frame, p.space, p.objective, p.solver, ctx, p.known, p.truth, p.designs, parts.done, p.near_to
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

    met = pd.read_parquet(out) if out.suffix.lower() == ".parquet" else pd.read_csv(out)
    reached = int(met.groupby("target")["met"].any().sum())
    return TableReport(
        out=str(out),
        run=p.source,
        status="met" if reached == len(frame) else "not met",
        targets=len(frame),
        met=reached,
        starts=tally.counts,  # type: ignore[arg-type]
        plugins=dict(p.plugins),
        seed=ctx.seed,
        backend=p.running,
        notes=list(p.notes),
        seconds=ctx.clock.report(),
    )


class _Tally:
    """Counts of starts over the chunks of a table."""

    def __init__(self) -> None:
        self.targets = 0
        self.counts = dict.fromkeys(("total", "converged", "hit", "unmoved", "not_finite"), 0)

    def add(self, answers: Answers) -> None:
        self.targets += len(answers.targets)
        for key, value in answers.counts().items():
            self.counts[key] += value


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
