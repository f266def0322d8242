"""Rule 9: `max_lifetime`, `idle_timeout`, `min_size`, and the one timer."""

import asyncio
from typing import Any

import pytest

from instrumented_pool import Closed, PoolError
from instrumented_pool.testing import FakeStrategy, RecordingObserver
from support.callers import callers, leave_all
from support.fakes import MakePool
from support.virtual import CLOCK, START, steps


async def test_idle_connection_is_closed_at_the_end_of_its_lifetime(
    make_pool: MakePool, recorder: RecordingObserver
) -> None:
    """By the timer, without any caller; up to 10 % before its time, so that those made together do not end together."""
    pool = make_pool(max_size=20, max_lifetime=100.0, observers=[recorder])
    await leave_all(*await callers(pool, 20))
    await asyncio.sleep(101)
    ages = [event.age for event in recorder.of(Closed)]
    assert {event.reason for event in recorder.of(Closed)} == {"lifetime"}
    assert len(ages) == 20
    assert all(90.0 <= age <= 100.0 for age in ages)
    assert max(ages) - min(ages) > 1.0


async def test_lent_connection_past_its_lifetime_is_closed_on_return(
    make_pool: MakePool, strategy: FakeStrategy, recorder: RecordingObserver
) -> None:
    """Nobody is disturbed in the middle; those who wait get a new one."""
    pool = make_pool(max_lifetime=10.0, acquire_timeout=None, observers=[recorder])
    holder, queued = await callers(pool, 2)
    await asyncio.sleep(15)
    assert not strategy.closed
    await holder.leave()
    await steps()
    assert queued.conn is strategy.created[1]
    assert recorder.one(Closed).reason == "lifetime"
    await queued.leave()


@pytest.mark.parametrize(("option", "reason"), [("max_lifetime", "lifetime"), ("idle_timeout", "idle")])
async def test_age_is_enforced_at_hand_out_too(
    make_pool: MakePool, recorder: RecordingObserver, option: str, reason: str
) -> None:
    """A loop that was blocked may ask before the timer could fire."""
    pool = make_pool(**{option: 10.0}, observers=[recorder])
    async with pool.get_connection() as old:
        pass
    CLOCK.seconds += 20
    async with pool.get_connection() as new:
        assert new is not old
    assert recorder.one(Closed).reason == reason


