"""What `DatadogObserver` sends by default: to a real socket, and through ddtrace's own tracer."""

import asyncio
import contextvars
import gc
import logging
import socket
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from datadog.dogstatsd.base import DogStatsd
from ddtrace.trace import tracer

from instrumented_pool import ConnectionPool, ConnectionStrategy, Distribution, PoolClosedError, PoolTimeoutError
from instrumented_pool.metrics import COUNTS, DURATIONS
from instrumented_pool_datadog import DatadogObserver
from instrumented_pool_datadog import _names as names
from instrumented_pool_datadog._watch import _news
from support.datadog_agent import Agent, Clock, KeptTraces, ticks

SECRET = "hunter2"


class Connection:
    def __repr__(self) -> str:
        return f"<Connection to redis://app:{SECRET}@db>"


class Strategy(ConnectionStrategy[Connection]):
    def __init__(self) -> None:
        self.error: Exception | None = None
        self.may_create = asyncio.Event()
        self.may_create.set()
        self.active_at_create: object = None
        self.stale = False

    async def create_connection(self) -> Connection:
        span = tracer.current_span()
        self.active_at_create = span and span.name
        await self.may_create.wait()
        if self.error:
            raise self.error
        return Connection()

    def connection_is_closed(self, conn: Connection) -> bool:
        return self.stale

    async def close_connection(self, conn: Connection) -> None: ...


class Built(ConnectionStrategy[int]):
    """Needs no loop to be built."""

    async def create_connection(self) -> int:
        return 1

    def connection_is_closed(self, conn: int) -> bool:
        return False

    def close_connection(self, conn: int) -> None: ...


class Build(Protocol):
    def __call__(self, observer: DatadogObserver, **options: Any) -> ConnectionPool[Connection]: ...


@pytest.fixture
async def build() -> AsyncIterator[Build]:
    """Builds pools that are closed when the test is over."""
    pools: list[ConnectionPool[Connection]] = []

    def build(observer: DatadogObserver, **options: Any) -> ConnectionPool[Connection]:
        options = {"strategy": Strategy(), "max_size": 1, "name": "orders-db", **options}
        pools.append(ConnectionPool(observers=[observer], **options))
        return pools[-1]

    yield build
    for pool in pools:
        await pool.close()


@pytest.fixture
def observer(agent: Agent) -> DatadogObserver:
    """Of a service `orders`, and never due to report of its own accord."""
    return DatadogObserver("orders", extra_tags=["env:t"], report_every=3600, statsd=agent.client)


async def use(pool: ConnectionPool[Connection], times: int = 1) -> None:
    """Borrow and give back."""
    for _ in range(times):
        async with pool.get_connection():
            pass


def latest(agent: Agent) -> dict[str, float]:
    """The value of each metric and tag, the agent's own way: the last of a gauge, the sum of a count."""
    values: dict[str, float] = {}
    for metric in agent.metrics():
        own = sorted(metric.tags - {"env:t", "pool:orders-db", "service:orders"})
        key = " ".join([metric.name, *own])
        values[key] = metric.value + (values.get(key, 0) if metric.kind == "c" else 0)
    return values


# ---------------------------------------------------------------------- metrics


async def test_report_arrives_at_a_real_socket(agent: Agent, observer: DatadogObserver, build: Build) -> None:
    """The gauges of the old names and of the fixed ones, at the first turn of the loop."""
    pool = build(observer, min_size=1, max_size=3, burst_limit=5)
    await pool.open()
    agent.lines()
    async with pool.get_connection():
        pool.remove_observer(observer)
        pool.add_observer(observer)
        await ticks()
    values = latest(agent)
    assert values == values | {
        "orders.pool.total_connections": 1,
        "orders.pool.available_connections": 0,
        "orders.pool.waiting": 0,
        "orders.pool.connections_used": 1,
        "orders.pool.connections_acquiring": 0,
        "db.client.connection.count state:used": 1,
        "db.client.connection.count state:idle": 0,
        "db.client.connection.max": 5,
        "db.client.connection.idle.max": 3,
        "db.client.connection.idle.min": 1,
        "db.client.connection.pending_requests": 0,
        "instrumented_pool.bursting": 0,
    }


async def test_every_metric_is_in_the_tables_and_carries_the_tags(
    agent: Agent, observer: DatadogObserver, build: Build
) -> None:
    """Dashboards are checked against the tables; `pool` and `service` tell the series apart."""
    pool = build(observer, burst_limit=2)
    async with pool.get_connection():
        await use(pool)
    await use(pool)
    await pool.close()
    fixed = {metric.name for metric in (*COUNTS, *DURATIONS)}
    ours = {f"orders.{name}" for name in (*names.GAUGES, names.GETTING_CONNECTION)}
    sent = agent.metrics()
    assert {metric.name for metric in sent} <= fixed | ours
    assert all(metric.tags >= {"env:t", "pool:orders-db", "service:orders"} for metric in sent)


