"""A real Prometheus scrapes a pool, and answers with the pool's own figures."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import inf

import pytest
import pytest_asyncio
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest

from instrumented_pool import BOUNDS, ConnectionPool, PoolTimeoutError
from instrumented_pool.metrics import COUNTS
from instrumented_pool_otel import OTelObserver
from instrumented_pool_prometheus import PoolCollector
from support.pages import DOCS
from support.prometheus import Prometheus, promtool
from support.registries import served
from support.telemetry import Wire, Wires, borrow, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = DOCS / "exporters" / "prometheus.md"
NAME = "db_client_connection_pool_name"
RULES = """
groups:
  - name: pool
    rules:
      - alert: CallersGiveUp
        expr: sum without (job, instance) (db_client_connection_timeouts_total{job="ours"}) > 0
      - alert: CallersQueue
        expr: db_client_connection_pending_requests > 0
"""


@dataclass(frozen=True)
class Scene:
    """A pool that has lived through something, and a Prometheus that has scraped it since.

    It was scraped twice: as the job `ours` from the collector, and as `theirs` from OpenTelemetry's own exporter.
    """

    prometheus: Prometheus
    pool: ConnectionPool[Wire]
    registry: CollectorRegistry


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """One for all tests: Prometheus needs five seconds to know its targets."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    reader = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=theirs)
    observer = OTelObserver(meter_provider=MeterProvider([reader], shutdown_on_exit=False), spans="off")
    names = iter(range(10_000))
    collector = PoolCollector(trace_ids=lambda: {"trace_id": f"{next(names):032x}", "span_id": f"{7:016x}"})
    ours.register(collector)
    wires = Wires()
    pool = ConnectionPool(strategy=wires, max_size=2, burst_limit=3, name="db", observers=[observer, collector])
    with ExitStack() as stack:
        ports = {name: stack.enter_context(served(registry)) for name, registry in (("ours", ours), ("theirs", theirs))}
        rules = tmp_path_factory.mktemp("rules") / "rules.yml"
        rules.write_text(RULES)
        async with Prometheus(ports, rules=(rules,)) as prometheus, pool:
            await live(pool, wires)
            async with pool.get_connection():
                await prometheus.scraped()
                await prometheus.scraped()
                yield Scene(prometheus, pool, ours)


async def live(pool: ConnectionPool[Wire], wires: Wires) -> None:
    """Queue, wait for a slow hand-over and a burst, time out, fail to connect."""
    for hold in (0.0, 0.003, 0.03):
        async with pool.get_connection(), pool.get_connection(), pool.get_connection():
            waiters = [asyncio.create_task(borrow(pool)) for _ in range(4)]
            await until(lambda: pool.stats().waiting == 4)
            with pytest.raises(PoolTimeoutError):
                async with pool.get_connection(timeout=0):
                    pass
            await asyncio.sleep(hold)
        await asyncio.gather(*waiters)
    pool.clear()
    wires.error = OSError("no")
    with pytest.raises(OSError, match="no"):
        await borrow(pool)
    wires.error = None
    for _ in range(5):
        await borrow(pool)


async def test_counts_by_state_are_the_pools(scene: Scene) -> None:
    """One connection is lent while Prometheus looks."""
    stats = scene.pool.stats()
    counts = await scene.prometheus.query(
        'sum by (db_client_connection_state) (db_client_connection_count{job="ours"})'
    )
    assert counts == {
        frozenset({("db_client_connection_state", "idle")}): stats.idle,
        frozenset({("db_client_connection_state", "used")}): stats.in_use,
    }
    assert stats.in_use == 1


