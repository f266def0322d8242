"""The demo's story, and one act more, as a real Prometheus sees it through both exporters."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from opentelemetry import trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from instrumented_pool import ConnectionPool, Observer, PoolCleared
from instrumented_pool._demo._recorder import Recorder
from instrumented_pool._demo._stage import BURST_LIMIT, MAX_SIZE, Stage, TracedRedis
from instrumented_pool._demo._story import ACTS, LEAK_AFTER
from instrumented_pool._servers import Proxy, Valkey
from instrumented_pool.testing import ChaosStrategy
from instrumented_pool_otel import OTelObserver
from instrumented_pool_prometheus import PoolCollector
from support.prometheus import Prometheus
from support.registries import served
from support.telemetry import Telemetry

CALM, SURGE, STALL, FORGET, KILL, BREAK = range(6)


@dataclass
class Story:
    """A pool whose bad day Prometheus sees from both exporters: as the jobs `ours` and `theirs`.

    Attributes:
        prometheus: which answers, during the story and after.
        collector: of what `ours` shows, which may have other pools beside.
        stage: of the demo's acts.
        chaos: makes the connections.
        telemetry: has the spans.
        acts: when each act that was played began and ended.
    """

    prometheus: Prometheus
    collector: PoolCollector
    stage: Stage
    chaos: ChaosStrategy[Redis]
    telemetry: Telemetry
    acts: list[tuple[float, float]] = field(default_factory=list)

    async def play(self) -> None:
        """Play the demo's five acts, and one in which closes hang and an observer raises.

        Each lasts until it was scraped twice more, which makes a rate of whatever happened last.
        """
        await self.prometheus.scraped()
        await self._connect(4)  # who calls on a calm day finds these; a scrape that saw callers dial would not be calm
        await self.prometheus.scraped()
        for play in (*(act.play for act in ACTS), self._break):
            began = time.time()
            await play(self.stage)
            await self.prometheus.scraped()
            await self.prometheus.scraped()
            self.acts.append((began, time.time()))

    @property
    def traces(self) -> set[str]:
        """The ids of all traces there were."""
        spans = self.telemetry.spans()
        return {trace.format_trace_id(span.context.trace_id) for span in spans if span.context}

    async def _connect(self, count: int) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(count):
                await stack.enter_async_context(self.stage.pool.get_connection())

    async def _break(self, stage: Stage) -> None:
        self.chaos.hung_closes = 1.0
        async with stage.traffic(4):
            stage.pool.clear()
            await stage.sleep(4.0)
        self.chaos.hung_closes = 0.0


class Breakable(Observer):
    """Raises when the pool is cleared."""

    def on_pool_cleared(self, event: PoolCleared) -> None:
        raise RuntimeError("broken")


@asynccontextmanager
async def staged(*, pace: float, every: float) -> AsyncIterator[Story]:
    """Set the story up.

    Args:
        pace: what the demo's durations are multiplied by.
        every: seconds between two scrapes.
    """
    telemetry, ours, theirs = Telemetry(), CollectorRegistry(), CollectorRegistry()
    collector, reader = PoolCollector(trace_ids=current_trace), PrometheusMetricReader(registry=theirs)
    ours.register(collector)
    by_otel = OTelObserver(
        tracer_provider=telemetry.tracer_provider,
        meter_provider=MeterProvider([reader], shutdown_on_exit=False),
        spans="waits",
    )
    async with AsyncExitStack() as stack:
        ports = {name: stack.enter_context(served(each)) for name, each in (("ours", ours), ("theirs", theirs))}
        prometheus = await stack.enter_async_context(Prometheus(ports, every=every))
        server = await stack.enter_async_context(Valkey())
        proxy = await stack.enter_async_context(Proxy(server.host, server.port))
        recorder = Recorder()
        chaos = ChaosStrategy(
            TracedRedis(telemetry.tracer, f"redis://{proxy.host}:{proxy.port}", socket_connect_timeout=10)
        )
        pool = ConnectionPool(
            strategy=chaos,
            name="orders-cache",
            max_size=MAX_SIZE,
            burst_limit=BURST_LIMIT,
            leak_after=LEAK_AFTER * pace,
            close_timeout=1.0,
            close_errors="observe",
            observers=[by_otel, collector, recorder, Breakable()],
        )
        stack.push_async_callback(pool.close, timeout=1.0)
        stage = Stage(pool, recorder, telemetry.tracer, proxy, server, pace, lambda _: None)
        yield Story(prometheus, collector, stage, chaos, telemetry)


def current_trace() -> dict[str, str]:
    context = trace.get_current_span().get_span_context()
    return {"trace_id": trace.format_trace_id(context.trace_id)} if context.is_valid else {}
