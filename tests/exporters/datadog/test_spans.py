"""What becomes of an acquire in a trace, by ddtrace's own tracer."""

import asyncio

import pytest
from ddtrace.trace import tracer

from instrumented_pool import PoolTimeoutError
from instrumented_pool.testing import FakeConnection, FakeStrategy
from instrumented_pool_datadog import DatadogObserver
from support.datadog_agent import Agent, KeptTraces, ticks, use
from support.fakes import MakePool


class Driver(FakeStrategy):
    """Notes the span that is current while it connects, as a driver's instrumentation would."""

    current: str | None = None

    async def create_connection(self) -> FakeConnection:
        span = tracer.current_span()
        self.current = None if span is None else span.name
        return await super().create_connection()


async def test_creation_is_a_child_of_the_acquire_and_of_the_request(
    observer: DatadogObserver, build: MakePool, traces: KeptTraces
) -> None:
    """The request's trace shows what it waited for, and the driver's spans hang below the creation."""
    strategy = Driver()
    pool = build(observer, strategy=strategy)
    with tracer.trace("request") as request:
        async with pool.get_connection():
            assert tracer.current_span() is request
        assert tracer.current_span() is request
    acquire = traces.named("orders.pool.acquire_connection")
    create = traces.named("orders.pool._create_new_connection")
    assert (acquire.parent_id, create.parent_id) == (request.span_id, acquire.span_id)
    assert (acquire.service, create.service) == ("orders", "orders")
    assert acquire.get_tag("instrumented_pool.name") == "orders-db"
    assert acquire.get_tag("instrumented_pool.source") == "new"
    assert strategy.current == create.name
    assert not acquire.error


async def test_wait_is_a_child_of_the_acquire(observer: DatadogObserver, build: MakePool, traces: KeptTraces) -> None:
    """Where no connection is made for the caller, the acquire holds a wait and no creation."""
    pool = build(observer)
    async with pool.get_connection():
        traces.spans.clear()
        waiter = asyncio.create_task(use(pool))
        await ticks()
    await waiter
    acquire, wait = traces.named("orders.pool.acquire_connection"), traces.named("orders.pool._wait_for_connection")
    assert wait.parent_id == acquire.span_id
    assert len(traces.spans) == 2
    assert acquire.get_tag("instrumented_pool.source") == "handoff"


async def test_no_span_is_current_in_the_body(observer: DatadogObserver, build: MakePool) -> None:
    """What the body does is no part of the acquire."""
    pool = build(observer)
    async with pool.get_connection():
        assert tracer.current_span() is None


async def test_failed_creation_marks_both_spans_without_credentials_and_without_stack(
    observer: DatadogObserver, build: MakePool, traces: KeptTraces
) -> None:
    """The way of ddtrace itself would send the driver's text and all its causes as they are."""
    strategy = FakeStrategy()
    strategy.create_errors.append(OSError(f"cannot connect to redis://app:{FakeConnection.password}@db"))
    pool = build(observer, strategy=strategy)
    with pytest.raises(OSError, match="cannot connect"):
        await use(pool)
    for span in traces.spans:
        assert span.error == 1
        assert span.get_tag("error.type") == "builtins.OSError"
        assert span.get_tag("error.message") == "OSError: cannot connect to redis://***@db"
        assert span.get_tag("error.stack") is None
    assert traces.names == ["orders.pool.acquire_connection", "orders.pool._create_new_connection"]
    assert traces.named("orders.pool.acquire_connection").get_tag("instrumented_pool.reason") == "create_error"


async def test_timeout_is_an_error_and_says_so(observer: DatadogObserver, build: MakePool, traces: KeptTraces) -> None:
    """The message names the holders."""
    pool = build(observer)
    async with pool.get_connection():
        traces.spans.clear()
        with pytest.raises(PoolTimeoutError):
            async with pool.get_connection(timeout=0):
                pass
    acquire = traces.named("orders.pool.acquire_connection")
    assert acquire.error == 1
    assert acquire.get_tag("instrumented_pool.reason") == "timeout"
    assert "has held connection 1" in str(acquire.get_tag("error.message"))


async def test_cancelled_caller_is_no_error(observer: DatadogObserver, build: MakePool, traces: KeptTraces) -> None:
    """A client that went away is told from a pool that is too small."""
    pool = build(observer)
    async with pool.get_connection():
        traces.spans.clear()
        waiter = asyncio.create_task(use(pool))
        await ticks()
        waiter.cancel()
        await asyncio.wait([waiter])
    acquire = traces.named("orders.pool.acquire_connection")
    assert [span.error for span in traces.spans] == [0, 0]
    assert acquire.get_tag("instrumented_pool.reason") == "cancelled"


async def test_creation_may_outlive_its_caller(observer: DatadogObserver, build: MakePool, traces: KeptTraces) -> None:
    """It belongs to the pool; its span ends when it does, in the trace that it began in."""
    strategy = FakeStrategy()
    strategy.gate.clear()
    pool = build(observer, strategy=strategy)
    caller = asyncio.create_task(use(pool))
    await ticks(2)
    caller.cancel()
    await asyncio.wait([caller])
    strategy.gate.set()
    await ticks(3)
    acquire, create = traces.named("orders.pool.acquire_connection"), traces.named("orders.pool._create_new_connection")
    assert create.parent_id == acquire.span_id
    assert create.error == 0


@pytest.mark.parametrize("per_acquire", [False, True])
@pytest.mark.parametrize("held", [False, True])
async def test_caller_cancelled_at_any_step_leaves_no_span_open_and_none_current(
    agent: Agent, build: MakePool, traces: KeptTraces, held: bool, per_acquire: bool
) -> None:
    """Before it runs, while it waits, as its connection arrives, in its body: what began has ended, once."""
    observer = DatadogObserver("orders", statsd=agent.client, per_acquire=per_acquire)
    pool = build(observer)
    after: list[object] = []

    async def request() -> None:
        with tracer.trace("request") as span:
            try:
                async with pool.get_connection():
                    await ticks(2)
            finally:
                after.append(tracer.current_span() is span)

    for steps in range(8):
        pool.clear()
        holder = pool.get_connection() if held else None
        if holder:
            await holder.__aenter__()
        caller = asyncio.create_task(request())
        await ticks(steps)
        if holder:
            await holder.__aexit__(None, None, None)
        caller.cancel()
        await asyncio.wait([caller])
        await ticks(4)
        assert not observer._watches[pool]._spans._open
    assert len(after) == 7  # the first was cancelled before it ran
    assert all(after)
    assert traces.names.count("request") == 7


async def test_disabled_tracer_is_not_called(
    agent: Agent, build: MakePool, traces: KeptTraces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked once whether it is enabled, which costs a thousandth of a span."""
    monkeypatch.setattr(tracer, "enabled", False)
    monkeypatch.setattr(tracer, "trace", None)
    pool = build(DatadogObserver("orders", statsd=agent.client))
    await use(pool)
    assert pool.stats().observer_errors == 0
    assert traces.spans == []


async def test_observer_that_comes_late_or_goes_early_leaves_no_span_open(
    observer: DatadogObserver, build: MakePool, traces: KeptTraces
) -> None:
    """Ends without starts are ignored; starts whose end will not be seen are ended."""
    pool = build(observer)
    async with pool.get_connection():
        waiter = asyncio.create_task(use(pool))
        await ticks()
        traces.spans.clear()
        pool.remove_observer(observer)
        assert len(traces.spans) == 2
        pool.add_observer(observer)
    await waiter
    assert len(traces.spans) == 2
