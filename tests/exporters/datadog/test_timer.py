"""When reports come, and what the timer keeps alive."""

import asyncio
import contextvars
import gc
import threading
import time
import weakref
from collections import Counter

import pytest

from instrumented_pool import ConnectionPool
from instrumented_pool.metrics import DURATIONS
from instrumented_pool.testing import FakeConnection, FakeStrategy
from instrumented_pool_datadog import DatadogObserver
from instrumented_pool_datadog._timer import Timer
from support.datadog_agent import Agent, Clock, latest, ticks, use
from support.fakes import MakePool, Pool
from support.loops import LOOPS, MakeLoop


async def test_reports_come_every_so_often_until_the_pool_closes(agent: Agent, build: MakePool) -> None:
    """One at the first turn of the loop, one every `report_every` seconds, none after `close()`."""
    clock = Clock()
    pool = build(DatadogObserver("orders", report_every=10, statsd=agent.client))
    reports = []
    for seconds in (0.0, 9.0, 2.0, 9.0, 2.0):
        await clock.advance(seconds)
        reports.append("orders.pool.waiting" in latest(agent))
    assert reports == [True, False, True, False, True]
    await pool.close()
    agent.lines()
    await clock.advance(100)
    assert agent.lines() == []


def test_pool_built_without_a_loop_reports_from_its_first_use(agent: Agent) -> None:
    """Nothing runs, and nothing fails, before there is a loop."""
    pool = ConnectionPool(
        strategy=FakeStrategy(),
        max_size=1,
        name="orders-db",
        observers=[DatadogObserver("orders", statsd=agent.client)],
    )

    async def main() -> None:
        assert agent.lines() == []
        async with pool.get_connection():
            await ticks()
            assert "orders.pool.waiting" in latest(agent)
        await pool.close()

    asyncio.run(main())


async def test_timer_does_not_keep_an_abandoned_pool_alive(agent: Agent) -> None:
    """And it ends with the pool."""
    clock = Clock()
    pool = ConnectionPool(
        strategy=FakeStrategy(), max_size=1, observers=[DatadogObserver("orders", statsd=agent.client)]
    )
    await ticks()
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    agent.lines()
    await clock.advance(100)
    assert agent.lines() == []


async def test_timer_does_not_keep_the_first_callers_context(agent: Agent, build: MakePool) -> None:
    """Whatever the request that opened the pool kept in context variables may go."""
    kept: contextvars.ContextVar[FakeConnection] = contextvars.ContextVar("kept")

    async def first() -> "weakref.ref[FakeConnection]":
        kept.set(FakeConnection(1))
        build(DatadogObserver("orders", statsd=agent.client))
        await ticks()
        return weakref.ref(kept.get())

    gone = await asyncio.create_task(first())
    await ticks()
    gc.collect()
    assert gone() is None


async def test_removed_observer_reports_no_more(agent: Agent, observer: DatadogObserver, build: MakePool) -> None:
    """Its timer is stopped."""
    clock = Clock()
    pool = build(observer)
    pool.remove_observer(observer)
    agent.lines()
    await clock.advance(3600)
    assert agent.lines() == []


async def test_removed_observer_reports_what_it_has_counted(
    agent: Agent, observer: DatadogObserver, build: MakePool
) -> None:
    """Since its last report, and nothing of what comes after."""
    pool = build(observer)
    await use(pool, 3)
    await ticks()
    await use(pool, 4)
    pool.remove_observer(observer)
    await use(pool)
    sent = agent.metrics()
    assert sum(metric.value for metric in sent if metric.name == "instrumented_pool.acquires") == 7
    assert {metric.name for metric in sent} >= {duration.name for duration in DURATIONS}


async def test_timer_of_a_pool_that_another_thread_collects_is_taken_off_its_loop(agent: Agent) -> None:
    """At the loop's next turn: uvloop's handles bear no cancelling from elsewhere."""
    pools = [reporting(agent)]
    await ticks()
    timer = timer_of(pools[0])
    handle = timer._handle
    assert handle is not None

    def collect() -> None:
        pools.clear()
        gc.collect()
        assert timer._handle is None

    await asyncio.to_thread(collect)
    await ticks()
    assert handle.cancelled()


@pytest.mark.parametrize("make_loop", LOOPS.values(), ids=LOOPS.keys())
def test_loop_that_ends_before_its_pool_leaves_nothing_to_complain_of(agent: Agent, make_loop: MakeLoop) -> None:
    """Neither as the loop closes with the timer pending, nor as the pool is dropped after it."""
    pools = [reporting(agent)]

    async def main() -> None:
        await pools[0].open()
        await ticks()
        assert "orders.pool.waiting pool:pool" in latest(agent)

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main())
    gone = weakref.ref(pools.pop())
    gc.collect()
    assert gone() is None
    assert agent.lines() == []


@pytest.mark.parametrize("make_loop", LOOPS.values(), ids=LOOPS.keys())
def test_one_observer_reports_pools_on_several_loops(agent: Agent, make_loop: MakeLoop) -> None:
    """Each on its own, at the same time; the one client packs what each sends into whole lines."""
    observer = DatadogObserver("orders", report_every=0.001, statsd=agent.client)
    together = threading.Barrier(3)

    async def main(name: str) -> None:
        pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, name=name, observers=[observer])
        async with pool:
            await asyncio.to_thread(together.wait)
            for _ in range(20):
                async with pool.get_connection():
                    await asyncio.sleep(0.001)

    def run(name: str) -> None:
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(main(name))

    threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    acquires: Counter[str] = Counter()
    while threads:  # the socket holds but a few hundred datagrams
        threads = [thread for thread in threads if thread.is_alive()]
        for metric in agent.metrics():
            if metric.name == "instrumented_pool.acquires":
                acquires.update({tag: int(metric.value) for tag in metric.tags if tag.startswith("pool:")})
        time.sleep(0.001)
    assert acquires == {"pool:a": 20, "pool:b": 20, "pool:c": 20}


@pytest.mark.parametrize("turned", [True, False], ids=["which has reported", "which has not turned since"])
async def test_pool_that_is_used_on_another_loop_than_it_was_built_on_reports_there(agent: Agent, turned: bool) -> None:
    """The timer follows the pool."""
    pool = reporting(agent)
    if turned:
        await ticks()
    first = timer_of(pool)._handle
    agent.lines()

    async def main() -> None:
        async with pool.get_connection():
            await ticks()
            assert "orders.pool.waiting pool:pool" in latest(agent)
        await pool.close()

    other = threading.Thread(target=asyncio.run, args=(main(),))
    other.start()
    other.join()  # meanwhile this loop stands still
    agent.lines()
    await ticks(2)
    assert first is not None
    assert first.cancelled()
    assert timer_of(pool)._handle is None
    assert agent.lines() == []


def reporting(agent: Agent) -> Pool:
    """A pool that reports to `agent` once, and not again for an hour."""
    observer = DatadogObserver("orders", report_every=3600, statsd=agent.client)
    return ConnectionPool(strategy=FakeStrategy(), max_size=1, observers=[observer])


def timer_of(pool: Pool) -> Timer:
    [observer] = pool._bus.observers
    assert isinstance(observer, DatadogObserver)
    return observer._watches[pool]._timer
