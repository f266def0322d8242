"""The demo's story, and one act more, as a real Prometheus sees it through both exporters."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry

from instrumented_pool import ConnectionPool, Observer, PoolCleared
from instrumented_pool._demo._proxy import Proxy
from instrumented_pool._demo._recorder import Recorder
from instrumented_pool._demo._server import Valkey
from instrumented_pool._demo._stage import BURST_LIMIT, MAX_SIZE, Stage, TracedRedis
from instrumented_pool._demo._story import ACTS, LEAK_AFTER
from instrumented_pool.testing import ChaosStrategy
from instrumented_pool_otel import OTelObserver
from instrumented_pool_prometheus import PoolCollector
from support.prometheus import Prometheus
from support.registries import served
from support.telemetry import Telemetry

CALM, SURGE, STALL, FORGET, KILL, BREAK = range(6)


@dataclass(frozen=True)
class Story:
    """What Prometheus saw of a pool's bad day, from both exporters: the jobs `ours` and `theirs`.

    Attributes:
        prometheus: which still answers.
        acts: when each began and ended.
        traces: the ids of all traces there were.
    """

    prometheus: Prometheus
    acts: list[tuple[float, float]]
    traces: set[str]


class Breakable(Observer):
    """Raises when the pool is cleared."""

    def on_pool_cleared(self, event: PoolCleared) -> None:
        raise RuntimeError("broken")


@asynccontextmanager
async def told(*, pace: float, every: float) -> AsyncIterator[Story]:
    """Play the demo's five acts, and one in which closes hang and an observer raises.

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
        strategy = ChaosStrategy(
            TracedRedis(telemetry.tracer, f"redis://{proxy.host}:{proxy.port}", socket_connect_timeout=10)
        )
        pool = ConnectionPool(
            strategy=strategy,
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

        async def breaks(stage: Stage) -> None:
            strategy.hung_closes = 1.0
            async with stage.traffic(4):
                pool.clear()
                await stage.sleep(4.0)
            strategy.hung_closes = 0.0

        await prometheus.scraped()
        plays = [*(act.play for act in ACTS), breaks]
        acts = [await played(play, stage, prometheus) for play in plays]
        traces = {trace.format_trace_id(span.context.trace_id) for span in telemetry.spans() if span.context}
        yield Story(prometheus, acts, traces)


async def played(
    play: Callable[[Stage], Awaitable[object]], stage: Stage, prometheus: Prometheus
) -> tuple[float, float]:
    """Play an act, see it scraped twice, which makes a rate of whatever happened last, and say from when to when."""
    began = time.time()
    await play(stage)
    await prometheus.scraped()
    await prometheus.scraped()
    return began, time.time()


def current_trace() -> dict[str, str]:
    context = trace.get_current_span().get_span_context()
    return {"trace_id": trace.format_trace_id(context.trace_id)} if context.is_valid else {}
