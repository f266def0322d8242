"""An observer that keeps every event, and what can be proved from them."""

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from .. import _events as events
from .._events import Event, Observer

E = TypeVar("E", bound=Event)

# What each event ends and what it begins, by kind and id: guarantee G1 as a table.
_ENDS: dict[type[Event], tuple[str, str]] = {
    events.Acquired: ("acquire", "acquire_id"),
    events.AcquireFailed: ("acquire", "acquire_id"),
    events.Released: ("hold", "acquire_id"),
    events.Created: ("creation", "connection_id"),
    events.CreateFailed: ("creation", "connection_id"),
    events.Closed: ("connection", "connection_id"),
}
_BEGINS: dict[type[Event], tuple[str, str]] = {
    events.AcquireStarted: ("acquire", "acquire_id"),
    events.Acquired: ("hold", "acquire_id"),
    events.CreateStarted: ("creation", "connection_id"),
    events.Created: ("connection", "connection_id"),
}


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


def unpaired(recorded: Iterable[Event]) -> list[str]:
    """What began and did not end, or ended without having begun, or did either twice. Empty where G1 holds."""
    open_: Counter[tuple[str, int]] = Counter()
    wrong = []
    for event in recorded:
        for table, step in ((_ENDS, -1), (_BEGINS, 1)):
            if found := table.get(type(event)):
                kind, field = found
                key = kind, getattr(event, field)
                open_[key] += step
                if open_[key] not in (0, 1):
                    wrong.append(f"{kind} {key[1]}: unexpected {event.name}")
    return wrong + [f"{kind} {number} never ended" for (kind, number), count in open_.items() if count > 0]


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
