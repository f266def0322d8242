"""What it costs to be observed: pools that are alike but for who listens, and the ancestor with and without Datadog.

Telemetry goes as far as it does in an application, but not off this machine: metrics to a reader of the SDK, spans to
an exporter that drops them, DogStatsD to a socket that somebody reads, lines of the log to the null device.
"""

import asyncio
import os
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from statistics import median
from time import perf_counter, sleep
from typing import Any

import asyncio_connection_pool
import datadog
import structlog
from asyncio_connection_pool.contrib.datadog import ConnectionPool as AncestorWithDatadog
from ddtrace.trace import Span, TraceFilter, tracer

from instrumented_pool import ConnectionPool, Observer
from instrumented_pool_datadog import DatadogObserver
from instrumented_pool_structlog import StructlogObserver

from .contestants import AncestorStrategy, Lease, Strategy
from .listeners import otel, prometheus
from .results import Observed
from .scenarios import SIZE, alone
from .timing import Effort, in_turns

WORKERS, ACQUIRES = 12, 20
"""A few more than there are connections: one acquire in six waits."""

_SINK = """
import socket
sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sink.bind(("127.0.0.1", 0))
print(sink.getsockname()[1], flush=True)
datagrams = 0
while sink.recv(65536) != b"end":
    datagrams += 1
print(datagrams)
"""


async def observed(effort: Effort) -> Observed:
    """Time and weigh every pool."""
    tracer.configure(trace_processors=[_DropTraces()])
    with _statsd_read():
        pools = {name: build() for name, build in POOLS.items()}
        leases = {name: pool.get_connection for name, pool in pools.items()}
        figures = Observed(
            idle=await in_turns({each: partial(alone, leases[each]) for each in leases}, effort.rounds, effort.turn),
            busy=await in_turns({each: partial(_work, leases[each]) for each in leases}, effort.rounds),
            peak={name: await _peak(lease) for name, lease in leases.items()},
        )
        for pool in pools.values():
            if isinstance(pool, ConnectionPool):
                await pool.close()
    return figures


async def _work(lease: Callable[[], Lease], _: int) -> float:
    """Seconds of an acquire and release by tasks that use a connection for some steps, and do without for one."""

    async def work(number: int) -> None:
        for turn in range(number, number + ACQUIRES):
            async with lease():
                for _ in range(1 + turn % 3):
                    await asyncio.sleep(0)
            await asyncio.sleep(0)

    begin = perf_counter()
    await asyncio.gather(*(work(number) for number in range(WORKERS)))
    return (perf_counter() - begin) / (WORKERS * ACQUIRES)


async def _peak(lease: Callable[[], Lease]) -> float:
    """Bytes more than before that are in use at some moment of an acquire and release."""
    peaks: list[int] = []
    tracemalloc.start()
    for _ in range(100):
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        async with lease():
            pass
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()
    return median(peaks)


def _ours(*observers: Observer) -> ConnectionPool[object]:
    return ConnectionPool(strategy=Strategy(), max_size=SIZE, observers=observers)


def _with_distributions() -> ConnectionPool[object]:
    pool = _ours()
    pool.keep_distributions()
    return pool


def _structlog(routine: bool = False) -> StructlogObserver:
    logger = structlog.wrap_logger(
        structlog.PrintLogger(open(os.devnull, "w")),  # noqa: SIM115  open as long as the process is
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
    )
    return StructlogObserver(logger=logger, routine=routine)


def _ancestor() -> Any:
    return asyncio_connection_pool.ConnectionPool(strategy=AncestorStrategy(), max_size=SIZE)


def _ancestor_with_datadog() -> Any:
    return AncestorWithDatadog("ancestor", strategy=AncestorStrategy(), max_size=SIZE)


POOLS: Mapping[str, Callable[[], Any]] = {
    "bare": _ours,
    "distributions kept": _with_distributions,
    "Prometheus": lambda: _ours(prometheus()),
    "OpenTelemetry, no spans": lambda: _ours(otel("off")),
    "OpenTelemetry, spans of waits": lambda: _ours(otel("waits")),
    "OpenTelemetry, spans of all": lambda: _ours(otel("all")),
    "OpenTelemetry's bridge, spans of waits": lambda: _ours(otel("waits", bridged=True)),
    "Datadog": lambda: _ours(DatadogObserver("bench")),
    "Datadog, per acquire": lambda: _ours(DatadogObserver("bench-each", per_acquire=True)),
    "structlog": lambda: _ours(_structlog()),
    "structlog, routine": lambda: _ours(_structlog(routine=True)),
    "all four": lambda: _ours(prometheus(), otel("waits", bridged=True), DatadogObserver("bench-four"), _structlog()),
    "asyncio-connection-pool": _ancestor,
    "asyncio-connection-pool, Datadog": _ancestor_with_datadog,
}


class _DropTraces(TraceFilter):
    def process_trace(self, trace: list[Span]) -> None:
        return None


@contextmanager
def _statsd_read() -> Iterator[None]:
    """Point Datadog's client to a socket that another process reads.

    Raises:
        RuntimeError: nothing has arrived there.
    """
    sink = subprocess.Popen([sys.executable, "-c", _SINK], stdout=subprocess.PIPE, text=True)
    assert sink.stdout is not None
    port = int(sink.stdout.readline())
    datadog.initialize(statsd_host="127.0.0.1", statsd_port=port, hostname_from_config=False)
    yield
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        while sink.poll() is None:  # it may have more to read than there is room for, and then this is lost
            end.sendto(b"end", ("127.0.0.1", port))
            sleep(0.01)
    if int(sink.communicate()[0]) == 0:
        raise RuntimeError("nothing was sent to the socket that stands for Datadog's agent")
