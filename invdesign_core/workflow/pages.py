"""The report as one HTML file: of a run folder, and of answers that are not kept in one."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from invdesign_core.context import Context
from invdesign_core.data.data import TrainingRows
from invdesign_core.data.files.atomic import write_text
from invdesign_core.designs.report import Report, SurrogateReport, TableReport, reports_of_rows, target_reports
from invdesign_core.errors import RunStoreError, described, require
from invdesign_core.report import plots
from invdesign_core.report.notebook import framed
from invdesign_core.report.page import page
from invdesign_core.report.payload import Material, TargetTable, payload
from invdesign_core.search.inverse_problem import InverseProblem
from invdesign_core.space.conditions import Scenarios
from invdesign_core.space.space import Space
from invdesign_core.surrogate import backend
from invdesign_core.surrogate.second_model import SecondModel
from invdesign_core.surrogate.settings import Confidence
from invdesign_core.surrogate.surrogate import DAMAGED, Surrogate
from invdesign_core.workflow.run_folder import (
    ENVIRONMENT,
    LOG,
    PAGE,
    RESULT,
    SCENARIOS,
    STARTS,
    TRIALS,
    RunFolder,
)

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.designs.answers import Answers


def write_report(
    run: Path | str, out: Path | str | None = None, *, allow_code: bool = False, backend_name: str | None = None
) -> Path:
    """Write the report of a finished run, or of a later solve in it, as one HTML file, and return its path.

    Parameters
    ----------
    run : path
        The run folder, or the folder of one inversion in it, such as ``runs/first/solve/2``.
    out : path, optional
        The file; by default ``report.html`` in that folder.
    allow_code : bool
        Whether code in the surrogate's files may run.
    backend_name : str, optional
        What Keras runs on.

    Raises
    ------
    RunStoreError
        If the folder holds no finished run, is damaged, or the file can't be written.
    """
    require(run, (str, Path), "write_report: run", "the path of a run folder")
    require(out, (str, Path, type(None)), "write_report: out", "the path of a file")
    backend.select(backend_name)
    path = Path(run)
    inside = path.parent.name == "solve" and not (path / "resolved.json").exists()
    base = path.parent.parent if inside else path
    RunFolder.open(base)  # which refuses what is no finished run
    folder = RunFolder(base)  # and not its newest round, which the report is not about
    folder.read_settings_of_surrogate()
    name = path.name if inside else None
    report = _stored_report(folder, name)
    surrogate, rows = folder.read_surrogate(allow_code)
    second = folder.read_second(Confidence())
    place = f"solve/{name or 1}" if name or report.target else None
    material = in_folder(folder, report, surrogate, rows, place, second)
    file = path / PAGE if out is None else Path(out)
    write_text(file, html_of(material))
    return file


def html_of(material: Material, lean: bool = False) -> str:
    """Return the page of some material; a `lean` one has the answer and the profiler alone."""
    return page(payload(material, lean))


@dataclass(frozen=True)
class Pages:
    """What answers show of themselves."""

    material: Material

    def html(self) -> str:
        """Return the report as HTML."""
        return html_of(self.material)

    def notebook(self) -> str:
        """Return the designs and the profiler in a frame, for a notebook."""
        return framed(html_of(self.material, lean=True), "designs and profiler")

    def profiler(self, backend: str, design: int, inputs: Sequence[str] | None, outputs: Sequence[str] | None) -> Any:
        """Return a figure of each output over each input."""
        return plots.profiler(self.material, backend, design, inputs, outputs)

    def parallel(self, backend: str) -> Any:
        """Return a figure of the designs on parallel axes."""
        return plots.parallel(self.material, backend)


def in_folder(
    folder: RunFolder,
    report: Report,
    surrogate: Surrogate,
    rows: TrainingRows | None,
    place: str | None,
    second: SecondModel | None = None,
) -> Material:
    """Return what a page is made of, with what a run folder holds of its trials and of the inversion in `place`."""
    asked = None if place is None else folder.read_asked(place)
    space, command = (surrogate.space, "") if asked is None else asked
    environment = _environment(folder)

    def table(name: str, inside: str | None = "") -> Any:
        wanted = None if inside is None else f"{inside}/{name}".lstrip("/")
        return None if wanted is None or not folder.listed(wanted) else folder.read_parquet(wanted)

    drawn, trials = table(SCENARIOS, place), table(TRIALS)
    return Material(
        report,
        surrogate,
        space,
        rows,
        None if drawn is None else _scenarios(drawn, space, report),
        table(STARTS, place),
        () if trials is None else _trials(trials),
        command or str(environment.get("command", "")),
        {**environment.get("packages", {}), "python": str(environment.get("python", ""))},
        second=second,
        losses=_losses(folder),
    )


MOST_TARGETS = 200
"""Targets of a table that its page shows at most."""


def shown_of(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the best design of each of the first targets, from tables of designs in their order."""
    import pandas as pd

    found, count = list[pd.DataFrame](), 0
    for table in tables:
        found.append(table[table["rank"] == 1].iloc[: MOST_TARGETS - count])
        count += len(found[-1])
        if count >= MOST_TARGETS:
            break
    return pd.concat(found, ignore_index=True)