async def test_counts_of_reports_add_up(agent: Agent, observer: DatadogObserver, build: Build) -> None:
    """Each report sends what is new since the one before, however the events fall between them."""
    clock = Clock()
    pool = build(observer)
    for _ in range(3):
        await use(pool, 4)
        await clock.advance(3600)
    await pool.close()
    values = latest(agent)
    assert values == values | {
        "orders.pool.getting_connection method:new": 1,
        "orders.pool.getting_connection method:available": 11,
        "instrumented_pool.acquires outcome:acquired source:idle": 11,
        "instrumented_pool.acquires outcome:acquired source:new": 1,
        "instrumented_pool.creates outcome:created": 1,
        "instrumented_pool.closes reason:pool_closed": 1,
    }


async def test_what_was_before_the_observer_is_not_counted(
    agent: Agent, observer: DatadogObserver, build: Build
) -> None:
    """An observer that comes late does not report a past it has not seen as if it were now."""
    pool = build(DatadogObserver("other", statsd=agent.client))
    await use(pool, 5)
    pool.add_observer(observer)
    await use(pool)
    agent.lines()
    await pool.close()
    counted = [m.value for m in agent.metrics() if m.name == "orders.pool.getting_connection"]
    assert counted == [1]


async def test_caller_that_waits_for_a_return_is_counted_as_waiting(
    agent: Agent, observer: DatadogObserver, build: Build
) -> None:
    """`method:wait` is one who queued with no connection being made for it."""
    pool = build(observer)
    async with pool.get_connection():
        waiter = asyncio.create_task(use(pool))
        await ticks()
    await waiter
    await pool.close()
    assert latest(agent)["orders.pool.getting_connection method:wait"] == 1


async def test_distributions_say_how_many_each_value_stands_for(
    agent: Agent, observer: DatadogObserver, build: Build
) -> None:
    """A thousand durations are a handful of datagrams, and still a thousand."""
    pool = build(observer)
    await use(pool, 1000)
    await pool.close()
    sent = [metric for metric in agent.metrics() if metric.kind == "d"]
    weight = {name: sum(m.stands_for for m in sent if m.name == name) for name in {m.name for m in sent}}
    assert weight == pytest.approx(
        {
            "db.client.connection.wait_time": 1000,
            "db.client.connection.use_time": 1000,
            "db.client.connection.create_time": 1,
        }
    )
    assert len(sent) <= 3 * 16


def test_value_of_a_bucket_is_its_middle() -> None:
    """What is longer than the last bound is given as that bound: no more is known of it."""
    before, after = Distribution((1.0, 3.0), (5, 1, 0), 7.0), Distribution((1.0, 3.0), (5, 3, 4), 60.0)
    assert list(_news(before, after)) == [(2.0, 2), (3.0, 4)]


async def test_idle_acquire_sends_nothing(
    agent: Agent, observer: DatadogObserver, build: Build, traces: KeptTraces
) -> None:
    """The default is paid for once every `report_every` seconds, and where somebody waits."""
    pool = build(observer)
    await use(pool)
    agent.lines()
    traces.spans.clear()
    await use(pool, 100)
    assert agent.lines() == []
    assert traces.spans == []


