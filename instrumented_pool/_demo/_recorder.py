"""An observer that keeps every event, and what can be proved from them."""

from collections.abc import Iterable
from typing import TypeVar

from .. import _events as events
from .._events import Event, Observer

E = TypeVar("E", bound=Event)


class Recorder(Observer):
    """Keeps the events of one pool in order, and the highest total that any of them left it with."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.totals: list[int] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def on_create_started(self, event: events.CreateStarted) -> None:
        # The total only ever rises here, so this sees every peak.
        self.totals.append(event.pool.stats().total)


def of_kind(kind: type[E], recorded: Iterable[Event]) -> list[E]:
    """Those of one kind, in order."""
    return [event for event in recorded if isinstance(event, kind)]


def overtakings(recorded: Iterable[Event]) -> tuple[int, int]:
    """How many queued callers were served, and how many of them before one who had queued earlier."""
    queue: dict[int, None] = {}
    served = overtaking = 0
    for event in recorded:
        if isinstance(event, events.AcquireQueued):
            queue[event.acquire_id] = None
        elif isinstance(event, events.AcquireFailed):
            queue.pop(event.acquire_id, None)
        elif isinstance(event, events.Acquired) and event.acquire_id in queue:
            served += 1
            overtaking += next(iter(queue)) != event.acquire_id
            del queue[event.acquire_id]
    return served, overtaking
