"""Pieces of work, dealt out to the workers of a Ray cluster; what a worker that dies had at hand is done again."""

from __future__ import annotations

import itertools
import logging
import os
import re
import signal
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import ray

from invdesign_core.cluster.packing import pack, travelling_modules, unpack, variables
from invdesign_core.cluster.settings import ComputeSettings
from invdesign_core.cluster.worker import KEPT, Done, Told, Worker
from invdesign_core.context import Context, Piece
from invdesign_core.errors import ConfigError, PluginError, described
from invdesign_core.surrogate import backend

AHEAD = 4
"""Pieces for each worker that may be done before the first of them is asked for."""
DEATHS = 2
"""Workers that may die at one piece."""
PATIENCE = 30.0
"""Seconds without a single worker after which that is said."""
GRACE = 3.0
"""Seconds that a worker has to end what it does, and the programs that it started."""
LOOK = 0.2
"""Seconds after which it is looked whether the run is to stop."""


class RayWorkers:
    """Workers of a Ray cluster, started with the first work, and kept until `close`."""

    def __init__(self, settings: ComputeSettings) -> None:
        self._settings = settings
        self._ours = False
        self._class: Any = None
        self._all: list[Any] = []
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._failed_starts = 0
        self._put: dict[int, tuple[Any, Any, Any]] = {}
        self._numbers = itertools.count()

    def map(
        self, ctx: Context, work: Callable[[Any, Any, Context], Any], shared: Any, pieces: Sequence[Piece]
    ) -> Iterator[Any]:
        """Yield what workers make of the pieces, in the order of the pieces."""
        count = self._start(len(pieces), ctx)
        number, packed = self._shared(work, shared)
        waiting, done, deaths = deque(range(len(pieces))), dict[int, bytes](), Counter[int]()
        running: dict[Any, tuple[int, Any]] = {}
        try:
            for at in range(len(pieces)):
                since, said = time.monotonic(), False
                while True:
                    while self._idle and waiting and waiting[0] < at + AHEAD * count:
                        worker, mine = self._idle.pop(), waiting.popleft()
                        value = pack(pieces[mine].value)
                        running[worker.do.remote(number, [packed], value, Told.of(ctx))] = mine, worker
                    if at in done:
                        break
                    ctx.check_stop()
                    if not running and not said and time.monotonic() - since > PATIENCE:
                        ctx.note("no worker is there yet: Ray has no processor free, or is starting machines")
                        said = True
                    self._collect(pieces, waiting, running, done, deaths)
                yield _told(unpack(done.pop(at)), ctx)
        finally:
            _end(running)

    def close(self) -> None:
        """End the workers, and the cluster where it was started here."""
        if self._class is None:
            return
        self._class = None
        for worker in self._all:  # those that have ended, too
            with suppress(Exception):
                ray.kill(worker)
        for workers in (self._all, self._idle, self._starting):
            workers.clear()
        if self._ours:
            ray.shutdown()

    def _collect(
        self,
        pieces: Sequence[Piece],
        waiting: deque[int],
        running: dict[Any, tuple[int, Any]],
        done: dict[int, bytes],
        deaths: Counter[int],
    ) -> None:
        """Take in which workers have started, and which pieces are done or lost."""
        ended, _ = ray.wait([*running, *self._starting], num_returns=1, timeout=LOOK)
        for ref in ended:
            if ref in self._starting:
                self._take_in(ref)
                continue
            at, worker = running.pop(ref)
            try:
                done[at] = ray.get(ref)
                self._idle.append(worker)
            except ray.exceptions.RayError as error:  # what the work itself raises is part of its result
                deaths[at] += 1
                if deaths[at] == DEATHS:
                    raise PluginError(
                        f"{DEATHS} workers died at the same piece of work ({pieces[at].name}): {_reason(error)}",
                        "it may need more memory than a worker has; try it without [compute] to see what it does",
                    ) from error
                waiting.appendleft(at)
                with suppress(Exception):
                    ray.kill(worker)
                self._add_worker()

    def _take_in(self, ref: Any) -> None:
        """Take in a worker that has started, or failed to."""
        worker = self._starting.pop(ref)
        try:
            ray.get(ref)
        except ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts > DEATHS:
                raise PluginError(
                    f"workers of the Ray cluster can't start: {_reason(error)}",
                    "the same versions of Python, invdesign and plugins have to be installed on all of its machines",
                ) from error
            self._add_worker()
        else:
            self._failed_starts = 0
            self._idle.append(worker)

    def _start(self, pieces: int, ctx: Context) -> int:
        """Have as many workers as are of use, and return how many."""
        if self._class is None:
            with _signals_kept(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "os.fork")  # of JAX: what is forked becomes another program at once
                self._connect()
            # Ray takes the variables of its own process; one more for one program is of no use to the others.
            own = (travelling_modules(ctx.folder), variables(), backend.processors(), 1)
            self._arguments = ray.put(own)
            self._class = ray.remote(num_cpus=1, max_restarts=0, max_concurrency=2)(Started)
        total = int(ray.cluster_resources().get("CPU", 1))
        count = max(min(self._settings.workers or total, pieces), 1)
        for _ in range(count - len(self._idle) - len(self._starting)):
            self._add_worker()
        return count

    def _add_worker(self) -> None:
        worker = self._class.remote([self._arguments])
        self._all.append(worker)
        self._starting[worker.ready.remote()] = worker

    def _connect(self) -> None:
        """Find the cluster, or start one."""
        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody asked for it
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        address = self._settings.address
        if address != "local":
            try:
                ray.init(address=address, **quiet)
            except (ConnectionError, ValueError, RuntimeError) as error:
                if address != "auto" or "RAY_ADDRESS" in os.environ:
                    raise ConfigError(
                        f"[compute] address = {address!r}: no Ray cluster answers there: {_reason(error)}",
                        "ray status says where one is; ray start --head starts one",
                    ) from error
        if not ray.is_initialized():
            ray.init(address="local", num_cpus=self._settings.workers, include_dashboard=False, **quiet)
        self._ours = True

    def _shared(self, work: Any, shared: Any) -> tuple[int, Any]:
        """Return the number and the reference of what is in the object store, and put it there where it is not."""
        for number, (same_work, same, packed) in self._put.items():
            if same_work is work and same is shared:
                return number, packed
        for oldest in list(self._put)[: 1 - KEPT]:
            del self._put[oldest]
        number, packed = next(self._numbers), ray.put(pack((work, shared)))
        self._put[number] = work, shared, packed
        return number, packed


class Started(Worker):
    """A worker that finds what it starts with in the object store."""

    def __init__(self, arguments: list[Any]) -> None:
        super().__init__(*ray.get(arguments[0]))


def _end(running: Mapping[Any, tuple[int, Any]]) -> None:
    """End workers whose results nobody waits for any more."""
    if not running:
        return
    with suppress(Exception):
        for _, worker in running.values():
            worker.stop.remote()
        ray.wait(list(running), num_returns=len(running), timeout=GRACE)
    for _, worker in running.values():
        with suppress(Exception):
            ray.kill(worker)


def _told(done: Done, ctx: Context) -> Any:
    """Tell what a worker had to say, and return its result, or raise what it raised."""
    done.tell(ctx)
    if done.error is not None:
        raise done.error
    return done.result


def _reason(error: BaseException) -> str:
    """Return the last line of what Ray says, which is what happened; above it is where."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", described(error)).splitlines()]
    return next((line for line in reversed(lines) if line), type(error).__name__)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep what the process does at SIGTERM, for which Ray has plans of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
