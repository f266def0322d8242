"""The bridge hands the pools' own distributions to the SDK's readers, as if every duration had been recorded there."""

import asyncio
import gc
import subprocess
import sys
import threading
import time
import warnings
import weakref
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    ExemplarFilter,
    Histogram,
    MeterProvider,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.metrics.view import (
    Aggregation,
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from prometheus_client import CollectorRegistry

from instrumented_pool import BOUNDS, ConnectionPool, PoolStats
from instrumented_pool_otel import OTelObserver
from instrumented_pool_otel._exemplars import Exemplars
from instrumented_pool_otel._instruments import instruments_of
from instrumented_pool_otel.sdk import bridge
from support.clock import Clock
from support.telemetry import (
    Pools,
    Telemetry,
    Wire,
    Wires,
    borrow,
    in_a_process_of_its_own,
    parent_id,
    span_id,
    until,
)

WAIT, USE, CREATE = (f"db.client.connection.{name}_time" for name in ("wait", "use", "create"))
POOL = "db.client.connection.pool.name"
HOUR = 3_600_000.0  # ms


def reading(temporality: AggregationTemporality) -> InMemoryMetricReader:
    return InMemoryMetricReader(preferred_temporality={Histogram: temporality})


def histograms_in(data: MetricsData | None) -> Iterator[tuple[tuple[object, ...], HistogramDataPoint]]:
    """Every point of a histogram, and all that is said of it in the layers above."""
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if isinstance(metric.data, HistogramData):
                    above = (resource.resource, resource.schema_url, scope.scope, scope.schema_url, metric.name)
                    about = (metric.description, metric.unit, metric.data.aggregation_temporality)
                    for point in metric.data.data_points:
                        yield (*above, *about, frozenset((point.attributes or {}).items())), point


def counts(data: MetricsData | None) -> Mapping[tuple[object, ...], tuple[object, ...]]:
    """What of each point must not depend on how it came about; no point comes twice."""
    points = [
        (about, (point.count, list(point.bucket_counts), tuple(point.explicit_bounds), pytest.approx(point.sum)))
        for about, point in histograms_in(data)
    ]
    assert len(dict(points)) == len(points)
    return dict(points)


async def queue_up(pool: ConnectionPool[Wire], callers: int) -> None:
    """Have `callers` wait for one that has a connection, and then for each other."""
    async with pool.get_connection():
        tasks = [asyncio.create_task(borrow(pool)) for _ in range(callers)]
        await until(lambda: pool.stats().waiting == callers)
        await asyncio.sleep(0.002)
    await asyncio.gather(*tasks)


VIEWS = {
    "none": [],
    "another name": [View(instrument_name=WAIT, name="waited", description="How long.")],
    "twice": [View(instrument_name=USE), View(instrument_name=USE, name="used")],
    "fewer attributes": [View(instrument_name="db.client.connection.*", attribute_keys={"tier"})],
    "fewer buckets": [
        View(instrument_name=WAIT, aggregation=ExplicitBucketHistogramAggregation([0.001, 0.01, 1.0])),
        View(instrument_name=CREATE, aggregation=ExplicitBucketHistogramAggregation([])),
    ],
    "dropped": [View(instrument_name=WAIT, aggregation=DropAggregation())],
    "all dropped": [View(instrument_name="*", aggregation=DropAggregation())],
}


@pytest.mark.parametrize("temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
@pytest.mark.parametrize("views", VIEWS.values(), ids=VIEWS)
async def test_what_arrives_is_what_would_have_been_recorded(
    views: list[View], temporality: AggregationTemporality, wires: Wires, make_pool: Pools
) -> None:
    """Two pools report to two SDKs that differ in nothing but the bridge: resource, scope, names, points, all equal."""
    plain, bridged = (Telemetry(reader=reading(temporality), views=views) for _ in range(2))
    bridge(bridged.meter_provider)
    assert instruments_of(bridged.meter_provider).bridged
    for name in ("first", "second"):
        each = [telemetry.observer(attributes={"tier": "gold"}) for telemetry in (plain, bridged)]
        make_pool(strategy=wires, name=name, observers=each)
    first, second = make_pool._made
    for used in ([first], [first, second], [], [second]):
        for pool in used:
            await queue_up(pool, 3)
            await borrow(pool)
        assert counts(bridged.reader.get_metrics_data()) == counts(plain.reader.get_metrics_data())


@pytest.mark.parametrize("temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
async def test_what_was_recorded_before_the_bridge_is_neither_lost_nor_doubled(
    temporality: AggregationTemporality, wires: Wires, make_pool: Pools
) -> None:
    """Also where the pool kept distributions already, for somebody else."""
    plain, bridged = (Telemetry(reader=reading(temporality)) for _ in range(2))
    pool = make_pool(strategy=wires, observers=[plain.observer(), bridged.observer()])
    pool.keep_distributions()
    await queue_up(pool, 2)
    bridge(bridged.meter_provider)
    for _ in range(2):
        await queue_up(pool, 1)
        assert counts(bridged.reader.get_metrics_data()) == counts(plain.reader.get_metrics_data())


@pytest.mark.parametrize("first", ["bridge", "observer"])
@pytest.mark.parametrize("spans", ["waits", "off"])
async def test_nothing_is_heard_of_an_acquire_that_finds_a_connection_idle(
    telemetry: Telemetry, wires: Wires, make_pool: Pools, first: str, spans: str
) -> None:
    """Whichever was made first, the observer and its pool or the bridge."""
    if first == "bridge":
        bridge(telemetry.meter_provider)
    pool = make_pool(strategy=wires, observers=[telemetry.observer(spans=spans)])
    if first == "observer":
        bridge(telemetry.meter_provider)
    bus = pool._bus
    assert (bus.on_acquire_started, bus.on_acquired_at_once, bus.on_released_to_nobody) == ((), (), ())
    assert pool._at_hand is pool._idle
    assert not pool._attentive
    await borrow(pool)
    await borrow(pool)
    assert [telemetry.histograms(name)[0].count for name in (WAIT, USE, CREATE)] == [2, 2, 1]


async def test_spans_of_all_acquires_are_still_made(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """With each wait counted once."""
    bridge(telemetry.meter_provider)
    pool = make_pool(strategy=wires, observers=[telemetry.observer(spans="all")])
    await borrow(pool)
    await borrow(pool)
    assert len(telemetry.spans("pool.acquire")) == telemetry.histograms(WAIT)[0].count == 2


async def test_a_second_bridge_changes_nothing(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """Nothing is added twice."""
    bridge(telemetry.meter_provider)
    collect = telemetry.meter_provider._measurement_consumer.collect
    bridge(telemetry.meter_provider)
    assert telemetry.meter_provider._measurement_consumer.collect == collect
    await borrow(make_pool(strategy=wires, observers=[telemetry.observer()]))
    assert telemetry.histograms(WAIT)[0].count == 1


async def test_other_providers_are_left_alone(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """The observer of another goes on recording."""
    bridge(Telemetry().meter_provider)
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    await borrow(pool)
    assert pool._bus.on_acquired_at_once
    assert telemetry.histograms(WAIT)[0].count == 1


class Sent(MetricExporter):
    """Keeps what it is given to send."""

    def __init__(self) -> None:
        super().__init__(preferred_temporality={Histogram: AggregationTemporality.DELTA})
        self.batches: list[MetricsData] = []
        self.over = False

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        self.batches.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self.over = True


def waits_in(data: MetricsData | None) -> list[HistogramDataPoint]:
    return [point for about, point in histograms_in(data) if WAIT in about]


async def test_a_periodic_reader_sends_them_when_it_is_flushed_and_when_it_is_shut_down(
    wires: Wires, make_pool: Pools
) -> None:
    """Each duration once; delta points follow each other without a gap."""
    exporter = Sent()
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, HOUR)], shutdown_on_exit=False)
    bridge(provider)
    pool = make_pool(strategy=wires, observers=[OTelObserver(meter_provider=provider)])
    for rounds in (1, 2):
        for _ in range(rounds):
            await borrow(pool)
        provider.force_flush()
    await borrow(pool)
    provider.shutdown()
    assert exporter.over
    points = [point for batch in exporter.batches for point in waits_in(batch)]
    assert [point.count for point in points] == [1, 2, 1]
    assert all(point.start_time_unix_nano < point.time_unix_nano for point in points)
    assert [point.start_time_unix_nano for point in points[1:]] == [point.time_unix_nano for point in points[:-1]]


async def test_readers_of_one_provider_are_each_told_everything(wires: Wires, make_pool: Pools) -> None:
    """Cumulative and delta, pulled and pushed, and one that is added when the bridge stands already."""
    registry, exporter, late = CollectorRegistry(), Sent(), InMemoryMetricReader()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scraped = PrometheusMetricReader(registry=registry)
    cumulative = InMemoryMetricReader()
    provider = MeterProvider(
        [cumulative, scraped, PeriodicExportingMetricReader(exporter, HOUR)], shutdown_on_exit=False
    )
    bridge(provider)
    pool = make_pool(strategy=wires, observers=[OTelObserver(meter_provider=provider)])
    for number in range(1, 4):
        await borrow(pool)
        provider.force_flush()
        assert [point.count for point in waits_in(cumulative.get_metrics_data())] == [number]
        assert [point.count for point in waits_in(exporter.batches[-1])] == [1]
        *_, count = (  # the flush has put another scrape in front
            sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.name == "db_client_connection_wait_time_seconds_count"
        )
        assert count == number
    provider.add_metric_reader(late)
    assert [point.count for point in waits_in(late.get_metrics_data())] == [3]
    provider.shutdown()


async def test_pools_come_and_go(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """A closed one is told of twice more; its successor's series goes on where its own ended, as without the bridge."""
    bridge(telemetry.meter_provider)
    old = make_pool(strategy=wires, name="db", observers=[telemetry.observer()])
    other = ConnectionPool(strategy=wires, max_size=1, name="other", observers=[telemetry.observer()])
    for pool in (old, other, other):
        await borrow(pool)
    first = {(point.attributes or {})[POOL]: point for point in telemetry.histograms(WAIT)}
    assert {name: point.count for name, point in first.items()} == {"db": 1, "other": 2}
    await old.close()
    await other.close()
    gone = weakref.ref(other)
    del other, pool
    await asyncio.sleep(0)  # the loop has yet to see the task off that connected
    for _ in range(2):
        gc.collect()
        assert len(telemetry.histograms(WAIT)) == 2
    telemetry.metrics()
    gc.collect()
    assert gone() is None
    new = make_pool(strategy=wires, name="db", observers=[telemetry.observer()])
    await borrow(new)
    (point,) = telemetry.histograms(WAIT)
    assert point.count == 2
    assert point.start_time_unix_nano == first["db"].start_time_unix_nano


async def test_nothing_is_lost_when_a_pool_takes_the_place_of_another(wires: Wires, make_pool: Pools) -> None:
    """Neither what was between the last collection and the close, nor with a delta what the successor did since."""
    exporter = Sent()
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, HOUR)], shutdown_on_exit=False)
    bridge(provider)
    for borrowed in (2, 3):
        pool = make_pool(strategy=wires, name="db", observers=[OTelObserver(meter_provider=provider)])
        await borrow(pool)
        provider.force_flush()
        for _ in range(borrowed):
            await borrow(pool)
        await pool.close()
    provider.shutdown()
    assert [point.count for batch in exporter.batches for point in waits_in(batch)] == [1, 2 + 1, 3]


async def test_what_a_closed_pool_kept_before_the_bridge_is_not_told_twice(
    telemetry: Telemetry, wires: Wires, make_pool: Pools
) -> None:
    """It was recorded, though the pool kept it too, for another exporter."""
    old = make_pool(strategy=wires, name="db", observers=[telemetry.observer()])
    old.keep_distributions()
    await borrow(old)
    await old.close()
    bridge(telemetry.meter_provider)
    new = make_pool(strategy=wires, name="db", observers=[telemetry.observer()])
    await borrow(new)
    assert telemetry.histograms(WAIT)[0].count == 2


async def test_a_pool_that_was_not_used_yet_has_no_point(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """As without the bridge."""
    bridge(telemetry.meter_provider)
    make_pool(strategy=wires, observers=[telemetry.observer()])
    assert telemetry.histograms(WAIT) == []
    assert telemetry.numbers("db.client.connection.max") != {}


async def slow_and_fast_waits(telemetry: Telemetry, pool: ConnectionPool[Wire], clock: Clock) -> dict[str, float]:
    """Waits of three lengths in requests of those names, two of them in one bucket; their lengths, by the name."""
    waited: dict[str, float] = {}

    async def wait(name: str, seconds: float) -> None:
        async with pool.get_connection():
            with telemetry.tracer.start_as_current_span(name):
                task = asyncio.create_task(borrow(pool))
            await until(lambda: pool.stats().waiting == 1)
            clock.ahead += seconds
        await task
        span = telemetry.spans("pool.acquire")[-1]
        waited[name] = float(str((span.attributes or {})["instrumented_pool.acquire.wait_time"]))

    for name, seconds in (("slow", 6.0), ("slowest", 8.0), ("fast", 1.1)):
        await wait(name, seconds)
    return waited


async def test_exemplars_lead_to_the_slowest_waits(
    telemetry: Telemetry, wires: Wires, make_pool: Pools, clock: Clock
) -> None:
    """One a bucket, with the value, the time and the ids of the waiter's span; of a creation likewise."""
    bridge(telemetry.meter_provider)
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    began = time.time_ns()
    waited = await slow_and_fast_waits(telemetry, pool, clock)
    metrics = telemetry.metrics()  # once: a collection takes the exemplars with it
    (point,) = metrics[WAIT].data.data_points
    assert isinstance(point, HistogramDataPoint)
    kept = {exemplar.value: exemplar for exemplar in point.exemplars}
    assert waited["slowest"] in kept
    assert waited["fast"] in kept
    assert (waited["slow"] in kept) == (bisect_left(BOUNDS, waited["slow"]) != bisect_left(BOUNDS, waited["slowest"]))
    request = telemetry.span("slowest")
    (acquire,) = (span for span in telemetry.spans("pool.acquire") if parent_id(span) == span_id(request))
    slowest = kept[waited["slowest"]]
    assert request.context is not None
    assert (slowest.trace_id, slowest.span_id) == (request.context.trace_id, span_id(acquire))
    assert began <= slowest.time_unix_nano <= time.time_ns()
    (created,) = metrics[CREATE].data.data_points
    assert isinstance(created, HistogramDataPoint)
    assert [exemplar.span_id for exemplar in created.exemplars] == [span_id(telemetry.span("pool.create"))]


async def test_the_exemplar_of_a_use_is_of_who_made_others_wait(
    telemetry: Telemetry, wires: Wires, make_pool: Pools
) -> None:
    """The holder's own span, and no other: nothing is heard of the rest."""
    bridge(telemetry.meter_provider)
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    with telemetry.tracer.start_as_current_span("nobody waits"):
        await borrow(pool)
    with telemetry.tracer.start_as_current_span("holder"):
        await queue_up(pool, 1)
    (point,) = telemetry.histograms(USE)
    assert [exemplar.span_id for exemplar in point.exemplars] == [span_id(telemetry.span("holder"))]


async def test_an_exemplar_is_told_once_to_each_reader(wires: Wires, make_pool: Pools) -> None:
    """However often the others read, and though it is kept until a later one takes its place."""
    often, seldom = InMemoryMetricReader(), InMemoryMetricReader()
    telemetry = Telemetry()
    telemetry.meter_provider = MeterProvider([often, seldom], shutdown_on_exit=False)
    bridge(telemetry.meter_provider)
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    await queue_up(pool, 1)
    told = [len(point.exemplars) for point in waits_in(often.get_metrics_data())]
    assert told[0] > 0
    assert [len(point.exemplars) for point in waits_in(often.get_metrics_data())] == [0]
    assert [len(point.exemplars) for point in waits_in(seldom.get_metrics_data())] == told


def test_the_slowest_of_a_bucket_is_kept_until_it_was_read() -> None:
    """Then the next takes its place, however fast; pools that are gone are forgotten."""
    exemplars = Exemplars(WAIT, AlwaysOnExemplarFilter())

    def kept() -> list[float]:
        return [exemplar.value for exemplar in exemplars.between(0, time.time_ns(), "db")]

    for seconds in (0.07, 0.09, 0.08, 0.0001):
        exemplars.record(seconds, {POOL: "db"})
    assert kept() == [0.0001, 0.09]
    exemplars.were_read(time.time_ns(), {"db"})
    exemplars.record(0.06, {POOL: "db"})
    assert kept() == [0.0001, 0.06]
    exemplars.were_read(time.time_ns(), {"another"})
    assert kept() == []


@pytest.mark.parametrize(
    ("exemplar_filter", "has_ids"), [(AlwaysOffExemplarFilter(), []), (AlwaysOnExemplarFilter(), [False])]
)
async def test_the_sdks_filter_says_what_becomes_an_exemplar(
    exemplar_filter: ExemplarFilter, has_ids: list[bool], wires: Wires, make_pool: Pools
) -> None:
    """None at all, or also those that no trace belongs to."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], exemplar_filter=exemplar_filter, shutdown_on_exit=False)
    bridge(provider)
    pool = make_pool(strategy=wires, observers=[OTelObserver(meter_provider=provider, spans="off")])
    await borrow(pool)
    (point,) = waits_in(reader.get_metrics_data())
    assert [exemplar.span_id is not None for exemplar in point.exemplars] == has_ids


async def test_attributes_that_a_view_leaves_out_stay_on_the_exemplars(wires: Wires, make_pool: Pools) -> None:
    """Which is what tells the pools of one series apart."""
    telemetry = Telemetry(views=VIEWS["fewer attributes"])
    bridge(telemetry.meter_provider)
    for name in ("first", "second"):
        pool = make_pool(strategy=wires, name=name, observers=[telemetry.observer(attributes={"tier": "gold"})])
        await borrow(pool)
    (point,) = telemetry.histograms(WAIT)
    assert dict(point.attributes or {}) == {"tier": "gold"}
    assert [dict(each.filtered_attributes or {}) for each in point.exemplars] == [{POOL: "first"}, {POOL: "second"}]


@pytest.mark.parametrize(
    "aggregation", [ExponentialBucketHistogramAggregation(), ExplicitBucketHistogramAggregation([0.001, 0.2])]
)
async def test_what_cannot_be_made_of_the_pools_buckets_is_left_to_the_sdk(
    aggregation: Aggregation, wires: Wires, make_pool: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning that names it; every duration is recorded as without the bridge."""
    telemetry = Telemetry(views=[View(instrument_name=USE, aggregation=aggregation)])
    bridge(telemetry.meter_provider)
    pool = make_pool(strategy=wires, observers=[telemetry.observer()])
    await borrow(pool)
    assert [record.getMessage() for record in caplog.records] == [
        f"bridge() changes nothing: a view or reader wants other buckets than it can make of {USE}"
    ]
    assert pool.stats().use is None
    (point,) = telemetry.metrics()[USE].data.data_points
    assert isinstance(point, HistogramDataPoint | ExponentialHistogramDataPoint)
    assert point.count == 1
    assert telemetry.histograms(WAIT)[0].count == 1


async def test_a_late_reader_that_wants_other_buckets_gets_the_pools(wires: Wires, make_pool: Pools) -> None:
    """When the bridge was built, nobody could know of it."""
    telemetry = Telemetry()
    bridge(telemetry.meter_provider)
    late = InMemoryMetricReader(preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()})
    telemetry.meter_provider.add_metric_reader(late)
    await borrow(make_pool(strategy=wires, observers=[telemetry.observer()]))
    (point,) = waits_in(late.get_metrics_data())
    assert tuple(point.explicit_bounds) == BOUNDS


async def test_an_sdk_that_is_another_inside_is_left_as_it_is(
    telemetry: Telemetry, wires: Wires, make_pool: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning names what is missing."""
    del telemetry.meter_provider._measurement_consumer._sdk_config
    bridge(telemetry.meter_provider)
    assert "does not know this version of opentelemetry-sdk" in caplog.text
    assert "_sdk_config" in caplog.text
    assert not instruments_of(telemetry.meter_provider).bridged


@pytest.mark.parametrize("spans", ["waits", "off"])
def test_an_sdk_that_is_configured_after_the_observer_is_bridged_all_the_same(spans: str) -> None:
    """By its global name; from then on the pool that was there before keeps its durations itself."""
    lines = in_a_process_of_its_own(f"""
        from instrumented_pool_otel.sdk import bridge
        early = pool("early", spans="{spans}")
        reader, exporter = sdk()
        bridge()
        late = pool("late", spans="{spans}")
        for each in (early, late):
            print(each.stats().wait is not None, each._bus.on_acquired_at_once)
            asyncio.run(borrow(each))
        report(reader)
        """)
    assert sorted(lines) == sorted(
        [
            *["True ()"] * 2,
            *(f"db.client.connection.{each}" for each in ("max early ", "max late ")),
            *(f"db.client.connection.{each}" for each in ("wait_time early 1", "wait_time late 1")),
        ]
    )


def test_without_an_sdk_the_bridge_says_so_and_does_nothing() -> None:
    """Its one line would do for an application that is sometimes run without."""
    lines = in_a_process_of_its_own("""
        import logging
        from instrumented_pool_otel.sdk import bridge
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        bridge()
        asyncio.run(borrow(pool("db")))
        """)
    assert lines == ["bridge() found no SDK: call it after the SDK is configured, or pass the SDK's MeterProvider"]


def test_a_disabled_sdk_is_left_disabled() -> None:
    """As its environment variable has it."""
    lines = in_a_process_of_its_own("""
        import os
        os.environ["OTEL_SDK_DISABLED"] = "true"
        from instrumented_pool_otel.sdk import bridge
        reader, exporter = sdk()
        bridge()
        db = pool("db")
        asyncio.run(borrow(db))
        print(reader.get_metrics_data(), db.stats().wait)
        """)
    assert lines == ["None None"]


def test_a_missing_sdk_is_named() -> None:
    """Instead of a bare ModuleNotFoundError; the observer alone needs none."""
    script = (
        "import sys; sys.modules['opentelemetry.sdk'] = None; "
        "import instrumented_pool_otel; import instrumented_pool_otel.sdk"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == (
        "ImportError: instrumented_pool_otel.sdk needs opentelemetry-sdk: pip install 'instrumented-pool[otel-sdk]'"
    )


def test_what_is_no_sdk_is_refused() -> None:
    """By its type."""
    with pytest.raises(TypeError, match="meter_provider must be a MeterProvider of the SDK, got NoOpMeterProvider"):
        bridge(NoOpMeterProvider())  # type: ignore[arg-type]


class Broken(ConnectionPool[Wire]):
    """Cannot say how it is, once it is broken."""

    broken = False

    def stats(self) -> PoolStats:
        if self.broken:
            raise RuntimeError("broken")
        return super().stats()


async def test_a_bridge_that_fails_does_not_take_the_applications_metrics_with_it(
    telemetry: Telemetry, wires: Wires, caplog: pytest.LogCaptureFixture
) -> None:
    """They are collected as ever, and the log says so once."""
    bridge(telemetry.meter_provider)
    telemetry.meter_provider.get_meter("application").create_counter("orders").add(1)
    pool = Broken(strategy=wires, max_size=1, observers=[telemetry.observer()])
    pool.broken = True
    for _ in range(2):
        assert telemetry.numbers("orders") == {frozenset(): 1}
    pool.broken = False
    assert "db.client.connection.max" in telemetry.metrics()
    assert [record.name for record in caplog.records if "the bridge failed" in record.message] == ["instrumented_pool"]


async def test_a_bridged_provider_that_is_gone_is_forgotten() -> None:
    """The bridge keeps neither the provider nor its readers alive."""
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    bridge(provider)
    gone = weakref.ref(provider)
    del provider
    gc.collect()
    assert gone() is None


class Held(ConnectionPool[Wire]):
    """The bridge's look at it, which follows the SDK's, takes until `go` is set; the first one."""

    asked = 0

    def stats(self) -> PoolStats:
        stats = super().stats()
        self.asked += 1
        if self.asked == 2:
            self.looking.set()
            self.go.wait(5)
        return stats

    looking = threading.Event()
    go = threading.Event()


async def test_a_thread_that_flushes_waits_for_the_one_that_is_flushing(wires: Wires) -> None:
    """Or the first, with numbers older than what the second has told already, would take durations back."""
    exporter = Sent()
    provider = MeterProvider([reader := PeriodicExportingMetricReader(exporter, HOUR)], shutdown_on_exit=False)
    bridge(provider)
    async with Held(strategy=wires, max_size=1, observers=[OTelObserver(meter_provider=provider)]) as pool:
        await borrow(pool)
        threads = [threading.Thread(target=reader.force_flush) for _ in range(2)]
        threads[0].start()
        assert Held.looking.wait(5)
        await borrow(pool)
        threads[1].start()
        threads[1].join(0.1)  # it is either held up or has told by then; on a slow machine, neither
        Held.go.set()
        for thread in threads:
            thread.join()
    provider.shutdown()
    assert [point.count for batch in exporter.batches for point in waits_in(batch)] == [1, 1]


async def test_collecting_threads_and_a_busy_pool_lose_no_duration(wires: Wires, make_pool: Pools) -> None:
    """A delta reader is read as often as can be, another flushed by two threads: what each is told adds up."""
    pulled, exporter = reading(AggregationTemporality.DELTA), Sent()
    pushed = PeriodicExportingMetricReader(exporter, HOUR)
    provider = MeterProvider([pulled, pushed], shutdown_on_exit=False)
    bridge(provider)
    pool = make_pool(strategy=wires, burst_limit=50, observers=[OTelObserver(meter_provider=provider, spans="off")])
    over = threading.Event()
    told: list[HistogramDataPoint] = []

    def read_until_over() -> None:
        while not over.is_set():
            told.extend(waits_in(pulled.get_metrics_data()))

    def flush_until_over() -> None:
        while not over.is_set():
            pushed.force_flush()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [asyncio.to_thread(work) for work in (read_until_over, flush_until_over, flush_until_over)]
        working = asyncio.gather(*threads)
        for _ in range(20):
            await asyncio.gather(*(borrow(pool) for _ in range(100)))
        over.set()
        await working
    finally:
        over.set()
        sys.setswitchinterval(interval)
    told += waits_in(pulled.get_metrics_data())
    provider.shutdown()
    sent = [point for batch in exporter.batches for point in waits_in(batch)]
    assert [sum(point.count for point in points) for points in (told, sent)] == [2000, 2000]
    assert all(count >= 0 for point in (*told, *sent) for count in point.bucket_counts)
