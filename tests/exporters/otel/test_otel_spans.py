"""What spans there are, whose children they are, when they begin and end, and what they say."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from itertools import pairwise

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from instrumented_pool import ConnectionPool, PoolClosedError, PoolQueueFullError, PoolTimeoutError
from support.telemetry import Pools, Telemetry, Wires, borrow, hooks_called_by, parent_id, span_id, until

SECRET = "hunter2"


@pytest.mark.parametrize("mode", ["some", "ALL", "", None, ["all"]])
def test_a_mode_that_is_none_is_refused_by_name(telemetry: Telemetry, mode: str) -> None:
    """The message has the value and the three that would do."""
    with pytest.raises(ValueError, match=f"spans must be 'all', 'waits' or 'off', got {mode!r}".replace("[", r"\[")):
        telemetry.observer(spans=mode)


@pytest.mark.parametrize(
    ("mode", "unused"),
    [
        ("all", set[str]()),
        ("waits", {"on_acquire_started"}),
        (
            "off",
            {
                "on_acquire_started",
                "on_acquire_queued",
                "on_acquire_failed",
                "on_create_started",
                "on_create_failed",
            },
        ),
    ],
)
def test_a_mode_costs_only_the_hooks_it_needs(
    telemetry: Telemetry, wires: Wires, mode: str, unused: set[str], make_pool: Pools
) -> None:
    """The pool has nothing to call where the mode has nothing to say."""
    everything = {
        "on_pool_closed",
        "on_acquire_started",
        "on_acquire_queued",
        "on_acquired",
        "on_acquire_failed",
        "on_released",
        "on_create_started",
        "on_created",
        "on_create_failed",
    }
    pool = make_pool(strategy=wires, observers=[telemetry.observer(spans=mode)])
    assert hooks_called_by(pool) == everything - unused


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
            assert trace.get_current_span() is request
        assert trace.get_current_span() is request


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
            assert trace.get_current_span() is request


async def test_a_time_out_is_an_error(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """Both the acquire and its wait say so, and the description names the holders."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    async with pool.get_connection():
        telemetry.exporter.clear()
        with pytest.raises(PoolTimeoutError):
            async with pool.get_connection(timeout=0):
                pass
    spans = telemetry.spans()
    assert [span.name for span in spans] == ["pool.wait", "pool.acquire"]
    for span in spans:
        assert span.attributes is not None
        assert span.attributes["error.type"] == span.attributes["instrumented_pool.acquire.outcome"] == "timeout"
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
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    with pytest.raises(DriverError):
        await borrow(pool)
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


@pytest.mark.parametrize("mode", ["all", "waits"])
async def test_an_observer_added_late_tolerates_ends_without_starts(
    telemetry: Telemetry, wires: Wires, mode: str, make_pool: Pools
) -> None:
    """Both of an acquire and of a creation."""
    wires.gate.clear()
    pool = make_pool(strategy=wires, observers=[])
    caller = asyncio.create_task(borrow(pool))
    await until(lambda: wires.asked == 1)
    pool.add_observer(telemetry.observer(spans=mode))
    wires.gate.set()
    await caller
    assert telemetry.spans() == []
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
