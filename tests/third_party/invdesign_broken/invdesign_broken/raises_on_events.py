"""Observes runs, and fails at each event."""

from invdesign_core.plugin import Event, hookimpl


@hookimpl
def invdesign_event(event: Event) -> None:
    """Raise."""
    raise RuntimeError(f"an observer failed at {event.kind!r}")
