"""Run folders: plain files, written beside and renamed; without a `run.json` a run is unfinished."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign_core.context import Event
from invdesign_core.data.data import OWN, TrainingRows
from invdesign_core.data.files.atomic import atomic_write, write_text
from invdesign_core.data.files.write import for_csv, of_one_type_each
from invdesign_core.designs.report import Report, SurrogateReport, interval_report
from invdesign_core.errors import InvdesignError, RunStoreError, reason, writing
from invdesign_core.space.space import Space
from invdesign_core.space.units import headings
from invdesign_core.surrogate.keras_file import is_model_folder
from invdesign_core.surrogate.sealed import KEY, opened, read_arrays, read_bytes, seal
from invdesign_core.surrogate.second_model import SecondModel
from invdesign_core.surrogate.settings import Confidence
from invdesign_core.surrogate.surrogate import DAMAGED, META, Surrogate, checked, read_meta
from invdesign_core.surrogate.trials import TrialTable
from invdesign_core.workflow.locks import Lock
from invdesign_core.workflow.manifest import MANIFEST, Manifest, read_listed, write_manifest
from invdesign_core.workflow.race_memory import RaceMemory

if TYPE_CHECKING:
    from invdesign_core.designs.answers import Answers

KNOWN = "known.npz"
REPORT = "report.json"
SETTINGS = "settings.sha256"
"""Files beside a surrogate's members: the rows that it learnt from, how good it is, and by which settings."""
SECOND = "second"
"""The folder of the second model."""
ASKED, PAGE, UNITS = "asked.json", "report.html", "units.json"
"""Files beside the answers: what was searched and by which command, the report to be looked at, units by column."""
STARTS, SCENARIOS = "starts.parquet", "scenarios.parquet"
RESULT, LOG, ENVIRONMENT, TRIALS = "run.json", "events.jsonl", "environment.json", "trials.parquet"
LISTED = ("resolved.json", ENVIRONMENT, LOG, TRIALS, "surrogate/meta.json", "second/meta.json")
"""What the manifest of a run lists besides its report and its answers; what these hold checksums of needs no more."""
ABOUT_ROUND, MEASURED = "round.json", "measured.csv"
"""What a round says of itself, and the rows that it has learnt."""
RUNS = Path("runs")
"""Where runs go when nothing else is said."""
PACKAGES = ("invdesign", "keras", "jax", "tensorflow", "keras-tuner", "numpy", "scipy", "pandas", "scikit-learn")


LOCK = ".lock"
ROUNDS = "rounds"
"""The folder below a run with its rounds, each of which is a run with more rows."""


def rounds_of(path: Path) -> list[int]:
    """Return the numbers of the rounds of a run, the first first; each was written whole, so each has its files."""
    found = [p for p in (path / ROUNDS).glob("*") if p.name.isdecimal()]
    for folder in found:
        if not (folder / "surrogate" / META).exists():
            raise RunStoreError(f"{folder / 'surrogate' / META}: the file is missing", DAMAGED)
    return sorted(int(p.name) for p in found)


def newest(path: Path) -> Path:
    """Return the folder of the newest round of a run, or the run's own where it has none."""
    numbers = rounds_of(path)
    return path / ROUNDS / str(numbers[-1]) if numbers else path


def run_of(path: Path) -> Path:
    """Return the folder of the run that a round belongs to; of a run its own."""
    place = path.absolute()
    return place.parents[1] if place.parent.name == ROUNDS and (place / ABOUT_ROUND).exists() else path


def installed() -> dict[str, str]:
    """Return the versions of the main packages."""
    versions = {}
    for name in PACKAGES:
        with suppress(Exception):  # it is not installed, or its metadata are damaged
            versions[name] = metadata.version(name)
    return versions


def is_run(path: Path) -> bool:
    """Whether a path is to be read as a run folder, and not as a model of the user's own."""
    return path.is_dir() and ((path / "resolved.json").exists() or not is_model_folder(path))