def of_table(
    table: TableReport,
    problem: InverseProblem,
    surrogate: Surrogate,
    rows: TrainingRows | None,
    known: SurrogateReport,
    designs: pd.DataFrame,
    first: int = 1,
) -> Material:
    """Return what the page of a table of targets is made of; `designs` are those to be shown, one for each target.

    `surrogate`, `rows` and `known` are the model that was learnt, and `first` is the number of the first target in
    `designs`.
    """
    second, drawn = problem.second, problem.surrogate.scenarios
    told = {name: getattr(table, name) for name in ("status", "verdict", "without_guarantee", "starts", "truth")}
    told |= {name: getattr(table, name) for name in ("plugins", "seed", "backend", "notes", "seconds", "units")}
    if not table.starts.total:  # they were not kept
        told["starts"] = None
    report = Report(
        run=table.run or None,
        met_by=None,
        target={},
        distinct=len(designs),
        designs=reports_of_rows(designs),
        level=None if second is None else second.level,
        measured=[],
        measured_count=0,
        measured_best=None,
        conditions=None if drawn is None else {name: str(said) for name, said in drawn.said.items()},
        scenarios=None if drawn is None else len(drawn),
        search=None,
        surrogate=known,
        **told,
    )
    numbers = designs["target"].to_numpy(dtype=np.intp) - first
    answer, row = (designs.get(f"measured.{name}", [None] * len(designs)) for name in ("answer", "row"))
    measured = [int(at) if is_one is True or is_one == 1 else None for is_one, at in zip(answer, row, strict=True)]
    return Material(
        report,
        surrogate,
        problem.space,
        rows,
        drawn,
        table=TargetTable(
            len(problem.targets),
            (numbers + 1).tolist(),
            [target_reports(problem.targets, t) for t in numbers.tolist()],
            measured,
            table.out,
        ),
        second=second,
    )


def write_page(folder: RunFolder, file: str, material: Material, ctx: Context) -> None:
    """Write the page of a run or a solve; that it could not be made is said, and spoils no result."""
    html = made(file, material, ctx)
    if html is not None:
        folder.write(file, html)


def made(file: str | Path, material: Material, ctx: Context) -> str | None:
    """Return the page that a file is to have; None where it could not be made, which is said."""
    try:
        return html_of(material)
    except Exception as error:
        ctx.warn(f"{file} could not be made ({described(error)}); all else of the result is there")
        return None


def with_page(answers: Answers, material: Material) -> Answers:
    """Return answers that can show themselves."""
    return replace(answers, shown=Pages(material))


def command() -> str:
    """Return the command line that is running; empty where another program than ours is."""
    if not sys.argv or Path(sys.argv[0]).stem != "invdesign":
        return ""
    return shlex.join(["invdesign", *sys.argv[1:]])


def _stored_report(folder: RunFolder, name: str | None) -> Report:
    """Return the report of a run, or of a later solve in it; the first inversion has the run's."""
    file = RESULT
    if name is not None:
        own = f"solve/{name}/report.json"
        if folder.listed(own) or name != "1":
            file = own
    path = folder.path / file
    if not path.exists():
        hint = "name the run folder, or one of the folders solve/1, solve/2, … in it"
        raise RunStoreError(f"{path}: there is no report of a finished run or solve", hint)
    try:
        return Report.model_validate(json.loads(folder.read(file)))
    except (ValueError, ValidationError) as error:
        raise RunStoreError(f"{path}: found no report of a run ({described(error)})", DAMAGED) from None


def _losses(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the losses by epoch that the log of a run has: those of its training, else of its trials."""
    found: dict[str, list[Any]] = {}
    if not folder.listed(LOG):
        return []
    content = folder.read(LOG)
    try:
        for line in content.decode("utf-8").splitlines():
            if '"trained"' in line:  # few of many lines
                event = json.loads(line)
                if event.get("kind") == "trained":
                    found.setdefault(event["stage"], []).extend(event["losses"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return []  # a log is for information only
    return found.get("train", found.get("tune", []))


def _environment(folder: RunFolder) -> dict[str, Any]:
    if not folder.listed(ENVIRONMENT):
        return {}
    content = folder.read(ENVIRONMENT)
    try:
        found = json.loads(content)
    except ValueError:
        return {}  # versions are for information only
    return found if isinstance(found, dict) else {}


def _scenarios(frame: Any, space: Space, report: Report) -> Scenarios:
    """Return the scenarios that are kept beside answers."""
    columns, values = list[int](), []
    for variable, part in zip(space.variables, space.slices, strict=True):
        if variable.name in frame.columns:
            columns += range(part.start, part.stop)
            values.append(variable.encode(frame[variable.name].tolist()))
    said: Any = dict(report.conditions or {})
    return Scenarios(said, np.array(columns, dtype=np.intp), np.hstack(values), frame)


def _trials(frame: Any) -> list[dict[str, Any]]:
    """Return trials as plain values."""
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records"))
    return rows