async def test_pools_of_one_name_are_told_apart(
    agent: Agent, observer: DatadogObserver, build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    """Two gauges under the same name and tags would overwrite one another."""
    build(observer)
    build(observer)
    await ticks()
    pools = {tag for metric in agent.metrics() for tag in metric.tags if tag.startswith("pool:")}
    assert pools == {"pool:orders-db", "pool:orders-db_2"}  # as the client spells orders-db#2
    assert "'orders-db#2'" in caplog.text


async def test_next_pool_takes_the_name_of_a_closed_one(agent: Agent, observer: DatadogObserver, build: Build) -> None:
    """A pool that is built anew goes on with the series of the old one."""
    await build(observer).close()
    agent.lines()
    build(observer)
    await ticks()
    assert {tag for metric in agent.metrics() for tag in metric.tags if tag.startswith("pool:")} == {"pool:orders-db"}


async def test_close_is_reported_to_the_end(agent: Agent, observer: DatadogObserver, build: Build) -> None:
    """The last report follows the last connection, and the last caller that was turned away."""
    pool = build(observer, strategy=Built())
    async with pool.get_connection():
        waiter = asyncio.create_task(use(pool))
        await ticks()
        closing = asyncio.create_task(pool.close())
        await ticks()
    assert pool.stats().total == 0
    assert not waiter.done()
    await asyncio.wait([waiter, closing])
    assert isinstance(waiter.exception(), PoolClosedError)
    values = latest(agent)
    assert values == values | {
        "orders.pool.total_connections": 0,
        "orders.pool.connections_acquiring": 0,
        "instrumented_pool.acquires outcome:pool_closed": 1,
        "instrumented_pool.closes reason:pool_closed": 1,
    }


# ---------------------------------------------------------------------- events


async def test_burst_is_three_events(agent: Agent, observer: DatadogObserver, build: Build) -> None:
    """It begins, it is not enough, it is over."""
    pool = build(observer, burst_limit=2)
    async with pool.get_connection(), pool.get_connection():
        with pytest.raises(PoolTimeoutError):
            async with pool.get_connection(timeout=0):
                pass
    await ticks(2)
    assert [(event.title, event.text, event.alert_type) for event in agent.events()] == [
        (
            "orders pool using burst capacity",
            "Pool max size of 1 will be exceeded temporarily, up to 2",
            "warning",
        ),
        ("orders pool reached burst limit", "There are not enough connections to satisfy all users", "error"),
        ("orders pool no longer bursting", "Number of connections has dropped below 1", "success"),
    ]


# ---------------------------------------------------------------------- spans


async def test_creation_is_a_child_of_the_acquire_and_of_the_request(
    observer: DatadogObserver, build: Build, traces: KeptTraces
) -> None:
    """The request's trace shows what it waited for, and the driver's spans hang below the creation."""
    strategy = Strategy()
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
    assert strategy.active_at_create == create.name
    assert not acquire.error


async def test_wait_is_a_child_of_the_acquire(observer: DatadogObserver, build: Build, traces: KeptTraces) -> None:
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


async def test_no_span_is_current_in_the_body(observer: DatadogObserver, build: Build) -> None:
    """What the body does is no part of the acquire."""
    pool = build(observer)
    async with pool.get_connection():
        assert tracer.current_span() is None


async def test_failed_creation_marks_both_spans_without_credentials_and_without_stack(
    observer: DatadogObserver, build: Build, traces: KeptTraces
) -> None:
    """The way of ddtrace itself would send the driver's text and all its causes as they are."""
    strategy = Strategy()
    strategy.error = OSError(f"cannot connect to redis://app:{SECRET}@db")
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


async def test_timeout_is_an_error_and_says_so(observer: DatadogObserver, build: Build, traces: KeptTraces) -> None:
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


async def test_cancelled_caller_is_no_error(observer: DatadogObserver, build: Build, traces: KeptTraces) -> None:
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


async def test_creation_may_outlive_its_caller(observer: DatadogObserver, build: Build, traces: KeptTraces) -> None:
    """It belongs to the pool; its span ends when it does, in the trace that it began in."""
    strategy = Strategy()
    strategy.may_create.clear()
    pool = build(observer, strategy=strategy)
    caller = asyncio.create_task(use(pool))
    await ticks(2)
    caller.cancel()
    await asyncio.wait([caller])
    strategy.may_create.set()
    await ticks(3)
    acquire, create = traces.named("orders.pool.acquire_connection"), traces.named("orders.pool._create_new_connection")
    assert create.parent_id == acquire.span_id
    assert create.error == 0


@pytest.mark.parametrize("per_acquire", [False, True])
@pytest.mark.parametrize("held", [False, True])
async def test_caller_cancelled_at_any_step_leaves_no_span_open_and_none_current(
    agent: Agent, build: Build, traces: KeptTraces, held: bool, per_acquire: bool
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
    agent: Agent, build: Build, traces: KeptTraces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked once whether it is enabled, which costs a thousandth of a span."""
    monkeypatch.setattr(tracer, "enabled", False)
    monkeypatch.setattr(tracer, "trace", None)
    pool = build(DatadogObserver("orders", statsd=agent.client))
    await use(pool)
    assert pool.stats().observer_errors == 0
    assert traces.spans == []


async def test_observer_that_comes_late_or_goes_early_leaves_no_span_open(
    observer: DatadogObserver, build: Build, traces: KeptTraces
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


# ---------------------------------------------------------------------- timer


async def test_reports_come_every_so_often_until_the_pool_closes(agent: Agent, build: Build) -> None:
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
        strategy=Built(), max_size=1, name="orders-db", observers=[DatadogObserver("orders", statsd=agent.client)]
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
    pool = ConnectionPool(strategy=Built(), max_size=1, observers=[DatadogObserver("orders", statsd=agent.client)])
    await ticks()
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    agent.lines()
    await clock.advance(100)
    assert agent.lines() == []


async def test_timer_does_not_keep_the_first_callers_context(agent: Agent, build: Build) -> None:
    """Whatever the request that opened the pool kept in context variables may go."""
    kept: contextvars.ContextVar[Connection] = contextvars.ContextVar("kept")

    async def first() -> "weakref.ref[Connection]":
        kept.set(Connection())
        build(DatadogObserver("orders", statsd=agent.client))
        await ticks()
        return weakref.ref(kept.get())

    gone = await asyncio.create_task(first())
    await ticks()
    gc.collect()
    assert gone() is None


async def test_removed_observer_reports_no_more(agent: Agent, observer: DatadogObserver, build: Build) -> None:
    """Its timer is stopped."""
    clock = Clock()
    pool = build(observer)
    pool.remove_observer(observer)
    await clock.advance(3600)
    assert agent.lines() == []


# ---------------------------------------------------------------------- faults


class BrokenStatsd(DogStatsd):
    def _fail(self, *_: object, **__: object) -> Any:
        raise OSError(f"udp://app:{SECRET}@agent is on fire")

    gauge = increment = event = _report = _fail


async def test_statsd_client_that_raises_is_logged_once_and_never_noticed(
    build: Build, traces: KeptTraces, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither callers nor spans nor the pool's own books suffer from it."""
    for per_acquire in (False, True):
        traces.spans.clear()
        caplog.clear()
        broken = BrokenStatsd(disable_telemetry=True)
        clock = Clock()
        pool = build(DatadogObserver("orders", statsd=broken, per_acquire=per_acquire), burst_limit=2)
        async with pool.get_connection():
            await use(pool)
        await clock.advance(100)
        assert traces.names.count("orders.pool.acquire_connection") == 2
        assert tracer.current_span() is None
        assert pool.stats().observer_errors == 0
        assert [(r.levelno, r.name) for r in caplog.records] == [(logging.ERROR, "instrumented_pool")]
        assert SECRET not in caplog.text
        await pool.close()


async def test_agent_that_is_down_is_never_noticed(build: Build) -> None:
    """Datagrams to a port that nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = DogStatsd(host="127.0.0.1", port=port, disable_telemetry=True)
    pool = build(DatadogObserver("orders", statsd=client, per_acquire=True))
    await use(pool, 3)
    await pool.close()
    assert pool.stats().observer_errors == 0
    client.close_socket()


# ---------------------------------------------------------------------- arguments


@pytest.mark.parametrize("every", [0, -1, float("nan"), float("inf")])
def test_bad_report_every_is_refused(every: float) -> None:
    """With the parameter and its value."""
    with pytest.raises(ValueError, match=f"report_every must be more than 0 seconds and finite, got {every}"):
        DatadogObserver("orders", report_every=every)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"report_every": "10"}, "report_every must be a number of seconds, got '10'"),
        ({"report_every": True}, "report_every must be a number of seconds, got True"),
        ({"extra_tags": "env:t"}, "extra_tags must be a list of strings, got the string 'env:t'"),
        ({"extra_tags": [1]}, "extra_tags must be a list of strings, got 1 among them"),
        ({"service_name": None}, "service_name must be a string, got None"),
    ],
)
def test_argument_of_the_wrong_kind_is_refused(arguments: dict[str, Any], message: str) -> None:
    """With the parameter and its value."""
    observer: Any = DatadogObserver
    with pytest.raises(TypeError, match=message):
        observer(**{"service_name": "orders", **arguments})


def test_empty_service_name_is_refused() -> None:
    """Names that begin with a dot are nobody's."""
    with pytest.raises(ValueError, match="service_name must not be empty"):
        DatadogObserver("")


@pytest.mark.parametrize("missing", ["datadog", "ddtrace"])
def test_missing_library_names_the_extra(missing: str) -> None:
    """The import fails with what to install."""
    code = f"import sys; sys.modules[{missing!r}] = None; import instrumented_pool_datadog"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'instrumented-pool[datadog]'" in run.stderr.splitlines()[-1]


def test_every_name_is_in_the_documentation() -> None:
    """The page is checked against the tables, as dashboards are."""
    page = Path(__file__).parents[3].joinpath("docs", "exporters", "datadog.md").read_text()
    spans = (names.ACQUIRE_SPAN, names.CREATE_SPAN, names.WAIT_SPAN)
    tags = (names.POOL_TAG, names.SOURCE_TAG, names.REASON_TAG)
    fixed = [metric.name for metric in (*COUNTS, *DURATIONS)]
    for name in (*names.GAUGES, names.GETTING_CONNECTION, *spans, *tags, *fixed):
        assert name in page
