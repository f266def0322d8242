"""An observer that writes everything down and can say whether it makes sense."""

from collections import Counter
from collections.abc import Hashable, Iterable
from itertools import pairwise
from typing import TypeVar

from .._events import (
    Acquired,
    AcquireFailed,
    AcquireQueued,
    AcquireStarted,
    BurstEnded,
    BurstLimitReached,
    BurstStarted,
    Closed,
    CloseError,
    Created,
    CreateFailed,
    CreateStarted,
    Event,
    Observer,
    PoolClosed,
    PoolOpened,
    Released,
    Shrink,
)
from .._stats import PoolStats

E = TypeVar("E", bound=Event)


class RecordingObserver(Observer):
    """Keeps every event of one pool or of many, with the pool's stats as they were inside the hook.

    It keeps the pools alive, too: each event holds its own.

    Attributes:
        events: in the order of their coming.
        stats: of the same length.
        complete: nothing was forgotten.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.stats: list[PoolStats] = []
        self.complete = True

    def on_event(self, event: Event) -> None:
        """Write it down."""
        self.events.append(event)
        self.stats.append(event.pool.stats())

    @property
    def names(self) -> list[str]:
        """The hooks called, without their `on_`."""
        return [event.name.removeprefix("on_") for event in self.events]

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def one(self, kind: type[E]) -> E:
        """Return the only event of its kind.

        Raises:
            ValueError: there is none, or more than one.
        """
        (event,) = self.of(kind)
        return event

    def at(self, kind: type[Event]) -> PoolStats:
        """Return the stats inside the hook of the first event of this kind.

        Raises:
            StopIteration: there is none.
        """
        return next(stats for event, stats in zip(self.events, self.stats, strict=True) if isinstance(event, kind))

    def clear(self) -> None:
        """Forget what was recorded; what comes then has ends without starts, so `assert_paired` says nothing of it."""
        self.complete = False
        self.events.clear()
        self.stats.clear()

    def assert_paired(self) -> None:
        """Check, when the pools are closed, that each start has one end, and each end one start before it.

        Checks the order of the events and the state behind each as well.

        Raises:
            AssertionError: it is not so, or a pool is not closed yet.
        """
        if not self.complete:
            return
        wrong = unpaired(self.events)
        assert not wrong, "; ".join(wrong)
        _assert_order(self.events)
        for pool in {event.pool for event in self.events}:
            _assert_life([event for event in self.events if event.pool is pool])
        for event, stats in zip(self.events, self.stats, strict=True):
            _assert_state_follows(event, stats)


# What each event ends and what it begins, by kind and the field of its id: guarantee G1 as a table.
_ENDS: dict[type[Event], tuple[str, str]] = {
    Acquired: ("acquire", "acquire_id"),
    AcquireFailed: ("acquire", "acquire_id"),
    Released: ("hold", "acquire_id"),
    Created: ("creation", "connection_id"),
    CreateFailed: ("creation", "connection_id"),
    Closed: ("connection", "connection_id"),
}
_BEGINS: dict[type[Event], tuple[str, str]] = {
    AcquireStarted: ("acquire", "acquire_id"),
    Acquired: ("hold", "acquire_id"),
    CreateStarted: ("creation", "connection_id"),
    Created: ("connection", "connection_id"),
}


def unpaired(events: Iterable[Event]) -> list[str]:
    """What began twice or did not end, and what ended twice or without having begun. Empty where G1 holds."""
    begun: set[tuple[Hashable, str, int]] = set()
    lasting: dict[tuple[Hashable, str, int], None] = {}
    wrong: list[str] = []
    for event in events:
        if type(event) in _ENDS:
            key = _key(event, *_ENDS[type(event)])
            if key not in lasting:
                wrong.append(f"{key[1]} {key[2]}: {event.name} with nothing to end")
            lasting.pop(key, None)
        if type(event) in _BEGINS:
            key = _key(event, *_BEGINS[type(event)])
            if key in begun:
                wrong.append(f"{key[1]} {key[2]}: {event.name} for the second time")
            begun.add(key)
            lasting[key] = None
    return wrong + [f"{what} {number}: no end" for _, what, number in lasting]


def _key(event: Event, what: str, field: str) -> tuple[Hashable, str, int]:
    return event.pool, what, getattr(event, field)


_ORDER: tuple[tuple[type[Event], tuple[type[Event], ...], str], ...] = (
    (AcquireStarted, (AcquireQueued, Acquired, AcquireFailed), "acquire_id"),
    (Acquired, (Released,), "acquire_id"),
    (CreateStarted, (Created, CreateFailed), "connection_id"),
    (Created, (Acquired, Closed, Shrink, CloseError), "connection_id"),
)


def _assert_order(events: list[Event]) -> None:
    begun: set[tuple[type[Event], Hashable, int]] = set()
    for event in events:
        for start, ends, key in _ORDER:
            if isinstance(event, start):
                begun.add((start, event.pool, getattr(event, key)))
            elif isinstance(event, ends):
                assert (start, event.pool, getattr(event, key)) in begun, f"{event.name} came before {start.name}"
    for earlier, later in pairwise(events):
        assert earlier.at <= later.at, (
            f"{later.name} came after {earlier.name}, and is {earlier.at - later.at:.6f} s older"
        )


def _assert_life(events: list[Event]) -> None:
    """Check one pool's own events."""
    kinds = Counter(type(event) for event in events)
    assert kinds[PoolOpened] <= 1, "the pool opened twice"
    assert kinds[PoolClosed] <= 1, "the pool closed twice"
    bursts = [type(event) for event in events if isinstance(event, BurstStarted | BurstEnded)]
    assert bursts == [BurstStarted, BurstEnded] * (len(bursts) // 2), "bursts do not begin and end in turn"


def _assert_state_follows(event: Event, stats: PoolStats) -> None:
    """Check that the state had changed already, as far as it can be told of any event wherever it comes."""
    follows = True
    if isinstance(event, BurstStarted | BurstLimitReached):
        follows = stats.bursting
    elif isinstance(event, BurstEnded):
        follows = not stats.bursting
    elif isinstance(event, Shrink):
        follows = stats.closing >= 1
    elif isinstance(event, Closed):
        follows = stats.closed[event.reason] >= 1
    elif isinstance(event, CreateFailed):
        follows = stats.create_errors >= 1
    elif isinstance(event, Acquired):
        follows = stats.in_use >= 1
    assert follows, f"{event.name} came before its change of the state: {stats}"