class RunFolder:
    """One run's files; what can't be written or read is a RunStoreError that names the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: Lock | None = None
        self._fresh = False
        self._log_lost = False

    @classmethod
    def create(cls, path: Path | None, resume: bool = False) -> RunFolder:
        """Make a new run folder, or resume an unfinished one, and lock it until `close`."""
        fresh = path is None
        path = _new_folder() if path is None else path
        if resume and not path.is_dir():
            raise RunStoreError(f"{path}: there is no run to resume", "omit --resume to start a new run")
        if path.exists() and not path.is_dir():
            raise RunStoreError(f"{path}: this is a file, expected a folder for the run", "choose another --out")
        if path.is_dir() and not resume and not fresh and any(path.iterdir()):
            if (path / "resolved.json").exists() and not (path / "run.json").exists():
                raise RunStoreError(f"{path}: the folder holds an unfinished run", "add --resume to continue it")
            raise RunStoreError(f"{path}: the folder is not empty", "choose another --out")
        fresh = fresh or not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
            folder = cls(path)
            folder._fresh = fresh
            folder._lock()
        except OSError as error:
            if fresh:
                with suppress(OSError):
                    (path / LOCK).unlink(missing_ok=True)
                    path.rmdir()
            raise RunStoreError(
                f"{path}: the folder can't be written: {reason(error)}", "choose another --out"
            ) from None
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Return a finished run: its newest round, where rows were learnt after it."""
        if not path.exists():
            raise RunStoreError(f"{path}: there is no such run or model file")
        if not (path / "resolved.json").exists():
            raise RunStoreError(
                f"{path}: this is not a run folder (no resolved.json)", "name the folder that a run wrote"
            )
        if not (path / "surrogate" / "meta.json").exists():
            if (path / "run.json").exists():
                raise RunStoreError(f"{path / 'surrogate' / 'meta.json'}: the file is missing", DAMAGED)
            raise RunStoreError(
                f"{path}: this run is unfinished",
                f"resume it with the command that started it plus --out {path} --resume",
            )
        return cls(newest(path))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other process write into the run meanwhile."""
        with writing(self.path):
            self._lock()
        try:
            yield
        finally:
            self.close()

    def has(self, name: str) -> bool:
        """Whether the run has a file of that name."""
        return (self.path / name).exists()

    def write(self, name: str, content: str) -> None:
        """Write a text file."""
        write_text(self.path / name, content)

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file."""
        self.write(name, json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n")

    def write_sealed(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file that is read back, with its own checksum in it."""
        self.write_json(name, seal(content))

    def read_settings(self) -> dict[str, Any]:
        """Return what `resolved.json` says of the run."""
        keys = ("experiment", "plugins", "folder", "backend", "truth", "trials depend on")
        settings = opened(self.read("resolved.json"), str(self.path / "resolved.json"), DAMAGED, keys)
        if settings.get(MANIFEST) and (self.has(RESULT) or self.has(ABOUT_ROUND)) and not self.has(MANIFEST):
            raise RunStoreError(
                f"{self.path / MANIFEST}: the file is missing, and with it the checksums of the run",
                f"{DAMAGED}; if a resumed run was stopped, resume it once more (--resume)",
            )
        return settings

    def read_settings_of_surrogate(self) -> dict[str, Any]:
        """Return what `resolved.json` says of the run, if it is the one that the surrogate was trained by."""
        settings = self.read_settings()
        kept = self._surrogate_file(SETTINGS)
        if kept is not None and kept.decode("ascii", "replace") != seal(settings)[KEY]:
            raise RunStoreError(
                f"{self.path / 'resolved.json'}: these are not the settings that the surrogate was trained with "
                f"(surrogate/{SETTINGS}): one of them belongs to another run, or a resumed run has not finished",
                f"{DAMAGED}, or resume it (--resume)",
            )
        return settings

    def read_report(self) -> SurrogateReport | None:
        """Return how good the surrogate is; None where it was saved without that."""
        kept = self._surrogate_file(REPORT)
        if kept is None:
            return None
        report = json.loads(kept)
        path = self.path / RESULT
        if path.exists():
            try:
                said = json.loads(self.read(RESULT))["surrogate"]
            except (ValueError, TypeError, KeyError) as error:
                raise RunStoreError(f"{path}: found no report of a run ({error!r})", DAMAGED) from None
            if said != report:
                raise RunStoreError(
                    f"{path}: its 'surrogate' is not what surrogate/{REPORT} says: one of them is of another run, or "
                    "was changed",
                    DAMAGED,
                )
        return SurrogateReport.model_validate(report)

    def read(self, name: str) -> bytes:
        """Return a file of the run, held to the manifest of its own folder, or of the run's, where there is one."""
        path = self.path / name
        if path.parent == self.path or not (path.parent / MANIFEST).exists():
            return read_listed(self.path, name, DAMAGED)
        manifest = Manifest.of(path.parent, DAMAGED)
        if manifest is not None and manifest.about.get("surrogate") != self.key_of_surrogate():
            raise RunStoreError(
                f"{manifest.path}: found answers of another surrogate than {self.path / 'surrogate' / META}: one of "
                "the two is of another run, or the run was resumed with other settings since",
                "solve again",
            )
        return read_listed(path.parent, path.name, DAMAGED)

    def listed(self, name: str) -> bool:
        """Whether the run has a file of that name; one that the manifest lists has to be there."""
        path = self.path / name
        if path.exists():
            return True
        for folder in (self.path, path.parent):
            manifest = Manifest.of(folder, DAMAGED)
            if manifest is not None and str(path.relative_to(folder)) in manifest.files:
                raise RunStoreError(f"{path}: the file is missing", DAMAGED)
        return False

    def read_parquet(self, name: str) -> Any:
        """Return a table of the run, held to the manifest where there is one."""
        import pandas as pd

        content = self.read(name)
        try:
            return pd.read_parquet(io.BytesIO(content))
        except Exception as error:  # pyarrow raises its own, and nearly anything else
            said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise RunStoreError(f"{self.path / name}: found no parquet table ({said})", DAMAGED) from None

    def _surrogate_file(self, name: str) -> bytes | None:
        """Return a file beside the surrogate's members, held to its checksum; None where none was saved."""
        files = self._meta("surrogate")["files"]
        return read_bytes(self.path / "surrogate" / name, DAMAGED, files[name]) if name in files else None

    def write_environment(self, command: str = "") -> None:
        """Write down what the run ran on, and the command that began it."""
        versions = installed()
        machine = {"python": platform.python_version(), "platform": platform.platform(), "processors": os.cpu_count()}
        self.write_json(ENVIRONMENT, machine | {"packages": versions, "command": command})

    def event(self, event: Event) -> None:
        """Append an event to the log; the first that can't be written is the last."""
        if event.kind == "progress" or self._log_lost:
            return
        line = {"time": datetime.now().isoformat(timespec="milliseconds"), "kind": event.kind, **event.data}
        log = self.path / LOG
        try:
            with writing(log), log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        except RunStoreError:
            self._log_lost = True
            raise

    def trials(self, identity: str) -> TrialTable:
        """Return the trial table, with what an unfinished run of the same identity left in it."""
        with writing(self.path / "trials", "choose another --out"):
            return TrialTable(self.path / "trials", identity)

    def race(self, identity: str) -> RaceMemory:
        """Return what an unfinished run of the same identity left of its race, and keeps of it from here on."""
        return RaceMemory(self.path / "race", identity)

    def write_surrogate(self, surrogate: Surrogate, known: TrainingRows, report: SurrogateReport | None = None) -> None:
        """Write the surrogate, its settings, the measured rows (also those held out) and how good it is."""
        with atomic_write(self.path / "surrogate") as partial:
            partial.mkdir()
            np.savez_compressed(partial / KNOWN, **known.arrays())  # type: ignore[arg-type]
            if self.has("resolved.json"):
                (partial / SETTINGS).write_text(seal(self.read_settings())[KEY], encoding="ascii")
            if report is not None:
                (partial / REPORT).write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
            surrogate.save(partial)  # last, since it takes down the checksums of what is there

    def write_second(self, second: SecondModel) -> None:
        """Write the second model."""
        of = self.key_of_surrogate()
        with atomic_write(self.path / SECOND) as partial:
            second.save(partial, of)

    def read_second(self, confidence: Confidence) -> SecondModel | None:
        """Return the second model; None where the run has none, or none is wanted."""
        if not (confidence.wanted and self.listed(f"{SECOND}/{META}")):
            return None
        self._meta(SECOND)
        return SecondModel.load(self.path / SECOND, confidence.level, self.key_of_surrogate())

    def key_of_surrogate(self) -> str:
        """Return the checksum by which other files say which surrogate they belong to."""
        return str(seal(self._meta("surrogate"))[KEY])

    def _meta(self, part: str) -> dict[str, Any]:
        """Return what the surrogate or the second model says of itself, held to the manifest."""
        if self.has(f"{part}/{META}"):
            self.read(f"{part}/{META}")
        return read_meta(self.path / part)

    def read_surrogate(self, allow_code: bool = False) -> tuple[Surrogate, TrainingRows | None]:
        """Return the surrogate and the measured rows: those it learnt from, and those held out."""
        content = self._surrogate_file(KNOWN)  # quicker than the members, so damage is told sooner
        surrogate = Surrogate.load(self.path / "surrogate", allow_code)
        if content is None:
            return surrogate, None
        path = self.path / "surrogate" / KNOWN
        stored = read_arrays(content, path, DAMAGED)
        lacking = {"x", "y"} - set(stored)
        if lacking:
            raise RunStoreError(f"{path}: there is no array {min(lacking)!r}", DAMAGED)
        known = TrainingRows.from_arrays(stored)
        for prefix, part in (("", known), ("held_out_", known.held_out)):
            n = 0 if part is None else len(part.x)
            m = len(surrogate.outputs)
            shapes = dict.fromkeys(OWN, (n,)) | {"x": (n, surrogate.space.width), "y": (n, m), "left_out": (n, m)}
            for name, shape in shapes.items() if part is not None else ():
                found = getattr(part, name)
                if found is not None and found.shape != shape:
                    said = f"has the shape {found.shape}, expected {shape}, as meta.json says"
                    raise RunStoreError(f"{path}: {prefix + name!r} {said}", DAMAGED)
        return surrogate, known

    def write_trials(self, results: Any) -> None:
        """Write the finished trials as a table."""
        import pandas as pd

        rows = [
            {key: getattr(r, key) for key in ("id", "status", "score", "epochs")}
            | {f"hp.{k}": v for k, v in r.values.items()}
            | {f"metric.{k}": v for k, v in r.metrics.items()}
            | {"message": r.message}
            for r in results
        ]
        _write_parquet(self.path / TRIALS, pd.DataFrame(rows))

    def write_answers(self, answers: Answers, name: str, space: Space, command: str = "") -> Path:
        """Write the starts and designs of one inversion in a space into ``solve/NAME``; return that folder."""
        folder = self.path / "solve" / name
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder) as partial:
            partial.mkdir()
            put_answers(partial, answers, {"space": space.to_json(), "command": command})
        return folder

    @contextmanager
    def new_solve(self) -> Iterator[NewSolve]:
        """Give a later inversion a folder of its own, whoever else asks for one meanwhile; what isn't kept goes."""
        root = self.path / "solve"
        number = 0
        while True:
            number += 1
            made = NewSolve(root / f".{number}.partial", root / str(number), self.key_of_surrogate)
            if made.final.exists():
                continue
            with writing(made.final):
                root.mkdir(exist_ok=True)
                try:
                    made.path.mkdir()
                except FileExistsError:  # another process has it, or a kill left it
                    continue
            if not made.final.exists():  # it could have been kept in between
                break
            made.path.rmdir()
        try:
            yield made
        finally:
            shutil.rmtree(made.path, ignore_errors=True)

    def read_asked(self, place: str) -> tuple[Space, str] | None:
        """Return the space that an inversion searched, and its command; None where an older version wrote neither."""
        path = self.path / place / ASKED
        if not self.listed(f"{place}/{ASKED}"):
            return None
        asked = opened(self.read(f"{place}/{ASKED}"), str(path), DAMAGED, ("space", "command"))
        kept = not Path(place).name.endswith(".partial")
        if kept and asked.get(MANIFEST) and not self.has(f"{place}/{MANIFEST}"):
            raise RunStoreError(f"{self.path / place / MANIFEST}: the file is missing", DAMAGED)
        try:
            return Space.from_json(asked["space"]), str(asked["command"])
        except (TypeError, KeyError, ValueError, InvdesignError) as error:
            raise RunStoreError(f"{path}: 'space' holds no design variables: {error}", DAMAGED) from None

    def read_round(self) -> dict[str, Any] | None:
        """Return what a round says of itself; None of a run's own folder."""
        if not self.listed(ABOUT_ROUND):
            return None
        content = self.read(ABOUT_ROUND)
        try:
            found = json.loads(content)
        except ValueError as error:
            raise RunStoreError(f"{self.path / ABOUT_ROUND}: found no JSON ({error})", DAMAGED) from None
        if not isinstance(found, dict):
            raise RunStoreError(f"{self.path / ABOUT_ROUND}: found {type(found).__name__}, expected an object", DAMAGED)
        return found

    def write_round_manifest(self) -> None:
        """Write the manifest of a round, all of whose files are there."""
        write_manifest(self.path, [*LISTED, ABOUT_ROUND, MEASURED])

    def unfinish(self) -> None:
        """Begin again on a run that was finished: it is no longer."""
        with writing(self.path):
            for name in (RESULT, MANIFEST):
                (self.path / name).unlink(missing_ok=True)

    def finish(self, report: Report) -> None:
        """Write the manifest and the report: from now on the run is finished."""
        text = report.model_dump_json(indent=1) + "\n"
        answers = sorted(str(p.relative_to(self.path)) for p in (self.path / "solve" / "1").glob("*"))
        listed = [*LISTED, *(name for name in answers if not name.endswith(PAGE))]
        write_manifest(self.path, listed, {RESULT: text.encode()})
        self.write(RESULT, text)

    def discard_if_empty(self) -> None:
        """Take away the folder of a run that failed before its first trial or candidate ended, unless it was there."""
        worth = ("trials/trials.jsonl", "race", "surrogate")
        if self._fresh and not any((self.path / name).exists() for name in worth):
            self.close()
            shutil.rmtree(self.path, ignore_errors=True)
            with suppress(OSError):
                if self.path.parent == RUNS and not any(RUNS.iterdir()):
                    RUNS.rmdir()

    def close(self) -> None:
        """Let others use the folder."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def _lock(self) -> None:
        self._held = Lock(
            self.path / LOCK,
            f"{self.path}: another process is writing this run",
            "wait for it, or choose another --out",
        )


@dataclass(frozen=True)
class NewSolve:
    """The folder of a later inversion while it is written, and what it is called once it is kept."""

    path: Path
    final: Path
    key: Callable[[], str]

    def put(self, answers: Answers, space: Space, command: str) -> None:
        """Write the starts and designs."""
        put_answers(self.path, answers, {"space": space.to_json(), "command": command, MANIFEST: True})

    def keep(self) -> None:
        """Write the manifest, and let the folder be seen under its name."""
        with writing(self.final):
            names = [item.name for item in self.path.iterdir() if item.name != PAGE]
            write_manifest(self.path, sorted(names), surrogate=self.key())
            self.path.rename(self.final)


def put_answers(folder: Path, answers: Answers, asked: Mapping[str, Any]) -> None:
    """Write the starts and designs of an inversion into a folder, and what was asked."""
    _write_parquet(folder / STARTS, answers.starts)
    _write_parquet(folder / "designs.parquet", answers.designs)
    if answers.scenarios is not None:
        _write_parquet(folder / SCENARIOS, answers.scenarios.frame)
    files = RunFolder(folder)
    if answers.level is not None:
        files.write_json("intervals.json", interval_report(answers))
    units = headings(answers.designs.columns, answers.units)
    if units:
        files.write_json(UNITS, units)
    with atomic_write(folder / "designs.csv") as partial:
        for_csv(answers.designs).to_csv(partial, index=False)
    files.write_sealed(ASKED, asked)


def _write_parquet(path: Path, table: Any) -> None:
    with atomic_write(path) as partial:
        of_one_type_each(table).to_parquet(partial, index=False)


def _new_folder() -> Path:
    """Make the folder of a run that has no name yet, by the time; no other process gets the same."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    with writing(RUNS, "choose a folder with --out"):
        RUNS.mkdir(parents=True, exist_ok=True)
        for i in range(1000):
            path = RUNS / (stamp if i == 0 else f"{stamp}-{i}")
            with suppress(FileExistsError):
                path.mkdir()
                return path
    raise RunStoreError(f"{RUNS}: 1000 runs have begun in this second", "choose a folder with --out")


def saved_space(path: Path) -> Space:
    """Return the design variables of a finished run."""
    return checked(read_meta(RunFolder.open(path).path / "surrogate"), path / "surrogate" / META)[0]
