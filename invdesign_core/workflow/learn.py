"""`learn`: measured rows are checked, compared with what was predicted of them, and learnt in a new round of a run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.data.data import TrainingRows, refuse_truths, true_or_false
from invdesign_core.data.files.atomic import atomic_write
from invdesign_core.data.files.load import AUTOMATIC
from invdesign_core.data.files.options import Reading
from invdesign_core.data.files.write import check_new, for_csv
from invdesign_core.data.own_columns import designs_of, in_own_units, read_designs
from invdesign_core.designs.report import LearnReport, MeasurementReport
from invdesign_core.errors import ConfigError, DataError, RunStoreError, near_or_all, plural, writing
from invdesign_core.space.arrays import FloatArray, IndexArray, Mask
from invdesign_core.space.space import Space
from invdesign_core.space.variables import plain
from invdesign_core.surrogate.settings import Training
from invdesign_core.surrogate.surrogate import DAMAGED
from invdesign_core.targets import Target, Targets
from invdesign_core.workflow.confidence import second_model
from invdesign_core.workflow.load import Prepared
from invdesign_core.workflow.propose import Proposed, as_told, belief_of, described, propose_one, refuse_scenarios
from invdesign_core.workflow.rounds import TWICE, Trainers, on_or_again, widened, with_rows
from invdesign_core.workflow.run_folder import ABOUT_ROUND, MEASURED, ROUNDS, RunFolder, rounds_of
from invdesign_core.workflow.train import ForwardModel

if TYPE_CHECKING:
    import pandas as pd

SINCE = "rows at the beginning"
"""Where a round says how many rows the surrogate was last trained on from the beginning."""
ROUNDING = 1e-11
"""Values that differ by less than this share are one, written with other digits."""
EMPTY, KNOWN = "nothing was filled in", "known already"
"""Why rows are skipped."""


@dataclass(frozen=True)
class Measured:
    """Rows that were measured: (k, e) designs, (k, m) outputs, NaN where one was not, and (k,) numbers in the table."""

    frame: pd.DataFrame
    x: FloatArray
    y: FloatArray
    rows: IndexArray
    space: Space
    skipped: Mapping[str, int]


def learn_table(
    p: Prepared,
    table: Path,
    *,
    targets: Sequence[str] = (),
    reading: Reading = AUTOMATIC,
    afresh: bool = False,
    batch: int | None = None,
    out: Path | None = None,
) -> LearnReport:
    """Learn the measured rows of a table in a new round of a run, and propose the next experiments.

    Rows without a measured output, and rows that are known already, are skipped. The surrogate is trained on from
    where it is, or from the beginning where that is asked for (`afresh`) or the rows have doubled since. `batch` is how
    many experiments to propose, by default as many as were added, and 0 for none; `out` is the file to write them to.

    Raises
    ------
    DataError
        If a row can't be used, or none is new.
    """
    if p.folder is None:
        raise ConfigError(f"{p.source}: only a run learns more rows, and this is a model", "name a run folder")
    if out is not None:
        check_new(out)
    ctx, model = p.ctx, p.model
    measured = read_measured(p, table, reading)
    root = RunFolder(p.source)
    wanted = p.wanted(targets)
    if wanted and (batch is None or batch):  # not only once all is trained
        refuse_scenarios(p.problem(wanted))
    with root.locked():
        number = (rounds_of(p.source) or [0])[-1] + 1
        belief = belief_of(model.surrogate, model.rows, p.registry, ctx)
        before = as_told(described(measured.x, belief, None, model.surrogate), model.second, model.known.y)
        since = rows_at_the_beginning(p)
        if model.of_more_rows:
            ctx.warn(
                f"the surrogate has learnt from {model.of_more_rows} rows of a table that stayed on disk, and goes on "
                f"from the {len(model.known.x)} of them that are kept with the run and the new ones, by which its "
                "errors may grow; to learn from all, add the new rows to the table and run it again"
            )
        total = len(model.known.x) + len(measured.x)
        if not afresh and total >= TWICE * since:
            ctx.note(f"{total} rows, {since} when the surrogate was last trained from the beginning: it is again now")
            afresh = True
        found, again = learnt(p, measured, tuple(wanted), afresh)
        found = with_second(p, found)
        folder = p.source / ROUNDS / str(number)
        after = replace(p, model=found, base=found.surrogate.space, folder=RunFolder(folder))
        following = None
        if batch is None or batch:
            following, _ = propose_one(after, targets, batch or len(measured.x), out, must=False)
        report = LearnReport(
            run=str(p.source),
            round=number,
            folder=str(folder),
            table=str(table),
            added=len(measured.x),
            skipped=dict(measured.skipped),
            rows={part: found.report.rows.get(part, 0) for part in ("train", "validation", "test")},
            measured=_compared(measured, before, wanted, model),
            inside=_inside(measured, before, model.surrogate.outputs),
            level=before.level,
            afresh=again,
            before=model.report.test if _held_out(model) else {},
            after=found.report.test if _held_out(found) else {},
            next=following,
            seconds=ctx.clock.report(),
            notes=list(p.notes),
        )
        about = {SINCE: len(found.known.x) if again else since, **report.model_dump()}
        write_round(folder, p.folder, found, measured, before, about)
    return report


def learnt(p: Prepared, measured: Measured, asked: tuple[str, ...], afresh: bool) -> tuple[ForwardModel, bool]:
    """Return the model of a run once it has learnt measured rows, and whether it began from the beginning."""
    data = with_rows(p.model, measured.x, measured.y, measured.space)
    return on_or_again(p.model, data, trainers_of(p), asked, afresh, p.ctx)


def with_second(p: Prepared, model: ForwardModel) -> ForwardModel:
    """Return a model with another one beside it that tells how far to trust it, unless the run wants none."""
    if not p.experiment.confidence.wanted:
        return model
    return replace(model, second=second_model(model, p.experiment.confidence, p.ctx, p.registry))


def trainers_of(p: Prepared) -> Trainers:
    """Return what the surrogate of a run was trained by."""
    assert p.folder is not None
    stages = p.experiment.stages(p.registry)
    builder: Any = stages.surrogate
    tuner: Any = stages.tuner
    kept = p.experiment.training
    said = p.folder.read_settings().get("training as set")
    default = Training()
    # An older run does not say which settings were the user's: those that differ from the defaults.
    keys = said if said is not None else [k for k in Training.model_fields if getattr(kept, k) != getattr(default, k)]
    training = Training(**{key: getattr(kept, key) for key in keys})
    return Trainers(builder, tuner, training, p.registry)


def read_measured(p: Prepared, table: Path, reading: Reading = AUTOMATIC) -> Measured:
    """Return the rows of a file that can be learnt, in the units of the run, and refuse what can't be meant."""
    names = [*p.base.names, *p.model.surrogate.outputs]
    frame = in_own_units(read_designs(table, p.base, reading=reading), names, p.units, str(table), names)
    return checked(frame, p, table)