async def test_connection_idle_for_too_long_is_closed(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """Exactly then, counted from its return."""
    pool = make_pool(idle_timeout=10.0, observers=[recorder])
    async with pool.get_connection():
        await asyncio.sleep(7)
    await asyncio.sleep(9.5)
    assert pool.stats().idle == 1
    await asyncio.sleep(1)
    assert [(event.reason, event.at) for event in recorder.of(Closed)] == [("idle", START + 17)]


async def test_use_keeps_a_connection_from_being_idle(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """Each return starts the time anew."""
    pool = make_pool(idle_timeout=10.0)
    for _ in range(10):
        async with pool.get_connection():
            pass
        await asyncio.sleep(8)
    assert len(strategy.created) == 1


async def test_idle_connections_are_closed_down_to_min_size(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """Those that are kept ready do not age by lying idle."""
    pool = make_pool(max_size=5, min_size=2, idle_timeout=10.0)
    await leave_all(*await callers(pool, 5))
    await asyncio.sleep(100)
    assert pool.stats().idle == 2
    assert len(strategy.created) == 5


async def test_what_is_still_being_made_is_not_among_those_kept_ready(
    make_pool: MakePool, strategy: FakeStrategy
) -> None:
    """The only connection there is stays, however long another takes to come."""
    pool = make_pool(max_size=2, min_size=1, idle_timeout=10.0)
    (first,) = await callers(pool, 1)
    strategy.gate.clear()
    (second,) = await callers(pool, 1)
    await first.leave()
    await second.leave()
    await asyncio.sleep(100)
    assert (pool.stats().idle, pool.stats().creating) == (1, 1)
    assert not strategy.given_up


async def test_min_size_is_kept_filled(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """From the first use on, and again after a connection died or grew too old."""
    pool = make_pool(max_size=3, min_size=2, max_lifetime=50.0)
    async with pool.get_connection():
        pass
    await steps()
    assert pool.stats().idle == 2
    strategy.created[0].dead = strategy.created[1].dead = True
    async with pool.get_connection():
        pass
    await steps()
    assert pool.stats().idle == 2
    await asyncio.sleep(60)
    assert pool.stats().idle == 2
    assert pool.stats().closed["lifetime"] == 2


async def test_open_waits_until_min_size_is_reached(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """And returns at once where it is."""
    strategy.gate.clear()
    pool = make_pool(max_size=3, min_size=3)
    opening = asyncio.ensure_future(pool.open())
    await steps()
    assert pool.stats().creating == 3
    assert not opening.done()
    strategy.gate.set()
    await opening
    assert pool.stats().idle == 3
    await pool.open()


async def test_open_raises_what_kept_a_connection_from_being_made(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """As the cause; the pool stays usable."""
    error = OSError("refused")
    strategy.create_errors.append(error)
    pool = make_pool(min_size=1)
    with pytest.raises(PoolError, match="opened 0 of min_size=1 connections: OSError: refused") as caught:
        await pool.open()
    assert caught.value.__cause__ is error
    async with pool.get_connection() as conn:
        assert conn.number == 1


async def test_cancelled_open_does_not_cancel_the_filling(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """Another one who opens waits for the same connections."""
    strategy.gate.clear()
    pool = make_pool(min_size=1)
    first, second = (asyncio.ensure_future(pool.open()) for _ in range(2))
    await steps()
    first.cancel()
    await steps()
    strategy.gate.set()
    await second
    assert len(strategy.created) == 1


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({}, False),
        ({"min_size": 1}, False),
        ({"max_lifetime": 9.0}, True),
        ({"idle_timeout": 9.0}, True),
        ({"leak_after": 9.0}, True),
    ],
)
async def test_timer_exists_only_while_it_is_needed(make_pool: MakePool, options: dict[str, Any], needed: bool) -> None:
    """Never in a pool without ages, and in none that was closed."""
    pool = make_pool(**options)
    assert pool._timer is None
    async with pool.get_connection(timeout=0.5):
        pass
    await asyncio.sleep(1)
    assert (pool._timer is not None) == needed
    await pool.close()
    assert pool._timer is None


async def test_pool_whose_connections_are_all_gone_has_no_timer(make_pool: MakePool) -> None:
    """There is nothing left to watch."""
    pool = make_pool(max_lifetime=10.0, idle_timeout=5.0)
    async with pool.get_connection():
        pass
    await asyncio.sleep(30)
    assert pool.stats().total == 0
    assert pool._timer is None


async def test_rounding_of_the_clock_does_not_make_the_timer_fire_in_vain(make_pool: MakePool) -> None:
    """1000.202 + 0.3 - 1000.202 is less than 0.3: what is due and what was waited for has to be reckoned in one way."""
    CLOCK.seconds = 1000.202
    pool = make_pool(max_size=2, leak_after=0.3, idle_timeout=0.3)
    (holder,) = await callers(pool, 1)
    async with pool.get_connection():
        pass
    CLOCK.seconds += 0.3
    await steps(3)
    assert (pool.stats().leaks_suspected, pool.stats().closed["idle"]) == (1, 1)
    await holder.leave()


async def test_lifetime_begins_when_the_connection_is_there(make_pool: MakePool, strategy: FakeStrategy) -> None:
    """However long it took to connect."""
    strategy.gate.clear()
    pool = make_pool(max_lifetime=10.0, acquire_timeout=None)
    (caller,) = await callers(pool, 1)
    await asyncio.sleep(50)
    strategy.gate.set()
    await steps()
    assert caller.conn is strategy.created[0]
    await caller.leave()
