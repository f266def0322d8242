"""What the demo proves from the events: its proofs must be able to fail."""

from typing import Any

import pytest

from instrumented_pool import (
    Acquired,
    AcquireFailed,
    AcquireQueued,
    AcquireStarted,
    Closed,
    ConnectionPool,
    ConnectionStrategy,
    Created,
    CreateStarted,
    Event,
    Released,
)
from instrumented_pool._demo._recorder import overtakings
from instrumented_pool.testing._recorder import unpaired


class Nothing(ConnectionStrategy[object]):
    async def create_connection(self) -> object:
        return object()

    def connection_is_closed(self, conn: object) -> bool:
        return False

    def close_connection(self, conn: object) -> None:
        pass


POOL: ConnectionPool[Any] = ConnectionPool(strategy=Nothing(), max_size=1)


def a_life() -> list[Event]:
    """One acquire for which a connection is made, used and closed."""
    return [
        AcquireStarted(POOL, 0.0, 1),
        AcquireQueued(POOL, 0.0, 1, 1, True),
        CreateStarted(POOL, 0.0, 1, 1, False),
        Created(POOL, 0.0, 1, 0.1),
        Acquired(POOL, 0.0, 1, 1, 0.1, "new"),
        Released(POOL, 0.0, 1, 1, 0.1, None, None),
        Closed(POOL, 0.0, 1, "pool_closed", 0.2),
    ]


def test_whole_life_is_paired() -> None:
    """Every start has its end."""
    assert unpaired(a_life()) == []


@pytest.mark.parametrize("missing", [0, 2, 3, 4, 5, 6])
def test_missing_event_is_found(missing: int) -> None:
    """Whichever it is, a start or an end."""
    events = a_life()
    del events[missing]
    assert unpaired(events)


@pytest.mark.parametrize("twice", [0, 2, 3, 4, 5, 6])
def test_event_that_comes_twice_is_found(twice: int) -> None:
    """Whichever it is, a start or an end."""
    events = a_life()
    events.insert(twice, events[twice])
    assert unpaired(events)


def queued(*numbers: int) -> list[Event]:
    return [AcquireQueued(POOL, 0.0, number, 1, False) for number in numbers]


def served(*numbers: int) -> list[Event]:
    return [Acquired(POOL, 0.0, number, 1, 0.1, "handoff") for number in numbers]


def test_callers_served_in_turn_overtake_nobody() -> None:
    """Those who did not queue do not count."""
    assert overtakings([*served(9), *queued(1, 2, 3), *served(1, 2, 3)]) == (3, 0)


def test_caller_served_before_an_earlier_one_is_counted() -> None:
    """Once for each who was served out of turn."""
    assert overtakings([*queued(1, 2, 3), *served(3, 2, 1)]) == (3, 2)


def test_caller_who_gave_up_is_not_overtaken() -> None:
    """Its place in the queue is gone."""
    gave_up = AcquireFailed(POOL, 0.0, 1, 0.1, "timeout", TimeoutError())
    assert overtakings([*queued(1, 2), gave_up, *served(2)]) == (1, 0)
