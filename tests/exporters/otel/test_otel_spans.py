"""What spans there are, whose children they are, when they begin and end, and what they say."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from contextvars import Context
from itertools import pairwise
from typing import Any

import pytest
from opentelemetry.context import Context as OTelContext
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    NoOpTracer,
    NoOpTracerProvider,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    use_span,
)

from instrumented_pool import (
    ConnectionPool,
    PoolClosedError,
    PoolDeadlockError,
    PoolQueueFullError,
    PoolTimeoutError,
    Released,
)
from instrumented_pool.testing import RecordingObserver
from instrumented_pool_otel import OTelObserver
from support.telemetry import (
    Pools,
    Telemetry,
    Wires,
    borrow,
    hooks_called_by,
    one_queues_and_one_gives_up,
    parent_id,
    span_id,
    trace_id,
    until,
)

SECRET = "hunter2"


@pytest.mark.parametrize("mode", ["some", "ALL", "", None, ["all"]])
def test_a_mode_that_is_none_is_refused_by_name(telemetry: Telemetry, mode: str) -> None:
    """The message has the value and the three that would do."""
    with pytest.raises(ValueError, match=f"spans must be 'all', 'waits' or 'off', got {mode!r}".replace("[", r"\[")):
        telemetry.observer(spans=mode)


@pytest.mark.parametrize("mode", ["all", "waits", "off"])
def test_a_mode_costs_only_the_hooks_it_needs(telemetry: Telemetry, wires: Wires, mode: str, make_pool: Pools) -> None:
    """The pool has nothing to call where the mode has nothing to say, and no mode wants the start of an acquire."""
    of_durations = {"on_pool_closed", "on_acquired", "on_released", "on_created"}
    of_spans = {"on_acquire_queued", "on_acquire_failed", "on_create_started", "on_create_failed", "on_closed"}
    pool = make_pool(strategy=wires, observers=[telemetry.observer(spans=mode)])
    assert hooks_called_by(pool) == (of_durations if mode == "off" else of_durations | of_spans)


async def test_waits_leaves_an_idle_acquire_without_a_span(
    telemetry: Telemetry, wires: Wires, make_pool: Pools
) -> None:
    """Metrics always, spans only where something waited."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    await borrow(pool)
    telemetry.exporter.clear()
    await borrow(pool)
    assert telemetry.spans() == []