def checked(frame: pd.DataFrame, p: Prepared, table: Path | str) -> Measured:
    """Return the rows of a table that can be learnt, and refuse what can't be meant."""
    frame = frame.rename(columns=str)
    surrogate, ctx = p.model.surrogate, p.ctx
    names = [name for name in surrogate.outputs if name in frame.columns]
    if not names:
        raise DataError(f"{table}: no column is an output", near_or_all(surrogate.outputs[0], list(frame.columns)))
    y = np.full((len(frame), len(surrogate.outputs)), np.nan)
    bits = true_or_false(p.model.known.measured.y, surrogate.outputs)
    for m, name in enumerate(surrogate.outputs):
        if name in names:
            y[:, m] = _numbers(frame[name], f"{table}, column {name!r}", name in bits)
    filled = np.isfinite(y).any(axis=1)
    skipped = {EMPTY: int((~filled).sum())}
    rows = np.flatnonzero(filled)
    if not len(rows):
        raise DataError(f"{table}: {EMPTY} in {', '.join(map(repr, names))}", "write what was measured into the table")
    designs = designs_of(frame.iloc[rows], p.base, surrogate.outputs, str(table)).reset_index(drop=True)
    space = widened(p.base, designs)
    x, y = space.encode(designs), y[rows]
    if np.isnan(y).any() and not surrogate.differentiable:
        gaps = np.isnan(y).any(axis=1)
        raise DataError(
            f"{table}, row {rows[np.argmax(gaps)] + 1}: not all outputs are filled in, and surrogate "
            f"{p.plugins['surrogate']!r} needs them all",
            "fill them in, or clear all outputs of that row",
        )
    y = not_known(x, y, p.model.known)
    new = np.isfinite(y).any(axis=1)
    skipped[KNOWN] = int((~new).sum())
    for reason, count in skipped.items():
        if count:
            ctx.note(f"{table}: {plural(count, 'row')} skipped: {reason}")
    if not new.any():
        raise DataError(f"{table}: no row is new: all that are filled in are known already", None)
    x, y, rows, designs = x[new], y[new], rows[new], designs.iloc[np.flatnonzero(new)].reset_index(drop=True)
    _tell_outside(p, designs, rows, table)
    return Measured(designs, x, y, rows + 1, space, {key: count for key, count in skipped.items() if count})


