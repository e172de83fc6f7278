"""What runs in the process of a worker: pieces of work, one after another, for which compiled programs are kept."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invdesign_core.cluster.packing import Source, TravelledModules, pack, unpack
from invdesign_core.context import Context, Event, Reported
from invdesign_core.surrogate import backend

KEPT = 4
"""Shared objects that a worker keeps; with them go the programs that were compiled for them."""


@dataclass(frozen=True)
class Told:
    """What a worker is told of the context of a piece."""

    seed: int
    width: int
    folder: Path
    run: Path | None
    """The run folder."""
    seconds: float | None
    """The time that is left."""

    @classmethod
    def of(cls, ctx: Context) -> Told:
        """Tell a context."""
        left = None if ctx.deadline is None else ctx.deadline - time.monotonic()
        return cls(ctx.seed, ctx.width, ctx.folder, ctx.record.path, left)

    def context(self, events: list[Event], stop: threading.Event) -> Context:
        """Return a context of this process that keeps events in a list, and is told to stop by an event."""
        deadline = None if self.seconds is None else time.monotonic() + self.seconds
        ctx = Context(self.seed, self.width, events.append, deadline, self.folder, stop=stop)
        ctx.record.path = self.run if self.run is not None and self.run.is_dir() else None
        return ctx


@dataclass(frozen=True)
class Done:
    """What came of a piece: its result or what was raised, and the events on the way."""

    result: Any
    error: BaseException | None
    events: list[Event]

    def tell(self, ctx: Context) -> None:
        """Tell the events to the context that the work is done for."""
        for event in self.events:
            if isinstance(event, Reported):
                ctx.record.added.append(event)
            ctx.emit(event)


class Worker:
    """A process that does pieces of work; `processors` are those of the process that it works for."""

    def __init__(self, modules: Mapping[str, Source], variables: Mapping[str, str], processors: int, own: int) -> None:
        """Take the user's modules, environment variables, and how many processors there are here for it."""
        sys.meta_path.append(TravelledModules(modules))
        os.environ.update(variables)
        os.environ.update({"PJRT_NPROC": str(own), "NPROC": str(own)})  # threads that XLA computes with
        backend.act_as_with(processors)
        self._shared: dict[int, Any] = {}
        self._stop = threading.Event()

    def ready(self) -> int:
        """Return the number of the process, once it is there."""
        return os.getpid()

    def stop(self) -> None:
        """End what is being done, with the programs that it started."""
        self._stop.set()

    def do(self, number: int, packed: list[Any], value: bytes, told: Told) -> bytes:
        """Do a piece; `packed` holds a reference to the work and what is shared, which have that number."""
        events: list[Event] = []
        try:
            work, shared = self._found(number, packed)
            done = Done(work(shared, unpack(value), told.context(events, self._stop)), None, events)
        except BaseException as error:  # a worker ends by itself for no error
            error.add_note("in a worker:\n" + traceback.format_exc())
            done = Done(None, error, events)
        try:
            return pack(done)
        except Exception as unsent:
            text = "".join(traceback.format_exception(done.error or unsent))
            return pack(Done(None, RuntimeError(f"a result or an error can't be sent back\n{text}"), events))

    def _found(self, number: int, packed: list[Any]) -> Any:
        if number not in self._shared:
            import ray

            for oldest in list(self._shared)[: 1 - KEPT]:
                del self._shared[oldest]
            self._shared[number] = unpack(ray.get(packed[0]))
        return self._shared[number]
