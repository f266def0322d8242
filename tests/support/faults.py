"""An hour of a service in virtual time: a real pool under load and a fault, and what Prometheus scrapes of it.

The service is healthy for ten minutes, has its fault for half an hour, and is healthy again.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from random import Random
from typing import Any, TypeAlias
from unittest.mock import patch

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from instrumented_pool import ConnectionPool, PoolError, _bus, _pool
from instrumented_pool.testing import ChaosStrategy, FakeConnection, FakeStrategy
from instrumented_pool_otel import OTelObserver
from instrumented_pool_prometheus import PoolCollector

from .fakes import Pool
from .promtest import History, Scraped
from .virtual import CLOCK, START, VirtualLoop, steps

MINUTE = 60.0
BEGINS, ENDS, OVER = 10 * MINUTE, 40 * MINUTE, 60 * MINUTE  # of the fault, and of the hour
Fault: TypeAlias = "Callable[[Service], Coroutine[Any, Any, None]]"

SCRAPE = 15  # seconds
JOBS: tuple[str, ...] = ("ours", "theirs")  # from PoolCollector, and from OpenTelemetry's SDK
INSTANCE = "orders-1"
EXPORT = 60  # seconds between two exports of OpenTelemetry's SDK, by default

ARRIVALS = 5.0  # callers a second, on average
USE = 0.4  # seconds that a healthy server takes for a query, on average
CONNECT = 0.04  # seconds that connecting takes, at most
SURGE, SURGE_EVERY = 10, 5 * MINUTE  # callers at once, besides
HANGS_UP = 0.0005  # share of callers who are cancelled


class Traces:
    """Gives the ids of the current trace, for exemplars; while it is `broken`, it raises."""

    def __init__(self) -> None:
        self.broken = False
        self._number = count()

    def __call__(self) -> dict[str, str]:
        if self.broken:
            raise LookupError("no tracer")
        return {"trace_id": f"{next(self._number):032x}"}


class Service:
    """A service with one pool, the server that it dials, and its telemetry. A fault sets the attributes.

    Attributes:
        dials: the connections.
        network: the way to the server.
        slowness: how many times longer than healthy a query takes.
        traces: what the exemplars ask.
        exposed: whether its metrics are shown.
        scrapes: what is shown, by the job that Prometheus scrapes it as.
    """

    def __init__(self) -> None:
        self.dials = FakeStrategy()
        self.network = ChaosStrategy(self.dials, connect_delay=CONNECT)
        self.slowness = 1.0
        self.traces = Traces()
        self.exposed = True
        self._random = Random(5)
        self._tasks: set[asyncio.Task[None]] = set()
        self.start()

    def start(self) -> None:
        """Begin, or begin again as a new process does: with counters at nought."""
        ours, theirs = CollectorRegistry(), CollectorRegistry()
        collector = PoolCollector(trace_ids=self.traces)
        ours.register(collector)
        provider = MeterProvider([PrometheusMetricReader(registry=theirs)], shutdown_on_exit=False)
        self.scrapes = dict(zip(JOBS, (ours, theirs), strict=True))
        self.pool: Pool = ConnectionPool(
            strategy=self.network,
            name="orders",
            max_size=8,
            burst_limit=28,
            min_size=2,
            acquire_timeout=5.0,
            max_lifetime=10 * MINUTE,
            idle_timeout=4 * MINUTE,
            close_errors="observe",
            leak_after=30.0,
            observers=[collector, OTelObserver(meter_provider=provider, spans="off")],
        )

    def cut(self) -> None:
        """Break every connection that there is."""
        for conn in self.dials.created:
            conn.dead = True

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run it beside the rest, until the hour is over at most."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def load(self) -> None:
        """Callers at random times, of whom some hang up."""
        while True:
            await asyncio.sleep(self._random.expovariate(ARRIVALS))
            task = self.spawn(self._call())
            if self._random.random() < HANGS_UP:
                asyncio.get_running_loop().call_later(USE / 2, task.cancel)

    async def surges(self) -> None:
        """Callers all at once, now and then."""
        while True:
            await asyncio.sleep(SURGE_EVERY)
            for _ in range(SURGE):
                self.spawn(self._call())

    async def _call(self) -> None:
        """One request, with a query that fails when its connection breaks."""
        with suppress(PoolError, ConnectionError):
            async with self.pool.get_connection() as conn:
                _check(conn)
                await asyncio.sleep(self._random.expovariate(1 / (USE * self.slowness)))
                _check(conn)

    async def stop(self) -> None:
        """End everything."""
        for task in list(self._tasks):
            task.cancel()
        await steps()
        await self.pool.close()


def _check(conn: FakeConnection) -> None:
    if conn.dead:
        raise ConnectionResetError("the connection is gone")


# ------------------------------------------------------------------ faults: each is cancelled when its time is over


async def healthy(service: Service) -> None:
    """No fault: callers who hang up, surges, connections that age, and in the middle a new release."""
    await asyncio.sleep(15 * MINUTE)
    before = service.pool
    service.start()
    await before.close()


async def pool_too_small(service: Service) -> None:
    """Somebody sets both limits to what the load needs on average, and so to less than it needs at times."""
    with _changed(service.pool, max_size=2, burst_limit=2):
        await _for_ever()


async def server_slow(service: Service) -> None:
    """Queries take seven times as long, dials six: it takes more connections than are kept, but no more than may be."""
    with _changed(service, slowness=7.0), _changed(service.network, connect_delay=6 * CONNECT):
        await _for_ever()


async def server_down(service: Service) -> None:
    """Connections break and new ones are refused."""
    with _changed(service.network, connect_failures=1.0):
        service.cut()
        await _for_ever()


async def leak(service: Service) -> None:
    """Every ten minutes a task takes a connection and never gives it back."""
    while True:
        service.spawn(_keep(service))
        await asyncio.sleep(10 * MINUTE)


async def hung_close(service: Service) -> None:
    """What the pool closes, because it is old or its caller hung up, does not end."""
    with _changed(service.network, hung_closes=1.0):
        await _for_ever()


async def flapping_network(service: Service) -> None:
    """Twice a minute everything that is connected breaks, and for a moment nobody can connect."""
    while True:
        with _changed(service.network, connect_failures=1.0):
            service.cut()
            await asyncio.sleep(0.15)
        await asyncio.sleep(30)


async def failing_observer(service: Service) -> None:
    """The function that gives the exemplars their trace ids raises."""
    with _changed(service.traces, broken=True):
        await _for_ever()


async def lost_metrics(service: Service) -> None:
    """The pools are shown no more; a release has lost the line that registers the collector."""
    with _changed(service, exposed=False):
        await _for_ever()


@contextmanager
def _changed(what: object, **values: object) -> Iterator[None]:
    before = {name: getattr(what, name) for name in values}
    for name, value in values.items():
        setattr(what, name, value)
    try:
        yield
    finally:
        for name in reversed(before):  # a soft limit may not be above a hard one
            setattr(what, name, before[name])


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def _keep(service: Service) -> None:
    async with service.pool.get_connection():
        await _for_ever()


# ------------------------------------------------------------------ the hour


def hour_of(fault: Fault) -> History:
    """What Prometheus would have scraped in an hour with `fault` in it."""
    history = History()
    loop = VirtualLoop()
    loop.set_exception_handler(loop.complain)
    CLOCK.seconds = START
    with ExitStack() as stack:
        for module in (_bus, _pool):
            stack.enter_context(patch.object(module, "monotonic", CLOCK.now))
        stack.enter_context(patch("random.random", Random(7).random))
        loop.run_until_complete(_hour(fault, Service(), history))
    loop.close()
    assert not loop.complaints, loop.complaints
    return history


async def _hour(fault: Fault, service: Service, history: History) -> None:
    for work in (service.load(), service.surges(), _scrape(service, history)):
        service.spawn(work)
    hour = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(OVER, hour.set_result, None)
    await asyncio.sleep(BEGINS)
    with suppress(TimeoutError):
        await asyncio.wait_for(fault(service), ENDS - BEGINS)
    await hour
    await service.stop()


async def _scrape(service: Service, history: History) -> None:
    """As Prometheus does; what a collector shows of OpenTelemetry's SDK is as old as the last export."""
    exported: list[Scraped] = []
    for number in count():
        if number % (EXPORT // SCRAPE) == 0:
            exported = list(_shown(service, "theirs"))
        up: list[Scraped] = [("up", {"job": job, "instance": INSTANCE}, 1) for job in JOBS]
        history.add([*up, *_shown(service, "ours"), *exported] if service.exposed else up)
        await asyncio.sleep(SCRAPE)


def _shown(service: Service, job: str) -> Iterable[Scraped]:
    """The text that is sent, read back."""
    text = generate_latest(service.scrapes[job]).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, {"job": job, "instance": INSTANCE, **sample.labels}, sample.value