def _numbers(column: pd.Series, place: str, truths: bool) -> FloatArray:
    """Return the numbers of an output's column, NaN where a cell is empty; refuse text, and `truths` but for some."""
    import pandas as pd

    if not truths:
        refuse_truths(column, place)
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    blank = column.isna().to_numpy() | np.array([isinstance(c, str) and not c.strip() for c in column], dtype=bool)
    wrong = ~blank & ~np.isfinite(numbers)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{place}, row {row + 1}: found {plain(column.iloc[row])!r}, expected a number, or an empty cell where "
            "nothing was measured"
        )
    return np.asarray(numbers)


def not_known(x: FloatArray, y: FloatArray, known: TrainingRows) -> FloatArray:
    """Return (k, m) measured outputs of (k, e) designs without those that are known already.

    A row is known where one among those known, or before it, has its design and its outputs; so is one that leaves out
    some of them. What a row adds to one with gaps, whose design and other outputs it has, is all that is new of it.
    """
    everything = known.measured
    designs, found = values_apart(np.concatenate([everything.x, x])), y.copy()
    outputs = values_apart(np.concatenate([everything.y, y]))
    there, first, places = outputs >= 0, len(everything.x), dict[bytes, list[int]]()
    for at, design in enumerate(designs):
        before = places.setdefault(design.tobytes(), [])
        if at >= first:
            rest = there[at].copy()
            alike = [i for i in before if np.array_equal(outputs[i, (own := rest & there[i])], outputs[at, own])]
            if any((there[i] >= rest).all() for i in alike):
                found[at - first] = np.nan
                continue  # it tells nothing of those after it either
            for i in alike:
                if there[i].any() and (there[i] <= rest).all():
                    rest &= ~there[i]
                    before.remove(i)  # it is whole now, and no other row completes it
            found[at - first, ~rest] = np.nan
        before.append(at)
    return found


def values_apart(values: FloatArray) -> IndexArray:
    """Return (n, c) numbers that are equal where two values of a column differ by rounding alone, -1 where none is."""
    found = np.full(values.shape, -1, dtype=np.intp)
    for column, own in zip(found.T, values.T, strict=True):
        there = np.flatnonzero(np.isfinite(own))
        order = there[np.argsort(own[there], kind="stable")]
        column[order] = np.cumsum(np.diff(own[order], prepend=own[order][:1]) > ROUNDING * np.abs(own[order]))
    return found


