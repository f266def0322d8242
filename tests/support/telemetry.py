"""Pools whose every step a test decides, and OpenTelemetry's real SDK keeping what it is told in memory."""

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, Metric, NumberDataPoint
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from instrumented_pool import ConnectionPool, ConnectionStrategy, Observer, PoolTimeoutError
from instrumented_pool._bus import HOOKS
from instrumented_pool.metrics import Attributes
from instrumented_pool_otel import OTelObserver

Labels: TypeAlias = frozenset[tuple[str, object]]


class Wire:
    """A connection to nothing."""


class Wires(ConnectionStrategy[Wire]):
    """Makes wires, when `gate` is open, unless `error` is set; `on_create` runs in the middle, as a driver would."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = 0
        self.error: Exception | None = None
        self.on_create: Callable[[], object] | None = None

    async def create_connection(self) -> Wire:
        self.asked += 1
        await self.gate.wait()
        if self.on_create is not None:
            self.on_create()
        if self.error is not None:
            raise self.error
        return Wire()

    def connection_is_closed(self, conn: Wire) -> bool:
        return False

    def close_connection(self, conn: Wire) -> None:
        pass


class At(Wires):
    """Says what its wires lead to."""

    def __init__(self, system: str) -> None:
        super().__init__()
        self._system = system

    @property
    def attributes(self) -> Attributes:
        return {"db.system.name": self._system, "server.address": f"{self._system}.example", "server.port": 5432}


class Pools:
    """Makes pools of wires, and closes them when the test is over."""

    def __init__(self) -> None:
        self._made: list[ConnectionPool[Wire]] = []

    def __call__(
        self,
        *,
        strategy: ConnectionStrategy[Wire],
        max_size: int = 1,
        burst_limit: int | None = None,
        name: str = "pool",
        max_waiting: int | None = None,
        observers: Iterable[Observer] = (),
    ) -> ConnectionPool[Wire]:
        """Make a pool."""
        pool = ConnectionPool(
            strategy=strategy,
            max_size=max_size,
            burst_limit=burst_limit,
            name=name,
            max_waiting=max_waiting,
            observers=observers,
        )
        self._made.append(pool)
        return pool

    async def close(self) -> None:
        """Close what was made."""
        for pool in self._made:
            await pool.close()


def hooks_called_by(pool: ConnectionPool[Wire]) -> set[str]:
    """The hooks that somebody listens to."""
    return {hook for hook in HOOKS if getattr(pool._bus, hook)}


def hears_of_idle_acquires(pool: ConnectionPool[Any]) -> bool:
    """Whether somebody is called when a connection lies idle, or goes back to lie idle."""
    bus = pool._bus
    return bool(bus.on_acquire_started or bus.on_acquired_at_once or bus.on_released_to_nobody)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop go round until `condition` holds."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the loop went round a thousand times and the condition does not hold")


async def borrow(pool: ConnectionPool[Wire]) -> None:
    """Acquire and release at once."""
    async with pool.get_connection():
        pass


async def one_queues_and_one_gives_up(pool: ConnectionPool[Wire]) -> "asyncio.Task[None]":
    """To be called while all is lent: return the task that queues, to be awaited when something was given back."""
    waiter = asyncio.create_task(borrow(pool))
    await until(lambda: pool.stats().waiting == 1)
    with pytest.raises(PoolTimeoutError):
        async with pool.get_connection(timeout=0):
            pass
    return waiter


@dataclass
class Telemetry:
    """An SDK of its own for one test."""

    tracer_provider: TracerProvider = field(default_factory=lambda: TracerProvider(shutdown_on_exit=False))
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    views: Sequence[View] = ()

    def __post_init__(self) -> None:
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meter_provider = MeterProvider([self.reader], views=self.views, shutdown_on_exit=False)
        self.tracer = self.tracer_provider.get_tracer("test")

    def observer(self, *, attributes: Attributes | None = None, spans: str = "waits") -> OTelObserver:
        """An observer that reports to this SDK."""
        return OTelObserver(
            tracer_provider=self.tracer_provider,
            meter_provider=self.meter_provider,
            attributes=attributes,
            spans=spans,  # type: ignore[arg-type]  # a test may try what the types refuse
        )

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """The spans that have ended, or those of one name."""
        return [span for span in self.exporter.get_finished_spans() if name is None or span.name == name]

    def span(self, name: str) -> ReadableSpan:
        """The only span of that name."""
        (span,) = self.spans(name)
        return span

    def metrics(self) -> Mapping[str, Metric]:
        """What is collected now, by name."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def numbers(self, name: str) -> dict[Labels, float]:
        """The values of a counter or gauge, collected now."""
        metric = self.metrics().get(name)
        return {} if metric is None else numbers_of(metric)

    def histograms(self, name: str) -> list[HistogramDataPoint]:
        """The points of a histogram, collected now."""
        metric = self.metrics().get(name)
        points = [] if metric is None else metric.data.data_points
        return [point for point in points if isinstance(point, HistogramDataPoint)]


def numbers_of(metric: Metric) -> dict[Labels, float]:
    """The values of a counter or gauge."""
    return {
        frozenset((point.attributes or {}).items()): point.value
        for point in metric.data.data_points
        if isinstance(point, NumberDataPoint)
    }


def parent_id(span: ReadableSpan) -> int | None:
    """The id of the span that `span` is a child of."""
    return None if span.parent is None else span.parent.span_id


def span_id(span: ReadableSpan) -> int:
    """The id of `span` itself."""
    assert span.context is not None
    return int(span.context.span_id)


def trace_id(span: ReadableSpan) -> int:
    """The id of the trace that `span` belongs to."""
    assert span.context is not None
    return int(span.context.trace_id)


def in_a_process_of_its_own(script: str) -> list[str]:
    """Run `script`, which decides what is global in its process, and return the words it prints."""
    prelude = """
        import asyncio, sys
        from instrumented_pool import ConnectionPool, ConnectionStrategy
        from instrumented_pool_otel import OTelObserver

        class Wires(ConnectionStrategy[object]):
            async def create_connection(self): return object()
            def connection_is_closed(self, conn): return False
            def close_connection(self, conn): pass

        async def borrow(pool):
            async with pool, pool.get_connection(): pass

        def pool(name, **settings):
            return ConnectionPool(strategy=Wires(), max_size=1, name=name, observers=[OTelObserver(**settings)])

        def sdk():
            from opentelemetry import metrics, trace
            from opentelemetry.sdk.metrics import MeterProvider
            from opentelemetry.sdk.metrics.export import InMemoryMetricReader
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import SimpleSpanProcessor
            from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
            reader, exporter, tracer_provider = InMemoryMetricReader(), InMemorySpanExporter(), TracerProvider()
            tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
            trace.set_tracer_provider(tracer_provider)
            metrics.set_meter_provider(MeterProvider([reader]))
            return reader, exporter

        def report(reader):
            for metric in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics:
                if metric.name in ("db.client.connection.max", "db.client.connection.wait_time"):
                    for point in metric.data.data_points:
                        print(metric.name, *point.attributes.values(), getattr(point, "count", ""))
        """
    text = textwrap.dedent(prelude) + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-W", "error", "-c", text], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.fixture
def telemetry() -> Telemetry:
    """An SDK of the test's own."""
    return Telemetry()


@pytest.fixture
def wires() -> Wires:
    """A strategy that the test directs."""
    return Wires()


@pytest.fixture
async def make_pool() -> AsyncIterator[Pools]:
    """Makes pools, which are closed after the test."""
    pools = Pools()
    yield pools
    await pools.close()