async def test_timeouts_failures_and_bursts_are_the_pools(scene: Scene) -> None:
    """Counted, not estimated."""
    stats = scene.pool.stats()
    for promql, value in (
        ("db_client_connection_timeouts_total", stats.failed["timeout"]),
        ('instrumented_pool_acquires_total{instrumented_pool_acquire_outcome="timeout"}', stats.failed["timeout"]),
        ('instrumented_pool_creates_total{instrumented_pool_create_outcome="failed"}', stats.create_errors),
        ("instrumented_pool_bursts_total", stats.bursts),
        ('sum(instrumented_pool_acquires_total{job="ours"})', stats.acquires),
    ):
        ours = promql if "sum" in promql else f'{promql.rstrip("}")}{"," if "{" in promql else "{"}job="ours"}}'
        assert await scene.prometheus.value(ours) == value > 0, promql


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
async def test_quantiles_are_the_pools(scene: Scene, q: float) -> None:
    """`histogram_quantile` and `Distribution.quantile()` agree to the digit, for each of the three."""
    stats = scene.pool.stats()
    for name, distribution in (("wait", stats.wait), ("use", stats.use), ("create", stats.create)):
        bucket = f'db_client_connection_{name}_time_seconds_bucket{{job="ours"}}'
        assert distribution is not None
        assert await scene.prometheus.value(f"histogram_quantile({q}, {bucket})") == pytest.approx(
            distribution.quantile(q)
        )


async def test_prometheus_sees_no_difference_to_opentelemetrys_exporter(scene: Scene) -> None:
    """The same series from both, with the same labels and values, but for a duration that grows between two scrapes."""
    pattern = '{{__name__=~"db_client_.*|instrumented_pool_.*",__name__!="{other}",job="{job}"}}'
    ours, theirs = [
        await scene.prometheus.query(pattern.format(job=job, other="instrumented_pool_oldest_hold_seconds"))
        for job in ("ours", "theirs")
    ]
    assert len(ours) > len(COUNTS) + 3 * len(BOUNDS)
    assert ours == pytest.approx(theirs)


async def test_exemplars_come_back_with_the_pools_buckets(scene: Scene) -> None:
    """Of waits, uses, creations and time-outs; each lies in the bucket it is kept for."""
    for metric in (
        "db_client_connection_wait_time_seconds_bucket",
        "db_client_connection_use_time_seconds_bucket",
        "db_client_connection_create_time_seconds_bucket",
        "db_client_connection_timeouts_total",
    ):
        found = await scene.prometheus.exemplars(f'{metric}{{job="ours"}}')
        assert found, metric
        for exemplar in found:
            assert exemplar.series[NAME] == "db"
            assert re.fullmatch("[0-9a-f]{32}", exemplar.labels["trace_id"])
            assert exemplar.labels["span_id"] == f"{7:016x}"
            if metric.endswith("_bucket"):
                assert float(exemplar.series["le"]) == next(le for le in (*BOUNDS, inf) if exemplar.value <= le)


async def test_the_queries_on_the_page_have_answers(scene: Scene) -> None:
    """Each is one that Prometheus understands and has data for."""
    queries = re.findall(r"^\| [^|]*\? \| `(.*)` \|$", PAGE.read_text(), re.MULTILINE)
    assert len(queries) == 4
    for promql in queries:
        assert await scene.prometheus.query(promql), promql


async def test_an_alert_fires_on_what_was_scraped(scene: Scene) -> None:
    """And only the one: callers gave up before, and nobody queues now."""
    async with asyncio.timeout(30):
        while not (alerts := await scene.prometheus.query('ALERTS{alertstate="firing"}')):
            await asyncio.sleep(0.05)
    (alert,) = map(dict, alerts)
    assert (alert["alertname"], alert[NAME]) == ("CallersGiveUp", "db")


async def test_promtool_objects_to_nothing_but_opentelemetrys_name(scene: Scene) -> None:
    """The conventions call a gauge `count`."""
    done = promtool("check", "metrics", reads=generate_latest(scene.registry).decode())
    complaints = done.stderr.splitlines()
    assert [line.split()[0] for line in complaints] == ["db_client_connection_count"]
    assert '"_count" suffix' in complaints[0]
