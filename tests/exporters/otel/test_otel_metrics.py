"""Names, units and values of the metrics, and whose pools they are read from."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from dataclasses import fields
from itertools import count
from typing import Any, get_args

import pytest
from opentelemetry.metrics import Meter, NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, HistogramDataPoint, InMemoryMetricReader, Metric
from opentelemetry.semconv._incubating.metrics import db_metrics

from instrumented_pool import (
    BOUNDS,
    CloseReason,
    ConnectionPool,
    Distribution,
    FailReason,
    PoolStats,
    PoolTimeoutError,
    Source,
)
from instrumented_pool.metrics import ACQUIRE_SOURCE, COUNTS, CREATE_OUTCOME, DURATIONS, Attributes
from instrumented_pool_otel import OTelObserver
from instrumented_pool_otel._instruments import _by_provider, instruments_of
from instrumented_pool_otel._successions import _counted_on
from support.telemetry import (
    At,
    Pools,
    Telemetry,
    Wire,
    Wires,
    borrow,
    in_a_process_of_its_own,
    numbers_of,
    span_id,
    until,
)

POOL = "db.client.connection.pool.name"
CONVENTIONS = [
    "count",
    "create_time",
    "idle_max",
    "idle_min",
    "max",
    "pending_requests",
    "timeouts",
    "use_time",
    "wait_time",
]


def names_of_pools(telemetry: Telemetry) -> set[object]:
    numbers = telemetry.numbers("db.client.connection.max")
    return {dict(labels)[POOL] for labels in numbers}


def of_convention(name: str) -> Metric:
    """The metric that the conventions' own package makes, after one measurement."""
    reader = InMemoryMetricReader()
    meter: Meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("conventions")
    instrument = getattr(db_metrics, f"create_db_client_connection_{name}")(meter)
    (instrument.add if hasattr(instrument, "add") else instrument.record)(1)
    data = reader.get_metrics_data()
    assert data is not None
    return data.resource_metrics[0].scope_metrics[0].metrics[0]


@pytest.mark.parametrize("name", CONVENTIONS)
async def test_the_conventions_metrics_are_theirs_word_for_word(
    telemetry: Telemetry, wires: Wires, make_pool: Pools, name: str
) -> None:
    """Name, unit, description, and the kind of data that arrives."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    await borrow(pool)
    theirs = of_convention(name)
    ours = telemetry.metrics()[theirs.name]
    assert (ours.unit, ours.description, type(ours.data)) == (theirs.unit, theirs.description, type(theirs.data))
    assert getattr(ours.data, "is_monotonic", None) == getattr(theirs.data, "is_monotonic", None)


def test_the_conventions_metrics_are_all_there() -> None:
    """Nine, and no other under their name."""
    names = {each.name for each in (*COUNTS, *DURATIONS) if each.name.startswith("db.client.")}
    theirs = {
        value
        for key, value in vars(db_metrics).items()
        if key.startswith("DB_CLIENT_CONNECTION_") and isinstance(value, str)
    }
    assert names == theirs
    assert len(names) == 9


async def test_the_scope_names_us_and_the_version_of_the_conventions(
    telemetry: Telemetry, wires: Wires, make_pool: Pools
) -> None:
    """For metrics and for spans."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    await borrow(pool)
    data = telemetry.reader.get_metrics_data()
    assert data is not None
    (scope,) = [each.scope for each in data.resource_metrics[0].scope_metrics]
    for each in (scope, telemetry.span("pool.acquire").instrumentation_scope):
        assert each is not None
        assert (each.name, each.schema_url) == ("instrumented_pool", "https://opentelemetry.io/schemas/1.44.0")


