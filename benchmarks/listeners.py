"""Exporters as in an application, but off no machine: metrics to a reader of the SDK, spans to one that drops them."""

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry

from instrumented_pool_otel import OTelObserver
from instrumented_pool_otel.sdk import bridge
from instrumented_pool_prometheus import PoolCollector


def prometheus() -> PoolCollector:
    """Registered, as one that is scraped."""
    collector = PoolCollector()
    CollectorRegistry().register(collector)
    return collector


def otel(spans: Any, bridged: bool = False) -> OTelObserver:
    """With an SDK of its own."""
    meters = MeterProvider(metric_readers=[InMemoryMetricReader()])
    if bridged:
        bridge(meters)
    return OTelObserver(tracer_provider=dropping_tracers(), meter_provider=meters, spans=spans)


def dropping_tracers() -> TracerProvider:
    """All spans are sampled, and go in batches nowhere."""
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(_DropSpans()))
    return tracers


class _DropSpans(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS
