"""Exemplars: whose trace a bucket leads to, and what becomes of ids that are none."""

import asyncio
import gc
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import count

import pytest
from opentelemetry.trace import format_span_id, format_trace_id
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.samples import Exemplar

from instrumented_pool import BOUNDS, ConnectionPool, PoolTimeoutError
from instrumented_pool.trace_ids import TraceIds
from instrumented_pool_prometheus import PoolCollector
from support.clock import Clock
from support.pages import DOCS, block, run_block
from support.telemetry import Pools, Telemetry, Wire, Wires, borrow, hears_of_idle_acquires, until

WAIT = "db_client_connection_wait_time_seconds"
USE = "db_client_connection_use_time_seconds"
CREATE = "db_client_connection_create_time_seconds"
TIMEOUTS = "db_client_connection_timeouts"

PAGE = DOCS / "exporters" / "prometheus.md"
current_trace: TraceIds = run_block(PAGE, "def current_trace")["current_trace"]


def scraping(collector: PoolCollector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=True)
    registry.register(collector)
    return registry


def opened(registry: CollectorRegistry) -> str:
    text: str = openmetrics.generate_latest(registry).decode()  # type: ignore[no-untyped-call]  # as it is published
    return text


def exemplars(registry: CollectorRegistry, family: str, pool: str = "pool") -> list[Exemplar]:
    """Those that the strict parser finds in an OpenMetrics scrape, in the order of the buckets."""
    families = parse_openmetrics(opened(registry))  # type: ignore[no-untyped-call]
    return [
        sample.exemplar
        for each in families
        if each.name == family
        for sample in each.samples
        if sample.exemplar and sample.labels["db_client_connection_pool_name"] == pool
    ]


async def traced(telemetry: Telemetry, name: str, action: Awaitable[object]) -> None:
    """Do it in a span."""
    with telemetry.tracer.start_as_current_span(name):
        await action


def ids(telemetry: Telemetry, name: str) -> dict[str, str]:
    """The ids of the only span of that name."""
    context = telemetry.span(name).context
    assert context is not None
    return {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}


async def queue_behind(pool: ConnectionPool[Wire], waiter: Awaitable[object], clock: Clock) -> None:
    """Hold the only connection while the waiter queues, for longer than an exemplar is fresh."""
    async with pool.get_connection():
        task = asyncio.ensure_future(waiter)
        await until(lambda: pool.stats().waiting == 1)
        clock.ahead += 1.5
    await task


async def test_each_exemplar_leads_to_whom_it_concerns(
    telemetry: Telemetry, wires: Wires, make_pool: Pools, clock: Clock
) -> None:
    """The function of the page, beside the real SDK: the caller that queued, the holder it waited for, the asker."""
    collector = PoolCollector(trace_ids=current_trace)
    registry = scraping(collector)
    pool = make_pool(strategy=wires, observers=[collector])
    began = time.time()
    waiter = traced(telemetry, "waiter", borrow(pool))
    await traced(telemetry, "holder", queue_behind(pool, waiter, clock))
    (create,), (use,) = exemplars(registry, CREATE), exemplars(registry, USE)
    connected, waited = exemplars(registry, WAIT)
    assert create.labels == use.labels == connected.labels == ids(telemetry, "holder")
    assert waited.labels == ids(telemetry, "waiter")
    assert connected.value < 1.5 <= waited.value
    for each in (create, use, connected, waited):
        assert each.timestamp is not None
        assert began <= float(each.timestamp) <= time.time()


async def test_a_timeout_leads_to_the_caller_that_gave_up(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """And to no other failure."""
    collector = PoolCollector(trace_ids=current_trace)
    registry = scraping(collector)
    pool = make_pool(strategy=wires, observers=[collector])
    async with pool.get_connection():
        with telemetry.tracer.start_as_current_span("impatient"), pytest.raises(PoolTimeoutError):
            async with pool.get_connection(timeout=0):
                pass
        with telemetry.tracer.start_as_current_span("cancelled"):
            cancelled = asyncio.create_task(borrow(pool))
            await until(lambda: pool.stats().waiting == 1)
            cancelled.cancel()
            await asyncio.wait({cancelled})
    (exemplar,) = exemplars(registry, TIMEOUTS)
    assert (exemplar.labels, exemplar.value) == (ids(telemetry, "impatient"), 1)


async def test_the_text_format_has_no_exemplars(wires: Wires, make_pool: Pools) -> None:
    """Which it does not know: a scrape of the old kind is as it was."""
    collector = PoolCollector(trace_ids=lambda: {"trace_id": "beef"})
    registry = scraping(collector)
    await borrow(make_pool(strategy=wires, observers=[collector]))
    assert ' # {trace_id="beef"} ' in opened(registry)
    assert "beef" not in generate_latest(registry).decode()


async def test_an_exemplar_looks_as_on_the_page(telemetry: Telemetry, wires: Wires, make_pool: Pools) -> None:
    """Apart from the numbers and the bucket."""
    collector = PoolCollector(trace_ids=current_trace)
    registry = scraping(collector)
    await traced(telemetry, "caller", borrow(make_pool(strategy=wires, name="orders", observers=[collector])))
    (line,) = [each for each in opened(registry).splitlines() if each.startswith(f"{WAIT}_bucket") and "#" in each]
    assert faceless(line) == faceless(block(PAGE, "", f"{WAIT}_bucket").strip())


def faceless(line: str) -> str:
    """A line of a scrape without its numbers."""
    return re.sub(r'"[0-9a-f.]+"|(?<= )[\d.e+-]+', "…", line)


async def test_an_exemplar_lies_in_its_bucket(wires: Wires, make_pool: Pools) -> None:
    """So that a chart of buckets shows it where it belongs."""
    collector = PoolCollector(trace_ids=lambda: {"trace_id": "beef"})
    registry = scraping(collector)
    pool = make_pool(strategy=wires, observers=[collector])
    for delay in (0.0, 0.002, 0.02):
        pool.clear()
        wires.on_create = lambda delay=delay: time.sleep(delay)
        await borrow(pool)
    (family,) = [family for family in registry.collect() if family.name == CREATE]
    found = [(s.exemplar.value, float(s.labels["le"])) for s in family.samples if s.exemplar]
    assert len(found) >= 2
    for seconds, bound in found:
        assert bound == next(each for each in (*BOUNDS, float("inf")) if seconds <= each)


async def test_a_bucket_keeps_the_latest(wires: Wires, make_pool: Pools, clock: Clock) -> None:
    """Yesterday's slowest leads to a trace that is kept no longer."""
    current = ""
    collector = PoolCollector(trace_ids=lambda: {"trace_id": current})
    registry = scraping(collector)
    pool = make_pool(strategy=wires, observers=[collector])
    async with pool.get_connection():
        for current in ("first", "second", "third"):
            with pytest.raises(PoolTimeoutError):
                async with pool.get_connection(timeout=0):
                    pass
            assert [each.labels for each in exemplars(registry, TIMEOUTS)] == [{"trace_id": current}]
            clock.ahead += 1


async def test_an_exemplar_that_is_fresh_is_not_renewed(wires: Wires, make_pool: Pools) -> None:
    """A queue that moves fast asks for a few of its callers only; no scrape would see the others'."""
    asked = count()
    collector = PoolCollector(trace_ids=lambda: {"number": str(next(asked))})
    pool = make_pool(strategy=wires, observers=[collector])
    began = time.monotonic()
    await asyncio.gather(*(borrow(pool) for _ in range(1000)))
    buckets = 3 * (len(BOUNDS) + 1)
    assert next(asked) <= buckets * (1 + time.monotonic() - began)


async def test_without_a_trace_the_exemplar_before_stays(wires: Wires, make_pool: Pools, clock: Clock) -> None:
    """None and nothing are no labels."""
    answers: list[dict[str, str] | None] = [{"trace_id": "beef"}, {"trace_id": "beef"}, None, None, {}, {}]
    collector = PoolCollector(trace_ids=lambda: answers.pop(0))
    registry = scraping(collector)
    pool = make_pool(strategy=wires, observers=[collector])
    for _ in range(3):
        pool.clear()
        await borrow(pool)
        clock.ahead += 1
    assert {each.labels["trace_id"] for each in exemplars(registry, CREATE)} == {"beef"}
    assert not answers


async def test_pools_keep_their_own(wires: Wires, make_pool: Pools) -> None:
    """One collector, two pools; and nothing of it keeps a pool alive."""
    names = iter(["first", "first", "second", "second"])
    collector = PoolCollector(trace_ids=lambda: {"number": next(names)})
    registry = scraping(collector)
    first = make_pool(strategy=wires, name="first", observers=[collector])
    second = ConnectionPool(strategy=wires, max_size=1, name="second", observers=[collector])
    await borrow(first)
    await borrow(second)
    assert [each.labels for each in exemplars(registry, CREATE, "first")] == [{"number": "first"}]
    assert [each.labels for each in exemplars(registry, CREATE, "second")] == [{"number": "second"}]
    await second.close()
    del second
    await asyncio.sleep(0)  # the task that made the connection lets go of the pool
    gc.collect()
    assert exemplars(registry, CREATE, "second") == []


async def test_an_acquire_that_finds_a_connection_idle_asks_nothing(wires: Wires, make_pool: Pools) -> None:
    """Nor does its release: the pool does not call the collector at all."""
    asked: list[None] = []
    collector = PoolCollector(trace_ids=lambda: asked.append(None))
    pool = make_pool(strategy=wires, observers=[collector])
    await borrow(pool)
    asked.clear()
    for _ in range(10):
        await borrow(pool)
    assert not asked
    assert not hears_of_idle_acquires(pool)


def raises() -> Mapping[str, str]:
    raise LookupError("no tracer")


@pytest.mark.parametrize(
    ("trace_ids", "message"),
    [
        (raises, "LookupError: no tracer"),
        (lambda: ["trace_id"], "TypeError: trace_ids must return a mapping of str to str, or None, got list"),
        (lambda: {"trace_id": 7}, "TypeError: trace_ids must return a mapping of str to str, got one of str to int"),
        (lambda: {"trace-id": "7"}, "ValueError: the trace id 'trace-id' is no label of Prometheus"),
        (lambda: {"trace_id": "\ud800"}, "ValueError: the trace id 'trace_id' is no label of Prometheus, or its value"),
        (lambda: {"trace_id": "7" * 121}, "ValueError: an exemplar may have 128 characters in its names and values"),
    ],
)
async def test_ids_that_are_none_cost_the_exemplar_and_nothing_else(
    trace_ids: Callable[[], object],
    message: str,
    wires: Wires,
    make_pool: Pools,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The callers are served, the scrape can be read, the log says it once for each hook."""
    collector = PoolCollector(trace_ids=trace_ids)  # type: ignore[arg-type]  # that is what is tried
    registry = scraping(collector)
    pool = make_pool(strategy=wires, observers=[collector])
    for _ in range(3):
        pool.clear()
        await queue_behind(pool, borrow(pool), clock)
    for family in (WAIT, USE, CREATE):
        assert exemplars(registry, family) == []
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == len({"on_acquired", "on_created", "on_released"})
    assert all(message in each for each in said)
    assert pool.stats().observer_errors > len(said)


async def test_openmetrics_limit_is_met_exactly(wires: Wires, make_pool: Pools) -> None:
    """128 characters, whatever bytes they take."""
    labels = {"trace_id": "é" * 120}
    collector = PoolCollector(trace_ids=lambda: labels)
    registry = scraping(collector)
    await borrow(make_pool(strategy=wires, observers=[collector]))
    assert [each.labels for each in exemplars(registry, CREATE)] == [labels]


async def asynchronous() -> None: ...


@pytest.mark.parametrize(("what", "got"), [("current_trace", "str"), (asynchronous, "an async def")])
def test_what_cannot_be_asked_is_refused_at_once(what: object, got: str) -> None:
    """Not at the first wait."""
    with pytest.raises(TypeError, match=f"trace_ids must be a plain function .* or None; got {got}"):
        PoolCollector(trace_ids=what)  # type: ignore[arg-type]  # that is what is tried
