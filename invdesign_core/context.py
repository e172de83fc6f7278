"""What every stage is handed besides its data: seeds, events, the time it has, and who does the work."""

from __future__ import annotations

import re
import threading
import time
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from invdesign_core.errors.visible import visible


@dataclass(frozen=True)
class Event:
    """One thing that happened, for progress displays, logs and observers; its subclasses say what."""

    kind: ClassVar[str]
    """What logs call it."""

    @property
    def data(self) -> dict[str, Any]:
        """What belongs to it, by name; plain numbers and text."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True)
class RunStarted(Event):
    """A run began, and its folder is there."""

    kind: ClassVar[str] = "run"
    path: str


@dataclass(frozen=True)
class StageStarted(Event):
    """A stage began: ``load``, ``race``, ``tune``, ``train``, ``solve`` or ``simulate``.

    `solver` is named where one is asked.
    """

    kind: ClassVar[str] = "stage"
    stage: str
    solver: str | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The stage, and the solver where one is asked."""
        return {"stage": self.stage} | ({} if self.solver is None else {"solver": self.solver})


@dataclass(frozen=True)
class Progress(Event):
    """So much of a stage is done; in training also the networks that still train, and the smallest loss."""

    kind: ClassVar[str] = "progress"
    stage: str
    done: int
    total: int
    live: int | None = None
    best: float | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The numbers, with those of training where it is training."""
        known = {"stage": self.stage, "done": self.done, "total": self.total}
        return known if self.live is None else known | {"live": self.live, "best": self.best}


@dataclass(frozen=True)
class CandidateStarted(Event):
    """A candidate of a race is looked at: the `number`-th, from 1, of so many."""

    kind: ClassVar[str] = "candidate"
    name: str
    number: int
    total: int


@dataclass(frozen=True)
class TrialEnded(Event):
    """A trial of hyper-parameters ended."""

    kind: ClassVar[str] = "trial"
    id: int
    values: Mapping[str, Any]
    score: float
    status: str
    epochs: int
    message: str


@dataclass(frozen=True)
class TrainingEnded(Event):
    """Networks have been trained side by side, or one alone; `losses` has the losses of each of them by epoch.

    They are mappings with ``epoch``, counted from 1, ``loss`` and, where rows were watched, ``val_loss``: lists with a
    number for each epoch that is told, 200 at most, spread evenly; None where a loss is not finite.
    """

    kind: ClassVar[str] = "trained"
    stage: str
    losses: Sequence[Mapping[str, Sequence[float | None]]]


@dataclass(frozen=True)
class DesignsReady(Event):
    """A search ended; `answers` are its designs and starts, as `InverseDesign.invert` returns them."""

    kind: ClassVar[str] = "designs"
    answers: Any

    @property
    def data(self) -> dict[str, Any]:
        """What became of the search, and how many distinct designs there are."""
        return {"status": self.answers.status, "designs": len(self.answers.designs)}


@dataclass(frozen=True)
class RunFinished(Event):
    """A run or a solve has its result, as `run_experiment` returns it."""

    kind: ClassVar[str] = "finished"
    result: Any

    @property
    def data(self) -> dict[str, Any]:
        """The status and the verdict of the report."""
        return {"status": self.result.report.status, "verdict": self.result.report.verdict}


@dataclass(frozen=True)
class RunFailed(Event):
    """A run or a solve ended with an error: its class, its message, and the whole traceback."""

    kind: ClassVar[str] = "failed"
    error: str
    message: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> RunFailed:
        """Describe an exception with all that caused it."""
        text = "".join(traceback.format_exception(error))
        return cls(type(error).__name__, str(error) or type(error).__name__, text)


@dataclass(frozen=True)
class Reported(Event):
    """A plugin or an observer added something to the report."""

    kind: ClassVar[str] = "report"
    source: str
    text: str
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Note(Event):
    """Something worth knowing."""

    kind: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True)
class Warned(Event):
    """Something to worry about."""

    kind: ClassVar[str] = "warning"
    text: str


STAGES = ("import", "load", "race", "tune", "train", "compile", "solve", "simulate")
"""The stages whose seconds are reported."""


class Clock:
    """Seconds spent in each stage since it was made; a stage inside another counts for itself alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.began = time.perf_counter()
        self._open: list[str] = []
        self._since = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside as `name`."""
        self._close()
        self._open.append(name)
        try:
            yield
        finally:
            self._close()
            self._open.pop()

    def report(self) -> dict[str, float]:
        """Return the seconds of every stage, and those since the clock was made as `total`."""
        seconds = {stage: round(max(self.seconds.get(stage, 0.0), 0.0), 4) for stage in STAGES}
        return seconds | {"total": round(time.perf_counter() - self.began, 4)}

    def move(self, seconds: float, source: str, to: str) -> None:
        """Count seconds that were measured elsewhere under another name."""
        self.seconds[source] = self.seconds.get(source, 0.0) - seconds
        self.seconds[to] = self.seconds.get(to, 0.0) + seconds

    def _close(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] = self.seconds.get(self._open[-1], 0.0) + now - self._since
        self._since = now


class RunRecord:
    """What becomes known of a run while it goes on: where its folder is, and what plugins add to its report."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.added: list[Reported] = []


