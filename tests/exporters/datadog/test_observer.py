"""What `DatadogObserver` sends by default, to a real socket."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from instrumented_pool import ConnectionPool, Distribution, PoolClosedError, PoolTimeoutError
from instrumented_pool.metrics import COUNTS, DURATIONS, Attributes
from instrumented_pool.testing import FakeStrategy
from instrumented_pool_datadog import DatadogObserver
from instrumented_pool_datadog import _names as names
from instrumented_pool_datadog._client import Client, Outlet
from instrumented_pool_datadog._durations import news
from support.datadog_agent import Agent, Clock, KeptTraces, latest, ticks, use
from support.fakes import MakePool
from support.telemetry import At

# ---------------------------------------------------------------------- metrics


async def test_what_the_pool_connects_to_is_tagged(agent: Agent, observer: DatadogObserver, build: MakePool) -> None:
    """On every metric, as the strategy says it."""
    pool = build(observer, strategy=At("pg"))
    await use(pool)
    await pool.close()
    sent = agent.metrics()
    assert sent
    assert all(metric.tags >= {"db.system.name:pg", "server.address:pg.example", "server.port:5432"} for metric in sent)


@pytest.mark.parametrize("key", ["pool", "service", "state", "source", "outcome", "reason", "observer"])
def test_attribute_that_would_be_a_tag_of_ours_is_refused(key: str, observer: DatadogObserver) -> None:
    """A point would be of two pools, or in two states."""

    class Odd(At):
        @property
        def attributes(self) -> Attributes:
            return {key: "gold"}

    with pytest.raises(ValueError, match=rf"must not have the keys \['{key}'\]"):
        ConnectionPool(strategy=Odd("pg"), max_size=1, observers=[observer])


async def test_report_arrives_at_a_real_socket(agent: Agent, observer: DatadogObserver, build: MakePool) -> None:
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
    agent: Agent, observer: DatadogObserver, build: MakePool
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


async def test_counts_of_reports_add_up(agent: Agent, observer: DatadogObserver, build: MakePool) -> None:
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
    agent: Agent, observer: DatadogObserver, build: MakePool
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
    agent: Agent, observer: DatadogObserver, build: MakePool
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
    agent: Agent, observer: DatadogObserver, build: MakePool
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
    stats = pool.stats()
    assert stats.use is not None
    used = sum(metric.value * metric.stands_for for metric in sent if metric.name == "db.client.connection.use_time")
    assert used == pytest.approx(stats.use.sum, abs=1e-6)


def test_weight_is_what_the_agent_makes_of_it(agent: Agent) -> None:
    """It cuts 1/rate off to an integer, and 1/(1/93) is a little less than 93."""
    for times in range(1, 300):
        Client(Outlet(agent.client), [], "key").distribution("orders.test", 0.5, times)
        assert [int(metric.stands_for) for metric in agent.metrics()] == [times]


def told(counts: tuple[int, ...], total: float) -> list[tuple[float, int]]:
    """What is reported of durations in the buckets up to 1, up to 3 and beyond, after some had been before."""
    before, after = (5, 1, 2), tuple(map(sum, zip((5, 1, 2), counts, strict=True)))
    return list(news(Distribution((1.0, 3.0), before, 70.0), Distribution((1.0, 3.0), after, 70.0 + total)))


@pytest.mark.parametrize(
    ("counts", "total", "values"),
    [
        ((0, 0, 0), 0.0, []),
        ((4, 0, 0), 0.0, [(0.0, 4)]),  # nobody waited
        ((4, 0, 0), 1.0, [(0.25, 4)]),
        ((2, 2, 0), 5.0, [(0.5, 2), (2.0, 2)]),
        ((0, 3, 0), 9.000001, [(3.0, 3)]),  # no value leaves its bucket, however a sum was rounded
        ((0, 1, 2), 102.0, [(2.0, 1), (50.0, 2)]),  # the sum says how far beyond
        ((1, 0, 1), 3.0, [(0.5, 1), (3.0, 1)]),
    ],
)
def test_values_of_buckets_come_to_the_sum_of_the_durations(
    counts: tuple[int, ...], total: float, values: list[tuple[float, int]]
) -> None:
    """So averages are right, though percentiles are no finer than the buckets."""
    assert told(counts, total) == values


async def test_idle_acquire_sends_nothing(
    agent: Agent, observer: DatadogObserver, build: MakePool, traces: KeptTraces
) -> None:
    """The default is paid for once every `report_every` seconds, and where somebody waits."""
    pool = build(observer)
    await use(pool)
    agent.lines()
    traces.spans.clear()
    await use(pool, 100)
    assert agent.lines() == []
    assert traces.spans == []
    assert pool._at_hand is pool._idle  # and costs no more than unobserved


async def test_pools_of_one_name_are_told_apart(
    agent: Agent, observer: DatadogObserver, build: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    """Two gauges under the same name and tags would overwrite one another."""
    build(observer)
    build(observer)
    await ticks()
    pools = {tag for metric in agent.metrics() for tag in metric.tags if tag.startswith("pool:")}
    assert pools == {"pool:orders-db", "pool:orders-db_2"}  # as the client spells orders-db#2
    assert "'orders-db#2'" in caplog.text


async def test_pools_of_one_name_are_told_apart_by_observers_of_their_own(agent: Agent, build: MakePool) -> None:
    """As most give one to each pool; not those of another service or with other tags, which tell them apart already."""
    for service, tags in (("orders", []), ("orders", []), ("other", []), ("orders", ["shard:2"])):
        build(DatadogObserver(service, extra_tags=tags, statsd=agent.client))
    await ticks()
    sent = [metric.tags for metric in agent.metrics() if metric.name == "db.client.connection.max"]
    told_apart = {frozenset(tags - {"env:t"}) for tags in sent}
    assert len(sent) == len(told_apart) == 4
    assert frozenset({"pool:orders-db_2", "service:orders"}) in told_apart
    assert frozenset({"pool:orders-db", "service:orders", "shard:2"}) in told_apart


def test_two_observers_of_one_pool_and_service_are_refused(agent: Agent, observer: DatadogObserver) -> None:
    """Everything would be counted twice."""
    another = DatadogObserver("orders", extra_tags=["env:t"], statsd=agent.client, per_acquire=True)
    with pytest.raises(ValueError, match="pool 'db' is reported already"):
        ConnectionPool(strategy=FakeStrategy(), max_size=1, name="db", observers=[observer, another])


async def test_next_pool_takes_the_name_of_a_closed_one(
    agent: Agent, observer: DatadogObserver, build: MakePool
) -> None:
    """A pool that is built anew goes on with the series of the old one."""
    await build(observer).close()
    agent.lines()
    build(observer)
    await ticks()
    assert {tag for metric in agent.metrics() for tag in metric.tags if tag.startswith("pool:")} == {"pool:orders-db"}


async def test_close_is_reported_to_the_end(agent: Agent, observer: DatadogObserver, build: MakePool) -> None:
    """The last report follows the last connection, and the last caller that was turned away."""
    pool = build(observer, strategy=FakeStrategy())
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


async def test_burst_is_three_events(agent: Agent, observer: DatadogObserver, build: MakePool) -> None:
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


async def test_events_of_one_pool_are_grouped(agent: Agent, build: MakePool) -> None:
    """By a key of its own, without what would end it: the client escapes none."""
    observer = DatadogObserver("orders", statsd=agent.client)
    keys: list[set[str]] = []
    for name in ("db", "a|b\nc", "n" * 200):
        pool = build(observer, name=name, burst_limit=2)
        async with pool.get_connection():
            await use(pool)
        await ticks(2)
        events = agent.events()
        assert len(events) == 2
        keys.append({event.aggregation_key for event in events})
    assert keys == [{"orders.pool:db"}, {"orders.pool:a_b_c"}, {f"orders.pool:{'n' * 88}"}]


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
        ({"statsd": "localhost"}, "statsd must be a DogStatsd, got a str"),
        ({"tracer": "ddtrace"}, "tracer must be a Tracer, got a str"),
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


@pytest.mark.parametrize("service", ["a:b", "a|b", "a\nb"])
def test_service_name_that_would_end_a_name_is_refused(service: str) -> None:
    """The rest of it would be read as a value, or as another metric."""
    with pytest.raises(ValueError, match=r"service_name must hold no ':', no '\|' and no line break"):
        DatadogObserver(service)


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