def expected(stats: PoolStats, name: str) -> Mapping[frozenset[tuple[str, object]], float]:
    """What a pool's own numbers make of the metric `name`, said once more in other words than the table's."""
    one: Mapping[str, float] = {
        "db.client.connection.idle.max": stats.max_size,
        "db.client.connection.idle.min": stats.min_size,
        "db.client.connection.max": stats.burst_limit or stats.max_size,
        "db.client.connection.pending_requests": stats.waiting,
        "db.client.connection.timeouts": stats.failed["timeout"],
        "instrumented_pool.connection.creating": stats.creating,
        "instrumented_pool.connection.closing": stats.closing,
        "instrumented_pool.bursting": 1 if stats.creating + stats.idle + stats.in_use > stats.max_size else 0,
        "instrumented_pool.bursts": stats.bursts,
        "instrumented_pool.close_errors": stats.close_errors,
        "instrumented_pool.leaks_suspected": stats.leaks_suspected,
        "instrumented_pool.observer_errors": stats.observer_errors,
        "instrumented_pool.oldest_hold": stats.oldest_hold,
    }
    ours = "instrumented_pool."
    many: Mapping[str, list[tuple[Mapping[str, object], float]]] = {
        "db.client.connection.count": [
            ({"db.client.connection.state": "idle"}, stats.idle),
            ({"db.client.connection.state": "used"}, stats.in_use),
        ],
        "instrumented_pool.acquires": [
            *(
                ({f"{ours}acquire.outcome": "acquired", f"{ours}acquire.source": source}, count)
                for source, count in stats.acquired.items()
            ),
            *(({f"{ours}acquire.outcome": reason}, count) for reason, count in stats.failed.items()),
        ],
        "instrumented_pool.creates": [
            ({f"{ours}create.outcome": "created"}, stats.created),
            ({f"{ours}create.outcome": "failed"}, stats.create_errors),
        ],
        "instrumented_pool.closes": [
            ({f"{ours}close.reason": reason}, count) for reason, count in stats.closed.items()
        ],
        "instrumented_pool.observer_time": [
            ({f"{ours}observer": observer}, seconds) for observer, seconds in stats.observer_seconds.items()
        ],
    }
    points = many[name] if name in many else [({}, one[name])]
    return {frozenset({POOL: stats.name, **labels}.items()): value for labels, value in points}


def test_every_metric_reads_the_number_that_it_names() -> None:
    """Each from a number that no other has."""
    unique = count(1)
    stats = PoolStats(
        name="db",
        acquired={source: next(unique) for source in get_args(Source)},
        failed={reason: next(unique) for reason in get_args(FailReason)},
        closed={reason: next(unique) for reason in get_args(CloseReason)},
        min_size=next(unique),
        max_size=next(unique),
        burst_limit=next(unique),
        creating=next(unique),
        idle=next(unique),
        in_use=next(unique),
        closing=next(unique),
        waiting=next(unique),
        acquires=next(unique),
        created=next(unique),
        create_errors=next(unique),
        close_errors=next(unique),
        bursts=next(unique),
        leaks_suspected=next(unique),
        observer_errors=next(unique),
        observer_seconds={"First": next(unique), "Second": next(unique)},
        oldest_hold=next(unique),
    )
    for metric in COUNTS:
        points = {
            frozenset({(POOL, "db"), *zip(metric.labels, filter(None, values), strict=False)}): value
            for values, value in metric.read(stats)
        }
        assert points == expected(stats, metric.name), metric.name


