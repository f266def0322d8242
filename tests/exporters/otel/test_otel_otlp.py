"""What a collector is sent over OTLP/HTTP, decoded from the protobuf."""

import asyncio
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from instrumented_pool import BOUNDS
from instrumented_pool.metrics import COUNTS, DURATIONS
from instrumented_pool_otel import OTelObserver
from instrumented_pool_otel.sdk import bridge
from support.otlp import Receiver, values
from support.telemetry import Pools, Wires, one_queues_and_one_gives_up

SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
TEMPORALITIES = {
    AggregationTemporality.CUMULATIVE: metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE,
    AggregationTemporality.DELTA: metrics_pb2.AGGREGATION_TEMPORALITY_DELTA,
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


async def a_bad_second(
    receiver: Receiver, make_pool: Pools, temporality: AggregationTemporality, bridged: bool
) -> None:
    """A holder, one who waits for it, one who gives up, and the whole exported by the real exporters."""
    resource = Resource({"service.name": "orders"})
    spans = OTLPSpanExporter(endpoint=f"{receiver.endpoint}/v1/traces")
    tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracer_provider.add_span_processor(BatchSpanProcessor(spans))
    metrics = OTLPMetricExporter(
        endpoint=f"{receiver.endpoint}/v1/metrics", preferred_temporality={Histogram: temporality}
    )
    reader = PeriodicExportingMetricReader(metrics, 3_600_000)
    meter_provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    if bridged:
        bridge(meter_provider)
    observer = OTelObserver(
        tracer_provider=tracer_provider, meter_provider=meter_provider, attributes={"server.port": 6379}
    )
    pool = make_pool(strategy=Wires(), name="db", observers=[observer])
    with tracer_provider.get_tracer("test").start_as_current_span("holder"):
        async with pool.get_connection():
            waiter = await one_queues_and_one_gives_up(pool)
    await waiter
    await asyncio.to_thread(tracer_provider.shutdown)
    await asyncio.to_thread(meter_provider.shutdown)


@pytest.mark.parametrize("bridged", [True, False])
@pytest.mark.parametrize("temporality", TEMPORALITIES)
async def test_metrics_arrive_whole(
    receiver: Receiver, make_pool: Pools, temporality: AggregationTemporality, bridged: bool
) -> None:
    """Resource, scope, schema, type, temporality, unit, buckets and exemplars; with the bridge and without."""
    await a_bad_second(receiver, make_pool, temporality, bridged)
    arrived = {metric.name: (resource, scope, metric) for resource, scope, metric in receiver.last_metrics()}
    assert set(arrived) == {each.name for each in (*COUNTS, *DURATIONS)}
    assert len(list(receiver.last_metrics())) == len(arrived)
    for resource, scope, _ in arrived.values():
        assert values(resource.resource.attributes) == {"service.name": "orders"}
        assert (scope.scope.name, scope.scope.version) == ("instrumented_pool", version("instrumented-pool"))
        assert scope.schema_url == SCHEMA
    for count in COUNTS:
        metric = arrived[count.name][2]
        assert (metric.unit, metric.description) == (count.unit, count.description)
        assert metric.WhichOneof("data") == ("gauge" if count.kind == "gauge" else "sum")
        if count.kind != "gauge":
            assert metric.sum.is_monotonic == (count.kind == "counter")
            assert metric.sum.aggregation_temporality == metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
    for duration, expected in zip(DURATIONS, (1, 2, 2), strict=True):
        metric = arrived[duration.name][2]
        assert (metric.unit, metric.description) == (duration.unit, duration.description)
        assert metric.histogram.aggregation_temporality == TEMPORALITIES[temporality]
        (point,) = metric.histogram.data_points
        assert values(point.attributes) == {"db.client.connection.pool.name": "db", "server.port": 6379}
        assert tuple(point.explicit_bounds) == BOUNDS
        assert point.count == sum(point.bucket_counts) == expected
        assert 0 < point.start_time_unix_nano < point.time_unix_nano
        assert (point.HasField("min"), point.HasField("max")) == (not bridged, not bridged)


@pytest.mark.parametrize("bridged", [True, False])
async def test_exemplars_arrive_with_the_ids_of_spans_that_arrive(
    receiver: Receiver, make_pool: Pools, bridged: bool
) -> None:
    """Those of the waits are of `pool.acquire`, that of the creation of `pool.create`, and one use is the holder's."""
    await a_bad_second(receiver, make_pool, AggregationTemporality.CUMULATIVE, bridged)
    names = {(span.trace_id, span.span_id): span.name for _, _, span in receiver.spans()}
    found: dict[str, set[str]] = {}
    for _, _, metric in receiver.last_metrics():
        for point in metric.histogram.data_points:
            exemplars = [names[each.trace_id, each.span_id] for each in point.exemplars]
            found[metric.name] = set(exemplars)
    assert found["db.client.connection.wait_time"] == {"pool.acquire"}
    assert found["db.client.connection.create_time"] == {"pool.create"}
    assert found["db.client.connection.use_time"] == {"holder"}


async def test_spans_arrive_with_links_and_statuses(receiver: Receiver, make_pool: Pools) -> None:
    """The wait's link to the holder among them, with what it says of it."""
    await a_bad_second(receiver, make_pool, AggregationTemporality.CUMULATIVE, True)
    ours = [(scope, span) for _, scope, span in receiver.spans() if span.name.startswith("pool.")]
    for scope, _ in ours:
        assert (scope.scope.name, scope.scope.version) == ("instrumented_pool", version("instrumented-pool"))
        assert scope.schema_url == SCHEMA
    assert sorted(span.name for _, span in ours) == ["pool.acquire"] * 3 + ["pool.create"] + ["pool.wait"] * 2
    (holder,) = (span for _, _, span in receiver.spans() if span.name == "holder")
    (link,) = (link for _, span in ours for link in span.links)
    assert (link.trace_id, link.span_id) == (holder.trace_id, holder.span_id)
    assert set(values(link.attributes)) == {"instrumented_pool.hold_time"}
    failed = [span for _, span in ours if span.status.code == Status.STATUS_CODE_ERROR]
    assert {span.name for span in failed} == {"pool.acquire", "pool.wait"}
    assert {values(span.attributes)["error.type"] for span in failed} == {"timeout"}
    assert receiver.others == []
