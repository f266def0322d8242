"""The guarantees G1 to G6 of the events; G7 is in test_bus.py, G1 under faults in test_faults.py."""

import asyncio
import sys
from contextvars import ContextVar

import pytest

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
    ConnectionPool,
    Created,
    CreateFailed,
    CreateStarted,
    LeakSuspected,
    Observer,
    PoolClosed,
    PoolClosedError,
    PoolOpened,
    PoolTimeoutError,
    Released,
    Shrink,
)
from instrumented_pool.testing import FakeConnection, FakeStrategy, RecordingObserver
from instrumented_pool.testing._loop import drive
from support.callers import Caller, callers, leave_all
from support.fakes import MakePool
from support.scenarios import SCENARIOS
from support.sweep import fail_everywhere
from support.virtual import VirtualLoop, steps

span: ContextVar[str] = ContextVar("span", default="none")


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_start_has_exactly_one_end(name: str) -> None:
    """G1: by the end of `close()`; the harness checks the pairs, their order, and the state behind each."""
    assert fail_everywhere(SCENARIOS[name], "nothing") == 0


async def test_stats_inside_a_hook_are_the_state_after_the_change(
    make_pool: MakePool, recorder: RecordingObserver, strategy: FakeStrategy
) -> None:
    """G2, for each kind of event."""
    strategy.create_errors += [None, None, OSError()]
    strategy.close_steps = 1
    pool = make_pool(max_size=1, burst_limit=2, observers=[recorder])
    (first,) = await callers(pool, 1)
    (second,) = await callers(pool, 1)
    (third,) = await callers(pool, 1)
    assert (recorder.at(AcquireStarted).acquires, recorder.at(AcquireStarted).waiting) == (1, 0)
    assert recorder.at(AcquireQueued).waiting == 1
    assert recorder.at(CreateStarted).creating == 1
    assert (recorder.at(Created).created, recorder.at(Created).in_use) == (1, 1)
    assert recorder.at(Acquired).acquired["new"] == 1
    assert (recorder.at(BurstStarted).total, recorder.at(BurstStarted).bursts) == (2, 1)
    assert recorder.at(BurstLimitReached).waiting > 0
    strategy.close_errors.append(OSError())
    await third.cancel()
    assert (recorder.at(AcquireFailed).failed["cancelled"], recorder.at(AcquireFailed).waiting) == (1, 0)
    await second.leave()
    assert (recorder.at(Released).in_use, recorder.at(Released).closing) == (1, 1)
    assert recorder.at(Shrink).closing == 1
    assert (recorder.at(CloseError).close_errors, recorder.at(CloseError).total) == (1, 1)
    assert (recorder.at(Closed).closed["shrink"], recorder.at(Closed).closing) == (1, 0)
    assert recorder.at(BurstEnded).total == 1
    failing = Caller(pool)
    assert isinstance(await failing.error(), OSError)
    assert (recorder.at(CreateFailed).create_errors, recorder.at(CreateFailed).creating) == (1, 0)
    queued = Caller(pool)
    await steps()
    await leave_all(first, queued)
    await pool.close()
    assert recorder.at(PoolOpened).total == 0
    assert (recorder.at(PoolClosed).idle, recorder.at(PoolClosed).closing) == (0, 1)


