"""An observer that writes everything down and can say whether it makes sense."""

from collections import Counter
from itertools import pairwise
from typing import TypeVar

from instrumented_pool import (
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
    PoolStats,
    Released,
    Shrink,
)

E = TypeVar("E", bound=Event)


class Recorder(Observer):
    """Keeps every event, with the pool's stats as they were inside the hook.

    Attributes:
        events: in the order of their coming.
        stats: of the same length.
        complete: nothing was forgotten.
        raises: what the hook raises at the n-th event, counted from 1.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.stats: list[PoolStats] = []
        self.raises: dict[int, BaseException] = {}
        self.complete = True

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        self.stats.append(event.pool.stats())
        error = self.raises.get(len(self.events))
        if error is not None:
            raise error

    @property
    def names(self) -> list[str]:
        """The hooks called, without their `on_`."""
        return [event.name.removeprefix("on_") for event in self.events]

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def one(self, kind: type[E]) -> E:
        """The only event of its kind."""
        (event,) = self.of(kind)
        return event

    def at(self, kind: type[Event]) -> PoolStats:
        """The stats inside the hook of the first event of this kind."""
        return next(stats for event, stats in zip(self.events, self.stats, strict=True) if isinstance(event, kind))

    def clear(self) -> None:
        """Forget what was recorded; what is left has ends without starts."""
        self.complete = False
        self.events.clear()
        self.stats.clear()

    def assert_paired(self) -> None:
        """G1, at the end of a closed pool: each start has one end, and each end one start before it."""
        if not self.complete:
            return
        _assert_pairs(
            [event.acquire_id for event in self.of(AcquireStarted)],
            [event.acquire_id for event in self.events if isinstance(event, Acquired | AcquireFailed)],
        )
        _assert_pairs([e.acquire_id for e in self.of(Acquired)], [e.acquire_id for e in self.of(Released)])
        _assert_pairs(
            [event.connection_id for event in self.of(CreateStarted)],
            [event.connection_id for event in self.events if isinstance(event, Created | CreateFailed)],
        )
        _assert_pairs([e.connection_id for e in self.of(Created)], [e.connection_id for e in self.of(Closed)])
        self._assert_order()

    def _assert_order(self) -> None:
        begun: set[tuple[type[Event], int]] = set()
        for event in self.events:
            for start, ends, key in _ORDER:
                if isinstance(event, start):
                    begun.add((start, getattr(event, key)))
                elif isinstance(event, ends):
                    assert (start, getattr(event, key)) in begun, f"{event.name} came before {start.name}"
        for kind in (PoolOpened, PoolClosed):
            assert len(self.of(kind)) <= 1
        assert all(earlier.at <= later.at for earlier, later in pairwise(self.events))
        bursts = [type(event) for event in self.events if isinstance(event, BurstStarted | BurstEnded)]
        assert bursts == [BurstStarted, BurstEnded] * (len(bursts) // 2), "bursts begin and end in turn"
        for event, stats in zip(self.events, self.stats, strict=True):
            _assert_state_follows(event, stats)


_ORDER: tuple[tuple[type[Event], tuple[type[Event], ...], str], ...] = (
    (AcquireStarted, (AcquireQueued, Acquired, AcquireFailed), "acquire_id"),
    (Acquired, (Released,), "acquire_id"),
    (CreateStarted, (Created, CreateFailed), "connection_id"),
    (Created, (Acquired, Closed, Shrink, CloseError), "connection_id"),
)


def _assert_pairs(starts: list[int], ends: list[int]) -> None:
    assert max(Counter(starts).values(), default=1) == 1, f"started twice: {starts}"
    assert sorted(starts) == sorted(ends), f"starts {sorted(starts)} have the ends {sorted(ends)}"


def _assert_state_follows(event: Event, stats: PoolStats) -> None:
    """G2, as far as it can be told of any event wherever it comes."""
    if isinstance(event, BurstStarted | BurstLimitReached):
        assert stats.bursting
    elif isinstance(event, BurstEnded):
        assert not stats.bursting
    elif isinstance(event, Shrink):
        assert stats.closing >= 1
    elif isinstance(event, Closed):
        assert stats.closed[event.reason] >= 1
    elif isinstance(event, CreateFailed):
        assert stats.create_errors >= 1
    elif isinstance(event, Acquired):
        assert stats.in_use >= 1
