"""A true model at work: what is known is looked up, the rest is called for in batches, and all of it is kept."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from invdesign_core.context import Local, Piece, Progress, StageStarted
from invdesign_core.data.data import true_or_false
from invdesign_core.errors import ConfigError, plural
from invdesign_core.space.arrays import FloatArray
from invdesign_core.surrogate.user_code import UserObject
from invdesign_core.truth.command import Command
from invdesign_core.truth.function import Function
from invdesign_core.truth.kept import Entry, KeptDesigns, key_of
from invdesign_core.truth.settings import TruthSettings
from invdesign_core.truth.simulated import CallError, Simulated, Tally, Truth, as_outputs

if TYPE_CHECKING:
    import pandas as pd

    from invdesign_core.context import Context

INTERRUPTED = "interrupted"
"""Why a design has no outputs that was not simulated before Ctrl-C."""
HOPELESS = 50
"""So many calls in a row that give nothing, where none before gave anything, are the last: others would fail, too."""


class Caller(Protocol):
    """What is called: a function or a command."""

    @property
    def words(self) -> str:
        """What to call it, in messages."""

    @property
    def parallel(self) -> int:
        """Calls at the same time, each in a thread; 0 for calls in the thread that asks."""

    def __call__(self, designs: pd.DataFrame, stop: threading.Event) -> Any:
        """Return the answer for some designs, or raise a CallError."""


@dataclass(frozen=True)
class Simulator:
    """A true model that is called for the designs that nothing is known of.

    Attributes
    ----------
    caller : Caller
        The function or the command.
    kept : KeptDesigns
        What was simulated before.
    identity : str
        A digest of what its answers depend on; empty where that is not known.
    batch : int or None
        Designs of a call at most; None for all, or an equal share for parallel calls.
    retries : int
        How many times a design that failed is simulated again.
    told : bool
        Whether it is said that it works, and how much: a dataset's formula is not worth that.
    bits : frozenset of str
        The outputs that it may call true or false.
    """

    caller: Caller
    kept: KeptDesigns = field(default_factory=KeptDesigns)
    identity: str = ""
    batch: int | None = None
    retries: int = 0
    told: bool = True
    bits: frozenset[str] = frozenset()

    @property
    def words(self) -> str:
        """What to call it, in messages."""
        return self.caller.words

    def evaluate(self, designs: pd.DataFrame, outputs: Sequence[str], ctx: Context) -> Simulated:
        """Return the outputs of n designs; each value of a design is simulated once, and those known not at all.

        Parameters
        ----------
        designs : DataFrame
            (n, d) a column for each design variable.
        outputs : sequence of str
            The m outputs.
        ctx : Context
            Is told of the progress; where it is told to stop, nothing more is simulated.
        """
        names, columns = list(map(str, designs.columns)), (designs[name].tolist() for name in designs.columns)
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        found = [self.kept.find(row, outputs) for row in rows]
        work = _Work(self, designs, rows, tuple(outputs), ctx)
        work.fruitful = any(entry is not None and entry.outputs is not None for entry in found)
        unknown = [i for i, entry in enumerate(found) if entry is None]
        if unknown:
            with ctx.clock.stage("simulate"):
                try:
                    work.do(unknown)
                except KeyboardInterrupt:
                    work.interrupted = True
        entries = [self.kept.find(row, outputs) for row in rows]
        y = np.full((len(rows), len(outputs)), np.nan)
        for i, entry in enumerate(entries):
            if entry is not None and entry.outputs is not None:
                y[i] = [entry.outputs[name] for name in outputs]
        failed = tuple(work.left_out if entry is None else entry.failed for entry in entries)
        missing = int((~np.isfinite(y)).any(axis=1).sum())
        known = len(rows) - len(unknown)
        tally = Tally(len(rows), work.simulated, known, work.calls, missing, self.words, next(filter(None, failed), ""))
        left = sum(entry is None for entry in entries)
        if work.hopeless and left:
            ctx.warn(
                f"{self.words} gave nothing in any of {work.calls} calls, so that "
                f"{plural(left, 'design was', 'designs were')} not simulated: {work.reason}"
            )
        if self.kept.lost is not None and work.simulated:
            ctx.warn(f"{self.kept.lost.message}; what {self.words} says is not kept")
        return Simulated(y, failed, tally, work.interrupted)


@dataclass
class _Work:
    """The calls for one set of designs."""

    simulator: Simulator
    designs: pd.DataFrame
    rows: list[dict[str, Any]]
    outputs: tuple[str, ...]
    ctx: Context
    simulated: int = 0
    calls: int = 0
    interrupted: bool = False
    fruitful: bool = False
    reason: str = ""

    @property
    def hopeless(self) -> bool:
        """Whether it is not called again, because it has given nothing for so long."""
        return not self.fruitful and self.calls >= max(HOPELESS, 2 * self.simulator.caller.parallel)

    @property
    def left_out(self) -> str:
        """Why a design that was not simulated was not."""
        return f"not simulated, since no call gave anything: {self.reason}" if self.hopeless else INTERRUPTED

    def do(self, unknown: Sequence[int]) -> None:
        """Simulate some rows, alike ones once: in batches, then each row alone of batches that failed, then again."""
        places = dict[str, int]()
        for i in unknown:
            places.setdefault(key_of(self.rows[i]), i)
        once = list(places.values())
        if self.ctx.stop.is_set():
            self.interrupted = True
            return
        if self.simulator.told:
            self.ctx.emit(StageStarted("simulate"))
        size = self.simulator.batch or -(-len(once) // max(self.simulator.caller.parallel, 1))
        failed = self._run([once[at : at + size] for at in range(0, len(once), size)], len(once))
        again = [batch for batch in failed if len(batch) == 1]
        again += self._run([[i] for batch in failed if len(batch) > 1 for i in batch], len(once))
        for _ in range(self.simulator.retries):
            again = self._run(again, len(once))

    def _run(self, batches: list[list[int]], total: int) -> list[list[int]]:
        """Call for some batches, and remember what came of them; return those that another call may do better for."""
        failed: list[list[int]] = []
        if self.hopeless:
            return failed
        for batch, answer in self._answers(batches):
            if isinstance(answer, CallError) and answer.interrupted:
                self.interrupted = True
                continue
            self.calls += 1
            try:
                entries = self._entries(answer, len(batch))
                self.fruitful |= any(np.isfinite(list((one.outputs or {}).values())).any() for one in entries)
                self.reason = self.reason or next((one.failed for one in entries if one.failed), "")
            except CallError as error:
                self.reason = self.reason or error.reason
                if self.hopeless and len(batch) > 1:
                    break
                entries = [Entry(None, error.reason)] * len(batch)
                if error.repeat:
                    failed.append(batch)
                    if len(batch) > 1:
                        continue  # each of them alone has a say yet
            rows = [self.rows[i] for i in batch]
            self.simulated += sum(self.simulator.kept.find(row, self.outputs) is None for row in rows)
            self.simulator.kept.add(rows, entries)
            if self.simulator.told:
                self.ctx.emit(Progress("simulate", self.simulated, total))
            if self.hopeless:
                break
        return failed

    def _entries(self, answer: Any, count: int) -> list[Entry]:
        """Return what an answer says of each of its designs."""
        if isinstance(answer, CallError):
            raise answer
        y, reasons = as_outputs(answer, count, self.outputs, self.simulator.bits)
        values = (dict(zip(self.outputs, map(float, row), strict=True)) for row in y)
        return [Entry(one, why) for one, why in zip(values, reasons, strict=True)]

    def _answers(self, batches: list[list[int]]) -> Iterator[tuple[list[int], Any]]:
        """Yield each batch with its answer or a CallError, as they come."""
        if self.interrupted or not batches:
            return
        if not isinstance(self.ctx.compute, Local):
            pieces = [Piece(f"call {n} of {len(batches)}", self._table(batch)) for n, batch in enumerate(batches, 1)]
            yield from zip(batches, self.ctx.compute.map(self.ctx, _answer, self.simulator.caller, pieces), strict=True)
            return
        stop = threading.Event()

        def call(batch: list[int]) -> Any:
            return _answer(self.simulator.caller, self._table(batch), replace(self.ctx, stop=stop))

        if not self.simulator.caller.parallel:
            for batch in batches:
                yield batch, call(batch)
                if self.interrupted or self.ctx.stop.is_set():
                    self.interrupted = True
                    return
            return
        yield from self._side_by_side(batches, call, stop)

    def _table(self, batch: list[int]) -> pd.DataFrame:
        return self.designs.iloc[batch].reset_index(drop=True)

    def _side_by_side(
        self, batches: list[list[int]], call: Callable[[list[int]], Any], stop: threading.Event
    ) -> Iterator[tuple[list[int], Any]]:
        """Do the same in threads, and end them all at Ctrl-C."""
        with ThreadPoolExecutor(self.simulator.caller.parallel) as pool:
            running: dict[Future[Any], list[int]] = {pool.submit(call, batch): batch for batch in batches}
            try:
                while running:
                    done: set[Future[Any]] = set()
                    try:
                        done = wait(running, timeout=0.2, return_when=FIRST_COMPLETED).done
                    except KeyboardInterrupt:
                        self.interrupted = True
                    if self.ctx.stop.is_set() or self.interrupted:
                        self.interrupted = True
                        stop.set()
                    for future in done:
                        yield running.pop(future), future.result()
            finally:
                stop.set()


def _answer(caller: Caller, designs: pd.DataFrame, ctx: Context) -> Any:
    """Return the answer for some designs, or the CallError."""
    try:
        return caller(designs, ctx.stop)
    except CallError as error:
        return error


def find(settings: TruthSettings, folder: Path) -> Function | Command:
    """Return what a `[truth]` section names, found in the folder of its file; a ConfigError says what is wrong."""
    if settings.function:
        return Function.find(settings.function, folder)
    return Command.find(settings.command, folder, settings.timeout, settings.parallel)


def simulator_of(settings: TruthSettings, caller: Function | Command, kept: Path | None = None) -> Simulator:
    """Return the simulator of a `[truth]` section; what it says is kept in a folder, where there is one."""
    identity = digest(*caller.parts())
    if isinstance(caller, Command):
        caller = replace(caller, kept=kept)
    return Simulator(caller, KeptDesigns(kept, identity), identity, settings.batch, settings.retries)


def as_truth(given: Any) -> Truth | None:
    """Return a function, handed over in Python, as a true model; None, and what is one already, as it is."""
    if given is None or hasattr(given, "evaluate"):
        return given  # type: ignore[no-any-return]
    if isinstance(given, type) or not callable(given):
        raise ConfigError(
            f"truth: found {given!r}, expected a function from a DataFrame of designs to one of outputs",
            "or a mapping such as {'command': ['./simulate', '{input}', '{output}']}",
        )
    name = UserObject.of(given).place.rpartition(":")[2].rpartition(".")[2]
    return Simulator(Function(given, f"the true model {name}"))


def beside_rows(truth: Truth | None, y: FloatArray | None, outputs: Sequence[str]) -> Truth | None:
    """Return a true model that may call true or false what is so in the (n, m) measured outputs."""
    return replace(truth, bits=true_or_false(y, outputs)) if isinstance(truth, Simulator) else truth


def of_dataset(function: Callable[..., Any] | None, identity: str = "", kept: Path | None = None) -> Simulator | None:
    """Return the true model that came with a dataset, whose answers are kept under the dataset's `identity`."""
    if function is None:
        return None
    return Simulator(Function(function, "the dataset's true model"), KeptDesigns(kept, identity), identity, told=False)


def digest(*parts: Any) -> str:
    """Return a digest of bytes and plain values."""
    found = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, default=str).encode()
        found.update(f"{len(content)} ".encode() + content)
    return found.hexdigest()[:16]