async def test_all_gives_an_idle_acquire_a_span(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """As the ancestor did."""
    pool = make_pool(strategy=wires, name="db", observers=[telemetry.observer(spans="all")])
    await borrow(pool)
    telemetry.exporter.clear()
    await borrow(pool)
    span = telemetry.span("pool.acquire")
    assert span.kind is SpanKind.INTERNAL
    assert span.attributes is not None
    assert {key: value for key, value in span.attributes.items() if "wait" not in key} == {
        "db.client.connection.pool.name": "db",
        "instrumented_pool.acquire.id": 2,
        "instrumented_pool.acquire.outcome": "acquired",
        "instrumented_pool.acquire.source": "idle",
        "instrumented_pool.connection.id": 1,
    }


async def test_off_makes_no_spans(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """Not even for a creation or a failure."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer(spans="off")])
    async with pool.get_connection():
        with pytest.raises(PoolTimeoutError):
            async with pool.get_connection(timeout=0):
                pass
    assert telemetry.spans() == []


@pytest.mark.parametrize("mode", ["all", "waits"])
async def test_the_drivers_spans_are_children_of_the_creation(
    telemetry: Telemetry, wires: Wires, mode: str, make_pool: Pools
) -> None:
    """The caller's span, the acquire, the creation, the driver: each the child of the one before."""
    wires.on_create = lambda: telemetry.tracer.start_span("CONNECT").end()
    pool = make_pool(strategy=wires, observers=[telemetry.observer(spans=mode)])
    with telemetry.tracer.start_as_current_span("request"):
        await borrow(pool)
    names = ["request", "pool.acquire", "pool.create", "CONNECT"]
    spans = [telemetry.span(name) for name in names]
    assert [parent_id(span) for span in spans] == [None, *(span_id(span) for span in spans[:-1])]


async def test_a_creation_says_what_it_made_and_for_whom(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """Which connection, for which acquire, and whether it is a burst."""
    pool = make_pool(strategy=wires, burst_limit=2, name="db", observers=[telemetry.observer()])
    async with pool.get_connection(), pool.get_connection():
        pass
    assert [dict(span.attributes or {}) for span in telemetry.spans("pool.create")] == [
        {
            "db.client.connection.pool.name": "db",
            "instrumented_pool.connection.id": number,
            "instrumented_pool.acquire.id": number,
            "instrumented_pool.create.burst": burst,
            "instrumented_pool.create.outcome": "created",
        }
        for number, burst in ((1, False), (2, True))
    ]


@pytest.mark.parametrize("mode", ["all", "waits"])
async def test_waiting_for_a_return_is_a_child_of_the_acquire(
    telemetry: Telemetry, wires: Wires, mode: str, make_pool: Pools
) -> None:
    """It says how many queued, and what came of it."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer(spans=mode)])
    async with pool.get_connection():
        telemetry.exporter.clear()
        waiter = asyncio.create_task(borrow(pool))
        await until(lambda: pool.stats().waiting == 1)
    await waiter
    acquire, wait = telemetry.span("pool.acquire"), telemetry.span("pool.wait")
    assert parent_id(wait) == span_id(acquire)
    assert acquire.attributes is not None
    assert wait.attributes is not None
    assert acquire.attributes["instrumented_pool.acquire.waiting"] == 1
    assert acquire.attributes["instrumented_pool.acquire.source"] == "handoff"
    assert wait.attributes["instrumented_pool.acquire.outcome"] == "acquired"


@pytest.mark.parametrize("mode", ["all", "waits"])
async def test_a_wait_links_to_who_made_it_wait(
    telemetry: Telemetry, wires: Wires, mode: str, make_pool: Pools
) -> None:
    """To the span of the holder whose release served it, with the seconds that it had held, and to nobody else."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer(spans=mode)])
    recorder = RecordingObserver()
    pool.add_observer(recorder)
    with telemetry.tracer.start_as_current_span("holder"):
        async with pool.get_connection():
            waiter = asyncio.create_task(borrow(pool), context=Context())
            await until(lambda: pool.stats().waiting == 1)
    await waiter
    holder, wait = telemetry.span("holder"), telemetry.span("pool.wait")
    held = recorder.of(Released)[0].use
    ((link,),) = [span.links for span in telemetry.spans() if span.links]
    assert link in wait.links
    assert (link.context.trace_id, link.context.span_id) == (trace_id(holder), span_id(holder))
    assert trace_id(wait) != trace_id(holder)
    assert dict(link.attributes or {}) == {"instrumented_pool.hold_time": held}
    assert (wait.attributes or {})["instrumented_pool.hold_time"] == held


async def test_a_caller_served_while_its_own_connection_is_being_made_links_to_the_holder_too(
    telemetry: Telemetry, wires: Wires, make_pool: Pools
) -> None:
    """From its acquire, for it has no wait."""
    pool = make_pool(strategy=wires, max_size=2, observers=[telemetry.observer()])
    with telemetry.tracer.start_as_current_span("holder"):
        async with pool.get_connection():
            wires.gate.clear()
            waiter = asyncio.create_task(borrow(pool))
            await until(lambda: wires.asked == 2)
    await waiter
    wires.gate.set()
    acquire = telemetry.spans("pool.acquire")[-1]
    assert [link.context.span_id for link in acquire.links] == [span_id(telemetry.span("holder"))]


@pytest.mark.parametrize("sampled", [False, None])
async def test_a_holder_whose_span_is_kept_nowhere_is_not_linked_to(
    telemetry: Telemetry, wires: Wires, make_pool: Pools, sampled: bool | None
) -> None:
    """How long it held is told all the same."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    context = SpanContext(trace_id=1, span_id=1, is_remote=True) if sampled is False else INVALID_SPAN_CONTEXT
    with use_span(NonRecordingSpan(context)):
        async with pool.get_connection():
            waiter = asyncio.create_task(borrow(pool), context=Context())
            await until(lambda: pool.stats().waiting == 1)
    await waiter
    wait = telemetry.span("pool.wait")
    assert list(wait.links) == []
    assert "instrumented_pool.hold_time" in (wait.attributes or {})


@pytest.mark.parametrize("mode", ["all", "waits"])
async def test_an_acquire_links_to_the_creation_of_a_connection_that_was_made_for_another(
    telemetry: Telemetry, wires: Wires, mode: str, make_pool: Pools
) -> None:
    """Here for one that gave up; its own it has as a child already."""
    wires.gate.clear()
    pool = make_pool(strategy=wires, observers=[telemetry.observer(spans=mode)])
    asker, heir = (asyncio.create_task(borrow(pool)) for _ in range(2))
    await until(lambda: wires.asked == 1 and pool.stats().waiting == 2)
    asker.cancel()
    await asyncio.wait([asker])
    wires.gate.set()
    await heir
    given_up, served = telemetry.spans("pool.acquire")
    (link,) = served.links
    assert link.context.span_id == span_id(telemetry.span("pool.create"))
    assert dict(link.attributes or {}) == {"instrumented_pool.connection.id": 1}
    assert list(given_up.links) == []


async def test_an_acquire_does_not_link_to_a_creation_of_its_own_or_of_long_ago(
    telemetry: Telemetry, wires: Wires, make_pool: Pools
) -> None:
    """One is its child, and the other was no part of what it waited for; nothing is remembered of either."""
    observer = telemetry.observer(spans="all")
    pool = make_pool(strategy=wires, max_size=2, observers=[observer])
    await borrow(pool)  # its own
    async with pool.get_connection():
        wires.gate.clear()
        given_up = asyncio.create_task(borrow(pool))
        await until(lambda: wires.asked == 2)
        given_up.cancel()
        await asyncio.wait([given_up])
        wires.gate.set()
        await until(lambda: pool.stats().idle == 1)
        await borrow(pool)  # one that lay idle
    assert [list(span.links) for span in telemetry.spans()] == [[]] * len(telemetry.spans())
    pool.clear()
    assert observer._pools[pool]._made == {}


async def test_waiting_for_a_connection_of_ones_own_is_no_wait_span(
    telemetry: Telemetry, wires: Wires, make_pool: Pools
) -> None:
    """The creation shows it already."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer(spans="all")])
    await borrow(pool)
    assert telemetry.spans("pool.wait") == []


@pytest.mark.parametrize("mode", ["all", "waits"])
async def test_the_span_lasts_as_long_as_the_wait(
    telemetry: Telemetry, wires: Wires, mode: str, make_pool: Pools
) -> None:
    """From asking to having, to the nanosecond that floats of seconds can tell."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer(spans=mode)])
    await borrow(pool)
    span = telemetry.span("pool.acquire")
    assert span.attributes is not None
    assert span.start_time is not None
    assert span.end_time is not None
    seconds = span.attributes["instrumented_pool.acquire.wait_time"]
    assert isinstance(seconds, float)
    assert (span.end_time - span.start_time) / 1e9 == pytest.approx(seconds, abs=1e-6)


async def test_children_lie_within_the_time_of_their_parents(
    telemetry: Telemetry, wires: Wires, make_pool: Pools
) -> None:
    """Our times are of the same clock as those that the SDK takes itself."""
    wires.on_create = lambda: telemetry.tracer.start_span("CONNECT").end()
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    with telemetry.tracer.start_as_current_span("request"):
        await borrow(pool)
    outer = [telemetry.span(name) for name in ("request", "pool.acquire", "pool.create", "CONNECT")]
    starts = [span.start_time or 0 for span in outer]
    ends = [span.end_time or 0 for span in reversed(outer)]
    slack = 50_000_000  # ns: clocks may be set while we look, but not by a wrong unit or epoch
    assert all(later - earlier > -slack for times in (starts, ends) for earlier, later in pairwise(times))


@pytest.mark.parametrize("mode", ["all", "waits"])
async def test_the_body_belongs_to_the_caller_not_to_the_acquire(
    telemetry: Telemetry, wires: Wires, mode: str, make_pool: Pools
) -> None:
    """Nothing of ours is current while the connection is used."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer(spans=mode)])
    with telemetry.tracer.start_as_current_span("request") as request:
        async with pool.get_connection():
            assert get_current_span() is request
        assert get_current_span() is request


@pytest.mark.parametrize("mode", ["all", "waits"])
async def test_a_failed_acquire_gives_the_caller_its_context_back(
    telemetry: Telemetry, wires: Wires, mode: str, make_pool: Pools
) -> None:
    """What is done after a time-out is no child of it."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer(spans=mode)])
    async with pool.get_connection():
        with telemetry.tracer.start_as_current_span("request") as request:
            with pytest.raises(PoolTimeoutError):
                async with pool.get_connection(timeout=0):
                    pass
            assert get_current_span() is request


@pytest.mark.parametrize(
    ("timeout", "error", "error_type"), [(0, PoolTimeoutError, "timeout"), (30, PoolDeadlockError, "deadlock")]
)
async def test_giving_up_is_an_error(
    telemetry: Telemetry, wires: Wires, make_pool: Pools, timeout: float, error: type[Exception], error_type: str
) -> None:
    """Both the acquire and its wait say so, and the description names the holders."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    async with pool.get_connection():
        telemetry.exporter.clear()
        with pytest.raises(error):
            async with pool.get_connection(timeout=timeout):
                pass
    spans = telemetry.spans()
    assert [span.name for span in spans] == ["pool.wait", "pool.acquire"]
    for span in spans:
        assert span.attributes is not None
        assert span.attributes["error.type"] == span.attributes["instrumented_pool.acquire.outcome"] == error_type
        assert span.status.status_code is StatusCode.ERROR
        assert "has held connection 1" in (span.status.description or "")


async def test_a_cancelled_caller_is_no_error(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """It is told from a time-out by its outcome; the creation goes on as a child of the acquire that asked for it."""
    wires.gate.clear()
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    caller = asyncio.create_task(borrow(pool))
    await until(lambda: pool.stats().waiting == 1)
    caller.cancel()
    await asyncio.wait([caller])
    wires.gate.set()
    await until(lambda: pool.stats().idle == 1)
    acquire, create = telemetry.span("pool.acquire"), telemetry.span("pool.create")
    assert acquire.attributes is not None
    assert acquire.attributes["instrumented_pool.acquire.outcome"] == "cancelled"
    assert "error.type" not in acquire.attributes
    assert acquire.status.status_code is create.status.status_code is StatusCode.UNSET
    assert parent_id(create) == span_id(acquire)


class DriverError(Exception):
    """What a driver raises, with the whole URL in its text."""


async def test_a_failed_creation_is_an_error_of_the_drivers_type(
    telemetry: Telemetry, wires: Wires, make_pool: Pools
) -> None:
    """In the creation and in the acquire that it was for, with the credentials of its text hidden."""
    wires.error = DriverError(f"cannot connect to db://user:{SECRET}@host/1?password={SECRET}")
    observer = telemetry.observer()
    pool = make_pool(strategy=wires, observers=[observer])
    with pytest.raises(DriverError):
        await borrow(pool)
    assert observer._pools[pool]._made == {}
    acquire, create = telemetry.span("pool.acquire"), telemetry.span("pool.create")
    assert acquire.attributes is not None
    assert create.attributes is not None
    assert acquire.attributes["instrumented_pool.acquire.outcome"] == "create_error"
    assert create.attributes["instrumented_pool.create.outcome"] == "failed"
    for span in (acquire, create):
        assert span.attributes is not None
        assert span.attributes["error.type"] == f"{__name__}.DriverError"
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == "DriverError: cannot connect to db://***@host/1?password=***"
        assert span.events == ()
    assert not any(SECRET in span.to_json() for span in telemetry.spans())


async def test_a_builtin_error_has_its_plain_name(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """`ConnectionRefusedError`, not `builtins.ConnectionRefusedError`."""
    wires.error = ConnectionRefusedError("no")
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    with pytest.raises(ConnectionRefusedError):
        await borrow(pool)
    assert (telemetry.span("pool.create").attributes or {})["error.type"] == "ConnectionRefusedError"


async def test_a_caller_turned_away_by_close_is_an_error(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """Of the type `pool_closed`, and the creation that was cut short is none."""
    wires.gate.clear()
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    caller = asyncio.create_task(borrow(pool))
    await until(lambda: wires.asked == 1)
    await pool.close()
    with pytest.raises(PoolClosedError):
        await caller
    acquire, create = telemetry.span("pool.acquire"), telemetry.span("pool.create")
    assert (acquire.attributes or {})["error.type"] == "pool_closed"
    assert (create.attributes or {})["instrumented_pool.create.outcome"] == "cancelled"
    assert create.status.status_code is StatusCode.UNSET


async def test_a_caller_refused_at_the_door_has_a_span_only_in_all(
    telemetry: Telemetry, wires: Wires, make_pool: Pools
) -> None:
    """It never queued."""
    for mode, expected in (("waits", []), ("all", ["queue_full"])):
        observer = telemetry.observer(spans=mode)
        pool = make_pool(strategy=wires, max_waiting=0, name=mode, observers=[observer])
        async with pool.get_connection():
            telemetry.exporter.clear()
            with pytest.raises(PoolQueueFullError):
                await borrow(pool)
        assert [(span.attributes or {})["error.type"] for span in telemetry.spans()] == expected


class Untold(Exception):
    """Counts how often somebody asks for its text."""

    asked = 0

    def __str__(self) -> str:
        type(self).asked += 1
        return "untold"


async def test_nothing_is_built_for_a_span_that_is_not_sampled(wires: Wires, make_pool: Pools) -> None:
    """Nor exported; and what the driver starts inside is left out with it."""
    telemetry = Telemetry(TracerProvider(ParentBased(ALWAYS_OFF), shutdown_on_exit=False))
    wires.on_create = lambda: telemetry.tracer.start_span("CONNECT").end()
    wires.error = Untold()
    pool = make_pool(strategy=wires, observers=[telemetry.observer(spans="all")])
    with pytest.raises(Untold):
        await borrow(pool)
    assert telemetry.spans() == []
    assert Untold.asked == 0


class LeavesPoolsOut(Sampler):
    """Samples every root but ours."""

    def should_sample(
        self, parent_context: OTelContext | None, trace_id: int, name: str, *args: Any, **kwargs: Any
    ) -> SamplingResult:
        return SamplingResult(Decision.DROP if name.startswith("pool.") else Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        return "LeavesPoolsOut"


@pytest.mark.parametrize("mode", ["all", "waits"])
async def test_the_drivers_spans_are_left_out_with_an_acquire_that_is(
    wires: Wires, make_pool: Pools, mode: str
) -> None:
    """Rather than becoming roots of their own."""
    telemetry = Telemetry(TracerProvider(ParentBased(LeavesPoolsOut()), shutdown_on_exit=False))
    wires.on_create = lambda: telemetry.tracer.start_span("CONNECT").end()
    await borrow(make_pool(strategy=wires, observers=[telemetry.observer(spans=mode)]))
    assert telemetry.spans() == []
    telemetry.tracer.start_span("CONNECT").end()
    assert len(telemetry.spans()) == 1


class Untouched(NonRecordingSpan):
    """A span that is not sampled, and that nobody should say anything of."""

    def set_attributes(self, attributes: object) -> None:
        raise AssertionError(attributes)

    def set_attribute(self, key: str, value: object) -> None:
        raise AssertionError(key)

    def set_status(self, status: object, description: str | None = None) -> None:
        raise AssertionError(status)

    def add_link(self, context: SpanContext, attributes: object = None) -> None:
        raise AssertionError(attributes)


class UntouchedTracer(NoOpTracer, NoOpTracerProvider):
    """Makes such spans, and keeps their names."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_tracer(self, *args: object, **kwargs: object) -> Tracer:
        return self

    def start_span(self, name: str, *args: object, **kwargs: object) -> Span:
        self.asked.append(name)
        return Untouched(SpanContext(trace_id=1, span_id=1, is_remote=False))


@pytest.mark.parametrize("mode", ["all", "waits"])
async def test_of_a_span_that_is_not_sampled_nothing_is_said(wires: Wires, make_pool: Pools, mode: str) -> None:
    """Beyond asking the tracer for it; and there is no span of a wait in it."""
    tracer = UntouchedTracer()
    current: list[Span] = []
    wires.on_create = lambda: current.append(get_current_span())
    pool = make_pool(strategy=wires, observers=[OTelObserver(tracer_provider=tracer, spans=mode)])  # type: ignore[arg-type]
    with use_span(Untouched(SpanContext(trace_id=1, span_id=2, is_remote=False))) as request:
        async with pool.get_connection():
            waiter = await one_queues_and_one_gives_up(pool)
            assert get_current_span() is request
        await waiter
        await borrow(pool)
    assert pool.stats().observer_errors == 0
    assert current == [request]  # which is not sampled either, so it does as a parent
    queued = ["pool.acquire", "pool.create", "pool.acquire", "pool.acquire"]
    assert tracer.asked == (queued if mode == "waits" else [*queued, "pool.acquire"])


async def test_two_pools_with_the_same_ids_do_not_mix(telemetry: Telemetry, make_pool: Pools) -> None:
    """Acquire 1 of one pool waits while acquire 1 of the other ends."""
    slow, fast = Wires(), Wires()
    slow.gate.clear()
    observer = telemetry.observer()
    first = make_pool(strategy=slow, name="slow", observers=[observer])
    second = make_pool(strategy=fast, name="fast", observers=[observer])
    caller = asyncio.create_task(borrow(first))
    await until(lambda: first.stats().waiting == 1)
    await borrow(second)
    assert (telemetry.span("pool.acquire").attributes or {})["db.client.connection.pool.name"] == "fast"
    slow.gate.set()
    await caller
    assert len(telemetry.spans("pool.acquire")) == 2


@pytest.mark.parametrize(("mode", "expected"), [("waits", []), ("all", ["pool.acquire"])])
async def test_an_observer_added_late_tolerates_ends_without_starts(
    telemetry: Telemetry, wires: Wires, mode: str, expected: list[str], make_pool: Pools
) -> None:
    """Both of an acquire, whose end tells enough where all have spans, and of a creation."""
    wires.gate.clear()
    pool = make_pool(strategy=wires, observers=[])
    caller = asyncio.create_task(borrow(pool))
    await until(lambda: wires.asked == 1)
    pool.add_observer(telemetry.observer(spans=mode))
    wires.gate.set()
    await caller
    assert [span.name for span in telemetry.spans()] == expected
    for span in telemetry.spans():
        lasted = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
        assert 0 < lasted == pytest.approx((span.attributes or {})["instrumented_pool.acquire.wait_time"], abs=1e-6)
    assert pool.stats().observer_errors == 0


async def test_removing_the_observer_ends_its_open_spans(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """So that what was started inside them has parents."""
    wires.gate.clear()
    observer = telemetry.observer()
    pool = make_pool(strategy=wires, observers=[observer])
    caller = asyncio.create_task(borrow(pool))
    await until(lambda: wires.asked == 1)
    pool.remove_observer(observer)
    assert {span.name for span in telemetry.spans()} == {"pool.acquire", "pool.create"}
    wires.gate.set()
    await caller


def test_a_pool_abandoned_in_the_middle_of_a_wait_leaves_nothing_behind(telemetry: Telemetry, wires: Wires) -> None:
    """The loop ends with a caller queued; the observer lives on."""
    observer = telemetry.observer()

    async def abandon() -> "Callable[[], object]":
        wires.gate.clear()
        pool = ConnectionPool(strategy=wires, max_size=1, observers=[observer])
        caller = asyncio.create_task(borrow(pool))
        await until(lambda: pool.stats().waiting == 1)
        caller.cancel()
        await asyncio.wait([caller])
        return weakref.ref(pool)

    pool = asyncio.run(abandon())
    gc.collect()
    assert pool() is None
    assert len(observer._pools) == 0
