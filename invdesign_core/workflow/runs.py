"""The runs in a folder: listed, compared, and taken away. Folders that are damaged or not ours are only named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from invdesign_core.designs.report import Report, SurrogateReport
from invdesign_core.errors import ConfigError, RunStoreError, described, reason
from invdesign_core.surrogate.sealed import plain
from invdesign_core.surrogate.surrogate import DAMAGED, META
from invdesign_core.workflow.locks import is_held
from invdesign_core.workflow.manifest import MANIFEST
from invdesign_core.workflow.run_folder import (
    ENVIRONMENT,
    LOCK,
    LOG,
    PAGE,
    ROUNDS,
    SECOND,
    TRIALS,
    RunFolder,
    newest,
    rounds_of,
)
from invdesign_core.workflow.run_folder import RESULT as REPORT_FILE

SETTINGS_FILE = "resolved.json"
OURS = {
    LOCK,
    SETTINGS_FILE,
    REPORT_FILE,
    ENVIRONMENT,
    LOG,
    "experiment.toml",
    MANIFEST,
    TRIALS,
    PAGE,
    SECOND,
    ROUNDS,
    "trials",
    "race",
    "surrogate",
    "solve",
    "truth",
    "plugins",
}
"""What invdesign writes at the top of a run folder."""
REMOVED = ".removed"
"""What the name of a run ends with while it is deleted."""
BY_HAND = "look into the folder, and delete it yourself if it is not needed"
SAME_ROWS = ("seed", "the data", "the split", "the groups", "training.test")
"""What decides which rows a surrogate is tested on."""


@dataclass(frozen=True)
class Listed:
    """One run, as a list shows it; what an unfinished run does not know yet is None."""

    path: Path
    status: str
    """That of its report; else ``unfinished`` or ``being written``."""
    began: str | None
    target: str
    surrogate: str | None
    r2: float | None
    """The lowest R² of its outputs, on rows that the surrogate was not trained on."""
    designs: int
    solves: int
    rounds: int
    megabytes: float

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**vars(self), "path": str(self.path)}


@dataclass(frozen=True)
class Foreign:
    """A folder that is no run, or a damaged one, and why."""

    path: Path
    why: str

    def to_json(self) -> dict[str, str]:
        """Return it as plain values."""
        return {"path": str(self.path), "why": self.why}


@dataclass(frozen=True)
class Difference:
    """A setting that two runs differ in; `missing` where one has none."""

    setting: str
    first: Any
    second: Any


@dataclass(frozen=True)
class Compared:
    """Two runs side by side."""

    first: Path
    second: Path
    differences: list[Difference]
    same_rows: bool
    """Whether their surrogates were tested on the same rows, so that their errors can be compared."""
    surrogates: tuple[SurrogateReport | None, SurrogateReport | None]
    reports: tuple[Report | None, Report | None]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "runs": [str(self.first), str(self.second)],
            "differences": [vars(one) for one in self.differences],
            "same_test_rows": self.same_rows,
            "surrogates": [None if one is None else one.model_dump(mode="json") for one in self.surrogates],
            "results": [
                None
                if one is None
                else one.model_dump(mode="json", include={"status", "verdict", "target", "designs", "measured_count"})
                for one in self.reports
            ],
        }


def list_runs(folder: Path) -> tuple[list[Listed], list[Foreign]]:
    """Return the runs in a folder, the newest last, and what else lies there."""
    if not folder.exists():
        return [], []
    if not folder.is_dir():
        raise ConfigError(f"{folder}: this is a file, expected a folder with runs", "by default it is the folder runs")
    try:
        paths = [folder] if (folder / SETTINGS_FILE).exists() else sorted(folder.iterdir())
    except OSError as error:
        raise RunStoreError(f"{folder}: the folder can't be read: {reason(error)}") from None
    runs, others = list[Listed](), list[Foreign]()
    for path in paths:
        try:
            runs.append(_listed(path))
        except RunStoreError as error:
            others.append(Foreign(path, error.message.removeprefix(f"{path}: ")))
    return sorted(runs, key=lambda run: (run.began or "", run.path.name)), others


def compare_runs(first: Path, second: Path) -> Compared:
    """Return what two runs differ in, and how good they are."""
    settings = []
    for path in (first, second):
        _check_ours(path)
        settings.append(RunFolder(path).read_settings())
    one, other = (_flat(item) for item in settings)
    differences = [
        Difference(key, one.get(key), other.get(key)) for key in {**one, **other} if one.get(key) != other.get(key)
    ]
    by = [item["trials depend on"] for item in settings]
    return Compared(
        first,
        second,
        differences,
        all(by[0].get(key) == by[1].get(key) for key in SAME_ROWS),
        (_surrogate(first), _surrogate(second)),
        (_report(first), _report(second)),
    )


def check_removable(path: Path) -> Listed:
    """Return what a run is that is to be taken away; refuse what is no run of ours, and what is in use."""
    if (path / "round.json").exists():
        raise RunStoreError(f"{path}: this is a round of a run, on which later ones rest", "name the run itself")
    listed = _listed(path)
    if listed.status == "being written":
        raise RunStoreError(f"{path}: another process is writing this run", "wait for it, or stop it")
    strange = sorted(item.name for item in path.iterdir() if item.name not in OURS and not _left_behind(item.name))
    if strange:
        raise RunStoreError(
            f"{path}: found {', '.join(map(repr, strange[:3]))}{' and more' * (len(strange) > 3)}, which invdesign did "
            "not write",
            "move elsewhere what you want to keep, then repeat the command",
        )
    return listed


def remove_run(path: Path) -> None:
    """Take a run away, whole, unless another process is writing it; what links in it lead to stays."""
    check_removable(path)
    whole = path.resolve()
    with RunFolder(path).locked():
        for number in rounds_of(path):
            if is_held(path / ROUNDS / str(number) / LOCK):
                raise RunStoreError(f"{path / ROUNDS / str(number)}: another process is writing it", "wait for it")
        aside = whole.with_name(f".{whole.name}{REMOVED}")
        try:
            whole.rename(aside)  # no run is ever seen half deleted
            shutil.rmtree(aside)
        except OSError as error:
            here = aside if aside.exists() else path
            raise RunStoreError(f"{here}: the run can't be deleted: {reason(error)}", BY_HAND) from None


def _listed(path: Path) -> Listed:
    """Return what is known of a run; RunStoreError where it is none, or damaged."""
    _check_ours(path)
    folder = RunFolder(path)
    settings, report = folder.read_settings(), _report(path)
    surrogate = _surrogate(path)
    known = [m.r2 for m in surrogate.test.values() if m.r2 is not None] if surrogate else []
    status = report.status if report else "unfinished"
    said = report.target if report else {}
    wanted = [_wanted(name, target.model_dump()) for name, target in said.items()]
    return Listed(
        path,
        "being written" if is_held(path / LOCK) else status,
        _began(path),
        ", ".join(wanted) or ", ".join(settings["experiment"].get("targets") or {}),
        surrogate.plugin if surrogate else _name(settings, "surrogate"),
        min(known, default=None),
        0 if report is None else len(report.designs),
        sum(1 for item in (path / "solve").glob("*") if item.name.isdecimal()),
        len(rounds_of(path)),
        round(sum(item.stat().st_size for item in _files(path)) / 1e6, 2),
    )


def _check_ours(path: Path) -> None:
    """Refuse what is no folder of a run."""
    if path.is_symlink():
        raise RunStoreError(f"{path}: this is a link, which is not followed", "name the folder that it leads to")
    if not path.exists():
        raise RunStoreError(f"{path}: there is no such run", "list them with `invdesign runs list`")
    if path.name.startswith(".") and path.name.endswith(REMOVED):
        raise RunStoreError(f"{path}: this is what is left of a run that could not be deleted", BY_HAND)
    if not path.is_dir():
        raise RunStoreError(f"{path}: this is a file, expected a run folder")
    if not (path / SETTINGS_FILE).is_file():
        raise RunStoreError(f"{path}: this is not a run folder (no {SETTINGS_FILE})", BY_HAND)


def _report(path: Path) -> Report | None:
    """Return the report of a run; None where it is unfinished."""
    file = path / REPORT_FILE
    if not file.exists():
        return None
    try:
        return Report.model_validate_json(RunFolder(path).read(REPORT_FILE))
    except ValidationError as error:
        raise RunStoreError(f"{file}: found no report of a run ({described(error).splitlines()[0]})", DAMAGED) from None


def _surrogate(path: Path) -> SurrogateReport | None:
    """Return how good the newest surrogate of a run is; None where none is known."""
    folder = RunFolder(newest(path))
    return folder.read_report() if folder.has(f"surrogate/{META}") else None


def _began(path: Path) -> str | None:
    """Return when a run began, by the first line of its log."""
    folder = RunFolder(path)
    if not folder.listed(LOG):
        return None
    content = folder.read(LOG)
    try:
        time = json.loads(content.partition(b"\n")[0])["time"]
        return datetime.fromisoformat(time).isoformat(sep=" ", timespec="seconds")
    except (ValueError, KeyError, TypeError):
        return None


def _wanted(name: str, target: Mapping[str, Any]) -> str:
    """Write a target as it would be typed."""
    from invdesign_core.targets import Target

    low, high = (
        default if target[key] is None else target[key]
        for key, default in (("lower", -float("inf")), ("upper", float("inf")))
    )
    return f"{name} {Target(low, high, goal=target['goal'])}"


def _name(settings: Mapping[str, Any], kind: str) -> str | None:
    name = settings["plugins"].get(kind, {}).get("name")
    return None if name is None else str(name)


def _files(path: Path) -> Iterator[Path]:
    """Yield the files below a folder, without following links."""
    return (item for item in path.rglob("*") if item.is_file() and not item.is_symlink())


def _left_behind(name: str) -> bool:
    """Say whether a name is that of a file of ours that a kill left half written."""
    return name.startswith(".") and name.endswith(".partial")


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run by their names, as in an experiment file, and what they ran on."""
    found = dict(_leaves(settings["experiment"], ""))
    for kind, plugin in settings["plugins"].items():
        found[f"{kind}.use"] = plugin["name"]
        found[f"version of {plugin['distribution']}"] = plugin["version"]
        found |= {f"{kind}.{key}": plain(value) for key, value in plugin.get("options", {}).items()}
    found["backend"] = settings["backend"]
    found |= {k: v for k, v in settings["trials depend on"].items() if k.startswith("the ")}
    return found


def _leaves(item: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield what a mapping holds, with the names of the mappings around it."""
    for key, value in item.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        elif value != {}:
            yield f"{prefix}{key}", value
