"""An observer that somebody else has written, against the public names alone, in front of a real socket."""

import ast
import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pool_statsd
import pytest
from pool_statsd import StatsdObserver

import instrumented_pool
from instrumented_pool import ConnectionPool, PoolTimeoutError
from instrumented_pool.testing import FakeStrategy

SOURCE = Path(pool_statsd.__file__)


@pytest.fixture
def statsd() -> Iterator[socket.socket]:
    """A StatsD on the loopback interface, where a datagram is there as soon as it is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)
        yield listening


@pytest.fixture
def observer(statsd: socket.socket) -> Iterator[StatsdObserver]:
    observer = StatsdObserver(port=statsd.getsockname()[1])
    yield observer
    observer.close()


def received(statsd: socket.socket) -> list[str]:
    """What has arrived, with the milliseconds left out."""
    lines: list[str] = []
    while True:
        try:
            lines.append(re.sub(r":[\d.]+\|ms", ":…|ms", statsd.recv(1024).decode()))
        except BlockingIOError:
            return lines


async def test_it_tells_a_bad_day(statsd: socket.socket, observer: StatsdObserver) -> None:
    """A creation, a burst, a time-out and a wait, in their order."""
    async with (
        ConnectionPool(
            strategy=FakeStrategy(), max_size=1, burst_limit=2, name="orders db", observers=[observer]
        ) as pool,
        pool.get_connection(),
        pool.get_connection(),
    ):
        with pytest.raises(PoolTimeoutError):
            async with pool.get_connection(timeout=0):
                pass
    assert received(statsd) == [
        "pool.orders_db.create:…|ms",
        "pool.orders_db.wait:…|ms",
        "pool.orders_db.bursting:1|g",
        "pool.orders_db.create:…|ms",
        "pool.orders_db.wait:…|ms",
        "pool.orders_db.failed.timeout:1|c",
        "pool.orders_db.bursting:0|g",
    ]


async def test_an_idle_acquire_sends_nothing(statsd: socket.socket, observer: StatsdObserver) -> None:
    """`waits_only` keeps its promise to others, too."""
    async with ConnectionPool(strategy=FakeStrategy(), max_size=1, observers=[observer]) as pool:
        for _ in range(10):
            async with pool.get_connection():
                pass
    assert received(statsd) == ["pool.pool.create:…|ms", "pool.pool.wait:…|ms"]


async def test_nobody_notices_a_statsd_that_is_gone(statsd: socket.socket, observer: StatsdObserver) -> None:
    """The callers are served, no hook fails, and the observer knows what it lost."""
    statsd.close()
    async with ConnectionPool(strategy=FakeStrategy(), max_size=1, observers=[observer]) as pool:
        async with pool.get_connection():
            waiting = asyncio.create_task(pool.get_connection().__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait({waiting})
        assert pool.stats().acquired["new"] == 1
        assert pool.stats().observer_errors == 0
    assert observer.lost >= 1


def test_it_imports_public_names_only() -> None:
    """Of the package's own list, and of no exporter or private module."""
    tree = ast.parse(SOURCE.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules = {node.module for node in imports} | {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    assert modules == {"instrumented_pool", "re", "socket"}
    names = {alias.name for node in imports for alias in node.names}
    assert names <= set(instrumented_pool.__all__)