def _ignore(event: Event) -> None:
    """Take an event; where nobody listens, nothing happens."""


class Piece(NamedTuple):
    """A part of some work, whose result does not depend on who does it, nor on what is done before."""

    name: str
    """What it is about, for messages."""
    value: Any


class Compute(Protocol):
    """Who does the work that comes in pieces."""

    def map(
        self, ctx: Context, work: Callable[[Any, Any, Context], Any], shared: Any, pieces: Sequence[Piece]
    ) -> Iterator[Any]:
        """Yield ``work(shared, piece.value, ctx)`` for each piece, in the order of the pieces.

        `work` is a function of a module; it changes nothing but what it returns, and tells events to the context that
        it is given. `shared` is one object for all pieces, and for later calls: it may keep what it compiled.
        """


class Local:
    """Does one piece after another in this process."""

    def map(
        self, ctx: Context, work: Callable[[Any, Any, Context], Any], shared: Any, pieces: Sequence[Piece]
    ) -> Iterator[Any]:
        """Do each piece when its result is asked for."""
        for piece in pieces:
            yield work(shared, piece.value, ctx)


@dataclass(frozen=True)
class Context:
    """Seeds, events and limits of one run.

    Attributes
    ----------
    seed : int
        The run's one seed. Draw from `rng`, never from a global generator.
    width : int
        How many trials the core would like to be asked for at once.
    emit : callable
        Takes an `Event`.
    deadline : float or None
        Stop at this ``time.monotonic()`` value.
    folder : Path
        Relative paths in options start from here: the folder of the experiment file.
    clock : Clock
        Where the seconds of each stage are counted.
    stop : threading.Event
        Set from outside (Ctrl-C) to end the run at the next epoch or evaluation. An exception alone
        would not do: one that is raised inside a callback of the garbage collector is lost.
    record : RunRecord
        The run's folder, once it is there, and what plugins add to the report: see `folder_for` and `report`.
    compute : Compute
        Does the work that comes in pieces: this process, or others. Plugins need not know.
    """

    seed: int = 0
    width: int = 64
    emit: Callable[[Event], None] = _ignore
    deadline: float | None = None
    folder: Path = field(default_factory=Path.cwd)
    clock: Clock = field(default_factory=Clock)
    stop: threading.Event = field(default_factory=threading.Event, repr=False)
    record: RunRecord = field(default_factory=RunRecord, repr=False)
    compute: Compute = field(default_factory=Local, repr=False)

    def seed_for(self, purpose: str, index: int = 0) -> int:
        """Return a 31-bit seed keyed by the run's seed, what it is for, and an index."""
        return int(self._sequence(purpose, index).generate_state(1)[0] & 0x7FFFFFFF)

    def rng(self, purpose: str, index: int = 0) -> np.random.Generator:
        """Return a random stream keyed by the run's seed, what it is for, and an index.

        Two streams with different keys are independent, so adding a trial, a start or a target
        changes none of the others.
        """
        return np.random.default_rng(self._sequence(purpose, index))

    def note(self, text: str) -> None:
        """Tell the user something worth knowing."""
        self.emit(Note(visible(text)))

    def warn(self, text: str) -> None:
        """Tell the user something to worry about."""
        self.emit(Warned(visible(text)))

    def report(self, source: Any, text: str = "", metrics: Mapping[str, float] | None = None) -> None:
        """Add a section of text, and numbers by name, to the report; `source` is the plugin, or a name."""
        added = Reported(str(getattr(source, "label", source)), text, {k: float(v) for k, v in (metrics or {}).items()})
        self.record.added.append(added)
        self.emit(added)

    def folder_for(self, plugin: Any) -> Path | None:
        """Return a folder of a plugin's own in the run folder, or None where there is no run folder (yet).

        `plugin` is the plugin, or a name. The folder is made when it is first asked for.
        """
        if self.record.path is None:
            return None
        name = f"{plugin.kind}-{plugin.name}" if hasattr(plugin, "kind") else str(plugin)
        folder = self.record.path / "plugins" / re.sub(r"[^\w.-]", "-", name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def check_stop(self) -> None:
        """Raise KeyboardInterrupt where the run was told to stop."""
        if self.stop.is_set():
            raise KeyboardInterrupt

    def out_of_time(self) -> bool:
        """Return whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def _sequence(self, purpose: str, index: int) -> np.random.SeedSequence:
        return np.random.SeedSequence([self.seed, zlib.crc32(purpose.encode()), index])


def within(ctx: Context, seconds: float | None) -> Context:
    """Return a context that ends so many seconds from now, or earlier where it does already; None adds no limit."""
    if seconds is None:
        return ctx
    end = time.monotonic() + seconds
    return replace(ctx, deadline=end if ctx.deadline is None else min(end, ctx.deadline))