async def test_events_come_in_the_order_of_the_changes(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """G3: and a woken caller runs after them."""
    pool = make_pool(observers=[recorder])
    holder, queued = await callers(pool, 2)
    recorder.clear()
    holder.let_go()
    await asyncio.sleep(0)
    assert recorder.names == ["released"]
    assert queued.waits
    await steps()
    assert recorder.names == ["released", "acquired"]
    await queued.leave()
    assert recorder.of(Acquired)[0].source == "handoff"


async def test_shrinking_is_told_in_its_order(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """G3: released, shrink, closed, the end of the burst."""
    pool = make_pool(max_size=1, burst_limit=2, observers=[recorder])
    first, second = await callers(pool, 2)
    recorder.clear()
    await second.leave()
    assert recorder.names == ["released", "shrink", "closed", "burst_ended"]
    await first.leave()


async def test_burst_is_told_in_its_order(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """G3: the burst begins before the creation that makes it, and the limit is told once an episode."""
    pool = make_pool(max_size=1, burst_limit=2, observers=[recorder])
    (first,) = await callers(pool, 1)
    recorder.clear()
    (second,) = await callers(pool, 1)
    assert recorder.names == [
        "acquire_started",
        "acquire_queued",
        "burst_started",
        "create_started",
        "created",
        "acquired",
    ]
    recorder.clear()
    queued = await callers(pool, 2)
    assert recorder.names == ["acquire_started", "acquire_queued", "burst_limit_reached", *recorder.names[3:]]
    assert len(recorder.of(BurstLimitReached)) == 1
    await leave_all(first, second, *queued)


async def test_limit_is_told_also_where_growth_meets_it(
    make_pool: MakePool, recorder: RecordingObserver, strategy: FakeStrategy
) -> None:
    """With one connection made at a time, the queue is there before the limit is."""
    pool = make_pool(max_size=1, burst_limit=2, max_connecting=1, observers=[recorder])
    strategy.gate.clear()
    made = await callers(pool, 4)
    assert not recorder.of(BurstLimitReached)
    strategy.gate.set()
    await steps()
    assert [event.total for event in recorder.of(BurstLimitReached)] == [2]
    await leave_all(*made)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("hook", ["on_acquire_started", "on_acquired", "on_released", "on_created", "on_pool_opened"])
def test_interrupt_in_a_hook_propagates_when_the_state_is_whole(hook: str, kind: type[BaseException]) -> None:
    """G4: and the connection is not lost."""
    strategy = FakeStrategy()
    observer = Observer()
    stop = kind()
    raised_once: list[bool] = []

    def interrupt(event: object) -> None:
        if not raised_once:
            raised_once.append(True)
            raise stop

    setattr(observer, hook, interrupt)
    raised: list[BaseException] = []

    async def main() -> None:
        pool = ConnectionPool(strategy=strategy, max_size=1)
        pool.add_observer(observer)
        try:
            async with pool.get_connection():
                pass
        except BaseException as error:
            raised.append(error)
        pool.remove_observer(observer)
        async with pool.get_connection():
            assert pool.stats().in_use == 1
        await pool.close()
        assert pool.stats().total == 0

    loop = VirtualLoop()
    _, escaped = drive(loop, main())
    loop.close()
    assert stop in raised + escaped


async def test_acquire_hooks_run_in_the_callers_task_and_context(make_pool: MakePool) -> None:
    """G5: what one sets is seen by the next, and by the creation in between."""
    seen: list[tuple[str, str, bool]] = []
    caller = asyncio.current_task()

    class Tracer(Observer):
        def note(self, what: str) -> None:
            seen.append((what, span.get(), asyncio.current_task() is caller))

        def on_acquire_started(self, event: AcquireStarted) -> None:
            self.note("acquire_started")
            span.set("acquire")

        def on_acquire_queued(self, event: AcquireQueued) -> None:
            self.note("acquire_queued")
            span.set("wait")

        def on_acquired(self, event: Acquired) -> None:
            self.note("acquired")
            span.set("none")

        def on_create_started(self, event: CreateStarted) -> None:
            self.note("create_started")
            span.set("create")

        def on_created(self, event: Created) -> None:
            self.note("created")

    class Dialling(FakeStrategy):
        async def create_connection(self) -> FakeConnection:
            seen.append(("driver", span.get(), asyncio.current_task() is caller))
            return await super().create_connection()

    pool = make_pool(strategy=Dialling(), observers=[Tracer()])
    async with pool.get_connection():
        assert span.get() == "none"
    assert seen == [
        ("acquire_started", "none", True),
        ("acquire_queued", "acquire", True),
        ("create_started", "wait", False),
        ("driver", "create", False),
        ("created", "create", False),
        ("acquired", "wait", True),
    ]


async def test_failed_acquire_ends_in_the_callers_task_and_context(make_pool: MakePool) -> None:
    """G5: although it was the timer that ended it, or the task that closed the pool."""
    seen: list[tuple[str, str]] = []

    class Tracer(Observer):
        def on_acquire_started(self, event: AcquireStarted) -> None:
            task = asyncio.current_task()
            assert task is not None
            span.set(task.get_name())

        def on_acquire_failed(self, event: AcquireFailed) -> None:
            task = asyncio.current_task()
            assert task is not None
            seen.append((span.get(), task.get_name()))

    pool = make_pool()
    (holder,) = await callers(pool, 1)
    pool.add_observer(Tracer())
    late, refused = Caller(pool, timeout=1.0), Caller(pool)
    late.task.set_name("late")
    refused.task.set_name("refused")
    assert isinstance(await late.error(), PoolTimeoutError)
    closing = asyncio.ensure_future(pool.close())
    assert isinstance(await refused.error(), PoolClosedError)
    assert seen == [("late", "late"), ("refused", "refused")]
    await holder.leave()
    await closing


async def test_suspected_leak_is_told_in_the_context_of_its_holder(make_pool: MakePool) -> None:
    """Whatever is current there by then; an empty one before Python 3.12, and where there is no task any more."""
    seen: list[str] = []

    class Tracer(Observer):
        def on_leak_suspected(self, event: LeakSuspected) -> None:
            seen.append(span.get())
            span.set("the observer's")

    async def hold(name: str) -> None:
        async with pool.get_connection():
            span.set(name)
            await asyncio.sleep(10)
            assert span.get() == name

    pool = make_pool(max_size=2, leak_after=5.0, observers=[Tracer()])
    await asyncio.gather(hold("first"), hold("second"))
    assert sorted(seen) == (["first", "second"] if sys.version_info >= (3, 12) else ["none", "none"])


async def test_what_the_timer_does_is_in_nobodys_context(make_pool: MakePool) -> None:
    """Neither closing what is too old nor filling up again belongs to the caller that armed the timer."""
    seen: list[tuple[str, str]] = []

    class Tracer(Observer):
        def on_create_started(self, event: CreateStarted) -> None:
            seen.append((event.name, span.get()))

        def on_closed(self, event: Closed) -> None:
            seen.append((event.name, span.get()))

    pool = make_pool(min_size=1, max_lifetime=5.0, observers=[Tracer()])
    span.set("caller")
    async with pool.get_connection():
        pass
    await asyncio.sleep(6)
    assert seen == [("on_create_started", "caller"), ("on_closed", "none"), ("on_create_started", "none")]


@pytest.mark.parametrize(
    ("how", "reason"),
    [("timeout", "timeout"), ("cancel", "cancelled"), ("create", "create_error"), ("close", "pool_closed")],
)
async def test_failed_acquire_tells_its_reason_its_wait_and_its_error(
    make_pool: MakePool, recorder: RecordingObserver, strategy: FakeStrategy, how: str, reason: str
) -> None:
    """The error is what the caller gets."""
    pool = make_pool(observers=[recorder])
    held = await callers(pool, 0 if how == "create" else 1)
    if how == "create":
        strategy.create_errors.append(OSError("refused"))
        strategy.gate.clear()
    caller = Caller(pool, timeout=2.0)
    await asyncio.sleep(1.0)
    if how == "cancel":
        caller.task.cancel()
    elif how == "create":
        strategy.gate.set()
    closing = asyncio.ensure_future(pool.close()) if how == "close" else None
    error = await caller.error()
    event = recorder.one(AcquireFailed)
    assert (event.reason, event.wait) == (reason, 2.0 if how == "timeout" else 1.0)
    assert event.error is error or how == "cancel"
    await leave_all(*held)
    if closing is not None:
        await closing


async def test_acquired_tells_its_source_and_its_wait(make_pool: MakePool, recorder: RecordingObserver) -> None:
    """Made, handed over, idle."""
    pool = make_pool(observers=[recorder])
    holder, queued = await callers(pool, 2)
    await asyncio.sleep(1.5)
    await leave_all(holder, queued)
    async with pool.get_connection():
        pass
    told = [(event.acquire_id, event.connection_id, event.source, event.wait) for event in recorder.of(Acquired)]
    assert told == [(1, 1, "new", 0.0), (2, 1, "handoff", 1.5), (3, 1, "idle", 0.0)]
    assert [event.use for event in recorder.of(Released)] == [1.5, 0.0, 0.0]
