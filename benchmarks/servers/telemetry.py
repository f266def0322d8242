"""The pools' own instrumentation, and ours, each fed to an SDK as in an application."""

from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.metrics import _internal as metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from redis.asyncio.observability import recorder
from redis.observability import MetricGroup, OTelConfig, get_observability_instance

from instrumented_pool import Observer

from ..listeners import dropping_tracers, otel, prometheus
from .contestants import Builders, Contestant


class Telemetry:
    """What watches one peer, from when it is told to until its end."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider(metric_readers=[self.reader])
        self._undo: Callable[[], Any]

    def watch_engine(self, engine: Any) -> None:
        """Use OpenTelemetry's instrumentation of SQLAlchemy: a gauge of its connections, and a span of each query."""
        instrumentor = SQLAlchemyInstrumentor()
        instrumentor.instrument(
            engine=engine,
            tracer_provider=dropping_tracers(),
            meter_provider=self.meters,
            skip_dep_check=True,  # it has yet to say that it knows SQLAlchemy 2.1
        )
        self._undo = instrumentor.uninstrument

    def watch_redis(self) -> None:
        """Use redis-py's own metrics, those of its pools alone. It takes the global provider and no other."""
        metrics._METER_PROVIDER = self.meters  # set_meter_provider() may be called once only
        groups = [MetricGroup.CONNECTION_BASIC, MetricGroup.CONNECTION_ADVANCED]
        get_observability_instance().init(OTelConfig(metric_groups=groups))
        self._undo = _leave_redis

    def end(self) -> None:
        """Watch no more.

        Raises:
            RuntimeError: there was nothing to see, so that nothing was measured either.
        """
        data = self.reader.get_metrics_data()
        self._undo()
        self.meters.shutdown()
        if data is None or not data.resource_metrics:
            raise RuntimeError("a peer's instrumentation is on and reports nothing")


def _leave_redis() -> None:
    get_observability_instance().shutdown()
    recorder.reset_collector()


def ours_observed(ours: Callable[[str, int, Iterable[Observer]], Contestant]) -> Builders:
    """Our pool with nobody listening, with each kind of metrics, and with a span of each wait besides."""
    return {
        "instrumented-pool": lambda url, size: ours(url, size, ()),
        "instrumented-pool, Prometheus": lambda url, size: ours(url, size, [prometheus()]),
        "instrumented-pool, OpenTelemetry": lambda url, size: ours(url, size, [otel("off")]),
        "instrumented-pool, OpenTelemetry's bridge": lambda url, size: ours(url, size, [otel("off", bridged=True)]),
        "instrumented-pool, the bridge and spans": lambda url, size: ours(url, size, [otel("waits", bridged=True)]),
    }
