"""The bus: who is told of what, and what a hook may do."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from instrumented_pool import (
    Acquired,
    AcquireStarted,
    ConnectionPool,
    Event,
    Observer,
    ObserverFailed,
    PoolCleared,
    Released,
    _bus,
)
from instrumented_pool.testing import RecordingObserver
from support.callers import callers, leave_all
from support.fakes import MakePool
from support.virtual import steps


class Names(Observer):
    """Writes down which of its hooks was called, in a list that several may share."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.name, self.told = name, told

    def on_acquired(self, event: Acquired) -> None:
        self.told.append(f"{self.name} acquired")

    def on_released(self, event: Released) -> None:
        self.told.append(f"{self.name} released")


class Broken(Observer):
    """Fails in one hook, always."""

    def on_acquired(self, event: Acquired) -> None:
        raise ValueError("redis://:hunter2@cache:6379 is not to be reached")


class Calls(Observer):
    """Calls something in one hook."""

    def __init__(self, call: Callable[[Event], object]) -> None:
        self.call = call

    def on_acquired(self, event: Acquired) -> None:
        self.call(event)


async def borrow(pool: ConnectionPool[Any]) -> None:
    """Take a connection and give it back."""
    async with pool.get_connection():
        pass


async def test_observers_are_told_in_the_order_of_their_registration(make_pool: MakePool) -> None:
    """G3, the second half."""
    told: list[str] = []
    pool = make_pool(observers=[Names("first", told), Names("second", told)])
    pool.add_observer(Names("third", told))
    await borrow(pool)
    assert told == [f"{who} {what}" for what in ("acquired", "released") for who in ("first", "second", "third")]


async def test_observer_added_later_is_told_from_then_on(make_pool: MakePool) -> None:
    """Of an end even if it did not see the start."""
    told: list[str] = []
    pool = make_pool()
    (holder,) = await callers(pool, 1)
    pool.add_observer(Names("late", told))
    await holder.leave()
    assert told == ["late released"]


async def test_observer_removed_is_told_nothing_more(make_pool: MakePool) -> None:
    """And the idle path is the plain one again."""
    told: list[str] = []
    observer, pool = Names("gone", told), make_pool()
    pool.add_observer(observer)
    await borrow(pool)
    pool.remove_observer(observer)
    await borrow(pool)
    assert told == ["gone acquired", "gone released"]
    assert pool._at_hand is pool._idle


async def test_observer_is_told_when_it_is_attached_and_detached(make_pool: MakePool) -> None:
    """Once each, with the pool."""
    told: list[tuple[str, object]] = []

    class Attaching(Observer):
        def attached(self, pool: ConnectionPool[Any]) -> None:
            told.append(("attached", pool))

        def detached(self, pool: ConnectionPool[Any]) -> None:
            told.append(("detached", pool))

    observer = Attaching()
    pool = make_pool(observers=[observer])
    pool.remove_observer(observer)
    assert told == [("attached", pool), ("detached", pool)]


async def test_one_observer_may_watch_two_pools(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """Each event says which."""
    first, second = make_pool(observers=[recorder], name="a"), make_pool(observers=[recorder], name="b")
    await borrow(first)
    await borrow(second)
    assert [event.pool for event in recorder.of(Acquired)] == [first, second]


async def test_observer_cannot_be_added_twice_or_removed_in_vain(
    make_pool: MakePool, recorder: RecordingObserver
) -> None:
    """Misuse is told."""
    pool = make_pool(observers=[recorder])
    with pytest.raises(ValueError, match="already observes pool 'pool'"):
        pool.add_observer(recorder)
    with pytest.raises(ValueError, match="does not observe pool 'pool'"):
        pool.remove_observer(RecordingObserver())


async def test_on_event_is_told_everything_after_the_hook_of_its_own(make_pool: MakePool) -> None:
    """Both are called."""
    told: list[str] = []

    class Both(Observer):
        def on_acquired(self, event: Acquired) -> None:
            told.append("hook")

        def on_event(self, event: Event) -> None:
            told.append(event.name)

    await borrow(make_pool(observers=[Both()]))
    assert told == [
        "on_pool_opened",
        "on_acquire_started",
        "on_acquire_queued",
        "on_create_started",
        "on_created",
        "hook",
        "on_acquired",
        "on_released",
    ]


async def test_failing_hook_is_logged_once_and_redacted(make_pool: MakePool, caplog: pytest.LogCaptureFixture) -> None:
    """G4: with the pool, the hook and the place; a thousand failures are one line."""
    pool = make_pool(name="orders", observers=[Broken()])
    with caplog.at_level(logging.ERROR, "instrumented_pool"):
        for _ in range(3):
            await borrow(pool)
    (record,) = caplog.records
    assert "pool 'orders': Broken.on_acquired raised ValueError: redis://***@cache:6379" in record.getMessage()
    assert "test_bus.py:" in record.getMessage()
    assert "hunter2" not in caplog.text
    assert pool.stats().observer_errors == 3


async def test_failing_hook_is_told_to_the_others(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """G4: as `on_observer_failed`, with the observer, the hook and the error."""
    broken = Broken()
    await borrow(make_pool(observers=[broken, recorder]))
    event = recorder.one(ObserverFailed)
    assert (event.observer, event.hook, type(event.error)) == (broken, "on_acquired", ValueError)


async def test_hook_that_fails_on_a_failure_does_not_go_round_in_circles(make_pool: MakePool) -> None:
    """It is counted, and that is all."""

    class Worse(Broken):
        def on_observer_failed(self, event: ObserverFailed) -> None:
            raise ValueError("again")

    pool = make_pool(observers=[Worse()])
    await borrow(pool)
    assert pool.stats().observer_errors == 2


async def test_later_observers_are_told_although_an_earlier_one_failed(make_pool: MakePool) -> None:
    """One bad exporter does not blind the others."""
    told: list[str] = []
    await borrow(make_pool(observers=[Broken(), Names("good", told)]))
    assert told == ["good acquired", "good released"]


async def test_hook_may_change_the_pool_and_events_keep_their_order(
    make_pool: MakePool, recorder: RecordingObserver
) -> None:
    """G3: what a hook brings about is told after what it was told of."""
    pool = make_pool(observers=[Calls(lambda event: event.pool.clear()), recorder])
    await borrow(pool)
    assert recorder.names.index("pool_cleared") == recorder.names.index("acquired") + 1
    assert len(recorder.of(PoolCleared)) == 1


async def test_hook_may_add_and_remove_observers(make_pool: MakePool) -> None:
    """From the next event on."""
    told: list[str] = []
    late = Names("late", told)

    def add(event: Event) -> None:
        event.pool.add_observer(late)
        event.pool.remove_observer(adder)

    adder = Calls(add)
    pool = make_pool(observers=[adder])
    await borrow(pool)
    await borrow(pool)
    assert told == ["late released", "late acquired", "late released"]


async def test_bound_hooks_of_an_instance_are_called(make_pool: MakePool) -> None:
    """A hook may be set on the object, as tests and scripts do."""
    told: list[Event] = []
    observer = Observer()
    observer.on_acquired = told.append  # type: ignore[method-assign,assignment]  # the point of this test
    await borrow(make_pool(observers=[observer]))
    assert len(told) == 1


async def test_unheard_hook_builds_no_event(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """G7: without a listener the class of the event is not even called."""
    from instrumented_pool import _events

    def never(*_: object) -> None:
        raise AssertionError("built for nobody")

    told: list[str] = []
    pool = make_pool(burst_limit=2, observers=[Names("one", told)])
    for name in ("AcquireStarted", "AcquireQueued", "CreateStarted", "Created", "BurstStarted", "Shrink", "Closed"):
        monkeypatch.setattr(_events, name, never)
    made = await callers(pool, 3)
    await leave_all(*made)
    await pool.close()
    await steps()
    assert len(told) == 6


async def test_idle_path_of_an_unobserved_pool_touches_no_event(make_pool: MakePool) -> None:
    """G7 once more: only who listens to acquire or release takes it off the plain path."""
    pool = make_pool()
    pool.add_observer(Calls(lambda event: None))
    assert pool._at_hand is not pool._idle

    class Closes(Observer):
        def on_closed(self, event: Event) -> None: ...

    plain = make_pool(observers=[Closes()])
    assert plain._at_hand is plain._idle
    assert not plain._attentive


async def test_start_of_an_acquire_is_heard_without_its_end(make_pool: MakePool) -> None:
    """A pool with one hook overridden calls that one for every acquire, idle ones included."""
    told: list[Event] = []

    class Starts(Observer):
        def on_acquire_started(self, event: AcquireStarted) -> None:
            told.append(event)

    pool = make_pool(observers=[Starts()])
    for _ in range(3):
        await borrow(pool)
    assert len(told) == 3


class Waits(Observer):
    """Wants to hear of callers that queued, and writes down what it is told."""

    waits_only = True

    def __init__(self) -> None:
        self.told: list[Event] = []

    def on_event(self, event: Event) -> None:
        if isinstance(event, AcquireStarted | Acquired | Released):
            self.told.append(event)


async def test_observer_of_waits_leaves_the_idle_path_plain(make_pool: MakePool) -> None:
    """It hears nothing of an acquire and a release for which nobody waited."""
    observer = Waits()
    pool = make_pool()
    await borrow(pool)
    pool.add_observer(observer)
    await borrow(pool)
    assert pool._at_hand is pool._idle
    assert not pool._attentive
    assert not observer.told


async def test_observer_of_waits_is_told_whose_release_served_a_caller(make_pool: MakePool) -> None:
    """Of the end of each wait, and of the release that brought it about; others hear the rest as well."""
    observer, recorder = Waits(), RecordingObserver()
    pool = make_pool(observers=[observer, recorder])
    holder, queued = await callers(pool, 2)
    await holder.leave()
    await queued.leave()
    made, released, served = observer.told
    assert isinstance(made, Acquired)
    assert isinstance(released, Released)
    assert isinstance(served, Acquired)
    assert (made.source, served.source) == ("new", "handoff")
    assert (released.acquire_id, released.served) == (made.acquire_id, served.acquire_id)
    assert [event.served for event in recorder.of(Released)] == [served.acquire_id, None]


class Spends(Observer):
    """Its hook takes as long as it is told, on a clock of the test's."""

    clock = 0.0

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_event(self, event: Event) -> None:
        Spends.clock += self.seconds


class Rests(Spends):
    """Another, so that the two have names."""


async def test_seconds_spent_in_each_observer_are_estimated(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One event in `TIMED_ONE_IN` is timed, and stands for all of them; of two of a class, the second has a number."""
    monkeypatch.setattr(_bus, "perf_counter", lambda: Spends.clock)
    pool = make_pool(observers=[Spends(0.25), Rests(0.0), Spends(1.0)])
    assert pool.stats().observer_seconds == {"Spends": 0.0, "Rests": 0.0, "Spends#2": 0.0}
    for _ in range(_bus.TIMED_ONE_IN):  # of three events each, and more at first
        await borrow(pool)
    seconds = 3 * _bus.TIMED_ONE_IN
    assert pool.stats().observer_seconds == {"Spends": 0.25 * seconds, "Rests": 0.0, "Spends#2": 1.0 * seconds}


async def test_observer_that_was_removed_is_timed_no_more(make_pool: MakePool) -> None:
    """Its name is free again, also where its hook removed it while being timed."""
    removes = Calls(lambda event: event.pool.remove_observer(removes))
    pool = make_pool()
    for _ in range(_bus.TIMED_ONE_IN + 1):
        pool.add_observer(removes)
        await borrow(pool)
    assert pool.stats().observer_seconds == {}