def _tell_outside(p: Prepared, designs: pd.DataFrame, rows: IndexArray, table: Path | str) -> None:
    """Warn of rows that the bounds or constraints of the run do not allow; they teach all the same."""
    space = p.experiment.design.apply(p.base, p.model.surrogate.outputs)
    x = widened(p.base, designs).encode(designs)
    places = rows[np.flatnonzero(~(space.feasible_set.holds(x) & space.constraints.within_limits(x)))] + 1
    if len(places):
        where = ", ".join(map(str, places[:5])) + ("" if len(places) <= 5 else ", …")
        p.ctx.warn(
            f"{table}: outside the bounds or constraints of the run: {plural(len(places), 'row')} ({where}); "
            "learnt all the same"
        )


def _held_out(model: ForwardModel) -> bool:
    return model.known.held_out is not None and len(model.known.held_out.x) > 0


def _compared(
    measured: Measured, before: Proposed, wanted: Mapping[str, Target], model: ForwardModel
) -> list[MeasurementReport]:
    """Return measured rows beside what was predicted of them."""
    outputs = model.surrogate.outputs
    low, high = before.interval
    met: Mask | None = None
    asked = {name: target for name, target in wanted.items() if name in outputs}
    if asked:
        targets = Targets.build([asked], outputs, model.surrogate.spread)
        if targets.limited.any():
            met = np.asarray(targets.met(measured.y, np.zeros(len(measured.y), dtype=np.intp)).all(axis=1))

    def row(values: FloatArray) -> dict[str, float | None]:
        return dict(zip(outputs, values.tolist(), strict=True))

    inside = np.asarray(measured.y >= low) & np.asarray(measured.y <= high)
    return [
        MeasurementReport(
            row=int(measured.rows[i]),
            inputs={name: plain(value) for name, value in record.items()},
            measured=row(measured.y[i]),
            prediction=row(before.mean[i]),
            low=row(low[i]),
            high=row(high[i]),
            inside={n: bool(inside[i, m]) for m, n in enumerate(outputs) if np.isfinite(measured.y[i, m])},
            met=None if met is None else bool(met[i]),
        )
        for i, record in enumerate(measured.frame.to_dict("records"))
    ]


def _inside(measured: Measured, before: Proposed, outputs: Sequence[str]) -> dict[str, tuple[int, int]]:
    low, high = before.interval
    there = np.isfinite(measured.y)
    inside = there & (measured.y >= low) & (measured.y <= high)
    return {name: (int(inside[:, m].sum()), int(there[:, m].sum())) for m, name in enumerate(outputs)}


def rows_at_the_beginning(p: Prepared) -> int:
    """Return how many rows the surrogate was last trained on from the beginning."""
    assert p.folder is not None
    about = p.folder.read_round()
    if about is None:
        return len(p.model.known.x)
    if not isinstance(about.get(SINCE), int):
        raise RunStoreError(f"{p.folder.path / ABOUT_ROUND}: found no number of {SINCE}", DAMAGED)
    return int(about[SINCE])


def write_round(
    folder: Path, before: RunFolder, model: ForwardModel, measured: Measured, said: Proposed, about: Mapping[str, Any]
) -> None:
    """Write a round whole or not at all: a run folder of its own, with the rows that it has learnt."""
    outputs = model.surrogate.outputs
    low, high = said.interval
    rows = measured.frame.assign(**dict(zip(outputs, measured.y.T, strict=True)))
    for m, name in enumerate(outputs):
        rows[f"prediction.{name}"] = said.mean[:, m]
        rows[f"low_new.{name}"], rows[f"high_new.{name}"] = low[:, m], high[:, m]
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder) as partial:
        partial.mkdir()
        shutil.copyfile(before.path / "resolved.json", partial / "resolved.json")
        files = RunFolder(partial)
        files.write_surrogate(model.surrogate, model.known, model.report)
        if model.second is not None:
            files.write_second(model.second)
        for_csv(rows).to_csv(partial / MEASURED, index=False)
        files.write_json(ABOUT_ROUND, about)
        files.write_round_manifest()
