"""Pieces of work, done side by side by threads of this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from threadpoolctl import threadpool_limits

from invdesign_core.context import Clock, Context, Event, Local, Piece


class Threads:
    """Does the first piece alone, which compiles, and the others in threads of this process, some at a time."""

    def __init__(self, count: int) -> None:
        self._count = count

    def map(
        self, ctx: Context, work: Callable[[Any, Any, Context], Any], shared: Any, pieces: Sequence[Piece]
    ) -> Iterator[Any]:
        """Yield the results in the order of the pieces, and tell what each said when its turn comes."""

        def done(piece: Piece) -> tuple[Any, list[Event]]:
            told: list[Event] = []
            return work(shared, piece.value, replace(ctx, emit=told.append, clock=Clock())), told

        yield from Local().map(ctx, work, shared, pieces[:1])
        ahead = deque[Future[tuple[Any, list[Event]]]]()
        pool = ThreadPoolExecutor(self._count)
        try:
            with threadpool_limits(limits=1, user_api="blas"):  # one limit for all: each thread would undo another's
                for piece in pieces[1:]:
                    ahead.append(pool.submit(done, piece))
                    if len(ahead) > self._count:  # no more results than these are held in memory
                        yield _told(ahead.popleft(), ctx)
                while ahead:
                    yield _told(ahead.popleft(), ctx)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _told(piece: Future[tuple[Any, list[Event]]], ctx: Context) -> Any:
    """Wait for a piece, tell its events, and return what it gave; Ctrl-C has it end with what it has."""
    try:
        found, told = piece.result()
    except KeyboardInterrupt:
        ctx.stop.set()
        found, told = piece.result()
    for event in told:
        ctx.emit(event)
    return found