async def test_counts_are_the_pools_own_at_every_moment(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """Before the first use, while connecting, in a burst, with callers queued, after time-outs and errors, and idle."""
    pool = make_pool(strategy=wires, max_size=1, burst_limit=2, name="db", observers=[telemetry.observer()])

    def compare() -> None:
        metrics, stats = telemetry.metrics(), pool.stats()
        for name in {metric.name for metric in COUNTS} - {"instrumented_pool.oldest_hold"}:  # which time changes
            assert numbers_of(metrics[name]) == expected(stats, name), name

    compare()
    wires.gate.clear()
    first = asyncio.create_task(borrow(pool))
    await until(lambda: wires.asked == 1)
    compare()
    wires.gate.set()
    await first
    compare()
    async with pool.get_connection(), pool.get_connection():
        assert pool.stats().bursting
        compare()
        waiter = asyncio.create_task(borrow(pool))
        await until(lambda: pool.stats().waiting == 1)
        compare()
        with pytest.raises(PoolTimeoutError):
            async with pool.get_connection(timeout=0):
                pass
        compare()
    await waiter
    pool.clear()
    wires.error = OSError("no")
    with pytest.raises(OSError, match="no"):
        await borrow(pool)
    compare()


async def test_the_oldest_hold_is_told_in_seconds(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """Zero while nothing is lent; it may not be added up, so it is a gauge."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    assert set(telemetry.numbers("instrumented_pool.oldest_hold").values()) == {0.0}
    async with pool.get_connection():
        before = pool.stats().oldest_hold
        (held,) = telemetry.numbers("instrumented_pool.oldest_hold").values()
        assert before <= held <= pool.stats().oldest_hold
    assert telemetry.metrics()["instrumented_pool.oldest_hold"].unit == "s"


async def test_durations_are_what_the_pool_measured(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """In the advised buckets of seconds, one record an event."""
    pool = make_pool(strategy=wires, name="db", observers=[telemetry.observer()])
    pool.keep_distributions()
    for _ in range(3):
        await borrow(pool)
    stats = pool.stats()
    assert stats.create is not None
    assert stats.create.count == 1
    for name, own in (("create_time", stats.create), ("wait_time", stats.wait), ("use_time", stats.use)):
        (point,) = telemetry.histograms(f"db.client.connection.{name}")
        assert own is not None
        assert dict(point.attributes or {}) == {POOL: "db"}
        assert tuple(point.explicit_bounds) == BOUNDS
        assert tuple(point.bucket_counts) == own.counts
        assert point.sum == pytest.approx(own.sum)


async def test_where_there_are_no_metrics_an_idle_acquire_costs_nothing(
    telemetry: Telemetry, wires: Wires, make_pool: Pools
) -> None:
    """As for who has them from elsewhere, and wants the spans of those that wait."""
    observer = OTelObserver(meter_provider=NoOpMeterProvider(), tracer_provider=telemetry.tracer_provider)
    pool = make_pool(strategy=wires, observers=[observer])
    assert (pool._bus.on_acquired_at_once, pool._bus.on_released_to_nobody) == ((), ())
    await borrow(pool)
    assert telemetry.spans("pool.acquire") != []


async def test_exemplars_lead_to_the_span_that_waited(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """The wait's to the acquire, the creation's to the creation, the use's to the caller's own."""
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    with telemetry.tracer.start_as_current_span("request"):
        await borrow(pool)
    metrics = telemetry.metrics()  # once: a collection takes the exemplars with it
    for name, span in (("wait_time", "pool.acquire"), ("create_time", "pool.create"), ("use_time", "request")):
        (point,) = metrics[f"db.client.connection.{name}"].data.data_points
        assert isinstance(point, HistogramDataPoint)
        assert [exemplar.span_id for exemplar in point.exemplars] == [span_id(telemetry.span(span))]


class Counting(ConnectionPool[Wire]):
    """Counts how often it is asked for its numbers."""

    asked = 0

    def stats(self) -> PoolStats:
        self.asked += 1
        return super().stats()


async def test_a_collection_reads_each_pool_once(telemetry: Telemetry, wires: Wires) -> None:
    """So that its numbers fit together, whatever runs meanwhile, and the next collection reads anew."""
    pool = Counting(strategy=wires, max_size=1, observers=[telemetry.observer()])
    telemetry.metrics()
    assert pool.asked == 1
    telemetry.metrics()
    assert pool.asked == 2


async def test_several_observers_share_the_instruments_of_a_provider(
    telemetry: Telemetry, wires: Wires, make_pool: Pools
) -> None:
    """A second observable instrument of one name would never be asked."""
    first = make_pool(strategy=wires, name="first", observers=[telemetry.observer()])
    second = make_pool(strategy=wires, name="second", observers=[telemetry.observer()])
    third = make_pool(strategy=wires, name="third", observers=[telemetry.observer(spans="off")])
    assert names_of_pools(telemetry) == {first.name, second.name, third.name}


async def test_two_providers_do_not_mix(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """Each is told of its own pools."""
    other = Telemetry()
    make_pool(strategy=wires, name="here", observers=[telemetry.observer()])
    make_pool(strategy=wires, name="there", observers=[other.observer()])
    assert (names_of_pools(telemetry), names_of_pools(other)) == ({"here"}, {"there"})


async def test_one_pool_may_report_to_two_providers(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """By an observer for each."""
    other = Telemetry()
    pool = make_pool(strategy=wires, observers=[telemetry.observer(), other.observer()])
    await borrow(pool)
    assert [each.histograms("db.client.connection.wait_time")[0].count for each in (telemetry, other)] == [1, 1]


def test_two_observers_of_one_pool_and_provider_are_refused(telemetry: Telemetry, wires: Wires) -> None:
    """Everything would be counted twice."""
    with pytest.raises(ValueError, match="pool 'db' is reported already"):
        ConnectionPool(strategy=wires, max_size=1, name="db", observers=[telemetry.observer(), telemetry.observer()])


async def test_two_pools_of_one_name_are_told_apart(
    telemetry: Telemetry, wires: Wires, make_pool: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    """In metrics and in spans, with a warning for each but the first."""
    pools = [make_pool(strategy=wires, name="db", observers=[telemetry.observer()]) for _ in range(3)]
    for pool in pools:
        await borrow(pool)
    assert names_of_pools(telemetry) == {"db", "db#2", "db#3"}
    assert [(span.attributes or {})[POOL] for span in telemetry.spans("pool.acquire")] == ["db", "db#2", "db#3"]
    assert [record.getMessage() for record in caplog.records] == [
        f"there is a pool 'db' already: this one is reported as 'db#{number}'" for number in (2, 3)
    ]


async def test_a_closed_pool_leaves_its_name_to_its_successor(
    telemetry: Telemetry, wires: Wires, make_pool: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    """Until then its last numbers can still be collected."""
    old = make_pool(strategy=wires, max_size=3, name="db", observers=[telemetry.observer()])
    await old.close()
    assert telemetry.numbers("db.client.connection.max") == {frozenset({(POOL, "db")}): 3}
    make_pool(strategy=wires, max_size=5, name="db", observers=[telemetry.observer()])
    assert telemetry.numbers("db.client.connection.max") == {frozenset({(POOL, "db")}): 5}
    assert caplog.records == []


@pytest.mark.parametrize("kind", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
async def test_counters_do_not_fall_when_a_pool_takes_the_place_of_another(
    kind: AggregationTemporality, wires: Wires, make_pool: Pools
) -> None:
    """Nor when the other is gone, or was itself the second and never read; and nothing that was counted is lost."""
    telemetry = Telemetry(reader=InMemoryMetricReader(preferred_temporality={ObservableCounter: kind}))

    def found_idle() -> float:
        acquires = telemetry.numbers("instrumented_pool.acquires")
        return sum(number for labels, number in acquires.items() if (ACQUIRE_SOURCE, "idle") in labels)

    async def come_and_go(borrowed: int) -> None:
        pool = make_pool(strategy=wires, name="db", observers=[telemetry.observer()])
        for _ in range(1 + borrowed):
            await borrow(pool)
        await pool.close()

    told = []
    await come_and_go(5)
    told.append(found_idle())
    await come_and_go(1)
    told.append(found_idle())
    await come_and_go(2)
    await come_and_go(3)
    told.append(found_idle())
    assert told == ([5, 6, 11] if kind is AggregationTemporality.CUMULATIVE else [5, 1, 5])


async def test_counters_do_not_fall_when_a_pool_is_forgotten(telemetry: Telemetry, wires: Wires) -> None:
    """Of one that is gone, what was collected last counts."""
    wires.error = OSError("refused")
    failed = frozenset({(POOL, "db"), (CREATE_OUTCOME, "failed")})
    for times in (1, 2):
        pool = ConnectionPool(strategy=wires, max_size=1, name="db", observers=[telemetry.observer()])
        with pytest.raises(OSError, match="refused"):
            await borrow(pool)
        assert telemetry.numbers("instrumented_pool.creates")[failed] == times
        gone = weakref.ref(pool)
        wires.error = OSError("refused")  # the last one knows the frames that it came through
        del pool
        await asyncio.sleep(0)
        gc.collect()
        assert gone() is None


def test_all_that_only_rises_is_counted_on() -> None:
    """By the table of metrics; what is true of the present pool alone stays its own."""
    kept = Distribution(BOUNDS, (1,) * (len(BOUNDS) + 1), 2.0)

    def all_at(number: int) -> PoolStats:
        values: dict[str, Any] = dict.fromkeys((each.name for each in fields(PoolStats)), number)
        for name, labels in {"acquired": Source, "failed": FailReason, "closed": CloseReason}.items():
            values[name] = dict.fromkeys(get_args(labels), number)
        values |= {"observer_seconds": {"Me": number}, "wait": kept, "use": kept, "create": kept}
        return PoolStats(**values)

    before, now = all_at(100), all_at(1)
    both = _counted_on(before, now)
    assert both.acquires == 101
    for each in COUNTS:
        number = 101 if each.kind == "counter" else 1
        assert {value for _, value in each.read(both)} == {number}, each.name
    for duration in DURATIONS:
        assert duration.read(both) == Distribution(BOUNDS, (2,) * (len(BOUNDS) + 1), 4.0)


async def test_a_pool_that_is_gone_is_reported_no_longer(telemetry: Telemetry, wires: Wires) -> None:
    """Nothing of ours keeps it alive, and its name is free again."""
    pool = ConnectionPool(strategy=wires, max_size=1, name="db", observers=[telemetry.observer()])
    assert names_of_pools(telemetry) == {"db"}
    gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert gone() is None
    assert names_of_pools(telemetry) == set()


async def test_a_closed_pools_last_numbers_are_collected_though_nobody_has_it_any_more(
    telemetry: Telemetry, wires: Wires
) -> None:
    """As at the end of a short program, whose SDK collects as the process exits; by two readers, if it has them."""
    async with ConnectionPool(strategy=wires, max_size=1, name="db", observers=[telemetry.observer()]) as pool:
        await borrow(pool)
    gone = weakref.ref(pool)
    del pool
    await asyncio.sleep(0)  # the loop has yet to see the task off that connected
    for _ in range(2):
        gc.collect()
        closes = telemetry.numbers("instrumented_pool.closes")
        assert closes[frozenset({(POOL, "db"), ("instrumented_pool.close.reason", "pool_closed")})] == 1
    telemetry.metrics()
    gc.collect()
    assert gone() is None
    assert names_of_pools(telemetry) == set()


async def test_closed_pools_do_not_pile_up_where_nobody_collects(telemetry: Telemetry, wires: Wires) -> None:
    """As without an SDK."""
    closed: weakref.WeakSet[ConnectionPool[Wire]] = weakref.WeakSet()

    async def come_and_go(name: str) -> None:
        async with ConnectionPool(strategy=wires, max_size=1, name=name, observers=[telemetry.observer()]) as pool:
            closed.add(pool)

    for number in range(40):
        await come_and_go(f"db {number}")
    gc.collect()
    assert 0 < len(closed) <= 16


async def test_a_removed_observer_reports_no_longer_and_may_be_added_again(
    telemetry: Telemetry, wires: Wires, make_pool: Pools
) -> None:
    """Other observers of the provider go on."""
    observer = telemetry.observer()
    pool = make_pool(strategy=wires, name="db", observers=[observer])
    make_pool(strategy=wires, name="other", observers=[telemetry.observer()])
    pool.remove_observer(observer)
    assert names_of_pools(telemetry) == {"other"}
    pool.add_observer(observer)
    assert names_of_pools(telemetry) == {"db", "other"}


async def test_a_provider_that_is_gone_is_forgotten() -> None:
    """The registry of instruments holds none of them."""
    provider = MeterProvider(shutdown_on_exit=False)
    instruments_of(provider)
    assert provider in _by_provider
    gone = weakref.ref(provider)
    del provider
    gc.collect()
    assert gone() is None


async def test_the_users_attributes_are_on_everything(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """On counts, durations and spans."""
    attributes: Attributes = {
        "server.address": "db.example",
        "server.port": 5432,
        "db.system.name": "postgresql",
        "db.namespace": "orders",
        "tier": "gold",
    }
    pool = make_pool(strategy=wires, observers=[telemetry.observer(attributes=attributes)])
    await borrow(pool)
    metrics = telemetry.metrics()
    assert len(metrics) == len(COUNTS) + len(DURATIONS)
    for metric in metrics.values():
        for point in metric.data.data_points:
            assert attributes.items() <= dict(point.attributes or {}).items()
    for span in telemetry.spans():
        assert attributes.items() <= dict(span.attributes or {}).items()


async def test_what_the_pool_connects_to_is_on_everything(telemetry: Telemetry, make_pool: Pools) -> None:
    """The strategy knows; what the user gives instead comes first."""
    pool = make_pool(strategy=At("pg"), observers=[telemetry.observer(attributes={"server.port": 6432})])
    await borrow(pool)
    expected = {"db.system.name": "pg", "server.address": "pg.example", "server.port": 6432}
    for metric in telemetry.metrics().values():
        for point in metric.data.data_points:
            assert expected.items() <= dict(point.attributes or {}).items()
    for span in telemetry.spans():
        assert expected.items() <= dict(span.attributes or {}).items()


@pytest.mark.parametrize(
    ("attributes", "error", "message"),
    [
        ({"server.port": "5432"}, TypeError, r"attributes\['server.port'\] must be int, got str"),
        ({"server.port": True}, TypeError, r"attributes\['server.port'\] must be int, got bool"),
        ({"server.address": 1}, TypeError, r"attributes\['server.address'\] must be str, got int"),
        ({"tier": None}, TypeError, r"attributes\['tier'\] must be str or bool or int or float, got NoneType"),
        ({1: "x"}, TypeError, "attributes must have str keys, got 1"),
        ({"": "x"}, ValueError, "attributes must not have an empty key"),
        ({POOL: "x"}, ValueError, "attributes must not have the key 'db.client.connection.pool.name'"),
        ({"instrumented_pool.x": "x"}, ValueError, "attributes must not have the key 'instrumented_pool.x'"),
        ({"dsn": "pg://u:secret@h/"}, ValueError, r"attributes\['dsn'\] holds credentials, 'pg://\*\*\*@h/'"),
        ("server.port", TypeError, "attributes must be a mapping of str to str, bool, int or float, got str"),
    ],
)
def test_attributes_that_cannot_be_reported_are_refused(
    telemetry: Telemetry, attributes: dict[str, str], error: type[Exception], message: str
) -> None:
    """With the key, what would do, and never a credential."""
    with pytest.raises(error, match=message) as raised:
        telemetry.observer(attributes=attributes)
    assert "secret" not in str(raised.value)


def test_swapped_providers_are_refused(telemetry: Telemetry) -> None:
    """Each by the name of its parameter."""
    with pytest.raises(TypeError, match="tracer_provider must have a method get_tracer, got MeterProvider"):
        OTelObserver(tracer_provider=telemetry.meter_provider)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="meter_provider must have a method get_meter, got TracerProvider"):
        OTelObserver(meter_provider=telemetry.tracer_provider)  # type: ignore[arg-type]


def test_an_sdk_configured_after_the_observer_gets_everything() -> None:
    """Spans, durations and counts of a pool that was built before."""
    lines = in_a_process_of_its_own("""
        early = pool("early")
        reader, exporter = sdk()
        asyncio.run(borrow(early))
        report(reader)
        print(*(span.name for span in exporter.get_finished_spans()))
        """)
    assert lines == [
        "db.client.connection.wait_time early 1",
        "db.client.connection.max early ",
        "pool.create pool.acquire",
    ]


def test_observers_from_before_and_after_the_sdk_share_its_instruments() -> None:
    """Whether they were given the provider or found it."""
    lines = in_a_process_of_its_own("""
        pools = [pool("early")]
        reader, exporter = sdk()
        from opentelemetry.metrics import get_meter_provider
        pools += [pool("late"), pool("given", meter_provider=get_meter_provider())]
        report(reader)
        """)
    assert lines == [f"db.client.connection.max {name} " for name in ("early", "late", "given")]


def test_without_an_sdk_nothing_happens() -> None:
    """And the SDK is never imported by us."""
    lines = in_a_process_of_its_own("""
        for spans in ("all", "waits", "off"):
            asyncio.run(borrow(pool(spans, spans=spans)))
        print(*(name for name in sys.modules if name.startswith("opentelemetry.sdk")))
        """)
    assert lines == [""]


def test_a_missing_extra_is_named() -> None:
    """Instead of a bare ModuleNotFoundError."""
    script = "import sys; sys.modules['opentelemetry'] = None; import instrumented_pool_otel"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: instrumented_pool_otel needs opentelemetry-api: pip install 'instrumented-pool[otel]'"
    )


async def test_a_collecting_thread_and_a_busy_pool_do_not_disturb_each_other(
    telemetry: Telemetry, wires: Wires, make_pool: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    """A periodic reader collects in a thread of its own; here the two take turns as often as they can."""
    pool = make_pool(strategy=wires, burst_limit=200, observers=[telemetry.observer(spans="off")])
    over = threading.Event()

    def read_until_over() -> None:
        while not over.is_set():
            telemetry.metrics()
            for _ in range(200):
                pool.stats()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        reading = asyncio.create_task(asyncio.to_thread(read_until_over))
        for number in range(20):
            make_pool(strategy=wires, name=f"other {number}", observers=[telemetry.observer()])
            await asyncio.gather(*(borrow(pool) for _ in range(300)))
        over.set()
        await reading
    finally:
        over.set()
        sys.setswitchinterval(interval)
    assert [record for record in caplog.records if record.name.startswith("opentelemetry")] == []
