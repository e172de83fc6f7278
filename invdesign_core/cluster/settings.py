"""The `[compute]` section: who does the work that comes in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from invdesign_core.context import Context, Local, Piece
from invdesign_core.errors import ConfigError

if TYPE_CHECKING:
    from invdesign_core.cluster.ray_workers import RayWorkers


class ComputeSettings(BaseModel):
    """Who does the work: this process, or the workers of a Ray cluster, with the same result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    use: Literal["local", "ray"] = Field(
        "local", description="`local`, this process, or `ray`, the workers of a Ray cluster (`invdesign[ray]`)."
    )
    address: str = Field(
        "auto",
        min_length=1,
        description="The cluster: `auto`, that of `$RAY_ADDRESS` or one that runs on this machine, or else one that is "
        "started here for this command; `local`, always the latter; or an address such as `10.0.0.1:6379`.",
    )
    workers: int | None = Field(
        None, ge=1, description="Workers, which take a processor each; by default as many as the cluster has."
    )


@contextmanager
def computing(settings: ComputeSettings, ctx: Context) -> Iterator[Context]:
    """Give a context with which the work is done as `settings` say; whatever was started for that has ended after it.

    Raises
    ------
    ConfigError
        If it is to be Ray, which is not installed.
    """
    if settings.use == "local":
        yield ctx
        return
    if find_spec("ray") is None:
        raise ConfigError('[compute] use = "ray": Ray is not installed', "pip install 'invdesign[ray]'")
    workers = _Workers(settings)
    try:
        yield replace(ctx, compute=workers)
    finally:
        workers.close()


class _Workers:
    """Workers of a Ray cluster, who are called when there is work for more than one: until then Ray is not imported."""

    def __init__(self, settings: ComputeSettings) -> None:
        self._settings = settings
        self._called: RayWorkers | None = None

    def map(
        self, ctx: Context, work: Callable[[Any, Any, Context], Any], shared: Any, pieces: Sequence[Piece]
    ) -> Iterator[Any]:
        """Yield what workers make of the pieces, in the order of the pieces; one alone is done in this process."""
        if len(pieces) < 2:
            yield from Local().map(ctx, work, shared, pieces)
            return
        if self._called is None:
            from invdesign_core.cluster.ray_workers import RayWorkers

            self._called = RayWorkers(self._settings)
        yield from self._called.map(ctx, work, shared, pieces)

    def close(self) -> None:
        """End the workers."""
        if self._called is not None:
            self._called.close()
