"""The demo's exporters: an OpenTelemetry SDK whose spans are kept for the report, and whatever else was asked for."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import Tracer

from instrumented_pool_otel import OTelObserver
from instrumented_pool_otel.sdk import bridge

from .._events import Observer
from .._servers import is_there
from ..redaction import redact
from ._errors import CannotRun


@dataclass(frozen=True)
class Telemetry:
    """What the pool is watched with.

    Attributes:
        tracer: makes the spans of requests, Redis commands and connects.
        observers: the exporters, for the pool.
        spans: every span that has ended, the oldest first.
    """

    tracer: Tracer
    observers: list[Observer]
    spans: deque[ReadableSpan]


class _Keeper(SpanProcessor):
    def __init__(self) -> None:
        self.spans: deque[ReadableSpan] = deque(maxlen=100_000)

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


@asynccontextmanager
async def telemetry(
    attributes: dict[str, str | int], collectors: Iterable[str] = (), *, datadog: bool = False
) -> AsyncIterator[Telemetry]:
    """Set the exporters up, and see everything sent at the end.

    Args:
        attributes: of the pool's server, for its spans and metrics.
        collectors: addresses of OTLP/HTTP collectors to send to.
        datadog: whether to send to the local agent as well.

    Raises:
        CannotRun: nobody is there to be sent to, or an extra is missing.
    """
    keeper = _Keeper()
    resource = Resource.create({"service.name": "instrumented-pool-demo"})
    traces = TracerProvider(resource=resource, shutdown_on_exit=False)
    traces.add_span_processor(keeper)
    readers = [await _send_to(url, traces) for url in collectors]
    metrics = MeterProvider(resource=resource, metric_readers=readers, shutdown_on_exit=False)
    bridge(metrics)
    observers: list[Observer] = [
        OTelObserver(tracer_provider=traces, meter_provider=metrics, attributes=attributes),
    ]
    if datadog:
        observers.append(await _datadog())
    try:
        yield Telemetry(traces.get_tracer("instrumented_pool.demo"), observers, keeper.spans)
    finally:
        # The last batches go out in a thread: a collector that has gone away in the meantime must not hold the loop.
        await asyncio.shield(asyncio.to_thread(_shut_down, traces, metrics))


def _shut_down(traces: TracerProvider, metrics: MeterProvider) -> None:
    traces.shutdown()
    metrics.shutdown(timeout_millis=2_000)


async def _send_to(url: str, traces: TracerProvider) -> MetricReader:
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise CannotRun("--otlp needs OpenTelemetry's exporter: pip install 'instrumented-pool[demo]'") from error

    base = await collector_at(url)
    traces.add_span_processor(
        BatchSpanProcessor(
            OTLPSpanExporter(f"{base}/v1/traces", timeout=2), max_queue_size=20_000, schedule_delay_millis=500
        )
    )
    return PeriodicExportingMetricReader(OTLPMetricExporter(f"{base}/v1/metrics", timeout=2), 2_000, 2_000)


async def collector_at(url: str) -> str:
    """The base address of an OTLP/HTTP collector, seen to be there.

    Raises:
        CannotRun: it is no such address, or nobody listens there.
    """
    base = url.rstrip("/").removesuffix("/v1/traces")
    try:
        parts = urlsplit(base)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts, host, port = urlsplit(""), None, 0
    if parts.scheme not in ("http", "https") or not host:
        raise CannotRun(
            f"--otlp takes the address of an OTLP/HTTP collector, as http://localhost:4318, not {redact(url)!r}"
        )
    if not await is_there(host, port):
        raise CannotRun(f"no collector listens at {host}:{port} (--otlp)")
    return base


async def _datadog() -> Observer:
    try:
        from ddtrace.trace import tracer

        from instrumented_pool_datadog import DatadogObserver
    except ImportError as error:
        raise CannotRun("--datadog needs ddtrace and datadog: pip install 'instrumented-pool[datadog]'") from error
    agent = urlsplit(tracer.agent_trace_url or "")
    if agent.hostname and not await is_there(agent.hostname, agent.port or 8126):
        raise CannotRun(f"no Datadog agent listens at {agent.hostname}:{agent.port} (--datadog; DD_TRACE_AGENT_URL)")
    return DatadogObserver("orders")
